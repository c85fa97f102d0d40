"""Probabilities of improvement of all pairs of entrants, at once.

`improvements` is `statistics.probability_of_improvement` of every pair: the same resamples of the same seed. All pairs
that share instances and numbers of seeds are drawn alike, so one product serves all of them: how often each pair of
seeds was drawn, times who won it. Instances of as many seeds share a product as well.

Conventions as in `statistics`: `n` and `m` seeds of an instance, `I` instances, `R` resamples; `P` pairs of entrants.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from . import statistics
from .statistics import CONFIDENCE, RESAMPLES, Estimate

__all__ = ["improvements"]

_PAIRS = 2**12  # of seeds, in a product: float32 counts twice the pairs of a resample exactly
_BLOCK = 2**21  # numbers that a product takes at once: 8 MB

Strata = Mapping[str, Sequence[float]]  # instance to scores
_Sizes = tuple[tuple[int, int], ...]  # seeds of X and of Y, by instance


def improvements(entrants: Mapping[str, Strata], *, seed: int) -> dict[tuple[str, str], tuple[Estimate, int]]:
    """Each pair of entrants, the earlier one first, to the probability that it scores higher, and shared instances.

    Pairs that share no instance are left out.
    """
    names = list(entrants)
    alike: dict[tuple[tuple[str, ...], _Sizes], list[tuple[str, str]]] = defaultdict(list)  # of instances and seeds
    for place, x in enumerate(names):
        for y in names[place + 1 :]:
            shared = tuple(sorted(entrants[x].keys() & entrants[y].keys()))
            if shared:
                sizes = tuple((len(entrants[x][name]), len(entrants[y][name])) for name in shared)
                alike[shared, sizes].append((x, y))
    found = {}
    for (shared, sizes), pairs in alike.items():
        estimates = _estimates(entrants, pairs, shared, sizes, seed)
        found |= {pair: (estimate, len(shared)) for pair, estimate in zip(pairs, estimates, strict=True)}
    return {(x, y): found[x, y] for place, x in enumerate(names) for y in names[place + 1 :] if (x, y) in found}


def _estimates(
    entrants: Mapping[str, Strata], pairs: Sequence[tuple[str, str]], shared: Sequence[str], sizes: _Sizes, seed: int
) -> list[Estimate]:
    """Of pairs that are drawn alike."""
    if any(n * m > _PAIRS for n, m in sizes):
        scores = [[[entrants[agent][name] for name in shared] for agent in pair] for pair in pairs]
        return [statistics.probability_of_improvement(xs, ys, seed=seed) for xs, ys in scores]
    (xs, which_x), (ys, which_y) = (np.unique(agents, return_inverse=True) for agents in zip(*pairs, strict=True))
    value, resampled = np.zeros(len(pairs)), np.zeros((RESAMPLES, len(pairs)))
    instances = zip(shared, sizes, _drawn(sizes, seed), strict=True)
    for (n, m), alike in itertools.groupby(instances, key=lambda each: each[1]):
        while some := list(itertools.islice(alike, max(1, _PAIRS // (n * m)))):
            names = [name for name, _, _ in some]
            x = np.array([[entrants[agent][name] for agent in xs] for name in names])  # [I, X, n]
            y = np.array([[entrants[agent][name] for agent in ys] for name in names])
            drawn = [(drawn_x[:, :, None] * drawn_y[:, None]).reshape(-1, n * m) for _, _, (drawn_x, drawn_y) in some]
            drawn = np.concatenate(drawn, axis=1)  # [R, I n m]
            step = max(1, _BLOCK // drawn.shape[1])
            for start in range(0, len(pairs), step):
                these = slice(start, start + step)
                ahead = np.sign(x[:, which_x[these], :, None] - y[:, which_y[these], None])  # [I, P, n, m]
                twice = (ahead + 1).astype(np.float32).swapaxes(0, 1).reshape(-1, drawn.shape[1])  # small whole numbers
                value[these] += twice.sum(axis=1, dtype=np.float64) / (2 * n * m)
                resampled[:, these] += (drawn @ twice.T).astype(np.float64) / (2 * n * m)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled / len(sizes), [tail, 1 - tail], axis=0)
    return [Estimate(*ends) for ends in zip(value / len(sizes), low, high, strict=True)]


def _drawn(sizes: _Sizes, seed: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """How often each seed of X, [R, n], and of Y, [R, m], is drawn in each resample, by instance."""
    generator = np.random.default_rng(seed)
    for n, m in sizes:
        x, y = (generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) for count in (n, m))
        yield x.astype(np.float32), y.astype(np.float32)
