"""dsegym/SolveVerify-v0: episodes against a plain Python problem, policies, yardsticks, bad input."""

import jax
import numpy as np
import pytest
import solve_verify_oracle as oracle
from best_of_n_oracle import luck

import dsegym
from dsegym.costmodels.errors import DsegymError
from dsegym.costmodels.reasoning.laws import pass_at
from dsegym.costmodels.reasoning.verify import game
from dsegym.costmodels.reasoning.verify.game import ANSWER, VERIFY
from dsegym.costmodels.reasoning.verify.model import Verifier
from dsegym.envs.core.policies import policy_cost, seeds_of
from dsegym.envs.reasoning.solve_verify import HEURISTICS, SCENARIO, SPACE, SolveVerify

ID = "dsegym/SolveVerify-v0"
KINDS = {
    "recorded": {"data": "humaneval", "budget": "8"},
    "synthetic": {"data": "genrm", "budget": "8", "price": "0.1"},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def problem_of(kind, **more):
    return dsegym.make_problem(ID, **{**KINDS[kind], **more})


def first_state(env, key, params):
    """An episode's first state, compiled: operation by operation it takes seconds."""
    return jax.jit(env.start)(key, params)


def plain(problem, state):
    """The oracle's problem from a functional state."""
    params = problem.params
    if problem.options["data"] == "humaneval":
        words, order = oracle.hashed(state.inclined), oracle.hashed(state.order)

        def verdict(group, number):
            return (words[group] >> order[number]) & 1
    else:
        logits, seed = oracle.hashed(state.inclined), int(state.seed)

        def verdict(group, number):
            from statistics import NormalDist

            noise = NormalDist().inv_cdf(luck(seed, group, number, 6) + 2**-25)
            chance = 1 / (1 + np.exp(-(logits[group] + 0.6 * noise)))
            return int(luck(seed, group, number, 4) < chance)

    return oracle.Problem(
        answers=oracle.hashed(state.answers),
        right=oracle.hashed(state.right),
        verdict=verdict,
        most=int(state.most),
        tie=oracle.hashed(state.tie),
        budget=float(params.budget),
        verify_cost=float(params.verify_cost),
    )


@pytest.mark.slow
@every_kind
@pytest.mark.parametrize("seed", range(4))
def test_an_episode_is_the_problem_that_plain_python_plays(kind, seed):
    problem, generator = problem_of(kind), np.random.default_rng(seed)
    env, params = problem.functional_env("decisions"), problem.params
    state = first_state(env, jax.random.key(seed), params)
    alone = plain(problem, state)
    step = jax.jit(lambda state, action: env.advance(state, action, params))
    mask = jax.jit(lambda state: env.action_mask(state, params))
    total, steps = 0.0, 0
    while alone.accuracy is None:
        legal = alone.legal()
        np.testing.assert_array_equal(np.asarray(mask(state)), legal)
        weights = np.array([3.0, *[2.0] * 5, *[0.1] * 5]) * legal
        action = int(generator.choice(11, p=weights / weights.sum()))
        alone.step(action)
        moved = step(state, action)
        total += float(env.reward(state, moved, params))
        state, steps = moved, steps + 1
    assert steps <= env.horizon
    assert bool(env.over(state, params))
    assert float(state.spent) == pytest.approx(alone.spent)
    assert float(state.accuracy) == pytest.approx(alone.accuracy)
    assert total == pytest.approx(1 - float(env.evaluation(state, params).objective), abs=1e-5)


@pytest.mark.slow
@every_kind
@pytest.mark.parametrize("rule", ["self_consistency", "agreement_and_verdicts", "escalation", "verify_then_sample"])
def test_a_policy_played_step_by_step_costs_what_the_cost_function_says(kind, rule):
    problem = problem_of(kind)
    env, params, design = problem.functional_env("decisions"), problem.params, np.array(problem.baselines[rule]())
    seeds, found = params.seeds[:4], []
    decide = jax.jit(lambda state: env.decide(design, state, params))
    step = jax.jit(lambda state, action: env.advance(state, action, params))
    for seed in seeds:
        state = first_state(env, jax.random.fold_in(jax.random.key(seed), 0), params)
        while not bool(state.answered):
            state = step(state, decide(state))
        assert int(state.illegal) == 0
        assert float(state.spent) <= float(params.budget) * (1 + 1e-5)
        found.append(float(env.evaluation(state, params).objective))
    assert float(problem.cost(design, params._replace(seeds=seeds)).objective) == pytest.approx(
        np.mean(found), abs=1e-5
    )


def test_self_consistency_takes_every_sample_and_single_sample_one():
    problem = problem_of("recorded")
    found = {
        rule: problem.evaluate(problem.baselines[rule]()).metrics for rule in ("self_consistency", "single_sample")
    }
    assert found["self_consistency"].samples[0] == 8
    assert found["single_sample"].samples[0] == 1
    assert found["single_sample"].verdicts[0] == found["self_consistency"].verdicts[0] == 0


def test_an_illegal_action_answers_with_the_largest_group_and_is_counted():
    problem = problem_of("recorded")
    env, params = problem.functional_env("decisions"), problem.params
    state = first_state(env, jax.random.key(0), params)
    moved = env.advance(state, 1, params)  # nothing to verify
    assert bool(moved.answered)
    assert int(moved.illegal) == 1
    assert float(moved.accuracy) == 0
    sampled = env.advance(state, 0, params)
    answered = env.advance(sampled, 3, params)  # the third group is empty
    assert float(answered.accuracy) == float(state.right[0])


def test_policies_verify_as_many_groups_as_the_space_says():
    problem = problem_of("synthetic", budget="100", verify_cost="0.1")
    env, params = problem.functional_env("decisions"), problem.params
    decide = jax.jit(lambda design, state: env.decide(design, state, params))
    step = jax.jit(lambda state, action: env.advance(state, action, params))
    for groups in SPACE["groups"].values:
        design = np.array(HEURISTICS.encode({"samples": 0.5, "groups": groups, "verdicts": 1}))
        state = first_state(env, jax.random.key(0), params)
        while not bool(state.answered):
            state = step(state, decide(design, state))
        assert int(state.samples) == 50
        assert (np.asarray(state.votes) > 0).sum() >= 5
        verified = np.asarray(state.verdicts)[np.asarray(state.ranked)]
        assert verified.tolist() == [1.0] * groups + [0.0] * (5 - groups)


@pytest.mark.slow
def test_a_breakdown_holds_the_design_against_the_reference_and_coverage():
    problem = problem_of("synthetic")
    parts = problem.breakdown(problem.decode(problem.baselines["best_of_n"]()))
    assert [(row["episodes"], row["policy"]) for row in parts.rows] == [
        (episodes, policy) for episodes in ("search", "held-out") for policy in ("design", "self_consistency", "bound")
    ]
    bound = parts.rows[-1]
    assert 1 - bound["accuracy"] + bound["price_paid"] == pytest.approx(problem.bound.value, abs=1e-6)
    assert parts.totals["held-out_accuracy"] == parts.rows[3]["accuracy"] < bound["accuracy"]


def test_no_test_is_run_twice_on_a_group():
    problem = problem_of("recorded", budget="64", verify_cost="0.5")
    env, params = problem.functional_env("decisions"), problem.params
    state = first_state(env, jax.random.key(2), params)
    order = np.asarray(state.order)
    assert sorted(order.tolist()) == list(range(32))
    assert set(order[: int(state.most)].tolist()) == set(range(int(state.most))), "a problem's own tests come first"
    state = env.advance(state, 0, params)
    step = jax.jit(lambda state: env.advance(state, 1, params))
    for _ in range(int(state.most)):
        assert bool(env.action_mask(state, params)[1])
        state = step(state)
    assert not bool(env.action_mask(state, params)[1])
    group = int(np.argmax(np.asarray(state.votes)))
    assert float(state.yes[group]) == bin(int(state.inclined[group])).count("1")


# Each compiles a program of its own.
CORE = [
    pytest.param(options, id=",".join(options.values()), marks=[] if place in (0, 5) else [pytest.mark.slow])
    for place, options in enumerate(SCENARIO.core_instances())
]


@pytest.mark.slow
@pytest.mark.parametrize("options", CORE)
def test_no_rule_and_no_random_policy_beats_the_bound(options):
    problem = dsegym.make_problem(ID, **options)
    names = [name for name in problem.baselines if name != "best_fixed"]
    designs = [problem.baselines[name]() for name in names]
    designs += problem.space.sample(np.random.default_rng(0), 32 - len(designs)).tolist()
    objective = problem.evaluate_held_out(np.array(designs)).objective
    assert problem.bound.value <= objective.min() + 1e-6
    assert problem.reference.value == objective[0]


def test_the_bound_is_about_the_coverage_of_the_test_problems():
    problem = problem_of("recorded")
    held_out, pool = problem.held_out_params, problem.held_out_params.source
    successes = np.asarray(pool.correct)[: int(pool.problems)].sum(1)
    covered = pass_at(8, attempts=np.full(len(successes), 100), successes=successes).mean()
    error = 0.5 / np.sqrt(len(held_out.seeds))  # episodes draw problems, and eight samples of each
    assert 1 - problem.bound.value == pytest.approx(covered, abs=4 * error)


@pytest.mark.slow
def test_the_best_fixed_allocation_is_no_worse_on_the_searchs_problems_than_the_rules_it_contains():
    problem = problem_of("recorded", budget="16")
    fixed = problem.evaluate(problem.baselines["best_fixed"]()).objective[0]
    for name in ("best_of_n", "agreement_and_verdicts"):
        assert fixed <= problem.evaluate(problem.baselines[name]()).objective[0] + 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": "0"}, "budget = '0' is not allowed"),
        ({"budget": "-4"}, "budget = '-4' is not allowed"),
        ({"budget": "101"}, "any number from 1 to 100 samples"),
        ({"verify_cost": "0"}, "verify_cost = '0' is not allowed; allowed: own, any number from 0.05 to 100 samples"),
        ({"price": "2"}, "price = '2' is not allowed"),
        ({"data": "humanevil"}, "Did you mean 'humaneval'"),
    ],
)
def test_bad_options_are_one_clear_sentence(options, message):
    with pytest.raises(DsegymError, match=message):
        dsegym.make_problem(ID, **options)


