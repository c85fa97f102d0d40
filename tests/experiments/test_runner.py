"""The runner: killed, interrupted, resumed, with agents that misbehave and disks that are full."""

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments import runner
from dsegym.experiments.batches import batched, stored_trials
from dsegym.experiments.executors import Outcome, Task, pool
from dsegym.experiments.layout import trial_directory
from dsegym.experiments.store import read_trial
from dsegym.experiments.suite import Trial, load_suite
from dsegym.experiments.suite_note import read_suite, write_suite
from dsegym.experiments.verify import verify

SAMPLES, TIME_LIMIT_S = 60, 3
AGENTS = Path(__file__).parent
# The console script, with the terminal's treatment of Ctrl-C whatever the tests' own is.
MAIN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import dsegym.experiments.cli as cli; "
INSTANCE = """
[[instances]]
scenario = "dsegym/AcceleratorSizing-v0"
workload = "alexnet"
objective = "edp"
area_budget = "small"
"""
posix_only = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")


def write_suite_file(path, agents, *, seeds=1, time_limit_s=60):
    head = f'name = "{path.stem}"\nsamples = {SAMPLES}\nseeds = {seeds}\ntime_limit_s = {time_limit_s}\n'
    path.write_text(head + INSTANCE + "".join(f'[[agents]]\nname = "{agent}"\n' for agent in agents), encoding="utf-8")
    return path


def awkward(name):
    return f"awkward_agents:{name}"


def stored(results):
    """What tells one write of a trial from another: {directory: (inode, time of change)}."""
    found = sorted(path for path in (results / "trials").glob("*") if not path.name.startswith("."))
    return {path.name: (path.stat().st_ino, (path / "manifest.json").stat().st_mtime_ns) for path in found}


def hidden(results):
    return sorted(path.name for path in (results / "trials").glob(".*"))


def traces(results):
    identifiers = json.loads((results / "suite.json").read_text(encoding="utf-8"))["trials"]
    return [read_trial(trial_directory(results, identifier)).trace for identifier in identifiers]


def complaints(err):
    return [line for line in err.splitlines() if line.startswith("dsegym: ")]


@pytest.fixture(scope="module", autouse=True)
def importable():
    """Agents of another package: importable here and in the workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(AGENTS)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(AGENTS), os.environ.get("PYTHONPATH", "")]))
        yield
    sys.modules.pop("awkward_agents", None)


# --- A run that is cut short. Four trials finish, and the next two wait at a gate. ---

BEFORE_THE_GATE = 4


@pytest.fixture(scope="module")
def gated_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("gated") / "gated.toml"
    return write_suite_file(path, ["genetic_algorithm", awkward("Gated")], seeds=BEFORE_THE_GATE)


@pytest.fixture
def gate(tmp_path, monkeypatch):
    folder = tmp_path / "gate"
    folder.mkdir()
    monkeypatch.setenv("DSEGYM_TEST_GATE", str(folder))
    return folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, gated_file):
    """Results of two workers whom nobody disturbed."""
    folder, results = tmp_path_factory.mktemp("gate"), tmp_path_factory.mktemp("uninterrupted")
    (folder / "open").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSEGYM_TEST_GATE", str(folder))
        summary = runner.run_suite(load_suite(gated_file), results, workers=2)
    assert summary.statuses == {"finished": 2 * BEFORE_THE_GATE}
    return results


def start(suite_file, results):
    return subprocess.Popen(
        [sys.executable, "-c", MAIN + "cli.main()", "run", suite_file, "--output", results, "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=results.parent,
        start_new_session=True,
    )


def wait_until(condition, process):
    deadline = time.monotonic() + 120.0
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"the run did not get that far: {process.communicate()}")
        time.sleep(0.02)


def ended(process):
    """Its output; both pipes close only when the workers that hold them have ended too."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def leaderboard_bytes(dsegym_command, results, output):
    assert dsegym_command("leaderboard", results, "--output", output).code == 0
    return [(output / name).read_bytes() for name in ("leaderboard.json", "leaderboard.md")]


