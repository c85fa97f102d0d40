"""The door for users' files: what may be opened, how its text is read, and what a number is.

Every reader of the package goes through here, so that a pipe, a device, a file without end, bytes that are no text,
JSON that names a member twice, or a number that only Python would take gets one sentence and never a hang.

A number is plain decimal ASCII: digits, a point, an exponent, a sign. 3.0 is the whole number 3; 3.5 is none. What
Python alone takes for a number (`1_000`, `nan`, `inf`, digits of other scripts) is not one.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import numbers
import os
import re
import stat
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from .errors import DsegymError, InvalidWorkloadError, literal, shortened

__all__ = [
    "MOST_BYTES",
    "MOST_HASHED_BYTES",
    "decimal_of",
    "fail",
    "file_hash",
    "is_onnx_file",
    "is_path",
    "is_regular",
    "is_whole",
    "number",
    "parse_json",
    "plain_number",
    "read_bytes",
    "read_text",
    "shortened",
    "shown",
    "size_in_bytes",
    "size_text",
    "strict_json",
    "whole_number",
]

MOST_BYTES = 64 * 2**20  # of a file, unless its reader says otherwise
MOST_HASHED_BYTES = 2**30  # of a user's file of any kind
MOST_DIGITS = 60  # of a number as text
_LONGEST_PATH = 240  # letters that an error shows whole
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(B|KiB|MiB|GiB)")
SIZE_UNITS: Mapping[str, int] = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "B": 1}
# A name with a suffix such as .csv: no name of the package has one, and ccr0.1 of a generated graph is none.
_SUFFIX = re.compile(r".*\.[A-Za-z][A-Za-z0-9]{0,9}", re.DOTALL)

# What a file that holds no text begins with, and what it then is.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive (PyTorch's .pt, NumPy's .npz, Excel's .xlsx and Inspect's .eval are such)"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"\x89HDF", "an HDF5 file (Keras's .h5 is one)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"SQLite format 3", "an SQLite database"),
    (b"ARROW1", "an Arrow file"),
    (b"%PDF", "a PDF file"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
    *(
        (b"\x80" + bytes([protocol]), "a Python pickle (older PyTorch checkpoints are such)")
        for protocol in range(2, 6)
    ),
)


def shown(path: str | Path) -> str:
    """A path for an error, the middle of a long one left out."""
    text = str(path).replace("\0", "\\0")
    return text if len(text) <= _LONGEST_PATH else f"{text[:40]}...{text[-37:]}"


def fail(path: str | Path, what: str) -> NoReturn:
    """Raises an `InvalidWorkloadError` that begins with the file."""
    raise InvalidWorkloadError(f"{shown(path)}: {what}.")


def is_path(text: str) -> bool:
    """Whether a text that is no name is meant as a file: it exists, or it has a folder or a suffix such as .csv."""
    if "\0" in text:
        return False
    return os.sep in text or _SUFFIX.fullmatch(text) is not None or os.path.isfile(text)


def read_bytes(path: str | Path, *, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        InvalidWorkloadError: there is no such file, it is a folder, pipe or device, or it is too large.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            fail(path, f"it is {kind}, not a file")
        if status.st_size > most_bytes:
            fail(path, f"the file has {status.st_size:,} bytes; at most {most_bytes:,} are read")
        with open(path, "rb") as file:
            content = file.read(most_bytes + 1)  # /proc says 0 and gives more
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        fail(path, "there is no such file" if missing else f"the file cannot be read: {error.strerror}")
    except ValueError:
        fail(path, "a path cannot hold the character NUL")
    if len(content) > most_bytes:
        fail(path, f"the file has more than {most_bytes:,} bytes")
    return content


def is_onnx_file(path: str | Path) -> bool:
    """Whether a path is a file that begins as an ONNX model does."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return _is_onnx(file.read(2))
    except (OSError, ValueError):
        return False


def _is_onnx(content: bytes) -> bool:
    """Whether a file begins as an ONNX model does: with the version of its format, a small number."""
    return content[:1] == b"\x08" and content[1:2] < b"\x20"


def read_text(path: str | Path, *, most_bytes: int = MOST_BYTES) -> str:
    r"""The text of a regular file of UTF-8, without a byte order mark; its lines end in \n, however they were ended.

    Readers split it at \n alone: `str.splitlines` takes letters such as U+2028, which texts hold, for ends of lines.

    Raises:
        InvalidWorkloadError: as of `read_bytes`, or it holds no text; says what it looks like.
    """
    return text_of(path, read_bytes(path, most_bytes=most_bytes))


def text_of(path: str | Path, content: bytes) -> str:
    """The text of a file's content, as of `read_text`.

    Raises:
        InvalidWorkloadError: it holds no text; says what it looks like.
    """
    for start, what in _SIGNATURES:
        if content.startswith(start):
            fail(path, f"this looks like {what}")
    if _is_onnx(content):
        fail(path, "this looks like an ONNX model; `dsegym workload` writes its layers as a table (docs/files.md)")
    try:
        text = content.decode("utf-8-sig")  # spreadsheets begin files with a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fail(path, f"line {line} is not UTF-8")
    if not text.strip():
        fail(path, "the file is empty")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def parse_json(path: str | Path, text: str, line: int | None = None) -> object:
    """JSON whose numbers are finite and whose members are named once.

    Args:
        path: for errors.
        text: the whole file's, or
        line: that of the line of this number.

    Raises:
        InvalidWorkloadError: it is no such JSON; names the line.
    """
    try:
        return strict_json(text)
    except json.JSONDecodeError as error:
        fail(path, f"line {error.lineno if line is None else line} is not JSON: {error.msg}")
    except ValueError as error:
        fail(path, f"{'' if line is None else f'line {line}: '}{error}")


