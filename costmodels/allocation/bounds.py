"""Lower bounds on the peak of any packing."""

from __future__ import annotations

import numpy as np

from .instance import AllocationInstance

__all__ = ["live_bytes", "max_load"]


def live_bytes(instance: AllocationInstance) -> tuple[np.ndarray, np.ndarray]:
    """What is live when.

    Returns:
        The distinct times at which a buffer's life starts or ends, int64[T], ascending, and the bytes that are live
        from each of them until the next, int64[T].
    """
    times, number = np.unique(np.concatenate([instance.lowers, instance.uppers]), return_inverse=True)
    change = np.zeros(len(times), np.int64)
    np.add.at(change, number, np.concatenate([instance.sizes, -instance.sizes]))
    return times, change.cumsum()


def max_load(instance: AllocationInstance) -> int:
    """Bytes: the most that is live at one time. Such buffers share no address, so no packing has a lower peak."""
    return int(live_bytes(instance)[1].max())
