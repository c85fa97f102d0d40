"""Replays of recorded routes through caches: who hits how often, exactly.

The accounting is that of BigMoeOnEdge's engine. A batch is a layer's experts of a token, or of a turn's whole prompt at
once; each different expert of it is looked up once, a miss reads the expert; an expert that comes again within a batch
is only promoted. After the batch entries are evicted until the budget holds, never one that the batch touched. The
budget is one for all (layer, expert), or an equal share a layer. Belady evicts what is needed again last: exact for
experts of equal bytes, a good rule else. Python's integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...errors import DsegymError, UnknownNameError
from .routes import DECODE, PROMPT, Routes

__all__ = ["NEVER", "RULES", "Replay", "batches", "next_uses", "replay", "token_cycle_bytes"]

RULES = ("belady", "lru", "lfu", "layer_lru", "layer_lfu")
NEVER = 2**40  # a step of no log


class Batch(NamedTuple):
    """A layer's look-ups."""

    layer: int
    experts: np.ndarray  # int64[...], in their order, with those that come again
    decoded: bool


class Replay(NamedTuple):
    """What a replay counts."""

    look_ups: int
    hits: int
    decode_look_ups: int
    decode_hits: int
    read_bytes: int

    @property
    def hit_percent(self) -> float:
        """Of all look-ups."""
        return 100.0 * self.hits / max(self.look_ups, 1)

    @property
    def decode_hit_percent(self) -> float:
        """Of those of decoded tokens."""
        return 100.0 * self.decode_hits / max(self.decode_look_ups, 1)


def batches(routes: Routes) -> Iterator[Batch]:
    """The batches of a log in their order: each turn's prompt, layer by layer, then its tokens."""
    for turn in np.unique(routes.turn):
        mine = routes.turn == turn
        prompt, decoded = (routes.chosen[mine & (routes.phase == phase)] for phase in (PROMPT, DECODE))
        groups = [(prompt, False)] if len(prompt) else []
        for tokens, is_decoded in (*groups, *((token[None], True) for token in decoded)):
            for layer in range(tokens.shape[1]):
                experts = tokens[:, layer].ravel().astype(np.int64)
                if (experts >= 0).any():
                    yield Batch(layer, experts[experts >= 0], is_decoded)


def token_cycle_bytes(routes: Routes) -> int:
    """What a token's experts take in all layers: below it, LRU forgets everything before it comes again."""
    return int(routes.expert_bytes.sum()) * routes.chosen.shape[2]


def replay(routes: Routes, rule: str, capacity_bytes: int) -> Replay:
    """Replays a log through a cache that is empty at first.

    Raises:
        UnknownNameError: there is no such rule.
        DsegymError: there is no capacity, or no look-up.
    """
    if rule not in RULES:
        raise UnknownNameError("cache rule", rule, RULES)
    if capacity_bytes <= 0:
        raise DsegymError(f"A cache of {capacity_bytes:,} bytes holds nothing; more than 0 are needed.")
    found = list(batches(routes))
    if not found:
        raise DsegymError("The log has no look-up.")
    layers = len(routes.expert_bytes)
    keys = [batch.layer * routes.experts + batch.experts for batch in found]
    budget = capacity_bytes // layers if rule.startswith("layer") else capacity_bytes
    resident = np.zeros(layers * routes.experts, bool)
    stamp, count = np.zeros(len(resident), np.int64), np.zeros(len(resident), np.int64)
    next_use, until = next_uses(keys, len(resident))
    used, clock, totals = np.zeros(layers, np.int64), 0, [0, 0, 0, 0, 0]
    for batch, mine, following in zip(found, keys, next_use, strict=True):
        different = np.unique(mine)
        hits = int(resident[different].sum())
        size = int(routes.expert_bytes[batch.layer])
        missed = len(different) - hits
        decoded = int(batch.decoded)
        for place, more in enumerate((len(different), hits, len(different) * decoded, hits * decoded, missed * size)):
            totals[place] += more
        resident[different] = True
        used[batch.layer] += missed * size
        stamp[mine] = clock + np.arange(1, len(mine) + 1)  # the last of equal places stays
        clock += len(mine)
        count[different] += 1
        until[different] = following
        own = slice(batch.layer * routes.experts, (batch.layer + 1) * routes.experts)
        part = own if rule.startswith("layer") else slice(None)
        while (used[batch.layer] if rule.startswith("layer") else used.sum()) > budget:
            free = resident[part].copy()
            free[different - (part.start or 0)] = False
            if not free.any():
                break
            victim = _victim(rule, np.flatnonzero(free) + (part.start or 0), stamp, count, until)
            resident[victim] = False
            used[victim // routes.experts] -= routes.expert_bytes[victim // routes.experts]
    return Replay(*totals)


def _victim(rule: str, free: np.ndarray, stamp: np.ndarray, count: np.ndarray, until: np.ndarray) -> int:
    if rule == "belady":
        return int(free[np.argmax(until[free])])
    if rule.endswith("lru"):
        return int(free[np.argmin(stamp[free])])
    return int(free[np.lexsort((stamp[free], count[free]))[0]])


def next_uses(steps: Sequence[np.ndarray], entries: int) -> tuple[list[np.ndarray], np.ndarray]:
    """For each step, its different entries in ascending order: int64, the next step that has each, else `NEVER`; and
    int64[entries], the first that has each entry.
    """
    following, until = [], np.full(entries, NEVER)
    for number in range(len(steps) - 1, -1, -1):
        different = np.unique(steps[number])
        following.append(until[different])
        until[different] = number
    return following[::-1], until
