"""The executor of this machine: a worker is a process.

A worker holds the problem and the scorekeeper, and starts a process for each agent, which asks it through a pipe. So an
agent meets neither the problem nor the clock, its death loses no sample, and no trial of a rival runs where it ran.
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
from collections.abc import Generator, Hashable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

import psutil

from ...costmodels.errors import DsegymError
from ..agent_process import PINNED, Ended, Job, State, adopt_orphans, changes, described, state
from ..isolation import MEMORY_SHARE, AgentProcess, end_tree, machine_memory, resident_bytes
from ..suite import Trial
from . import Limits, Outcome, Task
from .pool import Pool, outcomes

__all__ = ["GRACE_S", "WorkerProcess", "in_processes", "interrupts_blocked", "share_of_memory", "wait_for"]

# A worker that is still busy this long after its trial's limit is stopped by force: its cost model does not end. Agents
# are stopped at the limit, by the worker.
GRACE_S = 600.0
MOST_AGENTS = 8  # whose processes a worker keeps
LEAST_MEMORY_BYTES = 4 * 2**30  # for a trial, where nothing else is said
LARGE_WORKER_BYTES = 2 * 2**30  # beyond which a worker ends with its trial, where that is half of the limit
RECORDS_SHARE = 8  # of that memory, one part for the records of a trial's samples, which are copied for the store
END_S = 5.0  # s that a process may take to end
WAIT_S = 1.0  # s that a wait for workers takes at most


def in_processes(tasks: Sequence[Task], limits: Limits) -> Generator[tuple[Task, Outcome] | None]:
    """Runs tasks in processes of this machine, as many as processors where nothing else is said."""
    count = min(limits.workers or os.cpu_count() or 1, len(tasks))
    memory_bytes = limits.memory_bytes or share_of_memory(count)
    with tempfile.TemporaryDirectory(prefix="dsegym-", ignore_cleanup_errors=True) as folder:
        yield from outcomes(tasks, Pool(count, lambda: WorkerProcess(folder, memory_bytes), wait_for))


def share_of_memory(workers: int) -> int:
    """Bytes that a trial may take on this machine, beside so many workers' others."""
    return max(LEAST_MEMORY_BYTES, int(MEMORY_SHARE * machine_memory() / workers))


def wait_for(workers: Sequence[WorkerProcess]) -> None:
    """Waits until one of these busy workers has something to say, is gone, or is late, or for a second."""
    until_s = min(worker.deadline_s for worker in workers) - time.monotonic()
    ends = [end for worker in workers for end in (worker.pipe, worker.process.sentinel)]
    wait(ends, min(max(until_s, 0.0), WAIT_S))


class WorkerProcess:
    """A worker process, as the one who starts it sees it."""

    def __init__(self, folder: str, memory_bytes: int):
        context = multiprocessing.get_context("spawn")  # a forked JAX or torch deadlocks
        self.pipe, theirs = context.Pipe()
        with theirs, interrupts_blocked():
            arguments = (theirs, os.getpid(), folder, memory_bytes)
            self.process = context.Process(target=_work, args=arguments, daemon=True)
            self.process.start()
        self.task: Task | None = None
        self.instance: Hashable = None
        self.deadline_s = 0.0
        self.refused: Exception | None = None  # why it cannot work at all
        self._pipe_is_broken = False

    @property
    def is_awaited(self) -> bool:
        """Whether it runs a task: one that starts can be given its first."""
        return self.task is not None

    def give(self, task: Task) -> None:
        """Lets it run a task; where it is gone, the next `take` says so."""
        self.task, self.instance = task, task.instance
        self.deadline_s = time.monotonic() + task.trial.time_limit_s + GRACE_S
        with contextlib.suppress(OSError):
            self.pipe.send(task)

    def take(self) -> Outcome | None:
        """What became of its task; None while it runs.

        Raises:
            DsegymError, OSError: the worker cannot work at all.
        """
        assert self.task is not None
        if (outcome := self._said()) is not None:
            return outcome
        if time.monotonic() >= self.deadline_s:
            limit_s = self.task.trial.time_limit_s + GRACE_S
            message = f"the worker did not stop within {limit_s:g} s and was ended; its samples are lost."
            return Outcome(retires=True, status="timed_out", message=message)
        self.process.join(END_S if self._pipe_is_broken else 0.0)
        if self.process.is_alive():
            return None
        if not self._pipe_is_broken and (outcome := self._said()) is not None:  # the last that it said before it died
            return outcome
        message = f"the worker process died (exit code {self.process.exitcode}); its samples are lost."
        return Outcome(was_killed=True, retires=True, status="failed", message=message)

    def _said(self) -> Outcome | None:
        """Takes what stands in the pipe; None where nothing does.

        Raises:
            as `take`.
        """
        try:
            if self.refused is None and self.pipe.poll():
                said = self.pipe.recv()
                if not isinstance(said, Exception):
                    return said
                self.refused = said
        except (EOFError, OSError, pickle.UnpicklingError):  # it died, maybe while it wrote
            self._pipe_is_broken = True
        if self.refused is not None:
            raise self.refused
        return None

    def end(self) -> None:
        """Ends it by force, with all that it has started."""
        if self.process.is_alive():
            end_tree(self.process.pid or 0)
        self.process.join(END_S)
        self.pipe.close()


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
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
    from ..trial import Origin, play_trial

    agents: dict[str, AgentProcess] = {}
    before, own = _own_state(), psutil.Process()

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
            task: Task = pipe.recv()
            trial, origin = task.trial, Origin(task.versions, task.identity)
            try:
                manifest, trace = play_trial(
                    trial, task.identifier, origin, task.options, search, memory_bytes // RECORDS_SHARE
                )
            except Exception as error:
                told = error if isinstance(error, DsegymError | OSError) else DsegymError(described(error))
                pipe.send(told)  # what else a scenario raises need not survive a pickle
                continue
            retires = bool(changes(before)) or resident_bytes(own) > max(memory_bytes // 2, LARGE_WORKER_BYTES)
            pipe.send(Outcome(manifest, trace, agents[trial.agent].was_killed, retires))
            if retires:
                return
    except (EOFError, ConnectionError):
        pass  # the runner is gone, or was killed while it asked or this answered
    finally:
        for agent in agents.values():
            agent.close()


def _own_state() -> State:
    """What a worker's trials must leave as it was; it has threads and children of its own."""
    found = state()
    values = {what: value for what, value in found.values.items() if what not in ("threads", "child processes")}
    return found._replace(values=values)


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
