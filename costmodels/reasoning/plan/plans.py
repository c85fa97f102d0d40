"""Plans to draw: a question of some level, its sub-questions, what each of them hides, and the credits that are seen.

Measured (`schedulers.py`): shares of levels, sub-questions by level, mean credits by place. **All the rest is synthetic
and ours**: how scale, ease, aleatoric uncertainty and the errors of credits are spread.

    b0_j     = LEVEL_SCALE_TOKENS[level] exp(QUESTION_SPREAD z) q_j^2,  q_j = N trend_j exp(PLACE_SPREAD z_j)
    credit_j ~ measured_j exp(PLACE_SPREAD z_j + credit_noise e_j), normalised

So a credit follows c_j^(1 / (beta_j + 1)) at beta_j = 1, the best share of the tokens, but for an error e_j (which is
alike for neighbours) and but for its trend along the plan: a language model's trend is the measured one in every world,
while the true one is the world's. All z are uniform with standard deviation 1. M places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...luck import WIDTH, numbered_uniform
from .schedulers import LEVEL_BUDGETS_TOKENS, LEVEL_PROBLEMS, MEAN_COUNTS, MEASURED_CREDITS, MOST

__all__ = [
    "COUNTS",
    "LEVEL_SCALE_TOKENS",
    "MEAN_ALEATORIC",
    "WORLDS",
    "Plan",
    "World",
    "draw",
    "level_budgets_tokens",
    "level_rows",
    "trend",
]

LEVEL_SCALE_TOKENS = (10.0, 14.0, 18.0, 24.0, 32.0)
QUESTION_SPREAD, PLACE_SPREAD = 0.4, 0.35  # standard deviations of logarithms
ERROR_PERSISTENCE = 0.6  # correlation of the credits' errors of neighbours
MOST_ALEATORIC = 0.2  # uniform from 0
MEAN_ALEATORIC = MOST_ALEATORIC / 2

# P(number of sub-questions = 1 ... 7) by level: means are the measured ones, and with the shares of levels the numbers
# of plans of each size are within 9 of the measured 1, 69, 156, 133, 132, 7 and 2 of 500.
COUNTS = np.array(
    [
        [0.02, 0.61, 0.37, 0.00, 0.00, 0.00, 0.00],
        [0.00, 0.42, 0.58, 0.00, 0.00, 0.00, 0.00],
        [0.00, 0.00, 0.87, 0.13, 0.00, 0.00, 0.00],
        [0.00, 0.00, 0.00, 0.91, 0.09, 0.00, 0.00],
        [0.000, 0.000, 0.000, 0.078, 0.859, 0.048, 0.015],
    ]
)

# The true trend of q along a plan of n, in proportion.
WORLDS: Mapping[str, Callable[[int], np.ndarray]] = {
    "measured": lambda n: np.array(MEASURED_CREDITS.get(n, np.linspace(1.0, 2.0, n))),
    "decreasing": lambda n: np.arange(n, 0.0, -1.0),
    "increasing": lambda n: np.arange(1.0, n + 1.0),
    "equal": np.ones,
}

_LEVEL, _COUNT, _QUESTION, _PLACE, _EASE, _ALEATORIC, _ERROR = (8 * i for i in range(7))  # the draws' numbers


class World(NamedTuple):
    """What plans are drawn from."""

    trend: Array  # float32[M, M], of q; row N - 1 sums to N
    credit_trend: Array  # float32[M, M], likewise
    apart: Array  # float32, 1, or 0 where the sub-questions of a plan are all alike
    spread_beta: Array  # float32, beta is uniform from 1 to 1 + this
    credit_noise: Array  # float32, standard deviation of a credit's logarithm


class Plan(NamedTuple):
    """A question's plan; arrays [M] are 0 from place N on."""

    level: Array  # int32, 0 ... 4
    count: Any  # int32, N; an Array would clash with tuple.count
    credits: Array  # float32[M], sum 1; seen
    scale_tokens: Array  # float32[M], b0; hidden
    ease: Array  # float32[M], beta; hidden
    aleatoric: Array  # float32[M], u; hidden


def trend(world: str) -> np.ndarray:
    """float32[M, M]: the trend of plans of N in row N - 1, with the sum N."""
    table = np.zeros((MOST, MOST), np.float32)
    for count in range(1, MOST + 1):
        shares = WORLDS[world](count)
        table[count - 1, :count] = shares / np.mean(shares)
    return table


def level_budgets_tokens(scale: float) -> np.ndarray:
    """int32[5]: the released budgets times a scale, rounded."""
    return np.rint(np.array(LEVEL_BUDGETS_TOKENS) * scale).astype(np.int32)


def _spread(seed: Array, counter: Array | int) -> jax.Array:
    """float32[...]: uniform with mean 0 and standard deviation 1."""
    return WIDTH * (numbered_uniform(seed, counter) - 0.5)


def _row(table: Array, index: Array) -> jax.Array:
    """table[index] as a select: gathers are slow on CPUs."""
    table = jnp.asarray(table, jnp.float32)
    return jnp.sum(jnp.where((jnp.arange(table.shape[0]) == index)[:, None], table, 0.0), axis=0)


def draw(seed: Array, world: World) -> Plan:
    """The plan of a seed, uint32, in a world."""
    levels = np.cumsum(LEVEL_PROBLEMS)[:-1] / np.sum(LEVEL_PROBLEMS)
    level = jnp.sum(numbered_uniform(seed, _LEVEL) >= levels.astype(np.float32)).astype(jnp.int32)
    up_to = _row(np.cumsum(COUNTS, axis=1)[:, :-1], level)
    count = 1 + jnp.sum(numbered_uniform(seed, _COUNT) >= up_to).astype(jnp.int32)
    place = np.arange(MOST)
    here = place < count
    own = place * jnp.asarray(world.apart, jnp.float32)  # sub-questions that are alike share their first one's draws
    deviation = PLACE_SPREAD * world.apart * _spread(seed, _PLACE + place)
    q = _row(world.trend, count - 1) * jnp.exp(deviation)
    common = jnp.exp(QUESTION_SPREAD * _spread(seed, _QUESTION))
    scale = _row(np.array(LEVEL_SCALE_TOKENS)[:, None], level)[0] * common * q**2
    fresh = _spread(seed, _ERROR + place)
    error = [fresh[0]]
    for i in range(1, MOST):
        error.append(ERROR_PERSISTENCE * error[-1] + (1 - ERROR_PERSISTENCE**2) ** 0.5 * fresh[i])
    credits = _row(world.credit_trend, count - 1) * jnp.exp(deviation + world.credit_noise * jnp.stack(error))
    return Plan(
        level=level,
        count=count,
        credits=credits / jnp.sum(credits),
        scale_tokens=scale,
        ease=jnp.where(here, 1.0 + world.spread_beta * numbered_uniform(seed, _EASE + own), 0.0),
        aleatoric=jnp.where(here, MOST_ALEATORIC * numbered_uniform(seed, _ALEATORIC + own), 0.0),
    )


def level_rows() -> list[dict[str, object]]:
    """The levels, a row each, for people."""
    columns = {
        "budget (tokens)": LEVEL_BUDGETS_TOKENS,
        "problems": LEVEL_PROBLEMS,
        "sub-questions": MEAN_COUNTS,
        "typical scale (tokens)": LEVEL_SCALE_TOKENS,
    }
    rows = zip(*columns.values(), strict=True)
    return [{"level": place + 1, **dict(zip(columns, row, strict=True))} for place, row in enumerate(rows)]
