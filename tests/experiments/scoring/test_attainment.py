"""Attainment of fronts: closed forms, moocore's attainment surfaces, and a space whose every design is known."""

from dataclasses import replace

import numpy as np
import pytest

import dsegym
from dsegym.envs.core.spaces import DesignSpace
from dsegym.experiments.scoring.attainment import NEAR, attainment, attainment_of
from dsegym.experiments.scoring.fronts import hypervolume, non_dominated

SIZING = "dsegym/AcceleratorSizing-v0"


def test_a_point_is_attained_by_the_share_of_fronts_that_are_as_good_in_every_cost():
    fronts = [np.array([[1.0, 4.0], [3.0, 1.0]]), np.array([[2.0, 2.0]]), np.zeros((0, 2))]
    points = np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 2.0], [3.0, 4.0], [0.5, 9.0]])
    np.testing.assert_allclose(attainment(fronts, points), [1 / 3, 1 / 3, 2 / 3, 2 / 3, 0])


def test_slack_counts_what_is_nearly_as_good_in_every_cost():
    fronts, points = [np.array([[1.04, 1.04]])], np.array([[1.0, 1.0], [1.0, 0.98]])
    assert attainment(fronts, points).tolist() == [0, 0]
    assert attainment(fronts, points, 0.05).tolist() == [1, 0]


@pytest.mark.parametrize("width", [2, 3])
def test_attainment_is_that_of_moocores_surfaces(width):
    """A point of moocore's surface of k of T runs is attained by at least k of them, and less than it by fewer."""
    moocore = pytest.importorskip("moocore", reason="moocore is not installed")
    runs = [np.random.default_rng(run).random((12, width)) for run in range(5)]
    sets = np.repeat(np.arange(1, 6), 12)
    surfaces = moocore.eaf(np.concatenate(runs), sets, percentiles=[20, 40, 60, 80, 100])
    assert set(surfaces[:, -1]) == {20, 40, 60, 80, 100}
    shares = attainment(runs, surfaces[:, :-1])
    assert (shares >= surfaces[:, -1] / 100 - 1e-12).all()
    assert (attainment(runs, surfaces[:, :-1] * (1 - 1e-9)) < surfaces[:, -1] / 100 - 1e-12).all()


@pytest.mark.parametrize("width", [2, 3, 4])
def test_the_hypervolume_of_fronts_is_moocores(width):
    moocore = pytest.importorskip("moocore", reason="moocore is not installed")
    costs = np.random.default_rng(width).random((40, width))
    assert hypervolume(costs, np.ones(width)) == pytest.approx(moocore.hypervolume(costs, ref=np.ones(width)), rel=1e-9)


@pytest.fixture(scope="module")
def problem():
    return dsegym.make_problem(SIZING, workload="alexnet", area_budget="small")


@pytest.mark.slow
def test_agents_stand_in_the_order_of_their_mean_hypervolumes_with_intervals_over_trials(problem):
    generator = np.random.default_rng(0)
    few = [problem.space.sample(generator, 40) for _ in range(4)]
    many = [np.concatenate([designs, problem.space.sample(generator, 2000)]) for designs in few]
    found = attainment_of(problem, {"few": few, "many": many, "one": many[:1], "none": []})
    assert {row.agent for row in found.agents[:2]} == {"many", "one"}
    rows = {row.agent: row for row in found.agents}
    assert rows.keys() == {"few", "many", "one"}
    for row in (rows["few"], rows["many"]):
        assert row.trials == 4
        assert 0 < row.low <= row.hypervolume <= row.high <= 1 + 1e-12
        assert (row.attained <= row.near).all()
    assert (rows["few"].attained <= rows["many"].attained).all()
    assert (rows["one"].low, rows["one"].high) == (None, None)
    assert found.front.hypervolume > 0


def test_where_no_design_is_feasible_there_is_no_hypervolume(problem):
    designs = problem.space.sample(np.random.default_rng(0), 2000)
    broken = designs[~problem.evaluate(designs).feasible]
    found = attainment_of(problem, {"ant": [broken[:5], broken[5:9]]})
    assert not found.proven
    assert [(row.hypervolume, row.low, row.high) for row in found.agents] == [(None, None, None)]
    assert found.front.hypervolume == found.agents[0].attained.size == 0


def test_every_point_of_the_best_known_front_is_some_trials(problem):
    generator = np.random.default_rng(1)
    trials = {name: [problem.space.sample(generator, 300) for _ in range(3)] for name in ("a", "b")}
    found = attainment_of(problem, trials)
    assert found.proven == (problem.space.size <= 2**16)
    if not found.proven:
        assert (sum(row.attained for row in found.agents) > 0).all()


def test_the_front_of_a_small_space_is_proven_and_a_trial_of_every_design_attains_it_whole():
    problem = small_problem()
    every = problem.space.enumerate(0, problem.space.size)
    found = attainment_of(problem, {"exhaustive": [every, every], "first": [every[:50], every[:60]]})
    rows = {row.agent: row for row in found.agents}
    assert found.proven
    assert problem.space.size > 1000
    assert rows["exhaustive"].hypervolume == pytest.approx(1, rel=1e-12)
    assert (rows["exhaustive"].low, rows["exhaustive"].high) == (pytest.approx(1), pytest.approx(1))
    assert (rows["exhaustive"].attained == 1).all()
    result = problem.evaluate(every)
    costs = np.stack([getattr(result.metrics, name) for name in problem.front], 1)[result.feasible]
    np.testing.assert_array_equal(found.front.costs, costs[non_dominated(costs)])
    mine = problem.evaluate(every[:50])
    own = np.stack([getattr(mine.metrics, name) for name in problem.front], 1)[mine.feasible]
    expected = [any((row <= point * (1 + NEAR)).all() for row in own) for point in found.front.costs]
    assert (rows["first"].near >= 0.5 * np.array(expected)).all()


def small_problem():
    """An instance with costs whose space can be enumerated: no value lies beyond the reference's."""
    problem = dsegym.make_problem(SIZING, workload="alexnet", area_budget="small")
    kept = zip(problem.space.parameters, problem.reference.design, strict=True)
    space = DesignSpace(tuple(replace(parameter, values=parameter.values[: last + 1]) for parameter, last in kept))
    return replace(problem, space=space)
