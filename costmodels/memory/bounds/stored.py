"""The table of bounds and of the reference's plans, `bounds.csv`, and how a row of it is computed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from ...tables import package_rows
from ..discrete import DiscreteProgram
from ..game import latency_ticks
from ..heuristics import HEURISTICS, heuristic_plan
from . import best_bound

__all__ = ["INSTANCE", "TABLE", "bound_row", "stored_rows"]

TABLE = "memory/bounds.csv"
INSTANCE = ("program", "platform", "capacity", "bandwidth")  # columns that tell rows apart


@functools.cache
def stored_rows() -> Mapping[tuple[str, ...], Mapping[str, str]]:
    """{texts of INSTANCE: row}."""
    return {tuple(row[name] for name in INSTANCE): row for row in package_rows(TABLE)}


def bound_row(discrete: DiscreteProgram, progress: Callable[[int, int], None]) -> dict[str, int | float | str]:
    """The reference and the bound of one instance.

    Returns:
        The bound in ticks, whether a plan reaches it, and its method; the linear relaxation's bound; the fastest plan
        of the heuristics and the exact solver; the latency with everything slow; the reference's latency and its plan,
        a digit an access.
    """
    plans = {name: heuristic_plan(name, discrete) for name in HEURISTICS}
    progress(1, 2)
    found = best_bound(discrete, functools.partial(latency_ticks, discrete), tuple(plans.values()))
    progress(2, 2)
    reference = plans["msa_like"]
    return found | {
        "all_slow_ticks": discrete.all_slow_ticks,
        "reference_ticks": latency_ticks(discrete, reference),
        "reference_plan": "".join(map(str, reference)),
    }
