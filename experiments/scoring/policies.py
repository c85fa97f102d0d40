"""Tables of policies beside rules: scores on instances that policies were not trained on, as searches are scored.

A policy's value on an instance is that of its greedy or its one sampled episode, zero-shot; or of the best of several
samples, adapted, which is a search from the policy. A rule's is its design's. Both are held against the instance's
reference (0) and bound (1). I instances, n policies of one training that differ in their seed.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...agents.policies.evaluation import kind_of
from ...envs.core.collections import collection_names, load_collection
from ...envs.core.scenarios import load_scenario
from ..formats import canonical, plain_text, rounded
from . import statistics
from .leaderboard import BOOTSTRAP_SEED
from .records import LearningCurve, PolicyRow, PolicyTable, Sensitivity, SensitivityRow

if TYPE_CHECKING:
    from ..evaluations import Result

__all__ = [
    "Played",
    "entrants_of",
    "grouped",
    "learning_curve",
    "played",
    "policy_tables",
    "scored_places",
    "scores_of",
    "sensitivities",
    "table_of",
    "whole_rules",
]

_Values = NDArray[np.float64]
_POINTS = 60  # of a learning curve
_MOST_RULES = 4  # that a sensitivity has lines of


@dataclass(frozen=True, eq=False)
class Played:
    """What counts of an evaluation.

    Attributes:
        manifest: who played what, and how; see `evaluations.py`.
        values: float64[I], of the policy's sample that counts; infinite where its design is not feasible.
        rules: {rule: float64[I]}, NaN where an instance has no such rule.
        curve: of the policy's training, as of `Result`.
    """

    manifest: Mapping[str, Any]
    values: _Values
    rules: Mapping[str, _Values]
    curve: Mapping[str, Sequence[float]] | None = None


def played(result: Result) -> Played:
    """What counts of an evaluation."""
    manifest = result.manifest
    count, held_out, rules = len(manifest["instances"]), bool(manifest["held_out"]), {}
    rows = result.rows.filter(result.rows["rule"])
    for name in dict.fromkeys(rows["entrant"]):
        own = rows.filter(rows["entrant"] == name)
        rules[name] = np.full(count, np.nan)
        rules[name][own["instance"].to_numpy()] = _counted(own, held_out)
    own = result.rows.filter(~result.rows["rule"])
    shape = count, manifest["samples"]
    values, searched = _counted(own, held_out).reshape(shape), own["searched"]
    seen = values if searched.null_count() else searched.to_numpy().reshape(shape)
    return Played(manifest, values[np.arange(count), seen.argmin(axis=1)], rules, result.curve)


def policy_tables(results: Iterable[Result]) -> tuple[PolicyTable, ...]:
    """A table for each part of a collection that policies were evaluated on, zero-shot ones first, then adapted ones.

    Evaluations on the same instances share a table. The same evaluations give the same tables, in any order.
    """
    return tuple(map(table_of, grouped(map(played, results))))


def grouped(results: Iterable[Played]) -> list[list[Played]]:
    """Evaluations on the same instances, zero-shot or adapted ones, in the order of tables."""
    tables: dict[tuple[Any, ...], list[Played]] = defaultdict(list)
    for result in results:
        manifest = result.manifest
        digests = tuple(each["digest"] for each in manifest["instances"])
        about = tuple(manifest[key] for key in ("scenario", "collection", "split", "form"))
        options = canonical(manifest.get("changed", {}))
        tables[manifest["samples"] > 1, *about, options, digests].append(result)
    return [tables[key] for key in sorted(tables)]


def sensitivities(tables: Iterable[PolicyTable]) -> tuple[Sensitivity, ...]:
    """Of every part with one option changed, to two values at least: lines of policies and the best rules."""
    groups: dict[tuple[str, str, str, str], dict[str, PolicyTable]] = defaultdict(dict)
    for table in tables:
        if len(table.changed) == 1 and not table.adapted:
            ((option, value),) = table.changed.items()
            groups[table.scenario, table.collection, table.split, option][value] = table
    return tuple(_sensitivity(*key, groups[key]) for key in sorted(groups) if len(groups[key]) > 1)


def _sensitivity(
    scenario: str, collection: str, split: str, option: str, tables: Mapping[str, PolicyTable]
) -> Sensitivity:
    values = sorted(tables, key=_in_order)
    found: dict[tuple[str, str, str], dict[str, PolicyRow]] = defaultdict(dict)
    for value in values:
        for row in tables[value].rows:
            found[row.role, row.entrant, row.kind][value] = row
    mean = {key: np.mean([row.gain_percent for row in rows.values()]) for key, rows in found.items()}
    rules = sorted((key for key in found if key[0] == "rule"), key=lambda key: -mean[key])[:_MOST_RULES]
    keys = [key for role in ("policy", "rule", "rules", "bound") for key in found if key[0] == role]
    rows = tuple(
        _sensitivity_row(key, [found[key].get(value) for value in values])
        for key in keys
        if key[0] != "rule" or key in rules
    )
    return Sensitivity(scenario, collection, split, option, tuple(values), _trained(collection, option), rows)


def _sensitivity_row(key: tuple[str, str, str], rows: Sequence[PolicyRow | None]) -> SensitivityRow:
    """Of an entrant's rows in the tables of all values."""
    role, entrant, kind = key

    def each(name: str) -> tuple[float | None, ...]:
        return tuple(None if row is None else getattr(row, name) for row in rows)

    return SensitivityRow(
        entrant, role, kind, each("gain_percent"), each("gain_low_percent"), each("gain_high_percent")
    )


