"""Instances of static memory allocation: buffers with sizes and lifetimes, the capacity, and the reader of CSV files.

A file is a table of MiniMalloc's form (google/minimalloc), one buffer a line; lines that start with `#` are comments.

| column | meaning |
|---|---|
| id | a name, used once |
| lower, upper | the buffer is live on the half-open interval [lower, upper) |
| start, end | the older form instead of the two: live on the closed interval [start, end], so upper = end + 1 |
| size | bytes |
| offset | of a solution: the address in bytes; all lines or none (optional) |
| alignment, hint, gaps | read where they ask for nothing (alignment 1; hint and gaps empty), else refused (optional) |

The capacity in bytes stands in the file's name, NAME.CAPACITY.csv, or is given.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from ..errors import InvalidWorkloadError
from ..files import decimal_of, read_text, shortened, shown, whole_number
from ..formats import MOST_BUFFERS, format_of
from ..tables import normalised, read_user_table

__all__ = [
    "MAX_BUFFERS",
    "MAX_BYTES",
    "MAX_UNITS",
    "AllocationInstance",
    "Buffer",
    "BufferArrays",
    "checked",
    "load_instance",
    "overlapping_pair",
]

MAX_BYTES = 2**47  # of all buffers together, and of the capacity: exact in `wide`
MAX_UNITS = 2**29  # of all buffers together, so that every address fits int32
MAX_BUFFERS = MOST_BUFFERS
MAX_TIME = 2**62  # times are only compared and subtracted

_INTERVALS = (("lower", "upper"), ("start", "end"))
_OPTIONAL = ("alignment", "hint", "gaps", "offset")
_COLUMNS = ("id", "lower", "upper", "start", "end", "size", *_OPTIONAL)


@dataclass(frozen=True)
class Buffer:
    """One buffer, live on the half-open interval [lower, upper)."""

    id: str
    lower: int  # first time, in the instance's own unit of time
    upper: int  # first time after the last
    size: int  # bytes, at least 1


class BufferArrays(NamedTuple):
    """The buffers as the packing model takes them. All int32[n]."""

    lower: Array  # number of the time, among the distinct times in ascending order
    upper: Array
    size: Array  # units


@dataclass(frozen=True)
class AllocationInstance:
    """Buffers and the memory that they are to fit into.

    Attributes:
        name: for the user.
        buffers: in the order of the table; ties are broken by it.
        capacity: bytes.
        source: where the buffers come from.
        offsets: bytes, one a buffer: a packing that is known (the file's own, or the generator's); None where none is.
    """

    name: str
    buffers: tuple[Buffer, ...]
    capacity: int
    source: str = ""
    offsets: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.buffers)

    def with_capacity(self, capacity: int) -> AllocationInstance:
        """The same buffers in another capacity, bytes.

        Raises:
            InvalidWorkloadError: a buffer is larger.
        """
        largest = max(self.buffers, key=lambda buffer: buffer.size)
        if largest.size > capacity:
            raise InvalidWorkloadError(
                f"'{self.name}': buffer {shortened(largest.id)} has {largest.size} bytes, "
                f"more than the capacity {capacity}."
            )
        return replace(self, capacity=capacity)

    @functools.cached_property
    def unit(self) -> int:
        """Bytes: the greatest common divisor of the sizes. Every address that a buffer is placed at is a multiple."""
        divisor = math.gcd(*(buffer.size for buffer in self.buffers))
        return divisor if divisor < 2**31 else math.gcd(divisor, 2**30)

    @functools.cached_property
    def sizes(self) -> np.ndarray:
        """int64[n], bytes."""
        return np.array([buffer.size for buffer in self.buffers], np.int64)

    @functools.cached_property
    def lowers(self) -> np.ndarray:
        """int64[n], the first time of each buffer."""
        return np.array([buffer.lower for buffer in self.buffers], np.int64)

    @functools.cached_property
    def uppers(self) -> np.ndarray:
        """int64[n], the first time after each buffer's life."""
        return np.array([buffer.upper for buffer in self.buffers], np.int64)

    @functools.cached_property
    def arrays(self) -> BufferArrays:
        """The buffers in units, their times numbered."""
        times = np.unique(np.concatenate([self.lowers, self.uppers]))
        lower, upper = (np.searchsorted(times, x).astype(np.int32) for x in (self.lowers, self.uppers))
        return BufferArrays(lower, upper, (self.sizes // self.unit).astype(np.int32))


def checked(instance: AllocationInstance) -> AllocationInstance:
    """The instance, its limits checked.

    Raises:
        InvalidWorkloadError: no buffers, or sizes that the model's integers do not hold.
    """
    name, total = instance.name, sum(buffer.size for buffer in instance.buffers)
    if not 1 <= len(instance) <= MAX_BUFFERS:
        raise InvalidWorkloadError(f"'{name}' has {len(instance)} buffers; 1 to {MAX_BUFFERS} are allowed.")
    if total > MAX_BYTES:
        raise InvalidWorkloadError(f"'{name}': the buffers have {total} bytes in all, above {MAX_BYTES}.")
    if total // instance.unit > MAX_UNITS:
        raise InvalidWorkloadError(
            f"'{name}': the buffers have {total // instance.unit} times the greatest common divisor of their sizes "
            f"({instance.unit} B) in all, above {MAX_UNITS}; round the sizes to a coarser unit."
        )
    return instance


def load_instance(path: str | Path, capacity: int | None = None) -> AllocationInstance:
    """Reads and checks a table of buffers.

    Args:
        path: a CSV file of the form described at the top of this module.
        capacity: bytes; the number in the file's name when left out.

    Raises:
        InvalidWorkloadError: the file cannot be read, a line is wrong, or there is no capacity; names the file, the
            line and what is allowed.
    """
    path = Path(path)
    text = read_text(path)
    format_of(path, text, "instance", {".csv": "a table of buffers (MiniMalloc's)"})
    table = read_user_table(
        path,
        "buffer table",
        "buffer",
        _COLUMNS,
        _wrong_header,
        text=text,
        rename=lambda names: [normalised(name) for name in names],
    )
    capacity = _capacity(path) if capacity is None else capacity
    if not 1 <= capacity <= MAX_BYTES:
        raise InvalidWorkloadError(
            f"'{shown(path)}': capacity = {capacity} is not a whole number from 1 to {MAX_BYTES}."
        )
    rows = table.parse(lambda row: _parse(row, capacity))
    buffers = tuple(buffer for buffer, _ in rows.values())
    offsets = tuple(offset for _, offset in rows.values() if offset is not None)
    line_of: dict[str, int] = {}
    for line, (buffer, _) in rows.items():
        if (first := line_of.setdefault(buffer.id, line)) != line:
            raise InvalidWorkloadError(
                f"'{shown(path)}', line {line}: id '{shortened(buffer.id)}' stands in line {first} already; "
                "an id is used once."
            )
    if offsets and len(offsets) < len(buffers):
        raise InvalidWorkloadError(
            f"'{shown(path)}': {len(offsets)} of {len(buffers)} lines have an offset; all must, or none."
        )
    instance = checked(AllocationInstance(path.stem, buffers, capacity, table.comments, offsets or None))
    if offsets and (pair := overlapping_pair(instance, offsets)):
        first, second = (f"'{buffers[b].id}' (line {line_of[buffers[b].id]})" for b in pair)
        raise InvalidWorkloadError(
            f"'{shown(path)}': by their offsets, {first} and {second} overlap in time and in address."
        )
    return instance


def overlapping_pair(instance: AllocationInstance, offsets: Sequence[int]) -> tuple[int, int] | None:
    """Two buffers that overlap in time and in address (bytes), if there are any."""
    start, lower, upper = np.asarray(offsets, np.int64), instance.lowers, instance.uppers
    end = start + instance.sizes
    clash = (lower[:, None] < upper) & (lower < upper[:, None]) & (start[:, None] < end) & (start < end[:, None])
    pairs = np.argwhere(np.triu(clash, 1))
    return (int(pairs[0, 0]), int(pairs[0, 1])) if len(pairs) else None


def _capacity(path: Path) -> int:
    """The capacity that a file's name tells."""
    text = path.stem.rpartition(".")[2] if "." in path.stem else ""
    if not (text.isascii() and text.isdigit()):
        raise InvalidWorkloadError(
            f"'{shown(path)}' tells no capacity: name the file NAME.CAPACITY.csv, as in input.12.csv, "
            "or give the capacity."
        )
    return int(text)


def _wrong_header(header: Sequence[str]) -> str:
    """What is wrong with the header; empty for a good one."""
    intervals = [pair for pair in _INTERVALS if set(pair) & set(header)]
    if not {"id", "size"} <= set(header) or len(intervals) != 1 or not set(intervals[0]) <= set(header):
        return "the header needs id, size and either lower and upper or (older) start and end"
    return ""


def _parse(row: Mapping[str, str], capacity: int) -> tuple[Buffer, int | None]:
    """The buffer of a row and, if it has one, its offset in bytes."""
    if not row["id"]:
        raise ValueError("the buffer has no id")
    if row.get("alignment") and decimal_of(row["alignment"]) != 1:
        raise ValueError(
            f"alignment = '{shortened(row['alignment'])}': alignment is not supported; leave it out or write 1"
        )
    for column, meaning in (("hint", "preferred offsets"), ("gaps", "buffers that are not live all the time")):
        if row.get(column):
            raise ValueError(
                f"{column} = '{shortened(row[column])}': {meaning} are not supported; leave the column empty"
            )
    first, last = next(pair for pair in _INTERVALS if pair[0] in row)
    lower, upper = (whole_number(row[column], column, -MAX_TIME, MAX_TIME) for column in (first, last))
    upper += last == "end"
    if lower >= upper:
        less = "must be below" if last == "upper" else "must not be above"
        raise ValueError(f"{first} = {shortened(row[first])} {less} {last} = {shortened(row[last])}")
    size = whole_number(row["size"], "size", 1, MAX_BYTES)
    if size > capacity:
        raise ValueError(f"size = {size} is larger than the capacity {capacity}, so that no packing fits")
    offset = whole_number(row["offset"], "offset", 0, capacity - size) if row.get("offset") else None
    return Buffer(row["id"], lower, upper, size), offset
