"""The best designs of a problem: of some that were found, or of all that there are.

D designs of n parameters; K of them are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .problem import Problem

__all__ = ["best_of", "best_of_all"]

_CHUNK = 2**16  # designs of an enumeration that are held at once


def best_of(problem: Problem, designs: np.ndarray, count: int) -> np.ndarray:
    """The best feasible ones of designs int[D, n], int[K, n] with K at most `count`, best first, as they are scored.

    Of those that cost the same in every metric the first alone.
    """
    result = problem.evaluate_held_out(designs)
    order = np.argsort(np.where(result.feasible, result.objective, np.inf), kind="stable")
    order = order[result.feasible[order]]
    chosen: dict[tuple[float, ...], int] = {}
    for place in order.tolist():
        costs = tuple(float(metric[place]) for metric in result.metrics or ())
        chosen.setdefault((float(result.objective[place]), *(costs or (place,))), place)
        if len(chosen) == count:
            break
    return designs[list(chosen.values())]


def best_of_all(problem: Problem, count: int) -> np.ndarray:
    """As `best_of`, of every design of the space: for spaces of which each design can be costed."""
    best = problem.space.enumerate(0, 0)
    for start in range(0, problem.space.size, _CHUNK):
        designs = problem.space.enumerate(start, start + _CHUNK)
        best = best_of(problem, np.concatenate([best, designs]), count)
    return best
