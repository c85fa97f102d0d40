"""The game: the values of each dimension, area budgets, objectives, references and rules, and the bound on traffic.

The machines of references and rules are those of FuseMax's artifact, 256 elements a side, with 32 MiB for FLAT and 16
for FuseMax at 400 GiB/s, times a scale: edge and bandwidth by it, the buffer by its square. At 1/8 FLAT's is the edge
machine of the artifact (32 elements, 512 KiB, 50 GiB/s).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from . import recurrent
from .model import CASCADES, Attention, Hardware, Metrics, area_mm2, constants, evaluate_cascades

__all__ = [
    "AREA_BUDGETS_MM2",
    "MACHINE",
    "MOST_AREA_MM2",
    "OBJECTIVES",
    "RULES",
    "Goal",
    "Rule",
    "attention_values",
    "largest_buffer_kib",
    "least_area_mm2",
    "machine_of",
    "recurrent_values",
    "rule_rows",
    "traffic_bound_bytes",
]

# {dimension: its values}, in the order of `Hardware`.
MACHINE: Mapping[str, tuple[int, ...]] = {
    "edge": (16, 32, 64, 96, 128, 192, 256, 384, 512),
    "buffer": tuple(2**power for power in range(9, 17)),
    "bandwidth": tuple(50 * 2**power for power in range(6)),
}
BLOCKS = tuple(2**power for power in range(13))

AREA_BUDGETS_MM2: Mapping[str, object] = {"small": 45, "medium": 160, "large": 640}
MOST_AREA_MM2 = 5000  # of a budget; the largest design of the space has about half of it
_SCALES = (1, 0.5, 0.25, 0.125)
_ROOM = 1 + 1e-6  # of a reference in its budget, so that no rounding of areas decides whether it is feasible


@dataclass(frozen=True)
class Goal:
    """An objective: its unit, one line about it, and `(metrics) -> float32`."""

    unit: str
    summary: str
    value: Callable[[Metrics], Any]


OBJECTIVES: Mapping[str, Goal] = {
    "latency": Goal("s", "time of one layer", lambda metrics: metrics.latency_s),
    "energy": Goal("J", "energy of one layer", lambda metrics: metrics.energy_j),
    "edp": Goal("J s", "energy-delay product", lambda metrics: metrics.energy_j * metrics.latency_s),
    "traffic": Goal("B", "bytes to and from DRAM", lambda metrics: metrics.traffic_bytes),
}


@dataclass(frozen=True)
class Rule:
    """A way of running attention, on its scaled machine."""

    cascade: str
    buffer_kib: int  # at scale 1
    summary: str


RULES: Mapping[str, Rule] = {
    "flat": Rule("flat", 32768, "FLAT: scores of a block of queries stay in the buffer"),
    "unfused": Rule("unfused", 32768, "products and softmax one after another"),
    "one_pass": Rule("one_pass", 16384, "FlashAttention-2's cascade on FLAT's elements"),
    "fusemax_pe": Rule("fusemax_pe", 16384, "FuseMax's elements, not interleaved"),
    "fusemax": Rule("fusemax", 16384, "FuseMax"),
}


def machine_of(rule: Rule, scale: float) -> Hardware:
    """A rule's machine, NumPy int32."""
    least = min(MACHINE["buffer"])
    sizes = (int(256 * scale), max(int(rule.buffer_kib * scale**2), least), int(400 * scale))
    return Hardware(*(np.asarray(size, np.int32) for size in sizes))


def _area(rule: Rule, hardware: Hardware) -> float:
    return float(area_mm2(hardware)[CASCADES.index(rule.cascade)])


def least_area_mm2() -> float:
    """mm2, rounded up: the least budget that holds a machine of each rule."""
    areas = [_area(rule, machine_of(rule, min(_SCALES))) for rule in RULES.values()]
    return math.ceil(max(areas) * _ROOM * 1e4) / 1e4


def _largest_machine(rule: Rule, area_budget_mm2: float) -> Hardware:
    machines = [machine_of(rule, scale) for scale in _SCALES]
    return next(each for each in machines if _area(rule, each) * _ROOM <= area_budget_mm2)


