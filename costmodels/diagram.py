"""One design as rectangles over two axes, as a person looks at it: the same shape for every family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Diagram", "Rectangle", "in_row", "index_bars", "row_ticks"]

_INSET = 0.1  # of a row, above and below what lies in it
_LEAST, _MARK = 0.01, 0.008  # lengths of a bar that stands for the first value, and of a mark


@dataclass(frozen=True)
class Rectangle:
    """A buffer's stay in memory, a task on a processing element, ..."""

    x: float  # left edge, in the unit of the x axis
    y: float  # lower edge, in the unit of the y axis
    width: float
    height: float
    kind: str  # what it is: rectangles of one kind share a colour and an entry of the legend
    label: str = ""  # what a person reads about it


@dataclass(frozen=True)
class Diagram:
    """A picture of one design.

    Attributes:
        title: one line: what it shows, and what it costs.
        x_label, y_label: the axes' names with units.
        x_range, y_range: the axes' limits.
        rectangles: in drawing order.
        limit: a y value to draw as a line (a capacity), with its name; None for none.
        colours: {kind: #rrggbb} of kinds that are not coloured by their place among the names.
        y_ticks, x_ticks: (value, name) of an axis's marks, of names or a logarithm, say; numbers where left out.
    """

    title: str
    x_label: str
    y_label: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    rectangles: Sequence[Rectangle]
    limit: tuple[float, str] | None = None
    y_ticks: Sequence[tuple[float, str]] = ()
    x_ticks: Sequence[tuple[float, str]] = ()
    colours: Mapping[str, str] = field(default_factory=dict)


def row_ticks(names: Sequence[str]) -> tuple[tuple[float, str], ...]:
    """The marks of a y axis of rows, each 1 high, from below."""
    return tuple((place + 0.5, name) for place, name in enumerate(names))


def in_row(row: int, start: float, end: float, kind: str, label: str) -> Rectangle:
    """A rectangle that fills a row from `start` to `end`, with a margin above and below."""
    return Rectangle(start, row + _INSET, end - start, 1 - 2 * _INSET, kind, label)


def index_bars(
    title: str, rows: Sequence[tuple[str, str, float] | tuple[str]], reference: Sequence[float] = ()
) -> Diagram:
    """The picture of a design whose family has none of its own: a bar for each parameter.

    Args:
        title: one line.
        rows: (parameter, its value with unit, where the value stands among the allowed ones: 0 the first, 1 the last);
            of one that is not set the parameter alone, which gets no bar.
        reference: where the reference's values stand, drawn as a mark on each bar; empty where it is no design.
    """
    rectangles, names = [], []
    for place, row in enumerate(reversed(rows)):  # the first on top
        name, *chosen = row
        if chosen:
            value, length = chosen
            rectangles.append(in_row(place, 0.0, max(float(length), _LEAST), "this design", ""))
            name = f"{name} = {value}"
        names.append(name)
    for place, mark in enumerate(reversed(reference)):
        start = min(mark, 1 - _MARK)
        rectangles.append(in_row(place, start, start + _MARK, "reference", ""))
    return Diagram(
        title=title,
        x_label="place among the allowed values, 0 the first, 1 the last",
        y_label="",
        x_range=(0.0, 1.0),
        y_range=(0.0, float(max(len(rows), 1))),
        rectangles=rectangles,
        y_ticks=row_ticks(names),
    )
