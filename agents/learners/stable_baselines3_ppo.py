"""stable-baselines3's PPO, and sb3-contrib's MaskablePPO where actions have masks: the reference that people trust."""

from __future__ import annotations

import importlib
import inspect
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from .ppo import ProximalPolicyOptimisation

__all__ = ["Acting", "reference_model"]


def reference_model(env: VecEnv, learner: ProximalPolicyOptimisation, seed: int, *, masks: bool = True) -> Any:
    """A model with the hyperparameters of ours, and the network of our kind `mlp`; `learn(steps)` trains it.

    Rewards are divided by the running deviation of returns, as ours are; the lanes are those of the environment.

    Args:
        env: of a collection say, `StableBaselines3Env(CollectionVectorEnv(...))`.
        learner: has the hyperparameters.
        seed: of everything.
        masks: whether MaskablePPO, which knows the masks of an environment that has some.

    Raises:
        ImportError: sb3-contrib is not installed, and there are masks.
    """
    env.reset()
    masked = masks and "action_mask" in env.reset_infos[0]
    kind = importlib.import_module("sb3_contrib").MaskablePPO if masked else PPO
    return kind(
        "MlpPolicy",
        VecNormalize(env, norm_obs=False, clip_reward=math.inf, gamma=learner.discount),
        learning_rate=lambda left: learner.learning_rate * left,
        n_steps=learner.rollout,
        batch_size=env.num_envs * learner.rollout // learner.minibatches,
        n_epochs=learner.epochs,
        gamma=learner.discount,
        gae_lambda=learner.trace,
        clip_range=learner.clip,
        ent_coef=learner.entropy,
        vf_coef=learner.value_weight,
        policy_kwargs={"net_arch": [learner.units] * learner.layers},
        seed=seed,
        device="cpu",
    )


@dataclass(frozen=True, eq=False)
class Acting:
    """A model's likeliest actions: `act(observation, mask)` of NumPy arrays with or without a leading axis of lanes.

    A model that knows no masks is not told of them: some of its actions may not be legal.

    Attributes:
        model: PPO say, or MaskablePPO.
    """

    model: Any
    batched: ClassVar[bool] = True

    def __call__(self, observation: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Whole numbers, of the shape of an action behind the leading axis."""
        knows_masks = mask is not None and "action_masks" in inspect.signature(self.model.predict).parameters
        told = {"action_masks": mask} if knows_masks else {}
        return self.model.predict(observation, deterministic=True, **told)[0]