def _machine_values(hardware: Hardware) -> dict[str, int | str]:
    return {name: int(size) for name, size in zip(MACHINE, hardware, strict=True)}


_blocks = jax.jit(jax.vmap(evaluate_cascades, in_axes=(None, 0, None)))


def attention_values(rule: Rule, area_budget_mm2: float, attention: Attention) -> dict[str, int | str]:
    """{parameter: value}: the largest machine within the budget, and the block that fits with the least traffic."""
    hardware, place = _largest_machine(rule, area_budget_mm2), CASCADES.index(rule.cascade)
    costs = _blocks(hardware, np.array(BLOCKS, np.float32), attention)
    traffic = np.where(costs.buffer_share[:, place] <= 1, costs.traffic_bytes[:, place], np.inf)
    return {**_machine_values(hardware), "cascade": rule.cascade, "block": BLOCKS[int(traffic.argmin())]}


def recurrent_values(kernel: str, area_budget_mm2: float, layer: recurrent.Recurrent) -> dict[str, int | str] | None:
    """{parameter: value}: FLAT's machine, its buffer as large as the kernel needs, widest tiles that fit.

    None where no machine within the budget holds the kernel.
    """
    rule, place = RULES["flat"], recurrent.KERNELS.index(kernel)
    for scale in _SCALES:
        start = machine_of(rule, scale)
        for buffer_kib in MACHINE["buffer"]:
            hardware = start._replace(buffer_kib=np.asarray(max(buffer_kib, int(start.buffer_kib)), np.int32))
            if _area(rule, hardware) * _ROOM > area_budget_mm2:
                continue
            for batch_tile in recurrent.batch_tiles(int(layer.batch))[::-1]:
                for gate_tile in recurrent.gate_tiles(int(layer.width))[::-1]:
                    if _share(hardware, batch_tile, gate_tile, layer)[place] <= 1:
                        tiles = {"kernel": kernel, "batch_tile": batch_tile, "gate_tile": gate_tile}
                        return _machine_values(hardware) | tiles
    return None


@jax.jit
def _share(hardware: Hardware, batch_tile: Any, gate_tile: Any, layer: recurrent.Recurrent) -> Any:
    return recurrent.evaluate_kernels(hardware, batch_tile, gate_tile, layer).buffer_share


def largest_buffer_kib(area_budget_mm2: float) -> int:
    """Of the space, within the budget beside the smallest array and bandwidth; its smallest if there is none."""
    smallest = Hardware(*(np.asarray(min(values), np.int32) for values in MACHINE.values()))
    areas = {size: area_mm2(smallest._replace(buffer_kib=np.asarray(size, np.int32))) for size in MACHINE["buffer"]}
    held = [size for size, area in areas.items() if float(area.min()) <= area_budget_mm2 * _ROOM]
    return max(held, default=min(areas))


def traffic_bound_bytes(attention: Attention, buffer_kib: int) -> float:
    """Bytes that no mapping of the space moves less than, with a buffer of m words: a head's queries, keys, values and
    outputs of w words in all and in pairs, n long, once; and n w + min(n² w min(n, w) / m, 4 n²).

    The form is that of Saha and Ye for m >= d² (w = 2d: 2nd + 4n²d²/m), which holds for every algorithm up to its
    constant. The constant is that of these mappings: a cascade with running sums keeps w words a query, FLAT a row of n
    scores or spills 4 words a score, and all keys and values pass each block of queries that fits.
    """
    width, length = float(attention.head_width + attention.value_width), float(attention.length)
    words = buffer_kib * 1024 / constants()["word_bytes"]
    again = min(length * length * width * min(length, width) / words, 4 * length * length)
    a_head = max(2 * length * width, length * width + again)
    return float(attention.batch * attention.heads) * float(a_head) * constants()["word_bytes"]


def rule_rows() -> list[dict[str, object]]:
    """The rules, a row each, for people."""
    return [{"rule": name, "what it does": rule.summary} for name, rule in RULES.items()]
