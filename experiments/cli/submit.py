"""`dsegym submit new` and `dsegym submit check`: results with a card, for a board that others keep."""

from __future__ import annotations

from typing import Annotated

import typer

from ...costmodels.errors import visible
from .arguments import AllowOption, ResultsArgument
from .tables import say, table, terminal

__all__ = ["app"]

app = typer.Typer(help="Prepare results for somebody else's board, and check those of others.", no_args_is_help=True)


@app.command("new")
def new(results: ResultsArgument) -> None:
    """Write a card into a results directory, to be filled in.

    Example: `dsegym submit new results/mine`
    """
    from ..submission import write_template

    path = write_template(results)
    say(terminal(), f"{path} is there: fill in each '?', then `dsegym submit check {results}`.")


@app.command("check")
def check(
    results: ResultsArgument,
    allow: AllowOption = None,
    rerun: Annotated[
        bool,
        typer.Option(
            "--rerun",
            help="Run the agents again that the card calls deterministic, in processes of their own. That is no wall "
            "against harm: run code that you do not trust in a container.",
        ),
    ] = False,
) -> None:
    """Check a submission: its card, its files, and every claim, by replaying it. None of its code runs unasked.

    Example: `dsegym submit check results/mine`
    """
    from ..submission import check_submission
    from ..verify import verify

    card = check_submission(results)
    console = terminal()
    say(console, f"{card.title}, by {', '.join(card.authors)}, {card.date}.")
    rows = [
        {
            "entry": visible(entry.name),
            "code": visible(entry.source),
            "deterministic": "yes" if entry.deterministic else "no",
            "hyperparameters chosen on": visible(entry.chosen_on),
        }
        for entry in card.entries
    ]
    console.print(table("Entries", rows))
    again = [entry.name for entry in card.entries if entry.deterministic] if rerun else False
    verdicts = verify(results, allow=allow or (), rerun=again)
    failures = [verdict for verdict in verdicts if verdict.problem]
    for verdict in failures:
        print(f"rejected: {visible(verdict.problem)}")
    print(f"{len(verdicts) - len(failures)} of {len(verdicts)} reproduce.")
    if failures:
        raise typer.Exit(1)
    say(console, "The submission holds." + " Its agents were not run again (--rerun does)." * (not rerun))
