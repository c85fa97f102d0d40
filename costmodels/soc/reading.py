"""What the readers of graph files share: checks that name the file, and times of any unit in whole ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

from ..errors import InvalidWorkloadError
from ..files import decimal_of, fail, shortened, shown
from .graph import Task, TaskGraph, task_graph
from .instance import MAX_TOTAL_US
from .platform import Cluster, Platform

__all__ = [
    "EQUAL_ELEMENTS",
    "check_limit",
    "check_names",
    "checked",
    "equal_elements",
    "tick_of",
    "time_of",
    "whole_of",
]

EQUAL_ELEMENTS = 4  # of the synthetic platform of a graph that brings run times and no elements
_FINEST = -6  # the exponent of the finest tick


def checked(path: Path, make: Callable[[], TaskGraph]) -> TaskGraph:
    """What `make` makes; its errors name the file."""
    try:
        return make()
    except InvalidWorkloadError as error:
        raise InvalidWorkloadError(f"{shown(path)}: {error}") from None


def check_limit(path: Path, count: int, limit: int, what: str) -> None:
    """Raises where there are more than the limit."""
    if count > limit:
        fail(path, f"{count:,} {what}; at most {limit:,} are supported")


def check_names(path: Path, where: str, names: Sequence[str]) -> None:
    """Raises unless there are tasks, each with a name of its own."""
    if not names:
        fail(path, f"{where} is empty; a task graph needs at least one task")
    seen: set[str] = set()
    for k, name in enumerate(names):
        if name in seen:
            fail(path, f"{where}[{k}]: two tasks are named '{shortened(name)}'; names are unique")
        seen.add(name)


def whole_of(path: Path, line: int, word: str) -> int:
    """The whole number that a word of a line is."""
    value = decimal_of(word)
    if value is None or value != value.to_integral_value() or abs(value) >= 10**18:
        fail(path, f"line {line}: '{shortened(word, 20)}' is not a whole number of up to 18 digits")
    return int(value)


def time_of(path: Path, where: str, word: str) -> Fraction:
    """The time, a number that is not negative, that a word is."""
    value = decimal_of(word)
    if value is None or not 0 <= value <= 10**15:
        fail(path, f"{where} is '{shortened(word, 20)}'; a time is a number from 0 to 1e15")
    return Fraction(value)


def tick_of(times: Iterable[Fraction], longest: Fraction, count: int, finest: int = _FINEST) -> Fraction:
    """A power of ten: 1, or what holds all times exactly, unless the longest conceivable schedule then leaves 32 bits.

    Args:
        times: that are to be whole ticks.
        longest: of a schedule, in the unit of the times; and
        count: of times, each of which may be rounded up.
        finest: exponent of the finest tick.
    """
    tick, whole = Fraction(1), math.lcm(1, *{time.denominator for time in times})
    for _ in range(-finest):
        if (1 / tick) % whole == 0:
            break
        tick /= 10
    while longest / tick * 2 + count > MAX_TOTAL_US:
        tick *= 10
    return tick


def equal_elements(
    path: Path, elements: int, times: dict[str, Fraction], edges: Sequence[tuple[int, int, Fraction]], source: str
) -> tuple[TaskGraph, Platform]:
    """A graph whose tasks take the same time on each of some equal elements.

    Args:
        path: of the file.
        elements: how many.
        times: us, of each task.
        edges: (source, target, us between two elements).
        source: of the graph.
    """
    delays = [delay for _, _, delay in edges]
    tick = tick_of((*times.values(), *delays), sum(times.values()) + sum(delays, Fraction(0)), len(times) + len(edges))
    tasks = [Task(name, name) for name in times]
    volumes = [(first, second, math.ceil(delay / tick)) for first, second, delay in edges]
    graph = checked(path, lambda: task_graph(path.stem, tasks, volumes, source))
    platform = Platform(
        path.stem,
        (Cluster("M", elements),),
        {name: {"M": math.ceil(time / tick)} for name, time in times.items()},
        default_bandwidth=1,
        self_bandwidth=2 * MAX_TOTAL_US,
        source=f"synthetic: {elements} equal element{'s' if elements > 1 else ''}",
        tick_us=tick,
    )
    return graph, platform
