"""DOSA's claim under DOSA's protocol: gradient search against two-loop random search and Bayesian optimisation.

Every method spends the same samples on dsegym/AcceleratorMapping-v0, a machine with a mapping of each layer being one,
with no area budget that matters, for the energy-delay product. Writes a table of all runs and the page made from it.

    python benchmarks/dosa_protocol.py --seeds 0 1 2 3 4 --samples 3000
    python benchmarks/dosa_protocol.py --render docs/dosa_protocol.csv   # the page again, without a run
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: more threads wait for each other

import numpy as np

import dsegym
from dsegym.agents.referee import Referee
from dsegym.agents.registry import make_agent
from dsegym.agents.scorekeeper import Scorekeeper
from dsegym.experiments.agent_process import search
from dsegym.experiments.scoring.statistics import Estimate, stratified_bootstrap

SCENARIO = "dsegym/AcceleratorMapping-v0"
WORKLOADS = ("resnet50", "bert_base_s512", "vgg16", "alexnet")
AREA_BUDGET = 100  # mm2, four times the largest machine's
DOCS = Path(__file__).resolve().parents[1] / "docs"
GRADIENT = "gradient search"
# The inner loops are DOSA's. The outer one has as many machines as the samples pay for, DOSA's share of them trials.
METHODS: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    GRADIENT: (
        "gradient_descent",
        {"starts": 7, "steps": 1490, "learning_rate": 0.1},
        "Adam from 7 random starts, machine and mappings together; each step's rounding is a sample",
    ),
    "two-loop random": (
        "two_loop_random",
        {"candidates": 1000},
        "random machines; for each 1,000 random mappings of every layer, the best of each layer kept",
    ),
    "two-loop BO": (
        "two_loop_bayesian",
        {"part_training": 100, "part_candidates": 1000, "part_trials": 10},
        "a Gaussian process over machines, and inside one a layer: 100 random mappings, then the 10 best of 1,000",
    ),
    "two-loop BO, logarithms": (
        "two_loop_bayesian",
        {"part_training": 100, "part_candidates": 1000, "part_trials": 10, "logarithm": True},
        "the same, the processes modelling logarithms",
    ),
    "random designs": ("random_search", {}, "machine and all mappings at random, no inner loop"),
}

_ABOUT = """\
DOSA (Hong et al., MICRO 2023) reports that gradient search over machine and mappings together finds an energy-delay
product 2.80 times better than random search and 12.59 times better than Bayesian optimisation at a similar number of
samples. This page is what the same comparison gives here: `benchmarks/dosa_protocol.py` makes it of
`docs/dosa_protocol.csv`, which holds every run. One sample is one machine with one mapping of every layer, costed
through the referee by the exact model."""
_DIFFERENCES = f"""\
**Where the protocol is not DOSA's.** Machines come from this scenario's 594 (powers of two), not from a grid of a
million. A mapping that does not fit is moved outwards until it does, where Timeloop draws again. The gradient goes
through weights over tilings and orders, not through factors, chooses the machine rather than deriving it, and every
step is costed after rounding, not every 500th. The Gaussian processes see logarithms of factors; after their trials
they learn again until the samples are spent, and the best of the training mappings counts too. The gradient's step size
was chosen on `resnet18` and `bert_base_s128`, which are not among the networks. The area budget is {AREA_BUDGET} mm²,
which no machine reaches. Samples are equal, time is not."""

Row = Mapping[str, Any]


def run(workload: str, method: str, seed: int, samples: int) -> dict[str, Any]:
    """One search: the best energy-delay product over the reference's, after every tenth of the samples."""
    problem = dsegym.make_problem(SCENARIO, workload=workload, objective="edp", area_budget=AREA_BUDGET)
    agent, given, _ = METHODS[method]
    if agent == "two_loop_bayesian":
        machines = max(samples // 111, 3)
        given = {**given, "shared_trials": max(machines // 11, 1), "shared_training": machines - max(machines // 11, 1)}
    problem.warm_up()
    keeper = Scorekeeper(problem, samples)
    start = time.perf_counter()
    status, message = search(make_agent(agent, given), Referee.of(keeper.ask, keeper.space, keeper.budget), seed)
    if status != "finished":
        raise SystemExit(f"{method} on {workload}: {message}")
    found = keeper.samples
    best = np.minimum.accumulate(np.where(found.feasible, found.objective, np.inf)) / problem.reference.value
    tenth = min(max(samples // 10, 1), len(best))
    return {
        "workload": workload,
        "method": method,
        "seed": seed,
        "samples": len(best),
        "after_a_tenth": float(f"{best[tenth - 1]:.6g}"),
        "edp_over_reference": float(f"{best[-1]:.6g}"),
        "bound_over_reference": float(f"{problem.bound.value / problem.reference.value:.6g}"),
        "seconds": round(time.perf_counter() - start - keeper.compile_s, 1),
    }


def ratio(rows: Sequence[Row], method: str, column: str = "edp_over_reference") -> Estimate:
    """How many times the gradient search's product a method's is: geometric mean over workloads and seeds, with the
    bootstrap interval over seeds.
    """
    strata = [_logs(rows, method, w, column) - _logs(rows, GRADIENT, w, column) for w in _workloads(rows)]
    found = stratified_bootstrap(strata, _mean, seed=0)
    return Estimate(*(np.exp(each) for each in found))


def _mean(values: Any, axis: int = -1) -> Any:
    return np.mean(values, axis=axis)


def _workloads(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["workload"] for row in rows))


def _logs(rows: Sequence[Row], method: str, workload: str, column: str) -> np.ndarray:
    """By seed."""
    mine = [row for row in rows if (row["method"], row["workload"]) == (method, workload)]
    return np.log([float(row[column]) for row in sorted(mine, key=lambda row: int(row["seed"]))])


def page(rows: Sequence[Row]) -> str:
    """What the page says, whatever came out."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    others = [method for method in methods if method != GRADIENT]
    seeds = sorted({int(row["seed"]) for row in rows})
    samples = max(int(row["samples"]) for row in rows)
    lines = [
        "# DOSA's claim under DOSA's protocol",
        "",
        _ABOUT,
        "",
        f"{len(_workloads(rows))} networks, {len(seeds)} seeds, {samples:,} samples each. How many times the gradient",
        "search's product is each method's: geometric mean over networks and seeds, 95 % bootstrap interval over the",
        "seeds; above 1 the gradient is better.",
        "",
        "| method | after all samples | after a tenth of them | DOSA reports |",
        "|---|---|---|---|",
    ]
    reported = {"two-loop random": "2.80", "two-loop BO": "12.59"}
    for method in others:
        whole, early = ratio(rows, method), ratio(rows, method, "after_a_tenth")
        lines.append(f"| {method} | {_interval(whole)} | {_interval(early)} | {reported.get(method, '')} |")
    lines += [
        "",
        _verdict(rows, others),
        "",
        "Median product over the reference's, by network (least and largest of the seeds):",
        "",
    ]
    lines += [f"| network | {' | '.join(methods)} | proven bound |", "|---" * (len(methods) + 2) + "|"]
    for workload in _workloads(rows):
        cells = []
        for method in methods:
            values = np.exp(_logs(rows, method, workload, "edp_over_reference"))
            cells.append(f"{np.median(values):.3g} ({values.min():.3g} to {values.max():.3g})")
        bound = next(float(row["bound_over_reference"]) for row in rows if row["workload"] == workload)
        lines.append(f"| {workload} | {' | '.join(cells)} | {bound:.3g} |")
    lines += ["", "| method | what it does | median s a run |", "|---|---|---|"]
    for method in methods:
        seconds = np.median([float(row["seconds"]) for row in rows if row["method"] == method])
        lines.append(f"| {method} | {METHODS[method][2]} | {seconds:.0f} |")
    lines += ["", _DIFFERENCES, ""]
    return "\n".join(lines)


def _verdict(rows: Sequence[Row], others: Sequence[str]) -> str:
    """One sentence a side on what is sure."""
    found = {method: ratio(rows, method) for method in others}
    better = [method for method in others if found[method].low > 1]
    worse = [method for method in others if found[method].high < 1]
    unsure = [method for method in others if method not in (*better, *worse)]
    parts = [f"Gradient search is surely better than {', '.join(better)}." if better else ""]
    parts.append(f"It is surely worse than {', '.join(worse)}." if worse else "")
    parts.append(f"Against {', '.join(unsure)} nothing is sure." if unsure else "")
    return " ".join(part for part in parts if part)


def _interval(estimate: Estimate) -> str:
    return f"{float(estimate.value):.2f} ({float(estimate.low):.2f} to {float(estimate.high):.2f})"


def table(rows: Sequence[Row]) -> str:
    """The runs as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_table(path: Path) -> list[Row]:
    """The runs of a CSV file."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", default=list(WORKLOADS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--output", type=Path, default=DOCS, help="the folder of dosa_protocol.csv and .md")
    parser.add_argument("--render", type=Path, help="a table of runs to make the page from, without running")
    given = parser.parse_args(arguments)
    if given.samples < 333:
        raise SystemExit(
            "--samples: at least 333, so that Bayesian optimisation learns from two machines and tries one."
        )
    if given.render:
        rows: list[Row] = read_table(given.render)
    else:
        rows = []
        for workload in given.workloads:
            for method in METHODS:
                for seed in given.seeds:
                    rows.append(run(workload, method, seed, given.samples))
                    print(*rows[-1].values(), f"(load {os.getloadavg()[0]:.1f})", flush=True)
                    (given.output / "dosa_protocol.csv").write_text(table(rows), encoding="utf-8")
    (given.output / "dosa_protocol.md").write_text(page(rows), encoding="utf-8")
    print(page(rows))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
