"""What agents that learn in JAX share: a policy for one of the referee's forms, and its rollouts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from .learners.base import greedy, sampled
from .learners.fitting import OPTIMISER
from .learners.networks import plain_network
from .referee import Referee, Trajectory

__all__ = ["Search"]


class Search:
    """A network for a form, and its start.

    Attributes:
        network: of two layers, which reads an observation as one vector.
        variables, moments: of a network that knows nothing, and of the learners' optimiser.

    Args:
        referee: of the search.
        form: one of the referee's; the first where it has none of this name.
        units: of a layer.
        seed: of the search.

    Raises:
        DsegymError: the form's observations are no vectors, or its actions are neither one choice nor several.
    """

    def __init__(self, referee: Referee, form: str, units: int, seed: int):
        self._referee, self._form = referee, form if form in referee.forms else referee.forms[0]
        observations, actions = referee.spaces(self._form)
        self.network: Any = plain_network(observations, actions, units)  # flax types what `apply` returns too widely
        first, self._key = jax.random.split(jax.random.key(seed))
        start = jnp.zeros(observations.shape, jnp.float32)  # pyright: ignore[reportArgumentType]: a Box has a shape
        self.variables = jax.jit(self.network.init)(first, start)
        self.moments = OPTIMISER.init(self.variables)

        def policy(variables: Any, observation: Any, mask: Any, key: Any) -> Any:
            return sampled(self.network, variables)(observation, mask, key)

        def likeliest(variables: Any, observation: Any, mask: Any, key: Any) -> Any:
            return greedy(self.network, variables)(observation, mask, key)

        self._policy, self._likeliest = policy, likeliest  # one function each: the referee exports it once

    @property
    def progress(self) -> tuple[Any, Any]:
        """Samples spent and the budget, int32: what learners know as updates done and updates in all."""
        budget = self._referee.budget
        return jnp.int32(budget - self._referee.samples_left), jnp.int32(budget)

    @property
    def keys(self) -> Iterator[Any]:
        """Keys for one update after the other."""
        update = 0
        while True:
            yield jax.random.fold_in(self._key, update)
            update += 1

    def rollout(self, variables: Any, lanes: int, steps: int, key: Any) -> Trajectory:
        """The policy's; raises as `Referee.rollout`."""
        return self._referee.rollout(self._policy, variables, lanes, steps, key, self._form)

    def greedy_rollout(self, variables: Any, steps: int, key: Any) -> Trajectory:
        """That of the likeliest actions, in one lane; raises as `Referee.rollout`."""
        return self._referee.rollout(self._likeliest, variables, 1, steps, key, self._form)
