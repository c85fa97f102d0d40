"""The mapping game: splits, what is moved where it does not fit, networks against the oracle, rules and the bound."""

import importlib
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsegym.costmodels import wide
from dsegym.costmodels.accelerator.mapping import bounds, breakdown, encoding, heuristics, model, network, notation
from dsegym.costmodels.accelerator.workloads import get_workload, load_workload, workload_names
from dsegym.costmodels.errors import InvalidWorkloadError, UnknownNameError

DIMENSIONS = "RSPQCKN"
COLUMNS = (
    "layer,kind,in_channels,out_channels,in_height,in_width,kernel_height,kernel_width,stride,padding,groups,batch"
)
NETWORK = f"""{COLUMNS},repeat,m,n,k
stem,conv,3,32,31,32,3,5,2,1x2,1,2,1,,,
body,conv,64,64,8,8,3,3,1,1,2,1,3,,,
head,gemm,,,,,,,,,,1,1,17,1000,46
"""


@pytest.fixture(scope="module")
def oracle():
    return importlib.import_module("mapping_oracle")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "small.csv"
    path.write_text(NETWORK)
    return network.Network.of(load_workload(path))


@pytest.fixture(scope="module")
def decode(small):
    tables = encoding.tables(small)
    return jax.jit(jax.vmap(lambda design: encoding.decode(design, tables, small.arrays, np.int32(8))))


def designs_of(nests, count, seed=0):
    sizes = [len(values) for values in encoding.choices(nests).values()]
    return np.random.default_rng(seed).integers(0, sizes, (count, len(sizes))).astype(np.int32)


def test_layers_keep_their_loops_and_rough_bounds_are_padded(small):
    assert small.names == ("stem", "body", "head")
    assert small.occurrences == (1, 6, 1)  # two groups, three times
    stem, body, head = small.loops
    assert stem.bounds == (5, 3, 16, 16, 3, 32, 2)
    assert (stem.strides, stem.dilations) == ((2, 2), (1, 1))
    assert body.bounds == (3, 3, 8, 8, 32, 32, 1)
    assert head.bounds == (1, 1, 18, 1, 48, 1000, 1)  # 17 and 46 = 2 x 23 have primes above 13


@given(st.integers(1, 10**6))
def test_a_padded_bound_is_the_bound_but_for_its_large_primes(bound):
    padded = network.padded(bound)
    rest, kept = padded, 1
    for prime in (2, 3, 5, 7, 11, 13):
        while rest % prime == 0:
            rest //= prime
        while bound % (kept * prime) == 0:
            kept *= prime
    assert rest == 1
    assert padded >= bound
    assert padded % kept == 0
    assert kept < bound or padded == bound


@pytest.mark.parametrize("name", workload_names())
def test_every_shipped_network_has_a_space_and_keeps_its_work(name):
    nests = network.Network.of(get_workload(name))
    macs = sum(math.prod(nest.bounds) * count for nest, count in zip(nests.loops, nests.occurrences, strict=True))
    assert get_workload(name).macs <= macs < 1.02 * get_workload(name).macs
    assert len(encoding.choices(nests)) > 3 * len(nests.loops)


@given(st.integers(1, 400), st.integers(2, 4))
def test_splits_are_all_ordered_products_and_each_once(bound, slots):
    found = encoding.splits(bound, slots)
    assert len(set(found)) == len(found)
    assert all(math.prod(factors) == bound for factors in found)
    count, rest = 1, bound
    for prime in range(2, bound + 1):
        power = 0
        while rest % prime == 0:
            rest, power = rest // prime, power + 1
        count *= math.comb(power + slots - 1, slots - 1)
    assert len(found) == count


def moved_by_hand(temporal, rows, columns, shape, hardware):
    """The documented order of moves, one after another: {(level, dimension): factor}."""
    names = {name: number for number, name in enumerate(DIMENSIONS)}
    temporal = temporal.astype(int).copy()
    if rows > hardware.edge:
        temporal[1, names["C"]], rows = temporal[1, names["C"]] * rows, 1
    if columns > hardware.edge:
        temporal[1, names["K"]], columns = temporal[1, names["K"]] * columns, 1

    def extent(name, level):
        space = (rows if name == "C" else 1) * (columns if name == "K" and level == 2 else 1)
        return int(np.prod(temporal[: level + 1, names[name]])) * space

    def outputs_fit():
        words = math.prod(extent(each, 1) for each in "PQKN")
        return words * hardware.edge <= hardware.accumulator_kib * 256

    def operands_fit():
        weights = math.prod(extent(each, 2) for each in "RSCK")
        across, down = (
            (extent(out, 2) - 1) * shape.strides[axis] + (extent(kernel, 2) - 1) * shape.dilations[axis] + 1
            for axis, (out, kernel) in enumerate(("PR", "QS"))
        )
        return weights + across * down * extent("C", 2) * extent("N", 2) <= hardware.scratchpad_kib * 1024

    for name in "NKQP":
        if not outputs_fit():
            temporal[2, names[name]] *= temporal[1, names[name]]
            temporal[1, names[name]] = 1
    for level in (2, 1):
        for name in "NCKQPSR":
            if not operands_fit():
                temporal[3, names[name]] *= temporal[level, names[name]]
                temporal[level, names[name]] = 1
    if not operands_fit():
        temporal[3, names["C"]], rows = temporal[3, names["C"]] * rows, 1
    assert outputs_fit()
    assert operands_fit()
    return temporal, rows, columns


