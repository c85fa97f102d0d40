"""The bound of cascades: the oracle that knows which answers are right. E batches, Q questions, M models."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...luck import episode_key
from . import game

__all__ = ["largest_correctness", "oracle_correctness", "oracle_metrics"]


@jax.jit
def _chosen(params: game.Params) -> Array:
    """int32[E, Q]: the questions of the batches of an instance's seeds."""

    def batch(seed: Array) -> Array:
        return game.start(episode_key(seed), params).chosen

    return jax.vmap(batch)(jnp.asarray(params.seeds))


def _cheapest(right: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """float64[E, Q], ascending: what the cheapest right answer of each question costs; infinite where none is right."""
    return np.sort(np.where(right, cost, np.inf).min(0), axis=1)


def _affordable(cheapest: np.ndarray, budget: float) -> np.ndarray:
    """bool[E, Q]: the answers that the budget of a batch pays for, cheapest first."""
    return np.cumsum(cheapest, axis=1) <= budget * (1 + 1e-5)


def largest_correctness(right: np.ndarray, cost: np.ndarray, budget: float) -> np.ndarray:
    """float64[E]: the largest share of each batch that can be answered right within a budget: proven.

    The oracle runs the cheapest right model of each question, cheapest questions first.

    Args:
        right: bool[M, E, Q].
        cost: float64[M, E, Q].
        budget: of a batch, in the unit of cost.
    """
    return _affordable(_cheapest(right, cost), budget).mean(1)


def _batches(params: game.Params) -> tuple[np.ndarray, np.ndarray, float]:
    """The arguments of `largest_correctness` for the batches of an instance's seeds, in TFLOP."""
    chosen = np.asarray(_chosen(params))
    cost = np.asarray(params.cost_tera, np.float64)[:, chosen]
    return np.asarray(params.right)[:, chosen], cost, float(params.budget_tera) * game.QUESTIONS


def oracle_correctness(params: game.Params) -> float:
    """The mean of `largest_correctness` over the batches of an instance's seeds."""
    return float(largest_correctness(*_batches(params)).mean())


def oracle_metrics(params: game.Params) -> game.Metrics:
    """What the oracle costs, means over the batches."""
    right, cost, budget = _batches(params)
    cheapest = _cheapest(right, cost)
    taken = _affordable(cheapest, budget)
    means = (taken.mean(), np.where(taken, cheapest, 0.0).mean(), taken.mean())
    return game.Metrics(*(jnp.float32(mean) for mean in means))
