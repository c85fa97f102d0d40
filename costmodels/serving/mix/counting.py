"""A trace of requests, counted into classes of about one size.

The edges are those of Mélange's 60 buckets, in which the package's histograms of Azure's traces are counted too; they
are continued, doubling, to the longest request that a trace may have. Requests of a bucket are one class, at their mean
lengths; arrivals are not looked at.
"""

from __future__ import annotations

import numpy as np

from ..stream.traces import MOST_TOKENS, Trace

__all__ = ["OUTPUT_EDGES", "PROMPT_EDGES", "counted"]

# The most tokens of each bucket; each begins above the one before.
PROMPT_EDGES = (25, 100, 250, 500, 1_000, 2_000, 4_000, 8_000, 12_000, 32_000, 64_000, MOST_TOKENS)
OUTPUT_EDGES = (25, 100, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, MOST_TOKENS)


def counted(trace: Trace) -> list[tuple[float, float, float]]:
    """Counts a trace into a histogram.

    Returns:
        (mean tokens of the prompts, mean tokens of the outputs, how many requests) of each bucket that has some, short
        prompts first, then short outputs; means are rounded to 0.1 tokens.
    """
    tokens = np.stack([trace.prompt, trace.output], axis=1)
    buckets = np.stack([np.searchsorted(PROMPT_EDGES, trace.prompt), np.searchsorted(OUTPUT_EDGES, trace.output)], 1)
    _, places, counts = np.unique(buckets, axis=0, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), 2), np.int64)
    np.add.at(sums, places.ravel(), tokens)
    means = np.round(sums / counts[:, None], 1).tolist()
    return [(prompt, output, float(count)) for (prompt, output), count in zip(means, counts.tolist(), strict=True)]
