"""SoC scheduling in plain Python: one task at a time, whole microseconds, a heap of events.

Written from the rules of `docs/soc_scheduling.md` alone, as an independent check of the library's simulators, and as
what their speed is compared with. N tasks, P processing elements, C clusters, A jobs.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from dsegym.costmodels.soc.instance import Instance
from dsegym.costmodels.soc.schedule import Schedule

ONE_ELEMENT = 2**29  # the sufferage of a task that one element only can run
ONE = 1024  # a factor that leaves the run time as it is; also the unit of ranks that are not whole
NONE, NEVER = -1, 2**62

# One graph, known in full.


def schedule(instance: Instance, ranks: Sequence[int], elements: Sequence[int] | None = None) -> Schedule:
    """The schedule of a design: ranks, and elements, or where each task finishes first if they are left out."""
    graph, times = instance.graph, instance.run_time_us.tolist()
    incoming = _incoming(instance)
    effective = list(map(int, ranks))
    for i, edges in enumerate(graph.predecessors):  # the tasks are in topological order
        effective[i] = max([effective[i], *(effective[edge.source] for edge in edges)])

    avail = [0] * instance.elements
    where, start, finish = [0] * len(graph), [0] * len(graph), [0] * len(graph)
    for i in sorted(range(len(graph)), key=lambda i: (effective[i], i)):
        options = []
        for q, time in enumerate(times[i]):
            if time >= 0 and (elements is None or elements[i] == q):
                begin = max([avail[q], *(finish[s] + table[where[s]][q] for s, table in incoming[i])])
                options.append((begin + time, q, begin))
        if not options:
            raise ValueError(f"{graph.tasks[i].name} cannot run on element {None if elements is None else elements[i]}")
        finish[i], where[i], start[i] = min(options)
        avail[where[i]] = finish[i]
    return Schedule(*(np.array(column, np.int32) for column in (where, start, finish)))


def energy_j(instance: Instance, schedule: Schedule) -> float:
    """What a schedule draws from 0 to its makespan."""
    runs = zip(schedule.element.tolist(), schedule.start_us.tolist(), schedule.finish_us.tolist(), strict=True)
    return _energy_j(instance, _busy_us(instance, runs, 0, schedule.makespan_us))


def _incoming(instance):
    """For each task its predecessors with the communication times of the edge, [P of the producer][P of the task]."""
    incoming = [[] for _ in range(len(instance))]
    for edge, table in zip(instance.graph.edges, instance.communication_us.tolist(), strict=True):
        incoming[edge.target].append((edge.source, table))
    return incoming


def _busy_us(instance, runs, first, last):
    """For each cluster the time with 0, 1, ... of its elements busy, between two times; runs: (element, start, end)."""
    changes = [[] for _ in instance.platform.clusters]
    for q, start, end in runs:
        start, end = max(start, first), min(end, last)
        if start < end:
            changes[instance.platform.element_clusters[q]] += [(start, 1), (end, -1)]
    histograms = []
    for cluster, events in zip(instance.platform.clusters, changes, strict=True):
        busy_us, busy, since = [0] * (cluster.elements + 1), 0, first
        for time, change in sorted(events):
            busy_us[busy] += time - since
            busy, since = busy + change, time
        busy_us[busy] += last - since
        histograms.append(busy_us)
    return histograms


def _energy_j(instance, busy_us):
    energy_uj = instance.platform.base_w * sum(busy_us[0])
    for cluster, level, times in zip(instance.platform.clusters, instance.levels, busy_us, strict=True):
        point = cluster.operating_points[level]
        for watts, time in zip(point.dynamic_w, times, strict=True):
            energy_uj += time * (watts + point.leakage_w * cluster.elements)
    return energy_uj * 1e-6


# Jobs that keep arriving.


class Trace(NamedTuple):
    """What happens, whatever the scheduler does."""

    arrival_us: np.ndarray  # int[A], ascending
    kind: np.ndarray  # int[A], index of the job's graph
    factor: np.ndarray  # int[A, N_max], actual over tabled run time of each task, in 1/1024


class TaskKind(NamedTuple):
    """What is known of a task of a graph before it runs. Times in us."""

    tabled: list[int]  # [P], as schedulers see it; 0 only at the end of a job; NONE where it cannot run
    options: tuple[tuple[int, int], ...]  # (element, time) of those that can run it, ascending by element
    shortest: tuple[int, int]  # the option of least time, the lowest element of equals
    mean: int  # of its times, in 1/1024 us
    level: int  # static level: upward rank without communication, in 1/1024 us


class Task:
    """A task of a job in the system, from the time it is ready."""

    __slots__ = (
        "best",
        "data_ready_at",
        "data_ready_us",
        "element",
        "finish_us",
        "job",
        "kind",
        "number",
        "ready_us",
        "start_us",
        "task",
    )

    def __init__(self, job, task, kind, ready_us, data_ready_at):
        self.job, self.task, self.kind = job, task, kind
        self.ready_us = ready_us
        self.data_ready_at = data_ready_at  # list[P], dr(q)
        self.best = None  # (f, element, avail there) as last worked out
        self.start_us = self.finish_us = NONE  # set when it starts
        # Set when it is assigned: element, data_ready_us, and number (how many were assigned before it).


@dataclass(eq=False, slots=True)
class State:
    """What a rule sees when it has to assign one of the ready tasks."""

    now: int
    ready: list[Task]  # in offered order
    avail: list[int]  # [P], when each element is expected to have done all that it was assigned
    running: list[Task | None]  # [P]
    assigned_now: list[int]  # [P], tasks assigned to each since the last event


Rule = Callable[[State], tuple[int, int]]  # which of the ready tasks, and the element


@dataclass(frozen=True, eq=False)
class StreamResult:
    """What happened. What is averaged or summed counts from the warm-up's end to `end_us`."""

    instances: tuple[Instance, ...]
    warm_up_us: int
    end_us: int  # of the simulation; of the last job where no end was given
    injection_us: list[int]  # [A], NONE for jobs that were not injected
    finish_us: list[int]  # [A], NONE for jobs that were not done
    tasks: list[Task]  # as assigned; those still running have a finish after `end_us`
    decisions: int

    @functools.cached_property
    def latencies_us(self) -> list[int]:
        """Of the jobs that left after the warm-up."""
        jobs = zip(self.injection_us, self.finish_us, strict=True)
        last = self.warm_up_us or NONE  # without a warm-up, a job that was done at 0 counts too
        return [finish - injection for injection, finish in jobs if finish > last]

    @property
    def average_latency_us(self) -> float:
        """Over the jobs that left after the warm-up; NaN if there are none."""
        return sum(self.latencies_us) / len(self.latencies_us) if self.latencies_us else float("nan")

    @functools.cached_property
    def job_time_us(self) -> int:
        """The integral of the number of jobs in the system over time."""
        changes = [(max(t, self.warm_up_us), 1) for t in self.injection_us if t != NONE]
        changes += [(max(t, self.warm_up_us), -1) for t in self.finish_us if t != NONE]
        total, jobs, since = 0, 0, self.warm_up_us
        for time, change in sorted(changes):
            total += jobs * (time - since)
            jobs, since = jobs + change, time
        return total + jobs * (self.end_us - since)

    @functools.cached_property
    def busy_us(self) -> list[list[int]]:
        """[C][elements + 1], for each cluster the time with 0, 1, ... of its elements busy."""
        runs = ((task.element, task.start_us, task.finish_us) for task in self.tasks if task.start_us != NONE)
        return _busy_us(self.instances[0], runs, self.warm_up_us, self.end_us)

    @property
    def energy_j(self) -> float:
        """What the platform drew."""
        return _energy_j(self.instances[0], self.busy_us)

    def by_task(self, field: str) -> np.ndarray:
        """int[A, N_max] of a field of `Task`; NONE where there is no task or it was not assigned."""
        table = np.full((len(self.injection_us), max(map(len, self.instances))), NONE)
        for task in self.tasks:
            table[task.job, task.task] = getattr(task, field)
        return table


