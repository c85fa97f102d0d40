"""A problem of placing slices, made of loads and prices; its exact optimum, its relaxation, and rules of thumb.

N slices, K classes, G types of GPU, S slices of a class.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import DsegymError
from .model import GPU, USD, Mix

__all__ = ["RULES", "Placement", "best_single", "cheapest_mixes", "integer_programme", "placement_of", "relaxed_usd_h"]

# That all slices together may need, wherever they go: sums stay within int32.
MOST_GPUS = 10_000
MOST_USD_H = 200_000
_INFEASIBLE = 2  # a status of scipy.optimize.milp


@dataclass(frozen=True)
class Placement:
    """Slices, and what they need where."""

    gpus: tuple[str, ...]  # [G]
    classes: tuple[str, ...]  # [K]
    slices: int  # S
    able: tuple[tuple[int, ...], ...]  # [K][...], types that can serve a class
    loads: np.ndarray  # int64[K, G] of a slice, 1/100,000 GPU; -1 where it cannot be served
    prices: np.ndarray  # int64[G], 1/10,000 $ an hour

    @property
    def class_of(self) -> np.ndarray:
        """int64[N], the class of each slice."""
        return np.repeat(np.arange(len(self.classes)), self.slices)

    @property
    def mix(self) -> Mix:
        """The arrays of the cost model."""
        most = max(map(len, self.able))
        able = np.array([(*types, *[types[0]] * (most - len(types))) for types in self.able], np.int32)
        loads = np.take_along_axis(self.loads, able, axis=1)
        rows = self.class_of
        return Mix(able[rows], loads[rows].astype(np.int32), self.prices.astype(np.int32))

    def design(self, types: np.ndarray) -> tuple[int, ...]:
        """The design that puts each slice, int64[N], on a type."""
        pairs = zip(self.class_of, types, strict=True)
        return tuple(self.able[kind].index(int(chosen)) for kind, chosen in pairs)

    def spread(self, share: np.ndarray) -> np.ndarray:
        """int64[N]: the type of each slice, where int64[K, G] says how many slices of a class a type takes."""
        return np.concatenate([np.repeat(np.arange(len(self.gpus)), row) for row in share])

    def counts(self, types: np.ndarray) -> np.ndarray:
        """int64[G]: GPUs of each type that int64[N], a type for each slice, takes."""
        loads = np.bincount(types, self.loads[self.class_of, types], len(self.gpus)).astype(np.int64)
        return -(-loads // GPU)

    def cost(self, types: np.ndarray) -> int:
        """1/10,000 $ an hour of int64[N], a type for each slice."""
        return int(np.sum(self.counts(types) * self.prices))


def placement_of(
    gpus: tuple[str, ...], prices_usd_h: Mapping[str, float], classes: list[str], loads: np.ndarray, slices: int
) -> Placement:
    """A problem of float64[K, G], loads of whole classes in GPUs.

    Raises:
        DsegymError: it takes more GPUs, or costs more, than is counted.
    """
    served = np.isfinite(loads)
    largest = float(np.where(served, loads, 0.0).max(1).sum())
    if largest > MOST_GPUS:
        raise DsegymError(f"The requests may take {largest:,.0f} GPUs; at most {MOST_GPUS:,} are counted.")
    whole = np.where(served, np.ceil(np.round(np.where(served, loads, 0.0) / slices * GPU, 6)), -1).astype(np.int64)
    prices = np.array([round(prices_usd_h[gpu] * USD) for gpu in gpus], np.int64)
    dearest = (float((np.maximum(whole, 0) * prices).max(1).sum()) * slices / GPU + float(prices.sum())) / USD
    if dearest > MOST_USD_H:
        raise DsegymError(f"The GPUs may cost {dearest:,.0f} $/h; at most {MOST_USD_H:,} are counted.")
    return Placement(
        gpus=gpus,
        classes=tuple(classes),
        slices=slices,
        able=tuple(tuple(np.flatnonzero(row).tolist()) for row in served),
        loads=np.where(served, np.maximum(whole, 1), -1),
        prices=prices,
    )


def relaxed_usd_h(placement: Placement) -> float:
    """A proven bound: fractions of GPUs, so that each slice goes where its load costs least."""
    cost = np.where(placement.loads >= 0, placement.loads * placement.prices, np.iinfo(np.int64).max)
    return float(cost.min(1).sum()) * placement.slices / (GPU * USD)


def integer_programme(placement: Placement) -> tuple[float, tuple[int, ...]]:
    """The least cost in $ an hour, and its design, by HiGHS (scipy.optimize.milp), which proves it.

    Slices of a class are alike, so that it chooses how many of them a type takes: whole numbers x[K, G] and counts
    B[G], sum_j x[k, j] = S, sum_k load[k, j] x[k, j] <= B[j]. A load is a multiple of 1/100,000, ten times the solver's
    tolerance, so that no rounding hides a GPU; the design is costed exactly all the same.

    Raises:
        DsegymError: the solver did not prove an optimum.
    """
    kinds = len(placement.gpus)
    found = _solved(placement, np.zeros(kinds), np.full(kinds, np.inf), -np.inf)
    if found is None:
        raise DsegymError("The integer programme was not solved: no mix serves all requests.")
    return found[0] / USD, placement.design(found[1])


def cheapest_mixes(placement: Placement, most: int) -> list[tuple[int, ...]]:
    """Designs of the cheapest mixes that are unlike in how many GPUs of some type they take, the cheapest first.

    What is left beside a mix is cut into boxes of counts that do not hold it, and of each box the cheapest mix is found
    (Lawler, 1972). A GPU counts only where it is needed: B[j] - 1 < sum_k load[k, j] x[k, j].

    Raises:
        DsegymError: the solver failed.
    """
    kinds = len(placement.gpus)
    boxes = [(np.zeros(kinds), np.full(kinds, np.inf))]
    waiting: list[tuple[int, int, np.ndarray, tuple[np.ndarray, np.ndarray]]] = []
    designs, turn = list[tuple[int, ...]](), itertools.count()
    while len(designs) < most:
        for box in boxes:
            found = _solved(placement, *box, -1 + 0.5 / GPU)
            if found is not None:
                heapq.heappush(waiting, (found[0], next(turn), found[1], box))
        if not waiting:
            break
        _, _, types, (least, greatest) = heapq.heappop(waiting)
        designs.append(placement.design(types))
        counts = placement.counts(types)
        boxes = []
        for j in range(kinds):
            low, high = least.copy(), greatest.copy()
            low[:j] = high[:j] = counts[:j]
            for bounds in ((low[j], counts[j] - 1), (counts[j] + 1, high[j])):
                if bounds[0] <= bounds[1]:
                    lower, upper = low.copy(), high.copy()
                    lower[j], upper[j] = bounds
                    boxes.append((lower, upper))
    return designs


def _solved(placement: Placement, least: np.ndarray, most: np.ndarray, unused: float) -> tuple[int, np.ndarray] | None:
    """1/10,000 $ an hour and int64[N], the types of the slices, of the cheapest mix with so many GPUs of each type.

    Args:
        placement: the problem.
        least, most: float64[G], GPUs of each type.
        unused: what the load of a type minus its GPUs is at least.

    Returns:
        None where there is none.

    Raises:
        DsegymError: the solver did not prove an optimum.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    classes, types = placement.loads.shape
    places = [(k, j) for k in range(classes) for j in placement.able[k]]
    width = len(places) + types
    all_slices, capacity = np.zeros((classes, width)), np.zeros((types, width))
    for column, (k, j) in enumerate(places):
        all_slices[k, column] = 1
        capacity[j, column] = placement.loads[k, j] / GPU
    capacity[:, len(places) :] = -np.eye(types)
    lowest, highest = (np.concatenate([np.full(len(places), x), y]) for x, y in ((0.0, least), (np.inf, most)))
    found = milp(
        np.concatenate([np.zeros(len(places)), placement.prices / USD]),
        constraints=[
            LinearConstraint(all_slices, placement.slices, placement.slices),
            LinearConstraint(capacity, unused, 0),
        ],
        integrality=np.ones(width),
        bounds=Bounds(lowest, highest),  # pyright: ignore[reportArgumentType]  # arrays, as its documentation says
        options={"mip_rel_gap": 0.0},
    )
    if found.status == _INFEASIBLE:
        return None
    if not found.success:
        raise DsegymError(f"The integer programme was not solved: {found.message}")
    share = np.zeros((classes, types), np.int64)
    for column, (k, j) in enumerate(places):
        share[k, j] = round(found.x[column])
    chosen = placement.spread(share)
    exact = placement.cost(chosen)
    if exact / USD > found.fun + 0.5 / USD:
        raise DsegymError(f"The integer programme's mix costs {exact / USD:g} $/h where it claims {found.fun:g} $/h.")
    return exact, chosen


