"""The command line: what each command prints, and one sentence for every mistake."""

import json
import shutil

import pytest

SIZING = "dsegym/AcceleratorSizing-v0"
MINE = "layer,kind,in_channels,out_channels,in_height,in_width,kernel_height,kernel_width,m,n,k\n"
MINE += "stem,conv,3,8,16,16,3,3,,,\nhead,gemm,,,,,,,1,10,1568\n"


def test_list_names_scenarios_agents_and_suites(dsegym_command):
    outcome = dsegym_command("list")
    assert outcome.code == 0
    for name in (SIZING, "random_search", "genetic_algorithm", "tpe", "ppo", "gradient_descent", "quick"):
        assert name in outcome.out


def test_info_shows_options_space_constants_with_their_status_and_yardsticks(dsegym_command):
    outcome = dsegym_command("info", SIZING, "--option", "objective=edp", "--workload", "alexnet")
    assert outcome.code == 0
    for text in ("2,519,424 designs", "gemmini-x4", "optimum", "synthetic", "area_budget", "words/cycle", "Note:"):
        assert text in outcome.out


def test_cost_prints_layers_totals_and_units(dsegym_command):
    outcome = dsegym_command("cost", SIZING, "--workload", "alexnet", "--design", "rows=64,columns=64,dataflow=os")
    assert outcome.code == 0
    for text in ("conv1", "fc8", "1,145,600", "words", "mm2", "from the reference gemmini-x4: ifmap_buffer"):
        assert text in outcome.out


def test_cost_as_json_adds_up(dsegym_command):
    arguments = ("--workload", "vgg16", "--design", "rows=32,columns=32,dataflow=ws", "--json")
    content = json.loads(dsegym_command("cost", SIZING, *arguments).out)
    assert len(content["parts"]) == 16
    for total, part in (("cycles", "cycles"), ("compute_cycles", "compute_cycles")):
        assert content["totals"][total] == sum(row[part] for row in content["parts"])
    words = sum(row[f"{what}_dram_words"] for row in content["parts"] for what in ("ifmap", "filter", "ofmap"))
    assert content["totals"]["dram_traffic_words"] == words
    assert content["totals"]["energy_j"] == pytest.approx(sum(row["energy_j"] for row in content["parts"]), rel=1e-5)
    assert content["verdict"]["feasible"] is True
    assert content["verdict"]["value"] == pytest.approx(content["totals"]["latency_s"])


