"""The exact packer on instances whose optimum is known, or can be enumerated."""

import itertools

import numpy as np
import pytest

from dsegym.costmodels.allocation import bounds, exact, heuristics
from dsegym.costmodels.allocation.generator import generate
from dsegym.costmodels.allocation.instance import AllocationInstance, Buffer, overlapping_pair
from dsegym.costmodels.errors import DsegymError

pytest.importorskip("ortools", reason="OR-Tools is not installed")


def tiny(seed, count=6):
    generator = np.random.default_rng(seed)
    lower = generator.integers(0, 6, count)
    rows = zip(lower, lower + generator.integers(1, 5, count), generator.integers(1, 7, count), strict=True)
    return AllocationInstance(
        f"tiny{seed}",
        tuple(Buffer(f"b{i}", int(low), int(up), int(size)) for i, (low, up, size) in enumerate(rows)),
        99,
    )


def least_peak(instance):
    """By first fit in every order."""
    orders = np.array(list(itertools.permutations(range(len(instance)))), np.int32)
    return min(int((heuristics.place(instance, order, "first_fit") + instance.sizes).max()) for order in orders[::1])


@pytest.mark.parametrize("name", ["perfect_10_s0", "perfect_30_s2", "perfect_60_s1", "perfect_60_s4"])
def test_generated_instances_are_packed_within_their_capacity(name):
    instance = generate(name)
    found = exact.pack_within(instance, time_limit_s=60)
    assert (found.status, found.peak, found.bound) == ("optimal", instance.capacity, instance.capacity)
    assert overlapping_pair(instance, found.offsets) is None
    assert (found.offsets >= 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_least_peak_is_that_of_the_best_order_under_first_fit(seed):
    instance = tiny(seed)
    found = exact.minimise_peak(instance, time_limit_s=60)
    assert (found.status, found.peak) == ("optimal", least_peak(instance))
    assert found.bound == found.peak >= bounds.max_load(instance)
    assert overlapping_pair(instance, found.offsets) is None


def test_less_than_the_load_is_infeasible_at_once():
    instance = generate("perfect_30_s2")
    found = exact.pack_within(instance, instance.capacity - 1024)
    assert (found.status, found.peak, found.offsets) == ("infeasible", None, None)
    assert found.bound == instance.capacity


def test_where_the_time_is_up_the_best_heuristic_stands_in():
    instance = generate("perfect_300_s1")
    found = exact.minimise_peak(instance, time_limit_s=0.01)
    rules = [int((heuristics.rule_offsets(instance, rule) + instance.sizes).max()) for rule in heuristics.RULES]
    assert found.status == "feasible"
    assert bounds.max_load(instance) <= found.bound <= found.peak <= min(rules)
    assert overlapping_pair(instance, found.offsets) is None


def test_without_or_tools_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ortools.sat.python", None)
    with pytest.raises(DsegymError, match="pip install ortools"):
        exact.pack_within(generate("perfect_10_s0"))
