"""The hyperparameter lottery: trials of many draws at several budgets, and the file that its page is told from.

The file holds what counts of each trial, so that every table can be made again without traces. D draws of an agent,
I instances, n seeds, A agents, R resamples. Trials are compared within a class of one budget.

Whoever holds nothing better than the reference falls back on it: here no score is below 0. A draw's score at a budget
is the mean over instances of the means over seeds.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...costmodels.errors import CorruptResultError, DsegymError
from ...costmodels.files import strict_json
from ...envs.core.scenarios import load_scenario, make_problem
from ..door import COUNT, NOT_NEGATIVE, Each, Shape, check_once, check_row, check_shape, finite
from ..formats import rounded
from ..store import FINISHED, TrialResult
from . import statistics
from .anytime import anytime_regret
from .draws import best_of_k, rank_stability, win_chances
from .generality import Generality, generality
from .leaderboard import BOOTSTRAP_SEED
from .learning import Interval
from .profiles import performance_profile
from .scored_trials import ScoredTrial, read_trials
from .targets import budget_classes, expected_runtime, graded_level, to_target

__all__ = [
    "EFFORTS",
    "RATIOS",
    "TARGETS",
    "Chance",
    "Dominance",
    "LotteryInstance",
    "LotteryResults",
    "LotteryTrial",
    "Pace",
    "Reach",
    "Spread",
    "Table",
    "chances",
    "check_drawn",
    "dominance",
    "from_stored",
    "general",
    "lottery_of",
    "pace",
    "reach",
    "spreads",
    "stability",
    "statuses",
    "table_at",
    "to_stored",
]

FORMAT = 1
TARGETS = (0.5, 0.9, 0.99)  # scores whose samples are told
EFFORTS = (1, 2, 4, 8)  # draws that are tried, of which the best is kept
RATIOS = (1, 2, 5)  # to the fewest samples, of performance profiles
RESAMPLES = 500  # of a chance to win, each of which is exact for the instances that were drawn
_TIES = 1e-6  # of a score: values are verified to so much
_Values = NDArray[np.float64]


@dataclass(frozen=True)
class LotteryInstance:
    """An instance and its yardsticks."""

    name: str
    scenario: str
    options: Mapping[str, str]
    bound_kind: str
    levels: Mapping[str, float]  # {heuristic: its design's score}, the graded references


@dataclass(frozen=True)
class LotteryTrial:
    """What counts of a trial."""

    agent: str
    draw: int | None
    instance: str
    seed: int
    budget: int
    status: str
    score: float
    regret: float  # over the logarithm of samples
    targets: tuple[int | None, ...]  # samples to each of `TARGETS`; None where it was not reached
    agent_ms: float
    cost_model_ms: float
    overhead_ms: float


@dataclass(frozen=True)
class LotteryResults:
    """What the page is made of."""

    suite: str
    declared: int  # trials of the suite
    instances: tuple[LotteryInstance, ...]
    draws: Mapping[str, Mapping[int, Mapping[str, Any]]]  # {agent: {draw: hyperparameters}}
    trials: tuple[LotteryTrial, ...]

    @property
    def budgets(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(sorted({trial.budget for trial in self.trials}))


@dataclass(frozen=True)
class Table:
    """Trials of one budget that can be compared: agents with all their draws on the same instances."""

    budget: int
    instances: tuple[str, ...]  # [I], on which every agent has a trial of every draw
    draws: Mapping[str, tuple[int | None, ...]]  # {agent: [D]}
    scores: Mapping[str, _Values]  # {agent: float64[D, I]}, means over seeds
    trials: Mapping[str, tuple[LotteryTrial, ...]]  # {agent: its trials on these instances}

    def by_seed(self, agent: str) -> _Values:
        """float64[D, I, n] of an agent's scores; where a draw has fewer seeds than another, its own repeat."""
        found: dict[tuple[int | None, str], list[float]] = defaultdict(list)
        for trial in self.trials[agent]:
            found[trial.draw, trial.instance].append(trial.score)
        most = max(map(len, found.values()))
        return np.array(
            [[np.resize(found[draw, name], most) for name in self.instances] for draw in self.draws[agent]], np.float64
        )

    def of_draws(self, agent: str) -> _Values:
        """float64[D]: the score of each draw."""
        return self.scores[agent].mean(axis=1)


