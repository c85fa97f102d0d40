"""Reinforcement learning: deep Q-networks, by stable-baselines3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Agent
from .referee import Referee
from .torch_training import RANGES, single_choice_form, train_until_stopped

__all__ = ["DeepQNetwork"]


@dataclass(frozen=True)
class DeepQNetwork(Agent):
    """stable-baselines3's DQN (Mnih et al., Nature 2015) on a form of one choice a step; an episode is a sample.

    Attributes:
        lanes: played at once.
        learning_rate, batch_size, hidden_units: as in stable-baselines3; two layers.
        startup_steps: at random before the first descent.
        exploration: the chance of a random action, at its end.
    """

    lanes: int = 8
    learning_rate: float = 1e-3
    batch_size: int = 64
    startup_steps: int = 200
    exploration: float = 0.1
    hidden_units: int = 64

    name = "dqn"
    summary = "deep Q-networks on forms of one choice a step (stable-baselines3)"
    libraries = ("stable-baselines3", "torch")
    needs = ("form of single choices",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "lanes": (4, 8, 16),
        "learning_rate": (3e-4, 1e-3, 3e-3),
        "batch_size": (32, 64, 128),
        "exploration": (0.05, 0.1, 0.2),
        "hidden_units": (32, 64, 128),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        **RANGES,
        "batch_size": (1, 100_000),
        "startup_steps": (1, 10_000_000),
        "exploration": (0, 1),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Trains until the budget is spent."""
        from stable_baselines3 import DQN

        train_until_stopped(
            referee,
            self.lanes,
            single_choice_form(referee),
            lambda env: DQN(
                "MlpPolicy",
                env,
                learning_rate=self.learning_rate,
                buffer_size=100_000,
                learning_starts=self.startup_steps,
                batch_size=self.batch_size,
                gamma=1.0,
                train_freq=1,
                gradient_steps=1,
                target_update_interval=500,
                exploration_fraction=0.05,
                exploration_final_eps=self.exploration,
                policy_kwargs={"net_arch": [self.hidden_units, self.hidden_units]},
                seed=seed,
                device="cpu",
            ),
        )
