"""Batches: finished trials, a thousand of them in one Parquet file instead of a directory and two files each.

    RESULTS/batches/trials-<number>-<hash>.parquet    a row a trial: its manifest in parts, each as JSON; its samples as
                                                      lists; and a digest of it all. The file's name holds its own

A finished trial is in a directory of its own, `store.py`, or in a batch; `batch_writing.py` moves it from the one into
the other so that it can be found at every moment. Where both are there, a trial counts once: the first whole copy,
batches in order of name before directories.

Parts that trials share (instances, agents, versions) are read once and shared in memory, and samples only as they are
asked for: a hundred thousand trials take seconds and megabytes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..costmodels.errors import CorruptResultError, shortened
from ..costmodels.files import strict_json
from .door import LONGEST, Shape, check_folder, check_shape, read_file
from .layout import BATCHES, ID, TRIALS, check_format, trial_directory
from .parquet_tables import read_table
from .store import (
    FINISHED,
    MANIFEST_SHAPE,
    MEASURED_SHAPE,
    TRACE_COLUMNS,
    TrialResult,
    check_trace,
    holds_trial,
    read_trial,
)

if TYPE_CHECKING:
    import polars

__all__ = [
    "BATCH_NAME",
    "OF_TRIAL",
    "PARTS",
    "SAMPLE_COLUMNS",
    "DamagedTrialError",
    "Outline",
    "Rows",
    "batch_files",
    "batch_folder",
    "batched",
    "content_of",
    "is_as_named",
    "outline_of",
    "rows_of",
    "sound_trials",
    "stamp_of",
    "stored_trials",
    "strays",
    "table_of",
    "trials_of_batch",
]

# Of a batch that is read: rows, and bytes as a file, unpacked, and of the manifests' texts.
_MOST_ROWS, _MOST_FILE_BYTES, _MOST_BYTES, _MOST_TEXT_BYTES = 10_000, 2**29, 2**30, 2**28
BATCH_NAME = re.compile(r"trials-(\d{6,12})-([0-9a-f]{16})\.parquet")
SAMPLE_COLUMNS = {**TRACE_COLUMNS, "held_out": "Float64"}
# The parts of a manifest: those of its members that trials share stand apart from those that they do not.
OF_TRIAL = ("instance", "agent")
_TRIAL: Mapping[str, Shape] = MANIFEST_SHAPE["trial"]
PARTS: Mapping[str, Shape] = {
    **{name: shape for name, shape in MANIFEST_SHAPE.items() if name not in ("trial", "trial_id")},
    **{name: _TRIAL[name] for name in OF_TRIAL},
    "trial": {name: shape for name, shape in _TRIAL.items() if name not in OF_TRIAL},
    "more": dict,  # what else a manifest may hold
}
_UNSHARED = ("best", "seconds", "files")  # parts that no two trials have alike
_COLUMNS = {
    "trial_id": "String",
    **{f"manifest.{name}": "String" for name in PARTS},
    **{f"trace.{name}": f"List({kind})" for name, kind in SAMPLE_COLUMNS.items()},
    "has_held_out": "Boolean",
    "digest": "String",
}


@dataclass(frozen=True, eq=False)
class _Batch:
    """A batch in memory: `N` trials, `S` samples of all of them."""

    path: Path
    identifiers: list[str]  # [N]
    parts: dict[str, list[str]]  # [N] texts of each
    samples: polars.DataFrame  # [S]
    ends: list[int]  # [N + 1], where each trial's samples end and the next one's begin
    has_held_out: list[bool]  # [N]
    digests: list[str]  # [N]
    whole: bool  # whether the file is what its name says

    def trace(self, row: int) -> polars.DataFrame:
        """The samples of one trial."""
        samples = self.samples if self.has_held_out[row] else self.without_held_out
        return samples.slice(self.ends[row], self.ends[row + 1] - self.ends[row])

    @functools.cached_property
    def without_held_out(self) -> polars.DataFrame:
        """All samples, for trials that have no held-out values; dropping a column takes longer than a trial has."""
        return self.samples.drop("held_out")

    def texts(self, row: int) -> dict[str, str]:
        """The parts of one manifest."""
        return {name: texts[row] for name, texts in self.parts.items()}


def batch_folder(results: Path) -> Path:
    """Where batches lie."""
    return results / BATCHES


def batch_files(results: Path) -> list[Path]:
    """The batches, in order of name."""
    folder = batch_folder(results)
    if not folder.is_dir():
        return []
    check_folder(folder, results)
    return sorted(path for path in folder.iterdir() if BATCH_NAME.fullmatch(path.name))


def _digest(identifier: str, texts: Mapping[str, str], trace: polars.DataFrame) -> str:
    """64 hexadecimal digits of a trial, whatever libraries and machine it is on."""
    digest = hashlib.sha256(json.dumps([identifier, *(texts[name] for name in PARTS), trace.columns]).encode())
    for name in trace.columns:
        column = trace[name]
        if name == "design":
            digest.update(column.list.len().to_numpy().astype("<i8").tobytes())
            column = column.filter(column.list.len() > 0).explode()
        digest.update(column.is_null().to_numpy().tobytes())
        digest.update(column.fill_null(0).to_numpy().astype("<f8").tobytes())  # which holds int32, too
    return digest.hexdigest()


def _load(path: Path, root: Path) -> _Batch:
    """A batch from its file.

    Raises:
        CorruptResultError: it is no regular file, outside, no Parquet, of other columns, or too large.
    """
    import polars

    content = content_of(path, root)
    table = table_of(path, content)
    whole = is_as_named(path, content)
    del content
    texts = table.select(polars.col(polars.String))
    if sum(int(column.str.len_bytes().sum() or 0) for column in texts) > _MOST_TEXT_BYTES:
        raise CorruptResultError(f"{path}: its manifests have more than {_MOST_TEXT_BYTES:,} bytes, the most.")
    lists = [table[f"trace.{name}"].list.len() for name in SAMPLE_COLUMNS]
    if table.select(polars.exclude("^trace\\..*$").is_null().any()).row(0).count(True) or any(
        (lengths.is_null() | (lengths != lists[0])).any() for lengths in lists
    ):
        raise CorruptResultError(f"{path}: values are missing, or a trial's samples are not of one number.")
    some = table.select(polars.col(f"trace.{name}").alias(name) for name in SAMPLE_COLUMNS).filter(lists[0] > 0)
    return _Batch(
        path=path,
        identifiers=table["trial_id"].to_list(),
        parts={name: table[f"manifest.{name}"].to_list() for name in PARTS},
        samples=polars.DataFrame([column.explode() for column in some]),
        ends=[0, *np.cumsum(lists[0].to_numpy(), dtype=np.int64).tolist()],
        has_held_out=table["has_held_out"].to_list(),
        digests=table["digest"].to_list(),
        whole=whole,
    )


def content_of(path: Path, root: Path) -> bytes:
    """What the file of a batch holds.

    Raises:
        CorruptResultError: it is no regular file, outside, or too large.
    """
    return read_file(path, root, _MOST_FILE_BYTES)


def is_as_named(path: Path, content: bytes) -> bool:
    """Whether a batch holds what its name says."""
    match = BATCH_NAME.fullmatch(path.name)
    return match is not None and hashlib.sha256(content).hexdigest().startswith(match.group(2))


def table_of(path: Path, content: bytes, only: Sequence[str] | None = None) -> polars.DataFrame:
    """The rows of a batch, some of its columns or all.

    Raises:
        CorruptResultError: it is no Parquet, of other columns, or too large.
    """
    return read_table(path, content, [_COLUMNS], _too_many, _MOST_BYTES, only)


def _too_many(rows: int) -> str:
    return f"{rows} trials, where {_MOST_ROWS} are the most" if rows > _MOST_ROWS else ""


def stamp_of(path: Path) -> tuple[int, int]:
    """What changes when a file does."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=1)  # for samples are asked for in the order in which trials were read
