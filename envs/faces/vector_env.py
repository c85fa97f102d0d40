"""A functional environment as a Gymnasium vector environment: many lanes, each batched step one jitted call."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ...costmodels.errors import DsegymError, UnknownNameError, literal
from ..core.collections import Collection
from ..core.forks import refuse_after_fork
from ..core.functional import FunctionalEnv, Step
from ..core.problem import Problem
from ..core.stepping import Lane, chosen, constants_of, lane_keys, move_lanes, reset_lanes, step_lanes
from .actions import NeedsReset, blank_action, checked_action, checked_seed
from .frames import frame
from .gymnasium_env import FunctionalGymnasiumEnv, WithHorizon, checked_render_mode, made_problem
from .lanes import LanewiseEnv

__all__ = ["CollectionVectorEnv", "FunctionalVectorEnv", "make_vector_env"]

MOST_LANES = 2**24  # and steps of an episode


class _FunctionalLanes(LanewiseEnv):
    """A functional environment for many lanes. It keeps to what `gymnasium.vector.SyncVectorEnv` does: arrays are the
    caller's own, rewards float64, and info has for every name the mask `_name` of the lanes that it speaks of.

    Info of every step: `action_mask` of what comes next, if there is one, and what the form's `step_info` names. Of
    finished episodes `design`, `objective` and `feasible`. With same-step autoreset, what is told of an episode's last
    step stands within `final_info`, beside `final_obs`. All is dense, [num_envs, ...], meaningful where the mask holds.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, **FunctionalGymnasiumEnv.metadata}  # noqa: RUF012
    _compiled: _Lanes

    def __init__(
        self,
        env: FunctionalEnv[Any, Any],
        num_envs: int,
        notes: Sequence[str],
        autoreset_mode: AutoresetMode,
        max_episode_steps: int | None,
        render_mode: str | None,
    ):
        self.num_envs, self.render_mode = num_envs, render_mode
        self.autoreset_mode = autoreset_mode
        self.metadata = {**self.metadata, "autoreset_mode": autoreset_mode, "notes": tuple(notes)}
        self.functional = env
        self.single_observation_space = copy.deepcopy(env.observation_space)
        self.single_action_space = copy.deepcopy(env.action_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._limit = max_episode_steps
        self.step_s = 0.0  # s spent in `step`
        self._lanes: Any = None
        self._ended = np.zeros(num_envs, bool)  # lanes whose episode is over, and which have not begun the next
        self._steps = np.zeros(num_envs, np.int64)  # taken in the present episode
        self._mask: Any = None
        self._firsts: list[Any] = [None] * num_envs  # as of a single environment, for pictures
        self._actions: list[list[np.ndarray]] = [[] for _ in range(num_envs)]

    def reset(self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None):
        """Starts an episode in every lane, or with `options={"reset_mask": bool[num_envs]}` in those that it names.

        A seed stands for itself and those that follow it, one a lane; in a list, every lane has its own, and a lane
        without one goes on drawing from the seed that it was given before.

        Raises:
            DsegymError: as many seeds as lanes are not given, one is no whole number from 0 on, the mask is of another
                shape or names no lane, or there are other options.
        """
        refuse_after_fork()
        seeds = self._lane_seeds(seed)
        again = self._lanes_to_reset(options)
        super().reset(seed=seeds[0])
        fresh = [lane for lane, each in enumerate(seeds) if again[lane] and (each is not None or self._lanes is None)]
        keys = np.zeros((self.num_envs, 2), np.uint32) if self._lanes is None else np.array(self._lanes.key)
        if fresh:
            drawn = [self.np_random.integers(2**31) if seeds[lane] is None else seeds[lane] for lane in fresh]
            keys[fresh] = lane_keys(drawn)
        if self._lanes is None or again.all():
            self._lanes, observation, mask = self._compiled.reset(keys)
        else:
            lanes = Lane(jnp.asarray(keys), self._lanes.state)
            self._lanes, observation, mask = self._compiled.restart(lanes, again)
        self._begun(again, mask)
        return _copied(observation), self._with_mask({})

    def step(self, actions):
        """One transition in every lane.

        Raises:
            InvalidActionError: no action of the action space; nothing has happened then.
            gymnasium.error.ResetNeeded: before the first `reset`, or, without autoreset, where an episode has ended.
        """
        if self._lanes is None:
            raise NeedsReset("The episodes have not begun: call reset() before step().")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._ended.any():
            lanes = ", ".join(map(str, np.flatnonzero(self._ended)[:10]))
            raise NeedsReset(
                f"The episodes of lanes {lanes} have ended: reset these with options={{'reset_mask': ...}}."
            )
        refuse_after_fork()
        actions = checked_action(self.single_action_space, actions, self.num_envs)
        start = time.perf_counter()
        same_step, restarted = self.autoreset_mode is AutoresetMode.SAME_STEP, self._ended
        if same_step and self._limit is None:
            self._lanes, step = self._compiled.step(self._lanes, actions)
        else:
            self._lanes, step = self._compiled.move(self._lanes, actions, restarted)
        terminal, reward = np.array(step.terminal), np.array(step.reward, np.float64)
        self._steps = np.where(restarted, 0, self._steps + 1)
        truncated = np.zeros_like(terminal) if self._limit is None else self._steps >= self._limit
        ended, observation, mask = terminal | truncated, step.observation, step.action_mask
        if same_step and self._limit is not None and ended.any():
            self._lanes, observation, mask = self._compiled.restart(self._lanes, ended)
        observation = _copied(observation)
        self._mask = None if mask is None else np.asarray(mask, np.int8)
        self.step_s += time.perf_counter() - start
        self._picture(actions, restarted, ended)
        self._ended = np.zeros_like(ended) if same_step else ended
        if same_step:
            self._steps[ended] = 0
        info = self._with_mask({})
        told = {name: np.array(values) for name, values in step.step_info.items()}
        going = ~ended if same_step else ~restarted
        info |= told | {f"_{name}": going.copy() for name in told}
        if ended.any():
            final = self._final(step, terminal)
            if same_step:
                final |= told | {f"_{name}": ended.copy() for name in told}
            outcome = {"final_obs": _copied(step.final_observation), "final_info": final} if same_step else final
            masks = dict.fromkeys(outcome, ended) if same_step else {}
            info |= outcome | {f"_{name}": mask.copy() for name, mask in masks.items()}
        return observation, reward, terminal, truncated, info

    def warm_up(self) -> None:
        """Compiles `reset` and `step`; the environment's own state and random stream stay as they are."""
        lanes, _, _ = self._compiled.reset(lane_keys([0] * self.num_envs))
        jax.block_until_ready(self._compiled.step(lanes, blank_action(self.single_action_space, self.num_envs)))

    def _lane_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None or np.ndim(seed) == 0:  # pyright: ignore[reportArgumentType]
            one = checked_seed(seed)
            return [None if one is None else one + lane for lane in range(self.num_envs)]
        seeds = [checked_seed(each) for each in seed]  # pyright: ignore[reportGeneralTypeIssues]
        if len(seeds) != self.num_envs:
            raise DsegymError(f"{len(seeds)} seeds are given for {self.num_envs} lanes; give one, or one for each.")
        return seeds

    def _lanes_to_reset(self, options: dict[str, Any] | None) -> np.ndarray:
        """bool[num_envs]."""
        others = [name for name in options or {} if name != "reset_mask"]
        if others:
            raise DsegymError(f"reset() takes the option reset_mask alone; given: {', '.join(map(str, others))}.")
        if not options:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(options["reset_mask"])
        if mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise DsegymError(f"reset_mask is bool[{self.num_envs}] with a True in it; given: {literal(mask)}.")
        if self._lanes is None and not mask.all():
            raise NeedsReset("reset_mask names some lanes, and no lane has begun: call reset() without it first.")
        return mask

    def _begun(self, lanes: np.ndarray, mask: Any) -> None:
        """What is kept of lanes, bool[num_envs], whose episodes have begun."""
        self._mask = None if mask is None else np.asarray(mask, np.int8)
        self._steps = np.where(lanes, 0, self._steps)
        self._ended = self._ended & ~lanes
        self._first_states(lanes)

    def _picture(self, actions: np.ndarray, restarted: np.ndarray, ended: np.ndarray) -> None:
        """Keeps what frames need of a step."""
        if self.render_mode is None:
            return
        for lane in np.flatnonzero(~restarted):
            self._actions[lane].append(actions[lane])
        self._first_states(restarted | (ended if self.autoreset_mode is AutoresetMode.SAME_STEP else False))

    def _first_states(self, lanes: np.ndarray) -> None:
        if self.render_mode is None or not lanes.any():
            return
        states = jax.tree.map(np.asarray, self._lanes.state)
        for lane in np.flatnonzero(lanes):
            self._firsts[lane] = jax.tree.map(lambda leaf, lane=lane: leaf[lane], states)
            self._actions[lane] = []

    def _with_mask(self, info: dict[str, Any]) -> dict[str, Any]:
        if self._mask is None:
            return info
        return {**info, "action_mask": self._mask.copy(), "_action_mask": np.ones(self.num_envs, bool)}

    def _final(self, step: Step, terminal: np.ndarray) -> dict[str, Any]:
        """What info says of the episodes that have just ended by themselves."""
        final = {name: np.array(values) for name, values in step.final_info.items()}
        if "design" in final and terminal.any():
            design, objective = final["design"][terminal], final["objective"][terminal]
            exact = final["objective"].astype(np.float64)
            exact[terminal] = self._exact(design, objective)
            final["objective"] = exact
        return final | {f"_{name}": terminal.copy() for name in final}

    def _exact(self, designs: np.ndarray, objective: np.ndarray) -> np.ndarray:
        """float64[F], of finished episodes, for which there is float32[F]."""
        del designs
        return objective.astype(np.float64)


class FunctionalVectorEnv(WithHorizon, _FunctionalLanes):
    """A problem's environment for many lanes, see `_FunctionalLanes`.

    Args:
        problem: the instance.
        num_envs: lanes.
        form: one of its forms; the first when left out.
        autoreset_mode: when a lane whose episode has ended begins the next: in the same step (fastest), in the next, or
            when `reset(options={"reset_mask": bool[num_envs]})` says so.
        max_episode_steps: after which an episode is truncated; None for never, as episodes have an end of their own.
        render_mode: `rgb_array`, for a tuple of frames, one a lane; None for no pictures.
    """

    def __init__(
        self,
        problem: Problem,
        num_envs: int,
        form: str | None = None,
        *,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ):
        self.problem = problem
        self._form = next(iter(problem.forms)) if form is None else form
        render_mode, env = checked_render_mode(render_mode), problem.functional_env(form)
        super().__init__(env, num_envs, problem.notes, autoreset_mode, max_episode_steps, render_mode)

    @functools.cached_property
    def _compiled(self) -> _Lanes:  # pyright: ignore[reportIncompatibleVariableOverride]
        refuse_after_fork()
        return _compiled_lanes(self.problem, self._form)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled as a single environment is, by scenario, options and form, with the states on the host."""
        apart = ("problem", "functional", "num_envs", "_compiled", "_form")
        own = {name: value for name, value in self.__dict__.items() if name not in apart}
        own["_lanes"] = jax.tree.map(np.array, self._lanes)
        return type(self), (self.problem, self.num_envs, self._form), own

    def render(self):
        """A tuple of frames, one a lane; None without a render mode."""
        if self.render_mode is None:
            return None
        if self._lanes is None:
            raise NeedsReset("Call reset() before render().")
        designs = np.asarray(self._compiled.design(self._lanes))
        return tuple(
            frame(
                self.problem, self.functional, self._firsts[lane], self._actions[lane], lambda lane=lane: designs[lane]
            )
            for lane in range(self.num_envs)
        )

    def _exact(self, designs: np.ndarray, objective: np.ndarray) -> np.ndarray:
        return self.problem.exact_objective(designs, objective)


class CollectionVectorEnv(_FunctionalLanes):
    """Many lanes whose every episode is of an instance drawn from a part of a collection, see `_FunctionalLanes`: for
    learners that step environments. Info of every step holds which one it is, too: `instance`, int32. No pictures.

    Args:
        collection: of a name, or the user's own.
        split: train, validation or test.
        num_envs: lanes.
        autoreset_mode, max_episode_steps: as of `FunctionalVectorEnv`.

    Raises:
        DsegymError: no whole number of lanes, or of steps, from 1 to `MOST_LANES`; or as `Collection.environment`.
    """

    metadata = {**_FunctionalLanes.metadata, "render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        collection: Collection,
        split: str,
        num_envs: int,
        *,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
        max_episode_steps: int | None = None,
    ):
        _check_counts(num_envs, max_episode_steps)
        env, self._params = collection.environment(split)
        notes = dict.fromkeys(note for problem in collection.problems(split) for note in problem.notes)
        super().__init__(env, num_envs, tuple(notes), autoreset_mode, max_episode_steps, None)

    @functools.cached_property
    def _compiled(self) -> _Lanes:  # pyright: ignore[reportIncompatibleVariableOverride]
        refuse_after_fork()
        return _lanes_of(self.functional, lambda params: params, jax.tree.map(jnp.asarray, self._params))


class _Lanes(NamedTuple):
    """The compiled functions of many lanes."""

    reset: Callable[[Any], Any]  # keys -> lanes, observation, mask
    step: Callable[[Any, Any], Any]  # lanes, actions -> lanes, Step; lanes that end have begun again
    move: Callable[[Any, Any, Any], Any]  # lanes, actions, restart bool[B] -> lanes, Step
    restart: Callable[[Any, Any], Any]  # lanes, restart bool[B] -> lanes, observation, mask
    design: Callable[[Any], Any]  # lanes -> int32[B, n]


@functools.lru_cache(maxsize=64)
def _compiled_lanes(problem: Problem, form: str | None) -> _Lanes:
    """Shared by all vector environments of an instance."""
    constants = constants_of(problem.env_params(form))
    return _lanes_of(problem.functional_env(form), lambda _: constants(), ())


def _lanes_of(env: FunctionalEnv[Any, Any], read: Callable[[Any], Any], given: Any) -> _Lanes:
    """Programs that are handed `given`, of which `read` makes the params within."""

    def restart(lanes: Lane, again: Any, params: Any) -> Any:
        fresh, _, _ = reset_lanes(env, lanes.key, params)
        lanes = jax.vmap(chosen)(again, fresh, lanes)
        return lanes, *jax.vmap(lambda state: _seen(env, state, params))(lanes.state)

    def jitted(function: Callable[..., Any]) -> Callable[..., Any]:
        return functools.partial(jax.jit(lambda given, *arguments: function(*arguments, read(given))), given)

    return _Lanes(
        jitted(functools.partial(reset_lanes, env)),
        jitted(functools.partial(step_lanes, env)),
        jitted(functools.partial(move_lanes, env)),
        jitted(restart),
        jitted(lambda lanes, params: jax.vmap(lambda state: env.design(state, params))(lanes.state)),
    )


def _seen(env: FunctionalEnv[Any, Any], state: Any, params: Any) -> tuple[Any, Any]:
    """What a policy sees of a state: the observation and the mask."""
    return env.observation(state, params), env.action_mask(state, params)


def _copied(tree: Any) -> Any:
    """Leaves as NumPy arrays that are the caller's own."""
    return jax.tree.map(np.array, tree)


def _check_counts(num_envs: object, max_episode_steps: object) -> None:
    steps = {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}
    for name, value in {"num_envs": num_envs, **steps}.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= MOST_LANES:
            given = literal(value)
            raise DsegymError(f"{name} = {given} is not allowed; allowed: a whole number from 1 to {MOST_LANES:,}.")


def make_vector_env(
    *,
    scenario: str,
    location: str | None = None,
    num_envs: int = 1,
    form: str | None = None,
    render_mode: str | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    max_episode_steps: int | None = None,
    **options: object,
) -> FunctionalVectorEnv:
    """Gymnasium's `vector_entry_point` of every scenario.

    Args:
        scenario, location: as of `make_env`.
        num_envs, form, render_mode, max_episode_steps: as of `FunctionalVectorEnv`.
        autoreset_mode: as there; or its text, `SameStep`, `NextStep` or `Disabled`.
        **options: as of `dsegym.make_problem`.

    Raises:
        DsegymError: no whole number of lanes, or of steps, from 1 to `MOST_LANES`; or as `dsegym.make_problem`.
        UnknownNameError: no autoreset mode.
    """
    _check_counts(num_envs, max_episode_steps)
    modes = {mode.value: mode for mode in AutoresetMode}
    if not isinstance(autoreset_mode, AutoresetMode):
        if not isinstance(autoreset_mode, str) or autoreset_mode not in modes:
            raise UnknownNameError("autoreset mode", autoreset_mode, modes)
        autoreset_mode = modes[autoreset_mode]
    return FunctionalVectorEnv(
        made_problem(scenario, location, options),
        num_envs,
        form,
        autoreset_mode=autoreset_mode,
        max_episode_steps=max_episode_steps,
        render_mode=render_mode,
    )
