"""Shipped policies: each plays what it is for, and its stored evaluation reproduces."""

import pytest

from dsegym.costmodels.errors import UnknownNameError
from dsegym.envs.core.collections import load_collection
from dsegym.experiments.evaluations import read_evaluations
from dsegym.experiments.policy_store import load_policy, policy_digest
from dsegym.experiments.shipped_policies import find_policy, policy_names, shipped_evaluation, shipped_results
from dsegym.experiments.verify import verify

MOST_BYTES = 400_000  # of a shipped policy with its evaluation

by_name = pytest.mark.parametrize("name", policy_names())


def test_there_is_one_for_memory_mapping_and_one_for_the_stream():
    scenarios = {shipped_evaluation(name)["scenario"] for name in policy_names()}
    assert {"dsegym/MemoryMapping-v0", "dsegym/SocSchedulingStream-v0"} <= scenarios


@by_name
def test_a_shipped_policy_is_small_and_whole(name):
    (result,) = read_evaluations(shipped_results(name))
    policy = load_policy(find_policy(name))
    assert result.manifest["policy"]["digest"] == policy_digest(policy)
    assert result.manifest["split"] == "test"
    assert result.curve
    assert sum(each.stat().st_size for each in shipped_results(name).rglob("*") if each.is_file()) < MOST_BYTES


@pytest.mark.slow
@by_name
def test_a_shipped_policy_was_trained_on_the_collection_that_it_names(name):
    card = load_policy(find_policy(name)).card
    assert card.trained_on == load_collection(card.collection).digests("train")


@pytest.mark.minutes
@by_name
def test_the_stored_evaluation_of_a_shipped_policy_reproduces(name):
    assert [verdict.problem for verdict in verify(shipped_results(name))] == [""]


def test_an_unknown_policy_is_answered_with_those_that_there_are(tmp_path):
    with pytest.raises(UnknownNameError, match="memory-mapping"):
        find_policy("memory-maping")
    assert find_policy(str(tmp_path / "mine")) == tmp_path / "mine"
