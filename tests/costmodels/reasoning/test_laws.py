"""Laws and scores of test-time compute: estimators by enumeration, fits of recorded data, published examples."""

import math

import laws_oracle as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.errors import DsegymError
from dsegym.costmodels.reasoning import laws, scores
from dsegym.costmodels.reasoning.outcomes import load_outcomes

# Beta(alpha, beta); -ln c = A k^-B and its largest error; pass@1, 10 and 100: measured on the tables.
FITS = {
    "humaneval": ((0.254, 0.893), (1.506, 0.350, 0.007), (0.222, 0.505, 0.738)),
    "game24_chain_of_thought": ((0.215, 5.13), (3.251, 0.325, 0.007), (0.040, 0.215, 0.490)),
    "game24_direct": ((0.073, 0.875), (2.568, 0.176, 0.011), (0.073, 0.179, 0.330)),
}
KS = np.arange(1, 101)


def coverage_of(name):
    recorded = load_outcomes(name)
    return np.array([laws.pass_at(k, attempts=recorded.attempts, successes=recorded.successes).mean() for k in KS])


# --- Estimators -------------------------------------------------------------------------------------------------------


def test_estimators_equal_the_enumeration_of_all_subsets():
    for n in range(1, 9):
        for c in range(n + 1):
            for k in range(1, n + 1):
                found = laws.pass_at(k, attempts=[n], successes=[c])[0]
                assert found == pytest.approx(float(oracle.pass_at(n, c, k)), abs=1e-12)
                found = laws.all_of(k, attempts=[n], successes=[c])[0]
                assert found == pytest.approx(float(oracle.all_of(n, c, k)), abs=1e-12)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_estimators_are_unbiased(p):
    """Their mean over all counts of 10 attempts is the probability that they estimate."""
    counts = np.arange(11)
    weights = np.array([math.comb(10, c) * p**c * (1 - p) ** (10 - c) for c in counts])
    for k in (1, 3, 10):
        some = laws.pass_at(k, attempts=10, successes=counts)
        every = laws.all_of(k, attempts=10, successes=counts)
        assert weights @ some == pytest.approx(1 - (1 - p) ** k)
        assert weights @ every == pytest.approx(p**k)


@given(st.integers(1, 200), st.data())
@settings(deadline=None, max_examples=60)
def test_one_attempt_is_the_rate_and_more_never_hurt(n, data):
    c = data.draw(st.integers(0, n))
    some = [laws.pass_at(k, attempts=[n], successes=[c])[0] for k in range(1, n + 1)]
    every = [laws.all_of(k, attempts=[n], successes=[c])[0] for k in range(1, n + 1)]
    assert some[0] == pytest.approx(c / n)
    assert every[0] == pytest.approx(c / n)
    assert (np.diff(some) >= -1e-12).all()
    assert (np.diff(every) <= 1e-12).all()
    assert some[-1] == (c > 0)
    assert every[-1] == (c == n)


@pytest.mark.parametrize(
    ("k", "attempts", "successes", "words"),
    [
        (5, [4, 9], [1, 1], "1 to 4"),
        (0, [4], [1], "1 to 4"),
        (-1, [4], [1], "1 to 4"),
        (1.5, [4], [1], "whole"),
        (1, [4], [5], "from 0 to the number of attempts"),
        (1, [4], [-1], "from 0 to the number of attempts"),
    ],
)
def test_what_cannot_be_estimated_is_refused(k, attempts, successes, words):
    with pytest.raises(DsegymError, match=words):
        laws.pass_at(k, attempts=attempts, successes=successes)
    with pytest.raises(DsegymError, match=words):
        laws.all_of(k, attempts=attempts, successes=successes)


# --- Fits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FITS)
def test_the_recorded_coverage_is_the_measured_one(name):
    coverage = coverage_of(name)
    np.testing.assert_allclose(coverage[[0, 9, 99]], FITS[name][2], atol=6e-4)


@pytest.mark.parametrize("name", FITS)
def test_the_beta_fit_of_recorded_data_is_the_measured_one_and_a_maximum(name):
    recorded = load_outcomes(name)
    fit = laws.fit_beta(attempts=recorded.attempts, successes=recorded.successes)
    assert fit == pytest.approx(FITS[name][0], abs=6e-3, rel=2e-3)
    data = (recorded.attempts.tolist(), recorded.successes.tolist())
    best = oracle.beta_log_likelihood(*fit, *data)
    for factor in (0.98, 1.02):
        assert oracle.beta_log_likelihood(fit.alpha * factor, fit.beta, *data) < best
        assert oracle.beta_log_likelihood(fit.alpha, fit.beta * factor, *data) < best


