"""The command line: each command does what its help says, and each wrong request is one sentence."""

import json
import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import dsegym
from dsegym.costmodels.reasoning.outcomes import load_outcomes
from dsegym.experiments import cli

SIZING = "dsegym/AcceleratorSizing-v0"
COMMANDS = (
    *("list", "info", "cost", "render", "optimize", "bound", "pareto", "run", "leaderboard", "verify", "trace"),
    "workload",
    *("train", "evaluate", "learning", "doctor", "field", "against", "lottery", "export", "compact", "matrix"),
)
ALEXNET = (SIZING, "--workload", "alexnet")
WORKLOAD = "layer,kind,m,n,k\nx[bold],gemm,64,32,16\n"


@pytest.fixture
def succeed(dsegym_command):
    """Runs a command that must succeed without a complaint; returns what it printed."""

    def command(*arguments):
        code, out, err = dsegym_command(*arguments)
        assert (code, err) == (0, "")
        return out

    return command


@pytest.fixture
def table(tmp_path):
    """A user's own workload."""
    path = tmp_path / "network.csv"
    path.write_text(WORKLOAD, encoding="utf-8")
    return path


# --- What works. ---


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example_of_it(command):
    found = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "200"})
    assert found.exit_code == 0
    assert re.search(rf"Example: *`?dsegym {command}", found.output)


def test_the_commands_of_the_tests_are_all_there_are():
    names = {info.name or info.callback.__name__ for info in cli.app.registered_commands}
    assert names == set(COMMANDS)


