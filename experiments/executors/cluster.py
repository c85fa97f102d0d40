"""The executor of a Ray cluster: a worker is an actor, which has a worker process on its node.

That process is what runs trials on this machine, too, with the same limits, so that a trial's samples are the same. The
actor watches it, and tells its death, its lateness and its refusals from those of the actor or the node, after which
the trial is another worker's. Results come back here; nodes need no disk in common, nor any place of the results.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import platform
import re
import shutil
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...costmodels.errors import DsegymError, shortened
from ...envs.core.own_bounds import kept_beside
from ..identities import source_of, versions_of
from ..suite import Trial
from . import Executor, Limits, Outcome, Task
from .pool import Pool, outcomes
from .processes import GRACE_S, WorkerProcess, share_of_memory, wait_for

__all__ = ["on_ray"]

_ANSWER_S = 60.0  # s beyond its worker process's that an actor may take to bring an outcome
_CONNECT_S = 10.0  # s that an address may take to answer
_SETTINGS = b"\4"  # the type of the frame that both ends of HTTP/2 begin with, gRPC's transport
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _SETTINGS + bytes(5)  # RFC 9113, section 3.4
_START_S = 600.0  # s that a run waits for a first worker: others may have the cluster
_END_S = 10.0  # s that an actor may take to end what it has started
_LOOK_S = 5.0  # s between looks at the head, while no worker has something to say
_HEAD_S = 30.0  # s that the head may be away
_LOST_STARTS = 3  # actors that may be lost as they start, one after the other
_LONGEST_REASON = 200
# Environment variables that change values, or where they are computed: on nodes as here. Ray sets some of its own.
_ALIKE = ("CUDA_VISIBLE_DEVICES", "JAX_", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "XLA_")


def on_ray(address: str | None = None) -> Executor:
    """An executor that runs trials on a Ray cluster, of which this machine is a node.

    Args:
        address: HOST:PORT of its head, or `auto` for the one that this machine is in, or `local` for a new one of this
            machine alone. When left out, as Ray has it: what RAY_ADDRESS says, or else a cluster that this machine is
            in, or else a new one. Where this process uses Ray already, that cluster.

    Raises:
        DsegymError: Ray is not installed, or the address is none of these.
    """
    _check_form(address)
    ray = _import_ray()
    if address is None and not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS") or None
        _check_form(address)
    return partial(_outcomes, ray, address)


def _check_form(address: str | None) -> None:
    if address in (None, "auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in address or not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise DsegymError(
            f"'{shortened(address)}' is no address of a Ray cluster: give HOST:PORT of its head, auto or local."
        )


def _import_ray() -> Any:
    if ray := sys.modules.get("ray"):
        return ray
    # Ray prints logs of lost nodes and workers on standard output: what was lost is told of in results and summaries.
    skipped = os.environ.get("RAY_DEDUP_LOGS_SKIP_REGEX")
    os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] = skipped or ".*"
    try:
        ray = importlib.import_module("ray")
        if ray.__file__ is None:  # a folder of that name
            raise ImportError(f"what is found is the folder '{next(iter(ray.__path__))}'")
        return ray
    except ImportError as error:
        raise DsegymError(f"The Ray executor needs Ray ({error}): pip install 'dsegym[cluster]'.") from None
    finally:
        os.environ.pop("RAY_DEDUP_LOGS_SKIP_REGEX") if skipped is None else None


def _outcomes(
    ray: Any, address: str | None, tasks: Sequence[Task], limits: Limits
) -> Generator[tuple[Task, Outcome] | None]:
    """Runs tasks on the cluster at an address, as many at a time as it has processors where nothing else is said."""
    with _connection(ray, address):
        processors = int(ray.cluster_resources().get("CPU", 0))
        if processors < 1:
            raise DsegymError("The Ray cluster has no processor to run trials on.")
        cluster = _Cluster(ray, tasks[0], limits.memory_bytes)
        yield from outcomes(tasks, Pool(min(limits.workers or processors, len(tasks)), cluster.start, cluster.wait))


@contextlib.contextmanager
def _connection(ray: Any, address: str | None) -> Iterator[None]:
    """Raises DsegymError where there is no cluster at the address that can be worked with."""
    if ray.is_initialized() and address is None:
        yield
        return
    if address is not None and ":" in address:
        _check_answer(address)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except Exception as error:  # Ray raises whatever it finds on its way
        raise DsegymError(f"The Ray cluster {address or 'here'} cannot be used: {_reason(error)}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Raises DsegymError where no gRPC server answers, as a head is one: Ray itself waits for minutes, or for ever."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                connection.sendall(_GREETING)
                if connection.recv(4)[3:] != _SETTINGS:
                    raise DsegymError(f"What answers at the Ray address {address} is no head of a Ray cluster.")
    except OSError as error:
        raise DsegymError(f"The Ray address {address} does not answer: {error.strerror or error}.") from None


class _Cluster:
    """What the workers of a run share."""

    def __init__(self, ray: Any, first: Task, memory_bytes: int | None):
        self.ray = ray
        alike = {name: value for name, value in os.environ.items() if name.startswith(_ALIKE)}
        path = [os.path.abspath(entry) for entry in sys.path]
        # An actor that plays can be told to end, too.
        actor = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=2, scheduling_strategy="SPREAD")(Keeper)
        self._make = partial(actor.remote, path, alike, memory_bytes)
        self._asked = first.versions, first.modules, first.identity["sources"]
        self._head = ray.get_runtime_context().gcs_address
        self._heard_s = time.monotonic()  # when the head was last known to be there
        self._lonely_s = 0.0  # since when no worker has had a task
        self.lost_starts = 0
        self.is_lost = False  # the cluster

    def start(self) -> _RayWorker:
        """A worker that starts as soon as there is a processor for it."""
        actor = self._make()
        return _RayWorker(self, actor, actor.refused.remote(*self._asked))

    def wait(self, workers: Sequence[_RayWorker]) -> None:
        """Waits until one of these has something to say, or is late."""
        now_s = time.monotonic()
        if any(worker.task for worker in workers):
            self._lonely_s = 0.0
        else:
            self._lonely_s = self._lonely_s or now_s
            if now_s > self._lonely_s + _START_S:
                raise DsegymError(f"No node of the Ray cluster has had a processor free for {_START_S:g} s.")
        left_s = min(min(worker.deadline_s for worker in workers) - now_s, _LOOK_S)
        found = {worker.answer: worker for worker in workers}
        if self.ray.wait(list(found), num_returns=1, timeout=max(left_s, 0.0))[0]:
            for answer in self.ray.wait(list(found), num_returns=len(found), timeout=0)[0]:
                found[answer].has_answer = True
        else:
            self._look()

    def _look(self) -> None:
        """Raises DsegymError where the head is gone for good; a minute later Ray would end this process."""
        try:
            _check_answer(self._head)
            self._heard_s = time.monotonic()
        except DsegymError:
            if time.monotonic() > self._heard_s + _HEAD_S:
                self.is_lost = True
                raise DsegymError(
                    f"The head of the Ray cluster, {self._head}, answers no more. What was finished is kept."
                ) from None


class _RayWorker:
    """An actor, as the runner sees it."""

    def __init__(self, cluster: _Cluster, actor: Any, answer: Any):
        self.cluster, self.actor, self.answer = cluster, actor, answer
        self.has_answer, self.deadline_s = False, float("inf")
        self.task: Task | None = None
        self.instance: Hashable = None
        self._sent: set[str] = set()  # users' files, by their names

    @property
    def is_awaited(self) -> bool:
        return self.answer is not None

    def give(self, task: Task) -> None:
        self.task, self.instance, self.has_answer = task, task.instance, False
        self.deadline_s = time.monotonic() + task.trial.time_limit_s + GRACE_S + _ANSWER_S
        files = {}
        for key in _file_options(task.trial):
            for path in (Path(task.options[key]), kept_beside(task.options[key])):
                if path.name not in self._sent and path.exists():
                    files[path.name] = path.read_bytes()
        self._sent |= files.keys()
        self.answer = self.actor.play.remote(task, files)

    def take(self) -> Outcome | None:
        if not self.has_answer:
            if time.monotonic() < self.deadline_s:
                return None
            message = "the Ray worker did not answer in time and was ended; its samples are lost."
            return Outcome(retires=True, status="timed_out", message=message)
        ray, errors, answer = self.cluster.ray, self.cluster.ray.exceptions, self.answer
        self.answer, self.has_answer = None, False
        try:
            said = ray.get(answer)
        except errors.RayTaskError as error:  # of its own doing: it would be the same elsewhere
            raise DsegymError(f"A worker of the Ray cluster cannot work: {_reason(error)}") from None
        except errors.RayError as error:
            if self.task is None:
                self.cluster.lost_starts += 1
                if self.cluster.lost_starts >= _LOST_STARTS or "creation task" in str(error):
                    raise DsegymError(f"No worker starts on the Ray cluster: {_reason(error)}") from None
            message = f"the Ray worker was lost: {_reason(error)}; its samples are lost."
            return Outcome(was_killed=True, retires=True, status="failed", message=message)
        self.cluster.lost_starts = 0
        if isinstance(said, Exception):
            raise said
        if self.task is None and said:
            raise DsegymError(said)
        return said or None

    def end(self) -> None:
        ray = self.cluster.ray
        with contextlib.suppress(Exception):  # it may be gone
            ray.get(self.actor.end.remote(), timeout=_END_S if self.instance is not None else 0)
        if self.cluster.is_lost:
            return  # who would end it
        with contextlib.suppress(Exception):
            ray.kill(self.actor)


def _file_options(trial: Trial) -> list[str]:
    """The options that are users' files."""
    return [key for key, value in trial.options.items() if os.path.isabs(value)]


