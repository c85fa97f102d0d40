"""A proven lower bound: what every mapping on every machine within the area budget takes at least.

On a machine of edge e, with a and b the widest factors of C and K that divide them and are at most e, a layer takes at
least MACs / ab cycles, its scratchpad accesses over 2e words a cycle, and its distinct words over DRAM's width. Each
multiply-accumulate is one register read, a b-th of an input read, an a-th of two accumulator accesses; each distinct
word comes from DRAM once, each weight and input into and out of the scratchpad. The least over machines is the bound.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from ..workloads import Loops
from .encoding import hardware_values
from .model import C, Hardware, K, N, P, Q, R, S, access_energies, area_mm2, constants
from .network import CLOCK_HZ, Network

__all__ = ["Limits", "distinct_inputs", "limits"]


class Limits(NamedTuple):
    """What no mapping on one machine goes below."""

    latency_s: float
    energy_j: float
    area_mm2: float


def distinct_inputs(nest: Loops) -> int:
    """Input words that a layer reads, without padding's."""
    words = nest.bounds[C] * nest.bounds[N]
    for axis, (out, kernel) in enumerate(((P, R), (Q, S))):
        pixels = np.arange(nest.bounds[out], dtype=np.int64)[:, None] * nest.strides[axis]
        words *= np.unique(pixels + np.arange(nest.bounds[kernel]) * nest.dilations[axis]).size
    return words


def _widest(bound: int, edge: int) -> int:
    return next(each for each in range(min(bound, edge), 0, -1) if bound % each == 0)


def limits(network: Network, *, area_budget_mm2: float, dram_words_per_cycle: int) -> list[Limits]:
    """Of every machine of the space whose area is within the budget."""
    inputs = [distinct_inputs(nest) for nest in network.loops]
    found = []
    for sizes in itertools.product(*hardware_values().values()):
        hardware = Hardware(*np.array([*sizes, dram_words_per_cycle], np.float32))
        area = float(area_mm2(hardware))
        if area <= area_budget_mm2:
            found.append(_limits(network, inputs, hardware, area))
    return found


def _limits(network: Network, inputs: list[int], hardware: Hardware, area: float) -> Limits:
    constant = constants()
    accumulator_pj, scratchpad_pj = (float(each) for each in access_energies(hardware))
    edge, cycles, energy_pj = int(hardware.edge), 0.0, 0.0
    for nest, count, read in zip(network.loops, network.occurrences, inputs, strict=True):
        macs = math.prod(nest.bounds)
        rows, columns = _widest(nest.bounds[C], edge), _widest(nest.bounds[K], edge)
        weights = math.prod(nest.bounds[each] for each in (R, S, C, K))
        outputs = math.prod(nest.bounds[each] for each in (P, Q, K, N))
        scratchpad, dram = 2 * weights + macs / columns + read, weights + read + outputs
        words = scratchpad / (constant["scratchpad_words_per_cycle_and_row"] * edge)
        cycles += count * max(macs / (rows * columns), words, dram / float(hardware.dram_words_per_cycle))
        energy_pj += count * macs * (constant["mac_pj"] + constant["register_pj"])
        energy_pj += count * (weights * constant["register_pj"] + 2 * macs / rows * accumulator_pj)
        energy_pj += count * (scratchpad * scratchpad_pj + dram * constant["dram_pj"])
    return Limits(cycles / CLOCK_HZ, energy_pj * 1e-12, area)
