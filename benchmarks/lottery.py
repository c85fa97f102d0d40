"""The lottery's pace: trials an hour on all cores, and what a run adds to a trial, in processor time of all processes.

`python benchmarks/run.py lottery` runs short trials through the runner, its workers and agents' processes and the
store, as `dsegym run` does, and one that takes longer. The runner's part is processor time of all processes, less that
of the agent and the cost model; both parts take turns on the same machine, so their ratio is steadier than either.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from timing import report

from dsegym.experiments.energy import energy_counters, energy_text, joules_between
from dsegym.experiments.executors import Executor
from dsegym.experiments.executors.processes import in_processes
from dsegym.experiments.runner import RunSummary, run_suite
from dsegym.experiments.suite import load_suite

GOAL_AN_HOUR = 21_000
_QUIET_S = 0.1  # s without a stored trial, after which the next begins a burst
SUITE = """
name = "pace"
samples = {samples}
seeds = {seeds}
[[instances]]
scenario = "dsegym/AcceleratorSizing-v0"
[[agents]]
name = "{agent}"
"""


def processor_seconds() -> dict[int, float]:
    """{process: seconds of a processor that it has taken so far} of this process and all that it has started."""
    own = psutil.Process()
    return {each.pid: sum(each.cpu_times()[:2]) for each in _there([own, *own.children(recursive=True)])}


def _there(processes: list[psutil.Process]) -> Iterator[psutil.Process]:
    for process in processes:
        try:
            process.cpu_times()
        except psutil.Error:
            continue
        yield process


@dataclass
class _Burst:
    """Trials that were stored together."""

    at_s: float  # when the first of them was told of
    used_s: dict[int, float]  # {process: seconds of a processor} by then
    done: int  # trials of the run, with these; it grows as they are told of
    told_s: float  # when the last of them was told of


def measured(
    agent: str, samples: int, seeds: int, workers: int, executor: Executor = in_processes
) -> tuple[float, float, float | None]:
    """Wall and processor seconds of a trial in the last three quarters of a run, and J of one where the machine tells.

    Trials are stored once a second, many at a time: what is measured lies between the beginnings of two such bursts.

    Raises:
        SystemExit: the run was too short to tell.
    """
    bursts: list[_Burst] = []
    before = energy_counters()

    def note(summary: RunSummary) -> None:
        now = time.perf_counter()
        if not bursts or now - bursts[-1].told_s > _QUIET_S:
            bursts.append(_Burst(now, processor_seconds(), 0, now))
        bursts[-1].done, bursts[-1].told_s = sum(summary.statuses.values()), time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pace.toml"
        path.write_text(SUITE.format(agent=agent, samples=samples, seeds=seeds), encoding="utf-8")
        run_suite(load_suite(path), Path(folder) / "results", workers=workers, executor=executor, progress=note)
    joules = joules_between(before, energy_counters())
    middle = [burst for burst in bursts if seeds / 4 <= burst.done][:-1]  # the last one comes when workers stand still
    if len(middle) < 2:
        raise SystemExit(f"{seeds} trials of {agent} are over too soon to be measured.")
    first, last = middle[0], middle[-1]
    used_s = sum(seconds - first.used_s.get(process, 0.0) for process, seconds in last.used_s.items())
    trials = last.done - first.done
    return (last.at_s - first.at_s) / trials, used_s / trials, None if joules is None else joules / seeds


def searched_alone(agent: str, samples: int, seeds: int) -> float:
    """Processor seconds of the same searches in this process: the agent and the cost model, and no runner."""
    import dsegym
    from dsegym.agents.referee import Referee
    from dsegym.agents.registry import make_agent
    from dsegym.agents.scorekeeper import Scorekeeper
    from dsegym.experiments.agent_process import search

    problem, player = dsegym.make_problem("dsegym/AcceleratorSizing-v0"), make_agent(agent, {})
    problem.warm_up()

    def once(seed: int) -> None:
        keeper = Scorekeeper(problem, samples)
        search(player, Referee.of(keeper.ask, keeper.space, keeper.budget), seed)

    for seed in range(min(5, seeds)):
        once(seed)
    start_s = time.process_time()
    for seed in range(seeds):
        once(seed)
    return (time.process_time() - start_s) / seeds


def main() -> None:
    """Prints the table."""
    workers = os.cpu_count() or 1
    print(f"Lottery: trials through runner, workers, agents' processes and store; {workers} workers")
    for label, agent, samples, seeds, goal in (
        ("100 random samples", "random_search", 100, 4000, "1 ms"),
        ("1,000 samples of a genetic algorithm", "genetic_algorithm", 1000, 400, ""),
    ):
        alone_s = searched_alone(agent, samples, max(20, seeds // 20))
        wall_s, used_s, joules = measured(agent, samples, seeds, workers)
        added_s = used_s - alone_s
        report(f"{label}: trials an hour", f"{3600 / wall_s:,.0f}", f"{GOAL_AN_HOUR:,}")
        report(f"{label}: agent and cost model alone, processor time", f"{1e3 * alone_s:.2f} ms")
        report(f"{label}: added by processes, runner and store", f"{1e3 * added_s:.2f} ms", goal)
        report(
            f"{label}: ratio of what is added to the trial alone", f"{added_s / alone_s:.3f}", "" if goal else "0.02"
        )
        report(f"{label}: energy a trial, of the whole machine", energy_text(joules))


if __name__ == "__main__":
    main()
