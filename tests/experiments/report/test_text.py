"""The leaderboard as text: strict JSON, Markdown that nothing breaks, terminal tables."""

import io
import json

import pytest
from leaderboard_cases import golden, trial

from dsegym.experiments.report.text import timings_to_rich, to_json, to_markdown, to_rich
from dsegym.experiments.scoring.leaderboard import build_leaderboard, build_timings
from dsegym.experiments.scoring.notes import TWO_SCORES


def test_the_json_is_strict_and_rounded_to_9_digits():
    board = build_leaderboard([*golden(), trial("ant", "a", 0, [10 / 3])])

    def digits(text):
        return len(text.lower().split("e")[0].replace(".", "").replace("-", "").strip("0"))

    plain = json.loads(to_json(board), parse_float=lambda text: digits(text), parse_constant=pytest.fail)
    assert plain["format"] == 1

    def leaves(value):
        if isinstance(value, (dict, list)):
            for item in value.values() if isinstance(value, dict) else value:
                yield from leaves(item)
        elif value is not None:  # an interval of one seed
            yield value

    score = next(row for row in plain["rows"] if row["agent"] == "ant")["score"]
    assert score == 9  # digits of 0.833333333
    assert all(leaf <= 9 for row in plain["rows"] for leaf in leaves([row["score"], row["low"], row["high"]]))


def test_markdown_cells_cannot_break_their_table():
    text = to_markdown(build_leaderboard([trial("a|b\n<script>", "a", 0, [3.0])]))
    assert "| 1 | a\\|b &lt;script> |" in text


def test_markdown_says_above_its_notes_that_the_score_is_raw_and_what_the_other_counts():
    text = to_markdown(build_leaderboard(golden()))
    assert TWO_SCORES in text.split("## How to read this")[0]
    assert "raw" in TWO_SCORES
    assert "With reference" in TWO_SCORES


def test_the_terminal_tables_show_names_as_they_are():
    from rich.console import Console

    results = [trial("[red]ant[/]", "a", 0, [2.0])]
    console = Console(file=io.StringIO(), width=160)
    console.print(to_rich(build_leaderboard(results)))
    console.print(timings_to_rich(build_timings(results)))
    text = console.file.getvalue()
    assert text.count("[red]ant[/]") == 2
    assert "best of all agents" in text
    assert "4.5" in text
