"""Bounds that are kept beside users' files: used while the content stays, and never wrong in silence."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidWorkloadError
from dsegym.envs.core.own_bounds import KEPT, kept_beside, kept_table, read_kept

SIZING, STATIC, MAPPING = "dsegym/AcceleratorSizing-v0", "dsegym/SocSchedulingStatic-v0", "dsegym/MemoryMapping-v0"
NETWORK = "layer,kind,m,n,k\none,gemm,64,64,64\n"
SHOP = "3 3\n0 3 1 2 2 2\n0 2 2 1 1 4\n1 4 2 3 0 1\n"


def sizing_row(path, budget="small", objective="latency"):
    """A row as `dsegym bound` makes it, of the best of some designs instead of all."""
    problem = dsegym.make_problem(SIZING, workload=str(path), area_budget=budget, objective=objective)
    designs = problem.space.sample(np.random.default_rng(0), 2000)
    result = problem.evaluate(designs)
    best = int(np.argmin(np.where(result.feasible, result.objective, np.inf)))
    values = {"value": repr(float(result.objective[best])), "unit": problem.objective.unit}
    return {**problem.options, **values, **problem.decode(designs[best])}


def keep(scenario, options, rows):
    path, text = kept_table(scenario, options, rows)
    path.write_text(text, encoding="utf-8")
    return path


def recomputed(scenario, **options):
    family = dsegym.load_scenario(scenario)
    resolved = family.resolve(options)
    return resolved, family.recompute_bounds(resolved)


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text(NETWORK, encoding="utf-8")
    return path


@pytest.fixture
def kept_network(network):
    row = sizing_row(network)
    keep(SIZING, {name: row[name] for name in dsegym.load_scenario(SIZING).options}, [row])
    return network


def test_a_kept_optimum_is_the_bound_from_then_on_where_the_content_is_the_same(network, tmp_path):
    before = dsegym.make_problem(SIZING, workload=str(network), area_budget="small")
    assert before.bound.name == "bound"
    assert before.bound.looseness == "a lower bound, not tight"
    row = sizing_row(network)
    keep(SIZING, before.options, [row])
    for budget in ("small", 2, "2.0 mm2"):
        after = dsegym.make_problem(SIZING, workload=str(network), area_budget=budget)
        assert (after.bound.name, after.bound.value, after.bound.looseness) == ("optimum", float(row["value"]), "")
        assert KEPT in after.bound.source
        assert after.evaluate(after.bound.design).objective[0] == after.bound.value
    assert dsegym.make_problem(SIZING, workload=str(network), area_budget="medium").bound.name == "bound"
    (tmp_path / "moved").mkdir()
    for path in (network, kept_beside(network)):
        shutil.copy(path, tmp_path / "moved")
    moved = dsegym.make_problem(SIZING, workload=str(tmp_path / "moved" / "net.csv"), area_budget="small")
    assert moved.bound.name == "optimum"
    network.write_text(NETWORK.replace("64,64,64", "64,64,65"), encoding="utf-8")
    assert dsegym.make_problem(SIZING, workload=str(network), area_budget="small").bound.name == "bound"
    network.write_text(NETWORK, encoding="utf-8")
    assert dsegym.make_problem(SIZING, workload=str(network), area_budget="small").bound.name == "optimum"


def test_the_table_says_the_content_the_version_and_the_options_and_new_rows_stand_beside_old_ones(kept_network):
    (row,) = read_kept(kept_network)
    assert row["scenario"] == SIZING
    assert row["workload"].startswith("sha256:")
    assert row["dsegym"]
    assert {name: row[name] for name in ("objective", "area_budget", "platform")} == {
        "objective": "latency",
        "area_budget": "small",
        "platform": "gemmini",
    }
    more = [sizing_row(kept_network, "3"), sizing_row(kept_network)]
    keep(SIZING, {name: more[0][name] for name in dsegym.load_scenario(SIZING).options}, more)
    assert [row["area_budget"] for row in read_kept(kept_network)] == ["small", "3"]
    assert dsegym.make_problem(SIZING, workload=str(kept_network), area_budget="3.0").bound.name == "optimum"


def edited(path, **changes):
    """The table with cells changed by hand."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0].update(changes)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


