"""The systolic-array model: cycles, off-chip traffic, energy and area of a whole network on one array, in closed form.

Sources: the fold arithmetic is SCALE-Sim's (Samajdar et al., ISPASS 2020), in the form that its release 3.0.0
computes: compute cycles here equal SCALE-Sim's unstalled total plus one on every layer. Energy and area constants:
`technology.csv`.

Every layer is a product of an (M x K) input by a (K x N) filter (im2col). On R rows and C columns

| dataflow | rows hold | columns hold | streamed T | folds | cycles a fold |
|---|---|---|---|---|---|
| output stationary | M | N | K | ceil(M/R) ceil(N/C) | R + C + K - 2 |
| weight stationary | K | N | M | ceil(K/R) ceil(N/C) | 2R + C + M - 2 |
| input stationary | K | M | N | ceil(K/R) ceil(M/C) | 2R + C + N - 2 |

Assumptions, all uncalibrated beyond the checks named in `docs/accelerator.md`:
- Folds do not overlap; products (groups, heads) and layers run one after another; compute overlaps perfectly with
  DRAM traffic within a product: cycles = max(compute, ceil(words / DRAM words per cycle)) (a roofline).
- Buffers are double-buffered: half is usable. DRAM traffic is the cheaper of two schedules: keep input tiles and
  stream the filter once per tile, or keep filter tiles and stream the input once per tile. Where the weight- and
  input-stationary dataflows need several row folds, the partial sums of a column fold must fit the ofmap buffer: the
  schedule either cuts its streamed operand into tiles whose partial sums do fit, or spills all partial sums to DRAM
  and back.
- Energy counts accesses; there is no leakage, clock or interconnect energy.

Shapes: B batch (by `jax.vmap`), L layers. Counts are exact integers (`wide.Wide`), whatever their size.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import wide
from ..arrays import Array
from ..wide import Wide
from .platforms import NearMemory, Platform, Technology
from .workloads import LayerArrays

__all__ = ["DATAFLOWS", "Hardware", "LayerCosts", "Metrics", "area_mm2", "evaluate", "evaluate_layers", "multipliers"]

DATAFLOWS = ("ws", "os", "is")  # weight, output and input stationary; the order of `Hardware.dataflow`
WEIGHT_STATIONARY, OUTPUT_STATIONARY, INPUT_STATIONARY = range(3)
_PICO = 1e-12


class Hardware(NamedTuple):
    """One design in physical terms. Scalars, int32."""

    rows: Array  # processing elements
    columns: Array  # processing elements
    ifmap_kib: Array  # KiB, input buffer
    filter_kib: Array  # KiB, weight buffer
    ofmap_kib: Array  # KiB, partial-sum and output buffer
    dram_words_per_cycle: Array  # operand words a cycle, 1 to 32767
    dataflow: Array | None  # index into DATAFLOWS; None where a function takes it apart from the record


class LayerCosts(NamedTuple):
    """Costs of the products of each row, all occurrences together. `Wide[L]` unless noted."""

    compute_cycles: Wide  # fold-exact, unstalled
    cycles: Wide  # with DRAM stalls
    macs: Wide
    ifmap_sram_reads: Wide  # words
    filter_sram_reads: Wide  # words
    ofmap_sram_writes: Wide  # partial sums
    ifmap_dram_words: Wide
    filter_dram_words: Wide
    ofmap_dram_words: Wide  # outputs and spilled partial sums, in operand words
    mapping_efficiency: Array  # float32[L], share of processing elements that the folds occupy


class Metrics(NamedTuple):
    """Totals of a design over a network. Scalars, float32 unless noted."""

    latency_s: Array
    energy_j: Array
    area_mm2: Array
    utilisation: Array  # multiply-accumulates / (cycles x processing elements)
    compute_cycles: Wide  # exact
    cycles: Wide  # exact
    dram_words: Wide  # exact
    mac_energy_j: Array  # multiply-accumulates and the stationary operand's registers
    sram_energy_j: Array
    accumulator_energy_j: Array
    dram_energy_j: Array


def _ceil_div(size: Array, divisor: Array) -> jax.Array:
    """ceil(size / divisor), 1 <= size <= 2**24: a float32 estimate (integer division does not vectorise), corrected."""
    quotient = jnp.ceil(size.astype(jnp.float32) / divisor.astype(jnp.float32)).astype(jnp.int32)
    quotient = quotient - ((quotient - 1) * divisor >= size)
    return quotient + (quotient * divisor < size)


def _tiles(words: Array, buffer_kib: Array, word_bits: float) -> jax.Array:
    """Tiles of half a buffer that hold `words` (int32, from 1 to 2**31 - 1), a word being 8, 16 or 32 bits."""
    shift = int(math.log2(1024 * 8 / word_bits / 2))
    return _ceil_div(((words - 1) >> shift) + 1, buffer_kib)


def evaluate_layers(hardware: Hardware, layers: LayerArrays, platform: Platform) -> LayerCosts:
    """Costs of each row of a workload on one design.

    Args:
        hardware: scalars, int32.
        layers: int32[L] each.
        platform: static; its technology gives the word widths.

    Returns:
        `LayerCosts` over all occurrences of each row, with leading axis L.
    """
    rows, columns = hardware.rows, hardware.columns
    m, n, k = layers.m, layers.n, layers.k
    is_ws = hardware.dataflow == WEIGHT_STATIONARY
    is_os = hardware.dataflow == OUTPUT_STATIONARY
    is_is = hardware.dataflow == INPUT_STATIONARY

    on_rows = jnp.where(is_os, m, k)
    on_columns = jnp.where(is_is, m, n)
    streamed = jnp.where(is_ws, m, jnp.where(is_os, k, n))
    row_folds, column_folds = _ceil_div(on_rows, rows), _ceil_div(on_columns, columns)
    cycles_per_fold = jnp.where(is_os, rows, 2 * rows) + columns + streamed - 2
    compute = wide.scale(wide.multiply(row_folds, column_folds), cycles_per_fold)
    efficiency = (on_rows.astype(jnp.float32) / (row_folds * rows)) * (
        on_columns.astype(jnp.float32) / (column_folds * columns)
    )

    partials = jnp.where(is_os, 1, row_folds)
    dram = _TRAFFIC[platform.traffic](
        hardware, layers, platform.technology, partials, streamed * jnp.minimum(on_columns, columns)
    )
    stall = wide.ceil_div(_PORTS[platform.ports](*dram), hardware.dram_words_per_cycle)

    def times_occurrences(value: Wide) -> Wide:
        return wide.scale(value, layers.occurrences)

    ifmap_dram, filter_dram, ofmap_dram = map(times_occurrences, dram)
    ifmap_folds = jnp.where(is_is, 1, column_folds)
    filter_folds = jnp.where(is_ws, 1, jnp.where(is_os, row_folds, column_folds))

    costs = LayerCosts(
        compute_cycles=times_occurrences(compute),
        cycles=times_occurrences(wide.maximum(compute, stall)),
        macs=times_occurrences(wide.scale(wide.multiply(m, k), n)),
        ifmap_sram_reads=wide.scale(times_occurrences(wide.multiply(m, k)), ifmap_folds),
        filter_sram_reads=wide.scale(times_occurrences(wide.multiply(k, n)), filter_folds),
        ofmap_sram_writes=wide.scale(times_occurrences(wide.multiply(m, n)), partials),
        ifmap_dram_words=ifmap_dram,
        filter_dram_words=filter_dram,
        ofmap_dram_words=ofmap_dram,
        mapping_efficiency=efficiency,
    )
    return costs if platform.near_memory is None else _cheaper_engine(costs, hardware, layers, platform.near_memory)


def _cheaper_engine(array: LayerCosts, hardware: Hardware, layers: LayerArrays, near_memory: NearMemory) -> LayerCosts:
    """Each product on the engine that takes fewer cycles, the array if they tie; the engines do not run together.

    Near memory each distinct word is read once from DRAM, at the array's energy a word, and no buffer is accessed.
    """
    ifmap, filters, ofmap = (
        wide.narrow(each) for each in (layers.ifmap_words, layers.k * layers.n, layers.m * layers.n)
    )
    width, ratio = hardware.dram_words_per_cycle, jnp.int32(near_memory.bandwidth_ratio)

    def steps(work: Wide, a_step: int) -> Wide:
        """Cycles at so much work a step of the wider memory; one division after another, as divisors are small."""
        return wide.ceil_div(wide.ceil_div(wide.ceil_div(work, width), ratio), jnp.int32(a_step))

    compute = steps(wide.scale(wide.multiply(layers.m, layers.k), layers.n), near_memory.macs_per_word)
    reading = steps(wide.add(wide.add(ifmap, filters), ofmap), 1)
    compute, reading, ifmap, filters, ofmap = (
        wide.scale(each, layers.occurrences) for each in (compute, reading, ifmap, filters, ofmap)
    )
    cycles = wide.maximum(compute, reading)
    keeps = wide.less_equal(array.cycles, cycles)

    def of(on_array: Wide, near: Wide) -> Wide:
        return wide.select(keeps, on_array, near)

    nothing = wide.scale(array.macs, jnp.zeros_like(layers.occurrences))
    return LayerCosts(
        compute_cycles=of(array.compute_cycles, compute),
        cycles=of(array.cycles, cycles),
        macs=array.macs,
        ifmap_sram_reads=of(array.ifmap_sram_reads, nothing),
        filter_sram_reads=of(array.filter_sram_reads, nothing),
        ofmap_sram_writes=of(array.ofmap_sram_writes, nothing),
        ifmap_dram_words=of(array.ifmap_dram_words, ifmap),
        filter_dram_words=of(array.filter_dram_words, filters),
        ofmap_dram_words=of(array.ofmap_dram_words, ofmap),
        mapping_efficiency=array.mapping_efficiency,
    )


def _compulsory_traffic(
    hardware: Hardware, layers: LayerArrays, technology: Technology, partials: Array, live_partials: Array
) -> tuple[Wide, Wide, Wide]:
    """Each distinct word crosses once: a lower bound for any schedule."""
    del hardware, technology, partials, live_partials
    return wide.narrow(layers.ifmap_words), wide.narrow(layers.k * layers.n), wide.narrow(layers.m * layers.n)


def _tiled_traffic(
    hardware: Hardware, layers: LayerArrays, technology: Technology, partials: Array, live_partials: Array
) -> tuple[Wide, Wide, Wide]:
    """DRAM words of ifmap, filter and ofmap for one product, under the cheaper of the two schedules.

    Args:
        partials: int32[L], row folds whose partial sums meet in the ofmap buffer (1: none).
        live_partials: int32[L], partial sums of one column fold.
    """
    is_ws, is_is = hardware.dataflow == WEIGHT_STATIONARY, hardware.dataflow == INPUT_STATIONARY
    words_per_partial = int(technology.accumulator_bits / technology.word_bits)
    ifmap, filters, outputs = layers.ifmap_words, layers.k * layers.n, layers.m * layers.n
    ifmap_tiles = _tiles(ifmap, hardware.ifmap_kib, technology.word_bits)
    filter_tiles = _tiles(filters, hardware.filter_kib, technology.word_bits)
    partial_tiles = jnp.where(partials > 1, _tiles(live_partials, hardware.ofmap_kib, technology.accumulator_bits), 1)
    spill = wide.multiply(outputs, jnp.where(partial_tiles > 1, 2 * words_per_partial * (partials - 1), 0))

    # Keep input tiles, stream the filter: weight stationary cuts M where partial sums need it, input stationary spills.
    stream_filter = wide.multiply(filters, jnp.where(is_ws, jnp.maximum(ifmap_tiles, partial_tiles), ifmap_tiles))
    spill_a = wide.scale(spill, is_is)
    # Keep filter tiles, stream the input: the other way round.
    stream_ifmap = wide.multiply(ifmap, jnp.where(is_is, jnp.maximum(filter_tiles, partial_tiles), filter_tiles))
    spill_b = wide.scale(spill, is_ws)

    total_a = wide.add(wide.add(stream_filter, wide.narrow(ifmap)), spill_a)
    total_b = wide.add(wide.add(stream_ifmap, wide.narrow(filters)), spill_b)
    a_is_cheaper = wide.less_equal(total_a, total_b)
    return (
        wide.select(a_is_cheaper, wide.narrow(ifmap), stream_ifmap),
        wide.select(a_is_cheaper, stream_filter, wide.narrow(filters)),
        wide.add(wide.narrow(outputs), wide.select(a_is_cheaper, spill_a, spill_b)),
    )


_TRAFFIC = {"tiled": _tiled_traffic, "compulsory": _compulsory_traffic}


def _shared_port(ifmap: Wide, filters: Wide, ofmap: Wide) -> Wide:
    return wide.add(wide.add(ifmap, filters), ofmap)


def _separate_ports(ifmap: Wide, filters: Wide, ofmap: Wide) -> Wide:
    return wide.maximum(wide.maximum(ifmap, filters), ofmap)


_PORTS = {"shared": _shared_port, "separate": _separate_ports}


def area_mm2(hardware: Hardware, technology: Technology) -> jax.Array:
    """Area of a design, float32 mm2: a linear fit (`technology.csv`) plus a synthetic price of the DRAM interface."""
    area = technology.base_mm2 + technology.pe_mm2 * (hardware.rows * hardware.columns)
    area = area + technology.edge_mm2 * 0.5 * (hardware.rows + hardware.columns)
    area = area + technology.sram_mm2_per_kib * (hardware.ifmap_kib + hardware.filter_kib)
    area = area + technology.accumulator_mm2_per_kib * hardware.ofmap_kib
    area = area + technology.dram_interface_mm2_per_word * hardware.dram_words_per_cycle
    return jnp.asarray(area, jnp.float32)


class AccessEnergies(NamedTuple):
    """Picojoules per access for one design. Scalars, float32."""

    ifmap_pj: Array
    filter_pj: Array
    accumulator_pj: Array


def access_energies(hardware: Hardware, technology: Technology) -> AccessEnergies:
    """Energy per access of each buffer, which grows with its capacity."""
    per_accumulator_kib = (
        technology.accumulator_pj_per_kib + technology.accumulator_pj_per_kib_per_column / hardware.columns
    )
    return AccessEnergies(
        technology.sram_base_pj + technology.sram_pj_per_kib * hardware.ifmap_kib,
        technology.sram_base_pj + technology.sram_pj_per_kib * hardware.filter_kib,
        technology.accumulator_base_pj + per_accumulator_kib * hardware.ofmap_kib,
    )


def energies_j(counts: LayerCosts, hardware: Hardware, technology: Technology) -> tuple[jax.Array, ...]:
    """Joules in the array, the operand buffers, the accumulators and DRAM, for the given access counts.

    Every input and filter word from DRAM is also written into its buffer once; every partial sum is written into the
    ofmap buffer and read from it once, which covers what then leaves for DRAM.
    """
    each = access_energies(hardware, technology)
    as_float = wide.to_float32
    array = as_float(counts.macs) * (technology.mac_pj + technology.register_pj)
    ifmap = (as_float(counts.ifmap_sram_reads) + as_float(counts.ifmap_dram_words)) * each.ifmap_pj
    filters = (as_float(counts.filter_sram_reads) + as_float(counts.filter_dram_words)) * each.filter_pj
    sram = _rounded(ifmap) + _rounded(filters)
    accumulator = 2.0 * as_float(counts.ofmap_sram_writes) * each.accumulator_pj
    dram_words = wide.add(wide.add(counts.ifmap_dram_words, counts.filter_dram_words), counts.ofmap_dram_words)
    dram = as_float(dram_words) * technology.dram_pj
    return tuple(_rounded(picojoules * _PICO) for picojoules in (array, sram, accumulator, dram))


def multipliers(hardware: Hardware, platform: Platform) -> Array:
    """Multiply-accumulates a cycle of all engines, int32."""
    near = platform.near_memory
    second = 0 if near is None else hardware.dram_words_per_cycle * (near.bandwidth_ratio * near.macs_per_word)
    return hardware.rows * hardware.columns + second


def _rounded(product: Array) -> jax.Array:
    """A non-negative product, kept out of fused multiply-adds: compilers form them at some batch sizes only."""
    return jnp.maximum(product, 0.0)


def evaluate(hardware: Hardware, layers: LayerArrays, platform: Platform) -> Metrics:
    """Costs of a whole network on one design. Pure; `jax.vmap` it over designs, `jax.jit` it with `platform` static.

    Args:
        hardware: scalars, int32.
        layers: int32[L] each; `Workload.distinct` for totals.
        platform: technology, clock and memory conventions.

    Returns:
        `Metrics` of scalars.
    """
    per_layer = evaluate_layers(hardware, layers, platform)
    sums = (wide.sum_last(value) for value in per_layer[:-1])
    totals = LayerCosts(*sums, mapping_efficiency=per_layer.mapping_efficiency)  # has no total; the energies need none
    array, sram, accumulator, dram = energies_j(totals, hardware, platform.technology)
    cycles = wide.to_float32(totals.cycles)
    processing_elements = multipliers(hardware, platform) * jnp.float32(1)
    return Metrics(
        latency_s=cycles * np.float32(1.0 / platform.clock_hz),
        energy_j=array + sram + accumulator + dram,
        area_mm2=area_mm2(hardware, platform.technology),
        utilisation=wide.to_float32(totals.macs) / (cycles * processing_elements),
        compute_cycles=totals.compute_cycles,
        cycles=totals.cycles,
        dram_words=wide.add(wide.add(totals.ifmap_dram_words, totals.filter_dram_words), totals.ofmap_dram_words),
        mac_energy_j=array,
        sram_energy_j=sram,
        accumulator_energy_j=accumulator,
        dram_energy_j=dram,
    )
