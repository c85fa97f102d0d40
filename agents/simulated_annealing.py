"""Simulated annealing on index vectors: many chains, a batch of moves at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Agent
from .moves import has_start, mutate
from .referee import REFERENCE, Referee

__all__ = ["SimulatedAnnealing"]

_STEPS = 200  # of a chain at least, where the budget has them: fewer chains anneal better than short ones
_MEASURED = 50  # worsenings that the first temperature is measured by
_QUANTILE = 0.25  # of them that counts: the larger ones may be penalties of broken constraints
_DRAWN = 0.1  # the share of the budget that is drawn at random for want of a start


@dataclass(frozen=True)
class SimulatedAnnealing(Agent):
    """Metropolis chains that cool together over the whole budget (S. Kirkpatrick et al., Science, 1983).

    A move changes a geometric number of parameters, ordered ones often by a step to a value close by. Temperatures fall
    by a constant factor. The first is measured: that at which the lower quartile of the moves' worsenings is accepted
    with probability `acceptance` (after W. Ben-Ameur, Comput. Optim. Appl., 2004). The last is `cooling` times that.
    SciPy's `dual_annealing` moves in continuous spaces, which ours are not.

    Attributes:
        start: the name of the baseline that all chains start from; empty for the best of random designs, a tenth of
            the budget, as where a problem's reference has no design.
        chains: at most; of a small budget fewer, so that each has 200 steps, if the budget has as many.
        changes: parameters that a move changes on average.
        acceptance: of that worsening, at first.
        cooling: the last temperature, as a share of the first.
    """

    start: str = REFERENCE
    chains: int = 16
    changes: float = 1.5
    acceptance: float = 0.2
    cooling: float = 1e-3

    name = "simulated_annealing"
    summary = "simulated annealing on index vectors, from a baseline's design"
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "chains": (1, 4, 16, 64),
        "changes": (1.0, 1.5, 2.0, 4.0),
        "acceptance": (0.05, 0.2, 0.5),
        "cooling": (1e-4, 1e-3, 1e-2),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "chains": (1, 100_000),
        "changes": (1, 100_000),
        "acceptance": (1e-6, 1 - 1e-6),
        "cooling": (1e-12, 1),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Anneals once, until the budget is spent.

        Raises:
            UnknownNameError: the problem has no baseline of the name `start`.
        """
        generator, space, budget = np.random.default_rng(seed), referee.space, referee.budget
        chains = max(1, min(self.chains, budget // _STEPS))
        steps = max(1, budget // chains - 1)
        if has_start(referee, self.start):
            here = referee.baseline(self.start)[None]
        else:
            here = space.sample(generator, max(chains, int(_DRAWN * budget)))
        costs = referee.costs(here)
        leading = np.resize(np.argsort(costs, kind="stable"), chains)
        here, costs = here[leading], costs[leading]
        worsenings: list[float] = []  # of all moves so far, until the first temperature is measured
        temperature = 0.0
        for step in range(budget):
            moved = mutate(space, here, chains, self.changes, generator)
            found = referee.costs(moved)
            with np.errstate(invalid="ignore"):  # two costs that are infinite: neither is worse
                change = np.nan_to_num(found - costs, nan=0.0, posinf=np.inf, neginf=-np.inf)
            if len(worsenings) < _MEASURED:
                worsenings += [float(each) for each in change if 0 < each < np.inf]
                temperature = (
                    float(np.quantile(worsenings, _QUANTILE)) / -np.log(self.acceptance) if worsenings else 0.0
                )
            now = temperature * self.cooling ** min(1.0, step / steps)
            luck = -np.log(generator.random(chains)) * now  # how much worse a move may be
            taken = change <= luck
            here, costs = np.where(taken[:, None], moved, here), np.where(taken, found, costs)
