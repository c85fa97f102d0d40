"""The leaderboard on small trials made in memory, against hand-computed values."""

import copy
import json
import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leaderboard_cases import BOUND, REFERENCE, Result, golden, trial

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.formats import format_gap
from dsegym.experiments.report.text import to_json, to_markdown
from dsegym.experiments.scoring.leaderboard import build_leaderboard, build_timings


def rows(board):
    return {row.agent: row for row in board.rows}


def test_the_golden_ranking_is_as_computed_by_hand():
    fox, owl = build_leaderboard(golden()).rows
    assert (fox.rank, fox.agent, fox.trials) == (1, "fox", 4)
    assert fox.score == pytest.approx((1 + 0.5) / 2)  # of 0, 0.5, 1, 1 the middle two
    assert owl.score == pytest.approx((0 + 0.25) / 2)  # of -0.5, 0, 0.25, 0.5 the middle two
    assert fox.low <= fox.score <= fox.high
    assert fox.with_reference == pytest.approx(fox.score)  # no trial is worse than the reference
    assert owl.with_reference == pytest.approx((0 + 0.25) / 2)  # of 0, 0, 0.25, 0.5 the middle two
    assert fox.median_gap_percent == pytest.approx(100.0)  # of 0, 0, 200, inf
    assert owl.median_gap_percent == pytest.approx((300 + 600) / 2)  # of 200, 300, 600, inf
    assert (fox.reached, owl.reached) == (2, 0)
    assert (fox.samples_to_near, owl.samples_to_near) == (3, None)  # of 2, 3, inf, inf the lower median
    assert (fox.finished, fox.failed, fox.timed_out) == (4, 0, 0)
    assert (owl.finished, owl.failed, owl.timed_out) == (2, 1, 1)


def test_the_golden_best_of_all_takes_the_better_agent_of_each_instance():
    board = build_leaderboard([result for result in golden() if result.manifest["trial"]["seed"] == 1])
    a, b = board.instances  # fox found 6 on a; owl found 14 on b, where fox found nothing
    assert (a.best.agent, a.best.value, a.best.score) == ("fox", 6.0, pytest.approx(0.5))
    assert (b.best.agent, b.best.value, b.best.score) == ("owl", 14.0, pytest.approx(-0.5))
    assert board.best_of_all.score == pytest.approx(0.0)
    assert board.best_of_all.with_reference == pytest.approx((0.5 + 0) / 2)
    assert board.best_of_all.median_gap_percent == pytest.approx((200 + 600) / 2)
    assert (board.best_of_all.reached, board.best_of_all.instances) == (0, 2)


def test_the_golden_probability_of_improvement_counts_pairs_of_seeds():
    pairs = {(p.x, p.y): p for p in build_leaderboard(golden()).improvement}
    # a: 1 and 0.5 against 0.5 and 0: 3.5 of 4 pairs. b: 1 and 0 against 0.25 and -0.5: 3 of 4.
    assert pairs["fox", "owl"].probability == pytest.approx((3.5 + 3) / 8)
    assert pairs["owl", "fox"].probability == pytest.approx(1 - (3.5 + 3) / 8)
    assert pairs["owl", "fox"].low == pytest.approx(1 - pairs["fox", "owl"].high)


def test_the_golden_curves_step_where_the_best_improves():
    board = build_leaderboard(golden())
    curve = next(c for c in board.curves if (c.agent, c.instance) == ("fox", "a"))
    assert board.sample_grid == tuple(range(1, 9))
    # Seed 0: 12 (-0.25), 6 (0.5), 2 (1) and on; seed 1: 6 (0.5) throughout. Two trials are not cut.
    assert curve.score == pytest.approx([0.125, 0.5, *[0.75] * 6])
    assert min(curve.low) == pytest.approx(-0.25)
    overall = next(c for c in board.curves if (c.agent, c.instance) == ("fox", None))
    assert overall.score[-1] == pytest.approx(rows(board)["fox"].score)


def test_an_instance_lists_its_yardsticks_scores_and_best_design():
    a = build_leaderboard(golden()).instances[0]
    assert (a.name, a.scenario, a.options) == ("a", "dsegym/Toy-v0", {"size": 3, "workload": "a"})
    assert (a.reference.name, a.reference.value, a.bound.name, a.bound.value) == ("baseline", 10.0, "optimum", 2.0)
    fox, owl = a.scores
    assert (fox.agent, fox.mean_score, fox.best_value, fox.gap_percent) == ("fox", 0.75, 2.0, 0.0)
    assert (owl.agent, owl.mean_score, owl.best_value, owl.gap_percent) == ("owl", 0.25, 6.0, 200.0)
    assert (a.best.seed, a.best.sample, a.best.design) == (0, 3, (2, 7))
    assert a.best.decoded == {"rows": "2 PE", "buffer": "8 KiB"}