def file_hash(path: str | Path) -> str:
    """The SHA-256 of a regular file's content, as hexadecimal digits; an edited file is read again.

    Raises:
        DsegymError: there is no such file, it is no regular one, or larger than any input.
    """
    name = shortened(path, _LONGEST_PATH)
    try:
        status = os.stat(path)
        if not is_regular(status, MOST_HASHED_BYTES):
            raise DsegymError(f"'{name}' is no regular file of at most {MOST_HASHED_BYTES:,} bytes.")
        return _hash_at(os.path.abspath(path), status.st_mtime_ns, status.st_size)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DsegymError(f"Cannot read the file '{name}': {reason}.") from None


@functools.lru_cache(maxsize=1024)
def _hash_at(path: str, time_ns: int, size: int) -> str:
    del time_ns, size  # part of the key, so that an edited file is read again
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_regular(status: os.stat_result, most_bytes: int) -> bool:
    """Whether a file is a regular one, not beyond a size."""
    return stat.S_ISREG(status.st_mode) and status.st_size <= most_bytes


def strict_json(text: str) -> Any:
    """JSON whose numbers are finite and whose members are named once.

    Raises:
        ValueError: it is no such JSON; says why. A `json.JSONDecodeError` knows the line.
    """
    try:
        return _decoder().decode(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


@functools.cache  # to make one takes as long as to read a short text
def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(
        parse_constant=_refuse, parse_float=_finite, parse_int=_whole, object_pairs_hook=_named_once
    )


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"the number {shortened(word)} is not allowed")


def _finite(word: str) -> float:
    value = float(word)
    return value if math.isfinite(value) else _refuse(word)


def _whole(word: str) -> int:
    try:
        return int(word)
    except ValueError:  # of thousands of digits
        raise ValueError("a number is too large") from None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"the member '{shortened(twice)}' is given twice")
    return found


def decimal_of(text: str) -> Decimal | None:
    """The exact number that a text is; None where it is none."""
    text = text.strip(" \t")
    return Decimal(text) if len(text) <= MOST_DIGITS and _NUMBER.fullmatch(text) else None


def plain_number(given: object) -> float:
    """The number that a user gives as itself or as its text.

    Raises:
        ValueError: it is none.
    """
    value = decimal_of(given) if isinstance(given, str) else given
    if isinstance(value, bool) or not isinstance(value, numbers.Real | Decimal):
        raise ValueError(f"{literal(given)} is no number")
    found = float(value)
    if not found and value:
        raise ValueError(f"{literal(given)} is too small a number")
    return found


def whole_number(text: str, column: str, least: int, most: int) -> int:
    """A cell's whole number; 3.0 and 3e0 are 3.

    Raises:
        ValueError: it is none, or out of range; names the column, the text and what is allowed.
    """
    value = decimal_of(text)
    if value is None or not least <= value <= most or value != value.to_integral_value():
        raise ValueError(f"{column} = '{shortened(text)}' is not a whole number from {least} to {most}")
    return int(value)


def number(text: str, column: str, least: float, most: float, *, above: bool = False) -> float:
    """A cell's number.

    Args:
        text: of the cell.
        column: for errors.
        least, most: the range, both ends included, unless
        above: `least` itself is left out.

    Raises:
        ValueError: it is none, or out of range; names the column, the text and what is allowed.
    """
    value = decimal_of(text)
    small = value is not None and value != 0 and float(value) == 0  # would be taken for 0
    if value is None or small or not Decimal(least) <= value <= Decimal(most) or (above and value == Decimal(least)):
        range_ = f"above {least:g}, at most {most:g}" if above else f"from {least:g} to {most:g}"
        raise ValueError(f"{column} = '{shortened(text)}' is not a number {range_}")
    return float(value)


def is_whole(value: object) -> bool:
    """Whether a value of JSON is a whole number: 3, or 3.0."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def size_in_bytes(text: str) -> int | None:
    """B of a size with its unit, `16MiB`, `64 KiB`, `2048B`; None where it is none or no whole number of B."""
    match = _SIZE.fullmatch(text.strip(" \t"))
    if match is None or len(text) > MOST_DIGITS:
        return None
    size = Decimal(match[1]) * SIZE_UNITS[match[2]]
    return int(size) if size == size.to_integral_value() else None


def size_text(size_bytes: int) -> str:
    """The size with the largest unit of which it is a multiple: equal sizes have one text."""
    unit = next((unit for unit, factor in SIZE_UNITS.items() if size_bytes and size_bytes % factor == 0), "B")
    return f"{size_bytes // SIZE_UNITS[unit]}{unit}"