@pytest.mark.parametrize("name", FITS)
def test_the_beta_fit_follows_the_recorded_coverage(name):
    recorded = load_outcomes(name)
    fit = laws.fit_beta(attempts=recorded.attempts, successes=recorded.successes)
    assert np.abs(laws.beta_coverage(fit, KS) - coverage_of(name)).max() < 0.03
    for k in (1, 7, 100):
        assert laws.beta_coverage(fit, k) == pytest.approx(oracle.beta_coverage(*fit, k), rel=1e-9)


@pytest.mark.parametrize("name", FITS)
def test_the_power_law_of_recorded_data_is_the_measured_one(name):
    """At numbers of attempts that are evenly spaced in ln k; which ones were measured at is not recorded."""
    coverage = coverage_of(name)
    scale, exponent, error = FITS[name][1]
    k = np.unique(np.geomspace(1, 100, 10).round()).astype(int)
    fit = laws.fit_power_law(k, coverage[k - 1])
    assert (fit.scale, fit.exponent) == pytest.approx((scale, exponent), abs=2e-3)
    measured = laws.PowerFit(scale, exponent, error)
    assert np.abs(laws.power_law(measured, KS) - coverage).max() == pytest.approx(error, abs=6e-4)
    assert np.abs(laws.power_law(fit, KS) - coverage).max() == pytest.approx(error, abs=1e-3)


def test_a_beta_population_falls_as_a_power_of_k():
    """ln of the failure against ln k has the slope -alpha at large k."""
    fit = laws.BetaFit(0.3, 2.0)
    failure = 1 - laws.beta_coverage(fit, np.array([1e6, 1e7]))
    assert np.log(failure[1] / failure[0]) / np.log(10) == pytest.approx(-0.3, abs=1e-5)


@given(st.floats(0.2, 4), st.floats(0.05, 0.9))
@settings(deadline=None, max_examples=60)
def test_a_power_law_is_found_again(scale, exponent):
    k = np.array([1, 2, 5, 10, 100])
    fit = laws.fit_power_law(k, np.exp(-scale * k**-exponent))
    assert (fit.scale, fit.exponent) == pytest.approx((scale, exponent), rel=1e-6)
    assert fit.largest_error < 1e-9


def test_a_beta_distribution_is_found_again_from_its_own_draws():
    generator = np.random.default_rng(0)
    p = generator.beta(0.7, 2.5, 20_000)
    fit = laws.fit_beta(attempts=40, successes=generator.binomial(40, p))
    assert fit == pytest.approx((0.7, 2.5), rel=0.05)


@pytest.mark.parametrize("successes", [[0, 0], [5, 5]])
def test_a_beta_fit_needs_successes_and_failures(successes):
    with pytest.raises(DsegymError, match="both needed"):
        laws.fit_beta(attempts=[5, 5], successes=successes)


@pytest.mark.parametrize(("k", "coverage"), [([3, 3], [0.2, 0.3]), ([1, 2], [0.0, 0.3]), ([1, 2], [0.5, 1.0])])
def test_a_power_law_needs_two_coverages_inside_0_and_1(k, coverage):
    with pytest.raises(DsegymError, match="above 0 and below 1"):
        laws.fit_power_law(k, coverage)


# --- TTSPM, ParScale, matched compute ---------------------------------------------------------------------------------


def test_saturation_of_the_worked_example_is_9():
    assert laws.saturation(success=0.3, ceiling=0.8, tolerance=0.01) == 9


@given(st.floats(0.01, 0.99), st.floats(0.05, 1.0), st.floats(1e-4, 0.5))
@settings(deadline=None, max_examples=60)
def test_saturation_is_the_first_number_whose_marginal_gain_is_within_the_tolerance(success, ceiling, tolerance):
    k = laws.saturation(success=success, ceiling=ceiling, tolerance=tolerance)
    slack = 1 + 1e-9
    assert oracle.marginal_gain(k, success=success, ceiling=ceiling) <= tolerance * slack
    assert k == 0 or oracle.marginal_gain(k - 1, success=success, ceiling=ceiling) * slack > tolerance


def test_certain_success_saturates_at_once():
    assert laws.saturation(success=1.0, tolerance=0.01) == 1
    assert laws.saturation(success=1.0, tolerance=1.0) == 0


