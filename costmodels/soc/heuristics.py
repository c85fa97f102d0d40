"""Static list-scheduling heuristics: a whole graph, known beforehand, on a platform. N tasks, P elements.

All build a schedule task by task. A task is offered when its predecessors are placed; a heuristic picks one of those on
offer, an element that can run it, and a start. Times:

- ready(i, q): when the data of task i are on element q, the largest of its predecessors' finish + communication;
- appended: the start is the larger of ready(i, q) and the last finish on q;
- inserted: the start is the first from ready(i, q) on at which q is idle for as long as the task runs.

| heuristic | task | element | start |
|---|---|---|---|
| `heft` | largest upward rank | earliest finish | inserted |
| `cpop` | largest upward + downward rank | the critical element, others: earliest finish | inserted |
| `peft` | largest mean of its row of the optimistic cost table (OCT) | least finish + OCT | inserted |
| `lookahead_heft` | largest upward rank | its successors' latest finish is earliest | inserted |
| `min_min`, `max_min` | earliest, latest finish where it finishes first | earliest finish | appended |
| `sufferage` | loses most if put second best | earliest finish | appended |
| `mct` | topological order | earliest finish | appended |
| `met` | topological order | least run time | appended |
| `olb` | topological order | the first to be idle | appended |
| `stf` | least run time on its fastest element | least run time | appended |
| `etf_finish` | of those whose predecessors finish first, task and element of the earliest finish | | appended |
| `etf_start` | task and element of the earliest start, then largest static level, then earliest finish | | appended |

Ties go to the lowest task, then to the lowest element; for `met` and `stf` to the fastest element that finishes first,
for `lookahead_heft` to the earlier finish of the task itself.

What the papers leave open. Ranks are means over the elements that can run a task (`ranks.py`). `cpop`: the critical
path starts at the head with the largest upward rank and goes on with the lowest successor that attains the rank. The
critical element runs most of the path's tasks, then takes the least time for these; tasks of the path that it cannot
run are placed as all others. `lookahead_heft`: successors are tried by descending rank, each where it finishes first,
after those tried before; predecessors of theirs that are not placed yet are passed over. `sufferage`: a task that one
element alone can run suffers most. `etf_finish` is the rule that simulators of systems on chip call ETF: tasks are
offered when their predecessors have *finished*, and all on offer are placed before time goes on. `min_min` is the same
with the tasks whose predecessors are merely placed.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..errors import UnknownNameError
from .instance import Instance
from .ranks import exact_downward, exact_optimistic_costs, exact_upward, mean_times
from .schedule import Schedule

__all__ = ["HEURISTICS", "Heuristic", "run_heuristic"]

_UNPLACED = -1
Rank = int | Fraction


@dataclass(frozen=True)
class Heuristic:
    """A heuristic: a function, and what it does in a line."""

    name: str
    schedule: Callable[[Instance], Schedule]
    summary: str  # what it does, and its paper


class _Plan:
    """A schedule in the making. Plain lists: looking up one number in an array takes many times as long."""

    def __init__(self, instance: Instance):
        self.run_time: list[list[int]] = instance.run_time_us.tolist()
        self.able: list[list[int]] = [np.flatnonzero(row).tolist() for row in instance.feasible]
        self.successors = [[edge.target for edge in edges] for edges in instance.graph.successors]
        self.predecessors: list[list[tuple[int, list[list[int]]]]] = [[] for _ in self.able]
        for edge, communication in zip(instance.graph.edges, instance.communication_us.tolist(), strict=True):
            self.predecessors[edge.target].append((edge.source, communication))
        self.element = [_UNPLACED] * len(self.able)
        self.start = [0] * len(self.able)
        self.finish = [0] * len(self.able)
        self.busy: list[list[tuple[int, int]]] = [[] for _ in range(instance.elements)]  # (start, finish), ascending
        self.ready: dict[int, list[int]] = {}  # when the data of each task on offer are there: us, by element
        self.queue: list[tuple[Rank, int]] = []  # heap of what is on offer, by descending rank, then by number

    def pop(self) -> int:
        """The task on offer with the largest rank; it is placed next."""
        return heapq.heappop(self.queue)[1]

    def ready_times(self, task: int) -> list[int]:
        """When the data of those predecessors that are placed are on each element, us."""
        times = [0] * len(self.busy)
        for source, communication in self.predecessors[task]:
            if self.element[source] != _UNPLACED:
                finish = self.finish[source]
                delays = communication[self.element[source]]
                times = [max(time, finish + delay) for time, delay in zip(times, delays, strict=True)]
        return times

    def last_finish(self, element: int) -> int:
        """When the element's last task finishes, us."""
        return self.busy[element][-1][1] if self.busy[element] else 0

    def appended(self, task: int, element: int) -> int:
        """The earliest start behind all tasks of the element, us."""
        return max(self.ready[task][element], self.last_finish(element))

    def inserted(self, task: int, element: int, ready_us: int) -> int:
        """The earliest start in a gap between tasks of the element or behind them, us."""
        busy, run_time = self.busy[element], self.run_time[task][element]
        start = ready_us
        for k in range(max(bisect.bisect_left(busy, (ready_us,)) - 1, 0), len(busy)):
            if start + run_time <= busy[k][0]:
                break
            start = max(start, busy[k][1])
        return start

    def place(self, task: int, element: int, start: int) -> None:
        self.element[task], self.start[task] = element, start
        self.finish[task] = start + self.run_time[task][element]
        bisect.insort(self.busy[element], (start, self.finish[task]))

    def take_back(self, task: int) -> None:
        """Undoes `place`."""
        self.busy[self.element[task]].remove((self.start[task], self.finish[task]))
        self.element[task] = _UNPLACED


