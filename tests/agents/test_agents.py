"""Every agent: spends its budget, obeys its seed, and takes its hyperparameters from the registry."""

import ast
import contextlib
import dataclasses
import importlib
import inspect
import sys
import types
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from importlib.util import resolve_name

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.agents import moves, registry
from dsegym.agents.base import Agent
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import BudgetExhausted, DsegymError, UnknownNameError
from dsegym.costmodels.solver import in_turn
from dsegym.envs.core.spaces import DesignSpace, Parameter

BUDGET = 60
FITTED = {
    "expected_hypervolume": 24,
    "noisy_hypervolume": 24,
    "gaussian_process": 16,
    "trust_region": 28,
    "smac": 16,
    "portfolio": 40,
}  # a budget of those that fit a model to each sample
AGENTS = registry.agent_names()
# These ask for a few designs, and nothing of the seed.
DETERMINED = ("heuristic", "packing_search", "exact")  # the last two: test_exact_agents.py
SEARCHERS = [name for name in AGENTS if name not in DETERMINED]
# Seconds a trial, however short: those that fit models, and those whose networks are compiled.
SLOWEST = ({*FITTED} - {"portfolio"}) | {"jax_ppo", "reinforce"}


def by_name(names, mark):
    """Of the slowest agents with this mark."""
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=mark if name in SLOWEST else ()) for name in names]
    )


every_searcher = by_name(SEARCHERS, pytest.mark.slow)
each_in_the_end = by_name(SEARCHERS, pytest.mark.minutes)
every_agent = pytest.mark.parametrize("name", AGENTS)


def search(problem, name, seed, hyperparameters=None):
    """The samples of one trial."""
    referee = Referee(problem, FITTED.get(name, BUDGET))
    with pytest.raises(BudgetExhausted):
        registry.make_agent(name, hyperparameters).search(referee, seed)
    return referee.samples


@pytest.fixture(scope="module")
def first_search(problem):
    """The samples of each agent's trial with seed 1, run once."""
    done = {}

    def samples(name):
        if name not in done:
            done[name] = search(problem, name, 1)
        return done[name]

    return samples


# --- Search -----------------------------------------------------------------------------------------------------------


@every_searcher
def test_an_agent_spends_exactly_its_budget(problem, first_search, name):
    samples = first_search(name)
    assert len(samples.designs) == FITTED.get(name, BUDGET)
    np.testing.assert_array_equal(problem.space.check(samples.designs), samples.designs)
    np.testing.assert_allclose(samples.objective, problem.evaluate(samples.designs).objective, rtol=1e-6)


@every_searcher
def test_the_same_seed_gives_bit_identical_samples(problem, first_search, name):
    again = search(problem, name, 1)
    for column in ("designs", "objective", "feasible"):
        np.testing.assert_array_equal(getattr(first_search(name), column), getattr(again, column))


@each_in_the_end
def test_another_seed_gives_other_samples(problem, first_search, name):
    assert (search(problem, name, 2).designs != first_search(name).designs).any()


@each_in_the_end
def test_the_global_random_state_plays_no_part(problem, first_search, name):
    np.random.seed(12345)  # noqa: NPY002  # what a careless library would draw from
    samples = search(problem, name, 1)
    np.testing.assert_array_equal(samples.designs, first_search(name).designs)


@every_agent
def test_every_listed_hyperparameter_is_a_field_that_takes_its_candidates(name):
    agent = registry.load_agent(name)
    assert agent.name == name
    assert agent.summary
    fields = {field.name for field in dataclasses.fields(agent)}
    for hyperparameter, candidates in agent.hyperparameters.items():
        assert hyperparameter in fields
        for value in candidates:
            assert getattr(registry.make_agent(name, {hyperparameter: value}), hyperparameter) == value


@pytest.mark.slow
@by_name([name for name in SEARCHERS if registry.load_agent(name).hyperparameters], pytest.mark.minutes)
def test_a_drawn_agent_searches_too(problem, name):
    samples = search(problem, name, 3, registry.draw_hyperparameters(name, 1))
    assert len(samples.designs) == FITTED.get(name, BUDGET)


# --- Baselines --------------------------------------------------------------------------------------------------------

LOW = (0,) * 7


