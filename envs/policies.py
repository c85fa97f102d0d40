"""Stochastic sequential families: a design is the parameter vector of a policy, costed over fixed episodes.

A family writes a `PolicyEnv` and gets its cost function here. The search costs a design on the episodes of
`params.seeds`, scores are taken on other seeds (and other cases) in `held_out_params`, and the decisions form plays
episodes of its own, drawn at `reset`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .functional import FunctionalEnv
from .problem import Evaluation

__all__ = ["HELD_OUT", "SEARCH", "PolicyEnv", "play", "policy_cost", "seeds_of"]

SEARCH, HELD_OUT = 1, 2  # the first word of each set's seeds


def seeds_of(which: int, episodes: int) -> np.ndarray:
    """uint32[episodes]: the seeds of the search's or the held-out episodes."""
    return np.random.SeedSequence(which).generate_state(episodes)


class PolicyEnv(FunctionalEnv):
    """A functional environment whose designs are policies. Subclasses also write `decide` and `metrics`.

    `params` is a named tuple with a field `seeds`, uint32[E]: the episodes of the cost.
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
