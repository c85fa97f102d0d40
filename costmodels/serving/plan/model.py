"""What a plan is worth: GPU seconds for each request at the highest rate that the cluster serves within the targets.

    rate = together:  n_d x rate of an instance
           apart:     min(n_p x prefill's rate, n_d x decode's, min(n_p, n_d) x what a link sends of cache)
    objective = GPUs / rate

A plan without prefill instances (n_p = 0) serves both phases together on its decode instances. One that does not fit,
misses a target, takes more GPUs than there are, or serves less than the demanded rate is infeasible; its objective is
`PENALTY` times 1 plus the sum of what it misses, as shares: below every other such plan that misses more.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ...arrays import Array

__all__ = ["LEAST_RATE", "PENALTY", "Cluster", "Metrics", "Plan", "evaluate"]

LEAST_RATE = 1e-3  # requests/s: what serves less serves nobody
PENALTY = 1e6  # GPU s, above any feasible plan's: 512 GPUs at the least rate take 512,000


class Cluster(NamedTuple):
    """Rates of an instance and limits of the cluster; float32."""

    prefill_rate: Array  # [T, P], requests/s
    prefill_miss: Array
    decode_rate: Array  # [T, P, M]
    decode_miss: Array
    together_rate: Array  # [T, P, M]
    together_miss: Array
    transfer_rate: Array  # requests/s of one instance's link
    degrees: Array  # [T], tensor parallelism
    stages: Array  # [P]
    gpus: Array  # that there are
    demanded_rate: Array  # requests/s; 0 for none
    fewest_prefill: Array | int = 0  # instances that the first value of a design's stands for; 0: maybe together


class Plan(NamedTuple):
    """Places in the tables, and numbers of instances; int32."""

    prefill_degree: Array
    prefill_stages: Array
    prefill_instances: Array
    decode_degree: Array
    decode_stages: Array
    decode_instances: Array
    batch: Array


class Metrics(NamedTuple):
    """Float32 scalars."""

    gpu_s_per_request: Array
    rate: Array  # requests/s
    gpus: Array
    prefill_load: Array  # of the rate that the prefill instances could serve; 1 where they bound it, 0 together
    decode_load: Array


def evaluate(plan: Plan, cluster: Cluster) -> tuple[Metrics, jax.Array]:
    """Metrics, and what is missed: 0 where the plan is feasible."""
    table = Cluster(*map(jnp.asarray, cluster))
    n_p, n_d = plan.prefill_instances.astype(jnp.float32), plan.decode_instances.astype(jnp.float32)
    together = plan.prefill_instances == 0
    prefill_place = plan.prefill_degree, plan.prefill_stages
    decode_place = plan.decode_degree, plan.decode_stages, plan.batch
    prefill, decode = n_p * table.prefill_rate[prefill_place], n_d * table.decode_rate[decode_place]
    apart = jnp.minimum(jnp.minimum(prefill, decode), jnp.minimum(n_p, n_d) * table.transfer_rate)
    rate = jnp.where(together, n_d * table.together_rate[decode_place], apart)
    split = table.prefill_miss[prefill_place] + table.decode_miss[decode_place]
    missed = jnp.where(together, table.together_miss[decode_place], split)
    gpus = n_p * table.degrees[plan.prefill_degree] * table.stages[plan.prefill_stages]
    gpus = gpus + n_d * table.degrees[plan.decode_degree] * table.stages[plan.decode_stages]
    missed = missed + jnp.maximum(gpus - table.gpus, 0.0) / table.gpus
    demanded = jnp.maximum(table.demanded_rate, LEAST_RATE)
    missed = missed + jnp.maximum(demanded - rate, 0.0) / demanded
    served = jnp.maximum(rate, LEAST_RATE)
    metrics = Metrics(
        gpu_s_per_request=gpus / served,
        rate=rate,
        gpus=gpus,
        prefill_load=jnp.where(together, 0.0, rate / jnp.maximum(prefill, LEAST_RATE)),
        decode_load=jnp.where(together, 1.0, rate / jnp.maximum(decode, LEAST_RATE)),
    )
    return metrics, missed
