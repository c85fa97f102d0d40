"""`dsegym leaderboard` and `dsegym verify`: what came of a suite, and whether it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...costmodels.errors import visible
from .arguments import AllowOption, JsonOption, ResultsArgument
from .tables import say, terminal

__all__ = ["leaderboard", "verify_command"]

_SHOWN = ("Left out", "Loose bounds", "No feasible design", "One seed")  # beginnings of notes for the terminal
MOST_SEEDS = 20  # that `verify` lists


def leaderboard(
    results: ResultsArgument,
    others: Annotated[
        list[Path] | None,
        typer.Argument(help="More of them, with other agents on the same instances: submissions say. Needs --output."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Where the files go; RESULTS/leaderboard when left out.")
    ] = None,
    allow: AllowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the leaderboard, and write it as JSON, Markdown and one HTML page.

    Example: `dsegym leaderboard results/quick`

    With a submission: `dsegym leaderboard results/quick submissions/tabu --output board`
    """
    from ..publish import publish
    from ..report.policies import policy_sheet, sensitivity_sheet, sentences
    from ..report.text import timings_to_rich, to_json, to_rich

    published = publish(results, output, others=others or (), allow=allow or ())
    board = published.leaderboard
    if as_json:
        print(to_json(board), end="")
    else:
        console = terminal()
        if board.rows:
            console.print(to_rich(board))
            console.print(timings_to_rich(published.timings))
        for table in board.policies:
            console.print(policy_sheet(table))
            for text in sentences(table):
                say(console, text)
        for found in board.sensitivity:
            console.print(sensitivity_sheet(found))
        for note in board.notes:
            if note.startswith(_SHOWN) or " was submitted by " in note:
                say(console, note)
        pages = f"Pages: {published.folder / 'leaderboard.html'}, leaderboard.md, leaderboard.json"
        console.print(visible(pages))
    for place in published.altered:
        say(terminal(error=True), f"warning: {place} is not the file that the trials ran on; verify rejects them.")
    if published.untrained:
        say(terminal(error=True), f"warning: {published.untrained} trainings of the suite are not done yet.")
    if published.missing:
        total = published.missing + board.trials + sum(each.trials for each in board.left_out)
        say(terminal(error=True), f"warning: {published.missing} of {total} trials have no result yet.")


def verify_command(
    results: ResultsArgument,
    allow: AllowOption = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Run the agents of finished trials again; they must find the same designs.")
    ] = False,
) -> None:
    """Replay every claimed design through the cost model, and every policy; reject what does not reproduce.

    Example: `dsegym verify results/quick`
    """
    from ..evaluations import evaluation_directories
    from ..suite_note import holds_suite, read_suite
    from ..verify import ALONE, CLAIMED, PLAYED, REPLAYED, RERUN, verify

    verdicts = verify(results, allow=allow or (), rerun=rerun)
    failures = [verdict for verdict in verdicts if verdict.problem]
    for verdict in failures:
        print(f"rejected: {visible(verdict.problem)}")
    declared = read_suite(results).get("declared") if holds_suite(results) else None
    if declared:
        seeds = ", ".join(map(str, declared["seeds"][:MOST_SEEDS])) + ", ..." * (len(declared["seeds"]) > MOST_SEEDS)
        counts = f"{len(declared['agents'])} agents on {len(declared['instances'])} instances"
        most = "samples at most" if "budgets" in declared else "samples each"
        say(terminal(), f"Declared: {counts}, the seeds {seeds}, {declared['samples']} {most}.")
    checked, claimed = (f"{REPLAYED}, {RERUN}", CLAIMED) if rerun else (REPLAYED, f"{ALONE}, {CLAIMED}")
    if holds_suite(results):
        say(terminal(), f"Checked: {checked}. Only claimed: {claimed}.")
    if evaluation_directories(results):
        say(terminal(), f"Of policies: {PLAYED}.")
    print(f"{len(verdicts) - len(failures)} of {len(verdicts)} reproduce.")
    if failures:
        raise typer.Exit(1)
