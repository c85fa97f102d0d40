"""The memory allocation family: its Gymnasium faces, its episodes against the model, yardsticks, files and pictures."""

import gymnasium
import jax
import numpy as np
import pytest

import dsegym
from dsegym.costmodels import solver
from dsegym.costmodels.allocation import bounds, heuristics
from dsegym.costmodels.allocation.baselines import CP_SAT, design_makers
from dsegym.costmodels.allocation.generator import generate
from dsegym.costmodels.allocation.instance import AllocationInstance
from dsegym.costmodels.errors import InvalidOptionError, InvalidWorkloadError, UnknownNameError
from dsegym.envs.core.functional import rollout_cost
from dsegym.envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from dsegym.envs.faces.vector_env import FunctionalVectorEnv
from dsegym.envs.memory.allocation import GENERATED, SCENARIO, MemoryAllocation

ALLOCATION = "dsegym/MemoryAllocation-v0"
SMALL, BUFFERS = "perfect_12_s1", 12
PLACEMENTS = ("first_fit", "best_fit")
TABLE = "id,lower,upper,size\na,0,4,8\nb,2,6,4\nc,5,9,8\nd,0,9,2\n"
both_placements = pytest.mark.parametrize("placement", PLACEMENTS)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.16.csv"
    path.write_text(TABLE)
    return str(path)


def make_problem(**options):
    return dsegym.make_problem(ALLOCATION, **{"instance": SMALL, **options})


def random_episodes(env, generator):
    """One episode in each lane of random legal actions: actions [steps, lanes], rewards, and the final info."""
    _, info = env.reset(seed=0)
    actions, rewards = [], []
    for _ in range(len(env.problem.space)):
        mask = info["action_mask"]
        actions.append(np.array([generator.choice(np.flatnonzero(lane)) for lane in mask]))
        _, reward, terminated, truncated, info = env.step(actions[-1])
        rewards.append(reward)
        assert not truncated.any()
    assert terminated.all()
    return np.array(actions), np.array(rewards), info["final_info"]


# --- Interfaces -------------------------------------------------------------------------------------------------------


def test_the_sequential_form_comes_first_and_has_an_action_per_buffer():
    env = gymnasium.make(ALLOCATION, instance=SMALL)
    assert isinstance(env.unwrapped.functional, MemoryAllocation)
    assert env.action_space == gymnasium.spaces.Discrete(BUFFERS)
    assert env.observation_space.shape == (6 * BUFFERS + 4,)
    assert env.unwrapped.functional.horizon == BUFFERS


def test_single_and_vector_environment_agree_step_by_step():
    problem, generator = make_problem(), np.random.default_rng(3)
    lanes, alone = FunctionalVectorEnv(problem, 3), [FunctionalGymnasiumEnv(problem) for _ in range(3)]
    observation, info = lanes.reset(seed=0)
    for env, seen in zip(alone, observation, strict=True):
        np.testing.assert_array_equal(env.reset(seed=0)[0], seen)
    for step in range(2 * BUFFERS):
        actions = generator.integers(0, BUFFERS, 3)
        observation, reward, terminated, _, info = lanes.step(actions)
        assert (terminated == ((step + 1) % BUFFERS == 0)).all()
        for lane, env in enumerate(alone):
            seen, own_reward, own_end, _, own_info = env.step(actions[lane])
            assert (own_reward, own_end) == (reward[lane], terminated[lane])
            if own_end:
                for key in ("design", "objective", "feasible", "illegal_actions"):
                    value = info["final_info"][key]
                    np.testing.assert_array_equal(own_info[key], value[lane])
                seen, own_info = env.reset()
            np.testing.assert_array_equal(seen, observation[lane])
            np.testing.assert_array_equal(own_info["action_mask"], info["action_mask"][lane])


