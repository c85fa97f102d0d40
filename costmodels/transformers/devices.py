"""Accelerators: peaks, memory, links, power and price, and what a precision makes of them.

The table is `tables/devices.csv`; where its figures come from stands in its header and in `SOURCES.md`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import DsegymError, UnknownNameError
from ..files import fail, is_path, number, read_text
from ..formats import MOST_DEVICES, format_of
from ..tables import package_rows, read_user_table

__all__ = [
    "MEMORY_SHARE",
    "PRECISIONS",
    "Device",
    "Precision",
    "device_rows",
    "devices",
    "get_device",
    "get_precision",
    "load_devices",
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
        figures = {column: float(row[column]) for column in _FIGURES if row[column]}
        found[row["device"]] = _device(row["device"], figures, row["source"])
    return found


_PEAKS = {"bf16": "bf16_tflops", "fp8": "fp8_tflops", "int8": "int8_tops", "fp4": "fp4_tflops"}
_NEEDED = ("bf16_tflops", "memory_gb", "bandwidth_gb_s", "scale_up_gb_s")
_FIGURES = (*_PEAKS.values(), "memory_gb", "bandwidth_gb_s", "scale_up_gb_s", "scale_out_gb_s", "tdp_w", "usd_per_h")
_MOST = {"usd_per_h": 1000.0}  # of a figure, as of a price in an option; of others 1e6
_LEAST = 1e-6  # of a figure: times stay within float32
OWN_SOURCE = "yours"


def _device(name: str, figures: Mapping[str, float], source: str) -> Device:
    scale_out = figures.get("scale_out_gb_s")
    return Device(
        name=name,
        peak_flops={kind: figures[column] * 1e12 for kind, column in _PEAKS.items() if column in figures},
        memory_bytes=figures["memory_gb"] * 1e9,
        bandwidth_bytes_s=figures["bandwidth_gb_s"] * 1e9,
        scale_up_bytes_s=figures["scale_up_gb_s"] * 1e9,
        scale_out_bytes_s=None if scale_out is None else scale_out * 1e9,
        tdp_w=figures.get("tdp_w"),
        usd_per_h=figures.get("usd_per_h"),
        source=source,
    )


def load_devices(path: str) -> Mapping[str, Device]:
    """{name: device} of a user's table; a device that the package knows keeps the figures that a row leaves out.

    Raises:
        InvalidWorkloadError: it is no such table, a figure is none, or a new device lacks one; names the line.
    """
    text = read_text(path)
    format_of(path, text, "devices", {".csv": "a table of devices"})
    columns = ("device", *_FIGURES)

    def wrong(header: Sequence[str]) -> str:
        return "" if "device" in header else f"the header has no column device; the columns are {', '.join(columns)}"

    table = read_user_table(Path(path), "table of devices", "device", columns, wrong, text=text, most=MOST_DEVICES)
    found: dict[str, Device] = {}
    for device, line in zip(table.parse(_own_device).values(), table.parse(lambda row: row), strict=True):
        if device.name in found:
            fail(path, f"line {line}: the device {device.name} is given twice")
        found[device.name] = device
    return found


def _own_device(row: Mapping[str, str]) -> Device:
    name = row["device"]
    if not name or len(name) > _LONGEST_NAME or set(name) & set(",=") or not name.isprintable():
        raise ValueError(f"a device's name has 1 to {_LONGEST_NAME} letters that can be seen, and neither , nor =")
    known = {each["device"]: each for each in package_rows("transformers/tables/devices.csv")}.get(name, {})
    figures = {column: float(known[column]) for column in _FIGURES if known.get(column)}
    given = {column: row[column] for column in _FIGURES if row.get(column)}
    own = {column: number(text, column, 0, _MOST.get(column, 1e6), above=True) for column, text in given.items()}
    if low := [column for column, value in own.items() if value < _LEAST]:
        raise ValueError(f"{low[0]} = '{given[low[0]]}' is less than {_LEAST:g}")
    figures |= own
    missing = [column for column in _NEEDED if column not in figures]
    if missing:
        raise ValueError(f"{name} is no known device, and its row lacks {', '.join(missing)}")
    only_price = set(given) <= {"usd_per_h"}
    return _device(name, figures, known["source"] if only_price else OWN_SOURCE)


_LONGEST_NAME = 60


def get_device(name: str) -> Device:
    """A device by its name, or the only one of a user's table by its path.

    Raises:
        UnknownNameError: it is neither a name nor a path.
        InvalidWorkloadError: the table cannot be read, or has several devices.
    """
    if name in devices():
        return devices()[name]
    if not is_path(name):
        raise UnknownNameError("GPU", name, devices())
    own = load_devices(name)
    if len(own) > 1:
        fail(name, f"the table has {len(own)} devices, {', '.join(own)}; one is taken here")
    return next(iter(own.values()))


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
