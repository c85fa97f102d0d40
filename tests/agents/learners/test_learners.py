"""Learners: nothing illegal is done, the same seed gives the same bits, a stopped training goes on as it would have."""

import dataclasses
import json

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.agents.learners import networks, registry
from dsegym.agents.learners.base import greedy, judged, masked, sampled
from dsegym.agents.learners.networks import Configuration, check_variables, configuration_of, network_of
from dsegym.agents.learners.trainer import carry_shapes, train, train_seeds, updates_of
from dsegym.costmodels.errors import DsegymError, UnknownNameError
from dsegym.envs.core.collections import load_collection
from dsegym.envs.core.features import observed
from dsegym.envs.core.functional import play
from dsegym.envs.soc.static import StaticScheduling

SMALL = {
    "gumbel_muzero": {"lanes": 16, "rollout": 8, "minibatches": 2, "units": 16, "simulations": 4},
    "ppo": {"lanes": 16, "rollout": 8, "minibatches": 2, "units": 16},
    "reinforce": {"lanes": 16, "units": 16},
}
every_learner = pytest.mark.parametrize("name", SMALL)  # that needs no demonstrations


def small(name, **hyperparameters):
    """A learner of small updates."""
    return registry.make_learner(name, {**SMALL[name], **hyperparameters})


def played(scenario, form=None, **options):
    """An environment and what it is played with."""
    problem = dsegym.make_problem(scenario, **options)
    return problem.functional_env(form), problem.env_params(form)


def same(one, other):
    return jax.tree.structure(one) == jax.tree.structure(other) and all(
        np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True)
    )


@pytest.fixture(scope="module")
def stairs(staircase):
    """The staircase, where the cheapest of all climbs is known by enumeration."""
    env, params = played("toy/Staircase-v0", start="fixed")
    climbs = np.array(np.meshgrid(*[range(staircase.MOVES)] * staircase.HORIZON)).reshape(staircase.HORIZON, -1).T
    return env, params, climbs


# --- Learning ---------------------------------------------------------------------------------------------------------


def best_of_all(env, params, climbs):
    """The largest return of a script of legal moves, played on the environment."""

    def total(climb):
        last = play(env, env.start(jax.random.key(0), params), lambda state, step: climb[step], params)
        return -last.cost, last.illegal

    totals, illegal = jax.jit(jax.vmap(total))(jnp.asarray(climbs, jnp.int32))
    return float(np.asarray(totals)[np.asarray(illegal) == 0].max())


def return_of(env, params, act):
    """Of a greedy episode."""

    def decide(state, step):
        return act(env.observation(state, params), env.action_mask(state, params), None)

    return -float(jax.jit(lambda: play(env, env.start(jax.random.key(0), params), decide, params).cost)())


@pytest.mark.slow
@every_learner
def test_a_learner_finds_the_best_policy_of_a_toy(stairs, name):
    env, params, climbs = stairs
    learner = small(name, learning_rate=0.01, lanes=64)
    params = jax.tree.map(jnp.asarray, params)
    trained = train(learner, env, params, steps=60_000, seed=0)
    assert return_of(env, params, greedy(learner.network(env), trained.variables)) == pytest.approx(
        best_of_all(env, params, climbs), rel=1e-6
    )
    assert trained.seconds > 0
    assert trained.compile_seconds > 0


@pytest.mark.slow
@every_learner
def test_no_learner_takes_an_illegal_action(stairs, name):
    env, params, _ = stairs
    curve = train(small(name), env, params, steps=3000, seed=1).curve
    assert len(curve["illegal"]) == updates_of(small(name), env, 3000)
    assert curve["ended"].sum() > 0
    assert not curve["illegal"].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo", "reinforce"])
def test_no_learner_takes_an_illegal_action_on_a_collection(name):
    env, params = load_collection("cascade-budgets").environment("train")
    curve = train(small(name), env, params, steps=4000, seed=0).curve
    assert not curve["illegal"].any()
    assert np.isfinite(np.concatenate(list(curve.values()))).all()


