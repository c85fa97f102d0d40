"""`dsegym learning`: whether learning pays, as a page made of stored results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...costmodels.errors import DsegymError, shortened, visible
from .tables import terminal

__all__ = ["learning"]

PAGE, STORED = "learning.md", "learning/results.json"
_MOST_BYTES = 2**26


def learning(
    results: Annotated[
        Path, typer.Argument(help="A results directory with evaluations, or the file that was made from one.")
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
    """Show whether learning pays: policies against the best rules on held-out instances, as a page.

    Example: `dsegym learning results/learning --output docs`
    """
    from ..door import write_by_rename
    from ..report.learning import learning_page
    from ..scoring.learning import from_stored, to_stored

    stored = to_stored(*_played(results))
    page = learning_page(*from_stored(stored))
    if output is None:
        print(page, end="")
        return
    for name, text in ((STORED, stored), (PAGE, page)):
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_by_rename(path, text.encode("utf-8"))
    terminal().print(visible(f"Page: {output / PAGE}; what it is made of: {output / STORED}"))


def _played(results: Path) -> tuple[list[Any], str, Any]:
    """What counts of a directory's evaluations, or of those in a file of `to_stored`; the suite's name, or "", and its
    trainings.
    """
    from ..door import read_file
    from ..evaluations import read_evaluations
    from ..policy_runner import read_policy_note, trainings_of
    from ..scoring.learning import from_stored
    from ..scoring.policies import played

    if results.is_file():
        try:
            return from_stored(read_file(results, results.parent, _MOST_BYTES).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise DsegymError(f"'{results}' is no file of stored results: {shortened(error, 300)}.") from None
    found = [played(result) for result in read_evaluations(results)]
    if not found:
        raise DsegymError(f"'{results}' holds no evaluation of a policy; `dsegym evaluate` and `dsegym run` make them.")
    return found, (read_policy_note(results) or {"name": ""})["name"], trainings_of(results)
