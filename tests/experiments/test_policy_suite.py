"""Suites of policies: what is wrong with one is said in one sentence, before anything runs."""

import re
import tomllib

import pytest

from dsegym.costmodels.errors import InvalidSuiteError, UnknownNameError
from dsegym.experiments.policy_suite import load_policy_suite
from dsegym.experiments.suite import find_any_suite, find_suite, is_policy_suite, policy_suite_names

SOUND = """
name = "mine"
seeds = 2

[[trainings]]
collection = "cascade-budgets"
learner = "imitation"
steps = 2000

[[trainings]]
collection = "cascade-budgets"
learner = "ppo"
name = "warm"
steps = 3000
starts_from = "imitation"
seeds = [1]

[[evaluations]]
collection = "cascade-budgets"

[[evaluations]]
collection = "cascade-budgets"
only = ["warm"]
sweep = { budget = [1, 500] }
"""


def loaded(folder, text):
    path = folder / "mine.toml"
    path.write_text(text)
    return load_policy_suite(path)


def test_a_suite_declares_a_training_of_every_seed_and_an_evaluation_of_every_point(tmp_path):
    suite = loaded(tmp_path, SOUND)
    assert [(each.name, each.training.seed) for each in suite.trainings] == [
        ("imitation", 0),
        ("imitation", 1),
        ("warm", 1),
    ]
    assert suite.trainings[2].starts_from is suite.trainings[1]
    assert [dict(each.changed) for each in suite.evaluations] == [{}, {"budget": "1"}, {"budget": "500"}]
    assert [len(each.trainings) for each in suite.evaluations] == [3, 1, 1]
    for number, evaluation in enumerate(suite.evaluations[1:]):
        assert [each["budget"] for each in evaluation.collection.options("test")] == [["1", "500"][number]]


def test_a_path_is_taken_from_the_folder_of_the_suite(tmp_path):
    (tmp_path / "own.toml").write_text(
        'name = "own"\nscenario = "dsegym/ReasoningCascade-v0"\n[[train]]\nbudget = [2, 8]\n[[test]]\nbudget = 5\n'
    )
    text = SOUND.replace('collection = "cascade-budgets"', 'collection = "own.toml"')
    assert {each.training.collection.name for each in loaded(tmp_path, text).trainings} == {"own"}


def test_a_file_of_a_sweep_is_taken_from_the_folder_of_the_suite(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "net.csv").write_text("name,m,k,n\nfirst,8,8,8\n")
    monkeypatch.chdir(tmp_path)
    text = SOUND.replace("cascade-budgets", "accelerator-networks").replace(
        "budget = [1, 500]", "workload = ['net.csv']"
    )
    suite = loaded(tmp_path / "mine", text)
    assert suite.evaluations[1].changed == {"workload": str(tmp_path / "mine" / "net.csv")}


