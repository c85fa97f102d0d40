"""Bayesian optimisation in a trust region of discrete designs: a Gaussian process by BoTorch, searched locally."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import erfcx, log_ndtr
from scipy.stats import norm

from ..envs.core.evaluation import LEAST_OBJECTIVE
from ..envs.core.spaces import DesignSpace
from .base import Agent
from .discrete_processes import encoding, lengths_of, most_promising, process
from .referee import Referee
from .torch_training import one_thread

__all__ = ["TrustRegion"]

_GROWTH = 1.1  # of the known designs, after which the kernel's lengths are fitted anew


@dataclass(frozen=True)
class TrustRegion(Agent):
    """A Gaussian process on designs near the best; the region grows with success and shrinks with failure.

    The kernel is a product over the parameters: squared exponential in the place of an ordered value, and of an
    unordered one whether it is the same (overlap kernel), each with a length of its own under BoTorch's prior for many
    dimensions (Hvarfner et al., ICML 2024). The constraint's violation is a process of its own. The acquisition, log
    expected improvement (Ament et al., NeurIPS 2023) plus the log probability of being feasible, is maximised by local
    search over the designs of the region, as CASMOPOLITAN does (Wan et al., ICML 2021). A region that has shrunk to one
    parameter ends, and another begins from random designs.

    Attributes:
        startup_samples: random designs with which a region begins.
        batch: designs costed for each fit, the next chosen as if the former had cost what is expected.
        patience: batches without improvement after which the region halves; three with one double it.
        training: known designs from which the processes learn at most, those nearest the best.
        start: the name of a baseline that joins each region's random designs; empty for these alone.
    """

    startup_samples: int = 20
    batch: int = 4
    patience: int = 8
    training: int = 256
    start: str = ""

    name = "trust_region"
    summary = "Bayesian optimisation in a trust region, with an overlap kernel for unordered values (BoTorch)"
    libraries = ("botorch", "gpytorch", "torch")
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "startup_samples": (10, 20, 50),
        "batch": (1, 4, 8),
        "patience": (4, 8, 16),
        "training": (128, 256, 512),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "startup_samples": (2, 100_000),
        "batch": (1, 1000),
        "patience": (1, 100_000),
        "training": (2, 5000),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Searches region after region until the budget is spent, or every design has been costed.

        Raises:
            UnknownNameError: the problem has no baseline of the name `start`.
        """
        generator, seen = np.random.default_rng(seed), set[bytes]()
        with one_thread():
            while len(seen) < referee.space.size:
                self._search_region(referee, generator, seen)

    def _search_region(self, referee: Referee, generator: np.random.Generator, seen: set[bytes]) -> None:
        """One region, until it has shrunk to nothing. What is costed joins `seen`."""
        space = referee.space
        known = _Known(space)

        def cost(designs: np.ndarray) -> bool:
            seen.update(design.tobytes() for design in designs)
            found = referee.evaluate(designs)
            costs = (found.objective, found.unpenalised, found.violation)
            return known.add(designs, *(np.asarray(column, float) for column in costs))

        first = space.sample(generator, self.startup_samples)
        if self.start:
            first[0] = referee.baseline(self.start)
        cost(first)
        length, successes, failures, processes = 1.0, 0, 0, _Processes(space)
        while length * len(space) >= 1.0:
            near = known.nearest(self.training)
            processes.learn(known.designs[near], known.logarithm[near], known.violation[near], known.threshold)
            chosen = []
            for _ in range(self.batch):
                design = most_promising(space, known.best, length, processes.promise, seen, generator)
                if design is None:
                    break
                chosen.append(design)
                seen.add(design.tobytes())
                processes.pretend(design)
            if not chosen:
                return
            improved = cost(np.array(chosen))
            successes, failures = (successes + 1, 0) if improved else (0, failures + 1)
            if successes >= 3:
                length, successes = min(1.0, 2 * length), 0
            elif failures >= self.patience:
                length, failures = length / 2, 0


