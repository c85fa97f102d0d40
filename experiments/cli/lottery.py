"""`dsegym lottery`: what draws of hyperparameters are worth at each budget, as a page made of stored results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...costmodels.errors import DsegymError, shortened, visible
from .tables import terminal

if TYPE_CHECKING:
    from ..scoring.lottery import LotteryResults

__all__ = ["lottery_command"]

PAGE, STORED = "hyperparameter_lottery.md", "lottery/results.json"
_MOST_BYTES = 2**26


def lottery_command(
    results: Annotated[
        Path, typer.Argument(help="A results directory with trials, or the file that was made from one.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help=f"A folder, docs say: {PAGE} and {STORED} are written there. Left out, the page is printed.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show the hyperparameter lottery: spread over draws, winners by budget, whether anyone dominates, as a page.

    Example: `dsegym lottery results/lottery --output docs`
    """
    from ..door import write_by_rename
    from ..report.lottery import lottery_page
    from ..scoring.lottery import from_stored, to_stored

    stored = to_stored(_lottery(results))
    page = lottery_page(from_stored(stored))
    if output is None:
        print(page, end="")
        return
    for name, text in ((STORED, stored), (PAGE, page)):
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_by_rename(path, text.encode("utf-8"))
    terminal().print(visible(f"Page: {output / PAGE}; what it is made of: {output / STORED}"))


def _lottery(results: Path) -> LotteryResults:
    """What counts of a directory's trials, or of those in a file of `to_stored`."""
    from ..batches import sound_trials
    from ..door import read_file
    from ..scoring.lottery import check_drawn, from_stored, lottery_of
    from ..suite_note import count_declared, read_suite

    if results.is_file():
        try:
            found = from_stored(read_file(results, results.parent, _MOST_BYTES).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise DsegymError(f"'{results}' is no file of stored results: {shortened(error, 300)}.") from None
    else:
        note = read_suite(results)
        trials = list(sound_trials(results, note))
        if not trials:
            raise DsegymError(f"'{results}' holds no trial yet; `dsegym run` makes them.")
        declared = count_declared(note["declared"]) if "declared" in note else len(note["trials"])
        found = lottery_of(trials, note["name"], declared)
    check_drawn(found)
    return found
