"""Scores that weigh accuracy against what it cost.

| score | formula | source |
|---|---|---|
| E3 | A^2 / T, A in [0, 1], T in kilotokens a query | Plan-and-Budget, arXiv 2505.16122 |
| cost-of-pass | C / R, expected price of an attempt over the rate of success | Efficient Agents (OPPO) |
| regret | sum over episodes j of J(best policy of j episodes) - J(stop after j and answer) | MRT, arXiv 2503.07572 |
| area | between the anytime curves of an oracle and an agent, over the budget | after MRT's regret |
| normalised score | (agent - reference) / (oracle - reference) | |

Plain NumPy, float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DsegymError

__all__ = ["area_between", "cost_of_pass", "e3", "normalised", "regret"]


def e3(accuracy: ArrayLike, tokens: ArrayLike) -> np.ndarray:
    """float64[...], 1 / kilotoken: accuracy squared over thousands of tokens, so that quick wrong answers do not win.

    Args:
        accuracy: float[...], in [0, 1].
        tokens: float[...], mean tokens of a query, above 0.

    Raises:
        DsegymError: a value outside of its range.
    """
    a, t = np.asarray(accuracy, float), np.asarray(tokens, float)
    if not (np.all((a >= 0) & (a <= 1)) and np.all(t > 0)):
        raise DsegymError("E3 takes an accuracy from 0 to 1 (no percentages) and tokens above 0.")
    return a**2 / (t / 1000)


def cost_of_pass(cost: ArrayLike, success: ArrayLike) -> np.ndarray:
    """float64[...], in the cost's unit: what a success costs on average; infinite where there is none.

    Args:
        cost: float[...], of an attempt, 0 or more.
        success: float[...], the rate of success, in [0, 1].

    Raises:
        DsegymError: a value outside of its range.
    """
    c, r = np.broadcast_arrays(np.asarray(cost, float), np.asarray(success, float))
    if not (np.all(c >= 0) and np.all((r >= 0) & (r <= 1))):
        raise DsegymError("Cost-of-pass takes a cost of 0 or more and a rate of success from 0 to 1.")
    return np.where(r > 0, c / np.where(r > 0, r, 1.0), np.inf)


def regret(best: ArrayLike, reached: ArrayLike) -> np.ndarray:
    """float64[...]: MRT's cumulative regret, 0 where every stop is as good as the best policy's.

    Args:
        best: float[k] or [..., k], success of the best policy of j = 0 ... k - 1 episodes.
        reached: float[..., k], success when the agent stops after j episodes and answers.

    Raises:
        DsegymError: the last axes differ in length.
    """
    best, reached = np.asarray(best, float), np.asarray(reached, float)
    if best.shape[-1:] != reached.shape[-1:]:
        raise DsegymError(f"Regret compares as many episodes of both; given: {best.shape} and {reached.shape}.")
    return np.sum(best - reached, axis=-1)


def area_between(budget: ArrayLike, oracle: ArrayLike, agent: ArrayLike) -> np.ndarray:
    """float64[...]: the mean distance of an agent's anytime curve from the oracle's, by trapezoids.

    Args:
        budget: float[K], at least two, ascending; the unit cancels.
        oracle, agent: float[..., K], success at each.

    Raises:
        DsegymError: fewer than two budgets, or not ascending.
    """
    x = np.asarray(budget, float)
    if x.ndim != 1 or len(x) < 2 or not np.all(np.diff(x) > 0):
        raise DsegymError("An area needs at least two budgets, ascending.")
    return np.trapezoid(np.asarray(oracle, float) - np.asarray(agent, float), x, axis=-1) / (x[-1] - x[0])


def normalised(value: ArrayLike, *, reference: float, oracle: float) -> np.ndarray:
    """float64[...]: 0 at the reference, 1 at the oracle; the same for accuracies and for failures.

    Raises:
        DsegymError: reference and oracle are equal, so that there is no scale.
    """
    if not np.isfinite(oracle - reference) or oracle == reference:
        raise DsegymError(f"No scale between the reference, {reference}, and the oracle, {oracle}.")
    return (np.asarray(value, float) - reference) / (oracle - reference)
