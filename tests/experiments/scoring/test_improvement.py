"""Probabilities of improvement of all pairs: the same numbers as pair by pair."""

import numpy as np
import pytest

from dsegym.experiments.scoring import statistics
from dsegym.experiments.scoring.improvement import improvements


@pytest.mark.parametrize("most", [1, 4, 70])
def test_all_pairs_at_once_are_each_pair(most):
    generator = np.random.default_rng(most)
    names = [f"i{place}" for place in range(6)]
    entrants = {
        agent: {
            name: generator.integers(0, 5, most if agent < "c" else generator.integers(1, most + 1)).tolist()
            for name in names[: 6 - place]
        }
        for place, agent in enumerate("abcd")
    }
    entrants["elsewhere"] = {"other": [1.0, 2.0]}
    found = improvements(entrants, seed=3)
    assert list(found) == [(x, y) for place, x in enumerate("abcd") for y in "abcd"[place + 1 :]]
    for (x, y), (estimate, count) in found.items():
        shared = sorted(entrants[x].keys() & entrants[y].keys())
        want = statistics.probability_of_improvement(
            [entrants[x][name] for name in shared], [entrants[y][name] for name in shared], seed=3
        )
        assert count == len(shared)
        np.testing.assert_allclose(estimate, want, rtol=1e-12, atol=1e-15)
