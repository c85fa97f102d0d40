"""Which problems of a data set agents train on, and which scores are taken on: by hash, so that it never moves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ..errors import UnknownNameError

__all__ = ["SPLITS", "split_indices", "split_of", "split_sizes"]

SPLITS = ("train", "validation", "test")
_SHARES = (0, 0, 0, 1, 2)  # places in SPLITS of five residues: 60, 20 and 20 percent


def split_of(dataset: str, problem: object) -> str:
    """The split of a problem: SHA-256 of `dataset/problem`, its first eight bytes modulo five."""
    digest = hashlib.sha256(f"{dataset}/{problem}".encode()).digest()
    return SPLITS[_SHARES[int.from_bytes(digest[:8], "big") % len(_SHARES)]]


def split_indices(dataset: str, problems: Sequence[object], split: str) -> np.ndarray:
    """int32[n]: the places, in `problems`, of those that belong to a split.

    Raises:
        UnknownNameError: there is no such split.
    """
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    found = [place for place, problem in enumerate(problems) if split_of(dataset, problem) == split]
    return np.array(found, np.int32)


def split_sizes(dataset: str, problems: Sequence[object]) -> dict[str, int]:
    """{split: how many of the problems belong to it}."""
    return {split: len(split_indices(dataset, problems, split)) for split in SPLITS}