def test_of_equally_good_designs_the_one_found_with_the_fewest_samples_is_shown():
    board = build_leaderboard([trial("ant", "a", 0, [5.0, 3.0]), trial("bee", "a", 0, [3.0, 5.0])])
    assert board.instances[0].best.agent == "bee"


def test_nothing_found_anywhere_scores_0_and_shows_no_design():
    board = build_leaderboard([trial("ant", "a", 0, []), trial("ant", "a", 1, [1.0], feasible=[False])])
    assert board.rows[0].score == board.best_of_all.score == 0.0
    assert board.instances[0].best is None
    assert board.rows[0].median_gap_percent is None
    assert "| ant | 0.0000 | - | - | 2 |" in to_markdown(board)


def test_with_the_reference_as_a_safeguard_no_trial_scores_below_0():
    board = build_leaderboard([trial("ant", "a", seed, [cost]) for seed, cost in enumerate([2.0, 26.0])])
    (row,) = board.rows
    assert (row.score, row.with_reference) == (pytest.approx((1 - 2) / 2), pytest.approx((1 + 0) / 2))
    text = to_markdown(board)
    assert "| With reference |" in text
    assert "| 1 | ant | -0.5000 | [-2.0000, 1.0000] | 0.5000 |" in text
    assert sum("With reference is the same mean" in note for note in board.notes) == 1


def test_held_out_values_are_what_scores_and_curves_are_made_of():
    # Worse on the held-out cases the better it does on the search's: 2, 4, then 6 are scores of 1, 0.75, 0.5.
    board = build_leaderboard([trial("ant", "a", 0, [9.0, 9.5, 5.0, 1.0, 3.0], held_out=[2.0, None, 4.0, 6.0, None])])
    (row,) = board.rows
    assert (row.score, row.median_gap_percent, row.reached) == (pytest.approx(0.5), pytest.approx(200.0), 0)
    assert row.samples_to_near is None, "it was at the bound, and left it again"
    assert (board.instances[0].best.value, board.instances[0].best.sample) == (6.0, 4)
    assert board.instances[0].scores[0].best_value == 6.0
    curve = next(curve for curve in board.curves if curve.instance is not None)
    assert curve.score == pytest.approx([1.0, 1.0, 0.75, *[0.5] * 5]), "it falls"


def test_the_best_design_is_chosen_by_what_the_searches_saw_not_by_held_out_values():
    lucky = trial("ant", "a", 0, [5.0], held_out=[2.0])
    sound = trial("bee", "a", 0, [4.0], held_out=[3.0])
    (instance,) = build_leaderboard([lucky, sound]).instances
    assert (instance.best.agent, instance.best.value) == ("bee", 3.0)
    (instance,) = build_leaderboard([lucky, trial("ant", "a", 1, [4.0], held_out=[3.0])]).instances
    assert (instance.scores[0].best_value, instance.best.seed) == (3.0, 1)


def test_samples_to_near_are_those_after_which_the_incumbent_stays_there():
    board = build_leaderboard([trial("ant", "a", 0, [9.0, 8.0, 7.0], held_out=[2.0, 4.0, 2.0])])
    assert board.rows[0].samples_to_near == 3


def test_the_notes_name_the_instances_that_are_scored_on_held_out_cases():
    def named(*results):
        notes = [note for note in build_leaderboard(results).notes if "held-out cases, which" in note]
        return [note.partition("which no search saw: ")[2].partition(". ")[0] for note in notes]

    held_out = trial("ant", "a", 0, [3.0], held_out=[4.0])
    assert named(trial("ant", "b", 0, [3.0])) == []
    assert named(held_out, trial("ant", "b", 0, [3.0])) == ["a"]
    assert named(held_out) == ["all instances"]


def test_equal_scores_share_a_rank_and_stand_in_order_of_name():
    board = build_leaderboard(
        [
            trial("cow", "a", 0, [4.0]),
            trial("bee", "a", 0, [3.0]),
            trial("ant", "a", 0, [4.0]),
            trial("emu", "a", 0, [5]),
        ]
    )
    assert [(row.rank, row.agent) for row in board.rows] == [(1, "bee"), (2, "ant"), (2, "cow"), (4, "emu")]


