"""Memory platforms: compute rate, two memories, and how finely the fast one can be divided. See `platforms.csv`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import UnknownNameError
from ..tables import package_rows

__all__ = ["Platform", "get_platform", "platform_names", "platform_rows"]


@dataclass(frozen=True)
class Platform:
    """A compute unit with a slow and a fast memory."""

    name: str
    element_bits: int  # bit; the operand width that `peak_flops` is for; 0 for any
    peak_flops: float  # operations/s
    slow_bytes_per_s: float
    fast_bytes_per_s: float
    copy_bytes_per_s: float  # asynchronous copies; no more than the slow memory's bandwidth
    capacity_bytes: int  # B of fast memory
    granule_bytes: int  # B; offsets and sizes in fast memory are multiples
    summary: str = ""


def platform_rows() -> tuple[Mapping[str, str], ...]:
    """The rows of `platforms.csv`."""
    return package_rows("memory/platforms.csv")


def platform_names() -> tuple[str, ...]:
    """The platforms of the package."""
    return tuple(row["name"] for row in platform_rows())


def get_platform(name: str) -> Platform:
    """A platform by name.

    Raises:
        UnknownNameError: there is no such platform.
    """
    row = next((row for row in platform_rows() if row["name"] == name), None)
    if row is None:
        raise UnknownNameError("platform", name, platform_names())
    return Platform(
        name=name,
        element_bits=int(row["element_bits"]),
        peak_flops=float(row["peak_flops"]),
        slow_bytes_per_s=float(row["slow_bytes_per_s"]),
        fast_bytes_per_s=float(row["fast_bytes_per_s"]),
        copy_bytes_per_s=float(row["slow_bytes_per_s"]),
        capacity_bytes=int(row["capacity_bytes"]),
        granule_bytes=int(row["granule_bytes"]),
        summary=row["summary"],
    )
