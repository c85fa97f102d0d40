"""The accelerator family against the outside: SCALE-Sim runs, Timeloop areas, network totals, ZigZag's ordering.

Measurements lie in the folder of the `shared_data` fixture, whose READMEs say which tool and version made them; figures
that stand here inline are from the same reports, so that part of the truth is tested without the folder.
"""

import csv
import gzip

import jax
import numpy as np
import pytest

from dsegym.costmodels.accelerator import breakdown, model, platforms, workloads

UNITS = {"M": 1e6, "G": 1e9, "T": 1e12}


def read_rows(path):
    text = path.read_bytes()
    text = gzip.decompress(text) if path.suffix == ".gz" else text
    return list(csv.DictReader(text.decode().splitlines()))


def agrees_with_the_digits_shown(value, shown):
    """Whether a value rounds to a printed figure: `9.226`, `76.8`, `58435`."""
    decimals = len(shown.partition(".")[2])
    return abs(value - float(shown)) <= 0.5 * 10**-decimals * (1 + 1e-9)


# --- SCALE-Sim 3.0.0 --------------------------------------------------------------------------------------------------


@pytest.fixture
def scalesim(oracle, run_pairs, shared_data):
    """Runs the library on the rows of a SCALE-Sim table: -> rows, {count: int64}, mapping efficiency."""

    def run(file, platform):
        rows = read_rows(shared_data / "scalesim" / file)
        designs, products = [], []
        for row in rows:
            buffers = [int(row[f"{operand}_kB"]) for operand in ("ifmap", "filter", "ofmap")]
            bandwidth = row["bw_words_per_cycle"]
            words = int(bandwidth) if bandwidth != "CALC" else 1
            designs.append(oracle.Design(int(row["rows"]), int(row["cols"]), *buffers, words, row["dataflow"]))
            # SCALE-Sim's inputs are not padded, and it rounds a strided output's size up: M is its own.
            axes = [[int(row[f"{what}_{axis}"]) for what in ("ifmap", "filt", "stride")] for axis in "hw"]
            touched = [len(oracle.distinct_coordinates(*size_kernel_stride, 0)) for size_kernel_stride in axes]
            distinct = int(row["channels"]) * touched[0] * touched[1]
            m, n, k = (int(row[column]) for column in ("M_ofmap_px", "N_filters", "K_window"))
            products.append(oracle.Product(m, n, k, min(distinct, m * k)))
        exact, efficiency = run_pairs(designs, products, platform)
        return rows, exact, efficiency

    return run


def column(rows, name):
    return np.array([float(row[name]) for row in rows])


def test_compute_cycles_are_one_more_than_scalesim_counts_on_every_unstalled_row(scalesim):
    rows, exact, _ = scalesim("scalesim_3.0.0_layers_nostall.csv", "gemmini")
    assert len(rows) >= 50
    assert {row["dataflow"] for row in rows} == {"ws", "os", "is"}
    np.testing.assert_array_equal(exact["compute_cycles"], column(rows, "total_cycles") + 1)
    np.testing.assert_array_equal(exact["macs"], column(rows, "macs"))


def test_utilisation_mapping_efficiency_and_sram_counts_are_those_of_scalesim(scalesim):
    rows, exact, efficiency = scalesim("scalesim_3.0.0_layers_nostall.csv", "gemmini")
    elements = column(rows, "rows") * column(rows, "cols")
    utilisation = exact["macs"] / ((exact["compute_cycles"] - 1) * elements)
    np.testing.assert_allclose(100 * utilisation, column(rows, "overall_util_pct"), rtol=1e-4)
    np.testing.assert_allclose(100 * efficiency, column(rows, "mapping_eff_pct"), rtol=1e-4)
    np.testing.assert_allclose(exact["ifmap_sram_reads"], column(rows, "ifmap_sram_rd"), rtol=1e-4)
    np.testing.assert_allclose(exact["filter_sram_reads"], column(rows, "filter_sram_rd"), rtol=1e-4)
    # With the output-stationary dataflow SCALE-Sim adds each fold's rows and columns to its ofmap count.
    kept = np.array([row["dataflow"] != "os" for row in rows])
    np.testing.assert_allclose(exact["ofmap_sram_writes"][kept], column(rows, "ofmap_sram_wr")[kept], rtol=1e-4)


def test_scalesim_adds_its_stalls_to_our_compute_cycles(scalesim):
    rows, exact, _ = scalesim("scalesim_3.0.0_layers_userbw.csv", "scalesim")
    stalled = exact["compute_cycles"] - 1 + column(rows, "stall_cycles")
    np.testing.assert_array_equal(stalled, column(rows, "total_cycles"))