@given(st.permutations(golden()), st.floats(0.01, 100), st.text(max_size=9))
@settings(max_examples=10, deadline=None)
def test_neither_the_order_of_the_trials_nor_the_clock_changes_a_byte(results, factor, message):
    want = build_leaderboard(golden())
    results = [Result(copy.deepcopy(result.manifest), result.trace) for result in results]
    for result in results:
        result.trace = result.trace.with_columns(pl.col("elapsed_s") * factor)
        result.manifest["seconds"] = {part: factor * s for part, s in result.manifest["seconds"].items()}
        result.manifest["message"] = message
    got = build_leaderboard(results)
    assert to_json(got) == to_json(want)
    assert to_markdown(got) == to_markdown(want)


@given(
    st.lists(st.lists(st.floats(BOUND, 1e3), min_size=1, max_size=8), min_size=1, max_size=6),
    st.lists(st.floats(BOUND, 1e3), min_size=1, max_size=8),
)
@settings(max_examples=25, deadline=None)
def test_scores_stay_at_most_1_and_curves_never_fall(objectives, other):
    board = build_leaderboard(
        [trial("ant", "a", seed, objective) for seed, objective in enumerate(objectives)]
        + [trial("bee", "a", 0, other)]
    )
    for row in board.rows:
        if row.low is None or row.high is None:  # one seed
            assert row.low is row.high
            assert row.trials == 1
        else:
            assert row.low - 1e-6 <= row.high <= 1 + 1e-6
    for curve in board.curves:
        rises = [after - before for before, after in zip(curve.score[1:], curve.score[2:], strict=False)]
        assert min(rises, default=0) >= -1e-9


def test_instances_are_named_by_what_tells_them_apart():
    def names(*instances):
        results = []
        for scenario, options in instances:
            result = trial("ant", json.dumps(options) + scenario, 0, [5.0])
            result.manifest["trial"]["instance"] = {"scenario": scenario, "options": options}
            results.append(result)
        return {instance.name for instance in build_leaderboard(results).instances}

    assert names(("dsegym/A-v0", {})) == {"A-v0"}
    assert names(("dsegym/A-v0", {"w": "x", "n": 3})) == {"n=3, x"}
    assert names(("dsegym/A-v0", {"w": "x", "n": 3}), ("dsegym/A-v0", {"w": "y", "n": 3})) == {"x", "y"}
    assert names(("dsegym/A-v0", {"w": "x"}), ("dsegym/B-v0", {"w": "x"})) == {"A-v0", "B-v0"}
    several = names(
        ("dsegym/A-v0", {"w": "x", "n": "1"}), ("dsegym/A-v0", {"w": "x", "n": "2"}), ("dsegym/B-v0", {"w": "x"})
    )
    assert several == {"A-v0 · n=1", "A-v0 · n=2", "B-v0"}
    # "x" twice would be ambiguous: both take their full specification.
    ambiguous = names(("dsegym/A-v0", {"v": "x"}), ("dsegym/A-v0", {"w": "x"}))
    assert len(ambiguous) == 2
    assert all("dsegym/A-v0" in name for name in ambiguous)


def test_hyperparameter_sets_of_one_agent_on_the_same_seeds_are_entrants_of_their_own():
    board = build_leaderboard(
        [
            trial("ant", "a", 0, [3.0], hyperparameters={"size": 1, "rate": 0.5}),
            trial("ant", "a", 0, [4.0], hyperparameters={"size": 2, "rate": 0.5}),
            trial("bee", "a", 0, [5.0], hyperparameters={"size": 2}),
        ]
    )
    assert [row.agent for row in board.rows] == ["ant(size=1)", "ant(size=2)", "bee"]


def test_a_long_text_names_no_entrant_where_the_others_tell_the_sets_apart():
    """The same search with data of each instance is one entrant; one that has two sets of data is two."""
    data = {instance: " ".join([instance] * 100) for instance in "ab"}
    cold = [trial("ant", instance, 0, [5.0], hyperparameters={"from": ""}) for instance in "ab"]
    warm = [
        trial("ant", instance, 0, [3.0], hyperparameters={"from": "others", "designs": text})
        for instance, text in data.items()
    ]
    assert [row.agent for row in build_leaderboard([*cold, *warm]).rows] == ["ant(others)", 'ant(from="")']
    other = trial("ant", "a", 0, [2.0], hyperparameters={"from": "others", "designs": data["b"]})
    names = [row.agent for row in build_leaderboard([*cold, *warm, other]).rows]
    assert sorted(names) == sorted(['ant(from="")', *(f"ant({text}, others)" for text in data.values())])


