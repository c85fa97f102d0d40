"""What agents that follow a policy's gradient share, whichever library trains: their hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Agent

__all__ = ["PolicyGradient", "ProximalPolicy"]


@dataclass(frozen=True)
class PolicyGradient(Agent):
    """An agent that plays one of the problem's forms; an episode is a sample.

    Attributes:
        form: of the problem's; its first where it has none of this name.
        lanes: played at once.
        learning_rate, entropy_coefficient: of its updates.
        hidden_units: of each of two layers.
    """

    form: str = "parametric"
    lanes: int = 16
    learning_rate: float = 3e-3
    entropy_coefficient: float = 0.01
    hidden_units: int = 64

    needs = ("replayable form",)


@dataclass(frozen=True)
class ProximalPolicy(PolicyGradient):
    """Proximal policy optimisation (Schulman et al., 2017).

    The defaults are the best of nine settings on three accelerator instances of 1,000 samples: small updates, often.

    Attributes:
        steps: of a rollout.
        epochs: passes over each.
    """

    steps: int = 2
    epochs: int = 20

    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "lanes": (8, 16, 32),
        "steps": (2, 4, 8),
        "learning_rate": (1e-3, 3e-3, 1e-2, 3e-2),
        "entropy_coefficient": (0.0, 0.01, 0.05),
        "epochs": (5, 10, 20),
        "hidden_units": (32, 64, 128),
    }
