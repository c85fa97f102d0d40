"""DeepSeek-R1 in INT8 on CloudMatrix384: tokens a second of an Ascend 910C, by batch and context (arXiv 2506.12708).

Decode, 320 experts' ranks on 160 accelerators. Each step takes two tokens of a request, the next one and one that is
guessed (multi-token prediction), of which `ACCEPTED` are kept:

    step = STEP_S + tokens / 2 x b x (REQUEST_S + CONTEXT_S x context)
    time of an output token = step / (1 + ACCEPTED)

Prefill, 32 ranks on 16 accelerators, batches of whole prompts:

    time of a batch = imbalance x (linear FLOP / INT8 peak + attention FLOP / BF16 peak) / EFFICIENCY

of which a share `UNCACHED_SHARE` does not shrink when prompts are found in a context cache.

Decode's three constants are fitted to the paper's five rows, so that the largest error is least (8 %); of prefill, the
efficiency is fitted to one row and the imbalance to another. They hold for this model on this machine alone. What they
were not fitted to: the gain of multi-token prediction, and that of the context cache at the second of its two rates.
Pure functions of NumPy or JAX numbers that broadcast, for users: no scenario takes them.
"""

from __future__ import annotations

from typing import TypeAlias

from ..arrays import Array
from ..errors import UnknownNameError
from ..transformers.architectures import attention_flop, get_architecture, linear_flop

__all__ = [
    "cached_speed_up",
    "decode_token_s",
    "decode_tokens_per_s",
    "prediction_gain",
    "prefill_tokens_per_s",
]

Number: TypeAlias = "Array | float"

MODEL = "DeepSeek-V3"  # whose sizes R1 has
INT8_FLOPS, BF16_FLOPS = 1503e12, 752e12  # of an accelerator, dense; the first is implied by the paper's rates
ACCEPTED = 0.7  # of guessed tokens: the paper's assumption
STEP_S, REQUEST_S, CONTEXT_S = 21.56e-3, 0.3108e-3, 9.65e-8
EFFICIENCY = 0.417
IMBALANCE = {"perfect": 1.0, "default": 1.183}  # of experts: placed as if loads were known, or as the engine does
UNCACHED_SHARE = 0.39


def _step_s(batch: Number, context: Number, tokens: Number) -> Number:
    return STEP_S + tokens / 2 * batch * (REQUEST_S + CONTEXT_S * context)


def decode_token_s(batch: Number, context: Number) -> Number:
    """Seconds for each output token of `batch` requests an accelerator, which have seen so many tokens on average."""
    return _step_s(batch, context, 2.0) / (1 + ACCEPTED)


def decode_tokens_per_s(batch: Number, context: Number) -> Number:
    """Of an accelerator."""
    return batch / decode_token_s(batch, context)


def prediction_gain(batch: Number, context: Number) -> Number:
    """What multi-token prediction adds to the rate, as a share of the rate without it."""
    return _step_s(batch, context, 1.0) / decode_token_s(batch, context) - 1


def prefill_tokens_per_s(prompt: Number, experts: str = "perfect") -> Number:
    """Of an accelerator, in batches of prompts of so many tokens.

    Args:
        prompt: tokens.
        experts: how they are placed, an entry of `IMBALANCE`.

    Raises:
        UnknownNameError: there is no such placement.
    """
    if experts not in IMBALANCE:
        raise UnknownNameError("placement of experts", experts, IMBALANCE)
    model = get_architecture(MODEL)
    linear = linear_flop(model, prompt) / INT8_FLOPS
    attention = attention_flop(model, model.prefill_pair_flop, prompt, prompt / 2) / BF16_FLOPS
    return prompt * EFFICIENCY / (IMBALANCE[experts] * (linear + attention))


def cached_speed_up(reused: Number) -> Number:
    """Of prefill, where such a share of a prompt is found in the context cache."""
    return 1 / (UNCACHED_SHARE + (1 - UNCACHED_SHARE) * (1 - reused))
