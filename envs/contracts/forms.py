"""The clauses of each form of an instance: what it shows, how its episodes end, that every door to it is the same."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces.utils import flatdim

from ..core.problem import Problem
from ..core.scenarios import make_functional
from ..faces.gymnasium_env import FunctionalGymnasiumEnv
from ..faces.vector_env import FunctionalVectorEnv
from .clauses import SEED, TOLERANCE, BrokenContract, close, legal_action, require
from .padding import a_larger_shape_changes_nothing

__all__ = ["FORM_CLAUSES"]

LANES, ALONE = 6, 3  # played side by side, and those of them that are held against an environment of their own
STEPS = 40  # played in a row: several episodes where they are short; of the functional door, at most


def features_are_the_observation(problem: Problem, form: str) -> None:
    """Features have names of their own and a meaning each, and their slices cover the observation."""
    env = problem.functional_env(form)
    names = [feature.name for feature in env.features]
    require(len(set(names)) == len(names), f"the features {names} share names")
    for feature in env.features:
        require(feature.meaning, f"the feature {feature.name} has no meaning")
    parts = flatdim(env.observation_space)
    covered = sum(feature.size for feature in env.features)
    require(parts == covered, f"the features are {covered} numbers, and the observation has {parts}")


def checkers_find_no_fault(problem: Problem, form: str) -> None:
    """Gymnasium's and, where it is installed, stable-baselines3's `check_env` accept the environment."""
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check_env(FunctionalGymnasiumEnv(problem, form), skip_render_check=True)
        except (AssertionError, Warning, gymnasium.error.Error) as error:
            raise BrokenContract(f"gymnasium's check_env: {error}") from error
        try:
            from stable_baselines3.common.env_checker import check_env as check_of_stable_baselines3
        except ImportError:
            return
        try:
            check_of_stable_baselines3(FunctionalGymnasiumEnv(problem, form))
        except (AssertionError, Warning) as error:
            raise BrokenContract(f"stable-baselines3's check_env: {error}") from error


def a_seed_fixes_the_episodes(problem: Problem, form: str) -> None:
    """The same seed gives the same episodes, in a single environment and in any lane of a vector environment."""
    vector = FunctionalVectorEnv(problem, LANES, form)
    observation, info = vector.reset(seed=SEED)
    singles = [FunctionalGymnasiumEnv(problem, form) for _ in range(ALONE)]
    starts = [env.reset(seed=SEED + lane) for lane, env in enumerate(singles)]
    generator, ended = np.random.default_rng(SEED), 0
    for time in range(2 * vector.functional.horizon + 2):
        for lane, (alone, alone_info) in enumerate(starts):
            # Compilers contract products and sums as shapes suggest: last bits of a lane and of one alone may differ.
            require(close(alone, _lane(observation, lane)), f"step {time}: lane {lane} sees other than alone")
            mask = _lane(info.get("action_mask"), lane)
            same = np.array_equal(np.asarray(alone_info.get("action_mask")), np.asarray(mask))
            require(same, f"step {time}: lane {lane} has another mask than alone")
        if ended >= 2 * ALONE or time >= 60:
            break
        actions = [legal_action(generator, vector.single_action_space, start[1]) for start in starts]
        observation, reward, terminated, _, info = vector.step(np.stack([*actions, *actions[: LANES - ALONE]]))
        starts = []
        for lane, env in enumerate(singles):
            alone, alone_reward, alone_ended, _, alone_info = env.step(actions[lane])
            require(alone_ended == terminated[lane], f"step {time}: lane {lane} ends at another time than alone")
            require(close(alone_reward, reward[lane]), f"step {time}: lane {lane} is rewarded otherwise than alone")
            if alone_ended:
                ended += 1
                require(close(alone, _lane(info["final_obs"], lane)), f"step {time}: lane {lane} ends elsewhere")
                alone, alone_info = env.reset()
            starts.append((alone, alone_info))


def _lane(values: Any, lane: int) -> Any:
    """What a lane has of arrays with a leading axis of lanes."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[lane], values)


