"""The Gymnasium and stable-baselines3 faces: interface checks, step-by-step agreement, agreement with the problem."""

import warnings

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as stable_baselines3_check

import dsegym
from dsegym.costmodels.accelerator.sizing import AREA_BUDGETS_MM2, INFEASIBLE_FACTOR, OBJECTIVES
from dsegym.costmodels.errors import DsegymError, UnknownNameError
from dsegym.envs.accelerator.sizing import SPACE
from dsegym.envs.core import problem as problems
from dsegym.envs.core.functional import FunctionalEnv, rollout_cost
from dsegym.envs.core.one_shot import SequentialEnv
from dsegym.envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from dsegym.envs.faces.stable_baselines3_env import StableBaselines3Env
from dsegym.envs.faces.vector_env import FunctionalVectorEnv

SIZING, TOY, SHOP = "dsegym/AcceleratorSizing-v0", "toy/Staircase-v0", "toy/Shop-v0"
FORMS = ("parametric", "sequential")
INSTANCE = {"workload": "alexnet", "objective": "edp", "area_budget": "small"}
# (environment id, keyword arguments) of every kind of environment that the adaptors are tried on.
KINDS = {
    "parametric": (SIZING, {**INSTANCE, "form": "parametric"}),
    "sequential": (SIZING, {**INSTANCE, "form": "sequential"}),
    "third party": (TOY, {"start": "fixed"}),
    "third party, stochastic": (TOY, {"start": "random"}),
    "third party, not replayable": (SHOP, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
both_forms = pytest.mark.parametrize("form", FORMS)

pytestmark = pytest.mark.usefixtures("staircase", "shop")


def make(kind):
    scenario, options = KINDS[kind]
    return gymnasium.make(scenario, **options)


def make_vec(kind, num_envs):
    scenario, options = KINDS[kind]
    return gymnasium.make_vec(scenario, num_envs=num_envs, **options)


def legal_actions(env, generator, mask):
    """One random legal action per lane of a vector environment."""
    if mask is None:
        return generator.integers(0, env.single_action_space.nvec, (env.num_envs, len(env.single_action_space.nvec)))
    return np.array([generator.choice(np.flatnonzero(lane)) for lane in mask])


def any_actions(env, generator):
    """One random action per lane, legal or not."""
    single = env.single_action_space
    if isinstance(single, gymnasium.spaces.Discrete):
        return generator.integers(0, single.n, env.num_envs)
    return generator.integers(0, single.nvec, (env.num_envs, len(single.nvec)))


def finished_episodes(env, designs):
    """(designs, objective, feasible, summed reward) of one episode per lane that follows a design."""
    env.reset(seed=0)
    sequential = isinstance(env.single_action_space, gymnasium.spaces.Discrete)
    total = np.zeros(len(designs))
    for actions in designs.T if sequential else [designs]:
        _, reward, terminated, truncated, info = env.step(actions)
        total += reward
        assert not truncated.any()
    assert terminated.all()
    final = info["final_info"]
    return final["design"], final["objective"], final["feasible"], total


# --- Interfaces -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@every_kind
def test_gymnasium_finds_no_fault_with_an_environment(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check(make(kind).unwrapped, skip_render_check=True)


@pytest.mark.slow
@every_kind
def test_stable_baselines3_finds_no_fault_with_an_environment(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stable_baselines3_check(make(kind).unwrapped, warn=True)


@every_kind
def test_make_and_make_vec_return_our_own_environments(kind):
    single, env = make(kind), make_vec(kind, 3)
    assert isinstance(single.unwrapped, FunctionalGymnasiumEnv)
    assert single.metadata["notes"] == env.metadata["notes"] == tuple(single.unwrapped.problem.notes)
    assert isinstance(env.unwrapped, FunctionalVectorEnv)
    assert env.num_envs == 3
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    assert env.observation_space.shape == (3, *env.single_observation_space.shape)


def test_a_spec_makes_the_same_environment_again():
    env = make("sequential")
    again = gymnasium.make(env.spec)
    assert again.unwrapped.problem is env.unwrapped.problem
    assert isinstance(again.unwrapped.functional, SequentialEnv)


def test_an_unknown_form_or_option_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'sequential'"):
        gymnasium.make(SIZING, **INSTANCE, form="sequentiel")
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet50'"):
        gymnasium.make_vec(SIZING, num_envs=2, workload="resnet5O")


@pytest.mark.parametrize("env", [FunctionalGymnasiumEnv, lambda problem: FunctionalVectorEnv(problem, 2)])
def test_a_step_before_the_first_reset_is_refused(problem, env):
    with pytest.raises(gymnasium.error.ResetNeeded):
        env(problem).step(np.zeros(7, np.int32))


@pytest.mark.slow
@every_kind
def test_the_functional_door_steps_as_gymnax_does_beyond_an_episodes_end(kind):
    """Through `env.reset` and `env.step` alone: the transitions of the family, and where one ends, a new start."""
    scenario, options = KINDS[kind]
    env, params = dsegym.make_functional(scenario, **options)
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    generator, ended = np.random.default_rng(0), 0
    observation, state = reset(jax.random.key(0), params)
    for time in range(3 * env.horizon):
        space = env.action_space
        action = generator.integers(0, space.nvec if hasattr(space, "nvec") else space.n)
        key = jax.random.key(time + 1)
        moved = env.advance(state, jax.numpy.asarray(action), params)
        observation, following, reward, done, info = step(key, state, action, params)
        np.testing.assert_allclose(info["final_observation"], env.observation(moved, params), rtol=1e-6)
        assert float(reward) == pytest.approx(float(env.reward(state, moved, params)), rel=1e-5, abs=1e-6)
        assert bool(done) == bool(env.over(moved, params))
        if done:
            ended += 1
            assert float(info["objective"]) == pytest.approx(float(env.evaluation(moved, params).objective), rel=1e-6)
            moved = env.start(key, params)
        np.testing.assert_allclose(observation, env.observation(moved, params), rtol=1e-6)
        state = following
    assert ended >= 3


SHARED = {
    "one-shot": ("dsegym/AcceleratorSizing-v0", {"form": "sequential"}, "area_budget", ("small", "medium")),
    "policy": ("dsegym/SleepTime-v0", {"form": "parametric"}, "budget", ("2000", "8000")),
    "buffers": ("dsegym/MemoryAllocation-v0", {"instance": "perfect_30_s0"}, "capacity", ("own", "2097152")),
    "task graph": ("dsegym/SocSchedulingStatic-v0", {}, "graph", ("random_20_3_ccr1_s1", "random_20_3_ccr5_s1")),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHARED)
def test_instances_of_equal_shapes_share_an_environment_and_every_lane_may_have_its_own(kind):
    scenario, fixed, option, values = SHARED[kind]
    (env, first), (other, second) = (dsegym.make_functional(scenario, **fixed, **{option: value}) for value in values)
    assert env == other
    assert hash(env) == hash(other)
    both = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), first, second)

    def rewards(params):
        def step(state, action):
            moved = env.advance(state, action, params)
            return moved, env.reward(state, moved, params)

        actions = jax.numpy.zeros((env.horizon, *env.action_space.shape), jax.numpy.int32)
        return jax.lax.scan(step, env.start(jax.random.key(0), params), actions)[1]

    together = jax.jit(jax.vmap(rewards))(both)
    for lane, params in zip(together, (first, second), strict=True):
        np.testing.assert_allclose(lane, jax.jit(rewards)(params), rtol=1e-5, atol=1e-6)
    assert not np.array_equal(*together)


@pytest.mark.parametrize(
    ("scenario", "options"),
    [
        ("dsegym/SocSchedulingStatic-v0", {"graph": "random_20_3_ccr1_s7"}),
        ("dsegym/SocSchedulingStream-v0", {"count": "21"}),
        ("dsegym/AcceleratorSizing-v0", {"workload": "alexnet", "objective": "target", "area_budget": "large"}),
    ],
)
def test_an_instance_is_made_without_costing_its_reference(scenario, options, monkeypatch):
    asked = []
    costs = problems.evaluate_batch

    def counted(cost, designs, params):
        asked.append(len(designs))
        return costs(cost, designs, params)

    monkeypatch.setattr(problems, "evaluate_batch", counted)
    problem = dsegym.make_problem(scenario, **options)
    assert problem.functional_env().horizon > 0
    assert np.isnan(getattr(problem.params, "reference", np.nan))
    assert not asked
    reference = problem.env_params(next(iter(problem.forms))).reference
    assert len(asked) == 1
    assert reference == np.float32(problem.as_searched.reference.value)


def test_a_family_that_writes_no_method_and_names_no_game_is_told_which_is_missing():
    env = FunctionalEnv()
    for ask in (lambda: env.start(None, None), lambda: env.advance(None, None, None), lambda: env.over(None, None)):
        with pytest.raises(NotImplementedError, match=r"FunctionalEnv writes no `(start|advance|over)`, and no game"):
            ask()
    assert env.action_mask(None, None) is env.illegal(None) is env.design(None, None) is None


def test_a_state_may_be_set_if_it_is_one(problem):
    env = FunctionalGymnasiumEnv(problem, "sequential")
    with pytest.raises(gymnasium.error.ResetNeeded):
        _ = env.state
    env.reset(seed=0)
    start = env.state
    first = env.step(3)
    env.state = start
    np.testing.assert_array_equal(env.step(3)[0], first[0])
    wrong = (None, "state", (1, 2), jax.tree.map(lambda leaf: np.stack([leaf, leaf]), start))
    for state in (*wrong, start._replace(step=np.float32(0))):
        with pytest.raises(DsegymError, match=r"no state of the environment, which has the leaves int32\[7\]"):
            env.state = state


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"num_envs": 0}, "num_envs = 0 is not allowed; allowed: a whole number from 1 to 16,777,216"),
        ({"num_envs": 10**9}, "num_envs = 1000000000 is not allowed"),
        ({"num_envs": 2.0}, "num_envs = 2.0 is not allowed"),
        ({"max_episode_steps": 0}, "max_episode_steps = 0 is not allowed; allowed: a whole number from 1 to"),
        ({"render_mode": "ansi"}, "Unknown render mode 'ansi'; there are: rgb_array"),
        ({"autoreset_mode": "SomeStep"}, "Unknown autoreset mode 'SomeStep'; .* Did you mean 'SameStep'"),
        ({"frameskip": 4}, "Unknown option 'frameskip'"),
    ],
)
def test_what_no_vector_environment_has_is_refused(more, reason):
    with pytest.raises(DsegymError, match=reason):
        gymnasium.make_vec(SIZING, **{"num_envs": 2, **INSTANCE, **more})


