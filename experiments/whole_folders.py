"""Folders that appear complete or not at all, whoever else writes, and what is left of those that never did."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from .layout import BATCHES, EVALUATIONS, LEADERBOARD, TRIALS
from .suite import FILES

__all__ = ["LEFT_FILE", "LEFT_FOLDER", "appearing", "clean", "partial_of", "write_folder"]

# The names of what writers have at work, and leave where they are killed; a file is one of `write_by_rename`.
LEFT_FOLDER = re.compile(r"\.(partial|replaced)-([0-9a-f]{16})(?:-([0-9a-f]{8}))?-(\d+)")
LEFT_FILE = re.compile(r"\..+-(\d+)-\d+")

_STALE_S = 86_400.0  # after which a folder of another machine counts as left


def partial_of(target: Path) -> Path:
    """The name of a directory of this process that is not whole: `clean` removes it once the process is gone."""
    return target.with_name(f".partial-{target.name}-{_process()}")


@contextlib.contextmanager
def appearing(target: Path, stands: Callable[[Path], bool]) -> Iterator[Path]:
    """A temporary directory that is renamed to `target` if all goes well, and removed otherwise.

    What is there and `stands` is kept; a trial that did not finish, or what is damaged, is replaced.
    """
    partial = partial_of(target)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if target.is_dir() and not stands(target):
            replaced = target.with_name(f".replaced-{target.name}-{_process()}")
            with contextlib.suppress(FileNotFoundError):  # another process was first
                target.rename(replaced)
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            try:
                partial.rename(target)
            except OSError:
                if not target.is_dir():  # another process has finished the same trial: its result stands
                    raise
        shutil.rmtree(target.with_name(f".replaced-{target.name}-{_process()}"), ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_folder(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Writes a folder of files, which appears by one rename, where nothing is or an empty folder.

    Args:
        directory: the folder.
        contents: {name of a file in it: its content}.

    Raises:
        OSError: something is there, or the disk is full, say; nothing is left behind.
    """
    partial = partial_of(directory)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, content in contents.items():
            (partial / name).write_bytes(content)
        if directory.is_dir():
            directory.rmdir()  # an empty one
        partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def clean(results: Path) -> None:
    """Removes what writers left who were killed; a trial that was being replaced comes back.

    What belongs to a process that lives is left alone, and folders of another machine for a day.
    """
    for folder in itertools.chain(*((results / name).glob(".*-*") for name in (TRIALS, EVALUATIONS))):
        match = LEFT_FOLDER.fullmatch(folder.name)
        if match is None or folder.is_symlink() or _may_live(folder, *match.group(3, 4)):
            continue
        target = folder.with_name(match.group(2))
        if match.group(1) == "replaced" and not target.exists():
            folder.rename(target)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for folder in (results, results / FILES, results / BATCHES, results / LEADERBOARD):
        for file in folder.glob(".*-*-*"):  # of `write_by_rename`
            match = LEFT_FILE.fullmatch(file.name)
            if match is not None and file.is_file() and not _may_live(file, None, match.group(1)):
                file.unlink(missing_ok=True)


def _process() -> str:
    """This process's name among all that may write to a shared directory."""
    return f"{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}-{os.getpid()}"


def _may_live(folder: Path, host: str | None, process: str) -> bool:
    """Whether the process that made a folder may still write to it."""
    if host not in (None, _process().partition("-")[0]):  # None: the earliest versions named no machine
        with contextlib.suppress(OSError):
            return time.time() - folder.stat().st_mtime < _STALE_S
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
