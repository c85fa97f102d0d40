"""Trials as a results directory holds them: one folder each, which appears complete or not at all.

`held_out` is there only where scores are taken on held-out cases: the objective on them of each sample that was the
best so far when it came, null elsewhere.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..costmodels.errors import CorruptResultError
from .door import NOT_NEGATIVE, Each, Shape, check_shape, finite, read_file, read_json
from .layout import (
    AGENT,
    COUNT,
    ID,
    INSTANCE,
    LABELS,
    MANIFEST,
    POSITIVE,
    TRACE,
    check_format,
    json_text,
    trial_directory,
)
from .parquet_tables import read_table
from .scoring.statistics import incumbents
from .whole_folders import appearing

if TYPE_CHECKING:
    import polars

__all__ = [
    "FINISHED",
    "MANIFEST_SHAPE",
    "MEASURED_SHAPE",
    "STATUSES",
    "TRACE_COLUMNS",
    "TrialResult",
    "check_trace",
    "holds_trial",
    "is_finished",
    "read_trial",
    "write_trial",
]

FINISHED = "finished"  # the status of a trial whose search came to its end
STATUSES = (FINISHED, "failed", "timed_out")
_TRIAL: Shape = {"instance": INSTANCE, "agent": AGENT, "seed": COUNT, "samples": COUNT, "time_limit_s": POSITIVE}
_BEST: Shape = {
    "sample": COUNT,
    "design": Each(list, int),
    "decoded": dict,
    "objective": finite,
    "held_out?": (finite, None),
}
MANIFEST_SHAPE: Mapping[str, Shape] = {
    "format": int,
    "trial_id": ID,
    "trial": _TRIAL,
    "versions": LABELS,
    "identity": {"sources": Each(list, str), "files": LABELS},
    "status": lambda value: value in STATUSES,
    "message": str,
    "samples_used": COUNT,
    "objective": {"name": str, "unit": str},
    "reference": {"name": str, "value": finite, "source": str},
    "bound": {"kind": str, "value": finite, "source": str},
    "best": (_BEST, None),
    "seconds": dict.fromkeys(("agent", "cost_model", "overhead", "total"), finite),
    "files": LABELS,
}
# What a manifest may hold beside: where it is missing, it was not measured.
MEASURED_SHAPE: Mapping[str, Shape] = {"energy?": {"machine_j": NOT_NEGATIVE, "counters": Each(list, str)}}
# Bytes that a file of its kind can have; a trace of the largest budget that anyone has run is 1 % of this.
_MOST_BYTES = {MANIFEST: 2**24, TRACE: 2**30}
_MOST_SAMPLE_BYTES = 2**22  # unpacked: a design of a million parameters
TRACE_COLUMNS = {
    "sample": "Int32",
    "objective": "Float64",
    "feasible": "Boolean",
    "elapsed_s": "Float64",
    "design": "List(Int32)",
}


@dataclass(frozen=True)
class TrialResult:
    """A finished trial as the store holds it.

    Attributes:
        manifest: the trial, versions, status, yardsticks, best design, seconds, file hashes.
        table: every sample: sample (1 to S), objective, feasible, elapsed_s, design (list of indices), and `held_out`
            where scores are taken on held-out cases.
    """

    manifest: Mapping[str, Any]
    table: polars.DataFrame | Callable[[], polars.DataFrame]  # where it is read when it is asked for: what reads it

    @property
    def trace(self) -> polars.DataFrame:
        """Every sample."""
        return self.table() if callable(self.table) else self.table


def holds_trial(directory: Path) -> bool:
    """Whether something that was stored as a trial is there, damaged or not."""
    return directory.is_dir() and (directory / MANIFEST).is_file()


def is_finished(directory: Path) -> bool:
    """Whether a trial is there, whole, and came to its end."""
    try:
        return read_trial(directory).manifest["status"] == FINISHED
    except CorruptResultError:
        return False


def write_trial(results: Path, manifest: dict[str, Any], trace: polars.DataFrame) -> None:
    """Stores a trial; it appears by one rename.

    Args:
        results: the results directory.
        manifest: without `files`, which this fills in.
        trace: the samples.

    Raises:
        OSError: the disk is full, say; nothing is left behind.
    """
    with appearing(trial_directory(results, manifest["trial_id"]), is_finished) as partial:
        table = io.BytesIO()  # polars, given a path, reports a full disk as an error of its own
        trace.write_parquet(table)
        (partial / TRACE).write_bytes(table.getvalue())
        text = json_text({**manifest, "files": {TRACE: hashlib.sha256(table.getbuffer()).hexdigest()}})
        (partial / MANIFEST).write_text(text, encoding="utf-8")


def read_trial(directory: Path) -> TrialResult:
    """Reads one trial and checks that it is whole.

    Raises:
        CorruptResultError: a file is missing, truncated, altered, outside, no regular file, beyond all size or of
            another trial; names the file and the reason.
    """
    root = directory.parent.parent
    path = directory / MANIFEST
    manifest = read_json(path, root, _MOST_BYTES[MANIFEST])
    check_format(path, manifest)
    check_shape(path, manifest, {**MANIFEST_SHAPE, **MEASURED_SHAPE})
    if manifest["trial_id"] != directory.name:
        raise CorruptResultError(f"{directory}: the manifest is of the trial {manifest['trial_id']}.")
    path = directory / TRACE
    content = read_file(path, root, _MOST_BYTES[TRACE])
    if hashlib.sha256(content).hexdigest() != manifest["files"].get(TRACE):
        raise CorruptResultError(f"{path}: its contents do not match the hash in {MANIFEST} (truncated or altered).")
    budget, used = manifest["trial"]["samples"], manifest["samples_used"]
    with_held_out = {**TRACE_COLUMNS, "held_out": "Float64"}

    def wrong(rows: int) -> str:
        fits = rows == used <= budget
        return "" if fits else f"{rows} samples, where the manifest says {used} of a budget of {budget}"

    trace = read_table(path, content, (TRACE_COLUMNS, with_held_out), wrong, _MOST_SAMPLE_BYTES * (1 + used))
    check_trace(path, trace)
    return TrialResult(manifest, trace)


def check_trace(path: Path | str, trace: polars.DataFrame) -> None:
    """What must hold of a trace whatever its instance is.

    Raises:
        CorruptResultError: names the file and the reason.
    """
    for name in TRACE_COLUMNS:
        values = trace[name].explode() if name == "design" else trace[name]
        if values.null_count():
            raise CorruptResultError(f"{path}: '{name}' is missing in some samples.")
    elapsed = trace["elapsed_s"].to_numpy()
    if not (np.isfinite(elapsed).all() and (np.diff(elapsed, prepend=0.0) >= 0).all()):
        raise CorruptResultError(f"{path}: 'elapsed_s' does not rise from 0 in finite numbers.")
    if "held_out" in trace.columns:
        best = incumbents(trace["objective"].to_numpy(), trace["feasible"].to_numpy())
        if trace["held_out"].is_not_null().arg_true().to_list() != best.tolist():
            raise CorruptResultError(
                f"{path}: 'held_out' has values for other samples than those that were the best so far."
            )
