"""One suite in several environments: interpreters, with the libraries that each has, times numbers of threads.

Each cell of the matrix is `dsegym run` in a process of its own, whose environment variables and processors alone are
changed, with one worker. Then every sample of every cell is costed again here: values may differ by `TOLERANCE`,
relative, and feasibility not at all, whatever computed them. Whether agents sampled the same designs is told too, and
is no fault: a last bit may send a search elsewhere. Seconds and memory are told, not judged.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..costmodels.errors import CorruptResultError, DsegymError, shortened
from ..envs.core.problem import Problem
from ..envs.core.scenarios import make_problem
from .batches import stored_trials
from .door import LONGEST, check_allowed, write_by_rename
from .kept_files import checked_options
from .layout import json_text, trial_directory
from .store import FINISHED, TrialResult
from .suite import Suite, find_any_suite, is_policy_suite, load_suite
from .suite_note import read_suite
from .verify import RELATIVE_TOLERANCE

__all__ = ["TABLE", "TOLERANCE", "Cell", "Environment", "Plan", "plan_matrix", "probe", "run_matrix"]

TOLERANCE = RELATIVE_TOLERANCE
TABLE = "matrix.json"
_PROBE_S = 120.0  # s that an interpreter has to say what it is
# What an interpreter has; it ends with a reason where dsegym cannot be imported there.
_PROBE = """
import json, platform
from importlib.metadata import PackageNotFoundError, version
def found(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
import dsegym
names = ("jax", "jaxlib", "numpy", "scipy")
print(json.dumps({"python": platform.python_version(), "dsegym": dsegym.__version__, **{n: found(n) for n in names}}))
"""
# `dsegym` on the processors that the first argument lists, where the system can bind a process to some.
_LAUNCH = """
import os, runpy, sys
chosen = {int(each) for each in sys.argv.pop(1).split(",")}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, chosen)
runpy.run_module("dsegym", run_name="__main__", alter_sys=True)
"""
_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_BLOCK = 4096  # designs that are costed at once


class Environment(NamedTuple):
    """An interpreter and what it has."""

    path: str  # of the interpreter
    versions: Mapping[str, str]  # of Python and of the libraries that compute


class Cell(NamedTuple):
    """What one environment made of the suite."""

    path: str  # of the interpreter
    versions: Mapping[str, str]
    threads: int
    results: str  # the folder of its results, below the matrix's
    finished: int  # trials
    others: int  # trials that did not finish
    samples: int
    largest_difference: float  # relative, of a sample's value from what it costs here
    infeasible_elsewhere: int  # samples whose feasibility differs
    same_designs: int  # trials whose designs are those of the first cell, sample by sample
    seconds: float  # s, wall, of the whole command: start, compilation, trials
    trials_s: float  # s, of the trials: agents, models and overhead, without compilation
    peak_mib: float  # MiB, the most that one of its processes held

    @property
    def holds(self) -> bool:
        """Whether every value is within the tolerance, and every trial finished."""
        return self.largest_difference <= TOLERANCE and not self.infeasible_elsewhere and not self.others


class Plan(NamedTuple):
    """What a matrix is to run; every environment in it has answered."""

    suite: Suite
    path: Path  # of the suite's file
    output: Path  # the matrix's directory, where nothing is yet
    processors: list[int]  # at hand
    pairs: list[tuple[Environment, int]]  # each interpreter with each number of threads


def plan_matrix(
    suite: str | Path, output: str | Path, *, pythons: Sequence[str] = (), threads: Sequence[int] = ()
) -> Plan:
    """What a matrix is to run.

    Args:
        suite: a shipped suite's name, or a file; one of trials.
        output: the matrix's directory.
        pythons: interpreters, or virtual environments' folders; this one when left out.
        threads: how many each cell may have; 1 and all processors at hand when left out.

    Raises:
        DsegymError: the suite is none of trials; an interpreter does not start or lacks dsegym; there are not so many
            processors; something is in the directory.
    """
    path, output = find_any_suite(str(suite)), Path(output)
    if is_policy_suite(path):
        raise DsegymError(f"'{suite}' is a suite of policies; a matrix is of a suite of trials.")
    processors = _processors()
    counts = list(dict.fromkeys(threads or (1, len(processors))))
    for count in counts:
        if not 1 <= count <= len(processors):
            raise DsegymError(f"--threads {count}: there are {len(processors)} processors at hand; allowed: 1 to that.")
    if os.path.lexists(output) and not (output.is_dir() and not any(output.iterdir())):
        raise DsegymError(f"'{output}' is there already; a matrix is written where nothing is.")
    found = [probe(each) for each in dict.fromkeys(pythons or (sys.executable,))]
    return Plan(load_suite(path), path, output, processors, [(each, count) for each in found for count in counts])


def run_matrix(
    plan: Plan,
    *,
    allow: Collection[str] = (),
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> list[Cell]:
    """Runs a suite in every environment, and compares.

    Args:
        plan: of `plan_matrix`.
        allow: packages beside this one whose scenarios may be imported.
        progress: called with how many cells are done, how many there are, and what runs.

    Returns:
        A cell for each interpreter and number of threads; `matrix.json` in the directory holds them.

    Raises:
        DsegymError: a run could not be made; names the environment.
        OSError: something cannot be written.
    """
    plan.output.mkdir(parents=True, exist_ok=True)
    cells, first = [], None
    for done, (environment, count) in enumerate(plan.pairs):
        python = environment.versions["python"]
        name = f"{done + 1}-python{python}-threads{count}"
        progress(done, len(plan.pairs), f"Python {python}, threads: {count}")
        seconds, peak_mib = _run(environment, plan.processors[:count], plan.path, plan.output / name)
        found = _found(plan.output / name, allow)
        first = found.designs if first is None else first
        same = sum(np.array_equal(first[key], own) for key, own in found.designs.items() if key in first)
        cells.append(
            Cell(
                path=environment.path,
                versions=environment.versions,
                threads=count,
                results=name,
                finished=found.finished,
                others=len(plan.suite.trials) - found.finished,
                samples=sum(map(len, found.designs.values())),
                largest_difference=found.largest_difference,
                infeasible_elsewhere=found.infeasible_elsewhere,
                same_designs=same,
                seconds=seconds,
                trials_s=found.trials_s,
                peak_mib=peak_mib,
            )
        )
        write_by_rename(plan.output / TABLE, json_text(_content(plan.suite, cells)).encode())
    progress(len(plan.pairs), len(plan.pairs), "")
    return cells


def probe(python: str) -> Environment:
    """What an interpreter has.

    Args:
        python: its path, or its virtual environment's folder.

    Raises:
        DsegymError: it does not start, or dsegym cannot be imported there.
    """
    path = Path(python)
    if path.is_dir():
        folder = "Scripts" if os.name == "nt" else "bin"
        path = path / folder / "python"
    shown = shortened(python, LONGEST)
    if not path.is_file():
        raise DsegymError(f"--python {shown}: there is no interpreter, and no virtual environment with one.")
    try:
        done = subprocess.run(
            [str(path), "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_S, check=False, cwd=_elsewhere()
        )
        told = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise DsegymError(f"--python {shown}: it does not answer ({shortened(error, LONGEST)}).") from None
    if not isinstance(told, dict) or not told.get("python"):
        last = shortened((done.stderr.strip().splitlines() or ["nothing said"])[-1], LONGEST)
        raise DsegymError(f"--python {shown}: dsegym cannot be imported there ({last}).")
    return Environment(str(path), {str(name): str(value) for name, value in told.items()})


def _elsewhere() -> str:
    """A working folder in which no `dsegym` lies by accident."""
    return tempfile.gettempdir()


def _processors() -> list[int]:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _run(environment: Environment, processors: Sequence[int], suite: Path, results: Path) -> tuple[float, float]:
    """Runs the suite; seconds of wall time, and the MiB that the largest of its processes held.

    Raises:
        DsegymError: nothing was run at all; says the last line of what was said.
    """
    count = len(processors)
    flags = os.environ.get("XLA_FLAGS", "")
    if count == 1:
        flags = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    changed = {name: str(count) for name in _POOLS} | ({"XLA_FLAGS": flags} if flags else {})
    chosen = ",".join(map(str, processors))
    command = [environment.path, "-c", _LAUNCH, chosen, "run", str(suite.resolve()), "--workers", "1"]
    command += ["--output", str(results.resolve())]
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={**os.environ, **changed}, cwd=_elsewhere()
        )
        code, peak_mib = _ended(process)
        seconds = time.perf_counter() - start
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").strip().splitlines()
    if code not in (0, 1) or not (results / "suite.json").exists():
        last = shortened(lines[-1] if lines else "nothing said", 2 * LONGEST)
        raise DsegymError(f"{environment.path}, threads {count}: the suite was not run ({last}).")
    return seconds, peak_mib


def _ended(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """A process's exit code, and the MiB that the largest of it and of the children that it waited for held."""
    if not hasattr(os, "wait4"):
        return process.wait(), float("nan")
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


