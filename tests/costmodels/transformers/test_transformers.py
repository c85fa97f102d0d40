"""Transformer arithmetic against an oracle of matrices, and against published sizes, capacities and rates."""

import csv

import jax
import numpy as np
import pytest
import transformer_oracle as oracle
from hypothesis import given
from hypothesis import strategies as st

from dsegym.costmodels.errors import DsegymError, UnknownNameError
from dsegym.costmodels.tables import package_rows
from dsegym.costmodels.transformers import architectures, collectives, memory, operators
from dsegym.costmodels.transformers.architectures import Architecture, get_architecture
from dsegym.costmodels.transformers.devices import PRECISIONS, devices, get_device, get_precision, peak_flops

ROWS = package_rows("transformers/tables/architectures.csv")
sizes = st.fixed_dictionaries(
    {
        "layers": st.integers(2, 40),
        "hidden": st.integers(1, 64),
        "heads": st.integers(1, 16),
        "kv_heads": st.integers(1, 16),
        "head_dimension": st.integers(1, 32),
        "ffn": st.integers(1, 256),
        "ffn_matrices": st.integers(2, 3),
        "vocabulary": st.integers(1, 1000),
        "positions": st.integers(0, 64),
        "tied": st.integers(0, 1),
        "vectors": st.integers(0, 13),
        "experts": st.sampled_from([0, 4, 8]),
        "active_experts": st.integers(1, 4),
        "shared_experts": st.integers(0, 2),
        "expert_ffn": st.integers(1, 64),
        "dense_layers": st.integers(0, 2),
        "q_rank": st.integers(1, 16),
        "kv_rank": st.sampled_from([0, 8, 16]),
        "rope_dimension": st.integers(0, 8),
    }
)


def by_name(row):
    return row["model"]


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_a_model_has_the_parameters_that_its_authors_state(row):
    model = get_architecture(row["model"])
    # Names round: OPT-13B has 12.9 billion. Figures with more digits are met more closely.
    digits = len(row["stated_billion"].replace(".", ""))
    within = 0.002 if digits > 2 and row["model"][:3] not in ("OPT",) else 0.013
    assert architectures.parameters(model) == pytest.approx(float(row["stated_billion"]) * 1e9, rel=within)
    if row["active_billion"]:
        assert architectures.active_parameters(model) == pytest.approx(float(row["active_billion"]) * 1e9, rel=0.013)


@given(sizes)
def test_parameters_are_the_sum_of_all_matrices(row):
    if not row["kv_rank"]:
        row |= {"q_rank": 0, "rope_dimension": 0}
    model = architectures.architecture_of(row)
    assert architectures.parameters(model) == oracle.parameters(row)
    assert architectures.active_parameters(model) == pytest.approx(oracle.active_parameters(row), rel=1e-12)


