"""The costs of one machine with its mappings layer by layer, with units."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping

import jax
import numpy as np

from ... import wide
from ...breakdown import Breakdown
from .model import Costs, Energies, Hardware, LayerShape, Mapping, energies, evaluate
from .network import CLOCK_HZ, Metrics, Network, evaluate_network
from .notation import format_mapping

__all__ = ["NOTES", "break_down"]

NOTES = (
    "Cycles are Timeloop's to one cycle and energies to 1e-5 on about 35,500 published results. None of them has loops "
    "at the scratchpad: those follow the same rules, which an oracle alone checks there.",
    "Energies are Timeloop's built-in relative ones at 1 pJ a unit, with DOSA's multiply-accumulate; not calibrated "
    "against a chip; leakage, network and address generation are left out.",
    "Area is a linear fit (mean error 5.4 %, largest 18 %) to published Timeloop areas; DRAM's interface has none.",
    "Input padding counts as input; bounds with prime factors above 13 are padded.",
    "The clock (1 GHz) is an assumption.",
)

_network = jax.jit(evaluate_network)


@jax.jit
def _layers(mappings: Mapping, shapes: LayerShape, hardware: Hardware) -> tuple[Costs, Energies]:
    costs = jax.vmap(evaluate, in_axes=(0, 0, None))(mappings, shapes, hardware)
    return costs, jax.vmap(energies, in_axes=(0, None))(costs, hardware)


def break_down(network: Network, hardware: Hardware, mappings: Mapping) -> Breakdown:
    """Totals and per-layer costs; each distinct layer is a row, of one occurrence.

    Args:
        network: L distinct layers.
        hardware: int32 scalars.
        mappings: leaves int32[L, ...].
    """
    totals: Metrics = jax.device_get(_network(mappings, network.arrays, hardware))
    costs, parts = jax.device_get(_layers(mappings, network.arrays.shapes, hardware))
    counts = {name: wide.to_int64(count) for name, count in costs._asdict().items()}
    elements = int(hardware.edge) ** 2
    rows: list[AnyMapping[str, float | str | None]] = [
        {
            "layer": name,
            "occurrences": network.occurrences[at],
            "macs": int(counts["macs"][at]),
            "compute_cycles": int(counts["compute_cycles"][at]),
            "cycles": int(counts["cycles"][at]),
            "utilisation": counts["macs"][at] / (counts["cycles"][at] * elements),
            "accumulator_words": int(counts["accumulator_accesses"][at]),
            "scratchpad_words": int(counts["scratchpad_accesses"][at]),
            "dram_words": int(counts["dram_accesses"][at]),
            "energy_j": float(sum(part[at] for part in parts)),
            "mapping": format_mapping(jax.tree.map(lambda leaf, at=at: np.asarray(leaf)[at], mappings)),
        }
        for at, name in enumerate(network.names)
    ]
    figures = {
        name: int(wide.to_int64(value)) if isinstance(value, wide.Wide) else float(value)
        for name, value in totals._asdict().items()
    }
    return Breakdown(totals=figures | {"clock_hz": CLOCK_HZ}, rows=rows, notes=NOTES)
