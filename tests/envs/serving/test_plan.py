"""dsegym/ServingPlan-v0 as users meet it: options, their own requests, what is refused, yardsticks."""

import json

import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidWorkloadError, UnknownNameError
from dsegym.costmodels.serving.plan.model import PENALTY

ID = "dsegym/ServingPlan-v0"


def make(**options):
    return dsegym.make_problem(ID, **options)


def test_the_optimum_is_a_plan_that_is_better_than_phases_together():
    problem = make()
    assert problem.bound.name == "optimum"
    assert problem.reference.name == "colocated"
    assert problem.bound.value < problem.reference.value
    design = problem.decode(problem.bound.design)
    assert design["prefill_instances"] > 0
    found = problem.breakdown(design)
    assert found.totals["gpu_s_per_request"] == pytest.approx(problem.bound.value, rel=1e-6)
    assert found.totals["gpus"] <= 16
    assert [row["phase"] for row in found.rows] == ["prefill", "decode"]


def test_without_prefill_instances_one_row_serves_both_phases():
    problem = make()
    found = problem.breakdown(problem.decode(problem.reference.design))
    assert [row["phase"] for row in found.rows] == ["both"]


def test_infeasible_plans_cost_more_than_any_feasible_one_and_finitely_much():
    problem = make(gpus=8)
    result = problem.evaluate(problem.space.sample(np.random.default_rng(0), 2000))
    assert result.feasible.any()
    assert not result.feasible.all()
    assert result.objective[~result.feasible].min() > PENALTY > result.objective[result.feasible].max()
    assert np.isfinite(result.objective).all()


def test_a_demanded_rate_takes_more_gpus_and_what_serves_less_is_infeasible():
    free, demanded = make(gpus=64), make(gpus=64, rate=40)
    totals = [p.breakdown(p.decode(p.bound.design)).totals for p in (free, demanded)]
    assert totals[1]["rate"] >= 40
    assert totals[1]["gpus"] > totals[0]["gpus"]
    small = demanded.evaluate(free.bound.design)
    assert not small.feasible[0]
    assert 0 < small.violation[0] < 1


def test_more_gpus_never_make_the_best_plan_worse():
    values = [make(gpus=gpus).bound.value for gpus in (8, 16, 32)]
    assert values == sorted(values, reverse=True)


def test_own_requests_become_an_instance(tmp_path):
    path = tmp_path / "chats.csv"
    path.write_text("prompt_tokens,output_tokens,requests\n300,200,5\n2000,100,1\n", encoding="utf-8")
    options = {"workload": str(path), "model": "Qwen3-8B", "gpu": "L40S", "gpus": 8, "ttft": 2000, "tpot": 80}
    problem = make(**options)
    assert problem.bound.value < problem.reference.value
    rows = "".join(f"{second},{size}\n" for second, size in enumerate(["300,200"] * 5 + ["2000,100"]))
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + rows, encoding="utf-8")
    counted = make(**options)
    assert counted.reference.value == problem.reference.value
    assert any("6 requests of a trace" in note for note in counted.notes)


R1 = {
    "model": "DeepSeek-V3", "engine": "cloudmatrix", "gpu": "Ascend-910C", "precision": "int8", "gpus": 384,
    "ttft": 8000,
}  # fmt: skip


def test_the_deployed_plan_of_cloudmatrix_is_the_reference_and_idles_where_answers_are_short():
    problem = make(**R1)
    assert problem.reference.name == "deployed"
    design = problem.decode(problem.reference.design)
    assert (design["prefill_accelerators"], design["prefill_instances"]) == (16, 6)
    assert (design["decode_accelerators"], design["decode_instances"]) == (160, 1)
    found = problem.breakdown(design)
    assert found.totals["gpus"] == 256
    assert found.totals["decode_load"] < 0.5
    assert [row["accelerators"] for row in found.rows] == [16, 160]
    assert problem.bound.value < problem.reference.value
    assert any("was not measured" in note for note in problem.notes)
    assert np.isfinite(problem.evaluate(problem.space.sample(np.random.default_rng(0), 500)).objective).all()


def test_a_cluster_that_is_smaller_than_the_deployed_one_has_rules_all_the_same():
    problem = make(**R1 | {"gpus": 128})
    assert problem.reference.name == "one_to_one"
    assert "deployed" not in problem.baselines


