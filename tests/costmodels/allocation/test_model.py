"""The packing model against the plain Python oracle, and its properties; generators and bounds."""

import functools
import hashlib
import importlib
from dataclasses import replace

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given, settings

from dsegym.costmodels.allocation import bounds, heuristics, model
from dsegym.costmodels.allocation.generator import KINDS, generate, is_generated_name
from dsegym.costmodels.allocation.instance import MAX_UNITS, AllocationInstance, Buffer, overlapping_pair
from dsegym.envs.memory.allocation import GENERATED

PLACEMENTS = tuple(model.PLACEMENTS)
COUNT = 12  # buffers of the random instances, so that one compiled program serves all of them
# SHA-256 of the generated tables, shortened.
DIGESTS = {
    "perfect_30_s2": "1e0768e1900a",
    "perfect_60_s1": "0d4399552777",
    "perfect_60_s4": "110f6b195093",
    "perfect_100_s2": "110af4c2dd07",
    "layered_40_s4": "8e083a51bd9c",
    "layered_100_s1": "d19bc993c84c",
}
both_placements = pytest.mark.parametrize("placement", PLACEMENTS)

_pack = jax.jit(jax.vmap(model.pack, in_axes=(0, None, None)), static_argnums=2)
_pack_one = jax.jit(model.pack, static_argnums=2)


@pytest.fixture(scope="module")
def oracle():
    """The plain Python model of `allocation_oracle.py`."""
    return importlib.import_module("allocation_oracle")


def rows_of(instance):
    return [(buffer.lower, buffer.upper, buffer.size) for buffer in instance.buffers]


def instance_of(rows, capacity=2**40):
    return AllocationInstance("test", tuple(Buffer(f"b{i}", *row) for i, row in enumerate(rows)), capacity)


def random_orders(count, buffers, seed=0):
    generator = np.random.default_rng(seed)
    return np.stack([generator.permutation(buffers) for _ in range(count)]).astype(np.int32)


def assert_packs_as_the_oracle(oracle, instance, orders, placement):
    peaks, offsets = _pack(orders, instance.arrays, placement)
    rows = rows_of(instance)
    for order, peak, places in zip(orders.tolist(), peaks, offsets, strict=True):
        expected_peak, expected = oracle.pack(rows, order, placement)
        assert (np.asarray(places).astype(np.int64) * instance.unit).tolist() == expected
        assert int(peak) * instance.unit == expected_peak


@st.composite
def tables(draw, times=8, sizes=6):
    """COUNT buffers with few distinct times and sizes, so that ties and equal gaps are frequent."""
    rows = []
    for _ in range(COUNT):
        lower = draw(st.integers(0, times - 1))
        rows.append((lower, draw(st.integers(lower + 1, times)), draw(st.integers(1, sizes))))
    return rows


# --- Against the oracle -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@both_placements
@pytest.mark.parametrize("name", GENERATED)
def test_generated_instances_pack_as_the_oracle_packs_them(oracle, name, placement):
    instance = generate(name)
    assert_packs_as_the_oracle(oracle, instance, random_orders(3, len(instance)), placement)


@both_placements
@settings(max_examples=60, deadline=None)
@given(rows=tables(), order=st.permutations(range(COUNT)))
def test_any_table_packs_in_any_order_as_the_oracle_packs_it(oracle, placement, rows, order):
    assert_packs_as_the_oracle(oracle, instance_of(rows), np.array([order], np.int32), placement)


@pytest.mark.slow
@both_placements
@pytest.mark.parametrize("buffers", [1, 2, 8, 9, 17])
def test_every_number_of_buffers_packs_as_the_oracle_packs_it(oracle, buffers, placement):
    generator = np.random.default_rng(buffers)
    lower = generator.integers(0, buffers, buffers)
    rows = [
        (int(low), int(low + life), int(size) * 7)
        for low, life, size in zip(
            lower, generator.integers(1, 9, buffers), generator.integers(1, 50, buffers), strict=True
        )
    ]
    assert_packs_as_the_oracle(oracle, instance_of(rows), random_orders(4, buffers), placement)


