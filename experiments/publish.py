"""Publishing: a results directory's leaderboard as JSON, as Markdown and as one HTML page."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..costmodels.errors import CorruptResultError, DsegymError, shortened
from ..costmodels.files import file_hash
from .batches import stored_trials, strays
from .door import check_folder, check_writable_folder, write_by_rename
from .evaluations import evaluation_directories, read_evaluations
from .kept_files import kept_files
from .policy_runner import policy_there, read_policy_note
from .store import TrialResult
from .submission import submission_notes
from .suite import located
from .suite_note import holds_suite, largest_budgets, pair_of, read_suite

if TYPE_CHECKING:
    from .scoring.records import Leaderboard, Timings
    from .scoring.scored_trials import ScoredTrial

__all__ = ["NO_SUITE", "Publication", "at_largest_budgets", "board_of", "publish", "with_places"]


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


def publish(
    results: str | Path,
    output: str | Path | None = None,
    *,
    others: Sequence[str | Path] = (),
    allow: Collection[str] = (),
) -> Publication:
    """Makes the leaderboard of a results directory, or of several together, and writes it.

    JSON and Markdown are a function of the trials alone: the same trials give the same bytes, but for what other
    machines round otherwise when fronts are costed anew.

    Args:
        results: a directory that `run_suite` filled, or `dsegym evaluate`, or both.
        output: the folder that the files go to, made if needed; `RESULTS/leaderboard` when left out, which it cannot be
            where there are others.
        others: further directories, submissions say: other agents on the same instances, seeds and budgets.
        allow: packages beside this one that may be imported for the page's drawings, where trials name them.

    Raises:
        DsegymError: a directory holds no results, no finished trial and no evaluation, or a damaged one; or its
            leaderboard's folder is a link that leads out of it; or several are not comparable, or share an agent; or
            the folder cannot be written, which is found before the work.
        OSError: a file cannot be written; one that was there before stays whole.
    """
    from .report.page import write_html
    from .report.policies import policy_sections
    from .report.sections import SECTIONS, fronts
    from .report.text import to_json, to_markdown
    from .scoring.instance_fronts import front_tables, instance_fronts
    from .scoring.leaderboard import build_timings
    from .scoring.scored_trials import read_trials

    results, others = Path(results), [Path(other) for other in others]
    if others and output is None:
        raise DsegymError("a leaderboard of several results directories needs an output folder of its own.")
    folder = results / "leaderboard" if output is None else Path(output)
    if results.is_dir():
        if output is None:
            check_folder(folder, results)
        check_writable_folder(folder)
    suite, trials = _stored(results)
    missing, altered = len(suite["trials"]) - len(trials), list(_altered(results, suite))
    if "all_samples" in suite.get("declared", {}):
        trials = at_largest_budgets(suite, trials)
        suite = {**suite, "description": f"{suite['description']} {_LARGEST_ONLY}".strip()}
    noted = [suite]
    for other in others:
        note, further = _stored(other)
        _check_comparable(results, trials, other, further)
        noted, trials = [*noted, note], trials + further
        missing, altered = missing + len(note["trials"]) - len(further), [*altered, *_altered(other, note)]
    scored = read_trials(trials, _file_names(noted)) if trials else []
    leaderboard = board_of([results, *others], noted, trials, scored)
    drawn = with_places(leaderboard, results)
    found = instance_fronts(drawn.instances, trials, scored, allow)
    leaderboard = replace(leaderboard, fronts=front_tables(found))
    sections = policy_sections(leaderboard.policies, leaderboard.sensitivity)
    sections += [section for make in SECTIONS if (section := make(drawn, allow)) is not None]
    sections += fronts.sections(found)
    about = {key: suite[key] for key in ("name", "description")}
    folder.mkdir(parents=True, exist_ok=True)
    timings = build_timings(trials, scored=scored)
    page = folder / "leaderboard.html"
    write_html(leaderboard, trials, page, suite=about, sections=sections, timings=timings, scored=scored)
    for name, text in (("leaderboard.json", to_json(leaderboard)), ("leaderboard.md", to_markdown(leaderboard))):
        write_by_rename(folder / name, text.encode("utf-8"))
    untrained = sum(not policy_there(results, name) for name in suite.get("trainings", ()))
    return Publication(leaderboard, timings, folder, missing, untrained, tuple(altered))


def _stored(results: Path) -> tuple[Mapping[str, Any], list[TrialResult]]:
    """The note of a results directory, and its trials."""
    suite = read_suite(results) if holds_suite(results) else {**NO_SUITE, **(read_policy_note(results) or {})}
    trials = []
    for _, found in stored_trials(results, suite["trials"]):
        if isinstance(found, CorruptResultError):
            remedy = "`dsegym verify` names every damaged trial, and running the suite again replaces them"
            raise CorruptResultError(f"{found} ({remedy}.)")
        trials.append(found)
    if not trials and not evaluation_directories(results):
        raise DsegymError(f"'{results}' holds no finished trial yet.")
    return suite, trials


_LARGEST_ONLY = "Ranked by the trials of the largest budget of each agent; `dsegym lottery` tells of the others."


def at_largest_budgets(suite: Mapping[str, Any], trials: Sequence[TrialResult]) -> list[TrialResult]:
    """The trials of the most samples that an agent may take on an instance, of a suite that declares several budgets;
    of any other suite all.

    Raises:
        DsegymError: none of these is there yet.
    """
    if "all_samples" not in suite.get("declared", {}):
        return list(trials)
    most = largest_budgets(suite["declared"])
    found = [
        each
        for each in trials
        if each.manifest["trial"]["samples"]
        == most.get(pair_of(each.manifest["trial"]), each.manifest["trial"]["samples"])
    ]
    if trials and not found:
        raise DsegymError("no trial of its agent's largest budget is there yet; a leaderboard ranks those alone.")
    return found


def _check_comparable(
    results: Path, trials: Sequence[TrialResult], other: Path, further: Sequence[TrialResult]
) -> None:
    """Refuses a directory whose trials are not on the same instances, seeds and budgets, or that has an agent again."""

    def games(found: Sequence[TrialResult]) -> set[tuple[str, int, int]]:
        budgets: dict[tuple[str, int], int] = {}
        for trial in (each.manifest["trial"] for each in found):
            key = json.dumps(trial["instance"], sort_keys=True), trial["seed"]
            budgets[key] = max(budgets.get(key, 0), trial["samples"])
        return {(*key, samples) for key, samples in budgets.items()}

    def agents(found: Sequence[TrialResult]) -> set[str]:
        return {each.manifest["trial"]["agent"]["name"] for each in found}

    if further and games(trials) != games(further):
        raise DsegymError(
            f"'{other}' has other instances, seeds or budgets than '{results}': one leaderboard has the same for all."
        )
    shared = agents(trials) & agents(further)
    if shared:
        raise DsegymError(
            f"{shortened(min(shared))} is in '{other}' and in a directory before it: one leaderboard has an agent once."
        )


def _altered(results: Path, suite: Mapping[str, Any]) -> tuple[str, ...]:
    """The users' files of a results directory that are gone, are no plain files, or whose contents have changed."""

    def same(place: str) -> bool:
        try:
            digest = file_hash(results / place)
        except DsegymError:
            return False
        return not (results / place).is_symlink() and place.partition("/")[2].startswith(digest[:16])

    return tuple(sorted(place for place in kept_files(suite) if not same(place)))


