"""Suites: what is refused, in which words, and what a good one becomes."""

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest

from dsegym.agents.registry import agent_names, draw_hyperparameters, load_agent
from dsegym.agents.warm_start import designs_of
from dsegym.costmodels.errors import InvalidSuiteError, UnknownNameError
from dsegym.costmodels.files import file_hash
from dsegym.envs.core.scenarios import make_problem
from dsegym.experiments.kept_files import keep_files
from dsegym.experiments.suite import (
    DEFAULT_TIME_LIMIT_S,
    Trial,
    count_trials,
    find_suite,
    kept_options,
    load_suite,
    located,
    suite_names,
)
from dsegym.experiments.suite_note import write_suite
from dsegym.experiments.toml_tables import read_toml_file

ROOT = Path(__file__).resolve().parents[2]
HEAD = 'name = "s"\nsamples = 10\nseeds = 1\n'
INSTANCE = '[[instances]]\nscenario = "dsegym/AcceleratorSizing-v0"\nworkload = "alexnet"\n'
STATIC = '[[instances]]\nscenario = "dsegym/SocSchedulingStatic-v0"\n'
PACKING = '[[instances]]\nscenario = "dsegym/MemoryAllocation-v0"\n'
AGENT = '[[agents]]\nname = "random_search"\n'
GENETIC = '[[agents]]\nname = "genetic_algorithm"\n'
WORKLOAD = "layer,kind,m,n,k\nonly,gemm,8,8,8\n"


@pytest.fixture
def load(tmp_path):
    """Loads a suite given as text."""

    def load_text(text):
        path = tmp_path / "suite.toml"
        path.write_text(text, encoding="utf-8")
        return load_suite(path)

    return load_text


def head(**changes):
    """The head with keys changed; None leaves a key out."""
    keys = {"name": '"s"', "samples": "10", "seeds": "1", **changes}
    return "".join(f"{key} = {value}\n" for key, value in keys.items() if value is not None)


