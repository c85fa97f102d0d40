"""Tables of policies and rules: scores as of searches, intervals over instances, and who is who."""

import math

import numpy as np
import polars
import pytest

from dsegym.experiments.evaluations import Result
from dsegym.experiments.scoring.policies import policy_tables
from dsegym.experiments.scoring.statistics import interquartile_mean

REFERENCE, BOUND = 10.0, 2.0


def result(values, *, identifier="0" * 16, seed=0, searched=None, feasible=None, held_out=False, **changes):
    """An evaluation whose policy has these values, [N, S], and whose one rule is worth 6 everywhere."""
    values, obstacle = np.array(values, float), changes.pop("obstacle", "")
    instances, samples = values.shape
    training = {
        "collection": "mine",
        "hyperparameters": changes.pop("hyperparameters", {"units": 8}),
        "seed": seed,
        "steps": changes.pop("steps", 1000),
        "training_s": 2.0 + seed,
        "energy_j": None,
    }
    manifest = {
        "evaluation_id": identifier,
        "policy": {"name": "ppo", "digest": f"{seed}", "source": None, "training": training},
        "scenario": "toy/Toy-v0",
        "collection": "mine",
        "split": "test",
        "form": "decisions",
        "held_out": held_out,
        "mode": "greedy" if samples == 1 else "sampled",
        "samples": samples,
        "seed": 0,
        "instances": [
            {
                "name": f"instance {place}",
                "digest": f"{place}",
                "reference": {"value": REFERENCE},
                "bound": {"value": BOUND, "kind": "optimum"},
                "obstacle": obstacle if place == 0 else "",
                "trained_on": False,
            }
            for place in range(instances)
        ],
        **changes,
    }
    rows = []
    for place in range(instances):
        for sample in range(samples):
            fits = True if feasible is None else feasible[place][sample]
            seen = None if searched is None else float(searched[place][sample])
            rows.append(("ppo", False, place, sample, values[place, sample], fits, seen, None))
        rows.append(("rule", True, place, 0, 6.0, True, None, [0]))
    names = ("entrant", "rule", "instance", "sample", "objective", "feasible", "searched", "design")
    return Result(manifest, polars.DataFrame(rows, schema=list(names), orient="row"))


def row_of(table, role="policy"):
    return next(row for row in table.rows if row.role == role)


def test_scores_are_those_of_searches():
    (table,) = policy_tables([result([[10.0], [2.0], [6.0], [14.0]])])
    row = row_of(table)
    assert row.scores == (0.0, 1.0, 0.5, -0.5)
    assert row.score == interquartile_mean([0.0, 1.0, 0.5, -0.5])
    assert row.low <= row.score <= row.high
    assert row.gain_percent == pytest.approx(100 * (1 - np.mean([10, 2, 6, 14]) / 10))
    assert (row.steps, row.training_s, row.policies) == (1000, 2.0, 1)
    assert [(each.role, each.score) for each in table.rows[-2:]] == [("reference", 0.0), ("bound", 1.0)]
    assert row_of(table, "rule").score == 0.5
    assert not table.adapted


def test_what_is_not_feasible_scores_as_the_reference_does_and_is_counted():
    (table,) = policy_tables([result([[1e9], [2.0]], feasible=[[False], [True]])])
    assert row_of(table).scores == (0.0, 1.0)
    assert row_of(table).infeasible == 1


def test_on_held_out_cases_a_penalty_counts():
    (table,) = policy_tables([result([[90.0], [2.0]], feasible=[[False], [True]], held_out=True)])
    assert row_of(table).scores == (-10.0, 1.0)


def test_the_best_of_several_samples_counts_and_is_chosen_by_what_a_search_sees():
    (table,) = policy_tables([result([[10.0, 2.0]])])
    assert table.adapted
    assert (row_of(table).scores, row_of(table).kind) == ((1.0,), "adapted: best of 2 samples")
    (table,) = policy_tables([result([[10.0, 2.0]], searched=[[1.0, 5.0]], held_out=True)])
    assert row_of(table).scores == (0.0,)
    (table,) = policy_tables([result([[10.0, 2.0, 6.0]], feasible=[[True, False, True]])])
    assert row_of(table).scores == (0.5,)


def test_seeds_of_one_training_are_one_entrant():
    seeds = [result([[10.0], [6.0]], seed=seed, identifier=f"{seed}" * 16) for seed in (0, 1)]
    seeds.append(result([[2.0], [2.0]], seed=2, identifier="2" * 16))
    (table,) = policy_tables(seeds)
    (row,) = [row for row in table.rows if row.role == "policy"]
    assert (row.policies, row.training_s) == (3, 3.0)
    assert row.scores == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert row.score == interquartile_mean([0, 0.5, 0, 0.5, 1, 1])
    assert policy_tables(seeds[::-1]) == (table,)


def test_trainings_that_differ_are_told_apart_by_what_differs():
    found = [
        result([[10.0]]),
        result([[6.0]], identifier="1" * 16, seed=1, hyperparameters={"units": 16}),
        result([[2.0]], identifier="2" * 16, seed=2, steps=5, hyperparameters={"units": 16}),
    ]
    (table,) = policy_tables(found)
    names = [row.entrant for row in table.rows if row.role == "policy"]
    assert names == ["ppo, steps=5, units=16", "ppo, steps=1000, units=16", "ppo, steps=1000, units=8"]


def test_one_policy_evaluated_by_two_versions_is_one():
    (table,) = policy_tables([result([[10.0]]), result([[10.0]], identifier="1" * 16)])
    assert [row.policies for row in table.rows if row.role == "policy"] == [1]


def test_one_instance_has_no_interval():
    (table,) = policy_tables([result([[10.0]])])
    assert (row_of(table).low, row_of(table).high) == (None, None)


def test_instances_without_a_scale_are_left_out():
    (table,) = policy_tables([result([[10.0], [2.0]], obstacle="no room")])
    assert table.instances == ("instance 1",)
    assert table.left_out == (("instance 0", "no room"),)
    assert row_of(table).scores == (1.0,)
    (table,) = policy_tables([result([[10.0]], obstacle="no room")])
    assert table.rows == ()


def test_other_parts_and_other_instances_have_tables_of_their_own():
    found = [result([[10.0]]), result([[10.0], [10.0]], seed=1), result([[10.0]], split="validation", seed=2)]
    assert len(policy_tables(found)) == 3


@pytest.mark.slow
def test_the_interval_covers_what_other_instances_would_give():
    """Simulated: of many sets of instances, about 95 % of the intervals cover the mean of all."""
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        scores = generator.normal(0.5, 0.1, 40)
        (table,) = policy_tables([result((REFERENCE - scores * (REFERENCE - BOUND))[:, None])])
        row = row_of(table)
        hits += row.low <= 0.5 <= row.high
    assert 50 <= hits <= 60
    assert math.isfinite(row.gain_low_percent)
