"""Plans of training costed a second, and the seconds that every plan of 175 billion parameters on 1,024 GPUs takes."""

from __future__ import annotations

import time

import jax
import numpy as np
from timing import median_seconds, report

import dsegym
from dsegym.envs.core.problem import evaluate_batch

BATCH = 4096


def main() -> None:
    """Prints the table."""
    print("Plans of training: seconds, memory, goodput")
    problem = dsegym.make_problem("dsegym/TrainingPlan-v0")
    designs, params = jax.device_put((problem.space.sample(np.random.default_rng(0), BATCH), problem.params))
    seconds = median_seconds(lambda: jax.block_until_ready(evaluate_batch(problem.cost, designs, params)), repeats=100)
    report(f"plans a second at batch {BATCH}", f"{BATCH / seconds:,.0f}", "1,000,000")
    _ = problem.bound.value  # compiles
    start = time.perf_counter()
    _ = dsegym.make_problem("dsegym/TrainingPlan-v0", tokens=299).bound.value
    report("every plan of GPT-175B on 1,024 GPUs", f"{time.perf_counter() - start:.2f} s", "below 1 s")


if __name__ == "__main__":
    main()
