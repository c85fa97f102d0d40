"""What a plan looks like: a bar for each part of a step's time, and for each part of an accelerator's memory."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from ..diagram import Diagram, in_row, row_ticks
from .memory import memory_bytes
from .plan import Instance, choice_of, evaluate, task_of
from .step import step_times

__all__ = ["draw"]


def draw(instance: Instance, design: np.ndarray) -> Diagram:
    """A plan, int32[parameters]: above the time's parts as shares of the step, below the memory's of what there is."""
    choice = choice_of(jnp.asarray(design), instance)
    metrics, _ = evaluate(choice, instance)
    task = task_of(instance, choice.batch)
    step_s, usable = float(metrics.step_s), float(instance.usable_bytes)
    times = {name: float(value) for name, value in step_times(task, choice.plan, instance.machine)._asdict().items()}
    kept = {name: float(v) for name, v in memory_bytes(task, choice.plan, instance.written)._asdict().items()}
    rows = [(f"{name}, time", value / step_s, "time", f"{value:.3g} s") for name, value in times.items()]
    rows += [(f"{name}, memory", value / usable, "memory", f"{value * 1e-9:.3g} GB") for name, value in kept.items()]
    rows.reverse()  # the first on top
    return Diagram(
        title=(
            f"{step_s:.3g} s a step, {100 * float(metrics.model_flops_utilisation):.1f} % of the peak, "
            f"{float(metrics.memory_gb):.1f} of {usable * 1e-9:.1f} GB"
        ),
        x_label="share of the step, of the memory",
        y_label="",
        x_range=(0.0, max(1.0, *(share for _, share, _, _ in rows))),
        y_range=(0.0, float(len(rows))),
        rectangles=tuple(
            in_row(row, 0.0, share, kind, f"{name}: {said}")
            for row, (name, share, kind, said) in enumerate(rows)
            if share > 0
        ),
        y_ticks=row_ticks([name for name, _, _, _ in rows]),
    )
