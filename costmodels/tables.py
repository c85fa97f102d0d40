"""Tables of values with header comments: the package's own, and a user's, whose errors name the line.

A table is CSV. Lines that start with `#` are comments, empty lines are skipped, and the first other line names the
columns. What a file may be: `formats.py`; numbers: `files.py`.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .errors import InvalidWorkloadError
from .files import read_text, shortened, shown

__all__ = [
    "UserTable",
    "header_cells",
    "normalised",
    "numbered_lines",
    "package_path",
    "package_rows",
    "read_user_table",
    "table_rows",
]

MOST_ROWS = 100_000
_LONGEST_LINE = 100_000  # characters of a line, or a row; csv's own limit for a cell can be set by any library
_BLANK = " \t\n\u00a0"  # around a cell; spreadsheets write the last one
_DECLARED = re.compile(r'\s*"?sep=([,;\t|])"?[\s,;]*', re.IGNORECASE)  # Excel's first line

Row = TypeVar("Row")


def package_path(name: str) -> Path:
    """Where a data file or folder of the package lies, by its path below costmodels: "memory/platforms.csv"."""
    return Path(str(importlib.resources.files(__name__.rpartition(".")[0]) / name))


@functools.cache
def package_rows(name: str) -> tuple[Mapping[str, str], ...]:
    """The rows of a table of the package as {column: text}, by its path below costmodels: "memory/platforms.csv"."""
    lines = package_path(name).read_text(encoding="utf-8").splitlines()
    return tuple(csv.DictReader(line for line in lines if not line.startswith("#")))


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) of each line, as they are asked for."""
    start, number = 0, 1
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield number, text[start:end]
        start, number = end + 1, number + 1


def _separator_of(line: str) -> str:
    """What separates the cells of a header: a comma, or where there is none a tab or a semicolon."""
    return next((separator for separator in ",\t;" if separator in line), ",")


def normalised(name: str) -> str:
    """A column's name as it is compared: small letters, single spaces."""
    return " ".join(name.replace("\u00a0", " ").replace("_", " ").lower().split())


def table_rows(text: str, comments: list[str] | None = None) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, stripped cells) of each row of a table; a cell in quotes may hold ends of lines.

    Lines that are empty, or begin with # where a row may begin, are no rows. Excel's first line, `sep=;`, names what
    separates the cells; otherwise the header does.

    Args:
        text: of the table.
        comments: to which the lines that begin with # are appended.

    Raises:
        ValueError: a line is too long, or a quote is not closed; names the line.
    """
    lines = numbered_lines(text)
    ended = False

    def following(first: int, length: int) -> Iterator[str]:
        """The lines that the cells in quotes of a row go on to."""
        nonlocal ended
        for number, line in lines:
            length += len(line)
            if length > _LONGEST_LINE:
                raise ValueError(
                    f"line {first}: a row of more than {_LONGEST_LINE:,} characters; is a quote not closed?"
                )
            yield checked(number, line)
        ended = True

    def checked(number: int, line: str) -> str:
        if len(line) > _LONGEST_LINE:
            raise ValueError(f"line {number}: {len(line):,} characters; at most {_LONGEST_LINE:,} are read")
        return line + "\n"

    separator = ""
    for number, line in lines:
        if line.startswith("#"):
            if comments is not None:
                comments.append(line)
            continue
        if not line.strip():
            continue
        row = checked(number, line)
        if not separator:
            if declared := _DECLARED.fullmatch(line):
                separator = declared[1]
                continue
            separator = _separator_of(line)
        try:
            cells = next(csv.reader(itertools.chain([row], following(number, len(line))), delimiter=separator))
        except csv.Error as error:
            raise ValueError(f"line {number}: {error}") from None
        if ended:
            raise ValueError(f"line {number}: a quote is opened and not closed")
        yield number, [cell.strip(_BLANK) for cell in cells]


def header_cells(text: str) -> list[str]:
    """The names of a table's columns, stripped."""
    try:
        return next(table_rows(text), (0, []))[1]
    except ValueError:
        return []


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

    What is a row: `table_rows`. The comma at the end of a line and pandas's index, a first column without a name, are
    no columns.

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
