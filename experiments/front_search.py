"""Where the designs of a front come from: a search of several costs in this process, or the trials of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..agents.referee import Referee
from ..agents.registry import check_libraries, check_libraries_on, check_needs, load_agent, make_agent
from ..agents.scorekeeper import Scorekeeper
from ..costmodels.errors import CorruptResultError, DsegymError
from ..envs.core.problem import Problem
from ..envs.core.scenarios import file_options
from .agent_process import search
from .batches import stored_trials
from .store import TrialResult
from .suite import is_kept
from .suite_note import read_suite

__all__ = ["designs_of", "searched", "stored", "trials_of"]


def searched(
    problem: Problem,
    agent: str,
    metrics: Iterable[str],
    samples: int,
    seed: int,
    told: Callable[[int], None] = lambda spent: None,
) -> np.ndarray:
    """The designs, int32[S, n], that an agent costs with a budget; on Ctrl-C those that it has costed by then.

    `told` hears how many these are, now and then.

    One with fields `metrics` and `start`, as `nsga2`, searches for the front of these costs from the reference on.

    Raises:
        DsegymError: the agent cannot be made or run here, or it failed before its first sample.
    """
    check_libraries(agent)
    check_needs(agent, problem)
    start = "" if problem.reference.design is None else "reference"
    offered = {"metrics": ",".join(metrics), "start": start}
    fields = {field.name for field in dataclasses.fields(load_agent(agent))}  # pyright: ignore[reportArgumentType]
    given = offered if offered.keys() <= fields else {}
    check_libraries_on(agent, given, problem)
    keeper = Scorekeeper(problem, samples)

    def ask(*question: Any) -> Any:
        answer = keeper.ask(*question)
        told(samples - keeper.samples_left)
        return answer

    try:
        status, message = search(make_agent(agent, given), Referee.of(ask, keeper.space, keeper.budget), seed)
    except KeyboardInterrupt:
        status, message = "stopped", ""
    keeper.close()
    found = keeper.samples.designs
    if status == "failed" and not len(found):
        raise DsegymError(f"{agent} failed: {message}.")
    return found


def trials_of(problem: Problem, trials: Iterable[TrialResult]) -> list[TrialResult]:
    """The trials on the problem, whatever their objective."""
    _, hashes = file_options(problem.instance)

    def same(name: str, text: str) -> bool:
        if name in hashes:
            return is_kept(text) and Path(text).name.startswith(hashes[name][:16])
        return name == "objective" or text == problem.options[name]

    def mine(spec: Mapping[str, Any]) -> bool:
        options = spec["options"]
        known = spec["scenario"] == problem.scenario and options.keys() == problem.options.keys()
        return known and all(same(name, text) for name, text in options.items())

    return [trial for trial in trials if mine(trial.manifest["trial"]["instance"])]


def designs_of(problem: Problem, trials: Iterable[TrialResult]) -> np.ndarray:
    """int32[S, n], of all samples of the trials."""
    found = [np.array(trial.trace["design"].to_list(), np.int32).reshape(-1, len(problem.space)) for trial in trials]
    return np.concatenate(found) if found else np.zeros((0, len(problem.space)), np.int32)


def stored(problem: Problem, results: Path) -> np.ndarray:
    """The designs, int32[S, n], of all trials of a results directory on the problem, whatever their objective.

    Raises:
        DsegymError: there is none, or the directory is damaged.
    """
    trials = []
    for _, found in stored_trials(results, read_suite(results)["trials"]):
        if isinstance(found, CorruptResultError):
            raise found
        trials.append(found)
    mine = trials_of(problem, trials)
    if not mine:
        known = sorted({_words(trial.manifest["trial"]["instance"]) for trial in trials})
        there = "; ".join(known[:5]) or "none"
        raise DsegymError(f"'{results}' has no trial of {problem.scenario} with {problem.name}; it has: {there}.")
    return designs_of(problem, mine)


def _words(spec: Mapping[str, Any]) -> str:
    return f"{spec['scenario']} with " + ", ".join(f"{name}={text}" for name, text in spec["options"].items())
