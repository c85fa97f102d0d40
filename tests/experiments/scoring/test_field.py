"""Which agent when: ranks against a published example, winners with intervals, and the page from the file alone."""

import functools
import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dsegym.agents.registry import BUILT_IN, make_agent
from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.report.field import field_page
from dsegym.experiments.report.rank_picture import rank_picture
from dsegym.experiments.scoring.field import (
    GRID,
    KINDS,
    Comparison,
    Field,
    FieldInstance,
    FieldTrial,
    against,
    from_stored,
    instances_at,
    joined,
    standing,
    strangers,
    to_stored,
    verdict,
)
from dsegym.experiments.scoring.statistics import average_ranks
from dsegym.experiments.suite import load_suite
from dsegym.experiments.suite_note import write_suite
from dsegym.experiments.trial import run_trial

# Scores of four entrants on six instances, with ties; ranks by hand, row by row.
SCORES = np.array(
    [
        [0.9, 0.8, 0.7, 0.6],
        [0.9, 0.9, 0.7, 0.6],
        [0.5, 0.8, 0.7, 0.6],
        [0.6, 0.6, 0.6, 0.6],
        [0.1, 0.4, 0.3, 0.2],
        [0.4, 0.5, 0.3, 0.3],
    ]
)
RANKS = np.array([[1, 2, 3, 4], [1.5, 1.5, 3, 4], [4, 1, 2, 3], [2.5] * 4, [4, 1, 2, 3], [2, 1, 3.5, 3.5]])


def test_average_ranks_are_those_made_by_hand():
    ranks = average_ranks(SCORES)
    np.testing.assert_allclose(ranks.average, RANKS.mean(axis=0))
    assert ranks.p_value == stats.friedmanchisquare(*SCORES.T).pvalue


def test_friedmans_p_value_is_that_of_its_formula_with_the_correction_for_ties():
    instances, entrants = RANKS.shape
    spread = 12 * instances / (entrants * (entrants + 1)) * ((RANKS.mean(axis=0) - (entrants + 1) / 2) ** 2).sum()
    ties = sum(sum(count**3 - count for count in np.unique(row, return_counts=True)[1]) for row in RANKS)
    statistic = spread / (1 - ties / (instances * (entrants**3 - entrants)))
    assert average_ranks(SCORES).p_value == pytest.approx(stats.chi2.sf(statistic, entrants - 1))


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_critical_difference_of_two_entrants_is_that_of_the_normal_distribution(confidence):
    # The range of two standard normal values is the size of a normal value of variance 2, and a rank's difference has
    # the variance 2 k (k + 1) / 12 = 1 over the number of instances.
    scores = np.random.default_rng(0).random((14, 2))
    expected = stats.norm.ppf((1 + confidence) / 2) / np.sqrt(14)
    assert average_ranks(scores, confidence=confidence).critical_difference == pytest.approx(expected, rel=1e-6)


def test_the_critical_difference_holds_what_it_says_where_all_entrants_are_alike():
    scores = np.random.default_rng(1).random((2000, 40, 5))  # experiments, instances, entrants
    places = stats.rankdata(scores, axis=2).mean(axis=1)
    difference = average_ranks(scores[0]).critical_difference
    apart = (np.ptp(places, axis=1) > difference).mean()
    assert apart == pytest.approx(0.05, abs=0.02)


def test_ranks_of_one_entrant_two_entrants_and_equal_ones_have_no_test():
    assert average_ranks([[0.3]]).average.tolist() == [1.0]
    assert average_ranks([[0.3]]).critical_difference == 0
    assert average_ranks([[0.3, 0.4]]).p_value == 1
    equal = average_ranks(np.ones((5, 3)))
    assert equal.average.tolist() == [2, 2, 2]
    assert equal.p_value == 1


def instance(name, **changes):
    base = FieldInstance(
        name=name,
        scenario=f"dsegym/{name}-v0",
        family="serving",
        options={},
        reference=2.0,
        bound=1.0,
        bound_kind="optimum",
        parameters=4,
        unordered=0,
        ranked=0,
        designs_log10=3.0,
        policy=False,
        feasible=1.0,
    )
    return FieldInstance(**{**base.__dict__, **changes})


def trial(agent, name, seed, score, budget=100, status="finished"):
    """A trial that has the value of a score from sample 10 on, and nothing before."""
    values = tuple(None if samples < 10 else 2.0 - score for samples in GRID if samples <= budget)
    return FieldTrial(agent, name, seed, budget, status, 0.5, values)


