"""A pytree of arrays as one vector of 32-bit words, so that a compiled call hands over one array in place of twenty.

Every array that leaves compiled code costs about a microsecond of Python; a whole step of a small environment takes no
longer than ten of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.errors import DsegymError

__all__ = ["Packing"]


@dataclass(frozen=True)
class _Place:
    """Where a leaf's words stand, and how they are read."""

    start: int
    stop: int
    shape: tuple[int, ...]
    dtype: np.dtype


def _words(leaf: Any) -> jax.Array:
    """uint32[size]: the bits of 32-bit leaves; smaller integers and bools by value."""
    array = jnp.asarray(leaf).ravel()
    return jax.lax.bitcast_convert_type(array if array.dtype.itemsize == 4 else array.astype(jnp.int32), jnp.uint32)


class Packing:
    """How pytrees of one structure are packed.

    Args:
        example: a pytree of arrays or of shapes and dtypes, none wider than 32 bits.
    """

    def __init__(self, example: Any):
        leaves, self._structure = jax.tree.flatten(example)
        places, end = [], 0
        for leaf in leaves:
            start, end = end, end + int(np.prod(leaf.shape))
            places.append(_Place(start, end, tuple(leaf.shape), np.dtype(leaf.dtype)))
        self._places = tuple(places)
        self.size = end  # words

    def pack(self, tree: Any) -> jax.Array:
        """uint32[words], inside compiled code."""
        leaves = jax.tree.leaves(tree)
        return jnp.concatenate([_words(leaf) for leaf in leaves]) if leaves else jnp.zeros(0, jnp.uint32)

    def checked(self, tree: Any) -> jax.Array:
        """uint32[words] of a pytree that a user gives.

        Raises:
            DsegymError: its structure, a shape or a dtype is another; says which is expected.
        """
        leaves, structure = jax.tree.flatten(tree)
        given = [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in leaves]
        if structure != self._structure or given != [(place.shape, place.dtype) for place in self._places]:
            expected = ", ".join(f"{place.dtype}{list(place.shape)}" for place in self._places)
            raise DsegymError(f"This is no state of the environment, which has the leaves {expected}.")
        return self.pack(tree)

    def traced(self, words: jax.Array) -> Any:
        """The pytree inside compiled code."""

        def leaf(place: _Place) -> jax.Array:
            part = words[place.start : place.stop]
            narrow = place.dtype.itemsize < 4
            bits = jax.lax.bitcast_convert_type(part, jnp.int32 if narrow else place.dtype)
            return bits.astype(place.dtype).reshape(place.shape)

        return jax.tree.unflatten(self._structure, [leaf(place) for place in self._places])

    def host(self, words: np.ndarray) -> Any:
        """The pytree as NumPy arrays, views of the words where a leaf has 32 bits."""

        def leaf(place: _Place) -> np.ndarray:
            part = words[place.start : place.stop]
            bits = part.view(np.int32).astype(place.dtype) if place.dtype.itemsize < 4 else part.view(place.dtype)
            return bits.reshape(place.shape)

        return jax.tree.unflatten(self._structure, [leaf(place) for place in self._places])