@pytest.fixture
def with_baseline(problem):
    """The instance with a heuristic of its own: the smallest design."""
    return dataclasses.replace(problem, baselines={"low": lambda: LOW})


@pytest.mark.parametrize(("hyperparameters", "rule"), [({}, "reference"), ({"rule": "low"}, "low")])
def test_the_heuristic_costs_one_design_and_ends(with_baseline, hyperparameters, rule):
    referee = Referee(with_baseline, BUDGET)
    registry.make_agent("heuristic", hyperparameters).search(referee, 1)
    expected = with_baseline.reference.design if rule == "reference" else LOW
    np.testing.assert_array_equal(referee.samples.designs, [expected])


def test_the_heuristic_called_all_costs_each_different_baseline_once(with_baseline):
    reference = with_baseline.reference.design
    twice = dataclasses.replace(with_baseline, baselines={"low": lambda: LOW, "again": lambda: reference})
    referee = Referee(twice, BUDGET)
    registry.make_agent("heuristic", {"rule": "all"}).search(referee, 1)
    np.testing.assert_array_equal(referee.samples.designs, [reference, LOW])
    own = Referee(dataclasses.replace(with_baseline, baselines={"all": lambda: LOW}), BUDGET)
    registry.make_agent("heuristic", {"rule": "all"}).search(own, 1)
    np.testing.assert_array_equal(own.samples.designs, [LOW])


def test_a_heuristic_that_the_problem_lacks_is_named_with_those_it_has(with_baseline):
    referee = Referee(with_baseline, BUDGET)
    with pytest.raises(UnknownNameError, match=r"'lo'; there are: reference, gemmini-x\d+, low. Did you mean 'low'"):
        registry.make_agent("heuristic", {"rule": "lo"}).search(referee, 1)
    assert referee.samples_left == BUDGET


@pytest.mark.parametrize(("start", "name"), [("reference", "hill_climb"), ("low", "hill_climb"), ("low", "heuristic")])
def test_a_search_begins_at_its_baseline(with_baseline, start, name):
    field = "rule" if name == "heuristic" else "start"
    referee = Referee(with_baseline, 1)
    with contextlib.suppress(BudgetExhausted):
        registry.make_agent(name, {field: start}).search(referee, 1)
    np.testing.assert_array_equal(referee.samples.designs[0], referee.baseline(start))


def test_hill_climbing_begins_at_random_where_it_is_told_to_or_there_is_no_reference_design(with_baseline):
    reference = dataclasses.replace(with_baseline.reference, design=None)
    bare = dataclasses.replace(with_baseline, reference_rule=lambda problem: reference)
    samples = search(bare, "hill_climb", 1)
    np.testing.assert_array_equal(samples.designs, search(with_baseline, "hill_climb", 1, {"start": ""}).designs)
    assert (samples.designs[0] != with_baseline.reference.design).any()
    assert (samples.designs[0] != search(bare, "hill_climb", 2).designs[0]).any()


@pytest.mark.parametrize("name", ["hill_climb", "genetic_algorithm"])
def test_a_start_that_does_not_exist_is_refused_before_anything_is_spent(with_baseline, name):
    referee = Referee(with_baseline, BUDGET)
    with pytest.raises(UnknownNameError, match="Did you mean 'low'"):
        registry.make_agent(name, {"start": "lov"}).search(referee, 1)
    assert referee.samples_left == BUDGET


def test_hill_climbing_is_never_worse_than_its_start_and_escapes_local_optima(problem):
    referee = Referee(problem, 2000)
    with pytest.raises(BudgetExhausted):
        registry.make_agent("hill_climb").search(referee, 0)
    samples = referee.samples
    assert samples.objective[0] == problem.reference.value
    score = (problem.reference.value - samples.objective[samples.best]) / (
        problem.reference.value - problem.bound.value
    )
    assert score > 0.9


