"""Mixes of GPUs against plain Python, CP-SAT and what the Mélange paper states."""

import itertools
from fractions import Fraction

import jax
import mix_oracle as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.errors import DsegymError
from dsegym.costmodels.serving import roofline
from dsegym.costmodels.serving.mix import model, placement, requests
from dsegym.costmodels.transformers.architectures import get_architecture
from dsegym.costmodels.transformers.devices import get_device, get_precision

PRICES = {"L4": 0.70, "A10G": 1.01, "A100-PCIe-80GB": 3.67, "H100-SXM-80GB": 7.516}
STATED = requests.published()
# The one for which no loads were found that make the stated counts optimal: other counts cost the same.
(OTHER_COUNTS,) = (each for each in STATED if (each.workload, each.tpot_ms, each.rate) == ("pubmed", 120, 32))


def by_name(each):
    return f"{each.workload}-{each.tpot_ms:g}ms-{each.rate:g}"


def placed(each, slices=8):
    names, loads = requests.published_loads(each.workload, each.tpot_ms, each.rate, tuple(PRICES))
    return placement.placement_of(tuple(PRICES), PRICES, names, loads, slices)


def counts_of(problem, design):
    _, counts, _ = model.evaluate(np.array(design, np.int32), problem.mix)
    return dict(zip(problem.gpus, np.asarray(counts).tolist(), strict=True))


# --- What the paper states --------------------------------------------------------------------------------------------


# Loads were searched for so that the next two hold: they guard the tables and the programme, and show no truth.
@pytest.mark.parametrize("each", STATED, ids=by_name)
def test_loads_that_were_searched_for_a_stated_mix_still_give_it_to_the_cent(each):
    problem = placed(each)
    value, design = placement.integer_programme(problem)
    assert value == pytest.approx(each.cost_usd_h, abs=0.0005)
    if each is not OTHER_COUNTS:
        assert counts_of(problem, design) == each.counts


@pytest.mark.parametrize("each", STATED, ids=by_name)
def test_loads_that_were_searched_for_a_stated_mix_still_give_its_single_types(each):
    problem = placed(each)
    alone = placement.singles(problem)
    for gpu, count in each.singles.items():
        assert counts_of(problem, problem.design(alone[gpu]))[gpu] == count


def test_half_the_loads_of_twice_the_rate_give_stated_costs_and_single_types_that_they_were_not_searched_for():
    """What rows say of each other, held against half of the stated bill of twice the rate, which knows no loads."""
    costs = {(each.workload, each.tpot_ms, each.rate): each.cost_usd_h for each in STATED}
    errors, plain, singles = [], [], []
    for each in STATED:
        twice = costs.get((each.workload, each.tpot_ms, 2 * each.rate))
        if twice is None:
            continue
        names, loads = requests.published_loads(each.workload, each.tpot_ms, 2 * each.rate, tuple(PRICES))
        problem = placement.placement_of(tuple(PRICES), PRICES, names, loads / 2, 8)
        errors.append(abs(placement.integer_programme(problem)[0] / each.cost_usd_h - 1))
        plain.append(abs(twice / 2 / each.cost_usd_h - 1))
        alone = placement.singles(problem)
        for gpu, count in each.singles.items():
            singles.append(abs(counts_of(problem, problem.design(alone[gpu]))[gpu] / count - 1))
    assert len(errors) == 30
    assert np.mean(errors) < 0.055
    assert max(errors) < 0.165
    assert np.mean(errors) < np.mean(plain) / 2
    assert np.mean(singles) < 0.02
    assert max(singles) <= 0.25


def test_there_are_36_stated_mixes_and_each_costs_its_counts_times_the_prices():
    assert len(STATED) == 36
    for each in STATED:
        assert each.cost_usd_h == pytest.approx(sum(each.counts[gpu] * PRICES[gpu] for gpu in PRICES), abs=1e-9)


def test_stated_mixes_and_single_types_are_those_of_the_data(shared_data):
    import csv

    short = {"L4": "L4", "A10G": "A10G", "A100": "A100-PCIe-80GB", "H100": "H100-SXM-80GB"}
    ours = {(each.workload, each.tpot_ms, each.rate): each for each in STATED}
    for row in csv.DictReader((shared_data / "llm" / "melange_allocations.csv").open()):
        each = ours[row["dataset"], float(row["tpot_slo_ms"]), float(row["rate_rps"])]
        if row["solver"] == "mixed_ilp":
            assert each.counts == {full: int(row[name]) for name, full in short.items()}
            assert each.cost_usd_h == pytest.approx(float(row["cost_per_h"]), abs=0.0051)
        else:
            name = row["solver"].removesuffix("_only")
            assert each.singles[short[name]] == int(row[name])


