"""Budgets of sub-questions: costs and episodes against the oracle, yardsticks, worlds and errors."""

import functools

import bbam_oracle as oracle
import jax
import numpy as np
import pytest

import dsegym
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import InvalidOptionError, UnknownNameError
from dsegym.costmodels.reasoning.plan.bbam import UTILITIES, plan_utility
from dsegym.costmodels.reasoning.plan.bounds import drawn_plans, least_failure
from dsegym.costmodels.reasoning.plan.game import Metrics, least_tokens
from dsegym.costmodels.reasoning.scores import e3
from dsegym.envs.core.policies import HELD_OUT, SEARCH, seeds_of
from dsegym.envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from dsegym.envs.reasoning.sub_question_budget import EPISODES, SCENARIO, SPACE, SubQuestionBudget

SCENARIO_ID = "dsegym/SubQuestionBudget-v0"
RELEASED = ("constant", "linear", "polynomial", "exponential", "cosine")


def mostly_slow(*fast):
    """Every utility; those not named compile programs of their own only to say the same."""
    rows = [each if each in fast else pytest.param(each, marks=pytest.mark.slow) for each in UTILITIES]
    return pytest.mark.parametrize("utility", rows)


every_utility = mostly_slow("sum", "clamped")


def make_problem(**options):
    return dsegym.make_problem(SCENARIO_ID, **options)


@functools.cache
def words_of(which):
    """The plans' seeds, as an episode's key gives them."""
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 0))(seeds_of(which, EPISODES))
    return np.asarray(jax.vmap(lambda key: jax.random.bits(key, (), np.uint32))(keys)).tolist()


def plans_of(problem, which, count=EPISODES):
    """(plan, budget in tokens) of episodes, by the oracle."""
    options = problem.options
    drawn = [
        oracle.draw(word, options["world"], float(options["spread_beta"]), float(options["credit_noise"]))
        for word in words_of(which)[:count]
    ]
    return [(plan, round(oracle.BUDGETS[plan.level] * float(options["budget"]))) for plan in drawn]


def by_oracle(problem, values, which=SEARCH):
    """The mean utility and tokens of a design by its values."""
    kind = problem.options["utility"]
    results = [
        oracle.play(kind, plan, budget, oracle.policy(values, plan, budget))
        for plan, budget in plans_of(problem, which)
    ]
    return np.mean([each.utility for each in results]), np.mean([sum(each.tokens) for each in results])


@functools.cache
def beginning(problem):
    """The jitted `seed -> (first state, word of the plan)` of an episode."""
    env = problem.functional_env("tokens")

    @jax.jit
    def begin(seed):
        key = jax.random.fold_in(jax.random.key(seed), 0)
        return env.start(key, problem.params), jax.random.bits(key, (), np.uint32)

    return begin


def start(env, seed):
    """Puts a Gymnasium environment at the start of the episode of a seed, and gives the oracle's plan."""
    env.reset(seed=0)
    env.state, word = beginning(env.problem)(np.uint32(seed))
    return oracle.draw(int(word))


# --- Instances --------------------------------------------------------------------------------------------------------


def test_agents_are_offered_only_forms_whose_episodes_are_designs():
    problem = make_problem()
    assert list(problem.forms) == ["decisions", "tokens", "parametric", "sequential"]
    assert Referee(problem, 1).forms == ("parametric", "sequential")


def test_core_instances_cover_every_utility_and_share_one_cost_function_for_each():
    core = SCENARIO.core_instances()
    assert {row["utility"] for row in core} == set(UTILITIES)
    assert len({tuple(row.values()) for row in core}) == len(core)
    costs = {(row["utility"], make_problem(**row).cost) for row in core if row["utility"] != "all"}
    assert len(costs) == 2


# --- Costs against the oracle -----------------------------------------------------------------------------------------


@pytest.mark.slow
@every_utility
def test_the_cost_of_a_design_is_the_oracles_over_the_same_plans(utility):
    generator = np.random.default_rng(3)
    problem = make_problem(utility=utility, world="decreasing", credit_noise="0.6")
    designs = np.concatenate([[problem.baselines[name]() for name in problem.baselines], SPACE.sample(generator, 16)])
    found = problem.evaluate(designs)
    for number, design in enumerate(designs):
        accuracy, tokens = by_oracle(problem, SPACE.decode(design))
        assert found.metrics.accuracy[number] == pytest.approx(accuracy, abs=2e-4), SPACE.decode(design)
        assert found.metrics.tokens[number] == pytest.approx(tokens, abs=0.05)
        assert found.objective[number] == pytest.approx(1 - accuracy, abs=2e-4)
    assert len(set(found.objective.round(5))) >= 20


