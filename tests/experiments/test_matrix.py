"""The matrix of environments: one interpreter with one thread and two agrees; what differs is told."""

import json
import os
import shutil
import sys

import numpy as np
import pytest

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments import matrix
from dsegym.experiments.matrix import TABLE, TOLERANCE, Environment, plan_matrix, probe, run_matrix
from dsegym.experiments.store import read_trial, write_trial

from .conftest import TINY

SMALL = TINY.replace("samples = 60", "samples = 30").replace("seeds = 2", "seeds = 1")


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


THREADS = [1, 2] if len(matrix._processors()) > 1 else [1]


@pytest.mark.slow
def test_one_interpreter_with_one_thread_and_two_samples_the_same_designs_of_the_same_values(
    suite, tmp_path, dsegym_command
):
    counts = [word for count in THREADS for word in ("--threads", count)]
    outcome = dsegym_command("matrix", suite, "--output", tmp_path / "out", "--python", sys.executable, *counts)
    assert outcome.code == 0, outcome.err
    content = json.loads((tmp_path / "out" / TABLE).read_text(encoding="utf-8"))
    assert (content["suite"], content["trials"], content["tolerance"]) == ("tiny", 2, TOLERANCE)
    assert [cell["threads"] for cell in content["cells"]] == THREADS
    for cell in content["cells"]:
        assert cell["holds"]
        assert (cell["finished"], cell["others"], cell["samples"], cell["same_designs"]) == (2, 0, 60, 2)
        assert cell["largest_difference"] <= TOLERANCE
        assert cell["versions"]["jax"]
        assert cell["seconds"] > cell["trials_s"] > 0
        assert cell["peak_mib"] > 10
        assert (tmp_path / "out" / cell["results"] / "suite.json").exists()
    for text in ("largest difference", "peak memory", "all do."):
        assert text in outcome.out
    again = dsegym_command("matrix", suite, "--output", tmp_path / "out")
    assert (again.code, "is there already; a matrix is written where nothing is" in again.err) == (2, True)


@pytest.fixture
def with_results(finished, monkeypatch):
    """A matrix whose runs are copies of the tiny suite's results, changed by what the test says."""

    def install(*changes):
        left = list(changes)

        def run(environment, processors, suite, results):
            shutil.copytree(finished, results)
            left.pop(0)(results)
            return 2.0, 100.0

        monkeypatch.setattr(matrix, "_run", run)
        monkeypatch.setattr(
            matrix, "probe", lambda path: Environment(path, {"python": "3.0", "jax": "1", "numpy": "1"})
        )

    return install


def as_it_is(results):
    """Changes nothing."""


def one_trial(results):
    return read_trial(min((results / "trials").iterdir()))


def off_by(relative):
    def change(results):
        trial = one_trial(results)
        values = trial.trace["objective"].to_numpy() * (1 + relative)
        _replace(results, trial, trial.trace.with_columns(objective=values))

    return change


def _replace(results, trial, trace):
    shutil.rmtree(results / "trials" / trial.manifest["trial_id"])
    write_trial(results, {k: v for k, v in trial.manifest.items() if k != "files"}, trace)


def shuffled(results):
    trial = one_trial(results)
    order = np.random.default_rng(0).permutation(trial.trace.height).tolist()
    names = ["design", "objective", "feasible"]
    moved = trial.trace[order].select(names)
    _replace(results, trial, trial.trace.with_columns(*(moved[name] for name in names)))


def flipped(results):
    trial = one_trial(results)
    _replace(results, trial, trial.trace.with_columns(feasible=~trial.trace["feasible"]))


@pytest.mark.parametrize(
    ("change", "holds", "same", "said"),
    [
        (as_it_is, True, 4, ""),
        (off_by(1e-7), True, 4, ""),
        (off_by(1e-4), False, 4, "a value differs by 0.0001"),
        (flipped, False, 4, "feasibility differs in 60 samples"),
        (shuffled, True, 3, ""),
    ],
)
def test_what_a_second_environment_changes_is_told(
    change, holds, same, said, with_results, tiny_file, tmp_path, dsegym_command
):
    with_results(as_it_is, change)
    outcome = dsegym_command(
        *("matrix", tiny_file, "--output", tmp_path / "out", "--threads", 1, "--python", "one", "--python", "two"),
        "--json",
    )
    cells = json.loads(outcome.out)["cells"]
    assert [cell["holds"] for cell in cells] == [True, holds]
    assert [cell["same_designs"] for cell in cells] == [4, same]
    assert outcome.code == (0 if holds else 1)
    assert said in outcome.err if not holds else "warning" not in outcome.err


def test_an_infinite_value_differs_from_none_but_itself():
    claimed = np.array([1.0, np.inf, np.nan, np.inf, 1.0, 2.0])
    here = np.array([1.0, np.inf, np.nan, 1.0, np.nan, 1.0])
    assert matrix._difference(claimed, here).tolist() == [0, 0, 0, np.inf, np.inf, 1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--threads", 0), "there are {count} processors at hand; allowed: 1 to that"),
        (("--threads", 100_000), "--threads 100000: there are {count} processors at hand"),
        (("--python", "nowhere/python"), "there is no interpreter, and no virtual environment with one"),
        (("--python", "."), "there is no interpreter, and no virtual environment with one"),
    ],
)
def test_wrong_requests_are_one_sentence_and_write_nothing(suite, tmp_path, dsegym_command, arguments, reason):
    outcome = dsegym_command("matrix", suite, "--output", tmp_path / "out", *arguments)
    assert outcome.code == 2
    assert reason.format(count=len(matrix._processors())) in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_suite_of_policies_and_an_unknown_one_are_refused(tmp_path, dsegym_command):
    outcome = dsegym_command("matrix", "learning", "--output", tmp_path / "out")
    assert (outcome.code, "is a suite of policies" in outcome.err) == (2, True)
    outcome = dsegym_command("matrix", "quik", "--output", tmp_path / "out")
    assert (outcome.code, "quick" in outcome.err) == (2, True)


@pytest.mark.skipif(os.name == "nt", reason="a script stands for an interpreter")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo 'ModuleNotFoundError: No module named dsegym' >&2; exit 1",
            "cannot be imported there (ModuleNotFoundErr",
        ),
        ("echo no JSON", "it does not answer"),
        ("echo 5", "cannot be imported there"),
    ],
)
def test_an_interpreter_without_dsegym_is_named_with_the_reason(tmp_path, script, reason):
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    with pytest.raises(DsegymError) as caught:
        probe(str(path))
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_run_that_could_not_be_made_names_its_environment(suite, tmp_path, monkeypatch):
    monkeypatch.setattr(matrix, "_LAUNCH", "raise SystemExit('no memory left')")
    with pytest.raises(DsegymError, match=r"threads 1: the suite was not run \(no memory left\)"):
        run_matrix(plan_matrix(suite, tmp_path / "out", threads=[1]))
