"""One-shot families: a cost function gives a problem and two environments. Shapes: n parameters, C the most values."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from .evaluation import LEAST_OBJECTIVE, Evaluation, Yardstick
from .features import Discrete, Feature, MultiDiscrete
from .functional import FunctionalEnv
from .problem import Problem, YardstickRule, costed, enumerated, given

if TYPE_CHECKING:
    from .options import Options
    from .spaces import DesignSpace

__all__ = [
    "ONE_SHOT_FORMS",
    "ContextualEnv",
    "OneShotParams",
    "OneShotState",
    "ParametricEnv",
    "SequentialEnv",
    "one_shot_problem",
]


class OneShotState(NamedTuple):
    """Where a one-shot episode stands."""

    design: Array  # int32[n], indices chosen so far, 0 where not yet chosen
    step: Array  # int32[], parameters chosen so far
    objective: Array  # float32[], of the finished design; 0 before
    feasible: Array  # bool[], of the finished design; False before
    illegal: Array  # int32[], actions so far that the mask forbade


class OneShotParams(NamedTuple):
    """What tells instances of one cost function and space apart."""

    given: Any  # the problem's params
    reference: Any  # float32[], the reference's value: the zero of the reward
    context: Mapping[str, Any] | None = None  # {feature: values}, of a contextual form


@dataclass(frozen=True)
class _OneShotEnv(FunctionalEnv[OneShotState, OneShotParams]):
    """What the two one-shot forms share.

    Reward: 0 before the end; then log(reference / objective), so that 0 is the reference and more is better.

    Attributes:
        cost: of the problem.
        cardinalities: of its space, [n].
    """

    cost: Callable[[Any, Any], Evaluation]
    cardinalities: tuple[int, ...]

    @classmethod
    def of(cls, problem: Problem) -> _OneShotEnv:
        """The form of a problem."""
        return cls(problem.cost, tuple(problem.space.cardinalities.tolist()))

    def params_of(self, problem: Problem) -> OneShotParams:
        """The problem's, and the reference's value."""
        return OneShotParams(problem.params, np.float32(problem.reference.value))

    @property
    def features(self) -> Sequence[Feature]:
        """Of every parameter: whether it is chosen, and its index."""
        n = (len(self.cardinalities),)
        return (
            Feature("chosen", n, meaning="1 for each parameter that is chosen"),
            Feature("index", n, meaning="each parameter's index over its largest index; 0 where not chosen"),
        )

    def start(self, key: Array, params: OneShotParams) -> OneShotState:
        """No parameter is chosen."""
        del key, params
        return OneShotState(
            jnp.zeros(len(self.cardinalities), jnp.int32), jnp.int32(0), jnp.float32(0), jnp.bool_(False), jnp.int32(0)
        )

    @abstractmethod
    def advance(self, state: OneShotState, action: Array, params: OneShotParams) -> OneShotState: ...

    def observe(self, state: OneShotState, params: OneShotParams) -> Mapping[str, Any]:
        """See `features`."""
        del params
        return {
            "chosen": jnp.arange(len(self.cardinalities)) < state.step,
            "index": state.design / np.maximum(np.array(self.cardinalities, np.int32) - 1, 1),
        }

    def over(self, state: OneShotState, params: OneShotParams) -> Array:
        """Whether every parameter is chosen."""
        del params
        return state.step >= len(self.cardinalities)

    def reward(self, state: OneShotState, next_state: OneShotState, params: OneShotParams) -> Array:
        """float32: log(reference / objective) of the finished design, 0 before."""
        del state
        done = self.over(next_state, params)
        objective = jnp.maximum(jnp.where(done, next_state.objective, 1.0), LEAST_OBJECTIVE)
        return jnp.where(done, jnp.log(params.reference / objective), 0.0)

    def final_info(self, state: OneShotState, params: OneShotParams) -> dict[str, Array]:
        """The finished episode's design, objective and feasibility."""
        del params
        return {"design": state.design, "objective": state.objective, "feasible": state.feasible}

    def design(self, state: OneShotState, params: OneShotParams) -> Array:
        """int32[n]."""
        del params
        return state.design

    def evaluation(self, state: OneShotState, params: OneShotParams) -> Evaluation:
        """Costs of the design."""
        return self.cost(state.design, params.given)


def _costed_where(cost: Callable[[Any, Any], Evaluation], done: Any, design: Array, params: Any) -> tuple[Array, Array]:
    """The design's objective and feasibility where it is done, else 0 and False, at no cost.

    Of many lanes, which are done in the same step as a rule, all are costed where one is: `lax.cond` under `vmap` would
    cost them at every step.
    """

    def one(done: Array, design: Array, params: Any) -> tuple[Array, Array]:
        evaluation = cost(design, params)
        return jnp.where(done, evaluation.objective, jnp.float32(0)), done & evaluation.feasible

    @jax.custom_batching.custom_vmap
    def costed(done: Array, design: Array, params: Any) -> tuple[Array, Array]:
        nothing = (jnp.float32(0), jnp.bool_(False))
        return jax.lax.cond(done, lambda: one(done, design, params), lambda: nothing)

    @costed.def_vmap
    def lanes(size: int, batched: Any, done: Array, design: Array, params: Any) -> Any:
        axes = jax.tree.map(lambda each: 0 if each else None, batched)
        nothing = (jnp.zeros(size, jnp.float32), jnp.zeros(size, bool))
        every = jax.vmap(one, in_axes=tuple(axes), axis_size=size)
        return jax.lax.cond(jnp.any(done), lambda: every(done, design, params), lambda: nothing), (True, True)

    return costed(jnp.asarray(done), design, params)


