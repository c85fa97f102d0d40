"""Gantt charts: elements over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..diagram import Diagram, Rectangle
from .instance import Instance
from .platform import Platform
from .replay import Run
from .schedule import Schedule, in_us

__all__ = ["Stay", "draw_partial_schedule", "draw_runs", "draw_schedule", "draw_stays"]

_HEIGHT = 0.8  # of a bar, where elements are one apart


class Stay(NamedTuple):
    """A task on an element."""

    element: int
    start_us: float
    finish_us: float
    kind: str  # what gives the bar its colour
    label: str


def draw_stays(platform: Platform, stays: Sequence[Stay], title: str, end_us: float | None = None) -> Diagram:
    """Bars on the platform's elements, the first element on top.

    Args:
        platform: names the elements.
        stays: the bars.
        title: one line.
        end_us: where the time axis ends; the last finish when left out.
    """
    count = len(platform.element_names)
    end = max([stay.finish_us for stay in stays], default=1) if end_us is None else end_us
    return Diagram(
        title=title,
        x_label="time (us)",
        y_label="processing element",
        x_range=(0.0, max(float(end), 1.0)),
        y_range=(-0.5, count - 0.5),
        rectangles=[
            Rectangle(
                float(stay.start_us),
                count - 1 - stay.element - _HEIGHT / 2,
                float(stay.finish_us - stay.start_us),
                _HEIGHT,
                stay.kind,
                stay.label,
            )
            for stay in stays
        ],
        y_ticks=[(float(count - 1 - q), name) for q, name in enumerate(platform.element_names)],
    )


def draw_schedule(instance: Instance, schedule: Schedule, title: str) -> Diagram:
    """A static schedule; the tasks of one chain of waiting that fixes the makespan have a colour of their own."""
    critical, tick_us = _critical(instance, schedule), instance.platform.tick_us
    stays = []
    for i, task in enumerate(instance.graph.tasks):
        start, finish = (in_us(each[i], tick_us) for each in (schedule.start_us, schedule.finish_us))
        kind = "critical task" if i in critical else "task"
        stays.append(
            Stay(int(schedule.element[i]), start, finish, kind, f"{task.name}: {start} to {finish} us, {task.kernel}")
        )
    return draw_stays(instance.platform, stays, title)


def draw_partial_schedule(
    instance: Instance, placed: np.ndarray, element: np.ndarray, finish_us: np.ndarray, least_end_us: float
) -> Diagram:
    """A static schedule in the making.

    Args:
        instance: at the schedule's frequencies.
        placed: bool[N], which tasks are placed.
        element, finish_us: int[N], of those.
        least_end_us: where the time axis ends at least; like `finish_us` in ticks.
    """
    tasks = np.arange(len(instance))
    start = np.where(placed, finish_us - instance.run_time_us[tasks, element], 0)
    latest = in_us(finish_us.max(), instance.platform.tick_us)
    title = f"{instance.graph.name}: {placed.sum()} of {len(tasks)} tasks placed, latest finish {latest:,} us"
    whole = draw_schedule(instance, Schedule(element, start, finish_us), title)
    return replace(
        whole,
        rectangles=[each for each, shown in zip(whole.rectangles, placed, strict=True) if shown],
        x_range=(0.0, max(float(latest), least_end_us * float(instance.platform.tick_us))),
    )


def draw_runs(instances: Sequence[Instance], runs: Sequence[Run], title: str) -> Diagram:
    """What ran of a stream; jobs of one kind have a colour.

    Args:
        instances: the kinds of jobs, on one platform.
        runs: of tasks.
        title: one line.
    """
    stays = [
        Stay(
            run.element,
            run.start_us,
            run.finish_us,
            instances[run.kind].graph.name,
            f"{run.job}.{instances[run.kind].graph.tasks[run.task].name}: job {run.job}, {run.start_us} to "
            f"{run.finish_us} us",
        )
        for run in runs
    ]
    return draw_stays(instances[0].platform, stays, title)


def _critical(instance: Instance, schedule: Schedule) -> set[int]:
    """Tasks of a chain from the last finish back to the start, each of which waits for the one before."""
    element, start, finish = schedule.element, schedule.start_us, schedule.finish_us
    chain = {int(np.argmax(finish))}
    here = next(iter(chain))
    costs = dict(zip(instance.graph.edges, instance.communication_us, strict=True))
    while start[here] > 0:
        by_data = [
            edge.source
            for edge in instance.graph.predecessors[here]
            if finish[edge.source] + costs[edge][element[edge.source], element[here]] == start[here]
        ]
        by_element = [
            int(i) for i in np.flatnonzero((element == element[here]) & (finish == start[here])) if int(i) not in chain
        ]
        before = [i for i in (*by_data, *by_element) if i not in chain]
        if not before:
            break
        here = before[0]
        chain.add(here)
    return chain
