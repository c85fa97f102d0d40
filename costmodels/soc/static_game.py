"""One task graph, known in full, as a game of placing task after task; and what a design's schedule costs.

Pure JAX on one design or episode, but for `params_of` and `schedule_of`. The rules: docs/soc_scheduling.md;
placements: `model.py`. N tasks, P elements, C clusters, L operating points, M elements that can run a task at most.

Times are whole ticks, of 1 us but for some files (`Platform.tick_us`); `Metrics` are in us.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import wide
from ..arrays import Array
from . import model
from .encoding import Encoding, candidates
from .instance import MAX_TOTAL_US, Instance, bind
from .ranks import upward_rank
from .schedule import Schedule

__all__ = [
    "Metrics",
    "Own",
    "Params",
    "Placed",
    "State",
    "advance",
    "decide",
    "design_of",
    "estimated_finishes",
    "least_makespan",
    "legal",
    "metrics_of",
    "objective_of",
    "over",
    "params_of",
    "place",
    "placed_so_far",
    "ready",
    "schedule_of",
    "start",
]


class Metrics(NamedTuple):
    """What a schedule costs. Scalars."""

    makespan_us: Array | wide.Wide  # int32; where a tick is some us, exact and wide; where it is less, float32
    energy_j: Array  # float32; infinite where the platform's power is unknown
    edp_js: Array  # float32; likewise


class Own(NamedTuple):
    """What an instance in the shape of a larger one has itself. int32."""

    tasks: Array  # N
    power_known: Array  # 0 or 1


class Params(NamedTuple):
    """An instance."""

    arrays: model.Arrays  # of all operating points where designs decide them
    element: Array  # int32[N, M], the elements that can run each task, by the index in a design
    level: Array  # int32[C], the operating points, where a design does not decide
    way_on: Array  # int32[N], us, the fastest way from the end of a task to the end of the graph
    features: Array  # float32[N, 2], upward rank and mean run time over the reference makespan
    critical_path: Array  # int32, us, the fastest way through the graph
    reference_makespan: Array  # float32, us
    reference: Array  # float32, the objective's, of a makespan in ticks
    tick_us: Array | None  # of the instance's times, where it is not 1: int32, or float32 where that holds it not
    own: Own | None = None  # where it is padded


class Placed(NamedTuple):
    """A schedule, whole or in the making, and at which frequencies."""

    placement: model.Placement
    run_time: Array  # int32[N, P], us
    level: Array  # int32[C]


class State(NamedTuple):
    """Where an episode stands."""

    placement: model.Placement
    rank: jax.Array  # int32[N], the step at which each task was placed; N if not; -1 of padding
    step: jax.Array  # int32
    estimate: jax.Array  # float32, of the objective
    illegal: jax.Array  # int32, actions that counted as another


def params_of(instance: Instance, encoding: Encoding, reference_makespan_us: int) -> Params:
    """An instance; the reference's objective, costed when asked for, is not known yet."""
    able = candidates(instance)
    element = np.zeros((len(instance), max(map(len, able))), np.int32)
    for i, elements in enumerate(able):
        element[i] = elements[-1]
        element[i, : len(elements)] = elements
    way_on = np.zeros(len(instance), np.int32)
    for i in reversed(range(len(instance))):
        after = [edge.target for edge in instance.graph.successors[i]]
        way_on[i] = max((way_on[j] + instance.least_run_time_us[j] for j in after), default=0)
    mean = np.where(instance.feasible, instance.run_time_us, 0).sum(1) / instance.feasible.sum(1)
    scale = max(reference_makespan_us, 1)
    return Params(
        arrays=model.arrays(instance, levels=encoding.frequencies),
        element=element,
        level=np.zeros(len(instance.platform.clusters), np.int32),
        way_on=way_on,
        features=(np.stack([upward_rank(instance), mean], axis=1) / scale).astype(np.float32),
        critical_path=np.array((way_on + instance.least_run_time_us).max(), np.int32),
        reference_makespan=np.array(scale, np.float32),
        reference=np.array(np.nan, np.float32),
        tick_us=_tick(instance.platform.tick_us),
    )


def _tick(tick_us: Fraction) -> np.ndarray | None:
    if tick_us == 1:
        return None
    exact = tick_us.denominator == 1 and tick_us * MAX_TOTAL_US < wide.LIMIT
    return np.array(int(tick_us), np.int32) if exact else np.array(float(tick_us), np.float32)


# Designs


