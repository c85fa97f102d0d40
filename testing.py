"""The contracts that every scenario and every agent keeps, for the tests of those who write one.

    >>> from dsegym.testing import check_scenario
    >>> check_scenario("dsegym/AcceleratorSizing-v0", [{"workload": "alexnet"}], forms=["parametric"])

A check that fails raises `BrokenContract`, which says the scenario, the instance and the clause. The clauses are the
functions of this module's two tables, in the order in which they are tried; each docstring is the clause.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.envs.registration import EnvSpec

from .agents.base import Agent
from .agents.referee import Referee
from .agents.registry import load_agent
from .costmodels.errors import BudgetExhausted, DsegymError
from .envs.core.evaluation import Yardstick
from .envs.core.problem import Problem
from .envs.core.scenarios import Scenario, load_scenario, make_functional, make_problem
from .envs.core.stepping import Lane, lane_keys, reset_lane, step_lane
from .envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from .envs.faces.vector_env import FunctionalVectorEnv

__all__ = [
    "AGENT_CLAUSES",
    "FORM_CLAUSES",
    "INSTANCE_CLAUSES",
    "SCENARIO_CLAUSES",
    "BrokenContract",
    "check_agent",
    "check_scenario",
]

DESIGNS = 24  # random ones, of an instance
LANES = 3
SEED = 2026
BOUNDS = ("optimum", "bound", "oracle", "best known")  # the names of bounds
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
        for text in (option.text(option.default), *option.values()):
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
    """Objectives are finite and positive, and no infeasible design is below a feasible one."""
    for which in (problem.evaluate, problem.evaluate_held_out):
        result = which(_designs(problem))
        _require(np.isfinite(result.objective).all(), f"objectives {result.objective} are not all finite")
        _require((result.objective > 0).all(), f"objectives {result.objective} are not all positive")
        if result.feasible.any() and not result.feasible.all():
            best, worst = result.objective[~result.feasible].min(), result.objective[result.feasible].max()
            _require(best > worst, f"an infeasible design has {best}, a feasible one {worst}")


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
    room = reference.value - bound.value
    _require(room > TOLERANCE * abs(reference.value), f"reference {reference.value} is not above bound {bound.value}")


def _costs_its_value(problem: Problem, yardstick: Yardstick) -> None:
    if yardstick.design is not None:
        result = problem.evaluate_held_out(yardstick.design)
        close = math.isclose(result.objective[0], yardstick.value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        _require(close and result.feasible[0], f"{yardstick.name}'s design costs {result.objective[0]}")


def no_design_is_below_the_bound(problem: Problem) -> None:
    """No random design and no baseline is below a bound that is proven or an optimum."""
    if problem.bound.name in ("bound", "optimum"):
        designs = [*_designs(problem), *(np.asarray(maker()) for maker in problem.baselines.values())]
        best = problem.evaluate_held_out(np.stack(designs)).objective.min()
        _require(
            best >= problem.bound.value * (1 - TOLERANCE), f"a design has {best}, the bound is {problem.bound.value}"
        )


def notes_are_sentences(problem: Problem) -> None:
    """What is synthetic or uncalibrated is said in sentences."""
    _require(isinstance(problem.notes, tuple | list), f"notes are {problem.notes!r}, no sequence of sentences")
    for note in problem.notes:
        _require(isinstance(note, str) and note.strip().endswith("."), f"the note {note!r} is no sentence")


def a_breakdown_has_finite_totals(problem: Problem) -> None:
    """Where there is a breakdown, it breaks down the reference's design, and its figures are finite."""
    design = problem.reference.design
    if problem.breakdown is not None and design is not None:
        found = problem.breakdown(problem.decode(design))
        _require(found.totals, "the breakdown has no totals")
        for name, value in found.totals.items():
            _require(not isinstance(value, float) or math.isfinite(value), f"the breakdown's {name} is {value}")


def _designs(problem: Problem) -> np.ndarray:
    return problem.space.sample(np.random.default_rng(SEED), DESIGNS)


# Clauses of a form ----------------------------------------------------------------------------------------------------


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


def features_are_the_observation(problem: Problem, form: str) -> None:
    """Features have names of their own and a meaning each, and their slices cover the observation."""
    env = problem.functional_env(form)
    names = [feature.name for feature in env.features]
    _require(len(set(names)) == len(names), f"the features {names} share names")
    for feature in env.features:
        _require(feature.meaning, f"the feature {feature.name} has no meaning")
    _require(env.observation_space.shape == (max(s.stop for s in env.feature_slices.values()),), "slices do not cover")


