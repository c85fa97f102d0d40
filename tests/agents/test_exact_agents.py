"""Exact methods as agents: their designs are samples, each better than the last, and the last is the optimum."""

import dataclasses
import json
import subprocess
import sys
import threading

import numpy as np
import pytest

import dsegym
from dsegym.agents import registry
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import BudgetExhausted, DsegymError, InvalidSuiteError, UnknownNameError
from dsegym.experiments import suite

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


# What each family's solver needs of OR-Tools, in a process that cannot import it.
WITHOUT_OR_TOOLS = """
import importlib.metadata, json, sys
sys.modules["ortools"] = None
found = importlib.metadata.distribution
def hidden(name):
    if name == "ortools":
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)
importlib.metadata.distribution = hidden
import contextlib, dsegym
from dsegym.agents import registry
from dsegym.costmodels.errors import BudgetExhausted, DsegymError
said = {}
for scenario, options, method in json.loads(sys.argv[1]):
    problem = dsegym.make_problem(scenario, **options)
    given = {"method": method, "effort_s": 5.0}
    try:
        registry.check_libraries("exact")
        registry.check_libraries_on("exact", given, problem)
    except DsegymError as error:
        said[method] = f"{type(error).__name__}: {error}"
        continue
    referee = dsegym.Referee(problem, 2000)
    registry.make_agent("exact", given).search(referee, 1)
    said[method] = bool(referee.samples.feasible.any())
print(json.dumps(said))
"""


@pytest.mark.slow
def test_without_or_tools_only_what_cp_sat_solves_is_refused_and_before_the_run():
    cases = [[*each] for each in SOLVED if not hasattr(each, "marks")]  # without the slow one
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_OR_TOOLS, json.dumps(cases)], check=True, capture_output=True, text=True
    )
    said = json.loads(done.stdout.splitlines()[-1])
    refusal = said.pop("cp_sat")
    assert refusal.startswith("MissingLibraryError: exact needs the library ortools, which is not installed;")
    assert refusal.count(". ") == 0  # one sentence
    assert said == dict.fromkeys(("packing_search", "milp", "dynamic_programming", "enumeration"), True)


def test_every_declared_library_is_of_a_solver_and_only_cp_sat_needs_or_tools():
    for case in SOLVED:
        scenario, options, method = getattr(case, "values", case)
        problem = dsegym.make_problem(scenario, **options)
        assert problem.solver_libraries.keys() <= problem.solvers.keys()
        expected = ("ortools",) if method == "cp_sat" else ()
        assert registry.make_agent("exact", {"method": method}).libraries_on(problem) == expected


def test_a_missing_library_of_one_scenario_refuses_a_suite_or_leaves_that_scenario_out(tmp_path, monkeypatch):
    problem = dsegym.make_problem(SOC)
    monkeypatch.setitem(problem.solver_libraries, "cp_sat", ("no-such-library",))
    monkeypatch.setattr(
        suite, "make_problem", lambda scenario, **options: problem if scenario == SOC else made(scenario)
    )
    made, path = dsegym.make_problem, tmp_path / "suite.toml"
    path.write_text(
        f'name = "exact"\nsamples = 5\nseeds = 1\n[[instances]]\nscenario = "{SOC}"\n'
        '[[instances]]\nscenario = "dsegym/ServingMix-v0"\n[[agents]]\nname = "exact"\n',
        encoding="utf-8",
    )
    with pytest.raises(InvalidSuiteError, match="exact needs the library no-such-library, which is not installed"):
        suite.load_suite(path)
    found = suite.load_suite(path, skip_missing=True)
    assert {trial.scenario for trial in found.trials} == {"dsegym/ServingMix-v0"}
    assert [reason.startswith(f"On {SOC}: exact needs the library") for reason in found.skipped] == [True]


LIMITED = """
import json, sys, dsegym
from dsegym.agents import registry
for scenario, options, method, effort in json.loads(sys.argv[1]):
    referee = dsegym.Referee(dsegym.make_problem(scenario, **options), 2000)
    registry.make_agent("exact", {"method": method, "effort_s": effort}).search(referee, 1)
    print(json.dumps([referee.samples.designs.tolist(), referee.samples.objective.tolist()]))
"""


@pytest.mark.slow
def test_an_effort_that_ends_a_search_early_ends_it_at_the_same_design_in_every_process():
    """On one machine and with one version of the solver; none of the two proves the optimum with so little."""
    pytest.importorskip("ortools", reason="OR-Tools is not installed")
    cases = [
        [ALLOCATION, {"instance": "perfect_300_s1"}, "packing_search", 0.2],
        [ALLOCATION, {"instance": "perfect_100_s2"}, "cp_sat", 0.5],
        [SOC, {"graph": "top7"}, "cp_sat", 0.2],
    ]
    traces = [
        subprocess.run(
            [sys.executable, "-c", LIMITED, json.dumps(cases)], check=True, capture_output=True, text=True
        ).stdout.splitlines()[-len(cases) :]
        for _ in range(2)
    ]
    assert traces[0] == traces[1]
    assert all(json.loads(trace)[0] for trace in traces[0])


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
