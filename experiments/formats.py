"""How figures are written, in every table and page alike."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["canonical", "format_gap", "format_quantity", "format_score", "plain_text", "rounded"]

DIGITS = 9  # significant digits in JSON: all that differ are rounding of the sums


def canonical(value: Any) -> str:
    """A value in one spelling, whatever the order of its keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def plain_text(value: Any) -> str:
    """A text as it is, anything else in its one spelling."""
    return value if isinstance(value, str) else canonical(value)


def rounded(value: float) -> float:
    """A float at the precision that JSON shows."""
    return float(f"{value:.{DIGITS}g}") + 0.0  # + 0.0 turns -0.0 into 0.0


def format_score(score: float) -> str:
    """Four decimals: easy suites differ in the third."""
    return f"{score:z.4f}"


def format_gap(percent: float | None) -> str:
    """A gap to the bound, "-" where there is none."""
    if percent is None:
        return "-"
    return f"{percent:,.0f} %" if abs(percent) >= 100 else f"{percent:z.2f} %"


_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_PREFIXABLE = {"s", "J", "W", "Hz", "F"}  # not squares such as m², whose prefix counts twice, nor bytes


def format_quantity(value: float | None, unit: str) -> str:
    """Four digits and a unit, with an SI prefix where the unit takes one; whole bytes; "-" where there is no value."""
    if value is None:
        return "-"
    if unit == "B" and abs(value) >= 1:
        return f"{value:,.0f} B"
    if unit not in _PREFIXABLE or value == 0:
        return f"{value:.5g} {unit}".rstrip()
    exponent = min(max(3 * math.floor(math.log10(abs(value)) / 3), min(_PREFIXES)), max(_PREFIXES))
    return f"{value / 10.0**exponent:.4g} {_PREFIXES[exponent]}{unit}"
