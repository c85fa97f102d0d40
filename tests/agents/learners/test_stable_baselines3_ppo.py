"""stable-baselines3's PPO as a learner on collections, and the benchmark that compares it with ours."""

import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.agents.learners.ppo import Batch, ProximalPolicyOptimisation, Scale
from dsegym.agents.policies.evaluation import evaluate
from dsegym.agents.policies.players import Function
from dsegym.envs.core.collections import load_collection
from dsegym.envs.faces.vector_env import CollectionVectorEnv

pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed")  # after the imports that need it not
SMALL = ProximalPolicyOptimisation(rollout=8, epochs=3, minibatches=2, units=16, layers=1, discount=0.9)


def model_of(env, **settings):
    from dsegym.agents.learners.stable_baselines3_ppo import reference_model
    from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env

    return reference_model(StableBaselines3Env(env), SMALL, 0, **settings)


@pytest.mark.slow
def test_maskable_ppo_learns_on_a_collection_and_plays_instances_that_it_has_not_seen():
    from dsegym.agents.learners.stable_baselines3_ppo import Acting

    collection = load_collection("cascade-budgets")
    model = model_of(CollectionVectorEnv(collection, "train", 4)).learn(200)
    assert model.num_timesteps >= 200
    found = evaluate(Function("MaskablePPO", Acting(model)), collection, "test")  # refuses actions that are not legal
    assert found.value.shape == (len(collection.problems("test")),)
    assert np.isfinite(found.value).all()
    alone = lambda observation, mask: Acting(model)(observation, mask)  # noqa: E731 - without `batched`
    np.testing.assert_array_equal(evaluate(Function("alone", alone), collection, "test").value, found.value)


def test_the_reference_has_our_hyperparameters_and_masks_only_where_there_are_some():
    from sb3_contrib import MaskablePPO
    from stable_baselines3 import PPO

    masked = gymnasium.make_vec("dsegym/MemoryMapping-v0", num_envs=4, program="mlp_tiny", capacity=0.5)
    model = model_of(masked)
    assert type(model) is MaskablePPO
    assert type(model_of(masked, masks=False)) is PPO
    assert type(model_of(gymnasium.make_vec("dsegym/SleepTime-v0", num_envs=4))) is PPO
    assert (model.n_steps, model.batch_size, model.n_epochs, model.gamma) == (8, 16, 3, 0.9)
    assert model.lr_schedule(0.25) == SMALL.learning_rate / 4
    hidden = [layer.out_features for layer in model.policy.mlp_extractor.policy_net if hasattr(layer, "out_features")]
    assert hidden == [16]


@pytest.mark.minutes
def test_the_benchmark_of_learners_runs():
    root = Path(dsegym.__file__).resolve().parent
    arguments = "--steps 300 --seeds 2 --updates 1 --pairs 1 --units 8 --scored 2 --timed 0"
    found = subprocess.run(
        [sys.executable, str(root / "benchmarks" / "learners.py"), *arguments.split()],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root.parent), *sys.path[1:]])},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    for line in ("JAX PPO over MaskablePPO, 95 % interval", "JAX PPO, 1024 lanes", "Memory at the end over the middle"):
        assert line in found.stdout


def test_our_rewards_are_scaled_step_by_step_as_those_of_vec_normalize():
    from stable_baselines3.common.running_mean_std import RunningMeanStd

    lanes = 8
    generator = np.random.default_rng(7)
    rewards = generator.normal(-3, 2, (5, 16, lanes)).astype(np.float32)  # [updates, T, B]
    ends = generator.random((5, 16, lanes)) < 0.2
    learner = ProximalPolicyOptimisation(lanes=lanes, rollout=16, discount=0.97)
    theirs = RunningMeanStd(shape=())
    returns, ours = np.zeros(lanes), Scale(jnp.float32(0), jnp.float32(0), jnp.float32(0), jnp.zeros(lanes))
    for reward, end in zip(rewards, ends, strict=True):
        expected = []
        for row, over in zip(reward, end, strict=True):
            returns = returns * 0.97 + row
            theirs.update(returns)
            expected.append(1 / np.sqrt(theirs.var + 1e-8))
            returns[over] = 0
        fields = dict.fromkeys(Batch._fields, jnp.zeros(())) | {
            "reward": jnp.array(reward),
            "terminal": jnp.array(end),
        }
        rows = Batch(**{name: jnp.broadcast_to(leaf, (16, lanes)) for name, leaf in fields.items()})
        ours, found = learner._scaled(ours, rows)
        np.testing.assert_allclose(found[:, 0], expected, rtol=1e-3)  # theirs begins with a variance of 1, of 1e-4 rows
