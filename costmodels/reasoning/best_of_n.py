"""Best of N over a batch: beliefs about each question, and what classic rules of allocation reach.

A question is solved by an attempt with its own probability p. A rule spends B attempts on Q questions; with a perfect
verifier it sees at once whether one succeeded: `round_robin`, `posterior_greedy` and `oracle_adaptive` look at results
and stop at a success.

With a perfect verifier, independent priors and unit costs, posterior means fall with each failure, so taking the
largest mean is optimal for every horizon (deteriorating arms; Gittins). Plain NumPy, float64, but for
`noisy_logit_beta`, which is JAX and runs inside environments. R replications.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from .laws import BetaFit

__all__ = [
    "belief_grid",
    "hinted_means",
    "noisy_logit_beta",
    "oracle_adaptive",
    "posterior_greedy",
    "round_robin",
]

GRID = 64  # probabilities of a belief
LEAST = 2e-3  # least p that a hint supposes, of a question that was never solved
MOST_TURNS = 256  # attempts at one question that a rule considers
_NEVER = 2**30  # attempts until a question that cannot be solved is


def belief_grid(prior: BetaFit, points: int = GRID) -> tuple[np.ndarray, np.ndarray]:
    """float64[points], the middles of `points` quantile bins of a Beta prior on p; and their logits, within +-14."""
    from scipy.special import betaincinv

    quantiles = (np.arange(points) + 0.5) / points
    p = np.clip(betaincinv(prior.alpha, prior.beta, quantiles), 1e-6, 1 - 1e-6)
    return p, np.log(p) - np.log1p(-p)


def noisy_logit_beta(hint: Array, sigma: Array | float, *, grid: Array, logits: Array) -> tuple[jax.Array, jax.Array]:
    """float32[...], float32[...]: the Beta distribution with the mean and variance of p given a noisy logit.

    Args:
        hint: float32[...], logit p plus normal noise.
        sigma: float32, its deviation, above 0.
        grid, logits: float32[G], equally likely values of p beforehand, and their logits.
    """
    distance = (jnp.asarray(hint)[..., None] - logits) / sigma
    weight = jax.nn.softmax(-0.5 * distance**2, axis=-1)
    mean = jnp.clip(jnp.sum(weight * grid, axis=-1), 1e-5, 1 - 1e-5)
    variance = jnp.sum(weight * (grid - mean[..., None]) ** 2, axis=-1)
    strength = jnp.clip(mean * (1 - mean) / jnp.maximum(variance, 1e-8) - 1, 0.1, 1e4)
    return mean * strength, (1 - mean) * strength


def _first_success(p: np.ndarray, replications: int, generator: np.random.Generator) -> np.ndarray:
    """int64[R, Q]: the attempt, from 1, that solves each question."""
    shape = (replications, len(p))
    drawn = generator.geometric(np.broadcast_to(np.maximum(p, 1e-9), shape))
    return np.where(p > 0, np.minimum(drawn, _NEVER), _NEVER)


def _solved_in_order(first: np.ndarray, priority: np.ndarray, budget: int) -> np.ndarray:
    """float64[R]: shares solved where attempts go to unsolved questions by falling priority.

    Args:
        first: int64[R, Q], attempts until success.
        priority: float64[Q, K] or [R, Q, K], of the k-th attempt at each question, falling in k.
        budget: B.
    """
    priority = np.broadcast_to(priority, (*first.shape, priority.shape[-1]))
    made = np.arange(priority.shape[-1]) < first[..., None]  # attempts that are made if the budget allows
    flat = np.where(made, priority, -np.inf).reshape(len(first), -1)
    if flat.shape[1] > budget:
        cut = -np.partition(-flat, budget, axis=1)[:, budget]  # the first attempt that is not made any more
        within = np.maximum(cut, -1e300)[:, None, None]
        done = (np.where(made, priority, -np.inf) > within).sum(-1)
    else:
        done = made.sum(-1)
    return (done >= first).mean(-1)


def _break_ties(priority: np.ndarray, replications: int, generator: np.random.Generator) -> np.ndarray:
    """float64[R, Q, K]: the priorities with differences too small to matter but for ties, drawn for each question."""
    return priority + 1e-9 * generator.random((replications, priority.shape[-2], 1))


def round_robin(p: np.ndarray, budget: int, *, replications: int, seed: int) -> float:
    """The mean share solved by turns that leave solved questions out."""
    generator = np.random.default_rng(seed)
    first = _first_success(p, replications, generator)
    most = min(budget, MOST_TURNS)
    turns = _break_ties(-np.broadcast_to(np.arange(float(most)), (len(p), most)), replications, generator)
    return float(_solved_in_order(first, turns, budget).mean())


def oracle_adaptive(p: np.ndarray, budget: int, *, replications: int, seed: int) -> float:
    """The mean share solved by knowing p: the easiest question until it is solved, then the next."""
    first = _first_success(p, replications, np.random.default_rng(seed))
    order = np.argsort(-p, kind="stable")
    spent = np.cumsum(np.minimum(first[:, order], budget + 1), axis=1)
    return float((spent <= budget).sum(1).mean() / len(p))


def hinted_means(
    p: np.ndarray, sigma: float, most: int, *, prior: BetaFit, replications: int, generator: np.random.Generator
) -> np.ndarray:
    """float64[R, Q, most]: posterior means of p after 0, 1, ... failures, given a logit with noise `sigma`.

    An infinite sigma is no hint: every question then has the prior's means.
    """
    grid, logits = belief_grid(prior)
    failures = (1 - grid) ** np.arange(most)[:, None]  # [K, G]
    if np.isinf(sigma):
        weight = np.ones((1, 1, len(grid)))
    else:
        clipped = np.clip(p, LEAST, 1 - LEAST)
        hints = np.log(clipped) - np.log1p(-clipped) + sigma * generator.standard_normal((replications, len(p)))
        weight = np.exp(-0.5 * ((hints[..., None] - logits) / sigma) ** 2) + 1e-300
    means = (weight * grid) @ failures.T / (weight @ failures.T)
    return np.broadcast_to(means, (replications, len(p), most))


def posterior_greedy(
    p: np.ndarray, budget: int, *, sigma: float, prior: BetaFit, replications: int, seed: int, most: int = 64
) -> float:
    """The mean share solved by the largest posterior mean, sampled until it succeeds or falls behind another.

    Args:
        p: float64[Q].
        budget: B attempts.
        sigma: noise of the hints; infinite for none.
        prior: of p.
        replications, seed: of the average.
        most: attempts at one question that are considered.
    """
    generator = np.random.default_rng(seed)
    first = _first_success(p, replications, generator)
    means = hinted_means(p, sigma, most, prior=prior, replications=replications, generator=generator)
    return float(_solved_in_order(first, _break_ties(means, replications, generator), budget).mean())
