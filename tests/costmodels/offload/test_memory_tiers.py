"""Training over memory tiers against plain event simulations, closed forms, published headlines and order."""

import csv
import functools
import gzip
from types import MappingProxyType

import jax
import numpy as np
import offload_oracle as oracle
import pytest
import training_oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.offload.model import evaluate, explain, placement_of, table_of
from dsegym.costmodels.offload.placement import Placement, durations, shares, step_flop
from dsegym.costmodels.offload.relaxation import any_split_s
from dsegym.costmodels.offload.search import KINDS, Search, distinct
from dsegym.costmodels.offload.server import reached_by
from dsegym.costmodels.offload.simulator import busy
from dsegym.costmodels.transformers.architectures import parameters
from dsegym.costmodels.transformers.devices import get_device
from dsegym.envs.core.options import parse
from dsegym.envs.offload.memory_tiers import MemoryTiersOptions, _search

EMPTY = dict.fromkeys(Placement._fields, 0.0) | {"batch": 8.0, "depth": 2.0}
IN_GPU = EMPTY | {f"{kind}_gpu": 1.0 for kind in KINDS}
IN_HOST = EMPTY | {f"{kind}_host": 1.0 for kind in KINDS}
ON_CXL = EMPTY | {f"{kind}_cxl": 1.0 for kind in KINDS}
GPT = MappingProxyType({"model": "GPT-1.7B"})  # 24 layers: one compiled program for all tests of single placements
LAYERS = 24
RATES = ("link_bytes_s", "fabric_bytes_s", "cxl_bytes_s", "read_bytes_s", "write_bytes_s", "updates_s", "peak_flops")
RATES = (*RATES, "bandwidth_bytes_s")


def made(**options):
    return _search(parse(MemoryTiersOptions, {"cxl_cards": 2, **GPT, **options}))


def instance_of(**options):
    return made(**options).instance


def of(values, instance):
    return explain(Placement(*(np.float32(values[name]) for name in Placement._fields)), instance)


def plain(instance):
    """An instance's work (of a GPT) and server as the oracle takes them."""
    return oracle.plain(instance.work, instance.server, parameters(jax.tree.map(float, instance.work.model)))


share = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
placements = st.fixed_dictionaries(
    {f"{kind}_{tier}": share for kind in KINDS for tier in ("gpu", "host", "cxl")}
    | {
        "batch": st.sampled_from([1.0, 4.0, 16.0, 64.0]),
        "recompute": share,
        "stride": st.sampled_from([0.0, 1.0, 2.0, 3.0, 6.0]),
        "depth": st.sampled_from([1.0, 2.0, 4.0]),
        "during": st.sampled_from([0.0, 1.0]),
    }
)
servers = st.fixed_dictionaries(
    {
        "gpus": st.sampled_from([1, 4]),
        "link": st.sampled_from([3, 25, 400]),
        "ssd_read": st.sampled_from([0.5, 5, 50]),
        "ssd_write": st.sampled_from([0.5, 3, 50]),
        "cxl_bandwidth": st.sampled_from([2, 25, 200]),
        "updates": st.sampled_from([0.1, 2, 50]),
        "trainable": st.sampled_from([0.01, 1]),
    }
)


# --- Time -------------------------------------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None)
@given(placements, servers)
def test_a_step_takes_what_a_plain_simulation_of_its_tasks_says(values, server):
    instance = instance_of(**server)
    _, _, played = of(values, instance)
    expected = oracle.step_seconds(values, *plain(instance))
    assert [float(each) for each in played.times] == pytest.approx(expected, rel=2e-5)


@settings(max_examples=60, deadline=None)
@given(placements, servers)
def test_bytes_of_each_tier_are_what_plain_sums_say(values, server):
    instance = instance_of(**server)
    _, _, played = of(values, instance)
    expected = oracle.kept_gb(values, *plain(instance))
    assert [float(each) * 1e-9 for each in played.bytes] == pytest.approx(list(expected.values()), rel=1e-5, abs=1e-6)


def test_without_transfers_a_step_is_the_sum_of_its_layers_passes_and_updates():
    _, _, played = of(IN_GPU, instance_of())
    d = played.seconds
    expected = LAYERS * (float(d.forward) + float(d.backward) + float(d.resident_update))
    assert float(played.times.step) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("link", [1, 12, 25, 400])
def test_weights_that_are_fetched_from_the_host_take_two_stages_closed_form(link):
    """A flow shop of two machines and equal jobs: one of each, and L - 1 times the longer."""
    values = IN_HOST | {"activations_gpu": 1.0, "depth": 4.0}
    _, _, played = of(values, instance_of(link=link))
    d = played.seconds
    up, gpu = float(d.weights_up), float(d.forward)
    assert float(played.times.forward) == pytest.approx(up + (LAYERS - 1) * max(up, gpu) + gpu, rel=1e-5)


