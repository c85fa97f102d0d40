"""A packing as rows of a table, and what its figures leave out."""

from __future__ import annotations

import numpy as np

from ..breakdown import Breakdown
from .bounds import max_load
from .instance import AllocationInstance

__all__ = ["NOTES", "break_down"]

NOTES = (
    "Synthetic: the generated instances are drawn, not measured. Real ones are read from files.",
    "Not modelled: alignment, buffers of changing size, buffers that may share or move.",
)


def break_down(instance: AllocationInstance, offsets: np.ndarray) -> Breakdown:
    """Where each buffer of a packing lies, int64[n] addresses in bytes."""
    peak, load = int((offsets + instance.sizes).max()), max_load(instance)
    return Breakdown(
        totals={
            "peak_bytes": peak,
            "load_bytes": load,
            "capacity_bytes": instance.capacity,
            "fits": peak <= instance.capacity,
            "fragmentation": (peak - load) / peak,
        },
        rows=[
            {
                "buffer": buffer.id,
                "lower": buffer.lower,
                "upper": buffer.upper,
                "size_bytes": buffer.size,
                "offset_bytes": offset,
                "end_bytes": offset + buffer.size,
            }
            for buffer, offset in zip(instance.buffers, offsets.tolist(), strict=True)
        ],
        notes=NOTES,
    )
