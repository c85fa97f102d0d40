"""What lies among the trials and batches of a results directory and is none, or is not as a run leaves it.

Readers count whole trials of the suite alone, each once, and tell in one line that there is more; `dsegym verify` and
`dsegym submit check` reject every such entry by name. Trials of other suites and versions are none: `strays` has them.
What writers leave who are at work, or were killed, is none either: `dsegym run` removes it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from ..costmodels.errors import CorruptResultError, shortened
from .batches import BATCH_NAME, batch_files, batch_folder, outline_of
from .door import LONGEST, check_folder
from .formats import counted
from .layout import ID, MANIFEST, TRIALS, trial_directory
from .store import holds_trial
from .whole_folders import LEFT_FILE, LEFT_FOLDER

__all__ = ["check_places", "odd_entries", "odd_entries_told"]

_MENDS = "`dsegym compact` keeps each whole trial once, and writes it anew where that is needed"


def odd_entries(results: Path, named: Collection[str]) -> dict[Path, str]:
    """Every such entry, with the sentence that names it.

    Args:
        results: the directory.
        named: the ids of the suite's trials.

    Raises:
        CorruptResultError: the folder of the batches leads out of the directory.
    """
    return dict((*_among_trials(results / TRIALS, results, frozenset(named)), *_among_batches(results)))


def odd_entries_told(results: Path, named: Collection[str]) -> str:
    """The line of readers that leave such entries out; empty where there is none."""
    found = odd_entries(results, named)
    if not found:
        return ""
    first = shortened(str(next(iter(found)).relative_to(results)), LONGEST)
    things = f"{counted(len(found), 'thing')} that no run leaves there, {first}{' first' * (len(found) > 1)}"
    return (
        f"'{results}' holds {things}: whole trials of the suite count, each once, and nothing else; `dsegym verify` "
        "says what is wrong."
    )


def check_places(results: Path, identifiers: Collection[str]) -> None:
    """Refuses, before the work, what lies where a run would put folders.

    Args:
        results: the directory.
        identifiers: of the trials that are to be run.

    Raises:
        CorruptResultError: names the first.
    """
    folders = (results / TRIALS, batch_folder(results), *(trial_directory(results, each) for each in identifiers))
    for folder in folders:
        if os.path.lexists(folder):
            _check_is_folder(folder)


def _check_is_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise CorruptResultError(f"{folder}: it is no folder, where results need one; remove it.")


def _entries(folder: Path, root: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name.

    Raises:
        CorruptResultError: it is no folder, or leads out of `root`.
    """
    if not os.path.lexists(folder):
        return []
    check_folder(folder, root)
    _check_is_folder(folder)
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _among_trials(folder: Path, root: Path, named: frozenset[str]) -> Iterator[tuple[Path, str]]:
    try:
        entries = _entries(folder, root)
    except CorruptResultError as error:
        yield folder, str(error)
        return
    for entry in entries:
        path = folder / entry.name
        if LEFT_FOLDER.fullmatch(entry.name):
            continue
        if not re.fullmatch(ID.pattern, entry.name):
            yield path, f"{path}: it is no trial, which is a folder whose name is {ID.what}; remove it."
        elif not entry.is_dir():
            yield path, f"{path}: it is no folder, where a trial is one; remove it."
        elif entry.name not in named and not holds_trial(path):
            yield path, f"{path}: it is no trial, which has a {MANIFEST}; remove it."


def _among_batches(results: Path) -> Iterator[tuple[Path, str]]:
    try:
        entries = _entries(batch_folder(results), results)
    except CorruptResultError as error:
        yield batch_folder(results), str(error)
        return
    for entry in entries:
        if not (BATCH_NAME.fullmatch(entry.name) or LEFT_FILE.fullmatch(entry.name)):
            path = batch_folder(results) / entry.name
            yield path, f"{path}: it is no batch of trials; remove it."
    holder: dict[str, Path] = {}  # of each trial, the first batch that has it
    for path in batch_files(results):
        try:
            names, as_named = outline_of(path, results)
        except CorruptResultError as error:
            if os.path.lexists(path):  # it has not become part of a larger one meanwhile
                reason = str(error).removesuffix(".")
                yield path, f"{reason}; mend or remove it: `dsegym run` makes trials that are missing again."
            continue
        twice = [name for place, name in enumerate(names) if holder.setdefault(name, path) != path]
        again = len(names) - len(set(names))
        if not as_named:
            yield path, f"{path}: its content is not what its name says (altered or renamed); {_MENDS}."
        elif twice:
            other = shortened(holder[twice[0]].name)
            yield path, f"{path}: {len(twice)} of its {counted(len(names), 'trial')} are in {other} too; {_MENDS}."
        elif again:
            yield path, f"{path}: {counted(again, 'trial')} of it stand there twice; {_MENDS}."
