"""Proximal policy optimisation inside one compiled program, on a functional environment with Discrete actions.

Environment steps, advantages and updates are one `lax.scan`, so that ten million steps take minutes on two cores. The
network is two layers (flax) for the policy and two for the value; Adam (optax), its rate falling to 0.
Schulman et al., 2017. Shapes: B lanes, T steps of a rollout, A actions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dsegym.envs.core.functional import FunctionalEnv
from dsegym.envs.core.stepping import reset_lanes, step_lanes

__all__ = ["Settings", "greedy", "rows_of", "train"]


class Settings(NamedTuple):
    """Hyperparameters."""

    lanes: int = 1024  # B
    rollout: int = 32  # T, steps of each lane between updates
    epochs: int = 2
    minibatches: int = 8
    learning_rate: float = 2e-3
    discount: float = 1.0
    trace: float = 0.95  # of generalised advantage estimation
    clip: float = 0.2
    entropy: float = 0.003
    units: int = 64


def rows_of(env: FunctionalEnv) -> int:
    """How many of the features with which an observation begins have a value for each action."""
    shape = (int(env.action_space.n),)  # pyright: ignore[reportAttributeAccessIssue]
    return sum(1 for _ in itertools.takewhile(lambda feature: feature.shape == shape, env.features))


def network_of(env: FunctionalEnv, settings: Settings) -> Network:
    """The network of an environment: where actions have features of their own, one scorer for all of them."""
    actions = int(env.action_space.n)  # pyright: ignore[reportAttributeAccessIssue]
    return Network(actions, settings.units, rows_of(env))


class Network(nn.Module):
    """Logits, float32[A], and value, float32[], of an observation."""

    actions: int
    units: int
    rows: int = 0

    @nn.compact
    def __call__(self, observation: Any) -> tuple[Any, Any]:
        """Two towers; where actions have features, one scorer for all of them, and a value of means and maxima."""
        activation = nn.relu if self.rows else nn.tanh  # a scorer runs for every action: tanh would be half of its time

        def tower(x: Any, outputs: int, scale: float, name: str) -> Any:
            for layer in range(2):
                kernel = nn.initializers.orthogonal(np.sqrt(2))
                x = activation(nn.Dense(self.units, kernel_init=kernel, name=f"{name}{layer}")(x))
            return nn.Dense(outputs, kernel_init=nn.initializers.orthogonal(scale), name=f"{name}_out")(x)

        if not self.rows:
            return tower(observation, self.actions, 0.01, "policy"), tower(observation, 1, 1.0, "value")[..., 0]
        count = self.rows * self.actions
        shape = (*observation.shape[:-1], self.rows, self.actions)
        each = jnp.swapaxes(observation[..., :count].reshape(shape), -1, -2)
        rest = observation[..., None, count:]
        x = jnp.concatenate([each, jnp.broadcast_to(rest, (*each.shape[:-1], rest.shape[-1]))], axis=-1)
        seen = jnp.concatenate([each.mean(-2), each.max(-2), observation[..., count:]], axis=-1)
        return tower(x, 1, 0.01, "policy")[..., 0], tower(seen, 1, 1.0, "value")[..., 0]


class Batch(NamedTuple):
    """What an update learns from; leaves [T, B, ...]."""

    observation: Any
    mask: Any
    action: Any
    log_probability: Any
    value: Any
    reward: Any
    terminal: Any


def _masked(logits: Any, mask: Any) -> Any:
    return jax.nn.log_softmax(jnp.where(mask, logits, -1e9))


def _take(rows: Any, action: Any) -> Any:
    return jnp.take_along_axis(rows, action[..., None], axis=-1)[..., 0]


def train(
    env: FunctionalEnv, params: Any, *, steps: int, seed: int, settings: Settings | None = None
) -> tuple[Any, np.ndarray]:
    """Trains a policy.

    Args:
        env: of Discrete actions.
        params: the problem's, for training.
        steps: of the environment, all lanes together; whole rollouts, rounded up.
        seed: of everything.
        settings: hyperparameters.

    Returns:
        The network's variables, and float32[updates], the mean reward of a step in each rollout times the horizon.
    """
    chosen = settings or Settings()
    updates = -(-steps // (chosen.lanes * chosen.rollout))
    network = network_of(env, chosen)
    rate = optax.linear_schedule(chosen.learning_rate, 0.0, updates * chosen.epochs * chosen.minibatches)
    optimiser = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(rate, eps=1e-5))

    def act(variables, carry, key):
        env_carry, observation, mask = carry
        logits, value = network.apply(variables, observation)
        log_probabilities = _masked(logits, mask)
        action = jax.random.categorical(key, log_probabilities)
        lanes, found = step_lanes(env, env_carry, action, params)
        log_probability = _take(log_probabilities, action)
        batch = Batch(observation, mask, action, log_probability, value, found.reward, found.terminal)
        return (lanes, found.observation, _or_all(found.action_mask, mask)), batch

    def loss(variables, batch, advantage, target):
        logits, value = network.apply(variables, batch.observation)
        log_probabilities = _masked(logits, batch.mask)
        ratio = jnp.exp(_take(log_probabilities, batch.action) - batch.log_probability)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - chosen.clip, 1 + chosen.clip) * advantage)
        entropy = -jnp.sum(jnp.exp(log_probabilities) * jnp.where(batch.mask, log_probabilities, 0.0), axis=-1)
        return -gain.mean() + 0.5 * jnp.mean((value - target) ** 2) - chosen.entropy * entropy.mean()

    def update(carry, key):
        variables, moments, env_carry = carry
        keys = jax.random.split(key, chosen.rollout + chosen.epochs)
        env_carry, batch = jax.lax.scan(lambda c, k: act(variables, c, k), env_carry, keys[: chosen.rollout])
        _, last = network.apply(variables, env_carry[1])
        advantage = _advantages(batch, last, chosen)
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (batch, advantage, advantage + batch.value))

        def minibatch(carry, part):
            variables, moments = carry
            gradient = jax.grad(loss)(variables, *part)
            change, moments = optimiser.update(gradient, moments, variables)
            return (optax.apply_updates(variables, change), moments), None

        def epoch(carry, key):
            order = jax.random.permutation(key, flat[1].shape[0]).reshape(chosen.minibatches, -1)
            carry, _ = jax.lax.scan(
                lambda c, rows: minibatch(c, jax.tree.map(lambda leaf: leaf[rows], flat)), carry, order
            )
            return carry, None

        (variables, moments), _ = jax.lax.scan(epoch, (variables, moments), keys[chosen.rollout :])
        return (variables, moments, env_carry), batch.reward.mean() * env.horizon

    @jax.jit
    def run(key):
        first, start, rest = jax.random.split(key, 3)
        keys = jax.random.key_data(jax.random.split(start, chosen.lanes))
        env_carry, observation, mask = reset_lanes(env, keys, params)
        mask = _or_all(mask, jnp.ones((chosen.lanes, network.actions), bool))
        variables = network.init(first, observation)
        carry = (variables, optimiser.init(variables), (env_carry, observation, mask))
        (variables, _, _), curve = jax.lax.scan(update, carry, jax.random.split(rest, updates))
        return variables, curve

    variables, curve = run(jax.random.key(seed))
    return jax.block_until_ready(variables), np.asarray(curve)


def _or_all(mask: Any, otherwise: Any) -> Any:
    """The mask, or all actions where the environment has none."""
    return jnp.ones_like(otherwise) if mask is None else mask


def _advantages(batch: Batch, last: Any, chosen: Settings) -> Any:
    """float32[T, B]: generalised advantage estimates."""

    def back(carry, row):
        advantage, value_after = carry
        go_on = 1.0 - row.terminal
        delta = row.reward + chosen.discount * value_after * go_on - row.value
        advantage = delta + chosen.discount * chosen.trace * go_on * advantage
        return (advantage, row.value), advantage

    return jax.lax.scan(back, (jnp.zeros_like(last), last), batch, reverse=True)[1]


def greedy(env: FunctionalEnv, variables: Any, settings: Settings | None = None) -> Callable[[Any, Any], Any]:
    """`(state, params) -> action`: the likeliest legal action of a trained network."""
    chosen = settings or Settings()
    network = network_of(env, chosen)

    def decide(state: Any, params: Any) -> Any:
        logits, _ = network.apply(variables, env.observation(state, params))
        mask = env.action_mask(state, params)
        return jnp.argmax(logits if mask is None else jnp.where(mask, logits, -jnp.inf))

    return decide