# What is wrong: (the suite, patterns that its message matches).
REFUSED = {
    "an agent on a problem that lacks what it needs": (
        HEAD + '[[instances]]\nscenario = "dsegym/MemoryAllocation-v0"\n[[agents]]\nname = "gradient_descent"\n',
        [r"cannot run: gradient_descent needs a relaxation, and dsegym/MemoryAllocation-v0 has none\.$"],
    ),
    "not TOML": ("name = [", ["Cannot read the suite"]),
    "empty": ("", ["needs 'name'"]),
    "no name": (head(name=None) + INSTANCE + AGENT, ["needs 'name'"]),
    "no samples": (head(samples=None) + INSTANCE + AGENT, ["needs 'samples'"]),
    "no seeds": (head(seeds=None) + INSTANCE + AGENT, ["needs 'seeds'"]),
    "no instances": (HEAD + AGENT, ["needs 'instances'"]),
    "no agents": (HEAD + INSTANCE, ["needs 'agents'"]),
    "an empty list of instances": (head(instances="[]") + AGENT, [r"one or more \[\[instances\]\] tables"]),
    "an empty list of agents": (head(agents="[]") + INSTANCE, [r"one or more \[\[agents\]\] tables"]),
    "instances that are no tables": (head(instances="[1]") + AGENT, [r"one or more \[\[instances\]\] tables"]),
    "one agent as a table": (HEAD + INSTANCE + '[agents]\nname = "random_search"\n', [r"\[\[agents\]\] tables"]),
    "agents that are a text": (head(agents='"random_search"') + INSTANCE, [r"\[\[agents\]\] tables"]),
    "an unknown key": (head(sample="3") + INSTANCE + AGENT, ["key of the suite 'sample'", "Did you mean 'samples'"]),
    "an unknown key of an agent": (HEAD + INSTANCE + AGENT + "draw = 2\n", ["key of the agent 'draw'", "'draws'"]),
    "an instance without scenario": (HEAD + '[[instances]]\nworkload = "alexnet"\n' + AGENT, ["needs 'scenario'"]),
    "a scenario that is a number": (HEAD + "[[instances]]\nscenario = 3\n" + AGENT, ["scenario = 3 is not a text"]),
    "an unknown scenario": (
        HEAD + INSTANCE.replace("Sizing", "Sizng") + AGENT,
        ["scenario 'dsegym/AcceleratorSizng-v0'", "Did you mean 'dsegym/AcceleratorSizing-v0'"],
    ),
    "a scenario of no package": (
        HEAD + INSTANCE.replace("dsegym/", "no_such_package:x/") + AGENT,
        ["Cannot import 'no_such_package'"],
    ),
    "an unknown option": (
        HEAD + INSTANCE + 'objectives = "edp"\n' + AGENT,
        ["option 'objectives'", "area_budget", "Did you mean 'objective'"],
    ),
    "an unknown workload": (
        HEAD + INSTANCE.replace("alexnet", "alexnett") + AGENT,
        ["workload 'alexnett'", "resnet50", "Did you mean 'alexnet'"],
    ),
    "one unknown value in a list": (
        HEAD + INSTANCE + 'objective = ["edp", "speed"]\n' + AGENT,
        ["objective 'speed'", "latency, energy, edp, target"],
    ),
    "an option that is a number": (HEAD + INSTANCE + "objective = 3\n" + AGENT, ["objective '3'"]),
    "an option that is an empty list": (HEAD + INSTANCE + "objective = []\n" + AGENT, ["empty list"]),
    "a workload file that is not there": (
        HEAD + INSTANCE.replace("alexnet", "no/such/file.csv") + AGENT,
        ["no/such/file.csv"],
    ),
    "an agent without name": (HEAD + INSTANCE + "[[agents]]\ndraws = 2\n", ["agent needs 'name'"]),
    "an agent's name that is a number": (HEAD + INSTANCE + "[[agents]]\nname = 3\n", ["name = 3 is not a text"]),
    "an unknown agent": (
        HEAD + INSTANCE + '[[agents]]\nname = "random_serch"\n',
        ["agent 'random_serch'", "genetic_algorithm", "Did you mean 'random_search'"],
    ),
    "an agent of no module": (HEAD + INSTANCE + '[[agents]]\nname = "no_such:Agent"\n', ["Cannot load the agent"]),
    "an agent of no class": (HEAD + INSTANCE + '[[agents]]\nname = "json:Agent"\n', ["Cannot load the agent"]),
    "an agent that is none": (HEAD + INSTANCE + '[[agents]]\nname = "json:JSONDecoder"\n', ["not a subclass"]),
    "an unknown hyperparameter": (
        HEAD + INSTANCE + GENETIC + "hyperparameters = { population = 10 }\n",
        ["hyperparameter of genetic_algorithm 'population'", "Did you mean 'population_size'"],
    ),
    "a hyperparameter of the wrong type": (
        HEAD + INSTANCE + GENETIC + 'hyperparameters = { population_size = "many" }\n',
        ["population_size = 'many' is of type str; it takes int"],
    ),
    "a hyperparameter that is a boolean": (
        HEAD + INSTANCE + GENETIC + "hyperparameters = { population_size = true }\n",
        ["population_size = True is of type bool"],
    ),
    "hyperparameters that are a list": (HEAD + INSTANCE + GENETIC + "hyperparameters = [1]\n", ["must be a table"]),
    "draws and hyperparameters": (
        HEAD + INSTANCE + GENETIC + "draws = 2\nhyperparameters = { population_size = 10 }\n",
        ["both hyperparameters and draws"],
    ),
    "draws of an agent with nothing to draw": (
        HEAD + INSTANCE + AGENT + "draws = 2\n",
        ["declares no hyperparameters"],
    ),
    "no draws": (HEAD + INSTANCE + GENETIC + "draws = 0\n", ["draws of genetic_algorithm = 0"]),
    "the same seed twice": (head(seeds="[1, 1]") + INSTANCE + AGENT, ["seed 1 stands there twice"]),
    "the same agent twice": (HEAD + INSTANCE + AGENT + AGENT, ["random_search.*twice"]),
    "the same instance twice": (HEAD + INSTANCE + INSTANCE + AGENT, ["alexnet.*twice"]),
    "a draw that equals fixed hyperparameters": (HEAD + INSTANCE + GENETIC + GENETIC + "draws = 1\n", ["twice"]),
    "an empty list of seeds": (head(seeds="[]") + INSTANCE + AGENT, ["seeds is an empty list"]),
    "a negative seed": (head(seeds="[-1]") + INSTANCE + AGENT, ["a seed = -1"]),
    "a name that is a number": (head(name="3") + INSTANCE + AGENT, ["name = 3 is not a text"]),
    "a name with an escape code": (head(name='"a\\u001b]0;x"') + INSTANCE + AGENT, [r"name = 'a\\x1b\]0;x' is not"]),
    "an agent's name with a NUL": (HEAD + INSTANCE + '[[agents]]\nname = "a\\u0000b:C"\n', ["an agent's name = 'a"]),
    "an agent of a relative module": (HEAD + INSTANCE + '[[agents]]\nname = "..:Agent"\n', ["Cannot load the agent"]),
    "two billion draws": (HEAD + INSTANCE + GENETIC + "draws = 2147483647\n", ["multiplies to 2147483647 trials"]),
    "lists that multiply": (
        HEAD + INSTANCE + "".join(f"{key} = {list(range(100))}\n" for key in "abcd") + AGENT,
        ["multiplies to 100000000 trials, 1000000 at most"],
    ),
    "inline tables in inline tables": ("x = " + "{a = " * 1000 + "1" + "}" * 1000, ["nested too deeply"]),
    "arrays in arrays": ("x = " + "[" * 100_000 + "]" * 100_000, ["nested too deeply"]),
    "a dotted key without end": ("a" + ".a" * 200_000 + " = 1", ["a key of more than 100 dots"]),
    "an integer of 5,000 digits": (head(samples="9" * 5000) + INSTANCE + AGENT, ["Cannot read the suite"]),
    "an integer of 9,000 hexadecimal digits": (head(samples="0x" + "f" * 9000) + INSTANCE + AGENT, ["a huge number"]),
    "a suite of two megabytes": ("#" * 2**21, ["no regular file of at most 1,048,576 bytes"]),
    "neighbours below one": (
        HEAD + INSTANCE + '[[agents]]\nname = "hill_climb"\nhyperparameters = { neighbours = -5 }\n',
        ["hill_climb's neighbours = -5 is not allowed; allowed: numbers from 1 to 100000"],
    ),
    "changes that are no number": (
        HEAD + INSTANCE + '[[agents]]\nname = "hill_climb"\nhyperparameters = { changes = nan }\n',
        ["hill_climb's changes = nan is not allowed; allowed: numbers from 0.01"],
    ),
    "a population of none": (
        HEAD + INSTANCE + GENETIC + "hyperparameters = { population_size = 0 }\n",
        ["population_size = 0 is not allowed; allowed: numbers from 2"],
    ),
    "no candidates": (
        HEAD + INSTANCE + '[[agents]]\nname = "tpe"\nhyperparameters = { candidates = 0 }\n',
        ["candidates = 0 is not allowed"],
    ),
    "an empty rule": (
        HEAD + INSTANCE + '[[agents]]\nname = "heuristic"\nhyperparameters = { rule = "" }\n',
        ["heuristic's rule = '' is not allowed; allowed: texts of a length from 1"],
    ),
    "instances without room only": (
        HEAD
        + '[[instances]]\nscenario = "dsegym/SocSchedulingStatic-v0"\ngraph = ["range_detection", "sct"]\n'
        + AGENT,
        ["range_detection.* is not above bound .*; .*sct"],
    ),
    "prices spelled in two ways": (
        HEAD + '[[instances]]\nscenario = "dsegym/TreeSearch-v0"\nprice = ["0", "-0.0"]\n' + AGENT,
        ["price = 0 stands there twice"],
    ),
    "the platform's own name and what it stands for": (
        HEAD + STATIC + 'platform = ["own", "top"]\n' + AGENT,
        ["platform = top.* is the same instance as .*platform = own"],
    ),
    "the buffers' own capacity and its number": (
        HEAD + PACKING + 'instance = "layered_40_s4"\ncapacity = ["own", 4480000]\n' + AGENT,
        ["capacity = 4480000.* is the same instance as .*capacity = own"],
    ),
    "more samples of an agent than of the suite": (
        HEAD + INSTANCE + AGENT + "most_samples = 11\n",
        ["most_samples of random_search = 11 is not a whole number from 1 to 10"],
    ),
    "no samples of an instance": (
        HEAD + INSTANCE + "most_samples = 0\n" + AGENT,
        ["most_samples of an instance = 0 is not a whole number from 1 to 10"],
    ),
    "samples of an instance as a list": (HEAD + INSTANCE + "most_samples = [3, 4]\n" + AGENT, ["most_samples of an"]),
    "an agent of no scenario": (
        HEAD + INSTANCE + AGENT + "scenarios = []\n",
        ["scenarios of random_search must be a list of at least one name"],
    ),
    "an agent of a scenario that the suite does not play": (
        HEAD + INSTANCE + AGENT + 'scenarios = ["dsegym/SleepTime-v0"]\n',
        ["scenario of random_search among the suite's 'dsegym/SleepTime-v0'", "dsegym/AcceleratorSizing-v0"],
    ),
    "an agent's scenario that is a number": (
        HEAD + INSTANCE + AGENT + "scenarios = [3]\n",
        ["a scenario of random_search = 3 is not a text"],
    ),
    "an agent on a scenario that lacks what it needs": (
        HEAD + STATIC + INSTANCE + '[[agents]]\nname = "gradient_descent"\nscenarios = ['
        '"dsegym/AcceleratorSizing-v0", "dsegym/SocSchedulingStatic-v0"]\n',
        ["gradient_descent needs a relaxation, and dsegym/SocSchedulingStatic-v0 has none"],
    ),
    "a description that is a list": (head(description="[]") + INSTANCE + AGENT, ["description"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_suite_that_says_something_wrong_is_refused(case, load, tmp_path):
    text, patterns = REFUSED[case]
    with pytest.raises(InvalidSuiteError) as raised:
        load(text)
    message = str(raised.value)
    assert "\n" not in message
    for pattern in (*patterns, re.escape(str(tmp_path / "suite.toml"))):
        assert re.search(pattern, message), message


@pytest.mark.parametrize("key", ["samples", "seeds"])
@pytest.mark.parametrize("value", ["0", "-1", "true", "1.0", '"10"', "2147483648", "nan"])
def test_counts_that_are_no_positive_whole_numbers_are_refused(key, value, load):
    with pytest.raises(InvalidSuiteError, match=f"{key} = .* is not a whole number from 1"):
        load(head(**{key: value}) + INSTANCE + AGENT)


@pytest.mark.parametrize("value", ["0", "-1.5", "true", "nan", "inf", '"10"', "1e300", "9" * 400])
def test_time_limits_that_are_no_positive_numbers_are_refused(value, load):
    with pytest.raises(InvalidSuiteError, match=r"time_limit_s = .* is not a positive number of seconds"):
        load(head(time_limit_s=value) + INSTANCE + AGENT)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InvalidSuiteError, match="No such file"):
        load_suite(tmp_path / "absent.toml")
    with pytest.raises(InvalidSuiteError, match="Cannot read the suite"):
        load_suite(tmp_path)
    (tmp_path / "latin.toml").write_bytes('name = "Zürich"'.encode("latin-1"))
    with pytest.raises(InvalidSuiteError, match="Cannot read the suite"):
        load_suite(tmp_path / "latin.toml")


def test_a_users_workload_file_is_checked_before_anything_runs(load, tmp_path):
    table = tmp_path / "network.csv"
    instance = INSTANCE.replace("alexnet", table.as_posix())
    table.write_text(WORKLOAD, encoding="utf-8")
    assert load(HEAD + instance + AGENT).trials[0].options["workload"] == table.as_posix()
    table.write_text(WORKLOAD.replace("gemm", "lstm"), encoding="utf-8")
    with pytest.raises(InvalidSuiteError, match=r"network\.csv"):
        load(HEAD + instance + AGENT)


def test_lists_of_options_agents_and_seeds_multiply_in_the_order_of_the_file(load):
    several = INSTANCE.replace('"alexnet"', '["alexnet", "resnet18"]') + 'objective = ["edp", "energy"]\n'
    suite = load(head(seeds="[7, 3]", samples="5") + several + AGENT + GENETIC)
    expected = [
        (workload, objective, agent, seed)
        for workload in ("alexnet", "resnet18")
        for objective in ("edp", "energy")
        for agent in ("random_search", "genetic_algorithm")
        for seed in (7, 3)
    ]
    found = [(t.options["workload"], t.options["objective"], t.agent, t.seed) for t in suite.trials]
    assert found == expected
    assert {trial.samples for trial in suite.trials} == {5}


def test_what_a_suite_leaves_out_takes_its_default(load):
    suite = load(HEAD + INSTANCE + AGENT)
    assert (suite.name, suite.description) == ("s", "")
    (trial,) = suite.trials
    assert trial.time_limit_s == DEFAULT_TIME_LIMIT_S
    assert trial.options == {
        "workload": "alexnet",
        "objective": "latency",
        "area_budget": "medium",
        "platform": "gemmini",
    }
    assert (trial.hyperparameters, trial.draw, trial.seed) == ({}, None, 0)


def test_draws_that_have_come_before_are_left_out_until_there_are_no_more(load):
    trials = load(HEAD + INSTANCE + '[[agents]]\nname = "latin_hypercube"\ndraws = 3\n').trials
    assert len({json.dumps(dict(trial.hyperparameters)) for trial in trials}) == 3
    numbers = list(dict.fromkeys(trial.draw for trial in trials))
    assert numbers == sorted(numbers)
    assert all(draw_hyperparameters(trial.agent, trial.draw) == trial.hyperparameters for trial in trials)
    with pytest.raises(InvalidSuiteError, match="draws of latin_hypercube = 4, where 3 choices"):
        load(HEAD + INSTANCE + '[[agents]]\nname = "latin_hypercube"\ndraws = 4\n')


@pytest.mark.parametrize("value", ["[]", "[10, 10]", "[0]", "[true]", '["10"]'])
def test_budgets_that_are_none_are_refused(value, load):
    with pytest.raises(InvalidSuiteError, match="budget"):
        load(HEAD.replace("samples = 10", f"samples = {value}") + INSTANCE + AGENT)


def test_draws_are_numbered_differ_and_repeat_and_the_first_is_the_default(load):
    trials = load(HEAD + INSTANCE + GENETIC + "draws = 4\n").trials
    assert [trial.draw for trial in trials] == [0, 1, 2, 3]
    assert trials[0].hyperparameters == {}
    assert len({json.dumps(trial.hyperparameters, sort_keys=True) for trial in trials}) == 4
    assert trials[:2] == load(HEAD + INSTANCE + GENETIC + "draws = 2\n").trials


@pytest.mark.parametrize("text", [HEAD + INSTANCE + AGENT, HEAD + INSTANCE + GENETIC + "draws = 3\n"])
def test_a_trial_survives_the_way_through_json(text, load):
    for trial in load(text).trials:
        assert Trial.from_dict(json.loads(json.dumps(trial.as_dict()))) == trial


@pytest.mark.parametrize(
    ("seeds", "objective", "agents", "count"),
    [
        ("1", '"edp"', AGENT, 1),
        ("[4, 9]", '["edp", "energy"]', AGENT, 2 * 2),
        ("3", '["edp"]', AGENT + GENETIC + "draws = 5\n", 3 * (1 + 5)),
    ],
)
def test_trials_are_counted_as_they_are_made(seeds, objective, agents, count, tmp_path):
    path = tmp_path / "suite.toml"
    path.write_text(head(seeds=seeds) + INSTANCE + f"objective = {objective}\n" + agents, encoding="utf-8")
    assert len(load_suite(path).trials) == count_trials(read_toml_file(path)) == count


def test_a_trial_has_the_least_of_its_suites_its_agents_and_its_instances_samples(load, tmp_path):
    text = HEAD + INSTANCE + STATIC + "most_samples = 7\n" + AGENT + GENETIC + "most_samples = 8\n"
    trials = load(text).trials
    assert [trial.samples for trial in trials] == [10, 8, 7, 7]
    assert len(trials) == count_trials(read_toml_file(tmp_path / "suite.toml"))


def test_an_agent_plays_the_scenarios_that_it_is_declared_for(load, tmp_path):
    scenarios = 'scenarios = ["dsegym/AcceleratorSizing-v0"]\n'
    trials = load(HEAD + INSTANCE + STATIC + AGENT + '[[agents]]\nname = "gradient_descent"\n' + scenarios).trials
    played = [(trial.agent, trial.scenario.removeprefix("dsegym/")) for trial in trials]
    everywhere = [("random_search", name) for name in ("AcceleratorSizing-v0", "SocSchedulingStatic-v0")]
    assert sorted(played) == [("gradient_descent", "AcceleratorSizing-v0"), *everywhere]
    assert len(trials) == count_trials(read_toml_file(tmp_path / "suite.toml"))


# Whose instances have optima that are searched for when they are made; core has one of each scenario.
SLOW_SUITES = dict.fromkeys(
    (
        "accelerator-mapping",
        "core-permuted",
        "lottery",
        "memory-tiers",
        "serving",
        "serving-stream",
        "soc_stream",
        "test-time",
    ),
    pytest.mark.minutes,
)
SLOW_SUITES |= dict.fromkeys(("core", "transfer"), pytest.mark.slow)


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW_SUITES.get(name, ())) for name in suite_names()])
def test_a_shipped_suite_loads_under_its_own_name_and_can_be_run(name, tmp_path):
    suite = load_suite(name)
    assert len(write_suite(tmp_path, suite)) == len(suite.trials)
    assert suite.name == name
    assert suite.description
    assert len(suite.trials) == count_trials(read_toml_file(find_suite(name))) > 0


