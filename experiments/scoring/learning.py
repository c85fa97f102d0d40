"""Whether learning pays: policies against the best rules on held-out instances, and the file that it is told from.

The file holds what counts of each evaluation, so that every table can be made again without weights or samples.
I instances, n policies of one training that differ in their seed, R resamples.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...agents.policies.evaluation import kind_of
from ...costmodels.errors import CorruptResultError
from ...costmodels.files import strict_json
from ...envs.core.evaluation import obstacle_between
from ..door import COUNT, NOT_NEGATIVE, Each, Shape, check_once, check_row, check_shape, finite
from ..formats import rounded
from . import statistics
from .leaderboard import BOOTSTRAP_SEED
from .policies import (
    Played,
    entrants_of,
    grouped,
    learning_curve,
    scored_places,
    scores_of,
    whole_rules,
)

__all__ = ["Comparison", "Contest", "Declared", "contests", "from_stored", "to_stored"]

FORMAT = 1
_AT_BEST = 1e-6  # of a score: a rule so close to the bound leaves nothing to learn
_ABOUT = ("collection", "changed", "scenario", "form", "split", "held_out")  # what evaluations of a part share
_OWN = ("evaluation_id", "mode", "samples", "seed")

# Trainings that a suite declares: COLLECTION-NAME-seedSEED, and the digest of the policy; None where none was trained.
Declared = Sequence[tuple[str, str | None]]
_Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % bootstrap interval over instances and seeds; no interval where there is one of each."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """An entrant against the best single rule."""

    entrant: str
    kind: str  # of policies how they were used, of rules and yardsticks ""
    seeds: int  # 0 of rules and yardsticks
    score: Interval  # interquartile mean, reference 0 and bound 1
    better_percent: Interval | None  # the mean share by which values lie below the rule's; None of the rule itself
    closed: Interval | None  # the share of the gap between the rule and the bound; None where there is no gap
    steps: int | None  # of training
    training_s: float | None
    infeasible: int


@dataclass(frozen=True)
class Contest:
    """Policies and rules on a part of a collection."""

    scenario: str
    collection: str
    split: str
    instances: int
    bounds: tuple[str, ...]  # the kinds that occur
    trained_on: int  # instances that a policy was trained on
    best_rule: str | None  # the single one with the highest score on these instances
    policies: tuple[Comparison, ...]  # zero-shot ones by score, then adapted ones
    rules: tuple[Comparison, ...]  # the best single one, and the best on each instance; none where there is no rule
    curves: tuple[tuple[str, tuple[float, ...]], ...]  # reward after a tenth, a quarter, half and all of the training


SHARES = (0.1, 0.25, 0.5, 1.0)  # of a training, at which a learning curve is read


def contests(results: Iterable[Played]) -> tuple[Contest, ...]:
    """The contest of each part of a collection on which policies were evaluated as it is, by scenario and name; those
    on other instances, of another version say, are another contest.
    """
    groups: dict[tuple[Any, ...], list[list[Played]]] = {}
    for group in grouped(each for each in results if not each.manifest.get("changed")):
        first = group[0].manifest
        if scored_places(first):
            digests = tuple(each["digest"] for each in first["instances"])
            groups.setdefault((first["scenario"], first["collection"], first["split"], digests), []).append(group)
    return tuple(_contest(groups[key]) for key in sorted(groups))


def _contest(groups: Sequence[Sequence[Played]]) -> Contest:
    """Of the zero-shot evaluations, and the adapted ones where there are any."""
    first = groups[0][0]
    scored = scored_places(first.manifest)
    instances = [first.manifest["instances"][place] for place in scored]
    reference = np.array([each["reference"]["value"] for each in instances])
    bound = np.array([each["bound"]["value"] for each in instances])
    rules = whole_rules(first)
    mean = {name: float(_pooled(scores_of(values, reference, bound)[None])) for name, values in rules.items()}
    best = max(mean, key=lambda name: mean[name], default=None)
    rule = rules[best] if best is not None else reference

    def compared(name: str, group: Sequence[Played]) -> Comparison:
        manifest = group[0].manifest
        values = np.stack([each.values[scored] for each in group])
        known = [each.manifest["policy"]["training"] for each in group if each.manifest["policy"]["training"]]
        return Comparison(
            entrant=name,
            kind=kind_of(manifest["mode"], manifest["samples"]),
            seeds=len(group),
            **_against(values, rule, reference, bound),
            steps=max((each["steps"] for each in known), default=None),
            training_s=float(np.mean([each["training_s"] for each in known])) if known else None,
            infeasible=int((~np.isfinite(values)).sum()),
        )

    def of_rules(name: str, values: _Values, alone: bool) -> Comparison:
        found = _against(values[None], rule, reference, bound)
        if alone:
            found |= {"better_percent": None, "closed": None}
        infeasible = int((~np.isfinite(values)).sum())
        return Comparison(name, "", 0, **found, steps=None, training_s=None, infeasible=infeasible)

    policies: list[Comparison] = []
    for group in groups:  # zero-shot ones come first
        found = [compared(name, each) for name, each in entrants_of(group).items()]
        policies += sorted(found, key=lambda each: (-each.score.value, each.entrant))
    own = [] if best is None else [of_rules(best, rule, True)]
    if len(rules) > 1:
        own.append(of_rules("the best rule on each instance", np.min(list(rules.values()), axis=0), False))
    return Contest(
        scenario=first.manifest["scenario"],
        collection=first.manifest["collection"],
        split=first.manifest["split"],
        instances=len(scored),
        bounds=tuple(sorted({each["bound"]["kind"] for each in instances})),
        trained_on=max(sum(i["trained_on"] for i in each.manifest["instances"]) for g in groups for each in g),
        best_rule=best,
        policies=tuple(policies),
        rules=tuple(own),
        curves=tuple(_curves(groups[0])),
    )


def _curves(group: Sequence[Played]) -> Iterable[tuple[str, tuple[float, ...]]]:
    for name, each in entrants_of(group).items():
        known = [one.curve for one in each if one.curve is not None]
        if known and name.partition(",")[0] != "imitation":  # whose reward is its expert's
            reward = learning_curve(name, known).reward
            yield name, tuple(reward[max(0, math.ceil(share * len(reward)) - 1)] for share in SHARES)


def _against(values: _Values, rule: _Values, reference: _Values, bound: _Values) -> dict[str, Any]:
    """The figures of values [n, I] against a rule's [I]."""
    scores, own = scores_of(values, reference, bound), scores_of(rule, reference, bound)
    there = np.where(np.isfinite(values), values, reference)
    gains = 100 * (1 - there / np.where(np.isfinite(rule), rule, reference))
    bare = float(_pooled(own[None]))
    return {
        "score": _interval(scores, lambda rows, places: _pooled(scores[rows[..., :, None], places[..., None, :]])),
        "better_percent": _interval(
            scores, lambda rows, places: gains[rows[..., :, None], places[..., None, :]].mean(axis=(-1, -2))
        ),
        "closed": None
        if 1 - bare < _AT_BEST
        else _interval(
            scores,
            lambda rows, places: _closed(
                _pooled(scores[rows[..., :, None], places[..., None, :]]), _pooled(own[places][..., None, :])
            ),
        ),
    }


