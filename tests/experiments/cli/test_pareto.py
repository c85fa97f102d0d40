"""`dsegym pareto`: what it prints and writes, and what it refuses."""

import csv
import json
import re

import numpy as np
import pytest
from page_charts import plots
from PIL import Image

import dsegym
from dsegym.costmodels.accelerator.experts import expert_rows
from dsegym.experiments.report.fronts import letters, log_ticks, marks
from dsegym.experiments.scoring.fronts import front_of

SIZING = ("dsegym/AcceleratorSizing-v0", "--workload", "alexnet", "--option", "area_budget=small")
SEARCH = ("--samples", "300", "--agent", "random_search")


@pytest.fixture
def succeed(dsegym_command):
    def command(*arguments):
        code, out, err = dsegym_command("pareto", *arguments)
        assert (code, err) == (0, "")
        return out

    return command


def test_the_front_of_a_search_comes_as_tables_a_picture_and_files(succeed, tmp_path):
    paths = [tmp_path / f"front{suffix}" for suffix in (".png", ".csv", ".json")]
    outputs = [word for path in paths for word in ("--output", str(path))]
    out = succeed(*SIZING, *SEARCH, "--metrics", "latency,energy", *outputs)
    problem = dsegym.make_problem(SIZING[0], workload="alexnet", area_budget="small")
    content = json.loads(paths[2].read_text())
    designs = np.array([problem.space.encode(each["design"]) for each in content["front"]])
    front = front_of(problem, designs, ("latency_s", "energy_j"))
    assert [list(each["costs"].values()) for each in content["front"]] == front.costs.tolist()
    assert content["hypervolume"] == pytest.approx(front.hypervolume)
    assert f"{front.hypervolume:.4f}" in out
    with paths[1].open() as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows].count("front") == len(front.designs)
    assert [row["name"] for row in rows if row["kind"] == "expert"] == [row["expert"] for row in expert_rows()]
    picture = Image.open(paths[0])
    assert picture.size == (960, 600)
    assert len(picture.convert("RGB").getcolors(10**6)) > 8  # front, reference and experts have colours of their own
    for word in ("eyeriss", "nvdla_large", "gemmini", "shidiannao", "latency (s)", "Hypervolume"):
        assert word in out


def test_the_front_of_a_run_is_that_of_all_its_samples(succeed, finished):
    content = json.loads(succeed(*SIZING, "--results", str(finished), "--json"))
    from dsegym.experiments.front_search import stored

    problem = dsegym.make_problem(SIZING[0], workload="alexnet", area_budget="small")  # the objective does not matter
    designs = stored(problem, finished)
    assert len(designs) == 240
    assert len(content["front"]) == len(front_of(problem, designs, problem.front).designs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--metrics", "latency,speed"), "Unknown cost 'speed'"),
        (("--metrics", ""), "Unknown cost ''"),
        (("--output", "front.pdf"), "allowed: names that end in .png, .json or .csv"),
        (("--output", "no/such/front.png"), "no folder"),
        (("--point", "1,2"), "give 3 numbers above 0"),
        (("--point", "1,2,x"), "give 3 numbers above 0"),
        (("--agent", "nobody"), "Unknown agent 'nobody'"),
        (("--option", "workload=nothing"), "workload"),
        (("--results", "/no/such/results"), "no/such/results"),
    ],
)
def test_a_wrong_request_is_one_sentence(dsegym_command, arguments, words):
    code, out, err = dsegym_command("pareto", "dsegym/AcceleratorSizing-v0", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("dsegym: ")
    assert words in err


def test_a_run_of_other_instances_is_named(dsegym_command, finished):
    code, _, err = dsegym_command("pareto", SIZING[0], "--workload", "vgg16", "--results", str(finished))
    assert code == 2
    assert "workload=vgg16" in err
    assert "workload=alexnet" in err


def test_the_leaderboards_page_draws_the_front(results, dsegym_command):
    assert dsegym_command("leaderboard", str(results)).code == 0
    page = (results / "leaderboard" / "leaderboard.html").read_text(encoding="utf-8")
    assert ">Fronts<" in page
    assert "expert nvdla_large" in {trace.get("name") for traces, _ in plots(page) for trace in traces}
    assert ">Hypervolume and attainment<" in page
    (table,) = re.findall(r'<table data-name="attainment-0".*?</table>', page, re.DOTALL)
    assert 'aria-label="Hypervolume and attainment of dsegym/AcceleratorSizing-v0' in table
    assert table.count('<th scope="col"') == 8
    assert re.search(r'<tbody><tr><th scope="row" class="stick">\w+</th><td class="n">\d+</td>', table)
    assert table.count('<th scope="row"') == table.count("<tr>") - 1


@pytest.mark.parametrize(("low", "high"), [(2e-4, 3e-4), (4.7e-4, 8.5e-4), (7540, 9350), (9.6, 10.3), (1e-9, 1e3)])
def test_a_logarithmic_axis_has_at_least_three_marks_that_say_their_value(low, high):
    ticks = log_ticks((np.log10(low), np.log10(high)))
    assert 3 <= len(ticks) <= 13
    assert all(low <= float(text) <= high and np.isclose(10**place, float(text)) for place, text in ticks)


def test_nothing_hides_the_front_and_letters_say_where_several_marks_meet():
    problem = dsegym.make_problem(SIZING[0], workload="alexnet", area_budget="small")
    front = front_of(problem, np.array([problem.reference.design]), ("latency_s", "energy_j"))
    assert [mark.kind for mark in marks(front)][-1] == "front"
    lines = list(letters(front))
    assert sum(line.startswith("|") and "#" in line for line in lines) == 1  # the reference is the front
    assert "# several in one place" in "\n".join(lines)
    assert max(map(len, lines)) <= 80