@given(st.integers(0, 2**32 - 1), st.floats(1.0, 9.0))
@settings(max_examples=30, deadline=None)
def test_every_mutant_is_a_design_of_the_space_that_differs_where_there_is_a_choice(seed, changes):
    space = DesignSpace(
        (
            Parameter("one", (5,)),
            Parameter("two", (1, 2)),
            Parameter("many", tuple(range(40))),
            Parameter("kind", ("a", "b", "c"), ordered=False),
        )
    )
    generator = np.random.default_rng(seed)
    design = space.sample(generator, 1)[0]
    mutants = moves.mutate(space, design, 50, changes, generator)
    np.testing.assert_array_equal(space.check(mutants), mutants)
    differ = (mutants != design).sum(axis=1)
    assert (differ >= 1).all()
    assert (differ <= 3).all()
    assert (mutants[:, 0] == 0).all()
    if changes == 1.0:
        assert (differ == 1).all()


def test_mutants_change_as_many_parameters_as_asked_for_on_average_and_reach_every_value():
    space = DesignSpace(tuple(Parameter(f"p{i}", tuple(range(9))) for i in range(100)))
    design = np.full(100, 8, np.int32)
    mutants = moves.mutate(space, design, 20_000, 4.0, np.random.default_rng(0))
    assert (mutants != design).sum(axis=1).mean() == pytest.approx(4.0, rel=0.05)
    assert set(np.unique(mutants)) == set(range(9))


def test_a_genetic_algorithm_takes_a_baseline_into_its_first_population(with_baseline):
    samples = search(with_baseline, "genetic_algorithm", 1, {"start": "low"})
    plain = search(with_baseline, "genetic_algorithm", 1)
    np.testing.assert_array_equal(samples.designs[0], LOW)
    np.testing.assert_array_equal(samples.designs[1:50], plain.designs[1:50])


# --- Declarations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_the_registrys_line_on_an_agent_is_the_agents_own(name):
    assert registry.agent_summary(name) == registry.load_agent(name).summary
    assert registry.agent_needs(name) == registry.load_agent(name).needs


@every_agent
def test_every_library_and_need_that_an_agent_declares_exists(name, problem):
    registry.check_libraries(name)
    solvers = {"packing_search": in_turn(lambda: LOW)}  # this instance has all else that agents may need
    registry.check_needs(name, dataclasses.replace(problem, solvers=solvers, parts=((0,),)))


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_an_agent_declares_every_library_that_it_imports(name):
    """Beside those that dsegym itself depends on."""
    agent = registry.load_agent(name)
    nodes, left, seen = [], [agent.__module__], {"dsegym.agents.referee", "dsegym.agents.registry"}
    while left:  # the agent's module, and what agents and learners share
        module = left.pop()
        if module in seen or not module.startswith("dsegym.agents."):
            continue
        seen.add(module)
        found = importlib.import_module(module)
        own = list(ast.walk(ast.parse(inspect.getsource(found))))
        nodes += own
        relative = [node for node in own if isinstance(node, ast.ImportFrom) and node.level]
        left += [resolve_name("." * node.level + (node.module or ""), found.__package__) for node in relative]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    ours = {"gymnasium", "numpy", "jax", "scipy"}
    roots = {module.partition(".")[0] for module in imported} - set(sys.stdlib_module_names) - ours
    own = agent.libraries if name != "portfolio" else ()  # its members import theirs
    assert {library.replace("-", "_") for library in own} == roots


def test_an_agent_without_its_library_is_refused_by_name(other_package, monkeypatch):
    monkeypatch.setattr(FirstDesign, "libraries", ("no-such-library",))
    with pytest.raises(DsegymError, match=r"FirstDesign needs the library no-such-library, which is not installed"):
        registry.check_libraries("other_package:FirstDesign")


def test_an_agent_is_refused_where_the_problem_lacks_what_it_needs(problem):
    bare = dataclasses.replace(problem, relaxation=None)
    with pytest.raises(DsegymError, match=r"^gradient_descent needs a relaxation, and dsegym/.* has none\.$"):
        registry.check_needs("gradient_descent", bare)
    registry.check_needs("ppo", bare)
    unplayable = dataclasses.replace(problem, forms={})
    with pytest.raises(DsegymError, match="ppo needs a replayable form"):
        registry.check_needs("ppo", unplayable)


def test_a_need_that_does_not_exist_names_the_nearest(problem, other_package, monkeypatch):
    monkeypatch.setattr(FirstDesign, "needs", ("relaxations",))
    with pytest.raises(UnknownNameError, match="Did you mean 'relaxation'"):
        registry.check_needs("other_package:FirstDesign", problem)


