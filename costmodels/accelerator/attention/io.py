"""Words that attention moves between a fast memory and a slow one: algorithms, and what none goes below.

One head of n queries and n keys, d words wide, and m words of fast memory. Everything is in words, real numbers, and
works on Python numbers and arrays alike. Source of the bounds: Saha and Ye, arXiv 2402.07443.

| algorithm | words | where it applies |
|---|---|---|
| standard | 4nd + 4n², the scores and their softmax written and read | m >= d² |
| blocked | 4 sqrt(3) n²d / sqrt(m) + 2n², both products in square blocks | any |
| flash_attention_1 | 2nd + 12n²d²/m, a block of keys outermost | m >= 4d |
| flash_attention_2 | 2nd + n + 8n²d²/m, a block of m/4d queries outermost | m >= 4d |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = [
    "ALGORITHMS",
    "LEAST_SHARE",
    "blocked_words",
    "flash_attention_1_words",
    "flash_attention_2_words",
    "lower_bound_words",
    "standard_words",
    "streamed_words",
]

LEAST_SHARE = 1 / 8  # of `lower_bound_words`, a safe constant for all of `ALGORITHMS`


def lower_bound_words(n: Any, d: Any, m: Any) -> Any:
    """The order of what every algorithm moves, without its constant: n²d²/m from m = d² on, n²d/sqrt(m) below; nd."""
    return np.maximum(n * d, np.minimum(n**2 * d**2 / m, n**2 * d / np.sqrt(m)))


def streamed_words(n: Any, width: Any, passes: Any) -> Any:
    """Queries and outputs once, keys and values once a pass over them; `width` words in a query and its output."""
    return n * width * (1 + passes)


def standard_words(n: Any, d: Any, m: Any) -> Any:
    """Scores, then softmax, then the product with the values, each through the slow memory."""
    return np.where(np.asarray(m) >= d**2, 4.0 * n * d + 4.0 * n**2, np.inf)


def blocked_words(n: Any, d: Any, m: Any) -> Any:
    """Both products in blocks of sqrt(m/3) on a side, the scores through the slow memory."""
    return 4 * n**2 * d / np.sqrt(np.asarray(m) / 3) + 2.0 * n**2


def flash_attention_1_words(n: Any, d: Any, m: Any) -> Any:
    """Blocks of m/4d keys outermost; each meets every query, output and its running maximum and sum."""
    rows = np.minimum(np.asarray(m) / (4 * d), n)
    return np.where(rows >= 1, 2.0 * n * d + n / rows * (3 * n * d + 4 * n), np.inf)


def flash_attention_2_words(n: Any, d: Any, m: Any, rows: Any = None) -> Any:
    """Blocks of queries outermost, m/4d of them if `rows` does not say how many; keys and values pass each block."""
    rows = np.minimum(np.asarray(m) / (4 * d), n) if rows is None else np.asarray(rows)
    return np.where(rows >= 1, streamed_words(n, 2 * d, n / rows) + n, np.inf)


ALGORITHMS: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    "standard": standard_words,
    "blocked": blocked_words,
    "flash_attention_1": flash_attention_1_words,
    "flash_attention_2": flash_attention_2_words,
}
