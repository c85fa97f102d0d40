"""Agents by name: the package's own, other packages' entry points, and `module:Class`."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution, entry_points
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..costmodels.errors import DsegymError, InvalidOptionError, UnknownNameError
from .base import NEEDS, Agent

if TYPE_CHECKING:
    from ..envs.core.problem import Problem

__all__ = [
    "BUILT_IN",
    "agent_location",
    "agent_names",
    "agent_summary",
    "check_libraries",
    "check_needs",
    "draw_hyperparameters",
    "load_agent",
    "make_agent",
]


class _Entry(NamedTuple):
    """An agent of this package."""

    location: str  # module:Class
    summary: str  # the class's own, so that a list of the agents imports none of them


# Another package's agent joins with an entry point of its name in the group `dsegym.agents`.
BUILT_IN: Mapping[str, _Entry] = {
    "random_search": _Entry("dsegym.agents.random_search:RandomSearch", "uniform random designs"),
    "heuristic": _Entry("dsegym.agents.heuristic:Heuristic", "the design of a baseline, without search"),
    "hill_climb": _Entry(
        "dsegym.agents.hill_climb:HillClimb", "local search from a baseline's design (iterated local search)"
    ),
    "genetic_algorithm": _Entry(
        "dsegym.agents.genetic_algorithm:GeneticAlgorithm", "genetic algorithm on index vectors (pymoo GA)"
    ),
    "tpe": _Entry(
        "dsegym.agents.tpe:TreeParzenEstimator",
        "Bayesian optimisation with tree-structured Parzen estimators (Optuna)",
    ),
    "ppo": _Entry("dsegym.agents.ppo:ProximalPolicyOptimisation", "proximal policy optimisation (stable-baselines3)"),
    "gradient_descent": _Entry(
        "dsegym.agents.gradient_descent:GradientDescent",
        "Adam on the cost model's smooth relaxation, multi-start (Optax)",
    ),
}
ENTRY_POINT_GROUP = "dsegym.agents"


@functools.cache
def _locations() -> Mapping[str, str]:
    others = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return {**others, **{name: entry.location for name, entry in BUILT_IN.items()}}


def agent_names() -> tuple[str, ...]:
    """Every agent that can be named, the package's own first."""
    return tuple(dict.fromkeys((*BUILT_IN, *_locations())))


def agent_location(name: str) -> str:
    """`module:Class` of a registered name; any other as it is."""
    return _locations().get(name, name)


def agent_summary(name: str) -> str:
    """One line on an agent; only that of another package is imported for it.

    Raises: as `load_agent`.
    """
    return BUILT_IN[name].summary if name in BUILT_IN else load_agent(name).summary


def load_agent(name: str) -> type[Agent]:
    """The class of an agent.

    Args:
        name: a registered name, or `package.module:Class`.

    Raises:
        UnknownNameError: there is no such agent.
        DsegymError: it cannot be imported, or is no `Agent`.
    """
    location = agent_location(name)
    module, colon, attribute = location.partition(":")
    if not colon:
        raise UnknownNameError("agent", name, agent_names())
    try:
        agent = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:  # a relative or an empty name, say
        raise DsegymError(f"Cannot load the agent '{name}' from '{location}': {error}.") from None
    if not (isinstance(agent, type) and issubclass(agent, Agent)):
        raise DsegymError(f"'{location}' is not a subclass of dsegym.Agent.")
    return agent


def make_agent(name: str, hyperparameters: Mapping[str, Any] | None = None) -> Agent:
    """An agent with the given hyperparameters, the rest at their defaults.

    Raises:
        UnknownNameError: an unknown agent or hyperparameter.
        DsegymError: a hyperparameter of the wrong type or out of its range; says what is allowed.
    """
    agent = load_agent(name)
    fields = {field.name: field for field in dataclasses.fields(agent)} if dataclasses.is_dataclass(agent) else {}
    checked = {}
    for key, value in (hyperparameters or {}).items():
        if key not in fields:
            raise UnknownNameError(f"hyperparameter of {name}", key, fields)
        default = fields[key].default
        if isinstance(default, float) and type(value) is int and abs(value) < 2**53:
            value = float(value)
        if type(value) is not type(default):
            raise DsegymError(
                f"{name}'s {key} = {value!r:.200} is of type {type(value).__name__}; it takes {type(default).__name__} "
                f"(default {default!r})."
            )
        least, most = agent.ranges.get(key, (-math.inf, math.inf))
        size = len(value) if isinstance(value, str) else value
        if isinstance(size, int | float) and not (abs(size) < math.inf and least <= size <= most):
            what = "texts of a length" if isinstance(value, str) else "numbers"
            allowed = f"{what} from {least:g} to {most:g}" if key in agent.ranges else "finite numbers"
            raise InvalidOptionError(f"{name}'s {key}", value, [allowed])
        checked[key] = value
    return agent(**checked)


def check_libraries(name: str) -> None:
    """Refuses an agent whose libraries are not installed.

    Raises:
        DsegymError: names the agent and the library.
    """
    for library in load_agent(name).libraries:
        try:
            distribution(library)
        except PackageNotFoundError:
            raise DsegymError(
                f"{name} needs the library {library}, which is not installed; those of the shipped agents come with: "
                "pip install 'dsegym[agents]'."
            ) from None


def check_needs(name: str, problem: Problem) -> None:
    """Refuses an agent on a problem that lacks what it needs.

    Raises:
        UnknownNameError: the agent declares a need that `NEEDS` does not list.
        DsegymError: names the agent, the problem and what is missing.
    """
    for need in load_agent(name).needs:
        if need not in NEEDS:
            raise UnknownNameError(f"need of {name}", need, NEEDS)
        if not NEEDS[need](problem):
            raise DsegymError(f"{name} needs a {need}, and {problem.scenario} has none.")


def draw_hyperparameters(name: str, draw: int) -> dict[str, Any]:
    """Random hyperparameters, number `draw` of an agent's own sequence; draw 0 is the defaults."""
    candidates = load_agent(name).hyperparameters
    if draw == 0:
        return {}
    generator = np.random.default_rng(np.random.SeedSequence([draw, *name.encode()]))
    return {key: values[generator.integers(len(values))] for key, values in candidates.items()}
