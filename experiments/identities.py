"""Ids of trials: hashes of everything that determines their samples.

That is the trial, the sources and data of this package and of those that its agent and scenario come from, the versions
of the libraries that compute, and of the agent's own.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..agents.registry import load_agent
from ..costmodels.files import file_hash
from ..envs.core.scenarios import scenario_module
from .agent_process import PINNED
from .layout import SUITE
from .suite import Trial

__all__ = ["hashed_id", "identity", "source_of", "trial_id", "versions", "versions_of"]

# Libraries whose version can change costs, yardsticks or any agent's samples; an agent's own are its `libraries`.
_LIBRARIES = ("numpy", "scipy", "jax", "jaxlib", "gymnasium", "ortools")
_ROOT = Path(__file__).parent.parent
_LAYERS = ("costmodels", "envs", "agents")


@functools.cache
def versions(agent: str | None = None) -> Mapping[str, str]:
    """Versions and settings of all that can change a trial's samples, and a hash of this package's sources and data.

    Args:
        agent: whose libraries count too; None for the core alone.
    """
    kind = None if agent is None else load_agent(agent)
    own = () if kind is None else (*kind.libraries, *kind.optional_libraries)
    first = versions_of(("python", "machine", "system", "dsegym", *_LIBRARIES, *own))
    return {**first, **_switches(), **versions_of(("dsegym_sources",))}


def versions_of(names: Iterable[str]) -> dict[str, str]:
    """Those of what `versions` names that are installed here; settings are none of them."""
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = _OF_THE_PLACE[name]() if name in _OF_THE_PLACE else version(name)
    return found


def _switches() -> dict[str, str]:
    """The settings of JAX that are not as usual: with 64 bits, most traces differ."""
    import jax

    found = {name: str(getattr(jax.config, name)) for name in PINNED}
    return {name: value for name, value in found.items() if value != str(PINNED[name])}


@functools.cache
def _own_source() -> str:
    """A hash of this package's files that can change a trial's samples."""
    return _hash_of([_ROOT / layer for layer in _LAYERS])


_OF_THE_PLACE: Mapping[str, Callable[[], str]] = {
    "python": platform.python_version,
    "machine": platform.machine,
    "system": platform.system,
    "dsegym_sources": _own_source,
}


@functools.cache
def source_of(module: str) -> str:
    """A hash of the files of another package's agent or scenario: its whole package, or its one file."""
    name = module.partition(".")[0]
    if name == __name__.partition(".")[0]:
        return ""  # this package's own files are in `versions`
    root = sys.modules.get(name)
    if root is None:  # on a node of a cluster, where nothing of it is to run: it is found, not imported
        if (found := importlib.util.find_spec(name)) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        file, folders = found.origin, found.submodule_search_locations
    else:
        file, folders = root.__file__, getattr(root, "__path__", ())
    return _hash_of([Path(folder) for folder in folders or ()] or ([Path(file)] if file else []))


def _hash_of(paths: Iterable[Path]) -> str:
    """16 hexadecimal digits of the names and contents of files, and of all files below folders."""
    digest = hashlib.sha256()
    for path in paths:
        for file in _files(path):
            digest.update(file.relative_to(path.parent).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    """The file itself, or all files below a folder, whatever their suffix, in order of name. What is hidden or a cache
    does not count, nor do results that lie there, which running a trial changes.
    """
    if path.is_file():
        yield path
    elif path.is_dir() and not (path / SUITE).exists():
        for entry in sorted(path.iterdir()):
            hidden = entry.name.startswith(".") or entry.name == "__pycache__" or entry.suffix == ".pyc"
            if not hidden and not (entry.is_dir() and entry.is_symlink()):  # a link to a folder may lead in a circle
                yield from _files(entry)


def identity(trial: Trial) -> dict[str, Any]:
    """What determines a trial beside itself and `versions`: hashes of other packages and of users' files."""
    files = {key: file_hash(value) for key, value in trial.options.items() if os.path.isabs(value)}
    return {
        "sources": [source_of(load_agent(trial.agent).__module__), source_of(scenario_module(trial.scenario))],
        "files": files,
    }


def trial_id(trial: Trial) -> str:
    """16 hexadecimal digits that identify a trial and everything that determines its samples."""
    return hashed_id(trial.as_dict(), versions(trial.agent), identity(trial))


def hashed_id(trial: Mapping[str, Any], found: Mapping[str, str], rest: Mapping[str, Any]) -> str:
    """The id that follows from a manifest's `trial`, `versions` and `identity`."""
    content = {"trial": trial, "versions": found, **rest}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
