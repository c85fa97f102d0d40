"""Imitation: it comes to decide as its expert does, does nothing illegal, and leaves what other learners start from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.agents.learners import registry
from dsegym.agents.learners.base import greedy
from dsegym.agents.learners.imitation import Demonstrations, expert_design
from dsegym.agents.learners.trainer import train
from dsegym.costmodels.errors import DsegymError, UnknownNameError
from dsegym.envs.core.collections import Collection, load_collection
from dsegym.envs.core.functional import play

NETWORK = {"units": 32, "layers": 2}


def collection_of(scenario, *train, **common):
    """Of instances whose options are given; one more stands in each of the other parts."""
    parts = [train[:-2], train[-2:-1], train[-1:]]
    return Collection("own", scenario, "", *[lambda part=part: [{**each, **common} for each in part] for part in parts])


@pytest.fixture(scope="module")
def packings():
    """Instances of as many buffers each."""
    return collection_of("dsegym/MemoryAllocation-v0", *[{"instance": f"perfect_12_s{seed}"} for seed in range(1, 7)])


@pytest.fixture(scope="module")
def imitated(packings):
    """The learner, its environment and demonstrations, and what it came to."""
    learner = registry.make_learner("imitation", {"lanes": 64, "rollout": 12, "learning_rate": 5e-3, **NETWORK})
    env, demonstrations = learner.environment(packings)
    return learner, env, demonstrations, train(learner, env, demonstrations, steps=200_000, seed=0)


def greedy_objectives(learner, collection, variables):
    """float64[N]: of the designs of greedy episodes on the training instances."""
    found = collection.padded("train")
    env = found.env
    act = greedy(learner.network(env), variables)

    @jax.jit
    @jax.vmap
    def design(params):
        def decide(state, step):
            return act(env.observation(state, params), env.action_mask(state, params), None)

        return env.design(play(env, env.start(jax.random.key(0), params), decide, params), params)

    designs = np.asarray(design(jax.tree.map(jnp.asarray, found.params)))
    return np.array(
        [p.evaluate(own[: len(p.space)]).objective[0] for p, own in zip(found.problems, designs, strict=True)]
    )


def best_of(problem):
    return min(problem.evaluate(np.asarray(make(), np.int32)).objective[0] for make in problem.baselines.values())


def test_the_best_experts_designs_are_the_cheapest_of_the_baselines(packings):
    for problem in packings.problems("train"):
        assert problem.evaluate(expert_design(problem, "best")).objective[0] == best_of(problem)
        name = next(iter(problem.baselines))
        np.testing.assert_array_equal(expert_design(problem, name), problem.baselines[name]())
        optimum = expert_design(problem, "optimum")
        assert problem.evaluate(optimum).objective[0] == problem.bound.value


def test_experts_that_are_not_there_are_refused_in_one_sentence(packings):
    (problem,) = packings.problems("test")
    with pytest.raises(UnknownNameError, match="Did you mean 'size_descending_first_fit'"):
        expert_design(problem, "size_descending_firstfit")
    mapping = dsegym.make_problem("dsegym/MemoryMapping-v0", program="mlp_tiny")
    with pytest.raises(DsegymError, match=r"No design is known that reaches the bound of .*; imitate best or"):
        expert_design(mapping, "optimum")
    learner = registry.make_learner("imitation", {"expert": "nobody"})
    with pytest.raises(UnknownNameError, match="nobody"):
        learner.environment(packings)
    with pytest.raises(DsegymError, match="imitation plays with what its `environment` makes"):
        train(registry.make_learner("imitation"), *packings.environment("train"), steps=100, seed=0)


def test_imitation_reaches_its_experts_score_where_it_was_trained(packings, imitated):
    learner, _, _, trained = imitated
    assert trained.curve["accuracy"][-20:].mean() > 0.97
    expected = [best_of(problem) for problem in packings.problems("train")]
    np.testing.assert_allclose(greedy_objectives(learner, packings, trained.variables), expected, rtol=0.03)


def test_experts_do_nothing_illegal_and_their_returns_are_learned(imitated):
    _, _, _, trained = imitated
    assert trained.curve["ended"].sum() > 0
    assert not trained.curve["illegal"].any()
    assert trained.curve["value_error"][-20:].mean() < 0.1 * trained.curve["value_error"][:5].mean()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_a_stopped_training_goes_on_with_them(imitated):
    learner, env, demonstrations, _ = imitated
    whole, again = (train(learner, env, demonstrations, steps=20_000, seed=1) for _ in range(2))
    part = train(learner, env, demonstrations, steps=20_000, seed=1, on_chunk=lambda chunk: chunk.steps > 8000)
    rest = train(learner, env, demonstrations, steps=20_000, seed=1, carry=part.carry)
    assert 0 < len(part.curve["reward"]) < len(whole.curve["reward"])
    for other in (again, rest):
        for one, two in zip(jax.tree.leaves(whole.carry), jax.tree.leaves(other.carry), strict=True):
            np.testing.assert_array_equal(one, two)
    elsewhere = train(learner, env, demonstrations, steps=20_000, seed=2).variables
    pairs = zip(jax.tree.leaves(whole.variables), jax.tree.leaves(elsewhere), strict=True)
    assert any(not np.array_equal(one, two) for one, two in pairs)


@pytest.mark.minutes
@pytest.mark.parametrize("name", ["ppo", "reinforce", "gumbel_muzero"])
def test_other_learners_start_from_what_imitation_leaves(packings, imitated, name):
    learner, _, _, trained = imitated
    slow = {"lanes": 8, "learning_rate": 1e-8, **NETWORK}
    other = registry.make_learner(name, slow | ({} if name == "reinforce" else {"rollout": 12, "minibatches": 2}))
    env, params = other.environment(packings)
    after = train(other, env, params, steps=1, seed=0, variables=trained.variables).variables
    for one, two in zip(jax.tree.leaves(trained.variables), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    np.testing.assert_array_equal(
        greedy_objectives(learner, packings, after), greedy_objectives(learner, packings, trained.variables)
    )
    wider = registry.make_learner(name, {**slow, "units": 16})
    with pytest.raises(DsegymError, match="The weights do not fit the network"):
        train(wider, env, params, steps=1, seed=0, variables=trained.variables)


def test_designs_of_fewer_parameters_are_followed_by_zeros(packings):
    env, demonstrations = registry.make_learner("imitation").environment(packings)
    assert isinstance(demonstrations, Demonstrations)
    assert demonstrations.designs.shape == (4, 12)
    assert demonstrations.designs.dtype == np.int32
    assert env.horizon == 12


@pytest.mark.slow
def test_a_plan_of_memory_mapping_is_imitated_decision_by_decision():
    shares = [{"capacity": share} for share in (0.2, 0.3, 0.4, 0.35, 0.25)]
    collection = collection_of("dsegym/MemoryMapping-v0", *shares, program="mlp_train")
    learner = registry.make_learner("imitation")
    env, demonstrations = learner.environment(collection)
    trained = train(learner, env, demonstrations, steps=400_000, seed=0)
    assert not trained.curve["illegal"].any()
    assert trained.curve["accuracy"][-10:].mean() > 0.98
    expected = [best_of(problem) for problem in collection.problems("train")]
    np.testing.assert_allclose(greedy_objectives(learner, collection, trained.variables), expected, rtol=0.01)


@pytest.mark.slow
def test_the_decisions_of_a_rule_are_imitated():
    """Of a cascade, whose episodes have luck, and whose decisions the observation tells."""
    learner = registry.make_learner("imitation", {"expert": "escalate_once"})
    env, demonstrations = learner.environment(load_collection("cascade-budgets"))
    trained = train(learner, env, demonstrations, steps=1_500_000, seed=0)
    assert not trained.curve["illegal"].any()
    assert trained.curve["accuracy"][-5:].mean() > 0.98
