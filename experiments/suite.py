"""Suites: a declared set of trials, as a TOML file that is validated before anything runs.

name = "quick"
description = "what the suite is for"
samples = 1000            # the budget of every trial
seeds = 5                 # 0 to 4; or a list of seeds
time_limit_s = 300        # per trial; optional, 600 when left out

[[instances]]             # one or more; an option given as a list stands for one instance per value
scenario = "dsegym/AcceleratorSizing-v0"
workload = ["resnet18", "resnet50"]
objective = "edp"

[[agents]]                # one or more
name = "genetic_algorithm"
hyperparameters = { population_size = 100 }   # optional; the rest at their defaults
# draws = 8               # instead: as many random draws from the agent's declared hyperparameter space
"""

from __future__ import annotations

import importlib.resources
import itertools
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..agents.registry import check_libraries, check_needs, draw_hyperparameters, load_agent, make_agent
from ..costmodels.errors import DsegymError, InvalidSuiteError, UnknownNameError
from ..envs.core.scenarios import load_scenario, make_problem

__all__ = ["Suite", "Trial", "count_trials", "find_suite", "load_suite", "read_suite_file", "suite_names"]

DEFAULT_TIME_LIMIT_S = 600.0
_MAX_SEED = 2**31 - 1
_MAX_SEEDS = 10_000


