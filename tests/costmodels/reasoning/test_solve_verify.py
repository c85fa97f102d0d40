"""Choosing an answer by verdicts and agreement: the recorded facts of HumanEval, the generator, estimators."""

import numpy as np
import pytest
import solve_verify_oracle as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.reasoning.laws import pass_at
from dsegym.costmodels.reasoning.outcomes import human_eval
from dsegym.costmodels.reasoning.verify import model as solve_verify
from dsegym.costmodels.reasoning.verify import selection

# (S, V): measured on the same outcomes by the project's reference notes (section 7c); V tests of a problem at random.
VERDICTS = {
    (4, 4): 0.276, (4, 16): 0.303, (4, 32): 0.295, (16, 4): 0.269, (16, 16): 0.290, (16, 32): 0.283,
    (64, 4): 0.250, (64, 16): 0.254, (64, 32): 0.249, (100, 4): 0.244, (100, 16): 0.243, (100, 32): 0.232,
}  # fmt: skip
BOTH = {
    (4, 4): 0.287, (4, 16): 0.309, (4, 32): 0.306, (16, 4): 0.286, (16, 16): 0.336, (16, 32): 0.348,
    (64, 4): 0.290, (64, 16): 0.348, (64, 32): 0.366, (100, 4): 0.288, (100, 16): 0.344, (100, 32): 0.382,
}  # fmt: skip
TABLES = {"verdicts": VERDICTS, "agreement_and_verdicts": BOTH, "agreement": {(16, 16): 0.258, (100, 16): 0.277}}
TOLERANCE = 0.015  # a standard error of the draws is 0.003 here and unknown there


def accuracy(selector, samples, tests, replications=12):
    return accuracies(selector, samples, tests, replications).mean()


def accuracies(selector, samples, tests, replications):
    return selection.human_eval_accuracy(
        human_eval(), samples=samples, tests=tests, selector=selector, replications=replications, seed=0
    )


def single_test_rates(table):
    """(share of tests that the reference solution passes, true and false positive rate of a single test), pooled."""
    there = np.arange(32) < table.tests[:, None]
    valid = float((table.valid & there).sum() / there.sum())
    right, wrong = table.correct[:, :, None] & there[:, None], ~table.correct[:, :, None] & there[:, None]
    return valid, float(table.passed[right].mean()), float(table.passed[wrong].mean())


@pytest.mark.slow
@pytest.mark.parametrize("selector", TABLES)
def test_selectors_reach_the_measured_accuracies_of_human_eval(selector):
    for (samples, tests), expected in TABLES[selector].items():
        assert accuracy(selector, samples, tests) == pytest.approx(expected, abs=TOLERANCE), (samples, tests)


def test_more_samples_hurt_selection_by_tests_and_help_selection_by_agreement():
    few, many = (accuracy("verdicts", samples, 16) for samples in (4, 100))
    assert few - many >= 0.04
    curve = [accuracy("agreement_and_verdicts", samples, 32) for samples in (4, 16, 64, 100)]
    assert curve == sorted(curve)


def test_the_recorded_tests_are_as_reliable_as_measured():
    table = human_eval()
    valid, true_positive, false_positive = single_test_rates(table)
    assert valid == pytest.approx(0.32, abs=0.005)
    assert true_positive == pytest.approx(0.425, abs=0.001)
    assert false_positive == pytest.approx(0.141, abs=0.001)
    assert (~table.valid.any(1)).sum() == 24
    assert (table.tests == 0).sum() == 10
    coverage = pass_at(100, attempts=np.full(164, 100), successes=table.correct.sum(1)).mean()
    assert coverage == pytest.approx(0.738, abs=0.001)
    assert table.correct.mean() == pytest.approx(0.222, abs=0.001), "a random pick"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=7), st.data())
def test_best_of_s_equals_the_mean_over_all_subsets(items, data):
    scores, correct = (list(column) for column in zip(*items, strict=True))
    samples = data.draw(st.integers(1, len(items)))
    found = selection.best_of(np.array([scores], float), np.array([correct]), samples)
    assert found[0] == pytest.approx(oracle.best_of_by_enumeration(scores, correct, samples))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 20))
def test_no_selector_beats_coverage(seed, samples):
    generator = np.random.default_rng(seed)
    scores, correct = generator.random((5, 20)), generator.random((5, 20)) < 0.2
    covered = pass_at(samples, attempts=np.full(5, 20), successes=correct.sum(1))
    assert np.all(selection.best_of(scores, correct, samples) <= covered + 1e-12)
    perfect = selection.best_of(correct.astype(float), correct, samples)
    np.testing.assert_allclose(perfect, covered, atol=1e-12)


