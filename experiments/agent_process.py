"""An agent's process: it runs searches, one after another, and has nothing of the problem but a pipe to the referee.

The worker that started it (`isolation.py`) sends what to search with; it answers when the agent is made, asks the
scorekeeper's questions during the search, and says how that ended. What comes from here is data, never code: the worker
unpickles arrays and plain values only. Nothing here imports JAX, so that an agent that needs none starts quickly.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import operator
import os
import pickle
import random
import signal
import sys
import threading
import traceback
from collections import namedtuple
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..agents.base import Agent
from ..agents.referee import Referee
from ..agents.registry import make_agent
from ..costmodels.errors import BudgetExhausted, DsegymError, TimeLimitReached
from ..envs.core.door import close_door
from ..envs.core.spaces import DesignSpace

__all__ = [
    "PINNED",
    "Ended",
    "Job",
    "Raised",
    "adopt_orphans",
    "changes",
    "described",
    "end_with_parent",
    "main",
    "named",
    "renewed",
    "search",
    "state",
]

LONGEST_MESSAGE = 500  # letters of an error that a manifest keeps

# Of JAX's configuration, what changes values: fixed in workers and in agents' processes, whatever the environment says.
PINNED = {
    "jax_enable_x64": False,
    "jax_disable_jit": False,
    "jax_default_matmul_precision": None,
    "jax_numpy_dtype_promotion": "standard",
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
}


class Job(NamedTuple):
    """What an agent searches with."""

    agent: str
    hyperparameters: dict[str, Any]
    seed: int
    space: DesignSpace
    budget: int


class Raised(NamedTuple):
    """An answer that is an error: where its class stands, and its text."""

    module: str
    name: str
    text: str

    def error(self) -> BaseException:
        """The error, whatever its class takes to be made."""
        try:
            kind = getattr(importlib.import_module(self.module), self.name)
            error = kind.__new__(kind)
        except Exception:  # of a package that is not to be had here, say
            return DsegymError(f"{self.name}: {self.text}")
        error.args = (self.text,)
        return error


class Ended(NamedTuple):
    """How a search ended."""

    status: str
    message: str
    changed: tuple[str, ...]  # what the process is not as it was before


def named(name: str, fields: tuple[str, ...], values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A named tuple of a family, without the family."""
    return _named_type(name, fields)(*values)


@functools.cache
def _named_type(name: str, fields: tuple[str, ...]) -> Any:
    return namedtuple(name, fields)


def search(agent: Agent, referee: Referee, seed: int) -> tuple[str, str]:
    """Lets an agent search, whatever it raises.

    Returns:
        The trial's status, and one line on why it did not finish.
    """
    try:
        agent.search(referee, seed)
    except BudgetExhausted:
        pass
    except TimeLimitReached as error:
        return "timed_out", str(error)
    except KeyboardInterrupt:  # in this process: the user's
        raise
    except BaseException as error:  # an agent of another package may raise anything, SystemExit too
        return "failed", described(error)
    return "finished", ""


def described(error: BaseException) -> str:
    """An error in one line, with the innermost place in the agent's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    try:
        text = " ".join(str(error).split())
    except BaseException as second:  # its text is the agent's code, too
        text = f"its text cannot be shown ({type(second).__name__})"
    text = text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}..."
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


# The state that one search may leave to the next ----------------------------------------------------------------------


class State(NamedTuple):
    """What a search must leave as it was."""

    values: dict[str, Any]  # {what: value}
    modules: dict[str, Any]  # {name: module}, this package's and some of NumPy's
    names: dict[str, tuple[Mapping[str, Any], dict[str, Any]]]  # {module or class: its names now, and as they were}
    module_count: int  # of all modules


def state() -> State:
    """What a search must leave as it was."""
    modules = {n: module for n, module in list(sys.modules.items()) if n.startswith(_OWN_DOT) or n in _ALSO}
    names: dict[str, tuple[Mapping[str, Any], dict[str, Any]]] = {}
    for name, module in modules.items():
        held = vars(module)
        names[name] = held, held.copy()
        if name not in _NUMPY:
            for key, value in names[name][1].items():
                if isinstance(value, type) and value.__module__ == name:
                    names[f"{name}.{key}"] = vars(value), vars(value).copy()
    return State(_values(), modules, names, len(sys.modules))


def _values() -> dict[str, Any]:
    found: dict[str, Any] = {"the working folder": _folder()}
    found |= {f"the environment variable {name}": value for name, value in os.environ.items()}
    found["threads"] = {thread.ident for thread in threading.enumerate() if thread.is_alive()}
    found["child processes"] = _has_children()
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGALRM", signal.SIGTERM)):
        found[f"the handler of signal {int(number)}"] = signal.getsignal(number)
    return found


def changes(before: State) -> tuple[str, ...]:
    """What is not as it was; what has been imported since is no change. Looked for after each trial, so quickly."""
    now = _values()
    found = _changed(before.values, now)
    found += [what for what in now.keys() - before.values.keys() if what.startswith(_NEW_COUNTS)]
    for space, (held, names) in before.names.items():
        if space in before.modules and sys.modules.get(space) is not before.modules[space]:
            held = vars(sys.modules[space]) if space in sys.modules else {}
        if not _all_same(names, held):
            found += [f"{space}.{name}" for name in _changed(names, held)]
    jax = sys.modules.get("jax")
    if jax is not None:
        held = jax.config.values  # made anew each time that it is asked for
        found += [name for name, value in PINNED.items() if held.get(name, value) != value]
    return tuple(sorted(found))


def renewed(before: State) -> State:
    """The state for the next search, where `changes` has found none: with what has been imported since."""
    grown = before.module_count != len(sys.modules) or any(
        len(held) > len(names) for held, names in before.names.values()
    )
    return state() if grown else before


def _all_same(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the same names stand for the same objects: no step of the interpreter for each of them."""
    return list(before) == list(after) and all(map(operator.is_, before.values(), after.values()))


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [what for what, value in before.items() if not _same(value, after.get(what, _GONE))]


