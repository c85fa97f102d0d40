"""What a cluster of two pools serves, costs and draws.

    apart:     least of the prompt pool's rate and the token pool's
    together:  the rate of the token pool's machines, each of which serves both phases (no prompt machines)

The goal is an entry of `GOALS`: time between requests at the highest rate, money, or power of the provisioned GPUs,
each within a budget of money and one of power and at a demanded rate. A cluster that misses a limit is infeasible; its
objective is `PENALTY` times 1 plus what it misses, as shares: above every feasible one's.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ...arrays import Array

__all__ = ["GOALS", "PENALTY", "Cluster", "Limits", "Metrics", "Plan", "evaluate"]

GOALS = ("throughput", "cost", "power")
PENALTY = 1e7  # above 200 machines' $ an hour and kW, and the ms between requests at the least rate
LEAST_RATE = 1e-3  # requests/s: what serves less serves nobody
NO_LIMIT = 1e9


class Plan(NamedTuple):
    """Types as places in the tables, and numbers of machines; int32."""

    prompt_type: Array
    prompt_machines: Array
    token_type: Array
    token_machines: Array


class Cluster(NamedTuple):
    """Rates of pools by type and number of machines, and what a machine takes; float32."""

    prompt_rate: Array  # [T, N], requests/s
    token_rate: Array
    together_rate: Array
    usd_per_h: Array  # [T]
    power_kw: Array


class Limits(NamedTuple):
    """What is asked for; scalars."""

    goal: Array  # int32, place in `GOALS`
    usd_per_h: Array  # float32; `NO_LIMIT` for none
    power_kw: Array
    rate: Array  # requests/s that must be served; 0 for none


class Metrics(NamedTuple):
    """Float32 scalars."""

    rate: Array  # requests/s
    cost_usd_h: Array
    power_kw: Array
    machines: Array
    prompt_load: Array  # the rate over what the prompt pool could serve; 0 together
    token_load: Array


def evaluate(plan: Plan, cluster: Cluster, limits: Limits) -> tuple[Metrics, jax.Array, jax.Array]:
    """Metrics, the goal's value, and what is missed: 0 where the cluster is feasible."""
    table = Cluster(*map(jnp.asarray, cluster))
    together = plan.prompt_machines == 0
    prompt = table.prompt_rate[plan.prompt_type, plan.prompt_machines]
    token = table.token_rate[plan.token_type, plan.token_machines]
    both = table.together_rate[plan.token_type, plan.token_machines]
    rate = jnp.where(together, both, jnp.minimum(prompt, token))
    n_p, n_t = plan.prompt_machines.astype(jnp.float32), plan.token_machines.astype(jnp.float32)
    cost = n_p * table.usd_per_h[plan.prompt_type] + n_t * table.usd_per_h[plan.token_type]
    power = n_p * table.power_kw[plan.prompt_type] + n_t * table.power_kw[plan.token_type]
    demanded = jnp.maximum(limits.rate, LEAST_RATE)
    missed = jnp.maximum(cost - limits.usd_per_h, 0.0) / limits.usd_per_h
    missed = missed + jnp.maximum(power - limits.power_kw, 0.0) / limits.power_kw
    missed = missed + jnp.maximum(demanded - rate, 0.0) / demanded
    served = jnp.maximum(rate, LEAST_RATE)
    metrics = Metrics(
        rate=rate,
        cost_usd_h=cost,
        power_kw=power,
        machines=n_p + n_t,
        prompt_load=jnp.where(together, 0.0, rate / jnp.maximum(prompt, LEAST_RATE)),
        token_load=jnp.where(together, 1.0, rate / jnp.maximum(token, LEAST_RATE)),
    )
    value = jnp.stack([1e3 / served, cost, power])[jnp.asarray(limits.goal)]
    return metrics, value, missed
