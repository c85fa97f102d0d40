"""Samplers, local searches and evolutions: each finds what is to be found, and is its library's where it has one."""

import collections
import contextlib
import dataclasses

import numpy as np
import pytest

from dsegym.agents import registry
from dsegym.agents.ant_colony import AntColony
from dsegym.agents.base import NEEDS
from dsegym.agents.block_local_search import _choices
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import BudgetExhausted, DsegymError, InvalidDesignError
from dsegym.envs.core.evaluation import Evaluation
from dsegym.envs.core.spaces import DesignSpace, Parameter

SAMPLERS = ("sobol", "latin_hypercube", "exhaustive")
SEARCHES = (
    "simulated_annealing",
    "block_local_search",
    "regularised_evolution",
    "ant_colony",
    "differential_evolution",
    "cma_es",
)
every_agent = pytest.mark.parametrize("name", [*SAMPLERS, *SEARCHES])
every_search = pytest.mark.parametrize("name", SEARCHES)

# Two kinds of parameters, some without a choice; 5,760 designs.
SPACE = DesignSpace(
    (
        Parameter("fixed", (3,)),
        Parameter("rows", tuple(range(12))),
        Parameter("columns", tuple(range(10))),
        Parameter("flow", ("a", "b", "c", "d"), ordered=False),
        Parameter("buffer", tuple(range(6))),
        Parameter("sparse", ("no", "yes"), ordered=False),
    )
)
BEST = np.array([0, 7, 2, 2, 4, 1])


class Game:
    """A referee over a NumPy function, without a cost model: what it was asked, and how large the batches were."""

    def __init__(self, cost, budget, space=SPACE):
        self.designs, self.batches, self.budget = np.zeros((0, len(space)), int), [], budget
        self._cost = cost
        self.referee = Referee.of(self._answer, space, budget)

    def _answer(self, question, *arguments):
        if question == "baselines":
            return ()
        assert question == "evaluate", question
        left = self.budget - len(self.designs)
        designs = arguments[0][:left]
        self.designs = np.concatenate([self.designs, designs])
        self.batches.append(len(arguments[0]))
        if len(arguments[0]) > left:
            raise BudgetExhausted("The budget is spent.")
        objective = self._cost(designs)
        return Evaluation(None, objective, np.isfinite(objective), np.zeros(len(designs)), objective)

    def search(self, name, seed=0, **hyperparameters):
        with contextlib.suppress(BudgetExhausted):
            registry.make_agent(name, hyperparameters).search(self.referee, seed)
        return self


def distance(designs):
    """Convex in the ordered parameters, with a category that matters and one that does only beside it."""
    off = np.abs(designs - BEST)
    return 1.0 + off[:, 1] + off[:, 2] + 4 * (off[:, 3] > 0) + off[:, 4] + 2 * (off[:, 5] > 0) * (off[:, 3] == 0)


# --- What they find ---------------------------------------------------------------------------------------------------


@every_search
@pytest.mark.parametrize("seed", range(3))
def test_a_search_finds_the_optimum_of_a_toy_space(name, seed):
    game = Game(distance, 2000).search(name, seed)
    assert (game.designs == BEST).all(axis=1).any()


def test_exhaustive_search_costs_every_design_once_and_ends():
    game = Game(distance, SPACE.size + 100).search("exhaustive", 3)
    assert len(game.designs) == SPACE.size == len(np.unique(game.designs, axis=0))
    assert (game.designs[:50] != Game(distance, 50).search("exhaustive", 4).designs).any()


def test_a_space_with_many_parameters_without_a_choice_is_numbered():
    space = DesignSpace((*(Parameter(f"p{i}", (1,)) for i in range(80)), Parameter("two", (1, 2))))
    game = Game(lambda designs: designs[:, -1].astype(float), 9, space).search("exhaustive")
    assert sorted(game.designs[:, -1]) == [0, 1]
    np.testing.assert_array_equal(space.enumerate(1, 2)[0], [0] * 80 + [1])


