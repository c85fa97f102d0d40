"""Task graphs: what is scheduled. N tasks, E edges."""

from __future__ import annotations

import functools
import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import InvalidWorkloadError, shortened

__all__ = ["Edge", "Task", "TaskGraph", "task_graph"]


@dataclass(frozen=True)
class Task:
    """One task of a graph."""

    name: str
    kernel: str  # what it computes: the key of a platform's table of run times


@dataclass(frozen=True)
class Edge:
    """Data that one task makes and another one needs."""

    source: int
    target: int
    volume: int  # in the platform's unit of volume, see `Platform.bandwidth`; not negative


@dataclass(frozen=True)
class TaskGraph:
    """A directed acyclic graph whose tasks are in topological order; `task_graph` makes one from any order."""

    name: str
    tasks: tuple[Task, ...]
    edges: tuple[Edge, ...]  # ascending by (target, source)
    source: str = ""  # where its numbers come from, and what is synthetic

    def __len__(self) -> int:
        return len(self.tasks)

    @functools.cached_property
    def predecessors(self) -> tuple[tuple[Edge, ...], ...]:
        """The edges into each task, ascending by source."""
        found: list[list[Edge]] = [[] for _ in self.tasks]
        for edge in self.edges:
            found[edge.target].append(edge)
        return tuple(map(tuple, found))

    @functools.cached_property
    def successors(self) -> tuple[tuple[Edge, ...], ...]:
        """The edges out of each task, ascending by target."""
        found: list[list[Edge]] = [[] for _ in self.tasks]
        for edge in self.edges:
            found[edge.source].append(edge)
        return tuple(map(tuple, found))

    @property
    def heads(self) -> tuple[int, ...]:
        """Tasks without predecessors."""
        return tuple(i for i, edges in enumerate(self.predecessors) if not edges)

    @property
    def tails(self) -> tuple[int, ...]:
        """Tasks without successors."""
        return tuple(i for i, edges in enumerate(self.successors) if not edges)


def task_graph(
    name: str,
    tasks: Iterable[Task],
    edges: Iterable[tuple[int, int, int]],
    source: str = "",
    *,
    tail: int | None = None,
) -> TaskGraph:
    """A graph from tasks in any order, which become topologically ordered (ties in the order given).

    Args:
        name: of the graph; errors begin with it.
        tasks: at least one.
        edges: (source, target, volume), indices into `tasks`.
        source: where the numbers come from.
        tail: the index of the task that must be the only one at the end, where the format declares it.

    Raises:
        InvalidWorkloadError: no task, two tasks of one name, an edge to a task that does not exist, an edge given
            twice, a negative volume, a cycle, or a declared tail that some task does not reach.
    """
    listed, given = tuple(tasks), tuple(edges)
    names = [task.name for task in listed]
    if not listed:
        raise InvalidWorkloadError(f"{name}: a task graph needs at least one task.")
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise InvalidWorkloadError(f"{name}: two tasks are named '{shortened(twice)}'; names are unique.")
    seen: set[tuple[int, int]] = set()
    for edge_source, target, volume in given:
        if not (0 <= edge_source < len(listed) and 0 <= target < len(listed)):
            raise InvalidWorkloadError(
                f"{name}: the edge {edge_source} > {target} names a task that does not exist; "
                f"tasks are 0 to {len(listed) - 1}."
            )
        text = f"{shortened(names[edge_source])} > {shortened(names[target])}"
        if volume < 0:
            raise InvalidWorkloadError(f"{name}: the edge {text} has the volume {volume}; volumes are 0 or more.")
        if (edge_source, target) in seen:
            raise InvalidWorkloadError(f"{name}: the edge {text} is given twice.")
        seen.add((edge_source, target))
    order = _topological_order(name, names, given)
    place = {old: new for new, old in enumerate(order)}
    moved = sorted((place[t], place[s], volume) for s, t, volume in given)
    graph = TaskGraph(
        name, tuple(listed[i] for i in order), tuple(Edge(s, t, volume) for t, s, volume in moved), source
    )
    if tail is not None:
        _check_tail(graph, place[tail])
    return graph


def _listed(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    few = ", ".join(shortened(name, 30) for name in names[:5])
    return f"{few} and {len(names) - 5:,} more" if len(names) > 5 else few


def _topological_order(name: str, names: Sequence[str], edges: Sequence[tuple[int, int, int]]) -> list[int]:
    waiting, after = [0] * len(names), [[] for _ in names]
    for source, target, _ in edges:
        waiting[target] += 1
        after[source].append(target)
    ready = [i for i, count in enumerate(waiting) if not count]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for j in after[i]:
            waiting[j] -= 1
            if not waiting[j]:
                heapq.heappush(ready, j)
    if len(order) < len(names):
        cycle = _listed([names[i] for i in range(len(names)) if waiting[i]])
        raise InvalidWorkloadError(f"{name}: the edges form a cycle; tasks in or behind it: {cycle}.")
    return order


def _check_tail(graph: TaskGraph, tail: int) -> None:
    """Raises unless every task leads to the tail."""
    others = [graph.tasks[i].name for i in graph.tails if i != tail]
    if others or tail not in graph.tails:
        name = shortened(graph.tasks[tail].name)
        found = _listed(others) or f"{name} has successors"
        raise InvalidWorkloadError(f"{graph.name}: the tail {name} is not reached by every task; other ends: {found}.")
