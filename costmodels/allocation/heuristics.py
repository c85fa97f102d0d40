"""One-pass heuristics: buffers sorted by a rule, then placed one after another.

| rule | order | of equal ones first | placed |
|---|---|---|---|
| `size_descending_best_fit` | size, largest first | line order | best fit |
| `size_descending_first_fit` | size, largest first | line order | first fit |
| `lifetime_descending` | upper - lower, longest first | larger size, then line order | best fit |
| `area_descending` | size x lifetime, largest first | line order | best fit |
| `start_order` | lower, earliest first | larger size, then line order | best fit |

Size descending with first fit is what TensorFlow Lite's greedy-by-size planner is described as (descending size, lowest
gap that holds it). The ties and placements of the other rules are those that reproduce the published peaks of the
MiniMalloc instances: see `tests/costmodels/allocation/test_truth.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ..arrays import Array
from . import model
from .instance import AllocationInstance, BufferArrays

__all__ = ["RULES", "Rule", "design_of_offsets", "place", "ranks_of_order", "rule_offsets", "rule_order", "rule_rows"]


class Rule(NamedTuple):
    """A one-pass heuristic."""

    keys: Callable[[AllocationInstance], Sequence[np.ndarray]]  # sorted ascending by the first, ties by the next, ...
    placement: str
    summary: str


def _lifetimes(instance: AllocationInstance) -> np.ndarray:
    return instance.uppers - instance.lowers


def _areas(instance: AllocationInstance) -> np.ndarray:
    """Exact: Python's integers, since bytes times time may pass 64 bits."""
    return instance.sizes.astype(object) * _lifetimes(instance).astype(object)


def _by_size(instance: AllocationInstance) -> Sequence[np.ndarray]:
    return [-instance.sizes]


RULES: Mapping[str, Rule] = {
    "size_descending_best_fit": Rule(_by_size, "best_fit", "largest first, into the tightest gap"),
    "size_descending_first_fit": Rule(_by_size, "first_fit", "largest first, at the lowest address"),
    "lifetime_descending": Rule(lambda i: [-_lifetimes(i), -i.sizes], "best_fit", "longest life first"),
    "area_descending": Rule(lambda i: [-_areas(i)], "best_fit", "largest size x lifetime first"),
    "start_order": Rule(lambda i: [i.lowers, -i.sizes], "best_fit", "earliest start first"),
}


def rule_order(instance: AllocationInstance, rule: str) -> np.ndarray:
    """int32[n], the buffers' numbers in the order in which a rule places them."""
    keys = [key.tolist() for key in RULES[rule].keys(instance)]
    return np.array(sorted(range(len(instance)), key=lambda b: [*(key[b] for key in keys), b]), np.int32)


@functools.partial(jax.jit, static_argnums=2)
def _pack(order: Array, buffers: BufferArrays, placement: str) -> tuple[jax.Array, ...]:
    return model.pack(order, buffers, placement)


def place(instance: AllocationInstance, order: Sequence[int] | np.ndarray, placement: str) -> np.ndarray:
    """int64[n], the addresses in bytes of buffers placed in an order, int[n]."""
    _, offsets = _pack(np.asarray(order, np.int32), instance.arrays, placement)
    return np.asarray(offsets).astype(np.int64) * instance.unit


def rule_offsets(instance: AllocationInstance, rule: str) -> np.ndarray:
    """int64[n], the addresses in bytes at which a rule places the buffers."""
    return place(instance, rule_order(instance, rule), RULES[rule].placement)


def ranks_of_order(order: Sequence[int] | np.ndarray) -> np.ndarray:
    """int32[n], each buffer's place in an order: the design that stands for it."""
    return np.argsort(np.asarray(order)).astype(np.int32)


def design_of_offsets(offsets: Any) -> np.ndarray:
    """int32[n], the ranks of a packing's buffers by ascending address (int[n], any unit).

    First fit in this order has no higher peak than the packing: each buffer finds its own address free, or a lower one.
    """
    return ranks_of_order(np.argsort(np.asarray(offsets), kind="stable"))


def rule_rows() -> list[dict[str, object]]:
    """The rules, a row each, for people."""
    return [{"rule": name, "order": rule.summary, "placed by": rule.placement} for name, rule in RULES.items()]
