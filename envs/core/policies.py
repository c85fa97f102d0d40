"""Stochastic sequential families: a design is the parameter vector of a policy, costed over fixed episodes.

A family writes a `PolicyEnv` and gets its cost function here. The search costs a design on the episodes of
`params.seeds`, scores are taken on other seeds (and other cases) in `held_out_params`, and the decisions form plays
episodes of its own, drawn at `reset`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from .functional import FunctionalEnv
from .problem import Evaluation

if TYPE_CHECKING:
    from ...costmodels.diagram import Diagram
    from .problem import Problem

__all__ = ["HELD_OUT", "SEARCH", "PolicyEnv", "play", "policy_cost", "policy_diagram", "seeds_of"]

SEARCH, HELD_OUT = 1, 2  # the first word of each set's seeds


def seeds_of(which: int, episodes: int) -> np.ndarray:
    """uint32[episodes]: the seeds of the search's or the held-out episodes."""
    return np.random.SeedSequence(which).generate_state(episodes)


class PolicyEnv(FunctionalEnv):
    """A functional environment whose designs are policies. Subclasses also write `decide`, `metrics` and `drawing`.

    `params` is a named tuple with a field `seeds`, uint32[E]: the episodes of the cost. Luck comes from the state:
    `transition` draws nothing from its `rng`.
    """

    replayable = False  # what an episode did is no policy

    def decide(self, design: Any, state: Any, params: Any = None) -> jax.Array:
        """The action that the policy of a design, int32[n], takes."""
        raise NotImplementedError

    def metrics(self, state: Any, params: Any = None) -> Any:
        """The family's named tuple of scalars, of a finished episode; costs are means over episodes."""
        raise NotImplementedError

    def objective(self, metrics: Any) -> jax.Array:
        """float32, to be minimised, of one episode's metrics or of their means."""
        raise NotImplementedError

    def drawing(self, states: Sequence[Any], actions: Sequence[Any], params: Any) -> Diagram:
        """An episode so far: its states, the first one included, leaves on the host, and the actions between them."""
        raise NotImplementedError

    def picture(self, problem: Problem, first: Any, actions: Sequence[Any]) -> Diagram:
        """See `drawing`."""
        states = [jax.tree.map(np.asarray, first)]
        for action in actions:
            states.append(jax.tree.map(np.asarray, self._jitted_move(states[-1], action, problem.params)))
        return self.drawing(states, actions, problem.params)

    @functools.cached_property
    def _jitted_move(self) -> Any:
        return jax.jit(lambda state, action, params: self.transition(state, action, None, params))

    @functools.cached_property
    def _jitted_start(self) -> Any:
        return jax.jit(lambda seed, params: self.initial(jax.random.fold_in(jax.random.key(seed), 0), params))

    @functools.cached_property
    def _jitted_decision(self) -> Any:
        """`(design, state, params) -> (action, next state, whether the state is an end)`."""

        def decide(design, state, params):
            action = self.decide(design, state, params)
            return action, self.transition(state, action, None, params), self.terminal(state, None, params)

        return jax.jit(decide)

    def evaluation(self, state: Any, params: Any = None) -> Evaluation:
        """Costs of the episode that was played."""
        metrics = self.metrics(state, params)
        return Evaluation(metrics, self.objective(metrics), jnp.bool_(True))

    def transition_info(self, state: Any, action: Any, next_state: Any, params: Any = None) -> dict:
        """The finished episode's objective, and each of its metrics by name."""
        del state, action
        metrics = self.metrics(next_state, params)
        return {"objective": self.objective(metrics), "feasible": jnp.bool_(True), **metrics._asdict()}


def play(env: PolicyEnv, decide: Callable[[Any], Any], key: Any, params: Any) -> Any:
    """The final state of one episode.

    Args:
        env: the environment.
        decide: `state -> action`, pure JAX.
        key: of the episode: what it draws depends on nothing else.
        params: the problem's.
    """

    def step(state, index):
        step_key = jax.random.fold_in(key, index)
        moved = env.transition(state, decide(state), step_key, params)
        done = env.terminal(state, step_key, params)
        return jax.tree.map(lambda old, new: old if old is new else jnp.where(done, old, new), state, moved), None

    first = env.initial(jax.random.fold_in(key, 0), params)
    last, _ = jax.lax.scan(step, first, jnp.arange(1, env.horizon + 1))
    return last


def policy_diagram(env: PolicyEnv, params: Any) -> Callable[[np.ndarray], Diagram]:
    """The diagram of a design, int32[n]: the first of the episodes that searches cost it on."""

    def draw(design: np.ndarray) -> Diagram:
        states, actions = [jax.tree.map(np.asarray, env._jitted_start(params.seeds[0], params))], []
        for _ in range(env.horizon):
            action, moved, over = jax.tree.map(np.asarray, env._jitted_decision(design, states[-1], params))
            if over:
                break
            states.append(moved)
            actions.append(action)
        return env.drawing(states, actions, params)

    return draw


def policy_cost(env: PolicyEnv) -> Callable[[Any, Any], Evaluation]:
    """The cost function of a family: the means of a policy's metrics over the episodes of `params.seeds`.

    A batch of designs is costed one after another, each on all episodes at once: XLA would otherwise sum episodes in an
    order that depends on the batch, and the last bits of a cost with it.
    """

    @jax.custom_batching.sequential_vmap
    def cost(design: Any, params: Any) -> Evaluation:
        keys = jax.vmap(jax.random.key)(params.seeds)
        states = jax.vmap(lambda key: play(env, lambda state: env.decide(design, state, params), key, params))(keys)
        metrics = jax.tree.map(
            lambda leaf: jnp.mean(leaf.astype(jnp.float32), axis=0), jax.vmap(lambda s: env.metrics(s, params))(states)
        )
        return Evaluation(metrics, env.objective(metrics), jnp.bool_(True))

    return cost
