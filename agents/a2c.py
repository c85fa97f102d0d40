"""Reinforcement learning: advantage actor-critic, by stable-baselines3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .policy_gradient import PolicyGradient
from .referee import Referee
from .torch_training import RANGES, on_policy, train_until_stopped

__all__ = ["AdvantageActorCritic"]


@dataclass(frozen=True)
class AdvantageActorCritic(PolicyGradient):
    """stable-baselines3's A2C (Mnih et al., ICML 2016) on a vector environment; an episode is a sample.

    Attributes:
        steps: of a rollout.
    """

    steps: int = 2

    name = "a2c"
    summary = "advantage actor-critic (stable-baselines3)"
    libraries = ("stable-baselines3", "torch")
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "lanes": (8, 16, 32),
        "steps": (1, 2, 5),
        "learning_rate": (7e-4, 3e-3, 1e-2),
        "entropy_coefficient": (0.0, 0.01, 0.05),
        "hidden_units": (32, 64, 128),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        **RANGES,
        "steps": (1, 100_000),
        "entropy_coefficient": (0, 100),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Trains until the budget is spent."""
        from stable_baselines3 import A2C

        train_until_stopped(
            referee,
            self.lanes,
            self.form,
            lambda env: on_policy(A2C, env, self, seed, gae_lambda=1.0),
        )
