"""What a leaderboard and a verification cost as trials grow: seconds, peak memory, and how they grow with the trials.

python benchmarks/run.py load               # 1,000 and 4,000 trials
python benchmarks/load.py 20000             # as many as you say, once
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import report

import dsegym
from dsegym.experiments.identities import trial_id
from dsegym.experiments.suite import Suite, Trial
from dsegym.experiments.suite_note import write_suite
from dsegym.experiments.trial import run_trial

COUNTS = (1000, 4000)
SAMPLES = 20
AGENTS = ("random_search", "hill_climb")
WORKLOADS = ("alexnet", "resnet18")
SCENARIO = "dsegym/AcceleratorSizing-v0"


def fill(results: Path, count: int) -> None:
    """Runs `count` small trials, two agents on two instances, in this process."""
    instances = [dict(dsegym.make_problem(SCENARIO, workload=name).options) for name in WORKLOADS]
    seeds = range(count // (len(AGENTS) * len(WORKLOADS)))
    trials = tuple(
        Trial(SCENARIO, options, agent, {}, None, seed, SAMPLES, 600.0)
        for options in instances
        for agent in AGENTS
        for seed in seeds
    )
    write_suite(results, Suite("load", "many trials", trials))
    for trial in trials:
        run_trial(trial, trial_id(trial), results)


def measured(command: str, results: Path) -> tuple[float, float]:
    """Seconds and the peak memory in GB of a command on the results, in a process of its own."""
    start = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    subprocess.run([sys.executable, "-m", "dsegym", command, str(results)], check=True, stdout=subprocess.DEVNULL)
    peak = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return time.perf_counter() - start, peak * 1024 / 1e9


def main(counts: tuple[int, ...] = COUNTS) -> None:
    """Prints the table."""
    found: dict[str, list[float]] = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), count)
            for command in ("leaderboard", "verify"):
                seconds, peak_gb = measured(command, Path(folder))
                found.setdefault(command, []).append(seconds)
                report(f"{command} of {count:,} trials", f"{seconds:.1f} s, {peak_gb:.2f} GB at most so far")
    for command, seconds in found.items():
        if len(seconds) > 1:
            ratio = seconds[-1] / seconds[0] / (counts[-1] / counts[0])
            report(f"{command}: growth over the growth of the trials", f"{ratio:.2f}", "1")


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or COUNTS)
