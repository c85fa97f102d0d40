"""Lower bounds of the memory-mapping game: below every plan, in order, and attained where they should be.

The truth is the plain Python simulator, and on tiny programs all plans that it allows.
"""

import copy
import itertools

import memory_cases as cases
import memory_oracle as oracle
import numpy as np
import pytest

pytest.importorskip("ortools", reason="OR-Tools is not installed")

from dsegym.costmodels.errors import DsegymError
from dsegym.costmodels.memory.bounds import best_plan, lower_bound
from dsegym.costmodels.memory.discrete import NONE, discretise

METHODS = ("linear", "binary")
PROOF = 2e-6  # relative: what `best_plan` may leave unproven
ROUNDING = 1e-9  # relative: values are floats, latencies integers


def optimum(discrete):
    """The least latency of all plans."""
    best = discrete.all_slow_ticks

    def descend(game):
        nonlocal best
        if game.over:
            best = min(best, game.latency)
            return
        for action, legal in enumerate(game.legal()):
            if legal:
                after = copy.deepcopy(game)
                after.step(action)
                descend(after)

    descend(oracle.Game(discrete))
    return best


def latency(discrete, plan):
    return oracle.simulate(discrete, [int(action) for action in plan]).latency_ticks


def tiny_cases(count, accesses):
    """Random cases of so many accesses or one more."""
    found = []
    for seed in range(100 * count):
        discrete = cases.random_case(np.random.default_rng(seed), accesses=accesses)
        if len(discrete.arrays.instruction) <= accesses + 1:
            found.append(discrete)
        if len(found) == count:
            break
    return found


def all_bounds(discrete):
    values = [lower_bound(discrete, method=method).value_ticks for method in METHODS]
    return [*values, best_plan(discrete, time_limit_s=20.0).value_ticks]


def test_the_optimum_worked_by_hand():
    # v is only written, so fast memory takes it for nothing. i0 then lasts 1 s, of which slow memory is busy for u's
    # 0.32 s, and the remaining 0.68 s are enough to copy x (0.64 s). i1 takes 0.064 s for x and 0.16 s for z, which
    # slow memory must get after i0, one way or the other: 1.224 s. To copy u beforehand would only stall.
    buffers = {"u": 32, "v": 32, "x": 64, "z": (16, "live_out")}
    program = cases.small_program(buffers, [(1000, ["u"], ["v"]), (0, ["x"], ["z"])])
    discrete = discretise(program, cases.PLATFORM)
    assert latency(discrete, [0, 1, 2, 0]) * discrete.tick_s == pytest.approx(1.224)
    assert optimum(discrete) * discrete.tick_s == pytest.approx(1.224)
    for method in METHODS:
        assert lower_bound(discrete, method=method).value_ticks * discrete.tick_s == pytest.approx(1.224, rel=1e-5)
    best = best_plan(discrete)
    assert best.optimal
    assert latency(discrete, best.plan) == optimum(discrete) == pytest.approx(best.value_ticks, rel=PROOF)


@pytest.mark.slow
@pytest.mark.parametrize("accesses", [4, 7])
def test_no_plan_of_a_tiny_program_is_below_a_bound(accesses):
    equal = []
    for discrete in tiny_cases(25, accesses):
        linear, binary, exact_ticks = all_bounds(discrete)
        best = optimum(discrete)
        assert discrete.all_fast_ticks <= linear <= binary <= exact_ticks * (1 + ROUNDING)
        assert exact_ticks <= best
        equal.append(exact_ticks >= best * (1 - PROOF))
    assert np.mean(equal) > 0.8  # of 259 programs of 9 or 10 accesses, 249 were equal


@pytest.mark.slow
def test_random_plans_are_never_below_a_bound():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        discrete = cases.random_case(rng, int(rng.integers(3, 11)))
        found = best_plan(discrete, time_limit_s=10.0)
        least = min(latency(discrete, cases.random_plan(rng, discrete)) for _ in range(20))
        least = min(least, latency(discrete, found.plan), discrete.all_slow_ticks)
        linear, binary = (lower_bound(discrete, method=method).value_ticks for method in METHODS)
        assert linear <= binary <= found.value_ticks * (1 + ROUNDING)
        assert found.value_ticks <= least


def test_all_is_fast_where_all_is_in_fast_memory_from_the_start():
    rng = np.random.default_rng(0)
    for _ in range(10):
        sizes = [8 * int(size) for size in rng.integers(1, 16, 6)]
        buffers = {f"b{i}": size for i, size in enumerate(sizes)}
        lines = [(200, ["b0", "b1"], ["b3"]), (0, ["b2", "b3"], ["b4"]), (100, ["b0", "b4"], ["b5"])]
        discrete = discretise(cases.small_program(buffers, lines), cases.PLATFORM, capacity_bytes=1024)
        offset = 0
        for b in range(3):
            discrete.arrays.resident_offset[b] = offset
            offset += discrete.arrays.granules[b]
        assert all_bounds(discrete) == pytest.approx([discrete.all_fast_ticks] * 3, rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_more_capacity_never_raises_a_bound(method):
    for seed in range(4):
        program = cases.random_program(np.random.default_rng(seed), 10)
        values = [
            lower_bound(discretise(program, cases.PLATFORM, capacity_bytes=size), method=method).value_ticks
            for size in (8, 32, 128, 512)
        ]
        assert all(more <= less * (1 + 1e-3) for less, more in itertools.pairwise(values))  # 1e-3: cuts, gaps


def test_buffers_that_never_fit_leave_all_slow():
    program = cases.small_program({"x": 64, "y": 64}, [(0, ["x"], ["y"]), (0, ["y"], [])])
    discrete = discretise(program, cases.PLATFORM, capacity_bytes=8)
    assert all_bounds(discrete) == pytest.approx([discrete.all_slow_ticks] * 3, rel=1e-5)


def test_a_result_in_place_shares_the_granules_of_its_predecessor():
    # x fills fast memory and y takes its place there: both accesses are fast, and only x is copied in.
    program = cases.small_program(
        {"x": (128, 0), "y": (128, 0)}, [(2000, [], ["x"]), (0, ["x"], ["y"]), (0, ["y"], [])]
    )
    discrete = discretise(program, cases.PLATFORM)
    assert discrete.arrays.resident_offset.tolist() == [NONE, NONE]
    best = best_plan(discrete)
    assert latency(discrete, best.plan) == discrete.all_fast_ticks
    assert best.value_ticks == pytest.approx(discrete.all_fast_ticks, rel=PROOF)


def test_a_time_limit_leaves_a_valid_bound():
    discrete = cases.random_case(np.random.default_rng(1), 20)
    for method in METHODS:
        bound = lower_bound(discrete, method=method, time_limit_s=0.0)
        assert bound.status == "time limit"
        assert discrete.all_fast_ticks <= bound.value_ticks <= discrete.all_slow_ticks


def test_an_unknown_method_names_the_known_ones():
    with pytest.raises(DsegymError, match="linear, binary"):
        lower_bound(cases.random_case(np.random.default_rng(1), 3), method="quadratic")


@pytest.mark.slow
@pytest.mark.parametrize("accesses", [8, 9])
def test_no_plan_of_many_tiny_programs_is_below_a_bound(accesses):
    for discrete in tiny_cases(150, accesses):
        assert max(all_bounds(discrete)) <= optimum(discrete) * (1 + ROUNDING)
