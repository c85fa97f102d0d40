"""Reinforcement learning: REINFORCE in JAX, whose baseline is the greedy policy's episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .policy_gradient import PolicyGradient
from .referee import Referee

__all__ = ["GreedyReinforce"]


@dataclass(frozen=True)
class GreedyReinforce(PolicyGradient):
    """The learner `reinforce` of policies (`learners/reinforce.py`) on one instance, whose rollouts the referee plays
    and counts: an episode is a sample, the greedy one of each update too. Its rate falls to 0 as the budget is spent.
    """

    lanes: int = 15
    learning_rate: float = 1e-2

    name = "reinforce"
    summary = "REINFORCE with the greedy policy's return as baseline, ReMax (flax, Optax)"
    libraries = ("flax", "optax")
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "lanes": (7, 15, 31),
        "learning_rate": (3e-3, 1e-2, 3e-2),
        "entropy_coefficient": (0.0, 0.01, 0.05),
        "hidden_units": (32, 64, 128),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "lanes": (1, 4096),
        "learning_rate": (1e-8, 10),
        "entropy_coefficient": (0, 100),
        "hidden_units": (1, 4096),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Learns until the budget is spent."""
        import jax
        import numpy as np

        from .learners.reinforce import Carry, Reinforce, Row
        from .policy_search import Search

        own = Search(referee, self.form, self.hidden_units, seed)
        learner = Reinforce(lanes=self.lanes, learning_rate=self.learning_rate, entropy=self.entropy_coefficient)

        @jax.jit
        def learnt(carry: Carry, found: Any, whole: Any, baseline: Any) -> Carry:
            rows = Row(found.observation, found.mask, found.action, found.reward, whole)
            rows = jax.tree.map(lambda leaf: jax.numpy.swapaxes(leaf, 0, 1), rows)  # [B, T, ...]
            gain = jax.numpy.where(rows.alive[:, 0], rows.reward.sum(1) - baseline, 0.0)
            return learner.learnt(own.network, carry, rows, gain[:, None])[0]

        nothing: Any = None  # the keys come from outside
        carry = Carry(own.variables, own.moments, nothing, *own.progress)
        steps = 0  # of an episode
        for key in own.keys:
            baseline = 0.0
            if steps:
                baseline = own.greedy_rollout(carry.variables, steps, key).reward.sum()
            else:
                ended = False
                while not ended:
                    step = own.greedy_rollout(carry.variables, 1, key)
                    baseline, steps, ended = baseline + step.reward.sum(), steps + 1, step.done[0, 0]
            found = own.rollout(carry.variables, self.lanes, steps, key)
            # An episode of another length than the first has no rollout of its own: nothing is learned from its lane.
            whole = np.broadcast_to(found.done[-1] & ~found.done[:-1].any(0), found.done.shape)
            if whole.any():
                done, updates = own.progress
                carry = learnt(carry._replace(done=done, updates=updates), found, whole, np.float32(baseline))