@pytest.mark.slow
def test_the_quick_suite_is_at_least_four_agents_four_instances_five_seeds_and_a_thousand_samples():
    trials = load_suite(find_suite("quick")).trials
    assert len({trial.agent for trial in trials}) >= 4
    assert len({tuple(trial.options.items()) for trial in trials}) >= 4
    assert len({trial.seed for trial in trials}) >= 5
    assert {trial.samples for trial in trials} == {1000}


def test_the_smoke_suite_is_small_and_of_agents_that_need_no_extra():
    suite = load_suite("smoke")
    assert len(suite.trials) <= 50
    assert len({trial.scenario for trial in suite.trials}) >= 6
    assert max(trial.samples for trial in suite.trials) <= 100
    for agent in {trial.agent for trial in suite.trials}:
        assert not load_agent(agent).libraries


@pytest.mark.slow
def test_the_designs_of_the_transfer_suite_are_of_its_instances_spaces_and_of_other_instances():
    trials, sources = load_suite("transfer").trials, load_suite("transfer-sources").trials
    begun = {
        (
            trial.scenario,
            tuple(trial.options.items()),
            trial.hyperparameters["source"],
            trial.hyperparameters["designs"],
        )
        for trial in trials
        if "designs" in trial.hyperparameters
    }
    assert {trial.scenario for trial in trials} == {scenario for scenario, *_ in begun}
    assert {source for _, _, source, _ in begun} == {"another instance", "a policy"}
    source_of = {trial.scenario: make_problem(trial.scenario, **trial.options) for trial in sources}
    for scenario, options, source, designs in begun:
        problem = make_problem(scenario, **dict(options))
        assert len(designs_of(problem.space, designs, "warm_start")) in {3, 4}  # equal ones are there once
        if source == "another instance":
            known = source_of[scenario]
            assert [(each.name, each.values) for each in known.space.parameters] == [
                (each.name, each.values) for each in problem.space.parameters
            ]
            assert known.content != problem.content


