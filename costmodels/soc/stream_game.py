"""Jobs that keep arriving as a game of assigning task after task; and what a rule costs over traces. Pure JAX.

The rules: docs/soc_scheduling.md; the simulator: `simulator.py`. J slots for jobs, N tasks of a job at most, P
elements, A jobs of a trace, S traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from . import rules, simulator
from .instance import Instance
from .model import NEVER, UNKNOWN
from .simulator import Choice, Estimates, Trace
from .traces import draw_traces

__all__ = [
    "POOL",
    "TRACES",
    "Metrics",
    "Own",
    "Params",
    "State",
    "advance",
    "choice_of",
    "cost_of",
    "decide",
    "legal",
    "mean_metrics",
    "metrics_of",
    "objective_of",
    "over",
    "params_of",
    "play",
    "start",
    "start_trace",
    "trace_of",
]

TRACES = 16  # that a rule is costed on
POOL = 128  # traces that episodes draw from
_SEARCH, _HELD_OUT, _TRAINING = 1, 2, 3  # the first word of each set's seeds


class Metrics(NamedTuple):
    """What a rule costs, averaged over traces. Scalars, float32."""

    latency_us: Array  # of a job
    energy_j: Array  # infinite where the platform's power is unknown
    edp_js: Array  # likewise
    jobs_per_ms: Array  # throughput


class Own(NamedTuple):
    """What an instance in the shape of a larger one has itself. int32."""

    tasks: Array  # N
    slots: Array  # J
    power_known: Array  # 0 or 1


class Params(NamedTuple):
    """An instance."""

    arrays: simulator.Arrays
    facts: rules.Facts
    traces: Trace  # leaves [TRACES, ...]
    pool: Trace  # leaves [POOL, ...]
    queue: Array  # int32[J], its length is the number of slots
    unit_us: Array  # float32, us, of observations
    reference: Array  # float32, of the objective, on the traces of the search
    own: Own | None = None  # where it is padded


class State(NamedTuple):
    """Where an episode stands."""

    stream: simulator.State
    number: jax.Array  # int32, of the trace in the pool
    elapsed_us: jax.Array  # int32, that passed in the last step
    illegal: jax.Array  # int32, actions that counted as another


def params_of(
    instances: Sequence[Instance],
    *,
    probabilities: Sequence[float],
    mean_interval_us: float,
    noise: float,
    jobs: int,
    slots: int,
    full: bool,
) -> tuple[Params, Params]:
    """An instance on the search's and on the held-out traces; the reference's objective is not known yet.

    Args:
        instances: the kinds of jobs, on one platform.
        probabilities, mean_interval_us, noise, jobs: as of `draw_trace`.
        slots: J.
        full: whether as many jobs as there are slots arrive at 0.
    """
    arrays = simulator.arrays(instances)
    facts = rules.facts(arrays, instances)
    heads = [float(facts.rank[t, : len(instance)].max()) for t, instance in enumerate(instances)]

    def drawn(count: int, seed: int) -> Trace:
        return draw_traces(
            count,
            seed=[seed],
            jobs=jobs,
            probabilities=probabilities,
            mean_interval_us=mean_interval_us,
            noise=noise,
            tasks=arrays.run_time.shape[1],
            full=slots if full else 0,
        )

    params = Params(
        arrays=arrays,
        facts=facts,
        traces=drawn(TRACES, _SEARCH),
        pool=drawn(POOL, _TRAINING),
        queue=np.zeros(slots, np.int32),
        unit_us=np.array(max(float(np.mean(heads)), 1.0), np.float32),
        reference=np.array(np.nan, np.float32),
    )
    return params, params._replace(traces=drawn(TRACES, _HELD_OUT))


# Rules


def metrics_of(arrays: simulator.Arrays, stream: simulator.State, jobs: int, own: Own | None = None) -> Metrics:
    """Costs of streams that are over (or as far as they are), leaves [...]; `jobs` is A."""
    latency = stream.occupancy_us.astype(jnp.float32) / jobs
    if not arrays.power.shape[0]:
        energy = edp = jnp.full_like(latency, UNKNOWN)
    else:
        energy = jnp.sum(stream.residency_us.astype(jnp.float32) * arrays.power, axis=(-2, -1)) * 1e-6
        edp = energy * latency * 1e-6
        if own is not None:
            known = jnp.asarray(own.power_known) > 0
            energy, edp = (jnp.where(known, value, UNKNOWN) for value in (energy, edp))
    rate = jobs / jnp.maximum(stream.now, 1).astype(jnp.float32) * 1e3
    return Metrics(latency, energy, edp, rate)


def mean_metrics(arrays: simulator.Arrays, streams: simulator.State, jobs: int, own: Own | None = None) -> Metrics:
    """Means over traces, leaves [S], that were played to the end."""
    return jax.tree.map(jnp.mean, metrics_of(arrays, streams, jobs, own))


def objective_of(metrics: Metrics, objective: str) -> jax.Array:
    """float32[...]: `latency` in us, `energy` in J or `edp` in J s."""
    values = {"latency": metrics.latency_us, "energy": metrics.energy_j, "edp": metrics.edp_js}
    return jnp.asarray(values[objective])


def play(weights: rules.Weights, params: Params) -> simulator.State:
    """The final states of all traces under D weighted rules, leaves [D, S, ...] of weights with a leading axis D."""
    return simulator.play(
        params.arrays,
        params.traces,
        lambda each: rules.weighted_rule(params.facts, each),
        weights,
        queue=len(params.queue),
    )


@jax.custom_batching.custom_vmap
def cost_of(weights: rules.Weights, params: Params) -> Metrics:
    """What a weighted rule costs over the traces."""
    return jax.tree.map(lambda leaf: leaf[0], _costs_of(jax.tree.map(lambda leaf: leaf[None], weights), params))


@cost_of.def_vmap
def _(axis_size: int, in_batched: object, weights: rules.Weights, params: Params) -> tuple[Metrics, Metrics]:
    """One loop for all rules: `vmap` of a loop would select the whole state of every lane at every step."""
    del axis_size, in_batched  # only weights are ever batched
    costs = _costs_of(weights, params)
    return costs, jax.tree.map(lambda _: True, costs)


def _costs_of(weights: rules.Weights, params: Params) -> Metrics:
    """Leaves [D]; the means of one rule after another, so that no bit depends on D."""
    jobs = params.traces.arrival_us.shape[1]
    return jax.lax.map(lambda streams: mean_metrics(params.arrays, streams, jobs), play(weights, params))


# Episodes


def trace_of(traces: Trace, number: Array | int) -> Trace:
    """One of traces."""
    return Trace(*(jnp.asarray(leaf)[number] for leaf in traces))


def start(key: Array, params: Params) -> State:
    """A trace of the pool, at 0, when its first task is ready."""
    return start_trace(jax.random.randint(key, (), 0, len(params.pool.arrival_us)), params)


def start_trace(number: Array, params: Params) -> State:
    """The trace of this number in the pool, at 0, when its first task is ready."""
    slots = None if params.own is None else params.own.slots
    stream = simulator.initial(params.arrays, trace_of(params.pool, number), queue=len(params.queue), slots=slots)
    return State(stream, jnp.asarray(number), jnp.int32(0), jnp.int32(0))


def choice_of(
    stream: simulator.State, action: Array, params: Params, *, pairs: bool
) -> tuple[Choice, Estimates, jax.Array]:
    """What an action means: the assignment, its estimates, and whether the action was legal.

    Args:
        stream: in which a task is ready.
        action: int32, the element of the task that is offered, or (slot * N + task) * P + element; clipped. One that is
            not legal counts as the offered task where it is estimated to finish first.
        params: of the instance.
        pairs: whether actions name tasks.
    """
    _, most, elements = params.arrays.run_time.shape
    action = jnp.clip(jnp.asarray(action, jnp.int32), 0, elements * (stream.status.size if pairs else 1) - 1)
    _, slot, task = simulator.offered(stream)
    element, allowed = action % elements, jnp.bool_(True)
    if pairs:
        wanted = action // elements
        allowed = stream.status.ravel()[wanted] == simulator.READY
        slot = jnp.where(allowed, wanted // most, slot)
        task = jnp.where(allowed, wanted % most, task)
    can = jnp.asarray(params.arrays.run_time)[stream.kind[slot], task] < NEVER
    allowed = allowed & can[element]
    if pairs:  # an element that cannot run the wanted task: back to the one that is offered
        _, first_slot, first_task = simulator.offered(stream)
        slot, task = jnp.where(allowed, slot, first_slot), jnp.where(allowed, task, first_task)
    given = simulator.estimates(params.arrays, stream, slot, task)
    element = jnp.where(allowed, element, jnp.argmin(given.finish).astype(jnp.int32))
    return Choice(slot, task, element), given, allowed


def advance(state: State, action: Array, params: Params, *, pairs: bool) -> State:
    """Assigns a task, see `choice_of`, and lets time pass until the next one is ready."""
    arrays, trace, stream = params.arrays, trace_of(params.pool, state.number), state.stream
    choice, given, allowed = choice_of(stream, action, params, pairs=pairs)
    moved = simulator.assign(arrays, trace, stream, choice, given, ~simulator.is_over(trace, stream))

    def nothing_to_decide(each: simulator.State) -> jax.Array:
        return ~jnp.any(each.status == simulator.READY) & ~simulator.is_over(trace, each)

    def go_on(each: simulator.State) -> simulator.State:
        each, more = simulator.start_one(each, jnp.bool_(True))
        return simulator.advance(arrays, trace, each, ~more)

    moved = jax.lax.while_loop(nothing_to_decide, go_on, moved)
    return State(moved, state.number, moved.now - stream.now, state.illegal + ~allowed)


def over(state: State, params: Params) -> jax.Array:
    """Whether every job has left."""
    return state.stream.completed >= params.pool.arrival_us.shape[1]


def legal(stream: simulator.State, params: Params, *, pairs: bool) -> jax.Array:
    """bool[P]: elements that can run the offered task; or bool[J * N * P]: every ready task's. All at the end."""
    run_time, over = jnp.asarray(params.arrays.run_time), stream.completed >= params.pool.arrival_us.shape[1]
    if params.own is not None:
        own, (slots, tasks) = params.own, stream.status.shape
        over = over & (jnp.asarray(params.arrays.cluster) >= 0)
        if pairs:
            over = over & ((jnp.arange(slots) < own.slots)[:, None] & (jnp.arange(tasks) < own.tasks))[:, :, None]
    if pairs:
        ready = (stream.status == simulator.READY)[:, :, None]
        return ((ready & (run_time[stream.kind] < NEVER)) | over).ravel()
    _, slot, task = simulator.offered(stream)
    return (run_time[stream.kind[slot], task] < NEVER) | over


def decide(weights: rules.Weights, state: State, params: Params, *, pairs: bool) -> jax.Array:
    """int32, the action of a weighted rule: the task and the element that it assigns next, or the element to which it
    sends the task that is offered.
    """
    stream, rule = state.stream, rules.weighted_rule(params.facts, weights)
    if not pairs:
        _, slot, task = simulator.offered(stream)
        return rule.element(stream, slot, task, simulator.estimates(params.arrays, stream, slot, task))
    choice, _ = simulator.choose(params.arrays, stream, rule)
    _, tasks, elements = params.arrays.run_time.shape
    return (choice.slot * tasks + choice.task) * elements + choice.element
