"""Every placement of an instance, the best of them, and those that are written down without a search.

A design is a row of places among the values of the fields of `Placement`, in that order. Different rows may be one
placement: where a tier above has all, the shares below say nothing. The best are found exactly: all distinct placements
that fit are screened by a closed form that no step goes below, then played in its order until it passes the best that
was played. Of fetch depths only the deepest that fits is played: a deeper one never makes a step longer. M designs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from .model import Instance, Metrics, evaluate, placement_of, screen
from .placement import Placement

__all__ = ["RULES", "Rule", "Search", "Values", "values_of"]

Values = Mapping[str, tuple[float, ...]]

QUARTERS, HALVES = (0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.5, 1.0)
STRIDES = (0, 1, 2, 3, 4, 6)
DEPTHS = (1, 2, 4)
CHUNK, PLAYED = 1 << 16, 1024  # designs that are screened, and played, together
FIELDS = Placement._fields


def values_of(*, batch: int, cxl: bool, ssd: bool, trainable: bool = True) -> Values:
    """Of each parameter: powers of two to the batch; shares in quarters, with CXL cards in halves.

    Without CXL cards nothing lives there; without SSDs the last tier there is takes all that is left.
    """
    del trainable
    fine = HALVES if cxl else QUARTERS
    below = fine if ssd or cxl else (1.0,)  # of the host
    cards = (HALVES if ssd else (1.0,)) if cxl else (0.0,)
    sizes = sorted({2**n for n in range(batch.bit_length()) if 2**n <= batch} | {batch})
    values: dict[str, tuple[float, ...]] = {"batch": tuple(map(float, sizes)), "recompute": HALVES}
    for name in ("weights", "optimizer", "activations"):
        shares = HALVES if name == "activations" else fine
        values |= {f"{name}_gpu": shares, f"{name}_host": shares if len(below) > 1 else below, f"{name}_cxl": cards}
    values |= {"stride": STRIDES, "depth": DEPTHS, "during": (0.0, 1.0)}
    return {name: values[name] for name in FIELDS}


def _spread(gpu: Sequence[float], host: Sequence[float], cxl: Sequence[float]) -> np.ndarray:
    """int32[K, 3]: places of one kind's shares, each split once."""
    rows = []
    for g, in_gpu in enumerate(gpu):
        for h, in_host in enumerate(host):
            for c in range(len(cxl)):
                if (in_gpu == 1 and (h or c)) or (in_host == 1 and c):
                    continue  # what tiers above have all of is not split again
                rows.append((g, h, c))
    return np.array(rows, np.int32)


def distinct(values: Values) -> np.ndarray:
    """int32[M, parameters]: every placement once, at the smallest depth."""
    kinds = [
        _spread(*(values[f"{name}_{tier}"] for tier in ("gpu", "host", "cxl")))
        for name in ("weights", "optimizer", "activations")
    ]
    counts = [len(values["batch"]), len(values["recompute"]), *map(len, kinds), len(values["stride"]), 1, 2]
    at = np.unravel_index(np.arange(np.prod(counts)), counts)
    parts = [at[0][:, None], at[1][:, None], *(kind[place] for kind, place in zip(kinds, at[2:5], strict=True))]
    return np.concatenate([*parts, *(each[:, None] for each in at[5:])], axis=1).astype(np.int32)


@jax.jit
def _screened(designs: jax.Array, instance: Instance) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(lambda design: screen(placement_of(design, instance), instance))(designs)


@jax.jit
def _played(designs: jax.Array, instance: Instance) -> tuple[Metrics, jax.Array]:
    return jax.vmap(lambda design: evaluate(placement_of(design, instance), instance))(designs)


