"""From trial results to the leaderboard: who is best, by how much, how surely, and how soon.

`build_leaderboard` reads only what the seeds determine (traces, yardsticks, designs), so that the same traces give the
same bytes from `to_json` and `to_markdown` in whatever order and at whatever speed the trials ran. Clock readings and
error messages stay outside: `build_timings` holds the seconds, and `report.write_html` shows both.

A *trial result* is any object with `manifest`, the trial's manifest as a dict, and `trace`, a polars data frame with
the columns `sample`, `objective`, `feasible`, `elapsed_s` and `design`, one row a sample.

An *entrant* is what gets a row: an agent with fixed hyperparameters. Where one agent ran the same instance and seed
with several hyperparameter sets, each set is an entrant, named with the hyperparameters that tell them apart. Trials
with drawn hyperparameters make up the lottery; an agent that has no others is ranked on all its draws together.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..costmodels.errors import DsegymError
from . import statistics
from .formats import canonical, format_quantity, rounded

if TYPE_CHECKING:
    from .store import TrialResult

__all__ = [
    "Leaderboard",
    "Timings",
    "build_leaderboard",
    "build_timings",
]

BOOTSTRAP_SEED = 20210830  # fixed, so that intervals are a function of the traces; the day Agarwal et al. appeared
CURVE_RESAMPLES = 500  # a curve has a band of two percentiles at each grid point; 500 draw it smoothly enough
GRID_POINTS = 64  # about 20 points for each factor of ten of a 1000-sample budget
REACHED = 1e-6  # relative; cost models compute in float32, whose rounding is 1e-7
NEAR = 0.01  # "close enough" for the samples-to-1 % column, relative to the bound


@dataclass(frozen=True)
class Yardstick:
    """The reference or the bound of an instance."""

    name: str  # the baseline's name, or the kind of bound: "optimum", "bound", "best known"
    value: float  # in the objective's unit
    source: str


@dataclass(frozen=True)
class InstanceScore:
    """How one entrant did on one instance."""

    agent: str
    trials: int
    mean_score: float
    best_value: float | None  # objective's unit; None where no trial found a feasible design
    gap_percent: float | None  # of the best value to the bound


@dataclass(frozen=True)
class BestDesign:
    """The best design that any trial found for an instance."""

    agent: str
    draw: int | None
    seed: int
    trial_id: str
    sample: int  # the sample that found it, from 1
    value: float  # objective's unit
    score: float
    gap_percent: float
    design: tuple[int, ...]  # indices into the parameters' value lists
    decoded: dict[str, Any]  # parameter to value, in words with its unit


@dataclass(frozen=True)
class Instance:
    """One instance: what it is, its yardsticks, and what everyone achieved."""

    name: str  # short, unique within this leaderboard
    scenario: str
    options: dict[str, Any]
    objective: str
    unit: str
    reference: Yardstick
    bound: Yardstick
    scores: tuple[InstanceScore, ...]  # in the ranking's order
    best: BestDesign | None  # of all agents; None where nobody found a feasible design


@dataclass(frozen=True)
class Row:
    """One line of the ranking."""

    rank: int  # from 1; equal scores share a rank
    agent: str
    drawn: bool  # ranked on drawn hyperparameters, for want of fixed ones
    trials: int
    score: float  # interquartile mean over instances and seeds
    low: float  # ends of its 95 % stratified bootstrap interval
    high: float
    with_reference: float  # the same mean with the better of the reference and the agent in every trial
    median_gap_percent: float | None  # None: half of the trials or more found nothing feasible
    reached: int  # trials whose best value is the bound
    samples_to_near: int | None  # median samples to within 1 % of the bound; None: fewer than half got there
    finished: int
    failed: int
    timed_out: int


@dataclass(frozen=True)
class BestOfAll:
    """The best of all agents on each instance, scored as if one agent had found it all."""

    score: float  # interquartile mean over instances
    with_reference: float  # the same with the reference where that is better
    median_gap_percent: float | None
    reached: int
    instances: int


@dataclass(frozen=True)
class Improvement:
    """The probability that agent `x` scores higher than agent `y`."""

    x: str
    y: str
    probability: float
    low: float
    high: float
    instances: int  # how many both ran on


@dataclass(frozen=True)
class Draw:
    """One ticket of the hyperparameter lottery."""

    draw: int
    hyperparameters: dict[str, Any]
    trials: int
    score: float  # interquartile mean over instances and seeds


@dataclass(frozen=True)
class Lottery:
    """How much an agent's score depends on its hyperparameters."""

    agent: str
    low: float  # the lowest, median and highest of the draws' scores
    median: float
    high: float
    draws: tuple[Draw, ...]


