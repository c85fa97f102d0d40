"""Collections of request streams: what routers are trained on, and the others that they meet.

The test part has fleets and rates that no training instance has, and one trace; and every score is taken on the later
part of a trace, of which searches and trainings see the earlier one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from ..core.collections import Collection

__all__ = ["SERVING_STREAM"]

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
        ("2*rtx4090+1*rtxpro6000", "1*rtxpro6000+2*L4", "1*rtx4090+1*L4", "2*rtx4090"),
        ("azure_conv", "poisson"),
        (8, 16, 32),
    ),
    validation=lambda: _streams(("1*rtx4090+2*L4",), ("azure_conv",), (12, 24)),
    test=lambda: [
        *_streams(("1*rtxpro6000+1*rtx4090+1*L4", "1*H100-SXM-80GB+2*A10G"), ("azure_conv",), (12, 24)),
        *_streams(("1*rtxpro6000+1*rtx4090+1*L4",), ("azure_code",), (4,)),
    ],
)