# --- Episodes ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@both_placements
@pytest.mark.parametrize("name", [SMALL, "layered_40_s4"])
def test_an_episode_is_the_packing_of_its_order_and_its_rewards_sum_to_minus_the_peak(name, placement):
    problem, instance = make_problem(instance=name, placement=placement), generate(name)
    actions, rewards, final = random_episodes(FunctionalVectorEnv(problem, 8), np.random.default_rng(1))
    result = problem.evaluate(final["design"])
    np.testing.assert_array_equal(final["objective"], result.objective)
    np.testing.assert_array_equal(final["fits"], result.metrics.fits)
    np.testing.assert_array_equal(final["peak_over_capacity"], result.metrics.peak_over_capacity)
    np.testing.assert_array_equal(final["illegal_actions"], 0)
    assert final["feasible"].all()
    np.testing.assert_allclose(rewards.sum(axis=0), -result.objective / instance.capacity, rtol=1e-5)
    assert (rewards <= 0).all()
    for lane, order in enumerate(actions.T):
        np.testing.assert_array_equal(final["design"][lane], heuristics.ranks_of_order(order))
        offsets = heuristics.place(instance, order, placement)
        assert result.metrics.peak_bytes[lane] == (offsets + instance.sizes).max() == result.objective[lane]


def test_the_sequential_form_rolled_out_is_the_cost_function():
    problem, generator = make_problem(), np.random.default_rng(2)
    orders = np.stack([generator.permutation(BUFFERS) for _ in range(20)]).astype(np.int32)
    rolled = jax.jit(jax.vmap(rollout_cost(problem.functional_env()), in_axes=(0, None)))(orders, problem.params)
    expected = problem.evaluate(np.stack([heuristics.ranks_of_order(order) for order in orders]))
    np.testing.assert_array_equal(rolled.objective, expected.objective)


def test_masks_are_exactly_the_buffers_that_are_not_placed():
    env, generator = FunctionalGymnasiumEnv(make_problem()), np.random.default_rng(4)
    _, info = env.reset(seed=0)
    left = set(range(BUFFERS))
    for action in generator.permutation(BUFFERS):
        assert info["action_mask"].dtype == np.int8
        assert set(np.flatnonzero(info["action_mask"])) == left
        info = env.step(action)[-1]
        left.remove(action)
    assert not info["action_mask"].any()


def test_an_illegal_action_counts_as_the_largest_buffer_left_and_is_counted():
    problem, instance = make_problem(), generate(SMALL)
    by_size = heuristics.rule_order(instance, "size_descending_first_fit")
    env = FunctionalGymnasiumEnv(problem)
    env.reset(seed=0)
    smallest = int(by_size[-1])
    for step in range(BUFFERS):  # legal once, then again and again
        info = env.step(smallest)[-1]
        assert ("illegal_actions" in info) == (step == BUFFERS - 1)
    assert info["illegal_actions"] == BUFFERS - 1
    np.testing.assert_array_equal(np.argsort(info["design"]), [smallest, *by_size[:-1]])
    assert info["objective"] == problem.evaluate(info["design"]).objective[0]


def test_the_observation_tells_what_its_description_says():
    instance, problem = generate(SMALL), make_problem()
    env, order = FunctionalGymnasiumEnv(problem), np.random.default_rng(5).permutation(BUFFERS)
    observation, _ = env.reset(seed=0)
    span = instance.uppers.max() - instance.lowers.min()
    for step in range(BUFFERS + 1):
        placed = order[:step]
        offsets = np.zeros(BUFFERS, np.int64)
        if step:
            shorter = AllocationInstance("head", tuple(instance.buffers[b] for b in placed), instance.capacity)
            offsets[placed] = heuristics.place(shorter, np.arange(step), "first_fit")
        ends = offsets + instance.sizes
        beside = (instance.lowers[:, None] < instance.uppers) & (instance.lowers < instance.uppers[:, None])
        skyline = [max((ends[p] for p in placed if beside[b, p]), default=0) for b in range(BUFFERS)]
        peak = max(ends[placed], default=0)
        expected = np.concatenate(
            [
                np.isin(np.arange(BUFFERS), placed),
                instance.sizes / instance.capacity,
                offsets / instance.capacity,
                np.array(skyline) / instance.capacity,
                (instance.lowers - instance.lowers.min()) / span,
                (instance.uppers - instance.lowers.min()) / span,
                [step / BUFFERS, peak / instance.capacity, bounds.max_load(instance) / instance.capacity],
                [peak <= instance.capacity],
            ]
        )
        np.testing.assert_allclose(observation, expected, rtol=1e-6, atol=1e-7)
        assert observation in env.observation_space
        if step < BUFFERS:
            observation = env.step(order[step])[0]


