"""A mix as a person looks at it: a row for each type of GPU, along which its classes of requests lie."""

from __future__ import annotations

import numpy as np

from ...breakdown import Breakdown
from ...diagram import Diagram, Rectangle, in_row, row_ticks
from .model import GPU, USD
from .placement import Placement

__all__ = ["break_down", "drawing"]


def _loads(placement: Placement, types: np.ndarray) -> np.ndarray:
    """int64[K, G]: 1/100,000 GPU that a class takes of a type."""
    found = np.zeros(placement.loads.shape, np.int64)
    np.add.at(found, (placement.class_of, types), placement.loads[placement.class_of, types])
    return found


def break_down(placement: Placement, types: np.ndarray, notes: tuple[str, ...]) -> Breakdown:
    """A row for each type: how many, what they cost, how full they are, and the share of slices that they serve."""
    loads = _loads(placement, types).sum(0)
    counts = -(-loads // GPU)
    rows = [
        {
            "GPU": gpu,
            "count": int(counts[place]),
            "cost_usd_h": float(counts[place] * placement.prices[place]) / USD,
            "utilisation": float(loads[place] / (max(counts[place], 1) * GPU)),
            "slices": int(np.sum(types == place)),
        }
        for place, gpu in enumerate(placement.gpus)
    ]
    cost = float(np.sum(counts * placement.prices)) / USD
    totals = {"cost_usd_h": cost, "gpus": float(counts.sum())}
    taken = {f"number of {gpu}": int(count) for gpu, count in zip(placement.gpus, counts, strict=True)}
    return Breakdown(totals, rows, notes, taken)


def drawing(placement: Placement, types: np.ndarray, title: str) -> Diagram:
    """Loads along the GPUs that are paid for; what is paid for and idle is drawn as such."""
    loads = _loads(placement, types)
    totals = loads.sum(0)
    counts = -(-totals // GPU)
    order = list(range(len(placement.gpus)))[::-1]  # the first on top
    rectangles: list[Rectangle] = []
    for row, place in enumerate(order):
        start = 0.0
        for kind, name in enumerate(placement.classes):
            width = float(loads[kind, place]) / GPU
            if width:
                rectangles.append(in_row(row, start, start + width, name, f"{name}: {width:.2f} GPUs"))
                start += width
        if counts[place] > start:
            rectangles.append(in_row(row, start, float(counts[place]), "idle", f"idle: {counts[place] - start:.2f}"))
    cost = float(np.sum(counts * placement.prices)) / USD
    names = [f"{int(counts[place])} x {placement.gpus[place]}" for place in order]
    return Diagram(
        title=f"{title}: {cost:.2f} $/h",
        x_label="GPUs",
        y_label="",
        x_range=(0.0, float(max(counts.max(), 1))),
        y_range=(0.0, float(len(order))),
        rectangles=rectangles,
        y_ticks=row_ticks(names),
    )
