"""The simulator of the memory-mapping game against the plain Python one, and what must hold of plans and heuristics.

Compilation takes longer than everything else, so that cases are filled up to a few shapes (`memory_cases.padded`,
`padded_program`).
"""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import memory_cases as cases
import memory_oracle as oracle
import numpy as np
import pytest

from dsegym.costmodels.memory import msa, simulator
from dsegym.costmodels.memory.discrete import NONE, discretise
from dsegym.costmodels.memory.heuristics import HEURISTICS, heuristic_plan, msa_like
from dsegym.costmodels.memory.models import PROGRAMS
from dsegym.costmodels.memory.picture import stays
from dsegym.costmodels.memory.platforms import get_platform
from dsegym.costmodels.memory.program import get_program, program_names
from dsegym.costmodels.memory.tracer import trace

DROP, NO_COPY, COPY = oracle.DROP, oracle.NO_COPY, oracle.COPY
GREEDY, LEGAL = -1, -2  # entries of a plan: NoCopy, else Copy, else Drop; NoCopy, else Drop

RULES = [name for name in HEURISTICS if name != "msa_like"]
LARGE = {"lstm", "lstm_train", "resnet50_forward", "resnet_train", "strassen", "transformer_train"}
# The others are filled up to shapes that compile sooner, and have fewer accesses for rules to decide one by one.
every_program = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in program_names()]
)

CASE_SHAPE = (32, 96, 176)  # of random cases
CASES, LANES = 160, 40


def _play(arrays, plan):
    """The last state, and of every step the record, the mask before it, and the illegal actions and idle time after."""

    def body(state, decision):
        access, asked = decision
        place = simulator.locate(arrays, state, access)
        stay = jnp.where(place.mask[NO_COPY], NO_COPY, DROP)
        greedy = jnp.where(place.mask[NO_COPY], NO_COPY, jnp.where(place.mask[COPY], COPY, DROP))
        action = jnp.where(asked == GREEDY, greedy, jnp.where(asked == LEGAL, stay, asked))
        state, record = simulator.step(arrays, state, access, place, action)
        return state, (record, place.mask, jnp.min(jnp.diff(state.prefix)))

    decisions = simulator.accesses(arrays), jnp.asarray(plan, jnp.int32)
    state, (record, mask, least_idle) = jax.lax.scan(body, simulator.initial(arrays), decisions)
    return state, record, mask, least_idle


_play_plans = jax.jit(jax.vmap(_play, in_axes=(None, 0)))
_play_cases = jax.jit(jax.vmap(_play))


def play_plans(discrete, plans):
    """Some plans of one instance: state, record, mask and least idle time, NumPy arrays [plans, ...]."""
    return jax.tree.map(np.asarray, _play_plans(discrete.arrays, np.stack(plans).astype(np.int32)))


def lane(outcome, index):
    return jax.tree.map(lambda leaf: leaf[index], outcome)


def agrees(discrete, plan, outcome):
    """Holds one lane of the simulator's outcome against the oracle's, on the accesses that are not filled in."""
    state, record, mask, _ = outcome
    expected = oracle.simulate(discrete, plan)
    count = len(plan)
    assert int(state.latency) == expected.latency_ticks
    assert int(state.stall) == expected.stall_ticks
    assert int(state.illegal) == expected.illegal_actions
    assert record.action[:count].tolist() == expected.executed
    assert record.reward[:count].tolist() == expected.rewards_ticks
    assert mask[:count].tolist() == [list(legal) for legal in expected.masks]
    idle = np.array(expected.times_ticks) - expected.slow_ticks - expected.sold_ticks
    assert np.diff(state.prefix)[: len(idle)].tolist() == idle.tolist()
    assert not np.diff(state.prefix)[len(idle) :].any()
    assert not record.reward[count:].any()
    return expected


@functools.cache
def random_cases():
    """[(instance, plan, outcome of the simulator)]; every fourth plan asks for legal actions only."""
    instances, plans = [], []
    for seed in range(CASES):
        rng = np.random.default_rng(1000 + seed)
        instances.append(cases.random_case(rng))
        if seed % 4 == 1:
            game, plan = oracle.Game(instances[-1]), []
            while not game.over:
                plan.append(int(rng.choice(np.flatnonzero(game.legal()))))
                game.step(plan[-1])
        else:
            plan = cases.random_plan(rng, instances[-1])
        plans.append(plan)
    arrays = [cases.padded(instance.arrays, *CASE_SHAPE) for instance in instances]
    filled = [cases.padded_plan(plan, CASE_SHAPE[-1]) for plan in plans]
    outcomes = []
    for start in range(0, CASES, LANES):
        block = jax.tree.map(lambda *leaves: np.stack(leaves), *arrays[start : start + LANES])
        result = jax.tree.map(np.asarray, _play_cases(block, np.stack(filled[start : start + LANES])))
        outcomes += [lane(result, index) for index in range(LANES)]
    return list(zip(instances, plans, outcomes, strict=True))


