"""Collections of graphs and streams: an instance in a larger one's shape plays as alone, bit for bit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.envs.core.collections import load_collection
from dsegym.envs.core.stepping import lane_keys, reset_lanes, step_lanes

STATIC, STREAM = "dsegym/SocSchedulingStatic-v0", "dsegym/SocSchedulingStream-v0"
EPISODES = 2


@functools.partial(jax.jit, static_argnums=(0, 1))
def played(env, steps, params):
    """Random legal episodes, leaves [EPISODES, steps, ...]: each state as it is shown, and the action that follows."""

    def episode(case):
        key = jax.random.key(case)

        def step(carry, number):
            before, state = carry
            mask = env.action_mask(state, params)
            drawn = jax.random.randint(jax.random.fold_in(key, number), (), 0, jnp.maximum(mask.sum(), 1))
            action = jnp.argmax(jnp.cumsum(mask) > drawn).astype(jnp.int32)  # the same of those that are legal
            shown = {
                "observed": env.observe(state, params),
                "mask": mask,
                "reward": env.reward(before, state, params),
                "over": env.over(state, params),
                "final": env.final_info(state, params),
                "metrics": env.evaluation(state, params).metrics,
                "step": env.step_info(before, action, state, params),
                "action": action,
            }
            return (state, env.advance(state, action, params)), shown

        first = env.start_case(case, params)
        return jax.lax.scan(step, (first, first), jnp.arange(steps))[1]

    return jax.vmap(episode)(jnp.arange(EPISODES))


def assert_plays_as_alone(env, params, larger_env, larger, axes, *, rounded=()):
    """`axes` are those of the actions, alone and padded; the figures named as rounded may differ in their last bits."""
    steps = (env.horizon + 1) if env.horizon < 500 else 500
    alone, padded = (
        jax.tree.map(np.asarray, played(each, steps, own)) for each, own in ((env, params), (larger_env, larger))
    )
    lasts = np.minimum(np.argmax(alone["over"], axis=1), steps - 1)
    assert alone["over"].any(axis=1).all()
    own, wide = axes
    for episode, last in enumerate(lasts):
        one, two = (jax.tree.map(lambda leaf, e=episode, n=last: leaf[e, : n + 1], each) for each in (alone, padded))
        for feature, into in zip(env.features, larger_env.features, strict=True):
            expected = np.zeros((last + 1, *into.shape), np.float32)
            values, place = one["observed"][feature.name], tuple(map(slice, feature.shape))
            if feature.name.startswith("action_"):  # of actions, which may be pairs
                values, place, expected = values.reshape(-1, *own), tuple(map(slice, own)), expected.reshape(-1, *wide)
            expected[(slice(None), *place)] = values
            expected = expected.reshape(last + 1, *into.shape)
            np.testing.assert_array_equal(two["observed"][feature.name], expected, err_msg=feature.name)
        legal = np.zeros((last + 1, *wide), bool)
        legal[(slice(None), *map(slice, own))] = one["mask"].reshape(-1, *own)
        np.testing.assert_array_equal(two["mask"].reshape(-1, *wide), legal)
        np.testing.assert_array_equal(np.unravel_index(two["action"], wide), np.unravel_index(one["action"], own))
        np.testing.assert_array_equal(two["over"], one["over"])
        assert one["final"]["illegal_actions"][-1] == 0
        jax.tree.map(np.testing.assert_array_equal, two["step"], one["step"])
        if "reward" in rounded:
            np.testing.assert_allclose(two["reward"], one["reward"], rtol=1e-5, atol=1e-7)
        else:
            np.testing.assert_array_equal(two["reward"], one["reward"])
        jax.tree.map(np.testing.assert_array_equal, two["metrics"], one["metrics"])
        for name, values in one["final"].items():
            if name != "design":
                np.testing.assert_array_equal(two["final"][name], values, err_msg=name)
    return alone, padded, lasts


def enlarged(sizes, **least):
    found = {name: count + extra for extra, (name, count) in enumerate(sizes.items(), start=1)}
    return found | {name: max(found[name], count) for name, count in least.items()}


def axes_of(env):
    return (env.tasks, env.elements) if env.by_element else (env.tasks,)


GRAPHS = {
    "one platform's own power": ("sequential", {"graph": "wifi_tx"}),
    "elements that cannot run all": ("by_action", {"graph": "wifi_tx"}),
    "unknown power": ("sequential", {"graph": "random_9_2_ccr5_s7_h0.2"}),
    "unknown power, by action": ("by_action", {"graph": "top1"}),
    "tasks only": ("sequential", {"graph": "rows_4_11_s1", "space": "order"}),
    "tasks only, by action": ("by_action", {"graph": "top1", "space": "order"}),
    "energy": ("sequential", {"graph": "wifi_tx", "platform": "bal_only", "objective": "edp"}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("form", "options"), GRAPHS.values(), ids=GRAPHS)
def test_a_padded_graph_is_scheduled_as_alone(form, options):
    problem = dsegym.make_problem(STATIC, **options)
    env, params = problem.functional_env(form), jax.tree.map(jnp.asarray, problem.env_params(form))
    sizes = enlarged(env.sizes(params), busy=7) | {"operating_points": 1}
    larger_env, larger = env.padded(params, sizes)
    alone, padded, lasts = assert_plays_as_alone(env, params, larger_env, larger, (axes_of(env), axes_of(larger_env)))
    for episode, last in enumerate(lasts):
        design, found = (each["final"]["design"][episode, last] for each in (alone, padded))
        np.testing.assert_array_equal(found[: len(design)], design)
        assert not found[len(design) :].any()
        objective = problem.evaluate(found[: len(problem.space)]).objective
        np.testing.assert_array_equal(objective.astype(np.float32), [padded["final"]["objective"][episode, last]])


_OTHER = {"jobs": "single_carrier", "platform": "bal_mm1_fft1_vit1", "queue": 2, "start": "full", "noise": 0.25}
_WIFI = {"jobs": "wifi", "queue": 3, "interval_us": 40, "count": 3}
STREAMS = {
    "unknown power": ("decisions", {"jobs": "top", "noise": 0.1}),
    "elements that cannot run all": ("pairs", _WIFI),
    "a full start": ("decisions", _OTHER | {"interval_us": 20}),
    "energy": ("decisions", _WIFI | {"objective": "energy"}),
    "a full start, pairs and energy": ("pairs", _OTHER | {"objective": "edp"}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("form", "options"), STREAMS.values(), ids=STREAMS)
def test_a_padded_stream_is_played_as_alone(form, options):
    problem = dsegym.make_problem(STREAM, **{"count": 6, **options})
    env, params = problem.functional_env(form), jax.tree.map(jnp.asarray, problem.env_params(form))
    larger_env, larger = env.padded(params, enlarged(env.sizes(params), tasks=40, clusters=6))
    axes = [(each.slots, each.tasks, each.elements)[0 if form == "pairs" else 2 :] for each in (env, larger_env)]
    # Sums of energies before and after a step are contracted as the program suggests.
    rounded = ("reward",) if "objective" in options else ()
    assert_plays_as_alone(env, params, larger_env, larger, axes, rounded=rounded)


@pytest.mark.parametrize("space", ["order_and_element", "order"])
def test_features_of_actions_are_what_comes_of_them(space):
    problem = dsegym.make_problem(STATIC, graph="random_12_3_ccr1_s4", space=space)
    env, params = problem.functional_env("by_action"), jax.tree.map(jnp.asarray, problem.env_params("by_action"))
    unit = float(params.reference_makespan)
    advance = jax.jit(env.advance)
    state, generator = env.start(jax.random.key(0), params), np.random.default_rng(3)
    for _ in range(env.horizon):
        legal = np.flatnonzero(env.action_mask(state, params))
        seen = {name: np.asarray(values) for name, values in env.observe(state, params).items()}
        for name in seen:
            assert (env.action_mask(state, params) | (not name.startswith("action_")) | (seen[name] == 0)).all()
        afters = [advance(state, action, params) for action in legal]
        tasks = [int(np.flatnonzero(after.rank != state.rank)[0]) for after in afters]
        finish = np.array([after.placement.finish[task] for after, task in zip(afters, tasks, strict=True)])
        element = np.array([after.placement.element[task] for after, task in zip(afters, tasks, strict=True)])
        run_time = np.asarray(params.arrays.run_time)[0][tasks, element]
        expected = {
            "finish": finish,
            "start": finish - run_time,
            "later": finish - finish.min(),
            "idle": finish - run_time - np.asarray(state.placement.available)[element],
            "growth": [float(after.estimate - state.estimate) for after in afters],
        }
        for name, values in expected.items():
            np.testing.assert_allclose(seen[f"action_{name}"][legal], np.array(values) / unit, rtol=1e-5, atol=1e-6)
        if space == "order_and_element":
            least = np.array([finish[np.array(tasks) == task].min() for task in tasks])
            np.testing.assert_allclose(seen["action_loss"][legal], (finish - least) / unit, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            seen["action_run_time"][legal], run_time / (np.asarray(params.features)[tasks, 1] * unit), rtol=1e-5
        )
        state = advance(state, generator.choice(legal), params)
    assert bool(env.over(state, params))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["soc-static", "soc-stream-rates"])
def test_a_lane_of_a_collection_takes_no_illegal_action(name):
    env, params = load_collection(name).environment("validation")
    params = jax.tree.map(jnp.asarray, params)

    @jax.jit
    def run(lanes, mask):
        def step(carry, number):
            lanes, mask = carry
            scores = jax.random.uniform(jax.random.key(number), mask.shape) * mask
            lanes, found = step_lanes(env, lanes, jnp.argmax(scores, axis=1), params)
            return (lanes, found.action_mask), (found.terminal, found.final_info["illegal_actions"], found.reward)

        return jax.lax.scan(step, (lanes, mask), jnp.arange(400))[1]

    lanes, _, mask = reset_lanes(env, lane_keys(range(8)), params)
    terminal, illegal, reward = jax.tree.map(np.asarray, run(lanes, mask))
    assert terminal.any(axis=0).all()
    assert not illegal.any()
    assert np.isfinite(reward).all()