def test_the_best_fit_takes_the_tightest_gap_and_of_equal_ones_the_lowest(oracle):
    # Floors at time 0 leave gaps of 3, 2 and 2 below a lid; the last buffer (size 2) is live beside them.
    rows = [(0, 1, 1), (1, 2, 4), (0, 2, 1), (1, 2, 2), (0, 2, 1), (1, 2, 2), (0, 2, 1), (0, 1, 2)]
    instance = instance_of(rows)
    orders = random_orders(40, len(rows), seed=3)
    assert_packs_as_the_oracle(oracle, instance, orders, "best_fit")
    first, best = (_pack(orders, instance.arrays, placement)[1] for placement in PLACEMENTS)
    assert (np.asarray(first) != np.asarray(best)).any(), "the orders do not tell the placements apart"


def test_a_worked_example_by_hand():
    # a [0,2) 4, b [1,3) 2, c [2,4) 4: in the order b, a, c: b at 0; a above it at 2; c above b at 2.
    instance = instance_of([(0, 2, 4), (1, 3, 2), (2, 4, 4)])
    peak, offsets = _pack_one(np.array([1, 0, 2], np.int32), instance.arrays, "first_fit")
    assert instance.unit == 2
    assert (np.asarray(offsets) * 2).tolist() == [2, 0, 2]
    assert int(peak) * 2 == 6 == bounds.max_load(instance)


@both_placements
@pytest.mark.parametrize("name", ["perfect_30_s2", "layered_40_s4"])
def test_the_order_of_ranks_is_the_oracles_and_ties_go_to_the_larger_buffer(oracle, name, placement):
    del placement
    instance = generate(name)
    by_size = heuristics.rule_order(instance, "size_descending_first_fit")
    generator, rows = np.random.default_rng(1), rows_of(instance)
    designs = generator.integers(0, len(instance), (20, len(instance)), dtype=np.int32)
    designs[0] = 0
    orders = np.asarray(jax.jit(model.order_of)(designs, by_size))
    assert orders.tolist() == [oracle.order_of(design, rows) for design in designs.tolist()]


# --- Lanes ------------------------------------------------------------------------------------------------------------


@both_placements
def test_lanes_pack_as_one_order_alone(placement):
    instance = generate("perfect_60_s1")
    orders = random_orders(5, 60)
    peaks, offsets = _pack(orders, instance.arrays, placement)
    for order, peak, places in zip(orders, peaks, offsets, strict=True):
        alone = _pack_one(order, instance.arrays, placement)
        assert int(alone[0]) == int(peak)
        np.testing.assert_array_equal(alone[1], places)


def test_many_lanes_are_packed_in_chunks_with_the_same_peaks():
    instance = generate("perfect_30_s2")
    orders = random_orders(150, 30)
    peaks, offsets = _pack(orders, instance.arrays, "first_fit")
    ends = np.asarray(offsets) + np.asarray(instance.arrays.size)
    np.testing.assert_array_equal(peaks, ends.max(axis=1))
    only = jax.jit(jax.vmap(model.peak_of, in_axes=(0, None)))(orders, instance.arrays)
    np.testing.assert_array_equal(only, peaks)
    again, _ = _pack(orders[140:], instance.arrays, "first_fit")
    np.testing.assert_array_equal(again, peaks[140:])


@pytest.mark.slow
@both_placements
def test_all_lanes_at_once_as_on_an_accelerator_pack_as_chunks_do(placement):
    instance = generate("layered_40_s4")
    orders = random_orders(200, 40)
    for with_offsets in (False, True):
        pack = [
            jax.jit(functools.partial(how, placement=placement, with_offsets=with_offsets))
            for how in (model._pack_lanes, model._pack_chunks, model._pack_batch)
        ]
        at_once, *others = (jax.tree.map(np.asarray, each(orders, instance.arrays)) for each in pack)
        for other in others:
            jax.tree.map(np.testing.assert_array_equal, other, at_once)


