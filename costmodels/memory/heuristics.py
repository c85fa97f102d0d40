"""Heuristics of the memory-mapping game: rules that decide access by access, and buffers pinned by an order.

Each makes a plan, int32[R] of actions, for `simulator.play`. The heuristic like XLA's is in `msa.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from . import msa, simulator
from .discrete import NONE, Arrays, DiscreteProgram
from .simulator import COPY, DROP, NO_COPY, Access, Place, State

__all__ = ["HEURISTICS", "View", "decide", "heuristic_plan", "msa_like"]


class View(NamedTuple):
    """What a rule sees of the next decision. Scalars; times in ticks."""

    mask: Array  # bool[3], the legal actions
    is_output: Array
    gain: Array  # time saved now by serving the access from fast memory
    stall: Array  # that a Copy would cost
    uses_left: Array  # accesses of the buffer after this one
    next_use: Array  # of the buffer, or NONE
    victim_use: Array  # the soonest next use of the buffers that would lose their place; a large number if none would


Rule = Callable[[View, int], int]  # (view, buffer) -> action

_NEVER = 2**30


def _view(arrays: Arrays, state: State, access: Access, place: Place) -> View:
    prefix, t = state.prefix, access.instruction
    memory = jnp.where(access.is_first, access.slow_bound, state.memory)
    faster = memory - (access.slow - access.fast)
    gain = jnp.maximum(access.compute, memory) - jnp.maximum(access.compute, faster)
    in_stall = access.copy - jnp.minimum(access.copy, prefix[t] - prefix[place.start])
    back_stall = access.copy - jnp.minimum(access.copy, simulator.write_back_idle(prefix, access))
    soonest = simulator.soonest_reserved(state, access, place)
    left = jnp.sum((arrays.buffer == access.buffer) & (jnp.arange(arrays.buffer.shape[0]) > access.number))
    return View(
        place.mask,
        access.is_output,
        gain,
        jnp.where(access.is_output, back_stall, in_stall),
        left,
        access.next_use,
        jnp.where(place.evicts & place.found, soonest, _NEVER),
    )


@jax.jit
def _begin(arrays: Arrays, table: Access) -> tuple[State, Place, View]:
    state = simulator.initial(arrays)
    access = simulator.access_at(table, 0)
    place = simulator.locate(arrays, state, access)
    return state, place, _view(arrays, state, access, place)


@jax.jit
def _advance(
    arrays: Arrays, table: Access, state: State, place: Place, number: Array, action: Array
) -> tuple[State, Place, View, Array]:
    state, record = simulator.step(arrays, state, simulator.access_at(table, number), place, action)
    access = simulator.access_at(table, jnp.minimum(number + 1, arrays.buffer.shape[0] - 1))
    place = simulator.locate(arrays, state, access)
    return state, place, _view(arrays, state, access, place), record.action


def decide(discrete: DiscreteProgram, rule: Rule) -> np.ndarray:
    """The plan that a rule makes, int32[R]: it sees each decision as the game stands then."""
    arrays = discrete.arrays
    table = jax.jit(simulator.accesses)(arrays)
    state, place, view = _begin(arrays, table)
    plan = np.zeros(len(arrays.buffer), np.int32)
    for number, buffer in enumerate(arrays.buffer):
        action = rule(View(*map(np.asarray, view)), int(buffer))
        state, place, view, executed = _advance(
            arrays, table, state, place, np.array(number, np.int32), np.array(action, np.int32)
        )
        plan[number] = int(executed)
    return plan


def _greedy(view: View, buffer: int) -> int:
    """NoCopy if it is legal, else Copy, else Drop."""
    del buffer
    return NO_COPY if view.mask[NO_COPY] else COPY if view.mask[COPY] else DROP


def _belady(view: View, buffer: int) -> int:
    """As greedy, but a buffer takes another's place only if the other is needed later than itself (Belady, 1966)."""
    wins = view.next_use != NONE and view.next_use < view.victim_use
    if view.victim_use < _NEVER and not wins and not (view.mask[NO_COPY] and not view.is_output):
        return DROP
    return _greedy(view, buffer)


