"""Programs of the memory-mapping family: instructions in a fixed order, the buffers that they read and write.

A program is a file of JSON lines, a line for each thing, in this order:

    {"program": NAME, "summary": TEXT, "dtype": NAME, "provenance": {...}}
    {"buffer": NAME, "bytes": SIZE, "kind": "parameter" | "temporary", "live_out": BOOL, "alias_group": -1}
    {"instruction": NAME, "flops": COUNT, "reads": [[BUFFER, BYTES], ...], "writes": [[BUFFER, BYTES], ...]}

Parameters (inputs, weights, constants) exist before the program starts; every temporary is written exactly once, before
it is read. `bytes` of an access is what the instruction moves: the buffer's size, or less for a slice or a gather.
Buffers of one `alias_group` (-1 for none) share storage, each in place of the one before it: same size, and no read of
the former after the write of the latter.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import InvalidWorkloadError, UnknownNameError
from ..files import is_path, is_whole, parse_json, read_text, shortened, shown
from ..formats import format_of

__all__ = [
    "MOST_BYTES",
    "Access",
    "Buffer",
    "Instruction",
    "Program",
    "get_program",
    "load_program",
    "program_names",
    "program_rows",
    "save_program",
]

_FOLDER = "programs"
_SUFFIX = ".jsonl"
MOST_BYTES = 2**50  # of a buffer, and of a capacity
MOST_FLOPS = 1e24  # of an instruction: hours of all computers together
_KINDS = ("parameter", "temporary")
_ELEMENT_BITS = {"float32": 32, "bfloat16": 16, "float16": 16, "int8": 8}


@dataclass(frozen=True)
class Buffer:
    """A tensor in memory."""

    name: str
    bytes: int  # B
    kind: Literal["parameter", "temporary"]
    live_out: bool = False  # an output of the program: it must be in slow memory at the end
    alias_group: int = -1  # buffers of one group share storage; -1 for none


@dataclass(frozen=True)
class Instruction:
    """One fused kernel."""

    name: str
    flops: float
    reads: tuple[tuple[int, int], ...]  # (index of a buffer, B), each buffer once
    writes: tuple[tuple[int, int], ...]  # the same


@dataclass(frozen=True)
class Access:
    """One buffer's use by one instruction: one decision of the game."""

    instruction: int
    buffer: int
    is_output: bool
    bytes: int  # B