def test_the_roofline_with_separate_ports_is_never_above_scalesim_with_prefetch(scalesim):
    rows, exact, _ = scalesim("scalesim_3.0.0_layers_userbw.csv", "scalesim")
    assert len(rows) >= 16
    assert (exact["cycles"] <= column(rows, "total_cycles_incl_prefetch")).all()
    assert (exact["cycles"] > exact["compute_cycles"]).any(), "some row is meant to be bound by bandwidth"


# Whole networks with textbook shapes, groups one after another, no stalls: million cycles and utilisation in per cent,
# from the fold formula summed over each network's table, before this library.
SCALESIM_TOTALS = {
    "resnet18": "9.226 76.8 8.006 88.5 0.994 44.5 0.601 73.6 0.442 25.1 0.274 40.3",
    "resnet50": "20.60 77.5 18.63 85.8 2.193 45.5 1.582 63.1 0.917 27.2 0.645 38.7",
    "vgg16": "85.36 70.8 69.62 86.8 10.23 36.9 6.293 60.0 4.363 21.6 2.426 38.9",
    "mobilenet_v1": "5.071 43.8 7.596 29.2 3.220 4.3 4.818 2.9 3.983 0.9 4.826 0.7",
    "mobilenet_v2": "4.398 26.7 7.665 15.3 3.983 1.8 5.721 1.3 5.227 0.4 6.014 0.3",
    "bert_base_s512": "205.7 91.8 198.7 95.0 16.17 72.9 14.41 81.9 5.664 52.1 4.486 65.7",
    "llama2_7b_prefill2048": "58435 97.8 58020 98.5 3903 91.5 3800 94.0 1060 84.3 1008 88.6",
    "llama2_7b_decode_kv2048": "1312 2.1 453 6.2 333 0.5 119 1.5 167 0.3 63 0.7",
}
SCALESIM_ARRAYS = [(side, dataflow) for side in (16, 64, 128) for dataflow in ("ws", "os")]


@pytest.mark.parametrize("workload", SCALESIM_TOTALS)
def test_whole_networks_take_the_cycles_of_the_closed_form(oracle, run_network, workload):
    shown = iter(SCALESIM_TOTALS[workload].split())
    table = workloads.get_workload(workload)
    designs = [oracle.Design(side, side, 64, 64, 64, 8, dataflow) for side, dataflow in SCALESIM_ARRAYS]
    totals = run_network(designs, table.distinct, "gemmini").compute_cycles.tolist()
    for (side, dataflow), cycles in zip(SCALESIM_ARRAYS, totals, strict=True):
        assert agrees_with_the_digits_shown(cycles / 1e6, next(shown)), (side, dataflow, cycles)
        assert agrees_with_the_digits_shown(100 * table.macs / (cycles * side**2), next(shown)), (side, dataflow)


# --- Workloads --------------------------------------------------------------------------------------------------------

# Rows of the table, layers with repeats, multiply-accumulates, weights; the commonly quoted figures for the networks
# without biases, normalisation and embeddings (the language models' head counts).
WORKLOAD_TOTALS = {
    "alexnet": (8, 8, "724.4 M", "60.95 M"),
    "vgg16": (16, 16, "15.470 G", "138.34 M"),
    "resnet18": (21, 21, "1.814 G", "11.68 M"),
    "resnet50": (54, 54, "4.089 G", "25.50 M"),
    "resnet50_v1": (54, 54, "3.858 G", "25.50 M"),
    "mobilenet_v1": (28, 28, "568.7 M", "4.209 M"),
    "mobilenet_v2": (53, 53, "300.8 M", "3.470 M"),
    "bert_base_s128": (8, 96, "11.17 G", "84.93 M"),
    "bert_base_s384": (8, 96, "35.33 G", "84.93 M"),
    "bert_base_s512": (8, 96, "48.32 G", "84.93 M"),
    "bert_large_s384": (8, 192, "123.2 G", "302.0 M"),
    "gpt2_small_prefill1024": (9, 97, "145.8 G", "123.5 M"),
    "gpt2_small_decode_kv1024": (9, 97, "142.4 M", "123.5 M"),
    "llama2_7b_prefill2048": (10, 289, "14.63 T", "6.607 G"),
    "llama2_7b_decode_kv2048": (10, 289, "7.14 G", "6.607 G"),
    "llama3_8b_prefill2048": (10, 289, "16.47 T", "7.505 G"),
    "llama3_8b_decode_kv2048": (10, 289, "8.04 G", "7.505 G"),
}


def test_every_shipped_workload_has_published_totals():
    assert set(WORKLOAD_TOTALS) == set(workloads.workload_names())


@pytest.mark.parametrize("name", WORKLOAD_TOTALS)
def test_a_shipped_workload_has_the_published_totals(name):
    rows, layers, macs, weights = WORKLOAD_TOTALS[name]
    workload = workloads.get_workload(name)
    assert len(workload.layers) == rows
    assert sum(layer.repeat for layer in workload.layers) == layers
    for total, (shown, unit) in ((workload.macs, macs.split()), (workload.weights, weights.split())):
        assert agrees_with_the_digits_shown(total / UNITS[unit], shown)


