"""The adaptors, written once: a functional environment as a Gymnasium environment, single or vector."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ...costmodels.errors import DsegymError, UnknownNameError
from ..core.problem import Problem
from ..core.scenarios import make_problem

__all__ = ["FunctionalGymnasiumEnv", "FunctionalVectorEnv", "Recorder", "make_env", "make_vector_env"]

# Takes the finished episodes of one step: designs int32[F, n], objective float32[F], feasible bool[F].
Recorder = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


class FunctionalGymnasiumEnv(gymnasium.Env):
    """A problem's environment for one lane. Info: `action_mask` if there is one; after every step what the form's
    `step_info` names; at the end also the finished episode's `design`, `objective` and `feasible`.
    `metadata["notes"]` says what of the instance is synthetic or uncalibrated.

    Args:
        problem: the instance.
        form: one of its forms; the first when left out.
        render_mode: `rgb_array`, where the problem has a diagram; None for no pictures.

    Raises:
        UnknownNameError: there is no such form or render mode.
        DsegymError: pictures are asked for of a problem that has no diagram.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(self, problem: Problem, form: str | None = None, render_mode: str | None = None):
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise UnknownNameError("render mode", render_mode, self.metadata["render_modes"])
        if render_mode is not None and problem.diagram is None:
            raise DsegymError(
                f"{problem.scenario} ({problem.name}) has no diagram to render; make it without a render mode."
            )
        modes = self.metadata["render_modes"] if problem.diagram is not None else []
        self.metadata = {**self.metadata, "render_modes": modes, "notes": tuple(problem.notes)}
        self.problem = problem
        self.functional = env = problem.functional_env(form)
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.render_mode = render_mode
        self._state: Any = None
        self._key: Any = None
        self._first: Any = None  # the state after `reset`; with the actions since, what a picture needs
        self._actions: list[np.ndarray] = []
        self._reset, self._step, self._design = _compiled_lane(problem, form)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Starts an episode. The seed, once given, fixes everything that follows."""
        super().reset(seed=seed, options=options)
        if self._key is None or seed is not None:
            self._key = jax.random.key(int(self.np_random.integers(2**31)))
        self._key, self._state, observation, mask = self._reset(self._key)
        if self.render_mode is not None:
            self._first, self._actions = self._state, []
        return np.array(observation), _with_mask({}, mask)

    def step(self, action):
        """One transition; `truncated` is always False."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step().")
        action = np.asarray(action, np.int32)
        self._key, self._state, result = self._step(self._key, self._state, action)
        if self.render_mode is not None:
            self._actions.append(action)
        observation, reward, terminal, mask, info, final = jax.tree.map(np.asarray, result)
        ended = bool(terminal)
        return np.array(observation), float(reward), ended, False, _with_mask(info | final if ended else info, mask)

    def render(self):
        """The episode so far, uint8[H, W, 3]: the form's `picture`, or the diagram of the design as it stands, in which
        what is undecided counts as `design(state)` has it. None without a render mode.
        """
        if self.render_mode is None or self.problem.diagram is None:
            return None
        if self._state is None:
            raise gymnasium.error.ResetNeeded("Call reset() before render().")
        from .raster import draw

        diagram = self.functional.picture(self.problem, self._first, self._actions)
        if diagram is None:
            diagram = self.problem.diagram(np.asarray(self._design(self._state)))
        return draw(diagram)


@functools.lru_cache(maxsize=64)
def _compiled_lane(problem: Problem, form: str | None):
    """The jitted reset, step and design of one lane, shared by all environments of an instance."""
    env, params = problem.functional_env(form), functools.partial(_literals, _to_numpy(problem.params))

    @jax.jit
    def reset(key):
        values = params()
        key, initial_key, observation_key = jax.random.split(key, 3)
        state = env.initial(initial_key, values)
        return key, state, env.observation(state, observation_key, values), env.action_mask(state, values)

    @jax.jit
    def step(key, state, action):
        values = params()
        key, transition_key, reward_key, terminal_key, observation_key = jax.random.split(key, 5)
        moved = env.transition(state, action, transition_key, values)
        reward = env.reward(state, action, moved, reward_key, values)
        terminal = env.terminal(moved, terminal_key, values)
        observation = env.observation(moved, observation_key, values)
        info = env.step_info(state, action, moved, values), env.transition_info(state, action, moved, values)
        return key, moved, (observation, reward, terminal, env.action_mask(moved, values), *info)

    @jax.jit
    def design(state):
        return env.design(state, params())

    return reset, step, design


@functools.lru_cache(maxsize=64)
def _compiled_lanes(problem: Problem, form: str | None, num_envs: int):
    """The jitted reset and step of a vector environment, shared by all of an instance's with as many lanes."""
    step, reset = vector_step(problem.functional_env(form), num_envs)
    params = functools.partial(_literals, _to_numpy(problem.params))

    # Between calls the key travels as plain words: a typed key costs Python time at every call.
    @jax.jit
    def first(key):
        (key, state), observation, mask = reset(key, params())
        return (jax.random.key_data(key), state), observation, mask

    @jax.jit
    def following(carry, actions):
        words, state = carry
        (key, state), result = step((jax.random.wrap_key_data(words), state), actions, params())
        return (jax.random.key_data(key), state), result

    return first, following


def _to_numpy(params: Any) -> Any:
    """Leaves as NumPy arrays of the dtypes that JAX gives them."""
    return jax.tree.map(lambda leaf: np.asarray(jnp.asarray(leaf)), params)


def _literals(arrays: Any) -> Any:
    """A problem's parameters as constants of the program that is being traced.

    XLA folds them into the cost model, which makes a step twice as fast as with arrays handed in; and they are traced
    values, so that an environment may index them with its state.
    """
    return jax.tree.map(lambda array: jax.lax.bitcast_convert_type(array, array.dtype), arrays)


