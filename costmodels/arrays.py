"""The type of an array in records and signatures; loads no JAX.

Comments beside fields and docstrings give dtype and shape, as in `int32[N, P]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import jax
    import numpy as np

__all__ = ["Array"]

# An array that NumPy made on the host, or one of JAX, traced or not. What only JAX makes or only NumPy can is annotated
# jax.Array or np.ndarray.
Array: TypeAlias = "jax.Array | np.ndarray"
