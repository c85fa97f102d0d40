"""What a Parquet file says of itself in its footer, read without its data: a small file can unpack to a huge table.

The footer is a structure of Thrift's compact protocol. Sources: Apache Parquet's `parquet.thrift` (FileMetaData,
RowGroup, ColumnChunk, ColumnMetaData) and the Thrift compact protocol. polars tells rows and columns, not sizes.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

__all__ = ["Footer", "footer_of"]

_MAGIC = b"PAR1"
_BYTES = (1, 4, 8, 12, 4, 8, 16, 16)  # of a value in memory, by physical type; a text's view, and its bytes are apart
_BYTE_ARRAY = 6
_DEEPEST = 32  # structures in one another; the format has six


class Footer(NamedTuple):
    """Sizes as a file's footer has them."""

    rows: int
    unpacked_bytes: int  # of all columns in memory; texts that repeat are counted once, as polars keeps them


def footer_of(content: bytes) -> Footer:
    """The footer of a Parquet file.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    if len(content) < 12 or content[:4] != _MAGIC or content[-4:] != _MAGIC:
        raise ValueError("it does not begin and end as a Parquet file")
    length = int.from_bytes(content[-8:-4], "little")
    if length > len(content) - 12:
        raise ValueError("its footer is longer than the file")
    try:
        groups = _Reader(content[-8 - length : -8]).structure()[4]
        columns = [column[3] for group in groups for column in group[1]]  # ColumnMetaData of each ColumnChunk
        counts = [(column[1], column[5], column[6]) for column in columns]  # type, num_values, total_uncompressed_size
        if any(type(count) is not int or count < 0 for each in counts for count in each):
            raise ValueError("a count is negative")
        unpacked = sum(
            values * _BYTES[kind] + size if kind == _BYTE_ARRAY else max(values * _BYTES[kind], size)
            for kind, values, size in counts
        )
        return Footer(sum(group[3] for group in groups), unpacked)
    except (IndexError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"its footer is damaged ({type(error).__name__})") from None


class _Reader:
    """A cursor over bytes of the compact protocol. Structures become {field's number: value}."""

    def __init__(self, content: bytes):
        self.content, self.place, self.depth = content, 0, 0

    def byte(self) -> int:
        self.place += 1
        return self.content[self.place - 1]

    def take(self, count: int) -> bytes:
        if count > len(self.content) - self.place:
            raise IndexError
        self.place += count
        return self.content[self.place - count : self.place]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise OverflowError

    def zigzag(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def structure(self) -> dict[int, Any]:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise OverflowError
        found, field = {}, 0
        while head := self.byte():
            field = field + (head >> 4) if head >> 4 else self.zigzag()
            kind = head & 15
            found[field] = kind == 1 if kind in (1, 2) else self.value(kind)
        self.depth -= 1
        return found

    def sequence(self) -> list[Any]:
        head = self.byte()
        size = head >> 4 if head >> 4 < 15 else self.varint()
        if size > len(self.content) - self.place:  # each element takes a byte at least
            raise IndexError
        return [self.value(head & 15) for _ in range(size)]

    def value(self, kind: int) -> Any:
        match kind:
            case 1 | 2 | 3:
                return self.byte()
            case 4 | 5 | 6:
                return self.zigzag()
            case 7:
                return struct.unpack("<d", self.take(8))[0]
            case 8:
                return self.take(self.varint())
            case 9 | 10:
                return self.sequence()
            case 12:
                return self.structure()
        raise KeyError(kind)  # maps do not occur
