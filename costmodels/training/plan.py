"""What a plan is worth: days, dollars or energy to the tokens that training takes, within the accelerators' memory.

    steps = tokens / (batch x sequence),   tokens = D (1 + batch / critical) to a loss, D where tokens are given
    time = steps x step / goodput,   cost = time x accelerators paid x price,   energy = time x nodes x power

Which plans there are (`broken`): the tensor group within a node and dividing the heads, stages of equal chunks that
leave room for 3 layers at most (where Megatron-LM puts embedding, loss and a head of more tokens), replicas and
micro-batches that divide the batch, micro-batches in whole rounds where chunks interleave, sequence parallelism with a
tensor group, ZeRO-2 and 3 without stages, as DeepSpeed has them. What breaks a rule, does not fit, is late or is never
done is infeasible: `PENALTY` times 1 plus the sum of what it misses, as shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from ..transformers.architectures import Architecture, parameters
from .failures import checkpoint_s, goodput
from .memory import memory_bytes
from .models import model_flop
from .search import PARAMETERS, SPARE_LAYERS, Values
from .step import Machine, Number, Plan, Task, stage_layers, step_times

__all__ = [
    "BUSY_SHARE",
    "PENALTY",
    "Choice",
    "Instance",
    "Metrics",
    "broken",
    "choice_of",
    "chosen_of",
    "evaluate",
    "objective",
    "table_of",
    "task_of",
]

PENALTY = 1e12  # of the objective's unit: above any feasible plan's
BUSY_SHARE = 0.9  # of a node's full power, in training: assumed, below the 0.97 that POLCA states of its peaks
DAY_S = 86_400.0
LEAST_GOODPUT = 1e-3


class Choice(NamedTuple):
    """A design: a plan, and what surrounds it."""

    plan: Plan
    batch: Number  # sequences of a step
    interval_s: Number  # useful time between checkpoints
    spares: Number  # nodes that stand ready


class Instance(NamedTuple):
    """What is trained on what; float32 scalars unless said."""

    model: Architecture
    sequence_tokens: Number
    trainable: Number
    gradient_bytes: Number
    optimizer_bytes: Number
    machine: Machine
    usable_bytes: Number  # of an accelerator
    written: Number  # 1 where attention writes its scores
    gpus: Number  # that there are
    tokens_billion: Number  # at a small batch
    critical_batch: Number  # in sequences; infinity where tokens are given
    failures_gpu_s: Number
    recover_s: Number  # from a failure until the job runs again
    usd_gpu_h: Number
    watts_gpu: Number
    deadline_days: Number  # infinity: none
    weights: Array  # [3], of days, 10^3 dollars and MWh in the objective: one is 1
    values: Array  # [parameters, most values], of the design space; 0 beyond


class Metrics(NamedTuple):
    """float32 scalars."""

    days: Array
    kilo_usd: Array
    megawatt_h: Array
    step_s: Array
    model_flops_utilisation: Array
    memory_gb: Array  # of the fullest accelerator
    goodput: Array
    gpus: Array  # that compute or stand ready
    tokens_billion: Array


MOST_VALUES = 192  # of a parameter: no batch up to 4 x 65,536 has more divisors than 168


def table_of(values: Values) -> np.ndarray:
    """float32[parameters, `MOST_VALUES`], as `Instance.values`."""
    table = np.zeros((len(PARAMETERS), MOST_VALUES), np.float32)
    for row, name in zip(table, PARAMETERS, strict=True):
        row[: len(values[name])] = values[name]
    return table


def chosen_of(values: Mapping[str, Number]) -> Choice:
    """The choice of numbers by the parameters' names."""
    plan = Plan(**{name: values[name] for name in Plan._fields})
    return Choice(plan, values["batch"], values["checkpoint"], values["spares"])


def choice_of(design: Array, instance: Instance) -> Choice:
    """The choice of a design, int32[parameters]: places among the instance's values."""
    chosen = jnp.asarray(instance.values)[jnp.arange(len(PARAMETERS)), design]
    return chosen_of(dict(zip(PARAMETERS, chosen, strict=True)))


def objective(metrics: Metrics, instance: Instance) -> jax.Array:
    """What is minimised, in its unit."""
    return jnp.stack([metrics.days, metrics.kilo_usd, metrics.megawatt_h]) @ jnp.asarray(instance.weights)


def task_of(instance: Instance, batch: Number) -> Task:
    """What one step trains."""
    numbers = instance.trainable, instance.gradient_bytes, instance.optimizer_bytes
    return Task(instance.model, instance.sequence_tokens, batch, *numbers)


