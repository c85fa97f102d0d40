"""Collections: parts that share no instance, one environment for all, and cases that policies are scored on."""

import functools

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

SLOW = ("accelerator-networks", "memory-zoo")
CASCADE = "dsegym/ReasoningCascade-v0"


def cascades(**parts):
    def of(split):
        return lambda: [{"budget": budget} for budget in parts.get(split, ())]

    return Collection("test", CASCADE, "", **{split: of(split) for split in SPLITS})


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


def feature_values(env, observation):
    """{feature: values, in its shape}."""
    values = {name: np.asarray(observation[place]) for name, place in env.feature_slices.items()}
    return {feature.name: values[feature.name].reshape(feature.shape) for feature in env.features}


def assert_begins_with(padded, alone):
    """What a padded instance has beyond the instance's own is 0."""
    own = tuple(map(slice, alone.shape))
    np.testing.assert_array_equal(padded[own], alone)
    beyond = padded.copy()
    beyond[own] = 0
    assert not beyond.any()


@functools.partial(jax.jit, static_argnums=0)
def moved_and_seen(env, state, action, params):
    moved = env.advance(state, action, params)
    seen = env.observation(moved, params), env.action_mask(moved, params)
    return moved, seen, env.reward(state, moved, params), env.over(moved, params), env.final_info(moved, params)


def smallest_and_largest(problems, form):
    """The instances that differ the most in size, and one between them."""
    size = [sum(p.functional_env(form).sizes(p.env_params(form)).values()) for p in problems]
    order = np.argsort(size, kind="stable")
    return [problems[order[place]] for place in (0, len(order) // 2, -1)]


# Those of programs and of task graphs have tests of their own: tests/envs/memory/test_zoo.py, soc/test_collections.py.
PADDED = [name for name in collection_names() if not name.startswith(("memory-zoo", "soc-"))]


@pytest.mark.parametrize("name", PADDED)
def test_a_padded_instance_plays_as_alone(name):
    collection, generator = load_collection(name), np.random.default_rng(0)
    for problem in smallest_and_largest(collection.problems("test"), collection.form):
        env, own = problem.functional_env(collection.form), problem.env_params(collection.form)
        wide, padded = env.padded(own, collection.common_sizes)
        own, padded = (jax.tree.map(jnp.asarray, each) for each in (own, padded))
        key = jax.random.key(7)
        alone, beside = (jax.jit(each.start)(key, params) for each, params in ((env, own), (wide, padded)))
        mask, over, info, told = env.action_mask(alone, own), False, {}, {}
        for step in range(min(env.horizon, 150)):
            if mask is None:
                action = generator.integers(0, getattr(env.action_space, "nvec", getattr(env.action_space, "n", None)))
            else:
                action = generator.choice(np.flatnonzero(mask))
            alone, (seen, mask), reward, over, info = moved_and_seen(env, alone, np.int32(action), own)
            if env.action_space.shape:
                action = np.pad(np.asarray(action), (0, wide.action_space.shape[0] - env.action_space.shape[0]))
            beside, (view, legal), gain, end, told = moved_and_seen(wide, beside, np.int32(action), padded)
            for feature, values in feature_values(env, seen).items():
                assert_begins_with(feature_values(wide, view)[feature], values)
            if mask is not None and not over:
                assert_begins_with(np.asarray(legal), np.asarray(mask))
            assert (reward, over) == (gain, end), step
            if over:
                break
        design, found = info.pop("design", None), told.pop("design", None)
        jax.tree.map(np.testing.assert_array_equal, told, info)
        if design is not None:
            np.testing.assert_array_equal(found[: len(design)], design)
            if env.replayable:
                assert problem.evaluate(np.asarray(design)).objective[0] == pytest.approx(
                    float(info["objective"]), rel=1e-6
                )