@pytest.mark.slow
def test_python_runs_the_package_as_the_command():
    command = [sys.executable, "-m", "dsegym"]
    found = subprocess.run([*command, "list", "--json"], capture_output=True, text=True, check=True)
    own = [name for name in dsegym.scenario_ids() if name.startswith("dsegym/")]  # other tests register toys here
    assert [each["id"] for each in json.loads(found.stdout)["scenarios"]] == own
    assert found.stderr == ""
    wrong = subprocess.run([*command, "info", "no/Such-v0"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("dsegym: Unknown scenario 'no/Such-v0'")


def test_help_imports_no_heavy_library():
    script = "import sys; sys.argv = ['dsegym', '--help']\nfrom dsegym.experiments import cli\n"
    script += "try:\n    cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
    script += "print({'jax', 'torch', 'polars', 'plotly', 'scipy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "set()"


def test_list_names_every_scenario_agent_and_suite(succeed):
    from dsegym.agents.registry import agent_names
    from dsegym.experiments.suite import suite_names

    out = succeed("list")
    for name in (*dsegym.scenario_ids(), *agent_names(), *suite_names()):
        if "/" not in name or name.startswith("dsegym/"):
            assert name in out


def test_list_imports_no_agent():
    script = "import sys; sys.argv = ['dsegym', 'list']\nfrom dsegym.experiments import cli\n"
    script += "try:\n    cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
    script += "print(sorted(name for name in sys.modules if name.startswith('dsegym.agents.')))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = ["base", "learners", "learners.registry", "registry"]
    assert found.stdout.splitlines()[-1] == str([f"dsegym.agents.{name}" for name in modules])


def test_info_shows_options_parameters_and_yardsticks(succeed):
    out = succeed("info", *ALEXNET, "--option", "objective=edp")
    problem = dsegym.make_problem(SIZING, workload="alexnet", objective="edp")
    assert f"{problem.space.size:,} designs" in out
    for text in (*problem.options, *problem.space.names, problem.reference.name, f"{problem.bound.value:.6g}"):
        assert text in out
    for text in ("optimum", "synthetic", "words/cycle", "Note:"):
        assert text in out


def test_cost_as_json_is_what_the_library_says(succeed):
    out = json.loads(succeed("cost", *ALEXNET, "--design", "rows=64, columns=32,dataflow=os", "--json"))
    problem = dsegym.make_problem(SIZING, workload="alexnet")
    design = problem.decode(problem.reference.design) | {"rows": 64, "columns": 32, "dataflow": "os"}
    result = problem.evaluate(problem.space.encode(design))
    assert out["scenario"] == SIZING
    assert out["options"]["workload"] == "alexnet"
    assert (out["design"]["rows"], out["design"]["dataflow"]) == ("64 processing elements", "os")
    assert out["verdict"]["value"] == float(result.objective[0])
    assert out["verdict"]["feasible"] is bool(result.feasible[0])
    assert out["totals"]["latency_s"] == pytest.approx(float(result.metrics.latency_s[0]), rel=1e-5)
    assert [part["layer"] for part in out["parts"]][:1] == ["conv1"]


def test_the_parts_of_a_cost_add_up_to_its_totals(succeed):
    content = json.loads(succeed("cost", SIZING, "--workload", "vgg16", "--design", "rows=32,columns=32", "--json"))
    parts, totals = content["parts"], content["totals"]
    assert len(parts) == 16
    for name in ("cycles", "compute_cycles"):
        assert totals[name] == sum(part[name] for part in parts)
    words = sum(part[f"{what}_dram_words"] for part in parts for what in ("ifmap", "filter", "ofmap"))
    assert totals["dram_traffic_words"] == words
    assert totals["energy_j"] == pytest.approx(sum(part["energy_j"] for part in parts), rel=1e-5)


def test_cost_of_a_users_network_is_what_one_computes_by_hand(succeed, tmp_path):
    path = tmp_path / "mine.csv"
    columns = "layer,kind,in_channels,out_channels,in_height,in_width,kernel_height,kernel_width,m,n,k"
    path.write_text(f"{columns}\nstem,conv,3,8,16,16,3,3,,,\nhead,gemm,,,,,,,1,10,1568\n", encoding="utf-8")
    design = ("--any-value", "--design", "rows=10,columns=7,dram_width=10,dataflow=os")
    stem, head = json.loads(succeed("cost", SIZING, "--workload", path, *design, "--json"))["parts"]
    # 14 x 14 pixels, 8 filters, 27 weights: ceil(196/10) ceil(8/7) = 40 folds of 10 + 7 + 27 - 2 cycles.
    assert stem["compute_cycles"] == 40 * 42
    assert head["compute_cycles"] == 2 * (10 + 7 + 1568 - 2)


def test_an_edited_network_is_read_again(succeed, tmp_path):
    path, cycles = tmp_path / "mine.csv", []
    for outputs in (10, 1000):
        path.write_text(f"layer,kind,m,n,k\nhead,gemm,1,{outputs},100\n", encoding="utf-8")
        cycles.append(json.loads(succeed("cost", SIZING, "--workload", path, "--json"))["totals"]["cycles"])
    assert cycles[0] < cycles[1]


def test_cost_without_a_design_is_the_references(succeed):
    verdict = json.loads(succeed("cost", *ALEXNET, "--json"))["verdict"]
    assert verdict["value"] == pytest.approx(verdict["reference"], rel=1e-6)
    assert "gemmini-x4" in succeed("cost", *ALEXNET)


def test_cost_says_so_where_a_design_is_not_feasible(succeed):
    large = ("--design", "rows=256,columns=256")
    assert "not feasible" in succeed("cost", *ALEXNET, *large)
    verdict = json.loads(succeed("cost", *ALEXNET, *large, "--json"))["verdict"]
    assert (verdict["value"], verdict["feasible"]) == (None, False)


def test_cost_takes_a_users_table_and_prints_its_names_as_they_are(table, succeed):
    assert "x[bold]" in succeed("cost", SIZING, "--workload", table)
    assert str(table) in json.loads(succeed("cost", SIZING, "-o", f"workload={table}", "--json"))["options"]["workload"]


def test_cost_takes_any_value_when_asked(succeed):
    out = json.loads(succeed("cost", *ALEXNET, "--any-value", "--design", "rows=13,columns=7", "--json"))
    assert out["design"]["rows"].startswith("13 ")
    assert out["totals"]["latency_s"] > 0
    assert out["verdict"] == {}
    inside = succeed("cost", *ALEXNET, "--any-value", "--design", "rows=64", "--json")
    assert inside == succeed("cost", *ALEXNET, "--design", "rows=64", "--json")


@pytest.mark.slow
def test_bound_finds_the_optimum_of_a_network_of_yours_at_any_budget_and_keeps_it(dsegym_command, table):
    own = (SIZING, "--workload", table, "--option", "area_budget=3.0", "--option", "objective=edp")
    before = json.loads(dsegym_command("cost", *own, "--json").out)
    assert any("a lower bound, not tight: `dsegym bound" in note for note in before["notes"])
    rows = json.loads(dsegym_command("bound", *own, "--json").out)
    assert {row["area_budget"] for row in rows} == {"small", "medium", "large", "3"}
    (row,) = (row for row in rows if (row["area_budget"], row["objective"]) == ("3", "edp"))
    after = json.loads(dsegym_command("cost", *own, "--json").out)
    assert not any("not tight" in note for note in after["notes"])
    assert after["verdict"]["optimum"] == row["value"] >= before["verdict"]["bound"]


@pytest.mark.slow
def test_the_cost_of_a_policy_on_a_log_of_yours_says_on_how_few_problems_it_stands(dsegym_command, tmp_path):
    rows = [f"question{i},16,{(7 * i) % 17}" for i in range(60)]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["problem,attempts,successes", *rows]), encoding="utf-8")
    own = ("dsegym/BatchBestOfN-v0", "--option", f"data={path}", "--option", "questions=4")
    out = " ".join(dsegym_command("cost", *own, "--baseline", "round_robin").out.split())
    assert "hint=none" in out
    sizes = load_outcomes(str(path)).split_sizes
    assert re.search(rf"standard error 0\.\d+ over {sizes['test']} test problems", out)
    assert f"{sizes['train']} train, {sizes['validation']} validation" in out
    assert "round_robin) is optimal" in out
    verdict = json.loads(dsegym_command("cost", *own, "--json").out)["verdict"]
    assert verdict["test_problems"] == sizes["test"]
    assert 0 < verdict["standard_error"] < 0.5
    peek = " ".join(dsegym_command("cost", *own, "--option", "hint=1").out.split())
    assert "Synthetic hint: a peek at the truth" in peek


