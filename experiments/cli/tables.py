"""Tables in the terminal, and how their cells read."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["LONG", "name_and_unit", "table", "terminal"]

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
        made.add_row(*(Text(cell(value)) for value in row.values()))
    return made


# The last word of a quantity's name, where it is a unit.
_UNITS: Mapping[str, str] = {
    "s": "s",
    "us": "us",
    "js": "J s",
    "bytes": "B",
    "j": "J",
    "mm2": "mm2",
    "hz": "Hz",
    "words": "words",
    "bits": "bits",
    "tokens": "tokens",
    "tflop": "TFLOP",
    "teflop": "TeFLOP",
}
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def name_and_unit(column: str) -> tuple[str, str]:
    """A quantity's name taken apart: its words, and its unit or nothing."""
    stem, _, last = column.rpartition("_")
    unit = _UNITS.get(last, "") if stem else ""
    return (stem if unit else column).replace("_", " "), unit


def cell(value: object) -> str:
    """A number in at most five digits: 12,345 or 123.4 M or 1.234e-05; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) and abs(value) < 100_000:
        return f"{value:,}"
    if isinstance(value, int) or abs(value) >= 100_000:
        scale, suffix = next(pair for pair in _SUFFIXES if abs(value) >= pair[0])
        return f"{value / scale:.4g} {suffix}"
    return f"{value:.4g}"