def place(encoding: Encoding, design: Array, params: Params) -> Placed:
    """The schedule of a design."""
    ranks, chosen, levels = encoding.split(design, len(params.element))
    level, run_time = jnp.asarray(params.level), jnp.asarray(params.arrays.run_time)[0]
    if levels is not None:
        level, run_time = jnp.asarray(levels), model.run_times(params.arrays, levels)
    order = model.effective_order(params.arrays, ranks)
    if chosen is None:
        return Placed(model.schedule_earliest(params.arrays, run_time, order), run_time, level)
    elements = jnp.take_along_axis(jnp.asarray(params.element), chosen[:, None], axis=1)[:, 0]
    return Placed(model.schedule(params.arrays, run_time, order, elements), run_time, level)


def metrics_of(placed: Placed, params: Params) -> Metrics:
    """Costs of a schedule; tasks that are not placed take no time."""
    placement, run_time, level = placed
    makespan = jnp.max(placement.available)
    if params.tick_us is not None:  # of a file whose platform has no power
        exact = jnp.asarray(params.tick_us).dtype == jnp.int32
        in_us = wide.multiply(makespan, params.tick_us) if exact else makespan.astype(jnp.float32) * params.tick_us
        return Metrics(in_us, jnp.float32(model.UNKNOWN), jnp.float32(model.UNKNOWN))
    if not params.arrays.power.shape[1]:
        return Metrics(makespan, jnp.float32(model.UNKNOWN), jnp.float32(model.UNKNOWN))
    finish, element = placement.finish[:-1], placement.element[:-1]
    took = jnp.take_along_axis(jnp.asarray(run_time), element[:, None], axis=1)[:, 0]
    begin = jnp.where(finish > 0, finish - took, 0)
    energy = model.energy_j(params.arrays, model.residency_us(params.arrays, begin, finish, element), level)
    edp = energy * makespan.astype(jnp.float32) * 1e-6
    if params.own is not None:
        known = jnp.asarray(params.own.power_known) > 0
        energy, edp = (jnp.where(known, value, model.UNKNOWN) for value in (energy, edp))
    return Metrics(makespan, energy, edp)


def objective_of(metrics: Metrics, objective: str) -> jax.Array:
    """float32: `makespan` in us, `energy` in J or `edp` in J s."""
    makespan_us = metrics.makespan_us
    in_float = wide.to_float32(makespan_us) if isinstance(makespan_us, wide.Wide) else makespan_us.astype(jnp.float32)
    values = {"makespan": in_float, "energy": metrics.energy_j, "edp": metrics.edp_js}
    return jnp.asarray(values[objective])


_placed = jax.jit(place, static_argnums=0)


def schedule_of(
    encoding: Encoding, instance: Instance, design: np.ndarray, params: Params
) -> tuple[Instance, Schedule]:
    """The schedule that a design, int32[n], stands for, and the instance at its frequencies; on the host."""
    placed = jax.tree.map(np.asarray, _placed(encoding, np.asarray(design), params))
    element, finish = placed.placement.element[:-1], placed.placement.finish[:-1]
    begin = finish - placed.run_time[np.arange(len(element)), element]
    if encoding.frequencies:
        instance = bind(instance.graph, instance.platform, tuple(placed.level.tolist()))
    return instance, Schedule(element, begin, finish)


# Episodes, at the highest frequencies


def placed_so_far(state: State, params: Params) -> Placed:
    """What an episode has placed."""
    return Placed(state.placement, jnp.asarray(params.arrays.run_time)[0], jnp.asarray(params.level))


def start(params: Params, objective: str) -> State:
    """Nothing is placed."""
    tasks, zero = len(params.element), jnp.int32(0)
    first = jnp.asarray(params.critical_path, jnp.float32) if objective == "makespan" else jnp.float32(0)
    rank = jnp.full(tasks, tasks, jnp.int32)
    if params.own is not None:
        rank = jnp.where(jnp.arange(tasks) < params.own.tasks, rank, -1)
    return State(model.start(params.arrays), rank, zero, first, zero)


def ready(state: State, params: Params) -> jax.Array:
    """bool[N]: not placed, and every predecessor is."""
    waits = jnp.append(state.rank >= len(params.element), False)
    rows = jnp.any(waits[jnp.asarray(params.arrays.predecessor)], axis=1)
    return waits[:-1] & (model.of_each_task(params.arrays, rows.astype(jnp.int32)) == 0)


def legal(state: State, params: Params, *, by_element: bool) -> jax.Array:
    """bool[N * P]: ready tasks on elements that can run them; or bool[N]: ready tasks."""
    shown = ready(state, params)
    if not by_element:
        return shown
    return (shown[:, None] & (jnp.asarray(params.arrays.run_time)[0] < model.NEVER)).ravel()