Choice = tuple[int, int, int]  # task, element, start in us
Pick = Callable[[_Plan], Choice]  # chooses among the tasks in `plan.ready`


def _build(instance: Instance, pick: Pick, rank: Sequence[Rank] | None = None) -> Schedule:
    """The schedule that a pick makes; with a rank for each task, `plan.pop` gives the one on offer with the largest."""
    plan = _Plan(instance)
    missing = [len(edges) for edges in plan.predecessors]
    plan.ready = {task: plan.ready_times(task) for task in instance.graph.heads}
    if rank is not None:
        plan.queue = [(-rank[task], task) for task in plan.ready]
        heapq.heapify(plan.queue)
    while plan.ready:
        task, element, start = pick(plan)
        plan.place(task, element, start)
        del plan.ready[task]
        for successor in plan.successors[task]:
            missing[successor] -= 1
            if not missing[successor]:
                plan.ready[successor] = plan.ready_times(successor)
                if rank is not None:
                    heapq.heappush(plan.queue, (-rank[successor], successor))
    return Schedule(np.array(plan.element), np.array(plan.start), np.array(plan.finish))


def _earliest_inserted(plan: _Plan, task: int, ready_us: list[int]) -> Choice:
    starts = [(plan.inserted(task, q, ready_us[q]), q) for q in plan.able[task]]
    start, element = min(starts, key=lambda each: (each[0] + plan.run_time[task][each[1]], each[1]))
    return task, element, start


def _appended_choices(plan: _Plan, task: int) -> list[tuple[int, Choice]]:
    """(finish in us, choice) for each element that can run the task, the best first."""
    starts = [(plan.appended(task, q), q) for q in plan.able[task]]
    return sorted((start + plan.run_time[task][q], (task, q, start)) for start, q in starts)


def _fastest_appended(plan: _Plan, task: int) -> Choice:
    times = plan.run_time[task]
    return min(_appended_choices(plan, task), key=lambda each: (times[each[1][1]], each))[1]


def _heft(instance: Instance) -> Schedule:
    means = mean_times(instance)
    rank = exact_upward(instance, means.run_time, means.communication)

    def pick(plan: _Plan) -> Choice:
        task = plan.pop()
        return _earliest_inserted(plan, task, plan.ready[task])

    return _build(instance, pick, rank)