def episodes_end_and_replay(problem: Problem, form: str) -> None:
    """Observations and rewards are finite and in their space, episodes end within the horizon with a legal action at
    every step, and where the form says that a design replays them, the design costs what the episode did.
    """
    played, space = _played(problem, form), problem.functional_env(form).observation_space
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(played.observations))
    require(finite, "an observation is not finite")
    outside = [observation for observation in played.observations if observation not in space]
    require(not outside, f"the observation {outside[:1]} is outside its space")
    require(np.isfinite(played.rewards).all(), "a reward is not finite")
    require(not played.stuck, "an episode goes on without a legal action")
    require(not played.overrun, f"an episode goes on beyond its horizon of {played.horizon} steps")
    if played.replayable:
        result = problem.as_searched.evaluate(np.stack([final["design"] for final in played.finals]))
        for final, objective, feasible in zip(played.finals, result.objective, result.feasible, strict=True):
            close = math.isclose(objective, final["objective"], rel_tol=TOLERANCE)
            require(close, f"an episode costs {final['objective']}, its design {objective}")
            require(feasible == final["feasible"], "an episode and its design differ in feasibility")


def a_mask_names_the_legal_actions(problem: Problem, form: str) -> None:
    """Where there is an action mask, the info of an episode's end holds `illegal_actions`: how many of its actions the
    mask forbade.
    """
    played = _played(problem, form)
    for final, forbidden in zip(played.finals, played.forbidden, strict=True) if played.masked else ():
        require("illegal_actions" in final, "there is a mask, and the final info lacks 'illegal_actions'")
        counted = int(final["illegal_actions"])
        broken = f"the mask forbade {forbidden} of an episode's actions, and illegal_actions is {counted}"
        require(counted == forbidden, broken)


class _Played(NamedTuple):
    """Episodes of `LANES` lanes, of which every second takes forbidden actions where the mask leaves some."""

    observations: Sequence[Any]  # of all lanes and steps
    rewards: Sequence[float]
    finals: Sequence[Mapping[str, Any]]  # the final info of every episode that ended
    forbidden: Sequence[int]  # actions that each of them took against its mask
    stuck: bool  # whether a mask allowed nothing
    overrun: bool  # whether an episode took more steps than the horizon
    masked: bool  # whether there are masks
    replayable: bool
    horizon: int


@functools.lru_cache(maxsize=1)
def _played(problem: Problem, form: str) -> _Played:
    """Played once for the clauses that look at it."""
    env, generator = FunctionalVectorEnv(problem, LANES, form), np.random.default_rng(SEED)
    horizon, space = env.functional.horizon, env.single_action_space
    observation, info = env.reset(seed=SEED)
    observations, rewards, finals, forbidden = [_lane(observation, lane) for lane in range(LANES)], [], [], []
    taken, steps, stuck, overrun = np.zeros(LANES, int), np.zeros(LANES, int), False, False
    masked = "action_mask" in info
    for _ in range(max(horizon, STEPS)):
        masks = info["action_mask"].astype(bool) if masked else np.ones((LANES, 1), bool)
        stuck |= not masks.any(axis=1).all()
        asked = [~mask if lane % 2 and not mask.all() else mask for lane, mask in enumerate(masks)]
        lanes = [{"action_mask": each} if masked else {} for each in asked]
        actions = np.stack([legal_action(generator, space, lane) for lane in lanes])
        taken += ~masks[np.arange(LANES), actions] if masked else 0
        observation, reward, terminated, _, info = env.step(actions)
        steps += 1
        overrun = bool(((steps >= horizon) & ~terminated).any())
        observations.extend(_lane(observation, lane) for lane in range(LANES))
        rewards.extend(reward)
        for lane in np.flatnonzero(terminated).tolist():
            observations.append(_lane(info["final_obs"], lane))
            finals.append({name: values[lane] for name, values in info["final_info"].items()})
            forbidden.append(int(taken[lane]))
            taken[lane] = steps[lane] = 0
        if overrun:
            break
    replayable = env.functional.replayable
    return _Played(observations, rewards, finals, forbidden, stuck, overrun, masked, replayable, horizon)


