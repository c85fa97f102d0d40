"""REINFORCE with a greedy baseline (ReMax, Li et al., 2023): an episode's gain is over the greedy one's from its start.

B lanes, each an episode from its beginning to its end; T steps at most, A actions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from ...costmodels.arrays import Array
from ...envs.core.functional import FunctionalEnv
from ...envs.core.stepping import chosen
from .base import Act, greedy, judged, sampled
from .fitting import OPTIMISER, descended
from .gradient_learner import GradientLearner

__all__ = ["Carry", "Reinforce", "Row"]


class Carry(NamedTuple):
    """What a training goes on from."""

    variables: Any
    moments: Any  # of Adam
    key: Array  # uint32 words
    done: Array  # int32, updates
    updates: Array  # int32, of the whole training


class Row(NamedTuple):
    """A step of an episode that is to be learned from."""

    observation: Array  # float32[n]
    mask: Array | None  # bool[A]
    action: Array
    reward: Array  # float32, 0 after the end
    alive: Array  # bool, whether the step was before the end


@dataclass(frozen=True)
class Reinforce(GradientLearner):
    """REINFORCE whose baseline is the return of the greedy policy from the same start, luck included; Adam, its rate
    falling to 0. It learns no value.
    """

    entropy: float = 0.003

    name = "reinforce"
    summary = "REINFORCE with the greedy policy's return as baseline, ReMax (flax, Optax)"
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {**GradientLearner.ranges, "entropy": (0, 100)}

    def steps_per_update(self, env: FunctionalEnv[Any, Any]) -> int:
        """2 * B * T: the sampled episodes' and the greedy ones'."""
        return 2 * self.lanes * env.horizon

    def begin(self, env: FunctionalEnv[Any, Any], params: Any, key: Array, updates: int) -> Carry:
        """A network that knows nothing."""
        first, start, rest = jax.random.split(key, 3)
        variables = self.network(env).init(first, env.reset(start, params)[0])
        moments = OPTIMISER.init(variables)
        return Carry(variables, moments, jax.random.key_data(rest), jnp.int32(0), jnp.int32(updates))

    def update(self, env: FunctionalEnv[Any, Any], params: Any, carry: Carry) -> tuple[Carry, Mapping[str, Array]]:
        """B episodes, each sampled and greedy, and one step of gradient."""
        network: Any = self.network(env)  # flax types what `apply` returns too widely

        def pair(key: Array) -> tuple[Any, Row, Array]:
            start, draws = jax.random.split(key)
            first = env.start(start, params)
            last, rows = _episode(env, sampled(network, carry.variables), first, params, draws, lambda row: row)
            _, rewards = _episode(env, greedy(network, carry.variables), first, params, draws, lambda row: row.reward)
            return last, rows, rewards.sum()

        last, rows, baseline = jax.vmap(pair)(jax.random.split(self.update_key(carry), self.lanes))  # [B, T, ...]
        gain = rows.reward.sum(1) - baseline
        carry, entropy = self.learnt(network, carry, rows, gain[:, None])
        illegal = jax.vmap(env.illegal)(last)
        figures = {
            "reward": rows.reward.sum() / rows.alive.sum(),
            "ended": self.lanes / rows.alive.sum(),
            "illegal": jnp.float32(0) if illegal is None else illegal.sum().astype(jnp.float32),
            "entropy": entropy,
            "gain": gain.mean(),
        }
        return carry, figures

    def learnt(self, network: Any, carry: Carry, rows: Row, gain: Array) -> tuple[Carry, Array]:
        """The carry after a step up the gradient of rows, leaves [B, T, ...], and the mean entropy.

        Args:
            network: whose variables the carry has.
            carry: before the step.
            rows: of which those count that are alive.
            gain: of the episodes over their baselines, float32, [B, 1] or [B, T].
        """
        # The entropy's weight is then alike for all families.
        scaled = gain * jax.lax.rsqrt(jnp.mean(gain**2) + 1e-12)

        def loss(variables: Any) -> tuple[Array, Array]:
            logits, value = network.apply(variables, rows.observation, rows.mask)
            log_probability, entropy = judged(logits, rows.mask, rows.action, value.shape)
            steps = rows.alive.sum()
            uncertain = jnp.sum(jnp.where(rows.alive, entropy, 0.0)) / steps
            of_all = jnp.sum(jnp.where(rows.alive, log_probability, 0.0) * scaled) / steps
            return -of_all - self.entropy * uncertain, uncertain

        (_, entropy), gradient = jax.value_and_grad(loss, has_aux=True)(carry.variables)
        variables, moments = descended(gradient, carry.variables, carry.moments, self.rate(carry))
        return carry._replace(variables=variables, moments=moments, done=carry.done + 1), entropy


def _episode(
    env: FunctionalEnv[Any, Any], act: Act, first: Any, params: Any, key: Array, keep: Callable[[Row], Any]
) -> tuple[Any, Any]:
    """The last state of an episode, and what is kept of each of its T rows."""

    def step(state: Any, key: Array) -> tuple[Any, Any]:
        observation, mask, alive = (
            env.observation(state, params),
            env.action_mask(state, params),
            ~env.over(state, params),
        )
        action = act(observation, mask, key)
        moved = env.advance(state, action, params)
        reward = jnp.where(alive, env.reward(state, moved, params), 0.0)
        return chosen(alive, moved, state), keep(Row(observation, mask, action, reward, alive))

    return jax.lax.scan(step, first, jax.random.split(key, env.horizon))
