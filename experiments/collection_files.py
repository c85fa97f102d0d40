"""Collections of the user's: a TOML file that lists instances for each part.

name = "my-programs"
scenario = "dsegym/MemoryMapping-v0"
form = "sequential"       # optional; the scenario's default when left out
description = "what varies"   # optional

[[train]]                 # any number; an option given as a list stands for one instance per value
program = ["mlp", "attention.json"]
capacity = "own"

[[validation]]            # optional, as are the other two; a test of somebody else's policy needs no training part
[[test]]

A relative path of a user's file is taken from the folder of the collection's file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..costmodels.errors import DsegymError, UnknownNameError, shortened
from ..envs.core.collections import SPLITS, Collection, collection_names, load_collection
from .door import LONGEST
from .suite import instances_of
from .toml_tables import read_toml_file

__all__ = ["find_collection"]

_OTHERS = ("name", "scenario", "form", "description")


def find_collection(name_or_file: str) -> Collection:
    """The collection of a name, or of a TOML file.

    Raises:
        UnknownNameError: there is no such collection.
        DsegymError: the file cannot be read, or says something wrong; names it.
    """
    if name_or_file in collection_names():
        return load_collection(name_or_file)
    if not name_or_file.endswith(".toml") and not os.path.isfile(name_or_file):
        raise UnknownNameError("collection", name_or_file, (*collection_names(), "or the path of a .toml file"))
    path = Path(name_or_file)
    content = read_toml_file(path, "collection")
    try:
        return _collection(content, Path(os.path.abspath(path)).parent)
    except (DsegymError, ValueError, OverflowError) as error:
        raise DsegymError(f"The collection '{path}' cannot be used: {error}") from None


def _collection(content: Mapping[str, Any], folder: Path) -> Collection:
    for key in content:
        if key not in (*_OTHERS, *SPLITS):
            raise UnknownNameError("key of the collection", key, (*_OTHERS, *SPLITS))
    for key in _OTHERS:
        value = content.get(key, "")
        if not isinstance(value, str) or not value.isprintable():
            raise ValueError(f"{key} is no text of one line.")
        if not value and key in ("name", "scenario"):
            raise ValueError(f"it needs '{key}'.")
    if len(content["name"]) > LONGEST:
        raise ValueError(f"its name has {len(content['name'])} letters, {LONGEST} at most.")
    if content["name"] in collection_names():
        raise ValueError(f"'{content['name']}' is the name of a shipped collection; give it another.")
    scenario = content["scenario"]
    parts = {split: _options(scenario, split, content.get(split, []), folder) for split in SPLITS}
    _check_once(parts)
    if not any(parts.values()):
        raise ValueError(f"it has no instance: give [[{']], [['.join(SPLITS)}]] tables.")
    train, validation, test = (lambda found=parts[split]: found for split in SPLITS)
    summary, form = content.get("description", ""), content.get("form") or None
    return Collection(content["name"], scenario, summary, train, validation, test, form)


def _check_once(parts: Mapping[str, Sequence[Mapping[str, str]]]) -> None:
    """Refuses an instance that is named twice, in one part or in two, before any is made.

    `Collection.check`, which training calls, makes all and sees those that differ in name alone; what a policy was
    trained on by another file, `evaluate` sees on its card.
    """
    seen: dict[tuple[tuple[str, str], ...], str] = {}
    for split, options in parts.items():
        for each in options:
            key = tuple(sorted(each.items()))
            if key in seen:
                named = ", ".join(f"{name}={value}" for name, value in each.items())
                raise ValueError(
                    f"the instance {shortened(named, LONGEST)} stands in {seen[key]} and again in {split}."
                )
            seen[key] = split


def _options(scenario: str, split: str, tables: object, folder: Path) -> Sequence[Mapping[str, str]]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError(f"'{split}' must be [[{split}]] tables.")
    if any("scenario" in table for table in tables):
        raise ValueError(f"a [[{split}]] table has options only; the scenario is the collection's.")
    return [pair[1] for table in tables for pair in instances_of({**table, "scenario": scenario}, folder)]
