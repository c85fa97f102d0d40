"""Bounds that `dsegym bound` found for instances with files of the user's, kept beside the file: FILE.bounds.csv.

A row is what the scenario's `bounds` computes (the options' texts, then the optimum or bound and what shows it), with
three columns before it: the scenario, the version of dsegym, and a check of the row. In place of a file among the
options stands `sha256:` and the hash of its content, so that a row holds for equal contents, wherever the file lies,
and for no others. Whoever reads a row costs the design that it names: a wrong one is an error and never a yardstick.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...costmodels.errors import DsegymError, shortened
from ...costmodels.files import fail, file_hash, read_text
from .scenarios import BOUNDS_SUFFIX, files_among

if TYPE_CHECKING:
    from .problem import Problem

__all__ = ["KEPT", "kept_beside", "kept_row", "kept_table", "parsed", "read_kept", "require", "require_value"]

Parsed = TypeVar("Parsed")

KEPT = "dsegym bound, kept beside the file"  # the source of such a bound
TOLERANCE = 1e-6  # relative: float32 rounds differently on another machine
_OWN_COLUMNS = ("scenario", "dsegym", "check")
_HASH = "sha256:"
_AGAIN = "remove it and run `dsegym bound` again"


def kept_beside(path: str | Path) -> Path:
    """Where the bounds of a user's file are kept."""
    return Path(f"{path}{BOUNDS_SUFFIX}")


def _keyed(scenario_id: str, options: Mapping[str, str]) -> dict[str, str]:
    """The options with files by their content."""
    return {
        **options,
        **{name: _HASH + file_hash(path) for name, path in files_among(scenario_id, options).items()},
    }


def _check_of(row: Mapping[str, str]) -> str:
    """16 hexadecimal digits of all cells but the check; empty ones, which other rows fill, do not count."""
    cells = sorted((name, text) for name, text in row.items() if name != "check" and text)
    return hashlib.sha256(repr(cells).encode()).hexdigest()[:16]


def read_kept(path: str | Path) -> list[dict[str, str]]:
    """The rows that are kept beside a user's file; none where nothing is.

    Raises:
        InvalidWorkloadError: what lies there is of another kind, or damaged; says so.
    """
    beside = kept_beside(path)
    if not os.path.lexists(beside):
        return []
    reader = csv.reader(io.StringIO(read_text(beside)), strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if cells and not cells[0].startswith("#")]
    except csv.Error as error:
        fail(beside, f"line {reader.line_num} is no CSV ({error}); {_AGAIN}")
    if not lines or tuple(lines[0][1][: len(_OWN_COLUMNS)]) != _OWN_COLUMNS:
        fail(beside, "this is no table of `dsegym bound`, whose place it takes; move it away")
    header, rows = lines[0][1], []
    for number, cells in lines[1:]:
        row = dict(zip(header, cells, strict=False))
        if len(cells) != len(header) or row["check"] != _check_of(row):
            fail(beside, f"line {number} is damaged; {_AGAIN}")
        rows.append({name: text for name, text in row.items() if text})
    return rows


def kept_row(problem: Problem, names: Iterable[str] | None = None) -> Mapping[str, str] | None:
    """The row of an instance with a user's file, whose content is still the same; None where there is none.

    Args:
        problem: the instance.
        names: the options that tell rows apart; all of them when left out.

    Raises:
        InvalidWorkloadError: what is kept is damaged.
    """
    files = files_among(problem.scenario, problem.options)
    if not files:
        return None
    rows = read_kept(next(iter(files.values())))
    if not rows:
        return None
    names = problem.options if names is None else tuple(names)
    keyed = {"scenario": problem.scenario, **_keyed(problem.scenario, problem.options)}
    wanted = {name: keyed[name] for name in ("scenario", *names)}
    return next((row for row in rows if all(row.get(name) == text for name, text in wanted.items())), None)


def kept_table(
    scenario_id: str, options: Mapping[str, str], rows: Sequence[Mapping[str, object]]
) -> tuple[Path, str] | None:
    """What is to be kept of computed rows beside the user's file among the options: they stand in place of older ones
    of the same instances, and after those of others.

    Args:
        scenario_id: of the instance.
        options: texts.
        rows: of `Scenario.recompute_bounds`.

    Returns:
        Where, and the table; None where the instance has no file.

    Raises:
        InvalidWorkloadError: what lies there is of another kind, or damaged.
    """
    files = files_among(scenario_id, options)
    if not files:
        return None
    place = next(iter(files.values()))
    fresh = {}
    for row in rows:
        texts = {name: str(value) for name, value in row.items()}
        own = {"scenario": scenario_id, "dsegym": _version()}
        kept = {**own, **texts, **_keyed(scenario_id, {name: texts[name] for name in options})}
        fresh[_instance(kept, options)] = {**kept, "check": _check_of(kept)}
    older = {_instance(row, options): row for row in read_kept(place)}
    everything = list({**older, **fresh}.values())
    header = dict.fromkeys((*_OWN_COLUMNS, *(name for row in everything for name in row)))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(header), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(everything)
    return kept_beside(place), text.getvalue()


def _instance(row: Mapping[str, str], options: Mapping[str, str]) -> tuple[str | None, ...]:
    """What a row is of; a row of another scenario has other options, and is told apart by all that it holds."""
    known = options.keys() <= row.keys()
    return (row["scenario"], *(row.get(name) for name in options)) if known else tuple(row.values())


def _version() -> str:
    try:
        return version("dsegym")
    except PackageNotFoundError:  # run from a folder
        return "unknown"


def require(problem: Problem, holds: bool, what: str) -> None:
    """Refuses a kept row whose claim does not hold.

    Raises:
        InvalidWorkloadError: says what does not hold, and what to do.
    """
    if not holds:
        place = next(iter(files_among(problem.scenario, problem.options).values()))
        fail(kept_beside(place), f"{what}: it is damaged or of another version; {_AGAIN}")


def parsed(problem: Problem, parse: Callable[[], Parsed]) -> Parsed:
    """What `parse` makes of a kept row.

    Raises:
        InvalidWorkloadError: cells are missing, or hold no values of the instance.
    """
    try:
        return parse()
    except (DsegymError, KeyError, ValueError, IndexError, OverflowError) as error:
        require(problem, False, f"a kept row cannot be read ({shortened(error)})")
        raise


def require_value(problem: Problem, design: Sequence[int], value: float) -> None:
    """Refuses a kept optimum whose design does not cost what it says, on the cases that scores are taken on.

    Raises:
        InvalidWorkloadError: says which values differ.
    """
    found = problem.evaluate_held_out(design)
    cost = float(found.objective[0])
    holds = bool(found.feasible[0]) and abs(cost - value) <= TOLERANCE * abs(value)
    said = f"{cost:.9g}" if found.feasible[0] else "more than its constraints allow"
    require(problem, holds, f"the kept design costs {said}, not {value:.9g}")
