"""One design's costs in detail: every cascade, or kernel, on the same machine, the chosen one first in the totals."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence

import jax
import numpy as np

from ...breakdown import Breakdown
from . import recurrent
from .model import CASCADES, Attention, Hardware, Metrics, constants, evaluate_cascades
from .sizing import traffic_bound_bytes

__all__ = ["NOTES", "of_attention", "of_recurrent"]

_MACHINE_NOTE = (
    "Areas are the components of FuseMax's artifact, its buffer's scaled linearly; 0.045 mm2 for a GiB/s of DRAM's "
    "interface is chosen by us, so that bandwidth is not free."
)
_ROWS_NOTE = (
    "The rows are alternatives, each {what} on this design's machine with its tiles: their own best machines and tiles "
    "may be others ('--baseline' costs a rule's). A buffer share above 1 does not run."
)
NOTES: AnyMapping[str, tuple[str, ...]] = {
    "attention": (
        "Latencies and FuseMax's traffic are those of FuseMax's artifact, to its printed digits, at 256 elements a "
        "side, 400 GiB/s and 16 or 32 MiB; elsewhere the same law is extrapolated.",
        "FLAT's partial spills are our rule; the artifact's mapper spills more, below what limits its latency.",
        "Energies are the artifact's for each action times our own counts. They do not reproduce its energy of FuseMax "
        "over FLAT (0.79 there, about 1.0 here): do not rank cascades by energy alone.",
        _MACHINE_NOTE,
    ),
    "lstm": (
        "The recurrent layer is calibrated to nothing: FlashRNN's constraint on tiles is kept, not its times.",
        _MACHINE_NOTE,
    ),
}


def _shown(names: Sequence[str], what: str, costs: Metrics, chosen: str, bound_bytes: float) -> Breakdown:
    at = names.index(chosen)
    totals = {name: float(leaf[at]) for name, leaf in costs._asdict().items()}
    rows = [
        {what: name} | {field: float(leaf[place]) for field, leaf in costs._asdict().items()}
        for place, name in enumerate(names)
    ]
    over = {"least_traffic_bytes": bound_bytes, "traffic_over_least": totals["traffic_bytes"] / bound_bytes}
    return Breakdown(
        totals=totals | over,
        rows=rows,
        notes=(_ROWS_NOTE.format(what=what), *NOTES["attention" if what == "cascade" else "lstm"]),
    )


_cascades = jax.jit(evaluate_cascades)
_kernels = jax.jit(recurrent.evaluate_kernels)


def of_attention(hardware: Hardware, values: AnyMapping[str, object], layer: Attention) -> Breakdown:
    """Of an attention layer; `values` are the design's, with `cascade` and `block`."""
    costs = jax.device_get(_cascades(hardware, np.float32(values["block"]), layer))  # type: ignore[arg-type]
    least = traffic_bound_bytes(Attention(*map(float, layer)), int(hardware.buffer_kib))
    return _shown(CASCADES, "cascade", costs, str(values["cascade"]), least)


def of_recurrent(hardware: Hardware, values: AnyMapping[str, object], layer: recurrent.Recurrent) -> Breakdown:
    """Of a recurrent layer; `values` are the design's, with `kernel`, `batch_tile` and `gate_tile`."""
    tiles = (np.float32(values["batch_tile"]), np.float32(values["gate_tile"]))  # type: ignore[arg-type]
    costs = jax.device_get(_kernels(hardware, *tiles, layer))
    least = float(recurrent.least_words(layer)) * constants()["word_bytes"]
    return _shown(recurrent.KERNELS, "kernel", costs, str(values["kernel"]), least)
