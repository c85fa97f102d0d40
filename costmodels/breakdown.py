"""One design's costs in detail, as a user reads them: the same shape for every family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Breakdown"]


@dataclass(frozen=True)
class Breakdown:
    """Totals and parts of one design's costs.

    Attributes:
        totals: {quantity, the unit in its name: value}.
        rows: one mapping per part (layer, task, buffer, ...), the same keys in each.
        notes: what is synthetic or uncalibrated.
        summary: {what the design comes to: how much}, where its parameters are too fine to be read: `dsegym optimize`
            then shows these in their place.
    """

    totals: Mapping[str, float | str | None]
    rows: Sequence[Mapping[str, float | str | None]]
    notes: Sequence[str] = ()
    summary: Mapping[str, float] = field(default_factory=dict)
