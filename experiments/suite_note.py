"""The note of a results directory, `suite.json`: which suite was run, and every trial that it declares.

With it nobody can leave out a trial or change one without saying so.
"""

from __future__ import annotations

import graphlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..costmodels.errors import CorruptResultError, DsegymError, shortened
from .door import Each, Shape, check_folder, check_shape, read_json, write_by_rename
from .identities import trial_id
from .kept_files import keep_files
from .layout import (
    AGENT,
    COUNT,
    EVALUATIONS,
    FORMAT,
    ID,
    INSTANCE,
    LABELS,
    POSITIVE,
    SUITE,
    TRIALS,
    check_format,
    json_text,
)
from .suite import FILES, Suite, budgets_within

__all__ = [
    "count_declared",
    "declared_trials",
    "holds_suite",
    "largest_budgets",
    "pair_of",
    "read_suite",
    "write_suite",
]

_MOST_BYTES = 2**26
_NOTE: Mapping[str, Shape] = {
    "format": int,
    "name": str,
    "description": str,
    "trials": Each(list, ID),
    "declared?": {
        "instances": Each(list, INSTANCE),
        "agents": Each(list, AGENT),
        "seeds": Each(list, COUNT),
        "samples": COUNT,
        "time_limit_s": POSITIVE,
        # Of each agent on each instance, 0 where it does not play; left out where all have `samples`.
        "budgets?": Each(list, Each(list, COUNT)),
        "all_samples?": Each(list, COUNT),  # all budgets, ascending, where a suite has several; `samples` is the last
    },
    "left_out?": Each(list, {"instance": str, "reason": str}),
    "file_names?": LABELS,
}


def write_suite(results: Path, suite: Suite) -> list[str]:
    """Notes what a results directory is for, and keeps the files that its instances are made from.

    Returns:
        The ids of the suite's trials, in order.

    Raises:
        DsegymError: the directory already holds another suite's results, or the note is damaged, or links lead out of
            it; or the suite's trials are not its agents on its instances with all its seeds.
    """
    path = results / SUITE
    if os.path.lexists(path) and (held := read_suite(results)["name"]) != suite.name:
        raise DsegymError(
            f"'{results}' holds the results of the suite '{shortened(held)}'; choose another directory for "
            f"'{suite.name}'."
        )
    results.mkdir(parents=True, exist_ok=True)
    for folder in (TRIALS, FILES):
        check_folder(results / folder, results)
    identifiers = [trial_id(trial) for trial in suite.trials]
    content = {
        "format": FORMAT,
        "name": suite.name,
        "description": suite.description,
        "declared": _declared(suite),
        "left_out": [{"instance": instance, "reason": reason} for instance, reason in suite.left_out],
        "file_names": keep_files(results, (pair for trial in suite.trials for pair in trial.files())),
        "trials": identifiers,
    }
    write_by_rename(path, json_text(content).encode())
    return identifiers


def _declared(suite: Suite) -> dict[str, Any]:
    """What a suite multiplies: with it, nobody can leave out a trial or change one without saying so here."""
    plain = [trial.as_dict() for trial in suite.trials]
    unique = {key: {json.dumps(each[key], sort_keys=True): each[key] for each in plain} for key in plain[0]}
    unique["agent"] = {agent: unique["agent"][agent] for agent in _in_one_order(plain) or unique["agent"]}
    keys = {key: list(found) for key, found in unique.items()}
    tables = {key: list(found.values()) for key, found in unique.items()}
    budgets: dict[tuple[str, str], int] = {}  # the largest
    for each in plain:
        pair = pair_of(each)
        budgets[pair] = max(budgets.get(pair, 0), each["samples"])
    table = [[budgets.get((instance, agent), 0) for agent in keys["agent"]] for instance in keys["instance"]]
    declared = {
        "instances": tables["instance"],
        "agents": tables["agent"],
        "seeds": tables["seed"],
        "samples": max(tables["samples"]),
        "time_limit_s": tables["time_limit_s"][0],
    }
    if {samples for row in table for samples in row} != {declared["samples"]}:
        declared["budgets"] = table
    if suite.budgets:
        declared["all_samples"] = list(suite.budgets)
    if declared_trials({"declared": declared}) != plain:
        raise DsegymError(
            f"The trials of the suite '{suite.name}' are not its agents on its instances with all its seeds, at one "
            "budget of each agent on an instance, or at all of them, and one time limit."
        )
    return declared