class _Found(NamedTuple):
    """What lies in a cell's results."""

    designs: dict[str, np.ndarray]  # {a trial's declaration: its designs, int32[S, n]}
    finished: int  # trials
    largest_difference: float
    infeasible_elsewhere: int
    trials_s: float


def _found(results: Path, allow: Collection[str]) -> _Found:
    """What lies there, every sample costed again."""
    problems: dict[str, Problem] = {}
    designs: dict[str, np.ndarray] = {}
    largest, elsewhere, finished, trials_s = 0.0, 0, 0, 0.0
    for _, trial in stored_trials(results, read_suite(results)["trials"]):
        if isinstance(trial, CorruptResultError):
            raise trial
        finished += trial.manifest["status"] == FINISHED
        trials_s += trial.manifest["seconds"]["total"]
        own = designs[_declaration(trial)] = _designs(trial)
        problem = _problem(trial, results, problems, allow)
        for start in range(0, len(own), _BLOCK):
            rows = trial.trace.slice(start, _BLOCK)
            found = problem.evaluate(own[start : start + _BLOCK])
            claimed, here = rows["objective"].to_numpy(), np.asarray(found.objective, np.float64)
            largest = max(largest, float(_difference(claimed, here).max()))
            elsewhere += int((rows["feasible"].to_numpy() != np.asarray(found.feasible)).sum())
    return _Found(designs, finished, largest, elsewhere, trials_s)


