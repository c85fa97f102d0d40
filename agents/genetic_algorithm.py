"""A genetic algorithm on integer vectors, by pymoo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Agent
from .evolution import evolve, genetic_operators
from .referee import Referee

__all__ = ["GeneticAlgorithm"]


@dataclass(frozen=True)
class GeneticAlgorithm(Agent):
    """Tournament selection, simulated binary crossover, polynomial mutation, elitist survival (pymoo's GA).

    Where the population has converged so far that it yields no new design, it starts again from a fresh one.

    Attributes:
        population_size, crossover_eta, mutation_eta: as in pymoo; the larger an eta, the smaller the steps.
        start: the name of a baseline that joins every initial population; empty for random designs only.
    """

    population_size: int = 50
    crossover_eta: float = 3.0
    mutation_eta: float = 3.0
    start: str = ""

    name = "genetic_algorithm"
    summary = "genetic algorithm on index vectors (pymoo GA)"
    libraries = ("pymoo",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "population_size": (20, 50, 100, 200),
        "crossover_eta": (3.0, 10.0, 20.0),
        "mutation_eta": (3.0, 10.0, 20.0),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "population_size": (2, 100_000),
        "crossover_eta": (0, 1000),
        "mutation_eta": (0, 1000),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Evolves until the budget is spent.

        Raises:
            UnknownNameError: the problem has no baseline of the name `start`.
        """
        from pymoo.algorithms.soo.nonconvex.ga import GA

        def algorithm(sampling: Any) -> GA:
            operators = genetic_operators(self.crossover_eta, self.mutation_eta)
            return GA(pop_size=self.population_size, sampling=sampling, **operators)

        evolve(
            referee,
            seed,
            algorithm,
            lambda designs: {"F": referee.costs(designs)[:, None]},
            start=referee.baseline(self.start) if self.start else None,
        )
