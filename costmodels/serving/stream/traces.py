"""Requests by arrival: the package's traces, a user's own, and windows of them at a wanted rate.

A file is read by its header: our own (`arrival_s`), Azure's (`TIMESTAMP`), BurstGPT's (`Timestamp`), or Mooncake's
(JSON lines with `timestamp` in ms, and `hash_ids`). Nothing is sorted, filled or dropped: a trace that goes back in
time, has a hole of more than ten minutes, or tells of no or negative tokens is refused.

Mooncake's `hash_ids` name the blocks of 512 tokens of a prompt by all that stands before them, so that what a store of
all prefixes so far would hold of a prompt is its leading blocks that were seen before (`reused_blocks`).

A trace is int64[R] columns; a window is N requests one after another, its time stretched so that the whole trace would
bring the wanted rate: bursts stay as they are.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ...errors import InvalidWorkloadError, UnknownNameError
from ...files import fail, is_path, number, parse_json, read_text, shortened, shown, whole_number
from ...formats import MOST_REQUESTS, format_of
from ...tables import header_cells, normalised, package_rows, read_user_table
from ..engine.engine import BLOCK

__all__ = ["OWN_TRACES", "SYNTHETIC", "Trace", "Windows", "get_trace", "reused_blocks", "trace_names", "windows"]

SYNTHETIC = "poisson"
OWN_TRACES = ("azure_code", "azure_conv", "mooncake_conversation")
MOONCAKE_BLOCK = 512  # tokens
MOST_TOKENS = 131_072  # of a request: as far as attention is extrapolated
MOST_GAP_S = 600
MOST_WINDOW_S = 900.0  # from a window's first to its last arrival, so that times fit into int32 us with room to serve
TRAIN_SHARE = 0.6  # of a trace, its beginning: what is searched and trained on; scores are taken on the rest


class Trace(NamedTuple):
    """Requests by arrival; int64[R]."""

    arrival_us: np.ndarray
    prompt: np.ndarray  # tokens
    output: np.ndarray  # tokens
    reused: np.ndarray  # tokens of the prompt that a store of all prefixes so far holds
    tells_prefixes: bool

    def rate(self) -> float:
        """Requests a second."""
        return (len(self.prompt) - 1) / (float(self.arrival_us[-1] - self.arrival_us[0]) * 1e-6)


class Windows(NamedTuple):
    """W windows of N requests each; int32[W, N]."""

    arrival_us: Array  # from the first one's
    prompt: Array
    output: Array
    reused: Array


def trace_names() -> tuple[str, ...]:
    """All that need no file."""
    return (*OWN_TRACES, SYNTHETIC)


@functools.cache
def _own(name: str) -> Trace:
    rows = package_rows(f"serving/tables/requests_{name}.csv")
    columns = ("t_ms", "prompt_tokens", "output_tokens", "reused_tokens")
    arrival, prompt, output, reused = (np.array([int(row.get(column, 0)) for row in rows]) for column in columns)
    return Trace(arrival * 1000, prompt, output, reused, tells_prefixes="reused_tokens" in rows[0])


def get_trace(name: str) -> Trace:
    """A trace of the package, or a user's file.

    Raises:
        UnknownNameError: it is neither a name nor a path.
        InvalidWorkloadError: the file is no trace; names the file and the line.
    """
    if name in OWN_TRACES:
        return _own(name)
    if not is_path(name):
        raise UnknownNameError("trace", name, trace_names())
    return _load(name)


def reused_blocks(hash_ids: Iterable[Sequence[int]]) -> list[int]:
    """How many leading blocks of each prompt a store of all prefixes so far holds.

    Args:
        hash_ids: of each request in the order of arrival, a number for each block of its prompt; equal numbers stand
            for equal blocks after equal beginnings.
    """
    seen: set[int] = set()
    found = []
    for blocks in hash_ids:
        leading = next((place for place, block in enumerate(blocks) if block not in seen), len(blocks))
        found.append(leading)
        seen.update(blocks)
    return found


# Files


class _Request(NamedTuple):
    arrival_s: float
    prompt: int
    output: int


def _seconds(text: str) -> float:
    return number(text, "the arrival", 0, 1e9)


_MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,12})?([+-][0-9]{2}:[0-9]{2})?")


def _moment_s(text: str) -> float:
    """Azure's 2023-11-16 18:15:46.6805900, or of 2024 2024-05-10 00:00:00.009930+00:00, as seconds."""
    found = _MOMENT.fullmatch(text)
    try:
        date, fraction, zone = found.groups() if found else ("", None, None)
        moment = datetime.datetime.strptime(date + (zone or "+00:00"), "%Y-%m-%d %H:%M:%S%z")
        return moment.timestamp() + float(fraction or 0)
    except (ValueError, OverflowError):
        raise ValueError(f"TIMESTAMP is '{shortened(text, 30)}'; YYYY-MM-DD hh:mm:ss.fff is needed") from None