def field_of(scores, budget=100, **changes):
    """A field of {agent: score on every instance}, three instances and three seeds."""
    names = ("One", "Two", "Three")
    trials = [
        trial(agent, name, seed, score + 0.001 * seed, budget)
        for agent, score in scores.items()
        for name in names
        for seed in range(3)
    ]
    return Field("core", len(trials), tuple(instance(name, **changes) for name in names), tuple(trials))


def test_the_best_agent_wins_and_what_lies_far_below_is_told_apart():
    field = field_of({"random_search": 0.2, "good": 0.8, "same": 0.8})
    found = verdict(field, field.instances, 100)
    assert (found.winner, found.alike, found.compared) == ("good", ("same",), 3)
    assert found.equal == ("same",)
    assert found.score.low <= found.score.value <= found.score.high
    assert found.score.value == pytest.approx(0.801)
    ranks = standing(field, field.instances, 100)
    assert [(each.agent, each.rank) for each in ranks.contenders] == [
        ("good", 1.5),
        ("same", 1.5),
        ("random_search", 3),
    ]


def test_of_equal_scores_the_surer_one_wins_and_those_that_are_equal_throughout_stand_together():
    field = field_of({"certain": 0.999, "also": 0.999})
    lucky = [
        trial("a_lucky_one", name, seed, 0.2 if (name, seed) == ("One", 0) else 0.999 + 0.001 * seed)
        for name in ("One", "Two", "Three")
        for seed in range(3)
    ]
    both = Field("core", 27, field.instances, (*field.trials, *lucky))
    found = verdict(both, both.instances, 100)
    assert (found.winner, found.equal) == ("also", ("certain",))
    assert "a_lucky_one" in found.alike
    assert "| 3: also = certain 1.000" in field_page(both)


def test_what_is_worse_than_the_reference_or_nothing_counts_as_the_reference():
    field = field_of({"worse": -3.0})
    assert verdict(field, field.instances, 100).score.value == 0
    lost = Field("core", 1, (instance("One"),), (trial("lost", "One", 0, 0.5),))
    early = Field("core", 1, lost.instances, (FieldTrial("lost", "One", 0, 100, "failed", 0.5, (None,) * 9),))
    assert verdict(lost, lost.instances, 10).score.value == 0.5
    assert verdict(early, early.instances, 10).score.value == 0


def test_agents_are_compared_where_they_have_the_samples_and_play_every_instance():
    field = field_of({"long": 0.5}, budget=10_000)
    short = field_of({"short": 0.9}, budget=100)
    partial = trial("partial", "One", 0, 1.0, 10_000)
    both = Field("core", 19, field.instances, (*field.trials, *short.trials, partial))
    assert [each.agent for each in standing(both, both.instances, 100).contenders] == ["short", "long"]
    assert [each.agent for each in standing(both, both.instances, 10_000).contenders] == ["long"]
    assert {each.agent for each in standing(both, both.instances[:1], 100).contenders} == {"long", "short", "partial"}
    assert instances_at(short, 1000) == []


def test_an_agent_is_better_where_all_its_seeds_are_at_the_samples_that_both_may_take():
    field = field_of({"random_search": 0.2, "good": 0.8, "near": 0.201, "bad": 0.1})
    assert against(field, "good", "random_search", field.instances) == Comparison(3, 0, 3)
    assert against(field, "near", "random_search", field.instances) == Comparison(0, 0, 3)
    assert against(field, "bad", "random_search", field.instances) == Comparison(0, 3, 3)
    assert against(field, "nobody", "random_search", field.instances) == Comparison(0, 0, 0)
    fewer = Field("core", 9, field.instances, tuple(each for each in field.trials if each.agent != "good" or each.seed))
    assert against(fewer, "good", "random_search", field.instances) == Comparison(0, 0, 0)
    # At 10 samples, of which the shorter has no more: what the longer one finds later is not its due.
    late = [FieldTrial("late", "One", seed, 100, "finished", 0.5, (1.9,) * 5 + (1.0,) * 4) for seed in range(3)]
    short = [trial("random_search", "One", seed, 0.5, 10) for seed in range(3)]
    both = Field("core", 6, field.instances, (*late, *short))
    assert against(both, "late", "random_search", field.instances) == Comparison(0, 1, 1)


def test_agents_begin_where_the_page_says():
    at_the_reference = {"hill_climb", "simulated_annealing", "block_local_search"}
    starts = {
        name: getattr(make_agent(name), "start", "") for name in BUILT_IN if name not in ("exact", "packing_search")
    }
    assert {name for name, start in starts.items() if start} == at_the_reference
    page = " ".join(field_page(field_of({"good": 0.8})).split())
    assert "`hill_climb`, `simulated_annealing` and `block_local_search` begin at the reference's design" in page


