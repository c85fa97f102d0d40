"""Reasoning services: their Gymnasium faces, exact optima, cascades against their oracle, baselines and options."""

import warnings

import cascade_oracle as oracle
import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as stable_baselines3_check

import dsegym
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import DsegymError, UnknownNameError
from dsegym.costmodels.reasoning.outcomes import gsm8k_models
from dsegym.costmodels.reasoning.splits import split_indices
from dsegym.envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from dsegym.envs.reasoning.cascade import LADDER, NAMES, QUESTIONS, best_known_correctness
from dsegym.envs.reasoning.serve import SCENARIO

SERVE = "dsegym/ReasoningServe-v0"
CORE = SCENARIO.core_instances()
CASCADES = [options for options in CORE if options["tasks"] == "gsm8k"]


def make_problem(**options):
    return dsegym.make_problem(SERVE, **options)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def core_name(options):
    return "-".join(options.values()).replace("/", "_")


every_core_instance = pytest.mark.parametrize("options", CORE, ids=core_name)


@pytest.fixture(scope="module")
def cascade():
    return make_problem(tasks="gsm8k")


# --- Interfaces -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("decisions", {"tasks": "gsm8k"}),
        ("parametric", {}),
        slow("decisions", {"tasks": "gsm8k", "budget": "1"}),
        slow("sequential", {"levels": "3"}),
        slow("parametric", {"tasks": "gsm8k"}),
    ],
)
def test_gymnasium_and_stable_baselines3_find_no_fault_with_the_environment(form, options):
    env = gymnasium.make(SERVE, form=form, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check(env.unwrapped, skip_render_check=True)
        stable_baselines3_check(env.unwrapped, warn=True)


def test_configurations_are_played_as_designs_and_cascades_decision_by_decision(cascade):
    assert list(make_problem().forms) == ["parametric", "sequential"]
    assert list(cascade.forms) == ["decisions", "parametric", "sequential"]
    assert Referee(cascade, 1).forms == ("parametric", "sequential")


def test_core_instances_differ_and_cover_every_task_and_law():
    assert 4 <= len(CORE) <= 10
    assert len({tuple(row.values()) for row in CORE}) == len(CORE)
    for name in ("tasks", "cost", "levels"):
        assert {row[name] for row in CORE} == set(SCENARIO.options[name].values())


@pytest.mark.parametrize(
    "options",
    [
        {"budget": "0"},
        {"budget": "-5"},
        {"budget": "nan"},
        {"budget": "inf"},
        {"budget": "much"},
        {"tasks": "aime23"},
        {"hardware": "b300"},
        {"hardware": "989"},
        {"hardware": "0/3.35"},
        {"hardware": "-1/3"},
        {"hardware": "nan/3"},
        {"cost": "tokens"},
        {"levels": "2"},
    ],
    ids=str,
)
def test_options_out_of_range_are_refused_with_what_is_allowed(options):
    ((name, value),) = options.items()
    with pytest.raises(UnknownNameError, match=f"Unknown {name} '{value}'; there are: "):
        make_problem(**options)


def test_a_budget_that_pays_for_nothing_names_the_cheapest_configuration():
    with pytest.raises(DsegymError, match="below the cheapest configuration, "):
        make_problem(budget="1")


@pytest.mark.parametrize("options", [{"hardware": "a100"}, {"cost": "flops"}, {"levels": "3"}], ids=str)
def test_recorded_answers_take_no_options_that_would_change_nothing(options):
    with pytest.raises(DsegymError, match="gsm8k"):
        make_problem(tasks="gsm8k", **options)


def test_hardware_may_be_given_by_its_figures():
    named, figures = make_problem(hardware="h100"), make_problem(hardware="989/3.35")
    designs = named.space.sample(np.random.default_rng(0), 32)
    np.testing.assert_array_equal(named.evaluate(designs).objective, figures.evaluate(designs).objective)


@every_core_instance
def test_what_is_synthetic_or_left_out_is_said(options):
    notes = " ".join(make_problem(**options).notes)
    assert "synthetic" in notes or "recorded" in notes


# --- Yardsticks -------------------------------------------------------------------------------------------------------


@every_core_instance
def test_no_design_beats_the_bound_and_baselines_are_designs_within_the_budget(options):
    problem = make_problem(**options)
    designs = np.array([make() for make in problem.baselines.values()])
    found = problem.evaluate_held_out(designs)
    assert found.feasible.all()
    assert problem.bound.value < problem.reference.value
    some = problem.space.sample(np.random.default_rng(1), 1024 if options["tasks"] != "gsm8k" else 64)
    tried = problem.evaluate_held_out(some)
    for result in (found, tried):
        assert (result.objective >= problem.bound.value - 1e-6).all()
        assert (result.objective[~result.feasible] > 1).all()
        assert ((result.objective[result.feasible] >= 0) & (result.objective[result.feasible] <= 1)).all()


@pytest.mark.parametrize("options", [each for each in CORE if each["tasks"] != "gsm8k"], ids=core_name)
def test_the_optimum_is_a_design_within_the_budget_that_has_this_value(options):
    problem = make_problem(**options)
    found = problem.evaluate(problem.bound.design)
    assert found.feasible[0]
    assert found.objective[0] == pytest.approx(problem.bound.value, abs=2e-6)
    if options["levels"] == "1":  # try everything
        everything = problem.evaluate(problem.space.enumerate(0, problem.space.size))
        best = everything.objective[everything.feasible].min()
        assert problem.bound.value == pytest.approx(best, abs=2e-6)
    else:  # no worse than one configuration for all classes
        assert problem.bound.value <= make_problem(**(options | {"levels": "1"})).bound.value + 2e-6


def test_beyond_the_budget_the_penalty_falls_with_the_cost():
    problem = make_problem(budget="1000")
    found = problem.evaluate(problem.space.enumerate(0, problem.space.size))
    over = ~found.feasible
    cost = found.metrics.cost_teflop[over]
    assert (cost > 1000).all()
    np.testing.assert_allclose(found.objective[over], 1 + np.log2(cost / 1000), rtol=1e-5)


def test_counting_memory_pays_where_flop_optimal_plans_waste_it():
    for options in CORE:
        if options["tasks"] != "gsm8k" and options["cost"] == "eflops":
            problem = make_problem(**options)
            dense = problem.evaluate(problem.baselines["dense"]()).objective[0]
            assert problem.bound.value < dense <= problem.reference.value + 1e-6


@pytest.mark.parametrize("tasks", ["aime24", "gsm8k"])
def test_designs_keep_their_meaning_along_the_sweep_and_the_bound_falls(tasks):
    sweep = make_problem(tasks=tasks).sweep
    problems = [make_problem(tasks=tasks, **{sweep.option: value}) for value in sweep.values]
    bounds = [problem.bound.value for problem in problems]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > bounds[-1]
    assert len({problem.space for problem in problems}) == 1
    assert len({problem.cost for problem in problems}) == 1
    assert sweep.to_y(0.25) == 0.75
    assert set(sweep.baselines) <= set(problems[0].baselines)


@every_core_instance
def test_a_breakdown_has_the_metrics_of_its_design(options):
    problem = make_problem(**options)
    design = problem.baselines[problem.reference.name]()
    parts = problem.breakdown(problem.decode(design))
    metrics = problem.evaluate(design).metrics
    prefix = "search_" if options["tasks"] == "gsm8k" else ""
    for name, value in metrics._asdict().items():
        assert parts.totals[prefix + name] == pytest.approx(float(value[0]), rel=1e-5)
    if not prefix:
        assert len(parts.rows) == int(options["levels"])
        coverage = np.mean([row["coverage"] for row in parts.rows])
        assert coverage == pytest.approx(parts.totals["coverage"], rel=1e-5)
        of_pass = parts.totals["cost_of_pass_teflop"]
        assert of_pass * parts.totals["coverage"] == pytest.approx(parts.totals["cost_teflop"], rel=1e-5)


# --- The cascade ------------------------------------------------------------------------------------------------------


def batch_of(params, chosen):
    def rows(table):
        return np.asarray(table)[:, chosen].tolist()

    mean = np.asarray(params.mean_tera, float).tolist()
    budget = float(params.budget_tera) * QUESTIONS
    return oracle.Batch(rows(params.right), rows(params.cost_tera), rows(params.quantile), mean, budget)


def policy_of(problem, design):
    values = problem.decode(design)
    places = {name: NAMES.index(values.pop(name)) for name in ("first", "second", "third")}
    return oracle.Policy(**places, reserve=values.pop("reserve") == "yes", **values)


def start(problem, seed, params):
    key = jax.random.fold_in(jax.random.key(seed), 0)
    return jax.tree.map(np.asarray, problem.functional_env("decisions").initial(key, params))


@pytest.mark.parametrize("budget", ["20", slow("2"), slow("100")])
def test_policies_played_step_by_step_are_the_oracles_and_cost_what_the_cost_function_says(budget):
    problem = make_problem(tasks="gsm8k", budget=budget)
    env, functional = FunctionalGymnasiumEnv(problem, "decisions"), problem.functional_env("decisions")
    decide, cost = jax.jit(functional.decide), jax.jit(problem.cost)
    generator = np.random.default_rng(0)
    designs = [*(make() for make in problem.baselines.values()), *problem.space.sample(generator, 6)]
    for design, seed in zip(designs, problem.params.seeds, strict=False):
        state, rewards, terminated = start(problem, seed, problem.params), [], False
        batch, policy = batch_of(problem.params, state.chosen), policy_of(problem, design)
        env.reset(seed=0)
        env._state = state
        while not terminated:
            action = int(decide(np.asarray(design), env._state, problem.params))
            assert action == policy.choose(batch)
            mask = np.asarray(functional.action_mask(env._state, problem.params))
            assert np.flatnonzero(mask[1:]).tolist() == batch.runnable()
            batch.act(action)
            observation, reward, terminated, truncated, info = env.step(action)
            assert observation in env.observation_space
            assert not truncated
            rewards.append(reward)
            assert float(env._state.spent) == pytest.approx(batch.spent, rel=1e-5, abs=1e-4)
        assert terminated == batch.over
        assert info["objective"] == pytest.approx(1 - batch.solved / QUESTIONS, abs=1e-6)
        assert sum(rewards) == pytest.approx(1 - info["objective"], abs=1e-5)
        assert info["runs_per_question"] == pytest.approx(batch.runs / QUESTIONS)
        assert info["illegal_actions"] == 0
        assert batch.spent <= batch.budget * (1 + 1e-6)
        one = cost(np.asarray(design), problem.params._replace(seeds=np.array([seed], np.uint32)))
        assert float(one.objective) == pytest.approx(float(info["objective"]), abs=1e-6)


def test_what_is_not_legal_moves_on_and_is_counted(cascade):
    env = FunctionalGymnasiumEnv(cascade, "decisions")
    env.reset(seed=3)
    env.step(1)
    before = int(env._state.at)
    env.step(1)  # the same model again: no recorded answer is drawn twice
    assert int(env._state.at) == before + 1
    assert int(env._state.illegal) == 1
    assert float(env._state.runs) == 1


def test_batches_are_of_distinct_questions_of_their_split(cascade):
    for params, split in ((cascade.params, "train"), (cascade.held_out_params, "test")):
        allowed = set(split_indices("gsm8k", range(1319), split).tolist())
        for seed in range(5):
            chosen = start(cascade, seed, params).chosen.tolist()
            assert len(set(chosen)) == QUESTIONS
            assert set(chosen) <= allowed


def test_costs_are_two_flop_for_each_parameter_and_token(cascade):
    table = gsm8k_models()
    for row, name in enumerate(LADDER):
        place = table.names.index(name)
        expected = 2 * table.parameters_billion[place] * 1e9 * table.characters[place] / 4
        np.testing.assert_allclose(np.asarray(cascade.params.cost_tera)[row] * 1e12, expected, rtol=1e-6)
    train = split_indices("gsm8k", range(1319), "train")
    quantile = np.asarray(cascade.params.quantile)[:, train]
    assert (np.abs(quantile.mean(1) - 0.5) < 0.01).all()


def test_observations_tell_nothing_of_right_and_wrong(cascade):
    env = cascade.functional_env("decisions")
    flipped = cascade.params._replace(right=~np.asarray(cascade.params.right))
    state, other = start(cascade, 5, cascade.params), start(cascade, 5, flipped)
    for action in (1, 3, 0, 2, 4, 6, 0):
        state, other = (
            env.transition(each, action, None, params) for each, params in ((state, cascade.params), (other, flipped))
        )
        seen, too = (
            env.observation(each, None, params) for each, params in ((state, cascade.params), (other, flipped))
        )
        np.testing.assert_array_equal(seen, too)
    assert float(state.solved) != float(other.solved)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_bound_is_what_trying_every_choice_finds(data):
    models, questions = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5))
    draw = st.lists(
        st.lists(st.integers(1, 9), min_size=questions, max_size=questions), min_size=models, max_size=models
    )
    cost, luck = np.array(data.draw(draw), float), np.array(data.draw(draw))
    budget = data.draw(st.integers(0, 25))
    right = luck > 4
    (found,) = best_known_correctness(right[:, None], cost[:, None], budget)
    assert found * questions == pytest.approx(oracle.most_solved(right, cost, budget))


def test_longer_answers_are_more_often_wrong(cascade):
    train = np.asarray(cascade.params.there)
    right, quantile = np.asarray(cascade.params.right)[:, train], np.asarray(cascade.params.quantile)[:, train]
    for row in range(len(LADDER)):
        assert right[row][quantile[row] < 0.5].mean() > right[row][quantile[row] >= 0.8].mean()


def test_escalating_long_answers_beats_the_model_that_answers_first_and_the_one_that_answers_last(cascade):
    def design(first, limit, second):
        values = {"first": first, "first_limit": limit, "second": second, "second_limit": 1.0}
        return cascade.space.encode({**values, "third": second, "reserve": "yes"})

    first, last, both = cascade.evaluate_held_out(
        np.stack([design("9B", 1.0, "9B"), design("70B", 1.0, "70B"), design("9B", 0.7, "70B")])
    ).objective
    assert both < min(first, last) - 0.01
