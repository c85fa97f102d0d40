"""Agents that learn in JAX: what the referee plays for them is what counts, in every form."""

import contextlib

import numpy as np
import pytest

import dsegym
from dsegym.agents import registry
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import BudgetExhausted, DsegymError

LEARNING = ("jax_ppo", "reinforce")
every_one = pytest.mark.parametrize("name", LEARNING)


def searched(problem, name, samples, seed=0, **hyperparameters):
    referee = Referee(problem, samples)
    with contextlib.suppress(BudgetExhausted):
        registry.make_agent(name, hyperparameters).search(referee, seed)
    return referee.samples


@pytest.mark.slow
@every_one
def test_the_form_of_one_choice_a_step_is_played_and_counted(problem, name):
    samples, again = (searched(problem, name, 70, 3, form="sequential") for _ in range(2))
    assert len(samples.designs) == 70
    np.testing.assert_array_equal(samples.designs, again.designs)
    np.testing.assert_allclose(samples.objective, problem.evaluate(samples.designs).objective, rtol=1e-6)


@pytest.mark.slow
def test_each_update_of_reinforce_begins_with_the_greedy_design(problem, monkeypatch):
    """The likeliest design of a policy that has learned nothing since is the same again."""
    rollout, lanes = Referee.rollout, []

    def watched(self, policy, variables, count, steps, key, form):
        lanes.append((count, steps))
        return rollout(self, policy, variables, count, steps, key, form)

    monkeypatch.setattr(Referee, "rollout", watched)
    samples = searched(problem, "reinforce", 32, lanes=7)
    assert lanes[:4] == [(1, 1), (7, 1)] * 2
    assert len(np.unique(samples.designs[1:8], axis=0)) > 1


@every_one
def test_a_form_of_pictures_is_refused(name):
    mapping = dsegym.make_problem("dsegym/MemoryMapping-v0", program="mlp_tiny", capacity=0.5)
    with pytest.raises(DsegymError, match="take observations that are vectors"):
        searched(mapping, name, 4, form="image")


@pytest.mark.slow
@every_one
def test_a_problem_without_a_one_shot_form_is_searched_in_its_first(name):
    mapping = dsegym.make_problem("dsegym/MemoryMapping-v0", program="mlp_tiny", capacity=0.5)
    samples = searched(mapping, name, 20, lanes=4)
    assert len(samples.designs) == 20
    assert len(np.unique(samples.designs, axis=0)) > 1


@pytest.mark.slow
@every_one
def test_what_it_designs_late_is_cheaper_than_random_designs(problem, name):
    """It learns; the best of as many random designs may still be better on a space of seven parameters."""
    late = np.log(searched(problem, name, 800, 0).objective[-200:]).mean()
    assert late < np.log(searched(problem, "random_search", 800, 0).objective).mean() - 5