@pytest.mark.parametrize("updates", [0.1, 2, 50])
def test_updates_on_ssds_after_the_backward_pass_take_three_stages_closed_form(updates):
    values = IN_GPU | {"optimizer_gpu": 0.0, "depth": 4.0}
    _, _, played = of(values, instance_of(updates=updates, ssd_read=2, ssd_write=2, cxl_cards=0))
    d = played.seconds
    stages = float(d.states_read), float(d.processor_update), float(d.states_write)
    expected = sum(stages) + (LAYERS - 1) * max(stages)
    update = float(played.times.step) - float(played.times.backward)
    assert update == pytest.approx(
        max(expected, float(d.states_read + d.processor_update + LAYERS * d.weights_return)), rel=0.01
    )


@settings(max_examples=80, deadline=None)
@given(placements, servers)
def test_no_step_is_shorter_than_its_bound_nor_than_any_resource_works(values, server):
    metrics, _, played = of(values, instance_of(**server))
    parts = busy(LAYERS, played.seconds, np.float32(values["stride"]))
    busiest = max(sum(map(float, seconds)) for seconds in zip(*parts, strict=True))
    assert float(metrics.bound_s) <= float(metrics.step_s) * (1 + 1e-5)
    assert busiest <= float(metrics.step_s) * (1 + 1e-5)


@settings(max_examples=60, deadline=None)
@given(placements, servers, st.sampled_from(RATES))
def test_a_faster_part_never_makes_a_step_longer(values, server, rate):
    instance = instance_of(**server)
    faster = instance._replace(server=instance.server._replace(**{rate: 2 * getattr(instance.server, rate)}))
    slow, fast = (of(values, each)[0] for each in (instance, faster))
    assert float(fast.step_s) <= float(slow.step_s) * (1 + 1e-6)


@settings(max_examples=40, deadline=None)
@given(placements, servers)
def test_fetching_further_ahead_never_makes_a_step_longer_and_takes_no_less_memory(values, server):
    instance = instance_of(**server)
    found = [of({**values, "depth": depth}, instance) for depth in (1.0, 2.0, 4.0)]
    steps = [float(metrics.step_s) for metrics, _, _ in found]
    assert steps[0] * (1 + 1e-6) >= steps[1] >= steps[2] * (1 - 1e-6)
    for tier in ("gpu", "host"):
        taken = [float(getattr(played.bytes, tier)) for _, _, played in found]
        assert taken[0] <= taken[1] * (1 + 1e-6) <= taken[2] * (1 + 2e-6)


# --- Memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gpus", [1, 4])
def test_states_are_zeros_sixteen_bytes_of_a_parameter_split_among_gpus(gpus):
    """ZeRO-3 in figure 1 of Rajbhandari et al.: what of the fullest GPU does not grow with the batch."""
    instance = instance_of(gpus=gpus)
    one, two = (of(IN_GPU | {"batch": batch}, instance)[2].bytes.gpu for batch in (1.0, 2.0))
    n, h, tokens = plain(instance)[0]["parameters"], 2304, 1024
    passing = 2 * (2 * n / LAYERS * (1 - 1 / gpus) + 2 * n / LAYERS)  # weights gathered, gradients that leave
    logits = 6 * tokens * 51200
    states = 2 * float(one) - float(two) - passing - logits
    assert states == pytest.approx(training_oracle.zero_bytes(n, gpus, 3), rel=1e-3)
    assert float(two) - float(one) == pytest.approx((LAYERS + 1) * 34 * tokens * h, rel=1e-3)


@given(share, share, share)
def test_shares_of_a_kind_add_up_to_one(gpu, host, cxl):
    found = shares(gpu, host, cxl)
    assert sum(found) == pytest.approx(1)
    assert min(found) >= 0


@settings(max_examples=40, deadline=None)
@given(placements, servers)
def test_what_a_placement_misses_is_none_exactly_where_every_tier_holds_it(values, server):
    instance = instance_of(**server)
    _, missed, played = of(values, instance)
    capacity = [getattr(instance.server, f"{tier}_bytes") for tier in ("gpu", "host", "cxl", "ssd")]
    assert (float(missed) == 0) == all(float(used) <= there for used, there in zip(played.bytes, capacity, strict=True))


# --- Search -----------------------------------------------------------------------------------------------------------


def small_search():
    """An instance whose placements can all be played: two batches, halves, no CXL cards, one way to recompute."""
    search = made(cxl_cards=0, batch=8, model="GPT-1.7B", gpu="L4", host_memory=16)
    values = {**search.values, "batch": (4.0, 8.0), "recompute": (0.0, 1.0), "stride": (0, 2)}
    halves = {f"{kind}_{tier}": (0.0, 0.5, 1.0) for kind in KINDS for tier in ("gpu", "host")}
    values |= halves
    return Search(search.instance._replace(values=table_of(values)), values)


