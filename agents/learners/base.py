"""The learner: who trains a policy. A frozen dataclass of hyperparameters, a network, and one pure update.

The whole training is `update` again and again under `lax.scan`; everything that it needs to go on is its carry, a
pytree of arrays, so that a training stops and goes on anywhere with the same bits. A actions, B lanes.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ...costmodels.arrays import Array
from ...envs.core.collections import Collection
from ...envs.core.drawn import DrawnEnv
from ...envs.core.functional import FunctionalEnv

__all__ = ["Act", "Learner", "greedy", "judged", "masked", "sampled"]

Act = Callable[[Any, Any, Array], Array]  # (observation, action mask or None, key) -> action; pure JAX


class Learner(abc.ABC):
    """Base of every learner; subclasses are frozen dataclasses whose fields are the hyperparameters.

    Attributes:
        name: how commands and cards call it.
        summary: one line for the user: the method, the library, the paper.
        ranges, libraries: as an agent's, see `agents/base.py`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
    libraries: ClassVar[tuple[str, ...]] = ()

    def environment(self, collection: Collection) -> tuple[DrawnEnv, Any]:
        """What is played in training, and what it is played with: the collection's training part, and more at need.

        Raises:
            DsegymError: as `Collection.environment`, or as the learner documents.
        """
        return collection.environment("train")

    @abc.abstractmethod
    def steps_per_update(self, env: FunctionalEnv[Any, Any]) -> int:
        """Steps of the environment in one update, all lanes together, at most."""

    @abc.abstractmethod
    def network(self, env: FunctionalEnv[Any, Any]) -> Any:
        """The flax module of a policy: `apply(variables, observation, mask) -> (logits float32[..., A], value
        float32[...])`; `mask` is bool[..., A] or None; of an action of several choices, logits float32[..., choices,
        A]. Equal for equal configurations.

        Raises:
            DsegymError: the learner has no network for the environment.
        """

    @abc.abstractmethod
    def begin(self, env: FunctionalEnv[Any, Any], params: Any, key: Array, updates: int) -> Any:
        """The carry before the first of so many updates; pure JAX."""

    @abc.abstractmethod
    def update(self, env: FunctionalEnv[Any, Any], params: Any, carry: Any) -> tuple[Any, Mapping[str, Array]]:
        """One update: the carry after it, and float32 scalars for curves by name, among them `reward`, the mean over
        the steps taken; pure JAX.
        """

    @abc.abstractmethod
    def variables(self, carry: Any) -> Any:
        """The network's variables, as they stand: what a policy keeps."""

    def going_on_from(self, carry: Any, variables: Any) -> Any:
        """A carry before the first update, of a network that has learned already, by imitation say."""
        return carry._replace(variables=variables)


def masked(logits: Array, mask: Array | None) -> Array:
    """Logits with those of illegal actions at -1e9; all as they are without a mask.

    Where no action is legal, which no environment has before its end, all are alike, and 0 is taken.
    """
    return jnp.asarray(logits) if mask is None else jnp.where(mask, logits, -1e9)


def judged(logits: Array, mask: Array | None, action: Array, leading: tuple[int, ...]) -> tuple[Array, Array]:
    """The logarithm of an action's probability, and the entropy of all, of the leading shape.

    Args:
        logits: float32[..., A], or float32[..., choices, A].
        mask: bool[..., A], or None.
        action: int32[...], or int32[..., choices], whose choices are independent of one another.
        leading: the axes `...`.
    """
    logs = jax.nn.log_softmax(masked(logits, mask))
    taken = jnp.take_along_axis(logs, action[..., None], axis=-1)[..., 0]
    entropy = -jnp.sum(jnp.exp(logs) * logs, axis=-1)  # of what cannot be: 0 times a large number
    return taken.reshape(*leading, -1).sum(-1), entropy.reshape(*leading, -1).sum(-1)


def greedy(network: Any, variables: Any) -> Act:
    """Acts by the likeliest legal action."""

    def act(observation: Any, mask: Array | None, key: Array) -> Array:
        del key
        logits, _ = network.apply(variables, observation, mask)
        return jnp.argmax(masked(logits, mask), axis=-1).astype(jnp.int32)

    return act


def sampled(network: Any, variables: Any) -> Act:
    """Acts by a legal action drawn by its likelihood."""

    def act(observation: Any, mask: Array | None, key: Array) -> Array:
        logits, _ = network.apply(variables, observation, mask)
        return jax.random.categorical(key, masked(logits, mask), axis=-1).astype(jnp.int32)

    return act
