"""Job shops: jobs are chains of operations, machines are elements, data take no time.

Three layouts, after a first line with the numbers of jobs and machines (and more, which is not read):

| kind | what follows |
|---|---|
| classic | for each job a pair `machine duration` for each of its operations, one on every machine |
| flexible | for each job the number of its operations, for each of them `k` and k pairs `machine duration` |
| Taillard's | times, a row a job, and machines, as the words Times and Machines say; times first without words |

A line is a job, or numbers wrap as they like. Lines without a number are titles; what follows # is a comment. A rule of
signs, such as +++++, ends the shop; a file of several instances is refused. Machines are numbered from 0 or
from 1, as the whole file shows: one that names 0 counts from 0, one that names as many as there are from 1. Where
neither is named, flexible shops count from 1, as the literature does, and others from 0: the names of machines hang on
it, the makespan does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..files import decimal_of, fail, shortened
from ..formats import MOST_ELEMENTS, MOST_TASKS
from .graph import Task, TaskGraph, task_graph
from .instance import MAX_TOTAL_US
from .platform import Cluster, Platform
from .reading import check_limit, checked, whole_of

__all__ = ["read_job_shop"]

Jobs = list[list[dict[int, int]]]  # {machine as the file numbers it: us} of each operation of each job


class _Shop(NamedTuple):
    """A file as numbers."""

    path: Path
    header: list[int]
    first: int  # line of the header
    lines: list[tuple[int, list[int]]]  # (number, its numbers), those behind the header
    words: list[tuple[int, str]]  # (line, times or machines) of each such word behind the header

    @property
    def jobs(self) -> int:
        return self.header[0]

    @property
    def machines(self) -> int:
        return self.header[1]


_SEVERAL = "holds several instances, keep one"


class _Refused(Exception):
    """Why a file is no shop of a kind."""


def read_job_shop(path: Path, text: str) -> tuple[TaskGraph, Platform]:
    """The graph and the platform of a job shop.

    Raises:
        InvalidWorkloadError: it is none, or may be two kinds; names the line.
    """
    shop = _shop(path, text)
    found: dict[str, Jobs] = {}
    reasons: dict[str, str] = {}
    for kind, read in _KINDS.items() if not shop.words else [("Taillard's", _matrices)]:
        try:
            found[kind] = read(shop)
            _first_machine(shop, found[kind], kind)
        except _Refused as reason:
            found.pop(kind, None)
            reasons[kind] = str(reason)
    named = _SUFFIXES.get(path.suffix.lower())
    if named in found:
        kind = named
    elif not found:
        fail(path, _why(shop, named, reasons))
    elif len({str(jobs) for jobs in found.values()}) > 1:
        kinds = " and as a ".join(found)
        fail(path, f"it can be read as a {kinds} job shop; end its name in .jsp (classic) or .fjs (flexible)")
    else:
        kind = next(iter(found))
    return _graph(shop, kind, found[kind])


def _why(shop: _Shop, named: str | None, reasons: dict[str, str]) -> str:
    """Why a file is no job shop."""
    if shop.words:
        return reasons["Taillard's"]
    if named:
        return reasons[named]
    count = sum(len(row) for _, row in shop.lines)
    if count != 2 * shop.jobs * shop.machines:
        return reasons["flexible"]
    return f"neither a flexible job shop ({reasons['flexible']}) nor a classic one ({reasons['classic']})"


def _shop(path: Path, text: str) -> _Shop:
    numbers: list[tuple[int, list[str]]] = []
    matrices: list[tuple[int, str]] = []
    rule = 0
    for line, content in enumerate(text.split("\n"), 1):
        words = content.split("#", 1)[0].split()
        if any(decimal_of(word) is not None for word in words):
            if rule:
                fail(path, f"line {line}: numbers follow the rule of line {rule}; where a file {_SEVERAL}")
            numbers.append((line, words))
            continue
        word = " ".join(words).lower().rstrip(":")
        if not numbers or not words or (rule and word not in ("times", "machines")):
            continue
        if not any(map(str.isalnum, word)):
            rule = line if len(numbers) > 1 else 0
        elif word in ("times", "machines"):
            rule = 0
            if word in [each for _, each in matrices]:
                fail(path, f"line {line}: '{word}' stands there twice; where a file {_SEVERAL}")
            matrices.append((line, word))
        elif re.search(r"\b(instance|jobs?)\b", word):
            fail(path, f"line {line}: '{shortened(content.strip(), 30)}' begins another; where a file {_SEVERAL}")
        else:
            fail(path, f"line {line}: '{shortened(content.strip(), 20)}' is not a whole number of up to 18 digits")
    if not numbers:
        fail(path, "the file is empty: it holds no number")
    (first, words), *rest = numbers
    if len(words) < 2:
        fail(path, f"line {first}: a job shop begins with 'jobs machines', two numbers; there are {len(words)}")
    for word in words[2:]:  # average flexibility, seeds, known bounds
        if decimal_of(word) is None:
            fail(path, f"line {first}: '{shortened(word, 20)}' is not a number")
    header = [whole_of(path, first, word) for word in words[:2]]
    if header[0] < 1 or not 1 <= header[1] <= MOST_ELEMENTS:
        fail(
            path,
            f"line {first}: {header[0]} jobs on {header[1]} machines; "
            f"allowed are 1 job or more and 1 to {MOST_ELEMENTS} machines",
        )
    check_limit(path, header[0], MOST_TASKS, "jobs")
    lines = [(line, [whole_of(path, line, word) for word in words]) for line, words in rest]
    return _Shop(path, header, first, lines, matrices)


def _stream(shop: _Shop) -> list[tuple[int, list[tuple[int, int]]]]:
    """(line, [(line, number), ...]) of each job that has a line of its own; one entry of all where lines wrap."""
    if len(shop.lines) == shop.jobs:
        return [(line, [(line, number) for number in row]) for line, row in shop.lines]
    return [(shop.first, [(line, number) for line, row in shop.lines for number in row])]


def _flexible(shop: _Shop) -> Jobs:
    jobs: Jobs = []
    for _, numbers in _stream(shop):
        place = 0
        for _ in range(shop.jobs if len(shop.lines) != shop.jobs else 1):
            operations, place = _flexible_job(shop, numbers, place, len(jobs))
            jobs.append(operations)
        if left := len(numbers) - place:
            line = numbers[place][0]
            if len(shop.lines) == shop.jobs:
                raise _Refused(f"line {line} has {left} numbers more than its {len(jobs[-1])} operations need")
            more = f"line {line}: {left} numbers more than the {shop.jobs} jobs that line {shop.first} promises need"
            raise _Refused(f"{more}; setup times are not read")
    return jobs


def _flexible_job(
    shop: _Shop, numbers: Sequence[tuple[int, int]], place: int, job: int
) -> tuple[list[dict[int, int]], int]:
    """The operations of a job whose numbers begin at a place, and where the next one's do."""
    last = numbers[-1][0] if numbers else shop.first
    position = place

    def take(what: str) -> tuple[int, int]:
        nonlocal position
        if position >= len(numbers):
            if len(shop.lines) == shop.jobs:
                raise _Refused(f"line {last} ends where {what} should be")
            raise _Refused(f"line {shop.first} promises {shop.jobs} jobs; the file ends in job {job}, before {what}")
        position += 1
        return numbers[position - 1]

    line, count = take("the number of operations")
    if not 0 <= count <= MOST_TASKS:
        raise _Refused(f"line {line}: {count} operations; allowed are 0 to {MOST_TASKS:,}")
    operations: list[dict[int, int]] = []
    for operation in range(count):
        line, choices = take(f"the number of machines of operation {operation}")
        where = f"line {line}, operation {operation}"
        if not 1 <= choices <= shop.machines:
            raise _Refused(f"{where}: {choices} machines can run it; allowed are 1 to {shop.machines}")
        choice: dict[int, int] = {}
        for _ in range(choices):
            _add_pair(shop, where, choice, take("a machine")[1], take("a duration")[1])
        operations.append(choice)
    return operations, position


