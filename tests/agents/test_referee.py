"""The referee: every sample counts, whichever door it is spent through, and none is spent beyond the budget."""

import dataclasses
import time

import numpy as np
import pytest

import dsegym
from dsegym.agents.referee import Referee, Samples
from dsegym.agents.scorekeeper import Scorekeeper
from dsegym.costmodels.errors import (
    BudgetExhausted,
    DsegymError,
    InvalidDesignError,
    TimeLimitReached,
    UnknownNameError,
)
from dsegym.envs.core.problem import Problem
from dsegym.envs.faces.vector_env import FunctionalVectorEnv

LANES = 8


@pytest.fixture
def designs(problem):
    return problem.space.sample(np.random.default_rng(0), 50)


def one_hot(problem, designs):
    """Designs as relaxed ones: per parameter, float32[B, values]."""
    return [np.eye(count, dtype=np.float32)[designs[:, i]] for i, count in enumerate(problem.space.cardinalities)]


def spend_by_evaluate(referee, designs):
    for batch in np.array_split(designs, 4):
        referee.evaluate(batch)


def spend_by_relaxed(referee, designs):
    for batch in np.array_split(designs, 4):
        referee.evaluate_relaxed(one_hot(referee, batch))


def spend_by_vector_env(referee, designs):
    env = referee.vector_env(LANES, "parametric")
    env.reset(seed=0)
    for start in range(0, len(designs), LANES):
        env.step(lanes_of(designs, start))


def spend_by_sequential_env(referee, designs):
    env = referee.vector_env(LANES, "sequential")
    env.reset(seed=0)
    for start in range(0, len(designs), LANES):
        for actions in lanes_of(designs, start).T:
            env.step(actions)


def spend_by_stable_baselines3(referee, designs):
    env = referee.stable_baselines3_env(LANES)
    env.reset()
    for start in range(0, len(designs), LANES):
        env.step(lanes_of(designs, start))


def lanes_of(designs, start):
    """As many designs as there are lanes, the last ones repeated at the end."""
    return designs[np.minimum(np.arange(start, start + LANES), len(designs) - 1)]


DOORS = {
    "evaluate": spend_by_evaluate,
    "evaluate_relaxed": spend_by_relaxed,
    "vector_env": spend_by_vector_env,
    "sequential vector_env": spend_by_sequential_env,
    "stable_baselines3_env": spend_by_stable_baselines3,
}
every_door = pytest.mark.parametrize("door", DOORS)


# --- Counting ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@every_door
def test_every_sample_counts_whichever_door_it_comes_through(problem, designs, door):
    referee = Referee(problem, samples=1000)
    designs = designs[:48]  # a whole number of steps of every lane
    DOORS[door](referee, designs)
    assert referee.samples_left == 1000 - 48
    expected = problem.evaluate(designs)
    np.testing.assert_array_equal(referee.samples.designs, designs)
    np.testing.assert_allclose(referee.samples.objective, expected.objective, rtol=1e-6)
    np.testing.assert_array_equal(referee.samples.feasible, expected.feasible)
    assert referee.cost_model_s > 0


@every_door
def test_asking_for_more_than_the_budget_spends_exactly_the_budget(problem, designs, door):
    referee = Referee(problem, samples=21)
    with pytest.raises(BudgetExhausted, match="budget of 21 samples"):
        DOORS[door](referee, designs)
    assert referee.samples_left == 0
    np.testing.assert_array_equal(referee.samples.designs, designs[:21])
    with pytest.raises(BudgetExhausted):
        DOORS[door](referee, designs)
    assert len(referee.samples.designs) == 21


def test_doors_share_one_budget(problem, designs):
    referee = Referee(problem, samples=20)
    spend_by_evaluate(referee, designs[:8])
    spend_by_vector_env(referee, designs[:8])
    assert referee.samples_left == 4
    with pytest.raises(BudgetExhausted):
        spend_by_sequential_env(referee, designs[:8])
    np.testing.assert_array_equal(referee.samples.designs, designs[[*range(8), *range(8), *range(4)]])


def test_a_batch_that_meets_the_budget_exactly_is_answered_and_the_next_is_refused(problem, designs):
    referee = Referee(problem, samples=50)
    assert len(referee.evaluate(designs).objective) == 50
    with pytest.raises(BudgetExhausted):
        referee.evaluate(designs[:1])


