"""PPO steps a second with each client on three scenarios, and the seconds to the first step with the compile cache.

All but the one in JAX play rollouts of 2,048 steps, and learn in 2 epochs of minibatches of 256, two layers of 64; so
the rows differ by what the client and the environment take. torch has one thread. Compilation is left out. A client
that is not installed is left out, too.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
from timing import median_seconds, report

import dsegym

ROLLOUT, MINIBATCH, EPOCHS = 2048, 256, 2
JAX_UPDATES = 4  # of one call: a compiled program of several
REPEATS = 5
SAME_STEP = gymnasium.vector.AutoresetMode.SAME_STEP
IN_JAX = "PPO in JAX (docs/examples), 256 lanes"
MASKABLE = "MaskablePPO, StableBaselines3Env, 64 lanes"
EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"


class Case(NamedTuple):
    scenario: str
    options: dict[str, Any]
    masked: bool


CASES = (
    Case("dsegym/MemoryMapping-v0", {"program": "mlp_tiny", "capacity": 0.5}, True),
    Case("dsegym/SocSchedulingStream-v0", {}, True),
    Case("dsegym/SleepTime-v0", {}, False),
)
Train = Callable[[], object]  # one more rollout and what is learnt from it; the first call compiles


def single(case: Case) -> gymnasium.Env:
    return gymnasium.make(case.scenario, **case.options)


def stable_baselines3(case: Case, lanes: int, *, ours: bool, masks: bool = False) -> Train:
    """PPO, or MaskablePPO: on DummyVecEnv, or on our lanes."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    kind = importlib.import_module("sb3_contrib").MaskablePPO if masks else PPO
    if ours:
        from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env

        env = StableBaselines3Env(gymnasium.make_vec(case.scenario, num_envs=lanes, **case.options))
    else:
        env = make_vec_env(case.scenario, lanes, env_kwargs=case.options)
    steps = ROLLOUT // lanes
    settings = {"n_steps": steps, "batch_size": MINIBATCH, "n_epochs": EPOCHS, "seed": 0, "device": "cpu"}
    model = kind("MlpPolicy", env, **settings)
    return lambda: model.learn(ROLLOUT, reset_num_timesteps=False)


