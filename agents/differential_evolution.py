"""Differential evolution on index vectors, by pymoo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Agent
from .evolution import evolve
from .referee import Referee

__all__ = ["DifferentialEvolution"]


@dataclass(frozen=True)
class DifferentialEvolution(Agent):
    """DE/best/1/bin (R. Storn, K. Price, J. Global Optim., 1997), rounded to values' places (pymoo's DE).

    Differences are between places in lists of values, so they mean something where parameters are ordered. Where all
    of the population has become one design, it starts again from a fresh one.

    Attributes:
        population_size: as in pymoo.
        weight: F, of the difference that is added.
        crossover: CR, the probability of a parameter to take part.
        start: the name of a baseline that joins every initial population; empty for random designs only.
    """

    population_size: int = 32
    weight: float = 0.5
    crossover: float = 0.5
    start: str = ""

    name = "differential_evolution"
    summary = "differential evolution on index vectors (pymoo DE)"
    libraries = ("pymoo",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "population_size": (16, 32, 64, 128),
        "weight": (0.3, 0.5, 0.8),
        "crossover": (0.2, 0.5, 0.9),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "population_size": (4, 100_000),
        "weight": (0.01, 2),
        "crossover": (0, 1),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Evolves until the budget is spent.

        Raises:
            UnknownNameError: the problem has no baseline of the name `start`.
        """
        from pymoo.algorithms.soo.nonconvex.de import DE
        from pymoo.operators.repair.rounding import RoundingRepair

        def algorithm(sampling: Any) -> DE:
            return DE(
                pop_size=self.population_size,
                sampling=sampling,
                F=self.weight,
                CR=self.crossover,
                repair=RoundingRepair(),
            )

        evolve(
            referee,
            seed,
            algorithm,
            lambda designs: {"F": referee.costs(designs)[:, None]},
            start=referee.baseline(self.start) if self.start else None,
        )
