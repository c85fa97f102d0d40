"""dsegym/BatchBestOfN-v0: episodes against a plain Python batch, policies, yardsticks, bad input."""

import best_of_n_oracle as oracle
import gymnasium
import jax
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidWorkloadError, UnknownNameError
from dsegym.costmodels.reasoning.batch import game
from dsegym.costmodels.reasoning.batch.game import Rules
from dsegym.costmodels.reasoning.outcomes import load_outcomes
from dsegym.envs.reasoning.batch_best_of_n import SCENARIO, BatchBestOfN

ID = "dsegym/BatchBestOfN-v0"
SMALL = {"questions": "8", "samples": "2"}
KINDS = {
    "synthetic": {},
    "recorded": {"data": "humaneval"},
    "noisy": {"verifier": "0.8/0.3", "hint": "none"},
    "tokens in rounds": {"data": "humaneval", "cost": "tokens", "rounds": "2"},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def problem_of(kind, **more):
    return dsegym.make_problem(ID, **{**SMALL, **KINDS[kind], **more})


def played_alone(problem, state, choose):
    """The oracle's batch from a functional state, played by `choose(legal, batch)`, and the environment beside it."""
    env, params = problem.functional_env("decisions"), problem.params
    tokens, noisy = problem.options["cost"] == "tokens", problem.options["verifier"] != "perfect"
    budget = float(params.samples) * 8 * (float(params.mean_tokens) if tokens else 1)
    batch = oracle.Batch(
        seed=int(state.seed),
        left=np.asarray(state.left).tolist(),
        right_left=np.asarray(state.right_left).tolist(),
        tokens_right=np.asarray(state.tokens_right).tolist(),
        tokens_wrong=np.asarray(state.tokens_wrong).tolist(),
        budget=budget,
        tokens=tokens,
        recorded=problem.options["data"] != "beta",
        rates=tuple(float(rate) for rate in params.rates) if noisy else (1.0, 0.0),
    )
    step = jax.jit(lambda state, action: env.advance(state, action, params))
    while not bool(env.over(state, params)):
        legal = batch.legal()
        np.testing.assert_array_equal(np.flatnonzero(np.asarray(env.action_mask(state, params))), legal)
        action = choose(legal, batch)
        batch.step(action)
        state = step(state, action)
    return batch, state, env


@pytest.mark.slow
@every_kind
@pytest.mark.parametrize("seed", [0, 1])
def test_an_episode_is_the_batch_that_plain_python_plays(kind, seed):
    problem, generator = problem_of(kind), np.random.default_rng(seed)
    first = problem.functional_env("decisions").start(jax.random.key(seed), problem.params)
    batch, last, env = played_alone(problem, first, lambda legal, _: int(generator.choice(legal)))
    assert float(env.metrics(last, problem.params).accuracy) == pytest.approx(batch.accuracy(), abs=1e-6)
    assert float(last.spent) == pytest.approx(batch.spent, rel=1e-5)
    assert batch.spent <= batch.budget * (1 + 1e-5)
    attempts = np.bincount([question for question, _, _ in batch.history], minlength=8)
    np.testing.assert_array_equal(np.asarray(last.attempts), attempts)


@pytest.mark.slow
@every_kind
@pytest.mark.parametrize("rule", ["uniform", "ucb"])
def test_a_policy_played_step_by_step_costs_what_the_cost_function_says(kind, rule):
    problem = problem_of(kind)
    env, params, design = problem.functional_env("decisions"), problem.params, problem.baselines[rule]()
    seeds = params.seeds[:4]
    decide, rewards, found = jax.jit(lambda state: env.decide(np.array(design), state, params)), [], []
    step = jax.jit(lambda state, action: env.advance(state, action, params))
    for seed in seeds:
        state = env.start(jax.random.fold_in(jax.random.key(seed), 0), params)
        total = 0.0
        while not bool(env.over(state, params)):
            action = decide(state)
            moved = step(state, action)
            total += float(env.reward(state, moved, params))
            state = moved
        assert int(state.illegal) == 0
        rewards.append(total)
        found.append(float(env.metrics(state, params).accuracy))
    np.testing.assert_allclose(rewards, found, atol=1e-5)
    several = problem.cost(np.array(design), params._replace(seeds=seeds))
    assert float(several.objective) == pytest.approx(1 - np.mean(found), abs=1e-5)


def test_the_return_of_an_episode_is_its_accuracy():
    env = gymnasium.make(ID, **SMALL)
    observation, info = env.reset(seed=3)
    terminated, total = False, 0.0
    while not terminated:
        assert observation in env.observation_space
        observation, reward, terminated, _, info = env.step(env.action_space.sample(mask=info["action_mask"]))
        total += reward
    assert total == pytest.approx(1 - info["objective"], abs=1e-5)
    assert info["accuracy"] == pytest.approx(total, abs=1e-5)


@pytest.mark.slow
def test_an_illegal_action_counts_as_the_least_tried_question_and_is_counted():
    problem = problem_of("recorded")
    env, params = problem.functional_env("decisions"), problem.params
    state = env.start(jax.random.key(0), params)
    state = state._replace(left=state.left.at[2].set(0), attempts=state.attempts.at[0].set(1))
    moved = env.advance(state, 2, params)
    assert int(moved.illegal) == 1
    np.testing.assert_array_equal(np.asarray(moved.attempts - state.attempts), [0, 1, 0, 0, 0, 0, 0, 0])
    assert not np.asarray(env.action_mask(state, params))[2]


def test_results_of_a_round_are_seen_at_its_end_only():
    problem = problem_of("recorded", rounds="2")  # 16 samples: 8 a round
    env, params = problem.functional_env("decisions"), problem.params
    state = env.start(jax.random.key(1), params)
    for step in range(1, 9):
        state = env.advance(state, step % 8, params)
        assert (np.asarray(state.seen_attempts).sum() == 8) == (step == 8)
        if step < 8:
            assert not np.asarray(state.seen).any()
    np.testing.assert_array_equal(np.asarray(state.seen), np.asarray(state.right))


def test_replaying_every_recorded_attempt_finds_every_recorded_success():
    data = load_outcomes("tau_airline").split("train")
    env = BatchBestOfN(Rules(len(data), 4, recorded=True, tokens=False, rounds=0, noisy=False, hinted=False))
    params = dsegym.make_problem(ID, data="tau_airline", questions="8", samples="4").params
    state = env.start(jax.random.key(0), params)
    successes = np.asarray(state.right_left).copy()
    step = jax.jit(lambda state, action: env.advance(state, action, params))
    for attempt in range(4 * len(data)):
        state = step(state, attempt % len(data))
    np.testing.assert_array_equal(np.asarray(state.right), successes)
    assert not np.asarray(game.legal(env.rules, state, params)).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, marks=[] if options["data"] == "humaneval" else pytest.mark.slow)
        for options in SCENARIO.core_instances()
    ],
    ids=lambda options: ",".join(options.values()),
)
def test_no_rule_and_no_random_policy_beats_the_oracle_beyond_luck(options):
    problem = dsegym.make_problem(ID, **options)
    designs = [problem.baselines[name]() for name in problem.baselines]
    designs += problem.space.sample(np.random.default_rng(0), 16 - len(designs)).tolist()
    objective = problem.evaluate_held_out(np.array(designs)).objective
    assert problem.bound.value <= objective.min() + 0.01
    assert problem.reference.value == objective[0]
    assert problem.bound.value < problem.reference.value - 0.05


