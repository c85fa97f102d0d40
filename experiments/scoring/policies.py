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

__all__ = ["learning_curve", "policy_tables", "sensitivities"]

_POINTS = 60  # of a learning curve
_MOST_RULES = 4  # that a sensitivity has lines of

_Values = NDArray[np.float64]


def policy_tables(results: Iterable[Result]) -> tuple[PolicyTable, ...]:
    """A table for each part of a collection that policies were evaluated on, zero-shot ones first, then adapted ones.

    Evaluations on the same instances share a table. The same evaluations give the same tables, in any order.
    """
    tables: dict[tuple[Any, ...], list[Result]] = defaultdict(list)
    for result in results:
        manifest = result.manifest
        digests = tuple(each["digest"] for each in manifest["instances"])
        about = tuple(manifest[key] for key in ("scenario", "collection", "split", "form"))
        options = canonical(manifest.get("changed", {}))
        tables[manifest["samples"] > 1, *about, options, digests].append(result)
    return tuple(_table(tables[key]) for key in sorted(tables))


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


def _table(results: Sequence[Result]) -> PolicyTable:
    first = results[0].manifest
    scored = [place for place, each in enumerate(first["instances"]) if not each["obstacle"]]
    instances = [first["instances"][place] for place in scored]
    reference = np.array([each["reference"]["value"] for each in instances])
    bound = np.array([each["bound"]["value"] for each in instances])
    rows: list[PolicyRow] = []
    entrants = _entrants(results)
    known = {name: [each.curve for each in group if each.curve is not None] for name, group in entrants.items()}
    for name, group in entrants.items() if scored else ():
        values = np.stack([_own_values(each)[scored] for each in group])
        training = [each.manifest["policy"]["training"] for each in group]
        rows.append(_row(name, "policy", _kind(group[0]), values, reference, bound, training))
    for name, own in _rules(results, scored).items() if scored else ():
        rows.append(_row(name, "rule", "", own[None], reference, bound, []))
    rows.sort(key=lambda row: (-row.score, row.role, row.entrant, row.kind))
    best = _best_rule(results, scored) if scored else None
    if best is not None:
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


def _kind(result: Result) -> str:
    return kind_of(result.manifest["mode"], result.manifest["samples"])


def _entrants(results: Sequence[Result]) -> dict[str, list[Result]]:
    """{name: its evaluations, which differ in the seed of training only}; a name says what tells it from others."""
    groups: dict[str, list[Result]] = defaultdict(list)
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


def _traits(result: Result) -> dict[str, Any]:
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


def _own_values(result: Result) -> _Values:
    """[I], of the sample that counts: the best by what a search may see."""
    rows = result.rows.filter(~result.rows["rule"])
    shape = len(result.manifest["instances"]), result.manifest["samples"]
    values = _counted(rows, _held_out(result)).reshape(shape)
    searched = rows["searched"]
    seen = values if searched.null_count() else searched.to_numpy().reshape(shape)
    return values[np.arange(shape[0]), seen.argmin(axis=1)]


def _held_out(result: Result) -> bool:
    return bool(result.manifest["held_out"])


def _rules(results: Sequence[Result], scored: Sequence[int]) -> dict[str, _Values]:
    """{rule: [I]} of the rules that have a value on every instance."""
    rows = results[0].rows.filter(results[0].rows["rule"])
    count, found = len(results[0].manifest["instances"]), {}
    for name in dict.fromkeys(rows["entrant"]):
        own = rows.filter(rows["entrant"] == name)
        values = np.full(count, np.nan)
        values[own["instance"].to_numpy()] = _counted(own, _held_out(results[0]))
        if not np.isnan(values[scored]).any():
            found[name] = values[scored]
    return found


def _best_rule(results: Sequence[Result], scored: Sequence[int]) -> _Values | None:
    """[I], the best of all rules on each instance; None where there is no rule, or one instance has none."""
    found = list(_rules(results, scored).values())
    return np.min(found, axis=0) if len(found) > 1 else None


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
    scores = np.stack(
        [
            statistics.score_or_reference(each, float(zero), float(one))
            for each, zero, one in zip(values.T, reference, bound, strict=True)
        ],
        axis=-1,
    )
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


def _estimate(scores: _Values, statistic: Any) -> statistics.Estimate:
    """A statistic of [n, I] with its interval over instances: they are drawn anew, with all seeds on each."""
    return statistics.stratified_bootstrap([scores], statistic, seed=BOOTSTRAP_SEED)


def _pooled(scores: _Values, axis: int) -> _Values:
    """The interquartile mean over the seeds, the first axis, and instances, the last."""
    assert axis == -1
    return statistics.interquartile_mean(np.concatenate(list(scores), axis=-1))


def _pooled_mean(scores: _Values, axis: int) -> _Values:
    return scores.mean(axis=(0, axis))
