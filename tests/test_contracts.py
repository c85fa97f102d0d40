"""The contracts of `dsegym.testing`: every registered scenario and form, and every agent, keep them."""

import pytest

from dsegym.agents.registry import BUILT_IN as AGENTS
from dsegym.envs.core.scenarios import BUILT_IN
from dsegym.testing import (
    check_agent,
    check_scenario,
)

# Two pools of servers, whose programs take minutes to trace.
POOLS = {"requests": 6, "sequences": 4, "servers": "2*rtx4090", "prefill": 1}
# Instances that are quick to make and to play; of the scenarios that are not named, the defaults.
INSTANCES = {
    "dsegym/AcceleratorDataflow-v0": [
        {"workload": "alexnet"},
        {"layer": "layer1.0.conv1", "objective": "target", "area_budget": "small", "network_width": 64},
    ],
    "dsegym/AcceleratorMapping-v0": [
        {"workload": "bert_base_s128"},
        {"workload": "alexnet", "objective": "latency", "area_budget": "large", "dram_width": 32},
    ],
    "dsegym/AcceleratorSizing-v0": [{"workload": "alexnet"}, {"workload": "alexnet", "objective": "target"}],
    "dsegym/AttentionAccelerator-v0": [
        {},
        {"model": "XLM", "length": 1000, "objective": "traffic", "area_budget": "small"},
        {"model": "lstm_64x12", "objective": "edp"},
    ],
    "dsegym/BatchBestOfN-v0": [
        {"questions": 8, "samples": 2},
        {"questions": 8, "samples": 2, "data": "humaneval", "cost": "tokens", "rounds": 2},
        {"questions": 8, "samples": 2, "verifier": "0.8/0.3", "hint": "none"},
    ],
    "dsegym/MemoryAllocation-v0": [
        {"instance": "perfect_12_s1"},
        {"instance": "perfect_12_s1", "placement": "best_fit"},
    ],
    "dsegym/ExpertCache-v0": [
        {"tokens": 2, "layers": 4},
        {"tokens": 2, "layers": 4, "routes": "gptoss_recorded", "bits": "4"},
        {"tokens": 2, "layers": 2, "routes": "gptoss", "eviction": "expert"},
    ],
    "dsegym/MemoryMapping-v0": [
        {"program": "residual_tiny", "capacity": 0.5},
        {"program": "residual_tiny", "capacity": 0.5, "space": "msa"},
    ],
    "dsegym/MemoryTiers-v0": [
        {"model": "GPT-1.7B", "gpu": "L4", "batch": 4},
        {"model": "GPT-1.7B", "gpu": "L4", "batch": 4, "cxl_cards": 1, "ssds": 0},
    ],
    "dsegym/ReasoningServe-v0": [{}, {"levels": 3}],
    "dsegym/ServingPlan-v0": [{}, {"model": "OPT-13B", "engine": "distserve", "gpu": "A100-SXM-80GB", "tpot": 100}],
    "dsegym/TrainingPlan-v0": [{"model": "GPT-22B", "gpus": 64}, {"model": "GPT-1.7B", "gpus": 16, "gpu_mtbf": 5000}],
    "dsegym/ServingCluster-v0": [{}, {"goal": "cost", "power": 0, "rate": 100}],
    "dsegym/ServingEngine-v0": [
        {"server": "rtx4090", "model": "Llama-3-8B", "gpus": 1, "requests": 6},
        {"requests": 6, "gpus": 2, "objective": "latency"},
    ],
    "dsegym/ServingMix-v0": [{}, {"workload": "azure_conv", "rate": 32, "slices": 2}],
    "dsegym/ServingStream-v0": [
        {"requests": 6},
        {"requests": 6, "objective": "missed", "servers": "1*rtx4090+1*L4", "rate": 40},
        POOLS,
    ],
    "dsegym/SocSchedulingStatic-v0": [{"graph": "top1"}],
    "dsegym/SolveVerify-v0": [{"budget": 4}, {"data": "genrm", "budget": 4, "price": 0.1}],
    "dsegym/SubQuestionBudget-v0": [{}, {"utility": "sum", "budget": 0.25}],
    "dsegym/TreeSearch-v0": [{"width": 4}, {"tree": "game24", "width": 4}, {"tree": "game24_log", "width": 3}],
}
# The first instance of each scenario is among the slow tests, of those that compile soon among the quick ones; the
# others take minutes together.
COMPILED_SOON = ("dsegym/ReasoningServe-v0", "dsegym/ServingMix-v0", "dsegym/ServingPlan-v0")
pytestmark = pytest.mark.usefixtures("few_programs")

SLOW, MINUTES = [pytest.mark.slow], [pytest.mark.minutes]
CASES = [
    pytest.param(name, options, marks=MINUTES if place else [] if name in COMPILED_SOON else SLOW)
    for name in BUILT_IN
    for place, options in enumerate(INSTANCES.get(name, [{}]))
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: str(value))
def test_a_scenario_keeps_its_contract_in_every_form(name, options):
    check_scenario(name, [options])


# A model to each sample, or one of each cost: a minute to seven.
FITTED = ("gaussian_process", "smac", "trust_region", "expected_hypervolume", "noisy_hypervolume")
TRAINED_BY_JAX = ("gradient_descent", "jax_ppo", "reinforce")  # programs of their own, compiled
SOLVERS = ("exact", "packing_search")  # of the instances that declare one


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=MINUTES if name in FITTED else SLOW if name in TRAINED_BY_JAX else [])
        for name in AGENTS
    ],
)
def test_an_agent_keeps_its_contract(name):
    if name in SOLVERS:
        check_agent(name, "dsegym/MemoryAllocation-v0", instance="perfect_30_s2")
    else:
        check_agent(name, "dsegym/AcceleratorSizing-v0", workload="alexnet", area_budget="small")
