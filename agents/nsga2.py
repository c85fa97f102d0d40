"""A search for fronts: several costs at once, by pymoo's NSGA-II on integer vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .evolution import evolve, genetic_operators
from .referee import Referee
from .several_costs import SeveralCosts, costs_in, names_of

__all__ = ["NonDominatedSorting"]


@dataclass(frozen=True)
class NonDominatedSorting(SeveralCosts):
    """Non-dominated sorting and crowding distance (Deb et al., 2002, pymoo's NSGA2), constraints by their violation.

    Attributes:
        population_size, crossover_eta, mutation_eta: as in pymoo; the larger an eta, the smaller the steps.
    """

    population_size: int = 100
    crossover_eta: float = 3.0
    mutation_eta: float = 3.0

    name = "nsga2"
    summary = "search for fronts of several costs at once (pymoo NSGA-II)"
    libraries = ("pymoo",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "population_size": (50, 100, 200),
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
            UnknownNameError: the problem has no baseline of the name `start`, or not a cost that `metrics` names.
        """
        from pymoo.algorithms.moo.nsga2 import NSGA2

        names = names_of(referee, self.metrics)

        def costs(designs: np.ndarray) -> Mapping[str, np.ndarray]:
            result = referee.evaluate(designs)
            columns = costs_in(result, names)
            broken = np.isnan(columns).any(axis=1, keepdims=True)  # a cost that is no number is no design's that counts
            violation = np.asarray(result.violation)[:, None]
            return {"F": np.where(broken, np.inf, columns), "G": np.where(broken, np.inf, violation)}

        def algorithm(sampling: Any) -> NSGA2:
            operators = genetic_operators(self.crossover_eta, self.mutation_eta)
            return NSGA2(pop_size=self.population_size, sampling=sampling, **operators)

        evolve(
            referee,
            seed,
            algorithm,
            costs,
            objectives=len(names),
            constrained=True,
            start=self.start_design(referee),
        )
