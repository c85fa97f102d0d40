"""Mixes of GPUs slice by slice in plain Python, and their optimum by trying every way: the oracle of `serving/mix/`.

Imports nothing of the package. `loads[k][j]` is what a slice of class k takes of GPU type j, None where it cannot.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction


def cost(loads, prices, assignment):
    """Price and counts of the GPUs that [(class, type), ...] take."""
    totals = [Fraction(0)] * len(prices)
    for kind, gpu in assignment:
        totals[gpu] += loads[kind][gpu]
    counts = [math.ceil(total) for total in totals]
    return sum(count * price for count, price in zip(counts, prices, strict=True)), counts


def _splits(slices, types):
    """Every way to give so many equal slices to types: {type: how many}."""
    if len(types) == 1:
        yield {types[0]: slices}
        return
    for first in range(slices + 1):
        for rest in _splits(slices - first, types[1:]):
            yield {types[0]: first, **rest}


def optimum(loads, prices, slices):
    """The least price over all ways."""
    ways = [list(_splits(slices, [gpu for gpu, load in enumerate(row) if load is not None])) for row in loads]
    best = None
    for way in itertools.product(*ways):
        assignment = [(kind, gpu) for kind, split in enumerate(way) for gpu, n in split.items() for _ in range(n)]
        price, _ = cost(loads, prices, assignment)
        best = price if best is None or price < best else best
    return best


def most_requests_per_s(step_s, prefill_s, output, most, target_s):
    """The best rate over batches of 1 to `most` whose step is within the target; 0 where none is."""
    best = 0.0
    for batch in range(1, most + 1):
        if step_s(batch) <= target_s:
            best = max(best, batch / (prefill_s + output * step_s(batch)))
    return best
