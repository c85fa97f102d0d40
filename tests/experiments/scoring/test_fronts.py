"""Fronts: against brute force, against pymoo's hypervolume, and of problems whose every design is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dsegym
from dsegym.agents.referee import Referee
from dsegym.agents.registry import make_agent
from dsegym.costmodels.errors import BudgetExhausted, DsegymError, UnknownNameError
from dsegym.experiments.front_search import searched
from dsegym.experiments.scoring.fronts import costs_named, front_of, hypervolume, non_dominated

SIZING = "dsegym/AcceleratorSizing-v0"


def dominates(a, b):
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def front_by_pairs(rows):
    """The rows that no other row dominates, each once, by comparing all pairs."""
    return sorted({row for row in rows if not any(dominates(other, row) for other in rows)})


@st.composite
def cost_tables(draw):
    """Small whole costs, so that equal ones and ties are common."""
    width = draw(st.integers(2, 4))
    rows = draw(st.lists(st.tuples(*[st.integers(1, 6)] * width), min_size=1, max_size=25))
    return np.array(rows, np.float64)


@given(cost_tables())
def test_the_front_is_what_no_pair_of_designs_rules_out(costs):
    found = [tuple(row) for row in costs[non_dominated(costs)].tolist()]
    assert found == front_by_pairs([tuple(row) for row in costs.tolist()])


@given(cost_tables())
@settings(deadline=None)
def test_the_hypervolume_of_whole_costs_is_the_number_of_unit_boxes_that_they_dominate(costs):
    corner = 6
    cells = np.stack(np.meshgrid(*[np.arange(corner)] * costs.shape[1], indexing="ij"), -1).reshape(-1, costs.shape[1])
    dominated = np.zeros(len(cells), bool)
    for row in costs:
        dominated |= np.all(cells >= row, axis=1)
    assert hypervolume(costs, np.full(costs.shape[1], float(corner))) == dominated.sum()


@pytest.mark.parametrize("width", [2, 3, 4])
def test_the_hypervolume_is_that_of_pymoo(width):
    pytest.importorskip("pymoo", reason="pymoo is not installed")
    from pymoo.indicators.hv import HV

    costs = np.random.default_rng(width).random((40, width)) ** 2
    point = np.full(width, 0.9)
    assert hypervolume(costs, point) == pytest.approx(float(HV(ref_point=point)(costs)), rel=1e-9)


def test_designs_beyond_the_point_in_one_cost_add_no_hypervolume():
    costs = np.array([[0.5, 0.5], [0.1, 1.0], [2.0, 0.1]])
    assert hypervolume(costs, np.ones(2)) == 0.25
    assert hypervolume(costs[1:], np.ones(2)) == 0


def test_a_front_of_sizes_is_that_of_all_pairs_of_its_feasible_designs():
    problem = dsegym.make_problem(SIZING, workload="alexnet", area_budget="small")
    designs = problem.space.sample(np.random.default_rng(0), 400)
    front = front_of(problem, np.concatenate([designs, designs[:50]]), ("latency_s", "energy_j"))
    result = problem.evaluate(designs)
    kept = result.feasible
    rows = list(zip(result.metrics.latency_s[kept].tolist(), result.metrics.energy_j[kept].tolist(), strict=True))
    assert [tuple(row) for row in front.costs.tolist()] == front_by_pairs(rows)
    again = problem.evaluate(front.designs)
    np.testing.assert_array_equal(again.metrics.latency_s, front.costs[:, 0])
    assert again.feasible.all()
    assert front.considered == len(np.unique(designs[kept], axis=0))


def test_the_reference_alone_has_the_hypervolume_that_the_default_point_gives_it():
    problem = dsegym.make_problem(SIZING, workload="alexnet", area_budget="small")
    front = front_of(problem, np.array([problem.reference.design]), problem.front)
    assert front.hypervolume == pytest.approx(1 / 8)
    assert front.reference[0] == problem.reference.name


def test_a_front_of_no_feasible_design_is_empty():
    problem = dsegym.make_problem(SIZING, workload="alexnet", area_budget="small")
    front = front_of(problem, problem.space.cardinalities[None] - 1, problem.front)
    assert (len(front.designs), front.hypervolume, front.considered) == (0, 0.0, 0)


def test_the_search_of_fronts_is_better_than_random_designs_and_repeats():
    problem = dsegym.make_problem(SIZING, workload="alexnet", area_budget="small")
    volumes = []
    for agent in ("nsga2", "random_search"):
        designs = searched(problem, agent, problem.front, 2000, 1)
        assert len(designs) == 2000
        volumes.append(front_of(problem, designs, problem.front).hypervolume)
    np.testing.assert_array_equal(searched(problem, "nsga2", problem.front, 300, 1)[:100], designs_of_first(problem))
    assert volumes[0] > volumes[1]


def designs_of_first(problem):
    return searched(problem, "nsga2", problem.front, 100, 1)


def test_the_search_of_fronts_finds_the_whole_front_of_a_space_that_can_be_enumerated():
    problem = dsegym.make_problem("dsegym/AttentionAccelerator-v0", area_budget="small")
    metrics = ("latency_s", "energy_j")
    whole = front_of(problem, problem.space.enumerate(0, problem.space.size), metrics)
    found = front_of(problem, searched(problem, "nsga2", metrics, 6000, 0), metrics)
    np.testing.assert_array_equal(found.costs, whole.costs)
    assert not any(np.all(whole.expert_costs(e) < each) for e in whole.experts for each in whole.costs)


def test_the_search_of_fronts_minimises_the_costs_that_it_is_told():
    problem = dsegym.make_problem(SIZING, workload="alexnet", area_budget="medium")
    least = []
    for metrics in ("latency_s,energy_j", "energy_j,area_mm2"):
        referee = Referee(problem, 1500)
        with pytest.raises(BudgetExhausted):
            make_agent("nsga2", {"metrics": metrics}).search(referee, 0)
        result = problem.evaluate(referee.samples.designs)
        least.append(float(result.metrics.area_mm2[result.feasible].min()))
    assert least[1] < least[0]


# --- Bad requests ---


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        (["latency", "speed"], UnknownNameError, "Unknown cost 'speed'"),
        (["latency"], DsegymError, "2 to 4 costs; given: latency_s"),
        (["latency", "latency_s"], DsegymError, "named twice"),
        (["utilisation", "latency"], UnknownNameError, "latency_s, energy_j, area_mm2"),
    ],
)
def test_costs_that_make_no_front_are_refused(names, error, words):
    problem = dsegym.make_problem(SIZING)
    with pytest.raises(error, match=words):
        costs_named(problem, names)


def test_a_scenario_without_costs_says_so():
    problem = dsegym.make_problem("dsegym/MemoryAllocation-v0")
    with pytest.raises(DsegymError, match="declares no costs"):
        costs_named(problem, [])
    with pytest.raises(DsegymError, match="nsga2 needs a front"):
        searched(problem, "nsga2", (), 10, 0)


@pytest.mark.parametrize("point", [[1.0], [1.0, -1.0], [1.0, np.inf]])
def test_a_point_that_is_none_is_refused(point):
    problem = dsegym.make_problem(SIZING)
    with pytest.raises(DsegymError, match="2 positive numbers"):
        front_of(problem, problem.space.sample(np.random.default_rng(0), 5), problem.front[:2], point)


def test_without_a_design_of_the_reference_the_point_must_be_given():
    problem = dsegym.make_problem(SIZING)
    bare = replace(problem, reference_rule=lambda _: replace(problem.reference, design=None))
    designs = problem.space.sample(np.random.default_rng(0), 50)
    with pytest.raises(DsegymError, match="give the point"):
        front_of(bare, designs, problem.front)
    assert front_of(bare, designs, problem.front, [1, 1, 100]).reference is None