@pytest.mark.parametrize("form", ["", ["parametric"], 3])
def test_what_is_no_form_is_not_the_default(problem, form):
    with pytest.raises(UnknownNameError, match="there are: parametric, sequential"):
        problem.functional_env(form)


# --- Episodes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parametric", "sequential", "third party"])
def test_single_and_vector_environment_agree_step_by_step(kind):
    lanes, generator = 4, np.random.default_rng(3)
    vector, singles = make_vec(kind, lanes), [make(kind) for _ in range(lanes)]
    observation, info = vector.reset(seed=1)
    mask = info.get("action_mask")
    for lane, env in enumerate(singles):
        alone, alone_info = env.reset(seed=lane)
        np.testing.assert_array_equal(alone, observation[lane])
        if mask is not None:
            np.testing.assert_array_equal(alone_info["action_mask"], mask[lane])
    ended = 0
    for _ in range(20):
        actions = any_actions(vector, generator)
        observation, reward, terminated, truncated, info = vector.step(actions)
        assert not truncated.any()
        for lane, env in enumerate(singles):
            alone, alone_reward, alone_terminated, alone_truncated, alone_info = env.step(actions[lane])
            assert (alone_terminated, alone_truncated) == (terminated[lane], False)
            assert alone_reward == pytest.approx(reward[lane], rel=1e-6)
            if alone_terminated:
                ended += 1
                np.testing.assert_array_equal(alone, info["final_obs"][lane])
                np.testing.assert_array_equal(alone_info["design"], info["final_info"]["design"][lane])
                assert alone_info["objective"] == pytest.approx(info["final_info"]["objective"][lane], rel=1e-6)
                assert alone_info["feasible"] == info["final_info"]["feasible"][lane]
                alone, alone_info = env.reset()
            np.testing.assert_array_equal(alone, observation[lane])
            if "action_mask" in info:
                np.testing.assert_array_equal(alone_info["action_mask"], info["action_mask"][lane])
    assert ended >= lanes


