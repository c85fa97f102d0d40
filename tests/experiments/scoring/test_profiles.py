"""Profiles against the definition in plain Python, and against what their areas are."""

import math

import numpy as np
import pytest

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.scoring.profiles import performance_profile, score_profile

# Samples that three entrants take on five problems; the last one nobody solves.
COSTS = [[10, 20, 40], [30, 10, math.inf], [5, 5, 50], [math.inf, 8, 8], [math.inf] * 3]
RATIOS = [1, 2, 3, 10]


def by_definition(costs, ratio):
    """Dolan and More's rho of one ratio, entrant by entrant."""
    found = []
    for entrant in range(len(costs[0])):
        within = [row[entrant] <= ratio * min(row) and row[entrant] < math.inf for row in costs]
        found.append(sum(within) / len(costs))
    return found


def test_a_performance_profile_is_that_of_its_definition():
    expected = np.transpose([by_definition(COSTS, ratio) for ratio in RATIOS])
    np.testing.assert_allclose(performance_profile(COSTS, RATIOS), expected)
    np.testing.assert_allclose(performance_profile(COSTS, [1])[:, 0], [0.4, 0.6, 0.2])  # by hand, equal ones share


def test_of_random_costs_too():
    costs = np.random.default_rng(0).exponential(size=(60, 4))
    expected = np.transpose([by_definition(costs.tolist(), ratio) for ratio in RATIOS])
    np.testing.assert_allclose(performance_profile(costs, RATIOS), expected)


def test_the_area_below_a_score_profile_is_the_mean_score():
    scores = np.random.default_rng(1).random((3, 200))
    grid = (np.arange(20_000) + 0.5) / 20_000
    np.testing.assert_allclose(score_profile(scores, grid).mean(axis=-1), scores.mean(axis=-1), atol=1e-4)
    assert score_profile([0.2, 0.2, 0.6], [0.2, 0.1]).tolist() == [1 / 3, 1]  # above, not at


@pytest.mark.parametrize(
    ("costs", "ratios", "reason"),
    [([[1, 0]], [1], "positive"), ([1, 2], [1], "table"), ([[1, 2]], [0.5], "ratio")],
)
def test_what_has_no_profile_is_refused_in_one_sentence(costs, ratios, reason):
    with pytest.raises(DsegymError, match=reason):
        performance_profile(costs, ratios)
    with pytest.raises(DsegymError, match="at least one score"):
        score_profile([], [0.5])
