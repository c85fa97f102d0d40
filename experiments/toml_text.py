"""Values as TOML writes them: the standard library reads TOML and does not write it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping

from ..costmodels.errors import DsegymError

__all__ = ["toml_key", "toml_text"]

_WIDE = 80  # characters of a list on one line


def toml_text(value: object) -> str:
    """A text, a truth value, a number, a table or a list of them.

    Raises:
        DsegymError: a number is not finite.
        TypeError: it is something else.
    """
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float():
            if not math.isfinite(value):
                raise DsegymError(f"A card holds finite numbers; given: {value}.")
            return repr(value)
        case str():
            return _quoted(value)
        case Mapping():
            return "{ " + ", ".join(f"{toml_key(key)} = {toml_text(each)}" for key, each in value.items()) + " }"
        case Iterable():
            items = [toml_text(each) for each in value]
            if len(str(items)) > _WIDE:
                return "[" + "".join(f"\n  {item}," for item in items) + "\n]"
            return f"[{', '.join(items)}]"
    raise TypeError(f"TOML holds no {type(value).__name__}.")


def toml_key(text: str) -> str:
    """A key, in quotation marks where it needs them."""
    return text if re.fullmatch("[A-Za-z0-9_-]+", text) else _quoted(text)


def _quoted(text: str) -> str:
    """JSON's strings are TOML's, but for the character DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
