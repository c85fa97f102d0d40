"""What a long context costs one accelerator's users: concurrency, prefill, decode, and switching between them.

The four costs of Fu's study of long contexts (arXiv 2405.08944), from peaks and bandwidths alone: lower bounds, as
nothing is as fast as a datasheet. Pure functions of numbers, for users: no scenario takes them.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from ..arrays import Array
from ..transformers.architectures import Architecture, attention_flop, kv_bytes_per_token, linear_flop
from ..transformers.devices import Device, Precision, peak_flops
from ..transformers.memory import weight_bytes

__all__ = ["Costs", "costs"]

Number: TypeAlias = "Array | float"

HOST_BYTES_S = 20e9  # one way, to the host's memory: the study's PCIe 4


class Costs(NamedTuple):
    """Of a user."""

    cache_bytes: Number
    users: Number  # that memory holds beside the weights: below 1 where not one, below 0 where not even the weights fit
    prefill_s: Number
    answer_s: Number  # of decoding alone
    switch_s: Number  # a user's cache out, another's in


def costs(model: Architecture, device: Device, precision: Precision, *, context: Number, answer: Number) -> Costs:
    """Of a context of so many tokens, and an answer of so many."""
    cache = context * kv_bytes_per_token(model, precision.kv_bytes)
    weights = weight_bytes(model, precision)
    flop = linear_flop(model, context) + attention_flop(model, model.prefill_pair_flop, context, context / 2)
    return Costs(
        cache_bytes=cache,
        users=(device.memory_bytes - weights) / cache,
        prefill_s=flop / peak_flops(device, precision),
        answer_s=answer * (weights + cache) / device.bandwidth_bytes_s,
        switch_s=2 * cache / HOST_BYTES_S,
    )
