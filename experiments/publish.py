"""Publishing: a results directory's leaderboard as JSON, as Markdown and as one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..costmodels.errors import DsegymError
from .store import read_suite, read_trial, trial_directory

if TYPE_CHECKING:
    from .scoring.records import Leaderboard, Timings

__all__ = ["Publication", "publish"]


@dataclass(frozen=True)
class Publication:
    """What was published."""

    leaderboard: Leaderboard
    timings: Timings
    folder: Path  # where leaderboard.json, leaderboard.md and leaderboard.html lie
    missing: int  # trials of the suite that have no result yet


def publish(results: str | Path, output: str | Path | None = None) -> Publication:
    """Makes the leaderboard of a results directory and writes it.

    JSON and Markdown are a function of the trials alone: the same trials give the same bytes.

    Args:
        results: a directory that `run_suite` filled.
        output: the folder that the files go to, made if needed; `RESULTS/leaderboard` when left out.

    Raises:
        DsegymError: the directory holds no results, no finished trial, or a damaged one.
        OSError: a file cannot be written.
    """
    from .report.page import write_html
    from .report.sections import SECTIONS
    from .report.text import to_json, to_markdown
    from .scoring.leaderboard import build_leaderboard, build_timings

    results = Path(results)
    suite = read_suite(results)
    found = [trial_directory(results, identifier) for identifier in suite["trials"]]
    trials = [read_trial(directory) for directory in found if directory.is_dir()]
    if not trials:
        raise DsegymError(f"'{results}' holds no finished trial yet.")
    leaderboard = build_leaderboard(trials)
    folder = results / "leaderboard" if output is None else Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "leaderboard.json").write_text(to_json(leaderboard), encoding="utf-8")
    (folder / "leaderboard.md").write_text(to_markdown(leaderboard), encoding="utf-8")
    sections = [section for make in SECTIONS if (section := make(leaderboard)) is not None]
    write_html(leaderboard, trials, folder / "leaderboard.html", suite=dict(suite), sections=sections)
    return Publication(leaderboard, build_timings(trials), folder, missing=len(found) - len(trials))