def _leaves_rest(whole: Number, part: Number) -> jax.Array:
    return jnp.mod(whole, part) != 0


def broken(choice: Choice, instance: Instance) -> dict[str, jax.Array]:
    """{rule, as a sentence about the plan that breaks it: how much it is broken, 0 where it is kept}."""
    plan, model = choice.plan, instance.model
    micro_batches = choice.batch / jnp.maximum(jnp.asarray(plan.data * plan.micro_batch), 1.0)
    padding = stage_layers(model, plan) * plan.pipeline - model.layers
    used = plan.tensor * plan.pipeline * plan.data * plan.context + choice.spares * instance.machine.node
    chunked, staged = jnp.asarray(plan.interleave > 1), jnp.asarray(plan.pipeline > 1)
    some = jnp.maximum(jnp.asarray(model.experts), 1.0)
    told = {
        "tensor does not divide the attention heads": _leaves_rest(model.heads, plan.tensor),
        "tensor is larger than a node": plan.tensor > instance.machine.node,
        "pipeline x interleave leaves room for more than 3 layers": jnp.asarray(padding) > SPARE_LAYERS,
        "data x micro_batch does not divide the batch": _leaves_rest(choice.batch, plan.data * plan.micro_batch),
        "interleave needs stages": chunked & ~staged,
        "interleave needs micro-batches in whole rounds of the stages": chunked
        & staged
        & (jnp.mod(micro_batches, plan.pipeline) != 0),
        "sequence needs a tensor group": jnp.asarray(plan.sequence > 0) & (plan.tensor == 1),
        "zero 2 and 3 go without stages": jnp.asarray(plan.zero >= 2) & staged,
        "expert does not divide the experts": _leaves_rest(some, plan.expert),
        "expert does not divide data x context x tensor": _leaves_rest(
            plan.data * plan.context * plan.tensor, plan.expert
        ),
        "context does not divide the sequence": _leaves_rest(instance.sequence_tokens, plan.context),
        "it takes more GPUs than there are": jnp.maximum(used - instance.gpus, 0.0) / instance.gpus,
    }
    return {rule: jnp.asarray(value, jnp.float32) for rule, value in told.items()}


def evaluate(choice: Choice, instance: Instance) -> tuple[Metrics, jax.Array]:
    """Metrics, and what is missed: 0 where the plan is feasible."""
    plan, machine, model = choice.plan, instance.machine, instance.model
    task = task_of(instance, choice.batch)
    step_s = step_times(task, plan, machine).total_s()
    memory = memory_bytes(task, plan, instance.written).total()
    computing = plan.tensor * plan.pipeline * plan.data * plan.context
    paid = computing + choice.spares * machine.node
    useful = goodput(
        failures_gpu_s=instance.failures_gpu_s,
        recover_s=instance.recover_s,
        gpus=computing,
        spares=choice.spares,
        interval_s=choice.interval_s,
        write_s=jnp.asarray(checkpoint_s(parameters(model) * instance.trainable, computing)),
    )
    tokens = instance.tokens_billion * (1 + choice.batch / instance.critical_batch)
    steps = tokens * 1e9 / (choice.batch * instance.sequence_tokens)
    days = steps / DAY_S * step_s / jnp.maximum(useful, LEAST_GOODPUT)
    flop = model_flop(model, choice.batch, instance.sequence_tokens, instance.trainable)
    metrics = Metrics(
        days=days,
        kilo_usd=days * 24 * paid * instance.usd_gpu_h * 1e-3,
        megawatt_h=days * 24 * paid * BUSY_SHARE * instance.watts_gpu * 1e-6,
        step_s=jnp.asarray(step_s),
        model_flops_utilisation=jnp.asarray(flop / computing / machine.peak_flops / step_s),
        memory_gb=jnp.asarray(memory * 1e-9),
        goodput=jnp.maximum(useful, 0.0),
        gpus=jnp.asarray(paid),
        tokens_billion=jnp.asarray(tokens),
    )
    missed = (
        sum(broken(choice, instance).values())
        + jnp.maximum(memory - instance.usable_bytes, 0.0) / instance.usable_bytes
    )
    late = jnp.maximum(days - instance.deadline_days, 0.0)  # 0 without a deadline, which is infinite
    missed = missed + late / instance.deadline_days
    return metrics, missed + jnp.maximum(LEAST_GOODPUT - useful, 0.0)
