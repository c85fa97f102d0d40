"""Users' logs of attempts: how often each problem was solved, counted or attempt by attempt.

A table of outcomes has a row a problem: `problem,attempts,successes` and, if known, `tokens_right,tokens_wrong` (mean
tokens of a successful and of a failed attempt; empty where there was none of a kind). Everything else has an attempt a
row, a line or an entry, as sampling frameworks write it:

| file | problem | verdict |
|---|---|---|
| table of attempts | problem, task_id, question_id, doc_id, id, ... | passed, correct, is_correct, score, ... |
| JSON lines (HumanEval and its like) | the same | the same; texts and code beside them are not read |
| JSON lines (lm-evaluation-harness) | doc_id | exact_match or acc, of one `filter` |
| EvalPlus | the keys of `eval` | base_status and plus_status: an attempt passes both that are there |
| Inspect | the `id` of each of `samples` | its one score's `value`: C, I, or a number |

Attempts of several models, benchmarks, data sets or tasks (`GROUPS`) are not one log and refused, and so is a number of
the row that stands for the problem where another column repeats names. A problem 3.0, as pandas may write it, is 3.

Verdicts are true or false, 1 or 0, pass or fail, C or I, in any case; a partial credit such as 0.5 is no verdict and
refused. Columns that are known and say different things of one attempt are refused too, but for EvalPlus's two, of
which both must pass. Tokens are read where a member or column of `TOKENS` is there in every attempt.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import literal
from ..files import decimal_of, fail, is_whole, number, parse_json, read_text, shortened, whole_number
from ..formats import MOST_ATTEMPTS, MOST_PROBLEMS, format_of
from ..recognisers import PROBLEM_NAMES, VERDICT_NAMES, count_column
from ..tables import normalised, read_user_table

__all__ = ["Log", "read_log"]

MOST_BYTES = 256 * 2**20
MOST_ROWS = 5_000_000
COLUMNS = ("problem", "attempts", "successes")
TOKEN_COLUMNS = ("tokens_right", "tokens_wrong")
GROUPS = (
    "model", "model name", "model id", "llm", "system", "benchmark", "benchmark name", "dataset", "dataset name",
    "data set", "task", "task name", "subset", "subject",
)  # fmt: skip
_COUNTING = ("id", "idx", "index")  # names under which tables number their rows, too
_NAMING = {"problem", "question", "prompt", "name", "example", "item", "puzzle", "instance", "sample", "task"}
_INTEGRAL = re.compile(r"(-?[0-9]+)\.0+")
TOKENS = ("tokens", "completion tokens", "output tokens", "num tokens", "n tokens", "generated tokens")
_MOST_TOKENS = 1e9
_STATUSES = ("base status", "plus status")  # EvalPlus's
_VERDICTS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "pass", "passed", "correct", "success", "c", "y", "yes", "solved", "right"), True),
    **dict.fromkeys(
        ("false", "fail", "failed", "incorrect", "failure", "i", "n", "no", "unsolved", "wrong", "timeout"), False
    ),
}


@dataclass(frozen=True)
class Log:
    """Counts of a log. Q problems.

    Attributes:
        name: of the file, without its suffix.
        problems: their names, in the file's order.
        attempts, successes: int64[Q].
        tokens: float64[2, Q], mean tokens of a successful and of a failed attempt, of all attempts where there was none
            of a kind; 0 where tokens are unknown.
        source: one line.
    """

    name: str
    problems: tuple[str, ...]
    attempts: np.ndarray
    successes: np.ndarray
    tokens: np.ndarray
    source: str


Attempt = tuple[str, bool, float | None]  # problem, verdict, tokens


def read_log(path: Path) -> Log:
    """The counts of a user's file.

    Raises:
        InvalidWorkloadError: it cannot be read; names the line, the entry or what it looks like.
    """
    text = read_text(path, most_bytes=MOST_BYTES)
    kind = format_of(path, text, "data", {".csv": "a table of outcomes"}).name
    if kind == "a table of outcomes":
        return _counts(path, text)
    how, attempts = {
        "a table of attempts": _rows,
        "JSON lines of attempts": _lines,
        "an EvalPlus result": _evalplus,
        "an Inspect log": _inspect,
    }[kind](path, text)
    return _counted(path, f"file {path.name}, {kind}{how}", attempts)


def _counted(path: Path, source: str, attempts: Iterable[Attempt]) -> Log:
    """Attempts as counts."""
    place: dict[str, int] = {}
    counts: list[list[int]] = []  # failures and successes of each problem
    totals: list[list[float]] = []  # tokens of these
    known = 0
    number = 0
    for number, (problem, right, tokens) in enumerate(attempts, 1):
        if number > MOST_ROWS:
            fail(path, f"more than {MOST_ROWS:,} attempts")
        if problem not in place:
            place[problem] = len(place)
            counts.append([0, 0])
            totals.append([0.0, 0.0])
            if len(place) > MOST_PROBLEMS:
                fail(path, f"more than {MOST_PROBLEMS:,} problems")
        counts[place[problem]][right] += 1
        if tokens is not None:
            known += 1
            totals[place[problem]][right] += tokens
    if not number:
        fail(path, "there is no attempt")
    if known not in (0, number):
        fail(path, f"{known:,} of {number:,} attempts tell their tokens; all must, or none")
    count, total = np.array(counts), np.array(totals)
    if int(count.sum(1).max()) > MOST_ATTEMPTS:
        fail(path, f"more than {MOST_ATTEMPTS:,} attempts at one problem")
    mean = np.where(count > 0, total / np.maximum(count, 1), (total.sum(1) / count.sum(1))[:, None])
    tokens = np.maximum(mean[:, ::-1].T, 1.0) if known else np.zeros((2, len(place)))
    return Log(path.stem, tuple(place), count.sum(1), count[:, 1], tokens, source)


def _verdict(value: object) -> bool | None:
    """Whether an attempt was right; None where a value does not say."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value) if value in (0, 1) else None
    if not isinstance(value, str):
        return None
    exact = decimal_of(value)
    if exact is None:
        return _VERDICTS.get(value.strip().lower())
    return next((verdict for number, verdict in ((0, False), (1, True)) if exact == number), None)


