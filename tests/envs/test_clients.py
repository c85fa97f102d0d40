"""Other people's clients, as they are installed, on environments of every kind: what their users call must work.

`tests/envs/faces` holds our environments to Gymnasium's contracts themselves.
"""

import pickle

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import dsegym
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import BudgetExhausted, DsegymError
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


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path, monkeypatch):
    """What clients write lies there."""
    monkeypatch.chdir(tmp_path)


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


@pytest.mark.slow
@every_kind
def test_stable_baselines3_makes_its_own_vector_environment_of_an_id(case):
    from stable_baselines3.common.env_util import make_vec_env

    env = make_vec_env(case[0], 2, seed=0, env_kwargs=keywords(case))
    env.reset()
    for _ in range(12):
        observation, reward, _, _ = env.step([env.action_space.sample() for _ in range(2)])
        assert env.observation_space.contains(observation[0])
        assert np.isfinite(reward).all()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in (MAPPING[0], SLEEP[0]) else pytest.mark.minutes)
        for name in BUILT_IN
    ],
)
def test_ppo_takes_an_id(name):
    from stable_baselines3 import PPO

    PPO("MlpPolicy", name, n_steps=8, batch_size=8, n_epochs=1, device="cpu").learn(8)


@pytest.mark.minutes
@pytest.mark.parametrize("name", BUILT_IN)
def test_every_form_of_every_id_takes_ppo_alone_and_in_lanes_and_torchrl(name):
    from stable_baselines3 import PPO

    from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env

    contrib, torchrl = (
        pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed"),
        pytest.importorskip("torchrl.envs", reason="TorchRL is not installed"),
    )
    small = {"n_steps": 4, "batch_size": 4, "n_epochs": 1, "seed": 0, "device": "cpu"}
    for form in dsegym.make_problem(name).forms:
        policy = "MultiInputPolicy" if form == "image" else "MlpPolicy"
        PPO(policy, gymnasium.make(name, form=form), **small).learn(4)
        lanes = StableBaselines3Env(gymnasium.make_vec(name, num_envs=2, form=form))
        contrib.MaskablePPO(policy, lanes, **small).learn(8)
        assert torchrl.GymEnv(name, form=form).rollout(3)["next", "reward"].isfinite().all()


@pytest.mark.slow
@every_kind
def test_ppo_learns_and_its_policy_plays(case):
    from stable_baselines3 import PPO

    policy = PPO("MlpPolicy", make(case), n_steps=16, batch_size=16, n_epochs=1, seed=0, device="cpu").learn(16)
    env = policy.get_env()
    action, _ = policy.predict(env.reset())
    assert np.isfinite(env.step(action)[1]).all()


@pytest.mark.slow
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


@pytest.mark.slow
def test_convolutions_learn_from_images():
    from stable_baselines3 import DQN, PPO
    from stable_baselines3.common.preprocessing import is_image_space

    from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env

    image = (MAPPING[0], "image", MAPPING[2])
    env = make(image)
    assert is_image_space(env.observation_space["image"])
    DQN("MultiInputPolicy", env, buffer_size=200, learning_starts=8, seed=0, device="cpu").learn(16)
    lanes = StableBaselines3Env(make_vec(image, 2))
    PPO("MultiInputPolicy", lanes, n_steps=4, batch_size=8, n_epochs=1, seed=0, device="cpu").learn(8)


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


@pytest.mark.slow
@pytest.mark.parametrize("case", [SEQUENTIAL, MAPPING], ids=["masked parts", "masked"])
@pytest.mark.parametrize("vector", [False, True], ids=["single", "vector"])
def test_maskable_ppo_finds_the_masks(case, vector):
    contrib = pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed")
    from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env

    env = StableBaselines3Env(make_vec(case, 4)) if vector else make(case)
    contrib.MaskablePPO("MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=0, device="cpu").learn(32)


@pytest.mark.slow
def test_maskable_ppo_competes_through_the_referee():
    contrib = pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed")
    referee = Referee(dsegym.make_problem(MAPPING[0], **MAPPING[2]), 8)
    env = referee.stable_baselines3_env(4, MAPPING[1])
    with pytest.raises(BudgetExhausted):
        contrib.MaskablePPO("MlpPolicy", env, n_steps=8, batch_size=8, seed=0, device="cpu").learn(10_000)
    assert len(referee.samples.objective) == 8


# What sb3-contrib's `is_masking_supported` and `get_action_masks` call, which holds without it too.
@every_kind
def test_a_single_environment_has_the_method_that_sb3_contrib_looks_for(case):
    env = make(case)
    _, info = env.reset(seed=0)
    masks = env.get_wrapper_attr("action_masks")()
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks, info.get("action_mask", np.ones_like(masks)))


@every_kind
def test_the_adaptor_has_the_attribute_that_sb3_contrib_looks_for(case):
    from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env

    env = StableBaselines3Env(make_vec(case, 2))
    env.reset()
    assert env.has_attr("action_masks")
    assert np.stack(env.env_method("action_masks")).dtype == bool


