"""AttentionAccelerator-v0: its contract, yardsticks, options, and what agents get of it."""

import itertools

import jax
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError
from dsegym.envs.accelerator import attention
from dsegym.testing import check_scenario

ATTENTION = "dsegym/AttentionAccelerator-v0"
OBJECTIVES = ("latency", "energy", "edp", "traffic")


@pytest.mark.slow
def test_users_layers_keep_the_contract_of_scenarios():
    check_scenario(ATTENTION, [{"model": "2x3x80x48", "length": 1000, "objective": "traffic", "area_budget": 20}])
    check_scenario(ATTENTION, [{"model": "lstm:6x2x40", "length": 100, "objective": "edp"}])


@pytest.mark.parametrize("model", ["XLM", "lstm_64x12"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_reference_lies_above_the_bound_and_no_design_below(model, objective):
    problem = dsegym.make_problem(ATTENTION, model=model, length="16K", objective=objective)
    assert problem.obstacle == ""
    assert problem.reference.name == ("flat" if model == "XLM" else "per_step")
    assert problem.bound.name == ("bound" if objective == "traffic" else "optimum")
    result = problem.evaluate(problem.space.enumerate(0, problem.space.size))
    assert result.objective[result.feasible].min() >= problem.bound.value
    assert result.objective[~result.feasible].min() > 10 * result.objective[result.feasible].max()
    assert np.all((result.violation > 0) == ~result.feasible)
    for design in problem.baselines.values():
        assert problem.evaluate(design()).feasible.all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        *("1x1x1", "4096x1024x1024", "3x5x1021x7", "lstm:1x1x1", "lstm:4096x1024x1021"),
        pytest.param("lstm:2520x3x1008", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("length", "area_budget"), [(16, 20), ("1M", 5000)])
def test_the_least_and_the_largest_layers_have_finite_costs_and_a_feasible_reference(model, length, area_budget):
    for objective in ("edp", "traffic"):
        options = {"model": model, "length": length, "area_budget": area_budget, "objective": objective}
        problem = dsegym.make_problem(ATTENTION, **options)
        assert problem.space.size <= attention._MOST_DESIGNS
        result = problem.evaluate(problem.space.sample(np.random.default_rng(0), 2000))
        assert np.isfinite(result.objective).all()
        assert result.objective.min() > 0
        assert problem.evaluate(problem.reference.design).feasible.all()
        assert problem.reference.value >= problem.bound.value * (1 - 1e-6)
        if result.feasible.any():
            assert result.objective[result.feasible].min() >= problem.bound.value * (1 - 1e-6)
            assert result.objective[result.feasible].max() < result.objective[~result.feasible].min(initial=np.inf)


def test_every_instance_of_the_core_has_room_between_reference_and_bound():
    core = attention.SCENARIO.core()
    assert len(core) > 100
    for options in core[:: max(len(core) // 40, 1)]:
        assert dsegym.make_problem(ATTENTION, **options).obstacle == "", options


def test_on_the_artifact_s_machine_rules_cost_what_the_artifact_does():
    problem = dsegym.make_problem(ATTENTION, model="BERT", length="64K", area_budget="large")
    assert problem.decode(problem.reference.design)["edge"] == 256
    assert problem.reference.value == pytest.approx(54.82937, rel=1e-6)
    assert problem.evaluate(problem.baselines["fusemax"]()).objective[0] == pytest.approx(7.4025, rel=1e-6)


def test_fusemax_s_larger_elements_lose_where_area_is_scarce_and_heads_are_wide():
    cascades = {}
    for model, budget in itertools.product(("BERT", "XLM"), ("small", "large")):
        problem = dsegym.make_problem(ATTENTION, model=model, length="16K", area_budget=budget)
        cascades[model, budget] = problem.decode(problem.bound.design)["cascade"]
    assert cascades == {
        ("BERT", "small"): "fusemax",
        ("BERT", "large"): "fusemax",
        ("XLM", "small"): "flat",
        ("XLM", "large"): "fusemax",
    }


@pytest.mark.parametrize("model", ["BERT", "lstm_64x12"])
def test_the_relaxation_of_the_reference_is_its_objective_s_logarithm_and_has_gradients(model):
    problem = dsegym.make_problem(ATTENTION, model=model, objective="edp")
    design = np.array(problem.reference.design)
    weights = [jax.nn.one_hot(i, n) for i, n in zip(design, problem.space.cardinalities, strict=True)]
    value, slopes = jax.jit(jax.value_and_grad(problem.relaxation))(weights, problem.params)
    assert float(value) == pytest.approx(np.log(problem.reference.value), abs=1e-3)
    assert all(np.isfinite(each).all() for each in slopes)
    assert sum(np.abs(each).max() > 0 for each in slopes) > len(slopes) / 2


def test_a_breakdown_shows_every_cascade_and_how_far_traffic_is_from_the_bound():
    problem = dsegym.make_problem(ATTENTION, model="TrXL", length="16K", objective="traffic")
    found = problem.breakdown(problem.decode(problem.reference.design))
    assert [row["cascade"] for row in found.rows] == ["unfused", "flat", "one_pass", "fusemax_pe", "fusemax"]
    assert found.totals["traffic_bytes"] == pytest.approx(problem.reference.value, rel=1e-6)
    assert found.totals["traffic_over_least"] > 1
    recurrent = dsegym.make_problem(ATTENTION, model="lstm_64x12")
    found = recurrent.breakdown(recurrent.decode(recurrent.reference.design))
    assert [row["kernel"] for row in found.rows] == ["per_step", "fused"]
    assert found.totals["latency_s"] == pytest.approx(recurrent.reference.value, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"area_budget": 5}, "as smaller budgets hold no reference"),
        ({"area_budget": -1}, "area_budget = -1 is not allowed"),
        ({"length": 0}, "length = 0 is not allowed"),
        ({"length": "2M"}, "1M"),
        ({"model": "Bert"}, "Did you mean 'BERT'"),
        ({"model": "8x8"}, "sequences x heads x head width"),
        ({"model": "8x0x64"}, "heads = '0'"),
        ({"model": "lstm:8x8x8x8"}, "as in lstm:16x4x256"),
        ({"objective": "area"}, "latency, energy, edp, traffic"),
    ],
)
def test_options_out_of_range_are_refused_in_a_sentence(options, said):
    with pytest.raises(DsegymError, match=said):
        dsegym.make_problem(ATTENTION, **options)


def test_texts_of_one_layer_or_length_are_one_instance():
    one = dsegym.make_problem(ATTENTION, model="BERT", length="4K", area_budget="medium")
    other = dsegym.make_problem(ATTENTION, model="64x12x64", length=4096, area_budget=160)
    assert one.options == other.options
    assert one.options["length"] == "4K"


def test_instances_share_their_cost_function_and_shapes():
    made = [
        dsegym.make_problem(ATTENTION, model=model, objective=each) for model in ("T5", "XLM") for each in OBJECTIVES
    ]
    assert {problem.cost for problem in made} == {attention.attention_cost}
    shapes = {str([np.asarray(leaf).shape for leaf in jax.tree.leaves(problem.params)]) for problem in made}
    assert len(shapes) == 1
