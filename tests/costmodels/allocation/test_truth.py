"""The packing model and its heuristics against published figures: the MiniMalloc instances of the shared data."""

import numpy as np
import pytest

from dsegym.costmodels.allocation import bounds, exact, heuristics
from dsegym.costmodels.allocation.instance import load_instance, overlapping_pair

# Section 3.1 of the reference: buffers, distinct times, load, area fill, and the peaks of five heuristics over the
# capacity, to three digits.
COLUMNS = (
    "size_descending_best_fit",
    "size_descending_first_fit",
    "lifetime_descending",
    "area_descending",
    "start_order",
)
PUBLISHED = {
    "A": (154, 72, 1.000, 0.950, 1.311, 1.290, 1.456, 2.051, 1.670),
    "B": (170, 83, 1.000, 0.977, 1.366, 1.354, 1.503, 1.872, 1.604),
    "D": (213, 103, 0.940, 0.887, 1.277, 1.232, 1.396, 1.337, 1.346),
    "F": (296, 175, 1.000, 0.609, 1.367, 1.367, 1.408, 1.356, 1.123),
    "J": (409, 213, 0.943, 0.811, 1.288, 1.244, 1.520, 1.379, 1.624),
}
CAPACITY = 1_048_576


@pytest.fixture(scope="module")
def minimalloc(shared_data):
    folder = shared_data / "minimalloc"
    if not folder.is_dir():
        pytest.skip(f"the MiniMalloc instances are not there: {folder} (set DSEGYM_SHARED_DATA)")
    return folder


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_load_and_fill_are_the_published_ones(minimalloc, name):
    buffers, times, load, fill = PUBLISHED[name][:4]
    instance = load_instance(minimalloc / f"{name}.{CAPACITY}.csv")
    assert (len(instance), instance.capacity, instance.unit) == (buffers, CAPACITY, 1024)
    assert round(bounds.max_load(instance) / CAPACITY, 3) == load
    starts, live = bounds.live_bytes(instance)
    assert live[-1] == 0
    assert len(starts) == times
    area = sum(buffer.size * (buffer.upper - buffer.lower) for buffer in instance.buffers)
    assert round(area / CAPACITY**2, 3) == fill  # of a square: as many time steps as bytes


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_heuristics_reach_the_published_peaks(minimalloc, name):
    instance = load_instance(minimalloc / f"{name}.{CAPACITY}.csv")
    assert tuple(heuristics.RULES) == COLUMNS
    for rule, published in zip(COLUMNS, PUBLISHED[name][4:], strict=True):
        offsets = heuristics.rule_offsets(instance, rule)
        assert overlapping_pair(instance, offsets) is None
        assert round(int((offsets + instance.sizes).max()) / CAPACITY, 3) == published, rule


def test_the_small_example_is_solved_at_its_capacity_by_the_rules_and_by_the_solver(minimalloc):
    instance = load_instance(minimalloc / "input.12.csv")
    assert (len(instance), instance.capacity, bounds.max_load(instance)) == (5, 12, 12)
    for rule in heuristics.RULES:
        assert int((heuristics.rule_offsets(instance, rule) + instance.sizes).max()) == 12
    pytest.importorskip("ortools", reason="OR-Tools is not installed")
    found = exact.pack_within(instance)
    assert (found.status, found.peak) == ("optimal", 12)
    assert overlapping_pair(instance, found.offsets) is None
    assert exact.minimise_peak(instance).peak == 12
    assert exact.pack_within(instance, 11).status == "infeasible"


@pytest.mark.slow
def test_the_solver_packs_b_within_its_capacity_as_published(minimalloc):
    pytest.importorskip("ortools", reason="OR-Tools is not installed")
    instance = load_instance(minimalloc / f"B.{CAPACITY}.csv")
    found = exact.pack_within(instance, time_limit_s=240, workers=2)
    assert found.status == "optimal"
    assert found.peak <= CAPACITY
    assert overlapping_pair(instance, found.offsets) is None
    # As an order of buffers, first fit packs it as well.
    order = np.argsort(heuristics.design_of_offsets(found.offsets))
    assert int((heuristics.place(instance, order, "first_fit") + instance.sizes).max()) <= CAPACITY
