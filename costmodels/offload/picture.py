"""What a placement looks like: a bar for what each resource does in a step, and for how full each tier is."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from ..diagram import Diagram, in_row, row_ticks
from .model import Instance, Played, explain, placement_of
from .placement import Kept, Placement
from .simulator import Resources, busy

__all__ = ["draw", "parts"]

PHASES = ("forward", "backward", "update")


def parts(instance: Instance, placement: Placement, played: Played) -> dict[str, dict[str, float]]:
    """{resource: {phase: seconds that it works}}."""
    found = busy(instance.work.model.layers, played.seconds, placement.stride)
    return {
        name: {phase: float(getattr(seconds, name)) for phase, seconds in zip(PHASES, found, strict=True)}
        for name in Resources._fields
    }


def draw(instance: Instance, design: np.ndarray) -> Diagram:
    """A placement, int32[parameters]: above how long each resource works as shares of the step, below tiers' shares."""
    placement = placement_of(jnp.asarray(design), instance)
    metrics, _, played = explain(placement, instance)
    step_s, needed = float(metrics.step_s), played.bytes
    rectangles, names = [], []
    # Rows are the instance's, not the design's: designs are drawn side by side.
    absent = [] if float(instance.server.cxl_bytes) else ["cxl_read", "cxl_write"]
    absent += [] if float(instance.server.ssd_bytes) else ["read", "write"]
    absent += [] if float(instance.server.gpus) > 1 else ["fabric"]
    resources = [each for each in parts(instance, placement, played).items() if each[0] not in absent]
    tiers = [tier for tier in Kept._fields if float(getattr(instance.server, f"{tier}_bytes"))]
    row = len(resources) + len(tiers)
    for name, seconds in resources:  # the first on top
        row, at = row - 1, 0.0
        names.append(f"{name}, time")
        for phase, value in seconds.items():
            if value:
                label = f"{name}, {phase}: {value:.3g} s"
                rectangles.append(in_row(row, at, at + value / step_s, phase, label))
                at += value / step_s
    for tier in tiers:
        row -= 1
        used, there = float(getattr(needed, tier)), float(getattr(instance.server, f"{tier}_bytes"))
        names.append(f"{tier}, memory")
        if used:
            label = f"{tier}: {used * 1e-9:.3g} of {there * 1e-9:.4g} GB"
            rectangles.append(in_row(row, 0.0, used / there, "memory", label))
    return Diagram(
        title=f"{step_s:.3g} s a step, {float(metrics.tflops):.1f} TFLOP/s; bound {float(metrics.bound_s):.3g} s",
        x_label="share of the step, of the tier",
        y_label="",
        x_range=(0.0, max(1.0, *(each.x + each.width for each in rectangles))),
        y_range=(0.0, float(len(names))),
        rectangles=tuple(rectangles),
        y_ticks=row_ticks(names[::-1]),
    )
