"""What the learners of this package share: a network that fits the environment, and Adam, whose rate falls to 0.

B lanes, T steps of a rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ...costmodels.arrays import Array
from ...costmodels.errors import DsegymError
from ...envs.core.functional import FunctionalEnv, Step
from ...envs.core.stepping import Lane, reset_lanes
from .base import Learner
from .networks import AUTO, RANGES, Configuration, Network, network_of

__all__ = ["GradientLearner", "RolloutLearner", "illegal_actions", "rollout_figures"]


@dataclass(frozen=True)
class GradientLearner(Learner):
    """A learner whose carry has the fields `variables`, of its network; `key`, uint32 words; `done`, int32, updates so
    far; and `updates`, int32, those of the whole training.
    """

    lanes: int = 256  # B
    learning_rate: float = 2e-3  # of the first update
    architecture: str = AUTO
    units: int = 64
    layers: int = 2
    heads: int = 4

    libraries = ("flax", "optax")
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "lanes": (1, 65_536),
        "learning_rate": (1e-8, 10),
        "architecture": (1, 100),
        **RANGES,
    }

    def network(self, env: FunctionalEnv[Any, Any]) -> Network:
        """See `networks.py`."""
        return network_of(env, Configuration(self.architecture, self.units, self.layers, self.heads))

    def variables(self, carry: Any) -> Any:
        """The network's."""
        return carry.variables

    def update_key(self, carry: Any) -> Array:
        """The key of the update that comes next."""
        return jax.random.fold_in(jax.random.wrap_key_data(jnp.asarray(carry.key)), carry.done)

    def rate(self, carry: Any) -> Array:
        """float32: of learning, in the update that comes next."""
        return self.learning_rate * (1 - carry.done / carry.updates)


@dataclass(frozen=True)
class RolloutLearner(GradientLearner):
    """A learner whose lanes go on from update to update, T steps in each, learnt from in epochs of minibatches."""

    rollout: int = 32  # T, steps of each lane between updates
    epochs: int = 2
    minibatches: int = 8
    discount: float = 1.0
    trace: float = 0.95  # lambda of generalised advantages, or of the value's targets
    value_weight: float = 0.5  # of the value's loss

    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        **GradientLearner.ranges,
        "rollout": (1, 100_000),
        "epochs": (1, 1000),
        "minibatches": (1, 10_000),
        "discount": (0, 1),
        "trace": (0, 1),
        "value_weight": (0, 100),
    }

    def steps_per_update(self, env: FunctionalEnv[Any, Any]) -> int:
        """B * T."""
        del env
        return self.lanes * self.rollout

    def first(
        self, env: FunctionalEnv[Any, Any], params: Any, key: Array
    ) -> tuple[Any, Lane, Array, Array | None, Array]:
        """A network that knows nothing, and every lane at the start of an episode.

        Returns:
            The variables, lanes, observations float32[B, n], masks bool[B, A] or None, and the key of the updates,
            uint32 words.

        Raises:
            DsegymError: there are more minibatches than steps, or as `network`.
        """
        if self.minibatches > self.lanes * self.rollout:
            raise DsegymError(
                f"{self.name}'s minibatches = {self.minibatches} exceed the {self.lanes * self.rollout} steps of an "
                "update."
            )
        first, start, rest = jax.random.split(key, 3)
        keys = jax.random.key_data(jax.random.split(start, self.lanes))
        lanes, observation, mask = reset_lanes(env, keys, params)
        return self.network(env).init(first, observation), lanes, observation, mask, jax.random.key_data(rest)


def illegal_actions(step: Step) -> Array:
    """int32[B]: those of the episodes that a step of the lanes ended; 0 elsewhere, and where none are counted."""
    counted = step.final_info.get("illegal_actions", jnp.zeros(step.terminal.shape, jnp.int32))
    return jnp.where(step.terminal, counted, 0)


def rollout_figures(reward: Array, terminal: Array, illegal: Array) -> dict[str, Array]:
    """The figures for curves that every rollout has, of arrays [T, B]."""
    return {
        "reward": reward.mean(),
        "ended": terminal.mean(dtype=jnp.float32),
        "illegal": illegal.sum().astype(jnp.float32),
    }
