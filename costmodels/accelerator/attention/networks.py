"""Workloads of the attention tier: by name from `networks.csv`, or by their sizes in a text.

| text | workload |
|---|---|
| BERT, TrXL, T5, XLM | a layer's attention, as FuseMax has it |
| 8x32x128, 8x32x128x64 | attention of sequences x heads x head width, and the width of a value where it differs |
| lstm_768x1, lstm_64x12 | a recurrent layer of 768 units in one head or twelve |
| lstm:16x4x256 | a recurrent layer of sequences x heads x head width |
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import InvalidOptionError
from ...files import whole_number
from ...tables import package_rows

__all__ = ["GRAMMAR", "Network", "network_rows", "network_text", "parse_network", "shipped_networks"]

MOST_SEQUENCES, MOST_HEADS, MOST_WIDTH = 4096, 1024, 1024
GRAMMAR = (
    "sequences x heads x head width as in 8x32x128, of a recurrent layer as in lstm:16x4x256 "
    f"(at most {MOST_SEQUENCES} x {MOST_HEADS} x {MOST_WIDTH})"
)
_MOST = {
    "sequences": MOST_SEQUENCES,
    "heads": MOST_HEADS,
    "head width": MOST_WIDTH,
    "value width": MOST_WIDTH,
}
_LSTM = "lstm:"


@dataclass(frozen=True)
class Network:
    """One layer, attention or recurrent."""

    kind: str  # attention or lstm
    batch: int  # sequences
    heads: int
    head_width: int  # words of a query, or units of a recurrent head
    value_width: int  # words of a value; of a recurrent head, its width


@functools.cache
def _networks() -> Mapping[str, Network]:
    return {
        row["name"]: Network(
            row["kind"],
            int(row["batch"]),
            int(row["heads"]),
            int(row["head_width"]),
            int(row["value_width"] or row["head_width"]),
        )
        for row in package_rows("accelerator/attention/networks.csv")
    }


def shipped_networks() -> tuple[Network, ...]:
    """The shipped ones."""
    return tuple(_networks().values())


def parse_network(given: object) -> Network:
    """The workload that a user means.

    Raises:
        ValueError: neither a name nor a text of sizes.
        InvalidOptionError: a size is out of range; says which.
    """
    text = str(given)
    if text in _networks():
        return _networks()[text]
    kind = "lstm" if text.startswith(_LSTM) else "attention"
    sizes = text.removeprefix(_LSTM).split("x")
    if len(sizes) not in ((3,) if kind == "lstm" else (3, 4)):
        raise ValueError
    try:
        batch, heads, width, *value = (
            whole_number(size, name, 1, most) for size, (name, most) in zip(sizes, _MOST.items(), strict=False)
        )
    except ValueError as error:
        if not all(size.strip().lstrip("+-").replace(".", "", 1).isdigit() for size in sizes):
            raise
        raise InvalidOptionError("model", text, [f"{GRAMMAR}; {error}"]) from None
    return Network(kind, batch, heads, width, value[0] if value else width)


def network_text(network: Network) -> str:
    """Its name, or the text of its sizes."""
    name = next((name for name, each in _networks().items() if each == network), None)
    sizes = f"{network.batch}x{network.heads}x{network.head_width}"
    value = f"x{network.value_width}" if network.value_width != network.head_width else ""
    return name or (f"{_LSTM}{sizes}" if network.kind == "lstm" else sizes + value)


def network_rows() -> list[dict[str, object]]:
    """The shipped ones, a row each, for people."""
    return [
        {
            "model": name,
            "kind": each.kind,
            "sequences": each.batch,
            "heads": each.heads,
            "head width": each.head_width,
        }
        for name, each in _networks().items()
    ]
