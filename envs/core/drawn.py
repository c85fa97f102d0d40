"""An environment whose every episode is of an instance drawn anew from N, one compiled program for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp

from ...costmodels.arrays import Array
from .evaluation import Evaluation
from .features import Feature
from .functional import FunctionalEnv

__all__ = ["DrawnEnv", "DrawnState", "instance_of"]


class DrawnState(NamedTuple):
    """Where an episode stands."""

    instance: Array  # int32, of N
    state: Any  # of the instance's environment


def instance_of(params: Any, number: Array | int) -> Any:
    """The params of one of N instances, whose leaves have an axis N, or of 1 where all instances have the same.

    Inside a program only the rows that are read are gathered.
    """
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[number if len(leaf) > 1 else 0], params)


@dataclass(frozen=True)
class DrawnEnv(FunctionalEnv[DrawnState, Any]):
    """The environment of one of many instances; which one is drawn when an episode begins.

    Its params are those of the instances, as `Collection.environment` makes them and `instance_of` takes them.

    Attributes:
        inner: the environment that the instances share.
        count: N.
    """

    inner: FunctionalEnv[Any, Any]
    count: int
    replayable: ClassVar[bool] = False  # a design is of one instance

    @property
    def features(self) -> Sequence[Feature]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The instance's."""
        return self.inner.features

    @property
    def action_space(self) -> gymnasium.Space:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The instance's."""
        return self.inner.action_space

    @property
    def horizon(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of the longest instance."""
        return self.inner.horizon

    def start(self, key: Array, params: Any) -> DrawnState:
        """Draws an instance, all alike, and begins its episode."""
        draw, episode = jax.random.split(key)
        number = jax.random.randint(draw, (), 0, self.count)
        return DrawnState(number, self.inner.start(episode, instance_of(params, number)))

    def advance(self, state: DrawnState, action: Array, params: Any) -> DrawnState:
        """The instance's."""
        own = instance_of(params, state.instance)
        return DrawnState(state.instance, self.inner.advance(state.state, action, own))

    def observe(self, state: DrawnState, params: Any) -> Mapping[str, Any]:
        """The instance's."""
        return self.inner.observe(state.state, instance_of(params, state.instance))

    def over(self, state: DrawnState, params: Any) -> Array:
        """The instance's."""
        return self.inner.over(state.state, instance_of(params, state.instance))

    def reward(self, state: DrawnState, next_state: DrawnState, params: Any) -> Array:
        """The instance's."""
        return self.inner.reward(state.state, next_state.state, instance_of(params, state.instance))

    def action_mask(self, state: DrawnState, params: Any) -> Array | None:
        """The instance's."""
        return self.inner.action_mask(state.state, instance_of(params, state.instance))

    def illegal(self, state: DrawnState) -> Array | None:
        """The instance's."""
        return self.inner.illegal(state.state)

    def design(self, state: DrawnState, params: Any) -> Array | None:
        """The instance's, padded."""
        return self.inner.design(state.state, instance_of(params, state.instance))

    def decide(self, design: Array, state: DrawnState, params: Any) -> Array:
        """The instance's."""
        return self.inner.decide(design, state.state, instance_of(params, state.instance))

    def evaluation(self, state: DrawnState, params: Any) -> Evaluation:
        """The instance's."""
        return self.inner.evaluation(state.state, instance_of(params, state.instance))

    def step_info(self, state: DrawnState, action: Array, next_state: DrawnState, params: Any) -> dict[str, Array]:
        """The instance's, and `instance`, int32: which one it is."""
        own = instance_of(params, state.instance)
        return {"instance": state.instance, **self.inner.step_info(state.state, action, next_state.state, own)}

    def final_info(self, state: DrawnState, params: Any) -> dict[str, Array]:
        """The instance's."""
        return self.inner.final_info(state.state, instance_of(params, state.instance))
