"""`dsegym leaderboard` and `dsegym verify`: what came of a suite, and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...costmodels.errors import visible
from ..formats import counted
from .arguments import AllowOption, JsonOption, ResultsArgument
from .documents import print_document, print_json
from .tables import say, tell_odd, terminal

if TYPE_CHECKING:
    from ..verify import Verdict

__all__ = ["end_if_rejected", "found_by", "leaderboard", "tell_rejected", "verify_command"]

_SHOWN = ("Left out", "Loose bounds", "No feasible design", "One seed")  # beginnings of notes for the terminal
MOST_FRONTS = 3  # whose tables the terminal shows
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
    from ..report.attainment import sheet
    from ..report.policies import policy_sheet, sensitivity_sheet, sentences
    from ..report.text import timings_to_rich, to_json, to_rich
    from ..scoring.notes import TWO_SCORES

    published = publish(results, output, others=others or (), allow=allow or ())
    board = published.leaderboard
    if as_json:
        print_document(to_json(board))
    else:
        console = terminal()
        if board.rows:
            console.print(to_rich(board))
            say(console, TWO_SCORES)
            console.print(timings_to_rich(published.timings))
        for table in board.fronts[:MOST_FRONTS]:
            console.print(sheet(table))
        if (more := len(board.fronts) - MOST_FRONTS) > 0:
            say(console, f"Hypervolume and attainment of {counted(more, 'more instance')}: on the pages.")
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
    for directory in (results, *(others or ())):
        tell_odd(directory)
    for place in published.altered:
        say(terminal(error=True), f"warning: {place} is not the file that the trials ran on; verify rejects them.")
    if published.untrained:
        say(terminal(error=True), f"warning: not done yet: {counted(published.untrained, 'training')} of the suite.")
    if published.missing:
        total = published.missing + board.trials + sum(each.trials for each in board.left_out)
        say(terminal(error=True), f"warning: no result yet of {published.missing:,} of {counted(total, 'trial')}.")


def verify_command(
    results: ResultsArgument,
    allow: AllowOption = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Run the agents of finished trials again; they must find the same designs.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Replay every claimed design through the cost model, and every policy; reject what does not reproduce.

    Example: `dsegym verify results/quick`
    """
    from ..evaluations import evaluation_directories
    from ..suite_note import holds_suite, read_suite
    from ..verify import ALONE, CLAIMED, PLAYED, REPLAYED, RERUN, verify

    found = found_by(verify(results, allow=allow or (), rerun=rerun))
    suite = holds_suite(results)
    declared = read_suite(results).get("declared") if suite else None
    checked, claimed = (f"{REPLAYED}, {RERUN}", CLAIMED) if rerun else (REPLAYED, f"{ALONE}, {CLAIMED}")
    played = bool(evaluation_directories(results))
    if as_json:
        of_trials = {"checked": checked if suite else None, "only_claimed": claimed if suite else None}
        print_json({**found, "declared": declared, **of_trials, "of_policies": PLAYED if played else None})
    else:
        tell_rejected(found)
        if declared:
            say(terminal(), _declared_text(declared))
        if suite:
            say(terminal(), f"Checked: {checked}. Only claimed: {claimed}.")
        if played:
            say(terminal(), f"Of policies: {PLAYED}.")
        print(f"{found['reproduced']} of {found['claims']} reproduce.")
    end_if_rejected(found)


def _declared_text(declared: Mapping[str, Any]) -> str:
    """What a suite declares, in a sentence."""
    seeds = declared["seeds"]
    listed = ", ".join(map(str, seeds[:MOST_SEEDS])) + ", ..." * (len(seeds) > MOST_SEEDS)
    counts = f"{counted(len(declared['agents']), 'agent')} on {counted(len(declared['instances']), 'instance')}"
    samples = f"{counted(declared['samples'], 'sample')} {'at most' if 'budgets' in declared else 'each'}"
    return f"Declared: {counts}, the seed{'s' * (len(seeds) != 1)} {listed}, {samples}."


def found_by(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """How many claims there were, how many reproduce, and which do not."""
    rejected = [{"subject": each.subject, "problem": each.problem} for each in verdicts if each.problem]
    return {"claims": len(verdicts), "reproduced": len(verdicts) - len(rejected), "rejected": rejected}


def tell_rejected(found: Mapping[str, Any]) -> None:
    """A line of each claim that does not reproduce."""
    for each in found["rejected"]:
        print(f"rejected: {visible(each['problem'])}")


def end_if_rejected(found: Mapping[str, Any]) -> None:
    """Ends the command with the exit code 1 where a claim does not reproduce."""
    if found["rejected"]:
        raise typer.Exit(1)
