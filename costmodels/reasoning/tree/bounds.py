"""The oracle of tree search, which knows which leaves can still reach a right answer; luck may beat it a little."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...luck import episode_key
from . import game, policies

__all__ = ["KEEPS", "Oracle", "oracle"]

KEEPS = (1, 2, 4, 8)  # leaves that the oracle keeps at most; whichever number is best on average


class Oracle(NamedTuple):
    """The oracle's means over the searches of an instance's seeds."""

    failure: float
    metrics: game.Metrics


def _decide(state: game.State, keep: Array) -> Array:
    """int32[K]: levels that keep the `keep` best-valued leaves of those that can still be right, or the best leaf."""
    wanted = policies.beam(state.nodes.value, state.nodes.there & state.nodes.good, keep) > 0
    return jnp.where(wanted, game.LEVELS - 1, 0)


@functools.partial(jax.jit, static_argnums=0)
def _searches(rules: game.Rules, params: game.Params) -> tuple[Array, game.Metrics]:
    """Failures and metrics, leaves float32[KEEPS, E]."""

    def search(keep: Array, seed: Array) -> tuple[Array, game.Metrics]:
        state = game.start(rules, episode_key(seed), params)

        def step(state: game.State, _: None) -> tuple[game.State, None]:
            return game.advance(rules, state, _decide(state, keep), params), None

        last, _ = jax.lax.scan(step, state, None, length=rules.depth)
        found = game.metrics(rules, last, params)
        return game.failure(found), found

    return jax.vmap(lambda keep: jax.vmap(lambda seed: search(keep, seed))(params.seeds))(jnp.array(KEEPS))


def oracle(rules: game.Rules, params: game.Params) -> Oracle:
    """What the oracle reaches."""
    failure, metrics = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64).mean(1), _searches(rules, params))
    best = int(np.argmin(failure))
    return Oracle(float(failure[best]), jax.tree.map(lambda leaf: float(leaf[best]), metrics))