@functools.cache
def shipped(name, capacity=0.25):
    """A shipped program on the TPU v4i, filled up to one of the shapes."""
    program = cases.padded_program(get_program(name))
    peak = program.activation_peak_bytes
    return discretise(program, get_platform("tpu_v4i"), capacity_bytes=int(capacity * peak))


# --- Against the oracle -----------------------------------------------------------------------------------------------


def test_random_cases_cost_what_the_oracle_says_to_the_tick():
    seen = dict.fromkeys(("stall", "illegal", "copies", "residents", "in place", "idle"), 0)
    for discrete, plan, outcome in random_cases():
        expected = agrees(discrete, plan, outcome)
        a = discrete.arrays
        fast = np.flatnonzero(expected.executed)
        seen["stall"] += expected.stall_ticks > 0
        seen["illegal"] += expected.illegal_actions > 0
        seen["copies"] += len(expected.copies) > 0
        seen["residents"] += bool((a.resident_offset != NONE).any())
        seen["in place"] += bool(any(a.is_output[r] and a.predecessor[a.buffer[r]] != NONE for r in fast))
        seen["idle"] += not a.stalls_allowed
    assert min(seen.values()) > 15, seen


@pytest.mark.slow
@every_program
def test_a_shipped_program_costs_what_the_oracle_says_to_the_tick(name):
    discrete = shipped(name)
    rng = np.random.default_rng(0)
    count = len(discrete.arrays.buffer)
    plans = [*(cases.random_plan(rng, discrete) for _ in range(2)), [GREEDY] * count, msa_like(discrete)]
    outcome = play_plans(discrete, plans)
    plans[2] = lane(outcome, 2)[1].action.tolist()
    for index, plan in enumerate(plans):
        agrees(discrete, plan, lane(outcome, index))


@every_program
def test_latencies_in_seconds_are_the_sum_of_each_instructions_larger_time(name):
    """Recomputed in float64 from the program; plans without copies are tensors that live and die in fast memory."""
    program, platform = cases.padded_program(get_program(name)), get_platform("tpu_v4i")
    assert program.dtype == "bfloat16"
    discrete = discretise(program, platform, capacity_bytes=3 * program.activation_peak_bytes)
    rng = np.random.default_rng(0)
    plain = [b.kind == "temporary" and not b.live_out and b.alias_group == NONE for b in program.buffers]
    pinned = [
        np.zeros(len(plain), bool),
        *(np.array(plain) & (rng.random(len(plain)) < share) for share in (0.3, 0.6, 1.0)),
    ]
    plans = [np.where(chosen[discrete.arrays.buffer], NO_COPY, DROP) for chosen in pinned]
    state, record, _, _ = play_plans(discrete, plans)
    for moved in (record.copied_in, record.copied_out, record.evicted):
        assert not moved.any()
    for index in range(len(plans)):
        expected, number = 0.0, 0
        for instruction in program.instructions:
            memory_s = 0.0
            for _, size in instruction.reads + instruction.writes:
                fast = record.action[index, number] != DROP
                memory_s += size / (platform.fast_bytes_per_s if fast else platform.slow_bytes_per_s)
                number += 1
            expected += max(instruction.flops / platform.peak_flops, memory_s)
        assert int(state.latency[index]) * discrete.tick_s == pytest.approx(expected, rel=1e-5)
    assert int(state.latency[0]) == discrete.all_slow_ticks
    assert int(state.latency[3]) <= min(map(int, state.latency))


@pytest.mark.slow
def test_what_fills_a_case_up_changes_nothing():
    discrete, plan, filled = random_cases()[0]
    plain = lane(play_plans(discrete, [plan]), 0)
    count, buffers, length = len(plan), len(discrete.arrays.granules), len(discrete.arrays.compute)
    assert len(filled[1].action) > count
    for name in simulator.Record._fields:
        np.testing.assert_array_equal(getattr(filled[1], name)[:count], getattr(plain[1], name), err_msg=name)
    np.testing.assert_array_equal(filled[2][:count], plain[2])
    for name in ("cells", "latency", "stall", "illegal"):
        np.testing.assert_array_equal(getattr(filled[0], name), getattr(plain[0], name), err_msg=name)
    for name in ("offset", "last", "slow_from"):
        np.testing.assert_array_equal(getattr(filled[0], name)[:buffers], getattr(plain[0], name), err_msg=name)
    np.testing.assert_array_equal(filled[0].prefix[: length + 1], plain[0].prefix)
    assert not filled[1].action[count:].any()


