"""The page in a browser: charts, sorting, filters, links, accessibility.

What these tests need is told in tests/oracles/headless.py.
"""

import pytest
from headless import AXE_IN, needs_axe, needs_chromium, outcome
from leaderboard_cases import golden, trial

from dsegym.experiments.report.page import write_html
from dsegym.experiments.report.policies import policy_sections
from dsegym.experiments.report.sections import profiles
from dsegym.experiments.scoring.leaderboard import build_leaderboard
from dsegym.experiments.scoring.records import LearningCurve, PolicyRow, PolicyTable, Sensitivity, SensitivityRow

pytestmark = [pytest.mark.slow, needs_chromium]


def found_in_page(tmp_path, script, *, make_sections=lambda board: [], **options):
    """What a script returns that runs in the page of the golden trials."""
    path = tmp_path / "page.html"
    results = [*golden(), trial("ape", "a", 0, [5.0]), trial("ape", "b", 0, [5.0])]
    board = build_leaderboard(results)
    write_html(board, results, path, sections=make_sections(board))
    return outcome(path, script, **options)


def further_sections(board):
    """Those that a page has where there are policies, and instances enough for a profile."""
    fox = PolicyRow(
        "fox", "policy", "zero-shot", 2, 0.5, 0.4, 0.6, 9.0, 8.0, 9.5, None, 1, (0.4, 0.6), 4096, 9.0, 120.0
    )
    learned = LearningCurve("fox", 2, (1000, 2000), (0.1, 0.3), (0.0, 0.2), (0.2, 0.4))
    table = PolicyTable(
        "toy/Toy-v0", "decisions", "mine", {}, "test", False, ("a", "b"), (), 0, ("optimum",), (fox,), (learned,)
    )
    worth = SensitivityRow("fox", "policy", "zero-shot", (3.0, 1.0), (2.0, 0.0), (4.0, 2.0))
    sensitivity = Sensitivity("toy/Toy-v0", "mine", "test", "noise", ("0", "20"), ("0",), (worth,))
    made = [profiles.section(board), *policy_sections([table], [sensitivity])]
    return [section for section in made if section is not None]


def test_charts_are_drawn_and_no_column_leaves_the_page(tmp_path):
    script = """
      await dsegymPage.ready();
      return {drawn: shown(".chart .main-svg") > 0,
              empty: all(".chart").filter(each => each.offsetParent && !each.querySelector("svg")).length,
              wide: document.documentElement.scrollWidth - document.documentElement.clientWidth};"""
    assert found_in_page(tmp_path, script, width=500) == {"drawn": True, "empty": 0, "wide": 0}


def test_tables_sort_and_agents_leave_every_table(tmp_path):
    script = """
      const head = document.querySelector('table[data-name="ranking"] th.stick');
      const names = () => all('table[data-name="ranking"] tbody th').map(each => each.textContent.trim());
      head.querySelector("button").click();
      const up = names();
      head.querySelector("button").click();
      const before = shown("[data-a='0']"), box = document.querySelector("input[data-agent='0']");
      box.click();
      const links = document.querySelector("nav ul");
      for (let turn = 0; turn < 20; turn++) links.prepend(links.firstElementChild.cloneNode(true));
      return {up, down: names(), sort: head.getAttribute("aria-sort"), before: before > 0,
              sideways: links.scrollWidth - links.clientWidth, after: shown("[data-a='0']"),
              csv: dsegymPage.csv(document.querySelector('table[data-name="instances"]')).split("\\r\\n")[0],
              one: dsegymPage.csv(document.querySelector('table[data-name="instance-a"]')).split("\\r\\n")[0]};"""
    found = found_in_page(tmp_path, script)
    agents = found["up"][:-1]
    assert agents == sorted(agents)
    assert found["down"] == [*agents[::-1], "best of all agents"]
    assert (found["sort"], found["before"], found["after"]) == ("descending", True, 0)
    assert found["csv"].startswith("Instance,")
    assert found["one"] == "Agent,Mean score,Best value,Gap,Trials"  # and no column of pictures
    assert found["sideways"] == 0  # a row of links that is too long wraps


def test_a_deep_link_opens_its_instance(tmp_path):
    script = """
      const open = () => all("details.instance").filter(each => each.open).map(each => each.id);
      await until(() => open().length);
      const first = open();
      location.hash = "#" + all("details.instance").at(-1).id;
      await until(() => open().length > 1 && document.activeElement.tagName === "SUMMARY");
      return {first, then: open(), focus: document.activeElement.tagName};"""
    found = found_in_page(tmp_path, script, suffix="#instance-a")
    assert found["first"] == ["instance-a"]
    assert len(found["then"]) == 2
    assert found["focus"] == "SUMMARY"


@needs_axe
@pytest.mark.parametrize("width", [500, 1280])
def test_axe_finds_nothing_in_the_light_or_in_the_dark(width, tmp_path):
    script = """
      const axe = await axeIn(window), found = [], colours = new Set();
      for (const details of all("details")) details.open = true;
      for (let turn = 0; turn < 2; turn++) {
        await dsegymPage.ready();
        colours.add(getComputedStyle(document.body).backgroundColor);
        for (const each of (await axe.run({resultTypes: ["violations"]})).violations)
          found.push([turn, each.id, each.impact, each.nodes.map(node => node.html)]);
        document.getElementById("theme").click();
      }
      return {found, colours: colours.size, learning: shown("#chart-learning-0 .main-svg") > 0};"""
    answer = found_in_page(tmp_path, AXE_IN + script, make_sections=further_sections, width=width)
    assert answer == {"found": [], "colours": 2, "learning": True}
