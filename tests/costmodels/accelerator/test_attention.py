"""The attention tier: an oracle, properties, the I/O complexity of attention, recurrent layers, bad input."""

import importlib
import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.accelerator.attention import io, model, networks, recurrent, sizing
from dsegym.costmodels.errors import DsegymError, InvalidDesignError, InvalidOptionError

cascades = jax.jit(model.evaluate_cascades)
kernels = jax.jit(recurrent.evaluate_kernels)

MACHINES = st.tuples(
    st.sampled_from(sizing.MACHINE["edge"]),
    st.sampled_from(sizing.MACHINE["buffer"]),
    st.sampled_from(sizing.MACHINE["bandwidth"]),
)
LAYERS = st.tuples(
    st.integers(1, 64),
    st.integers(1, 32),
    st.integers(16, 5000),
    st.sampled_from((16, 48, 64, 128, 192)),
    st.sampled_from((32, 64, 80, 128)),
)


@pytest.fixture(scope="module")
def oracle():
    return importlib.import_module("attention_oracle")


# --- The oracle -------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(MACHINES, LAYERS, st.sampled_from(sizing.BLOCKS))
def test_every_cascade_costs_what_a_walk_over_its_tiles_counts(oracle, machine, layer, block):
    costs = cascades(model.Hardware(*machine), np.float32(block), model.Attention(*layer))
    rows, padded = machine[0] * block, math.ceil(layer[2] / machine[0]) * machine[0]
    for place, name in enumerate(model.CASCADES):
        if rows < padded and padded % rows and name != "unfused":
            continue  # the walk's last block is shorter than the others
        latency, traffic, useful, share = oracle.attention(name, *machine, block, *layer)
        assert float(costs.latency_s[place]) == pytest.approx(latency, rel=2e-6), name
        assert float(costs.traffic_bytes[place]) == pytest.approx(traffic, rel=2e-6), name
        assert float(costs.utilisation[place]) == pytest.approx(useful, rel=2e-6), name
        assert float(costs.buffer_share[place]) == pytest.approx(share, rel=2e-6), name


@settings(max_examples=40)
@given(
    MACHINES, st.integers(1, 24), st.integers(1, 4), st.integers(1, 12), st.sampled_from((16, 24, 40, 96)), st.data()
)
def test_every_kernel_of_a_recurrent_layer_costs_what_a_walk_over_its_steps_counts(
    oracle, machine, batch, heads, steps, width, data
):
    tiles = (
        data.draw(st.sampled_from(recurrent.batch_tiles(batch))),
        data.draw(st.sampled_from(recurrent.gate_tiles(width))),
    )
    layer = recurrent.Recurrent(batch, heads, steps, width)
    costs = kernels(model.Hardware(*machine), *map(np.float32, tiles), layer)
    for place, name in enumerate(recurrent.KERNELS):
        latency, traffic, share = oracle.recurrent(name, *machine, *tiles, batch, heads, steps, width)
        assert float(costs.latency_s[place]) == pytest.approx(latency, rel=2e-6), name
        assert float(costs.traffic_bytes[place]) == pytest.approx(traffic, rel=2e-6), name
        assert float(costs.buffer_share[place]) == pytest.approx(share, rel=2e-6), name
        if steps > 1:
            assert traffic >= float(recurrent.least_words(layer)) * 2


# --- Properties -------------------------------------------------------------------------------------------------------


@given(MACHINES, LAYERS, st.sampled_from(sizing.BLOCKS))
def test_more_bandwidth_or_buffer_is_never_slower_and_moves_no_more(machine, layer, block):
    edge, buffer, bandwidth = machine
    attention, block = model.Attention(*layer), np.float32(block)
    base = cascades(model.Hardware(edge, buffer, bandwidth), block, attention)
    wider = cascades(model.Hardware(edge, buffer, 2 * bandwidth), block, attention)
    larger = cascades(model.Hardware(edge, 2 * buffer, bandwidth), block, attention)
    for more in (wider, larger):
        assert np.all(more.latency_s <= base.latency_s)
        assert np.all(more.traffic_bytes <= base.traffic_bytes)
        assert np.all(more.area_mm2 > base.area_mm2)
    assert np.all(larger.buffer_share < base.buffer_share)
    assert np.all(wider.energy_j == base.energy_j)
    assert np.all(base.utilisation <= 1 + 1e-6)


