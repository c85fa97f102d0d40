"""The hyperparameter lottery: classes of one budget, spreads, chances, dominance, and the page from the file alone."""

import json
import math

import numpy as np
import pytest

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.report.lottery import lottery_page
from dsegym.experiments.scoring.draws import best_of_k, win_chances
from dsegym.experiments.scoring.lottery import (
    TARGETS,
    LotteryInstance,
    LotteryResults,
    LotteryTrial,
    chances,
    check_drawn,
    dominance,
    from_stored,
    general,
    pace,
    reach,
    spreads,
    stability,
    table_at,
    to_stored,
)

INSTANCES = ("One", "Two")


def trial(agent, draw, instance, score, budget=100, seed=0, status="finished"):
    """One whose best design came with its tenth sample."""
    targets = tuple(10 if score >= target else None for target in TARGETS)
    regret = 1 - score / 2
    return LotteryTrial(agent, draw, instance, seed, budget, status, score, regret, targets, 3.0, 2.0, 1.0)


def results_of(scores, budgets=(100,), declared=1000):
    """Results of {agent: scores of its draws on each instance}; an agent of one draw has drawn nothing."""
    instances = tuple(LotteryInstance(name, f"toy/{name}-v0", {}, "optimum", {"rule": 0.4}) for name in INSTANCES)
    trials = tuple(
        trial(agent, draw if len(own) > 1 else None, name, score, budget)
        for budget in budgets
        for agent, own in scores.items()
        for draw, row in enumerate(own)
        for name, score in zip(INSTANCES, row, strict=True)
    )
    draws = {agent: {d: {"x": d} for d in range(len(own))} for agent, own in scores.items() if len(own) > 1}
    return LotteryResults("toy", declared, instances, draws, trials)


SCORES = {
    "broad": [[0.5, 0.5], [0.9, 0.2], [0.2, 0.9], [0.0, 0.0]],
    "narrow": [[0.6, 0.6], [0.7, 0.5], [0.6, 0.5]],
    "fixed": [[0.3, 0.3]],
}


def test_the_spread_is_that_of_the_draws_means_over_instances():
    found = {each.agent: each for each in spreads(table_at(results_of(SCORES), 100))}
    means = [0.5, 0.55, 0.55, 0.0]
    broad = found["broad"]
    assert (broad.default, broad.low, broad.high, broad.draws) == (0.5, 0.0, 0.55, 4)
    assert broad.median.value == pytest.approx(np.median(means))
    assert broad.median.low <= broad.median.value <= broad.median.high
    assert broad.middle.value == pytest.approx(np.quantile(means, 0.75) - np.quantile(means, 0.25))
    assert broad.best_of[:3] == pytest.approx([best_of_k(means, k) for k in (1, 2, 4)])
    assert broad.best_of[3] is None  # there are no eight
    assert (found["fixed"].default, found["fixed"].median.low) == (None, None)


def test_chances_are_the_exact_ones_of_the_means():
    table = table_at(results_of(SCORES), 100)
    found = {each.agent: [effort.value for effort in each.by_effort] for each in chances(table)}
    expected = [
        win_chances({a: np.mean(own, axis=1).round(9).tolist() for a, own in SCORES.items()}, k) for k in (1, 2)
    ]
    for agent, own in found.items():
        assert own[:2] == pytest.approx([each[agent] for each in expected])
    for each in chances(table):
        assert all(effort.low <= effort.high for effort in each.by_effort)


def test_no_agent_dominates_where_each_is_best_somewhere_and_one_does_where_it_is_best_everywhere():
    scores = {"left": [[0.9, 0.1], [0.8, 0.3]], "right": [[0.1, 0.9], [0.2, 0.8]]}
    found = dominance(table_at(results_of(scores), 100))
    assert found.best == {"One": ("left",), "Two": ("right",)}
    assert (found.everywhere, found.alone) == ((), None)
    scores["both"] = [[0.9, 0.0], [0.0, 0.95]]  # tuned anew on each
    found = dominance(table_at(results_of(scores), 100))
    assert found.best == {"One": ("both", "left"), "Two": ("both",)}
    assert found.alone == "both"
    scores["again"] = scores["both"]
    found = dominance(table_at(results_of(scores), 100))
    assert (found.everywhere, found.alone) == (("again", "both"), None)


