"""Memory mapping as a game of one decision after another: pure JAX on one episode, over `simulator.py`.

The rules: docs/memory_mapping.md. T instructions, B buffers, R accesses.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from . import msa, simulator
from .discrete import Arrays, DiscreteProgram
from .views import AHEAD, BEHIND, access_features

__all__ = [
    "Metrics",
    "Params",
    "State",
    "action_mask",
    "advance",
    "latency_ticks",
    "metrics",
    "over",
    "params_of",
    "replay",
    "start",
]

replay = jax.jit(simulator.replay)
_accesses = jax.jit(simulator.accesses)
_initial = jax.jit(simulator.initial)


class Metrics(NamedTuple):
    """What a mapping costs. Scalars, float32 unless it says otherwise."""

    latency_s: Array
    speedup: Array  # over everything slow
    stall_s: Array  # waiting for copies, part of the latency
    illegal_actions: Array  # int32, that counted as drop


class Params(NamedTuple):
    """An instance."""

    arrays: Arrays
    accesses: simulator.Access  # of [R]
    start: simulator.State  # before the first decision
    profile: msa.Profile
    features: Array  # float32[BEHIND + R + AHEAD, views.COLUMNS], what is fixed about each access; 0 beyond the ends
    buffers: Array  # int32[BEHIND + R + AHEAD], their buffers; 0 beyond the ends
    all_slow: Array  # float32, ticks
    tick_s: Array  # float32


class State(NamedTuple):
    """Where an episode stands."""

    game: simulator.State
    place: simulator.Place  # of the next access
    number: Array  # int32, of the next access
    design: Array  # int32[R], actions as carried out; drop where undecided


def params_of(discrete: DiscreteProgram) -> Params:
    """An instance; every leaf a NumPy array."""
    arrays = discrete.arrays
    profile = msa.profile(arrays, [buffer.bytes for buffer in discrete.program.buffers])
    pad = (BEHIND, AHEAD)
    return Params(
        arrays=arrays,
        accesses=jax.tree.map(np.asarray, _accesses(arrays)),
        start=jax.tree.map(np.asarray, _initial(arrays)),
        profile=profile,
        features=np.pad(access_features(discrete, profile), (pad, (0, 0))),
        buffers=np.pad(np.asarray(arrays.buffer), pad),
        all_slow=np.asarray(discrete.all_slow_ticks, np.float32),
        tick_s=np.asarray(discrete.tick_s, np.float32),
    )


def start(key: Array, params: Params) -> State:
    """Nothing is decided."""
    del key
    game = jax.tree.map(jnp.asarray, params.start)
    place = simulator.locate(params.arrays, game, simulator.access_at(params.accesses, 0))
    return State(game, place, jnp.int32(0), jnp.zeros(params.arrays.buffer.shape, jnp.int32))


def advance(state: State, action: Array, params: Params) -> State:
    """Decides the next access; an action that is not legal counts as drop."""
    last = state.design.shape[0] - 1
    access = simulator.access_at(params.accesses, jnp.minimum(state.number, last))
    action = jnp.clip(jnp.asarray(action, jnp.int32), 0, len(simulator.ACTIONS) - 1)
    game, record = simulator.step(params.arrays, state.game, access, state.place, action)
    following = simulator.access_at(params.accesses, jnp.minimum(state.number + 1, last))
    place = simulator.locate(params.arrays, game, following)
    here = jnp.arange(state.design.shape[0]) == state.number
    return State(game, place, state.number + 1, jnp.where(here, record.action, state.design))


def over(state: State, params: Params) -> Array:
    """Whether every access is decided."""
    del params
    return state.number >= len(state.design)


def action_mask(state: State, params: Params) -> Array:
    """bool[3]; only drop after the end."""
    del params
    return state.place.mask & ((state.number < state.design.shape[0]) | (jnp.arange(3) == simulator.DROP))


def metrics(game: simulator.State, params: Params) -> Metrics:
    """Costs of what is decided, the rest slow."""
    latency = game.latency.astype(jnp.float32)
    return Metrics(
        latency * params.tick_s,
        params.all_slow / latency,
        game.stall.astype(jnp.float32) * params.tick_s,
        game.illegal,
    )


@jax.jit
def _latency(arrays: Arrays, plan: Array) -> Array:
    return simulator.play(arrays, plan).latency


def latency_ticks(discrete: DiscreteProgram, plan: np.ndarray) -> int:
    """What a plan, int32[R], costs."""
    return int(_latency(discrete.arrays, plan))
