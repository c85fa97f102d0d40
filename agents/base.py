"""The agent: who searches. One class with a name, declared hyperparameters and `search(referee, seed)`."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .referee import Referee

__all__ = ["Agent"]


class Agent(abc.ABC):
    """Base of every agent; subclasses are frozen dataclasses whose fields are the hyperparameters.

    Attributes:
        name: how suites and leaderboards call it.
        summary: one line for the user: the method, the library, the paper.
        hyperparameters: {field: the values that a random draw chooses from}; the field's default is the agent's own.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    @abc.abstractmethod
    def search(self, referee: Referee, seed: int) -> None:
        """Searches until the referee stops it by raising `BudgetExhausted` or `TimeLimitReached` (which it need not
        catch), or until it has no more to try. Results live with the referee.

        Args:
            referee: the only way to the problem.
            seed: the source of all randomness; the same seed gives the same samples.
        """
