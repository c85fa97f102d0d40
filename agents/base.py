"""The agent: who searches. One class with a name, declared hyperparameters and `search(referee, seed)`."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from ..envs.core.problem import Problem
    from .referee import Referee

__all__ = ["NEEDS", "SMALL_SPACE", "SOBOL_DIMENSIONS", "Agent", "replayable_forms", "single_choice_forms"]

_MOST_ENUMERATED = 2**22  # designs that are put in a random order: 32 MB
_SOBOL_DIMENSIONS = 21_201  # of the sequence's published direction numbers
SMALL_SPACE = f"space of at most {_MOST_ENUMERATED:,} designs"
SOBOL_DIMENSIONS = f"space of at most {_SOBOL_DIMENSIONS:,} parameters"


class Agent(abc.ABC):
    """Base of every agent; subclasses are frozen dataclasses whose fields are the hyperparameters.

    Attributes:
        name: how suites and leaderboards call it.
        summary: one line for the user: the method, the library, the paper.
        hyperparameters: {field: the values that a random draw chooses from}; the field's default is the agent's own.
        ranges: {field: (least, most)} of its numbers, and of the lengths of its texts, both included; what lies outside
            is refused when a suite is checked.
        libraries: distributions that it searches with, beside those that dsegym itself depends on. They must be
            installed, and their versions are part of its trials' identity: of no other agent's.
        optional_libraries: distributions that it searches with on some problems, as `libraries_on` says. Where they are
            installed, their versions are part of its trials' identity too.
        needs: what a problem must have, names of `NEEDS`; a suite refuses the agent where the problem lacks it.
        stochastic: whether another seed gives other samples; False for a rule that draws nothing.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
    libraries: ClassVar[tuple[str, ...]] = ()
    optional_libraries: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    stochastic: ClassVar[bool] = True

    @abc.abstractmethod
    def search(self, referee: Referee, seed: int) -> None:
        """Searches until the referee stops it by raising `BudgetExhausted` or `TimeLimitReached` (which it need not
        catch), or until it has no more to try. Results live with the referee.

        Args:
            referee: the only way to the problem.
            seed: the source of all randomness; the same seed gives the same samples.
        """

    def libraries_on(self, problem: Problem) -> tuple[str, ...]:
        """Distributions that it needs on this problem, beside `libraries`."""
        del problem
        return ()


def replayable_forms(problem: Problem) -> tuple[str, ...]:
    """The environment forms whose episodes a design replays: those that an agent may play. The first is the default."""
    return tuple(form for form in problem.forms if problem.functional_env(form).replayable)


def single_choice_forms(problem: Problem) -> tuple[str, ...]:
    """Those of `replayable_forms` in which an action is one choice; they alone have masks."""
    from gymnasium.spaces import Discrete

    forms = replayable_forms(problem)
    return tuple(form for form in forms if isinstance(problem.functional_env(form).action_space, Discrete))


# What an agent may need of a problem: whether the problem has it.
NEEDS: Mapping[str, Callable[[Problem], bool]] = {
    "relaxation": lambda problem: problem.relaxation is not None,
    "design in parts": lambda problem: bool(problem.parts),
    "front": lambda problem: bool(problem.front),
    "solver": lambda problem: bool(problem.solvers),
    "packing search": lambda problem: "packing_search" in problem.solvers,
    "replayable form": lambda problem: bool(replayable_forms(problem)),
    "form of single choices": lambda problem: bool(single_choice_forms(problem)),
    SMALL_SPACE: lambda problem: problem.space.size <= _MOST_ENUMERATED,
    SOBOL_DIMENSIONS: lambda problem: len(problem.space) <= _SOBOL_DIMENSIONS,
}
