"""Warm starts: known designs are samples, the base agent goes on from the best, and what does not fit is refused."""

import contextlib

import numpy as np
import pytest

import dsegym
from dsegym.agents import registry
from dsegym.agents.referee import Referee
from dsegym.agents.warm_start import designs_text
from dsegym.costmodels.errors import BudgetExhausted, DsegymError, UnknownNameError
from dsegym.envs.core.problem import Problem

ALLOCATION = "dsegym/MemoryAllocation-v0"


@pytest.fixture(scope="module")
def allocation() -> Problem:
    return dsegym.make_problem(ALLOCATION, instance="perfect_30_s2")


def searched(problem, budget=60, seed=1, **hyperparameters):
    referee = Referee(problem, budget)
    with contextlib.suppress(BudgetExhausted):
        registry.make_agent("warm_start", hyperparameters).search(referee, seed)
    return referee.samples


@pytest.mark.parametrize("base", ["hill_climb", "genetic_algorithm", "ant_colony", "simulated_annealing"])
def test_a_base_agent_goes_on_from_the_best_design_that_is_given(allocation, base):
    designs = allocation.space.sample(np.random.default_rng(0), 5)
    samples = searched(allocation, base=base, rules="", designs=designs_text(designs))
    np.testing.assert_array_equal(samples.designs[:5], designs)
    best = designs[np.argmin(allocation.evaluate(designs).objective)]
    assert (samples.designs[5:] == best).all(axis=1).any()
    assert len(samples.designs) == 60


def test_rules_come_first_and_each_different_design_costs_one_sample(allocation):
    first = allocation.baselines["area_descending"]()
    samples = searched(allocation, rules="area_descending, start_order", designs=designs_text([first]))
    np.testing.assert_array_equal(samples.designs[0], first)
    np.testing.assert_array_equal(samples.designs[1], allocation.baselines["start_order"]())
    assert not (samples.designs[2] == samples.designs[0]).all() or samples.objective[0] <= samples.objective[1]


def test_with_the_optimum_given_the_search_has_it_in_its_first_sample(allocation):
    samples = searched(allocation, rules="", designs=designs_text([allocation.bound.design]))
    assert samples.objective[0] == allocation.bound.value


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"designs": "0 1 2"}, r"design 1 of 1 is none of this space: it has 3 parameters where the space has 30"),
        ({"designs": " ".join(["30"] * 30)}, "an index that its parameter does not have"),
        ({"designs": "0 1.5"}, "design 1 of 1 is not whole numbers"),
        ({"designs": "-1 0"}, "design 1 of 1 is not whole numbers"),
        ({"rules": ""}, "has nothing to start from: give rules, designs, or both"),
        ({"base": "random_search"}, "random_search has no hyperparameter `start`"),
        ({"rules": "aria_descending"}, "Did you mean 'area_descending'"),
        ({"base": "hillclimb"}, "Did you mean 'hill_climb'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_spent(allocation, hyperparameters, message):
    referee = Referee(allocation, 10)
    with pytest.raises((DsegymError, UnknownNameError), match=message):
        registry.make_agent("warm_start", hyperparameters).search(referee, 1)
    assert referee.samples_left == 10
