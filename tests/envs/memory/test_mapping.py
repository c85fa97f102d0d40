"""The memory mapping family: its Gymnasium faces, its episodes against the model, yardsticks, files and pictures."""

import itertools
from pathlib import Path

import gymnasium
import jax
import memory_cases as cases
import memory_oracle as oracle
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidOptionError, InvalidWorkloadError, UnknownNameError
from dsegym.costmodels.memory import msa, simulator
from dsegym.costmodels.memory.bounds.stored import INSTANCE as COLUMNS
from dsegym.costmodels.memory.bounds.stored import stored_rows
from dsegym.costmodels.memory.discrete import GRANULES
from dsegym.costmodels.memory.instance import discrete_program, parse_capacity
from dsegym.costmodels.memory.program import get_program, program_names, save_program
from dsegym.costmodels.memory.views import HIGHEST
from dsegym.envs.core.functional import rollout_cost
from dsegym.envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from dsegym.envs.faces.vector_env import FunctionalVectorEnv
from dsegym.envs.memory import mapping
from dsegym.envs.memory.mapping import SCENARIO, TIERS

MAPPING = "dsegym/MemoryMapping-v0"
INSTANCE = {"program": "residual_tiny", "capacity": "0.5"}
ACCESSES = 28
DROP, NO_COPY, COPY = range(3)
LANES = 16
IMAGE = 64


def make_problem(**options):
    return dsegym.make_problem(MAPPING, **{**INSTANCE, **options})


def discrete_of(problem):
    return mapping.discrete_of(problem.instance)


def discrete(program, platform, capacity, bandwidth="charged"):
    return discrete_program(program, platform, parse_capacity(capacity), bandwidth)


@pytest.fixture(scope="module")
def problem():
    return make_problem()


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """A user's program: storage in place, an output, a buffer of no bytes, and one that no fast memory holds."""
    buffers = {"x": 3000, "w": 4096, "none": 0, "huge": 2**28, "c": (2048, 0), "d": (2048, 0), "y": (5000, "live_out")}
    program = cases.small_program(
        buffers,
        [(10**6, ["x", "w"], ["c"]), (0, ["none", "huge"], []), (10**5, ["c"], ["d"]), (0, ["d", "w", "x"], ["y"])],
    )
    path = tmp_path_factory.mktemp("programs") / "by_hand.jsonl"
    save_program(program, path)
    return str(path)


def play_vector(problem, choose):
    """One episode in each lane: (final info, summed rewards, actions [steps, lanes], masks [steps, lanes, 3])."""
    env = FunctionalVectorEnv(problem, LANES)
    observation, info = env.reset(seed=0)
    total, actions, masks = np.zeros(LANES), [], []
    for step in range(len(problem.space)):
        assert observation in env.observation_space
        masks.append(info["action_mask"])
        actions.append(choose(info["action_mask"]))
        observation, reward, terminated, truncated, info = env.step(actions[-1])
        total += reward
        assert not truncated.any()
        assert terminated.all() == terminated.any() == (step == len(problem.space) - 1)
    return info["final_info"], total, np.array(actions), np.array(masks)


# --- Interfaces -------------------------------------------------------------------------------------------------------


def test_the_scenario_is_registered_and_covers_every_program():
    assert MAPPING in dsegym.scenario_ids()
    covered = SCENARIO.core_instances()
    assert {row["program"] for row in covered} == set(program_names())
    assert len({tuple(row.values()) for row in covered}) == len(covered)


def test_a_design_is_named_by_access_buffer_and_instruction(problem):
    program = get_program(INSTANCE["program"])
    assert len(problem.space) == ACCESSES == len(program.accesses)
    for number, (name, access) in enumerate(zip(problem.space.names, program.accesses, strict=True)):
        direction = "write" if access.is_output else "read"
        assert name == f"{number}:{direction}:{program.buffers[access.buffer].name}"
    assert set(problem.decode(np.full(ACCESSES, COPY)).values()) == {"copy"}


