"""A training step against formulas as the papers print them, event simulations, and published runs."""

import csv
import importlib.util
import itertools
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import training_oracle as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

import dsegym
from dsegym.costmodels.errors import DsegymError, UnknownNameError
from dsegym.costmodels.tables import package_rows
from dsegym.costmodels.training import failures, scaling, search
from dsegym.costmodels.training.clusters import clusters, get_cluster, machine_of, usable_bytes
from dsegym.costmodels.training.memory import memory_bytes
from dsegym.costmodels.training.models import model_flop, trained_model
from dsegym.costmodels.training.optimum import Search, costed
from dsegym.costmodels.training.plan import broken, choice_of, table_of
from dsegym.costmodels.training.step import FULL, NONE, SELECTIVE, Task, step_times
from dsegym.costmodels.transformers.architectures import active_parameters, parameters
from dsegym.envs.training.plan import CORE, TrainingPlanOptions, _search


def loaded():
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "training_plans.py"
    spec = importlib.util.spec_from_file_location("training_plans", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


runs = loaded()
WRITTEN = {"attention": "written", "overlap": "none"}


def gpt_task(layers, hidden, heads, batch, s=2048):
    return Task(runs.gpt(layers, hidden, heads), s, batch, 1.0, 4, 12)


def seconds(task, plan, machine):
    return float(step_times(task, plan, machine).total_s())


# --- Models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", package_rows("training/tables/models.csv"), ids=lambda row: row["model"])
def test_parameters_are_within_three_percent_of_what_authors_state(row):
    model = trained_model(row["model"])
    assert float(parameters(model)) == pytest.approx(float(row["stated_billion"]) * 1e9, rel=0.03)
    if row["active_billion"]:
        assert float(active_parameters(model)) == pytest.approx(float(row["active_billion"]) * 1e9, rel=0.08)


def test_flop_of_a_step_are_korthikantis():
    layers, h, s, batch, vocabulary = 96, 12288, 2048, 64, 51200
    expected = 72 * batch * s * layers * h * h * (1 + s / (6 * h) + vocabulary / (12 * layers * h))
    assert float(model_flop(runs.gpt(layers, h, 96), batch, s)) == pytest.approx(expected, rel=1e-12)


# --- Memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "gigabytes"), [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_zero_takes_what_its_paper_states_for_7_5_billion_on_64(stage, gigabytes):
    assert oracle.zero_bytes(7.5e9, 64, stage) * 1e-9 == pytest.approx(gigabytes, abs=0.05)


@given(
    st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 4, 64]), st.sampled_from([0, 1, 2, 3]), st.sampled_from([2, 4])
)
def test_states_are_zeros_formulas(t, d, stage, gradient):
    task = gpt_task(24, 4096, 32, 64)._replace(gradient_bytes=gradient)
    kept = memory_bytes(task, runs.plan_of(t, 1, d, zero=stage), 1.0)
    layers = 12 * 24 * 4096**2 / t
    expected = oracle.zero_bytes(layers, d, stage, gradient)
    assert float(kept.weights + kept.gradients + kept.optimizer) == pytest.approx(expected, rel=1e-12)


@given(
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([(1, 1), (4, 1), (4, 2), (8, 3)]),
    st.sampled_from([1, 2]),
    st.booleans(),
    st.sampled_from([("none", NONE), ("selective", SELECTIVE), ("full", FULL)]),
)
def test_activations_are_korthikantis_formulas(t, staged, b, sequence, recompute):
    (p, v), (name, code) = staged, recompute
    layers, h, a, s, m = 48, 6144, 64, 2048, 16
    plan = runs.plan_of(t, p, 1, micro_batch=b, interleave=v, recompute=code, sequence=float(sequence))
    kept = memory_bytes(gpt_task(layers, h, a, m * b, s), plan, 1.0)
    layer = oracle.activation_bytes(s, b, h, a, t, sequence, name)
    in_flight = layers * (1 + (p - 1) / (p * v) if v > 1 else 1)
    assert float(kept.activations) == pytest.approx(in_flight * layer, rel=1e-12)


def korthikanti_rows(shared_data):
    with (shared_data / "llm" / "korthikanti_recompute.csv").open() as file:
        return list(csv.DictReader(file))


