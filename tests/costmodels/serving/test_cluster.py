"""Splitwise's times, the rates of pools and clusters, against its raw table, event simulations and its paper."""

import csv
import functools
import itertools
import statistics

import cluster_oracle as oracle
import jax.numpy as jnp
import numpy as np
import pytest

from dsegym.costmodels.errors import DsegymError, UnknownNameError
from dsegym.costmodels.serving.cluster import heuristics, model, performance, pools
from dsegym.costmodels.serving.mix.requests import histogram

# --- Times ------------------------------------------------------------------------------------------------------------

_NAMES = {"llama2-70b": "Llama-2-70B", "bloom-176b": "BLOOM-176B"}
_MACHINES = {"a100-80gb": "DGX-A100", "h100-80gb": "DGX-H100", "h100-80gb-pcap": "DGX-H100-capped"}


@pytest.fixture(scope="module")
def raw(shared_data):
    """{(model, machine, tensor parallelism): rows of splitwise-sim's table}, but for the batches that did not fit."""
    groups = {}
    with (shared_data / "llm" / "splitwise_perf_model.csv").open() as file:
        for row in csv.DictReader(file):
            tensor = int(row["tensor_parallel"])
            if (row["model"], tensor, int(row["batch_size"])) != ("llama2-70b", 2, 64):
                groups.setdefault((_NAMES[row["model"]], _MACHINES[row["hardware"]], tensor), []).append(row)
    return groups


def test_every_measured_median_is_exact(raw):
    count = 0
    for key, rows in raw.items():
        shapes = {}
        for row in rows:
            shape = tuple(int(row[name]) for name in ("prompt_size", "batch_size", "token_size"))
            shapes.setdefault(shape, []).append((float(row["prompt_time"]), float(row["token_time"])))
        for shape, times in shapes.items():
            found = performance.measured(*key, *shape)
            prompt, token = (statistics.median(column) for column in zip(*times, strict=True))
            assert found.prompt_s * 1e3 == pytest.approx(prompt, abs=1e-4)
            assert found.token_s * 1e3 == pytest.approx(token, abs=1e-4)
            count += 1
    assert count == 225


def test_times_between_the_knots_are_those_of_splitwises_performance_model(raw):
    for key, rows in raw.items():
        times = performance.times_of(*key)
        prompt, token = (oracle.medians_by_tokens(rows, name) for name in ("prompt_time", "token_time"))
        for tokens in (1, 64, 128, 300, 512, 777, 1024, 3000, 8192, 20_000, 40_000):
            assert float(times.prompt_s(tokens)) * 1e3 == pytest.approx(oracle.interpolated(prompt, tokens), rel=1e-5)
            assert float(times.token_s(tokens)) * 1e3 == pytest.approx(oracle.interpolated(token, tokens), rel=1e-5)
            assert float(times.mixed_s(tokens)) == pytest.approx(1.1 * float(times.prompt_s(tokens)))


def test_shapes_that_a_fit_has_not_seen_are_met_within_the_error_that_is_stated(raw):
    """Every other number of tokens is left out in turn: a segment of four times the tokens stands in for two."""
    errors = {"prompt_time": [], "token_time": []}
    for rows in raw.values():
        for name, found in errors.items():
            knots = oracle.medians_by_tokens(rows, name)
            for place in range(1, len(knots) - 1):
                tokens, median = knots[place]
                guess = oracle.interpolated(knots[:place] + knots[place + 1 :], tokens)
                found.append(abs(guess / median - 1))
    assert np.mean(errors["token_time"]) < 0.03
    assert np.mean(errors["prompt_time"]) < 0.12


