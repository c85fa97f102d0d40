"""The environment that a referee hands out: Gymnasium's face, and behind it questions to the scorekeeper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ..envs.faces.lanes import LanewiseEnv

__all__ = ["RefereedVectorEnv"]


class RefereedVectorEnv(LanewiseEnv):
    """A vector environment whose problem is elsewhere. Infos are as `FunctionalVectorEnv` has them.

    Attributes:
        feature_slices: {feature: where its numbers stand in an observation}.
    """

    def __init__(
        self,
        ask: Callable[..., Any],
        number: int,
        *,
        num_envs: int,
        single_observation_space: gymnasium.Space,
        single_action_space: gymnasium.Space,
        metadata: dict[str, Any],
        feature_slices: Mapping[str, slice],
    ):
        self._ask, self._number = ask, number
        self._mask: np.ndarray | None = None
        self.num_envs, self.metadata, self.render_mode = num_envs, metadata, None
        self.autoreset_mode: AutoresetMode = metadata["autoreset_mode"]
        self.single_observation_space, self.single_action_space = single_observation_space, single_action_space
        self.observation_space = batch_space(single_observation_space, num_envs)
        self.action_space = batch_space(single_action_space, num_envs)
        self.feature_slices = feature_slices

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Starts an episode in every lane, or in those of the option `reset_mask`; episodes that have begun count as
        their designs stand.
        """
        observation, info = self._ask("reset_env", self._number, seed, options)
        self._mask = info.get("action_mask")
        return observation, info

    def step(self, actions: Any) -> Any:
        """One transition in every lane; lanes that end start again in the same step."""
        observation, reward, terminal, truncated, info = self._ask("step_env", self._number, np.asarray(actions))
        self._mask = info.get("action_mask")
        return observation, reward, terminal, truncated, info

    def render(self) -> None:
        """None: no pictures are taken of an agent's episodes."""
