"""Whether learning pays: figures against hand-made values, and a file from which the page is made again."""

import functools
import json

import numpy as np
import pytest

from dsegym.experiments.report.learning import learning_page
from dsegym.experiments.scoring.learning import contests, from_stored, to_stored
from dsegym.experiments.scoring.policies import Played, grouped, sensitivities, table_of
from dsegym.experiments.scoring.statistics import interquartile_mean

REFERENCE, BOUND = 10.0, 2.0
CURVE = {"steps": [float(step) for step in range(100, 2100, 100)], "reward": [float(x) for x in range(20)]}


def played(values, *, seed=0, rules=None, learner="ppo", curve=None, trained_on=False, obstacle="", **changes):
    values = np.array(values, float)
    training = {
        "collection": "mine",
        "hyperparameters": {"units": 8},
        "seed": seed,
        "steps": 2000,
        "training_s": 3.0 + seed,
        "energy_j": None,
    }
    manifest = {
        "evaluation_id": f"{learner}{seed}{changes}",
        "policy": {"name": learner, "digest": f"{learner}{seed}", "source": None, "training": training},
        "scenario": "toy/Toy-v0",
        "collection": "mine",
        "split": "test",
        "form": "decisions",
        "held_out": False,
        "mode": "greedy",
        "samples": 1,
        "seed": 0,
        "instances": [
            {
                "name": f"instance {place}",
                "digest": f"{place}",
                "reference": {"name": "first", "value": REFERENCE, "source": ""},
                "bound": {"kind": "optimum", "value": BOUND, "source": ""},
                "obstacle": obstacle if place == 0 else "",
                "trained_on": trained_on,
            }
            for place in range(len(values))
        ],
        **changes,
    }
    rules = {"first": [10.0] * len(values), "second": [6.0] * len(values)} if rules is None else rules
    return Played(manifest, values, {name: np.array(each, float) for name, each in rules.items()}, curve)


def test_a_policy_is_held_against_the_best_single_rule():
    (contest,) = contests([played([4.0] * 4), played([2.0] * 4, seed=1)])
    (row,) = contest.policies
    assert contest.best_rule == "second"
    assert (row.entrant, row.kind, row.seeds, row.steps, row.training_s) == ("ppo", "zero-shot, greedy", 2, 2000, 3.5)
    assert row.score.value == interquartile_mean([0.75] * 4 + [1.0] * 4) == 0.875
    assert row.better_percent.value == pytest.approx(100 * (1 - 3 / 6))
    assert row.closed.value == pytest.approx((0.875 - 0.5) / (1 - 0.5))
    assert row.closed.low < row.closed.value < row.closed.high  # seeds are drawn anew, not only instances
    assert (row.closed.low, row.closed.high) == (0.5, 1.0)


def test_the_oracle_over_rules_takes_the_best_on_each_instance():
    rules = {"a": [10.0, 4.0, 6.0], "b": [4.0, 10.0, 4.0], "partial": [np.nan, 2.0, 2.0]}
    (contest,) = contests([played([5.0, 5.0, 5.0], rules=rules)])
    single, oracle = contest.rules
    assert (single.entrant, single.better_percent, single.closed) == ("b", None, None)
    assert oracle.score.value == 0.75
    assert oracle.better_percent.value == pytest.approx(100 * (0 + 0.6 + 0) / 3)


def test_what_is_not_feasible_counts_as_the_reference():
    (contest,) = contests([played([np.inf, np.inf])])
    (row,) = contest.policies
    assert (row.score.value, row.infeasible) == (0.0, 2)
    assert row.better_percent.value == pytest.approx(100 * (1 - 10 / 6))


def test_where_a_rule_reaches_the_bound_there_is_no_gap_to_close():
    (contest,) = contests([played([3.0, 2.0], rules={"best": [2.0, 2.0]})])
    assert contest.policies[0].closed is None
    assert "nothing to gain" not in learning_page([played([3.0, 2.0], rules={"best": [2.0, 2.0]})])  # by the other goal


def test_without_any_rule_policies_are_held_against_the_reference():
    (contest,) = contests([played([4.0, 4.0], rules={})])
    assert (contest.best_rule, contest.rules) == (None, ())
    assert contest.policies[0].closed.value == 0.75


