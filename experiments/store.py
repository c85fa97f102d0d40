"""The store: one directory per trial, which appears complete or not at all. JSON and Parquet only, never pickles.

    RESULTS/suite.json                      what was run: name, description, what the suite declares, trial ids
    RESULTS/trials/<trial id>/manifest.json everything but the samples
    RESULTS/trials/<trial id>/trace.parquet every sample: sample, objective, feasible, elapsed_s, design; held_out
    RESULTS/files/<hash>.<suffix>           copies of the users' files that instances are made from, and of the
                                            bounds that were kept beside them when the suite first ran
    RESULTS/batches/                        finished trials by the thousand, see `batches.py`
    RESULTS/evaluations/                    what policies are worth, see `evaluations.py`
    RESULTS/leaderboard/                    what `dsegym leaderboard` makes of it

A user's file among an instance's options stands in manifests as `files/<hash>.<suffix>`, the place of its copy, so that
results mean the same wherever the directory goes, and equal contents are one instance under whatever path.

`held_out` is there only where scores are taken on held-out cases: the objective on them of each sample that was the
best so far when it came, null elsewhere.

A trial's id is a hash of everything that determines its samples: the trial, the sources and data of this package and of
those that its agent and scenario come from, the versions of the libraries that compute, and of the agent's own.
"""

from __future__ import annotations

import contextlib
import functools
import graphlib
import hashlib
import importlib.util
import io
import itertools
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..agents.registry import load_agent
from ..costmodels.errors import CorruptResultError, DsegymError, shortened
from ..costmodels.files import MOST_HASHED_BYTES, file_hash
from ..envs.core.own_bounds import kept_beside
from ..envs.core.scenarios import load_scenario, scenario_module
from .agent_process import PINNED
from .door import LONGEST, Each, Shape, Word, check_folder, check_shape, finite, read_file, read_json, write_by_rename
from .parquet_footer import footer_of
from .scoring.statistics import incumbents
from .suite import FILES, Suite, Trial, budgets_within, is_kept, located, may_be_file

if TYPE_CHECKING:
    import polars

__all__ = [
    "BATCHES",
    "EVALUATIONS",
    "FORMAT",
    "MANIFEST_SHAPE",
    "STATUSES",
    "TRACE_COLUMNS",
    "TrialResult",
    "appearing",
    "check_format",
    "check_trace",
    "checked_options",
    "clean",
    "count_declared",
    "declared_trials",
    "hashed_id",
    "holds_suite",
    "identity",
    "is_finished",
    "json_text",
    "keep_files",
    "kept_files",
    "largest_budgets",
    "pair_of",
    "partial_of",
    "read_suite",
    "read_table",
    "read_trial",
    "source_of",
    "trial_directory",
    "trial_id",
    "versions",
    "versions_of",
    "write_suite",
    "write_trial",
]

