"""Agents that cheat, and agents that leave a mess: what is recorded is what happened, and rivals run as ever."""

import contextlib
import io
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
import pytest

import dsegym
from dsegym import Referee
from dsegym.agents.random_search import RandomSearch
from dsegym.agents.scorekeeper import Scorekeeper
from dsegym.experiments import isolation, runner
from dsegym.experiments.agent_process import Job
from dsegym.experiments.executors import processes
from dsegym.experiments.layout import trial_directory
from dsegym.experiments.store import read_trial
from dsegym.experiments.suite import load_suite
from dsegym.experiments.suite_note import write_suite
from dsegym.experiments.verify import verify

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX"),
]
SAMPLES = 60
SUITE = """
name = "rogues"
samples = 60
seeds = 2
time_limit_s = 60

[[instances]]
scenario = "dsegym/AcceleratorSizing-v0"
workload = "alexnet"
objective = "edp"
area_budget = "small"
"""
NO_ATTRIBUTE = "AttributeError: .* has no attribute 'problem'"
THROUGH_THE_REFEREE = "DsegymError: An agent meets its problem through the referee only"

# Class: status, samples recorded, message.
ROGUES = {
    "AsksTheEnvironment": ("failed", 10, NO_ATTRIBUTE),
    "AsksTheAdaptor": ("failed", 10, NO_ATTRIBUTE),
    "LooksAround": ("finished", 10, ""),
    "MakesAProblem": ("failed", 10, THROUGH_THE_REFEREE),
    "MakesAnEnvironment": ("failed", 10, THROUGH_THE_REFEREE),
    "BuildsAProblem": ("failed", 10, THROUGH_THE_REFEREE),
    "ResetsEarly": ("finished", SAMPLES, ""),
    "LeavesLanesOpen": ("finished", SAMPLES, ""),
    "LooksForResults": ("finished", 10, ""),
    "RewritesRecords": ("finished", SAMPLES, ""),
    "AsksForMore": ("finished", 10, ""),
    "SendsCode": ("failed", 10, r"no plain data \(UnpicklingError\)"),
    "SendsNoise": ("failed", 10, r"no plain data"),
    "PatchesDsegym": ("failed", 10, r"the agent changed dsegym\.agents\.referee\.Referee\.evaluate"),
    "ChangesSettings": ("finished", 10, ""),
    "DrawsGlobally": ("finished", 10, ""),
    "LeavesProcesses": ("finished", 10, ""),
    "ForksAndReturns": ("finished", 10, ""),
    "KillsItsParent": ("failed", 0, r"worker process died \(exit code -9\)"),
    "KilledOnce": ("finished", 10, ""),
}