def test_instances_side_by_side_pack_as_each_alone():
    instances = [generate(f"perfect_30_s{seed}") for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(instance.arrays for instance in instances))
    orders = random_orders(3, 30)
    peaks, _ = jax.jit(jax.vmap(model.pack))(orders, stacked)
    shared, _ = jax.jit(jax.vmap(model.pack, in_axes=(None, 0)))(orders[0], stacked)
    for i, instance in enumerate(instances):
        assert int(peaks[i]) == int(_pack_one(orders[i], instance.arrays, "first_fit")[0])
        assert int(shared[i]) == int(_pack_one(orders[0], instance.arrays, "first_fit")[0])


# --- Properties -------------------------------------------------------------------------------------------------------


@both_placements
@settings(max_examples=40, deadline=None)
@given(rows=tables(), order=st.permutations(range(COUNT)))
def test_no_two_buffers_overlap_and_the_peak_is_at_least_the_load(oracle, placement, rows, order):
    instance = instance_of(rows)
    peak, offsets = _pack_one(np.array(order, np.int32), instance.arrays, placement)
    offsets = np.asarray(offsets) * instance.unit
    assert oracle.overlaps(rows, offsets.tolist()) == []
    assert overlapping_pair(instance, offsets) is None
    assert int(peak) * instance.unit == oracle.peak(rows, offsets)
    load = bounds.max_load(instance)
    assert load == oracle.load(rows)
    assert load <= int(peak) * instance.unit <= instance.sizes.sum()


@both_placements
@settings(max_examples=25, deadline=None)
@given(rows=tables(), order=st.permutations(range(COUNT)), lines=st.permutations(range(COUNT)))
def test_the_order_of_the_lines_of_a_table_does_not_matter(placement, rows, order, lines):
    shuffled = instance_of([rows[line] for line in lines])
    where = {line: position for position, line in enumerate(lines)}
    same_order = np.array([where[buffer] for buffer in order], np.int32)
    before = _pack_one(np.array(order, np.int32), instance_of(rows).arrays, placement)
    after = _pack_one(same_order, shuffled.arrays, placement)
    assert int(before[0]) == int(after[0])
    np.testing.assert_array_equal(np.asarray(before[1])[list(lines)], after[1])


@settings(max_examples=40, deadline=None)
@given(rows=tables(), order=st.permutations(range(COUNT)))
def test_first_fit_by_ascending_address_never_raises_a_packing(rows, order):
    """Hence some order reaches the optimum."""
    instance = instance_of(rows)
    for placement in PLACEMENTS:
        peak, offsets = _pack_one(np.array(order, np.int32), instance.arrays, placement)
        settled = np.argsort(heuristics.design_of_offsets(offsets)).astype(np.int32)
        again, lower = _pack_one(settled, instance.arrays, "first_fit")
        assert int(again) <= int(peak)
        assert (np.asarray(lower) <= np.asarray(offsets)).all()


@settings(max_examples=25, deadline=None)
@given(rows=tables(), order=st.permutations(range(COUNT)), times=st.integers(1, 1000), sizes=st.integers(1, 1000))
def test_scaling_times_changes_nothing_and_scaling_sizes_scales_the_peak(rows, order, times, sizes):
    order = np.array(order, np.int32)
    plain, scaled = (
        instance_of([(lower * t - 5 * (t > 1), upper * t - 5 * (t > 1), size * s) for lower, upper, size in rows])
        for t, s in ((1, 1), (times, sizes))
    )
    before, after = (_pack_one(order, instance.arrays, "first_fit") for instance in (plain, scaled))
    assert int(after[0]) * scaled.unit == int(before[0]) * plain.unit * sizes
    assert bounds.max_load(scaled) == bounds.max_load(plain) * sizes