def test_korthikantis_twelve_memory_figures_are_met_exactly(shared_data):
    for row in korthikanti_rows(shared_data):
        layers, h, a, t, p, v, batch, b = (
            int(row[name]) for name in ("layers", "hidden", "heads", "t", "p", "v", "batch", "microbatch")
        )
        task, plan = gpt_task(layers, h, a, batch), runs.plan_of(t, p, 1, micro_batch=b, interleave=v)
        kept = memory_bytes(task, plan, 1.0)
        states = float(kept.weights + kept.gradients + kept.optimizer)
        assert states / oracle.GIB == pytest.approx(float(row["gib_params_opt"]), rel=1e-9)
        assert float(kept.activations) / oracle.GIB == pytest.approx(float(row["gib_act_none"]), rel=1e-6)
        spared = memory_bytes(task, plan._replace(recompute=SELECTIVE, sequence=1), 1.0)
        measured = float(row["gib_act_seqpar_selective"])
        assert float(spared.activations) / oracle.GIB == pytest.approx(measured, rel=1e-6)


def test_korthikantis_shares_of_activations_are_met_within_0_15_points(shared_data):
    for row in korthikanti_rows(shared_data):
        layers, h, a, t, b = (int(row[name]) for name in ("layers", "hidden", "heads", "t", "microbatch"))
        task, plan = gpt_task(layers, h, a, b), runs.plan_of(t, 1, 1, micro_batch=b)
        whole = float(memory_bytes(task, plan, 1.0).activations)
        for column, change in {
            "seqpar": {"sequence": 1},
            "selective": {"recompute": SELECTIVE},
            "seqpar_selective": {"sequence": 1, "recompute": SELECTIVE},
            "full": {"recompute": FULL},
        }.items():
            share = 100 * float(memory_bytes(task, plan._replace(**change), 1.0).activations) / whole
            assert share == pytest.approx(float(row[f"act_pct_{column}"]), abs=0.15)


def test_published_plans_that_ran_fit(shared_data):
    foundry = [*runs.llm_foundry(shared_data), *runs.llm_foundry(shared_data, "fp8")]
    assert len(foundry) == 216
    used = np.array(
        [float(memory_bytes(run.task, run.plan, 0.0).total()) / usable_bytes(run.cluster) for run in foundry]
    )
    assert np.sum(used <= 1) >= 212
    assert used.max() < 1.03
    for run in (*runs.table2(shared_data, "PTD-P"), *runs.korthikanti(shared_data)):
        assert float(memory_bytes(run.task, run.plan, 1.0).total()) < usable_bytes(run.cluster)


# --- Seconds ----------------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(
    cluster=st.sampled_from(sorted(clusters())),
    attention=st.sampled_from(["written", "triton", "flash2"]),
    overlap=st.sampled_from(["none", "data", "all"]),
    t=st.sampled_from([1, 2, 4, 8]),
    staged=st.sampled_from([(1, 1), (4, 1), (4, 2), (8, 3)]),
    d=st.sampled_from([1, 2, 16, 64]),
    b=st.sampled_from([1, 2, 4]),
    zero=st.sampled_from([0, 1, 2, 3]),
    recompute=st.sampled_from([NONE, SELECTIVE, FULL]),
    sequence=st.booleans(),
    s=st.sampled_from([512, 2048, 8192]),
)
def test_a_step_takes_what_plain_arithmetic_says(
    cluster, attention, overlap, t, staged, d, b, zero, recompute, sequence, s
):
    (p, v), layers, h, a = staged, 48, 6144, 64
    zero = zero if p == 1 else min(zero, 1)
    machine = machine_of(get_cluster(cluster), attention=attention, overlap=overlap)
    task = gpt_task(layers, h, a, 16 * b * d, s)
    model = task.model._replace(stored_output_parameters=0)
    plan = runs.plan_of(t, p, d, micro_batch=b, interleave=v, zero=zero, recompute=recompute, sequence=float(sequence))
    expected = oracle.gpt_step_s(
        layers=layers, h=h, a=a, vocabulary=51200, s=s, batch=16 * b * d, t=t, p=p, d=d, b=b, v=v, zero=zero,
        full=recompute == FULL, selective=recompute == SELECTIVE, sequence=sequence, fused=attention != "written",
        machine=machine,
    )  # fmt: skip
    assert seconds(task._replace(model=model), plan, machine) == pytest.approx(expected, rel=1e-9)


