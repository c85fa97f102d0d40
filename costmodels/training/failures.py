"""How much of the time is useful where accelerators fail: checkpoints, restarts, spare nodes.

    time = useful time x (1 + C / tau) / (1 - lambda (detect + restart + tau / 2 + wait))

lambda is the rate at which something fails, tau the useful time between checkpoints, C what writing one takes. A failed
node is away for `REPAIR_S`; the job goes on at once if one of k spares stands ready, else it waits for the first to
come back, `REPAIR_S` / (k + 1) on average. As nothing fails while it waits, no spare is ready with Erlang's loss
probability. Modelled: the constants are stated, not measured.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .step import Number

__all__ = ["DETECT_S", "REPAIR_S", "RESTART_S", "checkpoint_s", "goodput"]

DETECT_S = 600.0  # until a failure is noticed and its node found: assumed
RESTART_S = 600.0  # until the job runs again from its checkpoint: assumed
REPAIR_S = 86_400.0  # until a failed node is back: assumed
MOST_SPARES = 16  # with more, none is ever missing: counted as so many
WRITE_BYTES_S = 1e9  # of an accelerator to storage: assumed
CHECKPOINT_BYTES = 14  # of a parameter: weights, and AdamW's 12


def checkpoint_s(parameters: Number, gpus: Number) -> Number:
    """Seconds that writing a checkpoint takes, all accelerators at once."""
    return CHECKPOINT_BYTES * parameters / (gpus * WRITE_BYTES_S)


def goodput(*, failures_gpu_s: Number, gpus: Number, spares: Number, interval_s: Number, write_s: Number) -> jax.Array:
    """Share of the time that is useful; 0 or below where failures leave none.

    Args:
        failures_gpu_s: of one accelerator a second; 0: nothing fails.
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
    lost = DETECT_S + RESTART_S + interval_s / 2 + short * REPAIR_S / (spare + 1)
    fails = jnp.asarray(failures_gpu_s) > 0
    return jnp.where(fails, (1 - rate * lost) / (1 + write_s / interval_s), 1.0)