def _lookahead_heft(instance: Instance) -> Schedule:
    means = mean_times(instance)
    rank = exact_upward(instance, means.run_time, means.communication)

    def pick(plan: _Plan) -> Choice:
        task = plan.pop()
        children = sorted(plan.successors[task], key=lambda i: (-rank[i], i))
        options = []
        for element in plan.able[task]:
            start = plan.inserted(task, element, plan.ready[task][element])
            plan.place(task, element, start)
            for child in children:
                plan.place(*_earliest_inserted(plan, child, plan.ready_times(child)))
            finish = plan.finish[task]
            latest = max((plan.finish[child] for child in children), default=finish)
            options.append((latest, finish, element, start))
            for placed in [*children, task]:
                plan.take_back(placed)
        _, _, element, start = min(options)
        return task, element, start

    return _build(instance, pick, rank)


def _cpop(instance: Instance) -> Schedule:
    means = mean_times(instance)
    up = exact_upward(instance, means.run_time, means.communication)
    down = exact_downward(instance, means.run_time, means.communication)
    path = _critical_path(instance, up, means.communication)
    on_path = set(path)

    def unfit(element: int) -> tuple[int, int, int]:
        times = [int(instance.run_time_us[i, element]) for i in path if instance.feasible[i, element]]
        return len(path) - len(times), sum(times), element

    critical = min(range(instance.elements), key=unfit)

    def pick(plan: _Plan) -> Choice:
        task = plan.pop()
        if task in on_path and critical in plan.able[task]:
            return task, critical, plan.inserted(task, critical, plan.ready[task][critical])
        return _earliest_inserted(plan, task, plan.ready[task])

    return _build(instance, pick, [above + below for above, below in zip(up, down, strict=True)])


def _critical_path(instance: Instance, up: list[int], communication: list[int]) -> list[int]:
    """The tasks on the longest way through the graph by mean times."""
    graph = instance.graph
    costs = dict(zip(graph.edges, communication, strict=True))
    path = [min(graph.heads, key=lambda i: (-up[i], i))]
    while edges := graph.successors[path[-1]]:
        path.append(min(edges, key=lambda edge: (-costs[edge] - up[edge.target], edge.target)).target)
    return path


def _peft(instance: Instance) -> Schedule:
    means = mean_times(instance)
    table = exact_optimistic_costs(instance, means)
    able = instance.feasible.sum(axis=1).tolist()
    rank = [Fraction(sum(row), count) for row, count in zip(table, able, strict=True)]  # 0 where it cannot run

    def pick(plan: _Plan) -> Choice:
        task = plan.pop()
        starts = {q: plan.inserted(task, q, plan.ready[task][q]) for q in plan.able[task]}
        element = min(starts, key=lambda q: ((starts[q] + plan.run_time[task][q]) * means.scale + table[task][q], q))
        return task, element, starts[element]

    return _build(instance, pick, rank)


def _etf_start(instance: Instance) -> Schedule:
    means = mean_times(instance)
    level = exact_upward(instance, means.run_time, [0] * len(means.communication))

    def pick(plan: _Plan) -> Choice:
        choices = [choice for i in plan.ready for choice in _appended_choices(plan, i)]
        return min(choices, key=lambda each: (each[1][2], -level[each[1][0]], each))[1]

    return _build(instance, pick)


def _etf_finish(plan: _Plan) -> Choice:
    # What is placed later runs later, so time need not be kept: those on offer first are placed first.
    known = {i: max((plan.finish[source] for source, _ in plan.predecessors[i]), default=0) for i in plan.ready}
    now = min(known.values())
    return min(_appended_choices(plan, i)[0] for i in plan.ready if known[i] == now)[1]


def _min_min(plan: _Plan) -> Choice:
    return min(_appended_choices(plan, i)[0] for i in plan.ready)[1]


