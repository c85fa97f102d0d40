"""Targets, expected runtimes, distributions and graded levels, against hand-made examples and plain Python."""

import math

import numpy as np
import pytest

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.scoring.targets import (
    budget_classes,
    expected_runtime,
    graded_level,
    runtime_distribution,
    to_target,
)


def test_a_target_is_reached_where_the_score_stays_at_it():
    assert to_target([1, 4, 9], [0.2, 0.5, 0.9], [0.1, 0.5, 0.7, 0.95]).tolist() == [1, 4, 9, math.inf]
    assert to_target([1, 4, 9], [0.2, 0.8, 0.5], [0.5, 0.6]).tolist() == [4, math.inf]  # held-out values may fall
    assert to_target([], [], [0.5]).tolist() == [math.inf]


def test_a_target_of_random_traces_is_that_of_a_loop():
    generator = np.random.default_rng(0)
    for _ in range(50):
        position, score = np.cumsum(generator.integers(1, 5, 8)), generator.random(8)
        for target in (0.0, 0.3, 0.9):
            stays = [place for place in range(8) if all(later >= target for later in score[place:])]
            expected = position[stays[0]] if stays else math.inf
            assert to_target(position, score, [target])[0] == expected


def test_the_expected_runtime_of_a_chance_p_is_that_of_the_geometric_distribution():
    # Trials of 100 samples that succeed at their end with a chance of 1/4: 100 / (1/4) in all.
    assert expected_runtime([100, math.inf, math.inf, math.inf], [100] * 4) == 400
    assert expected_runtime([10, 30], [100, 100]) == 20
    assert expected_runtime([math.inf], [100]) == math.inf


def test_a_runtime_distribution_counts_pairs_of_trials_and_targets():
    reached = [[1, 10], [5, math.inf]]
    assert runtime_distribution(reached, [0, 1, 5, 9, 10, 1e9]).tolist() == [0, 0.25, 0.5, 0.5, 0.75, 0.75]
    with pytest.raises(DsegymError, match="at least one trial"):
        runtime_distribution([], [1])


def test_trials_of_other_budgets_are_in_another_class():
    assert budget_classes("abcd", [100, 10, 100, 30]) == {10: ["b"], 30: ["d"], 100: ["a", "c"]}


def test_a_level_is_the_share_of_references_that_are_matched():
    # Four references in three levels, two of them alike: cumulative shares 1/4, 3/4, 1.
    assert graded_level([-0.1, 0.0, 0.3, 0.5, 0.9, 1.0, 2.0], [0.0, 0.5, 0.5, 1.0]).tolist() == [
        *(0, 0.25, 0.25, 0.75, 0.75, 1, 1),
    ]
    with pytest.raises(DsegymError, match="at least one reference"):
        graded_level(0.5, [])
