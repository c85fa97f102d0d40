"""What a layer's attention costs on a FuseMax-like accelerator, by cascade: how its products and reductions are fused.

An array of `edge` x `edge` processing elements (2D) beside a row of `edge` (1D), one buffer, one DRAM. Attention is a
head's scores QK, their softmax over the keys, and its product with the values. Cascades, by passes over the keys:

| cascade | elements | what it does |
|---|---|---|
| unfused | FLAT's | products and softmax one after another, scores through DRAM |
| flat | FLAT's | three passes, a block of rows of scores kept in the buffer, what does not fit spilled |
| one_pass | FLAT's | one pass: running maximum, sum and output, rescaled for each block of keys (FlashAttention-2) |
| fusemax_pe | FuseMax's | the same; exponentials and maxima on the 2D array, which has the hardware for them |
| fusemax | FuseMax's | the same, 2D and 1D work interleaved |

Time is the larger of the work of the busiest part and the traffic over the bandwidth. Source: FuseMax (arXiv
2406.10491) and its artifact, whose latencies the closed form reproduces at its configurations (`published`). Assumed
beyond them: a length that is no multiple of the edge is padded; of FLAT's scores, what the buffer does not hold is
spilled (the artifact's mapper chooses otherwise; there the 1D array decides the latency); blocks of keys are as long as
the edge. Energies are the artifact's constants times our own counts of accesses; areas the artifact's components.

Scalars, or arrays that broadcast; K cascades. float32 inside JAX; the same text on NumPy's float64 through `Numbers`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...errors import InvalidDesignError, UnknownNameError
from ...tables import package_rows
from .io import streamed_words

__all__ = [
    "CASCADES",
    "GIB",
    "KIB",
    "Attention",
    "Hardware",
    "Mapping",
    "Metrics",
    "Scalar",
    "area_mm2",
    "constants",
    "evaluate",
    "evaluate_cascades",
    "largest_block",
    "published",
    "require_fit",
    "words_needed",
]

Scalar: TypeAlias = "Array | float"  # of a workload or a machine

CASCADES = ("unfused", "flat", "one_pass", "fusemax_pe", "fusemax")
_FUSEMAX = np.array([0, 0, 0, 1, 1])  # 1 for cascades on FuseMax's elements
KIB, GIB = 2**10, 2**30
_SPILLED_ROWS = 1024  # of queries in a block, where the artifact's mapper spills all of FLAT's scores


class Attention(NamedTuple):
    """One layer's attention."""

    batch: Scalar  # sequences
    heads: Scalar
    length: Scalar  # queries, and keys
    head_width: Scalar  # words of a query and of a key: E
    value_width: Scalar  # words of a value and of an output: F


class Hardware(NamedTuple):
    """The machine."""

    edge: Scalar  # processing elements a side of the 2D array, and in the 1D array
    buffer_kib: Scalar  # KiB
    bandwidth_gib_s: Scalar  # GiB/s, of DRAM


class Mapping(NamedTuple):
    """How attention runs on it."""

    cascade: Array | int  # int32, index into CASCADES
    block: Scalar  # queries that stay while keys pass, in multiples of the edge; `unfused` has none


class Metrics(NamedTuple):
    """What it costs."""

    latency_s: Array  # s
    energy_j: Array  # J
    area_mm2: Array  # mm2
    traffic_bytes: Array  # B, to and from DRAM
    utilisation: Array  # share of the 2D array's cycles that do work
    buffer_share: Array  # of the buffer that the mapping needs; above 1 it does not run

    def at(self, place: Array | int) -> Metrics:
        """One of several cascades' costs, leaves float[K], or kernels'."""
        return Metrics(*(leaf[place] for leaf in self))  # type: ignore[index]


@functools.cache
def constants() -> dict[str, float]:
    """{quantity: value} of `constants.csv`."""
    return {row["quantity"]: float(row["value"]) for row in package_rows("accelerator/attention/constants.csv")}


