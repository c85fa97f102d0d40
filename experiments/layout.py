"""What a results directory holds: the names of its files and folders, and what all its JSON has in common.

    RESULTS/suite.json                      what was run: name, description, what the suite declares, trial ids
    RESULTS/trials/<trial id>/manifest.json everything but the samples
    RESULTS/trials/<trial id>/trace.parquet every sample: sample, objective, feasible, elapsed_s, design; held_out
    RESULTS/files/<hash>.<suffix>           copies of the users' files that instances are made from, and of the
                                            bounds that were kept beside them when the suite first ran
    RESULTS/batches/                        finished trials by the thousand, see `batches.py`
    RESULTS/evaluations/                    what policies are worth, see `evaluations.py`
    RESULTS/leaderboard/                    what `dsegym leaderboard` makes of it

JSON and Parquet only, never pickles. `suite_note.py` writes and reads the first, `store.py` trials, `kept_files.py` the
users' files; `identities.py` makes the ids.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..costmodels.errors import CorruptResultError
from .door import Each, Shape, Word, finite

__all__ = [
    "AGENT",
    "BATCHES",
    "COUNT",
    "EVALUATIONS",
    "FORMAT",
    "ID",
    "INSTANCE",
    "LABELS",
    "LEADERBOARD",
    "MANIFEST",
    "POSITIVE",
    "SUITE",
    "TRACE",
    "TRIALS",
    "check_format",
    "json_text",
    "trial_directory",
]

FORMAT = 1
SUITE, MANIFEST, TRACE = "suite.json", "manifest.json", "trace.parquet"
TRIALS = "trials"
BATCHES = "batches"  # the folder of finished trials, many to a file, see `batches.py`
EVALUATIONS = "evaluations"  # the folder of what policies are worth, see `evaluations.py`
LEADERBOARD = "leaderboard"
ID = Word("[0-9a-f]{16}", "16 hexadecimal digits")
COUNT: Shape = lambda value: type(value) is int and 0 <= value < 2**31  # noqa: E731
LABELS = Each(dict, str)
INSTANCE: Shape = {"scenario": str, "options": LABELS}
AGENT: Shape = {"name": str, "hyperparameters": Each(dict, (str, bool, finite)), "draw": (COUNT, None)}
POSITIVE: Shape = lambda value: finite(value) and value > 0  # noqa: E731


def trial_directory(results: Path, identifier: str) -> Path:
    """Where a trial's result lies."""
    return results / TRIALS / identifier


def json_text(content: Any) -> str:
    """JSON as results are written."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def check_format(path: Path | str, content: Any) -> None:
    """Another format has another shape: said first."""
    found = content.get("format") if isinstance(content, dict) else None
    if type(found) is int and found != FORMAT:
        raise CorruptResultError(
            f"{path}: format {found} where this version reads {FORMAT}. Run the suite again into another directory: "
            "`dsegym run SUITE --output DIRECTORY`."
        )
