"""Writing batches: finished trials move into them, and small batches become large ones. The format is `batches.py`.

Killed at any step, a run loses nothing: a batch is written under another name, synced and renamed, and only then do the
directories go, each by one rename, or the smaller batches.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..costmodels.errors import CorruptResultError
from .batches import (
    BATCH_NAME,
    OF_TRIAL,
    PARTS,
    SAMPLE_COLUMNS,
    Rows,
    batch_files,
    batch_folder,
    batched,
    content_of,
    is_as_named,
    rows_of,
    stamp_of,
    table_of,
    trials_of_batch,
)
from .door import check_folder, sync_folder, write_by_rename
from .layout import TRIALS, trial_directory
from .parquet_footer import footer_of
from .store import FINISHED, TrialResult, is_finished, read_trial
from .whole_folders import partial_of

if TYPE_CHECKING:
    import polars

__all__ = ["MOST_TRIALS", "compact", "mend_batches", "merge_batches", "numbers_of", "store_batch"]

MOST_TRIALS = 1_000  # of a batch of trials that move, are stored or are merged
_MOST_NUMBERS = 2**24  # of their samples: 200 MB at most, as batches are read as a whole
_SMALL_TRIALS = 500  # up to which a batch becomes part of a larger one
_MOST_MENDED_TRIALS = 5_000  # of a batch that is made of several that share some, or written anew
_MOST_MENDED_NUMBERS = 2 * _MOST_NUMBERS  # of the samples of those that it is made of


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
        if found.manifest["status"] != FINISHED:
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
    for path in batch_files(results):
        with contextlib.suppress(CorruptResultError):  # it cannot be read, or another process has merged it
            rows, samples = _size(path, results, stamp_of(path))
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


def mend_batches(results: Path) -> list[Path]:
    """Keeps each whole trial of the batches once, whatever made it two: a killed merge, two runs at once, a copy.

    A batch that is not what its name says is written anew, without those of its trials that are damaged.

    None goes whose trials are not whole in a batch that stays, or has become theirs. A damaged trial goes only where a
    whole one of its id is there.

    Returns:
        The batches that can be read and are still not as they should be: a damaged trial is yet to be run again, or
        they are too large to become one.

    Raises:
        As `store_batch`; every trial is where it was then.
    """
    found: dict[Path, Rows] = {}
    for path in batch_files(results):
        with contextlib.suppress(CorruptResultError):
            found[path] = rows_of(path, results)
    return [path for group in _sharing(found) if not _mend(results, group) for path in group]


def _sharing(found: Mapping[Path, Rows]) -> list[dict[Path, Rows]]:
    """Batches in groups that share trials, each in order of name."""
    groups: list[set[Path]] = []
    group_of: dict[str, set[Path]] = {}  # of each trial
    for path, rows in found.items():
        own = {path}
        for other in {id(group_of[name]): group_of[name] for name in rows.names if name in group_of}.values():
            own |= other
            groups.remove(other)
        groups.append(own)
        group_of |= dict.fromkeys((name for each in own for name in found[each].names), own)
    return [{path: found[path] for path in sorted(own)} for own in groups]


def _mend(results: Path, group: Mapping[Path, Rows]) -> bool:
    """Makes one batch of those that share trials; whether all is now as it should be.

    Of several that hold all, the last one stays: what goes, goes for one of more trials or of a later name, whoever
    mends or merges meanwhile, so that no two go for each other's sake.
    """
    first: dict[str, str] = {}  # the copies that count, by their digests
    for rows in group.values():
        first = {**rows.whole, **first}
    sound = [path for path, rows in group.items() if rows.as_named and "" not in rows.sound]
    holding = [path for path in sound if group[path].whole == first and len(group[path].names) == len(first)]
    if len(holding) == len(group) == 1:
        return True
    damaged = {name for rows in group.values() for name in rows.names} - first.keys()
    if not all(is_finished(trial_directory(results, name)) for name in damaged):
        return False
    kept = holding[-1] if holding else None
    if first and kept is None:
        kept = _written_anew(results, group, first)
        if kept is None:
            return False
    for path in group:
        if path != kept:
            path.unlink(missing_ok=True)
    return True


def _written_anew(results: Path, group: Mapping[Path, Rows], first: Mapping[str, str]) -> Path | None:
    """A batch of the copies that count; None where it would be too large."""
    import polars

    sizes = [_footer(path, content_of(path, results)) for path in group]
    numbers = sum(size[1] for size in sizes if size)
    if None in sizes or len(first) > _MOST_MENDED_TRIALS or numbers > _MOST_MENDED_NUMBERS:
        return None
    tables, taken = [], set[str]()
    for path, rows in group.items():
        mask = []
        for name, digest in zip(rows.names, rows.sound, strict=True):
            mask.append(bool(digest) and digest == first.get(name) and name not in taken)
            if mask[-1]:
                taken.add(name)
        tables.append(table_of(path, content_of(path, results)).filter(polars.Series(mask, dtype=polars.Boolean)))
    table = polars.concat(tables)
    written = _write(results, table)
    if not table_of(written, content_of(written, results)).equals(table):
        raise OSError(f"{written}: what was written is not what is read")
    return written


@functools.cache
def _size(path: Path, root: Path, stamp: tuple[int, int]) -> tuple[int, int]:
    """The trials of a batch, and the numbers of their samples at most; no trials where it is not what its name says."""
    content = content_of(path, root)
    return (_footer(path, content) or (0, 0)) if is_as_named(path, content) else (0, 0)


def _footer(path: Path, content: bytes) -> tuple[int, int] | None:
    """The trials of a batch, and the numbers of their samples at most, as its footer says; None where it has none."""
    try:
        footer = footer_of(content)
    except ValueError:
        return None
    return footer.rows, footer.unpacked_bytes // 4


def _merge(results: Path, paths: Sequence[Path]) -> int:
    if len(paths) < 2:
        return 0
    import polars

    table = polars.concat([table_of(path, content_of(path, results)) for path in paths])
    written = _write(results, table)
    if not table_of(written, content_of(written, results)).equals(table):
        raise OSError(f"{written}: what was written is not what is read")
    for path in paths:
        if path != written:
            path.unlink(missing_ok=True)
    return len(paths)


def _directories(results: Path) -> set[str]:
    """The names of the folders among the trials."""
    folder = results / TRIALS
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_dir()}


def numbers_of(trial: TrialResult) -> int:
    """How many numbers a trial's samples are."""
    trace = trial.trace
    return trace.height * len(SAMPLE_COLUMNS) + (trace.height * len(trace["design"][0]) if trace.height else 0)


