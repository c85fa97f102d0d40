"""The vector environment against Gymnasium's own, `SyncVectorEnv`, of the same single environments."""

import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import dsegym
from dsegym.costmodels.errors import DsegymError
from dsegym.envs.faces.vector_env import FunctionalVectorEnv

LANES, STEPS = 3, 20
SHOP = "toy/Shop-v0"
SIZING = ("dsegym/AcceleratorSizing-v0", {"workload": "alexnet", "area_budget": "small", "form": "sequential"})
KINDS = {"masked": SIZING, "stochastic": ("toy/Staircase-v0", {"start": "random"}), "step info": (SHOP, {})}
every_kind = pytest.mark.parametrize("kind", KINDS)
pytestmark = pytest.mark.usefixtures("staircase", "shop")


def both(kind, mode, limit=None, **more):
    """Ours and Gymnasium's."""
    scenario, options = KINDS[kind]
    ours = gymnasium.make_vec(scenario, num_envs=LANES, autoreset_mode=mode, max_episode_steps=limit, **options, **more)
    theirs = gymnasium.make_vec(
        scenario,
        num_envs=LANES,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        max_episode_steps=limit,
        **options,
        **more,
    )
    return ours, theirs


def assert_info(ours, theirs, lanes):
    """Every name that Gymnasium's info has, ours has with the same mask, and the same values where it holds."""
    for name, values in theirs.items():
        if name.startswith("_"):
            continue
        if name == "final_info":
            assert_info(ours[name], {k: v for k, v in values.items() if "action_mask" not in k}, lanes)
            continue
        mask = theirs[f"_{name}"]
        np.testing.assert_array_equal(ours[f"_{name}"], mask)
        for lane in np.flatnonzero(mask):
            np.testing.assert_allclose(ours[name][lane], values[lane], rtol=1e-6, err_msg=name)


@every_kind
@pytest.mark.parametrize("limit", [None, 2])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_lanes_step_as_gymnasiums_own_do(kind, mode, limit):
    ours, theirs = both(kind, mode, limit)
    generator = np.random.default_rng(0)
    seen, expected = ours.reset(seed=5), theirs.reset(seed=5)
    np.testing.assert_array_equal(seen[0], expected[0])
    assert_info(seen[1], expected[1], LANES)
    ended, endings = np.zeros(LANES, bool), 0
    for _ in range(STEPS):
        actions = generator.integers(0, theirs.single_action_space.n, LANES)
        if mode is AutoresetMode.DISABLED and ended.any():
            with pytest.raises(gymnasium.error.ResetNeeded, match="have ended"):
                ours.step(actions)
            some = {"reset_mask": ended}
            np.testing.assert_array_equal(ours.reset(options=some)[0], theirs.reset(options=some)[0])
        mine, others = ours.step(actions), theirs.step(actions)
        for one, other in zip(mine[:-1], others[:-1], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
            assert one.dtype == other.dtype
        assert_info(mine[-1], others[-1], LANES)
        ended = mine[2] | mine[3]
        endings += ended.sum()
    assert endings >= LANES


@every_kind
def test_seeds_are_the_lanes_own(kind):
    ours, theirs = both(kind, AutoresetMode.SAME_STEP)
    np.testing.assert_array_equal(ours.reset(seed=[7, 3, 7])[0], theirs.reset(seed=[7, 3, 7])[0])
    ours.reset(seed=[7, None, 1])  # a lane without a seed goes on drawing


def test_what_a_step_returns_is_the_callers_own():
    ours, _ = both("masked", AutoresetMode.SAME_STEP)
    first, info = ours.reset(seed=0)
    kept = first.copy()
    observation, reward, terminated, truncated, more = ours.step(np.zeros(LANES, int))
    np.testing.assert_array_equal(first, kept)
    for array in (first, info["action_mask"], observation, reward, terminated, truncated, more["action_mask"]):
        assert array.flags.writeable
        array[...] = 0
    assert ours.action_masks().any()
    assert reward.dtype == np.float64


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"start": 1}, "the option reset_mask alone; given: start"),
        ({"reset_mask": np.ones(2, bool)}, r"reset_mask is bool\[3\] with a True in it"),
        ({"reset_mask": np.zeros(3, bool)}, r"reset_mask is bool\[3\] with a True in it"),
        ({"reset_mask": [0, 1, 1]}, r"reset_mask is bool\[3\] with a True in it"),
    ],
)
def test_what_names_no_lanes_to_reset_is_refused(options, reason):
    ours, _ = both("masked", AutoresetMode.DISABLED)
    ours.reset(seed=0)
    with pytest.raises(DsegymError, match=reason):
        ours.reset(options=options)


