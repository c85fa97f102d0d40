"""Small trials made in memory, and a set of them whose leaderboard is computed by hand."""

import json
from dataclasses import dataclass

import polars as pl

REFERENCE, BOUND = 10.0, 2.0  # a score of 1/8 per unit


@dataclass
class Result:
    manifest: dict
    trace: pl.DataFrame


def trial(
    agent, workload, seed, objective, *, feasible=None, held_out=None, budget=8, status="finished", draw=None, **more
):
    """A trial whose samples cost `objective`, each second one later than the other; `held_out` may give a column."""
    feasible = [True] * len(objective) if feasible is None else feasible
    found = [index for index in range(len(objective)) if feasible[index]]
    best = min(found, key=lambda index: objective[index], default=None)
    hyperparameters = more.pop("hyperparameters", {"draw": draw} if draw is not None else {})
    manifest = {
        "format": 1,
        "trial_id": f"{agent}-{workload}-{seed}-{draw}-{json.dumps(hyperparameters)}",
        "trial": {
            "instance": {"scenario": "dsegym/Toy-v0", "options": {"workload": workload, "size": 3}},
            "agent": {"name": agent, "hyperparameters": hyperparameters, "draw": draw},
            "seed": seed,
            "samples": budget,
            "time_limit_s": 60.0,
        },
        "versions": {"dsegym": "0.1.0", "python": "3.11.7"},
        "status": status,
        "message": "" if status == "finished" else f"after {seed}.5 s: <b>gone</b>",
        "samples_used": len(objective),
        "objective": {"name": "latency", "unit": "s"},
        "reference": {"name": "baseline", "value": REFERENCE, "source": "a table"},
        "bound": {"kind": "optimum", "value": BOUND, "source": "enumeration"},
        "best": None
        if best is None
        else {
            "sample": best + 1,
            "design": [best, 7],
            "decoded": {"rows": f"{best} PE", "buffer": "8 KiB"},
            "objective": objective[best],
        },
        "seconds": {"agent": 3.0, "cost_model": 1.0, "overhead": 0.5, "total": 4.5},
        "files": {},
        **more,
    }
    trace = pl.DataFrame(
        {
            "sample": range(1, len(objective) + 1),
            "objective": objective,
            "feasible": feasible,
            "elapsed_s": [0.5 * (index + 1) for index in range(len(objective))],
            "design": [[index, 7] for index in range(len(objective))],
        },
        schema={
            "sample": pl.Int32,
            "objective": pl.Float64,
            "feasible": pl.Boolean,
            "elapsed_s": pl.Float64,
            "design": pl.List(pl.Int32),
        },
    )
    if held_out is not None:
        trace = trace.with_columns(pl.Series("held_out", held_out, dtype=pl.Float64))
    return Result(manifest, trace)


def golden():
    """Two agents, two instances, two seeds. Final scores: fox 1, 0.5 on a and 1, 0 on b; owl 0.5, 0 and 0.25, -0.5."""
    return [
        trial("fox", "a", 0, [12.0, 6.0, 2.0]),
        trial("fox", "a", 1, [6.0]),
        trial("fox", "b", 0, [1.0, 2.01, 2.0], feasible=[False, True, True]),
        trial("fox", "b", 1, [3.0], feasible=[False]),
        trial("owl", "a", 0, [6.0]),
        trial("owl", "a", 1, [], status="failed"),
        trial("owl", "b", 0, [8.0], status="timed_out"),
        trial("owl", "b", 1, [14.0]),
    ]