@pytest.mark.slow
def test_every_design_multiplies_to_the_bounds_and_fits_after_the_documented_moves(small, decode):
    designs = designs_of(small, 300)
    machines, mappings = jax.device_get(decode(designs))
    tables, moved, kept = encoding.tables(small), 0, 0
    for at, design in enumerate(designs):
        hardware = model.Hardware(*(int(values[at]) for values in machines))
        assert hardware[:3] == tuple(int(t[i]) for t, i in zip(tables.hardware, design, strict=False))
        for layer, nest in enumerate(small.loops):
            mapping = jax.tree.map(lambda leaf, at=at, layer=layer: leaf[at, layer], mappings)
            shape = small.shape(layer)
            assert notation.parse_mapping(notation.format_mapping(mapping), shape, "layer").temporal.shape == (4, 7)
            notation.require_fit(mapping, shape, hardware, "layer")
            chosen = tables.splits[tables.first[layer] + np.append(design, 0)[tables.place[layer]]]
            given_temporal = np.concatenate([np.ones((1, 7), int), chosen[:, 1:].T])
            temporal, rows, columns = moved_by_hand(given_temporal, chosen[4, 0], chosen[5, 0], shape, hardware)
            np.testing.assert_array_equal(mapping.temporal, temporal)
            assert (int(mapping.rows), int(mapping.columns)) == (rows, columns)
            assert np.prod(temporal, axis=0)[4] * rows == nest.bounds[4]
            same = np.array_equal(temporal, given_temporal)
            moved, kept = moved + (not same), kept + same
    assert min(moved, kept) > 50


def plan_of(oracle, nest, mapping):
    places = np.asarray(mapping.inside).sum(axis=2)
    orders = tuple("".join(DIMENSIONS[d] for d in np.argsort(level)) for level in places)
    temporal = tuple({d: int(f) for d, f in zip(DIMENSIONS, level, strict=True)} for level in mapping.temporal)
    layer = oracle.Layer(dict(zip(DIMENSIONS, nest.bounds, strict=True)), nest.strides, nest.dilations)
    return layer, oracle.Plan(temporal, int(mapping.rows), int(mapping.columns), orders)


def test_a_network_costs_what_the_oracle_says_of_its_layers(oracle, small, decode):
    constants = oracle.read_constants(Path(model.__file__).with_name("constants.csv"))
    designs = designs_of(small, 40, seed=1)
    machines, mappings = decode(designs)
    metrics = jax.device_get(
        jax.jit(jax.vmap(network.evaluate_network, in_axes=(0, None, 0)))(mappings, small.arrays, machines)
    )
    machines, mappings = jax.device_get((machines, mappings))
    for at in range(len(designs)):
        edge, scratchpad, accumulator, dram = (int(values[at]) for values in machines)
        totals = {}
        for layer, (nest, count) in enumerate(zip(small.loops, small.occurrences, strict=True)):
            mapping = jax.tree.map(lambda leaf, at=at, layer=layer: leaf[at, layer], mappings)
            costs = oracle.costs(
                *plan_of(oracle, nest, mapping),
                edge=edge,
                scratchpad_kib=scratchpad,
                accumulator_kib=accumulator,
                dram_words_per_cycle=dram,
                constants=constants,
            )
            totals = {name: totals.get(name, 0) + count * value for name, value in costs.items()}
        for name, expected in (
            ("cycles", "cycles"),
            ("dram_words", "dram_accesses"),
            ("compute_cycles", "compute_cycles"),
        ):
            assert wide.to_int64(getattr(metrics, name))[at] == totals[expected]
        energy = sum(value for name, value in totals.items() if name.endswith("_j"))
        np.testing.assert_allclose(metrics.energy_j[at], energy, rtol=1e-6)
        np.testing.assert_allclose(metrics.latency_s[at], totals["cycles"] * 1e-9, rtol=1e-6)