def test_lanes_are_asked_for_attributes_as_gymnasiums_own_are():
    ours, theirs = both("masked", AutoresetMode.SAME_STEP, render_mode="rgb_array")
    for env in (ours, theirs):
        env.reset(seed=0)
        env.step([1, 0, 2])
    for name in ("problem", "action_space", "observation_space", "render_mode"):
        assert ours.get_attr(name) == theirs.get_attr(name)
    np.testing.assert_array_equal(ours.call("action_masks"), theirs.call("action_masks"))
    np.testing.assert_array_equal(ours.render(), theirs.render())
    with pytest.raises(AttributeError, match="Lanes have no method 'reset' one by one"):
        ours.call("reset")


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_lanes_pickle_in_mid_episode(mode):
    ours, _ = both("masked", mode, render_mode="rgb_array")
    fresh = pickle.loads(pickle.dumps(ours))
    ours.reset(seed=3)
    np.testing.assert_array_equal(fresh.reset(seed=3)[0], ours.reset(seed=3)[0])
    ours.step([1, 0, 2])
    copy = pickle.loads(pickle.dumps(ours))
    for one, other in zip(copy.step([0, 1, 1])[:-1], ours.step([0, 1, 1])[:-1], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(copy.render(), ours.render())
    assert copy.autoreset_mode is mode


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_frames_follow_each_lanes_own_episode(mode):
    ours, theirs = both("step info", mode, render_mode="rgb_array")
    for env in (ours, theirs):
        env.reset(seed=0)
    for _ in range(6):
        _, _, ended, _, _ = ours.step([1, 2, 3])
        theirs.step([1, 2, 3])
        np.testing.assert_array_equal(ours.render(), theirs.render())
        if mode is AutoresetMode.DISABLED and ended.any():
            for env in (ours, theirs):
                env.reset(options={"reset_mask": ended})


def test_the_horizon_is_in_the_specification():
    single = gymnasium.make(SIZING[0], **SIZING[1])
    lanes = gymnasium.make_vec(SIZING[0], num_envs=2, **SIZING[1])
    assert single.spec.max_episode_steps == lanes.spec.max_episode_steps == 7
    assert gymnasium.make(SIZING[0], max_episode_steps=3, **SIZING[1]).spec.max_episode_steps == 3
    timed = gymnasium.wrappers.TimeAwareObservation(single)
    assert timed.reset(seed=0)[0] in timed.observation_space


def test_the_id_alone_names_the_scenario():
    with pytest.raises(DsegymError, match="the id alone names the scenario"):
        gymnasium.make(SIZING[0], scenario="dsegym/SleepTime-v0")
    with pytest.raises(DsegymError, match="the id alone names the scenario"):
        gymnasium.make_vec(SIZING[0], num_envs=2, scenario="dsegym/SleepTime-v0")


def test_a_vector_environment_in_place_of_another_is_refused_by_the_adaptor():
    from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env

    ours, theirs = both("masked", AutoresetMode.NEXT_STEP)
    for env in (ours, theirs, gymnasium.make(SIZING[0], **SIZING[1])):
        with pytest.raises(DsegymError, match=r"takes what gymnasium\.make_vec"):
            StableBaselines3Env(env)


def test_truncation_reaches_stable_baselines3():
    from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env

    problem = dsegym.make_problem(SIZING[0], workload="alexnet", area_budget="small")
    env = StableBaselines3Env(FunctionalVectorEnv(problem, 2, "sequential", max_episode_steps=3))
    env.reset()
    for _ in range(3):
        _, _, dones, infos = env.step(np.zeros(2, int))
    assert dones.all()
    assert all(info["TimeLimit.truncated"] and "design" not in info for info in infos)
