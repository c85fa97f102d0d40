"""Trainings: the same bits however often they were killed, and nothing lost by what goes wrong."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dsegym.costmodels.errors import CorruptResultError, DsegymError
from dsegym.envs.core.collections import Collection, load_collection
from dsegym.experiments import training as trainings
from dsegym.experiments.policy_store import CARD, CURVE, WEIGHTS, arrays_from, bytes_of, load_policy, metadata_of
from dsegym.experiments.training import CHECKPOINT, hyperparameters_of, train_policy, training_of

CASCADE = "dsegym/ReasoningCascade-v0"
SMALL = {"lanes": "8", "rollout": "8", "minibatches": "2", "units": "8"}  # 64 steps an update
STEPS = 64 * 150  # chunks of three updates


def training(**changes):
    words = {"scenario": CASCADE, "agent": "ppo", "collection": load_collection("cascade-budgets"), "steps": STEPS}
    return training_of(**{**words, "seed": 1, "hyperparameters": SMALL, **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The directory of a policy whose training nobody stopped."""
    directory = tmp_path_factory.mktemp("whole") / "policy"
    train_policy(training(), directory)
    return directory


class Killed(Exception):
    """In place of a signal."""


def killed_after(calls):
    seen = []

    def progress(steps, total, figures):
        seen.append(steps)
        if len(seen) == calls:
            raise Killed

    return progress


def test_a_policy_says_how_it_was_trained(whole):
    card = load_policy(whole).card
    assert (card.scenario, card.form, card.collection) == (CASCADE, "decisions", "cascade-budgets")
    assert (card.learner, card.seed, card.steps) == ("ppo", 1, STEPS)
    assert card.hyperparameters["lanes"] == 8
    assert card.trained_on == load_collection("cascade-budgets").digests("train")
    assert {"jax", "flax", "optax", "dsegym", "dsegym_sources"} <= set(card.versions)
    lines = (whole / CURVE).read_text().splitlines()
    assert {"steps", "reward"} <= set(lines[0].split(","))
    assert [int(line.split(",")[0]) for line in lines[1:]] == list(range(64, STEPS + 1, 64))
    assert [each.name for each in whole.parent.iterdir()] == ["policy"]


@pytest.mark.parametrize("calls", [1, 2, 30, 49, 50])
def test_a_training_that_was_killed_goes_on_with_the_same_bits(whole, tmp_path, monkeypatch, calls):
    monkeypatch.setattr(trainings, "SAVE_EVERY_S", 0.0)
    directory = tmp_path / "policy"
    with pytest.raises(Killed):
        train_policy(training(), directory, progress=killed_after(calls))
    assert not directory.exists()
    told = []
    train_policy(training(), directory, progress=lambda steps, total, figures: told.append(steps))
    assert len(told) == 50 - (calls - 1)  # what the killed run was told last, it had not saved yet
    for name in (WEIGHTS, CURVE):
        assert (directory / name).read_bytes() == (whole / name).read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == ["policy"]


def test_a_training_that_is_done_is_not_done_again(whole):
    before = (whole / CARD).read_bytes()
    train_policy(training(), whole, progress=killed_after(1))
    assert (whole / CARD).read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [({"seed": 2}, "seed 1, now 2"), ({"hyperparameters": {**SMALL, "units": "4"}}, "units 8, now 4")],
)
def test_a_directory_of_another_training_is_refused(whole, tmp_path, monkeypatch, changes, wanted):
    with pytest.raises(DsegymError, match=rf"holds a policy of another training \({wanted}\)"):
        train_policy(training(**changes), whole)
    monkeypatch.setattr(trainings, "SAVE_EVERY_S", 0.0)
    with pytest.raises(Killed):
        train_policy(training(), tmp_path / "policy", progress=killed_after(2))
    with pytest.raises(DsegymError, match=rf"holds an unfinished training of other settings \({wanted}\)"):
        train_policy(training(**changes), tmp_path / "policy")


def test_a_directory_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DsegymError, match="is there already"):
        train_policy(training(), tmp_path)


@pytest.mark.parametrize("path", [".", "/", "", "..", "policies/.."])
def test_a_directory_without_a_name_of_its_own_is_refused(path):
    with pytest.raises(DsegymError, match="does not end in a name"):
        train_policy(training(), path)


@pytest.mark.slow
def test_two_processes_do_not_train_in_one_place(tmp_path):
    folder = tmp_path / "policy.training"
    folder.mkdir()
    other = "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", other, folder / trainings.LOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        with pytest.raises(DsegymError, match="Another process trains in"):
            train_policy(training(), tmp_path / "policy")
        process.kill()
        process.wait()
    train_policy(training(steps=1), tmp_path / "policy")


def test_an_update_of_too_many_steps_is_refused(tmp_path):
    many = training(hyperparameters={"lanes": "65536", "rollout": "100000"})
    with pytest.raises(DsegymError, match="make 6,553,600,000 steps of one update, 2,147,483,647 at most"):
        train_policy(many, tmp_path / "policy")
    assert list(tmp_path.iterdir()) == []


