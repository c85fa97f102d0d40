"""Batches: trials move so that none is lost or counted twice, whatever kills the mover, and damage names its trial."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys

import polars
import pytest

from dsegym.costmodels.errors import CorruptResultError, DsegymError
from dsegym.experiments import batch_writing, batches, store, whole_folders
from dsegym.experiments.batch_writing import compact
from dsegym.experiments.batches import batched, stored_trials
from dsegym.experiments.layout import trial_directory
from dsegym.experiments.parquet_footer import footer_of
from dsegym.experiments.publish import publish
from dsegym.experiments.runner import run_suite
from dsegym.experiments.store import read_trial, write_trial
from dsegym.experiments.suite_note import read_suite
from dsegym.experiments.verify import verify

from .test_store import TRACE, manifest

KINDS = {
    "plain": TRACE,
    "of no samples": TRACE.clear(),
    "with held-out values": TRACE.with_columns(held_out=polars.Series([1.5, None], dtype=polars.Float64)),
    "of another length of design": TRACE.with_columns(
        design=polars.Series([[1, 2, 3], [0, 0, 0]], dtype=polars.List(polars.Int32))
    ),
}
NAMES = [f"{number:016x}" for number in range(len(KINDS))]


def trial(identifier, trace=TRACE, **changes):
    return {**manifest(identifier), "samples_used": trace.height, **changes}, trace


@pytest.fixture
def loose(tmp_path):
    """A directory with a trial of each kind, one that failed, and one more member in a manifest."""
    for name, trace in zip(NAMES, KINDS.values(), strict=True):
        write_trial(tmp_path, *trial(name, trace, host={"cores": 2}))
    write_trial(tmp_path, *trial("f" * 16, status="failed", message="boom"))
    return tmp_path


@pytest.fixture
def moved(results):
    """The tiny suite's results, its trials in a batch."""
    assert compact(results, read_suite(results)["trials"], least=1) == 4
    return results


def batch_of(results):
    (path,) = sorted((results / "batches").glob("*.parquet"))
    return path


def held(results, names):
    return dict(stored_trials(results, names))


def test_trials_are_read_from_a_batch_as_they_were_written(loose):
    before = {name: read_trial(trial_directory(loose, name)) for name in [*NAMES, "f" * 16]}
    assert compact(loose, [*NAMES, "f" * 16], least=1) == len(NAMES)
    assert [path.name for path in (loose / "trials").iterdir()] == ["f" * 16]
    after = held(loose, [*NAMES, "f" * 16])
    assert list(after) == [*NAMES, "f" * 16]
    for name, found in after.items():
        assert found.manifest == before[name].manifest
        assert found.trace.equals(before[name].trace)
        assert found.trace.schema == before[name].trace.schema


def test_fewer_trials_than_a_batch_stay_where_they_are(loose):
    assert compact(loose, NAMES) == 0
    assert compact(loose, NAMES, least=5) == 0
    assert not (loose / "batches").exists()
    assert len(list((loose / "trials").iterdir())) == 5


def test_batches_hold_so_many_trials_and_so_many_samples(loose, monkeypatch):
    monkeypatch.setattr(batch_writing, "MOST_TRIALS", 2)
    assert compact(loose, NAMES, least=2) == 4
    assert len(list((loose / "batches").iterdir())) == 2
    assert list(held(loose, NAMES[::-1])) == NAMES
    monkeypatch.setattr(batch_writing, "_MOST_NUMBERS", 2)
    write_trial(loose, *trial("e" * 16))
    assert compact(loose, ["e" * 16], least=1) == 0  # too long for a batch
    assert "e" * 16 in held(loose, ["e" * 16])


def test_leaderboard_and_verification_say_the_same_of_a_batch(results):
    files = ("leaderboard/leaderboard.json", "leaderboard/leaderboard.md")
    publish(results)
    before = [(results / name).read_bytes() for name in files]
    assert compact(results, read_suite(results)["trials"], least=1) == 4
    assert not list((results / "trials").iterdir())
    assert [verdict.problem for verdict in verify(results)] == [""] * 6
    assert publish(results).missing == 0
    assert [(results / name).read_bytes() for name in files] == before


def test_a_run_finds_its_trials_in_a_batch(moved, tiny_suite):
    summary = run_suite(tiny_suite, moved, workers=1)
    assert (summary.resumed, sum(summary.statuses.values())) == (4, 0)


