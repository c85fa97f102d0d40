"""What trials attain of a front: their hypervolumes relative to the best known one, and empirical attainment.

T trials, F designs on the best known front, m costs; all costs are positive and to be minimised. The empirical
attainment function (Grunert da Fonseca, Fonseca and Hall, EMO 2001) of a point is the share of trials of which some
design is at least as good in every cost; here it is taken at the points of the best known front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...envs.core.problem import ENUMERABLE, Problem
from .fronts import Costs, Front, costs_of, front_of, hypervolume, non_dominated
from .statistics import stratified_bootstrap

__all__ = ["NEAR", "AgentAttainment", "Attainment", "attainment", "attainment_of"]

NEAR = 0.05  # relative, in every cost: what counts as near a point of the front
_ROUNDING = 1e-6  # relative, to which costs are verified
_SEED = 0  # of the bootstrap


@dataclass(frozen=True)
class AgentAttainment:
    """What an agent's trials on one instance attain."""

    agent: str
    trials: int  # T
    hypervolume: float | None  # mean over the trials, relative to the best known front's; None where that has none
    low: float | None  # of the mean's bootstrap interval of 95 % over the trials; None of a single trial, and likewise
    high: float | None
    attained: NDArray[np.float64]  # [F], the share of trials that attain each point of the best known front
    near: NDArray[np.float64]  # [F], likewise within `NEAR`


@dataclass(frozen=True)
class Attainment:
    """Of all agents on one instance."""

    front: Front  # the best known, or the proven one
    proven: bool  # whether every design was costed for it
    agents: tuple[AgentAttainment, ...]  # the largest mean hypervolume first


def attainment(fronts: Sequence[Costs], points: Costs, slack: float = 0.0) -> NDArray[np.float64]:
    """The share of fronts, float64[f, m] each, that attain each of the points float64[F, m].

    Args:
        fronts: one a trial, at least one; empty where a trial found nothing.
        points: where the attainment function is asked for.
        slack: relative, by which every cost may be above a point's.
    """
    limits = points * (1.0 + slack)
    return np.mean([np.all(front[:, None] <= limits[None], axis=2).any(axis=0) for front in fronts], axis=0)


def attainment_of(problem: Problem, trials: Mapping[str, Sequence[NDArray[np.int32]]]) -> Attainment:
    """Costs all designs anew in the problem's costs.

    Args:
        problem: whose constraints hold for the fronts; with costs, and a reference that has a design.
        trials: {agent: the designs int32[S, n] of each of its trials}.

    Raises: as `front_of`.
    """
    space = problem.space
    proven = space.size <= ENUMERABLE
    every = [designs for mine in trials.values() for designs in mine]
    whole = space.enumerate(0, space.size) if proven else np.concatenate([np.zeros((0, len(space)), np.int32), *every])
    front = front_of(problem, whole, problem.front)
    rows = [_agent(problem, front, agent, mine) for agent, mine in trials.items() if mine]
    return Attainment(front, proven, tuple(sorted(rows, key=lambda row: (-(row.hypervolume or 0.0), row.agent))))


def _agent(problem: Problem, front: Front, agent: str, trials: Sequence[NDArray[np.int32]]) -> AgentAttainment:
    fronts, one = [], np.ones(len(front.metrics))
    for designs in trials:
        costs, feasible = costs_of(problem, np.unique(designs, axis=0), front.metrics)
        costs = costs[feasible]
        fronts.append(costs[non_dominated(costs)])
    mean, low, high = None, None, None
    if front.hypervolume:
        volumes = np.array([hypervolume(costs / front.point, one) for costs in fronts]) / front.hypervolume
        found = stratified_bootstrap([volumes], lambda values, axis: np.mean(values, axis=axis), seed=_SEED)
        mean, low, high = map(float, found)
    if len(trials) == 1:
        low, high = None, None
    return AgentAttainment(
        agent=agent,
        trials=len(trials),
        hypervolume=mean,
        low=low,
        high=high,
        attained=attainment(fronts, front.costs, _ROUNDING),
        near=attainment(fronts, front.costs, NEAR),
    )
