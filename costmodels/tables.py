"""Tables of values with header comments: the package's own, and a user's, whose errors name the line.

A table is CSV. Lines that start with `#` are comments, empty lines are skipped, and the first other line names the
columns.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .errors import InvalidWorkloadError

__all__ = ["UserTable", "package_path", "package_rows", "plain_number", "read_user_table", "whole_number"]

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
    header: tuple[str, ...]
    lines: tuple[tuple[int, str], ...]  # (number, text) of each row

    def parse(self, parse_row: Callable[[Mapping[str, str]], Row]) -> dict[int, Row]:
        """{line number: what `parse_row` makes of the row {column: stripped text}}, in the file's order.

        Raises:
            InvalidWorkloadError: `parse_row` raised a ValueError, whose text is the reason, or a row has too few or
                too many cells; names the file and the line.
        """
        parsed: dict[int, Row] = {}
        for number, line in self.lines:
            try:
                cells = _cells(line)
                if len(cells) != len(self.header):
                    raise ValueError(f"{len(cells)} cells where the header has {len(self.header)}")
                parsed[number] = parse_row(dict(zip(self.header, cells, strict=True)))
            except (ValueError, csv.Error) as error:
                raise InvalidWorkloadError(f"'{self.path}', line {number}: {error}.") from None
        return parsed


def read_user_table(
    path: Path, kind: str, item: str, columns: Sequence[str], wrong_header: Callable[[Sequence[str]], str]
) -> UserTable:
    """Reads a user's table and checks its header.

    Args:
        path: of the file.
        kind: what the file is, for errors ("workload file").
        item: what a row is, for errors ("layer").
        columns: the names that a header may hold, each once.
        wrong_header: what is wrong with a header of such names; empty for a good one.

    Raises:
        InvalidWorkloadError: the file cannot be read, has no row, or its header is wrong; names the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin files with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidWorkloadError(f"Cannot read the {kind} '{path}': {reason}.") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    comments = " ".join(line.lstrip("# ").rstrip() for _, line in lines if line.startswith("#"))
    body = [(number, line) for number, line in lines if not line.startswith("#")]
    if len(body) < 2:
        raise InvalidWorkloadError(f"The {kind} '{path}' needs a header line and at least one {item}.")
    number, line = body[0]
    try:
        header = _cells(line)
    except csv.Error as error:
        raise InvalidWorkloadError(f"'{path}', line {number}: {error}.") from None
    unknown = [column for column in header if column not in columns]
    twice = [column for column in header if header.count(column) > 1]
    if unknown:
        wrong = f"unknown column '{unknown[0]}'; the columns are {', '.join(columns)}"
    elif twice:
        wrong = f"column '{twice[0]}' stands there twice"
    else:
        wrong = wrong_header(header)
    if wrong:
        raise InvalidWorkloadError(f"'{path}', line {number}: {wrong}.")
    return UserTable(path, comments, tuple(header), tuple(body[1:]))


def plain_number(given: object) -> float:
    """The number that a user gives as itself or as its text, in the digits that everyone reads.

    Raises:
        ValueError: it is none, or only Python takes it for one: `1_0`, digits of other scripts, a truth value.
    """
    if isinstance(given, bool) or not isinstance(given, str | numbers.Real):
        raise ValueError(f"{given!r} is no number")
    if isinstance(given, str) and not _is_plain(given):
        raise ValueError(f"'{given}' is no number")
    return float(given)


def _is_plain(text: str) -> bool:
    return text.isascii() and "_" not in text


def whole_number(text: str, column: str, least: int, most: int) -> int:
    """A cell's whole number.

    Raises:
        ValueError: it is none, or out of range; names the column, the text and what is allowed.
    """
    try:
        value = int(text) if _is_plain(text) else least - 1
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise ValueError(f"{column} = '{text}' is not a whole number from {least} to {most}")
    return value


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line]))]
