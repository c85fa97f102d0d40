"""Publishing from Python: what the command does, without the command."""

import dataclasses
import re
import shutil
from pathlib import Path

import pytest

import dsegym
from dsegym.experiments.identities import trial_id
from dsegym.experiments.report.text import to_json, to_markdown
from dsegym.experiments.suite import load_suite
from dsegym.experiments.suite_note import write_suite
from dsegym.experiments.trial import run_trial


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


@pytest.mark.slow
def test_of_several_budgets_each_agents_largest_is_ranked_and_the_lottery_tells_of_all(tmp_path, dsegym_command):
    file = tmp_path / "several.toml"
    head = 'name = "several"\nsamples = [20, 40]\nseeds = 1\n'
    instances = '[[instances]]\nscenario = "dsegym/AcceleratorSizing-v0"\nworkload = ["alexnet", "resnet18"]\n'
    agents = '[[agents]]\nname = "random_search"\n[[agents]]\nname = "hill_climb"\ndraws = 2\nmost_samples = 20\n'
    file.write_text(head + instances + agents, encoding="utf-8")
    suite, results = load_suite(file), tmp_path / "results"
    for trial, identifier in zip(suite.trials, write_suite(results, suite), strict=True):
        run_trial(trial, identifier, results)
    published = dsegym.publish(results)
    assert published.missing == 0
    assert published.leaderboard.trials == 2 + 4  # of 40 and of 20 samples
    assert published.leaderboard.budgets == (20, 40)
    assert not [verdict.problem for verdict in dsegym.verify(results) if verdict.problem]
    assert (
        "Ranked by the trials of the largest budget of each agent"
        in (published.folder / "leaderboard.html").read_text()
    )
    code, page, _ = dsegym_command("lottery", results)
    assert code == 0
    assert "This page stands on 8 of the 8 trials" in " ".join(page.split())
    assert dsegym_command("lottery", results, "--output", tmp_path / "docs").code == 0
    stored = tmp_path / "docs" / "lottery" / "results.json"
    assert dsegym_command("lottery", stored).out == page == (tmp_path / "docs/hyperparameter_lottery.md").read_text()
    assert dsegym_command("lottery", results, "--json").out == stored.read_text()
    stored.write_text("{}")
    refused = dsegym_command("lottery", stored)
    assert refused.code != 0
    assert "is no file of stored results: it is not of the format 1" in " ".join(refused.err.split())


def test_results_without_draws_are_no_lottery(results, dsegym_command):
    refused = dsegym_command("lottery", results)
    assert refused.code != 0
    assert "needs `draws` in its suite" in refused.err


def test_results_that_are_whole_are_resumed_from_python(results, tiny_suite):
    summary = dsegym.run_suite(tiny_suite, str(results))
    assert (summary.total, summary.resumed, summary.statuses.total()) == (4, 4, 0)


@pytest.mark.slow
def test_a_suite_is_loaded_by_its_name_or_from_a_file(tiny_file, tiny_suite):
    assert dsegym.load_suite("quick").name == "quick"
    assert dsegym.load_suite(tiny_file) == dsegym.load_suite(str(tiny_file)) == tiny_suite
    with pytest.raises(dsegym.DsegymError, match="Did you mean 'quick'"):
        dsegym.load_suite("quik")


SUITE = """
name = "mixed"
samples = 20
seeds = 1

[[instances]]
scenario = "dsegym/SocSchedulingStatic-v0"
graph = ["range_detection", "top1"]

[[agents]]
name = "random_search"

[[agents]]
name = "heuristic"
"""


def run(suite, results):
    for trial, identifier in zip(suite.trials, write_suite(results, suite), strict=True):
        run_trial(trial, identifier, results)


def pages(results):
    return {path.name: path.read_text(encoding="utf-8") for path in (results / "leaderboard").iterdir()}


def test_every_page_says_which_instances_a_suite_left_out(tmp_path, dsegym_command):
    (tmp_path / "mixed.toml").write_text(SUITE, encoding="utf-8")
    run(dsegym.load_suite(tmp_path / "mixed.toml"), tmp_path / "results")
    code, out, err = dsegym_command("leaderboard", tmp_path / "results")
    assert (code, err) == (0, "")
    for text in (out, *pages(tmp_path / "results").values()):
        assert re.search(
            r"Left out of every figure:\s.*\srange_detection,[^<]*\sis\snot\sabove\sbound", text, re.DOTALL
        )


def test_results_that_hold_an_instance_without_room_are_ranked_without_it(tmp_path):
    """As earlier versions ran them."""
    (tmp_path / "mixed.toml").write_text(SUITE, encoding="utf-8")
    suite = dsegym.load_suite(tmp_path / "mixed.toml")
    flat = [dataclasses.replace(each, options={**each.options, "graph": "range_detection"}) for each in suite.trials]
    run(dataclasses.replace(suite, trials=(*flat, *suite.trials), left_out=()), tmp_path / "results")
    board = dsegym.publish(tmp_path / "results").leaderboard
    assert [each.instance for each in board.left_out] == ["range_detection"]
    assert len(board.instances) == 1
    assert not [verdict for verdict in dsegym.verify(tmp_path / "results") if verdict.problem]