@dataclass(frozen=True)
class Curve:
    """Interquartile mean score of the best design so far, at each point of a grid kept beside the curves."""

    agent: str
    instance: str | None  # None: over all instances
    score: tuple[float, ...]  # [G]
    low: tuple[float, ...]  # [G], ends of the 95 % bootstrap interval
    high: tuple[float, ...]  # [G]


@dataclass(frozen=True)
class Failure:
    """A trial that did not finish."""

    agent: str
    draw: int | None
    instance: str
    seed: int
    status: str  # "failed" or "timed_out"
    trial_id: str


@dataclass(frozen=True)
class Leaderboard:
    """All that the seeds determine."""

    rows: tuple[Row, ...]  # by score, then by name
    best_of_all: BestOfAll
    instances: tuple[Instance, ...]  # by name
    improvement: tuple[Improvement, ...]  # all ordered pairs that share an instance
    lottery: tuple[Lottery, ...]  # by agent
    sample_grid: tuple[int, ...]  # [G]
    curves: tuple[Curve, ...]
    failures: tuple[Failure, ...]
    trials: int
    budgets: tuple[int, ...]  # the sample budgets that occur
    versions: dict[str, tuple[str, ...]]  # package to the versions that occur
    notes: tuple[str, ...]  # how to read the numbers, and what to beware of


@dataclass(frozen=True)
class TimingRow:
    """Median seconds of one entrant's trials, by who spent them."""

    agent: str
    trials: int
    agent_s: float
    cost_model_s: float
    overhead_s: float
    total_s: float


@dataclass(frozen=True)
class Timings:
    """All that the clock determines: different on every run and machine."""

    rows: tuple[TimingRow, ...]  # by agent
    seconds_grid: tuple[float, ...]  # [G]
    curves: tuple[Curve, ...]  # over all instances


def build_leaderboard(results: Iterable[TrialResult]) -> Leaderboard:
    """Score, rank and compare the agents of a set of trials.

    Args:
        results: the trials, in any order, each once, at one budget per agent, instance and seed.

    Returns:
        The same leaderboard for the same traces, whatever their order and clock readings.

    Raises:
        DsegymError: no trials; a trial given twice; two trials of the same agent, hyperparameters, instance and seed;
            trials of one instance that disagree about its yardsticks; a reference that is not above the bound.
    """
    trials = _read(results)
    entrants = _entrants(trials)
    ranking = _rank(entrants)
    agents = [row.agent for row in ranking]
    ranked = {agent: entrants[agent] for agent in agents}
    instances = _instances(trials, ranked)
    grid = _sample_grid(max(trial.budget for trial in trials))
    return Leaderboard(
        rows=ranking,
        best_of_all=_best_of_all(instances),
        instances=instances,
        improvement=_improvement(ranked),
        lottery=_lottery(trials),
        sample_grid=tuple(grid.tolist()),
        curves=_overall_curves(ranked, grid, axis="samples") + _instance_curves(ranked, grid),
        failures=tuple(
            Failure(trial.agent, trial.draw, trial.instance, trial.seed, trial.status, trial.trial_id)
            for trial in trials
            if trial.status != "finished"
        ),
        trials=len(trials),
        budgets=tuple(sorted({trial.budget for trial in trials})),
        versions=_versions(trials),
        notes=_notes(trials, ranking, ranked, instances),
    )