def test_observations_stay_in_bounds_where_the_capacity_is_far_below_the_peak(table):
    problem = make_problem(instance=table, capacity="8")
    env = FunctionalGymnasiumEnv(problem)
    observation, _ = env.reset(seed=0)
    for action in range(4):
        assert observation in env.observation_space
        observation = env.step(action)[0]
    assert observation in env.observation_space
    assert observation[-3] > 1.0


# --- Designs ----------------------------------------------------------------------------------------------------------


def test_equal_ranks_place_the_larger_buffer_first():
    problem = make_problem()
    equal = problem.evaluate(np.zeros(BUFFERS, np.int32)).objective
    np.testing.assert_array_equal(equal, problem.reference.value)
    np.testing.assert_array_equal(problem.evaluate(np.full(BUFFERS, 7)).objective, equal)


@both_placements
def test_costs_do_not_depend_on_how_designs_are_batched(placement):
    problem = make_problem(instance="perfect_60_s1", placement=placement)
    designs = problem.space.sample(np.random.default_rng(0), 300)
    together = problem.evaluate(designs)
    for start, stop in ((0, 1), (10, 70), (299, 300)):
        parts = problem.evaluate(designs[start:stop])
        for ours, theirs in zip(jax.tree.leaves(parts), jax.tree.leaves(together), strict=True):
            np.testing.assert_array_equal(ours, theirs[start:stop])


def test_metrics_are_exact_and_consistent():
    problem = make_problem(instance="layered_60_s0")
    result = problem.evaluate(problem.space.sample(np.random.default_rng(0), 200))
    metrics = result.metrics
    assert metrics.peak_bytes.dtype == metrics.load_bytes.dtype == np.int64
    load = bounds.max_load(generate("layered_60_s0"))
    assert (metrics.load_bytes == load).all()
    assert (metrics.peak_bytes >= load).all()
    assert result.feasible.all()
    np.testing.assert_array_equal(metrics.fits, metrics.peak_bytes <= load)  # its capacity is its load
    assert 0 < metrics.fits.sum() < 200
    np.testing.assert_allclose(metrics.fragmentation, 1 - load / metrics.peak_bytes, atol=1e-6)
    np.testing.assert_array_equal(result.objective, metrics.peak_bytes)


@pytest.mark.slow
@both_placements
def test_objectives_and_yardsticks_are_exact_where_float32_is_not(tmp_path, placement):
    path = tmp_path / "one.99999999.csv"
    path.write_text("id,lower,upper,size\na,0,4,16777217\n")
    problem = make_problem(instance=str(path), placement=placement)
    result = problem.evaluate([0])
    assert int(np.float32(16777217)) == 16777216
    assert result.objective[0] == result.metrics.peak_bytes[0] == problem.bound.value == 16777217
    assert problem.reference.value == 16777217
    single, lanes = FunctionalGymnasiumEnv(problem), FunctionalVectorEnv(problem, 2)
    single.reset(seed=0)
    lanes.reset(seed=0)
    assert single.step(0)[-1]["objective"] == 16777217
    assert lanes.step(np.zeros(2, int))[-1]["final_info"]["objective"].tolist() == [16777217, 16777217]
    parametric = FunctionalGymnasiumEnv(problem, "parametric")
    parametric.reset(seed=0)
    assert parametric.step(np.zeros(1, np.int32))[-1]["objective"] == 16777217


