"""How released planners share a budget between the sub-questions of a plan, and what they were measured to share.

Schedulers and budgets are those of Plan-and-Budget's released code (junhongmit/P-and-B, arXiv 2505.16122): a share is
in proportion to w_i d(i, N), w_i the difficulty credit that a language model assigned to sub-question i = 0 ... N - 1,
d a schedule of `SCHEDULES`. Tokens are floor(share B); what is left goes one by one to the largest shares. Pure JAX on
M places, of which the first N are sub-questions.

The statistics of decompositions were measured on the released plans of MATH-500: the sub-questions of a plan by level
(`MEAN_COUNTS`), and the mean credits of plans of 3, 4 and 5 (`MEASURED_CREDITS`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array

__all__ = [
    "LEVEL_BUDGETS_TOKENS",
    "LEVEL_PROBLEMS",
    "MEAN_COUNTS",
    "MEASURED_CREDITS",
    "MOST",
    "SCHEDULES",
    "credit_rows",
    "schedule_table",
    "shared_tokens",
    "whole_tokens",
]

MOST = 7  # sub-questions of a plan
LEVEL_BUDGETS_TOKENS = (200, 250, 350, 450, 600)  # budgets of a whole plan, by level of difficulty 1 ... 5
LEVEL_PROBLEMS = (43, 90, 105, 128, 134)  # problems of MATH-500, by level
MEAN_COUNTS = (2.35, 2.58, 3.13, 4.09, 5.00)  # sub-questions of a plan, by level
MEASURED_CREDITS: Mapping[int, tuple[float, ...]] = {
    3: (0.219, 0.306, 0.475),
    4: (0.182, 0.230, 0.266, 0.322),
    5: (0.130, 0.184, 0.223, 0.223, 0.240),
}

# d(i, N) of place i of N.
SCHEDULES: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "constant": lambda i, n: np.ones(len(i)),
    "linear": lambda i, n: n - i,
    "polynomial": lambda i, n: (n - i) ** 2.0,
    "exponential": lambda i, n: 0.9**i,
    "cosine": lambda i, n: 0.5 * (1 + np.cos(np.pi * i / (n - 1))) + 0.1 if n > 1 else np.ones(1),
}

# A share this close below a whole number of tokens counts as it: 450 / 3 is 150 in any arithmetic.
_ROUNDING = 1e-3


def schedule_table(name: str, most: int = MOST) -> np.ndarray:
    """float32[most, most]: d(i, N) in row N - 1 and column i, 0 where i >= N."""
    table = np.zeros((most, most), np.float32)
    for count in range(1, most + 1):
        table[count - 1, :count] = SCHEDULES[name](np.arange(count), count)
    return table


def whole_tokens(tokens: Array) -> jax.Array:
    """int32[...]: rounded down."""
    return jnp.floor(jnp.asarray(tokens, jnp.float32) + _ROUNDING).astype(jnp.int32)


def shared_tokens(weights: Array, budget_tokens: Array) -> tuple[jax.Array, jax.Array]:
    """Tokens of a plan by weights.

    Args:
        weights: float32[M], 0 or more, not all 0; in proportion to the shares.
        budget_tokens: int32, B.

    Returns:
        int32[M]: rounded down, what is left unspent; int32[M]: what is left handed out, as the released code does it,
        equal shares in the plan's order.
    """
    down = whole_tokens(weights / jnp.sum(weights) * budget_tokens)
    place = jnp.arange(weights.shape[0])
    ahead = (weights > weights[:, None]) | ((weights == weights[:, None]) & (place < place[:, None]))
    rank = jnp.sum(ahead, axis=1)
    return down, down + (rank < budget_tokens - jnp.sum(down))


def credit_rows() -> list[dict[str, object]]:
    """The measured credits, a row a number of sub-questions, for people."""
    return [
        {"sub-questions": count, "mean credits": ", ".join(f"{each:.3f}" for each in shares)}
        for count, shares in MEASURED_CREDITS.items()
    ]
