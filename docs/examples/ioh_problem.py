"""An instance as a problem of IOHexperimenter, whose loggers write what IOHanalyzer reads.

>>> import ioh
>>> import dsegym
>>> from ioh_problem import ioh_problem
>>> problem = ioh_problem(dsegym.make_problem("dsegym/SleepTime-v0"))
>>> problem([0] * problem.meta_data.n_variables) > 0
True
"""

from __future__ import annotations

from typing import Any

import ioh
import numpy as np

import dsegym


def ioh_problem(problem: dsegym.Problem, name: str = "") -> Any:
    """Whole numbers, the places among each parameter's values; the objective is minimised, infinite where it is none.

    Args:
        problem: the instance.
        name: by which IOHanalyzer tells it from others; the scenario and its options when left out.
    """

    def cost(places: np.ndarray) -> float:
        objective = float(problem.evaluate(places).objective[0])
        return np.inf if np.isnan(objective) else objective

    most = (problem.space.cardinalities - 1).tolist()
    made = ioh.wrap_problem(
        cost,
        name or f"{problem.scenario}: {problem.name}".replace("/", "_"),
        ioh.ProblemClass.INTEGER,
        dimension=len(most),
        optimization_type=ioh.OptimizationType.MIN,
        lb=0,
        ub=max(most),
    )
    made.bounds.ub = most
    return made