def test_lanes_that_end_start_again_in_the_same_step():
    env = make_vec("third party", 3)
    first, _ = env.reset(seed=0)
    climb = np.array([2, 1, 2])  # two steps a move reach the top after three moves; one a move never does
    for time in range(2):
        _, _, terminated, _, info = env.step(climb)
        assert not terminated.any(), time
        assert "final_obs" not in info
    observation, _, terminated, _, info = env.step(climb)
    np.testing.assert_array_equal(terminated, [True, False, True])
    np.testing.assert_array_equal(info["_final_obs"], terminated)
    np.testing.assert_array_equal(info["_final_info"], terminated)
    np.testing.assert_allclose(info["final_obs"][[0, 2]], [[1.0, 3 / 5]] * 2, rtol=1e-6)
    np.testing.assert_array_equal(info["final_info"]["design"][0], [2, 2, 2, 0, 0])
    assert info["final_info"]["feasible"][0]
    np.testing.assert_array_equal(observation[[0, 2]], first[[0, 2]])
    np.testing.assert_allclose(observation[1], [3 / 6, 3 / 5], rtol=1e-6)
    np.testing.assert_array_equal(info["action_mask"][0], [1, 1, 1])


@pytest.mark.slow
@every_kind
def test_the_same_seed_gives_the_same_stream(kind):
    def stream(seed):
        env, generator = make_vec(kind, 4), np.random.default_rng(0)
        observation, _ = env.reset(seed=seed)
        seen = [observation]
        for _ in range(12):
            observation, reward, terminated, _, _ = env.step(any_actions(env, generator))
            seen += [observation, reward, terminated]
        return np.concatenate([np.ravel(value).astype(np.float64) for value in seen])

    np.testing.assert_array_equal(stream(5), stream(5))


