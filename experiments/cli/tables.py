"""Tables in the terminal, and how their cells read."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ..formats import format_number, name_and_unit

__all__ = ["LONG", "table", "terminal"]

LONG = 24  # parameters of a design space that are shown one by one


def terminal(*, error: bool = False) -> Any:
    """Where a command prints: 160 columns wide where that is no terminal."""
    from rich.console import Console

    return Console(stderr=error, highlight=False, width=None if sys.stdout.isatty() else 160)


def table(title: str, rows: Sequence[Mapping[str, object]]) -> Any:
    """Rows as a table for the terminal; a column's unit, the last word of its name, stands in its heading."""
    from rich.table import Table
    from rich.text import Text  # as it is: a layer's name may look like markup

    made = Table(title=Text(title), title_justify="left", header_style="bold")
    for column in rows[0] if rows else ():
        numeric = all(isinstance(row[column], int | float) for row in rows)
        name, unit = name_and_unit(str(column))
        header = f"{name} [{unit}]" if unit else name
        widest = max(map(len, header.split()))  # so that no word of the heading is broken
        made.add_column(Text(header), justify="right" if numeric else "left", overflow="fold", min_width=widest)
    for row in rows:
        made.add_row(*(Text(_cell(value)) for value in row.values()))
    return made


def _cell(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format_number(value)
    return str(value)
