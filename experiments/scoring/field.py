"""Which agent when: trials of many agents on many families, and the file that the page is told from.

The file holds the best value so far at a few numbers of samples of each trial, and what kind of problem each instance
is, so that every table can be made again without traces. N samples, I instances, n seeds, k agents, R resamples.

Whoever holds nothing better than the reference falls back on it: here no score is below 0.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...costmodels.errors import CorruptResultError, DsegymError
from ...costmodels.files import strict_json
from ...envs.core.evaluation import obstacle_between
from ...envs.core.scenarios import load_scenario, make_problem, scenario_module
from ..door import COUNT, NOT_NEGATIVE, SHARE, Each, Shape, check_once, check_row, check_shape, finite
from ..formats import rounded
from ..store import FINISHED, TrialResult
from . import statistics
from .leaderboard import BOOTSTRAP_SEED
from .learning import Interval
from .scored_trials import REACHED, ScoredTrial, read_trials

__all__ = [
    "GRID",
    "KINDS",
    "POINTS",
    "RANDOM",
    "Comparison",
    "Contender",
    "Field",
    "FieldInstance",
    "FieldTrial",
    "Standing",
    "Verdict",
    "against",
    "field_of",
    "from_stored",
    "instances_at",
    "joined",
    "scores_at",
    "standing",
    "statuses",
    "strangers",
    "to_stored",
    "verdict",
]

FORMAT = 1
POINTS = (10, 100, 1000, 10_000)  # samples at which agents are compared
GRID = (*(step * 10**power for power in range(4) for step in (1, 2, 3, 5)), 10_000)  # that a trial is read at
RANDOM = "random_search"  # the agent that the others are compared with
SMALL = 100_000  # designs, up to which a space counts as small
_CONSTRAINED = 0.999  # the share of random designs that is feasible where a problem counts as not constrained
_Values = NDArray[np.float64]


@dataclass(frozen=True)
class FieldInstance:
    """An instance, and what kind of problem it is."""

    name: str
    scenario: str
    family: str
    options: Mapping[str, str]
    reference: float
    bound: float
    bound_kind: str
    parameters: int
    unordered: int  # parameters whose values are in no order, those of rankings left out
    ranked: int  # parameters that together say an order
    designs_log10: float
    policy: bool  # whether a design is a policy that plays step by step
    feasible: float | None  # the share of random designs; None where no random search ran


@dataclass(frozen=True)
class FieldTrial:
    """A trial, read at the points of `GRID` that its budget reaches."""

    agent: str
    instance: str
    seed: int
    budget: int
    status: str
    agent_ms: float  # of its own time a sample
    values: tuple[float | None, ...]  # best so far; None before the first feasible design


@dataclass(frozen=True)
class Field:
    """What the page is made of."""

    suite: str
    declared: int  # trials of the suite, or of the largest of those whose results were joined
    instances: tuple[FieldInstance, ...]
    trials: tuple[FieldTrial, ...]
    runs: int = 1  # whose results were joined; then no suite declares just these trials

    def played(self) -> dict[tuple[str, str], list[FieldTrial]]:
        """{(agent, instance): its trials, by seed}."""
        found: dict[tuple[str, str], list[FieldTrial]] = defaultdict(list)
        for trial in self.trials:
            found[trial.agent, trial.instance].append(trial)
        return found


# Kinds of spaces and problems: an instance may be of several.
KINDS: Mapping[str, Callable[[FieldInstance], bool]] = {
    "ordered (every parameter's values are in order)": lambda it: not it.unordered and not it.ranked,
    "categorical (half of the parameters or more without order, none that says an order)": lambda it: (
        2 * it.unordered >= it.parameters and not it.ranked
    ),
    "mixed (fewer parameters without order, none that says an order)": lambda it: (
        0 < 2 * it.unordered < it.parameters and not it.ranked
    ),
    "permutation-like (parameters that say an order)": lambda it: it.ranked > 0,
    "constrained (random designs may break a limit)": lambda it: it.feasible is not None and it.feasible < _CONSTRAINED,
    "policies (a design plays step by step, scored on held-out cases)": lambda it: it.policy,
    f"small (at most {SMALL:,} designs)": lambda it: it.designs_log10 <= math.log10(SMALL),
    f"large (more than {SMALL:,} designs)": lambda it: it.designs_log10 > math.log10(SMALL),
}


def _score(value: float | None, instance: FieldInstance) -> float:
    found = math.inf if value is None else value
    return max(0.0, float(statistics.score_or_reference(found, instance.reference, instance.bound)))


def instances_at(field: Field, samples: int) -> list[FieldInstance]:
    """The instances on which some trial may take so many samples."""
    reached = {trial.instance for trial in field.trials if trial.budget >= samples}
    return [instance for instance in field.instances if instance.name in reached]


def scores_at(field: Field, instances: Sequence[FieldInstance], samples: int) -> dict[str, list[_Values]]:
    """{agent: its scores [n] on each of the instances} of the agents that may take so many samples on all of them."""
    place, played = GRID.index(samples), field.played()
    found = {}
    for agent in sorted({trial.agent for trial in field.trials}):
        own = [
            np.array([_score(t.values[place], it) for t in played.get((agent, it.name), ()) if t.budget >= samples])
            for it in instances
        ]
        if own and all(scores.size for scores in own):
            found[agent] = own
    return found


@dataclass(frozen=True)
class Contender:
    """An agent's place among those that are compared on the same instances at the same number of samples."""

    agent: str
    rank: float
    score: Interval


