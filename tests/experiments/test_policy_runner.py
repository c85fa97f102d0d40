"""Suites of policies as they run: nothing is done twice, and what was killed goes on with the same bits."""

import json
import shutil

import pytest

from dsegym.costmodels.errors import DsegymError
from dsegym.envs.core.collections import load_collection
from dsegym.experiments import policy_runner
from dsegym.experiments import training as trainings
from dsegym.experiments.evaluations import changed, read_evaluations
from dsegym.experiments.identities import hashed_id
from dsegym.experiments.policy_runner import run_policies
from dsegym.experiments.policy_store import WEIGHTS, load_policy, policy_digest
from dsegym.experiments.policy_suite import load_policy_suite
from dsegym.experiments.publish import publish
from dsegym.experiments.verify import verify

TINY = """
name = "tiny"
description = "small"
seeds = [0, 3]
[[trainings]]
collection = "cascade-budgets"
learner = "imitation"
steps = 1024
hyperparameters = { lanes = 8, rollout = 8, minibatches = 2, units = 8 }
[[trainings]]
collection = "cascade-budgets"
learner = "ppo"
name = "warm"
starts_from = "imitation"
steps = 2048
hyperparameters = { lanes = 8, rollout = 8, minibatches = 2, units = 8 }
[[evaluations]]
collection = "cascade-budgets"
[[evaluations]]
collection = "cascade-budgets"
only = ["warm"]
sweep = { budget = [1, 50, 500] }
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "tiny.toml"
    path.write_text(TINY)
    return load_policy_suite(path)


@pytest.fixture(scope="module")
def whole(suite, tmp_path_factory):
    """Results of a run that nobody stopped; not to be changed."""
    results = tmp_path_factory.mktemp("whole") / "results"
    run = run_policies(suite, results)
    assert (run.trained, run.kept, run.evaluated, run.kept_evaluations, run.problems) == (4, 0, 10, 0, [])
    return results


def policies(results):
    return {each.name: (each / WEIGHTS).read_bytes() for each in (results / "policies").iterdir()}


def values(results):
    return {each.manifest["evaluation_id"]: each.rows.rows() for each in read_evaluations(results)}


def test_what_is_done_is_not_done_again(suite, whole):
    run = run_policies(suite, whole)
    assert (run.trained, run.kept, run.evaluated, run.kept_evaluations, run.problems) == (0, 4, 0, 10, [])


class Killed(BaseException):
    """In place of a signal."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "calls", [3, pytest.param(40, marks=pytest.mark.minutes), pytest.param(100, marks=pytest.mark.minutes)]
)
def test_a_run_that_was_killed_goes_on_to_the_same_results(suite, whole, tmp_path, monkeypatch, calls):
    monkeypatch.setattr(trainings, "SAVE_EVERY_S", 0.0)
    seen = []

    def killer(*told):
        seen.append(told)
        if len(seen) == calls:
            raise Killed

    with pytest.raises(Killed):
        run_policies(suite, tmp_path / "results", killer)
    run = run_policies(suite, tmp_path / "results")
    assert run.problems == []
    assert run.kept == [0, 2, 4][[3, 40, 100].index(calls)]
    assert policies(tmp_path / "results") == policies(whole)
    assert values(tmp_path / "results").keys() != set()
    rows = sorted(map(str, values(tmp_path / "results").values()))
    assert rows == sorted(map(str, values(whole).values()))


def test_a_policy_says_what_it_started_from_and_what_that_cost(whole):
    found = {each.name.split("-")[2:4][0] + each.name.split("-")[3]: each for each in (whole / "policies").iterdir()}
    warm, before = load_policy(found["warmseed3"]), load_policy(found["imitationseed3"])
    assert warm.card.starts_from == policy_digest(before)
    assert warm.card.steps == 2048 + before.card.steps
    assert warm.card.training_s > before.card.training_s
    assert before.card.starts_from is None


@pytest.mark.slow
def test_results_are_published_and_verified(suite, whole):
    published = publish(whole)
    (table,) = published.leaderboard.policies
    assert [(row.entrant, row.policies) for row in table.rows if row.role == "policy"]
    assert {row.policies for row in table.rows if row.role == "policy"} == {2}
    page = (published.folder / "leaderboard.html").read_text()
    assert "<title>tiny" in page
    assert [verdict.problem for verdict in verify(whole) if verdict.problem] == []


