"""What the array is made of: technology tables and the platforms built on them.

The constants stand in `technology.csv`, each with its unit and whether it is sourced, derived or synthetic.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from ..errors import UnknownNameError
from ..tables import package_rows

__all__ = [
    "PLATFORMS",
    "NearMemory",
    "Platform",
    "Technology",
    "get_platform",
    "get_technology",
    "platform_rows",
    "technology_rows",
]


@dataclass(frozen=True)
class Technology:
    """Energy per access, area per component, word widths. One field per quantity of `technology.csv`."""

    word_bits: float  # bit; an operand word in SRAM and DRAM
    accumulator_bits: float  # bit; a partial sum
    mac_pj: float  # pJ per multiply-accumulate
    register_pj: float  # pJ per multiply-accumulate, for the stationary operand's register
    sram_base_pj: float  # pJ per word
    sram_pj_per_kib: float  # pJ per word and KiB of the buffer
    accumulator_base_pj: float  # pJ per partial sum
    accumulator_pj_per_kib: float  # pJ per partial sum and KiB of the buffer
    accumulator_pj_per_kib_per_column: float  # pJ per partial sum and KiB of one column's bank
    dram_pj: float  # pJ per word
    base_mm2: float  # mm2
    pe_mm2: float  # mm2 per processing element
    edge_mm2: float  # mm2 per row or column, their mean
    sram_mm2_per_kib: float  # mm2 per KiB of ifmap or filter buffer
    accumulator_mm2_per_kib: float  # mm2 per KiB of ofmap buffer
    dram_interface_mm2_per_word: float  # mm2 per word a cycle


@dataclass(frozen=True)
class NearMemory:
    """A second engine at the memory, without buffers, for products that reuse little (Duplex's Logic-PIM)."""

    bandwidth_ratio: int  # its DRAM words a cycle over the array's
    macs_per_word: int  # multiply-accumulates a cycle over its DRAM words a cycle


@dataclass(frozen=True)
class Platform:
    """A technology, a clock and the conventions of the memory model. Hashable: a static argument of the cost model."""

    name: str
    technology: Technology
    clock_hz: float
    ports: Literal["shared", "separate"]  # one DRAM port for all operands, or one of the full width for each
    traffic: Literal["tiled", "compulsory"]  # re-fetch what does not fit the buffers, or count each distinct word once
    summary: str
    near_memory: NearMemory | None = None


def technology_rows() -> tuple[Mapping[str, str], ...]:
    """The rows of `technology.csv`: technology, quantity, value, unit, status."""
    return package_rows("accelerator/technology.csv")


@functools.cache
def get_technology(name: str) -> Technology:
    """A technology of `technology.csv` by its name."""
    values = {row["quantity"]: float(row["value"]) for row in technology_rows() if row["technology"] == name}
    if not values:
        raise UnknownNameError("technology", name, sorted({row["technology"] for row in technology_rows()}))
    return Technology(**{field.name: values[field.name] for field in fields(Technology)})


# name: (technology, clock in Hz, ports, traffic, summary). The clock is assumed: no source fixes it for a template.
PLATFORMS: Mapping[str, tuple[str, float, Literal["shared", "separate"], Literal["tiled", "compulsory"], str]] = {
    "gemmini": ("gemmini", 1e9, "shared", "tiled", "8-bit words, DOSA's Gemmini constants; the 1 GHz clock is assumed"),
    "eyeriss": ("eyeriss", 1e9, "shared", "tiled", "16-bit words, Eyeriss's relative energies; clock and area assumed"),
    "scalesim": (
        "gemmini",
        1e9,
        "separate",
        "compulsory",
        "the conventions under which SCALE-Sim's totals are an upper bound: three DRAM ports, each word fetched once",
    ),
    **{
        f"bitweight_{kind}": (f"bitweight_{kind}", 1e9, "shared", "tiled", f"gemmini with bit-weight elements ({name})")
        for kind, name in {
            "systolic": "systolic array",
            "cube": "3D cube",
            "tree": "multiplier-adder tree",
            "matrix": "2D matrix",
        }.items()
    },
    "duplex": (
        "gemmini",
        1e9,
        "shared",
        "tiled",
        "gemmini with a second engine near memory (Duplex): constants recalled or assumed, no area",
    ),
    "ternary": ("ternary", 1e9, "shared", "tiled", "gemmini with adders for multipliers: weights of -1, 0 and 1"),
}

# Duplex (arXiv 2409.01141): about four times the bandwidth is recalled; four multiply-accumulates a word, 8 operations
# a byte, are assumed: the top of the intensities (4 to 8) that its abstract gives for grouped-query attention.
_NEAR_MEMORY: Mapping[str, NearMemory] = {"duplex": NearMemory(bandwidth_ratio=4, macs_per_word=4)}


@functools.cache
def get_platform(name: str) -> Platform:
    """A platform of `PLATFORMS` by its name.

    Raises:
        UnknownNameError: there is no such platform.
    """
    if name not in PLATFORMS:
        raise UnknownNameError("platform", name, PLATFORMS)
    technology, clock_hz, ports, traffic, summary = PLATFORMS[name]
    return Platform(name, get_technology(technology), clock_hz, ports, traffic, summary, _NEAR_MEMORY.get(name))


def platform_rows() -> list[dict[str, object]]:
    """The platforms, a row each, for people."""
    return [{"platform": name, "summary": row[-1]} for name, row in PLATFORMS.items()]
