"""Held-out cases from the trial to the leaderboard: searches see their own cases, scores are taken on the others."""

import hashlib
import json
import shutil

import numpy as np
import polars
import pytest

import dsegym
from dsegym.costmodels.errors import CorruptResultError
from dsegym.experiments.layout import trial_directory
from dsegym.experiments.scoring.leaderboard import build_leaderboard
from dsegym.experiments.store import read_trial
from dsegym.experiments.suite import load_suite
from dsegym.experiments.suite_note import write_suite
from dsegym.experiments.trial import run_trial, store_unfinished
from dsegym.experiments.verify import verify

SHOP = "shop:toy/Shop-v0"
SUITE = f"""
name = "shop"
samples = 40
seeds = 3

[[instances]]
scenario = "{SHOP}"
lost = ["0.05", "1"]

[[agents]]
name = "random_search"
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory, shop):
    """Results of two instances with held-out cases; not to be changed."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.toml").write_text(SUITE, encoding="utf-8")
    suite, results = load_suite(folder / "shop.toml"), folder / "results"
    for trial, identifier in zip(suite.trials, write_suite(results, suite), strict=True):
        run_trial(trial, identifier, results)
    return results


@pytest.fixture
def copied(ran, tmp_path):
    return shutil.copytree(ran, tmp_path / "results")


def stored(results):
    """Every trial with its problem."""
    for directory in sorted((results / "trials").iterdir()):
        result = read_trial(directory)
        yield directory, result, dsegym.make_problem(SHOP, **result.manifest["trial"]["instance"]["options"])


def edit(directory, change_trace=lambda trace: trace, **best):
    """Changes a stored trial as somebody would who knows the format."""
    path, table = directory / "manifest.json", directory / "trace.parquet"
    change_trace(polars.read_parquet(table)).write_parquet(table)
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["files"]["trace.parquet"] = hashlib.sha256(table.read_bytes()).hexdigest()
    manifest["best"] |= best
    path.write_text(json.dumps(manifest), encoding="utf-8")


def rescaled(factor):
    return lambda trace: trace.with_columns(polars.col("held_out") * factor)


# --- The trial --------------------------------------------------------------------------------------------------------


def test_every_incumbent_has_its_held_out_value_and_no_other_sample_has_one(ran):
    for _, result, problem in stored(ran):
        trace, lowest = result.trace, np.inf
        designs = np.array(trace["design"].to_list())
        search, held_out = problem.evaluate(designs), problem.evaluate_held_out(designs)
        np.testing.assert_array_equal(trace["objective"], search.objective)
        np.testing.assert_array_equal(trace["feasible"], search.feasible)
        for row in range(trace.height):
            improves = search.feasible[row] and search.objective[row] < lowest
            assert trace["held_out"][row] == (held_out.objective[row] if improves else None)
            lowest = search.objective[row] if improves else lowest
        best = result.manifest["best"]
        assert best["objective"] == lowest
        assert best["held_out"] == held_out.objective[best["sample"] - 1]


def test_costing_held_out_cases_counts_no_sample_and_no_time_of_the_search(ran):
    for _, result, _ in stored(ran):
        assert result.manifest["samples_used"] == result.trace.height == 40
        seconds = result.manifest["seconds"]
        assert seconds["total"] == pytest.approx(seconds["agent"] + seconds["cost_model"] + seconds["overhead"])


def test_a_trial_without_a_sample_has_the_column_too(tmp_path, ran, shop):
    trial = load_suite(ran.parent / "shop.toml").trials[0]
    store_unfinished(trial, "a" * 16, tmp_path, "failed", "gone")
    result = read_trial(trial_directory(tmp_path, "a" * 16))
    assert (result.trace.height, result.trace.schema["held_out"], result.manifest["best"]) == (0, polars.Float64, None)


def test_without_held_out_cases_a_trial_is_stored_as_ever(first_trial):
    result = read_trial(first_trial)
    assert result.trace.columns == ["sample", "objective", "feasible", "elapsed_s", "design"]
    assert set(result.manifest["best"]) == {"sample", "design", "decoded", "objective"}


# --- The leaderboard --------------------------------------------------------------------------------------------------


def test_scores_are_of_the_held_out_values(ran):
    results = [result for _, result, _ in stored(ran)]
    for instance in build_leaderboard(results).instances:
        here = [
            result.manifest for result in results if result.manifest["trial"]["instance"]["options"] == instance.options
        ]
        values = [manifest["best"]["held_out"] for manifest in here]
        reference, bound = here[0]["reference"]["value"], here[0]["bound"]["value"]
        expected = np.mean([(reference - value) / (reference - bound) for value in values])
        assert instance.scores[0].mean_score == pytest.approx(expected)
        best = min(here, key=lambda manifest: (manifest["best"]["objective"], manifest["best"]["sample"]))["best"]
        assert (instance.best.value, instance.best.sample) == (best["held_out"], best["sample"])


def test_a_design_that_breaks_a_constraint_on_the_held_out_cases_scores_its_penalty(ran, shop):
    broken = [result.manifest["best"]["held_out"] for _, result, _ in stored(ran)]
    assert max(broken) > shop.PENALTY
    board = build_leaderboard([result for _, result, _ in stored(ran)])
    assert min(score.mean_score for instance in board.instances for score in instance.scores) < -10


