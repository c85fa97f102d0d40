"""Best of N over a batch: rules of allocation against the published table, simulation and dynamic programming."""

import best_of_n_oracle as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.reasoning import best_of_n as rules
from dsegym.costmodels.reasoning.laws import BetaFit, fit_beta
from dsegym.costmodels.reasoning.outcomes import load_outcomes

REPLICATIONS = 400
# Expected shares solved, measured on the same outcomes by the project's reference notes (section 7b):
# samples a question: uniform, five bins, static optimum, round robin with stop, hints of noise 5, 2, 1, 0.5, oracle.
HUMANEVAL = {
    1: (0.222, 0.304, 0.307, 0.222, 0.255, 0.317, 0.353, 0.372, 0.381),
    2: (0.308, 0.371, 0.381, 0.324, 0.350, 0.403, 0.437, 0.458, 0.471),
    4: (0.392, 0.457, 0.465, 0.430, 0.447, 0.496, 0.545, 0.567, 0.577),
    8: (0.473, 0.539, 0.552, 0.534, 0.546, 0.589, 0.641, 0.665, 0.671),
    16: (0.554, 0.614, 0.639, 0.628, None, None, None, None, 0.736),
    32: (0.628, 0.685, 0.708, None, None, None, None, None, None),
}
# The same for Game of 24 by chain of thought: uniform, static optimum, round robin with stop, oracle.
GAME24 = {2: (0.073, 0.156, 0.074, 0.218), 8: (0.186, 0.279, 0.198, 0.372), 32: (0.334, 0.429, 0.363, 0.490)}


def chances(name):
    data = load_outcomes(name)
    return data.successes / data.attempts, fit_beta(attempts=data.attempts, successes=data.successes)


@pytest.mark.slow
@pytest.mark.parametrize("samples", HUMANEVAL)
def test_rules_reach_the_measured_shares_of_human_eval(samples):
    p, prior = chances("humaneval")
    budget = samples * len(p)
    uniform, bins, static, turns, *hinted, adaptive = HUMANEVAL[samples]
    assert oracle.static_solved(p, np.full(len(p), samples)) == pytest.approx(uniform, abs=0.001)
    assert oracle.static_solved(p, oracle.static_bins(p, budget)) == pytest.approx(bins, abs=0.01)
    assert oracle.static_solved(p, oracle.static_optimum(p, budget)) == pytest.approx(static, abs=0.001)
    if turns is not None:
        found = rules.round_robin(p, budget, replications=REPLICATIONS, seed=0)
        assert found == pytest.approx(turns, abs=0.01)
    for sigma, expected in zip((5, 2, 1, 0.5), hinted, strict=True):
        if expected is not None:
            what = {"sigma": sigma, "prior": prior, "replications": REPLICATIONS, "seed": 0}
            assert rules.posterior_greedy(p, budget, **what) == pytest.approx(expected, abs=0.01)
    if adaptive is not None:
        found = rules.oracle_adaptive(p, budget, replications=REPLICATIONS, seed=0)
        assert found == pytest.approx(adaptive, abs=0.01)


@pytest.mark.parametrize("samples", GAME24)
def test_rules_reach_the_measured_shares_of_game_of_24(samples):
    p, _ = chances("game24_chain_of_thought")
    budget = samples * len(p)
    uniform, static, turns, adaptive = GAME24[samples]
    assert oracle.static_solved(p, np.full(len(p), samples)) == pytest.approx(uniform, abs=0.002)
    assert oracle.static_solved(p, oracle.static_optimum(p, budget)) == pytest.approx(static, abs=0.002)
    found = rules.round_robin(p, budget, replications=REPLICATIONS, seed=0)
    assert found == pytest.approx(turns, abs=0.01)
    assert rules.oracle_adaptive(p, budget, replications=REPLICATIONS, seed=0) == pytest.approx(adaptive, abs=0.01)


