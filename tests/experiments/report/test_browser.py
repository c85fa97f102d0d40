"""The page in a browser: charts, sorting, filters, links.

Needs Chromium, and for accessibility axe-core: `npm install axe-core`, and `DSEGYM_AXE` names its `axe.min.js`.
"""

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from leaderboard_cases import golden, trial

from dsegym.experiments.report.page import write_html
from dsegym.experiments.scoring.leaderboard import build_leaderboard

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = os.environ.get("DSEGYM_AXE", "")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]

HARNESS = """
<pre id="outcome"></pre>
<script>
  const errors = [];
  window.addEventListener("error", event => errors.push(event.message));
  const all = what => [...document.querySelectorAll(what)];
  const shown = what => all(what).filter(each => getComputedStyle(each).display !== "none").length;
  (async () => {
    let found;
    try { found = await (async () => { %s })(); } catch (error) { errors.push(String(error)); }
    document.getElementById("outcome").textContent = JSON.stringify({found, errors});
  })();
</script>
</body>"""


def outcome(tmp_path, script, *, width=1280, suffix=""):
    """What a script returns that runs in the page of the golden trials."""
    path = tmp_path / "page.html"
    results = [*golden(), trial("ape", "a", 0, [5.0]), trial("ape", "b", 0, [5.0])]
    write_html(build_leaderboard(results), results, path)
    head, _, tail = path.read_text(encoding="utf-8").rpartition("</body>")
    path.write_text(head + HARNESS.replace("%s", script) + tail, encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=60000"]
    options += [f"--window-size={width},900", f"--user-data-dir={tmp_path / 'profile'}", f"file://{path}{suffix}"]
    done = subprocess.run([str(CHROMIUM), *options], capture_output=True, text=True, timeout=240, check=True)
    (text,) = re.findall(r'<pre id="outcome">(.*?)</pre>', done.stdout, re.DOTALL)
    answer = json.loads(unescape(text))
    assert answer["errors"] == []
    return answer["found"]


def test_charts_are_drawn_and_no_column_leaves_the_page(tmp_path):
    script = """
      await dsegymPage.ready();
      return {drawn: shown(".chart .main-svg") > 0,
              empty: all(".chart").filter(each => each.offsetParent && !each.querySelector("svg")).length,
              wide: document.documentElement.scrollWidth - document.documentElement.clientWidth};"""
    assert outcome(tmp_path, script, width=500) == {"drawn": True, "empty": 0, "wide": 0}


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
    found = outcome(tmp_path, script)
    agents = found["up"][:-1]
    assert agents == sorted(agents)
    assert found["down"] == [*agents[::-1], "best of all agents"]
    assert (found["sort"], found["before"], found["after"]) == ("descending", True, 0)
    assert found["csv"].startswith("Instance,")


def test_a_deep_link_opens_its_instance(tmp_path):
    script = """
      const open = () => all("details.instance").filter(each => each.open).map(each => each.id);
      const until = async true_of => {
        for (let turn = 0; turn < 500 && !true_of(); turn++) await new Promise(done => setTimeout(done, 50));
      };
      await until(() => open().length);
      const first = open();
      location.hash = "#" + all("details.instance").at(-1).id;
      await until(() => open().length > 1 && document.activeElement.tagName === "SUMMARY");
      return {first, then: open(), focus: document.activeElement.tagName};"""
    found = outcome(tmp_path, script, suffix="#instance-a")
    assert found["first"] == ["instance-a"]
    assert len(found["then"]) == 2
    assert found["focus"] == "SUMMARY"


@pytest.mark.skipif(not Path(AXE).is_file(), reason="DSEGYM_AXE names no axe.min.js")
@pytest.mark.parametrize("width", [500, 1280])
def test_axe_finds_nothing(width, tmp_path):
    axe = json.dumps(Path(AXE).read_text(encoding="utf-8")).replace("</", "<\\/")
    script = f"""
      const code = document.createElement("script");
      code.textContent = {axe};
      document.head.append(code);
      for (const details of all("details")) details.open = true;
      await dsegymPage.ready();
      return (await axe.run()).violations.map(each => [each.id, each.impact, each.nodes.map(node => node.html)]);"""
    assert outcome(tmp_path, script, width=width) == []
