"""`dsegym leaderboard` and `dsegym verify`: what came of a suite, and whether it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .arguments import JsonOption, ResultsArgument
from .tables import terminal

__all__ = ["leaderboard", "verify_command"]


def leaderboard(
    results: ResultsArgument,
    output: Annotated[
        Path | None, typer.Option("--output", help="Where the files go; RESULTS/leaderboard when left out.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the leaderboard, and write it as JSON, Markdown and one HTML page.

    Example: `dsegym leaderboard results/quick`
    """
    from ..publish import publish
    from ..report.text import timings_to_rich, to_json, to_rich

    published = publish(results, output)
    if as_json:
        print(to_json(published.leaderboard), end="")
    else:
        console = terminal()
        console.print(to_rich(published.leaderboard))
        console.print(timings_to_rich(published.timings))
        console.print(
            f"Pages: {published.folder / 'leaderboard.html'}, leaderboard.md, leaderboard.json", soft_wrap=True
        )
    if published.missing:
        total = published.missing + published.leaderboard.trials
        terminal(error=True).print(f"warning: {published.missing} of {total} trials have no result yet.")


def verify_command(results: ResultsArgument) -> None:
    """Replay every claimed design through the cost model; reject what does not reproduce.

    Example: `dsegym verify results/quick`
    """
    from ..verify import verify

    verdicts = verify(results)
    failures = [verdict for verdict in verdicts if verdict.problem]
    for verdict in failures:
        print(f"rejected: {verdict.problem}")
    print(f"{len(verdicts) - len(failures)} of {len(verdicts)} reproduce.")
    if failures:
        raise typer.Exit(1)
