"""The statistics of the leaderboard: scores, interquartile means, bootstrap intervals, anytime curves.

Everything here is a pure NumPy function of arrays; nothing knows of agents or files. Conventions of this module:

* `N` trials, `n` seeds of one instance, `I` instances, `G` grid points, `S` samples of one trial, `R` resamples.
* The seeds axis is always the last one, so that a curve is `[G, n]` and a plain set of scores is `[n]`.
* A *stratum* holds the scores of one instance. Strata may differ in their number of seeds.
* Objective values are positive and minimised. `inf` stands for "no feasible design yet".

Source: R. Agarwal, M. Schwarzer, P. S. Castro, A. Courville, M. G. Bellemare, "Deep Reinforcement Learning at the Edge
of the Statistical Precipice", NeurIPS 2021 (arXiv 2108.13264), sections 4.1 to 4.3.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...costmodels.errors import DsegymError
from ...envs.core.evaluation import obstacle_between

__all__ = [
    "Estimate",
    "Ranks",
    "anytime_scores",
    "average_ranks",
    "best_so_far",
    "incumbents",
    "incumbents_of_many",
    "interquartile_mean",
    "normalised_score",
    "probability_of_improvement",
    "score_or_reference",
    "step_interpolate",
    "stratified_bootstrap",
]

_BLOCK = 2**23  # scores that a bootstrap holds at once: 64 MB
CONFIDENCE = 0.95  # Agarwal et al. report 95 % intervals throughout
RESAMPLES = 2000  # their `rliable` takes 2000 for point estimates; the percentile ends are then good to about 0.5 %


class Estimate(NamedTuple):
    """A statistic and its bootstrap interval."""

    value: NDArray[np.float64]  # [...], the statistic of the data as they are
    low: NDArray[np.float64]  # [...], lower end of the percentile interval
    high: NDArray[np.float64]  # [...], upper end


def normalised_score(value: ArrayLike, reference: float, bound: float) -> NDArray[np.float64]:
    """How far `value` has come from the reference (score 0) to the bound (score 1).

    Args:
        value: objective values, any shape, in the objective's unit.
        reference: value of the instance's named baseline, same unit.
        bound: the instance's proven bound, optimum or best known value, same unit.

    Returns:
        `(reference - value) / (reference - bound)`, the shape of `value`, no unit. Negative is worse than the
        reference; above 1 is better than the bound, which only a best known value allows. `inf` gives `-inf`.

    Raises:
        DsegymError: the reference is not above the bound by more than rounding, so that the scale has no length.
    """
    obstacle = obstacle_between(reference, bound)
    if obstacle:
        raise DsegymError(f"cannot normalise: {obstacle}")
    return (reference - np.asarray(value, dtype=np.float64)) / (reference - bound)


def score_or_reference(value: ArrayLike, reference: float, bound: float) -> NDArray[np.float64]:
    """`normalised_score`, where a value that is not finite (nothing feasible found) scores 0, like the reference.

    Whoever finds nothing falls back on the baseline, so nothing is worth exactly that. Takes, returns and raises as
    `normalised_score` does.
    """
    value = np.asarray(value, dtype=np.float64)
    return normalised_score(np.where(np.isfinite(value), value, reference), reference, bound)


def interquartile_mean(scores: ArrayLike, axis: int = -1) -> NDArray[np.float64]:
    """Mean of the middle half: a quarter of the scores, rounded down, is cut at each end.

    Args:
        scores: any shape, the trials along `axis`; fewer than four trials are not cut at all.
        axis: the axis to average over.

    Returns:
        The shape of `scores` without `axis`.
    """
    from scipy import stats  # a second to import, which workers that run trials need not spend

    return stats.trim_mean(np.asarray(scores, dtype=np.float64), 0.25, axis=axis)


def stratified_bootstrap(
    strata: Sequence[ArrayLike],
    statistic: Callable[..., NDArray[np.float64]] = interquartile_mean,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """A statistic over all trials, with the percentile interval over resampled seeds.

    Seeds are drawn with replacement within each instance, so that each resample keeps the number of trials of each
    instance: the interval tells what other seeds would change, not what other instances would.

    Args:
        strata: one array `[..., n_i]` per instance; all but the last axis agree. At least one, none of them empty.
        statistic: called as `statistic(scores, axis=-1)` on `[..., N]` and on `[..., R, N]`.
        seed: of the resampling; the same seed and the same strata give the same interval.
        resamples: `R`.
        confidence: the interval's probability, in (0, 1).

    Returns:
        `Estimate` whose three fields have the leading shape `[...]`.

    Raises:
        DsegymError: no strata, or an empty one.
    """
    arrays = _checked(strata)
    scores = np.concatenate(arrays, axis=-1)
    sizes = np.array([array.shape[-1] for array in arrays])
    size = np.repeat(sizes, sizes)  # [N], seeds in the trial's own stratum
    start = np.repeat(np.cumsum(sizes) - sizes, sizes)  # [N], where that stratum begins
    rng, resampled = np.random.default_rng(seed), []
    block = max(1, _BLOCK // scores.size)  # resamples at once, whose scores fit into memory whatever N is
    for first in range(0, resamples, block):
        draws = rng.random((min(block, resamples - first), scores.shape[-1]))  # the same however they are blocked
        picks = start + (draws * size).astype(np.intp)  # [block, N]
        resampled.append(statistic(scores[..., picks], axis=-1))
    low, high = _percentiles(np.concatenate(resampled, axis=-1), confidence)
    return Estimate(statistic(scores, axis=-1), low, high)


def probability_of_improvement(
    x: Sequence[ArrayLike],
    y: Sequence[ArrayLike],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """How likely X scores higher than Y on an instance drawn at random (Agarwal et al. 2021, section 4.3).

    The mean over instances of `P(X > Y) + P(X = Y) / 2` over all pairs of seeds (the Mann-Whitney statistic), with the
    stratified bootstrap interval in which the seeds of X and of Y are resampled independently.

    Args:
        x: one array `[n_i]` of scores per instance.
        y: one array `[m_i]` of scores per instance, the instances in the same order as in `x`.
        seed: of the resampling.
        resamples: `R`.
        confidence: the interval's probability, in (0, 1).

    Returns:
        `Estimate` of three scalars in [0, 1]; 0.5 means neither is better.

    Raises:
        DsegymError: `x` and `y` hold different numbers of instances, none, or an empty one.
    """
    xs, ys = _checked(x), _checked(y)
    if len(xs) != len(ys):
        raise DsegymError(f"X has scores of {len(xs)} instances, Y of {len(ys)}; give both the same instances")
    value, resampled = 0.0, np.zeros(resamples)
    sizes = tuple((len(scores_x), len(scores_y)) for scores_x, scores_y in zip(xs, ys, strict=True))
    for scores_x, scores_y, (drawn_x, drawn_y) in zip(xs, ys, _multiplicities(sizes, seed, resamples), strict=True):
        n, m = len(scores_x), len(scores_y)
        if n * m <= _PAIRS:  # each pair of seeds apart: twice its share of the statistic, a small whole number
            twice = (np.sign(scores_x[:, None] - scores_y) + 1).astype(drawn_x.dtype)  # [n, m]
            value += float(twice.sum()) / (2 * n * m)
            resampled += np.einsum("rm,rm->r", drawn_x @ twice, drawn_y).astype(np.float64) / (2 * n * m)
            continue
        ordered, order = np.sort(scores_y), np.argsort(scores_y, kind="stable")
        below, up_to = (np.searchsorted(ordered, scores_x, side) for side in ("left", "right"))
        value += (below + up_to).sum() / (2 * n * m)
        # How often each seed was drawn says all about a resample: the seeds of Y below one of X are a running sum.
        block = max(1, _BLOCK // (n + m))
        for first in range(0, resamples, block):
            here = slice(first, first + block)
            sums = np.pad(np.cumsum(drawn_y[here][:, order], axis=1), ((0, 0), (1, 0)))  # [block, m + 1]
            won = (drawn_x[here] * (sums[:, below] + sums[:, up_to])).sum(axis=1)  # twice
            resampled[here] += won / (2 * n * m)
    low, high = _percentiles(resampled / len(xs), confidence)
    return Estimate(np.asarray(value / len(xs)), low, high)


_PAIRS = 2**12  # of seeds, up to which float32 counts twice the pairs of a resample exactly, and a product is quick
_MOST_DRAWN = 2**24  # numbers of draws that are kept for the next two agents, which are drawn alike


def _multiplicities(
    sizes: tuple[tuple[int, int], ...], seed: int, resamples: int
) -> Iterable[tuple[NDArray[Any], NDArray[Any]]]:
    """How often each seed of X, [R, n], and of Y, [R, m], is drawn in each resample, by instance."""
    if resamples * sum(map(sum, sizes)) <= _MOST_DRAWN:
        return _kept(sizes, seed, resamples)
    return _drawn(sizes, seed, resamples)


def _drawn(
    sizes: tuple[tuple[int, int], ...], seed: int, resamples: int
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    rng = np.random.default_rng(seed)
    for n, m in sizes:
        drawn = [rng.multinomial(count, np.full(count, 1 / count), size=resamples) for count in (n, m)]
        kind = np.float32 if n * m <= _PAIRS else np.int64
        yield drawn[0].astype(kind), drawn[1].astype(kind)


@functools.lru_cache(maxsize=1)
def _kept(
    sizes: tuple[tuple[int, int], ...], seed: int, resamples: int
) -> tuple[tuple[NDArray[Any], NDArray[Any]], ...]:
    return tuple(_drawn(sizes, seed, resamples))


def best_so_far(objective: ArrayLike, feasible: ArrayLike) -> NDArray[np.float64]:
    """The lowest feasible objective up to and including each sample.

    Args:
        objective: `[S]`, in sample order; values that are not finite count as infeasible.
        feasible: `[S]` booleans.

    Returns:
        `[S]`, in the objective's unit; `inf` before the first feasible sample.
    """
    objective = np.asarray(objective, dtype=np.float64)
    counted = np.asarray(feasible, dtype=bool) & np.isfinite(objective)
    return np.minimum.accumulate(np.where(counted, objective, np.inf))


def incumbents(objective: ArrayLike, feasible: ArrayLike) -> NDArray[np.int64]:
    """The samples that were the best so far when they came: feasible, and strictly below all feasible ones before.

    Takes what `best_so_far` does.

    Returns:
        `[K]`, ascending indices into the samples; the last is the trial's best. Empty where nothing feasible was found.
    """
    best = best_so_far(objective, feasible)
    return np.flatnonzero(best < np.concatenate([[np.inf], best[:-1]]))


def incumbents_of_many(objective: ArrayLike, feasible: ArrayLike, owner: ArrayLike) -> NDArray[np.int64]:
    """`incumbents` of the samples of many trials, one trial after the other.

    Args:
        objective: `[S]`, of all trials together.
        feasible: `[S]` booleans.
        owner: `[S]`, int, the trial of each sample, not decreasing.

    Returns:
        `[K]`, ascending indices into all these samples.
    """
    objective, owner = np.asarray(objective, dtype=np.float64), np.asarray(owner, dtype=np.int64)
    counted = np.asarray(feasible, dtype=bool) & np.isfinite(objective)
    if not counted.any():
        return np.zeros(0, dtype=np.int64)
    values, rank = np.unique(np.where(counted, objective, np.inf), return_inverse=True)
    # A whole number that orders a trial's samples, and whose first one in each trial lies below all that were before.
    place = rank - owner * len(values)
    best = np.minimum.accumulate(place)
    return np.flatnonzero(counted & np.concatenate([[True], best[1:] < best[:-1]]))


def step_interpolate(grid: ArrayLike, position: ArrayLike, value: ArrayLike, before: float) -> NDArray[np.float64]:
    """The step function that takes `value[k]` from `position[k]` on, read at each grid point.

    Args:
        grid: `[G]`, in the unit of `position` (samples or seconds).
        position: `[K]`, not decreasing; `K` may be 0. Of equal positions the last one counts.
        value: `[K]`.
        before: what holds before the first position.

    Returns:
        `[G]`.
    """
    padded = np.concatenate([[before], np.asarray(value, dtype=np.float64)])
    return padded[np.searchsorted(np.asarray(position, dtype=np.float64), np.asarray(grid), side="right")]


def anytime_scores(
    grid: ArrayLike, position: ArrayLike, value: ArrayLike, *, reference: float, bound: float
) -> NDArray[np.float64]:
    """Normalised score of the incumbent, the best design known, at each grid point; 0 before the first feasible one.

    Args:
        grid: `[G]`, sample counts or seconds.
        position: `[K]`, where along the same axis each incumbent was found, not decreasing.
        value: `[K]`, of each incumbent in the objective's unit; it falls, unless it is taken on other cases than those
            that the search saw.
        reference: value that scores 0.
        bound: value that scores 1.

    Returns:
        `[G]`, no unit.

    Raises:
        DsegymError: as `normalised_score`.
    """
    return score_or_reference(step_interpolate(grid, position, value, before=np.inf), reference, bound)


def _checked(strata: Sequence[ArrayLike]) -> list[NDArray[np.float64]]:
    arrays = [np.asarray(stratum, dtype=np.float64) for stratum in strata]
    if not arrays or any(array.ndim == 0 or array.shape[-1] == 0 for array in arrays):
        raise DsegymError(f"need at least one instance and one seed in each; got {[a.shape for a in arrays]}")
    return arrays


def _percentiles(resampled: NDArray[np.float64], confidence: float) -> NDArray[np.float64]:
    tail = (1 - confidence) / 2
    return np.quantile(resampled, [tail, 1 - tail], axis=-1)


class Ranks(NamedTuple):
    """Average ranks of k entrants over N instances."""

    average: NDArray[np.float64]  # [k], 1 is the best
    p_value: float  # of Friedman's test that all are equal; 1 where none differs from any, or too few are compared
    critical_difference: float  # of Nemenyi's test: average ranks that differ by less are not told apart


def average_ranks(scores: ArrayLike, *, confidence: float = CONFIDENCE) -> Ranks:
    """Ranks of entrants on each instance, averaged, and how far apart they must lie (Demšar, JMLR 7, 2006).

    Args:
        scores: `[N, k]`, of each entrant on each instance, more being better; equal ones share their ranks. N and k at
            least 1.
        confidence: that no two of equal entrants are told apart, in (0, 1).

    Returns:
        The ranks; with ties, Friedman's statistic is corrected for them as SciPy does.
    """
    from scipy import stats

    scores = np.asarray(scores, dtype=np.float64)
    instances, entrants = scores.shape
    average = stats.rankdata(-scores, axis=1).mean(axis=0)
    p_value = 1.0
    if entrants > 2 and instances > 1 and np.ptp(scores, axis=1).any():
        p_value = float(stats.friedmanchisquare(*scores.T).pvalue)
    studentized = stats.studentized_range.ppf(confidence, entrants, np.inf) / np.sqrt(2) if entrants > 1 else 0.0
    return Ranks(average, p_value, float(studentized * np.sqrt(entrants * (entrants + 1) / (6 * instances))))
