"""Batches: finished trials, a thousand of them in one Parquet file instead of a directory and two files each.

    RESULTS/batches/trials-<number>-<hash>.parquet    a row a trial: its manifest in parts, each as JSON; its samples as
                                                      lists; and a digest of it all. The file's name holds its own

A trial is in one directory first, `store.py`, and may move into a batch once it is finished, for then nothing replaces
it. It moves so that it can be found at every moment: the batch is written under another name, synced and renamed, and
only then do the directories go, each by a rename. Killed in between, both are there, and a trial counts once: the first
whole copy, batches in order of name before directories.

Parts that trials share (instances, agents, versions) are read once and shared in memory, and samples only as they are
asked for: a hundred thousand trials take seconds and megabytes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..costmodels.errors import CorruptResultError, shortened
from ..costmodels.files import strict_json
from .door import LONGEST, Shape, check_folder, check_shape, read_file, sync_folder, write_by_rename
from .layout import BATCHES, check_format, trial_directory
from .parquet_footer import footer_of
from .parquet_tables import read_table
from .store import MANIFEST_SHAPE, MEASURED_SHAPE, TRACE_COLUMNS, TrialResult, check_trace, read_trial
from .whole_folders import partial_of

if TYPE_CHECKING:
    import polars

__all__ = [
    "MOST_TRIALS",
    "batched",
    "compact",
    "merge_batches",
    "numbers_of",
    "sound_trials",
    "store_batch",
    "stored_trials",
    "strays",
]

MOST_TRIALS = 1_000  # of a batch that is written
_SMALL_TRIALS = 500  # up to which a batch becomes part of a larger one
_MOST_NUMBERS = 2**24  # of their samples: 200 MB at most, as batches are read as a whole
# Of a batch that is read: rows, and bytes as a file, unpacked, and of the manifests' texts.
_MOST_ROWS, _MOST_FILE_BYTES, _MOST_BYTES, _MOST_TEXT_BYTES = 10_000, 2**29, 2**30, 2**28
_NAME = re.compile(r"trials-(\d{6,12})-([0-9a-f]{16})\.parquet")
_TRACE = {**TRACE_COLUMNS, "held_out": "Float64"}
# The parts of a manifest: those of its members that trials share stand apart from those that they do not.
_OF_TRIAL = ("instance", "agent")
_TRIAL: Mapping[str, Shape] = MANIFEST_SHAPE["trial"]
_PARTS: Mapping[str, Shape] = {
    **{name: shape for name, shape in MANIFEST_SHAPE.items() if name not in ("trial", "trial_id")},
    **{name: _TRIAL[name] for name in _OF_TRIAL},
    "trial": {name: shape for name, shape in _TRIAL.items() if name not in _OF_TRIAL},
    "more": dict,  # what else a manifest may hold
}
_UNSHARED = ("best", "seconds", "files")  # parts that no two trials have alike
_COLUMNS = {
    "trial_id": "String",
    **{f"manifest.{name}": "String" for name in _PARTS},
    **{f"trace.{name}": f"List({kind})" for name, kind in _TRACE.items()},
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


def _folder(results: Path) -> Path:
    return results / BATCHES


def _files(results: Path) -> list[Path]:
    """The batches, in order of name."""
    folder = _folder(results)
    if not folder.is_dir():
        return []
    check_folder(folder, results)
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def _digest(identifier: str, texts: Mapping[str, str], trace: polars.DataFrame) -> str:
    """64 hexadecimal digits of a trial, whatever libraries and machine it is on."""
    digest = hashlib.sha256(json.dumps([identifier, *(texts[name] for name in _PARTS), trace.columns]).encode())
    for name in trace.columns:
        column = trace[name]
        if name == "design":
            digest.update(column.list.len().to_numpy().astype("<i8").tobytes())
            column = column.filter(column.list.len() > 0).explode()
        digest.update(column.is_null().to_numpy().tobytes())
        digest.update(column.fill_null(0).to_numpy().astype("<f8").tobytes())  # which holds int32, too
    return digest.hexdigest()


# Reading --------------------------------------------------------------------------------------------------------------


def _load(path: Path, root: Path) -> _Batch:
    """A batch from its file.

    Raises:
        CorruptResultError: it is no regular file, outside, no Parquet, of other columns, or too large.
    """
    import polars

    content = read_file(path, root, _MOST_FILE_BYTES)
    table = read_table(path, content, [_COLUMNS], _too_many, _MOST_BYTES)
    match = _NAME.fullmatch(path.name)
    whole = match is not None and hashlib.sha256(content).hexdigest().startswith(match.group(2))
    del content
    texts = table.select(polars.col(polars.String))
    if sum(int(column.str.len_bytes().sum() or 0) for column in texts) > _MOST_TEXT_BYTES:
        raise CorruptResultError(f"{path}: its manifests have more than {_MOST_TEXT_BYTES:,} bytes, the most.")
    lists = [table[f"trace.{name}"].list.len() for name in _TRACE]
    if table.select(polars.exclude("^trace\\..*$").is_null().any()).row(0).count(True) or any(
        (lengths.is_null() | (lengths != lists[0])).any() for lengths in lists
    ):
        raise CorruptResultError(f"{path}: values are missing, or a trial's samples are not of one number.")
    some = table.select(polars.col(f"trace.{name}").alias(name) for name in _TRACE).filter(lists[0] > 0)
    return _Batch(
        path=path,
        identifiers=table["trial_id"].to_list(),
        parts={name: table[f"manifest.{name}"].to_list() for name in _PARTS},
        samples=polars.DataFrame([column.explode() for column in some]),
        ends=[0, *np.cumsum(lists[0].to_numpy(), dtype=np.int64).tolist()],
        has_held_out=table["has_held_out"].to_list(),
        digests=table["digest"].to_list(),
        whole=whole,
    )


def _too_many(rows: int) -> str:
    return f"{rows} trials, where {_MOST_ROWS} are the most" if rows > _MOST_ROWS else ""


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=1)  # for samples are asked for in the order in which trials were read
def _loaded(path: Path, root: Path, stamp: tuple[int, int]) -> _Batch:
    return _load(path, root)


class _GoneError(Exception):
    """A batch that was there a moment ago: its trials are in another one by now."""


def _loaded_if_there(path: Path, root: Path) -> _Batch:
    """A batch.

    Raises:
        _GoneError: it is there no more.
        CorruptResultError: as of `_load`.
    """
    try:
        return _loaded(path, root, _stamp(path))
    except CorruptResultError:
        if path.exists():
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
    while new := [other for other in _files(root) if other not in read]:
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
            check_shape(place, {name: value}, {name: _PARTS[name]})
            if name == "more":
                check_shape(place, value, MEASURED_SHAPE)
            if name not in _UNSHARED and not (name == "more" and value):
                shared[name, text] = value
        values[name] = value
    trial = {**values.pop("trial"), **{name: values.pop(name) for name in _OF_TRIAL}}
    manifest = {**values.pop("more"), **values, "trial_id": identifier, "trial": trial}
    check_shape(place, {"trial_id": identifier}, {"trial_id": MANIFEST_SHAPE["trial_id"]})
    if manifest["status"] != "finished":
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


def _trials(path: Path, root: Path, shared: Shared) -> Iterator[tuple[str, TrialResult | CorruptResultError]]:
    """The trials of a batch by id, and what is wrong with those that are not whole."""
    batch = _loaded(path, root, _stamp(path))
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
            yield identifier, error


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
        for path in _files(results):
            if path in read:
                continue
            read.add(path)
            try:
                for identifier, found in _trials(path, results, shared):
                    if identifier not in wanted:
                        continue
                    if isinstance(found, CorruptResultError):
                        damaged.setdefault(identifier, found)
                        continue
                    del wanted[identifier]
                    yield identifier, found
            except CorruptResultError as error:
                if path.exists():  # it has not become part of a larger one meanwhile
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
    while wanted and any(path not in read for path in _files(results)):
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


@functools.cache
def _whole(path: Path, root: Path, stamp: tuple[int, int]) -> frozenset[str]:
    """The ids of the trials of a batch that are whole."""
    return frozenset(name for name, found in _trials(path, root, {}) if isinstance(found, TrialResult))


def batched(results: Path) -> set[str]:
    """The ids of all trials that lie whole in batches; what cannot be read holds none."""
    found = set()
    for path in _files(results):
        try:
            found |= _whole(path, results, _stamp(path))
        except CorruptResultError:
            continue
    return found


def strays(results: Path, named: Collection[str]) -> list[str]:
    """The ids of trials in the directory that are not named: they are in no leaderboard."""
    folder = results / "trials"
    found = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    for path in _files(results):
        try:
            content = read_file(path, results, _MOST_FILE_BYTES)
            found.update(read_table(path, content, [_COLUMNS], _too_many, _MOST_BYTES, ["trial_id"])["trial_id"])
        except CorruptResultError:
            continue
    return sorted(name for name in found - set(named) if re.fullmatch("[0-9a-f]{16}", name))


# Writing --------------------------------------------------------------------------------------------------------------


def compact(results: Path, identifiers: Collection[str], *, least: int = MOST_TRIALS) -> int:
    """Moves finished trials from directories of their own into batches.

    Args:
        results: the directory; others may read it and write to it meanwhile.
        identifiers: of the trials that may move, in the order in which they shall lie.
        least: trials that a batch must have; fewer stay where they are.

    Returns:
        How many have moved.

    Raises:
        CorruptResultError: the folder of the batches leads out of the directory.
        OSError: a batch cannot be written (a full disk); every trial is where it was.
    """
    there = _directories(results)
    loose = [identifier for identifier in identifiers if identifier in there]
    if not loose:
        return 0
    moved = batched(results).intersection(loose)  # killed before the directories went, or run twice at once
    for identifier in moved:
        _remove(results, identifier)
    loose = [identifier for identifier in loose if identifier not in moved]
    waiting: list[TrialResult] = []
    numbers = count = 0
    for identifier in loose if len(loose) >= least else ():
        try:
            found = read_trial(trial_directory(results, identifier))
        except CorruptResultError:
            continue  # damaged, or another process has moved it
        if found.manifest["status"] != "finished" or found.manifest["trial_id"] != identifier:
            continue
        size = numbers_of(found)
        if size > _MOST_NUMBERS:
            continue
        if len(waiting) == MOST_TRIALS or numbers + size > _MOST_NUMBERS:
            count += _move(results, waiting)
            waiting, numbers = [], 0
        waiting.append(found)
        numbers += size
    if len(waiting) >= least:
        count += _move(results, waiting)
    return count


def store_batch(results: Path, trials: Sequence[TrialResult]) -> None:
    """Stores finished trials that have no directories, in one batch.

    Args:
        results: the directory; others may read it and write to it meanwhile.
        trials: at most `MOST_TRIALS`, each once. What directories hold of them, an attempt that failed say, goes.

    Raises:
        CorruptResultError: the folder of the batches leads out of the directory.
        OSError: the batch cannot be written (a full disk); nothing of it is there.
    """
    _write(results, _table(trials))
    for identifier in _directories(results).intersection(trial.manifest["trial_id"] for trial in trials):
        _remove(results, identifier)


def merge_batches(results: Path) -> int:
    """Makes one of many small batches, each of which goes when the large one is there, and is what was written.

    Returns:
        How many have gone.

    Raises:
        As `store_batch`; every batch is where it was then.
    """
    small = []
    for path in _files(results):
        with contextlib.suppress(CorruptResultError):  # it cannot be read, or another process has merged it
            rows, samples = _size(path, results, _stamp(path))
            if 0 < rows <= _SMALL_TRIALS:
                small.append((path, rows, samples))
    count, group, trials, numbers = 0, [], 0, 0
    for path, rows, size in small:
        if trials + rows > MOST_TRIALS or numbers + size > _MOST_NUMBERS:
            count += _merge(results, group)
            group, trials, numbers = [], 0, 0
        group.append(path)
        trials, numbers = trials + rows, numbers + size
    return count + (_merge(results, group) if trials > _SMALL_TRIALS else 0)


@functools.cache
def _size(path: Path, root: Path, stamp: tuple[int, int]) -> tuple[int, int]:
    """The trials of a batch, and the numbers of their samples at most; no trials where it is not what its name says."""
    content = read_file(path, root, _MOST_FILE_BYTES)
    match = _NAME.fullmatch(path.name)
    if match is None or not hashlib.sha256(content).hexdigest().startswith(match.group(2)):
        return 0, 0
    try:
        footer = footer_of(content)
    except ValueError:
        return 0, 0
    return footer.rows, footer.unpacked_bytes // 4


def _merge(results: Path, paths: Sequence[Path]) -> int:
    if len(paths) < 2:
        return 0
    import polars

    tables = []
    for path in paths:
        content = read_file(path, results, _MOST_FILE_BYTES)
        tables.append(read_table(path, content, [_COLUMNS], _too_many, _MOST_BYTES))
    table = polars.concat(tables)
    written = _write(results, table)
    content = read_file(written, results, _MOST_FILE_BYTES)
    if not read_table(written, content, [_COLUMNS], _too_many, _MOST_BYTES).equals(table):
        raise OSError(f"{written}: what was written is not what is read")
    for path in paths:
        if path != written:
            path.unlink(missing_ok=True)
    return len(paths)


def _directories(results: Path) -> set[str]:
    """The names of what lies among the trials' directories."""
    folder = results / "trials"
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def numbers_of(trial: TrialResult) -> int:
    """How many numbers a trial's samples are."""
    trace = trial.trace
    return trace.height * len(_TRACE) + (trace.height * len(trace["design"][0]) if trace.height else 0)


