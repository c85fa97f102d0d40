"""What `--json` prints: one document of strict JSON, alone on standard output."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TextIO

__all__ = ["alone", "json_text", "print_document", "print_json"]

_STREAM: ContextVar[TextIO | None] = ContextVar("standard output of documents", default=None)


def alone(command: Callable[..., None]) -> Callable[..., None]:
    """A command that, told `as_json`, leaves standard output to its document.

    What libraries print, and agents in processes of their own, goes to standard error.
    """

    @functools.wraps(command)
    def apart(*arguments: Any, **named: Any) -> None:
        with _kept_apart() if named["as_json"] else contextlib.nullcontext():
            command(*arguments, **named)

    return apart


@contextlib.contextmanager
def _kept_apart() -> Iterator[None]:
    """Until its end documents alone go to standard output."""
    given, other = sys.stdout, sys.stderr
    with contextlib.ExitStack() as ends:
        ends.enter_context(contextlib.redirect_stdout(other))
        stream = given
        # Streams without a descriptor are of this process alone, as tests have them.
        with contextlib.suppress(OSError, ValueError):
            descriptor, others = given.fileno(), other.fileno()
            given.flush()
            kept = os.dup(descriptor)
            stream = ends.enter_context(open(kept, "w", encoding=given.encoding, errors=given.errors))
            ends.callback(os.dup2, kept, descriptor)
            os.dup2(others, descriptor)
        ends.callback(_STREAM.reset, _STREAM.set(stream))
        yield


def json_text(content: Any) -> str:
    """A document: numbers as they are, null in place of those that are not finite.

    Args:
        content: mappings, sequences, texts, numbers (NumPy's too), booleans and None.
    """
    return json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"


def print_json(content: Any) -> None:
    """Prints content as `json_text` writes it."""
    print_document(json_text(content))


def print_document(text: str) -> None:
    """Prints a document that is JSON already."""
    print(text, end="", file=_STREAM.get(), flush=True)


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
