"""What agents in torch share: one thread, ranges, and training on a referee's lanes until it stops them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .referee import Referee

__all__ = ["ON_POLICY", "RANGES", "on_policy", "one_thread", "single_choice_form", "train_until_stopped"]

RANGES: Mapping[str, tuple[float, float]] = {  # of the hyperparameters that they share
    "lanes": (1, 4096),
    "learning_rate": (1e-8, 10),
    "hidden_units": (1, 8192),
}
ON_POLICY: Mapping[str, tuple[float, float]] = {  # and of those that learn from rollouts
    **RANGES,
    "steps": (2, 100_000),
    "entropy_coefficient": (0, 100),
    "epochs": (1, 10_000),
}


def train_until_stopped(referee: Referee, lanes: int, form: str, make: Callable[[Any], Any]) -> None:
    """Trains until the budget is spent; an episode is a sample.

    Args:
        referee: of the search.
        lanes: played at once.
        form: one of the referee's; the first where it has none of this name.
        make: a model of stable-baselines3 on the environment.
    """
    env = referee.stable_baselines3_env(lanes, form if form in referee.forms else None)
    with one_thread():
        model = make(env)
        while True:
            model.learn(total_timesteps=100_000, reset_num_timesteps=False)


def on_policy(kind: Callable[..., Any], env: Any, agent: Any, seed: int, **given: Any) -> Any:
    """A model of stable-baselines3 that learns from rollouts, with two layers and without discount.

    Args:
        kind: of stable-baselines3's or its contrib's models.
        env: of the referee's.
        agent: whose fields `steps`, `learning_rate`, `entropy_coefficient` and `hidden_units` count.
        seed: of the search.
        given: what this kind takes beside them.
    """
    return kind(
        "MlpPolicy",
        env,
        learning_rate=agent.learning_rate,
        n_steps=agent.steps,
        gamma=1.0,
        ent_coef=agent.entropy_coefficient,
        policy_kwargs={"net_arch": [agent.hidden_units, agent.hidden_units]},
        seed=seed,
        device="cpu",
        **given,
    )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: the same sums in the same order, so that the same seed gives the same samples."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def single_choice_form(referee: Referee) -> str:
    """The first form in which an action is one choice, as Q-networks and masks need it."""
    from gymnasium.spaces import Discrete

    return next(form for form in referee.forms if isinstance(referee.spaces(form)[1], Discrete))