@dataclass(frozen=True)
class Standing:
    """Agents by average rank."""

    samples: int
    instances: int
    p_value: float
    critical_difference: float
    contenders: tuple[Contender, ...]


def standing(field: Field, instances: Sequence[FieldInstance], samples: int) -> Standing:
    """The agents that play all of these instances, the best average rank first; means over seeds are ranked."""
    found = scores_at(field, instances, samples)
    if not found:
        return Standing(samples, len(instances), 1.0, 0.0, ())
    means = np.array([[rounded(float(scores.mean())) for scores in own] for own in found.values()]).T
    ranks = statistics.average_ranks(means)
    contenders = [
        Contender(agent, rounded(float(rank)), _interval(own))
        for (agent, own), rank in zip(found.items(), ranks.average, strict=True)
    ]
    contenders.sort(key=lambda each: (each.rank, -each.score.value, each.agent))
    critical = rounded(ranks.critical_difference)
    return Standing(samples, len(instances), ranks.p_value, critical, tuple(contenders))


@dataclass(frozen=True)
class Verdict:
    """Who wins on some instances at a number of samples."""

    samples: int
    instances: int
    winner: str
    score: Interval
    alike: tuple[str, ...]  # whose scores the winner's do not surely exceed, the best first
    compared: int  # agents
    equal: tuple[str, ...]  # of those alike, who stand where the winner does: the alphabet chose


def verdict(field: Field, instances: Sequence[FieldInstance], samples: int) -> Verdict | None:
    """The agent with the highest score, and those from which it cannot be told; None where no agent plays them all."""
    found = scores_at(field, instances, samples)
    if not found:
        return None
    score = {agent: _interval(own) for agent, own in found.items()}

    def place(agent: str) -> tuple[float, float, float]:
        """Higher scores first, and of equal ones those that are surer, and then the higher means."""
        low = score[agent].low
        mean = rounded(float(_table(found[agent]).mean()))
        return -score[agent].value, math.inf if low is None else -low, -mean

    order = sorted(found, key=lambda agent: (*place(agent), agent))
    best = order[0]
    alike = [agent for agent in order[1:] if _not_below(found[best], found[agent])]
    equal = tuple(agent for agent in order[1:] if place(agent) == place(best))
    return Verdict(samples, len(instances), best, score[best], tuple(alike), len(found), equal)


@dataclass(frozen=True)
class Comparison:
    """How often an agent's trials are all better, or all worse, than all of another's."""

    better: int  # instances
    worse: int
    played: int  # by both, with as many trials


