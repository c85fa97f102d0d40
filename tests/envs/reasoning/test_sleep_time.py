"""Sleep-time compute: its episodes against the oracle, costs, baselines, bounds and options."""

import jax
import numpy as np
import pytest
import sleep_oracle as oracle

import dsegym
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import InvalidOptionError, UnknownNameError
from dsegym.costmodels.reasoning.sleep.bounds import hidden_values, oracle_allocation
from dsegym.costmodels.reasoning.sleep.game import MOST_QUERIES
from dsegym.envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from dsegym.envs.reasoning.sleep_time import EPISODES, SCENARIO, SPACE

SLEEP = "dsegym/SleepTime-v0"
CORE = SCENARIO.core_instances()


def make_problem(**options):
    return dsegym.make_problem(SLEEP, **options)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def problem():
    return make_problem()


def policy_of(problem, design):
    return oracle.Policy(**problem.decode(design))


def starts(params, seeds):
    """The states after `start`, one of each seed, as the cost function draws them."""
    env = make_problem().functional_env("decisions")
    keys = [jax.random.fold_in(jax.random.key(seed), 0) for seed in seeds]
    return [jax.tree.map(np.asarray, env.start(key, params)) for key in keys]


def context_of(state):
    return oracle.Context(int(state.queries), float(state.predictability), float(state.hint), int(state.seed))


def by_oracle(problem, design, state):
    """An episode under a design, in plain Python."""
    context, policy, params = context_of(state), policy_of(problem, design), problem.params
    budget, noise = float(params.budget_tokens), float(params.noise)
    return oracle.play(
        context,
        lambda answered, left, slept: oracle.choose(policy, context, answered, left, slept, budget, noise),
        budget=budget,
        mean_queries=float(params.mean_queries),
        price=float(params.price),
    )


def one_context(problem, seed):
    return problem.params._replace(seeds=np.array([seed], np.uint32))


# --- Options ----------------------------------------------------------------------------------------------------------


def test_agents_are_offered_only_forms_whose_episodes_are_designs(problem):
    assert list(problem.forms) == ["decisions", "parametric", "sequential"]
    assert Referee(problem, 1).forms == ("parametric", "sequential")


def test_core_instances_differ_and_use_every_option():
    assert 4 <= len(CORE) <= 10
    assert len({tuple(row.values()) for row in CORE}) == len(CORE)
    for name, option in SCENARIO.options.items():
        assert len({row[name] for row in CORE}) > 1
        assert any(row[name] == option.text(option.default) for row in CORE)


@pytest.mark.parametrize(
    "options",
    [
        {"budget": "0"},
        {"budget": "-5"},
        {"budget": "2e6"},
        {"budget": "nan"},
        {"budget": "much"},
        {"queries": "0"},
        {"queries": "2.5"},
        {"queries": "11"},
        {"predictability": "1.5"},
        {"hint_noise": "-1"},
        {"price": "0"},
        {"price": "inf"},
    ],
)
def test_options_out_of_range_are_refused_with_what_is_allowed(options):
    (name, value), *_ = options.items()
    with pytest.raises(InvalidOptionError, match=f"{name} = '{value}' is not allowed; allowed: .*any "):
        make_problem(**options)


def test_names_that_are_no_arrivals_or_predictability_are_refused_with_the_names_that_are():
    for option in ("arrivals", "predictability"):
        with pytest.raises(UnknownNameError, match=f"Unknown {option} 'poisson'; there are: "):
            make_problem(**{option: "poisson"})


def test_what_is_synthetic_is_said(problem):
    assert "synthetic" in problem.notes[0]
    assert any("recalled" in note for note in problem.notes)
    titles = [title for title, _ in SCENARIO.facts()]
    assert titles == ["Constants", "Contexts", "Heuristics (blank: neutral)"]


