"""The Kinetics cost law against a token-by-token oracle, the paper's symbols and known figures; idealised run times."""

import jax
import kinetics_oracle as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsegym.costmodels.errors import DsegymError, UnknownNameError
from dsegym.costmodels.reasoning.serving.runtime import PROMPTS, idealised_runtime_s, runtime_fits
from dsegym.costmodels.transformers.kinetics import (
    ATTENTIONS,
    Attention,
    Model,
    cost,
    hardware,
    models,
)

B200 = hardware()["b200"]
PROMPT = 256
# Tokens, model; TFLOP: linear, attention, I * key-value bytes, total; attention's share, s on a B200; TFLOP with the
# top 1024, speed-up.
TABLE = [
    (4096, "0.6B", 6, 2, 609, 617, 0.99, 0.137, 278, 2.2),
    (4096, "14B", 121, 8, 870, 998, 0.88, 0.222, 511, 2.0),
    (16384, "0.6B", 25, 32, 8929, 8986, 1.00, 2.00, 1111, 8.1),
    (16384, "4B", 132, 82, 11480, 11694, 0.99, 2.60, 1533, 7.6),
    (16384, "14B", 484, 113, 12756, 13353, 0.96, 2.97, 2044, 6.5),
    (16384, "32B", 1073, 290, 20410, 21773, 0.95, 4.84, 3583, 6.1),
    (32768, "0.6B", 49, 125, 35176, 35350, 1.00, 7.86, 2222, 15.9),
    (32768, "32B", 2147, 1143, 80402, 83692, 0.97, 18.6, 7165, 11.7),
]
sizes = st.tuples(st.integers(10**6, 10**11), st.integers(1, 128), st.integers(1, 64), st.integers(64, 20_000)).map(
    lambda values: Model(*map(float, values))
)
attentions = st.sampled_from([*ATTENTIONS.values(), Attention(7, 0), Attention(50, 16)])


def dense(name, length, prompt=PROMPT, trials=1):
    return cost(models()[name], ATTENTIONS["dense"], prompt=prompt, length=length, trials=trials)


def top(name, length, budget=1024, prompt=PROMPT, trials=1):
    return cost(models()[name], ATTENTIONS[f"top_{budget}"], prompt=prompt, length=length, trials=trials)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[1]}-{row[0]}")
def test_the_known_table_comes_out(row):
    length, name, linear, attention, reads, total, share, seconds, sparse, ratio = row
    spent = dense(name, length)
    eflop = spent.eflop(B200.intensity)
    # Figures are rounded to whole TFLOP or two digits: half of the last digit, or 1 percent.
    assert spent.linear_flop * 1e-12 == pytest.approx(linear, rel=0.01, abs=0.5)
    assert spent.attention_flop * 1e-12 == pytest.approx(attention, rel=0.01, abs=0.5)
    assert B200.intensity * spent.kv_bytes * 1e-12 == pytest.approx(reads, rel=0.01)
    assert eflop * 1e-12 == pytest.approx(total, rel=0.01)
    assert 1 - spent.linear_flop / eflop == pytest.approx(share, abs=0.005)
    assert eflop / B200.peak_flops == pytest.approx(seconds, rel=0.01)
    # The table's top-k column leaves the first steps uncorrected, as they are with a prompt as long as the budget.
    uncorrected = top(name, length, prompt=1024).eflop(B200.intensity)
    assert uncorrected * 1e-12 == pytest.approx(sparse, rel=0.01)
    assert eflop / uncorrected == pytest.approx(ratio, rel=0.01, abs=0.05)


def test_a_large_model_costs_ten_times_a_small_one_in_flop_and_half_as_much_again_with_memory():
    large, small = dense("14B", 16384), dense("0.6B", 16384)
    assert large.flop() / small.flop() == pytest.approx(10.5, rel=0.01)  # 10.59; 10.5 of the table's rounded figures
    assert large.eflop(B200.intensity) / small.eflop(B200.intensity) == pytest.approx(1.49, abs=0.005)


