"""A static schedule: where and when each task runs. N tasks, P elements."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import SupportsInt

import numpy as np

from ..errors import DsegymError
from .instance import Instance

__all__ = ["Schedule", "check_schedule", "in_us"]


def in_us(ticks: SupportsInt, tick_us: Fraction) -> int | float:
    """us of some ticks; whole if a tick is."""
    value = int(ticks) * tick_us
    return int(value) if tick_us.denominator == 1 else float(value)


@dataclass(frozen=True, eq=False)
class Schedule:
    """Where and when each task runs; times in the instance's ticks, which are us but for some files."""

    element: np.ndarray  # int[N]
    start_us: np.ndarray  # int[N]
    finish_us: np.ndarray  # int[N]

    @property
    def makespan_us(self) -> int:
        """When the last task finishes."""
        return int(self.finish_us.max())

    @property
    def order(self) -> np.ndarray:
        """int[N]: the tasks by their start; those that start at once in topological order.

        Scheduled in this order on the same elements, without insertion, no task starts later than here.
        """
        return np.lexsort((np.arange(len(self.start_us)), self.finish_us, self.start_us))


def check_schedule(instance: Instance, schedule: Schedule) -> None:
    """Says what a schedule breaks, if anything.

    Raises:
        DsegymError: a task that runs where it cannot or for the wrong time, two tasks on an element at once, or a task
            that starts before its data are there.
    """
    names = [task.name for task in instance.graph.tasks]
    element, start, finish = schedule.element, schedule.start_us, schedule.finish_us
    for i, name in enumerate(names):
        if not instance.feasible[i, element[i]]:
            raise DsegymError(f"Task {name} cannot run on {instance.platform.element_names[element[i]]}.")
        if start[i] < 0 or finish[i] - start[i] != instance.run_time_us[i, element[i]]:
            raise DsegymError(f"Task {name} runs from {start[i]} to {finish[i]} us, which is not its run time.")
    for edge, communication in zip(instance.graph.edges, instance.communication_us, strict=True):
        s, t = edge.source, edge.target
        arrival = finish[s] + communication[element[s], element[t]]
        if start[t] < arrival:
            raise DsegymError(f"Task {names[t]} starts at {start[t]} us; data of {names[s]} arrive at {arrival} us.")
    for q in range(instance.elements):
        here = sorted((int(start[i]), int(finish[i]), names[i]) for i in np.flatnonzero(element == q))
        for (_, end, before), (begin, _, after) in itertools.pairwise(here):
            if begin < end:
                place = instance.platform.element_names[q]
                raise DsegymError(f"Tasks {before} and {after} overlap on {place}.")
