"""The runner: a suite's trials by an executor, with resume, limits of time and memory, and clean interruption.

Executors bring results here, and only this process knows the directory that they go to.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..agents.registry import load_agent
from ..costmodels.errors import CorruptResultError
from ..envs.core.scenarios import scenario_module
from .agent_process import PINNED
from .batches import MOST_TRIALS, batched, compact
from .executors import Executor, Limits, Task
from .executors.processes import in_processes, interrupts_blocked
from .store import clean, identity, read_trial, trial_directory, versions, write_suite, write_trial
from .suite import Suite, Trial, kept_options

__all__ = ["RunSummary", "run_suite"]


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
        DsegymError: the directory holds another suite's results, or a worker or the executor cannot work at all.
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
        waiting = [
            _task(trial, identifier, results)
            for trial, identifier in zip(suite.trials, identifiers, strict=True)
            if identifier not in moved and not _is_done(results, identifier, retry_failed)
        ]
    summary.resumed = summary.total - len(waiting)
    stored = 0
    progress(summary)
    if not waiting:
        return summary
    limits = Limits(workers, None if memory_gib is None else int(memory_gib * 2**30))
    with contextlib.closing(executor(waiting, limits)) as outcomes:
        for task, outcome in outcomes:
            trial = task.trial
            if outcome.trace is None:
                status, message = outcome.status, outcome.message
                with interrupts_blocked():  # heavy imports, some of which swallow Ctrl-C
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


def _task(trial: Trial, identifier: str, results: Path) -> Task:
    modules = load_agent(trial.agent).__module__, scenario_module(trial.scenario)
    return Task(trial, identifier, versions(trial.agent), identity(trial), kept_options(trial, results), modules)


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
