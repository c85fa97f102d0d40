"""How a shipped program is described."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

__all__ = ["Shipped", "Tree", "floats", "integers"]

Tree: TypeAlias = Any  # a tree of traced arrays, or of their shapes: weights by name, a list of blocks, ...


@dataclass(frozen=True)
class Shipped:
    """A function with the shapes that it is traced with."""

    function: Callable[..., Tree]
    args: tuple[Tree, ...]  # trees of jax.ShapeDtypeStruct
    summary: str
    donate: tuple[int, ...] = ()  # positions of the arguments that it updates in place


def floats(*shape: int) -> jax.ShapeDtypeStruct:
    """A bfloat16 tensor."""
    return jax.ShapeDtypeStruct(shape, jnp.bfloat16)


def integers(*shape: int) -> jax.ShapeDtypeStruct:
    """An int32 tensor."""
    return jax.ShapeDtypeStruct(shape, jnp.int32)
