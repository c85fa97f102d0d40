"""The base of families whose designs are policies: costs are means over fixed episodes."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.envs.core.evaluation import Evaluation, Objective, Yardstick
from dsegym.envs.core.features import Discrete, Feature
from dsegym.envs.core.functional import play
from dsegym.envs.core.one_shot import OneShotParams, ParametricEnv
from dsegym.envs.core.options import Options
from dsegym.envs.core.policies import (
    HELD_OUT,
    SEARCH,
    PolicyEnv,
    mean_over_episodes,
    policy_cost,
    policy_problem,
    seeds_of,
)
from dsegym.envs.core.problem import given
from dsegym.envs.core.spaces import DesignSpace, Heuristics, Parameter


class Walk(NamedTuple):
    place: object  # int32
    steps: object  # int32
    coins: object  # uint32, a bit a step


class Metrics(NamedTuple):
    place: object
    steps: object


class Params(NamedTuple):
    seeds: object  # uint32[E]
    goal: object  # int32


@dataclass(frozen=True)
class Walker(PolicyEnv):
    """Walks up by the stride or by one, as coins fall that are tossed at the start, until it is at the goal."""

    stride_counts: bool = True
    horizon = 6
    features = (Feature("place", high=30.0),)

    @property
    def action_space(self):
        return Discrete(4)

    def start(self, key, params):
        return Walk(jax.random.randint(key, (), 0, 3), jnp.int32(0), jax.random.bits(key, (), jnp.uint32))

    def advance(self, state, action, params):
        heads = (state.coins >> state.steps.astype(jnp.uint32)) & 1
        move = jnp.where((heads == 1) & self.stride_counts, action, 1)
        return Walk(state.place + move, state.steps + 1, state.coins)

    def observe(self, state, params):
        return {"place": state.place}

    def reward(self, state, next_state, params):
        return jnp.float32(0)

    def over(self, state, params):
        return state.place >= params.goal

    def decide(self, design, state, params):
        return design[0]

    def metrics(self, state, params):
        return Metrics(state.place, state.steps)

    def objective(self, metrics):
        return jnp.asarray(metrics.steps, jnp.float32)


def by_hand(stride, seed, goal):
    """(place, steps) of one episode, step by step."""
    env, params = Walker(), Params(None, jnp.int32(goal))
    state = env.start(jax.random.fold_in(jax.random.key(seed), 0), params)
    for _ in range(env.horizon):
        if env.over(state, params):
            break
        state = env.advance(state, stride, params)
    return int(state.place), int(state.steps)


@pytest.mark.parametrize("stride", [0, 3])
def test_a_cost_is_the_mean_over_the_episodes_of_its_seeds(stride):
    seeds, goal = seeds_of(SEARCH, 8), 5
    found = policy_cost(Walker())(jnp.array([stride]), Params(seeds, jnp.int32(goal)))
    places, steps = zip(*(by_hand(stride, seed, goal) for seed in seeds), strict=True)
    assert float(found.metrics.place) == pytest.approx(np.mean(places))
    assert float(found.objective) == pytest.approx(np.mean(steps))
    assert len(set(steps)) > 1, "episodes end at different times"


def test_equal_environments_have_one_cost_function():
    assert policy_cost(Walker()) is policy_cost(Walker())
    assert policy_cost(Walker(stride_counts=False)) is not policy_cost(Walker())


@pytest.mark.parametrize(("goal", "steps"), [(0, 0), (2, 2)])
def test_nothing_moves_after_an_episodes_end(goal, steps):
    env, params = Walker(stride_counts=False), Params(None, jnp.int32(goal))
    first = Walk(jnp.int32(0), jnp.int32(0), jnp.uint32(0))
    assert int(play(env, first, lambda state, index: 3, params).steps) == steps


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 100, 256])
def test_a_mean_over_episodes_is_the_mean_and_the_same_bits_in_any_batch(count):
    values = np.random.default_rng(count).normal(size=(5, count)).astype(np.float32)
    alone = [np.asarray(jax.jit(mean_over_episodes)(row)) for row in values]
    np.testing.assert_allclose(alone, values.mean(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(jax.jit(jax.vmap(mean_over_episodes))(values), alone)


def test_the_searchs_episodes_and_the_held_out_ones_are_others():
    assert not set(seeds_of(SEARCH, 256)) & set(seeds_of(HELD_OUT, 256))
    np.testing.assert_array_equal(seeds_of(SEARCH, 16), seeds_of(SEARCH, 256)[:16])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "options", "test_problems"),
    [
        ("SolveVerify", {"budget": 4}, 31),
        ("SolveVerify", {"budget": 4, "data": "genrm"}, None),
        ("TreeSearch", {"tree": "game24_log"}, 14),
        ("TreeSearch", {"tree": "steps"}, None),
        ("ReasoningCascade", {}, 259),
    ],
)
def test_figures_on_recorded_problems_say_on_how_many_and_their_error(scenario, options, test_problems):
    problem = dsegym.make_problem(f"dsegym/{scenario}-v0", **options)
    totals = problem.breakdown(problem.decode(problem.reference.design)).totals
    assert totals.get("test_problems") == test_problems
    errors = {name: value for name, value in totals.items() if name.endswith("_standard_error")}
    assert len(errors) == (test_problems is not None)
    for name, error in errors.items():
        share = totals[name.removesuffix("_standard_error")]
        assert error == pytest.approx(np.sqrt(share * (1 - share) / test_problems))


def test_recorded_problems_without_a_share_solved_are_counted_without_an_error():
    heuristics = Heuristics(DesignSpace((Parameter("stride", (0, 1, 2, 3)),)), {"stride": 1}, {"slow": {}})
    problem = policy_problem(
        Walker(),
        options=Options(),
        heuristics=heuristics,
        params=Params(seeds_of(SEARCH, 4), jnp.int32(5)),
        held_out_params=Params(seeds_of(HELD_OUT, 4), jnp.int32(5)),
        reference=("slow", "one step at a time"),
        bound=given(Yardstick("bound", 1.0, "a step is needed")),
        objective=Objective("steps", "", "steps to the goal"),
        notes=("a note",),
        splits={"train": 3, "validation": 1, "test": 2},
    )
    found = problem.breakdown({"stride": 3})
    assert found.totals["test_problems"] == 2
    assert not any("error" in name for name in found.totals)
    assert found.notes == ("a note",)


def test_a_design_with_an_objective_of_0_has_a_finite_reward_above_all_others():
    space = DesignSpace((Parameter("size", (1, 2)),))
    env = ParametricEnv(
        lambda design, costs: Evaluation(None, jnp.asarray(costs)[design[0]], jnp.bool_(True)),
        tuple(space.cardinalities.tolist()),
    )
    params = OneShotParams(np.float32([0.0, 0.001]), np.float32(0.1))
    state = env.start(jax.random.key(0), params)
    none, few = (float(env.reward(state, env.advance(state, np.array([at]), params), params)) for at in (0, 1))
    assert np.isfinite(none)
    assert none > few > 0