@given(st.integers(1, 6), st.integers(1, 12), st.floats(0.1, 3), st.floats(0.1, 3))
def test_the_bubble_of_1f1b_is_that_of_a_simulated_pipeline(stages, micro_batches, forward, backward):
    closed = (micro_batches + stages - 1) * (forward + backward)
    assert oracle.pipelined(stages, micro_batches, forward, backward) == pytest.approx(closed, rel=1e-9)


@given(st.integers(2, 6), st.integers(1, 4), st.integers(2, 4), st.floats(0.1, 3), st.floats(0.1, 3))
def test_the_bubble_of_interleaved_stages_is_that_of_a_simulated_pipeline(stages, rounds, chunks, forward, backward):
    micro_batches = rounds * stages
    closed = (micro_batches + (stages - 1) / chunks) * (forward + backward)
    assert oracle.interleaved(stages, micro_batches, chunks, forward, backward) == pytest.approx(closed, rel=1e-9)


def test_parts_of_a_step_add_up_to_a_pipeline_of_equal_stages():
    task, plan = gpt_task(96, 12288, 96, 64), runs.plan_of(8, 8, 1, micro_batch=1, interleave=3, recompute=FULL)
    times = step_times(task, plan, machine_of(get_cluster("A100"), **WRITTEN))
    layers_s = sum(float(x) for x in (times.total_s(), -times.bubble, -times.logits, -times.data, -times.optimizer))
    played = oracle.interleaved(8, 64, 3, layers_s / 64 / 3, layers_s / 64 * 2 / 3)
    assert layers_s + float(times.bubble) == pytest.approx(played, rel=1e-9)


def test_offloaded_activations_cost_no_time_while_links_keep_up_and_free_memory():
    task, plan = gpt_task(40, 6144, 48, 64), runs.plan_of(8, 1, 1, micro_batch=4, sequence=1)
    machine = machine_of(get_cluster("A100"), attention="flash2")
    half = plan._replace(offload=0.5)
    assert seconds(task, half, machine._replace(offload_bytes_s=1e12)) == seconds(task, plan, machine)
    assert seconds(task, half, machine._replace(offload_bytes_s=1e8)) > seconds(task, plan, machine)
    kept, spared = (float(memory_bytes(task, each, 0.0).activations) for each in (plan, half))
    assert spared == kept / 2


def test_what_does_not_learn_needs_no_states_and_less_time():
    task, plan, machine = gpt_task(40, 6144, 48, 64), runs.plan_of(8, 1, 1), machine_of(get_cluster("A100"))
    tuned = task._replace(trainable=0.01)
    whole, little = (memory_bytes(each, plan, 0.0) for each in (task, tuned))
    assert float(little.optimizer) == pytest.approx(0.01 * float(whole.optimizer))
    assert float(little.weights) == float(whole.weights)
    assert 0.6 < seconds(tuned, plan, machine) / seconds(task, plan, machine) < 0.8


def test_stages_that_lack_layers_take_as_long_as_full_ones():
    task, machine = gpt_task(126, 16384, 128, 64), machine_of(get_cluster("H100"))
    padded, plan = gpt_task(128, 16384, 128, 64), runs.plan_of(8, 8, 1, interleave=8)
    assert seconds(task, plan, machine) == pytest.approx(seconds(padded, plan, machine), rel=1e-12)
    kept = [float(memory_bytes(each, plan, 0.0).total()) for each in (task, padded)]
    assert kept[0] == pytest.approx(kept[1], rel=1e-12)


def test_pieces_of_a_sequence_keep_less_each_and_exchange_keys():
    task, machine = gpt_task(40, 6144, 48, 8, 32768), machine_of(get_cluster("H100"))
    whole, cut = runs.plan_of(1, 1, 8), runs.plan_of(1, 1, 2, context=4)
    kept = [float(memory_bytes(task, plan, 0.0).activations) for plan in (whole, cut)]
    assert kept[1] == pytest.approx(kept[0] / 4)
    assert float(step_times(task, whole, machine).tensor) == 0
    assert float(step_times(task, cut, machine).tensor) > 0


