"""Verification: what was run passes; each way of claiming more is rejected, with the file and the reason."""

import hashlib
import json
import shutil

import numpy as np
import polars
import pytest

from dsegym.costmodels.errors import CorruptResultError
from dsegym.experiments.verify import RELATIVE_TOLERANCE, verify

SAMPLES = 60


def problems(results):
    return [verdict.problem for verdict in verify(results) if verdict.problem]


def edit(directory, change_manifest=lambda manifest: None, change_trace=lambda trace: trace):
    """Changes a stored trial as somebody would who knows the format: the trace's hash in the manifest is right."""
    path, table = directory / "manifest.json", directory / "trace.parquet"
    change_trace(polars.read_parquet(table)).write_parquet(table)
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["files"]["trace.parquet"] = hashlib.sha256(table.read_bytes()).hexdigest()
    change_manifest(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def put(*keys, value):
    """A change of one entry of the manifest."""

    def change(manifest):
        *outer, last = keys
        for key in outer:
            manifest = manifest[key]
        manifest[last] = value

    return change


def worst_row(trace):
    """A sample that is not the best one."""
    return int(trace["objective"].arg_max())


def with_column(name, rewrite):
    """A change of one column; `rewrite` gets its values as a list, and the trace."""

    def change(trace):
        values = rewrite(trace[name].to_list(), trace)
        return trace.with_columns(polars.Series(name, values, dtype=trace.schema[name]))

    return change


def cheaper(values, trace):
    row = worst_row(trace)
    return [*values[:row], values[row] * (1.0 - 10 * RELATIVE_TOLERANCE), *values[row + 1 :]]


def cheapest(values, trace):
    return [values[0] * 1e-3, *values[1:]]


def undefined(values, trace):
    return [float("nan"), *values[1:]]


def other_design(values, trace):
    row = worst_row(trace)
    return [*values[:row], values[int(trace["objective"].arg_min())], *values[row + 1 :]]


def no_design(values, trace):
    return [[99] * len(values[0]), *values[1:]]


def short_design(values, trace):
    return [values[0][:-1], *values[1:]]


def flipped(values, trace):
    return [not values[0], *values[1:]]


def doubled(trace):
    again = trace.with_columns(sample=trace["sample"] + trace.height)
    return polars.concat([trace, again])


def halved(trace):
    return trace.head(trace.height // 2)


def renumbered(values, trace):
    return values[::-1]


# What was done: (change of the manifest, change of the trace, the reason).
KEEP = (lambda manifest: None, lambda trace: trace)
TAMPERINGS = {
    "an objective slightly lower": (KEEP[0], with_column("objective", cheaper), "1 of 60 samples do not reproduce"),
    "an objective much lower": (KEEP[0], with_column("objective", cheapest), "1 of 60 samples do not reproduce"),
    "an objective that is no number": (KEEP[0], with_column("objective", undefined), "do not reproduce"),
    "another design": (KEEP[0], with_column("design", other_design), "1 of 60 samples do not reproduce"),
    "a design out of range": (KEEP[0], with_column("design", no_design), "cannot be replayed"),
    "a design too short": (KEEP[0], with_column("design", short_design), "cannot be replayed"),
    "feasibility flipped": (KEEP[0], with_column("feasible", flipped), "1 of 60 samples do not reproduce"),
    "every design passed off as feasible": (
        KEEP[0],
        lambda trace: trace.with_columns(feasible=polars.lit(True)),
        "(not feasible)",
    ),
    "samples beyond the budget": (
        put("samples_used", value=2 * SAMPLES),
        doubled,
        "120 samples, where the manifest says 120 of a budget of 60",
    ),
    "fewer samples than claimed": (KEEP[0], halved, "30 samples, where the manifest says 60"),
    "more samples than claimed": (put("samples_used", value=SAMPLES - 1), KEEP[1], "where the manifest says 59"),
    "samples in another order": (KEEP[0], with_column("sample", renumbered), "not numbered 1, 2, 3"),
    "the best design edited": (put("best", "design", value=[0] * 7), KEEP[1], "best design is not the trace's"),
    "the best design's words edited": (
        put("best", "decoded", value={"rows": "4"}),
        KEEP[1],
        "best design is not the trace's",
    ),
    "the best objective edited": (put("best", "objective", value=1e-12), KEEP[1], "best design is not the trace's"),
    "the best design left out": (put("best", value=None), KEEP[1], "best design is not the trace's"),
    "the reference edited": (put("reference", "value", value=1.0), KEEP[1], "the manifest's reference is 1.0"),
    "the bound edited": (put("bound", "value", value=1e-30), KEEP[1], "the manifest's bound is 1e-30"),
    "the bound left out": (put("bound", value={}), KEEP[1], "'bound.kind' is missing"),
    "the bound as a text": (
        put("bound", "value", value="low"),
        KEEP[1],
        "'bound.value' is missing or of the wrong type",
    ),
    "another trial's id": (put("trial_id", value="0" * 16), KEEP[1], "the manifest is of the trial 0000"),
    "another workload": (
        put("trial", "instance", "options", "workload", value="resnet18"),
        KEEP[1],
        "the manifest's reference is",
    ),
    "a workload that does not exist": (
        put("trial", "instance", "options", "workload", value="resnet"),
        KEEP[1],
        "Unknown workload 'resnet'",
    ),
    "no trial": (put("trial", value={}), KEEP[1], "'trial.instance' is missing"),
    "options that are none": (put("trial", "instance", "options", value=3), KEEP[1], "'trial.instance.options'"),
    "a scenario that is a number": (
        put("trial", "instance", "scenario", value=3),
        KEEP[1],
        "'trial.instance.scenario'",
    ),
    "a budget that is a text": (put("trial", "samples", value="many"), KEEP[1], "'trial.samples'"),
    "objectives that are texts": (
        KEEP[0],
        lambda trace: trace.with_columns(polars.col("objective").cast(polars.String)),
        "'objective'",
    ),
}


def test_what_was_run_verifies(finished):
    verdicts = verify(finished)
    assert [verdict.problem for verdict in verdicts] == [""] * 4
    assert {verdict.subject for verdict in verdicts} == {str(path) for path in (finished / "trials").iterdir()}


def test_a_rewritten_but_equal_trial_verifies(results, first_trial):
    """So that the tamperings below are rejected for what they change, not for being rewritten."""
    edit(first_trial)
    assert problems(results) == []


@pytest.mark.parametrize("case", TAMPERINGS)
def test_tampering_is_rejected_with_the_place_and_the_reason(case, results, first_trial):
    change_manifest, change_trace, reason = TAMPERINGS[case]
    edit(first_trial, change_manifest, change_trace)
    (problem,) = problems(results)
    assert reason in problem
    assert str(first_trial) in problem


def test_a_claim_of_the_optimum_by_a_design_that_is_not_is_rejected(results, first_trial):
    """The best sample, the best design and the hash agree with each other, and still do not reproduce."""
    bound = json.loads((first_trial / "manifest.json").read_text(encoding="utf-8"))["bound"]["value"]
    trace = polars.read_parquet(first_trial / "trace.parquet")
    row = int(np.argmin(np.where(trace["feasible"], trace["objective"], np.inf)))
    edit(
        first_trial,
        put("best", "objective", value=bound),
        with_column("objective", lambda values, _: [*values[:row], bound, *values[row + 1 :]]),
    )
    (problem,) = problems(results)
    assert f"sample {row + 1} claims" in problem
    assert "1 of 60 samples do not reproduce" in problem


def test_an_edited_trace_that_is_not_signed_is_rejected(results, first_trial):
    table = first_trial / "trace.parquet"
    with_column("objective", cheapest)(polars.read_parquet(table)).write_parquet(table)
    (problem,) = problems(results)
    assert str(table) in problem
    assert "do not match the hash" in problem


def test_a_trial_that_was_removed_is_missed(results, first_trial):
    shutil.rmtree(first_trial)
    assert problems(results) == [f"{first_trial}: the suite names this trial, but it is not there."]


def test_a_trial_put_in_the_place_of_another_is_rejected(results, first_trial):
    other = max((results / "trials").iterdir())
    shutil.rmtree(first_trial)
    shutil.copytree(other, first_trial)
    (problem,) = problems(results)
    assert f"the manifest is of the trial {other.name}" in problem


@pytest.mark.parametrize("key", ["reference", "bound"])
def test_a_yardstick_shifted_by_one_percent_is_rejected(key, results, first_trial):
    edit(first_trial, lambda manifest: manifest[key].update(value=manifest[key]["value"] * 1.01))
    (problem,) = problems(results)
    assert f"the manifest's {key} is" in problem


def test_every_bad_trial_is_named(results):
    for directory in (results / "trials").iterdir():
        edit(directory, put("bound", "value", value=1.0))
    assert len(problems(results)) == 4


def test_a_directory_without_results_is_refused(tmp_path):
    with pytest.raises(CorruptResultError, match="holds no results"):
        verify(tmp_path)


@pytest.mark.parametrize("name", ["leaderboard.json", "leaderboard.md"])
def test_an_edited_leaderboard_is_rejected(name, results, dsegym_command):
    assert dsegym_command("leaderboard", results).code == 0
    assert problems(results) == []
    path = results / "leaderboard" / name
    path.write_text(path.read_text(encoding="utf-8").replace("random_search", "my_search"), encoding="utf-8")
    assert problems(results) == [
        f"{path}: it does not follow from the trials; run `dsegym leaderboard` again.",
    ]


def test_progress_counts_the_trials(finished):
    seen = []
    verify(finished, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(("keys", "value"), [(("seed",), 77), (("agent", "name"), "tpe"), (("samples",), 6000)])
def test_a_trial_that_says_it_was_another_is_rejected_by_its_id(results, first_trial, keys, value):
    edit(first_trial, put("trial", *keys, value=value))
    (problem,) = problems(results)
    assert "the id does not follow from the manifest" in problem