def test_cost_takes_a_users_file_and_values_outside_the_space(dsegym_command, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(MINE)
    design = "rows=10,columns=7,dram_width=10,dataflow=os"
    refused = dsegym_command("cost", SIZING, "--workload", path, "--design", design)
    assert refused.code == 2
    content = json.loads(
        dsegym_command("cost", SIZING, "--workload", path, "--design", design, "--any-value", "--json").out
    )
    # 14 x 14 pixels, 8 filters, 27 weights: ceil(196/10) ceil(8/7) = 40 folds of 10 + 7 + 27 - 2 cycles.
    assert content["parts"][0]["compute_cycles"] == 40 * 42
    assert content["parts"][1]["compute_cycles"] == 2 * (10 + 7 + 1568 - 2)
    assert content["verdict"] == {}


def test_an_edited_file_is_read_again(dsegym_command, tmp_path):
    path = tmp_path / "mine.csv"
    cycles = []
    for outputs in (10, 1000):
        path.write_text(f"layer,kind,m,n,k\nhead,gemm,1,{outputs},100\n")
        cycles.append(json.loads(dsegym_command("cost", SIZING, "--workload", path, "--json").out)["totals"]["cycles"])
    assert cycles[0] < cycles[1]


def test_a_design_over_the_area_budget_is_called_not_feasible(dsegym_command):
    arguments = ("--option", "area_budget=small", "--design", "rows=256,columns=256")
    outcome = dsegym_command("cost", SIZING, "--workload", "alexnet", *arguments)
    assert outcome.code == 0
    assert "not feasible" in outcome.out


@pytest.mark.slow
def test_bound_finds_the_stored_optimum(dsegym_command):
    outcome = dsegym_command("bound", SIZING, "--workload", "alexnet", "--json")
    rows = json.loads(outcome.out)
    assert len(rows) == 12
    (medium,) = [row for row in rows if row["objective"] == "latency" and row["area_budget"] == "medium"]
    info = dsegym_command("cost", SIZING, "--workload", "alexnet", "--json")
    assert float(medium["value"]) == pytest.approx(json.loads(info.out)["verdict"]["optimum"])


def test_run_leaderboard_and_verify_work_on_a_tiny_suite(dsegym_command, tiny_file, tmp_path):
    results = tmp_path / "tiny"
    ran = dsegym_command("run", tiny_file, "--output", results, "--workers", 1)
    assert (ran.code, "4 trials, 0 already there, 4 finished" in " ".join(ran.out.split())) == (0, True), ran
    again = dsegym_command("run", tiny_file, "--output", results)
    assert "4 already there, nothing to do" in " ".join(again.out.split())
    shown = dsegym_command("leaderboard", results)
    assert shown.code == 0
    assert "genetic_algorithm" in shown.out
    assert "Median seconds per trial" in shown.out
    for name in ("leaderboard.json", "leaderboard.md", "leaderboard.html"):
        assert (results / "leaderboard" / name).stat().st_size > 500
    as_json = dsegym_command("leaderboard", results, "--json")
    assert as_json.out == (results / "leaderboard" / "leaderboard.json").read_text(encoding="utf-8")
    verified = dsegym_command("verify", results)
    assert (verified.code, verified.out.strip()) == (0, "6 of 6 reproduce.")


def test_verify_names_what_is_wrong_and_fails(dsegym_command, results, first_trial):
    (first_trial / "trace.parquet").write_bytes(b"")
    outcome = dsegym_command("verify", results)
    assert outcome.code == 1
    assert "rejected:" in outcome.out
    assert "trace.parquet" in outcome.out
    assert "3 of 4 reproduce." in outcome.out


def test_the_leaderboard_of_an_incomplete_run_says_so(dsegym_command, results, first_trial):
    shutil.rmtree(first_trial)
    outcome = dsegym_command("leaderboard", results)
    assert outcome.code == 0
    assert "1 of 4 trials have no result yet" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("info", "dsegym/Nothing-v0"), f"Unknown scenario 'dsegym/Nothing-v0'; there are: {SIZING}"),
        (("cost", SIZING, "--workload", "resnet5"), "Did you mean 'resnet50'?"),
        (("cost", SIZING, "--workload", "nothing.csv"), "Cannot read the workload file 'nothing.csv'"),
        (("cost", SIZING, "--option", "objective=speed"), "there are: latency, energy, edp, target"),
        (("cost", SIZING, "--option", "objektive=edp"), "Did you mean 'objective'?"),
        (("cost", SIZING, "--option", "objective"), "is not an option of the form name=value"),
        (("cost", SIZING, "--design", "rows"), "'rows' is not a part of the design of the form name=value"),
        (("cost", SIZING, "--design", "rows=4,rows=8"), "rows is given twice"),
        (("cost", SIZING, "--design", "rowz=4"), "Did you mean 'rows'?"),
        (("cost", SIZING, "--design", "rows=5"), "rows = '5' is not in the design space; allowed: 4, 8,"),
        (("cost", SIZING, "--design", "rows=0", "--any-value"), "rows = '0' is not a whole number from 1"),
        (("cost", SIZING, "--design", "dataflow=rs", "--any-value"), "Unknown dataflow 'rs'; there are: ws, os, is"),
        (("run", "quik", "--output", "x"), "Did you mean 'quick'?"),
        (("run", "nothing.toml", "--output", "x"), "Cannot read the suite 'nothing.toml'"),
        (("leaderboard", "nowhere"), "'nowhere' holds no results"),
        (("verify", "nowhere"), "'nowhere' holds no results"),
        (("bound", SIZING, "--workload", "vgg"), "Did you mean 'vgg16'?"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_two(dsegym_command, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    outcome = dsegym_command(*arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert outcome.err.startswith("dsegym: ")


def test_results_without_a_finished_trial_are_refused(dsegym_command, results):
    shutil.rmtree(results / "trials")
    outcome = dsegym_command("leaderboard", results)
    assert (outcome.code, "holds no finished trial yet" in outcome.err) == (2, True)


@pytest.mark.parametrize("command", ["list", "info", "cost", "bound", "run", "leaderboard", "verify"])
def test_the_help_of_every_command_has_an_example(dsegym_command, command):
    outcome = dsegym_command(command, "--help")
    assert outcome.code == 0
    assert f"dsegym {command}" in " ".join(outcome.out.replace("│", " ").split()).partition("Example:")[2]