# --- Episodes ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, slow({"queries": "1", "price": "1"}), slow({"arrivals": "fixed", "hint_noise": "1"})],
)
def test_policies_played_step_by_step_are_the_oracles_and_cost_what_the_cost_function_says(options):
    problem = make_problem(**options)
    env, functional = FunctionalGymnasiumEnv(problem, "decisions"), problem.functional_env("decisions")
    decide = jax.jit(functional.decide)
    designs = [*(make() for make in problem.baselines.values()), *SPACE.sample(np.random.default_rng(1), 6)]
    seeds = problem.params.seeds[: len(designs)]
    cost = jax.jit(problem.cost)
    for design, seed, state in zip(designs, seeds, starts(problem.params, seeds), strict=True):
        env.reset(seed=0)
        env.state, rewards, terminated = state, [], False
        while not terminated:
            action = int(decide(np.asarray(design), env.state, problem.params))
            observation, reward, terminated, truncated, info = env.step(action)
            rewards.append(reward)
            assert observation in env.observation_space
            assert not truncated
        expected = by_oracle(problem, design, state)
        np.testing.assert_allclose(rewards, expected.rewards, atol=2e-5)
        assert info["objective"] == pytest.approx(1 - expected.accuracy, abs=1e-5)
        assert sum(rewards) == pytest.approx(1 - info["objective"], abs=1e-5)
        assert info["sleep_tokens"] == pytest.approx(expected.sleep_tokens, rel=1e-5)
        assert info["query_tokens"] == pytest.approx(expected.test_tokens, rel=1e-4, abs=1e-2)
        assert len(rewards) == 1 + int(info["queries"])
        alone = cost(np.asarray(design), one_context(problem, seed))
        assert float(alone.objective) == pytest.approx(float(info["objective"]), abs=1e-6)
        assert float(alone.metrics.cost_tokens) == pytest.approx(float(info["cost_tokens"]), rel=1e-5)


def test_a_cost_is_the_oracles_mean_over_all_contexts(problem):
    states = starts(problem.params, problem.params.seeds)
    for name in ("sleep_and_decay", "predictable_only"):
        design = problem.baselines[name]()
        results = [by_oracle(problem, design, state) for state in states]
        found = problem.evaluate(design)
        assert found.objective[0] == pytest.approx(1 - np.mean([each.accuracy for each in results]), abs=1e-4)
        assert found.metrics.sleep_tokens[0] == pytest.approx(
            np.mean([each.sleep_tokens for each in results]), rel=1e-4
        )
        assert found.metrics.query_tokens[0] == pytest.approx(np.mean([each.test_tokens for each in results]), rel=1e-3)


def test_a_design_costs_the_same_alone_and_in_a_batch(problem):
    designs = SPACE.sample(np.random.default_rng(2), 100)
    together = problem.evaluate(designs)
    for place in (0, 50, 99):
        alone = problem.evaluate(designs[place])
        assert alone.objective[0] == together.objective[place]
    np.testing.assert_array_equal(problem.evaluate(designs[:10]).objective, together.objective[:10])


@pytest.mark.parametrize("options", [{}, slow({"budget": "1000", "price": "0.1"})])
def test_the_budget_of_a_context_is_hard(options):
    problem = make_problem(**options)
    env, generator = FunctionalGymnasiumEnv(problem, "decisions"), np.random.default_rng(3)
    limit, spent = float(problem.params.budget_tokens), []
    for episode in range(40):
        env.reset(seed=episode)
        terminated = False
        while not terminated:
            *_, terminated, _, info = env.step(generator.integers(10, 21))
        spent.append(float(info["cost_tokens"]))
    assert max(spent) == pytest.approx(limit, rel=1e-4)
    assert max(spent) <= limit * (1 + 1e-5)


def test_observations_show_the_hints_and_the_budget_and_not_what_is_hidden(problem):
    env = FunctionalGymnasiumEnv(problem, "decisions")
    observation, info = env.reset(seed=4)
    state, budget, mean = env.state, float(problem.params.budget_tokens), float(problem.params.mean_queries)
    assert info == {}
    even, told = budget / mean / 10 / 1000, [budget / (budget + 64_000), 10 / 20, 0.1 / 0.35]
    np.testing.assert_allclose(observation, [float(state.hint), 0, 0, 1, 0, 0, even, 0, *told], rtol=1e-5)
    observation = env.step(8)[0]
    slept, seed = 0.4 * budget, int(state.seed)
    hint = oracle.difficulty_hint(seed, 0, 0.1)
    worth = float(state.hint) * oracle.worth(slept) / 1000
    shown = [float(state.hint), 1, 0, 0.6, 0.4, hint, 0.6 * even, worth, *told]
    np.testing.assert_allclose(observation, shown, rtol=1e-4)
    # Nothing moves but the budget and the hint if the hidden values were others.
    functional = problem.functional_env("decisions")
    other = env.state._replace(predictability=np.float32(0.123), accuracy=np.float32(0.5))
    np.testing.assert_array_equal(functional.observation(other, problem.params), observation)


