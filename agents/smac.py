"""Bayesian optimisation by a random forest, by SMAC3."""

from __future__ import annotations

import logging
import math
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..envs.core.evaluation import LEAST_OBJECTIVE
from .base import Agent
from .referee import Referee

__all__ = ["RandomForest"]


@dataclass(frozen=True)
class RandomForest(Agent):
    """SMAC3's facade for hyperparameters (Lindauer et al., JMLR 2022): a random forest on the logarithm of the
    objective, log expected improvement, one random design in a few.

    SMAC3 goes through a set of designs whose order is Python's hash seed's: trials fix it, a search in your own process
    is the same in another only with the environment variable PYTHONHASHSEED set.

    Attributes:
        startup_samples: of a Sobol sequence, for each parameter; at most a quarter of the budget in all.
    """

    startup_samples: int = 10

    name = "smac"
    summary = "Bayesian optimisation with a random forest (SMAC3)"
    libraries = ("smac",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {"startup_samples": (2, 5, 10)}
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"startup_samples": (1, 1000)}

    def search(self, referee: Referee, seed: int) -> None:
        """Asks, costs and tells until the budget is spent, or every design has been costed."""
        from smac import HyperparameterOptimizationFacade, Scenario
        from smac.main.exceptions import ConfigurationSpaceExhaustedException
        from smac.runhistory import TrialValue

        logging.getLogger("smac").setLevel(logging.CRITICAL)  # its words on spaces with few designs left
        with tempfile.TemporaryDirectory() as folder:
            scenario = Scenario(
                referee.space.to_configspace(seed),
                output_directory=Path(folder),
                deterministic=True,
                n_trials=referee.budget,
                seed=seed,
            )
            facade = HyperparameterOptimizationFacade(
                scenario,
                lambda config, seed: math.nan,  # never called: the loop below asks and tells
                initial_design=HyperparameterOptimizationFacade.get_initial_design(
                    scenario, n_configs_per_hyperparameter=self.startup_samples
                ),
                logging_level=False,
                overwrite=True,
            )
            while True:
                try:
                    asked = facade.ask()
                except (StopIteration, ConfigurationSpaceExhaustedException):  # it has seen the whole space
                    return
                found = referee.costs(referee.space.of_places(dict(asked.config)))[0]
                cost = math.log(min(max(found, LEAST_OBJECTIVE), sys.float_info.max))
                facade.tell(asked, TrialValue(cost=cost), save=False)
