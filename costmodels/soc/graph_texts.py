"""Task graphs of the field's texts: the Standard Task Graph Set, DOT and TGFF.

STG: the number of tasks, without the two dummies (or with them), then for each task a line: its number, its time, how
many predecessors it has, and which; data take no time. Lines that begin with # are comments.

DOT: a `digraph`. An attribute of a node is its run time, one of an edge the time that its data take between two
elements; which names are read: `TIMES` and `DELAYS`. An edge without one takes no time. Numbers of another name, such
as sizes in bytes or a label, are not read: a node without a run time is refused.

TGFF: `@TASK_GRAPH` blocks, of which all are one graph, with tasks and arcs of types, and for each processing element a
table with the time of each type (and whether it is `valid`), whose column is one of `RUN_TIME`. A table whose name
begins with one of `LINKS` says how long an arc of a type takes between two elements; a quantity counts as that many
units of time. A column may name its unit, `exec_time (ms)`; otherwise it is taken for 1 us. Any other table is refused.
Periods and deadlines are not read.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, NoReturn

from ..files import decimal_of, fail, shortened
from ..formats import MOST_EDGES, MOST_ELEMENTS, MOST_TASKS
from .graph import Task, TaskGraph, task_graph
from .instance import MAX_TOTAL_US
from .platform import Cluster, Platform
from .reading import EQUAL_ELEMENTS, check_limit, check_names, checked, equal_elements, tick_of, time_of, whole_of

__all__ = ["DELAYS", "TIMES", "read_dot", "read_task_graph_set", "read_tgff"]

TIMES = ("weight", "time", "run_time", "runtime", "exec_time", "execution_time", "duration", "wcet", "cost")
DELAYS = ("weight", "time", "delay", "comm_time", "communication_time", "cost")


# The Standard Task Graph Set.


def read_task_graph_set(path: Path, text: str, elements: int | None = None) -> tuple[TaskGraph, Platform]:
    """The graph, and a synthetic platform of equal elements.

    Raises:
        InvalidWorkloadError: it is none; names the line.
    """
    lines = [
        (number, words) for number, line in enumerate(text.split("\n"), 1) if (words := line.split("#", 1)[0].split())
    ]
    titles = itertools.takewhile(lambda line: all(decimal_of(word) is None for word in line[1]), lines)
    lines = lines[len(list(titles)) :]
    if not lines:
        fail(path, "it holds no number; the first is the number of tasks")
    (first, words), *rest = lines
    if len(words) > 1:
        fail(path, f"line {first}: '{shortened(' '.join(words))}' stands where the number of tasks is expected, alone")
    count = whole_of(path, first, words[0])
    if len(rest) not in (count, count + 2):
        fail(path, f"line {first} promises {count} tasks and two dummies, a line each; there are {len(rest)} lines")
    check_limit(path, len(rest), MOST_TASKS + 2, "tasks")
    check_limit(path, sum(map(len, rest)), MOST_EDGES, "edges")
    times: dict[str, Fraction] = {}
    edges: list[tuple[int, int, Fraction]] = []
    place: dict[int, int] = {}
    given: list[tuple[int, list[int]]] = []
    for number, words in rest:
        if len(words) < 3:
            fail(path, f"line {number}: a task has a number, a time, how many predecessors, and which")
        task, predecessors = whole_of(path, number, words[0]), whole_of(path, number, words[2])
        if len(words) != 3 + predecessors:
            fail(path, f"line {number}: task {task} has {predecessors} predecessors; {len(words) - 3} are named")
        if task in place:
            fail(path, f"line {number}: task {task} is given twice")
        place[task] = len(times)
        times[f"t{task}"] = time_of(path, f"line {number}: the time of task {task}", words[1])
        given.append((number, [whole_of(path, number, word) for word in words[3:]]))
    for target, (number, predecessors) in enumerate(given):
        for task in predecessors:
            if task not in place:
                fail(path, f"line {number}: there is no task {task}")
            edges.append((place[task], target, Fraction(0)))
    source = f"Standard Task Graph Set, {path.name}; its unit of time is taken for 1 us"
    return equal_elements(path, elements or EQUAL_ELEMENTS, times, edges, source)


# DOT.

_TOKEN = re.compile(
    r"""\s+|//[^\n]*|/\*.*?\*/|\#[^\n]*
    |(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<html><[^<>]*>)|(?P<arrow>->|--)
    |(?P<word>-?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][+-]?[0-9]+)?(?![A-Za-z_0-9])|[A-Za-z0-9_.\u0080-\uffff]+)
    |(?P<mark>[{}\[\];,=:])""",
    re.VERBOSE | re.DOTALL,
)
_GROUPS = ("subgraph", "graph", "node", "edge")
Attributes = dict[str, str]


class _Dot:
    """A DOT text as nodes and edges with their attributes."""

    def __init__(self, path: Path, text: str):
        self.path, self.text = path, text
        self.tokens = list(self._split())
        self.place = 0
        self.nodes: dict[str, Attributes] = {}
        self.edges: list[tuple[str, str, Attributes]] = []

    def _split(self) -> Iterator[tuple[str, str, int]]:
        """(kind, text, where it begins) of each token."""
        position = 0
        while position < len(self.text):
            match = _TOKEN.match(self.text, position)
            if match is None:
                self.fail(position, f"'{shortened(self.text[position : position + 12])}' is not DOT")
            if match.lastgroup == "quoted":
                yield "word", re.sub(r"\\(.)", r"\1", match["quoted"][1:-1]), position
            elif match.lastgroup:
                yield match.lastgroup, match[match.lastgroup], position
            position = match.end()

    def fail(self, position: int, what: str) -> NoReturn:
        """Raises with the line."""
        line = self.text.count("\n", 0, position) + 1
        fail(self.path, f"line {line}: {what}")

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.place][:2] if self.place < len(self.tokens) else ("end", "")

    def take(self, *wanted: str) -> str:
        """The next token, of one of these kinds or texts."""
        kind, text = self.peek()
        if wanted and kind not in wanted and text not in wanted:
            position = self.tokens[self.place][2] if self.place < len(self.tokens) else len(self.text)
            self.fail(position, f"'{shortened(text) or 'the end'}' stands where {' or '.join(wanted)} is expected")
        self.place += 1
        return text

    def read(self) -> None:
        """Reads the whole text."""
        if self.peek()[1].lower() == "strict":
            self.take()
        kind = self.take("word").lower()
        if kind != "digraph":
            fail(self.path, "an undirected graph has no order; a digraph is needed")
        if self.peek()[0] in ("word", "html"):
            self.take()
        self.take("{")
        self.statements({}, {}, 0)
        if self.peek()[0] != "end":
            fail(self.path, "something follows the graph; one digraph a file is read")

    def statements(self, node: Attributes, edge: Attributes, depth: int) -> list[str]:
        """Reads up to the closing brace; the nodes that were named."""
        if depth > 50:
            fail(self.path, "subgraphs are nested too deeply")
        named: dict[str, None] = {}
        node, edge = dict(node), dict(edge)
        while self.peek()[1] != "}" or self.peek()[0] != "mark":
            if self.peek()[1] in (";", ","):
                self.take()
                continue
            word = self.peek()[1].lower()
            following = self.tokens[self.place + 1][1] if self.place + 1 < len(self.tokens) else ""
            if self.peek()[0] == "word" and word in ("graph", "node", "edge") and following == "[":
                self.take()
                defaults = self.attributes()
                {"node": node, "edge": edge, "graph": {}}[word].update(defaults)
                continue
            if self.peek()[0] == "word" and following == "=":
                for _ in range(3):
                    self.take()
                continue
            ends, chain = self.operand(node, edge, depth), []
            while self.peek()[0] == "arrow":
                if self.take() == "--":
                    fail(self.path, "an undirected edge, --, has no order; write ->")
                after = self.operand(node, edge, depth)
                chain.append((ends, after))
                named |= dict.fromkeys(ends)
                ends = after
            named |= dict.fromkeys(ends)
            given = self.attributes() if self.peek()[1] == "[" else {}
            if chain:
                pairs = [(a, b) for first, second in chain for a in first for b in second]
                self.edges += [(a, b, {**edge, **given}) for a, b in pairs]
                check_limit(self.path, len(self.edges), MOST_EDGES, "edges")
            else:
                for name in ends:
                    self.nodes[name].update(given)
        self.take("}")
        return list(named)

    def operand(self, node: Attributes, edge: Attributes, depth: int) -> list[str]:
        """The nodes of a node or a subgraph."""
        if self.peek()[1].lower() == "subgraph":
            self.take()
            if self.peek()[0] == "word":
                self.take()
        if self.peek() == ("mark", "{"):
            self.take()
            return self.statements(node, edge, depth + 1)
        name = self.take("word")
        while self.peek() == ("mark", ":"):  # a port
            self.take()
            self.take("word")
        if name not in self.nodes:
            self.nodes[name] = dict(node)
            check_limit(self.path, len(self.nodes), MOST_TASKS, "tasks")
        return [name]

    def attributes(self) -> Attributes:
        found: Attributes = {}
        while self.peek() == ("mark", "["):
            self.take()
            while self.peek() != ("mark", "]"):
                name = self.take("word").lower()
                if self.peek() == ("mark", "="):
                    self.take()
                    found[name] = self.take("word", "html")
                if self.peek()[1] in (",", ";"):
                    self.take()
            self.take("]")
        return found


def _time_among(path: Path, what: str, attributes: Attributes, names: Sequence[str]) -> Fraction | None:
    """The time that one of these attributes gives."""
    given = [name for name in names if name in attributes]
    if len(given) > 1:
        fail(path, f"{what} has {given[0]} and {given[1]}; one time is needed")
    return time_of(path, f"{given[0]} of {what}", attributes[given[0]]) if given else None


def read_dot(path: Path, text: str, elements: int | None = None) -> tuple[TaskGraph, Platform]:
    """The graph, and a synthetic platform of equal elements.

    Raises:
        InvalidWorkloadError: it is none, or a node has no run time; names the line or the node.
    """
    dot = _Dot(path, text)
    dot.read()
    check_names(path, "the digraph", list(dot.nodes))
    times: dict[str, Fraction] = {}
    for name, attributes in dot.nodes.items():
        time = _time_among(path, f"node '{shortened(name)}'", attributes, TIMES)
        if time is None:
            had = f"it has {shortened(', '.join(attributes))}" if attributes else "it has no attribute"
            fail(path, f"node '{shortened(name)}' has no run time ({had}); give one of {', '.join(TIMES)}, in us")
        times[name] = time
    place, edges = {name: k for k, name in enumerate(dot.nodes)}, []
    for first, second, attributes in dot.edges:
        what = f"edge {shortened(first, 30)} -> {shortened(second, 30)}"
        delay = _time_among(path, what, attributes, DELAYS)
        label = decimal_of(attributes.get("label", ""))
        if delay is None and label is not None:
            fail(path, f"{what} has a label that is a number, and no time; give one of {', '.join(DELAYS)}, in us")
        if label is not None and label != delay:
            fail(path, f"{what} has a time and a label that is another number, {label}; one time is needed")
        edges.append((place[first], place[second], delay or Fraction(0)))
    source = f"DOT graph, {path.name}; its unit of time is taken for 1 us"
    return equal_elements(path, elements or EQUAL_ELEMENTS, times, edges, source)


# TGFF.

_BLOCK = re.compile(r"@\s*([A-Za-z_][\w-]*)\s*([^\s{]*)\s*\{([^}]*)\}")
_TASK = re.compile(r"TASK\s+(\S+)\s+TYPE\s+(\d{1,9})\b", re.IGNORECASE)
_ARC = re.compile(r"ARC\s+(\S+)\s+FROM\s+(\S+)\s+TO\s+(\S+)\s+TYPE\s+(\d{1,9})\b", re.IGNORECASE)
_KNOWN = re.compile(r"(PERIOD|HARD_DEADLINE|SOFT_DEADLINE|DEADLINE)\b", re.IGNORECASE)

LINKS = ("COMM", "LINK", "BUS")  # how names of tables of links begin
_BEGIN = ", ".join(LINKS[:-1]) + f" or {LINKS[-1]}"
_UNIT_US: Mapping[str, Fraction] = {
    **dict.fromkeys(("us", "usec", "\u00b5s", "\u03bcs"), Fraction(1)),
    **dict.fromkeys(("ns", "nsec"), Fraction(1, 1000)),
    **dict.fromkeys(("ms", "msec"), Fraction(1000)),
    **dict.fromkeys(("s", "sec"), Fraction(10**6)),
}
_UNIT_SUFFIX = re.compile(r"time_?(ps|ns|nsec|us|usec|ms|msec|s|sec|seconds|min|h|cycles|cc|ticks)$")
RUN_TIME = re.compile(
    r"(?:(?:(?:worst_case_)?exec(?:ution)?|task|run|cpu|proc(?:essing)?|comp(?:ute|utation)?)[_-]?)?time"
    r"(?:_?(?:ps|ns|nsec|us|usec|ms|msec|s|sec|seconds|min|h|cycles|cc|ticks))?|wcet|duration"
)


class _Block(NamedTuple):
    """A block of a TGFF file."""

    kind: str  # in capitals
    number: str
    lines: list[tuple[int, str]]  # numbered from the file's first

    @property
    def name(self) -> str:
        return f"{self.kind}{self.number}"


def _blocks(text: str) -> list[_Block]:
    return [
        _Block(
            match[1].upper(),
            match[2],
            list(enumerate(match[3].split("\n"), text.count("\n", 0, match.start(3)) + 1)),
        )
        for match in _BLOCK.finditer(text)
    ]


class _Header(NamedTuple):
    """The titles of a table's columns, in small letters, and the units that some name."""

    titles: list[str]
    units: dict[str, str]


