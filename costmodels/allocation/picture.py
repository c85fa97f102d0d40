"""What a packing looks like: buffers as rectangles over time and addresses."""

from __future__ import annotations

import numpy as np

from ..diagram import Diagram, Rectangle
from .bounds import max_load
from .instance import AllocationInstance

__all__ = ["draw"]


def draw(instance: AllocationInstance, offsets: np.ndarray, placed: np.ndarray | None = None) -> Diagram:
    """A packing; the capacity is the limit.

    Args:
        instance: n buffers.
        offsets: int64[n], addresses in bytes.
        placed: bool[n], the buffers that are drawn; all when left out. The axes are those of all.
    """
    shown = np.ones(len(offsets), bool) if placed is None else placed
    so_far = int((offsets + instance.sizes).max(initial=0, where=shown))
    peak, load = int((offsets + instance.sizes).max()), max_load(instance)
    relation = "within" if so_far <= instance.capacity else "above"
    top = max(peak, min(instance.capacity, 2 * peak))
    rectangles = tuple(
        Rectangle(
            x=float(buffer.lower),
            y=float(offset),
            width=float(buffer.upper - buffer.lower),
            height=float(buffer.size),
            kind="above the capacity" if offset + buffer.size > instance.capacity else "buffer",
            label=f"{buffer.id}: {buffer.size:,} B at {offset:,}, live [{buffer.lower}, {buffer.upper})",
        )
        for buffer, offset, is_placed in zip(instance.buffers, offsets.tolist(), shown.tolist(), strict=True)
        if is_placed
    )
    count = f"{shown.sum()} of {len(shown)} buffers placed, " * (not shown.all())
    return Diagram(
        title=f"{instance.name}: {count}peak {so_far:,} B, {relation} the capacity {instance.capacity:,} B "
        f"(load {load:,} B)",
        x_label="time",
        y_label="address (B)",
        x_range=(float(instance.lowers.min()), float(instance.uppers.max())),
        y_range=(0.0, 1.05 * top),
        rectangles=rectangles,
        limit=(float(instance.capacity), "capacity"),
    )
