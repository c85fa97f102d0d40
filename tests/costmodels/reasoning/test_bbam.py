"""Budgets of sub-questions: the uncertainty model, its best allocations, schedulers and plans, against plain Python."""

import itertools

import bbam_oracle as oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.reasoning.plan import bbam, plans, schedulers
from dsegym.costmodels.reasoning.plan.schedulers import MOST

SEEDS = np.random.SeedSequence(11).generate_state(1000)
# A plan's sub-questions: scale in tokens, ease, aleatoric uncertainty.
PARTS = st.lists(st.tuples(st.floats(2, 80), st.floats(1, 2), st.floats(0, 0.5)), min_size=1, max_size=MOST)


def world(name="measured", spread_beta=0.5, credit_noise=0.3):
    return plans.World(
        trend=plans.trend(name),
        credit_trend=plans.trend("measured"),
        apart=np.float32(name != "equal"),
        spread_beta=np.float32(spread_beta),
        credit_noise=np.float32(credit_noise),
    )


@jax.jit
def _drawn(seeds, world):
    return jax.vmap(plans.draw, in_axes=(0, None))(seeds, world)


def drawn(**options):
    return jax.tree.map(np.asarray, _drawn(SEEDS, world(**options)))


def padded(parts):
    """float32[1, MOST] each: scale, ease, aleatoric."""
    table = np.zeros((3, 1, MOST), np.float32)
    table[:, 0, : len(parts)] = np.array(parts).T
    return table


def best(kind, parts, budget):
    """float64[m]: the best tokens of one plan."""
    tokens = bbam.best_allocation(kind, *padded(parts), np.full(1, budget, np.float32))
    return np.asarray(tokens, float)[0, : len(parts)]


def worth(kind, parts, tokens):
    plan = oracle.Plan(0, [0] * len(parts), *zip(*((b0**beta, beta, u) for b0, beta, u in parts), strict=True))
    return oracle.utility_of(kind, plan, list(tokens))


def values_on_grid(kind, parts, budget, cells):
    """float64[m, cells + 1] for the knapsack."""
    rows = []
    for b0, beta, u in parts:
        grid = np.arange(cells + 1) * budget / cells
        if kind == "sum":
            rows.append([-np.inf, *(-oracle.uncertainty(b, b0**beta, beta, u) for b in grid[1:])])
        else:
            solved = np.array([oracle.success(b, b0**beta, beta, u) for b in grid])
            rows.append(np.log(np.maximum(solved, 1e-300)) if kind == "all" else solved)
    return np.where(np.array(rows) < -600, -np.inf, np.array(rows))


# --- The model --------------------------------------------------------------------------------------------------------