@pytest.mark.slow
def test_what_fills_a_program_up_changes_no_heuristics_plan():
    program, platform = get_program("llama_block"), get_platform("tpu_v4i")
    capacity = program.activation_peak_bytes // 4
    plain, filled = (discretise(p, platform, capacity_bytes=capacity) for p in (program, cases.padded_program(program)))
    assert (plain.all_slow_ticks, plain.tick_s) == (filled.all_slow_ticks, filled.tick_s)
    assert len(filled.arrays.buffer) > len(plain.arrays.buffer)
    for name in HEURISTICS:
        expected = heuristic_plan(name, plain)
        np.testing.assert_array_equal(heuristic_plan(name, filled)[: len(expected)], expected, err_msg=name)


# --- What must hold of every plan -------------------------------------------------------------------------------------


def test_rewards_telescope():
    for discrete, _, (state, record, _, _) in random_cases():
        assert int(record.reward.sum()) == discrete.all_slow_ticks - int(state.latency)
        assert int(record.stall.sum()) == int(state.stall)


def test_an_action_is_carried_out_exactly_if_the_mask_allows_it():
    for _, plan, (state, record, mask, _) in random_cases():
        steps = np.arange(len(plan))
        allowed = mask[steps, plan]
        np.testing.assert_array_equal(record.action[: len(plan)], np.where(allowed, plan, DROP))
        assert int(state.illegal) == np.sum(~allowed)
        assert mask[:, DROP].all()


def test_copies_never_take_more_than_is_idle():
    for _, _, (_, _, _, least_idle) in random_cases():
        assert least_idle.min() >= 0


def test_copies_that_are_asked_for_never_stall_where_only_idle_bandwidth_may_be_used():
    copies = 0
    for discrete, plan, (_, record, _, _) in random_cases():
        if not discrete.arrays.stalls_allowed:
            asked = (record.action == COPY) & (record.evicted == 0)
            copies += asked.sum()
            assert not record.stall[asked].any()
            forced = (record.evicted > 0) | record.copied_out
            assert not record.stall[~forced].any()
            assert len(plan)
    assert copies > 50


def test_everything_dropped_costs_what_slow_memory_takes():
    instances = [discrete for discrete, _, _ in random_cases()[:LANES]]
    arrays = [cases.padded(discrete.arrays, *CASE_SHAPE) for discrete in instances]
    block = jax.tree.map(lambda *leaves: np.stack(leaves), *arrays)
    state, record, _, _ = _play_cases(block, np.zeros((LANES, CASE_SHAPE[-1]), np.int32))
    np.testing.assert_array_equal(state.latency, [discrete.all_slow_ticks for discrete in instances])
    assert not np.asarray(record.reward).any()
    assert not np.asarray(state.stall).any()


def test_everything_in_fast_memory_costs_what_fast_memory_takes():
    """Room for all, parameters there at the start, nothing to write back at the end."""
    arrays, expected = [], []
    for seed in range(LANES):
        program = cases.random_program(np.random.default_rng(seed))
        buffers = tuple(replace(buffer, live_out=False, alias_group=NONE) for buffer in program.buffers)
        discrete = discretise(replace(program, buffers=buffers), cases.PLATFORM, capacity_bytes=4096)
        a = discrete.arrays
        there = a.in_slow & (a.granules > 0)
        offsets = np.where(there, np.cumsum(np.where(there, a.granules, 0)) - a.granules, NONE).astype(np.int32)
        filled = cases.padded(a._replace(resident_offset=offsets), *CASE_SHAPE)
        arrays.append(filled)
        expected.append(discrete.all_fast_ticks)
    block = jax.tree.map(lambda *leaves: np.stack(leaves), *arrays)
    state, _, _, _ = _play_cases(block, np.full((LANES, CASE_SHAPE[-1]), LEGAL, np.int32))
    np.testing.assert_array_equal(state.latency, expected)