def table_at(results: LotteryResults, budget: int) -> Table | None:
    """The class of a budget; None where there is none, or no instance has trials of all draws of all of its agents."""
    own = budget_classes(results.trials, [trial.budget for trial in results.trials]).get(budget, [])
    played: dict[str, dict[tuple[int | None, str], list[LotteryTrial]]] = defaultdict(lambda: defaultdict(list))
    for trial in own:
        played[trial.agent][trial.draw, trial.instance].append(trial)
    draws = {agent: tuple(sorted({draw for draw, _ in found}, key=_order)) for agent, found in sorted(played.items())}
    instances = tuple(
        instance.name
        for instance in results.instances
        if all((draw, instance.name) in played[agent] for agent, found in draws.items() for draw in found)
    )
    if not instances or not draws:
        return None
    scores = {
        agent: np.array(
            [[np.mean([t.score for t in played[agent][draw, name]]) for name in instances] for draw in draws[agent]],
            dtype=np.float64,
        )
        for agent in draws
    }
    trials = {
        agent: tuple(t for (_, name), found in played[agent].items() if name in instances for t in found)
        for agent in draws
    }
    return Table(budget, instances, draws, scores, trials)


def _order(draw: int | None) -> int:
    return -1 if draw is None else draw


@dataclass(frozen=True)
class Spread:
    """What an agent's draws are worth at a budget: the lottery's prizes."""

    agent: str
    draws: int
    default: float | None  # of draw 0, the defaults
    low: float
    median: Interval  # with the interval over draws
    high: float
    middle: Interval  # the width of the middle half of the draws, from the lower to the upper quartile
    best_of: tuple[float | None, ...]  # the expected best of each of `EFFORTS`; None where there are not so many draws


def spreads(table: Table) -> list[Spread]:
    """Of each agent, by name; intervals are of which draws were drawn."""
    found = []
    for agent, numbers in table.draws.items():
        scores = table.of_draws(agent)
        generator = np.random.default_rng(BOOTSTRAP_SEED)
        drawn = scores[generator.integers(len(scores), size=(statistics.RESAMPLES, len(scores)))]
        quarters = np.quantile(drawn, [0.25, 0.5, 0.75], axis=1)
        lower, median, upper = np.quantile(scores, [0.25, 0.5, 0.75])
        several = len(scores) > 1
        found.append(
            Spread(
                agent=agent,
                draws=len(scores),
                default=rounded(float(scores[numbers.index(0)])) if 0 in numbers else None,
                low=rounded(float(scores.min())),
                median=_interval(float(median), quarters[1] if several else None),
                high=rounded(float(scores.max())),
                middle=_interval(float(upper - lower), quarters[2] - quarters[0] if several else None),
                best_of=tuple(rounded(best_of_k(scores, k)) if k <= len(scores) else None for k in EFFORTS),
            )
        )
    return found


