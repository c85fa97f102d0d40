"""The statistics against plain-Python oracles, enumeration and hand-computed values."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.scoring import statistics

scores = st.floats(-10, 10).map(lambda score: round(score, 3))
stratum = st.lists(scores, min_size=1, max_size=7)
objectives = st.lists(
    st.tuples(st.one_of(st.floats(1e-6, 1e6), st.just(math.nan), st.just(math.inf)), st.booleans()), max_size=30
)


def plain_interquartile_mean(values):
    cut = len(values) // 4
    kept = sorted(values)[cut : len(values) - cut]
    return sum(kept) / len(kept)


def plain_improvement(x, y):
    per_instance = [
        sum((a > b) + 0.5 * (a == b) for a in xs for b in ys) / (len(xs) * len(ys)) for xs, ys in zip(x, y, strict=True)
    ]
    return sum(per_instance) / len(per_instance)


def plain_best_so_far(samples):
    best, curve = math.inf, []
    for objective, feasible in samples:
        if feasible and math.isfinite(objective):
            best = min(best, objective)
        curve.append(best)
    return curve


def plain_step(at, position, value, before):
    for where, what in zip(position, value, strict=True):
        if where <= at:
            before = what
    return before


def test_the_score_is_0_at_the_reference_and_1_at_the_bound():
    got = statistics.normalised_score([8.0, 2.0, 5.0, 14.0, 1.4], reference=8.0, bound=2.0)
    np.testing.assert_allclose(got, [0.0, 1.0, 0.5, -1.0, 1.1])


@pytest.mark.parametrize(("reference", "bound"), [(1.0, 1.0), (1.0, 2.0), (math.inf, 1.0), (1.0, math.nan)])
def test_a_scale_without_length_is_refused(reference, bound):
    with pytest.raises(DsegymError, match="not above bound"):
        statistics.normalised_score(1.0, reference, bound)


def test_nothing_found_scores_like_the_reference():
    np.testing.assert_array_equal(statistics.score_or_reference([math.inf, math.nan, 2.0], 8.0, 2.0), [0.0, 0.0, 1.0])


@given(st.lists(scores, min_size=1, max_size=40))
def test_the_interquartile_mean_is_the_mean_of_the_middle_half(values):
    assert statistics.interquartile_mean(values) == pytest.approx(plain_interquartile_mean(values), abs=1e-9)


def test_the_interquartile_mean_ignores_the_outer_quarters():
    assert statistics.interquartile_mean([-1e9, 1.0, 3.0, 1e9]) == 2.0


def test_the_interquartile_mean_takes_the_last_axis():
    values = np.arange(24.0).reshape(2, 3, 4)
    want = [[plain_interquartile_mean(row.tolist()) for row in block] for block in values]
    np.testing.assert_allclose(statistics.interquartile_mean(values), want)


@given(st.lists(stratum, min_size=1, max_size=5), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_the_bootstrap_value_is_the_statistic_of_all_trials_together(strata, seed):
    got = statistics.stratified_bootstrap(strata, seed=seed, resamples=50)
    assert got.value == pytest.approx(plain_interquartile_mean([s for each in strata for s in each]), abs=1e-9)
    assert min(map(min, strata)) - 1e-9 <= got.low <= got.high <= max(map(max, strata)) + 1e-9


def test_the_bootstrap_draws_from_each_instance_as_often_as_it_has_seeds():
    # Unequal strata of equal scores: every resample within instances is the data itself.
    got = statistics.stratified_bootstrap([[1.0] * 2, [5.0] * 7, [9.0]], np.mean, seed=0)
    assert got.value == got.low == got.high == (2 * 1 + 7 * 5 + 9) / 10


def test_the_bootstrap_interval_is_that_of_all_resamples_enumerated():
    first, second = [0.0, 1.0, 4.0], [10.0, 20.0]
    means = sorted(
        (sum(a) + sum(b)) / 5 for a in itertools.product(first, repeat=3) for b in itertools.product(second, repeat=2)
    )
    got = statistics.stratified_bootstrap([first, second], np.mean, seed=3, resamples=200_000, confidence=0.8)
    np.testing.assert_allclose(got[1:], np.quantile(means, [0.1, 0.9]), atol=0.2)  # the means are 0.2 apart


def test_the_bootstrap_of_a_curve_is_that_of_each_of_its_points():
    rng = np.random.default_rng(0)
    strata = [rng.normal(size=(4, 5)), rng.normal(size=(4, 3))]
    whole = statistics.stratified_bootstrap(strata, seed=7, resamples=100)
    for point in range(4):
        alone = statistics.stratified_bootstrap([each[point] for each in strata], seed=7, resamples=100)
        np.testing.assert_allclose([ends[point] for ends in whole], alone)


def test_the_bootstrap_depends_on_its_seed_alone():
    strata = [np.arange(10.0), np.arange(5.0) ** 2]
    first, again, other = (statistics.stratified_bootstrap(strata, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("strata", [[], [[]], [[1.0], []]])
def test_the_bootstrap_refuses_to_draw_from_nothing(strata):
    with pytest.raises(DsegymError, match="at least one instance"):
        statistics.stratified_bootstrap(strata, seed=0)


@given(st.lists(st.tuples(stratum, stratum), min_size=1, max_size=4))
@settings(max_examples=40)
def test_the_probability_of_improvement_counts_pairs_of_seeds(pairs):
    x, y = zip(*pairs, strict=True)
    got = statistics.probability_of_improvement(x, y, seed=0, resamples=50)
    assert got.value == pytest.approx(plain_improvement(x, y))
    assert got.value + statistics.probability_of_improvement(y, x, seed=0, resamples=50).value == pytest.approx(1)
    assert -1e-12 <= got.low <= got.high <= 1 + 1e-12


def test_the_improvement_interval_is_that_of_all_resamples_enumerated():
    x, y = [0.0, 1.0, 2.0], [0.5, 1.0]
    all_draws = [
        plain_improvement([a], [b]) for a in itertools.product(x, repeat=3) for b in itertools.product(y, repeat=2)
    ]
    got = statistics.probability_of_improvement([x], [y], seed=0, resamples=100_000, confidence=0.7)
    np.testing.assert_allclose(got[1:], np.quantile(all_draws, [0.15, 0.85]), atol=1 / 12 + 1e-9)
    assert got.value == pytest.approx((0 + 0 + 1 + 0.5 + 1 + 1) / 6)


def test_the_probability_of_improvement_needs_the_same_instances():
    with pytest.raises(DsegymError, match="X has scores of 2 instances, Y of 1"):
        statistics.probability_of_improvement([[1.0], [1.0]], [[1.0]], seed=0)


@given(objectives)
def test_the_best_so_far_counts_feasible_samples_only(samples):
    objective, feasible = ([each[column] for each in samples] for column in (0, 1))
    assert statistics.best_so_far(objective, feasible).tolist() == plain_best_so_far(samples)


@given(objectives)
def test_an_incumbent_is_a_feasible_sample_strictly_below_all_feasible_ones_before(samples):
    objective, feasible = ([each[column] for each in samples] for column in (0, 1))
    best = [math.inf, *plain_best_so_far(samples)]
    expected = [place for place in range(len(samples)) if best[place + 1] < best[place]]
    assert statistics.incumbents(objective, feasible).tolist() == expected


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=10),
    st.lists(st.tuples(st.integers(0, 20), scores), max_size=10).map(sorted),
)
def test_a_step_holds_until_the_next_one(grid, steps):
    position, value = ([each[column] for each in steps] for column in (0, 1))
    got = statistics.step_interpolate(grid, position, value, before=99.0)
    assert got.tolist() == [plain_step(at, position, value, 99.0) for at in grid]


def test_an_anytime_curve_starts_at_0_and_steps_up_where_the_best_improves():
    got = statistics.anytime_scores([1, 2, 3, 4, 5, 9], [3, 5], [6.0, 2.0], reference=10.0, bound=2.0)
    np.testing.assert_allclose(got, [0, 0, 0.5, 0.5, 1, 1])


def test_incumbents_of_many_trials_are_those_of_each():
    generator = np.random.default_rng(4)
    sizes = [0, 1, 7, 0, 30, 30, 2, 0]
    objective = generator.integers(0, 9, sum(sizes)) / 7.0  # ties
    objective[generator.random(len(objective)) < 0.1] = np.inf
    objective[generator.random(len(objective)) < 0.1] = np.nan
    feasible = generator.random(len(objective)) < 0.6
    feasible[8:38] = False  # nothing of a whole trial
    ends = np.cumsum(sizes)
    want = [
        end - size + statistics.incumbents(objective[end - size : end], feasible[end - size : end])
        for end, size in zip(ends, sizes, strict=True)
    ]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    got = statistics.incumbents_of_many(objective, feasible, owner)
    assert got.size > 0
    assert got.tolist() == np.concatenate(want).tolist()
    assert statistics.incumbents_of_many(objective, np.zeros_like(feasible), owner).size == 0