@dataclass(frozen=True)
class Program:
    """A machine-learning program as the memory system sees it.

    Raises:
        InvalidWorkloadError: its parts do not fit together; the message names the buffer or the instruction.
    """

    name: str
    instructions: tuple[Instruction, ...]
    buffers: tuple[Buffer, ...]
    summary: str = ""
    dtype: str = ""  # of most of its tensors
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, index, problem in _problems(self):
            things = self.buffers if kind == "buffer" else self.instructions
            where = f" {kind} '{shortened(things[index].name)}'" if index >= 0 else ""
            raise InvalidWorkloadError(f"Program '{self.name}':{where} {problem}.")

    @functools.cached_property
    def accesses(self) -> tuple[Access, ...]:
        """Every access, in the order of the game: by instruction, operands before outputs."""
        return tuple(
            Access(t, buffer, is_output, size)
            for t, instruction in enumerate(self.instructions)
            for is_output, uses in ((False, instruction.reads), (True, instruction.writes))
            for buffer, size in uses
        )

    @functools.cached_property
    def predecessors(self) -> tuple[int, ...]:
        """Per buffer, the buffer that it is written in place of, or -1: the one before it in its alias group."""
        last: dict[int, int] = {}
        predecessors = [-1] * len(self.buffers)
        written = [use.buffer for use in self.accesses if use.is_output]
        for index in [*(i for i, b in enumerate(self.buffers) if b.kind == "parameter"), *written]:
            group = self.buffers[index].alias_group
            if group >= 0:
                predecessors[index] = last.get(group, -1)
                last[group] = index
        return tuple(predecessors)

    def with_element_bits(self, bits: int) -> Program:
        """The same program with every element of another width (0 for its own): sizes scale, operations stay.

        Programs are traced in bfloat16; an int8 accelerator's tensors are half as large. Index tensors scale with the
        rest, which makes them too small by a few bytes.
        """
        own = _ELEMENT_BITS.get(self.dtype, bits)
        if own == bits or not bits:
            return self

        def scaled(size: int) -> int:
            return -(-size * bits // own)

        buffers = tuple(replace(buffer, bytes=scaled(buffer.bytes)) for buffer in self.buffers)
        instructions = tuple(
            replace(
                instruction,
                reads=tuple((buffer, scaled(size)) for buffer, size in instruction.reads),
                writes=tuple((buffer, scaled(size)) for buffer, size in instruction.writes),
            )
            for instruction in self.instructions
        )
        return replace(self, instructions=instructions, buffers=buffers)

    @property
    def flops(self) -> float:
        """Floating-point operations of the whole program."""
        return math.fsum(instruction.flops for instruction in self.instructions)

    @property
    def bytes_moved(self) -> int:
        """B read and written by all instructions."""
        return sum(access.bytes for access in self.accesses)

    @property
    def parameter_bytes(self) -> int:
        """B of all parameters."""
        return sum(buffer.bytes for buffer in self.buffers if buffer.kind == "parameter")

    @functools.cached_property
    def activation_peak_bytes(self) -> int:
        """The largest sum, over instructions, of the temporaries alive at one: from their write to their last use
        (or to the end, if live-out). Buffers that share storage count once."""
        length = len(self.instructions)
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for access in self.accesses:
            first.setdefault(access.buffer, access.instruction)
            last[access.buffer] = access.instruction
        delta = [0] * (length + 1)
        for index, buffer in enumerate(self.buffers):
            if buffer.kind == "parameter" or index not in first:
                continue
            in_place = self.predecessors[index] >= 0 and self.buffers[self.predecessors[index]].kind == "temporary"
            start = first[index] + (1 if in_place else 0)  # at its write, the predecessor still counts
            end = length if buffer.live_out else last[index] + 1
            if start < end:
                delta[start] += buffer.bytes
                delta[end] -= buffer.bytes
        peak = here = 0
        for change in delta:
            here += change
            peak = max(peak, here)
        return peak


def _problems(program: Program):
    """(kind, index, sentence) of everything that is wrong; index -1 for the program as a whole."""
    buffers = program.buffers
    names: set[str] = set()
    for index, buffer in enumerate(buffers):
        if buffer.name in names:
            yield "buffer", index, "occurs twice; names are unique"
        names.add(buffer.name)
        if not _is_count(buffer.bytes):
            problem = f"has {shortened(buffer.bytes, 30)} bytes; a size is a whole number from 0 to {MOST_BYTES}"
            yield "buffer", index, problem
        if buffer.kind not in _KINDS:
            yield "buffer", index, f"is of kind '{shortened(buffer.kind)}'; allowed: {', '.join(_KINDS)}"
    if not program.instructions:
        yield "instruction", -1, "it has no instruction"
    written_at = {index: -1 for index, buffer in enumerate(buffers) if buffer.kind == "parameter"}
    last_use: dict[int, int] = {}
    for t, instruction in enumerate(program.instructions):
        if not (isinstance(instruction.flops, int | float) and 0 <= instruction.flops <= MOST_FLOPS):
            given = shortened(instruction.flops, 30)
            yield "instruction", t, f"has {given} flops; allowed: a number from 0 to {MOST_FLOPS:g}"
        if not instruction.reads and not instruction.writes:
            yield "instruction", t, "touches no buffer"
        for uses, what in ((instruction.reads, "reads"), (instruction.writes, "writes")):
            seen: set[int] = set()
            for buffer, size in uses:
                if not 0 <= buffer < len(buffers):
                    yield "instruction", t, f"{what} buffer {buffer}; there are {len(buffers)}"
                    return
                name = shortened(buffers[buffer].name)
                if buffer in seen:
                    yield "instruction", t, f"{what} '{name}' twice; give one access with all its bytes"
                seen.add(buffer)
                if not _is_count(size) or size > buffers[buffer].bytes:
                    sizes = f"allowed: whole numbers from 0 to its size, {shortened(buffers[buffer].bytes, 30)}"
                    yield "instruction", t, f"{what} {shortened(size, 30)} bytes of '{name}'; {sizes}"
        for buffer, _ in instruction.reads:
            if buffer not in written_at:
                yield "instruction", t, f"reads '{shortened(buffers[buffer].name)}', which nothing has written before"
            last_use[buffer] = t
        for buffer, _ in instruction.writes:
            if buffer in written_at:
                problem = "a parameter" if written_at[buffer] < 0 else "written before"
                yield "instruction", t, f"writes '{shortened(buffers[buffer].name)}', which is {problem}"
            written_at[buffer] = t
            last_use[buffer] = t
    for index in range(len(buffers)):
        if index not in written_at:
            yield "buffer", index, "is a temporary that nothing writes"
    for index, former in enumerate(program.predecessors):
        if former < 0:
            continue
        if written_at[index] < 0:
            yield "buffer", index, f"shares storage with '{shortened(buffers[former].name)}', but both are parameters"
        if buffers[former].bytes != buffers[index].bytes:
            yield "buffer", index, f"shares storage with '{shortened(buffers[former].name)}', which has another size"
        if buffers[former].live_out:
            yield "buffer", index, f"overwrites '{shortened(buffers[former].name)}', which is an output of the program"
        if last_use.get(former, -1) > written_at[index]:
            yield "buffer", index, f"overwrites '{shortened(buffers[former].name)}', which is read later"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_BYTES


_KEYS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "program": {"program": str, "summary": str, "dtype": str, "provenance": dict},
    "buffer": {"buffer": str, "bytes": int, "kind": str, "live_out": bool, "alias_group": int},
    "instruction": {"instruction": str, "flops": (int, float), "reads": list, "writes": list},
}
_OPTIONAL = {"summary": "", "dtype": "", "provenance": {}, "live_out": False, "alias_group": -1}


