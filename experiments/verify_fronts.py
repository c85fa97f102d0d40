"""The fronts of a leaderboard that is verified: costed anew, and the same as its file's but for rounding."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..costmodels.errors import CorruptResultError
from ..envs.core.scenarios import BUILT_IN
from .door import read_json
from .publish import with_places
from .store import TrialResult

if TYPE_CHECKING:
    from .scoring.records import FrontTable, Leaderboard

__all__ = ["FRONT_TOLERANCE", "fronts_as_told"]

FRONT_TOLERANCE = 1e-5  # relative: between machines hypervolumes hold the float32 rounding of several costs
_MOST_BYTES = 2**28


def fronts_as_told(
    results: Path, board: Leaderboard, trials: Sequence[TrialResult], allow: Collection[str]
) -> tuple[FrontTable, ...]:
    """The fronts of trials, with the numbers of the directory's `leaderboard.json` where these are the same but for
    rounding: what is rendered of them is then that file, or not.

    Of another package's scenario the file may have none: its leaderboard was made without --allow.
    """
    from .scoring.instance_fronts import front_tables, instance_fronts
    from .scoring.scored_trials import read_trials

    if not trials:
        return ()
    found = front_tables(instance_fronts(with_places(board, results).instances, trials, read_trials(trials), allow))
    told = _told(results / "leaderboard" / "leaderboard.json", results)
    return tuple(
        _as_told(table, told.get(table.name)) for table in found if table.name in told or table.scenario in BUILT_IN
    )


def _told(path: Path, results: Path) -> Mapping[str, Any]:
    """{name: front} of a leaderboard's file; empty where it has none that could be read."""
    try:
        content = read_json(path, results, _MOST_BYTES)
    except CorruptResultError:
        return {}
    listed = content.get("fronts") if isinstance(content, dict) else None
    fronts = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return {each["name"]: each for each in fronts if isinstance(each.get("name"), str)}


def _as_told(found: Any, told: object) -> Any:
    """A record, with the numbers of a JSON value where they are near."""
    if is_dataclass(found) and not isinstance(found, type) and isinstance(told, dict):
        values = {each.name: getattr(found, each.name) for each in fields(found)}
        return replace(found, **_as_told(values, told))
    if isinstance(found, dict) and isinstance(told, dict):
        return {name: _as_told(value, told.get(name)) for name, value in found.items()}
    if isinstance(found, tuple) and isinstance(told, list) and len(found) == len(told):
        return tuple(map(_as_told, found, told))
    if isinstance(found, float) and isinstance(told, float) and math.isclose(found, told, rel_tol=FRONT_TOLERANCE):
        return told
    return found