def _max_min(plan: _Plan) -> Choice:
    bests = [_appended_choices(plan, i)[0] for i in plan.ready]
    return min(bests, key=lambda best: (-best[0], best[1]))[1]


def _sufferage(plan: _Plan) -> Choice:
    def loss(choices: list[tuple[int, Choice]]) -> float:
        return choices[1][0] - choices[0][0] if len(choices) > 1 else math.inf

    options = [_appended_choices(plan, i) for i in plan.ready]
    return min(options, key=lambda choices: (-loss(choices), choices[0][1]))[0][1]


def _mct(plan: _Plan) -> Choice:
    return _appended_choices(plan, min(plan.ready))[0][1]


def _met(plan: _Plan) -> Choice:
    return _fastest_appended(plan, min(plan.ready))


def _stf(plan: _Plan) -> Choice:
    return _fastest_appended(plan, min(plan.ready, key=lambda i: (min(plan.run_time[i][q] for q in plan.able[i]), i)))


def _olb(plan: _Plan) -> Choice:
    task = min(plan.ready)
    element = min(plan.able[task], key=lambda q: (plan.last_finish(q), q))
    return task, element, plan.appended(task, element)


def _by(pick: Pick) -> Callable[[Instance], Schedule]:
    return lambda instance: _build(instance, pick)


_BRAUN = "Braun et al., J. Parallel Distrib. Comput. 61 (2001) 810"
_TOPCUOGLU = "Topcuoglu, Hariri and Wu, IEEE TPDS 13 (2002) 260"
_HEURISTICS = (
    Heuristic("heft", _heft, f"largest upward rank to its earliest finish, with insertion; {_TOPCUOGLU}"),
    Heuristic("cpop", _cpop, f"the critical path on one element, the rest to their earliest finish; {_TOPCUOGLU}"),
    Heuristic(
        "peft", _peft, "earliest finish plus what follows at best; Arabnejad and Barbosa, IEEE TPDS 25 (2014) 682"
    ),
    Heuristic(
        "lookahead_heft",
        _lookahead_heft,
        "HEFT that tries each element with the successors; Bittencourt, Sakellariou and Madeira, PDP (2010) 27",
    ),
    Heuristic("min_min", _by(_min_min), f"earliest of the tasks' earliest finishes first; {_BRAUN}"),
    Heuristic("max_min", _by(_max_min), f"latest of the tasks' earliest finishes first; {_BRAUN}"),
    Heuristic("met", _by(_met), f"minimum execution time: each task to its fastest element; {_BRAUN}"),
    Heuristic("mct", _by(_mct), f"minimum completion time: each task to its earliest finish, in order; {_BRAUN}"),
    Heuristic(
        "etf_finish", _by(_etf_finish), "of the tasks that can run, the earliest finish first; Arda et al., DS3 (2020)"
    ),
    Heuristic(
        "etf_start", _etf_start, "earliest start first; Hwang, Chow, Anger and Lee, SIAM J. Comput. 18 (1989) 244"
    ),
    Heuristic("stf", _by(_stf), "shortest task first, to its fastest element; Arda et al., DS3 (2020)"),
    Heuristic("olb", _by(_olb), f"opportunistic load balancing: each task to the first idle element; {_BRAUN}"),
    Heuristic(
        "sufferage",
        _by(_sufferage),
        "the task that loses most on its second-best element first; "
        "Maheswaran et al., J. Parallel Distrib. Comput. 59 (1999) 107",
    ),
)
HEURISTICS: Mapping[str, Heuristic] = {heuristic.name: heuristic for heuristic in _HEURISTICS}


def run_heuristic(name: str, instance: Instance) -> Schedule:
    """The schedule of a heuristic: int64[N] arrays.

    Raises:
        UnknownNameError: no heuristic has this name.
    """
    if name not in HEURISTICS:
        raise UnknownNameError("heuristic", name, HEURISTICS)
    return HEURISTICS[name].schedule(instance)