@pytest.mark.slow
def test_what_is_illegal_is_counted(stairs, monkeypatch):
    """So that the tests above can fail."""
    env, params, _ = stairs
    monkeypatch.setattr("dsegym.agents.learners.ppo.masked", lambda logits, mask: logits)
    assert train(small("ppo", lanes=17), env, params, steps=3000, seed=1).curve["illegal"].sum() > 0


# --- The same bits ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@every_learner
def test_the_same_seed_gives_the_same_bits_and_another_others(stairs, name):
    env, params, _ = stairs
    one, again, other = (train(small(name), env, params, steps=2000, seed=seed) for seed in (3, 3, 4))
    assert same(one.carry, again.carry)
    assert same(one.curve, again.curve)
    assert not same(one.variables, other.variables)


@pytest.mark.slow
@every_learner
def test_a_training_that_stops_in_the_middle_goes_on_with_the_same_bits(stairs, name):
    env, params, _ = stairs
    learner, steps = small(name), 12_000
    told = []
    whole = train(learner, env, params, steps=steps, seed=5, on_chunk=lambda chunk: told.append(chunk) or False)
    assert told[-1].steps == told[-1].total >= steps
    assert len(told) > 10
    parts = [train(learner, env, params, steps=steps, seed=5, on_chunk=lambda chunk: chunk.steps > steps // 3)]
    shapes = carry_shapes(learner, env, params, steps=steps)
    saved = jax.tree.unflatten(jax.tree.structure(shapes), [np.array(leaf) for leaf in jax.tree.leaves(parts[0].carry)])
    parts.append(train(learner, env, params, steps=steps, seed=5, carry=saved))
    assert same(parts[1].variables, whole.variables)
    assert same(parts[1].carry, whole.carry)
    for key, curve in whole.curve.items():
        np.testing.assert_array_equal(np.concatenate([part.curve[key] for part in parts]), curve)
    over = train(learner, env, params, steps=steps, seed=5, carry=whole.carry)
    assert same(over.variables, whole.variables)


def test_a_training_does_not_go_on_from_another(stairs):
    env, params, _ = stairs
    carry = train(small("ppo"), env, params, steps=500, seed=0).carry
    with pytest.raises(DsegymError, match="is one of 4 updates, not of 8"):
        train(small("ppo"), env, params, steps=1000, seed=0, carry=carry)
    with pytest.raises(DsegymError, match="another learner"):
        train(small("ppo", units=8), env, params, steps=500, seed=0, carry=carry)
    with pytest.raises(DsegymError, match="another learner"):
        train(small("reinforce"), env, params, steps=500, seed=0, carry=carry)


@pytest.mark.slow
def test_many_seeds_train_at_once(stairs):
    env, params, _ = stairs
    learner = small("ppo")
    both = train_seeds(learner, env, params, steps=1000, seeds=[1, 2])
    assert both.curve["reward"].shape == (2, updates_of(learner, env, 1000))
    for place, seed in enumerate((1, 2)):
        alone = train(learner, env, params, steps=1000, seed=seed)
        np.testing.assert_allclose(both.curve["reward"][place], alone.curve["reward"], rtol=0.05)
    assert not same(*[jax.tree.map(lambda leaf, place=place: leaf[place], both.variables) for place in (0, 1)])


def test_weights_that_are_no_longer_finite_end_a_training_in_one_sentence(stairs):
    env, params, _ = stairs
    params = params._replace(prices=np.full_like(params.prices, np.nan))
    with pytest.raises(DsegymError, match="ppo's weights were no longer finite after 128 steps; a lower"):
        train(small("ppo"), env, params, steps=1000, seed=0)


# --- Networks ---------------------------------------------------------------------------------------------------------

FORMS = (  # scenario, form, the network that fits, kinds that fit
    ("dsegym/BatchBestOfN-v0", "decisions", "scorer", ("mlp", "scorer", "attention")),
    ("dsegym/MemoryAllocation-v0", "sequential", "scorer", ("mlp", "scorer", "attention")),
    ("dsegym/MemoryMapping-v0", "sequential", "mlp", ("mlp", "attention")),
    ("dsegym/ReasoningCascade-v0", "decisions", "mlp", ("mlp", "attention")),
    ("dsegym/SleepTime-v0", "decisions", "mlp", ("mlp",)),
    ("dsegym/SleepTime-v0", "parametric", "mlp", ("mlp", "scorer", "attention")),
    ("dsegym/SocSchedulingStatic-v0", "sequential", "scorer", ("mlp", "scorer", "attention")),
    ("dsegym/SocSchedulingStream-v0", "decisions", "scorer", ("mlp", "scorer", "attention")),
    ("dsegym/SocSchedulingStream-v0", "pairs", "mlp", ("mlp", "attention")),
    ("dsegym/TreeSearch-v0", "decisions", "scorer", ("mlp", "scorer", "attention")),
)


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "form", "default", "kinds"), FORMS)
def test_every_kind_of_network_that_fits_acts_legally(scenario, form, default, kinds):
    env, params = played(scenario, form)
    assert network_of(env, Configuration()).configuration.kind == default
    for kind in set(networks.KINDS) - set(kinds):
        with pytest.raises(DsegymError, match="with which observations of this form do not begin"):
            network_of(env, Configuration(kind))

    @jax.jit
    def acted(params):
        observation, state = env.reset(jax.random.key(0), params)
        mask = env.action_mask(state, params)
        batch = jnp.broadcast_to(observation, (3, 2, *observation.shape))
        masks = None if mask is None else jnp.broadcast_to(mask, (3, 2, *mask.shape))
        found = {}
        for kind in kinds:
            network = network_of(env, Configuration(kind, 8, 1, 2))
            variables = network.init(jax.random.key(1), observation)
            logits, value = network.apply(variables, batch, masks)
            actions = [act(network, variables)(batch, masks, jax.random.key(2)) for act in (greedy, sampled)]
            found[kind] = variables, value, actions, judged(logits, masks, actions[1], value.shape)
        return mask, found

    mask, found = acted(jax.tree.map(jnp.asarray, params))
    for kind, (variables, value, actions, (log_probability, entropy)) in found.items():
        check_variables(env, network_of(env, Configuration(kind, 8, 1, 2)), variables)
        assert value.shape == log_probability.shape == entropy.shape == (3, 2)
        assert np.all(log_probability <= 0)
        assert np.all(entropy >= 0)
        for action in np.concatenate(actions).reshape(12, *env.action_space.shape):
            assert env.action_space.contains(action if action.shape else int(action))
            assert mask is None or mask[action]


