"""The systolic-array model in plain Python: exact integers, float64 energies, one layer and one design at a time.

Written from the tables in the docstrings of `costmodels/accelerator/model.py` and `workloads/tables.py`, from the
header of `technology.csv` and from SCALE-Sim's fold formulas; it shares no code with the library, CSV reading included.
"""

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path

COUNTS = (
    "compute_cycles",
    "cycles",
    "macs",
    "ifmap_sram_reads",
    "filter_sram_reads",
    "ofmap_sram_writes",
    "ifmap_dram_words",
    "filter_dram_words",
    "ofmap_dram_words",
)


@dataclass(frozen=True)
class Product:
    """An (m x k) by (k x n) matrix product that occurs `count` times."""

    m: int
    n: int
    k: int
    ifmap_words: int
    count: int = 1


@dataclass(frozen=True)
class Design:
    rows: int
    columns: int
    ifmap_kib: int
    filter_kib: int
    ofmap_kib: int
    dram_words_per_cycle: int
    dataflow: str


def read_technology(path, name):
    """{quantity: value} of one technology."""
    lines = [line for line in Path(path).read_text().splitlines() if not line.startswith("#")]
    return {row["quantity"]: float(row["value"]) for row in csv.DictReader(lines) if row["technology"] == name}


# --- Lowering ---------------------------------------------------------------------------------------------------------


def positions(size, kernel, stride, padding):
    """Every window's input coordinates along one axis, padding included."""
    starts = itertools.takewhile(lambda first: first + kernel <= size + padding, itertools.count(-padding, stride))
    return [range(first, first + kernel) for first in starts]


def distinct_coordinates(size, kernel, stride, padding):
    """The set of real input coordinates that the windows along one axis read."""
    return {at for window in positions(size, kernel, stride, padding) for at in window if 0 <= at < size}


def touched_pixels(height, width, kernel_height, kernel_width, stride, padding):
    """The set of real input pixels that a convolution reads, window by window and tap by tap."""
    return {
        (y, x)
        for rows in positions(height, kernel_height, stride, padding)
        for columns in positions(width, kernel_width, stride, padding)
        for y in rows
        for x in columns
        if 0 <= y < height and 0 <= x < width
    }


def lower_row(row):
    """A row of a workload table, {column: text}, as the `Product` that one group or head runs."""

    def number(column, default=None):
        text = (row.get(column) or "").strip()
        return int(text) if text else default

    batch, repeat = number("batch", 1), number("repeat", 1)
    if row["kind"] in ("gemm", "attention"):
        m, n, k = number("m"), number("n"), number("k")
        return Product(m, n, k, m * k, batch * repeat)
    stride, padding, groups = number("stride", 1), number("padding", 0), number("groups", 1)
    axes = [(number("in_height"), number("kernel_height")), (number("in_width"), number("kernel_width"))]
    channels = number("in_channels") // groups
    outputs = [len(positions(size, kernel, stride, padding)) for size, kernel in axes]
    touched = [len(distinct_coordinates(size, kernel, stride, padding)) for size, kernel in axes]
    return Product(
        m=batch * outputs[0] * outputs[1],
        n=number("out_channels") // groups,
        k=channels * axes[0][1] * axes[1][1],
        ifmap_words=batch * channels * touched[0] * touched[1],
        count=groups * repeat,
    )


def read_workload(path):
    """The products of a workload table, in order."""
    lines = [line for line in Path(path).read_text().splitlines() if line.strip() and not line.startswith("#")]
    return [lower_row(row) for row in csv.DictReader(lines)]


# --- Model ------------------------------------------------------------------------------------------------------------


