"""DistServe's engine on A100-80GB: how long a step takes, and how many tokens' cache fits, as its simulator has them.

LLMServe/DistServe (Zhong et al., OSDI 2024; Apache-2.0). Its profiles are linear fits, coefficients in
`tables/distserve_profiles.csv`; its capacities follow from its worker's arithmetic:

    prefill = (a + b sum(l) + c sum(l^2)) / pp                 l: lengths of the prompts of a batch, ms; the simulator
                                                               adds 1 ms a stage in one of its versions (f06659f)
    decode  = (a + b sum(context) + c batch) / pp              another a, b, c from a batch of `threshold` on
    blocks of 16 tokens = floor((U - W) / (block's bytes on a GPU))
    W = 2 bytes x ((V + P) h + 12 L h^2 / (tp pp) + 5 L h / pp)

L layers of hidden size h, V words, P positions; tensor and pipeline parallelism tp, pp. The usable memory U is the one
constant that is inferred: any from 79,891,169,280 to 79,891,189,760 bytes gives every one of the 76 published
capacities. Times are pure functions of NumPy or JAX numbers; capacities are exact integers, hence Python's.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from ..arrays import Array
from ..errors import DsegymError, UnknownNameError
from ..tables import package_rows
from ..transformers.architectures import get_architecture

__all__ = [
    "BLOCK_TOKENS",
    "ENGINES",
    "USABLE_BYTES",
    "Profile",
    "capacity_tokens",
    "decode_ms",
    "prefill_ms",
    "profile_of",
    "profiles",
]

Number: TypeAlias = "Array | float"

BLOCK_TOKENS = 16
USABLE_BYTES = 79_891_180_000  # of an A100-80GB
_BYTES = 2  # of a number
ENGINES = ("distserve", "vllm")


class Profile(NamedTuple):
    """Coefficients of a model at one degree of tensor parallelism; numbers in ms."""

    prefill: tuple[Number, Number, Number]
    small_batches: tuple[Number, Number, Number]
    large_batches: tuple[Number, Number, Number]
    threshold: Number  # the first large batch


@functools.cache
def profiles() -> Mapping[tuple[str, str, int], Profile]:
    """{(engine, model, tensor parallelism): profile}."""
    return {
        (row["engine"], row["model"], int(row["tensor_parallelism"])): Profile(
            prefill=_three(row, "prefill"),
            small_batches=_three(row, "small"),
            large_batches=_three(row, "large"),
            threshold=int(row["threshold"]),
        )
        for row in package_rows("serving/tables/distserve_profiles.csv")
    }


def _three(row: Mapping[str, str], name: str) -> tuple[float, float, float]:
    return float(row[f"{name}_a"]), float(row[f"{name}_b"]), float(row[f"{name}_c"])


def profile_of(engine: str, model: str, tensor_parallelism: int) -> Profile:
    """One profile.

    Raises:
        UnknownNameError: there is no such engine or model.
        DsegymError: it was not profiled at this degree.
    """
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    models = sorted({a_model for _, a_model, _ in profiles()})
    if model not in models:
        raise UnknownNameError("model", model, models)
    degrees = sorted(degree for an_engine, a_model, degree in profiles() if (an_engine, a_model) == (engine, model))
    if tensor_parallelism not in degrees:
        listed = ", ".join(map(str, degrees))
        raise DsegymError(f"{model} was not profiled at tensor parallelism {tensor_parallelism}; it was at {listed}.")
    return profiles()[engine, model, tensor_parallelism]


def prefill_ms(profile: Profile, *, tokens: Number, squared_tokens: Number, pipeline_parallelism: Number = 1) -> Number:
    """Of a batch of prompts; the sum of their lengths and of the lengths' squares."""
    a, b, c = profile.prefill
    return (a + b * tokens + c * squared_tokens) / pipeline_parallelism


def decode_ms(profile: Profile, *, context: Number, batch: Number, pipeline_parallelism: Number = 1) -> Number:
    """Of one step of a batch; `context` is the sum of its tokens so far."""
    large = (batch >= profile.threshold) * 1.0
    a, b, c = (
        small + (big - small) * large for small, big in zip(profile.small_batches, profile.large_batches, strict=True)
    )
    return (a + b * context + c * batch) / pipeline_parallelism


def capacity_tokens(model: str, tensor_parallelism: int, pipeline_parallelism: int) -> int:
    """The most tokens whose cache fits on an instance; below 0 where the weights do not fit.

    Raises:
        UnknownNameError: there is no such model.
        DsegymError: heads or layers cannot be split so.
    """
    sizes = get_architecture(model)
    layers, h, heads = int(sizes.layers), int(sizes.hidden), int(sizes.heads)
    tp, pp = tensor_parallelism, pipeline_parallelism
    if heads % tp or layers % pp:
        raise DsegymError(f"{model} has {heads} heads and {layers} layers; {tp} and {pp} must divide them.")
    weights = _BYTES * (int(sizes.lookup_parameters) + Fraction(12 * layers * h * h, tp * pp) + 5 * layers // pp * h)
    block = Fraction(BLOCK_TOKENS * 2 * layers * h * _BYTES, tp * pp)
    return BLOCK_TOKENS * int((USABLE_BYTES - weights) // block)
