"""A smooth stand-in for the systolic-array model, for gradient search. The exact model scores.

Where `model.py` has ceil(a / b), this has max(a / b, 1); where it has a choice of schedule or a roofline, a soft
minimum or maximum; sizes are real numbers; partial sums are never spilled; energy is
always the array's. Everything is float32, so this is an estimate, never a result.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..arrays import Array
from .model import INPUT_STATIONARY, OUTPUT_STATIONARY, WEIGHT_STATIONARY, Hardware, access_energies, area_mm2
from .platforms import Platform
from .workloads import LayerArrays

__all__ = ["SmoothMetrics", "evaluate"]

_SHARPNESS = 8.0  # of soft minima and maxima, in units of 1 / log ratio


class SmoothMetrics(NamedTuple):
    """Smooth totals. Scalars, float32."""

    latency_s: Array
    energy_j: Array
    area_mm2: Array


def _soft_maximum(a: Array, b: Array) -> jax.Array:
    return jnp.exp(jnp.logaddexp(_SHARPNESS * jnp.log(a), _SHARPNESS * jnp.log(b)) / _SHARPNESS)


def _soft_minimum(a: Array, b: Array) -> jax.Array:
    return jnp.exp(-jnp.logaddexp(-_SHARPNESS * jnp.log(a), -_SHARPNESS * jnp.log(b)) / _SHARPNESS)


def _soft_ceil_div(size: Array, divisor: Array) -> jax.Array:
    return _soft_maximum(size / divisor, jnp.ones_like(size / divisor))


def evaluate(hardware: Hardware, dataflow: int, layers: LayerArrays, platform: Platform) -> SmoothMetrics:
    """Smooth costs of a network.

    Args:
        hardware: scalars, float32; its `dataflow` is not used.
        dataflow: static index into `model.DATAFLOWS`.
        layers: int32[L] each.
        platform: static. Traffic is always taken as tiled and the port as shared.

    Returns:
        `SmoothMetrics` of scalars, differentiable in every field of `hardware`.
    """
    m, n, k, ifmap, count = (jnp.asarray(value, jnp.float32) for value in layers)
    technology, rows, columns = platform.technology, hardware.rows, hardware.columns
    on_rows, on_columns, streamed, fill = {
        WEIGHT_STATIONARY: (k, n, m, 2 * rows),
        OUTPUT_STATIONARY: (m, n, k, rows),
        INPUT_STATIONARY: (k, m, n, 2 * rows),
    }[dataflow]
    row_folds, column_folds = _soft_ceil_div(on_rows, rows), _soft_ceil_div(on_columns, columns)
    compute = row_folds * column_folds * (fill + columns + streamed - 2)

    words_per_kib = 1024 * 8 / technology.word_bits / 2
    filters, outputs = k * n, m * n
    ifmap_tiles = _soft_ceil_div(ifmap, hardware.ifmap_kib * words_per_kib)
    filter_tiles = _soft_ceil_div(filters, hardware.filter_kib * words_per_kib)
    if dataflow != OUTPUT_STATIONARY:
        live = streamed * _soft_minimum(on_columns, columns)
        partial_words = hardware.ofmap_kib * (1024 * 8 / technology.accumulator_bits / 2)
        partial_tiles = _soft_ceil_div(live, partial_words)
        if dataflow == WEIGHT_STATIONARY:
            ifmap_tiles = _soft_maximum(ifmap_tiles, partial_tiles)
        else:
            filter_tiles = _soft_maximum(filter_tiles, partial_tiles)
    words = _soft_minimum(filters * ifmap_tiles + ifmap, ifmap * filter_tiles + filters) + outputs
    each_cycles = _soft_maximum(compute, words / hardware.dram_words_per_cycle)
    if (near := platform.near_memory) is not None:
        width = hardware.dram_words_per_cycle * near.bandwidth_ratio
        reading = (ifmap + filters + outputs) / width
        each_cycles = _soft_minimum(each_cycles, _soft_maximum(m * n * k / (width * near.macs_per_word), reading))
    cycles = jnp.sum(count * each_cycles)

    each = access_energies(hardware, technology)
    partials = jnp.ones_like(row_folds) if dataflow == OUTPUT_STATIONARY else row_folds
    ifmap_reads = m * k * (1.0 if dataflow == INPUT_STATIONARY else column_folds)
    filter_reads = filters * {0: 1.0, 1: row_folds, 2: column_folds}[dataflow]
    energy_pj = m * n * k * (technology.mac_pj + technology.register_pj) + words * technology.dram_pj
    energy_pj += ifmap_reads * each.ifmap_pj + filter_reads * each.filter_pj
    energy_pj += (words - outputs) * 0.5 * (
        each.ifmap_pj + each.filter_pj
    ) + 2 * outputs * partials * each.accumulator_pj
    return SmoothMetrics(
        latency_s=cycles / platform.clock_hz,
        energy_j=jnp.sum(count * energy_pj) * 1e-12,
        area_mm2=area_mm2(hardware, technology),
    )
