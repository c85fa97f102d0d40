"""dsegym/TreeSearch-v0: episodes against plain Python, policies, yardsticks, bad input."""

import jax
import numpy as np
import pytest
import tree_search_oracle as oracle

import dsegym
from dsegym.costmodels.errors import DsegymError
from dsegym.costmodels.reasoning.outcomes import game24_nodes
from dsegym.costmodels.reasoning.splits import split_of
from dsegym.costmodels.reasoning.tree.game import most_cache, unpacked
from dsegym.envs.reasoning.tree_search import HEURISTICS, SCENARIO, SPACE

ID = "dsegym/TreeSearch-v0"
KINDS = {
    "steps": {"tree": "steps", "width": "4"},
    "game24": {"tree": "game24", "width": "8"},
    "log": {"tree": "game24_log", "width": "3", "price": "0"},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def problem_of(kind, **more):
    return dsegym.make_problem(ID, **{**KINDS[kind], **more})


def jitted(problem):
    env, params = problem.functional_env("decisions"), problem.params
    return (
        env,
        params,
        jax.jit(lambda key: env.start(key, params)),
        jax.jit(lambda state, action: env.advance(state, action, params)),
    )


@pytest.mark.slow
@every_kind
@pytest.mark.parametrize("seed", range(2))
def test_caches_widths_and_answers_of_an_episode_are_those_of_plain_python(kind, seed):
    problem, generator = problem_of(kind), np.random.default_rng(seed)
    env, params, initial, step = jitted(problem)
    state, cache = initial(jax.random.key(seed)), 0
    while not bool(env.over(state, params)):
        there = np.asarray(state.nodes.there)
        action = generator.integers(0, 8, len(there)) * (generator.random(len(there)) < 0.5)
        if there.any() and not (action * there).any():
            action[int(np.argmax(there * np.asarray(state.nodes.value)))] = 7
        kept = (action > 0) & there
        if kind == "log":
            kept &= np.cumsum(kept) <= 3
        depth, paths = int(state.depth), np.asarray(unpacked(env.rules, state.path)).tolist()
        cache += oracle.cache_nodes(paths, kept.tolist(), depth)
        moved = step(state, action)
        assert float(moved.cache) == cache
        good = kept & np.asarray(state.nodes.good)
        if depth == env.horizon:
            value = np.where(kept, np.asarray(state.nodes.value), -1)
            expected = good.any() if kind != "steps" else good[int(np.argmax(value))]
            assert bool(moved.success) == bool(expected)
        elif kind != "log":
            shares = oracle.shares(
                [2.0 ** (level - 7) if keep else 0.0 for level, keep in zip(action, kept, strict=True)], len(there)
            )
            parents = np.repeat(np.arange(len(there)), shares)
            above = np.asarray(unpacked(env.rules, moved.path))[:, :depth]
            np.testing.assert_array_equal(above, np.array(paths)[parents, :depth])
        state = moved
    total = 1 - float(env.evaluation(state, params).objective)
    assert total == pytest.approx(
        bool(state.success) - float(params.price) * cache / float(most_cache(env.rules, params)), abs=1e-5
    )


@pytest.mark.parametrize("breadth", [1, 3, 5])
def test_beams_over_the_log_solve_the_puzzles_that_a_plain_replay_solves(breadth):
    problem = dsegym.make_problem(ID, tree="game24_log", width="5", price="0")
    env, params = problem.functional_env("decisions"), problem.params
    design = np.array(problem.baselines[f"beam_{breadth}"]())
    start, step = jax.jit(env.start), jax.jit(env.advance)
    decide = jax.jit(lambda state: env.decide(design, state, params))
    table = game24_nodes()
    train = [puzzle for puzzle in range(900, 1000) if split_of("game24_log", puzzle) == "train"]
    assert len(train) == int(params.table.count)
    for row, puzzle in enumerate(train):
        columns = {name: getattr(params.table, name)[row : row + 1] for name in ("there", "parent", "good", "value")}
        alone = params._replace(table=params.table._replace(count=np.int32(1), **columns))
        state = start(jax.random.key(0), alone)
        for _ in range(3):
            state = step(state, decide(state), alone)
        assert bool(state.success) == oracle.replay_beam(table, puzzle, breadth), puzzle
        assert int(state.illegal) == 0


@pytest.mark.slow
@every_kind
@pytest.mark.parametrize("rule", ["rebase", "ets"])
def test_a_policy_played_step_by_step_costs_what_the_cost_function_says(kind, rule):
    problem = problem_of(kind)
    env, params, initial, step = jitted(problem)
    design, found = np.array(problem.baselines[rule]()), []
    decide = jax.jit(lambda state: env.decide(design, state, params))
    for seed in params.seeds[:4]:
        state, total = initial(jax.random.fold_in(jax.random.key(seed), 0)), 0.0
        while not bool(env.over(state, params)):
            action = decide(state)
            moved = step(state, action)
            total += float(env.reward(state, moved, params))
            state = moved
        objective = float(env.evaluation(state, params).objective)
        assert total == pytest.approx(1 - objective, abs=1e-5)
        found.append(objective)
    assert float(problem.cost(design, params._replace(seeds=params.seeds[:4])).objective) == pytest.approx(
        np.mean(found), abs=1e-5
    )


def test_a_node_is_the_same_whatever_else_is_expanded():
    problem = problem_of("steps")
    _, _, initial, step = jitted(problem)
    state = initial(jax.random.key(4))
    alone = step(state, np.array([7, 0, 0, 0]))
    shared = step(state, np.array([7, 7, 0, 0]))
    first, other = (np.asarray(each.nodes.name) for each in (alone, shared))
    np.testing.assert_array_equal(first[:2], other[:2])
    np.testing.assert_array_equal(np.asarray(alone.nodes.good)[:2], np.asarray(shared.nodes.good)[:2])


def test_keeping_nothing_keeps_the_best_leaf_and_is_counted():
    problem = problem_of("steps")
    env, _, initial, step = jitted(problem)
    state = initial(jax.random.key(4))
    best = int(np.argmax(np.asarray(state.nodes.value)))
    moved = step(state, np.zeros(4, int))
    assert int(moved.illegal) == 1
    assert float(moved.cache) == 1
    assert (np.asarray(unpacked(env.rules, moved.path))[:, 0] == best).all()


def test_policies_narrow_from_the_depth_that_the_space_says():
    problem = problem_of("steps")
    env, params, initial, step = jitted(problem)
    decide = jax.jit(lambda design, state: env.decide(design, state, params))
    for depth in SPACE["narrow_after"].values:
        design = np.array(HEURISTICS.encode({"narrow_after": depth, "last_keep": 1}))
        state = initial(jax.random.key(4))
        for place in range(1, env.horizon + 1):
            levels = np.asarray(decide(design, state))
            assert (levels > 0).sum() == (1 if place >= depth else 4)
            state = step(state, levels)


@pytest.mark.slow
def test_a_breakdown_holds_the_design_against_the_reference_and_the_oracle():
    problem = problem_of("log")
    parts = problem.breakdown(problem.decode(problem.baselines["beam_1"]()))
    assert [(row["episodes"], row["policy"]) for row in parts.rows] == [
        (episodes, policy) for episodes in ("search", "held-out") for policy in ("design", "uniform", "oracle")
    ]
    design, _, oracle_row = parts.rows[3:]
    assert (
        parts.totals["held-out_success"]
        == design["success"]
        == pytest.approx(1 - problem.evaluate_held_out(problem.baselines["beam_1"]()).objective[0])
    )
    assert 1 - oracle_row["success"] + oracle_row["price_paid"] == pytest.approx(problem.bound.value, abs=1e-6)


def test_more_recorded_leaves_than_were_asked_for_are_cut_and_counted():
    problem = problem_of("log")
    _, _, initial, step = jitted(problem)
    moved = step(initial(jax.random.key(0)), np.full(16, 7))
    assert int(moved.illegal) == 1
    assert float(moved.cache) == 3


def test_values_tell_of_goodness_and_observations_only_of_values():
    problem = problem_of("steps", width="16")
    env, params, _, _ = jitted(problem)
    states = jax.jit(jax.vmap(lambda seed: env.start(jax.random.key(seed), params)))(np.arange(200))
    value, good = np.asarray(states.nodes.value), np.asarray(states.nodes.good)
    assert value[good].mean() > value[~good].mean() + 0.1
    state = jax.tree.map(lambda leaf: leaf[0], states)
    blind = state._replace(nodes=state.nodes._replace(good=~state.nodes.good))
    np.testing.assert_array_equal(env.observation(state, params), env.observation(blind, params))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, marks=[] if options["tree"] == "game24_log" else pytest.mark.slow)
        for options in SCENARIO.core_instances()
    ],
    ids=lambda options: ",".join(options.values()),
)
def test_no_rule_and_no_random_policy_beats_the_oracle_beyond_luck(options):
    problem = dsegym.make_problem(ID, **options)
    names = list(problem.baselines)
    designs = [problem.baselines[name]() for name in names]
    designs += problem.space.sample(np.random.default_rng(0), 32 - len(designs)).tolist()
    objective = problem.evaluate_held_out(np.array(designs)).objective
    assert problem.bound.value <= objective.min() + 0.02
    assert problem.reference.value == objective[0]
    assert problem.bound.value < problem.reference.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tree": "game24_log", "width": "6"}, "width = 6 is beyond the 5 nodes of each depth"),
        ({"width": "0"}, "width = '0' is not allowed; allowed: own, any whole number from 1 to 32"),
        ({"width": "-1"}, "width = '-1' is not allowed"),
        ({"width": "33"}, "any whole number from 1 to 32"),
        ({"width": "2.5"}, "any whole number from 1 to 32"),
        ({"price": "2"}, "price = '2' is not allowed; allowed: any number from 0 to 1"),
        ({"tree": "game25"}, "Did you mean 'game24'"),
    ],
)
def test_bad_options_are_one_clear_sentence(options, message):
    with pytest.raises(DsegymError, match=message):
        dsegym.make_problem(ID, **options)