def _header(line: str) -> _Header:
    """`# type exec_time (ms)`: a unit in brackets belongs to the title before it."""
    titles: list[str] = []
    units: dict[str, str] = {}
    for word in re.findall(r"[(\[][^)\]]*[)\]]|[^\s(\[,]+", line.strip().lstrip("#").lower()):
        if word[0] not in "([":
            titles.append(word)
        elif titles:
            units[titles[-1]] = word[1:-1].strip()
    return _Header(titles, units)


def _time_column(path: Path, where: str, header: _Header, link: bool) -> tuple[str, Fraction]:
    """The column of times, and us of its unit."""
    titles = header.titles
    if link:
        column = next((title for title in titles if "time" in title and "preempt" not in title), None)
        column = column or next((title for title in ("quantity", "volume", "size", "wcet") if title in titles), None)
    else:
        column = next((title for title in titles if RUN_TIME.fullmatch(title)), None)
    if column is None:
        listed = shortened(" ".join(titles))
        more = "" if link else f"; a processing element's is exec_time or task_time, a link's name begins with {_BEGIN}"
        fail(path, f"{where} has no column of times{more}; there are {listed}")
    unit = header.units.get(column) or (match[1] if (match := _UNIT_SUFFIX.search(column)) else "us")
    if unit not in _UNIT_US:
        fail(path, f"{where}: the unit of {column} is '{shortened(unit)}'; units are ns, us, ms and s")
    return column, _UNIT_US[unit]


