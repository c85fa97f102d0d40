"""The memory-mapping game in JAX: what a mapping costs, decision by decision. The rules: docs/memory_mapping.md.

Everything is a pure function of one lane, in int32 ticks and granules, for `vmap` and `scan`. A step costs a few
passes over the granules, the instructions and the buffers, because two things are kept in the form in which they are
asked for:

- idle time as its prefix sum P. Selling D ticks from the prefix value u on is P - clip(P - u, 0, D); no sum is redone.
- fast memory as one number a granule: `busy_until` + 1 in the low bits, the owner's next use + 1 in the high bits. All
  stays begin no later than now, so that a granule is free from instruction a on exactly if its `busy_until` is below a.

Letters: T instructions, B buffers, R accesses, K granules (`discrete.GRANULES`).
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from .discrete import GRANULES, NONE, Arrays

__all__ = [
    "ACTIONS",
    "COPY",
    "DROP",
    "NO_COPY",
    "Access",
    "Place",
    "Record",
    "State",
    "access_at",
    "accesses",
    "granules_until",
    "initial",
    "locate",
    "occupancy",
    "play",
    "replay",
    "soonest_reserved",
    "step",
    "write_back_idle",
]

ACTIONS = ("drop", "no_copy", "copy")
DROP, NO_COPY, COPY = range(3)

_RESERVED = 2**15  # instructions are numbered below this
_BUSY = _RESERVED - 1  # mask of the low bits; as a value: never free
_NEVER = 2**30
_BITS = GRANULES.bit_length() - 1
# The granule that stands at each place of `State.cells`: bit-reversed order, see `_best_fit`.
_CELLS = np.array([int(f"{place:0{_BITS}b}"[::-1], 2) for place in range(GRANULES)], np.int32)


class Access(NamedTuple):
    """One decision with everything static about it: int32 or bool scalars (arrays [R] from `accesses`)."""

    instruction: Array
    buffer: Array
    is_output: Array
    slow: Array  # ticks
    fast: Array  # ticks
    next_use: Array
    last_access: Array
    copy_allowed: Array
    is_first: Array  # of its instruction
    compute: Array  # ticks, of its instruction
    slow_bound: Array  # ticks, of its instruction
    granules: Array  # of its buffer
    copy: Array  # ticks, of its buffer
    live_out: Array
    predecessor: Array
    number: Array  # of the decision


class State(NamedTuple):
    """Where a game stands, after the decisions so far. int32."""

    cells: Array  # [K] in the order of _CELLS, see the module's docstring
    prefix: Array  # [T + 1], P: idle ticks of all instructions before
    offset: Array  # [B], granules; NONE where not resident
    last: Array  # [B], the instruction until which a resident buffer's granules are taken
    slow_from: Array  # [B], from when slow memory holds the buffer; NONE where it does not
    memory: Array  # [], ticks of memory access of the current instruction
    latency: Array  # [], ticks
    stall: Array  # [], ticks, part of the latency
    illegal: Array  # [], actions that counted as Drop


class Place(NamedTuple):
    """Where the next access could go, and what it may do."""

    found: Array  # bool
    offset: Array  # granules
    start: Array  # instruction from which the granules are taken
    evicts: Array  # bool: it may take granules of resident buffers
    mask: Array  # bool[3], the legal actions


class Record(NamedTuple):
    """What one step did, for diagrams and tests. int32 scalars (arrays [R] from `replay`)."""

    action: Array  # as carried out
    offset: Array  # granules; NONE where served from slow memory
    start: Array  # instruction from which the granules are taken
    until: Array  # instruction until which they are taken
    stall: Array  # ticks
    copied_in: Array  # bool
    copied_out: Array  # bool: a write-back
    evicted: Array  # int32, buffers that were copied back because another one took their place, or on their Drop
    reward: Array  # ticks of latency saved


def accesses(arrays: Arrays, numpy: ModuleType = jnp) -> Access:
    """All decisions in order; arrays [R], of JAX or of NumPy, which compiles nothing."""
    t, b = arrays.instruction, arrays.buffer
    return Access(
        instruction=t,
        buffer=b,
        is_output=arrays.is_output,
        slow=arrays.slow,
        fast=arrays.fast,
        next_use=arrays.next_use,
        last_access=arrays.last_access,
        copy_allowed=arrays.copy_allowed,
        is_first=numpy.concatenate([numpy.ones(1, bool), t[1:] != t[:-1]]),
        compute=arrays.compute[t],
        slow_bound=arrays.slow_bound[t],
        granules=arrays.granules[b],
        copy=arrays.copy[b],
        live_out=arrays.live_out[b],
        predecessor=arrays.predecessor[b],
        number=numpy.arange(len(t), dtype=numpy.int32),
    )


def access_at(table: Access, number: Array | int) -> Access:
    """One decision of all."""
    return jax.tree.map(lambda column: column[number], table)


def initial(arrays: Arrays, numpy: ModuleType = jnp) -> State:
    """Before the first decision: everything slow, nothing sold, parameters resident where the instance says so; of JAX
    or of NumPy, which compiles nothing.
    """
    int32 = numpy.int32
    times = numpy.maximum(arrays.compute, arrays.slow_bound)
    prefix = numpy.concatenate([numpy.zeros(1, int32), numpy.cumsum(times - arrays.slow_bound, dtype=int32)])
    cell = _CELLS
    offset = numpy.asarray(arrays.resident_offset, int32)
    inside = (cell >= offset[:, None]) & (cell < (offset + arrays.granules)[:, None]) & (offset >= 0)[:, None]
    reserved = numpy.max(numpy.where(inside, (arrays.first_use + 1)[:, None] * _RESERVED, 0), axis=0, initial=0)
    return State(
        cells=numpy.where(cell < arrays.capacity, reserved, _BUSY).astype(int32),
        prefix=prefix,
        offset=offset,
        last=numpy.full_like(offset, NONE),
        slow_from=numpy.where(arrays.in_slow, 0, NONE).astype(int32),
        memory=int32(0),
        latency=numpy.sum(times, dtype=int32),
        stall=int32(0),
        illegal=int32(0),
    )


def locate(arrays: Arrays, state: State, access: Access) -> Place:
    """Where the next access could go, and which actions are legal."""
    t, b, prefix = access.instruction, access.buffer, state.prefix
    resident = state.offset[b] >= 0
    now = prefix[t]
    found_idle = jnp.minimum(access.copy, now - prefix[jnp.clip(state.slow_from[b], 0, t)])
    latest = jnp.minimum(t, jnp.sum(prefix[1:] <= now - found_idle, dtype=jnp.int32))
    wanted = jnp.where(access.is_output, t, latest)

    busy = state.cells & _BUSY
    blocked = jnp.stack([state.cells > wanted, state.cells > t, busy > t])
    found, offset = _best_fit(blocked, access.granules)
    attempt = jnp.argmax(found)
    offset = offset[attempt]
    cell = _CELLS
    chosen = (cell >= offset) & (cell < offset + access.granules)
    start = jnp.maximum(wanted, jnp.max(jnp.where(chosen, busy, 0)))  # `busy` is busy_until + 1
    found = jnp.any(found) & (access.granules > 0) & (access.granules <= arrays.capacity)

    in_place = access.is_output & (access.predecessor >= 0)
    there = state.offset[access.predecessor]
    may_stall = arrays.stalls_allowed
    enough_in = may_stall | (now - prefix[start] >= access.copy)
    enough_out = may_stall | (write_back_idle(prefix, access) >= access.copy)
    stay = jnp.where(access.is_output, jnp.where(in_place, there >= 0, found), resident)
    copy = jnp.where(access.is_output, ~in_place & enough_out, ~resident & enough_in) & found & access.copy_allowed
    return Place(found, offset, start, attempt == 2, jnp.stack([jnp.bool_(True), stay, copy]))


def write_back_idle(prefix: Array, access: Access) -> jax.Array:
    """Idle ticks between an access and the buffer's next use."""
    after = access.instruction + 1
    end = jnp.where(access.next_use >= 0, jnp.maximum(access.next_use, after), prefix.shape[0] - 1)
    return prefix[end] - prefix[after]


