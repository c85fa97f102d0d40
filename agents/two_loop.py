"""Searches in two loops: shared parameters (a machine) outside, each part by itself (a layer's mapping) inside.

The protocol is that of the baselines of DOSA (ucb-bar/dosa, `dataset/dse/bo.py`). One sample is the shared parameters
with one choice for every part. The best choice of each part is kept, and the design of the best choices is a sample.
Suites ask for problems in parts; elsewhere there is the outer loop only. S samples, L parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..costmodels.errors import BudgetExhausted
from ..envs.core.evaluation import LEAST_OBJECTIVE
from .base import Agent
from .referee import Referee

__all__ = ["TwoLoopBayesian", "TwoLoopRandom"]

_NUMBERS = re.compile(r"[0-9]+[A-Z]?(?: [0-9]+[A-Z]?)+")  # a value that is several, as the factors of a tiling
_JITTER = 1e-6  # of the kernel's diagonal, so that it has a Cholesky factor
_MOST_LISTED = 20_000  # shared designs that are predicted at once


class _Inner:
    """The inner loop's bookkeeping for one choice of the shared parameters."""

    def __init__(self, referee: Referee, shared: np.ndarray, places: np.ndarray, generator: np.random.Generator):
        self.referee, self.parts, self.generator = referee, referee.parts, generator
        self._shared, self._places = shared, places
        self._best = np.full(len(self.parts), np.inf)
        self._design = np.zeros(len(referee.space), np.int32)
        self._design[places] = shared

    def draw(self, count: int) -> np.ndarray:
        """Random choices of all parts, int32[S, n]."""
        designs = self.referee.space.sample(self.generator, count)
        designs[:, self._places] = self._shared
        return designs

    def cost(self, designs: np.ndarray) -> np.ndarray:
        """What each part costs, float64[S, L]; the best of each part is kept."""
        left = self.referee.samples_left
        if left <= 0:
            raise BudgetExhausted("The budget is spent.")
        costs = np.asarray(self.referee.evaluate(designs[:left]).parts, np.float64)
        for part, places in enumerate(self.parts):
            best = int(np.argmin(costs[:, part]))
            if costs[best, part] < self._best[part]:
                self._best[part] = costs[best, part]
                self._design[list(places)] = designs[best, list(places)]
        return costs

    def finish(self) -> float:
        """The objective of the best choices together."""
        return float(self.referee.evaluate(self._design).objective[0])


def _shared_places(referee: Referee) -> np.ndarray:
    """The places of the parameters that are in no part, int64."""
    inside = {place for part in referee.parts for place in part}
    return np.array([place for place in range(len(referee.space)) if place not in inside])


@dataclass(frozen=True)
class TwoLoopRandom(Agent):
    """Random shared parameters; for each the best of random choices of every part.

    Attributes:
        candidates: random choices of every part.
    """

    candidates: int = 1000

    name = "two_loop_random"
    summary = "random machines, for each the best of random mappings layer by layer"
    needs = ("design in parts",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {"candidates": (100, 300, 1000)}
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"candidates": (1, 1_000_000)}

    def search(self, referee: Referee, seed: int) -> None:
        """Draws until the budget is spent."""
        generator = np.random.default_rng(seed)
        places = _shared_places(referee)
        while True:
            shared = referee.space.sample(generator, 1)[0, places]
            inner = _Inner(referee, shared, places, generator)
            if inner.parts:
                inner.cost(inner.draw(self.candidates))
            inner.finish()


