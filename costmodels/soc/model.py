"""Static schedules in JAX: the rule of docs/soc_scheduling.md for one design; `vmap` it for many.

N tasks, P elements, K predecessors in a row, G different kinds of link, C clusters, L operating points at most. All
times are int32 ticks of the platform (1 us but for some files' graphs) and exact, so that results do not
depend on the batch.

Predecessors stand in R rows. A task has one row, so that R = N and K is the most predecessors of a task, unless some
task has more than `WIDEST`: then such tasks have several rows, and what is stored and done grows with the edges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from .instance import INFEASIBLE, Instance, bind

__all__ = [
    "NEVER",
    "UNKNOWN",
    "Arrays",
    "Placement",
    "all_finish_times",
    "arrays",
    "at",
    "effective_order",
    "energy_j",
    "finish_times",
    "of_each_task",
    "place_earliest",
    "place_given",
    "residency_us",
    "run_times",
    "schedule",
    "schedule_earliest",
    "start",
]

WIDEST = 64  # predecessors in a row
NEVER = 2**29  # us; the run time of a task on an element that cannot run it
UNKNOWN = np.float32(np.inf)  # J, J s; where a platform's power is unknown: a NaN would trip JAX's search for NaNs
_MANY = 8  # elements; with more, an access by index beats a select over all of them on CPUs, by about a third at 16


class Arrays(NamedTuple):
    """An instance."""

    run_time: Array  # int32[L, N, P], us, every cluster at its operating point l or its highest; `NEVER` if infeasible
    predecessor: Array  # int32[R, K], N where there are fewer
    communication: Array  # int32[R, K, G], us over each kind of link; 0 where there are fewer
    first_row: Array  # int32[N + 1], of each task, and R
    link: Array  # int32[P, P], the kind of link from the first element to the second; 0 from an element to itself
    cluster: Array  # int32[P], of each element
    # W with 0 ... n busy elements, leakage included, and in the first cluster's the base power; L = 0 if unknown
    power: Array  # float32[C, L, n + 1]


class Placement(NamedTuple):
    """A schedule in the making."""

    finish: jax.Array  # int32[N + 1], us; 0 where not placed, and of the task N, which stands for none
    element: jax.Array  # int32[N + 1]
    available: jax.Array  # int32[P], us, when the last task placed on each element finishes


def arrays(instance: Instance, *, levels: bool = False) -> Arrays:
    """The arrays of an instance, as NumPy.

    Args:
        instance: fixes the operating points, unless
        levels: all operating points are wanted, for a design that chooses them.
    """
    graph, platform = instance.graph, instance.platform
    count = max((len(cluster.operating_points) for cluster in platform.clusters), default=0)
    chosen = [instance.levels]
    if levels:
        highest = [len(cluster.operating_points) - 1 for cluster in platform.clusters]
        chosen = [tuple(min(level, top) for top in highest) for level in range(count)]
    run_time = np.stack(
        [bind(graph, platform, each).run_time_us if levels else instance.run_time_us for each in chosen]
    )
    counts = np.array([len(edges) for edges in graph.predecessors])
    width = min(max(counts.max(), 1), WIDEST)
    first_row = np.append(0, np.cumsum(np.maximum(-(-counts // width), 1)))
    predecessor = np.full((first_row[-1], width), len(graph), np.int32)
    names = [platform.clusters[c].name for c in platform.element_clusters]
    between = [[platform.bandwidth_between(a, b) for b in names] for a in names]
    others = sorted({between[p][q] for p in range(len(names)) for q in range(len(names)) if p != q})
    bandwidths = [platform.self_bandwidth, *others]  # bandwidth of each kind of link
    communication = np.zeros((*predecessor.shape, len(bandwidths)), np.int32)
    if graph.edges:
        source, target, volume = np.array([(e.source, e.target, e.volume) for e in graph.edges], np.int64).T
        place = np.arange(len(target)) - np.append(0, np.cumsum(counts))[target]  # edges are ascending by target
        row, column = first_row[target] + place // width, place % width
        predecessor[row, column] = source
        communication[row, column] = volume[:, None] // np.array(bandwidths)
    link = [[0 if p == q else 1 + others.index(v) for q, v in enumerate(row)] for p, row in enumerate(between)]
    widest = max(cluster.elements for cluster in platform.clusters)
    power = np.zeros((len(platform.clusters), len(chosen) if platform.has_power else 0, widest + 1), np.float32)
    if platform.has_power:
        for level, each in enumerate(chosen):
            for c, cluster in enumerate(platform.clusters):
                point = cluster.operating_points[each[c]]
                power[c, level, : cluster.elements + 1] = np.array(point.dynamic_w) + point.leakage_w * cluster.elements
        power[0] += platform.base_w  # drawn as long as the first cluster is in any state
    return Arrays(
        run_time=np.where(run_time == INFEASIBLE, NEVER, run_time).astype(np.int32),
        predecessor=predecessor,
        communication=communication,
        first_row=first_row.astype(np.int32),
        link=np.array(link, np.int32),
        cluster=np.array(platform.element_clusters, np.int32),
        power=power,
    )


def run_times(arrays: Arrays, levels: Array) -> jax.Array:
    """int32[N, P], us, with each cluster at its operating point, int32[C]."""
    of_element = levels[arrays.cluster]
    return jnp.take_along_axis(jnp.asarray(arrays.run_time), of_element[None, None, :], axis=0)[0]


def start(arrays: Arrays) -> Placement:
    """Nothing is placed."""
    count, elements = arrays.run_time.shape[1:]
    return Placement(jnp.zeros(count + 1, jnp.int32), jnp.zeros(count + 1, jnp.int32), jnp.zeros(elements, jnp.int32))


def effective_order(arrays: Arrays, ranks: Array) -> jax.Array:
    """int32[N]: the tasks by ascending effective rank, ties in topological order; ranks int32[N], 0 to N - 1."""
    count = len(arrays.first_row) - 1
    rows = jnp.arange(count) if _one_row(arrays) else _task_of_row(arrays)

    def step(effective, row):
        i, predecessors, rank = row
        value = jnp.maximum(rank, jnp.max(effective[predecessors]))
        if not _one_row(arrays):
            value = jnp.maximum(value, effective[i])  # of the task's rows before
        return jax.lax.dynamic_update_index_in_dim(effective, value, i, 0), value

    first = jnp.full(count + 1, -1, jnp.int32)
    own = ranks if _one_row(arrays) else ranks[rows]
    last, effective = jax.lax.scan(step, first, (rows, jnp.asarray(arrays.predecessor), own))
    effective = effective if _one_row(arrays) else last[:-1]
    return jnp.sort(effective * count + jnp.arange(count)) % count  # one array to sort: twice as fast as argsort


def at(array: Array, *index: Array | int | slice) -> jax.Array:
    """`array[index]` for indices that are surely in range: XLA leaves the checks out."""
    return jnp.asarray(array).at[index].get(mode="promise_in_bounds")


def _one_row(arrays: Arrays) -> bool:
    """Whether each task has one row of predecessors, its own number."""
    return len(arrays.predecessor) == len(arrays.first_row) - 1


def _task_of_row(arrays: Arrays) -> jax.Array:
    """int32[R]."""
    return jnp.searchsorted(jnp.asarray(arrays.first_row), jnp.arange(len(arrays.predecessor)), side="right") - 1


def _over_rows(arrays: Arrays, task: Array, arrival: Callable[[Array], jax.Array]) -> jax.Array:
    """The latest arrival, int32[...], us, over a task's rows; `arrival` gives that of one row."""
    if _one_row(arrays):
        return arrival(task)
    first, end = at(arrays.first_row, task), at(arrays.first_row, task + 1)
    return jax.lax.fori_loop(first + 1, end, lambda row, so_far: jnp.maximum(so_far, arrival(row)), arrival(first))