def test_the_page_says_who_is_nowhere_better_than_random_search():
    page = " ".join(field_page(field_of({"random_search": 0.2, "good": 0.8, "near": 0.201, "bad": 0.1})).split())
    assert "| good | 3 of 3 | 0 | 3 of 3 |" in page
    assert "| bad | 0 of 3 | 3 | 0 of 3 |" in page
    assert "Better on no instance of any family: `bad`, `near`." in page


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({}, {"ordered", "small"}),
        ({"unordered": 1}, {"mixed", "small"}),
        ({"unordered": 2, "designs_log10": 9.0}, {"categorical", "large"}),
        ({"ranked": 4, "feasible": 0.4}, {"permutation-like", "constrained", "small"}),
        ({"ranked": 2, "unordered": 2, "feasible": None}, {"permutation-like", "small"}),
        ({"policy": True}, {"ordered", "policies", "small"}),
    ],
)
def test_kinds_say_what_an_instance_is_like(changes, kinds):
    assert {kind.split(" ")[0] for kind, holds in KINDS.items() if holds(instance("One", **changes))} == kinds


def test_the_page_ranks_those_that_play_no_rules_among_themselves():
    page = " ".join(field_page(field_of({"random_search": 0.2, "good": 0.8, "warm_start": 0.9}, budget=1000)).split())
    everybody, others = page.split("### Among agents that play no rules")
    assert "`warm_start` has the best average rank (1.00 of 3)" in everybody
    assert "The same without warm_start, whose first samples are the designs of a family's rules." in others
    assert "`good` has the best average rank (1.00 of 2)" in others
    assert "play no rules" not in field_page(field_of({"random_search": 0.2, "good": 0.8}))


def test_a_kind_names_who_cannot_be_told_from_the_winner():
    page = field_page(field_of({"random_search": 0.2, "good": 0.8, "near": 0.7999}, budget=1000))
    assert "good 0.801 [0.800, 0.802] (1 of 2 others alike: near)" in page


def test_fewer_seeds_than_others_have_and_rows_that_lack_for_it_are_told():
    field = field_of({"random_search": 0.2, "good": 0.8, "short": 0.9})
    fewer = replace(field, trials=tuple(t for t in field.trials if t.agent != "short" or t.seed == 0))
    page = " ".join(field_page(fewer).split())
    assert "Fewer than 3 seeds on an instance, so that chance weighs more: short 1." in page
    assert "Without a row, for their seeds are not as many as random search's: short." in page
    whole = " ".join(field_page(field).split())
    assert "Fewer than" not in whole
    assert "Without a row" not in whole


def test_agents_are_compared_on_the_instances_of_the_first_results():
    first = field_of({"random_search": 0.2, "good": 0.8})
    mine = field_of({"mine": 0.9})
    other = replace(mine.instances[0], options={"objective": "energy"})
    mine = replace(mine, instances=(other, *mine.instances[1:]))
    assert strangers(first, mine) == ["One"]
    found = joined([first, mine])
    assert {(t.agent, t.instance) for t in found.trials if t.agent == "mine"} == {("mine", "Two"), ("mine", "Three")}
    assert [each.name for each in found.instances] == ["One", "Three", "Two"]
    assert found.instances[0].options == first.instances[0].options


def test_an_agent_that_runs_with_two_settings_is_two_in_the_file_too():
    names = ("genetic_algorithm(population_size=5)", 'warm_start(designs="[[1, 2]]")', "heuristic(all)")
    field = field_of({"random_search": 0.2, **dict.fromkeys(names, 0.8)})
    assert {trial.agent for trial in from_stored(to_stored(field)).trials} == {"random_search", *names}
    others = field_page(field).split("### Among agents that play no rules")[1].split("\n## ")[0]
    assert 'The same without heuristic(all) and warm_start(designs="[[1, 2]]")' in " ".join(others.split())


def test_an_option_or_an_agent_that_looks_like_a_link_is_none_on_the_page():
    field = field_of({"random_search": 0.2, "good": 0.8, "`x` [a](https://b.c)": 0.5})
    odd = replace(field.instances[0], options={"workload": "[a](https://b.c)"})
    page = field_page(replace(field, instances=(odd, *field.instances[1:])))
    assert "[a]\\(https://b.c)" in page
    assert "[a](" not in page


