"""Proven bounds and best known schedules of makespans: the package's table, and how a row of it is computed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .. import tables
from .exact import solve
from .heuristics import HEURISTICS, run_heuristic
from .instance import Instance
from .library import get_graph, graph_names, home_platform
from .schedule import Schedule, in_us

__all__ = ["BOUNDS", "computed_row", "graph_rows", "stored_bound_us", "stored_row", "stored_rows", "stored_schedule"]

BOUNDS = "soc/bounds.csv"
_SMALL = 30  # tasks; graphs of the core up to this size are solved to the optimum
_SECONDS = (900.0, 60.0)  # of CP-SAT at most: for small graphs, and for larger ones


@functools.cache
def stored_rows() -> Mapping[tuple[str, str], Mapping[str, str]]:
    """{(graph, the platform's name): row} of the table."""
    return {(row["graph"], row["on"]): row for row in tables.package_rows(BOUNDS)}


def stored_row(graph: str, platform: str) -> Mapping[str, str] | None:
    """The row of a graph, as the option names it, on a platform; None if it is not there."""
    return stored_rows().get((graph, platform))


def stored_bound_us(instance: Instance) -> int:
    """us: the proven bound of the makespan of one of the package's graphs; 0 if it is not there."""
    row = stored_row(instance.graph.name, instance.platform.name)
    return int(row["bound_us"]) if row else 0


def stored_schedule(row: Mapping[str, str], instance: Instance) -> Schedule:
    """The best known schedule of the row's instance."""
    pairs = [part.split("@") for part in row["best_schedule"].split()]
    start, element = np.array([int(s) for s, _ in pairs]), np.array([int(q) for _, q in pairs])
    return Schedule(element, start, start + instance.run_time_us[np.arange(len(start)), element])


def computed_row(instance: Instance, progress: Callable[[int, int], None]) -> dict[str, int | float | str]:
    """Best schedule and bound of the makespan by CP-SAT.

    Args:
        instance: a graph on a platform.
        progress: called with how many of how many parts are done.

    Returns:
        The platform's name; the bound in us, the best makespan in us, whether that is proven optimal, the method,
        HEFT's makespan, and the best schedule as `start@element` of each task, starts in ticks.
    """
    schedules = {name: run_heuristic(name, instance) for name in HEURISTICS}
    progress(1, 2)
    tick_us = instance.platform.tick_us
    seconds = _SECONDS[len(instance) > _SMALL]
    hint = min(schedules.values(), key=lambda each: each.makespan_us)
    found = solve(instance, hint=hint, time_limit_s=seconds)
    progress(2, 2)
    best = min([found.schedule, *schedules.values()], key=lambda each: each.makespan_us)
    pairs = zip(best.start_us.tolist(), best.element.tolist(), strict=True)
    return {
        "on": instance.platform.name,
        "bound_us": in_us(found.bound_us, tick_us),
        "best_us": in_us(best.makespan_us, tick_us),
        "proven": "yes" if found.optimal else "no",
        "method": "CP-SAT, proven" if found.optimal else f"CP-SAT, stopped after {seconds:g} s",
        "heft_us": in_us(schedules["heft"].makespan_us, tick_us),
        "best_schedule": " ".join(f"{start}@{element}" for start, element in pairs),
    }


_YARDSTICKS = {"best_us": "best known (us)", "bound_us": "bound (us)", "proven": "proven"}


def graph_rows() -> Sequence[Mapping[str, object]]:
    """The library's graphs on their own platforms, a row each, for people."""
    graphs = {name: (get_graph(name), home_platform(name)) for name in graph_names()}
    return [
        {"graph": name, "tasks": len(graph), "edges": len(graph.edges), "platform": platform}
        | {title: (stored_row(name, platform) or {}).get(key, "") for key, title in _YARDSTICKS.items()}
        for name, (graph, platform) in graphs.items()
    ]