# --- Episodes ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_episode_returns_what_the_latency_says_and_counts_what_is_illegal(problem):
    generator, discrete = np.random.default_rng(1), discrete_of(problem)
    final, total, actions, masks = play_vector(problem, lambda mask: generator.integers(0, 3, LANES))
    allowed = np.take_along_axis(masks, actions[..., None], -1)[..., 0].astype(bool)
    np.testing.assert_array_equal(final["illegal_actions"], np.sum(~allowed, axis=0))
    assert final["illegal_actions"].min() > 0
    np.testing.assert_array_equal(final["design"], np.where(allowed, actions, DROP).T)
    np.testing.assert_allclose(total, 1.0 - final["objective"] / discrete.all_slow_s, atol=1e-5)
    for asked in (final["design"], actions.T):
        result = problem.evaluate(asked)
        np.testing.assert_array_equal(result.objective.astype(np.float32), final["objective"])
        assert result.feasible.all()
    np.testing.assert_array_equal(result.metrics.illegal_actions, final["illegal_actions"])
    assert not problem.evaluate(final["design"]).metrics.illegal_actions.any()
    for lane in range(LANES):
        expected = oracle.simulate(discrete, actions[:, lane])
        assert expected.illegal_actions == final["illegal_actions"][lane]
        assert expected.latency_ticks * discrete.tick_s == pytest.approx(final["objective"][lane], rel=1e-6)
        assert result.metrics.stall_s[lane] == pytest.approx(expected.stall_ticks * discrete.tick_s, rel=1e-6)
        assert result.metrics.speedup[lane] == pytest.approx(discrete.all_slow_ticks / expected.latency_ticks, rel=1e-6)


@pytest.mark.slow
def test_legal_actions_count_as_none_illegal(problem):
    generator = np.random.default_rng(2)
    final, _, actions, _ = play_vector(
        problem, lambda mask: np.array([generator.choice(np.flatnonzero(lane)) for lane in mask])
    )
    assert not final["illegal_actions"].any()
    np.testing.assert_array_equal(final["design"], actions.T)


def test_an_illegal_action_of_a_single_environment_is_a_drop(problem):
    env = FunctionalGymnasiumEnv(problem)
    _, info = env.reset(seed=0)
    assert info["action_mask"].tolist()[NO_COPY] == 0
    rewards = []
    for _ in range(ACCESSES):
        assert "illegal_actions" not in info
        asked = int(
            np.argmin(info["action_mask"])
        )  # the first that is not legal; there always is one but for some outputs
        _, reward, terminated, _, info = env.step(asked)
        rewards.append(reward)
    assert terminated
    assert info["illegal_actions"] > ACCESSES // 2
    assert env.reset()[1].keys() == {"action_mask"}


def test_single_and_vector_environment_agree_step_by_step_over_episodes(problem):
    generator = np.random.default_rng(3)
    vector, singles = FunctionalVectorEnv(problem, LANES), [FunctionalGymnasiumEnv(problem) for _ in range(2)]
    observation, info = vector.reset(seed=1)
    for lane, env in enumerate(singles):
        alone, alone_info = env.reset(seed=lane)
        np.testing.assert_allclose(alone, observation[lane], rtol=1e-6)
    ended = 0
    for _ in range(2 * ACCESSES + 5):
        actions = generator.integers(0, 3, LANES)
        observation, reward, terminated, _, info = vector.step(actions)
        for lane, env in enumerate(singles):
            alone, alone_reward, alone_terminated, _, alone_info = env.step(actions[lane])
            assert alone_terminated == terminated[lane]
            assert alone_reward == pytest.approx(reward[lane], rel=1e-6)
            if alone_terminated:
                ended += 1
                np.testing.assert_allclose(alone, info["final_obs"][lane], rtol=1e-6)
                for key in ("design", "objective", "feasible", "illegal_actions"):
                    np.testing.assert_array_equal(alone_info[key], info["final_info"][key][lane])
                alone, alone_info = env.reset()
            np.testing.assert_allclose(alone, observation[lane], rtol=1e-6)
            np.testing.assert_array_equal(alone_info["action_mask"], info["action_mask"][lane])
    assert ended == 4


