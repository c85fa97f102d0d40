"""What a network is like, in a few numbers that are alike in size for all networks: for policies that carry over.

L layers, rows of `LayerArrays`. Rows weigh by their multiply-accumulates; those that occur zero times weigh nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .workloads import LayerArrays

__all__ = ["QUANTILES", "SUMMARY", "summary_of"]

QUANTILES = (0.1, 0.5, 0.9)
# {name: what it is}; logarithms of 2, over a number that keeps them near 1.
SUMMARY: Mapping[str, str] = {
    "macs": "log2 of the multiply-accumulates over 40",
    "words": "log2 of the words of inputs, filters and outputs, each once a product, over 30",
    "filter_share": "share of the words that are filters",
    "output_share": "share of the words that are outputs",
    **{
        name: f"quantiles {', '.join(map(str, QUANTILES))} of log2 {what} over 16, layers weighed by their work"
        for name, what in {
            "m": "M",
            "n": "N",
            "k": "K",
            "intensity": "of the multiply-accumulates for each word",
        }.items()
    },
}


def _quantiles(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64[quantiles]: the values, float64[L], that lie at these shares of the weight, float64[L]."""
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(weights[order]) / weights.sum()
    return values[order][np.minimum(np.searchsorted(shares, QUANTILES), len(order) - 1)]


def summary_of(layers: LayerArrays) -> Mapping[str, np.ndarray]:
    """{name of `SUMMARY`: float64[] or float64[quantiles]} of a network; NumPy, on the host."""
    m, n, k, inputs, count = (np.asarray(leaf, np.float64) for leaf in layers)
    filters, outputs = k * n, m * n
    macs, words = m * n * k * count, (inputs + filters + outputs) * count
    each = {"m": m, "n": n, "k": k, "intensity": m * n * k / (inputs + filters + outputs)}
    return {
        "macs": np.log2(macs.sum()) / 40,
        "words": np.log2(words.sum()) / 30,
        "filter_share": (filters * count).sum() / words.sum(),
        "output_share": (outputs * count).sum() / words.sum(),
        **{name: _quantiles(np.log2(values), macs) / 16 for name, values in each.items()},
    }
