"""Exhaustive search: every design of a small space once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base import SMALL_SPACE, Agent
from .referee import Referee
from .sampling import BATCH

__all__ = ["Exhaustive"]


@dataclass(frozen=True)
class Exhaustive(Agent):
    """Costs every design once, in a random order, and ends; a budget below the space's size is spent on some of them.

    The order is the seed's, so that how soon a good design comes is no matter of where the values stand in their lists.
    """

    name = "exhaustive"
    summary = "every design of a small space once, in a random order"
    needs = (SMALL_SPACE,)

    def search(self, referee: Referee, seed: int) -> None:
        """Costs the designs a batch at a time."""
        order = np.random.default_rng(seed).permutation(referee.space.size)
        for start in range(0, len(order), BATCH):
            referee.evaluate(referee.space.numbered(order[start : start + BATCH]))