def _in_order(value: str) -> tuple[float, str]:
    """Numbers by size, then words."""
    try:
        return float(value), value
    except ValueError:
        return math.inf, value


def _trained(collection: str, option: str) -> tuple[str, ...]:
    """An option's values in the training part of a shipped collection, in order; () of one that is not shipped."""
    if collection not in collection_names():
        return ()
    shipped = load_collection(collection)
    declared = load_scenario(shipped.scenario)
    if option not in declared.options:
        return ()
    found = {declared.resolve(each)[option] for each in shipped.options("train")}
    return tuple(sorted(found, key=_in_order))


def learning_curve(name: str, curves: Sequence[Mapping[str, Sequence[float]]]) -> LearningCurve:
    """Of policies that differ in their seed, on steps that all have; a point is the mean of the updates before it."""
    most = min(len(curve["steps"]) for curve in curves)
    edges = np.unique(np.linspace(0, most, min(most, _POINTS) + 1).astype(int))
    rewards = np.array([[np.mean(curve["reward"][a:b]) for a, b in itertools.pairwise(edges)] for curve in curves])
    steps = np.array([curve["steps"][:most] for curve in curves]).mean(axis=0)[edges[1:] - 1]
    points = (tuple(rounded(float(x)) for x in row) for row in (rewards.mean(0), rewards.min(0), rewards.max(0)))
    return LearningCurve(name, len(curves), tuple(int(x) for x in steps), *points)


def table_of(results: Sequence[Played]) -> PolicyTable:
    """The table of evaluations on the same instances."""
    first = results[0].manifest
    scored = scored_places(first)
    instances = [first["instances"][place] for place in scored]
    reference = np.array([each["reference"]["value"] for each in instances])
    bound = np.array([each["bound"]["value"] for each in instances])
    rows: list[PolicyRow] = []
    entrants = entrants_of(results)
    known = {name: [each.curve for each in group if each.curve is not None] for name, group in entrants.items()}
    for name, group in entrants.items() if scored else ():
        values = np.stack([each.values[scored] for each in group])
        training = [each.manifest["policy"]["training"] for each in group]
        rows.append(_row(name, "policy", _kind(group[0]), values, reference, bound, training))
    rules = whole_rules(results[0]) if scored else {}
    for name, own in rules.items():
        rows.append(_row(name, "rule", "", own[None], reference, bound, []))
    rows.sort(key=lambda row: (-row.score, row.role, row.entrant, row.kind))
    if len(rules) > 1:
        best = np.min(list(rules.values()), axis=0)
        rows.append(_row("best of all rules", "rules", "", best[None], reference, bound, []))
    for role, values in (("reference", reference), ("bound", bound)) if scored else ():
        rows.append(_row(role, role, "", values[None], reference, bound, []))
    seen = max(sum(each["trained_on"] for each in result.manifest["instances"]) for result in results)
    return PolicyTable(
        scenario=first["scenario"],
        form=first["form"],
        collection=first["collection"],
        changed=dict(first.get("changed", {})),
        split=first["split"],
        adapted=first["samples"] > 1,
        instances=tuple(each["name"] for each in instances),
        left_out=tuple((each["name"], each["obstacle"]) for each in first["instances"] if each["obstacle"]),
        trained_on=seen,
        bounds=tuple(sorted({each["bound"]["kind"] for each in instances})),
        rows=tuple(rows),
        curves=tuple(learning_curve(name, curves) for name, curves in known.items() if curves),
    )


def scored_places(manifest: Mapping[str, Any]) -> list[int]:
    """The places of the instances on which results can be scored."""
    return [place for place, each in enumerate(manifest["instances"]) if not each["obstacle"]]


def _kind(result: Played) -> str:
    return kind_of(result.manifest["mode"], result.manifest["samples"])


