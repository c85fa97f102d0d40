"""The store: one directory per trial, which appears complete or not at all. JSON and Parquet only, never pickles.

    RESULTS/suite.json                      what was run: name, description, trial ids
    RESULTS/trials/<trial id>/manifest.json everything but the samples
    RESULTS/trials/<trial id>/trace.parquet every sample: sample, objective, feasible, elapsed_s, design; held_out
    RESULTS/leaderboard/                    what `dsegym leaderboard` makes of it

`held_out` is there only where scores are taken on held-out cases: the objective on them of each sample that was the
best so far when it came, null elsewhere.

A trial's id is a hash of everything that determines its samples: the trial, the sources and data of this package and of
those that its agent and scenario come from, the versions of the libraries that compute, and of the agent's own.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import io
import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..agents.registry import load_agent
from ..costmodels.errors import CorruptResultError, DsegymError
from ..envs.core.scenarios import scenario_module
from .scoring.statistics import incumbents
from .suite import Suite, Trial

if TYPE_CHECKING:
    import polars

__all__ = [
    "FORMAT",
    "TrialResult",
    "hashed_id",
    "identity",
    "read_suite",
    "read_trial",
    "trial_directory",
    "trial_id",
    "versions",
    "write_suite",
    "write_trial",
]

FORMAT = 1
MANIFEST, TRACE, SUITE = "manifest.json", "trace.parquet", "suite.json"
# Libraries whose version can change costs, yardsticks or any agent's samples; an agent's own are its `libraries`.
_LIBRARIES = ("numpy", "scipy", "jax", "jaxlib", "gymnasium", "ortools")
_ROOT = Path(__file__).parent.parent
_LAYERS = ("costmodels", "envs", "agents")
_MANIFEST_KEYS = {
    "format": int,
    "trial_id": str,
    "trial": dict,
    "versions": dict,
    "identity": dict,
    "status": str,
    "message": str,
    "samples_used": int,
    "objective": dict,
    "reference": dict,
    "bound": dict,
    "best": dict | None,
    "seconds": dict,
    "files": dict,
}
_TRACE_COLUMNS = {
    "sample": "Int32",
    "objective": "Float64",
    "feasible": "Boolean",
    "elapsed_s": "Float64",
    "design": "List(Int32)",
}


@dataclass(frozen=True)
class TrialResult:
    """A finished trial as the store holds it.

    Attributes:
        manifest: the trial, versions, status, yardsticks, best design, seconds, file hashes.
        trace: every sample: sample (1 to S), objective, feasible, elapsed_s, design (list of indices), and `held_out`
            where scores are taken on held-out cases.
    """

    manifest: Mapping[str, Any]
    trace: polars.DataFrame


@functools.cache
def versions(agent: str | None = None) -> Mapping[str, str]:
    """Versions of everything that can change a trial's samples, and a hash of this package's sources and data.

    Args:
        agent: whose libraries count too; None for the core alone.
    """
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    own = () if agent is None else load_agent(agent).libraries
    for library in ("dsegym", *_LIBRARIES, *own):
        with contextlib.suppress(PackageNotFoundError):
            found[library] = version(library)
    return {**found, "dsegym_sources": _own_source()}


@functools.cache
def _own_source() -> str:
    """A hash of this package's files that can change a trial's samples."""
    return _hash_of([_ROOT / layer for layer in _LAYERS])


@functools.cache
def _source(module: str) -> str:
    """A hash of the files of another package's agent or scenario: its whole package, or its one file."""
    root = importlib.import_module(module.partition(".")[0])
    if root.__name__ == __name__.partition(".")[0]:
        return ""  # this package's own files are in `versions`
    file = [Path(root.__file__)] if root.__file__ else []
    return _hash_of([Path(folder) for folder in getattr(root, "__path__", ())] or file)


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
    files = {key: _file_hash(value) for key, value in trial.options.items() if os.path.isfile(value)}
    return {
        "sources": [_source(load_agent(trial.agent).__module__), _source(scenario_module(trial.scenario))],
        "files": files,
    }


def trial_id(trial: Trial) -> str:
    """16 hexadecimal digits that identify a trial and everything that determines its samples."""
    return hashed_id(trial.as_dict(), versions(trial.agent), identity(trial))


def hashed_id(trial: Mapping[str, Any], found: Mapping[str, str], rest: Mapping[str, Any]) -> str:
    """The id that follows from a manifest's `trial`, `versions` and `identity`."""
    content = {"trial": trial, "versions": found, **rest}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def trial_directory(results: Path, identifier: str) -> Path:
    """Where a trial's result lies."""
    return results / "trials" / identifier


