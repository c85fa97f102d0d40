"""An Eyeriss-like template with the knobs of ArchGym's TimeloopGym: cycles, energy, area of a network's convolutions.

ArchGym (srivatsankrishnan/oss-arch-gym) runs Timeloop's mapper inside each sample. Here each layer is mapped by the
row-stationary rules of `row_stationary.py`, one image at once, with a filter's rows cut where the array is not high
enough for them, and the best of a fixed list of mappings is taken: least cycles, then least energy, as ArchGym's mapper
is told. A design that has no room for any mapping of a layer is not feasible.

    passes = ceil(Q / e) ceil(K / (p t)) ceil(C / (q r)) ceil(S / h)

with h filter rows, e output rows, p filters and q channels in an element, r and t sets for other channels and filters.
A pass loads filters, then computes while inputs and partial sums stream; buffers bound both by their words a cycle, and
DRAM the whole layer. All of it is modelled: relative energies of Eyeriss, Aladdin's registers and counters; what wide
ports, blocks and banks cost is synthetic (`template.csv`). Counts are float32: eight digits at best.

L layers, M candidates of each.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from ..errors import InvalidWorkloadError
from ..tables import package_rows
from .workloads import Loops, Workload

__all__ = [
    "BASELINE",
    "CLASSES",
    "CLOCK_HZ",
    "VALUES",
    "Choice",
    "Layers",
    "Metrics",
    "choose",
    "constants",
    "evaluate",
    "floor",
    "indexed",
    "layers_of",
]

CLOCK_HZ = 1e9  # assumed
CLASSES = ("regfile", "smartbuffer_SRAM", "smartbuffer_RF", "SRAM")
_DEPTHS = tuple(2**power for power in range(1, 17))
_BANDWIDTHS = (2, 4, 8, 16)
_SPADS = ("ifmap", "weights", "psum")
# {knob: values}, as ArchGym's parameters have them.
VALUES: Mapping[str, tuple[int, ...] | tuple[str, ...]] = {
    "elements": tuple(range(14, 337, 14)),
    "mesh_x": (2, 7, 14),
    **{
        f"{spad}_{knob}": values
        for spad in _SPADS
        for knob, values in {
            "class": CLASSES,
            "depth": _DEPTHS,
            "block": (1, 2, 4),
            "read": _BANDWIDTHS,
            "write": _BANDWIDTHS,
        }.items()
    },
    "dummy_class": CLASSES,
    "dummy_depth": _DEPTHS,
    "dummy_block": (1, 2, 4),
    "buffer_class": CLASSES,
    "buffer_depth": tuple(2**power for power in range(10, 17)),
    "buffer_banks": (16, 32, 64, 128),
    "buffer_block": (1, 2, 4),
    "buffer_read": _BANDWIDTHS,
    "buffer_write": _BANDWIDTHS,
}
# ArchGym's unmodified design, whose spads are no powers of two.
BASELINE: Mapping[str, int | str] = {
    "elements": 168,
    "mesh_x": 14,
    **{
        f"{spad}_{knob}": value
        for spad, depth in zip(_SPADS, (12, 192, 16), strict=True)
        for knob, value in {"class": "smartbuffer_RF", "depth": depth, "block": 1, "read": 2, "write": 2}.items()
    },
    "dummy_class": "regfile",
    "dummy_depth": 16,
    "dummy_block": 1,
    "buffer_class": "smartbuffer_SRAM",
    "buffer_depth": 16384,
    "buffer_banks": 32,
    "buffer_block": 4,
    "buffer_read": 16,
    "buffer_write": 16,
}
_ROW_WORDS = 4  # words of a row of the shared buffer, 64 bits


class Layers(NamedTuple):
    """The convolutions of a network, and the mappings that are tried. int32."""

    shapes: Array  # [L, 8]: filter width and height, output width and height, channels, filters, strides
    occurrences: Array  # [L]
    candidates: Array  # [L, M, 5]: h, e, p, q, and whether sets are for other channels before other filters


class Metrics(NamedTuple):
    """What a design costs. Scalars, float32."""

    latency_s: Any
    energy_j: Any
    area_mm2: Any
    cycles: Any
    dram_words: Any
    unmapped: Any  # share of the layers that no mapping fits


class Choice(NamedTuple):
    """What is taken for each layer, [L]: its costs, all occurrences together, and the candidate's place."""

    cycles: Any
    energy_pj: Any
    dram_words: Any
    fits: Any
    place: Any