def test_knowing_difficulty_is_worth_four_times_the_samples():
    p, _ = chances("humaneval")
    at_four = rules.oracle_adaptive(p, 4 * len(p), replications=REPLICATIONS, seed=0)
    uniform = oracle.static_solved(p, np.full(len(p), 16))
    assert at_four >= uniform
    bins = oracle.static_solved(p, oracle.static_bins(p, 8 * len(p)))
    assert abs(bins - uniform) <= 0.02, "five static bins are worth about twice"


def test_the_best_bins_give_the_fourth_nothing_until_16_samples_and_the_fifth_nothing_at_all():
    p, _ = chances("humaneval")
    groups = np.array_split(np.argsort(-p, kind="stable"), 5)
    for samples in (1, 2, 4, 8, 16, 32):
        attempts = oracle.static_bins(p, samples * len(p))
        fourth, fifth = (int(attempts[groups[place]].sum()) for place in (3, 4))
        assert (fourth > 0) == (samples >= 16), samples
        assert fifth == 0
        assert attempts.sum() == samples * len(p)


def test_hints_of_infinite_noise_collapse_to_turns_with_a_stop():
    p, prior = chances("humaneval")
    what = {"replications": 200, "seed": 1}
    for samples in (1, 4):
        blind = rules.posterior_greedy(p, samples * len(p), sigma=np.inf, prior=prior, **what)
        turns = rules.round_robin(p, samples * len(p), **what)
        assert blind == pytest.approx(turns, abs=0.008)
        vague = rules.posterior_greedy(p, samples * len(p), sigma=200.0, prior=prior, **what)
        assert vague == pytest.approx(turns, abs=0.02)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(0, 12))
def test_the_static_optimum_is_no_worse_than_any_other_allocation(p, budget):
    p = np.array(p)
    best = oracle.static_optimum(p, budget)
    assert best.sum() == budget
    generator = np.random.default_rng(0)
    for _ in range(20):
        other = generator.multinomial(budget, np.full(len(p), 1 / len(p)))
        assert oracle.static_solved(p, best) >= oracle.static_solved(p, other) - 1e-12


@pytest.mark.parametrize("rule", ["round_robin", "oracle_adaptive"])
def test_vectorised_rules_equal_a_simulation_sample_by_sample(rule):
    p, budget = np.array([0.9, 0.5, 0.2, 0.05, 0.0]), 8
    choices = {
        "round_robin": lambda attempts, solved: min(
            (i for i in range(len(p)) if not solved[i]), key=lambda i: (attempts[i], order[i])
        ),
        "oracle_adaptive": lambda attempts, solved: max(
            (i for i in range(len(p)) if not solved[i]), key=lambda i: p[i]
        ),
    }
    generator, found = np.random.default_rng(0), []
    for _ in range(4000):
        order = generator.permutation(len(p))
        found.append(oracle.play_rule(p, budget, choices[rule], generator))
    expected, error = np.mean(found), np.std(found) / np.sqrt(len(found))
    assert getattr(rules, rule)(p, budget, replications=4000, seed=2) == pytest.approx(expected, abs=5 * error)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_the_largest_posterior_mean_is_optimal_with_a_perfect_verifier_and_unit_costs(seed):
    generator = np.random.default_rng(seed)
    values = generator.random((3, 3)).tolist()
    weights = generator.dirichlet(np.ones(3), 3).tolist()
    best, greedy = oracle.best_expected(values, weights, 4)
    assert greedy == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize(("p", "sigma"), [(0.02, 1.0), (0.3, 0.5), (0.7, 2.0), (0.98, 1.0)])
def test_the_belief_given_a_hint_has_the_moments_of_the_exact_posterior(p, sigma):
    prior = BetaFit(0.254, 0.893)
    grid, logits = rules.belief_grid(prior, 512)
    alpha, beta = (float(x) for x in rules.noisy_logit_beta(oracle.logit(p), sigma, grid=grid, logits=logits))
    mean, variance = oracle.beta_posterior(oracle.logit(p), sigma, *prior)
    assert alpha / (alpha + beta) == pytest.approx(mean, abs=0.01)
    found = alpha * beta / ((alpha + beta) ** 2 * (alpha + beta + 1))
    assert found**0.5 == pytest.approx(variance**0.5, abs=0.01)
