"""Whether an evaluation of a policy holds: it is played again from weights and seed, and compared row by row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..agents.policies.evaluation import evaluate, evaluate_rules
from ..agents.policies.players import Function, Policy, named_function
from ..costmodels.errors import CorruptResultError, shortened
from ..envs.core import collections
from ..envs.core.problem import Problem
from .door import LONGEST, check_allowed, check_folder
from .evaluations import POLICY, changed, instance_of, player_of, read_evaluation, rows_of
from .identities import hashed_id, versions
from .kept_files import checked_options
from .policy_store import load_policy

if TYPE_CHECKING:
    import polars

__all__ = ["verify_evaluation"]

# {scenario: its baselines that stop after seconds}: what they find depends on the machine, so that their designs are
# replayed, and not asked for again.
_TIMED: Mapping[str, tuple[str, ...]] = {"dsegym/MemoryAllocation-v0": ("cp_sat",)}


def verify_evaluation(directory: Path, allow: Collection[str] = (), tolerance: float = 1e-6) -> None:
    """Plays an evaluation again from its weights and seed, and compares.

    On the machine and with the versions that it names, every bit must be the same; else values must agree to
    `tolerance`, relative.

    Args:
        directory: of the evaluation.
        allow: packages beside this one that may be imported, where it names them.
        tolerance: relative.

    Raises:
        DsegymError: what does not hold, in one sentence.
    """
    result = read_evaluation(directory)
    manifest = result.manifest
    named = {key: value for key, value in manifest.items() if key not in ("evaluation_id", "seconds", "files")}
    if not directory.name == manifest["evaluation_id"] == hashed_id(named, {}, {}):
        raise CorruptResultError(f"{directory}: the id does not follow from the evaluation (edited).")
    check_allowed(manifest["scenario"], allow)
    policy = _player_of(directory, manifest, allow)
    instances = manifest["instances"]
    options = [checked_options(directory, manifest["scenario"], instance["options"]) for instance in instances]
    collection = collections.Collection(
        manifest["collection"],
        manifest["scenario"],
        "",
        list,
        list,
        lambda: options,
        manifest["form"],
        manifest["sizes"],
    )
    kept = {"mode": manifest["mode"], "samples": manifest["samples"], "seed": manifest["seed"]}
    found = evaluate(policy, collection, "test", trained_on=True, **kept)
    for claimed, problem, seen in zip(instances, found.problems, found.trained_on, strict=True):
        _check_instance(directory, claimed, problem, bool(seen), tolerance)
    if manifest["held_out"] != any(problem.held_out_params is not None for problem in found.problems):
        raise CorruptResultError(f"{directory}: whether values are on held-out cases is said wrongly.")
    if manifest["sizes"] != found.sizes:
        raise CorruptResultError(f"{directory}: what the instances were padded to is said wrongly.")
    _check_part(directory, manifest)
    rules = evaluate_rules(found.problems, without=_TIMED.get(manifest["scenario"], ()))
    same = manifest["versions"] == dict(versions())
    _check_replayed(
        directory, result.rows, rows_of(policy.name, found, rules), found.problems, 0.0 if same else tolerance
    )


def _player_of(directory: Path, manifest: Mapping[str, Any], allow: Collection[str]) -> Policy | Function:
    claimed = manifest["policy"]
    if claimed["digest"] is None:
        check_allowed(claimed["name"], allow)
        player = named_function(claimed["name"])
    else:
        check_folder(directory / POLICY, directory)
        player = load_policy(directory / POLICY)
    if player_of(player) != claimed:
        raise CorruptResultError(f"{directory}: the policy is not the one that the evaluation names.")
    return player


def _check_instance(
    directory: Path, claimed: Mapping[str, Any], problem: Problem, seen: bool, tolerance: float
) -> None:
    name = claimed["name"]
    own = instance_of(problem, claimed["options"], name, seen)
    for role in ("reference", "bound"):
        given, value = claimed[role]["value"], own[role]["value"]
        if not np.isclose(given, value, rtol=tolerance, atol=0.0):
            raise CorruptResultError(f"{directory}: the {role} of {name} is {given}, this version's {value}.")
        own[role] |= {"value": given}
    for key, value in own.items():
        if claimed[key] != value:
            says, is_ = shortened(claimed[key], LONGEST), shortened(value, LONGEST)
            raise CorruptResultError(f"{directory}: the {key} of {name} is said to be {says}; it is {is_}.")


def _check_part(directory: Path, manifest: Mapping[str, Any]) -> None:
    """An evaluation on a shipped collection is one on all instances of the part."""
    name = manifest["collection"]
    if name in collections.collection_names():
        options = checked_options(directory, manifest["scenario"], manifest.get("changed", {}))
        whole = changed(collections.load_collection(name), options)
        shipped = whole.digests(manifest["split"])
        if list(shipped) != [instance["digest"] for instance in manifest["instances"]]:
            raise CorruptResultError(
                f"{directory}: its instances are not those of {manifest['split']} in the shipped collection '{name}'"
                f"{' with the options that are said to be changed' * ('changed' in manifest)}."
            )


def _check_replayed(
    directory: Path, claimed: polars.DataFrame, own: polars.DataFrame, problems: Sequence[Problem], tolerance: float
) -> None:
    replayed = {row[:4]: row[4:] for row in own.rows()}
    timed = _TIMED.get(problems[0].scenario, ())
    for row in claimed.rows():
        key, (objective, feasible, searched, design) = row[:4], row[4:]
        if row[1] and row[0] in timed:
            cost = problems[row[2]].evaluate_held_out(np.array(design, np.int32))
            replayed[key] = float(cost.objective[0]), bool(cost.feasible[0]), None, design
        if key not in replayed:
            raise CorruptResultError(f"{directory}: {row[0]} has a row on instance {row[2]} that it cannot have.")
        again = replayed.pop(key)
        agree = _close(objective, again[0], tolerance) and _close(searched, again[2], tolerance)
        if not agree or feasible != again[1] or (design != again[3] and tolerance == 0.0):
            raise CorruptResultError(
                f"{directory}: {row[0]} claims {objective:.9g} on {problems[row[2]].name} (sample {row[3]}); played "
                f"again it comes to {again[0]:.9g}{_other_versions(tolerance)}."
            )
    if replayed:
        raise CorruptResultError(f"{directory}: rows are missing, of {next(iter(replayed))[0]} say.")


def _other_versions(tolerance: float) -> str:
    return "" if tolerance == 0.0 else "; other versions or another machine may be why: evaluation.json names them"


def _close(claimed: float | None, own: float | None, tolerance: float) -> bool:
    if claimed is None or own is None:
        return claimed is own
    return claimed == own or bool(np.isclose(claimed, own, rtol=tolerance, atol=0.0))
