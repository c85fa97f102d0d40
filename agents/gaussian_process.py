"""Bayesian optimisation by a Gaussian process, by Optuna."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..envs.core.evaluation import LEAST_OBJECTIVE
from .base import Agent
from .optuna_study import gaussian_processes, study_designs
from .referee import Referee
from .torch_training import one_thread

__all__ = ["GaussianProcess"]


@dataclass(frozen=True)
class GaussianProcess(Agent):
    """Optuna's GP sampler, one design at a time: a Matérn 5/2 kernel with a length a parameter, log expected
    improvement (Ament et al., NeurIPS 2023) times the probability that the constraint holds.

    It models the logarithm of the objective as if there were no constraints, and the constraint's violation beside it.

    Attributes:
        startup_samples: random designs before the first model.
        training: samples that it learns from, with a quarter more at times: half of them the best, the others the
            newest. A sample's own time grows with the cube of these.
    """

    startup_samples: int = 10
    training: int = 256

    name = "gaussian_process"
    summary = "Bayesian optimisation with a Gaussian process and log expected improvement (Optuna)"
    libraries = ("optuna", "torch")
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "startup_samples": (10, 20, 50),
        "training": (128, 256, 512),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "startup_samples": (1, 1_000_000),
        "training": (2, 5000),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Asks, costs and tells until the budget is spent."""
        with one_thread():
            study_designs(
                referee,
                lambda: gaussian_processes(self.startup_samples, seed),
                lambda found: math.log(max(found.unpenalised[0], LEAST_OBJECTIVE)),
                constrained=True,
                training=max(self.training, self.startup_samples),
            )
