"""Collections: parts that share no instance, one environment for all, and cases that policies are scored on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, UnknownNameError
from dsegym.costmodels.soc import rules, simulator, stream_game
from dsegym.envs.core.collections import SPLITS, Collection, collection_names, load_collection
from dsegym.envs.core.functional import play_cases
from dsegym.envs.core.stepping import lane_keys, reset_lanes, step_lanes
from dsegym.testing import check_padding

SLOW = ("accelerator-networks", "memory-zoo")
CASCADE = "dsegym/ReasoningCascade-v0"


def cascades(**parts):
    def of(split):
        return lambda: [{"budget": budget} for budget in parts.get(split, ())]

    return Collection("test", CASCADE, "", **{split: of(split) for split in SPLITS})


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in collection_names()]
)
def test_no_instance_stands_in_two_parts(name):
    load_collection(name).check()


def test_an_instance_in_two_parts_is_refused():
    with pytest.raises(DsegymError, match=r"one instance twice, in train \(budget=2\) and in test \(budget=2\)"):
        cascades(train=[1, 2], validation=[3], test=["2.0"]).check()


def test_unknown_parts_and_empty_ones_are_refused():
    with pytest.raises(UnknownNameError, match="split 'tests'"):
        cascades(train=[2]).problems("tests")
    with pytest.raises(DsegymError, match="The validation part of the collection 'test' has no instance"):
        cascades(train=[2]).problems("validation")
    with pytest.raises(DsegymError, match="Instance 1 of train in the collection 'test': "):
        cascades(train=[2, -1]).problems("train")


def test_sizes_that_instances_do_not_have_or_go_beyond_are_refused():
    trees = dataclasses.replace(load_collection("tree-steps"), sizes={"widht": 32})
    with pytest.raises(DsegymError, match=r"has sizes of width; the collection 'tree-steps' pads widht"):
        trees.padded("validation")
    with pytest.raises(DsegymError, match=r"has 12 width; the collection 'tree-steps' holds instances of at most 8"):
        dataclasses.replace(trees, sizes={"width": 8}).padded("validation")


def test_instances_of_different_games_cannot_share_a_program():
    rows = [{"tree": "steps", "width": 4}, {"tree": "game24", "width": 4}]
    mixed = Collection("mixed", "dsegym/TreeSearch-v0", "", lambda: rows, lambda: (), lambda: ())
    with pytest.raises(DsegymError, match="'mixed' holds instances that cannot share a program: "):
        mixed.padded("train")


def test_a_lane_of_a_collection_plays_the_instance_that_it_drew():
    collection = cascades(train=[2, 20, 100], validation=[1], test=[5])
    env, params = collection.environment("train")
    lanes, _, mask = reset_lanes(env, lane_keys(range(16)), params)
    drawn = np.asarray(lanes.state.instance)
    assert set(drawn.tolist()) == {0, 1, 2}
    own = [jax.tree.map(jnp.asarray, problem.env_params()) for problem in collection.problems("train")]
    alone = [jax.tree.map(lambda leaf, lane=lane: leaf[lane], lanes.state.state) for lane in range(16)]
    step = jax.jit(lambda lanes, action: step_lanes(env, lanes, action, params))

    @jax.jit
    def move(state, action, params):
        moved = env.inner.advance(state, action, params)
        seen, legal = env.inner.observation(moved, params), env.inner.action_mask(moved, params)
        return moved, (seen, env.inner.reward(state, moved, params), legal)

    generator = np.random.default_rng(0)
    for _ in range(8):
        actions = np.array([generator.choice(np.flatnonzero(row)) for row in np.asarray(mask)], np.int32)
        lanes, found = step(lanes, actions)
        mask = found.action_mask
        for lane in range(16):
            alone[lane], (seen, reward, legal) = move(alone[lane], actions[lane], own[drawn[lane]])
            np.testing.assert_array_equal(found.observation[lane], seen)
            np.testing.assert_array_equal(found.reward[lane], reward)
            np.testing.assert_array_equal(found.action_mask[lane], legal)


def test_a_policy_is_scored_on_the_held_out_episodes():
    problem = dsegym.make_problem(CASCADE)
    env = problem.functional_env()
    params = jax.tree.map(jnp.asarray, env.scored_params(problem))
    design = np.array(problem.reference.design, np.int32)
    final = jax.jit(
        lambda: env.mean_evaluation(
            play_cases(env, lambda state, *_: env.decide(design, state, params), params), params
        )
    )()
    np.testing.assert_allclose(final.objective, problem.reference.value, rtol=1e-6)


@pytest.mark.slow
def test_a_policy_is_scored_on_the_held_out_traces():
    problem = dsegym.make_problem("dsegym/SocSchedulingStream-v0", count=10, noise=0.1)
    env = problem.functional_env()
    params = jax.tree.map(jnp.asarray, env.scored_params(problem))

    def earliest_finish(state, case, step):
        _, slot, task = simulator.offered(state.stream)
        return simulator.estimates(params.arrays, state.stream, slot, task).finish.argmin()

    final = jax.jit(lambda: env.mean_evaluation(play_cases(env, earliest_finish, params), params))()
    rule = rules.named_rule("eft", problem.held_out_params.facts)
    held_out = problem.held_out_params
    played = simulator.play(held_out.arrays, held_out.traces, lambda _: rule, jnp.zeros(1), queue=len(held_out.queue))
    expected = stream_game.mean_metrics(held_out.arrays, jax.tree.map(lambda leaf: leaf[0], played), 10)
    np.testing.assert_array_equal(final.metrics.latency_us, expected.latency_us)


def smallest_and_largest(problems, form):
    """The instances that differ the most in size, and one between them."""
    size = [sum(p.functional_env(form).sizes(p.env_params(form)).values()) for p in problems]
    order = np.argsort(size, kind="stable")
    return [problems[order[place]] for place in (0, len(order) // 2, -1)]


# Those of programs and of task graphs have tests of their own: tests/envs/memory/test_zoo.py, soc/test_collections.py.
PADDED = [name for name in collection_names() if not name.startswith(("memory-zoo", "soc-"))]


# The stream's instances compile for half a minute; tests/envs/serving/test_stream_padding.py plays smaller ones.
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "serving-stream" else name for name in PADDED]
)
def test_a_padded_instance_plays_as_alone(name):
    collection = load_collection(name)
    for problem in smallest_and_largest(collection.problems("test"), collection.form):
        env, params = problem.functional_env(collection.form), problem.env_params(collection.form)
        larger, _ = env.padded(params, collection.common_sizes)
        axes = None if env.action_space.shape else ((env.action_space.n,), (larger.action_space.n,))
        check_padding(problem, collection.form, collection.common_sizes, axes=axes)
