"""The adaptors, written once: a functional environment as a Gymnasium environment, single or vector."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ...costmodels.errors import DsegymError, UnknownNameError
from ..core.functional import Step
from ..core.packing import Packing
from ..core.problem import Problem
from ..core.scenarios import make_problem
from ..core.stepping import lane_keys, reset_lane, reset_lanes, step_lanes

__all__ = ["FunctionalGymnasiumEnv", "FunctionalVectorEnv", "Recorder", "make_env", "make_vector_env"]

# Takes the finished episodes of one step: designs int32[F, n], objective float64[F], feasible bool[F].
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
        self._key: Any = None  # of the episodes to come
        self._words: Any = None  # the state, packed
        self._first: Any = None  # the state after `reset`; with the actions since, what a picture needs
        self._actions: list[np.ndarray] = []
        self._lane = _compiled_lane(problem, next(iter(problem.forms)) if form is None else form)

    @property
    def state(self) -> Any:
        """The functional environment's state, leaves on the host; it may be set, and an episode goes on from there.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset`.
            DsegymError: what it is set to has other leaves, shapes or dtypes than a state of this environment.
        """
        if self._words is None:
            raise gymnasium.error.ResetNeeded("Call reset() first.")
        return self._lane.state.host(np.array(self._words))

    @state.setter
    def state(self, state: Any) -> None:
        self._words = self._lane.state.checked(state)
        self._first, self._actions = self.state, []  # a picture shows what comes from here on

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Starts an episode. The seed, once given, fixes everything that follows."""
        super().reset(seed=seed, options=options)
        if self._key is None or seed is not None:
            self._key = lane_keys([self.np_random.integers(2**31) if seed is None else seed])[0]
        self._words, packed = self._lane.reset(self._key)
        self._key, observation, mask = self._lane.start.host(np.array(packed))
        if self.render_mode is not None:
            self._first, self._actions = self.state, []
        return observation, _with_mask({}, mask)

    def step(self, action):
        """One transition; `truncated` is always False."""
        if self._words is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step().")
        action = np.asarray(action, np.int32)
        self._words, packed = self._lane.step(self._words, action)
        if self.render_mode is not None:
            self._actions.append(action)
        observation, reward, terminal, mask, info, final = self._lane.outcome.host(np.array(packed))
        ended = bool(terminal)
        if ended:
            if "design" in final:
                exact = self.problem.exact_objective(final["design"][None], final["objective"][None])
                final |= {"objective": exact[0]}
            info = info | final
        return observation, float(reward), ended, False, _with_mask(info, mask)

    def render(self):
        """The episode so far, uint8[H, W, 3]: the form's `picture`, or the diagram of the design as it stands, in which
        what is undecided counts as `design(state)` has it. None without a render mode.
        """
        if self.render_mode is None or self.problem.diagram is None:
            return None
        if self._words is None:
            raise gymnasium.error.ResetNeeded("Call reset() before render().")
        from .raster import draw

        diagram = self.functional.picture(self.problem, self._first, self._actions)
        if diagram is None:
            diagram = self.problem.diagram(np.asarray(self._lane.design(self._words)))
        return draw(diagram)


class _Lane(NamedTuple):
    """The compiled functions of one lane, states and outcomes as packed words, and how these are read."""

    reset: Callable[[Any], Any]  # key -> state, start
    step: Callable[[Any, Any], Any]  # state, action -> state, outcome
    design: Callable[[Any], Any]  # state -> int32[n]
    state: Packing
    start: Packing  # of (key, observation, mask)
    outcome: Packing  # of (observation, reward, whether it ended, mask, step info, final info)


@functools.lru_cache(maxsize=64)
def _compiled_lane(problem: Problem, form: str | None) -> _Lane:
    """Shared by all environments of an instance."""
    env, params = problem.functional_env(form), functools.partial(_literals, _to_numpy(problem.env_params(form)))

    def start(key: Any) -> Any:
        (key, state), observation, mask = reset_lane(env, key, params())
        return state, (key, observation, mask)

    def move(state: Any, action: Any) -> Any:
        values = params()
        moved = env.advance(state, action, values)
        outcome = (
            env.observation(moved, values),
            env.reward(state, moved, values),
            env.over(moved, values),
            env.action_mask(moved, values),
            env.step_info(state, action, moved, values),
            env.final_info(moved, values),
        )
        return moved, outcome

    state, first = jax.eval_shape(start, lane_keys([0])[0])
    _, after = jax.eval_shape(move, state, np.zeros(env.action_space.shape or (), np.int32))
    of_state, of_start, of_outcome = Packing(state), Packing(first), Packing(after)

    @jax.jit
    def reset(key):
        state, first = start(key)
        return of_state.pack(state), of_start.pack(first)

    @jax.jit
    def step(words, action):
        moved, outcome = move(of_state.traced(words), action)
        return of_state.pack(moved), of_outcome.pack(outcome)

    @jax.jit
    def design(words):
        return env.design(of_state.traced(words), params())

    return _Lane(reset, step, design, of_state, of_start, of_outcome)


