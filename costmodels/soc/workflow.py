"""Recorded workflows in WfFormat (wfcommons.org): tasks with their run times and the files that they exchange.

From version 1.5 on what is to run and what was run stand apart, `specification` and `execution`; before, each of the
`tasks` (or `jobs`) says both, and lists its files itself. Elements and links are synthetic: the recordings are of
machines of one kind. Recordings longer than 32 bits of us count their times in a coarser tick, a power of ten of us.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from ..files import fail, shortened
from ..formats import MOST_EDGES, MOST_TASKS
from .graph import Task, TaskGraph, task_graph
from .members import Members
from .platform import Cluster, Platform
from .reading import check_limit, check_names, checked, tick_of

__all__ = ["MOST_VOLUME", "read_workflow"]

MOST_VOLUME = 10**12
SPEEDS = (1.0, 1.0, 2.0, 4.0)  # synthetic
BYTES_PER_S = 1.25e8  # synthetic: links of 1 Gbit/s
VERSIONS, OLDER_VERSIONS = ("1.5", "1.6"), ("1.0", "1.1", "1.2", "1.3", "1.4")
_LISTS = ("parents", "children", "inputFiles", "outputFiles")


class _Recorded(NamedTuple):
    """A task of a recording."""

    seconds: Fraction
    parents: list[str]
    children: list[str]
    inputs: list[str]
    outputs: list[str]


class _Recording(NamedTuple):
    """A recording of any version."""

    tasks: dict[str, _Recorded]
    sizes: Mapping[str, int]  # B of each file
    where: str  # of the tasks, for errors


def read_workflow(path: Path, data: object) -> tuple[TaskGraph, Platform]:
    """A recorded workflow, of a file's JSON.

    The recorded run time, rounded up to whole us, is that of an element of speed 1. The volume of an edge is the bytes
    of all files that the parent writes and the child reads; links carry a whole number of bytes per tick.

    Raises:
        InvalidWorkloadError: it cannot be read; the message names the file and the member.
    """
    members = Members(path)
    version = members.member(data, "", "schemaVersion", str)
    if version in VERSIONS:
        recording = _specified(members, members.member(data, "", "workflow", dict))
    elif version in OLDER_VERSIONS:
        recording = _older(members, members.member(data, "", "workflow", dict))
    else:
        fail(path, f"schemaVersion is '{shortened(version)}'; supported are {', '.join((*OLDER_VERSIONS, *VERSIONS))}")
    names, where = list(recording.tasks), recording.where
    place = {name: k for k, name in enumerate(names)}
    for k, task in enumerate(recording.tasks.values()):
        for key, given in zip(_LISTS, task[1:], strict=True):
            known = place if key in ("parents", "children") else recording.sizes
            for other in given:
                if other not in known:
                    kind = "task" if known is place else "file"
                    fail(path, f"{where}[{k}].{key}: there is no {kind} '{shortened(other)}'")
    pairs = {(place[parent], place[name]) for name, task in recording.tasks.items() for parent in task.parents}
    pairs |= {(place[name], place[child]) for name, task in recording.tasks.items() for child in task.children}
    check_limit(path, len(pairs), MOST_EDGES, "edges")
    listed = list(recording.tasks.values())
    outputs = [list(dict.fromkeys(task.outputs)) for task in listed]
    inputs = [set(task.inputs) for task in listed]
    edges = []
    for s, t in sorted(pairs):
        volume = _handed_on(outputs[s], inputs[t], recording.sizes)
        if volume > MOST_VOLUME:
            fail(
                path,
                f"{where}[{s}]: {volume:,} bytes for '{shortened(names[t])}'; at most {MOST_VOLUME:,} are supported",
            )
        edges.append((s, t, volume))
    seconds = [task.seconds for task in listed]
    longest = sum(seconds) / Fraction(min(SPEEDS)) + Fraction(sum(each for *_, each in edges)) / Fraction(BYTES_PER_S)
    tick = tick_of((), longest * 1_000_000, len(seconds) + len(edges), finest=0)
    clusters = [f"M{m}" for m in range(len(SPEEDS))]
    run_times = {
        name: {
            cluster: math.ceil(task.seconds * 1_000_000 / tick / Fraction(speed))
            for cluster, speed in zip(clusters, SPEEDS, strict=True)
        }
        for name, task in recording.tasks.items()
    }
    counted = f"; times are counted in steps of {int(tick):,} us" if tick > 1 else ""
    source = f"workflow recording, {path.name}{counted}"
    graph = checked(path, lambda: task_graph(path.stem, [Task(name, name) for name in names], edges, source))
    platform = Platform(
        path.stem,
        tuple(Cluster(cluster, 1) for cluster in clusters),
        run_times,
        default_bandwidth=int(Fraction(BYTES_PER_S) * tick / 1_000_000),
        source="synthetic: elements of relative speeds " + ", ".join(f"{speed:g}" for speed in SPEEDS),
        tick_us=tick,
    )
    return graph, platform


def _handed_on(outputs: Sequence[str], inputs: set[str], sizes: Mapping[str, int]) -> int:
    """B of the files that one task writes and another one reads."""
    if len(inputs) < len(outputs):
        written = set(outputs)
        return sum(sizes[file] for file in inputs if file in written)
    return sum(sizes[file] for file in outputs if file in inputs)


def _specified(members: Members, workflow: dict[str, object]) -> _Recording:
    """A recording of the versions with `specification` and `execution`."""
    path, where = members.path, "workflow.specification.tasks"
    specification = members.member(workflow, "workflow", "specification", dict)
    tasks = members.member(specification, "workflow.specification", "tasks", list)
    check_limit(path, len(tasks), MOST_TASKS, "tasks")
    sizes: dict[str, int] = {}
    for k, entry in enumerate(members.member(specification, "workflow.specification", "files", list, [])):
        place = f"workflow.specification.files[{k}]"
        size = math.ceil(members.number(entry, place, "sizeInBytes", 0, MOST_VOLUME))
        title = members.member(entry, place, "id", str)
        if title in sizes:
            fail(path, f"{place}: two files have the id '{shortened(title)}'; ids are unique")
        sizes[title] = size
    execution = members.member(workflow, "workflow", "execution", dict)
    seconds: dict[str, Fraction] = {}
    for k, entry in enumerate(members.member(execution, "workflow.execution", "tasks", list)):
        place = f"workflow.execution.tasks[{k}]"
        runtime = members.number(entry, place, "runtimeInSeconds", 0, 1e9)
        title = members.member(entry, place, "id", str)
        if title in seconds:
            fail(path, f"{place}: two tasks have the id '{shortened(title)}'; ids are unique")
        seconds[title] = Fraction(str(runtime))
    names = [members.member(entry, f"{where}[{k}]", "id", str) for k, entry in enumerate(tasks)]
    check_names(path, where, names)
    found = {}
    for k, (name, entry) in enumerate(zip(names, tasks, strict=True)):
        if name not in seconds:
            fail(path, f"{where}[{k}]: the task '{shortened(name)}' has no run time in workflow.execution.tasks")
        found[name] = _Recorded(seconds[name], *(members.names(entry, f"{where}[{k}]", key) for key in _LISTS))
    return _Recording(found, sizes, where)


def _either(entry: object, *keys: str) -> str:
    """The first of these members that is there, else the first: the versions name them differently."""
    return next((key for key in keys if isinstance(entry, dict) and key in entry), keys[0])


def _older(members: Members, workflow: dict[str, object]) -> _Recording:
    """A recording of the versions before 1.5, whose parents and children go by name or by id."""
    path, key = members.path, _either(workflow, "tasks", "jobs")
    where = f"workflow.{key}"
    tasks = members.member(workflow, "workflow", key, list)
    check_limit(path, len(tasks), MOST_TASKS, "tasks")
    given = [members.member(entry, f"{where}[{k}]", "name", str) for k, entry in enumerate(tasks)]
    ids = [
        members.member(entry, f"{where}[{k}]", "id", str, name)
        for k, (entry, name) in enumerate(zip(tasks, given, strict=True))
    ]
    names = ids if len(set(given)) < len(given) else given
    check_names(path, where, names)
    known: dict[str, set[str]] = {}  # the tasks that a name or an id stands for
    for other, name in zip((*ids, *given), (*names, *names), strict=True):
        known.setdefault(other, set()).add(name)
    found: dict[str, _Recorded] = {}
    sizes: dict[str, int] = {}
    for k, (name, entry) in enumerate(zip(names, tasks, strict=True)):
        place = f"{where}[{k}]"
        runtime = members.number(entry, place, _either(entry, "runtimeInSeconds", "runtime"), 0, 1e9)
        files: dict[str, list[str]] = {"input": [], "output": []}
        for n, file in enumerate(members.member(entry, place, "files", list, [])):
            here = f"{place}.files[{n}]"
            link = members.member(file, here, "link", str)
            if link not in files:
                fail(path, f"{here}.link is '{shortened(link)}'; allowed are input and output")
            title = members.member(file, here, _either(file, "name", "id"), str)
            size = math.ceil(members.number(file, here, _either(file, "sizeInBytes", "size"), 0, MOST_VOLUME))
            if sizes.setdefault(title, size) != size:
                fail(path, f"{here}: the file '{shortened(title)}' has another size in a task before")
            files[link].append(title)
        near: dict[str, list[str]] = {}
        for list_ in _LISTS[:2]:
            for other in members.names(entry, place, list_):
                if len(known.get(other, ())) > 1:
                    fail(path, f"{place}.{list_}: '{shortened(other)}' names two tasks")
            near[list_] = [next(iter(known.get(other, (other,)))) for other in members.names(entry, place, list_)]
        found[name] = _Recorded(
            Fraction(str(runtime)), near["parents"], near["children"], files["input"], files["output"]
        )
    return _Recording(found, sizes, where)
