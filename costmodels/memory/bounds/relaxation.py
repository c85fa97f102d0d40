"""A lower bound by a linear program, or its binary version. Its rows on copies are added as they are violated."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...errors import DsegymError
from ..discrete import NONE, DiscreteProgram
from .uses import Use, by_instruction, choices_of, uses_of

if TYPE_CHECKING:
    from ortools.linear_solver import pywraplp

__all__ = ["SOLVER_TOLERANCE", "Bound", "lower_bound"]

SOLVER_TOLERANCE = 1e-6  # relative; what a mixed-integer solver's bound may be off
_CUT_TOLERANCE = 1e-5  # of the all-slow latency; a smaller violation is not worth a constraint
_CUTS_PER_ROUND = 150
_ROUNDS = 10
_NARROW = 8  # instructions; shorter intervals have their constraint from the start
_IDLE_ROUNDS = 2  # so many rounds in a row without progress are enough

_Terms = list[tuple[int, float]]  # (column, coefficient)
_Job = tuple[int, int, int, float]  # a copy: column, first instruction, deadline (the instruction before), ticks


@dataclass(frozen=True)
class Bound:
    """A lower bound on the latency of every plan."""

    value_ticks: float
    status: str  # "optimal": of the relaxation; "time limit": a weaker bound, as valid; "trivial": of no solver


class _LinearProgram:
    """Minimise cost x over 0 <= x <= upper with rows lower <= A x <= upper, kept as lists."""

    def __init__(self) -> None:
        self.cost: list[float] = []
        self.upper: list[float] = []
        self.integer: list[bool] = []
        self.rows: list[tuple[_Terms, float, float]] = []

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
    """A `_LinearProgram` in an OR-Tools solver; rows may be added between solves."""

    def __init__(self, program: _LinearProgram, name: str, *, binary: bool) -> None:
        from ortools.linear_solver import pywraplp

        self.program = program
        self.solver = pywraplp.Solver.CreateSolver(name)
        self.optimal, self.limited = pywraplp.Solver.OPTIMAL, pywraplp.Solver.NOT_SOLVED
        self.feasible = pywraplp.Solver.FEASIBLE
        make = self.solver.NumVar
        self.variables = [
            self.solver.IntVar(0, upper, "") if binary and integer else make(0.0, upper, "")
            for upper, integer in zip(program.upper, program.integer, strict=True)
        ]
        objective = self.solver.Objective()
        for variable, cost in zip(self.variables, program.cost, strict=True):
            if cost:
                objective.SetCoefficient(variable, cost)
        objective.SetMinimization()
        self.rows: list[pywraplp.Constraint] = []
        self.add_rows()

    def add_rows(self) -> None:
        infinity = self.solver.infinity()
        for terms, lower, upper in self.program.rows[len(self.rows) :]:
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

    jobs: list[_Job]
    supply: list[int]  # columns, per instruction
    stalls: list[int]  # columns: a stall before instruction t = 0 ... T; none where the copies may not stall

    def row(self, start: int, end: int) -> _Terms:
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


class _Relaxation:
    """The linear program of an instance in units of `unit` ticks, and the families whose rows are added as needed."""

    def __init__(self, discrete: DiscreteProgram, unit: float) -> None:
        self.arrays, self.uses, self.scale = discrete.arrays, uses_of(discrete), 1.0 / unit
        self.length = len(self.arrays.compute)
        self.program = _LinearProgram()
        self.choices = choices_of(self.uses, lambda: self.program.variable(1, integer=True))
        self.served = self.choices.served()
        self.lacking: dict[int, _Terms] = {}  # per saving output: it is in fast, but not in slow memory
        self.moved: list[int] = []  # per instruction: idle ticks of slow memory that copies can use
        self.widest = max(
            (use.copy / use.granules for use in self.uses if use.movable), default=0.0
        )  # ticks of copy that
        # a granule can be busy with
        self.sold_early: list[int] = []  # per instruction: those left if all accesses are to slow memory
        for r, use in enumerate(self.uses):
            if use.movable:
                self._add_access(r, use)
        load = self._loads()
        for t, accesses in enumerate(by_instruction(self.uses, self.length)):
            self._add_instruction(t, accesses, load[t])
        self.families = self._families()
        for family in self.families:
            narrow = {(first, end) for _, first, end, _ in family.jobs if end - first < _NARROW}
            for start, end in sorted(narrow | {(0, self.length)}):
                self.add_interval(family, start, end)

    def add_interval(self, family: _Family, start: int, end: int) -> None:
        """A row: the copies of a family within start ... end - 1 fit what is supplied there."""
        self.program.row(family.row(start, end), lower=0.0)

    def _add_access(self, r: int, use: Use) -> None:
        """What serves an access, and what slow memory must get for it."""
        row, served, lacking = self.program.row, self.served[r], self.lacking
        kept, early, late, final = (column[r] for column in (self.choices.kept, *self.choices[3:]))
        if len(served) > 1:
            row([(x, 1.0) for x in served], upper=1.0)
        if kept is not None and use.previous != NONE:
            row([(kept, 1.0), *((x, -1.0) for x in self.served[use.previous])], upper=0.0)
        if kept is not None and late is not None:
            lacking[use.origin].append((late, -1.0))
            row([*lacking[use.origin], (kept, -1.0)], upper=0.0)
            row([(late, 1.0), (kept, 1.0)], upper=1.0)
        if use.saves:
            lacking[r] = [(x, 1.0) for x in served] + ([(early, -1.0)] if early is not None else [])
        source = r if use.is_output else use.origin
        if final is not None and source != NONE:
            row([*lacking[source], (final, -1.0)], upper=0.0)

    def _loads(self) -> list[_Terms]:
        """Granules of fast memory that are taken at each instruction."""
        load: list[_Terms] = [[] for _ in range(self.length)]
        for use, served, kept in zip(self.uses, self.served, self.choices.kept, strict=True):
            if use.leads:
                load[use.instruction] += [(x, float(use.granules)) for x in served]
            if kept is not None:
                for t in range(use.start, use.instruction):
                    load[t].append((kept, float(use.granules)))
        return load

    def _add_instruction(self, t: int, accesses: Sequence[int], load: _Terms) -> None:
        """How long an instruction lasts, what slow memory can copy meanwhile, and that the load fits fast memory."""
        program, scale, capacity = self.program, self.scale, float(self.arrays.capacity)
        compute, slow = float(self.arrays.compute[t]), float(self.arrays.slow_bound[t])
        uses = [(self.uses[r], x) for r in accesses for x in self.served[r]]
        bound = max(compute, float(sum(max(self.uses[r].slow, self.uses[r].fast) for r in accesses)))
        span = program.variable(bound * scale, cost=1.0)
        program.row([(span, 1.0)], lower=compute * scale)
        program.row([(span, 1.0), *((x, (use.slow - use.fast) * scale) for use, x in uses)], lower=slow * scale)
        moved, sold_early = program.variable(bound * scale), program.variable(max(compute - slow, 0.0) * scale)
        quiet = [(x, use.slow * scale) for use, x in uses]
        program.row([(span, 1.0), *quiet, (moved, -1.0), (sold_early, -1.0)], lower=slow * scale)
        if load:
            program.row(load, upper=capacity)
        if self.widest > 0:
            program.row([(moved, 1.0 / (self.widest * scale)), *load], upper=capacity)
        self.moved.append(moved)
        self.sold_early.append(sold_early)

    def _families(self) -> list[_Family]:
        """The copies by what they may use: idle ticks as they turn out, or those that there are anyway."""
        fetches, backs, starts, ends = [], [], [], []
        for use, fetched, early, late, final in zip(
            self.uses, self.choices.fetched, self.choices.early, self.choices.late, self.choices.final, strict=True
        ):
            after, ticks = use.instruction + 1, use.copy * self.scale
            if fetched is not None:
                fetches.append((fetched, use.start, use.instruction, ticks))
            if late is not None:
                backs.append((late, use.start, use.instruction, self.uses[use.origin].copy * self.scale))
            if early is not None:
                starts.append((early, after, max(after, self.uses[use.following].instruction), ticks))
            if final is not None:
                ends.append((final, after, self.length, ticks))
        families = [
            _Family(fetches + backs, self.moved, self._stalls()),
            _Family(starts + ends, self.sold_early, self._stalls()),
        ]
        if not self.arrays.stalls_allowed:  # only forced copies may stall
            families += [_Family(fetches, self.moved, []), _Family(starts, self.sold_early, [])]
        return families

    def _stalls(self) -> list[int]:
        most = sum(3.0 * use.copy for use in self.uses if use.movable) * self.scale
        return [self.program.variable(most, cost=1.0) for _ in range(self.length + 1)]


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
    relaxation = _Relaxation(discrete, unit)
    program = relaxation.program
    solver = _Solver(program, "GLOP", binary=False)
    tolerance = _CUT_TOLERANCE * discrete.all_slow_ticks / unit
    without_cuts, duals, idle_rounds = len(program.rows), [], 0
    for _ in range(_ROUNDS):
        if left() <= 0 or solver.solve(left()) != solver.optimal:
            status = "time limit"
            break
        duals = solver.duals()
        value = program.proven(duals) * unit
        idle_rounds = idle_rounds + 1 if value <= best * (1.0 + SOLVER_TOLERANCE) and status == "optimal" else 0
        best, status = max(best, value), "optimal"
        if idle_rounds == _IDLE_ROUNDS:
            break
        values = solver.values()
        cuts = sorted(
            ((*cut, family) for family in relaxation.families for cut in family.violated(values, tolerance)),
            key=lambda c: -c[0],
        )
        if not cuts:
            break
        for _, start, end, family in cuts[:_CUTS_PER_ROUND]:
            relaxation.add_interval(family, start, end)
        solver.add_rows()
    if method == "binary":
        status = "time limit"
        if left() > 0:
            cuts = zip(program.rows[without_cuts:], duals[without_cuts:], strict=False)
            program.rows = program.rows[:without_cuts] + [row for row, dual in cuts if dual != 0]
            solver = _Solver(program, "SCIP", binary=True)
            answer = solver.solve(left())
            bound = solver.solver.Objective().BestBound() * unit
            if answer in (solver.optimal, solver.feasible, solver.limited) and math.isfinite(bound):
                best = max(best, bound * (1.0 - SOLVER_TOLERANCE))
            status = "optimal" if answer == solver.optimal else "time limit"
    return Bound(best, status)