def test_a_mix_of_short_chats_saves_15_to_77_percent_over_a_single_type():
    savings = []
    for each in STATED:
        if (each.workload, each.tpot_ms) == ("arena", 120):
            value, _ = placement.integer_programme(placed(each))
            savings += [1 - value / (count * PRICES[gpu]) for gpu, count in each.singles.items()]
    assert min(savings) * 100 == pytest.approx(15, abs=0.5)
    assert max(savings) * 100 == pytest.approx(77, abs=0.5)


def test_no_loads_in_proportion_to_the_rate_give_all_stated_costs():
    """Twice the GPUs serve twice the requests: where that is cheaper than what is stated, rates were cases apart."""
    costs = {(each.workload, each.tpot_ms, each.rate): each.cost_usd_h for each in STATED}
    broken = [key for key, value in costs.items() if 2 * costs.get((*key[:2], key[2] / 2), np.inf) < value - 0.005]
    assert ("pubmed", 120.0, 16.0) in broken
    assert len(broken) >= 4


# --- Exactness --------------------------------------------------------------------------------------------------------

loads_of_slices = st.integers(1, 3).flatmap(
    lambda types: st.lists(
        st.lists(st.none() | st.integers(1, 120_000), min_size=types, max_size=types).filter(any),
        min_size=1,
        max_size=3,
    )
)


def problem_of(rows, prices, slices):
    loads = np.array([[np.inf if load is None else load * slices / model.GPU for load in row] for row in rows])
    gpus = tuple(f"gpu{place}" for place in range(loads.shape[1]))
    named = {gpu: price / model.USD for gpu, price in zip(gpus, prices, strict=False)}
    return placement.placement_of(gpus, named, [f"class{k}" for k in range(len(rows))], loads, slices)


@settings(max_examples=60)
@given(loads_of_slices, st.lists(st.integers(1, 100_000), min_size=3, max_size=3), st.integers(1, 3))
def test_the_integer_programme_is_the_best_of_every_way(rows, prices, slices):
    problem = problem_of(rows, prices, slices)
    exact = [[None if load is None else Fraction(load, model.GPU) for load in row] for row in rows]
    value, design = placement.integer_programme(problem)
    best = oracle.optimum(exact, prices[: len(rows[0])], slices)
    assert round(value * model.USD) == best
    assert placement.relaxed_usd_h(problem) <= value + 1e-9
    assert len(design) == len(rows) * slices


@settings(max_examples=30)
@given(loads_of_slices, st.lists(st.integers(1, 100_000), min_size=3, max_size=3), st.integers(1, 2))
def test_the_cheapest_mixes_are_those_of_every_way_each_once(rows, prices, slices):
    problem = problem_of(rows, prices, slices)
    ways = itertools.product(*(problem.able[kind] for kind in problem.class_of))
    costs = {tuple(problem.counts(types).tolist()): problem.cost(types) for types in map(np.array, ways)}
    designs = placement.cheapest_mixes(problem, 4)
    types = [
        np.array([problem.able[kind][each] for kind, each in zip(problem.class_of, design, strict=True)])
        for design in designs
    ]
    assert len({tuple(problem.counts(each).tolist()) for each in types}) == len(designs) == min(4, len(costs))
    assert [problem.cost(each) for each in types] == sorted(costs.values())[: len(designs)]


@pytest.mark.slow
@settings(max_examples=40)
@given(loads_of_slices, st.lists(st.integers(1, 100_000), min_size=3, max_size=3), st.integers(1, 3), st.randoms())
def test_a_design_costs_what_slice_by_slice_arithmetic_says(rows, prices, slices, luck):
    problem = problem_of(rows, prices, slices)
    types = np.array([luck.choice(problem.able[kind]) for kind in problem.class_of])
    exact = [[None if load is None else Fraction(load, model.GPU) for load in row] for row in rows]
    price, counts = oracle.cost(exact, prices[: len(rows[0])], list(zip(problem.class_of, types, strict=True)))
    metrics, found, _ = model.evaluate(np.array(problem.design(types), np.int32), problem.mix)
    assert problem.cost(types) == price
    assert np.asarray(found).tolist() == counts
    assert float(metrics.cost_usd_h) == pytest.approx(price / model.USD, rel=1e-6)
    assert 0 < float(metrics.utilisation) <= 1


