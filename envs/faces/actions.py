"""Actions at the door: what a client hands to `step` is checked as designs are, and never reinterpreted.

What no rule of the instance allows (a masked action) is another matter: each family documents what it counts as.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from ...costmodels.errors import DsegymError, InvalidActionError, literal

__all__ = ["NeedsReset", "blank_action", "checked_action", "checked_seed"]


class NeedsReset(DsegymError, gymnasium.error.ResetNeeded):
    """A step before the first `reset`, or after the episode's end."""


def checked_action(space: gymnasium.Space[Any], action: object, lanes: int | None = None) -> np.ndarray:
    """The action as an array of the space's shape, int32 for spaces of indices and float32 for boxes.

    Args:
        space: of one lane.
        action: one action, or with `lanes` one a lane. Whole numbers may come as floats.
        lanes: how many; None for a single environment.

    Raises:
        InvalidActionError: another shape or type, a fraction, NaN, or a number out of the space's range.
    """
    shape = (() if lanes is None else (lanes,)) + (space.shape or ())
    try:
        array = np.asarray(action)
    except ValueError:
        raise InvalidActionError(f"Actions here have the shape {list(shape)}; those given differ in length.") from None
    if array.dtype.kind not in "iuf" or np.ma.is_masked(action):
        raise InvalidActionError(f"{_shown(action)} is no action: {_allowed(space, shape)}.")
    if array.shape != shape:
        raise InvalidActionError(f"An action of shape {list(array.shape)} is given; {_allowed(space, shape)}.")
    low, high, dtype = _range(space)
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (dtype == np.float32 or _whole(array))):
        raise InvalidActionError(f"{_shown(action)} is no action: {_allowed(space, shape)}.")
    if ((array < low) | (array > high)).any():
        raise InvalidActionError(f"The action {_shown(action)} is out of range: {_allowed(space, shape)}.")
    return array.astype(dtype)


def blank_action(space: gymnasium.Space[Any], lanes: int | None = None) -> np.ndarray:
    """Zeros of the shape and dtype of `checked_action`."""
    return np.zeros((() if lanes is None else (lanes,)) + (space.shape or ()), _range(space)[2])


def checked_seed(seed: object) -> int | None:
    """A seed as Python's whole number.

    Raises:
        InvalidActionError: no whole number from 0 on.
    """
    if seed is None:
        return None
    if isinstance(seed, bool | np.bool_) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InvalidActionError(f"seed = {_shown(seed)} is not allowed; allowed: a whole number from 0 on, or None.")
    return int(seed)


def _range(space: gymnasium.Space[Any]) -> tuple[Any, Any, type]:
    """The least and the largest value, and the dtype in which they are computed with."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return space.start, space.start + space.n - 1, np.int32
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1, np.int32
    if isinstance(space, gymnasium.spaces.Box):
        return space.low, space.high, np.float32 if space.dtype is not None and space.dtype.kind == "f" else np.int32
    raise DsegymError(f"Actions of a {type(space).__name__} are not supported: use Discrete, MultiDiscrete or Box.")


def _whole(array: np.ndarray) -> bool:
    return bool((array == np.floor(array)).all())


def _shown(action: object) -> str:
    return literal(action, 80)


def _allowed(space: gymnasium.Space[Any], shape: tuple[int, ...]) -> str:
    low, high, dtype = _range(space)
    kind = "whole numbers" if dtype is np.int32 else "finite numbers"
    ends = [np.unique(end).tolist() for end in (low, high)]
    if shape == ():
        return f"allowed: one of the {kind} from {ends[0][0]} to {ends[1][0]}"
    most = f"{ends[1][0]}" if len(ends[1]) == 1 else f"the largest of each, {_shown(np.asarray(high).tolist())}"
    return f"allowed: {kind}, shape {list(shape)}, from {ends[0][0]} to {most}"
