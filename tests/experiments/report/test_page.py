"""The page: whole in itself, and safe whatever the trials say."""

import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from leaderboard_cases import BOUND, golden, trial
from page_charts import charts, unpacked

from dsegym.experiments.report import page as page_module
from dsegym.experiments.report.page import write_html
from dsegym.experiments.report.section import Section
from dsegym.experiments.scoring import curves as scored_curves
from dsegym.experiments.scoring.leaderboard import build_leaderboard
from dsegym.experiments.scoring.notes import TWO_SCORES


class Page(HTMLParser):
    """What a browser would load, link to and show."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.ids, self.shown, self._hidden = ([], [], [], [], False)
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self._hidden = tag in ("script", "style")
        self.loads += [attrs["src"]] if "src" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        self.ids += [attrs["id"]] if "id" in attrs else []

    def handle_endtag(self, tag):
        self._hidden = False

    def handle_data(self, data):
        if not self._hidden:
            self.shown.append(data)


def page_of(results, tmp_path, **more):
    path = tmp_path / "page.html"
    write_html(build_leaderboard(results), results, path, **more)
    return path.read_text(encoding="utf-8")


def test_the_page_loads_nothing_and_its_links_lead_somewhere(tmp_path):
    drawn = [trial("owl", "a", 0, [value], draw=draw) for draw, value in enumerate([2.0, 4.0])]
    text = page_of([*golden(), *drawn], tmp_path, sections=[Section("Roofline <1>", "<b id='mine'>figure</b>")])
    page = Page(text)
    assert page.loads == []
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link == "data:," or link.removeprefix("#") in page.ids
    assert {"ranking", "anytime", "improvement", "instances", "designs", "lottery", "time", "failures", "mine"} < set(
        page.ids
    )
    shown = " ".join(page.shown)
    assert "Roofline <1>" in shown
    assert TWO_SCORES in shown
    assert "after 1.5 s: <b>gone</b>" in shown
    assert "dsegym verify DIR" in shown


def test_the_page_escapes_whatever_the_trials_say(tmp_path):
    evil = "</script><img src=x onerror=alert(1)>"
    results = [trial(evil, evil, 0, [3.0]), trial("owl", "b", 0, [3.0])]
    results[0].manifest["best"]["decoded"] = {evil: evil}
    results[0].manifest["objective"] = {"name": evil, "unit": evil}
    text = page_of(results, tmp_path, suite={"name": evil, "description": evil})
    assert "<img src=x" not in text
    assert Page(text).loads == []
    assert evil in " ".join(Page(text).shown)


def test_the_page_is_the_same_for_the_same_results(tmp_path):
    assert page_of(golden(), tmp_path) == page_of(golden()[::-1], tmp_path)


@pytest.mark.parametrize("objective", [[], [5.0], [BOUND], [1e9], [math.nan]])
def test_a_page_can_be_made_of_a_single_trial(objective, tmp_path):
    assert "Ranking" in page_of([trial("ant", "a", 0, objective, budget=1)], tmp_path)


def test_importing_the_leaderboard_and_the_report_loads_nothing_heavy():
    code = (
        "import sys, dsegym.experiments.scoring.leaderboard, dsegym.experiments.report.page; "
        "print(sorted({'plotly', 'rich', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_characters_that_hide_or_turn_text_are_shown(tmp_path):
    name = "ant\x1b]0;x\x07\u202e"
    page = Page(page_of([trial(name, "a", 0, [3.0])], tmp_path, suite={"name": name, "description": "two\nlines"}))
    shown = "".join(page.shown)
    assert not set("\x1b\x07\u202e") & set(shown)
    assert "ant\\x1b]0;x\\x07\\u202e" in shown
    assert "two\nlines" in shown


def test_the_page_marks_loose_bounds_and_shows_no_interval_of_one_seed(tmp_path):
    bound = {"kind": "bound", "value": 2.0, "source": "x"}
    results = [trial("ant", "a", 0, [3.0]), trial("bee", "b", 0, [20.0], bound=bound), trial("bee", "a", 0, [5.0])]
    text = page_of(results, tmp_path)
    assert text.count('<td class="n">- (one seed)</td>') == 2
    assert "<small>loose bound</small>" in text
    assert '<th scope="col" class="n up">Median gap</th><th scope="col" class="n up">Gap to loose bounds</th>' in text
    assert "Loose bounds: b (a lower bound, not tight)" in text
    assert "to None" not in text
    assert "loose" not in page_of([trial("ant", "a", 0, [3.0])], tmp_path).split("<main")[1].split("<script")[0]


def test_the_page_keeps_each_curve_once_to_five_decimals(tmp_path):
    results = golden()
    board = build_leaderboard(results)
    found = charts(page_of(results, tmp_path), "curves")
    assert {f"instance-{place}" for place in range(len(board.instances))} <= set(found)
    agents = [row.agent for row in board.rows]
    for curve in (curve for curve in board.curves if curve.instance is None):
        (kept,) = [each for each in found["samples-score"]["curves"] if agents[each["agent"]] == curve.agent]
        at = [max(place for place in kept["at"] if place <= point) for point in range(len(curve.score))]
        shown = [1 - kept["line"][kept["at"].index(place)] for place in at]
        assert shown == pytest.approx(curve.score, rel=1e-5, abs=1e-5)
        assert ("low" in kept) == (curve.low is not None)


def test_a_page_whose_curves_have_no_bands_speaks_of_none(tmp_path, monkeypatch):
    said = "bands are 95 % bootstrap intervals over seeds"
    assert page_of(golden(), tmp_path).count(said) == 2
    monkeypatch.setattr(scored_curves, "MOST_BANDED", 3)
    assert said not in page_of(golden(), tmp_path)


def test_the_page_shows_each_trial_of_each_agent_on_each_instance(tmp_path):
    text = page_of(golden(), tmp_path)
    strips = re.findall(r'<svg class="strip trials".*?</svg>', text)
    assert [strip.count("<circle") for strip in strips] == [2, 2, 2, 2]
    assert 'aria-label="seed 0: 0.5000; seed 1: 0.0000 (failed)"' in text


def test_plotly_is_inside_once_and_small(tmp_path):
    text = page_of(golden(), tmp_path)
    (packed,) = re.findall(r'id="plotly">([^<]*)<', text)
    assert "plotly.js v" in unpacked(packed)[:500]
    assert len(text) < 3_000_000


def test_every_agent_and_instance_has_an_address_of_its_own(tmp_path):
    results = [trial(agent, name, 0, [3.0]) for agent in ("ant", "ANT") for name in ("a b", "a,b", "<&>")]
    page = Page(page_of(results, tmp_path))
    assert {"agent-ant", "agent-ant-2", "instance-a-b", "instance-a-b-2", "instance-unnamed"} <= set(page.ids)


def test_a_page_of_very_many_instances_or_failures_shows_the_first_and_says_so(tmp_path, monkeypatch):
    results = [trial(agent, name, 0, [3.0], status="failed") for agent in ("ant", "bee") for name in "abc"]
    whole = Page(page_of(results, tmp_path))
    assert "are shown" not in " ".join(whole.shown)
    assert {"instance-a", "instance-b", "instance-c"} <= set(whole.ids)
    monkeypatch.setattr(page_module, "MOST_SCORES", 5)
    monkeypatch.setattr(page_module, "MOST_FAILURES", 4)
    text = page_of(results, tmp_path)
    found = Page(text)
    shown = " ".join(found.shown)
    assert "The first 2 of 3 instances, by name, are shown." in shown
    assert "The first 4 of 6 trials are shown." in shown
    assert {"instance-a", "instance-b"} <= set(found.ids)
    assert "instance-c" not in found.ids
    assert {f"instance-{place}" for place in range(3)} & set(charts(text, "curves")) == {"instance-0", "instance-1"}
    assert all(link == "data:," or link.removeprefix("#") in found.ids for link in found.links)


@pytest.mark.slow
def test_a_page_of_a_hundred_instances_and_thirty_agents_is_under_ten_megabytes(tmp_path):
    results = [
        trial(f"agent_{agent:02}", f"w{place:03}", seed, [9.0 - seed, 3.0 + agent / 10 + place / 100], budget=1000)
        for agent in range(30)
        for place in range(100)
        for seed in range(2)
    ]
    assert len(page_of(results, tmp_path)) < 10_000_000