def test_the_lottery_spreads_over_draws_and_leaves_the_ranking_alone():
    drawn = [trial("ant", "a", seed, [value], draw=draw) for draw, value in enumerate([2.0, 4, 8]) for seed in (0, 1)]
    board = build_leaderboard([trial("ant", "a", 0, [6.0]), *drawn])
    (lottery,) = board.lottery
    assert (lottery.low, lottery.median, lottery.high) == (0.25, 0.75, 1.0)
    assert [(d.draw, d.trials, d.score, d.hyperparameters) for d in lottery.draws] == [
        (0, 2, 1.0, {"draw": 0}),
        (1, 2, 0.75, {"draw": 1}),
        (2, 2, 0.25, {"draw": 2}),
    ]
    assert (board.rows[0].score, board.rows[0].trials, board.rows[0].drawn) == (0.5, 1, False)
    assert (board.instances[0].best.draw, board.instances[0].best.value) == (0, 2.0)


def test_an_agent_with_drawn_hyperparameters_only_is_ranked_on_all_draws_and_says_so():
    board = build_leaderboard([trial("ant", "a", 0, [v], draw=d) for d, v in enumerate([2.0, 6.0])])
    assert (board.rows[0].score, board.rows[0].drawn) == (0.75, True)
    assert any("ant ran with drawn hyperparameters only" in note for note in board.notes)


def test_agents_that_share_no_instance_are_not_compared_and_the_notes_say_what_is_missing():
    board = build_leaderboard([trial("ant", "a", 0, [3.0]), trial("bee", "b", 0, [3.0])])
    assert board.improvement == ()
    assert any("ant ran on 1 of 2 instances" in note for note in board.notes)


@pytest.mark.parametrize(
    ("kind", "words"), [("best known", "a new best known value"), ("optimum", "the bound or the cost model is wrong")]
)
def test_a_value_below_the_bound_is_pointed_out(kind, words):
    bound = {"kind": kind, "value": BOUND, "source": "x"}
    board = build_leaderboard([trial("ant", "a", 0, [1.5], bound=bound)])
    assert board.rows[0].score > 1
    assert any(words in note and "ant found 1.5 s on" in note for note in board.notes)


def test_a_time_limit_that_struck_is_pointed_out():
    assert any("Trials stopped at their time limit: 1." in n for n in build_leaderboard(golden()).notes)


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([], "no trial results"),
        ([trial("ant", "a", 0, [3.0])] * 2, "given more than once"),
        (
            [trial("ant", "a", 0, [3.0]), trial("ant", "a", 0, [3.0], budget=9, trial_id="other")],
            r"both ant on .* with seed 0 \(budgets 8 and 9 samples\)",
        ),
        (
            [
                trial("ant", "a", 0, [3.0]),
                trial("ant", "a", 1, [3.0], reference={"name": "x", "value": 9.0, "source": "x"}),
            ],
            "disagree about the reference",
        ),
        (
            [trial("ant", "a", 0, [3.0], held_out=[3.0]), trial("ant", "a", 1, [3.0])],
            "disagree about .*: only one has held-out values",
        ),
        ([trial("ant", "a", 0, [3.0], bound={"kind": "bound", "value": 10.0, "source": "x"})], "is not above bound"),
    ],
)
def test_results_that_make_no_leaderboard_are_refused(results, words):
    with pytest.raises(DsegymError, match=words):
        build_leaderboard(results)


def test_timings_are_medians_of_each_part_and_curves_against_seconds():
    slow = {"agent": 9.0, "cost_model": 3.0, "overhead": 0.7, "total": 12.7}
    timings = build_timings([*golden(), trial("fox", "b", 2, [4.0], seconds=slow)])
    fox = timings.rows[0]
    assert (fox.agent, fox.trials, fox.agent_s, fox.cost_model_s) == ("fox", 5, 3.0, 1.0)
    assert (fox.overhead_s, fox.total_s) == (0.5, 4.5)
    assert timings.seconds_grid[0] == pytest.approx(0.5)
    assert timings.seconds_grid[-1] == pytest.approx(12.7)
    board = build_leaderboard([*golden(), trial("fox", "b", 2, [4.0])])
    assert timings.curves[0].score[-1] == pytest.approx(rows(board)["fox"].score)