def _classic(shop: _Shop) -> Jobs:
    size = 2 * shop.machines
    rows = [[number for _, number in numbers] for _, numbers in _stream(shop)]
    lines = [line for line, _ in _stream(shop)]
    if len(rows) == shop.jobs:
        for line, row in zip(lines, rows, strict=True):
            if len(row) != size:
                raise _Refused(
                    f"line {line} has {len(row)} numbers; a pair for each of {shop.machines} machines is {size}"
                )
    elif len(rows[0]) != shop.jobs * size:
        raise _Refused(
            f"line {shop.first} promises {shop.jobs} jobs on {shop.machines} machines, {shop.jobs * size} numbers; "
            f"there are {len(rows[0])}"
        )
    else:
        rows = [rows[0][start : start + size] for start in range(0, len(rows[0]), size)]
        lines = [shop.first] * shop.jobs
    return [_classic_job(shop, f"line {line}", row[0::2], row[1::2]) for line, row in zip(lines, rows, strict=True)]


def _classic_job(shop: _Shop, where: str, machines: Sequence[int], durations: Sequence[int]) -> list[dict[int, int]]:
    operations: list[dict[int, int]] = []
    seen: set[int] = set()
    for place, (machine, duration) in enumerate(zip(machines, durations, strict=True)):
        if machine in seen:
            raise _Refused(f"{where}, operation {place}: the job has been on machine {machine} before")
        seen.add(machine)
        choice: dict[int, int] = {}
        _add_pair(shop, f"{where}, operation {place}", choice, machine, duration)
        operations.append(choice)
    return operations


