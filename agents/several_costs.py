"""What agents that minimise several costs at once share: which costs, and what designs cost in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..costmodels.errors import UnknownNameError
from .referee import Referee

if TYPE_CHECKING:
    from ..envs.core.evaluation import Evaluation

__all__ = ["costs_in", "names_of"]


def names_of(referee: Referee, metrics: str) -> tuple[str, ...]:
    """The costs that a user names, with commas between them; all that the problem declares where none is named.

    Raises:
        UnknownNameError: one is none of the problem's costs.
    """
    names = tuple(name.strip() for name in metrics.split(",") if name.strip()) or referee.front
    for name in names:
        if name not in referee.front:
            raise UnknownNameError("cost", name, referee.front)
    return names


def costs_in(found: Evaluation, names: tuple[str, ...]) -> np.ndarray:
    """float64[B, m], to be minimised."""
    return np.stack([np.asarray(getattr(found.metrics, name), np.float64) for name in names], axis=1)
