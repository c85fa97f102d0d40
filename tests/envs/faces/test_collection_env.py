"""Collections for learners that step: every lane plays the instances that it draws, as it would alone."""

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from dsegym.costmodels.errors import DsegymError, UnknownNameError
from dsegym.envs.core.collections import load_collection
from dsegym.envs.core.stepping import lane_keys, reset_lanes, step_lanes
from dsegym.envs.faces.vector_env import CollectionVectorEnv

LANES = 3
COLLECTION = load_collection("cascade-budgets")


def random_actions(masks, generator):
    return np.where(masks, generator.random(masks.shape), -1.0).argmax(axis=1)


@pytest.mark.slow
def test_lanes_of_a_collection_step_as_its_environment_does():
    vector, generator = CollectionVectorEnv(COLLECTION, "train", LANES), np.random.default_rng(0)
    env, params = COLLECTION.environment("train")
    step = jax.jit(lambda lanes, actions, params: step_lanes(env, lanes, actions, params))
    lanes, observation, _ = reset_lanes(env, lane_keys(range(5, 5 + LANES)), params)
    seen, info = vector.reset(seed=5)
    np.testing.assert_array_equal(seen, observation)
    drawn, ends = set(), 0
    while len(drawn) < 4:
        actions = random_actions(info["action_mask"].astype(bool), generator)
        lanes, expected = step(lanes, actions, params)
        seen, reward, terminal, truncated, info = vector.step(actions)
        np.testing.assert_array_equal(seen, expected.observation)
        np.testing.assert_array_equal(reward, expected.reward)
        np.testing.assert_array_equal(terminal, expected.terminal)
        assert not truncated.any()
        np.testing.assert_array_equal(info["action_mask"], expected.action_mask)
        if terminal.any():
            final, ends = info["final_info"], ends + 1
            drawn |= set(final["instance"][terminal].tolist())
            np.testing.assert_array_equal(final["objective"][terminal], expected.final_info["objective"][terminal])
            assert not final["illegal_actions"][terminal].any()
    assert ends > 1
    assert vector.unwrapped is vector
    assert isinstance(vector.single_action_space, gymnasium.spaces.Discrete)
    assert vector.metadata["notes"] == COLLECTION.problems("train")[0].notes


def test_a_lane_of_a_collection_can_stop_and_begin_again():
    vector = CollectionVectorEnv(
        COLLECTION, "validation", 2, autoreset_mode=AutoresetMode.DISABLED, max_episode_steps=3
    )
    _, info = vector.reset(seed=0)
    for _ in range(3):
        _, _, terminal, truncated, info = vector.step(info["action_mask"].argmax(axis=1))
    assert truncated.all()
    assert not terminal.any()
    vector.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(gymnasium.error.ResetNeeded, match="lanes 1 have ended"):
        vector.step(np.zeros(2, int))


def test_what_is_no_part_and_no_number_of_lanes_is_refused():
    with pytest.raises(UnknownNameError, match="split 'tests'"):
        CollectionVectorEnv(COLLECTION, "tests", 2)
    with pytest.raises(DsegymError, match="num_envs = 0 is not allowed; allowed: a whole number from 1"):
        CollectionVectorEnv(COLLECTION, "test", 0)
    with pytest.raises(DsegymError, match="max_episode_steps = 0 is not allowed"):
        CollectionVectorEnv(COLLECTION, "test", 1, max_episode_steps=0)
