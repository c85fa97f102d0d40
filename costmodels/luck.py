"""Luck by hashing: what chance decides in an episode depends on its seed and on what is decided, and on nothing before.

So all policies meet the same luck, and a step needs no random stream. One hash: Murmur3's finaliser (Appleby, 2011),
cheap inside steps and quick to compile. A draw is named in one of two ways, whose streams differ:

| function | the draw's name | mixed | used by |
|---|---|---|---|
| `uniform`, `normal` | up to three words: which question, which attempt, what is drawn | once a word | most games |
| `numbered_uniform` | its number among the draws of a seed | once | sleep-time compute, plans |

Stored values of sleep-time compute and of plans depend on the second way's bits; a new game takes the first. JAX,
float32; arguments broadcast.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .arrays import Array

__all__ = ["WIDTH", "episode_key", "normal", "numbered_uniform", "uniform", "unit_interval"]

WIDTH = 12**0.5  # of a uniform distribution with standard deviation 1
_FACTORS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)  # odd, one for each word
_GOLDEN = 0x9E3779B9  # 2^32 over the golden ratio, odd: the distance of seeds that numbers make


def uniform(seed: Array | int, *words: Array | int) -> jax.Array:
    """float32[...] in [0, 1).

    Args:
        seed: uint32[...].
        words: up to three of uint32[...]; each is mixed into what the seed and the words before it made.
    """
    mixed = jnp.asarray(seed, jnp.uint32)
    for word, factor in zip(words, _FACTORS[: len(words)], strict=True):
        mixed = _finalise(mixed ^ (jnp.asarray(word).astype(jnp.uint32) + 1) * jnp.uint32(factor))
    return unit_interval(mixed)


def normal(seed: Array | int, *words: Array | int) -> jax.Array:
    """float32[...]: standard normal, of `uniform` with the same arguments."""
    middle = uniform(seed, *words) + jnp.float32(2**-25)
    return jnp.float32(2**0.5) * jax.scipy.special.erfinv(2 * middle - 1)


def numbered_uniform(seed: Array | int, number: Array | int) -> jax.Array:
    """float32[...] in [0, 1): the draw of a number, integer[...], of a seed, uint32[...]."""
    word = jnp.asarray(seed, jnp.uint32) + jnp.asarray(number).astype(jnp.uint32) * jnp.uint32(_GOLDEN)
    return unit_interval(_finalise(word))


def unit_interval(bits: Array) -> jax.Array:
    """float32[...] in [0, 1): the upper 24 of random bits, uint32[...]."""
    return (jnp.asarray(bits) >> 8).astype(jnp.float32) * jnp.float32(2**-24)


def _finalise(x: jax.Array) -> jax.Array:
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def episode_key(seed: Array | int) -> jax.Array:
    """The key of the episode of a seed, uint32[]: policies, bounds and scripts that name the same seed play the same
    episode.
    """
    return jax.random.fold_in(jax.random.key(seed), 0)
