"""Executors: they take tasks and bring outcomes, in any order, and own nothing else; the runner alone writes results.

`processes.py` runs tasks on this machine, `cluster.py` on the nodes of a Ray cluster, both by way of `pool.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from ..suite import Trial

__all__ = ["Executor", "Limits", "Outcome", "Task"]


class Task(NamedTuple):
    """A trial to be run, and what the store says of where it comes from; no path of the results but to users' files."""

    trial: Trial
    identifier: str
    versions: Mapping[str, str]
    identity: Mapping[str, Any]
    options: Mapping[str, str]  # of the instance, with users' files where they lie now
    modules: Sequence[str]  # of the agent and of the scenario, whose sources `identity` names
    attempt: int = 1

    @property
    def instance(self) -> Hashable:
        """Tasks of one instance share compiled functions."""
        return self.trial.scenario, tuple(sorted(self.options.items()))


class Outcome(NamedTuple):
    """What became of a task; no trace where the worker was lost, and a status and a message then."""

    manifest: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    trace: Any = None
    was_killed: bool = False  # by somebody else: worth another attempt
    retires: bool = False  # whether the worker ends with it
    status: str = ""
    message: str = ""


class Limits(NamedTuple):
    """What a run may take; None: as the executor finds right for where it runs."""

    workers: int | None = None
    memory_bytes: int | None = None  # a trial's


# What runs tasks and brings each one's outcome, and None where there was none for a while. As the iteration ends,
# however it does, all that it started ends too. It raises DsegymError or OSError where no task can be run.
Executor = Callable[[Sequence[Task], Limits], Generator[tuple[Task, Outcome] | None]]
