"""An instance as a benchmark of OptunaHub, so that its samplers run here: one file, as its registry takes it.

>>> import optuna
>>> from optunahub_benchmark import Problem
>>> benchmark = Problem("dsegym/SleepTime-v0")
>>> study = optuna.create_study(directions=benchmark.directions)
>>> study.optimize(benchmark, n_trials=8)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import optunahub

import dsegym


class Problem(optunahub.benchmarks.BaseProblem):
    """The logarithm of the objective as if nothing constrained it, and the constraint's violation beside it.

    Args:
        scenario: a registered id.
        metrics: costs to be minimised in place of the objective, names of the problem's `front`.
        options: of the scenario.
    """

    def __init__(self, scenario: str, metrics: tuple[str, ...] = (), **options: Any):
        self.problem, self._metrics = dsegym.make_problem(scenario, **options), metrics
        if unknown := set(metrics) - set(self.problem.front):
            raise dsegym.DsegymError(f"{', '.join(sorted(unknown))}: no costs of {scenario}.")

    @property
    def search_space(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Places among the parameters' values."""
        return self.problem.space.to_optuna()

    @property
    def directions(self) -> list[optuna.study.StudyDirection]:
        """Every cost is minimised."""
        return [optuna.study.StudyDirection.MINIMIZE] * max(1, len(self._metrics))

    def evaluate(self, params: Mapping[str, Any]) -> float | list[float]:
        """Infinite where a cost is no number."""
        found = self.problem.evaluate(self.problem.space.of_places(params))
        columns = [getattr(found.metrics, name) for name in self._metrics] or [found.unpenalised]
        values = [float(np.log(column[0])) for column in columns]
        values = [np.inf if np.isnan(value) else value for value in values]
        return values if self._metrics else values[0]

    def evaluate_constraints(self, params: Mapping[str, Any]) -> dict[str, float]:
        """At most 0 where the design is feasible."""
        return {"violation": float(self.problem.evaluate(self.problem.space.of_places(params)).violation[0])}
