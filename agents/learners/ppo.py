"""Proximal policy optimisation (Schulman et al., 2017): steps, advantages and gradients in one compiled update.

B lanes, T steps of a rollout, A actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ...costmodels.arrays import Array
from ...costmodels.errors import DsegymError
from ...envs.core.functional import FunctionalEnv
from ...envs.core.stepping import Lane, reset_lanes, step_lanes
from .base import Learner, judged, masked
from .networks import AUTO, RANGES, Configuration, Network, network_of

__all__ = ["ProximalPolicyOptimisation"]


class Scale(NamedTuple):
    """Running moments of the returns so far: rewards are divided by their standard deviation, so that one learning rate
    serves families whose rewards differ by orders of magnitude.
    """

    seen: Array  # float32, how many
    mean: Array  # float32
    squares: Array  # float32, sum of squared differences from the mean
    returns: Array  # float32[B], of the episodes under way, discounted


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


class _Batch(NamedTuple):
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
class ProximalPolicyOptimisation(Learner):
    """PPO with clipped ratios, generalised advantages, rewards over the running deviation of returns, and Adam, its
    rate falling to 0.
    """

    lanes: int = 1024  # B
    rollout: int = 32  # T, steps of each lane between updates
    epochs: int = 2
    minibatches: int = 8
    learning_rate: float = 2e-3
    discount: float = 1.0
    trace: float = 0.95  # of generalised advantage estimation
    clip: float = 0.2
    entropy: float = 0.003
    value_weight: float = 0.5  # of the value's loss
    architecture: str = AUTO
    units: int = 64
    layers: int = 2
    heads: int = 4

    name = "ppo"
    summary = "proximal policy optimisation (flax, Optax)"
    libraries = ("flax", "optax")
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "rollout": (16, 32, 64),
        "epochs": (1, 2, 4),
        "learning_rate": (5e-4, 1e-3, 2e-3, 4e-3),
        "entropy": (0.0, 0.003, 0.01),
        "units": (32, 64, 128),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "lanes": (1, 65_536),
        "rollout": (1, 100_000),
        "epochs": (1, 1000),
        "minibatches": (1, 10_000),
        "learning_rate": (1e-8, 10),
        "discount": (0, 1),
        "trace": (0, 1),
        "clip": (1e-6, 100),
        "entropy": (0, 100),
        "value_weight": (0, 100),
        "architecture": (1, 100),
        **RANGES,
    }

    def steps_per_update(self, env: FunctionalEnv[Any, Any]) -> int:
        """B * T."""
        del env
        return self.lanes * self.rollout

    def network(self, env: FunctionalEnv[Any, Any]) -> Network:
        """See `networks.py`."""
        return network_of(env, Configuration(self.architecture, self.units, self.layers, self.heads))

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(0.5), optax.scale_by_adam(eps=1e-5))

    def begin(self, env: FunctionalEnv[Any, Any], params: Any, key: Array, updates: int) -> Carry:
        """Every lane at the start of an episode, and a network that knows nothing.

        Raises:
            DsegymError: there are more minibatches than steps, or as `network`.
        """
        if self.minibatches > self.lanes * self.rollout:
            raise DsegymError(
                f"ppo's minibatches = {self.minibatches} exceed the {self.lanes * self.rollout} steps of an update."
            )
        first, start, rest = jax.random.split(key, 3)
        lanes, observation, mask = reset_lanes(env, jax.random.key_data(jax.random.split(start, self.lanes)), params)
        variables = self.network(env).init(first, observation)
        zero = jnp.float32(0)
        scale = Scale(zero, zero, zero, jnp.zeros(self.lanes))
        return Carry(
            variables,
            self._optimiser.init(variables),
            lanes,
            observation,
            mask,
            scale,
            jax.random.key_data(rest),
            jnp.int32(0),
            jnp.int32(updates),
        )

    def update(self, env: FunctionalEnv[Any, Any], params: Any, carry: Carry) -> tuple[Carry, Mapping[str, Array]]:
        """A rollout of T steps, then the epochs over it, in minibatches."""
        network: Any = self.network(env)  # flax types what `apply` returns too widely
        key = jax.random.fold_in(jax.random.wrap_key_data(jnp.asarray(carry.key)), carry.done)
        keys = jax.random.split(key, self.rollout + self.epochs)

        def act(at: tuple[Lane, Array, Array | None], key: Array) -> tuple[Any, _Batch]:
            lanes, observation, mask = at
            logits, value = network.apply(carry.variables, observation, mask)
            action = jax.random.categorical(key, masked(logits, mask)).astype(jnp.int32)
            log_probability, _ = judged(logits, mask, action, value.shape)
            lanes, found = step_lanes(env, lanes, action, params)
            illegal = found.final_info.get("illegal_actions", jnp.zeros(self.lanes, jnp.int32))
            batch = _Batch(
                observation,
                mask,
                action,
                log_probability,
                value,
                found.reward,
                found.terminal,
                jnp.where(found.terminal, illegal, 0),
            )
            return (lanes, found.observation, found.action_mask), batch

        start = (carry.lanes, carry.observation, carry.mask)
        (lanes, observation, mask), batch = jax.lax.scan(act, start, keys[: self.rollout])
        scale, per_reward = self._scaled(carry.scale, batch)
        _, last = network.apply(carry.variables, observation, mask)
        advantage = self._advantages(batch._replace(reward=batch.reward * per_reward), last)
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (batch, advantage, advantage + batch.value))
        rate = self.learning_rate * (1 - carry.done / carry.updates)

        def minibatch(learned: tuple[Any, Any], part: Any) -> tuple[Any, Array]:
            variables, moments = learned
            (_, entropy), gradient = jax.value_and_grad(self._loss, argnums=1, has_aux=True)(network, variables, *part)
            change, moments = self._optimiser.update(gradient, moments, variables)
            return (optax.apply_updates(variables, jax.tree.map(lambda leaf: -rate * leaf, change)), moments), entropy

        def epoch(learned: tuple[Any, Any], key: Array) -> tuple[Any, Array]:
            order = jax.random.permutation(key, self.lanes * self.rollout)
            order = order[: order.size - order.size % self.minibatches].reshape(self.minibatches, -1)
            return jax.lax.scan(
                lambda learned, rows: minibatch(learned, jax.tree.map(lambda leaf: leaf[rows], flat)), learned, order
            )

        learned = (carry.variables, carry.moments)
        (variables, moments), entropy = jax.lax.scan(epoch, learned, keys[self.rollout :])
        figures = {
            "reward": batch.reward.mean(),
            "ended": batch.terminal.mean(dtype=jnp.float32),
            "illegal": batch.illegal.sum().astype(jnp.float32),
            "entropy": entropy.mean(),
        }
        after = Carry(variables, moments, lanes, observation, mask, scale, carry.key, carry.done + 1, carry.updates)
        return after, figures

    def variables(self, carry: Carry) -> Any:
        """The network's."""
        return carry.variables

    def _scaled(self, scale: Scale, batch: _Batch) -> tuple[Scale, Array]:
        """The moments with a rollout's returns so far, and 1 over their deviation."""

        def step(returns: Array, row: _Batch) -> tuple[Array, Array]:
            returns = self.discount * returns + row.reward
            return jnp.where(row.terminal, 0.0, returns), returns

        last, new = jax.lax.scan(step, scale.returns, batch)
        count, mean, squares = jnp.float32(new.size), new.mean(), jnp.sum((new - new.mean()) ** 2)
        total, apart = scale.seen + count, mean - scale.mean
        squares = scale.squares + squares + apart**2 * scale.seen * count / total
        after = Scale(total, scale.mean + apart * count / total, squares, last)
        return after, jax.lax.rsqrt(squares / total + 1e-8)

    def _advantages(self, batch: _Batch, last: Array) -> Array:
        """float32[T, B]: generalised advantage estimates; `last`, float32[B], is the value of what comes next."""

        def back(at: tuple[Array, Array], row: _Batch) -> tuple[tuple[Array, Array], Array]:
            advantage, value_after = at
            goes_on = 1.0 - row.terminal
            error = row.reward + self.discount * value_after * goes_on - row.value
            advantage = error + self.discount * self.trace * goes_on * advantage
            return (advantage, row.value), advantage

        return jax.lax.scan(back, (jnp.zeros_like(last), last), batch, reverse=True)[1]

    def _loss(
        self, network: Any, variables: Any, batch: _Batch, advantage: Array, target: Array
    ) -> tuple[Array, Array]:
        """float32[] of a minibatch, and the mean entropy."""
        logits, value = network.apply(variables, batch.observation, batch.mask)
        log_probability, entropy = judged(logits, batch.mask, batch.action, value.shape)
        ratio = jnp.exp(log_probability - batch.log_probability)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - self.clip, 1 + self.clip) * advantage)
        error = jnp.mean((value - target) ** 2)
        loss = -gain.mean() + self.value_weight * error - self.entropy * entropy.mean()
        return loss, entropy.mean()
