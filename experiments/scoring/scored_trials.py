"""Trial results as the leaderboard scores them: what a trial found, under which entrant's name, on which instance.

The value of a trial is that of its incumbent, the sample with the least feasible objective so far: the objective
itself, or, where scores are taken on held-out cases, the incumbent's held-out value. That one may rise as the search
goes on, and it chooses nothing: which design is a trial's or an instance's best is said by what the searches saw.

A design that is feasible on the search's cases may break a constraint on the held-out ones. Its value is then the
penalty that its objective carries: a score of 0, as for a trial that found nothing, would be a reward for it.

Values of an instance that are equal within `REACHED`, to which they are verified, are one value here, and all trials of
an instance have the same yardsticks: nobody wins by what verification cannot see.
"""

from __future__ import annotations

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...costmodels.errors import DsegymError
from ...envs.core.evaluation import obstacle_between
from ..formats import canonical
from . import statistics

if TYPE_CHECKING:
    import polars

    from ..store import TrialResult

__all__ = ["REACHED", "ScoredTrial", "by_entrant", "read_trials", "unscorable"]

REACHED = 1e-6  # relative; cost models compute in float32, whose rounding is 1e-7
_LONGEST_TOLD = 60  # characters of a hyperparameter that names an entrant; what is longer is data, designs say
_MOST_ROWS = 2**15  # samples of trials that are looked at together
NEAR = 0.01  # "close enough" for the samples-to-1 % column, relative to the bound


@dataclass(frozen=True, eq=False)
class ScoredTrial:
    """A trial result boiled down to its incumbents, the samples that improved on all before them (`K` of them)."""

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
    objective: NDArray[np.float64]  # [K], what the search saw, in the objective's unit, falling
    values: NDArray[np.float64]  # [K], what is scored: the same, or the held-out values, which may rise
    held_out: bool  # whether the values are held-out ones
    total_s: float
    manifest: Mapping[str, Any]
    best_design: tuple[int, ...]  # of the last improvement; empty where nothing feasible was found
    options: dict[str, Any]  # of the instance, a user's file by its name
    reference: float  # the value that scores 0
    bound: float  # the value that scores 1

    @functools.cached_property
    def value(self) -> float:
        """Of the last incumbent, `inf` where there is none."""
        return float(self.values[-1]) if self.values.size else math.inf

    @functools.cached_property
    def score(self) -> float:
        """Of the value; 0 where nothing feasible was found."""
        return float(statistics.score_or_reference(self.value, self.reference, self.bound))

    @property
    def score_with_reference(self) -> float:
        """Of the better of the reference and what the trial found."""
        return max(self.score, 0.0)

    @property
    def gap_percent(self) -> float:
        """How far the value is above the bound; infinitely far above a bound of 0."""
        if self.bound == 0:
            return 0.0 if self.value == 0 else math.inf
        return 100 * (self.value / self.bound - 1)

    @property
    def reached(self) -> bool:
        """Whether the value is the bound, up to rounding."""
        return self.value <= self.bound * (1 + REACHED)

    @property
    def samples_to_near(self) -> float:
        """Samples from which on the incumbent is near the bound: a held-out value may come near and leave again."""
        away = np.flatnonzero(self.values > self.bound * (1 + NEAR))
        near = self.samples[away[-1] + 1 :] if away.size else self.samples
        return float(near[0]) if near.size else math.inf

    @property
    def identity(self) -> tuple[str, str, int, int, str]:
        """All that identifies it, for sorting."""
        return (self.agent, self.instance, -1 if self.draw is None else self.draw, self.seed, self.trial_id)

    @property
    def preference(self) -> tuple[Any, ...]:
        """Sorts trials of an instance, the best first: by the objective that the search saw (choosing by a held-out
        value would be a search on the held-out cases), then by the samples that it took, then by name.
        """
        found = (self.objective[-1], self.samples[-1]) if self.samples.size else (math.inf, 0)
        return (*found, *self.identity)


