"""How figures are written, in every table and page alike."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

__all__ = [
    "canonical",
    "counted",
    "format_exact",
    "format_gap",
    "format_number",
    "format_quantity",
    "format_score",
    "interval_text",
    "name_and_unit",
    "plain_text",
    "rounded",
]

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


# The last word of a quantity's name, where it is a unit: the unit as it is written.
_UNITS = {
    "s": "s",
    "ms": "ms",
    "us": "us",
    "ns": "ns",
    "ps": "ps",
    "js": "J s",
    "bytes": "B",
    "kib": "KiB",
    "mib": "MiB",
    "gib": "GiB",
    "j": "J",
    "mj": "mJ",
    "uj": "uJ",
    "nj": "nJ",
    "pj": "pJ",
    "w": "W",
    "mw": "mW",
    "mm2": "mm2",
    "hz": "Hz",
    "mhz": "MHz",
    "ghz": "GHz",
    "words": "words",
    "bits": "bits",
    "tokens": "tokens",
    "tflop": "TFLOP",
    "teflop": "TeFLOP",
}


def name_and_unit(quantity: str) -> tuple[str, str]:
    """A quantity's name taken apart: its words, and its unit or nothing. `area_mm2` is area, in mm2."""
    stem, _, last = quantity.rpartition("_")
    unit = _UNITS.get(last, "") if stem else ""
    return (stem if unit else quantity).replace("_", " "), unit


def counted(count: int, what: str) -> str:
    """A number of things, whose plural ends in an s."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def format_exact(value: float) -> str:
    """A whole number whole, any other in six digits: to be read once, and to be copied."""
    whole = isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15)
    return f"{int(value):,}" if whole else f"{value:.6g}"


_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_PREFIXABLE = {"s", "J", "W", "Hz", "F"}  # not squares such as m², whose prefix counts twice, nor bytes
_LONG = 100_000  # from here on a number takes a prefix where it has no unit to take it


def _scaled(value: float) -> str:
    """Four digits, a blank, and the SI prefix that goes with them."""
    exponent = min(max(3 * math.floor(math.log10(abs(value)) / 3), min(_PREFIXES)), max(_PREFIXES))
    return f"{value / 10.0**exponent:.4g} {_PREFIXES[exponent]}"


def format_number(value: float) -> str:
    """A number in at most five digits, to be compared with others: 12,345 or 123.4 M or 1.234e-05."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= _LONG:
        return _scaled(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def format_quantity(value: float | None, unit: str) -> str:
    """Four digits and a unit, with an SI prefix where the unit takes one; whole bytes; "-" where there is no value."""
    if value is None:
        return "-"
    if unit == "B" and abs(value) >= 1:
        return f"{value:,.0f} B"
    if unit not in _PREFIXABLE or value == 0:
        return f"{value:.5g} {unit}".rstrip()
    return _scaled(value) + unit


ONE_SEED = "- (one seed)"  # in place of an interval


def interval_text(low: float | None, high: float | None, ends: Callable[[float, float], str]) -> str:
    """An interval as `ends` writes it, or that there is none."""
    return ONE_SEED if low is None or high is None else ends(low, high)
