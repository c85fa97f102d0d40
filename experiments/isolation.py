"""A worker's side of an agent's process: it answers the agent's questions, and ends the process when its time is up."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import pickle
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from ..agents.referee import Samples, Trajectory
from ..agents.scorekeeper import Scorekeeper
from ..costmodels.errors import DsegymError
from ..envs.core.evaluation import Evaluation
from .agent_process import Ended, Job, Raised, named

__all__ = ["MEMORY_SHARE", "AgentProcess", "end_tree", "machine_memory", "resident_bytes", "search_apart"]

# Environment variables that change values, or tell where the run was started.
_WITHHELD = ("JAX_ENABLE_X64", "JAX_DISABLE_JIT", "JAX_DEFAULT_MATMUL_PRECISION", "OLDPWD", "PWD")
_START = "import sys, json; sys.path[:] = json.loads(sys.argv[2]); from {module} import main; main(int(sys.argv[1]))"
_START_S = 300.0  # s that a process may take to start and to import its agent
MEMORY_SHARE = 0.8  # of the machine's memory, for all trials together
_END_S = 5.0  # s that an ended process may take to be gone
_LOOK_S = 0.1  # s between looks at a process that is silent
_TREE_S = 1.0  # s between looks at what it has started
_MESSAGE_S = 60.0  # s that a message may take that has begun
MOST_MESSAGE_BYTES = 2**28  # that an agent may send at once
_CHUNK_BYTES = 2**20
_SHORT, _LONG = struct.Struct("!i"), struct.Struct("!iQ")  # how long a message is; -1 and its length from 2 GiB on


class _Garbled(Exception):
    """What an agent's process sends is no question."""


class _Late(Exception):
    """A deadline has passed."""


class AgentProcess:
    """The process of one agent, which serves its trials one after another.

    Args:
        folder: below which its working folder is made.
        memory_bytes: what the process, with all that it starts, may take of the machine's memory.
    """

    def __init__(self, folder: str, memory_bytes: int):
        if os.name != "posix":
            raise DsegymError("Suites run on Linux and other POSIX systems only: agents' processes are theirs.")
        module = __name__.rpartition(".")[0] + ".agent_process"
        path = [os.path.abspath(entry) for entry in sys.path]
        self._memory_bytes = memory_bytes
        self._most_bytes = min(MOST_MESSAGE_BYTES, memory_bytes // 8)
        self._looked_s = 0.0
        self.usable = True  # for another search
        self.was_killed = False  # by somebody else
        with contextlib.ExitStack() as made:  # taken back where the process does not start
            self._socket, theirs = socket.socketpair()
            made.callback(self._socket.close)
            with theirs:
                working = made.enter_context(tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True))
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _START.format(module=module), str(theirs.fileno()), json.dumps(path)],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    cwd=working,
                    # Sets of texts have one order in every process, so that a library that goes through one (SMAC3)
                    # searches the same way for the same seed.
                    env={n: v for n, v in os.environ.items() if n not in _WITHHELD} | {"PYTHONHASHSEED": "0"},
                    start_new_session=True,  # Ctrl-C is not for it
                )
            self._made = made.pop_all()
        self._watched = psutil.Process(self._process.pid)
        self._socket.setblocking(False)
        self._poller = select.poll()  # kept: one for each wait would cost more than the question
        self._poller.register(self._socket)

    def search(self, job: Job, keeper: Scorekeeper) -> Ended:
        """Runs one search, and ends the process where it cannot go on as it was."""
        try:
            ended = self._searched(job, keeper)
        except _Garbled as error:
            self.close()
            return Ended("failed", str(error), ())
        except (EOFError, OSError):
            code = self._code()
            self.was_killed = code is not None and code < 0
            self.close()
            how = "its pipe was closed" if code is None else f"exit code {code}"
            return Ended("failed", f"the agent's process died ({how}).", ())
        if ended.changed:
            self.close()
        ours = [what for what in ended.changed if what.startswith(f"{__name__.partition('.')[0]}.")]
        if ours:
            return ended._replace(status="failed", message=f"the agent changed {', '.join(ours[:3])}.")
        return ended

    def _searched(self, job: Job, keeper: Scorekeeper) -> Ended:
        try:
            until = time.monotonic() + _START_S
            self._send(job, until)
            said = self._receive(until)
        except _Late:
            raise _Garbled(f"the agent was not made within {_START_S:g} s.") from None
        if said[0] == "made":
            keeper.start()
        try:
            while said[0] != "ended":
                said = self._receive(_deadline(keeper))
                if said[0] != "ended":
                    answer = _answer(keeper, said)
                    self._send(answer, _deadline(keeper))
        except _Late:
            self.close()
            return Ended("timed_out", str(keeper.time_is_up()), ())
        match said[1:]:
            case (str(status), str(message), tuple(changed)) if all(isinstance(what, str) for what in changed):
                return Ended(status if status in ("finished", "timed_out") else "failed", message, changed)
        raise _Garbled("the agent's process sent what is no end of a search.")

    # Messages are framed as `multiprocessing.Connection` has them, the agent's end: their length first. It blocks and
    # knows no deadline, so that an agent that sends half of one, or reads none, would hold it for ever.

    def _send(self, content: Any, until: float) -> None:
        """Sends it by then.

        Raises:
            as `_receive`.
        """
        buffer = io.BytesIO()
        buffer.write(bytes(_LONG.size))
        _Pickler(buffer, 5).dump(content)
        left = buffer.getbuffer()
        size = len(left) - _LONG.size
        if size < 2**31:
            left = left[_LONG.size - _SHORT.size :]
            _SHORT.pack_into(left, 0, size)
        else:
            _LONG.pack_into(left, 0, -1, size)
        with _whole_message(until) as until:
            while left:
                try:
                    left = left[self._socket.send(left) :]
                except BlockingIOError:
                    self._wait(select.POLLOUT, until)
                    continue
                if left and time.monotonic() >= until:
                    raise _Late

    def _receive(self, until: float) -> tuple[Any, ...]:
        """What the process says.

        Raises:
            _Late: it has not said it by then.
            EOFError, OSError: it is gone.
            _Garbled: what it says is no plain data, too large or only begun, or it has grown too large.
        """
        self._wait(select.POLLIN, until)
        with _whole_message(until) as until:
            (size,) = _SHORT.unpack(self._read(_SHORT.size, until))
            if not 0 <= size <= self._most_bytes:  # -1: the length follows, and is beyond
                raise _Garbled(f"the agent's process sent a message of more than {self._most_bytes:,} bytes.")
            content = self._read(size, until)
        try:
            said = _Unpickler(io.BytesIO(content)).load()
        except Exception as error:
            raise _Garbled(f"the agent's process sent what is no plain data ({type(error).__name__}).") from None
        if not isinstance(said, tuple) or not said or not isinstance(said[0], str):
            raise _Garbled("the agent's process sent what is no question.")
        return said

    def _read(self, count: int, until: float) -> bytearray:
        found = bytearray()  # grows with what comes, not with what is promised
        while len(found) < count:
            try:
                received = self._socket.recv(min(count - len(found), _CHUNK_BYTES))
            except BlockingIOError:
                self._wait(select.POLLIN, until)
                continue
            if not received:
                raise EOFError
            found += received
            if len(found) < count and time.monotonic() >= until:
                raise _Late
        return found

    def _wait(self, event: int, until: float) -> None:
        """Waits for the pipe, and looks at the process meanwhile."""
        self._poller.modify(self._socket, event)
        while not self._poller.poll(1e3 * min(max(until - time.monotonic(), 0.0), _LOOK_S)):
            self._look()
            if time.monotonic() >= until:
                raise _Late
            if self._process.poll() is not None and not self._poller.poll(0.0):  # a fork of it may hold the pipe open
                raise EOFError
        if time.monotonic() - self._looked_s > _TREE_S:
            self._look()

    def _look(self) -> None:
        """Ends a process that takes more memory than it may."""
        processes = [self._watched]
        if time.monotonic() - self._looked_s > _TREE_S:
            self._looked_s = time.monotonic()
            processes = tree(self._process.pid)
        if sum(map(resident_bytes, processes)) > self._memory_bytes:
            raise _Garbled(f"the agent took more than the {self._memory_bytes / 2**30:.3g} GiB that a trial may take.")

    def _code(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_END_S)
        return None

    def close(self) -> None:
        """Ends the process, and whatever it has started."""
        self.usable = False
        end_tree(self._process.pid)
        self._code()
        self._made.close()


