"""The comparison under DOSA's protocol: its page is what its runs say, and it runs."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("dosa_protocol", ROOT / "benchmarks" / "dosa_protocol.py")
    module = sys.modules["dosa_protocol"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["dosa_protocol"]


def row(method, workload, seed, value):
    values = {"workload": workload, "method": method, "seed": seed, "samples": 100, "after_a_tenth": value}
    return values | {"edp_over_reference": value, "bound_over_reference": 0.5, "seconds": 1.0}


def test_the_page_is_what_the_stored_runs_say(study):
    rows = study.read_table(ROOT / "docs" / "dosa_protocol.csv")
    assert study.page(rows) == (ROOT / "docs" / "dosa_protocol.md").read_text(encoding="utf-8")
    assert {each["method"] for each in rows} == set(study.METHODS)
    assert len({each["workload"] for each in rows}) >= 4
    assert len({each["samples"] for each in rows}) == 1
    for workload in {each["workload"] for each in rows}:
        for method in study.METHODS:
            assert len({r["seed"] for r in rows if (r["workload"], r["method"]) == (workload, method)}) >= 3


def test_the_ratio_is_the_geometric_mean_over_networks_and_seeds(study):
    rows = [row(study.GRADIENT, w, s, 2.0) for w in "ab" for s in (0, 1)]
    rows += [row("two-loop BO", w, s, {"a": 4.0, "b": 16.0}[w]) for w in "ab" for s in (0, 1)]
    found = study.ratio(rows, "two-loop BO")
    assert [float(each) for each in found] == pytest.approx([4.0, 4.0, 4.0])  # no seed differs
    assert "surely better than two-loop BO" in study.page(rows)


@pytest.mark.slow
def test_a_run_spends_its_samples(study):
    found = study.run("bert_base_s128", "two-loop random", 0, 400)
    assert found["samples"] == 400
    assert found["edp_over_reference"] <= found["after_a_tenth"]


def test_too_few_samples_are_refused(study):
    with pytest.raises(SystemExit, match="at least 333"):
        study.main(["--samples", "100"])