FORMAT = 1
MANIFEST, TRACE, SUITE = "manifest.json", "trace.parquet", "suite.json"
BATCHES = "batches"  # the folder of finished trials, many to a file, see `batches.py`
EVALUATIONS = "evaluations"  # the folder of what policies are worth, see `evaluations.py`
# Libraries whose version can change costs, yardsticks or any agent's samples; an agent's own are its `libraries`.
_LIBRARIES = ("numpy", "scipy", "jax", "jaxlib", "gymnasium", "ortools")
_ROOT = Path(__file__).parent.parent
_LAYERS = ("costmodels", "envs", "agents")
STATUSES = ("finished", "failed", "timed_out")
_ID = Word("[0-9a-f]{16}", "16 hexadecimal digits")
_COUNT: Shape = lambda value: type(value) is int and 0 <= value < 2**31  # noqa: E731
_LABELS = Each(dict, str)
_INSTANCE: Shape = {"scenario": str, "options": _LABELS}
_AGENT: Shape = {"name": str, "hyperparameters": Each(dict, (str, bool, finite)), "draw": (_COUNT, None)}
_POSITIVE: Shape = lambda value: finite(value) and value > 0  # noqa: E731
_TRIAL: Shape = {"instance": _INSTANCE, "agent": _AGENT, "seed": _COUNT, "samples": _COUNT, "time_limit_s": _POSITIVE}
_BEST: Shape = {
    "sample": _COUNT,
    "design": Each(list, int),
    "decoded": dict,
    "objective": finite,
    "held_out?": (finite, None),
}
MANIFEST_SHAPE: Mapping[str, Shape] = {
    "format": int,
    "trial_id": _ID,
    "trial": _TRIAL,
    "versions": _LABELS,
    "identity": {"sources": Each(list, str), "files": _LABELS},
    "status": lambda value: value in STATUSES,
    "message": str,
    "samples_used": _COUNT,
    "objective": {"name": str, "unit": str},
    "reference": {"name": str, "value": finite, "source": str},
    "bound": {"kind": str, "value": finite, "source": str},
    "best": (_BEST, None),
    "seconds": dict.fromkeys(("agent", "cost_model", "overhead", "total"), finite),
    "files": _LABELS,
}
_NOTE: Mapping[str, Shape] = {
    "format": int,
    "name": str,
    "description": str,
    "trials": Each(list, _ID),
    "declared?": {
        "instances": Each(list, _INSTANCE),
        "agents": Each(list, _AGENT),
        "seeds": Each(list, _COUNT),
        "samples": _COUNT,
        "time_limit_s": _POSITIVE,
        # Of each agent on each instance, 0 where it does not play; left out where all have `samples`.
        "budgets?": Each(list, Each(list, _COUNT)),
        "all_samples?": Each(list, _COUNT),  # all budgets, ascending, where a suite has several; `samples` is the last
    },
    "left_out?": Each(list, {"instance": str, "reason": str}),
    "file_names?": _LABELS,
}
# Bytes that a file of its kind can have; a trace of the largest budget that anyone has run is 1 % of this.
_MOST_BYTES = {MANIFEST: 2**24, TRACE: 2**30, SUITE: 2**26}
_MOST_SAMPLE_BYTES = 2**22  # unpacked: a design of a million parameters
_MOST_TABLE_BYTES = 2**31  # unpacked
TRACE_COLUMNS = {
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
        table: every sample: sample (1 to S), objective, feasible, elapsed_s, design (list of indices), and `held_out`
            where scores are taken on held-out cases.
    """

    manifest: Mapping[str, Any]
    table: polars.DataFrame | Callable[[], polars.DataFrame]  # where it is read when it is asked for: what reads it

    @property
    def trace(self) -> polars.DataFrame:
        """Every sample."""
        return self.table() if callable(self.table) else self.table


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


def trial_directory(results: Path, identifier: str) -> Path:
    """Where a trial's result lies."""
    return results / "trials" / identifier


def _process() -> str:
    """This process's name among all that may write to a shared directory."""
    return f"{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}-{os.getpid()}"


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


def is_finished(directory: Path) -> bool:
    """Whether a trial is there, whole, and came to its end."""
    try:
        return read_trial(directory).manifest["status"] == "finished"
    except CorruptResultError:
        return False


def clean(results: Path) -> None:
    """Removes what writers left who were killed; a trial that was being replaced comes back.

    What belongs to a process that lives is left alone, and folders of another machine for a day.
    """
    for folder in itertools.chain(*((results / name).glob(".*-*") for name in ("trials", EVALUATIONS))):
        match = re.fullmatch(r"\.(partial|replaced)-([0-9a-f]{16})(?:-([0-9a-f]{8}))?-(\d+)", folder.name)
        if match is None or folder.is_symlink() or _may_live(folder, *match.group(3, 4)):
            continue
        target = folder.with_name(match.group(2))
        if match.group(1) == "replaced" and not target.exists():
            folder.rename(target)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for folder in (results, results / FILES, results / BATCHES, results / "leaderboard"):
        for file in folder.glob(".*-*-*"):  # of `write_by_rename`
            match = re.fullmatch(r"\..+-(\d+)-\d+", file.name)
            if match is not None and file.is_file() and not _may_live(file, None, match.group(1)):
                file.unlink(missing_ok=True)


_STALE_S = 86_400.0


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


def json_text(content: Any) -> str:
    """JSON as results are written."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def write_trial(results: Path, manifest: dict[str, Any], trace: polars.DataFrame) -> None:
    """Stores a trial; it appears by one rename.

    Args:
        results: the results directory.
        manifest: without `files`, which this fills in.
        trace: the samples.

    Raises:
        OSError: the disk is full, say; nothing is left behind.
    """
    with appearing(trial_directory(results, manifest["trial_id"]), is_finished) as partial:
        table = io.BytesIO()  # polars, given a path, reports a full disk as an error of its own
        trace.write_parquet(table)
        (partial / TRACE).write_bytes(table.getvalue())
        text = json_text({**manifest, "files": {TRACE: hashlib.sha256(table.getbuffer()).hexdigest()}})
        (partial / MANIFEST).write_text(text, encoding="utf-8")


def read_trial(directory: Path) -> TrialResult:
    """Reads one trial and checks that it is whole.

    Raises:
        CorruptResultError: a file is missing, truncated, altered, outside, no regular file or beyond all size; names
            the file and the reason.
    """
    root = directory.parent.parent
    path = directory / MANIFEST
    manifest = read_json(path, root, _MOST_BYTES[MANIFEST])
    check_format(path, manifest)
    check_shape(path, manifest, MANIFEST_SHAPE)
    path = directory / TRACE
    content = read_file(path, root, _MOST_BYTES[TRACE])
    if hashlib.sha256(content).hexdigest() != manifest["files"].get(TRACE):
        raise CorruptResultError(f"{path}: its contents do not match the hash in {MANIFEST} (truncated or altered).")
    budget, used = manifest["trial"]["samples"], manifest["samples_used"]
    with_held_out = {**TRACE_COLUMNS, "held_out": "Float64"}

    def wrong(rows: int) -> str:
        fits = rows == used <= budget
        return "" if fits else f"{rows} samples, where the manifest says {used} of a budget of {budget}"

    trace = read_table(path, content, (TRACE_COLUMNS, with_held_out), wrong, _MOST_SAMPLE_BYTES * (1 + used))
    check_trace(path, trace)
    return TrialResult(manifest, trace)


def read_table(
    path: Path,
    content: bytes,
    columns: Sequence[Mapping[str, str]],
    wrong: Callable[[int], str],
    most_bytes: int = _MOST_TABLE_BYTES,
    only: Sequence[str] | None = None,
) -> polars.DataFrame:
    """The table of a Parquet file; its rows and its size are read in its footer before its data are.

    Args:
        path: of the file, for errors.
        content: of the file.
        columns: {name: polars' dtype}, any of which will do.
        wrong: what is wrong with so many rows, in words; empty where nothing is.
        most_bytes: that it may unpack to; 2 GiB at most in any case.
        only: the columns that are read; all when left out.

    Raises:
        CorruptResultError: it is no Parquet file, has other columns, something is wrong with its rows, or it unpacks to
            more than it may.
    """
    import polars

    def read(reader: Callable[..., Any], *given: Any, **words: Any) -> Any:
        try:
            with _silence():
                return reader(io.BytesIO(content), *given, **words)
        except (Exception, polars.exceptions.PanicException) as error:  # several kinds for a file that is no Parquet
            raise CorruptResultError(f"{path}: not readable as Parquet ({type(error).__name__}).") from None

    found = {name: str(kind) for name, kind in read(polars.read_parquet_schema).items()}
    if found not in columns:
        raise CorruptResultError(
            f"{path}: columns {shortened(found, LONGEST)} where {' or '.join(map(str, columns))} are expected."
        )
    rows, unpacked = read(lambda file: footer_of(file.getvalue()))
    if wrong(rows):
        raise CorruptResultError(f"{path}: {wrong(rows)}.")
    most_bytes = min(most_bytes, _MOST_TABLE_BYTES)
    if unpacked > most_bytes:
        raise CorruptResultError(
            f"{path}: it unpacks to {unpacked:,} bytes, where {most_bytes:,} are the most that it can have."
        )
    return read(polars.read_parquet, columns=only, n_rows=rows + 1)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps what polars' own threads say of a damaged file, pages of it, from the terminal: the error says it."""
    with contextlib.ExitStack() as last:
        try:
            kept = os.dup(2)
            last.callback(os.close, kept)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            last.callback(os.close, nowhere)
        except OSError:  # closed, or there are no descriptors left
            yield
            return
        last.callback(os.dup2, kept, 2)
        os.dup2(nowhere, 2)
        yield


def check_format(path: Path | str, content: Any) -> None:
    """Another format has another shape: said first."""
    found = content.get("format") if isinstance(content, dict) else None
    if type(found) is int and found != FORMAT:
        raise CorruptResultError(
            f"{path}: format {found} where this version reads {FORMAT}. Run the suite again into another directory: "
            "`dsegym run SUITE --output DIRECTORY`."
        )


def check_trace(path: Path | str, trace: polars.DataFrame) -> None:
    """What must hold of a trace whatever its instance is.

    Raises:
        CorruptResultError: names the file and the reason.
    """
    for name in TRACE_COLUMNS:
        values = trace[name].explode() if name == "design" else trace[name]
        if values.null_count():
            raise CorruptResultError(f"{path}: '{name}' is missing in some samples.")
    elapsed = trace["elapsed_s"].to_numpy()
    if not (np.isfinite(elapsed).all() and (np.diff(elapsed, prepend=0.0) >= 0).all()):
        raise CorruptResultError(f"{path}: 'elapsed_s' does not rise from 0 in finite numbers.")
    if "held_out" in trace.columns:
        best = incumbents(trace["objective"].to_numpy(), trace["feasible"].to_numpy())
        if trace["held_out"].is_not_null().arg_true().to_list() != best.tolist():
            raise CorruptResultError(
                f"{path}: 'held_out' has values for other samples than those that were the best so far."
            )


def write_suite(results: Path, suite: Suite) -> list[str]:
    """Notes what a results directory is for, and keeps the files that its instances are made from.

    Returns:
        The ids of the suite's trials, in order.

    Raises:
        DsegymError: the directory already holds another suite's results, or the note is damaged, or links lead out of
            it; or the suite's trials are not its agents on its instances with all its seeds.
    """
    path = results / SUITE
    if os.path.lexists(path) and (held := read_suite(results)["name"]) != suite.name:
        raise DsegymError(
            f"'{results}' holds the results of the suite '{shortened(held)}'; choose another directory for "
            f"'{suite.name}'."
        )
    results.mkdir(parents=True, exist_ok=True)
    for folder in ("trials", FILES):
        check_folder(results / folder, results)
    identifiers = [trial_id(trial) for trial in suite.trials]
    content = {
        "format": FORMAT,
        "name": suite.name,
        "description": suite.description,
        "declared": _declared(suite),
        "left_out": [{"instance": instance, "reason": reason} for instance, reason in suite.left_out],
        "file_names": keep_files(results, (pair for trial in suite.trials for pair in trial.files())),
        "trials": identifiers,
    }
    write_by_rename(path, json_text(content).encode())
    return identifiers


def _declared(suite: Suite) -> dict[str, Any]:
    """What a suite multiplies: with it, nobody can leave out a trial or change one without saying so here."""
    plain = [trial.as_dict() for trial in suite.trials]
    unique = {key: {json.dumps(each[key], sort_keys=True): each[key] for each in plain} for key in plain[0]}
    unique["agent"] = {agent: unique["agent"][agent] for agent in _in_one_order(plain) or unique["agent"]}
    keys = {key: list(found) for key, found in unique.items()}
    tables = {key: list(found.values()) for key, found in unique.items()}
    budgets: dict[tuple[str, str], int] = {}  # the largest
    for each in plain:
        pair = pair_of(each)
        budgets[pair] = max(budgets.get(pair, 0), each["samples"])
    table = [[budgets.get((instance, agent), 0) for agent in keys["agent"]] for instance in keys["instance"]]
    declared = {
        "instances": tables["instance"],
        "agents": tables["agent"],
        "seeds": tables["seed"],
        "samples": max(tables["samples"]),
        "time_limit_s": tables["time_limit_s"][0],
    }
    if {samples for row in table for samples in row} != {declared["samples"]}:
        declared["budgets"] = table
    if suite.budgets:
        declared["all_samples"] = list(suite.budgets)
    if declared_trials({"declared": declared}) != plain:
        raise DsegymError(
            f"The trials of the suite '{suite.name}' are not its agents on its instances with all its seeds, at one "
            "budget of each agent on an instance, or at all of them, and one time limit."
        )
    return declared


def _in_one_order(plain: Sequence[Mapping[str, Any]]) -> list[str]:
    """The agents, as JSON, in an order that agrees with theirs on each instance, where not all play all of them; empty
    where there is none.
    """
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for _, trials in itertools.groupby(plain, key=lambda each: each["instance"]):
        agents = list(dict.fromkeys(pair_of(each)[1] for each in trials))
        sorter.add(agents[0])
        for before, after in itertools.pairwise(agents):
            sorter.add(after, before)
    try:
        return list(sorter.static_order())
    except graphlib.CycleError:
        return []


def declared_trials(note: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trials that a note's suite declares, as manifests hold them, in the order of their ids."""
    declared = note["declared"]
    return [
        {
            "instance": instance,
            "agent": agent,
            "seed": seed,
            "samples": samples,
            "time_limit_s": declared["time_limit_s"],
        }
        for instance, row in zip(declared["instances"], _budgets(declared), strict=True)
        for agent, most in zip(declared["agents"], row, strict=True)
        for samples in _within(declared, most)
        for seed in declared["seeds"]
    ]


def pair_of(trial: Mapping[str, Any]) -> tuple[str, str]:
    """The instance and the agent of a trial, as manifests have it, in one spelling each."""
    return json.dumps(trial["instance"], sort_keys=True), json.dumps(trial["agent"], sort_keys=True)


def largest_budgets(declared: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """{an instance and an agent, as `pair_of` has them: the most samples of their trials}; 0 where it does not play."""
    return {
        pair_of({"instance": instance, "agent": agent}): most
        for instance, row in zip(declared["instances"], _budgets(declared), strict=True)
        for agent, most in zip(declared["agents"], row, strict=True)
    }


def count_declared(declared: Mapping[str, Any]) -> int:
    """How many trials a note's suite declares; none of them is made."""
    return len(declared["seeds"]) * sum(len(_within(declared, most)) for row in _budgets(declared) for most in row)


def _within(declared: Mapping[str, Any], most: int) -> list[int]:
    """The budgets of an agent on an instance whose largest is `most`; none where it does not play."""
    return budgets_within(declared.get("all_samples", [most]), most) if most else []


def _budgets(declared: Mapping[str, Any]) -> Sequence[Sequence[int]]:
    """The most samples of each agent on each instance, 0 where it does not play."""
    alike = itertools.repeat([declared["samples"]] * len(declared["agents"]), len(declared["instances"]))
    return declared.get("budgets") or list(alike)


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


def holds_suite(results: Path) -> bool:
    """Whether a suite was run into a directory; it may hold evaluations of policies alone."""
    return os.path.lexists(results / SUITE) or not os.path.lexists(results / EVALUATIONS)


def read_suite(results: Path) -> Mapping[str, Any]:
    """The note of `write_suite`: name, description, trial ids, what the suite declares and leaves out.

    Raises:
        CorruptResultError: the directory holds no results, or the note is damaged.
    """
    path = results / SUITE
    if not os.path.lexists(path):
        raise CorruptResultError(f"'{results}' holds no results: there is no {SUITE} in it.")
    content = read_json(path, results, _MOST_BYTES[SUITE])
    check_format(path, content)
    check_shape(path, content, _NOTE)
    declared = content.get("declared", {})
    shape = [len(declared.get("agents", ()))] * len(declared.get("instances", ()))
    if "budgets" in declared and [len(row) for row in declared["budgets"]] != shape:
        raise CorruptResultError(f"{path}: 'budgets' is no table of its agents on its instances.")
    if len(set(content["trials"])) < len(content["trials"]):
        raise CorruptResultError(f"{path}: a trial stands there twice.")
    return content
