"""Designs as pictures on the leaderboard's page: the best beside the reference's, and never at the page's expense."""

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from page_charts import plots

from dsegym.costmodels.diagram import Diagram, Rectangle
from dsegym.costmodels.errors import DsegymError
from dsegym.envs.core import scenarios
from dsegym.envs.core.evaluation import Objective, Yardstick
from dsegym.envs.core.options import Options
from dsegym.envs.core.problem import Problem
from dsegym.envs.core.spaces import DesignSpace, Parameter
from dsegym.experiments.report import section
from dsegym.experiments.report.sections import designs
from dsegym.experiments.scoring.records import BestDesign, Instance
from dsegym.experiments.scoring.records import Yardstick as Value
from dsegym.experiments.suite import load_suite
from dsegym.experiments.suite_note import write_suite
from dsegym.experiments.trial import run_trial

REFERENCE, BEST = (3, 1), (1, 2)
STAIRCASE = Path(__file__).resolve().parents[3] / "envs" / "staircase.py"


def plan(design, count=2):
    """A picture of a design: `count` rectangles of two kinds whose widths are the design's indices."""
    rectangles = [
        Rectangle(10.0 * i, 5.0 * i, 4.0 + int(design[i % 2]), 3.0, ("in <a>", "out")[i % 2], f"b{i} & co")
        for i in range(count)
    ]
    ranges = (0.0, 20.0 + float(design[0])), (0.0, 30.0)
    return Diagram(f"plan {design.tolist()}", "time (µs)", "memory (KiB)", *ranges, rectangles, (32.0, "capacity <32>"))


def problem(**more):
    values = {
        "instance": Options(scenario_id="toy/Plan-v0"),
        "space": DesignSpace((Parameter("x", tuple(range(5))), Parameter("y", tuple(range(5))))),
        "objective": Objective("latency", "s", "of all"),
        "cost": None,
        "params": None,
        "reference_rule": lambda problem: Yardstick("first-fit", 4.0, "a rule", REFERENCE),
        "bound_rule": lambda problem: Yardstick("optimum", 1.0, "enumeration"),
        "forms": {},
        "diagram": plan,
    }
    return Problem(**{**values, **more})


def instance(name="a", **more):
    best = BestDesign("owl<1>", None, 7, "t", 3, 2.0, 0.5, 100.0, BEST, {})
    values = {
        "scenario": "toy/Plan-v0",
        "options": {"which": name},
        "objective": "latency",
        "unit": "s",
        "reference": Value("first-fit", 4.0, "a rule"),
        "bound": Value("optimum", 1.0, "enumeration"),
        "scores": (),
        "best": best,
    }
    return Instance(name, **{**values, **more})


@pytest.fixture
def figures(monkeypatch):
    """The section of instances whose problems are made by a function of the option `which`."""

    def call(instances, make=lambda which: problem()):
        monkeypatch.setattr(section, "make_problem", lambda scenario, which: make(which))
        found = designs.section(SimpleNamespace(instances=instances))
        return [] if found is None else [found]

    return call


def test_the_best_design_stands_beside_the_references_on_the_same_axes(figures):
    ((title, fragment),) = figures([instance()])
    assert title == "Best designs drawn"
    ((traces, layout),) = plots(fragment)
    titles = [note["text"] for note in layout["annotations"][:2]]
    assert titles == [
        "<b>reference first-fit: 4 s</b><br>plan [3, 1]",
        "<b>owl&lt;1&gt;, seed 7: 2 s</b><br>plan [1, 2]",
    ]
    assert layout["xaxis"]["range"] == layout["xaxis2"]["range"] == [0.0, 23.0]
    assert layout["yaxis"]["range"] == layout["yaxis2"]["range"]
    assert layout["yaxis"]["range"][1] > 32.0, "the limit is in sight"
    assert {layout[axis]["title"]["text"] for axis in ("xaxis", "xaxis2")} == {"time (µs)"}
    assert layout["yaxis"]["title"]["text"] == "memory (KiB)"
    assert [note["text"] for note in layout["annotations"][2:]] == ["capacity &lt;32&gt;"] * 2
    assert {trace["xaxis"] for trace in traces} == {"x", "x2"}


def test_each_kind_is_one_trace_a_panel_and_one_entry_of_the_legend(figures):
    ((_, fragment),) = figures([instance()], lambda which: problem(diagram=lambda design: plan(design, 600)))
    ((traces, _),) = plots(fragment)
    filled = [trace for trace in traces if trace.get("fill") == "toself"]
    assert len(filled) == 4
    assert len(traces) == 6
    assert [trace["name"] for trace in filled if trace["showlegend"]] == ["in &lt;a&gt;", "out"]
    assert {trace["name"]: trace["fillcolor"] for trace in filled} == {"in &lt;a&gt;": "#0072B2", "out": "#D55E00"}
    assert filled[0]["x"][:6] == [0.0, 7.0, 7.0, 0.0, 0.0, None]
    assert filled[0]["y"][:6] == [0.0, 0.0, 3.0, 3.0, 0.0, None]
    assert len(filled[0]["x"]) == 6 * 300
    assert len(fragment) < 400_000


def test_hovering_over_a_rectangle_tells_what_it_is(figures):
    ((_, fragment),) = figures([instance()])
    ((traces, _),) = plots(fragment)
    points = next(trace for trace in traces if trace["mode"] == "markers")
    assert set(points["text"]) == {"in &lt;a&gt;: b0 &amp; co", "out: b1 &amp; co"}
    assert points["customdata"][0] == [0, 7, 0, 3]
    assert "time (µs): %{customdata[0]} to %{customdata[1]}" in points["hovertemplate"]
    assert "memory (KiB): %{customdata[2]} to %{customdata[3]}" in points["hovertemplate"]


