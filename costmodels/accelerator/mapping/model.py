"""The mapping-aware model: cycles, energy and capacity of a layer under a tiling, in exact and in relaxed form.

The machine is Gemmini-like, as DOSA (ucb-bar/dosa) describes it to Timeloop. A square array of processing elements has

| level | holds | capacity | words a cycle |
|---|---|---|---|
| REGISTERS, one an element | weights | 1 word of 8 bits | not limited |
| ACCUMULATOR, one a column | outputs | its KiB over the columns, words of 32 bits | 2 a column in use |
| SCRATCHPAD | weights and inputs | its KiB, words of 8 bits | 2 times the array's edge |
| DRAM | all | | 8 |

A layer is a nest of seven loops, by Timeloop's letters: R and P, S and Q (a filter's and the output's extent along one
axis and along the other), C and K (input and output channels), N (batch). A mapping factors each bound over temporal
loops at the four levels, with an order at each level, and over space: C over the array's rows, K over its columns.

The rules are Timeloop's (NVlabs/timeloop, `src/loop-analysis/nest-analysis.cpp` and `tiling.cpp`, read at the commits
of May 2022), so that cycles agree with it to one and energies to 1e-5 (`docs/accelerator_mapping.md`):

- What a level fetches of a tensor is its tile times the loops outside, from the innermost one on that is relevant to
  the tensor. Irrelevant loops inside that one are free: the tile stays.
- Inputs overlap where a window slides: a step of the innermost loop fetches the new rows or columns only. So does a
  step of an outer loop that moves the tile by just as much; any other step fetches the whole tile.
- Partial sums that leave an accumulator come back, but for the first time.
- Cycles are the largest of the temporal loops' product and, for each level, words over words a cycle: all transfers
  overlap. Energy is the sum of accesses times their energies, whole blocks of words in scratchpad and DRAM.

One text computes both forms: in float32 for real-valued factors (the relaxed form, differentiable; ceilings pass
gradients as if they were not there), and in float32 and uint32 together for whole ones (`costmodels/wide.py`, exact).

Shapes: L layers; [..., 4, 7] factors by level and dimension. Functions are of one layer; `jax.vmap` does the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ... import wide
from ...arrays import Array
from ...tables import package_rows
from ..platforms import get_technology

__all__ = [
    "ACCUMULATOR",
    "DIMENSIONS",
    "DRAM",
    "LEVELS",
    "REGISTERS",
    "SCRATCHPAD",
    "Costs",
    "Energies",
    "Hardware",
    "LayerShape",
    "Mapping",
    "Tiles",
    "access_energies",
    "area_mm2",
    "constants",
    "energies",
    "evaluate",
    "evaluate_relaxed",
    "inside_of",
    "overflow",
    "smallest_hardware",
    "tiles",
]

DIMENSIONS = tuple("RSPQCKN")
R, S, P, Q, C, K, N = range(7)
LEVELS = ("registers", "accumulator", "scratchpad", "dram")
REGISTERS, ACCUMULATOR, SCRATCHPAD, DRAM = range(4)
_WEIGHTS, _OUTPUTS = (R, S, C, K), (P, Q, K, N)
_AXES = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 1]])  # of the input
_PICO = np.float32(1e-12)


class Hardware(NamedTuple):
    """One machine. Scalars, int32 (float32 in the relaxed form)."""

    edge: Array  # processing elements along each side of the array
    scratchpad_kib: Array  # KiB
    accumulator_kib: Array  # KiB, of all columns together
    dram_words_per_cycle: Array


class LayerShape(NamedTuple):
    """A layer's loops."""

    bounds: Array  # int32[7], in the order of DIMENSIONS
    strides: Array  # int32[2], of P and Q in the input
    dilations: Array  # int32[2], of R and S in the input


class Mapping(NamedTuple):
    """How a layer runs on the machine."""

    temporal: Array  # [4, 7], factors by level and dimension; at REGISTERS only P, Q and N, which keep the weight
    rows: Array  # scalar, the factor of C over the array's rows
    columns: Array  # scalar, the factor of K over its columns
    inside: Array  # [3, 7, 7], above the registers: 1 where the loop of the first dimension runs inside the second's


class Tiles(NamedTuple):
    """What a mapping keeps at each level. Scalars, in words."""

    register_weights: Array
    accumulator_outputs: Array  # of one column
    scratchpad_weights: Array
    scratchpad_inputs: Array


