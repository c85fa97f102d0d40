"""Memory mapping as a game of one decision after another: pure JAX on one episode, over `simulator.py`.

The rules: docs/memory_mapping.md. T instructions, B buffers, R accesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from . import msa, simulator
from .discrete import NONE, PER_ACCESS, PER_BUFFER, PER_INSTRUCTION, Arrays, DiscreteProgram
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
    "padded",
    "params_of",
    "replay",
    "start",
]

replay = jax.jit(simulator.replay)
_PER_BUFFER = ("offset", "last", "slow_from")  # of a simulator's state


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
    instructions: Array  # int32, T of the instance itself, where its arrays are padded
    decisions: Array  # int32, R of the instance itself


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
        accesses=jax.tree.map(np.asarray, simulator.accesses(arrays, np)),
        start=jax.tree.map(np.asarray, simulator.initial(arrays, np)),
        profile=profile,
        features=np.pad(access_features(discrete, profile), (pad, (0, 0))),
        buffers=np.pad(np.asarray(arrays.buffer), pad),
        all_slow=np.asarray(discrete.all_slow_ticks, np.float32),
        tick_s=np.asarray(discrete.tick_s, np.float32),
        instructions=np.asarray(len(arrays.compute), np.int32),
        decisions=np.asarray(len(arrays.buffer), np.int32),
    )


def padded(params: Params, *, instructions: int, buffers: int, accesses: int) -> Params:
    """The same instance in arrays of T = `instructions`, B = `buffers` and R = `accesses`, none below its own.

    Instructions that it lacks take no time, so that what is idle until the end stays the same; buffers have no size;
    accesses are never decided.
    """
    more_instructions = instructions - len(params.arrays.compute)
    more_buffers = buffers - len(params.arrays.granules)
    more_accesses = accesses - len(params.arrays.buffer)

    def longer(leaves: Any, count: int, **fills: int) -> dict[str, np.ndarray]:
        return {
            name: np.pad(leaf, ((0, count), *[(0, 0)] * (leaf.ndim - 1)), constant_values=fills.get(name, 0))
            for name, leaf in leaves.items()
        }

    def of(group: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
        return {name: getattr(group, name) for name in names}

    arrays, start, profile = params.arrays, params.start, params.profile
    return params._replace(
        arrays=arrays._replace(
            **longer(of(arrays, PER_INSTRUCTION), more_instructions),
            **longer(of(arrays, PER_ACCESS), more_accesses, buffer=NONE, next_use=NONE),
            **longer(of(arrays, PER_BUFFER), more_buffers, predecessor=NONE, first_use=NONE, resident_offset=NONE),
        ),
        accesses=simulator.Access(**longer(params.accesses._asdict(), more_accesses)),
        start=start._replace(
            prefix=np.pad(start.prefix, (0, more_instructions), mode="edge"),
            **longer(of(start, _PER_BUFFER), more_buffers, **dict.fromkeys(_PER_BUFFER, NONE)),
        ),
        profile=msa.Profile(
            **longer(of(profile, ("benefit", "bytes", "write")), more_buffers, bytes=1, write=accesses),
            **longer(of(profile, ("previous", "saved")), more_accesses, previous=NONE),
        ),
        **longer(of(params, ("features", "buffers")), more_accesses),
    )


def start(key: Array, params: Params) -> State:
    """Nothing is decided."""
    del key
    game = jax.tree.map(jnp.asarray, params.start)
    place = simulator.locate(params.arrays, game, simulator.access_at(params.accesses, 0))
    return State(game, place, jnp.int32(0), jnp.zeros(params.arrays.buffer.shape, jnp.int32))


def advance(state: State, action: Array, params: Params) -> State:
    """Decides the next access; an action that is not legal counts as drop."""
    last = params.decisions - 1
    access = simulator.access_at(params.accesses, jnp.minimum(state.number, last))
    action = jnp.clip(jnp.asarray(action, jnp.int32), 0, len(simulator.ACTIONS) - 1)
    game, record = simulator.step(params.arrays, state.game, access, state.place, action)
    following = simulator.access_at(params.accesses, jnp.minimum(state.number + 1, last))
    place = simulator.locate(params.arrays, game, following)
    here = (jnp.arange(state.design.shape[0]) == state.number) & (state.number <= last)
    return State(game, place, state.number + 1, jnp.where(here, record.action, state.design))


def over(state: State, params: Params) -> Array:
    """Whether every access is decided."""
    return state.number >= params.decisions


def action_mask(state: State, params: Params) -> Array:
    """bool[3]; only drop after the end."""
    return state.place.mask & ((state.number < params.decisions) | (jnp.arange(3) == simulator.DROP))


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
