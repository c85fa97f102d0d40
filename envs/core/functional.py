"""Functional environments over design problems: the base class, the two one-shot forms, and the way back to a problem.

A one-shot family writes a cost function and gets its environments here; a sequential family writes a `FunctionalEnv`
and gets its cost function here (`rollout_cost`). Shapes: n parameters, C the largest number of values of any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.experimental.functional import FuncEnv

from .problem import Evaluation, Problem

if TYPE_CHECKING:
    from ...costmodels.diagram import Diagram

__all__ = ["ONE_SHOT_FORMS", "FunctionalEnv", "OneShotState", "ParametricEnv", "SequentialEnv", "rollout_cost"]


class FunctionalEnv(FuncEnv):
    """Gymnasium's functional environment, plus what an episode leaves behind.

    Every method but `picture` is pure JAX on one lane; adaptors `vmap` and `jit` it. `params` is the problem's pytree.
    """

    observation_space: gymnasium.Space
    action_space: gymnasium.Space
    horizon: int  # steps in an episode, at most
    reference: float  # the reference's objective value: the zero of the reward
    # Whether an episode's `design` gives its `objective` when the problem costs it; if not, as where an episode draws
    # its own cases, the referee offers the form to no agent.
    replayable: bool = True

    def action_mask(self, state: Any, params: Any = None) -> jax.Array | None:
        """bool[number of actions], True where legal; None when every action always is."""
        del state, params
        return None

    def design(self, state: Any, params: Any = None) -> jax.Array:
        """int32[n], the design that a finished episode stands for."""
        raise NotImplementedError

    def evaluation(self, state: Any, params: Any = None) -> Evaluation:
        """Costs of a finished episode; what it holds before the end has no meaning."""
        raise NotImplementedError

    def picture(self, problem: Problem, first: Any, actions: Sequence[Any]) -> Diagram | None:
        """An episode so far, for a person; on the host, unlike the rest.

        Args:
            problem: the instance.
            first: the state after `initial`.
            actions: int32[...], what was asked for since then.

        Returns:
            None: the problem's diagram of `design(state)` shows it.
        """
        del problem, first, actions
        return None

    def step_info(self, state: Any, action: Any, next_state: Any, params: Any = None) -> dict:
        """{name: array} of what `info` holds after every step, not only the last."""
        del state, action, next_state, params
        return {}

    def transition_info(self, state: Any, action: Any, next_state: Any, params: Any = None) -> dict:
        """The finished episode's design, objective and feasibility."""
        del state, action
        evaluation = self.evaluation(next_state, params)
        return {
            "design": self.design(next_state, params),
            "objective": evaluation.objective,
            "feasible": evaluation.feasible,
        }


class OneShotState(NamedTuple):
    """Where a one-shot episode stands."""

    design: Any  # int32[n], indices chosen so far, 0 where not yet chosen
    step: Any  # int32[], parameters chosen so far
    objective: Any  # float32[], of the finished design; 0 before
    feasible: Any  # bool[], of the finished design; False before


class _OneShotEnv(FunctionalEnv):
    """What the two one-shot forms share.

    Observation: float32[2n] in [0, 1]; for each parameter, whether it is chosen, and its index over its largest index.
    Reward: 0 before the end; then log(reference / objective), so that 0 is the reference and more is better.
    """

    def __init__(self, problem: Problem):
        super().__init__()
        self._cost = problem.cost
        self._cardinalities = problem.space.cardinalities
        self.reference = problem.reference.value
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (2 * len(problem.space),), np.float32)

    def initial(self, rng: Any, params: Any = None) -> OneShotState:
        """No parameter is chosen."""
        del rng, params
        return OneShotState(
            jnp.zeros(len(self._cardinalities), jnp.int32), jnp.int32(0), jnp.float32(0), jnp.bool_(False)
        )

    def _advance(self, design: Any, step: Any, params: Any) -> OneShotState:
        """The state with the design costed if it is complete: once, for the reward and the info alike.

        A select, not a `lax.cond`: under `vmap` that would compute both branches anyway, and hand each lane a copy of
        the parameters, which keeps XLA from folding them into the program.
        """
        done = step >= len(self._cardinalities)
        evaluation = self._cost(design, params)
        return OneShotState(design, step, jnp.where(done, evaluation.objective, 0.0), done & evaluation.feasible)

    def observation(self, state: OneShotState, rng: Any, params: Any = None) -> jax.Array:
        """float32[2n]: chosen flags, then indices scaled to [0, 1]."""
        del rng, params
        chosen = jnp.arange(len(self._cardinalities)) < state.step
        scaled = state.design / jnp.maximum(self._cardinalities - 1, 1)
        return jnp.concatenate([chosen, scaled]).astype(jnp.float32)

    def terminal(self, state: OneShotState, rng: Any, params: Any = None) -> jax.Array:
        """Whether every parameter is chosen."""
        del rng, params
        return state.step >= len(self._cardinalities)

    def reward(self, state: OneShotState, action: Any, next_state: OneShotState, rng: Any, params: Any = None) -> Any:
        """float32: log(reference / objective) of the finished design, 0 before."""
        del state, action
        done = self.terminal(next_state, rng, params)
        return jnp.where(done, jnp.log(self.reference / jnp.where(done, next_state.objective, 1.0)), 0.0)

    def transition_info(self, state: Any, action: Any, next_state: OneShotState, params: Any = None) -> dict:
        """The finished episode's design, objective and feasibility."""
        del state, action, params
        return {"design": next_state.design, "objective": next_state.objective, "feasible": next_state.feasible}

    def design(self, state: OneShotState, params: Any = None) -> jax.Array:
        """int32[n]."""
        del params
        return state.design

    def evaluation(self, state: OneShotState, params: Any = None) -> Evaluation:
        """Costs of the design."""
        return self._cost(state.design, params)


