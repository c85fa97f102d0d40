"""Mappings as text, in the notation of DOSA's Timeloop results; what is wrong with one is told by layer and level.

    L3[WIO] P28 K8 - L2[WI] K4X - L1[O] K2 S3 C3X - L0[W] P2

Levels stand from DRAM (L3) to the registers (L0), with the tensors that they keep in brackets; loops from the outermost
to the innermost; X marks a factor over space: of C at the accumulators (L1), of K at the scratchpad (L2). Loops of one
iteration may be left out.
"""

from __future__ import annotations

import re
from typing import NoReturn

import numpy as np

from ...errors import InvalidDesignError, shortened
from .model import (
    ACCUMULATOR,
    DIMENSIONS,
    LEVELS,
    REGISTERS,
    SCRATCHPAD,
    C,
    Hardware,
    K,
    LayerShape,
    Mapping,
    N,
    P,
    Q,
    inside_of,
    overflow,
)

__all__ = ["format_mapping", "parse_mapping", "require_fit"]

_KEPT = ("W", "O", "WI", "WIO")  # tensors at each level
_SPATIAL = {ACCUMULATOR: C, SCRATCHPAD: K}
_IN_REGISTERS = (P, Q, N)  # loops under which a weight stays in its register
_LOOP = re.compile(r"([A-Z])([0-9]{1,9})([XY]?)")


def parse_mapping(text: str, shape: LayerShape, layer: str) -> Mapping:
    """A mapping of NumPy int32 arrays.

    Args:
        text: in the notation above.
        shape: the layer's, whose bounds the factors must multiply to.
        layer: the layer's name, for errors.

    Raises:
        InvalidDesignError: names the layer, and the level or the dimension.
    """
    parts = [part.split() for part in text.split(" - ")]
    heads = [f"L{level}[{_KEPT[level]}]" for level in reversed(range(len(LEVELS)))]
    if [part[:1] for part in parts] != [[head] for head in heads]:
        raise InvalidDesignError(
            f"{layer}: the mapping '{shortened(text)}' must have the levels {' - '.join(heads)}, in this order."
        )
    temporal, orders = np.ones((len(LEVELS), len(DIMENSIONS)), np.int64), []
    spatial = dict.fromkeys(_SPATIAL.values(), 1)
    for level, (_, *loops) in zip(reversed(range(len(LEVELS))), parts, strict=True):
        order = []
        for loop in loops:
            found = _LOOP.fullmatch(loop)
            if not found or found[1] not in DIMENSIONS or int(found[2]) < 1:
                _refuse(layer, level, f"'{shortened(loop)}' is no loop, which is written as K8, or C16X over space")
            dimension, factor = DIMENSIONS.index(found[1]), int(found[2])
            if found[3]:
                if _SPATIAL.get(level) != dimension or spatial[dimension] > 1:
                    _refuse(layer, level, f"'{loop}': space has one factor of C at L1, and one of K at L2")
                spatial[dimension] = factor
                continue
            if dimension in order:
                _refuse(layer, level, f"'{loop}': {found[1]} has a loop there already")
            if level == REGISTERS and factor > 1 and dimension not in _IN_REGISTERS:
                _refuse(layer, level, f"'{loop}' changes the weight; only loops of P, Q and N do not")
            order.append(dimension)
            temporal[level, dimension] = factor
        orders.append([*(each for each in range(len(DIMENSIONS)) if each not in order), *order])
    for dimension, (name, bound) in enumerate(zip(DIMENSIONS, shape.bounds, strict=True)):
        product = temporal[:, dimension].prod() * spatial.get(dimension, 1)
        if product != bound:
            raise InvalidDesignError(f"{layer}: the factors of {name} multiply to {product}, its bound is {bound}.")
    inside = np.stack([inside_of(order) for order in orders[-2::-1]])
    rows, columns = (np.asarray(spatial[each], np.int32) for each in (C, K))
    return Mapping(temporal.astype(np.int32), rows, columns, inside)


def _refuse(layer: str, level: int, reason: str) -> NoReturn:
    raise InvalidDesignError(f"{layer}, level L{level} ({LEVELS[level]}): {reason}.")


def format_mapping(mapping: Mapping) -> str:
    """The text of a mapping, loops of one iteration left out."""
    temporal, inside = np.asarray(mapping.temporal), np.asarray(mapping.inside)
    spatial = {ACCUMULATOR: int(mapping.rows), SCRATCHPAD: int(mapping.columns)}
    parts = []
    for level in reversed(range(len(LEVELS))):
        order = np.arange(len(DIMENSIONS)) if level == REGISTERS else np.argsort(inside[level - 1].sum(axis=1))
        loops = [f"{DIMENSIONS[each]}{temporal[level, each]}" for each in order if temporal[level, each] > 1]
        if spatial.get(level, 1) > 1:
            loops.append(f"{DIMENSIONS[_SPATIAL[level]]}{spatial[level]}X")
        parts.append(" ".join([f"L{level}[{_KEPT[level]}]", *(loops or ["N1"])]))
    return " - ".join(parts)


def require_fit(mapping: Mapping, shape: LayerShape, hardware: Hardware, layer: str) -> None:
    """Raises unless the machine holds the mapping.

    Raises:
        InvalidDesignError: a bandwidth or a size of the machine is not positive, or the mapping needs more of a level
            than there is; names the layer and the level.
    """
    for name, value in hardware._asdict().items():
        if not np.all(np.asarray(value) > 0):
            raise InvalidDesignError(f"{name} = {value} is not allowed; allowed: any number above 0.")
    for what, share in zip(
        ("the array's rows", "the array's columns", "the registers", "the accumulator", "the scratchpad"),
        np.asarray(overflow(mapping, shape, hardware)),
        strict=True,
    ):
        if share > 1:
            raise InvalidDesignError(f"{layer}: the mapping needs {share:.4g} times what {what} can hold.")