def of_each_task(arrays: Arrays, rows: jax.Array) -> jax.Array:
    """int32[N, ...]: the largest of each task's rows, of values [R, ...]."""
    return rows if _one_row(arrays) else jax.ops.segment_max(rows, _task_of_row(arrays), len(arrays.first_row) - 1)


def _communication(arrays: Arrays, row: Array, kinds: Array) -> jax.Array:
    """int32[K, ...], us, from each predecessor of a row over a kind of link, int32[K, ...]."""
    times = at(arrays.communication, row)
    times = times.reshape(times.shape[0], times.shape[1], *(1,) * (kinds.ndim - 1))
    result = times[:, 0]
    for kind in range(1, times.shape[1]):
        result = jnp.where(kinds == kind, times[:, kind], result)
    return jnp.broadcast_to(result, kinds.shape)


def place_given(arrays: Arrays, run_time: Array, placement: Placement, task: Array, element: Array) -> Placement:
    """Places a task on an element, at the end of what is there; its predecessors are placed."""
    return _finish_on(arrays, run_time, placement, task, element)._replace(
        element=placement.element.at[task].set(element, mode="promise_in_bounds")
    )


def _finish_on(arrays: Arrays, run_time: Array, placement: Placement, task: Array, element: Array) -> Placement:
    """As `place_given`, where `placement.element` holds the task's element already."""

    def arrival(row: Array) -> jax.Array:
        predecessors = at(arrays.predecessor, row)
        of_predecessors = at(placement.element, predecessors)
        if arrays.communication.shape[2] == 2:
            kinds = (of_predecessors != element).astype(jnp.int32)  # no need to look it up
        else:
            kinds = at(arrays.link, of_predecessors, element)
        return jnp.max(at(placement.finish, predecessors) + _communication(arrays, row, kinds))

    ready = _over_rows(arrays, task, arrival)
    if len(placement.available) > _MANY:
        available = at(placement.available, element)
    else:
        available = jnp.max(jnp.where(jnp.arange(len(placement.available)) == element, placement.available, 0))
    finish = jnp.maximum(ready, available) + at(run_time, task, element)
    return placement._replace(
        finish=placement.finish.at[task].set(finish, mode="promise_in_bounds"),
        available=_occupied(placement.available, element, finish),
    )


