"""The packing search: against CP-SAT and every order on small instances, within MiniMalloc's capacity on large ones."""

import numpy as np
import pytest

from dsegym.costmodels.allocation.bounds import max_load
from dsegym.costmodels.allocation.exact import minimise_peak
from dsegym.costmodels.allocation.generator import get_instance
from dsegym.costmodels.allocation.instance import load_instance, overlapping_pair
from dsegym.costmodels.allocation.packing_search import improved_packings, pack_by_search
from dsegym.costmodels.solver import Limits

UNLIMITED = Limits(1e6, 1e6)


def peak_of(instance, offsets):
    return int((offsets + instance.sizes).max())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["layered", "requests", "perfect"])
@pytest.mark.parametrize("count", [2, 9, 16])
def test_the_last_packing_is_the_optimum_that_cp_sat_proves(kind, count, seed):
    pytest.importorskip("ortools", reason="OR-Tools is not installed")
    instance = get_instance(f"{kind}_{count}_s{seed}", None)
    proven = minimise_peak(instance, time_limit_s=60.0)
    packings = list(improved_packings(instance, UNLIMITED))
    peaks = [peak_of(instance, offsets) for offsets in packings]
    assert proven.status == "optimal"
    assert peaks[-1] == proven.peak
    assert peaks == sorted(set(peaks), reverse=True)
    assert all(overlapping_pair(instance, offsets) is None for offsets in packings)
    assert proven.peak == max_load(instance) or pack_by_search(instance, proven.peak - instance.unit) is None


@pytest.mark.parametrize("name", ["perfect_60_s4", "perfect_100_s2", "layered_100_s1"])
def test_a_packing_within_the_capacity_overlaps_nothing(name):
    instance = get_instance(name, None)
    offsets = pack_by_search(instance)
    assert peak_of(instance, offsets) <= instance.capacity
    assert offsets.min() == 0
    assert overlapping_pair(instance, offsets) is None


def test_below_what_is_live_at_once_there_is_no_packing():
    instance = get_instance("perfect_30_s2", None)
    assert pack_by_search(instance, max_load(instance) - instance.unit) is None


def test_limits_on_nodes_and_on_time_end_the_search():
    instance = get_instance("perfect_100_s2", None)
    assert pack_by_search(instance, nodes=20) is None
    assert pack_by_search(instance, time_limit_s=0.0) is None
    first, *_ = improved_packings(instance, Limits(0.001, 1e6))
    assert peak_of(instance, first) > instance.capacity


def test_the_same_effort_gives_the_same_packings():
    instance = get_instance("layered_40_s4", None)
    once, again = (list(improved_packings(instance, Limits(0.5, 1e6))) for _ in range(2))
    np.testing.assert_array_equal(once, again)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["A", "D", "J"])
def test_minimallocs_challenging_instances_are_packed_within_their_capacity(shared_data, name):
    """Three of five that were tried; docs/memory_allocation.md has all. The best rule is 12 % above, or more."""
    instance = load_instance(shared_data / "minimalloc" / f"{name}.1048576.csv")
    offsets = pack_by_search(instance, time_limit_s=400.0)
    assert offsets is not None
    assert peak_of(instance, offsets) <= instance.capacity == 2**20
    assert overlapping_pair(instance, offsets) is None
