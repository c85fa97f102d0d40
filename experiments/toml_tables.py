"""Files of TOML that people write, suites, collections and cards: read within limits, and their tables' values checked.

What is wrong is a `ValueError` with a sentence, to which the reader of the file adds its name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..costmodels.errors import InvalidSuiteError, UnknownNameError, literal, shortened
from ..costmodels.files import is_regular
from .door import LONGEST

__all__ = ["MOST", "check_keys", "check_once", "name_of", "read_toml_file", "tables_of", "text_of", "whole_number"]

MOST = 2**31 - 1  # of a whole number, where nothing else is said
_MAX_BYTES = 2**20  # of a file
_MAX_DOTS = 100  # of a dotted key: tomllib's memory grows with their square
_MAX_NAME = 200  # characters


def read_toml_file(path: Path, what: str = "suite") -> Mapping[str, Any]:
    """What a suite's file says, unchecked; or the file of something else, which errors call so.

    Raises:
        InvalidSuiteError: it cannot be read.
    """
    try:
        status = path.stat()
        if not is_regular(status, _MAX_BYTES):
            raise ValueError(f"it is no regular file of at most {_MAX_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8")
        if any(part.count(".") > _MAX_DOTS for part in re.split(r"[\n={},\[\]]", text)):
            raise ValueError(f"a key of more than {_MAX_DOTS} dots")
        return tomllib.loads(text)
    except RecursionError:
        reason = "it is nested too deeply"
    except OSError as error:
        reason = error.strerror
    except ValueError as error:  # not UTF-8, not TOML, an integer of thousands of digits, a path with a NUL
        reason = shortened(error, LONGEST)
    raise InvalidSuiteError(f"Cannot read the {what} '{shortened(path, LONGEST)}': {reason}.")


def check_keys(where: str, table: Mapping[str, Any], required: Iterable[str], optional: Iterable[str]) -> None:
    """Refuses a table with other keys, or without one that it needs."""
    allowed = (*required, *optional)
    for key in table:
        if key not in allowed:
            raise UnknownNameError(f"key of the {where}", key, allowed)
    for key in required:
        if key not in table:
            raise ValueError(f"the {where} needs '{key}'.")


def check_once(what: str, given: Iterable[str]) -> None:
    """Refuses what is given twice, by a `ValueError`."""
    seen = set()
    for each in given:
        if each in seen:
            raise ValueError(f"the {what} {shortened(each, 400)} stands there twice.")
        seen.add(each)


def tables_of(name: str, value: object) -> list[Mapping[str, Any]]:
    """An array of tables that is not empty, or a `ValueError`."""
    if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
        raise ValueError(f"'{name}' must be one or more [[{name}]] tables.")
    return value


def whole_number(name: str, value: object, least: int, most: int = MOST) -> int:
    """A whole number in a range, or a `ValueError` that says so."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} = {literal(value)} is not a whole number from {least} to {most}.")
    return value


def text_of(name: str, value: object) -> str:
    """A text, or a `ValueError` that says so."""
    if not isinstance(value, str):
        raise ValueError(f"{name} = {literal(value)} is not a text.")
    return value


def name_of(what: str, value: object) -> str:
    """A text of one line, without characters that a terminal would obey."""
    name = text_of(what, value)
    if not name.isprintable() or not name or len(name) > _MAX_NAME:
        raise ValueError(f"{what} = {literal(name)} is not a text of 1 to {_MAX_NAME} printable characters.")
    return name