@pytest.mark.slow
def test_episodes_rolled_out_are_the_cost_function(problem):
    plans = problem.space.sample(np.random.default_rng(4), 16)
    rolled = jax.jit(jax.vmap(rollout_cost(problem.functional_env()), in_axes=(0, None)))(plans, problem.params)
    np.testing.assert_array_equal(np.asarray(rolled.objective, np.float64), problem.evaluate(plans).objective)


# --- Observations -----------------------------------------------------------------------------------------------------


def picture_by_oracle(game, discrete, number):
    """The image [3, instructions, stretches of addresses] from the oracle's game before a decision."""
    a = discrete.arrays
    length, now, mean = len(a.compute), int(a.instruction[number]), discrete.all_slow_ticks / len(a.compute)
    busy, use = np.full(GRANULES, -1), np.full(GRANULES, -1)
    busy[int(a.capacity) :] = 2**14  # beyond the capacity nothing is free
    for stay in game.stays:
        here = slice(stay.offset, stay.offset + stay.size)
        busy[here] = np.maximum(busy[here], stay.end)
        if stay.resident:
            decided = [r for r in range(number) if a.buffer[r] == stay.buffer]
            use[here] = a.next_use[decided[-1]]
    image = np.zeros((3, IMAGE, IMAGE))
    for row, time in enumerate(range(now - IMAGE // 2, now + IMAGE // 2)):
        if 0 <= time < length:
            taken = busy >= time
            image[0, row] = taken.reshape(IMAGE, -1).mean(1)
            image[1, row] = ((use >= time) & ~taken).reshape(IMAGE, -1).mean(1)
            image[2, row] = min(game.idle(time) / mean, 10.0)
    return image


@pytest.mark.slow
@pytest.mark.parametrize("which", ["shipped", "by hand"])
def test_the_image_shows_what_is_taken_reserved_and_idle(which, request):
    options = {} if which == "shipped" else {"program": request.getfixturevalue("by_hand"), "capacity": "12KiB"}
    problem = make_problem(**options)
    discrete = discrete_of(problem)
    env, game = FunctionalGymnasiumEnv(problem, "image"), oracle.Game(discrete)
    observation, info = env.reset(seed=0)
    taken = reserved = 0
    for number in range(len(problem.space)):
        assert observation in env.observation_space
        image = observation["image"]
        assert (image.shape, image.dtype) == ((3, IMAGE, IMAGE), np.uint8)
        shares = picture_by_oracle(game, discrete, number) / np.array([1, 1, HIGHEST])[:, None, None]
        np.testing.assert_allclose(image, 255 * shares, atol=0.501)  # rounded to whole numbers
        inside = image[:2, :, : int(discrete.arrays.capacity) * IMAGE // GRANULES]
        taken, reserved = taken + inside[0].any(), reserved + inside[1].any()
        assert info["action_mask"].tolist() == list(map(int, game.legal()))
        action = NO_COPY if info["action_mask"][NO_COPY] else COPY
        observation, _, terminated, _, info = env.step(action)
        game.step(action)
    assert terminated
    assert observation in env.observation_space
    assert taken > 0
    assert reserved > 0


def test_the_observation_tells_accesses_to_come_and_where_their_tensors_are(problem):
    env, discrete = FunctionalGymnasiumEnv(problem), discrete_of(problem)
    behind, ahead, count = 4, 16, 21
    observation, _ = env.reset(seed=0)
    features = (len(observation) - 16) // count - 2
    game, generator = oracle.Game(discrete), np.random.default_rng(6)
    seen = 0
    for number in range(ACCESSES):
        resident = observation[count * features :][:count]
        in_slow = observation[count * (features + 1) :][:count]
        for place, access in enumerate(range(number - behind, number + ahead + 1)):
            if 0 <= access < ACCESSES:
                buffer = int(discrete.arrays.buffer[access])
                assert resident[place] == (buffer in game.resident)
                assert in_slow[place] == (buffer in game.slow_from)
                seen += resident[place]
        values = observation[-16:]
        np.testing.assert_allclose(values[-8:-5], game.legal())
        np.testing.assert_allclose(values[-5], number / ACCESSES, rtol=1e-6)
        np.testing.assert_allclose(values[-4], game.latency / discrete.all_slow_ticks, rtol=1e-6)
        np.testing.assert_allclose(values[-3], game.stall / discrete.all_slow_ticks, rtol=1e-6, atol=1e-9)
        action = int(generator.integers(0, 3))
        observation = env.step(action)[0]
        game.step(action)
    assert seen > 0


# --- Spaces, yardsticks and options -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_default_knobs_cost_exactly_what_the_reference_costs(problem):
    tuned = make_problem(space="msa")
    assert tuple(tuned.decode(tuned.reference.design).values()) == tuple(msa.DEFAULTS)
    assert tuned.reference.value == problem.reference.value
    assert tuned.bound == problem.bound
    assert tuned.evaluate(tuned.reference.design).objective[0] == tuned.reference.value
    assert problem.evaluate(problem.reference.design).objective[0] == problem.reference.value
    assert tuned.baselines["msa_like"]() == tuned.reference.design
    assert problem.baselines["msa_like"]() == problem.reference.design


@pytest.mark.slow
def test_every_baseline_is_a_design_no_faster_than_the_bound(problem):
    designs = np.array([make() for make in problem.baselines.values()])
    objective = problem.evaluate(designs).objective
    assert objective.min() >= problem.bound.value * (1 - 1e-6)
    assert objective[list(problem.baselines).index("all_slow")] == pytest.approx(
        discrete_of(problem).all_slow_s, rel=1e-6
    )


def test_the_breakdown_of_a_plan_adds_up_to_its_latency(problem):
    plan = problem.baselines["greedy"]()
    parts = problem.breakdown(problem.decode(plan))
    latency_us = problem.evaluate(np.array(plan)).objective[0] * 1e6
    assert parts.totals["latency_us"] == pytest.approx(latency_us, rel=1e-6)
    rows = [row["all_slow_us"] - row["saved_us"] for row in parts.rows]
    assert sum(rows) == pytest.approx(latency_us, rel=1e-6)


@pytest.mark.parametrize(
    ("capacity", "expected", "text"),
    [
        ("16MiB", 2**24, "16MiB"),
        ("16 MiB", 2**24, "16MiB"),
        ("16777216B", 2**24, "16MiB"),
        ("1.5 MiB", 3 * 2**19, "1536KiB"),
        ("2048B", 2048, "2KiB"),
        ("64KiB", 2**16, "64KiB"),
        ("platform", 2**27, "platform"),
    ],
)
def test_a_capacity_is_a_size_or_the_platforms_and_equal_ones_have_one_text(capacity, expected, text):
    instance = discrete("residual_tiny", "tpu_v4i", capacity)
    assert SCENARIO.resolve({"capacity": capacity})["capacity"] == text
    assert SCENARIO.resolve({"capacity": text})["capacity"] == text
    assert int(instance.arrays.capacity) * instance.granule_bytes == expected


@pytest.mark.parametrize("equal", [("16MiB", "16 MiB", "16777216B"), ("0.5", 0.5, ".50", "5e-1"), (1, "1", 1.0)])
def test_equal_capacities_are_one_instance(equal):
    assert len({make_problem(capacity=capacity) for capacity in equal}) == 1


@pytest.mark.parametrize("share", [*TIERS, 0.3])
def test_a_capacity_is_a_share_of_the_activation_peak(share):
    program = get_program("llama_block")
    instance = discrete("llama_block", "tpu_v4i", share)
    held = int(instance.arrays.capacity) * instance.granule_bytes
    assert 0 <= share * program.activation_peak_bytes - held < instance.granule_bytes + 1
    assert SCENARIO.resolve({"capacity": share})["capacity"] == str(share)


def test_elements_are_as_wide_as_the_platforms():
    narrow, wide = (discrete("mlp_mixer", platform, "0.25").program for platform in ("ethos_u85_high", "tpu_v4i"))
    assert [2 * buffer.bytes for buffer in narrow.buffers] == [buffer.bytes for buffer in wide.buffers]
    assert narrow.flops == wide.flops


@pytest.mark.slow
def test_a_users_program_is_played_and_read_again_when_it_changes(by_hand, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(Path(by_hand).read_text())
    problem = make_problem(program=str(path), capacity="12KiB")
    assert problem is make_problem(program=str(path), capacity="12KiB")
    assert problem.reference.value >= problem.bound.value * (1 - 1e-6)
    path.write_text(path.read_text().replace('"flops": 1000000', '"flops": 100000000000'))
    assert make_problem(program=str(path), capacity="12KiB").bound.value > problem.bound.value


def test_tensors_that_no_fast_memory_holds_can_only_be_dropped(by_hand):
    problem = make_problem(program=by_hand, capacity="12KiB")
    env = FunctionalGymnasiumEnv(problem, "image")
    _, info = env.reset(seed=0)
    masks = {}
    for name in problem.space.names:
        masks[name.partition(":")[2]] = info["action_mask"].tolist()
        info = env.step(NO_COPY if info["action_mask"][NO_COPY] else COPY)[-1]
    assert masks["read:none"] == masks["read:huge"] == [1, 0, 0]
    assert masks["read:x"] != [1, 0, 0]
    assert masks["write:c"] == [1, 1, 1]
    assert masks["write:d"] == [1, 1, 0]


def test_idle_bandwidth_forbids_copies_that_would_stall():
    charged, idle = (make_problem(bandwidth=name) for name in ("charged", "idle"))
    copies = np.full(len(charged.space), COPY)
    assert idle.evaluate(copies).metrics.illegal_actions[0] > charged.evaluate(copies).metrics.illegal_actions[0]
    assert idle.evaluate(copies).metrics.stall_s[0] < charged.evaluate(copies).metrics.stall_s[0]


# --- Errors -----------------------------------------------------------------------------------------------------------


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'mlp_train'"):
        make_problem(program="mlp_trian")
    with pytest.raises(UnknownNameError, match="Did you mean 'ethos_u85_high'"):
        make_problem(platform="ethos_u85_hihg")
    with pytest.raises(UnknownNameError, match="Did you mean 'charged'"):
        make_problem(bandwidth="charge")
    with pytest.raises(UnknownNameError, match="the path of a file"):
        make_problem(program="mine")


@pytest.mark.parametrize(
    "capacity",
    [
        "lots",
        "0",
        "-1",
        "nan",
        "inf",
        "",
        "16 megabytes",
        "MiB",
        "-2MiB",
        "1e999",
        True,
        -0.5,
        "0.2_5",
        "\u0661",
        "\u0661MiB",
    ],
)
def test_a_capacity_that_is_none_is_refused(capacity):
    with pytest.raises((UnknownNameError, InvalidOptionError), match=r"capacity.*platform.*16MiB"):
        make_problem(capacity=capacity)


@pytest.mark.parametrize("capacity", ["0MiB", "0.0KiB", "100B"])
def test_a_capacity_of_no_granule_is_refused(capacity):
    with pytest.raises(DsegymError, match="holds no granule"):
        make_problem(capacity=capacity)


HEADER = '{"program": "mine"}\n{"buffer": "x", "bytes": 64, "kind": "parameter"}\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"buffer": "y", "bytes": NaN, "kind": "parameter"}', "NaN"),
        ('{"buffer": "y", "bytes": -1, "kind": "parameter"}', "-1 bytes"),
        ('{"buffer": "y", "bytes": 1.5, "kind": "parameter"}', "'bytes' is 1.5"),
        ('{"buffer": "y", "bytes": 8, "kind": "weight"}', "'weight'"),
        ('{"instruction": "i", "flops": Infinity, "reads": [["x", 64]], "writes": []}', "Infinity"),
        ('{"instruction": "i", "flops": 1, "reads": [["x", 65]], "writes": []}', "65 bytes of 'x'"),
        ('{"instruction": "i", "flops": 1, "reads": [["z", 64]], "writes": []}', "'z'"),
        ('{"instruction": "i", "flops": 1, "reads": [["x", 64]]', "line 3 is not JSON"),
        ('{"instruction": "i", "flop": 1, "reads": [], "writes": []}', "Did you mean 'flops'"),
    ],
)
def test_a_wrong_line_of_a_users_program_is_named(tmp_path, line, said):
    path = tmp_path / "wrong.jsonl"
    path.write_text(HEADER + line + "\n")
    with pytest.raises(InvalidWorkloadError, match=r"wrong\.jsonl[,:] line 3") as caught:
        make_problem(program=str(path))
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidWorkloadError, match=r"nowhere\.jsonl"):
        make_problem(program=str(tmp_path / "nowhere.jsonl"))


