"""Proxies: what can be learned they learn, files give the same proxy back; and the agent that screens by one."""

import contextlib

import numpy as np
import pytest
from scipy import stats

import dsegym
from dsegym.agents import registry
from dsegym.agents.proxies.base import LEAST_SAMPLES, MODELS, Data, data_of, features_of, load_model
from dsegym.agents.referee import Referee
from dsegym.agents.warm_start import designs_text
from dsegym.costmodels.errors import BudgetExhausted, DsegymError, UnknownNameError
from dsegym.envs.core.evaluation import Evaluation
from dsegym.envs.core.spaces import DesignSpace, Parameter

pytest.importorskip("lightgbm", reason="LightGBM is not installed")
SPACE = DesignSpace(
    (
        Parameter("rows", tuple(range(1, 9))),
        Parameter("columns", tuple(range(1, 9))),
        Parameter("kind", ("a", "b", "c", "d", "e"), ordered=False),
    )
)
KINDS = np.array([0.0, 2.0, -1.0, 1.0, 0.5])


def product(designs):
    """Costs exp of a sum that depends on all three, feasible below a line."""
    designs = np.asarray(designs)
    log = 0.3 * designs[:, 0] - 0.1 * designs[:, 1] + KINDS[designs[:, 2]]
    return Data(designs.astype(np.int32), log, designs[:, 0] + designs[:, 1] < 8)


@pytest.fixture(scope="module")
def known():
    return product(SPACE.sample(np.random.default_rng(0), 200))


@pytest.fixture(scope="module")
def others():
    return product(SPACE.sample(np.random.default_rng(1), 200))


@pytest.mark.parametrize("name", MODELS)
def test_a_proxy_learns_a_plain_law_and_its_arrays_give_it_back(name, known, others):
    kind = load_model(name)
    proxy = kind.fit(SPACE, known, 3)
    said = proxy.predict(others.designs)
    assert stats.spearmanr(said.log_objective, others.log_objective)[0] > 0.97
    assert np.sqrt(np.mean((said.log_objective - others.log_objective) ** 2)) < 0.3 * others.log_objective.std()
    assert ((said.probability > 0.5) == others.feasible).mean() > 0.9
    assert ((said.probability >= 0) & (said.probability <= 1)).all()
    arrays = proxy.arrays()
    again = kind.of(SPACE, arrays)
    for given, read in zip(said, again.predict(others.designs), strict=True):
        np.testing.assert_array_equal(given, read)
    twin = kind.fit(SPACE, known, 3).arrays()
    assert twin.keys() == arrays.keys()
    for name_, array in arrays.items():
        np.testing.assert_array_equal(twin[name_], array)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("feasible", [True, False])
def test_where_all_are_alike_it_says_so(name, feasible, known, others):
    proxy = load_model(name).fit(SPACE, known._replace(feasible=np.full(200, feasible)), 0)
    again = load_model(name).of(SPACE, proxy.arrays()).predict(others.designs)
    assert ((again.probability > 0.5) == feasible).all()


@pytest.mark.parametrize("name", MODELS)
def test_too_few_samples_and_arrays_of_something_else_are_refused(name, known):
    kind = load_model(name)
    with pytest.raises(DsegymError, match=f"fitted to {LEAST_SAMPLES} different designs at least; given: 5"):
        kind.fit(SPACE, known.at(np.arange(5)), 0)
    arrays = kind.fit(SPACE, known, 0).arrays()
    wider = DesignSpace((*SPACE.parameters, Parameter("more", (1, 2))))
    with pytest.raises(DsegymError, match=r"not samples of this space|not those of a network of this space"):
        kind.of(wider, arrays)
    for spoilt in ({}, {"other": np.zeros(3)}, {**arrays, "more": np.zeros(3)}, dict.fromkeys(arrays, np.zeros(0))):
        with pytest.raises(DsegymError, match=r"not samples of this space|not those of a network of this space"):
            kind.of(SPACE, spoilt)


def test_trees_that_grow_otherwise_and_designs_of_no_space_are_refused(known):
    arrays = load_model("trees").fit(SPACE, known, 0).arrays()
    for changes, reason in (
        ({"said": arrays["said"] + 0.1}, "grows other trees of these samples"),
        ({"designs": arrays["designs"] + 100}, "is out of range"),
        ({"log_objective": arrays["log_objective"] * np.nan}, "not samples of this space"),
        ({"seed": arrays["seed"] - 1}, "not samples of this space"),
        ({"more": arrays["seed"]}, "not samples of this space"),
    ):
        with pytest.raises(DsegymError, match=reason):
            load_model("trees").of(SPACE, {**arrays, **changes})


def test_an_unknown_kind_is_one_sentence():
    with pytest.raises(UnknownNameError, match="Did you mean 'trees'"):
        load_model("tree")


def test_of_a_ranking_only_the_order_counts():
    space = DesignSpace(tuple(Parameter(name, tuple(range(9)), ranking="order") for name in "abc"))
    found = features_of(space, [[0, 5, 3], [1, 8, 2], [4, 4, 0]])
    np.testing.assert_array_equal(found, [[0, 1, 0.5], [0, 1, 0.5], [0.5, 1, 0]])


def test_it_is_taught_the_objective_without_its_penalty_and_no_number_is_left_out():
    objective, unpenalised = np.array([1.0, 9e9, np.nan]), np.array([1.0, 2.0, np.nan])
    found = Evaluation(None, objective, np.array([True, False, True]), None, unpenalised)
    data = data_of(np.arange(6).reshape(3, 2), found)
    np.testing.assert_allclose(data.log_objective, np.log([1.0, 2.0]))
    assert data.feasible.tolist() == [True, False]
    assert data.designs.tolist() == [[0, 1], [2, 3]]


# --- The agent --------------------------------------------------------------------------------------------------------


def screened(problem, budget, seed=1, **hyperparameters):
    referee = Referee(problem, budget)
    with contextlib.suppress(BudgetExhausted):
        registry.make_agent("proxy_screening", hyperparameters).search(referee, seed)
    return referee.samples


def test_screening_spends_its_budget_on_new_designs_and_beats_as_many_random_ones(problem):
    samples = screened(problem, 200)
    assert len(np.unique(samples.designs, axis=0)) == 200
    first, rest = samples.objective[:64], samples.objective[64:]
    assert np.median(rest) < np.median(first)
    assert samples.best >= 64


def test_designs_that_are_given_are_samples_and_come_first(problem):
    reference = problem.reference.design
    samples = screened(problem, 100, designs=designs_text([reference, reference]))
    np.testing.assert_array_equal(samples.designs[0], reference)
    assert samples.objective[0] == pytest.approx(problem.reference.value)
    assert not (samples.designs[1:] == reference).all(axis=1).any()


def test_it_ends_when_a_small_space_is_spent(problem, staircase):
    small = dsegym.make_problem("toy/Staircase-v0")
    samples = screened(small, 10_000)
    assert len(samples.designs) <= small.space.size
    assert len(np.unique(samples.designs, axis=0)) == len(samples.designs)


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"designs": "0 1 2"}, "proxy_screening: design 1 of 1 is none of this space: it has 3 parameters"),
        ({"designs": "a"}, "proxy_screening: design 1 of 1 is not whole numbers"),
        ({"chosen": 100, "candidates": 50}, "cannot choose 100 of 50 candidates a round"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_spent(problem, hyperparameters, message):
    referee = Referee(problem, 10)
    with pytest.raises(DsegymError, match=message):
        registry.make_agent("proxy_screening", hyperparameters).search(referee, 1)
    assert referee.samples_left == 10