def test_sizes_of_area_budgets_are_named_by_info_and_by_errors(dsegym_command):
    named = "small = 2 mm2, medium = 8 mm2, large = 20 mm2"
    found = dsegym_command("cost", SIZING, "--option", "area_budget=tiny")
    assert found.code == 2
    assert named in found.err.replace("\n", " ")
    shown = dsegym_command("info", SIZING).out
    assert all(f"{name} ({size} mm2)" in shown for name, size in (("small", 2), ("medium", 8), ("large", 20)))


@pytest.mark.slow
def test_bound_finds_the_stored_optimum(dsegym_command):
    rows = json.loads(dsegym_command("bound", *ALEXNET, "--json").out)
    assert len(rows) == 12
    for row in rows:
        options = {key: row[key] for key in ("workload", "objective", "area_budget", "platform")}
        problem = dsegym.make_problem(SIZING, **options)
        assert row["value"] == pytest.approx(problem.bound.value, rel=1e-6)  # a number: text is equal to none
        assert (row["unit"], row["kind"]) == (problem.objective.unit, problem.bound.name)
        assert isinstance(row["worst_over_reference"], float)


def test_a_bound_of_what_is_no_instance_is_refused_before_the_work(dsegym_command):
    code, out, err = dsegym_command("bound", "dsegym/SocSchedulingStatic-v0", "--option", "graph=top1",
                                    "--option", "frequency=chosen", "--json")  # fmt: skip
    assert (code, out) == (2, "")
    assert "The power of top is unknown: only objective=makespan and frequency=highest are allowed." in err
    code, out, err = dsegym_command("bound", "dsegym/ServingMix-v0", "--json")
    assert (code, out) == (2, "")
    assert (
        "has no bounds to compute; there are some of dsegym/AcceleratorSizing-v0, dsegym/MemoryMapping-v0"
        in " ".join(err.split())
    )


