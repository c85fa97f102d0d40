"""Luck by hashing: what chance decides in an episode depends on its seed and on what is decided, and on nothing before.

So all policies meet the same luck, and a step needs no random stream. Murmur3's finaliser (Appleby, 2011) after each
word: cheap inside steps, quick to compile. JAX, float32; arguments broadcast.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["normal", "uniform"]

_FACTORS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)  # odd, one for each word


def uniform(seed: Any, *words: Any) -> jax.Array:
    """float32[...] in [0, 1).

    Args:
        seed: uint32[...].
        words: up to three of uint32[...]: which question, which attempt, what is drawn.
    """
    mixed = jnp.asarray(seed, jnp.uint32)
    for word, factor in zip(words, _FACTORS[: len(words)], strict=True):
        mixed = _finalise(mixed ^ (jnp.asarray(word).astype(jnp.uint32) + 1) * jnp.uint32(factor))
    return (mixed >> 8).astype(jnp.float32) * jnp.float32(2**-24)


def normal(seed: Any, *words: Any) -> jax.Array:
    """float32[...]: standard normal, of `uniform` with the same arguments."""
    middle = uniform(seed, *words) + jnp.float32(2**-25)
    return jnp.float32(2**0.5) * jax.scipy.special.erfinv(2 * middle - 1)


def _finalise(x: jax.Array) -> jax.Array:
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
