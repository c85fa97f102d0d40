"""Power of clusters: their operating points, from measured power profiles and a model of leakage.

A profile gives the power of a whole cluster with 1, 2, ... busy elements at a few frequencies; both these and all
frequencies with their voltages lie in tables/. Leakage of an element at V volts and T kelvin:

    (V C1 T^2 exp(-C2 / T) + I_gate V) / s,   s = 4, and 16 for the small cores of an A7 cluster

and dynamic power of a cluster with n busy elements at frequency f, from the first profiled frequency f' >= f:

    (profile(n) - leakage of the cluster at V') (f V^2) / (f' V'^2)

so that a busy cluster draws what the profile says at the profiled frequencies. Assumptions: leakage at one temperature,
since the reference's thermal model is not built; nothing is gated; a cluster of fewer elements than its profile has
figures takes the first ones; one of more goes on as the last step of the profile does, the profile being that of as
many elements as it has figures.

Source: DS3 (Arda et al., IEEE Transactions on Computers 69(8), 2020), an Odroid-XU3 board; see SOURCES.md.
"""

from __future__ import annotations

import math

from ..errors import UnknownNameError
from ..tables import package_rows
from .platform import OperatingPoint

__all__ = ["BASE_W", "KINDS", "TEMPERATURE_K", "leakage_w", "operating_points"]

TEMPERATURE_K = 315.0  # 42 C, the reference's ambient temperature
C1 = 0.002488  # W / (V K^2)
C2 = 2660.0  # K
GATE_CURRENT_A = 0.000519
BASE_W = 0.0473 + 0.1201  # memory and graphics, all the time
# The law is for a cluster of four big cores: a quarter each. Small cores have a quarter of the area.
LEAKAGE_SHARES = {"A7": 16}
LEAKAGE_SHARE = 4
KINDS = ("A7", "A15", "MM", "FFT", "VIT")


def leakage_w(kind: str, voltage_mv: int) -> float:
    """W, of one element of a kind of cluster at a supply voltage."""
    volts = voltage_mv / 1000.0
    of_cluster = volts * C1 * TEMPERATURE_K**2 * math.exp(-C2 / TEMPERATURE_K) + GATE_CURRENT_A * volts
    return of_cluster / LEAKAGE_SHARES.get(kind, LEAKAGE_SHARE)


def operating_points(kind: str, elements: int) -> tuple[OperatingPoint, ...]:
    """The operating points of a cluster, ascending by frequency.

    Args:
        kind: of the elements, one of `KINDS`.
        elements: how many the cluster has.

    Raises:
        UnknownNameError: a kind whose power is unknown.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of element", kind, KINDS)
    voltages = {
        int(row["frequency_mhz"]): int(row["voltage_mv"])
        for row in package_rows("soc/tables/operating_points.csv")
        if row["kind"] == kind
    }
    profiles = {
        int(row["frequency_mhz"]): [float(row[f"busy_{n}"]) for n in range(1, 5) if row[f"busy_{n}"]]
        for row in package_rows("soc/tables/power_profiles.csv")
        if row["kind"] == kind
    }
    points = []
    for frequency, voltage in sorted(voltages.items()):
        profiled = min(f for f in profiles if f >= frequency)
        watts = profiles[profiled]
        leakage = leakage_w(kind, voltages[profiled]) * min(elements, len(watts))
        scale = frequency * voltage**2 / (profiled * voltages[profiled] ** 2)
        dynamic = [0.0, *(watt - leakage for watt in watts)]
        while len(dynamic) <= elements:
            dynamic.append(2 * dynamic[-1] - dynamic[-2])
        points.append(
            OperatingPoint(
                frequency, voltage, leakage_w(kind, voltage), tuple(scale * watt for watt in dynamic[: elements + 1])
            )
        )
    return tuple(points)
