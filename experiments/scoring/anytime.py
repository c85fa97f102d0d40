"""Anytime performance: how good a trial was all along, as one number."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ...costmodels.errors import DsegymError

__all__ = ["anytime_regret"]


def anytime_regret(samples: ArrayLike, scores: ArrayLike, budget: int) -> float:
    """The mean of 1 - score of the best so far over the logarithm of samples, from the first to the budget's last.

    Each factor of samples counts alike, so that an early find is worth what it is worth to who stops early; the area
    is that of a step function, and exact.

    Args:
        samples: int[K], of each incumbent, from 1, rising.
        scores: float[K], of each incumbent.
        budget: samples allowed, 2 at least.

    Returns:
        0 where the bound is known from the first sample on, 1 where nothing better than the reference is ever held;
        whoever holds less falls back on the reference, as before the first feasible design.

    Raises:
        DsegymError: the budget is below 2, or a sample beyond it.
    """
    samples, held = np.asarray(samples, np.float64), np.maximum(np.asarray(scores, np.float64), 0.0)
    if budget < 2 or (samples.size and not 1 <= samples.min() <= samples.max() <= budget):
        raise DsegymError(f"samples must lie from 1 to the budget, {budget}, which is 2 at least.")
    edges = np.log(np.concatenate([[1.0], samples, [float(budget)]]))
    return float((np.diff(edges) * (1.0 - np.concatenate([[0.0], held]))).sum() / math.log(budget))