@pytest.mark.slow
@posix_only
@pytest.mark.parametrize("ending", ["SIGKILL", "SIGINT"])
def test_a_run_that_was_cut_short_resumes_to_the_same_leaderboard(
    ending, gate, gated_file, uninterrupted, dsegym_command, tmp_path
):
    results = tmp_path / "results"
    process = start(gated_file, results)
    wait_until(lambda: len(stored(results)) == BEFORE_THE_GATE and len(list(gate.glob("waiting-*"))) == 2, process)
    if ending == "SIGKILL":
        process.kill()  # the parent alone: its workers must notice
    else:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: everyone
    code, _, err = ended(process)

    assert "Traceback" not in err
    if ending == "SIGKILL":
        assert (code, complaints(err)) == (-signal.SIGKILL, [])
    else:
        (sentence,) = complaints(err)
        assert code == 130
        assert sentence.startswith("dsegym: Interrupted. Finished trials are kept")
    before = stored(results)
    assert len(before) == BEFORE_THE_GATE
    assert hidden(results) == []

    waiting = json.loads((results / "suite.json").read_text(encoding="utf-8"))["trials"][-1]
    torn = results / "trials" / f".partial-{waiting}-1"  # as a worker killed while it wrote would leave it
    torn.mkdir()
    (torn / "manifest.json").write_text('{"format": 1, "tri', encoding="utf-8")
    assert dsegym_command("leaderboard", results, "--output", tmp_path / "early").code == 0

    (gate / "open").touch()
    summary = runner.run_suite(load_suite(gated_file), results, workers=1)
    assert (summary.total, summary.resumed) == (2 * BEFORE_THE_GATE, BEFORE_THE_GATE)
    assert summary.statuses == {"finished": BEFORE_THE_GATE}
    after = stored(results)
    assert len(after) == 2 * BEFORE_THE_GATE
    assert {name: after[name] for name in before} == before
    assert leaderboard_bytes(dsegym_command, results, tmp_path / "resumed") == leaderboard_bytes(
        dsegym_command, uninterrupted, tmp_path / "uninterrupted"
    )
    assert all(verdict.problem == "" for verdict in verify(results))


@pytest.mark.slow
@posix_only
@pytest.mark.parametrize("delay_s", [0.2, 0.7])
def test_ctrl_c_while_the_workers_start_is_one_sentence(delay_s, gate, gated_file, tmp_path):
    results = tmp_path / "results"
    process = start(gated_file, results)
    wait_until((results / "suite.json").exists, process)
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130
    assert len(complaints(err)) == 1
    assert "Traceback" not in err