def _in_chunks(function: Callable, size: int, designs: np.ndarray, instance: Instance) -> tuple:
    parts = []
    for start in range(0, len(designs), size):
        chunk = designs[start : start + size]
        padded = np.pad(chunk, ((0, size - len(chunk)), (0, 0)))
        parts.append(jax.tree.map(lambda leaf, n=len(chunk): np.asarray(leaf)[:n], function(padded, instance)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@dataclass(frozen=True)
class Search:
    """All placements of an instance."""

    instance: Instance
    values: Values

    @functools.cached_property
    def screened(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Designs that fit, each at its deepest, by ascending least objective; that; the least that is missed."""
        designs = distinct(self.values)
        depth = FIELDS.index("depth")
        left, found, least, missed_least = designs, [], [], np.inf
        for place in reversed(range(len(self.values["depth"]))):
            if not len(left):
                break
            left = left.copy()
            left[:, depth] = place
            bound, missed = _in_chunks(_screened, CHUNK, left, self.instance)
            fits = missed <= 0
            missed_least = min(missed_least, float(missed.min()))
            found.append(left[fits])
            least.append(bound[fits])
            left = left[~fits]
        found, least = np.concatenate(found), np.concatenate(least)
        order = np.argsort(least, kind="stable")
        return found[order], least[order], missed_least

    def best(self, count: int = 1) -> np.ndarray:
        """int32[K, parameters], K at most `count`: feasible designs, best first, unlike in where weights, optimizer or
        activations live, or in the batch.
        """
        designs, least, _ = self.screened
        columns = [FIELDS.index(name) for name in FIELDS if name.startswith(("weights", "optimizer", "activations"))]
        columns.append(FIELDS.index("batch"))
        played, values = designs[:0], np.zeros(0, np.float32)
        ranked = designs[:0]
        for start in range(0, len(designs), PLAYED):
            chunk = designs[start : start + PLAYED]
            metrics, _ = _in_chunks(_played, PLAYED, chunk, self.instance)
            played, values = np.concatenate([played, chunk]), np.append(values, metrics.seconds_per_million_tokens)
            order = np.argsort(values, kind="stable")
            _, first = np.unique(played[order][:, columns], axis=0, return_index=True)
            first = np.sort(first)[:count]
            ranked, worst = played[order][first], values[order][first][-1]
            end = start + PLAYED
            if len(first) == count and (end >= len(designs) or least[end] >= worst):
                break
        return ranked

    def by_rule(self, name: str) -> tuple[int, ...] | None:
        """The design of a rule that is fastest among its batches and depths; None where none fits."""
        wanted = RULES[name].only
        rows = np.ones(len(self.screened[0]), bool)
        for field, value in wanted.items():
            allowed = self.values[field]
            nearest = int(np.argmin([abs(each - value) for each in allowed]))
            rows &= self.screened[0][:, FIELDS.index(field)] == nearest
        rows &= RULES[name].also(self.screened[0], self.values)
        designs = self.screened[0][rows]
        if not len(designs):
            return None
        metrics, _ = _in_chunks(_played, PLAYED, designs, self.instance)
        return tuple(designs[int(np.argmin(metrics.seconds_per_million_tokens))].tolist())


def _any(designs: np.ndarray, values: Values) -> np.ndarray:
    del values
    return np.ones(len(designs), bool)


@dataclass(frozen=True)
class Rule:
    """A placement by rule: the values of some parameters; of the others the fastest that fits."""

    summary: str
    only: Mapping[str, float]
    also: Callable[[np.ndarray, Values], np.ndarray] = _any


def _all(tier: str, *names: str) -> dict[str, float]:
    """All of those objects in one tier."""
    share = {"gpu": (1, 0, 0), "host": (0, 1, 0), "cxl": (0, 0, 1), "ssd": (0, 0, 0)}[tier]
    return {f"{name}_{where}": s for name in names for where, s in zip(("gpu", "host", "cxl"), share, strict=True)}


ANEW = {"recompute": 1.0, "stride": 0, "during": 0}
KINDS = ("weights", "optimizer", "activations")
HALF = {f"{name}_{tier}": share for name in KINDS for tier, share in (("gpu", 0.0), ("host", 0.5), ("cxl", 0.0))}
RULES: Mapping[str, Rule] = {
    "zero_infinity": Rule(
        "after ZeRO-Infinity: weights and optimizer on SSDs, inputs of layers in the host, all else computed anew, "
        "updates after the backward pass",
        {**_all("ssd", "weights", "optimizer"), **_all("host", "activations"), **ANEW},
    ),
    "zero_offload": Rule(
        "after ZeRO-Offload: weights and inputs of layers in the GPU, optimizer in the host, updates after the backward "
        "pass",
        {**_all("gpu", "weights", "activations"), **_all("host", "optimizer"), **ANEW},
    ),
    "all_host": Rule("everything in the host", {**_all("host", *KINDS), **ANEW}),
    "all_ssd": Rule("everything on SSDs", {**_all("ssd", *KINDS), **ANEW}),
    "static_halves": Rule("half of everything in the host, half on SSDs", {**HALF, **ANEW}),
    "fuyou": Rule(
        "after Fuyou: optimizer on SSDs, weights in the host or on SSDs, updates during the backward pass, activations "
        "swapped or computed anew as is fastest",
        {**_all("ssd", "optimizer"), "weights_gpu": 0, "stride": 0, "during": 1},
    ),
    "deep_optimizer_states": Rule(
        "after Deep Optimizer States: as ZeRO-Offload, and every so many layers' updates on the GPU",
        {**_all("gpu", "weights", "activations"), **_all("host", "optimizer"), "recompute": 1.0, "during": 0},
    ),
}