@pytest.mark.slow
def test_a_plan_costs_the_same_in_a_batch_of_any_size():
    play = jax.jit(jax.vmap(simulator.play, in_axes=(None, 0)))
    discrete = discretise(get_program("mlp_tiny"), get_platform("tpu_v4i"), capacity_bytes=8192)
    plans = np.random.default_rng(5).integers(0, 3, (64, len(discrete.arrays.buffer)))
    whole = jax.tree.map(np.asarray, play(discrete.arrays, plans))
    assert len(np.unique(whole.latency)) > 1
    for size in (1, 7):
        part = play(discrete.arrays, plans[:size])
        jax.tree.map(np.testing.assert_array_equal, part, jax.tree.map(lambda leaf, n=size: leaf[:n], whole))


def check_stays(discrete, plan):
    """No granule is taken twice, and every stay is one that the oracle knows. The number of stays."""
    a = discrete.arrays
    residences = {
        (b, offset, size, first): last for b, offset, size, first, last in oracle.simulate(discrete, plan).residences
    }
    taken = np.full((len(a.compute), int(a.capacity)), NONE)
    found = stays(discrete, np.asarray(plan, np.int32))
    uses = 0
    for stay in found:
        assert stay.granules == a.granules[stay.buffer]
        assert stay.start <= stay.first_use <= stay.last_use <= stay.until
        first = max(stay.start, 0)
        assert residences[stay.buffer, stay.offset, stay.granules, first] >= stay.until
        there = taken[first : stay.until + 1, stay.offset : stay.offset + stay.granules]
        former = a.predecessor[stay.buffer]
        if former != NONE and (there[0] == former).all():
            there[0] = NONE  # taken over in place, within an instruction that reads the predecessor
        assert (there == NONE).all()
        there[:] = stay.buffer
        uses += stay.uses
    return len(found), uses


def test_no_two_stays_overlap():
    total = 0
    for discrete, plan, (_, record, _, _) in random_cases()[:60]:
        a = discrete.arrays
        # `stays` plays the plan itself: filled up here, so that it compiles once.
        filled = replace(discrete, arrays=cases.padded(a, *CASE_SHAPE))
        count, uses = check_stays(filled, cases.padded_plan(plan, CASE_SHAPE[-1]).tolist())
        assert uses == (record.action != DROP).sum()
        total += count
    assert total > 200


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp_train_donated", "attention_tiny"])
def test_no_two_stays_of_a_shipped_program_overlap(name):
    for bandwidth in ("charged", "idle"):
        program = cases.padded_program(get_program(name))
        capacity = program.activation_peak_bytes // 2
        discrete = discretise(program, get_platform("tpu_v4i"), capacity_bytes=capacity, bandwidth=bandwidth)
        _, record, _, _ = play_plans(discrete, [[GREEDY] * len(discrete.arrays.buffer)] * 4)
        count, uses = check_stays(discrete, record.action[0].tolist())
        assert 0 < count <= uses


# --- Heuristics -------------------------------------------------------------------------------------------------------


def latencies(discrete, names):
    """{heuristic: (ticks, illegal actions)}."""
    plans = [heuristic_plan(name, discrete) for name in names]
    for plan in plans:
        assert plan.shape == discrete.arrays.buffer.shape
        assert set(np.unique(plan)) <= {DROP, NO_COPY, COPY}
    count = -len(plans) % 4  # in fours, as other tests play them
    played = [play_plans(discrete, (plans + plans[:count])[i : i + 4])[0] for i in range(0, len(plans), 4)]
    ticks, illegal = (np.concatenate([getattr(state, field) for state in played]) for field in ("latency", "illegal"))
    return {name: (int(ticks[i]), int(illegal[i])) for i, name in enumerate(names)}


@pytest.mark.slow
@every_program
def test_every_heuristic_makes_a_plan_and_rules_ask_for_nothing_illegal(name):
    discrete = shipped(name)
    found = latencies(discrete, list(HEURISTICS))
    assert found["all_slow"] == (discrete.all_slow_ticks, 0)
    for rule in RULES:
        assert found[rule][1] == 0, rule
    assert found["frugal"][0] <= discrete.all_slow_ticks  # measured, not proven; greedy and msa_like may be slower
    best = min(ticks for ticks, _ in found.values())
    assert discrete.all_fast_ticks <= best <= discrete.all_slow_ticks
    assert (
        heuristic_plan("greedy", discrete).tolist()
        == play_plans(discrete, [[GREEDY] * len(discrete.arrays.buffer)] * 4)[1].action[0].tolist()
    )


