"""A design's seconds, bytes and flops: an instance, and what a placement costs in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from ..training.step import Number
from .placement import Durations, Kept, Placement, Work, durations, kept, step_flop
from .server import Server
from .simulator import Times, busy, lower_bound_s, simulate

__all__ = ["PENALTY", "Instance", "Metrics", "Played", "evaluate", "explain", "placement_of", "play", "table_of"]

PENALTY = 1e12  # above any feasible objective
MOST_VALUES = 32  # of a parameter: batches to 4,096


class Instance(NamedTuple):
    """What is trained on what; float32 scalars unless said."""

    work: Work
    server: Server
    layers: Array  # int32[L], 0 to L - 1
    values: Array  # [parameters, MOST_VALUES], of the design space; 0 beyond


class Metrics(NamedTuple):
    """float32 scalars; of the server unless said."""

    seconds_per_million_tokens: Array
    step_s: Array
    tflops: Array  # of one GPU, nothing computed anew
    bound_s: Array  # of a step: the busiest resource
    gpu_gb: Array  # of one GPU
    host_gb: Array
    cxl_gb: Array
    ssd_gb: Array
    ssd_written_gb: Array  # of 10^6 tokens


class Played(NamedTuple):
    """One design in full."""

    times: Times
    seconds: Durations
    bytes: Kept


def table_of(values: Mapping[str, tuple[float, ...]]) -> np.ndarray:
    """float32[parameters, `MOST_VALUES`], as `Instance.values`."""
    table = np.zeros((len(Placement._fields), MOST_VALUES), np.float32)
    for row, name in zip(table, Placement._fields, strict=True):
        row[: len(values[name])] = values[name]
    return table


def placement_of(design: Array, instance: Instance) -> Placement:
    """The placement of a design, int32[parameters]: places among the instance's values."""
    chosen = jnp.asarray(instance.values)[jnp.arange(len(Placement._fields)), design]
    return Placement(*chosen)


def _how(placement: Placement) -> dict[str, Number]:
    return {"stride": placement.stride, "depth": placement.depth, "during": placement.during}


def play(placement: Placement, instance: Instance) -> Played:
    """The passes' ends, the durations that give them, and the bytes."""
    seconds = durations(instance.work, instance.server, placement)
    times = simulate(instance.layers, seconds, **_how(placement))
    return Played(times, seconds, kept(instance.work, instance.server, placement))


def missed(bytes_kept: Kept, server: Server) -> jax.Array:
    """How far each tier is too small, in shares of the bytes that are needed, added; 0 where all fits."""
    capacities = (server.gpu_bytes, server.host_bytes, server.cxl_bytes, server.ssd_bytes)
    over = [
        jnp.maximum(jnp.asarray(needed) - capacity, 0.0) / jnp.maximum(jnp.asarray(needed), 1.0)
        for needed, capacity in zip(bytes_kept, capacities, strict=True)
    ]
    return sum(over[1:], over[0])


def tokens_of(placement: Placement, instance: Instance) -> Number:
    """Of a step of all GPUs."""
    return placement.batch * instance.work.sequence_tokens * instance.server.gpus


def screen(placement: Placement, instance: Instance) -> tuple[jax.Array, jax.Array, Kept]:
    """Of a placement without playing it: least seconds of 10^6 tokens, what is missed, and bytes."""
    work, server = instance.work, instance.server
    seconds = durations(work, server, placement)
    least = lower_bound_s(work.model.layers, seconds, **_how(placement))
    needed = kept(work, server, placement)
    return least / tokens_of(placement, instance) * 1e6, missed(needed, server), needed


def evaluate(placement: Placement, instance: Instance) -> tuple[Metrics, jax.Array]:
    """Metrics, and what is missed: 0 where everything fits."""
    work, server = instance.work, instance.server
    times, seconds, bytes_kept = play(placement, instance)
    millions = tokens_of(placement, instance) * 1e-6
    least = lower_bound_s(work.model.layers, seconds, **_how(placement))
    written = sum(part.write for part in busy(work.model.layers, seconds, placement.stride)) * server.write_bytes_s
    metrics = Metrics(
        seconds_per_million_tokens=jnp.asarray(times.step / millions),
        step_s=times.step,
        tflops=jnp.asarray(step_flop(work, placement.batch) / times.step * 1e-12),
        bound_s=least,
        gpu_gb=jnp.asarray(bytes_kept.gpu * 1e-9),
        host_gb=jnp.asarray(bytes_kept.host * 1e-9),
        cxl_gb=jnp.asarray(bytes_kept.cxl * 1e-9),
        ssd_gb=jnp.asarray(bytes_kept.ssd * 1e-9),
        ssd_written_gb=jnp.asarray(written * 1e-9 / millions),
    )
    return metrics, missed(bytes_kept, server)


@jax.jit
def explain(placement: Placement, instance: Instance) -> tuple[Metrics, jax.Array, Played]:
    """Metrics, what is missed, and the design in full: compiled once for a number of layers."""
    return *evaluate(placement, instance), play(placement, instance)
