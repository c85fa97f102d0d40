"""What a player of memory mapping sees: accesses, the next decision, and fast memory around the present.

Values are of order one. R accesses; times over the mean time of an instruction where everything is slow.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from . import msa, simulator
from .discrete import GRANULES, NONE, Arrays, DiscreteProgram

__all__ = ["AHEAD", "BEHIND", "COLUMNS", "HIGHEST", "IMAGE", "Decision", "access_features", "decision", "image"]

BEHIND, AHEAD = 4, 16  # accesses that are seen before and after the next one
IMAGE = 64  # instructions, and stretches of addresses, in the image
HIGHEST = 10.0  # where values are clipped
# What is fixed about an access, in the order of `access_features`.
COLUMNS = (
    "logarithm of the buffer's size",
    "size over the capacity",
    "output or operand",
    "arithmetic of the instruction",
    "its memory time, all slow",
    "whether that is longer",
    "time that the access alone saves",
    "instructions until the next use",
    "accesses of the buffer to come",
    "live-out",
    "in place of another buffer",
)


def access_features(discrete: DiscreteProgram, profile: msa.Profile) -> np.ndarray:
    """float32[R, COLUMNS], what is fixed about each access."""
    arrays, program = discrete.arrays, discrete.program
    length, mean = len(arrays.compute), discrete.all_slow_ticks / len(arrays.compute)
    t, b = arrays.instruction, arrays.buffer
    sizes = np.array([buffer.bytes for buffer in program.buffers], float)
    left, seen = np.zeros(len(t)), dict.fromkeys(range(len(sizes)), 0)
    for r in reversed(range(len(t))):
        left[r] = seen[int(b[r])]
        seen[int(b[r])] += 1
    columns = (
        np.log2(1.0 + sizes[b]) / 16.0,
        sizes[b] / (discrete.granule_bytes * int(arrays.capacity)),
        arrays.is_output,
        arrays.compute[t] / mean,
        arrays.slow_bound[t] / mean,
        arrays.slow_bound[t] > arrays.compute[t],
        profile.saved / mean,
        np.where(arrays.next_use == NONE, 0, arrays.next_use - t) / length * 4.0,
        left / 4.0,
        arrays.live_out[b],
        arrays.predecessor[b] != NONE,
    )
    return np.clip(np.stack([np.asarray(column, np.float32) for column in columns], axis=1), -1.0, HIGHEST)


class Decision(NamedTuple):
    """The next decision and the game so far. Scalars."""

    gain: Array  # time saved now by serving the access from fast memory
    missing: Array  # copy time beyond the idle time in its window
    copy: Array  # time of a copy
    window: Array  # instructions since the granules are taken, over all
    found: Array  # bool, whether there is a place
    evicts: Array  # bool, whether it takes others' granules
    victims_next_use: Array  # instructions until then, over all; 1 where there are no victims
    memory: Array  # memory time of the instruction so far, over all slow
    legal: Array  # float32[3]
    decided: Array  # share of the accesses
    latency: Array  # over all slow
    stall: Array  # over all slow
    taken: Array  # share of fast memory
    reserved: Array  # share of fast memory


def decision(
    arrays: Arrays,
    access: simulator.Access,
    game: simulator.State,
    place: simulator.Place,
    number: Array,
    all_slow: Array,
    instructions: Array,
    decisions: Array,
) -> Decision:
    """What there is to know of the next access, `number`; of the last one after the end. T and R are given, as arrays
    may be padded.
    """
    t, prefix, length = access.instruction, game.prefix, instructions
    mean = all_slow / length
    memory = jnp.where(access.is_first, access.slow_bound, game.memory)
    faster = memory - (access.slow - access.fast)
    gain = jnp.maximum(access.compute, memory) - jnp.maximum(access.compute, faster)
    since = prefix[t] - prefix[jnp.minimum(place.start, t)]
    idle = jnp.where(access.is_output, simulator.write_back_idle(prefix, access), since)
    taken, reserved = simulator.occupancy(game, arrays, t)
    return Decision(
        gain=gain / mean,
        missing=jnp.maximum(access.copy - idle, 0) / mean,
        copy=access.copy / mean,
        window=(t - place.start) / length,
        found=place.found,
        evicts=place.evicts & place.found,
        victims_next_use=jnp.minimum(simulator.soonest_reserved(game, access, place) - t, length) / length,
        memory=memory / jnp.maximum(access.slow_bound, 1),
        legal=place.mask,
        decided=number / decisions,
        latency=game.latency / all_slow,
        stall=game.stall / all_slow,
        taken=taken,
        reserved=reserved,
    )


def image(now: Array, game: simulator.State, all_slow: Array, length: Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Fast memory around an instruction: taken, reserved, idle bandwidth; float32[IMAGE, IMAGE] each.

    Rows are instructions, `length` in all, columns stretches of addresses; 0 before the first instruction and after the
    last.
    """
    times = now - IMAGE // 2 + jnp.arange(IMAGE)
    busy, owned_until = simulator.granules_until(game)
    taken = busy[None, :] >= times[:, None]
    owned = (owned_until[None, :] >= times[:, None]) & ~taken
    shape = (IMAGE, IMAGE, GRANULES // IMAGE)
    known = (times >= 0) & (times < length)
    inside = jnp.clip(times, 0, length - 1)
    idle = jnp.where(known, game.prefix[inside + 1] - game.prefix[inside], 0) / (all_slow / length)
    channels = (
        jnp.mean(taken.reshape(shape), -1),
        jnp.mean(owned.reshape(shape), -1),
        jnp.broadcast_to(idle[:, None], (IMAGE, IMAGE)),
    )
    shown = [jnp.where(known[:, None], channel, 0.0) for channel in channels]
    return shown[0], shown[1], shown[2]
