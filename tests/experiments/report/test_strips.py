"""The small pictures of the page's tables: where dots stand, that no trial hides, and what a screen reader is told."""

import re

import pytest
from leaderboard_cases import golden, trial

from dsegym.experiments.report import strips as strips_module
from dsegym.experiments.report.strips import MOST_DOTS, ranking_strips, trial_strips
from dsegym.experiments.scoring.leaderboard import build_leaderboard
from dsegym.experiments.scoring.scored_trials import read_trials


def dots(strip):
    """(x, y, title, whether it is a ring) of each dot."""
    found = re.findall(r'<circle( class="ring")? cx="([\d.]+)" cy="([\d.]+)" r="2.2"><title>([^<]*)</title>', strip)
    return [(float(x), float(y), title, bool(ring)) for ring, x, y, title in found]


def label(strip):
    (found,) = re.findall(r'role="img" aria-label="([^"]*)"', strip)
    return found


def strip_of(*results):
    """That of the agent ant on the only instance."""
    (found,) = trial_strips(read_trials(results), ["ant"]).values()
    return found["ant"]


def test_every_trial_is_a_dot_at_its_score_between_reference_and_bound():
    strips = trial_strips(read_trials(golden()), ["fox", "owl"])
    assert {name: set(found) for name, found in strips.items()} == {"a": {"fox", "owl"}, "b": {"fox", "owl"}}
    ends = [float(x) for x in re.findall(r'class="end" x1="([\d.]+)"', strips["b"]["owl"])]
    assert sorted(x for x, *_ in dots(strips["b"]["owl"])) == pytest.approx(
        [ends[0] + score * (ends[1] - ends[0]) for score in (-0.5, 0.25)], abs=0.1
    )
    assert ends == pytest.approx([51, 147], abs=0.1)
    assert [each[2:] for each in dots(strips["a"]["owl"])] == [
        ("seed 0: 0.5000", False), ("seed 1: 0.0000 (failed)", True),
    ]  # fmt: skip
    assert label(strips["a"]["fox"]) == "seed 0: 1.0000; seed 1: 0.5000"


def test_equal_scores_stand_apart_in_the_order_of_their_seeds():
    found = dots(strip_of(*(trial("ant", "a", seed, [3.0]) for seed in (2, 0, 1))))
    assert len({x for x, *_ in found}) == 1
    assert [title[:6] for _, _, title, _ in sorted(found, key=lambda dot: dot[1])] == ["seed 0", "seed 1", "seed 2"]
    assert len({y for _, y, *_ in found}) == 3


def test_of_many_trials_some_are_drawn_and_the_ends_are_among_them():
    results = [trial("ant", "a", seed, [2.0 + seed / 20]) for seed in range(161)]
    strip = strip_of(*results)
    assert len(dots(strip)) == MOST_DOTS
    assert {"seed 0: 1.0000", "seed 160: 0.0000"} <= {title for _, _, title, _ in dots(strip)}
    assert label(strip) == "161 trials: scores 0.0000 to 1.0000, median 0.5000; 50 are drawn, evenly by rank"


def test_a_page_of_many_strips_draws_fewer_dots_in_each(monkeypatch):
    monkeypatch.setattr(strips_module, "_MOST_ON_A_PAGE", 24)
    found = trial_strips(
        read_trials([trial("ant", name, seed, [3.0 + seed]) for name in "abcd" for seed in range(7)]), ["ant"]
    )
    assert [len(dots(each["ant"])) for each in found.values()] == [6] * 4
    assert label(found["a"]["ant"]).endswith("; 6 are drawn, evenly by rank")


def test_a_far_worse_score_stands_at_the_lower_end_and_its_number_is_told():
    strip = strip_of(trial("ant", "a", 0, [1e9]), trial("ant", "a", 1, [2.0]))
    assert dots(strip)[0][0] == 3.0
    assert "seed 0: -124999998.7500" in label(strip)


def test_what_a_trial_says_of_itself_is_text_in_a_strip():
    strip = strip_of(trial("ant", "a", 0, [3.0], status='"><b>\u202e'))
    assert "<b>" not in strip
    assert "\u202e" not in strip
    assert "&quot;&gt;&lt;b&gt;\\u202e" in label(strip)


def test_the_rankings_strips_span_their_intervals():
    board = build_leaderboard(golden())
    strips = ranking_strips(board.rows)
    assert set(strips) == {"fox", "owl"}
    for row in board.rows:
        low, score, high = (
            float(re.findall(found, strips[row.agent])[0])
            for found in (r'class="range" x1="([\d.]+)"', r'<circle cx="([\d.]+)"', r'class="range" .*?x2="([\d.]+)"')
        )
        assert low <= score <= high
        assert low < high
