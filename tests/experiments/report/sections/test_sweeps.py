"""Results against an option on the leaderboard's page: what each line is, and never at the page's expense."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from page_charts import plots

from dsegym.costmodels.errors import DsegymError
from dsegym.envs.core.evaluation import Evaluation, Objective, Sweep, Yardstick
from dsegym.envs.core.options import Options, custom
from dsegym.envs.core.problem import Problem
from dsegym.envs.core.spaces import DesignSpace, Parameter
from dsegym.experiments.report import section
from dsegym.experiments.report.sections import sweeps
from dsegym.experiments.scoring.records import BestDesign, Instance
from dsegym.experiments.scoring.records import Yardstick as Value

SWEEP = Sweep(
    option="budget",
    values=("1", "2", "8"),
    x_label="budget (samples)",
    y_label="accuracy (fraction)",
    to_y=lambda failure: 1 - failure,
    baselines=("rule",),
)


def cost(design, params):
    """A failure of half for a design of 0, less for more, divided by the budget."""
    value = (0.5 - 0.1 * design[0]) / params
    return Evaluation({"failure": value}, value, value < 1)


@dataclasses.dataclass(frozen=True)
class Budgeted(Options):
    data: str = custom("a", (), parse=str, also="any word", summary="what is asked")
    budget: str = custom("2", (), parse=str, also="any word", summary="what may be spent")


def problem(budget, **more):
    fields = {
        "instance": Budgeted(budget=budget, scenario_id="toy/Budget-v0"),
        "space": DesignSpace((Parameter("x", tuple(range(5))),)),
        "objective": Objective("failure", "fraction", "of questions"),
        "cost": cost,
        "params": np.float32(1.0),  # the search's cases: no budget helps there
        "held_out_params": np.float32(budget),
        "reference_rule": lambda problem: Yardstick("uniform", 0.5 / float(budget), "a rule", (0,)),
        "bound_rule": lambda problem: Yardstick("oracle", 0.05 / float(budget), "enumeration"),
        "forms": {},
        "baselines": {"uniform": lambda: (0,), "rule": lambda: (2,)},
        "sweep": SWEEP,
        "batch_sizes": (1,),
    }
    return Problem(**{**fields, **more})


def instance(budget="2", design=(4,), data="a", **more):
    best = BestDesign("owl<1>", None, 7, "t", 3, 0.1, 0.5, 100.0, design, {})
    fields = {
        "scenario": "toy/Budget-v0",
        "options": {"data": data, "budget": budget},
        "objective": "failure",
        "unit": "fraction",
        "reference": Value("uniform", 0.5, "a rule"),
        "bound": Value("oracle", 0.05, "enumeration"),
        "scores": (),
        "best": best,
    }
    return Instance(f"{data}{budget}", **{**fields, **more})


@pytest.fixture
def figures(monkeypatch):
    """The section of instances whose problems are made by a function of the options."""

    def call(instances, make=lambda data, budget: problem(budget)):
        for module in (section, sweeps):
            monkeypatch.setattr(module, "make_problem", lambda scenario, **options: make(**options))
        found = sweeps.section(SimpleNamespace(instances=instances))
        return [] if found is None else [found]

    return call


def test_lines_are_the_bound_the_reference_the_baselines_and_the_best_design_on_held_out_cases(figures):
    ((title, fragment),) = figures([instance()])
    assert title == "Accuracy against budget"
    ((traces, layout),) = plots(fragment)
    lines = {trace["name"]: trace["y"] for trace in traces}
    assert list(lines) == ["oracle", "uniform (reference)", "rule", "best design for budget 2 (owl&lt;1&gt;)"]
    budgets = np.array([1, 2, 8])
    for values, failure in zip(lines.values(), (0.05, 0.5, 0.3, 0.1), strict=True):
        np.testing.assert_allclose(values, 1 - failure / budgets, rtol=1e-6)
    assert traces[-1]["marker"]["symbol"] == ["circle", "circle-open", "circle"], "a ring where it was searched"
    assert layout["xaxis"]["title"]["text"] == "budget (samples)"
    assert layout["yaxis"]["title"]["text"] == "accuracy (fraction)"
    assert layout["xaxis"]["type"] == "log"


def test_instances_that_differ_in_the_option_only_share_a_chart(figures):
    ((_, fragment),) = figures([instance("1"), instance("8", (3,)), instance("1", data="b")])
    first, second = plots(fragment)
    assert len(first[0]) == 5
    assert len(second[0]) == 4


def test_without_a_best_design_the_yardsticks_stand_alone(figures):
    ((_, fragment),) = figures([dataclasses.replace(instance(), best=None)])
    ((traces, _),) = plots(fragment)
    assert [trace["name"] for trace in traces] == ["oracle", "uniform (reference)", "rule"]


def test_a_design_that_breaks_a_constraint_has_no_point_there(figures):
    make = dataclasses.replace(
        problem("2"), cost=lambda design, params: cost(design, params)._replace(feasible=params > 1)
    )
    ((_, fragment),) = figures(
        [instance()], lambda data, budget: dataclasses.replace(make, held_out_params=np.float32(budget))
    )
    ((traces, _),) = plots(fragment)
    assert [y is None for y in traces[-1]["y"]] == [True, False, False]


def test_a_word_stands_for_the_value_that_the_sweep_names(figures):
    sweep = dataclasses.replace(SWEEP, own="8")
    ((_, fragment),) = figures(
        [instance("own"), instance("5")], lambda data, budget: problem("8" if budget == "own" else budget, sweep=sweep)
    )
    ((traces, _),) = plots(fragment)
    assert [trace["name"].partition(" (")[0] for trace in traces[-2:]] == [
        "best design for budget 8",
        "best design for budget 5",
    ]
    assert traces[-2]["marker"]["symbol"] == ["circle", "circle", "circle-open"]
    assert traces[-1]["marker"]["symbol"] == ["circle"] * 3


def test_instances_without_a_sweep_make_no_section(figures):
    made = []
    several = [instance("1"), instance("2")]
    assert figures(several, lambda data, budget: made.append(budget) or problem(budget, sweep=None)) == []
    assert made == ["1"], "the first one speaks for its scenario"
    assert figures([]) == []


def test_a_problem_that_cannot_be_made_becomes_a_note(figures):
    def make(data, budget):
        if data == "b":
            raise DsegymError("No <file>.")
        return problem(budget)

    ((_, fragment),) = figures([instance(), instance(data="b")], make)
    assert len(plots(fragment)) == 1
    assert "No sweep of b2: DsegymError: No &lt;file&gt;." in fragment


def test_the_page_draws_the_first_charts_only_and_says_so(figures):
    ((_, fragment),) = figures([instance(data=f"n{place}") for place in range(section.MOST + 2)])
    assert len(plots(fragment)) == section.MOST
    assert f"The first {section.MOST} of {section.MOST + 2} charts are shown." in fragment