def entrants_of(results: Sequence[Played]) -> dict[str, list[Played]]:
    """{name: its evaluations, which differ in the seed of training only}; a name says what tells it from others."""
    groups: dict[str, list[Played]] = defaultdict(list)
    for result in sorted(results, key=lambda each: each.manifest["evaluation_id"]):
        group, digest = groups[canonical(_traits(result))], result.manifest["policy"]["digest"]
        if all(digest != other.manifest["policy"]["digest"] for other in group):  # else of other versions: one counts
            group.append(result)
    traits = {key: _traits(group[0]) for key, group in groups.items()}
    named = {}
    for key, own in traits.items():
        alike = [other for other in traits.values() if other["name"] == own["name"]]
        told = [
            each for each in own if each not in ("name", "digest") and len({canonical(o.get(each)) for o in alike}) > 1
        ]
        name = ", ".join([own["name"], *(f"{each}={plain_text(own[each])}" for each in told)])
        named[name if name not in named else f"{name} ({groups[key][0].manifest['evaluation_id']})"] = groups[key]
    return dict(sorted(named.items()))


def _traits(result: Played) -> dict[str, Any]:
    """What policies of one training share, whatever their seed, and how they were used."""
    manifest = result.manifest
    policy, training = manifest["policy"], manifest["policy"]["training"] or {}
    told = {key: training[key] for key in ("collection", "steps") if key in training}
    use = {key: manifest[key] for key in ("mode", "samples", "seed")}
    if "starts_from" in training:
        told["starts_from"] = "another policy"
    if not training:
        told["source"] = policy["source"]
    return {"name": policy["name"], **told, **training.get("hyperparameters", {}), **use}


def _counted(rows: Any, held_out: bool) -> Any:
    """Objectives; infinite where a design is not feasible, but on held-out cases, whose objective has the penalty."""
    objective = rows["objective"].to_numpy()
    return objective if held_out else np.where(rows["feasible"].to_numpy(), objective, np.inf)


def whole_rules(result: Played) -> dict[str, _Values]:
    """{rule: [scored]} of the rules that have a value on every instance that is scored."""
    found = {name: values[scored_places(result.manifest)] for name, values in result.rules.items()}
    return {name: values for name, values in found.items() if not np.isnan(values).any()}


def _row(
    name: str,
    role: str,
    kind: str,
    values: _Values,
    reference: _Values,
    bound: _Values,
    training: Sequence[Mapping[str, Any] | None],
) -> PolicyRow:
    """Of values [n, I]."""
    scores = scores_of(values, reference, bound)
    gains = 100 * (1 - np.where(np.isfinite(values), values, reference) / reference)
    score, gain = _estimate(scores, _pooled), _estimate(gains, _pooled_mean)
    lone = scores.shape[-1] == 1 or role in ("reference", "bound")
    known = [each for each in training if each is not None]
    energy = [each["energy_j"] for each in known if each["energy_j"] is not None]
    gaps = 100 * (values / np.where(bound > 0, bound, np.nan) - 1)
    gap = float(np.median(np.nan_to_num(gaps, nan=math.inf)))
    return PolicyRow(
        entrant=name,
        role=role,
        kind=kind,
        policies=len(values),
        score=rounded(float(score.value)),
        low=None if lone else rounded(float(score.low)),
        high=None if lone else rounded(float(score.high)),
        gain_percent=rounded(float(gain.value)),
        gain_low_percent=None if lone else rounded(float(gain.low)),
        gain_high_percent=None if lone else rounded(float(gain.high)),
        median_gap_percent=rounded(gap) if math.isfinite(gap) else None,
        infeasible=int((~np.isfinite(values)).sum()),
        scores=tuple(rounded(float(each)) for each in scores.mean(axis=0)),
        steps=max((each["steps"] for each in known), default=None),
        training_s=float(np.mean([each["training_s"] for each in known])) if known else None,
        energy_j=float(np.mean(energy)) if energy else None,
    )


def scores_of(values: _Values, reference: _Values, bound: _Values) -> _Values:
    """[..., I], of values [..., I]; what is not finite scores 0, like the reference."""
    columns = zip(np.moveaxis(values, -1, 0), reference, bound, strict=True)
    return np.stack([statistics.score_or_reference(each, float(zero), float(one)) for each, zero, one in columns], -1)


def _estimate(scores: _Values, statistic: Any) -> statistics.Estimate:
    """A statistic of [n, I] with its interval over instances: they are drawn anew, with all seeds on each."""
    return statistics.stratified_bootstrap([scores], statistic, seed=BOOTSTRAP_SEED)


def _pooled(scores: _Values, axis: int) -> _Values:
    """The interquartile mean over the seeds, the first axis, and instances, the last."""
    assert axis == -1
    return statistics.interquartile_mean(np.concatenate(list(scores), axis=-1))


def _pooled_mean(scores: _Values, axis: int) -> _Values:
    return scores.mean(axis=(0, axis))
