"""Whether each agent at its defaults beats random search at equal samples, family by family, with intervals.

    python benchmarks/against_random.py --agents simulated_annealing,ant_colony --families SleepTime --samples 300

A row an agent and instance: by how many per cent its best design costs less than random search's, in the geometric mean
over the seeds, with a bootstrapped interval of 95 % over both agents' seeds; and the share of the way from reference to
bound, in logarithms, that its best designs go. Best designs are chosen by what searches see and valued on held-out
cases where there are any. `CHECKED` are the families' default instances; on `TUNED`, which no suite scores and which
are not checked, the agents' defaults were chosen (`--tuned`; `--set name=value` changes a hyperparameter).

Agents that fit a model to their samples, or learn a policy, take seconds to minutes a trial: `--samples 100 --minutes
15` measures what begins within a quarter of an hour and names what was not run; rows are added to the file of `--csv`.
The suite `against-random` and `dsegym against` tell of agents at their defaults, in docs/against_random.md; this is for
hyperparameters that are being chosen.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import dsegym
from dsegym.agents.registry import agent_names, check_libraries, check_libraries_on, check_needs, make_agent
from dsegym.costmodels.errors import BudgetExhausted, DsegymError
from dsegym.envs.core.problem import Problem
from dsegym.envs.core.scenarios import scenario_ids

RANDOM = "random_search"
RESAMPLES = 10_000

# Of every family the instance that its options' defaults make.
CHECKED: Mapping[str, Mapping[str, object]] = {
    name.removeprefix("dsegym/").removesuffix("-v0"): {} for name in scenario_ids() if name.startswith("dsegym/")
}
# Of no suite, and quick to cost; few parameters and a hundred, ordered ones and categories.
TUNED: Mapping[str, Mapping[str, object]] = {
    "AcceleratorDataflow": {"workload": "mobilenet_v2", "objective": "energy", "area_budget": "small"},
    "AcceleratorMapping": {"workload": "alexnet", "objective": "latency"},
    "AcceleratorSizing": {"workload": "alexnet", "objective": "edp", "area_budget": "small"},
    "AcceleratorTemplate": {"objective": "energy"},
    "MemoryAllocation": {"instance": "layered_100_s1"},
    "MemoryMapping": {"program": "residual_tiny", "capacity": 0.25},
    "ServingMix": {"tpot": 40, "rate": 4},
    "SocSchedulingStatic": {"graph": "top3"},
}


class Row(NamedTuple):
    """What one agent does on one instance."""

    family: str
    agent: str
    lower: float  # %, by which its best designs cost less than random search's
    least: float  # %, of the interval
    most: float
    share: float  # of the way from reference to bound, in logarithms
    seconds: float  # a trial

    @property
    def verdict(self) -> str:
        """What the interval says."""
        return "beats" if self.least > 0 else "loses" if self.most < 0 else "as good"


def best_values(
    problem: Problem, name: str, hyperparameters: Mapping[str, Any], samples: int, seeds: int
) -> tuple[np.ndarray, float]:
    """The value of each seed's best design, float64[seeds], and the seconds of a trial."""
    found, start = [], time.perf_counter()
    for seed in range(seeds):
        referee = dsegym.Referee(problem, samples)
        with contextlib.suppress(BudgetExhausted):
            make_agent(name, hyperparameters).search(referee, seed)
        spent = referee.samples
        best = spent.best if spent.best is not None else int(np.argmin(spent.objective))  # a penalty: above all others
        found.append(float(problem.evaluate_held_out(spent.designs[best]).objective[0]))
    return np.array(found), (time.perf_counter() - start) / seeds


def compare(mine: np.ndarray, randoms: np.ndarray) -> tuple[float, float, float]:
    """% by which values are lower than random search's, and the interval's ends."""
    generator = np.random.default_rng(0)
    mine, randoms = np.log(mine), np.log(randoms)
    drawn = [generator.choice(each, (RESAMPLES, len(each))).mean(axis=1) for each in (mine, randoms)]
    ends = np.quantile(drawn[0] - drawn[1], (0.975, 0.025))
    lower, least, most = (100 * -math.expm1(each) for each in (mine.mean() - randoms.mean(), *ends))
    return lower, least, most