@pytest.mark.parametrize("wrong", [{"success": 0.0}, {"success": 1.1}, {"ceiling": 0.0}, {"tolerance": 0.0}])
def test_saturation_without_sense_is_refused(wrong):
    with pytest.raises(DsegymError, match="above 0"):
        laws.saturation(**{"success": 0.3, "ceiling": 0.8, "tolerance": 0.01, **wrong})


@given(st.floats(0.01, 0.99), st.floats(0.05, 1.0), st.integers(0, 60))
@settings(deadline=None, max_examples=60)
def test_parallel_and_sequential_forms_are_one(success, ceiling, k):
    found = laws.saturated_coverage(k, success=success, ceiling=ceiling)
    assert found == pytest.approx(oracle.chain(success, ceiling, k), abs=1e-12)
    after = laws.saturated_coverage(k + 1, success=success, ceiling=ceiling)
    assert after - found == pytest.approx(oracle.marginal_gain(k, success=success, ceiling=ceiling), abs=1e-12)


def test_parallel_samples_simulated_one_by_one_reach_the_law():
    assert oracle.simulated_parallel(0.2, 4, 20_000, seed=1) == pytest.approx(
        float(laws.saturated_coverage(4, success=0.2)), abs=0.012
    )


@given(st.floats(0.01, 1.0), st.integers(0, 40))
@settings(deadline=None, max_examples=60)
def test_rounds_that_stop_at_a_success_cost_no_more_than_parallel_samples(success, k):
    if success == 1.0:
        return
    tokens = float(oracle.sequential_tokens(k, success=success, tokens=50.0))
    assert tokens == pytest.approx(50 * oracle.expected_rounds(success, k), rel=1e-9, abs=1e-9)
    assert tokens <= 50 * k + 1e-6


@pytest.mark.parametrize(("streams", "factor"), [(1, 1.0), (2, 1.27), (4, 1.55), (8, 1.82)])
def test_parallel_streams_are_worth_the_refitted_multiple_of_parameters(streams, factor):
    assert laws.parameter_equivalent(laws.PARSCALE["stack_v2"], streams) == pytest.approx(factor, abs=0.006)


@pytest.mark.parametrize("data", laws.PARSCALE)
def test_the_loss_of_streams_is_that_of_as_many_more_parameters(data):
    fit = laws.PARSCALE[data]
    for streams in (1, 2, 8):
        wide = laws.parscale_loss(fit, parameters=2.8e9, streams=streams)
        large = laws.parscale_loss(fit, parameters=2.8e9 * laws.parameter_equivalent(fit, streams), streams=1)
        assert wide == pytest.approx(large, rel=1e-12)
        by_hand = fit.irreducible + (fit.scale / (2.8e9 * (fit.gain * math.log(streams) + 1))) ** fit.exponent
        assert wide == pytest.approx(by_hand, rel=1e-12)


def test_2_8_billion_parameters_in_4_streams_are_4_33_billion_in_one():
    """What the authors' visualiser says."""
    equivalent = 2.8 * laws.parameter_equivalent(laws.PARSCALE["stack_v2"], 4)
    assert equivalent == pytest.approx(4.33, abs=0.01)


@pytest.mark.parametrize(("ratio", "multiple"), [(0.16, 258), (0.79, 63), (22, 15.8)])
def test_a_14_times_smaller_model_may_multiply_its_inference_by(ratio, multiple):
    found = laws.matched_compute(size_ratio=14, inference_ratio=ratio)
    assert found == pytest.approx(multiple, rel=0.006)
    assert found == pytest.approx(oracle.matched_compute(14, ratio), rel=1e-12)


def test_equal_models_have_equal_inference():
    assert laws.matched_compute(size_ratio=1, inference_ratio=0.3) == 1
    with pytest.raises(DsegymError, match="above 0"):
        laws.matched_compute(size_ratio=14, inference_ratio=0)


# --- Scores -----------------------------------------------------------------------------------------------------------


def test_e3_squares_the_accuracy_and_counts_kilotokens():
    assert scores.e3(0.5, 2000) == 0.125
    assert scores.e3(0.5, 1000) == scores.e3(1.0, 4000)


def test_e3_of_the_published_relative_changes():
    """Accuracy up by 70 and tokens down by 39 percent at once would be 374 percent more, not the 193.8 of the abstract:
    the three are not of one setting.
    """
    assert scores.e3(0.17, 610) / scores.e3(0.1, 1000) - 1 == pytest.approx(3.74, abs=0.01)


