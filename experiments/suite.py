"""Suites: a declared set of trials, as a TOML file that is validated before anything runs.

name = "quick"
description = "what the suite is for"
samples = 1000            # the budget of every trial; less where its instance or its agent says so
# samples = [100, 1000]   # or several: each agent on each instance has trials of all of them
seeds = 5                 # 0 to 4; or a list of seeds
time_limit_s = 300        # per trial; optional, 600 when left out

[[instances]]             # one or more; an option given as a list stands for one instance per value
scenario = "dsegym/AcceleratorSizing-v0"
workload = ["resnet18", "resnet50"]
objective = "edp"
# most_samples = 200      # of each of its trials, where a sample takes long

[[agents]]                # one or more
name = "genetic_algorithm"
hyperparameters = { population_size = 100 }   # optional; the rest at their defaults
# draws = 8               # instead: as many different random draws from its declared hyperparameter space
# most_samples = 100      # of each of its trials, where its own thinking takes long
# scenarios = ["dsegym/AcceleratorSizing-v0"]   # those of the suite that it plays, where it suits some only

A relative path of a user's file is taken from the folder of the suite's file.
"""

from __future__ import annotations

import importlib.resources
import itertools
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..agents.registry import (
    check_libraries,
    check_libraries_on,
    check_needs,
    draw_hyperparameters,
    load_agent,
    make_agent,
)
from ..costmodels.errors import (
    DsegymError,
    InvalidSuiteError,
    MissingLibraryError,
    UnknownNameError,
    literal,
    shortened,
)
from ..costmodels.files import file_hash
from ..envs.core.scenarios import Scenario, load_scenario, make_problem
from .toml_tables import check_keys, check_once, name_of, read_toml_file, tables_of, text_of, whole_number

if TYPE_CHECKING:
    from ..agents.base import Agent

__all__ = [
    "FILES",
    "Suite",
    "Trial",
    "beside",
    "budgets_within",
    "count_trials",
    "find_any_suite",
    "find_suite",
    "instances_of",
    "is_kept",
    "is_policy_suite",
    "kept_options",
    "load_suite",
    "located",
    "may_be_file",
    "option_beside",
    "placed",
    "policy_suite_names",
    "seeds_of",
    "suite_names",
]

