"""Profiles: how often an entrant is how good, over all problems at once. N problems, k entrants, T thresholds.

Sources: E. D. Dolan, J. J. Moré, "Benchmarking optimization software with performance profiles", Mathematical
Programming 91, 2002 (of costs); R. Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
Precipice", NeurIPS 2021, section 4.2 (of scores).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...costmodels.errors import DsegymError

__all__ = ["performance_profile", "score_profile"]


def performance_profile(costs: ArrayLike, ratios: ArrayLike) -> NDArray[np.float64]:
    """The share of problems on which each entrant's cost is within a ratio of the least of all entrants.

    Args:
        costs: float[N, k], positive, less is better (samples or seconds to a target); `inf` where it was not reached.
        ratios: float[T], 1 or more.

    Returns:
        float64[k, T], not falling with the ratio. A problem that nobody solves counts as not solved by anyone, and
        equal costs are both the least.

    Raises:
        DsegymError: costs that are no table, or not positive, or ratios below 1.
    """
    costs, ratios = np.asarray(costs, np.float64), np.asarray(ratios, np.float64)
    if costs.ndim != 2 or not costs.size or not (costs > 0).all():
        raise DsegymError("costs must be a table of positive numbers, a row a problem and a column an entrant.")
    if not (ratios >= 1).all():
        raise DsegymError("a ratio to the least cost is 1 or more.")
    least = costs.min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        ratio = np.where(np.isfinite(costs), costs / least, np.inf)
    return (ratio[:, :, None] <= ratios).mean(axis=0)


def score_profile(scores: ArrayLike, thresholds: ArrayLike) -> NDArray[np.float64]:
    """The share of scores above each threshold; over thresholds from 0 to 1 its area is the mean of scores in between.

    Args:
        scores: float[..., N].
        thresholds: float[T].

    Returns:
        float64[..., T].

    Raises:
        DsegymError: there is no score.
    """
    scores = np.asarray(scores, np.float64)
    if not scores.size:
        raise DsegymError("a profile needs at least one score.")
    return (scores[..., None] > np.asarray(thresholds, np.float64)).mean(axis=-2)
