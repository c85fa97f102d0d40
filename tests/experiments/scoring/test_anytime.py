"""The anytime regret against closed forms and a sum over samples."""

import math

import numpy as np
import pytest

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.scoring.anytime import anytime_regret


@pytest.mark.parametrize(
    ("samples", "scores", "budget", "expected"),
    [
        ([], [], 100, 1.0),
        ([1], [1.0], 100, 0.0),
        ([1], [0.25], 7, 0.75),
        ([10], [1.0], 100, 0.5),  # the root of the budget is half of its logarithm
        ([10, 100], [0.5, 1.0], 1000, 0.5),  # thirds of 1, 1/2 and 0
        ([1, 10], [-3.0, 1.0], 100, 0.5),  # below the reference is the reference
        ([100], [1.0], 100, 1.0),  # found with the last sample: never held before
    ],
)
def test_it_is_the_closed_form(samples, scores, budget, expected):
    assert anytime_regret(samples, scores, budget) == pytest.approx(expected)


def test_it_is_the_sum_over_all_samples_weighed_by_their_share_of_the_logarithm():
    generator = np.random.default_rng(0)
    for _ in range(20):
        budget = 500
        samples = np.sort(generator.choice(np.arange(1, budget + 1), 6, replace=False))
        scores = np.sort(generator.random(6))
        held, area = 0.0, 0.0
        for sample in range(1, budget):
            held = max([held, *scores[samples == sample]])
            area += (1 - held) * (math.log(sample + 1) - math.log(sample))
        assert anytime_regret(samples, scores, budget) == pytest.approx(area / math.log(budget))


@pytest.mark.parametrize(("samples", "budget"), [([1], 1), ([0], 10), ([11], 10)])
def test_samples_beyond_the_budget_are_refused(samples, budget):
    with pytest.raises(DsegymError, match="from 1 to the budget"):
        anytime_regret(samples, [0.5] * len(samples), budget)