DEFAULT_TIME_LIMIT_S = 600.0
FILES = "files"  # the folder of a results directory that keeps users' files
_MAX_SEEDS = 10_000
_MAX_BUDGETS = 100
_MAX_TRIALS = 1_000_000  # ten times what a leaderboard has been made of
_MAX_TIME_LIMIT_S = 30 * 86_400.0
_SUFFIXES = "([.][A-Za-z0-9_-]{1,32}){0,4}"  # of a user's file
_MAX_PATH = 4096


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

    def files(self) -> list[tuple[str, Path]]:
        """The users' files among the options: where results keep each, and where it lies now. Paths are absolute."""
        return [(place_of(value), Path(value)) for value in self.options.values() if os.path.isabs(value)]

    def as_dict(self) -> dict[str, Any]:
        """The form in which manifests hold it; a user's file is named by its content."""
        return {
            "instance": {"scenario": self.scenario, "options": placed(self.options)},
            "agent": {"name": self.agent, "hyperparameters": dict(self.hyperparameters), "draw": self.draw},
            "seed": self.seed,
            "samples": self.samples,
            "time_limit_s": self.time_limit_s,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Trial:
        """The inverse of `as_dict`; a user's file stays named by its content, see `located`."""
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
    left_out: tuple[tuple[str, str], ...] = ()  # instances without trials, as no result could be scored, and the reason
    skipped: tuple[str, ...] = ()  # agents without trials, as their libraries are not installed, in words
    budgets: tuple[int, ...] = ()  # samples, ascending, where there are several; () for one


def place_of(path: str) -> str:
    """Where results keep a user's file: its content names it; its suffixes stay, which may say what it is."""
    suffixes = "".join(Path(path).suffixes)
    if not re.fullmatch(_SUFFIXES, suffixes):
        suffixes = ""
    return f"{FILES}/{file_hash(path)[:16]}{suffixes}"


def placed(options: Mapping[str, str]) -> dict[str, str]:
    """Options with the absolute paths of users' files replaced by the places where results keep them."""
    return {key: place_of(value) if os.path.isabs(value) else value for key, value in options.items()}


def located(options: Mapping[str, str], results: Path) -> dict[str, str]:
    """Options with the users' files where a results directory keeps them."""
    root = results.resolve()
    return {key: str(root / value) if is_kept(value) else value for key, value in options.items()}


def kept_options(trial: Trial, results: Path) -> dict[str, str]:
    """A trial's options, with users' files as the results keep them: one edited meanwhile changes no trial."""
    return located(trial.as_dict()["instance"]["options"], results)


def is_kept(value: str) -> bool:
    """Whether an option's text is the place of a user's file in a results directory."""
    return re.fullmatch(rf"{FILES}/[0-9a-f]{{16}}{_SUFFIXES}", value) is not None


def may_be_file(value: str) -> bool:
    """Whether an option's text that is no listed value could be a path."""
    return os.path.isabs(value) or os.path.basename(value) != value or os.path.lexists(value)


def suite_names() -> tuple[str, ...]:
    """The shipped suites, sorted."""
    return _shipped_names("suites")


def find_suite(name_or_file: str) -> Path:
    """The file of a shipped suite, or the path given if it ends in `.toml` or a file is there.

    Raises:
        UnknownNameError: there is no shipped suite of that name.
    """
    if name_or_file in suite_names():
        return _shipped_folder("suites") / f"{name_or_file}.toml"
    if name_or_file.endswith(".toml") or os.path.isfile(name_or_file):
        return Path(name_or_file)
    raise UnknownNameError("suite", name_or_file, (*suite_names(), "or the path of a .toml file"))


def policy_suite_names() -> tuple[str, ...]:
    """The shipped suites of policies, sorted; see `policy_suite.py`."""
    return _shipped_names("policy_suites")


def find_any_suite(name_or_file: str) -> Path:
    """The file of a shipped suite, of trials or of policies, or the path of another; raises as `find_suite`."""
    if name_or_file in policy_suite_names():
        return _shipped_folder("policy_suites") / f"{name_or_file}.toml"
    try:
        return find_suite(name_or_file)
    except UnknownNameError:
        known = (*suite_names(), *policy_suite_names(), "or the path of a .toml file")
        raise UnknownNameError("suite", name_or_file, known) from None


def is_policy_suite(path: Path) -> bool:
    """Whether a suite's file is one of policies: it has trainings.

    Raises:
        InvalidSuiteError: it cannot be read.
    """
    return "trainings" in read_toml_file(path)


def _shipped_folder(name: str) -> Path:
    return Path(str(importlib.resources.files(__name__.rpartition(".")[0]) / name))


def _shipped_names(folder: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in _shipped_folder(folder).glob("*.toml")))


def load_suite(name_or_file: str | Path, *, skip_missing: bool = False) -> Suite:
    """Reads and checks a suite: a text is a shipped suite's name or a path that ends in `.toml`.

    Args:
        name_or_file: the suite.
        skip_missing: whether agents whose libraries are not installed are left out, and named in `skipped`, in place of
            an error.

    Raises:
        UnknownNameError: there is no shipped suite of that name.
        InvalidSuiteError: the file cannot be read, or says something wrong, or wants an agent whose libraries are not
            installed, or one that needs what a problem lacks; names the file and the key.
    """
    path = find_suite(name_or_file) if isinstance(name_or_file, str) else name_or_file
    content = read_toml_file(path)
    try:
        return _parse(content, Path(os.path.abspath(path)).parent, skip_missing)
    except (DsegymError, ValueError, OverflowError) as error:
        raise InvalidSuiteError(f"The suite '{path}' cannot run: {error}") from None


def count_trials(content: Mapping[str, Any]) -> int:
    """How many trials a sound suite declares; imports neither its scenarios nor its agents."""
    budgets = budgets_of(content["samples"])
    most = budgets[-1]
    pairs = sum(
        math.prod(len(value) for value in table.values() if isinstance(value, list))
        * agent.get("draws", 1)
        * len(budgets_within(budgets, min(table.get("most_samples", most), agent.get("most_samples", most))))
        for agent in content["agents"]
        for table in content["instances"]
        if table["scenario"] in agent.get("scenarios", (table["scenario"],))
    )
    return pairs * len(seeds_of(content["seeds"]))