@pytest.fixture(scope="module", autouse=True)
def importable():
    """Agents of another package: importable here and in the workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield
    sys.modules.pop("rogue_agents", None)


@pytest.fixture(scope="module")
def rogues(tmp_path_factory):
    """Every rogue twice, and after them two trials of random search in the same worker: {class: [trial results]}."""
    folder = tmp_path_factory.mktemp("rogues")
    agents = [*(f"rogue_agents:{name}" for name in ROGUES), "random_search"]
    tables = "".join(f'[[agents]]\nname = "{agent}"\n' for agent in agents)
    (folder / "rogues.toml").write_text(SUITE + tables, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DSEGYM_TEST_BOMB", str(folder / "bomb"))
        patch.setenv("DSEGYM_TEST_MARK", str(folder / "mark"))
        patch.setattr("sys.argv", ["dsegym", "run", "rogues.toml", "--output", "results"])
        suite = load_suite(Path("rogues.toml"))
        runner.run_suite(suite, "results", workers=1)
    results = folder / "results"
    found = [read_trial(trial_directory(results, identifier)) for identifier in write_suite(results, suite)]
    return folder, dict(zip([*ROGUES, "random_search"], zip(found[::2], found[1::2], strict=True), strict=True))


@pytest.mark.parametrize("agent", ROGUES)
def test_what_a_rogue_is_recorded_with_is_what_it_spent(agent, rogues):
    status, samples, message = ROGUES[agent]
    for trial in rogues[1][agent]:
        assert (trial.manifest["status"], trial.trace.height) == (status, samples), trial.manifest["message"]
        assert re.search(message, trial.manifest["message"])


def test_every_rogues_results_verify(rogues):
    assert {verdict.problem for verdict in verify(rogues[0] / "results")} == {""}


def test_seconds_are_the_referees_own(rogues):
    for trials in rogues[1].values():
        for trial in trials:
            seconds = trial.trace["elapsed_s"].to_numpy()
            assert (np.diff(seconds) >= 0).all()
            assert (seconds >= 0).all()
            assert (seconds < 60).all()


def test_what_an_agent_sends_is_not_run(rogues):
    assert not (rogues[0] / "bomb").exists()


def test_rivals_after_rogues_in_one_worker_are_those_of_a_clean_run(rogues, tmp_path):
    file = tmp_path / "clean.toml"
    file.write_text(SUITE + '[[agents]]\nname = "random_search"\n', encoding="utf-8")
    runner.run_suite(load_suite(file), tmp_path / "results", workers=1)
    clean = sorted((tmp_path / "results" / "trials").glob("*"))
    traces = {read_trial(path).manifest["trial"]["seed"]: read_trial(path).trace for path in clean}
    for trial in rogues[1]["random_search"]:
        mine = traces[trial.manifest["trial"]["seed"]]
        assert trial.trace.height == SAMPLES
        assert trial.trace.drop("elapsed_s").equals(mine.drop("elapsed_s"))


def test_global_streams_of_random_numbers_follow_the_seed(rogues, tmp_path):
    file = tmp_path / "again.toml"
    file.write_text(SUITE + '[[agents]]\nname = "rogue_agents:DrawsGlobally"\n', encoding="utf-8")
    suite = load_suite(file)
    runner.run_suite(suite, tmp_path / "results", workers=2)
    again = [read_trial(trial_directory(tmp_path / "results", i)) for i in write_suite(tmp_path / "results", suite)]
    for one, other in zip(rogues[1]["DrawsGlobally"], again, strict=True):
        assert one.trace["design"].to_list() == other.trace["design"].to_list()
    assert again[0].trace["design"].to_list() != again[1].trace["design"].to_list()


def test_nothing_that_an_agent_starts_outlives_the_run(rogues):
    deadline = time.monotonic() + 5.0
    while (left := _commands_with("sleep 31.4159")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    assert _commands_with("agent_process import main") == []


MARK = "DSEGYM_TESTED_BY"  # in the environment of what these tests start: others run beside them


@pytest.fixture(autouse=True, scope="module")
def marked():
    """What this process starts bears its number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, str(os.getpid()))
        yield