def _typed_rows(path: Path, block: _Block, link: bool) -> dict[int, Fraction] | None:
    """{type: us, the least of its valid versions} of a table; None where it has no row of a type."""
    header, typed = _Header([], {}), _Header([], {})
    times: dict[int, Fraction] = {}
    rows = 0
    for number, line in block.lines:
        where = f"line {number}: table {block.name}"
        words = line.split("#", 1)[0].split()
        if line.lstrip().startswith("#"):
            found = _header(line)
            if any(map(str.isalnum, line)):  # otherwise a rule, #-----
                header, typed = found, found if "type" in found.titles else typed
            continue
        if not words or not typed.titles:
            continue
        columns = typed.titles
        if header is not typed:  # prices, say, below the times; or a remark between times
            section, row_of_times = len(words) == len(header.titles), len(words) == len(columns)
            if section == row_of_times:
                fail(
                    path, f"{where}: {len(words)} numbers below '{shortened(' '.join(header.titles))}' may be anything"
                )
            if section:
                continue
        if len(words) != len(columns):
            fail(path, f"{where}: {len(words)} numbers where the columns are {shortened(' '.join(columns))}")
        row = dict(zip(columns, words, strict=True))
        column, unit_us = _time_column(path, where, typed, link)
        kind = whole_of(path, number, row["type"])
        time = time_of(path, f"{where}, type {kind}: {column}", row[column]) * unit_us
        rows += 1
        if whole_of(path, number, row.get("valid", "1")):
            times[kind] = min(time, times.get(kind, time))
    return times if rows else None


