"""One plan as a game: its sub-questions are answered in order, each with some of what is left; pure JAX on one plan.

The rules: docs/sub_question_budget.md. What a plan hides: `plans.py`; what tokens do: `bbam.py`, whose `UTILITIES` say
what a plan is worth. M places.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from . import bbam, plans

__all__ = ["MOST_SURPRISE", "Metrics", "Params", "State", "advance", "at", "least_tokens", "metrics", "over", "start"]

MOST_SURPRISE = 2.0  # |ln(residual / estimate)| is clipped here
_LEAST_SHARE = 10  # the least tokens of a sub-question under `sum` are an even share over this


class Metrics(NamedTuple):
    """Costs of a plan, averaged over plans. Scalars, float32."""

    accuracy: Array  # the utility
    tokens: Array  # of a plan
    sub_questions: Array  # of a plan


class Params(NamedTuple):
    """An instance."""

    seeds: Array  # uint32[E]
    budgets_tokens: Array  # int32[5], of a plan, by level
    world: plans.World


class State(NamedTuple):
    """Where an episode stands. Scalars, float32 if not said otherwise."""

    plan: plans.Plan
    budget_tokens: Array  # int32, of the plan
    least_tokens: Array  # int32, of a sub-question
    answered: Array  # int32, sub-questions
    left_tokens: Array  # int32
    utility: Array  # so far: of `all` the product, else the sum over N
    residual: Array  # uncertainty that the last sub-question was left with: U, or 1 - s
    surprise: Array  # ln(residual / estimate) of the last sub-question


def at(values: Array, place: Array) -> Array:
    """values[place], float32, as a select: gathers are slow on CPUs."""
    return jnp.sum(jnp.where(np.arange(len(values)) == place, values, 0.0))


def least_tokens(utility: str, budget_tokens: Array, count: Array) -> Array:
    """int32[...]: what each of `count` sub-questions gets whatever the policy says; under `sum` alone, where a
    sub-question without tokens would be infinitely uncertain.
    """
    least = jnp.maximum(budget_tokens // (_LEAST_SHARE * count), 1)
    return least if utility == "sum" else jnp.zeros_like(least)


def start(utility: str, key: Array, params: Params) -> State:
    """A plan, before anything is spent on it."""
    plan = plans.draw(jax.random.bits(key, (), jnp.uint32), params.world)
    budget = at(jnp.asarray(params.budgets_tokens), plan.level).astype(jnp.int32)
    zero = jnp.float32(0)
    return State(plan, budget, least_tokens(utility, budget, plan.count), jnp.int32(0), budget, zero, zero, zero)


def advance(utility: str, state: State, tokens: Array) -> State:
    """Answers a sub-question with as many tokens, int32, or with the nearest number that it may get."""
    plan, place = state.plan, state.answered
    most = state.left_tokens - state.least_tokens * (plan.count - 1 - place)
    tokens = jnp.clip(tokens, state.least_tokens, most)
    spent = tokens.astype(jnp.float32)
    hidden = {
        "scale_tokens": at(plan.scale_tokens, place),
        "ease": at(plan.ease, place),
        "aleatoric": at(plan.aleatoric, place),
    }
    if utility == "sum":
        residual = bbam.uncertainty(jnp.maximum(spent, 1.0), **hidden)
    else:
        residual = 1.0 - bbam.success(spent, **hidden)
    if utility == "all":
        reached = jnp.where(place == 0, 1.0, state.utility) * (1.0 - residual)
    else:
        reached = state.utility + (1.0 - residual) / plan.count.astype(jnp.float32)
    surprise = jnp.log(jnp.maximum(residual, 1e-6) / _estimated_residual(utility, state, spent))
    return state._replace(
        answered=place + 1,
        left_tokens=state.left_tokens - tokens,
        utility=reached,
        residual=residual,
        surprise=jnp.clip(surprise, -MOST_SURPRISE, MOST_SURPRISE),
    )


def _estimated_residual(utility: str, state: State, tokens: Array) -> Array:
    """What level and credit promise of the next sub-question at beta = 1 and a mean aleatoric uncertainty."""
    relative = at(state.plan.credits, state.answered) * state.plan.count.astype(jnp.float32)
    typical = at(np.array(plans.LEVEL_SCALE_TOKENS, np.float32), state.plan.level)
    left = typical * relative**2 / jnp.maximum(tokens, 1.0)
    if utility == "sum":
        return left + plans.MEAN_ALEATORIC
    return plans.MEAN_ALEATORIC + (1.0 - plans.MEAN_ALEATORIC) * jnp.minimum(left, 1.0)


def over(state: State, params: Params) -> Array:
    """Whether the last sub-question is answered."""
    del params
    return state.answered >= state.plan.count


def metrics(state: State, params: Params) -> Metrics:
    """Costs of a finished plan."""
    del params
    tokens = (state.budget_tokens - state.left_tokens).astype(jnp.float32)
    return Metrics(state.utility, tokens, state.plan.count.astype(jnp.float32))
