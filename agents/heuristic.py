"""The problem's own heuristics as an agent: what a good rule gives without any search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from .base import Agent
from .referee import REFERENCE, Referee

__all__ = ["ALL", "Heuristic"]

ALL = "all"  # every baseline, where no problem calls one so


@dataclass(frozen=True)
class Heuristic(Agent):
    """Costs the design of one baseline, and ends: one sample, whatever the budget and the seed.

    Attributes:
        rule: the baseline's name, one of `Referee.baselines`; or `all`, for each of them in turn, a sample for each
            different design: which is best is seen on the search's cases, as by any other agent.
    """

    rule: str = REFERENCE

    name = "heuristic"
    summary = "the design of a baseline, without search"
    stochastic = False
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"rule": (1, 200)}

    def search(self, referee: Referee, seed: int) -> None:
        """Costs the baseline's design.

        Raises:
            UnknownNameError: the problem has no such baseline.
        """
        del seed
        every = self.rule == ALL and ALL not in referee.baselines
        seen: set[bytes] = set()
        for name in referee.baselines if every else (self.rule,):
            design = referee.baseline(name)
            if design.tobytes() not in seen:
                seen.add(design.tobytes())
                referee.evaluate(design)