def build_timings(results: Iterable[TrialResult]) -> Timings:
    """The clock's side of the same trials: median seconds per entrant and curves against seconds.

    Takes and raises what `build_leaderboard` does.
    """
    entrants = _entrants(_read(results))
    found = [trial.seconds for trials in entrants.values() for trial in trials if trial.seconds.size]
    last = max((trial.total_s for trials in entrants.values() for trial in trials), default=0.0)
    positive = np.concatenate([np.zeros(0), *found])
    positive = positive[positive > 0]
    grid = np.geomspace(positive.min(), max(last, positive.max()), GRID_POINTS) if positive.size else np.zeros(0)
    return Timings(
        rows=tuple(_timing_row(agent, trials) for agent, trials in entrants.items()),
        seconds_grid=tuple(grid.tolist()),
        curves=_overall_curves(entrants, grid, axis="seconds") if grid.size else (),
    )


# Reading -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Trial:
    """A trial result boiled down to the samples that improved on all before them (`K` of them)."""

    trial_id: str
    agent: str  # the entrant's name
    hyperparameters: dict[str, Any]
    draw: int | None
    instance: str  # the instance's short name
    seed: int
    budget: int  # samples allowed
    status: str
    samples: NDArray[np.int64]  # [K], from 1
    seconds: NDArray[np.float64]  # [K], since the trial's start
    best: NDArray[np.float64]  # [K], objective's unit, falling
    total_s: float
    manifest: Mapping[str, Any]
    best_design: tuple[int, ...]  # of the last improvement; empty where nothing feasible was found

    @property
    def reference(self) -> float:
        return self.manifest["reference"]["value"]

    @property
    def bound(self) -> float:
        return self.manifest["bound"]["value"]

    @property
    def value(self) -> float:
        """The best feasible objective, `inf` where there is none."""
        return float(self.best[-1]) if self.best.size else math.inf

    @property
    def score(self) -> float:
        return float(statistics.score_or_reference(self.value, self.reference, self.bound))

    @property
    def score_with_reference(self) -> float:
        """Of the better of the reference and what the trial found."""
        return max(self.score, 0.0)

    @property
    def gap_percent(self) -> float:
        return 100 * (self.value / self.bound - 1)

    @property
    def reached(self) -> bool:
        return self.value <= self.bound * (1 + REACHED)

    @property
    def samples_to_near(self) -> float:
        near = self.samples[self.best <= self.bound * (1 + NEAR)]
        return float(near[0]) if near.size else math.inf


def _read(results: Iterable[TrialResult]) -> list[_Trial]:
    """The trials with entrants and instances named, sorted by all that identifies them."""
    results = list(results)
    if not results:
        raise DsegymError("no trial results: run the suite first, or give the directory that holds its trials")
    names = _instance_names([result.manifest["trial"]["instance"] for result in results])
    trials = [_boil_down(result, names) for result in results]
    repeated = [trial_id for trial_id, count in Counter(trial.trial_id for trial in trials).items() if count > 1]
    if repeated:
        raise DsegymError(f"trial {min(repeated)} was given more than once: give each trial once")
    trials = _name_entrants(sorted(trials, key=_identity))
    _check_unique(trials)
    _check_yardsticks(trials)
    return sorted(trials, key=_identity)


def _identity(trial: _Trial) -> tuple[str, str, int, int, str]:
    return (trial.agent, trial.instance, -1 if trial.draw is None else trial.draw, trial.seed, trial.trial_id)