@contextlib.contextmanager
def _whole_message(until: float) -> Iterator[float]:
    """The deadline of a message that is under way, which comes before the search's own."""
    try:
        yield min(until, time.monotonic() + _MESSAGE_S)
    except _Late:
        if time.monotonic() >= until:
            raise
        raise _Garbled(f"the agent's process left a message unfinished, or unread, for {_MESSAGE_S:g} s.") from None


def _deadline(keeper: Scorekeeper) -> float:
    left = keeper.time_left_s
    return math.inf if left is None else time.monotonic() + left


def _answer(keeper: Scorekeeper, question: tuple[Any, ...]) -> Any:
    try:
        return keeper.ask(*question)
    except Exception as error:  # the agent's to deal with, whatever it is
        return Raised(type(error).__module__, type(error).__qualname__, str(error))


def search_apart(job: Job, keeper: Scorekeeper) -> Ended:
    """One search in a process that is there for nothing else, as in a competition; the scorekeeper is closed then."""
    with tempfile.TemporaryDirectory(prefix="dsegym-", ignore_cleanup_errors=True) as folder:
        process = AgentProcess(folder, int(MEMORY_SHARE * machine_memory()))
        try:
            return process.search(job, keeper)
        finally:
            process.close()
            keeper.close()


# What goes through the pipe -------------------------------------------------------------------------------------------

_PLAIN = (Ended, Evaluation, Job, Raised, Samples, Trajectory)


class _Pickler(pickle.Pickler):
    """Metrics of a family travel as named tuples of the same fields: the agent need not import the family."""

    def reducer_override(self, obj: Any) -> Any:
        fields = getattr(obj, "_fields", None)
        if isinstance(obj, tuple) and fields and not isinstance(obj, _PLAIN):
            return named, (type(obj).__name__, fields, tuple(obj))
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    """Arrays and plain values only: nothing that an agent sends is code, and nothing of this process is within reach.

    A pickle may set attributes of what it names. NumPy's types take none; of its functions each message has its own.
    """

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"{module_name}.{global_name}")
        found = super().find_class(module_name, global_name)
        return found if isinstance(found, type) else lambda *arguments: found(*arguments)


# What NumPy's arrays and scalars are unpickled with.
_ARRAYS = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
}


# Processes ------------------------------------------------------------------------------------------------------------


def tree(root: int) -> list[psutil.Process]:
    """The process and all that descend from it, parents first; none where it is gone."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    return []


def end_tree(root: int) -> None:
    """Kills a process and all that descend from it."""
    for process in reversed(tree(root)):  # it itself last; found before, since orphans have other parents
        with contextlib.suppress(psutil.Error):
            process.kill()


def resident_bytes(process: psutil.Process) -> int:
    """Bytes of memory that a process takes; 0 where it is gone."""
    with contextlib.suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def machine_memory() -> int:
    """Bytes of memory that this machine, or the container, has."""
    least = psutil.virtual_memory().total
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            least = min(least, int(Path(limit).read_text()))
    return least
