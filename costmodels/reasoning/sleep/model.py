"""Sleep-time compute: tokens spent on a context before its queries are known, and on each query when it is.

    accuracy(b, s) = A - B exp(-(b + rho g(s)) / (tau d)),   g(s) = G (1 - exp(-s / sigma))
    cost of a context = s + t sum b

s offline tokens, spent once on the context; b test-time tokens of a query; rho in [0, 1] how predictable the context's
queries are; d a query's difficulty; t the price of a test-time token in offline tokens. The setting and the amortised
cost are those of *Sleep-time Compute* (letta-ai/sleep-time-compute); the curve and **all its constants are ours**,
synthetic: chosen so that with rho = 0.8 a full sleep replaces four fifths of `PLAIN_TOKENS` test-time tokens.

E contexts, Q queries of a context at most. `worth`, `accuracy` and the draws of difficulties are pure JAX on any
shapes that broadcast; the rest is plain NumPy in float64.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ...arrays import Array
from ...luck import WIDTH, numbered_uniform

__all__ = [
    "CEILING",
    "GAP",
    "HIGHEST_HINT",
    "PLAIN_TOKENS",
    "SCALE_TOKENS",
    "SLEEP_TOKENS",
    "WORTH_TOKENS",
    "accuracy",
    "cheapest_sleep",
    "constant_rows",
    "cost_per_query",
    "difficulty_hint",
    "doublings",
    "worth",
]

CEILING = 0.9  # A: with unlimited tokens
GAP = 0.6  # B: CEILING - GAP is the accuracy without any token
SCALE_TOKENS = 1_000.0  # tau, test-time tokens, of a query of difficulty 1
WORTH_TOKENS = 2_000.0  # G, test-time tokens that sleep replaces at most
SLEEP_TOKENS = 10_000.0  # sigma, offline tokens
HIGHEST_HINT = 2.0  # doublings of difficulty
PLAIN_TOKENS = 2_000.0  # test-time tokens of a query without sleep in the claims of docs/sleep_time.md


def worth(sleep_tokens: Array | float) -> jax.Array:
    """g(s), float32[...]: test-time tokens that offline tokens replace where queries are fully predictable."""
    return -WORTH_TOKENS * jnp.expm1(-jnp.asarray(sleep_tokens) / SLEEP_TOKENS)


def accuracy(test_tokens: Array | float, saved_tokens: Array | float, difficulty: Array | float = 1.0) -> jax.Array:
    """float32[...]: the probability that a query is answered rightly; `saved_tokens` is rho g(s)."""
    return CEILING - GAP * jnp.exp(-(test_tokens + saved_tokens) / (SCALE_TOKENS * difficulty))


def doublings(seed: Array | int, query: Array | int) -> jax.Array:
    """float32[...] in [-1, 1): log2 of a query's difficulty."""
    return 2.0 * numbered_uniform(seed, 2 * query) - 1.0


def difficulty_hint(seed: Array | int, query: Array | int, noise: Array | float) -> jax.Array:
    """float32[...] in [-2, 2]: `doublings` with uniform noise, `noise` times their range in standard deviation."""
    error = 2.0 * noise * WIDTH * (numbered_uniform(seed, 2 * query + 1) - 0.5)
    return jnp.clip(doublings(seed, query) + error, -HIGHEST_HINT, HIGHEST_HINT)


def cost_per_query(sleep_tokens: ArrayLike, test_tokens: ArrayLike, *, queries: ArrayLike, price: float) -> np.ndarray:
    """float64[...], offline tokens: (s + t sum b) / n, where each of n queries gets `test_tokens`."""
    return np.asarray(sleep_tokens, float) / np.asarray(queries) + price * np.asarray(test_tokens, float)


def cheapest_sleep(tokens: float, *, predictability: float, queries: float, price: float) -> float:
    """Offline tokens at which n equal queries cost least, each of which needs b + rho g(s) = `tokens`.

    The derivative of s / n + t (tokens - rho g(s)) vanishes at sigma ln(n t rho G / sigma); no sleep where that is
    negative, and none beyond what makes b zero.
    """
    gain = queries * price * predictability * WORTH_TOKENS / SLEEP_TOKENS  # tokens saved by the first one slept
    if gain <= 1.0:
        return 0.0
    most = 1.0 - tokens / (predictability * WORTH_TOKENS)  # exp(-s / sigma) where b is zero
    limit = -SLEEP_TOKENS * np.log(most) if most > 0 else np.inf
    return float(min(SLEEP_TOKENS * np.log(gain), limit))


def constant_rows() -> list[dict[str, object]]:
    """The constants, a row each, for people."""
    synthetic = {
        "accuracy with unlimited tokens, A": CEILING,
        "accuracy lost without tokens, B": GAP,
        "scale of test-time tokens, tau": SCALE_TOKENS,
        "test-time tokens that sleep replaces, G": WORTH_TOKENS,
        "scale of offline tokens, sigma": SLEEP_TOKENS,
    }
    rows: list[dict[str, object]] = [
        {"constant": name, "value": value, "status": "synthetic"} for name, value in synthetic.items()
    ]
    return [*rows, {"constant": "price of a test-time token, t", "value": 10, "status": "recalled"}]
