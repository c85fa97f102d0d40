"""The runner: a suite's trials by an executor, with resume, limits of time and memory, and clean interruption.

Executors bring results here, and only this process knows the directory that they go to.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..agents.registry import load_agent
from ..costmodels.errors import CorruptResultError
from ..envs.core.scenarios import scenario_module
from .agent_process import PINNED
from .batch_writing import MOST_TRIALS, compact, mend_batches, merge_batches, numbers_of, store_batch
from .batches import batched
from .executors import Executor, Limits, Outcome, Task
from .executors.processes import in_processes, interrupts_blocked
from .identities import identity, versions
from .layout import trial_directory
from .odd_entries import check_places
from .store import FINISHED, TrialResult, read_trial, write_trial
from .suite import Suite, Trial, kept_options
from .suite_note import write_suite
from .whole_folders import clean

__all__ = ["RunSummary", "run_suite"]

_WAIT_S = 1.0  # s that an outcome waits for others, to be stored with them
_LEAST_BATCH = 16  # trials of that time that make a batch; fewer have directories of their own
_MOST_NUMBERS = 2**22  # of samples that wait: 32 MB


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
    executor: Executor = in_processes,
    progress: Progress = lambda summary: None,
) -> RunSummary:
    """Runs every trial of a suite that has no result yet.

    Args:
        suite: validated.
        results: the results directory; made if needed.
        workers: that run trials at a time; as many as processors when left out.
        retry_failed: whether trials that failed or ran out of time are run again.
        memory_gib: what an agent, with all that it starts, may take of the machine's memory; 80 % of it for all workers
            together when left out, but 4 GiB at least.
        executor: what runs the trials; processes of this machine when left out. No trial's samples depend on it.
        progress: called with the running summary after every trial.

    Raises:
        DsegymError: the directory holds another suite's results, or a file where a folder belongs, or a worker or the
            executor cannot work at all.
        OSError: a result cannot be written (a full disk); what was stored before stays.
        KeyboardInterrupt: workers are stopped first; what was stored before stays.
    """
    results = Path(results).resolve()  # whatever becomes of the working folder
    summary = RunSummary(total=len(suite.trials))
    with _settings_of_workers():
        check_places(results, ())
        identifiers = write_suite(results, suite)
        clean(results)
        compact(results, identifiers)
        damaged = mend_batches(results)
        moved = batched(results)
        waiting = [
            _task(trial, identifier, results)
            for trial, identifier in zip(suite.trials, identifiers, strict=True)
            if identifier not in moved and not _is_done(results, identifier, retry_failed)
        ]
    check_places(results, [task.identifier for task in waiting])
    summary.resumed = summary.total - len(waiting)
    progress(summary)
    if not waiting:
        return summary
    limits = Limits(workers, None if memory_gib is None else int(memory_gib * 2**30))
    keeping = _Keeping(results, identifiers, summary, progress)
    with contextlib.closing(executor(waiting, limits)) as outcomes:
        try:
            for brought in outcomes:
                if brought is not None:
                    keeping.take(*brought)
                keeping.store_if_due()
        finally:
            keeping.store()
    merge_batches(results)
    if damaged:
        mend_batches(results)  # their trials may be there again by now
    return summary


class _Keeping:
    """Outcomes on their way to the directory. Those of a second are stored together: one by one, trials of milliseconds
    would take longer to store than to run. Nothing is told of before it is stored.
    """

    def __init__(self, results: Path, identifiers: list[str], summary: RunSummary, progress: Progress):
        self._results, self._identifiers = results, identifiers
        self._summary, self._progress = summary, progress
        self._finished: list[TrialResult] = []
        self._since_s = 0.0  # when the first of them came
        self._numbers = 0  # of their samples
        self._stored = 0

    def take(self, task: Task, outcome: Outcome) -> None:
        """Stores what did not finish, and keeps what did for a while."""
        if outcome.trace is None:
            with interrupts_blocked():  # heavy imports, some of which swallow Ctrl-C
                from .trial import store_unfinished
            status, message = outcome.status, outcome.message
            self._tell(store_unfinished(task.trial, task.identifier, self._results, status, message))
        elif outcome.manifest["status"] != FINISHED:
            write_trial(self._results, outcome.manifest, outcome.trace)
            self._tell(outcome.manifest)
        else:
            if not self._finished:
                self._since_s = time.monotonic()
            self._finished.append(TrialResult({**outcome.manifest, "files": {}}, outcome.trace))
            self._numbers += numbers_of(self._finished[-1])

    def store_if_due(self) -> None:
        """Stores what has waited for long enough, or is much."""
        late = self._finished and time.monotonic() - self._since_s >= _WAIT_S
        if late or len(self._finished) >= MOST_TRIALS or self._numbers > _MOST_NUMBERS:
            self.store()

    def store(self) -> None:
        """Stores all that is there: few trials in directories of their own, and many in a batch."""
        if len(self._finished) >= _LEAST_BATCH and self._numbers <= 2 * _MOST_NUMBERS:
            store_batch(self._results, self._finished)
        else:
            for trial in self._finished:
                manifest = {key: value for key, value in trial.manifest.items() if key != "files"}
                write_trial(self._results, manifest, trial.trace)
        stored, self._finished, self._numbers = self._finished, [], 0
        for trial in stored:
            self._tell(trial.manifest)
        before, self._stored = self._stored, self._stored + len(stored)
        if before // MOST_TRIALS < self._stored // MOST_TRIALS:
            compact(self._results, self._identifiers)
            merge_batches(self._results)

    def _tell(self, manifest: Mapping[str, Any]) -> None:
        status, trial = manifest["status"], manifest["trial"]
        self._summary.statuses[status] += 1
        if status != FINISHED:
            where = f"{trial['agent']['name']} on {', '.join(trial['instance']['options'].values())}"
            self._summary.problems.append(f"{where}, seed {trial['seed']}: {status}: {manifest['message']}")
        self._progress(self._summary)


def _task(trial: Trial, identifier: str, results: Path) -> Task:
    modules = load_agent(trial.agent).__module__, scenario_module(trial.scenario)
    return Task(trial, identifier, versions(trial.agent), identity(trial), kept_options(trial, results), modules)


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
        return directory.exists() and (read_trial(directory).manifest["status"] == FINISHED or not retry_failed)
    except CorruptResultError:
        return False