def test_one_instance_and_one_seed_have_no_interval():
    (contest,) = contests([played([4.0])])
    assert (contest.policies[0].score.low, contest.policies[0].score.high) == (None, None)


def test_adapted_policies_stand_after_zero_shot_ones():
    adapted = played([2.0, 2.0], mode="sampled", samples=8)
    (contest,) = contests([adapted, played([4.0, 4.0])])
    assert [row.kind for row in contest.policies] == ["zero-shot, greedy", "adapted: best of 8 samples"]


def test_evaluations_on_other_instances_are_another_contest():
    one, other = contests([played([4.0] * 4), played([2.0] * 3, seed=1)])
    assert {one.instances, other.instances} == {3, 4}
    assert {row.score.value for row in (*one.policies, *other.policies)} == {0.75, 1.0}


def test_instances_without_a_scale_are_left_out():
    (contest,) = contests([played([4.0, 3.0], obstacle="no room")])
    assert (contest.instances, contest.policies[0].score.value) == (1, 0.875)
    assert contests([played([4.0], obstacle="no room")]) == ()


def sweep():
    return [
        played([value, value], seed=seed, changed={"noise": noise})
        for noise, value in (("0.5", 5.0), ("0", 4.0), ("10", 12.0))
        for seed in (0, 1)
    ]


def test_a_sweep_is_a_line_in_the_order_of_its_values():
    (found,) = sensitivities(table_of(group) for group in grouped(sweep()))
    assert (found.option, found.values) == ("noise", ("0", "0.5", "10"))
    (own,) = [row for row in found.rows if row.role == "policy"]
    assert own.gain_percent == (60.0, 50.0, -20.0)
    assert [row.role for row in found.rows] == ["policy", "rule", "rule", "rules", "bound"]


def results():
    return [
        *(played([3.0 + seed, 4.0, 5.0], seed=seed, curve=CURVE) for seed in (0, 1)),
        played([3.0, np.inf, 2.5], mode="sampled", samples=4),
        played([7.0, 6.0, 8.0], learner="imitation", curve=CURVE),
        *sweep(),
    ]


def test_the_page_is_made_again_from_the_file_alone():
    page = learning_page(results(), "mine")
    stored = to_stored(results(), "mine")
    assert learning_page(*from_stored(stored)) == page
    assert to_stored(*from_stored(stored)) == stored
    assert to_stored(reversed(results()), "mine") == stored


def test_the_page_names_the_trainings_of_the_suite_without_results_and_the_results_of_none():
    own = played([4.0]), played([4.0], seed=1)
    declared = [("mine-ppo-seed0", "ppo0"), ("mine-ppo-seed1", "another"), ("mine-wide-seed0", None)]
    said = " ".join(learning_page(own, "mine", declared).split())
    assert "The suite declares 3 trainings, each seed counted; 1 of them have results here." in said
    assert "These have none: mine-ppo, seed 1; mine-wide, seed 0." in said
    assert "Of trainings that it does not declare are the results of: ppo on mine, seed 1, 2,000 steps." in said
    whole = " ".join(learning_page(own, "mine", [("mine-ppo-seed0", "ppo0"), ("mine-ppo-seed1", "ppo1")]).split())
    assert "declares 2 trainings, each seed counted; 2 of them have results here. ##" in whole
    assert from_stored(to_stored(own, "mine", declared))[2] == declared


def test_the_page_says_what_the_numbers_say():
    page = learning_page(results())
    assert "| mine | ppo | " in page
    assert "adapted: best of 4 samples" in page
    assert "| ppo | 1 | 4 | 9 | 19 |" in page
    assert "| imitation | 1" not in page  # the reward is its expert's
    assert "Sensitivity: how far values lie below the reference's where noise is changed" in page
    assert all(len(line) <= 120 or line.startswith("|") for line in page.splitlines())


def test_what_others_named_is_neither_markup_nor_a_command():
    page = learning_page([played([4.0, 4.0], collection="<b>mine\x1b[31m")], "mine; rm x")
    assert "<b>" not in page
    assert "\x1b" not in page
    assert "dsegym run 'mine; rm x' --output 'results/mine; rm x'" in page


