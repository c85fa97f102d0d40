"""Luck by hashing: both ways to name a draw, against plain Python, and the statistics of what they draw."""

import best_of_n_oracle
import numpy as np
import pytest
import sleep_oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.luck import normal, numbered_uniform, uniform


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 5000), min_size=1, max_size=3))
def test_luck_is_the_hash_that_plain_python_computes(seed, words):
    found = float(uniform(np.uint32(seed), *(np.uint32(word) for word in words)))
    assert found == best_of_n_oracle.luck(seed, *words)
    assert 0 <= found < 1


def test_luck_is_even_and_uncorrelated_between_neighbours():
    seeds, questions, attempts = np.meshgrid(np.arange(64), np.arange(16), np.arange(64), indexing="ij")
    values = np.asarray(uniform(seeds.astype(np.uint32), questions, attempts))
    assert abs(values.mean() - 0.5) < 5 * np.sqrt(1 / 12 / values.size)
    counts = np.histogram(values, 64, (0, 1))[0]
    assert ((counts - values.size / 64) ** 2 / (values.size / 64)).sum() < 150, "chi squared with 63 degrees of freedom"
    for axis in range(3):
        one, other = np.moveaxis(values, axis, 0)[:-1].ravel(), np.moveaxis(values, axis, 0)[1:].ravel()
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(one.size)


def test_normal_luck_has_the_moments_of_a_normal():
    values = np.asarray(normal(np.uint32(7), np.arange(100_000), 0), np.float64)
    assert np.isfinite(values).all()
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((values**power).mean() - expected) < 5 * np.sqrt(variance / values.size), power


def test_numbered_luck_is_the_hash_that_plain_python_computes_and_is_uniform():
    seeds, counters = np.random.default_rng(0).integers(0, 2**32, (2, 2000), dtype=np.uint32)
    counters %= 64
    found = np.asarray(numbered_uniform(seeds, counters))
    expected = [sleep_oracle.random(int(s), int(c)) for s, c in zip(seeds, counters, strict=True)]
    np.testing.assert_array_equal(found, np.float32(expected))
    many = np.asarray(numbered_uniform(np.arange(4096, dtype=np.uint32)[:, None] * 7919, np.arange(32)))
    assert np.histogram(many, 16, (0, 1))[0] == pytest.approx(many.size / 16, rel=0.04)
    assert np.abs(np.corrcoef(many.T) - np.eye(32)).max() < 0.08