@given(st.floats(0.01, 1.0), st.floats(1, 1e6), st.floats(1.01, 100))
@settings(deadline=None, max_examples=60)
def test_e3_falls_with_tokens_and_wrong_answers_do_not_pay(accuracy, tokens, factor):
    assert scores.e3(accuracy, tokens * factor) < scores.e3(accuracy, tokens)
    # Answering 1 of `factor` queries and none of the rest, at no tokens, leaves less.
    assert scores.e3(accuracy / factor, tokens / factor) < scores.e3(accuracy, tokens)


@pytest.mark.parametrize(("accuracy", "tokens"), [(50, 100), (-0.1, 100), (0.5, 0), (math.nan, 1)])
def test_e3_out_of_range_is_refused(accuracy, tokens):
    with pytest.raises(DsegymError, match="E3 takes"):
        scores.e3(accuracy, tokens)


def test_cost_of_pass_is_infinite_where_nothing_passes():
    np.testing.assert_array_equal(scores.cost_of_pass([1.0, 1.0, 0.0], [0.5, 0.0, 0.0]), [2.0, np.inf, np.inf])
    with pytest.raises(DsegymError, match="rate of success"):
        scores.cost_of_pass(1.0, 1.5)


def test_cost_of_pass_is_what_retries_until_a_success_cost_on_average():
    generator = np.random.default_rng(2)
    spent = 3.0 * generator.geometric(0.25, 200_000)
    assert scores.cost_of_pass(3.0, 0.25) == pytest.approx(spent.mean(), rel=0.01)


def test_cost_of_pass_contradicts_the_published_relative_saving():
    """0.398 to 0.228 USD at 96.7 percent of the accuracy is 41, not 28.4 percent less."""
    ratio = scores.cost_of_pass(0.228, 0.967 * 0.5) / scores.cost_of_pass(0.398, 0.5)
    assert ratio == pytest.approx(0.592, abs=0.001)


def test_regret_is_the_sum_of_what_is_missing_and_nothing_for_the_best_policy():
    best = [0.2, 0.5, 0.7]
    np.testing.assert_allclose(scores.regret(best, [best, [0.2, 0.2, 0.2], [0.0, 0.5, 0.6]]), [0.0, 0.8, 0.3])
    with pytest.raises(DsegymError, match="as many episodes"):
        scores.regret(best, [0.1, 0.2])


def test_the_area_between_curves_is_their_mean_distance_whatever_the_budgets_unit():
    budget, oracle_curve = np.array([0.0, 1.0, 4.0]), np.array([0.2, 0.6, 0.9])
    assert scores.area_between(budget, oracle_curve, oracle_curve) == 0
    assert scores.area_between(budget, oracle_curve, oracle_curve - 0.1) == pytest.approx(0.1)
    agent = np.array([0.1, 0.2, 0.9])
    by_hand = ((0.1 + 0.4) / 2 * 1 + (0.4 + 0.0) / 2 * 3) / 4
    assert scores.area_between(budget, oracle_curve, agent) == pytest.approx(by_hand)
    assert scores.area_between(1000 * budget, oracle_curve, agent) == pytest.approx(by_hand)
    # A budget between two others, where the curves are straight, changes nothing.
    denser = np.interp([0, 1, 2, 4], budget, oracle_curve), np.interp([0, 1, 2, 4], budget, agent)
    assert scores.area_between([0, 1, 2, 4], *denser) == pytest.approx(by_hand)


@pytest.mark.parametrize("budget", [[1.0], [1.0, 1.0], [2.0, 1.0]])
def test_an_area_needs_ascending_budgets(budget):
    with pytest.raises(DsegymError, match="ascending"):
        scores.area_between(budget, budget, budget)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_the_normalised_score_is_the_same_for_accuracies_and_failures(value, reference, oracle_value):
    if abs(reference - oracle_value) < 1e-3:
        return
    accuracy = scores.normalised(value, reference=reference, oracle=oracle_value)
    failure = scores.normalised(1 - value, reference=1 - reference, oracle=1 - oracle_value)
    assert accuracy == pytest.approx(failure, abs=1e-9)
    assert scores.normalised(reference, reference=reference, oracle=oracle_value) == 0
    assert scores.normalised(oracle_value, reference=reference, oracle=oracle_value) == pytest.approx(1)


def test_a_score_without_a_scale_is_refused():
    with pytest.raises(DsegymError, match="No scale"):
        scores.normalised(0.5, reference=0.4, oracle=0.4)