def _interval(value: float, resampled: _Values | None) -> Interval:
    if resampled is None:
        return Interval(rounded(value), None, None)
    tail = (1 - statistics.CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(rounded(value), rounded(float(low)), rounded(float(high)))


@dataclass(frozen=True)
class Chance:
    """How likely an agent is the best, for each of `EFFORTS` draws that everybody tries."""

    agent: str
    by_effort: tuple[Interval, ...]


def chances(table: Table) -> list[Chance]:
    """Of each agent, the likeliest with the most draws first; exact for these draws, intervals over instances."""
    own = {agent: table.scores[agent] for agent in table.scores}

    def on(places: NDArray[np.intp]) -> list[dict[str, float]]:
        scores = {agent: each[:, places].mean(axis=1).round(9) for agent, each in own.items()}
        return [win_chances({a: s.tolist() for a, s in scores.items()}, k) for k in EFFORTS]

    count = len(table.instances)
    value = on(np.arange(count))
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = [on(generator.integers(count, size=count)) for _ in range(RESAMPLES)] if count > 1 else []
    found = [
        Chance(
            agent,
            tuple(
                _interval(value[place][agent], np.array([each[place][agent] for each in drawn]) if drawn else None)
                for place in range(len(EFFORTS))
            ),
        )
        for agent in own
    ]
    return sorted(found, key=lambda each: (-each.by_effort[-1].value, each.agent))


@dataclass(frozen=True)
class Dominance:
    """Who is best where, each with the best of all its draws for that instance."""

    budget: int
    best: Mapping[str, tuple[str, ...]]  # {instance: the agents that are best, which share it}
    everywhere: tuple[str, ...]  # agents that are best on all instances, alone or with others
    alone: str | None  # the only one that is among the best on all instances: it dominates
    chance: Mapping[str, float]  # {agent: the share of resamples of draws and seeds in which it dominates}


def dominance(table: Table) -> Dominance:
    """Whether one algorithm is best on every instance when each is tuned: ArchGym's question."""
    tuned = {agent: scores.max(axis=0) for agent, scores in table.scores.items()}
    most = np.max(list(tuned.values()), axis=0)
    best = {
        name: tuple(sorted(agent for agent, own in tuned.items() if own[place] >= most[place] - _TIES))
        for place, name in enumerate(table.instances)
    }
    everywhere = tuple(sorted(agent for agent in tuned if all(agent in found for found in best.values())))
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = np.stack([_tuned_anew(table.by_seed(agent), generator) for agent in table.scores])  # [A, R, I]
    among = (drawn >= drawn.max(axis=0) - _TIES).all(axis=2)  # [A, R]
    sole = (among & (among.sum(axis=0) == 1)).mean(axis=1)
    chance = {agent: rounded(float(share)) for agent, share in zip(table.scores, sole, strict=True)}
    return Dominance(table.budget, best, everywhere, everywhere[0] if len(everywhere) == 1 else None, chance)


def _tuned_anew(scores: _Values, generator: np.random.Generator) -> _Values:
    """float64[R, I]: the best mean on each instance, of [D, I, n] with draws, and seeds of each, drawn anew."""
    draws, instances, seeds = scores.shape
    some = scores[generator.integers(draws, size=(statistics.RESAMPLES, draws))]  # [R, D, I, n]
    again = generator.integers(seeds, size=(statistics.RESAMPLES, draws, instances, seeds))
    return np.take_along_axis(some, again, axis=3).mean(axis=3).max(axis=1)


def stability(tables: Sequence[Table]) -> tuple[tuple[str, ...], dict[str, _Values]]:
    """Kendall's tau between budgets, of the agents that play all of them.

    Returns:
        The agents, and {"median draw" or "best draw": float64[B, B]}; nothing where fewer than two agents play all.
    """
    agents = tuple(sorted(set.intersection(*(set(table.scores) for table in tables)))) if tables else ()
    if len(agents) < 2:
        return agents, {}
    ways = {"median draw": np.median, "best draw": np.max}
    return agents, {
        name: rank_stability([[rounded(float(way(table.of_draws(agent)))) for agent in agents] for table in tables])
        for name, way in ways.items()
    }


@dataclass(frozen=True)
class Reach:
    """How soon an agent is how far, over all its draws, in the class of a budget."""

    agent: str
    regret: Interval  # the mean, with the interval over draws
    level: float  # the mean share of the instances' heuristics that it matches or exceeds
    attained: tuple[float, ...]  # the share of trials that reach each of `TARGETS`
    runtime: tuple[float, ...]  # expected samples to each; inf where none got there
    profile: tuple[float, ...]  # the share of instances where its samples to `TARGETS[1]` are within each of `RATIOS`


def reach(results: LotteryResults, table: Table) -> list[Reach]:
    """Of each agent, the least regret first."""
    levels = {instance.name: list(instance.levels.values()) for instance in results.instances}
    runtimes: dict[str, _Values] = {}  # {agent: [I, T]}
    for agent, trials in table.trials.items():
        here = {name: [t for t in trials if t.instance == name] for name in table.instances}
        runtimes[agent] = np.array([[_runtime(here[name], place) for place in range(len(TARGETS))] for name in here])
    costs = np.array([runtimes[agent][:, 1] for agent in runtimes]).T
    profiles = dict(zip(runtimes, performance_profile(costs, RATIOS), strict=True))
    found = []
    for agent, trials in table.trials.items():
        by_draw = [np.mean([t.regret for t in trials if t.draw == draw]) for draw in table.draws[agent]]
        generator = np.random.default_rng(BOOTSTRAP_SEED)
        several = len(by_draw) > 1
        drawn = np.array(by_draw)[generator.integers(len(by_draw), size=(statistics.RESAMPLES, len(by_draw)))]
        matched = [float(graded_level(t.score, levels[t.instance])) for t in trials if levels[t.instance]]
        found.append(
            Reach(
                agent=agent,
                regret=_interval(float(np.mean(by_draw)), drawn.mean(axis=1) if several else None),
                level=rounded(float(np.mean(matched))) if matched else math.nan,
                attained=tuple(
                    float(np.mean([t.targets[place] is not None for t in trials])) for place in range(len(TARGETS))
                ),
                runtime=tuple(_runtime(trials, place) for place in range(len(TARGETS))),
                profile=tuple(profiles[agent].tolist()),
            )
        )
    return sorted(found, key=lambda each: (each.regret.value, each.agent))


def _runtime(trials: Sequence[LotteryTrial], place: int) -> float:
    reached = [math.inf if (samples := t.targets[place]) is None else samples for t in trials]
    return expected_runtime(reached, [t.budget for t in trials])


def general(table: Table) -> dict[str, Generality]:
    """{agent: what draws that are chosen on one instance are worth on the others} of those with several draws."""
    if len(table.instances) < 2:
        return {}
    return {agent: generality(scores) for agent, scores in table.scores.items() if len(scores) > 1}


@dataclass(frozen=True)
class Pace:
    """What a trial of an agent takes, by the clock: medians over trials of a budget."""

    agent: str
    budget: int
    trials: int
    agent_ms: float
    cost_model_ms: float
    overhead_ms: float


def pace(results: LotteryResults) -> list[Pace]:
    """By agent and budget."""
    found: dict[tuple[str, int], list[LotteryTrial]] = defaultdict(list)
    for trial in results.trials:
        found[trial.agent, trial.budget].append(trial)

    def median(trials: Iterable[LotteryTrial], part: str) -> float:
        return float(f"{np.median([getattr(trial, part) for trial in trials]):.3g}")

    return [
        Pace(*key, len(own), *(median(own, part) for part in ("agent_ms", "cost_model_ms", "overhead_ms")))
        for key, own in sorted(found.items())
    ]


def statuses(results: LotteryResults) -> Counter[tuple[str, str]]:
    """How many trials of an agent did not finish: {(agent, status): count}."""
    return Counter((trial.agent, trial.status) for trial in results.trials if trial.status != FINISHED)


# The file --------------------------------------------------------------------------------------------------------


def lottery_of(results: Iterable[TrialResult], suite: str, declared: int) -> LotteryResults:
    """What counts of trials.

    Args:
        results: the trials, in any order.
        suite: the name of their suite.
        declared: how many trials the suite declares.

    Raises:
        DsegymError: as `scored_trials.read_trials`.
    """
    results = list(results)
    classes = budget_classes(results, [result.manifest["trial"]["samples"] for result in results])
    names = _names(results)
    scored = [(names[trial.trial_id], trial) for own in classes.values() for trial in read_trials(own)]
    first = dict(reversed(scored))
    draws: dict[str, dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for _, trial in scored:
        if trial.draw is not None:
            draws[trial.agent][trial.draw] = trial.hyperparameters
    return LotteryResults(
        suite=suite,
        declared=declared,
        instances=tuple(_instance(name, trial) for name, trial in sorted(first.items())),
        draws={agent: dict(sorted(own.items())) for agent, own in sorted(draws.items())},
        trials=tuple(_trial(name, trial) for name, trial in scored),
    )


def _names(results: Sequence[TrialResult]) -> dict[str, str]:
    """{trial: its instance's name}, the same at every budget: the scenario, and the options that are not as usual."""
    found = {}
    for result in results:
        declared = result.manifest["trial"]["instance"]
        own = _changed(declared)
        scenario = declared["scenario"].removeprefix("dsegym/")
        found[result.manifest["trial_id"]] = " ".join([scenario, *(f"{key}={text}" for key, text in own.items())])
    return found


def _changed(declared: Mapping[str, Any]) -> dict[str, str]:
    return load_scenario(declared["scenario"]).changed(declared["options"])


def _instance(name: str, trial: ScoredTrial) -> LotteryInstance:
    declared = trial.manifest["trial"]["instance"]
    problem = make_problem(declared["scenario"], **declared["options"])
    levels = {}
    for heuristic, make in problem.baselines.items():
        value = float(problem.evaluate(make()).objective[0])
        levels[heuristic] = rounded(float(statistics.score_or_reference(value, trial.reference, trial.bound)))
    return LotteryInstance(name, declared["scenario"], _changed(declared), trial.manifest["bound"]["kind"], levels)


def _trial(name: str, trial: ScoredTrial) -> LotteryTrial:
    scores = np.maximum(statistics.score_or_reference(trial.values, trial.reference, trial.bound), 0.0)
    reached = to_target(trial.samples, scores, TARGETS)
    seconds = trial.manifest["seconds"]
    return LotteryTrial(
        agent=trial.agent,
        draw=trial.draw,
        instance=name,
        seed=trial.seed,
        budget=trial.budget,
        status=trial.status,
        score=float(f"{max(trial.score, 0.0):.7g}"),
        regret=float(f"{anytime_regret(trial.samples, scores, max(trial.budget, 2)):.6g}"),
        targets=tuple(int(each) if math.isfinite(each) else None for each in reached),
        **{f"{part}_ms": float(f"{1e3 * seconds[part]:.3g}") for part in ("agent", "cost_model", "overhead")},
    )


_COLUMNS = tuple(LotteryTrial.__dataclass_fields__)


def to_stored(results: LotteryResults) -> str:
    """As JSON, a trial a line; the same results give the same bytes but for milliseconds."""

    def lines(entries: Iterable[object]) -> str:
        return ",\n".join(json.dumps(each, ensure_ascii=False, allow_nan=False) for each in entries)

    ordered = sorted(results.trials, key=lambda t: (t.instance, t.agent, _order(t.draw), t.budget, t.seed))
    trials = ([list(v) if isinstance(v := getattr(t, key), tuple) else v for key in _COLUMNS] for t in ordered)
    head = json.dumps({"format": FORMAT, "suite": results.suite, "declared": results.declared, "targets": TARGETS})
    instances = lines(asdict(each) for each in results.instances)
    draws = lines([agent, draw, own] for agent, found in results.draws.items() for draw, own in found.items())
    columns = json.dumps(_COLUMNS)
    return (
        f'{head[:-1]}, "columns": {columns},\n"instances": [\n{instances}\n], "draws": [\n{draws}\n], '
        f'"trials": [\n{lines(trials)}\n]}}\n'
    )


_TRIAL: Mapping[str, Shape] = {
    "agent": str, "draw": (int, None), "instance": str, "seed": int, "budget": COUNT, "status": str, "score": finite,
    "regret": finite, "targets": Each(list, (COUNT, None)), "agent_ms": NOT_NEGATIVE, "cost_model_ms": NOT_NEGATIVE,
    "overhead_ms": finite,
}  # fmt: skip
_DRAW: Mapping[str, Shape] = {
    "agent": str, "draw": int, "hyperparameters": Each(dict, (str, bool, finite)),
}  # fmt: skip
_INSTANCE: Mapping[str, Shape] = {
    "name": str, "scenario": str, "options": Each(dict, str), "bound_kind": str, "levels": Each(dict, finite),
}  # fmt: skip
_STORED: Mapping[str, Shape] = {
    "suite": str, "declared": COUNT, "columns": list, "targets": list, "instances": Each(list, dict(_INSTANCE)),
    "draws": Each(list, list), "trials": Each(list, list),
}  # fmt: skip


def from_stored(text: str) -> LotteryResults:
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
        if tuple(content["columns"]) != _COLUMNS or tuple(content["targets"]) != TARGETS:
            raise ValueError("its trials do not tell what this version tells of them")
        instances = tuple(LotteryInstance(**{name: each[name] for name in _INSTANCE}) for each in content["instances"])
        draws: dict[str, dict[int, Mapping[str, Any]]] = defaultdict(dict)
        for row in content["draws"]:
            check_row("draw", row, _DRAW)
            agent, draw, own = row
            draws[agent][draw] = own
        trials = tuple(
            LotteryTrial(**{**dict(zip(_COLUMNS, row, strict=True)), "targets": tuple(row[_COLUMNS.index("targets")])})
            for row in content["trials"]
        )
        found = LotteryResults(str(content["suite"]), int(content["declared"]), instances, dict(draws), trials)
    except CorruptResultError as error:
        raise ValueError(str(error).removesuffix(".")) from None
    except (KeyError, TypeError) as error:
        raise ValueError(f"it lacks {error}") from None
    check_once("describes the instance", (instance.name for instance in instances))
    check_once("describes the draw", (f"{draw} of {agent}" for agent, draw, _ in content["draws"]))
    if not trials or any(len(trial.targets) != len(TARGETS) for trial in trials):
        raise ValueError("it has no trials, or trials without a figure for each target")
    unknown = {trial.instance for trial in trials} - {instance.name for instance in instances}
    if unknown:
        raise ValueError(f"it has trials of an instance that it does not describe, {min(unknown)}")
    check_once("has the trial", map(_named, trials))
    return found


def _named(trial: LotteryTrial) -> str:
    draw = "" if trial.draw is None else f", draw {trial.draw},"
    return f"of {trial.agent}{draw} on {trial.instance} with {trial.budget} samples and seed {trial.seed}"


def check_drawn(results: LotteryResults) -> None:
    """Refuses results in which nothing was drawn.

    Raises:
        DsegymError: says so.
    """
    if not results.draws:
        raise DsegymError("no agent of these results has drawn hyperparameters: a lottery needs `draws` in its suite.")