def test_an_episode_counts_when_it_begins_and_is_recorded_when_it_ends(problem):
    referee = Referee(problem, samples=10)
    env = referee.vector_env(2, "sequential")
    env.reset(seed=0)
    assert referee.samples_left == 10
    for step in range(7):
        assert len(referee.samples.objective) == 0
        env.step(np.zeros(2, np.int32))
        assert referee.samples_left == 8, step
    assert len(referee.samples.objective) == 2


def test_episodes_that_are_given_up_count_as_their_designs_stand(problem):
    referee = Referee(problem, samples=10)
    env = referee.vector_env(2, "sequential")
    env.reset(seed=0)
    env.step(np.array([3, 4], np.int32))
    env.step(np.array([5, 6], np.int32))
    env.reset(options={"reset_mask": np.array([False, True])})
    assert referee.samples.designs.tolist() == [[4, 6, 0, 0, 0, 0, 0]]
    assert referee.samples_left == 8
    env.reset()
    env.reset()
    assert referee.samples.designs.tolist() == [[4, 6, 0, 0, 0, 0, 0], [3, 5, 0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(referee.samples.objective, problem.evaluate(referee.samples.designs).objective)


def test_episodes_that_a_trials_end_cuts_short_count_too(problem):
    keeper = Scorekeeper(problem, 10)
    env = Referee.of(keeper.ask, keeper.space, keeper.budget).vector_env(4, "sequential")
    env.reset(seed=0)
    env.step(np.arange(4, dtype=np.int32))
    keeper.close()
    assert keeper.samples.designs[:, 0].tolist() == [0, 1, 2, 3]
    assert keeper.elapsed_s == keeper.elapsed_s


def test_lanes_that_the_budget_does_not_cover_stand_still(problem):
    referee = Referee(problem, samples=3)
    env = referee.vector_env(LANES, "sequential")
    start, info = env.reset(seed=0)
    for _ in range(6):
        observation, reward, terminal, _, after = env.step(np.ones(LANES, np.int32))
        np.testing.assert_array_equal(observation[3:], start[3:])
        np.testing.assert_array_equal(after["action_mask"][3:], info["action_mask"][3:])
        assert (observation[:3] != start[:3]).any()
        assert not reward[3:].any()
        assert not terminal.any()
    assert referee.samples_left == 0
    with pytest.raises(BudgetExhausted):
        env.step(np.ones(LANES, np.int32))
    assert len(referee.samples.objective) == 3


def test_an_environment_tells_nothing_of_episodes_that_have_not_ended(staircase):
    """Where one lane ends before the other, the other's figures stand for nothing yet."""
    referee = Referee(dsegym.make_problem("toy/Staircase-v0"), samples=100)
    env = referee.vector_env(2)
    env.reset(seed=0)
    for step in range(200):
        *_, terminal, _, info = env.step(env.action_space.sample())
        if terminal.any():
            for name, values in info["final_info"].items():
                assert not values[~terminal].any(), (step, name)


@pytest.mark.parametrize("num_envs", [0, -1, True, 1.5, 10**9, "4", None])
def test_a_number_of_lanes_that_makes_no_sense_is_one_sentence(problem, num_envs):
    with pytest.raises(DsegymError, match=r"num_envs = .* is not allowed; allowed: a whole number from 1 to 65536"):
        Referee(problem, samples=10).vector_env(num_envs)


def test_compiling_a_vector_environment_spends_neither_samples_nor_the_trials_time(problem):
    referee = Referee(problem, samples=10, time_limit_s=3600)
    referee.vector_env(3, "parametric")
    assert referee.samples_left == 10
    assert referee.compile_s > 0
    assert len(referee.samples.designs) == 0


@pytest.mark.parametrize(
    "designs",
    [
        [[0, 0, 0, 0, 0, 0, 3]],  # out of range
        [[0, 0, 0, 0, 0, 0, -1]],
        [[0, 0, 0]],
        [[0.5] * 7],
        [[0] * 7, [12] + [0] * 6],  # one good, one bad
    ],
)
def test_an_invalid_design_spends_nothing(problem, designs):
    referee = Referee(problem, samples=10)
    with pytest.raises(InvalidDesignError):
        referee.evaluate(designs)
    assert referee.samples_left == 10
    assert len(referee.samples.objective) == 0


def test_the_time_limit_stops_every_door(problem, designs):
    for door in DOORS.values():
        referee = Referee(problem, samples=1000, time_limit_s=-1e9)
        with pytest.raises(TimeLimitReached, match="time limit"):
            door(referee, designs)
        assert len(referee.samples.designs) == 0


def test_without_a_time_limit_only_the_budget_stops(problem, designs):
    referee = Referee(problem, samples=50, time_limit_s=None)
    spend_by_evaluate(referee, designs)
    assert referee.samples_left == 0


# --- What an agent sees and leaves ------------------------------------------------------------------------------------


def test_the_referee_shows_the_space_the_budget_and_the_forms(problem):
    referee = Referee(problem, samples=10)
    assert referee.space is problem.space
    assert referee.budget == 10
    assert referee.forms == ("parametric", "sequential", "contextual")


def test_samples_keep_the_order_and_the_time_in_which_they_were_spent(problem, designs):
    referee = Referee(problem, samples=50)
    spend_by_evaluate(referee, designs)
    assert (np.diff(referee.samples.elapsed_s) >= 0).all()
    assert (referee.samples.elapsed_s > 0).all()
    assert referee.samples.designs.dtype == np.int32


def test_the_best_sample_is_the_first_feasible_one_with_the_least_objective():
    def samples(objective, feasible):
        count = len(objective)
        return Samples(np.zeros((count, 1), int), np.array(objective), np.array(feasible, bool), np.zeros(count))

    assert samples([3.0, 1.0, 2.0, 1.0], [1, 1, 1, 1]).best == 1
    assert samples([3.0, 1.0, 2.0, 1.0], [1, 0, 1, 0]).best == 2
    assert samples([3.0, 1.0], [0, 0]).best is None
    assert samples([], []).best is None


# --- Forms and held-out cases -----------------------------------------------------------------------------------------


@pytest.fixture
def stochastic(shop):
    """A problem with held-out cases, whose first form is not replayable."""
    return dsegym.make_problem("toy/Shop-v0")


def test_forms_whose_episodes_cannot_be_replayed_are_offered_to_no_agent(stochastic):
    assert tuple(stochastic.forms) == ("days", "parametric", "sequential")
    referee = Referee(stochastic, samples=10)
    assert referee.forms == ("parametric", "sequential")
    for env in (referee.vector_env(2), referee.stable_baselines3_env(2)):
        env.reset()
        env.step(np.zeros((2, 2), np.int32))
    np.testing.assert_allclose(
        referee.samples.objective, stochastic.evaluate(referee.samples.designs).objective, rtol=1e-6
    )


def test_a_form_that_is_not_replayable_is_refused_with_what_is_allowed(stochastic):
    referee = Referee(stochastic, samples=10)
    for door in (referee.vector_env, referee.stable_baselines3_env):
        with pytest.raises(DsegymError, match=r"not the form 'days', .*; allowed: parametric, sequential\."):
            door(2, "days")
    with pytest.raises(UnknownNameError, match="Did you mean 'parametric'"):
        referee.vector_env(2, "parametrik")


def test_a_problem_without_a_replayable_form_is_searched_by_its_designs_only(stochastic, shop):
    bare = dataclasses.replace(stochastic, forms={"days": lambda problem: shop.Days()})
    referee = Referee(bare, samples=10)
    assert referee.forms == ()
    with pytest.raises(DsegymError, match=r"no form of it, .*; allowed: none\."):
        referee.vector_env(2)
    assert len(referee.evaluate([[0, 0], [1, 1]]).objective) == 2


def test_an_agent_sees_the_values_of_the_search_and_nothing_held_out(stochastic):
    designs = stochastic.space.enumerate(0, stochastic.space.size)
    referee = Referee(stochastic, samples=1000)
    seen = referee.evaluate(designs)
    np.testing.assert_array_equal(seen.objective, stochastic.evaluate(designs).objective)
    assert (seen.objective != stochastic.evaluate_held_out(designs).objective).any()
    assert not [name for name in dir(referee) if "held_out" in name]


def test_no_name_of_the_referee_or_its_environments_leads_to_the_problem(stochastic):
    """Attributes and members, underscores or not, several steps deep; what a function closes over is not named."""
    referee = Referee(stochastic, samples=1000)
    env = referee.vector_env(2)
    level, seen = [referee, env, referee.stable_baselines3_env(2)], set()
    for _ in range(6):
        seen |= {id(thing) for thing in level}
        assert not [thing for thing in level if isinstance(thing, (Problem, Scorekeeper, FunctionalVectorEnv))]
        members = [value for thing in level for value in getattr(thing, "__dict__", {}).values()]
        members += [value for thing in level if isinstance(thing, dict) for value in thing.values()]
        members += [value for thing in level if isinstance(thing, (list, tuple)) for value in thing]
        members += [thing.__self__ for thing in level if hasattr(thing, "__self__")]
        level = [thing for thing in members if id(thing) not in seen and type(thing).__module__ != "builtins"]
    for name in ("problem", "functional", "_env", "_keeper", "_parts", "_problem", "_start"):
        assert not hasattr(referee, name), name
        assert not hasattr(env, name), name


def test_violation_and_the_unpenalised_objective_come_through_the_referee(problem, designs):
    expected, seen = problem.evaluate(designs), Referee(problem, samples=100).evaluate(designs)
    assert not seen.feasible.all()
    np.testing.assert_array_equal(seen.violation <= 0, seen.feasible)
    np.testing.assert_array_equal(seen.violation, expected.violation)
    np.testing.assert_array_equal(seen.unpenalised, expected.unpenalised)
    assert (seen.unpenalised[~seen.feasible] < seen.objective[~seen.feasible]).all()


# --- Baselines --------------------------------------------------------------------------------------------------------

LOW = (0,) * 7


def with_baselines(problem, **more):
    return dataclasses.replace(problem, baselines={"low": lambda: LOW, **more})


def test_baselines_are_the_problems_own_and_the_reference_under_two_names(problem):
    referee = Referee(with_baselines(problem), samples=10)
    assert referee.baselines == ("reference", problem.reference.name, "low")
    for name in ("reference", problem.reference.name):
        np.testing.assert_array_equal(referee.baseline(name), problem.reference.design)
    np.testing.assert_array_equal(referee.baseline("low"), LOW)
    assert referee.baseline("low").dtype == np.int32


def test_a_baseline_is_no_sample_and_an_agent_cannot_spoil_it(problem):
    referee = Referee(with_baselines(problem), samples=10)
    referee.baseline("low")[:] = 7
    np.testing.assert_array_equal(referee.baseline("low"), LOW)
    assert (referee.samples_left, len(referee.samples.designs)) == (10, 0)


def test_a_baseline_is_computed_when_first_asked_for_and_once_a_trial(problem):
    calls = []
    referee = Referee(with_baselines(problem, slow=lambda: calls.append(1) or LOW), samples=10)
    assert referee.baselines[-1] == "slow"
    assert calls == []
    for _ in range(3):
        referee.baseline("slow")
    assert calls == [1]


def test_a_reference_without_a_design_is_no_baseline_unless_the_problem_names_one_so(problem):
    reference = dataclasses.replace(problem.reference, design=None)
    bare = dataclasses.replace(problem, reference_rule=lambda problem: reference)
    assert Referee(bare, samples=10).baselines == ()
    assert Referee(with_baselines(bare), samples=10).baselines == ("low",)
    referee = Referee(dataclasses.replace(bare, baselines={bare.reference.name: lambda: LOW}), samples=10)
    np.testing.assert_array_equal(referee.baseline("reference"), LOW)


def test_no_baseline_replaces_the_reference(problem):
    referee = Referee(dataclasses.replace(problem, baselines={"reference": lambda: LOW}), samples=10)
    np.testing.assert_array_equal(referee.baseline("reference"), problem.reference.design)


def test_an_unknown_baseline_names_the_nearest(problem):
    with pytest.raises(UnknownNameError, match=r"there are: reference, .*, low. Did you mean 'low'"):
        Referee(with_baselines(problem), samples=10).baseline("lowe")


def test_a_baseline_outside_the_space_is_refused(problem):
    referee = Referee(with_baselines(problem, wrong=lambda: (0,) * 6), samples=10)
    with pytest.raises(InvalidDesignError):
        referee.baseline("wrong")


# --- Gradients --------------------------------------------------------------------------------------------------------


def test_relaxed_designs_are_scored_exactly_at_their_most_probable_values(problem, designs):
    generator = np.random.default_rng(1)
    weights = [generator.dirichlet(np.ones(count), 5).astype(np.float32) for count in problem.space.cardinalities]
    result, gradients = Referee(problem, samples=5).evaluate_relaxed(weights)
    rounded = np.stack([weight.argmax(axis=1) for weight in weights], axis=1)
    np.testing.assert_array_equal(result.objective, problem.evaluate(rounded).objective)
    for weight, gradient in zip(weights, gradients, strict=True):
        assert gradient.shape == weight.shape
        assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_gradients_are_those_of_the_smooth_objective(problem):
    generator = np.random.default_rng(2)
    weights = [generator.dirichlet(np.ones(count), 1).astype(np.float32) for count in problem.space.cardinalities]
    _, gradients = Referee(problem, samples=1).evaluate_relaxed(weights)
    direction = [generator.normal(size=weight.shape[1]).astype(np.float32) for weight in weights]
    step = 1e-2

    def smooth(sign):
        moved = tuple(weight[0] + sign * step * along for weight, along in zip(weights, direction, strict=True))
        return float(problem.relaxation(moved, problem.params))

    slope = sum(float(gradient[0] @ along) for gradient, along in zip(gradients, direction, strict=True))
    assert slope == pytest.approx((smooth(1) - smooth(-1)) / (2 * step), rel=0.05)


@pytest.mark.slow
def test_compiling_gradients_spends_none_of_the_trials_time(problem, designs):
    def slow_to_compile(weights, params):
        time.sleep(0.5)  # only while it is traced
        return problem.relaxation(weights, params)

    referee = Referee(dataclasses.replace(problem, relaxation=slow_to_compile), samples=10, time_limit_s=3600)
    for expected in (0.5, 0.5, 1.0):  # a second batch of two is compiled; one of three is not
        referee.evaluate_relaxed(one_hot(problem, designs[: 2 if expected < 1 else 3]))
        assert expected < referee.compile_s
        assert referee.elapsed_s < 0.5
    assert referee.cost_model_s < 0.5


def test_a_problem_without_a_relaxation_says_so_and_spends_nothing(problem, designs):
    referee = Referee(dataclasses.replace(problem, relaxation=None), samples=10)
    with pytest.raises(DsegymError, match="no smooth relaxation"):
        referee.evaluate_relaxed(one_hot(problem, designs[:2]))
    assert referee.samples_left == 10


def test_a_face_of_the_referees_answers_for_its_lanes_as_the_problems_own_does(problem):
    own, refereed = (
        FunctionalVectorEnv(problem, LANES, "sequential"),
        Referee(problem, 50).vector_env(LANES, "sequential"),
    )
    for env in (own, refereed):
        env.reset(seed=0)
    for name in ("num_envs", "observation_space", "action_space", "render_mode", "single_action_space"):
        assert refereed.get_attr(name) == own.get_attr(name)
    for name in ("action_masks", "render"):
        np.testing.assert_array_equal(refereed.call(name), own.call(name))
    for name in ("reset", "step", "close", "no_such_name"):
        for env in (own, refereed):
            with pytest.raises(AttributeError, match=name):
                env.call(name)


@pytest.mark.parametrize("room", [0, 1, 5, 2 * LANES + 3])
def test_the_end_of_a_trial_keeps_the_begun_episodes_that_fit_its_records(problem, room):
    bytes_each = 17 + 4 * len(problem.space)
    keeper = Scorekeeper(problem, 1000, record_bytes=room * bytes_each)
    referee = Referee.of(keeper.ask, keeper.space, keeper.budget)
    for _ in range(2):
        env = referee.vector_env(LANES, "sequential")
        env.reset(seed=0)
        env.step(np.zeros(LANES, np.int64))
    keeper.close()
    assert len(keeper.samples.objective) == min(room, 2 * LANES)
    assert np.isfinite(keeper.samples.objective).all()
    keeper.close()
    assert len(keeper.samples.objective) == min(room, 2 * LANES)
