"""Anytime curves with bootstrap bands, of thousands of entrants and instances in seconds.

`interquartile_bands` is `statistics.stratified_bootstrap` of interquartile means at every point of a grid: the same
resamples of the same seed. It counts how often each trial was drawn instead of gathering its scores, and sorts the
trials of a point once instead of each resample's: how many of the lowest were drawn says what the cut leaves of each.

Conventions as in `statistics`: `N` trials, `G` grid points, `R` resamples, `I` instances.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .records import Curve
from .scored_trials import ScoredTrial
from .statistics import CONFIDENCE, Estimate

__all__ = ["MOST_BANDED", "anytime_curves", "interquartile_bands", "overall_curves", "scores_on_grid"]

RESAMPLES = 500  # a band has two percentiles at each grid point; 500 draw it smoothly enough
MOST_BANDED = 2_000  # curves of single instances
_CUT = 0.25  # of the trials, at each end
_SIGMAS = 5.5  # by which the number drawn of the lowest trials is taken to differ from its mean; checked
_MOST_COUNTED = 2**15  # resamples of points that are counted at once: what a processor's nearest caches hold
_MOST_DRAWN = 2**21  # numbers that are drawn at once


def anytime_curves(
    entrants: Mapping[str, Sequence[ScoredTrial]], grid: NDArray[Any], axis: str, *, seed: int
) -> tuple[list[Curve], list[Curve]]:
    """Each entrant's curve over all instances, and each entrant's curves of its instances, by name.

    Where there are more than `MOST_BANDED` of the latter, they have no bands: nobody tells so many apart.

    Args:
        entrants: {name: trials}.
        grid: `[G]`, ascending, sample counts or seconds.
        axis: "samples" or "seconds", against which a trial's incumbents stand.
        seed: of the resampling.
    """
    overall, single = [], []
    banded = sum(len({trial.instance for trial in trials}) for trials in entrants.values()) <= MOST_BANDED
    for agent, trials in entrants.items():
        by_instance = _strata(trials, grid, axis)
        overall.append(_curve(agent, None, list(by_instance.values()), seed))
        single += [
            _curve(agent, name, [stratum], seed) if banded else _line(agent, name, [stratum])
            for name, stratum in by_instance.items()
        ]
    return overall, single


def overall_curves(
    entrants: Mapping[str, Sequence[ScoredTrial]], grid: NDArray[Any], axis: str, *, seed: int
) -> list[Curve]:
    """The first of what `anytime_curves` returns."""
    return [_curve(agent, None, list(_strata(trials, grid, axis).values()), seed) for agent, trials in entrants.items()]


def _strata(trials: Sequence[ScoredTrial], grid: NDArray[Any], axis: str) -> dict[str, NDArray[np.float64]]:
    """Instance to the scores of its trials on the grid, `[G, n]`, by name."""
    strata: dict[str, list[int]] = defaultdict(list)
    for place, trial in enumerate(trials):
        strata[trial.instance].append(place)
    scores = scores_on_grid(trials, grid, axis)
    return {name: scores[strata[name]].T for name in sorted(strata)}


def _curve(agent: str, instance: str | None, strata: Sequence[NDArray[np.float64]], seed: int) -> Curve:
    if all(stratum.shape[-1] == 1 for stratum in strata):  # one seed: an interval over seeds would be empty
        return _line(agent, instance, strata)
    score, low, high = (tuple(ends.tolist()) for ends in interquartile_bands(strata, seed=seed, resamples=RESAMPLES))
    return Curve(agent, instance, score, low, high)


def _line(agent: str, instance: str | None, strata: Sequence[NDArray[np.float64]]) -> Curve:
    """Without a band."""
    score = _interquartile_means(np.sort(np.concatenate(strata, axis=-1), axis=-1))
    return Curve(agent, instance, tuple(score.tolist()), None, None)


def scores_on_grid(trials: Sequence[ScoredTrial], grid: NDArray[Any], axis: str) -> NDArray[np.float64]:
    """`statistics.anytime_scores` of many trials, `[N, G]`."""
    counts = [trial.values.size for trial in trials]
    owner = np.repeat(np.arange(len(trials)), counts)  # of every incumbent, as all that follow
    value = np.concatenate([np.zeros(0), *(trial.values for trial in trials)])
    position = np.concatenate([np.zeros(0), *(getattr(trial, axis) for trial in trials)])
    reference = np.array([trial.reference for trial in trials], dtype=np.float64)[owner]
    bound = np.array([trial.bound for trial in trials], dtype=np.float64)[owner]
    score = (reference - np.where(np.isfinite(value), value, reference)) / (reference - bound)
    first = np.searchsorted(grid, position)  # the grid point from which on it is known
    latest = np.full((len(trials), grid.size + 1), -1)
    latest[owner, first] = np.arange(owner.size)  # of equal places the last one stays
    known = np.maximum.accumulate(latest, axis=1)[:, :-1]
    return np.where(known >= 0, np.append(score, 0.0)[known], 0.0)


def interquartile_bands(
    strata: Sequence[NDArray[np.float64]], *, seed: int, resamples: int, confidence: float = CONFIDENCE
) -> Estimate:
    """Interquartile means and their intervals at each grid point, as `statistics.stratified_bootstrap` gives them.

    Args:
        strata: one array `[G, n_i]` per instance; at least one, none of them empty.
        seed, resamples, confidence: as there.

    Returns:
        `Estimate` of three arrays `[G]`.
    """
    everything = np.concatenate(strata, axis=-1)
    changed = np.ones(len(everything), dtype=bool)
    changed[1:] = (everything[1:] != everything[:-1]).any(axis=1)
    scores = everything[changed]  # curves are steps: most points of a grid repeat the one before
    drawn = _drawn(tuple(stratum.shape[-1] for stratum in strata), seed, resamples)
    order = np.argsort(scores, axis=-1, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=-1)
    total = scores.shape[-1]
    cut = int(_CUT * total)
    if cut == 0:
        resampled = scores @ drawn.astype(np.float64) / total
    else:
        resampled = _cut_sums(_Sorted(scores, order, ordered), drawn, cut) / (total - 2 * cut)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=-1)
    repeated = np.cumsum(changed) - 1
    return Estimate(_interquartile_means(ordered)[repeated], low[repeated], high[repeated])


def _interquartile_means(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of scores that ascend along the last axis."""
    cut = int(_CUT * ordered.shape[-1])
    return ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)