def test_every_suite_stands_in_the_documents_table():
    text = (ROOT / "docs" / "compete.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)
    assert set(suite_names()) <= set(named)
    assert len(named) == len(set(named))


def test_an_unknown_suite_lists_those_that_there_are():
    with pytest.raises(UnknownNameError, match=r"quick.*Did you mean 'quick'"):
        find_suite("quik")


def test_a_seed_given_as_a_count_is_pointed_out(tiny_file, tmp_path):
    path = tmp_path / "many.toml"
    path.write_text(tiny_file.read_text(encoding="utf-8").replace("seeds = 2", "seeds = 20240601"), encoding="utf-8")
    with pytest.raises(InvalidSuiteError, match=r"for one seed write seeds = \[20240601\]"):
        load_suite(path)


def test_paths_are_relative_to_the_suites_file_wherever_one_stands(tmp_path, monkeypatch):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "net.csv").write_text(WORKLOAD, encoding="utf-8")
    (tmp_path / "net.csv").write_text(WORKLOAD.replace("8,8,8", "16,16,16"), encoding="utf-8")
    path = folder / "suite.toml"
    path.write_text(HEAD + INSTANCE.replace("alexnet", "net.csv") + AGENT, encoding="utf-8")
    found = []
    for here, given in ((tmp_path, "study/suite.toml"), (folder, "suite.toml"), (tmp_path / "study" / "..", str(path))):
        monkeypatch.chdir(here)
        found.append(load_suite(given))
    assert {suite.trials[0].options["workload"] for suite in found} == {str(folder / "net.csv")}
    (folder / "net.csv").unlink()
    with pytest.raises(InvalidSuiteError, match=re.escape(str(folder / "net.csv"))):
        load_suite(path)  # never the one of the current folder