def soonest_reserved(state: State, access: Access, place: Place) -> jax.Array:
    """The soonest next use of the buffers whose granules a place takes; a large number if it takes nobody's."""
    chosen = (place.offset <= _CELLS) & (place.offset + access.granules > _CELLS)
    owner_use = state.cells // _RESERVED - 1
    return jnp.min(jnp.where(chosen & (owner_use >= 0), owner_use, _NEVER))


def granules_until(state: State) -> tuple[Array, Array]:
    """Per granule in the order of addresses: `busy_until`, and the owner's next use or NONE. int32[K]."""
    cells = state.cells[_CELLS]  # bit reversal is its own inverse
    return (cells & _BUSY) - 1, cells // _RESERVED - 1


def occupancy(state: State, arrays: Arrays, instruction: Array) -> tuple[Array, Array]:
    """Shares of fast memory taken at an instruction, and reserved. float32."""
    beyond = GRANULES - arrays.capacity
    taken = jnp.sum((state.cells & _BUSY) > instruction) - beyond
    return taken / arrays.capacity, jnp.sum(state.cells >= _RESERVED) / arrays.capacity


def _best_fit(blocked: Array, granules: Array) -> tuple[jax.Array, jax.Array]:
    """Per row of bool[..., K], the shortest maximal run of free cells that is long enough, the lowest of equals.

    A reduction over segments of the row, pairwise: of each, the free cells at its lower and upper end, and the best run
    inside. The cells lie in bit-reversed order, so that neighbours to be joined stand in the two halves of an array.

    Returns:
        bool[...], whether there is one; int32[...], its first cell.
    """
    lower = upper = (~blocked).astype(jnp.uint8)  # small numbers first: the pass is bound by memory
    best, length = None, 1
    while length < GRANULES:
        half = GRANULES // (2 * length)
        if length == 128:
            lower, upper = lower.astype(jnp.int32), upper.astype(jnp.int32)
        (lower_a, lower_b), (upper_a, upper_b) = ((x[..., :half], x[..., half:]) for x in (lower, upper))
        full = jnp.asarray(length, lower.dtype)
        if length > 1:  # no run lies inside a pair of granules
            run = (upper_a + lower_b).astype(jnp.int32)
            inside = (lower_a < full) & (lower_b < full) & (run >= granules)
            rank = jnp.where(inside, run * GRANULES + _CELLS[:half] + length - upper_a.astype(jnp.int32), _NEVER)
            best = rank if best is None else jnp.minimum(rank, jnp.minimum(best[..., :half], best[..., half:]))
        lower = jnp.where(lower_a == full, full + lower_b, lower_a)
        upper = jnp.where(upper_b == full, full + upper_a, upper_b)
        length *= 2
    assert best is not None
    lower, upper, best = lower[..., 0], upper[..., 0], best[..., 0]
    at_bottom = jnp.where(lower >= granules, lower * GRANULES, _NEVER)
    at_top = jnp.where((lower < GRANULES) & (upper >= granules), upper * GRANULES + GRANULES - upper, _NEVER)
    best = jnp.minimum(best, jnp.minimum(at_bottom, at_top))
    return best < _NEVER, best % GRANULES