def load_program(path: str | Path) -> Program:
    """Reads a program file.

    Raises:
        InvalidWorkloadError: the file cannot be read, or a line is wrong; the message names file and line.
    """
    text = read_text(path)
    format_of(path, text, "program", {_SUFFIX: "a traced program"})
    return _parse(text, shown(path))


def _parse(text: str, source: str) -> Program:
    header: dict[str, Any] | None = None
    buffers: list[Buffer] = []
    instructions: list[Instruction] = []
    lines: dict[str, list[int]] = {"buffer": [], "instruction": []}
    numbers: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        kind, entry = _entry(line, source, number)
        if (kind == "program") != (header is None):
            problem = "a second program" if kind == "program" else "the first line names the program"
            raise InvalidWorkloadError(f"{source}, line {number}: {problem}.")
        if kind == "program":
            header = entry
            continue
        lines[kind].append(number)
        if kind == "buffer":
            numbers.setdefault(entry["buffer"], len(buffers))
            buffers.append(
                Buffer(entry["buffer"], entry["bytes"], entry["kind"], entry["live_out"], entry["alias_group"])
            )
        else:
            uses = [_uses(entry[key], numbers, f"{source}, line {number}: {key}") for key in ("reads", "writes")]
            instructions.append(Instruction(entry["instruction"], entry["flops"], *uses))
    if header is None:
        raise InvalidWorkloadError(f"{source}: the file is empty; the first line names the program.")
    program = object.__new__(Program)  # to say where a problem stands before the constructor says what it is
    values = (header["program"], tuple(instructions), tuple(buffers))
    for name, value in zip(("name", "instructions", "buffers"), values, strict=True):
        object.__setattr__(program, name, value)
    for kind, index, problem in _problems(program):
        things = buffers if kind == "buffer" else instructions
        where = f", line {lines[kind][index]}: {kind} '{shortened(things[index].name)}'" if index >= 0 else ":"
        raise InvalidWorkloadError(f"{source}{where} {problem}.")
    return Program(*values, header["summary"], header["dtype"], header["provenance"])