# --- Pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["reference", "greedy", "pin_by_benefit"])
def test_a_diagram_lies_in_its_ranges_and_no_two_rectangles_overlap(problem, name):
    plan = problem.reference.design if name == "reference" else problem.baselines[name]()
    diagram = problem.diagram(np.array(plan))
    discrete = discrete_of(problem)
    assert diagram.x_range == (0.0, len(discrete.program.instructions))
    assert diagram.limit[0] == diagram.y_range[1]
    assert len(diagram.rectangles) > 0
    for one in diagram.rectangles:
        assert one.width > 0
        assert one.height > 0
        assert diagram.x_range[0] <= one.x
        assert one.x + one.width <= diagram.x_range[1]
        assert diagram.y_range[0] <= one.y
        assert one.y + one.height <= diagram.y_range[1] * (1 + 1e-9)
        assert any(buffer.name in one.label for buffer in discrete.program.buffers)
    for one, other in itertools.combinations(diagram.rectangles, 2):
        apart = one.x >= other.x + other.width or other.x >= one.x + one.width
        slack = 1e-9 * diagram.y_range[1]
        assert apart or one.y >= other.y + other.height - slack or other.y >= one.y + one.height - slack
    latency_us = problem.evaluate(np.array(plan)).objective[0] * 1e6
    assert diagram.title.startswith(f"{latency_us:,.1f} us")


