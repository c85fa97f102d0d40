"""How fast a step could be if weights, optimizer and activations were split as finely as one likes: a linear program.

Of a placement all but its shares are kept. A tier's bytes and how long each resource works are linear in the shares of
the three kinds, but for the ways of new weights, which depend on two kinds at once and are left out. No step with any
such split is shorter than the program's optimum: each resource does its work of the two passes, and of updates, during
them or after them. Shares x[kind, tier] of host, cards and SSDs; what is left is the GPU's.
"""

from __future__ import annotations

import jax
import numpy as np

from .model import Instance
from .placement import Kept, Placement, durations, kept
from .search import KINDS
from .simulator import busy

__all__ = ["any_split_s"]

TIERS = ("gpu", "host", "cxl")
LEFT_OUT = {"resident_weights_down": 0.0, "moved_weights_down": 0.0, "weights_return": 0.0}
BELOW = ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))  # shares of GPU, host, cards: all in the host, cards, SSDs


def any_split_s(placement: Placement, instance: Instance) -> float | None:
    """Seconds of a step below which no split brings it; None where none fits."""
    from scipy.optimize import linprog

    work, server = (jax.tree.map(float, part) for part in (instance.work, instance.server))
    whole = {name: float(value) for name, value in placement._asdict().items()}
    in_gpu = {f"{kind}_{tier}": share for kind in KINDS for tier, share in zip(TIERS, (1.0, 0.0, 0.0), strict=True)}

    def told(shares: dict[str, float]) -> np.ndarray:
        """[3 phases x 9 resources, then 4 tiers]."""
        chosen = Placement(**(whole | in_gpu | shares))
        seconds = durations(work, server, chosen)._replace(**LEFT_OUT)
        works = [np.array(phase) for phase in busy(work.model.layers, seconds, chosen.stride)]
        return np.concatenate([*works, np.array(kept(work, server, chosen))])

    base = told({})
    columns = [
        told({f"{kind}_{tier}": share for tier, share in zip(TIERS, shares, strict=True)}) - base
        for kind in KINDS
        for shares in BELOW
    ]
    slope = np.stack(columns, axis=1)  # [31, 9]
    forward, backward, update = (slice(9 * n, 9 * n + 9) for n in range(3))
    tiers = slice(27, 31)
    passes = slope[forward] + slope[backward], base[forward] + base[backward]
    updates = slope[update], base[update]
    if whole["during"]:
        passes, updates = tuple(one + other for one, other in zip(passes, updates, strict=True)), None
    rows, most = [np.hstack([passes[0], np.tile([-1.0, 0.0], (9, 1))])], [-passes[1]]
    if updates is not None:
        rows.append(np.hstack([updates[0], np.tile([0.0, -1.0], (9, 1))]))
        most.append(-updates[1])
    capacity = np.array([getattr(server, f"{tier}_bytes") for tier in Kept._fields])
    rows.append(np.hstack([slope[tiers], np.zeros((4, 2))]) * 1e-9)
    most.append((capacity - base[tiers]) * 1e-9)
    rows.append(np.hstack([np.kron(np.eye(3), np.ones(3)), np.zeros((3, 2))]))
    most.append(np.ones(3))
    found = linprog([0.0] * 9 + [1.0, 1.0], A_ub=np.vstack(rows), b_ub=np.concatenate(most), bounds=(0, None))
    return float(found.fun) if found.success else None
