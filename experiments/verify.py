"""Verification: replays the designs that a results directory claims, and rejects what does not reproduce."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..costmodels.errors import CorruptResultError, DsegymError
from ..envs.core.scenarios import make_problem
from .store import TRACE, TrialResult, hashed_id, read_suite, read_trial, trial_directory
from .suite import Trial

__all__ = ["RELATIVE_TOLERANCE", "Verdict", "verify"]

RELATIVE_TOLERANCE = 1e-6  # between machines: float32 rounding of exact counts; one machine gives the same bits


@dataclass(frozen=True)
class Verdict:
    """What replaying one trial (or checking one file) showed; `problem` is empty where all is well."""

    subject: str
    problem: str


def verify(results: str | Path, progress: Callable[[int, int], None] = lambda done, total: None) -> list[Verdict]:
    """Checks every trial of a results directory, and the leaderboard if there is one.

    For each trial: the files are whole, the samples respect the budget, every design costs what the trace says
    (relative tolerance 1e-6), also on the held-out cases, the best design is the trace's, the yardsticks are this
    version's, and the trial's id follows from its manifest.

    Raises:
        CorruptResultError: the directory holds no results.
    """
    results = Path(results)
    identifiers = read_suite(results)["trials"]
    whole: list[TrialResult] = []
    verdicts: list[Verdict] = []
    for number, identifier in enumerate(identifiers, start=1):
        directory = trial_directory(results, identifier)
        try:
            if not directory.is_dir():
                raise CorruptResultError(f"{directory}: the suite names this trial, but it is not there.")
            result = read_trial(directory)
            _check(directory, identifier, result)
            whole.append(result)
            verdicts.append(Verdict(str(directory), ""))
        except DsegymError as error:
            verdicts.append(Verdict(str(directory), str(error)))
        progress(number, len(identifiers))
    if len(whole) == len(identifiers):
        verdicts += _check_leaderboard(results, whole)
    return verdicts


def _check(directory: Path, identifier: str, result: TrialResult) -> None:
    manifest, trace = result.manifest, result.trace
    path = directory / TRACE

    def reject(reason: str) -> None:
        raise CorruptResultError(f"{path}: {reason}")

    if manifest["trial_id"] != identifier:
        raise CorruptResultError(f"{directory}: the manifest is of the trial {manifest['trial_id']}.")
    try:
        trial = Trial.from_dict(manifest["trial"])
        problem = make_problem(trial.scenario, **trial.options)
        budget = int(trial.samples)
    except DsegymError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorruptResultError(f"{directory}: the manifest's trial is malformed ({error}).") from None
    count = trace.height
    if count != manifest["samples_used"] or count > budget:
        reject(f"{count} samples, where the manifest says {manifest['samples_used']} of a budget of {budget}.")
    if trace["sample"].to_list() != list(range(1, count + 1)):
        reject("samples are not numbered 1, 2, 3, ...")
    for key, yardstick in (("reference", problem.reference), ("bound", problem.bound)):
        if not _close(manifest[key].get("value"), yardstick.value):
            raise CorruptResultError(
                f"{directory}: the manifest's {key} is {manifest[key].get('value')}, this version's {yardstick.value}."
            )
    if count:
        _replay(trace, problem, reject)
    _replay_held_out(trace, problem, reject)
    _check_best(directory, manifest, trace, problem)
    if hashed_id(manifest["trial"], manifest["versions"], manifest["identity"]) != identifier:
        raise CorruptResultError(
            f"{directory}: the id does not follow from the manifest (edited, or the package changed during the run)."
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


def _check_leaderboard(results: Path, whole: list[TrialResult]) -> Iterator[Verdict]:
    from .report.text import to_json, to_markdown
    from .scoring.leaderboard import build_leaderboard

    folder = results / "leaderboard"
    written = [(folder / "leaderboard.json", to_json), (folder / "leaderboard.md", to_markdown)]
    if not any(path.exists() for path, _ in written):
        return
    leaderboard = build_leaderboard(whole)
    for path, render in written:
        if path.exists():
            same = path.read_bytes() == render(leaderboard).encode()
            problem = "" if same else f"{path}: it does not follow from the trials; run `dsegym leaderboard` again."
            yield Verdict(str(path), problem)