def cleanrl(case: Case, lanes: int, **make: Any) -> Train:
    """A loop as CleanRL's: torch, same-step autoreset."""
    import torch

    envs = gymnasium.make_vec(case.scenario, num_envs=lanes, **make, **case.options)
    size, actions = envs.single_observation_space.shape[0], int(envs.single_action_space.n)  # pyright: ignore
    policy, critic = _layers(size, actions), _layers(size, 1)
    optimizer = torch.optim.Adam([*policy.parameters(), *critic.parameters()], lr=3e-4)
    now = list(envs.reset(seed=0))

    def logits_of(observation: Any, mask: Any) -> Any:
        logits = policy(observation)
        return logits if mask is None else logits.masked_fill(~mask, -1e9)

    def rollout() -> tuple[list[Any], list[Any]]:
        seen, rewards = [], []
        for _ in range(ROLLOUT // lanes):
            observation = torch.as_tensor(now[0])
            mask = torch.as_tensor(now[1]["action_mask"], dtype=torch.bool) if case.masked else None
            chosen = torch.distributions.Categorical(logits=logits_of(observation, mask))
            action = chosen.sample()
            now[0], reward, terminated, truncated, now[1] = envs.step(action.numpy())
            seen.append((observation, mask, action, chosen.log_prob(action), critic(observation)[:, 0]))
            rewards.append((torch.as_tensor(reward, dtype=torch.float32), torch.as_tensor(terminated | truncated)))
        return seen, rewards

    def train() -> None:
        with torch.no_grad():
            seen, rewards = rollout()
            following, advantage, gains = critic(torch.as_tensor(now[0]))[:, 0], torch.zeros(lanes), []
            for (*_, value), (reward, done) in zip(reversed(seen), reversed(rewards), strict=True):
                advantage = reward + following * ~done - value + 0.95 * advantage * ~done
                following = value
                gains.append(advantage)
        columns = [None if column[0] is None else torch.cat(column) for column in zip(*seen, strict=True)]
        observation, mask, action, log, value = columns
        gain = torch.cat(gains[::-1])
        for _ in range(EPOCHS):
            for part in torch.randperm(ROLLOUT).split(MINIBATCH):
                chosen = torch.distributions.Categorical(
                    logits=logits_of(observation[part], None if mask is None else mask[part])
                )
                ratio = (chosen.log_prob(action[part]) - log[part]).exp()
                scaled = (gain[part] - gain[part].mean()) / (gain[part].std() + 1e-8)
                clipped = torch.minimum(ratio * scaled, ratio.clamp(0.8, 1.2) * scaled).mean()
                error = (critic(observation[part])[:, 0] - (value + gain.detach())[part]).square().mean()
                optimizer.zero_grad()
                (0.5 * error - clipped).backward()
                optimizer.step()

    return train


def _layers(inputs: int, outputs: int) -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


def torchrl(case: Case, lanes: int) -> Train:
    """TorchRL's PPO on our lanes."""
    import torch
    from tensordict.nn import ProbabilisticTensorDictModule, ProbabilisticTensorDictSequential, TensorDictModule
    from torch.distributions import Categorical
    from torchrl.envs import GymWrapper
    from torchrl.modules import ValueOperator
    from torchrl.objectives import ClipPPOLoss

    lanes_env = gymnasium.make_vec(case.scenario, num_envs=lanes, **case.options)
    size = lanes_env.single_observation_space.shape[0]  # pyright: ignore[reportOptionalSubscript]
    actions = int(lanes_env.single_action_space.n)  # pyright: ignore[reportAttributeAccessIssue]
    env = GymWrapper(lanes_env, categorical_action_encoding=True)
    actor = ProbabilisticTensorDictSequential(
        TensorDictModule(_layers(size, actions), in_keys=["observation"], out_keys=["logits"]),
        ProbabilisticTensorDictModule(["logits"], ["action"], distribution_class=Categorical, return_log_prob=True),
    )
    loss = ClipPPOLoss(actor, ValueOperator(_layers(size, 1), in_keys=["observation"]), normalize_advantage=True)
    loss.make_value_estimator(gamma=1.0, lmbda=0.95)
    optimizer = torch.optim.Adam(loss.parameters(), lr=3e-4)

    def train() -> None:
        with torch.no_grad():
            data = env.rollout(ROLLOUT // lanes, actor, break_when_any_done=False)
            loss.value_estimator(data)  # pyright: ignore[reportOptionalCall]
        flat = data.reshape(-1)
        for _ in range(EPOCHS):
            for part in torch.randperm(ROLLOUT).split(MINIBATCH):
                found = loss(flat[part])
                optimizer.zero_grad()
                (found["loss_objective"] + found["loss_critic"]).backward()
                optimizer.step()

    return train


def tianshou(case: Case, lanes: int) -> Train:
    """Tianshou's PPO on its DummyVectorEnv."""
    from tianshou.algorithm import PPO
    from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv
    from tianshou.trainer import OnPolicyTrainerParams
    from tianshou.utils.net.common import Net
    from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

    env, envs = single(case), DummyVectorEnv([functools.partial(single, case)] * lanes)
    actions = int(env.action_space.n)  # pyright: ignore[reportAttributeAccessIssue]

    def net() -> Any:
        return Net(state_shape=env.observation_space.shape or (), hidden_sizes=[64, 64])

    policy = DiscreteActorPolicy(
        actor=DiscreteActor(preprocess_net=net(), action_shape=actions), action_space=env.action_space
    )
    learner = PPO(policy=policy, critic=DiscreteCritic(preprocess_net=net()), optim=AdamOptimizerFactory(lr=3e-4))
    collector = Collector(policy, envs, VectorReplayBuffer(ROLLOUT, lanes))
    collector.reset()
    training = OnPolicyTrainerParams(
        training_collector=collector,
        max_epochs=1,
        epoch_num_steps=ROLLOUT,
        collection_step_num_env_steps=ROLLOUT,
        update_step_num_repetitions=EPOCHS,
        batch_size=MINIBATCH,
        show_progress=False,
        verbose=False,
    )
    return lambda: learner.run_training(training)


def rllib(case: Case) -> Train:
    """RLlib's PPO, one environment in one process."""
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.tune.registry import register_env

    register_env(case.scenario, lambda _: single(case))
    settings = PPOConfig().environment(case.scenario).env_runners(num_env_runners=0)
    learning = {"train_batch_size_per_learner": ROLLOUT, "minibatch_size": MINIBATCH, "num_epochs": EPOCHS}
    return settings.training(**learning).build_algo().train


def in_jax(case: Case) -> Train:
    """The PPO of the documentation: 256 lanes of 32 steps, 2 epochs of 8 minibatches of 1,024."""
    sys.path.append(str(EXAMPLES))
    train = jax.jit(
        importlib.import_module("train_ppo").make_train(
            *dsegym.make_functional(case.scenario, **case.options), updates=JAX_UPDATES
        )
    )
    return lambda: jax.block_until_ready(train(jax.random.key(0)))


# (client, its libraries, makes its training)
CLIENTS: tuple[tuple[str, tuple[str, ...], Callable[[Case], Train]], ...] = (
    (
        "stable-baselines3 PPO, gymnasium.make",
        ("stable_baselines3",),
        functools.partial(stable_baselines3, lanes=1, ours=False),
    ),
    (
        "stable-baselines3 PPO, make_vec_env, 8 lanes",
        ("stable_baselines3",),
        functools.partial(stable_baselines3, lanes=8, ours=False),
    ),
    (
        "stable-baselines3 PPO, StableBaselines3Env, 64 lanes",
        ("stable_baselines3",),
        functools.partial(stable_baselines3, lanes=64, ours=True),
    ),
    (MASKABLE, ("sb3_contrib",), functools.partial(stable_baselines3, lanes=64, ours=True, masks=True)),
    (
        "CleanRL-style PPO, vectorization_mode='sync', 8 lanes",
        ("torch",),
        functools.partial(cleanrl, lanes=8, vectorization_mode="sync", vector_kwargs={"autoreset_mode": SAME_STEP}),
    ),
    ("CleanRL-style PPO, gymnasium.make_vec, 64 lanes", ("torch",), functools.partial(cleanrl, lanes=64)),
    ("TorchRL PPO, GymWrapper on gymnasium.make_vec, 64 lanes", ("torchrl",), functools.partial(torchrl, lanes=64)),
    ("Tianshou PPO, DummyVectorEnv, 8 lanes", ("tianshou",), functools.partial(tianshou, lanes=8)),
    ("RLlib PPO, one environment", ("ray", "tree"), rllib),
    (IN_JAX, ("flax", "optax"), in_jax),
)


def rates(case: Case) -> dict[str, float]:
    """Steps a second of each client that is installed, medians; they take turns, so that all meet the same load."""
    trainings = {name: make(case) for name, libraries, make in CLIENTS if not _left_out(case, name, libraries)}
    for train in trainings.values():
        train()
    seconds = {name: [] for name in trainings}
    for _ in range(REPEATS):
        for name, train in trainings.items():
            seconds[name].append(median_seconds(train, repeats=1, warm_up=0))
    steps = {IN_JAX: JAX_UPDATES * 256 * 32}
    return {name: steps.get(name, ROLLOUT) / statistics.median(found) for name, found in seconds.items()}


def _left_out(case: Case, name: str, libraries: tuple[str, ...]) -> str:
    """Why a client is; empty if it is not."""
    if name == MASKABLE and not case.masked:
        return "no masks here"
    return next((f"no {library}" for library in libraries if importlib.util.find_spec(library) is None), "")


FIRST_STEP = """
import sys, time, gymnasium, dsegym, jax
start = time.perf_counter()
env = gymnasium.make(sys.argv[1])
env.reset(seed=0)
env.step(env.action_space.sample())
print(time.perf_counter() - start)
"""


def first_step_seconds(scenario: str, cache: str | None) -> float:
    """From `gymnasium.make` to the end of the first step, in a new process."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    if cache is not None:
        settings |= {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, "-c", FIRST_STEP, scenario]
    return float(subprocess.run(command, env=settings, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Prints the tables."""
    import torch

    torch.set_num_threads(1)
    for case in CASES:
        print(f"Clients: PPO steps a second, {case.scenario}")
        found = rates(case)
        first = next(iter(found.values()))
        for name, libraries, _ in CLIENTS:
            shown = f"{found[name]:,.0f}, {found[name] / first:.1f} x" if name in found else ""
            report(name, shown or _left_out(case, name, libraries))
    print("Clients: seconds from gymnasium.make to the end of the first step, in a new process")
    for scenario in ("dsegym/BatchBestOfN-v0", "dsegym/SocSchedulingStream-v0"):
        with tempfile.TemporaryDirectory() as folder:
            without, filling, filled = (first_step_seconds(scenario, cache) for cache in (None, folder, folder))
        report(scenario, f"{without:.1f}, filling it {filling:.1f}, cached {filled:.1f}", "less with the cache")


if __name__ == "__main__":
    main()
