"""Bayesian optimisation by tree-structured Parzen estimators, by Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Agent
from .optuna_study import study_designs
from .referee import Referee

__all__ = ["TreeParzenEstimator"]


@dataclass(frozen=True)
class TreeParzenEstimator(Agent):
    """Optuna's TPE sampler (Bergstra et al., NeurIPS 2011), one design at a time; ordered parameters are integers.

    Attributes:
        startup_samples: random designs before the first model.
        candidates: designs that are drawn from the good samples' density, the best of which is costed.
        multivariate: whether densities are of all parameters together, not of each by itself.
    """

    startup_samples: int = 20
    candidates: int = 24
    multivariate: bool = True

    name = "tpe"
    summary = "Bayesian optimisation with tree-structured Parzen estimators (Optuna)"
    libraries = ("optuna",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "startup_samples": (10, 20, 50, 100),
        "candidates": (12, 24, 48),
        "multivariate": (False, True),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "startup_samples": (1, 1_000_000),
        "candidates": (1, 100_000),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Asks, costs and tells until the budget is spent."""
        from optuna.samplers import TPESampler

        study_designs(
            referee,
            lambda: TPESampler(
                seed=seed,
                n_startup_trials=self.startup_samples,
                n_ei_candidates=self.candidates,
                multivariate=self.multivariate,
            ),
            lambda found: float(found.objective[0]),
        )