# --- Gymnasium's vector environments ----------------------------------------------------------------------------------


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
    "RecordVideo": lambda wrapper, env: wrapper(env, "videos"),
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
    "RecordVideo": lambda wrapper, env: wrapper(env, "videos"),
    "HumanRendering": lambda wrapper, env: wrapper(env),
    "ArrayConversion": OUTSIDE,
    "JaxToNumpy": OUTSIDE,
    "JaxToTorch": OUTSIDE,
    "NumpyToTorch": lambda wrapper, env: wrapper(env),
}
LIBRARIES = {"RecordVideo": "moviepy", "HumanRendering": "pygame", "NumpyToTorch": "array_api_compat"}
PICTURES = (
    "AddRenderObservation",
    "AddWhiteNoise",
    "ObstructView",
    "RenderCollection",
    "RecordVideo",
    "HumanRendering",
)


def wrapped(name, case, lanes):
    """The wrapper on an environment, single if there are no lanes; skips where a library is missing."""
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name], reason=f"{LIBRARIES[name]} is not installed")
    module = gymnasium.wrappers.vector if lanes else gymnasium.wrappers
    more = {"render_mode": "rgb_array"} if name in PICTURES else {}
    if lanes and name.endswith("Observation"):
        more["autoreset_mode"] = AutoresetMode.NEXT_STEP  # as these wrappers ask
    env = make_vec(case, lanes, **more) if lanes else make(case, **more)
    return (VECTOR if lanes else SINGLE)[name](getattr(module, name), env)


def applying(table):
    """Every wrapper that applies, on a masked form whose end comes soon and on one with actions of many parts."""
    cases = {"masked": SEQUENTIAL, "many parts": SIZING}
    return [
        pytest.param(name, case, id=f"{name}-{kind}")
        for name, how in table.items()
        if callable(how)
        for kind, case in cases.items()
    ]


def test_every_wrapper_of_gymnasium_is_tried_or_does_not_apply():
    assert set(gymnasium.wrappers.__all__) - {"vector"} <= set(SINGLE)
    assert set(gymnasium.wrappers.vector.__all__) <= set(VECTOR)


@pytest.mark.parametrize(("name", "case"), applying(SINGLE))
def test_a_wrapper_goes_on_a_single_environment(name, case):
    env = wrapped(name, case, 0)
    play(env)
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), applying(VECTOR))
def test_a_wrapper_goes_on_our_vector_environment(name, case):
    env = wrapped(name, case, 2)
    play(env)
    env.close()


# --- Gymnasium's functional environments, copies, specs ---------------------------------------------------------------


@pytest.mark.slow
@every_kind
def test_gymnasiums_functional_adaptors_take_the_functional_environment(case):
    from gymnasium.envs.functional_jax_env import FunctionalJaxEnv, FunctionalJaxVectorEnv

    made = dsegym.make_functional(case[0], form=case[1], **case[2])
    functional, many = GymnasiumFunctionalEnv(*made), GymnasiumFunctionalEnv(*made)
    functional.transform(jax.jit)
    env = FunctionalJaxEnv(functional)
    assert np.shape(env.reset(seed=0)[0]) == functional.observation_space.shape
    for _ in range(3):
        _, reward, terminated, _, _ = env.step(np.asarray(env.action_space.sample()))
        assert np.isfinite(reward)
        if terminated:
            env.reset()
    lanes = FunctionalJaxVectorEnv(many, 2)  # it makes batches of the functions, which are compiled then
    many.transform(jax.jit)
    assert lanes.reset(seed=0)[0].shape == (2, *functional.observation_space.shape)
    assert np.isfinite(lanes.step(np.asarray(lanes.action_space.sample()))[1]).all()


@every_kind
def test_a_problem_pickles_by_its_name_and_options(case):
    problem = dsegym.make_problem(case[0], **case[2])
    loaded, fresh = pickle.loads(pickle.dumps(problem)), dsegym.make_problem(case[0], **case[2])
    assert (loaded.options, loaded.content) == (fresh.options, fresh.content)


@every_kind
def test_an_unknown_keyword_is_the_error_on_which_clients_try_again_without_it(case):
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'frameskip'") as raised:
        make(case, frameskip=4)
    assert isinstance(raised.value, DsegymError)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


# --- TorchRL, Tianshou, Minari, RLlib ---------------------------------------------------------------------------------


@every_kind
def test_torchrl_rolls_out_an_id_and_a_wrapped_environment(case):
    envs = pytest.importorskip("torchrl.envs", reason="TorchRL is not installed")
    for env in (envs.GymEnv(case[0], **keywords(case)), envs.GymWrapper(make(case))):
        assert env.rollout(5)["next", "reward"].isfinite().all()


@every_kind
def test_tianshou_collects_from_its_vector_environment(case):
    env = pytest.importorskip("tianshou.env", reason="Tianshou is not installed").DummyVectorEnv(
        [lambda: make(case)] * 2
    )
    env.reset()
    reward = env.step(np.stack([space.sample() for space in env.get_env_attr("action_space")]))[1]
    assert np.isfinite(reward).all()


@every_kind
def test_minari_records_episodes_with_their_infos(case, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari", reason="Minari is not installed")
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
    ppo = pytest.importorskip("ray.rllib.algorithms.ppo", reason="RLlib is not installed")
    from ray.tune.registry import register_env

    register_env("dsegym", lambda config: make(case))
    settings = ppo.PPOConfig().environment("dsegym").env_runners(num_env_runners=0)
    algorithm = settings.training(train_batch_size_per_learner=32, minibatch_size=32, num_epochs=1).build_algo()
    algorithm.train()
    algorithm.stop()