@pytest.mark.parametrize(("name", "count"), [("sobol", 64), ("latin_hypercube", 60)])
def test_a_sampler_takes_every_value_as_often(name, count):
    """Of a power of two points a Sobol' sequence; of any number a hypercube."""
    space = DesignSpace((Parameter("four", (1, 2, 3, 4)), Parameter("two", ("a", "b"), ordered=False)))
    designs = Game(lambda designs: np.ones(len(designs)), count, space).search(name).designs
    assert set(collections.Counter(designs[:, 0]).values()) == {count // 4}
    assert set(collections.Counter(designs[:, 1]).values()) == {count // 2}


# --- What they are told -----------------------------------------------------------------------------------------------


@every_agent
@pytest.mark.parametrize("value", [np.inf, np.nan, 1.0])
def test_a_search_among_costs_that_say_nothing_spends_its_budget(name, value):
    game = Game(lambda designs: np.full(len(designs), value), 300).search(name)
    assert len(game.designs) == 300


@pytest.mark.parametrize("name", [*SEARCHES, "hill_climb", "genetic_algorithm", "tpe"])
def test_a_cost_that_is_no_number_does_not_pass_for_the_least(name):
    """The half of the designs without a number must not be where the search goes."""

    def cost(designs):
        return np.where(designs[:, 1] > 7, np.nan, distance(designs))

    designs = Game(cost, 400).search(name, 1).designs
    assert (designs[-100:, 1] > 7).mean() < 0.3  # a third of the designs are so
    assert np.nanmin(cost(designs)) < 4


def test_the_best_sample_is_one_with_a_number(problem):
    referee = Referee(problem, 5)
    referee.evaluate(problem.space.sample(np.random.default_rng(0), 5))
    samples = referee.samples._replace(objective=np.array([np.nan, 3, 2, np.nan, 4]), feasible=np.ones(5, bool))
    assert samples.best == 2
    assert samples._replace(objective=np.full(5, np.nan)).best is None


@every_search
def test_batches_are_as_large_as_the_method_allows(name):
    batches = Game(distance, 2000).search(name).batches
    assert np.mean(batches) >= {"block_local_search": 4}.get(name, 7)


@every_agent
@pytest.mark.parametrize("budget", [1, 2, 3])
def test_a_budget_below_a_population_is_spent(name, budget):
    assert len(Game(distance, budget).search(name).designs) == budget


def test_a_space_of_one_design_ends_every_search():
    one = DesignSpace((Parameter("fixed", (3,)),))
    for name in (*SAMPLERS, *SEARCHES):
        game = Game(lambda designs: np.ones(len(designs)), 20, one).search(name)
        assert 1 <= len(game.designs) <= 20, name


@pytest.mark.parametrize("name", ["exhaustive", "sobol"])
def test_a_space_that_does_not_suit_is_refused_before_the_run(problem, name):
    registry.check_needs(name, problem)
    huge = DesignSpace(tuple(Parameter(f"p{i}", (1, 2)) for i in range(21_202)))
    with pytest.raises(DsegymError, match=rf"^{name} needs a space of at most [\d,]+ (designs|parameters), and "):
        registry.check_needs(name, dataclasses.replace(problem, space=huge))
    assert set(registry.load_agent(name).needs) <= set(NEEDS)


@pytest.mark.parametrize(
    ("name", "hyperparameter", "value"),
    [
        ("simulated_annealing", "acceptance", 1.0),
        ("simulated_annealing", "chains", 0),
        ("ant_colony", "evaporation", 0.0),
        ("ant_colony", "greediness", 1.5),
        ("differential_evolution", "population_size", 3),
        ("cma_es", "population", 0.5),
        ("regularised_evolution", "tournament", 0),
        ("block_local_search", "block", 0),
        ("latin_hypercube", "points", 0),
    ],
)
def test_a_hyperparameter_out_of_range_is_refused_with_what_is_allowed(name, hyperparameter, value):
    with pytest.raises(DsegymError, match=f"{name}'s {hyperparameter} .* allowed: numbers from "):
        registry.make_agent(name, {hyperparameter: value})


# --- How they move ----------------------------------------------------------------------------------------------------


def test_a_block_is_enumerated_where_the_batch_has_room_and_never_holds_the_design_itself():
    generator = np.random.default_rng(0)
    design = np.array([0, 5, 5, 1, 3, 0], np.int32)
    all_of_them = _choices(SPACE, design, np.array([3, 5]), 7, generator)
    assert len(all_of_them) == 7 == len(np.unique(all_of_them, axis=0))
    some = _choices(SPACE, design, np.array([1, 2, 4]), 50, generator)
    assert len(some) == 50
    for tried, block in ((all_of_them, [3, 5]), (some, [1, 2, 4])):
        held = np.setdiff1d(np.arange(6), block)
        assert (tried[:, held] == design[held]).all()
        assert (tried != design).any(axis=1).all()
        np.testing.assert_array_equal(SPACE.check(tried), tried)


def test_ants_choose_in_proportion_to_the_pheromone():
    counts = np.array([1, 3, 2])
    pheromone = np.array([1.0, 0.6, 0.3, 0.1, 1.0, 0.25])
    arguments = pheromone, np.array([0, 1, 4]), counts, np.repeat(np.arange(3), counts)
    ants = AntColony(ants=40_000)._ants(*arguments, np.random.default_rng(0))
    assert (ants[:, 0] == 0).all()
    np.testing.assert_allclose(np.bincount(ants[:, 1]) / 40_000, [0.6, 0.3, 0.1], atol=0.01)
    np.testing.assert_allclose(np.bincount(ants[:, 2]) / 40_000, [0.8, 0.2], atol=0.01)
    greedy = AntColony(ants=100, greediness=1.0)._ants(*arguments, np.random.default_rng(0))
    assert (greedy == 0).all()


def test_annealing_takes_worse_designs_early_and_hardly_any_late():
    """Counted where a chain stands: the design of which most of the next moves keep all but a few parameters."""
    trace = Game(distance, 4000).search("simulated_annealing", 2, chains=1, changes=1.0, acceptance=0.5)
    costs = distance(trace.designs)
    assert costs[500:1000].mean() > costs[-500:].mean() + 1


# --- Their libraries' -------------------------------------------------------------------------------------------------


def test_sobol_draws_the_points_of_a_plain_scipy_script():
    from scipy.stats import qmc

    points = qmc.Sobol(6, rng=7).random(128)
    np.testing.assert_array_equal(
        Game(distance, 128).search("sobol", 7).designs, np.floor(points * SPACE.cardinalities)
    )


def test_latin_hypercubes_are_those_of_a_plain_scipy_script():
    from scipy.stats import qmc

    hypercube = qmc.LatinHypercube(6, rng=7)
    points = np.concatenate([hypercube.random(50), hypercube.random(50)])
    found = Game(distance, 100).search("latin_hypercube", 7, points=50).designs
    np.testing.assert_array_equal(found, np.floor(points * SPACE.cardinalities))


def test_differential_evolution_draws_the_samples_of_a_plain_pymoo_script():
    from pymoo.algorithms.soo.nonconvex.de import DE
    from pymoo.core.problem import Problem
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    designs = []

    class Plain(Problem):
        def __init__(self):
            super().__init__(n_var=6, n_obj=1, xl=np.zeros(6), xu=SPACE.cardinalities - 1, vtype=int)

        def _evaluate(self, x, out, *args, **kwargs):
            designs.append(x)
            out["F"] = distance(x)[:, None]

    algorithm = DE(pop_size=20, sampling=IntegerRandomSampling(), F=0.5, CR=0.5, repair=RoundingRepair())
    first_seed = int(np.random.SeedSequence([5, 0]).generate_state(1)[0])  # of the first of the agent's restarts
    minimize(Plain(), algorithm, ("n_gen", 5), seed=first_seed)
    found = Game(distance, 100).search("differential_evolution", 5, population_size=20).designs
    np.testing.assert_array_equal(found, np.concatenate(designs))


def test_cma_es_draws_the_samples_of_a_plain_cmaes_script():
    from cmaes import CatCMAwM

    ordered, categories = [1, 2, 4], [3, 5]
    optimiser = CatCMAwM(
        z_space=[np.arange(n) / (n - 1) for n in (12, 10, 6)],
        c_space=[4, 2],
        sigma=2.0,
        seed=int(np.random.SeedSequence([5, 0]).generate_state(1)[0]),
    )
    designs = []
    for _ in range(12):
        told = []
        for _ in range(optimiser.population_size):
            solution = optimiser.ask()
            design = np.zeros(6, int)
            design[ordered] = np.rint(solution.z * [11, 9, 5])
            design[categories] = [int(np.flatnonzero(row)[0]) for row in solution.c]
            designs.append(design)
            told.append((solution, distance(design[None])[0]))
        optimiser.tell(told)
    np.testing.assert_array_equal(Game(distance, len(designs)).search("cma_es", 5).designs, designs)


def test_designs_are_checked_before_they_are_costed():
    with pytest.raises(InvalidDesignError):
        Game(distance, 5).referee.costs([[0, 12, 0, 0, 0, 0]])