@functools.cache
def constants() -> Mapping[str, float]:
    """{quantity: value} of `template.csv`."""
    return {row["quantity"]: float(row["value"]) for row in package_rows("accelerator/template.csv")}


def _shares(total: int, most: int, count: int) -> list[int]:
    """At most `count` sizes of equal shares, the largest `most`, about a factor of 2 apart."""
    first = math.ceil(total / min(most, total))
    sizes = (math.ceil(total / min(first * 2**power, total)) for power in range(count))
    return list(dict.fromkeys(sizes))


def _candidates(nest: Loops) -> list[tuple[int, int, int, int, int]]:
    _, height, _, lines, channels, filters, _ = nest.bounds
    found = itertools.product(
        _shares(height, 168, 3),
        dict.fromkeys((*_shares(lines, 14, 1), *_shares(lines, 7, 2), *_shares(lines, 28, 1))),
        _shares(filters, 32, 5),
        _shares(channels, 16, 5),
        (0, 1),
    )
    return list(found)


def layers_of(workload: Workload) -> Layers:
    """The convolutions of a network.

    Raises:
        InvalidWorkloadError: it has none, or one with dilation.
    """
    mine = [layer for layer in workload.layers if layer.kind == "conv"]
    if not mine:
        raise InvalidWorkloadError(f"'{workload.name}' has no convolution, and the template runs nothing else.")
    for layer in mine:
        if layer.loops.dilations != (1, 1):
            raise InvalidWorkloadError(f"'{workload.name}', layer '{layer.name}': the template has no dilated filters.")
    counts: dict[Loops, int] = {}
    for layer in mine:
        counts[layer.loops] = counts.get(layer.loops, 0) + layer.count * layer.loops.bounds[6]
    tried = [_candidates(nest) for nest in counts]
    most = max(map(len, tried))
    return Layers(
        shapes=np.array([(*nest.bounds[:6], *nest.strides) for nest in counts], np.int32),
        occurrences=np.array(list(counts.values()), np.int32),
        candidates=np.array([(each * (most // len(each) + 1))[:most] for each in tried], np.int32),
    )


class _Store(NamedTuple):
    """A memory of a design. Scalars, float32."""

    pj: Any  # a word
    um2: Any
    words: Any


def _store(kind: Any, words: Any, block: Any, read: Any = 2, write: Any = 2, banks: Any = 1) -> _Store:
    """A memory by its class, an index into CLASSES."""
    c = {name: np.float32(value) for name, value in constants().items()}
    words = jnp.asarray(words).astype(jnp.float32)
    kib = words * (c["word_bits"] / np.float32(8 * 1024))
    is_register, is_smart = (kind == 0) | (kind == 2), (kind == 1) | (kind == 2)
    sram_pj = c["sram_base_pj"] + _term(c["sram_pj_per_kib"] * (kib / banks))
    register_pj = c["regfile_pj"] * jnp.sqrt(words / c["regfile_words"])
    sram_um2 = _term(c["sram_um2_per_kib"] * kib) + c["sram_periphery_um2"]
    um2 = jnp.where(is_register, _term(c["regfile_um2_per_word"] * words), sram_um2)
    ports = jnp.log2(jnp.asarray(read * write).astype(jnp.float32) / 4.0)
    factor = 1.0 + _term(c["area_per_doubled_bandwidth"] * ports) + _term(c["area_per_bank"] * (banks - 1))
    factor += _term(c["area_per_doubled_block"] * jnp.log2(jnp.asarray(block).astype(jnp.float32)))
    return _Store(
        jnp.where(is_register, register_pj, sram_pj) + jnp.where(is_smart, c["smartbuffer_pj"], 0.0),
        _term(um2 * factor) + jnp.where(is_smart, c["smartbuffer_um2"], 0.0),
        words,
    )


def _stores(knobs: Mapping[str, Array]) -> dict[str, _Store]:
    """The memories of a design, by name."""
    found = {
        spad: _store(*(knobs[f"{spad}_{knob}"] for knob in ("class", "depth", "block", "read", "write")))
        for spad in _SPADS
    }
    found["dummy"] = _store(knobs["dummy_class"], knobs["dummy_depth"], knobs["dummy_block"])
    found["buffer"] = _store(
        knobs["buffer_class"],
        knobs["buffer_depth"] * _ROW_WORDS,
        *(knobs[f"buffer_{knob}"] for knob in ("block", "read", "write", "banks")),
    )
    return found


def _ceil_div(a: Any, b: Any) -> jax.Array:
    """Of whole numbers in float32, exact below 2**23."""
    return jnp.ceil(a / b)


def _term(product: Any) -> jax.Array:
    """A non-negative product, kept out of fused multiply-adds: compilers form them at some batch sizes only."""
    return jnp.maximum(product, 0.0)


def choose(knobs: Mapping[str, Array], layers: Layers) -> Choice:
    """The mapping of each layer.

    Args:
        knobs: int32 scalars by name; classes as indices into CLASSES.
        layers: of the network.
    """
    c, stores = constants(), _stores(knobs)

    def f(values: Any) -> jax.Array:
        return jnp.asarray(values).astype(jnp.float32)

    taps, height, width, lines, channels, filters, stride_x, stride_y = f(layers.shapes).T[..., None]
    h, e, p, q, channels_first = jnp.moveaxis(f(layers.candidates), -1, 0)
    columns = f(knobs["mesh_x"])
    high = jnp.floor(jnp.floor(f(knobs["elements"]) / columns) / h)
    slots = jnp.where(e <= columns, high * jnp.floor(columns / e), jnp.floor(high / _ceil_div(e, columns)))
    most_r, most_t = _ceil_div(channels, q), _ceil_div(filters, p)
    some = jnp.maximum(slots, 1.0)
    first_r, first_t = jnp.minimum(some, most_r), jnp.minimum(some, most_t)
    r = jnp.where(channels_first == 1, first_r, jnp.minimum(jnp.floor(some / first_t), most_r))
    t = jnp.where(channels_first == 1, jnp.minimum(jnp.floor(some / first_r), most_t), first_t)

    across, down = _term((width - 1) * stride_x) + taps, _term((lines - 1) * stride_y) + height
    channel_passes = _ceil_div(channels, q * r) * _ceil_div(height, h)
    passes = _ceil_div(lines, e) * _ceil_div(filters, p * t) * channel_passes
    weights, sums = p * t * q * r * taps * h, p * t * e * width
    inputs = q * r * (_term((e - 1) * stride_y) + h) * across
    read, write = f(knobs["buffer_read"]), f(knobs["buffer_write"])
    loading = jnp.ceil(jnp.maximum(weights / read, p * q * taps / f(knobs["weights_write"])))
    computing = jnp.maximum(p * width * (_term(q * taps) + 1), jnp.ceil(q * across / f(knobs["ifmap_write"])))
    computing = jnp.maximum(computing, jnp.ceil(jnp.maximum(inputs / read, sums / read + sums / write)))

    macs = taps * height * width * lines * channels * filters
    outputs = _term(width * lines * filters)
    dram = _term(passes * weights) + _term(channels * across * down) + outputs
    cycles = jnp.maximum(passes * (loading + computing), jnp.ceil(dram / np.float32(c["dram_words_per_cycle"])))
    in_buffer = _term(passes * (inputs + weights)) + _term(2.0 * outputs * channel_passes)
    to_ifmap, to_weights = _term(passes * q * r * t * h * e * across), _term(passes * weights * e)
    moved = to_ifmap + to_weights + _term(passes * sums * h * r)
    energy = _term(dram * np.float32(c["dram_pj"])) + _term(in_buffer * stores["buffer"].pj)
    energy += _term(macs * stores["ifmap"].pj) + _term(macs * stores["weights"].pj)
    energy += _term(macs * (2.0 * stores["psum"].pj)) + _term(macs * np.float32(c["mac_pj"]))
    energy += _term(to_ifmap * stores["ifmap"].pj) + _term(to_weights * stores["weights"].pj)
    energy += _term(moved * np.float32(c["network_pj"]))

    fits = (slots >= r * t) & (q * taps <= stores["ifmap"].words) & (p * q * taps <= stores["weights"].words)
    fits &= (p <= stores["psum"].words) & (sums + inputs <= stores["buffer"].words)
    # Of a layer that nothing fits the first candidate is costed, and the design is not feasible.
    usable = jnp.where(fits, cycles, jnp.inf)
    least = jnp.min(usable, axis=1, keepdims=True)
    place = jnp.argmin(jnp.where(usable <= least, energy, jnp.inf), axis=1)
    times = f(layers.occurrences)

    def taken(values: Array) -> Array:
        return jnp.take_along_axis(values, place[:, None], axis=1)[:, 0]

    cycles, energy, dram = (_term(taken(each) * times) for each in (cycles, energy, dram))
    return Choice(cycles, energy, dram, taken(fits), place)


def evaluate(knobs: Mapping[str, Array], layers: Layers) -> Metrics:
    """Costs of a design; of a layer that no mapping fits, those of one that does not fit."""
    choice, stores, c = choose(knobs, layers), _stores(knobs), constants()
    element = c["mac_um2"] + stores["ifmap"].um2 + stores["weights"].um2 + stores["psum"].um2
    elements, columns = (jnp.asarray(knobs[name]).astype(jnp.float32) for name in ("elements", "mesh_x"))
    um2 = _term(elements * element) + _term(columns * stores["dummy"].um2) + stores["buffer"].um2
    cycles = jnp.sum(choice.cycles)
    return Metrics(
        latency_s=cycles * np.float32(1.0 / CLOCK_HZ),
        energy_j=jnp.sum(choice.energy_pj) * np.float32(1e-12),
        area_mm2=um2 * np.float32(1e-6),
        cycles=cycles,
        dram_words=jnp.sum(choice.dram_words),
        unmapped=jnp.mean((~choice.fits).astype(jnp.float32)),
    )


def indexed(values: Mapping[str, object]) -> dict[str, np.ndarray]:
    """Knobs for `evaluate` of {knob: value}, classes by their names."""
    return {
        name: np.asarray(CLASSES.index(str(value)) if name.endswith("_class") else value, np.int32)
        for name, value in values.items()
    }


def floor(layers: Layers) -> Metrics:
    """What no design goes below, cost by cost.

    Each multiply-accumulate takes one element a cycle and three spads' accesses at the least energy of any; each
    distinct word of filters, inputs and outputs crosses DRAM once; area is that of the least of every memory.
    """
    c = constants()
    shapes, times = np.asarray(layers.shapes, np.float64), np.asarray(layers.occurrences, np.float64)
    taps, height, width, lines, channels, filters, stride_x, stride_y = shapes.T
    macs = times * taps * height * width * lines * channels * filters
    across, down = (
        np.where(stride > kernel, out * kernel, (out - 1) * stride + kernel)
        for stride, kernel, out in ((stride_x, taps, width), (stride_y, height, lines))
    )
    words = times * (taps * height * channels * filters + channels * across * down + filters * width * lines)
    spads = [_store(np.int32(kind), np.int32(2), 1) for kind in range(len(CLASSES))]
    buffers = [_store(np.int32(kind), np.int32(1024 * _ROW_WORDS), 1) for kind in range(len(CLASSES))]
    least_pj, least_um2 = (min(float(getattr(each, name)) for each in spads) for name in ("pj", "um2"))
    energy = macs.sum() * (c["mac_pj"] + 4 * least_pj) + words.sum() * c["dram_pj"]
    cycles = np.maximum(macs / max(map(int, VALUES["elements"])), words / c["dram_words_per_cycle"]).sum()
    area = 14 * (c["mac_um2"] + 3 * least_um2) + 2 * least_um2 + min(float(each.um2) for each in buffers)
    return Metrics(cycles / CLOCK_HZ, energy * 1e-12, area * 1e-6, cycles, words.sum(), 0.0)