def _reason(error: BaseException) -> str:
    """What Ray says of a failure, of which it says much, in one line."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines)
    if "Traceback (most recent call last)" in text or isinstance(getattr(error, "cause", None), BaseException):
        text = lines[-1]
    text = text.partition(" because ")[2] or text
    return shortened(re.sub(r"\.? Node Id: \w+", ":", text).rstrip("."), _LONGEST_REASON)


# On a node ------------------------------------------------------------------------------------------------------------


class Keeper:
    """Keeps a worker process on a node, and gives it one task after another.

    Args:
        path: where the one who asks imports modules from; what of it is here too is taken.
        alike: the environment variables that are to be as there.
        memory_bytes: what a trial may take; None for a processor's share of the node's memory.
    """

    def __init__(self, path: Sequence[str], alike: Mapping[str, str], memory_bytes: int | None):
        sys.path += [entry for entry in path if entry not in sys.path and os.path.exists(entry)]
        for name in [name for name in os.environ if name.startswith(_ALIKE) and name not in alike]:
            del os.environ[name]
        os.environ.update(alike)
        self._memory_bytes = memory_bytes or share_of_memory(_processors())
        self._folder = ""
        self._worker: WorkerProcess | None = None

    def refused(self, versions: Mapping[str, str], modules: Sequence[str], sources: Sequence[str]) -> str:
        """Why trials of these versions and sources are not to be run here, in one sentence; empty where they may be."""
        found = versions_of(versions)
        for name, value in versions.items():
            if found.get(name) != value:
                what = "the sources of dsegym" if name == "dsegym_sources" else name
                has = f"{what} {found[name]}" if name in found else f"no {what}"
                return (
                    f"The Ray node {platform.node()} has {has}, and results would name {value}: install there what is "
                    "installed here."
                )
        for module, digest in zip(modules, sources, strict=True):
            try:
                differs = source_of(module) != digest
            except ImportError as error:
                return f"The Ray node {platform.node()} cannot import '{module}': {error}."
            if differs:
                return f"The Ray node {platform.node()} has other files of '{module.partition('.')[0]}' than this run."
        return ""

    def play(self, task: Task, files: Mapping[str, bytes]) -> Outcome | Exception:
        """Runs a task.

        Args:
            task: with users' files where they lie on another machine.
            files: those of them that have not come yet, by their names.

        Returns:
            What became of it; an error where no task can be run.
        """
        if reason := self.refused(task.versions, task.modules, task.identity["sources"]):
            return DsegymError(reason)
        self._folder = self._folder or tempfile.mkdtemp(prefix="dsegym-")
        for name, content in files.items():
            (Path(self._folder) / name).write_bytes(content)
        own = {key: os.path.join(self._folder, Path(task.options[key]).name) for key in _file_options(task.trial)}
        if self._worker is None:
            self._worker = WorkerProcess(self._folder, self._memory_bytes)
        worker = self._worker
        trial = dataclasses.replace(task.trial, options={**task.trial.options, **own})  # named by their contents
        worker.give(task._replace(trial=trial, options={**task.options, **own}))
        try:
            while (outcome := worker.take()) is None:
                wait_for([worker])
        except (DsegymError, OSError) as error:
            return error
        if outcome.retires:
            self._worker = None
            worker.end()
        return outcome._replace(retires=False)

    def end(self) -> None:
        """Ends the worker process, with all that it has started, whatever it is at."""
        if self._worker is not None:
            self._worker.end()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def _processors() -> int:
    """How many trials may run on this node at a time."""
    ray = sys.modules["ray"]
    own = ray.get_runtime_context().get_node_id()
    found = (node["Resources"].get("CPU") for node in ray.nodes() if node["NodeID"] == own)
    return max(1, int(next(found, None) or os.cpu_count() or 1))