def test_the_order_of_tests_is_not_the_luck_that_breaks_ties():
    problem = problem_of("recorded")
    env, params = problem.functional_env("decisions"), problem.params
    states = jax.jit(jax.vmap(env.start, (0, None)))(jax.random.split(jax.random.key(0), 64), params)
    same = [
        np.array_equal(np.argsort(tie[:most]), order[:most])
        for tie, order, most in zip(np.asarray(states.tie), np.asarray(states.order), states.most, strict=True)
        if most >= 8
    ]
    assert len(same) > 30
    assert not any(same)


def test_cheap_verdicts_spend_the_budget_to_the_last_one():
    problem = dsegym.make_problem(ID, data="genrm", budget="100", verify_cost="0.1")
    env, params = problem.functional_env("decisions"), problem.params

    def play(key):
        def step(state, _):
            mask, choices = env.action_mask(state, params), np.arange(11)
            first = (choices == 0) & (state.samples < 90)
            wanted = (first | ((choices >= VERIFY) & (choices < ANSWER) & (state.samples >= 90))) & mask
            moved = env.advance(state, jax.numpy.argmax(wanted), params)
            return jax.tree.map(lambda old, new: jax.numpy.where(wanted.any(), new, old), state, moved), None

        last = jax.lax.scan(step, env.start(key, params), None, length=200)[0]
        return last.verdicts, last.votes, last.samples, last.spent, last.ranked

    keys = jax.random.split(jax.random.key(0), 256)
    verdicts, votes, samples, spent, top = (np.asarray(leaf) for leaf in jax.jit(jax.vmap(play))(keys))
    assert np.all(samples == 90)
    more = np.take_along_axis((votes > 0) & (verdicts < 32), top, 1).any(1)
    assert more.sum() > 50, "episodes in which money is what runs out"
    assert np.all(verdicts[more].sum(1) == 100)
    np.testing.assert_allclose(spent, 90 + 0.1 * verdicts.sum(1), rtol=1e-6)


