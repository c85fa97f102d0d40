"""Options that the collections vary: what a decision-maker would know is seen, what it could not know is not."""

import itertools

import jax
import numpy as np
import pytest

import dsegym
from dsegym.envs.core.collections import SPLITS, collection_names, load_collection

BATCH, CASCADE, SLEEP = "dsegym/BatchBestOfN-v0", "dsegym/ReasoningCascade-v0", "dsegym/SleepTime-v0"
VERIFY, PLAN, TREE = "dsegym/SolveVerify-v0", "dsegym/SubQuestionBudget-v0", "dsegym/TreeSearch-v0"

# Scenario, option, feature that tells it, and option's values with those of the feature at an episode's begin.
SEEN = (
    (BATCH, "samples", "samples", {1: 0.2, 4: 0.5, 12: 0.75}),
    (BATCH, "verifier", "accepts_right", {"noisy": 0.425, "0.6/0.1": 0.6, "perfect": 1}),
    (BATCH, "verifier", "accepts_wrong", {"perfect": 0, "0.6/0.1": 0.1, "noisy": 0.141}),
    (BATCH, "hint", "hint_noise", {0.25: 0.2, 1: 0.5, 3: 0.75, "none": 1}),
    (CASCADE, "budget", "budget", {2: 1 / 9, 16: 0.5, 48: 0.75}),
    (SLEEP, "budget", "budget", {1600: 0.2, 6400: 0.5, 19200: 0.75}),
    (SLEEP, "price", "price", {2.5: 0.2, 10: 0.5, 30: 0.75}),
    (SLEEP, "hint_noise", "hint_noise", {0: 0, 0.25: 0.5, 1: 0.8}),
    (VERIFY, "budget", "budget", {4: 0.2, 16: 0.5, 48: 0.75}),
    (VERIFY, "verify_cost", "verify_cost", {0.25: 0.2, 1: 0.5, 3: 0.75}),
    (VERIFY, "price", "price", {0: 0, 0.1: 0.1, 1: 1}),
    (PLAN, "credit_noise", "credit_noise", {0: 0, 0.25: 0.5, 0.75: 0.75}),
    (TREE, "width", "width", {2: 0.2, 8: 0.5, 24: 0.75}),
    (TREE, "price", "price", {0: 0, 0.1: 0.1, 1: 1}),
)
TOLD_IN_TOKENS = {(PLAN, "budget")}  # those of an even share
# How questions, contexts and plans truly are spread; which data set a log is.
HIDDEN = {(BATCH, "data"), (SLEEP, "predictability"), (PLAN, "world"), (PLAN, "spread_beta")}
# Options beside one of the above: a mean number of queries is whole where it is fixed; without hints verdicts err.
BESIDE = {(SLEEP, "budget"): {"arrivals": "fixed"}, (BATCH, "hint"): {"verifier": "noisy"}}


def first_observation(scenario, **options):
    env, params = (problem := dsegym.make_problem(scenario, **options)).functional_env("decisions"), problem.params
    return env, np.asarray(env.observation(env.start(jax.random.key(3), params), params))


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "option", "feature", "values"), SEEN)
def test_the_observation_tells_what_the_option_is(scenario, option, feature, values):
    for given, seen in values.items():
        env, observation = first_observation(scenario, **{option: given}, **BESIDE.get((scenario, option), {}))
        assert observation in env.observation_space
        np.testing.assert_allclose(observation[env.feature_slices[feature]], seen, rtol=1e-6)


def test_every_option_that_a_collection_varies_is_seen_or_is_hidden_on_purpose():
    scenarios = {row[0] for row in SEEN}
    known = {row[:2] for row in SEEN} | TOLD_IN_TOKENS | HIDDEN
    varied = set()
    for collection in map(load_collection, collection_names()):
        if collection.scenario in scenarios:
            rows = list(itertools.chain(*(getattr(collection, split)() for split in SPLITS)))
            varied |= {
                (collection.scenario, name)
                for row in rows
                for name in row
                if len({str(other.get(name)) for other in rows}) > 1
            }
    assert varied == known


@pytest.mark.slow
def test_a_plans_budget_is_told_in_tokens():
    env, half = first_observation(PLAN, budget=0.5)
    _, whole = first_observation(PLAN, budget=1)
    place = env.feature_slices["even_share"]
    np.testing.assert_allclose(whole[place], 2 * half[place], rtol=1e-6)
    assert whole[place] > 0