def test_another_suite_of_the_same_name_leaves_no_trial_out_in_silence(results, tiny_suite, dsegym_command):
    run(dataclasses.replace(tiny_suite, trials=tiny_suite.trials[2:]), results)
    _, out, _ = dsegym_command("leaderboard", results)
    assert "Left out: 2 trials in the directory" in out
    assert all("Left out: 2 trials in the directory" in text for text in pages(results).values())


def test_results_are_replayed_wherever_they_go(tmp_path, monkeypatch, dsegym_command):
    study = tmp_path / "study"
    study.mkdir()
    (study / "net.csv").write_text("layer,kind,m,n,k\nfc,gemm,1,1000,512\n", encoding="utf-8")
    sizing = SUITE.replace("SocSchedulingStatic", "AcceleratorSizing")
    sizing = sizing.replace('graph = ["range_detection", "top1"]', 'workload = "net.csv"')
    (study / "suite.toml").write_text(sizing, encoding="utf-8")
    run(dsegym.load_suite(study / "suite.toml"), tmp_path / "results")
    shutil.rmtree(study)
    moved = shutil.copytree(tmp_path / "results", tmp_path / "elsewhere" / "moved")
    shutil.rmtree(tmp_path / "results")
    monkeypatch.chdir(moved.parent)
    assert dsegym_command("leaderboard", "moved").code == 0
    assert dsegym_command("verify", "moved", "--rerun").code == 0
    texts = pages(moved)
    assert "net.csv" in texts["leaderboard.md"]
    assert not [name for name, text in texts.items() if str(tmp_path) in text]
    (kept,) = (moved / "files").iterdir()
    kept.write_text("layer,kind,m,n,k\nfc,gemm,1,1000,1024\n", encoding="utf-8")
    problems = [verdict.problem for verdict in dsegym.verify(moved) if verdict.problem]
    assert len(problems) == 2
    assert all("not those that the results were made from" in problem for problem in problems)
    warned = dsegym_command("leaderboard", "moved")
    assert warned.code == 0
    assert f"warning: files/{kept.name} is not the file that the trials ran on" in warned.err


SHOP = """6 6
2 1 0 3 1 6 3 7 5 3 4 6
1 8 2 5 4 10 5 10 0 10 3 4
2 5 3 4 5 8 0 9 1 1 4 7
1 5 0 5 2 5 3 3 4 8 5 9
2 9 1 3 4 5 5 4 0 3 3 1
1 3 3 3 5 9 0 10 4 4 2 1
"""


def test_the_bound_of_the_first_run_goes_with_the_results_and_verifies_anywhere(tmp_path, dsegym_command):
    (tmp_path / "shop.jsp").write_text(SHOP, encoding="utf-8")
    (tmp_path / "suite.toml").write_text(SUITE.replace('["range_detection", "top1"]', '"shop.jsp"'), encoding="utf-8")
    option = ("--option", f"graph={tmp_path / 'shop.jsp'}")
    loose = "is a lower bound, not tight: `dsegym bound dsegym/SocSchedulingStatic-v0 --option graph="
    assert loose in dsegym_command("cost", "dsegym/SocSchedulingStatic-v0", *option).out.replace("\n", " ")
    run(dsegym.load_suite(tmp_path / "suite.toml"), tmp_path / "before")
    found = dsegym_command("bound", "dsegym/SocSchedulingStatic-v0", *option)
    assert found.code == 0
    assert "shop.jsp.bounds.csv: this bound is used from now on" in found.err.replace("\n", " ")
    assert "not tight" not in dsegym_command("cost", "dsegym/SocSchedulingStatic-v0", *option).out
    run(dsegym.load_suite(tmp_path / "suite.toml"), tmp_path / "after")
    run(dsegym.load_suite(tmp_path / "suite.toml"), tmp_path / "before")  # the bound of its first run stays
    (tmp_path / "shop.jsp").unlink()
    (tmp_path / "shop.jsp.bounds.csv").unlink()
    kinds = {}
    for name in ("before", "after"):
        moved = shutil.copytree(tmp_path / name, tmp_path / "elsewhere" / name)
        shutil.rmtree(tmp_path / name)
        assert not [verdict.problem for verdict in dsegym.verify(moved) if verdict.problem]
        (instance,) = dsegym.publish(moved).leaderboard.instances
        kinds[name] = instance.bound.name
    assert kinds == {"before": "bound", "after": "optimum"}
    (beside,) = (moved / "files").glob("*.bounds.csv")
    beside.write_text(beside.read_text().replace(",yes,", ",no,"), encoding="utf-8")
    problems = [verdict.problem for verdict in dsegym.verify(moved) if verdict.problem]
    assert problems
    assert all("line 2 is damaged" in problem for problem in problems)


@pytest.mark.parametrize("name", ["net.csv", "odd name.csv"])
def test_a_file_under_another_name_gives_the_same_trials(name, tmp_path, tiny_suite):
    path = tmp_path / name
    path.write_text("layer,kind,m,n,k\nfc,gemm,1,1000,512\n", encoding="utf-8")
    trial = dataclasses.replace(tiny_suite.trials[0], options={"workload": str(path)})
    copied = dataclasses.replace(trial, options={"workload": str(shutil.copy(path, tmp_path / "x.csv"))})
    assert trial_id(trial) == trial_id(copied)


def test_a_leaderboard_that_cannot_be_written_stays_as_it_was(results, monkeypatch):
    dsegym.publish(results)
    before = pages(results)
    monkeypatch.setattr(Path, "replace", lambda path, target: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        dsegym.publish(results)
    assert pages(results) == before