def test_forward_flop_are_a_third_of_megatrons_training_flop(shared_data):
    rows = csv.DictReader((shared_data / "llm" / "megatron_table1.csv").open())
    for row in rows:
        layers, h, heads = (int(row[name]) for name in ("layers", "hidden", "heads"))
        s, v = 2048, 51200
        gpt = {"layers": layers, "hidden": h, "heads": heads, "kv_heads": heads, "head_dimension": h // heads}
        gpt |= {"ffn": 4 * h, "ffn_matrices": 2, "vocabulary": v, "positions": s, "tied": 1, "vectors": 13}
        rest = ("experts", "active_experts", "shared_experts", "expert_ffn", "dense_layers")
        model = architectures.architecture_of(gpt | dict.fromkeys((*rest, "q_rank", "kv_rank", "rope_dimension"), 0))
        # P = 12 L h^2 (1 + 13/(12 h) + (V + s)/(12 L h)); in the paper's table in billions, with one digit.
        assert architectures.parameters(model) == pytest.approx(
            12 * layers * h * h * (1 + 13 / (12 * h) + (v + s) / (12 * layers * h)), rel=1e-12
        )
        stated = next(row[name] for name in row if name.startswith("params"))
        assert architectures.parameters(model) * 1e-9 == pytest.approx(float(stated), abs=0.06)
        vectors = 2 * layers * 13 * h * s  # norms and biases, which Megatron does not count
        flop = architectures.linear_flop(model, s) - vectors
        flop += architectures.attention_flop(model, model.prefill_pair_flop, s, s)
        assert 3 * flop == pytest.approx(72 * s * layers * h * h * (1 + s / (6 * h) + v / (12 * layers * h)), rel=1e-9)


def test_causal_attention_is_summed_query_by_query():
    model = get_architecture("Llama-3-8B")
    flop = architectures.attention_flop(model, model.prefill_pair_flop, 777, (777 + 1) / 2)
    assert flop == oracle.causal_attention_flop(32, 32, 128, 777)


def test_the_cache_of_yi_34b_takes_what_the_study_of_long_contexts_says():
    per_token = architectures.kv_bytes_per_token(get_architecture("Yi-34B"), 2)
    assert per_token == 245_760
    assert per_token * 4096 / 2**30 == pytest.approx(0.94, abs=0.005)
    assert per_token * 100_000 / 2**30 == pytest.approx(22.9, abs=0.05)


def test_latent_attention_caches_576_numbers_a_layer_where_its_heads_would_cache_32768():
    model = get_architecture("DeepSeek-V3")
    assert model.kv_numbers == 576
    assert 2 * 128 * 128 / model.kv_numbers == pytest.approx(56.9, abs=0.1)


def test_a_latent_cache_is_the_same_on_all_accelerators_and_heads_are_split_among_as_many_as_there_are():
    latent, grouped = get_architecture("DeepSeek-V3"), get_architecture("Llama-3-70B")
    assert [architectures.cache_copies(latent, t) for t in (1, 2, 8)] == [1, 2, 8]
    assert [architectures.cache_copies(grouped, t) for t in (1, 8, 16)] == [1, 1, 2]
    device, precision = get_device("B200-SXM"), get_precision("fp8")
    split, staged = (memory.capacity_tokens(latent, device, precision, 8, stages) for stages in (1, 8))
    assert staged == pytest.approx(8 * split, rel=1e-12)


@pytest.mark.parametrize(("experts", "taken", "tokens"), [(8, 2, 1), (8, 2, 5), (16, 4, 3), (32, 1, 40)])
def test_tokens_meet_as_many_experts_as_even_draws_do(experts, taken, tokens):
    model = get_architecture("Mixtral-8x7B")._replace(experts=experts, active_experts=taken)
    met = oracle.experts_met(experts, taken, tokens, np.random.default_rng(0))
    assert architectures.distinct_experts(model, tokens) == pytest.approx(met, rel=0.02)


def test_a_step_over_many_tokens_reads_all_weights_but_the_lookup_table():
    model = get_architecture("Mixtral-8x7B")
    assert architectures.read_parameters(model, 1) == pytest.approx(architectures.active_parameters(model), rel=1e-12)
    everything = architectures.parameters(model) - model.lookup_parameters
    assert architectures.read_parameters(model, 10_000) == pytest.approx(everything, rel=1e-12)


def test_jit_and_vmap_give_what_plain_numbers_give():
    models = [get_architecture(name) for name in architectures.architectures()]
    stacked = Architecture(*np.array(models, np.float32).T)
    compiled = jax.jit(jax.vmap(architectures.parameters))(stacked)
    np.testing.assert_allclose(compiled, [architectures.parameters(model) for model in models], rtol=1e-6)


# --- Memory -----------------------------------------------------------------------------------------------------------


def test_a_model_that_does_not_fit_says_by_how_much_and_how_many_hold_it():
    model, device, precision = get_architecture("Llama-3-70B"), get_device("A100-SXM-80GB"), get_precision("bf16")
    with pytest.raises(DsegymError, match=r"does not fit on 1 x A100-SXM-80GB: 69\.1 GB are missing .* 2 or more hold"):
        memory.require_fit("Llama-3-70B", model, device, precision, 1)
    memory.require_fit("Llama-3-70B", model, device, precision, 2)


@given(
    st.sampled_from(ROWS), st.sampled_from(sorted(devices())), st.sampled_from(sorted(PRECISIONS)), st.integers(1, 64)
)
def test_capacity_is_what_makes_the_shortfall_vanish(row, device, precision, gpus):
    model, device, precision = get_architecture(row["model"]), get_device(device), get_precision(precision)
    tokens = memory.capacity_tokens(model, device, precision, gpus)
    missing = memory.shortfall_bytes(model, device, precision, gpus, tokens=tokens)
    assert missing == pytest.approx(0, abs=1e-6 * float(memory.weight_bytes(model, precision)))


def test_fewer_bits_take_less_memory_and_lookup_tables_stay_in_two_bytes():
    model = get_architecture("Qwen3-32B")
    sizes = [float(memory.weight_bytes(model, get_precision(name))) for name in ("bf16", "fp8", "fp4", "w4", "w2")]
    assert sizes == sorted(sizes, reverse=True)
    looked_up = 151936 * 5120
    assert sizes[1] == float(architectures.parameters(model)) + looked_up


def test_unknown_names_and_missing_arithmetic_are_refused_in_one_sentence():
    with pytest.raises(UnknownNameError, match=r"Unknown GPU 'H100-SXM'.*Did you mean 'H100-SXM-80GB'"):
        get_device("H100-SXM")
    with pytest.raises(UnknownNameError, match="Unknown model 'Llama-3-7B'"):
        get_architecture("Llama-3-7B")
    with pytest.raises(UnknownNameError, match="Unknown precision 'w9'"):
        get_precision("w9")
    with pytest.raises(
        DsegymError, match="A100-SXM-80GB has no fp8 arithmetic, which fp8 needs; it has bf16, int8, int4"
    ):
        peak_flops(get_device("A100-SXM-80GB"), get_precision("fp8"))


# --- Communication and operators --------------------------------------------------------------------------------------


@given(st.integers(2, 64), st.floats(1, 1e9), st.floats(1e-7, 1e-4), st.floats(1e9, 1e12))
def test_an_all_reduce_is_a_ring_of_scatter_and_gather(ranks, size, latency, bandwidth):
    link = collectives.Link(latency, bandwidth, True)
    ring = oracle.ring_all_reduce_s(ranks, size, latency, bandwidth)
    assert collectives.collective_s("all_reduce", size, ranks, link) == pytest.approx(ring, rel=1e-9)


def test_one_accelerator_communicates_with_nobody():
    link = collectives.link_of(get_device("L4"), "all_reduce", 1)
    assert collectives.collective_s("all_reduce", 1e6, 1, link) == 0
    assert not link.fitted


def measured_collectives(folder):
    """(device, collective, ranks): [(bytes, s)] of NCCL's rows."""
    found = {}
    for row in csv.DictReader((folder / "llm" / "aiconfigurator_nccl_a100_h100.csv").open()):
        device = {"a100": "A100-SXM-80GB", "h100": "H100-SXM-80GB"}[row["gpu"]]
        kind = {"alltoall": "all_to_all"}.get(row["op_name"], row["op_name"])
        size = 2 * float(row["message_size"])  # elements of 2 bytes
        found.setdefault((device, kind, int(row["num_gpus"])), []).append((size, float(row["latency_ms"]) / 1e3))
    return found


def test_fitted_collectives_are_within_a_quarter_of_the_measured_ones_on_average(shared_data):
    measured = measured_collectives(shared_data)
    assert len(measured) == 24
    for (device, kind, ranks), points in measured.items():
        size, seconds = np.array(points).T
        link = collectives.link_of(get_device(device), kind, ranks)
        assert link.fitted
        error = np.abs(collectives.collective_s(kind, size, ranks, link) / seconds - 1)
        assert error.mean() < 0.24, (device, kind, ranks)


OPERATORS = [("a100", "A100-SXM-80GB", "bfloat16", "gemm_bf16"), ("h100", "H100-SXM-80GB", "bfloat16", "gemm_bf16")]


@pytest.mark.parametrize(("gpu", "name", "dtype", "operator"), OPERATORS, ids=lambda value: str(value))
def test_matrix_products_are_within_15_percent_of_the_measured_ones_on_average(gpu, name, dtype, operator, shared_data):
    rows = csv.DictReader((shared_data / "llm" / "aiconfigurator_gemm_a100_h100.csv").open())
    picked = [row for row in rows if (row["gpu"], row["gemm_dtype"]) == (gpu, dtype)]
    m, n, k, ms = (np.array([float(row[column]) for row in picked]) for column in ("m", "n", "k", "latency_ms"))
    device, efficiency = get_device(name), operators.EFFICIENCIES[name, operator]
    peaks = {"peak_flops": device.peak_flops["bf16"], "bandwidth_bytes_s": device.bandwidth_bytes_s}
    seconds = operators.gemm_s(m, n, k, number_bytes=2, efficiency=efficiency, **peaks)
    error = np.abs(seconds * 1e3 / ms - 1)
    assert error.mean() < 0.15
    assert error.mean() == pytest.approx(efficiency.held_out_error, abs=0.01)


def test_a_roofline_lies_between_its_longer_part_and_the_sum_of_both():
    fit = operators.Efficiency(0.5, 0.5, 0.0, 2.0, 0.0)
    flop, size = np.geomspace(1e3, 1e15, 50), np.geomspace(1e12, 1e3, 50)
    seconds = operators.roofline_s(flop, size, peak_flops=1e14, bandwidth_bytes_s=1e12, efficiency=fit)
    arithmetic, moved = flop / 0.5e14, size / 0.5e12
    assert np.all(seconds >= np.maximum(arithmetic, moved))
    assert np.all(seconds <= arithmetic + moved)
