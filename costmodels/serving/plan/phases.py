"""What an instance of a phase can do: the most requests a second within the targets, for each way to split a model.

An instance is t x p accelerators: tensor parallelism t, p pipeline stages. Requests are a histogram of K classes.

Prefill: prompts queue for p stages in a row; the rate is the highest at which 90 % of simulated requests have their
first token within the target (`serving/queueing.py`).
Decode: p batches are in flight, one in each stage, each of at most the plan's batch and of what the cache holds; a
token takes a step of all stages. The rate is that of batches `FULL` full, if a step of full ones is within the target.
Together (colocated): a step also carries its share of prompts, which go first but wait for a slot of the batch. With
stages this is optimistic: no bubbles between steps and prompts are counted.

Engines say how long steps take: `roofline` for any model and accelerator, `distserve` and `vllm` for OPT on A100 as
DistServe's simulator has them, `cloudmatrix` for DeepSeek-R1 on Ascend 910C as CloudMatrix384's authors measured it:
there t is the size of an instance, whose attention is replicated and whose experts are shared out, a batch is an
accelerator's, prompts are prefilled in batches, and the phases are apart. Float64 on the host; T values of t, P of p, M
of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import DsegymError
from ...transformers.architectures import kv_bytes_per_token
from ...transformers.configurations import get_model
from ...transformers.devices import get_device, get_precision
from ...transformers.memory import capacity_tokens
from .. import cloudmatrix, distserve, roofline
from ..mix.requests import Class
from ..queueing import batched_rate, staged_rate, together_rate

__all__ = ["BATCHES", "ENGINES", "INSTANCES", "STAGES", "Engine", "Phases", "engine_of", "phases_of"]

STAGES = (1, 2, 4)
BATCHES = (8, 16, 32, 64, 128, 256)
INSTANCES = 8  # of a phase, at most
FULL = 0.95  # of a decode batch's slots are taken on average, so that hardly a request waits for one: assumed
LATE = 0.1  # share of requests that may miss the target for the first token: DistServe's 90 % attainment
ENGINES = ("roofline", "distserve", "vllm", "cloudmatrix")
_DEGREES = (1, 2, 4, 8)
_DISTSERVE_GPU = "A100-SXM-80GB"
# Sizes of CloudMatrix384's instances that share 320 experts out evenly; prefill was measured on the first alone.
_CLOUDMATRIX_SIZES = (16, 32, 40, 80, 160)
_CLOUDMATRIX_BATCHES = (8, 16, 24, 32, 48, 64, 80, 96, 112, 128)  # of an accelerator: between those measured
_CLOUDMATRIX_DEPLOYED = 6, 160  # instances of prefill and accelerators of one decode instance, 256 together


@dataclass(frozen=True)
class Engine:
    """How long steps take and what fits."""

    degrees: tuple[int, ...]  # of tensor parallelism, or accelerators of an instance
    prefill_s: Callable[[int, np.ndarray], np.ndarray]  # (t, prompt tokens) of one prompt through all stages
    decode_s: Callable[[int, float, float], float]  # (t, batch, mean context) of a step through all stages
    capacity_tokens: Callable[[int, int], float]  # (t, p); below 0 where the weights do not fit
    kv_bytes: float  # of a token
    link_bytes_s: float  # between instances
    stages: tuple[int, ...] = STAGES  # the first ones of them
    batches: tuple[int, ...] = BATCHES
    batch_is_of_an_accelerator: bool = False
    prefill_degrees: int = len(_DEGREES)  # so many of the first degrees are of prefill instances too
    prefill_instances: tuple[int, int] = (0, INSTANCES)  # the fewest, 0 where phases may be together, and the most
    prefill_rate: Callable[[int, np.ndarray, np.ndarray, float], float] | None = None  # (t, prompts, shares, target)
    deployed: tuple[int, int, int] | None = None  # places of prefill's and decode's t, and prefill instances


@dataclass(frozen=True)
class Phases:
    """Rates in requests/s of one instance, 0 where a target is missed, and by how much it is, as a share."""

    prefill_rate: np.ndarray  # float64[T, P]
    prefill_miss: np.ndarray
    decode_rate: np.ndarray  # float64[T, P, M]
    decode_miss: np.ndarray
    together_rate: np.ndarray  # float64[T, P, M]
    together_miss: np.ndarray
    transfer_rate: float  # requests/s whose cache one instance can send
    prefill_instances: int = INSTANCES  # at most


def engine_of(engine: str, model: str, gpu: str, precision: str) -> Engine:
    """An engine by its name.

    Raises:
        DsegymError: what was measured is of other models, GPUs or precisions, or the GPU lacks the precision.
    """
    if engine == "cloudmatrix":
        return _cloudmatrix(model, gpu, precision)
    sizes, device, numbers = get_model(model), get_device(gpu), get_precision(precision)
    kv_bytes = float(kv_bytes_per_token(sizes, numbers.kv_bytes))
    if engine == "roofline":
        replicas = {t: roofline.replica_of(sizes, device, numbers, t) for t in _DEGREES if int(sizes.heads) % t == 0}

        def decode_s(t: int, batch: float, context: float) -> float:
            replica = replicas[t]._replace(free_bytes=np.inf)  # what fits is asked elsewhere
            return float(roofline.decode_s(replica, batch, context))

        return Engine(
            degrees=tuple(replicas),
            prefill_s=lambda t, prompt: np.asarray(roofline.prefill_s(replicas[t], prompt)),
            decode_s=decode_s,
            capacity_tokens=lambda t, p: float(capacity_tokens(sizes, device, numbers, t * p, p)),
            kv_bytes=kv_bytes,
            link_bytes_s=device.scale_up_bytes_s,
        )
    known = sorted({name for _, name, _ in distserve.profiles()})
    if model not in known or gpu != _DISTSERVE_GPU or precision != "bf16":
        raise DsegymError(
            f"The engine {engine} was profiled with {' and '.join(known)} in 16 bits on {_DISTSERVE_GPU}, not with "
            f"{model} in {precision} on {gpu}; the engine roofline takes any."
        )
    degrees = tuple(sorted(t for name, a_model, t in distserve.profiles() if (name, a_model) == (engine, model)))

    def profiled_prefill_s(t: int, prompt: np.ndarray) -> np.ndarray:
        profile = distserve.profile_of(engine, model, t)
        return np.asarray(distserve.prefill_ms(profile, tokens=prompt, squared_tokens=prompt**2)) / 1e3

    def profiled_decode_s(t: int, batch: float, context: float) -> float:
        profile = distserve.profile_of(engine, model, t)
        return float(distserve.decode_ms(profile, context=batch * context, batch=batch)) / 1e3

    return Engine(
        degrees=degrees,
        prefill_s=profiled_prefill_s,
        decode_s=profiled_decode_s,
        capacity_tokens=lambda t, p: distserve.capacity_tokens(model, t, p),
        kv_bytes=kv_bytes,
        link_bytes_s=device.scale_up_bytes_s,
    )


def _cloudmatrix(model: str, gpu: str, precision: str) -> Engine:
    measured = cloudmatrix.MODEL, cloudmatrix.DEVICE, cloudmatrix.PRECISION
    if (model, gpu, precision) != measured:
        raise DsegymError(
            f"The engine cloudmatrix was measured with {measured[0]} in {measured[2]} on {measured[1]}, not with "
            f"{model} in {precision} on {gpu}; the engine roofline takes any."
        )
    sizes, device = get_model(model), get_device(gpu)

    def work_s(t: int, prompt: np.ndarray) -> np.ndarray:
        return np.asarray(prompt / (t * cloudmatrix.prefill_tokens_per_s(prompt, "default")))

    def prefill_rate(t: int, prompt: np.ndarray, shares: np.ndarray, ttft_s: float) -> float:
        return batched_rate(
            work_s(t, prompt),
            prompt,
            shares,
            fixed_s=cloudmatrix.fixed_s(t),
            most_tokens=t * cloudmatrix.PREFILL_TOKENS,
            limit_s=ttft_s,
            late=LATE,
        )

    instances, decode = _CLOUDMATRIX_DEPLOYED
    return Engine(
        degrees=_CLOUDMATRIX_SIZES,
        prefill_s=lambda t, prompt: cloudmatrix.fixed_s(t) + work_s(t, prompt),
        decode_s=lambda t, batch, context: float(cloudmatrix.decode_token_s(batch / t, context, t)),
        capacity_tokens=lambda t, p: cloudmatrix.capacity_tokens(t),
        kv_bytes=float(kv_bytes_per_token(sizes, get_precision(precision).kv_bytes)),
        link_bytes_s=device.scale_out_bytes_s or device.scale_up_bytes_s,
        stages=STAGES[:1],
        batches=_CLOUDMATRIX_BATCHES,
        batch_is_of_an_accelerator=True,
        prefill_degrees=1,
        prefill_instances=(1, 3 * INSTANCES),
        prefill_rate=prefill_rate,
        deployed=(0, _CLOUDMATRIX_SIZES.index(decode), instances),
    )


def phases_of(engine: Engine, classes: Sequence[Class], ttft_s: float, tpot_s: float) -> Phases:
    """Rates of every way to split the model."""
    shares = np.array([each.share for each in classes])
    prompt, output = (
        np.array([getattr(each, name) for each in classes]) for name in ("prompt_tokens", "output_tokens")
    )
    tokens = float(shares @ output)  # of an answer
    # A request stays as many steps as its answer has tokens, so that long answers are met more often in a batch.
    context = float(shares @ (output * (prompt + output / 2))) / tokens
    variation = float(shares @ output**2) / tokens**2 - 1
    shape = (len(engine.degrees), len(engine.stages))
    found = {name: np.zeros(shape if name == "prefill" else (*shape, len(engine.batches))) for name in _PHASES}
    missed = {name: np.ones_like(rates) for name, rates in found.items()}
    both = engine.prefill_instances[0] == 0
    for i, t in enumerate(engine.degrees):
        service = engine.prefill_s(t, prompt)
        for j, p in enumerate(engine.stages):
            capacity = engine.capacity_tokens(t, p)
            lacking = float(max(prompt.max() + output.max() - capacity, 0.0)) / float(prompt.max() + output.max())
            late = float(shares @ (service > ttft_s)) - LATE
            if i < engine.prefill_degrees:
                missed["prefill"][i, j] = lacking + max(late, 0.0)
            if not missed["prefill"][i, j]:
                if engine.prefill_rate is None:
                    found["prefill"][i, j] = staged_rate(service, shares, p, ttft_s, LATE)
                else:
                    found["prefill"][i, j] = engine.prefill_rate(t, prompt, shares, ttft_s)
                missed["prefill"][i, j] = float(found["prefill"][i, j] == 0)
            for k, most in enumerate(engine.batches):
                most = most * t if engine.batch_is_of_an_accelerator else most
                batch = min(float(most), max(capacity, 0.0) / (context * p))  # of each of p in flight
                step = engine.decode_s(t, max(batch, 1.0), context)
                missed["decode"][i, j, k] = lacking + max(step / tpot_s - 1, 0.0)
                if not missed["decode"][i, j, k]:
                    found["decode"][i, j, k] = FULL * p * batch / (tokens * step)
                if not both:
                    continue
                carried = step + max(batch, 1.0) / tokens * float(shares @ service)
                missed["together"][i, j, k] = lacking + max(carried / tpot_s - 1, 0.0) + max(late, 0.0)
                if not missed["together"][i, j, k]:
                    slots_rate = together_rate(
                        full_rate=p * batch / (tokens * carried),
                        slots=p * batch,
                        variation=variation,
                        services_s=service / p,
                        shares=shares,
                        limits_s=ttft_s - service - step,
                        late=LATE,
                    )
                    found["together"][i, j, k] = min(slots_rate, found["prefill"][i, j])
                    missed["together"][i, j, k] = float(found["together"][i, j, k] == 0)
    return Phases(
        found["prefill"],
        missed["prefill"],
        found["decode"],
        missed["decode"],
        found["together"],
        missed["together"],
        engine.link_bytes_s / (engine.kv_bytes * float(shares @ prompt)),
        engine.prefill_instances[1],
    )


_PHASES = ("prefill", "decode", "together")
