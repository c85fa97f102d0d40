"""How much of the time is useful where accelerators fail: checkpoints, restarts, spare nodes.

    time = useful time x (1 + C / tau) / (1 - lambda (recover + tau / 2 + wait))

recover = detect + diagnose + restart; lambda is the rate at which something fails, tau the useful time between
checkpoints, C what writing one takes. A failed node is away for `REPAIR_S`; the job goes on at once if one of k spares
stands ready, else it waits for the first to come back, `REPAIR_S` / (k + 1) on average. As nothing fails while it
waits, no spare is ready with Erlang's loss probability. Modelled: the constants are stated, not measured; two
recoveries are computed from what C4 (Dong et al., HPCA 2025) publishes of two months of a job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .step import Number

__all__ = ["C4_MONTHS", "RECOVERIES", "REPAIR_S", "Recovery", "checkpoint_s", "goodput"]


class Recovery(NamedTuple):
    """Seconds from a failure until the job runs again from its checkpoint."""

    detect_s: float  # until it is noticed
    diagnose_s: float  # until its node is found and taken out
    restart_s: float  # until the job runs again

    def total_s(self) -> float:
        """Of all three."""
        return sum(self)


class Month(NamedTuple):
    """Shares of a job's month that failures take, of a table of C4's."""

    recomputed: float  # since the last checkpoint
    detect: float
    diagnose: float
    restart: float


HANG_TIMEOUT_S = 1800.0  # after which PyTorch ends a collective that hangs (until version 2.2): stated
# A job of 175 billion parameters on 2,400 GPUs, June and December 2023, before and with C4D. The parts are recalled;
# their sums are the published 31.19 and 1.16 %.
C4_MONTHS: Mapping[str, Month] = {
    "hang_timeout": Month(0.0753, 0.0341, 0.1965, 0.0060),
    "c4d": Month(0.0023, 0.0005, 0.0073, 0.0015),
}


def _of_month(month: Month) -> Recovery:
    """Where each failure of June waited for the timeout, and December had as many."""
    per_share = HANG_TIMEOUT_S / C4_MONTHS["hang_timeout"].detect
    return Recovery(*(per_share * share for share in (month.detect, month.diagnose, month.restart)))


RECOVERIES: Mapping[str, Recovery] = {
    "assumed": Recovery(600.0, 0.0, 600.0),  # who notices a failure knows its node
    **{name: _of_month(month) for name, month in C4_MONTHS.items()},  # 1,800, 10,372, 317 s; 26, 385, 79 s
}
REPAIR_S = 86_400.0  # until a failed node is back: assumed
MOST_SPARES = 16  # with more, none is ever missing: counted as so many
WRITE_BYTES_S = 1e9  # of an accelerator to storage: assumed
CHECKPOINT_BYTES = 14  # of a parameter: weights, and AdamW's 12


def checkpoint_s(parameters: Number, gpus: Number) -> Number:
    """Seconds that writing a checkpoint takes, all accelerators at once."""
    return CHECKPOINT_BYTES * parameters / (gpus * WRITE_BYTES_S)


def goodput(
    *, failures_gpu_s: Number, recover_s: Number, gpus: Number, spares: Number, interval_s: Number, write_s: Number
) -> jax.Array:
    """Share of the time that is useful; 0 or below where failures leave none.

    Args:
        failures_gpu_s: of one accelerator a second; 0: nothing fails.
        recover_s: from a failure until the job runs again, where a spare node stands ready.
        gpus: that compute.
        spares: nodes that stand ready.
        interval_s: useful seconds between checkpoints.
        write_s: of one checkpoint.
    """
    rate = failures_gpu_s * gpus
    away = rate * REPAIR_S  # nodes, on average: a failure takes one
    spare, short = jnp.asarray(spares), jnp.ones_like(rate * spares * 1.0)
    for n in range(1, MOST_SPARES + 1):  # Erlang's recursion
        short = jnp.where(n <= spare, away * short / (n + away * short), short)
    lost = recover_s + interval_s / 2 + short * REPAIR_S / (spare + 1)
    fails = jnp.asarray(failures_gpu_s) > 0
    return jnp.where(fails, (1 - rate * lost) / (1 + write_s / interval_s), 1.0)
