"""A genetic algorithm on integer vectors, by pymoo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Agent
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
        """Evolves until the budget is spent."""
        from pymoo.algorithms.soo.nonconvex.ga import GA
        from pymoo.core.evaluator import Evaluator
        from pymoo.core.problem import Problem
        from pymoo.core.termination import NoTermination
        from pymoo.operators.crossover.sbx import SBX
        from pymoo.operators.mutation.pm import PM
        from pymoo.operators.repair.rounding import RoundingRepair
        from pymoo.operators.sampling.rnd import IntegerRandomSampling
        from pymoo.problems.static import StaticProblem

        class WithStart(IntegerRandomSampling):
            """A random population whose first design is the baseline."""

            def _do(self, *args: Any, **kwargs: Any) -> np.ndarray:
                population = super()._do(*args, **kwargs)
                population[0] = start
                return population

        space = referee.space
        start = referee.baseline(self.start) if self.start else None
        problem = Problem(n_var=len(space), n_obj=1, xl=np.zeros(len(space)), xu=space.cardinalities - 1, vtype=int)
        for restart in range(referee.budget):
            algorithm = GA(
                pop_size=self.population_size,
                sampling=IntegerRandomSampling() if start is None else WithStart(),
                crossover=SBX(
                    prob=0.9,
                    eta=self.crossover_eta,  # pyright: ignore[reportArgumentType]: pymoo's hint is too narrow
                    vtype=float,
                    repair=RoundingRepair(),
                ),
                mutation=PM(
                    eta=self.mutation_eta,  # pyright: ignore[reportArgumentType]
                    vtype=float,
                    repair=RoundingRepair(),
                ),
                eliminate_duplicates=True,
            )
            restart_seed = int(np.random.SeedSequence([seed, restart]).generate_state(1)[0])
            algorithm.setup(problem, termination=NoTermination(), seed=restart_seed, verbose=False)
            while algorithm.has_next():
                offspring = algorithm.ask()
                if offspring is None or len(offspring) == 0:
                    break
                objective = referee.evaluate(np.rint(offspring.get("X")).astype(np.int32)).objective
                Evaluator().eval(StaticProblem(problem, F=objective[:, None]), offspring)
                algorithm.tell(infills=offspring)
