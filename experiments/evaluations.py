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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..agents.policies.evaluation import Evaluated, RuleOutcome, evaluate, evaluate_rules
from ..agents.policies.players import Function, Policy, named_function
from ..costmodels.errors import CorruptResultError, shortened
from ..costmodels.files import MOST_HASHED_BYTES
from ..envs.core import collections
from ..envs.core.problem import Problem
from ..envs.core.scenarios import file_options, load_scenario
from .door import LONGEST, Each, Shape, Word, check_allowed, check_folder, check_shape, finite, read_file, read_json
from .policy_store import CURVE, curve_from, load_policy, policy_digest, save_policy
from .store import EVALUATIONS, appearing, hashed_id, json_text, keep_files, read_table, source_of, versions
from .suite import is_kept, located, may_be_file, place_of

if TYPE_CHECKING:
    import polars

__all__ = ["Result", "changed", "evaluate_into", "evaluation_directories", "read_evaluations", "verify_evaluation"]

FORMAT = 1
MANIFEST, ROWS, POLICY = "evaluation.json", "rows.parquet", "policy"
_CURVE = f"{POLICY}/{CURVE}"
_MOST_BYTES = {MANIFEST: 2**26, ROWS: 2**30}
_MOST_ROWS = 10**8
_ID = Word("[0-9a-f]{16}", "16 hexadecimal digits")
_DIGEST = Word("[0-9a-f]{64}", "64 hexadecimal digits")
_COUNT: Shape = lambda value: type(value) is int and 0 <= value < 2**63  # noqa: E731
_NOT_NEGATIVE: Shape = lambda value: finite(value) and value >= 0  # noqa: E731
_LABELS = Each(dict, str)
_TRAINING: Shape = {
    "collection": str,
    "hyperparameters": Each(dict, (str, bool, finite)),
    "seed": _COUNT,
    "steps": _COUNT,
    "training_s": _NOT_NEGATIVE,
    "energy_j": (_NOT_NEGATIVE, None),
    "starts_from?": _DIGEST,
}
_INSTANCE: Shape = {
    "name": str,
    "options": _LABELS,
    "digest": _DIGEST,
    "objective": {"name": str, "unit": str},
    "reference": {"name": str, "value": finite, "source": str},
    "bound": {"kind": str, "value": finite, "source": str},
    "obstacle": str,
    "trained_on": bool,
}
_MANIFEST: Mapping[str, Shape] = {
    "format": int,
    "evaluation_id": _ID,
    "policy": {"name": str, "digest": (_DIGEST, None), "source": (str, None), "training": (_TRAINING, None)},
    "collection": str,
    "changed?": _LABELS,
    "scenario": str,
    "form": str,
    "split": lambda value: value in collections.SPLITS,
    "sizes": Each(dict, _COUNT),
    "held_out": bool,
    "mode": str,
    "samples": _COUNT,
    "seed": _COUNT,
    "instances": Each(list, _INSTANCE),
    "versions": _LABELS,
    "seconds": {"policy": _NOT_NEGATIVE, "rules": _NOT_NEGATIVE},
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
# Baselines that stop after seconds, so that what they find depends on the machine: their designs are replayed, and not
# asked for again.
_TIMED = {("dsegym/MemoryAllocation-v0", "cp_sat")}


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
        options: that `changed` has changed in the collection.
        curve: of the policy's training, as of `Result`.
        rules: what `evaluate_rules` returned for these instances, if it was called already.

    Raises:
        DsegymError: as `evaluate`.
        OSError: the disk is full, say; nothing is left behind.
    """
    start = time.perf_counter()
    found = evaluate(policy, collection, split, mode=mode, samples=samples, seed=seed, trained_on=trained_on)
    played = time.perf_counter()
    rules = evaluate_rules(found.problems) if rules is None else rules
    seconds = {"policy": played - start, "rules": time.perf_counter() - played}
    folder = results / EVALUATIONS
    folder.mkdir(parents=True, exist_ok=True)
    check_folder(folder, results)
    own_options, names, files = _kept_options(found.problems)
    keep_files(results, files)
    manifest = {
        "format": FORMAT,
        "policy": _player(policy),
        "collection": collection.name,
        **({"changed": dict(options)} if options else {}),
        "scenario": collection.scenario,
        "form": found.form,
        "split": split,
        "sizes": dict(found.sizes),
        "held_out": any(problem.held_out_params is not None for problem in found.problems),
        "mode": mode,
        "samples": samples,
        "seed": seed,
        "instances": [
            _instance(problem, own, name, bool(seen))
            for problem, own, name, seen in zip(found.problems, own_options, names, found.trained_on, strict=True)
        ],
        "versions": dict(versions()),
    }
    identifier = hashed_id(manifest, {}, {})
    manifest |= {"evaluation_id": identifier, "seconds": seconds}
    rows = _rows(policy.name, found, rules)
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
    return _read(target)


def _kept_options(problems: Sequence[Problem]) -> tuple[list[dict[str, str]], list[str], list[tuple[str, Path]]]:
    """The options of instances, users' files by the place where results keep them; the instances' names, users' files
    by their own; and those files.
    """
    options, names, files = [], [], []
    for problem in problems:
        found, hashes = file_options(problem.instance)
        places = {name: place_of(found[name]) for name in hashes}
        options.append({**found, **places})
        names.append(", ".join(f"{key}={Path(v).name if key in hashes else v}" for key, v in found.items()))
        files += [(place, Path(found[name])) for name, place in places.items()]
    return options, names, files


def _player(policy: Policy | Function) -> dict[str, Any]:
    if isinstance(policy, Function):
        source = source_of(policy.name.partition(":")[0])
        return {"name": policy.name, "digest": None, "source": source, "training": None}
    card = policy.card
    training = {key: getattr(card, key) for key in _TRAINING if not key.endswith("?")}
    training["hyperparameters"] = dict(card.hyperparameters)
    if card.starts_from is not None:
        training["starts_from"] = card.starts_from
    return {"name": policy.name, "digest": policy_digest(policy), "source": None, "training": training}


def _instance(problem: Problem, options: Mapping[str, str], name: str, seen: bool) -> dict[str, Any]:
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


def _rows(name: str, found: Evaluated, rules: Mapping[str, RuleOutcome]) -> polars.DataFrame:
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
    return [_read(directory) for directory in evaluation_directories(results)]


def _is_whole(directory: Path) -> bool:
    try:
        _read(directory)
    except CorruptResultError:
        return False
    return True


def _read(directory: Path) -> Result:
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
    own = rows.filter(~rows["rule"])
    expected = [(name, place, sample) for place in range(instances) for sample in range(samples)]
    if own.select("entrant", "instance", "sample").rows() != expected:
        raise CorruptResultError(f"{path}: its rows are not those of {samples} samples on {instances} instances.")
    rules = rows.filter(rows["rule"])
    places = rules.select("entrant", "instance").rows()
    if len(set(places)) < len(places) or rules.filter(~rules["instance"].is_between(0, instances - 1)).height:
        raise CorruptResultError(f"{path}: a rule stands twice on an instance, or on one that there is not.")
    if rules["design"].null_count():
        raise CorruptResultError(f"{path}: a rule has no design.")
    if not np.isfinite(rows["objective"].to_numpy()).all():
        raise CorruptResultError(f"{path}: an objective is no number.")
    if own["searched"].null_count() not in (0, own.height):
        raise CorruptResultError(f"{path}: 'searched' is missing in some rows.")


# Verifying -------------------------------------------------------------------------------------------------------


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
    result = _read(directory)
    manifest = result.manifest
    named = {key: value for key, value in manifest.items() if key not in ("evaluation_id", "seconds", "files")}
    if not directory.name == manifest["evaluation_id"] == hashed_id(named, {}, {}):
        raise CorruptResultError(f"{directory}: the id does not follow from the evaluation (edited).")
    check_allowed(manifest["scenario"], allow)
    policy = _player_of(directory, manifest, allow)
    instances = manifest["instances"]
    options = [_options_of(directory, manifest["scenario"], instance) for instance in instances]
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
    _check_part(directory, manifest)
    rules = evaluate_rules(found.problems, without=[name for place, name in _TIMED if place == manifest["scenario"]])
    same = manifest["versions"] == dict(versions())
    _check_replayed(
        directory, result.rows, _rows(policy.name, found, rules), found.problems, 0.0 if same else tolerance
    )


def _player_of(directory: Path, manifest: Mapping[str, Any], allow: Collection[str]) -> Policy | Function:
    claimed = manifest["policy"]
    if claimed["digest"] is None:
        check_allowed(claimed["name"], allow)
        player = named_function(claimed["name"])
    else:
        check_folder(directory / POLICY, directory)
        player = load_policy(directory / POLICY)
    if _player(player) != claimed:
        raise CorruptResultError(f"{directory}: the policy is not the one that the evaluation names.")
    return player


def _options_of(directory: Path, scenario: str, instance: Mapping[str, Any]) -> dict[str, str]:
    """An instance's options, with the users' files that the results keep."""
    results, declared = directory.parent.parent, load_scenario(scenario).options
    for key, value in instance["options"].items():
        if is_kept(value):
            digest = hashlib.sha256(read_file(results / value, results, MOST_HASHED_BYTES)).hexdigest()
            if value.partition("/")[2][:16] != digest[:16]:
                raise CorruptResultError(f"{results / value}: its contents are not those of the evaluation.")
        elif key in declared and not declared[key].is_name(value) and may_be_file(value):
            raise CorruptResultError(
                f"{directory}: '{shortened(value)}' is a file that the results do not keep: it is not read."
            )
    return located(instance["options"], results)


def _check_instance(
    directory: Path, claimed: Mapping[str, Any], problem: Problem, seen: bool, tolerance: float
) -> None:
    name = claimed["name"]
    own = _instance(problem, claimed["options"], name, seen)
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
        whole = changed(collections.load_collection(name), manifest.get("changed", {}))
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
    timed = _timed(problems[0].scenario)
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


def _timed(scenario: str) -> set[str]:
    return {rule for family, rule in _TIMED if family == scenario}


def _other_versions(tolerance: float) -> str:
    return "" if tolerance == 0.0 else "; other versions or another machine may be why: evaluation.json names them"


def _close(claimed: float | None, own: float | None, tolerance: float) -> bool:
    if claimed is None or own is None:
        return claimed is own
    return claimed == own or bool(np.isclose(claimed, own, rtol=tolerance, atol=0.0))
