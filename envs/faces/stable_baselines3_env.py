"""The thin adaptor from our vector environment to a stable-baselines3 `VecEnv`."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from .gymnasium_env import FunctionalVectorEnv

__all__ = ["StableBaselines3Env"]


class StableBaselines3Env(VecEnv):
    """Same-step autoreset; what the form tells of every step travels in `infos`, and where an episode ends also
    `terminal_observation` and its figures.

    Action masks, where the form has them: `env_method("action_masks")`, as sb3-contrib asks for them.
    """

    def __init__(self, env: FunctionalVectorEnv):
        self._env = env
        self._actions: np.ndarray | None = None
        self._masks: np.ndarray | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray:
        """Starts an episode in every lane, with the seeds of `seed`, if any."""
        observation, info = self._env.reset(seed=list(self._seeds))
        self._reset_seeds()
        self._masks = info.get("action_mask")
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """One transition in every lane."""
        observation, reward, terminal, _, info = self._env.step(self._actions)
        self._masks = info.get("action_mask")
        named = [name for name in info if f"_{name}" in info and name not in ("final_obs", "final_info")]
        infos: list[dict[str, Any]] = [{name: info[name][lane] for name in named} for lane in range(self.num_envs)]
        for lane in np.flatnonzero(terminal):
            final = {name: values[lane] for name, values in info["final_info"].items()}
            infos[lane] |= {"terminal_observation": info["final_obs"][lane], "TimeLimit.truncated": False, **final}
        return observation, reward.astype(np.float32), terminal, infos

    def close(self) -> None:
        """Closes the environment."""
        self._env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute of the vector environment, once per lane asked for."""
        value = getattr(self._env, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of the vector environment."""
        setattr(self._env, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """`action_masks`, per lane; there are no other per-lane methods."""
        if method_name != "action_masks" or self._masks is None:
            raise AttributeError(f"This environment has no method '{method_name}' per lane.")
        return [self._masks[lane].astype(bool) for lane in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """False: lanes are not wrapped one by one."""
        return [False for _ in self._get_indices(indices)]
