"""Optimal static schedules by constraint programming: OR-Tools' CP-SAT, which is imported when it is asked for.

N tasks, P elements, C clusters. Minimise the makespan over a start for each task and an element that can run it. The
model and what speeds it up:

- An optional interval for each task and element; the intervals of an element do not overlap. A run time of 0 counts:
  such a task is not in the middle of another one, as in `check_schedule`.
- A transfer costs what its cheapest pair of different elements costs, less if a literal says that both tasks are on one
  element; pairs of clusters between which it costs more have a constraint of their own.
- The load cut: the run times of the tasks on an element, or on all those of a cluster, sum to the makespan at most. It
  is redundant, but gives the linear relaxation a bound.
- Elements of a cluster are interchangeable: each is used only if the one before it runs an earlier task (in the
  graph's order). Where no transfer tells them apart, the cluster is *pooled*: a task is given to the cluster, no more
  tasks run at a time than it has elements, and which element each gets is settled afterwards, in the order of starts.
- No task finishes before `earliest_finish_us`, nor later than `least_remaining_us` before the end of the best schedule
  known; elements where both cannot hold are left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import DsegymError
from ..solver import Limits, cp_sat_incumbents, is_available
from .bounds import earliest_finish_us, least_remaining_us, makespan_bound
from .heuristics import run_heuristic
from .instance import Instance
from .schedule import Schedule, check_schedule

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

__all__ = ["Solution", "improved_schedules", "solve"]

_LINEARIZATION = 2  # all that has a linear form: proofs of 20 to 40 tasks take half the time


@dataclass(frozen=True, eq=False)
class Solution:
    """The best schedule found, and what is proven."""

    schedule: Schedule  # int64[N] arrays
    bound_us: int  # no schedule has a smaller makespan
    optimal: bool  # whether the schedule's makespan is the bound


def solve(
    instance: Instance,
    *,
    hint: Schedule | None = None,
    time_limit_s: float = 60.0,
    workers: int = 2,
    seed: int = 0,
) -> Solution:
    """The shortest schedule that is found in time, with a bound. No schedule of the hint's makespan or less is lost.

    A proven makespan does not depend on luck. Which of several optimal schedules is returned, and all that a time limit
    cuts off, may differ from run to run: with more than one worker by their race, with one by the machine's speed. (To
    let the workers take turns would repeat a run, but takes several times as long.)

    Args:
        instance: what to schedule.
        hint: a schedule to start from and to be returned if none is better; HEFT's where left out.
        time_limit_s: of the solver; building the model is not counted.
        workers: the solver's threads.
        seed: of the solver.

    Raises:
        DsegymError: OR-Tools is not installed, or the hint is not a schedule of this instance.
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        raise DsegymError("The exact scheduler needs OR-Tools: python -m pip install ortools.") from None
    known = run_heuristic("heft", instance) if hint is None else hint
    check_schedule(instance, known)
    bound = makespan_bound(instance)
    if known.makespan_us == bound:
        return Solution(known, bound, True)
    model = _Model(instance, known, bound, cp_model.CpModel())
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit_s
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = seed
    solver.parameters.linearization_level = _LINEARIZATION
    status = solver.solve(model.sat)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.UNKNOWN):
        raise DsegymError(
            f"{instance.graph.name}: the solver says {solver.status_name(status)} of a model with a hint."
        )
    if status != cp_model.UNKNOWN:
        found = model.schedule(solver.value)
        known = found if found.makespan_us < known.makespan_us else known
    if math.isfinite(solver.best_objective_bound):
        bound = max(bound, math.ceil(solver.best_objective_bound - 1e-6))
    return Solution(known, bound, known.makespan_us == bound)


def improved_schedules(instance: Instance, limits: Limits) -> Generator[Schedule, None, None]:
    """Schedules, each shorter than the last: HEFT's, then CP-SAT's as it finds them.

    It ends with the proof that the last is the shortest, or at a limit.

    Raises:
        DsegymError: OR-Tools is not installed.
    """
    known, bound = run_heuristic("heft", instance), makespan_bound(instance)
    yield known
    if known.makespan_us == bound:
        return
    if not is_available():
        raise DsegymError("The exact scheduler needs OR-Tools: python -m pip install ortools.")
    from ortools.sat.python import cp_model

    model = _Model(instance, known, bound, cp_model.CpModel())
    for found in cp_sat_incumbents(model.sat, model.schedule, limits, linearization_level=_LINEARIZATION):
        if found.makespan_us < known.makespan_us:
            known = found
            yield found


class _Costs(NamedTuple):
    """What a transfer can cost, us. Pairs of clusters (of the producer, of the consumer) that are still possible."""

    apart: dict[tuple[int, int], int]  # on two different elements
    together: dict[int, int]  # on one element of a cluster, where that is not what two of its elements cost


