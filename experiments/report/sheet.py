"""Tables and sentences of the terminal, at any width: no number is cut, and no column left out.

Lines break at blanks, and inside a long word behind a comma or a slash that no digit follows. A table that is too wide
becomes several, which share their first columns; where even that is too wide, each row becomes lines of `name: value`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from ...costmodels.errors import visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

__all__ = ["Column", "Sheet", "wrapped"]

_ATOMS = re.compile(r"\s+|(?:[^\s,;/]|[,;/](?=[\d\s,;/]|$))*[,;/]?")


@dataclass(frozen=True)
class Column:
    """A column of a sheet; numbers stand at its right, and each of its cells on one line."""

    name: str
    number: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table that Rich prints.

    Attributes:
        title: stands above it, as it is; empty for none.
        columns, rows: as many cells in each row as there are columns.
        keys: how many columns, from the first, say what a row is about.
        last_apart: whether a line stands above the last row.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    keys: int = 1
    last_apart: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[object]:
        """What Rich prints."""
        cells = [[visible(cell) for cell in row] for row in self.rows]
        if self.title:
            yield Text(wrapped(visible(self.title), options.max_width), style="italic", no_wrap=True, overflow="ignore")
        if not cells:
            return
        least = [
            max(_least_width(column.name), *(_least_width(row[place], whole=column.number) for row in cells))
            for place, column in enumerate(self.columns)
        ]
        natural = [
            max([least[place], cell_len(column.name), *(cell_len(row[place]) for row in cells)])
            for place, column in enumerate(self.columns)
        ]
        blocks = self._blocks(least, options.max_width)
        if blocks is None:
            yield Text("\n".join(self._records(cells)), no_wrap=True, overflow="ignore")
            return
        for block in blocks:
            room = options.max_width - _frame(block)
            widths = _shared([least[place] for place in block], [natural[place] for place in block], room)
            yield self._table(block, widths, cells)

    def _blocks(self, least: Sequence[int], width: int) -> list[list[int]] | None:
        """The columns of each table; None where a column does not even fit beside the keys."""
        keys = list(range(min(self.keys, len(self.columns))))
        blocks = [list(keys)]
        for place in range(len(keys), len(self.columns)):
            if _total(least, [*blocks[-1], place]) > width and blocks[-1] != keys:
                blocks.append(list(keys))
            blocks[-1].append(place)
        return blocks if all(_total(least, block) <= width for block in blocks) else None

    def _records(self, cells: Sequence[Sequence[str]]) -> Iterator[str]:
        for row in cells:
            for column, cell in zip(self.columns, row, strict=True):
                if cell:
                    yield f"{column.name}: {cell}"
            yield ""

    def _table(self, block: Sequence[int], widths: Sequence[int], cells: Sequence[Sequence[str]]) -> Table:
        table = Table(header_style="bold")
        for place, width in zip(block, widths, strict=True):
            column = self.columns[place]
            heading = Text(wrapped(column.name, width))
            table.add_column(heading, justify="right" if column.number else "left", width=width, no_wrap=True)
        for number, row in enumerate(cells, start=1):
            if self.last_apart and number == len(cells):
                table.add_section()
            table.add_row(*(Text(wrapped(row[place], width)) for place, width in zip(block, widths, strict=True)))
        return table


def _least_width(text: str, *, whole: bool = False) -> int:
    """Cells that a text needs where lines break as they may, or not at all."""
    return (
        cell_len(text) if whole else max((cell_len(atom) for atom in _ATOMS.findall(text) if atom.strip()), default=0)
    )


def _frame(block: Sequence[int]) -> int:
    return 3 * len(block) + 1


def _total(least: Sequence[int], block: Sequence[int]) -> int:
    return sum(least[place] for place in block) + _frame(block)


def _shared(least: Sequence[int], natural: Sequence[int], room: int) -> list[int]:
    """Widths between the least and the natural ones that share the room: the narrower needs are met first."""
    widths = list(least)
    left = room - sum(least)
    order = sorted(range(len(least)), key=lambda place: natural[place] - least[place])
    for number, place in enumerate(order):
        more = min(natural[place] - least[place], left // (len(order) - number))
        widths[place] += more
        left -= more
    return widths


def wrapped(text: str, width: int) -> str:
    """A text in lines of at most so many cells, as far as its words let it; line breaks in it stay."""
    return "\n".join(line for part in text.split("\n") for line in _lines(part, width))


def _lines(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for atom in _ATOMS.findall(text):
        if line.strip() and cell_len((line + atom).rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
            if atom.isspace():
                continue
        line += atom
    return [*lines, line.rstrip()]