def test_attention_takes_95_percent_of_dense_cost_from_16384_tokens_on():
    for name in models():
        for length in (16384, 32768):
            spent = dense(name, length)
            assert 0.95 < 1 - spent.linear_flop / spent.eflop(B200.intensity) < 1
    # The key-value reads alone do not, for the largest model: 0.937.
    reads = {name: B200.intensity * dense(name, 16384).kv_bytes for name in models()}
    shares = {name: read / dense(name, 16384).eflop(B200.intensity) for name, read in reads.items()}
    assert [name for name, share in shares.items() if share < 0.95] == ["32B"]
    assert shares["32B"] == pytest.approx(0.937, abs=0.001)


def test_top_1024_is_11_to_16_times_cheaper_at_32768_tokens():
    for name in models():
        ratio = dense(name, 32768).eflop(B200.intensity) / top(name, 32768, prompt=1024).eflop(B200.intensity)
        assert 11 < ratio < 16, name


@settings(max_examples=60, deadline=None)
@given(sizes, attentions, st.integers(1, 600), st.integers(1, 400), st.integers(1, 40))
def test_costs_equal_the_oracles_token_by_token(model, attention, prompt, length, trials):
    spent = cost(model, attention, prompt=prompt, length=length, trials=trials)
    expected = oracle.token_by_token(
        tuple(model), prompt=prompt, length=length, trials=trials, budget=attention.budget, block=attention.block
    )
    assert spent.linear_flop == pytest.approx(expected.linear_flop)
    assert spent.attention_flop == pytest.approx(expected.attention_flop)
    assert spent.kv_bytes == pytest.approx(expected.kv_bytes)
    assert spent.eflop(100.0) == pytest.approx(expected.eflop(100.0))


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(0, 4000), st.integers(1, 40_000), st.integers(1, 64), st.floats(0, 1000))
def test_dense_costs_equal_the_papers_symbols(model, prompt, length, trials, intensity):
    spent = cost(model, ATTENTIONS["dense"], prompt=prompt, length=length, trials=trials).eflop(intensity)
    paper = oracle.same_in_the_papers_symbols(model, prompt=prompt, length=length, trials=trials, intensity=intensity)
    assert spent == pytest.approx(paper)


def test_no_intensity_gives_the_flop_law():
    for name in models():
        for spent in (dense(name, 8192, trials=4), top(name, 8192, trials=4)):
            assert spent.eflop(0.0) == spent.flop() == spent.linear_flop + spent.attention_flop
            assert spent.eflop(1.0) > spent.flop()


def test_trials_share_the_reads_of_a_prompt_and_nothing_else():
    for prompt, length in ((65536, 256), (256, 4096)):
        one, many = (dense("8B", length, prompt=prompt, trials=trials) for trials in (1, 32))
        assert many.flop() == pytest.approx(32 * one.flop())
        saved = 31 * 4 * prompt * length * models()["8B"].kv_heads * models()["8B"].depth
        assert 32 * one.kv_bytes - many.kv_bytes == pytest.approx(saved)
    # With a prompt much longer than the answers, 32 trials read hardly more than one.
    one, many = (dense("8B", 256, prompt=65536, trials=trials) for trials in (1, 32))
    assert many.kv_bytes < 1.1 * one.kv_bytes
    assert many.eflop(B200.intensity) < 0.1 * 32 * one.eflop(B200.intensity)


@pytest.mark.parametrize("budget", [512, 1024, 2048])
def test_the_first_steps_of_top_k_read_less_than_the_budget_not_more(budget):
    length, model = 8192, models()["4B"]
    uncorrected = 4 * budget * length * model.kv_heads * model.depth
    missing = 4 * 0.5 * (budget - PROMPT) ** 2 * model.kv_heads * model.depth
    assert top("4B", length, budget=budget).kv_bytes == pytest.approx(uncorrected - missing)
    assert top("4B", length, budget=budget, prompt=budget).kv_bytes == pytest.approx(uncorrected)