def _entry(line: str, source: str, number: int) -> tuple[str, dict[str, Any]]:
    where, entry = f"{source}, line {number}", parse_json(source, line, number)
    kind = next((kind for kind in _KEYS if isinstance(entry, dict) and kind in entry), None)
    if kind is None:
        raise InvalidWorkloadError(f"{where}: an object with one of the keys {', '.join(_KEYS)} is expected.")
    assert isinstance(entry, dict)
    for key in entry:
        if key not in _KEYS[kind]:
            raise InvalidWorkloadError(f"{where}: {UnknownNameError('key', key, _KEYS[kind])}")
    for key, types in _KEYS[kind].items():
        value = entry.setdefault(key, _OPTIONAL[key]) if key in _OPTIONAL else entry.get(key)
        if types is int and isinstance(value, float) and is_whole(value):
            value = entry[key] = int(value)
        if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
            given = shortened(json.dumps(value))
            raise InvalidWorkloadError(f"{where}: '{key}' is {given}; see the format in {__name__}.")
    return kind, entry


def _uses(entries: Sequence[Any], numbers: Mapping[str, int], where: str) -> tuple[tuple[int, int], ...]:
    uses = []
    for entry in entries:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            raise InvalidWorkloadError(f"{where} holds {shortened(json.dumps(entry))}; an access is [buffer, bytes].")
        if entry[0] not in numbers:
            raise InvalidWorkloadError(
                f"{where} names the buffer '{shortened(entry[0])}', which no line above describes."
            )
        uses.append((numbers[entry[0]], int(entry[1]) if is_whole(entry[1]) else entry[1]))
    return tuple(uses)


def save_program(program: Program, path: str | Path) -> None:
    """Writes a program file."""
    names = [buffer.name for buffer in program.buffers]
    entries: list[Mapping[str, Any]] = [
        {"program": program.name, "summary": program.summary, "dtype": program.dtype}
        | {"provenance": dict(program.provenance)}
    ]
    for buffer in program.buffers:
        entry = {"buffer": buffer.name, "bytes": buffer.bytes, "kind": buffer.kind}
        entry |= {"live_out": True} if buffer.live_out else {}
        entries.append(entry | ({"alias_group": buffer.alias_group} if buffer.alias_group >= 0 else {}))
    for instruction in program.instructions:
        reads, writes = ([[names[b], size] for b, size in uses] for uses in (instruction.reads, instruction.writes))
        entries.append({"instruction": instruction.name, "flops": instruction.flops, "reads": reads, "writes": writes})
    Path(path).write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


@functools.cache
def program_names() -> tuple[str, ...]:
    """The programs of the package."""
    folder = importlib.resources.files(__name__.rpartition(".")[0]) / _FOLDER
    names = (entry.name for entry in folder.iterdir() if entry.name.endswith(_SUFFIX))
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names))


def is_program_file(name: str) -> bool:
    """Whether a name is meant as a path."""
    return name not in program_names() and is_path(name)


def get_program(name: str) -> Program:
    """A program of the package by name, or a user's by the path of its file.

    Raises:
        UnknownNameError: there is no such program.
        InvalidWorkloadError: its file is wrong.
    """
    if is_program_file(name):
        return load_program(name)
    if name not in program_names():
        raise UnknownNameError("program", name, program_names())
    return _shipped(name)


@functools.cache
def _shipped(name: str) -> Program:
    folder = importlib.resources.files(__name__.rpartition(".")[0]) / _FOLDER
    return _parse((folder / f"{name}{_SUFFIX}").read_text(encoding="utf-8"), f"{name}{_SUFFIX}")


def program_rows() -> list[dict[str, object]]:
    """The package's programs, a row each, for people."""
    programs = {name: get_program(name) for name in program_names()}
    return [
        {
            "program": name,
            "instructions": len(program.instructions),
            "buffers": len(program.buffers),
            "accesses": len(program.accesses),
            "GFLOP": f"{program.flops / 1e9:.3g}",
            "moved (MB)": f"{program.bytes_moved / 1e6:.3g}",
            "parameters (MB)": f"{program.parameter_bytes / 1e6:.3g}",
            "activation peak (MB)": f"{program.activation_peak_bytes / 1e6:.3g}",
        }
        for name, program in programs.items()
    ]
