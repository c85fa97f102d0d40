"""Which figures of the tables nothing that was at hand confirms, in words for users."""

from __future__ import annotations

from collections.abc import Iterable

from .architectures import architectures, checked_against
from .configurations import load_configuration
from .devices import OWN_SOURCE, Device

__all__ = ["unchecked_notes"]


def unchecked_notes(model: str, gpus: Iterable[Device], checked: str | None = None) -> tuple[str, ...]:
    """Sentences for a recalled model, a user's, devices that aiconfigurator's system files do not state, a user's.

    Args:
        model: of the table of architectures, or the path of a user's.
        gpus: what it runs on.
        checked: what the sizes of a model of another table were checked against.
    """
    notes: list[str] = []
    checked = checked_against(model) if model in architectures() else checked
    if checked is None:
        notes += load_configuration(model).notes
    elif checked == "recalled":
        notes.append(f"The sizes of {model} are recalled, and checked against its stated number of parameters alone.")
    devices = list(gpus)
    if own := [gpu.name for gpu in devices if gpu.source == OWN_SOURCE]:
        notes.append(f"The figures of {', '.join(own)} are yours, and nothing was measured on them here.")
    unchecked = [gpu.name for gpu in devices if not gpu.source.startswith(("aiconfigurator", OWN_SOURCE))]
    if unchecked:
        notes.append(f"The figures of {', '.join(unchecked)} were not checked against a vendor's text.")
    return tuple(notes)