def altered(path, change, rename=True):
    """The batch with a changed table, under the name that its content asks for or its old one."""
    table = change(polars.read_parquet(path))
    path.unlink()
    table.write_parquet(path)
    if rename:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        path.rename(path.with_name(f"{path.stem.rpartition('-')[0]}-{digest}.parquet"))


def in_row(row, column, value):
    return lambda table: table.with_columns(
        polars.when(polars.int_range(polars.len()) == row)
        .then(polars.lit(value, table.schema[column]))
        .otherwise(polars.col(column))
        .alias(column)
    )


def test_a_tampered_trial_is_named_and_the_others_stand(moved):
    names = polars.read_parquet(batch_of(moved))["trial_id"].to_list()
    altered(batch_of(moved), in_row(1, "trace.objective", [1e-9] * 60), rename=False)
    problems = [verdict.problem for verdict in verify(moved) if verdict.problem]
    assert len(problems) == 1
    assert f"trial {names[1]}: its contents do not match its digest (altered)" in problems[0]
    with pytest.raises(DsegymError, match=f"{names[1]}.*`dsegym verify` names every damaged trial"):
        publish(moved)


def test_a_forged_batch_with_digests_of_its_own_does_not_replay(moved):
    path = batch_of(moved)
    table = polars.read_parquet(path)
    names, row = table["trial_id"].to_list(), 2
    table = in_row(row, "trace.objective", [1e-9] * 60)(table)
    texts = {name: table[f"manifest.{name}"][row] for name in batches.PARTS}
    trace = polars.DataFrame({name: table[f"trace.{name}"][row] for name in store.TRACE_COLUMNS})
    altered(path, lambda _: in_row(row, "digest", batches._digest(names[row], texts, trace))(table))
    problems = [verdict.problem for verdict in verify(moved) if verdict.problem]
    assert len(problems) == 1
    assert names[row] in problems[0]
    assert "do not reproduce" in problems[0]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("manifest.status", '"failed"', "batches hold finished trials only"),
        ("manifest.seconds", "{}", "'seconds.agent' is missing"),
        ("manifest.best", '{"a": 1, "a": 2}', "'best' is not readable as JSON"),
        ("manifest.format", "2", "format 2 where this version reads 1"),
        ("manifest.samples_used", "7", "60 samples, where the manifest says 7 of a budget of 60"),
        ("trace.elapsed_s", [-1.0] * 60, "'elapsed_s' does not rise from 0"),
        ("trace.objective", [None] * 60, "'objective' is missing in some samples"),
        ("trace.design", [None] * 60, "'design' is missing in some samples"),
        ("trace.sample", [1, 2], "a trial's samples are not of one number"),
        ("manifest.agent", None, "values are missing"),
    ],
)
def test_damage_that_its_maker_signed_is_refused_in_one_sentence(column, value, reason, moved):
    altered(batch_of(moved), in_row(0, column, value))
    with pytest.raises(DsegymError) as caught:
        publish(moved)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert any(reason in verdict.problem for verdict in verify(moved))


def truncated(path):
    path.write_bytes(path.read_bytes()[:-20])


def bomb(path):
    """A small file of trials of a million equal samples each."""
    million = polars.Series("trace.elapsed_s", [polars.zeros(1_000_000, polars.Float64, eager=True)] * 4)
    altered(path, lambda table: table.with_columns(million))


@pytest.mark.slow
def test_a_batch_that_cannot_be_read_costs_its_trials_alone_and_running_again_replaces_them(moved, tiny_suite):
    truncated(batch_of(moved))
    problems = [verdict.problem for verdict in verify(moved)]
    assert sum("not readable as Parquet" in problem for problem in problems) == 1
    assert sum("it is not there" in problem for problem in problems) == 4
    with pytest.raises(CorruptResultError, match="not readable as Parquet"):
        publish(moved)
    path = batch_of(moved)
    assert sum(run_suite(tiny_suite, moved, workers=1).statuses.values()) == 4
    assert publish(moved).missing == 0
    (problem,) = [verdict.problem for verdict in verify(moved) if verdict.problem]
    assert "not readable as Parquet" in problem
    path.unlink()  # which nobody else does: somebody may be able to mend it
    assert not any(verdict.problem for verdict in verify(moved))