def _checked_verdict(path: Path, where: str, value: object) -> bool:
    found = _verdict(value)
    if found is None:
        fail(path, f"{where} is {literal(value, 30)}; a verdict is true or false, 1 or 0, pass or fail")
    return found


# A row a problem.


def _counts(path: Path, text: str) -> Log:
    table = read_user_table(
        path,
        "file of outcomes",
        "problem",
        (*COLUMNS, *TOKEN_COLUMNS),
        _wrong_header,
        text=text,
        rename=_count_columns,
    )
    seen: set[str] = set()

    def parse_row(row: Mapping[str, str]) -> tuple[str, int, int, float, float]:
        problem = _as_integer(row["problem"])
        if not problem:
            raise ValueError("the problem has no name")
        if problem in seen:
            raise ValueError(f"the problem '{shortened(problem)}' is there twice")
        seen.add(problem)
        attempts = whole_number(row["attempts"], "attempts", 1, MOST_ATTEMPTS)
        successes = whole_number(row["successes"], "successes", 0, attempts)
        tokens = [0.0, 0.0]
        for place, (name, count) in enumerate(zip(TOKEN_COLUMNS, (successes, attempts - successes), strict=True)):
            if row.get(name) or (name in row and count):
                tokens[place] = number(row[name], name, 0, _MOST_TOKENS, above=True)
        return problem, attempts, successes, tokens[0] or tokens[1], tokens[1] or tokens[0]

    problems, attempts, successes, *tokens = zip(*table.parse(parse_row).values(), strict=True)
    return Log(
        path.stem, problems, np.array(attempts), np.array(successes), np.array(tokens, np.float64), f"file {path.name}"
    )


def _count_columns(names: Sequence[str]) -> list[str]:
    """Our columns for those of a table of counts; the problem as in tables of attempts."""
    problem = next(iter(_named(names, PROBLEM_NAMES)), None)
    return ["problem" if name == problem else count_column(name) for name in names]


def _wrong_header(header: Sequence[str]) -> str:
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        return (
            f"no column '{missing[0]}'; the columns are {', '.join(COLUMNS)}, and if known {', '.join(TOKEN_COLUMNS)}"
        )
    if len(set(TOKEN_COLUMNS) & set(header)) == 1:
        return f"give both {' and '.join(TOKEN_COLUMNS)}, or neither"
    return ""


# An attempt a row, a line or an entry.


class _Columns(NamedTuple):
    """The columns, or members, of a log that are read."""

    problem: str
    verdict: tuple[str, ...]  # an attempt is right where all of them say so
    tokens: str | None


