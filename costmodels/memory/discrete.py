"""A program on a platform in whole numbers: times in ticks, sizes in granules.

The game compares sums of times with each other at every step. In integers the comparisons are exact: the same plan
gives the same latency at every batch size, on every machine and in every simulator. A tick is just so long that all
times of an instance, with every access copied in and out, stay below 2^30 ticks.

Letters: T instructions, B buffers, R accesses (decisions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from ..errors import DsegymError, shortened
from .platforms import Platform
from .program import Program

__all__ = ["GRANULES", "NONE", "PER_ACCESS", "PER_BUFFER", "PER_INSTRUCTION", "Arrays", "DiscreteProgram", "discretise"]

GRANULES = 256  # of fast memory at most; a granule is a multiple of the platform's own so that this holds
NONE = -1  # no such instruction or buffer
MAX_TICKS = 2**30
FINE, COARSE = 2.0**-20, 2.0**-14  # of the latency with everything slow: ticks are rarely, and never, longer


class Arrays(NamedTuple):
    """An instance as the simulator takes it; every array int32 unless it says otherwise."""

    # Per instruction, [T].
    compute: Array  # ticks of arithmetic
    slow_bound: Array  # ticks of memory access if all accesses are to slow memory
    # Per access, [R], in the order of the game: by instruction, operands before outputs.
    instruction: Array
    buffer: Array
    is_output: Array  # bool
    slow: Array  # ticks of this access from or to slow memory
    fast: Array  # ticks from or to fast memory
    next_use: Array  # the next instruction that needs the buffer, or NONE; a buffer that another one overwrites in
    # place is needed until then
    last_access: Array  # bool: no later access needs the buffer
    copy_allowed: Array  # bool: False for all but the first access of an alias group
    # Per buffer, [B].
    granules: Array  # size
    copy: Array  # ticks of a copy between the memories
    live_out: Array  # bool: must be in slow memory at the end
    in_slow: Array  # bool: in slow memory at the start (parameters)
    predecessor: Array  # the buffer that this one is written in place of, or NONE
    first_use: Array  # instruction of the first access
    resident_offset: Array  # granules: where the buffer lies in fast memory at the start, or NONE
    # Scalars.
    capacity: Array  # granules of fast memory, at most GRANULES
    stalls_allowed: Array  # bool: bandwidth `charged` (True) or `idle` (False)


PER_INSTRUCTION = Arrays._fields[:2]
PER_ACCESS = Arrays._fields[2:10]
PER_BUFFER = Arrays._fields[10:17]


@dataclass(frozen=True, eq=False)
class DiscreteProgram:
    """A program on a platform, discretised.

    Attributes:
        program: the program, its elements as wide as the platform's.
        platform: the platform.
        arrays: `Arrays` of NumPy arrays.
        tick_s: s a tick.
        granule_bytes: B a granule.
        all_slow_ticks: the latency with every access to slow memory.
        all_fast_ticks: the latency with every access to fast memory and no copy: no mapping is faster.
    """

    program: Program
    platform: Platform
    arrays: Arrays
    tick_s: float
    granule_bytes: int
    all_slow_ticks: int
    all_fast_ticks: int

    @property
    def all_slow_s(self) -> float:
        """The latency in s with every access to slow memory."""
        return self.all_slow_ticks * self.tick_s


def discretise(
    program: Program, platform: Platform, *, capacity_bytes: int | None = None, bandwidth: str = "charged"
) -> DiscreteProgram:
    """A program on a platform in whole numbers.

    Args:
        program: the program.
        platform: the platform.
        capacity_bytes: B of fast memory; the platform's own when left out.
        bandwidth: `charged` (what a copy lacks in idle bandwidth is a stall) or `idle` (such a copy is not allowed).

    Raises:
        DsegymError: the capacity is less than one granule, there is no such bandwidth accounting, the program takes no
            time, or times lie too far apart.
    """
    if bandwidth not in ("charged", "idle"):
        raise DsegymError(f"Unknown bandwidth accounting '{bandwidth}'; there are: charged, idle.")
    program = program.with_element_bits(platform.element_bits)
    capacity = platform.capacity_bytes if capacity_bytes is None else int(capacity_bytes)
    if capacity < platform.granule_bytes:
        raise DsegymError(
            f"A fast memory of {capacity} B holds no granule; {platform.name} needs {platform.granule_bytes} B or more."
        )
    granule = platform.granule_bytes * -(-capacity // (GRANULES * platform.granule_bytes))
    accesses, buffers, length = program.accesses, program.buffers, len(program.instructions)

    compute_s = np.array([instruction.flops / platform.peak_flops for instruction in program.instructions])
    slow_s = np.array([access.bytes / platform.slow_bytes_per_s for access in accesses])
    fast_s = np.array([access.bytes / platform.fast_bytes_per_s for access in accesses])
    copy_s = np.array([buffer.bytes / platform.copy_bytes_per_s for buffer in buffers])
    instruction = np.array([access.instruction for access in accesses], np.int32)
    buffer = np.array([access.buffer for access in accesses], np.int32)

    all_slow_s = np.maximum(compute_s, np.bincount(instruction, slow_s, length)).sum()
    if not all_slow_s:
        raise DsegymError(
            f"Program '{shortened(program.name)}' takes no time: nothing is computed and nothing is moved."
        )
    granules = np.array([min(-(-b.bytes // granule), GRANULES + 1) for b in buffers], np.int32)
    tick_s = _tick(all_slow_s, copy_s[buffer])
    if tick_s > all_slow_s * FINE:  # what fits into no fast memory is never copied, and need not be countable
        copy_s = np.where(granules <= capacity // granule, copy_s, 0.0)
        tick_s = _tick(all_slow_s, copy_s[buffer])
    if tick_s > all_slow_s * COARSE:
        largest = buffers[int(np.argmax(copy_s))]
        raise DsegymError(
            f"Program '{shortened(program.name)}' takes {all_slow_s:.3g} s and a copy of '{shortened(largest.name)}' "
            f"{copy_s.max():.3g} s, too far apart to be counted in the same ticks; take a smaller capacity."
        )

    def ticks(seconds: np.ndarray) -> np.ndarray:
        return np.rint(seconds / tick_s).astype(np.int32)

    slow, fast, compute = ticks(slow_s), ticks(fast_s), ticks(compute_s)
    slow_bound, fast_bound = (np.bincount(instruction, x, length).astype(np.int32) for x in (slow, fast))
    predecessor = np.array(program.predecessors, np.int32)
    next_use, last_access, copy_allowed, first_use = _uses(program, predecessor)
    arrays = Arrays(
        compute=compute,
        slow_bound=slow_bound,
        instruction=instruction,
        buffer=buffer,
        is_output=np.array([access.is_output for access in accesses]),
        slow=slow,
        fast=fast,
        next_use=next_use,
        last_access=last_access,
        copy_allowed=copy_allowed,
        granules=granules,
        copy=ticks(copy_s),
        live_out=np.array([b.live_out for b in buffers]),
        in_slow=np.array([b.kind == "parameter" for b in buffers]),
        predecessor=predecessor,
        first_use=first_use,
        resident_offset=np.full(len(buffers), NONE, np.int32),
        capacity=np.array(capacity // granule, np.int32),
        stalls_allowed=np.array(bandwidth == "charged"),
    )
    return DiscreteProgram(
        program=program,
        platform=platform,
        arrays=arrays,
        tick_s=tick_s,
        granule_bytes=granule,
        all_slow_ticks=int(np.maximum(compute, slow_bound).sum()),
        all_fast_ticks=int(np.maximum(compute, fast_bound).sum()),
    )


def _tick(all_slow_s: float, copies_s: np.ndarray) -> float:
    """s: such that the longest conceivable run, in which each access evicts, copies in and copies out, fits."""
    return float(f"{(all_slow_s + 3.0 * copies_s.sum()) / MAX_TICKS * 1.05:.1e}")


def _uses(program: Program, predecessor: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """next_use, last_access and copy_allowed per access, first_use per buffer."""
    accesses = program.accesses
    next_use = np.full(len(accesses), NONE, np.int32)
    first_use = np.full(len(program.buffers), NONE, np.int32)
    upcoming: dict[int, int] = {}
    for r in reversed(range(len(accesses))):
        access = accesses[r]
        next_use[r] = upcoming.get(access.buffer, NONE)
        upcoming[access.buffer] = first_use[access.buffer] = access.instruction
        if access.is_output and predecessor[access.buffer] != NONE:
            upcoming[int(predecessor[access.buffer])] = access.instruction  # held until it is overwritten
    for former, written in upcoming.items():
        if first_use[former] == NONE:  # a buffer whose one use is to be overwritten
            first_use[former] = written
    copy_allowed, begun = np.ones(len(accesses), bool), set()
    for r, access in enumerate(accesses):
        group = program.buffers[access.buffer].alias_group
        copy_allowed[r] = group < 0 or group not in begun
        begun |= {group}
    return next_use, next_use == NONE, copy_allowed, first_use
