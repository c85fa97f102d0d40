"""`dsegym leaderboard` and `dsegym verify`: what came of a suite, and whether it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...costmodels.errors import DsegymError
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
    from ..report.page import write_html
    from ..report.sections.designs import diagram_figures
    from ..report.sections.sweeps import sweep_figures
    from ..report.text import timings_to_rich, to_json, to_markdown, to_rich
    from ..scoring.leaderboard import build_leaderboard, build_timings
    from ..store import read_suite, read_trial, trial_directory

    suite = read_suite(results)
    found = [trial_directory(results, identifier) for identifier in suite["trials"]]
    trials = [read_trial(directory) for directory in found if directory.is_dir()]
    if not trials:
        raise DsegymError(f"'{results}' holds no finished trial yet.")
    board = build_leaderboard(trials)
    target = output or results / "leaderboard"
    target.mkdir(parents=True, exist_ok=True)
    (target / "leaderboard.json").write_text(to_json(board), encoding="utf-8")
    (target / "leaderboard.md").write_text(to_markdown(board), encoding="utf-8")
    figures = [*sweep_figures(board), *diagram_figures(board)]
    write_html(board, trials, target / "leaderboard.html", suite=dict(suite), figures=figures)
    if as_json:
        print(to_json(board), end="")
    else:
        console = terminal()
        console.print(to_rich(board))
        console.print(timings_to_rich(build_timings(trials)))
        console.print(f"Pages: {target / 'leaderboard.html'}, leaderboard.md, leaderboard.json", soft_wrap=True)
    if len(trials) < len(found):
        terminal(error=True).print(f"warning: {len(found) - len(trials)} of {len(found)} trials have no result yet.")


def verify_command(results: ResultsArgument) -> None:
    """Replay every claimed design through the cost model; reject what does not reproduce.

    Example: `dsegym verify results/quick`
    """
    from ..verify import verify

    verdicts = list(verify(results))
    failures = [verdict for verdict in verdicts if verdict.problem]
    for verdict in failures:
        print(f"rejected: {verdict.problem}")
    print(f"{len(verdicts) - len(failures)} of {len(verdicts)} reproduce.")
    if failures:
        raise typer.Exit(1)
