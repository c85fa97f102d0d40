"""Packing by depth-first search over skylines, after MiniMalloc (Moffitt, ASPLOS 2023). n buffers, in units.

Buffers are placed in the order of their addresses, each on top of what is placed and lives with it: every packing can
be pushed down into one of that form. What cuts the search:

- *Canonical order*: addresses never fall; of equal addresses the buffer that the static order has first comes first.
- *Dominance*: a buffer that starts no lower than another one would end leaves a gap that the other one fits into.
- *Section inference*: at no time may the lowest address at which anything can still start, and the sizes of all that is
  not placed yet, exceed the height. Sections, the maximal sets of buffers that live together, stand for the times.
- *Hatless buffers*: once one is placed with which nothing lives that is not placed, no other place of it helps.
- *Decomposition*: times that no unplaced buffer spans cut the rest into parts that are packed one by one.

Three static orders take turns, with limits on their nodes that double from round to round.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..solver import Limits
from .bounds import max_load
from .heuristics import RULES, rule_offsets
from .instance import MAX_UNITS, AllocationInstance

__all__ = ["ORDERS", "improved_packings", "pack_by_search"]

# Keys by which a part's buffers are sorted, largest first: T the load at the busiest time of a buffer's life, W how
# long it lives, A its area. MiniMalloc's.
ORDERS = ("WAT", "TAW", "TWA")
NODES_A_SECOND = 2000  # of effort: about what a processor core visits where 100 buffers are left
_NEVER = np.int64(2**40)  # above every address, of what is placed


class _NodeLimit(Exception):
    """The search has visited as many nodes as it may, or its time is up."""


class _Part(NamedTuple):
    """Buffers that are packed by themselves, in static order. p buffers, s sections."""

    number: np.ndarray  # int64[p], in the instance
    size: np.ndarray  # int64[p]
    first: np.ndarray  # int64[p], section
    last: np.ndarray  # int64[p], the section after its last
    live: np.ndarray  # bool[s, p]
    together: np.ndarray  # bool[p, p], whether two live at one time; not of one buffer


@dataclass
class _Node:
    """A part with some buffers placed."""

    part: _Part
    least: np.ndarray  # int64[p], the lowest address that is left to each; `_NEVER` of those that are placed
    total: np.ndarray  # int64[s], sizes that are not placed
    crossing: np.ndarray  # int64[s - 1], buffers not placed that live in a section and the next
    at: int  # the address of the last buffer placed
    after: int  # its place in the static order
    pending: _Pending | None  # parts that are packed when this one is
    children: Iterator[int] = field(default_factory=lambda: iter(()))
    ended: bool = False  # whether no other child helps


class _Pending(NamedTuple):
    """A part that waits, and the depth of the search's stack that it goes back to."""

    node: _Node
    depth: int
    pending: _Pending | None


