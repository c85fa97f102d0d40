"""Scenarios: registered environment ids, their options, and the one way to make an instance of them.

Importing this module imports neither JAX nor a family; a family's module is loaded when its scenario is first used.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gymnasium

from ...costmodels.errors import DsegymError, UnknownNameError

if TYPE_CHECKING:
    from .problem import Problem

__all__ = [
    "BUILT_IN",
    "Option",
    "Scenario",
    "load_scenario",
    "make_problem",
    "number_between",
    "register",
    "scenario_ids",
    "scenario_module",
    "whole_between",
]

# Environment id: where its `Scenario` is.
BUILT_IN: Mapping[str, str] = {
    "dsegym/AcceleratorSizing-v0": "dsegym.envs.accelerator.sizing:SCENARIO",
    "dsegym/BatchBestOfN-v0": "dsegym.envs.reasoning.batch_best_of_n:SCENARIO",
    "dsegym/MemoryAllocation-v0": "dsegym.envs.memory.allocation:SCENARIO",
    "dsegym/MemoryMapping-v0": "dsegym.envs.memory.mapping:SCENARIO",
    "dsegym/ReasoningServe-v0": "dsegym.envs.reasoning.serve:SCENARIO",
    "dsegym/SleepTime-v0": "dsegym.envs.reasoning.sleep_time:SCENARIO",
    "dsegym/SocSchedulingStatic-v0": "dsegym.envs.soc.static:SCENARIO",
    "dsegym/SocSchedulingStream-v0": "dsegym.envs.soc.stream:SCENARIO",
    "dsegym/SolveVerify-v0": "dsegym.envs.reasoning.solve_verify:SCENARIO",
    "dsegym/SubQuestionBudget-v0": "dsegym.envs.reasoning.sub_question_budget:SCENARIO",
    "dsegym/TreeSearch-v0": "dsegym.envs.reasoning.tree_search:SCENARIO",
}


@dataclass(frozen=True)
class Option:
    """One thing that tells instances of a scenario apart.

    Attributes:
        default: the value when the user gives none.
        choices: the values, or a function that lists them.
        summary: one line for the user.
        accepts: whether a value that is no listed choice is good all the same (a file, say).
        also: which values those are, in words, for the error of one that is not.
    """

    default: str
    choices: Sequence[str] | Callable[[], Sequence[str]]
    summary: str
    accepts: Callable[[str], bool] = lambda value: False
    also: str = ""

    def values(self) -> tuple[str, ...]:
        """The listed values."""
        return tuple(self.choices() if callable(self.choices) else self.choices)


def number_between(least: float, most: float) -> Callable[[str], bool]:
    """An option's `accepts`: numbers, both ends included."""

    def accepts(value: str) -> bool:
        try:
            return least <= float(value) <= most
        except ValueError:
            return False

    return accepts


def whole_between(least: int, most: int) -> Callable[[str], bool]:
    """An option's `accepts`: whole numbers written in digits, both ends included."""
    return lambda value: value.isascii() and value.isdigit() and least <= int(value) <= most


@dataclass(frozen=True)
class Scenario:
    """A family's face.

    Attributes:
        summary: one line for the user.
        options: {name: option}.
        build: takes one value per option by keyword, and makes the problem.
        core: the options of the instances that the scenario's tables cover; every combination when left out.
        facts: tables for `dsegym info`: [(title, rows)], made when asked.
        bounds: `(options, progress) -> rows`, recomputes the bounds of all instances that share one computation with
            the given one; `progress(done, total)` is called as it goes. None where the family has no such computation.
        stored_bounds: the package's file of such rows, relative to the package.
    """

    summary: str
    options: Mapping[str, Option]
    build: Callable[..., Problem]
    core: Callable[[], Sequence[Mapping[str, str]]] | None = None
    facts: Callable[[], Sequence[tuple[str, Sequence[Mapping[str, object]]]]] = lambda: ()
    bounds: Callable[..., Sequence[Mapping[str, object]]] | None = None
    stored_bounds: str | None = None

    def core_instances(self) -> list[dict[str, str]]:
        """The options of the core instances."""
        if self.core is not None:
            return [dict(options) for options in self.core()]
        values = [option.values() for option in self.options.values()]
        return [dict(zip(self.options, combination, strict=True)) for combination in itertools.product(*values)]

    def resolve(self, options: Mapping[str, str]) -> dict[str, str]:
        """The options with defaults filled in.

        Raises:
            UnknownNameError: an option, or an option's value, that does not exist.
        """
        for name in options:
            if name not in self.options:
                raise UnknownNameError("option", name, self.options)
        resolved = {}
        for name, option in self.options.items():
            value = str(options.get(name, option.default))
            if value not in option.values() and not option.accepts(value):
                raise UnknownNameError(name, value, [*option.values(), *([option.also] if option.also else [])])
            resolved[name] = value
        return resolved