def _named(names: Iterable[str], known: Sequence[str]) -> list[str]:
    """Those of the names that are known, in the order in which they are known."""
    return [name for each in known for name in names if normalised(name) == each]


@functools.lru_cache(maxsize=64)
def _verdicts(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The names that tell a verdict; EvalPlus's two make one."""
    found = _named(names, VERDICT_NAMES)
    both = tuple(name for name in found if normalised(name) in _STATUSES)
    return list(dict.fromkeys(both if name in both else (name,) for name in found))


def _columns(path: Path, line: int, names: tuple[str, ...]) -> _Columns:
    problems, verdicts = _named(names, PROBLEM_NAMES), _verdicts(names)
    for what, found, known in (("problem", problems, PROBLEM_NAMES), ("verdict", verdicts, VERDICT_NAMES)):
        if not found:
            fail(path, f"line {line}: nothing tells the {what}; it may be named {', '.join(known)}")
    return _Columns(problems[0], verdicts[0], next(iter(_named(names, TOKENS)), None))


def _read(path: Path, entries: Iterator[tuple[int, Mapping[str, object]]]) -> tuple[str, Iterable[Attempt]]:
    """Which columns are read, in words, and the attempts of numbered lines."""
    line, first = next(entries, (0, {}))
    if not line:
        fail(path, "there is no attempt")
    columns = _columns(path, line, tuple(first))
    tokens = f", tokens by {shortened(columns.tokens)}" if columns.tokens else ""
    how = f", problems by {shortened(columns.problem)}, verdicts by {shortened(' and '.join(columns.verdict))}{tokens}"
    return how, _attempts(path, itertools.chain([(line, first)], entries), columns)


def _attempts(path: Path, entries: Iterable[tuple[int, Mapping[str, object]]], columns: _Columns) -> Iterable[Attempt]:
    filters: set[str] = set()
    groups: dict[str, object] = {}
    rows = _Rows(columns.problem)
    needed = [columns.problem, *columns.verdict, *([columns.tokens] if columns.tokens else [])]
    for line, entry in entries:
        missing = next((name for name in needed if name not in entry), None)
        if missing is not None:
            fail(path, f"line {line}: there is no '{shortened(missing)}', which the lines before have")
        if "filter" in entry:  # lm-evaluation-harness writes each answer once for each way of taking it from the text
            filters.add(str(entry["filter"]))
            if len(filters) > 1:
                both = " and ".join(sorted(shortened(each, 30) for each in filters))
                fail(path, f"line {line}: answers by the filters {both}; keep the lines of one filter")
        for name, value in entry.items():
            if name != columns.problem and _kind_of(name) in GROUPS and groups.setdefault(name, value) != value:
                both = f"{shortened(str(groups[name]), 30)} and {shortened(str(value), 30)}"
                fail(path, f"line {line}: attempts of the {shortened(name)} {both}; keep the lines of one")
        verdicts = [_checked_verdict(path, f"line {line}: {shortened(name)}", entry[name]) for name in columns.verdict]
        right = all(verdicts)
        for names in _verdicts(tuple(entry)):
            others = [_verdict(entry[name]) for name in names]
            if None not in others and all(others) != right:
                used, told = (
                    " and ".join(f"{shortened(name)} is {literal(entry[name], 30)}" for name in each)
                    for each in (columns.verdict, names)
                )
                fail(path, f"line {line}: {used}, but {told}; leave only the verdict that counts")
        problem = _name(path, f"line {line}: {shortened(columns.problem)}", entry[columns.problem])
        rows.add(problem, entry)
        yield problem, right, None if columns.tokens is None else _tokens(path, line, entry[columns.tokens])
    if other := rows.other():
        fail(
            path,
            f"'{shortened(columns.problem)}' counts the lines, while '{shortened(other)}' names things several times; "
            "leave out the one that is not the problem",
        )


_kind_of = functools.lru_cache(maxsize=1024)(normalised)


class _Rows:
    """Whether what is read as the problem counts the rows, while another column names the problems."""

    def __init__(self, problem: str):
        self.problem = problem
        self.running = normalised(problem) in _COUNTING
        self.first, self.count = 0, 0
        self.seen: dict[str, set[str]] = {}

    def add(self, problem: str, entry: Mapping[str, object]) -> None:
        if not self.running:
            return
        if not self.count and problem in ("0", "1"):
            self.first = int(problem)
        self.running = problem == str(self.first + self.count)
        self.count += 1
        for name, value in entry.items():
            if name != self.problem and isinstance(value, str | int) and _NAMING & set(_kind_of(name).split()):
                self.seen.setdefault(name, set()).add(str(value))

    def other(self) -> str | None:
        """The column that names the problems; None where nothing is wrong."""
        if not self.running:
            return None
        return next((name for name, values in self.seen.items() if 1 < len(values) < self.count), None)


def _rows(path: Path, text: str) -> tuple[str, Iterable[Attempt]]:
    read = {*PROBLEM_NAMES, *VERDICT_NAMES, *TOKENS, *GROUPS, "filter"}
    table = read_user_table(
        path,
        "log",
        "attempt",
        (),
        lambda header: "",
        text=text,
        rename=lambda names: [
            name if normalised(name) in read or _NAMING & set(normalised(name).split()) else None for name in names
        ],
        most=MOST_ROWS,
    )
    return _read(path, iter(table.parse(dict).items()))


def _name(path: Path, where: str, value: object) -> str:
    """The problem's name."""
    named = isinstance(value, str) and value
    if not named and not (isinstance(value, int | float) and is_whole(value)):
        fail(path, f"{where} is {literal(value, 30)}; a text or a whole number is needed")
    return _as_integer(value) if isinstance(value, str) else str(int(value))  # pyright: ignore[reportArgumentType]


def _as_integer(problem: str) -> str:
    """3 for 3.0, which pandas makes of whole numbers where some are missing; anything else as it is."""
    match = _INTEGRAL.fullmatch(problem)
    return match[1] if match else problem


def _tokens(path: Path, line: int, value: object) -> float:
    exact = decimal_of(str(value)) if not isinstance(value, bool) else None
    if exact is None or not 0 <= exact <= int(_MOST_TOKENS):
        fail(path, f"line {line}: tokens is {literal(value, 30)}; a number from 0 to 1e9 is needed")
    return float(exact)


def _lines(path: Path, text: str) -> tuple[str, Iterable[Attempt]]:
    return _read(path, _objects(path, text))


def _objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, object]]]:
    """(number, object) of each line of JSON."""
    for line, content in enumerate(text.split("\n"), 1):
        if content.strip():
            entry = parse_json(path, content, line)
            if not isinstance(entry, dict):
                fail(path, f"line {line} is not an object")
            yield line, entry


