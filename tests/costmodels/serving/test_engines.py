"""Engines of serving against plain oracles, DistServe's published figures and measured rows."""

import csv
import importlib.util
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transformer_oracle as oracle
from hypothesis import given
from hypothesis import strategies as st

from dsegym.costmodels.errors import DsegymError, UnknownNameError
from dsegym.costmodels.serving import distserve, roofline
from dsegym.costmodels.transformers.architectures import active_parameters, get_architecture
from dsegym.costmodels.transformers.devices import get_device, get_precision

lengths = st.lists(st.integers(1, 4096), min_size=1, max_size=200)


def our_name(published):
    return published.removeprefix("facebook/").upper()


# --- DistServe --------------------------------------------------------------------------------------------------------


def test_every_published_capacity_of_distserve_is_met_exactly(shared_data):
    rows = list(csv.DictReader((shared_data / "llm" / "distserve_max_num_tokens.csv").open()))
    assert len(rows) >= 30
    for row in rows:
        found = distserve.capacity_tokens(our_name(row["model"]), int(row["tp"]), int(row["pp"]))
        assert found == int(row["max_num_tokens"]), row


@given(st.sampled_from([("OPT-13B", 40, 5120, 40), ("OPT-66B", 64, 9216, 72), ("OPT-175B", 96, 12288, 96)]), st.data())
def test_capacities_are_those_of_the_workers_own_arithmetic(model, data):
    name, layers, hidden, heads = model
    tp = data.draw(st.sampled_from([t for t in range(1, heads + 1) if heads % t == 0]))
    pp = data.draw(st.sampled_from([p for p in range(1, layers + 1) if layers % p == 0]))
    blocks = oracle.distserve_blocks(layers, hidden, 50272, 2048, tp, pp, distserve.USABLE_BYTES)
    assert distserve.capacity_tokens(name, tp, pp) == 16 * blocks


def test_capacities_follow_from_a_range_of_usable_memory(shared_data):
    rows = list(csv.DictReader((shared_data / "llm" / "distserve_max_num_tokens.csv").open()))
    for usable in (79_891_169_281, 79_891_189_759):
        for row in rows:
            sizes = get_architecture(our_name(row["model"]))
            layers, hidden, tp, pp = int(sizes.layers), int(sizes.hidden), int(row["tp"]), int(row["pp"])
            assert 16 * oracle.distserve_blocks(layers, hidden, 50272, 2048, tp, pp, usable) == int(
                row["max_num_tokens"]
            )


@pytest.mark.parametrize("engine", distserve.ENGINES)
def test_step_times_are_distserves_to_a_millionth(engine, shared_data):
    published = json.loads((shared_data / "llm" / f"distserve_profile_a100_{engine}.json").read_text())
    generator = np.random.default_rng(0)
    for name, degrees in published.items():
        for degree, theirs in degrees.items():
            ours = distserve.profile_of(engine, our_name(name), int(degree))
            for batch in (1, 7, 94, 95, 300):
                each = generator.integers(1, 4096, batch).tolist()
                pp = int(generator.integers(1, 5))
                found = distserve.prefill_ms(
                    ours, tokens=sum(each), squared_tokens=sum(n * n for n in each), pipeline_parallelism=pp
                )
                assert found == pytest.approx(oracle.distserve_prefill_ms(theirs["prefill"], each, pp), rel=1e-9)
                found = distserve.decode_ms(ours, context=sum(each), batch=batch, pipeline_parallelism=pp)
                assert found == pytest.approx(oracle.distserve_decode_ms(theirs, each, pp), rel=1e-9)


def test_step_times_in_jax_are_within_a_millionth_of_plain_numbers():
    profile = distserve.profile_of("distserve", "OPT-13B", 1)
    batch = np.arange(1, 257)
    compiled = jax.jit(jax.vmap(lambda b: distserve.decode_ms(profile, context=512.0 * b, batch=b)))
    expected = distserve.decode_ms(profile, context=512.0 * batch, batch=batch)
    np.testing.assert_allclose(compiled(jnp.asarray(batch, jnp.float32)), expected, rtol=1e-6)


ANCHORS = [
    ("OPT-13B", 1, 72.1, 256.7, 20.3, 42.9),
    ("OPT-13B", 4, 31.7, 92.2, 10.4, 18.5),
    ("OPT-66B", 8, 81, 258, 23.3, 33.7),
]


@pytest.mark.parametrize(("model", "tp", "short", "long", "one", "many"), ANCHORS)
def test_known_step_times_come_out(model, tp, short, long, one, many):
    profile = distserve.profile_of("distserve", model, tp)
    for tokens, expected in ((512, short), (2048, long)):
        found = distserve.prefill_ms(profile, tokens=tokens, squared_tokens=tokens**2)
        assert found == pytest.approx(expected, abs=0.5)
    for batch, expected in ((1, one), (64, many)):
        assert distserve.decode_ms(profile, context=512 * batch, batch=batch) == pytest.approx(expected, abs=0.1)