DAMAGES = {
    "a value": lambda path: edited(path, value="1e-9"),
    "a design": lambda path: edited(path, rows="4"),
    "a hash of other content": lambda path: edited(path, workload="sha256:" + "0" * 64),
    "another option": lambda path: edited(path, area_budget="medium"),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "another table": lambda path: path.write_text("layer,bound\none,3\n", encoding="utf-8"),
    "no table": lambda path: path.write_text('"', encoding="utf-8"),
    "empty": lambda path: path.write_text("", encoding="utf-8"),
    "binary": lambda path: path.write_bytes(b"\x00\xff\xfe" * 9),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "a device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_table_is_one_sentence_that_names_it(damage, kept_network):
    beside = kept_beside(kept_network)
    DAMAGES[damage](beside)
    problem = dsegym.make_problem(SIZING, workload=str(kept_network), area_budget="small")
    with pytest.raises(InvalidWorkloadError, match=r"net\.csv\.bounds\.csv: ") as raised:
        _ = problem.bound
    assert "\n" not in str(raised.value)
    with pytest.raises(InvalidWorkloadError):
        kept_table(SIZING, problem.options, [])
    assert os.path.lexists(beside)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"value": "1e-9"}, r"the kept design costs .*, not 1e-09"),
        ({"value": "nan"}, "costs"),
        ({"value": "one"}, "cannot be read"),
        ({"rows": "256", "columns": "256"}, "more than its constraints allow"),
        ({"rows": "5"}, "cannot be read"),
        ({"dataflow": ""}, "cannot be read"),
    ],
)
def test_a_row_whose_design_does_not_cost_what_it_says_is_refused_however_well_it_is_signed(changes, words, network):
    row = {**sizing_row(network), **changes}
    keep(SIZING, {name: row[name] for name in dsegym.load_scenario(SIZING).options}, [row])
    with pytest.raises(InvalidWorkloadError, match=words):
        _ = dsegym.make_problem(SIZING, workload=str(network), area_budget="small").bound


def test_a_shipped_network_has_no_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("alexnet.bounds.csv").write_text("nothing\n", encoding="utf-8")
    assert dsegym.make_problem(SIZING, workload="alexnet", area_budget="small").bound.name == "optimum"
    assert kept_table(SIZING, dsegym.load_scenario(SIZING).resolve({}), []) is None


def test_a_graphs_kept_schedule_is_its_optimum_for_every_space_and_objective_that_use_it(tmp_path):
    path = tmp_path / "shop.jsp"
    path.write_text(SHOP, encoding="utf-8")
    before = dsegym.make_problem(STATIC, graph=str(path))
    assert before.bound.looseness
    assert "small graphs" in before.bound.remedy
    options, (row,) = recomputed(STATIC, graph=str(path))
    keep(STATIC, options, [row])
    after = dsegym.make_problem(STATIC, graph=str(path))
    assert after.bound.name == "optimum"
    assert (row["value"], row["unit"], row["kind"]) == (after.bound.value, after.objective.unit, "optimum")
    assert after.bound.value >= before.bound.value
    assert after.evaluate(after.bound.design).objective[0] == after.bound.value
    assert dsegym.make_problem(STATIC, graph=str(path), space="order").bound.value == after.bound.value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bound_us": "99"}, "with a bound of 99"),
        ({"bound_us": "3"}, "with a bound of 3"),
        ({"best_us": "3", "bound_us": "3"}, "not 3 us"),
        ({"best_schedule": "0@0"}, "cannot be read|cannot"),
        ({"best_schedule": " ".join(["0@0"] * 9)}, "cannot be read .*(overlap|cannot run|run time)"),
        ({"best_schedule": "x"}, "cannot be read"),
    ],
)
def test_a_kept_schedule_that_breaks_a_rule_or_takes_another_time_is_refused(changes, words, tmp_path):
    path = tmp_path / "shop.jsp"
    path.write_text(SHOP, encoding="utf-8")
    options, (row,) = recomputed(STATIC, graph=str(path))
    keep(STATIC, options, [{**row, **changes}])
    with pytest.raises(DsegymError, match=words):
        _ = dsegym.make_problem(STATIC, graph=str(path)).bound


@pytest.fixture
def program(tmp_path):
    source = Path(dsegym.__file__).parent / "costmodels" / "memory" / "programs" / "mlp_tiny.jsonl"
    path = tmp_path / "mine.jsonl"
    shutil.copy(source, path)
    return path


@pytest.mark.slow
def test_a_programs_kept_plan_is_played(program):
    before = dsegym.make_problem(MAPPING, program=str(program), capacity="0.5")
    options, (row,) = recomputed(MAPPING, program=str(program), capacity="0.5")
    keep(MAPPING, options, [row])
    after = dsegym.make_problem(MAPPING, program=str(program), capacity="0.5")
    assert after.bound.name == ("optimum" if row["proven"] == "yes" else "bound")
    assert (row["value"], row["unit"], row["kind"]) == (after.bound.value, after.objective.unit, after.bound.name)
    assert after.bound.value >= before.bound.value * (1 - 1e-9)
    assert dsegym.make_problem(MAPPING, program=str(program), capacity="0.5", space="msa").bound.value == (
        after.bound.value
    )
    for changes in ({"bound_ticks": 1, "best_ticks": 1}, {"best_plan": "9"}, {"best_plan": row["best_plan"] + "0"}):
        keep(MAPPING, options, [{**row, **changes}])
        with pytest.raises(InvalidWorkloadError, match="the kept plan takes"):
            _ = dsegym.make_problem(MAPPING, program=str(program), capacity="0.5").bound


def test_a_copy_without_the_table_is_the_same_instance(kept_network, tmp_path):
    problem, copy = (
        dsegym.make_problem(SIZING, workload=str(path), area_budget="small")
        for path in (kept_network, shutil.copy(kept_network, tmp_path / "copy.csv"))
    )
    assert (problem.bound.name, copy.bound.name) == ("optimum", "bound")
    assert problem.content == copy.content