def _rows_in_block(hardware: Hardware, block: Any, padded: Any) -> Any:
    return jnp.minimum(hardware.edge * block, padded)


def words_needed(hardware: Hardware, block: Any, attention: Attention) -> Any:
    """float[K]: words that each cascade keeps in the buffer: a tile of keys and values, and what each query needs.

    FLAT's scores are not among them: what is left of the buffer is theirs, and what does not fit is spilled.
    """
    width = attention.head_width + attention.value_width
    running = width + 2  # a query, its output so far, maximum and sum
    rows = hardware.edge * block
    a_query = jnp.stack([0.0 * width, width, running + 2 * hardware.edge, running, running])
    return width * hardware.edge + rows * a_query


def _two_dimensional_and_total_cycles(edge: Any, share: Any, attention: Attention) -> tuple[Any, Any]:
    """float[K] each, for one tile of edge x edge scores: useful cycles of the 2D array; those until the next tile.

    Args:
        edge: of the array.
        share: edge / length: of a query's closing division, what falls to one tile.
        attention: its widths.
    """
    e, f = attention.head_width, attention.value_width
    softmax = 4 * edge  # max; subtract and exponential; sum; divide: a row of the tile a cycle each
    running = 4 * edge + 5 + 2 * f + f * share  # the running maximum, sum and output as well
    on_array = 1 + 8  # a local maximum; the exponential as six products and a sum, the subtraction, the local sum
    closing = f * share
    useful = jnp.stack([e + f, e + f, e + f, e + f + on_array, e + f + on_array])
    total = jnp.stack(
        [
            e + f + softmax,
            jnp.maximum(softmax, e + f),
            jnp.maximum(e + f, running),
            jnp.maximum(e + 1, 1 + closing) + edge + on_array + 2 * f,
            jnp.maximum(e + 1, 1 + f + closing) + on_array + f,
        ]
    )
    return useful, total


def _spilled_share(buffer_words: Any, rows: Any, padded: Any, hardware: Hardware, attention: Attention) -> Any:
    """Of FLAT's scores, which go to DRAM: what the buffer has no room for; all where a head's keys do not fit."""
    width = attention.head_width + attention.value_width
    held = (buffer_words - (rows + hardware.edge) * width) / (rows * padded)
    longest = padded * jnp.maximum(attention.head_width, attention.value_width)
    return jnp.where(longest >= buffer_words, 1.0, 1.0 - jnp.clip(held, 0.0, 1.0))


def _energy_pj(hardware: Hardware, words: Any, padded: Any, attention: Attention) -> Any:
    """float[K] pJ of one head: its operations with their registers, buffer accesses, and DRAM words."""
    c = constants()
    e, f, edge = attention.head_width, attention.value_width, hardware.edge
    flat, lane, fusemax = (c[f"register_{name}_pj"] for name in ("flat_2d", "flat_1d", "fusemax"))
    products = (e + f) * jnp.stack([c["mac_pj"] + (fusemax if each else flat) for each in _FUSEMAX])
    exponential = 6 * (c["mac_pj"] + fusemax) + c["add_pj"] + fusemax  # FuseMax's, in products
    one_by_one = c["max_pj"] + 2 * c["add_pj"] + c["exp_pj"] + 4 * lane  # maximum, difference, exponential, sum
    on_array = c["max_pj"] + 2 * c["add_pj"] + exponential + 3 * fusemax
    divided = one_by_one + c["divide_pj"] + lane
    scores = padded * padded * (products + jnp.array([divided, divided, one_by_one, on_array, on_array]))

    def running(exponential_pj: float, register_pj: float) -> Any:
        """Maximum, difference and exponential, sum, output: once a query and block of keys; a division once a query."""
        again = c["max_pj"] + 2 * c["add_pj"] + c["mac_pj"] + 4 * register_pj + exponential_pj
        outputs = f * (c["mac_pj"] + c["add_pj"] + 2 * register_pj)
        return padded * (padded / edge) * (again + outputs) + padded * f * (c["divide_pj"] + register_pj)

    none, theirs, ours = 0.0 * padded, running(c["exp_pj"] + lane, lane), running(exponential, fusemax)
    # A larger buffer costs more to access, as the root of its capacity (`reference_kib` has the artifact's energies).
    scale = jnp.sqrt(hardware.buffer_kib / c["buffer_reference_kib"])
    reads = jnp.array([5.0, 5.0, 3.0, 0.0, 0.0]) + (e + f) / edge  # a score: by each pass; operands of the array
    writes = jnp.array([3.0, 3.0, 2.0, 0.0, 0.0])
    buffered = padded * padded * (reads * c["buffer_read_pj"] + writes * c["buffer_write_pj"])
    buffered = scale * (buffered + words * (c["buffer_read_pj"] + c["buffer_write_pj"]))
    return scores + jnp.stack([none, none, theirs, ours, ours]) + buffered + words * c["dram_pj"]


