"""Files of the user's: task graphs that bring their own platform.

| suffix | format |
|---|---|
| .json | ours, below, or WfFormat 1.5 and 1.6 (wfcommons.org), told apart by the member `workflow` |
| .txt, .fjs, .jsp | flexible job shop, or classic job shop |

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

Job shop: a line `jobs machines` (a third number, the average flexibility, is ignored), then a line for each job. A
flexible one has `operations`, and for each operation `k` and k pairs `machine duration`; a classic one has a pair for
each of `machines` operations. Machines are numbered from 0; lines that begin with # are comments; data take no time.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NoReturn, TypeVar

from ..errors import DsegymError, InvalidWorkloadError
from .graph import Task, TaskGraph, task_graph
from .instance import MAX_TOTAL_US
from .platform import Cluster, OperatingPoint, Platform

__all__ = [
    "MOST_TASKS",
    "SUFFIXES",
    "load_flexible_job_shop",
    "load_graph_file",
    "write_graph_file",
]

FORMAT = "dsegym task graph 1"
JOB_SHOP_SUFFIXES = (".txt", ".fjs", ".jsp")
SUFFIXES = (".json", *JOB_SHOP_SUFFIXES)
# What fits into memory when every edge has a time for every pair of elements.
MOST_BYTES = 64 * 2**20
MOST_TASKS, MOST_EDGES, MOST_ELEMENTS = 2_000, 10_000, 64
MOST_VOLUME = 10**12
MOST_FREQUENCY_MHZ, MOST_VOLTAGE_MV, MOST_W = 1_000_000, 1_000_000, 1e6  # beyond any system on chip
WORKFLOW_VERSIONS = ("1.5", "1.6")
WORKFLOW_SPEEDS = (1.0, 1.0, 2.0, 4.0)  # synthetic: the recordings are of machines of one kind
WORKFLOW_BYTES_PER_S = 1.25e8  # synthetic: links of 1 Gbit/s
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_WORKFLOW_LISTS = ("parents", "children", "inputFiles", "outputFiles")
_PLATFORM_MEMBERS = ("name", "source", "clusters", "default_bandwidth", "self_bandwidth", "bandwidth", "base_w")
_POINT_MEMBERS = ("frequency_mhz", "voltage_mv", "leakage_w", "dynamic_w")


def load_graph_file(path: str | Path) -> tuple[TaskGraph, Platform]:
    """The graph and the platform of a file, whose suffix and content tell the format.

    Raises:
        InvalidWorkloadError: a file that cannot be read; the message names the file and the line or the member.
        DsegymError: another suffix.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in JOB_SHOP_SUFFIXES:
        return load_flexible_job_shop(path)
    if suffix != ".json":
        raise DsegymError(f"The graph file {path} ends in '{suffix}'; allowed are {', '.join(SUFFIXES)}.")
    data = _json(path)
    if isinstance(data, dict) and "workflow" in data:
        return _workflow(path, data)
    return _graph_of_json(path, data)


# ----- job shops -----


