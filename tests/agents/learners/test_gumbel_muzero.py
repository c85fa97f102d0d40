"""Gumbel MuZero: its search improves on the policy that it starts from, does nothing illegal, and foresees no luck."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import dsegym
from dsegym.agents.learners import gumbel_muzero, registry
from dsegym.agents.learners.base import greedy, sampled
from dsegym.agents.learners.fitting import returns_to_go
from dsegym.agents.learners.gumbel_muzero import Search, check_searchable, search, search_act
from dsegym.agents.learners.networks import Configuration, network_of
from dsegym.agents.learners.trainer import train
from dsegym.costmodels.errors import DsegymError
from dsegym.envs.core.collections import Collection, load_collection
from dsegym.envs.core.functional import play


def capacities(*train):
    """A collection of one program, whose instances differ in capacity."""
    parts = [[{"program": "mlp_train", "capacity": share} for share in part] for part in (train, [0.35], [0.25])]
    return Collection("capacities", "dsegym/MemoryMapping-v0", "", *[lambda part=part: part for part in parts])


@pytest.fixture(scope="module")
def stairs(staircase):
    """The environment of the staircase, its params, a network that knows nothing, and its variables."""
    problem = dsegym.make_problem("toy/Staircase-v0", start="fixed")
    env, params = problem.functional_env(), jax.tree.map(jnp.asarray, problem.env_params())
    network = network_of(env, Configuration(units=8))
    return env, params, network, network.init(jax.random.key(0), jnp.zeros(env.observation_space.shape))


def states_of(env, params, count):
    """Of the steps of an episode of random legal actions, from the first on."""
    state, found = env.start(jax.random.key(0), params), []
    for key in jax.random.split(jax.random.key(1), count):
        found.append(state)
        action = jax.random.categorical(key, jnp.where(env.action_mask(state, params), 0.0, -1e9))
        state = env.advance(state, action, params)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)


def test_no_state_of_the_tree_was_reached_by_an_illegal_action(stairs, monkeypatch):
    env, params, network, variables = stairs
    trees, policy = [], gumbel_muzero._mctx.gumbel_muzero_policy

    def noted(*args, **kwargs):
        output = policy(*args, **kwargs)
        trees.append(output.search_tree)
        return output

    @jax.jit
    def searched(states):
        return search(env, params, network, variables, states, jax.random.key(2), Search(40)), trees.pop()

    monkeypatch.setattr(gumbel_muzero._mctx, "gumbel_muzero_policy", noted)
    states = states_of(env, params, env.horizon)
    found, tree = searched(states)
    masks = jax.vmap(lambda state: env.action_mask(state, params))(states)
    assert not masks.all()
    assert np.take_along_axis(np.asarray(masks), np.asarray(found.action)[:, None], 1).all()
    assert not np.asarray(found.weights)[~np.asarray(masks)].any()
    assert np.asarray(tree.node_visits > 0).sum() > 2 * env.horizon
    assert not np.asarray(tree.embeddings.illegal).any()


def test_what_follows_an_end_is_worth_nothing(stairs):
    """A search from the last step knows what every action is worth, whatever the network says of what follows."""
    env, params, network, variables = stairs
    first = env.start(jax.random.key(0), params)
    state = first._replace(position=first.position + 4, time=first.time + env.horizon - 1)
    loud = jax.tree.map(lambda leaf: leaf + 1.0, variables)

    @jax.jit
    def searched():
        states = jax.tree.map(lambda leaf: leaf[None], state)
        return search(env, params, network, loud, states, jax.random.key(0), Search(64), gumbel_scale=0.0)

    found = jax.tree.map(lambda leaf: np.asarray(leaf[0]), searched())
    assert env.action_mask(state, params).all()
    rewards = [float(env.reward(state, env.advance(state, move, params), params)) for move in range(3)]
    assert found.prior_value > 20  # of every state: far from what is to be had
    assert int(found.weights.argmax()) == int(np.argmax(rewards))
    of_visits = (65 * found.value - found.prior_value) / 64  # the mean of what the simulations brought
    assert min(rewards) - 0.1 <= of_visits <= max(rewards) + 0.1


def test_acting_by_search_has_no_luck_and_is_the_same_in_a_batch(stairs):
    env, params, network, variables = stairs
    states = states_of(env, params, env.horizon)
    act = jax.jit(search_act(network, variables, env, params, Search(8)))
    keys = jax.random.split(jax.random.key(3), env.horizon)
    together = jax.vmap(act)(states, keys)
    alone = [act(jax.tree.map(lambda leaf, i=i: leaf[i], states), jax.random.key(9)) for i in range(env.horizon)]
    np.testing.assert_array_equal(together, alone)


def test_episodes_that_hold_luck_are_refused_in_one_sentence(shop):
    cascade, _ = load_collection("cascade-budgets").environment("train")
    stream = dsegym.make_problem("dsegym/SocSchedulingStream-v0").functional_env("decisions")
    own = dsegym.make_problem("toy/Shop-v0").functional_env()
    for env in (cascade, cascade.inner, stream, own):
        with pytest.raises(DsegymError, match=r"holds the luck of its episode, which a search would foresee"):
            registry.make_learner("gumbel_muzero").network(env)
    sizing = dsegym.make_problem("dsegym/AcceleratorSizing-v0")
    with pytest.raises(DsegymError, match="takes Discrete actions; given: MultiDiscrete"):
        check_searchable(sizing.functional_env("parametric"))
    check_searchable(sizing.functional_env("sequential"))
    check_searchable(capacities(0.2, 0.3).environment("train")[0])


@pytest.mark.slow
def test_search_improves_on_its_own_prior_on_memory_mapping():
    """The mean latency over instances, greedy or sampled, is above that of acting by search: 95 % intervals over seeds.

    Of networks half-trained: one that knows nothing has a value that is noise, which a search takes for news.
    """
    collection = capacities(0.2, 0.4)
    found = collection.padded("train")
    env, params = found.env, jax.tree.map(jnp.asarray, found.params)
    learner = registry.make_learner("gumbel_muzero")
    network = learner.network(env)

    def latency(act, own):
        last = play(env, env.start(jax.random.key(0), own), lambda state, step: act(state, step), own)
        return last.game.latency / own.all_slow

    @jax.jit
    def of_both(variables):
        def one(own):
            def seen(policy):
                return lambda state, step: policy(
                    env.observation(state, own), env.action_mask(state, own), jax.random.key(step)
                )

            planned = search_act(network, variables, env, own, learner.search)
            acts = (
                seen(greedy(network, variables)),
                seen(sampled(network, variables)),
                lambda state, step: planned(state, jax.random.key(0)),
            )
            return jnp.stack([latency(act, own) for act in acts])

        return jax.vmap(one)(params).mean(0)

    drawn, given = collection.environment("train")
    trained = [train(learner, drawn, given, steps=6000, seed=seed).variables for seed in range(8)]
    *priors, by_search = np.array([of_both(variables) for variables in trained]).T
    for prior in priors:
        gain = prior - by_search
        assert stats.t.interval(0.95, len(gain) - 1, gain.mean(), stats.sem(gain))[0] > 0, gain


@pytest.mark.parametrize(("discount", "trace"), [(1.0, 1.0), (0.9, 0.0), (0.9, 0.7)])
def test_returns_to_go_are_those_of_plain_python(discount, trace):
    generator = np.random.default_rng(0)
    reward, value, last = generator.normal(size=(7, 3)), generator.normal(size=(7, 3)), generator.normal(size=3)
    terminal = generator.random((7, 3)) < 0.3
    assert terminal.any()
    arrays = (jnp.asarray(each) for each in (reward, terminal, value, last))
    found = returns_to_go(*arrays, discount=discount, trace=trace)

    def expected(step, lane):
        """Of TD(lambda) as it is defined: the n-step returns' weighted mean."""
        ends = [t for t in range(step, 7) if terminal[t, lane]]
        stop = ends[0] if ends else 6
        returns, total = [], 0.0
        for t in range(step, stop + 1):
            total += discount ** (t - step) * reward[t, lane]
            after = 0.0 if terminal[t, lane] else (value[t + 1, lane] if t < 6 else last[lane])
            returns.append(total + discount ** (t - step + 1) * after)
        weights = [(1 - trace) * trace**n for n in range(len(returns) - 1)] + [trace ** (len(returns) - 1)]
        return sum(weight * each for weight, each in zip(weights, returns, strict=True))

    np.testing.assert_allclose(found, [[expected(t, b) for b in range(3)] for t in range(7)], rtol=1e-5, atol=1e-6)