def a_seed_fixes_the_episodes(problem: Problem, form: str) -> None:
    """The same seed gives the same episodes, in a single environment and in any lane of a vector environment."""
    vector = FunctionalVectorEnv(problem, LANES, form)
    observation, info = vector.reset(seed=SEED)
    singles = [FunctionalGymnasiumEnv(problem, form) for _ in range(LANES)]
    starts = [env.reset(seed=SEED + lane) for lane, env in enumerate(singles)]
    generator, ended = np.random.default_rng(SEED), 0
    for time in range(2 * vector.functional.horizon + 2):
        for lane, (alone, alone_info) in enumerate(starts):
            # Compilers contract products and sums as shapes suggest: last bits of a lane and of one alone may differ.
            _require(_close(alone, observation[lane]), f"step {time}: lane {lane} sees other than alone")
            same = np.array_equal(np.asarray(alone_info.get("action_mask")), _lane(info.get("action_mask"), lane))
            _require(same, f"step {time}: lane {lane} has another mask than alone")
        if ended >= 2 * LANES or time >= 60:
            break
        actions = np.stack([_legal_action(generator, vector.single_action_space, start[1]) for start in starts])
        observation, reward, terminated, _, info = vector.step(actions)
        starts = []
        for lane, env in enumerate(singles):
            alone, alone_reward, alone_ended, _, alone_info = env.step(actions[lane])
            _require(alone_ended == terminated[lane], f"step {time}: lane {lane} ends at another time than alone")
            _require(_close(alone_reward, reward[lane]), f"step {time}: rewards differ")
            _require(math.isfinite(alone_reward), f"step {time}: the reward is {alone_reward}")
            if alone_ended:
                ended += 1
                _require(_close(alone, info["final_obs"][lane]), f"step {time}: lane {lane} ends elsewhere")
                alone, alone_info = env.reset()
            starts.append((alone, alone_info))


def _close(one: Any, other: Any) -> bool:
    return np.allclose(one, other, rtol=1e-4, atol=1e-5)


def _lane(values: Any, lane: int) -> np.ndarray:
    return np.asarray(None if values is None else values[lane])


def _legal_action(generator: np.random.Generator, space: Any, info: Mapping[str, Any]) -> np.ndarray:
    """int32: one at random, among those of the mask where there is one."""
    mask = info.get("action_mask")
    if mask is not None and mask.any():
        return np.asarray(generator.choice(np.flatnonzero(mask)), np.int32)
    return np.asarray(generator.integers(0, space.nvec if hasattr(space, "nvec") else space.n), np.int32)