def _closed(score: _Values, rule: _Values) -> _Values:
    """The share of the gap between a rule's score and the bound's, 1."""
    return (score - rule) / np.maximum(1 - rule, _AT_BEST)


def _pooled(scores: _Values) -> _Values:
    """The interquartile mean of [..., n, I] over seeds and instances together."""
    return statistics.interquartile_mean(scores.reshape(*scores.shape[:-2], -1))


def _interval(scores: _Values, statistic: Callable[[NDArray[np.intp], NDArray[np.intp]], _Values]) -> Interval:
    """A statistic of so many seeds and instances, [n, I], both of which are drawn anew for its interval.

    Args:
        scores: of that shape.
        statistic: of rows int[..., n] and places int[..., I] that were drawn.
    """
    seeds, count = scores.shape
    value = rounded(float(statistic(np.arange(seeds), np.arange(count))))
    if seeds == count == 1:
        return Interval(value, None, None)
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    rows = generator.integers(seeds, size=(statistics.RESAMPLES, seeds))
    places = generator.integers(count, size=(statistics.RESAMPLES, count))
    tail = (1 - statistics.CONFIDENCE) / 2
    low, high = np.quantile(statistic(rows, places), [tail, 1 - tail])
    return Interval(value, rounded(float(low)), rounded(float(high)))


# The file --------------------------------------------------------------------------------------------------------


def to_stored(results: Iterable[Played], suite: str = "", trainings: Declared = ()) -> str:
    """What counts of evaluations as JSON; the same evaluations give the same bytes, in any order.

    Args:
        results: the evaluations.
        suite: the name of the suite of policies that they are of, if of one.
        trainings: that the suite declares.
    """
    parts = [_part(sorted(group, key=lambda each: each.manifest["evaluation_id"])) for group in grouped(results)]
    lines = ",\n".join(json.dumps(part, ensure_ascii=False, allow_nan=False) for part in parts)
    declared = json.dumps([list(each) for each in trainings], ensure_ascii=False)
    head = f'"format": {FORMAT}, "suite": {json.dumps(suite)}, "trainings": {declared}'
    return f'{{{head}, "parts": [\n{lines}\n]}}\n'


def _part(group: Sequence[Played]) -> dict[str, Any]:
    first = group[0].manifest
    instances = [{key: value for key, value in each.items() if key != "trained_on"} for each in first["instances"]]
    return {
        "about": {key: first[key] for key in _ABOUT if key in first},
        "instances": instances,
        "rules": {name: _listed(values) for name, values in group[0].rules.items()},
        "played": [
            {
                **{key: each.manifest[key] for key in _OWN},
                "policy": each.manifest["policy"],
                "trained_on": [bool(one["trained_on"]) for one in each.manifest["instances"]],
                "values": _listed(each.values),
                "curve": None if each.curve is None else _thinned(each.curve),
            }
            for each in group
        ],
    }


