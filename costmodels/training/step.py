"""Seconds of one optimizer step under a plan, part by part.

After Narayanan et al. (Megatron-LM, SC 2021) and Korthikanti et al. (2022). A micro-batch of b sequences of s tokens
passes L layers of hidden size h; a layer multiplies a token by W numbers, split t ways (tensor), its sequence c ways
(context). T = b s / c tokens.

    gemm   = 2 W T / (t PEAK e),   e = eta x / (x + x0),   x = h sqrt(T / (2048 t))
             of experts: x = sqrt(h f / 4 x tokens of an expert / 2048), as f is 4 h where there are none
    attend = FLOP of scores and values / (t PEAK e);  with FlashAttention-2 half of them, at the share `flash`
    memory = k T (10 h, or 10 h / t with sequence parallelism, + 2 W / (h t) h) / BANDWIDTH
    scores = k 5 a s^2 b / (t c) / BANDWIDTH, without FlashAttention-2
    tensor = 2 all-reduces of 2 T h bytes;  experts = 2 all-to-alls of 2 k_e T h bytes
    forward = all of them,   backward = twice the arithmetic and memory, the same traffic

    step = (m + (p - 1) / v) (stage + sends) + m logits + data parallel traffic + optimizer

m micro-batches run through p stages of v chunks each: 1F1B, interleaved where v > 1. Numbers or arrays that broadcast,
NumPy's or JAX's; everything here is arithmetic. Which constants are fitted, and to what: `clusters.py`.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from ..arrays import Array
from ..transformers.architectures import Architecture

__all__ = [
    "FULL",
    "NONE",
    "SELECTIVE",
    "Machine",
    "Plan",
    "Task",
    "Times",
    "kept_bytes",
    "layer_weights",
    "stage_layers",
    "step_times",
]

Number: TypeAlias = "Array | float"

NONE, SELECTIVE, FULL = 0, 1, 2  # what is computed anew in the backward pass
REFERENCE_TOKENS = 2048  # of the sequences on which Megatron's kernels were measured: the unit of x
WEIGHT_BYTES = 2  # bf16


class Plan(NamedTuple):
    """How the work is cut."""

    tensor: Number
    pipeline: Number
    data: Number  # replicas, those among which experts are split too
    context: Number  # pieces of a sequence
    expert: Number  # parts among which routed experts are split; divides data x context x tensor
    micro_batch: Number  # sequences of a replica that run together
    interleave: Number  # chunks of a stage; 1: plain 1F1B
    zero: Number  # stage 0 to 3: optimizer, gradients, weights split among replicas
    recompute: Number  # NONE, SELECTIVE, FULL
    sequence: Number  # 1: norms and dropout split among the tensor group too
    offload: Number  # share of activations that wait outside the GPU's memory


class Task(NamedTuple):
    """What is trained."""

    model: Architecture
    sequence_tokens: Number
    batch: Number  # sequences of a step, of all replicas
    trainable: Number  # share of the parameters that learn
    gradient_bytes: Number  # of a parameter that learns
    optimizer_bytes: Number  # of a parameter that learns, a master copy included


class Machine(NamedTuple):
    """Accelerators, their links, and how near software comes to their peaks."""

    peak_flops: Number
    bandwidth_bytes_s: Number
    node: Number  # accelerators that share the fast links
    pair_bytes_s: Number  # of an accelerator to the other of its package, one direction, as reached
    scale_up_bytes_s: Number  # the same within a node
    scale_out_bytes_s: Number  # the same between nodes
    offload_bytes_s: Number  # of an accelerator to what activations wait in
    eta: Number  # share of the peak that large matrix products reach
    half_size: Number  # x0
    traffic: Number  # k: bytes moved over bytes kept
    flash: Number  # share of the peak that FlashAttention-2 reaches; 0: scores are written out
    cards: Number  # power of a group's members in a node: the network cards that it keeps busy
    tensor_hidden: Number  # share of the tensor group's traffic behind arithmetic
    data_hidden: Number  # share of the layers' time behind which traffic of replicas hides


class Times(NamedTuple):
    """Seconds of a step on the slowest stage."""

    matrices: Number
    attention: Number
    memory: Number  # norms, activations, dropout; scores that are written out
    recompute: Number
    tensor: Number  # traffic of the tensor group
    experts: Number  # of all-to-alls
    sends: Number  # between stages
    offload: Number  # what waits for activations
    logits: Number
    bubble: Number
    data: Number  # traffic of replicas that is not hidden
    optimizer: Number

    def total_s(self) -> Number:
        """Of the step."""
        return sum(self[1:], self[0])


def larger(one: Number, other: Number) -> Number:
    """The larger of two, for NumPy and JAX alike."""
    return one + (other - one) * (other > one)


def layer_weights(model: Architecture) -> tuple[Number, Number]:
    """Numbers that multiply a token in a layer, on average over layers: everybody's, and those of routed experts."""
    routed = (model.layers - model.dense_layers) / model.layers
    shared = model.expert_parameters * model.shared_experts + model.hidden * model.experts
    common = model.attention_parameters + (1 - routed) * model.ffn_parameters + routed * shared
    return common, routed * model.expert_parameters * model.active_experts


