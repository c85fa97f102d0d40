"""dsegym/ReasoningCascade-v0: batches against plain Python, policies, the bound, its faces and options."""

import cascade_oracle as oracle
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dsegym
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import DsegymError
from dsegym.costmodels.reasoning.cascade.bounds import largest_correctness
from dsegym.costmodels.reasoning.cascade.game import LADDER, NAMES, QUESTIONS
from dsegym.costmodels.reasoning.outcomes import gsm8k_models
from dsegym.costmodels.reasoning.splits import split_indices
from dsegym.envs.reasoning.cascade import SCENARIO

CASCADE = "dsegym/ReasoningCascade-v0"


def make_problem(**options):
    return dsegym.make_problem(CASCADE, **options)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


every_core_instance = pytest.mark.parametrize(
    "options", SCENARIO.core_instances(), ids=lambda options: options["budget"]
)


@pytest.fixture(scope="module")
def cascade():
    return make_problem()


# --- Interfaces -------------------------------------------------------------------------------------------------------


def test_cascades_are_played_decision_by_decision_and_ranked_as_designs(cascade):
    assert list(cascade.forms) == ["decisions", "parametric", "sequential"]
    assert Referee(cascade, 1).forms == ("parametric", "sequential")


@pytest.mark.parametrize("budget", ["0", "-5", "nan", "inf", "much"])
def test_budgets_out_of_range_are_refused_with_what_is_allowed(budget):
    with pytest.raises(DsegymError, match=r"any number from 0\.001 to 1000000000 TFLOP"):
        make_problem(budget=budget)


@every_core_instance
def test_no_design_beats_the_bound(options):
    problem = make_problem(**options)
    designs = np.array([make() for make in problem.baselines.values()])
    some = problem.space.sample(np.random.default_rng(1), 64)
    for each in (designs, some):
        found = problem.evaluate_held_out(each)
        assert found.feasible.all()
        assert (found.objective >= problem.bound.value - 1e-6).all()
    assert problem.bound.value < problem.reference.value


def test_designs_keep_their_meaning_along_the_sweep_and_the_bound_falls(cascade):
    problems = [make_problem(budget=value) for value in cascade.sweep.values]
    bounds = [problem.bound.value for problem in problems]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > bounds[-1]
    assert len({problem.space for problem in problems}) == 1
    assert len({problem.cost for problem in problems}) == 1
    assert cascade.sweep.to_y(0.25) == 0.75
    assert set(cascade.sweep.baselines) <= set(cascade.baselines)


def test_a_breakdown_holds_the_design_against_the_reference_and_the_oracle(cascade):
    design = cascade.baselines["cascade"]()
    parts = cascade.breakdown(cascade.decode(design))
    for name, value in cascade.evaluate(design).metrics._asdict().items():
        assert parts.totals[f"search_{name}"] == pytest.approx(float(value[0]), rel=1e-5)
    assert [(row["episodes"], row["policy"]) for row in parts.rows] == [
        (episodes, policy) for episodes in ("search", "held-out") for policy in ("design", "largest_that_fits", "bound")
    ]
    bound = parts.rows[-1]
    assert 1 - bound["accuracy"] == pytest.approx(cascade.bound.value, abs=1e-6)
    assert bound["cost_tflop"] <= 20
    assert bound["runs_per_question"] == bound["accuracy"], "the oracle runs right answers only"
    of_pass = parts.totals["search_cost_of_pass_tflop"]
    assert of_pass * parts.totals["search_accuracy"] == pytest.approx(parts.totals["search_cost_tflop"], rel=1e-5)


# --- Episodes ---------------------------------------------------------------------------------------------------------


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
    return jax.tree.map(np.asarray, problem.functional_env("decisions").start(key, params))


@pytest.mark.parametrize("budget", ["20", slow("2"), slow("100")])
def test_policies_played_step_by_step_are_the_oracles_and_cost_what_the_cost_function_says(budget):
    problem = make_problem(budget=budget)
    env, params = problem.functional_env("decisions"), problem.params
    decide, step, cost = jax.jit(env.decide), jax.jit(env.advance), jax.jit(problem.cost)
    seen = jax.jit(lambda before, state: (env.observation(state, params), env.reward(before, state, params)))
    generator, space = np.random.default_rng(0), env.observation_space
    designs = [*(make() for make in problem.baselines.values()), *problem.space.sample(generator, 6)]
    for design, seed in zip(designs, params.seeds, strict=False):
        state, rewards = start(problem, seed, params), []
        batch, policy = batch_of(params, state.chosen), policy_of(problem, design)
        while not bool(env.over(state, params)):
            action = int(decide(np.asarray(design), state, params))
            assert action == policy.choose(batch)
            assert np.flatnonzero(np.asarray(env.action_mask(state, params))[1:]).tolist() == batch.runnable()
            batch.act(action)
            moved = step(state, action, params)
            observation, reward = seen(state, moved)
            assert np.asarray(observation) in space
            rewards.append(float(reward))
            state = moved
            assert float(state.spent) == pytest.approx(batch.spent, rel=1e-5, abs=1e-4)
        assert batch.over
        info = env.final_info(state, params)
        assert float(info["objective"]) == pytest.approx(1 - batch.solved / QUESTIONS, abs=1e-6)
        assert sum(rewards) == pytest.approx(1 - float(info["objective"]), abs=1e-5)
        assert float(info["runs_per_question"]) == pytest.approx(batch.runs / QUESTIONS)
        assert int(info["illegal_actions"]) == 0
        assert batch.spent <= batch.budget * (1 + 1e-6)
        one = cost(np.asarray(design), params._replace(seeds=np.array([seed], np.uint32)))
        assert float(one.objective) == pytest.approx(float(info["objective"]), abs=1e-6)


def test_what_is_not_legal_moves_on_and_is_counted(cascade):
    env = cascade.functional_env("decisions")
    first = env.advance(start(cascade, 3, cascade.params), 1, cascade.params)
    again = env.advance(first, 1, cascade.params)  # the same model: no recorded answer is drawn twice
    assert int(again.at) == int(first.at) + 1
    assert int(again.illegal) == 1
    assert float(again.runs) == 1


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
            env.advance(each, action, params) for each, params in ((state, cascade.params), (other, flipped))
        )
        seen, too = (env.observation(each, params) for each, params in ((state, cascade.params), (other, flipped)))
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
    (found,) = largest_correctness(right[:, None], cost[:, None], budget)
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
