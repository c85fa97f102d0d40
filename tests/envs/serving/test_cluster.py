"""dsegym/ServingCluster-v0 as users meet it: budgets, goals, what is refused, yardsticks."""

import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidOptionError, UnknownNameError

ID = "dsegym/ServingCluster-v0"


def make(**options):
    return dsegym.make_problem(ID, **options)


@pytest.mark.slow
def test_the_default_has_room_between_the_h100_baseline_and_the_optimum():
    problem = make()
    assert problem.reference.name == "baseline_h100"
    assert problem.bound.name == "optimum"
    assert problem.bound.value < 0.8 * problem.reference.value
    assert len(problem.space) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"goal": "cost", "power": 0, "rate": 100}, {"goal": "power", "power": 0, "rate": 100}], ids=str
)
def test_no_rule_beats_the_optimum_and_reversing_the_problem_gives_it_back(options):
    problem = make(**options)
    for make_design in problem.baselines.values():
        assert problem.evaluate(make_design()).objective[0] >= problem.bound.value * (1 - 1e-6)
    found = problem.breakdown(problem.decode(problem.bound.design)).totals
    assert found["missed"] == 0
    if options:
        assert found["rate"] >= 100
        reverse = make(**{"power": 0, "cost": 0, options["goal"]: problem.bound.value})
        assert 1e3 / reverse.bound.value >= 100 * (1 - 1e-5)


def test_cheaper_h100s_move_the_least_cost_to_them():
    types = {}
    for price in (1.5, 20):
        problem = make(goal="cost", power=0, rate=100, h100_price=price)
        types[price] = problem.decode(problem.bound.design)
    assert types[1.5]["prompt_machine"] == "DGX-H100"
    assert types[20]["prompt_machine"] == types[20]["token_machine"] == "DGX-A100"


def test_an_infeasible_cluster_costs_more_than_any_feasible_one_and_less_the_less_it_misses():
    problem = make()
    designs = problem.space.sample(np.random.default_rng(0), 500)
    result = problem.evaluate(designs)
    assert 0 < result.feasible.mean() < 1
    assert result.objective[~result.feasible].min() > result.objective[result.feasible].max()
    order = np.argsort(result.violation[~result.feasible])
    assert np.all(np.diff(result.objective[~result.feasible][order]) >= 0)


def test_a_breakdown_tells_pools_apart_from_machines_that_serve_both():
    problem = make()
    apart = {"prompt_machine": "DGX-H100", "prompt_machines": 25, "token_machine": "DGX-A100", "token_machines": 26}
    assert [row["pool"] for row in problem.breakdown(apart).rows] == ["prompt", "token"]
    assert [row["pool"] for row in problem.breakdown(apart | {"prompt_machines": 0}).rows] == ["both"]


@pytest.mark.slow
def test_a_users_histogram_is_served(tmp_path):
    path = tmp_path / "requests.csv"
    path.write_text("prompt_tokens,output_tokens,requests\n300,200,3\n1500,400,1\n")
    problem = make(workload=str(path))
    assert problem.bound.value < problem.reference.value
    rows = "".join(f"{second},{size}\n" for second, size in enumerate(["300,200"] * 3 + ["1500,400"]))
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + rows)
    counted = make(workload=str(path))
    assert counted.reference.value == problem.reference.value
    assert any("4 requests of a trace" in note for note in counted.notes)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"power": 0}, DsegymError, "goal = throughput needs a budget: cost in .*, or power in kW"),
        ({"goal": "cost"}, DsegymError, "goal = cost needs a rate to serve"),
        ({"goal": "cost", "rate": 5000, "power": 0}, DsegymError, r"serves 5000 requests/s .*: pools of 100 machines"),
        ({"rate": 200}, DsegymError, r"within 224 kW serves 200 requests/s: the most is \d+"),
        ({"power": 1}, DsegymError, "within 1 kW serves anything: not even one machine is"),
        ({"model": "OPT-66B"}, UnknownNameError, "Unknown model 'OPT-66B'; there are: BLOOM-176B, Llama-2-70B"),
        ({"tensor_parallelism": 4}, DsegymError, "Splitwise measured BLOOM-176B on 8 GPUs"),
        ({"tensor_parallelism": 3, "model": "Llama-2-70B"}, DsegymError, "on 2, 4, 8 GPUs an instance, not on 3"),
        ({"h100_price": -1}, InvalidOptionError, "h100_price = -1 is not allowed"),
        ({"workload": "chats"}, UnknownNameError, "Unknown workload 'chats'"),
    ],
)
def test_bad_input_is_one_sentence(options, error, said):
    with pytest.raises(error, match=said):
        make(**options)


@pytest.mark.slow
def test_core_instances_have_room_between_reference_and_optimum():
    for options in dsegym.load_scenario(ID).core_instances():
        problem = make(**options)
        assert not problem.obstacle
        assert problem.bound.value < problem.reference.value * 0.98
