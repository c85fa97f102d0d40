"""Exact methods as agents: the solvers that a problem declares, each better design of which is a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..costmodels.errors import DsegymError, UnknownNameError
from .base import Agent
from .referee import Referee

if TYPE_CHECKING:
    from ..envs.core.problem import Problem

__all__ = ["Exact", "PackingSearch"]

FIRST = "first"


@dataclass(frozen=True)
class Exact(Agent):
    """Costs what the problem's solver finds, as it finds it, and ends with its proof or when it gives up.

    The solver knows the model and not only the referee's answers, so that samples count little and seconds tell all: a
    row to measure others against.

    Attributes:
        method: one of `Referee.solvers`; or `first`, the best for the problem.
        effort_s: of the solver's own count of its work, about a second each, so that a trial can be repeated.
    """

    method: str = FIRST
    effort_s: float = 60.0

    name = "exact"
    summary = "the problem's exact solver, each better design of which is a sample (CP-SAT, HiGHS, packing search)"
    optional_libraries = ("ortools",)
    needs = ("solver",)
    stochastic = False
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {"effort_s": (10.0, 60.0, 600.0)}
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"method": (1, 200), "effort_s": (0.001, 1e6)}

    def search(self, referee: Referee, seed: int) -> None:
        """Costs each incumbent.

        Raises:
            DsegymError: the problem has no solver, or not this one.
        """
        del seed
        method = self._method(referee.solvers)
        while (design := referee.incumbent(method, self.effort_s)) is not None:
            referee.evaluate(design)

    def libraries_on(self, problem: Problem) -> tuple[str, ...]:
        """Those of the solver that it asks.

        Raises: as `search`.
        """
        return tuple(problem.solver_libraries.get(self._method(tuple(problem.solvers)), ()))

    def _method(self, solvers: tuple[str, ...]) -> str:
        if not solvers:
            raise DsegymError(f"{self.name} needs a solver, and this problem has none.")
        method = solvers[0] if self.method == FIRST else self.method
        if method not in solvers:
            raise UnknownNameError("solver of this problem", method, solvers)
        return method


@dataclass(frozen=True)
class PackingSearch(Exact):
    """The search of packings alone, which needs no library."""

    method: str = "packing_search"

    name = "packing_search"
    summary = "depth-first search of packings in the order of addresses (after MiniMalloc)"
    optional_libraries = ()
    needs = ("packing search", "solver")