@pytest.mark.parametrize("other", ["./net.csv", "copy.csv", "commented.csv"])
def test_equal_contents_are_one_instance(other, load, tmp_path):
    (tmp_path / "net.csv").write_text(WORKLOAD, encoding="utf-8")
    (tmp_path / "copy.csv").write_text(WORKLOAD, encoding="utf-8")
    (tmp_path / "commented.csv").write_text(f"# {WORKLOAD[:5]}\n{WORKLOAD}", encoding="utf-8")
    with pytest.raises(InvalidSuiteError, match=r"stands there twice|is the same instance as"):
        load(HEAD + INSTANCE.replace('"alexnet"', f'["net.csv", "{other}"]') + AGENT)


def test_a_trace_of_requests_is_a_workload_that_results_keep(load, tmp_path):
    rows = "0,150,80\n1,210,100\n1.5,4002,300\n3,4003,500\n"
    (tmp_path / "chats.csv").write_text("arrival_s,prompt_tokens,output_tokens\n" + rows, encoding="utf-8")
    mix = '[[instances]]\nscenario = "dsegym/ServingMix-v0"\nworkload = "chats.csv"\ngpus = "L4=1,H100-SXM-80GB=3"\n'
    (trial,) = load(HEAD + mix + AGENT).trials
    ((place, path),) = trial.files()
    results = tmp_path / "results"
    results.mkdir()
    assert keep_files(results, trial.files()) == {place: "chats.csv"}
    options = kept_options(trial, results)
    assert options["workload"] == str(results / place) != str(path)
    problem = make_problem(trial.scenario, **options)
    assert any("4 requests of a trace" in note for note in problem.notes)