def test_dominance_is_as_sure_as_other_draws_leave_it():
    # It takes both draws to be the best everywhere: of two that are drawn of these two, half of the pairs have both.
    scores = {"both": [[0.9, 0.0], [0.0, 0.9]], "even": [[0.5, 0.5]]}
    found = dominance(table_at(results_of(scores), 100))
    assert found.chance["both"] == pytest.approx(0.5, abs=0.04)
    assert found.chance["even"] == 0


def test_dominance_is_as_sure_as_other_seeds_leave_it():
    # Of two seeds, 0.9 and 0.1, a quarter of the resamples is below the other agent's score.
    luck = [trial("lucky", None, name, score, seed=seed) for name in INSTANCES for seed, score in ((0, 0.9), (1, 0.1))]
    sure = [trial("sure", None, name, 0.499, seed=seed) for name in INSTANCES for seed in (0, 1)]
    found = dominance(table_at(LotteryResults("toy", 8, results_of(SCORES).instances, {}, tuple(luck + sure)), 100))
    assert found.alone == "lucky"
    assert found.chance["lucky"] == pytest.approx(0.75**2, abs=0.04)
    assert found.chance["sure"] == pytest.approx(0.25**2, abs=0.03)


def test_budgets_are_classes_of_their_own_and_instances_without_all_draws_are_left_out():
    whole = results_of(SCORES, budgets=(30, 100))
    more = trial("late", 0, "One", 1.0, budget=30)
    lacking = LotteryResults(whole.suite, 9, whole.instances, whole.draws, (*whole.trials, more))
    assert table_at(lacking, 30).instances == ("One",)
    assert "late" not in table_at(lacking, 100).scores
    assert table_at(lacking, 7) is None
    first = table_at(LotteryResults("toy", 9, whole.instances, whole.draws, whole.trials[:3]), 30)
    assert first.draws == {"broad": (0, 1)}
    assert first.instances == ("One",)


def test_the_order_of_agents_is_stable_where_it_is_the_same_and_reversed_where_it_is():
    low, high = (
        results_of({"a": [[0.1] * 2, [0.2] * 2], "b": [[0.3] * 2, [0.4] * 2]}, (30,)),
        results_of({"a": [[0.9] * 2, [0.9] * 2], "b": [[0.5] * 2, [0.6] * 2]}, (100,)),
    )
    agents, found = stability([table_at(low, 30), table_at(high, 100)])
    assert agents == ("a", "b")
    assert found["median draw"].tolist() == [[1, -1], [-1, 1]]
    assert stability([]) == ((), {})


def test_targets_are_told_by_expected_samples_and_profiles():
    results = results_of({"quick": [[0.95, 0.95], [0.95, 0.0]], "slow": [[0.5, 0.95], [0.2, 0.95]]})
    found = {each.agent: each for each in reach(results, table_at(results, 100))}
    quick = found["quick"]
    assert quick.attained == (0.75, 0.75, 0.0)
    assert quick.runtime[:2] == ((10 * 3 + 100) / 3,) * 2
    assert math.isinf(quick.runtime[2])
    assert quick.level == 0.75  # of the rule's 0.4
    assert quick.regret.value == pytest.approx(np.mean([1 - score / 2 for score in (0.95, 0.95, 0.95, 0.0)]))
    # On One quick takes 10 samples and slow none; on Two quick takes 110 and slow 10.
    assert quick.profile == (0.5, 0.5, 0.5)
    assert found["slow"].profile == (0.5, 0.5, 0.5)


def test_specialists_and_the_clock_are_told_of():
    results = results_of(SCORES)
    found = general(table_at(results, 100))
    assert set(found) == {"broad", "narrow"}
    assert found["broad"].gap == pytest.approx(0.7)
    assert [(each.agent, each.trials, each.agent_ms) for each in pace(results)] == [
        *(("broad", 8, 3.0), ("fixed", 2, 3.0), ("narrow", 6, 3.0)),
    ]


@pytest.mark.slow
def test_the_file_holds_all_that_the_page_is_made_of():
    results = results_of(SCORES, budgets=(30, 100))
    again = from_stored(to_stored(results))
    assert set(again.trials) == set(results.trials)
    assert (again.draws, again.instances, again.declared) == (results.draws, results.instances, results.declared)
    assert lottery_page(again) == lottery_page(results)
    assert to_stored(again) == to_stored(results)


