"""The clauses of an agent: what it says of itself, that it stops, and that its luck is its seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..costmodels.errors import BudgetExhausted, TimeLimitReached
from ..envs.contracts.clauses import BrokenContract, require
from ..envs.core.problem import Problem
from ..envs.core.spaces import DesignSpace
from .base import NEEDS, Agent
from .referee import Referee, Samples

__all__ = ["AGENT_CLAUSES"]

BUDGET, OFFERED_BUDGET = 40, 120  # samples of a search, and of one with other hyperparameters than the defaults


def it_describes_itself(agent: type[Agent], problem: Problem) -> None:
    """It is a frozen dataclass with a name, a summary, needs that are known, and hyperparameters that are fields, whose
    default is offered and whose values are of the default's type.
    """
    del problem
    frozen = dataclasses.is_dataclass(agent) and agent.__dataclass_params__.frozen  # pyright: ignore
    require(frozen, "it is no frozen dataclass")
    for name in ("name", "summary"):
        require(isinstance(getattr(agent, name, None), str) and getattr(agent, name), f"it has no {name}")
    for need in agent.needs:
        require(need in NEEDS, f"it needs {need!r}; allowed: {', '.join(NEEDS)}")
    fields = {field.name: field.default for field in dataclasses.fields(agent)}  # pyright: ignore
    for name, values in agent.hyperparameters.items():
        require(name in fields, f"the hyperparameter {name} is no field")
        require(fields[name] in values, f"the default of {name}, {fields[name]!r}, is none of the values offered")
        for value in values:
            fits = type(value) is type(fields[name]) or (type(value), type(fields[name])) == (int, float)
            require(fits, f"{name} offers {value!r}, which is not of its default's type, {type(fields[name]).__name__}")


def it_searches_until_it_is_stopped_and_no_longer(agent: type[Agent], problem: Problem) -> None:
    """It costs at least one design, whatever the budget, and asks for no more once the referee has raised
    `BudgetExhausted` or `TimeLimitReached`.
    """
    for budget in (1, BUDGET):
        spent = len(_searched(agent(), problem, budget, 0).objective)
        require(1 <= spent <= budget, f"it spent {spent} samples of {budget}")
    _searched(agent(), problem, BUDGET, 0, time_limit_s=0.0)


def its_seed_and_nothing_else_is_its_luck(agent: type[Agent], problem: Problem) -> None:
    """The same seed gives the same samples, another seed others; where the agent says `stochastic = False`, every seed
    gives the same.
    """
    first, again, other = (_searched(agent(), problem, BUDGET, seed) for seed in (7, 7, 8))
    require(np.array_equal(first.designs, again.designs), "the same seed gave other designs")
    require(np.array_equal(first.objective, again.objective), "the same seed gave other objectives")
    same = np.array_equal(first.designs, other.designs)
    if not agent.stochastic:
        require(same, "it says that it is not stochastic, and another seed gave other designs")
    elif problem.space.size > 1:
        require(not same, "another seed gave the same designs; it ignores its seed, or says `stochastic = False`")


def every_value_that_it_offers_searches(agent: type[Agent], problem: Problem) -> None:
    """It searches with every value that its hyperparameters offer, as with the defaults."""
    offered = agent.hyperparameters
    for row in range(max(map(len, offered.values()), default=0)):
        values = {name: listed[row % len(listed)] for name, listed in offered.items()}
        try:
            spent = len(_searched(agent(**values), problem, OFFERED_BUDGET, 0).objective)
        except Exception as error:
            said = error if isinstance(error, BrokenContract) else f"raises {type(error).__name__}: {error}"
            raise BrokenContract(f"with {values}: {said}") from error
        require(spent, f"with {values}: it costs no design")


class _WentOn(BaseException):
    """Ends an agent that the referee has stopped; no child of `Exception`, as the agent may catch all of those."""


class _Watch(Referee):
    """A referee that sees whether an agent goes on after it was stopped."""

    stopped = ""  # by which error

    def _sit(self, ask: Callable[..., Any], space: DesignSpace, budget: int) -> None:
        spending = ("evaluate", "evaluate_relaxed", "step_env", "rollout")
        super()._sit(lambda *asked: self._watched(ask, *asked) if asked[0] in spending else ask(*asked), space, budget)

    def _watched(self, ask: Callable[..., Any], *asked: Any) -> Any:
        if self.stopped:
            raise _WentOn
        try:
            return ask(*asked)
        except (BudgetExhausted, TimeLimitReached) as end:
            self.stopped = type(end).__name__
            raise


def _searched(agent: Agent, problem: Problem, budget: int, seed: int, time_limit_s: float | None = None) -> Samples:
    referee = _Watch(problem, budget, time_limit_s)
    try:
        agent.search(referee, seed)
    except (BudgetExhausted, TimeLimitReached):
        pass
    except _WentOn:
        raise BrokenContract(f"it goes on after {referee.stopped}; let it pass, or return") from None
    return referee.samples


AGENT_CLAUSES: Sequence[Callable[[type[Agent], Problem], None]] = (
    it_describes_itself,
    it_searches_until_it_is_stopped_and_no_longer,
    its_seed_and_nothing_else_is_its_luck,
    every_value_that_it_offers_searches,
)
