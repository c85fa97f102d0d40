"""`dsegym field`: which agent wins when, as a page made of stored results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...costmodels.errors import DsegymError, shortened, visible
from .tables import terminal

if TYPE_CHECKING:
    from ..scoring.field import Field

__all__ = ["field_command"]

PAGE, STORED = "which_agent_when.md", "field/results.json"
_MOST_BYTES = 2**26


def field_command(
    results: Annotated[
        Path, typer.Argument(help="A results directory with trials, or the file that was made from one.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help=f"A folder, docs say: {PAGE}, its picture and {STORED} are written there. Left out, the page is "
            "printed.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show which agent wins when: ranks and scores by samples, family and kind of space, as a page.

    Example: `dsegym field results/core --output docs`
    """
    from ..door import write_by_rename
    from ..report.field import PICTURE, field_page
    from ..report.rank_picture import rank_picture
    from ..scoring.field import from_stored, to_stored

    stored = to_stored(_field(results))
    field = from_stored(stored)
    page = field_page(field)
    if output is None:
        print(page, end="")
        return
    for name, text in ((STORED, stored), (PICTURE, rank_picture(field)), (PAGE, page)):
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_by_rename(path, text.encode("utf-8"))
    terminal().print(visible(f"Page: {output / PAGE}; what it is made of: {output / STORED}"))


def _field(results: Path) -> Field:
    """What counts of a directory's trials, or of those in a file of `to_stored`."""
    from ..batches import sound_trials
    from ..door import read_file
    from ..scoring.field import field_of, from_stored
    from ..suite_note import count_declared, read_suite

    if results.is_file():
        try:
            return from_stored(read_file(results, results.parent, _MOST_BYTES).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise DsegymError(f"'{results}' is no file of stored results: {shortened(error, 300)}.") from None
    note = read_suite(results)
    found = list(sound_trials(results, note))
    if not found:
        raise DsegymError(f"'{results}' holds no trial yet; `dsegym run` makes them.")
    declared = count_declared(note["declared"]) if "declared" in note else len(note["trials"])
    return field_of(found, note["name"], declared)
