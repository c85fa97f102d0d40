"""Placements over memory tiers costed a second, as a ratio to plain Python in the same run, and a search's seconds.

Plain Python is the tests' oracle: `tests/oracles/offload_oracle.py`, one step's tasks played event by event.
"""

from __future__ import annotations

import time

import jax
import numpy as np
from timing import load_oracle, median_seconds, report

import dsegym
from dsegym.costmodels.transformers.architectures import parameters
from dsegym.envs.core.problem import evaluate_batch

BATCH = 4096
MODEL = "GPT-1.7B"


def main() -> None:
    """Prints the table."""
    print("Placements over memory tiers: a step's overlapped tasks, bytes of each tier")
    problem = dsegym.make_problem("dsegym/MemoryTiers-v0", model=MODEL)
    sampled = problem.space.sample(np.random.default_rng(0), BATCH)
    designs, params = jax.device_put((sampled, problem.params))
    seconds = median_seconds(lambda: jax.block_until_ready(evaluate_batch(problem.cost, designs, params)), repeats=20)
    report(f"placements of {MODEL} a second at batch {BATCH}", f"{BATCH / seconds:,.0f}")

    oracle = load_oracle("offload_oracle")
    work, server = problem.params.work, problem.params.server
    of_gpt, rates = oracle.plain(work, server, parameters(jax.tree.map(float, work.model)))
    some = [problem.decode(design) for design in sampled[:20]]
    plain = median_seconds(
        lambda: [oracle.step_seconds(each, of_gpt, rates) for each in some], repeats=3, warm_up=1
    ) / len(some)
    report("times as many as plain Python", f"{plain * BATCH / seconds:,.0f}")

    _ = problem.bound.value  # compiles
    start = time.perf_counter()
    _ = dsegym.make_problem("dsegym/MemoryTiers-v0", model=MODEL, updates=2.1).bound.value
    report(f"the best placement of {MODEL}, proven", f"{time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
