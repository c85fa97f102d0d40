"""Covariance matrix adaptation with margin for ordered parameters and categories together, by cmaes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Agent
from .referee import Referee

__all__ = ["CovarianceMatrixAdaptation"]


@dataclass(frozen=True)
class CovarianceMatrixAdaptation(Agent):
    """CatCMA with margin (R. Hamano et al., GECCO 2025), as the library cmaes has it.

    Ordered parameters of three values or more are integers of a normal distribution, all others categories; margins
    keep each value's probability above a least one. Where the library says that the normal distribution has converged,
    it starts again with twice the population (A. Auger, N. Hansen, CEC 2005).

    Attributes:
        population: in units of the library's own, 4 + 3 ln(parameters).
        step: the initial standard deviation, in units of the library's own, a tenth of each parameter's range.
    """

    population: float = 1.0
    step: float = 2.0

    name = "cma_es"
    summary = "covariance matrix adaptation, with margin for integers and categories (cmaes CatCMAwM)"
    libraries = ("cmaes",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "population": (1.0, 2.0, 4.0),
        "step": (1.0, 2.0, 4.0),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"population": (1, 1000), "step": (0.01, 100)}

    def search(self, referee: Referee, seed: int) -> None:
        """Adapts until the budget is spent."""
        from cmaes import CatCMAwM

        space, counts = referee.space, referee.space.cardinalities
        ordered = np.array([parameter.ordered for parameter in space.parameters]) & (counts > 2)
        integers, categories = np.flatnonzero(ordered), np.flatnonzero(~ordered & (counts > 1))
        if not integers.size + categories.size:
            referee.evaluate(np.zeros(len(space), np.int32))
            return
        last = counts[integers] - 1
        size = self.population * (4 + math.floor(3 * math.log(integers.size + categories.size)))
        for restart in range(referee.budget):
            optimiser = CatCMAwM(
                # Places as shares of the range, so that one step size fits all.
                z_space=[np.linspace(0, 1, count).tolist() for count in counts[integers]] or None,
                c_space=counts[categories].tolist() or None,
                population_size=round(size * 2.0**restart),
                sigma=self.step,
                seed=int(np.random.SeedSequence([seed, restart]).generate_state(1)[0]),
            )
            going = True
            while going:
                solutions = [optimiser.ask() for _ in range(optimiser.population_size)]
                designs = np.zeros((len(solutions), len(space)), np.int32)
                if integers.size:
                    designs[:, integers] = np.rint(np.array([each.z for each in solutions]) * last)
                if categories.size:
                    designs[:, categories] = np.array([each.c for each in solutions]).argmax(axis=2)
                costs = referee.costs(designs).tolist()
                with np.errstate(all="ignore"):  # costs that are infinite, or all one
                    optimiser.tell(list(zip(solutions, costs, strict=True)))
                    going = not (integers.size and optimiser.should_stop())
