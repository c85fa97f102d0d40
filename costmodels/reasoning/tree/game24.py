"""The Game of 24: combine four numbers with + - x / to 24; moves and exact solvability.

A move takes two numbers of those that are left and puts one result in their place: 36 moves with four numbers, 18 with
three, 6 with two. Results are ratios of small whole numbers, so float64 with a tolerance of 1e-6 decides exactly.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["FIRST_MOVES", "HIGHEST_CARD", "SECOND_MOVES", "Hands", "all_hands", "children", "is_solvable"]

HIGHEST_CARD = 13
FIRST_MOVES, SECOND_MOVES = 36, 18
_TOLERANCE = 1e-6


def _move(numbers: np.ndarray) -> np.ndarray:
    """float64[..., moves, n - 1]: what is left after each move; not finite after a division by zero.

    Args:
        numbers: float64[..., n].
    """
    found = []
    for i, j in itertools.combinations(range(numbers.shape[-1]), 2):
        a, b = numbers[..., i], numbers[..., j]
        rest = np.delete(numbers, (i, j), axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            results = (a + b, a - b, b - a, a * b, a / b, b / a)
        found += [np.concatenate([rest, result[..., None]], axis=-1) for result in results]
    return np.stack(found, axis=-2)


def children(numbers: Sequence[float]) -> np.ndarray:
    """float64[moves, n - 1]: what is left after each move with n numbers."""
    return _move(np.array(numbers, float))


def is_solvable(numbers: np.ndarray) -> np.ndarray:
    """bool[...]: whether 24 can be reached from float64[..., n] numbers, n from 1 to 4."""
    if numbers.shape[-1] == 1:
        return np.asarray(np.abs(numbers[..., 0] - 24) < _TOLERANCE)
    return np.asarray(is_solvable(_move(numbers)).any(-1))


class Hands(NamedTuple):
    """Every solvable hand of four cards, ascending. H hands."""

    cards: np.ndarray  # int32[H, 4]
    first: np.ndarray  # bool[H, 36], whether 24 can still be reached after a move
    second: np.ndarray  # bool[H, 36, 18], and after two


@functools.cache
def all_hands() -> Hands:
    """The solvable hands of cards 1 to 13: 1,362 of 1,820."""
    cards = np.array(list(itertools.combinations_with_replacement(range(1, HIGHEST_CARD + 1), 4)))
    after_one = _move(cards.astype(float))
    second = is_solvable(_move(after_one))
    first = np.any(second, axis=-1)
    assert isinstance(first, np.ndarray)
    solvable = np.asarray(first.any(-1))
    return Hands(cards[solvable].astype(np.int32), first[solvable], second[solvable])
