"""An instance: a task graph bound to a platform, as arrays. N tasks, P elements, C clusters, E edges."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from ..errors import InvalidWorkloadError
from .graph import TaskGraph
from .platform import Platform

__all__ = ["INFEASIBLE", "Instance", "bind"]

INFEASIBLE = -1  # the run time of a task on an element that cannot run it
MOST_TIMES = 2**26  # of communication: one for each edge and pair of elements
MAX_TOTAL_US = 2**29  # length of an instance's longest conceivable schedule, so that sums stay in int32


@dataclass(frozen=True, eq=False)
class Instance:
    """A task graph on a platform."""

    graph: TaskGraph
    platform: Platform
    levels: tuple[int, ...]  # index of each cluster's operating point; empty where the platform has no power
    run_time_us: np.ndarray  # int32[N, P], at these frequencies, `INFEASIBLE` where the element cannot run the task
    communication_us: np.ndarray  # int32[E, P, P], of the graph's edges from the producer's to the consumer's element

    def __len__(self) -> int:
        return len(self.graph)

    @property
    def elements(self) -> int:
        """P."""
        return self.run_time_us.shape[1]

    @functools.cached_property
    def feasible(self) -> np.ndarray:
        """bool[N, P], whether the element can run the task."""
        return self.run_time_us != INFEASIBLE

    @functools.cached_property
    def least_run_time_us(self) -> np.ndarray:
        """int32[N], on the fastest element."""
        return np.where(self.feasible, self.run_time_us, np.iinfo(np.int32).max).min(axis=1)


def bind(graph: TaskGraph, platform: Platform, levels: tuple[int, ...] | None = None) -> Instance:
    """Looks up run times and communication times.

    A task at frequency f takes ceil(time * f_max / f) us. An edge takes floor(volume / bandwidth) us.

    Args:
        graph: the tasks.
        platform: the elements.
        levels: an operating point for each cluster; the highest where left out. Only for platforms with power.

    Raises:
        InvalidWorkloadError: a kernel without run times on this platform, a task that no element can run, a negative
            run time, or times too long for 32 bits.
    """
    clusters = platform.clusters
    if not platform.has_power:
        levels = ()
    elif levels is None:
        levels = tuple(len(cluster.operating_points) - 1 for cluster in clusters)
    slow_down = [(1, 1)] * len(clusters)
    if levels:
        points = [cluster.operating_points for cluster in clusters]
        slow_down = [(p[-1].frequency_mhz, p[level].frequency_mhz) for p, level in zip(points, levels, strict=True)]
    of_element = np.array(platform.element_clusters)
    run_time = np.full((len(graph), len(of_element)), INFEASIBLE, np.int64)
    for i, task in enumerate(graph.tasks):
        times = platform.run_times.get(task.kernel)
        place = f"{graph.name}: task {task.name}"
        if times is None:
            raise InvalidWorkloadError(
                f"{place} needs the kernel '{task.kernel}', which {platform.name} has no time for."
            )
        for c, cluster in enumerate(clusters):
            if cluster.name not in times:
                continue
            if times[cluster.name] < 0:
                raise InvalidWorkloadError(f"{place} has the run time {times[cluster.name]} us on {cluster.name}.")
            highest, frequency = slow_down[c]
            run_time[i, of_element == c] = -(-times[cluster.name] * highest // frequency)
        if (run_time[i] == INFEASIBLE).all():
            raise InvalidWorkloadError(f"{place} (kernel '{task.kernel}') can run on no element of {platform.name}.")
    names = [clusters[c].name for c in of_element]
    bandwidth = np.array([[platform.bandwidth_between(a, b) for b in names] for a in names], np.int64)
    np.fill_diagonal(bandwidth, platform.self_bandwidth)
    size = len(graph.edges) * len(names) ** 2
    if size > MOST_TIMES:
        raise InvalidWorkloadError(
            f"{graph.name}: {len(graph.edges):,} edges on {len(names)} elements are {size:,} communication times; "
            f"at most {MOST_TIMES:,} are supported."
        )
    volumes = np.array([edge.volume for edge in graph.edges], np.int64)
    communication = volumes[:, None, None] // bandwidth
    longest = int(run_time.max(axis=1).sum() + communication.max(axis=(1, 2), initial=0).sum())
    if longest > MAX_TOTAL_US:
        raise InvalidWorkloadError(
            f"{graph.name}: a schedule could take {longest:,} us; at most {MAX_TOTAL_US:,} us are supported."
        )
    return Instance(graph, platform, levels, run_time.astype(np.int32), communication.astype(np.int32))
