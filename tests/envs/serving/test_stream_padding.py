"""A stream in the shape of a larger fleet, and lanes that go on at their own pace."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.luck import episode_key
from dsegym.costmodels.serving.stream import game

OPTIONS = {"requests": 16, "servers": "1*rtx4090+1*L4", "sequences": 6, "rate": 20, "objective": "missed"}


@pytest.fixture(scope="module")
def problem():
    return dsegym.make_problem("dsegym/ServingStream-v0", **OPTIONS)


def _episode(env, params, seed, actions):
    """Observations, masks and rewards of an episode, and its end."""

    @jax.jit
    def step(state, action, params):
        moved = env.advance(state, action, params)
        return moved, (env.observe(state, params), env.action_mask(state, params), env.reward(state, moved, params))

    state, found = env.start(episode_key(seed), params), []
    for action in actions:
        state, seen = step(state, jnp.int32(action), params)
        found.append(jax.tree.map(np.asarray, seen))
    return found, state


@pytest.mark.slow
def test_padding_changes_no_bit_of_an_episode_but_for_servers_that_are_not_there(problem):
    env = problem.forms["decisions"](problem)
    params = env.params_of(problem)
    wide, wide_params = env.padded(params, {"servers": 4})
    actions = np.random.default_rng(0).integers(0, 3, OPTIONS["requests"])
    own, end = _episode(env, params, 5, actions)
    other, wide_end = _episode(wide, wide_params, 5, np.where(actions == 2, 4, actions))  # turning away stays the last
    for (one, mask, reward), (two, wide_mask, wide_reward) in zip(own, other, strict=True):
        assert reward == wide_reward
        assert wide_mask.tolist() == [*mask[:2].tolist(), False, False, mask[2]]
        for name, values in one.items():
            padded = np.asarray(two[name])
            if padded.ndim:
                assert np.array_equal(padded[[0, 1, 4]], values)
                assert not padded[2:4].any()
            else:
                assert padded == values
    metrics = [jax.tree.map(float, each.metrics(state, of)) for each, state, of in
               ((env, end, params), (wide, wide_end, wide_params))]  # fmt: skip
    assert metrics[0] == metrics[1]


@pytest.mark.slow
def test_episodes_side_by_side_are_the_episodes_alone(problem):
    env, params = problem.forms["decisions"](problem), problem.params

    def play(seed):
        state = env.start(episode_key(seed), params)
        state, _ = jax.lax.scan(lambda s, _: (env.advance(s, s.next % 2, params), None), state, None, length=16)
        return state

    together = jax.jit(jax.vmap(play))(np.arange(5, dtype=np.uint32))
    alone = jax.jit(play)
    for seed in range(5):
        one = alone(np.uint32(seed))
        same = jax.tree.map(lambda lanes, leaf, seed=seed: bool((lanes[seed] == leaf).all()), together, one)
        assert jax.tree.all(same)


@pytest.mark.slow
def test_a_missed_target_is_punished_when_it_is_missed_and_not_when_the_request_ends(problem):
    env, params = problem.forms["decisions"](problem), problem.params
    state, step = env.start(episode_key(1), params), jax.jit(env.advance)
    reward, told, missed = jax.jit(env.reward), 0, 0
    for _ in range(OPTIONS["requests"]):
        moved = step(state, jnp.int32(1), params)  # an L4, which takes longer than the target for every token
        found, now = float(reward(state, moved, params)) * OPTIONS["requests"], int(game.clock_us(moved, params))
        engines, window = moved.engines, moved.window
        first, last = (np.asarray(each).min(axis=0) for each in (engines.first_us, engines.last_us))
        sent = np.asarray(moved.server) >= 0
        elapsed = (np.minimum(last, now) - np.minimum(first, now)) / np.maximum(np.asarray(window.output) - 1, 1)
        late = np.minimum(first, now) - np.asarray(window.arrival_us) > float(params.ttft_us)
        missed = int((sent & (late | (elapsed > float(params.tpot_us)))).sum())
        told += round(-found)
        assert told == missed
        state = moved
    assert missed > OPTIONS["requests"] // 2


def test_rewards_sum_to_the_objective(problem):
    params = problem.params._replace(reference=np.float32(2.5))
    games = [replace(problem.forms["decisions"](problem), target=each) for each in ("latency", "ttft", "missed")]

    @jax.jit
    def step(state, action):
        moved = games[0].advance(state, action, params)
        return moved, jnp.stack([each.reward(state, moved, params) for each in games])

    state, totals = games[0].start(episode_key(2), params), np.zeros(3)
    for place in range(OPTIONS["requests"]):
        state, rewards = step(state, jnp.int32(place % 2))
        totals -= np.asarray(rewards)
    objectives = [float(each.evaluation(state, params).objective) for each in games]
    assert totals * (2.5, 2.5, 1.0) == pytest.approx(objectives, rel=1e-5)
    assert len(set(objectives)) == 3