@pytest.mark.slow
def test_what_a_scorer_or_attention_thinks_of_actions_moves_with_them():
    """Their rows are a set: no action is told by its place; and a row that is not there changes nothing."""
    env, params = played("dsegym/MemoryAllocation-v0", "sequential")
    observation = np.asarray(env.reset(jax.random.key(0), jax.tree.map(jnp.asarray, params))[0])
    count, order = env.action_space.n, np.random.default_rng(0).permutation(env.action_space.n)
    features = sum(feature.shape == (count,) for feature in env.features)
    rows, rest = observation[: count * features].reshape(features, count), observation[count * features :]
    shuffled = np.concatenate([rows[:, order].ravel(), rest])
    for kind in ("scorer", "attention"):
        network = network_of(env, Configuration(kind, 8, 1, 2))
        variables = network.init(jax.random.key(1), observation)
        logits, value = network.apply(variables, observation)
        moved, value_after = network.apply(variables, shuffled)
        np.testing.assert_allclose(moved, logits[order], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(value_after, value, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["scorer", "attention"])
def test_padding_changes_nothing_that_a_network_says_of_the_rest(kind):
    """With the same weights, which do not depend on how many actions there are."""
    layout = networks.Layout((4,), False, (4,), True, (networks._Part(0, (4,), "row"), networks._Part(4, (2,), "rest")))
    wider = layout._replace(
        counts=(6,), rows=(6,), parts=(networks._Part(0, (6,), "row"), networks._Part(6, (2,), "rest"))
    )
    observation = jnp.array([0.5, -1.0, 2.0, 0.3, 0.7, 0.1])
    padded = jnp.array([0.5, -1.0, 2.0, 0.3, 0.0, 0.0, 0.7, 0.1])
    small, large = (networks.Network(Configuration(kind, 8, 1, 2), each) for each in (layout, wider))
    variables = small.init(jax.random.key(0), observation)
    (logits, value), (more, same_value) = small.apply(variables, observation), large.apply(variables, padded)
    np.testing.assert_allclose(more[:4], logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(same_value, value, rtol=1e-5)


@pytest.mark.parametrize(("tasks", "elements"), [(4, 3), (3, 3), (4, 2), (2, 2), (3, 1)])
def test_what_is_said_of_a_task_or_an_element_stands_in_its_rows_whatever_their_counts(tasks, elements):
    env = StaticScheduling(tasks, elements, True, "makespan")
    values = {"placed": 0, "ready": 100, "finish": 200}
    values = {name: first + np.arange(tasks) for name, first in values.items()}
    values["rank_and_run_time"] = 300 + np.arange(2 * tasks).reshape(tasks, 2)
    values["estimated_finish"] = 400 + np.arange(tasks * elements).reshape(tasks, elements)
    values["available"] = 500 + np.arange(elements)
    rows, rest = networks.layout_of(env).split(observed(env.features, values))
    expected = [
        [values["placed"][i], values["ready"][i], values["finish"][i], *values["rank_and_run_time"][i]]
        + [values["estimated_finish"][i, j]]
        + [values["available"][j]] * (elements > 1)
        for i in range(tasks)
        for j in range(elements)
    ]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(rest, values["available"] if elements == 1 else [])


@pytest.mark.parametrize("elements", [2, 3, 4])
def test_where_actions_are_tasks_an_element_has_no_row(elements):
    env = StaticScheduling(3, elements, False, "makespan")
    layout = networks.layout_of(env)
    assert [part.of for part in layout.parts] == ["row"] * 5 + ["rest"]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 64), (30, 7), (64, 64), (7, 30)])
