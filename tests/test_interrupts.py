"""Ctrl-C at any moment of a command: one sentence, exit code 130, no traceback, never swallowed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dsegym

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
# As a terminal starts it, whatever the tests' own treatment of Ctrl-C is; a line says that our code is reached.
START = """
import builtins, os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["dsegym", *sys.argv[2:]]
at, plain = sys.orig_argv[-len(sys.argv)], builtins.__import__
def told(name, *rest, **more):
    if name == at:
        builtins.__import__ = plain
        os.write(2, b"reached\\n")
    return plain(name, *rest, **more)
builtins.__import__ = told
runpy.run_module("dsegym", run_name="__main__", alter_sys=False)
"""


def interrupted(place, delay_s, *words, presses=1):
    """Exit code, standard output and what standard error says of a command that Ctrl-C meets in an import."""
    environment = {**os.environ, "PYTHONPATH": str(Path(dsegym.__file__).parents[1])}
    command = [sys.executable, "-c", START, place, *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr.readline() == "reached\n"
        for _ in range(presses):
            time.sleep(delay_s)
            process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, out, [line for line in err.splitlines() if line]


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("place", ["gymnasium", "typer"])
def test_ctrl_c_while_the_command_starts_is_one_sentence(place, delay_s):
    code, out, err = interrupted(place, delay_s, "bound", "dsegym/MemoryMapping-v0")
    assert (code, out, err) == (130, "", ["dsegym: Interrupted."])


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 0.3])
def test_ctrl_c_while_a_command_imports_jax_is_one_sentence(delay_s):
    code, out, err = interrupted("jax", delay_s, "bound", "dsegym/MemoryMapping-v0")
    assert (code, out, err) == (130, "", ["dsegym: Interrupted."])


def test_who_does_not_wait_for_the_end_of_an_import_presses_twice():
    code, _, err = interrupted("jax", 0.0, "bound", "dsegym/MemoryMapping-v0", presses=2)
    assert (code, err) == (130, ["dsegym: Interrupted."])


SWALLOWED = """
import gc, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from dsegym._interrupts import raised_where_met

def callback(phase, info):
    if not sent:
        sent.append(phase)
        signal.raise_signal(signal.SIGINT)

sent = []
with raised_where_met():
    gc.callbacks.append(callback)
    try:
        gc.collect()
        time.sleep(30)
        print("swallowed")
    except KeyboardInterrupt:
        print("met")
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, sys.unraisablehook is sys.__unraisablehook__)
"""


def test_ctrl_c_that_a_callback_of_the_garbage_collector_swallows_comes_again():
    environment = {**os.environ, "PYTHONPATH": str(Path(dsegym.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.stdout, done.stderr) == ("met\nTrue True\n", "")


def test_programs_that_import_the_package_keep_their_handling_of_signals():
    code = "import signal, sys; sys.argv = ['mine']; before = signal.getsignal(signal.SIGINT); import dsegym; "
    code += "print(signal.getsignal(signal.SIGINT) is before)"
    environment = {**os.environ, "PYTHONPATH": str(Path(dsegym.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "True\n"