class Costs(NamedTuple):
    """What a layer, or a network as the sum of its layers, costs: `wide.Wide` in the exact form, else float32."""

    cycles: Any
    compute_cycles: Any  # the product of the temporal factors
    macs: Any
    register_fills: Any  # words, of all registers
    accumulator_accesses: Any  # words, of all columns
    scratchpad_accesses: Any  # words
    dram_accesses: Any  # words
    scratchpad_blocks: Any  # words of the rows that are accessed, each as wide as the array
    dram_blocks: Any  # words of the blocks that are accessed


class Energies(NamedTuple):
    """Joules of a layer or a network. Scalars, float32."""

    array_j: jax.Array  # multiply-accumulates and registers
    accumulator_j: jax.Array
    scratchpad_j: jax.Array
    dram_j: jax.Array


@functools.cache
def constants() -> dict[str, float]:
    """{quantity: value} of `constants.csv`."""
    return {row["quantity"]: float(row["value"]) for row in package_rows("accelerator/mapping/constants.csv")}


def inside_of(order: Sequence[int]) -> np.ndarray:
    """int32[7, 7], `Mapping.inside` of one level, of its dimensions from the outermost loop to the innermost."""
    place = np.empty(len(DIMENSIONS), np.int32)
    place[list(order)] = np.arange(len(DIMENSIONS))
    return (place[:, None] > place[None, :]).astype(np.int32)


# Counts: one text for float32 and uint32. Differences wrap around in uint32 and are only added, multiplied, compared.


def _extents(mapping: Mapping) -> jax.Array:
    """[3, 7], the extent of each dimension in the tile of registers, accumulator and scratchpad."""
    temporal = jnp.asarray(mapping.temporal)
    registers = temporal[REGISTERS]
    accumulator = registers * temporal[ACCUMULATOR] * _at(C, mapping.rows, temporal.dtype)
    return jnp.stack(
        [registers, accumulator, accumulator * temporal[SCRATCHPAD] * _at(K, mapping.columns, temporal.dtype)]
    )


def _at(dimension: int, factor: Array, dtype: Any) -> jax.Array:
    """[7], ones but for one dimension."""
    return jnp.where(np.arange(len(DIMENSIONS)) == dimension, jnp.asarray(factor, dtype), jnp.ones((), dtype))


def _spans(extents: Array, shape: LayerShape) -> tuple[jax.Array, jax.Array]:
    """Input rows and columns that a tile touches, from the extents [7]."""
    strides, dilations = (jnp.asarray(each).astype(extents.dtype) for each in (shape.strides, shape.dilations))
    across = (extents[P] - 1) * strides[0] + (extents[R] - 1) * dilations[0] + 1
    return across, (extents[Q] - 1) * strides[1] + (extents[S] - 1) * dilations[1] + 1


def tiles(mapping: Mapping, shape: LayerShape) -> Tiles:
    """The words that a mapping keeps, whole numbers or float32 as its factors are."""
    registers, accumulator, scratchpad = _extents(mapping)
    across, down = _spans(scratchpad, shape)
    return Tiles(
        register_weights=_product(registers, _WEIGHTS),
        accumulator_outputs=_product(accumulator, _OUTPUTS),
        scratchpad_weights=_product(scratchpad, _WEIGHTS),
        scratchpad_inputs=across * down * scratchpad[C] * scratchpad[N],
    )


def _product(values: jax.Array, dimensions: Sequence[int]) -> jax.Array:
    return jnp.prod(values[np.array(dimensions)], dtype=values.dtype)


def _is_loop(factors: Array) -> jax.Array:
    """0 where a factor is 1, 1 where it is 2 or more; linear between, so that relaxed factors have gradients."""
    return jnp.clip(factors - 1, 0, 1)


def _same(a: Array, b: Array) -> jax.Array:
    """1 where two distances are equal, 0 where they differ by a pixel or more; linear between."""
    if jnp.issubdtype(a.dtype, jnp.floating):
        return jnp.maximum(1 - jnp.abs(a - b), 0)
    return (a == b).astype(a.dtype)


