"""Every agent: spends its budget, obeys its seed, and takes its hyperparameters from the registry."""

import dataclasses
import sys
import types
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest

from dsegym.agents import registry
from dsegym.agents.base import Agent
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import BudgetExhausted, DsegymError, UnknownNameError

BUDGET = 60
AGENTS = registry.agent_names()
every_agent = pytest.mark.parametrize("name", AGENTS)


def search(problem, name, seed, hyperparameters=None):
    """The samples of one trial."""
    referee = Referee(problem, BUDGET)
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


@every_agent
def test_an_agent_spends_exactly_its_budget(problem, first_search, name):
    samples = first_search(name)
    assert len(samples.designs) == BUDGET
    np.testing.assert_array_equal(problem.space.check(samples.designs), samples.designs)
    np.testing.assert_allclose(samples.objective, problem.evaluate(samples.designs).objective, rtol=1e-6)


@every_agent
def test_the_same_seed_gives_bit_identical_samples(problem, first_search, name):
    again = search(problem, name, 1)
    for column in ("designs", "objective", "feasible"):
        np.testing.assert_array_equal(getattr(first_search(name), column), getattr(again, column))


@every_agent
def test_another_seed_gives_other_samples(problem, first_search, name):
    assert (search(problem, name, 2).designs != first_search(name).designs).any()


@every_agent
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


@pytest.mark.parametrize("name", [name for name in AGENTS if registry.load_agent(name).hyperparameters])
def test_a_drawn_agent_searches_too(problem, name):
    samples = search(problem, name, 3, registry.draw_hyperparameters(name, 1))
    assert len(samples.designs) == BUDGET


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