def _loaded(path: Path, root: Path, stamp: tuple[int, int]) -> _Batch:
    return _load(path, root)


def _read(path: Path, root: Path) -> _Batch:
    """A batch, whose trials are yet to be looked at.

    Raises:
        CorruptResultError: it is no regular file, outside, no Parquet, of other columns, or too large.
    """
    return _loaded(path, root, stamp_of(path))


class Outline(NamedTuple):
    """What a batch is, without what its trials hold."""

    names: tuple[str, ...]  # the ids of its trials
    as_named: bool  # whether the file is what its name says


def outline_of(path: Path, root: Path) -> Outline:
    """What a batch is, kept while its file is the same: who has read its trials need not read it again.

    Raises:
        CorruptResultError: it is no regular file, outside, no Parquet, of other columns, or too large.
    """
    return _outline(path, root, stamp_of(path))


@functools.cache
def _outline(path: Path, root: Path, stamp: tuple[int, int]) -> Outline:
    batch = _loaded(path, root, stamp)
    return Outline(tuple(batch.identifiers), batch.whole)


class DamagedTrialError(CorruptResultError):
    """A trial of a batch that is not whole; the message names both.

    Attributes:
        batch: where it lies.
    """

    def __init__(self, message: str, batch: Path = Path()):
        super().__init__(message)
        self.batch = batch


