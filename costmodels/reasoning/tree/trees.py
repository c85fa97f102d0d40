"""Trees to search: what a node is worth, what its children are, and what a judge says of it.

| tree | depth | nodes | judge |
|---|---|---|---|
| `game24` | 3 | moves of the Game of 24, exact; 6.2 % are illegal | GPT-4's recorded votes on such nodes, drawn anew |
| `game24_log` | 3 | what GPT-4 proposed in a tree of thoughts of breadth 5 | its votes, recorded with them |
| `steps` | 6 | reasoning steps, synthetic | a noisy process reward, synthetic |

Yao et al., 2023 (princeton-nlp/tree-of-thought-llm) for the first two; the third has the features that Hooper et al.'s
ETS is about: continuations that mean the same succeed and fail together. A node's children and values are hashes of
the episode's seed and of the node, so they do not depend on what else was expanded. Children of K slots.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...luck import normal, uniform
from ..outcomes import game24_nodes
from ..splits import split_indices, split_sizes
from .game24 import FIRST_MOVES, SECOND_MOVES, all_hands

__all__ = [
    "DEPTHS",
    "LOG_BREADTH",
    "Hands24",
    "Log",
    "Nodes",
    "game24_children",
    "hands",
    "log",
    "puzzle_sizes",
    "steps_children",
]

DEPTHS = {"game24": 3, "game24_log": 3, "steps": 6}
HIGHEST_VALUE = 60.0  # three votes "sure"
LAST_MOVES = 4  # moves proposed with two numbers left, of six possible; 4.1 in the recorded log
ILLEGAL = 0.062  # share of the recorded proposals that can be parsed
VALUES = 256  # quantiles of a judge's votes
LOG_BREADTH = 5  # nodes that the recorded search kept at each depth: only they have recorded children
LOG_NODES = 64  # nodes of one depth of a puzzle at most
# Reasoning steps; all synthetic.
CLUSTERS = 3  # groups of continuations that mean the same
STEP_LOGIT, PROBLEM_DEVIATION = 1.2, 1.5  # a step is right with probability sigmoid(1.2 - difficulty)
JUDGE_SIGNAL, JUDGE_CLUSTER_NOISE, JUDGE_NOISE = 0.7, 0.7, 0.7  # mean and deviations of the logit of a step's reward
_MOVE, _VALUE, _LEGAL, _CLUSTER, _RIGHT, _NAME, _SOLVES = range(7)  # the draws, each the last word of its hash


class Nodes(NamedTuple):
    """Nodes, leaves [K]."""

    there: Array  # bool
    name: Array  # int32 or uint32: the move, the row of the log, or a hash
    good: Array  # bool, whether a right answer can still be reached
    value: Array  # float32 in [0, 1], the judge's
    cluster: Array  # int32, below CLUSTERS: siblings that mean the same share it; 0 for all of Game of 24


class Hands24(NamedTuple):
    """Hands of a split, padded to H."""

    count: Any  # int32; an Array would clash with tuple.count
    solvable: Array  # bool[H, 36 + 36 * 18], after a move and after two, by the node's name
    values: Array  # float32[3, 2, VALUES], quantiles of the judge's value by depth and solvability, over 60


class Log(NamedTuple):
    """Recorded puzzles of a split, padded to H; a row for each depth. N = LOG_NODES."""

    count: Any  # int32; an Array would clash with tuple.count
    there: Array  # bool[H, 3, N]
    parent: Array  # int32[H, 3, N], the place among the nodes one depth up; -1 at depth 1
    good: Array  # bool[H, 3, N], solvable, by a legal move from a good parent
    value: Array  # float32[H, 3, N], over 60


def _hand_names() -> list[str]:
    return [" ".join(str(card) for card in cards) for cards in all_hands().cards]


def puzzle_sizes(tree: str) -> dict[str, int]:
    """{split: puzzles of `game24` or `game24_log` in it}; empty for trees that are drawn anew."""
    if tree == "game24":
        return split_sizes(tree, _hand_names())
    return split_sizes(tree, np.unique(game24_nodes().puzzle).tolist()) if tree == "game24_log" else {}


def hands(split: str) -> Hands24:
    """The solvable hands of a split, and the judge that the training puzzles' votes make."""
    every = all_hands()
    places = split_indices("game24", _hand_names(), split)
    length = 1024
    solvable = np.zeros((length, FIRST_MOVES * (1 + SECOND_MOVES)), bool)
    solvable[: len(places), :FIRST_MOVES] = every.first[places]
    solvable[: len(places), FIRST_MOVES:] = every.second[places].reshape(len(places), -1)
    return Hands24(np.int32(len(places)), solvable, _judge())


@functools.cache
def _judge() -> np.ndarray:
    """float32[3, 2, VALUES]: quantiles of the values that GPT-4 gave to nodes of the training puzzles."""
    table = game24_nodes()
    puzzles = np.unique(table.puzzle)
    train = puzzles[split_indices("game24_log", puzzles.tolist(), "train")]
    places = np.floor((np.arange(VALUES) + 0.5) / VALUES * 1e9) / 1e9
    found = np.zeros((3, 2, VALUES), np.float32)
    for depth in range(3):
        for solvable in (0, 1):
            mine = np.isin(table.puzzle, train) & (table.depth == depth + 1) & (table.solvable == solvable)
            found[depth, solvable] = np.quantile(table.value[mine], places, method="inverted_cdf") / HIGHEST_VALUE
    return found