def _move(results: Path, trials: list[TrialResult]) -> int:
    """Writes a batch, and then removes the directories."""
    names = [trial.manifest["trial_id"] for trial in trials]
    path = _write(results, _table(trials))
    if set(dict(_trials(path, results, {}))) != set(names):
        raise OSError(f"{path}: what was written is not what is read")
    for identifier in names:
        _remove(results, identifier)
    return len(names)


def _table(trials: Sequence[TrialResult]) -> polars.DataFrame:
    """The rows of a batch, all columns at once: polars takes as long for an operation on one trial."""
    import polars

    identifiers = [trial.manifest["trial_id"] for trial in trials]
    rows = [_texts(trial.manifest) for trial in trials]
    traces = [trial.trace for trial in trials]
    heights = np.array([trace.height for trace in traces], dtype=np.int64)
    held_out = ["held_out" in trace.columns for trace in traces]
    samples = polars.concat(traces, how="diagonal")
    if "held_out" not in samples.columns:
        samples = samples.with_columns(polars.lit(None, dtype=polars.Float64).alias("held_out"))
    samples = samples.select(*_TRACE)
    row = polars.Series("row", np.repeat(np.arange(len(traces)), heights), dtype=polars.Int64)
    lists = samples.with_columns(row).group_by("row", maintain_order=True).agg(polars.all())
    if lists.height < len(traces):  # some trials have no sample
        everyone = polars.DataFrame({"row": polars.Series(range(len(traces)), dtype=polars.Int64)})
        empty = {name: polars.Series([[]], dtype=kind) for name, kind in lists.schema.items() if name != "row"}
        lists = everyone.join(lists, on="row", how="left", maintain_order="left").with_columns(
            polars.col(name).fill_null(polars.lit(values)) for name, values in empty.items()
        )
    series = [polars.Series("trial_id", identifiers)]
    series += [polars.Series(f"manifest.{name}", [texts[name] for texts in rows]) for name in _PARTS]
    series += [lists[name].alias(f"trace.{name}") for name in _TRACE]
    series.append(polars.Series("has_held_out", held_out))
    ends = [0, *np.cumsum(heights).tolist()]
    series.append(polars.Series("digest", _digests(identifiers, rows, samples, ends, held_out)))
    return polars.DataFrame(series)


