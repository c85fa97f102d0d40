"""What lies among trials and batches and is none is named by every command, and costs no trial."""

import hashlib
import json
import os
import re
import shutil

import polars
import pytest

from dsegym.costmodels.errors import CorruptResultError, DsegymError
from dsegym.experiments import batches, store
from dsegym.experiments.batch_writing import compact, mend_batches
from dsegym.experiments.batches import batched, stored_trials, strays
from dsegym.experiments.odd_entries import odd_entries, odd_entries_told
from dsegym.experiments.publish import publish
from dsegym.experiments.runner import run_suite
from dsegym.experiments.store import read_trial
from dsegym.experiments.submission import CARD, check_submission
from dsegym.experiments.suite_note import read_suite
from dsegym.experiments.verify import verify

from .test_submission import SOUND

OTHER = "trials-000007-0123456789abcdef.parquet"


def names_of(results):
    return read_suite(results)["trials"]


@pytest.fixture
def moved(results):
    """The tiny suite's results with a card, its trials in a batch."""
    assert compact(results, names_of(results), least=1) == 4
    (results / CARD).write_text(SOUND, encoding="utf-8")
    return results


def batch_of(results):
    (path,) = (results / "batches").glob("trials-000001-*.parquet")
    return path


def written(results, number, table):
    """A batch under its right name."""
    path = results / "batches" / "new.parquet"
    table.write_parquet(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return path.rename(path.with_name(f"trials-{number:06d}-{digest}.parquet"))


def renamed(results):
    path = batch_of(results)
    return path.rename(path.with_name(OTHER))


def copied(results):
    """The batch again, under the number of another."""
    path = batch_of(results)
    return shutil.copy(path, path.with_name(path.name.replace("000001", "000002")))


def overlapping(results):
    """Two of the batch's trials again, in a batch of their own."""
    return written(results, 2, polars.read_parquet(batch_of(results)).head(2))


def unreadable(results):
    path = results / "batches" / OTHER
    path.write_bytes(b"x")
    return path


def a_folder_for_a_batch(results):
    path = results / "batches" / OTHER
    path.mkdir()
    return path


def a_link_to_nowhere_for_a_batch(results):
    path = results / "batches" / OTHER
    path.symlink_to("nowhere")
    return path


def another_file_among_batches(results):
    path = results / "batches" / "notes.txt"
    path.write_text("x", encoding="utf-8")
    return path


def a_file_among_trials(results):
    path = results / "trials" / "notes.txt"
    path.write_text("x", encoding="utf-8")
    return path


def a_file_for_a_trial(results):
    path = results / "trials" / ("e" * 16)
    path.write_text("x", encoding="utf-8")
    return path


def a_file_for_a_trial_of_the_suite(results):
    path = results / "trials" / names_of(results)[0]
    path.write_text("x", encoding="utf-8")
    return path


def a_folder_that_is_no_trial(results):
    path = results / "trials" / ("e" * 16)
    path.mkdir()
    return path


def a_folder_of_another_name(results):
    path = results / "trials" / "backup"
    path.mkdir()
    return path


ODD = {
    renamed: "its content is not what its name says",
    copied: r"4 of its 4 trials are in trials-000001-[0-9a-f]{16}\.parquet too",
    overlapping: r"2 of its 2 trials are in trials-000001-[0-9a-f]{16}\.parquet too",
    unreadable: "not readable as Parquet",
    a_folder_for_a_batch: "Is a directory",
    a_link_to_nowhere_for_a_batch: "No such file or directory|it is a link",
    another_file_among_batches: "no batch of trials",
    a_file_among_trials: "no trial",
    a_file_for_a_trial: "it is no folder, where a trial is one",
    a_file_for_a_trial_of_the_suite: "it is no folder, where a trial is one",
    a_folder_that_is_no_trial: "no trial",
    a_folder_of_another_name: "no trial",
}


@pytest.mark.parametrize(("put", "words"), ODD.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_what_no_run_leaves_is_rejected_by_name_and_costs_no_trial(put, words, moved, dsegym_command):
    before = {name: found.manifest for name, found in stored_trials(moved, names_of(moved))}
    path = put(moved)
    (verdict,) = [each for each in verify(moved) if each.problem]
    assert verdict.subject == str(path)
    assert verdict.problem.startswith(f"{path}: ")
    assert verdict.problem.endswith(".")
    assert re.search(words, verdict.problem)
    with pytest.raises(DsegymError, match=words) as caught:
        check_submission(moved)
    assert path.name in str(caught.value)
    assert dsegym_command("submit", "check", moved).code != 0
    assert dsegym_command("verify", moved).code == 1
    assert {name: found.manifest for name, found in stored_trials(moved, names_of(moved))} == before


@pytest.mark.parametrize("put", ODD, ids=lambda value: value.__name__)
def test_what_ranks_or_runs_says_in_one_line_what_it_does_not_count(put, moved, tiny_file, dsegym_command):
    assert dsegym_command("leaderboard", moved).err == ""
    files = [moved / "leaderboard" / name for name in ("leaderboard.json", "leaderboard.md")]
    before = [path.read_bytes() for path in files]
    path = put(moved)
    told = f"warning: '{moved}' holds 1 thing that no run leaves there, {path.relative_to(moved)}: whole trials"
    told = "".join(told.split())  # lines break in paths too
    code, _, err = dsegym_command("leaderboard", moved)
    assert code == 0
    assert "".join(err.split()).startswith(told)
    assert [path.read_bytes() for path in files] == before
    for command in (("field", moved, "--json"), ("export", moved, "--output", moved.parent / "samples.parquet")):
        code, _, err = dsegym_command(*command)
        assert code == 0
        assert told in "".join(err.split())


def test_several_are_counted_and_the_first_is_named(moved):
    a_file_among_trials(moved)
    unreadable(moved)
    assert "holds 2 things that no run leaves there, trials/notes.txt first:" in odd_entries_told(moved, ())


def test_what_writers_leave_who_were_killed_is_not_odd_but_no_part_of_a_submission(moved):
    left = moved / "trials" / f".partial-{'e' * 16}-0123abcd-1"
    left.mkdir()
    (moved / "batches" / f".{OTHER}-1-2").write_bytes(b"x")
    assert odd_entries(moved, names_of(moved)) == {}
    with pytest.raises(DsegymError, match="which is no"):
        check_submission(moved)
    (moved / "batches" / f".{OTHER}-1-2").unlink()
    with pytest.raises(DsegymError, match=r"holds \.partial-e+-0123abcd-1, which is no trial; remove it\.$"):
        check_submission(moved)


def test_trials_and_batches_that_are_files_are_named_and_no_run_begins(results, tiny_suite):
    shutil.rmtree(results / "trials")
    (results / "trials").write_text("x", encoding="utf-8")
    (results / "batches").write_text("x", encoding="utf-8")
    problems = [verdict.problem for verdict in verify(results)]
    for name in ("trials", "batches"):
        assert f"{results / name}: it is no folder, where results need one; remove it." in problems
    with pytest.raises(DsegymError, match="trials: it is no folder, where results need one"):
        run_suite(tiny_suite, results, workers=1)


def test_a_run_refuses_before_the_work_a_file_where_a_trial_would_go(results, tiny_suite):
    """It would run the trial, and store it nowhere."""
    directory = results / "trials" / names_of(results)[0]
    shutil.rmtree(directory)
    directory.write_text("x", encoding="utf-8")
    with pytest.raises(DsegymError, match=f"{directory.name}: it is no folder, where results need one; remove it"):
        run_suite(tiny_suite, results, workers=1)
    assert directory.read_text(encoding="utf-8") == "x"


def test_a_file_named_as_a_trial_in_a_batch_stays_where_it_is(moved, tiny_suite):
    path = a_file_for_a_trial_of_the_suite(moved)
    assert run_suite(tiny_suite, moved, workers=1).resumed == 4
    assert [each.name for each in (moved / "trials").iterdir()] == [path.name]


def test_a_file_named_as_a_trial_is_told_even_where_the_trial_in_a_batch_is_rejected(moved, monkeypatch):
    path = a_file_for_a_trial_of_the_suite(moved)
    monkeypatch.setattr("dsegym.experiments.verify.hashed_id", lambda *_: "0" * 16)
    problems = [verdict.problem for verdict in verify(moved)]
    assert sum("the id does not follow from the manifest" in problem for problem in problems) == 4
    assert sum(f"{path}: it is no folder, where a trial is one" in problem for problem in problems) == 1


def test_folders_and_files_that_are_no_trials_count_as_no_strays(moved):
    a_folder_that_is_no_trial(moved)
    assert strays(moved, names_of(moved)) == []


def test_a_trial_that_is_copied_over_another_counts_for_neither(results):
    first, second, *_ = sorted((results / "trials").iterdir())
    shutil.rmtree(second)
    shutil.copytree(first, second)
    with pytest.raises(CorruptResultError, match=f"{second.name}: the manifest is of the trial {first.name}"):
        read_trial(second)
    with pytest.raises(CorruptResultError, match=f"{second.name}: the manifest is of the trial {first.name}"):
        publish(results)


def contents(results):
    found = dict(stored_trials(results, names_of(results)))
    return {name: (each.manifest, each.trace.rows()) for name, each in found.items()}


@pytest.mark.parametrize("put", [renamed, copied, overlapping], ids=lambda value: value.__name__)
def test_a_run_keeps_each_trial_once_and_mends_what_its_name_does_not_fit(put, moved, tiny_suite):
    before = contents(moved)
    put(moved)
    assert run_suite(tiny_suite, moved, workers=1).resumed == 4
    assert len(list((moved / "batches").iterdir())) == 1
    assert odd_entries(moved, names_of(moved)) == {}
    assert contents(moved) == before
    check_submission(moved)


@pytest.mark.parametrize("put", [renamed, copied, overlapping], ids=lambda value: value.__name__)
def test_compact_mends_them_too(put, moved, dsegym_command):
    before = contents(moved)
    put(moved)
    code, _, err = dsegym_command("compact", moved)
    assert (code, err) == (0, "")
    assert odd_entries(moved, names_of(moved)) == {}
    assert contents(moved) == before


def test_of_trials_that_were_run_twice_the_first_copy_stays(moved):
    """Two runs at once, whose batches share a trial; what the later one says of it is not what counts."""
    before = contents(moved)
    table = polars.read_parquet(batch_of(moved))
    batch_of(moved).unlink()
    later = table.tail(2).with_columns(polars.col("manifest.seconds").str.replace("{", "{ ", literal=True))
    texts = {name: later[f"manifest.{name}"][0] for name in batches.PARTS}
    trace = polars.DataFrame({name: later[f"trace.{name}"][0] for name in store.TRACE_COLUMNS})
    digest = batches._digest(later["trial_id"][0], texts, trace)
    assert digest != later["digest"][0]
    written(moved, 1, table.head(3))
    written(moved, 2, later.with_columns(polars.Series("digest", [digest, later["digest"][1]])))
    assert mend_batches(moved) == []
    (path,) = (moved / "batches").iterdir()
    assert polars.read_parquet(path)["digest"].to_list()[:3] == table["digest"].to_list()[:3]
    assert contents(moved) == before


def damaged(results, row):
    """The batch with another objective in a trial, under its old name; the trial's id."""
    path = batch_of(results)
    table = polars.read_parquet(path)
    values = [
        polars.Series([1e-9] * 60) if place == row else each for place, each in enumerate(table["trace.objective"])
    ]
    table.with_columns(polars.Series("trace.objective", values)).write_parquet(path)
    return table["trial_id"][row]


def test_a_damaged_trial_leaves_its_batch_only_when_a_whole_one_is_there(moved, finished):
    before = contents(moved)
    name = damaged(moved, 1)
    path = batch_of(moved)
    content = path.read_bytes()
    assert mend_batches(moved) == [path]
    assert path.read_bytes() == content
    shutil.copytree(finished / "trials" / name, moved / "trials" / name)  # as a run makes it again
    assert mend_batches(moved) == []
    assert not path.exists()
    assert batched(moved) == set(names_of(moved)) - {name}
    assert {key: each[1] for key, each in contents(moved).items()} == {key: each[1] for key, each in before.items()}
    assert not any(verdict.problem for verdict in verify(moved))


def test_a_batch_all_of_whose_trials_are_damaged_goes_when_they_are_there_again(moved, finished):
    for row in range(4):
        damaged(moved, row)
    assert mend_batches(moved) == [batch_of(moved)]
    shutil.rmtree(moved / "trials")
    shutil.copytree(finished / "trials", moved / "trials")
    assert mend_batches(moved) == []
    assert list((moved / "batches").iterdir()) == []


def test_a_mend_that_cannot_be_written_leaves_all_where_it_was(moved, monkeypatch):
    from dsegym.experiments import batch_writing

    path = renamed(moved)

    def full(*arguments, **words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batch_writing, "write_by_rename", full)
    with pytest.raises(OSError, match="No space left"):
        mend_batches(moved)
    assert list((moved / "batches").iterdir()) == [path]


def test_names_that_are_no_text_are_named_all_the_same(moved, dsegym_command):
    path = os.fsencode(moved / "trials") + b"/\xff\n\x1b[31m"
    with open(path, "wb"):
        pass
    code, out, _ = dsegym_command("verify", moved, "--json")
    assert code == 1
    assert "it is no trial" in json.loads(out)["rejected"][0]["problem"]
    code, _, err = dsegym_command("submit", "check", moved)
    assert code != 0
    assert "\x1b" not in err
    assert err.count("\n") == 1