def step(arrays: Arrays, state: State, access: Access, place: Place, action: Array) -> tuple[State, Record]:
    """Carries out one decision.

    Args:
        arrays: the instance.
        state: before the decision.
        access: which decision.
        place: what `locate` says of them.
        action: int32, an index into ACTIONS; one that is not legal counts as Drop.
    """
    t, b, prefix = access.instruction, access.buffer, state.prefix
    legal = place.mask[action]
    action = jnp.where(legal, action, DROP)
    is_fast, is_output = action != DROP, access.is_output
    resident, holds = state.offset[b] >= 0, state.slow_from[b] >= 0
    in_place = is_output & (access.predecessor >= 0)
    source = jnp.where(in_place, access.predecessor, b)  # whose granules are kept or given up
    there = state.offset[source]
    placing = is_fast & (there < 0)
    offset = jnp.where(placing, place.offset, there)

    # Eviction: of the victims of a placement, or of what is dropped.
    sizes, dirty = arrays.granules, state.slow_from < 0
    overlaps = (state.offset < offset + access.granules) & (state.offset + sizes > offset) & (state.offset >= 0)
    victims = overlaps & placing & place.evicts
    unsaved = victims & dirty
    dropped = ~is_fast & (there >= 0)
    dropped_dirty = dropped & dirty[source]
    due = jnp.sum(jnp.where(unsaved, arrays.copy, 0)) + jnp.where(dropped_dirty, arrays.copy[source], 0)
    since = jnp.where(dropped, state.last[source], jnp.max(jnp.where(unsaved, state.last, NONE))) + 1
    until = jnp.where(dropped, t, place.start)
    out_from = prefix[jnp.minimum(since, until)]
    out_idle = jnp.minimum(due, prefix[until] - out_from)

    # The copy in, or the write-back.
    copied_in = placing & ~is_output
    unsaved_here = jnp.where(is_output, True, resident & ~holds)
    copied_out = is_fast & jnp.where(is_output & (action == COPY), True, access.live_out & access.last_access)
    copied_out &= unsaved_here
    in_idle = jnp.minimum(access.copy, prefix[t] - prefix[place.start])
    back_idle = jnp.minimum(access.copy, write_back_idle(prefix, access))
    copy_from = jnp.where(copied_in, prefix[t] - in_idle, prefix[t + 1])
    copy_idle = jnp.where(copied_in, in_idle, jnp.where(copied_out, back_idle, 0))
    copy_due = jnp.where(copied_in | copied_out, access.copy, 0)
    back_end = jnp.sum(prefix[1:] < prefix[t + 1] + back_idle, dtype=jnp.int32)
    taken_until = jnp.where(copied_out & (back_idle > 0), back_end, t)
    stall = due - out_idle + copy_due - copy_idle

    # Time.
    memory = jnp.where(access.is_first, access.slow_bound, state.memory)
    faster = memory - jnp.where(is_fast, access.slow - access.fast, 0)
    saved = jnp.maximum(access.compute, memory) - jnp.maximum(access.compute, faster)
    freed = jnp.where(is_fast, access.slow, 0) - saved
    moved = prefix - jnp.clip(prefix - out_from, 0, out_idle) - jnp.clip(prefix - copy_from, 0, copy_idle)
    moved += jnp.where(jnp.arange(prefix.shape[0]) > t, freed, 0)

    # Granules: its own; and those given up, which lie in one range around or beside its own.
    cell = _CELLS
    own = (cell >= offset) & (cell < offset + access.granules) & is_fast
    low = jnp.where(dropped, there, jnp.min(jnp.where(victims, state.offset, GRANULES)))
    high = jnp.where(dropped, there + sizes[source], jnp.max(jnp.where(victims, state.offset + sizes, 0)))
    given_up = (cell >= low) & (cell < high)
    floor = jnp.where(dropped, jnp.where(dropped_dirty, t, 0), place.start)
    value = taken_until + 1 + jnp.where(access.last_access, 0, (access.next_use + 1) * _RESERVED)
    cells = jnp.where(given_up, jnp.maximum(state.cells & _BUSY, floor), state.cells)

    # Buffers.
    holds_after = jnp.where(is_output, ~is_fast, holds | dropped) | copied_out
    buffer = jnp.arange(sizes.shape[0])
    here, gone = buffer == b, victims | ((buffer == source) & (is_output | ~is_fast))
    after = State(
        cells=jnp.where(own, value, cells),
        prefix=moved,
        offset=jnp.where(
            here, jnp.where(is_fast & ~access.last_access, offset, NONE), jnp.where(gone, NONE, state.offset)
        ),
        last=jnp.where(here, taken_until, state.last),
        slow_from=jnp.where(
            here, jnp.where(holds_after, taken_until + 1, NONE), jnp.where(unsaved, place.start, state.slow_from)
        ),
        memory=faster,
        latency=state.latency - saved + stall,
        stall=state.stall + stall,
        illegal=state.illegal + ~legal,
    )
    record = Record(
        action=action,
        offset=jnp.where(is_fast, offset, NONE),
        start=jnp.where(copied_in, place.start, t),
        until=taken_until,
        stall=stall,
        copied_in=copied_in,
        copied_out=copied_out,
        evicted=jnp.sum(unsaved, dtype=jnp.int32) + dropped_dirty,
        reward=saved - stall,
    )
    return after, record


def play(arrays: Arrays, plan: Array) -> State:
    """Plays a whole mapping.

    Args:
        arrays: the instance.
        plan: int32[R], the actions; one that is not legal counts as Drop.
    """
    return _scan(arrays, plan)[0]


def replay(arrays: Arrays, plan: Array) -> tuple[State, Record]:
    """As `play`, with what every step did: arrays [R]."""
    return _scan(arrays, plan)


def _scan(arrays: Arrays, plan: Array) -> tuple[State, Record]:
    def body(state: State, decision: tuple[Access, Array]) -> tuple[State, Record]:
        access, action = decision
        return step(arrays, state, access, locate(arrays, state, access), action)

    return jax.lax.scan(body, initial(arrays), (accesses(arrays), jnp.asarray(plan, jnp.int32)))
