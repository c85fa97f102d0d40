"""What a cheap agent's trial takes of memory: bytes a sample that stay over 100,000 samples, records included."""

from __future__ import annotations

import contextlib
import gc

import psutil

import dsegym
from dsegym.agents.referee import Referee
from dsegym.agents.registry import make_agent
from dsegym.costmodels.errors import BudgetExhausted

AGENTS = ("random_search", "genetic_algorithm")
WARM_UP, SAMPLES = 5_000, 100_000


def resident_bytes() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def search(name: str, samples: int) -> Referee:
    referee = Referee(dsegym.make_problem("dsegym/AcceleratorSizing-v0", workload="alexnet"), samples)
    with contextlib.suppress(BudgetExhausted):
        make_agent(name).search(referee, 0)
    return referee


def main() -> None:
    for name in AGENTS:
        search(name, WARM_UP)  # compiles, and imports
        before = resident_bytes()
        referee = search(name, SAMPLES)
        spent = len(referee.samples.objective)
        grown = resident_bytes() - before
        print(f"{name}: {grown / spent:,.0f} bytes a sample over {spent:,} samples ({grown / 2**20:.1f} MiB)")


if __name__ == "__main__":
    main()
