"""Reinforcement learning: advantage actor-critic, by stable-baselines3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Agent
from .referee import Referee
from .torch_training import RANGES, train_until_stopped

__all__ = ["AdvantageActorCritic"]


@dataclass(frozen=True)
class AdvantageActorCritic(Agent):
    """stable-baselines3's A2C (Mnih et al., ICML 2016) on a vector environment; an episode is a sample.

    Attributes:
        form: of the problem's; its first where it has none of this name.
        lanes, steps: a rollout's.
        learning_rate, entropy_coefficient, hidden_units: as in stable-baselines3; two layers.
    """

    form: str = "parametric"
    lanes: int = 16
    steps: int = 2
    learning_rate: float = 3e-3
    entropy_coefficient: float = 0.01
    hidden_units: int = 64

    name = "a2c"
    summary = "advantage actor-critic (stable-baselines3)"
    libraries = ("stable-baselines3", "torch")
    needs = ("replayable form",)
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
            lambda env: A2C(
                "MlpPolicy",
                env,
                learning_rate=self.learning_rate,
                n_steps=self.steps,
                gamma=1.0,
                gae_lambda=1.0,
                ent_coef=self.entropy_coefficient,
                policy_kwargs={"net_arch": [self.hidden_units, self.hidden_units]},
                seed=seed,
                device="cpu",
            ),
        )
