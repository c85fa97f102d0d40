"""Submissions: a sound one holds; whatever a card or a directory says wrongly is one sentence, and runs no code."""

import json
import os
import shutil

import pytest

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.submission import CARD, check_submission, read_card, write_template
from dsegym.experiments.suite import load_suite
from dsegym.experiments.suite_note import write_suite
from dsegym.experiments.trial import run_trial

CONSIDERED = "considered = { population_size = [10, 20] }"
SOUND = f"""
title = "Two agents"
authors = ["Ada Example <ada@example.org>", "B. Other"]
date = 2026-11-29

[[entries]]
name = "random_search"
source = "https://example.org/random"
deterministic = true
chosen_on = "nothing to choose"

[[entries]]
name = "genetic_algorithm"
source = "https://example.org/genetic/tree/0123abc"
deterministic = true
chosen_on = "AcceleratorSizing on resnet18"
{CONSIDERED}
"""


@pytest.fixture
def submission(results):
    """A sound submission, to be changed at will."""
    (results / CARD).write_text(SOUND, encoding="utf-8")
    return results


def reword(submission, old, new):
    text = (submission / CARD).read_text(encoding="utf-8")
    assert text.count(old) >= 1
    (submission / CARD).write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_sound_submission_holds_and_its_agents_come_to_the_same_designs_again(submission, dsegym_command):
    code, out, err = dsegym_command("submit", "check", submission, "--rerun")
    assert (code, err) == (0, "")
    assert "Two agents, by Ada Example <ada@example.org>, B. Other, 2026-11-29." in out
    assert "4 of 4 reproduce." in out
    assert "The submission holds." in out
    found = json.loads(dsegym_command("submit", "check", submission, "--json").out)
    assert (found["claims"], found["reproduced"], found["rejected"], found["run_again"]) == (4, 4, [], [])
    assert (found["card"]["title"], found["card"]["date"]) == ("Two agents", "2026-11-29")
    assert [entry["name"] for entry in found["card"]["entries"]] == ["random_search", "genetic_algorithm"]


def test_a_leaderboard_that_is_older_than_the_card_follows_from_the_trials(results, dsegym_command):
    assert dsegym_command("leaderboard", results).code == 0
    (results / CARD).write_text(SOUND, encoding="utf-8")
    code, out, _ = dsegym_command("submit", "check", results)
    assert code == 0, out
    assert "6 of 6 reproduce." in out
    assert dsegym_command("leaderboard", results).code == 0
    page = results / "leaderboard" / "leaderboard.md"
    assert "Ada Example" in page.read_text(encoding="utf-8")
    assert dsegym_command("submit", "check", results).code == 0
    page.write_text(page.read_text(encoding="utf-8").replace("Ada", "Eve"), encoding="utf-8")
    assert dsegym_command("submit", "check", results).code == 1


def test_a_template_filled_in_is_a_sound_card(results, dsegym_command):
    code, out, _ = dsegym_command("submit", "new", results)
    assert code == 0
    assert "fill in each '?'" in out
    with pytest.raises(DsegymError, match="the chosen_on of random_search is still '\\?': fill it in"):
        read_card(results)
    text = (results / CARD).read_text(encoding="utf-8")
    (results / CARD).write_text(text.replace('"?"', '"words"'))
    card = check_submission(results)
    assert [entry.name for entry in card.entries] == ["random_search", "genetic_algorithm"]
    assert {entry.source for entry in card.entries} == {"shipped"}
    assert card.entries[1].considered == {"population_size": (20,)}
    with pytest.raises(DsegymError, match="is there already"):
        write_template(results)


