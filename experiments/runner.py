"""The runner: a suite's trials in worker processes, with resume, time limits and clean interruption."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from ..costmodels.errors import CorruptResultError
from .store import clean, read_trial, trial_directory, write_suite
from .suite import Suite, Trial

__all__ = ["RunSummary", "run_suite"]

# A worker that is still busy this long after its trial's limit (plus compilation) is stopped by force.
GRACE_S = 60.0


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
    progress: Progress = lambda summary: None,
) -> RunSummary:
    """Runs every trial of a suite that has no result yet.

    Args:
        suite: validated.
        results: the results directory; made if needed.
        workers: processes; as many as processors when left out.
        retry_failed: whether trials that failed or ran out of time are run again.
        progress: called with the running summary after every trial.

    Raises:
        DsegymError: the directory holds another suite's results, or a worker cannot work at all.
        OSError: a result cannot be written (a full disk); what was stored before stays.
        KeyboardInterrupt: workers are stopped first; what was stored before stays.
    """
    results = Path(results)
    identifiers = write_suite(results, suite)
    clean(results)
    summary = RunSummary(total=len(suite.trials))
    waiting = [
        (trial, identifier)
        for trial, identifier in zip(suite.trials, identifiers, strict=True)
        if not _is_done(results, identifier, retry_failed)
    ]
    summary.resumed = summary.total - len(waiting)
    progress(summary)
    if not waiting:
        return summary
    workers = min(workers or os.cpu_count() or 1, len(waiting))
    from pebble import ProcessPool

    context: Any = multiprocessing.get_context("spawn")  # a forked JAX or torch deadlocks
    pool = ProcessPool(max_workers=workers, context=context, initializer=_prepare_worker, initargs=[os.getpid()])
    try:
        with _interrupts_blocked():
            futures: dict[Any, tuple[Trial, str]] = {
                pool.schedule(_work, args=[trial, identifier, results], timeout=trial.time_limit_s + GRACE_S): (
                    trial,
                    identifier,
                )
                for trial, identifier in waiting
            }
        for future in as_completed(futures):
            trial, identifier = futures[future]
            status, message = _outcome(future, trial, identifier, results)
            summary.statuses[status] += 1
            if status != "finished":
                summary.problems.append(f"{trial.agent} on {_instance(trial)}, seed {trial.seed}: {status}: {message}")
            progress(summary)
        pool.close()
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.join()
    return summary


def _instance(trial: Trial) -> str:
    return ", ".join(trial.options.values())


def _is_done(results: Path, identifier: str, retry_failed: bool) -> bool:
    """Whether a whole result is there. One that is to be run again stays until there is a new one."""
    directory = trial_directory(results, identifier)
    try:
        return directory.exists() and (read_trial(directory).manifest["status"] == "finished" or not retry_failed)
    except CorruptResultError:
        return False


def _outcome(future: Any, trial: Trial, identifier: str, results: Path) -> tuple[str, str]:
    from pebble import ProcessExpired

    try:
        return future.result()
    except FutureTimeoutError:
        status = "timed_out"
        message = (
            f"the worker did not stop within {trial.time_limit_s + GRACE_S:g} s and was ended; its samples are lost."
        )
    except ProcessExpired as error:
        status, message = "failed", f"the worker process died (exit code {error.exitcode}); its samples are lost."
    with _interrupts_blocked():  # heavy imports, some of which swallow Ctrl-C
        from .trial import store_unfinished
    return _brief(store_unfinished(trial, identifier, results, status, message))


def _brief(manifest: dict[str, Any]) -> tuple[str, str]:
    return manifest["status"], manifest["message"]


def _work(trial: Trial, identifier: str, results: Path) -> tuple[str, str]:
    """What a worker does with a trial."""
    from .trial import run_trial

    return _brief(run_trial(trial, identifier, results))


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


def _prepare_worker(parent: int) -> None:
    """Workers leave Ctrl-C to the parent, end when the parent is gone, and share a GPU's memory if there is one."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