class _GoneError(Exception):
    """A batch that was there a moment ago: its trials are in another one by now."""


def _loaded_if_there(path: Path, root: Path) -> _Batch:
    """A batch.

    Raises:
        _GoneError: it is there no more.
        CorruptResultError: as of `_load`.
    """
    try:
        return _read(path, root)
    except CorruptResultError:
        if os.path.lexists(path):
            raise
        raise _GoneError from None


def _trace_of(path: Path, root: Path, row: int, digest: str) -> polars.DataFrame:
    """The samples of a trial that was read before; its batch may have become part of a larger one meanwhile."""
    with contextlib.suppress(_GoneError):
        batch = _loaded_if_there(path, root)
        if row < len(batch.digests) and batch.digests[row] == digest:
            return batch.trace(row)
        raise CorruptResultError(f"{path}: it was changed while it was read.")
    read: set[Path] = set()
    while new := [other for other in batch_files(root) if other not in read]:
        read.update(new)
        for other in new:
            with contextlib.suppress(_GoneError):
                batch = _loaded_if_there(other, root)
                if digest in batch.digests:
                    return batch.trace(batch.digests.index(digest))
    raise CorruptResultError(f"{path}: it was changed while it was read.")


Shared = dict[tuple[str, str], Any]  # (part, text) to its value


def _manifest(place: str, identifier: str, texts: Mapping[str, str], shared: Shared) -> dict[str, Any]:
    """A manifest from its parts; those that are in `shared` are not read again."""
    values = {}
    for name, text in texts.items():
        value = shared.get((name, text), ...)
        if value is ...:
            try:
                value = strict_json(text)
            except ValueError as error:
                reason = shortened(error, LONGEST)
                raise CorruptResultError(f"{place}: '{name}' is not readable as JSON ({reason}).") from None
            if name == "format":
                check_format(place, {"format": value})
            check_shape(place, {name: value}, {name: PARTS[name]})
            if name == "more":
                check_shape(place, value, MEASURED_SHAPE)
            if name not in _UNSHARED and not (name == "more" and value):
                shared[name, text] = value
        values[name] = value
    trial = {**values.pop("trial"), **{name: values.pop(name) for name in OF_TRIAL}}
    manifest = {**values.pop("more"), **values, "trial_id": identifier, "trial": trial}
    check_shape(place, {"trial_id": identifier}, {"trial_id": MANIFEST_SHAPE["trial_id"]})
    if manifest["status"] != FINISHED:
        raise CorruptResultError(f"{place}: it is {manifest['status']}, where batches hold finished trials only.")
    return manifest


def _sound(samples: polars.DataFrame, ends: list[int]) -> bool:
    """Whether `check_trace` has nothing to say of any trial, held-out values apart: one look at all of them."""
    for name in TRACE_COLUMNS:
        if samples[name].null_count() or (name == "design" and samples[name].explode().null_count()):
            return False
    elapsed = samples["elapsed_s"].to_numpy()
    rises = np.diff(elapsed, prepend=0.0) >= 0
    starts = [start for start in ends[:-1] if start < len(elapsed)]
    rises[starts] = elapsed[starts] >= 0
    return bool(rises.all() and np.isfinite(elapsed).all())


def trials_of_batch(path: Path, root: Path, shared: Shared) -> Iterator[tuple[str, TrialResult | CorruptResultError]]:
    """The trials of a batch by id, and what is wrong with those that are not whole."""
    batch = _read(path, root)
    outline_of(path, root)  # while it is in memory
    sound = _sound(batch.samples, batch.ends)
    for row, identifier in enumerate(batch.identifiers):
        place = f"{path}, trial {shortened(identifier)}"
        try:
            texts = batch.texts(row)
            if not batch.whole and _digest(identifier, texts, batch.trace(row)) != batch.digests[row]:
                raise CorruptResultError(f"{place}: its contents do not match its digest (altered).")
            manifest = _manifest(place, identifier, texts, shared)
            used, budget = batch.ends[row + 1] - batch.ends[row], manifest["trial"]["samples"]
            if not used == manifest["samples_used"] <= budget:
                claimed = f"the manifest says {manifest['samples_used']} of a budget of {budget}"
                raise CorruptResultError(f"{place}: {used} samples, where {claimed}.")
            if not sound or batch.has_held_out[row]:
                check_trace(place, batch.trace(row))
            again = functools.partial(_trace_of, path, root, row, batch.digests[row])
            yield identifier, TrialResult(manifest, again)
        except CorruptResultError as error:
            yield identifier, DamagedTrialError(str(error), path)


