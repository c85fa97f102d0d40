"""Other libraries' spaces: each draws designs of ours, and what it draws is read back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsegym.costmodels.errors import InvalidDesignError, UnknownNameError
from dsegym.envs.core.spaces import DesignSpace, Parameter

SPACE = DesignSpace(
    (
        Parameter("one", (7,), "KiB"),
        Parameter("size", (1, 2, 4, 8), "B"),
        Parameter("kind", ("a", "b", "c"), ordered=False),
    )
)


@given(st.lists(st.tuples(st.just(0), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=4))
def test_places_by_name_are_a_design(designs):
    for design in designs:
        np.testing.assert_array_equal(SPACE.of_places(dict(zip(SPACE.names, design, strict=True))), design)


@pytest.mark.parametrize(
    ("places", "error", "words"),
    [
        ({"one": 0, "size": 1}, InvalidDesignError, "leaves out kind"),
        ({"one": 0, "size": 1, "kinds": 0}, UnknownNameError, "Did you mean 'kind'"),
        ({"one": 0, "size": 4, "kind": 0}, InvalidDesignError, "index 4 of size is out of range; allowed: 0 to 3"),
        ({"one": 0, "size": 0.5, "kind": 0}, InvalidDesignError, "whole numbers"),
    ],
)
def test_places_that_are_no_design_are_refused(places, error, words):
    with pytest.raises(error, match=words):
        SPACE.of_places(places)


def test_gymnasium_draws_designs():
    space = SPACE.to_gymnasium()
    space.seed(0)
    drawn = np.array([space.sample() for _ in range(50)])
    np.testing.assert_array_equal(SPACE.check(drawn), drawn)
    np.testing.assert_array_equal(space.nvec, SPACE.cardinalities)


def test_optuna_draws_designs_and_reads_their_order():
    optuna = pytest.importorskip("optuna", reason="Optuna is not installed")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = {tuple(SPACE.of_places(study.ask(SPACE.to_optuna()).params)) for _ in range(200)}
    assert len(drawn) == SPACE.size
    assert [d.__class__.__name__ for d in SPACE.to_optuna().values()] == [
        *["IntDistribution"] * 2,
        "CategoricalDistribution",
    ]


def test_configspace_draws_designs_by_its_seed():
    pytest.importorskip("ConfigSpace", reason="ConfigSpace is not installed")
    first, again = (
        [tuple(SPACE.of_places(dict(each))) for each in SPACE.to_configspace(3).sample_configuration(200)] for _ in "ab"
    )
    assert first == again
    assert len(set(first)) == SPACE.size


@pytest.mark.slow
def test_ax_proposes_designs():
    pytest.importorskip("ax", reason="Ax is not installed")
    from ax.api.client import Client

    client = Client(random_seed=0)
    client.configure_experiment(parameters=SPACE.to_ax())
    client.configure_optimization(objective="-cost")
    for _ in range(6):
        for index, places in client.get_next_trials(max_trials=1).items():
            cost = float(SPACE.of_places(places).sum())
            client.complete_trial(trial_index=index, raw_data={"cost": cost})


def test_botorchs_optimiser_of_mixed_spaces_returns_designs():
    pytest.importorskip("botorch", reason="BoTorch is not installed")
    import torch
    from botorch.acquisition import PosteriorMean
    from botorch.models import SingleTaskGP
    from botorch.optim import optimize_acqf_mixed_alternating

    bounds, ordered, unordered = SPACE.to_botorch()
    known = SPACE.enumerate(0, SPACE.size)
    model = SingleTaskGP(
        torch.as_tensor(known, dtype=torch.double), -torch.as_tensor(known.sum(1), dtype=torch.double)[:, None]
    )
    torch.manual_seed(0)
    found, _ = optimize_acqf_mixed_alternating(
        PosteriorMean(model),
        torch.as_tensor(bounds),
        discrete_dims=ordered,
        cat_dims=unordered,
        raw_samples=16,
        num_restarts=2,
    )
    np.testing.assert_array_equal(SPACE.check(found.numpy())[0], [0, 0, 0])
