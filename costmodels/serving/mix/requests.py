"""Requests by size and what a GPU makes of them: the published mixes, Azure's traces, a user's own histogram or trace.

Mélange's profiles were never published, only what its solver chose. `tables/melange_loads.csv` holds loads of three
synthetic classes of requests, found by search, with which the integer programme chooses what the paper states: they are
implied by the results, and that these come out again is no evidence. No loads that are proportional to the rate give
all of them (twice the mix for 8 PubMed requests a second serves 16, and costs less than what is stated there), so each
stated rate has loads of its own; half of those of twice the rate give a bill 5 % off on average, 16 % at worst. Other
workloads are histograms, whose loads follow from the roofline (`serving/roofline.py`).

K classes, G types of GPU. Float64 on the host.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DsegymError, InvalidWorkloadError, UnknownNameError
from ...files import fail, file_hash, is_path, number, read_text, shortened, shown, strict_json
from ...formats import MOST_CLASSES, format_of
from ...tables import header_cells, normalised, package_rows, read_user_table
from ...transformers.configurations import get_model
from ...transformers.devices import Device, Precision, get_precision
from ...transformers.memory import shortfall_bytes
from .. import roofline
from ..stream.traces import get_trace
from .counting import counted

__all__ = [
    "FILES",
    "HISTOGRAMS",
    "MOST_BATCH",
    "PUBLISHED",
    "PUBLISHED_MODEL",
    "Class",
    "Histogram",
    "Published",
    "class_loads",
    "histogram",
    "published",
    "published_loads",
    "read_histogram",
    "workload_names",
]

PUBLISHED = ("arena", "pubmed", "mixed")
HISTOGRAMS = ("azure_code", "azure_conv")
PUBLISHED_MODEL = "Llama-2-7B"
MOST_BATCH = 256  # requests at once on a replica: vLLM's default
FILES = (  # in words, for options
    "the path of a table with the columns prompt_tokens, output_tokens and requests, or of a trace, a row a request "
    "(docs/files.md)"
)
_COLUMNS = ("prompt_tokens", "output_tokens", "requests")
_MOST_TOKENS, _MOST_REQUESTS = 10_000_000, 1e12


@dataclass(frozen=True)
class Class:
    """Requests of about one size."""

    name: str
    prompt_tokens: float
    output_tokens: float
    share: float  # of all requests


class Histogram(NamedTuple):
    """Requests by size, and what is to be said of them."""

    classes: tuple[Class, ...]
    notes: tuple[str, ...]  # of a trace: how it was counted, and its rate


@dataclass(frozen=True)
class Published:
    """What the paper states of one workload, target and rate."""

    workload: str
    tpot_ms: float
    rate: float
    counts: Mapping[str, int]  # of each GPU
    singles: Mapping[str, int]  # {GPU: how many of it alone}
    cost_usd_h: float


def workload_names() -> tuple[str, ...]:
    """All that need no file."""
    return (*PUBLISHED, *HISTOGRAMS)


@functools.cache
def published() -> tuple[Published, ...]:
    """The 36 stated mixes."""
    found = []
    for row in package_rows("serving/tables/melange_mixes.csv"):
        gpus = [name.removeprefix("only ") for name in row if name.startswith("only ")]
        found.append(
            Published(
                workload=row["workload"],
                tpot_ms=float(row["tpot_ms"]),
                rate=float(row["rate"]),
                counts={gpu: int(row[gpu]) for gpu in gpus},
                singles={gpu: int(row[f"only {gpu}"]) for gpu in gpus if row[f"only {gpu}"]},
                cost_usd_h=float(row["cost_usd_h"]),
            )
        )
    return tuple(found)


def published_loads(workload: str, tpot_ms: float, rate: float, gpus: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Names of the implied classes, and float64[K, G], their loads in GPUs; infinite where a GPU cannot serve them.

    Raises:
        DsegymError: the paper has no such target, rate or GPU.
    """
    rows = [row for row in package_rows("serving/tables/melange_loads.csv") if row["workload"] == workload]
    for column, what, unit, given in (("tpot_ms", "targets", "ms", tpot_ms), ("rate", "rates", "requests/s", rate)):
        stated = sorted({float(row[column]) for row in rows})
        if given not in stated:
            listed = ", ".join(f"{each:g}" for each in stated)
            raise DsegymError(
                f"The published workload {workload} has the {what} {listed} {unit}, not {given:g}; a histogram's loads "
                "follow from a model for any."
            )
    known = [name for name in rows[0] if name not in _KEYS]
    for gpu in gpus:
        if gpu not in known:
            raise DsegymError(
                f"The published workload {workload} was measured on {', '.join(known)}, not on {gpu}; a histogram's "
                "loads follow from a model for any GPU."
            )
    rows = [row for row in rows if (float(row["tpot_ms"]), float(row["rate"])) == (tpot_ms, rate)]
    loads = np.array([[float(row[gpu]) if row[gpu] else np.inf for gpu in gpus] for row in rows])
    if not np.isfinite(loads).any(1).all():
        raise DsegymError(f"Of {', '.join(gpus)} none serves all requests of the published workload {workload}.")
    return [row["class"] for row in rows], loads


