"""Observations as lists of named features, and the spaces made of them.

The spaces are Gymnasium's; called with params, as gymnax's methods of the same names are, they return themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import gymnasium
import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array

__all__ = ["Box", "Discrete", "Feature", "MultiDiscrete", "box_of", "concatenated", "slices_of"]


class _Callable:
    def __call__(self, params: object = None) -> Self:
        """The space itself: it is the same for all params of an environment."""
        del params
        return self


class Box(_Callable, gymnasium.spaces.Box):
    """Gymnasium's `Box`."""


class Discrete(_Callable, gymnasium.spaces.Discrete):
    """Gymnasium's `Discrete`."""


class MultiDiscrete(_Callable, gymnasium.spaces.MultiDiscrete):
    """Gymnasium's `MultiDiscrete`."""


@dataclass(frozen=True)
class Feature:
    """One part of an observation.

    Attributes:
        name: an identifier.
        shape: of its values, float32, which follow one another row by row; () for one number.
        low, high: the range of every value.
        meaning: one line for the user: what, over what it is scaled, in which unit.
    """

    name: str
    shape: tuple[int, ...] = ()
    low: float = 0.0
    high: float = 1.0
    meaning: str = ""

    @property
    def size(self) -> int:
        """How many numbers it is."""
        return math.prod(self.shape)


def box_of(features: Sequence[Feature]) -> Box:
    """The space of observations that hold these features one after another, float32[sum of sizes]."""
    sizes = [feature.size for feature in features]
    low, high = (np.repeat([getattr(f, end) for f in features], sizes).astype(np.float32) for end in ("low", "high"))
    return Box(low, high, dtype=np.float32)


def slices_of(features: Sequence[Feature]) -> dict[str, slice]:
    """{name: where its numbers stand in an observation}."""
    ends = np.cumsum([feature.size for feature in features]).tolist()
    return {f.name: slice(end - f.size, end) for f, end in zip(features, ends, strict=True)}


def concatenated(features: Sequence[Feature], values: Mapping[str, Any]) -> Array:
    """float32[sum of sizes]: the observation of {name: values}.

    Raises:
        ValueError: when traced: the names or the shapes are not those of the features.
    """
    if list(values) != [feature.name for feature in features]:
        raise ValueError(f"features are {[f.name for f in features]}, in this order; given: {list(values)}.")
    parts = []
    for feature in features:
        value = jnp.asarray(values[feature.name], jnp.float32)
        if value.shape != feature.shape:
            raise ValueError(f"feature {feature.name} has shape {feature.shape}; given: {value.shape}.")
        parts.append(value.ravel())
    return jnp.concatenate(parts)