@dataclass(frozen=True)
class TwoLoopBayesian(Agent):
    """Gaussian processes in both loops, each with a lower confidence bound: mean less `deviations` standard deviations.

    Attributes:
        shared_training, part_training: random choices from which a loop's process learns.
        shared_trials, part_trials: then costed, those of the least bounds. When they are spent the outer process learns
            from all so far and goes on.
        part_candidates: random choices of a part among which its process chooses.
        deviations: of the bound.
        logarithm: whether processes model the cost's logarithm; DOSA's do not.
    """

    shared_training: int = 100
    shared_trials: int = 10
    part_training: int = 100
    part_candidates: int = 1000
    part_trials: int = 10
    deviations: float = 1.0
    logarithm: bool = False

    name = "two_loop_bayesian"
    summary = "Bayesian optimisation of machines, and inside of mappings layer by layer (Gaussian processes)"
    needs = ("design in parts",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "shared_training": (20, 50, 100),
        "part_training": (30, 100),
        "deviations": (0.5, 1.0, 2.0),
        "logarithm": (False, True),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        **dict.fromkeys(("shared_training", "part_training"), (2, 2000)),
        **dict.fromkeys(("shared_trials", "part_trials"), (1, 2000)),
        "part_candidates": (1, 20_000),
        "deviations": (0, 100),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Learns and tries until the budget is spent."""
        generator = np.random.default_rng(seed)
        places, space = _shared_places(referee), referee.space
        features = [_features(parameter.values, parameter.ordered) for parameter in space.parameters]
        counts = space.cardinalities[places]
        every = (
            np.stack(np.unravel_index(np.arange(np.prod(counts)), counts), axis=1)
            if np.prod(counts, dtype=float) <= _MOST_LISTED
            else generator.integers(0, counts, (_MOST_LISTED, len(places)))
        )
        tried: list[np.ndarray] = []
        values: list[float] = []

        def run(shared: np.ndarray) -> None:
            tried.append(shared)
            values.append(self._inner(_Inner(referee, shared, places, generator), features))

        for _ in range(self.shared_training):
            run(generator.integers(0, counts).astype(np.int32))
        looked = _looked_up(features, places)
        while True:
            order = self._order(looked(np.array(tried)), np.array(values), looked(every))
            done = {tuple(shared) for shared in tried}
            fresh = [each for each in order if tuple(every[each]) not in done][: self.shared_trials]
            for each in fresh or order[: self.shared_trials]:
                run(every[each].astype(np.int32))

    def _inner(self, inner: _Inner, features: Sequence[np.ndarray]) -> float:
        """The objective of the best mapping found for one choice of the shared parameters."""
        if not inner.parts:
            return inner.finish()
        training = inner.draw(self.part_training)
        costs = inner.cost(training)
        training = training[: len(costs)]
        candidates = inner.draw(self.part_candidates)
        trials = inner.draw(min(self.part_trials, self.part_candidates))
        for part, places in enumerate(inner.parts):
            looked, columns = _looked_up(features, places), list(places)
            order = self._order(looked(training[:, columns]), costs[:, part], looked(candidates[:, columns]))
            trials[:, columns] = candidates[order[: len(trials)]][:, columns]
        inner.cost(trials)
        return inner.finish()

    def _order(self, known: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """The places of what is asked, from the least bound up: a process of unit length and variance, standardised."""
        values = np.log(np.maximum(values, LEAST_OBJECTIVE)) if self.logarithm else values
        mean, spread = known.mean(axis=0), known.std(axis=0)
        known, asked = ((each - mean) / np.where(spread > 0, spread, 1.0) for each in (known, asked))
        centre, scale = values.mean(), values.std() or 1.0
        factor = np.linalg.cholesky(_kernel(known, known) + _JITTER * np.eye(len(known)))
        across = np.linalg.solve(factor, _kernel(known, asked))
        expected = across.T @ np.linalg.solve(factor, (values - centre) / scale)
        deviation = np.sqrt(np.maximum(1.0 - np.sum(across**2, axis=0), 0.0))
        return np.argsort(expected - self.deviations * deviation, kind="stable")


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared exponential of unit length, float64[A, B], of features [A, features] and [B, features]."""
    squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None] - 2.0 * a @ b.T
    return np.exp(-0.5 * np.maximum(squares, 0.0))


def _features(values: Sequence[Any], ordered: bool) -> np.ndarray:
    """What a process sees of a parameter's values, float64[values, features]: logarithms of the numbers that a value is
    made of, the place among ordered values, or one feature a value.
    """
    texts = [str(value) for value in values]
    if all(_NUMBERS.fullmatch(text) for text in texts):
        return np.log2([[float(part.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")) for part in text.split()] for text in texts])
    if ordered:
        return np.arange(len(values), dtype=np.float64)[:, None]
    return np.eye(len(values))


def _looked_up(features: Sequence[np.ndarray], places: Iterable[int]) -> Callable[[np.ndarray], np.ndarray]:
    """Of indices [S, places] all their features, [S, features]."""

    def look(indices: np.ndarray) -> np.ndarray:
        return np.concatenate([features[place][indices[:, i]] for i, place in enumerate(places)], axis=1)

    return look
