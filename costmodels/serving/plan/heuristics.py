"""Plans by rule, as practitioners make them: (t, p, n) of prefill, (t, p, n) of decode, and the batch, as places.

Each rule returns None where no plan of its kind is within the targets.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .phases import INSTANCES, STAGES, Phases

__all__ = ["RULES", "Places", "deployed"]

Places = tuple[int, int, int, int, int, int, int]


def _gpus(phases: Phases, degrees: Sequence[int]) -> np.ndarray:
    """int64[T, P], of an instance."""
    return np.outer(degrees, STAGES[: phases.prefill_rate.shape[1]])


def _together(phases: Phases, degrees: Sequence[int], gpus: int, order: Sequence[int]) -> Places | None:
    """Colocated instances without stages, of the first degree in order that meets the targets; the best batch."""
    for t in order:
        k = int(np.argmax(phases.together_rate[t, 0]))
        if phases.together_rate[t, 0, k] > 0 and degrees[t] <= gpus:
            return 0, 0, 0, t, 0, min(gpus // degrees[t], INSTANCES), k
    return None


def colocated(phases: Phases, degrees: Sequence[int], gpus: int, rate: float) -> Places | None:
    """Both phases together at the least tensor parallelism that meets the targets, replicated: like vLLM."""
    return _together(phases, degrees, gpus, range(len(degrees)))


def whole_node(phases: Phases, degrees: Sequence[int], gpus: int, rate: float) -> Places | None:
    """Both phases together at the highest tensor parallelism."""
    return _together(phases, degrees, gpus, range(len(degrees))[::-1])


def one_to_one(phases: Phases, degrees: Sequence[int], gpus: int, rate: float) -> Places | None:
    """Phases apart, each at the least tensor parallelism that meets its target, in pairs."""
    prefill = [t for t in range(len(degrees)) if phases.prefill_rate[t, 0] > 0]
    decode = [t for t in range(len(degrees)) if phases.decode_rate[t, 0].max() > 0]
    if not prefill or not decode or degrees[prefill[0]] + degrees[decode[0]] > gpus:
        return None
    pairs = min(gpus // (degrees[prefill[0]] + degrees[decode[0]]), INSTANCES)
    return prefill[0], 0, pairs, decode[0], 0, pairs, int(np.argmax(phases.decode_rate[decode[0], 0]))


def phase_by_phase(phases: Phases, degrees: Sequence[int], gpus: int, rate: float) -> Places | None:
    """DistServe's search: each phase as it serves most requests a GPU, then how many instances match best."""
    size = _gpus(phases, degrees)
    prefill = np.unravel_index(np.argmax(phases.prefill_rate / size), size.shape)
    by_gpu = phases.decode_rate / size[..., None]
    decode = np.unravel_index(np.argmax(by_gpu), by_gpu.shape)
    if not phases.prefill_rate[prefill] or not phases.decode_rate[decode]:
        return None
    best: tuple[float, Places] | None = None
    for n_p, n_d in itertools.product(range(1, phases.prefill_instances + 1), range(1, INSTANCES + 1)):
        used = n_p * size[prefill] + n_d * size[decode[:2]]
        if used <= gpus:
            apart = min(n_p * phases.prefill_rate[prefill], n_d * phases.decode_rate[decode])
            served = min(apart, min(n_p, n_d) * phases.transfer_rate)
            places = (int(prefill[0]), int(prefill[1]), n_p, int(decode[0]), int(decode[1]), n_d, int(decode[2]))
            value = float(served / used) if served >= rate else 0.0
            if best is None or value > best[0]:
                best = value, places
    return None if best is None else best[1]


def deployed(phases: Phases, degrees: Sequence[int], gpus: int, prefill: int, decode: int, n: int) -> Places | None:
    """A published plan: n prefill instances and one for decode, of given places of degrees, with the best batch."""
    best = int(np.argmax(phases.decode_rate[decode, 0]))
    serves = phases.prefill_rate[prefill, 0] > 0 and phases.decode_rate[decode, 0, best] > 0
    return (prefill, 0, n, decode, 0, 1, best) if serves and n * degrees[prefill] + degrees[decode] <= gpus else None


# Name: makes the plan of a cluster of so many GPUs that should serve a rate.
RULES: Mapping[str, Callable[[Phases, Sequence[int], int, float], Places | None]] = {
    "colocated": colocated,
    "whole_node": whole_node,
    "one_to_one": one_to_one,
    "phase_by_phase": phase_by_phase,
}