def test_the_page_and_the_picture_are_made_again_from_the_file_alone():
    field = field_of({"random_search": 0.2, "good": 0.8, "other": 0.5}, budget=1000)
    again = from_stored(to_stored(field))
    assert set(again.trials) == set(field.trials)
    assert again.instances == field.instances
    assert field_page(again) == field_page(field)
    assert rank_picture(again) == rank_picture(field)
    assert to_stored(again) == to_stored(field)


def test_the_page_says_who_wins_and_the_picture_is_a_picture():
    field = field_of({"random_search": 0.2, "good": 0.8, "other": 0.5}, budget=1000)
    page = field_page(field)
    assert "At 1,000 samples, on 3 instances, `good` has the best average rank (1.00 of 3) and the highest score" in (
        " ".join(page.split())
    )
    assert "At 10,000 samples" not in page
    root = ET.fromstring(rank_picture(field))
    lines = [each.attrib["points"] for each in root.iter() if each.tag.endswith("polyline")]
    assert len(lines) == 3
    longer = field_of({"random_search": 0.2, "good": 0.8}, budget=10_000)
    more = ET.fromstring(rank_picture(Field("core", 45, field.instances, (*field.trials[18:], *longer.trials))))
    # Three to 1,000 samples, then two, whose lines are broken there.
    assert sum(each.tag.endswith("polyline") for each in more.iter()) == 5
    assert all(math.isfinite(float(number)) for line in lines for number in line.replace(",", " ").split())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "not of the format 1"),
        ({"trials": [[1]]}, "a trial has 1 member, where 7 are needed"),
        ({"instances": [{"name": "One"}]}, "'instances.0.scenario' is missing"),
        ({"grid": [1, 2]}, "not read at the samples"),
        ({"instances": []}, "an instance that it does not describe"),
    ],
)
def test_another_file_is_refused(change, words):
    content = json.loads(to_stored(field_of({"one": 0.2})))
    with pytest.raises(ValueError, match=words):
        from_stored(json.dumps({**content, **change}))


def test_a_member_that_no_reader_knows_is_passed_over():
    field = field_of({"one": 0.2})
    content = json.loads(to_stored(field))
    content["instances"][0]["later"] = 1
    assert from_stored(json.dumps(content)) == from_stored(to_stored(field))


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("trials", 0, 0), None, "'agent' is missing or of the wrong type"),
        (("trials", 0, 1), [1], "'instance' is missing or of the wrong type"),
        (("trials", 0, 2), "x", "'seed' is missing or of the wrong type"),
        (("trials", 0, 5), "x", "'agent_ms' is missing or of the wrong type"),
        (("trials", 0, 6, 0), "x", "'values.0' is missing or of the wrong type"),
        (("trials", 0, 6, 0), math.nan, "the number NaN is not allowed"),
        (("instances", 0, "reference"), "x", "'instances.0.reference' is missing or of the wrong type"),
        (("instances", 0, "options"), [1], "'instances.0.options' is missing or of the wrong type"),
        (("instances", 0, "family"), None, "'instances.0.family' is missing or of the wrong type"),
        (("instances", 0, "feasible"), 1e308, "'instances.0.feasible' is missing or of the wrong type"),
        (("declared",), -1, "'declared' is missing or of the wrong type"),
    ],
)
def test_a_damaged_file_is_refused_by_its_member(place, value, words):
    content = json.loads(to_stored(field_of({"one": 0.2})))
    *way, last = place
    functools.reduce(lambda inner, key: inner[key], way, content)[last] = value
    with pytest.raises(ValueError, match=words):
        from_stored(json.dumps(content))


def test_a_file_that_describes_an_instance_twice_is_refused():
    content = json.loads(to_stored(field_of({"one": 0.2})))
    with pytest.raises(ValueError, match=r"describes the instance .* twice"):
        from_stored(json.dumps({**content, "instances": content["instances"] * 2}))


def test_a_file_with_an_instance_on_which_nothing_can_be_scored_is_refused():
    text = to_stored(field_of({"one": 0.5}))
    content = json.loads(text)
    content["instances"][0]["bound"] = content["instances"][0]["reference"]
    with pytest.raises(
        ValueError, match=r"^nothing can be scored on One.*the reference is as good as anything can be$"
    ):
        from_stored(json.dumps(content))


def test_a_file_without_trials_is_refused():
    content = json.loads(to_stored(field_of({"one": 0.2})))
    with pytest.raises(ValueError, match=r"^it has no trial$"):
        from_stored(json.dumps({**content, "trials": []}))