class _JobType:
    """A graph, as the simulator reads it."""

    def __init__(self, instance):
        graph = instance.graph
        self.incoming = _incoming(instance)
        self.successors = [[edge.target for edge in edges] for edges in graph.successors]
        self.missing = [len(edges) for edges in graph.predecessors]
        self.heads = graph.heads
        self.kinds = _task_kinds(instance.run_time_us.tolist(), self.successors)


def _task_kinds(times, successors):
    kinds, levels = [], []
    for row, after in zip(reversed(times), reversed(successors), strict=True):
        least = 1 if after else 0  # the clock ticks before successors are released
        row = [time if time < 0 else max(time, least) for time in row]
        options = tuple((q, time) for q, time in enumerate(row) if time >= 0)
        mean = Fraction(sum(time for _, time in options), len(options))
        levels.append(mean + max((levels[len(times) - 1 - j] for j in after), default=0))
        shortest = min(options, key=operator.itemgetter(1))
        kinds.append(TaskKind(row, options, shortest, round(ONE * mean), round(ONE * levels[-1])))
    return kinds[::-1]


class _Job:
    """A job in the system."""

    __slots__ = ("left", "missing", "tasks", "type")

    def __init__(self, job_type):
        self.type = job_type
        self.missing = job_type.missing.copy()  # predecessors of each task that are not done
        self.left = len(self.missing)
        self.tasks = {}  # by their number, from the time they are ready