def stored_trials(
    results: Path, identifiers: Collection[str]
) -> Iterator[tuple[str, TrialResult | CorruptResultError]]:
    """The trials of a results directory, wherever they lie.

    Args:
        results: the directory.
        identifiers: of the trials that are asked for.

    Returns:
        Those that are there: id and trial, or what is wrong with it; each once, in the order in which they are stored,
        which reads each file once. A batch that cannot be read at all comes last, by its name, if trials are missing.
    """
    wanted = dict.fromkeys(identifiers)
    damaged: dict[str, CorruptResultError] = {}
    unreadable: dict[str, CorruptResultError] = {}
    read: set[Path] = set()
    shared: Shared = {}

    def in_batches() -> Iterator[tuple[str, TrialResult]]:
        for path in batch_files(results):
            if path in read:
                continue
            read.add(path)
            try:
                for identifier, found in trials_of_batch(path, results, shared):
                    if identifier not in wanted:
                        continue
                    if isinstance(found, CorruptResultError):
                        damaged.setdefault(identifier, found)
                        continue
                    del wanted[identifier]
                    yield identifier, found
            except CorruptResultError as error:
                if os.path.lexists(path):  # it has not become part of a larger one meanwhile
                    unreadable[path.name] = error

    yield from in_batches()
    for identifier in list(wanted):
        directory = trial_directory(results, identifier)
        try:
            if directory.is_dir():
                found = read_trial(directory)
                del wanted[identifier]
                yield identifier, found
        except CorruptResultError as error:
            if directory.is_dir():  # it has not moved into a batch meanwhile
                damaged.setdefault(identifier, error)
    while wanted and any(path not in read for path in batch_files(results)):
        yield from in_batches()  # those that are new
    yield from ((identifier, damaged[identifier]) for identifier in wanted if identifier in damaged)
    if wanted.keys() - damaged.keys():
        yield from unreadable.items()


def sound_trials(results: Path, note: Mapping[str, Any]) -> Iterator[TrialResult]:
    """The trials of a results directory that are there, in the order in which they are stored.

    Args:
        results: the directory.
        note: its note, of `read_suite`.

    Raises:
        CorruptResultError: a trial is damaged; says what makes it again.
    """
    for _, found in stored_trials(results, note["trials"]):
        if isinstance(found, CorruptResultError):
            raise CorruptResultError(f"{found} `dsegym run` makes it again.")
        yield found


@dataclass(frozen=True)
class Rows:
    """What the trials of a batch are like: `N` of them."""

    names: tuple[str, ...]  # [N], their ids
    sound: tuple[str, ...]  # [N], the beginning of a sound one's digest, "" of a damaged one
    as_named: bool  # whether the file is what its name says

    @property
    def whole(self) -> dict[str, str]:
        """The ids of those that are sound, each with the first such digest."""
        found: dict[str, str] = {}
        for name, digest in zip(self.names, self.sound, strict=True):
            if digest:
                found.setdefault(name, digest)
        return found


def rows_of(path: Path, root: Path) -> Rows:
    """What the trials of a batch are like.

    Raises:
        CorruptResultError: as of `outline_of`.
    """
    return _rows_of(path, root, stamp_of(path))


@functools.cache
def _rows_of(path: Path, root: Path, stamp: tuple[int, int]) -> Rows:
    batch = _read(path, root)
    whole = [isinstance(found, TrialResult) for _, found in trials_of_batch(path, root, {})]
    sound = (digest[:16] if is_whole else "" for digest, is_whole in zip(batch.digests, whole, strict=True))
    return Rows(tuple(batch.identifiers), tuple(sound), batch.whole)


def batched(results: Path) -> set[str]:
    """The ids of all trials that lie whole in batches; what cannot be read holds none."""
    found: set[str] = set()
    for path in batch_files(results):
        with contextlib.suppress(CorruptResultError):
            found.update(rows_of(path, results).whole)
    return found


def strays(results: Path, named: Collection[str]) -> list[str]:
    """The ids of trials in the directory that are not named: they are in no leaderboard."""
    folder = results / TRIALS
    others = {entry.name for entry in folder.iterdir()} - set(named) if folder.is_dir() else set()
    found = {name for name in others if re.fullmatch(ID.pattern, name) and holds_trial(folder / name)}
    for path in batch_files(results):
        with contextlib.suppress(CorruptResultError):
            identifiers = table_of(path, content_of(path, results), ["trial_id"])["trial_id"]
            found.update(name for name in set(identifiers) - set(named) if re.fullmatch(ID.pattern, name or ""))
    return sorted(found)
