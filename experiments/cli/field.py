"""`dsegym field` and `dsegym against`: which agent wins when, and against random search, of stored results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...costmodels.errors import shortened
from ..formats import counted
from .arguments import JsonOption
from .stored_pages import PageOption, SectionOption, read_stored, show_page, sound_trials_of
from .tables import say, terminal

__all__ = ["against_command", "field_command"]

PAGE, STORED = "which_agent_when.md", "field/results.json"
AGAINST_PAGE, AGAINST_STORED = "against_random.md", "against/results.json"

ResultsArguments = Annotated[
    list[Path],
    typer.Argument(
        help="Results directories, and files that were made from some: trials of all of them count, on the "
        "instances of the first."
    ),
]


def field_command(
    results: ResultsArguments,
    output: PageOption = None,
    section: SectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which agent wins when: ranks and scores by samples, family and kind of space, as a page.

    Example: `dsegym field results/core --output docs`

    Trials of an agent beside stored ones: `dsegym field docs/field/results.json results/mine --output results/page`
    """

    def made(stored: str) -> dict[str, str]:
        from ..report.field import PICTURE, field_page
        from ..report.rank_picture import rank_picture
        from ..scoring.field import from_stored

        known = from_stored(stored)
        return {PICTURE: rank_picture(known), PAGE: field_page(known)}

    show_page(output, as_json, section, PAGE, STORED, read=lambda: _stored(results), made=made)


def against_command(
    results: ResultsArguments,
    output: PageOption = None,
    section: SectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how likely each agent beats random search at equal samples, instance by instance, as a page.

    Example: `dsegym against results/against-random --output docs`
    """

    def made(stored: str) -> dict[str, str]:
        from ..report.against_random import against_random_page
        from ..scoring.field import from_stored

        return {AGAINST_PAGE: against_random_page(from_stored(stored))}

    show_page(output, as_json, section, AGAINST_PAGE, AGAINST_STORED, read=lambda: _stored(results), made=made)


def _stored(results: list[Path]) -> str:
    """What counts of the trials of several results, as it is stored."""
    from ..scoring.field import field_of, from_stored, joined, strangers, to_stored

    fields = [
        read_stored(path, from_stored) if path.is_file() else field_of(*sound_trials_of(path)) for path in results
    ]
    for path, field in zip(results[1:], fields[1:], strict=True):
        if left_out := strangers(fields[0], field):
            told = f"{counted(len(left_out), 'instance')} of {path} that {results[0]} does not have"
            say(terminal(error=True), f"warning: left out: {told}: {shortened(', '.join(left_out), 300)}.")
    return to_stored(joined(fields))