def test_experts_split_further_take_less_memory_and_more_traffic():
    task = Task(trained_model("Qwen3-30B-A3B"), 4096, 64, 1.0, 4, 12)
    plans = [runs.plan_of(1, 1, 16, expert=e, zero=1) for e in (1, 4, 16)]
    kept = [float(memory_bytes(task, plan, 0.0).weights) for plan in plans]
    times = [step_times(task, plan, machine_of(get_cluster("H100"))) for plan in plans]
    assert kept == sorted(kept, reverse=True)
    assert [float(each.experts) for each in times] == sorted(float(each.experts) for each in times)
    assert float(times[0].experts) == 0


# --- Published runs: which are fitted, the names say ------------------------------------------------------------------


def test_megatrons_ten_models_are_met_within_3_5_percent_on_average_by_the_fit(shared_data):
    errors = runs.best_errors(runs.table1(shared_data))
    assert len(errors) == 10
    assert np.abs(errors).mean() < 0.028
    assert np.abs(errors).max() < 0.08


def test_megatrons_largest_model_reaches_502_petaflops_within_7_percent(shared_data):
    fastest = 1 + runs.best_errors(runs.table1(shared_data))[-1]
    assert 502 / fastest == pytest.approx(502, rel=0.07)


@pytest.mark.slow
def test_a_model_of_megatrons_that_no_fit_has_seen_is_met_within_3_5_percent_on_average(shared_data):
    data = runs.published(shared_data)
    assert np.abs(runs.left_out(data)).mean() < 0.035
    nine = runs.Published(data.models, [])
    assert np.abs(runs.left_out(nine, ("eta of A100", "half_size", "traffic"))).mean() < 0.035


def test_the_shipped_constants_are_the_fit(shared_data):
    found = runs.fit(runs.published(shared_data))
    for name, (shipped, _, _) in runs.CONSTANTS.items():
        assert found[name] == pytest.approx(shipped, rel=5e-3), name
    for name, kind in (("A100", "A100"), ("A100-40GB", "A100"), ("H100", "H100")):
        assert get_cluster(name).eta == runs.CONSTANTS[f"eta of {kind}"][0]
        assert get_cluster(name).fused["triton"] == runs.CONSTANTS[f"triton of {kind}"][0]


def test_megatrons_second_table_is_met_and_zero_3_falls_behind_on_more_gpus(shared_data):
    own = runs.table2(shared_data, "PTD-P")
    assert np.abs(runs.errors(own)).mean() < 0.03
    # Of 174.6B at 1,536 sequences on 384, 768 and 1,536 GPUs: measured 0.94, 1.7 and 3.2 times; ours is far milder.
    behind = runs.predicted_s(runs.table2(shared_data, "ZeRO-3")[:3]) / runs.predicted_s(own[:3])
    assert behind[0] < behind[1] < behind[2]
    assert behind[2] > 1.1


def test_recomputing_less_saves_the_share_of_time_that_korthikanti_measured(shared_data):
    every = runs.korthikanti(shared_data)
    predicted = runs.predicted_s(every)
    for i in range(0, 8, 2):
        measured = every[i + 1].seconds / every[i].seconds
        assert predicted[i + 1] / predicted[i] == pytest.approx(measured, abs=0.045)
    assert np.abs(runs.errors(every)).mean() < 0.06


def test_interleaving_gains_as_much_as_a_tenth_and_less_with_larger_batches():
    machine = machine_of(get_cluster("A100"), **WRITTEN)
    gains = []
    for batch in (12, 24, 60, 120):
        task = gpt_task(96, 12288, 96, batch)
        plain, chunked = (runs.plan_of(8, 12, 1, interleave=v, recompute=FULL) for v in (1, 2))
        gains.append(seconds(task, plain, machine) / seconds(task, chunked, machine) - 1)
    assert gains == sorted(gains, reverse=True)
    assert 0.08 < gains[1] < 0.25
    assert 0 < gains[3] < 0.06


