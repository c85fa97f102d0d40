"""Packings a second of the memory allocation model, and the ratio to plain Python on the same orders in the same run.

Plain Python is the tests' oracle: `tests/oracles/allocation_oracle.py`, one order at a time.
"""

from __future__ import annotations

from types import ModuleType

import jax
import numpy as np
from timing import load_oracle, median_seconds, report

from dsegym.costmodels.allocation import model
from dsegym.costmodels.allocation.generator import generate

BUFFERS, BATCHES = (30, 100, 400), (1, 64, 1024)


def against_plain_python(buffers: int, oracle: ModuleType) -> None:
    """Packs one instance in random orders with both, at every batch size."""
    instance = generate(f"perfect_{buffers}_s0")
    rows = [(buffer.lower, buffer.upper, buffer.size // instance.unit) for buffer in instance.buffers]
    generator = np.random.default_rng(0)
    orders = np.stack([generator.permutation(buffers) for _ in range(max(BATCHES))]).astype(np.int32)
    pack = jax.jit(jax.vmap(model.peak_of, in_axes=(0, None)))
    order = orders[0].tolist()
    plain = median_seconds(lambda: oracle.pack(rows, order, "first_fit"), repeats=3, warm_up=1)
    report(f"{buffers} buffers: plain Python", f"{1 / plain:,.0f}/s")
    for batch in BATCHES:
        chosen, arrays = jax.device_put((orders[:batch], instance.arrays))
        seconds = median_seconds(
            lambda chosen=chosen, arrays=arrays: jax.block_until_ready(pack(chosen, arrays)), repeats=7
        )
        rate = batch / seconds
        goal = "above 20" if batch == 64 else ""
        report(f"{buffers} buffers: batch {batch}, ratio to plain Python", f"{rate:,.0f}/s, {rate * plain:,.0f}", goal)


def main() -> None:
    """Prints the table."""
    print("Memory allocation: packings by first fit a second")
    oracle = load_oracle("allocation_oracle")
    for buffers in BUFFERS:
        against_plain_python(buffers, oracle)


if __name__ == "__main__":
    main()