@functools.lru_cache(maxsize=64)
def _compiled_lanes(problem: Problem, form: str | None):
    """The jitted reset and step of a vector environment, shared by all of an instance's."""
    env, params = problem.functional_env(form), functools.partial(_literals, _to_numpy(problem.env_params(form)))
    return jax.jit(lambda keys: reset_lanes(env, keys, params())), jax.jit(
        lambda lanes, actions: step_lanes(env, lanes, actions, params())
    )


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
        self._lanes: Any = None
        self._reset, self._step = _compiled_lanes(problem, next(iter(problem.forms)) if form is None else form)

    def reset(self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None):
        """Starts an episode in every lane. A seed stands for itself and those that follow it, one a lane; in a list,
        every lane has its own, and a lane without one goes on drawing from the seed that it was given before.
        """
        given = [None] * self.num_envs if seed is None else seed
        seeds = [given + lane for lane in range(self.num_envs)] if isinstance(given, int | np.integer) else list(given)
        if len(seeds) != self.num_envs:
            raise DsegymError(f"{len(seeds)} seeds are given for {self.num_envs} lanes; give one, or one for each.")
        super().reset(seed=seeds[0], options=options)
        fresh = [lane for lane, each in enumerate(seeds) if each is not None or self._lanes is None]
        keys = np.zeros((self.num_envs, 2), np.uint32) if self._lanes is None else np.array(self._lanes.key)
        if fresh:
            drawn = [self.np_random.integers(2**31) if seeds[lane] is None else seeds[lane] for lane in fresh]
            keys[fresh] = lane_keys(drawn)
        self._lanes, observation, mask = self._reset(keys)
        return np.array(observation), _with_mask({}, mask)

    def step(self, actions):
        """One transition in every lane; lanes that end start again in the same step."""
        if self._lanes is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step().")
        start = time.perf_counter()
        self._lanes, step = self._step(self._lanes, np.asarray(actions, np.int32))
        observation, reward, terminal = np.array(step.observation), np.asarray(step.reward), np.asarray(step.terminal)
        info = _with_mask({}, step.action_mask)
        self.step_s += time.perf_counter() - start
        for name, values in step.step_info.items():
            info |= {name: np.asarray(values), f"_{name}": np.ones(self.num_envs, bool)}
        if terminal.any():
            info |= self._final(step, terminal)
        return observation, reward, terminal, np.zeros_like(terminal), info

    def _final(self, step: Step, terminal: np.ndarray) -> dict[str, Any]:
        """What `info` says of the episodes that have just ended; they are recorded here."""
        final = {name: np.asarray(values) for name, values in step.final_info.items()}
        if "design" in final:
            design, objective = final["design"][terminal], final["objective"][terminal]
            exact = final["objective"].astype(np.float64)
            exact[terminal] = self.problem.exact_objective(design, objective)
            final["objective"] = exact
            if self._recorder is not None:
                self._recorder(design, exact[terminal], final["feasible"][terminal])
        return {
            "final_obs": np.asarray(step.final_observation),
            "_final_obs": terminal,
            "final_info": final,
            "_final_info": terminal,
        }

    def warm_up(self) -> None:
        """Compiles `reset` and `step`; the environment's own state and random stream stay as they are."""
        lanes, _, _ = self._reset(lane_keys([0] * self.num_envs))
        actions = np.zeros((self.num_envs, *(self.single_action_space.shape or ())), np.int32)
        jax.block_until_ready(self._step(lanes, actions))


def make_env(
    *, scenario: str, form: str | None = None, render_mode: str | None = None, **options: object
) -> FunctionalGymnasiumEnv:
    """Gymnasium's `entry_point` of every scenario."""
    return FunctionalGymnasiumEnv(make_problem(scenario, **options), form, render_mode)


def make_vector_env(
    *, scenario: str, num_envs: int = 1, form: str | None = None, render_mode: str | None = None, **options: object
) -> FunctionalVectorEnv:
    """Gymnasium's `vector_entry_point` of every scenario.

    Raises:
        DsegymError: no whole number of lanes from 1 on, or pictures are asked for; or as `dsegym.make_problem`.
    """
    if isinstance(num_envs, bool) or not isinstance(num_envs, int | np.integer) or num_envs < 1:
        raise DsegymError(f"num_envs = {num_envs!r} is not allowed; allowed: a whole number from 1 on.")
    if render_mode is not None:
        raise DsegymError("Vector environments draw no pictures; make a single environment for a render mode.")
    return FunctionalVectorEnv(make_problem(scenario, **options), num_envs, form)
