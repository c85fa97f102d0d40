"""A complete agent in one file of another package: hill climbing with random restarts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsegym import Agent, DesignSpace, Referee


@dataclass(frozen=True)
class HillClimber(Agent):
    """Costs all neighbours of a design, moves to the best of them, and starts anew where none is better.

    Neighbours differ in one parameter: by at most `reach` places if it is ordered, by any value if it is not.
    """

    reach: int = 1

    name = "hill_climber"
    summary = "steepest descent from random starts"
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {"reach": (1, 2, 3)}

    def search(self, referee: Referee, seed: int) -> None:
        """Climbs until the referee says that the budget is spent, by an exception that passes through here."""
        generator = np.random.default_rng(seed)
        while True:
            here = referee.space.sample(generator, 1)[0]
            value = referee.evaluate(here).objective[0]
            improved = True
            while improved:
                around = self._neighbours(referee.space, here)
                objective = referee.evaluate(around).objective
                best = int(np.argmin(objective))
                improved = objective[best] < value
                if improved:
                    here, value = around[best], objective[best]

    def _neighbours(self, space: DesignSpace, design: np.ndarray) -> np.ndarray:
        """int32[B, n], all neighbours of a design, int32[n]."""
        rows = []
        for i, parameter in enumerate(space.parameters):
            for index in range(len(parameter.values)):
                near = abs(index - design[i]) <= self.reach or not parameter.ordered
                if near and index != design[i]:
                    rows.append(design.copy())
                    rows[-1][i] = index
        return np.array(rows, dtype=np.int32)
