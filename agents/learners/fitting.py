"""Gradient steps on what a learner has gathered: epochs over rows in minibatches, by Adam with clipped gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ...costmodels.arrays import Array

__all__ = ["OPTIMISER", "compressed", "descended", "expanded", "fit", "returns_to_go"]

# (variables, a minibatch) -> its loss, float32[], and further figures.
Loss = Callable[[Any, Any], tuple[Array, Mapping[str, Array]]]

OPTIMISER = optax.chain(optax.clip_by_global_norm(0.5), optax.scale_by_adam(eps=1e-5))


def compressed(returns: Any) -> Array:
    """Returns in the units of a network's value, sign(x) log(1 + |x|) (DreamerV3, Hafner et al., 2023): near 0 as they
    are; so that one learning rate serves rewards of every size, and no scale has to be kept beside the weights.
    """
    return jnp.sign(returns) * jnp.log1p(jnp.abs(returns))


def expanded(value: Any) -> Array:
    """The inverse, in units of the reward; of values beyond any return as of the largest, e^20."""
    return jnp.sign(value) * jnp.expm1(jnp.minimum(jnp.abs(value), 20.0))


def descended(gradient: Any, variables: Any, moments: Any, rate: Array | float) -> tuple[Any, Any]:
    """The variables and `OPTIMISER`'s moments after a step down a gradient."""
    change, moments = OPTIMISER.update(gradient, moments, variables)
    return optax.apply_updates(variables, jax.tree.map(lambda leaf: -rate * leaf, change)), moments


def fit(
    loss: Loss, variables: Any, moments: Any, rows: Any, *, keys: Array, minibatches: int, rate: Array | float
) -> tuple[Any, Any, Mapping[str, Array]]:
    """Epochs over rows.

    Args:
        loss: of a minibatch, to be minimised.
        variables: of the network.
        moments: of `OPTIMISER`.
        rows: leaves [T, B, ...]; rows beyond a whole number of minibatches sit an epoch out.
        keys: one for each epoch, which its order is drawn from.
        minibatches: in an epoch.
        rate: of learning.

    Returns:
        The variables, the moments, and the figures' means over all minibatches.
    """
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows)
    count = jax.tree.leaves(rows)[0].shape[0]

    def step(at: tuple[Any, Any], chosen: Array) -> tuple[tuple[Any, Any], Mapping[str, Array]]:
        gradient, figures = jax.grad(loss, has_aux=True)(at[0], jax.tree.map(lambda leaf: leaf[chosen], rows))
        return descended(gradient, *at, rate), figures

    def epoch(at: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], Mapping[str, Array]]:
        order = jax.random.permutation(key, count)[: count - count % minibatches]
        return jax.lax.scan(step, at, order.reshape(minibatches, -1))

    (variables, moments), figures = jax.lax.scan(epoch, (variables, moments), keys)
    return variables, moments, jax.tree.map(jnp.mean, figures)


def returns_to_go(reward: Array, terminal: Array, value: Array, last: Array, *, discount: float, trace: float) -> Array:
    """float32[T, B]: from each step to the end of its episode, by TD(lambda).

    Args:
        reward: float32[T, B].
        terminal: bool[T, B], whether the step ended an episode.
        value: float32[T, B], of the states that steps began in.
        last: float32[B], of the states after the last step.
        discount: of a step.
        trace: lambda: how far a return looks beyond the next value; 1 to the end of the episode, or of the steps.
    """

    def back(at: tuple[Array, Array], row: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        following, value_after = at
        reward, terminal, value = row
        ahead = (1 - trace) * value_after + trace * following
        found = reward + discount * jnp.where(terminal, 0.0, ahead)
        return (found, value), found

    return jax.lax.scan(back, (last, last), (reward, terminal, value), reverse=True)[1]
