"""Publishing: a results directory's leaderboard as JSON, as Markdown and as one HTML page."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..costmodels.errors import CorruptResultError, DsegymError
from ..costmodels.files import file_hash
from .batches import stored_trials, strays
from .door import check_folder, write_by_rename
from .evaluations import evaluation_directories, read_evaluations
from .policy_runner import policy_there, read_policy_note
from .store import TrialResult, holds_suite, kept_files, read_suite
from .suite import located

if TYPE_CHECKING:
    from .scoring.records import Leaderboard, Timings

__all__ = ["NO_SUITE", "Publication", "board_of", "publish"]


# What stands for the note of a suite where a directory holds evaluations of policies only.
NO_SUITE: Mapping[str, Any] = {
    "name": "Policies",
    "description": "Policies and rules on instances that no policy was trained on: what carries over, and by how much.",
    "trials": [],
}


@dataclass(frozen=True)
class Publication:
    """What was published."""

    leaderboard: Leaderboard
    timings: Timings
    folder: Path  # where leaderboard.json, leaderboard.md and leaderboard.html lie
    missing: int  # trials of the suite that have no result yet
    untrained: int = 0  # policies of a suite of them that are not there yet
    altered: tuple[str, ...] = ()  # users' files that the results keep, and whose contents are not those of the trials


def publish(results: str | Path, output: str | Path | None = None, *, allow: Collection[str] = ()) -> Publication:
    """Makes the leaderboard of a results directory and writes it.

    JSON and Markdown are a function of the trials alone: the same trials give the same bytes.

    Args:
        results: a directory that `run_suite` filled, or `dsegym evaluate`, or both.
        output: the folder that the files go to, made if needed; `RESULTS/leaderboard` when left out.
        allow: packages beside this one that may be imported for the page's drawings, where trials name them.

    Raises:
        DsegymError: the directory holds no results, no finished trial and no evaluation, or a damaged one; or its
            leaderboard's folder is a link that leads out of it.
        OSError: a file cannot be written; one that was there before stays whole.
    """
    from .report.page import write_html
    from .report.policies import policy_sections
    from .report.sections import SECTIONS, fronts
    from .report.text import to_json, to_markdown
    from .scoring.leaderboard import build_timings

    results = Path(results)
    suite = read_suite(results) if holds_suite(results) else {**NO_SUITE, **(read_policy_note(results) or {})}
    trials = []
    for _, found in stored_trials(results, suite["trials"]):
        if isinstance(found, CorruptResultError):
            remedy = "`dsegym verify` names every damaged trial, and running the suite again replaces them"
            raise CorruptResultError(f"{found} ({remedy}.)")
        trials.append(found)
    if not trials and not evaluation_directories(results):
        raise DsegymError(f"'{results}' holds no finished trial yet.")
    leaderboard = board_of(results, suite, trials)
    folder = results / "leaderboard" if output is None else Path(output)
    if output is None:
        check_folder(folder, results)
    here = [replace(instance, files=located(instance.files, results)) for instance in leaderboard.instances]
    drawn = replace(leaderboard, instances=tuple(here))
    sections = policy_sections(leaderboard.policies, leaderboard.sensitivity)
    sections += [section for make in SECTIONS if (section := make(drawn, allow)) is not None]
    sections += [section for section in [fronts.section(drawn, trials, allow)] if section is not None]
    about = {key: suite[key] for key in ("name", "description")}
    folder.mkdir(parents=True, exist_ok=True)
    timings = build_timings(trials)
    page = folder / "leaderboard.html"
    write_html(leaderboard, trials, page, suite=about, sections=sections, timings=timings)
    for name, text in (("leaderboard.json", to_json(leaderboard)), ("leaderboard.md", to_markdown(leaderboard))):
        write_by_rename(folder / name, text.encode("utf-8"))
    missing = len(suite["trials"]) - len(trials)
    untrained = sum(not policy_there(results, name) for name in suite.get("trainings", ()))
    return Publication(leaderboard, timings, folder, missing, untrained, _altered(results, suite))


def _altered(results: Path, suite: Mapping[str, Any]) -> tuple[str, ...]:
    """The users' files of a results directory that are gone, are no plain files, or whose contents have changed."""

    def same(place: str) -> bool:
        try:
            digest = file_hash(results / place)
        except DsegymError:
            return False
        return not (results / place).is_symlink() and place.partition("/")[2].startswith(digest[:16])

    return tuple(sorted(place for place in kept_files(suite) if not same(place)))


def board_of(results: Path, suite: Mapping[str, Any], trials: Collection[TrialResult]) -> Leaderboard:
    """The leaderboard of a directory's trials and evaluations; raises as `build_leaderboard` and `read_evaluations`."""
    from .scoring.leaderboard import build_leaderboard, no_leaderboard
    from .scoring.policies import policy_tables, sensitivities

    tables = policy_tables(read_evaluations(results))
    found = {
        "policies": tuple(table for table in tables if not table.changed),
        "sensitivity": sensitivities(tables),
    }
    if not trials and tables:
        return replace(no_leaderboard(), **found)
    board = build_leaderboard(
        trials,
        file_names=kept_files(suite),
        left_out=[(each["instance"], each["reason"]) for each in suite.get("left_out", ())],
        strays=len(strays(results, suite["trials"])),
    )
    return replace(board, **found)
