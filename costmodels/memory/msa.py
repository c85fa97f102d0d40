"""A heuristic like XLA's memory space assignment (MSA): buffers in the order of benefit over size, segment by segment.

After openxla/xla, xla/service/memory_space_assignment: the benefit of a buffer is the memory time that its accesses in
memory-bound instructions save in fast memory; buffers are taken by decreasing benefit / size^exponent; each access is
served by keeping the buffer since the access before (no-copy), else by a prefetch whose window is long enough for the
copy, else from slow memory. Planning uses XLA's optimistic resource: an instruction's whole time is there for copies,
each tick of it once. What the plan really costs is for the simulator to say. Not modelled: retries, the repacker,
cross-program prefetch, while loops' nesting. Offsets are not planned either: capacity is a load profile with slack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from .discrete import NONE, Arrays
from .simulator import COPY, DROP, NO_COPY

__all__ = ["DEFAULTS", "KNOBS", "Knobs", "Profile", "plan", "profile"]


Value = TypeVar("Value", covariant=True)


class Knobs(NamedTuple, Generic[Value]):
    """What can be tuned; float32 scalars for `plan`."""

    size_exponent: Value  # of the size in benefit / size^exponent; XLA: 0.5, or 0
    min_overlap: Value  # a prefetch window lasts at least so many times its copy, less the time saved; XLA's tests: 0.8
    preferred_overlap: Value  # and this many times by preference; XLA's tests: 1.5
    max_overlap: Value  # a window, in times of copying the whole fast memory; XLA's tests: 10
    slack: Value  # share of the capacity left free, for fragmentation; ours
    use_to_copy: Value  # least time saved at a use over its copy's; XLA: 0, or 0.5 by a flag


# What a tuner chooses from, and the defaults (of XLA's tests, but for the slack, which is ours).
KNOBS: Knobs[tuple[float, ...]] = Knobs(
    size_exponent=(0.0, 0.25, 0.5, 0.75, 1.0),
    min_overlap=(0.8, 1.25, 1.5, 2.0, 3.0, 4.0),
    preferred_overlap=(0.5, 1.0, 1.5, 2.0, 4.0, 8.0),
    max_overlap=(1.0, 2.0, 5.0, 10.0, 16.0, 32.0),
    slack=(0.0, 0.05, 0.1, 0.15, 0.2, 0.3),
    use_to_copy=(0.0, 0.1, 0.25, 0.5, 1.0),
)
DEFAULTS = Knobs(0.5, 0.8, 1.5, 10.0, 0.1, 0.0)


class Profile(NamedTuple):
    """What the heuristic knows of an instance beyond its arrays."""

    benefit: Array  # float32[B], ticks
    bytes: Array  # float32[B]
    previous: Array  # int32[R], the instruction of the buffer's access before, or NONE
    write: Array  # int32[B], the access that writes the buffer, or R for a parameter
    saved: Array  # int32[R], ticks that the access alone saves


def profile(arrays: Arrays, sizes: Sequence[int] | np.ndarray) -> Profile:
    """The benefit of every buffer, in NumPy.

    Args:
        arrays: the instance, NumPy arrays.
        sizes: [B], B.
    """
    count = len(arrays.buffer)
    margin = arrays.slow_bound.astype(np.int64) - arrays.compute
    benefit = np.where(
        margin[arrays.instruction] > 0, arrays.slow.astype(np.int64) - arrays.fast, margin[arrays.instruction]
    )
    saved = np.maximum(arrays.compute, arrays.slow_bound)[arrays.instruction] - np.maximum(
        arrays.compute[arrays.instruction], arrays.slow_bound[arrays.instruction] - arrays.slow + arrays.fast
    )
    total: dict[int, int] = {}
    previous, write, last = np.full(count, NONE), np.full(len(sizes), count), {}
    for r in range(count):
        b, here = int(arrays.buffer[r]), int(benefit[r])
        if b not in total:
            total[b] = here
        else:
            total[b] = total[b] + here if total[b] > 0 and here > 0 else max(total[b], here)
        previous[r] = last.get(b, NONE)
        last[b] = int(arrays.instruction[r])
        if arrays.is_output[r]:
            write[b] = r
    return Profile(
        benefit=np.array([total.get(b, 0) for b in range(len(sizes))], np.float32),
        bytes=np.maximum(np.asarray(sizes, np.float32), 1.0),
        previous=previous.astype(np.int32),
        write=write.astype(np.int32),
        saved=saved.astype(np.int32),
    )


class _Carry(NamedTuple):
    load: Array  # int32[T], granules of fast memory that the plan takes
    resource: Array  # int32[T + 1], prefix sum of ticks left for copies
    actions: jax.Array  # int32[R + 1]; the last one is nobody's
    is_fast: Array  # bool, whether the buffer's access before was served from fast memory
    saved_once: Array  # bool, whether slow memory holds the buffer


def plan(arrays: Arrays, profile: Profile, knobs: Knobs[Array]) -> jax.Array:
    """The heuristic's mapping, int32[R] of actions. Pure JAX."""
    count, length = arrays.buffer.shape[0], arrays.compute.shape[0]
    instruction = jnp.arange(length)
    elapsed = jnp.maximum(arrays.compute, arrays.slow_bound)
    time = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(elapsed, dtype=jnp.int32)])  # fixed, for ratios
    room = jnp.floor(arrays.capacity * (1.0 - knobs.slack)).astype(jnp.int32)
    whole_copy = jnp.max(jnp.where(arrays.granules > 0, arrays.copy / jnp.maximum(arrays.granules, 1), 0.0))
    longest = knobs.max_overlap * whole_copy * arrays.capacity

    score = profile.benefit / profile.bytes**knobs.size_exponent
    rank = jnp.argsort(jnp.argsort(-score))
    order = jnp.argsort(rank[arrays.buffer] * count + jnp.arange(count))

    def body(carry: _Carry, r: Array) -> tuple[_Carry, None]:
        t, b, before = arrays.instruction[r], arrays.buffer[r], profile.previous[r]
        is_output, size, copy = arrays.is_output[r], arrays.granules[b], arrays.copy[b]
        in_place = is_output & (arrays.predecessor[b] != NONE)
        fresh = before == NONE
        was_fast = jnp.where(fresh, False, carry.is_fast)
        held = jnp.where(fresh, arrays.in_slow[b], carry.saved_once)
        fits = (size > 0) & (size <= room)
        free = carry.load + size <= room

        since = jnp.where(is_output, t, before + 1)
        stays = fits & (is_output | was_fast)
        stays &= jnp.all(free | (instruction < since) | (instruction > t))
        stays &= time[t] - time[jnp.clip(since, 0, t)] <= longest

        # A prefetch: all windows at once, from the instruction after the access before.
        blocked_until = jnp.max(jnp.where(~free & (instruction <= t), instruction, NONE))
        first = jnp.maximum(jnp.maximum(before + 1, 0), blocked_until + 1)
        between = time[t] - time[1:]  # strictly between a and t
        left = carry.resource[t] - carry.resource[1:]
        window = (instruction >= first) & (instruction < t) & (left >= copy) & (between <= longest)
        window &= between + profile.saved[r] >= knobs.min_overlap * copy
        distance = jnp.where(window, jnp.abs(between - knobs.preferred_overlap * copy), jnp.inf)
        start = jnp.argmin(distance)
        prefetch = ~is_output & ~stays & fits & jnp.any(window) & arrays.copy_allowed[r]
        prefetch &= profile.saved[r] >= knobs.use_to_copy * copy
        prefetch &= profile.saved[r] > 0
        stays &= ~in_place  # simple: what is updated in place is planned as slow from there on

        is_fast = stays | prefetch
        begin = jnp.where(prefetch, start, since)
        taken = is_fast & (instruction >= begin) & (instruction <= t)
        sold_from = jnp.where(prefetch, carry.resource[t] - copy, 0)
        sold = jnp.where(prefetch, copy, 0)
        # A buffer that was only in fast memory and is not kept there is written back from its definition on.
        saves = was_fast & ~stays & ~held
        saves |= is_output & stays & arrays.live_out[b]
        place = jnp.where(saves, profile.write[b], count)
        action = jnp.where(stays, NO_COPY, jnp.where(prefetch, COPY, DROP))
        actions = carry.actions.at[r].set(action).at[place].set(COPY)
        return _Carry(
            load=carry.load + jnp.where(taken, size, 0),
            resource=carry.resource - jnp.clip(carry.resource - sold_from, 0, sold),
            actions=actions,
            is_fast=is_fast,
            saved_once=held | saves | (is_output & ~stays),
        ), None

    begin = _Carry(
        jnp.zeros(length, jnp.int32), time, jnp.zeros(count + 1, jnp.int32), jnp.bool_(False), jnp.bool_(False)
    )
    return jax.lax.scan(body, begin, order)[0].actions[:count]
