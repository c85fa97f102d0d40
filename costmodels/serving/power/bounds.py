"""What no policy can beat: every moment capped at once, and no more than it must be, or a single brake.

Without a brake power is never above the supply. What waits only adds to a class's work, and so to its power and its
latency; a cap takes a while. So each step loses at least what the best pair of frequencies loses that keeps within the
supply when nothing waits, all of them in force at once from the first step that a command reaches. With a brake an
episode costs `BRAKE_COST` at least. The lesser of the two, for each episode.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...luck import episode_key
from . import game
from .plant import LEVELS_MHZ, request_time

__all__ = ["least_impact", "loads"]

PAIRS = np.array(
    list(itertools.product(LEVELS_MHZ, repeat=2)), np.float32
)  # MHz of low and high priority; no cap first


def _loads(seed: Any, steps: int, params: game.Params) -> Array:
    def step(state: game.State, _: None) -> tuple[game.State, Array]:
        after = state._replace(step=state.step + 1)
        after = game.next_loads(after, game.draws(after.seed, after.step), params)
        return after, after.load

    return jax.lax.scan(step, game.start(episode_key(seed), params), None, length=steps)[1]


_loads_of = jax.jit(jax.vmap(_loads, in_axes=(0, None, None)), static_argnums=1)


def loads(params: game.Params) -> np.ndarray:
    """float32[E, T, 2]: of every episode, from its first step on."""
    return np.asarray(_loads_of(jnp.asarray(params.seeds), int(params.steps), params))


def least_impact(params: game.Params) -> np.ndarray:
    """float64[E]: a lower bound of each episode's objective."""
    load = loads(params).astype(np.float64)[:, :, None, :]  # [E, T, 1, 2]
    time = np.asarray(request_time(PAIRS), np.float64)  # [16, 2]
    busy = np.minimum(load * time, 1.0)
    power = np.asarray(game.row_power(busy.astype(np.float32), PAIRS, params), np.float64)
    weights = np.array([1.0, game.HIGH_WEIGHT]) / (1.0 + game.HIGH_WEIGHT)
    loss = (load * (time - 1.0)) @ weights
    reached = np.arange(load.shape[1])[:, None] >= int(params.delay_steps)
    allowed = (power <= 1.0 + 1e-5) & (reached | (np.arange(len(PAIRS)) == 0))  # rounding never lifts the bound
    least = np.where(allowed, loss, np.inf).min(axis=2)
    least = np.where(np.isfinite(least), least, 0.0)  # no pair holds: a brake, which is counted below
    expected = float(game.expected_load(params))
    return game.FLOOR + np.minimum(100.0 * least.mean(axis=1) / expected, game.BRAKE_COST) * (1 - 1e-5)