def test_a_decode_batch_is_what_was_measured_with_so_many_requests():
    times = performance.times_of("BLOOM-176B", "DGX-A100", 8)
    assert [round(float(times.token_by_batch_s(size)) * 1e3, 1) for size in (1, 16, 32, 64)] == [48.8, 57.3, 65.4, 96.6]
    assert float(times.token_s(64)) < 0.05  # splitwise-sim's


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        (("OPT-66B", "DGX-A100", 8), DsegymError, "Splitwise measured BLOOM-176B and Llama-2-70B, not OPT-66B"),
        (("BLOOM-176B", "DGX-A100", 4), DsegymError, "measured BLOOM-176B on 8 GPUs an instance, not on 4"),
        (("BLOOM-176B", "DGX-B200", 8), UnknownNameError, "Unknown machine 'DGX-B200'"),
    ],
)
def test_what_was_not_measured_is_refused(asked, error, said):
    with pytest.raises(error, match=said):
        performance.times_of(*asked)


def test_a_shape_that_was_not_measured_names_those_that_were():
    with pytest.raises(DsegymError, match=r"No batch of 3 prompts of 512 tokens .* \(512, 1\), \(512, 2\)"):
        performance.measured("BLOOM-176B", "DGX-A100", 8, 512, 3)


# --- Pools ------------------------------------------------------------------------------------------------------------

MACHINES = tuple(performance.MACHINES)


@functools.cache
def asked_of(workload="azure_conv", name="BLOOM-176B", tensor=8):
    return pools.requests_of(histogram(workload), name, tensor)


@functools.cache
def rates_of(workload="azure_conv", name="BLOOM-176B", tensor=8, token_times="simulator"):
    return [pools.pool_rates(asked_of(workload, name, tensor), machine, 100, token_times) for machine in MACHINES]


def test_waits_are_those_of_a_simulated_queue():
    services, shares = [0.1, 0.4], [0.7, 0.3]
    mean = 0.19
    variation = (0.7 * 0.01 + 0.3 * 0.16) / mean**2 - 1
    for servers, load in ((1, 0.7), (4, 0.8), (16, 0.9)):
        rate = load * servers / mean
        waits = [wait for _, wait in oracle.prompt_waits(rate, servers, services, shares, 100_000, 1)]
        some, decay = pools.wait_tail(np.array([servers]), np.array([rate]), mean, variation)
        assert np.mean(np.array(waits) > 1e-9) == pytest.approx(some[0], abs=0.06)
        late = 2 / decay[0]
        assert np.mean(np.array(waits) > late) == pytest.approx(some[0] * np.exp(-2), abs=0.03)


@pytest.mark.parametrize("machines", [4, 25])
def test_a_simulated_prompt_pool_keeps_its_targets_up_to_the_claimed_rate_and_not_far_beyond(machines):
    requests, services = asked_of(), performance.times_of("BLOOM-176B", "DGX-A100", 8).prompt_s(asked_of().prompt)

    def kept(rate):
        found = oracle.prompt_waits(rate, machines, services.tolist(), requests.shares.tolist(), 60_000, 2)
        slowed = [(wait + services[kind]) / requests.first_token_s[kind] for kind, wait in found]
        limits = zip((0.5, 0.9, 0.99), pools.SLOWDOWNS["first_token"], strict=True)
        return all(oracle.percentile(slowed, share) <= limit for share, limit in limits)

    claimed = rates_of()[0].prompt[machines]
    assert kept(0.95 * claimed)
    assert not kept(1.25 * claimed)


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1])
def test_simulated_instances_that_serve_both_phases_keep_their_targets_up_to_the_claimed_rate(place):
    requests, times = asked_of(), performance.times_of("BLOOM-176B", MACHINES[place], 8)
    kinds = list(zip(requests.prompt.tolist(), requests.output.tolist(), strict=True))
    alone = requests.first_token_s + (requests.output - 1) * requests.token_s

    def kept(rate):
        found = oracle.together(
            rate, 8, kinds, requests.shares.tolist(), lambda n: float(times.mixed_s(n)),
            lambda n: float(times.token_s(n)), 4000, 3,
        )  # fmt: skip
        slowed = {
            "first_token": [first / requests.first_token_s[kind] for kind, first, _, _ in found],
            "token": [each / requests.token_s[kind] for kind, _, each, _ in found],
            "end_to_end": [whole / alone[kind] for kind, _, _, whole in found],
        }
        return all(
            oracle.percentile(values, share) <= limit
            for target, values in slowed.items()
            for share, limit in zip((0.5, 0.9, 0.99), pools.SLOWDOWNS[target], strict=True)
        )

    claimed = rates_of()[place].together[8] / 8
    assert kept(0.85 * claimed)
    assert not kept(1.2 * claimed)


