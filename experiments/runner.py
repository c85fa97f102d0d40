"""The runner: a suite's trials in worker processes, with resume, limits of time and memory, and clean interruption.

A worker holds the problem and the scorekeeper, and starts a process for each agent, which asks it through a pipe. So an
agent meets neither the problem nor the clock, its death loses no sample, and no trial of a rival runs where it ran.
Workers send results here, and only this process knows the directory that they go to.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from ..costmodels.errors import CorruptResultError, DsegymError
from .agent_process import PINNED, Ended, Job, adopt_orphans, changes, described, state
from .batches import MOST_TRIALS, batched, compact
from .isolation import MEMORY_SHARE, AgentProcess, end_tree, machine_memory, resident_bytes
from .store import clean, identity, read_trial, trial_directory, versions, write_suite, write_trial
from .suite import Suite, Trial, kept_options

__all__ = ["RunSummary", "run_suite"]

# A worker that is still busy this long after its trial's limit is stopped by force: its cost model does not end. Agents
# are stopped at the limit, by the worker.
GRACE_S = 600.0
RETRIES = 2  # of a trial whose process somebody killed, as a system does that is out of memory
MOST_AGENTS = 8  # whose processes a worker keeps
LEAST_MEMORY_BYTES = 4 * 2**30  # for a trial, where nothing else is said
LARGE_WORKER_BYTES = 2 * 2**30  # beyond which a worker ends with its trial, where that is half of the limit
RECORDS_SHARE = 8  # of that memory, one part for the records of a trial's samples, which are copied for the store
END_S = 5.0  # s that a process may take to end


@dataclass
class RunSummary:
    """What a run did."""

    total: int
    resumed: int = 0  # trials that were already there
    statuses: Counter[str] = field(default_factory=Counter)  # of the trials run now
    problems: list[str] = field(default_factory=list)  # one sentence per trial that did not finish


Progress = Callable[[RunSummary], None]


def run_suite(
    suite: Suite,
    results: str | Path,
    *,
    workers: int | None = None,
    retry_failed: bool = False,
    memory_gib: float | None = None,
    progress: Progress = lambda summary: None,
) -> RunSummary:
    """Runs every trial of a suite that has no result yet.

    Args:
        suite: validated.
        results: the results directory; made if needed.
        workers: processes; as many as processors when left out.
        retry_failed: whether trials that failed or ran out of time are run again.
        memory_gib: what an agent, with all that it starts, may take of the machine's memory; 80 % of it for all workers
            together when left out, but 4 GiB at least.
        progress: called with the running summary after every trial.

    Raises:
        DsegymError: the directory holds another suite's results, or a worker cannot work at all.
        OSError: a result cannot be written (a full disk); what was stored before stays.
        KeyboardInterrupt: workers are stopped first; what was stored before stays.
    """
    results = Path(results).resolve()  # whatever becomes of the working folder
    summary = RunSummary(total=len(suite.trials))
    with _settings_of_workers():
        identifiers = write_suite(results, suite)
        clean(results)
        compact(results, identifiers)
        moved = batched(results)
        waiting = deque(
            _Task(trial, identifier, versions(trial.agent), identity(trial), kept_options(trial, results))
            for trial, identifier in zip(suite.trials, identifiers, strict=True)
            if identifier not in moved and not _is_done(results, identifier, retry_failed)
        )
    summary.resumed = summary.total - len(waiting)
    stored = 0
    progress(summary)
    if not waiting:
        return summary
    workers = min(workers or os.cpu_count() or 1, len(waiting))
    memory_bytes = max(LEAST_MEMORY_BYTES, int(MEMORY_SHARE * machine_memory() / workers))
    if memory_gib is not None:
        memory_bytes = int(memory_gib * 2**30)
    with (
        tempfile.TemporaryDirectory(prefix="dsegym-", ignore_cleanup_errors=True) as folder,
        contextlib.closing(_outcomes(waiting, workers, folder, memory_bytes)) as outcomes,
    ):
        for task, outcome in outcomes:
            trial = task.trial
            if outcome.trace is None:
                status, message = outcome.status, outcome.message
                with _interrupts_blocked():  # heavy imports, some of which swallow Ctrl-C
                    from .trial import store_unfinished
                manifest = store_unfinished(trial, task.identifier, results, status, message)
            else:
                manifest = outcome.manifest
                write_trial(results, manifest, outcome.trace)
                stored += 1
                if stored % MOST_TRIALS == 0:
                    compact(results, identifiers)
            status, message = manifest["status"], manifest["message"]
            summary.statuses[status] += 1
            if status != "finished":
                summary.problems.append(f"{trial.agent} on {_instance(trial)}, seed {trial.seed}: {status}: {message}")
            progress(summary)
    return summary


class _Task(NamedTuple):
    """A trial to be run, and what the store says of where it comes from; no path of the results."""

    trial: Trial
    identifier: str
    versions: Mapping[str, str]
    identity: Mapping[str, Any]
    options: Mapping[str, str]  # of the instance, with users' files where they lie now
    attempt: int = 1


class _Outcome(NamedTuple):
    """What became of a task; no trace where the worker was lost, and a status and a message then."""

    manifest: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    trace: Any = None
    was_killed: bool = False  # by somebody else: worth another attempt
    retires: bool = False  # whether the worker ends with it
    status: str = ""
    message: str = ""


class _Worker:
    """A worker process, as the runner sees it."""

    def __init__(self, folder: str, memory_bytes: int):
        context = multiprocessing.get_context("spawn")  # a forked JAX or torch deadlocks
        self.pipe, theirs = context.Pipe()
        with theirs, _interrupts_blocked():
            arguments = (theirs, os.getpid(), folder, memory_bytes)
            self.process = context.Process(target=_work, args=arguments, daemon=True)
            self.process.start()
        self.task: _Task | None = None
        self.deadline_s = 0.0
        self.refused: Exception | None = None  # why it cannot work at all

    def give(self, task: _Task) -> None:
        """Lets it run a task; where it is gone, the next `take` says so."""
        self.task, self.deadline_s = task, time.monotonic() + task.trial.time_limit_s + GRACE_S
        with contextlib.suppress(OSError):
            self.pipe.send(task)

    def take(self) -> _Outcome | None:
        """What became of its task; None while it runs.

        Raises:
            DsegymError, OSError: the worker cannot work at all.
        """
        assert self.task is not None
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):  # it died, maybe while it wrote
            if self.pipe.poll():
                outcome = self.pipe.recv()
                if not isinstance(outcome, Exception):
                    return outcome
                self.refused = outcome
        if self.refused is not None:
            raise self.refused
        if time.monotonic() >= self.deadline_s:
            limit_s = self.task.trial.time_limit_s + GRACE_S
            message = f"the worker did not stop within {limit_s:g} s and was ended; its samples are lost."
            return _Outcome(status="timed_out", message=message)
        self.process.join(END_S if self.pipe.poll() else 0.0)
        if self.process.is_alive():
            return None
        message = f"the worker process died (exit code {self.process.exitcode}); its samples are lost."
        return _Outcome(was_killed=True, status="failed", message=message)

    def end(self) -> None:
        """Ends it by force, with all that it has started."""
        if self.process.is_alive():
            end_tree(self.process.pid or 0)
        self.process.join(END_S)
        self.pipe.close()


def _outcomes(waiting: deque[_Task], count: int, folder: str, memory_bytes: int) -> Generator[tuple[_Task, _Outcome]]:
    """Runs tasks in at most so many workers; as the iteration ends, however it does, they end too."""
    workers: list[_Worker] = []
    done: list[tuple[_Task, _Outcome]] = []
    try:
        while waiting or done or any(worker.task for worker in workers):
            while waiting and (idle := _idle(workers, count, folder, memory_bytes)):
                idle.give(waiting.popleft())
            yield from done  # which are stored while the workers go on
            done.clear()
            busy = [worker for worker in workers if worker.task]
            if not busy:
                continue
            until_s = min(worker.deadline_s for worker in busy) - time.monotonic()
            wait([end for worker in busy for end in (worker.pipe, worker.process.sentinel)], max(until_s, 0.0))
            refused: Exception | None = None
            for worker in busy:
                task = worker.task
                try:
                    outcome = worker.take()
                except (DsegymError, OSError) as error:
                    refused = error
                    continue
                if outcome is None or task is None:
                    continue
                worker.task = None
                if outcome.retires or outcome.trace is None:
                    workers.remove(worker)
                    worker.end()
                if outcome.was_killed and task.attempt <= RETRIES:
                    waiting.appendleft(task._replace(attempt=task.attempt + 1))
                else:
                    done.append((task, outcome))
            if refused is not None:
                yield from done  # what other workers have brought is stored
                raise refused
    finally:
        for worker in workers:
            worker.end()


def _idle(workers: list[_Worker], count: int, folder: str, memory_bytes: int) -> _Worker | None:
    """A worker without a task, a new one if need be; None where all are busy."""
    for worker in workers:
        if not worker.task:
            return worker
    if len(workers) < count:
        workers.append(_Worker(folder, memory_bytes))
        return workers[-1]
    return None


def _instance(trial: Trial) -> str:
    return ", ".join(trial.options.values())


@contextlib.contextmanager
def _settings_of_workers() -> Iterator[None]:
    """JAX's settings as workers have them, whatever this process's are: a trial's id says what it is run with."""
    import jax

    before = {name: getattr(jax.config, name) for name in PINNED}
    versions.cache_clear()
    try:
        for name, value in PINNED.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        versions.cache_clear()


