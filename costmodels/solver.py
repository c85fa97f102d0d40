"""Solvers behind exact methods: their limits, and OR-Tools' CP-SAT, an optional library, as a source of incumbents."""

from __future__ import annotations

import importlib.util
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

Found = TypeVar("Found")

__all__ = ["OR_TOOLS", "Limits", "Solver", "cp_sat_incumbents", "in_turn", "is_available"]

OR_TOOLS = ("ortools",)  # what a solver by CP-SAT needs, as pip names it


class Limits(NamedTuple):
    """When a solver gives up."""

    effort_s: float  # of the solver's own count of its work, about a second each, so that a search can be repeated
    time_s: float  # by the clock; infinite for no limit


# Makes designs, int[n] each, every one better than the last in the solver's eyes, and ends with the proof that the last
# is the best, or when it gives up. One that is closed stops.
Solver: TypeAlias = Callable[[Limits], Generator[Sequence[int], None, None]]


def is_available() -> bool:
    """Whether OR-Tools can be imported."""
    return importlib.util.find_spec("ortools") is not None


def in_turn(*makers: Callable[[], Sequence[int]]) -> Solver:
    """The solver of designs that are made whole, one after another: rules, then an optimum. It heeds no limit."""

    def designs(limits: Limits) -> Generator[Sequence[int], None, None]:
        del limits
        for make in makers:
            yield make()

    return designs


def cp_sat_incumbents(
    sat: cp_model.CpModel, read: Callable[[Callable[[Any], int]], Found], limits: Limits, **parameters: Any
) -> Generator[Found, None, None]:
    """What is read of each solution that CP-SAT finds, as soon as it does, with one worker and seed 0.

    Args:
        sat: with an objective, so that each solution is better than the last.
        read: makes it of the values of variables and literals.
        limits: the deterministic time of CP-SAT is the effort.
        parameters: further ones of the solver.
    """
    from ortools.sat.python import cp_model

    found: queue.SimpleQueue[tuple[Found, ...] | BaseException] = queue.SimpleQueue()

    class Heard(cp_model.CpSolverSolutionCallback):
        def on_solution_callback(self) -> None:
            found.put((read(self.value),))

    solver = cp_model.CpSolver()
    solver.parameters.max_deterministic_time = limits.effort_s
    solver.parameters.max_time_in_seconds = limits.time_s
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    for name, value in parameters.items():
        setattr(solver.parameters, name, value)

    def solve() -> None:
        try:
            solver.solve(sat, Heard())
            found.put(())
        except BaseException as error:  # whoever waits raises it
            found.put(error)

    thread = threading.Thread(target=solve, name="cp_sat", daemon=True)
    thread.start()
    try:
        while solution := found.get():
            if isinstance(solution, BaseException):
                raise solution
            yield from solution
    finally:
        while thread.is_alive():
            solver.stop_search()
            thread.join(0.1)
