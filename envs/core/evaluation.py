"""What a design costs, what an instance minimises, and the values that results are held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = [
    "BOUNDS",
    "LEAST_OBJECTIVE",
    "LEAST_ROOM",
    "Evaluation",
    "Expert",
    "Objective",
    "Sweep",
    "Yardstick",
    "looseness_of",
    "obstacle_between",
]

# {name of a bound: what it is; empty where it is the optimum}.
BOUNDS: Mapping[str, str] = {
    "optimum": "",
    "bound": "a lower bound, not tight",
    "oracle": "an oracle's, which knows what is hidden, so that no policy need reach it",
    "best known": "the best known value, which may not be the optimum",
}
LEAST_OBJECTIVE = 1e-12  # that logarithms take it for: a share of failures can be 0
LEAST_ROOM = 1e-6  # relative, between reference and bound: less is the rounding of float32


class Evaluation(NamedTuple):
    """Costs of designs; scalars from a cost function, arrays [B] from `Problem.evaluate`."""

    metrics: Any  # the family's named tuple, the unit in every field name
    objective: Any  # float32, to be minimised; a penalty above every feasible value where not feasible
    feasible: Any  # bool, whether the constraints hold
    # float32, for searches that model constraints: at most 0 where feasible, else how far beyond, as a share of the
    # limit. A cost function that leaves it out has 0 where feasible and 1 where not.
    violation: Any = None
    # float32, the objective as if there were no constraints; one that leaves it out has `objective`.
    unpenalised: Any = None
    # float32[parts], what each of the problem's `parts` costs; None where it has none.
    parts: Any = None


@dataclass(frozen=True)
class Objective:
    """What an instance minimises.

    Attributes:
        name: of the quantity.
        unit: of its values; empty for a pure number.
        summary: one line for the user.
        exact_metric: the metric, an exact integer in the objective's unit, that the objective rounds to float32;
            `Problem.evaluate` gives feasible designs this value. Empty where no metric is.
    """

    name: str
    unit: str
    summary: str
    exact_metric: str = ""


@dataclass(frozen=True)
class Yardstick:
    """A value to hold results against.

    Attributes:
        name: of the baseline (for a reference), or of a bound: `optimum`; `bound`, which is proven; `oracle`, what one
            reaches that knows what is hidden, so that no policy does better but by luck; or `best known`.
        value: in the objective's unit.
        source: where it comes from: a command, a paper, a derivation.
        design: int32[n] that has this value, if there is one.
        remedy: of a bound that may not be tight, what `dsegym bound` does about it, in words; empty where it does
            nothing.
    """

    name: str
    value: float
    source: str
    design: tuple[int, ...] | None = None
    remedy: str = ""

    @property
    def looseness(self) -> str:
        """As of `looseness_of`."""
        return looseness_of(self.name)


def looseness_of(name: str) -> str:
    """Why a gap to a bound of this name is no gap to the optimum, in words; empty where it is one."""
    return BOUNDS.get(name, "of no known kind, so that it may not be the optimum")


def obstacle_between(reference: float, bound: float) -> str:
    """Why no result can be scored between a reference (0) and a bound (1), in words; empty where it can."""
    found = f"reference {reference:.7g} is not above bound {bound:.7g}"
    if not (math.isfinite(reference) and math.isfinite(bound)):
        return f"{found}: both must be finite"
    if reference <= 0 or bound < 0:
        return f"reference {reference:.9g} and bound {bound:.9g}: an objective must be positive"
    if reference - bound <= LEAST_ROOM * reference:
        return f"{found}: the reference is as good as anything can be"
    return ""


@dataclass(frozen=True)
class Sweep:
    """How an instance's designs and yardsticks are drawn against one of its options, a budget say.

    Attributes:
        option: of the scenario; designs keep their meaning when it changes.
        values: of the option, ascending numbers.
        x_label, y_label: the axes' names with units.
        to_y: the objective's value as it is drawn; the accuracy of a failure when left out.
        baselines: drawn beside the reference, the bound and the best design found.
        own: the one of `values` that the option's value stands for where it is a word.
    """

    option: str
    values: tuple[str, ...]
    x_label: str
    y_label: str
    to_y: Callable[[float], float] = lambda failure: 1 - failure
    baselines: tuple[str, ...] = ()
    own: str = ""


@dataclass(frozen=True)
class Expert:
    """A machine that somebody built, drawn beside fronts; it need not be a design of the space.

    Attributes:
        name: an identifier.
        costs: {metric of the problem's `front`: value}.
        values: {parameter: value}, as far as the machine has them.
        source: where its sizes come from, and how sure they are.
    """

    name: str
    costs: Mapping[str, float]
    values: Mapping[str, object]
    source: str
