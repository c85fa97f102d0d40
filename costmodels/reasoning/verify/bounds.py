"""The bound of solve or verify: coverage. No selector is right where no sample is that the budget has room for."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...luck import episode_key
from . import game

__all__ = ["coverage", "least_failure", "oracle_metrics"]


@functools.partial(jax.jit, static_argnums=0)
def _right(samples: int, params: game.Params) -> Array:
    """bool[E, S], whether the samples of each problem are right."""

    def problem(seed: Array) -> Array:
        return game.start(samples, episode_key(seed), params).right

    return jax.vmap(problem)(jnp.asarray(params.seeds))


def coverage(samples: int, params: game.Params) -> float:
    """The share of problems in which any of S samples is right."""
    return float(np.asarray(_right(samples, params)).max(1).mean())


def least_failure(samples: int, params: game.Params) -> float:
    """No policy fails less: only covered problems are answered right, and an answer takes one sample at least."""
    return 1 - coverage(samples, params) * (1 - float(params.price) / float(params.budget))


def oracle_metrics(samples: int, params: game.Params) -> game.Metrics:
    """Metrics of the oracle that has this failure: one right sample of each covered problem, nothing else."""
    covered = coverage(samples, params)
    paid = float(params.price) * covered / float(params.budget)
    return game.Metrics(*(jnp.float32(each) for each in (covered, covered, covered, 0.0, paid)))
