"""Energy counters of a machine that tells, and of one that does not."""

import sys
from types import SimpleNamespace

import pytest

from dsegym.experiments.energy import Counter, energy_counters, energy_text, joules_between


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
