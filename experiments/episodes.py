"""Episodes as a data set of Minari: whole trajectories of one environment, for offline learning and imitation."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ..agents.learners.imitation import BEST, OPTIMUM, expert_design
from ..agents.policies.players import named_function
from ..costmodels.errors import DsegymError
from ..envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from .door import check_writable_folder

__all__ = ["RANDOM", "export_episodes"]

RANDOM = "random"
_DATASET = re.compile(r"([\w-]+/)*[\w-]+-v\d+")
_MOST_EPISODES = 10**7

Player = Callable[[FunctionalGymnasiumEnv, Any, np.ndarray | None], Any]  # environment, observation, mask -> action


def export_episodes(
    scenario: str,
    options: Mapping[str, str],
    dataset: str,
    *,
    episodes: int,
    policy: str = RANDOM,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Plays episodes of an instance and keeps them as a data set in Minari's folder.

    Args:
        scenario: of environments whose episodes have several steps.
        options: of the instance.
        dataset: the data set's id, `namespace/name-v0`; there is none of it yet.
        episodes: how many.
        policy: who plays: `random` (legal actions), a baseline of the instance, `best` of them, `optimum`, a trained
            policy's name or directory, or `package.module:function` of act(observation, mask), which is imported.
        seed: of the first episode; the next ones have the next seeds.
        progress: called with how many episodes are done, and how many there are.

    Returns:
        The number of steps.

    Raises:
        DsegymError: Minari is not installed; the id is none or is taken; its folder cannot be written; episodes have
            one step; or the instance, the policy or the seed is not as it should be.
    """
    try:
        import minari
        from minari.storage import get_dataset_path
    except ImportError as error:
        raise DsegymError(f"Episodes need Minari (pip install 'dsegym[clients]'): {error}.") from None
    if not _DATASET.fullmatch(dataset):
        raise DsegymError(f"'{dataset}' is no id of a Minari data set, which is NAMESPACE/NAME-v0.")
    if Path(get_dataset_path(dataset)).exists():
        raise DsegymError(f"'{dataset}' is there already; choose another id, or drop it: minari delete {dataset}.")
    check_writable_folder(Path(get_dataset_path(dataset)))
    if not 1 <= episodes <= _MOST_EPISODES:
        raise DsegymError(f"episodes = {episodes} is not a whole number from 1 to {_MOST_EPISODES:,}.")
    if not 0 <= seed < 2**31 - episodes:
        raise DsegymError(f"seed = {seed} is not a whole number from 0 to {2**31 - 1 - episodes}.")
    try:
        given: dict[str, Any] = {**options, "full_info": True}
        env = gymnasium.make(scenario, **given)
    except (TypeError, gymnasium.error.Error) as error:  # environments of one step take no `full_info`
        raise DsegymError(f"{scenario} has no episodes to keep: {' '.join(str(error).split())}") from None
    inner = env.unwrapped
    if not isinstance(inner, FunctionalGymnasiumEnv) or inner.functional.horizon == 1:
        raise DsegymError(f"{scenario} has episodes of one step: `dsegym export RESULTS` keeps its samples.")
    play = _player(policy, inner, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what authors may add about themselves
        collector = minari.DataCollector(env, record_infos=True)
        steps = 0
        for number in range(episodes):
            observation, info = collector.reset(seed=seed + number)
            ended = False
            while not ended:
                mask = info.get("action_mask")
                action = play(inner, observation, mask)
                observation, _, terminated, truncated, info = collector.step(action)
                ended = terminated or truncated
                steps += 1
            progress(number + 1, episodes)
        described = ", ".join(f"{name}={text}" for name, text in inner.problem.options.items())
        collector.create_dataset(
            dataset_id=dataset,
            algorithm_name=policy,
            description=f"{episodes} episodes of {scenario} ({described}), played by {policy}, seeds from {seed} on",
        )
    collector.close()
    return steps


def _player(policy: str, env: FunctionalGymnasiumEnv, seed: int) -> Player:
    """Who plays."""
    if policy == RANDOM:
        env.action_space.seed(seed)
        return _random
    problem = env.problem
    if policy in (BEST, OPTIMUM, *problem.baselines):
        import jax

        design, params = expert_design(problem, policy), problem.env_params(None)
        decide = jax.jit(lambda state: env.functional.decide(design, state, params))
        return lambda env, observation, mask: _plain(env, decide(env.state))
    if ":" in policy and not Path(policy).exists():
        act = named_function(policy).act
        return lambda env, observation, mask: _plain(env, act(observation, mask))
    return _trained(policy, env, seed)


def _trained(policy: str, env: FunctionalGymnasiumEnv, seed: int) -> Player:
    """A policy of a directory, or a shipped one, by its likeliest actions."""
    import jax

    from .policy_store import load_policy
    from .shipped_policies import find_policy

    found = load_policy(find_policy(policy))
    found.card.check_form(env.problem.scenario, found.card.form)
    found.card.check_shape(env.functional)
    acting, variables = found.acting(env.functional, "greedy")
    key = jax.random.key(seed)
    decide = jax.jit(lambda variables, observation, mask: acting(variables)(observation, mask, key))
    return lambda env, observation, mask: _plain(
        env, decide(variables, observation, None if mask is None else np.asarray(mask, bool))
    )


def _random(env: FunctionalGymnasiumEnv, observation: Any, mask: np.ndarray | None) -> Any:
    discrete = isinstance(env.action_space, gymnasium.spaces.Discrete)
    return env.action_space.sample(mask=mask) if mask is not None and discrete else env.action_space.sample()


def _plain(env: FunctionalGymnasiumEnv, action: Any) -> Any:
    """An action as the space's type has it."""
    found = np.asarray(action)
    return np.int64(found) if isinstance(env.action_space, gymnasium.spaces.Discrete) else found
