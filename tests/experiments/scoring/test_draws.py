"""The lottery's arithmetic against enumeration of everything that can be drawn."""

import itertools
import math

import numpy as np
import pytest

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.scoring.draws import best_of_k, rank_stability, win_chances


@pytest.mark.parametrize("k", range(1, 8))
def test_the_best_of_k_is_the_mean_over_all_subsets(k):
    scores = np.random.default_rng(0).random(7).round(1)  # with ties
    expected = np.mean([max(subset) for subset in itertools.combinations(scores, k)])
    assert best_of_k(scores, k) == pytest.approx(expected)


def test_of_the_first_n_numbers_it_is_the_known_order_statistic():
    for n, k in ((10, 1), (10, 3), (1000, 999), (100_000, 50_000)):
        assert best_of_k(range(1, n + 1), k) == pytest.approx(k * (n + 1) / (k + 1))  # the German tank problem's


@pytest.mark.parametrize("k", [0, 4])
def test_more_draws_than_there_are_is_refused(k):
    with pytest.raises(DsegymError, match="there are 3"):
        best_of_k([0.1, 0.2, 0.3], k)


def by_enumeration(scores, k):
    chances, ways = dict.fromkeys(scores, 0.0), 0
    tickets = [list(itertools.combinations(own, min(k, len(own)))) for own in scores.values()]
    for drawn in itertools.product(*tickets):
        bests = [max(each) for each in drawn]
        winners = [agent for agent, best in zip(scores, bests, strict=True) if best == max(bests)]
        for agent in winners:
            chances[agent] += 1 / len(winners)
        ways += 1
    return {agent: chance / ways for agent, chance in chances.items()}


@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_chances_to_win_are_those_of_all_tickets(k):
    scores = {"a": [0.1, 0.5, 0.9], "b": [0.5, 0.5, 0.6, 0.2], "c": [0.5], "d": [0.9, 0.0]}
    found = win_chances(scores, k)
    assert found == pytest.approx(by_enumeration(scores, k))
    assert sum(found.values()) == pytest.approx(1)


def test_an_agent_without_draws_has_no_chance_to_be_told():
    with pytest.raises(DsegymError, match="at least one draw"):
        win_chances({"a": [0.1], "b": []}, 1)


def tau_b(x, y):
    """Kendall's, pair by pair."""
    pairs = list(itertools.combinations(range(len(x)), 2))
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in pairs]
    free = [sum(bool(sign[side]) for sign in signs) for side in (0, 1)]
    return sum(a * b for a, b in signs) / math.sqrt(free[0] * free[1])


def test_stability_is_kendalls_tau_between_budgets():
    scores = [[0.1, 0.2, 0.3, 0.3], [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]]
    found = rank_stability(scores)
    expected = [[tau_b(a, b) for b in scores] for a in scores]
    np.testing.assert_allclose(found, expected)
    assert found[1, 2] == -1
    with pytest.raises(DsegymError, match="two agents"):
        rank_stability([[0.1], [0.2]])
