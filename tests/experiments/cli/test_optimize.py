"""`dsegym optimize`: exact where it can be, else a search; what it says of bound and reference."""

import json
import re

import pytest

import dsegym
from dsegym.experiments.cli.optimize import equal_designs

SIZING = ("dsegym/AcceleratorSizing-v0", "--workload", "alexnet")


def test_an_instance_too_large_to_list_is_searched_and_its_best_design_is_written(dsegym_command, tmp_path):
    path = tmp_path / "best.json"
    code, out, err = dsegym_command(
        "optimize", *SIZING, "--samples", "60", "--agent", "hill_climb", "--best", "2", "--output", str(path)
    )
    assert code == 0, err
    assert "Search: 60 samples of hill_climb, seed 0." in out
    assert "the optimum" in out
    content = json.loads(path.read_text(encoding="utf-8"))
    problem = dsegym.make_problem(SIZING[0], workload="alexnet")
    first = content["designs"]["1."]
    design = problem.space.encode({name: first[name] for name in problem.space.names})
    assert problem.evaluate(design).objective[0] == pytest.approx(first["latency"], rel=1e-6)
    assert list(content["designs"])[:2] == ["1.", "2."]
    assert content["reference"] == problem.reference.value
    assert content["optimum"] == problem.bound.value


def test_a_search_is_its_seeds(dsegym_command):
    runs = [
        dsegym_command("optimize", *SIZING, "--samples", "30", "--agent", "hill_climb", "--seed", seed, "--json")[1]
        for seed in ("1", "1", "2")
    ]
    assert runs[0] == runs[1] != runs[2]


def test_designs_that_are_equal_in_the_objective_are_called_so_and_no_metric_repeats_it(dsegym_command):
    code, out, err = dsegym_command("optimize", "dsegym/TrainingPlan-v0", "-o", "objective=cost", "--json")
    assert code == 0, err
    found = json.loads(out)["designs"]
    assert found["1."]["training_cost"] == found["1."]["kilo_usd"]
    shown = " ".join(dsegym_command("optimize", "dsegym/TrainingPlan-v0", "--best", "2").out.split())
    assert " training_days " in shown
    assert "│ days" not in shown
    assert "equal in" not in shown
    columns = {"1.": {"cost": 1.0}, "2.": {"cost": 1.0 + 1e-9}, "3.": {"cost": 2.0}, "reference x": {"cost": 1.0}}
    assert equal_designs("cost", columns) == "Designs 1 to 2 are equal in cost."
    del columns["3."]
    assert equal_designs("cost", columns).endswith("; there may be more of these: --best shows up to 10.")
    assert equal_designs("cost", {"1.": {"cost": 1.0}, "reference x": {"cost": 1.0}}) == ""


@pytest.mark.slow
def test_millions_of_designs_of_a_cheap_model_are_all_costed(dsegym_command):
    code, out, err = dsegym_command("optimize", *SIZING, "--json")
    assert code == 0, err
    content = json.loads(out)
    assert content["origin"] == "exact: every design that could be best was costed"
    assert list(content["designs"])[:3] == ["1.", "2.", "3."]
    assert content["designs"]["1."]["latency"] == pytest.approx(content["optimum"], rel=1e-6)


@pytest.mark.slow
def test_a_network_of_the_users_whose_bound_is_loose_gets_its_best_design_and_is_told_that_none_is_better(
    dsegym_command, tmp_path
):
    network = tmp_path / "net.csv"
    network.write_text("layer,kind,m,n,k\none,gemm,64,64,64\n", encoding="utf-8")
    code, out, err = dsegym_command("optimize", SIZING[0], "--workload", str(network))
    assert code == 0, err
    words = " ".join(out.split())
    assert "the optimum: no design is better." in words
    assert "above the bound" not in words


def test_a_known_optimum_is_the_answer_where_nobody_asks_for_a_search(dsegym_command):
    arguments = ("optimize", "dsegym/MemoryAllocation-v0", "--json")
    code, out, err = dsegym_command(*arguments)
    assert code == 0, err
    content = json.loads(out)
    assert content["origin"].startswith("exact: the known optimum (")
    assert content["designs"]["1."]["peak"] == content["optimum"]
    assert "2." not in content["designs"]
    permuted = json.loads(dsegym_command(*arguments, "-o", "permutation=1")[1])
    assert permuted["designs"]["1."]["peak"] == content["optimum"]


@pytest.mark.parametrize("asked", [("--samples", "5"), ("--agent", "heuristic")])
def test_a_search_that_falls_short_of_what_is_known_says_how_to_get_it(dsegym_command, asked):
    code, out, err = dsegym_command("optimize", "dsegym/MemoryAllocation-v0", "--json", *asked)
    assert code == 0, err
    content = json.loads(out)
    assert content["origin"].startswith("search: ")
    assert content["designs"]["1."]["peak"] > content["optimum"]
    assert content["notes"][-1] == "`dsegym optimize` is exact here: leave out --samples and --agent."