def area_mm2(hardware: Hardware) -> Any:
    """float[K]: array, lanes, buffer, and DRAM's interface."""
    c = constants()
    kinds = ("flat", "fusemax")
    element = jnp.array([c[f"element_{kinds[each]}_mm2"] for each in _FUSEMAX])
    lane = jnp.array([c[f"lane_{kinds[each]}_mm2"] for each in _FUSEMAX])
    array = hardware.edge * hardware.edge * element + hardware.edge * lane
    memory = hardware.buffer_kib * c["buffer_mm2_per_kib"]
    return array + (memory + hardware.bandwidth_gib_s * c["interface_mm2_per_gib_s"])


def evaluate_cascades(
    hardware: Hardware, block: Any, attention: Attention, round_up: Callable[[Any], Any] = jnp.ceil
) -> Metrics:
    """Every cascade's costs, leaves float[K].

    Args:
        hardware: scalars.
        block: scalar, as of `Mapping`.
        attention: scalars.
        round_up: to whole tiles; a relaxed form leaves quotients as they are.
    """
    c = constants()
    hardware = Hardware(*(jnp.float32(1) * each for each in hardware))
    attention = Attention(*(jnp.float32(1) * each for each in attention))
    edge, e, f = hardware.edge, attention.head_width, attention.value_width
    tiles_a_side = round_up(attention.length / edge)
    padded = edge * tiles_a_side
    head_count = attention.batch * attention.heads
    tiles = head_count * tiles_a_side * tiles_a_side
    buffer_words = hardware.buffer_kib * (KIB / c["word_bytes"])
    words_per_s = hardware.bandwidth_gib_s * (GIB / c["word_bytes"])

    rows = _rows_in_block(hardware, block, padded)
    scores = padded * padded
    streamed = streamed_words(padded, e + f, round_up(padded / rows))
    spilled = 4 * scores * _spilled_share(buffer_words, rows, padded, hardware, attention)
    # An unfused product keeps half a buffer of rows where a head's operand does not fit, and meets the other each time.
    longest = padded * jnp.maximum(e, f)
    again = jnp.where(longest >= buffer_words, round_up(2 * longest / buffer_words), 1.0)
    unfused = streamed_words(padded, e + f, again) + 4 * scores
    words = jnp.stack([unfused, streamed + spilled, streamed, streamed, streamed])

    useful, cycles = _two_dimensional_and_total_cycles(edge, edge / padded, attention)
    compute_s = tiles * cycles / c["clock_hz"]
    phases = (  # of unfused: (words a head, cycles a tile), one after another
        (padded * e * (1 + again) + scores, e),
        (2 * scores, 4 * edge),
        (padded * f * (1 + again) + scores, f),
    )
    scored, normalised, weighted = (
        jnp.maximum(head_count * w / words_per_s, tiles * n / c["clock_hz"]) for w, n in phases
    )
    fused_s = jnp.maximum(compute_s, head_count * words / words_per_s)
    latency = jnp.concatenate([(scored + normalised + weighted)[None], fused_s[1:]])
    needed = words_needed(hardware, _rows_in_block(hardware, block, padded) / edge, attention)
    return Metrics(
        latency_s=latency,
        energy_j=head_count * _energy_pj(hardware, words, padded, attention) * 1e-12,
        area_mm2=area_mm2(hardware),
        traffic_bytes=head_count * words * c["word_bytes"],
        utilisation=tiles * useful / c["clock_hz"] / latency,
        buffer_share=needed / buffer_words,
    )