def _quantities(path: Path, block: _Block) -> dict[int, Fraction]:
    """{type: quantity} of a table whose rows are pairs; of the Embedded System Synthesis Benchmarks Suite, say."""
    found: dict[int, Fraction] = {}
    for number, line in block.lines:
        row = line.split("#", 1)[0].split()
        if len(row) == 2:
            kind = whole_of(path, number, row[0])
            if kind in found:
                fail(path, f"line {number}: table {block.name} gives the type {kind} twice")
            found[kind] = time_of(path, f"line {number}: table {block.name}, type {kind}", row[1])
    return found


def read_tgff(path: Path, text: str) -> tuple[TaskGraph, Platform]:
    """The graphs as one, and the platform of the file's tables.

    Raises:
        InvalidWorkloadError: it is none; names the block, the task or the table.
    """
    tasks: dict[str, int] = {}
    arcs: list[tuple[str, str, int]] = []
    tables: dict[str, dict[int, Fraction]] = {}
    delays: dict[int, Fraction] | None = None
    blocks = _blocks(text)
    alone = sum(block.kind == "TASK_GRAPH" for block in blocks) == 1
    for block in blocks:
        if block.kind == "TASK_GRAPH":
            _read_tasks(path, "" if alone else f"g{block.number}.", block, tasks, arcs)
            continue
        link, first = block.kind.startswith(LINKS), block.lines[0][0]
        found = _typed_rows(path, block, link)
        if found is None and block.kind.startswith("COMM"):
            found = _quantities(path, block) or None
        if found is None:
            fail(path, f"line {first}: table {block.name} has no row below a header such as # type exec_time")
        if block.name in tables:
            fail(path, f"line {first}: there are two tables {block.name}")
        if link:
            if delays not in (None, found):
                fail(path, f"line {first}: table {block.name} has other times than the links before; one kind is read")
            delays = found
        elif found:
            tables[block.name] = found
    check_names(path, "TASK_GRAPH", list(tasks))
    check_limit(path, len(tables), MOST_ELEMENTS, "processing elements")
    if not tables:
        fail(path, "there is no table with the times of types, such as @PE 0 { # type exec_time ... }")
    for name, kind in tasks.items():
        if not any(kind in table for table in tables.values()):
            fail(path, f"no table has a time for the type {kind} of the task '{shortened(name)}'")
    place = {name: k for k, name in enumerate(tasks)}
    costs = [_delay(path, arc, delays) for arc in arcs]
    used = set(tasks.values())
    times = [time for table in tables.values() for kind, time in table.items() if kind in used]
    longest = sum(max(table[kind] for table in tables.values() if kind in table) for kind in tasks.values())
    tick = tick_of((*times, *costs), longest + sum(costs, Fraction(0)), len(tasks) + len(arcs))
    edges: dict[tuple[int, int], int] = {}
    for (first, second, _), cost in zip(arcs, costs, strict=True):  # arcs of one pair are sent one after the other
        pair = place[first], place[second]
        edges[pair] = edges.get(pair, 0) + math.ceil(cost / tick)
    periods = "; periods and deadlines are not modelled" if re.search(r"\b(PERIOD|\w+_DEADLINE)\b", text) else ""
    source = f"TGFF, {path.name}; its unit of time is taken for 1 us{periods}"
    listed = [Task(name, f"type{kind}") for name, kind in tasks.items()]
    graph = checked(
        path, lambda: task_graph(path.stem, listed, [(a, b, volume) for (a, b), volume in edges.items()], source)
    )
    run_times = {
        f"type{kind}": {name: math.ceil(table[kind] / tick) for name, table in tables.items() if kind in table}
        for kind in used
    }
    platform = Platform(
        path.stem,
        tuple(Cluster(name, 1) for name in tables),
        run_times,
        self_bandwidth=2 * MAX_TOTAL_US,
        source=source,
        tick_us=tick,
    )
    return graph, platform


