"""What Optuna's samplers share here: a study that asks for one design after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .referee import Referee

if TYPE_CHECKING:
    from ..envs.core.evaluation import Evaluation

__all__ = ["study_designs"]


def study_designs(
    referee: Referee, sampler: Callable[[], Any], value: Callable[[Evaluation], float], *, constrained: bool = False
) -> None:
    """Asks, costs and tells until the budget is spent.

    Args:
        referee: of the search.
        sampler: makes one of Optuna's.
        value: of one costed design, to be minimised.
        constrained: whether the sampler is told the constraint's violation.
    """
    import optuna

    distributions = referee.space.to_optuna()
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(sampler=sampler())
        while True:
            trial = study.ask(distributions)
            found = referee.evaluate(referee.space.of_places(trial.params))
            if constrained:
                trial.set_constraint("violation", float(found.violation[0]))
            told = value(found)
            study.tell(trial, math.inf if math.isnan(told) else told)  # a cost that is no number is the worst
    finally:
        optuna.logging.set_verbosity(verbosity)
