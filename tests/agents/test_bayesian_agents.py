"""Bayesian optimisers: each is its library's, finds what is to be found, and stops where the space ends."""

import contextlib
import math
from types import SimpleNamespace

import numpy as np
import pytest

import dsegym
from dsegym.agents import registry
from dsegym.agents.referee import Referee
from dsegym.agents.trust_region import _log_improvement
from dsegym.costmodels.errors import BudgetExhausted
from dsegym.envs.core.evaluation import Evaluation
from dsegym.envs.core.spaces import DesignSpace, Parameter

pytest.importorskip("botorch", reason="the Bayesian agents' libraries are not installed")
pytest.importorskip("smac", reason="the Bayesian agents' libraries are not installed")
BAYESIAN = ("gaussian_process", "trust_region", "smac")


def searched(problem, name, samples, seed=0, **hyperparameters):
    referee = Referee(problem, samples)
    with contextlib.suppress(BudgetExhausted):
        registry.make_agent(name, hyperparameters).search(referee, seed)
    return referee.samples


@pytest.fixture(scope="module")
def schedule():
    """Twenty parameters, half of them without an order."""
    return dsegym.make_problem("dsegym/SocSchedulingStatic-v0")


@pytest.mark.slow
def test_the_gaussian_process_draws_the_samples_of_a_plain_optuna_script(problem):
    import optuna

    space = problem.space
    sampler = optuna.samplers.GPSampler(seed=5, deterministic_objective=True)
    study, designs = optuna.create_study(sampler=sampler), []
    for _ in range(14):
        trial = study.ask()
        designs.append(
            [
                trial.suggest_int(p.name, 0, len(p.values) - 1)
                if p.ordered
                else trial.suggest_categorical(p.name, range(len(p.values)))
                for p in space.parameters
            ]
        )
        found = problem.evaluate(designs[-1])
        trial.set_constraint("violation", float(found.violation[0]))
        study.tell(trial, math.log(found.unpenalised[0]))
    np.testing.assert_array_equal(searched(problem, "gaussian_process", 14, 5).designs, designs)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "samples"), [("nsga3", 60), ("expected_hypervolume", 14)])
@pytest.mark.filterwarnings("ignore")  # of samplers that Optuna calls experimental
def test_a_search_of_several_costs_draws_the_samples_of_a_plain_optuna_script(problem, name, samples):
    import optuna

    if name == "nsga3":
        sampler, scale, given = (
            optuna.samplers.NSGAIIISampler(population_size=10, seed=5),
            float,
            {"population_size": 10},
        )
    else:
        sampler, scale = optuna.samplers.GPSampler(seed=5, deterministic_objective=True), math.log
        given = {"startup_samples": 10}
    study, designs = optuna.create_study(sampler=sampler, directions=["minimize"] * 2), []
    for _ in range(samples):
        trial = study.ask()
        designs.append(
            [
                trial.suggest_int(p.name, 0, len(p.values) - 1)
                if p.ordered
                else trial.suggest_categorical(p.name, range(len(p.values)))
                for p in problem.space.parameters
            ]
        )
        found = problem.evaluate(designs[-1])
        trial.set_constraint("violation", float(found.violation[0]))
        study.tell(trial, [scale(float(found.metrics.latency_s[0])), scale(float(found.metrics.energy_j[0]))])
    drawn = searched(problem, name, samples, 5, metrics="latency_s,energy_j", **given)
    np.testing.assert_array_equal(drawn.designs, designs)


@pytest.mark.slow
def test_a_gaussian_process_goes_on_when_it_forgets(problem):
    samples = searched(problem, "gaussian_process", 24, startup_samples=6, training=8)
    assert len(samples.designs) == 24
    first = searched(problem, "gaussian_process", 10, startup_samples=6)
    np.testing.assert_array_equal(samples.designs[:10], first.designs)  # nothing is forgotten yet


@pytest.mark.slow
def test_smac_draws_the_samples_of_a_plain_smac_script(problem, tmp_path):
    from smac import HyperparameterOptimizationFacade, Scenario

    space, designs = problem.space, []

    def cost(config, seed=0):
        designs.append([config[name] for name in space.names])
        return math.log(problem.evaluate(designs[-1]).objective[0])

    scenario = Scenario(space.to_configspace(5), output_directory=tmp_path, deterministic=True, n_trials=16, seed=5)
    HyperparameterOptimizationFacade(scenario, cost, logging_level=False, overwrite=True).optimize()
    np.testing.assert_array_equal(searched(problem, "smac", 16, 5).designs, designs)