@pytest.mark.parametrize("token_times", performance.TOKEN_TIMES)
def test_more_machines_serve_more(token_times):
    for rates in rates_of(token_times=token_times):
        for pool in (rates.prompt, rates.token, rates.together):
            assert pool[0] == 0
            assert np.all(np.diff(pool) >= -1e-9)


def test_larger_batches_than_measured_in_time_serve_fewer_tokens():
    for simulated, measured in zip(rates_of(), rates_of(token_times="measured"), strict=True):
        assert measured.token[10] < simulated.token[10]


# --- Clusters ---------------------------------------------------------------------------------------------------------


def cluster_of(workload="azure_conv"):
    rates, machines = rates_of(workload), performance.MACHINES.values()
    return model.Cluster(
        *(np.stack([getattr(each, name) for each in rates]) for name in ("prompt", "token", "together")),
        np.array([8 * each.usd_per_h for each in machines]),
        np.array([each.power_kw for each in machines]),
    )


def test_a_cluster_serves_costs_and_draws_what_plain_arithmetic_says():
    cluster = cluster_of()
    rates = dict(zip(("prompt", "token", "together"), cluster[:3], strict=True))
    limits = model.Limits(np.int32(0), np.float32(1000), np.float32(150), np.float32(40))
    luck = np.random.default_rng(0)
    for _ in range(200):
        plan = (int(luck.integers(2)), int(luck.integers(60)), int(luck.integers(3)), int(luck.integers(1, 60)))
        metrics, value, missed = model.evaluate(model.Plan(*map(jnp.int32, plan)), cluster, limits)
        rate, cost, power = oracle.cluster(plan[:2], plan[2:], rates, cluster.usd_per_h, cluster.power_kw)
        assert float(metrics.rate) == pytest.approx(rate, rel=1e-5)
        assert float(metrics.cost_usd_h) == pytest.approx(cost, rel=1e-6)
        assert float(metrics.power_kw) == pytest.approx(power, rel=1e-6)
        assert float(value) == pytest.approx(1e3 / rate, rel=1e-5)
        lacking = max(cost / 1000 - 1, 0) + max(power / 150 - 1, 0) + max(1 - rate / 40, 0)
        assert float(missed) == pytest.approx(lacking, abs=1e-5)


# --- Splitwise's paper ------------------------------------------------------------------------------------------------

A, H, CAP = range(3)
ISO_POWER = {  # the paper's designs at the power of 40 DGX-H100s: (prompt type, machines), (token type, machines)
    "Baseline-A100": ((A, 0), (A, 70)),
    "Baseline-H100": ((H, 0), (H, 40)),
    "AA": ((A, 45), (A, 25)),
    "HH": ((H, 25), (H, 15)),
    "HA": ((H, 25), (A, 26)),
    "HHcap": ((H, 25), (CAP, 21)),
}
ISO_COST = {
    "Baseline-A100": ((A, 0), (A, 86)),
    "Baseline-H100": ((H, 0), (H, 40)),
    "AA": ((A, 51), (A, 35)),
    "HH": ((H, 25), (H, 15)),
    "HA": ((H, 30), (A, 21)),
}


def worth(designs):
    cluster = cluster_of()
    rates = dict(zip(("prompt", "token", "together"), cluster[:3], strict=True))
    return {
        name: oracle.cluster(*design, rates, cluster.usd_per_h, cluster.power_kw) for name, design in designs.items()
    }


