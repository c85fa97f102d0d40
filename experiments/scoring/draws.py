"""The hyperparameter lottery's arithmetic: what a number of draws is worth, and who wins with it.

n draws of an agent's hyperparameters, each with a score; k of them are tried and the best is kept, drawn without
replacement, as a search among distinct hyperparameters does. B budgets, A agents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...costmodels.errors import DsegymError

__all__ = ["best_of_k", "rank_stability", "win_chances"]


def best_of_k(scores: ArrayLike, k: int) -> float:
    """The expected highest of k scores that are drawn from n without replacement.

    The i-th lowest is the highest of the k with probability C(i - 1, k - 1) / C(n, k), a closed form: no resampling.

    Args:
        scores: float[n].
        k: from 1, where it is the mean, to n, where it is the highest of all.

    Raises:
        DsegymError: k is not from 1 to n.
    """
    ordered = np.sort(np.asarray(scores, np.float64))
    return float(ordered @ _highest(len(ordered), k))


def _highest(n: int, k: int) -> NDArray[np.float64]:
    """float64[n]: the probability that each of n ordered scores is the highest of k drawn ones."""
    from scipy.special import gammaln

    if not 1 <= k <= n:
        raise DsegymError(f"the best of {k} draws is asked for, where there are {n}.")
    place = np.arange(k, n + 1)  # of those that can be the highest of k
    logs = gammaln(place) - gammaln(place - k + 1) - gammaln(k)  # ln C(place - 1, k - 1)
    whole = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.concatenate([np.zeros(k - 1), np.exp(logs - whole)])


def rank_stability(scores: ArrayLike) -> NDArray[np.float64]:
    """Kendall's tau-b of the agents' order between any two budgets: 1 the same order, -1 the reverse, 0 unrelated.

    Args:
        scores: float[B, A]: of each agent at each budget.

    Returns:
        float64[B, B], symmetric; nan where all agents are equal at a budget.

    Raises:
        DsegymError: no table of two agents at least.
    """
    from scipy import stats

    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise DsegymError("ranks need a table of scores, a row a budget, of at least two agents, a column each.")
    return np.array([[float(np.asarray(stats.kendalltau(a, b))[0]) for b in scores] for a in scores])


def win_chances(scores: Mapping[str, Sequence[float]], k: int) -> dict[str, float]:
    """How likely each agent is the best, if each keeps the best of its own k draws; exact, no resampling.

    Args:
        scores: {agent: float[n] of its draws}; an agent with fewer than k, without hyperparameters say, has them all.
        k: draws of each agent, at least 1.

    Returns:
        {agent: probability}, which sum to 1: agents that are equally good share the win.

    Raises:
        DsegymError: an agent without draws, or k below 1.
    """
    if k < 1 or not scores or any(not len(own) for own in scores.values()):
        raise DsegymError("each agent needs at least one draw, and one is the least that may be tried.")
    values = np.unique(np.concatenate([np.asarray(own, np.float64) for own in scores.values()]))
    at = {}  # agent: probability of each value to be its best
    for agent, own in scores.items():
        ordered = np.sort(np.asarray(own, np.float64))
        place = np.searchsorted(values, ordered)
        at[agent] = np.bincount(place, weights=_highest(len(own), min(k, len(own))), minlength=len(values))
    below = {agent: np.cumsum(own) - own for agent, own in at.items()}
    found = {}
    for agent, own in at.items():
        # The generating function of how many others are as good, z to their number; a win is shared by them all.
        ways = np.ones((len(values), 1))
        for other in at:
            if other != agent:
                grown = np.pad(ways * below[other][:, None], ((0, 0), (0, 1)))
                grown[:, 1:] += ways * at[other][:, None]
                ways = grown
        found[agent] = float(own @ (ways / np.arange(1, ways.shape[1] + 1)).sum(axis=1))
    return found
