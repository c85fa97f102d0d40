"""The worked examples of CONTRIBUTING.md: another package's scenario and agent, from registering to stored results."""

import importlib
import itertools
import re
import sys
import tomllib
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from dsegym import Referee, load_scenario, make_problem, unregister
from dsegym.agents.registry import load_agent, make_agent
from dsegym.costmodels.errors import BudgetExhausted
from dsegym.experiments.layout import trial_directory
from dsegym.experiments.store import read_trial
from dsegym.experiments.suite import load_suite
from dsegym.experiments.suite_note import write_suite
from dsegym.experiments.trial import run_trial
from dsegym.experiments.verify import verify
from dsegym.testing import check_agent, check_scenario

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples"
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAME = "toy/CacheSizing-v0"
SCENARIO = f"toy_scenario:{NAME}"
SEQUENTIAL = "toy_sequential:toy/Checkpointing-v0"
AGENT = "toy_agent:HillClimber"
INSTANCES = [(program, budget) for program in ("matrix", "graph") for budget in ("small", "large")]


def blocks(language):
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module", autouse=True)
def examples():
    """The example modules can be imported; what they register is taken back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield
    unregister(NAME)
    unregister(SEQUENTIAL.partition(":")[2])
    for module in ("toy_scenario", "toy_sequential", "toy_agent", "nevergrad_agent"):
        sys.modules.pop(module, None)


def problem(program="graph", area_budget="large"):
    return make_problem(SCENARIO, program=program, area_budget=area_budget)


def search(agent, samples, seed):
    referee = Referee(problem(), samples)
    with pytest.raises(BudgetExhausted):
        agent.search(referee, seed)
    return referee.samples


def test_the_text_names_the_example_files_and_quotes_them_verbatim():
    sources = [path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.glob("*.py"))]
    named = {
        "carps_objective.py",
        "ioh_problem.py",
        "nevergrad_agent.py",
        "optunahub_benchmark.py",
        "rollout_agent.py",
        "toy_agent.py",
        "toy_model.py",
        "toy_scenario.py",
        "toy_sequential.py",
        "train_ppo.py",
    }
    assert {path.name for path in EXAMPLES.glob("*.py")} == named
    assert "docs/examples/toy_scenario.py" in TEXT
    assert "docs/examples/toy_sequential.py" in TEXT
    assert "docs/examples/toy_agent.py" in TEXT
    assert "docs/examples/nevergrad_agent.py" in TEXT
    quoted = blocks("python")
    assert quoted
    for block in quoted:
        assert any(block in source for source in sources), block


@pytest.mark.slow
def test_the_scenario_and_the_agent_keep_their_contracts():
    check_scenario(SCENARIO, [{"program": "matrix"}, {"program": "graph", "area_budget": "large"}])
    check_agent(AGENT, SCENARIO)


@pytest.mark.slow
def test_the_sequential_scenario_keeps_its_contract():
    check_scenario(SEQUENTIAL, [{}, {"network": "even", "memory": 0.25}])


@pytest.mark.parametrize("network", ["narrowing", "even"])
@pytest.mark.parametrize("memory", [0.25, 0.5, 1])
def test_the_sequential_scenarios_optimum_is_that_of_the_knapsack_by_hand(network, memory):
    instance = make_problem(SEQUENTIAL, network=network, memory=memory)
    sizes, times = importlib.import_module("toy_sequential").NETWORKS[network]
    room, most = int(memory * sum(sizes)), 0
    for kept in itertools.product((0, 1), repeat=len(sizes)):
        if np.dot(kept, sizes) <= room:
            most = max(most, int(np.dot(kept, times)))
    assert instance.bound.value == 4 * sum(times) - most
    assert instance.reference.value == 4 * sum(times)


def test_what_does_not_fit_is_masked_and_counts_as_recomputed():
    env = gymnasium.make(SEQUENTIAL, memory=0.25)
    _, info = env.reset(seed=0)
    masks, terminated = [], False
    while not terminated:
        masks.append(info["action_mask"].tolist())
        *_, terminated, _, info = env.step(1)
    assert masks == [[1, 0], [1, 1], *[[1, 0]] * 5, [1, 1]]  # 52 MiB: the second layer's 48 fit, then the last one's 4
    assert info["design"].tolist() == [mask[1] for mask in masks]
    assert info["illegal_actions"] == 6


def test_the_scenario_makes_a_vector_environment():
    env = gymnasium.make_vec(SCENARIO, num_envs=3)
    env.reset(seed=0)
    env.action_space.seed(0)
    _, reward, terminated, _, info = env.step(env.action_space.sample())
    assert reward.shape == (3,)
    assert terminated.all()
    assert info["final_info"]["objective"].shape == (3,)


@pytest.mark.parametrize(("program", "area_budget"), INSTANCES)
def test_the_yardsticks_are_what_the_designs_cost_and_feasible_designs_always_win(program, area_budget):
    instance = problem(program, area_budget)
    costs = instance.evaluate(instance.space.enumerate(0, instance.space.size))
    assert instance.bound.value == costs.objective.min() < instance.reference.value
    assert costs.objective[costs.feasible].max() < costs.objective[~costs.feasible].min()
    for yardstick in (instance.reference, instance.bound):
        replayed = instance.evaluate(np.array(yardstick.design))
        assert (replayed.objective[0], replayed.feasible[0]) == (yardstick.value, True)


def test_the_core_instances_are_those_of_the_options():
    core = load_scenario(SCENARIO).core_instances()
    assert [(options["program"], options["area_budget"]) for options in core] == INSTANCES


def test_the_agent_finds_the_optimum_through_the_referee_and_repeats_itself():
    agent = make_agent(AGENT, {"reach": 2})
    samples = search(agent, 200, seed=0)
    assert len(samples.objective) == 200
    assert samples.objective[samples.best] == problem().bound.value
    np.testing.assert_array_equal(samples.designs, search(agent, 200, seed=0).designs)
    assert (samples.designs != search(agent, 200, seed=1).designs).any()


def test_the_agents_hyperparameters_are_fields_with_a_default_among_the_choices():
    agent = load_agent(AGENT)
    for name, choices in agent.hyperparameters.items():
        assert getattr(agent(), name) in choices


def test_the_suite_of_the_text_runs_and_verifies(tmp_path):
    (text,) = (block for block in blocks("toml") if "[[instances]]" in block)
    assert tomllib.loads(text)["name"] == "toy"
    path = tmp_path / "toy.toml"
    path.write_text(text, encoding="utf-8")
    suite = load_suite(path)
    assert {trial.scenario for trial in suite.trials} == {SCENARIO}
    assert AGENT in {trial.agent for trial in suite.trials}
    results = tmp_path / "results"
    identifiers = write_suite(results, suite)
    for trial, identifier in zip(suite.trials, identifiers, strict=True):
        run_trial(trial, identifier, results)
        manifest = read_trial(trial_directory(results, identifier)).manifest
        assert (manifest["status"], manifest["samples_used"]) == ("finished", trial.samples)
    assert [verdict.problem for verdict in verify(results)] == [""] * len(suite.trials)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Nevergrad's, of itself
def test_nevergrads_optimiser_competes_from_one_file():
    pytest.importorskip("nevergrad", reason="Nevergrad is not installed")
    check_agent("nevergrad_agent:NgOpt", SCENARIO)
    samples = search(make_agent("nevergrad_agent:NgOpt"), 120, 0)
    best = samples.objective[samples.best]
    assert best <= np.quantile(problem().evaluate(problem().space.sample(np.random.default_rng(0), 200)).objective, 0.1)
