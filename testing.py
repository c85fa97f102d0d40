"""The contracts that every scenario and every agent keeps, for the tests of those who write one.

    >>> from dsegym.testing import check_scenario
    >>> check_scenario("dsegym/AcceleratorSizing-v0", [{"workload": "alexnet"}], forms=["parametric"])

A check that fails raises `BrokenContract`, which says in one sentence the scenario, the instance, the clause and what
breaks it. The clauses are the functions of this module's tables, in the order in which they are tried; each docstring
is the clause, and CONTRIBUTING.md lists them.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces.utils import flatdim

from .agents.base import NEEDS, Agent
from .agents.referee import Referee, Samples
from .agents.registry import load_agent
from .costmodels.errors import BudgetExhausted, DsegymError, TimeLimitReached
from .envs.core.evaluation import BOUNDS, Yardstick
from .envs.core.functional import FunctionalEnv
from .envs.core.problem import Problem
from .envs.core.scenarios import Scenario, load_scenario, make_functional, make_problem
from .envs.core.spaces import DesignSpace
from .envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from .envs.faces.vector_env import FunctionalVectorEnv

__all__ = [
    "AGENT_CLAUSES",
    "FORM_CLAUSES",
    "INSTANCE_CLAUSES",
    "SCENARIO_CLAUSES",
    "BrokenContract",
    "check_agent",
    "check_padding",
    "check_scenario",
]

DESIGNS = 24  # random ones, of an instance
LANES, ALONE = 6, 3  # played side by side, and those of them that are held against an environment of their own
STEPS = 40  # played in a row: several episodes where they are short; of the functional door, at most
SEED = 2026
BUDGET, OFFERED_BUDGET = 40, 120  # samples of a search, and of one with other hyperparameters than the defaults
PADDED_STEPS = 150  # of an episode that is played in a larger shape, at most
TOLERANCE = 1e-6  # relative, between an episode's float32 objective and the replayed design's


class BrokenContract(DsegymError, AssertionError):
    """A scenario or an agent breaks a clause of its contract."""


def _require(holds: object, message: str) -> None:
    if not holds:
        raise BrokenContract(message)


# Clauses of a scenario ------------------------------------------------------------------------------------------------


def it_describes_itself_and_its_instances(family: Scenario) -> None:
    """It has a summary, and so has each option; canonical texts stay as they are; its tables can be made."""
    _require(family.summary, "the scenario has no summary")
    for name, option in family.options.items():
        _require(option.summary, f"the option {name} has no summary")
        default = option.text(option.default)  # `own`, say, of which an instance's name has the meaning
        for text in (family.resolve({name: default})[name], *option.values()):
            again = family.resolve({name: text})[name]
            _require(again == text, f"the option {name}'s value {text!r} becomes {again!r}")
    _require(family.core_instances(), "there are no core instances")
    family.facts()


# Clauses of an instance -----------------------------------------------------------------------------------------------


def options_survive_json(problem: Problem) -> None:
    """The options are texts, which after JSON make the same instance again; so are those of Gymnasium's spec."""
    options = json.loads(json.dumps(dict(problem.options)))
    _require(make_problem(problem.scenario, **options) is problem, f"{options} make another instance")
    spec = gymnasium.make(problem.scenario, **options).spec
    assert spec is not None
    again = gymnasium.make(EnvSpec.from_json(spec.to_json()))
    _require(again.get_wrapper_attr("problem") is problem, "its spec after JSON makes another instance")


def designs_cost_finite_positive_objectives(problem: Problem) -> None:
    """Objectives are finite and positive, on the held-out cases too; no infeasible design is below a feasible one; the
    violation is above 0 where a design is infeasible and nowhere else, and a feasible objective has no penalty.
    """
    for which in (problem.evaluate, problem.evaluate_held_out):
        result = which(_designs(problem))
        _require(np.isfinite(result.objective).all(), f"objectives {result.objective} are not all finite")
        _require((result.objective > 0).all(), f"objectives {result.objective} are not all positive")
        if result.feasible.any() and not result.feasible.all():
            best, worst = result.objective[~result.feasible].min(), result.objective[result.feasible].max()
            _require(best > worst, f"an infeasible design has {best}, a feasible one {worst}")
        told = (result.violation <= 0) == result.feasible  # False where it is no number
        _require(told.all(), f"violations {result.violation} do not tell the feasible designs")
        alike = np.isclose(result.unpenalised, result.objective, rtol=TOLERANCE) | ~result.feasible
        _require(alike.all(), f"unpenalised objectives {result.unpenalised} are not those of feasible designs")


