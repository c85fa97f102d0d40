"""The systolic-array model against its oracle, and the properties that any design and layer must have."""

import math
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels import wide
from dsegym.costmodels.accelerator import model, platforms, workloads

ARRAY = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
BUFFER_KIB = tuple(2**power for power in range(3, 12))
DRAM_WORDS = tuple(2**power for power in range(1, 9))
WORKLOADS = workloads.workload_names()
FLOATS = ("latency_s", "energy_j", "area_mm2", "utilisation")
PARTS = ("mac_energy_j", "sram_energy_j", "accumulator_energy_j", "dram_energy_j")
EXACT = ("compute_cycles", "cycles", "dram_words")

TECHNOLOGY_TABLE = Path(platforms.__file__).with_name("technology.csv")
WORKLOAD_TABLES = Path(platforms.__file__).with_name("workload_tables")


def technology_of(oracle, platform):
    return oracle.read_technology(TECHNOLOGY_TABLE, platforms.PLATFORMS[platform][0])


def conventions(platform):
    _, _, ports, traffic, _ = platforms.PLATFORMS[platform]
    return {"ports": ports, "traffic": traffic, "near_memory": (4, 4) if platform == "duplex" else None}


def random_designs(oracle, seed, count):
    generator = np.random.default_rng(seed)
    choices = (ARRAY, ARRAY, BUFFER_KIB, BUFFER_KIB, BUFFER_KIB, DRAM_WORDS)
    columns = [generator.choice(values, count).tolist() for values in choices]
    return [oracle.Design(*row) for row in zip(*columns, generator.choice(["ws", "os", "is"], count), strict=True)]


def random_products(oracle, seed, count):
    """Products log-uniform in size, as large as the loader lets them be."""
    generator = np.random.default_rng(seed)
    products = []
    while len(products) < count:
        m, n, k, repeats = (int(2**power) for power in generator.uniform(0, [18, 14, 14, 8]))
        if max(m * n, n * k, m * k) < 2**31 and m * n * k * repeats < 2**44:
            products.append(oracle.Product(m, n, k, int(generator.integers(1, m * k, endpoint=True)), repeats))
    return products


def assert_pairs_agree(oracle, run_pairs, designs, products, platform):
    exact, efficiency = run_pairs(designs, products, platform)
    technology = technology_of(oracle, platform)
    for index, (design, product) in enumerate(zip(designs, products, strict=True)):
        expected, occupied = oracle.layer_costs(design, product, technology, **conventions(platform))
        assert {name: int(exact[name][index]) for name in expected} == expected, (design, product)
        assert efficiency[index] == pytest.approx(occupied, rel=1e-6)


# --- Agreement with the oracle ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", platforms.PLATFORMS)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_random_designs_of_every_shipped_workload_cost_what_the_oracle_says(oracle, run_network, workload, platform):
    designs = random_designs(oracle, seed=len(workload), count=16)
    products, technology = oracle.read_workload(WORKLOAD_TABLES / f"{workload}.csv"), technology_of(oracle, platform)
    metrics = run_network(designs, workloads.get_workload(workload).distinct, platform)
    for index, design in enumerate(designs):
        expected = oracle.network_costs(design, products, technology, clock_hz=1e9, **conventions(platform))
        assert {name: int(getattr(metrics, name)[index]) for name in EXACT} == {name: expected[name] for name in EXACT}
        for name in (*FLOATS, *PARTS):
            assert getattr(metrics, name)[index] == pytest.approx(expected[name], rel=1e-5), (name, design)


@pytest.mark.slow
@pytest.mark.parametrize("platform", platforms.PLATFORMS)
def test_random_products_on_random_designs_cost_what_the_oracle_says(oracle, run_pairs, platform):
    designs, products = random_designs(oracle, 1, 640), random_products(oracle, 2, 640)
    assert_pairs_agree(oracle, run_pairs, designs, products, platform)


sizes = st.one_of(st.integers(1, 300), st.integers(1, 2**14), st.integers(0, 15).map(lambda power: 2**power))
design_fields = st.tuples(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 4096),
    st.integers(1, 4096),
    st.integers(1, 4096),
    st.integers(1, wide.MAX_DIVISOR),
    st.sampled_from(["ws", "os", "is"]),
)
product_fields = st.tuples(sizes, sizes, sizes, st.floats(0, 1), st.integers(1, 64))


