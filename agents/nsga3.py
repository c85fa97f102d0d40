"""A search for fronts: several costs at once, by Optuna's NSGA-III."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .optuna_study import quiet, study_designs
from .referee import Referee
from .several_costs import SeveralCosts, costs_in, names_of

__all__ = ["ReferencePoints"]


@dataclass(frozen=True)
class ReferencePoints(SeveralCosts):
    """Non-dominated sorting with reference points (Deb and Jain, 2014, Optuna's NSGAIIISampler), one design at a time.

    Attributes:
        population_size: as in Optuna.
    """

    population_size: int = 50

    name = "nsga3"
    summary = "search for fronts of several costs at once, with reference points (Optuna NSGA-III)"
    libraries = ("optuna",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {"population_size": (50, 100, 200)}
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"population_size": (2, 100_000)}

    def search(self, referee: Referee, seed: int) -> None:
        """Asks, costs and tells until the budget is spent.

        Raises:
            UnknownNameError: the problem has no baseline of the name `start`, or not a cost that `metrics` names.
        """
        from optuna.samplers import NSGAIIISampler

        names = names_of(referee, self.metrics)

        study_designs(
            referee,
            lambda: quiet(lambda: NSGAIIISampler(population_size=self.population_size, seed=seed)),
            lambda found: costs_in(found, names)[0].tolist(),
            costs=len(names),
            constrained=True,
            start=self.start_design(referee),
        )
