"""Every placement of an instance, the best of them, and those that are written down without a search.

A design is a row of places among the values of the fields of `Placement`, in that order. Different rows may be one
placement: where a tier above has all, the shares below say nothing. The best are found exactly: all distinct placements
that fit are screened by a closed form that no step goes below, then played in its order until it passes the best that
was played. Of fetch depths only the deepest that fits is played: a deeper one never makes a step longer. M designs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from ..training.optimum import in_chunks
from ..training.step import WEIGHT_BYTES
from ..transformers.architectures import parameters
from .model import Instance, Metrics, evaluate, placement_of, screen
from .placement import Kept, Placement, shares

__all__ = ["RULES", "Rule", "Search", "Values", "values_of"]

Values = Mapping[str, tuple[float, ...]]

QUARTERS, HALVES = (0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.5, 1.0)
STRIDES = (0, 1, 2, 3, 4, 6)
DEPTHS = (1, 2, 4)
CHUNK, PLAYED = 1 << 16, 1024  # designs that are screened, and played, together
FIELDS = Placement._fields
KINDS = ("weights", "optimizer", "activations")


def values_of(*, batch: int, cxl: bool, ssd: bool) -> Values:
    """Of each parameter: powers of two and thrice those to the batch; shares in quarters, of activations and with CXL
    cards in halves.

    Without CXL cards nothing lives there; without SSDs the last tier there is takes all that is left.
    """
    fine = HALVES if cxl else QUARTERS
    below = fine if ssd or cxl else (1.0,)  # of the host
    cards = (HALVES if ssd else (1.0,)) if cxl else (0.0,)
    sizes = sorted({size for n in range(batch.bit_length()) for size in (2**n, 3 * 2**n) if size <= batch} | {batch})
    values: dict[str, tuple[float, ...]] = {"batch": tuple(map(float, sizes)), "recompute": fine}
    for name in KINDS:
        split = HALVES if name == "activations" else fine
        values |= {f"{name}_gpu": split, f"{name}_host": split if len(below) > 1 else below, f"{name}_cxl": cards}
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


def distinct(values: Values, instance: Instance) -> np.ndarray:
    """int32[M, parameters]: every placement once, at the smallest depth, but for those whose weights or optimizer's
    numbers alone are too many for a tier; all, where that leaves none.
    """
    kinds = [_spread(*(values[f"{kind}_{tier}"] for tier in ("gpu", "host", "cxl"))) for kind in KINDS]
    work, server = instance.work, instance.server
    count = float(parameters(work.model))
    sizes = {"weights": WEIGHT_BYTES * count, "optimizer": work.optimizer_bytes * work.trainable * count}
    capacity = np.array([server.gpu_bytes * server.gpus, server.host_bytes, server.cxl_bytes, server.ssd_bytes])
    for place, kind in enumerate(sizes):
        chosen = [
            np.array(values[f"{kind}_{tier}"])[kinds[place][:, n]] for n, tier in enumerate(("gpu", "host", "cxl"))
        ]
        fits = (np.stack(shares(*chosen), axis=1) * sizes[kind] <= capacity).all(axis=1)
        kinds[place] = kinds[place][fits] if fits.any() else kinds[place]
    counts = [len(values["batch"]), len(values["recompute"]), *map(len, kinds), len(values["stride"]), 1, 2]
    at = np.unravel_index(np.arange(np.prod(counts)), counts)
    parts = [at[0][:, None], at[1][:, None], *(kind[place] for kind, place in zip(kinds, at[2:5], strict=True))]
    return np.concatenate([*parts, *(each[:, None] for each in at[5:])], axis=1).astype(np.int32)


@jax.jit
def _screened(designs: jax.Array, instance: Instance) -> tuple[jax.Array, jax.Array, Kept]:
    return jax.vmap(lambda design: screen(placement_of(design, instance), instance))(designs)


@jax.jit
def _played(designs: jax.Array, instance: Instance) -> tuple[Metrics, jax.Array]:
    return jax.vmap(lambda design: evaluate(placement_of(design, instance), instance))(designs)


@dataclass(frozen=True)
class Search:
    """All placements of an instance."""

    instance: Instance
    values: Values

    @functools.cached_property
    def _all(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, Kept]:
        """Every design, each at its deepest that fits, else at the smallest depth; least objective; missed; bytes."""
        designs = distinct(self.values, self.instance)
        found = in_chunks(_screened, CHUNK, designs, self.instance)
        fitting = np.flatnonzero(found[1] <= 0)
        for place in range(1, len(self.values["depth"])):
            deeper = designs[fitting]
            deeper[:, FIELDS.index("depth")] = place
            if not len(deeper):
                break
            screened = in_chunks(_screened, CHUNK, deeper, self.instance)
            fits = screened[1] <= 0
            fitting = fitting[fits]
            designs[fitting] = deeper[fits]
            for leaf, new in zip(jax.tree.leaves(found), jax.tree.leaves(screened), strict=True):
                leaf[fitting] = new[fits]
        return designs, *found

    @functools.cached_property
    def screened(self) -> tuple[np.ndarray, np.ndarray]:
        """Designs that fit, each at its deepest, by ascending least objective; and that."""
        designs, least, missed, _ = self._all
        order = np.flatnonzero(missed <= 0)
        order = order[np.argsort(least[order], kind="stable")]
        return designs[order], least[order]

    def smallest(self) -> tuple[dict[str, tuple[float, float]], bool]:
        """{tier: (GB that a placement needs at least, GB that there are)}, and whether one of them alone would do.

        Where no single tier that is larger would do, the tiers that the placement nearest to fitting lacks.
        """
        needed = np.stack(jax.tree.leaves(self._all[3]), axis=1)
        capacity = np.array([getattr(self.instance.server, f"{tier}_bytes") for tier in Kept._fields])
        over = needed > capacity
        told = {}
        for place, tier in enumerate(Kept._fields):
            alone = ~np.delete(over, place, axis=1).any(axis=1)
            if alone.any():
                told[tier] = (float(needed[alone, place].min()) * 1e-9, float(capacity[place]) * 1e-9)
        if told:
            return told, True
        nearest = int(np.argmin(self._all[2]))
        lacking = np.flatnonzero(over[nearest])
        return {Kept._fields[t]: (float(needed[nearest, t]) * 1e-9, float(capacity[t]) * 1e-9) for t in lacking}, False

    def least_host(self) -> tuple[int, ...]:
        """The feasible design that takes least of the host, fastest by the closed form."""
        designs, least, missed, bytes_kept = self._all
        order = np.lexsort((least, np.asarray(bytes_kept.host), missed > 0))
        return tuple(designs[order[0]].tolist())

    def best(self, count: int = 1) -> np.ndarray:
        """int32[K, parameters], K at most `count`: feasible designs, best first, unlike in where weights, optimizer or
        activations live, or in the batch.
        """
        designs, least = self.screened
        columns = [FIELDS.index(name) for name in FIELDS if name.startswith(KINDS)]
        columns.append(FIELDS.index("batch"))
        played, values = designs[:0], np.zeros(0, np.float32)
        ranked = designs[:0]
        for start in range(0, len(designs), PLAYED):
            chunk = designs[start : start + PLAYED]
            metrics, _ = in_chunks(_played, PLAYED, chunk, self.instance)
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
        """The fastest design that keeps a rule of `RULES`; None where none fits."""
        rule, designs = RULES[name], self.screened[0]
        chosen = {field: np.array(self.values[field])[designs[:, place]] for place, field in enumerate(FIELDS)}
        rows = np.ones(len(designs), bool)
        for field, value in rule.only.items():
            rows &= chosen[field] == value
        for kind, wanted in rule.places.items():
            found = shares(*(chosen[f"{kind}_{tier}"] for tier in ("gpu", "host", "cxl")))
            for tier, share in wanted.items():
                rows &= getattr(found, tier) == share
        if not rows.any():
            return None
        metrics, _ = in_chunks(_played, PLAYED, designs[rows], self.instance)
        return tuple(designs[rows][int(np.argmin(metrics.seconds_per_million_tokens))].tolist())


@dataclass(frozen=True)
class Rule:
    """A placement by rule; of what it leaves open the fastest that fits."""

    summary: str
    places: Mapping[str, Mapping[str, float]]  # {kind: {tier: share}}
    only: Mapping[str, float]  # {parameter: value}


AFTER = {"stride": 0, "during": 0}
ANEW = {"recompute": 1, **AFTER}
RULES: Mapping[str, Rule] = {
    "zero_infinity": Rule(
        "after ZeRO-Infinity: weights and optimizer on SSDs, inputs of layers in the host, the rest computed anew; "
        "updates after the backward pass",
        {"weights": {"ssd": 1}, "optimizer": {"ssd": 1}, "activations": {"host": 1}},
        ANEW,
    ),
    "zero_offload": Rule(
        "after ZeRO-Offload: weights and inputs of layers in the GPU, optimizer in the host; updates after the "
        "backward pass",
        {"weights": {"gpu": 1}, "optimizer": {"host": 1}, "activations": {"gpu": 1}},
        ANEW,
    ),
    "all_host": Rule("everything in the host, as ZeRO-3 with offload", {kind: {"host": 1} for kind in KINDS}, ANEW),
    "all_ssd": Rule("everything on SSDs", {kind: {"ssd": 1} for kind in KINDS}, ANEW),
    "static_halves": Rule(
        "half of everything in the host, half on SSDs", {kind: {"host": 0.5, "ssd": 0.5} for kind in KINDS}, ANEW
    ),
    "fuyou": Rule(
        "after Fuyou: optimizer on SSDs, updates during the backward pass; activations swapped or computed anew, and "
        "weights below the GPU, as is fastest",
        {"weights": {"gpu": 0}, "optimizer": {"ssd": 1}},
        {"stride": 0, "during": 1},
    ),
    "deep_optimizer_states": Rule(
        "after Deep Optimizer States: as ZeRO-Offload, but every so many layers are updated on the GPU",
        {"weights": {"gpu": 1}, "optimizer": {"host": 1}, "activations": {"gpu": 1}},
        {"recompute": 1, "during": 0},
    ),
}
