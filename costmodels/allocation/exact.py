"""Exact packing by constraint programming: OR-Tools' CP-SAT, which is imported when it is asked for.

Each buffer is a rectangle whose place in time is fixed; no two overlap (NoOverlap2D), and the sizes live at any time
sum to at most the height (a redundant Cumulative).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import DsegymError
from ..solver import Limits, cp_sat_incumbents
from .bounds import max_load
from .heuristics import RULES, rule_offsets
from .instance import AllocationInstance

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

__all__ = ["Packing", "improved_packings", "minimise_peak", "pack_within"]


class Packing(NamedTuple):
    """What the solver found."""

    status: str  # optimal (for a given capacity: feasible), infeasible, feasible (not proven optimal) or unknown
    peak: int | None  # bytes; None where no packing was found
    bound: int  # bytes: no packing has a lower peak
    offsets: np.ndarray | None  # int64[n], bytes


def pack_within(
    instance: AllocationInstance, capacity: int | None = None, *, time_limit_s: float = 10.0, workers: int = 1
) -> Packing:
    """A packing whose peak is at most the capacity (bytes; the instance's own when left out), if one is found in time.

    Raises:
        DsegymError: OR-Tools is not installed.
    """
    height = (instance.capacity if capacity is None else capacity) // instance.unit
    load = max_load(instance)
    if height * instance.unit < load:
        return Packing("infeasible", None, load, None)
    return _solve(instance, height, None, time_limit_s, workers)


def minimise_peak(instance: AllocationInstance, *, time_limit_s: float = 10.0, workers: int = 1) -> Packing:
    """The packing with the least peak that is found in time; the best heuristic's is where the search starts.

    Raises:
        DsegymError: OR-Tools is not installed.
    """
    known = _best_of_rules(instance)
    peak, load = _peak(instance, known), max_load(instance)
    if peak == load:
        return Packing("optimal", load, load, known)
    found = _solve(instance, peak // instance.unit, known // instance.unit, time_limit_s, workers)
    return found if found.peak is not None else Packing("feasible", peak, found.bound, known)


def improved_packings(instance: AllocationInstance, limits: Limits) -> Generator[np.ndarray, None, None]:
    """Packings, each of a lower peak than the last, int64[n] in bytes: the best heuristic's, then CP-SAT's as it finds
    them. It ends with the proof that the last is the best, or at a limit.

    Raises:
        DsegymError: OR-Tools is not installed.
    """
    known = _best_of_rules(instance)
    yield known
    peak, unit = _peak(instance, known), instance.unit
    if peak == max_load(instance):
        return
    sat, offsets = _model(instance, peak // unit, known // unit)
    for found in cp_sat_incumbents(
        sat, lambda value: np.array([value(offset) for offset in offsets], np.int64) * unit, limits
    ):
        if _peak(instance, found) < peak:
            peak = _peak(instance, found)
            yield found


def _peak(instance: AllocationInstance, offsets: np.ndarray) -> int:
    return int((offsets + instance.sizes).max())


def _best_of_rules(instance: AllocationInstance) -> np.ndarray:
    """int64[n], bytes."""
    return min((rule_offsets(instance, rule) for rule in RULES), key=lambda offsets: _peak(instance, offsets))


def _model(
    instance: AllocationInstance, height: int, hint: np.ndarray | None
) -> tuple[cp_model.CpModel, list[cp_model.IntVar]]:
    """The model and its offsets: feasibility within `height` units, or, with a hint (int64[n], units), the least peak
    up to it.
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        raise DsegymError("The exact packer needs OR-Tools: python -m pip install ortools.") from None
    sat = cp_model.CpModel()
    lower, upper, size = (array.tolist() for array in instance.arrays)
    count = len(instance)
    offsets = [sat.new_int_var(0, height - size[b], f"offset_{b}") for b in range(count)]
    addresses = [sat.new_fixed_size_interval_var(offsets[b], size[b], f"address_{b}") for b in range(count)]
    lifetimes = [sat.new_fixed_size_interval_var(lower[b], upper[b] - lower[b], f"life_{b}") for b in range(count)]
    sat.add_no_overlap_2d(lifetimes, addresses)
    if hint is None:
        sat.add_cumulative(lifetimes, size, height)
    else:
        peak = sat.new_int_var(max_load(instance) // instance.unit, height, "peak")
        for b in range(count):
            sat.add(peak >= offsets[b] + size[b])
            sat.add_hint(offsets[b], int(hint[b]))
        sat.add_cumulative(lifetimes, size, peak)
        sat.minimize(peak)
    return sat, offsets


def _solve(
    instance: AllocationInstance, height: int, hint: np.ndarray | None, time_limit_s: float, workers: int
) -> Packing:
    """What CP-SAT finds of `_model`."""
    sat, offsets = _model(instance, height, hint)
    from ortools.sat.python import cp_model

    unit, load = instance.unit, max_load(instance)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit_s
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = 0
    status = solver.status_name(solver.solve(sat)).lower()
    if status not in ("optimal", "feasible"):
        return Packing("infeasible" if status == "infeasible" else "unknown", None, load, None)
    found = np.array([solver.value(offset) for offset in offsets], np.int64) * unit
    bound = load if hint is None else max(load, round(solver.best_objective_bound) * unit)
    return Packing(status, _peak(instance, found), bound, found)
