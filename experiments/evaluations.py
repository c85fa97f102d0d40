"""What policies are worth, as results: a directory per evaluation, which appears complete or not at all.

    RESULTS/evaluations/<id>/evaluation.json  who played what, and how
    RESULTS/evaluations/<id>/rows.parquet     a row for every sample of the policy and every rule on every instance:
                                              entrant, rule, instance, sample, objective, feasible, searched, design
    RESULTS/evaluations/<id>/policy/          the policy, see `policy_store.py`; not there where a function played
    RESULTS/evaluations/<id>/policy/curve.csv what its training showed, where that is known

Rules are the family's heuristics, on the same instances. `searched` is the objective on the search's own cases, by
which the best of several samples is chosen where scores are taken on held-out ones; `design` is there where an episode
stands for one. From weights and seed everything can be played again, bit for bit on the same machine.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..agents.policies.evaluation import Evaluated, RuleOutcome, evaluate, evaluate_rules
from ..agents.policies.players import Function, Policy
from ..costmodels.errors import CorruptResultError, DsegymError, shortened
from ..envs.core import collections
from ..envs.core.evaluation import obstacle_between
from ..envs.core.problem import Problem
from ..envs.core.scenarios import file_options, load_scenario
from .door import (
    COUNT,
    DIGEST,
    NOT_NEGATIVE,
    SIZE,
    Each,
    Shape,
    Word,
    check_folder,
    check_shape,
    finite,
    read_file,
    read_json,
)
from .identities import hashed_id, source_of, versions
from .kept_files import keep_files
from .layout import EVALUATIONS, json_text
from .parquet_tables import read_table
from .policy_store import CURVE, curve_from, policy_digest, save_policy
from .suite import placed
from .whole_folders import appearing

if TYPE_CHECKING:
    import polars

__all__ = [
    "POLICY",
    "Result",
    "changed",
    "evaluate_into",
    "evaluation_directories",
    "instance_of",
    "player_of",
    "read_evaluation",
    "read_evaluations",
    "rows_of",
]

FORMAT = 1
MANIFEST, ROWS, POLICY = "evaluation.json", "rows.parquet", "policy"
_CURVE = f"{POLICY}/{CURVE}"
_MOST_BYTES = {MANIFEST: 2**26, ROWS: 2**30}
_MOST_ROWS = 10**8
_SMALLEST, _LARGEST = 1e-60, 1e60  # numbers whose ratios, and means of these, float64 holds
_ID = Word("[0-9a-f]{16}", "16 hexadecimal digits")
_LABELS = Each(dict, str)
_TRAINING: Shape = {
    "collection": str,
    "hyperparameters": Each(dict, (str, bool, finite)),
    "seed": COUNT,
    "steps": COUNT,
    "training_s": NOT_NEGATIVE,
    "energy_j": (NOT_NEGATIVE, None),
    "starts_from?": DIGEST,
}
_INSTANCE: Shape = {
    "name": str,
    "options": _LABELS,
    "digest": DIGEST,
    "objective": {"name": str, "unit": str},
    "reference": {"name": str, "value": finite, "source": str},
    "bound": {"kind": str, "value": finite, "source": str},
    "obstacle": str,
    "trained_on": bool,
}
_MANIFEST: Mapping[str, Shape] = {
    "format": int,
    "evaluation_id": _ID,
    "policy": {"name": str, "digest": (DIGEST, None), "source": (str, None), "training": (_TRAINING, None)},
    "collection": str,
    "changed?": _LABELS,
    "scenario": str,
    "form": str,
    "split": lambda value: value in collections.SPLITS,
    "sizes": Each(dict, SIZE),
    "held_out": bool,
    "mode": str,
    "samples": COUNT,
    "seed": COUNT,
    "instances": Each(list, _INSTANCE),
    "versions": _LABELS,
    "seconds": {"policy": NOT_NEGATIVE, "rules": NOT_NEGATIVE},
    "files": _LABELS,
}
_COLUMNS = {
    "entrant": "String",
    "rule": "Boolean",
    "instance": "Int32",
    "sample": "Int32",
    "objective": "Float64",
    "feasible": "Boolean",
    "searched": "Float64",
    "design": "List(Int32)",
}


@dataclass(frozen=True)
class Result:
    """An evaluation as the store holds it.

    Attributes:
        manifest: who played what, and how.
        rows: of `_COLUMNS`, in order.
        curve: figures of training by name, among them `steps` and `reward`; None where they are not known.
    """

    manifest: Mapping[str, Any]
    rows: polars.DataFrame
    curve: Mapping[str, Sequence[float]] | None = None


def changed(collection: collections.Collection, options: Mapping[str, str]) -> collections.Collection:
    """A collection with options of every instance changed; instances that are one then are one.

    Raises:
        UnknownNameError: the scenario has no such option.
        DsegymError: a value does not fit.
    """
    if not options:
        return collection
    scenario = load_scenario(collection.scenario)

    def part(instances: collections.Instances) -> collections.Instances:
        def made() -> list[dict[str, str]]:
            resolved = [scenario.resolve({**each, **options}) for each in instances()]
            return list({tuple(each.items()): each for each in resolved}.values())

        return made

    parts = {split: part(getattr(collection, split)) for split in collections.SPLITS}
    return replace(collection, **parts)


def evaluate_into(
    results: Path,
    policy: Policy | Function,
    collection: collections.Collection,
    split: str,
    *,
    mode: str = "greedy",
    samples: int = 1,
    seed: int = 0,
    trained_on: bool = False,
    options: Mapping[str, str] | None = None,
    curve: Mapping[str, Sequence[float]] | None = None,
    rules: Mapping[str, RuleOutcome] | None = None,
) -> Result:
    """Plays a policy and all rules on the instances of a part, and stores what came of it.

    Args:
        results: the results directory, a suite's or a new one; one evaluation more stands there afterwards.
        policy, collection, split, mode, samples, seed, trained_on: as of `evaluate`.
        options: that `changed` has changed in the collection, as canonical texts, users' files by absolute paths.
        curve: of the policy's training, as of `Result`.
        rules: what `evaluate_rules` returned for these instances, if it was called already.

    Raises:
        DsegymError: as `evaluate`; or what came of it cannot be scored: a value is not finite, say.
        OSError: the disk is full, say; nothing is left behind.
    """
    folder = results / EVALUATIONS
    _check_place(folder)
    start = time.perf_counter()
    found = evaluate(policy, collection, split, mode=mode, samples=samples, seed=seed, trained_on=trained_on)
    played = time.perf_counter()
    rules = evaluate_rules(found.problems) if rules is None else rules
    seconds = {"policy": played - start, "rules": time.perf_counter() - played}
    folder.mkdir(parents=True, exist_ok=True)
    check_folder(folder, results)
    own_options, names, files = _kept_options(found.problems)
    keep_files(results, files)
    manifest = {
        "format": FORMAT,
        "policy": player_of(policy),
        "collection": collection.name,
        **({"changed": placed(options)} if options else {}),
        "scenario": collection.scenario,
        "form": found.form,
        "split": split,
        "sizes": dict(found.sizes),
        "held_out": any(problem.held_out_params is not None for problem in found.problems),
        "mode": mode,
        "samples": samples,
        "seed": seed,
        "instances": [
            instance_of(problem, own, name, bool(seen))
            for problem, own, name, seen in zip(found.problems, own_options, names, found.trained_on, strict=True)
        ],
        "versions": dict(versions()),
    }
    identifier = hashed_id(manifest, {}, {})
    manifest |= {"evaluation_id": identifier, "seconds": seconds}
    rows = rows_of(policy.name, found, rules)
    target = folder / identifier
    with appearing(target, _is_whole) as partial:
        table = io.BytesIO()
        rows.write_parquet(table)
        (partial / ROWS).write_bytes(table.getvalue())
        if isinstance(policy, Policy):
            save_policy(policy, partial / POLICY, curve=curve)
        kept = [name for name in (ROWS, _CURVE) if (partial / name).exists()]
        digests = {name: hashlib.sha256((partial / name).read_bytes()).hexdigest() for name in kept}
        (partial / MANIFEST).write_text(json_text({**manifest, "files": digests}), encoding="utf-8")
        read_evaluation(partial)  # refuses what nobody could read, before it stands among others
    return read_evaluation(target)


def _check_place(folder: Path) -> None:
    """Refuses a folder that cannot be made, before hours are spent on what shall lie in it."""
    place = next(each for each in (folder, *folder.parents) if os.path.lexists(each) or each == each.parent)
    if not place.is_dir():
        raise DsegymError(f"'{place}' is no directory; results lie in one.")


def _kept_options(problems: Sequence[Problem]) -> tuple[list[dict[str, str]], list[str], list[tuple[str, Path]]]:
    """The options of instances, users' files by the place where results keep them; the instances' names, users' files
    by their own; and those files.
    """
    options, names, files = [], [], []
    for problem in problems:
        found, hashes = file_options(problem.instance)
        options.append(placed(found))
        names.append(", ".join(f"{key}={Path(v).name if key in hashes else v}" for key, v in found.items()))
        files += [(options[-1][name], Path(found[name])) for name in hashes]
    return options, names, files


def player_of(policy: Policy | Function) -> dict[str, Any]:
    """What a manifest says of who plays."""
    if isinstance(policy, Function):
        source = source_of(policy.name.partition(":")[0])
        return {"name": policy.name, "digest": None, "source": source, "training": None}
    card = policy.card
    training = {key: getattr(card, key) for key in _TRAINING if not key.endswith("?")}
    training["hyperparameters"] = dict(card.hyperparameters)
    if card.starts_from is not None:
        training["starts_from"] = card.starts_from
    return {"name": policy.name, "digest": policy_digest(policy), "source": None, "training": training}


def instance_of(problem: Problem, options: Mapping[str, str], name: str, seen: bool) -> dict[str, Any]:
    """What a manifest says of an instance: its kept options, its name, whether the policy was trained on it."""
    reference, bound, objective = problem.reference, problem.bound, problem.objective
    return {
        "name": name,
        "options": dict(options),
        "digest": problem.digest,
        "objective": {"name": objective.name, "unit": objective.unit},
        "reference": {"name": reference.name, "value": float(reference.value), "source": reference.source},
        "bound": {"kind": bound.name, "value": float(bound.value), "source": bound.source},
        "obstacle": problem.obstacle,
        "trained_on": seen,
    }


def rows_of(name: str, found: Evaluated, rules: Mapping[str, RuleOutcome]) -> polars.DataFrame:
    """The table of what a policy of this name and rules came to, of `_COLUMNS`."""
    import polars

    rows: list[tuple[Any, ...]] = []
    for place in range(len(found.problems)):
        for sample in range(found.objective.shape[1]):
            searched = None if found.searched is None else float(found.searched[place, sample])
            design = None if found.designs is None else found.designs[place][sample].tolist()
            value, feasible = float(found.objective[place, sample]), bool(found.feasible[place, sample])
            rows.append((name, False, place, sample, value, feasible, searched, design))
        for rule, outcome in rules.items():
            design = outcome.designs[place]
            if design is not None:
                value, feasible = float(outcome.objective[place]), bool(outcome.feasible[place])
                rows.append((rule, True, place, 0, value, feasible, None, design.tolist()))
    kinds = (polars.String, polars.Boolean, polars.Int32, polars.Int32, polars.Float64, polars.Boolean, polars.Float64)
    schema = dict(zip(_COLUMNS, (*kinds, polars.List(polars.Int32)), strict=True))
    return polars.DataFrame(rows, schema=schema, orient="row")


# Reading ---------------------------------------------------------------------------------------------------------


def evaluation_directories(results: Path) -> list[Path]:
    """Where the evaluations of a results directory lie, in order of their ids.

    Raises:
        CorruptResultError: the folder leads out of the directory.
    """
    folder = results / EVALUATIONS
    if not os.path.lexists(folder):
        return []
    check_folder(folder, results)
    return sorted(each for each in folder.iterdir() if not each.name.startswith("."))


def read_evaluations(results: Path) -> list[Result]:
    """All evaluations of a results directory, none where it has none.

    Raises:
        CorruptResultError: one is damaged; names it.
    """
    return [read_evaluation(directory) for directory in evaluation_directories(results)]


def _is_whole(directory: Path) -> bool:
    try:
        read_evaluation(directory)
    except CorruptResultError:
        return False
    return True


def read_evaluation(directory: Path) -> Result:
    """An evaluation, whole.

    Raises:
        CorruptResultError: a file is missing, altered, outside, no regular file or of another shape; names it.
    """
    root, path = directory.parent.parent, directory / MANIFEST
    manifest = read_json(path, root, _MOST_BYTES[MANIFEST])
    if isinstance(manifest, dict) and manifest.get("format") != FORMAT:
        raise CorruptResultError(
            f"{path}: format {shortened(manifest.get('format'))} where this version reads {FORMAT}."
        )
    check_shape(path, manifest, _MANIFEST)
    contents = {}
    for name in (ROWS, *({_CURVE} & manifest["files"].keys())):
        contents[name] = read_file(directory / name, root, _MOST_BYTES[ROWS])
        if hashlib.sha256(contents[name]).hexdigest() != manifest["files"].get(name):
            raise CorruptResultError(
                f"{directory / name}: its contents do not match the hash in {MANIFEST} (truncated or altered)."
            )
    curve = curve_from(contents[_CURVE], directory / _CURVE) if _CURVE in contents else None
    path = directory / ROWS

    def wrong(rows: int) -> str:
        return f"{rows} rows, where {_MOST_ROWS} are the most" if rows > _MOST_ROWS else ""

    rows = read_table(path, contents[ROWS], [_COLUMNS], wrong)
    _check_rows(path, rows, manifest)
    return Result(manifest, rows, curve)


def _check_rows(path: Path, rows: polars.DataFrame, manifest: Mapping[str, Any]) -> None:
    """What must hold of rows whatever the instances are."""
    instances, samples, name = len(manifest["instances"]), manifest["samples"], manifest["policy"]["name"]
    if not instances or not samples:
        raise CorruptResultError(f"{path}: it is of no instance or no sample.")
    for column in ("entrant", "rule", "instance", "sample", "objective", "feasible"):
        if rows[column].null_count():
            raise CorruptResultError(f"{path}: '{column}' is missing in some rows.")
    for each in manifest["instances"]:
        if each["obstacle"]:
            continue
        reference = each["reference"]["value"]
        obstacle = obstacle_between(reference, each["bound"]["value"])
        if not obstacle and not _SMALLEST <= reference <= _LARGEST:
            obstacle = f"its reference is {reference:.9g}, outside {_SMALLEST:g} to {_LARGEST:g}"
        if obstacle:
            raise CorruptResultError(
                f"{path.with_name(MANIFEST)}: nothing can be scored on {shortened(each['name'])}: {obstacle}."
            )
    own = rows.filter(~rows["rule"])
    if own.height != instances * samples:  # before a list of them is made, which could be endless
        raise CorruptResultError(f"{path}: {own.height} rows of {samples} samples on {instances} instances.")
    expected = [(name, place, sample) for place in range(instances) for sample in range(samples)]
    if own.select("entrant", "instance", "sample").rows() != expected:
        raise CorruptResultError(f"{path}: its rows are not those of {samples} samples on {instances} instances.")
    rules = rows.filter(rows["rule"])
    places = rules.select("entrant", "instance").rows()
    if len(set(places)) < len(places) or rules.filter(~rules["instance"].is_between(0, instances - 1)).height:
        raise CorruptResultError(f"{path}: a rule stands twice on an instance, or on one that there is not.")
    if rules["design"].null_count() or rules["design"].explode().null_count():
        raise CorruptResultError(f"{path}: a rule has no design.")
    if not (np.abs(rows["objective"].to_numpy()) <= _LARGEST).all():
        raise CorruptResultError(f"{path}: an objective is no number from {-_LARGEST:g} to {_LARGEST:g}.")
    if own["searched"].null_count() not in (0, own.height):
        raise CorruptResultError(f"{path}: 'searched' is missing in some rows.")