def read_trials(results: Iterable[TrialResult], file_names: Mapping[str, str] | None = None) -> list[ScoredTrial]:
    """The trials that can be scored, with entrants and instances named, sorted by all that identifies them.

    Takes and raises what `leaderboard.build_leaderboard` does.
    """
    results = list(results)
    keys = _keys(results)
    names, options = _instance_names(results, keys, file_names or {})
    scorable = [(result, key) for result, key in zip(results, keys, strict=True) if not _obstacle(result)]
    trials = [trial for block in _blocks(scorable) for trial in _boil_down(block, names, options)]
    if not trials:
        reasons = {f"{names[key]}: {_obstacle(result)}" for result, key in zip(results, keys, strict=True)}
        why = f"none of these instances can be scored: {'; '.join(sorted(reasons))}" if reasons else "no trial results"
        raise DsegymError(f"{why}; run a suite first, or give the directory that holds its trials")
    repeated = [trial_id for trial_id, count in Counter(trial.trial_id for trial in trials).items() if count > 1]
    if repeated:
        raise DsegymError(f"trial {min(repeated)} was given more than once: give each trial once")
    trials = _name_entrants(sorted(trials, key=lambda trial: trial.identity))
    _check_unique(trials)
    return sorted(_comparable(trials), key=lambda trial: trial.identity)


def unscorable(
    results: Sequence[TrialResult], file_names: Mapping[str, str] | None = None
) -> list[tuple[str, str, int]]:
    """The instances on which no result can be scored, sorted: name, reason, how many of the trials ran on it."""
    keys = _keys(results)
    names, _ = _instance_names(results, keys, file_names or {})
    reasons = ((names[key], _obstacle(result)) for result, key in zip(results, keys, strict=True))
    found = Counter((name, reason) for name, reason in reasons if reason)
    return sorted((name, reason, count) for (name, reason), count in found.items())


def _obstacle(result: TrialResult) -> str:
    return obstacle_between(result.manifest["reference"]["value"], result.manifest["bound"]["value"])


def _keys(results: Iterable[TrialResult]) -> list[str]:
    """The canonical instance of each."""
    return _canonical([result.manifest["trial"]["instance"] for result in results])


def _canonical(values: Sequence[Any]) -> list[str]:
    """Each in its one spelling; the store shares what trials have in common, and that is spelled once."""
    unique = {id(value): value for value in values}
    spelled = {key: canonical(value) for key, value in unique.items()}
    return [spelled[id(value)] for value in values]


@dataclass(frozen=True)
class _Block:
    """Trials that are looked at together."""

    results: list[tuple[TrialResult, str]]  # [N], and the canonical instance
    traces: list[polars.DataFrame]  # [N], of the same columns


def _blocks(results: Iterable[tuple[TrialResult, str]]) -> Iterator[_Block]:
    """All of them, in their order."""
    here, rows = _Block([], []), 0
    for each in results:
        trace = each[0].trace
        if here.traces and (rows + trace.height > _MOST_ROWS or trace.columns != here.traces[0].columns):
            yield here
            here, rows = _Block([], []), 0
        here.results.append(each)
        here.traces.append(trace)
        rows += trace.height
    if here.traces:
        yield here


def _boil_down(block: _Block, names: Mapping[str, str], options: Mapping[str, dict[str, Any]]) -> Iterator[ScoredTrial]:
    import polars

    table = polars.concat(block.traces, how="vertical_relaxed")
    held_out = "held_out" in table.columns
    owner = np.repeat(np.arange(len(block.traces)), [trace.height for trace in block.traces])
    found = statistics.incumbents_of_many(table["objective"].to_numpy(), table["feasible"].to_numpy(), owner)
    counts = np.bincount(owner[found], minlength=len(block.traces))
    ends = np.cumsum(counts)
    designs = iter(table["design"].gather(found[ends[counts > 0] - 1]).to_list())
    samples = table["sample"].to_numpy()[found].astype(np.int64)
    seconds = table["elapsed_s"].to_numpy()[found].astype(np.float64)
    objective = table["objective"].to_numpy()[found]
    values = table["held_out"].to_numpy()[found] if held_out else objective
    for (result, key), start, end in zip(block.results, (ends - counts).tolist(), ends.tolist(), strict=True):
        manifest, own = result.manifest, slice(start, end)
        spec = manifest["trial"]
        yield ScoredTrial(
            trial_id=manifest["trial_id"],
            agent=spec["agent"]["name"],
            hyperparameters=spec["agent"]["hyperparameters"],
            draw=spec["agent"]["draw"],
            instance=names[key],
            seed=spec["seed"],
            budget=spec["samples"],
            status=manifest["status"],
            samples=samples[own],
            seconds=seconds[own],
            objective=objective[own],
            values=values[own],
            held_out=held_out,
            total_s=manifest["seconds"]["total"],
            manifest=manifest,
            best_design=tuple(next(designs)) if end > start else (),
            options=options[key],
            reference=manifest["reference"]["value"],
            bound=manifest["bound"]["value"],
        )


