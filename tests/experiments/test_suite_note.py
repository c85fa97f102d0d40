"""The note of a results directory declares every trial of its suite, and damage to it is named."""

import dataclasses
import itertools
import json

import pytest

from dsegym.costmodels.errors import CorruptResultError, DsegymError
from dsegym.experiments import batches, suite_note
from dsegym.experiments.suite import Suite, count_trials, load_suite
from dsegym.experiments.suite_note import read_suite, write_suite
from dsegym.experiments.toml_tables import read_toml_file


def test_a_directory_takes_one_suite_only(results, tiny_suite):
    before = (results / "suite.json").read_bytes()
    other = dataclasses.replace(tiny_suite, name="other")
    with pytest.raises(
        DsegymError, match="holds the results of the suite 'tiny'; choose another directory for 'other'"
    ):
        write_suite(results, other)
    assert (results / "suite.json").read_bytes() == before


def test_a_suite_that_has_grown_keeps_the_trials_that_it_had(tmp_path, tiny_suite):
    small = Suite("tiny", "", tiny_suite.trials[:2])
    identifiers = write_suite(tmp_path, small)
    assert write_suite(tmp_path, tiny_suite)[:2] == identifiers
    assert len(read_suite(tmp_path)["trials"]) == len(tiny_suite.trials)


def test_trials_of_another_suite_of_the_same_name_are_counted(results, tiny_suite):
    other = dataclasses.replace(tiny_suite, trials=tiny_suite.trials[2:])
    write_suite(results, other)
    assert len(batches.strays(results, read_suite(results)["trials"])) == 2
    write_suite(results, tiny_suite)
    assert batches.strays(results, read_suite(results)["trials"]) == []


def test_trials_that_are_no_product_make_no_suite(tmp_path, tiny_suite):
    with pytest.raises(DsegymError, match="not its agents on its instances with all its seeds"):
        write_suite(tmp_path, dataclasses.replace(tiny_suite, trials=tiny_suite.trials[:3]))


def test_the_note_declares_the_suites_trials(results, tiny_suite):
    assert suite_note.declared_trials(read_suite(results)) == [trial.as_dict() for trial in tiny_suite.trials]


def test_the_note_declares_budgets_that_differ_and_agents_that_do_not_play_everywhere(tmp_path, tiny_suite):
    first, second = tiny_suite.trials[0], tiny_suite.trials[-1]
    other = dataclasses.replace(second, agent="sobol", samples=first.samples + 1)
    elsewhere = dataclasses.replace(first, options={**first.options, "objective": "energy"})
    trials = tuple(dataclasses.replace(each, seed=seed) for each in (first, other, elsewhere) for seed in (0, 1))
    write_suite(tmp_path, dataclasses.replace(tiny_suite, trials=trials))
    note = read_suite(tmp_path)
    assert suite_note.declared_trials(note) == [trial.as_dict() for trial in trials]
    assert suite_note.count_declared(note["declared"]) == len(note["trials"]) == 6
    assert sorted(itertools.chain(*note["declared"]["budgets"])) == [0, first.samples, first.samples, other.samples]


def test_an_agent_that_first_plays_on_a_later_instance_may_stand_anywhere_among_the_others(tmp_path, tiny_suite):
    first = tiny_suite.trials[0]
    played = {"latency": ("hill_climb", "sobol"), "energy": ("hill_climb", "exhaustive", "sobol"), "edp": ("sobol",)}
    trials = tuple(
        dataclasses.replace(first, agent=agent, options={**first.options, "objective": objective})
        for objective, agents in played.items()
        for agent in agents
    )
    write_suite(tmp_path, dataclasses.replace(tiny_suite, trials=trials))
    assert suite_note.declared_trials(read_suite(tmp_path)) == [trial.as_dict() for trial in trials]
    crossed = dataclasses.replace(tiny_suite, trials=(*trials[:2], trials[4], trials[2]))
    with pytest.raises(DsegymError, match="not its agents on its instances"):
        write_suite(tmp_path / "crossed", crossed)


SEVERAL = """
name = "several"
samples = [20, 60, 40]
seeds = 2
[[instances]]
scenario = "dsegym/AcceleratorSizing-v0"
workload = ["alexnet", "resnet18"]
[[agents]]
name = "random_search"
[[agents]]
name = "genetic_algorithm"
draws = 2
most_samples = 30
"""


def test_the_note_declares_several_budgets(tmp_path):
    file = tmp_path / "several.toml"
    file.write_text(SEVERAL)
    suite = load_suite(file)
    held = {(trial.agent, trial.samples) for trial in suite.trials}
    assert held == {("random_search", each) for each in (20, 40, 60)} | {
        ("genetic_algorithm", each) for each in (20, 30)
    }
    assert len(suite.trials) == 2 * 2 * (3 + 2 * 2) == count_trials(read_toml_file(file))
    write_suite(tmp_path / "results", suite)
    declared = read_suite(tmp_path / "results")["declared"]
    assert suite_note.declared_trials({"declared": declared}) == [trial.as_dict() for trial in suite.trials]
    assert suite_note.count_declared(declared) == len(suite.trials)
    assert sorted(suite_note.largest_budgets(declared).values()) == [30] * 4 + [60] * 2


@pytest.mark.parametrize("budgets", [[], [[1, 2, 3]], [[1]] * 40])
def test_budgets_of_other_agents_or_instances_are_refused(budgets, results):
    path = results / "suite.json"
    note = json.loads(path.read_text())
    note["declared"]["budgets"] = budgets
    path.write_text(json.dumps(note))
    with pytest.raises(CorruptResultError, match="'budgets' is no table of its agents on its instances"):
        read_suite(results)


def test_folders_that_lead_out_are_not_written_to(tmp_path, tiny_suite):
    for name in ("trials", "files"):
        results = tmp_path / f"with-{name}"
        results.mkdir()
        (results / name).symlink_to(tmp_path)
        with pytest.raises(CorruptResultError, match="leads out"):
            write_suite(results, tiny_suite)


def test_a_directory_without_results_is_named(tmp_path):
    with pytest.raises(CorruptResultError, match=r"holds no results: there is no suite\.json"):
        read_suite(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not readable as JSON"),
        ('{"format": 1, "name": 3, "description": "", "trials": []}', "'name' is missing or of the wrong type"),
        ("{", "not readable as JSON"),
        ("[]", "'format' is missing"),
        ('{"format": 1, "name": "tiny", "description": ""}', "'trials' is missing"),
    ],
)
def test_a_damaged_note_of_the_suite_is_named(content, reason, results, tiny_suite):
    (results / "suite.json").write_text(content, encoding="utf-8")
    with pytest.raises(CorruptResultError, match=reason) as raised:
        read_suite(results)
    assert str(results / "suite.json") in str(raised.value)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_run_over_a_damaged_note_of_the_suite_stops(content, results, tiny_suite):
    (results / "suite.json").write_text(content, encoding="utf-8")
    with pytest.raises(DsegymError, match=r"suite\.json: "):
        write_suite(results, tiny_suite)
    assert (results / "suite.json").read_text(encoding="utf-8") == content
