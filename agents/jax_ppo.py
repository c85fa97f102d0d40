"""Reinforcement learning: proximal policy optimisation in JAX, whose rollouts and updates are compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .policy_gradient import ProximalPolicy
from .referee import Referee

__all__ = ["CompiledProximalPolicyOptimisation"]


@dataclass(frozen=True)
class CompiledProximalPolicyOptimisation(ProximalPolicy):
    """The learner `ppo` of policies (`learners/ppo.py`) on one instance, whose rollouts the referee plays and counts:
    an episode is a sample. Its rate of learning falls to 0 as the budget is spent.

    The defaults are those of the agent `ppo`, which is the same method in torch.
    """

    name = "jax_ppo"
    summary = "proximal policy optimisation in compiled rollouts (flax, Optax)"
    libraries = ("flax", "optax")
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "lanes": (1, 4096),
        "steps": (2, 100_000),
        "learning_rate": (1e-8, 10),
        "entropy_coefficient": (0, 100),
        "epochs": (1, 1000),
        "hidden_units": (1, 4096),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Learns until the budget is spent."""
        import jax
        import jax.numpy as jnp

        from .learners.base import judged
        from .learners.ppo import Batch, Carry, ProximalPolicyOptimisation, Scale
        from .policy_search import Search

        own = Search(referee, self.form, self.hidden_units, seed)
        learner = ProximalPolicyOptimisation(
            lanes=self.lanes,
            learning_rate=self.learning_rate,
            rollout=self.steps,
            epochs=self.epochs,
            minibatches=1,
            trace=1.0,
            entropy=self.entropy_coefficient,
        )
        network = own.network

        @jax.jit
        def learnt(carry: Carry, found: Any, key: Any) -> Carry:
            logits, value = network.apply(carry.variables, found.observation, found.mask)
            log_probability, _ = judged(logits, found.mask, found.action, value.shape)
            illegal = jnp.zeros(found.done.shape, jnp.int32)
            taken = found.observation, found.mask, found.action, log_probability, value, found.reward, found.done
            carry = carry._replace(observation=found.last_observation, mask=found.last_mask)
            return learner.learnt(network, carry, Batch(*taken, illegal), jax.random.split(key, self.epochs))[0]

        nothing: Any = None  # the referee has the lanes, and the keys come from outside
        scale = Scale.of_nothing(self.lanes)
        carry = Carry(own.variables, own.moments, nothing, nothing, None, scale, nothing, *own.progress)
        for key in own.keys:
            played, learning = jax.random.split(key)
            found = own.rollout(carry.variables, self.lanes, self.steps, played)
            done, updates = own.progress
            carry = learnt(carry._replace(observation=nothing, mask=None, done=done, updates=updates), found, learning)