def test_instances_without_room_are_left_out_with_the_reason(load, tmp_path):
    (tmp_path / "one.jsp").write_text("1 1\n0 5\n", encoding="utf-8")
    graphs = '["range_detection", "top1", "one.jsp"]'
    text = HEAD + STATIC + f"graph = {graphs}\n" + AGENT
    suite = load(text)
    assert [trial.options["graph"] for trial in suite.trials] == ["top1"]
    reasons = [(re.search(r"graph = \S*?(\w+)(?:\.jsp)?,", name)[1], reason) for name, reason in suite.left_out]
    assert reasons == [
        ("range_detection", "reference 176 is not above bound 176: the reference is as good as anything can be"),
        ("one", "its design space has one design: there is nothing to decide"),
    ]


def test_a_pipe_for_a_suite_is_refused(tmp_path):
    os.mkfifo(tmp_path / "suite.toml")
    with pytest.raises(InvalidSuiteError, match="no regular file"):
        load_suite(tmp_path / "suite.toml")
    with pytest.raises(InvalidSuiteError, match="Cannot read the suite"):
        load_suite("a\0b.toml")


@pytest.mark.parametrize("name", agent_names())
def test_what_an_agent_offers_lies_in_its_ranges(name):
    agent = load_agent(name)
    for key, (least, most) in agent.ranges.items():
        default = getattr(agent, key)
        offered = [default, *agent.hyperparameters.get(key, ())]
        assert all(least <= (len(value) if isinstance(value, str) else value) <= most for value in offered)
    numbers = {field.name for field in dataclasses.fields(agent) if type(field.default) in (int, float)}
    assert numbers <= agent.ranges.keys()


