"""The row-stationary dataflow of the Eyeriss chip: cycles, accesses and energy of a convolution by level, closed form.

A processing element keeps a row of a filter and slides a row of the input past it. A set of elements, one filter high
and a strip of output rows wide, makes these rows; sets stand beside each other for other channels or filters. One
loading of filter rows is a pass (Chen, Krishna, Emer and Sze, JSSC 2017, whose letters n, e, p, q, r, t are `Mapping`):

    passes = ceil(N / n) ceil(Q / e) ceil(K / (p t)) ceil(C / (q r))
    cycles of a pass = filter words / 4 + max(n p P (q R + 1), input words, partial sums / 4)

In a pass each element multiplies n p q P R times and adds, once for each of its n p P partial sums, what its neighbour
sends, which takes its adder for a cycle. Filters come before that, over a bus of four words, inputs (one word a cycle)
and partial sums (four each way) meanwhile. The global buffer serves the inputs of every pass, and every partial sum is
written to it and read from it once a pass.

What is assumed, and nowhere fitted: that filters are not loaded while elements compute, and the cycle of the
neighbour's sum. Padding's zeros are read as inputs. What the chip gains from zeros and run-length coding, energy and
DRAM's words, is left out. Energies are relative, in units of one multiply-accumulate (`eyeriss_chip.csv`).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..errors import InvalidDesignError
from ..tables import package_rows
from .workloads import Layer, Loops

__all__ = ["Costs", "PassMapping", "alexnet_mappings", "best_mapping", "constants", "evaluate"]


class PassMapping(NamedTuple):
    """What one pass holds; the paper's letters in brackets."""

    images: int  # of the batch (n)
    strip: int  # output rows of a set (e)
    filters: int  # in one element (p)
    channels: int  # in one element (q)
    channel_sets: int  # sets of other channels (r)
    filter_sets: int  # sets of other filters (t)


class Costs(NamedTuple):
    """What a layer costs, all its groups and repeats together."""

    macs: int
    cycles: int
    latency_s: float
    active_elements: int
    buffer_words: int  # read and written
    dram_words: int  # filters in every pass, inputs and outputs once, not compressed
    register_energy: float  # in multiply-accumulates, as the following
    mac_energy: float
    network_energy: float
    buffer_energy: float
    dram_energy: float


@functools.cache
def constants() -> Mapping[str, float]:
    """{quantity: value} of `eyeriss_chip.csv`."""
    return {row["quantity"]: float(row["value"]) for row in package_rows("accelerator/eyeriss_chip.csv")}


@functools.cache
def alexnet_mappings() -> Mapping[str, PassMapping]:
    """{layer: mapping} that the chip ran AlexNet with, four images at once."""
    rows = package_rows("accelerator/eyeriss_alexnet.csv")
    return {row["layer"]: PassMapping(*(int(row[name]) for name in PassMapping._fields)) for row in rows}


def _misfit(nest: Loops, batch: int, mapping: PassMapping) -> str:
    """What the chip cannot hold of a mapping, in words; empty where it can."""
    chip = constants()
    taps, height = nest.bounds[:2]
    rows = int(chip["array_rows"])
    n, e, p, q, r, t = mapping
    if min(mapping) < 1:
        return "every number is at least 1"
    if nest.dilations != (1, 1):
        return "filters with gaps (dilation) have no rows that stay"
    if height > rows:
        return f"a filter of {height} rows is higher than the array of {rows}"
    if r * t > _slots(height, e):
        return f"{r * t} sets of {height} x {e} elements, of which the array holds {_slots(height, e)}"
    for what, words, most in (
        ("inputs of an element", q * taps, "ifmap_spad_words"),
        ("filter rows of an element", p * q * taps, "filter_spad_words"),
        ("partial sums of an element", p, "psum_spad_words"),
        ("partial sums and inputs of a pass", _sums(nest, mapping) + _inputs(nest, mapping), "buffer_words"),
    ):
        if words > chip[most]:
            return f"{words} words of {what}, of which there is room for {chip[most]:.0f}"
    if n > batch * nest.bounds[6]:
        return f"{n} images, of which there are {batch * nest.bounds[6]}"
    return ""


def _slots(height: int, strip: int) -> int:
    """Sets of elements that the array holds; one that is too wide for it is folded."""
    rows, columns = int(constants()["array_rows"]), int(constants()["array_columns"])
    return rows // height * (columns // strip) if strip <= columns else rows // height // math.ceil(strip / columns)


def _inputs(nest: Loops, mapping: PassMapping) -> int:
    """Input words of a pass."""
    taps, height, width, _, _, _, _ = nest.bounds
    lines = (mapping.strip - 1) * nest.strides[1] + height
    across = (width - 1) * nest.strides[0] + taps
    return mapping.images * mapping.channels * mapping.channel_sets * lines * across