def test_a_search_names_the_solver_of_an_instance_whose_optimum_is_not_known(dsegym_command, tmp_path):
    buffers = tmp_path / "own.64.csv"
    rows = [f"b{place},{place % 5},{place % 5 + 3 + place % 3},{7 + 5 * place % 11}" for place in range(12)]
    buffers.write_text("\n".join(["id,lower,upper,size", *rows]) + "\n", encoding="utf-8")
    arguments = ("optimize", "dsegym/MemoryAllocation-v0", "-o", f"instance={buffers}", "--json", "--samples", "3")
    code, out, err = dsegym_command(*arguments, "--agent", "random_search")
    assert code == 0, err
    note = "this instance has an exact solver, packing_search: --agent exact asks it."
    assert json.loads(out)["notes"][-1] == note
    for solving in ("exact", "packing_search"):
        assert note not in json.loads(dsegym_command(*arguments, "--agent", solving)[1])["notes"]


def test_a_small_space_is_costed_whole(dsegym_command):
    code, out, _ = dsegym_command("optimize", "dsegym/ReasoningServe-v0", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["origin"].startswith("exact")
    assert content["designs"]["1."][content["objective"]] == pytest.approx(content["optimum"], rel=1e-6)


def test_a_metric_that_is_called_as_a_parameter_does_not_take_its_place(dsegym_command):
    """ReasoningServe has a limit of tokens, and tells how many were spent."""
    code, out, err = dsegym_command("optimize", "dsegym/ReasoningServe-v0")
    assert code == 0, err
    assert "│ metric tokens" in out
    first = json.loads(dsegym_command("optimize", "dsegym/ReasoningServe-v0", "--json")[1])["designs"]["1."]
    problem = dsegym.make_problem("dsegym/ReasoningServe-v0")
    found = problem.evaluate_held_out(problem.space.encode({name: first[name] for name in problem.space.names}))
    assert found.objective[0] == pytest.approx(first[problem.objective.name], rel=1e-6)
    assert found.metrics.tokens[0] == pytest.approx(first["metric tokens"], rel=1e-6)


def test_the_three_cheapest_mixes_are_told_by_how_many_gpus_of_each_type_they_take(dsegym_command):
    code, out, _ = dsegym_command("optimize", "dsegym/ServingMix-v0")
    assert code == 0
    assert "Exact: every design that could be best was costed." in out
    assert "at the optimum" in out
    taken = {
        row.split("│")[1].strip(): [int(cell) for cell in row.split("│")[2:6]]
        for row in out.splitlines()
        if "│ number of " in row
    }
    assert taken.keys() == {f"number of {gpu}" for gpu in ("L4", "A10G", "A100-PCIe-80GB", "H100-SXM-80GB")}
    assert taken["number of A100-PCIe-80GB"][3] == 3  # of the reference, a single type
    assert len(set(zip(*taken.values(), strict=True))) == 4
    assert "short_1" not in out


def test_plans_that_cost_the_same_in_every_metric_are_listed_once(dsegym_command):
    arguments = ("dsegym/ServingPlan-v0", "-o", "gpus=4", "-o", "model=Llama-3-8B", "--json")
    code, out, _ = dsegym_command("optimize", *arguments)
    assert code == 0
    designs = json.loads(out)["designs"]
    space = dsegym.make_problem("dsegym/ServingPlan-v0", gpus=4, model="Llama-3-8B").space
    found = [
        tuple(value for name, value in designs[place].items() if name not in space.names)
        for place in ("1.", "2.", "3.")
    ]
    assert len(set(found)) == 3


def test_a_known_optimum_stands_beside_what_a_search_finds_and_parameters_have_units(dsegym_command):
    code, out, _ = dsegym_command("optimize", *SIZING, "--samples", "5", "--agent", "random_search")
    assert code == 0
    assert "optimum" in next(line for line in out.splitlines() if "reference" in line)
    words = " ".join(out.split())
    assert "Units: rows, columns in processing elements; ifmap_buffer, filter_buffer, ofmap_buffer in KiB" in words
    problem = dsegym.make_problem(SIZING[0], workload="alexnet")
    assert f"the optimum {problem.bound.value:.6g}." in words
    assert re.search(r"Best latency [0-9.e-]+ s: ", words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--agent", "hill_clim", "--samples", "5"), "Did you mean 'hill_climb'"),
        (("--agent", ""), "Unknown agent ''"),
        (("--output", "best.txt"), "a name that ends in .json"),
        (("--output", "no_such_folder/best.json"), "there is no folder 'no_such_folder'"),
        (("--samples", "0"), "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(dsegym_command, arguments, words):
    code, _, err = dsegym_command("optimize", *SIZING, *arguments)
    assert code != 0
    assert words in " ".join(err.split())
