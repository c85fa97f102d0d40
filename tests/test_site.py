"""The documentation site: what its own code makes, and, where Sphinx is installed, that it builds without a warning and
that axe-core finds nothing serious on it.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from headless import AXE_IN, needs_axe, needs_chromium, outcome

from dsegym.envs.core.scenarios import BUILT_IN, load_scenario, make_problem
from dsegym.experiments.formats import format_exact

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TRUTH = (DOCS / "truth.md").read_text(encoding="utf-8")
SMALL = "dsegym/SubQuestionBudget-v0"  # held-out cases, features, heuristics, and it is made quickly


def module(name):
    """A file of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


gallery, conf = module("gallery"), module("conf")


@pytest.fixture(scope="module")
def facts():
    return gallery.facts_of(SMALL)


@pytest.fixture(scope="module")
def page(facts):
    return gallery.page_of(facts, gallery.truth_rows(TRUTH)[SMALL], "budget.png", "uniform")


def test_every_scenario_has_one_row_in_the_page_on_what_is_true_and_every_row_a_scenario():
    assert set(gallery.truth_rows(TRUTH)) == set(BUILT_IN)
    named = re.findall(r"^\| \[(\w+-v\d+)\]", TRUTH, re.MULTILINE)
    assert len(named) == len(BUILT_IN)


def test_every_row_on_truth_names_tests_that_are_there_and_a_tier():
    for name, row in gallery.truth_rows(TRUTH).items():
        assert list(row) == ["scenario", "tier", "held against", "how near", "not shown", "tests"], name
        assert all(row.values()), name
        assert re.match("exact|tracks|modelled|synthetic", row["tier"]), name
        files = re.findall(r"`(tests/[\w/]+\.py)`", row["tests"])
        assert files, name
        assert all((ROOT / file).exists() for file in files), name


def test_a_page_of_the_gallery_tells_every_option_parameter_baseline_form_and_feature(page):
    problem, scenario = make_problem(SMALL), load_scenario(SMALL)
    names = [*scenario.options, *problem.space.names, *problem.baselines, *problem.forms]
    names += [feature.name for feature in problem.functional_env().features]
    assert not [name for name in names if f"| `{name}`" not in page]
    assert scenario.summary in page
    assert all(note in page for note in problem.notes)
    assert "held out" in page


def test_a_page_of_the_gallery_shows_both_yardsticks_the_truth_and_the_picture(page):
    problem, row = make_problem(SMALL), gallery.truth_rows(TRUTH)[SMALL]
    for yardstick in (problem.reference, problem.bound):
        assert f"`{yardstick.name}` | {format_exact(yardstick.value)} | {gallery.cell(yardstick.source)} |" in page
    assert row["not shown"] in page
    assert "](budget.png)" in page
    assert "../sub_question_budget.md" in page


def test_a_scenario_without_picture_baselines_or_truth_has_a_page_all_the_same(facts):
    page = gallery.page_of({**facts, "baselines": [], "tables": []}, None, None, "")
    assert "![" not in page
    assert "## Baselines" not in page
    assert "No row of" in page


def test_cells_keep_their_bars_and_long_tables_say_what_they_leave_out():
    rows = [{"a": "x|y", "b": "<b>"}] * (gallery.LONG + 3)
    text = gallery.table(rows)
    assert text.count("| x\\|y | &lt;b> |") == gallery.LONG
    assert text.endswith("... and 3 more.")
    assert gallery.table([]) == ""


@pytest.mark.parametrize(
    ("scenario", "name"),
    [
        ("dsegym/BatchBestOfN-v0", "batch_best_of_n"),
        ("dsegym/SocSchedulingStatic-v0", "soc_scheduling_static"),
        ("toy/Sizes-v12", "sizes"),
    ],
)
def test_a_page_is_called_by_its_scenarios_words(scenario, name):
    assert gallery.slug(scenario) == name


def test_the_front_page_of_the_gallery_has_every_scenario_under_its_domain():
    entries = [(name, load_scenario(name).summary, None) for name in BUILT_IN]
    text = gallery.index_of(entries)
    assert all(f":link: {gallery.slug(name)}\n" in text for name in BUILT_IN)
    headings = re.findall("^## (.+)$", text, re.MULTILINE)
    assert headings == list(gallery.DOMAINS.values())