def test_what_a_context_hides_does_not_depend_on_what_was_done():
    """The same difficulties and numbers of queries meet every policy."""
    problem = make_problem(budget="32000")
    functional = problem.functional_env("decisions")
    start = starts(problem.params, [5])[0]
    a = functional.advance(start, 0, problem.params)
    b = functional.advance(start, 20, problem.params)
    for _ in range(3):
        a, b = (functional.advance(each, action, problem.params) for each, action in ((a, 3), (b, 7)))
        shown = [float(functional.observation(each, problem.params)[5]) for each in (a, b)]
        assert shown[0] == shown[1] != 0
    assert a.queries == b.queries


def test_actions_beyond_the_last_count_as_the_last(problem):
    functional = problem.functional_env("decisions")
    start = starts(problem.params, [6])[0]
    for wrong, nearest in ((99, 20), (-3, 0)):
        given, expected = (functional.advance(start, action, problem.params) for action in (wrong, nearest))
        jax.tree.map(np.testing.assert_array_equal, given, expected)


# --- Contexts ---------------------------------------------------------------------------------------------------------


def many(**options):
    return hidden_values(make_problem(**options).params._replace(seeds=np.arange(20_000, dtype=np.uint32)))


def test_queries_are_geometric_with_the_mean_asked_for_cut_at_32():
    for mean in (2, 5, 10):
        found = many(queries=str(mean)).queries
        stay = 1 - 1 / mean
        assert found.min() == 1
        assert found.max() <= MOST_QUERIES
        for n in (1, 2, 8):
            expected = stay ** (n - 1) / mean
            assert np.mean(found == n) == pytest.approx(expected, abs=4 * np.sqrt(expected / 20_000))
        assert np.mean(found == MOST_QUERIES) == pytest.approx(stay**31, abs=0.006)
        budget = make_problem(queries=str(mean), budget="1000").params.budget_tokens
        assert budget / 1000 == pytest.approx(found.mean(), rel=0.03)
    assert (many(queries="1").queries == 1).all()
    assert (many(queries="7", arrivals="fixed").queries == 7).all()


@pytest.mark.parametrize(("predictability", "mean"), [("low", 0.2), ("mixed", 0.5), ("high", 0.8), ("0.35", 0.35)])
def test_predictabilities_and_hints_are_spread_as_said(predictability, mean):
    found = many(predictability=predictability)
    assert found.predictability.mean() == pytest.approx(mean, abs=0.01)
    assert (found.predictability.std() < 1e-6) == (predictability == "0.35")
    inside = (found.hint > 0) & (found.hint < 1)
    error = (found.hint - found.predictability)[(found.predictability > 0.2) & (found.predictability < 0.8)]
    assert error.std() == pytest.approx(0.1, rel=0.05)
    assert abs(error.mean()) < 0.005
    assert inside.mean() > 0.5
    doublings = np.log2(found.difficulty)
    assert (doublings.min(), doublings.max()) == pytest.approx((-1, 1), abs=1e-3)
    assert (found.difficulty_hint - doublings).std() == pytest.approx(0.2, rel=0.02)


def test_without_noise_hints_are_the_truth():
    found = many(hint_noise="0")
    np.testing.assert_allclose(found.hint, found.predictability, atol=1e-6)
    np.testing.assert_allclose(found.difficulty_hint, np.log2(found.difficulty), atol=1e-6)


# --- Yardsticks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", CORE, ids=lambda row: "-".join(row.values()))
def test_no_baseline_and_no_random_design_beats_the_bound_and_the_best_heuristic_beats_the_reference(options):
    problem = make_problem(**options)
    designs = np.stack([*(make() for make in problem.baselines.values()), *SPACE.sample(np.random.default_rng(5), 100)])
    values = problem.evaluate_held_out(designs).objective
    assert values.min() >= problem.bound.value
    assert values[0] == problem.reference.value
    assert problem.reference.design == problem.baselines["uniform"]()
    assert values[: len(problem.baselines)].min() < problem.reference.value
    assert problem.bound.name == "bound"


