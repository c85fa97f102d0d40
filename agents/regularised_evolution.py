"""Regularised evolution: tournaments in a population whose oldest die, with mutation alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Agent
from .moves import mutate
from .referee import Referee

__all__ = ["RegularisedEvolution"]


@dataclass(frozen=True)
class RegularisedEvolution(Agent):
    """Ageing evolution (E. Real et al., AAAI 2019), as architectures are searched.

    Each round holds `children` tournaments, whose winners have a mutant each; the mutants join the population and as
    many of its oldest leave it, however good. The paper's workers are asynchronous; here a round's children are.

    Attributes:
        start: the name of a baseline that joins the first population; empty for random designs only.
        population_size: of the designs that live; at most a quarter of the budget are drawn at random.
        tournament: members that are drawn, with replacement, for each.
        children: a round.
        changes: parameters that a mutant changes on average.
    """

    start: str = ""
    population_size: int = 64
    tournament: int = 16
    children: int = 8
    changes: float = 1.5

    name = "regularised_evolution"
    summary = "evolution by mutation alone, in which the oldest die (Real et al.)"
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "population_size": (16, 32, 64, 128),
        "tournament": (2, 4, 8, 16, 32),
        "children": (1, 8, 32),
        "changes": (1.0, 1.5, 2.0, 4.0),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "population_size": (1, 100_000),
        "tournament": (1, 100_000),
        "children": (1, 100_000),
        "changes": (1, 100_000),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Evolves until the budget is spent.

        Raises:
            UnknownNameError: the problem has no baseline of the name `start`.
        """
        generator, space = np.random.default_rng(seed), referee.space
        size = max(1, min(self.population_size, referee.budget // 4))
        designs = space.sample(generator, size)
        if self.start:
            designs[0] = referee.baseline(self.start)
        living = deque(zip(designs, referee.costs(designs), strict=True), maxlen=size)
        while True:
            members = np.array([cost for _, cost in living])
            drawn = generator.integers(0, len(living), (self.children, self.tournament))
            winners = drawn[np.arange(self.children), members[drawn].argmin(axis=1)]
            parents = np.stack([living[winner][0] for winner in winners])
            children = mutate(space, parents, self.children, self.changes, generator)
            living.extend(zip(children, referee.costs(children), strict=True))
