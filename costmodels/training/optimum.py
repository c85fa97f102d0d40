"""The best plans of an instance, by costing every one that keeps the rules; M designs.

Failures depend on how many accelerators compute, and time grows with the step's: so of each way to cut (`CUT`) the plan
with the shortest step is best at any interval between checkpoints and any number of spare nodes, and only that one is
crossed with them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from .plan import Instance, Metrics, choice_of, evaluate, objective
from .search import PARAMETERS, PLAIN, RULES, Limits, Values, in_order, listed

__all__ = ["CUT", "Search", "in_chunks"]

CUT = ("tensor", "pipeline", "data", "context", "batch")
CHUNK = 4096  # designs that are costed together


@jax.jit
def _costed(designs: jax.Array, instance: Instance) -> tuple[Metrics, jax.Array, jax.Array]:
    """Metrics, what is missed, and the objective of designs, int32[`CHUNK`, parameters]."""

    def one(design: jax.Array) -> tuple[Metrics, jax.Array, jax.Array]:
        metrics, missed = evaluate(choice_of(design, instance), instance)
        return metrics, missed, objective(metrics, instance)

    return jax.vmap(one)(designs)


def costed(designs: np.ndarray, instance: Instance) -> tuple[Metrics, np.ndarray, np.ndarray]:
    """Metrics, what is missed and the objective of designs, int32[M, parameters], M above 0; NumPy, [M]."""
    return in_chunks(_costed, CHUNK, designs, instance)


def in_chunks(function: Callable[[np.ndarray, Any], Any], size: int, designs: np.ndarray, instance: Any) -> Any:
    """What a compiled function says of designs, int32[M, parameters], M above 0, so many at a time; NumPy, [M]."""
    starts = range(0, len(designs), size)
    padded = np.zeros((len(starts) * size, designs.shape[1]), np.int32)
    padded[: len(designs)] = designs
    parts = [function(padded[start : start + size], instance) for start in starts]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(designs)], *parts)


@dataclass(frozen=True)
class Search:
    """All plans of an instance."""

    instance: Instance
    values: Values
    limits: Limits

    @functools.cached_property
    def _plans(self) -> tuple[np.ndarray, Metrics, np.ndarray]:
        """Every plan without spares and at one interval, its metrics, and whether it fits."""
        designs = listed(self.values, self.limits, {"checkpoint": self.values["checkpoint"][:1], "spares": (0,)})
        unhurried = self.instance._replace(failures_gpu_s=np.float32(0), deadline_days=np.float32(np.inf))
        metrics, missed, _ = costed(designs, unhurried)
        return designs, metrics, missed <= 0

    @functools.cached_property
    def best(self) -> np.ndarray:
        """int32[K, parameters]: feasible designs, best first; the best of each cut is among them."""
        designs, metrics, fits = self._plans
        if not fits.any():
            return designs[:0]
        designs, step_s = designs[fits], metrics.step_s[fits]
        cut = designs[:, [PARAMETERS.index(name) for name in CUT]]
        order = np.lexsort((step_s, *cut.T))
        first = np.ones(len(order), bool)
        first[1:] = (cut[order][1:] != cut[order][:-1]).any(axis=1)
        crossed = self._crossed(designs[order][first])
        _, missed, value = costed(crossed, self.instance)
        return crossed[missed <= 0][np.argsort(value[missed <= 0], kind="stable")]

    def _crossed(self, designs: np.ndarray) -> np.ndarray:
        """Every design with every interval and number of spares."""
        intervals, spares = len(self.values["checkpoint"]), len(self.values["spares"])
        wide = np.repeat(designs, intervals * spares, axis=0)
        wide[:, PARAMETERS.index("checkpoint")] = np.tile(np.arange(intervals), len(designs) * spares)
        wide[:, PARAMETERS.index("spares")] = np.tile(np.repeat(np.arange(spares), intervals), len(designs))
        return wide

    @property
    def fewest_gpus(self) -> tuple[int, ...]:
        """The feasible design that takes fewest accelerators."""
        return tuple(self.best[int(np.argmin(costed(self.best, self.instance)[0].gpus))].tolist())

    @property
    def least_memory_gb(self) -> float:
        """Of any plan, fit or not."""
        return float(self._plans[1].memory_gb.min())

    @property
    def soonest_days(self) -> float | None:
        """Of plans that fit, were there no deadline; None where failures leave none."""
        free = self.instance._replace(deadline_days=np.float32(np.inf), weights=np.array([1, 0, 0], np.float32))
        found = Search(free, self.values, self.limits).best[:1]
        return float(costed(found, free)[0].days[0]) if len(found) else None

    def by_rule(self, name: str) -> tuple[int, ...] | None:
        """The design of a rule of `search.RULES`; None where none is feasible."""
        rule = RULES[name]
        designs = listed(self.values, self.limits, {**rule.only, **PLAIN})
        if not len(designs):
            return None
        designs = designs[in_order(rule, designs)]
        feasible = costed(designs, self.instance)[1] <= 0
        return tuple(designs[int(np.argmax(feasible))].tolist()) if feasible.any() else None
