"""How much of the time is useful where accelerators fail: checkpoints, restarts, spare nodes.

    time = useful time x (1 + C / tau) / (1 - lambda (detect + restart + tau / 2 + wait))

lambda is the rate at which something fails, tau the useful time between checkpoints, C what writing one takes. A failed
node is away for `REPAIR_S`; the job goes on at once if a spare stands ready, else it waits. The nodes away are Poisson
(M/G/infinity), so that none of k spares is ready with P(N >= k). Modelled: the constants are stated, not measured.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import gammainc

from .step import Number

__all__ = ["DETECT_S", "REPAIR_S", "RESTART_S", "checkpoint_s", "goodput", "young_daly_s"]

DETECT_S = 600.0  # until a failure is noticed and its node found: assumed; C4 (arXiv 2406.04594) brings it to minutes
RESTART_S = 600.0  # until the job runs again from its checkpoint: assumed
REPAIR_S = 86_400.0  # until a failed node is back: assumed
WRITE_BYTES_S = 1e9  # of an accelerator to storage: assumed
CHECKPOINT_BYTES = 14  # of a parameter: weights, and AdamW's 12


def checkpoint_s(parameters: Number, gpus: Number) -> Number:
    """Seconds that writing a checkpoint takes, all accelerators at once."""
    return CHECKPOINT_BYTES * parameters / (gpus * WRITE_BYTES_S)


def young_daly_s(write_s: float, failures_s: float) -> float:
    """The interval of Young (1974) and Daly (2006): sqrt(2 C / lambda)."""
    return (2 * write_s / failures_s) ** 0.5


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
    shape = jnp.maximum(jnp.asarray(spares), 1.0)
    short = jnp.where(jnp.asarray(spares) > 0, gammainc(shape, jnp.maximum(away, 1e-30)), 1.0)
    lost = DETECT_S + RESTART_S + interval_s / 2 + short * REPAIR_S / (spares + 1)
    fails = jnp.asarray(failures_gpu_s) > 0
    return jnp.where(fails, (1 - rate * lost) / (1 + write_s / interval_s), 1.0)
