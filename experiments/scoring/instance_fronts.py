"""The fronts of a leaderboard's instances, and what each entrant attains of them: costed once, for page and tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...envs.core.problem import Problem
from ...envs.core.scenarios import load_scenario, make_problem
from ..door import check_allowed
from ..front_search import designs_of, trials_of
from ..store import TrialResult
from .attainment import NEAR, AgentAttainment, Attainment, attainment_of
from .fronts import ROOM
from .records import FrontScore, FrontTable, Instance
from .scored_trials import ScoredTrial

__all__ = ["InstanceFront", "front_tables", "instance_fronts"]


@dataclass(frozen=True)
class InstanceFront:
    """What came of the front of one instance, or of several that differ in their objective only."""

    name: str  # the scenario, and its options that are not defaults, but the objective
    instance: Instance  # the first of them
    found: Attainment | None  # None where it could not be had
    seeds: Mapping[str, tuple[int, ...]]  # {entrant: of its trials, ascending}
    problem: str = ""  # why it could not be had


def instance_fronts(
    instances: Iterable[Instance],
    results: Sequence[TrialResult],
    scored: Sequence[ScoredTrial],
    allow: Collection[str] = (),
) -> list[InstanceFront]:
    """Costs the designs of all trials anew, of each instance whose scenario declares several costs.

    Instances that differ in their objective only share a front, and all their trials count.

    Args:
        instances: of the leaderboard; their `files` are paths.
        results: the trials, in any order.
        scored: those that count, as `read_trials` returned them.
        allow: packages beside this one that may be imported, where instances name them.
    """
    entrants = {trial.trial_id: trial.agent for trial in scored}  # in an order that the trials alone determine
    by_id = {each.manifest["trial_id"]: each for each in results}
    ordered = [by_id[identifier] for identifier in entrants]
    declares: dict[str, bool] = {}  # of a scenario its first problem speaks for all: making one takes seconds
    seen: set[Hashable] = set()
    fronts = []
    for instance in instances:
        rest = {name: text for name, text in instance.options.items() if name != "objective"}
        if not declares.get(instance.scenario, True) or (instance.scenario, *rest.items()) in seen:
            continue
        try:
            check_allowed(instance.scenario, allow)
            problem = make_problem(instance.scenario, **{**instance.options, **instance.files})
            if not declares.setdefault(instance.scenario, bool(problem.front)):
                continue
            seen.add((instance.scenario, *rest.items()))
            fronts.append(
                InstanceFront(_name(instance.scenario, rest), instance, *_attained(problem, ordered, entrants))
            )
        except Exception as error:  # whatever another package's scenario raises: the leaderboard stands without it
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            fronts.append(InstanceFront(instance.name, instance, None, {}, reason))
    return fronts


def _name(scenario: str, options: Mapping[str, str]) -> str:
    """The scenario, and the options that are not its defaults."""
    own = load_scenario(scenario).changed(options)
    return f"{scenario} ({', '.join(f'{key}={text}' for key, text in own.items())})" if own else scenario


def _attained(
    problem: Problem, results: Sequence[TrialResult], entrants: Mapping[str, str]
) -> tuple[Attainment, dict[str, tuple[int, ...]]]:
    designs: dict[str, list[NDArray[np.int32]]] = defaultdict(list)
    seeds: dict[str, set[int]] = defaultdict(set)
    for trial in trials_of(problem, results):
        agent = entrants[trial.manifest["trial_id"]]
        designs[agent].append(designs_of(problem, [trial]))
        seeds[agent].add(trial.manifest["trial"]["seed"])
    return attainment_of(problem, designs), {agent: tuple(sorted(mine)) for agent, mine in seeds.items()}


def front_tables(fronts: Iterable[InstanceFront]) -> tuple[FrontTable, ...]:
    """Those that could be had, as plain records."""
    return tuple(_table(each, each.found) for each in fronts if each.found is not None)


def _table(each: InstanceFront, found: Attainment) -> FrontTable:
    front = found.front
    return FrontTable(
        name=each.name,
        scenario=each.instance.scenario,
        options={name: text for name, text in each.instance.options.items() if name != "objective"},
        kind="proven" if found.proven else "best known",
        designs=len(front.designs),
        hypervolume=front.hypervolume,
        reference_point=dict(zip(front.metrics, map(float, front.point), strict=True)),
        reference=front.reference[0] if front.reference else "",
        reference_point_per_reference=ROOM,
        near_relative=NEAR,
        scores=tuple(_score(agent, each.seeds[agent.agent]) for agent in found.agents),
    )


def _score(agent: AgentAttainment, seeds: tuple[int, ...]) -> FrontScore:
    def share(shares: NDArray[np.float64], least: float) -> float | None:
        return float(np.mean(shares >= least)) if len(shares) else None

    return FrontScore(
        agent=agent.agent,
        trials=agent.trials,
        seeds=seeds,
        relative_hypervolume=agent.hypervolume,
        relative_hypervolume_low=agent.low,
        relative_hypervolume_high=agent.high,
        attained_by_some=share(agent.attained, np.nextafter(0, 1)),
        attained_by_half=share(agent.attained, 0.5),
        attained_by_all=share(agent.attained, 1.0),
        near_by_half=share(agent.near, 0.5),
    )