def it_renders(problem: Problem, form: str) -> None:
    """An environment renders a picture after every step."""
    env, generator = FunctionalGymnasiumEnv(problem, form, render_mode="rgb_array"), np.random.default_rng(SEED)
    _, info = env.reset(seed=SEED)
    for _ in range(2):
        picture = env.render()
        require(picture is not None and picture.dtype == np.uint8 and picture.shape[2:] == (3,), "no uint8[H, W, 3]")
        _, _, ended, _, info = env.step(legal_action(generator, env.action_space, info))
        if ended:
            return


def the_functional_door_takes_the_same_steps(problem: Problem, form: str) -> None:
    """`make_functional` gives JAX arrays as params; from the state that `env.reset` begins, `env.step` under `lax.scan`
    goes where the Gymnasium environment goes, and where an episode ends, it begins the next one as `env.reset` does.
    """
    env, params = make_functional(problem.scenario, form=form, **problem.options)
    require(all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params)), "a leaf of params is no JAX array")
    reset = jax.jit(env.reset)
    keys = jax.random.split(jax.random.key(SEED), STEPS + 1)
    observation, first = reset(keys[0], params)
    face, generator = FunctionalGymnasiumEnv(problem, form), np.random.default_rng(SEED)
    seen, _ = face.reset(seed=SEED)
    require(close(jax.jit(env.observation)(face.state, params), seen), "the door sees a state otherwise")
    require(close(jax.jit(env.observation)(first, params), observation), "`reset` sees its state otherwise")
    face.state = jax.device_get(first)
    mask, actions, expected = jax.jit(env.action_mask)(first, params), [], []
    info = {} if mask is None else {"action_mask": np.asarray(mask)}
    for _ in range(min(env.horizon, STEPS)):
        actions.append(legal_action(generator, face.action_space, info))
        seen, reward, ended, _, info = face.step(actions[-1])
        expected.append((seen, reward, ended, info))
        if ended:
            break

    @jax.jit
    def play(state: Any, keys: Any, actions: Any, params: Any) -> Any:
        def move(state: Any, each: Any) -> Any:
            observation, state, reward, done, info = env.step(each[0], state, each[1], params)
            return state, (observation, reward, done, info, env.action_mask(state, params))

        return jax.lax.scan(move, state, (keys, actions))

    last, found = play(first, keys[1 : len(actions) + 1], jnp.asarray(np.stack(actions)), params)
    observations, rewards, dones, infos, masks = jax.device_get(found)
    for time, (seen, reward, ended, info) in enumerate(expected):
        require(close(_lane(infos["final_observation"], time), seen), f"step {time}: the door's observation differs")
        require(close(rewards[time], reward), f"step {time}: the door's reward is {rewards[time]}, not {reward}")
        require(dones[time] == ended, f"step {time}: the door's episode ends at another time")
        for name, value in info.items():
            if name != "action_mask":
                require(close(infos[name][time], value), f"step {time}: the door's {name} differs")
        if not ended:
            require(close(_lane(observations, time), seen), f"step {time}: the door's observation differs")
            same = masks is None or np.array_equal(masks[time], info["action_mask"])
            require(same, f"step {time}: the door's mask differs")
    if dones[-1]:
        began, state = reset(keys[len(actions)], params)
        same = close(_lane(observations, -1), began)
        require(same, "after an episode's end, the door's observation is not that of `reset`")
        same = all(map(close, jax.tree.leaves(jax.device_get(last)), jax.tree.leaves(jax.device_get(state))))
        require(same, "after an episode's end, the door's state is not that of `reset`")


FORM_CLAUSES: Sequence[Callable[[Problem, str], None]] = (
    features_are_the_observation,
    checkers_find_no_fault,
    a_seed_fixes_the_episodes,
    episodes_end_and_replay,
    a_mask_names_the_legal_actions,
    it_renders,
    the_functional_door_takes_the_same_steps,
    a_larger_shape_changes_nothing,
)
