"""Problems: the same costs however designs are batched, and instances that are found by their options."""

import dataclasses

import jax
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidDesignError, UnknownNameError
from dsegym.envs.core.evaluation import Yardstick
from dsegym.envs.core.options import Options, choice, file_or_name
from dsegym.envs.core.problem import BATCH_SIZES, given
from dsegym.envs.core.scenarios import Scenario

SIZING, TOY = "dsegym/AcceleratorSizing-v0", "toy/Staircase-v0"


@pytest.fixture(scope="module", params=["edp", "target"])
def batch(request):
    """A problem, more designs than its largest compiled batch holds, and their costs."""
    problem = dsegym.make_problem(SIZING, workload="alexnet", objective=request.param, area_budget="small")
    designs = problem.space.sample(np.random.default_rng(0), 5000)
    return problem, designs, problem.evaluate(designs)


def assert_same(result, expected, lanes):
    for alone, together in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(alone, together[lanes])


# --- Evaluation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lane", [0, 4095, 4096, 4999])
def test_one_design_alone_costs_the_same_bits_as_in_a_batch_of_5000(batch, lane):
    problem, designs, expected = batch
    assert_same(problem.evaluate(designs[lane]), expected, slice(lane, lane + 1))


@pytest.mark.parametrize("size", sorted({*BATCH_SIZES, 2, 100, 129, 4095, 4097} - {1}))
def test_costs_do_not_depend_on_how_designs_are_batched(batch, size):
    problem, designs, expected = batch
    assert_same(problem.evaluate(designs[-size:]), expected, slice(5000 - size, 5000))


def test_a_problem_may_pad_to_batch_sizes_of_its_own(batch):
    problem, designs, expected = batch
    small, sizes = dataclasses.replace(problem, batch_sizes=(1, 16)), []
    counted = dataclasses.replace(
        small, cost=lambda design, params: sizes.append(design.shape) or problem.cost(design, params)
    )
    assert_same(counted.evaluate(designs[:50]), expected, slice(0, 50))
    assert len(sizes) == 1, "traced once, for batches of 16"
    counted.warm_up()
    assert len(sizes) == 2


def test_costs_come_as_numpy_arrays_with_exact_counts(batch):
    _, _, result = batch
    assert (result.objective.dtype, result.feasible.dtype) == (np.float64, np.bool_)
    assert result.metrics.cycles.dtype == np.int64
    assert result.metrics.latency_s.shape == (5000,)
    np.testing.assert_allclose(result.metrics.latency_s, result.metrics.cycles / 1e9, rtol=1e-6)


def test_an_empty_batch_costs_nothing(problem):
    result = problem.evaluate(np.zeros((0, 7), np.int32))
    assert result.objective.shape == result.metrics.cycles.shape == (0,)


def test_a_wrong_design_is_refused(problem):
    with pytest.raises(InvalidDesignError, match="ifmap_buffer is out of range; allowed: 0 to 8"):
        problem.evaluate([0, 0, 9, 0, 0, 0, 0])


def test_the_reference_design_has_the_reference_value(problem):
    result = problem.evaluate(problem.reference.design)
    assert result.objective[0] == problem.reference.value
    assert result.feasible[0]


@pytest.mark.parametrize("objective", ["latency", "energy", "edp"])
def test_the_objective_is_the_metric_that_it_names(objective):
    problem = dsegym.make_problem(SIZING, workload="alexnet", objective=objective, area_budget="small")
    result = problem.evaluate(problem.space.sample(np.random.default_rng(1), 500))
    metrics = result.metrics
    value = {"latency": metrics.latency_s, "energy": metrics.energy_j, "edp": metrics.latency_s * metrics.energy_j}
    np.testing.assert_allclose(result.objective[result.feasible], value[objective][result.feasible], rtol=1e-6)