def test_only_agents_that_are_said_to_be_deterministic_are_run_again(submission, dsegym_command, monkeypatch):
    from dsegym.experiments import verify

    ran = []
    monkeypatch.setattr(verify, "_rerun", lambda directory, trial, *rest: ran.append(trial.agent))
    reword(submission, "deterministic = true", "deterministic = false")
    assert dsegym_command("submit", "check", submission, "--rerun").code == 0
    assert ran == ["genetic_algorithm"] * 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "Two agents"', "", "the card needs 'title'"),
        ('title = "Two agents"', 'title = ""', "the title must be a text of 1 to 1000 characters"),
        ('title = "Two agents"', 'title = "a\\u001b[31mb"', "the title must be a text of 1 to 1000 characters"),
        ("authors", "writers", "key of the card"),
        ('"B. Other"', "7", "the author must be a text"),
        ("date = 2026-11-29", 'date = "yesterday"', "date = 'yesterday' is no date"),
        ("date = 2026-11-29", "date = 2026-11-29T10:00:00", "is no date"),
        ("https://example.org/random", "file:///etc/passwd", "is neither a link of the form https"),
        ("https://example.org/random", "javascript:alert(1)", "is neither a link of the form https"),
        ("deterministic = true", 'deterministic = "yes"', "deterministic of random_search must be true or false"),
        (CONSIDERED, "considered = 3", "considered of genetic_algorithm must be a table"),
        (CONSIDERED, "considered = { population_size = [] }", "must list the values that were tried"),
        (CONSIDERED, "considered = { population_size = [10] }", "ran with population_size = 20, which is not among"),
        (CONSIDERED, "", "ran with population_size = 20, which is not among"),
        ('name = "random_search"', 'name = "genetic_algorithm"', "the entry genetic_algorithm stands there twice"),
        ('name = "random_search"', 'name = "tpe"', "in the results, and not on the card: random_search"),
        (
            'name = "random_search"\nsource = "https://example.org/random"',
            'name = "my:Tabu"\nsource = "shipped"',
            "no agent of that name is shipped; give a link",
        ),
        ("https://example.org/random", "Shipped", "neither a link of the form https://... nor 'shipped'"),
        ("[[entries]]", "[[entries]]\nname = ", "Cannot read the card"),
    ],
)
def test_a_card_that_does_not_hold_is_one_sentence(submission, dsegym_command, old, new, said):
    reword(submission, old, new)
    code, out, err = dsegym_command("submit", "check", submission)
    assert code == 2
    assert said in err
    assert out == ""
    assert err.count("\n") == 1


def test_an_entry_without_results_is_named(submission):
    entry = SOUND[SOUND.index("[[entries]]") : SOUND.index('name = "genetic')]
    with open(submission / CARD, "a", encoding="utf-8") as file:
        file.write(entry.split("\n\n")[0].replace("random_search", "other"))
    with pytest.raises(DsegymError, match="on the card, and not in the results: other"):
        check_submission(submission)


def test_a_submission_without_a_card_says_how_to_write_one(results):
    with pytest.raises(DsegymError, match=r"has no submission\.toml; `dsegym submit new"):
        check_submission(results)


