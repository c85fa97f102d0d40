"""Sleep-time compute: the accuracy curve, what sleep is worth, and best allocations, against plain Python."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import sleep_oracle as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.reasoning.sleep import bounds
from dsegym.costmodels.reasoning.sleep import model as sleep

PLAIN = sleep.PLAIN_TOKENS
HIGH = 0.8  # predictability


def contexts(count, seed=0):
    generator = np.random.default_rng(seed)
    return [
        oracle.Context(int(generator.integers(1, 9)), float(generator.random()), 0.5, int(generator.integers(2**32)))
        for _ in range(count)
    ]


def best(found, *, budget, price, most=8):
    return bounds.best_allocation(
        queries=[each.queries for each in found],
        predictability=[each.rho for each in found],
        difficulty=[[oracle.difficulty(each.seed, query) for query in range(most)] for each in found],
        budget_tokens=budget,
        price=price,
    )


# --- The curve --------------------------------------------------------------------------------------------------------


@given(st.floats(0, 20_000), st.floats(0, 200_000), st.floats(0, 1), st.floats(0.5, 2))
@settings(deadline=None, max_examples=50)
def test_the_accuracy_is_the_formula(b, s, rho, d):
    found = sleep.accuracy(b, rho * sleep.worth(s), d)
    assert float(found) == pytest.approx(oracle.accuracy(b, s, rho, d), rel=1e-5)
    wanted = oracle.accuracy(b, s, rho, d)
    if wanted < sleep.CEILING - 1e-6:
        tokens = float(oracle.tokens_for(wanted, difficulty=d))
        assert tokens == pytest.approx(b + rho * oracle.worth(s), rel=1e-6, abs=1e-3)


def test_worth_and_accuracy_rise_ever_more_slowly_to_their_limits():
    grid = jnp.linspace(0, 100_000, 101)
    for values, limit in ((sleep.worth(grid), 2000), (sleep.accuracy(grid / 10, 0.0), 0.9)):
        steps = np.diff(np.asarray(values, float))
        assert (steps > 0).sum() > 50
        assert (np.diff(steps) < 1e-3).all()
        assert values[-1] == pytest.approx(limit, rel=1e-3)
    assert float(sleep.worth(0.0)) == 0
    assert float(sleep.accuracy(0.0, 0.0)) == pytest.approx(0.3)


# --- What sleep is worth ----------------------------------------------------------------------------------------------


def test_predictable_queries_need_five_times_fewer_test_tokens_at_equal_accuracy():
    """By the choice of the constants."""
    wanted = oracle.accuracy(PLAIN, 0.0, HIGH)
    left = oracle.tokens_for(wanted) - HIGH * oracle.worth(1e9)
    assert PLAIN / left == pytest.approx(5.0, rel=1e-6)
    assert oracle.accuracy(left, 1e9, HIGH) == pytest.approx(wanted)


def test_ten_queries_of_a_context_cost_2_5_times_less_each():
    """At the price of 10, by the choice of the constants."""
    slept = sleep.cheapest_sleep(PLAIN, predictability=HIGH, queries=10, price=10)
    left = PLAIN - HIGH * oracle.worth(slept)
    plain = sleep.cost_per_query(0.0, PLAIN, queries=10, price=10)
    ratio = plain / sleep.cost_per_query(slept, left, queries=10, price=10)
    assert ratio == pytest.approx(2.5, abs=0.1)
    alone = sleep.cheapest_sleep(PLAIN, predictability=HIGH, queries=1, price=10)
    left = PLAIN - HIGH * oracle.worth(alone)
    once = PLAIN * 10 / sleep.cost_per_query(alone, left, queries=1, price=10)
    assert 1 < once < 1.2, "a single query hardly gains"


@given(st.floats(10, 6000), st.floats(0.01, 1), st.integers(1, 40), st.floats(0.1, 50))
@settings(max_examples=40, deadline=None)
def test_the_cheapest_sleep_is_the_grids(tokens, rho, queries, price):
    _, cost = oracle.cheapest_by_grid(tokens, rho=rho, queries=queries, price=price)
    slept = sleep.cheapest_sleep(tokens, predictability=rho, queries=queries, price=price)
    left = max(tokens - rho * oracle.worth(slept), 0.0)
    assert sleep.cost_per_query(slept, left, queries=queries, price=price) <= cost * (1 + 1e-9)


@pytest.mark.parametrize(("queries", "price", "sleeps"), [(1, 1, False), (1, 5, False), (10, 1, True), (1, 10, True)])
def test_a_single_query_at_a_low_price_is_not_worth_any_sleep(queries, price, sleeps):
    """Sleep begins to pay at n t rho G = sigma, so at n t = 6.25 where rho is 0.8."""
    slept = sleep.cheapest_sleep(PLAIN, predictability=HIGH, queries=queries, price=price)
    assert (slept > 0) == sleeps
    assert (oracle.cheapest_by_grid(PLAIN, rho=HIGH, queries=queries, price=price)[0] > 0) == sleeps


@given(st.floats(1, 3000), st.floats(0, 1), st.integers(1, 30), st.floats(0.1, 30), st.floats(0.5, 2))
@settings(deadline=None, max_examples=60)
def test_sleep_pays_up_to_the_break_even(before, part, queries, price, factor):
    after = before * part
    limit = float(oracle.break_even_tokens(before, after, queries=queries, price=price))
    slept = factor * limit
    with_sleep = sleep.cost_per_query(slept, after, queries=queries, price=price)
    without = sleep.cost_per_query(0.0, before, queries=queries, price=price)
    if abs(slept - limit) > 1e-6 * price * queries * before:
        assert (with_sleep < without) == (slept < limit)


@pytest.mark.parametrize("queries", [1, 3, 10])
def test_what_sleep_saves_grows_with_the_predictability(queries):
    costs = []
    for rho in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        slept = sleep.cheapest_sleep(PLAIN, predictability=rho, queries=queries, price=10) if rho else 0.0
        left = max(PLAIN - rho * oracle.worth(slept), 0.0)
        costs.append(float(sleep.cost_per_query(slept, left, queries=queries, price=10)))
    assert costs[0] == PLAIN * 10
    assert (np.diff(costs) <= 0).all()
    assert costs[-1] < costs[0]


# --- Best allocations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "price"), [(60_000, 10.0), (5_000, 10.0), (4_000, 1.0), (2_000, 0.5)])
def test_the_bound_is_above_every_allocation_of_a_grid_and_close_to_the_best(budget, price):
    found = contexts(6)
    allocation = best(found, budget=budget, price=price)
    for place, context in enumerate(found):
        by_grid = oracle.best_by_grid(context, budget=budget, price=price)
        assert by_grid <= allocation.bound[place] + 1e-12
        assert by_grid == pytest.approx(allocation.bound[place], abs=3e-3)


def test_an_allocation_keeps_the_budget_and_has_the_accuracy_that_it_says():
    found, budget, price = contexts(40, seed=1), 30_000.0, 10.0
    allocation = best(found, budget=budget, price=price)
    assert (allocation.sleep_tokens + price * allocation.test_tokens.sum(1) <= budget * (1 + 1e-9)).all()
    assert (allocation.bound - allocation.accuracy >= 0).all()
    assert (allocation.bound - allocation.accuracy).max() < 1e-9
    for place, context in enumerate(found):
        tokens = allocation.test_tokens[place]
        assert (tokens >= 0).all()
        assert not tokens[context.queries :].any()
        answers = [
            oracle.accuracy(
                tokens[query], allocation.sleep_tokens[place], context.rho, oracle.difficulty(context.seed, query)
            )
            for query in range(context.queries)
        ]
        assert np.mean(answers) == pytest.approx(allocation.accuracy[place], abs=1e-12)


def test_random_allocations_never_beat_the_bound():
    generator, found, budget, price = np.random.default_rng(3), contexts(20, seed=2), 20_000.0, 10.0
    bound = best(found, budget=budget, price=price).bound
    for place, context in enumerate(found):
        for _ in range(50):
            parts = generator.dirichlet([0.5] * (context.queries + 1)) * budget
            answers = [
                oracle.accuracy(part / price, parts[0], context.rho, oracle.difficulty(context.seed, query))
                for query, part in enumerate(parts[1:])
            ]
            assert np.mean(answers) <= bound[place]


def test_unpredictable_contexts_get_no_sleep_and_equal_queries_equal_tokens():
    allocation = bounds.best_allocation(
        queries=[4, 4], predictability=[0.0, 0.9], difficulty=np.ones((2, 6)), budget_tokens=40_000.0, price=10.0
    )
    assert allocation.sleep_tokens[0] == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(allocation.test_tokens[0], [1000] * 4 + [0, 0], rtol=1e-6)
    assert allocation.accuracy[0] == pytest.approx(0.9 - 0.6 * math.exp(-1))
    # With rho = 0.9 the marginal token asleep, 4 * 10 * 0.9 * 2000 / 10000 exp(-s / 10000), is worth one token at test.
    assert allocation.sleep_tokens[1] == pytest.approx(10_000 * math.log(7.2), rel=1e-6)


def test_more_budget_or_predictability_never_hurts():
    rho = np.linspace(0, 1, 11)
    accuracies = [
        bounds.best_allocation(
            queries=[5] * 11, predictability=rho, difficulty=np.ones((11, 5)), budget_tokens=budget, price=10.0
        ).accuracy
        for budget in (100.0, 1_000.0, 10_000.0, 100_000.0)
    ]
    assert (np.diff(accuracies, axis=0) > 0).all()
    assert (np.diff(accuracies, axis=1) >= -1e-12).all()
