"""The two-loop searches: what they spend, what they keep, and that parts are independent as the problem says."""

import numpy as np
import pytest

import dsegym
from dsegym.agents.referee import Referee
from dsegym.agents.registry import check_needs, make_agent
from dsegym.agents.two_loop import TwoLoopBayesian, _features
from dsegym.costmodels.errors import BudgetExhausted, DsegymError

MAPPING = "dsegym/AcceleratorMapping-v0"
BAYESIAN = {"shared_training": 3, "shared_trials": 1, "part_training": 20, "part_candidates": 60, "part_trials": 4}


@pytest.fixture(scope="module")
def problem():
    return dsegym.make_problem(MAPPING, workload="bert_base_s128", area_budget=100)


def searched(problem, name, given, samples, seed=0):
    referee = Referee(problem, samples)
    with pytest.raises(BudgetExhausted):
        make_agent(name, given).search(referee, seed)
    return referee.samples


@pytest.mark.slow
@pytest.mark.parametrize(("name", "given"), [("two_loop_random", {"candidates": 30}), ("two_loop_bayesian", BAYESIAN)])
def test_the_budget_is_spent_to_the_last_sample_and_the_seed_decides(problem, name, given):
    first, again, other = (searched(problem, name, given, 130, seed) for seed in (0, 0, 1))
    assert len(first.designs) == 130
    np.testing.assert_array_equal(first.designs, again.designs)
    assert not np.array_equal(first.designs, other.designs)


def test_the_costs_of_parts_add_up_to_the_networks(problem):
    designs = problem.space.sample(np.random.default_rng(0), 50)
    for objective in ("latency", "energy"):
        mine = dsegym.make_problem(MAPPING, workload="bert_base_s128", area_budget=100, objective=objective)
        result = mine.evaluate(designs)
        np.testing.assert_allclose(result.parts.sum(axis=1), result.unpenalised, rtol=1e-5)


def test_what_a_part_costs_does_not_depend_on_the_other_parts(problem):
    generator = np.random.default_rng(1)
    designs = problem.space.sample(generator, 40)
    inside = sorted({place for part in problem.parts for place in part})
    assert [name for i, name in enumerate(problem.space.names) if i not in inside] == [
        "edge",
        "scratchpad",
        "accumulator",
    ]
    assert len(problem.parts) == problem.evaluate(designs).parts.shape[1]
    for part, places in enumerate(problem.parts):
        others = [place for place in inside if place not in places]
        changed = designs.copy()
        changed[:, others] = problem.space.sample(generator, 40)[:, others]
        np.testing.assert_array_equal(
            problem.evaluate(changed).parts[:, part], problem.evaluate(designs).parts[:, part]
        )


def test_the_best_of_every_part_is_put_together_and_costed():
    problem = dsegym.make_problem(MAPPING, workload="bert_base_s128", area_budget=100, objective="latency")
    samples = searched(problem, "two_loop_random", {"candidates": 25}, 26)
    costs = problem.evaluate(samples.designs[:25]).parts
    assert problem.evaluate(samples.designs[25]).parts[0].tolist() == costs.min(axis=0).tolist()
    assert samples.objective[25] <= samples.objective[:25].min()


def test_the_inner_loop_of_the_bayesian_search_is_no_worse_than_what_it_learns_from(problem):
    samples = searched(problem, "two_loop_bayesian", BAYESIAN, 75)
    for first in range(0, 75, 25):  # 20 to learn from, 4 trials, and the best of each part together
        assert samples.objective[first + 24] <= samples.objective[first : first + 24].min() * (1 + 1e-6)
        assert len({tuple(row) for row in samples.designs[first : first + 25, :3]}) == 1


def test_a_process_orders_what_it_has_seen_by_its_cost():
    known = np.random.default_rng(0).normal(size=(12, 2))
    values = known[:, 0] ** 2 + 3 * known[:, 1]
    order = TwoLoopBayesian(deviations=0.0)._order(known, values, known)
    assert order.tolist() == np.argsort(values).tolist()


def test_features_are_numbers_where_values_are():
    assert _features((8, 16, 32), True).ravel().tolist() == [0, 1, 2]
    assert _features(("8 1 4 16X", "2 2 2 2X"), False).tolist() == [[3, 0, 2, 4], [1, 1, 1, 1]]
    assert _features(("K CRS", "CRS K"), False).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("name", ["two_loop_random", "two_loop_bayesian"])
def test_an_instance_without_parts_is_refused_before_the_run(name, problem):
    check_needs(name, problem)
    with pytest.raises(DsegymError, match=f"^{name} needs a design in parts, and dsegym/AcceleratorSizing-v0 has none"):
        check_needs(name, dsegym.make_problem("dsegym/AcceleratorSizing-v0"))


@pytest.mark.slow
def test_without_parts_the_bayesian_search_is_one_loop_and_beats_random_designs():
    problem = dsegym.make_problem("dsegym/AcceleratorSizing-v0", workload="alexnet", objective="edp")
    given = {"shared_training": 30, "shared_trials": 5, "logarithm": True}
    least = [
        np.mean([searched(problem, name, hyperparameters, 120, seed).objective.min() for seed in range(4)])
        for name, hyperparameters in (("two_loop_bayesian", given), ("random_search", {}))
    ]
    assert least[0] < least[1]