def test_hints_and_stopping_help():
    problem = dsegym.make_problem(ID, data="humaneval")
    value = {
        name: problem.evaluate_held_out(problem.baselines[name]()).objective[0]
        for name in ("uniform", "round_robin", "posterior_greedy")
    }
    assert value["posterior_greedy"] < value["round_robin"] < value["uniform"]


@pytest.mark.slow
def test_the_breakdown_of_a_design_has_its_costs():
    problem = problem_of("recorded")
    design = problem.baselines["posterior_greedy"]()
    found = problem.breakdown(problem.decode(design))
    assert found.totals["held-out_accuracy"] == pytest.approx(
        1 - problem.evaluate_held_out(design).objective[0], abs=1e-5
    )
    assert found.totals["search_accuracy"] == pytest.approx(1 - problem.evaluate(design).objective[0], abs=1e-5)
    (oracle_row,) = (row for row in found.rows if (row["episodes"], row["policy"]) == ("held-out", "oracle"))
    assert oracle_row["accuracy"] == pytest.approx(1 - problem.bound.value, abs=1e-6)


# --- Bad input --------------------------------------------------------------------------------------------------------


def test_the_trivial_combination_is_refused_with_the_reason():
    with pytest.raises(DsegymError, match="nothing to learn: taking turns and stopping at a success is optimal"):
        dsegym.make_problem(ID, hint="none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "tau_airline", "samples": "8", "questions": "8"}, "samples = 8 is beyond the 4 recorded attempts"),
        ({"data": "tau_airline", "samples": "2"}, "questions = 16 is more than the 12 test problems"),
        ({"samples": "0"}, "samples = '0' is not allowed; allowed: any whole number from 1 to 64"),
        ({"samples": "-1"}, "samples = '-1' is not allowed"),
        ({"samples": "65"}, r"any whole number from 1 to 64\.$"),
        ({"hint": "0"}, "hint = '0' is not allowed; allowed: own, none, any number above 0, to 1000"),
        ({"verifier": "0.2/0.9"}, "two rates as 0.9/0.2, the first above the second"),
        *(({"verifier": rates}, "two rates as 0.9/0.2") for rates in ("0.9_0/0.2", "1/0_0", "0.9", "0.9/0.2/0.1")),
        ({"data": "humanevil"}, "Did you mean 'humaneval'"),
    ],
)
def test_bad_options_are_one_clear_sentence(options, message):
    with pytest.raises(DsegymError, match=message):
        dsegym.make_problem(ID, **options)


