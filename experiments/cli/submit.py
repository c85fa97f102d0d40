"""`dsegym submit new` and `dsegym submit check`: results with a card, for a board that others keep."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ...costmodels.errors import visible
from .arguments import AllowOption, JsonOption, ResultsArgument
from .board import end_if_rejected, found_by, tell_rejected
from .documents import alone, print_json
from .tables import say, table, terminal

__all__ = ["app"]

app = typer.Typer(help="Prepare results for somebody else's board, and check those of others.", no_args_is_help=True)


@app.command("new")
@alone
def new(results: ResultsArgument, as_json: JsonOption = False) -> None:
    """Write a card into a results directory, to be filled in.

    Example: `dsegym submit new results/mine`
    """
    from ..submission import write_template

    path = write_template(results)
    if as_json:
        print_json({"card": str(path)})
        return
    say(terminal(), f"{path} is there: fill in each '?', then `dsegym submit check {results}`.")


@app.command("check")
@alone
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
    as_json: JsonOption = False,
) -> None:
    """Check a submission: its card, its files, and every claim, by replaying it. None of its code runs unasked.

    Example: `dsegym submit check results/mine`
    """
    from ..submission import check_submission
    from ..verify import verify

    card = check_submission(results)
    again = [entry.name for entry in card.entries if entry.deterministic] if rerun else False
    if as_json:
        found = found_by(verify(results, allow=allow or (), rerun=again))
        print_json({**found, "run_again": again or [], "card": {**asdict(card), "date": card.date.isoformat()}})
        end_if_rejected(found)
        return
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
    found = found_by(verify(results, allow=allow or (), rerun=again))
    tell_rejected(found)
    print(f"{found['reproduced']} of {found['claims']} reproduce.")
    end_if_rejected(found)
    say(console, "The submission holds." + " Its agents were not run again (--rerun does)." * (not rerun))