def test_without_a_best_or_a_reference_design_the_other_one_is_shown(figures):
    for bare, shown in ((instance(best=None), [REFERENCE]), (instance(), [BEST])):
        reference = Yardstick("first-fit", 4.0, "a rule", REFERENCE if bare.best is None else None)
        ((_, fragment),) = figures(
            [bare], lambda which, reference=reference: problem(reference_rule=lambda _: reference)
        )
        assert [f"plan {list(design)}" in json.dumps(plots(fragment)) for design in shown] == [True]
        assert json.dumps(plots(fragment)).count("plan [") == 1


def test_instances_without_a_diagram_make_no_section(figures):
    made = []
    several = [instance("a"), instance("b")]
    assert figures(several, lambda which: made.append(which) or problem(diagram=None)) == []
    assert made == ["a"], "the first one speaks for its scenario"
    assert figures([]) == []


def test_a_problem_that_cannot_be_made_becomes_a_note(figures):
    def make(which):
        if which == "b":
            raise DsegymError("Cannot import <it>.")
        if which == "c":
            return problem(diagram=lambda design: 1 / 0)
        return problem()

    ((_, fragment),) = figures([instance("a"), instance("b"), instance("c")], make)
    assert len(plots(fragment)) == 1
    assert '<p class="quiet">No diagram of b: DsegymError: Cannot import &lt;it&gt;.</p>' in fragment
    assert "No diagram of c: ZeroDivisionError" in fragment


def test_many_problems_that_cannot_be_made_do_not_fill_the_page(figures):
    count = section.MOST + 5
    ((_, fragment),) = figures([instance(f"n{i}") for i in range(count)], lambda which: 1 / 0)
    assert fragment.count("ZeroDivisionError") == section.MOST
    assert "And no diagram of 5 more instances." in fragment
    assert "Left the reference" not in fragment


def test_a_design_that_does_not_fit_the_space_becomes_a_note(figures):
    wrong = dataclasses.replace(instance().best, design=(9, 9))
    ((_, fragment),) = figures([instance(best=wrong)])
    assert "InvalidDesignError" in fragment


def test_the_page_draws_the_first_instances_only_and_says_so(figures):
    several = [instance(f"n{i}") for i in range(section.MOST + 2)]
    ((_, fragment),) = figures([*several, instance("other", scenario="toy/Other-v0")])
    assert len(plots(fragment)) == section.MOST
    assert f"The first {section.MOST} of {section.MOST + 3} instances are shown." in fragment


# --- The command ------------------------------------------------------------------------------------------------------

SUITE = """
name = "drawn"
description = "another package's scenario with a diagram"
samples = 30
seeds = 1

[[instances]]
scenario = "drawn_toy:toy/Drawn-v0"

[[agents]]
name = "hill_climb"
"""


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Results of a scenario of another package, which has a diagram; and the file that the package is."""
    package = tmp_path / "package" / "drawn_toy.py"
    package.parent.mkdir()
    registration = '\nimport dsegym\n\ndsegym.register("toy/Drawn-v0", "drawn_toy:SCENARIO")\n'
    package.write_text(STAIRCASE.read_text(encoding="utf-8") + registration, encoding="utf-8")
    monkeypatch.syspath_prepend(package.parent)
    (tmp_path / "drawn.toml").write_text(SUITE, encoding="utf-8")
    suite, results = load_suite(tmp_path / "drawn.toml"), tmp_path / "results"
    for trial, identifier in zip(suite.trials, write_suite(results, suite), strict=True):
        run_trial(trial, identifier, results)
    yield results, package
    forget()


def forget():
    """Takes back what importing the package did."""
    gymnasium.registry.pop("toy/Drawn-v0", None)
    scenarios._LOCATIONS.pop("toy/Drawn-v0", None)
    sys.modules.pop("drawn_toy", None)


def test_the_leaderboard_shows_diagrams_and_survives_a_package_that_is_gone(drawn, dsegym_command):
    results, package = drawn
    assert dsegym_command("leaderboard", results).code == 0
    page = (results / "leaderboard" / "leaderboard.html").read_text(encoding="utf-8")
    assert "<h2>Best designs drawn</h2>" in page
    assert "A climb of" in json.dumps(plots(page))
    package.unlink()
    forget()
    assert dsegym_command("leaderboard", results).code == 0
    page = (results / "leaderboard" / "leaderboard.html").read_text(encoding="utf-8")
    assert "say --allow drawn_toy" in page
    assert dsegym_command("leaderboard", results, "--allow", "drawn_toy").code == 0
    page = (results / "leaderboard" / "leaderboard.html").read_text(encoding="utf-8")
    assert "Cannot import &#x27;drawn_toy&#x27;" in page
    assert "A climb of" not in json.dumps(plots(page))


def test_the_page_of_accelerators_shows_their_floor_plans(results, dsegym_command):
    assert dsegym_command("leaderboard", results).code == 0
    page = (results / "leaderboard" / "leaderboard.html").read_text(encoding="utf-8")
    assert "Best designs drawn" in page
    assert "processing elements" in json.dumps(plots(page))


def test_a_design_is_given_to_the_diagram_as_int32():
    seen = []
    made = problem(diagram=lambda design: seen.append(design) or plan(design))
    designs._panels(made, instance())
    assert [(design.dtype, design.tolist()) for design in seen] == [(np.int32, [3, 1]), (np.int32, [1, 2])]