def product_of(oracle, fields):
    """A product that the loader accepts; the fourth field says how much of the operand the distinct words are."""
    m, n, k, share, count = fields
    m = min(m, 2**31 // max(n, k) - 1)
    return oracle.Product(m, n, k, max(1, math.floor(share * m * k)), count)


@pytest.mark.slow
@pytest.mark.parametrize("platform", platforms.PLATFORMS)
@settings(max_examples=40, deadline=None)
@given(pairs=st.lists(st.tuples(design_fields, product_fields), min_size=8, max_size=64))
def test_any_product_on_any_design_costs_what_the_oracle_says(oracle, run_pairs, platform, pairs):
    designs = [oracle.Design(*design) for design, _ in pairs]
    products = [product_of(oracle, product) for _, product in pairs]
    assert_pairs_agree(oracle, run_pairs, designs, products, platform)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_merged_rows_have_the_totals_of_the_rows_in_order(oracle, run_network, workload):
    designs = random_designs(oracle, 5, 16)
    table = workloads.get_workload(workload)
    merged, in_order = (run_network(designs, layers, "gemmini") for layers in (table.distinct, table.in_order))
    assert len(table.distinct.m) <= len(table.in_order.m) + workloads.tables.VECTOR
    for name in EXACT:
        np.testing.assert_array_equal(getattr(merged, name), getattr(in_order, name))


# --- Properties -------------------------------------------------------------------------------------------------------


def better_designs(oracle, field, factor=2, count=320):
    """Random pairs, and the same with more of one thing."""
    designs, products = random_designs(oracle, 3, count), random_products(oracle, 4, count)
    more = [oracle.Design(**{**vars(design), field: getattr(design, field) * factor}) for design in designs]
    return designs, more, products


def dram_words(exact):
    return exact["ifmap_dram_words"] + exact["filter_dram_words"] + exact["ofmap_dram_words"]


@pytest.mark.parametrize("platform", platforms.PLATFORMS)
def test_more_bandwidth_is_never_slower(oracle, run_pairs, platform):
    designs, more, products = better_designs(oracle, "dram_words_per_cycle")
    before, after = (run_pairs(some, products, platform)[0] for some in (designs, more))
    assert (after["cycles"] <= before["cycles"]).all()
    assert (after["cycles"] < before["cycles"]).any()
    if platform != "duplex":  # whose engines grow at different rates, so that a product may change engines
        np.testing.assert_array_equal(dram_words(after), dram_words(before))


def test_the_engine_near_memory_takes_what_reuses_little_and_leaves_the_rest():
    """A matrix-vector product is four times as fast as its words through the port; a large product stays put."""
    hardware = model.Hardware(*(np.int32(size) for size in (64, 64, 256, 256, 256, 16)), dataflow=np.int32(0))
    vector, matrix = [1, 4096, 4096, 4096, 1], [4096, 4096, 4096, 4096 * 4096, 1]
    layers = workloads.LayerArrays(*np.array([vector, matrix], np.int32).T)
    one, two = (
        wide.to_int64(model.evaluate_layers(hardware, layers, platforms.get_platform(name)).cycles)
        for name in ("gemmini", "duplex")
    )
    words = 4096 * 4096 + 2 * 4096
    assert two.tolist() == [words // 64, one[1]]
    assert one[0] >= words // 16


@pytest.mark.parametrize("buffer", ["ifmap_kib", "filter_kib", "ofmap_kib"])
def test_a_larger_buffer_never_moves_more_and_is_never_slower(oracle, run_pairs, buffer):
    designs, more, products = better_designs(oracle, buffer)
    before, after = (run_pairs(some, products, "gemmini")[0] for some in (designs, more))
    assert (dram_words(after) <= dram_words(before)).all()
    assert (dram_words(after) < dram_words(before)).any()
    assert (after["cycles"] <= before["cycles"]).all()


def test_tiled_traffic_is_never_below_compulsory_traffic(oracle, run_pairs):
    designs, products = random_designs(oracle, 6, 320), random_products(oracle, 7, 320)
    tiled, compulsory = (run_pairs(designs, products, platform)[0] for platform in ("gemmini", "scalesim"))
    for operand in ("ifmap_dram_words", "filter_dram_words", "ofmap_dram_words"):
        assert (tiled[operand] >= compulsory[operand]).all()
    assert (dram_words(tiled) > dram_words(compulsory)).any()


def test_huge_buffers_leave_only_compulsory_traffic_to_an_output_stationary_array(oracle, run_pairs):
    products = random_products(oracle, 8, 320)
    designs = [oracle.Design(32, 32, 2**20, 2**20, 1, 8, "os")] * len(products)
    products = [product for product in products if product.m * product.k < 2**29 and product.n * product.k < 2**29]
    designs = designs[: len(products)]
    tiled, compulsory = (run_pairs(designs, products, platform)[0] for platform in ("gemmini", "scalesim"))
    np.testing.assert_array_equal(dram_words(tiled), dram_words(compulsory))


@pytest.mark.parametrize("platform", platforms.PLATFORMS)
def test_cycles_are_at_least_compute_cycles_and_utilisation_is_a_share(oracle, run_network, run_pairs, platform):
    designs, products = random_designs(oracle, 9, 320), random_products(oracle, 10, 320)
    exact, efficiency = run_pairs(designs, products, platform)
    assert (exact["cycles"] >= exact["compute_cycles"]).all()
    near_memory = conventions(platform)["near_memory"]
    elements = np.array([oracle.multipliers(design, near_memory) for design in designs])
    utilisation = exact["macs"] / (exact["cycles"] * elements)
    assert ((utilisation > 0) & (utilisation <= 1)).all()
    assert ((efficiency > 0) & (efficiency <= 1)).all()
    network = run_network(designs[:16], workloads.get_workload("resnet50").distinct, platform).utilisation
    assert ((network > 0) & (network <= 1)).all()


def test_every_share_of_the_energy_is_positive_and_they_add_up(oracle, run_network):
    layers = workloads.get_workload("mobilenet_v2").distinct
    metrics = run_network(random_designs(oracle, 11, 16), layers, "eyeriss")
    parts = np.stack([getattr(metrics, name) for name in PARTS])
    assert (parts > 0).all()
    np.testing.assert_allclose(parts.sum(axis=0), metrics.energy_j, rtol=1e-6)


# --- Numerics ---------------------------------------------------------------------------------------------------------


def test_results_do_not_depend_on_the_batch_size_bit_for_bit(oracle, hardware_of):
    evaluate = jax.jit(jax.vmap(model.evaluate, in_axes=(0, None, None)), static_argnums=2)
    layers, platform = workloads.get_workload("resnet50").distinct, platforms.get_platform("gemmini")
    hardware = hardware_of(random_designs(oracle, 12, 128))
    whole = evaluate(hardware, layers, platform)
    for size in (1, 7):
        for start in (0, 35, 128 - size):
            lanes = slice(start, start + size)
            part = evaluate(model.Hardware(*(column[lanes] for column in hardware)), layers, platform)
            for alone, together in zip(jax.tree.leaves(part), jax.tree.leaves(whole), strict=True):
                np.testing.assert_array_equal(alone, together[lanes])


def test_without_jit_and_vmap_one_design_costs_the_same(oracle, run_network, hardware_of):
    designs = random_designs(oracle, 13, 2)
    layers = workloads.get_workload("alexnet").distinct
    batched = run_network(designs, layers, "gemmini")
    hardware = jax.tree.map(lambda column: jnp.asarray(column[1]), hardware_of(designs))
    alone = model.evaluate(hardware, jax.tree.map(jnp.asarray, layers), platforms.get_platform("gemmini"))
    assert {name: wide.to_int64(getattr(alone, name)) for name in EXACT} == {
        name: getattr(batched, name)[1] for name in EXACT
    }
    for name in (*FLOATS, *PARTS):
        assert float(getattr(alone, name)) == pytest.approx(getattr(batched, name)[1], rel=1e-5)


def test_counts_are_the_same_whether_64_bit_types_are_on_or_off(oracle, run_network):
    assert not jax.config.jax_enable_x64
    designs, layers = random_designs(oracle, 14, 16), workloads.get_workload("llama2_7b_prefill2048").distinct
    off = run_network(designs, layers, "gemmini")
    with jax.enable_x64(True):
        assert jnp.arange(3.0).dtype == np.float64
        on = run_network(designs, layers, "gemmini")
    assert max(off.cycles) > 2**32, "the workload is meant to overflow 32 bits"
    for name in EXACT:
        np.testing.assert_array_equal(getattr(off, name), getattr(on, name))
    for name in (*FLOATS, *PARTS):
        np.testing.assert_allclose(getattr(off, name), getattr(on, name), rtol=1e-5)


def test_the_global_configuration_of_jax_stays_as_it_was():
    """In a fresh interpreter, since an earlier test may have changed it already."""
    program = """
import jax
before = dict(jax.config.values)
import dsegym
problem = dsegym.make_problem("dsegym/AcceleratorSizing-v0", workload="alexnet")
problem.evaluate([0] * 7)
assert dict(jax.config.values) == before
"""
    subprocess.run([sys.executable, "-c", program], check=True)
