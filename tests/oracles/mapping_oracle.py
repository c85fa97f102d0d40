"""The mapping-aware model in plain Python: every tile is a box of coordinates, and loops are walked step by step.

Written from Timeloop's rules, not from the library's formulas, with which it shares no code. `fetched` follows
Timeloop: of each loop it walks the first step and one more, which stands for the rest. `really_fetched` walks every
step, and compares sets of words with the tile before.
"""

import csv
import itertools
import math
from dataclasses import dataclass
from pathlib import Path

DIMENSIONS = "RSPQCKN"
TENSORS = {"weights": "RSCK", "inputs": "RPSQCN", "outputs": "PQKN"}


@dataclass(frozen=True)
class Layer:
    bounds: dict  # {dimension: bound}
    stride: tuple = (1, 1)  # of P and Q
    dilation: tuple = (1, 1)  # of R and S


@dataclass(frozen=True)
class Plan:
    """A mapping: {dimension: factor} of each level, registers first; the orders of the other three, outermost first."""

    temporal: tuple
    rows: int
    columns: int
    orders: tuple


def read_constants(path):
    lines = [line for line in Path(path).read_text().splitlines() if not line.startswith("#")]
    return {row["quantity"]: float(row["value"]) for row in csv.DictReader(lines)}


def tile_extents(plan, level):
    """{dimension: extent} of what lies at a level."""
    extents = {}
    for d in DIMENSIONS:
        extents[d] = math.prod(plan.temporal[each][d] for each in range(level + 1))
        if d == "C" and level >= 1:
            extents[d] *= plan.rows
        if d == "K" and level >= 2:
            extents[d] *= plan.columns
    return extents


def axes(tensor, layer, position, extents):
    """The box of a tile: a corner and a width along each of the tensor's axes, from its place in the seven loops."""
    if tensor != "inputs":
        return [(position[d], extents[d]) for d in TENSORS[tensor]]
    box = [(position[d], extents[d]) for d in "CN"]
    for place, (out, kernel) in enumerate(("PR", "QS")):
        stride, dilation = layer.stride[place], layer.dilation[place]
        corner = position[out] * stride + position[kernel] * dilation
        box.append((corner, (extents[out] - 1) * stride + (extents[kernel] - 1) * dilation + 1))
    return box


def loops_outside(plan, level):
    """(dimension, iterations, step) of every loop above a level, from the outermost to the innermost."""
    loops = []
    for above in range(3, level, -1):
        inner = tile_extents(plan, above - 1)
        if above == 2:
            inner["K"] *= plan.columns  # space lies inside a level's loops
        if above == 1:
            inner["C"] *= plan.rows
        loops += [(d, plan.temporal[above][d], inner[d]) for d in plan.orders[above - 1]]
    return [loop for loop in loops if loop[1] > 1]


def places(loops, steps_of):
    """The tile's places in the order of time, with how many each stands for."""
    for indices in itertools.product(*(range(steps_of(n)) for _, n, _ in loops)):
        position, times = dict.fromkeys(DIMENSIONS, 0), 1
        for (d, n, step), index in zip(loops, indices, strict=True):
            position[d] += index * step
            times *= n - 1 if index else 1
        yield position, times


def fetched(tensor, layer, plan, level):
    """Words that enter a level's tile of a tensor (of one instance), by Timeloop's rule.

    A tile that moves as it moved last, or for the first time since it was fetched whole, keeps what it shares with the
    place before, if it moves along one axis at most; any other tile is fetched whole.
    """
    extents, before, last, words = tile_extents(plan, level), None, None, 0
    for position, times in places(loops_outside(plan, level), lambda n: min(n, 2)):
        box = axes(tensor, layer, position, extents)
        size = math.prod(width for _, width in box)
        fresh = size
        if before is not None:
            move = tuple(new - old for (new, _), (old, _) in zip(box, before, strict=True))
            if last is None or move == last:
                moving = [(abs(distance), width) for distance, (_, width) in zip(move, box, strict=True) if distance]
                if not moving:
                    fresh = 0
                elif len(moving) == 1:
                    distance, width = moving[0]
                    fresh = size // width * min(distance, width)
                last = move
            else:
                last = None
        before = box
        words += times * fresh
    return words


def really_fetched(tensor, layer, plan, level):
    """Words that enter, every step walked: those of a tile that the tile before did not have."""
    extents, before, words = tile_extents(plan, level), set(), 0
    for position, _ in places(loops_outside(plan, level), lambda n: n):
        box = axes(tensor, layer, position, extents)
        tile = set(itertools.product(*(range(corner, corner + width) for corner, width in box)))
        words += len(tile - before)
        before = tile
    return words


def tile_words(tensor, layer, plan, level):
    box = axes(tensor, layer, dict.fromkeys(DIMENSIONS, 0), tile_extents(plan, level))
    return math.prod(width for _, width in box)


def blocks(words, size):
    return -(-words // size) * size


def costs(layer, plan, *, edge, scratchpad_kib, accumulator_kib, dram_words_per_cycle, constants):
    """{name: value} of one layer on one machine: exact integers, joules in float64."""
    steps = math.prod(math.prod(level.values()) for level in plan.temporal)
    macs = steps * plan.rows * plan.columns
    outputs = math.prod(layer.bounds[d] for d in "PQKN")
    weights_to_registers = fetched("weights", layer, plan, 0) * plan.rows * plan.columns
    inputs_to_array = macs // plan.columns  # one read serves all columns
    weights, inputs = (fetched(tensor, layer, plan, 2) for tensor in ("weights", "inputs"))
    partial_sums = macs // plan.rows  # summed over the rows
    drained = fetched("outputs", layer, plan, 1) * plan.columns
    accumulator = partial_sums + (partial_sums - outputs) + drained
    scratchpad = [weights_to_registers, inputs_to_array, weights, inputs]
    dram = [weights, inputs, drained, drained - outputs]
    cycles = max(
        steps,
        -(-accumulator // (2 * plan.columns)),
        -(-sum(scratchpad) // (2 * edge)),
        -(-sum(dram) // dram_words_per_cycle),
    )
    pj = constants
    scratchpad_pj = pj["scratchpad_base_pj"] + pj["scratchpad_pj_per_kib"] * scratchpad_kib
    accumulator_pj = pj["accumulator_base_pj"] + pj["accumulator_pj_per_kib"] * accumulator_kib / edge
    return {
        "cycles": cycles,
        "macs": macs,
        "compute_cycles": steps,
        "accumulator_accesses": accumulator,
        "scratchpad_accesses": sum(scratchpad),
        "dram_accesses": sum(dram),
        "array_j": 1e-12 * (macs * (pj["mac_pj"] + pj["register_pj"]) + weights_to_registers * pj["register_pj"]),
        "accumulator_j": 1e-12 * accumulator * accumulator_pj,
        "scratchpad_j": 1e-12 * sum(blocks(words, edge) for words in scratchpad) * scratchpad_pj,
        "dram_j": 1e-12 * sum(blocks(words, 64) for words in dram) * pj["dram_pj"],
    }
