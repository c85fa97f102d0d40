"""Reinforcement learning: proximal policy optimisation, by stable-baselines3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from .policy_gradient import ProximalPolicy
from .referee import Referee
from .torch_training import ON_POLICY, on_policy, train_until_stopped

__all__ = ["ProximalPolicyOptimisation"]


@dataclass(frozen=True)
class ProximalPolicyOptimisation(ProximalPolicy):
    """stable-baselines3's PPO on a vector environment."""

    name = "ppo"
    summary = "proximal policy optimisation (stable-baselines3)"
    libraries = ("stable-baselines3", "torch")
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = ON_POLICY

    def search(self, referee: Referee, seed: int) -> None:
        """Trains until the budget is spent."""
        from stable_baselines3 import PPO

        train_until_stopped(
            referee,
            self.lanes,
            self.form,
            lambda env: on_policy(
                PPO, env, self, seed, batch_size=self.lanes * self.steps, n_epochs=self.epochs, gae_lambda=1.0
            ),
        )
