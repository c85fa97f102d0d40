"""Quasi-random search: a scrambled Sobol' sequence, by SciPy."""

from __future__ import annotations

from dataclasses import dataclass

from .base import SOBOL_DIMENSIONS, Agent
from .referee import Referee
from .sampling import BATCH, designs_at

__all__ = ["Sobol"]


@dataclass(frozen=True)
class Sobol(Agent):
    """Costs the points of an Owen-scrambled Sobol' sequence in order (S. Joe, F. Y. Kuo, SIAM J. Sci. Comput., 2008).

    Any first 2**k samples cover each parameter's values, and pairs of them, more evenly than random ones.
    """

    name = "sobol"
    summary = "quasi-random designs of a scrambled Sobol' sequence (SciPy)"
    needs = (SOBOL_DIMENSIONS,)

    def search(self, referee: Referee, seed: int) -> None:
        """Costs the sequence a batch at a time."""
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(referee.space), rng=seed)
        while True:
            referee.evaluate(designs_at(referee.space, sequence.random(BATCH)))
