"""The oracle of a batch: it knows every question's chances and every sample's result. NumPy. E batches, Q questions."""

from __future__ import annotations

import functools

import jax
import numpy as np

from ...arrays import Array
from ...luck import episode_key, uniform
from . import game

__all__ = ["oracle"]


@functools.partial(jax.jit, static_argnums=0)
def _starts(rules: game.Rules, params: game.Params) -> game.State:
    """The first states of the batches of `params.seeds`, leaves [E, ...]."""
    keys = jax.vmap(episode_key)(params.seeds)
    return jax.vmap(lambda key: game.start(rules, key, params))(keys)


@jax.jit
def _results(seeds: Array, questions: Array, attempts: Array) -> jax.Array:
    return uniform(seeds, questions, attempts, game.RESULT)


def oracle(rules: game.Rules, params: game.Params) -> game.Metrics:
    """Metrics, float64[E] each, of the oracle's batches, on the same luck as any policy's.

    The largest chance for its cost first, until a sample is right: with a perfect verifier, independent questions and
    unit costs no policy does better in expectation. An answer is right if any sample of the question was.
    """
    state = jax.tree.map(np.asarray, _starts(rules, params))
    rows, left, right_left = np.arange(len(params.seeds)), state.left.copy(), state.right_left.copy()
    attempts, solved, spent = np.zeros(left.shape, np.uint32), np.zeros(left.shape, bool), np.zeros(len(params.seeds))
    ones = np.ones(left.shape)
    cost_right, cost_wrong = (state.tokens_right, state.tokens_wrong) if rules.tokens else (ones, ones)
    budget = float(params.samples) * rules.questions * (float(params.mean_tokens) if rules.tokens else 1.0)
    tokens = np.zeros(len(params.seeds))
    for _ in range(rules.horizon):
        chance = right_left / np.maximum(left, 1) if rules.recorded else right_left
        legal = (left > 0) & (spent[:, None] + np.maximum(cost_right, cost_wrong) <= budget * game.WITHIN) & ~solved
        worth = np.where(legal, chance / (chance * cost_right + (1 - chance) * cost_wrong), -1.0)
        one = worth.argmax(1)
        goes = worth[rows, one] >= 0
        right = goes & (np.asarray(_results(state.seed, one, attempts[rows, one])) < chance[rows, one])
        spent += goes * np.where(right, cost_right[rows, one], cost_wrong[rows, one])
        left[rows, one] -= goes
        right_left[rows, one] -= right if rules.recorded else 0
        tokens += goes * np.where(right, state.tokens_right[rows, one], state.tokens_wrong[rows, one])
        attempts[rows, one] += goes
        solved[rows, one] |= right
    count = rules.questions
    return game.Metrics(solved.mean(1), attempts.sum(1) / count, tokens / count)
