"""How trials an hour grow with workers, from one to a processor each: processes, and a Ray cluster of this machine.

`python benchmarks/run.py workers` runs trials of a third of a second (TPE, 100 samples) through runner, executor and
store, and takes the pace of the last three quarters of a run, less its end. The limit is the pace of one
worker process times the number of workers: what is missing is lost to executor, store and shared memory.
"""

from __future__ import annotations

import os

from lottery import measured
from timing import report

from dsegym.experiments.executors.cluster import on_ray
from dsegym.experiments.executors.processes import in_processes

AGENT, SAMPLES, SEEDS = "tpe", 100, 80
GOAL = "0.9"


def main() -> None:
    """Prints the table."""
    most = os.cpu_count() or 1
    print(f"Workers: trials of {AGENT}, {SAMPLES} samples, through runner and store; 1 to {most} workers")
    executors = {"processes": lambda: in_processes, "Ray": lambda: on_ray("local")}
    alone_s = 0.0
    for label, executor in executors.items():
        for workers in range(1, most + 1):
            wall_s, *_ = measured(AGENT, SAMPLES, SEEDS * workers, workers, executor())
            alone_s = alone_s or wall_s
            report(f"{label}, {workers} workers: trials an hour", f"{3600 / wall_s:,.0f}")
            report(
                f"{label}, {workers} workers: share of {workers} times one worker process",
                f"{alone_s / (workers * wall_s):.2f}",
                GOAL,
            )


if __name__ == "__main__":
    main()
