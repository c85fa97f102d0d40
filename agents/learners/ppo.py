"""Proximal policy optimisation (Schulman et al., 2017): steps, advantages and gradients in one compiled update.

B lanes, T steps of a rollout, A actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from ...costmodels.arrays import Array
from ...envs.core.functional import FunctionalEnv
from ...envs.core.stepping import Lane, step_lanes
from .base import judged, masked
from .fitting import OPTIMISER, fit
from .gradient_learner import RolloutLearner, illegal_actions, rollout_figures

__all__ = ["Batch", "Carry", "ProximalPolicyOptimisation", "Scale"]


class Scale(NamedTuple):
    """Running moments of the returns so far: rewards are divided by their standard deviation, so that one learning rate
    serves families whose rewards differ by orders of magnitude.
    """

    seen: Array  # float32, how many
    mean: Array  # float32
    squares: Array  # float32, sum of squared differences from the mean
    returns: Array  # float32[B], of the episodes under way, discounted

    @classmethod
    def of_nothing(cls, lanes: int) -> Scale:
        """Before the first return."""
        zero = jnp.float32(0)
        return cls(zero, zero, zero, jnp.zeros(lanes))


class Carry(NamedTuple):
    """What a training goes on from."""

    variables: Any
    moments: Any  # of Adam
    lanes: Lane  # [B]
    observation: Array  # float32[B, n]
    mask: Array | None  # bool[B, A]
    scale: Scale
    key: Array  # uint32 words
    done: Array  # int32, updates
    updates: Array  # int32, of the whole training


class Batch(NamedTuple):
    """What an update learns from; leaves [T, B, ...]."""

    observation: Array
    mask: Array | None
    action: Array
    log_probability: Array
    value: Array
    reward: Array
    terminal: Array
    illegal: Array


@dataclass(frozen=True)
class ProximalPolicyOptimisation(RolloutLearner):
    """PPO with clipped ratios, generalised advantages, rewards over the running deviation of returns, and Adam, its
    rate falling to 0.
    """

    lanes: int = 1024  # B
    clip: float = 0.2
    entropy: float = 0.003

    name = "ppo"
    summary = "proximal policy optimisation (flax, Optax)"
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        **RolloutLearner.ranges,
        "clip": (1e-6, 100),
        "entropy": (0, 100),
    }

    def begin(self, env: FunctionalEnv[Any, Any], params: Any, key: Array, updates: int) -> Carry:
        """As `first`, no return seen yet.

        Raises: as `first`.
        """
        variables, lanes, observation, mask, rest = self.first(env, params, key)
        moments, scale = OPTIMISER.init(variables), Scale.of_nothing(self.lanes)
        return Carry(variables, moments, lanes, observation, mask, scale, rest, jnp.int32(0), jnp.int32(updates))

    def update(self, env: FunctionalEnv[Any, Any], params: Any, carry: Carry) -> tuple[Carry, Mapping[str, Array]]:
        """A rollout of T steps, then the epochs over it, in minibatches."""
        network: Any = self.network(env)  # flax types what `apply` returns too widely
        keys = jax.random.split(self.update_key(carry), self.rollout + self.epochs)

        def act(at: tuple[Lane, Array, Array | None], key: Array) -> tuple[Any, Batch]:
            lanes, observation, mask = at
            logits, value = network.apply(carry.variables, observation, mask)
            action = jax.random.categorical(key, masked(logits, mask)).astype(jnp.int32)
            log_probability, _ = judged(logits, mask, action, value.shape)
            lanes, found = step_lanes(env, lanes, action, params)
            batch = Batch(
                observation,
                mask,
                action,
                log_probability,
                value,
                found.reward,
                found.terminal,
                illegal_actions(found),
            )
            return (lanes, found.observation, found.action_mask), batch

        start = (carry.lanes, carry.observation, carry.mask)
        (lanes, observation, mask), batch = jax.lax.scan(act, start, keys[: self.rollout])
        carry, figures = self.learnt(
            network, carry._replace(lanes=lanes, observation=observation, mask=mask), batch, keys[self.rollout :]
        )
        return carry, {**rollout_figures(batch.reward, batch.terminal, batch.illegal), **figures}

    def learnt(self, network: Any, carry: Carry, batch: Batch, keys: Array) -> tuple[Carry, Mapping[str, Array]]:
        """The carry after the epochs over a rollout, and figures of them.

        Args:
            network: whose variables the carry has.
            carry: its observation and mask are those after the rollout.
            batch: the rollout's steps.
            keys: one for each epoch.
        """
        scale, per_reward = self._scaled(carry.scale, batch)
        _, last = network.apply(carry.variables, carry.observation, carry.mask)
        advantage = self._advantages(batch._replace(reward=batch.reward * per_reward), last)
        variables, moments, figures = fit(
            lambda variables, row: self._loss(network, variables, *row),
            carry.variables,
            carry.moments,
            (batch, advantage, advantage + batch.value),
            keys=keys,
            minibatches=self.minibatches,
            rate=self.rate(carry),
        )
        return carry._replace(variables=variables, moments=moments, scale=scale, done=carry.done + 1), figures

    def _scaled(self, scale: Scale, batch: Batch) -> tuple[Scale, Array]:
        """The moments with a rollout's returns so far, and 1 over their deviation as it was after each step, float32
        [T, 1]: as `VecNormalize` of stable-baselines3 does it. One deviation for a whole rollout learns worse where
        an update is a large part of the training (`benchmarks/learners.py`).
        """

        def step(scale: Scale, row: Batch) -> tuple[Scale, Array]:
            returns = self.discount * scale.returns + row.reward
            count, mean = jnp.float32(returns.size), returns.mean()
            total, apart = scale.seen + count, mean - scale.mean
            squares = scale.squares + jnp.sum((returns - mean) ** 2) + apart**2 * scale.seen * count / total
            after = Scale(total, scale.mean + apart * count / total, squares, jnp.where(row.terminal, 0.0, returns))
            return after, jax.lax.rsqrt(squares / total + 1e-8)

        scale, per_reward = jax.lax.scan(step, scale, batch)
        return scale, per_reward[:, None]

    def _advantages(self, batch: Batch, last: Array) -> Array:
        """float32[T, B]: generalised advantage estimates; `last`, float32[B], is the value of what comes next."""

        def back(at: tuple[Array, Array], row: Batch) -> tuple[tuple[Array, Array], Array]:
            advantage, value_after = at
            goes_on = 1.0 - row.terminal
            error = row.reward + self.discount * value_after * goes_on - row.value
            advantage = error + self.discount * self.trace * goes_on * advantage
            return (advantage, row.value), advantage

        return jax.lax.scan(back, (jnp.zeros_like(last), last), batch, reverse=True)[1]

    def _loss(
        self, network: Any, variables: Any, batch: Batch, advantage: Array, target: Array
    ) -> tuple[Array, Mapping[str, Array]]:
        """float32[] of a minibatch, and the mean entropy."""
        logits, value = network.apply(variables, batch.observation, batch.mask)
        log_probability, entropy = judged(logits, batch.mask, batch.action, value.shape)
        ratio = jnp.exp(log_probability - batch.log_probability)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - self.clip, 1 + self.clip) * advantage)
        error = jnp.mean((value - target) ** 2)
        loss = -gain.mean() + self.value_weight * error - self.entropy * entropy.mean()
        return loss, {"entropy": entropy.mean()}