def test_the_knobs_diagram_is_that_of_their_plan(problem):
    tuned = make_problem(space="msa")
    ours, theirs = tuned.diagram(np.array(tuned.reference.design)), problem.diagram(np.array(problem.reference.design))
    assert ours == theirs


def test_a_plan_is_rendered_as_it_stands():
    env = gymnasium.make(MAPPING, **INSTANCE, render_mode="rgb_array")
    env.reset(seed=0)
    empty = env.render()
    assert (empty.dtype, empty.ndim, empty.shape[2]) == (np.uint8, 3, 3)
    info = {"action_mask": [1, 0, 1]}
    for _ in range(ACCESSES - 1):
        info = env.step(NO_COPY if info["action_mask"][NO_COPY] else COPY)[-1]
    later = env.render()
    assert later.shape == empty.shape
    assert (later != empty).any()


# --- The table of yardsticks ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table():
    rows = stored_rows()
    assert rows
    return rows


def test_no_stored_reference_is_faster_than_its_bound(table):
    for key, row in table.items():
        bound, reference, slow = (int(row[f"{name}_ticks"]) for name in ("bound", "reference", "all_slow"))
        assert 0 < bound <= reference, key
        assert bound <= slow, key
        assert int(row["linear_ticks"]) <= bound, key
        assert row["proven"] in ("yes", "no"), key


