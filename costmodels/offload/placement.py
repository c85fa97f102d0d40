"""What lives in which tier, how many bytes that takes, and how long each transfer and computation of a layer takes.

States are ZeRO's (Rajbhandari et al., SC 2020): 2 bytes of a parameter's weight, 2 of its gradient and 12 of Adam's
numbers, of all GPUs together. They and the activations are spread over four tiers, every layer alike:

    GPU: share g;   host: share h of the rest;   CXL cards: share c of what still remains;   SSDs: what is left

A step of L layers passes them forward and backward, with a gradient for what learns. A weight that is not in the GPU is
fetched in both passes; an activation that is not goes out in the first and comes back in the second; what is computed
anew leaves only its layer's input. The update of a layer runs where its numbers are: in the GPU for share g; for the
rest on the processors, or on the GPU for every k-th layer, whose numbers travel there and back (Deep Optimizer States);
during the backward pass (Fuyou) or after it (ZeRO-Infinity). Embeddings count as parts of the layers.

Numbers or arrays that broadcast, NumPy's or JAX's; everything here is arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

from ..training.clusters import TRAFFIC
from ..training.memory import LOGIT_BYTES
from ..training.models import model_flop
from ..training.step import NONE, REFERENCE_TOKENS, WEIGHT_BYTES, Number, Plan, Task, kept_bytes, layer_weights
from ..transformers.architectures import Architecture, parameters
from .server import Server

__all__ = [
    "GRADIENT_BYTES",
    "Durations",
    "Kept",
    "Placement",
    "Shares",
    "Work",
    "activation_bytes",
    "durations",
    "kept",
    "shares",
    "step_flop",
    "turns",
]

GRADIENT_BYTES = 2  # of a parameter that learns: ZeRO's 16 bytes are 2 + 2 + 12


class Work(NamedTuple):
    """What is trained."""

    model: Architecture
    sequence_tokens: Number
    trainable: Number  # share of the parameters that learn
    optimizer_bytes: Number  # of a parameter that learns, a master copy included


class Placement(NamedTuple):
    """A design, in numbers."""

    batch: Number  # sequences of a GPU in a step
    recompute: Number  # share of the activations that the backward pass computes anew
    weights_gpu: Number  # share
    weights_host: Number  # share of the rest
    weights_cxl: Number  # share of what still remains
    optimizer_gpu: Number
    optimizer_host: Number
    optimizer_cxl: Number
    activations_gpu: Number
    activations_host: Number
    activations_cxl: Number
    stride: Number  # of every so many layers one is updated on the GPU; 0: none
    depth: Number  # layers that are fetched ahead
    during: Number  # 1: a layer is updated as soon as its gradient is there; 0: after the backward pass


class Shares(NamedTuple):
    """Of one kind of object, adding up to 1."""

    gpu: Number
    host: Number
    cxl: Number
    ssd: Number


class Kept(NamedTuple):
    """Bytes of each tier: of one GPU, and of the server's others."""

    gpu: Number
    host: Number
    cxl: Number
    ssd: Number


class Durations(NamedTuple):
    """Seconds of one layer on one resource; of a step's totals see `simulator.busy`."""

    weights_read: Number  # SSDs
    weights_cxl: Number
    weights_up: Number  # to the GPU
    gather: Number  # among the GPUs
    forward: Number
    activations_down: Number  # to the host
    activations_write: Number
    activations_cxl_write: Number
    activations_read: Number
    activations_cxl: Number
    activations_up: Number
    backward: Number
    scatter: Number
    gradients_down: Number  # where the processors update
    states_read: Number  # before an update, wherever it runs
    states_cxl: Number  # before an update on the GPU
    states_up: Number
    moved_update: Number  # on the GPU, of what travelled
    resident_update: Number  # on the GPU, of what lives there
    processor_update: Number  # with what CXL memory slows
    states_down: Number
    states_write: Number
    states_cxl_write: Number
    resident_weights_down: Number  # new weights of what lives in the GPU
    moved_weights_down: Number  # new weights of what travelled
    weights_write: Number
    weights_cxl_write: Number
    weights_return: Number  # new weights of what the processors updated


def shares(gpu: Number, host: Number, cxl: Number) -> Shares:
    """Of what lives where, each given as a share of what the tiers before it leave."""
    beyond = (1 - gpu) * (1 - host)
    return Shares(gpu, (1 - gpu) * host, beyond * cxl, beyond * (1 - cxl))


def _places(placement: Placement) -> tuple[Shares, Shares, Shares]:
    """Of weights, the optimizer's numbers, activations."""
    p = placement
    return (
        shares(p.weights_gpu, p.weights_host, p.weights_cxl),
        shares(p.optimizer_gpu, p.optimizer_host, p.optimizer_cxl),
        shares(p.activations_gpu, p.activations_host, p.activations_cxl),
    )


