"""The energy that this machine has taken, where it tells: processors by RAPL, NVIDIA GPUs by NVML.

Counters are of whole packages and devices: a figure is the machine's, with whatever else ran on it. Where nothing is
measured the answer is None, never 0. Sources: the kernel's `Documentation/power/powercap/powercap.rst` (`energy_uj`
wraps at `max_energy_range_uj`); NVML's `nvmlDeviceGetTotalEnergyConsumption`, in mJ.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["Counter", "energy_counters", "energy_text", "joules_between"]

_POWERCAP = Path("/sys/class/powercap")


class Counter(NamedTuple):
    """A counter of energy, as it was read."""

    joules: float
    wraps_at: float | None  # J; None where it does not


def energy_counters(root: Path = _POWERCAP) -> dict[str, Counter]:
    """What each package and GPU has counted so far; empty where the machine does not tell, or not to us.

    Args:
        root: the folder of power caps.
    """
    found = {}
    for folder in sorted(root.glob("*:*")):
        if folder.name.count(":") == 1:  # a package; parts of it have two
            with contextlib.suppress(OSError, ValueError):  # readable by root alone, on most systems
                micro, most = (int((folder / name).read_text()) for name in ("energy_uj", "max_energy_range_uj"))
                found[folder.name] = Counter(micro * 1e-6, most * 1e-6)
    return found | _gpu_counters()


def _gpu_counters() -> dict[str, Counter]:
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return {}
    found = {}
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # no driver, or no GPU
        return found
    try:
        for number in range(nvml.nvmlDeviceGetCount()):
            device = nvml.nvmlDeviceGetHandleByIndex(number)
            found[f"gpu:{number}"] = Counter(nvml.nvmlDeviceGetTotalEnergyConsumption(device) * 1e-3, None)
    except nvml.NVMLError:  # a GPU that does not count its energy
        return found
    finally:
        nvml.nvmlShutdown()
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


def energy_text(joules: float | None) -> str:
    """In words, for tables."""
    return "not measured" if joules is None else f"{joules:.3g} J"
