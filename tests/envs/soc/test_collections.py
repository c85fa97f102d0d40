"""Collections of graphs and streams: an instance in a larger one's shape plays as alone, bit for bit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym

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
            expected[(slice(None), *map(slice, feature.shape))] = one["observed"][feature.name]
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


GRAPHS = [
    {"graph": "top1"},
    {"graph": "wifi_tx"},
    {"graph": "wifi_tx", "platform": "bal_only"},
    {"graph": "random_9_2_ccr5_s7_h0.2"},
    {"graph": "rows_4_11_s1"},
]


def enlarged(sizes, **least):
    found = {name: count + extra for extra, (name, count) in enumerate(sizes.items(), start=1)}
    return found | {name: max(found[name], count) for name, count in least.items()}


def axes_of(env):
    return (env.tasks, env.elements) if env.by_element else (env.tasks,)


@pytest.mark.parametrize(
    ("options", "objective"),
    [(options, "makespan") for options in GRAPHS] + [(GRAPHS[1], "energy"), (GRAPHS[2], "edp")],
    ids=lambda given: given if isinstance(given, str) else "-".join(given.values()),
)
@pytest.mark.parametrize("space", ["order_and_element", "order"])
def test_a_padded_graph_is_scheduled_as_alone(options, objective, space):
    problem = dsegym.make_problem(STATIC, space=space, objective=objective, **options)
    env, params = problem.functional_env(), jax.tree.map(jnp.asarray, problem.env_params())
    sizes = enlarged(env.sizes(params), busy=7) | {"operating_points": 1}
    larger_env, larger = env.padded(params, sizes)
    alone, padded, lasts = assert_plays_as_alone(env, params, larger_env, larger, (axes_of(env), axes_of(larger_env)))
    for episode, last in enumerate(lasts):
        design, found = (each["final"]["design"][episode, last] for each in (alone, padded))
        np.testing.assert_array_equal(found[: len(design)], design)
        assert not found[len(design) :].any()
        objective = problem.evaluate(found[: len(problem.space)]).objective
        np.testing.assert_array_equal(objective.astype(np.float32), [padded["final"]["objective"][episode, last]])


STREAMS = [
    {"jobs": "top", "noise": 0.1},
    {"jobs": "wifi", "queue": 3, "interval_us": 40, "count": 3},
    {
        "jobs": "single_carrier",
        "platform": "bal_mm1_fft1_vit1",
        "queue": 2,
        "start": "full",
        "interval_us": 20,
        "noise": 0.25,
    },
]


@pytest.mark.parametrize("form", ["decisions", "pairs"])
@pytest.mark.parametrize(
    ("options", "objective"),
    [*((options, "latency") for options in STREAMS), (STREAMS[1], "energy"), (STREAMS[2], "edp")],
    ids=lambda given: given if isinstance(given, str) else given["jobs"],
)
def test_a_padded_stream_is_played_as_alone(options, objective, form):
    problem = dsegym.make_problem(STREAM, objective=objective, **{"count": 6, **options})
    env, params = problem.functional_env(form), jax.tree.map(jnp.asarray, problem.env_params(form))
    larger_env, larger = env.padded(params, enlarged(env.sizes(params), tasks=40, clusters=6))
    axes = [(each.slots, each.tasks, each.elements)[0 if form == "pairs" else 2 :] for each in (env, larger_env)]
    # Sums of energies before and after a step are contracted as the program suggests.
    rounded = () if objective == "latency" else ("reward",)
    assert_plays_as_alone(env, params, larger_env, larger, axes, rounded=rounded)
