"""Bytes of an accelerator's memory under a plan, part by part, on the first stage, which holds most.

States, after Rajbhandari et al. (ZeRO, SC 2020): weights in 2 bytes, gradients and the optimizer's numbers of what
learns; stage 1 splits the last among the replicas, stage 2 gradients too, stage 3 weights too. Activations, after
Korthikanti et al. (2022): of a layer, b sequences of s tokens, a heads, hidden size h, tensor parallelism t

    s b h (10 + 24 / t + 5 a s / (h t)),   with sequence parallelism s b h (34 + 5 a s / h) / t

without the last term where scores are computed anew or never written (FlashAttention-2), and 2 s b h where all is. A
stage of p holds the activations of p micro-batches, interleaved (1 + (p - 1) / (p v)) times as many.
"""

from __future__ import annotations

from typing import NamedTuple

from .step import FULL, NONE, WEIGHT_BYTES, Number, Plan, Task, kept_bytes, larger, stage_layers, stage_parameters

__all__ = ["Bytes", "memory_bytes", "state_bytes"]

LOGIT_BYTES = 6  # of a logit: two bytes as computed, four for the loss


class Bytes(NamedTuple):
    """Of one accelerator."""

    weights: Number
    gradients: Number
    optimizer: Number
    embeddings: Number  # states of the tables of tokens and positions, and of the output where it is here
    activations: Number
    working: Number  # one layer that is computed anew, gathered weights, logits

    def total(self) -> Number:
        """Of all parts."""
        return sum(self[1:], self[0])


def state_bytes(task: Task, plan: Plan, parameters: Number, replicas: Number) -> tuple[Number, Number, Number]:
    """Weights, gradients and optimizer of so many parameters that so many replicas hold."""

    def split(stage: int) -> Number:
        return 1 + (plan.zero >= stage) * (1 / replicas - 1)

    learns = task.trainable * parameters
    return (
        WEIGHT_BYTES * parameters * split(3),
        task.gradient_bytes * learns * split(2),
        task.optimizer_bytes * learns * split(1),
    )


def memory_bytes(task: Task, plan: Plan, written: Number) -> Bytes:
    """All parts; `written`: 1 where attention writes its scores, 0 with FlashAttention-2."""
    model = task.model
    common, experts = stage_parameters(model, plan)
    ranks = plan.data * plan.context
    over = larger(ranks * plan.tensor / plan.expert, 1.0)
    states = [
        one + other
        for one, other in zip(
            state_bytes(task, plan, common, ranks), state_bytes(task, plan, experts, over), strict=True
        )
    ]
    alone = (plan.pipeline == 1) * 1.0
    tables = (model.lookup_parameters + alone * model.stored_output_parameters) / plan.tensor
    whole = kept_bytes(task, plan, written * (plan.recompute == NONE))
    tokens = plan.micro_batch * task.sequence_tokens / plan.context
    boundary = 2 * tokens * model.hidden
    full = (plan.recompute == FULL) * 1.0
    micro_batches = task.batch / (plan.data * plan.micro_batch)
    fewer = plan.pipeline + (micro_batches - plan.pipeline) * (micro_batches < plan.pipeline)
    chunked = (plan.interleave > 1) * 1.0
    layers = stage_layers(model, plan)
    in_flight = layers * (plan.pipeline + (plan.pipeline - 1) / plan.interleave)
    in_flight = chunked * in_flight + (1 - chunked) * fewer * layers
    layer = full * boundary + (1 - full) * whole
    gathered = (plan.zero >= 3) * 2 * WEIGHT_BYTES * (common + experts) / layers
    logits = alone * LOGIT_BYTES * tokens * model.output_parameters / model.hidden / plan.tensor
    return Bytes(
        *states,
        embeddings=sum(state_bytes(task, plan, tables, ranks)),
        activations=in_flight * layer * (1 - plan.offload),
        working=full * kept_bytes(task, plan, written) + gathered + logits,
    )