_KEYS = ("workload", "tpot_ms", "rate", "class")


def histogram(workload: str) -> tuple[Class, ...]:
    """The classes of `read_histogram`, which see."""
    return read_histogram(workload).classes


def read_histogram(workload: str) -> Histogram:
    """The classes of a named histogram or of a user's file: a histogram, or a trace, which `counted` counts.

    A trace is told by its columns. Its rate is a note and no more: which rate is served is for an option to say.

    Raises:
        UnknownNameError: it is neither a name nor a path.
        InvalidWorkloadError: the file is neither, or both, or its requests sum to nothing; names the file and the line.
    """
    notes: tuple[str, ...] = ()
    if workload in HISTOGRAMS:
        rows = [row for row in package_rows("serving/tables/azure_requests.csv") if row["trace"] == workload]
        sizes = [tuple(float(row[column]) for column in _COLUMNS) for row in rows]
    else:
        if not is_path(workload):
            raise UnknownNameError("workload", workload, workload_names())
        text = read_text(workload)
        names = {normalised(cell).replace(" ", "_") for cell in header_cells(text)}
        nearly = {Path(workload).suffix.lower(): "a request histogram"} if names & set(_COLUMNS) else {}
        if format_of(workload, text, "requests", nearly).reader == "trace":
            if "requests" in names:
                fail(workload, "a histogram has the column requests, and a trace has moments of arrival; keep either")
            if line := _counting_line(text):
                fail(
                    workload, f"line {line} has the member requests, and a line of a trace is one request; leave it out"
                )
            sizes, notes = _of_trace(workload, file_hash(workload))
        else:
            sizes = _of_table(workload, text)
    total = sum(requests for _, _, requests in sizes)
    classes = tuple(
        Class(f"in{prompt:g}_out{output:g}_{place}", prompt, output, requests / total)
        for place, (prompt, output, requests) in enumerate(sizes, start=1)
        if requests
    )
    return Histogram(classes, notes)


def _counting_line(text: str) -> int:
    """The first line of JSON that says how many requests it stands for; 0 where none does. The trace's reader says what
    is wrong with a broken line.
    """
    if not text.lstrip().startswith("{"):
        return 0
    for line, content in enumerate(text.split("\n"), 1):
        if '"requests"' in content:
            with contextlib.suppress(ValueError):
                entry = strict_json(content)
                if isinstance(entry, dict) and "requests" in entry:
                    return line
    return 0


@functools.lru_cache(maxsize=8)
def _of_trace(path: str, content: str) -> tuple[list[tuple[float, float, float]], tuple[str, ...]]:
    """Sizes and the note of a trace; one of a million requests takes half a minute to read."""
    del content  # part of the key, so that an edited file is read again
    trace = get_trace(path)
    sizes = counted(trace)
    note = (
        f"{len(trace.prompt):,} requests of a trace are counted into {len(sizes)} classes by size; they came at "
        f"{trace.rate():.3g} requests/s on average, which the option rate does not follow."
    )
    return sizes, (note,)


def _of_table(path: str, text: str) -> list[tuple[float, float, float]]:
    table = read_user_table(Path(path), "request histogram", "class", (), _wrong_header, text=text, most=MOST_CLASSES)
    sizes = list(table.parse(_sizes).values())
    if not any(requests for _, _, requests in sizes):
        raise InvalidWorkloadError(f"'{shown(path)}': the requests sum to 0; one class at least must have some.")
    return sizes