@pytest.fixture(scope="module")
def small():
    return small_search()


@pytest.mark.slow
def test_the_best_placement_is_that_of_playing_every_one(small):
    counts = [len(small.values[name]) for name in Placement._fields]
    everything = np.stack(np.unravel_index(np.arange(np.prod(counts)), counts), axis=1).astype(np.int32)
    one = jax.jit(jax.vmap(lambda design: evaluate(placement_of(design, small.instance), small.instance)))
    best = np.inf
    for start in range(0, len(everything), 8192):
        chunk = everything[start : start + 8192]
        metrics, missed = one(np.resize(chunk, (8192, chunk.shape[1])))
        fits = np.asarray(missed)[: len(chunk)] <= 0
        best = min(best, np.where(fits, np.asarray(metrics.seconds_per_million_tokens)[: len(chunk)], np.inf).min())
    metrics, _ = one(np.resize(small.best(1), (8192, everything.shape[1])))
    assert float(metrics.seconds_per_million_tokens[0]) == pytest.approx(best, rel=1e-6)
    assert best < np.inf


def test_placements_are_listed_once(small):
    designs = distinct(small.values, small.instance)
    chosen = np.stack([np.array(small.values[n])[designs[:, i]] for i, n in enumerate(Placement._fields)], axis=1)
    places = {name: chosen[:, i] for i, name in enumerate(Placement._fields)}
    split = [np.stack(shares(*(places[f"{kind}_{t}"] for t in ("gpu", "host", "cxl"))), axis=1) for kind in KINDS]
    rest = np.stack([places[name] for name in ("batch", "recompute", "stride", "depth", "during")], axis=1)
    rows = np.concatenate([*split, rest], axis=1)
    assert len(np.unique(rows, axis=0)) == len(rows)


@settings(max_examples=60, deadline=None)
@given(placements, servers)
def test_no_split_that_fits_is_faster_than_the_linear_program_says(values, server):
    instance = instance_of(**server, host_memory=40)
    placement = Placement(*(np.float32(values[name]) for name in Placement._fields))
    metrics, missed, _ = explain(placement, instance)
    least = any_split_s(placement, instance)
    if float(missed) == 0:
        assert least is not None
        assert least <= float(metrics.step_s) * (1 + 1e-5)


def test_the_linear_program_finds_the_split_of_two_links_in_closed_form():
    """Weights of a frozen model that GPU and host do not hold are read from cards and SSDs at once, equally long."""
    instance = instance_of(trainable=1e-6, sequence_length=8, link=400, ssds=1, ssd_read=1, cxl_bandwidth=1.5)
    gpu, host = 2.2e9, 0.9e9
    server = instance.server._replace(gpu_bytes=np.float32(gpu), host_bytes=np.float32(host))
    values = EMPTY | {"batch": 1.0, "depth": 1.0, "recompute": 1.0}
    _, _, played = of(values, instance)
    least = any_split_s(Placement(*map(np.float32, values.values())), instance._replace(server=server))
    weights = 2 * plain(instance)[0]["parameters"]
    held = (gpu - float(played.bytes.gpu)) / (1 - 1 / LAYERS)  # a layer less is fetched
    outside = (weights - held - host) / (1 - 1 / (4 * LAYERS))  # a layer of the SSDs' quarter passes through the host
    assert least == pytest.approx(2 * outside / (1e9 + 3e9), rel=0.01)


# --- Published headlines ----------------------------------------------------------------------------------------------
# Of Fuyou and Deep Optimizer States only the abstracts' ratios are known here; batches, SSDs and processors are not.
# The ranges of constants are the reference's: SSDs of 3 to 7 GB/s, 1 to 2.5 x 10^9 updates a second and socket.


def test_matrix_products_of_the_rtx_4090_are_as_measured_within_one_percent(shared_data):
    path = shared_data / "llm_serving" / "profile_layers.csv.gz"
    sizes = {"qkv_proj": 4096 * 6144, "o_proj": 4096 * 4096, "gate_up_proj": 4096 * 28672, "down_proj": 14336 * 4096}
    found = {}
    with gzip.open(path, "rt") as lines:
        for row in csv.DictReader(lines):
            if row["profile"] == "rtx4090_llama31_8b_tp1" and row["layer"] in sizes and row["table"] == "dense":
                found.setdefault(int(row["x"]), {})[row["layer"]] = float(row["time_us"])
    reached, peak = reached_by(get_device("RTX4090")), 165
    for tokens in (512, 1024, 2048):
        measured = sum(2 * n * tokens for n in sizes.values()) / sum(found[tokens].values()) * 1e-6
        x = 4096 * (tokens / 2048) ** 0.5
        assert peak * reached.eta * x / (x + reached.half_size) == pytest.approx(measured, rel=0.01)


