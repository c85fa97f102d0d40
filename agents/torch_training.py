"""What stable-baselines3's learners share here: they train on a referee's lanes until it stops them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .referee import Referee

__all__ = ["single_choice_form", "train_until_stopped"]


def train_until_stopped(referee: Referee, lanes: int, form: str, make: Callable[[Any], Any]) -> None:
    """Trains until the budget is spent; an episode is a sample.

    Args:
        referee: of the search.
        lanes: played at once.
        form: one of the referee's; the first where it has none of this name.
        make: a model of stable-baselines3 on the environment.
    """
    import torch

    env = referee.stable_baselines3_env(lanes, form if form in referee.forms else None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same sums in the same order, so the same seed gives the same samples
    try:
        model = make(env)
        while True:
            model.learn(total_timesteps=100_000, reset_num_timesteps=False)
    finally:
        torch.set_num_threads(threads)


def single_choice_form(referee: Referee) -> str:
    """The first form in which an action is one choice, as Q-networks and masks need it."""
    from gymnasium.spaces import Discrete

    return next(form for form in referee.forms if isinstance(referee.spaces(form)[1], Discrete))
