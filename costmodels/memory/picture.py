"""What a mapping looks like: its stays in fast memory as rectangles over time and addresses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..diagram import Diagram, Rectangle
from . import simulator
from .discrete import NONE, DiscreteProgram
from .game import replay

__all__ = ["Stay", "draw", "stays"]


@dataclass(frozen=True)
class Stay:
    """One buffer's time in fast memory, from its arrival to its last use there."""

    buffer: int
    offset: int  # granules
    granules: int
    start: int  # instruction; of the copy in, if there is one
    first_use: int
    last_use: int
    until: int  # instruction; the end of the write-back, if there is one
    uses: int
    copied_in: bool


def stays(discrete: DiscreteProgram, plan: np.ndarray) -> tuple[Stay, ...]:
    """All stays of a plan, int32[R], in the order in which they begin to be used."""
    _, record = replay(discrete.arrays, plan)
    record = simulator.Record(*map(np.asarray, record))
    arrays = discrete.arrays
    found: list[Stay] = []
    current: dict[int, int] = {}  # buffer: its stay's place in `found`
    for r in range(len(plan)):
        b, t, offset = int(arrays.buffer[r]), int(arrays.instruction[r]), int(record.offset[r])
        if offset == NONE:
            current.pop(b, None)
            continue
        continues = b in current and not record.copied_in[r]
        if continues:
            old = found[current[b]]
            found[current[b]] = replace(old, last_use=t, until=int(record.until[r]), uses=old.uses + 1)
            continue
        current[b] = len(found)
        resident = not record.copied_in[r] and not arrays.is_output[r]  # since before the first instruction
        start = 0 if resident else int(record.start[r])
        copied = bool(record.copied_in[r])
        found.append(Stay(b, offset, int(arrays.granules[b]), start, t, t, int(record.until[r]), 1, copied))
    return tuple(found)


def draw(discrete: DiscreteProgram, plan: np.ndarray) -> Diagram:
    """The memory-time diagram of a plan, int32[R]."""
    state, record = replay(discrete.arrays, plan)
    unit, divisor = _unit(discrete.granule_bytes * int(discrete.arrays.capacity))
    scale = discrete.granule_bytes / divisor
    rectangles = []
    for stay in stays(discrete, plan):
        buffer = discrete.program.buffers[stay.buffer]
        low, height = stay.offset * scale, stay.granules * scale
        label = f"{buffer.name}: {buffer.bytes / divisor:.3g} {unit}, {stay.uses} uses"
        kind = "weight or input" if buffer.kind == "parameter" else "activation"
        begin = stay.first_use if stay.copied_in else stay.start
        rectangles.append(Rectangle(begin, low, stay.last_use + 1 - begin, height, kind, label))
        if stay.start < begin:
            width = stay.first_use - stay.start
            rectangles.append(Rectangle(stay.start, low, width, height, "copy in", f"{label} (copied in)"))
        if stay.until > stay.last_use:
            width = stay.until - stay.last_use
            rectangles.append(Rectangle(stay.last_use + 1, low, width, height, "write-back", f"{label} (written back)"))
    latency = int(state.latency)
    speedup = discrete.all_slow_ticks / max(latency, 1)
    copies = int(np.sum(record.copied_in))
    return Diagram(
        title=f"{latency * discrete.tick_s * 1e6:,.1f} us, {speedup:.2f} x all slow, {copies} copies in",
        x_label="instruction",
        y_label=f"address in fast memory ({unit})",
        x_range=(0.0, float(len(discrete.program.instructions))),
        y_range=(0.0, int(discrete.arrays.capacity) * scale),
        rectangles=rectangles,
        limit=(int(discrete.arrays.capacity) * scale, "capacity"),
    )


def _unit(size: int) -> tuple[str, int]:
    """A unit in which a size has few digits."""
    for unit, divisor in (("MiB", 2**20), ("KiB", 2**10)):
        if size >= divisor:
            return unit, divisor
    return "B", 1
