"""One trial, from its declaration to its stored result."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars

from ..agents.referee import Referee, Samples
from ..agents.registry import make_agent
from ..agents.scorekeeper import MOST_BYTES, Scorekeeper
from ..envs.core.evaluation import Yardstick
from ..envs.core.problem import Problem
from ..envs.core.scenarios import make_problem
from .agent_process import Ended
from .agent_process import search as search_with
from .energy import Counter, energy_meter, energy_record
from .identities import identity, versions
from .layout import FORMAT
from .scoring.statistics import incumbents
from .store import write_trial
from .suite import Trial, kept_options

__all__ = ["Origin", "play_trial", "run_trial", "store_unfinished"]


Search = Callable[[Trial, Scorekeeper], Ended]


class Origin(NamedTuple):
    """What a trial's samples depend on beside its declaration, as the store names it."""

    versions: Mapping[str, str]
    identity: Mapping[str, Any]

    @classmethod
    def of(cls, trial: Trial) -> Origin:
        """Imports the agent."""
        return cls(versions(trial.agent), identity(trial))


def run_trial(trial: Trial, identifier: str, results: Path) -> dict[str, Any]:
    """Runs a trial in this process and stores its result. Whatever the agent raises, its samples are kept.

    The runner does the same with the agent in a process of its own, which alone holds it to its time while it asks for
    nothing, and keeps its hands off the rest.

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
    manifest, trace = play_trial(trial, identifier, Origin.of(trial), kept_options(trial, results), _search_here)
    write_trial(results, manifest, trace)
    return manifest


def _search_here(trial: Trial, keeper: Scorekeeper) -> Ended:
    agent = make_agent(trial.agent, trial.hyperparameters)
    keeper.start()
    return Ended(*search_with(agent, Referee.of(keeper.ask, keeper.space, keeper.budget), trial.seed), ())


def play_trial(
    trial: Trial,
    identifier: str,
    origin: Origin,
    options: Mapping[str, str],
    search: Search,
    record_bytes: int = MOST_BYTES,
) -> tuple[dict[str, Any], polars.DataFrame]:
    """Runs a trial: the manifest, without file hashes, and the trace.

    Held-out cases are costed when the search is over: that counts no sample, and its seconds are overhead.

    Args:
        trial, identifier: as of `run_trial`.
        origin: of the trial; where a trial is played, its agent need not be imported.
        options: of the instance, with users' files where they lie now.
        search: lets the agent search, somewhere, and says how that ended.
        record_bytes: what the records of samples may take.

    Raises:
        DsegymError: the instance cannot be made.
    """
    problem = make_problem(trial.scenario, **options)
    problem.warm_up()
    _ = problem.reference, problem.bound, problem.as_searched.reference  # made when asked: not on the trial's clock
    counters = _meter()
    start = time.perf_counter()
    keeper = Scorekeeper(problem, trial.samples, trial.time_limit_s, record_bytes)
    ended = search(trial, keeper)
    keeper.close()
    samples = keeper.samples
    held_out = _held_out(problem, samples)
    manifest = _manifest(trial, identifier, origin, problem, samples, held_out, ended.status, ended.message)
    trace = _trace(samples, held_out)
    total_s = time.perf_counter() - start - keeper.compile_s
    manifest["seconds"] |= {
        "agent": keeper.elapsed_s - keeper.cost_model_s,
        "cost_model": keeper.cost_model_s,
        "total": total_s,
        "overhead": total_s - keeper.elapsed_s,
    }
    if energy := energy_record(counters, _meter(), time.perf_counter() - start):
        manifest["energy"] = energy
    return manifest, trace


def _meter() -> Mapping[str, Counter]:
    """This machine's counters of energy, empty where it does not tell."""
    return _opened_meter()()


_opened_meter = functools.cache(energy_meter)


def store_unfinished(trial: Trial, identifier: str, results: Path, status: str, message: str) -> dict[str, Any]:
    """Stores a trial whose worker had to be stopped or died: no samples, and the reason."""
    problem = make_problem(trial.scenario, **kept_options(trial, results))
    empty = Scorekeeper(problem, trial.samples).samples
    held_out = _held_out(problem, empty)
    manifest = _manifest(trial, identifier, Origin.of(trial), problem, empty, held_out, status, message)
    manifest["seconds"] |= {"agent": 0.0, "cost_model": 0.0, "overhead": 0.0, "total": 0.0}
    write_trial(results, manifest, _trace(empty, held_out))
    return manifest


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
    origin: Origin,
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
        "versions": dict(origin.versions),
        "identity": dict(origin.identity),
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