def _parse(content: Mapping[str, Any], folder: Path, skip_missing: bool) -> Suite:
    check_keys("suite", content, ("name", "samples", "seeds", "instances", "agents"), ("description", "time_limit_s"))
    name, description = name_of("name", content["name"]), text_of("description", content.get("description", ""))
    budgets = budgets_of(content["samples"])
    samples = budgets[-1]
    seeds = seeds_of(content["seeds"])
    limit = content.get("time_limit_s", DEFAULT_TIME_LIMIT_S)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit <= _MAX_TIME_LIMIT_S:
        raise ValueError(
            f"time_limit_s = {literal(limit)} is not a positive number of seconds, {_MAX_TIME_LIMIT_S:.0f} at most."
        )
    tables = tables_of("instances", content["instances"]), tables_of("agents", content["agents"])
    _check_size(*tables, seeds, len(budgets))
    instances = [entry for table in tables[0] for entry in _instances(table, folder, samples)]
    agents = [entry for table in tables[1] for entry in _agents(table, samples)]
    check_once("seed", map(str, seeds))
    check_once("agent", (f"{each.name} with {json.dumps(each.hyperparameters, sort_keys=True)}" for each in agents))
    check_once("instance", (f"{each.scenario} with {_words(each.options)}" for each in instances))
    _check_scenarios(agents, [each.scenario for each in instances])
    skipped = _missing({each.name for each in agents}) if skip_missing else {}
    agents = [each for each in agents if each.name not in skipped]
    if not agents:
        raise ValueError("; ".join(skipped.values()))
    without = _check_agents(agents, instances, skip_missing)
    left_out = _left_out([(each.scenario, each.options) for each in instances])
    trials = tuple(
        Trial(
            instance.scenario,
            instance.options,
            agent.name,
            agent.hyperparameters,
            agent.draw,
            seed,
            budget,
            float(limit),
        )
        for place, instance in enumerate(instances)
        if place not in left_out
        for agent in agents
        if agent.plays(instance.scenario) and not any(each.is_of(agent, instance.scenario) for each in without)
        for budget in budgets_within(budgets, min(instance.most_samples, agent.most_samples))
        for seed in seeds
    )
    if not trials:
        reasons = [f"{instance}: {reason}" for instance, reason in left_out.values()]
        raise ValueError("; ".join([*reasons, *(reason for _, _, reason in without)]))
    words = dict.fromkeys([*skipped.values(), *(reason for _, _, reason in without)])
    several = tuple(budgets) if len(budgets) > 1 else ()
    return Suite(name, description, trials, tuple(left_out.values()), tuple(words), several)


class _Instance(NamedTuple):
    """An instance of a suite, and the samples that a trial on it may take."""

    scenario: str
    options: dict[str, str]
    most_samples: int


class _Entrant(NamedTuple):
    """An agent of a suite with hyperparameters."""

    name: str
    hyperparameters: dict[str, Any]
    draw: int | None
    most_samples: int
    scenarios: tuple[str, ...]  # that it plays; empty for all

    def plays(self, scenario: str) -> bool:
        """Whether it has trials on a scenario."""
        return not self.scenarios or scenario in self.scenarios


def _instances(table: Mapping[str, Any], folder: Path, samples: int) -> list[_Instance]:
    options = {key: value for key, value in table.items() if key != "most_samples"}
    most = whole_number("most_samples of an instance", table.get("most_samples", samples), 1, samples)
    return [_Instance(scenario, chosen, most) for scenario, chosen in instances_of(options, folder)]


def _check_scenarios(agents: Iterable[_Entrant], scenarios: Sequence[str]) -> None:
    """Refuses an agent's scenarios that the suite does not play."""
    known = tuple(dict.fromkeys(scenarios))
    for agent in agents:
        for scenario in agent.scenarios:
            if scenario not in known:
                raise UnknownNameError(f"scenario of {agent.name} among the suite's", scenario, known)


def _words(options: Mapping[str, str]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in options.items())


