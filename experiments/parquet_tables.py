"""Tables of results: Parquet that anybody may have written, read within bounds."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..costmodels.errors import CorruptResultError, shortened
from .door import LONGEST
from .parquet_footer import footer_of

if TYPE_CHECKING:
    import polars

__all__ = ["read_table"]

_MOST_BYTES = 2**31  # unpacked


def read_table(
    path: Path,
    content: bytes,
    columns: Sequence[Mapping[str, str]],
    wrong: Callable[[int], str],
    most_bytes: int = _MOST_BYTES,
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
    most_bytes = min(most_bytes, _MOST_BYTES)
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
