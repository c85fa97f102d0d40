"""Tables of values with header comments: the package's own, and a user's, whose errors name the line.

A table is CSV. Lines that start with `#` are comments, empty lines are skipped, and the first other line names the
columns. What a file may be: `formats.py`; numbers: `files.py`.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .errors import InvalidWorkloadError
from .files import read_text, shortened, shown
from .formats import table_rows

__all__ = ["UserTable", "package_path", "package_rows", "read_user_table"]

MOST_ROWS = 100_000

Row = TypeVar("Row")


def package_path(name: str) -> Path:
    """Where a data file or folder of the package lies, by its path below costmodels: "memory/platforms.csv"."""
    return Path(str(importlib.resources.files(__name__.rpartition(".")[0]) / name))


@functools.cache
def package_rows(name: str) -> tuple[Mapping[str, str], ...]:
    """The rows of a table of the package as {column: text}, by its path below costmodels: "memory/platforms.csv"."""
    lines = package_path(name).read_text(encoding="utf-8").splitlines()
    return tuple(csv.DictReader(line for line in lines if not line.startswith("#")))


@dataclass(frozen=True)
class UserTable:
    """A user's table as text, its header checked."""

    path: Path
    comments: str  # in one line
    header: tuple[str | None, ...]  # None for a column that is not read
    lines: tuple[tuple[int, list[str]], ...]  # (number, cells) of each row

    def parse(self, parse_row: Callable[[Mapping[str, str]], Row]) -> dict[int, Row]:
        """{line number: what `parse_row` makes of the row {column: stripped text}}, in the file's order.

        Raises:
            InvalidWorkloadError: `parse_row` raised a ValueError, whose text is the reason, or a row has too few or
                too many cells; names the file and the line.
        """
        parsed: dict[int, Row] = {}
        for number, cells in self.lines:
            try:
                if len(cells) != len(self.header):
                    raise ValueError(f"{len(cells)} cells where the header has {len(self.header)}")
                row = {name: cell for name, cell in zip(self.header, cells, strict=True) if name is not None}
                parsed[number] = parse_row(row)
            except ValueError as error:
                raise InvalidWorkloadError(f"'{shown(self.path)}', line {number}: {error}.") from None
        return parsed


def read_user_table(
    path: Path,
    kind: str,
    item: str,
    columns: Sequence[str],
    wrong_header: Callable[[Sequence[str]], str],
    *,
    text: str | None = None,
    rename: Callable[[Sequence[str]], Sequence[str | None]] | None = None,
    most: int = MOST_ROWS,
) -> UserTable:
    """Reads a user's table and checks its header.

    What is a row: `formats.table_rows`. The comma at the end of a line
    and pandas's index, a first column without a name, are no columns.

    Args:
        path: of the file.
        kind: what the file is, for errors ("workload file").
        item: what a row is, for errors ("layer").
        columns: the names that a header may hold, each once; any where there are none.
        wrong_header: what is wrong with a header of such names; empty for a good one.
        text: the file's, where it is read already.
        rename: the columns of a header's names as they are written; None for what is not read.
        most: rows.

    Raises:
        InvalidWorkloadError: the file cannot be read, has no row, or its header is wrong; names the file and the line.
    """
    try:
        text = read_text(path) if text is None else text
    except InvalidWorkloadError as error:
        reason = str(error).removeprefix(f"{shown(path)}: ")
        if reason == "the file is empty.":
            text = ""
        else:
            raise InvalidWorkloadError(f"Cannot read the {kind} '{shown(path)}': {reason}") from None
    remarks: list[str] = []
    try:
        rows = list(itertools.islice(table_rows(text, remarks), most + 2))
    except ValueError as error:
        raise InvalidWorkloadError(f"'{shown(path)}', {error}.") from None
    comments = " ".join(line.lstrip("# ").rstrip() for line in remarks)
    if len(rows) < 2:
        raise InvalidWorkloadError(f"The {kind} '{shown(path)}' needs a header line and at least one {item}.")
    if len(rows) > most + 1:
        raise InvalidWorkloadError(f"'{shown(path)}': more than {most:,} rows; at most {most:,} are read.")
    number, written = rows[0]
    first = 1 if _is_index(written, rows[1:]) else 0  # pandas's, which says nothing of the rows
    names: list[str | None] = list(written[first:])
    while names and not names[-1]:  # a comma at the end of the line
        names.pop()
    header = list(rename([name or "" for name in names])) if rename else names
    named = [column for column in header if column is not None]
    unknown = [column for column in named if columns and column not in columns]
    if unknown:
        nameless = "the first column has no name" if not names[0] else "a column without a name"
        what = f"unknown column '{shortened(unknown[0])}'" if unknown[0] else nameless
        wrong = f"{what}; the columns are {', '.join(columns)}"
    elif twice := [column for column in named if named.count(column) > 1]:
        wrong = f"column '{twice[0]}' stands there twice"
    else:
        wrong = wrong_header(named)
    if wrong:
        raise InvalidWorkloadError(f"'{shown(path)}', line {number}: {wrong}.")
    kept = []
    for number, cells in rows[1:]:
        while len(cells) > first + len(header) and cells[-1][:1] in ("", "#"):  # a comment, or a comma at the end
            cells.pop()
        if any(cells):
            kept.append((number, cells[first:]))
    if not kept:
        raise InvalidWorkloadError(f"The {kind} '{shown(path)}' needs a header line and at least one {item}.")
    return UserTable(path, comments, tuple(header), tuple(kept))


def _is_index(header: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> bool:
    """Whether the first column is the index that pandas writes: whole numbers without a name."""
    if len(header) < 2 or header[0] not in ("", "Unnamed: 0"):
        return False
    return all(bool(cells) and cells[0].isascii() and cells[0].isdigit() for _, cells in rows)
