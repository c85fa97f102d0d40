"""A functional environment as a Gymnasium environment: one lane, compiled once for an instance."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np
from gymnasium.envs.registration import EnvSpec

from ...costmodels.errors import DsegymError, UnknownNameError, literal, shortened
from ..core.forks import refuse_after_fork
from ..core.functional import FunctionalEnv
from ..core.packing import Packing
from ..core.problem import Problem
from ..core.scenarios import make_problem, remake_problem, scenario_ids
from ..core.stepping import constants_of, lane_keys, reset_lane
from .actions import NeedsReset, blank_action, checked_action, checked_seed
from .frames import frame
from .lanes import all_legal

__all__ = ["FunctionalGymnasiumEnv", "WithHorizon", "checked_render_mode", "made_problem", "make_env"]


class WithHorizon:
    """The specification of an environment that was made of a problem."""

    problem: Problem
    functional: FunctionalEnv[Any, Any]
    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """Gymnasium's, with the instance's own horizon as `max_episode_steps`.

        Raises:
            DsegymError: when set to that of another scenario.
        """
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        known, own = scenario_ids(), self.problem.scenario
        if spec is not None and spec.id in known and own in known and spec.id != own:
            raise DsegymError(f"'{spec.id}' was made with scenario='{own}'; the id alone names the scenario.")
        if spec is not None and spec.max_episode_steps is None:
            spec = dataclasses.replace(spec, max_episode_steps=self.functional.horizon)
        self._spec = spec


class FunctionalGymnasiumEnv(WithHorizon, gymnasium.Env):
    """A problem's environment for one lane. Info: `action_mask` if there is one; after every step what the form's
    `step_info` names; at the end also the finished episode's `design`, `objective` and `feasible`.
    `metadata["notes"]` says what of the instance is synthetic or uncalibrated.

    It pickles with its state, by scenario and options, and copies in mid-episode: for tree searches and checkpoints.

    Args:
        problem: the instance.
        form: one of its forms; the first when left out.
        render_mode: `rgb_array`, or None for no pictures.
        full_info: whether info holds the same keys at every step and after `reset`, as recorders of data sets (Minari)
            want: zeros, and an objective of NaN, before the episode's end.

    Raises:
        UnknownNameError: there is no such form or render mode.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(
        self, problem: Problem, form: str | None = None, render_mode: str | None = None, full_info: bool = False
    ):
        self.render_mode = checked_render_mode(render_mode)
        self.metadata = {**self.metadata, "notes": tuple(problem.notes)}
        self.problem = problem
        self.functional = env = problem.functional_env(form)
        self._form = next(iter(problem.forms)) if form is None else form
        # Spaces hold a random state, so that each environment has its own.
        self.observation_space = copy.deepcopy(env.observation_space)
        self.action_space = copy.deepcopy(env.action_space)
        self._full_info = full_info
        self._key: Any = None  # of the episodes to come
        self._words: Any = None  # the state, packed
        self._ended = False
        self._mask: Any = None  # of the next action
        self._first: Any = None  # the state after `reset`; with the actions since, what a picture needs
        self._actions: list[np.ndarray] = []

    @functools.cached_property
    def _lane(self) -> _Lane:
        """Compiled when first needed: who makes an environment for its spaces alone starts no JAX."""
        refuse_after_fork()
        return _compiled_lane(self.problem, self._form)

    @property
    def state(self) -> Any:
        """The functional environment's state, leaves on the host; it may be set, and an episode goes on from there.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset`.
            DsegymError: what it is set to has other leaves, shapes or dtypes than a state of this environment.
        """
        if self._words is None:
            raise NeedsReset("Call reset() first.")
        return self._lane.state.host(np.array(self._words))

    @state.setter
    def state(self, state: Any) -> None:
        self._words = self._lane.state.checked(state)
        self._ended, self._mask = self._lane.standing(self._words)
        self._first, self._actions = self.state, []  # a picture shows what comes from here on

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Starts an episode. The seed, once given, fixes everything that follows.

        Raises:
            DsegymError: the seed is no whole number from 0 on, or there are options, of which there are none.
        """
        refuse_after_fork()
        seed = checked_seed(seed)
        if options:
            given = ", ".join(map(shortened, options)) if isinstance(options, dict) else literal(options)
            raise DsegymError(f"reset() takes no options here; given: {given}.")
        super().reset(seed=seed)
        if self._key is None or seed is not None:
            self._key = lane_keys([self.np_random.integers(2**31) if seed is None else seed])[0]
        self._words, packed = self._lane.reset(self._key)
        self._key, observation, self._mask = self._lane.start.host(np.array(packed))
        self._ended = False
        if self.render_mode is not None:
            self._first, self._actions = self.state, []
        return observation, self._with_mask(self._blank_info() if self._full_info else {})

    def step(self, action):
        """One transition; `truncated` is always False.

        Raises:
            InvalidActionError: no action of the action space; nothing has happened then.
            gymnasium.error.ResetNeeded: before the first `reset`, or after the episode's end.
        """
        if self._words is None or self._ended:
            when = "has ended" if self._ended else "has not begun"
            raise NeedsReset(f"The episode {when}: call reset() before step().")
        refuse_after_fork()
        action = checked_action(self.action_space, action)
        self._words, packed = self._lane.step(self._words, action)
        if self.render_mode is not None:
            self._actions.append(action)
        observation, reward, terminal, self._mask, info, final = self._lane.outcome.host(np.array(packed))
        self._ended = bool(terminal)
        if self._ended:
            if "design" in final:
                exact = self.problem.exact_objective(final["design"][None], final["objective"][None])
                final |= {"objective": exact[0]}
            info = info | {name: value[()] for name, value in final.items()}  # scalars as such
        elif self._full_info:
            info = {**self._blank_info(), **info}
        return observation, float(reward), self._ended, False, self._with_mask(info)

    def action_masks(self) -> np.ndarray:
        """bool[actions], True where the next action is legal, as sb3-contrib asks for it; for a MultiDiscrete space the
        masks of its parts one after another, all True.
        """
        return all_legal(self.action_space) if self._mask is None else np.asarray(self._mask, bool)

    def render(self):
        """The episode so far, uint8[H, W, 3]: the form's `picture`, or the design as it stands, in which what is
        undecided counts as `design(state)` has it. None without a render mode.
        """
        if self.render_mode is None:
            return None
        if self._words is None:
            raise NeedsReset("Call reset() before render().")
        return frame(self.problem, self.functional, self._first, self._actions, lambda: self._lane.design(self._words))

    def _with_mask(self, info: dict[str, Any]) -> dict[str, Any]:
        return info if self._mask is None else {**info, "action_mask": np.asarray(self._mask, np.int8)}

    def _blank_info(self) -> dict[str, Any]:
        """Every key of info, without meaning yet."""
        *_, info, final = self._lane.outcome.host(np.zeros(self._lane.outcome.size, np.uint32))
        return {**info, **final, **({"objective": np.float64(np.nan)} if "objective" in final else {})}

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled by scenario, options and form, with the state on the host."""
        arguments = (self.problem, self._form, self.render_mode, self._full_info)
        own = {name: value for name, value in self.__dict__.items() if name not in ("problem", "functional", "_lane")}
        for name in ("_key", "_words"):
            own[name] = None if own[name] is None else np.array(own[name])
        return type(self), arguments, own