@pytest.mark.parametrize("options", [{"budget": "0.37"}, {"world": "equal", "spread_beta": "1"}], ids=str)
def test_other_budgets_and_worlds_cost_what_the_oracle_says_on_the_held_out_plans(options):
    problem = make_problem(**options)
    for name in ("surprised", "drop_hardest"):
        design = problem.baselines[name]()
        accuracy, _ = by_oracle(problem, SPACE.decode(design), HELD_OUT)
        assert problem.evaluate_held_out(design).objective[0] == pytest.approx(1 - accuracy, abs=2e-4)


def test_the_baselines_are_exactly_the_heuristics_that_they_are_named_after():
    """By the released rules, not by the policy's."""
    problem = make_problem()
    env = SubQuestionBudget("clamped")
    decide = jax.jit(lambda design, state: env.decide(design, state, problem.params))
    move = jax.jit(lambda state, tokens: env.advance(state, tokens, problem.params))
    chosen = {name: problem.baselines[name]() for name in (*RELEASED, "uniform", "remaining")}
    for seed in seeds_of(SEARCH, 24):
        state, word = beginning(problem)(seed)
        plan = oracle.draw(int(word))
        n, budget = len(plan), int(state.budget_tokens)
        expected = {name: oracle.scheduled(name, plan.credits, budget) for name in RELEASED}
        expected["uniform"] = [budget // n] * n
        left, expected["remaining"] = budget, []
        for j in range(n):
            expected["remaining"].append(left // (n - j))
            left -= expected["remaining"][-1]
        for name, design in chosen.items():
            now, given = state, []
            for _ in range(n):
                given.append(int(decide(np.array(design), now)))
                now = move(now, given[-1])
            assert given == expected[name], name


@pytest.mark.slow
@every_utility
def test_a_design_costs_the_same_alone_and_in_a_batch(utility):
    problem = make_problem(utility=utility)
    designs = SPACE.sample(np.random.default_rng(5), 40)
    together = problem.evaluate(designs)
    for number in (0, 13, 39):
        alone = problem.evaluate(designs[number])
        for one, all_ in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            assert one[0] == all_[number]


# --- Episodes ---------------------------------------------------------------------------------------------------------


@mostly_slow("clamped")
def test_a_policy_played_step_by_step_gives_what_its_cost_on_the_same_episode_is(utility):
    problem = make_problem(utility=utility)
    env = FunctionalGymnasiumEnv(problem, "tokens")
    decide = jax.jit(lambda design, state: env.functional.decide(design, state, problem.params))
    for name, seed in (("cosine", 5), ("surprised", 6), ("drop_hardest", 7), ("remaining", 8)):
        design = np.array(problem.baselines[name](), np.int32)
        start(env, seed)
        terminated, total, info = False, 0.0, {}
        while not terminated:
            _, reward, terminated, _, info = env.step(int(decide(design, env.state)))
            total += reward
        # As many episodes as the problem has, so that the compiled program serves, all of them this one.
        cost = problem._evaluate_with(problem.params._replace(seeds=np.full(EPISODES, seed, np.uint32)), design)
        assert info["objective"] == pytest.approx(cost.objective[0], abs=1e-5)
        assert total == pytest.approx(1 - info["objective"], abs=1e-5)
        assert info["tokens"] == pytest.approx(cost.metrics.tokens[0])


@mostly_slow("clamped")
def test_decisions_are_twentieths_of_what_is_left_as_the_oracle_plays_them(utility):
    problem = make_problem(utility=utility)
    env, generator = FunctionalGymnasiumEnv(problem, "decisions"), np.random.default_rng(9)
    for seed in range(12):
        plan = start(env, seed)
        n, budget = len(plan), oracle.BUDGETS[plan.level]
        actions = generator.integers(0, 21, n)
        expected = oracle.play(utility, plan, budget, lambda j, left, _, a=actions: int(a[j]) * left // 20)
        left, info = budget, {}
        for j in range(n):
            observation, reward, terminated, truncated, info = env.step(actions[j])
            left -= expected.tokens[j]
            assert observation in env.observation_space
            assert int(env.state.left_tokens) == left
            assert reward == pytest.approx(expected.rewards[j], abs=1e-4)
            assert (terminated, truncated) == (j == n - 1, False)
            shown = [
                (plan.level + 1) / 5,
                n / 7,
                (j + 1) / 7,
                left / budget,
                min(left / max(n - 1 - j, 1) / 100, 10),
                plan.credits[j + 1] if j + 1 < n else 0,
                sum(plan.credits[j + 1 :]),
                min(expected.residuals[j], 2),
                expected.surprises[j],
                *plan.credits,
                *[0] * (7 - n),
                0.3 / 0.55,  # the noise of credits
            ]
            np.testing.assert_allclose(observation, shown, rtol=1e-3, atol=1e-4)
        assert info["objective"] == pytest.approx(1 - expected.utility, abs=1e-4)
        assert info["tokens"] == sum(expected.tokens) <= budget


def test_the_budget_is_hard_and_under_sum_nobody_goes_without():
    for utility, least in (("sum", 1), ("clamped", 0)):
        env = FunctionalGymnasiumEnv(make_problem(utility=utility), "tokens")
        for seed in range(6):
            plan = start(env, seed)
            budget, spent = oracle.BUDGETS[plan.level], []
            for _ in range(len(plan)):
                before = int(env.state.left_tokens)
                env.step(env.action_space.n - 1)
                spent.append(before - int(env.state.left_tokens))
            floor = least * (budget // (10 * len(plan)))
            assert sum(spent) == budget
            assert min(spent) >= floor
            assert spent[1:] == [floor] * (len(plan) - 1)


@pytest.mark.slow
def test_actions_beyond_the_last_count_as_the_nearest():
    env, params = dsegym.make_functional("dsegym/SubQuestionBudget-v0", form="decisions")
    _, state = env.reset(jax.random.key(4), params)
    for wrong, nearest in ((-3, 0), (21, 20)):
        left = [int(env.advance(state, action, params).left_tokens) for action in (wrong, nearest)]
        assert left[0] == left[1]


def test_what_a_plan_hides_does_not_depend_on_what_is_done():
    env = FunctionalGymnasiumEnv(make_problem(), "decisions")
    plan = start(env, 3)
    for action in (0, 5, 20):
        start(env, 3)
        for _ in range(len(plan)):
            env.step(action)
        n, hidden = len(plan), env.state.plan
        np.testing.assert_allclose(hidden.scale_tokens[:n] ** hidden.ease[:n], plan.c, rtol=1e-3)
        np.testing.assert_allclose(hidden.aleatoric[:n], plan.u, rtol=1e-4, atol=1e-7)


# --- Yardsticks and worlds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(row, id=",".join(row.values()), marks=[pytest.mark.slow] if row["utility"] == "all" else [])
        for row in SCENARIO.core_instances()
    ],
)
def test_no_design_beats_the_bound_on_either_set_of_plans(options):
    problem = make_problem(**options)
    designs = np.concatenate(
        [[make() for make in problem.baselines.values()], SPACE.sample(np.random.default_rng(1), 499)]
    )
    utility = options["utility"]
    for params, evaluate in (
        (problem.params, problem.evaluate),
        (problem.held_out_params, problem.evaluate_held_out),
    ):
        limit = least_failure(utility, params)
        assert evaluate(designs).objective.min() >= limit.mean() - 1e-6
    assert problem.bound.value == pytest.approx(least_failure(utility, problem.held_out_params).mean())
    assert problem.bound.value < problem.reference.value
    assert problem.reference.value == problem.evaluate_held_out(problem.baselines["uniform"]()).objective[0]


@every_utility
def test_the_bound_is_the_oracles_dynamic_programming_but_for_whole_tokens(utility):
    problem = make_problem(utility=utility, budget="0.5")
    ours = least_failure(utility, problem.held_out_params)
    for (plan, budget), found in zip(plans_of(problem, HELD_OUT, 8), ours, strict=False):
        value, _ = oracle.best_whole_tokens(utility, plan, budget)
        assert found <= 1 - value + 1e-5
        assert found == pytest.approx(1 - value, abs=1e-3)


def test_search_and_held_out_plans_are_different_ones_of_the_same_kind():
    problem = make_problem()
    searched, held_out = drawn_plans(problem.params), drawn_plans(problem.held_out_params)
    assert not set(searched[0].scale_tokens[:, 0].tolist()) & set(held_out[0].scale_tokens[:, 0].tolist())
    assert searched[1].mean() == pytest.approx(held_out[1].mean(), rel=0.1)


def e3_of(problem, name):
    return e3_of_metrics(problem.evaluate_held_out(problem.baselines[name]()).metrics)[0]


def e3_of_metrics(metrics):
    return e3(np.maximum(metrics.accuracy, 0.0), metrics.tokens)


def unplanned(problem):
    """Metrics of what needs no design: a budget that nobody divides, whose tokens fall to sub-questions at random, and
    vanilla: three budgets, which settle all that can be.
    """
    utility, params = problem.options["utility"], problem.held_out_params
    plan, budgets = drawn_plans(params)
    here = np.arange(plan.credits.shape[1]) < plan.count[:, None]
    least = np.asarray(least_tokens(utility, budgets, plan.count))
    lengths = np.where(here, np.random.default_rng(0).exponential(size=here.shape), 0.0)
    shares = lengths / lengths.sum(1, keepdims=True)  # uniform on the simplex
    spare = budgets - least * plan.count
    tokens = np.where(here, least[:, None] + np.floor(shares * spare[:, None]), 0.0)
    utilities = jax.vmap(
        lambda each, one: plan_utility(
            utility, each, scale_tokens=one.scale_tokens, ease=one.ease, aleatoric=one.aleatoric
        )
    )(tokens, plan)
    settled = np.where(here, 1.0 - plan.aleatoric, 1.0)
    vanilla = settled.prod(1) if utility == "all" else np.where(here, settled, 0.0).sum(1) / plan.count
    return (
        Metrics(np.mean(utilities), tokens.sum(1).mean(), plan.count.mean()),
        Metrics(vanilla.mean(), 3 * budgets.mean(), plan.count.mean()),
    )


@pytest.mark.parametrize("utility", ["sum", "clamped"])
def test_decays_beat_uniform_and_uniform_beats_a_global_budget_where_difficulty_falls_and_the_order_turns(utility):
    falling, rising = (make_problem(utility=utility, world=world) for world in ("decreasing", "increasing"))
    undivided = float(e3_of_metrics(unplanned(falling)[0]))
    for decay in ("linear", "cosine"):
        assert e3_of(falling, decay) > 1.03 * e3_of(falling, "uniform") > 1.06 * undivided
        assert e3_of(rising, decay) < 0.95 * e3_of(rising, "uniform")
        assert e3_of(rising, f"{decay}_alone") < 0.95 * e3_of(rising, "uniform")
    assert e3_of(falling, "linear_alone") > 1.03 * e3_of(falling, "uniform")
    assert e3_of(rising, "constant") > e3_of(rising, "uniform") > e3_of(falling, "constant")


@pytest.mark.parametrize("world", ["measured", "decreasing", "increasing", "equal"])
def test_planned_local_budgets_have_1_3_times_the_e3_of_vanilla(world):
    problem = make_problem(world=world)
    vanilla = float(e3_of_metrics(unplanned(problem)[1]))
    best = max(e3_of(problem, name) for name in ("uniform", *RELEASED))
    assert best >= 1.3 * vanilla
    assert e3_of(problem, "uniform") >= 1.3 * vanilla


@every_utility
def test_uniform_is_optimal_in_the_equal_world_and_only_there(utility):
    equal, apart = make_problem(world="equal", utility=utility), make_problem(world="measured", utility=utility)
    design = equal.baselines["remaining"]()
    assert equal.evaluate_held_out(design).objective[0] == pytest.approx(equal.bound.value, abs=5e-4)
    assert apart.evaluate_held_out(design).objective[0] > apart.bound.value + 0.02


def test_credits_are_worth_less_the_larger_their_errors():
    costs = []
    for noise in ("0", "0.3", "0.6"):
        problem = make_problem(credit_noise=noise)
        costs.append(problem.evaluate_held_out(problem.baselines["constant"]()).objective[0])
    assert costs == sorted(costs)
    assert costs[0] < problem.reference.value < costs[-1] + 0.01


def test_the_cosine_without_credits_overdoes_it_where_success_is_clamped():
    """With credits it beats uniform under either utility, as above; alone it is steeper than the world."""
    for utility, better in (("sum", True), ("clamped", False)):
        problem = make_problem(utility=utility, world="decreasing")
        assert (e3_of(problem, "cosine_alone") > e3_of(problem, "uniform")) == better


def test_credits_mislead_where_the_budget_is_tight_and_the_hardest_are_out_of_reach():
    tight, ample = make_problem(budget="0.25"), make_problem(budget="1")
    for problem, better in ((tight, False), (ample, True)):
        cost = problem.evaluate_held_out(problem.baselines["constant"]()).objective[0]
        assert (cost < problem.reference.value - 0.01) == better
        assert (cost < problem.reference.value + 0.01) == better


@every_utility
def test_more_tokens_mean_fewer_failures_for_the_same_designs(utility):
    problems = [make_problem(utility=utility, budget=budget) for budget in make_problem().sweep.values]
    for name in ("uniform", "linear"):
        costs = [problem.evaluate_held_out(problem.baselines[name]()).objective[0] for problem in problems]
        assert costs == sorted(costs, reverse=True)
        assert costs[0] > costs[-1] + 0.2
    bounds = [problem.bound.value for problem in problems]
    assert bounds == sorted(bounds, reverse=True)
    assert problems[2].sweep.to_y(0.25) == 0.75


def test_the_breakdown_holds_the_design_against_the_reference_and_who_knows_everything():
    problem = make_problem()
    design = problem.baselines["linear"]()
    parts = problem.breakdown(problem.decode(design))
    for name, evaluate in (("search", problem.evaluate), ("held-out", problem.evaluate_held_out)):
        found = evaluate(design)
        assert parts.totals[f"{name}_accuracy"] == pytest.approx(1 - found.objective[0], abs=1e-6)
        rows = {row["policy"]: row for row in parts.rows if row["episodes"] == name}
        assert list(rows) == ["design", "uniform", "bound"]
        for row in rows.values():
            assert row["e3_per_kilotoken"] == pytest.approx(float(e3(row["accuracy"], row["tokens"])), rel=1e-4)
            assert row["cost_of_pass_tokens"] == pytest.approx(row["tokens"] / row["accuracy"], rel=1e-4)
        assert rows["design"]["e3_per_kilotoken"] == pytest.approx(e3_of_metrics(found.metrics)[0], rel=1e-5)
    assert rows["bound"]["accuracy"] == pytest.approx(1 - problem.bound.value, abs=1e-6)
    titles = [title for title, _ in SCENARIO.facts()]
    assert len(titles) == len(set(titles)) == 3
    assert all(rows for _, rows in SCENARIO.facts())


@mostly_slow("sum", "clamped")
def test_what_needs_no_design_is_worse_than_uniform_and_vanilla_settles_all_that_can_be(utility):
    problem = make_problem(utility=utility)
    plans, budgets = drawn_plans(problem.held_out_params)
    undivided, vanilla = unplanned(problem)
    assert 1 - undivided.accuracy > problem.reference.value
    assert undivided.tokens <= budgets.mean()
    assert vanilla.tokens == pytest.approx(3 * budgets.mean())
    assert vanilla.accuracy > 1 - problem.bound.value
    if utility != "all":
        mean = np.sum(plans.aleatoric, axis=1) / plans.count
        assert vanilla.accuracy == pytest.approx(1 - mean.mean(), rel=1e-5)


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"budget": "0"},
        {"budget": "-1"},
        {"budget": "10.5"},
        {"budget": "nan"},
        {"budget": "much"},
        {"credit_noise": "-0.1"},
        {"credit_noise": "2.5"},
        {"spread_beta": "-1"},
        {"spread_beta": "inf"},
        {"utility": "any"},
        {"world": "flat"},
    ],
    ids=str,
)
def test_a_value_that_is_none_is_refused_with_what_is_allowed(wrong):
    (name,) = wrong
    with pytest.raises((InvalidOptionError, UnknownNameError), match=f"{name}.*(allowed: any|there are: )"):
        make_problem(**wrong)


def test_an_unknown_world_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'increasing'"):
        make_problem(world="increasin")


@every_utility
def test_the_least_and_the_largest_budget_leave_something_to_win(utility):
    for budget in ("0.1", "10"):
        problem = make_problem(utility=utility, budget=budget)
        assert problem.reference.value - problem.bound.value > 1e-4
        assert np.isfinite(problem.evaluate(SPACE.sample(np.random.default_rng(2), 64)).objective).all()


def test_an_instance_without_anything_to_win_says_so_and_its_bound_is_there(monkeypatch):
    monkeypatch.setattr(
        "dsegym.costmodels.reasoning.plan.bounds.least_failure", lambda utility, params: np.ones(EPISODES)
    )
    problem = make_problem(budget="0.123")
    assert problem.bound.value == 1
    assert "is not above bound 1" in problem.obstacle
