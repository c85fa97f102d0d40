"""Collections of request streams and of power-capped rows: what is trained on, and the others that are met.

The test part has fleets and rates that no training instance has, and one trace; and every score is taken on the later
part of a trace, of which searches and trainings see the earlier one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from ..core.collections import Collection

__all__ = ["POWER_ROWS", "SERVING_STREAM"]

_COMMON = {"requests": 48, "sequences": 24, "objective": "missed"}


def _streams(fleets: Iterable[str], traces: Iterable[str], rates: Iterable[float]) -> Sequence[Mapping[str, object]]:
    """Every fleet under every trace at every rate."""
    every = itertools.product(fleets, traces, rates)
    return [{"servers": fleet, "trace": trace, "rate": rate, **_COMMON} for fleet, trace, rate in every]


SERVING_STREAM = Collection(
    name="serving-stream",
    scenario="dsegym/ServingStream-v0",
    summary="unequal fleets at several rates; tested on other fleets, rates between and beyond, and a burstier trace",
    train=lambda: _streams(
        (
            *("2*rtx4090+1*rtxpro6000", "1*rtxpro6000+2*L4", "1*rtx4090+1*L4", "2*rtx4090"),
            # Else a slow server is always one that misses the target of TPOT, as the L4 is, which the A10G is not.
            *("1*A100-SXM-80GB+1*A40+1*L4", "1*L40S+2*V100-SXM-32GB", "1*H200-SXM-141GB+2*A40", "1*MI300X+1*L40S"),
        ),
        ("azure_conv", "poisson"),
        (8, 16, 32),
    ),
    validation=lambda: _streams(("1*rtx4090+2*L4",), ("azure_conv",), (12, 24)),
    test=lambda: [
        *_streams(("1*rtxpro6000+1*rtx4090+1*L4", "1*H100-SXM-80GB+2*A10G"), ("azure_conv",), (12, 24)),
        *_streams(("1*rtxpro6000+1*rtx4090+1*L4",), ("azure_code",), (4,)),
    ],
)
POWER_ROWS = Collection(
    name="power-rows",
    scenario="dsegym/PowerCap-v0",
    summary="rows with more servers than are fed, late caps and priorities between and beyond those trained on",
    train=lambda: [
        {"servers": servers, "delay": delay, "high": high}
        for servers in (48, 52, 54, 56)
        for delay in (20, 40, 80)
        for high in (0.3, 0.5, 0.7)
    ],
    validation=lambda: [{"servers": 53, "delay": 60, "high": high} for high in (0.4, 0.6)],
    test=lambda: [
        *({"servers": servers, "delay": 30, "high": high} for servers in (50, 55) for high in (0.4, 0.6)),
        {"servers": 58, "delay": 40, "high": 0.5},
        {"servers": 52, "delay": 120, "high": 0.5},
        {"servers": 52, "delay": 40, "high": 0.8},
    ],
)
