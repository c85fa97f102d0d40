"""Rules that schedule a stream: the classic ones by name, and one of integer weights whose special cases they are.

N tasks, P elements, T kinds of jobs. All keys are integers, so that ties are ties on every machine.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from .instance import Instance
from .model import NEVER
from .ranks import static_level, upward_rank
from .simulator import Arrays, Estimates, Rule, State

__all__ = ["ELEMENT_FEATURES", "RULES", "TASK_FEATURES", "Facts", "facts", "named_rule", "weighted_rule"]

_MOST_US = 2**18  # us; features are cut here, so that weighted sums stay in int32
_SCALE = 1024  # levels and means are compared in 1/1024 us
_ALONE = 2**29  # the sufferage of a task that only one element can run
_HIGHEST = 2**30 - 1

# What the weighted rule sees of a task (a higher sum goes first) and of an element for it (a lower sum is better).
TASK_FEATURES = {
    "age": "time since its job was injected",
    "rank": "upward rank: the mean longest way from the task's start to the job's end",
    "mean": "mean run time over the elements",
    "least": "least run time over the elements",
    "finish": "time to the earliest estimated finish",
    "sufferage": "second earliest less earliest estimated finish",
}
ELEMENT_FEATURES = {
    "finish": "time to the estimated finish",
    "start": "time to the estimated start",
    "data": "time until the data are there",
    "available": "time until the element is estimated to be available",
    "run": "run time",
    "energy": "run time, times the power of one busy element over the largest such power",
}


class Facts(NamedTuple):
    """What rules know of the kinds of jobs beforehand."""

    mean: Array  # int32[T, N], 1/1024 us, of the run times over the elements that can run the task
    least: Array  # int32[T, N], us
    level: Array  # int32[T, N], 1/1024 us, upward rank without communication
    rank: Array  # int32[T, N], us, upward rank (`ranks.py`)
    energy: Array  # int32[T, N, P], us, see ELEMENT_FEATURES


def facts(arrays: Arrays, instances: Sequence[Instance]) -> Facts:
    """The facts of kinds of jobs, as NumPy."""
    feasible = arrays.run_time < NEVER
    count = np.maximum(feasible.sum(-1), 1)
    mean = np.where(feasible, arrays.run_time, 0).sum(-1) / count
    level, rank = np.zeros_like(mean), np.zeros_like(mean)
    for t, instance in enumerate(instances):
        tasks = len(instance)
        run_time = np.where(instance.feasible, arrays.run_time[t, :tasks], instance.run_time_us)  # a stream's own
        streamed = replace(instance, run_time_us=run_time)
        level[t, :tasks], rank[t, :tasks] = static_level(streamed), upward_rank(streamed)
    energy = np.zeros(arrays.run_time.shape)
    if arrays.power.shape[0]:
        one_busy = (arrays.power[:, 1] - arrays.power[:, 0])[arrays.cluster]
        energy = np.where(feasible, arrays.run_time, 0) * (one_busy / one_busy.max())
    return Facts(
        np.round(_SCALE * mean).astype(np.int32),
        arrays.run_time.min(-1),
        np.round(_SCALE * level).astype(np.int32),
        np.round(rank).astype(np.int32),
        np.round(energy).astype(np.int32),
    )


def _lowest(estimate: Estimates, *keys: Array) -> jax.Array:
    """The element that can run the task with the least keys, compared one after another; ties to the lowest number."""
    candidates = estimate.run_time < NEVER
    for key in keys:
        least = jnp.min(jnp.where(candidates, key, _HIGHEST))
        candidates = candidates & (key == least)
    numbers = jnp.arange(len(candidates))
    return jnp.minimum(jnp.min(jnp.where(candidates, numbers, len(numbers))), len(numbers) - 1)


def _least_two(finish: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The earliest and the second earliest finish; the second is beyond `NEVER` where there is none."""
    numbers = jnp.arange(len(finish))
    least = jnp.min(finish)
    where = jnp.min(jnp.where(finish == least, numbers, len(finish)))
    return least, jnp.min(jnp.where(numbers == where, _HIGHEST, finish))


def _sufferage(estimate: Estimates) -> jax.Array:
    least, second = _least_two(estimate.finish)
    return jnp.where(second >= NEVER, _ALONE, second - least)


def _kind(state: State, slot: jax.Array) -> jax.Array:
    return state.kind.at[slot].get(mode="promise_in_bounds")


def _of(table: Array, state: State, slot: jax.Array, task: jax.Array) -> jax.Array:
    """The entry of a table [T, N, ...] for a task."""
    return jnp.asarray(table).at[_kind(state, slot), task].get(mode="promise_in_bounds")


# Keys of elements, `(state, estimates) -> int32[P]`, and of tasks, `(facts, state, slot, task, estimates) -> int32`.
def _finish(state: State, estimate: Estimates) -> jax.Array:
    return estimate.finish


def _begin(state: State, estimate: Estimates) -> jax.Array:
    return estimate.start


def _run_time(state: State, estimate: Estimates) -> jax.Array:
    return estimate.run_time


def _is_busy(state: State, estimate: Estimates) -> jax.Array:
    return state.ends_us < NEVER


def _recent(state: State, estimate: Estimates) -> jax.Array:
    return state.recent


def _available(state: State, estimate: Estimates) -> jax.Array:
    return jnp.maximum(state.available, state.now)


def _without_communication(state: State, estimate: Estimates) -> jax.Array:
    return _available(state, estimate) + estimate.run_time