@pytest.mark.parametrize("heuristic", HEURISTICS)
def test_a_heuristic_makes_the_same_plan_again(heuristic):
    first, again = (heuristic_plan(heuristic, shipped("llama_block")) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def knob_plans(discrete, knob, values):
    """The different plans that the heuristic like XLA's makes with some values of a knob."""
    return {msa_like(discrete, msa.DEFAULTS._replace(**{knob: value})).tobytes() for value in values}


@pytest.mark.parametrize("knob", [knob for knob in msa.Knobs._fields if knob != "min_overlap"])
def test_the_heuristic_like_xlas_responds_to_a_knob(knob):
    values = getattr(msa.KNOBS, knob)
    assert any(len(knob_plans(shipped(name), knob, values)) > 1 for name in ("unet_block", "diffusion_step"))


def test_the_heuristic_like_xlas_asks_for_a_window_of_the_least_overlap():
    # w's copy takes 0.64 s and its use in fast memory saves 0.04 s. The window, i1, lasts 0.8 s: 1.25 copies less what
    # is saved are 0.76 s, 1.5 are 0.92 s. (Up to 1 the knob asks for nothing: the copy must fit into the window.)
    hand = cases.small_program({"s": 8, "w": 64}, [(0, ["s"], []), (800, ["s"], []), (600, ["w"], [])])
    discrete = discretise(hand, cases.PLATFORM)
    values = msa.KNOBS.min_overlap
    plans = [msa_like(discrete, msa.DEFAULTS._replace(min_overlap=value)).tolist() for value in values]
    assert [plan[-1] for plan in plans] == [COPY if value <= 1.25 else DROP for value in values]


@pytest.mark.slow
def test_more_capacity_helps_where_tensors_are_reserved():
    """Soft reservations: without them, new tensors push out those that are still needed, whatever the capacity."""
    best = []
    for capacity in (0.1, 0.25, 0.5, 1.0):
        discrete = shipped("strassen", capacity)
        found = latencies(discrete, list(HEURISTICS))
        best.append(discrete.all_slow_ticks / min(ticks for ticks, _ in found.values()))
    assert best == sorted(best)
    assert best[-1] > 1.2 * best[0]


# Speed-ups over all-slow that a prototype by another hand found with its own tracer, in float32: (program, MiB) ->
# greedy, belady, pin_by_size, pin_by_benefit, msa_like, frugal. Sanity ranges: its programs are like ours, no more.
PROTOTYPE = {
    ("transformer_forward", 4): (1.120, 1.121, 1.117, 1.233, 1.116, 1.135),
    ("transformer_forward", 16): (2.130, 2.167, 2.643, 2.643, 2.608, 1.964),
    ("transformer_forward", 64): (5.058, 5.275, 5.058, 5.058, 4.980, 5.275),
    ("resnet_forward", 16): (1.158, 1.158, 1.236, 1.269, 1.264, 1.312),
    ("resnet_forward", 128): (4.816, 4.816, 4.816, 4.816, 4.961, 5.066),
    ("resnet50_forward", 16): (1.205, 1.205, 1.266, 1.375, 1.442, 1.324),
    ("resnet50_forward", 128): (3.334, 3.334, 3.334, 3.334, 3.210, 3.387),
    ("mlp_train", 16): (1.500, 1.562, 1.278, 1.424, 1.718, 1.562),
    ("mlp_train", 64): (2.025, 2.059, 2.025, 2.025, 1.815, 2.059),
    ("transformer_train", 16): (1.689, 1.689, 1.148, 1.264, 1.190, 1.695),
    ("transformer_train", 64): (2.623, 2.624, 1.929, 2.247, 2.562, 2.654),
}
FACTOR = {"forward": 1.25, "train": 1.45}  # programs whose gradients two tracers fuse differ more


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({name for name, _ in PROTOTYPE}))
def test_heuristics_gain_about_what_a_prototype_by_another_hand_gained(name):
    given = PROGRAMS[name]
    args = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float32 if leaf.dtype == jnp.bfloat16 else leaf.dtype),
        given.args,
    )
    program = cases.padded_program(trace(given.function, *args, name=name, donate=given.donate))
    assert program.dtype == "float32"
    platform = replace(get_platform("tpu_v4i"), element_bits=0)
    names = ("greedy", "belady", "pin_by_size", "pin_by_benefit", "msa_like", "frugal")
    for (of, mebibytes), expected in PROTOTYPE.items():
        if of == name:
            discrete = discretise(program, platform, capacity_bytes=mebibytes * 2**20)
            found = [discrete.all_slow_ticks / ticks for ticks, _ in latencies(discrete, names).values()]
            ratios = np.array(found) / expected
            factor = FACTOR[name.rpartition("_")[2]]
            assert (ratios < factor).all(), (mebibytes, ratios)
            assert (ratios > 1 / factor).all(), (mebibytes, ratios)