def _file_names(notes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The places of users' files in options to the names that they go by."""
    return {place: name for note in notes for place, name in kept_files(note).items()}


def with_places(leaderboard: Leaderboard, results: Path) -> Leaderboard:
    """The same, with users' files as paths in the results directory, so that the instances can be made."""
    here = [replace(instance, files=located(instance.files, results)) for instance in leaderboard.instances]
    return replace(leaderboard, instances=tuple(here))


def board_of(
    directories: Sequence[Path],
    notes: Sequence[Mapping[str, Any]],
    trials: Collection[TrialResult],
    scored: Sequence[ScoredTrial] | None = None,
) -> Leaderboard:
    """The leaderboard of directories' trials and evaluations; takes and raises as `build_leaderboard` does.

    Without fronts, for which designs are costed anew: `instance_fronts` has them.

    Raises:
        DsegymError: also what `read_evaluations` raises.
    """
    from .scoring.leaderboard import build_leaderboard, no_leaderboard
    from .scoring.policies import policy_tables, sensitivities

    tables = policy_tables([each for directory in directories for each in read_evaluations(directory)])
    found = {
        "policies": tuple(table for table in tables if not table.changed),
        "sensitivity": sensitivities(tables),
    }
    if not trials and tables:
        return replace(no_leaderboard(), **found)
    left_out = dict.fromkeys((each["instance"], each["reason"]) for note in notes for each in note.get("left_out", ()))
    board = build_leaderboard(
        trials,
        file_names=_file_names(notes),
        scored=scored,
        left_out=left_out,
        strays=sum(len(strays(place, note["trials"])) for place, note in zip(directories, notes, strict=True)),
    )
    submitted = tuple(sentence for directory in directories for sentence in submission_notes(directory))
    return replace(board, notes=board.notes + submitted, **found)