def evaluate(hardware: Hardware, mapping: Mapping, attention: Attention) -> Metrics:
    """Costs of one mapping, scalars float32."""
    metrics = evaluate_cascades(hardware, mapping.block, attention)
    return metrics.at(mapping.cascade)


def require_fit(hardware: Hardware, mapping: Mapping, attention: Attention) -> None:
    """Raises unless the machine holds the mapping and the blocks divide the length.

    Raises:
        UnknownNameError: there is no such cascade.
        InvalidDesignError: a size is not positive, blocks do not divide the length, or the buffer is over-full.
    """
    for name, value in (*hardware._asdict().items(), *attention._asdict().items(), ("block", mapping.block)):
        if not value > 0:
            raise InvalidDesignError(f"{name} = {value} is not allowed; allowed: any number above 0.")
    if not 0 <= mapping.cascade < len(CASCADES):
        raise UnknownNameError("cascade", mapping.cascade, [f"{at} ({name})" for at, name in enumerate(CASCADES)])
    rows = hardware.edge * mapping.block
    if attention.length % rows:
        raise InvalidDesignError(
            f"buffer: blocks of {hardware.edge} x {mapping.block} = {rows} queries do not divide the length "
            f"{attention.length}."
        )
    share = float(evaluate(hardware, mapping, attention).buffer_share)
    if share > 1:
        raise InvalidDesignError(
            f"buffer: {CASCADES[int(mapping.cascade)]} with blocks of {rows} queries needs {share:.4g} times what "
            f"{hardware.buffer_kib} KiB can hold."
        )


def largest_block(hardware: Hardware, cascade: str, attention: Attention) -> int:
    """The most passes of the array's rows that divide the length, and fit the buffer, FLAT's rows of scores too.

    Where FLAT spills all scores its blocks are as the artifact's: 1,024 queries.

    Raises:
        UnknownNameError: there is no such cascade.
        InvalidDesignError: not even one fits, or the edge does not divide the length.
    """
    if cascade not in CASCADES:
        raise UnknownNameError("cascade", cascade, CASCADES)
    place, length, edge = CASCADES.index(cascade), int(attention.length), int(hardware.edge)
    require_fit(hardware, Mapping(place, 1), attention)
    words = int(hardware.buffer_kib) * KIB // int(constants()["word_bytes"])
    passes, width = length // edge, int(attention.head_width + attention.value_width)
    if cascade == "flat":
        if length * max(attention.head_width, attention.value_width) >= words:
            return math.gcd(max(_SPILLED_ROWS // edge, 1), passes)
        most = (words - edge * width) // (edge * (width + length))
    else:
        tile, one = (float(words_needed(hardware, block, attention)[place]) for block in (0, 1))
        most = passes if one == tile else int((words - tile) // (one - tile))
    return max((each for each in range(1, min(most, passes) + 1) if passes % each == 0), default=1)


def published(cascade: str, attention: Attention) -> tuple[Hardware, Mapping]:
    """A machine of FuseMax's artifact and how a cascade runs on it: 256 elements a side, 400 GiB/s, 16 or 32 MiB."""
    hardware = Hardware(256, 32 * KIB if cascade in ("unfused", "flat") else 16 * KIB, 400)
    return hardware, Mapping(CASCADES.index(cascade), largest_block(hardware, cascade, attention))