def measured(
    family: str,
    options: Mapping[str, object],
    agents: Sequence[str],
    hyperparameters: Mapping[str, Any],
    samples: int,
    seeds: int,
    end_s: float,
) -> tuple[list[Row], list[str]]:
    """A row an agent that the instance suits; and the agents that had not begun at `end_s` of the process's clock."""
    if time.perf_counter() >= end_s:
        return [], list(agents)
    problem = dsegym.make_problem(f"dsegym/{family}-v0", **options)
    problem.warm_up()
    randoms, _ = best_values(problem, RANDOM, {}, samples, seeds)
    way = math.log(problem.reference.value) - math.log(max(problem.bound.value, 1e-300))
    rows: list[Row] = []
    for place, name in enumerate(agents):
        if time.perf_counter() >= end_s:
            return rows, list(agents[place:])
        try:
            check_libraries(name)
            check_needs(name, problem)
            check_libraries_on(name, hyperparameters, problem)
        except DsegymError as reason:
            print(f"{family:<22} {name:<24} {reason}", flush=True)
            continue
        values, seconds = best_values(problem, name, hyperparameters, samples, seeds)
        share = float((math.log(problem.reference.value) - np.log(values)).mean() / way) if way > 0 else math.nan
        rows.append(Row(family, name, *compare(values, randoms), share, seconds))
        row = rows[-1]
        interval = f"{row.lower:8.2f} % [{row.least:8.2f}, {row.most:8.2f}]"
        print(f"{family:<22} {name:<24} {interval} {row.share:8.3f} {row.seconds:7.2f} s  {row.verdict}", flush=True)
    return rows, []


def appended(path: Path, samples: int, seeds: int, rows: Sequence[Row]) -> None:
    """Adds rows to a CSV file, with how they were measured; the file's first line names the columns."""
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow((*Row._fields, "verdict", "samples", "seeds"))
        for row in rows:
            figures = (f"{each:.6g}" if isinstance(each, float) else each for each in row)
            writer.writerow((*figures, row.verdict, samples, seeds))


def value_of(text: str) -> Any:
    """A hyperparameter as a command line gives it."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def main() -> None:
    """Measures what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", default="", help="with commas between them; all when left out")
    parser.add_argument("--families", default="", help="likewise")
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tuned", action="store_true", help="the instances on which defaults were chosen")
    parser.add_argument("--set", action="append", default=[], help="a hyperparameter, name=value")
    parser.add_argument("--csv", type=Path, help="to which the rows are added, too")
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which no agent begins")
    arguments = parser.parse_args()
    instances = TUNED if arguments.tuned else CHECKED
    families = arguments.families.split(",") if arguments.families else list(instances)
    agents = [name for name in (arguments.agents.split(",") if arguments.agents else agent_names()) if name != RANDOM]
    changed = {key: value_of(value) for key, _, value in (each.partition("=") for each in arguments.set)}
    print(f"{arguments.samples} samples, {arguments.seeds} seeds; less than random search's best, interval of 95 %")
    end_s = time.perf_counter() + 60 * arguments.minutes
    rows: list[Row] = []
    for family in families:
        found, left = measured(family, instances[family], agents, changed, arguments.samples, arguments.seeds, end_s)
        rows += found
        if arguments.csv:
            appended(arguments.csv, arguments.samples, arguments.seeds, found)
        if left:
            print(f"{family:<22} not run: {', '.join(left)}", flush=True)
    for name in agents:
        own = [row for row in rows if row.agent == name]
        counts = ", ".join(
            f"{verdict} {sum(row.verdict == verdict for row in own)}" for verdict in ("beats", "as good", "loses")
        )
        print(f"{name:<24} {counts}")


if __name__ == "__main__":
    main()