def _is_done(results: Path, identifier: str, retry_failed: bool) -> bool:
    """Whether a whole result is there. One that is to be run again stays until there is a new one."""
    directory = trial_directory(results, identifier)
    try:
        return directory.exists() and (read_trial(directory).manifest["status"] == "finished" or not retry_failed)
    except CorruptResultError:
        return False


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Workers inherit the block: one that is still starting when Ctrl-C comes would print a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # started later, it would lift the block
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


# In a worker ----------------------------------------------------------------------------------------------------------


def _work(pipe: Connection, parent: int, folder: str, memory_bytes: int) -> None:
    """Runs tasks until the runner closes the pipe, or until what they ran on is no longer what it was."""
    _prepare_worker(parent, folder)
    from .trial import Origin, play_trial

    agents: dict[str, AgentProcess] = {}
    before = _own_state()

    def search(trial: Trial, keeper: Any) -> Ended:
        agent = agents.pop(trial.agent, None)
        if agent is None or not agent.usable:
            agent = AgentProcess(folder, memory_bytes)
        agents[trial.agent] = agent  # the last of them
        if len(agents) > MOST_AGENTS:
            agents.pop(next(iter(agents))).close()
        job = Job(trial.agent, dict(trial.hyperparameters), trial.seed, keeper.space, keeper.budget)
        return agent.search(job, keeper)

    try:
        while True:
            task: _Task = pipe.recv()
            trial, origin = task.trial, Origin(task.versions, task.identity)
            try:
                manifest, trace = play_trial(
                    trial, task.identifier, origin, task.options, search, memory_bytes // RECORDS_SHARE
                )
            except Exception as error:
                told = error if isinstance(error, DsegymError | OSError) else DsegymError(described(error))
                pipe.send(told)  # what else a scenario raises need not survive a pickle
                continue
            retires = bool(changes(before, state())) or resident_bytes(psutil.Process()) > max(
                memory_bytes // 2, LARGE_WORKER_BYTES
            )
            pipe.send(_Outcome(manifest, trace, agents[trial.agent].was_killed, retires))
            if retires:
                return
    except EOFError:
        pass
    finally:
        for agent in agents.values():
            agent.close()


def _own_state() -> dict[str, Any]:
    """What a worker's trials must leave as it was; it has threads and children of its own."""
    return {what: value for what, value in state().items() if what not in ("threads", "child processes")}


def _prepare_worker(parent: int, folder: str) -> None:
    """Workers leave Ctrl-C to the parent, end when the parent is gone, and share a GPU's memory if there is one."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_orphans()
    import jax

    for name, value in PINNED.items():
        jax.config.update(name, value)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        shutil.rmtree(folder, ignore_errors=True)  # the parent was killed and did not
        end_tree(os.getpid())

    threading.Thread(target=watch, daemon=True).start()
