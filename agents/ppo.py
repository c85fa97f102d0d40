"""Reinforcement learning: proximal policy optimisation, by stable-baselines3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Agent
from .referee import Referee
from .torch_training import ON_POLICY, train_until_stopped

__all__ = ["ProximalPolicyOptimisation"]


@dataclass(frozen=True)
class ProximalPolicyOptimisation(Agent):
    """stable-baselines3's PPO (Schulman et al., 2017) on a vector environment; an episode is a sample.

    The defaults are the best of nine settings on three accelerator instances of 1,000 samples: small updates, often.
    """

    form: str = "parametric"
    lanes: int = 16
    steps: int = 2
    learning_rate: float = 3e-3
    entropy_coefficient: float = 0.01
    epochs: int = 20
    hidden_units: int = 64

    name = "ppo"
    summary = "proximal policy optimisation (stable-baselines3)"
    libraries = ("stable-baselines3", "torch")
    needs = ("replayable form",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "lanes": (8, 16, 32),
        "steps": (2, 4, 8),
        "learning_rate": (1e-3, 3e-3, 1e-2, 3e-2),
        "entropy_coefficient": (0.0, 0.01, 0.05),
        "epochs": (5, 10, 20),
        "hidden_units": (32, 64, 128),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = ON_POLICY

    def search(self, referee: Referee, seed: int) -> None:
        """Trains until the budget is spent."""
        from stable_baselines3 import PPO

        train_until_stopped(
            referee,
            self.lanes,
            self.form,
            lambda env: PPO(
                "MlpPolicy",
                env,
                learning_rate=self.learning_rate,
                n_steps=self.steps,
                batch_size=self.lanes * self.steps,
                n_epochs=self.epochs,
                gamma=1.0,
                gae_lambda=1.0,
                ent_coef=self.entropy_coefficient,
                policy_kwargs={"net_arch": [self.hidden_units, self.hidden_units]},
                seed=seed,
                device="cpu",
            ),
        )
