"""The costs of one mapping, instruction by instruction."""

from __future__ import annotations

import jax
import numpy as np

from ..breakdown import Breakdown
from . import simulator
from .discrete import DiscreteProgram
from .game import replay

__all__ = ["NOTES", "break_down"]

NOTES = (
    "Programs are traced from JAX and fused by our rules; compilers for the platforms fuse differently.",
    "The fast memory's bandwidth is published for few platforms; `dsegym info` says what is assumed.",
    "Latencies are a model's: no mapping has been run on hardware.",
)


def break_down(discrete: DiscreteProgram, plan: np.ndarray) -> Breakdown:
    """The costs of a plan, int32[R]."""
    state, record = jax.tree.map(np.asarray, replay(discrete.arrays, plan))
    arrays, us = discrete.arrays, discrete.tick_s * 1e6
    rows = []
    for t, instruction in enumerate(discrete.program.instructions):
        here = arrays.instruction == t
        slow = max(int(arrays.compute[t]), int(arrays.slow_bound[t]))
        served = record.action[here] != simulator.DROP
        rows.append(
            {
                "instruction": instruction.name,
                "all_slow_us": slow * us,
                "saved_us": float(record.reward[here].sum()) * us,
                "stall_us": float(record.stall[here].sum()) * us,
                "fast_accesses": f"{int(served.sum())} of {int(here.sum())}",
                "copies_in": int(record.copied_in[here].sum()),
                "copies_out": int(record.copied_out[here].sum() + record.evicted[here].sum()),
            }
        )
    totals = {
        "latency_us": int(state.latency) * us,
        "all_slow_us": discrete.all_slow_ticks * us,
        "all_fast_without_copies_us": discrete.all_fast_ticks * us,
        "stall_us": int(state.stall) * us,
        "illegal_actions": int(state.illegal),
    }
    return Breakdown(totals, rows, NOTES)