def _check_size(
    instances: Iterable[Mapping[str, Any]], agents: Iterable[Mapping[str, Any]], seeds: list[int], budgets: int
) -> None:
    """Refuses what would multiply to more trials than can be; nothing is made for it."""
    count = sum(math.prod(len(value) for value in table.values() if isinstance(value, list)) for table in instances)
    draws = [table.get("draws", 1) for table in agents]
    count *= budgets * len(seeds) * sum(draw if type(draw) is int else 1 for draw in draws)
    if count > _MAX_TRIALS:
        raise ValueError(f"it multiplies to {shortened(count)} trials, {_MAX_TRIALS} at most.")


def _left_out(instances: list[tuple[str, dict[str, str]]]) -> dict[int, tuple[str, str]]:
    """The instances on which no result could be scored, by their place: their names and the reasons.

    Raises:
        ValueError: two instances are one, spelled differently.
    """
    found: dict[int, tuple[str, str]] = {}
    seen: dict[object, str] = {}
    for place, (scenario, options) in enumerate(instances):
        name = f"{scenario} with {_words(options)}"
        try:
            problem = make_problem(scenario, **options)
            content, obstacle = problem.content, problem.obstacle
        except DsegymError as error:
            raise ValueError(f"{name}: {error}") from None
        other = seen.setdefault(content, name)
        if other != name:
            raise ValueError(f"{name} is the same instance as {other}: give it once.")
        if obstacle:
            found[place] = (name, obstacle)
    return found


def seeds_of(value: object) -> list[int]:
    """The seeds of a list, or as many as a number says; or a `ValueError`."""
    if isinstance(value, list):
        seeds = [whole_number("a seed", seed, 0) for seed in value]
        if not seeds:
            raise ValueError("seeds is an empty list; give at least one.")
        return seeds
    count = whole_number("seeds", value, 1)
    if count > _MAX_SEEDS:
        raise ValueError(f"seeds = {count} counts seeds, {_MAX_SEEDS} at most; for one seed write seeds = [{count}].")
    return list(range(count))


def budgets_of(value: object) -> list[int]:
    """The budgets that a suite's `samples` says, ascending; or a `ValueError`."""
    if not isinstance(value, list):
        return [whole_number("samples", value, 1)]
    if not 0 < len(value) <= _MAX_BUDGETS:
        raise ValueError(f"samples lists {len(value)} budgets; allowed: 1 to {_MAX_BUDGETS}.")
    budgets = [whole_number("a budget of samples", each, 1) for each in value]
    check_once("budget", map(str, budgets))
    return sorted(budgets)


def budgets_within(budgets: Sequence[int], most: int) -> list[int]:
    """Those of an agent on an instance that may take so many samples: a larger one becomes `most`."""
    return sorted({min(budget, most) for budget in budgets})


def instances_of(table: Mapping[str, Any], folder: Path) -> list[tuple[str, dict[str, str]]]:
    """The scenarios and options of an [[instances]] table, one for each combination of the options' values.

    Args:
        table: what the file says.
        folder: which relative paths are taken from.

    Raises:
        ValueError, DsegymError: what is wrong, in one sentence.
    """
    if "scenario" not in table:
        raise ValueError("an instance needs 'scenario'.")
    name = name_of("scenario", table["scenario"])
    scenario = load_scenario(name)
    options = {key: value if isinstance(value, list) else [value] for key, value in table.items() if key != "scenario"}
    if any(not values for values in options.values()):
        raise ValueError("an option is an empty list; give at least one value.")
    for key, values in options.items():
        options[key] = [option_beside(scenario, key, value, folder) for value in values]
    choices = (dict(zip(options, values, strict=True)) for values in itertools.product(*options.values()))
    return [(name, scenario.resolve(choice)) for choice in choices]


def option_beside(scenario: Scenario, option: str, value: object, folder: Path) -> object:
    """An option's value as it stands in a suite: a listed one as it is, a path from the suite's folder."""
    listed = scenario.options[option].values() if option in scenario.options else ()
    return value if value in listed else beside(value, folder)


