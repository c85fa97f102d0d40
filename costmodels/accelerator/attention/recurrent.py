"""A recurrent layer on the same machine, in tiles that divide it, as FlashRNN's kernels are (arXiv 2412.07752).

The recurrent matrix is block-diagonal: `heads` blocks of `width` x 4 `width` words (four gates). Every step multiplies
the hidden state by it, adds the inputs' share, which is given, and applies the gates. Two kernels:

| kernel | the recurrent matrix |
|---|---|
| per_step | comes from DRAM at every step, as do hidden state and cell; any width fits |
| fused | stays in the buffer for all steps of a tile of sequences, the state too |

A tile is `batch_tile` sequences by `gate_tile` of a head's 4 `width` columns. Both divide what they tile; columns come
in sixteens, the width of a tensor core's tile. The array computes a tile's outputs in passes of edge x edge, one
product an element and cycle; the gates take the 1D array 19 operations a unit (five exponentials with a sum and a
division each, three products, a sum). A step waits for the one before it, so nothing overlaps but DRAM.

**Calibrated to nothing**: FlashRNN's constraint is kept, not its measured times. An oracle in plain Python checks it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from ...arrays import Array
from ...errors import InvalidDesignError
from .model import GIB, KIB, Hardware, Metrics, Scalar, area_mm2, constants

__all__ = [
    "GATES",
    "GRANULE",
    "KERNELS",
    "Recurrent",
    "Tiling",
    "batch_tiles",
    "evaluate",
    "evaluate_kernels",
    "gate_tiles",
    "least_words",
    "require_tiles",
]

KERNELS = ("per_step", "fused")
GATES = 4
GRANULE = 16  # columns
_GATE_OPERATIONS = 19  # of the 1D array, a unit and step
_STATES = 2  # hidden state and cell


class Recurrent(NamedTuple):
    """One recurrent layer."""

    batch: Scalar  # sequences
    heads: Scalar
    steps: Scalar
    width: Scalar  # units of a head


class Tiling(NamedTuple):
    """How it runs."""

    kernel: Array | int  # int32, index into KERNELS
    batch_tile: Scalar  # sequences, a divisor of the batch
    gate_tile: Scalar  # columns, a divisor of 4 width


def _divisors(number: int) -> tuple[int, ...]:
    return tuple(each for each in range(1, number + 1) if number % each == 0)


def batch_tiles(batch: int) -> tuple[int, ...]:
    """The legal ones, ascending."""
    return _divisors(batch)


def gate_tiles(width: int) -> tuple[int, ...]:
    """The legal ones, ascending: divisors of 4 width that are multiples of 16, or all divisors if none is."""
    divisors = _divisors(GATES * width)
    return tuple(each for each in divisors if each % GRANULE == 0) or divisors


def least_words(layer: Recurrent) -> Any:
    """What every kernel moves: the matrices once, inputs and outputs once, first and last states."""
    passing = layer.steps * layer.batch * layer.width * (GATES + 1)
    return layer.heads * (GATES * layer.width * layer.width + passing + 2 * _STATES * layer.batch * layer.width)


def evaluate_kernels(
    hardware: Hardware, batch_tile: Any, gate_tile: Any, layer: Recurrent, round_up: Callable[[Any], Any] = jnp.ceil
) -> Metrics:
    """Costs with each kernel, leaves float[2]; arguments are scalars, `round_up` as in `model.evaluate_cascades`."""
    c = constants()
    hardware = Hardware(*(jnp.float32(1) * each for each in hardware))
    layer = Recurrent(*(jnp.float32(1) * each for each in layer))
    edge, width, units = hardware.edge, layer.width, layer.batch * layer.width
    columns = GATES * width
    matrix = columns * width
    batch_passes = layer.batch / batch_tile

    array_passes = round_up(batch_tile / edge) * round_up(gate_tile / edge) * (columns / gate_tile)
    gate_cycles = round_up(batch_tile * width / edge) * _GATE_OPERATIONS
    cycles = layer.heads * batch_passes * layer.steps * (width * array_passes + gate_cycles)
    work_cycles = layer.heads * layer.steps * (layer.batch / edge) * (columns / edge) * width

    passing = layer.steps * units * (GATES + 1)
    each_step = layer.steps * (matrix * batch_passes + 2 * _STATES * units) + layer.steps * units * GATES
    at_once = matrix * batch_passes + passing + 2 * _STATES * units
    words = layer.heads * jnp.stack([each_step, at_once])
    # Hidden state twice (old and new) and cell, inputs and results of a tile; the matrix, or two tiles of it.
    state = batch_tile * (3 * width + 2 * gate_tile)
    needed = state + jnp.stack([2 * width * gate_tile, matrix])

    compute_s = cycles / c["clock_hz"]
    words_per_s = hardware.bandwidth_gib_s * (GIB / c["word_bytes"])
    latency = jnp.maximum(compute_s, words / words_per_s)
    products = layer.heads * layer.steps * units * columns
    gates = layer.heads * layer.steps * units
    a_gate = 5 * (c["exp_pj"] + c["add_pj"] + c["divide_pj"]) + 3 * c["mac_pj"] + c["add_pj"]
    a_gate += _GATE_OPERATIONS * c["register_flat_1d_pj"]
    scale = jnp.sqrt(hardware.buffer_kib / c["buffer_reference_kib"])
    # The matrix is read from the buffer at every step, each word for `edge` sequences at most.
    matrix_reads = layer.heads * layer.steps * batch_passes * round_up(batch_tile / edge) * matrix
    buffered = scale * (matrix_reads * c["buffer_read_pj"] + words * (c["buffer_read_pj"] + c["buffer_write_pj"]))
    energy_pj = products * (c["mac_pj"] + c["register_flat_2d_pj"]) + gates * a_gate + buffered + words * c["dram_pj"]
    return Metrics(
        latency_s=latency,
        energy_j=energy_pj * 1e-12,
        area_mm2=jnp.broadcast_to(area_mm2(hardware)[0], latency.shape),  # FLAT's elements: products alone
        traffic_bytes=words * c["word_bytes"],
        utilisation=work_cycles / c["clock_hz"] / latency,
        buffer_share=needed / (hardware.buffer_kib * (KIB / c["word_bytes"])),
    )


def evaluate(hardware: Hardware, tiling: Tiling, layer: Recurrent) -> Metrics:
    """Costs of one tiling, scalars float32."""
    return evaluate_kernels(hardware, tiling.batch_tile, tiling.gate_tile, layer).at(tiling.kernel)


def require_tiles(hardware: Hardware, tiling: Tiling, layer: Recurrent) -> None:
    """Raises unless tiles divide what they tile and fit the buffer.

    Raises:
        InvalidDesignError: says which size, tile or level.
    """
    for name, value in (*hardware._asdict().items(), *layer._asdict().items()):
        if not value > 0:
            raise InvalidDesignError(f"{name} = {value} is not allowed; allowed: any number above 0.")
    for name, tile, legal in (
        ("batch_tile", tiling.batch_tile, batch_tiles(int(layer.batch))),
        ("gate_tile", tiling.gate_tile, gate_tiles(int(layer.width))),
    ):
        if tile not in legal:
            raise InvalidDesignError(f"{name} = {tile} is not allowed; allowed: {', '.join(map(str, legal))}.")
    share = float(evaluate(hardware, tiling, layer).buffer_share)
    if share > 1:
        kernel = KERNELS[int(tiling.kernel)]
        raise InvalidDesignError(f"buffer: {kernel} needs {share:.4g} times what {hardware.buffer_kib} KiB can hold.")
