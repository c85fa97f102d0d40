"""Copies of the users' files that results are made from.

A user's file among an instance's options stands in manifests as `files/<hash>.<suffix>`, the place of its copy, so that
results mean the same wherever the directory goes, and equal contents are one instance under whatever path.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..costmodels.errors import CorruptResultError, shortened
from ..costmodels.files import MOST_HASHED_BYTES, file_hash
from ..envs.core.own_bounds import kept_beside
from ..envs.core.scenarios import load_scenario
from .door import read_file, write_by_rename
from .suite import is_kept, located, may_be_file

__all__ = ["checked_options", "keep_files", "kept_files"]


def keep_files(results: Path, files: Iterable[tuple[str, Path]]) -> dict[str, str]:
    """Copies users' files, and the bounds that are kept beside them, into a results directory.

    Args:
        results: the directory.
        files: the place of each copy, as `place_of` names it, and the file.

    Returns:
        {the copy's place: the file's name}.
    """
    names = {}
    for place, path in sorted(set(files)):
        names.setdefault(place, path.name)
        target = results / place
        if not target.exists() or file_hash(target) != file_hash(path):
            target.parent.mkdir(exist_ok=True)
            if not target.exists() and kept_beside(path).is_file():  # the first run's bounds stay, with its trials
                write_by_rename(kept_beside(target), kept_beside(path).read_bytes())
            write_by_rename(target, path.read_bytes())
    return names


def checked_options(directory: Path, scenario: str, options: Mapping[str, str]) -> dict[str, str]:
    """Options as a trial or an evaluation has them, with users' files where the results keep them.

    Args:
        directory: of the trial or the evaluation.
        scenario: a registered one, whose package may be imported.
        options: the texts.

    Raises:
        CorruptResultError: a copy, or the bounds kept beside it, is missing, outside, no regular file or not what its
            name says; or an option is a file of which the results hold no copy.
    """
    results, declared = directory.parent.parent, load_scenario(scenario).options
    for key, value in options.items():
        if is_kept(value):
            digest = hashlib.sha256(read_file(results / value, results, MOST_HASHED_BYTES)).hexdigest()
            if value.partition("/")[2][:16] != digest[:16]:
                raise CorruptResultError(
                    f"{results / value}: its contents are not those that the results were made from."
                )
            if os.path.lexists(kept_beside(results / value)):
                read_file(kept_beside(results / value), results, MOST_HASHED_BYTES)  # a regular one, in the directory
        elif key in declared and not declared[key].is_name(value) and may_be_file(value):
            raise CorruptResultError(
                f"{directory}: {key} = '{shortened(value)}' is a file that the results do not keep: it is not read."
            )
    return located(options, results)


def kept_files(note: Mapping[str, Any]) -> Mapping[str, str]:
    """{the place of a kept file in options: the name that it had}."""
    return note.get("file_names", {})