def test_compute_is_that_of_the_source():
    assert selection.compute(8, 0, 2) == 8
    assert selection.compute(8, 4, 2) == 72


def test_shares_of_samples_and_verdicts_are_those_of_the_generator():
    verifier = solve_verify.Verifier(0.8, 0.4, 0.0, 0.0, 0.0)
    drawn = solve_verify.draw_problems(verifier, problems=4000, samples=8, seed=0)
    assert drawn.p.mean() == pytest.approx(0.6 / 1.3, abs=0.02)
    right = drawn.answers == 0
    assert right.mean() == pytest.approx(drawn.p.mean(), abs=0.01)
    np.testing.assert_allclose(drawn.yes, np.where(right, 0.8, 0.4))
    wrong = np.bincount(drawn.answers[~right], minlength=21)[1:]
    np.testing.assert_allclose(wrong / wrong.sum(), solve_verify.wrong_answer_weights(), atol=0.015)


@pytest.mark.slow
def test_verification_needs_several_times_the_compute_of_self_consistency():
    ratios = {}
    for verify_cost in (1.0, 2.0):
        found = [
            solve_verify.match_ratio(solve_verify.PRESET, verify_cost=verify_cost, problems=600, seed=seed)
            for seed in range(3)
        ]
        ratios[verify_cost] = np.mean([each.ratio for each in found])
        for each in found:
            assert 0.64 <= each.self_consistency <= 0.71
            assert 0.70 <= each.best_verified <= 0.77
    assert 3 <= ratios[2.0] <= 12
    assert ratios[1.0] < ratios[2.0]


def test_verdicts_that_do_not_tell_right_from_wrong_never_help():
    blind = solve_verify.Verifier(0.5, 0.5, 0.0, 0.0, 0.0)
    drawn = solve_verify.draw_problems(blind, problems=3000, samples=16, seed=1)
    scores = np.random.default_rng(0).binomial(8, drawn.yes) / 8
    best = selection.best_of(scores, drawn.answers == 0, 8).mean()
    assert best == pytest.approx((drawn.answers == 0).mean(), abs=0.02), "as a random pick"


@pytest.mark.parametrize("budget", [3, 4, 5])
def test_with_two_answers_a_blind_verifier_is_worth_nothing_and_a_perfect_one_everything(budget):
    chances = (0.55, 0.7, 0.9)
    what = {"budget": float(budget), "verify_cost": 1.0}
    votes_only = oracle.best_policy(chances, yes_if_right=0.5, yes_if_wrong=0.5, **what | {"verify_cost": 1e9})
    blind = oracle.best_policy(chances, yes_if_right=0.5, yes_if_wrong=0.5, **what)
    sharp = oracle.best_policy(chances, yes_if_right=1.0, yes_if_wrong=0.0, **what)
    assert blind == pytest.approx(votes_only, abs=1e-12)
    assert sharp > votes_only + 0.02


@pytest.mark.parametrize(("budget", "expected"), [(2, 0.5), (3, 0.75), (4, 0.875), (5, 0.9375)])
def test_where_votes_tell_nothing_a_perfect_verifier_makes_sampling_until_yes_optimal(budget, expected):
    # A sample, a verdict, and after a no samples until the other answer is drawn, which then needs no verdict.
    best = oracle.best_policy((0.5,), yes_if_right=1.0, yes_if_wrong=0.0, budget=float(budget), verify_cost=1.0)
    assert best == pytest.approx(expected, abs=1e-12)


def test_the_best_allocation_of_each_problem_is_between_the_best_fixed_one_and_coverage():
    table, sizes, tests = human_eval(), (1, 4, 16), (0, 4, 16)
    costs = np.array([[selection.compute(s, v, 0.25) for v in tests] for s in sizes])
    grid = np.array([[accuracies("agreement_and_verdicts", s, v, replications=4) for v in tests] for s in sizes])
    assert grid.shape == (3, 3, 164)
    for budget in (1, 8, 32, 80):
        affordable = grid[costs <= budget]
        fixed, own = affordable.mean(1).max(), affordable.max(0).mean()
        assert fixed <= own + 1e-12
        most = max(s for s in sizes if s <= budget)
        covered = pass_at(most, attempts=np.full(164, 100), successes=table.correct.sum(1)).mean()
        assert own <= covered + 0.06, "few replications, the best of which is taken"
