"""Suites: what a file may say, and what every mistake in one is answered with."""

import pytest

from dsegym.costmodels.errors import InvalidSuiteError, UnknownNameError
from dsegym.experiments.suite import Trial, find_suite, load_suite, suite_names

GOOD = """
name = "good"
samples = 10
seeds = 2

[[instances]]
scenario = "dsegym/AcceleratorSizing-v0"
workload = ["alexnet", "vgg16"]
objective = ["edp", "latency"]

[[agents]]
name = "random_search"

[[agents]]
name = "genetic_algorithm"
draws = 2
"""


@pytest.fixture
def load(tmp_path):
    """Loads a suite from text."""

    def loader(text):
        path = tmp_path / "suite.toml"
        path.write_text(text, encoding="utf-8")
        return load_suite(path)

    return loader


def test_lists_of_option_values_agents_and_draws_multiply(load):
    suite = load(GOOD)
    assert (suite.name, suite.description) == ("good", "")
    assert len(suite.trials) == 4 * (1 + 2) * 2
    assert {trial.options["workload"] for trial in suite.trials} == {"alexnet", "vgg16"}
    assert {trial.options["area_budget"] for trial in suite.trials} == {"medium"}, "defaults are filled in"
    assert {(trial.agent, trial.draw) for trial in suite.trials} == {
        ("random_search", None),
        ("genetic_algorithm", 0),
        ("genetic_algorithm", 1),
    }
    assert {trial.seed for trial in suite.trials} == {0, 1}
    assert {trial.time_limit_s for trial in suite.trials} == {600.0}


def test_a_trial_survives_the_way_through_its_dictionary(load):
    for trial in load(GOOD).trials:
        assert Trial.from_dict(trial.as_dict()) == trial


@pytest.mark.parametrize("name", suite_names())
def test_every_shipped_suite_is_valid(name):
    assert load_suite(find_suite(name)).trials


def test_the_quick_suite_is_at_least_four_agents_four_instances_five_seeds_and_a_thousand_samples():
    trials = load_suite(find_suite("quick")).trials
    assert len({trial.agent for trial in trials}) >= 4
    assert len({tuple(trial.options.items()) for trial in trials}) >= 4
    assert len({trial.seed for trial in trials}) >= 5
    assert {trial.samples for trial in trials} == {1000}


def test_an_unknown_suite_lists_those_there_are_and_the_nearest():
    with pytest.raises(UnknownNameError, match=r"Unknown suite 'quik'; there are: .*quick.*Did you mean 'quick'\?"):
        find_suite("quik")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "good"', "name = 3", "name = 3 is not a text"),
        ('name = "good"', "", "the suite needs 'name'"),
        ("samples = 10", "samples = 0", "samples = 0 is not a whole number from 1"),
        ("samples = 10", "samples = -4", "samples = -4 is not a whole number"),
        ("samples = 10", "samples = true", "samples = True is not a whole number"),
        ("samples = 10", "samples = 1.5", "samples = 1.5 is not a whole number"),
        ("samples = 10", "sampels = 10", r"Unknown key of the suite 'sampels'.*Did you mean 'samples'\?"),
        ("seeds = 2", "seeds = []", "seeds is an empty list"),
        ("seeds = 2", "seeds = [1, 1]", "stands there twice"),
        ("seeds = 2", "seeds = [-1]", "a seed = -1 is not a whole number from 0"),
        ("seeds = 2", "seeds = 0", "seeds = 0 is not a whole number from 1"),
        ("seeds = 2", "seeds = 2\ntime_limit_s = 0", "time_limit_s = 0 is not a positive number"),
        ("seeds = 2", "seeds = 2\ntime_limit_s = inf", "time_limit_s = inf is not a positive number"),
        ("dsegym/AcceleratorSizing-v0", "dsegym/AcceleratorSising-v0", "Did you mean 'dsegym/AcceleratorSizing-v0'"),
        ("dsegym/AcceleratorSizing-v0", "no_such_package:x/Y-v0", "Cannot import 'no_such_package'"),
        ('scenario = "dsegym/AcceleratorSizing-v0"\n', "", "an instance needs 'scenario'"),
        ('"alexnet"', '"alexnot"', r"Unknown workload 'alexnot'; there are: alexnet.*Did you mean 'alexnet'\?"),
        ('"alexnet"', '"missing.csv"', "Cannot read the workload file 'missing.csv'"),
        ('["edp", "latency"]', "[]", "an option is an empty list"),
        ("objective =", "objectiv =", r"Unknown option 'objectiv'.*Did you mean 'objective'\?"),
        ("random_search", "random_serch", r"Unknown agent 'random_serch'.*Did you mean 'random_search'\?"),
        ("draws = 2", "draws = 0", "draws of genetic_algorithm = 0 is not a whole number from 1"),
        ("draws = 2", "hyperparameters = { populaton_size = 5 }", r"Did you mean 'population_size'\?"),
        ("draws = 2", 'hyperparameters = { population_size = "5" }', "is of type str; it takes int"),
        ("draws = 2", "hyperparameters = 5", "hyperparameters of genetic_algorithm must be a table"),
        ("draws = 2", "draws = 2\nhyperparameters = { population_size = 5 }", "both hyperparameters and draws"),
        ('name = "random_search"', 'name = "random_search"\ndraws = 2', "declares no hyperparameters to draw from"),
        ('name = "random_search"', 'name = "random_search"\n[[agents]]\nname = "random_search"', "stands there twice"),
    ],
)
def test_a_mistake_is_named_with_the_file_and_what_is_allowed(load, old, new, message):
    assert old in GOOD
    with pytest.raises(InvalidSuiteError, match=message) as caught:
        load(GOOD.replace(old, new, 1))
    assert "suite.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the suite needs 'name'"),
        ("not toml", "Cannot read the suite"),
        (GOOD.partition("[[agents]]")[0], "the suite needs 'agents'"),
        ("instances = []\nagents = []\nname = 'x'\nsamples = 1\nseeds = 1", "one or more"),
    ],
)
def test_an_empty_or_unreadable_suite_is_refused(load, text, message):
    with pytest.raises(InvalidSuiteError, match=message):
        load(text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidSuiteError, match=r"nothing\.toml.*No such file"):
        load_suite(tmp_path / "nothing.toml")
