"""What agents take themselves: seconds a sample by the number of parameters, beside TPE's in the same run, and memory.

The cost is a sum in NumPy, so that all but nothing is the agent's. Half of the parameters are ordered, of 8 values; the
other half are names. Memory is the most that 100,000 samples hold, where they take less than a minute.
"""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from typing import Any

import numpy as np
from timing import report

from dsegym.agents.referee import Referee
from dsegym.agents.registry import check_libraries, make_agent
from dsegym.costmodels.errors import BudgetExhausted, DsegymError
from dsegym.envs.core.evaluation import Evaluation
from dsegym.envs.core.spaces import DesignSpace, Parameter

AGENTS = (
    "random_search",
    "sobol",
    "latin_hypercube",
    "hill_climb",
    "simulated_annealing",
    "block_local_search",
    "regularised_evolution",
    "ant_colony",
    "genetic_algorithm",
    "differential_evolution",
    "cma_es",
)
YARDSTICK = "tpe"
PARAMETERS = (12, 100, 800)
SAMPLES = {12: 1000, 100: 500, 800: 100}  # of a trial, and of TPE's: its seconds a sample grow with the samples
MANY = 100_000
LONGEST_S = 60.0  # of the trial that memory is measured in, as the seconds a sample predict it


def space_of(parameters: int) -> DesignSpace:
    """Half ordered, half not, 8 values each."""
    return DesignSpace(
        tuple(
            Parameter(f"p{i}", tuple(range(8)) if i % 2 else tuple("abcdefgh"), ordered=bool(i % 2))
            for i in range(parameters)
        )
    )


def search(name: str, parameters: int, samples: int) -> float:
    """Seconds of a trial that are the agent's."""
    space, spent, costing = space_of(parameters), 0, 0.0

    def answer(question: str, *arguments: Any) -> Any:
        nonlocal spent, costing
        if question == "baselines":
            return ()
        begun = time.perf_counter()
        designs = arguments[0]
        spent += len(designs)
        if spent > samples:
            raise BudgetExhausted("The budget is spent.")
        objective = 1.0 + ((designs - 3) ** 2).sum(axis=1)
        found = Evaluation(None, objective, np.ones(len(designs), bool), np.zeros(len(designs)), objective)
        costing += time.perf_counter() - begun
        return found

    begun = time.perf_counter()
    with contextlib.suppress(BudgetExhausted):
        make_agent(name).search(Referee.of(answer, space, samples), 0)
    return time.perf_counter() - begun - costing


def installed(name: str) -> bool:
    """Whether its libraries are."""
    try:
        check_libraries(name)
    except DsegymError:
        return False
    return True


def main() -> None:
    """Prints the seconds a sample as shares of TPE's, then the memory."""
    names = [name for name in AGENTS if installed(name)]
    seconds: dict[tuple[str, int], float] = {}
    for parameters in PARAMETERS:
        samples = SAMPLES[parameters]
        yardstick = search(YARDSTICK, parameters, samples) / samples if installed(YARDSTICK) else float("nan")
        report(f"{YARDSTICK}, {parameters} parameters, {samples} samples", f"{yardstick * 1e3:.2f} ms a sample")
        for name in names:
            search(name, parameters, 40)  # imports
            each = search(name, parameters, samples) / samples
            seconds[name, parameters] = each
            report(f"{name}, {parameters} parameters", f"{each * 1e6:.0f} us, {each / yardstick:.4f} of {YARDSTICK}'s")
    for name in names:
        if seconds[name, 12] * MANY > LONGEST_S:
            continue
        tracemalloc.start()  # NumPy's arrays among the rest
        search(name, 12, MANY)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        report(f"{name}, 12 parameters, most memory of {MANY:,} samples", f"{peak / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
