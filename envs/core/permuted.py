"""Permuted instances: each parameter's values in another order, so that lucky neighbours decide nothing.

An agent meets parameters whose values are in no order; costs, yardsticks and all that is told by values stay what they
are. n parameters of at most C values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.errors import DsegymError
from ...costmodels.solver import Limits, Solver
from .evaluation import Evaluation, Yardstick
from .one_shot import ONE_SHOT_FORMS, ParametricEnv, SequentialEnv
from .options import Options
from .problem import Problem, YardstickRule
from .spaces import DesignSpace

__all__ = ["permuted_problem"]


class PermutedParams(NamedTuple):
    """The params of a permuted problem."""

    own: Any  # int32[n, C], the place that a value had before; of a parameter with fewer values the rest are 0
    places: Any  # int32[n, C], the inverse: the place that it has now
    given: Any  # the problem's params


@dataclass(frozen=True)
class _Cost:
    """The cost function of permuted designs; equal for equal cost functions, so that they share compiled code."""

    cost: Callable[[Any, Any], Evaluation]

    def __call__(self, design: Array, params: PermutedParams) -> Evaluation:
        own = jnp.take_along_axis(jnp.asarray(params.own), jnp.asarray(design)[:, None], axis=1)[:, 0]
        return self.cost(own, params.given)


@dataclass(frozen=True)
class _Relaxation:
    """The relaxation of permuted weights."""

    relaxation: Callable[[Any, Any], Any]

    def __call__(self, weights: Sequence[Any], params: PermutedParams) -> Any:
        own = tuple(each[params.places[place, : len(each)]] for place, each in enumerate(weights))
        return self.relaxation(own, params.given)


def permuted_problem(problem: Problem, options: Options, seed: int) -> Problem:
    """A problem with the values of each parameter in an order that the seed draws.

    Args:
        problem: as it is.
        options: of the permuted instance.
        seed: of the orders.

    Raises:
        DsegymError: the problem has no one-shot form.
    """
    forms = {
        name: form
        for name, form in ONE_SHOT_FORMS.items()
        if name in problem.forms and isinstance(problem.functional_env(name), ParametricEnv | SequentialEnv)
    }
    if not forms:
        raise DsegymError(
            f"permutation = {seed} reorders the values of one-shot designs, and {problem.scenario} has designs that "
            f"are made step by step only ({', '.join(problem.forms)}): leave permutation out."
        )
    generator = np.random.default_rng(np.random.SeedSequence([seed, len(problem.space)]))
    orders = [generator.permutation(count) for count in problem.space.cardinalities]
    own = np.zeros((len(orders), max(map(len, orders))), np.int32)
    places = own.copy()
    for row, order in enumerate(orders):
        own[row, : len(order)] = order
        places[row, order] = np.arange(len(order))
    space = DesignSpace(
        tuple(
            replace(parameter, values=tuple(parameter.values[i] for i in order), ordered=False, ranking="")
            for parameter, order in zip(problem.space.parameters, orders, strict=True)
        )
    )
    rows = np.arange(len(orders))

    def now(design: object) -> np.ndarray:
        """Designs int[..., n] with each value's place now."""
        return places[rows, np.asarray(design, np.int32)]

    def yardstick(of: Callable[[Problem], Yardstick]) -> YardstickRule:
        def rule(asked: Problem) -> Yardstick:
            as_searched = asked.held_out_params is None and problem.held_out_params is not None
            found = of(problem.as_searched if as_searched else problem)
            return found if found.design is None else replace(found, design=tuple(now(found.design).tolist()))

        return rule

    def mapped(solver: Solver) -> Solver:
        def designs(limits: Limits) -> Generator[Sequence[int], None, None]:
            with contextlib.closing(solver(limits)) as found:
                for design in found:
                    yield now(design).tolist()

        return designs

    diagram, ranked = problem.diagram, problem.ranked
    held_out = problem.held_out_params
    return replace(
        problem,
        instance=options,
        space=space,
        cost=_Cost(problem.cost),
        params=PermutedParams(own, places, problem.params),
        held_out_params=None if held_out is None else PermutedParams(own, places, held_out),
        reference_rule=yardstick(lambda asked: asked.reference),
        bound_rule=yardstick(lambda asked: asked.bound),
        forms=forms,
        relaxation=None if problem.relaxation is None else _Relaxation(problem.relaxation),
        baselines={name: lambda make=make: now(make()) for name, make in problem.baselines.items()},
        diagram=None if diagram is None else lambda design: diagram(own[rows, design]),
        ranked=None if ranked is None else lambda count: now(ranked(count)),
        solvers={name: mapped(solver) for name, solver in problem.solvers.items()},
        notes=(*problem.notes, f"The values of each parameter are in an order that permutation {seed} draws."),
    )
