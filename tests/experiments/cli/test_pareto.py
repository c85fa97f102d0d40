"""`dsegym pareto`: what it prints and writes, and what it refuses."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import dsegym
from dsegym.costmodels.accelerator.experts import expert_rows
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
    assert "<h2>Fronts</h2>" in page or ">Fronts<" in page
    assert "expert nvdla_large" in page
