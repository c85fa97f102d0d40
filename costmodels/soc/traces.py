"""Traces: what arrives in a stream, drawn beforehand, so that all schedulers meet the same jobs and the same noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DsegymError
from .simulator import FACTOR_BITS, Trace

__all__ = ["draw_trace", "draw_traces"]

_MOST_DEVIATIONS = 3.0  # the normal variate of the noise is cut here


def draw_trace(
    *,
    jobs: int,
    probabilities: Sequence[float],
    mean_interval_us: float,
    noise: float,
    tasks: int,
    full: int = 0,
    seed: Sequence[int],
) -> Trace:
    """One trace.

    Args:
        jobs: A.
        probabilities: of each kind of job.
        mean_interval_us: of the exponential gaps between arrivals, cut to whole us.
        noise: the relative standard deviation of run times.
        tasks: N.
        full: how many jobs arrive at 0, before the gaps begin; one at least.
        seed: whole numbers that fix it.

    Raises:
        DsegymError: arrivals beyond 2^29 us.
    """
    generator = np.random.default_rng([*seed])
    gaps = generator.exponential(mean_interval_us, jobs).astype(np.int64)
    gaps[: max(full, 1)] = 0
    arrival = np.cumsum(gaps)
    if arrival[-1] > 2**29:
        raise DsegymError(f"The trace's last job arrives at {arrival[-1]:,} us; at most {2**29:,} us are supported.")
    kind = generator.choice(len(probabilities), size=jobs, p=probabilities)
    normal = np.clip(generator.standard_normal((jobs, tasks)), -_MOST_DEVIATIONS, _MOST_DEVIATIONS)
    factor = np.maximum(np.round(2**FACTOR_BITS * (1.0 + noise * normal)), 0)
    return Trace(arrival.astype(np.int32), kind.astype(np.int32), factor.astype(np.int32))


def draw_traces(count: int, *, seed: Sequence[int], **what) -> Trace:
    """`count` traces, leaves with a leading axis; `what` as `draw_trace` takes it."""
    traces = [draw_trace(seed=[*seed, number], **what) for number in range(count)]
    return Trace(*(np.stack(leaves) for leaves in zip(*traces, strict=True)))