def _boil_down(result: TrialResult, names: Mapping[str, str]) -> _Trial:
    manifest, trace = result.manifest, result.trace
    spec = manifest["trial"]
    best = statistics.best_so_far(trace["objective"].to_numpy(), trace["feasible"].to_numpy())
    improved = np.flatnonzero(best < np.concatenate([[np.inf], best[:-1]]))
    return _Trial(
        trial_id=manifest["trial_id"],
        agent=spec["agent"]["name"],
        hyperparameters=spec["agent"]["hyperparameters"],
        draw=spec["agent"]["draw"],
        instance=names[canonical(spec["instance"])],
        seed=spec["seed"],
        budget=spec["samples"],
        status=manifest["status"],
        samples=trace["sample"].to_numpy()[improved].astype(np.int64),
        seconds=trace["elapsed_s"].to_numpy()[improved].astype(np.float64),
        best=best[improved],
        total_s=manifest["seconds"]["total"],
        manifest=manifest,
        best_design=tuple(int(index) for index in trace["design"][int(improved[-1])]) if improved.size else (),
    )


def _instance_names(specs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Canonical instance to its name: what tells the instances apart, or everything where that is too little."""
    unique = {canonical(spec): spec for spec in specs}
    scenarios = {spec["scenario"] for spec in unique.values()}
    every_option = {key for spec in unique.values() for key in spec["options"]}
    shown = _telling([spec["options"] for spec in unique.values()]) or every_option
    short = {}
    for key_text, spec in unique.items():
        values = [_option(key, spec["options"][key]) for key in sorted(shown & spec["options"].keys())]
        scenario = [spec["scenario"].removeprefix("dsegym/")] if len(scenarios) > 1 or not values else []
        short[key_text] = " · ".join([*scenario, ", ".join(values)] if values else scenario)
    taken = Counter(short.values())
    return {key_text: name if taken[name] == 1 else key_text for key_text, name in short.items()}


def _telling(choices: Iterable[Mapping[str, Any]]) -> set[str]:
    """The keys whose values, or whose absence, tell some of these mappings apart."""
    choices = list(choices)
    keys = {key for choice in choices for key in choice}
    return {key for key in keys if len({canonical([choice.get(key), key in choice]) for choice in choices}) > 1}


def _option(key: str, value: Any) -> str:
    return value if isinstance(value, str) else f"{key}={canonical(value)}"


def _name_entrants(trials: Sequence[_Trial]) -> list[_Trial]:
    """Tell apart the hyperparameter sets that one agent ran on the same instance and seed."""
    sets = defaultdict(set)  # (agent, instance, seed) to hyperparameter sets
    for trial in trials:
        if trial.draw is None:
            sets[trial.agent, trial.instance, trial.seed].add(canonical(trial.hyperparameters))
    split = {agent for (agent, _, _), found in sets.items() if len(found) > 1}
    telling = {
        agent: _telling(trial.hyperparameters for trial in trials if trial.agent == agent and trial.draw is None)
        for agent in split
    }
    return [
        replace(trial, agent=_entrant_name(trial, telling[trial.agent]))
        if trial.draw is None and trial.agent in split
        else trial
        for trial in trials
    ]


def _entrant_name(trial: _Trial, telling: set[str]) -> str:
    keys = sorted(telling & trial.hyperparameters.keys())
    if not keys:
        return trial.agent
    return f"{trial.agent}({', '.join(_option(key, trial.hyperparameters[key]) for key in keys)})"


def _check_unique(trials: Sequence[_Trial]) -> None:
    seen: dict[tuple[str, int | None, str, int], _Trial] = {}
    for trial in trials:
        other = seen.setdefault((trial.agent, trial.draw, trial.instance, trial.seed), trial)
        if other is not trial:
            raise DsegymError(
                f"trials {other.trial_id} and {trial.trial_id} are both {trial.agent} on {trial.instance} with seed "
                f"{trial.seed} (budgets {other.budget} and {trial.budget} samples): give one budget at a time"
            )


def _check_yardsticks(trials: Sequence[_Trial]) -> None:
    first: dict[str, _Trial] = {}
    for trial in trials:
        other = first.setdefault(trial.instance, trial)
        for which in ("reference", "bound"):
            here, there = trial.manifest[which]["value"], other.manifest[which]["value"]
            if not math.isclose(here, there, rel_tol=REACHED):
                raise DsegymError(
                    f"trials {other.trial_id} and {trial.trial_id} disagree about the {which} of {trial.instance}: "
                    f"{there!r} and {here!r}; run them with the same version of the cost model"
                )
        try:
            statistics.normalised_score(0.0, trial.reference, trial.bound)
        except DsegymError as error:
            raise DsegymError(f"instance {trial.instance}: {error}") from error


def _entrants(trials: Sequence[_Trial]) -> dict[str, list[_Trial]]:
    """Entrant to its trials, by name: those with fixed hyperparameters, or all draws where there are no others."""
    entrants: dict[str, list[_Trial]] = defaultdict(list)
    fixed = {trial.manifest["trial"]["agent"]["name"] for trial in trials if trial.draw is None}
    for trial in trials:
        if trial.draw is None or trial.agent not in fixed:
            entrants[trial.agent].append(trial)
    return dict(sorted(entrants.items()))


# Computing -----------------------------------------------------------------------------------------------------------


def _strata(trials: Iterable[_Trial]) -> dict[str, list[float]]:
    """Instance to the scores of its trials, by instance."""
    strata: dict[str, list[float]] = defaultdict(list)
    for trial in trials:
        strata[trial.instance].append(trial.score)
    return dict(sorted(strata.items()))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _rank(entrants: Mapping[str, Sequence[_Trial]]) -> tuple[Row, ...]:
    rows = sorted((_row(agent, trials) for agent, trials in entrants.items()), key=lambda row: (-row.score, row.agent))
    first = {score: place for place, score in reversed(list(enumerate((row.score for row in rows), start=1)))}
    return tuple(replace(row, rank=first[row.score]) for row in rows)


def _row(agent: str, trials: Sequence[_Trial]) -> Row:
    score = statistics.stratified_bootstrap(list(_strata(trials).values()), seed=BOOTSTRAP_SEED)
    status = Counter(trial.status for trial in trials)
    return Row(
        rank=0,
        agent=agent,
        drawn=trials[0].draw is not None,
        trials=len(trials),
        score=rounded(float(score.value)),  # so that rounding of the sums cannot decide a rank
        low=float(score.low),
        high=float(score.high),
        with_reference=float(statistics.interquartile_mean([trial.score_with_reference for trial in trials])),
        median_gap_percent=_finite(np.median([trial.gap_percent for trial in trials])),
        reached=sum(trial.reached for trial in trials),
        samples_to_near=_lower_median([trial.samples_to_near for trial in trials]),
        finished=status["finished"],
        failed=status["failed"],
        timed_out=status["timed_out"],
    )


def _lower_median(counts: Sequence[float]) -> int | None:
    """The lower median, so that it exists whenever half of the counts do; None otherwise."""
    middle = sorted(counts)[(len(counts) - 1) // 2]
    return int(middle) if math.isfinite(middle) else None


def _instances(trials: Sequence[_Trial], ranked: Mapping[str, Sequence[_Trial]]) -> tuple[Instance, ...]:
    by_instance: dict[str, list[_Trial]] = defaultdict(list)
    for trial in trials:
        by_instance[trial.instance].append(trial)
    return tuple(_instance(name, by_instance[name], ranked) for name in sorted(by_instance))


def _instance(name: str, trials: Sequence[_Trial], ranked: Mapping[str, Sequence[_Trial]]) -> Instance:
    manifest = trials[0].manifest
    spec, reference, bound = (manifest["trial"]["instance"], manifest["reference"], manifest["bound"])
    scores = []
    for agent, entrant in ranked.items():
        here = [trial for trial in entrant if trial.instance == name]
        if here:
            best = min(here, key=lambda trial: trial.value)
            scores.append(
                InstanceScore(
                    agent=agent,
                    trials=len(here),
                    mean_score=float(np.mean([trial.score for trial in here])),
                    best_value=_finite(best.value),
                    gap_percent=_finite(best.gap_percent),
                )
            )
    return Instance(
        name=name,
        scenario=spec["scenario"],
        options=dict(sorted(spec["options"].items())),
        objective=manifest["objective"]["name"],
        unit=manifest["objective"]["unit"],
        reference=Yardstick(reference["name"], float(reference["value"]), reference["source"]),
        bound=Yardstick(bound["kind"], float(bound["value"]), bound["source"]),
        scores=tuple(scores),
        best=_best_design([trial for trial in trials if trial.best.size]),
    )


def _best_design(trials: Sequence[_Trial]) -> BestDesign | None:
    """The lowest value; of equal ones that with the fewest samples, then the first by name."""
    if not trials:
        return None
    trial = min(trials, key=lambda trial: (trial.value, trial.samples[-1], *_identity(trial)))
    return BestDesign(
        agent=trial.agent,
        draw=trial.draw,
        seed=trial.seed,
        trial_id=trial.trial_id,
        sample=int(trial.samples[-1]),
        value=trial.value,
        score=trial.score,
        gap_percent=trial.gap_percent,
        design=trial.best_design,
        decoded=dict(trial.manifest["best"]["decoded"]) if trial.manifest["best"] else {},
    )


def _best_of_all(instances: Sequence[Instance]) -> BestOfAll:
    scores = [instance.best.score if instance.best else 0.0 for instance in instances]
    gaps = [instance.best.gap_percent if instance.best else math.inf for instance in instances]
    return BestOfAll(
        score=float(statistics.interquartile_mean(scores)),
        with_reference=float(statistics.interquartile_mean([max(score, 0.0) for score in scores])),
        median_gap_percent=_finite(np.median(gaps)),
        reached=sum(gap <= 100 * REACHED for gap in gaps),
        instances=len(instances),
    )


def _improvement(ranked: Mapping[str, Sequence[_Trial]]) -> tuple[Improvement, ...]:
    strata = {agent: _strata(trials) for agent, trials in ranked.items()}
    agents, pairs = list(ranked), []
    for place, x in enumerate(agents):
        for y in agents[place + 1 :]:
            shared = sorted(strata[x].keys() & strata[y].keys())
            if shared:
                value, low, high = map(
                    float,
                    statistics.probability_of_improvement(
                        [strata[x][name] for name in shared], [strata[y][name] for name in shared], seed=BOOTSTRAP_SEED
                    ),
                )
                pairs.append(Improvement(x, y, value, low, high, len(shared)))
                pairs.append(Improvement(y, x, 1 - value, 1 - high, 1 - low, len(shared)))
    order = {agent: place for place, agent in enumerate(agents)}
    return tuple(sorted(pairs, key=lambda pair: (order[pair.x], order[pair.y])))


def _lottery(trials: Sequence[_Trial]) -> tuple[Lottery, ...]:
    drawn: dict[str, dict[int, list[_Trial]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        if trial.draw is not None:
            drawn[trial.agent][trial.draw].append(trial)
    return tuple(_lottery_of(agent, drawn[agent]) for agent in sorted(drawn))


def _lottery_of(agent: str, drawn: Mapping[int, Sequence[_Trial]]) -> Lottery:
    draws = tuple(
        Draw(
            draw=draw,
            hyperparameters=dict(sorted(trials[0].hyperparameters.items())),
            trials=len(trials),
            score=float(statistics.interquartile_mean([trial.score for trial in trials])),
        )
        for draw, trials in sorted(drawn.items())
    )
    scores = [draw.score for draw in draws]
    return Lottery(agent, low=min(scores), median=float(np.median(scores)), high=max(scores), draws=draws)


def _sample_grid(budget: int) -> NDArray[np.int64]:
    return np.unique(np.geomspace(1, budget, GRID_POINTS).round().astype(np.int64))


def _overall_curves(entrants: Mapping[str, Sequence[_Trial]], grid: NDArray[Any], *, axis: str) -> tuple[Curve, ...]:
    return tuple(_curve(agent, None, trials, grid, axis) for agent, trials in entrants.items())


def _instance_curves(entrants: Mapping[str, Sequence[_Trial]], grid: NDArray[Any]) -> tuple[Curve, ...]:
    curves = []
    for agent, trials in entrants.items():
        for name in _strata(trials):
            here = [trial for trial in trials if trial.instance == name]
            curves.append(_curve(agent, name, here, grid, "samples"))
    return tuple(curves)


def _curve(agent: str, instance: str | None, trials: Sequence[_Trial], grid: NDArray[Any], axis: str) -> Curve:
    strata: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for trial in trials:
        strata[trial.instance].append(
            statistics.anytime_scores(
                grid, getattr(trial, axis), trial.best, reference=trial.reference, bound=trial.bound
            )
        )
    stacked = [np.stack(strata[name], axis=-1) for name in sorted(strata)]  # [G, n] each
    curve = statistics.stratified_bootstrap(stacked, seed=BOOTSTRAP_SEED, resamples=CURVE_RESAMPLES)
    return Curve(agent, instance, *(tuple(ends.tolist()) for ends in curve))


def _timing_row(agent: str, trials: Sequence[_Trial]) -> TimingRow:
    def median(part: str) -> float:
        return float(np.median([trial.manifest["seconds"][part] for trial in trials]))

    return TimingRow(agent, len(trials), median("agent"), median("cost_model"), median("overhead"), median("total"))


def _versions(trials: Sequence[_Trial]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = defaultdict(set)
    for trial in trials:
        for package, version in trial.manifest["versions"].items():
            found[package].add(str(version))
    return {package: tuple(sorted(found[package])) for package in sorted(found)}


_HOW_TO_READ = (
    (
        "Score = (reference − value) / (reference − bound): 0 is the reference, 1 is the bound. A score may be "
        "negative: worse than the reference."
    ),
    (
        "A trial that found no feasible design, or failed before it could, scores 0, as if it had fallen back on the "
        "reference."
    ),
    (
        "The ranking is by the interquartile mean (IQM) over instances and seeds. Intervals are 95 % stratified "
        "bootstrap intervals: they say what other seeds would change, not what other instances would."
    ),
    (
        "With reference is the same mean where every trial takes the better of the reference and the agent's best "
        "design, as who puts a design into production would: a score below 0 counts as 0."
    ),
    (
        "A trial reached the bound if its best value lies within a relative 1e-6 of it. Samples to 1 % is the median "
        "over trials of the samples spent until within 1 % of the bound, '-' where fewer than half of the trials got "
        "there."
    ),
)


def _notes(
    trials: Sequence[_Trial],
    ranking: Sequence[Row],
    ranked: Mapping[str, Sequence[_Trial]],
    instances: Sequence[Instance],
) -> tuple[str, ...]:
    notes: list[str] = list(_HOW_TO_READ)
    late = sum(trial.status == "timed_out" for trial in trials)
    if late:
        notes.append(f"Trials stopped at their time limit: {late}. Their scores depend on the speed of the machine.")
    budgets = sorted({trial.budget for trial in trials})
    if len(budgets) > 1:
        notes.append(f"The trials have different sample budgets: {', '.join(map(str, budgets))}.")
    for row in ranking:
        if row.drawn:
            notes.append(f"{row.agent} ran with drawn hyperparameters only and is ranked on all its draws together.")
        covered = len(_strata(ranked[row.agent]))
        if covered < len(instances):
            notes.append(
                f"{row.agent} ran on {covered} of {len(instances)} instances: its overall score does not compare with "
                "that of agents which ran on others."
            )
    for instance in instances:
        best, bound = instance.best, instance.bound
        if best and best.value < bound.value * (1 - REACHED):
            known = bound.name == "best known"
            notes.append(
                f"{best.agent} found {format_quantity(best.value, instance.unit)} on {instance.name}, below the "
                f"{bound.name} of {format_quantity(bound.value, instance.unit)}: "
                + ("a new best known value." if known else "the bound or the cost model is wrong.")
            )
    return tuple(notes)
