"""Tree search in plain Python, after docs/tree_search.md: exact 24, caches as sets, ETS by enumeration, beams."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction


def makes_24(numbers):
    """Whether 24 can be reached, in exact fractions."""
    numbers = [Fraction(number) for number in numbers]
    if len(numbers) == 1:
        return numbers[0] == 24
    for i, j in itertools.combinations(range(len(numbers)), 2):
        a, b = numbers[i], numbers[j]
        rest = [numbers[k] for k in range(len(numbers)) if k not in (i, j)]
        results = {a + b, a - b, b - a, a * b}
        results |= {a / b} if b else set()
        results |= {b / a} if a else set()
        if any(makes_24([*rest, result]) for result in results):
            return True
    return False


def cache_nodes(paths, kept, depth):
    """Nodes on the kept leaves' paths, shared ones once."""
    return len({(d, path[d]) for path, keep in zip(paths, kept, strict=True) if keep for d in range(depth)})


def separate_nodes(kept, depth):
    """Nodes of as many chains that share nothing."""
    return sum(kept) * depth


def ets_value(weights, paths, clusters, there, chosen, depth, share, spread):
    """ETS's objective of a set of leaves."""
    total = sum(w for w, t in zip(weights, there, strict=True) if t)
    relevance = sum(w for w, c in zip(weights, chosen, strict=True) if c) / total
    nodes = cache_nodes(paths, chosen, depth) / cache_nodes(paths, there, depth)
    known = {c for c, t in zip(clusters, there, strict=True) if t}
    covered = {c for c, x in zip(clusters, chosen, strict=True) if x}
    return relevance - share * nodes + spread * len(covered) / len(known)


def best_ets(weights, paths, clusters, there, depth, share, spread):
    """The largest objective of any set of at least one leaf, by enumeration."""
    leaves = [i for i, t in enumerate(there) if t]
    best = -math.inf
    for size in range(1, len(leaves) + 1):
        for subset in itertools.combinations(leaves, size):
            chosen = [i in subset for i in range(len(there))]
            best = max(best, ets_value(weights, paths, clusters, there, chosen, depth, share, spread))
    return best


def shares(weights, width):
    """REBASE's widths: in the order of the leaves, the rest of the width times the share of the rest, rounded up."""
    left, rest, found = width, sum(weights), []
    for weight in weights:
        mine = min(math.ceil(left * weight / rest - 1e-4), left) if weight > 0 else 0
        found.append(mine)
        left, rest = left - mine, rest - weight
    return found


def replay_beam(nodes, puzzle, breadth, *, knows=False):
    """Whether a beam over the recorded nodes of a puzzle keeps a 24 that legal moves lead to.

    Args:
        nodes: the recorded table.
        puzzle: its number.
        breadth: leaves that are kept at each depth, the largest values, the first of equal ones.
        knows: whether nodes go first that are solvable and that legal moves lead to.
    """
    kept, good = {-1}, {-1}
    for depth in (1, 2, 3):
        rows = [
            i
            for i in range(len(nodes.puzzle))
            if nodes.puzzle[i] == puzzle and nodes.depth[i] == depth and nodes.parent[i] in kept
        ]
        good = {nodes.node[i] for i in rows if nodes.solvable[i] == 1 and nodes.legal[i] and nodes.parent[i] in good}
        rows.sort(key=lambda i: (-int(knows and nodes.node[i] in good), -nodes.value[i], nodes.node[i]))
        kept = {nodes.node[i] for i in rows[:breadth]}
    return bool(kept & good)
