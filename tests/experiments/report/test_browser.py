"""The page in a browser: charts, sorting, filters, links.

What they need is told in tests/oracles/headless.py.
"""

import pytest
from headless import AXE_IN, needs_axe, needs_chromium, outcome
from leaderboard_cases import golden, trial

from dsegym.experiments.report.page import write_html
from dsegym.experiments.scoring.leaderboard import build_leaderboard

pytestmark = [pytest.mark.slow, needs_chromium]


def found_in_page(tmp_path, script, **options):
    """What a script returns that runs in the page of the golden trials."""
    path = tmp_path / "page.html"
    results = [*golden(), trial("ape", "a", 0, [5.0]), trial("ape", "b", 0, [5.0])]
    write_html(build_leaderboard(results), results, path)
    return outcome(path, script, **options)


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
      return {up, down: names(), sort: head.getAttribute("aria-sort"), before: before > 0,
              after: shown("[data-a='0']"),
              csv: dsegymPage.csv(document.querySelector('table[data-name="instances"]')).split("\\r\\n")[0]};"""
    found = found_in_page(tmp_path, script)
    agents = found["up"][:-1]
    assert agents == sorted(agents)
    assert found["down"] == [*agents[::-1], "best of all agents"]
    assert (found["sort"], found["before"], found["after"]) == ("descending", True, 0)
    assert found["csv"].startswith("Instance,")


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
def test_axe_finds_nothing(width, tmp_path):
    script = """
      for (const details of all("details")) details.open = true;
      await dsegymPage.ready();
      return (await (await axeIn(window)).run()).violations.map(
        each => [each.id, each.impact, each.nodes.map(node => node.html)]);"""
    assert found_in_page(tmp_path, AXE_IN + script, width=width) == []