def ceil_div(a, b):
    return -(-a // b)


def fold(design, product):
    """What the rows and columns hold, what streams through, and the cycles of a fold."""
    m, n, k = product.m, product.n, product.k
    on_rows, on_columns, streamed = {"os": (m, n, k), "ws": (k, n, m), "is": (k, m, n)}[design.dataflow]
    fill = design.rows if design.dataflow == "os" else 2 * design.rows
    return on_rows, on_columns, streamed, fill + design.columns + streamed - 2


def sram_counts(design, product):
    """Words read from the ifmap and filter buffers, partial sums written to the ofmap buffer."""
    m, n, k = product.m, product.n, product.k
    if design.dataflow == "ws":
        return m * k * ceil_div(n, design.columns), k * n, m * n * ceil_div(k, design.rows)
    if design.dataflow == "os":
        return m * k * ceil_div(n, design.columns), k * n * ceil_div(m, design.rows), m * n
    return m * k, k * n * ceil_div(m, design.columns), m * n * ceil_div(k, design.rows)


def compulsory_words(product):
    """Distinct words of ifmap, filter and ofmap."""
    return product.ifmap_words, product.k * product.n, product.m * product.n


def half_buffer(kib, bits):
    """Words that the usable half of a double-buffered memory holds."""
    return int(kib * 1024 * 8 // bits // 2)


def tiled_words(design, product, technology):
    """DRAM words of ifmap, filter and ofmap under the cheaper schedule (the first where they tie)."""
    word, partial = technology["word_bits"], technology["accumulator_bits"]
    ifmap, filters, outputs = compulsory_words(product)
    ifmap_tiles = ceil_div(ifmap, half_buffer(design.ifmap_kib, word))
    filter_tiles = ceil_div(filters, half_buffer(design.filter_kib, word))

    on_rows, on_columns, streamed, _ = fold(design, product)
    row_folds = ceil_div(on_rows, design.rows)
    live = streamed * min(on_columns, design.columns)
    capacity = half_buffer(design.ofmap_kib, partial)
    overflows = design.dataflow != "os" and row_folds > 1 and live > capacity
    # Each row fold but the first reads every partial sum back, and each but the last has written it.
    spilled = 2 * (row_folds - 1) * outputs * int(partial // word) if overflows else 0
    # The dataflow's streamed operand can be cut so that its partial sums fit, where it is the one whose tiles are kept.
    cut = {"ws": "ifmap", "is": "filter"}.get(design.dataflow) if overflows else None

    ifmap_cuts = max(ifmap_tiles, ceil_div(live, capacity)) if cut == "ifmap" else ifmap_tiles
    filter_cuts = max(filter_tiles, ceil_div(live, capacity)) if cut == "filter" else filter_tiles
    keep_ifmap = (ifmap, filters * ifmap_cuts, outputs + (0 if cut == "ifmap" else spilled))
    keep_filter = (ifmap * filter_cuts, filters, outputs + (0 if cut == "filter" else spilled))
    return min(keep_ifmap, keep_filter, key=sum)


def near_memory_counts(design, product, near_memory):
    """Counts of one product on the engine near memory: (ratio of bandwidths, multiply-accumulates a word)."""
    ratio, macs_per_word = near_memory
    words, macs = compulsory_words(product), product.m * product.n * product.k
    compute = ceil_div(macs, design.dram_words_per_cycle * ratio * macs_per_word)
    cycles = max(compute, ceil_div(sum(words), design.dram_words_per_cycle * ratio))
    return (compute, cycles, macs, 0, 0, 0, *words)


def layer_costs(design, product, technology, *, ports, traffic, near_memory=None):
    """{count: exact integer} of all occurrences of a product, and its mapping efficiency."""
    on_rows, on_columns, _, cycles_per_fold = fold(design, product)
    row_folds, column_folds = ceil_div(on_rows, design.rows), ceil_div(on_columns, design.columns)
    compute = row_folds * column_folds * cycles_per_fold
    words = tiled_words(design, product, technology) if traffic == "tiled" else compulsory_words(product)
    through_one_port = sum(words) if ports == "shared" else max(words)
    cycles = max(compute, ceil_div(through_one_port, design.dram_words_per_cycle))
    each = (compute, cycles, product.m * product.n * product.k, *sram_counts(design, product), *words)
    if near_memory and near_memory_counts(design, product, near_memory)[1] < cycles:
        each = near_memory_counts(design, product, near_memory)
    occupied = on_rows * on_columns / (row_folds * design.rows * column_folds * design.columns)
    return dict(zip(COUNTS, (product.count * value for value in each), strict=True)), occupied


def area_mm2(design, technology):
    return (
        technology["base_mm2"]
        + technology["pe_mm2"] * design.rows * design.columns
        + technology["edge_mm2"] * (design.rows + design.columns) / 2
        + technology["sram_mm2_per_kib"] * (design.ifmap_kib + design.filter_kib)
        + technology["accumulator_mm2_per_kib"] * design.ofmap_kib
        + technology["dram_interface_mm2_per_word"] * design.dram_words_per_cycle
    )


def energies_j(design, counts, technology):
    """{component: joules} of a set of counts."""

    def sram(kib):
        return technology["sram_base_pj"] + technology["sram_pj_per_kib"] * kib

    accumulator = (
        technology["accumulator_base_pj"]
        + technology["accumulator_pj_per_kib"] * design.ofmap_kib
        + technology["accumulator_pj_per_kib_per_column"] * design.ofmap_kib / design.columns
    )
    dram_words = counts["ifmap_dram_words"] + counts["filter_dram_words"] + counts["ofmap_dram_words"]
    picojoules = {
        "mac_energy_j": counts["macs"] * (technology["mac_pj"] + technology["register_pj"]),
        "sram_energy_j": (counts["ifmap_sram_reads"] + counts["ifmap_dram_words"]) * sram(design.ifmap_kib)
        + (counts["filter_sram_reads"] + counts["filter_dram_words"]) * sram(design.filter_kib),
        "accumulator_energy_j": 2 * counts["ofmap_sram_writes"] * accumulator,
        "dram_energy_j": dram_words * technology["dram_pj"],
    }
    return {name: value * 1e-12 for name, value in picojoules.items()}


def multipliers(design, near_memory):
    """Multiply-accumulates a cycle."""
    second = near_memory[0] * near_memory[1] * design.dram_words_per_cycle if near_memory else 0
    return design.rows * design.columns + second


def network_costs(design, products, technology, *, clock_hz, **conventions):
    """Every field of the library's `Metrics`: integers exact, the rest float64."""
    layers = [layer_costs(design, product, technology, **conventions)[0] for product in products]
    totals = {name: sum(layer[name] for layer in layers) for name in COUNTS}
    parts = energies_j(design, totals, technology)
    return {
        "latency_s": totals["cycles"] / clock_hz,
        "energy_j": sum(parts.values()),
        "area_mm2": area_mm2(design, technology),
        "utilisation": totals["macs"] / (totals["cycles"] * multipliers(design, conventions.get("near_memory"))),
        "compute_cycles": totals["compute_cycles"],
        "cycles": totals["cycles"],
        "dram_words": totals["ifmap_dram_words"] + totals["filter_dram_words"] + totals["ofmap_dram_words"],
        **parts,
    }
