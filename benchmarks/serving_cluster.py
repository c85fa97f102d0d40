"""Clusters of two pools costed a second, as a ratio to plain Python in the same run, and an exact search's seconds.

Plain Python is the tests' oracle, `tests/oracles/cluster_oracle.py`, from the same rates of pools; it adds up rate,
price and power, and says nothing of budgets.
"""

from __future__ import annotations

import time

import jax
import numpy as np
from timing import load_oracle, median_seconds, report

import dsegym
from dsegym.envs.core.problem import evaluate_batch

BATCH = 4096


def main() -> None:
    """Prints the table."""
    print("Clusters of prompt and token machines: rate, price, power")
    start = time.perf_counter()
    problem = dsegym.make_problem("dsegym/ServingCluster-v0")
    report("rates of all pools, once a workload", f"{time.perf_counter() - start:.1f} s")
    sampled = problem.space.sample(np.random.default_rng(0), BATCH)
    designs, params = jax.device_put((sampled, problem.params))
    seconds = median_seconds(lambda: jax.block_until_ready(evaluate_batch(problem.cost, designs, params)))
    report(f"clusters a second at batch {BATCH}", f"{BATCH / seconds:,.0f}", "1 million")

    oracle, cluster = load_oracle("cluster_oracle"), problem.params.cluster
    names = ("prompt", "token", "together")
    rates = {name: getattr(cluster, f"{name}_rate").tolist() for name in names}
    prices, powers = cluster.usd_per_h.tolist(), cluster.power_kw.tolist()
    plans = [((int(p), int(n)), (int(t), int(m) + 1)) for p, n, t, m in sampled]

    def plain() -> list[tuple[float, float, float]]:
        return [oracle.cluster(*plan, rates, prices, powers) for plan in plans]

    plain_s = median_seconds(plain, repeats=5, warm_up=1)
    report("times as many as plain Python", f"{plain_s / seconds:,.0f}")
    found = evaluate_batch(problem.cost, designs, params).metrics
    ours = np.stack([found.rate, found.cost_usd_h, found.power_kw], axis=1)
    report("equal plain Python's to float32", str(bool(np.allclose(ours, plain(), rtol=1e-5))), "True")

    _ = problem.bound.value  # compiles
    start = time.perf_counter()
    _ = dsegym.make_problem("dsegym/ServingCluster-v0", power=200).bound.value
    report(f"the best of {problem.space.size:,} clusters, exact", f"{time.perf_counter() - start:.2f} s", "under 1 s")


if __name__ == "__main__":
    main()
