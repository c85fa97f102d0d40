"""The best bound provable for an instance in a little time: the linear relaxation, the binary one, exact search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .bounds import exact, lower_bound
from .discrete import DiscreteProgram

__all__ = ["best_bound"]

EXACT_ACCESSES = 40  # programs up to here are searched exactly
EXACT_S = 60.0  # of search
BINARY_S = 10.0
OPTIMAL = 2e-6  # relative; a plan so close to a bound is optimal: the solvers' own tolerance


def best_bound(
    discrete: DiscreteProgram, latency: Callable[[np.ndarray], int], plans: Sequence[np.ndarray] = ()
) -> dict[str, object]:
    """The highest bound found.

    Args:
        discrete: the instance.
        latency: plays a plan, int32[R], and says its ticks.
        plans: known plans; if one of them costs what a bound says, that is the optimum.

    Returns:
        `bound_ticks`; `proven`, yes if a plan reaches it; `method`; `linear_ticks`, the linear relaxation's bound;
        `best_ticks`, the fastest plan met here.
    """
    linear = lower_bound(discrete, method="linear")
    value, method = linear.value_ticks, "linear relaxation"
    best = min([latency(plan) for plan in plans], default=discrete.all_slow_ticks)
    if best > value * (1 + OPTIMAL):
        binary = lower_bound(discrete, method="binary", time_limit_s=BINARY_S)
        if binary.value_ticks > value * (1 + OPTIMAL):
            value, method = binary.value_ticks, "binary relaxation"
    if len(discrete.arrays.buffer) <= EXACT_ACCESSES and best > value * (1 + OPTIMAL):
        found = exact(discrete, time_limit_s=EXACT_S)
        best = min(best, latency(np.asarray(found.plan, np.int32)))
        if found.value_ticks > value:
            value, method = float(found.value_ticks), "CP-SAT"
    proven = best <= value * (1 + OPTIMAL)
    return {
        "bound_ticks": best if proven else int(value),
        "proven": "yes" if proven else "no",
        "method": method,
        "linear_ticks": int(linear.value_ticks),
        "best_ticks": best,
    }