def test_run_leaderboard_and_verify_in_a_row(dsegym_command, succeed, tiny_file, tmp_path):
    results = tmp_path / "results"
    code, out, err = dsegym_command("run", tiny_file, "--output", results, "--workers", "1")
    assert code == 0
    assert "warning" not in err
    assert "4 trials, 0 already there, 4 finished" in out
    code, out, _ = dsegym_command("run", tiny_file, "--output", results)
    assert code == 0
    assert "4 already there, nothing to do" in out

    shown = succeed("leaderboard", results)
    assert "genetic_algorithm" in shown
    assert "Median seconds per trial" in shown
    assert "Score is raw: 0 the reference, 1 the bound, below 0 worse than the reference." in " ".join(shown.split())
    files = sorted(path.name for path in (results / "leaderboard").iterdir())
    assert files == ["leaderboard.html", "leaderboard.json", "leaderboard.md"]
    written = (results / "leaderboard" / "leaderboard.json").read_text(encoding="utf-8")
    assert succeed("leaderboard", results, "--json") == written
    assert {row["agent"] for row in json.loads(written)["rows"]} == {"genetic_algorithm", "random_search"}
    checked = succeed("verify", results)
    assert checked.endswith("\n6 of 6 reproduce.\n")
    assert "Declared: 2 agents on 1 instance, the seeds 0, 1, 60 samples each." in checked
    assert "Only claimed: that the agents came to these samples by themselves" in checked


def test_leaderboard_of_a_part_warns_of_the_rest(dsegym_command, results, first_trial):
    first_trial.rename(results / "elsewhere")
    code, _, err = dsegym_command("leaderboard", results)
    assert code == 0
    assert err == "warning: no result yet of 1 of 4 trials.\n"


def test_verify_prints_what_it_rejects_and_fails(dsegym_command, results, first_trial):
    (first_trial / "trace.parquet").write_bytes(b"")
    code, out, err = dsegym_command("verify", results)
    assert (code, err) == (1, "")
    assert out.splitlines()[0].startswith(f"rejected: {first_trial}")
    assert out.splitlines()[-1] == "3 of 4 reproduce."


# --- What does not. ---

