"""What agents that minimise several costs at once share: which costs, and what designs cost in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..costmodels.errors import UnknownNameError
from .base import Agent
from .referee import Referee

if TYPE_CHECKING:
    from ..envs.core.evaluation import Evaluation

__all__ = ["SeveralCosts", "costs_in", "names_of"]


@dataclass(frozen=True)
class SeveralCosts(Agent):
    """An agent that searches for the front of several costs.

    Attributes:
        start: the name of a baseline that is costed first; empty for random designs only.
        metrics: of the problem's costs those that count, with commas between them; empty for all.
    """

    start: str = ""
    metrics: str = ""

    needs = ("front",)

    def start_design(self, referee: Referee) -> np.ndarray | None:
        """int32[n]; None without a start.

        Raises: as `Referee.baseline`.
        """
        return referee.baseline(self.start) if self.start else None


def names_of(referee: Referee, metrics: str) -> tuple[str, ...]:
    """The costs that a user names, with commas between them; all that the problem declares where none is named.

    Raises:
        UnknownNameError: one is none of the problem's costs.
    """
    names = tuple(name.strip() for name in metrics.split(",") if name.strip()) or referee.front
    for name in names:
        if name not in referee.front:
            raise UnknownNameError("cost", name, referee.front)
    return names


def costs_in(found: Evaluation, names: tuple[str, ...]) -> np.ndarray:
    """float64[B, m], to be minimised."""
    return np.stack([np.asarray(getattr(found.metrics, name), np.float64) for name in names], axis=1)