# --- Hyperparameters --------------------------------------------------------------------------------------------------


@every_agent
def test_draws_are_deterministic_and_draw_zero_is_the_defaults(name):
    assert registry.draw_hyperparameters(name, 0) == {}
    candidates = registry.load_agent(name).hyperparameters
    draws = [registry.draw_hyperparameters(name, draw) for draw in range(1, 9)]
    assert draws == [registry.draw_hyperparameters(name, draw) for draw in range(1, 9)]
    for draw in draws:
        assert set(draw) == set(candidates)
        assert all(value in candidates[key] for key, value in draw.items())
    if candidates:
        assert len({tuple(draw.values()) for draw in draws}) > 1


def test_an_unknown_hyperparameter_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'population_size'"):
        registry.make_agent("genetic_algorithm", {"population_sise": 20})
    with pytest.raises(UnknownNameError, match="hyperparameter of random_search"):
        registry.make_agent("random_search", {"population_size": 20})


@pytest.mark.parametrize("value", ["20", 20.0, True, None])
def test_a_hyperparameter_of_the_wrong_type_is_refused(value):
    with pytest.raises(DsegymError, match=r"population_size = .* it takes int \(default 50\)"):
        registry.make_agent("genetic_algorithm", {"population_size": value})


def test_a_whole_number_will_do_for_a_real_one():
    agent = registry.make_agent("genetic_algorithm", {"crossover_eta": 10})
    assert agent.crossover_eta == 10.0
    assert type(agent.crossover_eta) is float


# --- Names ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FirstDesign(Agent):
    """An agent of another package: costs one design, then stops of its own accord."""

    index: int = 0

    name = "first_design"
    summary = "one design"

    def search(self, referee, seed):
        referee.evaluate(np.full(len(referee.space), self.index))


@pytest.fixture
def other_package(monkeypatch):
    """A module of another package that holds an agent and something that is none."""
    module = types.ModuleType("other_package")
    module.FirstDesign, module.NotAnAgent = FirstDesign, dict
    monkeypatch.setitem(sys.modules, "other_package", module)


def test_an_unknown_agent_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'random_search'"):
        registry.load_agent("random_serch")


def test_an_agent_is_loaded_by_module_and_class(problem, other_package):
    agent = registry.make_agent("other_package:FirstDesign", {"index": 1})
    referee = Referee(problem, 10)
    agent.search(referee, 0)
    np.testing.assert_array_equal(referee.samples.designs, [[1] * 7])


@pytest.mark.parametrize("location", ["no_such_module:Agent", "other_package:NoSuchClass"])
def test_an_agent_that_cannot_be_imported_is_reported(other_package, location):
    with pytest.raises(DsegymError, match="Cannot load the agent"):
        registry.load_agent(location)


def test_a_class_that_is_no_agent_is_refused(other_package):
    with pytest.raises(DsegymError, match="not a subclass"):
        registry.load_agent("other_package:NotAnAgent")


def test_an_entry_point_adds_a_name_and_cannot_replace_a_built_in_one(other_package, monkeypatch):
    points = EntryPoints(
        EntryPoint(name, "other_package:FirstDesign", registry.ENTRY_POINT_GROUP)
        for name in ("first_design", "random_search")
    )
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))
    registry._locations.cache_clear()
    try:
        assert registry.agent_names()[-1] == "first_design"
        assert registry.load_agent("first_design") is FirstDesign
        assert registry.load_agent("random_search").__name__ == "RandomSearch"
    finally:
        registry._locations.cache_clear()


def test_agents_that_are_given_rules_begin_with_their_designs(problem):
    rules = {tuple(problem.baselines[name]()) for name in problem.baselines}
    settings = {"heuristic": {"rule": "all"}, "portfolio": {"members": "hill_climb"}, "warm_start": None}
    assert settings.keys() == registry.PLAY_RULES
    for name, hyperparameters in settings.items():
        referee = Referee(problem, len(rules) + 1)
        with contextlib.suppress(BudgetExhausted):
            registry.make_agent(name, hyperparameters).search(referee, 1)
        assert set(map(tuple, referee.samples.designs[: len(rules)].tolist())) == rules, name
