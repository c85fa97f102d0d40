"""Exact integers up to 2**48 in 32-bit JAX: a float32 estimate and the value modulo 2**32.

Layers reach 1e9 cycles and networks 1e13, which float32 and int32 do not hold, and this library never flips JAX's
global 64-bit switch. A `Wide` carries each integer twice: as a float32 estimate, and as a uint32 that wraps around. The
wrapped word is exact under sums and products; the estimate says which multiple of 2**32 to add to it, as long as it
is off by less than 2**31. With a relative error of 2**-24 per operation, values below 2**48 and sums of at most a few
hundred terms leave a wide margin, and whoever builds a model on this module checks its inputs against that limit.
Both words are plain 32-bit arithmetic, so products cost two instructions, vectorise, and run on any backend; the exact
value does not depend on the order of a sum, hence not on the batch size.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .arrays import Array

__all__ = [
    "LIMIT",
    "MAX_DIVISOR",
    "Wide",
    "add",
    "ceil_div",
    "less_equal",
    "maximum",
    "multiply",
    "narrow",
    "scale",
    "select",
    "sum_last",
    "to_float32",
    "to_int64",
]

LIMIT = 2**48  # every value, intermediate ones included, stays below this
MAX_DIVISOR = 2**15 - 1
_TWO32, _PER_TWO32 = np.float32(2.0**32), np.float32(2.0**-32)
_NEAR = np.float32(2.0**30)
_MASK16 = np.uint32(0xFFFF)


class Wide(NamedTuple):
    """An array of exact non-negative integers below `LIMIT`."""

    estimate: Array  # float32[...], within 2**29 of the value
    low: Array  # uint32[...], the value modulo 2**32


def _words(value: Array) -> tuple[jax.Array, jax.Array]:
    value = jnp.asarray(value)
    return value.astype(jnp.float32), value.astype(jnp.uint32)


def narrow(value: Array) -> Wide:
    """The `Wide` of a non-negative int32 array."""
    return Wide(*_words(value))


def multiply(a: Array, b: Array) -> Wide:
    """The exact product of two non-negative int32 arrays."""
    return scale(narrow(a), b)


def scale(a: Wide, b: Array) -> Wide:
    """`a * b` for a `Wide` and a non-negative int32 array."""
    estimate, low = _words(b)
    return Wide(a.estimate * estimate, a.low * low)


def add(a: Wide, b: Wide) -> Wide:
    """`a + b`."""
    return Wide(a.estimate + b.estimate, a.low + b.low)


def less_equal(a: Wide, b: Wide) -> jax.Array:
    """Whether `a <= b`, exactly: the estimates decide far apart, the wrapped words near each other."""
    gap = a.estimate - b.estimate
    return jnp.where(jnp.abs(gap) < _NEAR, (a.low - b.low).astype(jnp.int32) <= 0, gap < 0)


def select(condition: Array, a: Wide, b: Wide) -> Wide:
    """`a` where the condition holds, else `b`."""
    return Wide(jnp.where(condition, a.estimate, b.estimate), jnp.where(condition, a.low, b.low))


def maximum(a: Wide, b: Wide) -> Wide:
    """The larger of the two, element by element."""
    return select(less_equal(a, b), b, a)


def _to_float(word: Array) -> Array:
    """A uint32 as float32, by way of int32: only signed conversions are vector instructions on most CPUs."""
    return (word >> 16).astype(jnp.int32).astype(jnp.float32) * 65536.0 + (word & _MASK16).astype(jnp.int32)


def _high(a: Wide) -> jax.Array:
    """The multiple of 2**32 in `a`, float32 and integral."""
    return jnp.round((a.estimate - _to_float(a.low)) * _PER_TWO32)


def ceil_div(a: Wide, divisor: Array) -> Wide:
    """`ceil(a / divisor)` for a divisor from 1 to `MAX_DIVISOR`: long division by 16-bit digits.

    Each digit is estimated in float32 (off by at most one, since a digit is below 2**16) and corrected in integers,
    because integer division does not vectorise on CPUs.
    """
    divisor_estimate, _ = _words(divisor)
    d = jnp.asarray(divisor).astype(jnp.int32)
    numerator = add(a, narrow(d - 1))
    reciprocal = 1.0 / divisor_estimate

    def divide(value):  # int32: the remainder is below 2**15, so 16 more bits still fit
        digit = (value.astype(jnp.float32) * reciprocal).astype(jnp.int32)
        remainder = value - digit * d
        digit = digit + (remainder >= d) - (remainder < 0)
        return digit, value - digit * d

    top, remainder = divide(_high(numerator).astype(jnp.int32))
    middle, remainder = divide((remainder << 16) | (numerator.low >> 16).astype(jnp.int32))
    bottom, _ = divide((remainder << 16) | (numerator.low & _MASK16).astype(jnp.int32))
    estimate = (top.astype(jnp.float32) * 65536.0 + middle) * 65536.0 + bottom
    return Wide(estimate, (middle.astype(jnp.uint32) << 16) | bottom.astype(jnp.uint32))


def sum_last(a: Wide) -> Wide:
    """The exact sum over the last axis, of a few hundred elements at most."""
    return Wide(jnp.sum(a.estimate, axis=-1), jnp.sum(a.low, axis=-1, dtype=jnp.uint32))


def to_float32(a: Wide) -> jax.Array:
    """The value in float32, within two units in the last place, whatever the order of the sums behind it."""
    return _high(a) * _TWO32 + _to_float(a.low)


def to_int64(a: Wide) -> np.ndarray:
    """The exact value on the host, as NumPy int64."""
    low = np.asarray(a.low).astype(np.int64)
    return low + (np.rint((np.asarray(a.estimate, np.float64) - low) / 2.0**32).astype(np.int64) << 32)
