"""The agents on SoC scheduling: none beats a bound, search reaches a proven optimum, and scores are held out."""

import contextlib

import numpy as np
import pytest

import dsegym
from dsegym.agents.referee import Referee
from dsegym.agents.registry import make_agent
from dsegym.costmodels.errors import BudgetExhausted
from dsegym.envs.soc.static import SCENARIO
from dsegym.experiments.layout import trial_directory
from dsegym.experiments.store import read_trial
from dsegym.experiments.suite import load_suite
from dsegym.experiments.suite_note import write_suite
from dsegym.experiments.trial import run_trial

STATIC, STREAM = "dsegym/SocSchedulingStatic-v0", "dsegym/SocSchedulingStream-v0"
AGENTS = {
    "random_search": {},
    "genetic_algorithm": {"start": "heft"},
    "hill_climb": {"start": "heft"},
    "tpe": {},
    "ppo": {"form": "sequential", "lanes": 8, "steps": 32},
}
SAMPLES = 150
CLIMB = 20_000  # samples; twelve seeds found the optimum after 1,439 to 15,427


def searched(problem, name, samples, seed=0, **hyperparameters):
    referee = Referee(problem, samples)
    with contextlib.suppress(BudgetExhausted):
        make_agent(name, hyperparameters).search(referee, seed)
    return referee.samples


@pytest.mark.parametrize(
    ("graph", "agent"),
    [
        ("top1", "random_search"),
        ("top1", "genetic_algorithm"),
        ("top1", "hill_climb"),
        *(pytest.param("top1", agent, marks=pytest.mark.slow) for agent in ("tpe", "ppo")),
        *(pytest.param("wifi_tx", agent, marks=pytest.mark.slow) for agent in AGENTS),
    ],
)
def test_no_agent_beats_the_bound(graph, agent):
    problem = dsegym.make_problem(STATIC, graph=graph)
    assert problem.bound.name == "optimum"
    samples = searched(problem, agent, SAMPLES, **AGENTS[agent])
    assert len(samples.objective) == SAMPLES
    assert samples.feasible.all()
    assert samples.objective.min() >= problem.bound.value
    if AGENTS[agent].get("start") == "heft":
        assert samples.objective.min() <= problem.reference.value
    np.testing.assert_array_equal(problem.evaluate(samples.designs).objective, samples.objective)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_a_climb_from_heft_reaches_the_optimum_of_the_papers_example(seed):
    problem = dsegym.make_problem(STATIC, graph="top1")
    assert searched(problem, "hill_climb", CLIMB, seed, start="heft").objective.min() == problem.bound.value == 73.0


@pytest.mark.slow
@pytest.mark.parametrize("options", SCENARIO.core_instances(), ids=lambda options: options["graph"])
def test_no_heuristic_no_random_design_and_no_climb_beats_a_stored_bound(options):
    problem = dsegym.make_problem(STATIC, **options)
    designs = np.array([make() for make in problem.baselines.values()])
    assert problem.evaluate(designs).objective.min() >= problem.bound.value
    assert searched(problem, "random_search", 128).objective.min() >= problem.bound.value
    assert searched(problem, "hill_climb", 512, start="cp_sat").objective.min() >= problem.bound.value


SUITE = f"""
name = "stream"
samples = 24
seeds = 1

[[instances]]
scenario = "{STREAM}"
jobs = ["top"]
count = ["{{count}}"]

[[agents]]
name = "hill_climb"
"""


@pytest.mark.parametrize("count", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_a_trial_on_a_stream_is_scored_on_the_held_out_traces(tmp_path, count):
    (tmp_path / "stream.toml").write_text(SUITE.format(count=count), encoding="utf-8")
    suite, results = load_suite(tmp_path / "stream.toml"), tmp_path / "results"
    (trial,), (identifier,) = suite.trials, write_suite(results, suite)
    run_trial(trial, identifier, results)
    stored = read_trial(trial_directory(results, identifier))
    best = stored.manifest["best"]
    problem = dsegym.make_problem(STREAM, **stored.manifest["trial"]["instance"]["options"])
    design = np.array(best["design"])
    assert best["objective"] == problem.evaluate(design).objective[0]
    assert best["held_out"] == problem.evaluate_held_out(design).objective[0] != best["objective"]
    assert stored.trace.height == stored.manifest["samples_used"] == 24
    assert best["objective"] <= problem.as_searched.reference.value
    assert best["held_out"] >= problem.bound.value