def test_what_is_no_part_of_a_submission_is_refused(submission):
    (submission / "setup.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    with pytest.raises(DsegymError, match=r"holds setup\.py, which is no part of a submission"):
        check_submission(submission)


@pytest.mark.parametrize("target", ["/etc/passwd", "suite.json", "nowhere"])
def test_links_are_refused_wherever_they_lead(submission, first_trial, target):
    (first_trial / "more.json").symlink_to(target)
    with pytest.raises(DsegymError, match=r"more\.json: it is a link or no plain file"):
        check_submission(submission)


def test_a_card_that_is_a_link_is_refused(submission, tmp_path):
    (submission / CARD).rename(tmp_path / "card.toml")
    (submission / CARD).symlink_to(tmp_path / "card.toml")
    with pytest.raises(DsegymError, match="it is a link"):
        check_submission(submission)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_read(submission):
    os.mkfifo(submission / "trials" / "pipe")
    with pytest.raises(DsegymError, match="no plain file"):
        check_submission(submission)


def test_a_trial_that_is_not_done_and_one_of_another_suite_are_named(submission, first_trial):
    other = first_trial.with_name("0123456789abcdef")
    first_trial.rename(other)
    with pytest.raises(DsegymError, match="0123456789abcdef is no trial of this suite"):
        check_submission(submission)
    other.rename(submission.parent / "elsewhere")
    with pytest.raises(DsegymError, match="1 of 4 trials are not done yet"):
        check_submission(submission)


def test_a_claim_that_was_edited_is_rejected_by_its_trial(submission, first_trial, dsegym_command):
    path = first_trial / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["bound"]["value"] *= 0.5
    path.write_text(json.dumps(manifest), encoding="utf-8")
    code, out, _ = dsegym_command("submit", "check", submission)
    assert code == 1
    assert f"rejected: {first_trial}" in out
    assert "3 of 4 reproduce." in out
    assert "holds" not in out.split("reproduce.")[1]


@pytest.fixture(scope="module")
def submitted(tmp_path_factory, tiny_file):
    """Runs the tiny suite with another agent, and with changes of the suite's text; a directory with a card."""

    def run(agent="hill_climb", changes=()):
        text = tiny_file.read_text(encoding="utf-8")
        text = text[: text.index("[[agents]]")] + f'[[agents]]\nname = "{agent}"\n'
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        folder = tmp_path_factory.mktemp("submitted")
        (folder / "suite.toml").write_text(text, encoding="utf-8")
        suite, results = load_suite(folder / "suite.toml"), folder / "results"
        for trial, identifier in zip(suite.trials, write_suite(results, suite), strict=True):
            run_trial(trial, identifier, results)
        card = SOUND[: SOUND.index("[[entries]]", SOUND.index("[[entries]]") + 1)].replace("random_search", agent)
        (results / CARD).write_text(card, encoding="utf-8")
        return results

    return run


def test_a_submission_stands_on_one_board_with_the_results_before_it(results, submitted, tmp_path, dsegym_command):
    other = submitted()
    code, out, err = dsegym_command("leaderboard", results, other, "--output", tmp_path / "board")
    assert (code, err) == (0, "")
    board = json.loads((tmp_path / "board" / "leaderboard.json").read_text(encoding="utf-8"))
    assert {row["agent"] for row in board["rows"]} == {"random_search", "genetic_algorithm", "hill_climb"}
    assert board["trials"] == 6
    said = "hill_climb was submitted by Ada Example <ada@example.org>, B. Other on 2026-11-29"
    assert said in out
    assert any(note.startswith(said) for note in board["notes"])
    assert "hill_climb was submitted" in (tmp_path / "board" / "leaderboard.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("agent", "changes", "said"),
    [
        ("random_search", (), "random_search is in"),
        ("hill_climb", (("seeds = 2", "seeds = 3"),), "has other instances, seeds or budgets"),
        ("hill_climb", (("samples = 60", "samples = 61"),), "has other instances, seeds or budgets"),
        ("hill_climb", (('"alexnet"', '"resnet18"'),), "has other instances, seeds or budgets"),
    ],
)
def test_what_cannot_be_compared_is_on_no_board(results, submitted, tmp_path, dsegym_command, agent, changes, said):
    other = submitted(agent, changes)
    code, _, err = dsegym_command("leaderboard", results, other, "--output", tmp_path / "board")
    assert code == 2
    assert said in err
    assert not (tmp_path / "board").exists()


def test_a_board_of_several_needs_a_folder(results, dsegym_command):
    code, _, err = dsegym_command("leaderboard", results, results)
    assert code == 2
    assert "needs an output folder of its own" in err


def test_a_damaged_batch_is_named_and_what_is_no_batch_is_refused(submission):
    batches = submission / "batches"
    batches.mkdir(exist_ok=True)
    (batches / "notes.txt").write_text("x")
    with pytest.raises(DsegymError, match=r"holds notes\.txt, which is no batch of trials; remove it\.$"):
        check_submission(submission)
    (batches / "notes.txt").rename(batches / "trials-000001-0123456789abcdef.parquet")
    trials = submission / "trials"
    shutil.rmtree(next(iter(trials.iterdir())))
    with pytest.raises(
        DsegymError, match=r"trials-000001-0123456789abcdef\.parquet.* makes trials that are missing again\.$"
    ):
        check_submission(submission)
