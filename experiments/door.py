"""The door of a results directory: what lies there was written by others, and is looked at before it is read.

Only regular files below the directory are read, none that a link leads out of it, and none beyond the size that its
kind can have. JSON is strict (no member twice, no NaN, no infinity), and what it holds is compared with a table of its
shape, so that whatever is wrong is one sentence. Files are written under another name and renamed, which follows no
link.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..agents.registry import agent_location
from ..costmodels.errors import CorruptResultError, DsegymError, shortened
from ..costmodels.files import strict_json
from ..envs.core.scenarios import installed_scenarios
from .formats import counted

__all__ = [
    "COUNT",
    "DIGEST",
    "LONGEST",
    "NOT_NEGATIVE",
    "SHARE",
    "SIZE",
    "Each",
    "Shape",
    "Word",
    "check_allowed",
    "check_folder",
    "check_no_folder",
    "check_once",
    "check_row",
    "check_shape",
    "check_writable",
    "check_writable_folder",
    "finite",
    "read_file",
    "read_json",
    "sync_folder",
    "write_by_rename",
]

_OWN = __name__.partition(".")[0]
LONGEST = 200  # characters of a reason or a path that a sentence repeats


@dataclass(frozen=True)
class Each:
    """A list, or the values of an object whose keys are free, all of one shape."""

    kind: type[list] | type[dict]
    shape: Shape


@dataclass(frozen=True)
class Word:
    """A text that matches a pattern as a whole; `what` says so in words."""

    pattern: str
    what: str


# A type; a tuple of shapes, any of which will do; None; {member: shape}, a member that may be missing ending in "?";
# a table, each member of one shape; a text of a pattern; or a predicate.
Shape = Any


def finite(value: object) -> bool:
    """Whether a value is a number that float64 holds, no boolean."""
    if type(value) is int:
        return abs(value) <= 2**53
    return type(value) is float and math.isfinite(value)


DIGEST = Word("[0-9a-f]{64}", "64 hexadecimal digits")
COUNT: Shape = lambda value: type(value) is int and 0 <= value < 2**63  # noqa: E731
SIZE: Shape = lambda value: type(value) is int and 0 <= value < 2**20  # noqa: E731 - of what arrays are padded to
NOT_NEGATIVE: Shape = lambda value: finite(value) and value >= 0  # noqa: E731
SHARE: Shape = lambda value: finite(value) and 0 <= value <= 1  # noqa: E731


def check_allowed(name: str, allow: Collection[str]) -> None:
    """Refuses a scenario or an agent of a package that nobody has named: `package:namespace/Name`, `module:Class`, or
    the name of an entry point of an installed package.

    To import a package is to run it. One that is loaded already runs no more.

    Raises:
        CorruptResultError: says how to allow it.
    """
    for module in _modules(name):
        top = module.partition(".")[0]
        if top not in (*allow, _OWN) and module not in sys.modules:
            raise CorruptResultError(
                f"it names '{shortened(name)}', of a package that would be imported, which is to run it; if you trust "
                f"it, say --allow {shortened(top)}."
            )


def _modules(name: str) -> Iterator[str]:
    """What would be imported for a scenario or an agent."""
    for location in (agent_location(name), installed_scenarios().get(name.rpartition(":")[2], "")):
        module, colon, _ = location.partition(":")
        if colon:
            yield module


def _fits(value: object, shape: Shape) -> str | None:
    """Where a value departs from a shape, "" for the value itself; None where it does not."""
    match shape:
        case None:
            return None if value is None else ""
        case type():
            return None if isinstance(value, shape) and isinstance(value, bool) == (shape is bool) else ""
        case tuple():
            places = [_fits(value, each) for each in shape]
            return None if None in places else max((place for place in places if place is not None), key=len)
        case Word():
            return None if isinstance(value, str) and re.fullmatch(shape.pattern, value) else ""
        case Each():
            if not isinstance(value, shape.kind):
                return ""
            items: Iterable[tuple[object, object]] = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                if (inner := _fits(item, shape.shape)) is not None:
                    return f"{key}.{inner}".rstrip(".")
            return None
        case dict():
            if not isinstance(value, dict):
                return ""
            for name in shape:
                if name not in value and not name.endswith("?"):
                    return name
            for name, each in shape.items():
                key = name.removesuffix("?")
                if key in value and (inner := _fits(value[key], each)) is not None:
                    return f"{key}.{inner}".rstrip(".")
            return None
    return None if shape(value) else ""


def check_shape(path: Path | str, content: object, shape: Mapping[str, Shape]) -> None:
    """Compares what a file holds with what it should.

    Raises:
        CorruptResultError: names the file and the member.
    """
    place = _fits(content, dict(shape))
    if place is not None:
        place = place or next(iter(shape))  # no object at all
        raise CorruptResultError(f"{path}: '{shortened(place)}' is missing or of the wrong type.")


def check_row(what: str, row: Sequence[object], shape: Mapping[str, Shape]) -> None:
    """Compares a list with the members that it should have, in their order.

    Args:
        what: the list is, as in "a trial".
        row: the list.
        shape: of each member.

    Raises:
        CorruptResultError: names the member, or says how many there are.
    """
    if len(row) != len(shape):
        raise CorruptResultError(f"a {what} has {counted(len(row), 'member')}, where {len(shape)} are needed.")
    check_shape(f"its {what}s", dict(zip(shape, row, strict=True)), shape)


def check_once(what: str, names: Iterable[str]) -> None:
    """Refuses what stands in a file twice.

    Args:
        what: the file does with it, as in "has the trial".
        names: of all that stand there.

    Raises:
        ValueError: names the first.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"it {what} {name} twice")


