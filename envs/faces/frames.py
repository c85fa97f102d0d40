"""Frames: an episode as a picture, uint8[H, W, 3]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.functional import FunctionalEnv
from ..core.problem import Problem
from .raster import draw

__all__ = ["frame"]


def frame(
    problem: Problem,
    env: FunctionalEnv[Any, Any],
    first: Any,
    actions: Sequence[np.ndarray],
    design: Callable[[], Any],
) -> np.ndarray:
    """The episode so far: the form's own `picture`, or that of the design as it stands.

    Args:
        problem: the instance.
        env: its environment.
        first: the state in which the episode began.
        actions: since then.
        design: gives int32[n], in which what is undecided counts as `env.design` has it.
    """
    diagram = env.picture(problem, first, actions)
    return draw(problem.picture(np.asarray(design())) if diagram is None else diagram)