def _commands_with(text):
    """The commands that these tests have started and that are still there."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if text in command and process.environ().get(MARK) == str(os.getpid()) and process.pid != os.getpid():
                found.append(command)
    return found


def test_what_these_tests_start_is_found():
    sleeping = subprocess.Popen(["sleep", "27.1828"])
    try:
        assert len(_commands_with("sleep 27.1828")) == 1
    finally:
        sleeping.kill()
        sleeping.wait()


def test_a_worker_that_goes_on_no_more_is_ended_after_its_trials_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE_S", 10.0)
    file = tmp_path / "stopped.toml"
    text = SUITE.replace("seeds = 2", "seeds = 1").replace("time_limit_s = 60", "time_limit_s = 5")
    file.write_text(text + '[[agents]]\nname = "rogue_agents:StopsItsParent"\n', encoding="utf-8")
    start = time.monotonic()
    summary = runner.run_suite(load_suite(file), tmp_path / "results", workers=1)
    assert 15.0 < time.monotonic() - start < 60.0
    (problem,) = summary.problems
    assert "timed_out: the worker did not stop within 15 s and was ended; its samples are lost." in problem
    assert _commands_with("agent_process import main") == []


def test_a_limit_of_records_keeps_what_is_recorded(tmp_path):
    problem = dsegym.make_problem("dsegym/AcceleratorSizing-v0", workload="alexnet", objective="edp")
    keeper = Scorekeeper(problem, 2**31 - 1, record_bytes=100_000)
    with pytest.raises(dsegym.DsegymError, match="2000 samples are recorded, and there is no memory for more"):
        RandomSearch().search(Referee.of(keeper.ask, keeper.space, keeper.budget), 0)
    assert len(keeper.samples.objective) == 2000


# Rogue: the message that its search ends with, whether its trial has a limit of time or, as where it is repeated, none.
STALLING = {
    "LeavesAMessageUnfinished": "left a message unfinished, or unread, for 2 s",
    "LeavesALengthUnfinished": "left a message unfinished, or unread, for 2 s",
    "DripsAMessage": "left a message unfinished, or unread, for 2 s",
    "ReadsNoAnswer": "left a message unfinished, or unread, for 2 s",
    "AnnouncesAHugeMessage": "a message of more than 268,435,456 bytes",
    "AnnouncesAMessageOfFourGibibytes": "a message of more than 268,435,456 bytes",
}


def searched(agent, time_limit_s=None):
    problem = dsegym.make_problem("dsegym/AcceleratorSizing-v0", workload="alexnet", objective="edp")
    keeper = Scorekeeper(problem, SAMPLES, time_limit_s)
    before = isolation.resident_bytes(psutil.Process())
    start = time.monotonic()
    ended = isolation.search_apart(Job(f"rogue_agents:{agent}", {}, 0, keeper.space, keeper.budget), keeper)
    assert time.monotonic() - start < 60.0
    assert isolation.resident_bytes(psutil.Process()) - before < 2**28
    assert len(keeper.samples.objective) == 10
    return ended


def test_the_order_of_sets_is_the_same_in_every_process(monkeypatch):
    found = []
    for hash_seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        problem = dsegym.make_problem("dsegym/AcceleratorSizing-v0", workload="alexnet")
        keeper = Scorekeeper(problem, 10)
        isolation.search_apart(Job("awkward_agents:GoesThroughASet", {}, 0, keeper.space, keeper.budget), keeper)
        found.append(keeper.samples.designs)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("agent", STALLING)
def test_a_message_that_does_not_come_to_its_end_ends_the_search(agent, monkeypatch):
    monkeypatch.setattr(isolation, "_MESSAGE_S", 2.0)
    ended = searched(agent)
    assert ended.status == "failed"
    assert STALLING[agent] in ended.message


@pytest.mark.parametrize(
    "agent", ["LeavesAMessageUnfinished", "LeavesALengthUnfinished", "DripsAMessage", "ReadsNoAnswer"]
)
def test_a_message_that_does_not_come_to_its_end_is_under_the_trials_limit(agent):
    assert searched(agent, 3.0)[:2] == ("timed_out", "The trial's time limit of 3 s has passed.")


def test_memory_is_looked_at_while_a_message_comes(monkeypatch):
    monkeypatch.setattr(isolation, "machine_memory", lambda: 2**30)
    assert "took more than the 0.8 GiB that a trial may take" in searched("GrowsWhileItDrips").message


@pytest.mark.parametrize(
    ("module", "name"),
    [("dsegym.agents.referee", "Program"), *sorted(isolation._ARRAYS), ("dsegym.agents.referee", "Samples")],
)
@pytest.mark.parametrize("attribute", ["evil", "__doc__", "__defaults__"])
def test_what_an_agent_sends_sets_no_attribute_here(module, name, attribute):
    real = getattr(sys.modules[module], name)
    before = getattr(real, attribute, None)
    for state in ({attribute: ("changed",)}, (None, {attribute: ("changed",)})):
        message = f"c{module}\n{name}\n".encode() + pickle.dumps(state, 0)[:-1] + b"b."
        with contextlib.suppress(Exception):
            isolation._Unpickler(io.BytesIO(message)).load()
        assert getattr(real, attribute, None) == before


def test_a_process_that_does_not_start_leaves_nothing_open(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    before = os.listdir("/dev/fd")
    with pytest.raises(FileNotFoundError):
        isolation.AgentProcess(str(tmp_path), 2**30)
    assert len(os.listdir("/dev/fd")) == len(before)
    assert list(tmp_path.iterdir()) == []


def test_an_agents_process_whose_worker_is_gone_at_its_start_ends_silently():
    job = Job("random_search", {}, 0, dsegym.make_problem("dsegym/AcceleratorSizing-v0").space, 10)
    ours, theirs = socket.socketpair()
    with theirs, Connection(ours.detach()) as pipe:
        start = isolation._START.format(module="dsegym.experiments.agent_process")
        process = subprocess.Popen(
            [sys.executable, "-c", start, str(theirs.fileno()), json.dumps(sys.path)],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
        )
        pipe.send_bytes(pickle.dumps(job, 5))
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 0
