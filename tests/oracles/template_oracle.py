"""The template in plain Python: one mapping after another, whole numbers and doubles."""

from math import ceil, log2, sqrt

from dsegym.costmodels.accelerator.template import constants

REGISTERS = ("regfile", "smartbuffer_RF")


def storage(design, name, words):
    """(pJ a word, um2) of a memory."""
    c = constants()
    kind, kib = design[f"{name}_class"], words * 2 / 1024
    banks = design.get(f"{name}_banks", 1)
    if kind in REGISTERS:
        pj, um2 = 0.009 * 16 * sqrt(words / 16), 5.98 * 16 * words
    else:
        pj, um2 = 2.2 * (1 + (kib / banks - 0.5) * 5 / 99.5), 2604 * kib + c["sram_periphery_um2"]
    um2 *= (
        1
        + c["area_per_doubled_bandwidth"] * log2(design.get(f"{name}_read", 2) * design.get(f"{name}_write", 2) / 4)
        + c["area_per_doubled_block"] * log2(design[f"{name}_block"])
        + c["area_per_bank"] * (banks - 1)
    )
    if kind.startswith("smartbuffer"):
        pj, um2 = pj + 0.251, um2 + 2 * 495.5
    return pj, um2


def mapped(design, nest, candidate):
    """(cycles, pJ, words of DRAM) of one product under one mapping; None where it does not fit."""
    taps, height, width, lines, channels, filters, _ = nest.bounds
    h, e, p, q, channels_first = candidate
    columns = design["mesh_x"]
    high = design["elements"] // columns // h
    slots = high * (columns // e) if e <= columns else high // ceil(e / columns)
    if slots == 0:
        return None
    if channels_first:
        r = min(slots, ceil(channels / q))
        t = min(slots // r, ceil(filters / p))
    else:
        t = min(slots, ceil(filters / p))
        r = min(slots // t, ceil(channels / q))
    across = (width - 1) * nest.strides[0] + taps
    down = (lines - 1) * nest.strides[1] + height
    inputs, sums = q * r * ((e - 1) * nest.strides[1] + h) * across, p * t * e * width
    weights = p * t * q * r * taps * h
    room = (design["ifmap_depth"], design["weights_depth"], design["psum_depth"], 4 * design["buffer_depth"])
    if any(need > have for need, have in zip((q * taps, p * q * taps, p, sums + inputs), room, strict=True)):
        return None
    over_channels = ceil(channels / (q * r)) * ceil(height / h)
    passes = ceil(lines / e) * ceil(filters / (p * t)) * over_channels
    read, write = design["buffer_read"], design["buffer_write"]
    loading = ceil(max(weights / read, p * q * taps / design["weights_write"]))
    streams = max(q * across / design["ifmap_write"], inputs / read, sums / read + sums / write)
    computing = max(p * width * (q * taps + 1), ceil(streams))
    macs, outputs = taps * height * width * lines * channels * filters, width * lines * filters
    dram = passes * weights + channels * across * down + outputs
    pj = {name: storage(design, name, design[f"{name}_depth"])[0] for name in ("ifmap", "weights", "psum")}
    buffer_pj = storage(design, "buffer", 4 * design["buffer_depth"])[0]
    to_ifmap, to_weights = passes * q * r * t * h * e * across, passes * weights * e
    energy = macs * (2.2 + pj["ifmap"] + pj["weights"] + 2 * pj["psum"])
    energy += to_ifmap * pj["ifmap"] + to_weights * pj["weights"]
    energy += 4.4 * (to_ifmap + to_weights + passes * sums * h * r)
    energy += buffer_pj * (passes * (inputs + weights) + 2 * outputs * over_channels) + 128 * dram
    return max(passes * (loading + computing), ceil(dram / 4)), energy, dram


def costs(design, nests, counts, candidates):
    """(cycles, J, mm2, layers without a mapping) of a design {knob: value}."""
    cycles = energy = unmapped = 0
    for nest, count, tried in zip(nests, counts, candidates, strict=True):
        found = [each for candidate in tried if (each := mapped(design, nest, candidate))]
        if not found:
            unmapped += 1
            continue
        best = min(found)
        cycles, energy = cycles + count * best[0], energy + count * best[1]
    element = 1239.5 + sum(storage(design, name, design[f"{name}_depth"])[1] for name in ("ifmap", "weights", "psum"))
    um2 = design["elements"] * element + design["mesh_x"] * storage(design, "dummy", design["dummy_depth"])[1]
    um2 += storage(design, "buffer", 4 * design["buffer_depth"])[1]
    return cycles, energy * 1e-12, um2 * 1e-6, unmapped
