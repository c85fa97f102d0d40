"""Reinforcement learning with masks: proximal policy optimisation, by sb3-contrib."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Agent
from .referee import Referee
from .torch_training import ON_POLICY, on_policy, single_choice_form, train_until_stopped

__all__ = ["MaskableProximalPolicyOptimisation"]


@dataclass(frozen=True)
class MaskableProximalPolicyOptimisation(Agent):
    """sb3-contrib's MaskablePPO (Huang, Ontañón, FLAIRS 2022) on a form of one choice a step; an episode is a sample.

    Attributes:
        lanes, steps: a rollout's.
        learning_rate, entropy_coefficient, epochs, hidden_units: as in sb3-contrib; two layers.
    """

    lanes: int = 16
    steps: int = 32
    learning_rate: float = 1e-3
    entropy_coefficient: float = 0.01
    epochs: int = 10
    hidden_units: int = 64

    name = "maskable_ppo"
    summary = "proximal policy optimisation that knows which actions are legal (sb3-contrib)"
    libraries = ("sb3-contrib", "torch")
    needs = ("form of single choices",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "lanes": (8, 16, 32),
        "steps": (16, 32, 64),
        "learning_rate": (3e-4, 1e-3, 3e-3),
        "entropy_coefficient": (0.0, 0.01, 0.05),
        "epochs": (5, 10, 20),
        "hidden_units": (32, 64, 128),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = ON_POLICY

    def search(self, referee: Referee, seed: int) -> None:
        """Trains until the budget is spent."""
        from sb3_contrib import MaskablePPO

        train_until_stopped(
            referee,
            self.lanes,
            single_choice_form(referee),
            lambda env: on_policy(
                MaskablePPO,
                env,
                self,
                seed,
                batch_size=self.lanes * self.steps // 4 or 1,
                n_epochs=self.epochs,
                gae_lambda=0.95,
            ),
        )
