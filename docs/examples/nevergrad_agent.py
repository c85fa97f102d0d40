"""A third party's optimiser as an agent, in one file of another package: Nevergrad's NGOpt, which picks a method.

>>> from nevergrad_agent import NgOpt
>>> import dsegym
>>> referee = dsegym.Referee(dsegym.make_problem("dsegym/SleepTime-v0"), samples=64)
>>> NgOpt().search(referee, seed=0)
Traceback (most recent call last):
dsegym.costmodels.errors.BudgetExhausted: The budget of 64 samples is spent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsegym import Agent, Referee


@dataclass(frozen=True)
class NgOpt(Agent):
    """NGOpt (J. Rapin, O. Teytaud, Nevergrad, 2018) asked for `workers` designs at a time, which are costed together.

    Ordered parameters are numbers that are rounded, the others unordered choices.
    """

    workers: int = 8

    name = "ng_opt"
    summary = "Nevergrad's NGOpt, which chooses a method by the space and the budget"
    libraries = ("nevergrad",)
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {"workers": (1, 8, 32)}
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"workers": (1, 1000)}

    def search(self, referee: Referee, seed: int) -> None:
        """Asks and tells until the referee says that the budget is spent, by an exception that passes through here."""
        import nevergrad

        parameters = []
        for parameter in referee.space.parameters:
            count = len(parameter.values)
            number = parameter.ordered and count > 1
            parameters.append(
                nevergrad.p.Scalar(init=(count - 1) // 2, lower=0, upper=count - 1).set_integer_casting()
                if number
                else nevergrad.p.Choice(range(count))
            )
        asked = nevergrad.p.Tuple(*parameters)
        asked.random_state = np.random.RandomState(seed)  # what Nevergrad draws from
        optimiser = nevergrad.optimizers.NGOpt(asked, budget=referee.budget, num_workers=self.workers)
        while True:
            candidates = [optimiser.ask() for _ in range(self.workers)]
            costs = referee.costs([candidate.value for candidate in candidates])
            for candidate, cost in zip(candidates, costs, strict=True):
                optimiser.tell(candidate, float(cost))
