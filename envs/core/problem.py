"""The problem: what a search agent sees of an instance, whatever family it comes from."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ...costmodels import wide
from ...costmodels.breakdown import Breakdown
from ...costmodels.diagram import Diagram, index_bars
from ...costmodels.errors import DsegymError, UnknownNameError
from ...costmodels.solver import Solver
from .door import check_door
from .evaluation import Evaluation, Expert, Objective, Sweep, Yardstick, obstacle_between
from .forks import refuse_after_fork
from .options import Options, texts
from .spaces import DesignSpace

if TYPE_CHECKING:
    from .functional import FunctionalEnv

__all__ = ["ENUMERABLE", "Problem", "YardstickRule", "bounded", "costed", "enumerated", "evaluate_batch", "given"]

# Batches are padded to one of these sizes, so that a problem compiles four times at most whatever agents ask for; the
# default of `Problem.batch_sizes`.
BATCH_SIZES = (1, 128, 1024, 4096)
# The sizes that follow a problem's own where JAX runs on an accelerator, which small batches leave idle.
ACCELERATOR_BATCH_SIZES = (4096, 16384)

ENUMERABLE = 2**16  # designs of a space that `enumerated` costs when it is asked: well under a second

YardstickRule = Callable[["Problem"], Yardstick]


def given(yardstick: Yardstick) -> YardstickRule:
    """The rule of a yardstick that is known beforehand."""
    return lambda problem: yardstick


def bounded(name: str, value: Callable[[Problem], float], source: str) -> YardstickRule:
    """The rule of a bound: its value is computed when asked for.

    Args:
        name: as of a `Yardstick`.
        value: makes the value, in the objective's unit.
        source: where it comes from.
    """
    return lambda problem: Yardstick(name, float(value(problem)), source)


def costed(name: str, design: Callable[[Problem], Sequence[int]], source: str) -> YardstickRule:
    """The rule of a reference that is a design: its value is costed when asked for, on the held-out cases if any.

    Args:
        name: of the baseline.
        design: makes the design, int[n].
        source: where the design comes from.
    """

    def rule(problem: Problem) -> Yardstick:
        chosen = tuple(int(index) for index in design(problem))
        return Yardstick(name, float(problem.evaluate_held_out(chosen).objective[0]), source, chosen)

    return rule


def enumerated(space: DesignSpace, most: int = ENUMERABLE) -> YardstickRule:
    """The rule of an optimum over all designs, on the held-out cases if any.

    Args:
        space: of the problem.
        most: designs; a family whose costs are a few products may allow more of them.

    Raises:
        DsegymError: the space has more than `most` designs.
    """
    if space.size > most:
        raise DsegymError(f"{space.size} designs are too many to enumerate; give a bound.")

    def rule(problem: Problem) -> Yardstick:
        everything = space.enumerate(0, space.size)
        result = problem.evaluate_held_out(everything)
        best = int(np.argmin(np.where(result.feasible, result.objective, np.inf)))
        return Yardstick(
            "optimum", float(result.objective[best]), "exhaustive enumeration", tuple(map(int, everything[best]))
        )

    return rule


@functools.partial(jax.jit, static_argnums=0)
def evaluate_batch(cost: Callable, designs: Any, params: Any) -> Evaluation:
    """Costs of designs, int32[B, n], compiled once for a cost function, B, and the shapes of params; leaves [B]."""
    return jax.vmap(cost, in_axes=(0, None))(designs, params)


def _to_host(leaf: Any, count: int) -> np.ndarray:
    """The first `count` rows of a leaf in NumPy; exact integers as int64."""
    return (wide.to_int64(leaf) if isinstance(leaf, wide.Wide) else np.asarray(leaf))[:count]


@dataclass(frozen=True, eq=False)
class Problem:
    """An instance: a scenario with its workload, platform and objective fixed.

    Attributes:
        instance: the instance's typed options, which know the scenario's id.
        space: the design space.
        objective: what is minimised.
        cost: pure JAX, `(design int32[n], params) -> Evaluation` of scalars; the same object for all instances that
            differ in `params` only, so that they share compiled code.
        params: a pytree of arrays, the second argument of `cost`.
        reference_rule: gives `reference`, when it is first asked for.
        bound_rule: gives `bound`.
        forms: {form: makes the functional environment}, the first being the default.
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
        ranked: `(count) -> designs int[K, n]`, K at most count, the best of the instance, best first, by costing all
            that could be. None where the family cannot.
        front: metrics that are costs, positive and to be minimised, the first two drawn against each other. Empty where
            one number says all.
        parts: the places of the parameters of each part (a layer's mapping, say) that may be chosen by itself once the
            parameters of no part are; what each costs stands in `Evaluation.parts`. Empty where all hang together.
        solvers: {name: makes designs, each better than the last}, exact methods of the search's own cases, the best for
            the family first. Empty where there is none.
        solver_libraries: {solver: the distributions that it needs beside this package's own requirements}; those that
            need none are left out.
        experts: makes the machines that are drawn beside fronts, computed when asked.
    """

    instance: Options
    space: DesignSpace
    objective: Objective
    cost: Callable[[Any, Any], Evaluation]
    params: Any
    reference_rule: YardstickRule
    bound_rule: YardstickRule
    forms: Mapping[str, Callable[[Problem], FunctionalEnv[Any, Any]]]
    breakdown: Callable[[Mapping[str, Any]], Breakdown] | None = None
    relaxation: Callable[[Any, Any], Any] | None = None
    baselines: Mapping[str, Callable[[], Sequence[int]]] = field(default_factory=dict)
    diagram: Callable[[np.ndarray], Diagram] | None = None
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    notes: Sequence[str] = field(default=())
    held_out_params: Any = None
    sweep: Sweep | None = None
    ranked: Callable[[int], np.ndarray] | None = None
    front: tuple[str, ...] = ()
    parts: tuple[tuple[int, ...], ...] = ()
    experts: Callable[[], Sequence[Expert]] = tuple
    solvers: Mapping[str, Solver] = field(default_factory=dict)
    solver_libraries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_door()

    @property
    def scenario(self) -> str:
        """The registered environment id."""
        return self.instance.scenario_id

    @functools.cached_property
    def options(self) -> Mapping[str, str]:
        """{option: canonical text}, every default filled in."""
        return texts(self.instance)

    @functools.cached_property
    def reference(self) -> Yardstick:
        """The named baseline's value; where there are held-out cases, its value on them."""
        return self.reference_rule(self)

    @functools.cached_property
    def bound(self) -> Yardstick:
        """The optimum, a proven bound, or (labelled so) the best known value; on the held-out cases likewise."""
        return self.bound_rule(self)

    @property
    def obstacle(self) -> str:
        """Why no result could be scored here, in words; empty where it can. Asks for reference and bound."""
        if self.space.size < 2:
            return "its design space has one design: there is nothing to decide"
        return obstacle_between(self.reference.value, self.bound.value)

    @functools.cached_property
    def digest(self) -> str:
        """Hexadecimal, of what is costed and scored: the scenario and every array of the params, held-out ones too.

        Equal for instances that differ in their objective alone where the family's cost function, not its params, tells
        objectives apart.
        """
        digest = hashlib.sha256(self.scenario.encode())
        for leaf in jax.tree.leaves((self.params, self.held_out_params)):
            array = np.asarray(leaf)
            digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
        return digest.hexdigest()

    @property
    def content(self) -> tuple[object, ...]:
        """Equal for instances that are one, however their options are spelled: what is costed, chosen and scored. What
        is known of the bound is left out: it may be kept beside one copy of a file and not beside another.
        """
        reference = self.reference.name, self.reference.value
        return self.scenario, self.cost, tuple(self.space.parameters), self.objective, reference, self.digest

    @property
    def name(self) -> str:
        """A short name of the instance: its options."""
        return ", ".join(f"{key}={value}" for key, value in self.options.items())

    def evaluate(self, designs: object) -> Evaluation:
        """Costs a batch of designs.

        Args:
            designs: integers [B, n] (or one design [n]).

        Returns:
            `Evaluation` of NumPy arrays [B]: metrics (exact counts as int64), objective (float64), feasible (bool),
            violation and unpenalised (float64). The values do not depend on how designs are batched.

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
        refuse_after_fork()
        largest = self._sizes[-1]
        starts = range(0, max(len(checked), 1), largest)
        parts = [self._evaluate_padded(params, checked[start : start + largest]) for start in starts]
        return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def _evaluate_padded(self, params: Any, designs: np.ndarray) -> Evaluation:
        count = len(designs)
        size = next(size for size in self._sizes if size >= count)
        padded = np.zeros((size, len(self.space)), np.int32)
        padded[:count] = designs
        result = evaluate_batch(self.cost, padded, params)
        result = jax.tree.map(
            lambda leaf: _to_host(leaf, count), result, is_leaf=lambda leaf: isinstance(leaf, wide.Wide)
        )
        objective = result.objective.astype(np.float64)
        if self.objective.exact_metric:  # float32 rounds what does not fit its 24 bits
            exact = getattr(result.metrics, self.objective.exact_metric).astype(np.float64)
            objective = np.where(result.feasible, exact, objective)
        violation, unpenalised = result.violation, result.unpenalised
        return result._replace(
            objective=objective,
            violation=np.where(result.feasible, 0.0, 1.0) if violation is None else violation.astype(np.float64),
            unpenalised=objective.copy() if unpenalised is None else unpenalised.astype(np.float64),
        )

    def exact_objective(self, designs: np.ndarray, objective: np.ndarray) -> np.ndarray:
        """float64[F]: the objectives of episodes that environments have finished, which count in float32.

        Args:
            designs: int32[F, n].
            objective: float32[F].
        """
        rounded = bool(self.objective.exact_metric) and objective.size and float(np.max(objective)) >= 2**24
        return self.evaluate(designs).objective if rounded else objective.astype(np.float64)

    @functools.cached_property
    def _sizes(self) -> tuple[int, ...]:
        """What batches are padded to, ascending."""
        more = () if jax.default_backend() == "cpu" else ACCELERATOR_BATCH_SIZES
        return (*self.batch_sizes, *(size for size in more if size > self.batch_sizes[-1]))

    @functools.cached_property
    def _warm(self) -> bool:
        for size in self._sizes:
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
        return replace(self, held_out_params=None, bound_rule=lambda problem: self.bound)

    def decode(self, design: object) -> dict[str, int | float | str]:
        """{name: value} of one design, int[n]."""
        return self.space.decode(design)

    def picture(self, design: np.ndarray) -> Diagram:
        """One design, int32[n], as a picture for a person: the family's `diagram`, or a bar for each parameter."""
        return self.bars(design) if self.diagram is None else self.diagram(design)

    def bars(self, design: np.ndarray, decided: int | None = None) -> Diagram:
        """A bar for each parameter of a design, with marks where the reference stands.

        Args:
            design: int32[n].
            decided: the first parameters are; all when left out. The others have no bar yet, and the design no cost.
        """
        count = len(self.space) if decided is None else decided
        largest = np.maximum(np.array(self.space.cardinalities) - 1, 1)
        places = (np.asarray(design) / largest).tolist()
        rows = [
            (parameter.name, parameter.text(parameter.values[index]), place) if number < count else (parameter.name,)
            for number, (parameter, index, place) in enumerate(zip(self.space.parameters, design, places, strict=True))
        ]
        reference = self.reference
        marks = () if reference.design is None else (np.asarray(reference.design) / largest).tolist()
        if count < len(self.space):
            value = f"{count} of {len(self.space)} parameters are set"
        else:
            found = self.evaluate(design)
            cost = f"{float(found.objective[0]):.4g} {self.objective.unit}" if found.feasible[0] else "not feasible"
            value = f"{self.objective.name} {cost}"
        return index_bars(f"{value}, {reference.name} {reference.value:.4g}; {self.name}", rows, marks)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled by scenario and options, and made again from them where it is loaded, with the held-out cases or, as
        searches meet it, without. What else `dataclasses.replace` changed is not kept.
        """
        from .scenarios import file_options, remake_problem, scenario_location

        options, hashes = file_options(self.instance)
        searched = self.held_out_params is None
        return remake_problem, (self.scenario, scenario_location(self.scenario), options, searched, hashes)

    def __deepcopy__(self, memo: object) -> Problem:
        """Itself: nothing about it changes."""
        return self

    def __repr__(self) -> str:
        return f"<Problem {self.scenario}: {self.name}>"

    def functional_env(self, form: str | None = None) -> FunctionalEnv:
        """The functional environment in the given form (the first of `forms` when left out).

        Raises:
            UnknownNameError: there is no such form.
        """
        form = next(iter(self.forms)) if form is None else form
        if not isinstance(form, str) or form not in self.forms:
            raise UnknownNameError("form", form, self.forms)
        return self.forms[form](self.as_searched)

    def env_params(self, form: str | None = None) -> Any:
        """What the functional environment of a form is played with: `params`, and the reference's value if rewards
        need it.

        Raises:
            UnknownNameError: there is no such form.
        """
        return self.functional_env(form).params_of(self.as_searched)
