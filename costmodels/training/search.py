"""Every plan that keeps the rules, and the plans that people write down without a search.

A design is a row of places among the values of `PARAMETERS`, in that order. Plans are listed by crossing one parameter
after the other and dropping what breaks a rule at once, so that 175 billion parameters on 1,024 accelerators are
listed in a blink; `plan.broken` says the same of one plan. M plans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .step import FULL, SELECTIVE

__all__ = [
    "PARAMETERS",
    "PLAIN",
    "RECOMPUTE",
    "RULES",
    "SPARE_LAYERS",
    "Limits",
    "Rule",
    "Values",
    "in_order",
    "listed",
    "values_of",
]

PARAMETERS: tuple[str, ...] = (
    "tensor",
    "pipeline",
    "data",
    "context",
    "expert",
    "micro_batch",
    "interleave",
    "zero",
    "recompute",
    "sequence",
    "offload",
    "batch",
    "checkpoint",
    "spares",
)
Values = Mapping[str, Sequence[float]]

RECOMPUTE = ("none", "selective", "full")
DEGREES = (1, 2, 4, 8)  # of the tensor group
EXPERTS = (1, 2, 4, 8, 16, 32, 64)
MICRO_BATCHES = (1, 2, 4, 8, 16)
CHUNKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
MOST_STAGES = 64
SPARE_LAYERS = 3  # that the last stages may lack
CONTEXTS = (1, 2, 4, 8)
LONG_TOKENS = 8192  # from here on a sequence may be cut
OFFLOADS = (0.0, 0.5, 1.0)
INTERVALS_S = (300, 600, 1200, 2400, 4800, 9600, 19200)
USUAL_INTERVAL_S = 2400  # what is taken where nobody searches: assumed
SPARES = (0, 1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Limits:
    """What the rules need to know of an instance."""

    layers: int
    heads: int
    experts: int
    node: int
    gpus: int
    sequence_tokens: int


def _divisors(number: int, most: int) -> tuple[int, ...]:
    return tuple(each for each in range(1, min(number, most) + 1) if number % each == 0)


def _stages(count: int, layers: int) -> bool:
    """Whether so many stages are offered: those that divide the layers, and powers of two that nearly do."""
    return layers % count == 0 or (count & (count - 1) == 0 and count <= layers and -layers % count <= SPARE_LAYERS)


def values_of(limits: Limits, batches: Sequence[int], *, fails: bool) -> dict[str, tuple[float, ...]]:
    """{parameter: the values to choose from} of an instance."""
    largest = max(batches)
    return {
        "tensor": tuple(t for t in DEGREES if limits.heads % t == 0 and t <= min(limits.node, limits.gpus)),
        "pipeline": tuple(p for p in range(1, min(MOST_STAGES, limits.gpus) + 1) if _stages(p, limits.layers)),
        "data": _divisors(largest, limits.gpus),
        "context": tuple(c for c in CONTEXTS if c <= limits.gpus and limits.sequence_tokens % c == 0)
        if limits.sequence_tokens >= LONG_TOKENS
        else (1,),
        "expert": tuple(e for e in EXPERTS if e <= limits.gpus and limits.experts % e == 0) if limits.experts else (1,),
        "micro_batch": MICRO_BATCHES,
        "interleave": tuple(v for v in CHUNKS if v <= limits.layers and -limits.layers % v <= SPARE_LAYERS),
        "zero": (0, 1, 2, 3),
        "recompute": (0, SELECTIVE, FULL),
        "sequence": (0, 1),
        "offload": OFFLOADS,
        "batch": tuple(sorted(batches)),
        "checkpoint": INTERVALS_S if fails else (USUAL_INTERVAL_S,),
        "spares": tuple(s for s in SPARES if s * limits.node < limits.gpus) if fails else (0,),
    }


# The rules, each after the parameter with which it can be told: {parameter: does it hold, of columns of values}.
_Columns = Mapping[str, np.ndarray]


def _computing(columns: _Columns) -> np.ndarray:
    return columns["tensor"] * columns["pipeline"] * columns["data"] * columns["context"]


_CHECKS: Mapping[str, Callable[[_Columns, Limits], np.ndarray]] = {
    "pipeline": lambda c, n: c["tensor"] * c["pipeline"] <= n.gpus,
    "data": lambda c, n: c["tensor"] * c["pipeline"] * c["data"] <= n.gpus,
    "context": lambda c, n: _computing(c) <= n.gpus,
    "batch": lambda c, n: c["batch"] % c["data"] == 0,
    "expert": lambda c, n: c["data"] * c["context"] * c["tensor"] % c["expert"] == 0,
    "micro_batch": lambda c, n: c["batch"] % (c["data"] * c["micro_batch"]) == 0,
    "interleave": lambda c, n: (
        (-n.layers % (c["pipeline"] * c["interleave"]) <= SPARE_LAYERS)
        & (
            (c["interleave"] == 1)
            | ((c["pipeline"] > 1) & (c["batch"] // (c["data"] * c["micro_batch"]) % c["pipeline"] == 0))
        )
    ),
    "zero": lambda c, n: (c["zero"] < 2) | (c["pipeline"] == 1),
    "sequence": lambda c, n: (c["sequence"] == 0) | (c["tensor"] > 1),
    "spares": lambda c, n: _computing(c) + c["spares"] * n.node <= n.gpus,
}
_ORDER = (
    "tensor",
    "pipeline",
    "data",
    "batch",
    "context",
    "expert",
    "micro_batch",
    "interleave",
    "zero",
    "sequence",
    "recompute",
    "offload",
    "spares",
    "checkpoint",
)


def listed(values: Values, limits: Limits, only: Values | None = None) -> np.ndarray:
    """int32[M, parameters]: every design that keeps the rules, or those among them with the values of `only`."""
    places: dict[str, np.ndarray] = {}
    count = 1
    for name in _ORDER:
        own = np.asarray(values[name])
        allowed = np.flatnonzero(np.isin(own, only[name])) if only and name in only else np.arange(len(own))
        kept = {each: np.repeat(column, len(allowed)) for each, column in places.items()}
        kept[name] = np.tile(allowed, count).astype(np.int32)
        if name in _CHECKS:
            columns = {each: np.asarray(values[each])[column] for each, column in kept.items()}
            holds = _CHECKS[name](columns, limits)
            kept = {each: column[holds] for each, column in kept.items()}
        places, count = kept, len(kept[name])
    return np.stack([places[name] for name in PARAMETERS], axis=1)


# What no rule chooses.
PLAIN: Values = {"context": (1,), "checkpoint": (USUAL_INTERVAL_S,), "spares": (0,)}


@dataclass(frozen=True)
class Rule:
    """A way to choose without a search: among plans that fit, the first by some order."""

    only: Mapping[str, tuple[float, ...]]  # beside `PLAIN`
    order: tuple[str, ...]  # parameters, most important first; `-name`: larger is better
    source: str


# Name: rule. What a rule leaves open takes the least value: no spares, no interleaving.
RULES: Mapping[str, Rule] = {
    "megatron": Rule(
        {"recompute": (FULL,), "zero": (0,), "sequence": (0,), "offload": (0.0,), "interleave": (1,)},
        ("-tensor", "pipeline", "-data", "-micro_batch", "expert"),
        "Narayanan et al. 2021: the tensor group fills a node, as few stages as fit, the largest micro-batch",
    ),
    "sequence_parallel": Rule(
        {"recompute": (SELECTIVE,), "zero": (1,), "sequence": (1,), "offload": (0.0,)},
        ("-tensor", "pipeline", "-data", "-interleave", "-micro_batch", "expert"),
        "Korthikanti et al. 2022: sequence parallelism, selective recomputation, interleaved; optimizer split",
    ),
    "deepspeed": Rule(
        {"tensor": (1,), "pipeline": (1,), "recompute": (FULL,), "sequence": (0,), "offload": (0.0,)},
        ("-data", "zero", "-micro_batch", "expert"),
        "DeepSpeed: data parallel alone, the first ZeRO stage that fits, the largest micro-batch",
    ),
    "zero3": Rule(
        {"tensor": (1,), "pipeline": (1,), "zero": (3,), "recompute": (FULL,), "sequence": (0,), "offload": (0.0,)},
        ("-data", "-micro_batch", "expert"),
        "everything split among all replicas",
    ),
}


def in_order(rule: Rule, designs: np.ndarray) -> np.ndarray:
    """int[M]: the rule's order of designs; what it does not name counts last, small places first."""
    names = [*rule.order, *(name for name in PARAMETERS if name not in rule.order and f"-{name}" not in rule.order)]
    keys = [
        -designs[:, PARAMETERS.index(name[1:])] if name.startswith("-") else designs[:, PARAMETERS.index(name)]
        for name in names
    ]
    return np.lexsort(keys[::-1])