def register(scenario_id: str, location: str) -> None:
    """Registers a scenario with Gymnasium, for `gymnasium.make`, `gymnasium.make_vec`, `make_problem` and suites.

    Args:
        scenario_id: `namespace/Name-v0`.
        location: `package.module:NAME` of a `Scenario`; loaded on first use.
    """
    gymnasium.register(
        id=scenario_id,
        entry_point="dsegym.envs.faces.gymnasium_env:make_env",
        vector_entry_point="dsegym.envs.faces.gymnasium_env:make_vector_env",
        kwargs={"scenario": scenario_id},
        additional_wrappers=(),
    )
    _LOCATIONS[scenario_id] = location


_LOCATIONS: dict[str, str] = {}


def register_built_in() -> None:
    """Registers the package's own scenarios; called once by `import dsegym`."""
    for scenario_id, location in BUILT_IN.items():
        if scenario_id in gymnasium.registry:  # imported a second time under another name, as test runners may
            _LOCATIONS[scenario_id] = location
        else:
            register(scenario_id, location)


def scenario_ids() -> tuple[str, ...]:
    """Every registered scenario, sorted."""
    return tuple(sorted(_LOCATIONS))


def load_scenario(scenario_id: str) -> Scenario:
    """The scenario of an id; `package:namespace/Name-v0` imports the package first, as in Gymnasium.

    Raises:
        UnknownNameError: there is no such scenario.
        DsegymError: its package cannot be imported.
    """
    package, _, name = scenario_id.rpartition(":")
    if package:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise DsegymError(f"Cannot import '{package}' for the scenario '{scenario_id}': {error}.") from None
    if name not in _LOCATIONS:
        raise UnknownNameError("scenario", name, scenario_ids())
    module, _, attribute = _LOCATIONS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def scenario_module(scenario_id: str) -> str:
    """The module in which a scenario's `Scenario` stands.

    Raises:
        UnknownNameError, DsegymError: as `load_scenario`.
    """
    load_scenario(scenario_id)
    return _LOCATIONS[scenario_id.rpartition(":")[2]].partition(":")[0]


def make_problem(scenario_id: str, **options: str) -> Problem:
    """An instance of a scenario; asked twice for the same one, it returns the same object (and its compiled code).

    Args:
        scenario_id: a registered environment id, `dsegym/AcceleratorSizing-v0` say.
        **options: as `dsegym info SCENARIO` lists them; the rest take their defaults.

    Raises:
        UnknownNameError: an unknown scenario, option or value; lists what exists.
    """
    resolved = load_scenario(scenario_id).resolve(options)
    stamps = tuple(_stamp(value) for value in resolved.values())
    return _build(scenario_id.rpartition(":")[2], tuple(resolved.items()), stamps)


def _stamp(value: str) -> tuple[str, int, int] | None:
    """What tells two states of a user's file apart."""
    try:
        status = os.stat(value)
    except OSError:
        return None
    return os.path.abspath(value), status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=256)
def _build(scenario_id: str, options: tuple[tuple[str, str], ...], stamps: tuple[object, ...]) -> Problem:
    del stamps  # of the files among the options: part of the key, so that an edited file is read again
    return load_scenario(scenario_id).build(scenario_id=scenario_id, **dict(options))
