"""Exports: every sample of a directory in one table that others read, and nothing where a trial is not what it says."""

import json

import numpy as np
import pandas
import polars
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError
from dsegym.experiments import export
from dsegym.experiments.batch_writing import compact
from dsegym.experiments.episodes import export_episodes
from dsegym.experiments.export import SCHEMA, export_samples
from dsegym.experiments.store import read_trial, write_trial
from dsegym.experiments.suite_note import read_suite

from .test_batches import altered, in_row
from .test_store import TRACE, manifest


@pytest.fixture(scope="module")
def table(finished, tmp_path_factory):
    """The tiny suite's samples, as the file has them."""
    path = tmp_path_factory.mktemp("export") / "samples.parquet"
    assert export_samples(finished, path) == 4 * 60
    return path


def test_another_library_reads_every_sample_as_the_traces_have_it(table, finished):
    found = pandas.DataFrame(polars.read_parquet(table).to_dicts())
    assert list(found.columns) == list(SCHEMA)
    assert {name: str(kind) for name, kind in polars.read_parquet_schema(table).items()} == SCHEMA
    assert set(found["agent"]) == {"random_search", "genetic_algorithm"}
    for directory in (finished / "trials").iterdir():
        trial = read_trial(directory)
        rows = found[found["trial_id"] == directory.name]
        assert rows["sample"].tolist() == list(range(1, 61))
        for name in ("objective", "feasible", "elapsed_s"):
            assert rows[name].tolist() == trial.trace[name].to_list()
        assert rows["design"].tolist() == trial.trace["design"].to_list()
        assert set(rows["seed"]) == {trial.manifest["trial"]["seed"]}
        assert rows["held_out"].isna().all()


def test_values_and_metrics_are_those_of_the_design(table):
    row = polars.read_parquet(table).row(7, named=True)
    problem = dsegym.make_problem(row["scenario"], **json.loads(row["options"]))
    assert json.loads(row["decoded"]) == problem.decode(row["design"])
    metrics = problem.evaluate(np.array([row["design"]])).metrics
    assert json.loads(row["metrics"]) == {name: getattr(metrics, name)[0].item() for name in metrics._fields}
    assert (row["reference"], row["bound"]) == (problem.reference.value, problem.bound.value)


def test_it_is_the_same_from_batches_and_in_small_parts(table, results, tmp_path, monkeypatch):
    compact(results, read_suite(results)["trials"], least=1)
    monkeypatch.setattr(export, "_PART_ROWS", 70)
    monkeypatch.setattr(export, "_BLOCK", 32)
    export_samples(results, tmp_path / "again.parquet")
    assert polars.read_parquet(tmp_path / "again.parquet").equals(polars.read_parquet(table))
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_trial_that_does_not_replay_ends_it_and_what_was_there_stays(results, tmp_path):
    compact(results, read_suite(results)["trials"], least=1)
    (batch,) = (results / "batches").iterdir()
    altered(batch, in_row(3, "trace.objective", [1e-9] * 60))
    (tmp_path / "samples.parquet").write_bytes(b"before")
    with pytest.raises(DsegymError, match="sample 1 claims 1e-09, but its design costs"):
        export_samples(results, tmp_path / "samples.parquet")
    assert (tmp_path / "samples.parquet").read_bytes() == b"before"
    assert not list(tmp_path.glob(".samples*"))


def test_other_names_foreign_scenarios_and_empty_directories_are_refused(dsegym_command, results, tmp_path):
    outcome = dsegym_command("export", results, "--output", tmp_path / "samples.csv")
    assert outcome.code == 2
    assert "is not the name of a Parquet file" in outcome.err
    outcome = dsegym_command("export", tmp_path, "--output", tmp_path / "samples.parquet")
    assert outcome.code == 2
    assert "holds no results" in outcome.err
    content = manifest()
    content["trial"]["instance"] = {"scenario": "other_package:dsegym/Foreign-v0", "options": {}}
    for directory in (results / "trials").iterdir():
        directory.rename(directory.with_name("kept"))
        write_trial(results, {**content, "trial_id": directory.name}, TRACE)
        break
    outcome = dsegym_command("export", results, "--output", tmp_path / "samples.parquet")
    assert outcome.code == 2
    assert "--allow other_package" in outcome.err


def test_commands_say_what_they_did(dsegym_command, results, tmp_path):
    outcome = dsegym_command("compact", results)
    assert (outcome.code, outcome.out.split(" in")[0]) == (0, "4 trials moved")
    outcome = dsegym_command("export", results, "--output", tmp_path / "samples.parquet")
    assert (outcome.code, outcome.out.split(":")[0]) == (0, "240 samples")


PLAYED = ("dsegym/MemoryMapping-v0", {"program": "mlp_tiny", "capacity": "0.5"})


@pytest.fixture
def minari(tmp_path, monkeypatch):
    """Minari, with an empty folder of its own."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    return pytest.importorskip("minari", reason="Minari is not installed")


@pytest.mark.parametrize("policy", ["random", "best"])
def test_episodes_are_read_by_minari_and_play_again_to_the_same_costs(policy, minari):
    steps = export_episodes(*PLAYED, "dsegym/mapping-v0", episodes=2, policy=policy, seed=5)
    dataset = minari.load_dataset("dsegym/mapping-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (2, steps)
    env = dataset.recover_environment().unwrapped
    for episode in dataset.iterate_episodes():
        observation, _ = env.reset(seed=5 + episode.id)
        assert np.array_equal(observation, episode.observations[0])
        for place, action in enumerate(episode.actions):
            observation, reward, terminated, _, info = env.step(action)
            assert np.array_equal(observation, episode.observations[place + 1])
            assert reward == episode.rewards[place]
        assert terminated
        assert info["objective"] == episode.infos["objective"][-1]
        assert info["illegal_actions"] == 0
        if policy == "best":
            designs = [maker() for maker in env.problem.baselines.values()]
            assert info["objective"] == pytest.approx(min(env.problem.evaluate(np.array(designs)).objective), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dataset": "no id"}, "is no id of a Minari data set"),
        ({"episodes": 0}, "episodes = 0 is not a whole number from 1"),
        ({"seed": -1}, "seed = -1 is not a whole number from 0"),
        ({"policy": "gredy"}, "gredy"),
        ({"policy": "nowhere:act"}, "Cannot load the policy 'nowhere:act'"),
        ({"scenario": "dsegym/AcceleratorSizing-v0", "options": {}}, "dsegym/AcceleratorSizing-v0 has"),
        ({"scenario": "dsegym/Nothing-v0"}, "dsegym/Nothing-v0"),
        ({"options": {"program": "mlp_tiny", "capacity": "much"}}, "much"),
    ],
)
def test_episodes_that_cannot_be_played_are_refused_in_one_sentence(changes, reason, minari, tmp_path):
    plain = {"scenario": PLAYED[0], "options": PLAYED[1], "dataset": "dsegym/mapping-v0", "episodes": 1}
    with pytest.raises(DsegymError) as caught:
        export_episodes(**{**plain, **changes})
    assert reason in str(caught.value)
    assert not list((tmp_path / "datasets").rglob("*.hdf5"))


def test_a_data_set_that_is_there_stays_and_options_need_the_episodes_that_they_are_for(minari, dsegym_command):
    arguments = ("export", PLAYED[0], "--output", "dsegym/mapping-v0", "-o", "program=mlp_tiny")
    assert "--option is for episodes: say --episodes COUNT" in dsegym_command(*arguments).err
    assert dsegym_command(*arguments, "--episodes", 1).code == 0
    assert "is there already" in dsegym_command(*arguments, "--episodes", 1).err
