"""Mappings by rule: an array as full as divisors allow, then tiles that grow, dimension by dimension, while they fit.

A rule says which loops run innermost at each level and in which order dimensions grow. That is how a designer fills
buffers by hand; no search is in it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from ...errors import UnknownNameError
from .encoding import ORDERS, hardware_values, split_text
from .model import (
    ACCUMULATOR,
    DIMENSIONS,
    DRAM,
    LEVELS,
    SCRATCHPAD,
    C,
    Hardware,
    K,
    LayerShape,
    Mapping,
    N,
    P,
    Q,
    R,
    S,
    area_mm2,
    inside_of,
    overflow,
)
from .network import Network

__all__ = [
    "RULES",
    "Rule",
    "greedy_mapping",
    "heuristic_values",
    "least_area_mm2",
    "network_mappings",
    "reference_hardware",
    "rule_rows",
]


@dataclass(frozen=True)
class Rule:
    """Loop orders, named as in `encoding.ORDERS`, and the order in which dimensions grow."""

    summary: str
    accumulator_order: str
    scratchpad_order: str
    dram_order: str
    growth: tuple[tuple[int, int], ...]  # (level, dimension)


def _grow(level: int, dimensions: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple((level, dimension) for dimension in dimensions)


_SCRATCHPAD_GROWTH = _grow(SCRATCHPAD, (C, K, Q, P))
RULES: AnyMapping[str, Rule] = {
    "weight_stationary": Rule(
        "a weight stays while a tile of outputs passes; partial sums stay until they are whole",
        "K CRS NQP",
        "NQP K CRS",
        "K NQP CRS",
        (*_grow(ACCUMULATOR, (P, Q, N, R, S, C)), *_SCRATCHPAD_GROWTH),
    ),
    "output_stationary": Rule(
        "an output is summed to its end before the next one begins",
        "K NQP CRS",
        "K NQP CRS",
        "K NQP CRS",
        (*_grow(ACCUMULATOR, (C, R, S, P, Q, N)), *_SCRATCHPAD_GROWTH),
    ),
    "input_stationary": Rule(
        "an input meets all filters before the next one comes",
        "CRS NQP K",
        "CRS NQP K",
        "CRS NQP K",
        (*_grow(ACCUMULATOR, (K, P, Q, N, R, S, C)), *_SCRATCHPAD_GROWTH),
    ),
}

_overflow = jax.jit(overflow)


def _divisors(number: int) -> list[int]:
    """Descending."""
    return [each for each in range(number, 0, -1) if number % each == 0]


def greedy_mapping(rule: Rule, shape: LayerShape, hardware: Hardware) -> Mapping:
    """A layer's mapping by a rule, NumPy int32."""
    left = [int(bound) for bound in shape.bounds]
    edge = int(hardware.edge)
    rows, columns = (next(each for each in _divisors(left[d]) if each <= edge) for d in (C, K))
    left[C], left[K] = left[C] // rows, left[K] // columns
    temporal = np.ones((len(LEVELS), len(DIMENSIONS)), np.int32)
    orders = (rule.accumulator_order, rule.scratchpad_order, rule.dram_order)
    inside = np.stack([inside_of(ORDERS[order]) for order in orders])

    def mapping() -> Mapping:
        return Mapping(temporal, np.asarray(rows, np.int32), np.asarray(columns, np.int32), inside)

    if np.asarray(_overflow(mapping(), shape, hardware)).max() > 1:  # a wide array beside a small scratchpad
        left[C], rows = left[C] * rows, 1
    for level, dimension in rule.growth:
        for factor in _divisors(left[dimension]):
            temporal[level, dimension] = factor
            if factor == 1 or np.asarray(_overflow(mapping(), shape, hardware)).max() <= 1:
                left[dimension] //= factor
                break
    temporal[DRAM] = left
    return mapping()


def network_mappings(name: str, network: Network, hardware: Hardware) -> Mapping:
    """The mappings, leaves [L, ...], of every layer by a rule, on a machine of any size.

    Raises:
        UnknownNameError: there is no such rule.
    """
    if name not in RULES:
        raise UnknownNameError("heuristic", name, RULES)
    mappings = [greedy_mapping(RULES[name], network.shape(layer), hardware) for layer in range(len(network.loops))]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *mappings)


def heuristic_values(name: str, network: Network, hardware: Hardware) -> dict[str, int | str]:
    """{parameter: value} of the design that maps every layer by a rule.

    Raises:
        UnknownNameError: there is no such rule.
    """
    if name not in RULES:
        raise UnknownNameError("heuristic", name, RULES)
    rule = RULES[name]
    values: dict[str, int | str] = dict(zip(hardware_values(), map(int, hardware[:3]), strict=True))
    for layer, nest in enumerate(network.loops):
        mapping = greedy_mapping(rule, network.shape(layer), hardware)
        space = {C: int(mapping.rows), K: int(mapping.columns)}
        for dimension, bound in enumerate(nest.bounds):
            if bound > 1:
                factors = (space.get(dimension, 1), *mapping.temporal[ACCUMULATOR:, dimension].tolist())
                values[f"layer{layer}_{DIMENSIONS[dimension]}"] = split_text(dimension, factors)
        orders = (rule.accumulator_order, rule.scratchpad_order, rule.dram_order)
        for level, order in zip((ACCUMULATOR, SCRATCHPAD, DRAM), orders, strict=True):
            values[f"layer{layer}_{LEVELS[level]}_order"] = order
    return values


# Gemmini's default machine, as DOSA has it, and its multiples. {factor: (edge, scratchpad KiB, accumulator KiB)}.
_MACHINES = {factor: (int(16 * factor), int(128 * factor), int(32 * factor)) for factor in (0.25, 0.5, 1, 2, 4, 8)}
_ROOM = 1 + 1e-6  # so that no rounding of areas decides whether a reference is feasible


@functools.cache
def _areas_mm2() -> dict[float, float]:
    return {
        factor: float(area_mm2(Hardware(*np.array([*sizes, 8], np.float32)))) for factor, sizes in _MACHINES.items()
    }


def least_area_mm2() -> float:
    """mm2, rounded up: the least budget that holds a reference."""
    return float(np.ceil(min(_areas_mm2().values()) * _ROOM * 1e4) / 1e4)


def reference_hardware(area_budget_mm2: float, dram_words_per_cycle: int) -> tuple[float, Hardware]:
    """The largest multiple of Gemmini's default machine that a budget holds, and its factor."""
    factor = max(f for f, area in _areas_mm2().items() if area * _ROOM <= area_budget_mm2)
    sizes = (*_MACHINES[factor], dram_words_per_cycle)
    return factor, Hardware(*(np.asarray(size, np.int32) for size in sizes))


def rule_rows() -> list[dict[str, object]]:
    """The heuristics, a row each, for people."""
    return [
        {
            "heuristic": name,
            "summary": rule.summary,
            "orders (accumulator / scratchpad / DRAM)": " / ".join(
                (rule.accumulator_order, rule.scratchpad_order, rule.dram_order)
            ),
        }
        for name, rule in RULES.items()
    ]
