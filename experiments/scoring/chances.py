"""How likely an agent's trial beats another's, instance by instance, of what counts of trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ..formats import rounded
from . import statistics
from .field import GRID, Field, FieldTrial
from .leaderboard import BOOTSTRAP_SEED
from .learning import Interval

__all__ = ["BEATS", "EVEN", "LEAST_SEEDS", "LOSES", "UNDECIDED", "Chance", "chances"]

EVEN = 0.5  # the chance where neither is better
LEAST_SEEDS = 5  # of both agents for a verdict: with four, all on one side is luck in one case of 35
BEATS, LOSES, UNDECIDED = "beats", "loses", "undecided"  # verdicts


@dataclass(frozen=True)
class Chance:
    """How likely a trial of an agent holds a better design than one of another; ties count half."""

    interval: Interval
    seeds: int  # of the agent with the fewer

    @property
    def verdict(self) -> str:
        """`BEATS` or `LOSES` where the interval leaves no doubt and seeds suffice, else `UNDECIDED`."""
        low, high = self.interval.low, self.interval.high
        if low is None or high is None or self.seeds < LEAST_SEEDS:
            return UNDECIDED
        return BEATS if low > EVEN else LOSES if high < EVEN else UNDECIDED


def chances(field: Field, other: str, samples: int) -> dict[str, dict[str, Chance]]:
    """{agent: {instance: its chance}} against another agent after so many samples, one of `GRID`.

    A trial without a feasible design loses to one that has one, and two without tie. The interval is that of
    `statistics.probability_of_improvement`, for which seeds of both agents are drawn anew. Trials that may not take so
    many samples do not count; those that were cut off count with what they had found.

    Args:
        field: the trials.
        other: the agent that the others are compared with.
        samples: after which values are read.

    Raises:
        ValueError: `samples` is none of `GRID`.
    """
    place, played = GRID.index(samples), field.played()
    found: dict[str, dict[str, Chance]] = {}
    for (agent, name), trials in sorted(played.items()):
        own, beside = (_values(each, place) for each in (trials, played.get((other, name), ())))
        if agent == other or not own.size or not beside.size:
            continue
        places = -rankdata(np.concatenate([own, beside]))  # no design at all is a place, too
        estimate = statistics.probability_of_improvement(
            [places[: own.size]], [places[own.size :]], seed=BOOTSTRAP_SEED
        )
        ends = (rounded(float(each)) for each in estimate)
        found.setdefault(agent, {})[name] = Chance(Interval(*ends), min(own.size, beside.size))
    return found


def _values(trials: Sequence[FieldTrial], place: int) -> NDArray[np.float64]:
    """Values of the trials that may take so many samples; infinite before the first feasible design."""
    reached = [trial.values[place] for trial in trials if len(trial.values) > place]
    return np.array([np.inf if value is None else value for value in reached])
