"""Reasoning services: their Gymnasium faces, exact optima, baselines and options."""

import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidOptionError, UnknownNameError
from dsegym.envs.reasoning.serve import SCENARIO

SERVE = "dsegym/ReasoningServe-v0"
CORE = SCENARIO.core_instances()


def make_problem(**options):
    return dsegym.make_problem(SERVE, **options)


def core_name(options):
    return "-".join(options.values()).replace("/", "_")


every_core_instance = pytest.mark.parametrize("options", CORE, ids=core_name)


# --- Interfaces -------------------------------------------------------------------------------------------------------


def test_configurations_are_played_as_designs():
    assert list(make_problem().forms) == ["parametric", "sequential"]


def test_core_instances_differ_and_cover_every_task_and_law():
    assert 4 <= len(CORE) <= 10
    assert len({tuple(row.values()) for row in CORE}) == len(CORE)
    for name in ("tasks", "cost", "levels"):
        assert {row[name] for row in CORE} == set(SCENARIO.options[name].values())


BUDGETS_ALLOWED = "own, any number from 0.001 to 1000000000 TFLOP"
HARDWARE_ALLOWED = "b200, h100, a100, PEAK_TFLOPS/BANDWIDTH_TBPS, 989/3.35 say"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        *(("budget", value, BUDGETS_ALLOWED) for value in ("0", "-5", "nan", "inf")),
        ("budget", "much", f"Unknown budget 'much'; there are: {BUDGETS_ALLOWED}"),
        ("tasks", "aime23", r"Unknown tasks 'aime23'; there are: .*Did you mean 'aime2[45]'"),
        *(("hardware", value, HARDWARE_ALLOWED) for value in ("b300", "989", "0/3.35", "-1/3", "nan/3", "1/2/3")),
        *(("hardware", value, HARDWARE_ALLOWED) for value in ("1_0/3", "10/3_0", "\u0661/3")),
        ("cost", "tokens", "Unknown cost 'tokens'; there are: eflops, flops"),
        ("levels", "2", "Unknown levels '2'; there are: 1, 3, 5"),
    ],
)
def test_options_out_of_range_are_refused_with_what_is_allowed(option, value, message):
    with pytest.raises((UnknownNameError, InvalidOptionError), match=message):
        make_problem(**{option: value})


def test_recorded_answers_are_a_scenario_of_their_own_which_the_error_names():
    with pytest.raises(DsegymError, match="gsm8k is a scenario of its own now: dsegym/ReasoningCascade-v0"):
        make_problem(tasks="gsm8k")


def test_a_budget_that_pays_for_nothing_names_the_cheapest_configuration():
    with pytest.raises(DsegymError, match="below the cheapest configuration, "):
        make_problem(budget="1")


def test_hardware_may_be_given_by_its_figures():
    named, figures = make_problem(hardware="h100"), make_problem(hardware="989/3.35")
    assert make_problem(hardware="989.0/3.350").options == figures.options
    designs = named.space.sample(np.random.default_rng(0), 32)
    np.testing.assert_array_equal(named.evaluate(designs).objective, figures.evaluate(designs).objective)


@every_core_instance
def test_what_is_synthetic_or_left_out_is_said(options):
    notes = " ".join(make_problem(**options).notes)
    assert "synthetic" in notes


# --- Yardsticks -------------------------------------------------------------------------------------------------------


@every_core_instance
def test_no_design_beats_the_bound_and_baselines_are_designs_within_the_budget(options):
    problem = make_problem(**options)
    designs = np.array([make() for make in problem.baselines.values()])
    found = problem.evaluate_held_out(designs)
    assert found.feasible.all()
    assert problem.bound.value < problem.reference.value
    some = problem.space.sample(np.random.default_rng(1), 1024)
    tried = problem.evaluate_held_out(some)
    for result in (found, tried):
        assert (result.objective >= problem.bound.value - 1e-6).all()
        assert (result.objective[~result.feasible] > 1).all()
        assert ((result.objective[result.feasible] >= 0) & (result.objective[result.feasible] <= 1)).all()


@every_core_instance
def test_the_optimum_is_a_design_within_the_budget_that_has_this_value(options):
    problem = make_problem(**options)
    found = problem.evaluate(problem.bound.design)
    assert found.feasible[0]
    assert found.objective[0] == pytest.approx(problem.bound.value, abs=2e-6)
    if options["levels"] == "1":  # try everything
        everything = problem.evaluate(problem.space.enumerate(0, problem.space.size))
        best = everything.objective[everything.feasible].min()
        assert problem.bound.value == pytest.approx(best, abs=2e-6)
    else:  # no worse than one configuration for all classes
        assert problem.bound.value <= make_problem(**(options | {"levels": "1"})).bound.value + 2e-6


def test_beyond_the_budget_the_penalty_falls_with_the_cost():
    problem = make_problem(budget="1000")
    found = problem.evaluate(problem.space.enumerate(0, problem.space.size))
    over = ~found.feasible
    cost = found.metrics.cost_teflop[over]
    assert (cost > 1000).all()
    np.testing.assert_allclose(found.objective[over], 1 + np.log2(cost / 1000), rtol=1e-5)


def test_counting_memory_pays_where_flop_optimal_plans_waste_it():
    for options in CORE:
        if options["cost"] == "eflops":
            problem = make_problem(**options)
            dense = problem.evaluate(problem.baselines["dense"]()).objective[0]
            assert problem.bound.value < dense <= problem.reference.value + 1e-6


def test_designs_keep_their_meaning_along_the_sweep_and_the_bound_falls():
    sweep = make_problem().sweep
    problems = [make_problem(**{sweep.option: value}) for value in sweep.values]
    bounds = [problem.bound.value for problem in problems]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > bounds[-1]
    assert len({problem.space for problem in problems}) == 1
    assert len({problem.cost for problem in problems}) == 1
    assert sweep.to_y(0.25) == 0.75
    assert set(sweep.baselines) <= set(problems[0].baselines)


@every_core_instance
def test_a_breakdown_has_the_metrics_of_its_design(options):
    problem = make_problem(**options)
    design = problem.baselines[problem.reference.name]()
    parts = problem.breakdown(problem.decode(design))
    metrics = problem.evaluate(design).metrics
    for name, value in metrics._asdict().items():
        assert parts.totals[name] == pytest.approx(float(value[0]), rel=1e-5)
    assert len(parts.rows) == int(options["levels"])
    coverage = np.mean([row["coverage"] for row in parts.rows])
    assert coverage == pytest.approx(parts.totals["coverage"], rel=1e-5)
    of_pass = parts.totals["cost_of_pass_teflop"]
    assert of_pass * parts.totals["coverage"] == pytest.approx(parts.totals["cost_teflop"], rel=1e-5)