def _texts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The parts of a manifest, each as JSON."""
    parts = dict(manifest)
    del parts["trial_id"]
    rest = dict(parts.pop("trial"))
    known = {name: rest.pop(name) for name in _OF_TRIAL} | {"trial": rest}
    known |= {name: parts.pop(name) for name in _PARTS if name in parts}
    known["more"] = parts
    return {name: json.dumps(known[name], ensure_ascii=False, allow_nan=False) for name in _PARTS}


def _digests(
    identifiers: Sequence[str],
    texts: Sequence[Mapping[str, str]],
    samples: polars.DataFrame,
    ends: Sequence[int],
    has_held_out: Sequence[bool],
) -> list[str]:
    """What `_digest` says of each trial, from the samples of all, none of whose designs is missing."""
    lengths = samples["design"].list.len().to_numpy().astype("<i8")
    borders = np.concatenate([[0], np.cumsum(lengths)])
    design = samples["design"].filter(samples["design"].list.len() > 0).explode()
    columns = {
        name: (column.is_null().to_numpy(), column.fill_null(0).to_numpy().astype("<f8"))
        for name in _TRACE
        for column in (design if name == "design" else samples[name],)
    }
    found = []
    for row, identifier in enumerate(identifiers):
        start, end = ends[row], ends[row + 1]
        names = [name for name in _TRACE if has_held_out[row] or name != "held_out"]
        digest = hashlib.sha256(json.dumps([identifier, *(texts[row][name] for name in _PARTS), names]).encode())
        for name in names:
            first, last = start, end
            if name == "design":
                digest.update(lengths[start:end].tobytes())
                first, last = borders[start], borders[end]
            for values in columns[name]:
                digest.update(values[first:last].tobytes())
        found.append(digest.hexdigest())
    return found


def _write(results: Path, batch: polars.DataFrame) -> Path:
    """Writes a batch, which is there for good once this returns."""
    table = io.BytesIO()  # polars, given a path, reports a full disk as an error of its own
    batch.write_parquet(table)
    content = table.getvalue()
    folder = _folder(results)
    check_folder(folder, results)
    folder.mkdir(exist_ok=True)
    last = max((int(match.group(1)) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))), default=0)
    name = f"trials-{last + 1:06d}-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
    write_by_rename(folder / name, content, durable=True)
    sync_folder(results)  # which may have got the folder just now
    return folder / name


def _remove(results: Path, identifier: str) -> None:
    """Removes a trial's directory: by one rename, so that no half of it is ever met."""
    directory = trial_directory(results, identifier)
    gone = partial_of(directory)
    try:
        directory.rename(gone)
    except FileNotFoundError:
        return  # another process was first
    shutil.rmtree(gone, ignore_errors=True)
