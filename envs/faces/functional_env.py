"""A functional environment as Gymnasium's experimental `FuncEnv`, for its adaptors.

>>> from gymnasium.envs.functional_jax_env import FunctionalJaxEnv
>>> import dsegym
>>> functional = GymnasiumFunctionalEnv(*dsegym.make_functional("dsegym/SleepTime-v0"))
>>> env = FunctionalJaxEnv(functional)
>>> observation, info = env.reset(seed=0)
"""

from __future__ import annotations

from typing import Any

from gymnasium.experimental.functional import FuncEnv

from ...costmodels.arrays import Array
from ..core.functional import FunctionalEnv

__all__ = ["GymnasiumFunctionalEnv"]


class GymnasiumFunctionalEnv(FuncEnv):
    """Gymnasium's functional environment of an instance.

    Args:
        env, params: as `dsegym.make_functional` gives them.
    """

    metadata = {"render_modes": [], "jax": True}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(self, env: FunctionalEnv[Any, Any], params: Any):
        super().__init__()
        self._env, self._params = env, params
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def initial(self, rng: Any, params: Any = None) -> Any:
        """The state in which an episode begins."""
        return self._env.start(rng, self._or_own(params))

    def transition(self, state: Any, action: Any, rng: Any, params: Any = None) -> Any:
        """The state after an action."""
        del rng
        return self._env.advance(state, action, self._or_own(params))

    def observation(self, state: Any, rng: Any, params: Any = None) -> Array:
        """float32[n]."""
        del rng
        return self._env.observation(state, self._or_own(params))

    def reward(self, state: Any, action: Any, next_state: Any, rng: Any, params: Any = None) -> Array:
        """float32[]."""
        del action, rng
        return self._env.reward(state, next_state, self._or_own(params))

    def terminal(self, state: Any, rng: Any, params: Any = None) -> Array:
        """bool[]."""
        del rng
        return self._env.over(state, self._or_own(params))

    def _or_own(self, params: Any) -> Any:
        return self._params if params is None else params