def _sums(nest: Loops, mapping: PassMapping) -> int:
    """Partial sums of a pass."""
    return mapping.images * mapping.filters * mapping.filter_sets * mapping.strip * nest.bounds[2]


def evaluate(layer: Layer, mapping: PassMapping, batch: int = 1) -> Costs:
    """Costs of a layer for a batch of images.

    Args:
        layer: a convolution, or a product as one of 1 x 1 filters.
        mapping: that the chip holds.
        batch: images at once.

    Raises:
        InvalidDesignError: the chip does not hold it; names the layer and what is too large.
    """
    nest, chip = layer.loops, constants()
    if batch < 1:
        raise InvalidDesignError(f"batch = {batch} is not allowed; allowed: a whole number of at least 1.")
    if wrong := _misfit(nest, batch, mapping):
        raise InvalidDesignError(f"{layer.name}: row stationary with {mapping}: {wrong}.")
    taps, height, width, lines, channels, filters, images = nest.bounds
    images *= batch
    n, e, p, q, r, t = mapping
    strips, channel_passes, filter_passes = (
        math.ceil(lines / e),
        math.ceil(channels / (q * r)),
        math.ceil(filters / (p * t)),
    )
    passes = math.ceil(images / n) * strips * channel_passes * filter_passes * layer.count
    weights, inputs, sums = p * t * q * r * taps * height, _inputs(nest, mapping), _sums(nest, mapping)
    loading = math.ceil(weights / chip["filter_bus_words_per_cycle"])
    computing = max(
        n * p * width * (q * taps + 1),
        math.ceil(inputs / chip["ifmap_bus_words_per_cycle"]),
        math.ceil(sums / chip["psum_bus_words_per_cycle"]),
    )
    macs = layer.count * images * filters * channels * taps * height * width * lines
    outputs = layer.count * images * filters * width * lines
    in_buffer = passes * inputs + 2 * outputs * channel_passes
    image = ((width - 1) * nest.strides[0] + taps) * ((lines - 1) * nest.strides[1] + height)
    in_dram = passes * weights + layer.count * images * channels * image + outputs
    # Each word that reaches an element is a transfer: inputs, filters, and sums from element to element and out.
    delivered = n * q * r * t * height * e * ((width - 1) * nest.strides[0] + taps) + weights * e + sums * height * r
    cycles = passes * (loading + computing)
    return Costs(
        macs=macs,
        cycles=cycles,
        latency_s=cycles / chip["clock_hz"],
        active_elements=height * e * r * t,
        buffer_words=in_buffer,
        dram_words=in_dram,
        register_energy=4 * macs * chip["register"],  # input, filter row, partial sum in and out
        mac_energy=macs * chip["mac"],
        network_energy=passes * delivered * chip["network"],
        buffer_energy=in_buffer * chip["buffer"],
        dram_energy=in_dram * chip["dram"],
    )


def best_mapping(layer: Layer, batch: int = 1) -> PassMapping:
    """The mapping with the least cycles, of those the one with the least energy; by trying all that waste no pass.

    Raises:
        InvalidDesignError: the chip holds none.
    """
    best: tuple[tuple[float, ...], PassMapping] | None = None
    for mapping in _candidates(layer.loops, batch):
        if not _misfit(layer.loops, batch, mapping):
            costs = evaluate(layer, mapping, batch)
            key = (costs.cycles, sum(costs[-5:]), *mapping)
            if best is None or key < best[0]:
                best = key, mapping
    if best is None:
        reason = _misfit(layer.loops, batch, PassMapping(1, 1, 1, 1, 1, 1))
        raise InvalidDesignError(f"{layer.name}: row stationary: {reason or 'no mapping fits'}.")
    return best[1]


def _shares(total: int, most: int) -> list[int]:
    """The sizes of equal shares, as small as their number allows, none above `most`."""
    return sorted({math.ceil(total / parts) for parts in range(math.ceil(total / most), total + 1)})


def _candidates(nest: Loops, batch: int) -> Iterator[PassMapping]:
    taps, height, _, lines, channels, filters, images = nest.bounds
    chip = constants()
    elements = int(chip["array_rows"] * chip["array_columns"])
    if height > chip["array_rows"] or taps > chip["ifmap_spad_words"]:
        return
    strips = _shares(lines, elements // height)
    in_element = _shares(channels, int(chip["ifmap_spad_words"]) // taps)
    for e, q in itertools.product(strips, in_element):
        slots = _slots(height, e)
        for p in _shares(filters, int(min(chip["psum_spad_words"], chip["filter_spad_words"] // (q * taps)))):
            for r in range(1, min(slots, math.ceil(channels / q)) + 1):
                t = min(slots // r, math.ceil(filters / p))
                for n in _shares(images * batch, images * batch):
                    yield PassMapping(n, e, p, q, r, t)
