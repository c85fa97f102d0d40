"""Proxies beside the models that they stand for: designs a second of both in one run, and error by training data."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from timing import paired_seconds, report

import dsegym
from dsegym.agents.proxies.base import MODELS, Data, data_of, load_model
from dsegym.envs.core.problem import Problem
from dsegym.experiments.proxies import quality

BATCH, TESTED = 4096, 4000
INSTANCES: Mapping[str, Mapping[str, object]] = {
    "AcceleratorSizing": {"workload": "resnet18", "area_budget": "small"},
    "MemoryAllocation": {"instance": "perfect_30_s2"},
    "AcceleratorMapping": {"workload": "alexnet"},
}
GROWING = (1_000, 10_000, 100_000)  # designs that a proxy of accelerator sizing learns from


def _uniform(problem: Problem, count: int, seed: int) -> Data:
    designs = problem.space.sample(np.random.default_rng(seed), count)
    return data_of(designs, problem.evaluate(designs))


def main() -> None:
    """Designs a second of each model and proxy, then errors on uniform designs."""
    print("Proxies: designs a second at batch 4096, beside the model's own")
    for family, options in INSTANCES.items():
        problem = dsegym.make_problem(f"dsegym/{family}-v0", **options)
        problem.warm_up()
        designs, known = problem.space.sample(np.random.default_rng(0), BATCH), _uniform(problem, 5000, 1)
        for name in MODELS:
            proxy = load_model(name).fit(problem.space, known, 0)
            own, said, ratio = paired_seconds(
                lambda problem=problem, designs=designs: problem.evaluate(designs),
                lambda proxy=proxy, designs=designs: proxy.predict(designs),
                pairs=7,
            )
            rates = f"{BATCH / own:,.0f}; {BATCH / said:,.0f}"
            report(f"{family}: model; {name} of 5,000 designs", f"{rates} (x {1 / ratio:.3g})")
    problem = dsegym.make_problem("dsegym/AcceleratorSizing-v0", **INSTANCES["AcceleratorSizing"])
    tested = _uniform(problem, TESTED, 2)
    print("Trees of accelerator sizing by uniform designs that they learn from")
    for count in GROWING:
        start = time.perf_counter()
        proxy = load_model("trees").fit(problem.space, _uniform(problem, count, 3), 0)
        seconds = time.perf_counter() - start
        found = quality(proxy.predict(tested.designs), tested)
        assert found.rmse_percent is not None
        report(
            f"{count:,} designs: relative RMSE; Spearman; fit",
            f"{found.rmse_percent:.2f} %; {found.spearman:.4f}; {seconds:.1f} s",
        )


if __name__ == "__main__":
    main()