# --- Verification -----------------------------------------------------------------------------------------------------


def test_held_out_values_are_replayed(ran, dsegym_command):
    assert [verdict.problem for verdict in verify(ran)] == [""] * 6
    assert dsegym_command("verify", ran).code == 0


def worst(trace):
    """Passes the last incumbent's held-out value off as lower than it is."""
    last = trace["held_out"].is_not_null().arg_true()[-1]
    values = trace["held_out"].to_list()
    values[last] *= 1 - 1e-4
    return trace.with_columns(polars.Series("held_out", values, dtype=polars.Float64))


def moved(trace):
    """Puts a held-out value where none belongs."""
    return trace.with_columns(polars.col("held_out").fill_null(1.0))


def emptied(trace):
    return trace.with_columns(held_out=polars.lit(None, polars.Float64))


def undefined(trace):
    return trace.with_columns(held_out=polars.when(polars.col("held_out").is_not_null()).then(float("nan")))


TAMPERINGS = {
    "a lower value": (worst, {}, "held-out values do not reproduce"),
    "all values lower": (rescaled(0.5), {}, "held-out values do not reproduce"),
    "values that are no numbers": (undefined, {}, "held-out values do not reproduce"),
    "values of other samples": (moved, {}, "'held_out' has values for other samples than"),
    "no values": (emptied, {}, "'held_out' has values for other samples than"),
    "no column": (lambda trace: trace.drop("held_out"), {}, "it has no held-out values, but toy/Shop-v0 has held-out"),
    "the best design's value": (lambda trace: trace, {"held_out": 1.0}, "best design is not the trace's"),
}


@pytest.mark.parametrize("case", TAMPERINGS)
def test_held_out_values_that_do_not_reproduce_are_rejected(case, copied):
    change, best, reason = TAMPERINGS[case]
    directory = min((copied / "trials").iterdir())
    edit(directory, change, **best)
    (problem,) = [verdict.problem for verdict in verify(copied) if verdict.problem]
    assert str(directory) in problem
    assert reason in problem


def test_held_out_values_of_a_scenario_that_has_none_are_rejected(results, first_trial):
    edit(first_trial, lambda trace: with_values(trace, first_trial))
    (problem,) = [verdict.problem for verdict in verify(results) if verdict.problem]
    assert "it has held-out values, but dsegym/AcceleratorSizing-v0 has no held-out cases." in problem


def with_values(trace, directory):
    """The search's own values as held-out ones."""
    values, lowest = [], np.inf
    for objective, feasible in zip(trace["objective"], trace["feasible"], strict=True):
        improves = feasible and objective < lowest
        values.append(objective if improves else None)
        lowest = objective if improves else lowest
    return trace.with_columns(polars.Series("held_out", values, dtype=polars.Float64))


def test_a_column_of_another_type_is_damage(copied):
    directory = min((copied / "trials").iterdir())
    edit(directory, lambda trace: trace.with_columns(polars.col("held_out").cast(polars.Float32)))
    with pytest.raises(CorruptResultError, match="'held_out': 'Float32'"):
        read_trial(directory)


# --- The command line -------------------------------------------------------------------------------------------------


def test_the_leaderboard_says_in_one_sentence_which_instances_are_scored_so(copied, dsegym_command):
    assert dsegym_command("leaderboard", copied).code == 0
    for name in ("leaderboard.md", "leaderboard.html", "leaderboard.json"):
        text = (copied / "leaderboard" / name).read_text(encoding="utf-8")
        assert text.count("Scored on held-out cases, which no search saw: all instances.") == 1
    assert dsegym_command("verify", copied).code == 0


def test_cost_prints_the_objective_on_the_held_out_cases_too(dsegym_command, shop):
    problem = dsegym.make_problem(SHOP)
    for reorder, level in ((8, 12), (3, 11)):
        request = ("cost", SHOP, "--design", f"reorder={reorder},level={level}")
        design = problem.space.encode({"reorder": reorder, "level": level})
        value, held_out = problem.evaluate(design).objective[0], problem.evaluate_held_out(design)
        verdict = json.loads(dsegym_command(*request, "--json").out)["verdict"]
        assert verdict["value"] == value
        assert verdict["held_out"] == (held_out.objective[0] if held_out.feasible[0] else None)
        assert verdict["held_out_feasible"] is bool(held_out.feasible[0])
        shown = f"{held_out.objective[0]:.6g} 1" if held_out.feasible[0] else "not feasible"
        assert (
            f"Objective cost: {value:.6g} 1; on the held-out cases: {shown} (reference" in dsegym_command(*request).out
        )
    assert verdict["held_out"] is None, "the second design is feasible for the search only"


def test_info_says_what_the_yardsticks_are_values_on(dsegym_command, shop):
    words = " ".join(dsegym_command("info", SHOP).out.split())  # a title is broken into lines
    assert "mean over traces, on the held-out cases" in words
    assert "held-out" not in dsegym_command("info", SHOP, "--option", "cases=same").out
