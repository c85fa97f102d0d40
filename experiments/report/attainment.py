"""Hypervolume and attainment of fronts in words and cells, for the page, Markdown and the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..formats import counted, interval_text
from ..scoring.records import FrontScore, FrontTable

if TYPE_CHECKING:
    from .sheet import Sheet

__all__ = ["cells", "explained", "head", "sheet", "title"]

_SHORT = {"Half": "Half attain", "Trials": "", "Some": "", "All": ""}  # in the terminal; without those that are empty


def title(table: FrontTable) -> str:
    """Which instance, and which front."""
    return f"{table.name}: the {table.kind} front of {counted(table.designs, 'design')}"


def explained(near: float) -> str:
    """How to read the columns, in a paragraph."""
    return (
        "Hypervolume: the mean over an agent's trials, relative to that of the front of all trials, or of all "
        "designs where these are few enough to cost each, at twice the reference's costs; the interval of 95 % is over "
        "trials. Attained: the share of the front's points that some, half or all of the trials attain, with a design "
        f"that is at least as good in every cost, or within {near:.0%}. All objectives' trials count; one that does "
        "not search for fronts is measured by what it came across. A front that has no point within twice the "
        "reference's costs has no hypervolume to be relative to."
    )


def head(near: float) -> tuple[str, ...]:
    """The headings of `cells`."""
    return "Agent", "Trials", "Hypervolume", "95 % interval", "Some", "Half", "All", f"Half, within {near:.0%}"


def cells(row: FrontScore) -> list[str]:
    """An agent's row under `head`, as plain text."""

    def share(value: float | None) -> str:
        return "none" if value is None else f"{value:.0%}"

    volume = ["-", "-"]
    if row.relative_hypervolume is not None:
        low, high = row.relative_hypervolume_low, row.relative_hypervolume_high
        interval = interval_text(low, high, lambda low, high: f"{low:.4f} to {high:.4f}")
        volume = [f"{row.relative_hypervolume:.4f}", interval]
    shares = row.attained_by_some, row.attained_by_half, row.attained_by_all, row.near_by_half
    return [row.agent, str(row.trials), *volume, *map(share, shares)]


def sheet(table: FrontTable) -> Sheet:
    """The columns that fit 80 of the terminal: without trials, and of attainment what half of them do."""
    from .sheet import Column, Sheet

    named = [_SHORT.get(name, name) for name in head(table.near_relative)]
    kept = [place for place, name in enumerate(named) if name]
    columns = [Column(named[place], number=place > 0) for place in kept]
    trials = counted(sum(row.trials for row in table.scores), "trial")
    rows = [[cells(row)[place] for place in kept] for row in table.scores]
    return Sheet(f"Hypervolume and attainment: {title(table)}, {trials}", columns, rows)