by_job = operator.attrgetter("job", "task")  # all that are ready became so at the same time


def simulate(
    instances: Sequence[Instance],
    trace: Trace,
    rule: Rule,
    *,
    queue: int,
    warm_up_us: int = 0,
    end_us: int | None = None,
    order: Callable[[Task], tuple] | None = by_job,
) -> StreamResult:
    """Runs a trace under a rule.

    Args:
        instances: one for each type of job, all on one platform.
        trace: the jobs.
        rule: assigns tasks.
        queue: jobs in the system, at most.
        warm_up_us: what happens until then is not counted.
        end_us: the simulation stops after what happens then; when all jobs have left where it is left out.
        order: of the ready tasks, a sort key. None: by the start, then the number of the predecessor that made them
            ready, which is DS3's order and not the rules'.
    """
    types = [_JobType(instance) for instance in instances]
    kinds, factors, arrivals = (np.asarray(trace[i]).tolist() for i in (1, 2, 0))
    if arrivals != sorted(arrivals) or min(arrivals, default=0) < 0:
        raise ValueError("jobs arrive in ascending order, from 0 on")
    elements, jobs = instances[0].elements, len(arrivals)
    injection_us, finish_us = [NONE] * jobs, [NONE] * jobs
    in_system, entered, number, job_of = 0, 0, 0, {}
    last = NEVER - 1 if end_us is None else end_us
    assigned = []
    events = []  # (time, start, number, element) of the end of a task; (time, NONE, NONE, element): data are there
    arriving = [[] for _ in range(elements)]  # (data-ready time, number, task) of tasks that wait for data
    startable = [[] for _ in range(elements)]  # (job, number, task) of those whose data were there when last looked
    touched = set()  # elements that may have something to start

    now, ready, avail, running = 0, [], [0] * elements, [None] * elements
    state = State(now, ready, avail, running, [0] * elements)

    def inject():
        nonlocal entered, in_system
        job = job_of[entered] = _Job(types[kinds[entered]])
        for i in job.type.heads:
            job.tasks[i] = task = Task(entered, i, job.type.kinds[i], now, [now] * elements)
            ready.append(task)
        injection_us[entered] = now
        entered, in_system = entered + 1, in_system + 1

    while entered < jobs and in_system < queue and arrivals[entered] <= now:
        inject()
    while True:
        if ready:
            if order:
                ready.sort(key=order)
            state.now = now
            state.assigned_now = assigned_now = [0] * elements
            while ready:
                index, q = rule(state)
                task = ready.pop(index)
                tabled = task.kind.tabled[q]
                if tabled < 0:
                    raise ValueError(f"task {task.task} of job {task.job} cannot run on element {q}")
                data_ready = task.data_ready_at[q]
                avail[q] = (data_ready if data_ready > avail[q] else avail[q]) + tabled  # data_ready >= now
                assigned_now[q] += 1
                task.element, task.data_ready_us, task.number = q, data_ready, number
                if data_ready <= now:
                    heappush(startable[q], (task.job, number, task))
                else:
                    heappush(arriving[q], (data_ready, number, task))
                number += 1
                touched.add(q)
                assigned.append(task)

        for q in touched:
            if running[q] is None:
                here, there = startable[q], arriving[q]
                while there and there[0][0] <= now:
                    task = heappop(there)[2]
                    heappush(here, (task.job, task.number, task))
                if here:
                    task = running[q] = heappop(here)[2]
                    tabled = task.kind.tabled[q]
                    time = (tabled * factors[task.job][task.task] + 512) >> 10
                    task.start_us, task.finish_us = now, now + (time or min(tabled, 1))
                    heappush(events, (task.finish_us, now, task.number, q))
                elif there:
                    heappush(events, (there[0][0], NONE, NONE, q))
        touched.clear()

        upcoming = events[0][0] if events else NEVER  # perhaps now: the end of a task that takes no time
        if entered < jobs and in_system < queue:
            upcoming = min(upcoming, max(arrivals[entered], now + 1))
        if upcoming > last:
            break
        now = upcoming
        while events and events[0][0] == now:
            _, start, _, q = heappop(events)
            touched.add(q)
            if start == NONE:
                continue  # data arrived; nothing is done
            task, running[q] = running[q], None
            job = job_of[task.job]
            job.left -= 1
            for j in job.type.successors[task.task]:
                job.missing[j] -= 1
                if not job.missing[j]:
                    job.tasks[j] = _ready(job, task.job, j, now)
                    ready.append(job.tasks[j])
            if not job.left:
                finish_us[task.job] = now
                in_system -= 1
                del job_of[task.job]
        # The end of a task that takes no time is a second event of the same instant, at which no second job enters.
        entered_now = entered > 0 and injection_us[entered - 1] == now
        if entered < jobs and in_system < queue and arrivals[entered] <= now and not entered_now:
            inject()

    if end_us is None:
        end_us = max(finish_us, default=0)
    return StreamResult(tuple(instances), warm_up_us, end_us, injection_us, finish_us, assigned, len(assigned))