def _frugal(view: View, buffer: int) -> int:
    """Keeps what will be used; copies in where the time saved, over up to three uses, is more than the copy's stall."""
    del buffer
    if view.mask[NO_COPY] and (view.uses_left > 0 or not view.is_output or view.gain > view.stall):
        return NO_COPY
    if view.mask[COPY] and not view.is_output and view.gain * min(view.uses_left + 1, 3) > view.stall:
        return COPY
    return DROP


def _pinned(discrete: DiscreteProgram, score: np.ndarray) -> Rule:
    """Greedy on a set of buffers, Drop on the rest: by falling score, those that fit beside the ones before them for
    their whole lifetimes."""
    arrays = discrete.arrays
    first, last = _lifetimes(discrete)
    load = np.zeros(len(arrays.compute), np.int64)
    pinned = set()
    for b in np.argsort(-score, kind="stable"):
        span = slice(first[b], last[b] + 1)
        if score[b] > 0 and arrays.granules[b] > 0 and np.all(load[span] + arrays.granules[b] <= arrays.capacity):
            load[span] += arrays.granules[b]
            pinned.add(int(b))
    return lambda view, buffer: _greedy(view, buffer) if buffer in pinned else DROP


def _lifetimes(discrete: DiscreteProgram) -> tuple[np.ndarray, np.ndarray]:
    """The instructions of each buffer's first and last access."""
    arrays = discrete.arrays
    first, last = np.zeros(len(arrays.granules), int), np.zeros(len(arrays.granules), int)
    first[arrays.buffer[::-1]] = arrays.instruction[::-1]
    last[arrays.buffer] = arrays.instruction
    return first, last


def _pin_scores(discrete: DiscreteProgram) -> Mapping[str, np.ndarray]:
    sizes = np.array([buffer.bytes for buffer in discrete.program.buffers], float)
    benefit = np.maximum(msa.profile(discrete.arrays, sizes).benefit, 0.0)
    first, last = _lifetimes(discrete)
    positive = np.maximum(sizes, 1.0)
    return {
        "pin_by_size": sizes,
        "pin_by_benefit": benefit / np.sqrt(positive),
        "pin_by_density": benefit / (positive * (last - first + 1)),
    }


@jax.jit
def _msa_plan(arrays: Arrays, profile: msa.Profile, knobs: msa.Knobs[Array]) -> jax.Array:
    return msa.plan(arrays, profile, knobs)


def msa_like(discrete: DiscreteProgram, knobs: msa.Knobs[float] = msa.DEFAULTS) -> np.ndarray:
    """The plan of the heuristic like XLA's, int32[R]."""
    sizes = [buffer.bytes for buffer in discrete.program.buffers]
    values = msa.Knobs(*(np.array(knob, np.float32) for knob in knobs))
    return np.asarray(_msa_plan(discrete.arrays, msa.profile(discrete.arrays, sizes), values))


def _rule(rule: Rule) -> Callable[[DiscreteProgram], np.ndarray]:
    return lambda discrete: decide(discrete, rule)


def _pin(name: str) -> Callable[[DiscreteProgram], np.ndarray]:
    return lambda discrete: decide(discrete, _pinned(discrete, _pin_scores(discrete)[name]))


# Name: makes the plan.
HEURISTICS: Mapping[str, Callable[[DiscreteProgram], np.ndarray]] = {
    "all_slow": lambda discrete: np.zeros(len(discrete.arrays.buffer), np.int32),
    "greedy": _rule(_greedy),
    "belady": _rule(_belady),
    "frugal": _rule(_frugal),
    "pin_by_size": _pin("pin_by_size"),
    "pin_by_benefit": _pin("pin_by_benefit"),
    "pin_by_density": _pin("pin_by_density"),
    "msa_like": msa_like,
}


def heuristic_plan(name: str, discrete: DiscreteProgram) -> np.ndarray:
    """The plan of a heuristic, int32[R]."""
    return HEURISTICS[name](discrete)