def _refetches(factors: Array, inside: Array, relevant: Sequence[int]) -> jax.Array:
    """How often a tile is fetched: the product of the loops outside it, from the innermost relevant one on.

    Args:
        factors: [l, 7], loops of the levels outside the tile, the innermost level first.
        inside: [l, 7, 7].
        relevant: dimensions that the tensor has.
    """
    mask = np.isin(np.arange(len(DIMENSIONS)), relevant).astype(np.int32)
    free = 1 - _is_loop(factors) * jnp.asarray(mask, factors.dtype)  # 0 where a loop exchanges the tile
    times, untouched = jnp.ones((), factors.dtype), jnp.ones((), factors.dtype)
    for level in range(factors.shape[0]):
        still = untouched * free[level] * jnp.prod(1 - inside[level] * (1 - free[level])[:, None], axis=0)
        times = times * jnp.prod(factors[level] - still * (factors[level] - 1))
        untouched = untouched * jnp.prod(free[level])
    return times


def _input_words(factors: Array, inside: Array, extents: Array, shape: LayerShape) -> jax.Array:
    """Input words fetched into the scratchpad: tiles, less what they share with the one before.

    Args:
        factors: [7], the loops outside the tile.
        inside: [7, 7], their order.
        extents: [7], of the tile.
        shape: the layer's.
    """
    dtype = factors.dtype
    strides, dilations = (jnp.asarray(each).astype(dtype) for each in (shape.strides, shape.dilations))
    across, down = _spans(extents, shape)
    depth, one = extents[C] * extents[N], jnp.ones((), dtype)
    whole = across * down * depth
    far = 4 * jnp.asarray(shape.bounds).astype(dtype)[C]  # no channels move a tile as far as another image
    # By dimension: how far a step moves the tile, how wide it is along that axis, and what a line across it holds.
    distances = extents * jnp.stack([dilations[0], dilations[1], strides[0], strides[1], one, 0 * one, far])
    widths = jnp.stack([across, down, across, down, one, one, one])
    lines = jnp.stack([down * depth, across * depth, down * depth, across * depth, whole, whole, whole])
    new = jnp.minimum(distances, widths) * lines
    steps = distances[:, None] * jnp.asarray(_AXES, dtype)

    loops = _is_loop(factors)
    alone = jnp.prod(1 - inside * loops[:, None], axis=0)  # 1 where no loop runs inside
    innermost = alone * loops
    first_step = jnp.sum(innermost[:, None] * steps, axis=0, dtype=dtype)
    first_new = jnp.sum(innermost * new, dtype=dtype)
    # When a loop steps, those inside it return by the one step that Timeloop follows of each.
    moved = steps - jnp.sum((inside * loops[:, None])[:, :, None] * steps[:, None, :], axis=0, dtype=dtype)
    like_first = jnp.prod(_same(moved, first_step[None]), axis=1)
    exchanged = alone * new + (1 - alone) * (like_first * first_new + (1 - like_first) * whole)
    # Loops outside each: the product of those that it runs inside of.
    outside = jnp.prod(1 + inside.T * (factors[:, None] - 1), axis=0)
    return whole + jnp.sum((factors - 1) * outside * exchanged, dtype=dtype)


class _Counts(NamedTuple):
    """Accesses in words. Scalars."""

    macs: Any
    compute_cycles: Any
    register_fills: Any  # weights out of the scratchpad
    scratchpad_inputs: Any  # inputs out of the scratchpad
    weight_fetches: Any  # from DRAM
    input_fetches: Any  # from DRAM
    output_updates: Any  # into the accumulators, from the array
    output_fills: Any  # into the accumulators, from DRAM, and out again
    outputs: Any  # distinct


def _counts(mapping: Mapping, shape: LayerShape) -> _Counts:
    temporal, inside = jnp.asarray(mapping.temporal), jnp.asarray(mapping.inside)
    extents, kept = _extents(mapping), tiles(mapping, shape)
    layer = extents[2] * temporal[DRAM]
    cycles = jnp.prod(temporal)
    weight_refetches = _refetches(temporal[1:], inside, _WEIGHTS)
    return _Counts(
        macs=cycles * mapping.rows * mapping.columns,
        compute_cycles=cycles,
        register_fills=kept.register_weights * weight_refetches * mapping.rows * mapping.columns,
        scratchpad_inputs=cycles * mapping.rows,
        weight_fetches=kept.scratchpad_weights * _refetches(temporal[DRAM:], inside[2:], _WEIGHTS),
        input_fetches=_input_words(temporal[DRAM], inside[2], extents[2], shape),
        output_updates=cycles * mapping.columns,
        output_fills=kept.accumulator_outputs * mapping.columns * _refetches(temporal[2:], inside[1:], _OUTPUTS),
        outputs=_product(layer, _OUTPUTS),
    )


# Costs: one text for `wide.Wide` and float32, given what differs.


