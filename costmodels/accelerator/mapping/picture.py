"""A network on a machine as a picture: each layer as wide as its time and as high as its use of the array."""

from __future__ import annotations

from ...breakdown import Breakdown
from ...diagram import Diagram, Rectangle
from .model import Hardware

__all__ = ["draw"]

_MS = 1e3  # a second


def draw(costs: Breakdown, hardware: Hardware) -> Diagram:
    """The layers one after another; the area of each is the work that the array does for it.

    Args:
        costs: of the machine with its mappings, as `break_down` makes them; a row a distinct layer.
        hardware: int32 scalars.
    """
    clock_hz, totals = float(costs.totals["clock_hz"] or 0), costs.totals
    rectangles, now_ms = [], 0.0
    for row in costs.rows:
        cycles, compute = float(row["cycles"] or 0), float(row["compute_cycles"] or 0)
        times, used = int(row["occurrences"] or 0), float(row["utilisation"] or 0)
        duration_ms = times * cycles / clock_hz * _MS
        kind = "waits for memory" if cycles > compute else "computes all the time"
        label = f"{row['layer']}: {times} x {cycles / clock_hz * _MS:.3g} ms, {100 * used:.3g} % of the array"
        rectangles.append(Rectangle(now_ms, 0.0, duration_ms, used, kind, label))
        now_ms += duration_ms
    edge, scratchpad, accumulator, _ = (int(size) for size in hardware)
    return Diagram(
        title=f"{edge} x {edge} elements, {scratchpad} KiB scratchpad, {accumulator} KiB accumulator: {now_ms:.3g} ms, "
        f"{_MS * float(totals['energy_j'] or 0):.3g} mJ, {float(totals['area_mm2'] or 0):.3g} mm2",
        x_label="time (ms), layer after layer, all occurrences of a layer together",
        y_label="share of the array that works",
        x_range=(0.0, now_ms),
        y_range=(0.0, 1.0),
        rectangles=rectangles,
    )