@posix_only
def test_ctrl_c_in_any_command_is_one_sentence_and_exit_code_130(monkeypatch, dsegym_command):
    def interrupt(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("dsegym.envs.core.scenarios.load_scenario", interrupt)
    assert dsegym_command("list") == (130, "", "dsegym: Interrupted.\n")


def test_one_worker_and_two_give_the_same_samples(uninterrupted, gated_file, gate, tmp_path):
    (gate / "open").touch()
    alone = tmp_path / "alone"
    runner.run_suite(load_suite(gated_file), alone, workers=1)
    pairs = list(zip(traces(alone), traces(uninterrupted), strict=True))
    assert len(pairs) == 2 * BEFORE_THE_GATE
    for one, two in pairs:
        assert one.height == SAMPLES
        assert one.drop("elapsed_s").equals(two.drop("elapsed_s"))


def test_a_finished_run_started_again_runs_nothing(uninterrupted, gated_file):
    before = stored(uninterrupted)
    summary = runner.run_suite(load_suite(gated_file), uninterrupted)
    assert summary.resumed == summary.total == len(before)
    assert not summary.statuses
    assert stored(uninterrupted) == before


def test_a_damaged_trial_is_run_again_and_replaced(results, tiny_suite, first_trial):
    before = stored(results)
    (first_trial / "trace.parquet").write_bytes(b"PAR1")
    summary = runner.run_suite(tiny_suite, results, workers=1)
    assert (summary.resumed, summary.statuses) == (len(before) - 1, {"finished": 1})
    after = stored(results)
    assert {name for name in before if before[name] != after[name]} == {first_trial.name}
    assert hidden(results) == []
    assert all(verdict.problem == "" for verdict in verify(results))


# --- Agents that misbehave. ---

# Class: status, samples kept, message.
MISHAPS = {
    "Stubborn": ("timed_out", 10, rf"time limit of {TIME_LIMIT_S} s has passed"),
    "Raises": ("failed", 10, r"ValueError: no such thing \(awkward_agents\.py, line \d+\)"),
    "Exits": ("failed", 10, r"SystemExit: 3 \(awkward_agents\.py, line \d+\)"),
    "Hangs": ("timed_out", 10, rf"time limit of {TIME_LIMIT_S} s has passed"),
    "Dies": ("failed", 10, r"agent's process died \(exit code 7\)"),
    "Vanishes": ("failed", 10, r"agent's process died \(exit code 0\)"),
    "Leaves": ("failed", 10, r"agent's process died \(exit code 0\)"),
    "Killed": ("failed", 10, r"agent's process died \(exit code -9\)"),
    "Interrupts": ("failed", 10, r"KeyboardInterrupt \(awkward_agents\.py, line \d+\)"),
    "Speechless": ("failed", 10, r"Speechless: its text cannot be shown \(SystemExit\)"),
    "Endless": ("failed", 10, r"ValueError: x{500}\.\.\. \(awkward_agents"),
    "Hungry": ("failed", 10, r"more than the 0\.25 GiB that a trial may take"),
    "Greedy": ("finished", SAMPLES, ""),
    "Modest": ("finished", 10, ""),
}


@pytest.fixture(scope="module")
def mishaps(tmp_path_factory):
    """A suite of agents that misbehave, run by two workers: (summary, results directory, {class: trial result})."""
    folder = tmp_path_factory.mktemp("mishaps")
    file = write_suite_file(folder / "mishaps.toml", map(awkward, MISHAPS), time_limit_s=TIME_LIMIT_S)
    suite, results = load_suite(file), folder / "results"
    summary = runner.run_suite(suite, results, workers=2, memory_gib=0.25)
    identifiers = write_suite(results, suite)
    found = [read_trial(trial_directory(results, identifier)) for identifier in identifiers]
    return summary, results, dict(zip(MISHAPS, found, strict=True))


@posix_only
@pytest.mark.parametrize("agent", MISHAPS)
def test_an_agents_mishap_is_recorded_with_the_samples_that_it_spent(agent, mishaps):
    _, _, found = mishaps
    status, samples, message = MISHAPS[agent]
    manifest, trace = found[agent].manifest, found[agent].trace
    assert (manifest["status"], manifest["samples_used"], trace.height) == (status, samples, samples)
    assert re.search(message, manifest["message"])
    assert "\n" not in manifest["message"]
    assert (manifest["best"] is None) == (not trace["feasible"].any())


@posix_only
def test_the_summary_tells_of_every_mishap_and_the_results_verify(mishaps):
    summary, results, _ = mishaps
    assert summary.statuses == {"failed": 10, "timed_out": 2, "finished": 2}
    assert len(summary.problems) == 12
    assert hidden(results) == []
    assert [verdict.problem for verdict in verify(results)] == [""] * len(MISHAPS)


@posix_only
def test_the_leaderboard_of_mishaps_counts_them(mishaps, dsegym_command, tmp_path):
    board = json.loads(dsegym_command("leaderboard", mishaps[1], "--output", tmp_path, "--json").out)
    assert sum(row["failed"] for row in board["rows"]) == 10
    assert sum(row["timed_out"] for row in board["rows"]) == 2


@pytest.mark.slow
@posix_only
def test_a_failed_trial_gives_exit_code_1_and_is_run_again_only_when_asked(dsegym_command, tmp_path):
    file = write_suite_file(tmp_path / "failing.toml", ["random_search", awkward("Raises")])
    results = tmp_path / "results"
    run = ("run", file, "--output", results, "--workers", "1")
    outcome = dsegym_command(*run)
    assert outcome.code == 1
    warnings = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert re.search(r"awkward_agents:Raises on alexnet.*seed 0: failed: ValueError: no such thing", warnings[0])
    assert "1 failed, 1 finished" in outcome.out
    before = stored(results)
    assert dsegym_command(*run).code == 0
    assert stored(results) == before
    assert dsegym_command(*run, "--retry-failed").code == 1
    changed = {name for name, stamp in stored(results).items() if before[name] != stamp}
    assert len(changed) == 1
    assert read_trial(results / "trials" / changed.pop()).manifest["status"] == "failed"


# --- A system that refuses. ---


@pytest.mark.slow
@posix_only
def test_a_full_disk_is_one_sentence_and_keeps_what_was_stored(tmp_path):
    """The system lets the run write no file of more bytes than the suite's note, once the first trial is stored."""
    file = write_suite_file(tmp_path / "full.toml", ["random_search", "genetic_algorithm"])
    main = MAIN + (
        "import resource as r, dsegym.experiments.runner as runner; limits = [-1, 100]; write = runner.write_trial; "
        "runner.write_trial = lambda *a: (r.setrlimit(r.RLIMIT_FSIZE, (limits.pop(0), -1)), write(*a)); cli.main()"
    )
    command = [sys.executable, "-c", main, "run", file, "--output", tmp_path / "results", "--workers", "1"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 1
    (sentence,) = complaints(process.stderr)
    assert "The system refused" in sentence
    assert "What was finished is kept." in sentence
    assert "Traceback" not in process.stderr
    (kept,) = stored(tmp_path / "results")
    assert read_trial(tmp_path / "results" / "trials" / kept).manifest["status"] == "finished"
    assert hidden(tmp_path / "results") == []


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_results_path_at_or_below_a_file_is_refused_in_one_sentence(below, dsegym_command, tiny_file, tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    code, out, err = dsegym_command("run", tiny_file, "--output", tmp_path / "file" / below)
    assert (code, out) == (1, "")
    assert len(complaints(err)) == 1
    assert "Traceback" not in err
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_directory_without_write_permission_is_refused_in_one_sentence(dsegym_command, tiny_file, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    code, out, err = dsegym_command("run", tiny_file, "--output", tmp_path / "locked" / "results")
    assert (code, out) == (1, "")
    assert len(complaints(err)) == 1
    assert "Traceback" not in err


def test_a_worker_that_does_not_know_the_scenario_is_one_clear_error(tmp_path):
    """A scenario registered by the calling script alone, which a worker does not run."""
    import dsegym

    name = "unknown_to_workers/Sizing-v0"
    dsegym.register(name, "dsegym.envs.accelerator.sizing:SCENARIO")
    try:
        file = write_suite_file(tmp_path / "private.toml", ["random_search"])
        file.write_text(file.read_text().replace("dsegym/AcceleratorSizing-v0", name), encoding="utf-8")
        with pytest.raises(dsegym.DsegymError, match=f"Unknown scenario '{name}'"):
            runner.run_suite(load_suite(file), tmp_path / "results", workers=1)
    finally:
        import gymnasium

        from dsegym.envs.core import scenarios

        gymnasium.registry.pop(name)
        scenarios._LOCATIONS.pop(name)


def test_trials_are_run_and_named_with_jaxs_usual_settings_whatever_those_of_this_process_are(results, tiny_suite):
    import jax

    jax.config.update("jax_enable_x64", True)  # as the environment variable does
    try:
        summary = runner.run_suite(tiny_suite, results, workers=1)
        assert jax.config.jax_enable_x64
    finally:
        jax.config.update("jax_enable_x64", False)
    assert (summary.total, summary.resumed) == (4, 4)
    assert not any("jax_enable_x64" in read_trial(path).manifest["versions"] for path in (results / "trials").iterdir())


def task_of(scenario, seed):
    return Task(Trial(scenario, {}, "random_search", {}, None, seed, 1, 1.0), f"{scenario} {seed}", {}, {}, {}, ())


def test_what_other_workers_have_brought_is_stored_before_one_that_cannot_work_ends_the_run():
    class Worker:
        """The second and the fourth cannot work."""

        made = 0

        def __init__(self):
            Worker.made += 1
            self.number, self.task, self.instance = Worker.made, None, None

        @property
        def is_awaited(self):
            return self.task is not None

        def give(self, task):
            self.task = task

        def take(self):
            if self.number % 2 == 0:
                raise DsegymError(f"worker {self.number} cannot work")
            return Outcome(trace=self.number)

        def end(self):
            pass

    tasks = [task_of("one", seed) for seed in range(4)]
    outcomes = pool.outcomes(tasks, pool.Pool(4, Worker, lambda workers: None))
    assert [(task, outcome.trace) for task, outcome in itertools.islice(outcomes, 2)] == [(tasks[0], 1), (tasks[2], 3)]
    with pytest.raises(DsegymError, match="cannot work"):
        next(outcomes)


@pytest.mark.parametrize("ending", [None, DsegymError("the worker cannot work at all."), KeyboardInterrupt()])
def test_trials_of_a_moment_are_stored_in_a_batch_and_told_of_only_then(
    ending, results, tiny_suite, tmp_path, monkeypatch
):
    """However the run ends, what has come is stored, once."""
    monkeypatch.setattr(runner, "_LEAST_BATCH", 2)
    before = dict(stored_trials(results, read_suite(results)["trials"]))
    told = []

    def executor(tasks, limits):
        for task in tasks:
            found = before[task.identifier]
            manifest = {key: value for key, value in found.manifest.items() if key != "files"}
            yield task, Outcome(manifest, found.trace)
            yield None
        assert told == [0]  # within the second
        if ending is not None:
            raise ending

    def progress(summary):
        told.append(sum(summary.statuses.values()))
        assert told[-1] <= len(batched(tmp_path))

    with contextlib.ExitStack() as stack:
        if ending is not None:
            stack.enter_context(pytest.raises(type(ending)))
        runner.run_suite(tiny_suite, tmp_path, executor=executor, progress=progress)
    assert told == [0, 1, 2, 3, 4]
    assert batched(tmp_path) == set(before)
    assert not (tmp_path / "trials").exists()
    for name, found in stored_trials(tmp_path, list(before)):
        assert found.trace.equals(before[name].trace)


def test_a_worker_stays_with_its_instance_then_turns_to_one_that_nobody_is_at_then_helps_where_most_is_left():
    tasks = [task_of(scenario, seed) for scenario, seeds in (("a", 3), ("b", 4), ("c", 1)) for seed in range(seeds)]
    waiting = pool.Waiting(tasks)
    assert len(waiting) == 8
    a, b, c = (task_of(scenario, 0).instance for scenario in "abc")

    def taken(own, *others):
        return waiting.take(own, others).identifier

    assert [taken(None), taken(None, a), taken(a, b)] == ["a 0", "b 0", "a 1"]
    waiting.put_back(tasks[0])
    assert [taken(b, a), taken(a, b), taken(a, b)] == ["b 1", "a 0", "a 2"]
    assert [taken(a, b), taken(a, b), taken(c, b)] == ["c 0", "b 2", "b 3"]
    assert not waiting
