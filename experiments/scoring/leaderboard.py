"""From trial results to the leaderboard: who is best, by how much, how surely, and how soon.

`build_leaderboard` reads only what the seeds determine (traces, yardsticks, designs), so that the same traces give the
same bytes from `to_json` and `to_markdown` in whatever order and at whatever speed the trials ran. Clock readings and
error messages stay outside: `build_timings` holds the seconds, and the page (`report/page.py`) shows both.

A *trial result* is any object with `manifest`, the trial's manifest as a dict, and `trace`, a polars data frame with
the columns `sample`, `objective`, `feasible`, `elapsed_s` and `design`, one row a sample; and `held_out` where scores
are taken on held-out cases. `scored_trials` says what a trial's value is.

An *entrant* is what gets a row: an agent with fixed hyperparameters. Where one agent ran the same instance and seed
with several hyperparameter sets, each set is an entrant, named with the hyperparameters that tell them apart. Trials
with drawn hyperparameters make up the lottery; an agent that has no others is ranked on all its draws together.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...envs.core.evaluation import looseness_of
from ..formats import rounded
from ..store import FINISHED, TrialResult
from . import statistics
from .curves import anytime_curves, interquartile_bands, overall_curves
from .improvement import improvements
from .notes import notes
from .records import (
    BestDesign,
    BestOfAll,
    Draw,
    Failure,
    Improvement,
    Instance,
    InstanceScore,
    Leaderboard,
    LeftOut,
    Lottery,
    Row,
    TimingRow,
    Timings,
    Yardstick,
)
from .scored_trials import REACHED, ScoredTrial, by_entrant, read_trials, unscorable

__all__ = ["BOOTSTRAP_SEED", "build_leaderboard", "build_timings", "no_leaderboard"]

BOOTSTRAP_SEED = 20210830  # fixed, so that intervals are a function of the traces; the day Agarwal et al. appeared
GRID_POINTS = 64  # about 20 points for each factor of ten of a 1000-sample budget


def build_leaderboard(
    results: Iterable[TrialResult],
    *,
    file_names: Mapping[str, str] | None = None,
    left_out: Iterable[tuple[str, str]] = (),
    strays: int = 0,
    scored: Sequence[ScoredTrial] | None = None,
) -> Leaderboard:
    """Score, rank and compare the agents of a set of trials.

    Args:
        results: the trials, in any order, each once, at one budget per agent, instance and seed. Instances on which no
            result can be scored are listed and left out.
        file_names: {the place of a user's file in options: the name that it goes by}.
        left_out: further instances, (name, reason), that the suite did not run.
        strays: trials that lie beside these and belong to something else.
        scored: what `read_trials(results, file_names)` returned, if it was called already.

    Returns:
        The same leaderboard for the same traces, whatever their order and clock readings.

    Raises:
        DsegymError: no trials; a trial given twice; two trials of the same agent, hyperparameters, instance and seed;
            trials of one instance that disagree about its yardsticks; no instance that can be scored.
    """
    results = list(results)
    trials = read_trials(results, file_names) if scored is None else list(scored)
    out = [LeftOut(*found) for found in unscorable(results, file_names)]
    out += [LeftOut(instance, reason, 0) for instance, reason in left_out]
    entrants = by_entrant(trials)
    loose = _loose(trials)
    ranking = _rank(entrants, loose)
    ranked = {row.agent: entrants[row.agent] for row in ranking}
    instances = tuple(replace(each, loose=loose.get(each.name, "")) for each in _instances(trials, ranked))
    grid = _sample_grid(max(trial.budget for trial in trials))
    overall, single = anytime_curves(ranked, grid, "samples", seed=BOOTSTRAP_SEED)
    return Leaderboard(
        rows=ranking,
        best_of_all=_best_of_all(instances),
        instances=instances,
        improvement=_improvement(ranked),
        lottery=_lottery(trials),
        sample_grid=tuple(grid.tolist()),
        curves=(*overall, *single),
        failures=tuple(
            Failure(trial.agent, trial.draw, trial.instance, trial.seed, trial.status, trial.trial_id)
            for trial in trials
            if trial.status != FINISHED
        ),
        left_out=tuple(out),
        trials=len(trials),
        budgets=tuple(sorted({trial.budget for trial in trials})),
        versions=_versions(trials),
        notes=notes(trials, ranking, ranked, instances, out, strays),
    )


def no_leaderboard() -> Leaderboard:
    """Of no trials, where policies alone were scored."""
    nothing = BestOfAll(0.0, 0.0, None, None, reached=0, instances=0)
    return Leaderboard((), nothing, (), (), (), (), (), (), (), 0, (), {}, ())


def build_timings(results: Iterable[TrialResult], *, scored: Sequence[ScoredTrial] | None = None) -> Timings:
    """The clock's side of the same trials: median seconds per entrant and curves against seconds.

    Takes and raises what `build_leaderboard` does; of no trials there are no timings.
    """
    results = list(results)
    entrants = by_entrant(read_trials(results) if scored is None else scored) if results else {}
    found = [trial.seconds for trials in entrants.values() for trial in trials if trial.seconds.size]
    last = max((trial.total_s for trials in entrants.values() for trial in trials), default=0.0)
    positive = np.concatenate([np.zeros(0), *found])
    positive = positive[positive > 0]
    grid = np.geomspace(positive.min(), max(last, positive.max()), GRID_POINTS) if positive.size else np.zeros(0)
    return Timings(
        rows=tuple(_timing_row(agent, trials) for agent, trials in entrants.items()),
        seconds_grid=tuple(grid.tolist()),
        curves=tuple(overall_curves(entrants, grid, "seconds", seed=BOOTSTRAP_SEED)) if grid.size else (),
    )


# Computing -----------------------------------------------------------------------------------------------------------


def _strata(trials: Iterable[ScoredTrial]) -> dict[str, list[float]]:
    """Instance to the scores of its trials, by instance."""
    strata: dict[str, list[float]] = defaultdict(list)
    for trial in trials:
        strata[trial.instance].append(trial.score)
    return dict(sorted(strata.items()))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _loose(trials: Sequence[ScoredTrial]) -> dict[str, str]:
    """{instance whose bound may not be its optimum: why}. A proven bound that a trial reached is the optimum."""
    found = {trial.instance: trial.manifest["bound"]["kind"] for trial in trials}
    reached = {trial.instance for trial in trials if trial.reached}
    return {
        name: looseness_of(kind)
        for name, kind in found.items()
        if looseness_of(kind) and not (kind == "bound" and name in reached)
    }


def _one_seed(strata: Mapping[str, Sequence[object]]) -> bool:
    """Whether other seeds could change everything: an interval over seeds would be empty and say the opposite."""
    return all(len(scores) == 1 for scores in strata.values())


def _median_gap(gaps: Sequence[float]) -> float | None:
    return _finite(np.median(gaps)) if gaps else None


def _rank(entrants: Mapping[str, Sequence[ScoredTrial]], loose: Collection[str]) -> tuple[Row, ...]:
    rows = sorted(
        (_row(agent, trials, loose) for agent, trials in entrants.items()), key=lambda row: (-row.score, row.agent)
    )
    first = {score: place for place, score in reversed(list(enumerate((row.score for row in rows), start=1)))}
    return tuple(replace(row, rank=first[row.score]) for row in rows)


def _row(agent: str, trials: Sequence[ScoredTrial], loose: Collection[str]) -> Row:
    strata = _strata(trials)
    score = float(statistics.interquartile_mean(np.concatenate(list(strata.values()))))
    one_seed = _one_seed(strata)
    low, high = (None, None) if one_seed else _interval(list(strata.values()))
    status = Counter(trial.status for trial in trials)
    return Row(
        rank=0,
        agent=agent,
        drawn=trials[0].draw is not None,
        trials=len(trials),
        score=rounded(score),  # so that rounding of the sums cannot decide a rank
        low=low,
        high=high,
        with_reference=float(statistics.interquartile_mean([trial.score_with_reference for trial in trials])),
        median_gap_percent=_median_gap([trial.gap_percent for trial in trials if trial.instance not in loose]),
        median_loose_gap_percent=_median_gap([trial.gap_percent for trial in trials if trial.instance in loose]),
        reached=sum(trial.reached for trial in trials),
        samples_to_near=_lower_median([trial.samples_to_near for trial in trials]),
        finished=status[FINISHED],
        failed=status["failed"],
        timed_out=status["timed_out"],
    )


def _interval(strata: Sequence[Sequence[float]]) -> tuple[float, float]:
    """That of the interquartile mean: `statistics.stratified_bootstrap`, as of a grid of one point."""
    point = [np.asarray(scores, dtype=np.float64)[None] for scores in strata]
    found = interquartile_bands(point, seed=BOOTSTRAP_SEED, resamples=statistics.RESAMPLES)
    return float(found.low[0]), float(found.high[0])


def _lower_median(counts: Sequence[float]) -> int | None:
    """The lower median, so that it exists whenever half of the counts do; None otherwise."""
    middle = sorted(counts)[(len(counts) - 1) // 2]
    return int(middle) if math.isfinite(middle) else None


def _instances(trials: Sequence[ScoredTrial], ranked: Mapping[str, Sequence[ScoredTrial]]) -> tuple[Instance, ...]:
    by_instance = _by_instance(trials)
    entrants = {agent: _by_instance(entrant) for agent, entrant in ranked.items()}
    return tuple(_instance(name, by_instance[name], entrants) for name in sorted(by_instance))


def _by_instance(trials: Iterable[ScoredTrial]) -> dict[str, list[ScoredTrial]]:
    found: dict[str, list[ScoredTrial]] = defaultdict(list)
    for trial in trials:
        found[trial.instance].append(trial)
    return found


def _instance(
    name: str, trials: Sequence[ScoredTrial], entrants: Mapping[str, Mapping[str, Sequence[ScoredTrial]]]
) -> Instance:
    manifest = trials[0].manifest
    spec, reference, bound = (manifest["trial"]["instance"], manifest["reference"], manifest["bound"])
    scores = []
    for agent, entrant in entrants.items():
        if here := entrant.get(name):
            best = min(here, key=lambda trial: trial.preference)
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
        options=dict(sorted(trials[0].options.items())),
        files={key: value for key, value in sorted(spec["options"].items()) if trials[0].options[key] != value},
        objective=manifest["objective"]["name"],
        unit=manifest["objective"]["unit"],
        reference=Yardstick(reference["name"], float(trials[0].reference), reference["source"]),
        bound=Yardstick(bound["kind"], float(trials[0].bound), bound["source"]),
        scores=tuple(scores),
        best=_best_design([trial for trial in trials if trial.samples.size]),
    )


def _best_design(trials: Sequence[ScoredTrial]) -> BestDesign | None:
    """That of the first trial by preference."""
    if not trials:
        return None
    trial = min(trials, key=lambda trial: trial.preference)
    return BestDesign(
        agent=trial.agent,
        draw=trial.draw,
        seed=trial.seed,
        trial_id=trial.trial_id,
        sample=int(trial.samples[-1]),
        value=trial.value,
        score=trial.score,
        gap_percent=_finite(trial.gap_percent),
        design=trial.best_design,
        decoded=dict(trial.manifest["best"]["decoded"]) if trial.manifest["best"] else {},
    )


def _best_of_all(instances: Sequence[Instance]) -> BestOfAll:
    scores = [instance.best.score if instance.best else 0.0 for instance in instances]
    found = [instance.best.gap_percent if instance.best else None for instance in instances]
    gaps = [math.inf if gap is None else gap for gap in found]
    exact, loose = (
        [gap for gap, instance in zip(gaps, instances, strict=True) if bool(instance.loose) is which]
        for which in (False, True)
    )
    return BestOfAll(
        score=float(statistics.interquartile_mean(scores)),
        with_reference=float(statistics.interquartile_mean([max(score, 0.0) for score in scores])),
        median_gap_percent=_median_gap(exact),
        median_loose_gap_percent=_median_gap(loose),
        reached=sum(gap <= 100 * REACHED for gap in gaps),
        instances=len(instances),
    )


def _improvement(ranked: Mapping[str, Sequence[ScoredTrial]]) -> tuple[Improvement, ...]:
    strata = {agent: _strata(trials) for agent, trials in ranked.items()}
    agents, pairs = list(ranked), []
    for (x, y), (estimate, shared) in improvements(strata, seed=BOOTSTRAP_SEED).items():
        value, low, high = map(float, estimate)
        names = strata[x].keys() & strata[y].keys()
        if any(_one_seed({name: strata[agent][name] for name in names}) for agent in (x, y)):
            ends = inverse = (None, None)
        else:
            ends, inverse = (low, high), (1 - high, 1 - low)
        pairs.append(Improvement(x, y, value, *ends, shared))
        pairs.append(Improvement(y, x, 1 - value, *inverse, shared))
    order = {agent: place for place, agent in enumerate(agents)}
    return tuple(sorted(pairs, key=lambda pair: (order[pair.x], order[pair.y])))


def _lottery(trials: Sequence[ScoredTrial]) -> tuple[Lottery, ...]:
    drawn: dict[str, dict[int, list[ScoredTrial]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        if trial.draw is not None:
            drawn[trial.agent][trial.draw].append(trial)
    return tuple(_lottery_of(agent, drawn[agent]) for agent in sorted(drawn))


def _lottery_of(agent: str, drawn: Mapping[int, Sequence[ScoredTrial]]) -> Lottery:
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


def _timing_row(agent: str, trials: Sequence[ScoredTrial]) -> TimingRow:
    def median(part: str) -> float:
        return float(np.median([trial.manifest["seconds"][part] for trial in trials]))

    joules = [trial.manifest["energy"]["machine_j"] for trial in trials if "energy" in trial.manifest]
    return TimingRow(
        agent=agent,
        trials=len(trials),
        agent_s=median("agent"),
        cost_model_s=median("cost_model"),
        overhead_s=median("overhead"),
        total_s=median("total"),
        machine_j=float(np.median(joules)) if joules else None,
    )


def _versions(trials: Sequence[ScoredTrial]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = defaultdict(set)
    for trial in trials:
        for package, version in trial.manifest["versions"].items():
            found[package].add(str(version))
    return {package: tuple(sorted(found[package])) for package in sorted(found)}