class _Known:
    """What a region's designs cost, S of them; the best is the one of least objective, feasible or not.

    Attributes:
        designs: int32[S, n].
        logarithm: float64[S], of the objective without penalties.
        violation: float64[S], how far the constraint is broken, on a logarithmic scale; positive where it is.
    """

    def __init__(self, space: DesignSpace):
        self.designs = np.zeros((0, len(space)), np.int32)
        self._objective, self.logarithm, self.violation = np.zeros((3, 0))

    def add(self, designs: np.ndarray, objective: np.ndarray, unpenalised: np.ndarray, violation: np.ndarray) -> bool:
        """Adds designs int32[B, n] and float64[B] each of what they cost; whether the best is another now."""
        before, broken = self._objective.min(initial=np.inf), np.isnan(objective) | np.isnan(unpenalised)
        objective = np.where(broken, np.inf, objective)  # what is no number is as the worst, and breaks a constraint
        logarithm = np.log(np.maximum(unpenalised, LEAST_OBJECTIVE))
        known = np.append(self.logarithm, logarithm[~broken])
        logarithm = np.where(broken, known.max() if known.size else 0.0, logarithm)
        violation = np.where(broken, 1.0, violation)
        self.designs = np.concatenate([self.designs, designs])
        self._objective = np.append(self._objective, objective)
        self.logarithm = np.append(self.logarithm, logarithm)
        self.violation = np.append(self.violation, np.sign(violation) * np.log1p(abs(violation)))
        return bool(objective.min() < before)

    @property
    def best(self) -> np.ndarray:
        """int32[n]."""
        return self.designs[np.argmin(self._objective)]

    @property
    def threshold(self) -> float | None:
        """Least logarithm of a feasible design; None where none is."""
        values = self.logarithm[self.violation <= 0]
        return float(values.min()) if len(values) else None

    def nearest(self, count: int) -> np.ndarray:
        """Places of at most so many designs, those that differ least from the best; of equals the newest."""
        differ = (self.designs != self.best).sum(axis=1)
        return np.sort(np.lexsort((-np.arange(len(differ)), differ))[:count])


class _Processes:
    """Gaussian processes of the objective's logarithm and, once a design has been infeasible, of the violation."""

    def __init__(self, space: DesignSpace):
        self._encoding = encoding(space)
        self._lengths: dict[str, Any] = {}  # fitted so far
        self._fitted = 0  # designs of the last fit
        self._models: dict[str, Any] = {}  # BoTorch's
        self._threshold: float | None = None

    def learn(self, designs: np.ndarray, logarithm: np.ndarray, violation: np.ndarray, threshold: float | None) -> None:
        """Conditions on known designs; fits the kernels' lengths where there are a tenth more than at the last fit.

        Args:
            designs, logarithm, violation: int32[B, n], float64[B] and float64[B], as of `_Known`.
            threshold: logarithm that a design must undercut to be an improvement; None where none is feasible yet.
        """
        targets = {"cost": logarithm} | ({"violation": violation} if (violation > 0).any() else {})
        fit = len(designs) >= _GROWTH * self._fitted or not targets.keys() <= self._lengths.keys()
        features, self._models = self._encoding.encode(designs), {}
        for name, values in targets.items():
            model = process(features, values, self._encoding, lengths=self._lengths.get(name), fit=fit)
            self._lengths[name] = lengths_of(model) if fit else self._lengths[name]
            self._models[name] = model
        self._fitted = len(designs) if fit else self._fitted
        self._threshold = threshold

    def promise(self, designs: np.ndarray) -> np.ndarray:
        """The acquisition of designs, float64[B]: logarithms, the higher the better."""
        total = np.zeros(len(designs))
        if self._threshold is not None:
            mean, deviation = self._predicted("cost", designs)
            total += np.log(deviation) + _log_improvement((self._threshold - mean) / deviation)
        if "violation" in self._models:
            mean, deviation = self._predicted("violation", designs)
            total += log_ndtr(-mean / deviation)
        return total

    def _predicted(self, name: str, designs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of a process at designs, float64[B] each."""
        import torch

        with torch.no_grad():
            posterior = self._models[name].posterior(self._encoding.encode(designs))
            return posterior.mean.numpy().ravel(), posterior.variance.clamp_min(1e-12).sqrt().numpy().ravel()

    def pretend(self, design: np.ndarray) -> None:
        """Conditions on a design, int32[n], as if it cost what is expected."""
        import torch

        features = self._encoding.encode(design[None])
        with torch.no_grad():
            for name, model in self._models.items():
                expected = model.posterior(features).mean
                self._models[name] = model.condition_on_observations(features, expected)


def _log_improvement(hope: np.ndarray) -> np.ndarray:
    """log(phi(u) + u Phi(u)) of the hoped-for improvement in standard deviations, without cancellation."""
    above, below = np.maximum(hope, 0.0), np.clip(hope, -1e4, 0.0)
    ratio = np.sqrt(np.pi / 2) * erfcx(-below / np.sqrt(2))  # Phi / phi
    return np.where(
        hope > 0, np.log(norm.pdf(above) + above * norm.cdf(above)), norm.logpdf(below) + np.log1p(below * ratio)
    )
