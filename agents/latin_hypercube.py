"""Stratified random search: Latin hypercubes, by SciPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Agent
from .referee import Referee
from .sampling import BATCH, designs_at

__all__ = ["LatinHypercube"]


@dataclass(frozen=True)
class LatinHypercube(Agent):
    """Costs one Latin hypercube after another (M. D. McKay et al., Technometrics, 1979).

    Each takes every parameter's values equally often, as far as its points can be divided among them.

    Attributes:
        points: of a hypercube; fewer where the budget has no room for one.
    """

    points: int = BATCH

    name = "latin_hypercube"
    summary = "stratified random designs of Latin hypercubes (SciPy)"
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {"points": (64, 256, BATCH)}
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"points": (1, 100_000)}

    def search(self, referee: Referee, seed: int) -> None:
        """Costs a hypercube at a time."""
        from scipy.stats import qmc

        hypercube = qmc.LatinHypercube(len(referee.space), rng=seed)
        while True:
            referee.evaluate(designs_at(referee.space, hypercube.random(min(self.points, referee.budget))))