def test_stored_instances_are_those_that_the_scenario_covers(table):
    covered = {tuple(row[name] for name in COLUMNS) for row in SCENARIO.core_instances()}
    assert set(table) <= covered


@pytest.mark.parametrize(
    "shape",
    [pytest.param(shape, marks=[pytest.mark.slow] * (shape != cases.SHAPES[0])) for shape in cases.SHAPES],
    ids=str,
)
def test_a_stored_reference_plan_costs_what_is_stored(table, shape):
    """Of the instances that are filled up to a shape, so that they share compiled code."""
    play = jax.jit(lambda arrays, plan: simulator.play(arrays, plan).latency)
    for key, row in table.items():
        program = get_program(key[0])
        sizes = len(program.instructions), len(program.buffers) + 1, len(program.accesses)
        if next(shape for shape in cases.SHAPES if np.all(np.array(sizes) <= shape)) != shape:
            continue
        instance = discrete(*key)
        plan = [int(action) for action in row["reference_plan"]]
        assert len(plan) == len(instance.arrays.buffer), key
        assert instance.all_slow_ticks == int(row["all_slow_ticks"]), key
        latency = play(cases.padded(instance.arrays, *shape), cases.padded_plan(plan, shape[-1]))
        assert int(latency) == int(row["reference_ticks"]), key
