"""Accelerators: peaks, memory, links, power and price, and what a precision makes of them.

The table is `tables/devices.csv`; where its figures come from stands in its header and in `SOURCES.md`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import DsegymError, UnknownNameError
from ..tables import package_rows

__all__ = [
    "MEMORY_SHARE",
    "PRECISIONS",
    "Device",
    "Precision",
    "device_rows",
    "devices",
    "get_device",
    "get_precision",
    "peak_flops",
    "usable_bytes",
]

MEMORY_SHARE = 0.9  # of the datasheet's memory, in 10^9 bytes: for weights and key-value cache; vLLM's default share

Arithmetic = Literal["bf16", "fp8", "int8", "fp4"]


@dataclass(frozen=True)
class Device:
    """One accelerator; NaN-free: what the table leaves empty is None."""

    name: str
    peak_flops: Mapping[str, float]  # {arithmetic: dense operations a second}
    memory_bytes: float
    bandwidth_bytes_s: float
    scale_up_bytes_s: float  # one direction, to the neighbours in a node
    scale_out_bytes_s: float | None  # one direction, to other nodes
    tdp_w: float | None
    usd_per_h: float | None
    source: str  # of the figures, and what was checked

    @property
    def intensity(self) -> float:
        """FLOP a byte at which bf16 arithmetic takes as long as memory."""
        return self.peak_flops["bf16"] / self.bandwidth_bytes_s


@dataclass(frozen=True)
class Precision:
    """How weights and cache are stored, and which arithmetic multiplies them."""

    name: str
    weight_bytes: float  # of a weight, scales included
    kv_bytes: float  # of a number in the cache
    arithmetic: Arithmetic


# Weight-only formats are multiplied in bf16, as Marlin's and Tilus' kernels do; a group of 128 shares a 2-byte scale.
_GROUP_SCALE_BYTES = 2 / 128
PRECISIONS: Mapping[str, Precision] = {
    each.name: each
    for each in (
        Precision("bf16", 2.0, 2.0, "bf16"),
        Precision("fp8", 1.0, 1.0, "fp8"),
        Precision("int8", 1.0, 2.0, "int8"),
        Precision("fp4", 0.5 + 1 / 16, 1.0, "fp4"),  # NVFP4: a 1-byte scale for 16 values
        Precision("int4", 0.5 + _GROUP_SCALE_BYTES, 2.0, "bf16"),
    )
}
_WIDTH = re.compile(r"w([1-8])")


@functools.cache
def devices() -> Mapping[str, Device]:
    """{name: device} of the package's table."""
    found = {}
    for row in package_rows("transformers/tables/devices.csv"):
        tera = {"bf16": "bf16_tflops", "fp8": "fp8_tflops", "int8": "int8_tops", "fp4": "fp4_tflops"}
        found[row["device"]] = Device(
            name=row["device"],
            peak_flops={kind: float(row[column]) * 1e12 for kind, column in tera.items() if row[column]},
            memory_bytes=float(row["memory_gb"]) * 1e9,
            bandwidth_bytes_s=float(row["bandwidth_gb_s"]) * 1e9,
            scale_up_bytes_s=float(row["scale_up_gb_s"]) * 1e9,
            scale_out_bytes_s=_scaled(row["scale_out_gb_s"], 1e9),
            tdp_w=_scaled(row["tdp_w"], 1.0),
            usd_per_h=_scaled(row["usd_per_h"], 1.0),
            source=row["source"],
        )
    return found


def _scaled(text: str, unit: float) -> float | None:
    return float(text) * unit if text else None


def get_device(name: str) -> Device:
    """A device by its name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in devices():
        raise UnknownNameError("GPU", name, devices())
    return devices()[name]


def get_precision(name: str) -> Precision:
    """A named precision, or `w1` to `w8`: weights of so many bits, multiplied in bf16 (Tilus' widths).

    Raises:
        UnknownNameError: there is none.
    """
    if name in PRECISIONS:
        return PRECISIONS[name]
    match = _WIDTH.fullmatch(name)
    if match is None:
        raise UnknownNameError("precision", name, (*PRECISIONS, *(f"w{bits}" for bits in range(1, 9))))
    return Precision(name, int(match[1]) / 8 + _GROUP_SCALE_BYTES, 2.0, "bf16")


def peak_flops(device: Device, precision: Precision) -> float:
    """Dense operations a second of a precision's arithmetic.

    Raises:
        DsegymError: the device has no such arithmetic.
    """
    if precision.arithmetic not in device.peak_flops:
        able = [name for name, each in PRECISIONS.items() if each.arithmetic in device.peak_flops]
        raise DsegymError(
            f"{device.name} has no {precision.arithmetic} arithmetic, which {precision.name} needs; "
            f"it has {', '.join(able)}."
        )
    return device.peak_flops[precision.arithmetic]


def usable_bytes(device: Device) -> float:
    """Bytes of memory that weights and cache may take."""
    return MEMORY_SHARE * device.memory_bytes


def device_rows() -> list[dict[str, object]]:
    """The table for people."""
    return [
        {
            "GPU": each.name,
            "bf16 (TFLOP/s)": each.peak_flops["bf16"] * 1e-12,
            "memory (GB)": each.memory_bytes * 1e-9,
            "bandwidth (GB/s)": each.bandwidth_bytes_s * 1e-9,
            "scale-up (GB/s)": each.scale_up_bytes_s * 1e-9,
            "price ($/h)": "" if each.usd_per_h is None else each.usd_per_h,
            "source": each.source,
        }
        for each in devices().values()
    ]
