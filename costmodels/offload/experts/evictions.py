"""The cache of experts with victims of choice: a layer's bits and reads ahead, then one entry after another that goes.

`game` decides by an order what is evicted; here every eviction is an action. A step of `game` becomes one action,
`ahead x 4 + hot`, and then, as long as memory is over its capacity, one action for each entry that goes,
`LAYER_ACTIONS + layer x experts + expert`: any that is in memory and that the step did not touch. Nothing else differs,
so that bounds of `game` hold, and a policy that evicts by an order plays the same episodes (`none`, which evicts
without need, apart).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from . import game
from .game import ABSENT, AHEAD, HOT, KEEP, Metrics, Params

__all__ = [
    "LAYER_ACTIONS",
    "Metrics",
    "Params",
    "State",
    "action_mask",
    "advance",
    "evicting",
    "metrics",
    "most_steps",
    "over",
    "start",
    "victim",
]

LAYER_ACTIONS = len(AHEAD) * len(HOT)
_USUAL = HOT.index("all")  # what an action that is not legal counts as: nothing ahead, high bits
_LAST = np.iinfo(np.int32).max


class State(NamedTuple):
    """Where an episode stands."""

    cache: game.State  # after the layer that was asked for last, over its capacity where entries are still to go
    touched: Array  # bool[L, X], entries of that layer, and what it read ahead
    illegal: Array  # int32, actions that were not legal


def start(key: Array, params: Params) -> State:
    """As of `game`."""
    cache = game.start(key, params)
    return State(cache, jnp.zeros(cache.level.shape, bool), jnp.int32(0))


def _free(state: State) -> Array:
    """bool[L, X]: what may go."""
    return (state.cache.level > ABSENT) & ~state.touched


def evicting(state: State, params: Params) -> Array:
    """Whether an entry has to go before the next layer."""
    return (state.cache.used > params.capacity) & jnp.any(_free(state))


def action_mask(state: State, params: Params) -> Array:
    """bool[LAYER_ACTIONS + L x X]."""
    goes = evicting(state, params)
    return jnp.concatenate([jnp.broadcast_to(~goes, (LAYER_ACTIONS,)), _free(state).ravel() & goes])


def victim(state: State, keep: Array, params: Params) -> Array:
    """int32: the action that evicts what goes first by an order, of a place in `KEEP`; the first of equal ones."""
    layers = state.cache.level.shape[0]
    order = game.keys(state.cache, keep, (state.cache.step - 1) % layers, params)
    return LAYER_ACTIONS + jnp.argmin(jnp.where(_free(state), order, _LAST).ravel()).astype(jnp.int32)


def advance(state: State, action: Array, params: Params) -> State:
    """An eviction or a layer; what is not legal counts as the least recent, or as nothing ahead and high bits."""
    action = jnp.asarray(action, jnp.int32)
    mask = action_mask(state, params)
    legal = (action >= 0) & (action < mask.shape[0]) & mask[jnp.clip(action, 0, mask.shape[0] - 1)]
    goes = evicting(state, params)
    usual = jnp.where(goes, victim(state, jnp.int32(KEEP.index("recency")), params), _USUAL)
    action = jnp.where(legal, action, usual)

    place = jnp.maximum(action - LAYER_ACTIONS, 0)
    gone = np.arange(state.touched.size).reshape(state.touched.shape) == place
    size = jnp.sum(jnp.where(gone, game.sizes(state.cache.level, params), 0))
    level = jnp.where(gone, ABSENT, state.cache.level).astype(jnp.int8)

    layer = jnp.minimum(action, LAYER_ACTIONS - 1)
    moved, touched = game.asked(state.cache, layer // len(HOT), layer % len(HOT), params)
    evicted = state.cache._replace(level=level, used=state.cache.used - size)
    cache = jax.tree.map(lambda one, other: jnp.where(goes, one, other), evicted, moved)
    return State(cache, jnp.where(goes, state.touched, touched), state.illegal + ~legal)


def over(state: State, params: Params) -> Array:
    """Whether the window's last token is done; what would go after it stays."""
    return game.over(state.cache, params)


def metrics(state: State, params: Params) -> Metrics:
    """As of `game`."""
    return game.metrics(state.cache, params)


def most_steps(*, layers: int, experts: int, top_k: int, tokens: int) -> int:
    """Actions of an episode, at most: layers, and evictions of what is there at first and of all that is read."""
    return layers * experts + layers * tokens * (1 + top_k + AHEAD[-1])
