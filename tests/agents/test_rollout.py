"""Rollouts: what a policy plays inside one compiled program is counted and recorded as any other episode."""

import contextlib
import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.agents.referee import Referee
from dsegym.agents.scorekeeper import Scorekeeper
from dsegym.costmodels.errors import BudgetExhausted, DsegymError, TimeLimitReached, UnknownNameError
from dsegym.experiments.agent_process import Ended, Job
from dsegym.experiments.isolation import search_apart
from dsegym.testing import check_agent

LANES = 8


def at_random(params, observation, mask, key):
    """Uniform over what is legal; the parameters shift nothing."""
    return jax.random.categorical(key, params["bias"] + (0.0 if mask is None else jnp.where(mask, 0.0, -1e9)))


def uniform(problem, form):
    """A policy of uniform choices, and its parameters."""
    space = problem.functional_env(form).action_space
    if hasattr(space, "nvec"):
        high = jnp.asarray(space.nvec)
        return (lambda params, observation, mask, key: jax.random.randint(key, high.shape, 0, high)), {}
    return at_random, {"bias": np.zeros(int(space.n), np.float32)}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["parametric", "sequential"])
def test_episodes_of_a_rollout_are_samples_that_replay(problem, form):
    referee = Referee(problem, samples=1000)
    policy, params = uniform(problem, form)
    found = referee.rollout(policy, params, LANES, 20, 0, form)
    finished = int(found.done.sum())
    begun = (~found.done[-1]).sum()
    assert finished == (20 if form == "parametric" else 20 // len(problem.space)) * LANES
    assert referee.samples_left == 1000 - finished - begun
    samples = referee.samples
    np.testing.assert_array_equal(samples.objective, found.objective[found.done])
    np.testing.assert_allclose(samples.objective, problem.evaluate(samples.designs).objective, rtol=1e-6)
    np.testing.assert_array_equal(samples.feasible, problem.evaluate(samples.designs).feasible)
    assert np.isnan(found.objective[~found.done]).all()
    assert referee.compile_s > 0
    assert referee.cost_model_s > 0
    if form == "parametric":
        np.testing.assert_array_equal(samples.designs, found.action.reshape(-1, len(problem.space)))
    else:
        steps = len(problem.space)
        np.testing.assert_array_equal(samples.designs[:LANES], found.action[:steps].T)
        assert found.mask[np.arange(20)[:, None], np.arange(LANES), found.action].all()


def test_a_rollout_plays_what_a_vector_environment_plays(problem):
    """The rewards and observations of the same actions."""
    policy, params = uniform(problem, "sequential")
    referee = Referee(problem, samples=1000)
    found = referee.rollout(policy, params, LANES, 14, 3, "sequential")
    env = referee.vector_env(LANES, "sequential")
    observation, _ = env.reset(seed=0)
    for t in range(14):
        np.testing.assert_allclose(observation, found.observation[t], rtol=1e-5, atol=1e-6)
        observation, reward, done, _, _ = env.step(found.action[t])
        np.testing.assert_allclose(reward, found.reward[t], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(done, found.done[t])
    np.testing.assert_allclose(observation, found.last_observation, rtol=1e-5, atol=1e-6)


def test_lanes_go_on_where_the_last_rollout_left_them(problem):
    policy, params = uniform(problem, "sequential")
    referee = Referee(problem, samples=1000)
    first = referee.rollout(policy, params, LANES, 3, 0, "sequential")
    second = referee.rollout(policy, params, LANES, 4, 1, "sequential")
    np.testing.assert_array_equal(second.observation[0], first.last_observation)
    np.testing.assert_array_equal(second.mask[0], first.last_mask)
    assert second.done[-1].all()
    np.testing.assert_array_equal(referee.samples.designs, np.concatenate([first.action, second.action]).T)


def test_a_policy_is_traced_once_and_its_parameters_may_change(problem):
    traced = []

    def policy(params, observation, mask, key):
        traced.append(1)
        return jnp.argmax(jnp.where(mask, params, -1.0))

    referee = Referee(problem, samples=1000)
    for first in (0, 1):
        params = np.eye(referee.spaces("sequential")[1].n, dtype=np.float32)[first]
        found = referee.rollout(policy, params, LANES, 7, 0, "sequential")
        assert (found.action[0] == first).all()
    assert len(traced) == 1


@pytest.mark.slow
@pytest.mark.parametrize("samples", [3, 8, 20, 21])
@pytest.mark.parametrize("form", ["parametric", "sequential"])
def test_rollouts_spend_exactly_the_budget(problem, samples, form):
    referee = Referee(problem, samples=samples)
    policy, params = uniform(problem, form)
    with contextlib.suppress(BudgetExhausted):
        for seed in range(samples * 10):
            referee.rollout(policy, params, LANES, 5, seed, form)
    with pytest.raises(BudgetExhausted, match=f"budget of {samples} samples"):
        referee.rollout(policy, params, LANES, 5, 0, form)
    assert referee.samples_left == 0
    designs = referee.samples.designs
    assert len(designs) == samples
    np.testing.assert_allclose(referee.samples.objective, problem.evaluate(designs).objective, rtol=1e-6)


def test_lanes_that_the_budget_does_not_cover_show_nothing(problem):
    referee = Referee(problem, samples=3)
    policy, params = uniform(problem, "sequential")
    found = referee.rollout(policy, params, LANES, 5, 0, "sequential")
    assert referee.samples_left == 0
    assert found.observation[:, :3].any()
    for shown in (found.observation, found.reward, found.done, found.last_observation[None]):
        assert not shown[:, 3:].any()


@pytest.mark.slow
def test_the_same_key_gives_the_same_trajectory(problem):
    policy, params = uniform(problem, "sequential")
    keys = (5, jax.random.key(5), jax.random.PRNGKey(5))
    one, two, three = (Referee(problem, 1000).rollout(policy, params, LANES, 9, key, "sequential") for key in keys)
    np.testing.assert_array_equal(one.action, two.action)
    np.testing.assert_array_equal(one.action, three.action)
    other = Referee(problem, 1000).rollout(policy, params, LANES, 9, 6, "sequential")
    assert (one.action != other.action).any()


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda params, observation, mask, key: jnp.float32(0), r"action is float32\[\]; allowed: int32\[\]"),
        (lambda params, observation, mask, key: jnp.zeros(2, jnp.int32), r"action is int32\[2\]; allowed: int32\[\]"),
        (lambda params, observation, mask, key: 12, r"(?s)action .* is out of range: allowed: .* from 0 to 11"),
        (lambda params, observation, mask, key: -1, r"(?s)action .* is out of range: allowed: .* from 0 to 11"),
    ],
)
def test_actions_that_do_not_fit_are_one_sentence_and_no_sample(problem, policy, message):
    referee = Referee(problem, samples=100)
    with pytest.raises(DsegymError, match=message):
        referee.rollout(policy, {}, LANES, 7, 0, "sequential")
    assert len(referee.samples.objective) == 0


