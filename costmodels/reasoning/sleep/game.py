"""One context of sleep-time compute as a game: sleep first, then tokens for each query; pure JAX on one episode.

The rules: docs/sleep_time.md; the accuracy of a query: `model.py`. Luck: a context draws four words of its key, one
each for its queries' difficulties and hints, their number, its predictability, and the error of its hint.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...luck import WIDTH, unit_interval
from . import model

__all__ = [
    "ACTIONS",
    "MOST_QUERIES",
    "PREDICTABILITIES",
    "SLEEP_STEP",
    "TEST_STEP",
    "Metrics",
    "Params",
    "State",
    "advance",
    "context_rows",
    "even_tokens",
    "metrics",
    "over",
    "params_of",
    "start",
]

MOST_QUERIES = 32  # queries of a context at most: later ones do not come
ACTIONS = 21
SLEEP_STEP, TEST_STEP = 1 / 20, 1 / 5  # steps of actions, as shares of the budget and of an even share
# How rho is spread over contexts: rho = u ** power, u uniform.
PREDICTABILITIES = {"low": 4.0, "mixed": 1.0, "high": 0.25}


class Metrics(NamedTuple):
    """Costs of a context, averaged over contexts. Scalars, float32."""

    accuracy: Array  # mean over a context's queries
    sleep_tokens: Array  # offline tokens of a context
    query_tokens: Array  # test-time tokens of a context, over all of its queries
    cost_tokens: Array  # cost of a context, in offline tokens: sleep + price * test-time
    queries: Array  # queries of a context


class Params(NamedTuple):
    """An instance. Scalars float32 but for the seeds."""

    seeds: Array  # uint32[E]
    budget_tokens: Array  # budget of a context, in offline tokens
    mean_queries: Array  # expected queries of a context
    stay: Array  # probability that another query comes; used if `known` is 0
    known: Array  # queries of every context, or 0
    power: Array  # rho = least + (1 - fixed) u ** power
    fixed: Array  # 1 where every context has the predictability `least`
    least: Array
    noise: Array  # standard deviation of hints over the range of what they hint at
    price: Array  # offline tokens that a test-time token costs


class State(NamedTuple):
    """Where an episode stands. Scalars, float32 if not said otherwise."""

    seed: Array  # uint32, of the queries' difficulties and hints
    queries: Array  # int32, that will come; hidden
    predictability: Array  # rho; hidden
    hint: Array  # noisy rho, seen
    answered: Array  # int32, queries; -1 before sleep
    sleep_tokens: Array
    test_tokens: Array  # test-time tokens so far
    left_tokens: Array  # rest of the budget, in offline tokens
    accuracy: Array  # mean over the queries answered


def params_of(
    seeds: np.ndarray,
    *,
    budget_tokens: float,
    queries: int,
    fixed_number: bool,
    predictability: str | float,
    noise: float,
    price: float,
) -> Params:
    """An instance.

    Args:
        seeds: uint32[E], of the contexts.
        budget_tokens: offline tokens that a query may cost, on average.
        queries: of a context, on average; of every context where `fixed_number` holds.
        fixed_number: whether every context has as many queries.
        predictability: one of `PREDICTABILITIES`, or rho of every context.
        noise: standard deviation of hints over the range of what they hint at.
        price: offline tokens that a test-time token costs.
    """
    stay = 1 - 1 / queries
    expected = float(queries) if fixed_number or stay == 0 else (1 - stay**MOST_QUERIES) / (1 - stay)
    spread = isinstance(predictability, str)
    numbers = {
        "budget_tokens": budget_tokens * expected,
        "mean_queries": expected,
        "stay": stay,
        "known": queries if fixed_number else 0,
        "power": PREDICTABILITIES[predictability] if spread else 1.0,
        "fixed": float(not spread),
        "least": 0.0 if spread else predictability,
        "noise": noise,
        "price": price,
    }
    return Params(seeds, **{name: np.asarray(value, np.float32) for name, value in numbers.items()})


def start(key: Array, params: Params) -> State:
    """A context, before anything is spent on it."""
    words = jax.random.bits(key, (4,), jnp.uint32)
    how_many, how_predictable, error = (unit_interval(words[place]) for place in (1, 2, 3))
    # The least n with 1 - stay^n > u; `stay` is 0 where one query comes.
    drawn = jnp.where(params.stay > 0, jnp.log1p(-how_many) / jnp.log(jnp.maximum(params.stay, 1e-30)), 0.0)
    drawn = jnp.where(params.known > 0, params.known, jnp.clip(jnp.floor(drawn) + 1, 1, MOST_QUERIES))
    rho = params.least + (1.0 - params.fixed) * how_predictable**params.power
    zero = jnp.float32(0)
    return State(
        seed=words[0],
        queries=drawn.astype(jnp.int32),
        predictability=rho,
        hint=jnp.clip(rho + params.noise * WIDTH * (error - 0.5), 0.0, 1.0),
        answered=jnp.int32(-1),
        sleep_tokens=zero,
        test_tokens=zero,
        left_tokens=jnp.asarray(params.budget_tokens, jnp.float32),
        accuracy=zero,
    )


def even_tokens(state: State, params: Params) -> Array:
    """float32, offline tokens: what sleep left over the mean number of queries."""
    return (params.budget_tokens - state.sleep_tokens) / params.mean_queries


def advance(state: State, action: Array, params: Params) -> State:
    """Sleeps, or answers a query; a number that is no action counts as the nearest one."""
    level = jnp.clip(jnp.asarray(action, jnp.int32), 0, ACTIONS - 1).astype(jnp.float32)
    sleeping = state.answered < 0
    wanted = jnp.where(
        sleeping, level * SLEEP_STEP * params.budget_tokens, level * TEST_STEP * even_tokens(state, params)
    )
    spent = jnp.minimum(wanted, state.left_tokens)
    test = jnp.where(sleeping, 0.0, spent / params.price)
    difficulty = jnp.exp2(model.doublings(state.seed, state.answered))
    right = model.accuracy(test, state.predictability * model.worth(state.sleep_tokens), difficulty)
    mean = state.accuracy + (right - state.accuracy) / (state.answered + 1).astype(jnp.float32)
    return state._replace(
        answered=state.answered + 1,
        sleep_tokens=jnp.where(sleeping, spent, state.sleep_tokens),
        test_tokens=state.test_tokens + test,
        left_tokens=state.left_tokens - spent,
        accuracy=jnp.where(sleeping, 0.0, mean),
    )


def over(state: State, params: Params) -> Array:
    """Whether the context's last query is answered."""
    del params
    return state.answered >= state.queries


def metrics(state: State, params: Params) -> Metrics:
    """Costs of a finished context."""
    cost = state.sleep_tokens + params.price * state.test_tokens
    return Metrics(state.accuracy, state.sleep_tokens, state.test_tokens, cost, state.queries.astype(jnp.float32))


def context_rows() -> list[dict[str, object]]:
    """The spreads of predictability, a row each, for people."""
    return [{"predictability": name, "mean rho": 1 / (1 + power)} for name, power in PREDICTABILITIES.items()]
