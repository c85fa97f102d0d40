"""Ranks of a graph's tasks by mean times, which list-scheduling heuristics go by. N tasks, P elements, E edges.

Mean run time of a task: over the elements that can run it. Mean communication time of an edge: over the pairs of
different elements of which the first can run the producer and the second the consumer; where there is no such pair
(both tasks are bound to one and the same element), what the edge costs on that element. A pair that no schedule uses
has no say. Where every element can run every task and all links are alike, as in the papers, that is their mean.

Heuristics compare ranks, and the order of equal ones decides a schedule. So that equal ranks are equal, sums are whole:
multiples of 1 / `Means.scale` us.

Sources: Topcuoglu, Hariri and Wu, IEEE TPDS 13 (2002) 260, for the upward and the downward rank; Hwang, Chow, Anger and
Lee, SIAM J. Comput. 18 (1989) 244, for the static level; Arabnejad and Barbosa, IEEE TPDS 25 (2014) 682, for the
optimistic cost table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .instance import Instance

__all__ = [
    "Means",
    "exact_downward",
    "exact_optimistic_costs",
    "exact_upward",
    "mean_times",
    "static_level",
    "upward_rank",
]


class Means(NamedTuple):
    """Mean times of an instance, in units of 1 / scale us."""

    scale: int
    run_time: list[int]  # run time of each task
    communication: list[int]  # time of each edge


def mean_times(instance: Instance) -> Means:
    """The mean times that ranks are made of."""
    feasible = instance.feasible
    edges = instance.graph.edges
    source = np.array([edge.source for edge in edges], np.intp)
    target = np.array([edge.target for edge in edges], np.intp)
    possible = feasible[source][:, :, None] & feasible[target][:, None, :]
    apart = possible & ~np.eye(instance.elements, dtype=bool)
    counted = np.where(apart.any(axis=(1, 2), keepdims=True), apart, possible)
    pairs = counted.sum(axis=(1, 2)).tolist()
    totals = np.where(counted, instance.communication_us, 0).sum(axis=(1, 2), dtype=np.int64).tolist()
    able = feasible.sum(axis=1).tolist()
    run_times = np.where(feasible, instance.run_time_us, 0).sum(axis=1, dtype=np.int64).tolist()
    scale = math.lcm(*able, *pairs)
    return Means(
        scale,
        [total * (scale // count) for total, count in zip(run_times, able, strict=True)],
        [total * (scale // count) for total, count in zip(totals, pairs, strict=True)],
    )


def exact_upward(instance: Instance, run_time: Sequence[int], communication: Sequence[int]) -> list[int]:
    """The longest way from the start of each task to the end: N whole numbers, as N run times and E communications."""
    after = [0] * len(instance)
    for edge, cost in zip(reversed(instance.graph.edges), reversed(communication), strict=True):
        after[edge.source] = max(after[edge.source], cost + run_time[edge.target] + after[edge.target])
    return [own + rest for own, rest in zip(run_time, after, strict=True)]


def exact_downward(instance: Instance, run_time: Sequence[int], communication: Sequence[int]) -> list[int]:
    """The longest way from the beginning to the start of each task: N whole numbers."""
    before = [0] * len(instance)
    for edge, cost in zip(instance.graph.edges, communication, strict=True):
        before[edge.target] = max(before[edge.target], before[edge.source] + run_time[edge.source] + cost)
    return before


def exact_optimistic_costs(instance: Instance, means: Means) -> list[list[int]]:
    """The optimistic cost table in units of 1 / scale us, N x P; 0 where the element cannot run the task."""
    own_us = np.diagonal(instance.communication_us, axis1=1, axis2=2).tolist()
    run_time = instance.run_time_us.tolist()
    able = [np.flatnonzero(row).tolist() for row in instance.feasible]
    table = [[0] * instance.elements for _ in able]
    for e in reversed(range(len(own_us))):  # by descending target: a task's row is whole before it is used
        edge, apart = instance.graph.edges[e], means.communication[e]
        child, row = edge.target, table[edge.source]
        rest = [(q, table[child][q] + run_time[child][q] * means.scale) for q in able[child]]
        for p in able[edge.source]:
            here = own_us[e][p] * means.scale
            row[p] = max(row[p], min(cost + (here if q == p else apart) for q, cost in rest))
    return table


def upward_rank(instance: Instance) -> np.ndarray:
    """float64[N], us: mean times along the longest way from a task's start to the end, its own run time included."""
    means = mean_times(instance)
    return _in_us(exact_upward(instance, means.run_time, means.communication), means)


def static_level(instance: Instance) -> np.ndarray:
    """float64[N], us: as the upward rank, without communication."""
    means = mean_times(instance)
    return _in_us(exact_upward(instance, means.run_time, [0] * len(means.communication)), means)


def _in_us(values: Sequence[int], means: Means) -> np.ndarray:
    return np.array([value / means.scale for value in values], np.float64)
