"""What plans of dsegym/SubQuestionBudget-v0 are worth to who knows all that they hide, or who plans nothing.

E plans, M sub-questions at most.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.breakdown import Breakdown
from ...costmodels.reasoning import bbam, plans
from ...costmodels.reasoning.schedulers import MOST
from ..core.problem import Problem
from .sub_question_budget_policy import SPACE

__all__ = ["best_failure", "break_down", "drawn_plans", "least_tokens", "scores", "unplanned"]

VANILLA = 3  # tokens without plan and budget, in budgets
_LEAST_SHARE = 10  # the least tokens of a sub-question under `sum` are an even share over this


def scores(accuracy: Any, tokens: Any) -> tuple[jax.Array, jax.Array]:
    """E3, 1 / kilotoken, and cost-of-pass, tokens, where an accuracy below 0 or no tokens do no harm."""
    positive = jnp.maximum(accuracy, 0.0)
    return positive**2 / (jnp.maximum(tokens, 1.0) / 1000.0), tokens / jnp.maximum(positive, 1e-6)


def least_tokens(utility: str, budget_tokens: Any, count: Any) -> Any:
    """int32[...]: what each of `count` sub-questions gets whatever the policy says; under `sum` alone, where a
    sub-question without tokens would be infinitely uncertain.
    """
    least = jnp.maximum(budget_tokens // (_LEAST_SHARE * count), 1)
    return least if utility == "sum" else jnp.zeros_like(least)


@functools.cache
def _jitted_plans() -> Any:
    @jax.jit
    def drawn(params: Any) -> tuple[plans.Plan, Any, Any]:
        keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 0))(params.seeds)
        words = jax.vmap(lambda key: jax.random.bits(key, (), jnp.uint32))(keys)
        plan = jax.vmap(plans.draw, in_axes=(0, None))(words, params.world)
        budgets = jnp.asarray(params.budgets_tokens)[plan.level]
        return plan, budgets, jax.vmap(plans.random_shares)(words, plan.count)

    return drawn


def drawn_plans(params: Any) -> tuple[plans.Plan, np.ndarray, np.ndarray]:
    """The plans of an instance's seeds with all that they hide, their budgets in tokens, int32[E], and random shares of
    these, float32[E, M]; NumPy, for yardsticks and tests. No policy sees them.
    """
    return jax.tree.map(np.asarray, _jitted_plans()(params))


@functools.cache
def _jitted_utility(utility: str) -> Any:
    return jax.jit(
        jax.vmap(lambda b, b0, beta, u: bbam.plan_utility(utility, b, scale_tokens=b0, ease=beta, aleatoric=u))
    )


def _utilities(utility: str, tokens: np.ndarray, plan: plans.Plan) -> np.ndarray:
    """float32[E]: of allocations, float[E, M] tokens."""
    return np.asarray(_jitted_utility(utility)(tokens, plan.scale_tokens, plan.ease, plan.aleatoric))


def best_failure(utility: str, params: Any) -> np.ndarray:
    """float32[E]: the least failure of each plan of an instance's seeds, all of it known."""
    plan, budgets, _ = drawn_plans(params)
    tokens = bbam.best_allocation(utility, plan.scale_tokens, plan.ease, plan.aleatoric, budgets.astype(np.float32))
    return 1.0 - _utilities(utility, np.asarray(tokens), plan)


def unplanned(utility: str, params: Any) -> Mapping[str, tuple[float, float]]:
    """{name: (accuracy, tokens)} of what needs no design: the optimum, a budget that nobody divides, and vanilla.

    Global budget: the tokens fall to sub-questions at random. Vanilla: three budgets, which settle all that can be.
    """
    plan, budgets, shares = drawn_plans(params)
    here = np.arange(MOST) < plan.count[:, None]
    tokens = np.floor(shares * budgets[:, None])
    if utility == "sum":
        least = np.asarray(least_tokens(utility, budgets, plan.count))[:, None]
        tokens = np.where(here, least + np.floor(shares * (budgets[:, None] - least * plan.count[:, None])), 0.0)
    settled = np.where(here, 1.0 - plan.aleatoric, 1.0)
    vanilla = settled.prod(1) if utility == "all" else np.where(here, settled, 0.0).sum(1) / plan.count
    return {
        "optimum": (1.0 - float(best_failure(utility, params).mean()), float(budgets.mean())),
        "global budget": (float(_utilities(utility, tokens, plan).mean()), float(tokens.sum(1).mean())),
        "vanilla": (float(vanilla.mean()), VANILLA * float(budgets.mean())),
    }


def break_down(problem: Problem, values: Mapping[str, Any]) -> Breakdown:
    """A design's costs beside the reference's and those of what needs no design, on both sets of plans."""
    designs = np.stack([SPACE.encode(values), np.array(problem.reference.design, np.int32)])
    utility, rows, totals = problem.options["utility"], [], {}
    sets = (
        ("search", problem.params, problem.evaluate),
        ("held-out", problem.held_out_params, problem.evaluate_held_out),
    )
    for name, params, evaluate in sets:
        found = evaluate(designs).metrics
        who = {
            key: (float(found.accuracy[place]), float(found.tokens[place]))
            for place, key in enumerate(("design", problem.reference.name))
        }
        for key, (accuracy, tokens) in {**who, **unplanned(utility, params)}.items():
            e3, cost_of_pass = (float(each) for each in scores(accuracy, tokens))
            row = {
                "plans": name,
                "policy": key,
                "accuracy": accuracy,
                "tokens": tokens,
                "e3_per_kilotoken": e3,
                "cost_of_pass_tokens": cost_of_pass,
            }
            rows.append(row)
            if key == "design":
                totals |= {f"{name}_{each}": row[each] for each in ("accuracy", "tokens", "e3_per_kilotoken")}
    return Breakdown(totals, rows, problem.notes)
