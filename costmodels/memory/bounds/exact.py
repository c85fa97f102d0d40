"""The best plan of a scheduling model, and a proven lower bound, by constraint programming.

The model has what the binary relaxation has, and: where each buffer lies in fast memory, for how long its copies take
its granules, and how many ticks a copy takes from which instruction. It may place copies better than the rules do.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..discrete import NONE, DiscreteProgram
from .relaxation import SOLVER_TOLERANCE, lower_bound
from .uses import Use, by_instruction, choices_of, uses_of

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

__all__ = ["BestPlan", "best_plan"]

_Expression: TypeAlias = "cp_model.LinearExpr | int"


@dataclass(frozen=True, eq=False)
class BestPlan:
    """A lower bound from the scheduling model, and the plan of its best solution."""

    value_ticks: int  # no plan is faster
    optimal: bool  # whether the plan's latency in the model is that, to 2e-6; if its own latency is, too, it is optimal
    plan: np.ndarray  # int8[R], 0 Drop, 1 NoCopy, 2 Copy


def best_plan(discrete: DiscreteProgram, *, time_limit_s: float = 60.0, workers: int = 2) -> BestPlan:
    """The best plan that is found in time, with a bound; for programs of up to about 60 accesses.

    Args:
        discrete: the instance.
        time_limit_s: s; a quarter of it at most is the binary relaxation's, which the model starts from.
        workers: the solver's threads.
    """
    from ortools.sat.python import cp_model

    started = time.perf_counter()
    relaxed = lower_bound(discrete, method="binary", time_limit_s=time_limit_s / 4)
    model = _Model(discrete, cp_model.CpModel(), relaxed.value_ticks)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.relative_gap_limit = 2 * SOLVER_TOLERANCE  # the last ticks are the hardest to prove
    solver.parameters.max_time_in_seconds = max(0.1, time_limit_s - (time.perf_counter() - started))
    status = solver.solve(model.sat)
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    plan = model.plan(solver) if found else np.zeros(len(model.uses), np.int8)
    bound = math.ceil(solver.best_objective_bound - 1e-6) * model.unit
    value = max(math.ceil(relaxed.value_ticks * (1.0 - 1e-12)), bound)
    return BestPlan(value, status == cp_model.OPTIMAL, plan)


class _Model:
    """The model of an instance, in units of the greatest common divisor of its times, and the way back to a plan.

    Granules are rectangles over instructions and addresses: those of an access from when they are taken, and those of a
    write-back after the residence.
    """

    def __init__(self, discrete: DiscreteProgram, sat: cp_model.CpModel, relaxed_ticks: float) -> None:
        a = discrete.arrays
        self.sat, self.uses = sat, uses_of(discrete)
        self.length, self.capacity, self.may_stall = len(a.compute), int(a.capacity), bool(a.stalls_allowed)
        self.unit = math.gcd(*(int(x) for x in (*a.compute, *a.slow, *a.fast, *a.copy))) or 1
        at = by_instruction(self.uses, self.length)
        self.compute = [int(x) // self.unit for x in a.compute]
        self.all_slow = [sum(self.uses[r].slow // self.unit for r in accesses) for accesses in at]
        all_fast = [sum(self.uses[r].fast // self.unit for r in accesses) for accesses in at]
        # Ticks that copies can use of an instruction: if all accesses are to slow memory, and at most.
        self.early_idle = [max(0, compute - slow) for compute, slow in zip(self.compute, self.all_slow, strict=True)]
        self.most_idle = [max(compute, fast) for compute, fast in zip(self.compute, all_fast, strict=True)]

        self.choices = choices_of(self.uses, lambda: sat.new_bool_var(""))
        self.served: list[_Expression] = [sum(served) for served in self.choices.served()]
        self.offsets = {  # per access that can be in fast memory
            r: sat.new_int_var(0, self.capacity - use.granules, "") for r, use in enumerate(self.uses) if use.movable
        }
        self.begins: dict[int, cp_model.IntVar] = {}  # per access: from when its granules are taken
        self.lacking: dict[int, _Expression] = {}  # per saving output: it is in fast, but not in slow memory
        self.stalls: list[cp_model.IntVar] = []
        self.sold: list[list[cp_model.IntVar]] = [[] for _ in range(self.length)]
        self.sold_early: list[list[cp_model.IntVar]] = [[] for _ in range(self.length)]
        self.spans: list[cp_model.IntervalVar] = []  # of the rectangles, over instructions
        self.places: list[cp_model.IntervalVar] = []  # of the rectangles, over granules
        self.needs: list[int] = []  # of the rectangles, granules

        for r, use in enumerate(self.uses):
            if use.movable:
                self._add_access(r, use)
        for r, use in enumerate(self.uses):
            self._add_write_backs(r, use)
        if self.spans:
            sat.add_no_overlap_2d(self.spans, self.places)
            sat.add_cumulative(self.spans, self.needs, self.capacity)
        total = sum(self._add_instruction(t, accesses) for t, accesses in enumerate(at)) + sum(self.stalls)
        sat.add(total >= math.ceil(relaxed_ticks / self.unit * (1.0 - 1e-12)))
        sat.minimize(total)

    def plan(self, solver: cp_model.CpSolver) -> np.ndarray:
        """The plan of the solver's best solution, int8[R]."""
        plan = np.zeros(len(self.uses), np.int8)
        for r, served in enumerate(self.served):
            if solver.value(served):
                copies = [x for x in (self.choices.fetched[r], self.choices.early[r]) if x is not None]
                plan[r] = 2 if any(solver.value(x) for x in copies) else 1
        return plan

    def _add_access(self, r: int, use: Use) -> None:
        """What serves an access, where its granules lie and from when, and what slow memory must get for it."""
        sat, t, offset, served = self.sat, use.instruction, self.offsets[r], self.served[r]
        kept, fetched, late, early = (
            column[r] for column in (self.choices.kept, self.choices.fetched, self.choices.late, self.choices.early)
        )
        begin = sat.new_int_var(use.start if kept is not None or fetched is not None else t, t, "")
        self.begins[r] = begin
        sat.add(served <= 1)
        if kept is not None:
            if use.leads:
                sat.add(begin == use.start).only_enforce_if(kept)
            if use.previous != NONE:
                sat.add(kept <= self.served[use.previous])
            before = self.offsets[use.previous] if use.previous != NONE else use.resident_offset
            sat.add(offset == before).only_enforce_if(kept)
        if fetched is not None:
            for i, used in self._copy(fetched, use.start, t, use.copy // self.unit, stall=self.may_stall, ahead=False):
                sat.add(begin <= i).only_enforce_if(used)
        if use.leads:
            present = sat.new_bool_var("")
            sat.add(present == served)
            self._add_rectangle(begin, t + 1, offset, use.granules, present)
        if late is not None:
            stays = 0 if kept is None else kept
            lacking = self.lacking[use.origin] = self.lacking[use.origin] - late
            sat.add(lacking <= stays)
            sat.add(late <= 1 - stays)
            sat.add(late <= self.served[use.previous])
            self._write_back(use.previous, late, t, ahead=False, follower=r)
        if use.saves:
            self.lacking[r] = served - (0 if early is None else early)

    def _add_write_backs(self, r: int, use: Use) -> None:
        """The write-backs that the player asks for: an output's Copy, and what the program returns."""
        early, final = self.choices.early[r], self.choices.final[r]
        if early is not None:
            self.sat.add(early <= self.served[r])
            self._write_back(r, early, self.uses[use.following].instruction, ahead=True, follower=use.following)
        if final is not None:
            source = r if use.is_output else use.origin
            if source != NONE:
                self.sat.add(self.lacking[source] <= final)
            self.sat.add(final <= self.served[r])
            self._write_back(r, final, self.length, ahead=True, follower=NONE)

    def _write_back(self, r: int, active: cp_model.IntVar, end: int, *, ahead: bool, follower: int) -> None:
        """The write-back of what access r left in fast memory, in the gap before access `follower` or the end."""
        sat, use = self.sat, self.uses[r]
        stall = self.may_stall or not ahead or follower == NONE  # only what the player asks for may not
        taken = self._copy(active, use.instruction + 1, end, use.copy // self.unit, stall=stall, ahead=ahead)
        if not taken:
            return
        leave, alone = sat.new_int_var(use.instruction + 2, end, ""), sat.new_bool_var("")
        stays = self.choices.kept[follower] if follower != NONE else None
        for t, used in taken:
            # While the buffer stays, the granules count anyway.
            sat.add(leave >= t + 1).only_enforce_if(used)
            sat.add_bool_or([~used, alone] if stays is None else [~used, alone, stays])
        self._add_rectangle(use.instruction + 1, leave, self.offsets[r], use.granules, alone)
        fetched = self.choices.fetched[follower] if follower != NONE else None
        if fetched is not None:
            sat.add(leave <= self.begins[follower]).only_enforce_if([alone, fetched])

    def _copy(
        self, active: cp_model.IntVar, first: int, end: int, ticks: int, *, stall: bool, ahead: bool
    ) -> list[tuple[int, cp_model.IntVar]]:
        """A copy with idle ticks of instructions first ... end - 1: (instruction, whether it uses some) of each."""
        sat, parts, taken = self.sat, [], []
        for t in range(first, end):
            most = min(ticks, self.early_idle[t] if ahead else self.most_idle[t])
            if most > 0:
                part, used = sat.new_int_var(0, most, ""), sat.new_bool_var("")
                sat.add(part <= most * used)
                sat.add_implication(used, active)
                self.sold[t].append(part)
                if ahead:
                    self.sold_early[t].append(part)
                parts.append(part)
                taken.append((t, used))
        if stall and ticks:
            self.stalls.append(sat.new_int_var(0, ticks, ""))
            parts.append(self.stalls[-1])
        sat.add(sum(parts) == ticks * active)
        return taken

    def _add_rectangle(
        self,
        begin: _Expression,
        end: _Expression,
        offset: cp_model.IntVar,
        granules: int,
        present: cp_model.IntVar,
    ) -> None:
        self.spans.append(self.sat.new_optional_interval_var(begin, end - begin, end, present, ""))
        self.places.append(self.sat.new_optional_fixed_size_interval_var(offset, granules, present, ""))
        self.needs.append(granules)

    def _add_instruction(self, t: int, accesses: list[int]) -> cp_model.IntVar:
        """How long an instruction lasts, so that it supplies what copies use of it."""
        uses = [(self.uses[r], self.served[r]) for r in accesses]
        gains = sum((use.slow - use.fast) // self.unit * served for use, served in uses)
        quiet = sum(use.slow // self.unit * served for use, served in uses)
        compute, all_slow = self.compute[t], self.all_slow[t]
        highest = max(compute, sum(max(use.slow, use.fast) // self.unit for use, _ in uses))
        span = self.sat.new_int_var(compute, highest, "")
        self.sat.add(span >= all_slow - gains)
        if self.sold[t]:
            self.sat.add(sum(self.sold[t]) <= span - all_slow + quiet)
        if self.sold_early[t]:
            self.sat.add(sum(self.sold_early[t]) <= self.early_idle[t])
        return span
