"""Other people's clients, as they are installed, on environments of every kind: what their users call, and what they get.

What is marked `xfail` does not work yet; the reason names the fault.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import dsegym
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import BudgetExhausted
from dsegym.envs.core.scenarios import BUILT_IN
from dsegym.envs.faces.functional_env import GymnasiumFunctionalEnv

# id, form, options: an action of many parts without a mask and without a diagram; a masked choice with a diagram; an
# unmasked choice whose episodes draw their own cases.
SIZING = ("dsegym/AcceleratorSizing-v0", "parametric", {"workload": "alexnet"})
SEQUENTIAL = ("dsegym/AcceleratorSizing-v0", "sequential", {"workload": "alexnet"})
MAPPING = ("dsegym/MemoryMapping-v0", "sequential", {"program": "residual_tiny", "capacity": 0.5})
SLEEP = ("dsegym/SleepTime-v0", "decisions", {})
QUICK = {"many parts": SIZING, "masked parts": SEQUENTIAL, "masked": MAPPING, "unmasked": SLEEP}
CHOICES = {name: case for name, case in QUICK.items() if case is not SIZING}
every_kind = pytest.mark.parametrize("case", QUICK.values(), ids=QUICK)
every_choice = pytest.mark.parametrize("case", CHOICES.values(), ids=CHOICES)


def make(case, **more):
    name, form, options = case
    return gymnasium.make(name, form=form, **options, **more)


def make_vec(case, lanes, **more):
    name, form, options = case
    return gymnasium.make_vec(name, num_envs=lanes, form=form, **options, **more)


def keywords(case):
    return {"form": case[1], **case[2]}


def play(env, steps=12):
    """Random steps; the number of episodes that ended."""
    env.reset(seed=0)
    env.action_space.seed(0)
    ended = 0
    for _ in range(steps):
        _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert np.isfinite(reward).all()
        if np.ndim(terminated) == 0 and (terminated or truncated):
            ended += 1
            env.reset()
    return ended


# --- stable-baselines3 ------------------------------------------------------------------------------------------------

NO_PICTURE = pytest.mark.xfail(
    strict=True, reason="F2: a scenario without a diagram refuses the render mode that stable-baselines3 asks for"
)
BY_ID = [
    pytest.param(case, marks=[NO_PICTURE] if case in (SIZING, SEQUENTIAL) else [], id=name)
    for name, case in QUICK.items()
]


@pytest.mark.parametrize("case", BY_ID)
def test_stable_baselines3_makes_its_own_vector_environment_of_an_id(case):
    from stable_baselines3.common.env_util import make_vec_env

    env = make_vec_env(case[0], 2, seed=0, env_kwargs=keywords(case))
    env.reset()
    for _ in range(12):
        observation, reward, _, _ = env.step([env.action_space.sample() for _ in range(2)])
        assert env.observation_space.contains(observation[0])
        assert np.isfinite(reward).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[NO_PICTURE] if name == SIZING[0] else []) for name in BUILT_IN]
)
def test_ppo_takes_an_id(name):
    from stable_baselines3 import PPO

    PPO("MlpPolicy", name, n_steps=8, batch_size=8, n_epochs=1, device="cpu").learn(8)


@every_kind
def test_ppo_learns_and_its_policy_plays(case):
    from stable_baselines3 import PPO

    policy = PPO("MlpPolicy", make(case), n_steps=16, batch_size=16, n_epochs=1, seed=0, device="cpu").learn(16)
    env = policy.get_env()
    action, _ = policy.predict(env.reset())
    assert env.action_space.contains(action[0])


@every_kind
def test_ppo_learns_on_the_adaptor_of_our_vector_environment(case):
    from stable_baselines3 import PPO

    from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env

    env = StableBaselines3Env(make_vec(case, 4))
    PPO("MlpPolicy", env, n_steps=8, batch_size=32, n_epochs=1, seed=0, device="cpu").learn(32)


@every_choice
def test_dqn_learns(case):
    from stable_baselines3 import DQN

    DQN("MlpPolicy", make(case), buffer_size=100, learning_starts=8, seed=0, device="cpu").learn(24)


@pytest.mark.xfail(strict=True, reason="F14: the image is a flat vector, of which DQN's own buffer wants 47 GiB")
def test_dqn_learns_from_images_with_the_buffer_that_it_has_by_default():
    from stable_baselines3 import DQN

    env = gymnasium.make(MAPPING[0], form="image", **MAPPING[2])
    assert DQN("MultiInputPolicy", env, device="cpu").buffer_size == 1_000_000


@pytest.mark.slow
@every_kind
def test_stable_baselines3_plays_in_processes_that_it_spawns(case):
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import SubprocVecEnv

    def imported():
        return make(case)

    env = make_vec_env(imported, 2, seed=0, vec_env_cls=SubprocVecEnv, vec_env_kwargs={"start_method": "spawn"})
    try:
        env.reset()
        for _ in range(3):
            env.step([env.action_space.sample() for _ in range(2)])
    finally:
        env.close()


# --- sb3-contrib ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [SEQUENTIAL, MAPPING], ids=["masked parts", "masked"])
@pytest.mark.parametrize("vector", [False, True], ids=["single", "vector"])
def test_maskable_ppo_finds_the_masks(case, vector):
    contrib = pytest.importorskip("sb3_contrib")
    from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env

    env = StableBaselines3Env(make_vec(case, 4)) if vector else make(case)
    contrib.MaskablePPO("MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=0, device="cpu").learn(32)


def test_maskable_ppo_competes_through_the_referee():
    contrib = pytest.importorskip("sb3_contrib")
    referee = Referee(dsegym.make_problem(MAPPING[0], **MAPPING[2]), 8)
    env = referee.stable_baselines3_env(4, MAPPING[1])
    with pytest.raises(BudgetExhausted):
        contrib.MaskablePPO("MlpPolicy", env, n_steps=8, batch_size=8, seed=0, device="cpu").learn(10_000)
    assert len(referee.samples.objective) == 8


# What sb3-contrib's `is_masking_supported` and `get_action_masks` call, which holds without it too.
@pytest.mark.xfail(strict=True, reason="F3: the single environment has no `action_masks`")
@every_kind
def test_a_single_environment_has_the_method_that_sb3_contrib_looks_for(case):
    env = make(case)
    _, info = env.reset(seed=0)
    masks = env.get_wrapper_attr("action_masks")()
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks, info.get("action_mask", np.ones_like(masks)))


@pytest.mark.xfail(strict=True, reason="F3: `has_attr` does not find `action_masks` on the adaptor")
@every_kind
def test_the_adaptor_has_the_attribute_that_sb3_contrib_looks_for(case):
    from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env

    env = StableBaselines3Env(make_vec(case, 2))
    env.reset()
    assert env.has_attr("action_masks")
    assert np.stack(env.env_method("action_masks")).dtype == bool


# --- Gymnasium's vector environments ----------------------------------------------------------------------------------


@every_kind
def test_gymnasiums_synchronous_vector_environment_takes_the_steps_of_ours(case):
    same_step = {"autoreset_mode": AutoresetMode.SAME_STEP}
    theirs, ours = make_vec(case, 2, vectorization_mode="sync", vector_kwargs=same_step), make_vec(case, 2)
    seen = [env.reset(seed=5) for env in (theirs, ours)]
    theirs.action_space.seed(0)
    for _ in range(20):
        np.testing.assert_allclose(seen[0][0], seen[1][0], rtol=1e-4, atol=1e-5)
        actions = theirs.action_space.sample()
        (first, reward, ended, _, info), (other, reward_too, ended_too, _, info_too) = (
            env.step(actions) for env in (theirs, ours)
        )
        seen = [(first, info), (other, info_too)]
        np.testing.assert_allclose(reward, reward_too, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(ended, ended_too)
        if "final_obs" in info:
            lanes = np.flatnonzero(info["_final_obs"])
            np.testing.assert_array_equal(info["_final_obs"], info_too["_final_obs"])
            np.testing.assert_allclose(
                np.stack(info["final_obs"][lanes]), info_too["final_obs"][lanes], rtol=1e-4, atol=1e-5
            )
            for name in ("design", "objective", "feasible"):
                if name in info["final_info"]:
                    np.testing.assert_allclose(
                        info["final_info"][name][lanes], info_too["final_info"][name][lanes], rtol=1e-4
                    )


@every_kind
def test_gymnasiums_synchronous_vector_environment_resets_in_the_next_step_as_it_does_by_default(case):
    play(make_vec(case, 2, vectorization_mode="sync"))


@pytest.mark.slow
def test_gymnasiums_asynchronous_vector_environment_runs_where_it_spawns():
    env = make_vec(SLEEP, 2, vectorization_mode="async", vector_kwargs={"context": "spawn"})
    try:
        play(env, 3)
    finally:
        env.close()


FORKS = {
    "gymnasium": "env = gymnasium.make_vec(ID, num_envs=2, vectorization_mode='async', vector_kwargs={'context': 'fork'}, **KW)\n"
    "env.reset(seed=0)",
    "stable-baselines3": "from stable_baselines3.common.vec_env import SubprocVecEnv\n"
    "gymnasium.make(ID, **KW).reset(seed=0)\n"
    "SubprocVecEnv([lambda: gymnasium.make(ID, **KW)] * 2, start_method='fork').reset()",
    "multiprocessing": "import multiprocessing\n"
    "problem = dsegym.make_problem(ID, **{k: v for k, v in KW.items() if k != 'form'})\n"
    "design = [0] * len(problem.space)\n"
    "problem.evaluate(design)\n"
    "with multiprocessing.get_context('fork').Pool(1) as pool: pool.map(problem.evaluate, [design])",
}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.xfail(strict=True, reason="F1: a fork after JAX started hangs")
@pytest.mark.parametrize("client", FORKS)
def test_a_fork_after_jax_started_is_an_error_that_names_the_remedy_and_no_hang(client):
    code = f"import dsegym, gymnasium\nID, KW = {MAPPING[0]!r}, {keywords(MAPPING)!r}\n{FORKS[client]}\n"
    # Workers that outlive a hanging parent are in its session, and end with it.
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode != 0
    assert "spawn" in said


# --- Gymnasium's contract of vector environments, on ours -------------------------------------------------------------

F5 = pytest.mark.xfail(strict=True, reason="F5: the vector environment bends Gymnasium's contract")


@F5
@every_kind
def test_rewards_and_ends_may_be_written_to_and_are_of_gymnasiums_types(case):
    env = make_vec(case, 2)
    env.reset(seed=0)
    _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
    assert reward.dtype == np.float64
    assert terminated.dtype == truncated.dtype == bool
    reward *= 0.1
    terminated |= truncated


@F5
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
@every_kind
def test_lanes_are_reset_as_gymnasiums_are(case, mode):
    ours = make_vec(case, 3, autoreset_mode=mode)
    theirs = make_vec(case, 3, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode})
    assert ours.metadata["autoreset_mode"] is mode
    theirs.action_space.seed(0)
    seen = [env.reset(seed=5)[0] for env in (theirs, ours)]
    for _ in range(20):
        np.testing.assert_allclose(*seen, rtol=1e-4, atol=1e-5)
        actions = theirs.action_space.sample()
        (first, reward, ended, cut, _), (other, reward_too, ended_too, cut_too, _) = (
            env.step(actions) for env in (theirs, ours)
        )
        np.testing.assert_allclose(first, other, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(reward, reward_too, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal((ended, cut), (ended_too, cut_too))
        seen = [first, other]
        if mode is AutoresetMode.DISABLED and ended.any():
            seen = [env.reset(options={"reset_mask": ended.copy()})[0] for env in (theirs, ours)]


@every_kind
def test_a_list_of_seeds_is_a_seed_a_lane(case):
    starts = [make_vec(case, 3).reset(seed=[4, 9, 4])[0], *(make_vec(case, 1).reset(seed=seed)[0] for seed in (4, 9))]
    np.testing.assert_array_equal(starts[0][0], starts[0][2])
    np.testing.assert_allclose(starts[0][:2], np.concatenate(starts[1:]), rtol=1e-4, atol=1e-5)


@F5
@pytest.mark.parametrize("case", [SEQUENTIAL, MAPPING], ids=["masked parts", "masked"])
def test_every_entry_of_info_has_its_mask(case):
    env = make_vec(case, 2)
    _, info = env.reset(seed=0)
    ended = False
    while not ended:
        assert all(f"_{name}" in info for name in info if not name.startswith("_") and name != "final_info")
        _, _, terminated, _, info = env.step(env.action_space.sample())
        ended = terminated.any()
    assert {f"_{name}" for name in ("design", "objective", "feasible")} <= set(info["final_info"])


@F5
def test_episodes_are_cut_at_the_steps_that_the_user_gives():
    env = make_vec(MAPPING, 2, max_episode_steps=3)
    env.reset(seed=0)
    assert [env.step(np.zeros(2, np.int64))[3].all() for _ in range(3)] == [False, False, True]


@F5
def test_lanes_answer_for_their_attributes_and_methods():
    env = make_vec(MAPPING, 2, render_mode="rgb_array")
    env.reset(seed=0)
    assert env.get_attr("render_mode") == ("rgb_array", "rgb_array")
    assert [frame.dtype for frame in env.call("render")] == [np.uint8, np.uint8]


# --- Gymnasium's wrappers ---------------------------------------------------------------------------------------------
#
# {wrapper: (class, environment) -> wrapped; or the reason why it does not apply}. Every wrapper of the installed
# Gymnasium is in the tables.

NO_IMAGE, NO_DICT, NO_BOX_ACTION = "observations are no images", "observations are no dict", "actions are no Box"
OUTSIDE = "arrays are NumPy's on the outside"
ANY = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
SINGLE = {
    "AtariPreprocessing": "there is no Atari",
    "DelayObservation": lambda wrapper, env: wrapper(env, delay=2),
    "DtypeObservation": lambda wrapper, env: wrapper(env, np.float64),
    "DiscretizeObservation": lambda wrapper, env: wrapper(env, bins=3, multidiscrete=True),
    "FilterObservation": NO_DICT,
    "FlattenObservation": lambda wrapper, env: wrapper(env),
    "FrameStackObservation": lambda wrapper, env: wrapper(env, stack_size=3),
    "GrayscaleObservation": NO_IMAGE,
    "TransformObservation": lambda wrapper, env: wrapper(env, lambda seen: seen[:1] / 2, ANY),
    "MaxAndSkipObservation": lambda wrapper, env: wrapper(env, skip=2),
    "NormalizeObservation": lambda wrapper, env: wrapper(env),
    "AddRenderObservation": lambda wrapper, env: wrapper(env, render_only=False),
    "ResizeObservation": NO_IMAGE,
    "ReshapeObservation": lambda wrapper, env: wrapper(env, (1, *env.observation_space.shape)),
    "RescaleObservation": lambda wrapper, env: wrapper(env, np.float32(-1), np.float32(1)),
    "TimeAwareObservation": lambda wrapper, env: wrapper(env),
    "ClipAction": NO_BOX_ACTION,
    "DiscretizeAction": NO_BOX_ACTION,
    "TransformAction": lambda wrapper, env: wrapper(env, lambda action: action * 0, None),
    "RescaleAction": NO_BOX_ACTION,
    "StickyAction": lambda wrapper, env: wrapper(env, 0.5),
    "RepeatAction": lambda wrapper, env: wrapper(env, 2),
    "ClipReward": lambda wrapper, env: wrapper(env, -1, 1),
    "TransformReward": lambda wrapper, env: wrapper(env, lambda reward: reward / 2),
    "NormalizeReward": lambda wrapper, env: wrapper(env),
    "TimeLimit": lambda wrapper, env: wrapper(env, 3),
    "Autoreset": lambda wrapper, env: wrapper(env),
    "PassiveEnvChecker": lambda wrapper, env: wrapper(env),
    "OrderEnforcing": lambda wrapper, env: wrapper(env),
    "RecordEpisodeStatistics": lambda wrapper, env: wrapper(env),
    "AddWhiteNoise": lambda wrapper, env: wrapper(env, 0.5),
    "ObstructView": lambda wrapper, env: wrapper(env, 0.5, 5),
    "RenderCollection": lambda wrapper, env: wrapper(env),
    "RecordVideo": lambda wrapper, env: wrapper(env, VIDEOS),
    "HumanRendering": lambda wrapper, env: wrapper(env),
    "ArrayConversion": OUTSIDE,
    "JaxToNumpy": OUTSIDE,
    "JaxToTorch": OUTSIDE,
    "NumpyToTorch": lambda wrapper, env: wrapper(env),
}
VECTOR = {
    "VectorizeTransformObservation": "the others are made with it",
    "VectorizeTransformAction": "the others are made with it",
    "VectorizeTransformReward": "the others are made with it",
    "DictInfoToList": lambda wrapper, env: wrapper(env),
    "TransformObservation": lambda wrapper, env: wrapper(env, lambda seen: seen / 2),
    "FilterObservation": NO_DICT,
    "FlattenObservation": lambda wrapper, env: wrapper(env),
    "GrayscaleObservation": NO_IMAGE,
    "ResizeObservation": NO_IMAGE,
    "ReshapeObservation": lambda wrapper, env: wrapper(env, (1, *env.single_observation_space.shape)),
    "RescaleObservation": lambda wrapper, env: wrapper(env, np.float32(-1), np.float32(1)),
    "DtypeObservation": lambda wrapper, env: wrapper(env, np.float64),
    "NormalizeObservation": lambda wrapper, env: wrapper(env),
    "TransformAction": lambda wrapper, env: wrapper(env, lambda actions: actions * 0),
    "ClipAction": NO_BOX_ACTION,
    "RescaleAction": NO_BOX_ACTION,
    "TransformReward": lambda wrapper, env: wrapper(env, lambda reward: reward / 2),
    "ClipReward": lambda wrapper, env: wrapper(env, -1, 1),
    "NormalizeReward": lambda wrapper, env: wrapper(env),
    "RecordEpisodeStatistics": lambda wrapper, env: wrapper(env),
    "RecordVideo": lambda wrapper, env: wrapper(env, VIDEOS),
    "HumanRendering": lambda wrapper, env: wrapper(env),
    "ArrayConversion": OUTSIDE,
    "JaxToNumpy": OUTSIDE,
    "JaxToTorch": OUTSIDE,
    "NumpyToTorch": lambda wrapper, env: wrapper(env),
}
VIDEOS = tempfile.mkdtemp()
LIBRARIES = {"RecordVideo": "moviepy", "HumanRendering": "pygame", "NumpyToTorch": "array_api_compat"}
PICTURES = (
    "AddRenderObservation",
    "AddWhiteNoise",
    "ObstructView",
    "RenderCollection",
    "RecordVideo",
    "HumanRendering",
)
# What the vector environment's only mode, same-step autoreset, or its read-only rewards keep from working, and what a
# missing horizon or picture does.
NOT_YET = {
    ("single", "TimeAwareObservation"): "F15: the spec has no `max_episode_steps`",
}


def wrapped(name, case, lanes):
    """The wrapper on an environment, single if there are no lanes; skips where a library is missing."""
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])
    module = gymnasium.wrappers.vector if lanes else gymnasium.wrappers
    more = {"render_mode": "rgb_array"} if name in PICTURES else {}
    if lanes and name in ("NormalizeObservation", "FlattenObservation"):
        more["autoreset_mode"] = AutoresetMode.NEXT_STEP  # as they themselves ask
    env = make_vec(case, lanes, **more) if lanes else make(case, **more)
    return (VECTOR if lanes else SINGLE)[name](getattr(module, name), env)


def applying(table, faces):
    names = [name for name, how in table.items() if not isinstance(how, str)]
    return [
        pytest.param(
            name,
            case,
            marks=[pytest.mark.xfail(strict=True, reason=reason)]
            if (reason := NOT_YET.get((faces, name)) or (case is SEQUENTIAL and name in PICTURES and "F2"))
            and name not in LIBRARIES
            else [],
            id=f"{name}-{kind}",
        )
        for name in names
        for kind, case in {"masked parts": SEQUENTIAL, "masked": MAPPING}.items()
    ]


def test_every_wrapper_of_gymnasium_is_tried_or_does_not_apply():
    assert set(gymnasium.wrappers.__all__) - {"vector"} <= set(SINGLE)
    assert set(gymnasium.wrappers.vector.__all__) <= set(VECTOR)


@pytest.mark.parametrize(("name", "case"), applying(SINGLE, "single"))
def test_a_wrapper_goes_on_a_single_environment(name, case):
    env = wrapped(name, case, 0)
    play(env)
    env.close()


@pytest.mark.parametrize(("name", "case"), applying(VECTOR, "vector"))
def test_a_wrapper_goes_on_our_vector_environment(name, case):
    env = wrapped(name, case, 2)
    play(env)
    env.close()


# --- Gymnasium's functional environments, copies, specs ---------------------------------------------------------------


@every_kind
def test_gymnasiums_functional_adaptors_take_the_functional_environment(case):
    from gymnasium.envs.functional_jax_env import FunctionalJaxEnv, FunctionalJaxVectorEnv

    functional = GymnasiumFunctionalEnv(*dsegym.make_functional(case[0], form=case[1], **case[2]))
    env = FunctionalJaxEnv(functional)
    assert np.shape(env.reset(seed=0)[0]) == functional.observation_space.shape
    for _ in range(3):
        _, reward, terminated, _, _ = env.step(np.asarray(env.action_space.sample()))
        assert np.isfinite(reward)
        if terminated:
            env.reset()
    lanes = FunctionalJaxVectorEnv(functional, 2)
    assert lanes.reset(seed=0)[0].shape == (2, *functional.observation_space.shape)
    assert np.isfinite(lanes.step(np.asarray(lanes.action_space.sample()))[1]).all()


@pytest.mark.xfail(strict=True, reason="F13: problems do not pickle")
@every_kind
def test_a_problem_pickles_by_its_name_and_options(case):
    problem = dsegym.make_problem(case[0], **case[2])
    assert pickle.loads(pickle.dumps(problem)) is problem


@pytest.mark.xfail(strict=True, reason="F13: environments do not pickle")
@every_kind
def test_an_environment_pickles_in_mid_episode(case):
    env = make(case)
    observation, _ = env.reset(seed=3)
    again = pickle.loads(pickle.dumps(env))
    action = env.action_space.sample()
    for one, other in zip(env.step(action)[:2], again.step(action)[:2], strict=True):
        np.testing.assert_array_equal(one, other)
    assert observation in again.observation_space


@pytest.mark.xfail(strict=True, reason="F15: the spec has no `max_episode_steps`")
@every_kind
def test_the_spec_knows_the_horizon(case):
    env = make(case)
    assert env.spec.max_episode_steps == env.unwrapped.functional.horizon


@pytest.mark.xfail(strict=True, reason="F4: an unknown keyword is no TypeError")
@every_kind
def test_an_unknown_keyword_is_the_error_on_which_clients_try_again_without_it(case):
    with pytest.raises(TypeError, match="unexpected keyword argument 'frameskip'"):
        make(case, frameskip=4)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=name,
            marks=[pytest.mark.xfail(strict=True, reason="F15: a space is shared")] if case is SLEEP else [],
        )
        for name, case in QUICK.items()
    ],
)
def test_no_two_environments_share_a_space(case):
    first, other = make(case), make(case)
    for name in ("action_space", "observation_space"):
        assert getattr(first, name) is not getattr(other, name)


# --- TorchRL, Tianshou, Minari, RLlib ---------------------------------------------------------------------------------


@every_kind
def test_torchrl_rolls_out_an_id_and_a_wrapped_environment(case):
    envs = pytest.importorskip("torchrl.envs")
    for env in (envs.GymEnv(case[0], **keywords(case)), envs.GymWrapper(make(case))):
        assert env.rollout(5)["next", "reward"].isfinite().all()


@every_kind
def test_tianshou_collects_from_its_vector_environment(case):
    env = pytest.importorskip("tianshou.env").DummyVectorEnv([lambda: make(case)] * 2)
    env.reset()
    reward = env.step(np.stack([space.sample() for space in env.get_env_attr("action_space")]))[1]
    assert np.isfinite(reward).all()


@every_kind
def test_minari_records_episodes_with_their_infos(case, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(make(case, full_info=True), record_infos=True)
    ended = False
    env.reset(seed=0)
    while not ended:
        ended = env.step(env.action_space.sample())[2]
    assert env.create_dataset(dataset_id="dsegym/test-v0").total_episodes == 1


@pytest.mark.slow
@every_kind
def test_rllib_trains(case):
    ppo = pytest.importorskip("ray.rllib.algorithms.ppo")
    from ray.tune.registry import register_env

    register_env("dsegym", lambda config: make(case))
    settings = ppo.PPOConfig().environment("dsegym").env_runners(num_env_runners=0)
    algorithm = settings.training(train_batch_size_per_learner=32, minibatch_size=32, num_epochs=1).build_algo()
    algorithm.train()
    algorithm.stop()