# The request: what its one sentence says.
WRONG = {
    ("info", "dsegym/AcceleratorSizing-v1"): r"Unknown scenario .*Did you mean 'dsegym/AcceleratorSizing-v0'",
    ("info", "no_such_package:x/Y-v0"): r"Cannot import 'no_such_package'",
    ("cost", "AcceleratorSizing"): r"Unknown scenario 'AcceleratorSizing'; there are: dsegym/",
    ("cost", SIZING, "--workload", "resnet5"): r"Unknown workload 'resnet5'.*Did you mean 'resnet50'",
    ("cost", SIZING, "--workload", "absent.csv"): r"absent\.csv",
    ("cost", SIZING, "--option", "objective=latncy"): r"Unknown objective 'latncy'.*Did you mean 'latency'",
    ("cost", SIZING, "--option", "colour=red"): r"Unknown option 'colour'; there are: workload, objective",
    ("cost", SIZING, "--option", "objective"): r"'objective' is not an option of the form name=value",
    ("cost", SIZING, "-o", "objective=edp", "-o", "objective=edp"): r"objective is given twice",
    ("cost", SIZING, "-o", "objective=edp", "-o", " objective=edp"): r"objective is given twice",
    ("cost", *ALEXNET, "--design", "row=8"): r"Unknown parameter 'row'.*Did you mean 'rows'",
    ("cost", *ALEXNET, "--design", "rows=5"): r"rows = '5' is not in the design space; allowed: 4, 8",
    ("cost", *ALEXNET, "--design", "dataflow=xs"): r"dataflow = 'xs' is not in the design space; allowed: ws, os, is",
    ("cost", *ALEXNET, "--design", "rows"): r"'rows' is not a part of the design of the form name=value",
    ("cost", *ALEXNET, "--design", "rows="): r"'rows=' is not a part of the design",
    ("cost", *ALEXNET, "--design", "=4"): r"'=4' is not a part of the design",
    ("cost", *ALEXNET, "--design", "rows=4;columns=4"): r"rows = '4;columns=4' is not in the design space",
    ("cost", *ALEXNET, "--design", "rows=4,rows=8"): r"rows is given twice",
    ("cost", *ALEXNET, "--any-value", "--design", "rows=wide"): r"rows",
    ("cost", *ALEXNET, "--any-value", "--design", "rows=0"): r"rows",
    ("cost", *ALEXNET, "--any-value", "--design", "rows=-4"): r"rows",
    ("cost", *ALEXNET, "--any-value", "--design", "rows=1.5"): r"rows",
    ("cost", *ALEXNET, "--any-value", "--design", "rows=99999999999"): r"rows",
    ("cost", *ALEXNET, "--any-value", "--design", "dataflow=xs"): r"dataflow",
    ("bound", "dsegym/Nothing-v0"): r"Unknown scenario",
    ("bound", SIZING, "--workload", "resnet5"): r"Unknown workload",
    ("run", "quik", "--output", "results"): r"Unknown suite 'quik'.*Did you mean 'quick'",
    ("run", "absent.toml", "--output", "results"): r"Cannot read the suite 'absent\.toml': No such file",
    ("leaderboard", "absent"): r"'absent' holds no results: there is no suite\.json in it",
    ("leaderboard", "."): r"holds no results",
    ("verify", "absent"): r"'absent' holds no results",
    ("verify", "."): r"holds no results",
}


def one_sentence(outcome):
    """The complaint, after checking that it is all that was printed."""
    assert outcome.code != 0
    assert outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert line.startswith("dsegym: ")
    return line


