"""The problem: what a search agent sees of an instance, whatever family it comes from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from ...costmodels import wide
from ...costmodels.breakdown import Breakdown
from ...costmodels.errors import DsegymError, UnknownNameError
from .spaces import DesignSpace

if TYPE_CHECKING:
    from ...costmodels.diagram import Diagram
    from .functional import FunctionalEnv

__all__ = ["ENUMERABLE", "Evaluation", "Objective", "Problem", "Sweep", "Yardstick", "one_shot_problem"]

# Batches are padded to one of these sizes, so that a problem compiles four times at most whatever agents ask for; the
# default of `Problem.batch_sizes`.
BATCH_SIZES = (1, 128, 1024, 4096)

ENUMERABLE = 2**16  # designs of a space that `one_shot_problem` enumerates when it is made: well under a second


class Evaluation(NamedTuple):
    """Costs of designs; scalars from a cost function, arrays [B] from `Problem.evaluate`."""

    metrics: Any  # the family's named tuple, the unit in every field name
    objective: Any  # float32, to be minimised; a penalty above every feasible value where not feasible
    feasible: Any  # bool, whether the constraints hold


@dataclass(frozen=True)
class Objective:
    """What an instance minimises."""

    name: str
    unit: str
    summary: str


@dataclass(frozen=True)
class Yardstick:
    """A value to hold results against.

    Attributes:
        name: of the baseline (for a reference), or `optimum`, `bound` or `best known` (for a bound).
        value: in the objective's unit.
        source: where it comes from: a command, a paper, a derivation.
        design: int32[n] that has this value, if there is one.
    """

    name: str
    value: float
    source: str
    design: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Sweep:
    """How an instance's designs and yardsticks are drawn against one of its options, a budget say.

    Attributes:
        option: of the scenario; designs keep their meaning when it changes.
        values: of the option, ascending numbers.
        x_label, y_label: the axes' names with units.
        to_y: the objective's value as it is drawn, `lambda failure: 1 - failure` for an accuracy.
        baselines: drawn beside the reference, the bound and the best design found.
        own: the one of `values` that the option's value stands for where it is a word.
    """

    option: str
    values: tuple[str, ...]
    x_label: str
    y_label: str
    to_y: Callable[[float], float]
    baselines: tuple[str, ...] = ()
    own: str = ""


@functools.partial(jax.jit, static_argnums=0)
def _evaluate_batch(cost: Callable, designs: jax.Array, params: Any) -> Evaluation:
    return jax.vmap(cost, in_axes=(0, None))(designs, params)


def _one_shot_forms() -> Mapping[str, Callable[[Problem], FunctionalEnv]]:
    from .functional import ONE_SHOT_FORMS  # which builds on this module

    return ONE_SHOT_FORMS


def _to_host(leaf: Any, count: int) -> np.ndarray:
    """The first `count` rows of a leaf in NumPy; exact integers as int64."""
    return (wide.to_int64(leaf) if isinstance(leaf, wide.Wide) else np.asarray(leaf))[:count]


@dataclass(frozen=True, eq=False)
class Problem:
    """An instance: a scenario with its workload, platform and objective fixed.

    Attributes:
        scenario: the registered environment id.
        options: the instance's options, every default filled in.
        space: the design space.
        objective: what is minimised.
        cost: pure JAX, `(design int32[n], params) -> Evaluation` of scalars; the same object for all instances that
            differ in `params` only, so that they share compiled code.
        params: a pytree of arrays, the second argument of `cost`.
        reference: the named baseline's value; where there are held-out cases, its value on them.
        bound: the optimum, a proven bound, or (labelled so) the best known value; on the held-out cases likewise.
        forms: {form: makes the functional environment}, the first being the default; a one-shot family's two when left
            out.
        breakdown: `({name: value}) -> Breakdown` of one design; values need not be in the space.
        relaxation: `(weights, params) -> float32`, a differentiable stand-in for log(objective) with a penalty for
            broken constraints; `weights` is a tuple of float32[values of parameter i], each summing to 1. None where
            the model has none.
        baselines: {name: makes its design, int[n]}, the family's heuristics: deterministic, computed when asked.
        diagram: one design, int[n], as a picture for a person. None where the family has none.
        batch_sizes: what batches are padded to, ascending; each compiles once. Where a design's cost is a long rollout,
            smaller ones than the default waste less.
        notes: what is synthetic or uncalibrated.
        held_out_params: a pytree like `params`, of the held-out cases that scores are taken on; None where the search's
            own values are the scores. Of the same shapes and dtypes, it shares the compiled code.
        sweep: the option that results are drawn against. None where there is none.
    """

    scenario: str
    options: Mapping[str, str]
    space: DesignSpace
    objective: Objective
    cost: Callable[[Any, Any], Evaluation]
    params: Any
    reference: Yardstick
    bound: Yardstick
    forms: Mapping[str, Callable[[Problem], FunctionalEnv]] = field(default_factory=_one_shot_forms)
    breakdown: Callable[[Mapping[str, Any]], Breakdown] | None = None
    relaxation: Callable[[Any, Any], Any] | None = None
    baselines: Mapping[str, Callable[[], Sequence[int]]] = field(default_factory=dict)
    diagram: Callable[[np.ndarray], Diagram] | None = None
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    notes: Sequence[str] = field(default=())
    held_out_params: Any = None
    sweep: Sweep | None = None

    @property
    def name(self) -> str:
        """A short name of the instance: its options."""
        return ", ".join(f"{key}={value}" for key, value in self.options.items())

    def evaluate(self, designs: object) -> Evaluation:
        """Costs a batch of designs.

        Args:
            designs: integers [B, n] (or one design [n]).

        Returns:
            `Evaluation` of NumPy arrays [B]: metrics (exact counts as int64), objective (float64), feasible (bool).
            The values do not depend on how designs are batched.

        Raises:
            InvalidDesignError: wrong dtype or shape, or an index out of range.
        """
        return self._evaluate_with(self.params, designs)

    def evaluate_held_out(self, designs: object) -> Evaluation:
        """Costs a batch of designs on the held-out cases, for scores; no agent sees these values.

        Takes, returns and raises as `evaluate` does, and is `evaluate` where there are no such cases.
        """
        return self._evaluate_with(self.params if self.held_out_params is None else self.held_out_params, designs)

    def _evaluate_with(self, params: Any, designs: object) -> Evaluation:
        checked = self.space.check(designs)
        largest = self.batch_sizes[-1]
        starts = range(0, max(len(checked), 1), largest)
        parts = [self._evaluate_padded(params, checked[start : start + largest]) for start in starts]
        return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def _evaluate_padded(self, params: Any, designs: np.ndarray) -> Evaluation:
        count = len(designs)
        size = next(size for size in self.batch_sizes if size >= count)
        padded = np.zeros((size, len(self.space)), np.int32)
        padded[:count] = designs
        result = _evaluate_batch(self.cost, padded, params)
        result = jax.tree.map(
            lambda leaf: _to_host(leaf, count), result, is_leaf=lambda leaf: isinstance(leaf, wide.Wide)
        )
        return result._replace(objective=result.objective.astype(np.float64))

    @functools.cached_property
    def _warm(self) -> bool:
        for size in self.batch_sizes:
            self._evaluate_padded(self.params, np.zeros((size, len(self.space)), np.int32))
        return True

    def warm_up(self) -> None:
        """Compiles the cost model for every batch size, so that no trial pays for it; costs nothing the second time."""
        _ = self._warm

    @functools.cached_property
    def as_searched(self) -> Problem:
        """The problem as agents and environments meet it: without the held-out cases, and with the reference's value on
        the search's own cases, where it has a design. The problem itself where there are no held-out cases.
        """
        if self.held_out_params is None:
            return self
        reference = self.reference
        if reference.design is not None:
            reference = replace(reference, value=float(self.evaluate(reference.design).objective[0]))
        return replace(self, reference=reference, held_out_params=None)

    def decode(self, design: object) -> dict[str, int | float | str]:
        """{name: value} of one design, int[n]."""
        return self.space.decode(design)

    def functional_env(self, form: str | None = None) -> FunctionalEnv:
        """A fresh functional environment in the given form (the first of `forms` when left out).

        Raises:
            UnknownNameError: there is no such form.
        """
        form = form or next(iter(self.forms))
        if form not in self.forms:
            raise UnknownNameError("form", form, self.forms)
        return self.forms[form](self.as_searched)


def one_shot_problem(
    *,
    reference: tuple[str, Mapping[str, object], str],
    bound: Yardstick | None = None,
    space: DesignSpace,
    **fields: Any,
) -> Problem:
    """A problem whose reference is costed here, and whose optimum is enumerated here if the space is small; both on the
    held-out cases where there are any.

    Args:
        reference: the baseline's name, its design as {parameter: value}, and where it comes from.
        bound: needed where the space has more than `ENUMERABLE` designs.
        space: the design space.
        **fields: the remaining fields of `Problem`.

    Raises:
        InvalidDesignError: the reference is not in the space.
        DsegymError: no bound is given and the space is too large to enumerate.
    """
    name, values, source = reference
    unknown = Yardstick("", float("nan"), "")
    problem = Problem(space=space, reference=unknown, bound=unknown, **fields)
    design = space.encode(values)
    value = float(problem.evaluate_held_out(design).objective[0])
    if bound is None:
        if space.size > ENUMERABLE:
            raise DsegymError(f"{problem.scenario}: {space.size} designs are too many to enumerate; give a bound.")
        everything = space.enumerate(0, space.size)
        result = problem.evaluate_held_out(everything)
        best = int(np.argmin(np.where(result.feasible, result.objective, np.inf)))
        optimum = float(result.objective[best])
        bound = Yardstick("optimum", optimum, "exhaustive enumeration", tuple(map(int, everything[best])))
    return replace(problem, reference=Yardstick(name, value, source, tuple(map(int, design))), bound=bound)