def test_parts_that_share_an_instance_are_refused(tmp_path):
    collection = Collection("mine", CASCADE, "", lambda: [{"budget": 5}], list, lambda: [{"budget": "5.0"}])
    with pytest.raises(DsegymError, match="holds one instance twice, in train"):
        train_policy(training(collection=collection), tmp_path / "policy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("request", "[]"), ("request", "3"), ("seconds", "nan"), ("seconds", "x"), ("curve", "3"), ("curve", '["no"]')],
)
def test_a_checkpoint_that_says_something_else_is_told(tmp_path, monkeypatch, name, value):
    monkeypatch.setattr(trainings, "SAVE_EVERY_S", 0.0)
    with pytest.raises(Killed):
        train_policy(training(), tmp_path / "policy", progress=killed_after(2))
    path = tmp_path / "policy.training" / CHECKPOINT
    said = metadata_of(path, tmp_path) | {name: value}
    path.write_bytes(bytes_of(arrays_from(path, tmp_path), said))
    with pytest.raises(CorruptResultError, match="remove it to begin anew"):
        train_policy(training(), tmp_path / "policy")


def test_a_damaged_checkpoint_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(trainings, "SAVE_EVERY_S", 0.0)
    with pytest.raises(Killed):
        train_policy(training(), tmp_path / "policy", progress=killed_after(2))
    path = tmp_path / "policy.training" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CorruptResultError, match=re.escape(CHECKPOINT)):
        train_policy(training(), tmp_path / "policy")


def test_a_full_disk_keeps_the_checkpoint_before(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(trainings, "SAVE_EVERY_S", 0.0)
    own, written = trainings.write_by_rename, []

    def full(path, content):
        written.append(path)
        if len(written) > 4:
            raise OSError(28, "No space left on device", str(path))
        own(path, content)

    monkeypatch.setattr(trainings, "write_by_rename", full)
    with pytest.raises(OSError, match="No space left"):
        train_policy(training(), tmp_path / "policy")
    monkeypatch.setattr(trainings, "write_by_rename", own)
    told = []
    train_policy(training(), tmp_path / "policy", progress=lambda steps, *_: told.append(steps))
    assert told[0] == 3 * 3 * 64
    assert (tmp_path / "policy" / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_figures_go_to_tensorboard(tmp_path):
    class Writer:
        def __init__(self):
            self.scalars = []

        def add_scalar(self, name, value, step):
            self.scalars.append((name, value, step))

        def flush(self):
            pass

    writer = Writer()
    train_policy(training(), tmp_path / "policy", writer=writer)
    assert [step for name, _, step in writer.scalars if name == "reward"] == list(range(192, STEPS + 1, 192))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"scenario": "dsegym/MemoryMapping-v0"}, "The collection 'cascade-budgets' is of dsegym/ReasoningCascade-v0"),
        ({"steps": 0}, "steps = 0 is not a whole number from 1"),
        ({"seed": -1}, "seed = -1 is not a whole number from 0"),
        ({"agent": "pppo"}, "Unknown learner 'pppo'"),
        ({"hyperparameters": {"lanes": "many"}}, "ppo's lanes = 'many' is no int"),
        ({"hyperparameters": {"lanes": "0"}}, "ppo's lanes = 0 is not allowed"),
        ({"hyperparameters": {"lane": "8"}}, "Unknown hyperparameter of ppo 'lane'"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused(changes, wanted):
    with pytest.raises(DsegymError, match=wanted):
        training(**changes)


def test_an_empty_training_part_is_told(tmp_path):
    collection = Collection("mine", CASCADE, "", list, list, lambda: [{"budget": 5}])
    with pytest.raises(DsegymError, match="The train part of the collection 'mine' has no instance"):
        train_policy(training(collection=collection), tmp_path / "policy")


@pytest.mark.slow
def test_a_policy_that_imitates_is_trained_as_any_other(tmp_path):
    learned = train_policy(
        training(agent="imitation", hyperparameters={**SMALL, "expert": "escalate_once"}), tmp_path / "it"
    )
    assert learned.card.learner == "imitation"
    assert learned.card.hyperparameters["expert"] == "escalate_once"
    with pytest.raises(DsegymError, match="nobody"):
        train_policy(training(agent="imitation", hyperparameters={**SMALL, "expert": "nobody"}), tmp_path / "no")


def test_hyperparameters_have_the_types_of_their_defaults():
    found = hyperparameters_of("ppo", {"lanes": "8", "learning_rate": "1e-3", "architecture": "mlp"})
    assert found == {"lanes": 8, "learning_rate": 1e-3, "architecture": "mlp"}


@pytest.mark.slow
def test_a_command_that_was_killed_goes_on_with_the_same_bits(tmp_path):
    """Killed as a system does it, at whatever moment comes."""
    settings = [item for name, value in SMALL.items() for item in ("--set", f"{name}={value}")]
    program = (
        "import sys; from dsegym.experiments import training; training.SAVE_EVERY_S = 0.05; "
        "from dsegym.experiments.cli import main; main()"
    )

    def command(out):
        words = ["train", CASCADE, "--collection", "cascade-budgets", "--steps", str(64 * 20_000), "--out", str(out)]
        return [sys.executable, "-c", program, *words, *settings]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    out, kills = tmp_path / "killed", 0
    checkpoint = Path(f"{out}.training") / CHECKPOINT
    for delay_s in (0.0, 0.05, 0.2):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while process.poll() is None and not (checkpoint.exists() and checkpoint.stat().st_mtime_ns != before):
            time.sleep(0.01)
        time.sleep(delay_s)
        process.kill()
        error = process.communicate()[1].decode()
        assert process.returncode in (0, -signal.SIGKILL), error
        kills += process.returncode != 0
    assert kills >= 2
    assert not out.exists()
    subprocess.run(command(out), check=True, capture_output=True)
    assert (out / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