def a_design_costs_the_same_alone_and_in_a_batch(problem: Problem) -> None:
    """Costs are the same bits however designs are batched."""
    designs = _designs(problem)
    together = problem.evaluate(designs)
    for size, start in itertools.product((1, 3), (0, len(designs) - 3)):
        alone = problem.evaluate(designs[start : start + size])
        for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            same = np.array_equal(one, many[start : start + size], equal_nan=one.dtype.kind == "f")
            _require(same, f"designs {start} to {start + size - 1} cost {one}, in a batch {many[start : start + size]}")


def the_reference_is_above_the_bound(problem: Problem) -> None:
    """The reference's value is above the bound's by more than rounding, and a yardstick's design has its value."""
    reference, bound = problem.reference, problem.bound
    for yardstick in (reference, bound):
        _require(math.isfinite(yardstick.value), f"{yardstick.name} is {yardstick.value}")
        _require(yardstick.name and yardstick.source, f"{yardstick} lacks its name or its source")
    _require(bound.name in BOUNDS, f"the bound is called {bound.name!r}; allowed: {', '.join(BOUNDS)}")
    for yardstick in (reference, bound):
        _costs_its_value(problem, yardstick)
    _require(not problem.obstacle, problem.obstacle)


def _costs_its_value(problem: Problem, yardstick: Yardstick) -> None:
    if yardstick.design is not None:
        result = problem.evaluate_held_out(yardstick.design)
        close = math.isclose(result.objective[0], yardstick.value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        _require(close, f"{yardstick.name}'s design costs {result.objective[0]}, and its value is {yardstick.value}")
        _require(result.feasible[0], f"{yardstick.name}'s design is infeasible")


def no_design_is_below_the_bound(problem: Problem) -> None:
    """No design that is tried, random or a baseline's, is below a bound that is proven or an optimum."""
    if problem.bound.name in ("bound", "optimum"):
        best = problem.evaluate_held_out(_designs(problem)).objective.min()
        _require(
            best >= problem.bound.value * (1 - TOLERANCE), f"a design has {best}, the bound is {problem.bound.value}"
        )


def notes_are_sentences(problem: Problem) -> None:
    """What is synthetic or uncalibrated is said in sentences."""
    _require(isinstance(problem.notes, tuple | list), f"notes are {problem.notes!r}, no sequence of sentences")
    for note in problem.notes:
        _require(isinstance(note, str) and note.strip().endswith("."), f"the note {note!r} is no sentence")


def a_breakdown_has_finite_totals(problem: Problem) -> None:
    """Where there is a breakdown, it breaks down the reference's design, or any if it has none, in finite figures."""
    if problem.breakdown is not None:
        design = problem.reference.design
        found = problem.breakdown(problem.decode(_designs(problem)[0] if design is None else design))
        _require(found.totals, "the breakdown has no totals")
        for name, value in found.totals.items():
            _require(not isinstance(value, float) or math.isfinite(value), f"the breakdown's {name} is {value}")


@functools.lru_cache(maxsize=1)
def _designs(problem: Problem) -> np.ndarray:
    """int32[.., n]: the baselines', the two extreme corners, and random ones."""
    baselines = [np.asarray(maker(), np.int32) for maker in problem.baselines.values()]
    corners = [np.zeros(len(problem.space), np.int32), problem.space.cardinalities.astype(np.int32) - 1]
    return np.stack([*baselines, *corners, *problem.space.sample(np.random.default_rng(SEED), DESIGNS)])


# Clauses of a form ----------------------------------------------------------------------------------------------------


def features_are_the_observation(problem: Problem, form: str) -> None:
    """Features have names of their own and a meaning each, and their slices cover the observation."""
    env = problem.functional_env(form)
    names = [feature.name for feature in env.features]
    _require(len(set(names)) == len(names), f"the features {names} share names")
    for feature in env.features:
        _require(feature.meaning, f"the feature {feature.name} has no meaning")
    parts = flatdim(env.observation_space)
    covered = sum(feature.size for feature in env.features)
    _require(parts == covered, f"the features are {covered} numbers, and the observation has {parts}")


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
            _require(_close(alone, _lane(observation, lane)), f"step {time}: lane {lane} sees other than alone")
            mask = _lane(info.get("action_mask"), lane)
            same = np.array_equal(np.asarray(alone_info.get("action_mask")), np.asarray(mask))
            _require(same, f"step {time}: lane {lane} has another mask than alone")
        if ended >= 2 * ALONE or time >= 60:
            break
        actions = [_legal_action(generator, vector.single_action_space, start[1]) for start in starts]
        observation, reward, terminated, _, info = vector.step(np.stack([*actions, *actions[: LANES - ALONE]]))
        starts = []
        for lane, env in enumerate(singles):
            alone, alone_reward, alone_ended, _, alone_info = env.step(actions[lane])
            _require(alone_ended == terminated[lane], f"step {time}: lane {lane} ends at another time than alone")
            _require(_close(alone_reward, reward[lane]), f"step {time}: lane {lane} is rewarded otherwise than alone")
            if alone_ended:
                ended += 1
                _require(_close(alone, _lane(info["final_obs"], lane)), f"step {time}: lane {lane} ends elsewhere")
                alone, alone_info = env.reset()
            starts.append((alone, alone_info))


def _close(one: Any, other: Any) -> bool:
    """Whether arrays, or the parts of two observations, are equal but for last bits."""

    def close(a: Any, b: Any) -> bool:
        rounded = np.asarray(a).dtype == np.uint8  # of an image: last bits decide which way a share is rounded
        return np.allclose(a, b, rtol=1e-4, atol=1 if rounded else 1e-5, equal_nan=True)  # another clause: finite

    ones, others = jax.tree.leaves(one), jax.tree.leaves(other)
    return len(ones) == len(others) and all(map(close, ones, others))


def _lane(values: Any, lane: int) -> Any:
    """What a lane has of arrays with a leading axis of lanes."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[lane], values)


def _legal_action(generator: np.random.Generator, space: Any, info: Mapping[str, Any]) -> np.ndarray:
    """int32: one at random, among those of the mask where there is one."""
    mask = info.get("action_mask")
    if mask is not None and mask.any():
        return np.asarray(generator.choice(np.flatnonzero(mask)), np.int32)
    return np.asarray(generator.integers(0, space.nvec if hasattr(space, "nvec") else space.n), np.int32)


def episodes_end_and_replay(problem: Problem, form: str) -> None:
    """Observations and rewards are finite and in their space, episodes end within the horizon with a legal action at
    every step, and where the form says that a design replays them, the design costs what the episode did.
    """
    played, space = _played(problem, form), problem.functional_env(form).observation_space
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(played.observations))
    _require(finite, "an observation is not finite")
    outside = [observation for observation in played.observations if observation not in space]
    _require(not outside, f"the observation {outside[:1]} is outside its space")
    _require(np.isfinite(played.rewards).all(), "a reward is not finite")
    _require(not played.stuck, "an episode goes on without a legal action")
    _require(not played.overrun, f"an episode goes on beyond its horizon of {played.horizon} steps")
    if played.replayable:
        result = problem.as_searched.evaluate(np.stack([final["design"] for final in played.finals]))
        for final, objective, feasible in zip(played.finals, result.objective, result.feasible, strict=True):
            close = math.isclose(objective, final["objective"], rel_tol=TOLERANCE)
            _require(close, f"an episode costs {final['objective']}, its design {objective}")
            _require(feasible == final["feasible"], "an episode and its design differ in feasibility")


def a_mask_names_the_legal_actions(problem: Problem, form: str) -> None:
    """Where there is an action mask, the info of an episode's end holds `illegal_actions`: how many of its actions the
    mask forbade.
    """
    played = _played(problem, form)
    for final, forbidden in zip(played.finals, played.forbidden, strict=True) if played.masked else ():
        _require("illegal_actions" in final, "there is a mask, and the final info lacks 'illegal_actions'")
        counted = int(final["illegal_actions"])
        broken = f"the mask forbade {forbidden} of an episode's actions, and illegal_actions is {counted}"
        _require(counted == forbidden, broken)


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
        actions = np.stack([_legal_action(generator, space, lane) for lane in lanes])
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
        _require(picture is not None and picture.dtype == np.uint8 and picture.shape[2:] == (3,), "no uint8[H, W, 3]")
        _, _, ended, _, info = env.step(_legal_action(generator, env.action_space, info))
        if ended:
            return


def the_functional_door_takes_the_same_steps(problem: Problem, form: str) -> None:
    """`make_functional` gives JAX arrays as params; from the state that `env.reset` begins, `env.step` under `lax.scan`
    goes where the Gymnasium environment goes, and where an episode ends, it begins the next one as `env.reset` does.
    """
    env, params = make_functional(problem.scenario, form=form, **problem.options)
    _require(all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params)), "a leaf of params is no JAX array")
    reset = jax.jit(env.reset)
    keys = jax.random.split(jax.random.key(SEED), STEPS + 1)
    observation, first = reset(keys[0], params)
    face, generator = FunctionalGymnasiumEnv(problem, form), np.random.default_rng(SEED)
    seen, _ = face.reset(seed=SEED)
    _require(_close(jax.jit(env.observation)(face.state, params), seen), "the door sees a state otherwise")
    _require(_close(jax.jit(env.observation)(first, params), observation), "`reset` sees its state otherwise")
    face.state = jax.device_get(first)
    mask, actions, expected = jax.jit(env.action_mask)(first, params), [], []
    info = {} if mask is None else {"action_mask": np.asarray(mask)}
    for _ in range(min(env.horizon, STEPS)):
        actions.append(_legal_action(generator, face.action_space, info))
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
        _require(_close(_lane(infos["final_observation"], time), seen), f"step {time}: the door's observation differs")
        _require(_close(rewards[time], reward), f"step {time}: the door's reward is {rewards[time]}, not {reward}")
        _require(dones[time] == ended, f"step {time}: the door's episode ends at another time")
        for name, value in info.items():
            if name != "action_mask":
                _require(_close(infos[name][time], value), f"step {time}: the door's {name} differs")
        if not ended:
            _require(_close(_lane(observations, time), seen), f"step {time}: the door's observation differs")
            same = masks is None or np.array_equal(masks[time], info["action_mask"])
            _require(same, f"step {time}: the door's mask differs")
    if dones[-1]:
        began, state = reset(keys[len(actions)], params)
        same = _close(_lane(observations, -1), began)
        _require(same, "after an episode's end, the door's observation is not that of `reset`")
        same = all(map(_close, jax.tree.leaves(jax.device_get(last)), jax.tree.leaves(jax.device_get(state))))
        _require(same, "after an episode's end, the door's state is not that of `reset`")


Axes = tuple[int, ...]


def a_larger_shape_changes_nothing(
    problem: Problem,
    form: str,
    sizes: Mapping[str, int] | None = None,
    axes: tuple[Axes, Axes] | None = None,
    *,
    exact: bool = False,
) -> None:
    """Where the form has sizes, an episode in the shape of a larger instance, as `padded` makes it, is seen, ends and
    costs as the instance's own; what the instance lacks is 0 in observations and masked.
    """
    env, params = problem.functional_env(form), problem.env_params(form)
    own = env.sizes(params)
    if not own:
        return
    sizes = {name: count + 1 for name, count in own.items()} if sizes is None else sizes
    larger, padded = env.padded(params, sizes)
    (state, seen), (other, shown) = _begun(env, params), _begun(larger, padded)
    generator, agree = np.random.default_rng(SEED), np.array_equal if exact else _close
    for step in range(min(env.horizon, PADDED_STEPS) + 1):
        legal = _compare_views(seen, shown, axes, f"step {step}")
        _require(agree(seen.reward, shown.reward), f"step {step}: the reward is {shown.reward}, not {seen.reward}")
        if seen.over:
            break
        if legal is None:
            action = _legal_action(generator, env.action_space, {})
            actions = action, np.zeros(larger.action_space.shape or (), np.int32)
            actions[1][tuple(map(slice, action.shape))] = action
        else:
            place = generator.integers(len(legal[0]))
            actions = legal[0][place], legal[1][place]
        state, seen = _advanced(env, state, actions[0], params)
        other, shown = _advanced(larger, other, actions[1], padded)
    for name, values in seen.final_info.items():
        found = np.asarray(shown.final_info[name])
        found = found[: len(values)] if name == "design" else found
        _require(np.array_equal(found, values, equal_nan=True), f"the episode's {name} is {found}, not {values}")


class _View(NamedTuple):
    """What there is to know of a state."""

    features: Mapping[str, Any]  # float32 each, in the feature's shape
    action_mask: Any
    reward: Any  # of the transition that led to it
    over: Any
    final_info: Mapping[str, Any]


def _view(env: FunctionalEnv[Any, Any], before: Any, state: Any, params: Any) -> _View:
    observed = env.observe(state, params)
    return _View(
        {feature.name: jnp.reshape(observed[feature.name], feature.shape) for feature in env.features},
        env.action_mask(state, params),
        env.reward(before, state, params),
        env.over(state, params),
        env.final_info(state, params),
    )


@functools.partial(jax.jit, static_argnums=0)
def _begun(env: FunctionalEnv[Any, Any], params: Any) -> tuple[Any, _View]:
    state = env.start(jax.random.key(SEED), params)
    return state, _view(env, state, state, params)


@functools.partial(jax.jit, static_argnums=0)
def _advanced(env: FunctionalEnv[Any, Any], state: Any, action: Any, params: Any) -> tuple[Any, _View]:
    moved = env.advance(state, action, params)
    return moved, _view(env, state, moved, params)


def _compare_views(
    seen: _View, shown: _View, axes: tuple[Axes, Axes] | None, where: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """The legal actions of a state, alone and in a larger shape, in their order; None where there are no masks."""
    seen, shown = (jax.tree.map(np.asarray, view) for view in (seen, shown))
    _require(seen.over == shown.over, f"{where}: the episode ends at another time")
    masks, legal = (seen.action_mask, shown.action_mask), None
    if seen.action_mask is not None:
        legal = np.flatnonzero(masks[0]), np.flatnonzero(masks[1])
        tables = masks if axes is None else tuple(mask.reshape(each) for mask, each in zip(masks, axes, strict=True))
        same = len(legal[0]) == len(legal[1]) if axes is None else _is_continued(*tables)
        _require(same or seen.over, f"{where}: other actions are legal")
    for name, values in seen.features.items():
        found = shown.features[name]
        same = _is_continued(values, found)
        if not same and legal is not None and (values.shape, found.shape) == (masks[0].shape, masks[1].shape):
            # Of each action, whose numbers may be others.
            same = np.array_equal(values[masks[0]], found[masks[1]]) and not found[~masks[1]].any()
        _require(same, f"{where}: the feature {name} differs")
    return legal


def _is_continued(values: np.ndarray, longer: np.ndarray) -> bool:
    """Whether a larger array begins with the values, and has nothing beyond them."""
    own, beyond = tuple(map(slice, values.shape)), longer.copy()
    beyond[own] = 0
    return np.array_equal(longer[own], values) and not beyond.any()


SCENARIO_CLAUSES: Sequence[Callable[[Scenario], None]] = (it_describes_itself_and_its_instances,)
INSTANCE_CLAUSES: Sequence[Callable[[Problem], None]] = (
    options_survive_json,
    designs_cost_finite_positive_objectives,
    a_design_costs_the_same_alone_and_in_a_batch,
    the_reference_is_above_the_bound,
    no_design_is_below_the_bound,
    notes_are_sentences,
    a_breakdown_has_finite_totals,
)
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


def check_scenario(
    scenario_id: str,
    instances: Iterable[Mapping[str, object]] = ({},),
    *,
    forms: Sequence[str] | None = None,
) -> None:
    """Holds a registered scenario to its contract.

    Args:
        scenario_id: as `make_problem` takes it.
        instances: the options of those that are tried; the defaults when left out. Small ones are quick.
        forms: those that are tried; all when left out.

    Raises:
        BrokenContract: says the instance, the form and the clause.
        DsegymError: an instance cannot be made.
    """
    family, tried = load_scenario(scenario_id), list(instances)
    _require(tried, "no instance is given to be tried")
    _require(forms is None or forms, "no form is given to be tried")
    for clause in SCENARIO_CLAUSES:
        _hold(clause, scenario_id, family)
    for options in tried:
        problem = make_problem(scenario_id, **options)
        where = f"{problem.scenario} ({problem.name})"
        for clause in INSTANCE_CLAUSES:
            _hold(clause, where, problem)
        for form in problem.forms if forms is None else forms:
            for clause in FORM_CLAUSES:
                _hold(clause, f"{where}, form {form}", problem, form)


def check_padding(
    problem: Problem,
    form: str | None = None,
    sizes: Mapping[str, int] | None = None,
    *,
    axes: tuple[Axes, Axes] | None = None,
    exact: bool = True,
) -> None:
    """Holds an instance to `FunctionalEnv.padded`: plays an episode as it is and in a larger shape.

    Args:
        problem: the instance.
        form: one of its forms; the first when left out.
        sizes: of the larger shape, as `FunctionalEnv.sizes` names them; one more of each when left out.
        axes: of the table of actions, alone and in the larger shape, as ((tasks, elements), (30, 4)), so that masks
            are compared place by place; when left out, legal actions are compared in their order.
        exact: whether rewards are the same bits, as all else must be; otherwise they may differ by rounding.

    Raises:
        BrokenContract: says the instance, the form and what differs at which step.
    """
    form = next(iter(problem.forms)) if form is None else form
    where = f"{problem.scenario} ({problem.name}), form {form}"
    _hold(functools.partial(a_larger_shape_changes_nothing, exact=exact), where, problem, form, sizes, axes)


def _hold(clause: Callable[..., None], where: str, *arguments: Any) -> None:
    """Tries a clause; whatever goes wrong in it names the clause, in one line."""
    try:
        clause(*arguments)
    except Exception as error:
        ours = isinstance(error, BrokenContract)
        reason = " ".join((str(error) if ours else f"raises {type(error).__name__}: {error}").split())
        broken = f"{where}: {clause.__name__.replace('_', ' ')}: {reason}"
        raise BrokenContract(broken) from (error.__cause__ if ours else error)


# Clauses of an agent --------------------------------------------------------------------------------------------------


def it_describes_itself(agent: type[Agent], problem: Problem) -> None:
    """It is a frozen dataclass with a name, a summary, needs that are known, and hyperparameters that are fields, whose
    default is offered and whose values are of the default's type.
    """
    del problem
    frozen = dataclasses.is_dataclass(agent) and agent.__dataclass_params__.frozen  # pyright: ignore
    _require(frozen, "it is no frozen dataclass")
    for name in ("name", "summary"):
        _require(isinstance(getattr(agent, name, None), str) and getattr(agent, name), f"it has no {name}")
    for need in agent.needs:
        _require(need in NEEDS, f"it needs {need!r}; allowed: {', '.join(NEEDS)}")
    fields = {field.name: field.default for field in dataclasses.fields(agent)}  # pyright: ignore
    for name, values in agent.hyperparameters.items():
        _require(name in fields, f"the hyperparameter {name} is no field")
        _require(fields[name] in values, f"the default of {name}, {fields[name]!r}, is none of the values offered")
        for value in values:
            fits = type(value) is type(fields[name]) or (type(value), type(fields[name])) == (int, float)
            _require(
                fits, f"{name} offers {value!r}, which is not of its default's type, {type(fields[name]).__name__}"
            )


def it_searches_until_it_is_stopped_and_no_longer(agent: type[Agent], problem: Problem) -> None:
    """It costs at least one design, whatever the budget, and asks for no more once the referee has raised
    `BudgetExhausted` or `TimeLimitReached`.
    """
    for budget in (1, BUDGET):
        spent = len(_searched(agent(), problem, budget, 0).objective)
        _require(1 <= spent <= budget, f"it spent {spent} samples of {budget}")
    _searched(agent(), problem, BUDGET, 0, time_limit_s=0.0)


def its_seed_and_nothing_else_is_its_luck(agent: type[Agent], problem: Problem) -> None:
    """The same seed gives the same samples, another seed others; where the agent says `stochastic = False`, every seed
    gives the same.
    """
    first, again, other = (_searched(agent(), problem, BUDGET, seed) for seed in (7, 7, 8))
    _require(np.array_equal(first.designs, again.designs), "the same seed gave other designs")
    _require(np.array_equal(first.objective, again.objective), "the same seed gave other objectives")
    same = np.array_equal(first.designs, other.designs)
    if not agent.stochastic:
        _require(same, "it says that it is not stochastic, and another seed gave other designs")
    elif problem.space.size > 1:
        _require(not same, "another seed gave the same designs; it ignores its seed, or says `stochastic = False`")


def every_value_that_it_offers_searches(agent: type[Agent], problem: Problem) -> None:
    """It searches with every value that its hyperparameters offer, as with the defaults."""
    offered = agent.hyperparameters
    for row in range(max(map(len, offered.values()), default=0)):
        values = {name: listed[row % len(listed)] for name, listed in offered.items()}
        try:
            spent = len(_searched(agent(**values), problem, OFFERED_BUDGET, 0).objective)
        except Exception as error:
            said = error if isinstance(error, BrokenContract) else f"raises {type(error).__name__}: {error}"
            raise BrokenContract(f"with {values}: {said}") from error
        _require(spent, f"with {values}: it costs no design")


class _WentOn(BaseException):
    """Ends an agent that the referee has stopped; no child of `Exception`, as the agent may catch all of those."""


class _Watch(Referee):
    """A referee that sees whether an agent goes on after it was stopped."""

    stopped = ""  # by which error

    def _sit(self, ask: Callable[..., Any], space: DesignSpace, budget: int) -> None:
        spending = ("evaluate", "evaluate_relaxed", "step_env", "rollout")
        super()._sit(lambda *asked: self._watched(ask, *asked) if asked[0] in spending else ask(*asked), space, budget)

    def _watched(self, ask: Callable[..., Any], *asked: Any) -> Any:
        if self.stopped:
            raise _WentOn
        try:
            return ask(*asked)
        except (BudgetExhausted, TimeLimitReached) as end:
            self.stopped = type(end).__name__
            raise


def _searched(agent: Agent, problem: Problem, budget: int, seed: int, time_limit_s: float | None = None) -> Samples:
    referee = _Watch(problem, budget, time_limit_s)
    try:
        agent.search(referee, seed)
    except (BudgetExhausted, TimeLimitReached):
        pass
    except _WentOn:
        raise BrokenContract(f"it goes on after {referee.stopped}; let it pass, or return") from None
    return referee.samples


AGENT_CLAUSES: Sequence[Callable[[type[Agent], Problem], None]] = (
    it_describes_itself,
    it_searches_until_it_is_stopped_and_no_longer,
    its_seed_and_nothing_else_is_its_luck,
    every_value_that_it_offers_searches,
)


def check_agent(agent: str | type[Agent], scenario_id: str, **options: object) -> None:
    """Holds an agent to its contract, on one instance.

    Args:
        agent: the class, or a name as suites have it.
        scenario_id, options: of the instance, as `make_problem` takes them.

    Raises:
        BrokenContract: says the clause.
        DsegymError: the agent or the instance cannot be made.
    """
    kind = load_agent(agent) if isinstance(agent, str) else agent
    problem = make_problem(scenario_id, **options)
    for clause in AGENT_CLAUSES:
        _hold(clause, getattr(kind, "name", kind.__name__), kind, problem)