def checked_render_mode(render_mode: str | None) -> str | None:
    """The render mode.

    Raises:
        UnknownNameError: there is none of that name.
    """
    modes = FunctionalGymnasiumEnv.metadata["render_modes"]
    if render_mode is not None and not (isinstance(render_mode, str) and render_mode in modes):
        raise UnknownNameError("render mode", render_mode, modes)
    return render_mode


class _Lane(NamedTuple):
    """The compiled functions of one lane, states and outcomes as packed words, and how these are read."""

    reset: Callable[[Any], Any]  # key -> state, start
    step: Callable[[Any, Any], Any]  # state, action -> state, outcome
    design: Callable[[Any], Any]  # state -> int32[n]
    standing: Callable[[Any], Any]  # state -> whether the episode has ended, and the mask
    state: Packing
    start: Packing  # of (key, observation, mask)
    outcome: Packing  # of (observation, reward, whether it ended, mask, step info, final info)


@functools.lru_cache(maxsize=64)
def _compiled_lane(problem: Problem, form: str | None) -> _Lane:
    """Shared by all environments of an instance."""
    env, params = problem.functional_env(form), constants_of(problem.env_params(form))

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
    _, after = jax.eval_shape(move, state, blank_action(env.action_space))
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

    @jax.jit
    def stands(words):
        state, values = of_state.traced(words), params()
        return env.over(state, values), env.action_mask(state, values)

    def standing(words):
        over, mask = stands(words)
        return bool(over), None if mask is None else np.array(mask)

    return _Lane(reset, step, design, standing, of_state, of_start, of_outcome)


def made_problem(scenario: str, location: str | None, options: dict[str, object]) -> Problem:
    """The instance that a specification names; a third party's scenario that is not registered here is."""
    package, _, name = scenario.rpartition(":")
    if location is None or package:
        return make_problem(scenario, **options)
    return remake_problem(name, location, options)


def make_env(
    *,
    scenario: str,
    location: str | None = None,
    form: str | None = None,
    render_mode: str | None = None,
    full_info: bool = False,
    **options: object,
) -> FunctionalGymnasiumEnv:
    """Gymnasium's `entry_point` of every scenario.

    Args:
        scenario: its id.
        location: `package.module:NAME` of a third party's scenario, for processes that do not know it yet.
        form, render_mode, full_info: as of `FunctionalGymnasiumEnv`.
        **options: as of `dsegym.make_problem`.
    """
    return FunctionalGymnasiumEnv(made_problem(scenario, location, options), form, render_mode, full_info)


# What Gymnasium looks at before it makes an environment, to add its own window for `human`, say.
make_env.metadata = FunctionalGymnasiumEnv.metadata  # pyright: ignore[reportFunctionMemberAccess]
