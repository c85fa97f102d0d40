"""Screening by a proxy: many candidates are ranked by a model of the samples so far, and the best of them costed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..costmodels.errors import DsegymError
from ..envs.core.evaluation import LEAST_OBJECTIVE
from .base import Agent
from .moves import mutate
from .proxies.base import LEAST_SAMPLES, Data, data_of
from .referee import Referee
from .warm_start import designs_of

__all__ = ["ProxyScreening"]

_BEST = 16  # designs that half of the candidates are mutants of
_GUARD = 0.05  # the share of a round's samples that the proxy does not choose: at random among the candidates
_ROUNDS = 100  # trees of a round's proxy, which is soon replaced by the next round's
_FAR = 4.0  # log objective that a design counts more which the proxy holds for infeasible


@dataclass(frozen=True)
class ProxyScreening(Agent):
    """A proxy, gradient-boosted trees, as the cheap fidelity: what it is fitted to are this trial's own samples.

    A round fits the proxy to all samples so far, draws candidates, half of them at random and half as mutants of the
    best designs, ranks them by the proxy, and costs the best `chosen` that are new. Nothing that the trial has not paid
    for teaches it: designs that are known from elsewhere stand in `designs`, and each is costed first, a sample each.

    Attributes:
        startup_samples: random designs before the first proxy; at most half of the budget.
        candidates: a round, which the proxy ranks.
        chosen: of them a round, which are costed.
        changes: parameters that a mutant changes on average.
        designs: that are costed first, as `warm_start.designs_text` writes them.
        source: where they come from, for whoever reads the manifest.
    """

    startup_samples: int = 64
    candidates: int = 4096
    chosen: int = 16
    changes: float = 2.0
    designs: str = ""
    source: str = ""

    name = "proxy_screening"
    summary = "costs the best of many candidates by a proxy of its own samples, gradient-boosted trees (LightGBM)"
    libraries = ("lightgbm",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "startup_samples": (32, 64, 128),
        "candidates": (1024, 4096, 16384),
        "chosen": (8, 16, 32),
        "changes": (1.5, 2.0, 4.0),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "startup_samples": (LEAST_SAMPLES, 100_000),
        "candidates": (2, 1_000_000),
        "chosen": (1, 100_000),
        "changes": (1, 100_000),
        "designs": (0, 1_000_000),
        "source": (0, 1000),
    }

    def search(self, referee: Referee, seed: int) -> None:
        """Screens until the budget is spent, or no candidate is new.

        Raises:
            DsegymError: a design is none of this space, or there are more to choose than candidates; before anything
                is spent.
        """
        from .proxies.trees import Trees

        generator, space = np.random.default_rng(seed), referee.space
        if self.chosen > self.candidates:
            raise DsegymError(f"proxy_screening cannot choose {self.chosen} of {self.candidates} candidates a round.")
        known = np.array(designs_of(space, self.designs, self.name), np.int32).reshape(-1, len(space))
        first = np.concatenate([known, space.sample(generator, min(self.startup_samples, max(1, referee.budget // 2)))])
        first = _new(first, set())
        seen = {design.tobytes() for design in first}
        data, worth = _costed(referee, first)
        while True:
            if len(data.designs) < LEAST_SAMPLES:  # of a small budget: nothing to fit a proxy to yet
                chosen = _new(space.sample(generator, self.candidates), seen)[: self.chosen]
            else:
                best = data.designs[np.argsort(worth, kind="stable")[:_BEST]]
                half = self.candidates // 2
                mutants = mutate(space, best[generator.integers(len(best), size=half)], half, self.changes, generator)
                drawn = _new(np.concatenate([mutants, space.sample(generator, self.candidates - half)]), seen)
                chosen = self._chosen(Trees.fit(space, _taught(data, worth), seed, _ROUNDS), drawn, generator)
            if not len(chosen):
                return
            seen |= {design.tobytes() for design in chosen}
            more, costs = _costed(referee, chosen)
            data = Data(*(np.concatenate(columns) for columns in zip(data, more, strict=True)))
            worth = np.concatenate([worth, costs])

    def _chosen(self, proxy: Any, candidates: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """The best candidates by the proxy, and a few of the others."""
        said = proxy.predict(candidates)
        order = np.argsort(said.log_objective + _FAR * (said.probability < 0.5), kind="stable")
        guard = int(generator.binomial(self.chosen, _GUARD))
        ranked, rest = np.split(order, [min(len(order), self.chosen - guard)])
        return candidates[np.concatenate([ranked, generator.permutation(rest)[:guard]])]


def _taught(data: Data, worth: np.ndarray) -> Data:
    """What the proxy learns: the objective without constraints, and feasibility beside it, once there are feasible
    designs to tell apart; until then the objective with its penalty, which says how far off they are.
    """
    if data.feasible.sum() >= LEAST_SAMPLES:
        return data
    finite = np.isfinite(worth)
    most = worth[finite].max() if finite.any() else 1.0
    return data._replace(log_objective=np.log(np.clip(worth, LEAST_OBJECTIVE, most)))


def _costed(referee: Referee, designs: np.ndarray) -> tuple[Data, np.ndarray]:
    """What samples teach, and the objective of each design that has a number, float64[B]."""
    found = referee.evaluate(designs)
    data = data_of(designs, found)
    known = {design.tobytes() for design in data.designs}
    kept = np.array([design.tobytes() in known for design in designs], bool)
    return data, np.nan_to_num(np.asarray(found.objective, np.float64), nan=np.inf)[kept]


def _new(designs: np.ndarray, seen: set[bytes]) -> np.ndarray:
    """Those that are not among the seen, each once, in their order."""
    fresh = {design.tobytes(): design for design in designs}
    kept = [design for key, design in fresh.items() if key not in seen]
    return np.array(kept, np.int32).reshape(-1, designs.shape[1])
