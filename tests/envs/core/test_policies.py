"""The base of families whose designs are policies: costs are means over fixed episodes."""

from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsegym.envs.core.policies import HELD_OUT, SEARCH, PolicyEnv, play, policy_cost, seeds_of


class Walk(NamedTuple):
    place: object  # int32
    steps: object  # int32


class Metrics(NamedTuple):
    place: object
    steps: object


class Params(NamedTuple):
    seeds: object  # uint32[E]
    goal: object  # int32


class Walker(PolicyEnv):
    """Walks up by a coin, or by the policy's stride where the coin falls so, until it reaches the goal."""

    horizon = 6
    reference = 1.0
    action_space = gymnasium.spaces.Discrete(4)

    def initial(self, rng, params=None):
        return Walk(jax.random.randint(rng, (), 0, 3), jnp.int32(0))

    def transition(self, state, action, rng, params=None):
        return Walk(state.place + jnp.where(jax.random.bernoulli(rng), action, 1), state.steps + 1)

    def terminal(self, state, rng, params=None):
        return state.place >= params.goal

    def decide(self, design, state, params=None):
        return design[0]

    def metrics(self, state, params=None):
        return Metrics(state.place, state.steps)

    def objective(self, metrics):
        return jnp.asarray(metrics.steps, jnp.float32)


def by_hand(stride, seed, goal):
    """(place, steps) of one episode, step by step."""
    env, params, key = Walker(), Params(None, jnp.int32(goal)), jax.random.key(seed)
    state = env.initial(jax.random.fold_in(key, 0), params)
    for step in range(1, env.horizon + 1):
        state = env.transition(state, stride, jax.random.fold_in(key, step), params)
        if env.terminal(state, key, params):
            break
    return int(state.place), int(state.steps)


@pytest.mark.parametrize("stride", [0, 3])
def test_a_cost_is_the_mean_over_the_episodes_of_its_seeds(stride):
    seeds, goal = seeds_of(SEARCH, 8), 5
    found = policy_cost(Walker())(jnp.array([stride]), Params(seeds, jnp.int32(goal)))
    places, steps = zip(*(by_hand(stride, seed, goal) for seed in seeds), strict=True)
    assert float(found.metrics.place) == pytest.approx(np.mean(places))
    assert float(found.objective) == pytest.approx(np.mean(steps))
    assert len(set(steps)) > 1, "episodes end at different times"


@pytest.mark.parametrize(("goal", "steps"), [(0, 0), (3, 1)])
def test_nothing_moves_after_an_episodes_end(goal, steps):
    class Leaper(Walker):
        def transition(self, state, action, rng, params=None):
            return Walk(state.place + action, state.steps + 1)

    last = play(Leaper(), lambda state: 3, jax.random.key(0), Params(None, jnp.int32(goal)))
    assert int(last.steps) == steps


def test_the_searchs_episodes_and_the_held_out_ones_are_others():
    assert not set(seeds_of(SEARCH, 256)) & set(seeds_of(HELD_OUT, 256))
    np.testing.assert_array_equal(seeds_of(SEARCH, 16), seeds_of(SEARCH, 256)[:16])
