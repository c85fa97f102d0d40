"""Tables in the terminal, and how their cells read."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...costmodels.errors import visible
from ..formats import format_exact, format_number, name_and_unit

__all__ = [
    "LONG",
    "looseness",
    "obstacles",
    "progress_bar",
    "say",
    "steps_bar",
    "table",
    "tell_odd",
    "terminal",
    "units_of",
]

LONG = 24  # parameters of a design space that are shown one by one
PIPED = 160  # columns where nobody says how many there are
UNKNOWN = 80  # columns of a terminal that says it has none


def terminal(*, error: bool = False) -> Any:
    """Where a command prints. Nothing is markup there, and nothing is cut: what does not fit the width stands out."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    told = os.environ.get("COLUMNS", "")
    width = None if stream.isatty() else PIPED
    if told.isdecimal() and len(told) < 10:
        width = int(told) or UNKNOWN
    return Console(stderr=error, highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)


def say(console: Any, text: str, style: str | None = None) -> None:
    """Prints a sentence, its lines broken between words."""
    from ..report.sheet import wrapped

    console.print(wrapped("\n".join(map(visible, text.split("\n"))), console.width), style=style)


def tell_odd(results: Path) -> None:
    """A warning of what lies in a results directory and no reader counts, where there is any."""
    from ..odd_entries import odd_entries_told
    from ..suite_note import holds_suite, read_suite

    told = odd_entries_told(results, read_suite(results)["trials"] if holds_suite(results) else ())
    if told:
        say(terminal(error=True), f"warning: {told}")


def progress_bar(unit: str = "") -> Any:
    """A bar on standard error: name, how much of how much in this unit, the time so far and that left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    words = (TextColumn(unit),) if unit else ()
    left = TextColumn("left:"), TimeRemainingColumn()
    count = MofNCompleteColumn(table_column=Column(no_wrap=True))  # the bar gives way at 80 columns, not the count
    columns = TextColumn("{task.description}", markup=False), BarColumn(), count, *words
    return Progress(*columns, TimeElapsedColumn(), *left, console=terminal(error=True))


@contextlib.contextmanager
def steps_bar(name: str) -> Iterator[Callable[..., None]]:
    """A bar of trainings on standard error; what it yields is told steps, their total, figures and, at will, a name."""
    with progress_bar("steps") as progress:
        task, shown = progress.add_task(name, total=None), name

        def update(steps: int, total: int, figures: Mapping[str, float], name: str = name) -> None:
            nonlocal shown
            label = f"{name}, reward {figures['reward']:.4g}" if "reward" in figures else name
            if name != shown:  # another training: its time begins anew
                progress.reset(task, description=label)
                shown = name
            progress.update(task, completed=steps, total=total, description=label)

        yield update


def table(title: str, rows: Sequence[Mapping[str, object]], keys: int = 1) -> Any:
    """Rows as a table for the terminal; a column's unit, the last word of its name, stands in its heading.

    The first `keys` columns say what a row is about: they stand in each part of a table that is too wide.
    """
    from ..report.sheet import Column, Sheet

    columns = []
    for name in rows[0] if rows else ():
        words, unit = name_and_unit(str(name))
        number = all(isinstance(row[name], int | float) for row in rows)
        columns.append(Column(f"{words} [{unit}]" if unit else words, number))
    return Sheet(title, columns, [[_cell(value) for value in row.values()] for row in rows], keys)


def obstacles(problem: Any) -> list[str]:
    """A sentence where no result on an instance could be scored, none where it can."""
    return [f"no result can be scored here: {problem.obstacle}."] if problem.obstacle else []


def looseness(problem: Any) -> list[str]:
    """A sentence where a gap to the bound is no gap to the optimum, with the command that does something about it."""
    bound = problem.bound
    if not bound.looseness or problem.obstacle:
        return []
    sentence = f"the {bound.name} of {format_exact(bound.value)} is {bound.looseness}"
    if bound.remedy:
        from ...envs.core.scenarios import load_scenario

        declared = load_scenario(problem.scenario).options
        own = {name: problem.options[name] for name in declared}  # the order of values changes no bound
        given = [f"{name}={text}" for name, text in own.items() if text != _default(declared[name])]
        command = shlex.join(["dsegym", "bound", problem.scenario, *(w for each in given for w in ("--option", each))])
        sentence += f": `{command}` {bound.remedy}"
    return [f"{sentence}."]


def units_of(problem: Any) -> str:
    """The units of a space's parameters in one sentence; nothing where none has a unit, or where they are many."""
    found: dict[str, list[str]] = {}
    for parameter in problem.space.parameters if len(problem.space) <= LONG else ():
        if parameter.unit and parameter.unit not in parameter.name.split("_"):
            found.setdefault(parameter.unit, []).append(parameter.name)
    return "; ".join(f"{', '.join(names)} in {unit}" for unit, names in found.items())


def _default(option: Any) -> str:
    return option.text(option.default)


def _cell(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format_number(value)
    return str(value)
