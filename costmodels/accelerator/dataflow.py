"""A dataflow on clusters of elements, with the knobs of ArchGym's MaestroGym: cycles, energy, area, in closed form.

Two levels, as in MAESTRO (Kwon et al., MICRO 2019): `elements // cluster` clusters share a buffer (L2) through a
network that multicasts and adds; each of a cluster's elements has a store of its own (L1). At the outer level each
cluster has a tile, at the inner one each of its elements a part of it; at each level tiles along one dimension are
spread, the rest pass in time, in an order of loops. A tile that is larger than what it is cut from is all of it; a
filter is whole, but where it is spread: then each gets one row (R) or column (S).

1. Compute cycles are the product over dimensions of the time that each takes, edges included: they are exact.
2. A tensor is fetched once for each iteration of the loops from the outermost to the innermost one that concerns it and
   that iterates at all; loops inside are free. Inputs that slide under that innermost loop keep what they share.
3. A word for many elements crosses the network once; partial sums of many elements are added on their way.
   Partial sums that leave before they are whole come back.
4. A layer takes the longer of its compute cycles and its words over the network's words a cycle.
5. Energy: each multiply-accumulate, four L1 accesses for it, each word that crosses the network an L2 access, each
   fetched word an L1 access in each element that gets it. DRAM, as in MAESTRO, is not charged.
6. L1 and L2 are as large as twice the largest tiles that any layer needs. Area follows from the need.

MAESTRO takes the longest of compute and network step by step, where 4 takes whole layers, and has the pipelines' fill.
Counts are float32: eight digits at best. L layers; dimensions in the order of DIMENSIONS.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from ..errors import InvalidWorkloadError, UnknownNameError
from ..tables import package_rows
from .workloads import Loops, Workload

__all__ = [
    "CLOCK_HZ",
    "DATAFLOWS",
    "DIMENSIONS",
    "MOST_ELEMENTS",
    "ORDERS",
    "Counts",
    "Dataflow",
    "Layers",
    "Metrics",
    "constants",
    "count",
    "dataflow_of",
    "energies_pj",
    "evaluate",
    "floor",
    "layers_of",
]

CLOCK_HZ = 1e9  # assumed
DIMENSIONS = "KCRSYX"  # filters, channels, a filter's rows and columns, output rows and columns
K, C, R, S, Y, X = range(6)
ORDERS = tuple("".join(order) for order in itertools.permutations(DIMENSIONS))  # outermost first
_PLACES = np.array([[order.index(d) for d in DIMENSIONS] for order in ORDERS], np.int32)  # [720, 6]
MOST_ELEMENTS = 1024
_TILED = (K, C, Y, X)
_FILTER = np.array([d in (R, S) for d in range(6)])
# Whether a dimension tells words of a tensor apart.
_WEIGHTS = np.array([True, True, True, True, False, False])
_INPUTS = np.array([False, True, True, True, True, True])
_OUTPUTS = np.array([True, False, False, False, True, True])
_ALL = np.full(6, True)


class Layers(NamedTuple):
    """The products of a network. int32."""

    bounds: Array  # [L, 6]
    strides: Array  # [L, 2]: of Y and X
    occurrences: Array  # [L]


class Dataflow(NamedTuple):
    """A design. int32."""

    elements: Array
    cluster: Array  # elements of a cluster
    parallel: Array  # [2]: the dimension spread at the outer and the inner level
    orders: Array  # [2]: indices into ORDERS
    tiles: Array  # [2, 4]: of K, C, Y, X


class Counts(NamedTuple):
    """What each layer takes, once, [L]. float32."""

    compute_cycles: Any
    weight_reads: Any  # words from L2
    input_reads: Any
    sum_reads: Any  # partial sums that come back
    output_writes: Any  # words to L2, partial sums and outputs
    fills: Any  # words written into L1s
    macs: Any
    l1_words: Any  # needed in an element
    l2_words: Any  # needed in the buffer


class Metrics(NamedTuple):
    """What a design costs. Scalars, float32."""

    latency_s: Any
    energy_j: Any
    area_mm2: Any
    compute_cycles: Any
    cycles: Any
    l2_words: Any  # words over the network
    l1_bytes: Any  # of an element
    l2_bytes: Any


@functools.cache
def constants() -> Mapping[str, float]:
    """{quantity: value} of `dataflow.csv`."""
    return {row["quantity"]: float(row["value"]) for row in package_rows("accelerator/dataflow.csv")}


def _named(row: Mapping[str, str]) -> Mapping[str, int | str]:
    knobs = {name: text for name, text in row.items() if name not in ("dataflow", "maestro")}
    return {name: int(text) if text.isdecimal() else text for name, text in knobs.items()}


# {name: its knobs but the elements}.
DATAFLOWS: Mapping[str, Mapping[str, int | str]] = {
    row["dataflow"]: _named(row) for row in package_rows("accelerator/dataflows.csv")
}


def dataflow_of(values: Mapping[str, Any]) -> Dataflow:
    """A design for `count` of {knob: value}, dimensions and orders by their names."""
    return Dataflow(
        np.asarray(values["elements"], np.int32),
        np.asarray(values["cluster"], np.int32),
        np.array([DIMENSIONS.index(values[f"{level}_parallel"]) for level in ("outer", "inner")], np.int32),
        np.array([ORDERS.index(values[f"{level}_order"]) for level in ("outer", "inner")], np.int32),
        np.array([[values[f"{level}_{DIMENSIONS[d]}"] for d in _TILED] for level in ("outer", "inner")], np.int32),
    )


def layers_of(workload: Workload, name: str = "all") -> Layers:
    """The products of a network, or of one of its layers.

    Raises:
        InvalidWorkloadError: one has dilated filters.
        UnknownNameError: it has no such layer.
    """
    mine = [layer for layer in workload.layers if name in ("all", layer.name)]
    if not mine:
        raise UnknownNameError(f"layer of {workload.name}", name, ["all", *(each.name for each in workload.layers)])
    counts: dict[Loops, int] = {}
    for layer in mine:
        if layer.loops.dilations != (1, 1):
            raise InvalidWorkloadError(f"'{workload.name}', layer '{layer.name}': no dataflow has dilated filters.")
        counts[layer.loops] = counts.get(layer.loops, 0) + layer.count * layer.loops.bounds[6]
    # Loops are R and P along the width, S and Q along the height; here R and Y are rows.
    bounds = [(k, c, s, r, q, p) for r, s, p, q, c, k, _ in (nest.bounds for nest in counts)]
    return Layers(
        np.array(bounds, np.int32),
        np.array([nest.strides[::-1] for nest in counts], np.int32),
        np.array(list(counts.values()), np.int32),
    )


def _term(product: Any) -> jax.Array:
    """A non-negative product, kept out of fused multiply-adds: compilers form them at some batch sizes only."""
    return jnp.maximum(product, 0.0)


def _f(values: Any) -> jax.Array:
    return jnp.asarray(values).astype(jnp.float32)


def _ceil_div(a: Any, b: Any) -> jax.Array:
    return -(-a // b)


def _product(values: Array, chosen: np.ndarray) -> jax.Array:
    """The product of the chosen dimensions, float32[L], of [L, 6]: one by one, so that all batches round alike."""
    return functools.reduce(operator.mul, (_f(values[..., d]) for d in range(6) if chosen[d]))


def count(dataflow: Dataflow, layers: Layers) -> Counts:
    """Cycles and words of each layer; clusters larger than the array are taken as one cluster of all elements."""
    bounds, strides = jnp.asarray(layers.bounds), jnp.asarray(layers.strides)
    cluster = jnp.minimum(dataflow.cluster, dataflow.elements)
    clusters = dataflow.elements // cluster
    spread = jnp.arange(6) == jnp.asarray(dataflow.parallel)[:, None]  # [2, 6]
    places = jnp.asarray(_PLACES)[dataflow.orders]  # [2, 6]
    given = jnp.asarray(dataflow.tiles)
    most = jnp.full((2,), np.int32(2**30))
    sizes = jnp.stack([given[:, 0], given[:, 1], most, most, given[:, 2], given[:, 3]], axis=-1)  # [2, 6]
    sizes = jnp.where(spread & _FILTER, 1, sizes)
    outer = jnp.minimum(sizes[0], bounds)  # [L, 6]
    inner = jnp.minimum(sizes[1], outer)
    wide, deep = jnp.where(spread[0], clusters, 1), jnp.where(spread[1], cluster, 1)  # [6]

    def rounds(extent: Any) -> jax.Array:
        """Of the inner loop over a part of an outer tile."""
        return _ceil_div(extent, inner * deep)

    def time(extent: Any) -> jax.Array:
        """Steps of an element along a dimension of a part of an outer tile."""
        whole = extent // (inner * deep)
        passed = whole * inner + jnp.minimum(inner, extent - whole * inner * deep)
        return jnp.where(spread[1], passed, extent)

    whole = bounds // (outer * wide)
    rest = bounds - whole * outer * wide
    edge = jnp.minimum(outer, rest)  # of the slowest cluster in the last round
    cycles = whole * time(outer) + time(edge)
    outer_rounds, inner_rounds = _ceil_div(bounds, outer * wide), rounds(outer)
    all_rounds = whole * inner_rounds + rounds(edge)
    tiles = _ceil_div(bounds, outer)

    outside, inside = places[0], places[1] + 6  # place of each dimension's loops among the twelve
    loop = jnp.where(inner_rounds > 1, inside, jnp.where(outer_rounds > 1, outside, -1))  # innermost that iterates

    def innermost(concerns: np.ndarray) -> jax.Array:
        return jnp.max(jnp.where(concerns, loop, -1), axis=-1, keepdims=True)

    def repeats(concerns: np.ndarray, last: Any) -> jax.Array:
        """Iterations of the loops that do not concern a tensor, outside the last that does."""
        times = jnp.where(inside < last, all_rounds, jnp.where(outside < last, outer_rounds, 1))
        return _product(times, ~concerns)

    weights, outputs = _product(bounds, _WEIGHTS), _product(bounds, _OUTPUTS)
    weight_reads = _term(weights * repeats(_WEIGHTS, innermost(_WEIGHTS)))
    visits = repeats(_OUTPUTS, innermost(_OUTPUTS))

    # Inputs: channels times rows times columns. An axis is read in pieces of consecutive words.
    last = innermost(_INPUTS)
    slides = (loop == last) & (last >= 0)
    scattered = spread[0] & (inner_rounds > 1)  # what clusters hold at once is not consecutive
    each_alone = whole * inner_rounds * wide + (rest // outer) * inner_rounds + rounds(rest % outer)
    pieces = jnp.where(scattered, each_alone, all_rounds)
    under = jnp.where(last >= 6, jnp.where(scattered, tiles, outer_rounds), 1)  # pieces, if the last loop slides
    taps, lines = bounds[:, R : S + 1], bounds[:, Y:]  # [L, 2], as all below
    strides = jnp.minimum(strides, taps)
    spread_taps = jnp.where(spread[0], wide, jnp.where(spread[1], deep, most[0]))[R : S + 1]
    at_once = jnp.where(slides[:, R : S + 1], taps, jnp.minimum(spread_taps, taps))

    def words(some_taps: Any) -> jax.Array:
        """Along an axis, for some of the filter's taps: what slides with holes between shares nothing."""
        parts = jnp.where(slides[:, Y:] & (some_taps >= strides), under[:, Y:], pieces[:, Y:])
        return strides * (lines - parts) + parts * some_taps

    left = taps % at_once
    axes = _f(taps // at_once * words(at_once) + jnp.where(left > 0, words(left), 0))
    channels = _f(bounds[:, C])
    input_reads = _term(channels * axes[:, 0] * axes[:, 1] * repeats(_INPUTS, last))

    fan = jnp.minimum(wide, tiles) * jnp.minimum(deep, _ceil_div(outer, inner))  # [L, 6]
    fills = _term(weight_reads * _product(fan, ~_WEIGHTS)) + _term(input_reads * _product(fan, ~_INPUTS))

    def held(tile: Any) -> jax.Array:
        """Words of the three tensors' tiles, [L]."""
        reach = _term(_f(strides) * (_f(tile[:, Y:]) - 1.0)) + _f(tile[:, R : S + 1])
        inputs = _term(_f(tile[:, C]) * reach[:, 0] * reach[:, 1])
        return _term(_product(tile, _WEIGHTS)) + inputs + _term(_product(tile, _OUTPUTS))

    return Counts(
        compute_cycles=_product(cycles, _ALL),
        weight_reads=weight_reads,
        input_reads=input_reads,
        sum_reads=_term(outputs * (visits - 1.0)),
        output_writes=_term(outputs * visits),
        fills=fills,
        macs=_product(bounds, _ALL),
        l1_words=held(inner),
        l2_words=held(jnp.minimum(outer * wide, bounds)),
    )


def energies_pj(counts: Counts) -> tuple[Any, Any, Any]:
    """Picojoules in multiply-accumulates, L1 and L2."""
    c = {name: np.float32(value) for name, value in constants().items()}
    l1, l2 = c["mac_pj"] * c["l1_macs"], c["mac_pj"] * c["l2_macs"]
    accesses = _term(4.0 * counts.macs) + counts.fills
    return _term(counts.macs * c["mac_pj"]), _term(accesses * l1), _term(_crossing(counts) * l2)


def _crossing(counts: Counts) -> Any:
    """Words over the network."""
    return counts.weight_reads + counts.input_reads + counts.sum_reads + counts.output_writes


def _area_mm2(elements: Any, l1_bytes: Any, l2_bytes: Any) -> Any:
    c = {name: np.float32(value) for name, value in constants().items()}
    element = c["element_um2"] + _term(jnp.ceil(l1_bytes / c["l1_block_bytes"]) * c["l1_block_um2"])
    buffer = _term(jnp.ceil(l2_bytes / c["l2_block_bytes"]) * c["l2_block_um2"])
    return (_term(_f(elements) * element) + buffer) * np.float32(1e-6)


def evaluate(dataflow: Dataflow, layers: Layers, words_per_cycle: Any) -> Metrics:
    """Costs of a design on a network.

    Args:
        dataflow: the design.
        layers: of the network.
        words_per_cycle: of the network between L2 and the elements.
    """
    counts = count(dataflow, layers)
    times, crossing = _f(layers.occurrences), _crossing(counts)
    cycles = jnp.maximum(counts.compute_cycles, jnp.ceil(crossing / _f(words_per_cycle)))
    energy = sum(jnp.sum(_term(each * times)) for each in energies_pj(counts))
    total = jnp.sum(_term(cycles * times))
    l1_bytes, l2_bytes = 2.0 * jnp.max(counts.l1_words), 2.0 * jnp.max(counts.l2_words)
    return Metrics(
        latency_s=total * np.float32(1.0 / CLOCK_HZ),
        energy_j=energy * np.float32(1e-12),
        area_mm2=_area_mm2(dataflow.elements, l1_bytes, l2_bytes),
        compute_cycles=jnp.sum(_term(counts.compute_cycles * times)),
        cycles=total,
        l2_words=jnp.sum(_term(crossing * times)),
        l1_bytes=l1_bytes,
        l2_bytes=l2_bytes,
    )


def floor(layers: Layers, words_per_cycle: int, area_budget_mm2: float) -> Metrics:
    """What no design within the area goes below, cost by cost.

    As many elements as the area holds with the least L1 each compute all the time; each distinct word of
    filters, inputs and outputs crosses the network once, and goes to one element; area is one element's and the least
    memories'.
    """
    c = constants()
    bounds, times = np.asarray(layers.bounds, np.float64), np.asarray(layers.occurrences, np.float64)
    filters = bounds[:, R : S + 1]
    strides = np.minimum(np.asarray(layers.strides), filters)
    reach = (bounds[:, Y:] - 1) * strides + filters
    reads = np.prod(bounds[:, :Y], axis=1) + bounds[:, C] * np.prod(reach, axis=1)
    words, macs = reads + bounds[:, K] * np.prod(bounds[:, Y:], axis=1), np.prod(bounds, axis=1)
    least = (c["element_um2"] + c["l1_block_um2"]) * 1e-6
    elements = min(MOST_ELEMENTS, max(area_budget_mm2 // least, 1))
    compute = times @ (macs / elements)
    cycles = times @ np.maximum(macs / elements, words / words_per_cycle)
    pj = c["mac_pj"] * (times @ (macs * (1 + 4 * c["l1_macs"]) + words * c["l2_macs"] + reads * c["l1_macs"]))
    area = least + c["l2_block_um2"] * 1e-6
    return Metrics(cycles / CLOCK_HZ, pj * 1e-12, area, compute, cycles, times @ words, 0.0, 0.0)