def _sections(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first section of each buffer and the one after its last, int64[n] each. A section begins with the first
    buffer that starts after one has ended.
    """
    starts, ends, begins, ended = set(lower.tolist()), set(upper.tolist()), [], True
    for at in sorted(starts | ends):
        ended |= at in ends
        if at in starts and ended:
            begins.append(at)
            ended = False
    return np.searchsorted(begins, lower, "right") - 1, np.searchsorted(begins, upper, "left")


class _Search:
    """One search: a height, a static order, and limits: on nodes, and a time of `time.perf_counter`."""

    def __init__(self, instance: AllocationInstance, height: int, order: str, nodes: int, end_s: float):
        self._instance, self._height, self._order, self.left, self._end_s = instance, height, order, nodes, end_s
        self._offsets = np.zeros(len(instance), np.int64)

    def run(self) -> np.ndarray | None:
        """int64[n], units; None where the height is proven too low.

        Raises:
            _NodeLimit: neither within the limit.
        """
        lower, upper, size = (np.asarray(array, np.int64) for array in self._instance.arrays)
        first, last = _sections(lower, upper)
        together = (lower[:, None] < upper) & (lower < upper[:, None]) & ~np.eye(len(size), dtype=bool)
        sections = np.arange(last.max())[:, None]
        live = (first <= sections) & (sections < last)
        everything = _Part(np.arange(len(size)), size, first, last, live, together)
        total = live @ size
        if (total > self._height).any():
            return None
        crossing = (live[:-1] & live[1:]).sum(axis=1)
        root = _Node(everything, np.zeros(len(size), np.int64), total, crossing, 0, 0, None)
        stack: list[_Node] = []
        pending = self._split(root, np.flatnonzero(crossing == 0) + 1, 0)
        while pending is not None:  # a part is packed: on with the next
            del stack[pending.depth :]
            stack.append(pending.node)
            pending = self._pack(stack)
            if not stack:
                return None
        return self._offsets

    def _pack(self, stack: list[_Node]) -> _Pending | None:
        """Searches on from the top of the stack until a part is packed: what is pending then. An empty stack tells that
        there is no packing.
        """
        self._open(stack[-1])
        while stack:
            node = stack[-1]
            child = next(node.children, None) if not node.ended else None
            if child is None:
                stack.pop()
                continue
            following = self._placed(node, child, len(stack))
            if following is None:
                continue
            if isinstance(following, _Node):
                stack.append(following)
                self._open(following)
            elif following == ():
                return node.pending
            else:
                return following[0]
        return None

    def _open(self, node: _Node) -> None:
        """Lists the buffers that may come next, by address and then static order.

        Raises:
            _NodeLimit: it is a node too many.
        """
        if self.left <= 0 or time.perf_counter() > self._end_s:
            raise _NodeLimit
        self.left -= 1
        part, least = node.part, node.least
        ends = (least + part.size).min()
        ranks = np.arange(len(least))
        able = (least < ends) & ((least > node.at) | ((least == node.at) & (ranks >= node.after)))
        able &= (least + part.size <= self._height) & (least + node.total.max() <= self._height)
        chosen = np.flatnonzero(able)
        node.children = iter(chosen[np.argsort(least[chosen], kind="stable")].tolist())

    def _placed(self, node: _Node, buffer: int, depth: int) -> _Node | tuple[_Pending, ...] | None:
        """The node after a buffer is placed; the parts that are left, if it falls apart (none, if all are placed); None
        where no packing can follow.
        """
        part, at = node.part, int(node.least[buffer])
        size, first, last = int(part.size[buffer]), int(part.first[buffer]), int(part.last[buffer])
        if at + int(node.total[first:last].max()) > self._height:
            return None
        self._offsets[part.number[buffer]] = at
        least = np.where(part.together[buffer], np.maximum(node.least, at + size), node.least)
        least[buffer] = _NEVER
        waiting = part.together[buffer] & (least < _NEVER)
        node.ended = not waiting.any()
        total = node.total.copy()
        total[first:last] -= size
        floor = np.where(part.live, least, _NEVER).min(axis=1)
        if (np.maximum(floor, at) + total > np.where(total > 0, self._height, 2 * _NEVER)).any():
            return None
        if not total.any():
            return ()
        crossing = node.crossing.copy()
        crossing[first : last - 1] -= 1
        child = _Node(part, least, total, crossing, at, buffer, node.pending)
        cuts = np.flatnonzero(crossing[first : last - 1] == 0) + first + 1
        if not len(cuts):
            return child
        pending = self._split(child, cuts, depth)
        return () if pending is None else (pending,)

    def _split(self, node: _Node, cuts: np.ndarray, depth: int) -> _Pending | None:
        """The parts of what is left between sections, before what is pending already."""
        pending, part = node.pending, node.part
        bounds = [0, *cuts.tolist(), len(node.total)]
        for low, high in reversed(list(itertools.pairwise(bounds))):
            total = node.total[low:high]
            members = np.flatnonzero((node.least < _NEVER) & (part.first >= low) & (part.first < high))
            if not len(members):
                continue
            members = members[self._static_order(part, members, node.total)]
            fresh = _Part(
                part.number[members],
                part.size[members],
                part.first[members] - low,
                part.last[members] - low,
                part.live[low:high, members],
                part.together[np.ix_(members, members)],
            )
            root = _Node(fresh, node.least[members], total, node.crossing[low : high - 1], 0, 0, pending)
            pending = _Pending(root, depth, pending)
        return pending

    def _static_order(self, part: _Part, members: np.ndarray, total: np.ndarray) -> np.ndarray:
        numbers = part.number[members]
        widths = (self._instance.uppers - self._instance.lowers)[numbers]
        keys = {
            "A": widths.astype(float) * part.size[members],
            "T": np.where(part.live[:, members], total[:, None], 0).max(axis=0),
            "W": widths,
        }
        return np.lexsort((numbers, *(-keys[letter] for letter in reversed(self._order))))


class _Rounds:
    """Searches of all orders, one after another, and what they have spent."""

    def __init__(self, instance: AllocationInstance, nodes: float, time_s: float):
        self._instance, self._end_s, self.left = instance, time.perf_counter() + time_s, nodes

    @property
    def over(self) -> bool:
        """Whether a limit is reached."""
        return self.left <= 0 or time.perf_counter() > self._end_s

    def pack(self, height: int, nodes: int) -> np.ndarray | bool | None:
        """Offsets int64[n] within a height, in units; False where there are none; None where so many nodes for each
        order do not tell.
        """
        for order in ORDERS:
            most = int(min(nodes, self.left))
            search = _Search(self._instance, height, order, most, self._end_s)
            try:
                found = search.run()
            except _NodeLimit:
                continue
            finally:
                self.left -= most - search.left
            return False if found is None else found
        return None


def pack_by_search(
    instance: AllocationInstance,
    capacity: int | None = None,
    *,
    nodes: float = math.inf,
    time_limit_s: float = math.inf,
) -> np.ndarray | None:
    """A packing within a capacity.

    Args:
        instance: its buffers.
        capacity: bytes; the instance's own when left out.
        nodes: the most that the searches may visit in all.
        time_limit_s: s. Without a limit they go on until they know.

    Returns:
        int64[n], bytes; None where there is none, or a limit was too low.
    """
    height = (instance.capacity if capacity is None else capacity) // instance.unit
    rounds, limit = _Rounds(instance, nodes, time_limit_s), 2 * len(instance)
    while not rounds.over:
        limit *= 2
        found = rounds.pack(height, limit)
        if found is not None:
            return found * instance.unit if isinstance(found, np.ndarray) else None
    return None


def improved_packings(instance: AllocationInstance, limits: Limits) -> Generator[np.ndarray, None, None]:
    """Packings, each of a lower peak than the last, int64[n] in bytes: those of one-pass rules, then those of searches.
    It ends with the proof that the last one is the best, or at a limit; the effort counts nodes.

    First the height falls to the own capacity, then to the bound; each is tried after the middle on the way there, with
    limits that double.
    """
    unit, lowest, highest = instance.unit, max_load(instance) // instance.unit, MAX_UNITS + 1

    def peak_of(offsets: np.ndarray) -> int:
        return int((offsets + instance.sizes).max()) // unit

    for rule in RULES:
        offsets = rule_offsets(instance, rule)
        if peak_of(offsets) < highest:
            highest = peak_of(offsets)
            yield offsets
    rounds, limit = _Rounds(instance, limits.effort_s * NODES_A_SECOND, limits.time_s), 2 * len(instance)
    while lowest < highest and not rounds.over:
        limit *= 2
        own = instance.capacity // unit
        goal = own if lowest <= own < highest else lowest
        for height in ((goal + highest) // 2, goal):
            if not lowest <= height < highest:
                continue
            found = rounds.pack(height, limit)
            if found is False:
                lowest = height + 1
            elif isinstance(found, np.ndarray):
                highest = peak_of(found * unit)
                yield found * unit