def test_the_papers_designs_are_of_equal_power_and_of_equal_cost():
    for _, _, power in worth(ISO_POWER).values():
        assert power == pytest.approx(224, rel=0.01)
    for _, cost, _ in worth(ISO_COST).values():
        assert cost == pytest.approx(40 * 8 * 4.76, rel=0.01)


def test_at_equal_power_the_papers_designs_rank_as_it_says_and_pools_of_a100s_double_the_baselines_rate():
    rate = {name: each[0] for name, each in worth(ISO_POWER).items()}
    assert rate["Baseline-A100"] < rate["Baseline-H100"] < rate["AA"] < rate["HA"]
    assert rate["Baseline-H100"] < rate["HH"] <= rate["HHcap"]
    assert rate["AA"] / rate["Baseline-A100"] == pytest.approx(2.15, rel=0.2)


def test_at_equal_cost_pools_of_a100s_serve_1_4_times_the_h100_baseline_at_a_quarter_more_power():
    found = worth(ISO_COST)
    (aa, _, power), (baseline, _, baseline_power) = found["AA"], found["Baseline-H100"]
    assert aa / baseline == pytest.approx(1.4, rel=0.1)
    assert power / baseline_power == pytest.approx(1.25, abs=0.03)
    assert found["HA"][0] / baseline == pytest.approx(1.18, rel=0.1)


def test_capped_token_machines_serve_what_the_h100_baseline_does_with_a_quarter_less_power():
    cluster, baseline = cluster_of(), worth(ISO_POWER)["Baseline-H100"]
    limits = model.Limits(np.int32(2), np.float32(1e9), np.float32(1e9), np.float32(baseline[0]))
    _, prompts, _, tokens = heuristics.design_of(heuristics.RULES["splitwise_hhcap"], cluster, limits)
    power = prompts * 5.6 + tokens * 3.92
    assert power / baseline[2] == pytest.approx(0.75, abs=0.05)


def test_70_coding_requests_a_second_take_mostly_prompt_machines_as_the_paper_says():
    """The paper: 27 prompt and 3 token machines, DGX-H100."""
    limits = model.Limits(np.int32(1), np.float32(1e9), np.float32(1e9), np.float32(70))
    design = heuristics.design_of(heuristics.RULES["splitwise_hh"], cluster_of("azure_code"), limits)
    assert design[1] == pytest.approx(27, abs=4)
    assert design[3] == pytest.approx(3, abs=1)


def test_requests_alone_take_what_table_iv_says(shared_data):
    """Llama-70B without batching at the traces' medians; published at the 50th percentile."""
    medians = {"coding": (1469, 13), "conversation": (1020, 129)}
    with (shared_data / "llm" / "splitwise_table4.csv").open() as file:
        for row in csv.DictReader(file):
            prompt, output = medians[row["trace"]]
            times = performance.times_of("Llama-2-70B", f"DGX-{row['gpu']}", 8)
            first, token = float(times.prompt_s(prompt)) * 1e3, float(times.token_s(prompt)) * 1e3
            assert first == pytest.approx(float(row["ttft_ms_p50"]), rel=0.4)
            assert token == pytest.approx(float(row["tbt_ms_p50"]), rel=0.2)
            assert first + (output - 1) * token == pytest.approx(float(row["e2e_ms_p50"]), rel=0.3)


@pytest.mark.slow
def test_every_rule_stays_within_the_pools_and_the_limits():
    limits = model.Limits(np.int32(0), np.float32(1e9), np.float32(224), np.float32(0))
    for rule, workload in itertools.product(heuristics.RULES.values(), ("azure_conv", "azure_code")):
        _, prompts, _, tokens = heuristics.design_of(rule, cluster_of(workload), limits)
        assert 0 <= prompts <= 100
        assert 1 <= tokens <= 100
        assert (prompts == 0) == (rule.split == "together")