def episodes_end_and_replay(problem: Problem, form: str) -> None:
    """Actions that a mask allows are never counted as illegal, episodes end within the horizon, and where the form says
    that a design replays them, the design costs what the episode did.
    """
    env, generator = FunctionalVectorEnv(problem, LANES, form), np.random.default_rng(SEED)
    horizon, searched = env.functional.horizon, problem.as_searched
    observation, info = env.reset(seed=SEED)
    finished = np.zeros(LANES, bool)
    for _ in range(horizon):
        masks = info.get("action_mask")
        if masks is not None:
            _require(masks[~finished].any(axis=1).all(), "an episode goes on without a legal action")
        lanes = [{}] * LANES if masks is None else [{"action_mask": mask} for mask in masks]
        actions = np.stack([_legal_action(generator, env.single_action_space, lane) for lane in lanes])
        observation, _, terminated, _, info = env.step(actions)
        _require(np.isfinite(observation).all(), "an observation is not finite")
        _require(observation in env.observation_space, "an observation is outside of its space")
        for lane in np.flatnonzero(terminated & ~finished):
            final = {name: values[lane] for name, values in info["final_info"].items()}
            counted = 0 if masks is None else final.get("illegal_actions", 0)
            _require(counted == 0, f"{counted} legal actions count as illegal")
            if env.functional.replayable:
                result = searched.evaluate(final["design"])
                close = math.isclose(result.objective[0], final["objective"], rel_tol=TOLERANCE)
                _require(close, f"an episode costs {final['objective']}, its design {result.objective[0]}")
                _require(result.feasible[0] == final["feasible"], "an episode and its design differ in feasibility")
        finished |= terminated
        if finished.all():
            break
    _require(finished.all(), f"an episode goes on beyond its horizon of {horizon} steps")


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
    """`make_functional` gives JAX arrays as params, and its steps under `lax.scan` are those of the faces."""
    env, params = make_functional(problem.scenario, form=form, **problem.options)
    _require(all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params)), "a leaf of params is no JAX array")
    face, generator = FunctionalGymnasiumEnv(problem, form), np.random.default_rng(SEED)
    steps = min(env.horizon, 12)
    seen, info = face.reset(seed=SEED)
    first, observation, _ = jax.jit(lambda key, params: reset_lane(env, key, params))(lane_keys([SEED])[0], params)
    _require(_close(observation, seen), "the door starts elsewhere than the Gymnasium environment")
    actions, observations, rewards = [], [], []
    for _ in range(steps):
        actions.append(_legal_action(generator, face.action_space, info))
        seen, reward, ended, _, info = face.step(actions[-1])
        observations.append(seen)
        rewards.append(reward)
        if ended:
            break

    @jax.jit
    def play(lane: Lane, actions: jax.Array, params: Any) -> Any:
        return jax.lax.scan(lambda lane, action: step_lane(env, lane, action, params), lane, actions)[1]

    found = play(first, jnp.asarray(np.stack(actions)), params)
    same = _close(found.final_observation, np.stack(observations))
    _require(same, "the door's observations differ from those of the Gymnasium environment")
    _require(_close(found.reward, rewards), "the door's rewards differ")


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
    checkers_find_no_fault,
    features_are_the_observation,
    a_seed_fixes_the_episodes,
    episodes_end_and_replay,
    it_renders,
    the_functional_door_takes_the_same_steps,
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


def _hold(clause: Callable[..., None], where: str, *arguments: Any) -> None:
    """Tries a clause; whatever goes wrong in it names the clause."""
    name = clause.__name__.replace("_", " ")
    try:
        clause(*arguments)
    except BrokenContract as broken:
        raise BrokenContract(f"{where}: {name}: {broken}") from broken.__cause__
    except Exception as error:
        raise BrokenContract(f"{where}: {name}: raises {type(error).__name__}: {error}") from error


# Clauses of an agent --------------------------------------------------------------------------------------------------


def it_describes_itself(agent: type[Agent], problem: Problem) -> None:
    """It is a frozen dataclass with a name, a summary, and hyperparameters that are fields whose default is offered."""
    del problem
    frozen = dataclasses.is_dataclass(agent) and agent.__dataclass_params__.frozen  # pyright: ignore
    _require(frozen, "it is no frozen dataclass")
    for name in ("name", "summary"):
        _require(isinstance(getattr(agent, name, None), str) and getattr(agent, name), f"it has no {name}")
    fields = {field.name: field.default for field in dataclasses.fields(agent)}  # pyright: ignore
    for name, values in agent.hyperparameters.items():
        _require(name in fields, f"the hyperparameter {name} is no field")
        _require(fields[name] in values, f"the default of {name}, {fields[name]!r}, is none of the values offered")


def it_spends_no_more_than_its_budget(agent: type[Agent], problem: Problem) -> None:
    """It searches until the referee stops it or it has no more to try, and costs at least one design."""
    for budget in (1, 40):
        spent = len(_searched(agent, problem, budget, 0).objective)
        _require(1 <= spent <= budget, f"it spent {spent} samples of {budget}")


def the_same_seed_gives_the_same_samples(agent: type[Agent], problem: Problem) -> None:
    """Its samples depend on the seed alone."""
    first, again = (_searched(agent, problem, 40, 7) for _ in range(2))
    _require(np.array_equal(first.designs, again.designs), "the same seed gave other designs")
    _require(np.array_equal(first.objective, again.objective), "the same seed gave other objectives")


def _searched(agent: type[Agent], problem: Problem, budget: int, seed: int) -> Any:
    referee = Referee(problem, budget)
    with contextlib.suppress(BudgetExhausted):
        agent().search(referee, seed)
    return referee.samples


AGENT_CLAUSES: Sequence[Callable[[type[Agent], Problem], None]] = (
    it_describes_itself,
    it_spends_no_more_than_its_budget,
    the_same_seed_gives_the_same_samples,
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
