"""Steady state of a replica under continuous batching: a roofline with overheads, for any model and accelerator.

b requests are served at once, of i prompt and o output tokens each. A step makes a token for each of them, and carries
its share of the prompts: b (1 + i/o) tokens. A replica is split t ways (tensor parallelism).

    TPOT = [ weights read + cache read ] / (t BANDWIDTH beta) + FLOP / (t PEAK eta)
         + all-reduces of activations over the scale-up link at share u, two a layer
         + launch a layer + overhead a request

The parts add up: none of them overlaps, which a fit with a smooth maximum in their place did not improve. Weights are
those of the experts that the step's tokens meet. Where the cache of all b requests does not fit, as many run as fit.

The constants (`CALIBRATION`) are fitted to 334 dense aggregated rows of ai-dynamo/aiconfigurator's measured table
(Apache-2.0; H100, H200, B200, GB200; Llama-3.1-70B and Qwen3-32B; fp8 and fp4; TensorRT-LLM and vLLM) by
`benchmarks/serving_roofline.py`, which also fits half of the rows and says how far off the other half is. They are
shared by all accelerators, so that a new one needs a datasheet only; no single one of them is a measurement of what its
name says.

Pure functions of NumPy or JAX numbers that broadcast.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from ..arrays import Array
from ..transformers.architectures import (
    Architecture,
    attention_flop,
    cache_copies,
    kv_bytes_per_token,
    linear_flop,
    read_parameters,
)
from ..transformers.devices import Device, Precision, peak_flops, usable_bytes
from ..transformers.memory import weight_bytes

__all__ = [
    "CALIBRATION",
    "ENGINES",
    "Calibration",
    "Parts",
    "Replica",
    "decode_s",
    "prefill_s",
    "replica_of",
    "requests_per_s",
    "running",
    "step_parts",
    "tpot_parts",
]

Number: TypeAlias = "Array | float"

_ACTIVATION_BYTES = 2


class Calibration(NamedTuple):
    """Constants that are fitted; numbers."""

    memory: Number  # beta, share of the bandwidth
    arithmetic: Number  # eta, share of the peak
    fp4_arithmetic: Number  # a further share, of fp4's peak
    link: Number  # u, share of the scale-up link
    launch_s: Number  # a layer and step
    vllm_launch: Number  # vLLM's over TensorRT-LLM's
    request_s: Number  # a request and step


CALIBRATION = Calibration(1.0, 0.538, 0.663, 0.488, 59.0e-6, 1.224, 23.9e-6)
ENGINES = ("trtllm", "vllm")


class Replica(NamedTuple):
    """A model on accelerators that serve it together; numbers, or arrays that broadcast."""

    model: Architecture
    gpus: Number  # t
    weight_bytes: Number  # of a weight
    kv_bytes_per_token: Number  # on all of them together, copies included
    peak_flops: Number  # of one accelerator
    bandwidth_bytes_s: Number
    link_bytes_s: Number
    free_bytes: Number  # for cache, on all of them; negative where the weights do not fit
    is_fp4: Number  # 0 or 1
    is_vllm: Number  # 0 or 1


class Parts(NamedTuple):
    """Seconds of a step; numbers that broadcast."""

    weights_s: Number
    cache_s: Number
    arithmetic_s: Number
    communication_s: Number
    overhead_s: Number

    def total_s(self) -> Number:
        """Seconds for each output token."""
        return self.weights_s + self.cache_s + self.arithmetic_s + self.communication_s + self.overhead_s


def replica_of(model: Architecture, device: Device, precision: Precision, gpus: int, engine: str = "vllm") -> Replica:
    """A replica of the tables' entries.

    Raises:
        DsegymError: the device lacks the precision's arithmetic.
    """
    return Replica(
        model=model,
        gpus=gpus,
        weight_bytes=precision.weight_bytes,
        kv_bytes_per_token=kv_bytes_per_token(model, precision.kv_bytes) * cache_copies(model, gpus),
        peak_flops=peak_flops(device, precision),
        bandwidth_bytes_s=device.bandwidth_bytes_s,
        link_bytes_s=device.scale_up_bytes_s,
        free_bytes=gpus * usable_bytes(device) - weight_bytes(model, precision),
        is_fp4=float(precision.arithmetic == "fp4"),
        is_vllm=float(engine == "vllm"),
    )


def running(replica: Replica, batch: Number, prompt: Number, output: Number) -> Number:
    """Requests that run at once of `batch` that are there: those whose cache fits, halfway through; one at least."""
    fit = replica.free_bytes / (replica.kv_bytes_per_token * (prompt + output / 2))
    fewer = batch + (fit - batch) * (fit < batch)
    return fewer + (1 - fewer) * (fewer < 1)


def tpot_parts(
    replica: Replica, batch: Number, prompt: Number, output: Number, calibration: Calibration = CALIBRATION
) -> Parts:
    """What a step of the steady state takes; its sum is the time for each output token.

    Args:
        replica: the model on its accelerators.
        batch: requests at once; those that do not fit wait.
        prompt, output: tokens of a request.
        calibration: the fitted constants.
    """
    b = running(replica, batch, prompt, output)
    prompts = b / output  # prefilled a step
    attention = attention_flop(replica.model, replica.model.prefill_pair_flop, prompts * prompt, prompt / 2)
    attention = attention + attention_flop(replica.model, replica.model.decode_pair_flop, b, prompt + output / 2)
    cache = b * replica.kv_bytes_per_token * (prompt + output / 2)
    return step_parts(replica, b + prompts * prompt, attention, cache, b, calibration)


def prefill_s(replica: Replica, prompt: Number, calibration: Calibration = CALIBRATION) -> Number:
    """Seconds of one prompt alone."""
    attention = attention_flop(replica.model, replica.model.prefill_pair_flop, prompt, prompt / 2)
    return step_parts(replica, prompt, attention, prompt * replica.kv_bytes_per_token, 1.0, calibration).total_s()


def step_parts(
    replica: Replica,
    tokens: Number,
    attention: Number,
    cache_bytes: Number,
    requests: Number,
    fit: Calibration = CALIBRATION,
) -> Parts:
    """Seconds of one step, by what it does: a sum of functions of each argument alone.

    Args:
        replica: the model on its accelerators.
        tokens: that pass through the model.
        attention: FLOP of attention.
        cache_bytes: of cache read.
        requests: that the step carries.
        fit: the fitted constants.
    """
    model, t = replica.model, replica.gpus
    bandwidth = t * replica.bandwidth_bytes_s * fit.memory
    peak = t * replica.peak_flops * fit.arithmetic * (1 + (fit.fp4_arithmetic - 1) * replica.is_fp4)
    crossing = 2 * (t - 1) / t * tokens * model.hidden * _ACTIVATION_BYTES
    launch = fit.launch_s * (1 + (fit.vllm_launch - 1) * replica.is_vllm)
    return Parts(
        weights_s=read_parameters(model, tokens) * replica.weight_bytes / bandwidth,
        cache_s=cache_bytes / bandwidth,
        arithmetic_s=(linear_flop(model, tokens) + attention) / peak,
        communication_s=2 * model.layers * crossing / (replica.link_bytes_s * fit.link),
        overhead_s=model.layers * launch + requests * fit.request_s,
    )


def requests_per_s(
    replica: Replica, batch: Number, prompt: Number, output: Number, calibration: Calibration = CALIBRATION
) -> Number:
    """Throughput of a replica: those that run, over what each of them stays."""
    step = tpot_parts(replica, batch, prompt, output, calibration).total_s()
    stay = prefill_s(replica, prompt, calibration) + output * step
    return running(replica, batch, prompt, output) / stay


def decode_s(replica: Replica, batch: Number, context: Number, calibration: Calibration = CALIBRATION) -> Number:
    """Seconds of a step that makes one token for each of `batch` requests, and carries no prompts.

    Args:
        replica: the model on its accelerators.
        batch: requests, which fit.
        context: tokens of a request so far, on average.
        calibration: the fitted constants.
    """
    attention = attention_flop(replica.model, replica.model.decode_pair_flop, batch, context)
    cache = batch * replica.kv_bytes_per_token * context
    return step_parts(replica, batch, attention, cache, batch, calibration).total_s()