WRONG = {
    "an unknown learner": (('"ppo"', '"popo"'), "Unknown learner 'popo'"),
    "an unknown collection": (('"cascade-budgets"', '"cascades"'), "Unknown collection"),
    "an unknown key": (("steps = 2000", "steps = 2000\nstep = 1"), "Unknown key of the training 'step'"),
    "no steps": (("steps = 2000", ""), "the training needs 'steps'"),
    "steps that are none": (("steps = 2000", "steps = 0"), "steps of imitation = 0 is not a whole number from 1"),
    "a hyperparameter that there is not": (("steps = 2000", "steps = 2000\nhyperparameters = {x = 1}"), "'x'"),
    "a hyperparameter as a text": (
        ("steps = 2000", 'steps = 2000\nhyperparameters = {units = "8"}'),
        "imitation's units = '8' is a text",
    ),
    "a hyperparameter out of range": (("steps = 2000", "steps = 2000\nhyperparameters = {units = 0}"), "units"),
    "a learner that cannot play it": (
        ('learner = "imitation"', 'learner = "gumbel_muzero"'),
        "gumbel_muzero on cascade-budgets: Gumbel MuZero searches with the true simulator",
    ),
    "a network that does not fit": (
        ("steps = 2000", 'steps = 2000\nhyperparameters = {architecture = "lstm"}'),
        "imitation on cascade-budgets: ",
    ),
    "a name that is no file's": (('"warm"', '"../warm"'), "is not of letters, digits"),
    "a training twice": (('name = "warm"', 'name = "imitation"'), "stands there twice"),
    "a start from what is not above": (('starts_from = "imitation"', 'starts_from = "warm"'), "Unknown training above"),
    "a start from a seed that there is not": (
        ("seeds = [1]", "seeds = [5]"),
        "starts from imitation, which has no seed 5",
    ),
    "a seed twice": (("seeds = [1]", "seeds = [1, 1]"), "the seed of warm 1 stands there twice"),
    "an unknown part": (("only", 'split = "tests"\nonly'), "Unknown split 'tests'"),
    "an unknown mode": (("only", 'mode = "lucky"\nonly'), "Unknown mode 'lucky'"),
    "samples of a greedy policy": (("only", "samples = 4\nonly"), "4 samples of a greedy policy are one"),
    "samples that are none": (("only", "samples = 0\nonly"), "samples = 0 is not a whole number from 1"),
    "a sweep of what is no option": (("budget = [1", "budgets = [1"), "Unknown option"),
    "a sweep over nothing": (("[1, 500]", "[]"), "each with a list of values"),
    "a sweep over one value spelled twice": (("[1, 500]", "[1, 1.0]"), "stands there twice"),
    "a sweep over what does not fit": (("[1, 500]", "[1, 'x']"), "budget"),
    "policies that there are not": (('only = ["warm"]', 'only = ["cold"]'), "Unknown only of the evaluations"),
    "an evaluation that nobody can play": (
        ('[[evaluations]]\ncollection = "cascade-budgets"\nonly', '[[evaluations]]\ncollection = "packing"\nonly'),
        "Unknown trained_on of the evaluations on 'packing'",
    ),
    "the same evaluation twice": (('only = ["warm"]\nsweep = { budget = [1, 500] }', ""), "stands there twice"),
    "no evaluations": ((SOUND[SOUND.index("[[evaluations]]") :], ""), "the suite needs 'evaluations'"),
    "trainings that are no tables": (
        (SOUND[SOUND.index("[[trainings]]") :], "trainings = 3\nevaluations = []"),
        "tables",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_suite_is_said_in_one_sentence(tmp_path, change, sentence):
    assert change[0] in SOUND
    with pytest.raises(InvalidSuiteError, match=r"mine\.toml' cannot run: ") as caught:
        loaded(tmp_path, SOUND.replace(*change))
    assert re.search(re.escape(sentence), str(caught.value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", policy_suite_names())
def test_a_shipped_suite_is_sound(name):
    path = find_any_suite(name)
    assert is_policy_suite(path)
    suite = load_policy_suite(path)
    assert suite.name == name
    assert suite.description
    assert {each.training.collection.name for each in suite.trainings} == {
        table["collection"] for table in tomllib.loads(path.read_text())["trainings"]
    }


def test_what_is_for_trials_is_refused_of_a_suite_of_policies(tmp_path, dsegym_command):
    (tmp_path / "mine.toml").write_text(SOUND)
    arguments = ("run", str(tmp_path / "mine.toml"), "--output", str(tmp_path / "results"))
    for words in (("--workers", "2"), ("--skip-missing",)):
        code, out, err = dsegym_command(*arguments, *words)
        assert (code, out) == (2, "")
        assert f"{words[0]} is for suites of trials" in err
    assert not (tmp_path / "results").exists()


def test_a_suite_of_trials_is_none_of_policies():
    assert find_any_suite("quick") == find_suite("quick")
    assert not is_policy_suite(find_suite("quick"))
    with pytest.raises(UnknownNameError, match="policies"):
        find_any_suite("polices")
