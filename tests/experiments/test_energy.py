"""Energy counters of a machine that tells, and of one that does not."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest

from dsegym.costmodels.errors import CorruptResultError
from dsegym.experiments import energy, trial
from dsegym.experiments.batch_writing import compact
from dsegym.experiments.batches import stored_trials
from dsegym.experiments.energy import (
    Counter,
    energy_counters,
    energy_meter,
    energy_record,
    energy_text,
    joules_between,
)
from dsegym.experiments.layout import trial_directory
from dsegym.experiments.report.text import timings_to_rich
from dsegym.experiments.scoring.leaderboard import build_timings
from dsegym.experiments.store import read_trial
from dsegym.experiments.suite_note import read_suite


@pytest.fixture
def powercap(tmp_path):
    """A machine of two packages, one of which has a part that is counted with it."""
    for name, micro in (("intel-rapl:0", 5_000_000), ("intel-rapl:1", 1_000_000), ("intel-rapl:0:0", 4_000_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{micro}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("10000000\n")
    (tmp_path / "intel-rapl").mkdir()
    return tmp_path


def test_packages_are_counted_and_their_parts_are_not_counted_again(powercap):
    before = energy_counters(powercap)
    assert before["intel-rapl:0"] == Counter(5.0, 10.0)
    (powercap / "intel-rapl:0" / "energy_uj").write_text("7500000\n")
    (powercap / "intel-rapl:1" / "energy_uj").write_text("500000\n")  # it has wrapped: 9.5 J
    assert joules_between(before, energy_counters(powercap)) == pytest.approx(2.5 + 9.5)


def test_what_cannot_be_read_is_not_measured_and_never_0(powercap, tmp_path):
    for folder in powercap.glob("*:*"):
        (folder / "energy_uj").unlink()
    nothing = energy_counters(powercap)
    assert not any(name.startswith("intel") for name in nothing)
    assert joules_between({}, {}) is None
    assert energy_text(None) == "not measured"
    assert energy_text(1234.5) == "1.23e+03 J"
    assert not any(name.startswith("intel") for name in energy_counters(tmp_path / "no such folder"))


def test_gpus_are_counted_by_nvml_where_it_is_there(monkeypatch, tmp_path):
    told = iter([4_000, 9_000])
    nvml = SimpleNamespace(
        NVMLError=OSError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetTotalEnergyConsumption=lambda device: next(told),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    before = energy_counters(tmp_path)
    assert joules_between(before, energy_counters(tmp_path)) == pytest.approx(5.0)


def test_gpus_without_a_driver_or_a_counter_are_left_out(monkeypatch, tmp_path):
    class NVMLError(Exception):
        """As the library's own."""

    def refused(*_):
        raise NVMLError("not supported")

    closed = []
    nvml = SimpleNamespace(NVMLError=NVMLError, nvmlInit=refused, nvmlShutdown=lambda: closed.append(True))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert energy_counters(tmp_path) == {}
    assert not closed
    nvml.nvmlInit, nvml.nvmlDeviceGetCount, nvml.nvmlDeviceGetHandleByIndex = (lambda: None), (lambda: 1), refused
    assert energy_counters(tmp_path) == {}
    assert closed


def test_a_counter_that_was_reset_says_nothing():
    assert joules_between({"gpu:0": Counter(5.0, None)}, {"gpu:0": Counter(1.0, None)}) is None


def test_a_meter_reads_again_and_keeps_nvml_open(monkeypatch, powercap):
    told, opened = iter([4_000, 4_000, 9_000]), []
    nvml = SimpleNamespace(
        NVMLError=OSError,
        nvmlInit=lambda: opened.append("opened"),
        nvmlShutdown=lambda: opened.append("closed"),
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetTotalEnergyConsumption=lambda device: next(told),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    read = energy_meter(powercap)
    before = read()
    (powercap / "intel-rapl:0" / "energy_uj").write_text("6000000\n")
    assert joules_between(before, read()) == pytest.approx(1.0 + 5.0)
    assert opened == ["opened"]


def test_a_meter_of_a_machine_that_does_not_tell_asks_no_more(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    read = energy_meter(tmp_path)
    monkeypatch.setattr(energy, "_package_counters", lambda root: pytest.fail("asked again"))
    assert read() == {}


def test_what_is_too_little_or_may_have_wrapped_twice_is_no_record():
    before, after = {"a": Counter(1.0, 65_000.0), "gone": Counter(0.0, None)}, {"a": Counter(3.5, 65_000.0)}
    assert energy_record(before, after, 1.0) == {"machine_j": 2.5, "counters": ["a"]}
    assert energy_record(before, before, 1.0) is None
    assert energy_record(before, after, 65.0) is None  # at a kilowatt it may have wrapped, and wrapped again
    assert energy_record({}, {}, 1.0) is None


# --- Of trials. ---


def test_a_trial_holds_what_the_machine_took_meanwhile_and_the_leaderboard_shows_it(
    monkeypatch, powercap, results, tiny_suite
):
    def ticking():
        """As a package that has taken 2.5 J since it was read last."""
        path = powercap / "intel-rapl:1" / "energy_uj"
        path.write_text(f"{int(path.read_text()) + 2_500_000}\n")
        return energy_counters(powercap)

    note = read_suite(results)
    silent = dict(stored_trials(results, note["trials"]))
    assert not any("(J)" in column.name for column in timings_to_rich(build_timings(silent.values())).columns)
    played, first = tiny_suite.trials[0], note["trials"][0]
    shutil.rmtree(trial_directory(results, first))
    monkeypatch.setattr(trial, "_opened_meter", lambda: ticking)
    monkeypatch.setattr(energy, "_MOST_W", 0.0)  # these packages wrap at 10 J
    trial.run_trial(played, first, results)
    expected = {"machine_j": pytest.approx(2.5), "counters": ["intel-rapl:0", "intel-rapl:1"]}

    found = dict(stored_trials(results, note["trials"]))
    assert found[first].manifest["energy"] == expected
    assert found[first].trace.drop("elapsed_s").equals(silent[first].trace.drop("elapsed_s"))
    assert all("energy" not in found[name].manifest for name in note["trials"][1:])
    sheet = timings_to_rich(build_timings(found.values()))
    assert (sheet.title, sheet.columns[-1].name) == (
        "Median seconds and joules per trial",
        "Whole machine meanwhile (J)",
    )
    assert {row[0]: row[-1] for row in sheet.rows} == {"genetic_algorithm": "not measured", "random_search": "2.5"}

    assert compact(results, note["trials"], least=1) == len(note["trials"])
    moved = dict(stored_trials(results, note["trials"]))
    assert {name: each.manifest for name, each in moved.items()} == {n: each.manifest for n, each in found.items()}


@pytest.mark.parametrize("wrong", [3.5, {"machine_j": -1.0, "counters": []}, {"machine_j": 1.0}])
def test_joules_that_cannot_be_are_named(wrong, results, first_trial):
    path = first_trial / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"energy": wrong}), encoding="utf-8")
    with pytest.raises(CorruptResultError, match=r"manifest\.json: 'energy.*' is missing or of the wrong type"):
        read_trial(first_trial)