def _in_one_order(plain: Sequence[Mapping[str, Any]]) -> list[str]:
    """The agents, as JSON, in an order that agrees with theirs on each instance, where not all play all of them; empty
    where there is none.
    """
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for _, trials in itertools.groupby(plain, key=lambda each: each["instance"]):
        agents = list(dict.fromkeys(pair_of(each)[1] for each in trials))
        sorter.add(agents[0])
        for before, after in itertools.pairwise(agents):
            sorter.add(after, before)
    try:
        return list(sorter.static_order())
    except graphlib.CycleError:
        return []


def declared_trials(note: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trials that a note's suite declares, as manifests hold them, in the order of their ids."""
    declared = note["declared"]
    return [
        {
            "instance": instance,
            "agent": agent,
            "seed": seed,
            "samples": samples,
            "time_limit_s": declared["time_limit_s"],
        }
        for instance, row in zip(declared["instances"], _budgets(declared), strict=True)
        for agent, most in zip(declared["agents"], row, strict=True)
        for samples in _within(declared, most)
        for seed in declared["seeds"]
    ]


def pair_of(trial: Mapping[str, Any]) -> tuple[str, str]:
    """The instance and the agent of a trial, as manifests have it, in one spelling each."""
    return json.dumps(trial["instance"], sort_keys=True), json.dumps(trial["agent"], sort_keys=True)


def largest_budgets(declared: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """{an instance and an agent, as `pair_of` has them: the most samples of their trials}; 0 where it does not play."""
    return {
        pair_of({"instance": instance, "agent": agent}): most
        for instance, row in zip(declared["instances"], _budgets(declared), strict=True)
        for agent, most in zip(declared["agents"], row, strict=True)
    }


def count_declared(declared: Mapping[str, Any]) -> int:
    """How many trials a note's suite declares; none of them is made."""
    return len(declared["seeds"]) * sum(len(_within(declared, most)) for row in _budgets(declared) for most in row)


def _within(declared: Mapping[str, Any], most: int) -> list[int]:
    """The budgets of an agent on an instance whose largest is `most`; none where it does not play."""
    return budgets_within(declared.get("all_samples", [most]), most) if most else []


def _budgets(declared: Mapping[str, Any]) -> Sequence[Sequence[int]]:
    """The most samples of each agent on each instance, 0 where it does not play."""
    alike = itertools.repeat([declared["samples"]] * len(declared["agents"]), len(declared["instances"]))
    return declared.get("budgets") or list(alike)


def holds_suite(results: Path) -> bool:
    """Whether a suite was run into a directory; it may hold evaluations of policies alone."""
    return os.path.lexists(results / SUITE) or not os.path.lexists(results / EVALUATIONS)


def read_suite(results: Path) -> Mapping[str, Any]:
    """The note of `write_suite`: name, description, trial ids, what the suite declares and leaves out.

    Raises:
        CorruptResultError: the directory holds no results, or the note is damaged.
    """
    path = results / SUITE
    if not os.path.lexists(path):
        raise CorruptResultError(f"'{results}' holds no results: there is no {SUITE} in it.")
    content = read_json(path, results, _MOST_BYTES)
    check_format(path, content)
    check_shape(path, content, _NOTE)
    declared = content.get("declared", {})
    shape = [len(declared.get("agents", ()))] * len(declared.get("instances", ()))
    if "budgets" in declared and [len(row) for row in declared["budgets"]] != shape:
        raise CorruptResultError(f"{path}: 'budgets' is no table of its agents on its instances.")
    if len(set(content["trials"])) < len(content["trials"]):
        raise CorruptResultError(f"{path}: a trial stands there twice.")
    return content