def turns(layers: Number, stride: Number) -> Number:
    """Layers whose update is the GPU's: every `stride`-th."""
    some = stride + (stride == 0)
    return (stride > 0) * (layers // some)


def _layer_bytes(work: Work, batch: Number) -> tuple[Number, Number]:
    """Of one GPU: all activations of a layer, and its input alone."""
    task = Task(work.model, work.sequence_tokens, batch, work.trainable, GRADIENT_BYTES, work.optimizer_bytes)
    alone = Plan(1, 1, 1, 1, 1, micro_batch=batch, interleave=1, zero=0, recompute=NONE, sequence=0, offload=0.0)
    return kept_bytes(task, alone, 0.0), 2 * batch * work.sequence_tokens * work.model.hidden


def activation_bytes(work: Work, placement: Placement) -> Number:
    """Of one GPU and layer that wait for the backward pass, wherever they do."""
    whole, entered = _layer_bytes(work, placement.batch)
    return whole * (1 - placement.recompute) + entered * placement.recompute


def kept(work: Work, server: Server, placement: Placement) -> Kept:
    """Bytes of each tier at their fullest; logits are made for one sequence at a time."""
    weights, states, activations = _places(placement)
    model, layers, depth = work.model, work.model.layers, placement.depth
    count = parameters(model)
    learns, layer = work.trainable * count, count / layers
    waiting = activation_bytes(work, placement)
    whole, _ = _layer_bytes(work, placement.batch)
    logits = LOGIT_BYTES * work.sequence_tokens * model.output_parameters / model.hidden
    after = 1 - placement.during
    on_gpu = turns(layers, placement.stride) / layers * (1 - states.gpu)  # share of the updates that travel
    fetched = WEIGHT_BYTES * layer * (1 - weights.gpu / server.gpus)
    gradient = GRADIENT_BYTES * work.trainable * layer
    travelling = (on_gpu > 0) * (work.optimizer_bytes + 2 * GRADIENT_BYTES) * work.trainable * layer * (1 - states.gpu)
    staged = depth * (
        weights.ssd * WEIGHT_BYTES * layer
        + server.gpus * activations.ssd * waiting
        + states.ssd * work.optimizer_bytes * work.trainable * layer
    )
    sums = [
        WEIGHT_BYTES * count * w + work.optimizer_bytes * learns * o + server.gpus * layers * waiting * a
        for w, o, a in zip(weights, states, activations, strict=True)
    ]
    return Kept(
        gpu=sums[0] / server.gpus
        + depth * (fetched + gradient + waiting * (1 - activations.gpu))
        + after * GRADIENT_BYTES * learns * (states.gpu + on_gpu) / server.gpus
        + placement.during * depth * travelling / server.gpus
        + whole
        + logits,
        host=sums[1]
        + staged
        + GRADIENT_BYTES
        * work.trainable
        * (1 - states.gpu - on_gpu)
        * (after * count + placement.during * depth * layer),
        cxl=sums[2],
        ssd=sums[3],
    )


def step_flop(work: Work, batch: Number) -> Number:
    """Of a step of one GPU, nothing computed anew."""
    return model_flop(work.model, batch, work.sequence_tokens, work.trainable)


def durations(work: Work, server: Server, placement: Placement) -> Durations:
    """Of every part of a layer's passes and update."""
    weights, states, activations = _places(placement)
    model, gpus = work.model, server.gpus
    tokens = placement.batch * work.sequence_tokens
    layer = parameters(model) / model.layers
    learns = work.trainable * layer

    size = model.hidden * (tokens / REFERENCE_TOKENS) ** 0.5
    flops = server.peak_flops * server.eta * size / (size + server.half_size)
    products = 2 * tokens * (sum(layer_weights(model)) + model.output_parameters / model.layers) / flops
    attend = 0.5 * model.prefill_pair_flop * tokens * work.sequence_tokens / (server.peak_flops * server.flash)
    whole, _ = _layer_bytes(work, placement.batch)
    memory = TRAFFIC * whole / server.bandwidth_bytes_s
    forward = products + attend + memory
    backward = products * (1 + work.trainable) + 2.5 * attend + 2 * memory + placement.recompute * forward

    weight = WEIGHT_BYTES * layer
    changed = WEIGHT_BYTES * learns  # new weights
    waiting = activation_bytes(work, placement) * gpus  # of all GPUs
    moved = 1 - states.gpu
    gathered = (gpus - 1) / gpus / server.fabric_bytes_s
    outside = 1 - weights.gpu
    state = work.optimizer_bytes * learns
    in_hbm = (2 * work.optimizer_bytes + GRADIENT_BYTES + WEIGHT_BYTES) * learns / gpus / server.bandwidth_bytes_s
    link = gpus * server.link_bytes_s  # of all GPUs
    return Durations(
        weights_read=weight * weights.ssd / server.read_bytes_s,
        weights_cxl=weight * weights.cxl / server.cxl_bytes_s,
        weights_up=weight * outside / link,
        gather=weight * gathered,
        forward=forward,
        activations_down=waiting * (1 - activations.gpu) / link,
        activations_write=waiting * activations.ssd / server.write_bytes_s,
        activations_cxl_write=waiting * activations.cxl / server.cxl_bytes_s,
        activations_read=waiting * activations.ssd / server.read_bytes_s,
        activations_cxl=waiting * activations.cxl / server.cxl_bytes_s,
        activations_up=waiting * (1 - activations.gpu) / link,
        backward=backward,
        scatter=GRADIENT_BYTES * learns * gathered,
        gradients_down=GRADIENT_BYTES * learns * moved / link,
        states_read=state * states.ssd / server.read_bytes_s,
        states_cxl=state * states.cxl / server.cxl_bytes_s,
        states_up=state * moved / link,
        moved_update=in_hbm * moved,
        resident_update=in_hbm * states.gpu,
        processor_update=learns * moved / server.updates_s + state * states.cxl / server.cxl_bytes_s,
        states_down=state * moved / link,
        states_write=state * states.ssd / server.write_bytes_s,
        states_cxl_write=state * states.cxl / server.cxl_bytes_s,
        resident_weights_down=changed * outside * states.gpu / link,
        moved_weights_down=changed * outside * moved / link,
        weights_write=changed * weights.ssd / server.write_bytes_s,
        weights_cxl_write=changed * weights.cxl / server.cxl_bytes_s,
        weights_return=changed * weights.gpu * moved / link,
    )
