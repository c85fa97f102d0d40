"""A heuristic of the problem's own as an agent: what a good rule gives without any search."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Agent
from .referee import REFERENCE, Referee

__all__ = ["Heuristic"]


@dataclass(frozen=True)
class Heuristic(Agent):
    """Costs the design of one baseline, and ends: one sample, whatever the budget and the seed.

    Attributes:
        rule: the baseline's name, one of `Referee.baselines`.
    """

    rule: str = REFERENCE

    name = "heuristic"
    summary = "the design of a baseline, without search"

    def search(self, referee: Referee, seed: int) -> None:
        """Costs the baseline's design.

        Raises:
            UnknownNameError: the problem has no such baseline.
        """
        del seed
        referee.evaluate(referee.baseline(self.rule))
