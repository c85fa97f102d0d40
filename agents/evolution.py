"""What pymoo's evolutionary algorithms share here: operators on index vectors, and the loop through the referee."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .referee import Referee

__all__ = ["evolve", "genetic_operators"]


def genetic_operators(crossover_eta: float, mutation_eta: float) -> dict[str, Any]:
    """Simulated binary crossover and polynomial mutation on whole numbers; no design twice in a population.

    Args:
        crossover_eta, mutation_eta: as in pymoo; the larger an eta, the smaller the steps.
    """
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair

    return {
        "crossover": SBX(
            prob=0.9,
            eta=crossover_eta,  # pyright: ignore[reportArgumentType]: pymoo's hint is too narrow
            vtype=float,
            repair=RoundingRepair(),
        ),
        "mutation": PM(
            eta=mutation_eta,  # pyright: ignore[reportArgumentType]
            vtype=float,
            repair=RoundingRepair(),
        ),
        "eliminate_duplicates": True,
    }


def evolve(
    referee: Referee,
    seed: int,
    algorithm: Callable[[Any], Any],
    costs: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    *,
    objectives: int = 1,
    constrained: bool = False,
    start: np.ndarray | None,
) -> None:
    """Evolves until the budget is spent.

    Where a population yields no new design, or all of it has become one design, it starts again from a fresh one.

    Args:
        referee, seed: of the search.
        algorithm: of pymoo, made of what draws its first population.
        costs: of designs, int32[B, n]: pymoo's F, float64[B, m] to minimise; and, where it is constrained, G,
            float64[B, 1], at most 0 where the constraints hold.
        objectives: m.
        constrained: whether the algorithm models constraints.
        start: int32[n] that joins every initial population.
    """
    from pymoo.core.evaluator import Evaluator
    from pymoo.core.problem import Problem
    from pymoo.core.termination import NoTermination
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.problems.static import StaticProblem

    class WithStart(IntegerRandomSampling):
        """A random population whose first design is the given one."""

        def _do(self, *args: Any, **kwargs: Any) -> np.ndarray:
            population = super()._do(*args, **kwargs)
            population[0] = start
            return population

    space = referee.space
    problem = Problem(
        n_var=len(space),
        n_obj=objectives,
        n_ieq_constr=int(constrained),
        xl=np.zeros(len(space)),
        xu=space.cardinalities - 1,
        vtype=int,
    )
    for restart in range(referee.budget):
        evolving = algorithm(IntegerRandomSampling() if start is None else WithStart())
        restart_seed = int(np.random.SeedSequence([seed, restart]).generate_state(1)[0])
        evolving.setup(problem, termination=NoTermination(), seed=restart_seed, verbose=False)
        while evolving.has_next():
            offspring = evolving.ask()
            if offspring is None or len(offspring) == 0:
                break
            given = costs(np.rint(offspring.get("X")).astype(np.int32))
            Evaluator().eval(StaticProblem(problem, **given), offspring)
            evolving.tell(infills=offspring)
            designs = evolving.pop.get("X")
            if len(designs) > 1 and (designs == designs[0]).all():  # from which no difference of theirs leads away
                break