class _Model:
    """The model of an instance, and the way back from a solution to a schedule."""

    def __init__(self, instance: Instance, known: Schedule, bound_us: int, sat: cp_model.CpModel):
        self.instance, self.sat, self.limit_us = instance, sat, known.makespan_us
        self.cluster_of = np.array(instance.platform.element_clusters)
        self.clusters = [np.flatnonzero(self.cluster_of == c).tolist() for c in range(len(instance.platform.clusters))]
        self.run_time: list[list[int]] = instance.run_time_us.tolist()
        self.earliest, self.remaining = earliest_finish_us(instance), least_remaining_us(instance)
        self.possible = self.earliest + self.remaining <= self.limit_us
        self.pooled = [self._is_pooled(elements) for elements in self.clusters]
        self.makespan = sat.new_int_var(bound_us, self.limit_us, "makespan")
        # Literals of each task by cluster, and by element where the cluster is not pooled.
        self.on_cluster: list[dict[int, cp_model.IntVar]] = []
        self.on_element: list[dict[int, cp_model.IntVar]] = []
        self.start: list[cp_model.IntVar] = []
        self.end: list[cp_model.LinearExpr] = []
        for i in range(len(instance)):
            self._add_task(i)
        for c in range(len(self.clusters)):
            self._add_cluster(c, bound_us)
        for edge, times in zip(instance.graph.edges, instance.communication_us.tolist(), strict=True):
            self._add_transfer(edge.source, edge.target, times)
        self._add_hint(known)
        sat.minimize(self.makespan)

    def schedule(self, value: Callable[[Any], int]) -> Schedule:
        """The schedule of a solution, the values of its variables and literals."""
        start = np.array([value(var) for var in self.start], np.int64)
        element = np.full(len(start), -1, np.int64)
        for i, literals in enumerate(self.on_element):
            for q, literal in literals.items():
                if value(literal):
                    element[i] = q
        for c, elements in enumerate(self.clusters):
            free_us = dict.fromkeys(elements, 0)
            members = [i for i, literals in enumerate(self.on_cluster) if c in literals and value(literals[c])]
            for i in sorted(members if self.pooled[c] else [], key=lambda i: (start[i], self.run_time[i][elements[0]])):
                element[i] = min(elements, key=lambda q: (free_us[q], q))
                free_us[element[i]] = start[i] + self.run_time[i][element[i]]
        return Schedule(element, start, start + self.instance.run_time_us[np.arange(len(start)), element])

    def _is_pooled(self, elements: list[int]) -> bool:
        """Whether which element of the cluster runs a task matters to no other task.

        A task that takes no time must not be in the middle of another one. As a head it is at 0, as a tail at the end,
        where nothing else is in the middle.
        """
        if len(elements) < 2:
            return False
        graph, (first, second, *_) = self.instance.graph, elements
        for edge, times in zip(graph.edges, self.instance.communication_us, strict=True):
            if self.possible[[edge.source, edge.target], first].all() and times[first, first] != times[first, second]:
                return False
        free = np.flatnonzero(self.possible[:, first] & (self.instance.run_time_us[:, first] == 0)).tolist()
        return all(not graph.predecessors[i] or not graph.successors[i] for i in free)

    def _add_task(self, i: int) -> None:
        able = np.flatnonzero(self.possible[i])
        able_clusters = sorted(set(self.cluster_of[able].tolist()))
        on_cluster = {c: self.sat.new_bool_var(f"task{i}_cluster{c}") for c in able_clusters}
        if len(on_cluster) == 1:
            on_cluster = dict.fromkeys(on_cluster, self.sat.new_constant(1))
        self.sat.add_exactly_one(on_cluster.values())
        on_element = {}
        for c, literal in on_cluster.items():
            elements = self.clusters[c]
            if len(elements) == 1:
                on_element[elements[0]] = literal
            elif not self.pooled[c]:
                own = {q: self.sat.new_bool_var(f"task{i}_element{q}") for q in elements}
                self.sat.add(sum(own.values()) == literal)
                on_element |= own
        run_time = self.instance.run_time_us[i, able]
        first_us = int((self.earliest[i, able] - run_time).min())
        last_us = self.limit_us - int((self.remaining[i, able] + run_time).min())
        start = self.sat.new_int_var(first_us, last_us, f"start{i}")
        length = {c: self.run_time[i][self.clusters[c][0]] for c in on_cluster}
        least = min(length.values())
        end = (
            start + least + sum((length[c] - least) * literal for c, literal in on_cluster.items() if length[c] > least)
        )
        for c, literal in on_cluster.items():
            q = self.clusters[c][0]
            if self.earliest[i, q] - length[c] > first_us:
                self.sat.add(start >= int(self.earliest[i, q]) - length[c]).only_enforce_if(literal)
            if self.remaining[i, q] > 0:
                self.sat.add(start + length[c] + int(self.remaining[i, q]) <= self.makespan).only_enforce_if(literal)
            if self.pooled[c] and not length[c]:
                at = self.makespan if self.instance.graph.predecessors[i] else 0
                self.sat.add(start == at).only_enforce_if(literal)
        self.sat.add(end <= self.makespan)
        self.on_cluster.append(on_cluster)
        self.on_element.append(on_element)
        self.start.append(start)
        self.end.append(end)

    def _interval(self, i: int, length: int, literal: cp_model.IntVar) -> cp_model.IntervalVar:
        return self.sat.new_optional_fixed_size_interval_var(self.start[i], length, literal, "")

    def _add_cluster(self, c: int, bound_us: int) -> None:
        elements = self.clusters[c]
        members = {i: literals[c] for i, literals in enumerate(self.on_cluster) if c in literals}
        if not members:
            return
        tasks, first = list(members), elements[0]
        length = {i: self.run_time[i][first] for i in tasks}
        # Tasks of this cluster run from `begin` until `rest` before the end, so it has less than the makespan for them.
        begin = min(int(self.earliest[i, first]) - length[i] for i in tasks)
        rest = int(self.remaining[tasks, first].min())
        lost = begin + rest if begin + rest <= bound_us else 0  # where the cluster may well stay empty
        for q in elements if not self.pooled[c] else []:
            own = {i: self.on_element[i][q] for i in tasks}
            self.sat.add_no_overlap(self._interval(i, length[i], literal) for i, literal in own.items())
            self.sat.add(sum(length[i] * literal for i, literal in own.items()) <= self.makespan - lost)
        if len(elements) == 1:
            return
        intervals = [self._interval(i, length[i], literal) for i, literal in members.items()]
        self.sat.add_cumulative(intervals, [1] * len(intervals), len(elements))
        load = sum(length[i] * literal for i, literal in members.items())
        self.sat.add(load <= len(elements) * (self.makespan - lost))
        if self.pooled[c]:
            return
        for before, q in itertools.pairwise(elements):
            for number, i in enumerate(tasks):
                self.sat.add_bool_or(~self.on_element[i][q], *(self.on_element[j][before] for j in tasks[:number]))

    def _costs(self, i: int, j: int, times: list[list[int]]) -> _Costs:
        apart, together = {}, {}
        for a, b in itertools.product(self.on_cluster[i], self.on_cluster[j]):
            p, q = self.clusters[a][0], self.clusters[b][-1]
            if p != q:
                apart[a, b] = times[p][q]
            if a == b and times[p][p] != apart.get((a, b)):
                together[a] = times[p][p]
        return _Costs(apart, together)

    def _add_transfer(self, i: int, j: int, times: list[list[int]]) -> None:
        """j starts when the data of i are there; times: [P][P], us."""
        sat, (apart, together) = self.sat, self._costs(i, j, times)
        least_apart = min(apart.values(), default=self.limit_us)
        least = min(least_apart, *together.values()) if together else least_apart
        saves = any(cost < apart.get((a, a), least_apart) for a, cost in together.items())
        same = None
        if not apart or not saves:
            sat.add(self.start[j] >= self.end[i] + least)
            least_apart = least
        else:
            same = sat.new_bool_var(f"same{i}_{j}")
            self._imply_same_element(same, i, j, together)
            sat.add(self.start[j] >= self.end[i] + least_apart - (least_apart - least) * same)

        def delay(cost: int, *literals: cp_model.LiteralT) -> None:
            sat.add(self.start[j] >= self.end[i] + cost).only_enforce_if(*literals)

        for (a, b), cost in apart.items():
            literals: list[cp_model.LiteralT] = [self.on_cluster[i][a], self.on_cluster[j][b]]
            if same is not None and a == b and together.get(a, cost) < cost:
                literals.append(~same)
            if cost > least_apart:
                delay(cost, *literals)
        for a, cost in together.items():
            if cost <= least:
                continue
            if cost < apart.get((a, a), cost + 1):  # so it holds on all pairs of the cluster's elements
                delay(cost, self.on_cluster[i][a], self.on_cluster[j][a])
                continue
            for q in self.clusters[a]:
                delay(cost, self.on_element[i][q], self.on_element[j][q])

    def _imply_same_element(self, same: cp_model.IntVar, i: int, j: int, clusters: Iterable[int]) -> None:
        """Where the literal holds, i and j are on one element of one of these clusters."""
        for one, other in ((i, j), (j, i)):
            for c, literal in self.on_cluster[one].items():
                if c not in clusters:
                    self.sat.add_implication(same, ~literal)
                    continue
                for q in self.clusters[c]:
                    self.sat.add_bool_or(~same, ~self.on_element[one][q], self.on_element[other][q])

    def _add_hint(self, known: Schedule) -> None:
        renamed: dict[int, int] = {}  # elements of a cluster in the order of their first tasks
        for q in dict.fromkeys(known.element.tolist()):
            elements = self.clusters[self.cluster_of[q]]
            renamed[q] = elements[sum(other in renamed for other in elements)]
        for i, q in enumerate(known.element.tolist()):
            start = int(known.start_us[i])
            if self.pooled[self.cluster_of[q]] and not self.run_time[i][q]:
                start = self.limit_us if self.instance.graph.predecessors[i] else 0
            self.sat.add_hint(self.start[i], start)
            if len(self.on_cluster[i]) > 1:
                for c, literal in self.on_cluster[i].items():
                    self.sat.add_hint(literal, c == self.cluster_of[q])
            for other, literal in self.on_element[i].items():
                if len(self.clusters[self.cluster_of[other]]) > 1:
                    self.sat.add_hint(literal, other == renamed[q])
