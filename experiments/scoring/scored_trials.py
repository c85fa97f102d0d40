"""Trial results as the leaderboard scores them: what a trial found, under which entrant's name, on which instance.

The value of a trial is that of its incumbent, the sample with the least feasible objective so far: the objective
itself, or, where scores are taken on held-out cases, the incumbent's held-out value. That one may rise as the search
goes on, and it chooses nothing: which design is a trial's or an instance's best is said by what the searches saw.

A design that is feasible on the search's cases may break a constraint on the held-out ones. Its value is then the
penalty that its objective carries: a score of 0, as for a trial that found nothing, would be a reward for it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...costmodels.errors import DsegymError
from ..formats import canonical
from . import statistics

if TYPE_CHECKING:
    from ..store import TrialResult

__all__ = ["REACHED", "ScoredTrial", "by_entrant", "read_trials"]

REACHED = 1e-6  # relative; cost models compute in float32, whose rounding is 1e-7
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

    @property
    def reference(self) -> float:
        """The value that scores 0."""
        return self.manifest["reference"]["value"]

    @property
    def bound(self) -> float:
        """The value that scores 1."""
        return self.manifest["bound"]["value"]

    @property
    def value(self) -> float:
        """Of the last incumbent, `inf` where there is none."""
        return float(self.values[-1]) if self.values.size else math.inf

    @property
    def score(self) -> float:
        """Of the value; 0 where nothing feasible was found."""
        return float(statistics.score_or_reference(self.value, self.reference, self.bound))

    @property
    def score_with_reference(self) -> float:
        """Of the better of the reference and what the trial found."""
        return max(self.score, 0.0)

    @property
    def gap_percent(self) -> float:
        """How far the value is above the bound."""
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


def read_trials(results: Iterable[TrialResult]) -> list[ScoredTrial]:
    """The trials with entrants and instances named, sorted by all that identifies them.

    Takes and raises what `leaderboard.build_leaderboard` does.
    """
    results = list(results)
    if not results:
        raise DsegymError("no trial results: run the suite first, or give the directory that holds its trials")
    names = _instance_names([result.manifest["trial"]["instance"] for result in results])
    trials = [_boil_down(result, names) for result in results]
    repeated = [trial_id for trial_id, count in Counter(trial.trial_id for trial in trials).items() if count > 1]
    if repeated:
        raise DsegymError(f"trial {min(repeated)} was given more than once: give each trial once")
    trials = _name_entrants(sorted(trials, key=lambda trial: trial.identity))
    _check_unique(trials)
    _check_yardsticks(trials)
    return sorted(trials, key=lambda trial: trial.identity)


def _boil_down(result: TrialResult, names: Mapping[str, str]) -> ScoredTrial:
    manifest, trace = result.manifest, result.trace
    spec = manifest["trial"]
    found = statistics.incumbents(trace["objective"].to_numpy(), trace["feasible"].to_numpy())
    held_out = "held_out" in trace.columns
    return ScoredTrial(
        trial_id=manifest["trial_id"],
        agent=spec["agent"]["name"],
        hyperparameters=spec["agent"]["hyperparameters"],
        draw=spec["agent"]["draw"],
        instance=names[canonical(spec["instance"])],
        seed=spec["seed"],
        budget=spec["samples"],
        status=manifest["status"],
        samples=trace["sample"].to_numpy()[found].astype(np.int64),
        seconds=trace["elapsed_s"].to_numpy()[found].astype(np.float64),
        objective=trace["objective"].to_numpy()[found],
        values=trace["held_out" if held_out else "objective"].to_numpy()[found],
        held_out=held_out,
        total_s=manifest["seconds"]["total"],
        manifest=manifest,
        best_design=tuple(int(index) for index in trace["design"][int(found[-1])]) if found.size else (),
    )


def _instance_names(specs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Canonical instance to its name: what tells the instances apart, or everything where that is too little.

    Of several scenarios each is named, and the options that tell its own instances apart.
    """
    unique = {canonical(spec): spec for spec in specs}
    options = defaultdict(list)  # of a scenario
    for spec in unique.values():
        options[spec["scenario"]].append(spec["options"])
    short = {}
    for key_text, spec in unique.items():
        shown = set(spec["options"]) if len(unique) == 1 else _telling(options[spec["scenario"]])
        values = [_option(key, spec["options"][key]) for key in sorted(shown & spec["options"].keys())]
        scenario = [spec["scenario"].removeprefix("dsegym/")] if len(options) > 1 or not values else []
        short[key_text] = " · ".join([*scenario, ", ".join(values)] if values else scenario)
    taken = Counter(short.values())
    return {key_text: name if taken[name] == 1 else key_text for key_text, name in short.items()}


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
        return value
    return f"{key}={value}"


def _name_entrants(trials: Sequence[ScoredTrial]) -> list[ScoredTrial]:
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
                f"{trial.seed} (budgets {other.budget} and {trial.budget} samples): give one budget at a time"
            )


def _check_yardsticks(trials: Sequence[ScoredTrial]) -> None:
    first: dict[str, ScoredTrial] = {}
    for trial in trials:
        other = first.setdefault(trial.instance, trial)
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
        try:
            statistics.normalised_score(0.0, trial.reference, trial.bound)
        except DsegymError as error:
            raise DsegymError(f"instance {trial.instance}: {error}") from error


def by_entrant(trials: Sequence[ScoredTrial]) -> dict[str, list[ScoredTrial]]:
    """Entrant to its trials, by name: those with fixed hyperparameters, or all draws where there are no others."""
    found: dict[str, list[ScoredTrial]] = defaultdict(list)
    fixed = {trial.manifest["trial"]["agent"]["name"] for trial in trials if trial.draw is None}
    for trial in trials:
        if trial.draw is None or trial.agent not in fixed:
            found[trial.agent].append(trial)
    return dict(sorted(found.items()))
