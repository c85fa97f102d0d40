"""One static design in detail, task by task."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from ..breakdown import Breakdown
from .encoding import Encoding
from .instance import Instance
from .schedule import in_us
from .static_game import Params, metrics_of, place, schedule_of

__all__ = ["break_down"]

_metrics = jax.jit(
    lambda encoding, design, params: metrics_of(place(encoding, design, params), params), static_argnums=0
)


def break_down(
    encoding: Encoding, instance: Instance, params: Params, notes: Sequence[str], design: np.ndarray
) -> Breakdown:
    """Totals and tasks of a design.

    Args:
        encoding: of designs.
        instance: at its highest frequencies.
        params: the same instance.
        notes: what is synthetic or uncalibrated.
        design: int32[n].
    """
    instance, schedule = schedule_of(encoding, instance, design, params)
    names, tick_us = instance.platform.element_names, instance.platform.tick_us
    totals: dict[str, float] = {"makespan_us": in_us(schedule.makespan_us, tick_us)}
    if instance.platform.has_power:
        metrics = _metrics(encoding, design, params)
        totals |= {"energy_j": float(metrics.energy_j), "edp_js": float(metrics.edp_js)}
    busy = np.bincount(schedule.element, schedule.finish_us - schedule.start_us, instance.elements)
    totals["mean_busy_share"] = float(busy.mean() / max(schedule.makespan_us, 1))
    rows = [
        {
            "task": instance.graph.tasks[i].name,
            "kernel": instance.graph.tasks[i].kernel,
            "element": names[schedule.element[i]],
            "start_us": in_us(schedule.start_us[i], tick_us),
            "finish_us": in_us(schedule.finish_us[i], tick_us),
        }
        for i in schedule.order
    ]
    return Breakdown(totals, rows, notes)