def _evalplus(path: Path, text: str) -> tuple[str, Iterable[Attempt]]:
    data = parse_json(path, text)
    tasks = data.get("eval") if isinstance(data, dict) else None
    if not isinstance(tasks, dict):
        fail(path, "eval is not an object")
    return "", _evaluated(path, tasks)


def _evaluated(path: Path, tasks: Mapping[str, object]) -> Iterable[Attempt]:
    for task, entries in tasks.items():
        where = f"eval['{shortened(task)}']"
        if not isinstance(entries, list):
            fail(path, f"{where} is not a list")
        for k, entry in enumerate(entries):
            verdicts = [
                _checked_verdict(path, f"{where}[{k}].{name}", entry[name])
                for name in ("base_status", "plus_status")
                if isinstance(entry, dict) and entry.get(name) is not None
            ]
            if not verdicts:
                fail(path, f"{where}[{k}] has neither base_status nor plus_status")
            yield _as_integer(task), all(verdicts), None


def _inspect(path: Path, text: str) -> tuple[str, Iterable[Attempt]]:
    data = parse_json(path, text)
    samples = data.get("samples") if isinstance(data, dict) else None
    if not isinstance(samples, list):
        fail(path, "samples is not a list")
    attempts: list[Attempt] = []
    known = ""
    for k, sample in enumerate(samples):
        where = f"samples[{k}]"
        scores = sample.get("scores") if isinstance(sample, dict) else None
        if not isinstance(scores, dict) or len(scores) != 1:
            count = len(scores) if isinstance(scores, dict) else "no"
            fail(path, f"{where} has {count} scores; one is needed")
        ((scorer, score),) = scores.items()
        if attempts and scorer != known:
            fail(path, f"{where} has a score of '{shortened(scorer)}', those before of '{shortened(known)}'; keep one")
        known = scorer
        value = score.get("value") if isinstance(score, dict) else score
        where_value = f"{where}.scores['{shortened(scorer)}'].value"
        right = _checked_verdict(path, where_value, value)
        attempts.append((_name(path, f"{where}.id", sample.get("id")), right, None))
    return f", verdicts by {shortened(known)}", attempts
