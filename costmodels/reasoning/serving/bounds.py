"""Exact optima of services: one configuration for each class of difficulty under a budget on their mean cost."""

from __future__ import annotations

import math

import numpy as np

from .configurations import SLACK, Configurations

__all__ = ["optimum", "pareto"]


def optimum(configurations: Configurations, spent: np.ndarray, budget: float) -> tuple[float, tuple[int, ...]]:
    """The largest mean coverage within the budget, and the configuration of each class as a row of the table.

    Args:
        configurations: all there are.
        spent: float64[C, levels], TFLOP of a question, as the budget counts them.
        budget: of a question, TFLOP.
    """
    levels = spent.shape[1]
    return pareto(list(spent.T / levels), list(configurations.coverage.T / levels), budget * (1 + SLACK))


def pareto(costs: list[np.ndarray], values: list[np.ndarray], budget: float) -> tuple[float, tuple[int, ...]]:
    """The best choice of one option in each of several groups under a budget on their summed cost: exact.

    Fronts of (cost, value) are merged group by group; what costs more than another and is worth no more is dropped.

    Args:
        costs, values: for each group, float64[options].
        budget: on the sum of costs.

    Returns:
        The largest sum of values, and the option taken in each group; minus infinity and nothing where none fits.
    """
    cost_so_far, value_so_far, picks = np.zeros(1), np.zeros(1), np.zeros((1, 0), np.int64)
    for group_costs, group_values in zip(costs, values, strict=True):
        kept = _front(group_costs, group_values, budget)
        total = (cost_so_far[:, None] + group_costs[kept]).ravel()
        worth = (value_so_far[:, None] + group_values[kept]).ravel()
        front = _front(total, worth, budget)
        if not len(front):
            return -math.inf, ()
        before, now = np.divmod(front, len(kept))
        cost_so_far, value_so_far = total[front], worth[front]
        picks = np.column_stack([picks[before], kept[now]])
    best = int(np.argmax(value_so_far))
    return float(value_so_far[best]), tuple(int(pick) for pick in picks[best])


def _front(costs: np.ndarray, values: np.ndarray, budget: float) -> np.ndarray:
    """Places of the options within the budget that no cheaper option equals or beats, by rising cost."""
    order = np.lexsort((-values, costs))
    order = order[costs[order] <= budget]
    best = np.maximum.accumulate(np.concatenate([[-math.inf], values[order]]))
    return order[values[order] > best[:-1]]
