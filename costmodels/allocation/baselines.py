"""Designs (a rank for each buffer) of known packings: the one-pass rules' and CP-SAT's. n buffers.

A packing becomes a design by ascending address. First fit then has no higher peak than the packing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence

import numpy as np

from .. import solver
from . import exact, heuristics, packing_search
from .instance import AllocationInstance

__all__ = ["CP_SAT", "design_makers", "offsets_of_ranks", "solvers"]

CP_SAT = "cp_sat"
CP_SAT_SECONDS = 10.0


def offsets_of_ranks(instance: AllocationInstance, ranks: Sequence[int] | np.ndarray, placement: str) -> np.ndarray:
    """int64[n], bytes: where a design places the buffers; any whole numbers are ranks."""
    ties = heuristics.ranks_of_order(heuristics.rule_order(instance, "size_descending_first_fit")).tolist()
    return heuristics.place(instance, sorted(range(len(instance)), key=lambda b: (ranks[b], ties[b])), placement)


def _rule_design(instance: AllocationInstance, rule: str, placement: str) -> tuple[int, ...]:
    """A rule's order; where the rule places otherwise than the problem, its packing's, from below."""
    if heuristics.RULES[rule].placement == placement:
        ranks = heuristics.ranks_of_order(heuristics.rule_order(instance, rule))
    else:
        ranks = heuristics.design_of_offsets(heuristics.rule_offsets(instance, rule))
    return tuple(ranks.tolist())


def _solver_design(instance: AllocationInstance) -> tuple[int, ...]:
    """The better of what CP-SAT packs within the capacity and the least peak that it finds."""
    found = exact.pack_within(instance, time_limit_s=CP_SAT_SECONDS)
    if found.offsets is None:
        found = exact.minimise_peak(instance, time_limit_s=CP_SAT_SECONDS)
    return tuple(heuristics.design_of_offsets(found.offsets).tolist())


def design_makers(instance: AllocationInstance, placement: str) -> Mapping[str, Callable[[], Sequence[int]]]:
    """{name: makes its design, int[n]}: the one-pass rules, and CP-SAT's packing where OR-Tools is installed."""
    makers = {rule: functools.partial(_rule_design, instance, rule, placement) for rule in heuristics.RULES}
    return makers | ({CP_SAT: functools.partial(_solver_design, instance)} if solver.is_available() else {})


def solvers(instance: AllocationInstance, placement: str) -> Mapping[str, solver.Solver]:
    """Those that prove the least peak. With best fit a design may pack higher than what they find: none then."""
    if placement != "first_fit":
        return {}

    def designs(
        improved: Callable[[AllocationInstance, solver.Limits], Generator[np.ndarray, None, None]],
        limits: solver.Limits,
    ) -> Generator[Sequence[int], None, None]:
        for offsets in improved(instance, limits):
            yield heuristics.design_of_offsets(offsets).tolist()

    every = {"packing_search": packing_search.improved_packings, CP_SAT: exact.improved_packings}
    return {name: functools.partial(designs, improved) for name, improved in every.items()}