def test_weights_begin_as_flax_makes_orthogonal_ones(shape):
    key = jax.random.key(3)
    ours = networks._orthogonal(0.7)(key, shape)
    np.testing.assert_allclose(ours, flax.linen.initializers.orthogonal(0.7)(key, shape), atol=2e-5)
    gram = ours @ ours.T if shape[0] < shape[1] else ours.T @ ours
    np.testing.assert_allclose(gram, 0.49 * np.eye(min(shape)), atol=1e-5)


def test_no_program_of_a_network_calls_lapack_which_can_block_the_cpu_for_ever():
    env, _ = played("dsegym/SocSchedulingStream-v0", "decisions")
    observation = jnp.zeros(env.observation_space.shape)
    for kind in networks.KINDS:
        init = jax.jit(network_of(env, Configuration(kind, 8, 1, 2)).init)
        assert "lapack" not in init.lower(jax.random.key(0), observation).as_text()


def test_a_configuration_goes_to_json_and_back():
    configuration = Configuration("attention", 32, 3, 8)
    assert configuration_of(json.loads(json.dumps(dataclasses.asdict(configuration)))) == configuration
    assert configuration_of({"kind": "mlp"}) == Configuration("mlp")
    for values, sentence in (
        ([1], "is an object of names and values"),
        ({"unit": 3}, "Did you mean 'units'"),
        ({"units": "3"}, "units = '3' is no int"),
        ({"units": True}, "units = True is no int"),
    ):
        with pytest.raises(DsegymError, match=sentence):
            configuration_of(values)


def test_a_configuration_that_cannot_be_is_refused(stairs):
    env, _, _ = stairs
    with pytest.raises(UnknownNameError, match="Did you mean 'scorer'"):
        network_of(env, Configuration("scoer"))
    for wrong in ({"units": 0}, {"layers": -1}, {"heads": 65}):
        with pytest.raises(DsegymError, match=rf"network's {next(iter(wrong))}.* whole numbers from 1"):
            network_of(env, Configuration("mlp", **wrong))
    scheduling, _ = played("dsegym/SocSchedulingStream-v0", "decisions")
    with pytest.raises(DsegymError, match="multiple of its heads; given: 9 units, 2 heads"):
        network_of(scheduling, Configuration("attention", 9, 1, 2))
    pictures, _ = played("dsegym/MemoryMapping-v0", "image")
    with pytest.raises(DsegymError, match="those of this form have an image"):
        network_of(pictures, Configuration())


