"""Gumbel MuZero (Danihelka et al., 2022), by mctx, with the true simulator as its model, after mallocMuZero (Wang et
al., 2023): the search's tree holds states of the environment, and an edge is `env.advance`.

Searching with the true state sees what luck has in store, so that families whose episodes hold luck are refused.
B lanes, T steps of a rollout, S simulations of a search, A actions. A tree takes B * (S + 1) states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import mctx

from ...costmodels.arrays import Array
from ...costmodels.errors import DsegymError
from ...envs.core.drawn import DrawnEnv
from ...envs.core.functional import FunctionalEnv
from ...envs.core.stepping import Lane, chosen, step_lanes
from .base import masked
from .fitting import OPTIMISER, compressed, expanded, fit, returns_to_go
from .gradient_learner import RolloutLearner, illegal_actions, rollout_figures
from .networks import Network

__all__ = ["GumbelMuZero", "Search", "check_searchable", "search", "search_act"]


_mctx: Any = mctx  # whose types no checker knows


class Search(NamedTuple):
    """How a search plans; every number shapes its program but the last two."""

    simulations: int = 16  # S
    considered: int = 16  # actions at the root, at most
    discount: float = 1.0
    value_scale: float = 0.1  # of values, scaled to [0, 1] among siblings, against the logits of the prior
    visits: float = 50.0  # added to the most visits of an action, which is a factor likewise


class Found(NamedTuple):
    """What a search finds; leaves [B, ...]."""

    observation: Array  # float32[n]
    mask: Array | None  # bool[A]
    action: Array  # int32, a legal one
    weights: Array  # float32[A], of the policy improved; 0 where illegal
    value: Array  # float32, of the root after the search
    prior_value: Array  # float32, the network's, in units of the reward


class _Seen(NamedTuple):
    """What the network makes of states; leaves [B, ...]."""

    observation: Array
    mask: Array | None
    logits: Array  # float32[A], those of illegal actions very low
    value: Array  # 0 after the end


def check_searchable(env: FunctionalEnv[Any, Any]) -> None:
    """Refuses environments that a search with the true simulator is not for.

    Raises:
        DsegymError: an episode's luck is in its state, or an action is more than one choice.
    """
    own = env.inner if isinstance(env, DrawnEnv) else env
    if not own.replayable:
        raise DsegymError(
            f"Gumbel MuZero searches with the true simulator, and a state of {type(own).__name__} holds the luck of "
            "its episode, which a search would foresee; forms that designs replay are allowed."
        )
    if not isinstance(own.action_space, gymnasium.spaces.Discrete):
        raise DsegymError(f"Gumbel MuZero takes Discrete actions; given: {own.action_space}.")


def _seen(env: FunctionalEnv[Any, Any], params: Any, network: Any, variables: Any, states: Any) -> _Seen:
    def look(state: Any) -> tuple[Array, Array | None, Array]:
        return env.observation(state, params), env.action_mask(state, params), env.over(state, params)

    observation, mask, over = jax.vmap(look)(states)
    logits, value = network.apply(variables, observation, mask)
    return _Seen(observation, mask, masked(logits, mask), jnp.where(over, 0.0, expanded(value)))


def search(
    env: FunctionalEnv[Any, Any],
    params: Any,
    network: Network,
    variables: Any,
    states: Any,
    key: Array,
    settings: Search,
    *,
    gumbel_scale: float = 1.0,
) -> Found:
    """Plans from B states, none of them an end.

    Args:
        env: what is played, and the model.
        params: what it is played with.
        network: the prior and the value, the latter `compressed`.
        variables: of the network.
        states: of the environment, leaves [B, ...].
        key: of the noise.
        settings: how.
        gumbel_scale: of the noise by which root actions are explored; 0 for none.
    """

    def move(state: Any, action: Array) -> tuple[Any, Array, Array]:
        was_over = env.over(state, params)
        after = chosen(was_over, state, env.advance(state, action, params))  # what follows an end is the end
        reward = jnp.where(was_over, 0.0, env.reward(state, after, params))
        return after, reward, jnp.where(env.over(after, params), 0.0, settings.discount)

    def expand(variables: Any, key: Array, action: Array, states: Any) -> tuple[Any, Any]:
        del key
        after, reward, discount = jax.vmap(move)(states, action)
        seen = _seen(env, params, network, variables, after)
        output = _mctx.RecurrentFnOutput(reward=reward, discount=discount, prior_logits=seen.logits, value=seen.value)
        return output, after

    root = _seen(env, params, network, variables, states)
    output = _mctx.gumbel_muzero_policy(
        variables,
        key,
        _mctx.RootFnOutput(prior_logits=root.logits, value=root.value, embedding=states),
        expand,
        settings.simulations,
        None if root.mask is None else ~root.mask,
        max_num_considered_actions=min(settings.considered, root.logits.shape[-1]),
        gumbel_scale=gumbel_scale,
        qtransform=lambda tree, node: _mctx.qtransform_completed_by_mix_value(
            tree, node, value_scale=settings.value_scale, maxvisit_init=settings.visits
        ),
    )
    value = output.search_tree.node_values[:, output.search_tree.ROOT_INDEX]
    action = output.action.astype(jnp.int32)
    return Found(root.observation, root.mask, action, output.action_weights, value, root.value)


def search_act(
    network: Network,
    variables: Any,
    env: FunctionalEnv[Any, Any],
    params: Any,
    settings: Search,
) -> Callable[[Any, Array], Array]:
    """`(state, key) -> action`: acts by search from a trained policy, without noise; pure JAX on one lane.

    Args:
        network: of the policy.
        variables: of the network, whose value is `compressed`, as Gumbel MuZero and imitation leave it.
        env: what is played.
        params: what it is played with.
        settings: how it plans.

    Raises:
        DsegymError: as `check_searchable`.
    """
    check_searchable(env)

    def act(state: Any, key: Array) -> Array:
        states = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], state)
        return search(env, params, network, variables, states, key, settings, gumbel_scale=0.0).action[0]

    return act


class Carry(NamedTuple):
    """What a training goes on from."""

    variables: Any
    moments: Any  # of Adam
    lanes: Lane  # [B]
    key: Array  # uint32 words
    done: Array  # int32, updates
    updates: Array  # int32, of the whole training


class _Row(NamedTuple):
    """What an update learns from; leaves [T, B, ...]."""

    observation: Array
    mask: Array | None
    weights: Array
    target: Array  # of the value


@dataclass(frozen=True)
class GumbelMuZero(RolloutLearner):
    """Every lane acts by search; the policy learns the search's weights, the value TD(lambda) over the search's values.

    There is no replay: an update learns from its own rollout.
    """

    lanes: int = 64  # B
    epochs: int = 4
    simulations: int = 16  # S
    considered: int = 16
    value_scale: float = 0.1
    visits: float = 50.0

    name = "gumbel_muzero"
    summary = "Gumbel MuZero, the simulator as its model (mctx, flax, Optax)"
    libraries = ("flax", "mctx", "optax")
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        **RolloutLearner.ranges,
        "simulations": (1, 10_000),
        "considered": (1, 10_000),
        "value_scale": (1e-6, 1000),
        "visits": (0, 10_000),
    }

    @property
    def search(self) -> Search:
        """How it plans, in training."""
        return Search(self.simulations, self.considered, self.discount, self.value_scale, self.visits)

    def steps_per_update(self, env: FunctionalEnv[Any, Any]) -> int:
        """B * T; those of simulations are not counted."""
        return super().steps_per_update(env)

    def network(self, env: FunctionalEnv[Any, Any]) -> Network:
        """See `networks.py`.

        Raises:
            DsegymError: as `check_searchable`.
        """
        check_searchable(env)
        return super().network(env)

    def begin(self, env: FunctionalEnv[Any, Any], params: Any, key: Array, updates: int) -> Carry:
        """As `first`.

        Raises: as `first`.
        """
        variables, lanes, _, _, rest = self.first(env, params, key)
        return Carry(variables, OPTIMISER.init(variables), lanes, rest, jnp.int32(0), jnp.int32(updates))

    def update(self, env: FunctionalEnv[Any, Any], params: Any, carry: Carry) -> tuple[Carry, Mapping[str, Array]]:
        """A rollout of T steps, each by a search, then the epochs over it, in minibatches."""
        network: Any = self.network(env)  # flax types what `apply` returns too widely
        variables = carry.variables
        keys = jax.random.split(self.update_key(carry), self.rollout + self.epochs)

        def act(lanes: Lane, key: Array) -> tuple[Lane, Any]:
            found = search(env, params, network, variables, lanes.state, key, self.search)
            lanes, step = step_lanes(env, lanes, found.action, params)
            return lanes, (found, step.reward, step.terminal, illegal_actions(step))

        lanes, (found, reward, terminal, illegal) = jax.lax.scan(act, carry.lanes, keys[: self.rollout])
        last = _seen(env, params, network, variables, lanes.state).value
        target = returns_to_go(reward, terminal, found.value, last, discount=self.discount, trace=self.trace)
        rows = _Row(found.observation, found.mask, found.weights, target)

        def loss(variables: Any, row: _Row) -> tuple[Array, Mapping[str, Array]]:
            logits, value = network.apply(variables, row.observation, row.mask)
            logs = jax.nn.log_softmax(masked(logits, row.mask))
            cross = -jnp.sum(row.weights * logs, axis=-1)
            own = -jnp.sum(row.weights * jnp.log(jnp.maximum(row.weights, 1e-30)), axis=-1)
            error = jnp.mean((value - compressed(row.target)) ** 2)
            figures = {"divergence": jnp.mean(cross - own), "entropy": jnp.mean(own), "value_error": error}
            return cross.mean() + self.value_weight * error, figures

        variables, moments, figures = fit(
            loss,
            variables,
            carry.moments,
            rows,
            keys=keys[self.rollout :],
            minibatches=self.minibatches,
            rate=self.rate(carry),
        )
        figures = {**rollout_figures(reward, terminal, illegal), **figures}
        return Carry(variables, moments, lanes, carry.key, carry.done + 1, carry.updates), figures