def test_the_bound_is_that_of_every_single_context(problem):
    states = starts(problem.params, problem.params.seeds[:24])
    bound = oracle_allocation(problem.params).bound
    assert len(bound) == EPISODES
    for design in SPACE.sample(np.random.default_rng(6), 20):
        for place, state in enumerate(states):
            assert by_oracle(problem, design, state).accuracy <= bound[place] + 1e-9


def test_the_best_known_allocation_is_nearly_played_by_the_environments_levels(problem):
    """The bound is no empty promise: the oracle's tokens rounded to levels lose little in a context of one query."""
    problem = make_problem(queries="1")
    best = oracle_allocation(problem.params)
    lost = []
    for place, state in enumerate(starts(problem.params, problem.params.seeds[:40])):
        slept = oracle.level(best.sleep_tokens[place] / float(problem.params.budget_tokens) * 20)
        result = oracle.play(
            context_of(state),
            lambda answered, left, spent, slept=slept: slept if answered < 0 else 20,
            budget=float(problem.params.budget_tokens),
            mean_queries=1.0,
            price=10.0,
        )
        lost.append(best.bound[place] - result.accuracy)
    assert min(lost) >= -1e-6  # float32 of the environment's difficulties
    assert np.mean(lost) < 0.002


def test_more_budget_never_hurts_the_yardsticks_and_designs_keep_their_meaning():
    sweep = make_problem().sweep
    problems = [make_problem(**{sweep.option: value}) for value in sweep.values]
    for values in (
        [each.bound.value for each in problems],
        [each.reference.value for each in problems],
        [each.evaluate_held_out(each.baselines["predictable_only"]()).objective[0] for each in problems],
    ):
        assert (np.diff(values) < 0).all()
    assert len({each.cost for each in problems}) == 1
    designs = {make_problem(budget=value).baselines["half"]() for value in sweep.values}
    assert len(designs) == 1
    assert sweep.to_y(0.25) == 0.75
    assert set(sweep.baselines) <= set(problems[0].baselines)


def test_what_sleep_gains_grows_with_the_predictability():
    gains = []
    for rho in ("0", "0.25", "0.5", "0.75", "1"):
        problem = make_problem(predictability=rho)
        sleepy = problem.evaluate_held_out(problem.baselines["always_sleep"]()).objective[0]
        gains.append(problem.reference.value - sleepy)
    assert gains[0] < 0 < gains[-1]
    assert (np.diff(gains) > 0).all()


def test_who_knows_everything_does_not_sleep_for_one_query_at_a_low_price():
    for price, sleeps in (("1", False), ("3", False), ("30", True)):
        found = oracle_allocation(make_problem(queries="1", price=price, budget="1000").params).sleep_tokens
        assert (found.max() > 1e-6) == sleeps


@pytest.mark.parametrize("options", [{}, {"predictability": "high"}])
def test_held_out_contexts_are_others_and_alike(options):
    problem = make_problem(**options)
    assert not set(problem.params.seeds) & set(problem.held_out_params.seeds)
    designs = SPACE.sample(np.random.default_rng(7), 64)
    searched, held_out = problem.evaluate(designs).objective, problem.evaluate_held_out(designs).objective
    assert np.abs(searched - held_out).max() < 0.06
    assert np.corrcoef(searched, held_out)[0, 1] > 0.98


def test_the_breakdown_compares_with_the_reference_and_with_who_knows_everything(problem):
    design = problem.baselines["sleep_and_decay"]()
    found = problem.breakdown(problem.decode(design))
    assert [(row["episodes"], row["policy"]) for row in found.rows] == [
        (episodes, policy) for episodes in ("search", "held-out") for policy in ("design", "uniform", "bound")
    ]
    held_out = problem.evaluate_held_out(design)
    assert found.totals["held-out_accuracy"] == pytest.approx(1 - held_out.objective[0], abs=1e-6)
    assert found.rows[5]["accuracy"] == pytest.approx(1 - problem.bound.value, abs=1e-6)
    for row in found.rows:
        assert row["cost_tokens"] == pytest.approx(row["sleep_tokens"] + 10 * row["query_tokens"], rel=1e-3)
        assert row["cost_of_pass_tokens"] == pytest.approx(row["cost_tokens_per_query"] / row["accuracy"])
        assert row["cost_tokens"] <= float(problem.params.budget_tokens) * (1 + 1e-5)
    assert tuple(found.notes) == tuple(problem.notes)