def load_flexible_job_shop(path: str | Path) -> tuple[TaskGraph, Platform]:
    """A flexible or classic job shop: jobs are chains of tasks, machines are elements, data take no time.

    A file is taken as flexible if every line can be read so, else as classic if every job has a pair for each machine.

    Raises:
        InvalidWorkloadError: a file that cannot be read; the message names the file and the line.
    """
    path = Path(path)
    lines = [
        (number, line.split())
        for number, line in enumerate(_text(path).splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        _fail(path, "the file is empty")
    (first, header), *jobs = lines
    if len(header) not in (2, 3):
        _fail(path, f"line {first}: a job shop begins with 'jobs machines', two numbers; there are {len(header)}")
    count, machines = (_whole(path, first, word) for word in header[:2])
    if count < 1 or not 1 <= machines <= MOST_ELEMENTS:
        _fail(
            path,
            f"line {first}: {count} jobs on {machines} machines; "
            f"allowed are 1 job or more and 1 to {MOST_ELEMENTS} machines",
        )
    if len(jobs) != count:
        _fail(path, f"line {first} promises {count} jobs, a line each; there are {len(jobs)}")
    rows = [(number, [_whole(path, number, word) for word in words]) for number, words in jobs]
    operations = _operations(path, rows, machines)
    total = sum(map(len, operations))
    _check_limit(path, total, MOST_TASKS, "tasks")
    tasks, edges, run_times = [], [], {}
    for job, chain in enumerate(operations):
        for place, choice in enumerate(chain):
            name = f"job{job}_{place}"
            if place:
                edges.append((len(tasks) - 1, len(tasks), 0))
            run_times[name] = {f"M{machine}": duration for machine, duration in choice.items()}
            tasks.append(Task(name, name))
    source = f"job shop, {path.name}"
    graph = _checked(path, lambda: task_graph(path.stem, tasks, edges, source))
    clusters = tuple(Cluster(f"M{machine}", 1) for machine in range(machines))
    return graph, Platform(path.stem, clusters, run_times, source=source)


def _whole(path: Path, line: int, word: str) -> int:
    if not _WHOLE.fullmatch(word):
        _fail(path, f"line {line}: '{word[:20]}' is not a whole number of up to 18 digits")
    return int(word)


def _operations(path: Path, rows: Sequence[tuple[int, list[int]]], machines: int) -> list[list[dict[int, int]]]:
    """{machine: us} of each operation of each job, given as the number of its line and what it says."""
    try:
        return [_flexible(path, number, row, machines) for number, row in rows]
    except InvalidWorkloadError as error:
        if any(len(row) != 2 * machines for _, row in rows):
            raise
        flexible = error
    try:
        return [_classic(path, number, row, machines) for number, row in rows]
    except InvalidWorkloadError as classic:
        reasons = [str(error).removeprefix(f"{path}: ").removesuffix(".") for error in (flexible, classic)]
        _fail(path, f"neither a flexible job shop ({reasons[0]}) nor a classic one ({reasons[1]})")


def _flexible(path: Path, line: int, row: Sequence[int], machines: int) -> list[dict[int, int]]:
    """{machine: us} of each operation of a job."""
    numbers = iter(row)

    def take(what: str) -> int:
        found = next(numbers, None)
        return _fail(path, f"line {line} ends where {what} should be") if found is None else found

    operations = []
    count = take("the number of operations")
    if not 0 <= count <= MOST_TASKS:
        _fail(path, f"line {line}: {count} operations; allowed are 0 to {MOST_TASKS:,}")
    for place in range(count):
        where = f"line {line}, operation {place}"
        choices = take(f"the number of machines of operation {place}")
        if not 1 <= choices <= machines:
            _fail(path, f"{where}: {choices} machines can run it; allowed are 1 to {machines}")
        choice: dict[int, int] = {}
        for _ in range(choices):
            _add_pair(path, where, choice, take("a machine"), take("a duration"), machines)
        operations.append(choice)
    left = len(list(numbers))
    if left:
        _fail(path, f"line {line} has {left} numbers more than its {count} operations need")
    return operations


def _classic(path: Path, line: int, row: Sequence[int], machines: int) -> list[dict[int, int]]:
    """The same, of a job whose operations have one machine each."""
    operations: list[dict[int, int]] = []
    for place in range(machines):
        if any(row[2 * place] in before for before in operations):
            _fail(path, f"line {line}, operation {place}: the job has been on machine {row[2 * place]} before")
        choice: dict[int, int] = {}
        _add_pair(path, f"line {line}, operation {place}", choice, row[2 * place], row[2 * place + 1], machines)
        operations.append(choice)
    return operations


def _add_pair(path: Path, where: str, choice: dict[int, int], machine: int, duration: int, machines: int) -> None:
    if not 0 <= machine < machines:
        _fail(path, f"{where}: machine {machine}; machines are 0 to {machines - 1}")
    if machine in choice:
        _fail(path, f"{where}: machine {machine} is given twice")
    if not 0 <= duration <= MAX_TOTAL_US:
        _fail(path, f"{where}: the duration {duration}; durations are whole numbers of 0 to {MAX_TOTAL_US:,} us")
    choice[machine] = duration


# ----- workflows -----


def _workflow(path: Path, data: object) -> tuple[TaskGraph, Platform]:
    """A recorded workflow in WfFormat: its tasks with their run times and the files that they exchange.

    The recorded run time, rounded up to whole us, is that of an element of speed 1. The volume of an edge is the bytes
    of all files that the parent writes and the child reads. Recordings longer than 32 bits of us count their times in
    a coarser unit, a power of ten of us, which the graph's `source` states.
    """
    reader = _Reader(path)
    version = reader.member(data, "", "schemaVersion", str)
    if version not in WORKFLOW_VERSIONS:
        _fail(path, f"schemaVersion is '{version}'; supported are {' and '.join(WORKFLOW_VERSIONS)}")
    workflow = reader.member(data, "", "workflow", dict)
    specification = reader.member(workflow, "workflow", "specification", dict)
    tasks = reader.member(specification, "workflow.specification", "tasks", list)
    _check_limit(path, len(tasks), MOST_TASKS, "tasks")
    where = "workflow.specification.files"
    sizes = {}
    for k, entry in enumerate(reader.member(specification, "workflow.specification", "files", list, [])):
        size = reader.number(entry, f"{where}[{k}]", "sizeInBytes", 0, MOST_VOLUME)
        sizes[reader.member(entry, f"{where}[{k}]", "id", str)] = math.ceil(size)
    execution = reader.member(workflow, "workflow", "execution", dict)
    where = "workflow.execution"
    seconds: dict[str, Fraction] = {}
    for k, entry in enumerate(reader.member(execution, where, "tasks", list)):
        runtime = reader.number(entry, f"{where}.tasks[{k}]", "runtimeInSeconds", 0, 1e9)
        seconds[reader.member(entry, f"{where}.tasks[{k}]", "id", str)] = Fraction(str(runtime))
    where = "workflow.specification.tasks"
    names = [reader.member(entry, f"{where}[{k}]", "id", str) for k, entry in enumerate(tasks)]
    _check_names(path, where, names)
    place = {name: k for k, name in enumerate(names)}
    listed: list[dict[str, list[str]]] = []
    for k, entry in enumerate(tasks):
        if names[k] not in seconds:
            _fail(path, f"{where}[{k}]: the task '{names[k]}' has no run time in workflow.execution.tasks")
        listed.append({key: reader.names(entry, f"{where}[{k}]", key) for key in _WORKFLOW_LISTS})
        for key, known in zip(_WORKFLOW_LISTS, (place, place, sizes, sizes), strict=True):
            for name in listed[k][key]:
                if name not in known:
                    _fail(path, f"{where}[{k}].{key}: there is no {'task' if known is place else 'file'} '{name}'")
    pairs = {(place[parent], k) for k, lists in enumerate(listed) for parent in lists["parents"]}
    pairs |= {(k, place[child]) for k, lists in enumerate(listed) for child in lists["children"]}
    _check_limit(path, len(pairs), MOST_EDGES, "edges")
    edges = []
    for s, t in sorted(pairs):
        read = set(listed[t]["inputFiles"])
        volume = sum(sizes[file] for file in dict.fromkeys(listed[s]["outputFiles"]) if file in read)
        if volume > MOST_VOLUME:
            _fail(path, f"{where}[{s}]: {volume:,} bytes for '{names[t]}'; at most {MOST_VOLUME:,} are supported")
        edges.append((s, t, volume))
    unit = _unit_us(seconds.values(), [volume for _, _, volume in edges])
    bandwidth = int(Fraction(WORKFLOW_BYTES_PER_S) * unit / 1_000_000)
    clusters = [f"M{m}" for m in range(len(WORKFLOW_SPEEDS))]
    run_times = {
        name: {
            cluster: math.ceil(seconds[name] * 1_000_000 / unit / Fraction(speed))
            for cluster, speed in zip(clusters, WORKFLOW_SPEEDS, strict=True)
        }
        for name in names
    }
    source = f"workflow recording, {path.name}; 1 us of the model is {unit:,} us of the recording"
    graph = _checked(path, lambda: task_graph(path.stem, [Task(name, name) for name in names], edges, source))
    text = "synthetic: elements of relative speeds " + ", ".join(f"{speed:g}" for speed in WORKFLOW_SPEEDS)
    platform = Platform(
        path.stem,
        tuple(Cluster(cluster, 1) for cluster in clusters),
        run_times,
        default_bandwidth=bandwidth,
        source=text,
    )
    return graph, platform


def _unit_us(seconds: Collection[Fraction], volumes: Sequence[int]) -> int:
    """The finest power of ten of us in which the longest conceivable schedule fits 32 bits."""
    count = len(volumes) + len(seconds)
    longest = sum(seconds) / Fraction(min(WORKFLOW_SPEEDS)) + Fraction(sum(volumes)) / Fraction(WORKFLOW_BYTES_PER_S)
    unit = 1
    while longest * 1_000_000 / unit * 2 + count > MAX_TOTAL_US:
        unit *= 10
    return unit


# ----- our own format -----


def _graph_of_json(path: Path, data: object) -> tuple[TaskGraph, Platform]:
    reader = _Reader(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        _fail(path, f"neither a graph file, whose member format is '{FORMAT}', nor a WfFormat file with a workflow")
    reader.only(data, "", ("format", "name", "source", "platform", "tasks", "edges", "tail"))
    name = reader.member(data, "", "name", str)
    source = reader.member(data, "", "source", str, "")
    tasks = reader.member(data, "", "tasks", list)
    _check_limit(path, len(tasks), MOST_TASKS, "tasks")
    _check_names(path, "tasks", [reader.member(entry, f"tasks[{k}]", "name", str) for k, entry in enumerate(tasks)])
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
                _fail(path, f"{where}.run_times_us: there is no cluster '{cluster}'; there are {', '.join(known)}")
            reader.whole(times, f"{where}.run_times_us", cluster, 0, MAX_TOTAL_US)
        if not times:
            _fail(path, f"{where}.run_times_us is empty: no element can run the task '{task_name}'")
        kernel = reader.member(entry, where, "kernel", str, task_name)
        if run_times.setdefault(kernel, times) != times:
            _fail(path, f"{where}: the kernel '{kernel}' has other run times in a task before")
        listed.append(Task(task_name, kernel))
    place = {task.name: k for k, task in enumerate(listed)}
    edges = []
    rows = reader.member(data, "", "edges", list)
    _check_limit(path, len(rows), MOST_EDGES, "edges")
    for k, row in enumerate(rows):
        first, second, volume = reader.triple(row, f"edges[{k}]", place, "task")
        if not 0 <= volume <= MOST_VOLUME:
            _fail(path, f"edges[{k}]: the volume is {volume}; volumes are whole numbers of 0 to {MOST_VOLUME:,}")
        edges.append((place[first], place[second], volume))
    tail = reader.member(data, "", "tail", str) if "tail" in data else None
    if tail is not None and tail not in place:
        _fail(path, f"tail: there is no task '{tail}'")
    graph = _checked(path, lambda: task_graph(name, listed, edges, source, tail=None if tail is None else place[tail]))
    bandwidth = {}
    for k, row in enumerate(reader.member(platform_data, "platform", "bandwidth", list, [])):
        first, second, value = reader.triple(row, f"platform.bandwidth[{k}]", known, "cluster")
        if not 1 <= value <= MOST_VOLUME:
            _fail(path, f"platform.bandwidth[{k}]: {value}; bandwidths are whole numbers of 1 to {MOST_VOLUME:,}")
        if (first, second) in bandwidth or (second, first) in bandwidth:
            _fail(path, f"platform.bandwidth[{k}]: the pair {first}, {second} is given twice")
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


def _clusters(reader: _Reader, data: object) -> tuple[Cluster, ...]:
    reader.only(data, "platform", _PLATFORM_MEMBERS)
    clusters: list[Cluster] = []
    for k, entry in enumerate(reader.member(data, "platform", "clusters", list)):
        where = f"platform.clusters[{k}]"
        name = reader.member(entry, where, "name", str)
        reader.only(entry, where, ("name", "elements", "operating_points"))
        if name in [cluster.name for cluster in clusters]:
            _fail(reader.path, f"{where}: two clusters are named '{name}'")
        elements = reader.whole(entry, where, "elements", 1, MOST_ELEMENTS)
        points: list[OperatingPoint] = []
        for n, point in enumerate(reader.member(entry, where, "operating_points", list, [])):
            here = f"{where}.operating_points[{n}]"
            dynamic = reader.member(point, here, "dynamic_w", list)
            reader.only(point, here, _POINT_MEMBERS)
            if len(dynamic) != elements + 1:
                _fail(reader.path, f"{here}.dynamic_w has {len(dynamic)} numbers; {elements + 1} are needed")
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
                _fail(reader.path, f"{here}: frequencies must ascend")
        clusters.append(Cluster(name, elements, tuple(points)))
    total = sum(cluster.elements for cluster in clusters)
    if not 1 <= total <= MOST_ELEMENTS:
        _fail(reader.path, f"platform.clusters has {total} elements; allowed are 1 to {MOST_ELEMENTS}")
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


# ----- reading -----


def _fail(path: Path, what: str) -> NoReturn:
    raise InvalidWorkloadError(f"{path}: {what}.")


def _checked(path: Path, make: Callable[[], TaskGraph]) -> TaskGraph:
    try:
        return make()
    except InvalidWorkloadError as error:
        raise InvalidWorkloadError(f"{path}: {error}") from None


def _check_limit(path: Path, count: int, limit: int, what: str) -> None:
    if count > limit:
        _fail(path, f"{count:,} {what}; at most {limit:,} are supported")


def _check_names(path: Path, where: str, names: Sequence[str]) -> None:
    """Raises unless there are tasks, each with a name of its own."""
    if not names:
        _fail(path, f"{where} is empty; a task graph needs at least one task")
    seen: set[str] = set()
    for k, name in enumerate(names):
        if name in seen:
            _fail(path, f"{where}[{k}]: two tasks are named '{name}'; names are unique")
        seen.add(name)


def _text(path: Path) -> str:
    """The text of a file, which is not empty."""
    if not path.is_file():
        _fail(path, "there is no such file")
    try:
        content = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
    except OSError as error:
        _fail(path, f"the file cannot be read: {error.strerror}")
    if content is None:
        _fail(path, f"the file is larger than {MOST_BYTES // 2**20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        _fail(path, f"line {line} is not UTF-8")
    if not text.strip():
        _fail(path, "the file is empty")
    return text


def _json(path: Path) -> object:
    def refuse(word: str) -> NoReturn:
        _fail(path, f"the number {word} is not allowed")

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            _fail(path, f"the member '{next(name for name in names if names.count(name) > 1)}' is given twice")
        return found

    try:
        return json.loads(_text(path), parse_constant=refuse, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        _fail(path, f"line {error.lineno} is not JSON: {error.msg}")
    except RecursionError:
        _fail(path, "the JSON is nested too deeply")
    except ValueError:  # an integer of thousands of digits
        _fail(path, "a number is too large")


_KINDS: Mapping[type, str] = {str: "a text", list: "a list", dict: "an object", int: "a whole number"}


Value = TypeVar("Value")


class _Reader:
    """Takes members out of JSON; errors name the file and the member."""

    def __init__(self, path: Path):
        self.path = path

    def member(self, data: object, where: str, key: str, kind: type[Value], default: Value | None = None) -> Value:
        """A member of an object, of a kind; the default where it is left out, an error where there is none."""
        name = f"{where}.{key}" if where else key
        if not isinstance(data, dict):
            _fail(self.path, f"{where or 'the file'} is not an object")
        if key not in data:
            return _fail(self.path, f"{name} is missing") if default is None else default
        if not isinstance(data[key], kind) or isinstance(data[key], bool):
            _fail(self.path, f"{name} is {_shortened(data[key])}; {_KINDS[kind]} is needed")
        return data[key]

    def whole(self, data: object, where: str, key: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number of a range."""
        value = self.member(data, where, key, int, default)
        if not least <= value <= most:
            _fail(self.path, f"{where}.{key} is {_shortened(value)}; allowed are {least:,} to {most:,}")
        return value

    def number(self, data: object, where: str, key: object, least: float, most: float) -> float:
        """A number of a range."""
        value = data.get(key) if isinstance(data, dict) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            problem = "is missing" if value is None else f"is {_shortened(value)}"
            _fail(self.path, f"{where}.{key} {problem}; a number of {least:,} to {most:,.0f} is needed")
        return value

    def names(self, data: object, where: str, key: str) -> list[str]:
        """A list of texts, which may be left out."""
        found = self.member(data, where, key, list, [])
        if not all(isinstance(name, str) for name in found):
            _fail(self.path, f"{where}.{key} is not a list of texts")
        return found

    def triple(self, row: object, where: str, known: Collection[str], what: str) -> tuple[str, str, int]:
        """[name, name, whole number] with known names."""
        if not isinstance(row, list) or len(row) != 3 or not isinstance(row[2], int) or isinstance(row[2], bool):
            _fail(self.path, f"{where} is {_shortened(row)}; [{what}, {what}, whole number] is needed")
        for name in row[:2]:
            if not isinstance(name, str) or name not in known:
                _fail(self.path, f"{where}: there is no {what} {_shortened(name)}")
        return row[0], row[1], row[2]

    def only(self, data: object, where: str, allowed: Sequence[str]) -> None:
        """Refuses members that nobody reads, which are mostly misspelt."""
        for key in data if isinstance(data, dict) else ():
            if key not in allowed:
                place = f"{where}.{key}" if where else key
                _fail(self.path, f"{place} is not known; allowed are {', '.join(allowed)}")


def _shortened(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
