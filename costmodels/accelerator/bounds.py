"""Yardsticks of the accelerator family: a quick lower bound for any network, and the costs of a whole design space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .platforms import Platform
from .workloads import Workload

__all__ = ["Limits", "lower_bounds"]


class Limits(NamedTuple):
    """What no design within an area budget goes below."""

    latency_s: float
    energy_j: float
    area_mm2: float


def lower_bounds(
    workload: Workload,
    platform: Platform,
    *,
    area_budget_mm2: float,
    words_per_cycle: int,
    smallest: Mapping[str, float],
) -> Limits:
    """Values that no design within the area budget can go below.

    Latency: every product needs at least its multiply-accumulates over the largest array that fits the budget beside
    the smallest buffers, and at least its distinct words over the widest DRAM port. Energy: every multiply-accumulate,
    every distinct word from DRAM, and one access of the smallest buffers for each of these words. A second engine near
    memory has its own bandwidth and arithmetic, and no buffers.

    Args:
        area_budget_mm2: mm2.
        words_per_cycle: the widest DRAM port of the design space, operand words a cycle.
        smallest: `ifmap_kib`, `filter_kib`, `ofmap_kib`: the smallest buffers of the space, KiB.
    """
    technology = platform.technology
    fixed_mm2 = technology.base_mm2 + technology.sram_mm2_per_kib * (smallest["ifmap_kib"] + smallest["filter_kib"])
    fixed_mm2 += technology.accumulator_mm2_per_kib * smallest["ofmap_kib"]
    processing_elements = max((area_budget_mm2 - fixed_mm2) / technology.pe_mm2, 1.0)
    near = platform.near_memory
    if near is not None:
        words_per_cycle *= near.bandwidth_ratio
        processing_elements = max(processing_elements, words_per_cycle * near.macs_per_word)
    buffer_pj = technology.sram_base_pj if near is None else 0.0
    cycles = energy_pj = 0.0
    for layer in workload.layers:
        words = layer.ifmap_words + layer.k * layer.n + layer.m * layer.n
        macs = layer.m * layer.n * layer.k
        port_words = words if platform.ports == "shared" else words / 3
        cycles += layer.count * max(macs / processing_elements, port_words / words_per_cycle)
        energy_pj += layer.count * (macs * (technology.mac_pj + technology.register_pj) + words * technology.dram_pj)
        energy_pj += layer.count * words * buffer_pj
    return Limits(cycles / platform.clock_hz, energy_pj * 1e-12, fixed_mm2)
