"""Verification: replays the designs that a results directory claims, and rejects what does not reproduce."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..agents.registry import BUILT_IN as BUILT_IN_AGENTS
from ..agents.registry import agent_names, draw_hyperparameters, make_agent
from ..costmodels.errors import CorruptResultError, DsegymError, shortened
from ..costmodels.files import file_hash
from ..envs.core.scenarios import BUILT_IN, make_problem
from .batches import DamagedTrialError, stored_trials
from .door import LONGEST, check_allowed, read_file
from .evaluations import evaluation_directories
from .identities import hashed_id
from .kept_files import checked_options
from .layout import BATCHES, SUITE, TRACE, trial_directory
from .odd_entries import odd_entries
from .publish import NO_SUITE, at_largest_budgets, board_of
from .store import FINISHED, TrialResult
from .submission import submission_notes
from .suite import Trial, is_kept, load_suite, suite_names
from .suite_note import count_declared, declared_trials, holds_suite, read_suite
from .verify_evaluations import verify_evaluation
from .verify_fronts import fronts_as_told

if TYPE_CHECKING:
    from ..envs.core.problem import Problem

__all__ = ["ALONE", "CLAIMED", "PLAYED", "RELATIVE_TOLERANCE", "REPLAYED", "RERUN", "Verdict", "verify"]

RELATIVE_TOLERANCE = 1e-6  # between machines: float32 rounding of exact counts; one machine gives the same bits
_CLOCK_S = 1e-3  # by which sums of clock readings may differ

REPLAYED = (
    "every sample and held-out value, the best designs, yardsticks with their labels, hyperparameters, and that the "
    "trials are those that the suite declares"
)
RERUN = "that the agents of finished trials, run again, come to the same samples"
PLAYED = (
    "every sample, from weights and seed; rules, yardsticks and instances. Only claimed: how a policy was trained, on "
    "which instances, for how long"
)
ALONE = "that the agents came to these samples by themselves (--rerun repeats the finished trials)"
CLAIMED = (
    "what the suite declares, that optima kept beside users' files are optimal (their designs are replayed), seconds, "
    "joules, versions, messages, and leaderboard.html"
)


@dataclass(frozen=True)
class Verdict:
    """What replaying one trial (or checking one file) showed; `problem` is empty where all is well."""

    subject: str
    problem: str


def verify(
    results: str | Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    allow: Collection[str] = (),
    rerun: bool | Collection[str] = False,
) -> list[Verdict]:
    """Checks every trial of a results directory, and the leaderboard if there is one.

    For each trial: the files are whole, the samples respect the budget, every design costs what the trace says
    (relative tolerance 1e-6), also on the held-out cases, the best design is the trace's, the yardsticks and their
    labels are this version's, the trial is the one that the suite declares in its place, and its id follows from its
    manifest. Nothing lies among trials and batches that no run leaves there. `REPLAYED` and `CLAIMED` say in words what
    that covers and what it does not.

    Args:
        results: the directory; users' files are taken from the copies in it.
        progress: called with how many trials are done, and how many there are.
        allow: packages beside this one that may be imported, where trials name them.
        rerun: whether the agents of finished trials search again from their seeds, and must come to the same designs;
            or the names of those that do.

    Raises:
        CorruptResultError: the directory holds no results.
    """
    results = Path(results)
    note = read_suite(results) if holds_suite(results) else NO_SUITE
    identifiers = note["trials"]
    whole: list[TrialResult] = []
    problem = _check_note(note) if note is not NO_SUITE else ""
    verdicts = [Verdict(str(results / SUITE), f"{results / SUITE}: {problem}")] if problem else []
    declared = declared_trials(note) if "declared" in note else []
    places = {identifier: place for place, identifier in enumerate(identifiers)}
    verdict_of: dict[str, Verdict] = {}
    told: set[Path] = set()  # batches of which a verdict tells
    for name, found in stored_trials(results, identifiers):
        if name not in places:  # a batch, which may hold what is missing
            path = results / BATCHES / name
            verdicts.append(Verdict(str(path), str(found)))
            told.add(path)
            continue
        directory = trial_directory(results, name)
        try:
            if isinstance(found, CorruptResultError):
                if isinstance(found, DamagedTrialError):
                    told.add(found.batch)
                raise found
            place = places[name]
            _check(directory, name, found, declared[place] if place < len(declared) else None, allow, rerun)
            _check_versions(directory, found, whole)
            whole.append(found)
            verdict_of[name] = Verdict(str(directory), "")
        except DsegymError as error:
            text = str(error)
            verdict_of[name] = Verdict(str(directory), text if name in text else f"{directory}: {text}")
        progress(len(verdict_of), len(identifiers))
    odd = odd_entries(results, identifiers)
    for identifier in identifiers:
        directory = trial_directory(results, identifier)
        if identifier not in verdict_of:
            missing = f"{directory}: the suite names this trial, but it is not there."
            verdict_of[identifier] = Verdict(str(directory), odd.pop(directory, missing))
        verdicts.append(verdict_of[identifier])
    verdicts += [Verdict(str(path), sentence) for path, sentence in odd.items() if path not in told]
    verdicts += [_evaluation_verdict(directory, allow) for directory in evaluation_directories(results)]
    if len(whole) == len(identifiers):
        verdicts += _check_leaderboard(results, note, whole, allow)
    return verdicts


def _evaluation_verdict(directory: Path, allow: Collection[str]) -> Verdict:
    """What playing a policy again showed."""
    try:
        verify_evaluation(directory, allow, RELATIVE_TOLERANCE)
    except DsegymError as error:
        text = str(error)
        return Verdict(str(directory), text if str(directory) in text else f"{directory}: {text}")
    return Verdict(str(directory), "")


def _check_note(note: Mapping[str, Any]) -> str:
    """What is wrong with what a suite declares; empty where nothing is."""
    if "declared" not in note:
        return "it does not say which trials its suite declares; `dsegym run` says so, and keeps what is finished."
    count = count_declared(note["declared"])
    if count != len(note["trials"]):
        return f"its suite declares {count} trials, and {len(note['trials'])} are named."
    if note["name"] in suite_names():
        try:
            shipped = [trial.as_dict() for trial in load_suite(note["name"]).trials]
        except DsegymError:  # an agent's library is not installed, say: nothing to compare with
            return ""
        if shipped != declared_trials(note):
            return f"it has the name of the shipped suite '{note['name']}', and declares other trials."
    return ""


def _check_versions(directory: Path, result: TrialResult, others: Sequence[TrialResult]) -> None:
    """The trials of a run have one version of everything that they share: ids are made in one process."""
    mine, first = result.manifest["versions"], (others[0] if others else result).manifest["versions"]
    differing = [name for name in mine.keys() & first.keys() if mine[name] != first[name]]
    if differing:
        name = min(differing)
        mine, first = shortened(mine[name]), shortened(first[name])
        raise CorruptResultError(f"{directory}: it claims {name} {mine}, other trials of this run {name} {first}.")


def _check(
    directory: Path,
    identifier: str,
    result: TrialResult,
    declared: Mapping[str, Any] | None,
    allow: Collection[str],
    rerun: bool | Collection[str],
) -> None:
    manifest, trace = result.manifest, result.trace
    path = directory / TRACE

    def reject(reason: str) -> None:
        raise CorruptResultError(f"{path}: {reason}")

    def reject_manifest(reason: str) -> None:
        raise CorruptResultError(f"{directory}: {reason}")

    trial = Trial.from_dict(manifest["trial"])
    problem = _problem(directory, trial, manifest, allow)
    if trace["sample"].to_list() != list(range(1, trace.height + 1)):
        reject("samples are not numbered 1, 2, 3, ...")
    for key, yardstick in (("reference", problem.reference), ("bound", problem.bound)):
        claimed = manifest[key]
        if not _close(claimed["value"], yardstick.value):
            reject_manifest(f"the manifest's {key} is {claimed['value']}, this version's {yardstick.value}.")
        label = "name" if key == "reference" else "kind"
        _check_label(directory, f"{key}'s {label}", claimed[label], yardstick.name)
        _check_label(directory, f"{key}'s source", claimed["source"], yardstick.source)
    _check_label(directory, "objective's name", manifest["objective"]["name"], problem.objective.name)
    _check_label(directory, "objective's unit", manifest["objective"]["unit"], problem.objective.unit)
    if trace.height:
        _replay(trace, problem, reject)
    _replay_held_out(trace, problem, reject)
    _check_best(directory, manifest, trace, problem)
    _check_status(manifest, trace, reject_manifest)
    if hashed_id(manifest["trial"], manifest["versions"], manifest["identity"]) != identifier:
        reject_manifest("the id does not follow from the manifest (edited, or the package changed during the run).")
    if declared is not None and manifest["trial"] != declared:
        reject_manifest("its trial is not the one that the suite declares in its place.")
    _check_agent(directory, trial, manifest, allow)
    again = rerun if isinstance(rerun, bool) else trial.agent in rerun
    if again and manifest["status"] == FINISHED:
        _rerun(directory, trial, problem, trace, allow)


def _problem(directory: Path, trial: Trial, manifest: Mapping[str, Any], allow: Collection[str]) -> Problem:
    """The trial's instance, from the copies of users' files that the results keep."""
    check_allowed(trial.scenario, allow)
    options = checked_options(directory, trial.scenario, trial.options)
    for key, value in trial.options.items():
        if is_kept(value) and manifest["identity"]["files"].get(key) != file_hash(options[key]):
            raise CorruptResultError(f"{options[key]}: its contents are not those that the trial was run on.")
    return make_problem(trial.scenario, **options)


def _check_label(directory: Path, what: str, claimed: str, own: str) -> None:
    if claimed != own:
        says, is_ = shortened(claimed, LONGEST), shortened(own, LONGEST)
        raise CorruptResultError(f"{directory}: the manifest's {what} is '{says}', this version's '{is_}'.")


def _check_status(manifest: Mapping[str, Any], trace: Any, reject: Callable[[str], None]) -> None:
    """What a trial says of its end and of its time must be possible."""
    seconds, status, message = manifest["seconds"], manifest["status"], manifest["message"]
    if (status == FINISHED) != (message == ""):
        reject(f"it is said to be {status}, and its message is '{shortened(message)}'.")
    total, parts = seconds["total"], seconds["agent"] + seconds["cost_model"] + seconds["overhead"]
    last = trace["elapsed_s"][-1] if trace.height else 0.0
    if min(seconds.values()) < -_CLOCK_S or abs(parts - total) > _CLOCK_S or last > total + _CLOCK_S:
        reject(f"its seconds contradict each other (the last sample came after {last:.6g} s of {total:.6g}).")


def _check_agent(directory: Path, trial: Trial, manifest: Mapping[str, Any], allow: Collection[str]) -> None:
    """Agents of this package, and those whose packages are allowed: that they exist and take these hyperparameters."""
    others = any(manifest["identity"]["sources"][:1])  # whether it is said to be of another package
    try:
        check_allowed(trial.agent, allow)
    except CorruptResultError:
        return  # its samples are replayed without it
    if others and trial.agent not in agent_names() and ":" not in trial.agent:
        return  # nor is one needed that is not installed
    make_agent(trial.agent, trial.hyperparameters)
    if trial.draw is not None and dict(trial.hyperparameters) != draw_hyperparameters(trial.agent, trial.draw):
        raise CorruptResultError(f"{directory}: its hyperparameters are not those of draw {trial.draw}.")
    own = [trial.agent in BUILT_IN_AGENTS, trial.scenario in BUILT_IN]
    if any(mine and source for mine, source in zip(own, manifest["identity"]["sources"], strict=False)):
        raise CorruptResultError(f"{directory}: it claims sources of another package for what is of this one.")


def _rerun(directory: Path, trial: Trial, problem: Problem, trace: Any, allow: Collection[str]) -> None:
    """Searches again from the seed, without a clock and in a process of its own, and compares the designs."""
    from ..agents.scorekeeper import Scorekeeper
    from .agent_process import Job
    from .isolation import search_apart

    check_allowed(trial.agent, allow)
    keeper = Scorekeeper(problem, trial.samples)
    job = Job(trial.agent, dict(trial.hyperparameters), trial.seed, keeper.space, keeper.budget)
    ended = search_apart(job, keeper)
    if ended.status != FINISHED:
        raise CorruptResultError(f"{directory}: run again, it fails ({ended.message}).")
    found, claimed = keeper.samples.designs.tolist(), trace["design"].to_list()
    if found != claimed:
        differing = (place for place, (x, y) in enumerate(zip(found, claimed, strict=False)) if x != y)
        first = next(differing, min(len(found), len(claimed)))
        raise CorruptResultError(
            f"{directory}: run again, {trial.agent} comes to other designs from sample {first + 1} on ({len(found)} "
            f"samples, {len(claimed)} claimed); other versions or another machine may be why: the manifest names them."
        )


def _replay(trace: Any, problem: Any, reject: Callable[[str], None]) -> None:
    try:
        designs = np.array(trace["design"].to_list())
        replayed = problem.evaluate(designs)
    except (DsegymError, ValueError) as error:
        reject(f"a design cannot be replayed: {error}")
        return
    claimed = trace["objective"].to_numpy()
    wrong = ~np.isclose(claimed, replayed.objective, rtol=RELATIVE_TOLERANCE, atol=0.0)
    wrong |= trace["feasible"].to_numpy() != replayed.feasible
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        kind = "feasible" if replayed.feasible[first] else "not feasible"
        reject(
            f"sample {first + 1} claims {claimed[first]:.9g}, but its design costs {replayed.objective[first]:.9g} "
            f"({kind}); {int(wrong.sum())} of {len(wrong)} samples do not reproduce."
        )


def _replay_held_out(trace: Any, problem: Any, reject: Callable[[str], None]) -> None:
    """Comes after `_replay`: the designs are sound. Which samples have a value was checked when the trace was read."""
    if ("held_out" in trace.columns) != (problem.held_out_params is not None):
        values, cases = ("", "no ") if "held_out" in trace.columns else ("no ", "")
        reject(f"it has {values}held-out values, but {problem.scenario} has {cases}held-out cases.")
    if "held_out" not in trace.columns:
        return
    claims = trace.filter(trace["held_out"].is_not_null())
    if not claims.height:
        return
    claimed = claims["held_out"].to_numpy()
    replayed = problem.evaluate_held_out(np.array(claims["design"].to_list())).objective
    wrong = ~np.isclose(claimed, replayed, rtol=RELATIVE_TOLERANCE, atol=0.0)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        reject(
            f"sample {claims['sample'][first]} claims {claimed[first]:.9g} on the held-out cases, but its design costs "
            f"{replayed[first]:.9g} there; {int(wrong.sum())} of {len(wrong)} held-out values do not reproduce."
        )


def _check_best(directory: Path, manifest: Mapping[str, Any], trace: Any, problem: Any) -> None:
    feasible = trace["feasible"].to_numpy()
    best = manifest["best"]
    if not feasible.any():
        if best is not None:
            raise CorruptResultError(f"{directory}: the manifest claims a best design, but no sample is feasible.")
        return
    index = int(np.argmin(np.where(feasible, trace["objective"].to_numpy(), np.inf)))
    design = trace["design"].to_list()[index]
    expected = {
        "sample": index + 1,
        "design": design,
        "decoded": problem.space.describe(design),
        "objective": trace["objective"][index],
    }
    if "held_out" in trace.columns:
        expected["held_out"] = trace["held_out"][index]
    if best != expected:
        raise CorruptResultError(f"{directory}: the manifest's best design is not the trace's (sample {index + 1}).")


def _close(claimed: object, value: float) -> bool:
    return isinstance(claimed, int | float) and bool(np.isclose(claimed, value, rtol=RELATIVE_TOLERANCE, atol=0.0))


_MOST_LEADERBOARD_BYTES = 2**28


def _check_leaderboard(
    results: Path, note: Mapping[str, Any], whole: list[TrialResult], allow: Collection[str]
) -> Iterator[Verdict]:
    from .report.text import to_json, to_markdown

    folder = results / "leaderboard"
    written = [(folder / "leaderboard.json", to_json), (folder / "leaderboard.md", to_markdown)]
    if not any(os.path.lexists(path) for path, _ in written):
        return
    try:
        ranked, told = at_largest_budgets(note, whole), set(submission_notes(results))
        board = board_of([results], [note], ranked)
        board = replace(board, fronts=fronts_as_told(results, board, ranked, allow))
        before = replace(board, notes=tuple(sentence for sentence in board.notes if sentence not in told))
    except DsegymError as error:
        yield Verdict(str(folder), f"{folder}: no leaderboard follows from the trials ({error}).")
        return
    for path, render in written:
        if os.path.lexists(path):
            try:
                content = read_file(path, results, _MOST_LEADERBOARD_BYTES)
                same = content in {render(each).encode() for each in (board, before)}  # the card may be the younger
                problem = "" if same else f"{path}: it does not follow from the trials; run `dsegym leaderboard` again."
            except CorruptResultError as error:
                problem = str(error)
            yield Verdict(str(path), problem)
