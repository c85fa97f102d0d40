"""Whether instances may be made in this process. In an agent's they may not: nobody would count what they evaluate."""

from __future__ import annotations

from ...costmodels.errors import DsegymError

__all__ = ["check_door", "close_door"]

_reasons: list[str] = []


def close_door(reason: str) -> None:
    """From now on no instance is made here; `reason` is the sentence that says so."""
    _reasons.append(reason)


def check_door() -> None:
    """Raises `DsegymError` where the door is closed."""
    if _reasons:
        raise DsegymError(_reasons[-1])
