"""Verification: what was claimed honestly reproduces, and every kind of tampering is named."""

import json
import shutil

import polars as pl
import pytest

from dsegym.experiments import store
from dsegym.experiments.leaderboard import build_leaderboard
from dsegym.experiments.leaderboard_text import to_json
from dsegym.experiments.verify import verify


def problems(results):
    return [verdict.problem for verdict in verify(results) if verdict.problem]


def rewrite(directory, trace=None, **changes):
    """Changes a trial and signs it again, as a careful forger would."""
    if trace is not None:
        trace.write_parquet(directory / "trace.parquet")
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    files = {"trace.parquet": store._file_hash(directory / "trace.parquet")}
    (directory / "manifest.json").write_text(json.dumps({**manifest, **changes, "files": files}), encoding="utf-8")


def manifest_of(directory):
    return json.loads((directory / "manifest.json").read_text(encoding="utf-8"))


def test_honest_results_reproduce(results):
    verdicts = list(verify(results))
    assert len(verdicts) == 4
    assert not problems(results)


def test_an_improved_objective_is_rejected(first_trial, results):
    trace = store.read_trial(first_trial).trace
    better = trace.with_columns(
        pl.when(pl.col("sample") == 7).then(pl.col("objective") / 2).otherwise(pl.col("objective")).alias("objective")
    )
    rewrite(first_trial, better)
    (problem,) = problems(results)
    assert "trace.parquet" in problem
    assert "sample 7 claims" in problem
    assert "1 of 60 samples do not reproduce" in problem


def test_another_design_is_rejected(first_trial, results):
    trace = store.read_trial(first_trial).trace
    designs = trace["design"].to_list()
    designs[3] = [(designs[3][0] + 1) % 12, *designs[3][1:]]
    rewrite(first_trial, trace.with_columns(pl.Series("design", designs, dtype=pl.List(pl.Int32))))
    (problem,) = problems(results)
    assert "sample 4 claims" in problem


def test_a_design_outside_the_space_is_rejected(first_trial, results):
    trace = store.read_trial(first_trial).trace
    designs = trace["design"].to_list()
    designs[0] = [99] * 7
    rewrite(first_trial, trace.with_columns(pl.Series("design", designs, dtype=pl.List(pl.Int32))))
    (problem,) = problems(results)
    assert "a design cannot be replayed" in problem
    assert "out of range" in problem


def test_a_design_passed_off_as_feasible_is_rejected(first_trial, results):
    trace = store.read_trial(first_trial).trace
    assert not trace["feasible"].all()
    rewrite(first_trial, trace.with_columns(feasible=pl.lit(True)))
    (problem,) = problems(results)
    assert "not feasible" in problem


def test_samples_beyond_the_budget_are_rejected(first_trial, results):
    trace = store.read_trial(first_trial).trace
    more = pl.concat([trace, trace]).with_columns(sample=pl.int_range(1, 121, dtype=pl.Int32))
    rewrite(first_trial, more, samples_used=120)
    (problem,) = problems(results)
    assert "120 samples" in problem
    assert "budget of 60" in problem


def test_another_best_design_is_rejected(first_trial, results):
    best = manifest_of(first_trial)["best"]
    rewrite(first_trial, best={**best, "objective": best["objective"] / 2})
    (problem,) = problems(results)
    assert "best design is not the trace's" in problem


@pytest.mark.parametrize("key", ["reference", "bound"])
def test_a_shifted_yardstick_is_rejected(first_trial, results, key):
    yardstick = manifest_of(first_trial)[key]
    rewrite(first_trial, **{key: {**yardstick, "value": yardstick["value"] * 1.01}})
    (problem,) = problems(results)
    assert f"the manifest's {key} is" in problem


def test_a_trial_under_anothers_name_is_rejected(first_trial, results):
    other = max((results / "trials").iterdir())
    shutil.rmtree(first_trial)
    shutil.copytree(other, first_trial)
    (problem,) = problems(results)
    assert f"the manifest is of the trial {other.name}" in problem


def test_a_missing_trial_is_named(first_trial, results):
    shutil.rmtree(first_trial)
    (problem,) = problems(results)
    assert first_trial.name in problem
    assert "it is not there" in problem


def test_a_truncated_trace_is_named(first_trial, results):
    path = first_trial / "trace.parquet"
    path.write_bytes(path.read_bytes()[:100])
    (problem,) = problems(results)
    assert "trace.parquet" in problem
    assert "truncated or altered" in problem


def test_a_leaderboard_that_does_not_follow_from_the_trials_is_rejected(results):
    trials = [store.read_trial(path) for path in sorted((results / "trials").iterdir())]
    folder = results / "leaderboard"
    folder.mkdir()
    text = to_json(build_leaderboard(trials))
    (folder / "leaderboard.json").write_text(text, encoding="utf-8")
    assert not problems(results)
    (folder / "leaderboard.json").write_text(text.replace("random_search", "my_search"), encoding="utf-8")
    (problem,) = problems(results)
    assert "leaderboard.json" in problem
    assert "does not follow from the trials" in problem