def test_another_seed_or_a_later_reset_starts_a_stochastic_environment_elsewhere():
    def starts(env, seed):
        return [float(np.sum(env.reset(seed=seed if i == 0 else None)[0])) for i in range(12)]

    for env in (make("third party, stochastic"), make_vec("third party, stochastic", 3)):
        first, again, other = starts(env, 1), starts(env, 1), starts(env, 2)
        assert first == again
        assert first != other
        assert len(set(first)) > 1
    lanes, _ = make_vec("third party, stochastic", 64).reset(seed=0)
    assert len(np.unique(lanes[:, 0])) == 3, "lanes draw their own starts"


def test_warming_up_changes_neither_state_nor_stream():
    streams = []
    for warm in (False, True):
        env = make_vec("third party, stochastic", 3)
        seen = [env.reset(seed=4)[0]]
        for _ in range(6):
            if warm:
                env.unwrapped.warm_up()
            seen.append(env.step(np.array([2, 1, 0]))[0])
        streams.append(np.stack(seen))
    np.testing.assert_array_equal(*streams)


# --- What info holds after every step ---------------------------------------------------------------------------------

ORDERS = (9, 0, 5, 13, 2)  # 13 is more than there is room for


def test_a_step_tells_what_the_form_names_also_the_last(shop):
    env = make("third party, not replayable")
    assert env.reset(seed=0)[1] == {}
    stock = 0
    for day in range(shop.DAYS):
        order = ORDERS[day % len(ORDERS)] % (shop.LARGEST + 1)
        _, _, ended, _, info = env.step(order)
        assert ended == (day == shop.DAYS - 1)
        assert {"stock", "demand", "ordered"} <= set(info)
        assert all(isinstance(info[name], np.ndarray) and info[name].shape == () for name in ("stock", "demand"))
        stock = max(min(stock + order, shop.LARGEST) - int(info["demand"]), 0)
        assert (info["stock"], info["ordered"]) == (stock, order)
    assert {"design", "objective", "feasible"} <= set(info)


def test_a_step_of_many_lanes_tells_it_of_the_episodes_that_took_the_step(shop):
    env, generator = make_vec("third party, not replayable", 3), np.random.default_rng(0)
    assert env.reset(seed=0)[1] == {}
    stock = np.zeros(3, int)
    for _ in range(2 * shop.DAYS):
        orders = any_actions(env, generator)
        observation, _, terminated, _, info = env.step(orders)
        stock = np.maximum(np.minimum(stock + orders, shop.LARGEST) - info["demand"], 0)
        np.testing.assert_array_equal(info["stock"], stock)  # in the evening, where the episode ends too
        for name in ("stock", "demand", "ordered"):
            assert info[name].shape == (3,)
            np.testing.assert_array_equal(info[f"_{name}"], ~terminated)
        if terminated.any():
            np.testing.assert_array_equal(observation[:, 0], 0)
            np.testing.assert_array_equal(info["final_info"]["stock"], stock)
            stock[:] = 0


def test_the_stable_baselines3_face_hands_each_lane_its_own(shop):
    ours, theirs = (FunctionalVectorEnv(dsegym.make_problem(SHOP), 3) for _ in range(2))
    adapted, generator = StableBaselines3Env(theirs), np.random.default_rng(1)
    ours.reset(seed=0)
    adapted.seed(0)
    adapted.reset()
    for _ in range(shop.DAYS):
        actions = any_actions(ours, generator)
        info, infos = ours.step(actions)[-1], adapted.step(actions)[-1]
        for name in ("stock", "demand", "ordered"):
            assert [lane[name] for lane in infos] == info[name].tolist()
    assert all("terminal_observation" in lane for lane in infos)


