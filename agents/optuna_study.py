"""What Optuna's samplers share here: a study that asks for one design after the other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .referee import Referee

if TYPE_CHECKING:
    from optuna.samplers import GPSampler

    from ..envs.core.evaluation import Evaluation

__all__ = ["gaussian_processes", "quiet", "study_designs"]

Sampler = TypeVar("Sampler")


def study_designs(
    referee: Referee,
    sampler: Callable[[], Any],
    value: Callable[[Evaluation], float | Sequence[float]],
    *,
    costs: int = 1,
    constrained: bool = False,
    training: int = 0,
    start: np.ndarray | None = None,
) -> None:
    """Asks, costs and tells until the budget is spent.

    Args:
        referee: of the search.
        sampler: makes one of Optuna's.
        value: of one costed design, to be minimised; or its costs, as many as `costs`.
        costs: that are minimised at once.
        constrained: whether the sampler is told the constraint's violation.
        training: trials that the sampler learns from: once there are a quarter more, half of these are the best (of
            several costs, the front's newest), the others the newest. 0 for all.
        start: int32[n] that is costed first.
    """
    import optuna

    distributions = referee.space.to_optuna()
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        made, directions = sampler(), list[Any](["minimize"] * costs)
        study = optuna.create_study(sampler=made, directions=directions)
        if start is not None:
            study.enqueue_trial(dict(zip(referee.space.names, map(int, start), strict=True)))
        asked = 0
        while True:
            if training and asked > training + training // 4:
                study, kept = optuna.create_study(sampler=made, directions=directions), _kept(study, training)
                study.add_trials(kept)
                asked = len(kept)
            trial = study.ask(distributions)
            found = referee.evaluate(referee.space.of_places(trial.params))
            told = np.atleast_1d(value(found)).tolist()
            broken = any(math.isnan(each) for each in told)  # a cost that is no number is the worst
            if constrained:
                violation = float(found.violation[0])
                trial.set_constraint("violation", max(violation, 1.0) if broken and costs > 1 else violation)
            study.tell(trial, [math.inf if math.isnan(each) else each for each in told])
            asked += 1
    finally:
        optuna.logging.set_verbosity(verbosity)


def quiet(make: Callable[[], Sampler]) -> Sampler:
    """A sampler, made without the warning that it, or one of its arguments, is experimental."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return make()


def gaussian_processes(startup_samples: int, seed: int) -> GPSampler:
    """Optuna's GP sampler of costs without noise."""
    from optuna.samplers import GPSampler

    return quiet(lambda: GPSampler(seed=seed, n_startup_trials=startup_samples, deterministic_objective=True))


def _kept(study: Any, count: int) -> list[Any]:
    """So many of a study's trials, in their order: half of them the best, the others the newest."""
    trials = study.get_trials(deepcopy=False)
    if len(study.directions) > 1:
        best = study.best_trials
    else:
        best = sorted(trials, key=lambda trial: (max([0.0, *trial.constraints.values()]), trial.value))
        best = best[: count // 2]
    numbers = [trial.number for trial in best][-(count // 2) :]
    newest = [trial.number for trial in reversed(trials) if trial.number not in set(numbers)]
    chosen = {*numbers, *newest[: count - len(numbers)]}
    return [trial for trial in trials if trial.number in chosen]