# Two answers: every wrong sample gives the same one, and the verifier's rates have no noise.
TWO_ANSWERS = {
    "noisy": (0.9, 0.2, 0.5),
    "blind": (0.5, 0.5, 0.5),
    "nearly perfect": (1 - 1e-6, 1e-6, 1.0),
}  # yes if right, yes if wrong, cost of a verdict


@pytest.mark.slow
@pytest.mark.parametrize("verifier", TWO_ANSWERS)
def test_exact_belief_states_and_the_environment_agree_on_problems_with_two_answers(verifier):
    right, wrong, cost = TWO_ANSWERS[verifier]
    budget, chances, episodes = 4.0, (0.3, 0.8), 4096
    rates = {"yes_if_right": right, "yes_if_wrong": wrong}
    value = oracle.belief_values(chances, **rates, budget=budget, verify_cost=cost)
    best = value((0, 0), ((0, 0), (0, 0)), 0.0)[0]
    votes_only = oracle.best_policy(chances, **rates, budget=budget, verify_cost=1e9)
    assert (best > votes_only + 0.02) == (verifier != "blind")
    params = problem_of("synthetic").params._replace(
        seeds=seeds_of(7, episodes),
        source=game.synthetic(Verifier(right, wrong, 0.0, 0.0, 0.0))._replace(
            quantiles=np.repeat(np.array(chances, np.float32), game.QUANTILES // 2), wrong=np.ones(20, np.float32)
        ),
        budget=np.float32(budget),
        verify_cost=np.float32(cost),
        price=np.float32(0),
    )
    env = SolveVerify(samples=4, horizon=8)
    states = jax.jit(jax.vmap(env.start, (0, None)))(jax.vmap(jax.random.key)(params.seeds), params)

    def until_answered(state, action):
        moved = env.advance(state, action, params)
        return jax.tree.map(lambda old, new: jax.numpy.where(state.answered, old, new), state, moved)

    step = jax.jit(jax.vmap(until_answered))
    # Group 0 is right in the environment: names are exchanged in half of the episodes, so that no policy knows.
    swapped, rows = np.arange(episodes) % 2, np.arange(episodes)
    for _ in range(env.horizon):
        groups = np.stack([swapped, 1 - swapped], 1)  # of the answers A and B
        votes, verdicts, yes = (
            np.take_along_axis(np.asarray(leaf), groups, 1).astype(int)
            for leaf in (states.votes, states.verdicts, states.yes)
        )
        actions, ranked = np.zeros(episodes, np.int32), np.asarray(states.ranked)
        for row in rows[~np.asarray(states.answered)]:
            seen = tuple((int(y), int(n - y)) for y, n in zip(yes[row], verdicts[row], strict=True))
            action, answer = value(tuple(votes[row].tolist()), seen, float(states.spent[row]))[1]
            if action != "sample":
                rank = ranked[row].tolist().index(groups[row, answer])
                actions[row] = rank + (VERIFY if action == "verify" else ANSWER)
        states = step(states, actions)
        if np.asarray(states.answered).all():
            break
    error = 0.5 / np.sqrt(episodes)
    assert int(np.asarray(states.illegal).sum()) == 0
    assert float(np.mean(np.asarray(states.accuracy))) == pytest.approx(best, abs=4 * error)
    cost_of = jax.jit(policy_cost(env))
    for rule in ("self_consistency", "verify_then_sample", "escalation"):
        design = np.array(problem_of("synthetic").baselines[rule]())
        assert 1 - float(cost_of(design, params).objective) <= best + 4 * error, rule