@pytest.mark.slow
def test_a_training_that_fails_is_told_of_and_the_others_go_on(suite, tmp_path, monkeypatch):
    real = policy_runner.train_policy

    def failing(training, directory, **words):
        if training.agent == "imitation" and training.seed == 0:
            raise DsegymError("no luck.")
        return real(training, directory, **words)

    monkeypatch.setattr(policy_runner, "train_policy", failing)
    run = run_policies(suite, tmp_path / "results")
    assert run.problems == ["imitation on cascade-budgets, seed 0: no luck."]
    assert (run.trained, run.evaluated) == (2, 5)  # those of seed 3


def test_a_directory_of_another_suite_is_refused(suite, whole, tmp_path):
    (tmp_path / "policies.json").write_text((whole / "policies.json").read_text().replace("tiny", "other"))
    with pytest.raises(DsegymError, match="holds the results of the suite 'other'"):
        run_policies(suite, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["policies.json"]


def test_a_sweep_is_verified_against_the_collection_and_what_was_changed(whole, tmp_path):
    results = shutil.copytree(whole, tmp_path / "results")
    directory = next(
        each for each in (results / "evaluations").iterdir() if '"500"' in (each / "evaluation.json").read_text()
    )
    manifest = json.loads((directory / "evaluation.json").read_text())
    assert manifest["changed"] == {"budget": "500"}
    manifest["changed"] = {"budget": "400"}
    named = {key: value for key, value in manifest.items() if key not in ("evaluation_id", "seconds", "files")}
    manifest["evaluation_id"] = hashed_id(named, {}, {})
    (directory / "evaluation.json").write_text(json.dumps(manifest))
    directory.rename(directory.with_name(manifest["evaluation_id"]))
    problems = [verdict.problem for verdict in verify(results) if verdict.problem]
    assert any("with the options that are said to be changed" in problem for problem in problems)


def test_instances_that_a_change_makes_one_are_one():
    collection = load_collection("soc-stream-rates")
    assert len(collection.options("test")) == 4
    options = changed(collection, {"noise": "0.5"}).options("test")
    assert [(each["interval_us"], each["noise"]) for each in options] == [("20", "0.5"), ("50", "0.5")]


def test_the_command_runs_a_suite_and_makes_the_page(whole, tmp_path, dsegym_command):
    (tmp_path / "tiny.toml").write_text(TINY)
    arguments = ("run", str(tmp_path / "tiny.toml"), "--output", str(whole))
    code, out, _ = dsegym_command(*arguments)
    assert code == 0
    assert "tiny: 0 policies trained, 4 already there; 0 evaluated, 10 already there." in out
    assert dsegym_command("learning", str(whole), "--output", str(tmp_path))[0] == 0
    page = (tmp_path / "learning.md").read_text()
    assert "dsegym run tiny --output results/tiny" in page
    assert "declares 4 trainings, each seed counted; 4 of them have results here.\n\n##" in page
    printed = dsegym_command("learning", str(tmp_path / "learning" / "results.json"))[1]
    assert printed == page
    stored = (tmp_path / "learning" / "results.json").read_text()
    assert dsegym_command("learning", str(whole), "--json").out == stored
    again = json.loads(dsegym_command(*arguments, "--json").out)
    assert (again["policies_already_there"], again["evaluations_already_there"], again["problems"]) == (4, 10, [])


def test_results_without_evaluations_make_no_page(tmp_path, dsegym_command):
    code, _, err = dsegym_command("learning", str(tmp_path))
    assert code == 2
    assert "holds no evaluation of a policy" in err
    (tmp_path / "results.json").write_text("{}")
    code, _, err = dsegym_command("learning", str(tmp_path / "results.json"))
    assert code == 2
    assert "is no file of stored results" in err


def test_an_option_of_every_instance_is_changed_by_hand(whole, tmp_path, dsegym_command):
    policy = next((whole / "policies").glob("*warm-seed0*"))
    arguments = ("evaluate", str(policy), "--collection", "cascade-budgets", "--output", str(tmp_path / "results"))
    code, out, _ = dsegym_command(*arguments, "--option", "budget=50.0")
    assert code == 0
    assert "Policies, zero-shot: cascade-budgets, test, budget=50" in out
    same = next(each for each in read_evaluations(whole) if each.manifest.get("changed") == {"budget": "50"})
    (own,) = read_evaluations(tmp_path / "results")
    assert own.manifest["changed"] == {"budget": "50"}
    assert own.curve is not None
    assert own.rows.filter(own.rows["rule"]).rows() == same.rows.filter(same.rows["rule"]).rows()
    code, _, err = dsegym_command(*arguments, "--option", "budgets=50")
    assert code == 2
    assert "budget" in err
