"""The store: whole trials or none, and a sentence for every kind of damage."""

import dataclasses
import json
import subprocess
import sys

import pytest

from dsegym.costmodels.errors import CorruptResultError, DsegymError
from dsegym.experiments import store


def edit(path, **changes):
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def test_a_stored_trial_reads_back_whole(first_trial):
    result = store.read_trial(first_trial)
    assert result.manifest["trial_id"] == first_trial.name
    assert result.trace.height == result.manifest["samples_used"] == 60
    assert result.trace.columns == ["sample", "objective", "feasible", "elapsed_s", "design"]
    assert set(result.manifest["seconds"]) == {"agent", "cost_model", "overhead", "total"}


def test_results_are_json_and_parquet_only(results):
    kinds = {path.suffix for path in results.rglob("*") if path.is_file()}
    assert kinds == {".json", ".parquet"}


def test_nothing_is_left_behind_where_writing_fails(first_trial, tmp_path, monkeypatch):
    result = store.read_trial(first_trial)

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_write_json", full)
    with pytest.raises(OSError, match="No space left"):
        store.write_trial(tmp_path / "elsewhere", dict(result.manifest), result.trace)
    assert not list((tmp_path / "elsewhere" / "trials").iterdir())


def test_a_trial_that_another_process_finished_first_stands(first_trial, results):
    before = (first_trial / "manifest.json").stat().st_ino
    result = store.read_trial(first_trial)
    store.write_trial(results, {**result.manifest, "message": "second"}, result.trace)
    assert (first_trial / "manifest.json").stat().st_ino == before
    assert not [path for path in first_trial.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "trace.parquet").unlink(), r"trace\.parquet: No such file"),
        (lambda d: (d / "manifest.json").unlink(), r"manifest\.json: No such file"),
        (
            lambda d: (d / "trace.parquet").write_bytes((d / "trace.parquet").read_bytes()[:-20]),
            r"trace\.parquet: its contents do not match the hash",
        ),
        (
            lambda d: (d / "manifest.json").write_text((d / "manifest.json").read_text()[:100]),
            r"manifest\.json: not readable as JSON",
        ),
        (lambda d: edit(d / "manifest.json", best=3), r"manifest\.json: 'best' is missing or of the wrong type"),
        (lambda d: edit(d / "manifest.json", samples_used="60"), "'samples_used' is missing or of the wrong type"),
        (lambda d: edit(d / "manifest.json", format=99), "format 99 where this version reads 1"),
        (lambda d: (d / "manifest.json").write_text("[]"), "'format' is missing"),
    ],
)
def test_damage_is_named_with_the_file_and_the_reason(first_trial, damage, message):
    damage(first_trial)
    with pytest.raises(CorruptResultError, match=message):
        store.read_trial(first_trial)


def test_a_file_that_is_no_parquet_is_refused_even_with_the_right_hash(first_trial):
    (first_trial / "trace.parquet").write_bytes(b"nonsense")
    edit(first_trial / "manifest.json", files={"trace.parquet": store._file_hash(first_trial / "trace.parquet")})
    with pytest.raises(CorruptResultError, match="not readable as Parquet"):
        store.read_trial(first_trial)


def test_a_directory_holds_one_suite(results, tiny_suite):
    other = dataclasses.replace(tiny_suite, name="other")
    with pytest.raises(DsegymError, match="holds the results of the suite 'tiny'; choose another directory"):
        store.write_suite(results, other)
    assert store.read_suite(results)["name"] == "tiny"


@pytest.mark.parametrize("text", ["", "{}", '{"format": 1, "name": 3, "description": "", "trials": []}'])
def test_a_damaged_suite_note_is_named(results, text):
    (results / "suite.json").write_text(text)
    with pytest.raises(CorruptResultError, match=r"suite\.json"):
        store.read_suite(results)


def test_a_directory_without_results_is_named(tmp_path):
    with pytest.raises(CorruptResultError, match=r"holds no results: there is no suite\.json"):
        store.read_suite(tmp_path)


@pytest.mark.parametrize(
    "change", [{"seed": 9}, {"samples": 61}, {"hyperparameters": {"population_size": 21}}, {"time_limit_s": 1.0}]
)
def test_what_determines_a_trial_is_in_its_id(tiny_suite, change):
    trial = tiny_suite.trials[-1]
    assert store.trial_id(dataclasses.replace(trial, **change)) != store.trial_id(trial)


def test_the_contents_of_a_users_workload_are_in_the_id(tiny_suite, tmp_path):
    path = tmp_path / "mine.csv"
    trial = dataclasses.replace(tiny_suite.trials[0], options={**tiny_suite.trials[0].options, "workload": str(path)})
    ids = []
    for size in (3, 4, 3):
        path.write_text(f"layer,kind,m,n,k\na,gemm,{size},5,6\n")
        ids.append(store.trial_id(trial))
    assert ids[0] == ids[2] != ids[1]


def test_the_id_is_the_same_in_another_process(tiny_file, tiny_suite):
    code = (
        "import sys; from dsegym.experiments.suite import load_suite; from dsegym.experiments.store import trial_id; "
        "print(*map(trial_id, load_suite(sys.argv[1]).trials))"
    )
    there = subprocess.run([sys.executable, "-c", code, str(tiny_file)], check=True, capture_output=True, text=True)
    assert there.stdout.split() == [store.trial_id(trial) for trial in tiny_suite.trials]
