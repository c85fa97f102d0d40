"""One stream played step by step on the host, to see which task ran where and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from . import rules, simulator, stream_game
from .simulator import READY, RUNNING, Arrays, Choice, Estimates, State, Trace

__all__ = ["Run", "replay", "replay_actions", "replay_rule"]


class Run(NamedTuple):
    """A task of a job on an element."""

    job: int
    kind: int
    task: int
    element: int
    start_us: int
    finish_us: int


_assign, _start_one, _advance = jax.jit(simulator.assign), jax.jit(simulator.start_one), jax.jit(simulator.advance)
_choice_of = jax.jit(stream_game.choice_of, static_argnames="pairs")


@jax.jit
def _choose(arrays: Arrays, facts: rules.Facts, weights: rules.Weights, state: State) -> tuple[Choice, Estimates]:
    return simulator.choose(arrays, state, rules.weighted_rule(facts, weights))


def replay(
    arrays: Arrays,
    trace: Trace,
    state: State,
    choose: Callable[[State], tuple[Choice, Estimates] | None],
) -> tuple[list[Run], State]:
    """Plays from a state until `choose` gives None where a task is ready, or until every job has left.

    Args:
        arrays: the kinds of jobs.
        trace: what arrives.
        state: where to begin.
        choose: asked whenever a task is ready.

    Returns:
        The tasks in the order of their starts, and the last state.
    """
    runs: list[Run] = []
    seen: set[tuple[int, int]] = set()
    while not bool(simulator.is_over(trace, state)):
        while bool(np.any(np.asarray(state.status) == READY)):
            chosen = choose(state)
            if chosen is None:
                return runs, state
            state = _assign(arrays, trace, state, *chosen, np.bool_(True))
        more = True
        while more:
            state, left = _start_one(state, np.bool_(True))
            more = bool(left)
            status, job, kind = np.asarray(state.status), np.asarray(state.job), np.asarray(state.kind)
            for slot, task in np.argwhere(status == RUNNING).tolist():
                key = (int(job[slot]), task)
                if key not in seen:
                    seen.add(key)
                    element, end = int(state.element[slot, task]), int(state.finish_us[slot, task])
                    runs.append(Run(key[0], int(kind[slot]), task, element, int(state.now), end))
        state = _advance(arrays, trace, state, np.bool_(True))
    return runs, state


def replay_rule(params: stream_game.Params, weights: rules.Weights, jobs: int) -> tuple[list[Run], State]:
    """The first jobs of the first trace of `params.traces` under a weighted rule."""
    trace = Trace(*(np.asarray(leaf)[0, :jobs] for leaf in params.traces))
    first = simulator.initial(params.arrays, trace, queue=len(params.queue))
    return replay(
        params.arrays,
        trace,
        jax.tree.map(np.asarray, first),
        lambda state: _choose(params.arrays, params.facts, weights, state),
    )


def replay_actions(
    params: stream_game.Params, first: stream_game.State, actions: Sequence[object], *, pairs: bool
) -> tuple[list[Run], State]:
    """An episode so far: the state in which it began, and the actions since then, as `stream_game.advance` has them."""
    trace = jax.tree.map(np.asarray, stream_game.trace_of(params.pool, int(first.number)))
    left = iter(actions)

    def choose(state: State) -> tuple[Choice, Estimates] | None:
        action = next(left, None)
        return None if action is None else _choice_of(state, action, params, pairs=pairs)[:2]

    return replay(params.arrays, trace, jax.tree.map(np.asarray, first.stream), choose)
