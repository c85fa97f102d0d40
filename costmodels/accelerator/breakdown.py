"""The costs of one accelerator design layer by layer, with units."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np

from .. import wide
from ..breakdown import Breakdown
from ..errors import InvalidDesignError, UnknownNameError
from . import model
from .platforms import Platform
from .workloads import Workload

__all__ = ["NOTES", "break_down"]

NOTES = (
    "Compute cycles are SCALE-Sim 3.0.0's unstalled cycles + 1 on every layer; DRAM stalls are a roofline over "
    "modelled traffic.",
    "Energy uses DOSA's published per-access constants and is not calibrated against a chip; leakage is left out.",
    "Area is a linear fit (mean error 5.4 %) to published Timeloop areas; the area of the DRAM interface is synthetic.",
    "The clock (1 GHz) is an assumption.",
)

# Design parameter: the field of `model.Hardware`, and the largest value that the model's integers hold.
_FIELDS: Mapping[str, tuple[str, int]] = {
    "rows": ("rows", 2**14),
    "columns": ("columns", 2**14),
    "ifmap_buffer": ("ifmap_kib", 2**20),
    "filter_buffer": ("filter_kib", 2**20),
    "ofmap_buffer": ("ofmap_kib", 2**20),
    "dram_width": ("dram_words_per_cycle", wide.MAX_DIVISOR),
}

_evaluate = jax.jit(model.evaluate, static_argnames="platform")
_evaluate_layers = jax.jit(model.evaluate_layers, static_argnames="platform")
_energies = jax.jit(model.energies_j, static_argnames="technology")


def hardware_of(values: Mapping[str, object]) -> model.Hardware:
    """The hardware of {parameter: value}; any whole number that the model holds will do.

    Raises:
        InvalidDesignError: a value is no whole number in range, or a parameter is missing.
        UnknownNameError: an unknown parameter or dataflow.
    """
    for name in values:
        if name not in (*_FIELDS, "dataflow"):
            raise UnknownNameError("parameter", name, (*_FIELDS, "dataflow"))
    missing = [name for name in (*_FIELDS, "dataflow") if name not in values]
    if missing:
        raise InvalidDesignError(f"The design leaves out {', '.join(missing)}.")
    dataflow = values["dataflow"]
    if dataflow not in model.DATAFLOWS:
        raise UnknownNameError("dataflow", dataflow, model.DATAFLOWS)
    fields = {"dataflow": np.array(model.DATAFLOWS.index(dataflow), np.int32)}
    for name, (field, largest) in _FIELDS.items():
        text = str(values[name])
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= largest:
            raise InvalidDesignError(f"{name} = '{text}' is not a whole number from 1 to {largest}.")
        fields[field] = np.array(int(text), np.int32)
    return model.Hardware(**fields)


def break_down(workload: Workload, platform: Platform, values: Mapping[str, object]) -> Breakdown:
    """Totals and per-layer costs of one design.

    Args:
        workload: the network; each row of its table becomes a row here, all its occurrences together.
        platform: technology, clock and memory conventions.
        values: {parameter: value}.

    Raises:
        InvalidDesignError, UnknownNameError: as `hardware_of`.
    """
    hardware = hardware_of(values)
    totals = jax.device_get(_evaluate(hardware, workload.distinct, platform=platform))
    layers = _evaluate_layers(hardware, workload.in_order, platform=platform)
    energies = [np.asarray(part) for part in _energies(layers, hardware, technology=platform.technology)]
    counts = {name: wide.to_int64(getattr(layers, name)) for name in layers._fields if name != "mapping_efficiency"}
    processing_elements = int(model.multipliers(hardware, platform))
    rows = [
        {
            "layer": layer.name,
            "repeat": layer.repeat,
            "macs": int(counts["macs"][i]),
            "compute_cycles": int(counts["compute_cycles"][i]),
            "cycles": int(counts["cycles"][i]),
            "utilisation": counts["macs"][i] / (counts["cycles"][i] * processing_elements),
            "mapping_efficiency": float(layers.mapping_efficiency[i]),
            "ifmap_sram_reads_words": int(counts["ifmap_sram_reads"][i]),
            "filter_sram_reads_words": int(counts["filter_sram_reads"][i]),
            "ofmap_sram_writes_words": int(counts["ofmap_sram_writes"][i]),
            "ifmap_dram_words": int(counts["ifmap_dram_words"][i]),
            "filter_dram_words": int(counts["filter_dram_words"][i]),
            "ofmap_dram_words": int(counts["ofmap_dram_words"][i]),
            "energy_j": float(sum(part[i] for part in energies)),
        }
        for i, layer in enumerate(workload.layers)
    ]
    return Breakdown(totals=_totals(totals, platform), rows=rows, notes=NOTES)


def _totals(metrics: model.Metrics, platform: Platform) -> dict[str, float]:
    return {
        "latency_s": float(metrics.latency_s),
        "energy_j": float(metrics.energy_j),
        "area_mm2": float(metrics.area_mm2),
        "utilisation": float(metrics.utilisation),
        "compute_cycles": int(wide.to_int64(metrics.compute_cycles)),
        "cycles": int(wide.to_int64(metrics.cycles)),
        "dram_traffic_words": int(wide.to_int64(metrics.dram_words)),
        "mac_energy_j": float(metrics.mac_energy_j),
        "sram_energy_j": float(metrics.sram_energy_j),
        "accumulator_energy_j": float(metrics.accumulator_energy_j),
        "dram_energy_j": float(metrics.dram_energy_j),
        "word_bits": int(platform.technology.word_bits),
        "clock_hz": platform.clock_hz,
    }
