"""Block-wise local search: a few parameters at a time, all others held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..envs.core.spaces import DesignSpace
from .base import Agent
from .moves import first_design, partly_drawn
from .referee import REFERENCE, Referee

__all__ = ["BlockLocalSearch"]


@dataclass(frozen=True)
class BlockLocalSearch(Agent):
    """Block coordinate descent, after the iterative Combinatorial Brain Surgeon, which prunes networks so.

    Parameters that have a choice are dealt into blocks at random. For each block in turn a batch of its choices is
    costed, all of them where the batch has room, and the best is taken where it is not worse. Once every block was in
    turn blocks are dealt anew; where none of them brought anything better, a share of the best design, anything from
    one parameter to all, is drawn anew first (iterated local search).

    Attributes:
        start: the name of the baseline to start from; empty for a random design.
        block: parameters that are changed together; fewer in the last block.
        neighbours: choices of a block that are costed, at most.
    """

    start: str = REFERENCE
    block: int = 2
    neighbours: int = 32

    name = "block_local_search"
    summary = "local search of blocks of parameters in turn, from a baseline's design (after iCBS)"
    hyperparameters: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "block": (1, 2, 3, 4, 8),
        "neighbours": (16, 32, 64, 128),
    }
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"block": (1, 100_000), "neighbours": (1, 100_000)}

    def search(self, referee: Referee, seed: int) -> None:
        """Descends until the budget is spent.

        Raises:
            UnknownNameError: the problem has no baseline of the name `start`.
        """
        generator, space = np.random.default_rng(seed), referee.space
        free = np.flatnonzero(space.cardinalities > 1)
        here = first_design(referee, self.start, generator)
        cost = float(referee.costs(here)[0])
        best, best_cost = here, cost
        while free.size:
            improved = False
            dealt = generator.permutation(free)
            for start in range(0, len(dealt), self.block):
                tried = _choices(space, here, dealt[start : start + self.block], self.neighbours, generator)
                costs = referee.costs(tried)
                first = int(np.argmin(costs))
                improved |= bool(costs[first] < cost)
                if costs[first] <= cost:
                    here, cost = tried[first], float(costs[first])
            if cost < best_cost:
                best, best_cost = here, cost
            if not improved:
                here = partly_drawn(space, best, generator)
                cost = float(referee.costs(here)[0])


def _choices(
    space: DesignSpace, design: np.ndarray, block: np.ndarray, most: int, generator: np.random.Generator
) -> np.ndarray:
    """Designs, int32[B, n], that differ from a given one in a block of parameters: all of them, or `most` by chance."""
    counts = space.cardinalities[block]
    combinations = float(np.prod(counts, dtype=np.float64))
    if combinations - 1 <= most:
        values = np.stack(np.unravel_index(np.arange(int(combinations)), counts), axis=1)
    else:
        values = generator.integers(0, counts, (most, len(block)))
        # One of its values moves at least, so that no sample is the design itself.
        moved = generator.integers(0, len(block), most)
        far = (design[block][moved] + generator.integers(1, counts[moved])) % counts[moved]
        values[np.arange(most), moved] = far
    tried = np.repeat(design[None], len(values), axis=0)
    tried[:, block] = values
    return tried[(tried != design).any(axis=1)]