def test_a_file_that_has_a_trial_twice_is_refused():
    content = json.loads(to_stored(field_of({"one": 0.2})))
    agent, name, seed, *_ = content["trials"][1]
    again = [agent, name, seed, *content["trials"][0][3:]]
    with pytest.raises(ValueError, match=f"it has the trial of {agent} on {name} with seed {seed} twice"):
        from_stored(json.dumps({**content, "trials": [*content["trials"], again]}))


def test_an_agents_name_is_no_markup_of_the_page():
    page = field_page(field_of({"random_search": 0.2, "x`<script>": 0.9}))
    assert "x`&lt;script>" in page
    assert "<script>" not in page


def test_results_of_parts_of_a_suite_make_the_field_that_one_run_of_it_would():
    whole = field_of({"random_search": 0.2, "good": 0.8})
    parts = [
        Field("core", whole.declared, tuple(instance(it.name, feasible=None) for it in whole.instances), ()),
        *(
            Field("a_part", 9, whole.instances, tuple(each for each in whole.trials if each.agent == agent))
            for agent in ("good", "random_search")
        ),
    ]
    assert joined(parts).runs == 3
    assert to_stored(replace(joined(parts), runs=1)) == to_stored(joined([whole]))
    assert to_stored(from_stored(to_stored(joined(parts)))) == to_stored(joined(parts))
    assert "trials of 3 runs" in field_page(joined(parts))
    assert sorted(map(str, joined(parts).trials)) == sorted(map(str, whole.trials))
    assert {it.feasible for it in joined(parts).instances} == {1.0}


def test_fields_that_do_not_fit_together_are_refused():
    whole = field_of({"random_search": 0.2})
    with pytest.raises(DsegymError, match="random_search on One with seed 0 is given twice"):
        joined([whole, whole])
    other = Field("core", 1, (instance("One", bound=0.9),), (trial("good", "One", 0, 0.5),))
    with pytest.raises(DsegymError, match=r"One is not the same in all results: bound is 1\.0 and 0\.9"):
        joined([whole, other])


def test_another_random_searchs_share_of_feasible_designs_is_no_other_instance():
    one, other = (field_of({agent: 0.2}, feasible=share) for agent, share in (("random_search", 0.5), ("sobol", 0.6)))
    assert {it.feasible for it in joined([one, other]).instances} == {0.5}


def test_a_trial_that_finished_takes_the_place_of_one_that_did_not():
    cut = trial("good", "One", 0, 0.1, status="timed_out")
    whole = trial("good", "One", 0, 0.5)
    one, other = (Field("core", 1, (instance("One"),), (each,)) for each in (cut, whole))
    assert joined([one, other]).trials == joined([other, one]).trials == (whole,)
    with pytest.raises(DsegymError, match="is given twice"):
        joined([one, one])


def test_drawn_hyperparameters_are_the_lotterys(tmp_path, dsegym_command):
    path = tmp_path / "drawn.toml"
    path.write_text(
        'name = "drawn"\nsamples = 20\nseeds = 1\n[[instances]]\nscenario = "dsegym/SleepTime-v0"\n'
        '[[agents]]\nname = "genetic_algorithm"\ndraws = 1\n'
    )
    suite, results = load_suite(path), tmp_path / "results"
    for each, identifier in zip(suite.trials, write_suite(results, suite), strict=True):
        run_trial(each, identifier, results)
    code, out, err = dsegym_command("field", results)
    assert (code, out) == (2, "")
    assert "have drawn hyperparameters, of which `dsegym lottery` tells" in err


def test_an_agent_that_plays_one_instance_has_its_place_there():
    whole = field_of({"random_search": 0.2, "good": 0.8})
    mine = tuple(trial("mine:Own", "Two", seed, 0.5) for seed in range(2))
    page = field_page(replace(whole, trials=(*whole.trials, *mine)))
    assert "| mine:Own | Two | 100 | 2 | 0.500 | 2 of 3 |" in page
    assert "Agents that play some" not in field_page(whole)


def test_an_instance_that_is_called_otherwise_in_another_suite_is_the_same_one():
    whole = field_of({"random_search": 0.2, "good": 0.8})
    alone = replace(instance("One"), name="its=options")
    mine = Field("part", 1, (alone,), (replace(trial("mine:Own", "One", 0, 0.5), instance="its=options"),))
    found = joined([whole, mine])
    assert {it.name for it in found.instances} == {"One", "Two", "Three"}
    assert [each.instance for each in found.trials if each.agent == "mine:Own"] == ["One"]