@given(MACHINES, LAYERS, st.sampled_from(sizing.BLOCKS))
def test_no_mapping_that_fits_moves_less_than_the_bound(machine, layer, block):
    attention = model.Attention(*layer)
    costs = cascades(model.Hardware(*machine), np.float32(block), attention)
    fits = np.asarray(costs.buffer_share) <= 1
    assert np.all(
        np.asarray(costs.traffic_bytes)[fits] * (1 + 1e-6) >= sizing.traffic_bound_bytes(attention, machine[1])
    )


@pytest.mark.slow
def test_fusing_more_of_fusemax_is_faster_and_the_cascade_alone_is_slower_than_flat():
    """FuseMax's ablation at BERT, 1K, in ms: 13.39, 15.33, 5.99, 2.01; 2D utilisation 12.5, 10.9, 29.9, 89.0 %."""
    attention = model.Attention(64, 12, 1024, 64, 64)
    costs = [model.evaluate(*model.published(name, attention), attention) for name in model.CASCADES[1:]]
    assert [round(float(each.latency_s) * 1e3, 2) for each in costs] == [13.39, 15.33, 5.99, 2.01]
    assert [round(float(each.utilisation) * 100, 1) for each in costs] == [12.5, 10.9, 29.9, 89.0]


def test_the_relaxed_form_is_the_exact_one_where_tiles_are_whole():
    attention = model.Attention(64, 12, 4096, 64, 64)
    exact = model.evaluate_cascades(model.Hardware(64, 2048, 100), 4, attention)
    relaxed = model.evaluate_cascades(model.Hardware(64, 2048, 100), 4, attention, round_up=lambda quotient: quotient)
    for one, other in zip(exact, relaxed, strict=True):
        np.testing.assert_array_equal(one, other)


# --- The I/O complexity of attention ----------------------------------------------------------------------------------

N, D = 2.0**16, 64.0
SHAPES = [(N, D), (2.0**13, 32.0), (2.0**20, 128.0)]


def memories(least, most):
    return np.geomspace(least, most, 50)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_no_algorithm_moves_less_than_an_eighth_of_the_bound_s_order(n, d):
    m = memories(16, n * d)
    for name, words in io.ALGORITHMS.items():
        assert np.all(words(n, d, m) >= io.LEAST_SHARE * io.lower_bound_words(n, d, m)), name


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_flash_attention_2_stays_within_a_constant_of_the_bound(n, d):
    m = memories(d**2, n * d / 8)
    share = io.flash_attention_2_words(n, d, m) * m / (n * d) ** 2
    assert share.min() >= 2
    assert share.max() <= 16


def best_words(n, d, m):
    return np.min([words(n, d, m) for words in io.ALGORITHMS.values()], axis=0)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_the_bound_falls_with_the_memory_above_d_squared_and_with_its_root_below(n, d):
    above, below = memories(d**2, n * d / 100), memories(16, d**2)
    for m, slope in ((above, -1.0), (below, -0.5)):
        found = np.diff(np.log(io.lower_bound_words(n, d, m))) / np.diff(np.log(m))
        np.testing.assert_allclose(found, slope, atol=1e-6)


def test_the_best_algorithm_s_words_fall_by_the_same_slopes_away_from_the_crossover():
    n, d = 2.0**24, 2.0**12  # wide heads: room below d², where the scores' own traffic does not count
    for m, slope in ((memories(8 * d**2, n * d / 1000), -1.0), (memories(16, d**2 / 5000), -0.5)):
        found = np.diff(np.log(best_words(n, d, m))) / np.diff(np.log(m))
        np.testing.assert_allclose(found, slope, atol=0.03)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_the_best_algorithm_switches_within_a_factor_of_four_of_d_squared(n, d):
    m = memories(max(d**2 / 64, 4 * d), 64 * d**2)
    best = np.array(list(io.ALGORITHMS))[np.argmin([words(n, d, m) for words in io.ALGORITHMS.values()], axis=0)]
    switches = m[1:][best[1:] != best[:-1]]
    assert len(switches) >= 1
    assert switches.min() > d**2 / 4
    assert switches.max() < 4 * d**2
    assert best[0] == "blocked"
    assert best[-1] == "flash_attention_2"


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_flash_attention_2_beats_standard_attention_from_twice_d_squared_on(n, d):
    for factor, better in ((1.9, False), (2.1, True)):
        m = factor * d**2
        assert (io.flash_attention_2_words(n, d, m) < io.standard_words(n, d, m)) == better


