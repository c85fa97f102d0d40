"""Budget allocation over the sub-questions of a plan, after Plan-and-Budget's Bayesian model (arXiv 2505.16122).

    U_j(b) = c_j / b^beta_j + u_j                          uncertainty that b tokens leave of sub-question j
    s_j(b) = (1 - u_j) max(0, 1 - (b0_j / b)^beta_j)       chance of success, where c_j = b0_j^beta_j

c_j > 0 is the epistemic uncertainty at one token, beta_j >= 1 how easily it is reduced, u_j the aleatoric part, which
no token reduces. s_j is 1 - U_j with a floor at 0 and the aleatoric part as a factor: ours, since 1 - U_j has no lower
limit. The scale b0_j is the number of tokens below which none is of use.

| utility of a plan | formula | best allocation |
|---|---|---|
| `sum` | mean of 1 - U_j | b_j = (c_j beta_j / lambda)^(1 / (beta_j + 1)), closed for equal beta_j |
| `clamped` | mean of s_j | the same over the best subset of sub-questions, each weighed by 1 - u_j |
| `all` | product of s_j | beta_j / (b_j ((b_j / b0_j)^beta_j - 1)) = lambda |

The formula of U and the objective `sum` are the paper's; the solutions are derived here. All allocations are exact but
for rounding, and proven: see their docstrings. Pure JAX, float32. M sub-questions; one with c_j = 0 (or b0_j = 0) is
not there and gets nothing. Tokens are real numbers here; whole tokens can do no better.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array

__all__ = [
    "UTILITIES",
    "allocate",
    "allocate_all",
    "allocate_clamped",
    "allocate_equal",
    "best_allocation",
    "initial_uncertainty",
    "knapsack",
    "plan_utility",
    "success",
    "uncertainty",
]

UTILITIES = ("sum", "clamped", "all")
_BISECTIONS = 40  # halvings: beyond float32's 24 bits wherever the bracket starts


def initial_uncertainty(scale_tokens: Array, ease: Array) -> jax.Array:
    """c = b0^beta, float32[...], tokens^beta: the epistemic uncertainty at one token."""
    return jnp.asarray(scale_tokens, jnp.float32) ** ease


def uncertainty(tokens: Array, *, scale_tokens: Array, ease: Array, aleatoric: Array) -> Array:
    """U(b), float32[...]; tokens above 0. (b0 / b)^beta is c / b^beta without large numbers in between."""
    return (scale_tokens / tokens) ** ease + aleatoric


def success(tokens: Array, *, scale_tokens: Array, ease: Array, aleatoric: Array) -> jax.Array:
    """s(b), float32[...] in [0, 1]; no token, no success."""
    enough = tokens > scale_tokens
    left = (scale_tokens / jnp.where(enough, tokens, 1.0)) ** ease
    return jnp.where(enough, (1.0 - aleatoric) * (1.0 - left), 0.0)


def plan_utility(utility: str, tokens: Array, *, scale_tokens: Array, ease: Array, aleatoric: Array) -> jax.Array:
    """float32: the utility of a plan, an entry of `UTILITIES`; every argument float32[M]."""
    here = scale_tokens > 0
    count = jnp.maximum(jnp.sum(here), 1)
    what = {"scale_tokens": scale_tokens, "ease": ease, "aleatoric": aleatoric}
    if utility == "sum":
        left = uncertainty(jnp.where(here, tokens, 1.0), **what)
        return jnp.sum(jnp.where(here, 1.0 - left, 0.0)) / count
    solved = success(tokens, **what)
    if utility == "clamped":
        return jnp.sum(jnp.where(here, solved, 0.0)) / count
    return jnp.prod(jnp.where(here, solved, 1.0))


# --- Best allocations -------------------------------------------------------------------------------------------------


def allocate_equal(initial: Array, ease: Array, budget_tokens: Array) -> Array:
    """B c_j^(1 / (beta + 1)) / sum_k c_k^(1 / (beta + 1)), float32[M] tokens: optimal for `sum` if all beta are equal.

    Args:
        initial: float32[M], c.
        ease: float32, beta of every sub-question.
        budget_tokens: float32, B.
    """
    share = jnp.asarray(initial, jnp.float32) ** (1.0 / (ease + 1.0))
    return budget_tokens * share / jnp.sum(share)


def allocate(scale_tokens: Array, ease: Array, budget_tokens: Array, weight: Array | float = 1.0) -> Array:
    """Tokens, float32[M], that maximise the sum of -weight_j (b0_j / b_j)^beta_j: optimal for `sum`.

    The sum is concave: where all derivatives equal one lambda is the optimum. Tokens fall with lambda, which bisection
    in log lambda finds: at most the largest derivative at an even share (then none has more than that), and at least
    the largest at the whole budget (then one has all of it).

    Args:
        scale_tokens: float32[M], b0.
        ease: float32[M], beta.
        budget_tokens: float32, B.
        weight: float32[M], 0 or more.
    """
    scale_tokens = jnp.asarray(scale_tokens, jnp.float32)
    here = (scale_tokens > 0) & (weight > 0)
    log_scale = jnp.log(jnp.where(here, scale_tokens, 1.0))
    log_gain = (
        jnp.log(jnp.where(here, weight * ease, 1.0)) + ease * log_scale
    )  # logarithm of the derivative at one token

    def derivative(log_tokens):
        return jnp.max(jnp.where(here, log_gain - (ease + 1.0) * log_tokens, -jnp.inf))

    def tokens(log_lambda):
        return jnp.where(here, jnp.exp((log_gain - log_lambda) / (ease + 1.0)), 0.0)

    log_budget = jnp.log(jnp.asarray(budget_tokens, jnp.float32))
    even = log_budget - jnp.log(jnp.maximum(jnp.sum(here), 1).astype(jnp.float32))
    found = tokens(
        _bisect(lambda value: jnp.sum(tokens(value)) > budget_tokens, derivative(log_budget), derivative(even))
    )
    return budget_tokens * found / jnp.maximum(jnp.sum(found), jnp.finfo(jnp.float32).tiny)


def allocate_clamped(scale_tokens: Array, ease: Array, aleatoric: Array, budget_tokens: Array) -> jax.Array:
    """Tokens, float32[M], optimal for `clamped`: some sub-questions may be abandoned.

    Let S be those with more than b0_j tokens in an optimum. There s_j is (1 - u_j) (1 - (b0_j / b_j)^beta_j), concave
    for all b_j > 0, so `allocate` over S does no worse; and as s_j never lies below that expression, no subset's
    allocation is worth less than it says. So the best of all 2^M subsets is the optimum.

    Args: float32[M] (b0, beta, u) and float32 (B).
    """
    count = np.shape(scale_tokens)[-1]
    subsets = (np.arange(2**count)[:, None] >> np.arange(count)) & 1

    def within(subset):
        kept = jnp.where(subset > 0, scale_tokens, 0.0)
        tokens = allocate(kept, ease, budget_tokens, 1.0 - aleatoric)
        what = {"scale_tokens": scale_tokens, "ease": ease, "aleatoric": aleatoric}
        return tokens, plan_utility("clamped", tokens, **what)

    tokens, value = jax.vmap(within)(jnp.asarray(subsets))
    return tokens[jnp.argmax(value)]


def allocate_all(scale_tokens: Array, ease: Array, budget_tokens: Array) -> jax.Array:
    """Tokens, float32[M], optimal for `all`; in proportion to b0 where the budget is below their sum (success 0).

    The sum of log s_j is concave where every b_j > b0_j. Its derivatives, beta / (b ((b / b0)^beta - 1)), fall with b:
    one bisection for lambda, and within it one for the tokens of each sub-question. The aleatoric terms cancel.

    Args: float32[M] (b0, beta) and float32 (B).
    """
    scale_tokens = jnp.asarray(scale_tokens, jnp.float32)
    here = scale_tokens > 0
    total = jnp.maximum(jnp.sum(scale_tokens), jnp.finfo(jnp.float32).tiny)
    slack = jnp.maximum(budget_tokens - total, 1e-6 * total)
    base = jnp.where(here, scale_tokens, 1.0)

    def log_derivative(excess):
        """The logarithm of the derivative of log s, `excess` tokens above the scale."""
        ratio = ease * jnp.log1p(excess / base)
        return jnp.where(here, jnp.log(ease) - jnp.log(base + excess) - jnp.log(jnp.expm1(ratio)), -jnp.inf)

    def excess_of(log_lambda):
        def too_few(log_excess):
            return log_derivative(jnp.exp(log_excess)) > log_lambda

        low = jnp.log(slack) - 30.0  # less than a float32 can tell apart from no excess
        found = _bisect(too_few, jnp.full_like(base, low), jnp.full_like(base, jnp.log(slack)))
        return jnp.where(here, jnp.exp(found), 0.0)

    even = slack / jnp.maximum(jnp.sum(here), 1)
    low, high = jnp.max(log_derivative(slack)), jnp.max(log_derivative(even))
    excess = excess_of(_bisect(lambda value: jnp.sum(excess_of(value)) > slack, low, high))
    excess = slack * excess / jnp.maximum(jnp.sum(excess), jnp.finfo(jnp.float32).tiny)
    return jnp.where(budget_tokens > total, scale_tokens + excess, budget_tokens * scale_tokens / total)


def _bisect(too_low: Callable[[jax.Array], jax.Array], low: Array, high: Array) -> jax.Array:
    """Where `too_low` turns from true to false between `low` and `high`, element by element."""

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        rise = too_low(middle)
        return jnp.where(rise, middle, low), jnp.where(rise, high, middle)

    return jax.lax.fori_loop(0, _BISECTIONS, halve, (low, high))[1]


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.vmap, in_axes=(None, 0, 0, 0, 0))
def best_allocation(utility: str, scale_tokens: Array, ease: Array, aleatoric: Array, budget_tokens: Array) -> Array:
    """Tokens, float32[Q, M], optimal for Q plans; jitted.

    Args:
        utility: an entry of `UTILITIES`.
        scale_tokens, ease, aleatoric: float32[Q, M].
        budget_tokens: float32[Q].
    """
    if utility == "clamped":
        return allocate_clamped(scale_tokens, ease, aleatoric, budget_tokens)
    if utility == "all":
        return allocate_all(scale_tokens, ease, budget_tokens)
    return allocate(scale_tokens, ease, budget_tokens)


@jax.jit
def knapsack(values: Array) -> tuple[jax.Array, jax.Array]:
    """The exact best allocation on a grid of tokens, by dynamic programming over sub-questions.

    Args:
        values: float32[M, G + 1], of g = 0 ... G cells for each sub-question; for a product their logarithms, -inf
            where a factor is 0.

    Returns:
        float32: the largest sum of values of at most G cells; int32[M]: the cells.
    """
    values = jnp.asarray(values, jnp.float32)
    cells = jnp.arange(values.shape[1])
    before = cells[:, None] - cells  # [cells so far, given to this one]

    def add(best, value):
        sums = jnp.where(before >= 0, best[jnp.maximum(before, 0)] + value, -jnp.inf)
        return jnp.max(sums, axis=1), jnp.argmax(sums, axis=1).astype(jnp.int32)

    best, choices = jax.lax.scan(add, jnp.zeros(len(cells)), values)

    def back(left, choice):
        return left - choice[left], choice[left]

    _, given = jax.lax.scan(back, jnp.argmax(best), choices, reverse=True)
    return jnp.max(best), given
