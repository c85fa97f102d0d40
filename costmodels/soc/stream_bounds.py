"""Bounds of a stream's objectives over traces: no scheduler, however much it knows beforehand, does better.

T kinds of jobs on one platform, N tasks of a job, P elements.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import bounds
from .instance import Instance
from .model import NEVER
from .simulator import FACTOR_BITS, Trace
from .stored import stored_bound_us

__all__ = ["stream_bound"]


def stream_bound(instances: Sequence[Instance], traces: Trace, objective: str) -> tuple[float, str]:
    """A bound of the objective, averaged over traces, and how it is proven.

    No job is faster than alone on the platform; no task costs less than the least dynamic energy at which any number of
    busy elements runs it; and leakage goes on until the last job can have left.

    Args:
        instances: the kinds of jobs.
        traces: leaves with a leading axis.
        objective: `latency` in us, `energy` in J or `edp` in J s.
    """
    latencies, energies = [], []
    for arrival, kind, factor in zip(*traces, strict=True):
        alone = np.array([_least_us_alone(instances[k], factor[j]) for j, k in enumerate(kind)])
        latencies.append(alone.mean())
        end = int((arrival + alone).max())
        if instances[0].platform.has_power:
            jobs = [(instances[k], _actual_us(instances[k], factor[j])) for j, k in enumerate(kind)]
            dynamic = sum(bounds.dynamic_energy_bound_j(instance, times) for instance, times in jobs)
            energies.append(dynamic + bounds.constant_power_w(instances[0]) * end * 1e-6)
    if objective == "latency":
        how = "every job alone on the platform: its optimum, or with noise its critical path"
        return float(np.mean(latencies)), how
    if objective == "energy":
        how = "least dynamic energy of every task, and leakage until the last job can have left"
        return float(np.mean(energies)), how
    products = np.asarray(energies) * np.asarray(latencies) * 1e-6
    return float(products.mean()), "the product of the bounds of energy and latency on each trace"


def _actual_us(instance: Instance, factor: np.ndarray) -> np.ndarray:
    """int[N, P], us: the run times of a job; -1 where the element cannot run the task."""
    goes_on = np.array([bool(edges) for edges in instance.graph.successors])
    times = np.maximum(instance.run_time_us.astype(np.int64), goes_on[:, None])
    half = 2 ** (FACTOR_BITS - 1)
    noisy = np.maximum((times * factor[: len(instance), None] + half) >> FACTOR_BITS, np.minimum(times, 1))
    return np.where(instance.feasible, noisy, -1)


def _least_us_alone(instance: Instance, factor: np.ndarray) -> int:
    """us: no less than a job of this instance takes, whatever else there is."""
    times = _actual_us(instance, factor)
    least = np.where(times < 0, NEVER, times).min(axis=1)
    finish = np.zeros(len(instance), np.int64)
    for i in range(len(instance)):
        finish[i] = least[i] + max((finish[edge.source] for edge in instance.graph.predecessors[i]), default=0)
    plain = (factor[: len(instance)] == 2**FACTOR_BITS).all()
    return max(int(finish.max()), stored_bound_us(instance) if plain else 0)
