"""The mapping-aware model against its oracle, against sets of words, and the properties that any mapping must have."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels import wide
from dsegym.costmodels.accelerator.mapping import model, notation
from dsegym.costmodels.errors import InvalidDesignError

DIMENSIONS = "RSPQCKN"
COUNTS = (
    "cycles",
    "macs",
    "compute_cycles",
    "accumulator_accesses",
    "scratchpad_accesses",
    "dram_accesses",
)
MACHINES = [(2, 8, 1, 8), (4, 64, 16, 8), (16, 128, 32, 1), (128, 2048, 2048, 64)]  # edge, KiB, KiB, words a cycle

exact = jax.jit(model.evaluate)
relaxed = jax.jit(model.evaluate_relaxed)
energies = jax.jit(model.energies)


@pytest.fixture(scope="module")
def oracle():
    return importlib.import_module("mapping_oracle")


@pytest.fixture(scope="module")
def constants(oracle):
    return oracle.read_constants(Path(model.__file__).with_name("constants.csv"))


LOOPS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(DIMENSIONS), st.integers(2, 4)),
    max_size=8,
    unique_by=lambda loop: loop[:2],
).map(lambda loops: [loop for loop in loops if loop[0] or loop[1] in "PQN"])
ORDERS = st.tuples(*[st.permutations(DIMENSIONS)] * 3)
SPACE = st.tuples(st.integers(1, 3), st.integers(1, 4))
WINDOW = st.tuples(st.integers(1, 3), st.integers(1, 3))


def plan_of(oracle, loops, space, orders, stride=(1, 1), dilation=(1, 1)):
    temporal = tuple(dict.fromkeys(DIMENSIONS, 1) for _ in range(4))
    for level, dimension, factor in loops:
        temporal[level][dimension] = factor
    bounds = {d: int(np.prod([level[d] for level in temporal])) for d in DIMENSIONS}
    bounds["C"] *= space[0]
    bounds["K"] *= space[1]
    return oracle.Layer(bounds, stride, dilation), oracle.Plan(temporal, *space, orders)


def arrays_of(layer, plan):
    """The library's form of an oracle's layer and plan."""
    temporal = np.array([[level[d] for d in DIMENSIONS] for level in plan.temporal], np.int32)
    inside = np.stack([model.inside_of([DIMENSIONS.index(d) for d in order]) for order in plan.orders])
    bounds = np.array([layer.bounds[d] for d in DIMENSIONS], np.int32)
    shape = model.LayerShape(bounds, np.array(layer.stride, np.int32), np.array(layer.dilation, np.int32))
    return model.Mapping(temporal, np.int32(plan.rows), np.int32(plan.columns), inside), shape


def hardware_of(machine, dtype=np.int32):
    return model.Hardware(*(np.asarray(size, dtype) for size in machine))


@pytest.mark.slow
@settings(max_examples=300)
@given(LOOPS, SPACE, ORDERS, WINDOW, WINDOW, st.sampled_from(MACHINES))
def test_counts_and_energies_are_those_of_boxes_walked_step_by_step(
    oracle, constants, loops, space, orders, stride, dilation, machine
):
    layer, plan = plan_of(oracle, loops, space, orders, stride, dilation)
    edge, scratchpad, accumulator, dram = machine
    expected = oracle.costs(
        layer,
        plan,
        edge=edge,
        scratchpad_kib=scratchpad,
        accumulator_kib=accumulator,
        dram_words_per_cycle=dram,
        constants=constants,
    )
    mapping, shape = arrays_of(layer, plan)
    costs = exact(mapping, shape, hardware_of(machine))
    assert {name: int(wide.to_int64(getattr(costs, name))) for name in COUNTS} == {n: expected[n] for n in COUNTS}
    parts = energies(costs, hardware_of(machine))._asdict()
    np.testing.assert_allclose(list(parts.values()), [expected[name] for name in parts], rtol=1e-6)
    kept = model.tiles(mapping, shape)
    assert [int(words) for words in kept] == [
        oracle.tile_words(tensor, layer, plan, level)
        for tensor, level in (("weights", 0), ("outputs", 1), ("weights", 2), ("inputs", 2))
    ]


@settings(max_examples=100)
@given(LOOPS, SPACE, ORDERS)
def test_products_of_matrices_fetch_the_words_that_the_tile_before_did_not_have(oracle, loops, space, orders):
    """Without windows no tile overlaps another, so that what Timeloop counts is what sets of words say."""
    layer, plan = plan_of(oracle, [loop for loop in loops if loop[1] not in "RS"][:6], space, orders)
    for tensor, level in (("weights", 0), ("outputs", 1), ("weights", 2), ("inputs", 2)):
        words = oracle.really_fetched(tensor, layer, plan, level)
        assert words == oracle.fetched(tensor, layer, plan, level)


@settings(max_examples=100)
@given(LOOPS, SPACE, ORDERS, WINDOW, st.sampled_from(MACHINES))
def test_the_relaxed_form_equals_the_exact_one_at_whole_factors(oracle, loops, space, orders, stride, machine):
    mapping, shape = arrays_of(*plan_of(oracle, loops, space, orders, stride))
    whole, real = exact(mapping, shape, hardware_of(machine)), relaxed(mapping, shape, hardware_of(machine, np.float32))
    for name, count in whole._asdict().items():
        np.testing.assert_allclose(getattr(real, name), wide.to_int64(count), rtol=1e-6)
    hardware = hardware_of(machine, np.float32)
    np.testing.assert_allclose(energies(real, hardware), energies(whole, hardware), rtol=1e-6)


@settings(max_examples=100)
@given(LOOPS, SPACE, ORDERS, st.sampled_from(MACHINES))
def test_no_layer_takes_less_than_its_temporal_product_or_its_distinct_words(oracle, loops, space, orders, machine):
    layer, plan = plan_of(oracle, loops, space, orders)
    costs = exact(*arrays_of(layer, plan), hardware_of(machine))
    cycles = int(wide.to_int64(costs.cycles))
    bounds = layer.bounds
    assert cycles >= np.prod(list(bounds.values())) // np.prod(space)
    distinct = bounds["R"] * bounds["S"] * bounds["C"] * bounds["K"] + np.prod([bounds[d] for d in "PQKN"])
    distinct += bounds["C"] * bounds["N"] * (bounds["P"] + bounds["R"] - 1) * (bounds["Q"] + bounds["S"] - 1)
    assert int(wide.to_int64(costs.dram_accesses)) >= distinct
    assert cycles * machine[-1] >= distinct


@settings(max_examples=100)
@given(LOOPS, SPACE, ORDERS, st.integers(1, 64), st.integers(1, 64))
def test_more_bandwidth_never_slows_and_larger_buffers_never_overflow(oracle, loops, space, orders, one, other):
    mapping, shape = arrays_of(*plan_of(oracle, loops, space, orders))
    less, more = sorted((one, other))
    slow, fast = (exact(mapping, shape, hardware_of((16, 64, 64, words))) for words in (less, more))
    assert int(wide.to_int64(fast.cycles)) <= int(wide.to_int64(slow.cycles))
    assert wide.to_int64(fast.dram_accesses) == wide.to_int64(slow.dram_accesses)
    small, large = (model.overflow(mapping, shape, hardware_of((16, kib, kib, 8))) for kib in (less, more))
    assert np.all(np.asarray(large) <= np.asarray(small))


def test_the_smallest_hardware_holds_its_mappings_and_no_smaller_one_does(oracle):
    plans = [
        plan_of(oracle, [(1, "C", 3), (1, "P", 4), (2, "K", 2), (3, "Q", 4)], (2, 4), (tuple(DIMENSIONS),) * 3),
        plan_of(oracle, [(1, "R", 3), (2, "P", 4), (3, "K", 2)], (3, 2), (tuple(DIMENSIONS),) * 3),
    ]
    mappings, shapes = jax.tree.map(lambda *leaves: np.stack(leaves), *[arrays_of(*each) for each in plans])
    hardware = model.smallest_hardware(mappings, shapes, 8)
    shares = np.asarray(jax.vmap(model.overflow, in_axes=(0, 0, None))(mappings, shapes, hardware))
    assert shares[:, 2].tolist() == [1, 1]
    np.testing.assert_allclose(shares[:, [1, 3, 4]].max(axis=0), 1, rtol=1e-6)
    assert shares[:, 0].max() <= 1


def test_gradients_in_the_logarithms_of_factors_are_the_slopes():
    """At factors above two everything but the ceilings is smooth."""
    factors = jnp.array(
        [[1, 1, 2.5, 1, 1, 1, 1], [3.1, 2.7, 2.2, 2.4, 5.3, 2.1, 1]] + [[2.3, 2.6, 3.4, 2.9, 4.1, 6.2, 1]] * 2
    )
    inside = np.stack([model.inside_of([C, K, P, Q, R, S, N]) for C, K, P, Q, R, S, N in [(4, 5, 2, 3, 0, 1, 6)] * 3])
    shape = model.LayerShape(np.ones(7, np.int32), np.ones(2, np.int32), np.ones(2, np.int32))

    def energy(logs):
        mapping = model.Mapping(jnp.exp(logs), jnp.float32(4.5), jnp.float32(8.5), inside)
        hardware = hardware_of((16, 128, 32, 8), np.float32)
        return jnp.log(sum(model.energies(model.evaluate_relaxed(mapping, shape, hardware), hardware)))

    logs = jnp.log(factors)
    gradient = jax.jit(jax.grad(energy))(logs)
    assert np.all(np.isfinite(gradient))
    compiled = jax.jit(energy)
    for level, dimension in ((1, 4), (1, 5), (2, 2), (3, 5), (3, 0)):
        step = np.zeros((4, 7), np.float32)
        step[level, dimension] = 0.02
        slope = (compiled(logs + step) - compiled(logs - step)) / 0.04
        np.testing.assert_allclose(gradient[level, dimension], slope, rtol=0.02)


SHAPE = model.LayerShape(np.array([3, 3, 8, 8, 16, 32, 1]), np.array([1, 1]), np.array([1, 1]))
TEXT = "L3[WIO] K2 P4 - L2[WI] Q2 K8X - L1[O] S3 R3 C4 K2 Q4 C4X - L0[W] P2"


def test_a_mapping_s_text_comes_back():
    mapping = notation.parse_mapping(TEXT, SHAPE, "conv")
    assert notation.format_mapping(mapping) == TEXT
    assert (int(mapping.rows), int(mapping.columns)) == (4, 8)
    notation.require_fit(mapping, SHAPE, hardware_of((8, 4, 4, 8)), "conv")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("K2 P4", "K4 P4", "conv: the factors of K multiply to 64, its bound is 32."),
        ("C4X", "C4X C1X", "conv, level L1 (accumulator): 'C1X': space has one factor of C at L1, and one of K at L2."),
        ("Q2 K8X", "Q2 C8X", "conv, level L2 (scratchpad): 'C8X': space has"),
        ("P4 -", "P4 K2 -", "conv, level L3 (dram): 'K2': K has a loop there already."),
        ("L0[W] P2", "L0[W] P2 C2", "conv, level L0 (registers): 'C2' changes the weight"),
        ("S3", "S0", "conv, level L1 (accumulator): 'S0' is no loop"),
        ("S3", "3S", "conv, level L1 (accumulator): '3S' is no loop"),
        (" - L0[W] P2", "", "conv: the mapping 'L3[WIO]"),
        ("L1[O]", "L1[W]", "conv: the mapping 'L3[WIO]"),
    ],
)
def test_a_wrong_mapping_is_refused_in_a_sentence_that_names_layer_and_level(old, new, said):
    with pytest.raises(InvalidDesignError) as caught:
        notation.parse_mapping(TEXT.replace(old, new, 1), SHAPE, "conv")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ((8, 4, 0, 8), "accumulator_kib = 0 is not allowed; allowed: any number above 0."),
        ((8, 4, 4, -1), "dram_words_per_cycle = -1 is not allowed"),
        ((4, 64, 64, 8), "conv: the mapping needs 2 times what the array's columns can hold."),
        ((2, 64, 64, 8), "conv: the mapping needs 2 times what the array's rows can hold."),
        ((8, 2, 64, 8), "what the scratchpad can hold."),
        ((64, 64, 1, 8), "what the accumulator can hold."),
    ],
)
def test_a_machine_that_cannot_hold_a_mapping_is_refused_with_the_level(machine, said):
    with pytest.raises(InvalidDesignError) as caught:
        notation.require_fit(notation.parse_mapping(TEXT, SHAPE, "conv"), SHAPE, hardware_of(machine), "conv")
    assert said in str(caught.value)