def check_folder(folder: Path, root: Path) -> None:
    """Refuses a folder that a link leads out of `root`.

    Raises:
        CorruptResultError: names it.
    """
    try:
        inside = folder.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle, say
        inside = False
    if not inside:
        raise CorruptResultError(f"{folder}: it leads out of the results directory; only what lies below it is read.")


def read_file(path: Path, root: Path, most_bytes: int) -> bytes:
    """The content of a regular file below `root`.

    Raises:
        CorruptResultError: it is missing, no regular file, outside, or larger than `most_bytes`.
    """
    check_folder(path, root)
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:  # a pipe must not hang
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CorruptResultError(f"{path}: it is no regular file.")
            if status.st_size > most_bytes:
                raise CorruptResultError(
                    f"{path}: {status.st_size:,} bytes, where {most_bytes:,} are the most that it can have."
                )
            return file.read(most_bytes)
    except OSError as error:
        raise CorruptResultError(f"{path}: {error.strerror}.") from None


def read_json(path: Path, root: Path, most_bytes: int) -> Any:
    """What a JSON file below `root` holds.

    Raises:
        CorruptResultError: as `read_file`; or it is no JSON of `strict_json`.
    """
    content = read_file(path, root, most_bytes)
    try:
        text = content.decode("utf-8")
        found = strict_json(text)
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode("utf-8")  # half of a surrogate pair could not be written back
    except ValueError as error:
        raise CorruptResultError(f"{path}: not readable as JSON ({shortened(error, LONGEST)}).") from None
    return found


def sync_folder(folder: Path) -> None:
    """Makes a folder's list of names durable, where the system knows of such a thing."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_writable(path: Path) -> None:
    """Finds out before the work, and not after it, that a file cannot be written.

    Raises:
        DsegymError: there is no folder for it, nothing can be written there, it is a folder, or its name is too long.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise DsegymError(f"'{path}' cannot be written: there is no folder '{path.parent}'.")
    check_no_folder(path)
    _try_to_write(folder, path)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.lstat(_temporary(path))
    except OSError as error:  # a name that is too long
        raise DsegymError(f"'{path}' cannot be written: {error.strerror or error}.") from None


def check_no_folder(path: Path) -> None:
    """Refuses, before the work, a folder in the place of a file that is to be written.

    Raises:
        DsegymError: names it.
    """
    if path.is_dir() and not path.is_symlink():  # a link is replaced
        raise DsegymError(f"'{path}' cannot be written: it is a folder.")


def check_writable_folder(folder: Path) -> None:
    """The same of a folder for files, which may be made only later: nothing is made now.

    Raises:
        DsegymError: it cannot be made, or nothing can be written there.
    """
    place = folder.absolute()
    while not os.path.lexists(place):
        place = place.parent
    _try_to_write(place, folder)


def _try_to_write(folder: Path, asked: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DsegymError(f"'{asked}' cannot be written: {error.strerror or error}.") from None


def _temporary(path: Path) -> Path:
    """What a file is until it is whole."""
    return path.with_name(f".{path.name}-{os.getpid()}-{time.time_ns()}")


def write_by_rename(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Writes a file that appears by one rename, in the place of what is there; a link there is replaced, not followed.

    Args:
        path: of the file.
        content: of the file.
        durable: whether it is there after a loss of power, too, once this returns.

    Raises:
        OSError: names the file that was asked for; nothing is left behind.
    """
    temporary = _temporary(path)
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        if error.filename is not None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
