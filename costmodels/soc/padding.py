"""Instances in the shape of larger ones, so that one compiled program plays many: sizes, and arrays filled up. NumPy.

What is filled up changes nothing that happens: a task, element or slot that an instance lacks is never ready, able or
free. N tasks, P elements, T kinds of jobs, J slots, K predecessors of a task, C clusters.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from ..arrays import Array
from . import rules, simulator, static_game, stream_game
from .model import NEVER

__all__ = ["padded_static", "padded_stream", "static_sizes", "stream_sizes"]

Sizes = Mapping[str, int]
_NOBODY = -1  # the cluster of an element that is padding


def _grown(array: Array, shape: tuple[int, ...], fill: int = 0) -> np.ndarray:
    """The array at the beginning of a larger one."""
    found = np.asarray(array)
    larger = np.full(shape, fill, found.dtype)
    larger[tuple(map(slice, found.shape))] = found
    return larger


def _scalars(*values: int) -> Iterator[np.ndarray]:
    return (np.array(value, np.int32) for value in values)


def _platform_sizes(arrays: static_game.model.Arrays | simulator.Arrays) -> dict[str, int]:
    return {
        "elements": len(arrays.cluster),
        "links": arrays.communication.shape[-1],
        "clusters": arrays.power.shape[0],
        "busy": arrays.power.shape[-1],
    }


# Graphs


def static_sizes(params: static_game.Params) -> dict[str, int]:
    """What graphs on platforms differ in."""
    arrays = params.arrays
    return {
        "tasks": len(params.element),
        "predecessors": max(map(len, _predecessors(arrays)), default=0),
        "choices": params.element.shape[1],
        "operating_points": arrays.power.shape[1],
        **_platform_sizes(arrays),
    }


def _predecessors(arrays: static_game.model.Arrays) -> list[list[tuple[int, int]]]:
    """Of each task, the places of its predecessors in the array of rows."""
    predecessor, first = np.asarray(arrays.predecessor), np.asarray(arrays.first_row).tolist()
    exists = predecessor < len(first) - 1
    return [
        [(row, column) for row in range(begin, end) for column in np.flatnonzero(exists[row]).tolist()]
        for begin, end in itertools.pairwise(first)
    ]


def padded_static(params: static_game.Params, sizes: Sizes) -> static_game.Params:
    """An instance in the shape of these sizes, none below its own; every task has one row of predecessors."""
    arrays, tasks, elements = params.arrays, sizes["tasks"], sizes["elements"]
    own = len(params.element)
    predecessor = np.full((tasks, max(sizes["predecessors"], 1)), tasks, np.int32)
    communication = np.zeros((*predecessor.shape, sizes["links"]), np.int32)
    for task, places in enumerate(_predecessors(arrays)):
        for column, place in enumerate(places):
            predecessor[task, column] = arrays.predecessor[place]
            communication[task, column, : arrays.communication.shape[2]] = arrays.communication[place]
    levels = sizes["operating_points"]
    return params._replace(
        arrays=static_game.model.Arrays(
            run_time=_grown(arrays.run_time, (arrays.run_time.shape[0], tasks, elements), NEVER),
            predecessor=predecessor,
            communication=communication,
            first_row=np.arange(tasks + 1, dtype=np.int32),
            link=_grown(arrays.link, (elements, elements)),
            cluster=_grown(arrays.cluster, (elements,), _NOBODY),
            power=_grown(arrays.power, (sizes["clusters"], levels, sizes["busy"])),
        ),
        element=_grown(params.element, (tasks, sizes["choices"])),
        level=_grown(params.level, (sizes["clusters"],)),
        way_on=_grown(params.way_on, (tasks,)),
        features=_grown(params.features, (tasks, params.features.shape[1])),
        own=static_game.Own(*_scalars(own, arrays.power.shape[1] > 0)),
    )


# Streams


def stream_sizes(params: stream_game.Params) -> dict[str, int]:
    """What streams differ in, but for the number of jobs of a trace, which they share."""
    kinds, tasks, width = params.arrays.predecessor.shape
    return {
        "kinds": kinds,
        "tasks": tasks,
        "predecessors": width,
        "slots": len(params.queue),
        **_platform_sizes(params.arrays),
    }


def padded_stream(params: stream_game.Params, sizes: Sizes) -> stream_game.Params:
    """An instance in the shape of these sizes, none below its own. Without the traces that designs are costed on."""
    arrays, facts = params.arrays, params.facts
    kinds, tasks, elements = (sizes[name] for name in ("kinds", "tasks", "elements"))
    width, links = sizes["predecessors"], sizes["links"]
    own = arrays.run_time.shape[1]
    traces = simulator.Trace(*(np.asarray(leaf)[:0] for leaf in params.traces))
    return params._replace(
        arrays=simulator.Arrays(
            run_time=_grown(arrays.run_time, (kinds, tasks, elements), NEVER),
            predecessor=_grown(
                np.where(arrays.predecessor == own, tasks, arrays.predecessor), (kinds, tasks, width), tasks
            ),
            communication=_grown(arrays.communication, (kinds, tasks, width, links)),
            link=_grown(arrays.link, (elements, elements)),
            needed=_grown(arrays.needed, (kinds, tasks, simulator.words_of(tasks))),
            waiting=_grown(arrays.waiting, (kinds, tasks), simulator.EMPTY),
            cluster=_grown(arrays.cluster, (elements,), _NOBODY),
            power=_grown(arrays.power, (sizes["clusters"], sizes["busy"])),
        ),
        facts=rules.Facts(*(_grown(leaf, (kinds, tasks, elements)[: np.ndim(leaf)]) for leaf in facts)),
        traces=_filled(traces, tasks),
        pool=_filled(params.pool, tasks),
        queue=_grown(params.queue, (sizes["slots"],)),
        own=stream_game.Own(*_scalars(own, len(params.queue), arrays.power.shape[0] > 0)),
    )


def _filled(traces: simulator.Trace, tasks: int) -> simulator.Trace:
    return traces._replace(factor=_grown(traces.factor, (*traces.arrival_us.shape, tasks)))
