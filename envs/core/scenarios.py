"""Scenarios: registered environment ids, their options, and the one way to make an instance of them.

Importing this module imports neither JAX nor a family; a family's module is loaded when its scenario is first used.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import itertools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from gymnasium.envs import registration
from gymnasium.error import Error as GymnasiumError

from ...costmodels.errors import DsegymError, UnknownNameError, reason_of, shortened
from ...costmodels.files import file_hash
from .forks import refuse_after_fork
from .options import Option, Options, options_of, parse, texts

if TYPE_CHECKING:
    from .functional import FunctionalEnv
    from .problem import Problem

__all__ = [
    "BUILT_IN",
    "Scenario",
    "file_options",
    "files_among",
    "installed_scenarios",
    "load_scenario",
    "make_functional",
    "make_problem",
    "register",
    "remake_problem",
    "scenario_ids",
    "scenario_location",
    "scenario_module",
    "unregister",
]

ENTRY_POINT_GROUP = "dsegym.scenarios"
BOUNDS_SUFFIX = ".bounds.csv"  # after a user's file's name: the bounds that are kept beside it, see `own_bounds.py`

# Environment id: where its `Scenario` is.
BUILT_IN: Mapping[str, str] = {
    "dsegym/AcceleratorDataflow-v0": "dsegym.envs.accelerator.dataflow:SCENARIO",
    "dsegym/AcceleratorMapping-v0": "dsegym.envs.accelerator.mapping:SCENARIO",
    "dsegym/AcceleratorSizing-v0": "dsegym.envs.accelerator.sizing:SCENARIO",
    "dsegym/AcceleratorTemplate-v0": "dsegym.envs.accelerator.template:SCENARIO",
    "dsegym/AttentionAccelerator-v0": "dsegym.envs.accelerator.attention:SCENARIO",
    "dsegym/BatchBestOfN-v0": "dsegym.envs.reasoning.batch_best_of_n:SCENARIO",
    "dsegym/ExpertCache-v0": "dsegym.envs.offload.expert_cache:SCENARIO",
    "dsegym/MemoryAllocation-v0": "dsegym.envs.memory.allocation:SCENARIO",
    "dsegym/MemoryMapping-v0": "dsegym.envs.memory.mapping:SCENARIO",
    "dsegym/MemoryTiers-v0": "dsegym.envs.offload.memory_tiers:SCENARIO",
    "dsegym/PowerCap-v0": "dsegym.envs.serving.power_cap:SCENARIO",
    "dsegym/ReasoningCascade-v0": "dsegym.envs.reasoning.cascade:SCENARIO",
    "dsegym/ReasoningServe-v0": "dsegym.envs.reasoning.serve:SCENARIO",
    "dsegym/ServingCluster-v0": "dsegym.envs.serving.cluster:SCENARIO",
    "dsegym/ServingEngine-v0": "dsegym.envs.serving.engine:SCENARIO",
    "dsegym/ServingMix-v0": "dsegym.envs.serving.mix:SCENARIO",
    "dsegym/ServingPlan-v0": "dsegym.envs.serving.plan:SCENARIO",
    "dsegym/TrainingPlan-v0": "dsegym.envs.training.plan:SCENARIO",
    "dsegym/ServingStream-v0": "dsegym.envs.serving.stream:SCENARIO",
    "dsegym/SleepTime-v0": "dsegym.envs.reasoning.sleep_time:SCENARIO",
    "dsegym/SocSchedulingStatic-v0": "dsegym.envs.soc.static:SCENARIO",
    "dsegym/SocSchedulingStream-v0": "dsegym.envs.soc.stream:SCENARIO",
    "dsegym/SolveVerify-v0": "dsegym.envs.reasoning.solve_verify:SCENARIO",
    "dsegym/SubQuestionBudget-v0": "dsegym.envs.reasoning.sub_question_budget:SCENARIO",
    "dsegym/TreeSearch-v0": "dsegym.envs.reasoning.tree_search:SCENARIO",
}


@dataclass(frozen=True)
class Scenario:
    """A family's face.

    Attributes:
        summary: one line for the user.
        options_type: the dataclass of its options.
        build: makes the problem of typed options.
        core: what the instances that the scenario's tables cover change in the defaults, or a function that lists it;
            every combination of the listed values when left out.
        facts: tables for `dsegym info`: [(title, rows)], made when asked.
        bounds: `(options, progress) -> rows`, recomputes the bounds of all instances that share one computation with
            the given one; `progress(done, total)` is called as it goes. A row holds the texts of its instance's
            options, `value` (a number, not finite where none is known), `unit` and `kind` ("optimum" or "bound") of
            its objective's bound, and what shows it. None where the family has no such computation.
        stored_bounds: the package's file of such rows, relative to the package.
    """

    summary: str
    options_type: type[Options]
    build: Callable[[Any], Problem]
    core: Sequence[Mapping[str, object]] | Callable[[], Sequence[Mapping[str, object]]] | None = None
    facts: Callable[[], Sequence[tuple[str, Sequence[Mapping[str, object]]]]] = lambda: ()
    bounds: Callable[[Any, Callable[[int, int], None]], Sequence[Mapping[str, object]]] | None = None
    stored_bounds: str | None = None

    @property
    def options(self) -> dict[str, Option]:
        """{name: option}."""
        return options_of(self.options_type)

    def core_instances(self) -> list[dict[str, str]]:
        """The options of the core instances, as canonical texts."""
        if self.core is not None:
            return [self.resolve(changes) for changes in (self.core() if callable(self.core) else self.core)]
        values = [option.values() for option in self.options.values()]
        return [dict(zip(self.options, combination, strict=True)) for combination in itertools.product(*values)]

    def resolve(self, options: Mapping[str, object]) -> dict[str, str]:
        """The options as canonical texts, defaults filled in.

        Raises:
            UnknownNameError: an option, or an option's name, that does not exist.
            InvalidOptionError: a value of the wrong type or out of range.
        """
        return texts(parse(self.options_type, options))

    def changed(self, options: Mapping[str, str]) -> dict[str, str]:
        """Those of an instance's options, as canonical texts, that are not the defaults: what names it in few words."""
        defaults = self.resolve({})
        return {name: text for name, text in options.items() if defaults.get(name) != text}

    def recompute_bounds(
        self, options: Mapping[str, object], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Sequence[Mapping[str, object]]:
        """The rows of `bounds` for the user's options; those of a permuted instance are the instance's own.

        Raises:
            DsegymError: the family has no such computation; or as `resolve`.
        """
        if self.bounds is None:
            raise DsegymError("This scenario has no bounds to compute.")
        typed = dataclasses.replace(parse(self.options_type, options), permutation=None)
        return self.bounds(typed, progress)


def register(scenario_id: str, location: str) -> None:
    """Registers a scenario with Gymnasium, for `gymnasium.make`, `gymnasium.make_vec`, `make_problem` and suites.

    Args:
        scenario_id: `namespace/Name-v0`.
        location: `package.module:NAME` of a `Scenario`; loaded on first use.
    """
    # A spec that travels to another process tells where a third party's scenario is.
    own = {} if scenario_id in BUILT_IN else {"location": location}
    registration.register(
        id=scenario_id,
        entry_point="dsegym.envs.faces.gymnasium_env:make_env",
        vector_entry_point="dsegym.envs.faces.vector_env:make_vector_env",
        kwargs={"scenario": scenario_id, **own},
        additional_wrappers=(),
    )
    _LOCATIONS[scenario_id] = location


def unregister(scenario_id: str) -> None:
    """Takes a registered scenario back, and what was made of it; nothing happens where there is none."""
    registration.registry.pop(scenario_id, None)
    _LOCATIONS.pop(scenario_id, None)
    _build.cache_clear()


_LOCATIONS: dict[str, str] = {}


@functools.cache
def installed_scenarios() -> Mapping[str, str]:
    """{scenario's id: where its `Scenario` is} of the entry points of installed packages."""
    points = entry_points(group=ENTRY_POINT_GROUP)
    return {point.name: point.value for point in points if point.name not in BUILT_IN}


def register_installed() -> None:
    """Registers the package's own scenarios, and those that installed packages name as entry points of the group
    `dsegym.scenarios`, `"toy/Sizes-v0" = "toy.sizes:SCENARIO"` say; called once by `import dsegym`.
    """
    for scenario_id, location in {**installed_scenarios(), **BUILT_IN}.items():
        if scenario_id in registration.registry:  # imported a second time under another name, as test runners may
            _LOCATIONS[scenario_id] = location
        else:
            try:
                register(scenario_id, location)
            except GymnasiumError as error:  # another package's fault keeps no one from the rest
                warnings.warn(f"The scenario '{scenario_id}' of '{location}' is left out: {error}", stacklevel=2)


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
        except (Exception, SystemExit) as error:  # whatever a third party's code raises
            raise DsegymError(
                f"Cannot import '{package}' for the scenario '{scenario_id}': {reason_of(error)}."
            ) from error
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


def scenario_location(scenario_id: str) -> str:
    """`package.module:NAME` of a scenario's `Scenario`.

    Raises:
        UnknownNameError: there is no such scenario.
    """
    if scenario_id not in _LOCATIONS:
        raise UnknownNameError("scenario", scenario_id, scenario_ids())
    return _LOCATIONS[scenario_id]


def files_among(scenario_id: str, options: Mapping[str, str]) -> dict[str, str]:
    """{option: path} of the users' files among the texts of an instance's options."""
    declared = load_scenario(scenario_id).options
    return {
        name: text
        for name, text in options.items()
        if name in declared and not declared[name].is_name(text) and os.path.isfile(text)
    }


def file_options(options: Options) -> tuple[dict[str, str], dict[str, str]]:
    """Options as texts that mean the same in another folder, users' files by their whole path; and {option: the hash of
    its file's content}.
    """
    found = texts(options)
    paths = {name: os.path.abspath(path) for name, path in files_among(options.scenario_id, found).items()}
    return {**found, **paths}, {name: file_hash(path) for name, path in paths.items()}


def remake_problem(
    scenario_id: str,
    location: str,
    options: Mapping[str, object],
    as_searched: bool = False,
    hashes: Mapping[str, str] | None = None,
) -> Problem:
    """`make_problem` in a process that may not know the scenario yet, such as a worker's.

    Args:
        scenario_id, location: as of `register`.
        options: as of `make_problem`.
        as_searched: without the held-out cases.
        hashes: {option: the hash that its file's content must have}.

    Raises:
        DsegymError: a file has other content now; or as `make_problem`.
    """
    for name, digest in (hashes or {}).items():
        if file_hash(str(options[name])) != digest:
            raise DsegymError(f"'{shortened(options[name])}' has other content than when the instance was made of it.")
    if scenario_id not in _LOCATIONS:
        register(scenario_id, location)
    problem = make_problem(scenario_id, **options)
    return problem.as_searched if as_searched else problem


def make_problem(scenario_id: str, /, **options: object) -> Problem:
    """An instance of a scenario.

    Args:
        scenario_id: a registered environment id, `dsegym/AcceleratorSizing-v0` say.
        **options: as `dsegym info SCENARIO` lists them, as values or as text; the rest take their defaults. Equal
            values are one instance, however they are written.

    Raises:
        UnknownNameError: an unknown scenario, option or name; lists what exists.
        InvalidOptionError: a value of the wrong type or out of range; says what is allowed.
    """
    scenario, name = load_scenario(scenario_id), scenario_id.rpartition(":")[2]
    typed = parse(scenario.options_type, options, name)
    stamps = tuple(_stamp(value + more) for value in texts(typed).values() for more in ("", BOUNDS_SUFFIX))
    return _build(name, typed, stamps)


def make_functional(
    scenario_id: str, /, *, form: str | None = None, **options: object
) -> tuple[FunctionalEnv[Any, Any], Any]:
    """An instance's functional environment and its params, to be trained on inside `jit`, as with gymnax.

    Args:
        scenario_id: a registered environment id.
        form: one of the instance's forms; the first when left out.
        **options: as of `make_problem`.

    Returns:
        `env` with pure `reset(key, params)`, `step(key, state, action, params)`, `action_mask(state, params)`,
        `observation_space` and `action_space`; and `params`, whose leaves are JAX arrays. An instance of the same
        scenario whose params have the same shapes may share the environment: params with a leading axis are many.

    Raises:
        UnknownNameError, InvalidOptionError: as `make_problem`; or there is no such form.
    """
    import jax
    import jax.numpy as jnp

    problem = make_problem(scenario_id, **options)
    return problem.functional_env(form), jax.tree.map(jnp.asarray, problem.env_params(form))


def _stamp(value: str) -> tuple[str, int, int] | None:
    """What tells two states of a user's file apart."""
    try:
        status = os.stat(value)
    except (OSError, ValueError):  # no file, or no path at all
        return None
    return os.path.abspath(value), status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=256)
def _build(scenario_id: str, options: Options, stamps: tuple[object, ...]) -> Problem:
    # The stamps of the files among the options and beside them are part of the key, so that edited ones are read again.
    refuse_after_fork()  # an instance that the parent has made is there; another may need JAX
    if options.permutation is None:
        return load_scenario(scenario_id).build(options)
    from .permuted import permuted_problem

    problem = _build(scenario_id, dataclasses.replace(options, permutation=None), stamps)
    return permuted_problem(problem, options, options.permutation)