def _ready(job, number, i, now):
    """A task whose last predecessor has finished now, with dr(q)."""
    data_ready_at = None
    for source, table in job.type.incoming[i]:
        producer = job.tasks[source]
        finish = producer.finish_us
        row = [finish + time for time in table[producer.element]]
        data_ready_at = row if data_ready_at is None else list(map(max, data_ready_at, row))
    return Task(number, i, job.type.kinds[i], now, data_ready_at)


# Rules. `min` and `max` take the first of equals: the task offered first, the lowest element.


def _earliest_finish(task, avail):
    """Least f, its element, and avail there."""
    best = task.best
    if best is not None and avail[best[1]] == best[2]:
        return best  # elsewhere avail may only have grown
    data_ready_at = task.data_ready_at
    least, element = NEVER, NONE
    for q, time in task.kind.options:
        start = data_ready_at[q]
        if avail[q] > start:
            start = avail[q]
        if start + time < least:
            least, element = start + time, q
    task.best = best = (least, element, avail[element])
    return best


def _finishes(task, avail):
    return [max(task.data_ready_at[q], avail[q]) + time for q, time in task.kind.options]


def eft(state: State) -> tuple[int, int]:
    """Earliest finish: the offered task where f is least."""
    return 0, _earliest_finish(state.ready[0], state.avail)[1]


def met(state: State) -> tuple[int, int]:
    """Minimum execution time: the offered task where it runs shortest; elements that run nothing first (whatever waits
    there), then those assigned the fewest tasks since the last event."""

    def key(option):
        q, time = option
        return time, state.running[q] is not None, state.assigned_now[q]

    return 0, min(state.ready[0].kind.options, key=key)[0]


def olb(state: State) -> tuple[int, int]:
    """Opportunistic load balancing: the offered task to the element that is available first."""
    return 0, min(state.ready[0].kind.options, key=lambda option: max(state.avail[option[0]], state.now))[0]


def etf_finish(state: State) -> tuple[int, int]:
    """The pair of task and element that finishes first: ETF as DS3 has it, dynamic Min-Min."""
    bests = [_earliest_finish(task, state.avail) for task in state.ready]
    index = min(range(len(bests)), key=lambda k: bests[k][0])
    return index, bests[index][1]


def etf_start(state: State) -> tuple[int, int]:
    """The pair of task and element that starts first, then the task of the larger static level (Hwang et al. 1989)."""
    pairs = (
        (max(task.data_ready_at[q], state.avail[q]), -task.kind.level, index, q)
        for index, task in enumerate(state.ready)
        for q, _ in task.kind.options
    )
    return min(pairs)[2:]


def stf(state: State) -> tuple[int, int]:
    """Shortest task first, where it runs shortest."""
    index = min(range(len(state.ready)), key=lambda k: state.ready[k].kind.shortest[1])
    return index, state.ready[index].kind.shortest[0]


def max_min(state: State) -> tuple[int, int]:
    """The task whose least f is largest, where f is least."""
    bests = [_earliest_finish(task, state.avail) for task in state.ready]
    index = max(range(len(bests)), key=lambda k: bests[k][0])
    return index, bests[index][1]


def sufferage(state: State) -> tuple[int, int]:
    """The task that loses most if it does not get the element where f is least."""

    def loss(index):
        finishes = sorted(_finishes(state.ready[index], state.avail))
        return finishes[1] - finishes[0] if len(finishes) > 1 else ONE_ELEMENT

    index = max(range(len(state.ready)), key=loss)
    return index, _earliest_finish(state.ready[index], state.avail)[1]


def heft_rt(state: State) -> tuple[int, int]:
    """The task of the largest mean run time, where it finishes first if communication is ignored."""
    index = max(range(len(state.ready)), key=lambda k: state.ready[k].kind.mean)
    options = state.ready[index].kind.options
    return index, min(options, key=lambda option: max(state.avail[option[0]], state.now) + option[1])[0]


RULES: dict[str, Rule] = {
    rule.__name__: rule for rule in (eft, met, olb, etf_finish, etf_start, stf, max_min, sufferage, heft_rt)
}
