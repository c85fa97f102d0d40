"""An instance as an objective function of CARP-S, so that its optimisers run here, beside its other tasks.

In a task's YAML file: `objective_function: {_target_: carps_objective.Instance, scenario: dsegym/SleepTime-v0}`.

>>> from carps.utils.trials import TrialInfo
>>> from carps_objective import Instance
>>> function = Instance("dsegym/SleepTime-v0", seed=0)
>>> function.evaluate(TrialInfo(function.configspace.sample_configuration())).cost > 0
True
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from carps.objective_functions.objective_function import ObjectiveFunction
from carps.utils.trials import TrialInfo, TrialValue
from ConfigSpace import ConfigurationSpace

import dsegym


class Instance(ObjectiveFunction):
    """The objective, in its unit; what breaks a constraint is penalised, and what is no number is infinite.

    Args:
        scenario: a registered id.
        seed: of what the space draws itself.
        loggers: of CARP-S.
        options: of the scenario.
    """

    def __init__(self, scenario: str, seed: int | None = None, loggers: list[Any] | None = None, **options: Any):
        super().__init__(loggers)
        self.problem = dsegym.make_problem(scenario, **options)
        self._configspace = self.problem.space.to_configspace(seed)

    @property
    def configspace(self) -> ConfigurationSpace:
        """Places among the parameters' values."""
        return self._configspace

    @property
    def f_min(self) -> float | None:
        """The optimum where it is known; None elsewhere, and where other cases are held out for results."""
        known = self.problem.bound.name == "optimum" and self.problem.held_out_params is None
        return self.problem.bound.value if known else None

    def _evaluate(self, trial_info: TrialInfo) -> TrialValue:
        begin = time.time()
        found = self.problem.evaluate(self.problem.space.of_places(dict(trial_info.config)))
        cost, end = float(found.objective[0]), time.time()
        return TrialValue(
            cost=np.inf if np.isnan(cost) else cost,
            time=end - begin,
            starttime=begin,
            endtime=end,
            additional_info={"feasible": bool(found.feasible[0])},
        )