def test_an_answer_that_never_fills_the_budget_costs_what_dense_attention_does():
    for length in (1, 100, 1024 - PROMPT):
        assert top("4B", length) == pytest.approx(dense("4B", length))
    assert top("4B", 1025).kv_bytes < dense("4B", 1025).kv_bytes


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(models())), attentions, st.integers(0, 4000), st.integers(1, 40_000), st.integers(1, 64))
def test_costs_are_positive_and_grow_with_tokens_and_trials(name, attention, prompt, length, trials):
    def eflop(length, trials):
        return cost(models()[name], attention, prompt=prompt, length=length, trials=trials).eflop(B200.intensity)

    assert 0 < eflop(length, trials) < eflop(length + 1, trials)
    assert eflop(length, trials) < eflop(length, trials + 1)


def test_a_search_of_blocks_costs_more_than_no_search_and_has_the_swept_sizes():
    for budget in (128, 256, 512, 1024, 2048):
        block = ATTENTIONS[f"block_top_{budget}"]
        assert block.block * block.budget == 16384
        spent = cost(models()["8B"], block, prompt=PROMPT, length=32768, trials=2)
        free = top("8B", 32768, budget=budget, trials=2)
        assert spent.linear_flop == free.linear_flop
        assert spent.attention_flop > free.attention_flop
        assert spent.kv_bytes > free.kv_bytes


def test_costs_are_the_same_in_jax_and_broadcast():
    model = Model(*(np.array(column, np.float32)[:, None] for column in zip(*models().values(), strict=True)))
    lengths = np.array([100.0, 4096.0, 32768.0], np.float32)
    found = jax.jit(lambda m, n: cost(m, ATTENTIONS["block_top_512"], prompt=256.0, length=n, trials=8.0))(
        model, lengths
    )
    for row, name in enumerate(models()):
        for column, length in enumerate(lengths):
            expected = cost(models()[name], ATTENTIONS["block_top_512"], prompt=256, length=int(length), trials=8)
            assert found.eflop(100.0)[row, column] == pytest.approx(expected.eflop(100.0), rel=1e-5)


def test_the_table_of_hardware_gives_the_known_intensities():
    assert B200.intensity == 562.5
    assert {name: round(each.intensity) for name, each in hardware().items()} == {"b200": 562, "h100": 295, "a100": 153}
    # bf16 bytes of a token's keys and values.
    kv_bytes = {name: 4 * model.kv_heads * model.depth for name, model in models().items()}
    assert kv_bytes == {
        "0.6B": 114_688, "1.7B": 114_688, "4B": 147_456, "8B": 147_456, "14B": 163_840, "32B": 262_144
    }  # fmt: skip


# --- Idealised run time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", sorted(runtime_fits()))
def test_run_time_is_that_of_the_prompt_plus_a_constant_for_each_further_token(model):
    fit = runtime_fits()[model]
    np.testing.assert_allclose(idealised_runtime_s(model, prompt=np.array(PROMPTS), output=1), fit.prompt_s)
    middle = idealised_runtime_s(model, prompt=768, output=1)
    assert middle == pytest.approx((fit.prompt_s[1] + fit.prompt_s[2]) / 2)
    by_output = idealised_runtime_s(model, prompt=300, output=np.array([1, 2, 11, 101]))
    np.testing.assert_allclose(by_output - by_output[0], np.array([0, 1, 10, 100]) * fit.token_s, rtol=1e-9)
    assert (np.diff(idealised_runtime_s(model, prompt=np.arange(1, 1921), output=1)) > 0).all()


def test_a_thousand_tokens_out_take_far_longer_than_a_thousand_tokens_in():
    for model in runtime_fits():
        written = idealised_runtime_s(model, prompt=1, output=1001)
        read = idealised_runtime_s(model, prompt=1001, output=1)
        assert written > 40 * read


@pytest.mark.parametrize(("prompt", "output"), [(0, 1), (1921, 1), (1, 0), (float("nan"), 1), (1, float("nan"))])
def test_tokens_out_of_range_are_refused(prompt, output):
    with pytest.raises(DsegymError, match="1 to 1920 tokens"):
        idealised_runtime_s("17B", prompt=prompt, output=output)


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'BLOOM 176B'"):
        idealised_runtime_s("BLOOM 175B", prompt=1, output=1)
