"""The row-stationary preset: against the Eyeriss chip's measurements, and against one element walked step by step."""

from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.accelerator.row_stationary import (
    PassMapping,
    alexnet_mappings,
    best_mapping,
    evaluate,
)
from dsegym.costmodels.accelerator.workloads import Layer, Loops, get_workload
from dsegym.costmodels.errors import InvalidDesignError

BATCH = 4
# Chen et al., JSSC 2017, AlexNet, 4 images: ms of processing; together they agree with the abstract's images a second.
CHIP_MS = {"conv1": 16.5, "conv2": 39.2, "conv3": 21.8, "conv4": 16.0, "conv5": 10.0}
CHIP_DRAM_ACCESSES = 0.0029  # for each multiply-accumulate, of the abstract; zeros are compressed
LAYERS = {layer.name: layer for layer in get_workload("alexnet").layers}


def chips(name):
    return evaluate(LAYERS[name], alexnet_mappings()[name], BATCH)


@pytest.mark.parametrize("name", CHIP_MS)
def test_processing_takes_as_long_as_on_the_chip_within_15_percent(name):
    assert 1e3 * chips(name).latency_s == pytest.approx(CHIP_MS[name], rel=0.15)


def test_processing_of_all_convolutions_takes_as_long_as_on_the_chip_within_5_percent():
    total = sum(1e3 * chips(name).latency_s for name in CHIP_MS)
    assert total == pytest.approx(103.5, rel=0.05)


@pytest.mark.parametrize("name", CHIP_MS)
def test_the_elements_at_work_are_there_and_none_does_more_than_one_product_a_cycle(name):
    costs = chips(name)
    assert costs.active_elements <= 168
    assert costs.cycles * costs.active_elements >= costs.macs


def test_dram_is_accessed_more_often_than_by_the_chip_which_compresses():
    costs = [chips(name) for name in CHIP_MS]
    found = sum(each.dram_words for each in costs) / sum(each.macs for each in costs)
    assert CHIP_DRAM_ACCESSES <= found <= 1.2 * CHIP_DRAM_ACCESSES


@pytest.mark.parametrize("name", CHIP_MS)
def test_registers_take_most_of_the_energy_on_the_chip_of_a_convolution(name):
    costs = chips(name)
    others = costs.mac_energy, costs.network_energy, costs.buffer_energy
    assert costs.register_energy > sum(others)
    assert costs.mac_energy == costs.macs
    assert costs.macs == BATCH * LAYERS[name].macs


def walked(nest, mapping, images, words_per_cycle=4):
    """Passes of a layer one after another; in each one element of them all, step by step."""
    taps, height, width, lines, channels, filters, _ = nest.bounds
    n, e, p, q, r, t = mapping
    cycles = 0
    for _ in range(0, images, n):
        for _ in range(0, lines, e):
            for _ in range(0, filters, p * t):
                for _ in range(0, channels, q * r):
                    cycles += ceil(p * t * q * r * taps * height / words_per_cycle)
                    busy = 0
                    for _ in range(n * width):
                        for _ in range(p):
                            busy += q * taps  # multiply-accumulates of one partial sum
                            busy += 1  # the neighbour's sum
                    stream = n * q * r * ((e - 1) * nest.strides[1] + height) * ((width - 1) * nest.strides[0] + taps)
                    sums = ceil(n * p * t * e * width / words_per_cycle)
                    cycles += max(busy, stream, sums)
    return cycles


@st.composite
def layers(draw):
    taps, height = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    width, lines = draw(st.integers(1, 20)), draw(st.integers(1, 30))
    channels, filters = draw(st.integers(1, 40)), draw(st.integers(1, 70))
    stride = draw(st.integers(1, 3))
    nest = Loops((taps, height, width, lines, channels, filters, 1), (stride, stride))
    m, k = width * lines, channels * taps * height
    return Layer("drawn", "conv", m, filters, k, 1, 1, 1, nest)


@given(layers(), st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_cycles_are_those_of_passes_walked_one_after_another(layer, batch):
    mapping = best_mapping(layer, batch)
    assert evaluate(layer, mapping, batch).cycles == walked(layer.loops, mapping, batch)


@given(layers())
@settings(deadline=None, max_examples=30)
def test_no_layer_is_faster_than_all_elements_at_work(layer):
    costs = evaluate(layer, best_mapping(layer))
    assert costs.cycles * 168 >= costs.macs


@pytest.mark.parametrize("name", CHIP_MS)
def test_the_best_mapping_is_no_slower_than_the_chips(name):
    assert evaluate(LAYERS[name], best_mapping(LAYERS[name], BATCH), BATCH).cycles <= chips(name).cycles


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"filters": 25, "channels": 2}, "partial sums of an element"),
        ({"channels": 5}, "inputs of an element"),
        ({"channels": 4, "filters": 24}, "filter rows of an element"),
        ({"filter_sets": 3}, "sets of 3 x 13 elements"),
        ({"images": 5}, "of which there are 4"),
        ({"strip": 0}, "at least 1"),
    ],
)
def test_a_mapping_that_the_chip_does_not_hold_is_refused(change, words):
    mapping = PassMapping(4, 13, 16, 3, 2, 2)._replace(**change)
    with pytest.raises(InvalidDesignError, match=f"conv3: row stationary.*{words}"):
        evaluate(LAYERS["conv3"], mapping, BATCH)


def test_a_layer_that_the_chip_cannot_run_is_refused():
    tall = Layer("tall", "conv", 4, 1, 169, 1, 1, 1, Loops((5, 13, 2, 2, 1, 1, 1)))
    with pytest.raises(InvalidDesignError, match="tall: row stationary: a filter of 13 rows"):
        best_mapping(tall)
    wide = Layer("wide", "conv", 4, 1, 65, 1, 1, 1, Loops((13, 5, 2, 2, 1, 1, 1)))
    with pytest.raises(InvalidDesignError, match="wide: row stationary: 13 words of inputs"):
        best_mapping(wide)
    with pytest.raises(InvalidDesignError, match="batch = 0"):
        evaluate(LAYERS["conv3"], alexnet_mappings()["conv3"], 0)
