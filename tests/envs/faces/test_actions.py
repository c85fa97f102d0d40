"""What a client hands to `step` and `reset`: checked as designs are, refused by one sentence that changes nothing."""

import pickle
from copy import deepcopy

import gymnasium
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidActionError
from dsegym.envs.faces.actions import checked_action, checked_seed
from dsegym.envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from dsegym.envs.faces.vector_env import FunctionalVectorEnv

ONE, MANY = gymnasium.spaces.Discrete(5), gymnasium.spaces.MultiDiscrete([2, 3])
WRONG = {
    "not a number": (ONE, float("nan"), "nan is no action: allowed: one of the whole numbers from 0 to 4"),
    "infinite": (ONE, np.inf, "inf is no action"),
    "a fraction": (ONE, 0.5, r"0\.5 is no action"),
    "too low": (ONE, -1, "-1 is out of range: allowed: one of the whole numbers from 0 to 4"),
    "too high": (ONE, 5, "5 is out of range"),
    "beyond 32 bits": (ONE, 2**32, "4294967296 is out of range"),
    "beyond 64 bits": (ONE, 10**30, "is no action"),
    "complex": (ONE, 1j, "1j is no action"),
    "nothing": (ONE, None, "None is no action"),
    "a text": (ONE, "3", "'3' is no action"),
    "a truth": (ONE, True, "True is no action"),
    "one in a list": (ONE, [1], r"shape \[1\] is given; allowed: one of the whole numbers"),
    "too few": (
        MANY,
        [1],
        r"shape \[1\] is given; allowed: whole numbers, shape \[2\], from 0 to the largest of each, \[1, 2\]",
    ),
    "a batch of one": (MANY, [[1, 2]], r"shape \[1, 2\] is given"),
    "ragged": (MANY, [1, [2]], r"Actions here have the shape \[2\]; those given differ in length"),
    "one too high": (MANY, [1, 3], r"\[1, 3\] is out of range"),
    "one not a number": (MANY, [1.0, np.nan], r"\[1\.0, nan\] is no action"),
    "objects": (MANY, np.array([1, 2], object), "is no action"),
}
RIGHT = {
    "a number": (ONE, 4, 4),
    "a whole float": (ONE, 3.0, 3),
    "an array of no axes": (ONE, np.array(2, np.uint8), 2),
    "a list": (MANY, [1, 2], [1, 2]),
    "whole floats": (MANY, np.array([1.0, 2.0], np.float32), [1, 2]),
    "a box": (gymnasium.spaces.Box(-1, 1, (2,)), [0.5, -1], [0.5, -1]),
    "from one on": (gymnasium.spaces.Discrete(3, start=1), 3, 3),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_action_is_refused_by_one_sentence(case):
    space, action, reason = WRONG[case]
    with pytest.raises(InvalidActionError, match=reason) as refusal:
        checked_action(space, action)
    assert len(str(refusal.value)) < 250
    with pytest.raises(InvalidActionError):
        checked_action(space, [action] * 3, lanes=3)


@pytest.mark.parametrize("case", RIGHT)
def test_numbers_that_are_whole_are_taken_whatever_holds_them(case):
    space, action, expected = RIGHT[case]
    np.testing.assert_array_equal(checked_action(space, action), expected)
    np.testing.assert_array_equal(checked_action(space, [action] * 3, lanes=3), [expected] * 3)


def test_a_refused_action_leaves_the_episode_where_it_was(problem):
    env, other = (FunctionalGymnasiumEnv(problem, "sequential") for _ in range(2))
    for each in (env, other):
        each.reset(seed=0)
        each.step(1)
    for action in (np.nan, -1, 99, [0]):
        with pytest.raises(InvalidActionError):
            env.step(action)
    assert env.state.design.tolist() == other.state.design.tolist()
    lanes = FunctionalVectorEnv(problem, 2, "sequential")
    lanes.reset(seed=0)
    with pytest.raises(
        InvalidActionError, match=r"shape \[\] is given; allowed: whole numbers, shape \[2\], from 0 to"
    ):
        lanes.step(0)
    with pytest.raises(InvalidActionError, match="out of range"):
        lanes.step([0, -1])


@pytest.mark.parametrize("seed", [True, -1, 0.5, "0", [0, -1]])
def test_what_is_no_seed_is_refused(problem, seed):
    with pytest.raises(DsegymError, match="allowed: a whole number from 0 on"):
        FunctionalVectorEnv(problem, 2).reset(seed=seed)
    if not isinstance(seed, list):
        with pytest.raises(DsegymError, match="allowed: a whole number from 0 on"):
            FunctionalGymnasiumEnv(problem).reset(seed=seed)


def test_seeds_may_be_numpys(problem):
    assert checked_seed(np.int64(7)) == 7
    assert isinstance(checked_seed(np.uint8(7)), int)
    assert checked_seed(None) is None
    FunctionalGymnasiumEnv(problem).reset(seed=np.int64(3))


def test_no_step_follows_the_end_of_an_episode(problem):
    env = FunctionalGymnasiumEnv(problem, "parametric")
    with pytest.raises(gymnasium.error.ResetNeeded, match="has not begun"):
        env.step(np.zeros(7, int))
    env.reset(seed=0)
    assert env.step(np.zeros(7, int))[2]
    with pytest.raises(gymnasium.error.ResetNeeded, match="has ended: call reset") as refusal:
        env.step(np.zeros(7, int))
    assert isinstance(refusal.value, DsegymError)
    env.reset()
    assert env.step(np.zeros(7, int))[2]


def test_a_state_that_is_set_stands_where_it_stood(problem):
    env = FunctionalGymnasiumEnv(problem, "parametric")
    env.reset(seed=0)
    start = env.state
    env.step(np.zeros(7, int))
    end = env.state
    env.state = start
    assert env.step(np.zeros(7, int))[2]
    env.state = end
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(7, int))


