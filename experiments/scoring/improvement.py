"""Probabilities of improvement of all pairs of entrants, at once.

`improvements` is `statistics.probability_of_improvement` of every pair: the same resamples of the same seed. All pairs
that share instances and numbers of seeds are drawn alike, so one product serves one entrant against all of them.

Conventions as in `statistics`: `n` and `m` seeds of an instance, `R` resamples; `A` entrants that one is compared with.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from . import statistics
from .statistics import CONFIDENCE, RESAMPLES, Estimate

__all__ = ["improvements"]

_PAIRS = 2**12  # of seeds, up to which float32 counts twice the pairs of a resample exactly
_MOST_DRAWN = 2**24  # numbers of draws that are kept for the next entrant
_BLOCK = 2**21  # numbers that a product makes at once: 8 MB; small products are slow

Strata = Mapping[str, Sequence[float]]  # instance to scores
_Sizes = tuple[tuple[int, int], ...]  # seeds of X and of Y, by instance


def improvements(entrants: Mapping[str, Strata], *, seed: int) -> dict[tuple[str, str], tuple[Estimate, int]]:
    """Each pair of entrants, the earlier one first, to the probability that it scores higher, and shared instances.

    Pairs that share no instance are left out.
    """
    names, found = list(entrants), {}
    for place, x in enumerate(names):
        alike: dict[tuple[tuple[str, ...], _Sizes], list[str]] = defaultdict(list)  # {(instances, seeds): entrants}
        for y in names[place + 1 :]:
            shared = tuple(sorted(entrants[x].keys() & entrants[y].keys()))
            if shared:
                sizes = tuple((len(entrants[x][name]), len(entrants[y][name])) for name in shared)
                alike[shared, sizes].append(y)
        for (shared, sizes), ys in alike.items():
            xs = [np.asarray(entrants[x][name], dtype=np.float64) for name in shared]
            others = [[np.asarray(entrants[y][name], dtype=np.float64) for name in shared] for y in ys]
            for y, estimate in zip(ys, _against_all(xs, others, sizes, seed), strict=True):
                found[x, y] = estimate, len(shared)
    return {(x, y): found[x, y] for place, x in enumerate(names) for y in names[place + 1 :] if (x, y) in found}


def _against_all(
    xs: Sequence[NDArray[np.float64]],
    others: Sequence[Sequence[NDArray[np.float64]]],
    sizes: _Sizes,
    seed: int,
) -> list[Estimate]:
    """One entrant's scores by instance against several others'."""
    if any(n * m > _PAIRS for n, m in sizes):
        return [statistics.probability_of_improvement(xs, ys, seed=seed) for ys in others]
    value, resampled = np.zeros(len(others)), np.zeros((RESAMPLES, len(others)))
    for place, ((n, m), (drawn_x, drawn_y)) in enumerate(zip(sizes, _multiplicities(sizes, seed), strict=True)):
        theirs = np.stack([ys[place] for ys in others])  # [A, m]
        twice = (np.sign(xs[place][:, None, None] - theirs) + 1).astype(np.float32)  # [n, A, m], small whole numbers
        value += twice.sum(axis=(0, 2), dtype=np.float64) / (2 * n * m)
        step = max(1, _BLOCK // theirs.size)
        for first in range(0, RESAMPLES, step):
            here = slice(first, first + step)
            won = (drawn_x[here] @ twice.reshape(n, -1)).reshape(-1, *theirs.shape)  # [step, A, m]
            resampled[here] += np.einsum("ram,rm->ra", won, drawn_y[here]).astype(np.float64) / (2 * n * m)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled / len(sizes), [tail, 1 - tail], axis=0)
    return [Estimate(*ends) for ends in zip(value / len(sizes), low, high, strict=True)]


def _multiplicities(sizes: _Sizes, seed: int) -> Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """How often each seed of X, [R, n], and of Y, [R, m], is drawn in each resample, by instance."""
    if RESAMPLES * sum(map(sum, sizes)) <= _MOST_DRAWN:
        return _kept(sizes, seed)
    return _drawn(sizes, seed)


def _drawn(sizes: _Sizes, seed: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    generator = np.random.default_rng(seed)
    for n, m in sizes:
        x, y = (generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) for count in (n, m))
        yield x.astype(np.float32), y.astype(np.float32)


@functools.lru_cache(maxsize=1)
def _kept(sizes: _Sizes, seed: int) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]:
    return tuple(_drawn(sizes, seed))