def against(field: Field, agent: str, other: str, instances: Sequence[FieldInstance]) -> Comparison:
    """Compares an agent's trials with another's, at the most of `POINTS` samples that both may take on an instance.

    With n trials each, chance alone makes all of one agent's better in one of `comb(2 * n, n)` cases, 1 in 20 for
    three; where all n are the same, for the agent draws nothing, in one of n + 1.
    """
    played = field.played()
    better = worse = shared = 0
    for instance in instances:
        own, others = (played.get((name, instance.name), []) for name in (agent, other))
        if not own or len(own) != len(others):  # a seed alone is lucky more often than three
            continue
        most = min(trial.budget for trial in (*own, *others))
        place = max((GRID.index(samples) for samples in POINTS if samples <= most), default=None)
        if place is None:
            continue
        found, beside = (
            [math.inf if (value := trial.values[place]) is None else value for trial in each] for each in (own, others)
        )
        shared += 1
        better += max(found) < min(beside)
        worse += min(found) > max(beside)
    return Comparison(better, worse, shared)


def _table(own: Sequence[_Values]) -> _Values:
    """float64[I, n] of scores by instance, where all have as many seeds as the one with the most: others repeat."""
    most = max(scores.size for scores in own)
    return np.stack([np.resize(scores, most) for scores in own])


def _pooled(scores: _Values) -> _Values:
    """The interquartile mean of [..., I, n] over instances and seeds together."""
    return statistics.interquartile_mean(scores.reshape(*scores.shape[:-2], -1))


def _resampled(own: Sequence[_Values], generator: np.random.Generator, places: NDArray[np.intp]) -> _Values:
    """float64[R]: the statistic on instances int[R, I] that were drawn, of which seeds are drawn here."""
    table = _table(own)
    sizes = np.array([scores.size for scores in own])
    seeds = (generator.random((*places.shape, table.shape[1])) * sizes[places][..., None]).astype(np.intp)
    return _pooled(table[places[..., None], seeds])


def _places(count: int) -> tuple[np.random.Generator, NDArray[np.intp]]:
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    return generator, generator.integers(count, size=(statistics.RESAMPLES, count))