FUYOU = MappingProxyType({"model": "OPT-13B", "gpu": "RTX4090", "cxl_cards": 0, "host_memory": 512})


@functools.cache
def headline(rule, batch, ssds, ssd_read, updates):
    """TFLOP/s of a rule's design, its batch at most what is given."""
    options = {"batch": batch, "ssds": ssds, "ssd_read": ssd_read, "ssd_write": ssd_read, "updates": updates}
    search = made(**{**FUYOU, **options})
    metrics, _, _ = explain(placement_of(np.array(search.by_rule(rule)), search.instance), search.instance)
    return float(metrics.tflops)


def test_fuyous_156_teraflops_are_the_ceiling_of_a_4090_that_waits_for_nothing_within_three_percent():
    """By the measured products of matrices, nothing fitted; what any placement reaches with its transfers is less."""
    instance = made(**FUYOU).instance
    everything = Placement(*(np.float32(v) for v in (IN_GPU | {"batch": 32.0}).values()))
    d = durations(instance.work, instance.server, everything)
    ceiling = float(step_flop(instance.work, np.float32(32))) / (40 * float(d.forward + d.backward)) * 1e-12
    assert ceiling == pytest.approx(156, rel=0.03)


@pytest.mark.slow
def test_fuyous_rule_reaches_four_fifths_of_156_teraflops_and_45_lie_between_two_batches_of_zero_infinity():
    for ssds, ssd_read, updates in ((4, 5, 2), (12, 3, 2), (4, 7, 2.5)):
        fuyou = headline("fuyou", 64, ssds, ssd_read, updates)
        assert 0.8 * 156 < fuyou < 156
        few, many = (headline("zero_infinity", batch, ssds, ssd_read, updates) for batch in (6, 16))
        assert few < 45 < many


@pytest.mark.slow
def test_175_billion_parameters_fit_a_4090_by_fuyous_rule_and_not_by_zero_infinitys_in_256_gb():
    search = made(**{**FUYOU, "model": "GPT-175B", "host_memory": 256})
    assert search.by_rule("fuyou") is not None
    assert search.by_rule("zero_infinity") is None


@pytest.mark.parametrize(("updates", "stride"), [(1, 2), (2, 2), (2.5, 2), (0.5, 4)])
def test_the_best_stride_is_that_of_the_balance_of_transfers_and_processors(updates, stride):
    """k - 1 layers are updated by processors while one travels: k = 1 + 12 U / PCIe, between whole numbers."""
    instance = instance_of(updates=updates, link=25)
    values = IN_GPU | {"optimizer_gpu": 0.0, "optimizer_host": 1.0, "depth": 4.0}
    steps = {k: float(of(values | {"stride": float(k)}, instance)[0].step_s) for k in (0, 1, 2, 3, 4, 6)}
    balance = 1 + 12 * updates / 25
    best = min(steps, key=steps.get)
    assert abs(best - balance) < 1
    assert steps[best] < steps[0]


def test_deep_optimizer_states_2_5_times_lies_within_what_batches_and_the_references_update_rates_give():
    """Of a whole step on four H100s that share processors: the abstract tells neither batch nor processors."""
    ratios = {}
    for batch, updates in ((1.0, 1), (4.0, 2.5), (16.0, 5)):
        instance = instance_of(gpu="H100-SXM-80GB", gpus=4, updates=updates, link=25)
        values = IN_GPU | {"optimizer_gpu": 0.0, "optimizer_host": 1.0, "depth": 4.0, "recompute": 1.0, "batch": batch}
        steps = [float(of(values | {"stride": float(k)}, instance)[0].step_s) for k in (0, 1, 2, 3, 4)]
        ratios[batch] = steps[0] / min(steps[1:])
    assert ratios[16.0] < 2.5 < ratios[1.0], ratios


def test_adams_numbers_are_better_in_host_memory_and_activations_on_cxl_than_the_other_way_round():
    """What CXL-aware allocation says: the processors' updates wait for memory, copies of activations overlap."""
    instance = instance_of(cxl_bandwidth=25)
    aware = IN_GPU | {"optimizer_gpu": 0, "optimizer_host": 1, "activations_gpu": 0, "activations_cxl": 1, "batch": 16}
    other = IN_GPU | {"optimizer_gpu": 0, "optimizer_cxl": 1, "activations_gpu": 0, "activations_host": 1, "batch": 16}
    assert float(of(aware, instance)[0].step_s) < float(of(other, instance)[0].step_s)
