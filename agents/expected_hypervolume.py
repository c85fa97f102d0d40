"""A search for fronts: several costs at once by Gaussian processes, by Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..envs.core.evaluation import LEAST_OBJECTIVE
from .optuna_study import gaussian_processes, study_designs
from .referee import Referee
from .several_costs import SeveralCosts, costs_in, names_of
from .torch_training import one_thread

__all__ = ["ExpectedHypervolume"]


@dataclass(frozen=True)
class ExpectedHypervolume(SeveralCosts):
    """Optuna's GP sampler with a process for each cost's logarithm and one for the constraint's violation, and the
    logarithm of the expected improvement of the hypervolume (Ament et al., NeurIPS 2023).

    Attributes:
        startup_samples, training: as of the agent `gaussian_process`; of the best, the front's newest.
    """

    startup_samples: int = 20
    training: int = 128

    name = "expected_hypervolume"
    summary = "Bayesian optimisation of fronts by the hypervolume's log expected improvement (Optuna)"
    libraries = ("optuna", "torch")
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "startup_samples": (10, 20, 50),
        "training": (64, 128, 256),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"startup_samples": (1, 1_000_000), "training": (2, 5000)}

    def search(self, referee: Referee, seed: int) -> None:
        """Asks, costs and tells until the budget is spent.

        Raises:
            UnknownNameError: the problem has no baseline of the name `start`, or not a cost that `metrics` names.
        """
        names = names_of(referee, self.metrics)

        with one_thread():
            study_designs(
                referee,
                lambda: gaussian_processes(self.startup_samples, seed),
                lambda found: np.log(np.maximum(costs_in(found, names)[0], LEAST_OBJECTIVE)).tolist(),
                costs=len(names),
                constrained=True,
                training=max(self.training, self.startup_samples),
                start=self.start_design(referee),
            )
