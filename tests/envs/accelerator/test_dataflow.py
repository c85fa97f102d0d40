"""AcceleratorDataflow-v0: against an oracle, its bound, its targets, and what is refused."""

import importlib

import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError
from dsegym.envs.accelerator.dataflow import SPACE
from dsegym.testing import check_scenario

DATAFLOW = "dsegym/AcceleratorDataflow-v0"
SMALL = """layer,kind,in_channels,out_channels,in_height,in_width,kernel_height,kernel_width,stride,padding,m,n,k
one,conv,4,6,5,5,3,3,1,1,,,
two,conv,3,4,9,9,3,3,2,1,,,
head,gemm,,,,,,,,,1,8,16
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("workload") / "small.csv"
    path.write_text(SMALL)
    return str(path)


@pytest.mark.slow
def test_a_network_of_the_user_keeps_the_contract_of_scenarios(small):
    check_scenario(DATAFLOW, [{"workload": small, "objective": "target"}])


def test_costs_are_those_of_the_oracle(small):
    oracle = importlib.import_module("dataflow_oracle")
    problem = dsegym.make_problem(DATAFLOW, workload=small, network_width=16)
    layers = list(zip(*(each.tolist() for each in problem.params.layers), strict=True))
    designs = problem.space.sample(np.random.default_rng(0), 40)
    metrics = problem.evaluate(designs).metrics
    for at, values in enumerate(problem.space.decode_batch(designs)):
        cycles, energy, area = oracle.costs(values, layers, 16)
        assert metrics.cycles[at] == pytest.approx(cycles, rel=1e-6)
        assert metrics.energy_j[at] == pytest.approx(energy, rel=1e-5)
        assert metrics.area_mm2[at] == pytest.approx(area, rel=1e-5)


@pytest.mark.parametrize("objective", ["target", "latency", "energy", "edp"])
def test_no_design_is_below_the_bound_and_none_that_is_infeasible_below_one_that_is_not(objective):
    problem = dsegym.make_problem(DATAFLOW, objective=objective, area_budget="large")
    assert problem.obstacle == ""
    result = problem.evaluate(problem.space.sample(np.random.default_rng(1), 2000))
    assert 0.1 < result.feasible.mean() < 0.6
    assert result.objective[result.feasible].min() >= problem.bound.value
    assert result.objective[~result.feasible].min() > result.objective[result.feasible].max()
    named = [problem.reference.design, *(make() for make in problem.baselines.values())]
    costs = problem.evaluate(np.array(named))
    assert costs.feasible.all()
    assert costs.objective.min() >= problem.bound.value


def test_the_named_dataflows_fill_the_budget_with_whole_clusters():
    for budget in ("small", "medium"):
        problem = dsegym.make_problem(DATAFLOW, workload="vgg16", area_budget=budget)
        values = problem.decode(problem.reference.design)
        assert values["cluster"] == 64
        assert values["elements"] % 64 == 0
        more = problem.evaluate(np.array([SPACE.encode({**values, "elements": values["elements"] + 64})]))
        assert not more.feasible[0]


def test_the_targets_are_shares_of_the_references_costs():
    problem = dsegym.make_problem(DATAFLOW, objective="target")
    metrics = problem.evaluate(np.array([problem.reference.design])).metrics
    wanted = 0.7 * metrics.energy_j[0], 0.85 * metrics.area_mm2[0], 0.8 * metrics.latency_s[0]
    np.testing.assert_allclose(problem.params.targets, wanted, rtol=1e-6)


def test_random_designs_need_less_energy_than_the_reference():
    """Room: NVDLA's dataflow reuses nothing in its elements."""
    problem = dsegym.make_problem(DATAFLOW, layer="layer1.0.conv1", objective="energy")
    found = problem.evaluate(problem.space.sample(np.random.default_rng(2), 2000))
    assert found.objective.min() < 0.95 * problem.reference.value


def test_a_breakdown_adds_up(small):
    problem = dsegym.make_problem(DATAFLOW, workload=small)
    found = problem.breakdown(problem.decode(problem.reference.design))
    assert sum(row["energy_j"] for row in found.rows) == pytest.approx(found.totals["energy_j"], rel=1e-6)
    assert sum(row["compute_cycles"] for row in found.rows) == found.totals["compute_cycles"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": "conv9"}, "conv9"),
        ({"layer": ""}, "layer"),
        ({"area_budget": 0.001}, "area_budget.*holds no element"),
        ({"network_width": 0}, "network_width"),
    ],
)
def test_an_instance_that_cannot_be_is_one_sentence(options, words):
    with pytest.raises(DsegymError, match=words):
        dsegym.make_problem(DATAFLOW, **options)
