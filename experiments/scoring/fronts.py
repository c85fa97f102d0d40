"""Fronts: of designs with several costs, those that no other beats in all of them; and how much a front dominates.

S designs, F of them on the front, m costs; all costs are positive and to be minimised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...costmodels.errors import DsegymError, UnknownNameError
from ...envs.core.evaluation import Expert
from ...envs.core.problem import Problem

__all__ = ["LEAST_COSTS", "MOST_COSTS", "Front", "costs_named", "costs_of", "front_of", "hypervolume", "non_dominated"]

LEAST_COSTS, MOST_COSTS = 2, 4  # of a front: the hypervolume's time grows with F to their number

ROOM = 2.0

Costs = NDArray[np.float64]


@dataclass(frozen=True)
class Front:
    """A front of one instance.

    Attributes:
        metrics: m names, the unit in each.
        designs: int32[F, n], ascending in the first cost.
        costs: float64[F, m].
        point: float64[m], the reference point of the hypervolume.
        hypervolume: the share of the box between zero and the point that the front dominates, from 0 to 1.
        reference: the name of the reference, and its costs, float64[m]; None where it has no design.
        experts: the machines drawn beside it.
        considered: feasible designs that it was chosen from.
    """

    metrics: tuple[str, ...]
    designs: NDArray[np.int32]
    costs: Costs
    point: Costs
    hypervolume: float
    reference: tuple[str, Costs] | None
    experts: tuple[Expert, ...]
    considered: int

    def expert_costs(self, expert: Expert) -> Costs:
        """float64[m]."""
        return np.array([expert.costs[name] for name in self.metrics])

    def beating(self, costs: Costs) -> int:
        """How many of the front are at least as good as a design of these costs in all of them, and better in one."""
        return int((np.all(self.costs <= costs, axis=1) & np.any(self.costs < costs, axis=1)).sum())


def costs_named(problem: Problem, names: Iterable[str]) -> tuple[str, ...]:
    """The costs that a user names, with or without their units; all that the problem declares where none is named.

    Raises:
        DsegymError: the problem declares no costs; or not enough, too many, or one twice are named.
        UnknownNameError: one is none of them.
    """
    if not problem.front:
        raise DsegymError(f"{problem.scenario} has no fronts: it declares no costs beside its objective.")
    short = {name.rpartition("_")[0]: name for name in problem.front}
    found = []
    for name in names:
        if name not in short and name not in problem.front:
            raise UnknownNameError("cost", name, problem.front)
        found.append(short.get(name, name))
    found = found or list(problem.front)
    if len(set(found)) < len(found):
        raise DsegymError(f"{', '.join(found)}: one cost is named twice.")
    if not LEAST_COSTS <= len(found) <= MOST_COSTS:
        raise DsegymError(f"A front has {LEAST_COSTS} to {MOST_COSTS} costs; given: {', '.join(found)}.")
    return tuple(found)


def non_dominated(costs: Costs) -> NDArray[np.intp]:
    """The places of the rows of float64[S, m] that no other row is at least as good as in all, and better in one.

    Of equal rows the first. In the order of the first cost.
    """
    order = np.lexsort(costs.T[::-1])  # whatever dominates a row comes before it
    left, found = order, []
    while left.size:
        first, rest = left[0], left[1:]
        found.append(first)
        left = rest[np.any(costs[rest] < costs[first], axis=1)]
    return np.array(found, np.intp)


def hypervolume(costs: Costs, point: Costs) -> float:
    """The volume between rows of float64[F, m] and a point: of all that a row is at least as good as, up to the point.

    Rows that are not better than the point in every cost add nothing. By slices along the last cost: exact.
    """
    inside = costs[np.all(costs < point, axis=1)]
    if not len(inside):
        return 0.0
    if costs.shape[1] == 1:
        return float(point[0] - inside.min())
    inside = inside[np.argsort(inside[:, -1], kind="stable")]
    ends = np.append(inside[1:, -1], point[-1])
    total = 0.0
    kept = inside[:0, :-1]
    for row, end in zip(inside, ends, strict=True):
        kept = np.vstack([kept, row[:-1]])
        kept = kept[non_dominated(kept)]
        if end > row[-1]:
            total += (end - row[-1]) * hypervolume(kept, point[:-1])
    return float(total)


def front_of(
    problem: Problem, designs: NDArray[np.int32], metrics: Sequence[str], point: Sequence[float] | None = None
) -> Front:
    """The front among designs, costed anew.

    Args:
        problem: the instance, whose constraints hold for the front.
        designs: int32[S, n].
        metrics: of the problem's `front`.
        point: the reference point of the hypervolume; `ROOM` times the reference's own costs when left out, so that
            the reference alone has ROOM^-m.

    Raises:
        DsegymError: no point is given and the reference has no design, or the point is no positive numbers.
    """
    unique = np.unique(problem.space.check(designs), axis=0) if len(designs) else designs
    costs, feasible = costs_of(problem, unique, metrics)
    unique, costs = unique[feasible], costs[feasible]
    places = non_dominated(costs)
    own = problem.reference.design
    reference = None if own is None else (problem.reference.name, costs_of(problem, np.array([own]), metrics)[0][0])
    if point is None:
        if reference is None:
            raise DsegymError(f"{problem.scenario}'s reference has no design: give the point of the hypervolume.")
        point = (ROOM * reference[1]).tolist()
    corner = np.array(point, np.float64)
    if corner.shape != (len(metrics),) or not np.all(np.isfinite(corner) & (corner > 0)):
        raise DsegymError(f"The point of the hypervolume is {len(metrics)} positive numbers, of {', '.join(metrics)}.")
    return Front(
        metrics=tuple(metrics),
        designs=unique[places],
        costs=costs[places],
        point=corner,
        hypervolume=hypervolume(costs[places] / corner, np.ones(len(metrics))),
        reference=reference,
        experts=tuple(problem.experts()),
        considered=len(unique),
    )


def costs_of(problem: Problem, designs: NDArray[np.int32], metrics: Sequence[str]) -> tuple[Costs, NDArray[np.bool_]]:
    """What designs int32[S, n] cost, float64[S, m], and whether they are feasible, bool[S]."""
    if not len(designs):
        return np.zeros((0, len(metrics))), np.zeros(0, bool)
    result = problem.evaluate(designs)
    columns = [np.asarray(getattr(result.metrics, name), np.float64) for name in metrics]
    return np.stack(columns, axis=1), result.feasible