def test_timings_of_trials_that_found_nothing_have_no_curves():
    timings = build_timings([trial("ant", "a", 0, [])])
    assert (timings.seconds_grid, timings.curves, len(timings.rows)) == ((), (), 1)


# --- Instances on which no result can be scored, and values that verification cannot tell apart. ---

NOTHING = {"name": "x", "value": 0.0, "source": ""}
NO_ROOM = {"kind": "optimum", "value": 10.0, "source": "enumeration"}


@pytest.mark.parametrize(
    ("yardsticks", "reason"),
    [
        ({"bound": NO_ROOM}, "reference 10 is not above bound 10: the reference is as good as anything can be"),
        (
            {"reference": {"name": "x", "value": 0.0, "source": ""}, "bound": {**NO_ROOM, "value": 0.0}},
            "must be positive",
        ),
        ({"reference": {"name": "x", "value": 1e400, "source": ""}}, "both must be finite"),
        ({"bound": {**NO_ROOM, "value": -1.0}}, "must be positive"),
    ],
)
def test_an_instance_without_a_scale_is_left_out_and_the_rest_ranked(yardsticks, reason):
    bad = [trial(agent, "flat", seed, [10.0], **yardsticks) for agent in ("fox", "owl") for seed in (0, 1)]
    board, rest = build_leaderboard([*golden(), *bad]), build_leaderboard(golden())
    assert board.rows == rest.rows
    assert [(each.instance, each.trials) for each in board.left_out] == [("flat", 4)]
    assert reason in board.left_out[0].reason
    assert any(note.startswith("Left out of every figure: flat, 4 trials:") for note in board.notes)
    assert "Left out of every figure: flat" in to_markdown(board)
    assert json.loads(to_json(board))["left_out"][0]["instance"] == "flat"
    assert build_timings([*golden(), *bad]).rows == build_timings(golden()).rows
    with pytest.raises(DsegymError, match="none of these instances can be scored: .*" + re.escape(reason)):
        build_leaderboard(bad)


def test_a_bound_of_zero_has_a_scale_and_no_gap():
    zero = {"bound": {"kind": "bound", "value": 0.0, "source": ""}}
    board = build_leaderboard([trial("fox", "a", 0, [5.0], **zero), trial("owl", "a", 0, [0.0], **zero)])
    assert [(row.agent, row.score, row.median_gap_percent) for row in board.rows] == [
        ("owl", 1.0, 0.0),
        ("fox", 0.5, None),
    ]
    json.loads(to_json(board), parse_constant=pytest.fail)


@pytest.mark.parametrize("lowered", [9e-7, 1e-9, -9e-7])
def test_nobody_wins_by_what_verification_cannot_see(lowered):
    forged = trial("owl", "a", 0, [6.0 * (1 - lowered)], bound={"kind": "optimum", "value": BOUND, "source": ""})
    board = build_leaderboard([trial("fox", "a", 0, [6.0]), forged])
    assert [row.rank for row in board.rows] == [1, 1]
    assert {pair.probability for pair in board.improvement} == {0.5}


def test_nobody_wins_by_a_yardstick_within_the_tolerance():
    shifted = {"reference": {"name": "baseline", "value": REFERENCE * (1 + 9e-7), "source": ""}}
    board = build_leaderboard([trial("fox", "a", 0, [6.0]), trial("owl", "a", 0, [6.0], **shifted)])
    assert [row.rank for row in board.rows] == [1, 1]


def test_a_difference_beyond_the_tolerance_counts():
    board = build_leaderboard([trial("fox", "a", 0, [6.0]), trial("owl", "a", 0, [6.0 * (1 - 3e-6)])])
    assert [(row.agent, row.rank) for row in board.rows] == [("owl", 1), ("fox", 2)]


def test_users_files_go_by_their_names():
    places = {
        "files/aaaaaaaaaaaaaaaa.csv": "net.csv",
        "files/bbbbbbbbbbbbbbbb.csv": "net.csv",
        "files/c.csv": "other.csv",
    }
    board = build_leaderboard([trial("fox", place, 0, [6.0]) for place in places], file_names=places)
    assert [each.name for each in board.instances] == ["net.csv (aaaaaa)", "net.csv (bbbbbb)", "other.csv"]
    assert [each.files["workload"] for each in board.instances] == list(places)


