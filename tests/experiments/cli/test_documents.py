"""`--json`: every command has it, and prints one document of strict JSON, which says what the library says."""

import math
import subprocess
import sys

import numpy as np
import pytest
import typer

import dsegym
from dsegym.costmodels.files import strict_json
from dsegym.envs.core.collections import load_collection
from dsegym.experiments import cli
from dsegym.experiments.cli.documents import json_text
from dsegym.experiments.suite import count_trials

SIZING = "dsegym/AcceleratorSizing-v0"
ALEXNET = (SIZING, "--workload", "alexnet")
PACKING = ("dsegym/MemoryAllocation-v0", "--option", "instance=perfect_30_s1")


@pytest.fixture
def document(dsegym_command):
    """Runs a command with `--json`; returns what it printed, which must be a document and all that was printed."""

    def command(*arguments, code=0):
        outcome = dsegym_command(*arguments, "--json")
        assert outcome.code == code, outcome.err
        assert "warning" not in outcome.err
        return strict_json(outcome.out)

    return command


def commands_of(group, words=()):
    """(words that call it, the command) of every command below a group."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, (*words, name))
        else:
            yield (*words, name), command


COMMANDS = dict(commands_of(typer.main.get_command(cli.app)))


def test_the_commands_of_groups_are_found():
    assert {("list",), ("proxy", "fit"), ("submit", "check")} < set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_declares_json_and_leaves_standard_output_to_it(words):
    command = COMMANDS[words]
    (option,) = (each for each in command.params if "--json" in each.opts)
    assert (option.name, option.is_flag, option.default) == ("as_json", True, False)
    # `documents.alone` wraps a command, and typer's own wrapper calls that.
    assert hasattr(command.callback.__wrapped__, "__wrapped__")


def test_a_document_is_strict_whatever_is_in_it():
    content = {
        "a": [math.nan, -math.inf, np.float32(np.nan), 0.1],
        "b": np.array([[1, 2]]),
        3: (True, None, np.int64(7)),
    }
    expected = {"a": [None, None, None, 0.1], "b": [[1, 2]], "3": [True, None, 7]}
    assert strict_json(json_text(content)) == expected


def test_what_others_print_goes_to_standard_error_until_the_command_ends():
    script = (
        "import os, subprocess\n"
        "from dsegym.experiments.cli.documents import alone, print_json\n"
        "@alone\n"
        "def command(as_json):\n"
        "    print('this process')\n"
        "    os.write(1, b'a library\\n')\n"
        "    subprocess.run(['echo', 'another process'], check=True)\n"
        "    print_json({'as_json': as_json}) if as_json else None\n"
        "command(as_json=True)\n"
        "print('after', flush=True)\n"
        "command(as_json=False)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    document, after, without = found.stdout.partition("after\n")
    assert (strict_json(document), after) == ({"as_json": True}, "after\n")
    said = ["a library", "another process", "this process"]
    assert sorted(found.stderr.splitlines()) == sorted(without.splitlines()) == said


# --- What they say. ---


def test_list_names_everything_with_counts_and_needs(document):
    from dsegym.agents.registry import agent_names, agent_needs
    from dsegym.experiments.suite import find_suite, suite_names
    from dsegym.experiments.toml_tables import read_toml_file

    found = document("list")
    assert [each["id"] for each in found["scenarios"]] == list(dsegym.scenario_ids())
    assert {each["name"]: each["needs"] for each in found["agents"]} == {
        name: list(agent_needs(name)) for name in agent_names()
    }
    trials = {each["name"]: each["trials"] for each in found["suites"]}
    assert trials == {name: count_trials(read_toml_file(find_suite(name))) for name in suite_names()}
    for part in ("learners", "collections", "policy_suites", "policies"):
        assert all(each["name"] for each in found[part])


def test_info_says_what_the_problem_says(document):
    found, problem = document("info", *ALEXNET), dsegym.make_problem(SIZING, workload="alexnet")
    assert found["options"] == dict(problem.options)
    assert {each["name"] for each in found["known_options"]} == {*problem.options, "permutation"}
    assert (found["designs"], found["designs_log10"]) == (problem.space.size, math.log10(problem.space.size))
    assert [each["values"] for each in found["parameters"]] == [list(p.values) for p in problem.space.parameters]
    for name in ("reference", "bound"):
        yardstick = getattr(problem, name)
        assert found[name]["value"] == yardstick.value
        assert found[name]["design"] == problem.decode(yardstick.design)
    assert [each["name"] for each in found["observation"]["features"]] == [
        each.name for each in problem.functional_env().features
    ]
    assert found["notes"][: len(problem.notes)] == list(problem.notes)


def test_a_space_beyond_exact_numbers_is_told_by_its_logarithm(document):
    found = document("info", *PACKING)
    size = dsegym.make_problem(PACKING[0], instance="perfect_30_s1").space.size
    assert found["designs"] is None
    assert found["designs_log10"] == pytest.approx(len(str(size)), abs=1)


def test_run_tells_of_every_trial(document, results, tiny_file):
    found = document("run", tiny_file, "--output", results)
    assert (found["suite"], found["trials"], found["already_there"]) == ("tiny", 4, 4)
    assert (found["run_now"], found["problems"], found["trials_of_other_suites"]) == ({}, [], 0)


def test_verify_names_what_it_rejects_and_still_fails(document, results, first_trial):
    (first_trial / "trace.parquet").write_bytes(b"")
    found = document("verify", results, code=1)
    assert (found["claims"], found["reproduced"]) == (4, 3)
    (rejected,) = found["rejected"]
    assert rejected["subject"] == str(first_trial)
    assert rejected["problem"].startswith(str(first_trial))
    assert found["declared"]["seeds"] == [0, 1]
    assert "every sample" in found["checked"]


def test_export_and_compact_count_and_name_the_place(document, results, tmp_path):
    assert document("compact", results) == {"folder": str(results / "batches"), "trials_moved": 4}
    path = tmp_path / "samples.parquet"
    found = document("export", results, "--output", path)
    assert found == {"file": str(path), "samples": 240}
    assert path.is_file()


def test_episodes_are_counted_with_their_steps(document, tmp_path, monkeypatch):
    monkeypatch.setattr("dsegym.experiments.episodes.export_episodes", lambda *arguments, **named: 7)
    found = document("export", PACKING[0], "--output", "dsegym/packing-v0", "--episodes", 2)
    assert found == {"data_set": "dsegym/packing-v0", "episodes": 2, "steps": 7}


def test_render_says_which_design_it_drew_and_how_long_a_film_lasts(document, tmp_path):
    problem = dsegym.make_problem(PACKING[0], instance="perfect_30_s1")
    path = tmp_path / "a.gif"
    found = document("render", *PACKING, "--frames", "3", "--rate", "2", "--output", path)
    assert found["design"] == problem.decode(problem.reference.design)
    assert (found["file"], found["kind"]) == (str(path), "film")
    assert (found["frames"], found["duration_s"]) == (3, 2 * 0.5 + 2.0)


def test_trace_counts_bytes_and_operations(document, tmp_path, monkeypatch):
    (tmp_path / "traced_model.py").write_text("def step(a, b):\n    return a @ b\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "step.jsonl"
    inputs = ("--input", "f32[8,16]", "--input", "f32[16,4]")
    found = document("trace", "traced_model:step", *inputs, "--output", path)
    assert (found["program"], found["file"], found["work_flop"]) == ("step", str(path), 2 * 8 * 16 * 4)
    assert found["moved_bytes"] == 4 * (8 * 16 + 16 * 4 + 8 * 4)
    assert path.is_file()


def test_train_prints_the_card_of_the_policy(document, untrained, tmp_path, monkeypatch):
    policy = untrained(load_collection("cascade-budgets"))
    monkeypatch.setattr("dsegym.experiments.training.train_policy", lambda *arguments, **named: policy)
    words = ("--collection", "cascade-budgets", "--steps", "64", "--out", tmp_path / "policy")
    found = document("train", policy.card.scenario, *words)
    assert (found["policy"], found["steps"], found["training_s"]) == (str(tmp_path / "policy"), 1000, 1.5)
    assert found["trained_on"] == list(policy.card.trained_on)


def test_submit_names_the_card(document, results):
    assert document("submit", "new", results) == {"card": str(results / "submission.toml")}


# --- Pages of stored results. ---


def test_the_page_of_agents_is_made_of_what_json_prints(dsegym_command, finished, tmp_path):
    printed = dsegym_command("field", finished, "--json")
    assert dsegym_command("field", finished, "--output", tmp_path).code == 0
    assert printed.out == (tmp_path / "field" / "results.json").read_text(encoding="utf-8")
    assert strict_json(printed.out)["suite"] == "tiny"


@pytest.mark.parametrize("command", ["field", "against", "lottery", "learning"])
def test_a_folder_and_json_are_not_asked_for_together(command, dsegym_command, finished, tmp_path):
    code, out, err = dsegym_command(command, finished, "--output", tmp_path / "docs", "--json")
    assert (code, out) == (2, "")
    place = tmp_path / "docs" / command / "results.json"
    assert err == f"dsegym: --json prints what --output writes to {place}; give one of them.\n"
    assert not (tmp_path / "docs").exists()


@pytest.mark.parametrize("command", ["field", "against", "lottery", "learning"])
def test_a_folder_that_cannot_be_written_is_found_before_the_work(command, dsegym_command, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = dsegym_command(command, tmp_path / "nowhere", "--output", tmp_path / "file" / "docs")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot be written: Not a directory" in err