@pytest.mark.parametrize("request_", WRONG, ids=" ".join)
def test_a_wrong_request_is_one_sentence_with_a_way_out(request_, dsegym_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = dsegym_command(*request_)
    assert re.search(WRONG[request_], one_sentence(outcome))
    assert outcome.code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_malformed_table_is_one_sentence_with_file_and_line(table, dsegym_command):
    table.write_text(WORKLOAD.replace(",64,", ",many,"), encoding="utf-8")
    sentence = one_sentence(dsegym_command("cost", SIZING, "--workload", table))
    assert re.search(r"network\.csv.*2.*many", sentence)


def test_results_without_a_finished_trial_have_no_leaderboard(dsegym_command, results):
    for directory in (results / "trials").iterdir():
        directory.rename(results / f"gone-{directory.name}")
    assert "holds no finished trial yet" in one_sentence(dsegym_command("leaderboard", results))


def test_a_leaderboard_over_a_damaged_trial_names_it(dsegym_command, results, first_trial):
    (first_trial / "manifest.json").write_text("{", encoding="utf-8")
    sentence = one_sentence(dsegym_command("leaderboard", results))
    assert str(first_trial / "manifest.json") in sentence


def test_a_leaderboard_that_cannot_be_written_is_one_sentence_before_the_work(
    dsegym_command, results, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    monkeypatch.setattr("dsegym.experiments.publish.board_of", None)
    outcome = dsegym_command("leaderboard", results, "--output", tmp_path / "file" / "below")
    assert re.search(r"'.*below' cannot be written: Not a directory", one_sentence(outcome))
    assert outcome.code == 2


def test_running_another_suite_into_results_is_refused(dsegym_command, results, tiny_file, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(tiny_file.read_text(encoding="utf-8").replace('"tiny"', '"other"'), encoding="utf-8")
    before = (results / "suite.json").read_bytes()
    code, _, err = dsegym_command("run", other, "--output", results)
    assert code == 2
    assert "holds the results of the suite 'tiny'" in err.splitlines()[-1]
    assert (results / "suite.json").read_bytes() == before


@pytest.mark.parametrize("arguments", [(), ("--no-such-option",), ("cots",), ("cost",), ("run", "quick")])
def test_usage_errors_show_the_usage_and_no_traceback(arguments, dsegym_command):
    code, out, err = dsegym_command(*arguments)
    assert code == 2
    assert "Usage" in out + err
    assert "Traceback" not in out + err


def test_a_missing_library_is_one_sentence_that_names_the_extra(dsegym_command, monkeypatch):
    def missing(name):
        raise ImportError("No module named 'optuna'")

    monkeypatch.setattr("dsegym.envs.core.scenarios.load_scenario", missing)
    sentence = one_sentence(dsegym_command("info", SIZING))
    assert "No module named 'optuna'" in sentence
    assert "pip install 'dsegym[agents]'" in sentence


def test_an_error_of_our_own_making_is_not_hidden(dsegym_command, monkeypatch):
    def broken(name):
        raise AssertionError("a bug")

    monkeypatch.setattr("dsegym.envs.core.scenarios.load_scenario", broken)
    with pytest.raises(AssertionError, match="a bug"):
        dsegym_command("info", SIZING)


def test_a_reader_that_leaves_early_is_no_error():
    command = f'"{sys.executable}" -c "import dsegym.experiments.cli as cli; cli.main()" list | head -n 1'
    found = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert "Traceback" not in found.stderr


# --- Any width, any name, any surroundings. ---

WIDTHS = (0, 1, 7, 30, 47, 80, 100, 160, 300)
ALL_COLUMNS = ("layer", "cycles", "utilisation", "energy [J]", "dram reads [words]")


@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_is_cut_and_no_column_left_out_at_any_width(width, dsegym_command, monkeypatch):
    command = ("cost", SIZING, "--workload", "alexnet", "--design", "rows=64,columns=64,dataflow=os")
    monkeypatch.setenv("COLUMNS", "1000")
    whole = dsegym_command(*command).out
    monkeypatch.setenv("COLUMNS", str(width))
    shown = dsegym_command(*command).out
    assert "…" not in shown
    assert set(numbers(whole)) == set(numbers(shown))
    for name in ALL_COLUMNS:
        assert all(word in shown for word in name.split())


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_the_leaderboard_is_whole_at_any_width(width, results, dsegym_command, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    board = json.loads(dsegym_command("leaderboard", results, "--json").out)
    shown = dsegym_command("leaderboard", results).out
    for row in board["rows"]:
        low, high = (f"{row[end]:z.4f}" for end in ("low", "high"))
        assert all(part in shown for part in (row["agent"], f"{row['score']:z.4f}", f"[{low}, {high}]"))


def numbers(text):
    return re.findall(r"\d[\d.,e+-]*\d|\d", text)


def test_piped_output_is_as_wide_as_columns_says(dsegym_command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, dsegym_command("list").out.splitlines())) <= 60
    monkeypatch.delenv("COLUMNS")
    assert 60 < max(map(len, dsegym_command("list").out.splitlines())) <= 160


@pytest.mark.slow
@pytest.mark.parametrize("name", ["[/bold]", "[red]x", ":smile:"])
def test_names_that_look_like_markup_are_names(name, tmp_path, tiny_file, dsegym_command):
    suite = tmp_path / "suite.toml"
    suite.write_text(tiny_file.read_text(encoding="utf-8").replace('"tiny"', f'"{name}"'), encoding="utf-8")
    results = tmp_path / f"r{name}".replace("/", "")
    code, out, err = dsegym_command("run", suite, "--output", results, "--workers", 1)
    assert code == 0, err
    assert f"{name}: 4 trials" in out
    assert name in err
    assert dsegym_command("leaderboard", results).code == 0
    bounded = tmp_path / f"{name.replace('/', '')}.csv"
    bounded.write_text(WORKLOAD, encoding="utf-8")
    code, out, _ = dsegym_command("info", SIZING, "--workload", bounded)
    assert code == 0
    assert bounded.name in out


@pytest.mark.slow
def test_a_suite_of_ones_own_with_a_shipped_name_is_warned_of_before_it_runs(tmp_path, tiny_file, dsegym_command):
    suite = tmp_path / "suite.toml"
    suite.write_text(tiny_file.read_text(encoding="utf-8").replace('"tiny"', '"quick"'), encoding="utf-8")
    code, _, err = dsegym_command("run", suite, "--output", tmp_path / "results", "--workers", 1)
    assert (code, err.splitlines()[0][:44]) == (0, "warning: 'quick' is the name of a shipped su")
    assert dsegym_command("verify", tmp_path / "results").code == 1


def test_a_suite_names_what_it_leaves_out_before_it_runs(tmp_path, dsegym_command):
    suite = tmp_path / "suite.toml"
    graphs = '[[instances]]\nscenario = "dsegym/SocSchedulingStatic-v0"\ngraph = ["range_detection", "top1"]\n'
    head = 'name = "s"\nsamples = 5\nseeds = 1\n'
    suite.write_text(head + graphs + '[[agents]]\nname = "heuristic"\n', encoding="utf-8")
    code, out, err = dsegym_command("run", suite, "--output", tmp_path / "results", "--workers", 1)
    assert (code, "s: 1 trial," in out) == (0, True)
    assert err.startswith("warning: left out, as no result on it could be scored: dsegym/SocSchedulingStatic-v0")
    assert "range_detection" in err
    assert (
        "no result can be scored here" in dsegym_command("info", "dsegym/SocSchedulingStatic-v0", "-o", "graph=sct").out
    )


COMMAND = "from dsegym.experiments.cli import main; main()"


@pytest.mark.slow
@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_stream_is_one_sentence_or_nothing(closed):
    script = f'exec {sys.executable} -c "{COMMAND}" list {closed}>&-'
    found = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert "Traceback" not in found.stderr
    assert found.returncode == (1 if closed == 1 else 0)
    assert (found.stderr == "dsegym: standard output is closed; there is nowhere to print to.\n") == (closed == 1)


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cuda", "nonsense"])
def test_a_device_that_is_not_there_is_one_sentence(platform):
    environment = {**os.environ, "JAX_PLATFORMS": platform}
    command = [sys.executable, "-c", COMMAND, "info", SIZING]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if found.returncode == 0:
        pytest.skip(f"this machine has {platform}")
    assert found.stderr.count("\n") == 1
    assert found.stderr.startswith(f"dsegym: JAX cannot start on JAX_PLATFORMS={platform}: ")


def test_a_setting_that_jax_does_not_take_is_one_sentence():
    command = [sys.executable, "-m", "dsegym", "list"]
    environment = {**os.environ, "JAX_ENABLE_X64": "maybe"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 1
    assert found.stderr == "dsegym: JAX does not start: invalid truth value 'maybe' for environment 'JAX_ENABLE_X64'.\n"


def test_the_reference_is_a_baseline_by_its_name(dsegym_command):
    command = ("cost", "dsegym/AttentionAccelerator-v0", "--json")
    assert dsegym_command(*command, "--baseline", "flat").out == dsegym_command(*command).out
    assert "there are: flat, unfused" in dsegym_command(*command, "--baseline", "none").err
