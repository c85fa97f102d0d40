"""What agents that draw from the unit cube share: points become designs."""

from __future__ import annotations

import numpy as np

from ..envs.core.spaces import DesignSpace

__all__ = ["BATCH", "designs_at"]

BATCH = 1024  # points at a time: a power of two, as Sobol' sequences are balanced over; a costed batch is as large


def designs_at(space: DesignSpace, points: np.ndarray) -> np.ndarray:
    """The designs int32[B, n] of points float64[B, n] of [0, 1): each value has an equal share of its axis."""
    return np.minimum(points * space.cardinalities, space.cardinalities - 1).astype(np.int32)
