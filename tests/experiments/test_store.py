"""Trials appear whole or not at all, and damage is named."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import polars
import pytest

from dsegym.costmodels.errors import CorruptResultError
from dsegym.experiments import whole_folders
from dsegym.experiments.layout import FORMAT, trial_directory
from dsegym.experiments.store import read_trial, write_trial

TRACE = polars.DataFrame(
    {
        "sample": polars.Series([1, 2], dtype=polars.Int32),
        "objective": [2.0, 1.0],
        "feasible": [True, False],
        "elapsed_s": [0.1, 0.2],
        "design": polars.Series([[0, 1], [1, 0]], dtype=polars.List(polars.Int32)),
    }
)


def manifest(identifier="a" * 16):
    trial = {
        "instance": {"scenario": "dsegym/AcceleratorSizing-v0", "options": {"workload": "alexnet"}},
        "agent": {"name": "random_search", "hyperparameters": {}, "draw": None},
        "seed": 0,
        "samples": 2,
        "time_limit_s": 600.0,
    }
    return {
        "format": FORMAT,
        "trial_id": identifier,
        "trial": trial,
        "versions": {},
        "identity": {"sources": [], "files": {}},
        "status": "finished",
        "message": "",
        "samples_used": 2,
        "objective": {"name": "latency", "unit": "s"},
        "reference": {"name": "gemmini", "value": 2.0, "source": ""},
        "bound": {"kind": "optimum", "value": 1.0, "source": ""},
        "best": None,
        "seconds": {"agent": 0.1, "cost_model": 0.1, "overhead": 0.1, "total": 0.3},
    }


@pytest.fixture
def stored(tmp_path):
    """The directory of a trial as small as can be."""
    write_trial(tmp_path, manifest(), TRACE)
    return trial_directory(tmp_path, "a" * 16)


def test_a_trial_is_read_as_it_was_written(stored):
    result = read_trial(stored)
    assert result.trace.equals(TRACE)
    assert {key: result.manifest[key] for key in manifest()} == manifest()
    assert sorted(path.name for path in stored.iterdir()) == ["manifest.json", "trace.parquet"]


def test_what_a_run_stores_is_json_and_parquet_with_every_second_accounted_for(results, first_trial):
    assert {path.suffix for path in results.rglob("*") if path.is_file()} == {".json", ".parquet"}
    seconds = read_trial(first_trial).manifest["seconds"]
    assert set(seconds) == {"agent", "cost_model", "overhead", "total"}
    assert seconds["total"] == pytest.approx(seconds["agent"] + seconds["cost_model"] + seconds["overhead"])


@pytest.mark.parametrize("step", ["trace.parquet", "manifest.json"])
def test_a_write_that_fails_leaves_nothing_and_harms_nothing(step, stored, tmp_path, monkeypatch):
    before = {path.name: path.read_bytes() for path in stored.iterdir()}
    write_bytes, write_text = Path.write_bytes, Path.write_text

    def full(write):
        def refuse(path, content, *arguments, **more):
            if path.name != step:
                return write(path, content, *arguments, **more)
            write(path, content[:10], *arguments, **more)
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

        return refuse

    monkeypatch.setattr(Path, "write_bytes", full(write_bytes))
    monkeypatch.setattr(Path, "write_text", full(write_text))
    with pytest.raises(OSError, match="No space left"):
        write_trial(tmp_path, manifest("b" * 16), TRACE)
    assert [path.name for path in (tmp_path / "trials").iterdir()] == ["a" * 16]
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == before


def watched(look):
    """The trace, and a look at what is there when it has been written."""
    return SimpleNamespace(write_parquet=lambda table: (TRACE.write_parquet(table), look()))


def test_until_the_last_byte_is_written_the_trial_is_not_there(tmp_path):
    target = trial_directory(tmp_path, "a" * 16)
    seen = []
    write_trial(tmp_path, manifest(), watched(lambda: seen.append(target.exists())))
    assert seen == [False]
    assert target.is_dir()


def test_the_first_of_two_results_of_one_trial_stands(stored, tmp_path):
    before = (stored / "manifest.json").stat().st_ino
    write_trial(tmp_path, {**manifest(), "message": "the second"}, TRACE)
    assert (stored / "manifest.json").stat().st_ino == before
    assert read_trial(stored).manifest["message"] == ""
    assert len(list(stored.parent.iterdir())) == 1


def test_a_trial_that_did_not_finish_stays_until_its_retry_is_written(tmp_path):
    write_trial(tmp_path, {**manifest(), "status": "failed", "message": "boom"}, TRACE)
    target = trial_directory(tmp_path, "a" * 16)
    seen = []
    write_trial(tmp_path, manifest(), watched(lambda: seen.append(read_trial(target).manifest["status"])))
    assert seen == ["failed"]
    assert read_trial(target).manifest["status"] == "finished"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_what_killed_writers_left_is_cleaned_and_what_they_replaced_comes_back(stored, tmp_path):
    trials = stored.parent
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = whole_folders._process().partition("-")[0]
    for name in (
        f".partial-{'b' * 16}-{here}-{gone.pid}",
        f".partial-{'b' * 16}-{gone.pid}",  # of the earliest versions
        f".replaced-{'a' * 16}-1700000000000000000",
        f".partial-{'c' * 16}-{here}-{os.getpid()}",
        f".partial-{'c' * 16}-00000000-{gone.pid}",
    ):
        shutil.copytree(stored, trials / name)
    stored.rename(trials / f".replaced-{'d' * 16}-{here}-{gone.pid}")
    (tmp_path / f".suite.json-{gone.pid}-17").touch()
    (tmp_path / f".suite.json-{os.getpid()}-17").touch()
    whole_folders.clean(tmp_path)
    assert [path.name for path in tmp_path.glob(".*")] == [f".suite.json-{os.getpid()}-17"]
    assert sorted(path.name for path in trials.iterdir()) == [
        f".partial-{'c' * 16}-00000000-{gone.pid}",
        f".partial-{'c' * 16}-{here}-{os.getpid()}",
        "a" * 16,
        "d" * 16,
    ]


def edit_manifest(**changes):
    """A damage: keys of the manifest set, or left out where the new value is `...`."""

    def edit(directory):
        path = directory / "manifest.json"
        content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}), encoding="utf-8")

    return edit


def truncate(name):
    return lambda directory: (directory / name).write_bytes((directory / name).read_bytes()[:-20])


def remove(name):
    return lambda directory: (directory / name).unlink()


def replace_trace(trace):
    """A damage: another table, signed."""

    def replace(directory):
        trace.write_parquet(directory / "trace.parquet")
        digest = hashlib.sha256((directory / "trace.parquet").read_bytes()).hexdigest()
        edit_manifest(files={"trace.parquet": digest})(directory)

    return replace


def no_parquet(directory):
    content = b"sample,objective\n"
    (directory / "trace.parquet").write_bytes(content)
    edit_manifest(files={"trace.parquet": hashlib.sha256(content).hexdigest()})(directory)


def altered_byte(directory):
    content = bytearray((directory / "trace.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (directory / "trace.parquet").write_bytes(content)


# What was done: (damage, the file that the message names, the reason).
DAMAGES = {
    "no manifest": (remove("manifest.json"), "manifest.json", "No such file"),
    "no trace": (remove("trace.parquet"), "trace.parquet", "No such file"),
    "a truncated manifest": (truncate("manifest.json"), "manifest.json", "not readable as JSON"),
    "a manifest that is a list": (lambda d: (d / "manifest.json").write_text("[]"), "manifest.json", "'format'"),
    "a truncated trace": (truncate("trace.parquet"), "trace.parquet", "do not match the hash"),
    "an altered trace": (altered_byte, "trace.parquet", "do not match the hash"),
    "another hash": (edit_manifest(files={"trace.parquet": "0" * 64}), "trace.parquet", "do not match the hash"),
    "no hash": (edit_manifest(files={}), "trace.parquet", "do not match the hash"),
    "a best design that is a number": (
        edit_manifest(best=3),
        "manifest.json",
        "'best' is missing or of the wrong type",
    ),
    "another format": (edit_manifest(format=99), "manifest.json", "format 99 where this version reads 1"),
    "a missing key": (edit_manifest(seconds=...), "manifest.json", "'seconds' is missing or of the wrong type"),
    "a key of the wrong type": (edit_manifest(samples_used="2"), "manifest.json", "'samples_used' is missing"),
    "a trace that is no Parquet": (no_parquet, "trace.parquet", "not readable as Parquet"),
    "a trace without a column": (replace_trace(TRACE.drop("feasible")), "trace.parquet", "columns"),
    "a trace of other types": (
        replace_trace(TRACE.with_columns(polars.col("objective").cast(polars.String))),
        "trace.parquet",
        "'objective': 'String'",
    ),
    "a trace with another column": (
        replace_trace(TRACE.with_columns(more=polars.lit(1))),
        "trace.parquet",
        "columns",
    ),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_named_with_the_file_and_the_reason(case, stored):
    damage, file, reason = DAMAGES[case]
    damage(stored)
    with pytest.raises(CorruptResultError) as raised:
        read_trial(stored)
    assert str(stored / file) in str(raised.value)
    assert reason in str(raised.value)


@pytest.mark.parametrize("refused", ["dup", "open"])
def test_a_trace_is_read_where_no_descriptor_is_left_for_silence(refused, stored, monkeypatch):
    real = getattr(os, refused)

    def none_left(*arguments, **named):
        if refused == "dup" or arguments[0] == os.devnull:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(*arguments, **named)

    before = len(os.listdir("/dev/fd"))
    monkeypatch.setattr(os, refused, none_left)
    assert read_trial(stored).trace.height == 2
    assert len(os.listdir("/dev/fd")) == before