def singles(placement: Placement) -> dict[str, np.ndarray]:
    """{GPU: int64[N], all slices on it}, of those that can serve all."""
    count = len(placement.classes) * placement.slices
    return {
        gpu: np.full(count, place, np.int64)
        for place, gpu in enumerate(placement.gpus)
        if all(place in types for types in placement.able)
    }


def cheapest_by_class(placement: Placement) -> np.ndarray:
    """int64[N]: each class where its load costs least: what the relaxation chooses, rounded up."""
    cost = np.where(placement.loads >= 0, placement.loads * placement.prices, np.iinfo(np.int64).max)
    return np.repeat(cost.argmin(1), placement.slices)


def best_single(placement: Placement) -> np.ndarray:
    """int64[N]: the cheapest type that serves all; each class where it is cheapest if none does."""
    able = singles(placement)
    return min(able.values(), key=placement.cost) if able else cheapest_by_class(placement)


def greedy(placement: Placement) -> np.ndarray:
    """int64[N]: slices by falling cost, each where it adds least to the bill; of equals, where its load is cheaper.

    A slice that fits into what is paid for already costs nothing.
    """
    priced = np.where(placement.loads >= 0, placement.loads * placement.prices, np.iinfo(np.int64).max)
    classes = placement.class_of
    order = np.argsort(-priced.min(1)[classes], kind="stable")
    loads, chosen = np.zeros(len(placement.gpus), np.int64), np.zeros(len(classes), np.int64)
    for each in order:
        kind = classes[each]
        types = np.array(placement.able[kind])
        after = loads[types] + placement.loads[kind, types]
        added = (-(-after // GPU) + (loads[types] // -GPU)) * placement.prices[types]
        pick = int(np.lexsort((priced[kind, types], added))[0])
        chosen[each] = types[pick]
        loads[types[pick]] = after[pick]
    return chosen


def improved(placement: Placement) -> np.ndarray:
    """int64[N]: the better of the single type and the greedy mix, slices of a class moved together while that helps."""
    best = min((best_single(placement), greedy(placement), cheapest_by_class(placement)), key=placement.cost)
    cost, classes, progress = placement.cost(best), placement.class_of, True
    while progress:
        progress = False
        for kind, types in enumerate(placement.able):
            rows = np.flatnonzero(classes == kind)
            for source in types:
                there = rows[best[rows] == source]
                for target in types:
                    for moved in range(1, len(there) + 1):
                        other = best.copy()
                        other[there[:moved]] = target
                        if placement.cost(other) < cost:
                            best, cost, progress = other, placement.cost(other), True
                            there = rows[best[rows] == source]
                            break
    return best


# Name: makes the type of each slice.
RULES = {
    "best_single": best_single,
    "cheapest_by_class": cheapest_by_class,
    "greedy": greedy,
    "improved": improved,
}
