"""What is asked of the lanes of a vector environment one by one; without JAX, as agents' processes have it too."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

__all__ = ["LanewiseEnv", "all_legal"]


def all_legal(space: gymnasium.Space[Any]) -> np.ndarray:
    """bool[actions], all True; of a MultiDiscrete space its parts one after another."""
    count = np.sum(space.nvec) if isinstance(space, gymnasium.spaces.MultiDiscrete) else getattr(space, "n", 0)
    return np.ones(int(count), bool)


_OF_ONE_LANE = {"observation_space": "single_observation_space", "action_space": "single_action_space"}


class LanewiseEnv(VectorEnv):
    """A vector environment whose lanes are alike. What derives from it keeps the mask of the actions to come."""

    _mask: np.ndarray | None  # [num_envs, actions], not zero where the next action is legal; None where all are

    def action_masks(self) -> np.ndarray:
        """bool[num_envs, actions], True where the next action is legal; as of a single environment."""
        if self._mask is not None:
            return self._mask.astype(bool)
        return np.tile(all_legal(self.single_action_space), (self.num_envs, 1))

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """`action_masks` or `render` of each lane, or an attribute, the same for all.

        Raises:
            AttributeError: there is none of that name, or it is a method that lanes do not have one by one.
        """
        if name in ("action_masks", "render"):
            found = getattr(self, name)(*args, **kwargs)
            return (None,) * self.num_envs if found is None else tuple(found)
        value = getattr(self, _OF_ONE_LANE.get(name, name))
        if callable(value) and not isinstance(value, gymnasium.Space):
            raise AttributeError(f"Lanes have no method '{name}' one by one; there are: action_masks, render.")
        return (value,) * self.num_envs

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute, once a lane."""
        return self.call(name)