def _ends(resampled: _Values) -> tuple[float, float]:
    tail = (1 - statistics.CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return rounded(float(low)), rounded(float(high))


def _interval(own: Sequence[_Values]) -> Interval:
    """The interquartile mean, and its bootstrap interval for which instances and seeds are both drawn anew."""
    value = rounded(float(_pooled(_table(own))))
    if len(own) == 1 and own[0].size == 1:
        return Interval(value, None, None)
    return Interval(value, *_ends(_resampled(own, *_places(len(own)))))


def _not_below(best: Sequence[_Values], other: Sequence[_Values]) -> bool:
    """Whether the interval of the difference of two agents holds 0; both are resampled on the same instances."""
    generator, places = _places(len(best))
    return _ends(_resampled(best, generator, places) - _resampled(other, generator, places))[0] <= 0


# The file --------------------------------------------------------------------------------------------------------


def field_of(results: Iterable[TrialResult], suite: str, declared: int) -> Field:
    """What counts of trials.

    Args:
        results: the trials, in any order.
        suite: the name of their suite.
        declared: how many trials the suite declares.

    Raises:
        DsegymError: as `scored_trials.read_trials`; or agents have drawn hyperparameters.
    """
    results = list(results)
    scored = read_trials(results)
    if drawn := next((trial for trial in scored if trial.draw is not None), None):
        raise DsegymError(
            f"Trials of {drawn.agent} have drawn hyperparameters, of which `dsegym lottery` tells; agents are compared "
            "at one setting each."
        )
    feasible: dict[str, list[float]] = defaultdict(list)
    by_id = {result.manifest["trial_id"]: result for result in results}
    for trial in scored:
        if trial.manifest["trial"]["agent"]["name"] == RANDOM and by_id[trial.trial_id].trace.height:
            feasible[trial.instance].append(float(by_id[trial.trial_id].trace["feasible"].to_numpy().mean()))
    first = {trial.instance: trial for trial in reversed(scored)}
    instances = [_instance(trial, feasible.get(name)) for name, trial in sorted(first.items())]
    return Field(suite, declared, tuple(instances), tuple(_trial(trial) for trial in scored))


def _instance(trial: ScoredTrial, feasible: Sequence[float] | None) -> FieldInstance:
    declared = trial.manifest["trial"]["instance"]
    scenario = declared["scenario"]
    problem = make_problem(scenario, **declared["options"])
    parameters = problem.space.parameters
    return FieldInstance(
        name=trial.instance,
        scenario=scenario,
        family=scenario_module(scenario).split(".")[-2],
        options=load_scenario(scenario).changed(declared["options"]),
        reference=trial.reference,
        bound=trial.bound,
        bound_kind=trial.manifest["bound"]["kind"],
        parameters=len(parameters),
        unordered=sum(not each.ordered and not each.ranking for each in parameters),
        ranked=sum(bool(each.ranking) for each in parameters),
        designs_log10=rounded(sum(math.log10(len(each.values)) for each in parameters)),
        policy="decisions" in problem.forms,
        feasible=None if feasible is None else rounded(float(np.mean(feasible))),
    )


def _trial(trial: ScoredTrial) -> FieldTrial:
    values = statistics.step_interpolate(GRID, trial.samples, trial.values, before=math.inf)
    used = trial.manifest["samples_used"]
    return FieldTrial(
        agent=trial.agent,
        instance=trial.instance,
        seed=trial.seed,
        budget=trial.budget,
        status=trial.status,
        agent_ms=float(f"{1e3 * trial.manifest['seconds']['agent'] / max(used, 1):.3g}"),
        values=tuple(
            rounded(float(value)) if math.isfinite(value) else None
            for value, samples in zip(values, GRID, strict=True)
            if samples <= trial.budget
        ),
    )


def to_stored(field: Field) -> str:
    """As JSON, a trial a line; the same results give the same bytes but for the agents' milliseconds."""

    def lines(entries: Iterable[object]) -> str:
        return ",\n".join(json.dumps(each, ensure_ascii=False, allow_nan=False) for each in entries)

    trials = (
        [t.agent, t.instance, t.seed, t.budget, t.status, t.agent_ms, list(t.values)]
        for t in sorted(field.trials, key=lambda t: (t.instance, t.agent, t.seed))
    )
    head = f'"format": {FORMAT}, "suite": {json.dumps(field.suite)}, "declared": {field.declared}'
    if field.runs > 1:
        head += f', "runs": {field.runs}'
    instances = lines(asdict(each) for each in field.instances)
    return f'{{{head}, "grid": {list(GRID)}, "instances": [\n{instances}\n], "trials": [\n{lines(trials)}\n]}}\n'


_VALUE: Shape = (finite, None)
_TRIAL: Mapping[str, Shape] = {
    "agent": str, "instance": str, "seed": int, "budget": COUNT, "status": str, "agent_ms": NOT_NEGATIVE,
    "values": Each(list, _VALUE),
}  # fmt: skip
_INSTANCE: Mapping[str, Shape] = {
    "name": str, "scenario": str, "family": str, "options": Each(dict, str), "reference": finite, "bound": finite,
    "bound_kind": str, "parameters": COUNT, "unordered": COUNT, "ranked": COUNT, "designs_log10": NOT_NEGATIVE,
    "policy": bool, "feasible": (SHARE, None),
}  # fmt: skip
_STORED: Mapping[str, Shape] = {
    "suite": str, "declared": COUNT, "runs?": COUNT, "grid": list, "instances": Each(list, dict(_INSTANCE)),
    "trials": Each(list, list),
}  # fmt: skip


def from_stored(text: str) -> Field:
    """The inverse of `to_stored`.

    Raises:
        ValueError: it is no such text.
    """
    content = strict_json(text)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"it is not of the format {FORMAT}")
    try:
        check_shape("its members", content, _STORED)
        for row in content["trials"]:
            check_row("trial", row, _TRIAL)
        instances = tuple(FieldInstance(**{name: each[name] for name in _INSTANCE}) for each in content["instances"])
        trials = tuple(
            FieldTrial(agent, instance, seed, budget, status, agent_ms, tuple(values))
            for agent, instance, seed, budget, status, agent_ms, values in content["trials"]
        )
        field = Field(str(content["suite"]), int(content["declared"]), instances, trials, content.get("runs", 1))
        if tuple(content["grid"]) != GRID or any(len(t.values) != sum(s <= t.budget for s in GRID) for t in trials):
            raise ValueError("its trials are not read at the samples that this version reads them at")
    except CorruptResultError as error:
        raise ValueError(str(error).removesuffix(".")) from None
    except (KeyError, TypeError) as error:
        raise ValueError(f"it lacks {error}") from None
    if not trials:
        raise ValueError("it has no trial")
    for it in instances:
        if why := obstacle_between(it.reference, it.bound):
            raise ValueError(f"nothing can be scored on {it.name}: {why}")
    check_once("describes the instance", (instance.name for instance in instances))
    unknown = {trial.instance for trial in trials} - {instance.name for instance in instances}
    if unknown:
        raise ValueError(f"it has trials of an instance that it does not describe, {min(unknown)}")
    check_once("has the trial", (f"of {each.agent} on {each.instance} with seed {each.seed}" for each in trials))
    return field


