"""Publishing from Python: what the command does, without the command."""

import pytest

import dsegym
from dsegym.experiments.report.text import to_json, to_markdown


def test_publishing_writes_what_it_returns(results):
    published = dsegym.publish(str(results))
    assert published.folder == results / "leaderboard"
    assert sorted(path.name for path in published.folder.iterdir()) == [
        "leaderboard.html",
        "leaderboard.json",
        "leaderboard.md",
    ]
    assert (published.folder / "leaderboard.json").read_text(encoding="utf-8") == to_json(published.leaderboard)
    assert (published.folder / "leaderboard.md").read_text(encoding="utf-8") == to_markdown(published.leaderboard)
    assert published.missing == 0
    assert not [verdict for verdict in dsegym.verify(str(results)) if verdict.problem]


def test_a_part_of_a_suite_is_published_elsewhere_and_what_is_missing_counted(results, first_trial, tmp_path):
    first_trial.rename(results / "elsewhere")
    published = dsegym.publish(results, tmp_path / "a" / "b")
    assert (published.missing, published.leaderboard.trials) == (1, 3)
    assert (tmp_path / "a" / "b" / "leaderboard.html").exists()
    assert not (results / "leaderboard").exists()


def test_results_that_are_whole_are_resumed_from_python(results, tiny_suite):
    summary = dsegym.run_suite(tiny_suite, str(results))
    assert (summary.total, summary.resumed, summary.statuses.total()) == (4, 4, 0)


def test_a_suite_is_loaded_by_its_name_or_from_a_file(tiny_file, tiny_suite):
    assert dsegym.load_suite("quick").name == "quick"
    assert dsegym.load_suite(tiny_file) == dsegym.load_suite(str(tiny_file)) == tiny_suite
    with pytest.raises(dsegym.DsegymError, match="Did you mean 'quick'"):
        dsegym.load_suite("quik")
