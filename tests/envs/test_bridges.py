"""Benchmark collections of others take our instances: each example is run by its library, where it is installed."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError

SCENARIO, OPTIONS = "dsegym/AcceleratorSizing-v0", {"workload": "alexnet", "area_budget": "small"}


@pytest.fixture
def example(monkeypatch):
    """Imports one of the examples."""
    monkeypatch.syspath_prepend(Path(dsegym.__file__).parent / "docs" / "examples")
    names = []

    def imported(name):
        names.append(name)
        return importlib.import_module(name)

    yield imported
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def problem():
    return dsegym.make_problem(SCENARIO, **OPTIONS)


def test_optunahub_runs_a_study_on_an_instance(example, problem):
    pytest.importorskip("optunahub", reason="OptunaHub is not installed")
    import optuna

    benchmark = example("optunahub_benchmark").Problem(SCENARIO, **OPTIONS)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), directions=benchmark.directions)
    study.optimize(benchmark, n_trials=12)
    for trial in study.trials:
        found = problem.evaluate(problem.space.of_places(trial.params))
        assert trial.value == pytest.approx(np.log(found.unpenalised[0]))
        assert trial.constraints == {"violation": pytest.approx(float(found.violation[0]))}


@pytest.mark.filterwarnings("ignore")  # of a sampler that Optuna calls experimental
def test_optunahub_minimises_several_costs_and_refuses_one_that_is_none(example, problem):
    pytest.importorskip("optunahub", reason="OptunaHub is not installed")
    import optuna

    module = example("optunahub_benchmark")
    benchmark = module.Problem(SCENARIO, ("latency_s", "energy_j"), **OPTIONS)
    study = optuna.create_study(sampler=optuna.samplers.NSGAIIISampler(seed=0), directions=benchmark.directions)
    study.optimize(benchmark, n_trials=4)
    found = problem.evaluate(problem.space.of_places(study.trials[0].params))
    assert study.trials[0].values == pytest.approx(np.log([found.metrics.latency_s[0], found.metrics.energy_j[0]]))
    with pytest.raises(DsegymError, match="weight: no costs of"):
        module.Problem(SCENARIO, ("weight",), **OPTIONS)


def test_a_random_search_of_carps_runs_on_an_instance(example, problem):
    pytest.importorskip("carps", reason="CARP-S is not installed")
    from carps.utils.trials import TrialInfo

    function = example("carps_objective").Instance(SCENARIO, seed=3, **OPTIONS)
    trials = [TrialInfo(config) for config in function.configspace.sample_configuration(8)]
    values = [function.evaluate(trial) for trial in trials]
    assert function.n_trials == 8
    assert function.f_min == problem.bound.value
    for trial, value in zip(trials, values, strict=True):
        found = problem.evaluate(problem.space.of_places(dict(trial.config)))
        assert value.cost == pytest.approx(float(found.objective[0]))
        assert value.additional_info == {"feasible": bool(found.feasible[0])}


def test_ioh_logs_a_random_search_on_an_instance(example, problem, tmp_path):
    ioh = pytest.importorskip("ioh", reason="IOHexperimenter is not installed")

    wrapped = example("ioh_problem").ioh_problem(problem)
    logger = ioh.logger.Analyzer(root=str(tmp_path), folder_name="log", algorithm_name="random")
    wrapped.attach_logger(logger)
    np.testing.assert_array_equal(wrapped.bounds.ub, problem.space.cardinalities - 1)
    designs = problem.space.sample(np.random.default_rng(0), 12)
    costs = [wrapped(design.tolist()) for design in designs]
    np.testing.assert_allclose(costs, problem.evaluate(designs).objective, rtol=1e-6)
    assert wrapped.state.evaluations == 12
    assert wrapped.state.current_best.y == min(costs)
    wrapped.reset()
    logger.close()
    assert list(tmp_path.rglob("*.dat"))
