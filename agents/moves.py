"""What searches by moves share: where they start, and a step from a design to one nearby."""

from __future__ import annotations

import numpy as np

from ..envs.core.spaces import DesignSpace
from .referee import REFERENCE, Referee

__all__ = ["first_design", "has_start", "mutate", "partly_drawn"]

_NEAR = 0.5  # the share of an ordered parameter's changes that are steps to a value close by


def first_design(referee: Referee, start: str, generator: np.random.Generator) -> np.ndarray:
    """The design to start from, int32[n].

    Args:
        referee: of the search.
        start: the name of a baseline; empty for a random design, as is the reference of a problem that has none.
        generator: of the luck.

    Raises:
        UnknownNameError: there is no such baseline.
    """
    return referee.baseline(start) if has_start(referee, start) else referee.space.sample(generator, 1)[0]


def has_start(referee: Referee, start: str) -> bool:
    """Whether a search that is told to start from the baseline `start` has one, or begins at random."""
    return bool(start) and (start != REFERENCE or REFERENCE in referee.baselines)


def mutate(
    space: DesignSpace, design: np.ndarray, count: int, changes: float, generator: np.random.Generator
) -> np.ndarray:
    """Mutants, int32[count, n], each with a geometric number (mean `changes`) of parameters changed.

    Args:
        space: of the designs.
        design: int32[n] that all are mutants of, or int32[count, n], one each.
        count: of the mutants.
        changes: parameters that a mutant differs in, on average; one at least, where any has a choice.
        generator: of the luck.
    """
    shape, cardinalities = (count, len(space)), space.cardinalities
    # Which ones: those of the lowest rank in a random order, in which parameters without a choice come last.
    order = np.where(cardinalities > 1, generator.random(shape), np.inf)
    rank = order.argsort(axis=1).argsort(axis=1)
    chosen = (rank < generator.geometric(1.0 / max(changes, 1.0), (count, 1))) & (cardinalities > 1)
    # To what: any other value, or for ordered parameters one close by.
    far = (design + generator.integers(1, np.maximum(cardinalities, 2), shape)) % cardinalities
    step = generator.geometric(0.5, shape) * generator.choice((-1, 1), shape)
    near = np.clip(design + step, 0, cardinalities - 1)
    ordered = np.array([parameter.ordered for parameter in space.parameters])
    close = ordered & (generator.random(shape) < _NEAR) & (near != design)
    return np.where(chosen, np.where(close, near, far), design).astype(np.int32)


def partly_drawn(space: DesignSpace, design: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A design, int32[n], of which a share is drawn anew: anything from one parameter to all, every scale as likely."""
    share = len(space) ** -generator.random()
    anew = generator.random(len(space)) < share
    return np.where(anew, space.sample(generator, 1)[0], design)