def _difference(claimed: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Relative, float64[B]; 0 where both are no number or the same infinity, infinite where one is."""
    same = (claimed == here) | (np.isnan(claimed) & np.isnan(here))
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.abs(claimed - here) / np.abs(here)
    return np.where(same, 0.0, np.nan_to_num(relative, nan=np.inf, posinf=np.inf))


def _declaration(trial: TrialResult) -> str:
    """A trial as its suite declares it, which no version of a library changes."""
    return json.dumps(trial.manifest["trial"], sort_keys=True)


def _designs(trial: TrialResult) -> np.ndarray:
    return np.array(trial.trace["design"].to_list(), np.int32).reshape(trial.trace.height, -1)


def _problem(trial: TrialResult, results: Path, problems: dict[str, Problem], allow: Collection[str]) -> Problem:
    spec = trial.manifest["trial"]["instance"]
    key = json.dumps(spec, sort_keys=True)
    if key not in problems:
        check_allowed(spec["scenario"], allow)
        directory = trial_directory(results, trial.manifest["trial_id"])
        problems[key] = make_problem(spec["scenario"], **checked_options(directory, **spec))
    return problems[key]


def _content(suite: Suite, cells: Sequence[Cell]) -> dict[str, Any]:
    """What `matrix.json` holds."""
    plain = []
    for cell in cells:
        row = {**cell._asdict(), "holds": cell.holds}
        plain.append({k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()})
    return {"suite": suite.name, "trials": len(suite.trials), "tolerance": TOLERANCE, "cells": plain}