def _wrong_header(columns: Sequence[str]) -> str:
    unknown = [column for column in columns if column not in _COLUMNS]
    missing = [column for column in _COLUMNS if column not in columns]
    if not unknown and not missing:
        return ""
    what = f"the header has no column {missing[0]}" if missing else ""
    if unknown:
        what = f"unknown column '{shortened(unknown[0])}'" if unknown[0] else "a column has no name"
    return (
        f"{what}; a request histogram has the columns {', '.join(_COLUMNS)}, a trace has arrival_s, prompt_tokens, "
        "output_tokens or those of another format (docs/files.md)"
    )


def _sizes(row: Mapping[str, str]) -> tuple[float, float, float]:
    return (
        number(row["prompt_tokens"], "prompt_tokens", 1, _MOST_TOKENS),
        number(row["output_tokens"], "output_tokens", 1, _MOST_TOKENS),
        number(row["requests"], "requests", 0, _MOST_REQUESTS),
    )


def class_loads(
    classes: Sequence[Class],
    *,
    model: str,
    precision: str,
    gpus: Sequence[Device],
    tensor_parallelism: int,
    tpot_ms: float,
    rate: float,
) -> np.ndarray:
    """float64[K, G]: loads of classes on GPUs (or on so many that serve together), infinite where they cannot serve.

    Raises:
        DsegymError: no GPU can serve a class: says by how much memory, or by how many ms; or heads are not divided.
    """
    sizes, numbers = get_model(model), get_precision(precision)
    if int(sizes.heads) % tensor_parallelism:
        raise DsegymError(
            f"tensor_parallelism = {tensor_parallelism} does not divide the {int(sizes.heads)} attention heads of "
            f"{shown(model)}."
        )
    prompt, output, share = (
        np.array([getattr(each, name) for each in classes]) for name in ("prompt_tokens", "output_tokens", "share")
    )
    loads = np.full((len(classes), len(gpus)), np.inf)
    fastest = np.full(len(classes), np.inf)  # TPOT of a request alone
    for place, gpu in enumerate(gpus):
        replica = roofline.replica_of(sizes, gpu, numbers, tensor_parallelism)
        most = np.floor(replica.free_bytes / (replica.kv_bytes_per_token * (prompt + output)))
        batch = np.arange(1.0, MOST_BATCH + 1)[:, None]
        step = np.asarray(roofline.tpot_parts(replica, batch, prompt, output).total_s())  # [MOST_BATCH, K]
        rates = np.asarray(roofline.requests_per_s(replica, batch, prompt, output))
        allowed = (batch <= most) & (step <= tpot_ms / 1e3)
        best = np.where(allowed, rates, 0.0).max(0)
        served = best > 0
        loads[served, place] = rate * share[served] / best[served]
        fastest = np.minimum(fastest, np.where(most >= 1, step[0], np.inf))
    nowhere = ~np.isfinite(loads).any(1)
    if nowhere.any():
        worst = classes[int(np.argmax(np.where(nowhere, prompt + output, -1)))]
        raise DsegymError(_cannot_serve(model, worst, gpus, numbers, tensor_parallelism, tpot_ms, fastest[nowhere]))
    return loads


def _cannot_serve(
    model: str,
    requests: Class,
    devices: Sequence[Device],
    precision: Precision,
    gpus: int,
    tpot_ms: float,
    fastest_s: np.ndarray,
) -> str:
    """Why no GPU serves a class, in a sentence."""
    tokens = int(requests.prompt_tokens + requests.output_tokens)
    missing = {device.name: shortfall_bytes(get_model(model), device, precision, gpus, tokens) for device in devices}
    nearest = min(missing, key=lambda name: missing[name])
    what = f"{model} in {precision.name} with a request of {tokens:,} tokens"
    if missing[nearest] > 0:
        lacks = missing[nearest] * 1e-9
        return f"{what} fits on none of the GPUs: {gpus} x {nearest} comes nearest and lacks {lacks:,.1f} GB."
    slowest = float(np.max(fastest_s[np.isfinite(fastest_s)])) * 1e3
    return f"No GPU serves {what} within {tpot_ms:g} ms a token: alone it takes {slowest:.1f} ms on the fastest."