class _Arithmetic(NamedTuple):
    """Of counts: what the two forms do differently. Sums and differences are those of their words."""

    scale: Callable[[Any, Any], Any]
    ceil_div: Callable[[Any, Any], Any]
    maximum: Callable[[Any, Any], Any]


def _through_ceil(count: Array, divisor: Array) -> jax.Array:
    """ceil(count / divisor), with the gradient of count / divisor."""
    quotient = count / divisor
    return jnp.asarray(quotient) + jax.lax.stop_gradient(jnp.ceil(quotient) - quotient)


_RELAXED = _Arithmetic(jnp.multiply, _through_ceil, jnp.maximum)
_EXACT = _Arithmetic(wide.scale, wide.ceil_div, wide.maximum)


def _minus(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.subtract, a, b)


def _sum(counts: Any, axis: slice = slice(None)) -> Any:
    return jax.tree.map(lambda words: jnp.sum(words[axis], dtype=words.dtype), counts)


def _stack(counts: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *words: jnp.stack(words), *counts)


def _costs(counts: _Counts, mapping: Mapping, hardware: Hardware, arithmetic: _Arithmetic) -> Costs:
    constant = constants()
    scratchpad = _stack((counts.register_fills, counts.scratchpad_inputs, counts.weight_fetches, counts.input_fetches))
    returned = _minus(counts.output_fills, counts.outputs)
    dram = _stack((counts.weight_fetches, counts.input_fetches, counts.output_fills, returned))
    accumulated = _minus(counts.output_updates, counts.outputs)
    accumulator_accesses = _sum(_stack((counts.output_updates, accumulated, counts.output_fills)))
    scratchpad_accesses, dram_accesses = _sum(scratchpad), _sum(dram)
    # One division for all, which in exact integers is most of the arithmetic: cycles, scratchpad blocks, DRAM blocks.
    widths = (
        int(constant["accumulator_words_per_cycle_and_column"]) * mapping.columns,
        int(constant["scratchpad_words_per_cycle_and_row"]) * hardware.edge,
        hardware.dram_words_per_cycle,
        *[hardware.edge] * 4,
        *[int(constant["dram_block_words"])] * 4,
    )
    divisors = jnp.stack([jnp.asarray(width) for width in widths])
    dividends = jax.tree.map(
        lambda *words: jnp.concatenate(words),
        _stack((accumulator_accesses, scratchpad_accesses, dram_accesses)),
        scratchpad,
        dram,
    )
    quotients = arithmetic.ceil_div(dividends, divisors)
    blocks = arithmetic.scale(quotients, divisors)
    cycles = counts.compute_cycles
    for level in range(3):
        cycles = arithmetic.maximum(cycles, jax.tree.map(lambda words, level=level: words[level], quotients))
    return Costs(
        cycles=cycles,
        compute_cycles=counts.compute_cycles,
        macs=counts.macs,
        register_fills=counts.register_fills,
        accumulator_accesses=accumulator_accesses,
        scratchpad_accesses=scratchpad_accesses,
        dram_accesses=dram_accesses,
        scratchpad_blocks=_sum(blocks, slice(3, 7)),
        dram_blocks=_sum(blocks, slice(7, 11)),
    )


class AccessEnergies(NamedTuple):
    """Picojoules per word of one machine's memories. Scalars, float32."""

    accumulator_pj: Array
    scratchpad_pj: Array


def access_energies(hardware: Hardware) -> AccessEnergies:
    """Energy per access, which grows with the capacity: of a column's bank of accumulators, and of the scratchpad."""
    constant = constants()
    bank_kib = hardware.accumulator_kib / hardware.edge
    accumulator = _rounded(np.float32(constant["accumulator_pj_per_kib"]) * bank_kib)
    scratchpad = _rounded(np.float32(constant["scratchpad_pj_per_kib"]) * hardware.scratchpad_kib)
    return AccessEnergies(
        np.float32(constant["accumulator_base_pj"]) + accumulator,
        np.float32(constant["scratchpad_base_pj"]) + scratchpad,
    )


