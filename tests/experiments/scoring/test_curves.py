"""Anytime curves, many at once: the same numbers as the statistics that they stand for."""

from types import SimpleNamespace

import numpy as np
import pytest

from dsegym.experiments.scoring import curves, statistics
from dsegym.experiments.scoring.curves import anytime_curves, interquartile_bands, scores_on_grid


@pytest.mark.parametrize("sizes", [(3,), (1, 3), (2, 2, 5), (5,) * 4, (33,), (3,) * 150, (40,) * 20])
def test_bands_are_those_of_the_stratified_bootstrap(sizes):
    generator = np.random.default_rng(len(sizes))
    strata = [np.cumsum(generator.normal(size=(7, size)) ** 3, axis=0) for size in sizes]
    for stratum in strata:
        stratum[4] = stratum[3]  # nothing happened
        stratum[5] = np.round(stratum[5])  # ties
    got = interquartile_bands(strata, seed=7, resamples=200)
    want = statistics.stratified_bootstrap(strata, seed=7, resamples=200)
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


def test_outliers_beyond_the_cut_leave_no_trace():
    stratum = np.linspace(0.0, 1.0, 12)[None, :].repeat(2, axis=0)
    stratum[1, 0] = -1e300
    got = interquartile_bands([stratum], seed=0, resamples=50)
    assert got.value[0] == got.value[1]
    assert got.high[0] == pytest.approx(got.high[1])


def test_a_cut_that_varies_by_more_than_it_should_is_still_right():
    """Resamples are few and the zones wide, so the short way is tried where it may fail: all draws are of one trial."""
    strata = [np.arange(400.0)[None, :] ** 2]
    got = interquartile_bands(strata, seed=3, resamples=5)
    want = statistics.stratified_bootstrap(strata, seed=3, resamples=5)
    np.testing.assert_allclose(got.low, want.low, rtol=1e-12)


def test_scores_on_a_grid_are_anytime_scores():
    generator = np.random.default_rng(1)
    grid = np.array([1, 2, 4, 8, 16])
    trials = []
    for count in (0, 1, 3, 5):
        samples = np.sort(generator.choice(np.arange(1, 20), count, replace=False))
        values = 1.0 + generator.random(count)
        trials.append(SimpleNamespace(samples=samples, values=values, reference=2.0 + count, bound=0.5))
    trials[-1].values[2] = np.inf  # of a design that is not feasible on the held-out cases
    got = scores_on_grid(trials, grid, "samples")
    for row, trial in zip(got, trials, strict=True):
        want = statistics.anytime_scores(
            grid, trial.samples, trial.values, reference=trial.reference, bound=trial.bound
        )
        np.testing.assert_array_equal(row, want)


def test_of_incumbents_at_one_grid_point_the_last_counts():
    trial = SimpleNamespace(
        seconds=np.array([0.5, 0.5, 0.7]), values=np.array([3.0, 2.0, 1.5]), reference=4.0, bound=1.0
    )
    got = scores_on_grid([trial], np.array([0.1, 0.5, 1.0]), "seconds")
    np.testing.assert_allclose(got, [[0.0, 2 / 3, 2.5 / 3]])


def test_curves_of_very_many_instances_have_no_bands_and_the_same_lines(monkeypatch):
    def trial(instance, best):
        return SimpleNamespace(
            instance=instance, values=np.array([2.0, best]), samples=np.array([1, 2]), reference=3.0, bound=1.0
        )

    entrants = {"fox": [trial(name, 1.0 + seed / 7) for name in "ab" for seed in range(5)]}
    grid = np.array([1, 2, 4])
    overall, single = anytime_curves(entrants, grid, "samples", seed=0)
    monkeypatch.setattr(curves, "MOST_BANDED", 1)
    overall_of_many, single_of_many = anytime_curves(entrants, grid, "samples", seed=0)
    assert overall_of_many == overall
    assert [curve.score for curve in single_of_many] == [curve.score for curve in single]
    assert all(curve.low is not None for curve in single)
    assert all(curve.low is None and curve.high is None for curve in single_of_many)
