"""One stream played step by step on the host, to see which task ran where and when."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from . import simulator
from .simulator import READY, RUNNING, Arrays, Choice, Estimates, State, Trace

__all__ = ["Run", "replay"]


class Run(NamedTuple):
    """A task of a job on an element."""

    job: int
    kind: int
    task: int
    element: int
    start_us: int
    finish_us: int


@functools.cache
def _steps() -> tuple[Any, Any, Any]:
    return jax.jit(simulator.assign), jax.jit(simulator.start_one), jax.jit(simulator.advance)


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
    assign, start_one, advance = _steps()
    runs: list[Run] = []
    seen: set[tuple[int, int]] = set()
    while not bool(simulator.is_over(trace, state)):
        while bool(np.any(np.asarray(state.status) == READY)):
            chosen = choose(state)
            if chosen is None:
                return runs, state
            state = assign(arrays, trace, state, *chosen, np.bool_(True))
        more = True
        while more:
            state, left = start_one(state, np.bool_(True))
            more = bool(left)
            status, job, kind = np.asarray(state.status), np.asarray(state.job), np.asarray(state.kind)
            for slot, task in np.argwhere(status == RUNNING).tolist():
                key = (int(job[slot]), task)
                if key not in seen:
                    seen.add(key)
                    element, end = int(state.element[slot, task]), int(state.finish_us[slot, task])
                    runs.append(Run(key[0], int(kind[slot]), task, element, int(state.now), end))
        state = advance(arrays, trace, state, np.bool_(True))
    return runs, state
