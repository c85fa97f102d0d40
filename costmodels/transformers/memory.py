"""What fits into accelerators: weights and key-value cache of a model that is split among them.

`gpus` accelerators are so many pipeline stages, each split evenly (tensor parallelism).
"""

from __future__ import annotations

from typing import TypeAlias

from ..arrays import Array
from ..errors import DsegymError
from .architectures import Architecture, cache_copies, kv_bytes_per_token, parameters
from .devices import Device, Precision, usable_bytes

__all__ = ["capacity_tokens", "require_fit", "shortfall_bytes", "weight_bytes"]

Number: TypeAlias = "Array | float"


def weight_bytes(model: Architecture, precision: Precision) -> Number:
    """Of all weights; tables that are looked up stay in 2 bytes where weights are narrower."""
    looked_up = model.lookup_parameters * (max(2.0, precision.weight_bytes) - precision.weight_bytes)
    return parameters(model) * precision.weight_bytes + looked_up


def _cache_bytes(model: Architecture, precision: Precision, gpus: Number, stages: Number) -> Number:
    """Of a token, on all accelerators together."""
    return kv_bytes_per_token(model, precision.kv_bytes) * cache_copies(model, gpus / stages)


def capacity_tokens(
    model: Architecture, device: Device, precision: Precision, gpus: Number, stages: Number = 1
) -> Number:
    """Tokens whose cache fits beside the weights on so many accelerators; negative where the weights do not."""
    free = gpus * usable_bytes(device) - weight_bytes(model, precision)
    return free / _cache_bytes(model, precision, gpus, stages)


def shortfall_bytes(
    model: Architecture, device: Device, precision: Precision, gpus: int, tokens: float = 1, stages: int = 1
) -> float:
    """Bytes that are missing for the weights and so many tokens; 0 or less where all fits."""
    needed = weight_bytes(model, precision) + tokens * _cache_bytes(model, precision, gpus, stages)
    return float(needed - gpus * usable_bytes(device))


def require_fit(
    name: str, model: Architecture, device: Device, precision: Precision, gpus: int, tokens: int = 1
) -> None:
    """Refuses a model that does not fit.

    Raises:
        DsegymError: says by how much, and how many accelerators it takes.
    """
    missing = shortfall_bytes(model, device, precision, gpus, tokens)
    if missing > 0:
        least = -int(-(missing + gpus * usable_bytes(device)) // usable_bytes(device))
        raise DsegymError(
            f"{name} in {precision.name} does not fit on {gpus} x {device.name}: {missing * 1e-9:,.1f} GB are missing "
            f"for its weights and {tokens:,} tokens of cache; {least} or more hold it."
        )