@pytest.mark.parametrize("cascade", ["one_pass", "fusemax_pe", "fusemax"])
@pytest.mark.parametrize("length", [1024, 4096, 65536])
def test_a_single_pass_moves_what_flash_attention_2_does_but_for_its_logarithms(cascade, length):
    attention = model.Attention(2, 3, length, 64, 64)
    hardware, mapping = model.published(cascade, attention)
    words = io.flash_attention_2_words(float(length), 64.0, 0, rows=hardware.edge * mapping.block) - length
    assert float(model.evaluate(hardware, mapping, attention).traffic_bytes) == 2 * 2 * 3 * words


# --- Bad input --------------------------------------------------------------------------------------------------------

BERT_4K = model.Attention(64, 12, 4096, 64, 64)


@pytest.mark.parametrize(
    ("hardware", "mapping", "attention", "said"),
    [
        (model.Hardware(256, 16384, 0), model.Mapping(4, 1), BERT_4K, "bandwidth_gib_s = 0 is not allowed"),
        (model.Hardware(256, 16384, math.nan), model.Mapping(4, 1), BERT_4K, "bandwidth_gib_s = nan"),
        (model.Hardware(-1, 16384, 400), model.Mapping(4, 1), BERT_4K, "edge = -1"),
        (
            model.Hardware(256, 16384, 400),
            model.Mapping(4, 3),
            BERT_4K,
            "blocks of 256 x 3 = 768 queries do not divide",
        ),
        (model.Hardware(256, 16384, 400), model.Mapping(4, 1), BERT_4K._replace(length=1000), "do not divide"),
        (model.Hardware(256, 512, 400), model.Mapping(4, 16), BERT_4K, "buffer: fusemax .* needs 2.156 times"),
        (model.Hardware(256, 16384, 400), model.Mapping(5, 1), BERT_4K, "Unknown cascade '5'"),
        (model.Hardware(256, 16384, 400), model.Mapping(4, 0), BERT_4K, "block = 0"),
        (model.Hardware(256, 16384, 400), model.Mapping(4, 1), BERT_4K._replace(heads=0), "heads = 0"),
    ],
)
def test_a_mapping_that_does_not_run_is_refused_in_a_sentence(hardware, mapping, attention, said):
    with pytest.raises(DsegymError, match=said):
        model.require_fit(hardware, mapping, attention)


@pytest.mark.parametrize(
    ("tiling", "hardware", "said"),
    [
        (recurrent.Tiling(1, 3, 256), model.Hardware(64, 16384, 100), "batch_tile = 3 .* allowed: 1, 2, 4, 8, 16"),
        (recurrent.Tiling(1, 4, 100), model.Hardware(64, 16384, 100), "gate_tile = 100 .* allowed: 16, 32"),
        (recurrent.Tiling(1, 4, 256), model.Hardware(64, 2048, 100), "buffer: fused needs 2.2.* times"),
        (recurrent.Tiling(1, 4, 256), model.Hardware(64, 2048, -1), "bandwidth_gib_s = -1"),
    ],
)
def test_a_recurrent_tiling_that_does_not_divide_or_fit_is_refused_in_a_sentence(tiling, hardware, said):
    with pytest.raises(InvalidDesignError, match=said):
        recurrent.require_tiles(hardware, tiling, recurrent.Recurrent(16, 1, 10, 768))


def test_legal_tiles_divide_what_they_tile():
    assert recurrent.batch_tiles(12) == (1, 2, 3, 4, 6, 12)
    assert recurrent.gate_tiles(24) == (16, 32, 48, 96)
    assert recurrent.gate_tiles(3) == (1, 2, 3, 4, 6, 12)  # not in sixteens
    for width in range(1, 200):
        assert all(4 * width % each == 0 for each in recurrent.gate_tiles(width))


@pytest.mark.parametrize("name", ["BERT", "XLM", "lstm_64x12", "8x32x128", "8x32x128x64", "lstm:16x4x256"])
def test_a_network_s_text_is_the_network(name):
    assert networks.network_text(networks.parse_network(name)) == name
    assert networks.network_text(networks.parse_network("64x12x64x64")) == "BERT"


@pytest.mark.parametrize(
    ("text", "said"),
    [("0x12x64", "sequences = '0'"), ("8x-1x64", "heads = '-1'"), ("8x2x6000", "head width = '6000'")],
)
def test_a_network_s_size_out_of_range_is_named(text, said):
    with pytest.raises(InvalidOptionError, match=said):
        networks.parse_network(text)
