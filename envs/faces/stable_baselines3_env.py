"""The thin adaptor from our vector environment to a stable-baselines3 `VecEnv`."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv

from ...costmodels.errors import DsegymError

__all__ = ["StableBaselines3Env"]


class StableBaselines3Env(VecEnv):
    """Same-step autoreset; what the form tells of every step travels in `infos`, and where an episode ends also
    `terminal_observation` and its figures. Action masks as sb3-contrib's `MaskablePPO` asks for them.

    Args:
        env: as `gymnasium.make_vec` makes it or a referee, in same-step autoreset.

    Raises:
        DsegymError: the environment is another, or of another autoreset mode.
    """

    def __init__(self, env: VectorEnv):
        own = isinstance(env, VectorEnv) and env.unwrapped is env and hasattr(env, "action_masks")
        if not own or env.metadata["autoreset_mode"] is not AutoresetMode.SAME_STEP:
            raise DsegymError(
                "StableBaselines3Env takes what gymnasium.make_vec('dsegym/...', num_envs=...) gives, unwrapped and "
                f"without autoreset_mode, as it needs same-step autoreset; given: {env!r}."
            )
        self._env: Any = env
        self._actions: np.ndarray | None = None
        self.render_mode = env.render_mode
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> Any:
        """Starts an episode in every lane, with the seeds of `seed`, if any."""
        observation, info = self._env.reset(seed=list(self._seeds))
        self.reset_infos = self._lane_infos(info)
        self._reset_seeds()
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """One transition in every lane."""
        observation, reward, terminal, truncated, info = self._env.step(self._actions)
        infos, ended = self._lane_infos(info), terminal | truncated
        for lane in np.flatnonzero(ended).tolist():
            cut = bool(truncated[lane] and not terminal[lane])
            last = jax.tree.map(lambda leaf, lane=lane: leaf[lane], info["final_obs"])
            infos[lane] |= {"terminal_observation": last, "TimeLimit.truncated": cut}
            infos[lane] |= _of_lane(info["final_info"], lane)
        return observation, reward.astype(np.float32), ended, infos

    def close(self) -> None:
        """Closes the environment."""
        self._env.close()

    def has_attr(self, attr_name: str) -> bool:
        """Whether lanes have it."""
        return hasattr(self._env, attr_name)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute of the vector environment, once per lane asked for."""
        value = getattr(self._env, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of the vector environment."""
        setattr(self._env, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """`action_masks` or `render`, per lane; there are no other per-lane methods."""
        each = self._env.call(method_name, *method_args, **method_kwargs)
        return [each[lane] for lane in self._get_indices(indices)]

    def get_images(self) -> list[np.ndarray | None]:
        """A frame of each lane; None without a render mode."""
        return list(self._env.call("render"))

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """False: lanes are not wrapped one by one."""
        return [False for _ in self._get_indices(indices)]

    def _lane_infos(self, info: dict[str, Any]) -> list[dict[str, Any]]:
        plain = {name: info[name] for name in info if name not in ("final_obs", "final_info")}
        return [_of_lane(plain, lane) for lane in range(self.num_envs)]


def _of_lane(info: dict[str, Any], lane: int) -> dict[str, Any]:
    """What an info speaks of a lane."""
    return {name: info[name][lane] for name in info if f"_{name}" in info and info[f"_{name}"][lane]}
