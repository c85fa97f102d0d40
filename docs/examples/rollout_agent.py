"""The worked example of a learner that competes: REINFORCE in JAX, whose episodes the referee plays and counts.

>>> from rollout_agent import Reinforce
>>> import dsegym
>>> referee = dsegym.Referee(dsegym.make_problem("dsegym/MemoryMapping-v0", program="mlp_tiny"), samples=64)
>>> Reinforce().search(referee, seed=0)
Traceback (most recent call last):
dsegym.costmodels.errors.BudgetExhausted: The budget of 64 samples is spent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsegym import Agent, Referee


@dataclass(frozen=True)
class Reinforce(Agent):
    """Policy gradients of returns, normalised over the rollout (Williams, 1992), by Adam; one hidden layer.

    Plays the first form whose actions are one choice each.
    """

    lanes: int = 32
    steps: int = 32
    learning_rate: float = 1e-2
    units: int = 64

    name = "reinforce"
    summary = "policy gradients on compiled rollouts (JAX)"
    libraries = ("optax",)
    needs = ("replayable form",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "lanes": (16, 32, 64),
        "learning_rate": (3e-3, 1e-2, 3e-2),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Learns until the budget is spent."""
        import jax
        import jax.numpy as jnp
        import optax

        form = next(form for form in referee.forms if hasattr(referee.spaces(form)[1], "n"))
        observations, actions = referee.spaces(form)
        inputs, outputs = observations.shape[0], int(actions.n)
        optimiser = optax.adam(self.learning_rate)

        def log_probabilities(weights: Any, observation: Any, mask: Any) -> Any:
            logits = jnp.tanh(observation @ weights["in"]) @ weights["out"]
            return jax.nn.log_softmax(logits if mask is None else jnp.where(mask, logits, -1e9))

        def policy(weights: Any, observation: Any, mask: Any, key: Any) -> Any:
            return jax.random.categorical(key, log_probabilities(weights, observation, mask))

        def loss(weights: Any, observation: Any, mask: Any, action: Any, advantage: Any) -> Any:
            chosen = log_probabilities(weights, observation, mask)
            return -jnp.mean(advantage * jnp.take_along_axis(chosen, action[..., None], axis=-1)[..., 0])

        @jax.jit
        def update(weights: Any, moments: Any, found: Any) -> Any:
            def back(later: Any, step: Any) -> Any:
                reward, done = step
                now = reward + jnp.where(done, 0.0, later)
                return now, now

            _, returns = jax.lax.scan(back, jnp.zeros(self.lanes), (found.reward, found.done), reverse=True)
            advantage = (returns - returns.mean()) / (returns.std() + 1e-6)
            gradient = jax.grad(loss)(weights, found.observation, found.mask, found.action, advantage)
            change, moments = optimiser.update(gradient, moments)
            return optax.apply_updates(weights, change), moments

        generator = np.random.default_rng(seed)
        weights: Any = {
            "in": (generator.normal(size=(inputs, self.units)) / np.sqrt(inputs)).astype(np.float32),
            "out": np.zeros((self.units, outputs), np.float32),
        }
        moments = optimiser.init(weights)
        for key in jax.random.split(jax.random.key(seed), referee.budget):
            found = referee.rollout(policy, weights, self.lanes, self.steps, key, form)
            weights, moments = update(weights, moments, found)