def test_links_that_leave_the_folder_lead_to_the_pages_made_of_their_files():
    text = "[a](../CONTRIBUTING.md#add-an-agent) [b](files.md#x) [c](https://a.b/c.md) [d](#here) [e](../README.md)"
    assert conf.turned(text, DOCS / "submit.md", "submit") == (
        "[a](project/contributing.md#add-an-agent) [b](files.md#x) [c](https://a.b/c.md) [d](#here) [e](index.md)"
    )
    assert conf.turned("[g](../README.md#the-scenarios)", DOCS / "cite.md", "cite") == "[g](gallery/index.md)"
    assert conf.turned("[f](docs/files.md)", ROOT / "README.md", "project/changelog") == "[f](../files.md)"


def test_the_landing_pages_text_leads_to_every_tutorial():
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    first, *tutorials = conf.CONTENTS["Start"]
    assert tutorials
    assert not [name for name in (first, *tutorials) if f"({name}.md)" not in prose]


def test_every_page_of_the_folder_stands_in_the_table_of_contents_once():
    listed = re.findall(r"^[\w/]+$", conf.contents(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} <= set(listed)


def test_several_names_that_share_a_text_stay_together():
    lines = ["Attributes:", "    lanes, steps: a rollout's, a pair.", "    units: of a, b: c."]
    conf.join_names(None, "class", "x", None, None, lines)
    assert lines[1:] == ["    lanes,steps: a rollout's, a pair.", "    units: of a, b: c."]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site's pages, and the outcome of building them."""
    needed = ("sphinx", "furo", "myst_parser", "sphinx_design", "sphinx_copybutton")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed")
    html = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", DOCS, html]
    return html, subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_is_whole(site):
    html, done = site
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(html).as_posix() for path in html.rglob("*.html")}
    assert {"index.html", "search.html", "api/dsegym.html", "project/changelog.html"} <= pages
    assert {f"gallery/{gallery.slug(name)}.html" for name in BUILT_IN} <= pages
    assert (html / "searchindex.js").stat().st_size > 10**5
    landing = (html / "index.html").read_text(encoding="utf-8")
    elsewhere = re.findall(r'(?:src|href)="https?://[^"]+\.(?:js|css|woff2?|png|svg)"', landing)
    assert not elsewhere  # the page is whole without a network


KINDS = [  # a page of each kind
    "index.html",
    "quick_start.html",
    "size_my_network.html",
    "gallery/index.html",
    "gallery/accelerator_mapping.html",
    "gallery/serving_engine.html",
    "gallery/sub_question_budget.html",
    "api/dsegym.html",
    "truth.html",
    "comparison.html",
    "search.html?q=serving",
]


@needs_chromium
def test_pictures_are_turned_round_in_the_dark_alone(tmp_path):
    style = (DOCS / "static" / "site.css").read_text(encoding="utf-8")
    body = '<body><div class="content"><img></div></body>'
    (tmp_path / "page.html").write_text(f"<html><style>{style}</style>{body}</html>", encoding="utf-8")
    script = """
      const of = theme => (document.body.dataset.theme = theme, getComputedStyle(all("img")[0]).filter);
      return ["dark", "light"].map(of);"""
    dark, light = outcome(tmp_path / "page.html", script)
    assert (dark.startswith("invert"), light) == (True, "none")


@pytest.mark.minutes
@needs_chromium
@needs_axe
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious_on_the_site_in_the_light_or_in_the_dark(width, site, tmp_path):
    host = tmp_path / "host.html"
    host.write_text("<html><body></body></html>", encoding="utf-8")
    script = """
      const bad = [], results = [], colours = new Set();
      for (const page of PAGES) {
        const frame = document.createElement("iframe");
        frame.style.cssText = "border: 0; width: WIDTHpx; height: 900px";
        frame.src = SITE + page;
        const loaded = new Promise(done => frame.addEventListener("load", done));
        document.body.append(frame);
        await loaded;
        const view = frame.contentWindow, body = view.document.body, axe = await axeIn(view);
        const listed = () => view.document.querySelectorAll("#search-results li").length;
        if (page.startsWith("search")) {
          await until(listed);
          results.push(listed());
        }
        for (const theme of ["light", "dark"]) {
          body.dataset.theme = theme;
          await new Promise(done => setTimeout(done, 1000)); // while colours change
          colours.add(view.getComputedStyle(body).backgroundColor);
          for (const each of (await axe.run({resultTypes: ["violations"]})).violations)
            if (["serious", "critical"].includes(each.impact))
              bad.push([page, theme, each.id, each.nodes.map(node => node.html)]);
        }
        frame.remove();
      }
      return {bad, results: results.every(count => count > 0), colours: colours.size};"""
    for name, value in {"PAGES": KINDS, "WIDTH": width, "SITE": site[0].as_uri() + "/"}.items():
        script = script.replace(name, json.dumps(value))
    assert outcome(host, AXE_IN + script) == {"bad": [], "results": True, "colours": 2}