def test_161_billion_on_64_gpus_are_best_in_groups_of_a_node_and_collapse_across_nodes():
    machine, task = machine_of(get_cluster("A100"), **WRITTEN), gpt_task(64, 14336, 112, 32)
    flop = runs.megatron_flop(64, 14336, 32)
    reached = {
        t: flop / 64 / seconds(task, runs.plan_of(t, 64 // t, 1, recompute=FULL), machine) / 1e12
        for t in (2, 4, 8, 16, 32)
    }
    assert max(reached, key=reached.get) == 8
    assert reached[32] < reached[8] / 2
    assert reached[2] < 0.75 * reached[8]  # the paper's figure says less still: about 40 of 140


def test_frontiers_three_shares_of_the_peak_are_met_within_3_points_by_the_fit():
    published = {"22B": 38.38, "175B": 36.14, "1T": 31.96}
    for name, share in frontier_shares().items():
        assert share == pytest.approx(published[name], abs=3)


def frontier_share(layers, hidden, heads, t, p, d, micro_batches):
    machine = machine_of(get_cluster("Frontier"))
    plan = runs.plan_of(t, p, d, zero=1, recompute=FULL)
    batch = micro_batches * d
    reached = runs.megatron_flop(layers, hidden, batch) / (t * p * d)
    return 100 * reached / seconds(gpt_task(layers, hidden, heads, batch), plan, machine) / 191.5e12


def frontier_shares():
    return {
        "22B": frontier_share(48, 6144, 64, 2, 4, 32, 80),
        "175B": frontier_share(96, 12288, 96, 4, 16, 16, 640),
        "1T": frontier_share(128, 25600, 160, 8, 64, 6, 1600),
    }


def test_frontier_scales_weakly_at_100_percent_and_strongly_worse_for_1t_than_for_175b():
    weak = frontier_share(96, 12288, 96, 4, 16, 16, 640) / frontier_share(96, 12288, 96, 4, 16, 2, 640)
    strong = frontier_share(96, 12288, 96, 4, 16, 16, 500) / frontier_share(96, 12288, 96, 4, 16, 1, 8000)
    larger = frontier_share(128, 25600, 160, 8, 64, 6, 1336) / frontier_share(128, 25600, 160, 8, 64, 1, 8016)
    assert weak == pytest.approx(1, abs=0.01)
    assert weak > strong > larger > 0.87


def test_flash_attention_2_trains_at_225_teraflops_on_eight_gpus_within_a_tenth():
    layers, h, s, batch = 32, 2560, 8192, 32  # GPT of 2.7 billion; not fitted
    task = gpt_task(layers, h, 32, batch, s)
    flop = 6 * s * batch * float(parameters(task.model)) + 12 * layers * h * s * s * batch
    took = seconds(task, runs.plan_of(1, 1, 8, micro_batch=4, zero=1), machine_of(get_cluster("A100")))
    assert flop / 8 / took / 1e12 == pytest.approx(225, rel=0.1)


def test_llm_foundrys_bf16_rows_are_met_within_5_percent_on_average_by_the_fit(shared_data):
    every = runs.llm_foundry(shared_data)
    assert len(every) == 209
    assert np.abs(runs.errors(every)).mean() < 0.051
    assert np.abs(runs.errors(runs.llm_foundry(shared_data, "fp8"))).mean() < 0.14  # not fitted


@pytest.mark.slow
def test_half_of_llm_foundrys_rows_that_a_fit_has_not_seen_are_met_within_7_percent(shared_data):
    data = runs.published(shared_data)
    seen = [run for run in data.runs if run.source != "llm-foundry" or runs.in_first_half(run)]
    rest = [run for run in data.runs if run.source == "llm-foundry" and not runs.in_first_half(run)]
    change = runs.changed(runs.fit(runs.Published(data.models, seen)))
    assert np.abs(runs.errors(rest, change)).mean() < 0.07


def test_megatron_bridges_dense_rows_which_nothing_is_fitted_to_are_met_within_12_percent_and_in_order(shared_data):
    dense = [run for run in runs.megatron_bridge(shared_data) if not run.task.model.experts]
    assert len(dense) > 80
    assert np.abs(runs.errors(dense)).mean() < 0.11
    assert runs.pairs_in_order(dense) == (246, 279)  # as an instance's notes say
    mixtures = [run for run in runs.megatron_bridge(shared_data) if run.task.model.experts]
    assert runs.pairs_in_order(mixtures) == (121, 176)
    assert np.abs(runs.errors(mixtures)).mean() == pytest.approx(0.24, abs=0.01)


@pytest.mark.slow
def test_nine_of_ten_published_dense_plans_that_fit_are_within_a_tenth_of_our_optimum(shared_data):
    dense = [run for run in runs.megatron_bridge(shared_data) if not run.task.model.experts]
    over = runs.over_optimum(dense)
    assert len(over) > 15
    assert over.min() > 0.999
    assert np.mean(over < 1.1) > 0.85
    assert over.max() < 1.35  # Llama-3.1-405B on GB300, where the law prefers pieces of a sequence to a tensor group


# --- Failures and losses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate_h", "spares", "interval", "name"),
    [(0.02, 4, 2400, "assumed"), (0.2, 16, 1200, "assumed"), (0.05, 2, 9600, "assumed"),
     (0.02, 8, 4800, "hang_timeout"), (0.2, 16, 300, "c4d")],
)  # fmt: skip
def test_goodput_is_that_of_a_simulated_run(rate_h, spares, interval, name):
    recovery = failures.RECOVERIES[name]
    found = failures.goodput(
        failures_gpu_s=rate_h / 3600 / 1000, recover_s=recovery.total_s(), gpus=1000, spares=spares,
        interval_s=interval, write_s=30,
    )  # fmt: skip
    played = oracle.goodput(
        rate=rate_h / 3600, spares=spares, interval=interval, write=30, recovery=recovery, repair=failures.REPAIR_S,
        hours=200_000, seed=1,
    )  # fmt: skip
    assert float(found) == pytest.approx(played, abs=0.03)


def test_the_best_interval_is_young_and_dalys():
    rate, write = 1 / 200_000, 20.0
    tried = np.linspace(100, 10_000, 1981)
    found = failures.goodput(
        failures_gpu_s=rate, recover_s=1200.0, gpus=1.0, spares=1000.0, interval_s=tried, write_s=write
    )
    assert tried[int(np.argmax(np.asarray(found)))] == pytest.approx((2 * write / rate) ** 0.5, rel=0.03)


def test_more_spares_and_fewer_failures_are_never_worse():
    found = [
        [
            float(
                failures.goodput(
                    failures_gpu_s=r, recover_s=1200.0, gpus=1000.0, spares=k, interval_s=2400.0, write_s=30.0
                )
            )
            for k in (0.0, 1.0, 2.0, 8.0, 16.0)
        ]
        for r in (0.0, 1e-9, 1e-8, 1e-7)
    ]
    assert found[0] == [1.0] * 5
    assert all(row == sorted(row) for row in found)
    assert all(list(column) == sorted(column, reverse=True) for column in zip(*found, strict=True))


@pytest.mark.parametrize(("name", "published"), [("hang_timeout", 0.3119), ("c4d", 0.0116)])
def test_the_share_of_a_month_that_failures_take_is_c4s_by_formula_and_event_by_event(name, published):
    """Rate and interval follow from the table's shares; that its parts add up to the published total is tested."""
    month, recovery = failures.C4_MONTHS[name], failures.RECOVERIES[name]
    assert sum(month) == pytest.approx(published, abs=1e-9)
    rate = month.detect / recovery.detect_s
    interval = 2 * month.recomputed / rate
    found = failures.goodput(
        failures_gpu_s=rate / 2400, recover_s=recovery.total_s(), gpus=2400.0, spares=1000.0, interval_s=interval,
        write_s=0.0,
    )  # fmt: skip
    assert 1 - float(found) == pytest.approx(published, abs=1e-4)
    played = oracle.goodput(
        rate=rate, spares=1000, interval=interval, write=0, recovery=recovery, repair=failures.REPAIR_S,
        hours=100_000, seed=1,
    )  # fmt: skip
    # Failures that strike while the job is away are none there: the share of the time that runs is lost by a rate.
    lost = rate * (recovery.total_s() + interval / 2)
    assert 1 - played == pytest.approx(lost / (1 + lost - rate * interval / 2), abs=0.01)


def test_a_failure_every_15_hours_and_tens_of_seconds_to_detect_one_follow_from_c4s_shares():
    """C4 states tens of seconds by itself; 50,000 h between failures of a GPU are what others assume."""
    june, timeout = failures.C4_MONTHS["hang_timeout"], failures.RECOVERIES["hang_timeout"]
    assert timeout.detect_s == failures.HANG_TIMEOUT_S
    between_h = timeout.detect_s / june.detect / 3600
    assert 14 < between_h < 15
    assert 25_000 < between_h * 2400 < 50_000
    assert 10 < failures.RECOVERIES["c4d"].detect_s < 100


@given(st.floats(1e8, 1e12), st.floats(1e9, 1e13))
def test_tokens_to_a_loss_are_those_that_the_loss_follows_from(size, tokens):
    assert scaling.tokens_to(oracle.loss(size, tokens), size) == pytest.approx(tokens, rel=1e-3)


# --- Search -----------------------------------------------------------------------------------------------------------


def small_search(**changed):
    options = {"model": "GPT-1.7B", "gpus": 8, "batch": 12, "gpu_mtbf": 2000.0, **changed}
    return _search(TrainingPlanOptions(**options))


@pytest.mark.slow
def test_plans_are_listed_that_break_no_rule_and_no_other():
    found = small_search(model="Qwen3-30B-A3B", gpus=16, gpu_mtbf=0.0, sequence_length=8192)
    values, limits = (
        {**found.values, "offload": (0.0,), "micro_batch": (1, 2), "zero": (0, 2), "recompute": (0,)},
        found.limits,
    )
    cards = [len(values[name]) for name in search.PARAMETERS]
    everything = np.stack(np.unravel_index(np.arange(np.prod(cards)), cards), axis=1).astype(np.int32)
    instance = found.instance._replace(values=table_of(values))
    rules = jax.vmap(lambda design: sum(broken(choice_of(design, instance), instance).values()))
    kept = everything[np.asarray(rules(everything)) == 0]
    listed = search.listed(values, limits)
    assert set(map(tuple, listed.tolist())) == set(map(tuple, kept.tolist()))


def test_the_best_plan_is_the_best_of_all():
    for changed in ({}, {"objective": "cost"}, {"loss": 2.9, "batch": 16, "objective": "energy"}, {"deadline": 2000.0}):
        found = small_search(**changed)
        everything = search.listed(found.values, found.limits)
        _, missed, value = costed(everything, found.instance)
        least = np.where(missed <= 0, value, np.inf).min()
        assert np.isfinite(least)
        assert costed(found.best[:1], found.instance)[2][0] == least


def test_rules_name_feasible_plans_that_are_what_they_say():
    found = _search(TrainingPlanOptions(model="GPT-22B", gpus=64, batch=512, attention="written"))
    plans = {name: found.by_rule(name) for name in search.RULES}
    for design in plans.values():
        assert costed(np.array([design], np.int32), found.instance)[1][0] <= 0
    chosen = {
        name: {key: found.values[key][i] for key, i in zip(search.PARAMETERS, design, strict=True)}
        for name, design in plans.items()
    }
    assert chosen["megatron"]["tensor"] == 8
    assert chosen["megatron"]["recompute"] == FULL
    assert chosen["sequence_parallel"]["sequence"] == 1
    assert chosen["zero3"]["zero"] == 3
    assert chosen["deepspeed"]["zero"] <= 3
    assert chosen["deepspeed"]["data"] == 64


# --- Bad input --------------------------------------------------------------------------------------------------------


def test_unknown_names_and_lost_bandwidth_are_refused_in_a_sentence():
    with pytest.raises(UnknownNameError, match="Unknown model 'GPT-5'"):
        trained_model("GPT-5")
    with pytest.raises(UnknownNameError, match="Unknown cluster 'H1'"):
        get_cluster("H1")
    with pytest.raises(DsegymError, match="congestion = 1 is not allowed"):
        machine_of(get_cluster("A100"), lost=1.0)
    with pytest.raises(DsegymError, match="has no fp8 arithmetic"):
        machine_of(get_cluster("A100"), precision="fp8")
    with pytest.raises(UnknownNameError, match=r"Unknown attention 'flash3'; .* Did you mean 'flash2'"):
        machine_of(get_cluster("A100"), attention="flash3")
    with pytest.raises(UnknownNameError, match="Unknown overlap 'most'"):
        machine_of(get_cluster("A100"), overlap="most")


def test_the_batch_with_most_divisors_has_room_for_all_its_replicas():
    values = search.values_of(search.Limits(24, 24, 0, 8, 65536, 2048), [221_760], fails=False)
    assert len(values["data"]) == 165
    row = table_of(values)[search.PARAMETERS.index("data")]
    assert row[:165].tolist() == list(values["data"])
    assert not row[165:].any()


def test_every_core_instance_is_an_instance():
    assert len(CORE) == len({tuple(sorted(map(str, options.items()))) for options in CORE})
    for options in itertools.islice(CORE, 3):
        assert isinstance(dsegym.make_problem("dsegym/TrainingPlan-v0", **options).reference.value, float)
    assert isinstance(small_search(), Search)
