"""Files of the user's: task graphs that bring their own platform, or run times alone. Content tells the format.

| format | reader |
|---|---|
| ours, below | here |
| WfFormat 1.0 to 1.6 (wfcommons.org), told by the member `workflow` | `workflow.py` |
| job shops: classic, flexible, Taillard's | `job_shop.py` |
| the Standard Task Graph Set, DOT, TGFF | `graph_texts.py` |

Ours, which `write_graph_file` writes; what is in brackets may be left out:

    {
      "format": "dsegym task graph 1",
      "name": "radio",
      ["source": "measured on ...",]
      "platform": {
        ["name": "board", "source": "...",]
        "clusters": [{"name": "cpu", "elements": 2}, {"name": "fft", "elements": 1}],
        ["default_bandwidth": 1, "self_bandwidth": 10000, "bandwidth": [["cpu", "fft", 10]], "base_w": 0.1]
      },
      "tasks": [{"name": "a", "run_times_us": {"cpu": 10, "fft": 5}}, {"name": "b", "run_times_us": {"cpu": 7}}],
      "edges": [["a", "b", 30]]
      [, "tail": "b"]
    }

A cluster may have `operating_points`, ascending by frequency: [{"frequency_mhz": 1000, "voltage_mv": 900,
"leakage_w": 0.01, "dynamic_w": [0, 0.1, 0.2]}], with dynamic power for 0 to `elements` busy elements. A task that no
element of a cluster can run leaves that cluster out. Tasks that share run times may share a `kernel`, by default the
task's name. A `tail` is the one task that all others must lead to. What each field means: `platform.py`, `graph.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..errors import DsegymError, InvalidWorkloadError
from ..files import fail, parse_json, read_text, shortened, shown
from ..formats import MOST_EDGES, MOST_ELEMENTS, MOST_TASKS, format_of
from .graph import Task, TaskGraph, task_graph
from .graph_texts import read_dot, read_task_graph_set, read_tgff
from .instance import MAX_TOTAL_US
from .job_shop import read_job_shop
from .members import Members
from .platform import Cluster, OperatingPoint, Platform
from .reading import check_limit, check_names, checked
from .workflow import MOST_VOLUME, read_workflow

__all__ = ["load_graph_file", "write_graph_file"]

FORMAT = "dsegym task graph 1"
MOST_FREQUENCY_MHZ, MOST_VOLTAGE_MV, MOST_W = 1_000_000, 1_000_000, 1e6  # beyond any system on chip
_PLATFORM_MEMBERS = ("name", "source", "clusters", "default_bandwidth", "self_bandwidth", "bandwidth", "base_w")
_POINT_MEMBERS = ("frequency_mhz", "voltage_mv", "leakage_w", "dynamic_w")

Bound = tuple[TaskGraph, Platform]


def _json(read: Callable[[Path, object], Bound]) -> Callable[[Path, str], Bound]:
    return lambda path, text: read(path, parse_json(path, text))


def load_graph_file(path: str | Path, equal_elements: int | None = None) -> Bound:
    """The graph and the platform of a file, whose content tells the format.

    Args:
        path: of the file.
        equal_elements: of the platform, in place of `reading.EQUAL_ELEMENTS`; for formats without elements.

    Raises:
        InvalidWorkloadError: a file that cannot be read; the message names the file and the line or the member.
        DsegymError: a number of elements for a file that brings its own.
    """
    path = Path(path)
    text = read_text(path)
    kind = format_of(path, text, "graph", _BY_SUFFIX).name
    if kind in _WITHOUT_ELEMENTS:
        graph, platform = _WITHOUT_ELEMENTS[kind](path, text, equal_elements)
    elif equal_elements is None:
        graph, platform = _READERS[kind](path, text)
    else:
        raise DsegymError(f"Graph '{shown(path)}', {kind}, brings its own elements; platform=own is allowed.")
    if not any(time for task in graph.tasks for time in platform.run_times[task.kernel].values()):
        fail(path, "no task takes any time, so that there is nothing to schedule")
    return graph, platform


# ----- our own format -----


def _graph_of_json(path: Path, data: object) -> Bound:
    reader = Members(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        fail(path, f"neither a graph file, whose member format is '{FORMAT}', nor a WfFormat file with a workflow")
    reader.only(data, "", ("format", "name", "source", "platform", "tasks", "edges", "tail"))
    name = reader.member(data, "", "name", str)
    source = reader.member(data, "", "source", str, "")
    tasks = reader.member(data, "", "tasks", list)
    check_limit(path, len(tasks), MOST_TASKS, "tasks")
    check_names(path, "tasks", [reader.member(entry, f"tasks[{k}]", "name", str) for k, entry in enumerate(tasks)])
    platform_data = reader.member(data, "", "platform", dict)
    clusters = _clusters(reader, platform_data)
    known = [cluster.name for cluster in clusters]
    run_times: dict[str, dict[str, int]] = {}
    listed: list[Task] = []
    for k, entry in enumerate(tasks):
        where = f"tasks[{k}]"
        task_name = reader.member(entry, where, "name", str)
        reader.only(entry, where, ("name", "kernel", "run_times_us"))
        times = reader.member(entry, where, "run_times_us", dict)
        for cluster in times:
            if cluster not in known:
                fail(
                    path,
                    f"{where}.run_times_us: there is no cluster '{shortened(cluster)}'; there are {', '.join(known)}",
                )
            times[cluster] = reader.whole(times, f"{where}.run_times_us", cluster, 0, MAX_TOTAL_US)
        if not times:
            fail(path, f"{where}.run_times_us is empty: no element can run the task '{shortened(task_name)}'")
        kernel = reader.member(entry, where, "kernel", str, task_name)
        if run_times.setdefault(kernel, times) != times:
            fail(path, f"{where}: the kernel '{shortened(kernel)}' has other run times in a task before")
        listed.append(Task(task_name, kernel))
    place = {task.name: k for k, task in enumerate(listed)}
    edges = []
    rows = reader.member(data, "", "edges", list)
    check_limit(path, len(rows), MOST_EDGES, "edges")
    for k, row in enumerate(rows):
        first, second, volume = reader.triple(row, f"edges[{k}]", place, "task")
        if not 0 <= volume <= MOST_VOLUME:
            fail(path, f"edges[{k}]: the volume is {volume}; volumes are whole numbers of 0 to {MOST_VOLUME:,}")
        edges.append((place[first], place[second], volume))
    tail = reader.member(data, "", "tail", str) if "tail" in data else None
    if tail is not None and tail not in place:
        fail(path, f"tail: there is no task '{shortened(tail)}'")
    graph = checked(path, lambda: task_graph(name, listed, edges, source, tail=None if tail is None else place[tail]))
    bandwidth = {}
    for k, row in enumerate(reader.member(platform_data, "platform", "bandwidth", list, [])):
        first, second, value = reader.triple(row, f"platform.bandwidth[{k}]", known, "cluster")
        if not 1 <= value <= MOST_VOLUME:
            fail(path, f"platform.bandwidth[{k}]: {value}; bandwidths are whole numbers of 1 to {MOST_VOLUME:,}")
        if (first, second) in bandwidth or (second, first) in bandwidth:
            fail(path, f"platform.bandwidth[{k}]: the pair {first}, {second} is given twice")
        bandwidth[first, second] = value
    platform = Platform(
        reader.member(platform_data, "platform", "name", str, name),
        clusters,
        run_times,
        bandwidth,
        reader.whole(platform_data, "platform", "default_bandwidth", 1, MOST_VOLUME, Platform.default_bandwidth),
        reader.whole(platform_data, "platform", "self_bandwidth", 1, MOST_VOLUME, Platform.self_bandwidth),
        base_w=reader.number(platform_data, "platform", "base_w", 0, MOST_W) if "base_w" in platform_data else 0.0,
        source=reader.member(platform_data, "platform", "source", str, ""),
    )
    return graph, platform


def _clusters(reader: Members, data: object) -> tuple[Cluster, ...]:
    reader.only(data, "platform", _PLATFORM_MEMBERS)
    clusters: list[Cluster] = []
    for k, entry in enumerate(reader.member(data, "platform", "clusters", list)):
        where = f"platform.clusters[{k}]"
        name = reader.member(entry, where, "name", str)
        reader.only(entry, where, ("name", "elements", "operating_points"))
        if name in [cluster.name for cluster in clusters]:
            fail(reader.path, f"{where}: two clusters are named '{shortened(name)}'")
        elements = reader.whole(entry, where, "elements", 1, MOST_ELEMENTS)
        points: list[OperatingPoint] = []
        for n, point in enumerate(reader.member(entry, where, "operating_points", list, [])):
            here = f"{where}.operating_points[{n}]"
            dynamic = reader.member(point, here, "dynamic_w", list)
            reader.only(point, here, _POINT_MEMBERS)
            if len(dynamic) != elements + 1:
                fail(reader.path, f"{here}.dynamic_w has {len(dynamic)} numbers; {elements + 1} are needed")
            values = dict(enumerate(dynamic))
            points.append(
                OperatingPoint(
                    reader.whole(point, here, "frequency_mhz", 1, MOST_FREQUENCY_MHZ),
                    reader.whole(point, here, "voltage_mv", 1, MOST_VOLTAGE_MV),
                    reader.number(point, here, "leakage_w", 0, MOST_W),
                    tuple(reader.number(values, f"{here}.dynamic_w", busy, 0, MOST_W) for busy in values),
                )
            )
            if n and points[n].frequency_mhz <= points[n - 1].frequency_mhz:
                fail(reader.path, f"{here}: frequencies must ascend")
        clusters.append(Cluster(name, elements, tuple(points)))
    total = sum(cluster.elements for cluster in clusters)
    if not 1 <= total <= MOST_ELEMENTS:
        fail(reader.path, f"platform.clusters has {total} elements; allowed are 1 to {MOST_ELEMENTS}")
    return tuple(clusters)


def write_graph_file(path: str | Path, graph: TaskGraph, platform: Platform) -> None:
    """Writes a graph and its platform as JSON, a line for each cluster, task and edge; `load_graph_file` reads it back.

    Kernels that the graph does not use are left out. A graph with one tail declares it.

    Raises:
        InvalidWorkloadError: a task whose kernel the platform has no time for.
    """
    missing = [task.kernel for task in graph.tasks if not platform.run_times.get(task.kernel)]
    if missing:
        raise InvalidWorkloadError(f"{platform.name} has no time for the kernel '{missing[0]}' of {graph.name}.")
    clusters = [
        {"name": cluster.name, "elements": cluster.elements}
        | (
            {
                "operating_points": [
                    {key: getattr(point, key) for key in _POINT_MEMBERS} for point in cluster.operating_points
                ]
            }
            if cluster.operating_points
            else {}
        )
        for cluster in platform.clusters
    ]
    tasks = [
        {"name": task.name}
        | ({} if task.kernel == task.name else {"kernel": task.kernel})
        | {"run_times_us": dict(platform.run_times[task.kernel])}
        for task in graph.tasks
    ]
    names = [task.name for task in graph.tasks]
    edges = [[names[edge.source], names[edge.target], edge.volume] for edge in graph.edges]
    bandwidth = [[*pair, value] for pair, value in platform.bandwidth.items()]
    members = [
        f'  "format": {json.dumps(FORMAT)}',
        f'  "name": {json.dumps(graph.name)}',
        f'  "source": {json.dumps(graph.source)}',
        '  "platform": {\n'
        + ",\n".join(
            [
                f'    "name": {json.dumps(platform.name)}',
                f'    "source": {json.dumps(platform.source)}',
                f'    "clusters": {_lines(clusters, 6)}',
                f'    "default_bandwidth": {platform.default_bandwidth}',
                f'    "self_bandwidth": {platform.self_bandwidth}',
                f'    "bandwidth": {_lines(bandwidth, 6)}',
                f'    "base_w": {json.dumps(platform.base_w)}',
            ]
        )
        + "\n  }",
        f'  "tasks": {_lines(tasks, 4)}',
        f'  "edges": {_lines(edges, 4)}',
    ]
    if len(graph.tails) == 1:
        members.append(f'  "tail": {json.dumps(names[graph.tails[0]])}')
    Path(path).write_text("{\n" + ",\n".join(members) + "\n}\n", encoding="utf-8")


def _lines(items: Sequence[object], indent: int) -> str:
    """A JSON array, an item a line."""
    if not items:
        return "[]"
    blank = " " * indent
    return "[\n" + ",\n".join(blank + json.dumps(item) for item in items) + "\n" + " " * (indent - 2) + "]"


# What reads each format.

_READERS: Mapping[str, Callable[[Path, str], Bound]] = {
    "dsegym's task graph": _json(_graph_of_json),
    "a recorded workflow (WfFormat)": _json(read_workflow),
    "a job shop": read_job_shop,
    "a TGFF file": read_tgff,
}
_WITHOUT_ELEMENTS: Mapping[str, Callable[[Path, str, int | None], Bound]] = {
    "a graph of the Standard Task Graph Set": read_task_graph_set,
    "a DOT graph": read_dot,
}
_BY_SUFFIX = {
    ".json": "dsegym's task graph",
    **dict.fromkeys((".txt", ".fjs", ".jsp", ".jss"), "a job shop"),
    ".stg": "a graph of the Standard Task Graph Set",
    **dict.fromkeys((".dot", ".gv"), "a DOT graph"),
    ".tgff": "a TGFF file",
}