def joined(fields: Sequence[Field]) -> Field:
    """Trials of several runs of one suite, or of parts of it, as those of one; the first says the suite's name.

    A trial that finished takes the place of one that did not. What an instance is called depends on those beside it in
    its suite, so the same scenario with the same options is one instance, and is called as in the first. Those that the
    first does not have are left out, as `strangers` tells.

    Raises:
        DsegymError: two of them have the same trial, or an instance's reference, bound or space is not the same.
    """
    instances = {it.name: it for it in fields[0].instances}
    trials: dict[tuple[str, str, int], FieldTrial] = {}
    names = {_identity(it): it.name for it in fields[0].instances}
    for field in fields:
        called = {it.name: names[_identity(it)] for it in field.instances if _identity(it) in names}
        for it in (replace(each, name=called[each.name]) for each in field.instances if each.name in called):
            known = instances[it.name]
            for which, told in asdict(it).items():
                if which != "feasible" and not _same(told, getattr(known, which)):
                    raise DsegymError(
                        f"The instance {it.name} is not the same in all results: {which} is {getattr(known, which)} "
                        f"and {told}; only trials of one instance can be compared."
                    )
            if known.feasible is None:  # the first random search tells
                instances[it.name] = replace(known, feasible=it.feasible)
        for trial in (
            replace(each, instance=called[each.instance]) for each in field.trials if each.instance in called
        ):
            key = trial.agent, trial.instance, trial.seed
            before = trials.get(key)
            if before is not None and (before.status == FINISHED) == (trial.status == FINISHED):
                raise DsegymError(
                    f"The trial of {trial.agent} on {trial.instance} with seed {trial.seed} is given twice; leave out "
                    "one of the results that hold it."
                )
            if before is None or trial.status == FINISHED:
                trials[key] = trial
    return Field(
        fields[0].suite,
        max(field.declared for field in fields),
        tuple(instances[name] for name in sorted(instances)),
        tuple(trials[key] for key in sorted(trials, key=lambda each: (each[1], each[0], each[2]))),
        sum(field.runs for field in fields),
    )


def strangers(first: Field, other: Field) -> list[str]:
    """Names of the other's instances that the first does not have, under any name."""
    known = {_identity(it) for it in first.instances}
    return [it.name for it in other.instances if _identity(it) not in known]


def _identity(it: FieldInstance) -> tuple[str, tuple[tuple[str, str], ...]]:
    return it.scenario, tuple(sorted(it.options.items()))


def _same(one: object, other: object) -> bool:
    """Whether two facts are the same; costs, up to what machines differ by."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=REACHED)
    return one == other


def statuses(field: Field) -> Counter[tuple[str, str]]:
    """How many trials of an agent did not finish: {(agent, status): count}."""
    return Counter((trial.agent, trial.status) for trial in field.trials if trial.status != FINISHED)
