"""CloudMatrix384's rates, the study of long contexts, and APEX's plans, against what their authors state."""

import csv

import numpy as np
import pytest

from dsegym.costmodels.errors import UnknownNameError
from dsegym.costmodels.serving import cloudmatrix, roofline
from dsegym.costmodels.serving.long_context import costs
from dsegym.costmodels.transformers.architectures import get_architecture
from dsegym.costmodels.transformers.devices import get_device, get_precision
from dsegym.costmodels.transformers.memory import capacity_tokens

# --- CloudMatrix384 ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(shared_data):
    with (shared_data / "llm" / "cloudmatrix384.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["system"].startswith("CloudMatrix")]


def test_decode_rates_and_token_times_are_within_10_percent_of_the_stated_ones(rows):
    """Three constants are fitted to these five rows."""
    decode = [row for row in rows if row["phase"] == "decode"]
    assert len(decode) == 5
    for row in decode:
        batch = float(row["batch_per_npu"])
        context = float(row["prompt_len"]) + float(row["output_len"]) / 2
        assert cloudmatrix.decode_tokens_per_s(batch, context) == pytest.approx(
            float(row["tokens_per_s_per_chip"]), rel=0.1
        )
        assert cloudmatrix.decode_token_s(batch, context) * 1e3 == pytest.approx(float(row["tpot_ms"]), rel=0.1)


def test_prefill_rates_are_within_a_percent_of_the_stated_ones(rows):
    """The efficiency is fitted to one of these rows, the imbalance to the other."""
    prefill = {
        row["system"].split()[1]: float(row["tokens_per_s_per_chip"]) for row in rows if row["phase"] == "prefill"
    }
    assert set(prefill) == {"default", "perfect"}
    for experts, stated in prefill.items():
        assert cloudmatrix.prefill_tokens_per_s(4096, experts) == pytest.approx(stated, rel=0.01)


def test_multi_token_prediction_gains_what_the_paper_states_which_nothing_was_fitted_to():
    """Stated: 6 to 49 %, more for small batches."""
    gains = [cloudmatrix.prediction_gain(batch, 4224) for batch in (8, 24, 96)]
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] == pytest.approx(0.06, abs=0.03)
    assert gains[0] == pytest.approx(0.49, abs=0.05)


def test_a_context_cache_speeds_prefill_up_as_stated():
    """Stated: 1.42 times where half of a prompt is found, 2.28 times where nine tenths are; one constant."""
    assert cloudmatrix.cached_speed_up(0.5) == pytest.approx(1.42, rel=0.03)
    assert cloudmatrix.cached_speed_up(0.9) == pytest.approx(2.28, rel=0.03)
    assert cloudmatrix.cached_speed_up(0.0) == 1.0


def test_longer_contexts_and_larger_batches_take_longer_and_serve_more():
    batches = np.arange(1, 129)
    assert np.all(np.diff(cloudmatrix.decode_token_s(batches, 4096.0)) > 0)
    assert np.all(np.diff(cloudmatrix.decode_tokens_per_s(batches, 4096.0)) > 0)
    assert np.all(np.diff(cloudmatrix.prefill_tokens_per_s(np.array([1024.0, 4096.0, 16384.0]))) < 0)


# --- Long contexts ----------------------------------------------------------------------------------------------------


def of_yi(context):
    model, device = get_architecture("Yi-34B"), get_device("A100-SXM-80GB")
    return costs(model, device, get_precision("bf16"), context=context, answer=250)


def test_the_cache_of_a_34b_model_takes_what_the_study_of_long_contexts_states():
    assert of_yi(4096).cache_bytes / 2**30 == pytest.approx(0.94, abs=0.005)
    assert of_yi(100_000).cache_bytes / 2**30 == pytest.approx(22.9, abs=0.05)


def test_prefill_and_decode_of_4k_and_decode_of_50k_tokens_take_what_the_study_states():
    """Stated: prefill of 4K tokens 0.89 s; 250 tokens after 4K and 50K in 8.5 and 9.8 s."""
    short, long = of_yi(4096), of_yi(50_000)
    assert short.prefill_s == pytest.approx(0.89, rel=0.06)
    assert (short.answer_s, long.answer_s) == (pytest.approx(8.5, rel=0.03), pytest.approx(9.8, rel=0.03))


def test_users_and_switches_are_plain_arithmetic():
    """80 GB hold 34.4 billion weights of two bytes and caches of 245,760 bytes a token, which move at 20 GB/s."""
    for context in (4096, 50_000):
        found = of_yi(context)
        assert found.users == pytest.approx((80e9 - 2 * 34.39e9) / (245_760 * context), rel=0.01)
        assert found.switch_s == pytest.approx(2 * 245_760 * context / 20e9, rel=1e-9)


def test_a_placement_of_experts_that_is_none_is_refused():
    with pytest.raises(UnknownNameError, match="Unknown placement of experts 'even'; there are: perfect, default"):
        cloudmatrix.prefill_tokens_per_s(4096, "even")


# --- APEX -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [600, 1200])
def test_two_h100s_serve_llama_70b_faster_split_by_layer_width_than_by_depth_as_apex_states(context):
    """Stated: 1.611 requests/s split in width, 0.782 in two stages, and 75.7 kJ against 158.5 kJ."""
    model, device, precision = get_architecture("Llama-3-70B"), get_device("H100-SXM-80GB"), get_precision("bf16")
    batch = capacity_tokens(model, device, precision, 2) / context
    width, depth = (roofline.replica_of(model, device, precision, t)._replace(free_bytes=np.inf) for t in (2, 1))
    rate_width = batch / roofline.decode_s(width, batch, context)
    rate_depth = batch / roofline.decode_s(depth, batch / 2, context)  # two batches in flight, each half as large
    assert rate_depth / rate_width == pytest.approx(0.782 / 1.611, rel=0.25)
    assert rate_width / rate_depth == pytest.approx(158.5 / 75.7, rel=0.2)  # energy, as the power is the same