def _matrices(shop: _Shop) -> Jobs:
    numbers = [number for _, row in shop.lines for number in row]
    size = shop.jobs * shop.machines
    if len(numbers) != 2 * size:
        raise _Refused(f"{len(numbers)} numbers; two tables of {shop.jobs} x {shop.machines} are {2 * size}")
    if not shop.words and any(len(row) != shop.machines for _, row in shop.lines):
        raise _Refused(f"rows of other than {shop.machines} numbers")
    rows = [numbers[start : start + shop.machines] for start in range(0, 2 * size, shop.machines)]
    times, machines = rows[: shop.jobs], rows[shop.jobs :]
    if shop.words:
        line, last = shop.words[-1]
        before = sum(len(row) for number, row in shop.lines if number < line)
        if before != size:
            raise _Refused(f"{before} numbers before '{last}' of line {line}; {shop.jobs} x {shop.machines} are {size}")
        if last == "times":
            times, machines = machines, times
    pairs = enumerate(zip(machines, times, strict=True))
    return [_classic_job(shop, f"job {job}", machine, time) for job, (machine, time) in pairs]


def _add_pair(shop: _Shop, where: str, choice: dict[int, int], machine: int, duration: int) -> None:
    if not 0 <= machine <= shop.machines:
        machines = shop.machines
        raise _Refused(f"{where}: machine {machine}; machines are 0 to {machines - 1}, or 1 to {machines}")
    if machine in choice:
        raise _Refused(f"{where}: machine {machine} is given twice")
    if not 0 <= duration <= MAX_TOTAL_US:
        raise _Refused(f"{where}: the duration {duration}; durations are whole numbers of 0 to {MAX_TOTAL_US:,} us")
    choice[machine] = duration


_KINDS: dict[str, Callable[[_Shop], Jobs]] = {"classic": _classic, "flexible": _flexible, "Taillard's": _matrices}
_SUFFIXES = {".fjs": "flexible", ".jsp": "classic", ".jss": "classic"}


def _first_machine(shop: _Shop, jobs: Jobs, kind: str) -> int:
    """The number of the first machine, 0 or 1."""
    named = {machine for operations in jobs for choice in operations for machine in choice}
    if {0, shop.machines} <= named:
        raise _Refused(f"it names the machines 0 and {shop.machines}, of {shop.machines}; count them from 0 or from 1")
    return int(shop.machines in named or (0 not in named and kind == "flexible"))


def _graph(shop: _Shop, kind: str, jobs: Jobs) -> tuple[TaskGraph, Platform]:
    path = shop.path
    check_limit(path, sum(map(len, jobs)), MOST_TASKS, "tasks")
    tasks, edges, run_times = [], [], {}
    for job, chain in enumerate(jobs):
        for place, choice in enumerate(chain):
            name = f"job{job}_{place}"
            if place:
                edges.append((len(tasks) - 1, len(tasks), 0))
            run_times[name] = {f"M{machine}": duration for machine, duration in choice.items()}
            tasks.append(Task(name, name))
    first = _first_machine(shop, jobs, kind)
    source = f"{kind} job shop, {path.name}, machines from {first}; its unit of time is taken for 1 us"
    graph = checked(path, lambda: task_graph(path.stem, tasks, edges, source))
    clusters = tuple(Cluster(f"M{machine}", 1) for machine in range(first, first + shop.machines))
    return graph, Platform(path.stem, clusters, run_times, source=source)