def test_shipped_workloads_have_the_exact_totals_of_the_summary(shared_data):
    totals = {row["network"]: row for row in read_rows(shared_data / "workloads" / "summary.csv")}
    for name in workloads.workload_names():
        workload = workloads.get_workload(name)
        assert workload.macs == int(totals[name]["total_macs"]), name
        assert workload.weights == int(totals[name]["total_weights"]), name


@pytest.mark.parametrize("name", workloads.workload_names())
def test_every_row_of_a_shipped_workload_is_the_product_of_the_source_table(shared_data, name):
    source = read_rows(shared_data / "workloads" / f"{name}.csv")
    for layer, row in zip(workloads.get_workload(name).layers, source, strict=True):
        expected = [int(row[column]) for column in ("gemm_M", "gemm_N", "gemm_K", "gemm_batch", "repeat")]
        assert [layer.m, layer.n, layer.k, layer.products, layer.repeat] == expected, layer.name


# --- Area and energy --------------------------------------------------------------------------------------------------


def test_area_is_within_six_per_cent_of_timeloop_on_average(shared_data):
    areas = {}
    for row in read_rows(shared_data / "timeloop_gemmini" / "timeloop_gemmini.csv.gz"):
        side = int(row["arch.meshX"])
        assert int(row["arch.pe"]) == side**2
        kib = []  # entries of a bank or column, times how many of them there are
        for memory in ("mem1", "mem2"):
            words = int(row[f"arch.{memory}_entries"]) * int(row[f"arch.{memory}_instances"])
            kib.append(words * int(row[f"arch.{memory}_word-bits"]) / 8 / 1024)
        areas[side, *kib] = float(row["target.area"])
    assert len(areas) >= 50
    side, accumulator, scratchpad = np.array(list(areas)).T
    # The scratchpad holds inputs and weights; the price of the DRAM interface is our own, so none is bought here.
    hardware = model.Hardware(side, side, scratchpad / 2, scratchpad / 2, accumulator, np.zeros_like(side), None)
    ours = np.asarray(jax.vmap(model.area_mm2, in_axes=(0, None))(hardware, platforms.get_technology("gemmini")))
    error = np.abs(ours / np.array(list(areas.values())) - 1)
    assert error.mean() <= 0.06
    assert error.max() <= 0.20


# ResNet-50 layers (m, n, k, distinct input words). Every ZigZag 3.9.1 preset (int8, EDP-optimal mappings, lpf_limit 4)
# spends less energy per multiply-accumulate on a 3x3 layer than on the first 1x1 layer, and most on the last 1x1 layer.
ZIGZAG_LAYERS = {
    "res50_2x_3x3_64": (56 * 56, 64, 64 * 9, 64 * 56 * 56),
    "res50_4x_3x3_256": (14 * 14, 256, 256 * 9, 256 * 14 * 14),
    "res50_3x_1x1_128_512": (28 * 28, 512, 128, 128 * 28 * 28),
    "res50_5x_1x1_512_2048": (7 * 7, 2048, 512, 512 * 7 * 7),
}


def in_zigzag_order(per_mac):
    first, second, pointwise, last = (per_mac[name] for name in ZIGZAG_LAYERS)
    return max(first, second) < pointwise < last


def test_every_zigzag_preset_ranks_the_layers_by_energy_in_this_order(shared_data):
    presets = {}
    for row in read_rows(shared_data / "zigzag" / "zigzag_3.9.1_resnet50_layers.csv"):
        presets.setdefault(row["hardware"], {})[row["layer"]] = float(row["energy_pJ"]) / float(row["macs"])
    assert len(presets) == 6
    assert all(map(in_zigzag_order, presets.values()))


@pytest.mark.parametrize("dataflow", model.DATAFLOWS)
@pytest.mark.parametrize("scale", [2, 4, 8])  # Gemmini's default, scaled: the references of the three area budgets
def test_energy_per_multiply_accumulate_ranks_the_layers_as_zigzag_does(dataflow, scale):
    layers = [
        workloads.Layer(name, "conv", m, n, k, products=1, repeat=1, ifmap_words=words)
        for name, (m, n, k, words) in ZIGZAG_LAYERS.items()
    ]
    sizes = {"rows": 16, "columns": 16, "ifmap_buffer": 64, "filter_buffer": 64, "ofmap_buffer": 32, "dram_width": 8}
    values = {**{name: size * scale for name, size in sizes.items()}, "dataflow": dataflow}
    table = workloads.Workload("zigzag", tuple(layers), "")
    rows = breakdown.break_down(table, platforms.get_platform("gemmini"), values).rows
    assert in_zigzag_order({row["layer"]: row["energy_j"] / row["macs"] for row in rows})
