"""The zoo, instances in larger shapes than their own, and the collections of both."""

import functools
import re

import jax
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, UnknownNameError
from dsegym.costmodels.memory.models.zoo import ARCHITECTURES, MOST_ACCESSES, zoo_program
from dsegym.costmodels.memory.program import save_program
from dsegym.envs.core.collections import SPLITS, load_collection
from dsegym.envs.core.functional import rollout_cost
from dsegym.envs.core.stepping import lane_keys, reset_lanes, step_lanes

MAPPING = "dsegym/MemoryMapping-v0"
SMALL = load_collection("memory-zoo-small")
LARGER = {"instructions": 70, "buffers": 120, "accesses": 210}


# --- Padding ----------------------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=0)
def begun(env, params):
    """The first state, and what a player sees of it."""
    state = env.start(jax.random.key(0), params)
    return state, (env.observation(state, params), env.action_mask(state, params))


@functools.partial(jax.jit, static_argnums=0)
def moved(env, state, action, params):
    """The next state and all that a player may learn of it."""
    after = env.advance(state, action, params)
    return after, {
        "observation": env.observation(after, params),
        "mask": env.action_mask(after, params),
        "reward": env.reward(state, after, params),
        "over": env.over(after, params),
        "final": env.final_info(after, params),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "form"),
    [
        ({"program": "residual_tiny", "capacity": "0.5"}, "sequential"),
        ({"program": "mlp_train_donated", "capacity": "0.1", "bandwidth": "idle"}, "sequential"),
        ({"program": "gqa_decode", "platform": "ethos_u85_high"}, "sequential"),
        ({"program": "zoo/mixture/2", "platform": "a100_l2", "capacity": "0.3"}, "image"),
    ],
)
def test_an_episode_in_a_larger_shape_is_the_episode_bit_for_bit(options, form):
    problem = dsegym.make_problem(MAPPING, **options)
    env, params, count = problem.functional_env(form), problem.env_params(form), len(problem.space)
    assert env.sizes(params)["accesses"] == count
    larger, padded = env.padded(params, LARGER)
    assert larger.horizon == LARGER["accesses"]
    generator = np.random.default_rng(0)
    (own, seen), (other, same) = begun(env, params), begun(larger, padded)
    jax.tree.map(np.testing.assert_array_equal, same, seen)
    mask, total, final, design = np.asarray(seen[1]), 0.0, {}, np.zeros(0)
    for number in range(count):
        legal = np.flatnonzero(mask)
        action = int(generator.choice(legal)) if number % 7 else int(generator.integers(3))
        own, expected = moved(env, own, action, params)
        other, found = moved(larger, other, action, padded)
        final, design = found["final"], np.asarray(found["final"].pop("design"))
        np.testing.assert_array_equal(design[:count], expected["final"].pop("design"))
        assert not design[count:].any()
        jax.tree.map(np.testing.assert_array_equal, found, expected)
        assert bool(found["over"]) == (number == count - 1)
        mask, total = np.asarray(found["mask"]), total + float(found["reward"])
    assert design.any()
    assert final["illegal_actions"] > 0
    assert problem.evaluate(design[:count]).objective[0].astype(np.float32) == final["objective"]
    assert total == pytest.approx(1.0 - float(final["objective"] / (params.all_slow * params.tick_s)), abs=1e-5)


def test_what_is_done_after_the_end_leaves_the_design_as_it_is():
    problem = dsegym.make_problem(MAPPING, program="mlp_tiny")
    env, params = problem.functional_env().padded(problem.env_params(), LARGER)
    state, _ = begun(env, params)
    for _ in range(len(problem.space) + 3):
        state, _ = moved(env, state, 1, params)
    assert not np.asarray(state.design)[len(problem.space) :].any()
    assert np.asarray(moved(env, state, 1, params)[1]["mask"]).tolist() == [True, False, False]


@pytest.mark.slow
def test_a_plan_rolled_out_in_a_larger_shape_costs_what_it_costs():
    problem = dsegym.make_problem(MAPPING, program="mlp_tiny", capacity="0.5")
    env, params = problem.functional_env().padded(problem.env_params(), LARGER)
    plan = np.random.default_rng(3).integers(0, 3, (8, LARGER["accesses"]), np.int32)
    costs = jax.jit(jax.vmap(rollout_cost(env), in_axes=(0, None)))(plan, params)
    expected = problem.evaluate(plan[:, : len(problem.space)])
    np.testing.assert_array_equal(costs.objective, expected.objective.astype(np.float32))


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_makes_varied_programs_that_are_short_enough(architecture):
    programs = [zoo_program(f"zoo/{architecture}/{seed}") for seed in (0, 1, 2, 3)]
    assert all(8 <= len(program.accesses) <= MOST_ACCESSES for program in programs)
    assert len({program.summary for program in programs}) == len(programs)
    assert len({program.bytes_moved for program in programs}) > 1


