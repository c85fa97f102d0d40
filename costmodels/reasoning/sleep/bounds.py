"""The bound of sleep-time compute: the best allocation of each context for the oracle, which knows what it hides.

E contexts, Q queries of a context at most. Plain NumPy in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ...arrays import Array
from ...luck import episode_key
from . import game, model

__all__ = ["Allocation", "Hidden", "best_allocation", "hidden_values", "oracle_allocation", "oracle_metrics"]


class Hidden(NamedTuple):
    """What contexts hide, NumPy."""

    queries: Array  # int32[E]
    predictability: Array  # float32[E]
    hint: Array  # float32[E]
    difficulty: Array  # float32[E, MOST_QUERIES]
    difficulty_hint: Array  # float32[E, MOST_QUERIES], in doublings


@jax.jit
def _hidden(params: game.Params) -> Hidden:
    keys = jax.vmap(episode_key)(params.seeds)
    states = jax.vmap(game.start, in_axes=(0, None))(keys, params)
    seeds, places = states.seed[:, None], jnp.arange(game.MOST_QUERIES)
    return Hidden(
        states.queries,
        states.predictability,
        states.hint,
        jnp.exp2(model.doublings(seeds, places)),
        model.difficulty_hint(seeds, places, params.noise),
    )


def hidden_values(params: game.Params) -> Hidden:
    """What the contexts of an instance's seeds hide, for bounds and tests; no policy sees it."""
    return jax.tree.map(np.asarray, _hidden(params))


def oracle_allocation(params: game.Params) -> Allocation:
    """The best allocations of the contexts of an instance's seeds."""
    hidden = hidden_values(params)
    return best_allocation(
        queries=hidden.queries,
        predictability=hidden.predictability,
        difficulty=hidden.difficulty,
        budget_tokens=float(params.budget_tokens),
        price=float(params.price),
    )


def oracle_metrics(params: game.Params) -> game.Metrics:
    """The metrics of the best allocations, means over contexts."""
    best, price = oracle_allocation(params), float(params.price)
    test = best.test_tokens.sum(1)
    means = (best.accuracy, best.sleep_tokens, test, best.sleep_tokens + price * test, hidden_values(params).queries)
    return game.Metrics(*(np.asarray(np.mean(each)) for each in means))


class Allocation(NamedTuple):
    """How contexts are best served by the oracle, which knows what they hide."""

    sleep_tokens: np.ndarray  # float64[E]
    test_tokens: np.ndarray  # float64[E, Q], 0 beyond a context's queries
    accuracy: np.ndarray  # float64[E], mean over a context's queries, of this allocation
    bound: np.ndarray  # float64[E], no allocation has a higher accuracy


def best_allocation(
    *, queries: ArrayLike, predictability: ArrayLike, difficulty: ArrayLike, budget_tokens: float, price: float
) -> Allocation:
    """The best sleep and test-time tokens of contexts whose hidden values are known.

    The accuracy is concave in all tokens together: minus an exponential of minus a concave sum. For a given s the best
    b fill up to a common marginal gain (bisection on it); what s gains at the margin falls with s (bisection on s). The
    bound adds to the accuracy found the Frank-Wolfe gap: by concavity no point of the budget's simplex lies higher
    than the tangent plane.

    Args:
        queries: int[E], at least 1.
        predictability: float[E], rho.
        difficulty: float[E, Q], d; what lies beyond a context's queries is ignored.
        budget_tokens: float, offline tokens that s + t sum b may cost.
        price: t.
    """
    n, rho = np.asarray(queries, float), np.asarray(predictability, float)
    scale = model.SCALE_TOKENS * np.asarray(difficulty, float)
    asked = np.arange(scale.shape[1]) < n[:, None]
    first = np.log(model.GAP / scale)  # ln of the marginal gain of a query's first token

    def filled(sleep: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """b [E, Q], marginal gains by test-time token [E, Q], and by offline token slept [E]."""
        saved = (-rho * model.WORTH_TOKENS * np.expm1(-sleep / model.SLEEP_TOKENS))[:, None]
        room = np.maximum(budget_tokens - sleep, 0.0) / price
        high = np.where(asked, first - saved / scale, -np.inf).max(1)
        low = np.where(asked, first - (saved + room[:, None]) / scale, np.inf).min(1)
        for _ in range(50):
            level = (low + high) / 2
            spent = np.where(asked, np.maximum(scale * (first - level[:, None]) - saved, 0.0), 0.0).sum(1)
            low, high = np.where(spent > room, level, low), np.where(spent > room, high, level)
        test = np.where(asked, np.maximum(scale * (first - high[:, None]) - saved, 0.0), 0.0)
        gain = np.where(asked, np.exp(first - (saved + test) / scale), 0.0)
        return (
            test,
            gain,
            gain.sum(1) * rho * model.WORTH_TOKENS / model.SLEEP_TOKENS * np.exp(-sleep / model.SLEEP_TOKENS),
        )

    low, high = np.zeros(len(n)), np.full(len(n), float(budget_tokens))
    for _ in range(45):
        sleep = (low + high) / 2
        _, gain, of_sleep = filled(sleep)
        more = of_sleep > gain.max(1) / price
        low, high = np.where(more, sleep, low), np.where(more, high, sleep)
    sleep = low
    test, gain, of_sleep = filled(sleep)
    saved = (-rho * model.WORTH_TOKENS * np.expm1(-sleep / model.SLEEP_TOKENS))[:, None]
    failed = np.where(asked, model.GAP * np.exp(-(saved + test) / scale), 0.0).sum(1)
    steepest = np.maximum(of_sleep, gain.max(1) / price)
    gap = steepest * budget_tokens - of_sleep * sleep - (gain * test).sum(1)
    reached = model.CEILING - failed / n
    return Allocation(sleep, test, reached, reached + np.maximum(gap, 0.0) / n)
