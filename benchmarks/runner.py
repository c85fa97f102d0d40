"""The runner's own cost per trial: everything but the agent and the cost model, as a share of a 1,000-sample trial."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from timing import report

import dsegym
from dsegym.agents.base import Agent
from dsegym.agents.referee import Referee
from dsegym.experiments.suite import Trial
from dsegym.experiments.trial import run_trial

TRIALS = 20


@dataclass(frozen=True)
class OneAtATime(Agent):
    """Random search that asks for one design at a time, as Bayesian optimisers and plain Gymnasium loops do."""

    name = "one_at_a_time"
    summary = "uniform random designs, one by one"

    def search(self, referee: Referee, seed: int) -> None:
        """Costs random designs."""
        generator = np.random.default_rng(seed)
        while True:
            referee.evaluate(referee.space.sample(generator, 1))


def seconds_per_trial(agent: str) -> dict[str, float]:
    """Median agent, cost-model, overhead and total seconds of a trial in a warm worker."""
    options = dict(dsegym.make_problem("dsegym/AcceleratorSizing-v0").options)
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for number in range(TRIALS + 1):
            trial = Trial("dsegym/AcceleratorSizing-v0", options, agent, {}, None, number, 1000, 600.0)
            found.append(run_trial(trial, f"{number:016x}", Path(folder))["seconds"])
    return {key: statistics.median(seconds[key] for seconds in found[1:]) for key in found[0]}


def main() -> None:
    """Prints the table."""
    print(f"Runner: 1,000-sample random-search trials, median of {TRIALS}, compiled code reused")
    for label, agent in (
        ("a thousand designs at once", "random_search"),
        ("one design at a time", "runner:OneAtATime"),
    ):
        seconds = seconds_per_trial(agent)
        report(f"{label}: agent and cost model", f"{1e3 * (seconds['agent'] + seconds['cost_model']):.2f} ms")
        report(f"{label}: the runner's own", f"{1e3 * seconds['overhead']:.2f} ms")
        report(
            f"{label}: ratio of the runner's own to the trial", f"{seconds['overhead'] / seconds['total']:.3f}", "0.05"
        )


if __name__ == "__main__":
    main()
