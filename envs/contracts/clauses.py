"""What clauses of contracts share: how one is tried, how one breaks, and what they play with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ...costmodels.errors import DsegymError

__all__ = ["SEED", "TOLERANCE", "BrokenContract", "close", "hold", "legal_action", "require"]

SEED = 2026
TOLERANCE = 1e-6  # relative, between an episode's float32 objective and the replayed design's


class BrokenContract(DsegymError, AssertionError):
    """A scenario or an agent breaks a clause of its contract."""


def require(holds: object, message: str) -> None:
    """Breaks the clause that is tried, for the reason that the message gives, where something does not hold."""
    if not holds:
        raise BrokenContract(message)


def hold(clause: Callable[..., None], where: str, *arguments: Any) -> None:
    """Tries a clause; whatever goes wrong in it names the clause, in one line."""
    try:
        clause(*arguments)
    except Exception as error:
        ours = isinstance(error, BrokenContract)
        reason = " ".join((str(error) if ours else f"raises {type(error).__name__}: {error}").split())
        name = getattr(clause, "func", clause).__name__  # of a partial, the function's
        broken = f"{where}: {name.replace('_', ' ')}: {reason}"
        raise BrokenContract(broken) from (error.__cause__ if ours else error)


def close(one: Any, other: Any) -> bool:
    """Whether arrays, or the parts of two observations, are equal but for last bits."""

    def near(a: Any, b: Any) -> bool:
        rounded = np.asarray(a).dtype == np.uint8  # of an image: last bits decide which way a share is rounded
        return np.allclose(a, b, rtol=1e-4, atol=1 if rounded else 1e-5, equal_nan=True)  # another clause: finite

    ones, others = jax.tree.leaves(one), jax.tree.leaves(other)
    return len(ones) == len(others) and all(map(near, ones, others))


def legal_action(generator: np.random.Generator, space: Any, info: Mapping[str, Any]) -> np.ndarray:
    """int32: one at random, among those of the mask where there is one."""
    mask = info.get("action_mask")
    if mask is not None and mask.any():
        return np.asarray(generator.choice(np.flatnonzero(mask)), np.int32)
    return np.asarray(generator.integers(0, space.nvec if hasattr(space, "nvec") else space.n), np.int32)
