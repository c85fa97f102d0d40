"""A search for fronts: several costs at once, by Optuna's NSGA-III."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Agent
from .optuna_study import study_designs
from .referee import Referee
from .several_costs import costs_in, names_of

__all__ = ["ReferencePoints"]


@dataclass(frozen=True)
class ReferencePoints(Agent):
    """Non-dominated sorting with reference points (Deb and Jain, 2014, Optuna's NSGAIIISampler), one design at a time.

    Attributes:
        population_size: as in Optuna.
        start: the name of a baseline that is costed first; empty for random designs only.
        metrics: of the problem's costs those that count, with commas between them; empty for all.
    """

    population_size: int = 50
    start: str = ""
    metrics: str = ""

    name = "nsga3"
    summary = "search for fronts of several costs at once, with reference points (Optuna NSGA-III)"
    libraries = ("optuna",)
    needs = ("front",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {"population_size": (50, 100, 200)}
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"population_size": (2, 100_000)}

    def search(self, referee: Referee, seed: int) -> None:
        """Asks, costs and tells until the budget is spent."""
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import NSGAIIISampler

        names = names_of(referee, self.metrics)

        def sampler() -> NSGAIIISampler:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return NSGAIIISampler(population_size=self.population_size, seed=seed)

        study_designs(
            referee,
            sampler,
            lambda found: costs_in(found, names)[0].tolist(),
            costs=len(names),
            constrained=True,
            start=referee.baseline(self.start) if self.start else None,
        )