def test_what_was_not_profiled_or_cannot_be_split_is_refused():
    with pytest.raises(UnknownNameError, match="Unknown model 'OPT-30B'"):
        distserve.profile_of("distserve", "OPT-30B", 1)
    with pytest.raises(DsegymError, match=r"OPT-66B was not profiled at tensor parallelism 1; it was at 2, 3, 4, 8\."):
        distserve.profile_of("distserve", "OPT-66B", 1)
    with pytest.raises(DsegymError, match="OPT-13B has 40 heads and 40 layers; 3 and 1 must divide them"):
        distserve.capacity_tokens("OPT-13B", 3, 1)


# --- The roofline -----------------------------------------------------------------------------------------------------


@given(
    model=st.sampled_from(["Llama-3-70B", "Llama-2-7B", "OPT-13B"]),
    device=st.sampled_from(["H100-SXM-80GB", "L4", "B200-SXM"]),
    gpus=st.sampled_from([1, 2, 4, 8]),
    batch=st.integers(1, 64),
    prompt=st.integers(1, 8192),
    output=st.integers(1, 8192),
    vllm=st.booleans(),
)
def test_a_step_is_the_oracles_sum_of_parts(model, device, gpus, batch, prompt, output, vllm):
    sizes, chip, precision = get_architecture(model), get_device(device), get_precision("fp8")
    replica = roofline.replica_of(sizes, chip, precision, gpus, "vllm" if vllm else "trtllm")
    running = float(roofline.running(replica, batch, prompt, output))
    assert 1 <= running <= batch
    expected = oracle.dense_tpot_s(
        n=float(active_parameters(sizes)), layers=int(sizes.layers), hidden=sizes.hidden, width=sizes.heads * 128,
        kv_width=sizes.kv_heads * 128, t=gpus, b=running, isl=prompt, osl=output, peak=chip.peak_flops["fp8"],
        bandwidth=chip.bandwidth_bytes_s, link=chip.scale_up_bytes_s, wb=1, kvb=1, fit=roofline.CALIBRATION, vllm=vllm,
        fp4=False,
    )  # fmt: skip
    assert float(roofline.tpot_parts(replica, batch, prompt, output).total_s()) == pytest.approx(expected, rel=1e-9)


def roofline_benchmark():
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "serving_roofline.py"
    spec = importlib.util.spec_from_file_location("serving_roofline", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_measured_dense_rows_are_met_within_12_percent_and_in_order(shared_data):
    benchmark = roofline_benchmark()
    rows = benchmark.rows_of(shared_data / "llm" / "aiconfigurator_silicon_e2e.csv", ("Llama-3.1-70B", "Qwen3-32B"))
    mean, _, rank = benchmark.errors(rows, roofline.CALIBRATION)
    assert len(rows) > 300
    assert mean < 0.09
    assert rank > 0.98


def test_rows_that_a_fit_has_not_seen_are_met_within_12_percent_and_in_order(shared_data):
    benchmark = roofline_benchmark()
    rows = benchmark.rows_of(shared_data / "llm" / "aiconfigurator_silicon_e2e.csv", ("Llama-3.1-70B", "Qwen3-32B"))
    one, other = benchmark.halves(rows)
    mean, _, rank = benchmark.errors(other, benchmark.fit(one))
    assert mean < 0.12
    assert rank > 0.95


def test_rows_of_experts_on_squares_of_accelerators_are_met_on_one_side_of_the_square(shared_data):
    """Nothing is fitted to them. Their label multiplies width and experts, which are split over the same server."""
    benchmark = roofline_benchmark()
    rows = benchmark.rows_of(shared_data / "llm" / "aiconfigurator_silicon_e2e.csv", ("DeepSeek-R1", "DeepSeek-V3"))
    of_row = list(rows.iter_rows(named=True))
    square = [benchmark.split_of_row(row) != benchmark.split_of_row(row, squares=False) for row in of_row]
    assert {benchmark.split_of_row(row)[0] for row, is_one in zip(of_row, square, strict=True) if is_one} == {4, 8}
    squares = rows.filter(np.array(square))
    assert len(squares) > 90
    as_stated, on_a_side = (benchmark.errors(squares, roofline.CALIBRATION, each)[0] for each in (False, True))
    assert on_a_side < 0.25 < 0.45 < as_stated


def test_more_requests_are_served_more_slowly_each_and_faster_together():
    replica = roofline.replica_of(get_architecture("Llama-3-8B"), get_device("H100-SXM-80GB"), get_precision("bf16"), 1)
    batch = np.arange(1.0, 200.0)
    tpot = roofline.tpot_parts(replica, batch, 512, 256).total_s()
    rate = roofline.requests_per_s(replica, batch, 512, 256)
    assert np.all(np.diff(tpot) > 0)
    assert np.all(np.diff(rate) > 0)
