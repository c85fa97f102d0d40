"""Agents by name: the package's own, other packages' entry points, and `module:Class`; and how names are looked up."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution, entry_points
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from ..costmodels.errors import DsegymError, InvalidOptionError, MissingLibraryError, UnknownNameError, reason_of
from .base import NEEDS, SMALL_SPACE, SOBOL_DIMENSIONS, Agent

if TYPE_CHECKING:
    from ..envs.core.problem import Problem
    from .learners.base import Learner

__all__ = [
    "BUILT_IN",
    "PLAY_RULES",
    "Entry",
    "agent_location",
    "agent_names",
    "agent_needs",
    "agent_summary",
    "check_libraries",
    "check_libraries_on",
    "check_needs",
    "draw_hyperparameters",
    "load_agent",
    "load_class",
    "make",
    "make_agent",
    "require_libraries",
]


Named = TypeVar("Named", bound="Agent | Learner")


class Entry(NamedTuple):
    """An agent or a learner of this package."""

    location: str  # module:Class
    summary: str  # the class's own, so that a list of the agents imports none of them
    libraries: tuple[str, ...] = ()  # the class's own where its module imports them, so that they are asked for before
    needs: tuple[str, ...] = ()  # the class's own


# Another package's agent joins with an entry point of its name in the group `dsegym.agents`.
BUILT_IN: Mapping[str, Entry] = {
    "random_search": Entry("dsegym.agents.random_search:RandomSearch", "uniform random designs"),
    "heuristic": Entry("dsegym.agents.heuristic:Heuristic", "the design of a baseline, without search"),
    "hill_climb": Entry(
        "dsegym.agents.hill_climb:HillClimb", "local search from a baseline's design (iterated local search)"
    ),
    "genetic_algorithm": Entry(
        "dsegym.agents.genetic_algorithm:GeneticAlgorithm", "genetic algorithm on index vectors (pymoo GA)"
    ),
    "sobol": Entry(
        "dsegym.agents.sobol:Sobol",
        "quasi-random designs of a scrambled Sobol' sequence (SciPy)",
        needs=(SOBOL_DIMENSIONS,),
    ),
    "latin_hypercube": Entry(
        "dsegym.agents.latin_hypercube:LatinHypercube", "stratified random designs of Latin hypercubes (SciPy)"
    ),
    "exhaustive": Entry(
        "dsegym.agents.exhaustive:Exhaustive",
        "every design of a small space once, in a random order",
        needs=(SMALL_SPACE,),
    ),
    "simulated_annealing": Entry(
        "dsegym.agents.simulated_annealing:SimulatedAnnealing",
        "simulated annealing on index vectors, from a baseline's design",
    ),
    "block_local_search": Entry(
        "dsegym.agents.block_local_search:BlockLocalSearch",
        "local search of blocks of parameters in turn, from a baseline's design (after iCBS)",
    ),
    "regularised_evolution": Entry(
        "dsegym.agents.regularised_evolution:RegularisedEvolution",
        "evolution by mutation alone, in which the oldest die (Real et al.)",
    ),
    "ant_colony": Entry(
        "dsegym.agents.ant_colony:AntColony", "ant colony optimisation: a pheromone per value (MAX-MIN ant system)"
    ),
    "differential_evolution": Entry(
        "dsegym.agents.differential_evolution:DifferentialEvolution",
        "differential evolution on index vectors (pymoo DE)",
    ),
    "cma_es": Entry(
        "dsegym.agents.cma_es:CovarianceMatrixAdaptation",
        "covariance matrix adaptation, with margin for integers and categories (cmaes CatCMAwM)",
    ),
    "nsga2": Entry(
        "dsegym.agents.nsga2:NonDominatedSorting",
        "search for fronts of several costs at once (pymoo NSGA-II)",
        needs=("front",),
    ),
    "nsga3": Entry(
        "dsegym.agents.nsga3:ReferencePoints",
        "search for fronts of several costs at once, with reference points (Optuna NSGA-III)",
        needs=("front",),
    ),
    "expected_hypervolume": Entry(
        "dsegym.agents.expected_hypervolume:ExpectedHypervolume",
        "Bayesian optimisation of fronts by the hypervolume's log expected improvement (Optuna)",
        ("torch",),
        ("front",),
    ),
    "noisy_hypervolume": Entry(
        "dsegym.agents.noisy_hypervolume:NoisyExpectedHypervolume",
        "Bayesian optimisation of fronts in batches by the noisy expected hypervolume (BoTorch qLogNEHVI)",
        needs=("front",),
    ),
    "tpe": Entry(
        "dsegym.agents.tpe:TreeParzenEstimator",
        "Bayesian optimisation with tree-structured Parzen estimators (Optuna)",
    ),
    "gaussian_process": Entry(
        "dsegym.agents.gaussian_process:GaussianProcess",
        "Bayesian optimisation with a Gaussian process and log expected improvement (Optuna)",
        ("torch",),
    ),
    "trust_region": Entry(
        "dsegym.agents.trust_region:TrustRegion",
        "Bayesian optimisation in a trust region, with an overlap kernel for unordered values (BoTorch)",
    ),
    "smac": Entry("dsegym.agents.smac:RandomForest", "Bayesian optimisation with a random forest (SMAC3)"),
    "proxy_screening": Entry(
        "dsegym.agents.proxy_screening:ProxyScreening",
        "costs the best of many candidates by a proxy of its own samples, gradient-boosted trees (LightGBM)",
    ),
    "portfolio": Entry(
        "dsegym.agents.portfolio:Portfolio",
        "splits its samples among others: successive halving over rules, local, evolutionary and Bayesian search",
        ("botorch", "gpytorch", "optuna", "pymoo", "torch"),
    ),
    "two_loop_random": Entry(
        "dsegym.agents.two_loop:TwoLoopRandom",
        "random machines, for each the best of random mappings layer by layer",
        needs=("design in parts",),
    ),
    "two_loop_bayesian": Entry(
        "dsegym.agents.two_loop:TwoLoopBayesian",
        "Bayesian optimisation of machines, and inside of mappings layer by layer (Gaussian processes)",
        needs=("design in parts",),
    ),
    "ppo": Entry(
        "dsegym.agents.ppo:ProximalPolicyOptimisation",
        "proximal policy optimisation (stable-baselines3)",
        needs=("replayable form",),
    ),
    "maskable_ppo": Entry(
        "dsegym.agents.maskable_ppo:MaskableProximalPolicyOptimisation",
        "proximal policy optimisation that knows which actions are legal (sb3-contrib)",
        ("torch",),
        ("form of single choices",),
    ),
    "a2c": Entry(
        "dsegym.agents.a2c:AdvantageActorCritic",
        "advantage actor-critic (stable-baselines3)",
        needs=("replayable form",),
    ),
    "dqn": Entry(
        "dsegym.agents.dqn:DeepQNetwork",
        "deep Q-networks on forms of one choice a step (stable-baselines3)",
        needs=("form of single choices",),
    ),
    "jax_ppo": Entry(
        "dsegym.agents.jax_ppo:CompiledProximalPolicyOptimisation",
        "proximal policy optimisation in compiled rollouts (flax, Optax)",
        needs=("replayable form",),
    ),
    "reinforce": Entry(
        "dsegym.agents.reinforce:GreedyReinforce",
        "REINFORCE with the greedy policy's return as baseline, ReMax (flax, Optax)",
        needs=("replayable form",),
    ),
    "gradient_descent": Entry(
        "dsegym.agents.gradient_descent:GradientDescent",
        "Adam on the cost model's smooth relaxation, multi-start (Optax)",
        needs=("relaxation",),
    ),
    "warm_start": Entry(
        "dsegym.agents.warm_start:WarmStart",
        "a search that starts from known designs: rules', other results', a policy's (after LLMTune's idea)",
    ),
    "packing_search": Entry(
        "dsegym.agents.exact:PackingSearch",
        "depth-first search of packings in the order of addresses (after MiniMalloc)",
        needs=("packing search", "solver"),
    ),
    "exact": Entry(
        "dsegym.agents.exact:Exact",
        "the problem's exact solver, each better design of which is a sample (CP-SAT, HiGHS, packing search)",
        needs=("solver",),
    ),
}

# Agents of this package that are given the family's rules, whose designs are their first samples.
PLAY_RULES = frozenset({"heuristic", "portfolio", "warm_start"})
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


def agent_needs(name: str) -> tuple[str, ...]:
    """What an agent needs of a problem, names of `NEEDS`; only that of another package is imported for it.

    Raises: as `load_agent`.
    """
    return BUILT_IN[name].needs if name in BUILT_IN else load_agent(name).needs


def load_agent(name: str) -> type[Agent]:
    """The class of an agent.

    Args:
        name: a registered name, or `package.module:Class`.

    Raises:
        UnknownNameError: there is no such agent.
        DsegymError: it cannot be imported, or is no `Agent`.
    """
    return load_class("agent", name, agent_location(name), agent_names(), Agent)


def make_agent(name: str, hyperparameters: Mapping[str, Any] | None = None) -> Agent:
    """An agent with the given hyperparameters, the rest at their defaults.

    Raises: as `load_agent` and `make`.
    """
    return make(load_agent(name), name, hyperparameters)


def check_libraries(name: str) -> None:
    """Refuses an agent whose libraries are not installed.

    Raises: as `load_agent` and `require_libraries`.
    """
    require_libraries("agent", name, load_agent(name).libraries)


def check_libraries_on(name: str, hyperparameters: Mapping[str, Any], problem: Problem) -> None:
    """Refuses an agent on a problem whose solver, say, needs a library that is not installed.

    Raises: as `make_agent` and `require_libraries`, and as the agent's `libraries_on`.
    """
    require_libraries("agent", name, make_agent(name, hyperparameters).libraries_on(problem))


# What agents and learners share ---------------------------------------------------------------------------------------


def load_class(what: str, name: str, location: str, names: Collection[str], base: type[Named]) -> type[Named]:
    """The class at a location, `module:Class`.

    Args:
        what: it is, for the user: agent, say.
        name: under which it was asked for.
        location: where it is; the name itself where it is registered under none.
        names: all that are registered.
        base: that it is a subclass of, of the package's face.

    Raises:
        UnknownNameError: the location is none.
        DsegymError: it cannot be imported, or is no subclass.
    """
    module, colon, attribute = location.partition(":")
    if not colon:
        raise UnknownNameError(what, name, names)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # a relative or an empty name, or whatever the code there raises
        raise DsegymError(f"Cannot load the {what} '{name}' from '{location}': {reason_of(error)}.") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise DsegymError(f"'{location}' is not a subclass of dsegym.{base.__name__}.")
    return found


def make(kind: type[Named], name: str, hyperparameters: Mapping[str, Any] | None = None) -> Named:
    """An agent or a learner with the given hyperparameters, the rest at their defaults.

    Raises:
        UnknownNameError: an unknown hyperparameter.
        DsegymError: a hyperparameter of the wrong type or out of its range; says what is allowed.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
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
        least, most = kind.ranges.get(key, (-math.inf, math.inf))
        size = len(value) if isinstance(value, str) else value
        if isinstance(size, int | float) and not (abs(size) < math.inf and least <= size <= most):
            unit = "texts of a length" if isinstance(value, str) else "numbers"
            allowed = f"{unit} from {least:g} to {most:g}" if key in kind.ranges else "finite numbers"
            raise InvalidOptionError(f"{name}'s {key}", value, [allowed])
        checked[key] = value
    return kind(**checked)


def require_libraries(what: str, name: str, libraries: Iterable[str]) -> None:
    """Refuses what needs libraries that are not installed.

    Raises:
        MissingLibraryError: names it, the library, and the extra of the package with which it comes.
    """
    for library in libraries:
        try:
            distribution(library)
        except PackageNotFoundError:
            raise MissingLibraryError(
                f"{name} needs the library {library}, which is not installed; those of the shipped {what}s come with: "
                f"pip install 'dsegym[{what}s]'."
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