def test_a_sweep_of_what_is_no_option_has_no_training_range():
    for option in ("noise", "nonsense"):
        results = [played([4.0], changed={option: value}, collection="soc-stream-rates") for value in ("0", "1")]
        (found,) = sensitivities(table_of(group) for group in grouped(results))
        assert bool(found.trained) == (option == "noise")


def test_trained_instances_are_warned_of():
    page = learning_page([played([4.0, 4.0], trained_on=True)])
    assert "Beware: a policy was trained on 2 of these instances" in " ".join(page.split())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 2}',
        '{"format": 1, "suite": ""}',
        '{"format": 1, "suite": "", "trainings": [], "parts": [{}]}',
        '{"format": 1, "suite": "", "trainings": ["mine-ppo-seed0"], "parts": []}',
    ],
)
def test_another_file_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        from_stored(text)


def changed(*place, value):
    """The file with another value at a place."""
    content = json.loads(to_stored(results(), "mine", [("mine-ppo-seed0", "ppo0")]))
    *way, last = place
    functools.reduce(lambda inner, key: inner[key], way, content)[last] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("suite",), 7, "'suite' is missing or of the wrong type"),
        (("trainings",), {}, "'trainings' is missing or of the wrong type"),
        (("trainings", 0), ["mine-ppo-seed0"], "a training has 1 member, where 2 are needed"),
        (("trainings", 0, 1), 7, "'digest' is missing or of the wrong type"),
        (("trainings",), [["a", None], ["a", None]], "it declares the training a twice"),
        (("parts", 0, "about", "scenario"), None, "'parts.0.about.scenario' is missing or of the wrong type"),
        (("parts", 0, "about", "held_out"), 1, "'parts.0.about.held_out' is missing"),
        (("parts", 0, "instances", 0, "reference", "value"), "x", "'parts.0.instances.0.reference.value' is missing"),
        (("parts", 0, "instances", 0, "bound"), 2.0, "'parts.0.instances.0.bound' is missing"),
        (("parts", 0, "instances", 0, "bound", "value"), 10.0, "nothing can be scored on instance 0: reference 10 is"),
        (("parts", 0, "rules", "first", 0), "x", "'parts.0.rules.first.0' is missing"),
        (("parts", 0, "rules", "first"), [1.0], "has 1 values of the rule first for 2 instances"),
        (("parts", 0, "played", 0, "values", 0), None, "'parts.0.played.0.values.0' is missing"),
        (("parts", 0, "played", 0, "values", 0), True, "'parts.0.played.0.values.0' is missing"),
        (("parts", 0, "played", 0, "values"), [1.0], "its part mine, test, has 1 values for 2 instances"),
        (("parts", 0, "played", 0, "trained_on"), [True], "has 1 marks of training for 2 instances"),
        (("parts", 0, "played", 0, "samples"), 0, "'parts.0.played.0.samples' is missing"),
        (("parts", 0, "played", 0, "policy", "training", "steps"), -1, "'parts.0.played.0.policy.training.steps'"),
        (("parts", 0, "played", 0, "curve"), {"steps": [], "reward": []}, "has a curve of 0 steps and 0 rewards"),
        (("parts", 0, "played", 0, "curve"), {"steps": [1]}, "'parts.0.played.0.curve.reward' is missing"),
        (("parts", 0, "played", 0, "seed"), float("nan"), "the number NaN is not allowed"),
    ],
)
def test_a_damaged_file_is_refused_by_its_member(place, value, words):
    with pytest.raises(ValueError, match=words):
        from_stored(changed(*place, value=value))


def test_a_file_that_has_an_evaluation_or_an_instance_twice_is_refused():
    content = json.loads(to_stored(results()))
    part = content["parts"][0]
    own = part["played"][0]["evaluation_id"]
    with pytest.raises(ValueError, match=f"it has the evaluation {own} twice"):
        from_stored(json.dumps({**content, "parts": [part, part]}))
    part["instances"][1] = part["instances"][0]
    with pytest.raises(ValueError, match=r"it describes the instance instance 0 \(0\) twice"):
        from_stored(json.dumps(content))