def test_the_page_says_how_much_it_stands_on_and_never_that_energy_was_0():
    page = " ".join(lottery_page(results_of(SCORES, budgets=(30, 100))).split())
    assert "This page stands on 32 of the 1,000 trials that the suite declares" in page
    assert "broad alone is among the best on all 2 instances" in page
    assert "whether ArchGym's finding holds on these cannot be told yet" in page
    assert "not measured" in page
    assert " 0 J" not in page
    shared = {"left": [[0.9, 0.1], [0.8, 0.3]], "right": [[0.1, 0.9], [0.2, 0.8]]}
    page = " ".join(lottery_page(results_of(shared)).split())
    assert "no agent is among the best on all 2 instances: left, right are, each on some" in page
    assert "nobody dominates, and ArchGym's finding holds on these" in page
    page = " ".join(lottery_page(results_of({"one": [[1.0, 1.0], [0.5, 0.5]], "two": [[0.1, 0.1]]})).split())
    assert "one dominates, and ArchGym's finding does not hold on these" in page


def test_without_a_common_instance_the_page_says_so():
    results = results_of({"one": [[1.0, 1.0], [0.5, 0.5]]})
    apart = (trial("one", 0, "One", 0.5), trial("one", 1, "Two", 0.5))
    page = lottery_page(LotteryResults("toy", 4, results.instances, results.draws, apart))
    assert "nothing can be compared" in page


def test_results_without_draws_are_no_lottery():
    with pytest.raises(DsegymError, match="needs `draws`"):
        check_drawn(results_of({"fixed": [[0.5, 0.5]]}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "not of the format 1"),
        ({"columns": ["agent"]}, "do not tell"),
        ({"trials": []}, "no trials"),
        ({"trials": [[1]]}, "a trial has 1 member, where 12 are needed"),
        ({"instances": []}, "an instance that it does not describe"),
        ({"draws": None}, "'draws' is missing or of the wrong type"),
        ({"declared": "x"}, "'declared' is missing or of the wrong type"),
        (
            {"trials": [["ant", None, [1], 0, 9, "finished", 0.5, 0.5, [], 1, 1, 1]]},
            "'instance' is missing or of the wr",
        ),
        (
            {"trials": [["ant", None, "a", 0, 9, "finished", "x", 0.5, [], 1, 1, 1]]},
            "'score' is missing or of the wrong",
        ),
        (
            {"trials": [["ant", None, "a", 0, 9, "finished", math.nan, 0.5, [], 1, 1, 1]]},
            "the number NaN is not allowed",
        ),
    ],
)
def test_another_file_is_refused(change, words):
    content = json.loads(to_stored(results_of(SCORES)))
    with pytest.raises(ValueError, match=words):
        from_stored(json.dumps({**content, **change}))


def test_a_file_that_has_a_trial_or_a_draw_twice_is_refused():
    content = json.loads(to_stored(results_of(SCORES)))
    again = dict(zip(content["columns"], content["trials"][0], strict=True))
    which = f", draw {again['draw']}," if again["draw"] is not None else ""
    words = f"the trial of {again['agent']}{which} on {again['instance']} with {again['budget']} samples and seed"
    with pytest.raises(ValueError, match=f"it has {words} {again['seed']} twice"):
        from_stored(json.dumps({**content, "trials": [*content["trials"], content["trials"][0]]}))
    agent, draw, _ = content["draws"][0]
    with pytest.raises(ValueError, match=f"it describes the draw {draw} of {agent} twice"):
        from_stored(json.dumps({**content, "draws": [*content["draws"], [agent, draw, {}]]}))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (["broad", 0], "a draw has 2 members, where 3 are needed"),
        ([7, 0, {}], "'agent' is missing or of the wrong type"),
        (["broad", "0", {}], "'draw' is missing or of the wrong type"),
        (["broad", 0, [["a", 1]]], "'hyperparameters' is missing or of the wrong type"),
    ],
)
def test_a_damaged_draw_is_refused_by_its_member(row, words):
    content = json.loads(to_stored(results_of(SCORES)))
    with pytest.raises(ValueError, match=words):
        from_stored(json.dumps({**content, "draws": [row]}))