def test_trials_that_lie_beside_are_mentioned():
    assert not any("Left out" in note for note in build_leaderboard(golden()).notes)
    assert any("Left out: 3 trials in the directory" in note for note in build_leaderboard(golden(), strays=3).notes)


# --- Figures that say how little they know ---------------------------------------------------------------------------


def a_bound(kind):
    return {"kind": kind, "value": BOUND, "source": "x"}


def test_one_seed_has_no_interval_and_says_so_and_two_equal_ones_have():
    once = [trial("ant", "a", 0, [3.0]), trial("bee", "a", 0, [4.0]), trial("ant", "b", 0, [5.0])]
    board = build_leaderboard([*once, *(trial("cow", "a", seed, [6.0]) for seed in range(2))])
    ends = {row.agent: (row.low, row.high) for row in board.rows}
    assert ends == {"ant": (None, None), "bee": (None, None), "cow": (0.5, 0.5)}
    assert {(pair.low, pair.high) for pair in board.improvement} == {(None, None)}, "each pair has a side of one seed"
    assert all((curve.low is None) == (curve.high is None) == (curve.agent != "cow") for curve in board.curves)
    assert any(note.startswith("One seed: ant, bee ran once on each instance") for note in board.notes)
    twice = [trial(agent, "a", seed, [3.0 + seed]) for agent in ("ant", "bee") for seed in range(2)]
    several = build_leaderboard(twice)
    assert not any(note.startswith("One seed") for note in several.notes)
    assert all(pair.low is not None for pair in several.improvement)


def test_no_text_shows_an_interval_of_one_seed():
    text = to_markdown(build_leaderboard([trial("ant", "a", 0, [3.0]), trial("bee", "a", 0, [4.0])]))
    assert text.count("- (one seed)") == 2 + 2
    assert "[" not in text.split("## How to read this")[0]
    assert "1.00 - (one seed)" in text


def test_who_found_no_feasible_design_is_named():
    board = build_leaderboard([trial("ant", "a", 0, [3.0]), trial("bee", "a", 0, []), trial("bee", "a", 1, [4.0])])
    (note,) = (note for note in board.notes if note.startswith("No feasible design"))
    assert note.endswith("worse than the reference: bee in 1 of 2 trials.")
    board = build_leaderboard([trial("ant", "a", 0, [3.0])])
    assert not any(note.startswith("No feasible design") for note in board.notes)


def test_gaps_to_loose_bounds_stand_apart_from_gaps_to_optima():
    loose = [trial("ant", "b", seed, [20.0], bound=a_bound("bound")) for seed in range(2)]  # 900 % above the bound
    board = build_leaderboard([*(trial("ant", "a", seed, [3.0]) for seed in range(2)), *loose])
    (row,), (a, b) = board.rows, board.instances
    assert (a.loose, b.loose) == ("", "a lower bound, not tight")
    assert (row.median_gap_percent, row.median_loose_gap_percent) == (pytest.approx(50.0), pytest.approx(900.0))
    best = board.best_of_all
    assert (best.median_gap_percent, best.median_loose_gap_percent) == (pytest.approx(50.0), pytest.approx(900.0))
    assert list(board.gap_columns.values()) == ["Median gap", "Gap to loose bounds"]
    (note,) = (note for note in board.notes if note.startswith("Loose bounds"))
    assert "b (a lower bound, not tight)" in note
    assert "not gaps to the optimum" in note
    assert "whose optimum is known (1)" in note
    text = to_markdown(board)
    assert f"| {format_gap(50.0)} | {format_gap(900.0)} |" in text
    assert "a lower bound, not tight: a gap to it is not a gap to the optimum" in text


@pytest.mark.parametrize(
    ("kind", "value", "loose"),
    [
        ("optimum", 9.0, False),
        ("bound", 9.0, True),
        ("bound", BOUND, False),
        ("oracle", 9.0, True),
        ("oracle", BOUND, True),
        ("best known", BOUND, True),
    ],
)
def test_a_bound_is_loose_unless_it_is_the_optimum_or_proven_and_reached(kind, value, loose):
    board = build_leaderboard([trial("ant", "a", 0, [9.0, value], bound=a_bound(kind))])
    assert bool(board.instances[0].loose) is loose
    (column,) = board.gap_columns.values()
    assert column == ("Gap to loose bounds" if loose else "Median gap")