def beside(value: object, folder: Path) -> object:
    """A path as it stands in a suite, from the suite's folder; anything else as it is."""
    if not isinstance(value, str) or not value or "\0" in value or len(value) > _MAX_PATH:
        return value
    path = folder / value
    return os.path.normpath(path) if path.exists() or os.path.exists(value) else value


def _agents(table: Mapping[str, Any], samples: int) -> list[_Entrant]:
    check_keys("agent", table, ("name",), ("hyperparameters", "draws", "most_samples", "scenarios"))
    name, fixed = name_of("an agent's name", table["name"]), table.get("hyperparameters", {})
    most = whole_number(f"most_samples of {name}", table.get("most_samples", samples), 1, samples)
    scenarios = table.get("scenarios")
    if scenarios is not None and (not isinstance(scenarios, list) or not scenarios):
        raise ValueError(f"scenarios of {name} must be a list of at least one name.")
    played = tuple(text_of(f"a scenario of {name}", each) for each in scenarios or ())
    if not isinstance(fixed, dict):
        raise ValueError(f"hyperparameters of {name} must be a table.")
    if "draws" not in table:
        make_agent(name, fixed)
        return [_Entrant(name, fixed, None, most, played)]
    if fixed:
        raise ValueError(f"{name} has both hyperparameters and draws; give one of them.")
    if not load_agent(name).hyperparameters:
        raise ValueError(f"{name} declares no hyperparameters to draw from.")
    drawn = _different_draws(name, whole_number(f"draws of {name}", table["draws"], 1))
    return [_Entrant(name, hyperparameters, draw, most, played) for draw, hyperparameters in drawn.items()]


def _different_draws(name: str, count: int) -> dict[int, dict[str, Any]]:
    """So many draws of an agent's hyperparameters: one that has come before is left out, and its number with it.

    Raises:
        ValueError: there are not so many.
    """
    there_are = math.prod(len(set(values)) for values in load_agent(name).hyperparameters.values())
    if count > there_are:
        raise ValueError(f"draws of {name} = {count}, where {there_are} choices of its hyperparameters are all.")
    seen: dict[str, int] = {}
    found: dict[int, dict[str, Any]] = {}
    for draw in itertools.count():
        hyperparameters = draw_hyperparameters(name, draw)
        if seen.setdefault(json.dumps(hyperparameters, sort_keys=True), draw) == draw:
            found[draw] = hyperparameters
            if len(found) == count:
                return found
    raise AssertionError


def _missing(names: Iterable[str]) -> dict[str, str]:
    """{agent whose libraries are not installed: the sentence that says so}."""
    found: dict[str, str] = {}
    for name in sorted(names):
        try:
            check_libraries(name)
        except DsegymError as error:
            found[name] = str(error)
    return found


def _asks(agent: type[Agent]) -> bool:
    """Whether an agent may need something of a problem, which has to be made to see it."""
    return bool(agent.needs or agent.optional_libraries)


class _Without(NamedTuple):
    """An agent that cannot play a scenario here, as a library is not installed that it needs there alone."""

    agent: _Entrant
    scenario: str
    reason: str

    def is_of(self, agent: _Entrant, scenario: str) -> bool:
        return agent is self.agent and scenario == self.scenario


def _check_agents(agents: Iterable[_Entrant], instances: Iterable[_Instance], skip_missing: bool) -> list[_Without]:
    """Refuses agents that cannot run here. A scenario's first instance speaks for it: to make all takes too long.

    Returns what lacks a library on a scenario only, where that is to be left out; it is refused otherwise.
    """
    first: dict[str, Mapping[str, str]] = {}
    for instance in instances:
        first.setdefault(instance.scenario, instance.options)
    agents, without = list(agents), []
    for name in sorted({each.name for each in agents}):
        check_libraries(name)
    for scenario, options in first.items():
        players = [each for each in agents if each.plays(scenario) and _asks(load_agent(each.name))]
        for agent in sorted(players, key=lambda each: each.name):
            problem = make_problem(scenario, **options)  # made once: it is kept
            check_needs(agent.name, problem)
            try:
                check_libraries_on(agent.name, agent.hyperparameters, problem)
            except MissingLibraryError as error:
                if not skip_missing:
                    raise
                without.append(_Without(agent, scenario, f"On {scenario}: {error}"))
    return without