def kept_bytes(task: Task, plan: Plan, written: Number) -> Number:
    """Activations of a layer and micro-batch on an accelerator, nothing computed anew; scores where they are written.

    Of GPT's 34 bytes of a token and hidden number, 10 are not split by the tensor group alone.
    """
    model, t = task.model, plan.tensor
    tokens = plan.micro_batch * task.sequence_tokens / plan.context
    apart = 10 * model.hidden * (1 + plan.sequence * (1 / t - 1))
    together = 2 * sum(layer_weights(model)) / model.hidden / t
    return tokens * (apart + together + written * 5 * model.heads * task.sequence_tokens / t)


def stage_parameters(model: Architecture, plan: Plan) -> tuple[Number, Number]:
    """Of an accelerator's layers in the largest stage: those that all replicas hold, and routed experts'."""
    stage = stage_layers(model, plan) / model.layers
    routed = model.layers - model.dense_layers
    common = model.layers * model.attention_parameters + model.dense_layers * model.ffn_parameters
    common = common + routed * (model.expert_parameters * model.shared_experts + model.hidden * model.experts)
    return (
        common * stage / plan.tensor,
        routed * model.expert_parameters * model.experts * stage / plan.expert,
    )


def stage_layers(model: Architecture, plan: Plan) -> Number:
    """Of the largest stage: its chunks are of one size, and the last stages may lack some layers."""
    chunks = plan.pipeline * plan.interleave
    return -(-model.layers // chunks) * plan.interleave


def _group_bytes_s(machine: Machine, stride: Number, members: Number) -> Number:
    """Bandwidth of a group whose members are so many accelerators apart: fast links within a node; between nodes as
    many network cards as the group has members in a node.
    """
    inside = machine.node / stride
    local = larger(inside - (inside - members) * (members < inside), 1.0)
    between = machine.scale_out_bytes_s * local**machine.cards
    between = between - (between - machine.scale_up_bytes_s) * (between > machine.scale_up_bytes_s)
    within = (stride * members <= machine.node) * 1.0
    pair = (stride * members <= 2) * 1.0
    reached = within * machine.scale_up_bytes_s + (1 - within) * between
    return pair * machine.pair_bytes_s + (1 - pair) * reached


def _ring(members: Number, size_bytes: Number, bytes_s: Number) -> Number:
    """Of a gather or a scatter of what all hold together."""
    return (members - 1) / members * size_bytes / bytes_s


def step_times(task: Task, plan: Plan, machine: Machine) -> Times:
    """Seconds of every part of a step. Degrees that do not divide give fractions: whoever calls refuses them."""
    model, s, t = task.model, task.sequence_tokens, plan.tensor
    h, layers, flash = model.hidden, model.layers, (machine.flash > 0) * 1.0
    tokens = plan.micro_batch * s / plan.context
    micro_batches = task.batch / (plan.data * plan.micro_batch)
    common, met = layer_weights(model)

    def reached(size: Number) -> Number:
        return machine.peak_flops * machine.eta * size / (size + machine.half_size)

    dense_flops = reached(h * (tokens / (REFERENCE_TOKENS * t)) ** 0.5)
    some = model.experts + (model.experts == 0)
    each = tokens * plan.expert / t * model.active_experts / some  # tokens of an expert, evenly drawn
    expert_flops = reached((model.expert_parameters / 12 * each / REFERENCE_TOKENS) ** 0.5 + (model.experts == 0))
    gemm = 2 * tokens / t * (common / dense_flops + met / expert_flops)
    pairs = model.prefill_pair_flop * tokens * s / t
    written = pairs / dense_flops
    fused = 0.5 * pairs / (machine.peak_flops * (machine.flash + (1 - flash)))
    attend = flash * fused + (1 - flash) * written
    kept = kept_bytes(task, plan, 0.0)
    memory = machine.traffic * kept / machine.bandwidth_bytes_s
    scores = machine.traffic * kept_bytes(task, plan, 1 - flash) / machine.bandwidth_bytes_s - memory
    # A tensor group that leaves its node waits for one card at a time: Megatron-LM's figure of 32 GPUs at 25 TFLOP/s.
    inside, pair = (t <= machine.node) * 1.0, (t <= 2) * 1.0
    reached_in = pair * machine.pair_bytes_s + (1 - pair) * machine.scale_up_bytes_s
    tensor_link = inside * reached_in + (1 - inside) * machine.scale_out_bytes_s
    tensor = 2 * 2 * _ring(t, 2 * tokens * h, tensor_link) * (1 - machine.tensor_hidden)
    # Keys and values of all pieces of a sequence are gathered in both passes, and their gradients scattered in one.
    context = _ring(
        plan.context, 2 * model.kv_numbers * plan.micro_batch * s / t, _group_bytes_s(machine, t, plan.context)
    )
    tensor = tensor + 1.5 * context
    routed = (layers - model.dense_layers) / layers
    exchanged = 2 * model.active_experts * tokens * h / t
    experts = routed * 2 * _ring(plan.expert, exchanged, _group_bytes_s(machine, 1.0, plan.expert))

    forward = gemm + attend + memory + scores + tensor + experts
    anew = (plan.recompute == FULL) * forward + (plan.recompute == SELECTIVE) * (1 - flash) * (attend + scores)
    back = 1 + task.trainable  # the input's gradient, and the weights' where they learn
    grow = 2 + 0.5 * flash  # FlashAttention computes scores anew
    per_stage = stage_layers(model, plan)
    passes = micro_batches * per_stage
    wait = plan.offload * kept / machine.offload_bytes_s
    wait = larger(wait - forward, 0.0) + larger(wait - 2 * forward, 0.0)
    layer = gemm * (1 + back) + attend * (1 + grow) + 3 * (memory + scores) + 2 * (tensor + experts)
    layer = layer + anew + wait
    staged = (plan.pipeline > 1) * 1.0
    send = staged * 2 * plan.interleave * 2 * tokens * h / t / _group_bytes_s(machine, t * plan.data, plan.pipeline)
    logits = 2 * model.output_parameters * tokens / (t * dense_flops) * (2 + task.trainable)
    chunk = per_stage * layer + send
    data, optimizer = _replicas(task, plan, machine, micro_batches, passes * layer)
    return Times(
        matrices=passes * gemm * (1 + back),
        attention=passes * attend * (1 + grow),
        memory=passes * 3 * (memory + scores),
        recompute=passes * anew,
        tensor=passes * 2 * tensor,
        experts=passes * 2 * experts,
        sends=micro_batches * send,
        offload=passes * wait,
        logits=micro_batches * logits,
        bubble=(plan.pipeline - 1) / plan.interleave * chunk,
        data=data,
        optimizer=optimizer,
    )


def _replicas(
    task: Task, plan: Plan, machine: Machine, micro_batches: Number, layers_s: Number
) -> tuple[Number, Number]:
    """Seconds of replicas' traffic that nothing hides, and of the optimizer."""
    common, experts = stage_parameters(task.model, plan)
    common = common + task.model.stored_output_parameters / plan.tensor * (plan.pipeline == 1)
    ranks = plan.data * plan.context
    over = larger(ranks * plan.tensor / plan.expert, 1.0)  # replicas of an expert
    link = _group_bytes_s(machine, plan.tensor, ranks)
    gradients = task.trainable * task.gradient_bytes
    reduced = _ring(ranks, common * gradients, link) + _ring(over, experts * gradients, link)
    gathered = _ring(ranks, common * WEIGHT_BYTES, link) + _ring(over, experts * WEIGHT_BYTES, link)
    split = (plan.zero >= 1) * 1.0
    whole = (plan.zero >= 3) * 1.0
    # Gradients are reduced and, where nothing is split, gathered again; else the weights are, with ZeRO-3 in each pass.
    scattered = (plan.zero >= 2) * (micro_batches - 1) * reduced
    traffic = reduced * (2 - split) + scattered + split * (1 - whole) * gathered * task.trainable
    traffic = traffic + whole * 2 * micro_batches * gathered
    exposed = larger(traffic - machine.data_hidden * layers_s, 0.0)
    moved = task.trainable * (2 * task.optimizer_bytes + task.gradient_bytes + 2 * WEIGHT_BYTES)
    share = 1 + split * (1 / ranks - 1)
    share_of_experts = 1 + split * (1 / over - 1)
    return exposed, moved * (common * share + experts * share_of_experts) / machine.bandwidth_bytes_s
