"""The streaming simulator in JAX: the rules of docs/soc_scheduling.md, of one stream or of many.

J slots for jobs, N tasks of a job at most, P elements, T kinds of jobs, K predecessors at most, G kinds of link, C
clusters, A jobs of a trace. All times are int32 us and exact.

One `micro_step` looks at one ready task and assigns the best when all are compared; where none is left, it starts one
assigned task; and where none can start, it lets time pass to the next event. There is no loop in it, so lanes of a
batch never wait for each other: a nested loop to the next decision waits for the slowest lane.

The steps take one stream, and may be under `vmap`; or many lanes, in an axis behind all others of states, choices and
estimates, as in `play`: axes of three slots or ten tasks are too short to be vectorised. There, traces have an axis of
their own in front.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from . import model
from .instance import Instance
from .model import NEVER, at

__all__ = [
    "ASSIGNED",
    "DONE",
    "EMPTY",
    "READY",
    "RUNNING",
    "WAITING",
    "Arrays",
    "Choice",
    "Estimates",
    "Rule",
    "Search",
    "State",
    "Trace",
    "advance",
    "arrays",
    "assign",
    "choose",
    "estimates",
    "initial",
    "is_over",
    "micro_step",
    "no_search",
    "offered",
    "play",
    "start_one",
    "words_of",
]

EMPTY, WAITING, READY, ASSIGNED, RUNNING, DONE = range(6)  # what a task can be
_WORD = 32  # bit
_FREE, _CLOSED = -1, -2  # the job of a slot that has none, and of one that never has any
FACTOR_BITS = 10  # a run-time factor counts in 1/1024


class Arrays(NamedTuple):
    """Kinds of jobs on a platform."""

    run_time: Array  # int32[T, N, P], us, at least 1 for a task with successors; `NEVER` if it cannot run there
    predecessor: Array  # int32[T, N, K]; N where there are fewer
    communication: Array  # int32[T, N, K, G], us
    link: Array  # int32[P, P], as `model.Arrays`
    needed: Array  # uint32[T, N, words], the set of predecessors
    waiting: Array  # int32[T, N], `WAITING`; `EMPTY` beyond the kind's tasks
    cluster: Array  # int32[P]; -1 of an element that is padding
    power: Array  # float32[C, n + 1], W, as `model.Arrays`; C = 0 where unknown


class Trace(NamedTuple):
    """What arrives: A jobs."""

    arrival_us: Array  # int32[A], ascending, the first at 0
    kind: Array  # int32[A]
    factor: Array  # int32[A, N], actual over tabulated run time in 1/1024


class State(NamedTuple):
    """Where a stream stands."""

    now: jax.Array  # int32, us
    injected: jax.Array  # int32, jobs
    injected_us: jax.Array  # int32, us, when the last of them was
    completed: jax.Array  # int32, jobs
    assigned: jax.Array  # int32, tasks
    occupancy_us: jax.Array  # int32, us, the integral over time of the number of jobs in the system
    latency_us: jax.Array  # int32, us, summed over the jobs that left within the counted time
    counted: jax.Array  # int32, those jobs
    residency_us: jax.Array  # int32[C, n + 1], us, with 0 ... n busy elements
    job: jax.Array  # int32[J], the number of the job in each slot; `_FREE` or `_CLOSED` for none
    kind: jax.Array  # int32[J]
    injection_us: jax.Array  # int32[J], us
    status: jax.Array  # int32[J, N]
    missing: jax.Array  # uint32[J, N, words], the set of predecessors that have not finished
    element: jax.Array  # int32[J, N]
    data_us: jax.Array  # int32[J, N], us, when its data are on its element
    finish_us: jax.Array  # int32[J, N], us; until it runs, its actual run time
    priority: jax.Array  # int32[J, N], of assigned tasks: the lowest starts first
    available: jax.Array  # int32[P], us, the estimate
    ends_us: jax.Array  # int32[P], us, the finish of the running task; `NEVER` if idle
    recent: jax.Array  # int32[P], tasks assigned since time last passed


class Choice(NamedTuple):
    """An assignment of a ready task."""

    slot: jax.Array  # int32
    task: jax.Array  # int32
    element: jax.Array  # int32, one that can run it


def arrays(instances: Sequence[Instance]) -> Arrays:
    """The arrays of kinds of jobs that share a platform and its operating points, as NumPy."""
    parts = [model.arrays(instance) for instance in instances]
    most = max(len(instance) for instance in instances)
    widest = max(part.predecessor.shape[1] for part in parts)
    words = words_of(most)
    kinds = parts[0].communication.shape[2]
    elements = len(parts[0].cluster)
    run_time = np.full((len(parts), most, elements), NEVER, np.int32)
    predecessor = np.full((len(parts), most, widest), most, np.int32)
    communication = np.zeros((len(parts), most, widest, kinds), np.int32)
    needed = np.zeros((len(parts), most, words), np.uint32)
    waiting = np.full((len(parts), most), EMPTY, np.int32)
    for t, (part, instance) in enumerate(zip(parts, instances, strict=True)):
        count, k = part.predecessor.shape
        goes_on = np.array([bool(edges) for edges in instance.graph.successors])
        run_time[t, :count] = np.maximum(part.run_time[0], goes_on[:, None])
        predecessor[t, :count, :k] = np.where(part.predecessor == count, most, part.predecessor)
        communication[t, :count, :k] = part.communication
        waiting[t, :count] = WAITING
        for edge in instance.graph.edges:
            needed[t, edge.target, edge.source // _WORD] |= np.uint32(1 << (edge.source % _WORD))
    power = parts[0].power
    return Arrays(
        run_time,
        predecessor,
        communication,
        parts[0].link,
        needed,
        waiting,
        parts[0].cluster,
        power[:, 0] if power.shape[1] else np.zeros((0, power.shape[2]), np.float32),
    )


def words_of(tasks: int) -> int:
    """How many words a set of tasks takes."""
    return -(-tasks // _WORD)


def initial(arrays: Arrays, trace: Trace, *, queue: int, slots: Array | None = None) -> State:
    """The state at 0, with as many of the jobs that arrive at 0 as there are slots.

    Args:
        arrays: the kinds of jobs.
        trace: what arrives.
        queue: J, the number of slots.
        slots: int32, how many of them jobs enter, the first ones; all when left out.
    """
    kinds, most, elements = arrays.run_time.shape
    del kinds
    number = jnp.arange(queue)
    padded = jnp.pad(jnp.asarray(trace.arrival_us), (0, queue), constant_values=NEVER)[:queue]
    present, free = padded <= 0, jnp.int32(_FREE)
    if slots is not None:
        present, free = present & (number < slots), jnp.where(number < slots, _FREE, _CLOSED)
    kind = jnp.where(present, jnp.pad(jnp.asarray(trace.kind), (0, queue))[:queue], 0)
    missing = jnp.asarray(arrays.needed)[kind]
    status = jnp.where(present[:, None], jnp.asarray(arrays.waiting)[kind], EMPTY)
    status = jnp.where((status == WAITING) & _nothing(missing), READY, status)
    zeros = jnp.zeros((queue, most), jnp.int32)
    nothing = jnp.int32(0)
    return State(
        now=nothing,
        injected=jnp.sum(present, dtype=jnp.int32),
        injected_us=nothing,
        completed=nothing,
        assigned=nothing,
        occupancy_us=nothing,
        latency_us=nothing,
        counted=nothing,
        residency_us=jnp.zeros(arrays.power.shape, jnp.int32),
        job=jnp.where(present, number, free),
        kind=kind,
        injection_us=jnp.zeros(queue, jnp.int32),
        status=status,
        missing=missing,
        element=zeros,
        data_us=zeros,
        finish_us=zeros,
        priority=zeros,
        available=jnp.zeros(elements, jnp.int32),
        ends_us=jnp.full(elements, NEVER, jnp.int32),
        recent=jnp.zeros(elements, jnp.int32),
    )


def is_over(trace: Trace, state: State) -> jax.Array:
    """bool, whether every job has left."""
    return state.completed >= trace.arrival_us.shape[-1]


def offered(state: State, after: Array | int = -1) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The ready task that is offered first, of those that come after a place in the order of offers.

    All tasks that are ready became so now, as time does not pass before they are assigned: the order is by job, then by
    task.

    Args:
        state: the state.
        after: int32, a place.

    Returns:
        Its place, int32, `NEVER` if there is none; and its slot and number, int32, without meaning if there is none.
    """

    queue, most = state.status.shape[:2]
    places = state.job[:, None] * most + _numbers(most, state.now)
    place = _least(jnp.where((state.status == READY) & (places > after), places, NEVER), 2)
    slot = _most(jnp.where(state.job == place // most, _numbers(queue, state.now), 0), 1)
    return place, slot, place % most


class Estimates(NamedTuple):
    """What a scheduler can know of one task on each element. int32[P], us."""

    data: jax.Array  # when its data would be there
    start: jax.Array  # when it would start, by the estimates of what was assigned before
    finish: jax.Array  # at least `NEVER` where it cannot run
    run_time: jax.Array  # from the table


def estimates(arrays: Arrays, state: State, slot: Array, task: Array) -> Estimates:
    """Estimates for a ready task."""
    kind = _own(state.kind, slot)
    predecessors = _of(arrays.predecessor, kind, task)
    exists = predecessors < state.status.shape[1]
    safe = jnp.where(exists, predecessors, 0)
    element = _own(state.element, slot, safe)
    finish = jnp.where(exists, _own(state.finish_us, slot, safe), 0)
    times = _of(arrays.communication, kind, task)  # [K, G]
    if times.shape[1] == 2:
        kinds = (element[:, None] != _numbers(arrays.run_time.shape[2], state.now)).astype(jnp.int32)
    else:
        kinds = jnp.moveaxis(at(jnp.transpose(arrays.link), slice(None), element), 0, 1)
    communication = times[:, :1]
    for g in range(1, times.shape[1]):
        communication = jnp.where(kinds == g, times[:, g : g + 1], communication)
    data = _most(finish[:, None] + communication, 1)
    data = jnp.maximum(data, state.now)
    run_time = _of(arrays.run_time, kind, task)
    begin = jnp.maximum(data, state.available)
    return Estimates(data, begin, begin + run_time, run_time)


def assign(arrays: Arrays, trace: Trace, state: State, choice: Choice, given: Estimates, when: Array) -> State:
    """Assigns a ready task, where `when` holds; `given` are its estimates."""
    queue, most = state.status.shape[:2]
    flat = _numbers(queue * most, state.now).reshape(queue, most, *(1,) * state.now.ndim)
    here = (flat == choice.slot * most + choice.task) & when
    there = (_numbers(len(state.available), state.now) == choice.element) & when
    job = _own(state.job, choice.slot)
    table = _most(jnp.where(there, given.run_time, 0), 1)
    factor = _drawn(trace.factor, jnp.maximum(job, 0), choice.task)
    actual = jnp.maximum((table * factor + 2 ** (FACTOR_BITS - 1)) >> FACTOR_BITS, jnp.minimum(table, 1))
    total = trace.arrival_us.shape[-1] * most
    return state._replace(
        status=jnp.where(here, ASSIGNED, state.status),
        element=jnp.where(here, choice.element, state.element),
        data_us=jnp.where(here, _most(jnp.where(there, given.data, 0), 1), state.data_us),
        finish_us=jnp.where(here, actual, state.finish_us),
        priority=jnp.where(here, job * total + state.assigned, state.priority),
        available=jnp.where(there, given.finish, state.available),
        recent=state.recent + there,
        assigned=state.assigned + when,
    )


def start_one(state: State, when: Array) -> tuple[State, jax.Array]:
    """Starts one assigned task, where `when` holds: of those that can start, the one of the lowest priority number.

    Returns:
        The state, and bool: whether another task can start.
    """

    elements = _numbers(len(state.available), state.now)
    bits = jnp.uint32(1) << elements.astype(jnp.uint32)
    idle = _union(jnp.where(state.ends_us == NEVER, bits, jnp.uint32(0)), 1)
    on_idle = (idle >> state.element.astype(jnp.uint32)) & 1 > 0
    can = (state.status == ASSIGNED) & (state.data_us <= state.now) & on_idle & when
    least = _least(jnp.where(can, state.priority, NEVER), 2)
    starts = can & (state.priority == least)
    element = _most(jnp.where(starts, state.element, -1), 2)
    end = _most(jnp.where(starts, state.now + state.finish_us, 0), 2)
    started = state._replace(
        status=jnp.where(starts, RUNNING, state.status),
        finish_us=jnp.where(starts, end, state.finish_us),
        ends_us=jnp.where(elements == element, end, state.ends_us),
    )
    return started, _any(can & (state.element != element), 2)


def advance(
    arrays: Arrays, trace: Trace, state: State, when: Array, warm_up_us: Array | int = -1, end_us: Array | int = NEVER
) -> State:
    """Lets time pass to the next event, where `when` holds: no task may be ready, and none may be able to start.

    Args:
        arrays: the kinds of jobs.
        trace: what arrives.
        state: the state; where all jobs have left, nothing changes.
        when: bool.
        warm_up_us, end_us: latencies of jobs that leave after the first and not after the second are counted.
    """

    queue = state.status.shape[0]
    when = when & ~is_over(trace, state)

    # The next event. Data that come to a busy element are one too, at which nothing happens.
    comes_us = jnp.where((state.status == ASSIGNED) & (state.data_us > state.now), state.data_us, NEVER)
    jobs = trace.arrival_us.shape[-1]
    expected = state.injected < jobs
    following = jnp.minimum(state.injected, jobs - 1)
    arrival = _drawn(trace.arrival_us, following)
    enters_us = jnp.where(expected & _any(state.job == _FREE, 1), jnp.maximum(arrival, state.now + 1), NEVER)
    event = jnp.minimum(jnp.minimum(_least(state.ends_us, 1), _least(comes_us, 2)), enters_us)
    now = jnp.where(when, event, state.now)
    passed = now - state.now

    # Completions.
    ended = (state.status == RUNNING) & (state.finish_us <= now) & when
    missing = state.missing & ~_words(ended, state.missing.shape[2])[:, None]
    status = jnp.where(ended, DONE, state.status)
    freed = (state.ends_us <= now) & when
    present = state.job >= 0
    unfinished = _any(jnp.swapaxes((status != DONE) & (status != EMPTY), 0, 1), 1)
    leaves = ~unfinished & present & when
    counts = leaves & (now > warm_up_us) & (now <= end_us)

    # Injection.
    job = jnp.where(leaves, _FREE, state.job)
    slots = _numbers(queue, state.now)
    first_free = _least(jnp.where(job == _FREE, slots, queue), 1)
    entered = (slots == first_free) & when & expected & (arrival <= now) & (state.injected_us < now)
    kind = _drawn(trace.kind, following)
    status = jnp.where(leaves[:, None], EMPTY, status)
    status = jnp.where(entered[:, None], _of(arrays.waiting, kind), status)
    missing = jnp.where(entered[:, None, None], _of(arrays.needed, kind), missing)

    # What has become ready.
    becomes = (status == WAITING) & jnp.all(missing == 0, axis=2) & when
    residency = state.residency_us
    if residency.shape[0]:
        of_cluster = _each(jnp.asarray(arrays.cluster), state.now)[:, None] == _numbers(residency.shape[0], state.now)
        busy = jnp.sum(of_cluster & (state.ends_us < NEVER)[:, None], axis=0)
        residency = residency + jnp.where(busy[:, None] == _numbers(residency.shape[1], state.now), passed, 0)
    enters = _any(entered, 1)
    return state._replace(
        now=now,
        injected=state.injected + enters,
        injected_us=jnp.where(enters, now, state.injected_us),
        completed=state.completed + jnp.sum(leaves, axis=0, dtype=jnp.int32),
        occupancy_us=state.occupancy_us + jnp.sum(present, axis=0, dtype=jnp.int32) * passed,
        latency_us=state.latency_us + jnp.sum(jnp.where(counts, now - state.injection_us, 0), axis=0),
        counted=state.counted + jnp.sum(counts, axis=0, dtype=jnp.int32),
        residency_us=residency,
        job=jnp.where(entered, state.injected, job),
        kind=jnp.where(entered, kind, state.kind),
        injection_us=jnp.where(entered, now, state.injection_us),
        status=jnp.where(becomes, READY, status),
        missing=missing,
        ends_us=jnp.where(freed, NEVER, state.ends_us),
        recent=jnp.where(when, 0, state.recent),
    )


class Rule(NamedTuple):
    """How a scheduler chooses.

    Attributes:
        compares: whether all ready tasks are compared, or the one that is offered first is taken.
        keys: `(state, slot, task, Estimates) -> int32, int32`, of a task: the least go first, then the first offered.
        element: `(state, slot, task, Estimates) -> int32`, the element for a task, one that can run it.
    """

    compares: bool
    keys: Callable[[State, jax.Array, jax.Array, Estimates], tuple[Array | int, Array | int]]
    element: Callable[[State, jax.Array, jax.Array, Estimates], jax.Array]


class Search(NamedTuple):
    """The comparison of ready tasks, one a step: where it stands."""

    place: jax.Array  # int32, of the task compared last, in the order of offers; -1 at the beginning
    keys: jax.Array  # int32[2], the best task's
    choice: Choice
    given: Estimates  # estimates of the best task


def no_search(arrays: Arrays) -> Search:
    """Nothing is compared yet."""
    nothing = jnp.int32(0)
    zeros = jnp.zeros(arrays.run_time.shape[2], jnp.int32)
    return Search(
        jnp.int32(-1),
        jnp.full(2, NEVER, jnp.int32),
        Choice(nothing, nothing, nothing),
        Estimates(zeros, zeros, zeros, zeros),
    )


def _better(
    search: Search, place: jax.Array, slot: jax.Array, task: jax.Array, state: State, given: Estimates, rule: Rule
) -> Search:
    """The search with one more task looked at; without meaning where there is none."""
    keys = jnp.stack([jnp.asarray(key, jnp.int32) for key in rule.keys(state, slot, task, given)])
    ahead = (keys[0] < search.keys[0]) | ((keys[0] == search.keys[0]) & (keys[1] < search.keys[1]))
    better = (search.place < 0) | ahead
    mine = Search(place, keys, Choice(slot, task, rule.element(state, slot, task, given)), given)
    return jax.tree.map(lambda new, old: jnp.where(better, new, old), mine, search)._replace(place=place)


def micro_step(
    arrays: Arrays,
    trace: Trace,
    state: State,
    search: Search,
    rule: Rule,
    warm_up_us: Array | int = -1,
    end_us: Array | int = NEVER,
) -> tuple[State, Search]:
    """Looks at one ready task, and assigns the best one once all are compared; if no task is ready then, starts one;
    if none can start, time passes."""
    place, slot, task = offered(state, search.place)
    given = estimates(arrays, state, slot, task)
    exists = place < NEVER
    if not rule.compares:
        choice, decides = Choice(slot, task, rule.element(state, slot, task, given)), exists
    else:
        search = _better(search, place, slot, task, state, given, rule)
        following, _, _ = offered(state, place)
        decides = exists & (following == NEVER)
        choice, given = search.choice, search.given
        search = search._replace(place=jnp.where(decides | ~exists, -1, place))
    state = assign(arrays, trace, state, choice, given, decides)
    idle = ~_any(state.status == READY, 2)
    state, more = start_one(state, idle)
    return advance(arrays, trace, state, idle & ~more, warm_up_us, end_us), search


def choose(arrays: Arrays, state: State, rule: Rule) -> tuple[Choice, Estimates]:
    """What a rule assigns next, where a task is ready."""

    def look(search: Search) -> Search:
        place, slot, task = offered(state, search.place)
        given = estimates(arrays, state, slot, task)
        return _better(search, place, slot, task, state, given, rule)

    def goes_on(search: Search) -> jax.Array:
        first = search.place < 0
        return first | (rule.compares & (offered(state, search.place)[0] < NEVER))

    last = jax.lax.while_loop(goes_on, look, no_search(arrays))
    return last.choice, last.given


def play(
    arrays: Arrays,
    traces: Trace,
    rule_of: Callable[[Any], Rule],
    designs: Any,
    *,
    queue: int,
    warm_up_us: Array | int = -1,
    end_us: Array | int = NEVER,
) -> State:
    """Plays S traces under each of D rules to the end.

    The loop ends with the slowest lane; a lane that is over stays as it is.

    Args:
        arrays: the kinds of jobs.
        traces: leaves with a leading axis S.
        rule_of: makes a rule of one design.
        designs: a pytree, leaves with a leading axis D.
        queue: J, the number of slots.
        warm_up_us, end_us: as `advance`.

    Returns:
        The final states, leaves with leading axes D and S.
    """

    count, drawn = len(jax.tree.leaves(designs)[0]), len(traces.arrival_us)
    of_lanes = jax.tree.map(lambda leaf: jnp.repeat(jnp.asarray(leaf), drawn, axis=0), designs)

    def asks(question: Callable[[Rule], Callable[..., Any]]) -> Callable[..., Any]:
        """Asks the rule of each lane."""

        def one(design: Any, *what: Any) -> Any:
            return jax.tree.map(jnp.asarray, question(rule_of(design))(*what))

        lanes = jax.vmap(one, in_axes=(0, -1, -1, -1, -1), out_axes=-1)
        return lambda state, slot, task, given: lanes(of_lanes, state, slot, task, given)

    any_design = jax.tree.map(lambda leaf: leaf[0], of_lanes)
    rule = Rule(rule_of(any_design).compares, asks(lambda rule: rule.keys), asks(lambda rule: rule.element))
    first = jax.vmap(lambda trace: (initial(arrays, trace, queue=queue), no_search(arrays)), out_axes=-1)(traces)
    first = jax.tree.map(lambda leaf: jnp.tile(leaf, count), first)
    last, _ = jax.lax.while_loop(
        lambda carry: ~jnp.all(is_over(traces, carry[0])),
        lambda carry: micro_step(arrays, traces, carry[0], carry[1], rule, warm_up_us, end_us),
        first,
    )
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0).reshape(count, drawn, *leaf.shape[:-1]), last)