def test_parameters_are_named_as_the_buffers_where_that_is_possible(tmp_path, table):
    assert make_problem(instance=table).space.names == ("a", "b", "c", "d")
    for number, (ids, names) in enumerate({("0", "7"): ("b0", "b7"), ("x-1", "x 1"): ("b0", "b1")}.items()):
        path = tmp_path / f"{number}.64.csv"
        path.write_text("id,lower,upper,size\n" + "".join(f"{id},0,1,1\n" for id in ids))
        assert make_problem(instance=str(path)).space.names == names


# --- Yardsticks -------------------------------------------------------------------------------------------------------


@both_placements
@pytest.mark.parametrize("name", GENERATED)
def test_the_reference_is_size_descending_and_the_bound_is_the_load(name, placement):
    problem, instance = make_problem(instance=name, placement=placement), generate(name)
    offsets = heuristics.rule_offsets(instance, f"size_descending_{placement}")
    assert problem.reference.name == f"size_descending_{placement}"
    assert problem.reference.value == (offsets + instance.sizes).max()
    assert problem.evaluate(problem.reference.design).objective[0] == problem.reference.value
    assert problem.bound.value == bounds.max_load(instance) <= problem.reference.value
    if name.startswith("perfect"):
        assert (problem.bound.name, problem.bound.value) == ("optimum", instance.capacity)
        assert problem.evaluate(problem.bound.design).objective[0] == problem.bound.value
    else:
        assert (problem.bound.name, problem.bound.design) == ("bound", None)


@both_placements
def test_baselines_are_orders_with_the_peaks_of_their_rules(placement):
    name = "perfect_60_s4"
    problem, instance = make_problem(instance=name, placement=placement), generate(name)
    assert set(heuristics.RULES) <= set(problem.baselines) <= {*heuristics.RULES, CP_SAT}
    for rule, (_, own_placement, _) in heuristics.RULES.items():
        design = problem.baselines[rule]()
        assert sorted(design) == list(range(60))
        assert design == problem.baselines[rule]()
        peak = (heuristics.rule_offsets(instance, rule) + instance.sizes).max()
        reached = problem.evaluate(design).objective[0]
        if own_placement == placement:
            assert reached == peak
        elif placement == "first_fit":
            assert reached <= peak


@pytest.mark.skipif(not solver.is_available(), reason="OR-Tools is not installed")
def test_the_solvers_baseline_reaches_the_optimum_of_a_perfect_instance():
    problem = make_problem(instance="perfect_60_s1")
    design = problem.baselines[CP_SAT]()
    assert problem.evaluate(design).objective[0] == problem.bound.value


def test_without_or_tools_there_is_no_solver_among_the_baselines(monkeypatch):
    monkeypatch.setattr(solver, "is_available", lambda: False)
    assert set(design_makers(generate(SMALL), "first_fit")) == set(heuristics.RULES)


def test_core_instances_can_be_made_and_the_facts_cover_them():
    facts = dict(SCENARIO.facts())
    assert [row["instance"] for row in facts["Instances"]] == list(GENERATED)
    assert [options["instance"] for options in SCENARIO.core_instances()] == list(GENERATED)
    assert [row["rule"] for row in facts["Heuristics"]] == list(heuristics.RULES)
    for options in SCENARIO.core_instances():
        assert dsegym.make_problem(ALLOCATION, **options).options == options


# --- Options and files ------------------------------------------------------------------------------------------------


def test_a_file_is_an_instance_and_an_edited_one_is_read_again(table):
    problem = make_problem(instance=table)
    assert len(problem.space) == 4
    assert problem.bound.value == 14.0
    assert problem.evaluate(problem.reference.design).metrics.fits[0]
    with open(table, "a") as file:
        file.write("e,0,9,16\n")
    assert make_problem(instance=table).bound.value == 30.0


