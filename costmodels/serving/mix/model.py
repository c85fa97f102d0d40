"""What a mix of GPUs costs an hour, after Mélange (Griggs et al., arXiv 2404.14527).

Requests fall into classes by size, and each class into slices of equal rate. A slice is served by one type of GPU, on
which it is a load: its rate over the most requests of that size a second that one GPU serves within the target. A type
needs as many GPUs as its loads sum to, rounded up.

    cost = sum over types of price x ceil(sum of loads)

Loads are whole 1/100,000 GPU, rounded up, and prices whole 1/10,000 $ an hour, so that sums and ceilings are exact.
N slices, G types of GPU, C the most types that a slice can go to.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ...arrays import Array

__all__ = ["GPU", "USD", "Metrics", "Mix", "evaluate"]

GPU = 100_000  # loads in a GPU
USD = 10_000  # prices in a $


class Mix(NamedTuple):
    """A problem of placing slices."""

    able: Array  # int32[N, C], the types that can serve a slice; the first one again where there are fewer than C
    loads: Array  # int32[N, C], on each of them, 1/100,000 GPU
    prices: Array  # int32[G], 1/10,000 $ an hour of one GPU (or of those that serve together)


class Metrics(NamedTuple):
    """What a mix costs. Scalars."""

    cost_usd_h: Array  # float32
    gpus: Array  # int32, of all types
    types: Array  # int32, that are used
    utilisation: Array  # float32, loads over GPUs


def evaluate(design: Array, mix: Mix) -> tuple[Metrics, jax.Array, jax.Array]:
    """Metrics, counts int32[G] and loads int32[G] of the types; design: int32[N], places among each slice's types."""
    rows = jnp.arange(mix.able.shape[0])
    chosen, load = jnp.asarray(mix.able)[rows, design], jnp.asarray(mix.loads)[rows, design]
    types = jnp.arange(mix.prices.shape[0])
    loads = jnp.sum(jnp.where(chosen[:, None] == types, load[:, None], 0), axis=0)
    counts = -(-loads // GPU)
    gpus = jnp.sum(counts)
    metrics = Metrics(
        # A product, as compilers make one of a division by a constant in some programs and not in others.
        cost_usd_h=jnp.sum(counts * mix.prices).astype(jnp.float32) * jnp.float32(1 / USD),
        gpus=gpus,
        types=jnp.sum(counts > 0),
        utilisation=jnp.sum(loads) / (gpus * jnp.float32(GPU)),
    )
    return metrics, counts, loads
