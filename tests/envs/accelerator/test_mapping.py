"""AcceleratorMapping-v0: its contract, yardsticks, options, and what agents get of it."""

import itertools

import jax
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.accelerator.sizing import AREA_BUDGETS_MM2
from dsegym.costmodels.accelerator.workloads import workload_names
from dsegym.costmodels.errors import DsegymError
from dsegym.envs.accelerator import mapping
from dsegym.envs.accelerator.mapping import SCENARIO
from dsegym.testing import check_scenario

MAPPING = "dsegym/AcceleratorMapping-v0"
SMALL = """layer,kind,in_channels,out_channels,in_height,in_width,kernel_height,kernel_width,stride,padding,m,n,k
conv,conv,16,32,8,8,3,3,1,1,,,
head,gemm,,,,,,,,,1,64,512
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("workload") / "small.csv"
    path.write_text(SMALL)
    return str(path)


@pytest.mark.slow
def test_a_user_s_network_keeps_the_contract_of_scenarios(small):
    check_scenario(MAPPING, [{"workload": small, "objective": "energy", "area_budget": 1, "dram_width": 4}])


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["latency", "energy", "edp"])
def test_the_reference_lies_above_the_bound_and_rules_between_it_and_the_worst(small, objective):
    problem = dsegym.make_problem(MAPPING, workload=small, objective=objective, dram_width=32)
    assert problem.obstacle == ""
    assert problem.reference.name == "gemmini-x2-weight_stationary"
    designs = problem.space.sample(np.random.default_rng(0), 1000)
    result = problem.evaluate(designs)
    assert result.feasible.any()
    assert not result.feasible.all()
    assert result.objective[result.feasible].min() >= problem.bound.value
    assert result.objective[~result.feasible].min() > 1e3 * result.objective[result.feasible].max()
    for design in problem.baselines.values():
        rule = problem.evaluate(design())
        assert rule.feasible.all()
        assert rule.objective[0] >= problem.bound.value


@pytest.mark.slow
def test_the_relaxation_of_a_design_that_fits_is_its_objective_s_logarithm_and_has_gradients(small):
    problem = dsegym.make_problem(MAPPING, workload=small)
    design = np.array(problem.reference.design)
    weights = [jax.nn.one_hot(i, n) for i, n in zip(design, problem.space.cardinalities, strict=True)]
    value, slopes = jax.jit(jax.value_and_grad(problem.relaxation))(weights, problem.params)
    assert float(value) == pytest.approx(np.log(problem.reference.value), abs=1e-3)
    assert all(np.isfinite(each).all() for each in slopes)
    assert sum(np.abs(each).max() > 0 for each in slopes) > len(slopes) / 2


@pytest.mark.slow
def test_a_breakdown_shows_each_layer_s_mapping(small):
    problem = dsegym.make_problem(MAPPING, workload=small, objective="latency")
    found = problem.breakdown(problem.space.decode(problem.reference.design))
    assert found.totals["latency_s"] == pytest.approx(problem.reference.value, rel=1e-6)
    assert all(row["mapping"].startswith("L3[WIO]") for row in found.rows)


def test_a_design_that_the_machine_cannot_hold_is_costed_as_what_it_becomes(small):
    """The same mapping on a machine too small for it is another one, and never an error."""
    problem = dsegym.make_problem(MAPPING, workload=small)
    values = problem.space.decode(problem.reference.design)
    tight = problem.space.encode(values | {"edge": 4, "scratchpad": 8, "accumulator": 2})
    assert problem.evaluate(tight).feasible.all()
    shown = problem.breakdown(problem.space.decode(tight))
    assert [row["mapping"] for row in shown.rows] != [row["mapping"] for row in problem.breakdown(values).rows]


@pytest.mark.minutes
def test_core_instances_are_those_with_more_room_than_a_percent_between_reference_and_bound():
    core = {
        tuple(each[name] for name in ("workload", "objective", "area_budget")) for each in SCENARIO.core_instances()
    }
    for workload, objective, budget in itertools.product(workload_names(), ("latency", "edp"), AREA_BUDGETS_MM2):
        problem = dsegym.make_problem(MAPPING, workload=workload, objective=objective, area_budget=budget)
        room = problem.reference.value / problem.bound.value - 1
        assert ((workload, objective, budget) in core) == (room > 0.01), (workload, objective, budget, room)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"area_budget": 0.01}, "as smaller budgets hold no reference"),
        ({"dram_width": 0}, "dram_width = 0 is not allowed"),
        ({"objective": "target"}, "objective"),
        ({"workload": "resnet"}, "resnet18"),
    ],
)
def test_options_out_of_range_are_refused_in_a_sentence(options, said):
    with pytest.raises(DsegymError, match=said):
        dsegym.make_problem(MAPPING, **options)


def test_instances_of_one_network_share_their_cost_function(small):
    one, other = (dsegym.make_problem(MAPPING, workload=small, objective=each) for each in ("latency", "edp"))
    assert one.cost is other.cost is mapping.cost
    shapes = [[np.asarray(leaf).shape for leaf in jax.tree.leaves(each.params)] for each in (one, other)]
    assert shapes[0] == shapes[1]
