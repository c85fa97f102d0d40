"""Ctrl-C while the command `dsegym` starts, and while one of its commands imports a library.

A KeyboardInterrupt within an import ends as a long traceback, is swallowed by the library, or has its C++ code end the
process. So until the command begins Ctrl-C ends the process with one sentence, as there is nothing to be kept yet; from
then on it is raised only where it can be met: after an import, and again where a callback of the garbage collector
swallowed it. Who does not wait for the end of an import presses it twice. Programs that import the package keep their
own handling of signals.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["guard_start", "raised_where_met"]

_AGAIN_S = 0.05  # until an interrupt that could not be raised is tried again
_IMPORTING = "<frozen importlib._bootstrap>"  # the file of the frames of an import


def guard_start() -> None:
    """Has Ctrl-C end the process with one sentence and exit code 130, where the process is the command."""
    if _is_the_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler and _is_main_thread():
        signal.signal(signal.SIGINT, _end)


@contextmanager
def raised_where_met() -> Iterator[None]:
    """Has Ctrl-C raise KeyboardInterrupt outside of imports and of callbacks; what was before is put back."""
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    if handler not in (_end, signal.default_int_handler) or not _is_main_thread():
        yield
        return

    raising = _Raise()

    def swallowed(args: Any) -> None:
        if args.exc_type is KeyboardInterrupt:
            raising.try_again()
        else:
            hook(args)

    signal.signal(signal.SIGINT, raising)
    sys.unraisablehook = swallowed
    try:
        yield
    finally:
        raising.waits = False
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, handler)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"dsegym: Interrupted.\n")
    os._exit(130)


class _Raise:
    """The handler that raises KeyboardInterrupt where it can be met."""

    def __init__(self) -> None:
        self.waits = False  # whether an interrupt is to be raised once an import is over
        self.again = False  # whether the next signal is that one, and no new one
        self.thread = _thread.get_ident()  # the main one's

    def __call__(self, number: int, frame: FrameType | None) -> None:
        again, self.again = self.again, False
        while frame is not None:
            if frame.f_code.co_filename == _IMPORTING:
                if self.waits and not again:
                    _end(number, frame)
                self.try_again()
                return
            frame = frame.f_back
        self.waits = False
        raise KeyboardInterrupt

    def try_again(self) -> None:
        """Interrupts the main thread a moment later. No `threading`: its locks may be held where the signal came."""
        self.waits = True
        _thread.start_new_thread(self._later, ())

    def _later(self) -> None:
        time.sleep(_AGAIN_S)
        if self.waits:
            self.again = True
            if hasattr(signal, "pthread_kill"):
                signal.pthread_kill(self.thread, signal.SIGINT)  # a signal that ends a sleep, too
            else:
                _thread.interrupt_main()


def _is_main_thread() -> bool:
    """Whether signals may be handled here."""
    threading = sys.modules.get("threading")
    return threading is None or threading.current_thread() is threading.main_thread()


def _is_the_command() -> bool:
    """Whether this process runs `dsegym` or `python -m dsegym`, and is no worker of one."""
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        return False
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # the package of `python -m` is imported before its name is known
        after = sys.orig_argv[sys.orig_argv.index("-m") + 1 :] if "-m" in sys.orig_argv else []
        return after[:1] == [__package__]
    return os.path.basename(program).removesuffix(".exe") == __package__