@pytest.mark.parametrize(
    ("lanes", "steps", "form", "message"),
    [
        (0, 1, None, "lanes = 0 is not allowed; allowed: a whole number from 1"),
        (2**20, 1, None, "lanes = 1048576 is not allowed"),
        (1, 10**9, None, "steps = 1000000000 is not allowed"),
        (1, 1, "parametrik", "Did you mean 'parametric'"),
    ],
)
def test_other_arguments_that_do_not_fit_are_one_sentence(problem, lanes, steps, form, message):
    policy, params = uniform(problem, "parametric")
    with pytest.raises((DsegymError, UnknownNameError), match=message):
        Referee(problem, samples=100).rollout(policy, params, lanes, steps, 0, form)


def test_the_time_limit_stops_rollouts(problem):
    policy, params = uniform(problem, "parametric")
    with pytest.raises(TimeLimitReached):
        Referee(problem, 100, time_limit_s=-1e9).rollout(policy, params, LANES, 1, 0, "parametric")


@pytest.mark.parametrize(
    ("scenario", "options"),
    [
        ("dsegym/MemoryMapping-v0", {"program": "mlp_tiny", "capacity": "0.5"}),
        ("dsegym/SocSchedulingStatic-v0", {"graph": "top1"}),
        ("dsegym/SleepTime-v0", {}),
    ],
)
@pytest.mark.slow
def test_every_family_of_sequential_forms_rolls_out_and_gives_up(scenario, options):
    """Whole episodes, and those that the trial's end cuts short, are designs that cost what is recorded."""
    problem = dsegym.make_problem(scenario, **options)
    for form in Referee(problem, 1).forms:
        referee = Referee(problem, samples=500)
        policy, params = uniform(problem, form)
        env = referee.vector_env(2, form)
        env.reset(seed=0)
        env.step(env.action_space.sample())
        env.reset()
        given_up = 0 if hasattr(referee.spaces(form)[1], "nvec") else 2
        referee.rollout(policy, params, 4, 3 * problem.functional_env(form).horizon, 0, form)
        samples = referee.samples
        assert len(samples.objective) >= given_up + 4
        expected = problem.as_searched.evaluate(samples.designs)
        np.testing.assert_allclose(samples.objective, expected.objective, rtol=1e-6)
        np.testing.assert_array_equal(samples.feasible, expected.feasible)


# --- The worked example of a learner ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def example():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(dsegym.__file__).parent / "docs" / "examples")
        yield importlib.import_module("rollout_agent")
    sys.modules.pop("rollout_agent", None)


def learnt(problem, agent, seed):
    referee = Referee(problem, samples=2000)
    with pytest.raises(BudgetExhausted):
        agent.search(referee, seed)
    return referee.samples


@pytest.mark.slow
def test_the_worked_example_learns_and_keeps_an_agents_contract(problem, example):
    found = [learnt(problem, example.Reinforce(), seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(found[0].designs, found[1].designs)
    assert (found[0].designs != found[2].designs).any()
    for samples in found:
        logarithm = np.log(samples.objective)
        assert logarithm[-500:].mean() < logarithm[:500].mean() - 1.0
    check_agent(example.Reinforce, problem.scenario, **problem.options)


@pytest.mark.slow
def test_the_worked_example_competes_from_a_process_of_its_own(problem, example):
    """The samples are those of one process."""
    here = Referee(problem, samples=300)
    with pytest.raises(BudgetExhausted):
        example.Reinforce().search(here, 0)
    keeper = Scorekeeper(problem, 300)
    job = Job("rollout_agent:Reinforce", {}, 0, keeper.space, keeper.budget)
    assert search_apart(job, keeper) == Ended("finished", "", ())
    np.testing.assert_array_equal(keeper.samples.designs, here.samples.designs)
    np.testing.assert_array_equal(keeper.samples.objective, here.samples.objective)
