"""Local search on integer vectors: from a good design to a better one nearby."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Agent
from .moves import first_design, mutate, partly_drawn
from .referee import REFERENCE, Referee

__all__ = ["HillClimb"]

_LARGEST = 0.125  # the share of the parameters that a mutant changes on average, at most


@dataclass(frozen=True)
class HillClimb(Agent):
    """Each round costs a batch of mutants of one design, and moves to the best of them if it is not worse.

    A mutant differs in a geometric number of parameters, at least one. Where `patience` rounds bring nothing better,
    the mean of that number doubles, as long as it is at most an eighth of the parameters. Then a share of the best
    design, anything from one parameter to all, is drawn anew, and the climb starts again from there (iterated local
    search: H. R. Lourenço, O. C. Martin, T. Stützle, Handbook of Metaheuristics, 2003).

    Attributes:
        start: the name of the baseline to start from; empty for a random design. A problem whose reference has no
            design is searched from a random one.
        neighbours: mutants a round.
        changes: parameters that a mutant changes at first, on average.
        patience: rounds without improvement before the steps grow.
    """

    start: str = REFERENCE
    neighbours: int = 16
    changes: float = 2.0
    patience: int = 10

    name = "hill_climb"
    summary = "local search from a baseline's design (iterated local search)"
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "neighbours": (8, 16, 32, 64, 128),
        "changes": (1.0, 1.5, 2.0, 4.0),
        "patience": (5, 10, 20, 40),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "neighbours": (1, 100_000),
        "changes": (0.01, 100_000),
        "patience": (1, 1_000_000),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Climbs until the budget is spent.

        Raises:
            UnknownNameError: the problem has no baseline of the name `start`.
        """
        generator, space = np.random.default_rng(seed), referee.space
        here = first_design(referee, self.start, generator)
        value = float(referee.costs(here)[0])
        best, best_value = here, value
        changes, stuck = self.changes, 0
        while True:
            mutants = mutate(space, here, self.neighbours, changes, generator)
            costs = referee.costs(mutants)
            first = int(np.argmin(costs))
            improved = costs[first] < value
            if costs[first] <= value:
                here, value = mutants[first], float(costs[first])
            if value < best_value:
                best, best_value = here, value
            stuck = 0 if improved else stuck + 1
            if improved:
                changes = self.changes
            elif stuck >= self.patience and 2 * changes <= _LARGEST * len(space):
                changes, stuck = 2 * changes, 0
            elif stuck >= self.patience:
                here = partly_drawn(space, best, generator)
                value = float(referee.costs(here)[0])
                changes, stuck = self.changes, 0
