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

__all__ = ["Box", "Dict", "Discrete", "Feature", "MultiDiscrete", "observed", "slices_of", "space_of"]


class _Callable:
    def __call__(self, params: object = None) -> Self:
        """The space itself: it is the same for all params of an environment."""
        del params
        return self


class Box(_Callable, gymnasium.spaces.Box):
    """Gymnasium's `Box`."""


class Dict(_Callable, gymnasium.spaces.Dict):
    """Gymnasium's `Dict`."""


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
        channel: whether it is one of the image, [H, W], in place of a part of the vector; 0 to 255 stand for its range.
        along: where actions are a table, which of its axes, 0 or 1, the first axis is; None where it is both, or where
            lengths always tell.
        keeps_last: whether its last number is of what stays the last in a larger shape too, turning away after the
            servers say.
    """

    name: str
    shape: tuple[int, ...] = ()
    low: float = 0.0
    high: float = 1.0
    meaning: str = ""
    channel: bool = False
    along: int | None = None
    keeps_last: bool = False

    @property
    def size(self) -> int:
        """How many numbers it is."""
        return math.prod(self.shape)


def space_of(features: Sequence[Feature]) -> Box | Dict:
    """The space of observations that hold these features one after another, float32[sum of sizes]; where some are
    channels, `image`, uint8[channels, H, W] as stable-baselines3 and torch have images, and the rest as `vector`.

    Raises:
        ValueError: channels differ in shape.
    """
    channels = [feature for feature in features if feature.channel]
    if not channels:
        return _box_of(features)
    if len({feature.shape for feature in channels}) > 1:
        raise ValueError(f"channels have one shape; given: {[feature.shape for feature in channels]}.")
    image = Box(0, 255, (len(channels), *channels[0].shape), np.uint8)
    return Dict(image=image, vector=_box_of([feature for feature in features if not feature.channel]))


def _box_of(features: Sequence[Feature]) -> Box:
    sizes = [feature.size for feature in features]
    low, high = (np.repeat([getattr(f, end) for f in features], sizes).astype(np.float32) for end in ("low", "high"))
    return Box(low, high, dtype=np.float32)


def slices_of(features: Sequence[Feature]) -> dict[str, slice]:
    """{name: where its numbers stand in an observation, or in its vector}."""
    features = [feature for feature in features if not feature.channel]
    ends = np.cumsum([feature.size for feature in features]).tolist()
    return {f.name: slice(end - f.size, end) for f, end in zip(features, ends, strict=True)}


def observed(features: Sequence[Feature], values: Mapping[str, Any]) -> Any:
    """The observation of {name: values}, as `space_of` has it.

    Raises:
        ValueError: when traced: the names or the shapes are not those of the features.
    """
    if list(values) != [feature.name for feature in features]:
        raise ValueError(f"features are {[f.name for f in features]}, in this order; given: {list(values)}.")
    parts, image = [], []
    for feature in features:
        value = jnp.asarray(values[feature.name], jnp.float32)
        if value.shape != feature.shape:
            raise ValueError(f"feature {feature.name} has shape {feature.shape}; given: {value.shape}.")
        if feature.channel:
            share = (value - feature.low) / (feature.high - feature.low)
            image.append(jnp.clip(jnp.round(255 * share), 0, 255).astype(jnp.uint8))
        else:
            parts.append(value.ravel())
    vector = jnp.concatenate(parts)
    return {"image": jnp.stack(image), "vector": vector} if image else vector
