"""Communication between accelerators of a node, alpha-beta: a latency, and bytes over a bus bandwidth.

    time = alpha + factor(n) x bytes / beta

Bytes are what each rank holds (all-reduce, all-to-all) or what all hold together afterwards (gather) or before
(scatter). Alpha and beta are fitted (`tables/collectives.csv`, with the error on the sizes that were held out) for
A100, H100 and H200 on NVSwitch; elsewhere they are assumed: 10 us and `ASSUMED_SHARE` of the link.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from ..arrays import Array
from ..errors import UnknownNameError
from ..tables import package_rows
from .devices import Device

__all__ = ["ASSUMED_LATENCY_S", "ASSUMED_SHARE", "COLLECTIVES", "Link", "collective_s", "link_of"]

Number: TypeAlias = "Array | float"

ASSUMED_LATENCY_S = 10e-6
ASSUMED_SHARE = 0.6  # of a link's one-directional bandwidth; the fitted ones reach 0.4 to 0.9

# Bytes that cross a rank's link over the message's, by the number of ranks.
COLLECTIVES: Mapping[str, Callable[[Number], Number]] = {
    "all_reduce": lambda n: 2 * (n - 1) / n,
    "all_gather": lambda n: (n - 1) / n,
    "reduce_scatter": lambda n: (n - 1) / n,
    "all_to_all": lambda n: (n - 1) / n,
    "p2p": lambda n: 1.0,
}


class Link(NamedTuple):
    """Alpha and beta of one collective; numbers that broadcast."""

    latency_s: Number
    bus_bytes_s: Number
    fitted: bool


@functools.cache
def _fits() -> Mapping[tuple[str, str, int], Link]:
    return {
        (row["device"], row["collective"], int(row["gpus"])): Link(
            float(row["latency_us"]) * 1e-6, float(row["bus_gb_s"]) * 1e9, True
        )
        for row in package_rows("transformers/tables/collectives.csv")
    }


def link_of(device: Device, collective: str, gpus: int) -> Link:
    """The link of a collective among so many accelerators of a node.

    Raises:
        UnknownNameError: there is no such collective.
    """
    if collective not in COLLECTIVES:
        raise UnknownNameError("collective", collective, COLLECTIVES)
    assumed = Link(ASSUMED_LATENCY_S, ASSUMED_SHARE * device.scale_up_bytes_s, False)
    return _fits().get((device.name, collective, gpus), assumed)


def collective_s(collective: str, size_bytes: Number, gpus: Number, link: Link) -> Number:
    """Seconds of one collective; 0 for a single accelerator, but for a send."""
    several = (gpus > 1) * 1.0 if collective != "p2p" else 1.0
    return several * (link.latency_s + COLLECTIVES[collective](gpus) * size_bytes / link.bus_bytes_s)
