"""Which figures of the tables nothing that was at hand confirms, in words for users."""

from __future__ import annotations

from collections.abc import Iterable

from .architectures import checked_against
from .devices import get_device

__all__ = ["unchecked_notes"]


def unchecked_notes(model: str, gpus: Iterable[str]) -> tuple[str, ...]:
    """A sentence for a recalled model, and one for the accelerators that no system file of aiconfigurator states."""
    notes = []
    if checked_against(model) == "recalled":
        notes.append(f"The sizes of {model} are recalled, and checked against its stated number of parameters alone.")
    unchecked = [gpu for gpu in gpus if not get_device(gpu).source.startswith("aiconfigurator")]
    if unchecked:
        notes.append(f"The figures of {', '.join(unchecked)} were not checked against a vendor's text.")
    return tuple(notes)