def test_a_program_of_the_zoo_is_its_name(tmp_path):
    first = zoo_program("zoo/decoding/17")
    zoo_program.cache_clear()
    again = zoo_program("zoo/decoding/17")
    assert first == again
    assert first is not again
    save_program(first, tmp_path / "copy.jsonl")
    plan = np.full(len(first.accesses), 2)
    named, copied = (
        dsegym.make_problem(MAPPING, program=program).evaluate(plan).objective
        for program in ("zoo/decoding/17", str(tmp_path / "copy.jsonl"))
    )
    np.testing.assert_array_equal(named, copied)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("zoo/transfomer/1", UnknownNameError, "architecture of the zoo 'transfomer'.*Did you mean 'transformer'"),
        ("zoo/", UnknownNameError, "architecture of the zoo ''"),
        ("zoo/mixer", DsegymError, "no program of the zoo; write zoo/mixer/SEED"),
        ("zoo/mixer/", DsegymError, "no program of the zoo"),
        ("zoo/mixer/-1", DsegymError, "whole number from 0 to 2147483647, such as zoo/mixer/17"),
        ("zoo/mixer/017", DsegymError, "no program of the zoo"),
        ("zoo/mixer/1.0", DsegymError, "no program of the zoo"),
        ("zoo/mixer/2147483648", DsegymError, "no program of the zoo"),
        ("zoo/mixer/1/2", DsegymError, "no program of the zoo"),
        ("zoo/mixer/\u0661", DsegymError, "no program of the zoo"),
    ],
)
def test_a_name_of_no_program_is_one_sentence(name, error, said):
    with pytest.raises(error, match=said) as caught:
        dsegym.make_problem(MAPPING, program=name)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_called_as_a_program_of_the_zoo_is_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo" / "mixer").mkdir(parents=True)
    save_program(zoo_program("zoo/graph/0"), tmp_path / "zoo" / "mixer" / "3")
    count = len(zoo_program("zoo/graph/0").accesses)
    assert len(dsegym.make_problem(MAPPING, program="zoo/mixer/3").space) == count
    monkeypatch.chdir("/")
    assert len(dsegym.make_problem(MAPPING, program="zoo/mixer/3").space) != count


@pytest.mark.slow
def test_rules_answer_on_a_program_of_the_zoo():
    problem = dsegym.make_problem(MAPPING, program="zoo/recurrent/6", capacity="0.2")
    assert problem.options["program"] == "zoo/recurrent/6"
    values = [float(problem.evaluate(make()).objective[0]) for make in problem.baselines.values()]
    assert problem.bound.value <= min(values) <= problem.reference.value


# --- Collections ------------------------------------------------------------------------------------------------------


def architectures(collection, split):
    programs = [str(options["program"]) for options in collection.options(split)]
    return {re.sub(r"^zoo/(\w+)/\d+$", r"\1", program) for program in programs}


@pytest.mark.parametrize(("name", "counts"), [("memory-zoo", (200, 20, 30)), ("memory-zoo-small", (24, 6, 8))])
def test_programs_of_the_test_part_have_other_architectures(name, counts):
    collection = load_collection(name)
    assert tuple(len(collection.options(split)) for split in SPLITS) == counts
    assert architectures(collection, "validation") <= architectures(collection, "train")
    assert not architectures(collection, "train") & architectures(collection, "test")
    assert all(collection.options(split) == collection.options(split) for split in SPLITS)


@pytest.mark.parametrize("split", SPLITS)
def test_the_small_collection_fits_its_shape_and_has_something_to_decide(split):
    made = SMALL.padded(split)
    assert made.env.horizon == SMALL.sizes["accesses"]
    assert made.params.arrays.compute.shape == (len(made.problems), SMALL.sizes["instructions"])
    for problem, count in zip(made.problems, made.params.decisions, strict=True):
        assert len(problem.space) == count
        assert int(problem.params.start.latency) > problem.params.arrays.compute.sum()


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("memory-zoo", marks=pytest.mark.minutes), "memory-zoo-small"])
def test_every_test_instance_can_be_scored(name):
    for problem in load_collection(name).problems("test"):
        assert not problem.obstacle, problem.name


@pytest.mark.slow
def test_lanes_of_the_small_collection_end_when_their_own_programs_do():
    env, params = SMALL.environment("test")
    lanes, _, mask = reset_lanes(env, lane_keys(range(32)), params)
    step = jax.jit(lambda lanes, actions: step_lanes(env, lanes, actions, params))
    generator, lengths = np.random.default_rng(0), np.zeros(32, int)
    problems = SMALL.problems("test")
    ended = 0
    for _ in range(SMALL.sizes["accesses"]):
        actions = np.array([generator.choice(np.flatnonzero(row)) for row in np.asarray(mask)], np.int32)
        lanes, found = step(lanes, actions)
        mask, lengths = found.action_mask, lengths + 1
        for lane in np.flatnonzero(found.terminal):
            problem = problems[int(found.step_info["instance"][lane])]
            assert lengths[lane] == len(problem.space)
            assert found.final_info["illegal_actions"][lane] == 0
            design = np.asarray(found.final_info["design"][lane])[: lengths[lane]]
            objective = problem.evaluate(design).objective[0].astype(np.float32)
            np.testing.assert_allclose(found.final_info["objective"][lane], objective, rtol=1e-6)
            ended, lengths[lane] = ended + 1, 0
    assert ended >= 32