class ParametricEnv(_OneShotEnv):
    """One MultiDiscrete action sets every parameter; an episode is one step."""

    horizon = 1

    def __init__(self, problem: Problem):
        super().__init__(problem)
        self.action_space = gymnasium.spaces.MultiDiscrete(self._cardinalities, dtype=np.int32)

    def transition(self, state: OneShotState, action: Any, rng: Any, params: Any = None) -> OneShotState:
        """Sets every parameter; an index that is too large counts as the largest."""
        del state, rng
        return self._advance(_clip(action, self._cardinalities), jnp.int32(len(self._cardinalities)), params)


class SequentialEnv(_OneShotEnv):
    """A Discrete action sets the next parameter; an episode is n steps. Actions beyond its values are masked."""

    def __init__(self, problem: Problem):
        super().__init__(problem)
        self.horizon = len(self._cardinalities)
        self.action_space = gymnasium.spaces.Discrete(int(self._cardinalities.max()))

    def transition(self, state: OneShotState, action: Any, rng: Any, params: Any = None) -> OneShotState:
        """Sets the next parameter; a masked action counts as the parameter's largest index."""
        del rng
        value = _clip(action, jnp.asarray(self._cardinalities)[state.step])
        here = jnp.arange(len(self._cardinalities)) == state.step  # a select: scatters are slow on CPUs
        return self._advance(jnp.where(here, value, state.design), state.step + 1, params)

    def action_mask(self, state: OneShotState, params: Any = None) -> jax.Array:
        """bool[C]: the values of the next parameter."""
        del params
        step = jnp.minimum(state.step, len(self._cardinalities) - 1)
        return jnp.arange(int(self._cardinalities.max())) < jnp.asarray(self._cardinalities)[step]


def _clip(index: Any, cardinality: Any) -> jax.Array:
    return jnp.clip(jnp.asarray(index, jnp.int32), 0, cardinality - 1)


ONE_SHOT_FORMS: dict[str, Callable[[Problem], FunctionalEnv]] = {
    "parametric": ParametricEnv,
    "sequential": SequentialEnv,
}


def rollout_cost(env: FunctionalEnv, seed: int = 0) -> Callable[[Any, Any], Evaluation]:
    """The cost function of a sequential family: the design is the script of actions, one a step.

    Args:
        env: a functional environment with Discrete actions; illegal actions fall back as its `transition` documents.
        seed: of the key that a stochastic environment draws from.

    Returns:
        `(int32[horizon], params) -> Evaluation`; steps after the episode's end change nothing.
    """

    def cost(design: Any, params: Any) -> Evaluation:
        key = jax.random.key(seed)

        def step(state, indexed_action):
            index, action = indexed_action
            step_key = jax.random.fold_in(key, index + 1)
            moved = env.transition(state, action, step_key, params)
            done = env.terminal(state, step_key, params)
            return jax.tree.map(lambda old, new: jnp.where(done, old, new), state, moved), None

        first = env.initial(jax.random.fold_in(key, 0), params)
        last, _ = jax.lax.scan(step, first, (jnp.arange(env.horizon), design))
        return env.evaluation(last, params)

    return cost
