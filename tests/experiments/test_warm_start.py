"""Warm starts from stored results and from a policy: the designs that an agent's hyperparameters then hold."""

import numpy as np
import pytest

import dsegym
from dsegym.agents import registry
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import BudgetExhausted, CorruptResultError, DsegymError
from dsegym.experiments import runner
from dsegym.experiments.layout import trial_directory
from dsegym.experiments.policy_store import load_policy
from dsegym.experiments.shipped_policies import find_policy
from dsegym.experiments.store import read_trial
from dsegym.experiments.suite import load_suite
from dsegym.experiments.suite_note import read_suite
from dsegym.experiments.warm_start import from_policy, from_results

ALLOCATION = "dsegym/MemoryAllocation-v0"
SUITE = f"""
name = "small"
description = "Two sizes of instances."
samples = 20
seeds = 2
[[instances]]
scenario = "{ALLOCATION}"
instance = ["perfect_30_s1", "perfect_40_s1"]
[[agents]]
name = "random_search"
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("warm")
    (folder / "small.toml").write_text(SUITE, encoding="utf-8")
    runner.run_suite(load_suite(folder / "small.toml"), folder / "results", workers=1)
    return folder / "results"


@pytest.mark.slow
def test_the_best_designs_of_instances_with_the_same_parameters_start_a_search(results):
    problem = dsegym.make_problem(ALLOCATION, instance="perfect_30_s2")
    given = from_results(results, problem)
    manifests = [read_trial(trial_directory(results, name)).manifest for name in read_suite(results)["trials"]]
    same = [m for m in manifests if m["trial"]["instance"]["options"]["instance"] == "perfect_30_s1"]
    same.sort(key=lambda manifest: manifest["best"]["objective"])
    referee = Referee(problem, 10)
    with pytest.raises(BudgetExhausted):
        registry.make_agent("warm_start", {"rules": "", **given}).search(referee, 1)
    expected = [manifest["best"]["design"] for manifest in same]
    np.testing.assert_array_equal(referee.samples.designs[: len(expected)], expected)
    assert all(manifest["trial_id"] in given["source"] for manifest in same)
    assert from_results(results, problem, most=1)["designs"] == given["designs"].partition(";")[0]


@pytest.mark.slow
def test_results_of_other_spaces_or_other_scenarios_are_refused(results):
    with pytest.raises(DsegymError, match="of none of its instances is the space this one's"):
        from_results(results, dsegym.make_problem(ALLOCATION, instance="perfect_60_s1"))
    with pytest.raises(DsegymError, match="no trial of this scenario found a feasible design"):
        from_results(results, dsegym.make_problem("dsegym/SocSchedulingStatic-v0"))


def test_a_directory_without_results_is_refused(tmp_path):
    with pytest.raises(CorruptResultError, match="holds no results"):
        from_results(tmp_path, dsegym.make_problem(ALLOCATION, instance="perfect_30_s2"))


@pytest.mark.slow
def test_a_policys_designs_start_a_search_below_the_reference():
    problem = dsegym.make_problem("dsegym/MemoryMapping-v0")
    policy = load_policy(find_policy("memory-mapping"))
    given = from_policy(policy, problem, samples=2)
    assert given == from_policy(policy, problem, samples=2)
    referee = Referee(problem, 2)
    with pytest.raises(BudgetExhausted):
        registry.make_agent("warm_start", {"rules": "", **given}).search(referee, 1)
    assert (referee.samples.objective < problem.reference.value).all()
    with pytest.raises(DsegymError, match=r"MemoryMapping-v0"):
        from_policy(policy, dsegym.make_problem(ALLOCATION))
