"""`dsegym field`: which agent wins when, as a page made of stored results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .arguments import JsonOption
from .stored_pages import PageOption, read_stored, show_page, sound_trials_of

__all__ = ["field_command"]

PAGE, STORED = "which_agent_when.md", "field/results.json"

ResultsArguments = Annotated[
    list[Path],
    typer.Argument(help="Results directories, and files that were made from some; trials of all of them count."),
]


def field_command(results: ResultsArguments, output: PageOption = None, as_json: JsonOption = False) -> None:
    """Show which agent wins when: ranks and scores by samples, family and kind of space, as a page.

    Example: `dsegym field results/core --output docs`

    Trials of an agent beside stored ones: `dsegym field docs/field/results.json results/mine --output results/page`
    """
    from ..scoring.field import Field, field_of, from_stored, joined, to_stored

    def field(path: Path) -> Field:
        return read_stored(path, from_stored) if path.is_file() else field_of(*sound_trials_of(path))

    def read() -> str:
        return to_stored(joined([field(path) for path in results]))

    def made(stored: str) -> dict[str, str]:
        from ..report.field import PICTURE, field_page
        from ..report.rank_picture import rank_picture

        known = from_stored(stored)
        return {PICTURE: rank_picture(known), PAGE: field_page(known)}

    show_page(output, as_json, PAGE, STORED, read=read, made=made)