def test_a_file_with_the_offsets_of_a_perfect_packing_has_a_known_optimum(tmp_path):
    path = tmp_path / "solved.12.csv"
    path.write_text("id,lower,upper,size,offset\na,0,2,4,8\nb,0,1,8,0\nc,1,2,8,0\n")
    problem = make_problem(instance=str(path))
    assert (problem.bound.name, problem.bound.value) == ("optimum", 12.0)
    assert problem.evaluate(problem.bound.design).objective[0] == 12.0


def test_the_capacity_decides_what_fits_and_nothing_else():
    capacity = generate(SMALL).capacity
    own, tight, wide = (make_problem(capacity=text) for text in ("own", str(capacity - 1), str(4 * capacity)))
    designs = own.space.sample(np.random.default_rng(0), 50)
    np.testing.assert_array_equal(own.evaluate(designs).objective, tight.evaluate(designs).objective)
    assert not tight.evaluate(own.bound.design).metrics.fits[0]
    assert own.evaluate(own.bound.design).metrics.fits[0]
    assert wide.evaluate(designs).metrics.fits.all()
    np.testing.assert_allclose(
        wide.evaluate(designs).metrics.peak_over_capacity * 4, own.evaluate(designs).metrics.peak_over_capacity
    )


def test_equal_capacities_are_one_instance():
    assert make_problem(capacity="2097152") is make_problem(capacity=2**21) is make_problem(capacity="2.097152e6")
    assert make_problem(capacity=2**21).options["capacity"] == "2097152"
    assert make_problem() is make_problem(capacity="own") is not make_problem(capacity=2**20)


def test_wrong_options_are_refused_with_what_exists(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'perfect_60_s1'"):
        make_problem(instance="perfekt_60_s1")
    with pytest.raises(UnknownNameError, match="first_fit, best_fit"):
        make_problem(placement="worst_fit")
    for capacity in ("0", "-1", "1.5", 2**48, "much"):
        with pytest.raises(
            (UnknownNameError, InvalidOptionError), match=r"capacity.*own.*whole number of bytes from 1"
        ):
            make_problem(capacity=capacity)
    with pytest.raises(UnknownNameError, match=r"the path of a table of buffers"):
        make_problem(instance="table")
    with pytest.raises(InvalidWorkloadError, match="more than the capacity 1024"):
        make_problem(capacity="1024")
    with pytest.raises(InvalidWorkloadError, match="there is no such file"):
        gymnasium.make(ALLOCATION, instance=str(tmp_path / "none.12.csv"))
    bad = tmp_path / "bad.12.csv"
    bad.write_text("id,lower,upper,size\na,0,4,nan\n")
    with pytest.raises(InvalidWorkloadError, match=r"bad\.12\.csv', line 2: size = 'nan'"):
        gymnasium.make_vec(ALLOCATION, num_envs=2, instance=str(bad))


# --- Pictures and parts -----------------------------------------------------------------------------------------------


@both_placements
def test_the_diagram_shows_every_buffer_where_the_model_puts_it(placement):
    problem, instance = make_problem(placement=placement), generate(SMALL)
    design = problem.space.sample(np.random.default_rng(6), 1)[0]
    picture, parts = problem.diagram(design), problem.breakdown(problem.decode(design))
    metrics = problem.evaluate(design).metrics
    assert max(box.y + box.height for box in picture.rectangles) == metrics.peak_bytes[0] == parts.totals["peak_bytes"]
    assert parts.totals["fits"] == metrics.fits[0]
    assert picture.limit == (instance.capacity, "capacity")
    for box, row, buffer in zip(picture.rectangles, parts.rows, instance.buffers, strict=True):
        assert (box.x, box.x + box.width, box.height) == (buffer.lower, buffer.upper, buffer.size)
        assert (row["buffer"], row["offset_bytes"]) == (buffer.id, box.y)
        assert (box.kind == "above the capacity") == (box.y + box.height > instance.capacity)
        assert picture.x_range[0] <= box.x
        assert box.x + box.width <= picture.x_range[1]
        assert box.y + box.height <= picture.y_range[1]
    assert f"{metrics.peak_bytes[0]:,}" in picture.title