def test_the_log_of_the_expected_improvement_is_botorchs():
    import torch
    from botorch.acquisition.analytic import _log_ei_helper

    hope = np.concatenate([-np.geomspace(1e3, 1e-6, 60), [0.0], np.geomspace(1e-6, 30, 30)])
    np.testing.assert_allclose(_log_improvement(hope), _log_ei_helper(torch.as_tensor(hope)).numpy(), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trust_region", "smac"])
def test_a_space_that_has_been_costed_whole_ends_the_search(name):
    space = DesignSpace((Parameter("size", (1, 2, 4)), Parameter("kind", ("a", "b", "c"), ordered=False)))

    def ask(question, designs):
        assert question == "evaluate"
        objective = 1.0 + abs(designs[:, 0] - 1) + (designs[:, 1] != 2)
        asked.extend(map(tuple, designs.tolist()))
        return Evaluation(None, objective, np.ones(len(designs), bool), np.zeros(len(designs)), objective)

    asked = []
    registry.make_agent(name, {"startup_samples": 2}).search(Referee.of(ask, space, 50), 0)
    assert len(set(asked)) == space.size


@pytest.mark.slow
@pytest.mark.parametrize("name", BAYESIAN)
def test_an_objective_of_0_ends_no_search(name):
    space = DesignSpace((Parameter("size", tuple(range(64))), Parameter("kind", ("a", "b", "c"), ordered=False)))

    def ask(question, designs):
        if len(asked) >= 5:
            raise BudgetExhausted
        objective = np.maximum(designs[:, 0] - 40.0, 0.0)  # 0: a share of failures where nothing fails
        asked.extend(objective.tolist())
        return Evaluation(None, objective, np.ones(len(designs), bool), np.zeros(len(designs)), objective)

    asked = []
    with contextlib.suppress(BudgetExhausted):
        registry.make_agent(name, {"startup_samples": 2}).search(Referee.of(ask, space, 5), 0)
    assert len(asked) >= 5  # it went on after the first 0
    assert 0.0 in asked[:-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trust_region", pytest.param("smac", marks=pytest.mark.slow)])
def test_unordered_parameters_and_orders_of_tasks_are_searched_too(schedule, name):
    samples = searched(schedule, name, 32)
    assert len(samples.designs) == 32
    assert len(np.unique(samples.designs, axis=0)) == 32


@pytest.mark.minutes
@pytest.mark.parametrize("name", BAYESIAN)
def test_it_beats_random_search_at_equal_samples(problem, name):
    best = searched(problem, name, 100).objective.min()
    assert best < min(searched(problem, "random_search", 100, seed).objective.min() for seed in range(10))


def test_the_kernel_is_squared_exponential_in_places_and_asks_of_unordered_values_whether_they_are_the_same():
    """Few values and many, of which the encodings differ, against the formula in NumPy; with its slopes."""
    import torch

    from dsegym.agents.discrete_processes import encoding, process

    many = tuple(f"v{i}" for i in range(100))
    space = DesignSpace(
        (
            Parameter("size", tuple(range(11))),
            Parameter("kind", ("a", "b", "c"), ordered=False),
            Parameter("order", many, ordered=False),
            Parameter("one", (1,)),
        )
    )
    generator = np.random.default_rng(0)
    designs, others = space.sample(generator, 7), space.sample(generator, 5)
    others[0] = designs[0]
    coding = encoding(space)
    assert coding.encode(designs).shape == (7, 1 + 3 + 1 + 1)
    model = process(coding.encode(designs), generator.random(7), coding, lengths=None, fit=False)
    kernel = model.covar_module
    lengths = np.array([0.3, 0.7, 1.1, 2.0])
    kernel.base.lengthscale = torch.tensor(lengths)
    distance = (designs[:, None] - others[None]) / [10, 1, 1, 1]
    distance[..., 1:3] = designs[:, None, 1:3] != others[None, :, 1:3]
    expected = np.exp(-((distance / lengths) ** 2).sum(axis=-1) / 2)
    first, second = coding.encode(designs), coding.encode(others)
    found = kernel(first, second).to_dense()
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(kernel(first, first, diag=True).detach().numpy(), np.ones(7), rtol=1e-12)
    batches = kernel(first.expand(3, 7, -1), second.expand(3, 5, -1)).to_dense()
    np.testing.assert_allclose(batches.detach().numpy(), np.stack([expected] * 3), rtol=1e-12)
    found.sum().backward()
    raw, step = kernel.base.raw_lengthscale, 1e-5
    for place, slope in enumerate(raw.grad.ravel().tolist()):
        sums = []
        for change in (step, -step):
            with torch.no_grad():
                raw[0, place] += change
                sums.append(float(kernel(first, second).to_dense().sum()))
                raw[0, place] -= change
        assert slope == pytest.approx((sums[0] - sums[1]) / (2 * step), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", ["trust_region", "noisy_hypervolume"])
def test_a_space_of_orders_alone_is_searched(name):
    """Each parameter has more unordered values than become columns."""
    space = DesignSpace(tuple(Parameter(f"order_{i}", tuple(range(100)), ordered=False) for i in range(2)))
    costed = []

    def ask(question, designs=None):
        if question == "front":
            return ("first", "second")
        costed.extend(designs.tolist())
        if len(costed) > 12:
            raise BudgetExhausted("spent")
        first = 1.0 + designs[:, 0]
        metrics = SimpleNamespace(first=first, second=101.0 - designs[:, 0] + designs[:, 1])
        return Evaluation(metrics, first, np.ones(len(designs), bool), np.full(len(designs), -1.0), first)

    with pytest.raises(BudgetExhausted):
        registry.make_agent(name, {"startup_samples": 4, "batch": 2}).search(Referee.of(ask, space, 12), 0)


def test_a_trust_region_begins_at_its_baseline(problem):
    samples = searched(problem, "trust_region", 3, start="reference")
    np.testing.assert_array_equal(samples.designs[0], problem.reference.design)


SPACE = DesignSpace((Parameter("rows", tuple(range(12))), Parameter("kind", ("a", "b", "c", "d"), ordered=False)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gaussian_process", "trust_region", pytest.param("smac", marks=pytest.mark.slow)])
@pytest.mark.parametrize("every", [False, True])
def test_a_cost_that_is_no_number_does_not_pass_for_the_least(name, every):
    """A third of the designs has no number, or all have none."""
    asked = []

    def ask(question, designs):
        assert question == "evaluate"
        asked.extend(designs[:, 0].tolist())
        if len(asked) > 36:
            raise BudgetExhausted("spent")
        objective = np.where(every | (designs[:, 0] > 7), np.nan, 1.0 + abs(designs[:, 0] - 5) + designs[:, 1])
        return Evaluation(None, objective, np.isfinite(objective), np.zeros(len(designs)), objective)

    with contextlib.suppress(BudgetExhausted):
        registry.make_agent(name, {"startup_samples": 4}).search(Referee.of(ask, SPACE, 36), 0)
    assert len(asked) >= 36
    assert every or 5 in asked


@pytest.mark.slow
def test_the_noisy_hypervolume_begins_at_its_baseline_and_costs_no_design_twice(problem):
    samples = searched(problem, "noisy_hypervolume", 14, startup_samples=6, start="reference")
    np.testing.assert_array_equal(samples.designs[0], problem.reference.design)
    assert len(np.unique(samples.designs, axis=0)) == 14


@pytest.mark.slow
@pytest.mark.parametrize("broken", [0, 3, 12])
def test_several_costs_are_searched_until_the_space_ends_even_where_costs_are_no_numbers(broken):
    """Of two costs whose front is known: the sum of both is least for every kind but the last."""
    space = DesignSpace((Parameter("size", (1, 2, 4)), Parameter("kind", ("a", "b", "c", "d"), ordered=False)))
    asked = []

    def ask(question, *designs):
        if question == "front":
            return ("first", "second")
        asked.extend(map(tuple, designs[0].tolist()))
        costs = np.stack([1.0 + designs[0][:, 0], 4.0 - designs[0][:, 0] + designs[0][:, 1]])
        costs[:, np.arange(len(asked) - len(designs[0]), len(asked)) < broken] = np.nan
        metrics = SimpleNamespace(first=costs[0], second=costs[1])
        return Evaluation(metrics, costs[0], designs[0][:, 1] < 3, np.where(designs[0][:, 1] < 3, -1.0, 1.0), costs[0])

    given = {"startup_samples": 4, "batch": 3}
    registry.make_agent("noisy_hypervolume", given).search(Referee.of(ask, space, 50), 0)
    assert len(set(asked)) == space.size


@pytest.mark.slow
def test_the_noisy_hypervolume_dominates_more_than_random_designs(problem):
    from dsegym.experiments.scoring.fronts import front_of

    def volume(name, seed):
        return front_of(problem, searched(problem, name, 60, seed).designs, problem.front).hypervolume

    assert min(volume("noisy_hypervolume", seed) for seed in (0, 1)) > max(
        volume("random_search", seed) for seed in (0, 1)
    )