def _delay(path: Path, arc: tuple[str, str, int], delays: Mapping[int, Fraction] | None) -> Fraction:
    if delays is None:
        return Fraction(0)
    if arc[2] not in delays:
        fail(
            path, f"the arc from '{shortened(arc[0])}' to '{shortened(arc[1])}' is of type {arc[2]}, which no table has"
        )
    return delays[arc[2]]


def _read_tasks(
    path: Path, prefix: str, block: _Block, tasks: dict[str, int], arcs: list[tuple[str, str, int]]
) -> None:
    own: list[tuple[int, tuple[str, str, int]]] = []
    for number, line in block.lines:
        line = line.split("#", 1)[0].strip()
        if task := _TASK.match(line):
            if prefix + task[1] in tasks:
                fail(path, f"line {number}: two tasks are named '{shortened(task[1])}'; names are unique")
            tasks[prefix + task[1]] = int(task[2])
        elif arc := _ARC.match(line):
            own.append((number, (prefix + arc[2], prefix + arc[3], int(arc[4]))))
        elif line and not _KNOWN.match(line):
            fail(
                path,
                f"line {number}: '{shortened(line)}' is neither a TASK with its TYPE, nor an ARC FROM, TO and TYPE",
            )
    for number, (first, second, _) in own:
        for name in (first, second):
            if name not in tasks:
                title = shortened(name.removeprefix(prefix))
                fail(path, f"line {number}: an arc names the task '{title}', which is not there")
    arcs += [arc for _, arc in own]
    check_limit(path, len(tasks), MOST_TASKS, "tasks")
    check_limit(path, len(arcs), MOST_EDGES, "edges")