def test_a_masked_array_is_no_action(problem):
    env = FunctionalGymnasiumEnv(problem)
    env.reset(seed=0)
    action = env.action_space.sample()
    with pytest.raises(InvalidActionError, match="is no action"):
        env.step(np.ma.array(action, mask=True))
    env.step(np.ma.array(action))


@pytest.mark.parametrize("options", [5, "start"])
def test_options_of_reset_that_are_no_mapping_are_refused(problem, options):
    with pytest.raises(DsegymError, match=f"takes no options here; given: {options!r}"):
        FunctionalGymnasiumEnv(problem).reset(options=options)


@pytest.mark.parametrize("options", [{"start": 3}, {"reset_mask": np.ones(2, bool)}])
def test_a_single_environment_has_no_options_of_reset(problem, options):
    with pytest.raises(DsegymError, match=f"takes no options here; given: {next(iter(options))}"):
        FunctionalGymnasiumEnv(problem).reset(options=options)


def test_an_environment_pickles_and_copies_in_mid_episode(problem):
    env = FunctionalGymnasiumEnv(problem, "sequential", render_mode="rgb_array")
    env.reset(seed=4)
    env.step(1)
    copies = (pickle.loads(pickle.dumps(env)), deepcopy(env))
    expected = [env.step(action) for action in (0, 1)]
    frame = env.render()
    for copy in copies:
        fresh = dsegym.make_problem(problem.scenario, **problem.options)
        assert (copy.problem.options, copy.problem.content) == (fresh.options, fresh.content)
        for (observation, reward, *_), mine in zip(expected, [copy.step(a) for a in (0, 1)], strict=True):
            np.testing.assert_array_equal(mine[0], observation)
            assert mine[1] == reward
        np.testing.assert_array_equal(copy.render(), frame)
        np.testing.assert_array_equal(copy.action_masks(), env.action_masks())


def test_environments_share_no_spaces(problem):
    one, other = (FunctionalGymnasiumEnv(problem) for _ in range(2))
    assert one.action_space is not other.action_space
    assert one.observation_space is not other.observation_space


def test_full_info_has_the_same_keys_at_every_step(problem):
    env = FunctionalGymnasiumEnv(problem, "sequential", full_info=True)
    _, first = env.reset(seed=0)
    infos = [first] + [env.step(0)[-1] for _ in range(len(problem.space))]
    shapes = [{name: np.shape(value) for name, value in info.items()} for info in infos]
    assert shapes == [shapes[0]] * len(infos)
    assert all(np.isnan(info["objective"]) for info in infos[:-1])
    assert np.isfinite(infos[-1]["objective"])