@functools.lru_cache(maxsize=8)  # most entrants ran the same numbers of seeds
def _drawn(sizes: tuple[int, ...], seed: int, resamples: int) -> NDArray[Any]:
    """How often each trial is drawn in each resample, `[N, R]`, small integers."""
    size = np.repeat(sizes, sizes)  # [N], seeds in the trial's own stratum
    start = np.repeat(np.cumsum(sizes) - sizes, sizes)  # [N], where that stratum begins
    total = len(size)
    generator = np.random.default_rng(seed)
    found = np.empty((total, resamples), dtype=np.int16 if total < 2**15 else np.int32)  # which holds their sums
    block = max(1, _MOST_DRAWN // total)
    for first in range(0, resamples, block):
        draws = generator.random((min(block, resamples - first), total))  # the same however they are blocked
        places = start + (draws * size).astype(np.intp)  # [block, N]
        places += total * np.arange(len(draws))[:, None]
        counts = np.bincount(places.ravel(), minlength=draws.size).reshape(draws.shape)
        found[:, first : first + len(draws)] = counts.T
    return found


class _Sorted(NamedTuple):
    """Scores of N trials at G points, and how they ascend there."""

    scores: NDArray[np.float64]  # [G, N]
    order: NDArray[np.intp]  # [G, N], the trials by score
    ordered: NDArray[np.float64]  # [G, N], the scores in that order


def _cut_sums(own: _Sorted, drawn: NDArray[Any], cut: int) -> NDArray[np.float64]:
    """Sums of what the cut leaves of each resample's scores, `[G, R]`.

    Of N draws, the `cut` lowest and the `cut` highest do not count. A trial that stands far outside the cut's places
    never counts, one far inside always does; only between them it depends on the resample.
    """
    total = own.scores.shape[-1]
    # A number of draws varies by no more than that of coin tosses; strata make it vary less.
    spread = math.ceil(_SIGMAS * math.sqrt(total * _CUT * (1 - _CUT)))
    least, most = max(cut - spread, 0), cut + spread
    if most < total - most:
        zones = [(least, most), (total - most, total - least)]
        found = _zones(own, drawn, cut, zones)
        if found is not None:
            return found
    found = _zones(own, drawn, cut, [(0, total)])
    assert found is not None
    return found


def _zones(own: _Sorted, drawn: NDArray[Any], cut: int, zones: Sequence[tuple[int, int]]) -> NDArray[np.float64] | None:
    """`_cut_sums` where every cut falls into one of the zones of places; None where one does not."""
    scores, order, ordered = own
    (points, total), resamples = scores.shape, drawn.shape[1]
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(total), order.shape), axis=-1)
    inside = (place >= zones[0][1]) & (place < zones[-1][0])
    sums = np.zeros((points, resamples))
    if inside.any():
        sums += np.where(inside, scores, 0.0) @ drawn.astype(np.float64)
    ends = [(cut, total - cut)] if len(zones) == 1 else [(cut, total), (0, total - cut)]
    small = drawn.astype(np.float32)  # whose sums are exact
    step = max(1, _MOST_COUNTED // resamples)
    for (first, last), (low, high) in zip(zones, ends, strict=True):
        before = ((place < first).astype(np.float32) @ small).astype(drawn.dtype)  # [G, R]
        if first and (before > (low or high)).any():
            return None
        for start in range(0, points, step):
            here = slice(start, start + step)
            running, counted = before[here], np.clip(before[here], low, high)
            # One place after the other, so that what is counted stays in the caches.
            now, product = np.empty_like(counted), np.empty(counted.shape)  # [step, R]
            for trial, score in zip(order[here, first:last].T, ordered[here, first:last].T, strict=True):
                running += drawn[trial]
                np.minimum(running, high, out=now)
                np.maximum(now, low, out=now)
                np.subtract(now, counted, out=counted)
                np.multiply(score[:, None], counted, out=product)
                sums[here] += product
                now, counted = counted, now
            if last < total and (running < (low or high)).any():
                return None
    return sums