_TaskKey: TypeAlias = Callable[[Facts, State, jax.Array, jax.Array, Estimates], jax.Array]
_ElementKey: TypeAlias = Callable[[State, Estimates], jax.Array]


class _Classic(NamedTuple):
    """A rule by its keys, least first."""

    summary: str
    task: Sequence[_TaskKey]  # none: the task that is offered
    element: Sequence[_ElementKey]


_CLASSICS: Mapping[str, _Classic] = {
    "eft": _Classic("earliest finish time (MCT) of the offered task", (), (_finish,)),
    "met": _Classic(
        "least run time of the offered task; ties to idle elements, then to the fewest tasks assigned at once",
        (),
        (_run_time, _is_busy, _recent),
    ),
    "olb": _Classic("opportunistic load balancing: the offered task on the element available first", (), (_available,)),
    "etf_finish": _Classic(
        "the task and element with the earliest finish (ETF as DS3 and CEDR have it; dynamic min-min)",
        (lambda f, state, slot, task, e: jnp.min(e.finish),),
        (_finish,),
    ),
    "etf_start": _Classic(
        "the task and element with the earliest start, ties by static level (ETF as Hwang et al. 1989 have it)",
        (
            lambda f, state, slot, task, e: jnp.min(jnp.where(e.run_time < NEVER, e.start, NEVER)),
            lambda f, state, slot, task, e: -_of(f.level, state, slot, task),
        ),
        (_begin,),
    ),
    "stf": _Classic(
        "shortest task first, on its fastest element",
        (lambda f, state, slot, task, e: jnp.min(e.run_time),),
        (_run_time,),
    ),
    "max_min": _Classic(
        "the task whose earliest finish is latest, where it finishes first",
        (lambda f, state, slot, task, e: -jnp.min(e.finish),),
        (_finish,),
    ),
    "sufferage": _Classic(
        "the task that loses most if it does not get its best element, where it finishes first",
        (lambda f, state, slot, task, e: -_sufferage(e),),
        (_finish,),
    ),
    "heft_rt": _Classic(
        "run-time HEFT: the task of the largest mean run time, where it finishes first but for communication",
        (lambda f, state, slot, task, e: -_of(f.mean, state, slot, task),),
        (_without_communication,),
    ),
}
RULES: Mapping[str, str] = {name: classic.summary for name, classic in _CLASSICS.items()}


def named_rule(name: str, known: Facts) -> Rule:
    """A rule of `RULES`."""
    classic = _CLASSICS[name]

    def keys(state: State, slot: jax.Array, task: jax.Array, estimate: Estimates) -> tuple[Array | int, Array | int]:
        first, second, *_ = [*(key(known, state, slot, task, estimate) for key in classic.task), 0, 0]
        return first, second

    def element(state: State, slot: jax.Array, task: jax.Array, estimate: Estimates) -> jax.Array:
        return _lowest(estimate, *(key(state, estimate) for key in classic.element))

    return Rule(bool(classic.task), keys, element)


class Weights(NamedTuple):
    """The weighted rule's parameters, int32."""

    pairs: Array  # 0: first the task, by its sum, then the element; 1: task and element at once, by the sums together
    task: Array  # int32[6], of TASK_FEATURES
    element: Array  # int32[6], of ELEMENT_FEATURES


def weighted_rule(known: Facts, weights: Weights) -> Rule:
    """The rule of weights.

    A task's merit is the weighted sum of its features, an element's cost that of its own for the task. With `pairs` the
    task goes first whose least cost less its merit is least, without it the task of the largest merit; ties to the task
    offered first. It goes to the element of the least cost; ties to elements that run nothing, then to the fewest tasks
    assigned at once, then to the lowest number.
    """

    def costs(state: State, slot: jax.Array, task: jax.Array, estimate: Estimates) -> jax.Array:
        moments = (estimate.finish, estimate.start, estimate.data, state.available)
        features = [
            *(moment - state.now for moment in moments),
            estimate.run_time,
            _of(known.energy, state, slot, task),
        ]
        return jnp.where(estimate.run_time < NEVER, _weigh(weights.element, features), NEVER)

    def keys(state: State, slot: jax.Array, task: jax.Array, estimate: Estimates) -> tuple[Array | int, Array | int]:
        least, second = _least_two(estimate.finish)
        features = [
            state.now - state.injection_us.at[slot].get(mode="promise_in_bounds"),
            _of(known.rank, state, slot, task),
            _of(known.mean, state, slot, task) // _SCALE,
            _of(known.least, state, slot, task),
            least - state.now,
            jnp.where(second >= NEVER, _MOST_US, second - least),
        ]
        cost = jnp.where(weights.pairs > 0, jnp.min(costs(state, slot, task, estimate)), 0)
        return cost - _weigh(weights.task, features), 0

    def element(state: State, slot: jax.Array, task: jax.Array, estimate: Estimates) -> jax.Array:
        cost = costs(state, slot, task, estimate)
        return _lowest(estimate, cost, _is_busy(state, estimate), _recent(state, estimate))

    return Rule(True, keys, element)


def _weigh(weights: Array, features: Sequence[jax.Array]) -> jax.Array:
    """The weighted sum of features, each cut to [0, 2^18] us."""
    weighed = [weights[i] * jnp.clip(feature, 0, _MOST_US) for i, feature in enumerate(features)]
    return functools.reduce(operator.add, weighed)