CONFIGURATION = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip


def test_a_models_own_configuration_plans_as_the_same_model_of_the_package_does(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIGURATION), encoding="utf-8")
    own, known = (make(model=name, gpu="A100-SXM-80GB", gpus=8, tpot=25) for name in (str(path), "Llama-3-8B"))
    assert own.bound.value == pytest.approx(known.bound.value, rel=1e-4)
    assert any("sizes are those of your file" in note for note in own.notes)


def test_a_users_own_device_is_planned_for_and_a_faster_one_serves_more(tmp_path):
    values = []
    for bandwidth in (3000, 6000):
        path = tmp_path / f"gpu{bandwidth}.csv"
        path.write_text(
            f"device,bf16_tflops,memory_gb,bandwidth_gb_s,scale_up_gb_s\nX1,{bandwidth / 5},120,{bandwidth},400\n"
        )
        problem = make(model="Llama-3-8B", gpu=str(path), gpus=8)
        values.append(problem.bound.value)
        assert any("figures of X1 are yours" in note for note in problem.notes)
    assert values[1] < values[0]


def test_an_own_model_that_fits_nowhere_says_by_how_much(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIGURATION | {"hidden_size": 16384, "num_hidden_layers": 126}), encoding="utf-8")
    with pytest.raises(DsegymError, match=r"config.json in bf16 does not fit on 4 x L4: [\d,.]+ GB are missing"):
        make(model=str(path), gpu="L4", gpus=4)


def test_a_rate_that_no_rule_serves_but_a_plan_does_is_no_bad_input():
    problem = make(rate=16.7)
    designs = {name: make_design() for name, make_design in problem.baselines.items()}
    feasible = problem.evaluate(np.array(list(designs.values()), np.int32)).feasible
    assert [name for name, fits in zip(designs, feasible, strict=True) if fits] == [problem.reference.name]
    assert problem.breakdown(problem.decode(problem.reference.design)).totals["rate"] >= 16.7


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"model": "config.json"}, InvalidWorkloadError, "config.json: there is no such file"),
        ({"gpu": "h20.csv"}, InvalidWorkloadError, "h20.csv: there is no such file"),
        ({"gpu": "H100"}, UnknownNameError, "Unknown gpu 'H100'"),
        ({"model": "GPT-5"}, UnknownNameError, "Unknown model 'GPT-5'"),
        ({"model": "DeepSeek-V3", "gpu": "L4", "gpus": 8}, DsegymError, r"not fit on 8 x L4: [\d,.]+ GB are missing"),
        ({"tpot": 1}, DsegymError, r"makes a token within 1 ms: the fastest takes \d+% longer"),
        ({"ttft": 20}, DsegymError, r"first token within 20 ms for 90 % of .*: the fastest misses it for"),
        ({"rate": 1000}, DsegymError, r"serves 1000 requests/s within the targets; the best serves [\d.]+"),
        ({"gpus": 3}, DsegymError, "an instance is of 1, 2, 4, 8, 16, 32 GPUs, and 2 lack 1.7 GB"),
        ({"engine": "distserve"}, DsegymError, "distserve was profiled with OPT-13B and OPT-66B"),
        ({"engine": "cloudmatrix"}, DsegymError, "cloudmatrix was measured with DeepSeek-V3 in int8 on Ascend-910C"),
        ({**R1, "tpot": 10}, DsegymError, r"makes a token within 10 ms: the fastest takes \d+% longer"),
        ({**R1, "ttft": 50}, DsegymError, r"first token within 50 ms for 90 % of .*: the fastest misses it for"),
        ({**R1, "gpus": 20}, DsegymError, "an instance takes 16 GPUs at least"),
        ({**R1, "gpus": 4}, DsegymError, r"does not fit on 4 x Ascend-910C: [\d,.]+ GB are missing"),
        ({"precision": "fp8", "gpu": "A100-SXM-80GB"}, DsegymError, "A100-SXM-80GB has no fp8 arithmetic"),
        ({"workload": "none.csv"}, InvalidWorkloadError, "there is no such file"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(options, error, said):
    with pytest.raises(error, match=said):
        make(**options)


def test_core_instances_have_room_between_reference_and_optimum():
    for options in dsegym.load_scenario(ID).core_instances():
        assert not make(**options).obstacle