def energies(costs: Costs, hardware: Hardware) -> Energies:
    """Joules of a layer's or a network's accesses, from either form's counts."""
    constant, each = constants(), access_energies(hardware)
    counts = Costs(*(wide.to_float32(count) if isinstance(count, wide.Wide) else count for count in costs))
    array = _rounded(counts.macs * np.float32(constant["mac_pj"] + constant["register_pj"]))
    array += _rounded(counts.register_fills * np.float32(constant["register_pj"]))
    return Energies(
        array_j=_rounded(array * _PICO),
        accumulator_j=_rounded(_rounded(counts.accumulator_accesses * each.accumulator_pj) * _PICO),
        scratchpad_j=_rounded(_rounded(counts.scratchpad_blocks * each.scratchpad_pj) * _PICO),
        dram_j=_rounded(counts.dram_blocks * np.float32(constant["dram_pj"] * 1e-12)),
    )


def _rounded(product: Array) -> jax.Array:
    """A non-negative product, kept out of fused multiply-adds: compilers form them at some batch sizes only."""
    return jnp.maximum(product, 0.0)


def _as(mapping: Mapping, dtype: Any) -> Mapping:
    return Mapping(*(jnp.asarray(each).astype(dtype) for each in mapping))


def evaluate(mapping: Mapping, shape: LayerShape, hardware: Hardware) -> Costs:
    """Exact costs of a layer under a mapping of whole factors, whether it fits the machine or not (`overflow`).

    Args:
        mapping: whole numbers; the factors multiply to the bounds.
        shape: int32; words and multiply-accumulates below `wide.LIMIT`.
        hardware: int32.
    """
    estimates, lows = (_counts(_as(mapping, dtype), shape) for dtype in (jnp.float32, jnp.uint32))
    counts = _Counts(*(wide.Wide(estimate, low) for estimate, low in zip(estimates, lows, strict=True)))
    return _costs(counts, mapping, hardware, _EXACT)


def evaluate_relaxed(mapping: Mapping, shape: LayerShape, hardware: Hardware) -> Costs:
    """Costs of real-valued factors, differentiable; where factors are whole, those of `evaluate` to float32's rounding.

    Args:
        mapping: float32; factors of 1 and above. `inside` may lie between 0 and 1, as a mean of orders.
        shape: int32.
        hardware: float32.
    """
    mapping = _as(mapping, jnp.float32)
    return _costs(_counts(mapping, shape), mapping, hardware, _RELAXED)


# Capacity and area.


def overflow(mapping: Mapping, shape: LayerShape, hardware: Hardware) -> jax.Array:
    """float32[5], what a mapping needs over what there is: rows, columns, registers, accumulator, scratchpad.

    It fits where none is above 1. Words are compared as float32, exact up to 2**24 words; capacities stay below.
    """
    kept = tiles(_as(mapping, jnp.float32), shape)
    edge = jnp.asarray(hardware.edge, jnp.float32)
    words_per_kib = 1024 * 8 / constants()["accumulator_bits"], 1024 * 8 / constants()["word_bits"]
    return jnp.stack(
        [
            mapping.rows / edge,
            mapping.columns / edge,
            kept.register_weights,
            kept.accumulator_outputs * edge / (hardware.accumulator_kib * np.float32(words_per_kib[0])),
            (kept.scratchpad_weights + kept.scratchpad_inputs)
            / (hardware.scratchpad_kib * np.float32(words_per_kib[1])),
        ]
    )


def smallest_hardware(mappings: Mapping, shapes: LayerShape, dram_words_per_cycle: Array) -> Hardware:
    """The least machine that holds the mappings [L, ...] of a network, float32: DOSA derives its hardware so."""
    kept = jax.vmap(tiles)(_as(mappings, jnp.float32), shapes)
    edge = jnp.maximum(jnp.max(mappings.rows), jnp.max(mappings.columns)).astype(jnp.float32)
    words = jnp.max(kept.scratchpad_weights + kept.scratchpad_inputs)
    accumulator_bytes = constants()["accumulator_bits"] / 8
    return Hardware(
        edge,
        words * np.float32(constants()["word_bits"] / 8 / 1024),
        edge * jnp.max(kept.accumulator_outputs) * np.float32(accumulator_bytes / 1024),
        dram_words_per_cycle,
    )


def area_mm2(hardware: Hardware) -> jax.Array:
    """Area of the chip, float32: `technology.csv`'s fit to Timeloop's 95 architectures, without DRAM's interface."""
    technology = get_technology("gemmini")
    area = technology.base_mm2 + technology.pe_mm2 * hardware.edge**2 + technology.edge_mm2 * hardware.edge
    area += technology.sram_mm2_per_kib * hardware.scratchpad_kib
    area += technology.accumulator_mm2_per_kib * hardware.accumulator_kib
    return jnp.asarray(area, jnp.float32)
