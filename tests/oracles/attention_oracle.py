"""Attention on a FuseMax-like accelerator, walked tile by tile in plain Python, and recurrent layers step by step.

Written from `docs/attention_accelerator.md`. Sizes are words, cycles and seconds.
"""

from __future__ import annotations

import math

CLOCK_HZ = 0.94e9
WORD_BYTES = 2


def attention(cascade, edge, buffer_kib, bandwidth_gib_s, block, batch, heads, length, e, f):
    """(latency s, traffic B, useful share of the 2D array, words kept in the buffer over its size)."""
    memory = buffer_kib * 1024 // WORD_BYTES
    words_per_s = bandwidth_gib_s * 2**30 / WORD_BYTES
    padded = math.ceil(length / edge) * edge
    rows = min(edge * block, padded)
    if cascade == "unfused":
        return unfused(edge, memory, words_per_s, batch * heads, padded, e, f)

    words = busy = array = lanes = serial = 0
    kept = 0
    for first in range(0, padded, rows):
        words += rows * e  # the block's queries
        for _ in range(0, padded, edge):
            words += edge * (e + f)  # a tile of keys, and of values
        words += rows * f  # the block's outputs
        kept = max(kept, rows * (e + f))
        if cascade == "flat":
            room = max(memory - edge * (e + f) - rows * (e + f), 0)
            spilled = rows * padded if padded * max(e, f) >= memory else max(rows * padded - room, 0)
            words += 4 * spilled  # scores out and in, their softmax out and in
        elif cascade == "one_pass":
            kept = max(kept, rows * (e + f + 2 + 2 * edge))
        else:
            kept = max(kept, rows * (e + f + 2))
        for _ in range(first, min(first + rows, padded), edge):  # the array's rows of queries
            for _ in range(0, padded, edge):  # keys
                busy += e + f
                if cascade == "flat":
                    array += e + f
                    lanes += edge + edge + edge + edge  # maximum, exponential, sum, quotient of each score
                elif cascade == "one_pass":
                    array += e + f
                    lanes += edge + 2 * edge + edge  # local maximum, difference and exponential, local sum
                    lanes += 1 + 2 + 1 + 1 + f + f  # running maximum, its exponential, sum twice, output twice
                else:
                    busy += 9
                    array += e + 1
                    lanes += 1 + (f if cascade == "fusemax" else 0)
                    serial += 9 + (f if cascade == "fusemax" else edge + 2 * f)
            lanes += f if cascade != "flat" else 0  # outputs over their sums
    # The array's and the lanes' work overlap within a block of rows; what is serial does not.
    cycles = max(array, lanes) + serial if cascade != "one_pass" else max(array, lanes)
    count = batch * heads
    latency = max(count * cycles / CLOCK_HZ, count * words / words_per_s)
    share = (edge * (e + f) + kept) / memory
    return latency, count * words * WORD_BYTES, count * busy / CLOCK_HZ / latency, share


def unfused(edge, memory, words_per_s, count, padded, e, f):
    """Three kernels, one after another."""
    longest = padded * max(e, f)
    again = math.ceil(2 * longest / memory) if longest >= memory else 1
    scores, tiles = padded * padded, (padded // edge) ** 2
    kernels = (
        (padded * e + again * padded * e + scores, tiles * e),
        (scores + scores, tiles * 4 * edge),
        (scores + again * padded * f + padded * f, tiles * f),
    )
    latency = sum(max(count * words / words_per_s, count * cycles / CLOCK_HZ) for words, cycles in kernels)
    words = sum(words for words, _ in kernels)
    useful = count * tiles * (e + f) / CLOCK_HZ
    return latency, count * words * WORD_BYTES, useful / latency, edge * (e + f) / memory


def recurrent(kernel, edge, buffer_kib, bandwidth_gib_s, batch_tile, gate_tile, batch, heads, steps, width):
    """(latency s, traffic B, words kept in the buffer over its size)."""
    memory = buffer_kib * 1024 // WORD_BYTES
    words = cycles = 0
    for _ in range(heads):
        for _ in range(0, batch, batch_tile):
            words += 2 * batch_tile * width if kernel == "fused" else 0  # first hidden state and cell
            words += 4 * width * width if kernel == "fused" else 0
            for _ in range(steps):
                words += 4 * batch_tile * width  # the inputs' share of the gates
                if kernel == "per_step":
                    words += 2 * batch_tile * width  # states in
                for _ in range(0, 4 * width, gate_tile):
                    words += width * gate_tile if kernel == "per_step" else 0
                    cycles += width * math.ceil(batch_tile / edge) * math.ceil(gate_tile / edge)
                cycles += 19 * math.ceil(batch_tile * width / edge)
                words += 2 * batch_tile * width if kernel == "per_step" else batch_tile * width  # states, or outputs
            words += 2 * batch_tile * width if kernel == "fused" else 0  # last hidden state and cell
    matrix = 4 * width * width if kernel == "fused" else 2 * width * gate_tile
    kept = matrix + batch_tile * (3 * width + 2 * gate_tile)
    return max(cycles / CLOCK_HZ, words * WORD_BYTES / (bandwidth_gib_s * 2**30)), words * WORD_BYTES, kept / memory
