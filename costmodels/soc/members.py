"""Members of users' JSON, taken out one by one; errors name the file and the member."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

from ..files import fail, is_whole, shortened

__all__ = ["Members"]

_KINDS: Mapping[type, str] = {str: "a text", list: "a list", dict: "an object", int: "a whole number"}


Value = TypeVar("Value")


class Members:
    """Takes members out of JSON; errors name the file and the member."""

    def __init__(self, path: Path):
        self.path = path

    def member(self, data: object, where: str, key: str, kind: type[Value], default: Value | None = None) -> Value:
        """A member of an object, of a kind; the default where it is left out, an error where there is none."""
        name = f"{where}.{key}" if where else key
        if not isinstance(data, dict):
            fail(self.path, f"{where or 'the file'} is not an object")
        if key not in data:
            return fail(self.path, f"{name} is missing") if default is None else default
        value: object = int(data[key]) if kind is int and is_whole(data[key]) else data[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            fail(self.path, f"{name} is {shortened(json.dumps(value))}; {_KINDS[kind]} is needed")
        return cast("Value", value)

    def whole(self, data: object, where: str, key: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number of a range."""
        value = self.member(data, where, key, int, default)
        if not least <= value <= most:
            fail(self.path, f"{where}.{key} is {shortened(json.dumps(value))}; allowed are {least:,} to {most:,}")
        return value

    def number(self, data: object, where: str, key: object, least: float, most: float) -> float:
        """A number of a range."""
        value = data.get(key) if isinstance(data, dict) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            problem = "is missing" if value is None else f"is {shortened(json.dumps(value))}"
            fail(self.path, f"{where}.{key} {problem}; a number of {least:,} to {most:,.0f} is needed")
        return value

    def names(self, data: object, where: str, key: str) -> list[str]:
        """A list of texts, which may be left out."""
        found = self.member(data, where, key, list, [])
        if not all(isinstance(name, str) for name in found):
            fail(self.path, f"{where}.{key} is not a list of texts")
        return found

    def triple(self, row: object, where: str, known: Collection[str], what: str) -> tuple[str, str, int]:
        """[name, name, whole number] with known names."""
        if not isinstance(row, list) or len(row) != 3 or not is_whole(row[2]):
            fail(self.path, f"{where} is {shortened(json.dumps(row))}; [{what}, {what}, whole number] is needed")
        for name in row[:2]:
            if not isinstance(name, str) or name not in known:
                fail(self.path, f"{where}: there is no {what} {shortened(json.dumps(name))}")
        return row[0], row[1], int(row[2])

    def only(self, data: object, where: str, allowed: Sequence[str]) -> None:
        """Refuses members that nobody reads, which are mostly misspelt."""
        for key in data if isinstance(data, dict) else ():
            if key not in allowed:
                place = f"{where}.{key}" if where else key
                fail(self.path, f"{shortened(place)} is not known; allowed are {', '.join(allowed)}")