def test_the_target_objective_is_the_mean_excess_over_shares_of_the_reference():
    problem = dsegym.make_problem(SIZING, workload="alexnet", objective="target", area_budget="small")
    result = problem.evaluate(problem.space.sample(np.random.default_rng(1), 500))
    reference = problem.evaluate(problem.reference.design).metrics
    shares = {"energy_j": 0.70, "area_mm2": 0.85, "latency_s": 0.80}  # less by 30, 15 and 20 per cent
    ratios = [getattr(result.metrics, name) / (share * getattr(reference, name)) for name, share in shares.items()]
    expected = np.mean([np.maximum(ratio - 1, 0) + 0.1 * ratio for ratio in ratios], axis=0)
    np.testing.assert_allclose(result.objective[result.feasible], expected[result.feasible], rtol=1e-5)


def test_the_breakdown_of_a_design_has_the_totals_of_its_costs(problem):
    design = problem.space.sample(np.random.default_rng(2), 1)[0]
    metrics = problem.evaluate(design).metrics
    breakdown = problem.breakdown(problem.decode(design))
    for name in ("cycles", "compute_cycles"):
        assert breakdown.totals[name] == getattr(metrics, name)[0]
    for name in ("latency_s", "energy_j", "area_mm2", "utilisation"):
        assert breakdown.totals[name] == pytest.approx(getattr(metrics, name)[0], rel=1e-6)
    assert breakdown.totals["dram_traffic_words"] == metrics.dram_words[0]
    assert sum(row["cycles"] for row in breakdown.rows) == breakdown.totals["cycles"]
    assert sum(row["energy_j"] for row in breakdown.rows) == pytest.approx(breakdown.totals["energy_j"], rel=1e-5)


# --- Held-out cases ---------------------------------------------------------------------------------------------------


@pytest.fixture
def stochastic(shop):
    return dsegym.make_problem("toy/Shop-v0", lost="1")


def test_held_out_cases_cost_designs_by_the_same_function_and_other_parameters(stochastic):
    designs = stochastic.space.enumerate(0, stochastic.space.size)
    moved = dataclasses.replace(stochastic, params=stochastic.held_out_params, held_out_params=None)
    held_out = stochastic.evaluate_held_out(designs)
    assert_same(held_out, moved.evaluate(designs), slice(None))
    assert (held_out.objective != stochastic.evaluate(designs).objective).any()


def test_without_held_out_cases_the_two_costs_are_one(shop, problem):
    designs = problem.space.sample(np.random.default_rng(0), 5)
    assert_same(problem.evaluate_held_out(designs), problem.evaluate(designs), slice(None))
    assert problem.as_searched is problem


def test_held_out_cases_of_the_same_shapes_share_the_compiled_code(stochastic):
    traced = []
    counted = dataclasses.replace(
        stochastic, cost=lambda design, params: traced.append(design.shape) or stochastic.cost(design, params)
    )
    counted.evaluate([0, 0])
    counted.evaluate_held_out([0, 0])
    assert len(traced) == 1


def test_reference_and_enumerated_optimum_are_values_on_the_held_out_cases(stochastic):
    everything = stochastic.space.enumerate(0, stochastic.space.size)
    held_out = stochastic.evaluate_held_out(everything).objective
    assert stochastic.bound.value == held_out.min()
    assert stochastic.reference.value == stochastic.evaluate_held_out(stochastic.reference.design).objective[0]


def test_a_searcher_meets_the_problem_without_held_out_cases(stochastic):
    searched = stochastic.as_searched
    assert searched is stochastic.as_searched is searched.as_searched
    assert searched.held_out_params is None
    expected = stochastic.evaluate(stochastic.reference.design).objective[0]
    assert searched.reference.value == expected != stochastic.reference.value
    unnamed = dataclasses.replace(
        stochastic, reference_rule=given(dataclasses.replace(stochastic.reference, design=None))
    )
    assert unnamed.as_searched.reference.value == stochastic.reference.value


# --- Instances --------------------------------------------------------------------------------------------------------


def test_the_same_instance_is_the_same_object(problem):
    options = {"objective": "edp", "area_budget": "small", "workload": "alexnet"}
    assert dsegym.make_problem(SIZING, **options) is problem
    assert dsegym.make_problem(SIZING, **options, platform="gemmini") is problem
    assert dsegym.make_problem(SIZING, **{**options, "area_budget": "large"}) is not problem
    assert dsegym.make_problem(f"dsegym:{SIZING}", **options) is problem


