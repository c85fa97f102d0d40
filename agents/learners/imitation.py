"""Imitation: behaviour cloning of designs or rules, as a warm start for other learners.

An expert is a design of each instance: a heuristic's, the best heuristic's, or the one that reaches the bound. Its
actions (`FunctionalEnv.decide`) are played in the environment, and the policy learns which they were; the value learns
what the expert's episodes bring. States that only the policy's own mistakes lead to are not seen, so that small errors
may add up. Another learner goes on from the variables (`train`'s argument).
N instances, n parameters, B lanes, T steps of a rollout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.errors import DsegymError, UnknownNameError
from ...envs.core.collections import Collection
from ...envs.core.drawn import DrawnEnv, instance_of
from ...envs.core.functional import FunctionalEnv
from ...envs.core.problem import Problem
from ...envs.core.stepping import Lane, step_lanes
from .base import judged, masked
from .fitting import OPTIMISER, compressed, expanded, fit, returns_to_go
from .gradient_learner import RolloutLearner, illegal_actions, rollout_figures

__all__ = ["BEST", "OPTIMUM", "Demonstrations", "Imitation", "expert_design"]

BEST, OPTIMUM = "best", "optimum"  # of the baselines; of the bound


class Demonstrations(NamedTuple):
    """What imitation plays with."""

    params: Any  # of the instances, leaves [N, ...]
    designs: Array  # int32[N, n], the experts'; after an instance's own parameters there are zeros


class Carry(NamedTuple):
    """What a training goes on from."""

    variables: Any
    moments: Any  # of Adam
    lanes: Lane  # [B]
    observation: Array  # float32[B, n]
    mask: Array | None  # bool[B, A]
    key: Array  # uint32 words
    done: Array  # int32, updates
    updates: Array  # int32, of the whole training


class _Row(NamedTuple):
    """What an update learns from; leaves [T, B, ...]."""

    observation: Array
    mask: Array | None
    action: Array  # the expert's
    target: Array  # of the value


def expert_design(problem: Problem, expert: str) -> np.ndarray:
    """The design of an expert, int32[n].

    Args:
        problem: the instance.
        expert: a baseline; `best` of them on the cases of the search; or `optimum`, which reaches the bound.

    Raises:
        UnknownNameError: there is no such baseline.
        DsegymError: there is no baseline at all, or no design is known that reaches the bound.
    """
    if expert == OPTIMUM:
        if problem.bound.design is None:
            raise DsegymError(
                f"No design is known that reaches the bound of {problem.name}; imitate {BEST} or a baseline: "
                f"{', '.join(problem.baselines)}."
            )
        return np.asarray(problem.bound.design, np.int32)
    if not problem.baselines:
        raise DsegymError(f"{problem.scenario} has no baseline to imitate.")
    if expert != BEST and expert not in problem.baselines:
        raise UnknownNameError("expert", expert, (BEST, OPTIMUM, *problem.baselines))
    if expert != BEST:
        return np.asarray(problem.baselines[expert](), np.int32)
    designs = np.stack([np.asarray(maker(), np.int32) for maker in problem.baselines.values()])
    return designs[int(np.argmin(problem.evaluate(designs).objective))]


@dataclass(frozen=True)
class Imitation(RolloutLearner):
    """Every lane plays the expert of its instance; cross-entropy of its actions, squared error of its returns.

    Attributes:
        expert: as of `expert_design`.
    """

    expert: str = BEST
    trace: float = 1.0  # lambda of the value's targets

    name = "imitation"
    summary = "behaviour cloning of the best heuristic, or another expert (flax, Optax)"
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {**RolloutLearner.ranges, "expert": (1, 100)}

    def environment(self, collection: Collection) -> tuple[DrawnEnv, Demonstrations]:
        """The collection's training part, each instance beside its expert's design.

        Raises:
            DsegymError: as `expert_design`, of any instance.
        """
        env, params = collection.environment("train")
        designs = [expert_design(problem, self.expert) for problem in collection.problems("train")]
        own = jax.eval_shape(lambda: env.inner.design(*_first(env.inner, instance_of(params, 0))))
        return env, Demonstrations(params, _filled(designs, 0 if own is None else own.shape[0]))

    def begin(self, env: FunctionalEnv[Any, Any], params: Demonstrations, key: Array, updates: int) -> Carry:
        """As `first`.

        Raises:
            DsegymError: there are no demonstrations, or as `first`.
        """
        if not isinstance(params, Demonstrations) or not isinstance(env, DrawnEnv):
            raise DsegymError(f"{self.name} plays with what its `environment` makes of a collection.")
        variables, lanes, observation, mask, rest = self.first(env, params.params, key)
        moments = OPTIMISER.init(variables)
        return Carry(variables, moments, lanes, observation, mask, rest, jnp.int32(0), jnp.int32(updates))

    def update(self, env: DrawnEnv, params: Demonstrations, carry: Carry) -> tuple[Carry, Mapping[str, Array]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A rollout of T steps of the experts, then the epochs over it, in minibatches."""
        network: Any = self.network(env)  # flax types what `apply` returns too widely
        designs = jnp.asarray(params.designs)

        def step(at: tuple[Lane, Array, Array | None], _: None) -> tuple[Any, Any]:
            lanes, observation, mask = at
            experts = designs[lanes.state.instance]
            action = jax.vmap(lambda design, state: env.decide(design, state, params.params))(experts, lanes.state)
            lanes, found = step_lanes(env, lanes, action, params.params)
            row = (observation, mask, action, found.reward, found.terminal, illegal_actions(found))
            return (lanes, found.observation, found.action_mask), row

        start = (carry.lanes, carry.observation, carry.mask)
        (lanes, observation, mask), seen = jax.lax.scan(step, start, None, length=self.rollout)
        observations, masks, actions, reward, terminal, illegal = seen
        _, value = network.apply(carry.variables, observations, masks)
        _, last = network.apply(carry.variables, observation, mask)
        target = returns_to_go(
            reward, terminal, expanded(value), expanded(last), discount=self.discount, trace=self.trace
        )
        rows = _Row(observations, masks, actions, target)

        def loss(variables: Any, row: _Row) -> tuple[Array, Mapping[str, Array]]:
            logits, value = network.apply(variables, row.observation, row.mask)
            log_probability, _ = judged(logits, row.mask, row.action, value.shape)
            agrees = jnp.argmax(masked(logits, row.mask), axis=-1) == row.action
            error = jnp.mean((value - compressed(row.target)) ** 2)
            accuracy = agrees.reshape(*value.shape, -1).all(-1).mean(dtype=jnp.float32)
            figures = {"accuracy": accuracy, "cross_entropy": -log_probability.mean(), "value_error": error}
            return self.value_weight * error - log_probability.mean(), figures

        keys = jax.random.split(self.update_key(carry), self.epochs)
        variables, moments, figures = fit(
            loss, carry.variables, carry.moments, rows, keys=keys, minibatches=self.minibatches, rate=self.rate(carry)
        )
        figures = {**rollout_figures(reward, terminal, illegal), **figures}
        return Carry(variables, moments, lanes, observation, mask, carry.key, carry.done + 1, carry.updates), figures


def _first(env: FunctionalEnv[Any, Any], params: Any) -> tuple[Any, Any]:
    """The state after `start`, and the params."""
    return env.start(jax.random.key(0), params), params


def _filled(designs: Sequence[np.ndarray], least: int) -> np.ndarray:
    """int32[N, n]: designs of one length, at least so long."""
    length = max(least, *map(len, designs))
    return np.stack([np.pad(design, (0, length - len(design))) for design in designs]).astype(np.int32)
