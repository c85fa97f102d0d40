"""Agents by name: the package's own, other packages' entry points, and `module:Class`."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from ..costmodels.errors import DsegymError, UnknownNameError
from .base import Agent

__all__ = ["BUILT_IN", "agent_names", "draw_hyperparameters", "load_agent", "make_agent"]

# Name: where the class is. Another package joins with an entry point of this name in the group `dsegym.agents`.
BUILT_IN: Mapping[str, str] = {
    "random_search": "dsegym.agents.random_search:RandomSearch",
    "heuristic": "dsegym.agents.heuristic:Heuristic",
    "hill_climb": "dsegym.agents.hill_climb:HillClimb",
    "genetic_algorithm": "dsegym.agents.genetic_algorithm:GeneticAlgorithm",
    "tpe": "dsegym.agents.tpe:TreeParzenEstimator",
    "ppo": "dsegym.agents.ppo:ProximalPolicyOptimisation",
    "gradient_descent": "dsegym.agents.gradient_descent:GradientDescent",
}
ENTRY_POINT_GROUP = "dsegym.agents"


@functools.cache
def _locations() -> Mapping[str, str]:
    return {**{point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}, **BUILT_IN}


def agent_names() -> tuple[str, ...]:
    """Every agent that can be named, the package's own first."""
    return tuple(dict.fromkeys((*BUILT_IN, *_locations())))


def load_agent(name: str) -> type[Agent]:
    """The class of an agent.

    Args:
        name: a registered name, or `package.module:Class`.

    Raises:
        UnknownNameError: there is no such agent.
        DsegymError: it cannot be imported, or is no `Agent`.
    """
    location = _locations().get(name, name)
    module, colon, attribute = location.partition(":")
    if not colon:
        raise UnknownNameError("agent", name, agent_names())
    try:
        agent = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise DsegymError(f"Cannot load the agent '{name}' from '{location}': {error}.") from None
    if not (isinstance(agent, type) and issubclass(agent, Agent)):
        raise DsegymError(f"'{location}' is not a subclass of dsegym.Agent.")
    return agent


def make_agent(name: str, hyperparameters: Mapping[str, Any] | None = None) -> Agent:
    """An agent with the given hyperparameters, the rest at their defaults.

    Raises:
        UnknownNameError: an unknown agent or hyperparameter.
        DsegymError: a hyperparameter of the wrong type.
    """
    agent = load_agent(name)
    fields = {field.name: field for field in dataclasses.fields(agent)} if dataclasses.is_dataclass(agent) else {}
    checked = {}
    for key, value in (hyperparameters or {}).items():
        if key not in fields:
            raise UnknownNameError(f"hyperparameter of {name}", key, fields)
        default = fields[key].default
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(default):
            raise DsegymError(
                f"{name}'s {key} = {value!r} is of type {type(value).__name__}; it takes {type(default).__name__} "
                f"(default {default!r})."
            )
        checked[key] = value
    return agent(**checked)


def draw_hyperparameters(name: str, draw: int) -> dict[str, Any]:
    """Random hyperparameters, number `draw` of an agent's own sequence; draw 0 is the defaults."""
    candidates = load_agent(name).hyperparameters
    if draw == 0:
        return {}
    generator = np.random.default_rng(np.random.SeedSequence([draw, *name.encode()]))
    return {key: values[generator.integers(len(values))] for key, values in candidates.items()}
