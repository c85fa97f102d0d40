"""Accesses as the relaxations see them, and the choices that the rules leave at each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from ..discrete import NONE, DiscreteProgram

__all__ = ["Choices", "Use", "by_instruction", "choices_of", "uses_of"]

Variable = TypeVar("Variable")  # of a solver


class Use(NamedTuple):
    """One access, with its place in the history of its storage: a buffer, or an alias group from one to the next."""

    instruction: int
    buffer: int
    is_output: bool
    slow: int
    fast: int
    granules: int
    copy: int  # ticks
    movable: bool  # whether the buffer can be in fast memory at all
    saves: bool  # whether it is an output of a buffer that slow memory lacks at the start
    previous: int  # the access before it in the same storage, or NONE
    following: int  # the access after it, or NONE
    start: int  # first instruction after the previous access, or 0; at most `instruction`
    resident_offset: int  # granules: where its storage lies in fast memory before the first access, or NONE
    origin: int  # the access that wrote what the storage held before this access, or NONE if slow memory has it anyway
    leads: bool  # whether it is its storage's first access at this instruction: the one whose granules count
    # Which choices the rules leave; see `Choices`.
    keepable: bool
    fetchable: bool
    writable: bool
    early: bool
    late: bool
    final: bool


class Choices(NamedTuple, Generic[Variable]):
    """A 0-1 variable for each access of what may serve it and how its storage may get to slow memory; None: it may not.

    An access is served from fast memory by at most one of `kept`, `fetched` and `written`.
    """

    kept: list[Variable | None]  # the storage has been in fast memory since the previous access
    fetched: list[Variable | None]  # it is copied in for this access
    written: list[Variable | None]  # an output: it begins here
    early: list[Variable | None]  # written back after this output, by its Copy
    late: list[Variable | None]  # written back before this access, which does not find it in fast memory
    final: list[Variable | None]  # written back after this last access, as the program returns it

    def served(self) -> list[list[Variable]]:
        """Of each access, the variables that serve it from fast memory."""
        return [
            [x for x in columns if x is not None] for columns in zip(self.kept, self.fetched, self.written, strict=True)
        ]


def choices_of(uses: Sequence[Use], make: Callable[[], Variable]) -> Choices[Variable]:
    """The choices of all accesses; `make` makes a 0-1 variable."""

    def variable(allowed: bool) -> Variable | None:
        return make() if allowed else None

    kept = [variable(use.keepable) for use in uses]
    fetched = [variable(use.fetchable) for use in uses]
    written = [variable(use.writable) for use in uses]
    backs = [(variable(use.early), variable(use.late), variable(use.final)) for use in uses]
    early, late, final = ([variables[k] for variables in backs] for k in range(3))
    return Choices(kept, fetched, written, early, late, final)


def by_instruction(uses: Sequence[Use], length: int) -> list[list[int]]:
    """The numbers of each instruction's accesses."""
    at: list[list[int]] = [[] for _ in range(length)]
    for r, use in enumerate(uses):
        at[use.instruction].append(r)
    return at


def uses_of(discrete: DiscreteProgram) -> list[Use]:
    """All accesses in order."""
    a = discrete.arrays
    count = len(a.instruction)
    previous, following, last = [NONE] * count, [NONE] * count, {}
    origin, writer = [NONE] * count, {}
    resident_offset = [NONE] * count
    for r in range(count):
        buffer = int(a.buffer[r])
        holder = int(a.predecessor[buffer]) if a.is_output[r] else buffer
        if holder in last:
            previous[r] = last[holder]
            following[last[holder]] = r
        elif holder != NONE:
            resident_offset[r] = int(a.resident_offset[holder])
        origin[r] = writer.get(holder, NONE)
        if a.is_output[r] and not a.in_slow[buffer]:
            writer[buffer] = r
        last[buffer] = r
    capacity = int(a.capacity)
    uses = []
    for r in range(count):
        t, buffer, before, is_output = int(a.instruction[r]), int(a.buffer[r]), previous[r], bool(a.is_output[r])
        movable = 0 < int(a.granules[buffer]) <= capacity
        copyable, in_slow = movable and bool(a.copy_allowed[r]), bool(a.in_slow[buffer])
        ends = following[r] == NONE or int(a.buffer[following[r]]) != buffer  # whether no later access needs the buffer
        uses.append(
            Use(
                instruction=t,
                buffer=buffer,
                is_output=is_output,
                slow=int(a.slow[r]),
                fast=int(a.fast[r]),
                granules=int(a.granules[buffer]),
                copy=int(a.copy[buffer]),
                movable=movable,
                saves=is_output and not in_slow,
                previous=before,
                following=following[r],
                start=min(int(a.instruction[before]) + 1, t) if before != NONE else 0,
                resident_offset=resident_offset[r],
                origin=origin[r],
                leads=before == NONE or int(a.instruction[before]) != t,
                keepable=movable and (before != NONE or resident_offset[r] != NONE),
                fetchable=copyable and not is_output,
                writable=movable and is_output and int(a.predecessor[buffer]) == NONE,
                early=copyable and is_output and not in_slow and following[r] != NONE,
                late=movable and origin[r] != NONE,
                final=movable and bool(a.live_out[buffer]) and not in_slow and ends,
            )
        )
    return uses
