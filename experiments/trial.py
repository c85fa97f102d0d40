"""One trial, from its declaration to its stored result."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars

from ..agents.referee import Referee, Samples
from ..agents.registry import make_agent
from ..costmodels.errors import BudgetExhausted, TimeLimitReached
from ..envs.core.evaluation import Yardstick
from ..envs.core.problem import Problem
from ..envs.core.scenarios import make_problem
from .scoring.statistics import incumbents
from .store import FORMAT, identity, versions, write_trial
from .suite import Trial, located

__all__ = ["run_trial", "store_unfinished"]


def run_trial(trial: Trial, identifier: str, results: Path) -> dict[str, Any]:
    """Runs a trial and stores its result. Whatever the agent does, the samples that it spent are kept.

    Held-out cases are costed when the search is over: that counts no sample, and its seconds are overhead.

    Args:
        trial: what to run.
        identifier: its id, as the suite notes it.
        results: the results directory.

    Returns:
        The stored manifest, without file hashes.

    Raises:
        OSError: the result cannot be written.
        DsegymError: the instance or the agent cannot be made.
    """
    problem = make_problem(trial.scenario, **_kept(trial, results))
    problem.warm_up()
    _ = problem.reference, problem.bound, problem.as_searched.reference  # made when asked: not on the trial's clock
    start = time.perf_counter()
    agent = make_agent(trial.agent, trial.hyperparameters)
    referee = Referee(problem, trial.samples, trial.time_limit_s)
    search_start = time.perf_counter()
    status, message = "finished", ""
    try:
        with _alarm(trial.time_limit_s, referee):
            agent.search(referee, trial.seed)
    except BudgetExhausted:
        pass
    except TimeLimitReached as error:
        status, message = "timed_out", str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an agent of another package may raise anything, SystemExit too
        status, message = "failed", _describe(error)
    search_s = time.perf_counter() - search_start - referee.compile_s
    samples = referee.samples
    held_out = _held_out(problem, samples)
    manifest = _manifest(trial, identifier, problem, samples, held_out, status, message)
    seconds = manifest["seconds"]

    def close() -> None:
        seconds["total"] = time.perf_counter() - start - referee.compile_s
        seconds["overhead"] = seconds["total"] - search_s

    seconds |= {"agent": search_s - referee.cost_model_s, "cost_model": referee.cost_model_s}
    write_trial(results, manifest, _trace(samples, held_out), close)
    return manifest


def store_unfinished(trial: Trial, identifier: str, results: Path, status: str, message: str) -> dict[str, Any]:
    """Stores a trial whose worker had to be stopped or died: no samples, and the reason."""
    problem = make_problem(trial.scenario, **_kept(trial, results))
    empty = Referee(problem, trial.samples).samples
    held_out = _held_out(problem, empty)
    manifest = _manifest(trial, identifier, problem, empty, held_out, status, message)
    manifest["seconds"] |= {"agent": 0.0, "cost_model": 0.0, "overhead": 0.0, "total": 0.0}
    write_trial(results, manifest, _trace(empty, held_out))
    return manifest


def _kept(trial: Trial, results: Path) -> dict[str, str]:
    """The trial's options, with users' files as the results keep them: one edited meanwhile changes no trial."""
    return located(trial.as_dict()["instance"]["options"], results)


def _held_out(problem: Problem, samples: Samples) -> list[float | None] | None:
    """Each sample's objective on the held-out cases where it was the best so far, None elsewhere; None without cases.

    A design that breaks a constraint there counts with its penalty, as its objective has it.
    """
    if problem.held_out_params is None:
        return None
    values: list[float | None] = [None] * len(samples.objective)
    places = incumbents(samples.objective, samples.feasible)
    if places.size:
        objective = problem.evaluate_held_out(samples.designs[places]).objective
        for place, value in zip(places.tolist(), objective.tolist(), strict=True):
            values[place] = value
    return values


def _manifest(
    trial: Trial,
    identifier: str,
    problem: Problem,
    samples: Samples,
    held_out: list[float | None] | None,
    status: str,
    message: str,
) -> dict[str, Any]:
    best = samples.best
    return {
        "format": FORMAT,
        "trial_id": identifier,
        "trial": trial.as_dict(),
        "versions": dict(versions(trial.agent)),
        "identity": identity(trial),
        "status": status,
        "message": message,
        "samples_used": len(samples.objective),
        "objective": {"name": problem.objective.name, "unit": problem.objective.unit},
        "reference": _yardstick("name", problem.reference),
        "bound": _yardstick("kind", problem.bound),
        "best": None
        if best is None
        else {
            "sample": best + 1,
            "design": samples.designs[best].tolist(),
            "decoded": problem.space.describe(samples.designs[best]),
            "objective": float(samples.objective[best]),
        }
        | ({} if held_out is None else {"held_out": held_out[best]}),
        "seconds": {},
    }


def _yardstick(key: str, yardstick: Yardstick) -> dict[str, Any]:
    return {key: yardstick.name, "value": yardstick.value, "source": yardstick.source}


def _trace(samples: Samples, held_out: list[float | None] | None) -> polars.DataFrame:
    trace = polars.DataFrame(
        {
            "sample": polars.Series(range(1, len(samples.objective) + 1), dtype=polars.Int32),
            "objective": polars.Series(samples.objective, dtype=polars.Float64),
            "feasible": polars.Series(samples.feasible, dtype=polars.Boolean),
            "elapsed_s": polars.Series(samples.elapsed_s, dtype=polars.Float64),
            "design": polars.Series(samples.designs, dtype=polars.Array(polars.Int32, samples.designs.shape[1])),
        }
    ).with_columns(polars.col("design").arr.to_list())
    return trace if held_out is None else trace.with_columns(polars.Series("held_out", held_out, dtype=polars.Float64))


def _describe(error: BaseException) -> str:
    """The error in one line, with the innermost place in the agent's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


@contextlib.contextmanager
def _alarm(seconds: float, referee: Referee) -> Iterator[None]:
    """Raises `TimeLimitReached` in Python code that outlasts the limit, so that what it has sampled is kept.

    Code that never returns to the interpreter is stopped by the runner instead. Only where the system has alarms.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(signal_number: int, frame: object) -> None:
        left = seconds - referee.elapsed_s  # positive where compilation has taken part of the time
        if left <= 0.0:
            raise TimeLimitReached(f"The trial's time limit of {seconds:g} s has passed.")
        signal.setitimer(signal.ITIMER_REAL, left + 0.01)

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
