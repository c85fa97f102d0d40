"""Targets: how many samples, or seconds, a trial takes to a score, in classes of equal budget. N trials, T targets.

Trials are compared within a class: those that were allowed as many samples. To set what a trial with more of them
reached beside one with fewer would say who was given more (as AlgoPerf and Languini hold it).

Sources: N. Hansen, A. Auger et al., "COCO: a platform for comparing continuous optimizers in a black-box setting",
Optimization Methods and Software 36, 2021 (targets, runtime distributions, the expected runtime).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...costmodels.errors import DsegymError

__all__ = ["budget_classes", "expected_runtime", "graded_level", "runtime_distribution", "to_target"]

T = TypeVar("T")


def to_target(position: ArrayLike, score: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Where along samples, or seconds, a trial's best has reached each target, and stays there.

    Args:
        position: float[K], where each incumbent was found, not falling.
        score: float[K], of each incumbent; it may fall where it is taken on held-out cases.
        targets: float[T].

    Returns:
        float64[T], `inf` where a target was not reached at the end.
    """
    position, score = np.asarray(position, np.float64), np.asarray(score, np.float64)
    if not score.size:
        return np.full(np.shape(targets), np.inf)
    stays = np.minimum.accumulate(score[::-1])[::-1]  # the least from here on, which does not fall
    place = np.searchsorted(stays, np.asarray(targets, np.float64), side="left")
    return np.append(position, np.inf)[place]


def expected_runtime(reached: ArrayLike, spent: ArrayLike) -> float:
    """What it takes to reach a target if a trial that does not is followed by another one (COCO's ERT).

    Args:
        reached: float[N], samples or seconds of each trial to the target, `inf` where it did not get there.
        spent: float[N], of each trial in all.

    Returns:
        What all trials spent until they reached it, or in all, over the number of those that did; `inf` for none.
    """
    reached, spent = np.asarray(reached, np.float64), np.asarray(spent, np.float64)
    successes = np.isfinite(reached)
    return float(np.where(successes, reached, spent).sum() / successes.sum()) if successes.any() else float("inf")


def runtime_distribution(reached: ArrayLike, grid: ArrayLike) -> NDArray[np.float64]:
    """The share of all pairs of a trial and a target that are reached within each point of a grid.

    Args:
        reached: float[...], of each pair, `inf` where it was not.
        grid: float[G].

    Returns:
        float64[G].

    Raises:
        DsegymError: there is no pair.
    """
    ordered = np.sort(np.asarray(reached, np.float64), axis=None)
    if not ordered.size:
        raise DsegymError("a distribution needs at least one trial and one target.")
    return np.searchsorted(ordered, np.asarray(grid, np.float64), side="right") / ordered.size


def budget_classes(trials: Iterable[T], budgets: Sequence[int]) -> dict[int, list[T]]:
    """{budget: the trials of it}, in order of budget; nothing else is comparable.

    Args:
        trials: N of them.
        budgets: of each.
    """
    found: dict[int, list[T]] = defaultdict(list)
    for trial, budget in zip(trials, budgets, strict=True):
        found[budget].append(trial)
    return {budget: found[budget] for budget in sorted(found)}


def graded_level(score: ArrayLike, references: ArrayLike) -> NDArray[np.float64]:
    """The share of graded references that a score matches or exceeds: it is told by the level that it reaches.

    Args:
        score: float[...].
        references: float[L], the scores of an instance's reference designs: its heuristics', its expert's, its bound.
            Equal ones make up one level, as wide as they are many.

    Returns:
        float64[...], 0 below all of them, 1 at the best of them or above.

    Raises:
        DsegymError: there is no reference.
    """
    levels = np.sort(np.asarray(references, np.float64))
    if not levels.size:
        raise DsegymError("a level needs at least one reference.")
    return np.searchsorted(levels, np.asarray(score, np.float64), side="right") / levels.size
