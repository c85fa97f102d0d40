"""The energy that this machine has taken, where it tells: processors by RAPL, NVIDIA GPUs by NVML.

Counters are of whole packages and devices: a figure is the machine's, with whatever else ran on it. Where nothing is
measured the answer is None, never 0. Sources: the kernel's `Documentation/power/powercap/powercap.rst` (`energy_uj`
wraps at `max_energy_range_uj`); NVML's `nvmlDeviceGetTotalEnergyConsumption`, in mJ.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Counter", "energy_counters", "energy_meter", "energy_record", "energy_text", "joules_between"]

_POWERCAP = Path("/sys/class/powercap")
_MOST_W = 1_000.0  # that a package is taken to draw at most: sooner than this lets it, no counter wraps twice


class Counter(NamedTuple):
    """A counter of energy, as it was read."""

    joules: float
    wraps_at: float | None  # J; None where it does not


def energy_counters(root: Path = _POWERCAP) -> dict[str, Counter]:
    """What each package and GPU has counted so far; empty where the machine does not tell, or not to us.

    Args:
        root: the folder of power caps.
    """
    return _package_counters(root) | _gpu_counters()


def energy_meter(root: Path = _POWERCAP) -> Callable[[], dict[str, Counter]]:
    """What reads the counters again and again, in well below a millisecond: NVML stays open, and those that do not tell
    now are not asked again.

    Args:
        root: the folder of power caps.
    """
    nvml = _opened_nvml()
    if nvml is not None and not _read_gpus(nvml):
        nvml.nvmlShutdown()
        nvml = None
    has_packages = bool(_package_counters(root))

    def read() -> dict[str, Counter]:
        packages = _package_counters(root) if has_packages else {}
        return packages if nvml is None else packages | _read_gpus(nvml)

    return read


def _package_counters(root: Path) -> dict[str, Counter]:
    found = {}
    for folder in sorted(root.glob("*:*")):
        if folder.name.count(":") == 1:  # a package; parts of it have two
            with contextlib.suppress(OSError, ValueError):  # readable by root alone, on most systems
                micro, most = (int((folder / name).read_text()) for name in ("energy_uj", "max_energy_range_uj"))
                found[folder.name] = Counter(micro * 1e-6, most * 1e-6)
    return found


def _gpu_counters() -> dict[str, Counter]:
    nvml = _opened_nvml()
    if nvml is None:
        return {}
    try:
        return _read_gpus(nvml)
    finally:
        nvml.nvmlShutdown()


def _opened_nvml() -> Any:
    """NVML, to be shut down; None where it is not installed, or finds no driver or no GPU."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def _read_gpus(nvml: Any) -> dict[str, Counter]:
    found = {}
    with contextlib.suppress(nvml.NVMLError):  # a GPU that does not count its energy
        for number in range(nvml.nvmlDeviceGetCount()):
            device = nvml.nvmlDeviceGetHandleByIndex(number)
            found[f"gpu:{number}"] = Counter(nvml.nvmlDeviceGetTotalEnergyConsumption(device) * 1e-3, None)
    return found


def joules_between(before: Mapping[str, Counter], after: Mapping[str, Counter]) -> float | None:
    """J that all counters of both readings have counted in between; None where there is none.

    A counter that stands lower than before has wrapped, once: packages take minutes to do so.
    """
    both = before.keys() & after.keys()
    if not both:
        return None
    total = 0.0
    for name in both:
        taken = after[name].joules - before[name].joules
        wraps_at = after[name].wraps_at
        if taken < 0 and wraps_at is None:
            return None  # it was reset
        total += taken if taken >= 0 else taken + (wraps_at or 0.0)
    return total


def energy_record(
    before: Mapping[str, Counter], after: Mapping[str, Counter], elapsed_s: float
) -> dict[str, Any] | None:
    """What a manifest says of the energy that the whole machine took while a trial ran; None where it is not known.

    Not known are also what is too little for the counters, and times in which a counter may have wrapped twice.

    Args:
        before, after: the counters at either end.
        elapsed_s: s between them.

    Returns:
        `machine_j`: J of all that ran on the machine meanwhile, other workers' trials too. `counters`: the names of
        those that it is the sum of.
    """
    wraps_at = [each.wraps_at for each in before.values() if each.wraps_at is not None]
    if any(elapsed_s * _MOST_W >= most for most in wraps_at):
        return None
    joules = joules_between(before, after)
    return {"machine_j": joules, "counters": sorted(before.keys() & after.keys())} if joules else None


def energy_text(joules: float | None) -> str:
    """In words, for tables."""
    return "not measured" if joules is None else f"{joules:.3g} J"