def _with_mask(info: dict[str, Any], mask: Any) -> dict[str, Any]:
    return info if mask is None else {**info, "action_mask": np.asarray(mask, np.int8)}


class FunctionalVectorEnv(VectorEnv):
    """A problem's environment for many lanes; the whole batched step, same-step autoreset included, is one jitted call.

    Info of every step: what the form's `step_info` names, [num_envs, ...], of the episodes that took the step, ended or
    not; each with its mask `_name`, all True. Info of a step in which episodes end: `final_obs` [num_envs, ...] with
    its mask `_final_obs` (Gymnasium's convention, dense), and `final_info` with `design`, `objective` and `feasible`
    [num_envs, ...], meaningful where the mask holds.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(self, problem: Problem, num_envs: int, form: str | None = None, recorder: Recorder | None = None):
        self.problem = problem
        self.metadata = {**self.metadata, "notes": tuple(problem.notes)}
        self.functional = env = problem.functional_env(form)
        self.num_envs, self.render_mode = num_envs, None
        self.single_observation_space, self.single_action_space = env.observation_space, env.action_space
        self.observation_space = batch_space(env.observation_space, num_envs)
        self.action_space = batch_space(env.action_space, num_envs)
        self._recorder = recorder
        self.step_s = 0.0  # s spent in `step`, recording left out
        self._carry: Any = None
        self._key: Any = None
        self._reset, self._step = _compiled_lanes(problem, form, num_envs)

    def reset(self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None):
        """Starts an episode in every lane; a list of seeds counts by its first."""
        first = seed[0] if isinstance(seed, list) else seed
        super().reset(seed=first, options=options)
        if self._key is None or first is not None:
            self._key = jax.random.key(int(self.np_random.integers(2**31)))
        self._key, use = jax.random.split(self._key)
        self._carry, observation, mask = self._reset(use)
        return np.array(observation), _with_mask({}, mask)

    def step(self, actions):
        """One transition in every lane; lanes that end start again in the same step."""
        if self._carry is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step().")
        start = time.perf_counter()
        self._carry, result = self._step(self._carry, np.asarray(actions, np.int32))
        observation, reward, terminal = (np.asarray(leaf) for leaf in result[:3])
        mask = result[3] if result[3] is None else np.asarray(result[3])
        self.step_s += time.perf_counter() - start
        info = _with_mask({}, mask)
        for name, values in result[6].items():
            info |= {name: np.asarray(values), f"_{name}": np.ones(self.num_envs, bool)}
        if terminal.any():
            final_observation, final = jax.tree.map(np.asarray, result[4:6])
            info |= {
                "final_obs": final_observation,
                "_final_obs": terminal,
                "final_info": final,
                "_final_info": terminal,
            }
            if self._recorder is not None:
                self._recorder(final["design"][terminal], final["objective"][terminal], final["feasible"][terminal])
        return observation.copy(), reward, terminal, np.zeros_like(terminal), info

    def warm_up(self) -> None:
        """Compiles `reset` and `step`; the environment's own state and random stream stay as they are."""
        carry, _, _ = self._reset(jax.random.key(0))
        actions = np.zeros_like(self.action_space.sample())
        jax.block_until_ready(self._step(carry, actions))


def vector_step(env, num_envs: int):
    """The pure step and reset of `num_envs` lanes, for `jit` or `lax.scan`.

    Returns:
        `step((key, state), actions, params)` -> `((key, state), (observation, reward, terminal, action_mask,
        final_observation, transition_info, step_info))`, everything with leading axis `num_envs`, and
        `reset(key, params)` -> `((key, state), observation, action_mask)`.
    """

    def lane(key, state, action, params):
        keys = jax.random.split(key, 6)
        moved = env.transition(state, action, keys[0], params)
        reward = env.reward(state, action, moved, keys[1], params)
        terminal = env.terminal(moved, keys[2], params)
        final = env.transition_info(state, action, moved, params)
        info = env.step_info(state, action, moved, params)  # before the lane starts again
        final_observation = env.observation(moved, keys[3], params)
        fresh = env.initial(keys[4], params)
        after = jax.tree.map(lambda new, old: jnp.where(terminal, new, old), fresh, moved)
        observation = env.observation(after, keys[5], params)
        return after, (observation, reward, terminal, env.action_mask(after, params), final_observation, final, info)

    def step(carry, actions, params):
        key, state = carry
        key, use = jax.random.split(key)
        state, result = jax.vmap(lane, in_axes=(0, 0, 0, None))(jax.random.split(use, num_envs), state, actions, params)
        return (key, state), result

    def reset(key, params):
        key, use, observe = jax.random.split(key, 3)
        state = jax.vmap(env.initial, in_axes=(0, None))(jax.random.split(use, num_envs), params)
        observation = jax.vmap(env.observation, in_axes=(0, 0, None))(
            state, jax.random.split(observe, num_envs), params
        )
        mask = jax.vmap(env.action_mask, in_axes=(0, None))(state, params)
        return (key, state), observation, mask

    return step, reset


def make_env(
    *, scenario: str, form: str | None = None, render_mode: str | None = None, **options: str
) -> FunctionalGymnasiumEnv:
    """Gymnasium's `entry_point` of every scenario."""
    return FunctionalGymnasiumEnv(make_problem(scenario, **options), form, render_mode)


def make_vector_env(
    *, scenario: str, num_envs: int = 1, form: str | None = None, **options: str
) -> FunctionalVectorEnv:
    """Gymnasium's `vector_entry_point` of every scenario."""
    return FunctionalVectorEnv(make_problem(scenario, **options), num_envs, form)