def test_a_form_that_names_nothing_tells_nothing():
    env = make_vec("sequential", 2)
    env.reset(seed=0)
    assert set(env.step(np.zeros(2, int))[-1]) == {"action_mask", "_action_mask"}


# --- Agreement with the problem ---------------------------------------------------------------------------------------


@both_forms
def test_an_episode_costs_what_the_problem_says(problem, form):
    designs = problem.space.sample(np.random.default_rng(0), 200)
    expected = problem.evaluate(designs)
    assert 0 < expected.feasible.sum() < 200
    final = finished_episodes(FunctionalVectorEnv(problem, 200, form), designs)
    np.testing.assert_array_equal(final[0], designs)
    np.testing.assert_allclose(final[1], expected.objective, rtol=1e-6)
    np.testing.assert_array_equal(final[2], expected.feasible)
    np.testing.assert_allclose(final[3], np.log(problem.reference.value / expected.objective), rtol=1e-5, atol=1e-5)


def test_the_reference_design_earns_a_reward_of_zero(problem):
    env = FunctionalGymnasiumEnv(problem, "parametric")
    env.reset(seed=0)
    reward = env.step(np.array(problem.reference.design))[1]
    assert reward == pytest.approx(0.0, abs=1e-5)


def test_the_reference_design_earns_a_reward_of_zero_on_the_cases_of_the_search(shop):
    problem = dsegym.make_problem(SHOP)
    env = FunctionalGymnasiumEnv(problem, "parametric")
    env.reset(seed=0)
    _, reward, _, _, info = env.step(np.array(problem.reference.design))
    assert reward == pytest.approx(0.0, abs=1e-5)
    assert info["objective"] == pytest.approx(problem.evaluate(problem.reference.design).objective[0], rel=1e-6)


@pytest.mark.slow
def test_the_sequential_form_rolled_out_is_the_cost_function(problem):
    designs = problem.space.sample(np.random.default_rng(1), 200)
    rolled = jax.jit(jax.vmap(rollout_cost(SequentialEnv.of(problem)), in_axes=(0, None)))(
        designs, problem.env_params("sequential")
    )
    expected = problem.evaluate(designs)
    np.testing.assert_allclose(rolled.objective, expected.objective, rtol=1e-6)
    np.testing.assert_array_equal(rolled.feasible, expected.feasible)
    np.testing.assert_allclose(rolled.metrics.energy_j, expected.metrics.energy_j, rtol=1e-6)


def test_every_script_of_a_third_party_costs_what_its_rules_say(toy, staircase):
    designs = toy.space.enumerate(0, toy.space.size)
    result = toy.evaluate(designs)
    by_hand = [staircase.cost_by_hand(design, toy.params.prices) for design in designs.tolist()]
    np.testing.assert_allclose(result.objective, [cost for cost, _ in by_hand], rtol=1e-6)
    np.testing.assert_array_equal(result.feasible, [feasible for _, feasible in by_hand])
    assert 0 < result.feasible.sum() < len(designs)


def test_a_third_partys_episodes_cost_what_its_problem_says(toy):
    env, generator = FunctionalVectorEnv(toy, 32), np.random.default_rng(2)
    _, info = env.reset(seed=0)
    designs, objective, feasible = [], [], []
    for _ in range(20):
        _, _, terminated, _, info = env.step(legal_actions(env, generator, info["action_mask"]))
        if terminated.any():
            final = info["final_info"]
            designs.append(final["design"][terminated])
            objective.append(final["objective"][terminated])
            feasible.append(final["feasible"][terminated])
    designs = np.concatenate(designs)
    assert len(designs) >= 100
    expected = toy.evaluate(designs)
    np.testing.assert_allclose(np.concatenate(objective), expected.objective, rtol=1e-6)
    np.testing.assert_array_equal(np.concatenate(feasible), expected.feasible)


# --- Actions and masks ------------------------------------------------------------------------------------------------


def test_masks_are_exactly_the_values_of_the_next_parameter(problem):
    env = FunctionalGymnasiumEnv(problem, "sequential")
    _, info = env.reset(seed=0)
    largest = max(problem.space.cardinalities)
    for count in problem.space.cardinalities:
        assert info["action_mask"].dtype == np.int8
        np.testing.assert_array_equal(info["action_mask"], np.arange(largest) < count)
        assert env.action_space.sample(mask=info["action_mask"]) < count
        info = env.step(0)[-1]


