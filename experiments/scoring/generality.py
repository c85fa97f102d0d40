"""Specialists and generalists: what hyperparameters that are chosen on one scenario are worth on the others.

D draws of an agent's hyperparameters, S scenarios (or instances). The questions are those of specialisation, of the
gap to what generalises, and of transfer across domains; the formulas are those below.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...costmodels.errors import DsegymError

__all__ = ["Generality", "generality", "tuned_elsewhere"]


class Generality(NamedTuple):
    """How choices carry over."""

    at_home: float  # mean score where the choice was made
    elsewhere: float  # mean score on the other scenarios
    gap: float  # the first less the second: what is lost where one does not choose anew
    transfer: float | None  # the second over what a choice made there would score; None where that is 0 somewhere
    general: float  # mean score of the one choice that is best on all scenarios together
    price: float  # of having one choice for all: `at_home` less `general`


def tuned_elsewhere(scores: ArrayLike) -> NDArray[np.float64]:
    """float64[S, S]: what the draw that is best on the row's scenario scores on the column's.

    Args:
        scores: float[D, S]; of equal draws the first is taken.

    Raises:
        DsegymError: no table of at least one draw and two scenarios.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or not scores.shape[0] or scores.shape[1] < 2:
        raise DsegymError("a table of scores needs at least one draw, a row each, and two scenarios, a column each.")
    return scores[scores.argmax(axis=0)]


def generality(scores: ArrayLike) -> Generality:
    """What choosing on one scenario is worth on the others; takes and raises what `tuned_elsewhere` does."""
    table = tuned_elsewhere(scores)
    scores = np.asarray(scores, np.float64)
    own, count = np.diag(table), len(table)
    away = ~np.eye(count, dtype=bool)
    at_home, elsewhere = float(own.mean()), float(table[away].mean())
    transfer = float((table / own)[away].mean()) if (own > 0).all() else None
    general = float(scores.mean(axis=1).max())
    return Generality(at_home, elsewhere, at_home - elsewhere, transfer, general, at_home - general)