def estimated_finishes(state: State, params: Params) -> jax.Array:
    """int32[N, P], us: when each task would finish on each element; -1 if it is not ready or cannot run there."""
    run_time = jnp.asarray(params.arrays.run_time)[0]
    finishes = model.all_finish_times(params.arrays, run_time, state.placement)
    return jnp.where(legal(state, params, by_element=True).reshape(run_time.shape), finishes, -1)


def advance(state: State, action: Array, params: Params, *, by_element: bool, objective: str) -> State:
    """Places a task, with `by_element` on the element that is asked for, else where it finishes first.

    Args:
        state: of the episode.
        action: int32, task * P + element, or the task; clipped. One that is not legal counts as the first ready task
            where it finishes first.
        params: of the instance.
        by_element: whether actions name elements.
        objective: of the estimate.
    """
    arrays, run_time = params.arrays, jnp.asarray(params.arrays.run_time)[0]
    tasks, elements = run_time.shape
    action = jnp.clip(jnp.asarray(action, jnp.int32), 0, tasks * (elements if by_element else 1) - 1)
    allowed = legal(state, params, by_element=by_element)[action]
    fallback = jnp.argmax(ready(state, params)).astype(jnp.int32)
    task = jnp.where(allowed, action // elements if by_element else action, fallback)
    element = jnp.argmin(model.finish_times(arrays, run_time, state.placement, task)).astype(jnp.int32)
    if by_element:
        element = jnp.where(allowed, action % elements, element)
    placement = model.place_given(arrays, run_time, state.placement, task, element)
    rank = jnp.where(jnp.arange(tasks) == task, state.step, state.rank)
    moved = State(placement, rank, state.step + 1, state.estimate, state.illegal + ~allowed)
    return moved._replace(estimate=_estimate(moved, params, objective))


def over(state: State, params: Params) -> jax.Array:
    """Whether every task is placed."""
    return state.step >= (len(state.rank) if params.own is None else jnp.asarray(params.own.tasks))


def _estimate(state: State, params: Params, objective: str) -> jax.Array:
    """float32: for the makespan the latest finish so far with the fastest way on; else the costs of what is placed."""
    if objective != "makespan":
        return objective_of(metrics_of(placed_so_far(state, params), params), objective)
    return least_makespan(state, params).astype(jnp.float32)


def least_makespan(state: State, params: Params) -> jax.Array:
    """int32: the latest finish so far with the fastest way on from there; no schedule that goes on so is shorter."""
    ends = jnp.where(state.rank < len(params.element), state.placement.finish[:-1] + params.way_on, 0)
    return jnp.maximum(jnp.max(ends), params.critical_path)


def design_of(state: State, params: Params, *, by_element: bool) -> jax.Array:
    """int32[n]; tasks that are not placed count as last, on the first element that can run them.

    Of an instance that is padded the ranks of its own tasks come first, then their elements, then zeros.
    """
    tasks, own = len(params.element), params.own
    ranks = jnp.minimum(state.rank, tasks - 1)
    if own is not None:
        ranks = jnp.clip(state.rank, 0, own.tasks - 1)
    if not by_element:
        return ranks
    index = jnp.argmax(jnp.asarray(params.element) == state.placement.element[:-1, None], axis=1)
    index = jnp.where(state.rank < tasks, index, 0).astype(jnp.int32)
    if own is None:
        return jnp.concatenate([ranks, index])
    place, zeros = jnp.arange(2 * tasks), jnp.zeros_like(ranks)
    elements = jnp.where(place < 2 * own.tasks, model.at(jnp.append(index, zeros), place - own.tasks), 0)
    return jnp.where(place < own.tasks, jnp.append(ranks, zeros), elements)


def decide(design: Array, state: State, params: Params, *, by_element: bool) -> jax.Array:
    """int32, the action that follows a design of ranks and, with `by_element`, elements: the first task in the order of
    effective ranks that is not placed. The design of an instance that is padded is as `design_of` has it.
    """
    tasks, elements = jnp.asarray(params.arrays.run_time)[0].shape
    design = jnp.asarray(design)
    if params.own is not None:  # what is padded counts as placed, so that its ranks and elements mean nothing
        place = jnp.arange(len(design))
        moved = model.at(design, jnp.minimum(place - tasks + params.own.tasks, len(design) - 1))
        design = jnp.where(place < tasks, design, moved)
    ranks, chosen, _ = Encoding(by_element, False).split(design, tasks)
    order = model.effective_order(params.arrays, ranks)
    task = order[jnp.argmax(state.rank[order] >= tasks)]
    if chosen is None:
        return task.astype(jnp.int32)
    return (task * elements + jnp.asarray(params.element)[task, chosen[task]]).astype(jnp.int32)