def log(split: str) -> Log:
    """The recorded puzzles of a split."""
    table = game24_nodes()
    puzzles = np.unique(table.puzzle)
    mine = puzzles[split_indices("game24_log", puzzles.tolist(), split)]
    shape = (64, 3, LOG_NODES)
    found = Log(
        np.int32(len(mine)),
        np.zeros(shape, bool),
        np.full(shape, -1, np.int32),
        np.zeros(shape, bool),
        np.zeros(shape, np.float32),
    )
    for row, puzzle in enumerate(mine):
        above: dict[int, int] = {}
        good_above = np.ones(1, bool)  # the root
        for depth in range(3):
            nodes = np.flatnonzero((table.puzzle == puzzle) & (table.depth == depth + 1))
            part = (row, depth, slice(len(nodes)))
            found.there[part] = True
            found.parent[part] = [above.get(int(parent), -1) for parent in table.parent[nodes]]
            above = {int(number): place for place, number in enumerate(table.node[nodes])}
            good_above = (table.solvable[nodes] == 1) & table.legal[nodes] & good_above[found.parent[part]]
            found.good[part] = good_above
            found.value[part] = table.value[nodes] / HIGHEST_VALUE
    return found


def _permuted(seed: Array, name: Array | int, number: Array, moves: int) -> Array:
    """int32: the move that is the `number`-th child of a node: an affine permutation, drawn for the node."""
    unit = (uniform(seed, name, moves, _MOVE) * (moves // 3)).astype(jnp.int32)
    step = 3 * unit + 1 + unit % 2  # 1, 5, 7, 11, 13, 17, ...: coprime to 18 and to 36
    shift = (uniform(seed, name, moves + 1, _MOVE) * moves).astype(jnp.int32)
    return (number * step + shift) % moves


def game24_children(puzzle: Array, depth: Array, parent: Nodes, number: Array, table: Hands24, seed: Array) -> Nodes:
    """Children at depths 1 to 3 of nodes one depth up.

    Args:
        puzzle: int32, of the split.
        depth: int32, of the children; 1: `parent` is the root, of any content.
        parent: leaves [K]; values and clusters do not matter.
        number: int32[K], which child of its parent each is.
        table: the hands.
        seed: uint32, of the episode.
    """
    # A name is the first move, then 36 + first * 18 + second, then what follows.
    one = _permuted(seed, 0, number, FIRST_MOVES)
    before = jnp.clip(parent.name, 0, FIRST_MOVES - 1)
    two = before * SECOND_MOVES + _permuted(seed, before + 1, number, SECOND_MOVES)
    pair = jnp.clip(parent.name - FIRST_MOVES, 0, FIRST_MOVES * SECOND_MOVES - 1)
    solving = (uniform(seed, pair, _SOLVES) * LAST_MOVES).astype(jnp.int32)  # the one that gives 24
    names = FIRST_MOVES * (1 + SECOND_MOVES)  # names of nodes of the first two depths
    three = names + pair * LAST_MOVES + number
    name = jnp.select([depth == 1, depth == 2], [one, FIRST_MOVES + two], three)
    solvable = jnp.asarray(table.solvable)[puzzle, jnp.minimum(name, names - 1)]
    good = ((depth == 1) | parent.good) & jnp.where(depth == 3, number == solving, solvable)
    most = jnp.select([depth == 1, depth == 2], [FIRST_MOVES, SECOND_MOVES], LAST_MOVES)
    good = good & (uniform(seed, name, _LEGAL) >= ILLEGAL)
    place = (uniform(seed, name, _VALUE) * VALUES).astype(jnp.int32)
    value = jnp.asarray(table.values)[depth - 1, good.astype(jnp.int32), place]
    return Nodes(parent.there & (number < most), name, good, value, jnp.zeros_like(name))


def steps_children(difficulty: Array, parent: Nodes, number: Array, seed: Array) -> Nodes:
    """Reasoning steps after nodes; arguments as of `game24_children`, difficulty float32.

    Siblings of one cluster are right or wrong together.
    """
    cluster = (uniform(seed, parent.name, number, _CLUSTER) * CLUSTERS).astype(jnp.int32)
    group = parent.name * jnp.uint32(CLUSTERS) + cluster.astype(jnp.uint32) + jnp.uint32(1)
    right = uniform(seed, group, _RIGHT) < jax.nn.sigmoid(STEP_LOGIT - difficulty)
    good = parent.good & right
    bits = (uniform(seed, parent.name, number, _NAME) * 2**24).astype(jnp.uint32)
    name = bits * jnp.uint32(2654435761) + number.astype(jnp.uint32)
    noise = JUDGE_CLUSTER_NOISE * normal(seed, group, _VALUE) + JUDGE_NOISE * normal(seed, name, _VALUE)
    value = jax.nn.sigmoid(jnp.where(good, JUDGE_SIGNAL, -JUDGE_SIGNAL) + noise)
    return Nodes(parent.there, name, good, value, cluster)