def test_one_hot_weights_relax_to_the_design_where_nothing_had_to_move(small, decode):
    choices = encoding.choices(small)
    values = heuristics.heuristic_values("weight_stationary", small, heuristics.reference_hardware(8, 8)[1])
    design = np.array([list(choices[name]).index(value) for name, value in values.items()], np.int32)
    hardware, exact = jax.device_get(jax.tree.map(lambda leaf: leaf[0], decode(design[None])))
    weights = [jax.nn.one_hot(index, len(every)) for index, every in zip(design, choices.values(), strict=True)]
    real, relaxed = encoding.decode_relaxed(weights, encoding.tables(small), jnp.float32(8))
    for one, other in zip((*hardware, *exact), (*real, *relaxed), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("rule", heuristics.RULES)
@pytest.mark.parametrize("area_mm2", [2, 20])
def test_a_rule_s_mappings_fit_multiply_to_the_bounds_and_are_not_moved(small, decode, rule, area_mm2):
    _, hardware = heuristics.reference_hardware(area_mm2, 8)
    choices, values = encoding.choices(small), heuristics.heuristic_values(rule, small, hardware)
    design = np.array([list(choices[name]).index(value) for name, value in values.items()], np.int32)
    _, mappings = jax.device_get(decode(design[None]))
    for layer in range(len(small.loops)):
        greedy = heuristics.greedy_mapping(heuristics.RULES[rule], small.shape(layer), hardware)
        notation.require_fit(greedy, small.shape(layer), hardware, rule)
        for one, other in zip(greedy, jax.tree.map(lambda leaf, layer=layer: leaf[0, layer], mappings), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_references_are_the_largest_within_their_budgets():
    for budget in (0.1, 2, 8, 20, 100):
        budget = max(budget, heuristics.least_area_mm2())
        factor, hardware = heuristics.reference_hardware(budget, 8)
        assert float(model.area_mm2(hardware)) <= budget
        assert [int(size) for size in hardware[:3]] == [16 * factor, 128 * factor, 32 * factor]


def test_no_design_is_below_the_limits_of_its_machine(small, decode):
    designs = designs_of(small, 2000, seed=2)
    machines, mappings = decode(designs)
    metrics = jax.device_get(
        jax.jit(jax.vmap(network.evaluate_network, in_axes=(0, None, 0)))(mappings, small.arrays, machines)
    )
    for budget in (1, 4, 100):
        limits = bounds.limits(small, area_budget_mm2=budget, dram_words_per_cycle=8)
        within = metrics.area_mm2 <= budget
        assert within.any()
        for name in ("latency_s", "energy_j"):
            assert getattr(metrics, name)[within].min() >= min(getattr(limit, name) for limit in limits)


def test_the_limits_are_reached_where_one_tile_is_the_layer(oracle, tmp_path):
    """A product that fits all levels at once takes the compulsory work and traffic, and no more."""
    path = tmp_path / "one.csv"
    path.write_text("layer,kind,m,n,k\nonly,gemm,64,8,8\n")
    nests = network.Network.of(load_workload(path))
    hardware = model.Hardware(*(np.int32(size) for size in (8, 8, 2, 1024)))
    mapping = notation.parse_mapping("L3[WIO] N1 - L2[WI] K8X - L1[O] P64 C8X - L0[W] N1", nests.shape(0), "only")
    metrics = jax.jit(network.evaluate_network)(
        jax.tree.map(lambda leaf: np.asarray(leaf)[None], mapping), nests.arrays, hardware
    )
    limit = min(bounds.limits(nests, area_budget_mm2=float(model.area_mm2(hardware)) + 1e-6, dram_words_per_cycle=1024))
    assert float(metrics.latency_s) == pytest.approx(limit.latency_s, rel=0.05)
    assert float(metrics.energy_j) == pytest.approx(limit.energy_j, rel=0.05)


def test_distinct_inputs_are_counted_pixel_by_pixel():
    for nest in network.Network.of(get_workload("mobilenet_v1")).loops:
        r, s, p, q, c, _, n = nest.bounds
        across = {x * nest.strides[0] + i * nest.dilations[0] for x in range(p) for i in range(r)}
        down = {y * nest.strides[1] + j * nest.dilations[1] for y in range(q) for j in range(s)}
        assert bounds.distinct_inputs(nest) == len(across) * len(down) * c * n


def test_a_breakdown_s_layers_add_up_to_its_totals(small, decode):
    machines, mappings = jax.device_get(jax.tree.map(lambda leaf: leaf[0], decode(designs_of(small, 1))))
    found = breakdown.break_down(small, machines, mappings)
    for name, total in (("cycles", "cycles"), ("dram_words", "dram_words"), ("energy_j", "energy_j")):
        parts = sum(row["occurrences"] * row[name] for row in found.rows)
        assert parts == pytest.approx(found.totals[total], rel=1e-5)
    assert [row["layer"] for row in found.rows] == list(small.names)


def test_networks_with_too_many_layers_or_tilings_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "deep.csv"
    path.write_text("layer,kind,m,n,k\n" + "".join(f"l{i},gemm,{i + 1},8,8\n" for i in range(600)))
    with pytest.raises(InvalidWorkloadError, match="distinct layers; with a mapping for each, at most 64 are allowed"):
        network.Network.of(load_workload(path))
    path.write_text(f"layer,kind,m,n,k\nwide,gemm,1,{2**10 * 3**4 * 5 * 7},1\n")
    nests = network.Network.of(load_workload(path))
    with pytest.raises(InvalidWorkloadError, match=r"layer 'wide': K = .* tilings; at most 20000 are allowed"):
        encoding.choices(nests)
    with pytest.raises(UnknownNameError, match="Unknown heuristic 'weight'"):
        heuristics.heuristic_values("weight", nests, heuristics.reference_hardware(2, 8)[1])