_GONE = object()
_OWN = __name__.partition(".")[0]
_OWN_DOT = f"{_OWN}."
_NUMPY = frozenset(("numpy", "numpy.random", "numpy.linalg"))
_ALSO = _NUMPY | {_OWN}
_NEW_COUNTS = tuple(f"the environment variable {prefix}_" for prefix in ("JAX", "XLA"))


def _same(before: Any, after: Any) -> bool:
    return before is after or (isinstance(before, str | bool | dict | set) and before == after)


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "none"


def _has_children() -> bool:
    """Whether a process that was started here, or by such a one, is still there."""
    if not hasattr(os, "waitid"):
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def end_with_parent() -> None:
    """Lets this process be killed when its parent has gone. Only on Linux; elsewhere it ends with its pipe."""
    _prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def adopt_orphans() -> None:
    """Lets what this process's children leave behind become its own children, to be ended with it. Only on Linux."""
    _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


# The process ----------------------------------------------------------------------------------------------------------


def main(descriptor: int) -> None:
    """Searches until the other end of the pipe is closed."""
    sys.argv = [""]
    os.set_inheritable(descriptor, False)
    end_with_parent()
    adopt_orphans()
    with contextlib.suppress(OSError):  # the first to go where the machine's memory does not suffice
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    close_door("An agent meets its problem through the referee only, which counts what it evaluates.")
    pipe, own = Connection(descriptor), os.getpid()

    def ask(*question: Any) -> Any:
        if os.getpid() != own:
            raise DsegymError("The referee answers the agent's own process only, no fork of it.")
        pipe.send_bytes(pickle.dumps(question, 5))
        answer = pickle.loads(pipe.recv_bytes())  # the worker is trusted; what comes from here is not
        if isinstance(answer, Raised):
            raise answer.error()
        return answer

    with contextlib.suppress(EOFError, ConnectionError):  # the worker is gone, and nobody is left to be told
        _serve(pipe, own, ask)


def _serve(pipe: Connection, own: int, ask: Callable[..., Any]) -> None:
    """Searches, one after another.

    Raises:
        EOFError, ConnectionError: the other end of the pipe is closed.
    """
    before: State | None = None
    while True:
        job: Job = pickle.loads(pipe.recv_bytes())  # of the worker, which is trusted
        before = state() if before is None else renewed(before)
        random.seed(job.seed)
        np.random.seed(job.seed % 2**32)  # noqa: NPY002 (for agents that draw from the global stream)
        try:
            agent = make_agent(job.agent, job.hyperparameters)
            made = ("made",)
        except BaseException as error:
            agent, made = None, ("ended", "failed", described(error), ())
        pipe.send_bytes(pickle.dumps(made, 5))
        if agent is not None:
            try:
                status, message = search(agent, Referee.of(ask, job.space, job.budget), job.seed)
            except KeyboardInterrupt as error:  # the agent's: the terminal's does not come here
                status, message = "failed", described(error)
            if os.getpid() != own:
                os._exit(0)  # a fork of the agent's, which has come back too
            pipe.send_bytes(pickle.dumps(("ended", status, message, changes(before)), 5))