class ParametricEnv(_OneShotEnv):
    """One MultiDiscrete action sets every parameter; an episode is one step."""

    horizon = 1

    @property
    def action_space(self) -> MultiDiscrete:
        """An index for each parameter."""
        return MultiDiscrete(np.array(self.cardinalities, np.int32), dtype=np.int32)  # pyright: ignore

    def advance(self, state: OneShotState, action: Array, params: OneShotParams) -> OneShotState:
        """Sets every parameter; an index that is too large counts as the largest."""
        counts = np.array(self.cardinalities, np.int32)
        design = _clip(action, counts)
        evaluation = self.cost(design, params.given)
        step = jnp.int32(len(counts))
        return OneShotState(design, step, evaluation.objective, evaluation.feasible, state.illegal)

    def decide(self, design: Array, state: OneShotState, params: OneShotParams) -> Array:
        """The design."""
        del state, params
        return design


class SequentialEnv(_OneShotEnv):
    """A Discrete action sets the next parameter; an episode is n steps. Actions beyond its values are masked."""

    @property
    def horizon(self) -> int:
        """n: a step for each parameter."""
        return len(self.cardinalities)

    @property
    def action_space(self) -> Discrete:
        """The index of the next parameter."""
        return Discrete(max(self.cardinalities))

    def advance(self, state: OneShotState, action: Array, params: OneShotParams) -> OneShotState:
        """Sets the next parameter; a masked action counts as the parameter's largest index."""
        value = _clip(action, jnp.asarray(self.cardinalities)[state.step])
        here = jnp.arange(len(self.cardinalities)) == state.step  # a select: scatters are slow on CPUs
        illegal = state.illegal + (value != action)
        design, step = jnp.where(here, value, state.design), state.step + 1
        costed = _costed_where(self.cost, step >= len(self.cardinalities), design, params.given)
        return OneShotState(design, step, *costed, illegal)

    def decide(self, design: Array, state: OneShotState, params: OneShotParams) -> Array:
        """The next parameter's index."""
        del params
        return jnp.asarray(design)[jnp.minimum(state.step, len(self.cardinalities) - 1)]

    def action_mask(self, state: OneShotState, params: OneShotParams) -> Array:
        """bool[C]: the values of the next parameter."""
        del params
        step = jnp.minimum(state.step, len(self.cardinalities) - 1)
        return jnp.arange(max(self.cardinalities)) < jnp.asarray(self.cardinalities)[step]

    def picture(self, problem: Problem, first: OneShotState, actions: Sequence[Any]) -> Diagram | None:
        """The bars of what is set, where the family has no diagram of its own."""
        if problem.diagram is not None:
            return None
        design, begun = np.array(first.design), int(first.step)
        largest = np.array(self.cardinalities) - 1
        for step, action in enumerate(actions, begun):
            design[step] = np.clip(action, 0, largest[step])
        return problem.bars(design, begun + len(actions))

    def final_info(self, state: OneShotState, params: OneShotParams) -> dict[str, Array]:
        """As of both forms, and `illegal_actions`."""
        return {**super().final_info(state, params), "illegal_actions": state.illegal}


class ContextualEnv(SequentialEnv):
    """The sequential form for policies that carry over: the observation also says what the instance is like.

    A family writes `context_features` and `context`.
    """

    context_features: ClassVar[Sequence[Feature]] = ()

    def context(self, problem: Problem) -> Mapping[str, Any]:
        """{feature: values}, as of `context_features`; on the host, once for an instance."""
        raise NotImplementedError(f"{type(self).__name__} writes no `context`.")

    def params_of(self, problem: Problem) -> OneShotParams:
        """As of the sequential form, and the context."""
        context = {name: np.asarray(values, np.float32) for name, values in self.context(problem).items()}
        return super().params_of(problem)._replace(context=context)

    @property
    def features(self) -> Sequence[Feature]:
        """Of every parameter, then of the instance."""
        return (*super().features, *self.context_features)

    def observe(self, state: OneShotState, params: OneShotParams) -> Mapping[str, Any]:
        """See `features`."""
        assert params.context is not None
        context = {feature.name: params.context[feature.name] for feature in self.context_features}
        return {**super().observe(state, params), **context}


def _clip(index: Any, cardinality: Any) -> Array:
    return jnp.clip(jnp.asarray(index, jnp.int32), 0, cardinality - 1)


ONE_SHOT_FORMS: Mapping[str, Callable[[Problem], FunctionalEnv[Any, Any]]] = {
    "parametric": ParametricEnv.of,
    "sequential": SequentialEnv.of,
}


def one_shot_problem(
    *,
    options: Options,
    space: DesignSpace,
    reference: tuple[str, Mapping[str, object], str],
    bound: Yardstick | YardstickRule | None = None,
    **fields: Any,
) -> Problem:
    """A problem with the two one-shot forms, whose reference is a design, and whose optimum is enumerated if no bound
    is given; both are costed when they are asked for, on the held-out cases where there are any.

    Args:
        options: of the instance.
        space: the design space.
        reference: the baseline's name, its design as {parameter: value}, and where it comes from.
        bound: needed where the space has more than `problem.ENUMERABLE` designs.
        **fields: the remaining fields of `Problem`.

    Raises:
        InvalidDesignError: the reference is not in the space.
        DsegymError: no bound is given and the space is too large to enumerate.
    """
    name, values, source = reference
    design = tuple(space.encode(values).tolist())
    if bound is None:
        bound = enumerated(space)
    return Problem(
        instance=options,
        space=space,
        reference_rule=costed(name, lambda problem: design, source),
        bound_rule=given(bound) if isinstance(bound, Yardstick) else bound,
        **{"forms": ONE_SHOT_FORMS, **fields},
    )