def test_weights_that_do_not_fit_or_are_not_finite_are_refused(stairs):
    env, _, _ = stairs
    network = network_of(env, Configuration(units=8))
    variables = network.init(jax.random.key(0), jnp.zeros(2))
    check_variables(env, network, variables)
    layers = variables["params"]
    kernel = layers["policy0"]["kernel"]

    def changed(layer):
        return {"params": {**layers, "policy0": layer}}

    for wrong, sentence in (
        (changed({"kernel": kernel}), "they lack params/policy0/bias"),
        (changed({**layers["policy0"], "more": kernel}), "they have params/policy0/more"),
        (
            changed({**layers["policy0"], "kernel": kernel.T}),
            r"policy0/kernel is float32\[2, 8\]; given: float32\[8, 2\]",
        ),
        (changed({**layers["policy0"], "kernel": np.asarray(kernel, np.float64)}), r"given: float64\[2, 8\]"),
        (
            changed({**layers["policy0"], "kernel": kernel.at[0, 0].set(jnp.nan)}),
            "policy0/kernel holds NaN or infinity",
        ),
        (
            changed({**layers["policy0"], "kernel": kernel.at[0, 0].set(jnp.inf)}),
            "policy0/kernel holds NaN or infinity",
        ),
    ):
        with pytest.raises(DsegymError, match=sentence):
            check_variables(env, network, wrong)


def test_where_nothing_is_legal_the_first_action_is_taken(stairs):
    env, _, _ = stairs
    network = network_of(env, Configuration(units=8))
    variables, nothing = network.init(jax.random.key(0), jnp.zeros(2)), jnp.zeros((99, 3), bool)
    observations = jnp.ones((99, 2))
    for act in (greedy, sampled):
        assert not np.any(act(network, variables)(observations, nothing, jax.random.key(0)))
    np.testing.assert_allclose(jax.nn.softmax(masked(jnp.array([1.0, 2.0]), jnp.array([False, False]))), 0.5)


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.learner_names())
def test_a_learners_declarations_hold(name):
    learner = registry.load_learner(name)
    entry = registry.BUILT_IN[name]
    assert (learner.name, learner.summary, learner.libraries) == (name, registry.learner_summary(name), entry.libraries)
    registry.check_libraries(name)
    fields = {field.name: field for field in dataclasses.fields(learner)}
    assert set(learner.ranges) == set(fields)
    for hyperparameter, (least, most) in learner.ranges.items():
        if not isinstance(fields[hyperparameter].default, str):
            assert least <= fields[hyperparameter].default <= most
    assert registry.make_learner(name) == learner()


def test_names_and_numbers_that_cannot_be_are_refused_in_the_agents_sentences():
    for name, hyperparameters, sentence in (
        ("pppo", None, "Did you mean 'ppo'"),
        ("no_such_module:Learner", None, "Cannot load the learner"),
        ("dsegym.agents.random_search:RandomSearch", None, "not a subclass of dsegym.Learner"),
        ("ppo", {"lane": 3}, "Did you mean 'lanes'"),
        ("ppo", {"lanes": 0}, "numbers from 1 to 65536"),
        ("ppo", {"lanes": "3"}, "it takes int"),
        ("ppo", {"learning_rate": float("nan")}, "learning_rate"),
    ):
        with pytest.raises(DsegymError, match=sentence):
            registry.make_learner(name, hyperparameters)


def test_a_learner_without_its_library_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(registry.BUILT_IN, "ppo", registry.BUILT_IN["ppo"]._replace(libraries=("no-such-library",)))
    with pytest.raises(DsegymError, match=r"ppo needs the library no-such-library.*pip install 'dsegym\[learners\]'"):
        registry.make_learner("ppo")


def test_more_minibatches_than_steps_are_refused(stairs):
    env, params, _ = stairs
    with pytest.raises(DsegymError, match="minibatches = 200 exceed the 128 steps"):
        train(small("ppo", minibatches=200), env, params, steps=500, seed=0)