def _comparable(trials: Sequence[ScoredTrial]) -> list[ScoredTrial]:
    """The trials with their instance's yardsticks, those of its first trial, and its values within `REACHED` made one.

    Raises:
        DsegymError: trials of one instance that disagree about its yardsticks or about held-out cases.
    """
    by_instance: dict[str, list[ScoredTrial]] = defaultdict(list)
    for trial in trials:
        by_instance[trial.instance].append(trial)
    found = []
    for here in by_instance.values():
        first = min(here, key=lambda trial: trial.trial_id)
        for trial in here:
            _check_agreement(first, trial)
        values = _made_one([trial.values for trial in here])
        objective = _made_one([trial.objective for trial in here]) if first.held_out else values
        found += [
            replace(trial, reference=first.reference, bound=first.bound, values=value, objective=seen)
            for trial, value, seen in zip(here, values, objective, strict=True)
        ]
    return found


def _made_one(arrays: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """The arrays with each value replaced by the least one of its group, all within `REACHED` of that one."""
    joined = np.concatenate(arrays)
    everything, places = np.unique(joined, return_inverse=True)
    group = everything.copy()
    # Most values are not close to the one before: only those that are can share a group.
    close = np.flatnonzero(everything[1:] <= everything[:-1] * (1 + REACHED))
    start = 0
    while (which := int(np.searchsorted(close, start))) < close.size:
        start = int(close[which])
        end = int(np.searchsorted(everything, everything[start] * (1 + REACHED), side="right"))
        group[start:end] = everything[start]
        start = end
    return np.split(group[places], np.cumsum([array.size for array in arrays])[:-1])


def _instance_names(
    results: Sequence[TrialResult], keys: Sequence[str], file_names: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Canonical instance to its name, and to its options with users' files by name.

    A name is what tells the instances apart, or everything where that is too little. Of several scenarios each is
    named, and the options that tell its own instances apart.
    """
    unique: dict[str, Mapping[str, Any]] = {
        key: result.manifest["trial"]["instance"] for key, result in zip(keys, results, strict=True)
    }
    places = sorted({value for spec in unique.values() for value in spec["options"].values() if value in file_names})
    called = Counter(file_names[place] for place in places)
    shown_as: dict[str, str] = {
        place: name if called[name := file_names[place]] == 1 else f"{name} ({Path(place).stem[:6]})"
        for place in places
    }
    all_options: dict[str, dict[str, Any]] = {
        key: {option: shown_as.get(value, value) for option, value in spec["options"].items()}
        for key, spec in unique.items()
    }
    options = defaultdict(list)  # of a scenario
    for key, spec in unique.items():
        options[spec["scenario"]].append(all_options[key])
    short = {}
    for key_text, spec in unique.items():
        own = all_options[key_text]
        shown = set(own) if len(unique) == 1 else _telling(options[spec["scenario"]])
        values = [_option(key, own[key]) for key in sorted(shown & own.keys())]
        scenario = [spec["scenario"].removeprefix("dsegym/")] if len(options) > 1 or not values else []
        short[key_text] = " · ".join([*scenario, ", ".join(values)] if values else scenario)
    taken = Counter(short.values())
    return {key_text: name if taken[name] == 1 else key_text for key_text, name in short.items()}, all_options


def _telling(choices: Iterable[Mapping[str, Any]]) -> set[str]:
    """The keys whose values, or whose absence, tell some of these mappings apart."""
    choices = list(choices)
    keys = {key for choice in choices for key in choice}
    return {key for key in keys if len({canonical([choice.get(key), key in choice]) for choice in choices}) > 1}


def _option(key: str, value: Any) -> str:
    """A word speaks for itself; a number does not."""
    if not isinstance(value, str):
        return f"{key}={canonical(value)}"
    try:
        float(value)
    except ValueError:
        return value or f'{key}=""'
    return f"{key}={value}"


def _told_by(groups: Iterable[Sequence[Mapping[str, Any]]]) -> set[str]:
    """The keys that name entrants: without long texts, which are data, where the others tell each group's sets apart.

    Args:
        groups: the hyperparameter sets that an agent ran on one instance and seed, for each of them.
    """
    groups = list(groups)
    telling = _telling(choice for group in groups for choice in group)
    short = {
        key
        for key in telling
        if all(len(str(choice.get(key, ""))) <= _LONGEST_TOLD for group in groups for choice in group)
    }
    for group in groups:
        seen = {canonical([[choice.get(key), key in choice] for key in sorted(short)]) for choice in group}
        if len(seen) < len(group):
            return telling
    return short


def _name_entrants(trials: Sequence[ScoredTrial]) -> list[ScoredTrial]:
    """Tell apart the hyperparameter sets that one agent ran on the same instance and seed."""
    sets = defaultdict(dict)  # (agent, instance, seed) to hyperparameter sets, each by its text
    for trial, text in zip(trials, _canonical([trial.hyperparameters for trial in trials]), strict=True):
        if trial.draw is None:
            sets[trial.agent, trial.instance, trial.seed][text] = trial.hyperparameters
    split = {agent for (agent, _, _), found in sets.items() if len(found) > 1}
    telling = {
        agent: _told_by([[*found.values()] for (who, _, _), found in sets.items() if who == agent]) for agent in split
    }
    return [
        replace(trial, agent=_entrant_name(trial, telling[trial.agent]))
        if trial.draw is None and trial.agent in split
        else trial
        for trial in trials
    ]


def _entrant_name(trial: ScoredTrial, telling: set[str]) -> str:
    keys = sorted(telling & trial.hyperparameters.keys())
    if not keys:
        return trial.agent
    return f"{trial.agent}({', '.join(_option(key, trial.hyperparameters[key]) for key in keys)})"


def _check_unique(trials: Sequence[ScoredTrial]) -> None:
    seen: dict[tuple[str, int | None, str, int], ScoredTrial] = {}
    for trial in trials:
        other = seen.setdefault((trial.agent, trial.draw, trial.instance, trial.seed), trial)
        if other is not trial:
            raise DsegymError(
                f"trials {other.trial_id} and {trial.trial_id} are both {trial.agent} on {trial.instance} with seed "
                f"{trial.seed} (budgets {other.budget} and {trial.budget} samples): give each budget a suite"
            )


def _check_agreement(other: ScoredTrial, trial: ScoredTrial) -> None:
    if trial.held_out != other.held_out:
        raise DsegymError(
            f"trials {other.trial_id} and {trial.trial_id} disagree about {trial.instance}: only one has held-out "
            "values; run them with the same version of the scenario"
        )
    for which in ("reference", "bound"):
        here, there = trial.manifest[which]["value"], other.manifest[which]["value"]
        if not math.isclose(here, there, rel_tol=REACHED):
            raise DsegymError(
                f"trials {other.trial_id} and {trial.trial_id} disagree about the {which} of {trial.instance}: "
                f"{there!r} and {here!r}; run them with the same version of the cost model"
            )


def by_entrant(trials: Sequence[ScoredTrial]) -> dict[str, list[ScoredTrial]]:
    """Entrant to its trials, by name: those with fixed hyperparameters, or all draws where there are no others."""
    found: dict[str, list[ScoredTrial]] = defaultdict(list)
    fixed = {trial.manifest["trial"]["agent"]["name"] for trial in trials if trial.draw is None}
    for trial in trials:
        if trial.draw is None or trial.agent not in fixed:
            found[trial.agent].append(trial)
    return dict(sorted(found.items()))