def test_a_masked_action_counts_as_the_largest_value(problem):
    largest = problem.space.cardinalities - 1
    beyond = np.full(len(largest), largest.max())
    design, objective, _, _ = finished_episodes(FunctionalVectorEnv(problem, 1, "sequential"), beyond[None])
    np.testing.assert_array_equal(design[0], largest)
    assert objective[0] == pytest.approx(problem.evaluate(largest).objective[0], rel=1e-6)


def test_the_observation_tells_what_is_chosen(problem):
    env = FunctionalGymnasiumEnv(problem, "sequential")
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observation, np.zeros(14))
    observation = env.step(11)[0]
    np.testing.assert_array_equal(observation, [1, *[0] * 6, 1, *[0] * 6])
    observation = env.step(0)[0]
    np.testing.assert_array_equal(observation, [1, 1, *[0] * 5, 1, *[0] * 6])


@pytest.mark.parametrize("budget", AREA_BUDGETS_MM2)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_designs_over_the_budget_always_score_worse_than_any_within_it(objective, budget):
    problem = dsegym.make_problem(SIZING, workload="mobilenet_v1", objective=objective, area_budget=budget)
    designs = SPACE.sample(np.random.default_rng(7), 4096)
    result = problem.evaluate(designs)
    over = result.metrics.area_mm2 > AREA_BUDGETS_MM2[budget]
    np.testing.assert_array_equal(result.feasible, ~over)
    assert result.objective[over].min() > result.objective[~over].max()
    # The larger the excess, the worse.
    by_area = np.argsort(result.metrics.area_mm2[over])
    assert (np.diff(result.objective[over][by_area]) >= 0).all()
    assert result.objective[over].min() >= problem.reference.value * INFEASIBLE_FACTOR * (1 - 1e-6)


# --- stable-baselines3 ------------------------------------------------------------------------------------------------


def test_the_stable_baselines3_face_takes_the_same_steps(problem):
    ours, theirs = (FunctionalVectorEnv(problem, 3, "sequential") for _ in range(2))
    adapted, generator = StableBaselines3Env(theirs), np.random.default_rng(5)
    observation, info = ours.reset(seed=9)
    adapted.seed(9)
    np.testing.assert_array_equal(adapted.reset(), observation)
    for _ in range(15):
        masks = adapted.env_method("action_masks")
        np.testing.assert_array_equal(masks, info["action_mask"])
        assert {mask.dtype for mask in masks} == {np.dtype(bool)}
        actions = any_actions(ours, generator)
        observation, reward, terminated, _, info = ours.step(actions)
        seen, rewards, dones, infos = adapted.step(actions)
        np.testing.assert_array_equal(seen, observation)
        np.testing.assert_array_equal(rewards, reward)
        np.testing.assert_array_equal(dones, terminated)
        assert rewards.dtype == np.float32
        for lane in range(3):
            assert ("terminal_observation" in infos[lane]) == terminated[lane]
            if terminated[lane]:
                np.testing.assert_array_equal(infos[lane]["terminal_observation"], info["final_obs"][lane])
                np.testing.assert_array_equal(infos[lane]["design"], info["final_info"]["design"][lane])
                assert infos[lane]["objective"] == info["final_info"]["objective"][lane]
                assert infos[lane]["TimeLimit.truncated"] is False


def test_the_stable_baselines3_face_answers_for_the_lanes_asked_for(problem):
    env = StableBaselines3Env(FunctionalVectorEnv(problem, 3, "sequential"))
    env.reset()
    assert len(env.env_method("action_masks", indices=[0, 2])) == 2
    assert env.get_attr("num_envs") == [3, 3, 3]
    assert env.get_attr("problem", indices=1) == [problem]
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * 3
    with pytest.raises(AttributeError, match="no_such_method"):
        env.env_method("no_such_method")


def test_where_every_action_is_legal_info_has_no_mask_and_the_method_says_so(problem):
    env = StableBaselines3Env(FunctionalVectorEnv(problem, 2, "parametric"))
    env.reset()
    for masks in (*env.env_method("action_masks"), make("parametric").unwrapped.action_masks()):
        assert masks.all()
        assert masks.shape == (problem.space.cardinalities.sum(),)
    assert make("parametric").reset(seed=0)[1] == {}
