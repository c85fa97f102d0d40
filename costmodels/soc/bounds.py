"""Proven lower bounds on the makespan and the energy of every static schedule. N tasks, P elements, C clusters.

All times are whole ticks of the platform, mostly of 1 us, and so are the bounds: what is not whole is rounded up.

Any cluster weights give a load bound (Lagrange multipliers need not be the best ones to be valid), so they are searched
for in floating point, and the bound is then computed from whole ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..errors import DsegymError
from .instance import INFEASIBLE, Instance, bind
from .platform import OperatingPoint

__all__ = [
    "NEVER",
    "constant_power_w",
    "critical_path_bound",
    "dynamic_energy_bound_j",
    "earliest_finish_us",
    "energy_bound_j",
    "energy_bound_of_all_levels_j",
    "energy_delay_bound",
    "least_remaining_us",
    "load_bound",
    "makespan_bound",
    "objective_bound",
]

NEVER = 2**40  # us; later than any schedule, and still small enough to add up
_WEIGHT_ONE = 2**20  # the largest weight of a cluster; sums of weighted times stay in int64
_ROUNDS = 200  # of the search for weights: on 200 random instances within 0.5 % of the linear program
_MOST_GROUPS = 64
_MOST_THRESHOLDS = 500  # of releases and tails: a table of windows has the product of the two
_ROUNDING = 1e-12  # relative; more than what adding a few thousand numbers can be off


def earliest_finish_us(instance: Instance) -> np.ndarray:
    """int64[N, P]: no schedule finishes the task on this element earlier; `NEVER` where it cannot run.

    Each predecessor may be wherever it suits this task best, and elements are never busy.
    """
    finish = np.full(instance.run_time_us.shape, NEVER, np.int64)
    incoming = _communication_of(instance)
    for i, edges in enumerate(instance.graph.predecessors):
        ready = np.zeros(instance.elements, np.int64)
        for edge in edges:
            arrival = finish[edge.source][:, None] + incoming[edge.source, i]
            ready = np.maximum(ready, arrival.min(axis=0))
        able = instance.feasible[i]
        finish[i, able] = ready[able] + instance.run_time_us[i, able]
    return finish


def least_remaining_us(instance: Instance) -> np.ndarray:
    """int64[N, P]: once the task has finished on this element, no schedule ends earlier; `NEVER` where it cannot run.

    The mirror image of `earliest_finish_us`.
    """
    remaining = np.full(instance.run_time_us.shape, NEVER, np.int64)
    outgoing = _communication_of(instance)
    for i in reversed(range(len(instance))):
        rest = np.zeros(instance.elements, np.int64)
        for edge in instance.graph.successors[i]:
            after = remaining[edge.target] + instance.run_time_us[edge.target]  # at least NEVER - 1 where infeasible
            rest = np.maximum(rest, (after[None, :] + outgoing[i, edge.target]).min(axis=1))
        able = instance.feasible[i]
        remaining[i, able] = rest[able]
    return remaining


def critical_path_bound(instance: Instance) -> int:
    """us: the longest path, each task and each transfer at its best along it.

    Each task runs on some element q. It finishes no earlier than `earliest_finish_us` and leaves at least
    `least_remaining_us`, both for q; so the least sum over q is a bound for each task.
    """
    return int((earliest_finish_us(instance) + least_remaining_us(instance)).min(axis=1).max())


def load_bound(instance: Instance) -> int:
    """us: what the elements have to do, before, while and after they do it.

    Take a weight u(c) >= 0 for each cluster, and the tasks that in no schedule start before r or leave less than t
    after they finish. All of them run between r and makespan - t, where cluster c has elements(c) * (makespan - r - t)
    of time. A task on cluster c takes time(c), and u(c) * time(c) is at least its least product, d, over the clusters
    that can run it. Summed over tasks: sum d <= sum over c of u(c) * elements(c) * (makespan - r - t), so

        makespan >= r + t + sum d / (sum over c of u(c) * elements(c)).

    With r = t = 0 and the best weights this is the linear program that spreads each task over the elements, by duality.
    Weights of 1 within a group of clusters and 0 outside give the load of the tasks that cannot run outside the group.
    """
    run_time = _cluster_run_time_us(instance)
    elements = np.array([cluster.elements for cluster in instance.platform.clusters], np.int64)
    release = (earliest_finish_us(instance) - instance.run_time_us).min(axis=1)
    tail = least_remaining_us(instance).min(axis=1)
    releases, after = _thresholds(release)
    tails, before = _thresholds(tail)
    best = 0
    for weights in _weights(run_time, elements):
        demand = np.where(run_time == INFEASIBLE, np.iinfo(np.int64).max, weights * run_time).min(axis=1)
        window = np.zeros((len(releases), len(tails)), np.int64)
        np.add.at(window, (after, before), demand)
        window = window[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1]  # of tasks at least so late on both sides
        bounds = releases[:, None] + tails - (-window // int(weights @ elements))
        best = max(best, int(bounds.max(where=window > 0, initial=0)))
    return best


def _thresholds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some of the values, ascending, and for each value the index of the largest threshold that is not above it."""
    found = np.unique(values)
    found = found[:: -(-len(found) // _MOST_THRESHOLDS)]  # fewer windows are still a bound
    return found, np.searchsorted(found, values, side="right") - 1


def makespan_bound(instance: Instance) -> int:
    """us: no schedule is shorter."""
    return max(critical_path_bound(instance), load_bound(instance))


def dynamic_energy_bound_j(instance: Instance, run_time_us: np.ndarray | None = None) -> float:
    """J: no schedule takes less beyond what is always drawn, at the instance's operating points.

    While n >= 1 elements of a cluster are busy it draws dynamic(n) = n * (dynamic(n) / n) >= n * k, where k is the
    least of dynamic(n) / n; while none is busy, at least 0 = 0 * k, since no power is negative. The integral of n over
    time is the cluster's busy time, so its dynamic energy is at least k times the run times of its tasks, and each task
    adds at least its least k * run time over the clusters that can run it.

    Args:
        instance: on a platform with operating points.
        run_time_us: int[N, P], other run times than the instance's, the same within a cluster.

    Raises:
        DsegymError: the platform has no operating points.
    """
    points = _points(instance)
    least_w = np.array([min((w / n for n, w in enumerate(point.dynamic_w) if n), default=0.0) for point in points])
    run_time = _cluster_run_time_us(instance, run_time_us)
    dynamic_uj = np.where(run_time == INFEASIBLE, math.inf, run_time * least_w).min(axis=1)
    return math.fsum(dynamic_uj) * 1e-6 * (1 - _ROUNDING)


def constant_power_w(instance: Instance) -> float:
    """W: leakage of all elements at the instance's operating points, and the base power: always drawn.

    Raises:
        DsegymError: the platform has no operating points.
    """
    clusters = instance.platform.clusters
    leakage = [p.leakage_w * cluster.elements for p, cluster in zip(_points(instance), clusters, strict=True)]
    return math.fsum([instance.platform.base_w, *leakage]) * (1 - _ROUNDING)


def energy_bound_j(instance: Instance, makespan_us: int | None = None) -> float:
    """J: no schedule takes less, at the instance's operating points.

    Args:
        instance: on a platform with operating points.
        makespan_us: a bound of the makespan; `makespan_bound` where left out.

    Raises:
        DsegymError: the platform has no operating points.
    """
    least_us = makespan_bound(instance) if makespan_us is None else makespan_us
    return dynamic_energy_bound_j(instance) + constant_power_w(instance) * least_us * 1e-6


def energy_bound_of_all_levels_j(instance: Instance, makespan_us: int) -> float:
    """J: no schedule takes less, whatever operating points the clusters have.

    As `energy_bound_j`, with the least over each cluster's operating points of k * run time, and of the leakage.

    Args:
        instance: at any operating points.
        makespan_us: a bound of the makespan at the highest frequencies, which is one at any.

    Raises:
        DsegymError: the platform has no operating points.
    """
    _points(instance)
    clusters = instance.platform.clusters
    least_uj = np.full(len(instance), math.inf)
    for level in range(max(len(cluster.operating_points) for cluster in clusters)):
        levels = tuple(min(level, len(cluster.operating_points) - 1) for cluster in clusters)
        there = bind(instance.graph, instance.platform, levels)
        least_w = [min((w / n for n, w in enumerate(p.dynamic_w) if n), default=0.0) for p in _points(there)]
        run_time = _cluster_run_time_us(there)
        each = np.where(run_time == INFEASIBLE, math.inf, run_time * np.array(least_w)).min(axis=1)
        least_uj = np.minimum(least_uj, each)
    leakage_w = math.fsum(min(p.leakage_w for p in cluster.operating_points) * cluster.elements for cluster in clusters)
    constant_w = leakage_w + instance.platform.base_w
    return (math.fsum(least_uj) + constant_w * makespan_us) * 1e-6 * (1 - _ROUNDING)


def _points(instance: Instance) -> list[OperatingPoint]:
    """The operating point of each cluster."""
    platform = instance.platform
    if not instance.levels:
        raise DsegymError(f"{platform.name} has no operating points; an energy bound needs them for every cluster.")
    return [c.operating_points[level] for c, level in zip(platform.clusters, instance.levels, strict=True)]


def energy_delay_bound(instance: Instance) -> float:
    """J s: no schedule has a smaller product of energy and makespan.

    Both factors of any schedule are at least their bounds, and no bound is negative; so is the product.

    Raises:
        DsegymError: the platform has no operating points.
    """
    makespan_us = makespan_bound(instance)
    return energy_bound_j(instance, makespan_us) * makespan_us * 1e-6 * (1 - _ROUNDING)


def objective_bound(instance: Instance, objective: str, makespan_us: int, *, all_levels: bool) -> float:
    """No schedule has a smaller `energy` in J or `edp` in J s.

    Args:
        instance: at its highest frequencies.
        objective: one of the two.
        makespan_us: a bound of the makespan.
        all_levels: whether clusters may have any operating point.

    Raises:
        DsegymError: the platform has no operating points.
    """
    energy_j = (energy_bound_of_all_levels_j if all_levels else energy_bound_j)(instance, makespan_us)
    return energy_j if objective == "energy" else energy_j * makespan_us * 1e-6


def _communication_of(instance: Instance) -> dict[tuple[int, int], np.ndarray]:
    """{(source, target): int32[P, P], us}."""
    edges = instance.graph.edges
    return {(e.source, e.target): times for e, times in zip(edges, instance.communication_us, strict=True)}


def _cluster_run_time_us(instance: Instance, run_time_us: np.ndarray | None = None) -> np.ndarray:
    """int64[N, C], `INFEASIBLE` where the cluster cannot run the task (or has no element)."""
    run_time = np.full((len(instance), len(instance.platform.clusters)), INFEASIBLE, np.int64)
    run_time[:, list(instance.platform.element_clusters)] = instance.run_time_us if run_time_us is None else run_time_us
    return run_time


def _weights(run_time: np.ndarray, elements: np.ndarray) -> Iterable[np.ndarray]:
    """Weights of the clusters, int64[C], that may give a good load bound: groups, and those of the linear program.

    Args:
        run_time: int64[N, C], us, `INFEASIBLE` where a cluster cannot run a task.
        elements: int64[C].
    """
    able = run_time != INFEASIBLE
    groups = {tuple(row) for row in able.tolist()}
    everything = (True,) * len(elements)
    for group in sorted(groups):  # unions of what tasks can run on; those of all, so that there are not too many
        if len(groups) < _MOST_GROUPS:
            groups |= {tuple(a or b for a, b in zip(group, other, strict=True)) for other in sorted(groups)}
    for group in sorted({*groups, everything}):
        yield np.array(group, np.int64)

    # The dual of the linear program, by exponentiated subgradients: a cluster with more to do weighs more.
    weights, mean = np.ones(len(elements)), np.zeros(len(elements))
    best, best_value = weights, -1.0
    for number in range(1, _ROUNDS + 1):
        products = np.where(able, weights * run_time, math.inf)
        value = float(products.min(axis=1).sum() / (weights @ elements))
        if value > best_value:
            best, best_value = weights, value
        mean += weights / (weights @ elements)
        choice = products.argmin(axis=1)
        load = np.bincount(choice, run_time[np.arange(len(choice)), choice], len(elements)) / np.maximum(elements, 1)
        if not load.any():
            break
        weights = weights * np.exp((load / load.max() - 1) / math.sqrt(number))
        weights = weights / weights.max()
    for found in (best, mean):
        if found.any():
            yield np.rint(found / found.max() * _WEIGHT_ONE).astype(np.int64)
