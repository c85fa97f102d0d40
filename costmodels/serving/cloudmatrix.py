"""DeepSeek-R1 in INT8 on CloudMatrix384: tokens a second of an Ascend 910C, by batch and context (arXiv 2506.12708).

Decode, 320 experts' ranks on 160 accelerators. Each step takes two tokens of a request, the next one and one that is
guessed (multi-token prediction), of which `ACCEPTED` are kept:

    step = STEP_S + tokens / 2 x b x (REQUEST_S + CONTEXT_S x context)
    time of an output token = step / (1 + ACCEPTED)

Prefill, 32 ranks on 16 accelerators, batches of whole prompts:

    time of a batch = imbalance x (linear FLOP / INT8 peak + attention FLOP / BF16 peak) / EFFICIENCY

of which a share `UNCACHED_SHARE` does not shrink when prompts are found in a context cache.

Instances of other sizes (`accelerators`, of two dies, each an experts' rank): what a step takes whatever it carries
differs by arithmetic, and nothing was measured there. A die reads its weights once, attention's and its share of the
320 experts that the deployed plan has (256 routed ones; the 64 others are taken to be copies of the shared one and of
routed ones); and each of the routed layers sends its tokens to experts and back, which takes longer among more ranks:
116 and 118 us among 8, 152 and 149 among 256, between and beyond which the logarithm of the ranks is followed.

Decode's three constants are fitted to the paper's five rows, so that the largest error is least (8 %); of prefill, the
efficiency is fitted to one row and the imbalance to another. They hold for this model on this machine alone. What they
were not fitted to: the gain of multi-token prediction, and that of the context cache at the second of its two rates.
Pure functions of NumPy or JAX numbers that broadcast; `plan/phases.py` makes an engine of plans of them.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from ..arrays import Array
from ..errors import UnknownNameError
from ..transformers.architectures import attention_flop, get_architecture, kv_bytes_per_token, linear_flop
from ..transformers.devices import get_device, get_precision, usable_bytes

__all__ = [
    "DECODE_ACCELERATORS",
    "PREFILL_ACCELERATORS",
    "PREFILL_TOKENS",
    "cached_speed_up",
    "capacity_tokens",
    "decode_token_s",
    "decode_tokens_per_s",
    "fixed_s",
    "prediction_gain",
    "prefill_tokens_per_s",
]

Number: TypeAlias = "Array | float"

MODEL = "DeepSeek-V3"  # whose sizes R1 has
DEVICE, PRECISION = "Ascend-910C", "int8"
PREFILL_ACCELERATORS, DECODE_ACCELERATORS = 16, 160  # of the measured instances
PREFILL_TOKENS = 16_384  # of a measured batch, an accelerator
_EXPERTS = 320  # that the ranks of an instance share, copies counted
_DIES = 2  # of an accelerator
_EXCHANGE_S, _EXCHANGE_DOUBLING_S = 234e-6, 67e-6 / 5  # dispatch and combine among 8 ranks; for each doubling of them
INT8_FLOPS, BF16_FLOPS = 1503e12, 752e12  # of an accelerator, dense; the first is implied by the paper's rates
ACCEPTED = 0.7  # of guessed tokens: the paper's assumption
STEP_S, REQUEST_S, CONTEXT_S = 21.56e-3, 0.3108e-3, 9.65e-8
EFFICIENCY = 0.417
IMBALANCE = {"perfect": 1.0, "default": 1.183}  # of experts: placed as if loads were known, or as the engine does
UNCACHED_SHARE = 0.39


def _step_s(batch: Number, context: Number, tokens: Number) -> Number:
    return STEP_S + tokens / 2 * batch * (REQUEST_S + CONTEXT_S * context)


def _die_parameters(accelerators: int) -> float:
    """That a die of an instance reads in a step: attention is repeated on all, experts are shared out."""
    model = get_architecture(MODEL)
    dense, routed = float(model.dense_layers), float(model.layers - model.dense_layers)
    experts = routed * float(model.expert_parameters) * _EXPERTS / (_DIES * accelerators)
    router = routed * float(model.hidden * model.experts)
    attention = float(model.layers * (model.attention_parameters + model.vector_parameters))
    return experts + router + attention + dense * float(model.ffn_parameters) + float(model.output_parameters)


def fixed_s(accelerators: int) -> float:
    """Seconds of a step that do not hang on what it carries: weights are read, tokens sent to experts and back."""
    model, bandwidth = get_architecture(MODEL), get_device(DEVICE).bandwidth_bytes_s / _DIES
    weights = _die_parameters(accelerators) * get_precision(PRECISION).weight_bytes / bandwidth
    exchange = _EXCHANGE_S + _EXCHANGE_DOUBLING_S * float(np.log2(_DIES * accelerators / 8))
    return weights + float(model.layers - model.dense_layers) * exchange


def capacity_tokens(accelerators: int) -> float:
    """Tokens whose cache an instance's dies hold, each those of its own requests; below 0 where weights do not fit."""
    model, precision = get_architecture(MODEL), get_precision(PRECISION)
    looked_up = float(model.lookup_parameters) * 2.0
    weights = _die_parameters(accelerators) * precision.weight_bytes + looked_up
    free = usable_bytes(get_device(DEVICE)) / _DIES - weights
    return _DIES * accelerators * free / float(kv_bytes_per_token(model, precision.kv_bytes))


def decode_token_s(batch: Number, context: Number, accelerators: int = DECODE_ACCELERATORS) -> Number:
    """Seconds for each output token of `batch` requests an accelerator, which have seen so many tokens on average."""
    other = fixed_s(accelerators) - fixed_s(DECODE_ACCELERATORS)
    return (_step_s(batch, context, 2.0) + other) / (1 + ACCEPTED)


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