@pytest.mark.parametrize("each", [STATED[5], STATED[17], STATED[35]], ids=by_name)
def test_cp_sat_finds_no_cheaper_mix_than_highs(each):
    pytest.importorskip("ortools", reason="OR-Tools is not installed")
    from ortools.sat.python import cp_model

    problem = placed(each)
    program = cp_model.CpModel()
    counts = [program.new_int_var(0, 1000, gpu) for gpu in problem.gpus]
    loads = [[] for _ in problem.gpus]
    for kind, types in enumerate(problem.able):
        taken = {place: program.new_int_var(0, problem.slices, f"{kind} {place}") for place in types}
        program.add(sum(taken.values()) == problem.slices)
        for place, number in taken.items():
            loads[place].append(int(problem.loads[kind, place]) * number)
    for place, count in enumerate(counts):
        program.add(sum(loads[place]) <= model.GPU * count)
    program.minimize(sum(int(price) * count for price, count in zip(problem.prices, counts, strict=True)))
    solver = cp_model.CpSolver()
    assert solver.solve(program) == cp_model.OPTIMAL
    assert solver.objective_value / model.USD == pytest.approx(placement.integer_programme(problem)[0], abs=1e-9)


@pytest.mark.parametrize("name", placement.RULES)
def test_no_rule_beats_the_optimum_and_each_serves_every_slice(name):
    for each in STATED[::5]:
        problem = placed(each)
        types = placement.RULES[name](problem)
        assert all(place in problem.able[kind] for kind, place in zip(problem.class_of, types, strict=True))
        assert problem.cost(types) / model.USD >= placement.integer_programme(problem)[0] - 1e-9


def test_improving_never_costs_more_than_the_other_rules():
    for each in STATED[::7]:
        problem = placed(each)
        costs = {name: problem.cost(rule(problem)) for name, rule in placement.RULES.items()}
        assert costs["improved"] == min(costs.values())


def test_costs_are_the_same_one_by_one_and_in_a_batch():
    problem = placed(STATED[10])
    generator = np.random.default_rng(0)
    designs = generator.integers(0, [len(problem.able[kind]) for kind in problem.class_of], (64, len(problem.class_of)))
    batch, _, _ = jax.jit(jax.vmap(model.evaluate, in_axes=(0, None)))(designs.astype(np.int32), problem.mix)
    single = [float(model.evaluate(design.astype(np.int32), problem.mix)[0].cost_usd_h) for design in designs]
    np.testing.assert_array_equal(np.asarray(batch.cost_usd_h), np.array(single, np.float32))


# --- Loads from the roofline ------------------------------------------------------------------------------------------

CLASSES = (requests.Class("chat", 300, 200, 0.75), requests.Class("paper", 3000, 300, 0.25))


def loads(gpus, **changed):
    given_ = {"model": "Llama-2-7B", "precision": "bf16", "tensor_parallelism": 1, "tpot_ms": 60, "rate": 10} | changed
    return requests.class_loads(CLASSES, gpus=list(map(get_device, gpus)), **given_)


def test_loads_are_the_rate_over_the_best_rate_of_any_batch():
    found = loads(("A100-PCIe-80GB", "H100-SXM-80GB"))
    for column, gpu in enumerate(("A100-PCIe-80GB", "H100-SXM-80GB")):
        replica = roofline.replica_of(get_architecture("Llama-2-7B"), get_device(gpu), get_precision("bf16"), 1)
        for row, each in enumerate(CLASSES):
            prompt, output = each.prompt_tokens, each.output_tokens
            best = oracle.most_requests_per_s(
                lambda b, p=prompt, o=output, r=replica: float(roofline.tpot_parts(r, b, p, o).total_s()),
                float(roofline.prefill_s(replica, prompt)),
                output,
                int(min(256, replica.free_bytes // (replica.kv_bytes_per_token * (prompt + output)))),
                0.06,
            )
            assert found[row, column] == pytest.approx(10 * each.share / best, rel=1e-9)


def test_loads_rise_with_the_rate_and_fall_with_the_target():
    gpus = ("A10G", "A100-PCIe-80GB", "H100-SXM-80GB")
    np.testing.assert_allclose(loads(gpus, rate=20), 2 * loads(gpus), rtol=1e-12)
    assert np.all(loads(gpus, tpot_ms=200) <= loads(gpus, tpot_ms=50))


def test_a_model_that_fits_nowhere_says_by_how_much():
    with pytest.raises(
        DsegymError, match=r"Llama-3-70B in bf16 .* fits on none of the GPUs: 1 x A100.* lacks 70\.\d GB"
    ):
        loads(("L4", "A100-PCIe-80GB"), model="Llama-3-70B")


def test_a_target_that_no_gpu_meets_says_what_the_fastest_takes():
    with pytest.raises(
        DsegymError, match=r"No GPU serves .* within 3 ms a token: alone it takes \d+\.\d ms on the fast"
    ):
        loads(("L4", "H100-SXM-80GB"), tpot_ms=3)