# Of each header: the columns that are read, and how its moments are.
_HEADERS: Sequence[tuple[tuple[str, str, str], Callable[[str], float]]] = (
    (("arrival s", "prompt tokens", "output tokens"), _seconds),
    (("arrival s", "input tokens", "output tokens"), _seconds),
    (("t s", "context tokens", "generated tokens"), _seconds),
    (("timestamp", "contexttokens", "generatedtokens"), _moment_s),
    (("timestamp", "request tokens", "response tokens"), _seconds),
)


_MOONCAKE = ("timestamp", "input_length", "output_length")


def _load(path: str) -> Trace:
    text = read_text(path)
    found = format_of(path, text, "trace")
    if "JSON" in found.name:
        lines, requests, blocks = _from_json(path, text)
    else:
        (lines, requests), blocks = _from_table(path, text), None
    _check(path, lines, requests)
    arrival = np.rint((np.array([each.arrival_s for each in requests]) - requests[0].arrival_s) * 1e6).astype(np.int64)
    prompt, output = (np.array([getattr(each, name) for each in requests], np.int64) for name in ("prompt", "output"))
    reused = np.zeros(len(requests), np.int64)
    if blocks is not None:
        reused = np.array(reused_blocks(blocks), np.int64) * MOONCAKE_BLOCK
    return Trace(arrival, prompt, output, np.minimum(reused, (prompt - 1) // BLOCK * BLOCK), blocks is not None)


def _from_table(path: str, text: str) -> tuple[list[int], list[_Request]]:
    names = {normalised(cell) for cell in header_cells(text)}
    (columns, moment), *others = [each for each in _HEADERS if set(each[0]) <= names]
    arrival, prompt, output = columns
    if others:
        fail(path, f"the columns {', '.join(columns)} and {', '.join(others[0][0])} say the same thing; keep either")

    def row(cells: Mapping[str, str]) -> _Request:
        tokens = [whole_number(cells[name], name, 1, MOST_TOKENS) for name in (prompt, output)]
        return _Request(moment(cells[arrival]), *tokens)

    table = read_user_table(
        Path(path),
        "trace",
        "request",
        (),
        lambda header: "",
        text=text,
        rename=lambda given: [normalised(name) if normalised(name) in columns else None for name in given],
        most=MOST_REQUESTS,
    )
    parsed = table.parse(row)
    return list(parsed), list(parsed.values())


def _from_json(path: str, text: str) -> tuple[list[int], list[_Request], list[list[int]] | None]:
    lines, requests, blocks = [], [], []
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        entry = parse_json(Path(path), content, line)
        if not isinstance(entry, dict):
            fail(Path(path), f"line {line} is not an object")
        try:
            cells = [entry[name] for name in _MOONCAKE]
            arrival_ms = number(str(cells[0]), "timestamp", 0, 1e12)
            tokens = [
                whole_number(str(cell), name, 1, MOST_TOKENS)
                for cell, name in zip(cells[1:], _MOONCAKE[1:], strict=True)
            ]
            if texts := [name for name in _MOONCAKE if isinstance(entry[name], str)]:
                raise ValueError(f"{texts[0]} is a text; a number is needed")
        except KeyError as error:
            fail(Path(path), f"line {line} has no member {error.args[0]}")
        except ValueError as error:
            fail(Path(path), f"line {line}: {error}")
        ids = entry.get("hash_ids")
        if not isinstance(ids, list) or not all(type(each) is int for each in ids):
            fail(Path(path), f"line {line}: hash_ids is no list of whole numbers")
        if len(ids) != -(-tokens[0] // MOONCAKE_BLOCK):
            fail(
                Path(path),
                f"line {line}: hash_ids names {len(ids):,} blocks of {MOONCAKE_BLOCK} tokens, and input_length = "
                f"{tokens[0]:,} takes {-(-tokens[0] // MOONCAKE_BLOCK):,}",
            )
        lines.append(line)
        requests.append(_Request(arrival_ms * 1e-3, *tokens))
        blocks.append(ids)
    return lines, requests, blocks


def _check(path: str, lines: Sequence[int], requests: Sequence[_Request]) -> None:
    for before, after, line in zip(requests, requests[1:], lines[1:], strict=False):
        gap = after.arrival_s - before.arrival_s
        if gap < 0:
            raise InvalidWorkloadError(
                f"'{shown(path)}', line {line}: it arrives {-gap:,.3f} s before the request above it; sort the trace "
                "by arrival."
            )
        if gap > MOST_GAP_S:
            raise InvalidWorkloadError(
                f"'{shown(path)}', line {line}: {gap:,.0f} s pass without a request; a trace has no hole of more than "
                f"{MOST_GAP_S} s: cut it there."
            )
    if len(requests) < 2 or requests[-1].arrival_s - requests[0].arrival_s < 1e-6:  # times are counted in us
        raise InvalidWorkloadError(
            f"'{shown(path)}': two requests at least, at two times a microsecond apart, are needed to tell a rate."
        )


# Windows


def windows(name: str, part: str, *, count: int, requests: int, rate: float, seed: int, reuse: bool) -> Windows:
    """Windows of a trace, drawn from one part of it.

    Args:
        name: of a trace, a user's file, or `poisson`: exponential gaps, with the sizes of Azure's conversations.
        part: `train`, the first 60 % of a trace, or `test`, the rest.
        count, requests: W and N.
        rate: requests a second of the whole trace.
        seed: of where windows begin, and of all that is random.
        reuse: whether a store of prefixes is there.

    Raises:
        InvalidWorkloadError: a part has fewer than N requests, or a window takes too long at this rate.
    """
    rng = np.random.default_rng([seed, requests, *part.encode()])
    trace = _own("azure_conv") if name == SYNTHETIC else get_trace(name)
    total = len(trace.prompt)
    edge = int(total * TRAIN_SHARE)
    first, last = (0, edge) if part == "train" else (edge, total)
    if last - first < requests:
        raise InvalidWorkloadError(
            f"The trace {shown(name)} has {total:,} requests, of which {last - first:,} are for the part {part}; a "
            f"window takes {requests}: {int(np.ceil(requests / (1 - TRAIN_SHARE))):,} requests in all are enough."
        )
    if name == SYNTHETIC:
        places = rng.integers(first, last, (count, requests))
        gaps = rng.exponential(1e6 / rate, (count, requests))
        gaps[:, 0] = 0
        arrival = np.cumsum(gaps, axis=1)
    else:
        places = rng.integers(first, last - requests + 1, count)[:, None] + np.arange(requests)
        arrival = (trace.arrival_us[places] - trace.arrival_us[places[:, :1]]) * (trace.rate() / rate)
    longest = float(arrival[:, -1].max()) * 1e-6
    if longest > MOST_WINDOW_S:
        raise InvalidWorkloadError(
            f"{requests} requests of {shown(name)} take {longest:,.0f} s at {rate:g} requests/s; at most "
            f"{MOST_WINDOW_S:,.0f} s are played: take fewer requests or a higher rate."
        )
    reused = trace.reused[places] if reuse else np.zeros_like(places)
    return Windows(*(np.rint(each).astype(np.int32) for each in (arrival, trace.prompt[places],
                                                                   trace.output[places], reused)))  # fmt: skip