def test_a_batch_that_unpacks_to_too_much_is_refused_before_it_is_read(moved, monkeypatch):
    bomb(batch_of(moved))
    monkeypatch.setattr(batches, "_MOST_BYTES", 2**24)
    assert batch_of(moved).stat().st_size < 2**20
    monkeypatch.setattr(polars, "read_parquet", None)
    (_, error), *_ = stored_trials(moved, read_suite(moved)["trials"])
    assert "it unpacks to" in str(error)
    assert "are the most that it can have" in str(error)


def test_a_trace_that_unpacks_to_too_much_is_refused_before_it_is_read(loose, monkeypatch):
    """Two samples, whose designs have twenty million indices in a few hundred bytes."""
    directory = trial_directory(loose, NAMES[0])
    design = [polars.zeros(count, polars.Int32, eager=True) for count in (20_000_000, 2)]
    TRACE.with_columns(design=polars.Series(design)).write_parquet(directory / "trace.parquet")
    content = (directory / "trace.parquet").read_bytes()
    path = directory / "manifest.json"
    files = {"trace.parquet": hashlib.sha256(content).hexdigest()}
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "files": files}), encoding="utf-8")
    assert len(content) < 2**20
    monkeypatch.setattr(polars, "read_parquet", None)
    with pytest.raises(CorruptResultError, match=r"it unpacks to 80,[0-9,]+ bytes"):
        read_trial(directory)


def test_a_footer_is_read_or_refused_whatever_its_bytes_are(tmp_path):
    TRACE.write_parquet(tmp_path / "table.parquet")
    content = (tmp_path / "table.parquet").read_bytes()
    assert footer_of(content).rows == 2
    assert 50 <= footer_of(content).unpacked_bytes <= 500
    length = int.from_bytes(content[-8:-4], "little")
    for place in range(len(content) - 8 - length, len(content) - 4):
        for value in (0x19, 0xFF):
            changed = bytearray(content)
            changed[place] = value
            with contextlib.suppress(ValueError):
                assert isinstance(footer_of(bytes(changed)).unpacked_bytes, int)


def test_links_that_lead_out_are_not_followed(moved, tmp_path):
    (moved / "batches").rename(tmp_path / "elsewhere")
    (moved / "batches").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptResultError, match="it leads out of the results directory"):
        publish(moved)


def test_trials_that_never_had_a_directory_are_read_as_they_came(loose):
    found = list(held(loose, NAMES).values())
    elsewhere = loose / "elsewhere"
    (elsewhere / "trials" / NAMES[0]).mkdir(parents=True)  # an attempt that failed, say
    batch_writing.store_batch(elsewhere, found)
    assert list((elsewhere / "trials").iterdir()) == []
    again = held(elsewhere, NAMES)
    assert {name: each.manifest for name, each in again.items()} == {
        each.manifest["trial_id"]: each.manifest for each in found
    }
    for each in found:
        assert again[each.manifest["trial_id"]].trace.equals(each.trace)


def test_digests_of_many_trials_are_those_of_each(loose):
    found = list(held(loose, NAMES).values())
    table = batch_writing._table(found)
    expected = [
        batches._digest(each.manifest["trial_id"], batch_writing._texts(each.manifest), each.trace) for each in found
    ]
    assert table["digest"].to_list() == expected


def small_batches(results):
    """As a run leaves them: of two trials, and of one."""
    found = list(held(results, NAMES).values())
    elsewhere = results / "small"
    elsewhere.mkdir()
    for start in range(0, len(found), 2):
        batch_writing.store_batch(elsewhere, found[start : start + 2])
    return elsewhere, found


def test_small_batches_become_one_and_lose_nothing(loose, monkeypatch):
    results, found = small_batches(loose)
    assert batch_writing.merge_batches(results) == 0  # so few trials stay where they are
    monkeypatch.setattr(batch_writing, "_SMALL_TRIALS", 2)
    files = len(list((results / "batches").iterdir()))
    assert files > 1
    asked = dict(stored_trials(results, NAMES))  # whose samples are read when the small ones have gone
    assert batch_writing.merge_batches(results) == files
    assert len(list((results / "batches").iterdir())) == 1
    for each in found:
        name = each.manifest["trial_id"]
        assert asked[name].trace.equals(each.trace)
        assert held(results, [name])[name].manifest == each.manifest
    assert batch_writing.merge_batches(results) == 0


