"""Learners by name: the package's own, and `module:Class`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..registry import Entry, load_class, make, require_libraries

if TYPE_CHECKING:
    from .base import Learner

__all__ = ["BUILT_IN", "check_libraries", "learner_names", "learner_summary", "load_learner", "make_learner"]

BUILT_IN: Mapping[str, Entry] = {
    "gumbel_muzero": Entry(
        "dsegym.agents.learners.gumbel_muzero:GumbelMuZero",
        "Gumbel MuZero, the simulator as its model (mctx, flax, Optax)",
        ("flax", "mctx", "optax"),
    ),
    "imitation": Entry(
        "dsegym.agents.learners.imitation:Imitation",
        "behaviour cloning of the best heuristic, or another expert (flax, Optax)",
        ("flax", "optax"),
    ),
    "ppo": Entry(
        "dsegym.agents.learners.ppo:ProximalPolicyOptimisation",
        "proximal policy optimisation (flax, Optax)",
        ("flax", "optax"),
    ),
    "reinforce": Entry(
        "dsegym.agents.learners.reinforce:Reinforce",
        "REINFORCE with the greedy policy's return as baseline, ReMax (flax, Optax)",
        ("flax", "optax"),
    ),
}


def learner_names() -> tuple[str, ...]:
    """Every learner that can be named."""
    return tuple(BUILT_IN)


def learner_summary(name: str) -> str:
    """One line on a learner; only that of another package is imported for it.

    Raises: as `load_learner`.
    """
    return BUILT_IN[name].summary if name in BUILT_IN else load_learner(name).summary


def load_learner(name: str) -> type[Learner]:
    """The class of a learner.

    Args:
        name: a registered name, or `package.module:Class`.

    Raises:
        UnknownNameError: there is no such learner.
        DsegymError: a library is not installed, it cannot be imported, or is no `Learner`.
    """
    from .base import Learner

    entry = BUILT_IN.get(name, Entry(name, ""))
    require_libraries("learner", name, entry.libraries)
    return load_class("learner", name, entry.location, learner_names(), Learner)


def make_learner(name: str, hyperparameters: Mapping[str, Any] | None = None) -> Learner:
    """A learner with the given hyperparameters, the rest at their defaults.

    Raises: as `load_learner`, and `agents.registry.make`.
    """
    return make(load_learner(name), name, hyperparameters)


def check_libraries(name: str) -> None:
    """Refuses a learner whose libraries are not installed.

    Raises: as `load_learner`, and `agents.registry.require_libraries`.
    """
    require_libraries("learner", name, load_learner(name).libraries)