def test_agents_without_their_libraries_are_left_out_when_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(load_agent("genetic_algorithm"), "libraries", ("no-such-library",))
    path = tmp_path / "suite.toml"
    path.write_text(HEAD + INSTANCE + AGENT + GENETIC, encoding="utf-8")
    missing = "genetic_algorithm needs the library no-such-library, which is not installed"
    with pytest.raises(InvalidSuiteError, match=missing):
        load_suite(path)
    suite = load_suite(path, skip_missing=True)
    assert {trial.agent for trial in suite.trials} == {"random_search"}
    assert [reason.startswith(missing) for reason in suite.skipped] == [True]
    path.write_text(HEAD + INSTANCE + GENETIC, encoding="utf-8")
    with pytest.raises(InvalidSuiteError, match=missing):
        load_suite(path, skip_missing=True)


@pytest.mark.parametrize(
    ("name", "kept"), [("in.12.csv", ".12.csv"), ("net", ""), ("a b.tar.x y", ""), ("n.json", ".json"), (".hidden", "")]
)
def test_a_kept_file_keeps_the_suffixes_that_may_say_what_it_is(name, kept, tmp_path, tiny_suite):
    """A packing's capacity may stand there."""
    (tmp_path / name).write_bytes(b"same")
    trial = dataclasses.replace(tiny_suite.trials[0], options={"instance": str(tmp_path / name)})
    place = trial.as_dict()["instance"]["options"]["instance"]
    assert place == f"files/{file_hash(str(tmp_path / name))[:16]}{kept}"
    assert located({"instance": place, "price": "0"}, tmp_path) == {"instance": str(tmp_path / place), "price": "0"}
