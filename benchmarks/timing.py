"""How the benchmarks measure: repeated runs after a warm-up, the median to quote, ratios within one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

__all__ = ["median_seconds", "report"]


def median_seconds(function: Callable[[], object], *, repeats: int = 30, warm_up: int = 2) -> float:
    """Median wall seconds of one call."""
    for _ in range(warm_up):
        function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def report(name: str, value: str, goal: str = "") -> None:
    """One line: what, how much, and what it was to be."""
    print(f"  {name:<66} {value:>24}   {f'(goal: {goal})' if goal else ''}".rstrip(), flush=True)
