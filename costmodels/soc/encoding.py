"""Designs of static schedules: a rank for each task, and what else a design decides. N tasks, C clusters.

A design, int32[n], holds N ranks; where it decides elements, for each task the index of one among those that can run
it; and where it decides frequencies, an operating point for each cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from .instance import Instance
from .schedule import Schedule

__all__ = ["Encoding", "Parts", "candidates"]


class Parts(NamedTuple):
    """What a design holds; None where it does not decide."""

    ranks: Array  # int32[N], 0 to N - 1
    elements: Array | None  # int32[N], indices among `candidates`
    levels: Array | None  # int32[C], operating points


def candidates(instance: Instance) -> list[np.ndarray]:
    """The elements that can run each task, ascending."""
    return [np.flatnonzero(row) for row in instance.feasible]


@dataclass(frozen=True)
class Encoding:
    """What designs decide beside the order.

    Attributes:
        elements: on which element each task runs; if not, each goes to the one where it finishes first.
        frequencies: the clusters' operating points; if not, they are the highest.
    """

    elements: bool
    frequencies: bool

    def split(self, design: Array, tasks: int) -> Parts:
        """The parts of a design; `tasks` is N."""
        rest = design[tasks:]
        return Parts(
            design[:tasks],
            rest[:tasks] if self.elements else None,
            rest[tasks if self.elements else 0 :] if self.frequencies else None,
        )

    def encode(self, instance: Instance, schedule: Schedule) -> tuple[int, ...]:
        """The design of a schedule's order and elements, every cluster at its highest frequency."""
        ranks = np.empty(len(instance), np.int32)
        ranks[schedule.order] = np.arange(len(ranks))
        design = ranks.tolist()
        if self.elements:
            pairs = zip(candidates(instance), schedule.element, strict=True)
            design += [int(np.flatnonzero(elements == q)[0]) for elements, q in pairs]
        if self.frequencies:
            design += [len(cluster.operating_points) - 1 for cluster in instance.platform.clusters]
        return tuple(design)
