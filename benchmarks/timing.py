"""How the benchmarks measure: repeated runs after a warm-up, the median to quote, ratios within one run."""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

__all__ = ["load_oracle", "median_seconds", "paired_seconds", "report"]


ORACLES = Path(__file__).resolve().parents[1] / "tests" / "oracles"


def load_oracle(name: str) -> ModuleType:
    """A plain Python model of the tests, `memory_oracle` say: the peer that ratios are to."""
    specification = importlib.util.spec_from_file_location(name, ORACLES / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # where its dataclasses look themselves up
    specification.loader.exec_module(module)
    return module


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


def paired_seconds(first: Callable[[], object], second: Callable[[], object], *, pairs: int = 15) -> tuple[float, ...]:
    """Median seconds of each of two functions, and the median ratio of second to first, called in turn.

    Taking turns, both meet the same disturbances, so the ratio is steadier than the two figures.
    """
    first()
    second()
    found = [
        (median_seconds(first, repeats=1, warm_up=0), median_seconds(second, repeats=1, warm_up=0))
        for _ in range(pairs)
    ]
    medians = (statistics.median(column) for column in zip(*found, strict=True))
    return (*medians, statistics.median(b / a for a, b in found))


def report(name: str, value: str, goal: str = "") -> None:
    """One line: what, how much, and what it was to be."""
    print(f"  {name:<66} {value:>24}   {f'(goal: {goal})' if goal else ''}".rstrip(), flush=True)