@given(st.floats(1, 5000), st.floats(1, 200), st.floats(1, 3), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_uncertainty_and_success_are_the_formulas(b, b0, beta, u):
    what = {"scale_tokens": b0, "ease": beta, "aleatoric": u}
    c = b0**beta
    assert float(bbam.initial_uncertainty(b0, beta)) == pytest.approx(c, rel=1e-5)
    assert float(bbam.uncertainty(b, **what)) == pytest.approx(oracle.uncertainty(b, c, beta, u), rel=1e-4)
    assert float(bbam.success(b, **what)) == pytest.approx(oracle.success(b, c, beta, u), rel=1e-4, abs=1e-5)


def test_no_more_tokens_than_the_scale_are_of_no_use():
    what = {"scale_tokens": 50.0, "ease": 1.5, "aleatoric": 0.2}
    assert [float(bbam.success(b, **what)) for b in (0.0, 10.0, 50.0)] == [0, 0, 0]
    assert float(bbam.success(51.0, **what)) > 0
    assert float(bbam.success(1e7, **what)) == pytest.approx(0.8)


@given(PARTS, st.lists(st.floats(1, 500), min_size=MOST, max_size=MOST), st.sampled_from(bbam.UTILITIES))
@settings(deadline=None, max_examples=60)
def test_the_utility_of_a_plan_is_the_formula(parts, tokens, kind):
    scale, ease, aleatoric = padded(parts)[:, 0]
    found = bbam.plan_utility(kind, np.array(tokens, np.float32), scale_tokens=scale, ease=ease, aleatoric=aleatoric)
    assert float(found) == pytest.approx(worth(kind, parts, tokens[: len(parts)]), rel=1e-3, abs=1e-5)


# --- Best allocations -------------------------------------------------------------------------------------------------


@given(PARTS, st.floats(1, 3), st.floats(50, 2000))
@settings(deadline=None, max_examples=60)
def test_with_equal_ease_the_allocation_is_the_closed_form_with_exponent_one_over_beta_plus_one(parts, beta, budget):
    parts = [(b0, beta, u) for b0, _, u in parts]
    c = np.array([b0**beta for b0, _, _ in parts])
    share = c ** (1 / (beta + 1))
    expected = budget * share / share.sum()
    np.testing.assert_allclose(bbam.allocate_equal(c, beta, budget), expected, rtol=1e-4)
    np.testing.assert_allclose(best("sum", parts, budget), expected, rtol=1e-3)


@pytest.mark.parametrize("kind", ["sum", *(pytest.param(each, marks=pytest.mark.slow) for each in ("clamped", "all"))])
def test_the_closed_form_beats_every_scheduler_on_a_thousand_plans(kind):
    plan = drawn()
    budgets = np.array(oracle.BUDGETS)[plan.level]
    tokens = bbam.best_allocation(kind, plan.scale_tokens, plan.ease, plan.aleatoric, budgets.astype(np.float32))
    np.testing.assert_allclose(np.sum(tokens, axis=1), budgets, rtol=1e-5)

    @jax.jit
    @jax.vmap
    def utility(b, b0, beta, u):
        return bbam.plan_utility(kind, b, scale_tokens=b0, ease=beta, aleatoric=u)

    what = (plan.scale_tokens, plan.ease, plan.aleatoric)
    optimum = np.asarray(utility(tokens, *what))
    share = jax.jit(jax.vmap(schedulers.shared_tokens))
    here = np.arange(MOST) < plan.count[:, None]
    for name in (*schedulers.SCHEDULES, "uniform"):
        table = schedulers.schedule_table("constant" if name == "uniform" else name)[plan.count - 1]
        _, given = share(table * (here if name == "uniform" else plan.credits), budgets)
        reached = np.asarray(utility(np.asarray(given, np.float32), *what))
        assert (reached <= optimum + 1e-5).all(), name
        several = plan.count > 1
        assert (reached < optimum - 1e-4)[several].mean() > 0.5, name


@given(PARTS, st.floats(30, 900), st.sampled_from(bbam.UTILITIES))
@settings(deadline=None, max_examples=40)
def test_the_allocation_is_the_exact_one_of_dynamic_programming_within_the_grid(parts, budget, kind):
    """On a grid of step d, the optimum lies between the continuous ones of B - m d (rounded up) and of B."""
    cells = 128
    _, given = bbam.knapsack(values_on_grid(kind, parts, budget, cells))
    given = np.asarray(given)
    assert given.sum() <= cells
    step = budget / cells
    on_grid = given * step
    continuous = worth(kind, parts, best(kind, parts, budget))
    if kind == "sum" and not on_grid.all():
        return  # fewer cells than sub-questions
    found = worth(kind, parts, on_grid)
    less = budget - len(parts) * step
    assert worth(kind, parts, best(kind, parts, less)) <= found + 1e-4 * max(1, abs(found))
    assert found <= continuous + 1e-4 * max(1, abs(found))


def test_the_knapsack_is_the_best_of_all_allocations():
    generator = np.random.default_rng(0)
    for count, cells in ((1, 5), (4, 6)):
        values = generator.normal(size=(count, cells + 1)).astype(np.float32)
        values[generator.random(values.shape) < 0.2] = -np.inf
        values[:, 0] = np.maximum(values[:, 0], -5)
        every = [
            (sum(float(values[j, g]) for j, g in enumerate(given)), given)
            for given in itertools.product(range(cells + 1), repeat=count)
            if sum(given) <= cells
        ]
        value, given = bbam.knapsack(values)
        assert float(value) == pytest.approx(max(every)[0], rel=1e-5)
        assert sum(float(values[j, g]) for j, g in enumerate(np.asarray(given))) == pytest.approx(
            float(value), rel=1e-5
        )
        assert int(np.sum(given)) <= cells


@pytest.mark.parametrize("kind", bbam.UTILITIES)
def test_no_whole_tokens_do_better_by_the_oracles_own_dynamic_programming(kind):
    plan, count = drawn(), 12
    for k in range(count):
        each = oracle.draw(int(SEEDS[k]))
        budget = oracle.BUDGETS[each.level] // 2
        value, tokens = oracle.best_whole_tokens(kind, each, budget)
        assert sum(tokens) <= budget
        parts = np.stack([leaf[k] for leaf in (plan.scale_tokens, plan.ease, plan.aleatoric)], 1)[: len(each)]
        ours = worth(kind, parts.tolist(), best(kind, parts.tolist(), budget))
        assert value <= ours + 1e-5
        assert ours - value < 1e-3


def test_sub_questions_are_abandoned_where_the_budget_is_tight_and_only_there():
    parts = [(20, 1, 0.1), (20, 1, 0.1), (90, 1, 0.1)]
    assert (best("clamped", parts, 150) > 0).tolist() == [True, True, False]
    assert (best("clamped", parts, 900) > 0).all()
    assert (best("sum", parts, 150) > 0).all()


def test_a_conjunction_gives_every_sub_question_more_than_its_scale_if_the_budget_allows():
    parts = [(20, 1, 0.1), (20, 1.5, 0.1), (90, 1, 0.1)]
    assert (best("all", parts, 131) > [20, 20, 90]).all()
    assert worth("all", parts, best("all", parts, 131)) > 0
    assert worth("all", parts, best("all", parts, 129)) == 0


# --- What allocations depend on ---------------------------------------------------------------------------------------


@given(st.floats(2, 80), st.floats(1, 2), st.integers(2, MOST), st.sampled_from(bbam.UTILITIES), st.floats(1.1, 4))
@settings(deadline=None, max_examples=60)
def test_equal_sub_questions_get_equal_tokens_and_unequal_ones_do_not(b0, beta, count, kind, factor):
    """`clamped` may abandon some, so the budget is ample here."""
    parts, budget = [(b0, beta, 0.1)] * count, 20 * count * b0
    np.testing.assert_allclose(best(kind, parts, budget), budget / count, rtol=2e-3)
    other = [(factor * b0, beta, 0.1), *parts[1:]]
    even = np.full(count, budget / count)
    assert worth(kind, other, best(kind, other, budget)) > worth(kind, other, even)
    assert best(kind, other, budget)[0] > 1.01 * budget / count


def test_unequal_sub_questions_can_be_served_evenly_at_one_budget_only():
    """Where c_1 beta_1 / b^(beta_1 + 1) = c_2 beta_2 / b^(beta_2 + 1) at an even share: the exception to the rule."""
    b = 100.0
    parts = [(20.0, 1.0, 0.0), ((20.0 / 2 / b * b**2) ** 0.5, 2.0, 0.0)]
    np.testing.assert_allclose(best("sum", parts, 2 * b), b, rtol=1e-3)
    for budget in (b, 4 * b):
        assert abs(best("sum", parts, budget)[0] / (budget / 2) - 1) > 0.05


@given(PARTS, st.floats(100, 900), st.floats(0, 0.9))
@settings(deadline=None, max_examples=40)
def test_aleatoric_terms_never_move_the_allocation_of_sum_and_all(parts, budget, u):
    for kind in ("sum", "all"):
        changed = [(b0, beta, u) for b0, beta, _ in parts]
        np.testing.assert_array_equal(best(kind, parts, budget), best(kind, changed, budget))


def test_aleatoric_terms_move_the_allocation_of_clamped_where_they_are_factors():
    surer, less_sure = best("clamped", [(20, 1, 0.0), (20, 1, 0.5)], 200)
    assert surer / less_sure == pytest.approx(2**0.5, rel=1e-3)


@given(st.floats(1, 2.5), st.floats(1.1, 9))
@settings(deadline=None, max_examples=40)
def test_a_larger_uncertainty_gets_more_tokens_with_exponent_one_over_beta_plus_one(beta, factor):
    parts = [(20.0, beta, 0.0), (20.0 * factor ** (1 / beta), beta, 0.0)]
    less, more = best("sum", parts, 500)
    assert more / less == pytest.approx(factor ** (1 / (beta + 1)), rel=2e-3)
    assert 1 < more / less < factor


def test_what_is_easily_reduced_gets_fewer_tokens_at_a_large_budget():
    hard, easy = best("sum", [(30, 1, 0), (30, 2, 0)], 5000)
    assert easy < hard / 3
    hard, easy = best("sum", [(30, 1, 0), (30, 2, 0)], 40)
    assert easy > hard


def test_doubling_the_budget_doubles_every_share_only_where_ease_is_equal():
    same = [(10, 1.5, 0), (40, 1.5, 0.2), (25, 1.5, 0.1)]
    np.testing.assert_allclose(best("sum", same, 800), 2 * best("sum", same, 400), rtol=1e-3)
    other = [(10, 1.0, 0), (40, 1.5, 0.2), (25, 2.0, 0.1)]
    assert np.abs(best("sum", other, 800) / (2 * best("sum", other, 400)) - 1).max() > 0.05


# --- Schedulers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", schedulers.SCHEDULES)
def test_schedules_are_the_released_ones(name):
    table = schedulers.schedule_table(name)
    for n in range(1, MOST + 1):
        expected = [oracle.position(name, i, n) for i in range(n)] + [0] * (MOST - n)
        np.testing.assert_allclose(table[n - 1], expected, rtol=1e-6)
    assert (table[:, 0] > 0).all()


@given(
    st.lists(st.floats(0.01, 1), min_size=1, max_size=MOST),
    st.sampled_from(list(schedulers.SCHEDULES)),
    st.sampled_from(oracle.BUDGETS),
)
@settings(deadline=None, max_examples=150)
def test_tokens_are_rounded_down_and_the_rest_goes_to_the_largest_shares(credits, name, budget):
    credits = [each / sum(credits) for each in credits]
    weights = np.zeros(MOST, np.float32)
    weights[: len(credits)] = credits
    weights *= schedulers.schedule_table(name)[len(credits) - 1]
    down, given = (np.asarray(leaf) for leaf in schedulers.shared_tokens(jnp.asarray(weights), budget))
    assert given.sum() == budget
    assert not given[len(credits) :].any()
    exact = [float(each) for each in weights[: len(credits)]]
    assert down[: len(credits)].tolist() == oracle.rounded_down(exact, budget)
    assert given[: len(credits)].tolist() == oracle.handed_out(exact, budget)


def test_an_even_share_has_no_rounding_error():
    for n, budget in itertools.product(range(1, MOST + 1), (*oracle.BUDGETS, 420, 840)):
        weights = (np.arange(MOST) < n).astype(np.float32)
        down, _ = schedulers.shared_tokens(jnp.asarray(weights), budget)
        assert np.asarray(down)[:n].tolist() == [budget // n] * n


@pytest.mark.parametrize(
    ("name", "shares"), [("linear", (0.32, 0.30, 0.23, 0.14)), ("cosine", (0.38, 0.38, 0.18, 0.06))]
)
def test_measured_credits_of_four_sub_questions_are_turned_round_by_decays(name, shares):
    weights = np.array(schedulers.MEASURED_CREDITS[4]) * schedulers.schedule_table(name)[3, :4]
    assert (weights / weights.sum()).round(2) == pytest.approx(shares, abs=0.0101)
    assert np.diff(schedulers.MEASURED_CREDITS[4]).min() > 0


# --- Plans ------------------------------------------------------------------------------------------------------------


def test_numbers_of_sub_questions_are_the_measured_ones():
    np.testing.assert_allclose(plans.COUNTS.sum(1), 1.0)
    np.testing.assert_allclose(plans.COUNTS @ np.arange(1, 8), schedulers.MEAN_COUNTS, atol=0.005)
    of_500 = np.array(schedulers.LEVEL_PROBLEMS) @ plans.COUNTS
    np.testing.assert_allclose(of_500, [1, 69, 156, 133, 132, 7, 2], atol=9)
    seen = np.bincount(drawn().count, minlength=8)[1:] / len(SEEDS)
    np.testing.assert_allclose(seen, of_500 / 500, atol=0.045)


@pytest.mark.parametrize("name", plans.WORLDS)
def test_a_plan_is_the_oracles(name):
    found = drawn(name=name, spread_beta=0.8, credit_noise=0.4)
    counts = set()
    for k in range(200):
        expected = oracle.draw(int(SEEDS[k]), name, 0.8, 0.4)
        n = len(expected)
        counts.add(n)
        assert (found.level[k], found.count[k]) == (expected.level, n)
        np.testing.assert_allclose(found.credits[k, :n], expected.credits, rtol=1e-4)
        np.testing.assert_allclose(found.scale_tokens[k, :n] ** found.ease[k, :n], expected.c, rtol=1e-3)
        np.testing.assert_allclose(found.ease[k, :n], expected.beta, rtol=1e-5)
        np.testing.assert_allclose(found.aleatoric[k, :n], expected.u, rtol=1e-4, atol=1e-7)
        for leaf in (found.credits, found.scale_tokens, found.ease, found.aleatoric):
            assert not leaf[k, n:].any()
    assert len(counts) >= 4


def test_credits_have_the_measured_means_in_every_world():
    for name in plans.WORLDS:
        found = drawn(name=name)
        for n, expected in schedulers.MEASURED_CREDITS.items():
            of_n = found.credits[found.count == n][:, :n]
            np.testing.assert_allclose(of_n.mean(0), expected, atol=0.035)


def test_true_difficulty_has_the_trend_of_the_world():
    for name, sign in (("decreasing", -1), ("increasing", 1), ("measured", 1), ("equal", 0)):
        found = drawn(name=name)
        first, last = (
            found.scale_tokens[np.arange(len(SEEDS)), i] for i in (np.zeros(len(SEEDS), int), found.count - 1)
        )
        several = found.count > 1
        assert np.sign(np.log(last / first)[several].mean().round(4)) == sign


def test_in_the_equal_world_sub_questions_of_a_plan_are_alike_and_plans_are_not():
    found = drawn(name="equal")
    for leaf in (found.scale_tokens, found.ease, found.aleatoric):
        own = [row[:n] for row, n in zip(leaf, found.count, strict=True)]
        assert all(np.ptp(row) <= 1e-6 * row[0] for row in own)
        assert len({float(row[0]) for row in own}) > 100