def _occupied(available: jax.Array, element: Array, finish: Array) -> jax.Array:
    """int32[P], us, when an element is available at `finish` and all others as before."""
    if len(available) > _MANY:
        return available.at[element].set(finish, mode="promise_in_bounds")
    return jnp.where(jnp.arange(len(available)) == element, finish, available)


def finish_times(arrays: Arrays, run_time: Array, placement: Placement, task: Array) -> jax.Array:
    """int32[P], us, when the task would finish on each element; at least `NEVER` where it cannot run."""
    arrival = _over_rows(arrays, task, lambda row: _arrivals(arrays, placement, row))
    return jnp.maximum(arrival, placement.available) + at(run_time, task)


def all_finish_times(arrays: Arrays, run_time: Array, placement: Placement) -> jax.Array:
    """int32[N, P], us: `finish_times` of every task."""
    rows = jax.vmap(lambda row: _arrivals(arrays, placement, row))(jnp.arange(len(arrays.predecessor)))
    return jnp.maximum(of_each_task(arrays, rows), placement.available) + jnp.asarray(run_time)


def _arrivals(arrays: Arrays, placement: Placement, row: Array) -> jax.Array:
    """int32[P], us, when the data of a row's predecessors are on each element."""
    predecessors = at(arrays.predecessor, row)
    of_predecessors = at(placement.element, predecessors)
    if arrays.communication.shape[2] == 2:
        kinds = (of_predecessors[:, None] != jnp.arange(len(placement.available))).astype(jnp.int32)
    else:
        kinds = at(arrays.link, of_predecessors)
    return jnp.max(at(placement.finish, predecessors)[:, None] + _communication(arrays, row, kinds), axis=0)


def place_earliest(arrays: Arrays, run_time: Array, placement: Placement, task: Array) -> Placement:
    """Places a task on the element where it finishes first, ties to the lowest number."""
    finishes = finish_times(arrays, run_time, placement, task)
    finish = jnp.min(finishes)
    numbers = jnp.arange(len(finishes))
    element = jnp.min(jnp.where(finishes == finish, numbers, len(finishes)))  # argmin is a slow loop on CPUs
    return Placement(
        placement.finish.at[task].set(finish, mode="promise_in_bounds"),
        placement.element.at[task].set(element, mode="promise_in_bounds"),
        _occupied(placement.available, element, finish),
    )


def schedule(arrays: Arrays, run_time: Array, order: Array, elements: Array) -> Placement:
    """Places the tasks in an order that respects the precedences, int32[N], each on its element, int32[N]."""
    first = start(arrays)._replace(element=jnp.append(elements, 0).astype(jnp.int32))
    return _scan(lambda state, task: _finish_on(arrays, run_time, state, task, at(elements, task)), first, order)


def schedule_earliest(arrays: Arrays, run_time: Array, order: Array) -> Placement:
    """Places the tasks in an order that respects the precedences, int32[N], each where it finishes first."""
    return _scan(lambda state, task: place_earliest(arrays, run_time, state, task), start(arrays), order)


def _scan(place: Callable[[Placement, Array], Placement], first: Placement, order: Array) -> Placement:
    return jax.lax.scan(lambda state, task: (place(state, task), None), first, order)[0]


def residency_us(arrays: Arrays, start_us: Array, finish_us: Array, element: Array) -> jax.Array:
    """int32[C, n + 1], us: how long 0 ... n elements of each cluster are busy, from 0 to the last finish.

    Args:
        arrays: the instance.
        start_us, finish_us, element: int32[N], of each task.
    """
    clusters, _, counts = arrays.power.shape
    mine = at(arrays.cluster, element)[:, None] == jnp.arange(clusters)
    times = jnp.concatenate([start_us, finish_us])
    changes = jnp.concatenate([mine, -mine.astype(jnp.int32)])
    by_time = jnp.argsort(times)
    busy = jnp.cumsum(changes[by_time], axis=0)  # [2 N, C], from each event on
    times = times[by_time]
    lengths = jnp.diff(times, append=times[-1:])
    at_count = busy[:, :, None] == jnp.arange(counts)
    residency = jnp.sum(jnp.where(at_count, lengths[:, None, None], 0), axis=0)
    return residency.at[:, 0].add(times[0])


def energy_j(arrays: Arrays, residency: Array, levels: Array) -> jax.Array:
    """float32, J, of residencies int32[C, n + 1] in us with each cluster at its operating point, int32[C]."""
    power = jnp.take_along_axis(jnp.asarray(arrays.power), levels[:, None, None], axis=1)[:, 0]
    return jnp.sum(residency.astype(jnp.float32) * power) * 1e-6