@dataclass(frozen=True)
class Trial:
    """One agent, its hyperparameters, one instance, one seed, one budget."""

    scenario: str
    options: Mapping[str, str]
    agent: str
    hyperparameters: Mapping[str, Any]
    draw: int | None  # the number of the random hyperparameter draw, None for hyperparameters that the suite fixes
    seed: int
    samples: int
    time_limit_s: float

    def as_dict(self) -> dict[str, Any]:
        """The form in which manifests hold it."""
        return {
            "instance": {"scenario": self.scenario, "options": dict(self.options)},
            "agent": {"name": self.agent, "hyperparameters": dict(self.hyperparameters), "draw": self.draw},
            "seed": self.seed,
            "samples": self.samples,
            "time_limit_s": self.time_limit_s,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Trial:
        """The inverse of `as_dict`."""
        instance, agent = content["instance"], content["agent"]
        return cls(
            scenario=instance["scenario"],
            options=dict(instance["options"]),
            agent=agent["name"],
            hyperparameters=dict(agent["hyperparameters"]),
            draw=agent["draw"],
            seed=content["seed"],
            samples=content["samples"],
            time_limit_s=content["time_limit_s"],
        )


@dataclass(frozen=True)
class Suite:
    """A validated suite and its trials, in the order in which they run."""

    name: str
    description: str
    trials: tuple[Trial, ...]


def suite_names() -> tuple[str, ...]:
    """The shipped suites, sorted."""
    folder = importlib.resources.files(__name__.rpartition(".")[0]) / "suites"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def find_suite(name_or_file: str) -> Path:
    """The file of a shipped suite, or the path given if it ends in `.toml`.

    Raises:
        UnknownNameError: there is no shipped suite of that name.
    """
    if name_or_file.endswith(".toml"):
        return Path(name_or_file)
    if name_or_file not in suite_names():
        raise UnknownNameError("suite", name_or_file, (*suite_names(), "or the path of a .toml file"))
    return Path(str(importlib.resources.files(__name__.rpartition(".")[0]) / "suites" / f"{name_or_file}.toml"))


def load_suite(name_or_file: str | Path) -> Suite:
    """Reads and checks a suite: a text is a shipped suite's name or a path that ends in `.toml`.

    Raises:
        UnknownNameError: there is no shipped suite of that name.
        InvalidSuiteError: the file cannot be read, or says something wrong, or wants an agent whose libraries are not
            installed, or one that needs what a problem lacks; names the file and the key.
    """
    path = find_suite(name_or_file) if isinstance(name_or_file, str) else name_or_file
    content = read_suite_file(path)
    try:
        return _parse(content)
    except (DsegymError, ValueError) as error:
        raise InvalidSuiteError(f"The suite '{path}' cannot run: {error}") from None


def read_suite_file(path: Path) -> Mapping[str, Any]:
    """What a suite's file says, unchecked.

    Raises:
        InvalidSuiteError: it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidSuiteError(f"Cannot read the suite '{path}': {reason}.") from None


def count_trials(content: Mapping[str, Any]) -> int:
    """How many trials a sound suite declares; imports neither its scenarios nor its agents."""
    instances = sum(
        math.prod(len(value) for value in table.values() if isinstance(value, list)) for table in content["instances"]
    )
    return instances * sum(table.get("draws", 1) for table in content["agents"]) * len(_seeds(content["seeds"]))


def _parse(content: Mapping[str, Any]) -> Suite:
    _check_keys("suite", content, ("name", "samples", "seeds", "instances", "agents"), ("description", "time_limit_s"))
    samples = _whole("samples", content["samples"], 1)
    seeds = _seeds(content["seeds"])
    limit = content.get("time_limit_s", DEFAULT_TIME_LIMIT_S)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < float("inf"):
        raise ValueError(f"time_limit_s = {limit!r} is not a positive number of seconds.")
    instances = [pair for table in _tables("instances", content["instances"]) for pair in _instances(table)]
    agents = [entry for table in _tables("agents", content["agents"]) for entry in _agents(table)]
    _check_agents({agent for agent, _, _ in agents}, instances)
    trials = [
        Trial(scenario, options, agent, hyperparameters, draw, seed, samples, float(limit))
        for scenario, options in instances
        for agent, hyperparameters, draw in agents
        for seed in seeds
    ]
    seen = set()
    for trial in trials:
        key = repr({**asdict(trial), "draw": None})
        if key in seen:
            raise ValueError(
                f"the trial of {trial.agent} on {dict(trial.options)} with seed {trial.seed} stands there twice."
            )
        seen.add(key)
    return Suite(_text("name", content["name"]), _text("description", content.get("description", "")), tuple(trials))


def _check_keys(where: str, table: Mapping[str, Any], required: Iterable[str], optional: Iterable[str]) -> None:
    allowed = (*required, *optional)
    for key in table:
        if key not in allowed:
            raise UnknownNameError(f"key of the {where}", key, allowed)
    for key in required:
        if key not in table:
            raise ValueError(f"the {where} needs '{key}'.")


def _whole(name: str, value: object, least: int) -> int:
    if type(value) is not int or not least <= value <= _MAX_SEED:
        raise ValueError(f"{name} = {value!r} is not a whole number from {least} to {_MAX_SEED}.")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} = {value!r} is not a text.")
    return value


def _seeds(value: object) -> list[int]:
    if isinstance(value, list):
        seeds = [_whole("a seed", seed, 0) for seed in value]
        if not seeds:
            raise ValueError("seeds is an empty list; give at least one.")
        return seeds
    count = _whole("seeds", value, 1)
    if count > _MAX_SEEDS:
        raise ValueError(f"seeds = {count} counts seeds, {_MAX_SEEDS} at most; for one seed write seeds = [{count}].")
    return list(range(count))


def _tables(name: str, value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
        raise ValueError(f"'{name}' must be one or more [[{name}]] tables.")
    return value


def _instances(table: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    if "scenario" not in table:
        raise ValueError("an instance needs 'scenario'.")
    name = _text("scenario", table["scenario"])
    scenario = load_scenario(name)
    options = {key: value if isinstance(value, list) else [value] for key, value in table.items() if key != "scenario"}
    if any(not values for values in options.values()):
        raise ValueError("an option is an empty list; give at least one value.")
    choices = [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]
    resolved = [scenario.resolve(choice) for choice in choices]
    for instance in resolved:
        if any(value not in scenario.options[key].values() for key, value in instance.items()):
            make_problem(name, **instance)  # a user's file: find out now whether it is sound
    return [(name, instance) for instance in resolved]


def _agents(table: Mapping[str, Any]) -> list[tuple[str, dict[str, Any], int | None]]:
    _check_keys("agent", table, ("name",), ("hyperparameters", "draws"))
    name, fixed = _text("an agent's name", table["name"]), table.get("hyperparameters", {})
    if not isinstance(fixed, dict):
        raise ValueError(f"hyperparameters of {name} must be a table.")
    if "draws" not in table:
        make_agent(name, fixed)
        return [(name, fixed, None)]
    if fixed:
        raise ValueError(f"{name} has both hyperparameters and draws; give one of them.")
    if not load_agent(name).hyperparameters:
        raise ValueError(f"{name} declares no hyperparameters to draw from.")
    draws = range(_whole(f"draws of {name}", table["draws"], 1))
    return [(name, draw_hyperparameters(name, draw), draw) for draw in draws]


def _check_agents(names: Iterable[str], instances: Iterable[tuple[str, Mapping[str, str]]]) -> None:
    """Refuses agents that cannot run here. A scenario's first instance speaks for it: to make all takes too long."""
    first: dict[str, Mapping[str, str]] = {}
    for scenario, options in instances:
        first.setdefault(scenario, options)
    for name in sorted(names):
        check_libraries(name)
    needy = [name for name in sorted(names) if load_agent(name).needs]
    for scenario, options in first.items() if needy else ():
        problem = make_problem(scenario, **options)
        for name in needy:
            check_needs(name, problem)