def _own(array: Array, *index: Array) -> jax.Array:
    """`array[index]` of an array of the state, of each lane its own; `array` has the lanes last if there are any."""
    lanes = () if array.ndim == len(index) else (jnp.arange(array.shape[-1]),)
    return at(array, *index, *lanes)


def _drawn(array: Array, *index: Array) -> jax.Array:
    """`array[index]` of an array of the trace; where there are many, lane l meets trace l modulo their number."""
    lanes = () if array.ndim == len(index) else (jnp.arange(len(index[0])) % len(array),)
    return at(array, *lanes, *index)


def _of(table: Array, *index: Array) -> jax.Array:
    """`table[index]` with the lanes of the indices last."""
    behind = jnp.moveaxis(jnp.asarray(table), range(len(index)), range(-len(index), 0))
    return behind.at[(..., *index)].get(mode="promise_in_bounds")


def _each(array: jax.Array, now: Array) -> jax.Array:
    """`array` with an axis for the lanes behind, if `now` has one."""
    return array.reshape(*array.shape, *(1,) * jnp.ndim(now))


def _numbers(count: int, now: Array) -> jax.Array:
    """0 ... count - 1, as `_each`."""
    return _each(jnp.arange(count), now)


def _fold(combine: Callable[..., Any], reduce: Callable[..., Any], values: jax.Array, axes: int) -> jax.Array:
    """A reduction over the first axes; `combine` may count a value twice.

    With lanes behind them, XLA's loop over the first axes is not vectorised: five times slower than to halve them until
    two rows are left. The last two are reduced by XLA, lest the whole tree is computed anew in all that use the result.
    """
    if values.ndim == axes:
        return reduce(values, axis=tuple(range(axes)))
    rows = values.reshape(-1, *values.shape[axes:])
    while len(rows) > 2:
        half = -(-len(rows) // 2)
        rows = combine(rows[:half], rows[len(rows) - half :])
    return reduce(rows, axis=0)


_least = functools.partial(_fold, jnp.minimum, jnp.min)
_most = functools.partial(_fold, jnp.maximum, jnp.max)
_any = functools.partial(_fold, jnp.logical_or, jnp.any)
_union = functools.partial(_fold, jnp.bitwise_or, jnp.bitwise_or.reduce)


def _nothing(sets: jax.Array) -> jax.Array:
    """bool[...], whether each set, uint32[..., words], is empty."""
    return jnp.all(sets == 0, axis=-1)


def _words(members: jax.Array, words: int) -> jax.Array:
    """uint32[J, words, ...]: sets of tasks, bool[J, N, ...], as bits."""
    rows = jnp.swapaxes(members, 0, 1)
    bits = jnp.uint32(1) << (jnp.arange(len(rows)) % _WORD).astype(jnp.uint32)
    bits = bits.reshape(-1, *(1,) * (rows.ndim - 1))
    shown = jnp.where(rows, bits, jnp.uint32(0))
    return jnp.stack([_union(shown[word * _WORD : (word + 1) * _WORD], 1) for word in range(words)], axis=1)