@pytest.mark.parametrize("rates", ["0.9/0", "0.8/0.3", "0.1234567/0.1", "0.00001/0", "1/0", "0.425/0.141"])
def test_the_canonical_text_of_rates_stands_for_exactly_these_rates(rates):
    verifier = SCENARIO.options["verifier"]
    value = verifier.parse(rates)
    assert value == tuple(float(rate) for rate in rates.split("/"))
    assert verifier.parse(verifier.text(value)) == value
    assert verifier.text(value) == {"1/0": "perfect", "0.425/0.141": "noisy"}.get(rates, rates)


@pytest.fixture
def own_log(tmp_path):
    """60 problems of all difficulties, 16 attempts each."""
    path = tmp_path / "log.csv"
    rows = [f"question{i},16,{(7 * i) % 17}" for i in range(60)]
    path.write_text("\n".join(["problem,attempts,successes", *rows]), encoding="utf-8")
    return path


def test_an_own_log_has_no_hint_unless_one_is_asked_for_and_says_so(own_log):
    problem = dsegym.make_problem(ID, data=str(own_log), questions="4", samples="1")
    assert problem.options["hint"] == "none"
    assert problem is dsegym.make_problem(ID, data=str(own_log), questions="4", samples="1", hint="none")
    assert problem is dsegym.make_problem(ID, data=str(own_log), questions="4", samples="1", hint="own")
    assert any("hint=none" in note for note in problem.notes)
    assert not any("hints are synthetic" in note for note in problem.notes)
    hinted = dsegym.make_problem(ID, data=str(own_log), questions="4", samples="1", hint="1")
    assert hinted.options["hint"] == "1"
    assert any(note.startswith("Synthetic hint: a peek at the truth") for note in hinted.notes)
    design = problem.baselines["posterior_greedy"]()
    assert problem.evaluate(design).objective[0] > hinted.evaluate(design).objective[0] + 0.02


@pytest.mark.parametrize("data", ["beta", "humaneval", "tau_airline"])
def test_data_of_the_package_keep_their_hint(data):
    assert SCENARIO.resolve({"data": data})["hint"] == SCENARIO.resolve({"data": data, "hint": "own"})["hint"] == "1"


def test_an_own_log_with_a_perfect_verifier_and_unit_costs_has_an_honest_answer(own_log):
    problem = dsegym.make_problem(ID, data=str(own_log), questions="4")
    assert any("round_robin" in note and "nothing to learn" in note for note in problem.notes)
    assert not problem.obstacle
    designs = [problem.baselines[name]() for name in problem.baselines]
    best = problem.evaluate_held_out(problem.baselines["round_robin"]()).objective[0]
    assert problem.bound.value < best < problem.reference.value
    assert best <= problem.evaluate_held_out(np.array(designs)).objective.min() + 0.02  # luck of the batches
    with_tokens = dsegym.make_problem(ID, data=str(own_log), questions="4", verifier="noisy")
    assert not any("nothing to learn" in note for note in with_tokens.notes)


@pytest.mark.slow
def test_a_score_on_few_test_problems_shows_how_many_and_its_error(own_log):
    problem = dsegym.make_problem(ID, data=str(own_log), questions="4")
    sizes = load_outcomes(str(own_log)).split_sizes
    assert sum(sizes.values()) == 60
    assert sizes["test"] == len(load_outcomes(str(own_log)).split("test"))
    found = problem.breakdown(problem.decode(problem.baselines["round_robin"]()))
    share = found.totals["held-out_accuracy"]
    error = found.totals["held-out_accuracy_standard_error"]
    assert error == pytest.approx(np.sqrt(share * (1 - share) / sizes["test"]))
    assert {split: found.totals[f"{split}_problems"] for split in sizes} == sizes
    assert f"{sizes['test']} test problems ({sizes['train']} train, {sizes['validation']} validation)" in found.notes[0]
    synthetic = dsegym.make_problem(ID, **SMALL)
    assert "test_problems" not in synthetic.breakdown(synthetic.decode(synthetic.reference.design)).totals


def test_a_users_log_is_an_instance_and_a_malformed_one_names_the_line(tmp_path):
    log = tmp_path / "log.csv"
    rows = [f"question{i},{10 + i},{i % 10}" for i in range(40)]
    log.write_text("\n".join(["problem,attempts,successes", *rows]), encoding="utf-8")
    problem = dsegym.make_problem(ID, data=str(log), samples="2", questions="4")
    assert problem.reference.value > problem.bound.value
    log.write_text("\n".join(["problem,attempts,successes", *rows, "last,3,4"]), encoding="utf-8")
    with pytest.raises(InvalidWorkloadError, match="line 42: successes = '4' is not a whole number from 0 to 3"):
        dsegym.make_problem(ID, data=str(log), samples="2", questions="4")
    with pytest.raises((UnknownNameError, InvalidWorkloadError)):
        dsegym.make_problem(ID, data=str(tmp_path / "missing.csv"), samples="2", questions="4")
