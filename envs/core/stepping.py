"""Lanes: an environment's reset and step as faces and learners compile them.

A lane owns a key, from which every episode that it begins takes a share; so a lane's episodes depend on its seed alone,
not on how many lanes run beside it, and a single environment is one lane. B lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from .functional import FunctionalEnv, Step

__all__ = [
    "Lane",
    "chosen",
    "constants_of",
    "lane_keys",
    "move_lanes",
    "reset_lane",
    "reset_lanes",
    "step_lane",
    "step_lanes",
]


class Lane(NamedTuple):
    """Where a lane stands."""

    key: Array  # uint32 words, of the episodes to come
    state: Any  # of the environment


def lane_keys(seeds: Any) -> Array:
    """uint32[B, words]: the keys of lanes with these seeds, whole numbers from 0."""
    words = np.array([np.random.SeedSequence(int(seed)).generate_state(1)[0] for seed in seeds], np.uint32)
    return jax.vmap(lambda word: jax.random.key_data(jax.random.key(word)))(words)


def _shares(key: Array) -> tuple[Array, Array]:
    """The key that stays with the lane, as words, and the one of the next episode."""
    stays, episode = jax.random.split(jax.random.wrap_key_data(jnp.asarray(key)))
    return jax.random.key_data(stays), episode


def reset_lane(env: FunctionalEnv[Any, Any], key: Array, params: Any) -> tuple[Lane, Array, Array | None]:
    """The lane at the start of its next episode, the observation float32[n] and the action mask."""
    stays, episode = _shares(key)
    state = env.start(episode, params)
    return Lane(stays, state), env.observation(state, params), env.action_mask(state, params)


def step_lane(env: FunctionalEnv[Any, Any], lane: Lane, action: Array, params: Any) -> tuple[Lane, Step]:
    """One transition; where it ends the episode, the lane has begun its next one."""
    stays, episode = _shares(lane.key)
    after, step = env.lane_step(episode, lane.state, action, params)
    return Lane(jnp.where(step.terminal, stays, lane.key), after), step


def reset_lanes(env: FunctionalEnv[Any, Any], keys: Array, params: Any) -> tuple[Lane, Array, Array | None]:
    """`reset_lane` of B lanes, keys uint32[B, words]; everything it returns has a leading axis B."""
    return jax.vmap(lambda key: reset_lane(env, key, params))(keys)


def step_lanes(env: FunctionalEnv[Any, Any], lanes: Lane, actions: Array, params: Any) -> tuple[Lane, Step]:
    """`step_lane` of B lanes, actions int32[B, ...]; everything it returns has a leading axis B."""
    return jax.vmap(lambda lane, action: step_lane(env, lane, action, params))(lanes, actions)


def move_lanes(
    env: FunctionalEnv[Any, Any], lanes: Lane, actions: Array, restart: Array, params: Any
) -> tuple[Lane, Step]:
    """As `step_lanes`, but a lane goes on only where it is told to: where `restart`, bool[B], holds it begins its next
    episode and its action counts for nothing; elsewhere an episode that ends stays at its end.
    """

    def move(lane: Lane, action: Array, again: Array) -> tuple[Lane, Step]:
        fresh, first, mask = reset_lane(env, lane.key, params)
        moved = env.advance(lane.state, action, params)
        observation, legal = env.observation(moved, params), env.action_mask(moved, params)
        after = chosen(again, fresh, Lane(lane.key, moved))
        return after, Step(
            chosen(again, first, observation),
            jnp.where(again, 0.0, env.reward(lane.state, moved, params)),
            env.over(moved, params) & ~again,
            chosen(again, mask, legal),
            observation,
            env.final_info(moved, params),
            env.step_info(lane.state, action, moved, params),
        )

    return jax.vmap(move)(lanes, actions, restart)


def chosen(condition: Array, one: Any, other: Any) -> Any:
    """`one` where the condition, bool[], holds, leaf by leaf; else `other`."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def constants_of(params: Any) -> Callable[[], Any]:
    """A function that gives a problem's parameters as constants of the program that is being traced.

    XLA folds them into the cost model, which makes a step twice as fast as with arrays handed in; and they are traced
    values, so that an environment may index them with its state.
    """
    arrays = jax.tree.map(lambda leaf: np.asarray(jnp.asarray(leaf)), params)  # of the dtypes that JAX gives them
    return lambda: jax.tree.map(lambda array: jax.lax.bitcast_convert_type(array, array.dtype), arrays)