def _listed(values: _Values) -> list[float | str | None]:
    """Values for JSON: None where there is none, "inf" where no design is feasible."""
    return [None if math.isnan(x) else "inf" if math.isinf(x) else rounded(x) for x in map(float, values)]


def _thinned(curve: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    one = learning_curve("", [curve])
    return {"steps": one.steps, "reward": one.reward}


_ABOUT_SHAPE: Mapping[str, Shape] = {
    "collection": str, "changed?": Each(dict, str), "scenario": str, "form": str, "split": str, "held_out": bool,
}  # fmt: skip
_INSTANCE: Mapping[str, Shape] = {
    "name": str, "digest": str, "reference": {"name": str, "value": finite, "source": str},
    "bound": {"kind": str, "value": finite, "source": str}, "obstacle": str,
}  # fmt: skip
_TRAINING: Mapping[str, Shape] = {
    "collection": str, "hyperparameters": Each(dict, (str, bool, finite)), "seed": COUNT, "steps": COUNT,
    "training_s": NOT_NEGATIVE, "energy_j": (NOT_NEGATIVE, None), "starts_from?": str,
}  # fmt: skip
_POLICY: Mapping[str, Shape] = {
    "name": str, "digest": (str, None), "source": (str, None), "training": (dict(_TRAINING), None),
}  # fmt: skip
_VALUE: Shape = (finite, lambda value: value == "inf")
_CURVE: Mapping[str, Shape] = {"steps": Each(list, finite), "reward": Each(list, finite)}
_PLAYED: Mapping[str, Shape] = {
    "evaluation_id": str, "mode": str, "samples": lambda value: COUNT(value) and value > 0, "seed": COUNT,
    "policy": dict(_POLICY), "trained_on": Each(list, bool), "values": Each(list, _VALUE),
    "curve": (dict(_CURVE), None),
}  # fmt: skip
_PART: Mapping[str, Shape] = {
    "about": dict(_ABOUT_SHAPE), "instances": Each(list, dict(_INSTANCE)),
    "rules": Each(dict, Each(list, (*_VALUE, None))), "played": Each(list, dict(_PLAYED)),
}  # fmt: skip
_DECLARED: Mapping[str, Shape] = {"name": str, "digest": (str, None)}
_STORED: Mapping[str, Shape] = {"suite": str, "trainings": Each(list, list), "parts": Each(list, dict(_PART))}


def from_stored(text: str) -> tuple[list[Played], str, Declared]:
    """The inverse of `to_stored`, but for curves' finer points: evaluations, the suite's name and its trainings.

    Raises:
        ValueError: it is no such text.
    """
    content = strict_json(text)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"it is not of the format {FORMAT}")
    try:
        check_shape("its members", content, _STORED)
        for row in content["trainings"]:
            check_row("training", row, _DECLARED)
    except CorruptResultError as error:
        raise ValueError(str(error).removesuffix(".")) from None
    trainings = [(name, digest) for name, digest in content["trainings"]]
    check_once("declares the training", (name for name, _ in trainings))
    for part in content["parts"]:
        _check_part(part)
    check_once("has the evaluation", (each["evaluation_id"] for part in content["parts"] for each in part["played"]))
    results = [_again(part, each) for part in content["parts"] for each in part["played"]]
    return results, content["suite"], trainings


def _check_part(part: Mapping[str, Any]) -> None:
    """What must hold of a part of the right shape.

    Raises:
        ValueError: what does not.
    """
    where = f"its part {part['about']['collection']}, {part['about']['split']},"
    instances = part["instances"]
    check_once("describes the instance", (f"{each['name']} ({each['digest']})" for each in instances))
    for each in instances:
        if not each["obstacle"] and (why := obstacle_between(each["reference"]["value"], each["bound"]["value"])):
            raise ValueError(f"nothing can be scored on {each['name']}: {why}")
    lists = [("values", each["values"]) for each in part["played"]]
    lists += [("marks of training", each["trained_on"]) for each in part["played"]]
    lists += [(f"values of the rule {name}", values) for name, values in part["rules"].items()]
    for what, found in lists:
        if len(found) != len(instances):
            raise ValueError(f"{where} has {len(found)} {what} for {len(instances)} instances")
    for curve in (each["curve"] for each in part["played"] if each["curve"] is not None):
        if not 0 < len(curve["steps"]) == len(curve["reward"]):
            raise ValueError(f"{where} has a curve of {len(curve['steps'])} steps and {len(curve['reward'])} rewards")


def _again(part: Mapping[str, Any], own: Mapping[str, Any]) -> Played:
    instances = [{**each, "trained_on": seen} for each, seen in zip(part["instances"], own["trained_on"], strict=True)]
    manifest = {**part["about"], **{key: own[key] for key in (*_OWN, "policy")}, "instances": instances}
    rules = {name: _array(values) for name, values in part["rules"].items()}
    return Played(manifest, _array(own["values"]), rules, own["curve"])


def _array(values: Sequence[float | str | None]) -> _Values:
    return np.array([math.nan if x is None else float(x) for x in values])
