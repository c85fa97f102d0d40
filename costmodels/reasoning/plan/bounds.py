"""What plans are worth to who knows all that they hide: the bound. E plans, M places."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...luck import episode_key
from . import bbam, plans
from .game import Metrics, Params

__all__ = ["Drawn", "drawn_plans", "least_failure", "oracle_metrics"]


class Drawn(NamedTuple):
    """Plans with all that they hide."""

    plan: plans.Plan  # leaves [E, ...]
    budget_tokens: Array  # int32[E]


@jax.jit
def _drawn(params: Params) -> Drawn:
    keys = jax.vmap(episode_key)(params.seeds)
    words = jax.vmap(lambda key: jax.random.bits(key, (), jnp.uint32))(keys)
    plan = jax.vmap(plans.draw, in_axes=(0, None))(words, params.world)
    return Drawn(plan, jnp.asarray(params.budgets_tokens)[plan.level])


def drawn_plans(params: Params) -> Drawn:
    """The plans of an instance's seeds, NumPy, for yardsticks and tests; no policy sees what they hide."""
    return jax.tree.map(np.asarray, _drawn(params))


@functools.partial(jax.jit, static_argnums=0)
def _utilities(utility: str, tokens: Array, plan: plans.Plan) -> Array:
    """float32[E]: of allocations, float[E, M] tokens."""
    return jax.vmap(
        lambda each, one: bbam.plan_utility(
            utility, each, scale_tokens=one.scale_tokens, ease=one.ease, aleatoric=one.aleatoric
        )
    )(tokens, plan)


def least_failure(utility: str, params: Params) -> np.ndarray:
    """float32[E]: of each plan of an instance's seeds, all of it known."""
    plan, budgets = drawn_plans(params)
    budgets = np.asarray(budgets, np.float32)
    tokens = bbam.best_allocation(utility, plan.scale_tokens, plan.ease, plan.aleatoric, budgets)
    return 1.0 - np.asarray(_utilities(utility, tokens, plan))


def oracle_metrics(utility: str, params: Params) -> Metrics:
    """The metrics of the best allocations, means over plans."""
    plan, budgets = drawn_plans(params)
    return _means(1.0 - least_failure(utility, params), budgets, plan)


def _means(accuracy: Array, tokens: Array, plan: plans.Plan) -> Metrics:
    return Metrics(*(np.asarray(np.mean(each)) for each in (accuracy, tokens, plan.count)))