@settings(max_examples=25, deadline=None)
@given(rows=tables(), seed=st.integers(0, 1000))
def test_a_buffer_more_at_the_end_of_the_order_never_lowers_the_peak(rows, seed):
    """First fit has anomalies: a buffer more in the midst of the order may lower it."""
    order = random_orders(1, COUNT, seed)[0]
    instance = instance_of(rows)
    _, offsets = _pack_one(order, instance.arrays, "first_fit")
    ends = (np.asarray(offsets) + np.asarray(instance.arrays.size))[order]
    peaks = np.maximum.accumulate(ends)
    for length in (COUNT - 1, COUNT // 2):
        head = order[:length]
        shorter = replace(instance, buffers=tuple(instance.buffers[b] for b in head))
        places = heuristics.place(shorter, np.arange(length), "first_fit") // instance.unit
        np.testing.assert_array_equal(places, np.asarray(offsets)[head])
        assert int((places + np.asarray(instance.arrays.size)[head]).max()) == peaks[length - 1]


def test_the_largest_sizes_that_an_instance_may_have_are_exact():
    size = MAX_UNITS // 4 - 1
    rows = [(0, 4, size), (0, 4, size - 1), (0, 4, size), (0, 4, size)]
    peak, offsets = _pack_one(np.array([3, 1, 0, 2], np.int32), instance_of(rows).arrays, "first_fit")
    assert int(peak) == 4 * size - 1
    assert np.asarray(offsets).tolist() == [2 * size - 1, size, 3 * size - 1, 0]


def test_a_common_divisor_above_31_bits_is_split():
    instance = instance_of([(0, 1, 3 * 2**40), (0, 1, 2**40)], 2**45)
    assert instance.unit == 2**30
    assert bounds.max_load(instance) == 4 * 2**40


# --- Generated instances ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["perfect_2_s0", "perfect_30_s2", "perfect_60_s1", "perfect_100_s2", "perfect_300_s9"])
def test_a_perfect_instance_fills_its_rectangle_and_first_fit_finds_its_packing(name):
    instance = generate(name)
    assert len(instance) == int(name.split("_")[1])
    assert overlapping_pair(instance, instance.offsets) is None
    area = sum(buffer.size * (buffer.upper - buffer.lower) for buffer in instance.buffers)
    assert area == instance.capacity * (instance.uppers.max() - instance.lowers.min())
    assert (bounds.live_bytes(instance)[1][:-1] == instance.capacity).all()
    order = np.argsort(heuristics.design_of_offsets(instance.offsets))
    for placement in PLACEMENTS:
        np.testing.assert_array_equal(heuristics.place(instance, order, placement), instance.offsets)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3, 5, 40, 500])
def test_an_instance_has_as_many_buffers_as_its_name_says_and_distinct_ids(kind, count):
    instance = generate(f"{kind}_{count}_s7")
    assert len({buffer.id for buffer in instance.buffers}) == len(instance) == count
    assert all(buffer.lower < buffer.upper and buffer.size > 0 for buffer in instance.buffers)
    assert bounds.max_load(instance) <= instance.capacity


def test_generated_instances_stay_what_they_are():
    """Results are stored under an instance's name."""
    digests = {name: hashlib.sha256(repr(rows_of(generate(name))).encode()).hexdigest()[:12] for name in GENERATED}
    assert digests == DIGESTS


@pytest.mark.parametrize("name", ["perfect_30_s0", "layered_500_s12"])
def test_names_of_generated_instances_are_known(name):
    assert is_generated_name(name)


@pytest.mark.parametrize(
    "name", ["perfect_1_s0", "perfect_501_s0", "perfect_30_s01", "perfect_030_s1", "cut_30_s0", ""]
)
def test_other_names_are_not(name):
    assert not is_generated_name(name)