def _move(results: Path, trials: list[TrialResult]) -> int:
    """Writes a batch, and then removes the directories."""
    names = [trial.manifest["trial_id"] for trial in trials]
    path = _write(results, _table(trials))
    if set(dict(trials_of_batch(path, results, {}))) != set(names):
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
    samples = samples.select(*SAMPLE_COLUMNS)
    row = polars.Series("row", np.repeat(np.arange(len(traces)), heights), dtype=polars.Int64)
    lists = samples.with_columns(row).group_by("row", maintain_order=True).agg(polars.all())
    if lists.height < len(traces):  # some trials have no sample
        everyone = polars.DataFrame({"row": polars.Series(range(len(traces)), dtype=polars.Int64)})
        empty = {name: polars.Series([[]], dtype=kind) for name, kind in lists.schema.items() if name != "row"}
        lists = everyone.join(lists, on="row", how="left", maintain_order="left").with_columns(
            polars.col(name).fill_null(polars.lit(values)) for name, values in empty.items()
        )
    series = [polars.Series("trial_id", identifiers)]
    series += [polars.Series(f"manifest.{name}", [texts[name] for texts in rows]) for name in PARTS]
    series += [lists[name].alias(f"trace.{name}") for name in SAMPLE_COLUMNS]
    series.append(polars.Series("has_held_out", held_out))
    ends = [0, *np.cumsum(heights).tolist()]
    series.append(polars.Series("digest", _digests(identifiers, rows, samples, ends, held_out)))
    return polars.DataFrame(series)


def _texts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The parts of a manifest, each as JSON."""
    parts = dict(manifest)
    del parts["trial_id"]
    rest = dict(parts.pop("trial"))
    known = {name: rest.pop(name) for name in OF_TRIAL} | {"trial": rest}
    known |= {name: parts.pop(name) for name in PARTS if name in parts}
    known["more"] = parts
    return {name: json.dumps(known[name], ensure_ascii=False, allow_nan=False) for name in PARTS}


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
        for name in SAMPLE_COLUMNS
        for column in (design if name == "design" else samples[name],)
    }
    found = []
    for row, identifier in enumerate(identifiers):
        start, end = ends[row], ends[row + 1]
        names = [name for name in SAMPLE_COLUMNS if has_held_out[row] or name != "held_out"]
        digest = hashlib.sha256(json.dumps([identifier, *(texts[row][name] for name in PARTS), names]).encode())
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
    folder = batch_folder(results)
    check_folder(folder, results)
    folder.mkdir(exist_ok=True)
    matches = (BATCH_NAME.fullmatch(path.name) for path in folder.iterdir())
    last = max((int(match.group(1)) for match in matches if match), default=0)
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
