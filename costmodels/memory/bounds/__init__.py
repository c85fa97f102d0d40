"""Proven lower bounds on the latency of every plan of the memory-mapping game, and optima of small programs.

`lower_bound` is a linear program (or its binary version), `best_plan` a scheduling model; `best_bound` takes what they
prove in a little time. Both are relaxations: every plan under the rules of `docs/memory_mapping.md` is a solution that
costs no more than the plan's latency. What they keep of the rules: which access is served from where, what fast memory
holds at every instruction, and that slow memory's bandwidth is sold once, within the window of each copy. What they
leave out: where in fast memory a buffer lies (`best_plan` keeps that), and that the rules place copies greedily.

OR-Tools is an optional dependency and imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..discrete import DiscreteProgram
from .exact import BestPlan, best_plan
from .relaxation import Bound, lower_bound

__all__ = ["BestPlan", "Bound", "best_bound", "best_plan", "lower_bound"]

EXACT_ACCESSES = 40  # programs up to here are searched exactly
EXACT_S = 60.0  # of search
BINARY_S = 10.0
OPTIMAL = 2e-6  # relative; a plan so close to a bound is optimal: the solvers' own tolerance


def best_bound(
    discrete: DiscreteProgram, latency: Callable[[np.ndarray], int], plans: Sequence[np.ndarray] = ()
) -> dict[str, int | float | str]:
    """The highest bound found.

    Args:
        discrete: the instance.
        latency: plays a plan, int32[R], and says its ticks.
        plans: known plans; if one of them costs what a bound says, that is the optimum.

    Returns:
        `bound_ticks`; `proven`, yes if a plan reaches it; `method`; `linear_ticks`, the linear relaxation's bound;
        `best_ticks`, the fastest plan met here, and that plan, `best_plan`, a digit an access.
    """
    linear = lower_bound(discrete, method="linear")
    value, method = linear.value_ticks, "linear relaxation"
    best, plan = discrete.all_slow_ticks, np.zeros(len(discrete.arrays.buffer), np.int32)
    for known in plans:
        if (ticks := latency(known)) < best:
            best, plan = ticks, known
    if best > value * (1 + OPTIMAL):
        binary = lower_bound(discrete, method="binary", time_limit_s=BINARY_S)
        if binary.value_ticks > value * (1 + OPTIMAL):
            value, method = binary.value_ticks, "binary relaxation"
    if len(discrete.arrays.buffer) <= EXACT_ACCESSES and best > value * (1 + OPTIMAL):
        found = best_plan(discrete, time_limit_s=EXACT_S)
        exact = np.asarray(found.plan, np.int32)
        if (ticks := latency(exact)) < best:
            best, plan = ticks, exact
        if found.value_ticks > value:
            value, method = float(found.value_ticks), "CP-SAT"
    proven = best <= value * (1 + OPTIMAL)
    return {
        "bound_ticks": best if proven else int(value),
        "proven": "yes" if proven else "no",
        "method": method,
        "linear_ticks": int(linear.value_ticks),
        "best_ticks": best,
        "best_plan": "".join(map(str, np.asarray(plan).tolist())),
    }
