"""An instance of memory mapping: how much fast memory there is, as users say it, and the program in whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DsegymError
from ..files import number, size_in_bytes, size_text
from ..formats import MOST_ACCESSES
from .discrete import DiscreteProgram, discretise
from .models.zoo import is_zoo_name, zoo_program
from .platforms import Platform, get_platform
from .program import MOST_BYTES, Program, get_program

__all__ = ["Capacity", "discrete_program", "parse_capacity"]

MAX_SHARE = 16.0  # of the activation peak; a larger number is most likely meant as bytes
_PLATFORM = "platform"


@dataclass(frozen=True)
class Capacity:
    """Of fast memory: a share of the program's activation peak, a size, or (neither) the platform's own.

    Its text is canonical: equal capacities have one.
    """

    peak_share: float | None = None
    size_bytes: int | None = None

    def __str__(self) -> str:
        if self.size_bytes is not None:
            return size_text(self.size_bytes)
        return _PLATFORM if self.peak_share is None else repr(self.peak_share).removesuffix(".0")

    def bytes_of(self, program: Program, platform: Platform) -> int:
        """B; a share is at least one granule of the platform."""
        if self.size_bytes is not None:
            return self.size_bytes
        if self.peak_share is None:
            return platform.capacity_bytes
        peak = program.with_element_bits(platform.element_bits).activation_peak_bytes
        return max(int(self.peak_share * peak), platform.granule_bytes)


def parse_capacity(given: object) -> Capacity:
    """The capacity that a user means: 0.25 (a share), "16MiB", "64 KiB", "2048B" or "platform".

    Raises:
        ValueError: it is none of these, or out of range.
    """
    if isinstance(given, Capacity):
        return given
    if given == _PLATFORM:
        return Capacity()
    size = size_in_bytes(str(given))
    if size is not None:
        if size > MOST_BYTES:
            raise ValueError
        return Capacity(size_bytes=size)
    return Capacity(peak_share=number(str(given), "capacity", 0, MAX_SHARE, above=True))


def discrete_program(program: str, platform: str, capacity: Capacity, bandwidth: str) -> DiscreteProgram:
    """The instance in whole numbers.

    Args:
        program: a program of the package or of the zoo, or the path of a user's file.
        platform: a platform of the package.
        capacity: of fast memory.
        bandwidth: as of `discretise`.

    Raises:
        UnknownNameError, InvalidWorkloadError: as `get_program`, `is_zoo_name` and `get_platform`.
        DsegymError: the program has more than `MOST_ACCESSES` accesses; or as `discretise`.
    """
    loaded = zoo_program(program) if is_zoo_name(program) else get_program(program)
    memories = get_platform(platform)
    if len(loaded.accesses) > MOST_ACCESSES:
        count = len(loaded.accesses)
        raise DsegymError(f"Program '{program}' has {count} accesses; at most {MOST_ACCESSES} are played.")
    return discretise(loaded, memories, capacity_bytes=capacity.bytes_of(loaded, memories), bandwidth=bandwidth)