def _file_hash(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@contextlib.contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A temporary directory that is renamed to `target` if all goes well, and removed otherwise."""
    partial = target.with_name(f".partial-{target.name}-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            try:
                partial.rename(target)
            except OSError:
                if not target.is_dir():  # another process has finished the same trial: its result stands
                    raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_trial(results: Path, manifest: dict[str, Any], trace: polars.DataFrame, overhead: Any = None) -> None:
    """Stores a trial; it appears by one rename.

    Args:
        results: the results directory.
        manifest: without `files`, which this fills in.
        trace: the samples.
        overhead: called when the trace is written, to close the manifest's seconds.

    Raises:
        OSError: the disk is full, say; nothing is left behind.
    """
    with _appearing(trial_directory(results, manifest["trial_id"])) as partial:
        table = io.BytesIO()  # polars, given a path, reports a full disk as an error of its own
        trace.write_parquet(table)
        (partial / TRACE).write_bytes(table.getvalue())
        if overhead is not None:
            overhead()
        _write_json(partial / MANIFEST, {**manifest, "files": {TRACE: _file_hash(partial / TRACE)}})


def read_trial(directory: Path) -> TrialResult:
    """Reads one trial and checks that it is whole.

    Raises:
        CorruptResultError: a file is missing, truncated or altered; names the file and the reason.
    """
    import polars

    manifest = _read_json(directory / MANIFEST)
    for key, kind in _MANIFEST_KEYS.items():
        if not isinstance(manifest, dict) or key not in manifest or not isinstance(manifest[key], kind):
            raise CorruptResultError(f"{directory / MANIFEST}: '{key}' is missing or of the wrong type.")
    if manifest["format"] != FORMAT:
        raise CorruptResultError(
            f"{directory / MANIFEST}: format {manifest['format']} where this version reads {FORMAT}."
        )
    path = directory / TRACE
    try:
        digest = _file_hash(path)
    except OSError as error:
        raise CorruptResultError(f"{path}: {error.strerror}.") from None
    if digest != manifest["files"].get(TRACE):
        raise CorruptResultError(f"{path}: its contents do not match the hash in {MANIFEST} (truncated or altered).")
    try:
        trace = polars.read_parquet(path)
    except Exception as error:  # polars raises several kinds for a file that is no Parquet
        raise CorruptResultError(f"{path}: not readable as Parquet ({type(error).__name__}).") from None
    columns = {name: str(kind) for name, kind in trace.schema.items()}
    if columns not in (_TRACE_COLUMNS, {**_TRACE_COLUMNS, "held_out": "Float64"}):
        raise CorruptResultError(
            f"{path}: columns {columns} where {_TRACE_COLUMNS} are expected (or these and 'held_out': 'Float64')."
        )
    if "held_out" in columns:
        best = incumbents(trace["objective"].to_numpy(), trace["feasible"].to_numpy())
        if trace["held_out"].is_not_null().arg_true().to_list() != best.tolist():
            raise CorruptResultError(
                f"{path}: 'held_out' has values for other samples than those that were the best so far."
            )
    return TrialResult(manifest, trace)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CorruptResultError(f"{path}: {error.strerror}.") from None
    except ValueError as error:
        raise CorruptResultError(f"{path}: not readable as JSON ({error}).") from None


def write_suite(results: Path, suite: Suite) -> list[str]:
    """Notes what a results directory is for.

    Returns:
        The ids of the suite's trials, in order.

    Raises:
        DsegymError: the directory already holds another suite's results, or the note is damaged.
    """
    path = results / SUITE
    if path.exists() and (held := read_suite(results)["name"]) != suite.name:
        raise DsegymError(
            f"'{results}' holds the results of the suite '{held}'; choose another directory for '{suite.name}'."
        )
    results.mkdir(parents=True, exist_ok=True)
    identifiers = [trial_id(trial) for trial in suite.trials]
    content = {"format": FORMAT, "name": suite.name, "description": suite.description, "trials": identifiers}
    temporary = results / f".{SUITE}-{os.getpid()}"
    _write_json(temporary, content)
    temporary.replace(path)
    return identifiers


def read_suite(results: Path) -> Mapping[str, Any]:
    """The note of `write_suite`: name, description, trial ids.

    Raises:
        CorruptResultError: the directory holds no results, or the note is damaged.
    """
    if not (results / SUITE).exists():
        raise CorruptResultError(f"'{results}' holds no results: there is no {SUITE} in it.")
    content = _read_json(results / SUITE)
    kinds = {"format": int, "name": str, "description": str, "trials": list}
    for key, kind in kinds.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), kind):
            raise CorruptResultError(f"{results / SUITE}: '{key}' is missing or of the wrong type.")
    return content
