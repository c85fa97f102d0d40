"""Exact methods as agents: their designs are samples, each better than the last, and the last is the optimum."""

import dataclasses
import threading

import numpy as np
import pytest

import dsegym
from dsegym.agents import registry
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import BudgetExhausted, DsegymError, UnknownNameError

ALLOCATION, SOC = "dsegym/MemoryAllocation-v0", "dsegym/SocSchedulingStatic-v0"
# Every family with a solver, and each solver once, on instances whose optimum is known.
SOLVED = [
    (ALLOCATION, {"instance": "perfect_30_s2"}, "packing_search"),
    (ALLOCATION, {"instance": "perfect_30_s2"}, "cp_sat"),
    (SOC, {"graph": "top1"}, "cp_sat"),
    ("dsegym/ServingMix-v0", {}, "milp"),
    ("dsegym/ReasoningServe-v0", {}, "dynamic_programming"),
    pytest.param("dsegym/MemoryTiers-v0", {}, "screening", marks=pytest.mark.slow),
    ("dsegym/TrainingPlan-v0", {}, "enumeration"),
]


def solved(problem, budget=1000, **hyperparameters):
    """The samples of a search with the exact agent."""
    referee = Referee(problem, budget)
    registry.make_agent("exact", {"effort_s": 20.0, **hyperparameters}).search(referee, 1)
    return referee.samples


@pytest.mark.parametrize(("scenario", "options", "method"), SOLVED)
def test_an_exact_agent_ends_with_the_optimum_and_improves_on_the_way(scenario, options, method):
    problem = dsegym.make_problem(scenario, **options)
    samples = solved(problem, method=method)
    assert problem.bound.name == "optimum"
    assert samples.objective[-1] == pytest.approx(problem.bound.value, rel=1e-6)
    assert samples.objective[-1] == samples.objective[samples.feasible].min()
    np.testing.assert_array_equal(problem.evaluate(samples.designs).objective, samples.objective)


def test_the_first_solver_is_the_default():
    problem = dsegym.make_problem(ALLOCATION, instance="perfect_30_s2")
    assert Referee(problem, 1).solvers == ("packing_search", "cp_sat")
    np.testing.assert_array_equal(solved(problem).designs, solved(problem, method="packing_search").designs)


@pytest.mark.parametrize("name", ["exact", "packing_search"])
def test_a_scenario_without_a_solver_refuses_an_exact_agent_before_the_run(problem, name):
    with pytest.raises(DsegymError, match=rf"^{name} needs a (solver|packing search), and dsegym/.* has none\.$"):
        registry.check_needs(name, problem)
    referee = Referee(problem, 10)
    with pytest.raises(DsegymError, match="needs a solver, and this problem has none"):
        registry.make_agent(name).search(referee, 1)
    assert referee.samples_left == 10


def test_a_solver_that_a_problem_lacks_is_named_with_those_it_has():
    problem = dsegym.make_problem(ALLOCATION, instance="perfect_30_s2")
    with pytest.raises(UnknownNameError, match=r"'cpsat'; there are: packing_search, cp_sat. Did you mean 'cp_sat'"):
        solved(problem, method="cpsat")
    with pytest.raises(UnknownNameError, match="'cpsat'; there are: packing_search, cp_sat"):
        Referee(problem, 1).incumbent("cpsat")


@pytest.mark.parametrize(
    ("options", "scenario"),
    [
        ({"placement": "best_fit"}, ALLOCATION),
        ({"graph": "wifi_tx", "objective": "edp"}, SOC),
        ({"space": "order"}, SOC),
        ({"graph": "wifi_tx", "frequency": "chosen"}, SOC),
    ],
)
def test_an_instance_whose_designs_a_solver_does_not_cost_has_none(scenario, options):
    assert not dsegym.make_problem(scenario, **options).solvers


def test_a_search_that_is_stopped_stops_its_solver():
    """One sample of CP-SAT's many: its thread ends when the trial does."""
    problem = dsegym.make_problem(ALLOCATION, instance="perfect_100_s2")
    with pytest.raises(BudgetExhausted):
        solved(problem, budget=2, method="cp_sat", effort_s=1e6)
    assert not any(thread.name == "cp_sat" for thread in threading.enumerate())


def test_a_trials_time_limits_its_solver():
    given = []

    def solver(limits):
        given.append(limits)
        yield [0] * 30

    problem = dsegym.make_problem(ALLOCATION, instance="perfect_30_s2")
    problem = dataclasses.replace(problem, solvers={"mine": solver})
    referee = Referee(problem, 10, time_limit_s=50.0)
    registry.make_agent("exact", {"effort_s": 7.0}).search(referee, 1)
    (limits,) = given
    assert limits.effort_s == 7.0
    assert 0 < limits.time_s <= 50.0
    assert len(referee.samples.designs) == 1
