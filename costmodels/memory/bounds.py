"""Proven lower bounds on the latency of every plan of the memory-mapping game, and optima of small programs.

`lower_bound` is a linear program (or its binary version), `exact` a scheduling model. Both are relaxations: every plan
under the rules of `docs/memory_mapping.md` is a solution that costs no more than the plan's latency. What they keep of
the rules: which access is served from where, what fast memory holds at every instruction, and that slow memory's
bandwidth is sold once, within the window of each copy. What they leave out: where in fast memory a buffer lies (`exact`
keeps that), and that the rules place copies greedily.

OR-Tools is an optional dependency and imported where it is used.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from ..errors import DsegymError
from .discrete import NONE, DiscreteProgram

__all__ = ["Bound", "Exact", "exact", "lower_bound"]

_SOLVER_TOLERANCE = 1e-6  # relative; what a mixed-integer solver's bound may be off
_CUT_TOLERANCE = 1e-5  # of the all-slow latency; a smaller violation is not worth a constraint
_CUTS_PER_ROUND = 150
_ROUNDS = 10
_NARROW = 8  # instructions; shorter intervals have their constraint from the start
_IDLE_ROUNDS = 2  # so many rounds in a row without progress are enough


@dataclass(frozen=True)
class Bound:
    """A lower bound on the latency of every plan."""

    value_ticks: float
    method: Literal["linear", "binary"]
    status: str  # "optimal": of the relaxation; "time limit": a weaker bound, as valid; "trivial": of no solver
    solve_s: float


@dataclass(frozen=True, eq=False)
class Exact:
    """A lower bound from the scheduling model, and the plan of its best solution."""

    value_ticks: int  # no plan is faster
    model_ticks: int  # the best solution's latency in the model; the plan's own latency may be more
    optimal: bool  # whether the two are equal, to 2e-6. If the plan's latency is, too, the plan is optimal
    plan: np.ndarray  # int8[R], 0 Drop, 1 NoCopy, 2 Copy
    status: str
    solve_s: float


class _Use(NamedTuple):
    """One access, with its place in the history of its storage: a buffer, or an alias group from one to the next."""

    instruction: int
    buffer: int
    is_output: bool
    slow: int
    fast: int
    granules: int
    copy: int  # ticks
    movable: bool  # whether the buffer can be in fast memory at all
    previous: int  # the access before it in the same storage, or NONE
    following: int  # the access after it, or NONE
    start: int  # first instruction after the previous access, or 0; at most `instruction`
    keepable: bool  # whether it may find the storage in fast memory
    copyable: bool  # whether the rules allow action Copy
    origin: int  # the access that wrote what the storage held before this access, or NONE if slow memory has it anyway
    leads: bool  # whether it is its storage's first access at this instruction: the one whose granules count
    live_out_last: bool  # whether it is the last access of a buffer that the program returns


def _uses(discrete: DiscreteProgram) -> list[_Use]:
    a = discrete.arrays
    count = len(a.instruction)
    previous, following, last = [NONE] * count, [NONE] * count, {}
    resident, writer = [False] * count, {}
    origin = [NONE] * count
    for r in range(count):
        buffer = int(a.buffer[r])
        holder = int(a.predecessor[buffer]) if a.is_output[r] else buffer
        if holder in last:
            previous[r] = last[holder]
            following[last[holder]] = r
        elif holder != NONE:
            resident[r] = bool(a.resident_offset[holder] != NONE)
        origin[r] = writer.get(holder, NONE)
        if a.is_output[r] and not a.in_slow[buffer]:
            writer[buffer] = r
        last[buffer] = r
    capacity = int(a.capacity)
    uses = []
    for r in range(count):
        t, buffer, before = int(a.instruction[r]), int(a.buffer[r]), previous[r]
        movable = 0 < int(a.granules[buffer]) <= capacity
        uses.append(
            _Use(
                instruction=t,
                buffer=buffer,
                is_output=bool(a.is_output[r]),
                slow=int(a.slow[r]),
                fast=int(a.fast[r]),
                granules=int(a.granules[buffer]),
                copy=int(a.copy[buffer]),
                movable=movable,
                previous=before,
                following=following[r],
                start=min(int(a.instruction[before]) + 1, t) if before != NONE else 0,
                keepable=movable and (before != NONE or resident[r]),
                copyable=movable and bool(a.copy_allowed[r]),
                origin=origin[r],
                leads=before == NONE or int(a.instruction[before]) != t,
                live_out_last=bool(a.live_out[buffer])
                and not a.in_slow[buffer]
                and (following[r] == NONE or int(a.buffer[following[r]]) != buffer),
            )
        )
    return uses


class _Model:
    """Minimise cost x over 0 <= x <= upper with rows lower <= A x <= upper, kept as lists."""

    def __init__(self) -> None:
        self.cost: list[float] = []
        self.upper: list[float] = []
        self.integer: list[bool] = []
        self.rows: list[tuple[list[tuple[int, float]], float, float]] = []

    def variable(self, upper: float, *, cost: float = 0.0, integer: bool = False) -> int:
        self.cost.append(cost)
        self.upper.append(upper)
        self.integer.append(integer)
        return len(self.cost) - 1

    def row(self, terms: Iterable[tuple[int, float]], *, lower: float = -math.inf, upper: float = math.inf) -> None:
        merged: dict[int, float] = {}
        for column, coefficient in terms:
            merged[column] = merged.get(column, 0.0) + coefficient
        self.rows.append((list(merged.items()), lower, upper))

    def proven(self, duals: Sequence[float]) -> float:
        """The Lagrangian bound of any multipliers: it needs no trust in the solver that found them."""
        reduced, terms = list(self.cost), []
        for dual, (row, lower, upper) in zip(duals, self.rows, strict=True):
            side = lower if dual > 0 else upper
            if dual == 0 or math.isinf(side):
                continue
            terms.append(dual * side)
            for column, coefficient in row:
                reduced[column] -= dual * coefficient
        terms += [value * upper for value, upper in zip(reduced, self.upper, strict=True) if value < 0]
        return math.fsum(terms)


class _Solver:
    """A `_Model` in an OR-Tools solver; rows may be added between solves."""

    def __init__(self, model: _Model, name: str, *, binary: bool) -> None:
        from ortools.linear_solver import pywraplp

        self.model = model
        self.solver = pywraplp.Solver.CreateSolver(name)
        self.optimal, self.limited = pywraplp.Solver.OPTIMAL, pywraplp.Solver.NOT_SOLVED
        self.feasible = pywraplp.Solver.FEASIBLE
        make = self.solver.NumVar
        self.variables = [
            self.solver.IntVar(0, upper, "") if binary and integer else make(0.0, upper, "")
            for upper, integer in zip(model.upper, model.integer, strict=True)
        ]
        objective = self.solver.Objective()
        for variable, cost in zip(self.variables, model.cost, strict=True):
            if cost:
                objective.SetCoefficient(variable, cost)
        objective.SetMinimization()
        self.rows: list[Any] = []
        self.add_rows()

    def add_rows(self) -> None:
        infinity = self.solver.infinity()
        for terms, lower, upper in self.model.rows[len(self.rows) :]:
            row = self.solver.Constraint(max(lower, -infinity), min(upper, infinity))
            for column, coefficient in terms:
                row.SetCoefficient(self.variables[column], coefficient)
            self.rows.append(row)

    def solve(self, time_limit_s: float) -> int:
        self.solver.SetTimeLimit(max(1, int(time_limit_s * 1000)))
        return self.solver.Solve()

    def values(self) -> np.ndarray:
        return np.array([variable.solution_value() for variable in self.variables])

    def duals(self) -> list[float]:
        return [row.dual_value() for row in self.rows]


@dataclass
class _Family:
    """Copies that share a supply of idle ticks: those within any interval fit what the interval supplies."""

    jobs: list[tuple[int, int, int, float]]  # column, first instruction, deadline (the instruction before), ticks
    supply: list[int]  # columns, per instruction
    stalls: list[int]  # columns: a stall before instruction t = 0 ... T; none where the copies may not stall

    def row(self, start: int, end: int) -> list[tuple[int, float]]:
        """Supply less demand of the interval start ... end - 1, which must not be negative."""
        terms = [(column, -ticks) for column, first, deadline, ticks in self.jobs if first >= start and deadline <= end]
        terms += [(column, 1.0) for column in self.supply[start:end]]
        return terms + [(column, 1.0) for column in self.stalls[start : end + 1]]

    def violated(self, values: np.ndarray, tolerance: float) -> list[tuple[float, int, int]]:
        """(lack per instruction, start, end) of intervals that lack supply: the worst of each start and of each end."""
        length = len(self.supply)
        demand = np.zeros((length + 1, length + 1))
        for column, first, deadline, ticks in self.jobs:
            demand[first, deadline] += ticks * values[column]
        demand = np.cumsum(np.cumsum(demand[::-1], axis=0)[::-1], axis=1)  # [start, end]
        supply = np.concatenate([[0.0], np.cumsum(values[self.supply])])
        lack = demand - (supply[None, :] - supply[:, None])
        if self.stalls:
            stalls = np.concatenate([[0.0], np.cumsum(values[self.stalls])])
            lack -= stalls[None, 1:] - stalls[:-1, None]
        lack[np.tril_indices(length + 1, -1)] = -math.inf
        instruction = np.arange(length + 1)
        density = lack / np.maximum(1 + instruction[None, :] - instruction[:, None], 1)  # short intervals: sparse rows
        found = {(int(density[:, end].argmax()), end) for end in range(length + 1)}
        found |= {(start, int(density[start].argmax())) for start in range(length + 1)}
        return [(density[place], *place) for place in sorted(found) if lack[place] > tolerance]


def _relaxation(discrete: DiscreteProgram, unit: float) -> tuple[_Model, list[_Family]]:
    """The relaxation in units of `unit` ticks, without the rows that `_Family` adds."""
    a, uses, model = discrete.arrays, _uses(discrete), _Model()
    length, capacity = len(a.compute), float(a.capacity)
    stalls_allowed = bool(a.stalls_allowed)
    at: list[list[int]] = [[] for _ in range(length)]
    for r, use in enumerate(uses):
        at[use.instruction].append(r)

    # What serves each access: kept since the previous one, fetched for it, or (outputs) newly written.
    kept = [model.variable(1, integer=True) if use.keepable else None for use in uses]
    fetched = [model.variable(1, integer=True) if use.copyable and not use.is_output else None for use in uses]
    written = [
        model.variable(1, integer=True) if use.is_output and use.movable and a.predecessor[use.buffer] == NONE else None
        for use in uses
    ]
    served = [[x for x in columns if x is not None] for columns in zip(kept, fetched, written, strict=True)]
    # Write-backs: by an output's Copy, before an access that does not find its storage in fast memory, at the end.
    early: list[int | None] = [None] * len(uses)
    late: list[int | None] = [None] * len(uses)
    final: list[int | None] = [None] * len(uses)
    for r, use in enumerate(uses):
        if not use.movable:
            continue
        if use.is_output and use.copyable and use.following != NONE and not a.in_slow[use.buffer]:
            early[r] = model.variable(1, integer=True)
        if use.origin != NONE:
            late[r] = model.variable(1, integer=True)
        if use.live_out_last:
            final[r] = model.variable(1, integer=True)

    available: dict[int, list[tuple[int, float]]] = {}  # per writing access: 1 - (what slow memory holds of the buffer)
    for r, use in enumerate(uses):
        if not use.movable:
            continue
        if len(served[r]) > 1:
            model.row([(x, 1.0) for x in served[r]], upper=1.0)
        keep, back, last = kept[r], late[r], final[r]
        if keep is not None and use.previous != NONE:
            model.row([(keep, 1.0), *((x, -1.0) for x in served[use.previous])], upper=0.0)
        if keep is not None and back is not None:
            available[use.origin].append((back, -1.0))
            model.row([*available[use.origin], (keep, -1.0)], upper=0.0)
            model.row([(back, 1.0), (keep, 1.0)], upper=1.0)
        if use.is_output and not a.in_slow[use.buffer]:
            ahead = early[r]
            available[r] = [(x, 1.0) for x in served[r]] + ([(ahead, -1.0)] if ahead is not None else [])
        source = r if use.is_output else use.origin
        if last is not None and source != NONE:
            model.row([*available[source], (last, -1.0)], upper=0.0)

    # Time, and what slow memory can copy meanwhile.
    scale = 1.0 / unit
    base_slow = np.asarray(a.slow_bound, float)
    widest = max(
        (use.copy / use.granules for use in uses if use.movable), default=0.0
    )  # ticks of copy that a granule can be busy with
    slack_idle = np.maximum(np.asarray(a.compute, float) - base_slow, 0.0)
    copies_total = sum(3.0 * use.copy for use in uses if use.movable) * scale
    moved, sold_early = [], []
    load: list[list[tuple[int, float]]] = [[] for _ in range(length)]
    for r, use in enumerate(uses):
        if use.leads:
            load[use.instruction] += [(x, float(use.granules)) for x in served[r]]
        keep = kept[r]
        if keep is not None:
            for t in range(use.start, use.instruction):
                load[t].append((keep, float(use.granules)))
    for t in range(length):
        bound = max(float(a.compute[t]), float(sum(max(uses[r].slow, uses[r].fast) for r in at[t])))
        span = model.variable(bound * scale, cost=1.0)
        gains = [(x, (uses[r].slow - uses[r].fast) * scale) for r in at[t] for x in served[r]]
        model.row([(span, 1.0)], lower=float(a.compute[t]) * scale)
        model.row([(span, 1.0), *gains], lower=base_slow[t] * scale)
        moved.append(model.variable(bound * scale))
        sold_early.append(model.variable(slack_idle[t] * scale))
        quiet = [(x, uses[r].slow * scale) for r in at[t] for x in served[r]]
        model.row([(span, 1.0), *quiet, (moved[t], -1.0), (sold_early[t], -1.0)], lower=base_slow[t] * scale)
        if load[t]:
            model.row(load[t], upper=capacity)
        if widest > 0:
            busy = widest * scale
            model.row([(moved[t], 1.0 / busy), *load[t]], upper=capacity)

    def stalls() -> list[int]:
        return [model.variable(copies_total, cost=1.0) for _ in range(length + 1)]

    fetches = [
        (x, use.start, use.instruction, use.copy * scale) for x, use in zip(fetched, uses, strict=True) if x is not None
    ]
    backs = [
        (x, use.start, use.instruction, uses[use.origin].copy * scale)
        for x, use in zip(late, uses, strict=True)
        if x is not None
    ]
    starts = [
        (x, use.instruction + 1, max(use.instruction + 1, uses[use.following].instruction), use.copy * scale)
        for x, use in zip(early, uses, strict=True)
        if x is not None
    ]
    ends = [
        (x, use.instruction + 1, length, use.copy * scale) for x, use in zip(final, uses, strict=True) if x is not None
    ]
    families = [
        _Family(fetches + backs, moved, stalls()),
        _Family(starts + ends, sold_early, stalls()),
    ]
    if not stalls_allowed:  # only forced copies may stall
        families += [_Family(fetches, moved, []), _Family(starts, sold_early, [])]
    for family in families:
        narrow = {(first, end) for _, first, end, _ in family.jobs if end - first < _NARROW}
        for start, end in sorted(narrow | {(0, length)}):
            model.row(family.row(start, end), lower=0.0)
    return model, families


def lower_bound(
    discrete: DiscreteProgram, *, method: Literal["linear", "binary"] = "linear", time_limit_s: float = 60.0
) -> Bound:
    """A proven lower bound on the latency of every plan, in ticks.

    Args:
        discrete: the instance.
        method: `linear`, or `binary` (tighter, slower).
        time_limit_s: s; when it is over, the best bound so far is returned.

    Raises:
        DsegymError: there is no such method.
    """
    if method not in ("linear", "binary"):
        raise DsegymError(f"Unknown method '{method}'; there are: linear, binary.")
    started = time.perf_counter()

    def left() -> float:
        return time_limit_s - (time.perf_counter() - started)

    unit = max(1.0, discrete.all_slow_ticks / len(discrete.arrays.compute))
    best, status = float(discrete.all_fast_ticks), "trivial"
    model, families = _relaxation(discrete, unit)
    solver = _Solver(model, "GLOP", binary=False)
    tolerance = _CUT_TOLERANCE * discrete.all_slow_ticks / unit
    without_cuts, duals, idle_rounds = len(model.rows), [], 0
    for _ in range(_ROUNDS):
        if left() <= 0 or solver.solve(left()) != solver.optimal:
            status = "time limit"
            break
        duals = solver.duals()
        value = model.proven(duals) * unit
        idle_rounds = idle_rounds + 1 if value <= best * (1.0 + _SOLVER_TOLERANCE) and status == "optimal" else 0
        best, status = max(best, value), "optimal"
        if idle_rounds == _IDLE_ROUNDS:
            break
        values = solver.values()
        cuts = sorted(
            ((*cut, family) for family in families for cut in family.violated(values, tolerance)), key=lambda c: -c[0]
        )
        if not cuts:
            break
        for _, start, end, family in cuts[:_CUTS_PER_ROUND]:
            model.row(family.row(start, end), lower=0.0)
        solver.add_rows()
    if method == "binary":
        status = "time limit"
        if left() > 0:
            cuts = zip(model.rows[without_cuts:], duals[without_cuts:], strict=False)
            model.rows = model.rows[:without_cuts] + [row for row, dual in cuts if dual != 0]
            solver = _Solver(model, "SCIP", binary=True)
            answer = solver.solve(left())
            bound = solver.solver.Objective().BestBound() * unit
            if answer in (solver.optimal, solver.feasible, solver.limited) and math.isfinite(bound):
                best = max(best, bound * (1.0 - _SOLVER_TOLERANCE))
            status = "optimal" if answer == solver.optimal else "time limit"
    return Bound(best, method, status, time.perf_counter() - started)


def exact(discrete: DiscreteProgram, *, time_limit_s: float = 60.0, workers: int = 2) -> Exact:
    """The best plan of the scheduling model, and a proven lower bound; for programs of up to about 60 accesses.

    The model has what `lower_bound` has, and: where each buffer lies in fast memory, for how long its copies take its
    granules, and how many ticks a copy takes from which instruction. It may place copies better than the rules do.
    """
    from ortools.sat.python import cp_model

    started = time.perf_counter()
    relaxed = lower_bound(discrete, method="binary", time_limit_s=time_limit_s / 4)
    a, uses, model = discrete.arrays, _uses(discrete), cp_model.CpModel()
    length, capacity = len(a.compute), int(a.capacity)
    may_stall = bool(a.stalls_allowed)
    at: list[list[int]] = [[] for _ in range(length)]
    for r, use in enumerate(uses):
        at[use.instruction].append(r)
    unit = math.gcd(*(int(x) for x in (*a.compute, *a.slow, *a.fast, *a.copy))) or 1
    compute = [int(x) // unit for x in a.compute]
    all_slow = [sum(uses[r].slow // unit for r in at[t]) for t in range(length)]
    all_fast = [sum(uses[r].fast // unit for r in at[t]) for t in range(length)]
    early_idle = [max(0, compute[t] - all_slow[t]) for t in range(length)]
    most_idle = [max(compute[t], all_fast[t]) for t in range(length)]

    def flag(wanted: bool) -> Any:
        return model.new_bool_var("") if wanted else None

    kept = [flag(use.keepable) for use in uses]
    fetched = [flag(use.copyable and not use.is_output) for use in uses]
    written = [flag(use.is_output and use.movable and bool(a.predecessor[use.buffer] == NONE)) for use in uses]
    served: list[Any] = []
    for columns in zip(kept, fetched, written, strict=True):
        served.append(sum((x for x in columns if x is not None), start=0))
    early = [
        flag(use.is_output and use.copyable and use.following != NONE and not a.in_slow[use.buffer]) for use in uses
    ]
    late = [flag(use.movable and use.origin != NONE) for use in uses]
    final = [flag(use.movable and use.live_out_last) for use in uses]

    stalls: list[Any] = []
    sold: list[list[Any]] = [[] for _ in range(length)]
    sold_early: list[list[Any]] = [[] for _ in range(length)]

    def job(active: Any, first: int, end: int, ticks: int, *, stall: bool, ahead: bool) -> list[tuple[int, Any]]:
        """A copy with idle ticks of instructions first ... end - 1: (instruction, whether it uses some) of each."""
        parts, taken = [], []
        for t in range(first, end):
            most = min(ticks, early_idle[t] if ahead else most_idle[t])
            if most > 0:
                part, used = model.new_int_var(0, most, ""), model.new_bool_var("")
                model.add(part <= most * used)
                model.add_implication(used, active)
                sold[t].append(part)
                if ahead:
                    sold_early[t].append(part)
                parts.append(part)
                taken.append((t, used))
        if stall and ticks:
            stalls.append(model.new_int_var(0, ticks, ""))
            parts.append(stalls[-1])
        model.add(sum(parts) == ticks * active)
        return taken

    # Rectangles: the granules of an access from when they are taken, and those of a write-back after the residence.
    spans, places, needs = [], [], []
    offsets = [model.new_int_var(0, capacity - use.granules, "") if use.movable else None for use in uses]
    begins: list[Any] = [None] * len(uses)

    def rectangle(begin: Any, end: Any, offset: Any, granules: int, present: Any) -> None:
        spans.append(model.new_optional_interval_var(begin, end - begin, end, present, ""))
        places.append(model.new_optional_fixed_size_interval_var(offset, granules, present, ""))
        needs.append(granules)

    def write_back(r: int, active: Any, end: int, *, ahead: bool, follower: int) -> None:
        """The write-back of what access r left in fast memory, in the gap before access `follower` or the end."""
        use = uses[r]
        stall = may_stall or not ahead or follower == NONE  # only what the player asks for may not
        taken = job(active, use.instruction + 1, end, use.copy // unit, stall=stall, ahead=ahead)
        if not taken:
            return
        leave, alone = model.new_int_var(use.instruction + 2, end, ""), model.new_bool_var("")
        stays = kept[follower] if follower != NONE else None
        for t, used in taken:
            # While the buffer stays, the granules count anyway.
            model.add(leave >= t + 1).only_enforce_if(used)
            model.add_bool_or([~used, alone] if stays is None else [~used, alone, stays])
        rectangle(use.instruction + 1, leave, offsets[r], use.granules, alone)
        if follower != NONE and fetched[follower] is not None:
            model.add(leave <= begins[follower]).only_enforce_if([alone, fetched[follower]])

    available: dict[int, Any] = {}
    for r, use in enumerate(uses):
        if not use.movable:
            continue
        t = use.instruction
        begins[r] = model.new_int_var(use.start if kept[r] is not None or fetched[r] is not None else t, t, "")
        model.add(served[r] <= 1)
        if kept[r] is not None:
            if use.leads:
                model.add(begins[r] == use.start).only_enforce_if(kept[r])
            if use.previous != NONE:
                model.add(kept[r] <= served[use.previous])
                model.add(offsets[r] == offsets[use.previous]).only_enforce_if(kept[r])
            else:
                holder = int(a.predecessor[use.buffer]) if use.is_output else use.buffer
                model.add(offsets[r] == int(a.resident_offset[holder])).only_enforce_if(kept[r])
        if fetched[r] is not None:
            for i, used in job(fetched[r], use.start, t, use.copy // unit, stall=may_stall, ahead=False):
                model.add(begins[r] <= i).only_enforce_if(used)
        if use.leads:
            present = model.new_bool_var("")
            model.add(present == served[r])
            rectangle(begins[r], t + 1, offsets[r], use.granules, present)
        if late[r] is not None:
            missing = available[use.origin] = available[use.origin] - late[r]
            model.add(missing <= (kept[r] if kept[r] is not None else 0))
            model.add(late[r] <= 1 - (kept[r] if kept[r] is not None else 0))
            model.add(late[r] <= served[use.previous])
            write_back(use.previous, late[r], t, ahead=False, follower=r)
        if use.is_output and not a.in_slow[use.buffer]:
            available[r] = served[r] - (early[r] if early[r] is not None else 0)
    for r, use in enumerate(uses):
        if early[r] is not None:
            model.add(early[r] <= served[r])
            write_back(r, early[r], uses[use.following].instruction, ahead=True, follower=use.following)
        if final[r] is not None:
            source = r if use.is_output else use.origin
            if source != NONE:
                model.add(available[source] <= final[r])
            model.add(final[r] <= served[r])
            write_back(r, final[r], length, ahead=True, follower=NONE)
    if spans:
        model.add_no_overlap_2d(spans, places)
        model.add_cumulative(spans, needs, capacity)

    times = []
    for t in range(length):
        gains = sum(((uses[r].slow - uses[r].fast) // unit * served[r] for r in at[t]), start=0)
        quiet = sum((uses[r].slow // unit * served[r] for r in at[t]), start=0)
        highest = max(compute[t], sum(max(uses[r].slow, uses[r].fast) // unit for r in at[t]))
        times.append(model.new_int_var(compute[t], highest, ""))
        model.add(times[t] >= all_slow[t] - gains)
        if sold[t]:
            model.add(sum(sold[t]) <= times[t] - all_slow[t] + quiet)
        if sold_early[t]:
            model.add(sum(sold_early[t]) <= early_idle[t])
    total = sum(times) + sum(stalls)
    model.add(total >= math.ceil(relaxed.value_ticks / unit * (1.0 - 1e-12)))
    model.minimize(total)

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.relative_gap_limit = 2 * _SOLVER_TOLERANCE  # the last ticks are the hardest to prove
    solver.parameters.max_time_in_seconds = max(0.1, time_limit_s - (time.perf_counter() - started))
    status = solver.solve(model)
    plan, model_ticks = np.zeros(len(uses), np.int8), discrete.all_slow_ticks
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        model_ticks = round(solver.objective_value) * unit
        for r in range(len(uses)):
            if solver.value(served[r]):
                copies = [x for x in (fetched[r], early[r]) if x is not None]
                plan[r] = 2 if any(solver.value(x) for x in copies) else 1
    value = max(math.ceil(relaxed.value_ticks * (1.0 - 1e-12)), math.ceil(solver.best_objective_bound - 1e-6) * unit)
    optimal = status == cp_model.OPTIMAL
    return Exact(
        value, model_ticks, optimal, plan, "optimal" if optimal else "time limit", time.perf_counter() - started
    )