def test_batches_that_become_one_while_they_are_read_are_no_damage(loose, monkeypatch):
    results, found = small_batches(loose)
    monkeypatch.setattr(batch_writing, "_SMALL_TRIALS", 2)
    reading = stored_trials(results, [*NAMES, "e" * 16])  # one of which is yet to be run
    first = next(reading)
    assert batch_writing.merge_batches(results) > 1
    read = dict([first, *reading])
    assert sorted(read) == sorted(each.manifest["trial_id"] for each in found)
    for each in found:
        assert read[each.manifest["trial_id"]].trace.equals(each.trace)


def test_a_damaged_small_batch_is_merged_with_none(loose, monkeypatch):
    results, _ = small_batches(loose)
    monkeypatch.setattr(batch_writing, "_SMALL_TRIALS", 2)
    first, *rest = sorted((results / "batches").iterdir())
    content = first.read_bytes()
    first.write_bytes(content[:-20])
    assert batch_writing.merge_batches(results) in (0, len(rest))
    assert first.read_bytes() == content[:-20]


def test_a_merge_that_cannot_be_written_leaves_the_small_ones(loose, monkeypatch):
    results, _ = small_batches(loose)
    monkeypatch.setattr(batch_writing, "_SMALL_TRIALS", 2)
    before = sorted((results / "batches").iterdir())

    def full(*arguments, **words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batch_writing, "write_by_rename", full)
    with pytest.raises(OSError, match="No space left"):
        batch_writing.merge_batches(results)
    assert sorted((results / "batches").iterdir()) == before


def test_trials_of_others_in_a_batch_are_strays(loose):
    compact(loose, NAMES, least=1)
    assert batches.strays(loose, NAMES[1:]) == [NAMES[0], "f" * 16]


def test_two_movers_at_once_lose_nothing(loose, monkeypatch):
    """The second one moves the same trials while the first is between its batch and the directories."""
    remove = batch_writing._remove

    def late(results, identifier):
        monkeypatch.setattr(batch_writing, "_remove", remove)
        compact(loose, NAMES, least=1)
        remove(results, identifier)

    monkeypatch.setattr(batch_writing, "_remove", late)
    compact(loose, NAMES, least=1)
    assert sorted(held(loose, NAMES)) == NAMES
    assert not any(isinstance(found, Exception) for found in held(loose, NAMES).values())


def test_a_trial_that_moves_while_others_are_read_is_read_once(loose):
    found = stored_trials(loose, NAMES)
    names = [next(found)[0]]
    compact(loose, NAMES, least=1)
    names += [name for name, _ in found]
    assert names == NAMES


KILLED = """
import os, shutil, signal, sys
from pathlib import Path

from dsegym.agents.registry import load_agent  # and with it all that a move imports, but no thread yet
from dsegym.experiments import batch_writing, whole_folders
from dsegym.experiments.scoring import statistics

source, target, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(",")
STEPS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}


def move(results, left):
    def step(event, arguments):
        nonlocal left
        if event in STEPS and any(str(results) in str(each) for each in arguments):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(step)
    whole_folders.clean(results)
    batch_writing.compact(results, names, least=1)


for number in range(1, 200):
    results = target / f"killed-{number:03d}"
    shutil.copytree(source, results)
    child = os.fork()
    if child == 0:
        try:
            move(results, number)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status == 0:
        sys.exit()
    assert os.WIFSIGNALED(status), status
"""


def check_killed(results, before):
    """Every trial is there once and as it was, and moving on comes to a clean end."""
    for _ in range(2):
        after = held(results, NAMES)
        assert {name: found.manifest for name, found in after.items()} == before
        whole_folders.clean(results)
    compact(results, NAMES, least=1)
    whole_folders.clean(results)
    assert held(results, NAMES).keys() == before.keys()
    assert batched(results) == set(NAMES)
    assert [path.name for path in (results / "trials").iterdir()] == ["f" * 16]
    assert not list(results.rglob(".*"))
    assert sum(len(polars.read_parquet(path)) for path in (results / "batches").iterdir()) == len(NAMES)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_at_any_step_a_move_loses_nothing_and_counts_nothing_twice(loose, tmp_path_factory):
    before = {name: found.manifest for name, found in held(loose, NAMES).items()}
    folder = tmp_path_factory.mktemp("killed")
    script = [sys.executable, "-c", KILLED, str(loose), str(folder), ",".join(NAMES)]
    subprocess.run(script, check=True, timeout=300)
    assert 20 < len(list(folder.iterdir())) < 199
    for results in sorted(folder.iterdir()):
        check_killed(results, before)
