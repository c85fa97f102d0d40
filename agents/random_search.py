"""Uniform random search: the floor that every other agent must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base import Agent
from .referee import Referee

__all__ = ["RandomSearch"]


@dataclass(frozen=True)
class RandomSearch(Agent):
    """Draws designs uniformly from the space, with replacement."""

    name = "random_search"
    summary = "uniform random designs"

    def search(self, referee: Referee, seed: int) -> None:
        """Costs random designs, a thousand at a time."""
        generator = np.random.default_rng(seed)
        while True:
            referee.evaluate(referee.space.sample(generator, 1000))