def test_an_instance_names_its_options(problem):
    assert problem.name == "workload=alexnet, objective=edp, area_budget=small, platform=gemmini"


@pytest.mark.parametrize(
    ("scenario", "options", "reason"),
    [
        ("dsegym/AcceleratorSizng-v0", {}, f"Unknown scenario .* Did you mean '{SIZING}'"),
        (SIZING, {"worklod": "alexnet"}, "Unknown option 'worklod'.* Did you mean 'workload'"),
        (SIZING, {"workload": "alexnett"}, "Unknown workload 'alexnett'.* Did you mean 'alexnet'"),
        (SIZING, {"objective": "enrgy"}, "Unknown objective 'enrgy'.* Did you mean 'energy'"),
        (SIZING, {"area_budget": "tiny"}, "Unknown area_budget 'tiny'; there are: small, medium, large"),
        (SIZING, {"platform": "gemini"}, "Did you mean 'gemmini'"),
    ],
)
def test_an_unknown_name_is_answered_with_what_there_is(scenario, options, reason):
    with pytest.raises(UnknownNameError, match=reason):
        dsegym.make_problem(scenario, **options)


def test_an_option_of_the_id_or_a_path_that_is_none_is_one_sentence():
    with pytest.raises(UnknownNameError, match="Unknown option 'scenario_id'"):
        dsegym.make_problem(SIZING, scenario_id=TOY)
    with pytest.raises(DsegymError, match=r"^Cannot import '\.\.'"):
        dsegym.make_problem("..:toy/Staircase-v0")
    with pytest.raises(DsegymError):
        dsegym.make_problem(SIZING, workload="a\0b.csv")


def test_a_package_that_cannot_be_imported_is_reported():
    with pytest.raises(DsegymError, match="Cannot import 'no_such_package'"):
        dsegym.make_problem("no_such_package:toy/Staircase-v0")


def test_an_unknown_form_is_answered_with_what_there_is(problem):
    with pytest.raises(UnknownNameError, match="Did you mean 'parametric'"):
        problem.functional_env("parametrik")


def test_a_users_workload_makes_an_instance(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("layer,kind,m,n,k\none,gemm,64,64,64\n")
    problem = dsegym.make_problem(SIZING, workload=str(path), area_budget="small")
    assert problem.bound.name == "bound"
    assert 0 < problem.bound.value < problem.reference.value
    feasible = problem.evaluate(problem.space.sample(np.random.default_rng(3), 1000))
    assert (feasible.objective >= problem.bound.value).all()


@pytest.mark.parametrize("name", ["bound", "oracle", "best known", "Optimum", "lower bound", ""])
def test_a_bound_of_any_name_but_optimum_may_not_be_the_optimum(name):
    assert Yardstick(name, 1.0, "a paper").looseness
    assert not Yardstick("optimum", 1.0, "a paper").looseness


def test_a_third_partys_scenario_is_registered_and_made(staircase, toy):
    assert TOY in dsegym.scenario_ids()
    assert dsegym.load_scenario(TOY) is staircase.SCENARIO
    assert toy.options == {"start": "fixed"}
    with pytest.raises(UnknownNameError, match="there are: fixed, random"):
        dsegym.make_problem(TOY, start="anywhere")


def test_an_option_may_accept_more_than_it_lists():
    @dataclasses.dataclass(frozen=True)
    class Two(Options):
        free: str = file_or_name("a", lambda: ("a", "b"), str.isupper, "a word in capitals", "")
        fixed: str = choice("a", lambda: ("a", "b"), "")

    scenario = Scenario(summary="", options_type=Two, build=None, core=list)
    assert scenario.resolve({"free": "XYZ"}) == {"free": "XYZ", "fixed": "a"}
    assert scenario.changed({"free": "XYZ", "fixed": "a"}) == {"free": "XYZ"}
    with pytest.raises(UnknownNameError):
        scenario.resolve({"fixed": "XYZ"})
