"""Ant colony optimisation: a pheromone on every value of every parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Agent
from .referee import Referee

__all__ = ["AntColony"]

_BEST_AGAIN = 0.05  # the probability that a converged colony builds its best design once more, after the paper
_SAME = 1e-9  # the relative difference below which a colony's costs are one


@dataclass(frozen=True)
class AntColony(Agent):
    """A MAX-MIN ant system (T. Stützle, H. H. Hoos, Future Gener. Comput. Syst., 2000) without heuristic information.

    An ant chooses each parameter's value by itself, with a probability in proportion to the value's pheromone, or with
    probability `greediness` the value that has most. After each round pheromones evaporate, and a design deposits on
    its values: the round's best, or in every fourth round the best since the pheromones were laid. They are held
    between 1 and a least value, from which a converged colony builds its best design again with probability 0.05 a
    round of one ant; where the costs of a round are all one, all pheromones are laid anew.

    Attributes:
        start: the name of a baseline that joins the first round; empty for random designs only.
        ants: a round.
        evaporation: the share of a pheromone that a round takes.
        greediness: as above.
    """

    start: str = ""
    ants: int = 8
    evaporation: float = 0.25
    greediness: float = 0.0

    name = "ant_colony"
    summary = "ant colony optimisation: a pheromone per value (MAX-MIN ant system)"
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "ants": (4, 8, 16, 32, 64),
        "evaporation": (0.02, 0.05, 0.1, 0.25, 0.5),
        "greediness": (0.0, 0.25, 0.5, 0.75),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "ants": (1, 100_000),
        "evaporation": (1e-6, 1),
        "greediness": (0, 1),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Sends ants until the budget is spent.

        Raises:
            UnknownNameError: the problem has no baseline of the name `start`.
        """
        generator, space = np.random.default_rng(seed), referee.space
        counts = space.cardinalities.astype(np.int64)
        starts = np.cumsum(counts) - counts  # of each parameter's values among those of all, V
        owner = np.repeat(np.arange(len(counts)), counts)  # int64[V]
        choices = int((counts > 1).sum())
        # The least pheromone, of a value beside one of pheromone 1: int64[V].
        again = _BEST_AGAIN ** (1 / max(choices, 1))
        least = np.minimum(1.0, (1 - again) / (again * np.maximum(counts - 1, 1)))[owner]
        first = referee.baseline(self.start)[None] if self.start else np.zeros((0, len(counts)), np.int32)
        while True:
            pheromone = np.ones(len(owner))
            best, best_cost, spread = None, np.inf, True
            round_ = 0
            while spread:
                ants = self._ants(pheromone, starts, counts, owner, generator)
                ants[: len(first)] = first
                first = first[:0]
                costs = referee.costs(ants)
                leader = int(np.argmin(costs))
                if best is None or costs[leader] < best_cost:
                    best, best_cost = ants[leader], costs[leader]
                round_ += 1
                depositing = best if round_ % 4 == 0 else ants[leader]
                pheromone *= 1 - self.evaporation
                pheromone[starts + depositing] += self.evaporation
                pheromone = np.clip(pheromone, least, 1.0)
                spread = _differ(costs) or len(costs) == 1

    def _ants(
        self,
        pheromone: np.ndarray,
        starts: np.ndarray,
        counts: np.ndarray,
        owner: np.ndarray,
        generator: np.random.Generator,
    ) -> np.ndarray:
        """The designs of a round's ants, int32[ants, n]."""
        share = pheromone / np.add.reduceat(pheromone, starts)[owner]
        # Parameter i owns the stretch from i to i + 1 of the shares' running sum, so that one search finds all choices.
        points = np.arange(len(counts)) + generator.random((self.ants, len(counts)))
        chosen = np.searchsorted(np.cumsum(share), points, side="right") - starts
        chosen = np.clip(chosen, 0, counts - 1)
        if self.greediness > 0:
            peak = np.maximum.reduceat(pheromone, starts)[owner]
            leading = np.flatnonzero(pheromone == peak)
            most = leading[np.searchsorted(leading, starts)] - starts  # the first of those that have most
            chosen = np.where(generator.random(chosen.shape) < self.greediness, most, chosen)
        return chosen.astype(np.int32)


def _differ(costs: np.ndarray) -> bool:
    """Whether costs, float64[B], are more than one."""
    return bool(np.isinf(costs).any() or np.ptp(costs) > _SAME * np.abs(costs).max())
