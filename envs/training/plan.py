"""dsegym/TrainingPlan-v0: how to cut a transformer's training over the accelerators of a cluster.

After Megatron-LM, ZeRO and Korthikanti et al. The rules and where figures come from: docs/training_plan.md. The model:
`costmodels/training/`. A design says how many ways tensors, layers, data and experts are split, how many sequences run
together, what is computed anew, split among replicas or kept elsewhere, and, where accelerators fail, how often a
checkpoint is written and how many nodes stand ready. Forms: `parametric` and `sequential`.

Objective: days to the tokens that training takes, or what they cost, or their energy.

    >>> import dsegym
    >>> problem = dsegym.make_problem("dsegym/TrainingPlan-v0", model="GPT-22B", gpus=64, batch=512)
    >>> problem.space.names[:3]
    ('tensor', 'pipeline', 'data')
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.breakdown import Breakdown
from ...costmodels.errors import DsegymError, literal
from ...costmodels.files import plain_number
from ...costmodels.solver import in_turn
from ...costmodels.training.clusters import (
    ATTENTIONS,
    OVERLAPS,
    clusters,
    get_cluster,
    machine_of,
    usable_bytes,
)
from ...costmodels.training.failures import RECOVERIES, Recovery
from ...costmodels.training.memory import memory_bytes
from ...costmodels.training.models import sizes_checked, trained_model, trained_models
from ...costmodels.training.optimum import CUT, Search
from ...costmodels.training.picture import draw
from ...costmodels.training.plan import (
    PENALTY,
    Instance,
    broken,
    choice_of,
    chosen_of,
    evaluate,
    objective,
    table_of,
    task_of,
)
from ...costmodels.training.scaling import critical_batch_tokens, lowest_loss, tokens_to
from ...costmodels.training.search import (
    PARAMETERS,
    RECOMPUTE,
    RULES,
    Limits,
    Values,
    values_of,
)
from ...costmodels.training.step import step_times
from ...costmodels.transformers.architectures import parameters
from ...costmodels.transformers.provenance import unchecked_notes
from ..core.evaluation import Evaluation, Objective, Yardstick
from ..core.one_shot import one_shot_problem
from ..core.options import Options, choice, number, number_or_own, whole
from ..core.problem import Problem
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "TrainingPlanOptions"]

BEYOND = "to the tokens that training takes; above 1e12: does not fit, breaks a rule, or is never done"
OBJECTIVES: Mapping[str, Objective] = {  # in the order of `Instance.weights`
    "time": Objective("training_days", "days", f"days {BEYOND}"),
    "cost": Objective("training_cost", "10^3 USD", f"cost {BEYOND}"),
    "energy": Objective("training_energy", "MWh", f"energy {BEYOND}"),
}
# Optimizer: bytes of a gradient and of the optimizer's numbers, a 4-byte master copy included.
OPTIMIZERS: Mapping[str, tuple[float, float]] = {
    "adamw": (4, 12),  # Megatron's
    "adamw_2_byte_gradients": (2, 12),  # the ZeRO paper's and DeepSpeed's
    "adam_8_bit": (2, 6),  # two moments of a byte
    "one_moment": (2, 8),  # Muon's; COSMOS keeps little more
}
BATCH_SIZES = (128, 1024, 4096)  # not 1: compilers contract float32 products of a single design otherwise than of many
# Congestion: shares of the bandwidth between nodes that all-reduces of eight jobs at a time lost, of 362 Gbit/s, as C4
# publishes them (recalled): 172 to 263 Gbit/s were left by hashing, 354 to 361 by C4P.
LOST: Mapping[str, object] = {"ecmp": 0.4, "c4p": 0.015}
BATCHES = (0.25, 0.5, 1, 2, 4)  # of the option, where the batch is chosen


@dataclass(frozen=True)
class TrainingPlanOptions(Options):
    """What tells instances apart."""

    model: str = choice("GPT-175B", lambda: tuple(trained_models()), "what is trained")
    cluster: str = choice("A100", lambda: tuple(clusters()), "of which accelerators and nodes")
    gpus: int = whole(1024, (64, 256, 1024, 3072), least=1, most=65536, unit="GPUs", summary="that there are")
    batch: int = whole(
        1536, (512, 1024, 1536), least=1, most=65536, unit="sequences", summary="of a step; to a loss, times 1/4 to 4"
    )
    sequence_length: int = whole(2048, (2048, 4096, 8192), least=1, most=2**20, unit="tokens", summary="of a sequence")
    tokens: float = number(300, (300, 1000), least=0.001, most=1e6, unit="10^9 tokens", summary="to train on")
    loss: float = number(
        0,
        (0, 2.0),
        least=1,
        most=12,
        unit="nats a token",
        words={"none": 0},
        summary="to train to, in place of a number of tokens",
    )
    objective: str = choice("time", tuple(OBJECTIVES), "what is minimised")
    optimizer: str = choice("adamw", tuple(OPTIMIZERS), "by the bytes that it keeps for a parameter")
    trainable: float = number(1, (0.01, 1), least=0, most=1, above=True, summary="share of the parameters that learn")
    precision: str = choice("bf16", ("bf16", "fp8", "fp4"), "of matrix products; states are the same")
    attention: str = choice("flash2", ATTENTIONS, "kernel: scores written out, llm-foundry's, or FlashAttention-2")
    overlap: str = choice("data", tuple(OVERLAPS), "what hides behind arithmetic: nothing, replicas' traffic, all (T3)")
    congestion: float = number(
        0,
        (0, 0.3, *LOST.values()),
        least=0,
        most=0.99,
        words=LOST,
        summary="share of the bandwidth between nodes that is lost; by hashed paths, and by C4P's",
    )
    deadline: float = number(
        0, (0, 30), least=0.001, most=1e6, unit="days", words={"none": 0}, summary="by which training must be done"
    )
    gpu_mtbf: float = number(
        0,
        (0, 50000),
        least=1e-6,
        most=1e9,
        unit="h",
        words={"never": 0},
        summary="mean time between failures of an accelerator",
    )
    recovery: str = choice(
        "assumed", tuple(RECOVERIES), "how a failure is met: 600 and 600 s, or after C4 before and with C4D"
    )
    detect: float | None = number_or_own(
        (30, 600, 1800), least=0, most=1e7, unit="s", summary="until a failure is noticed; the recovery's own"
    )
    diagnose: float | None = number_or_own(
        (0, 600, 7200), least=0, most=1e7, unit="s", summary="until its node is found; the recovery's own"
    )
    restart: float | None = number_or_own(
        (60, 600), least=0, most=1e7, unit="s", summary="until the job runs again; the recovery's own"
    )


def _space(values: Values) -> DesignSpace:
    named = {
        "tensor": ("GPUs", "that split every matrix: the tensor group"),
        "pipeline": ("stages", "that split the layers"),
        "data": ("replicas", "that split the batch"),
        "context": ("pieces", "that split every sequence"),
        "expert": ("parts", "among which routed experts are split"),
        "micro_batch": ("sequences", "of a replica that run together"),
        "interleave": ("chunks", "of a stage; 1: plain 1F1B"),
        "zero": ("", "ZeRO stage: optimizer (1), gradients (2), weights (3) split among replicas"),
        "recompute": ("", "what the backward pass computes anew"),
        "sequence": ("", "1: norms and dropout split among the tensor group too"),
        "offload": ("", "share of activations that wait outside the GPU"),
        "batch": ("sequences", "of a step"),
        "checkpoint": ("s", "of useful time between checkpoints"),
        "spares": ("nodes", "that stand ready"),
    }
    chosen = {**values, "recompute": RECOMPUTE}
    return DesignSpace(
        tuple(Parameter(name, tuple(chosen[name]), named[name][0], summary=named[name][1]) for name in PARAMETERS)
    )


def cost(design: Array, params: Instance) -> Evaluation:
    """Days, dollars or energy of one design, int32[14]."""
    metrics, missed = evaluate(choice_of(design, params), params)
    feasible = missed <= 0.0
    value = objective(metrics, params)
    return Evaluation(metrics, jnp.where(feasible, value, PENALTY * (1 + missed)), feasible, missed, value)


def _search(options: TrainingPlanOptions) -> Search:
    model, cluster = trained_model(options.model), get_cluster(options.cluster)
    limits = Limits(
        int(model.layers), int(model.heads), int(model.experts), cluster.node, options.gpus, options.sequence_length
    )
    batches = [options.batch]
    if options.loss:
        batches = [int(options.batch * each) for each in BATCHES if options.batch * each == int(options.batch * each)]
    values = values_of(limits, batches, fails=options.gpu_mtbf > 0)
    gradient, optimizer = OPTIMIZERS[options.optimizer]
    tokens = tokens_to(options.loss, float(parameters(model))) * 1e-9 if options.loss else options.tokens
    critical = critical_batch_tokens(options.loss) if options.loss else np.inf
    machine = machine_of(
        cluster,
        precision=options.precision,
        attention=options.attention,
        overlap=options.overlap,
        lost=options.congestion,
    )
    made = Instance(
        model=model,
        sequence_tokens=options.sequence_length,
        trainable=options.trainable,
        gradient_bytes=gradient,
        optimizer_bytes=optimizer,
        machine=machine,
        usable_bytes=usable_bytes(cluster),
        written=float(options.attention == "written"),
        gpus=options.gpus,
        tokens_billion=tokens,
        critical_batch=critical / options.sequence_length,
        failures_gpu_s=1 / (options.gpu_mtbf * 3600) if options.gpu_mtbf else 0.0,
        recover_s=_recovery(options).total_s(),
        usd_gpu_h=cluster.usd_gpu_h or 0.0,
        watts_gpu=(cluster.server_w or 0.0) / cluster.node,
        deadline_days=options.deadline or np.inf,
        weights=np.array([name == options.objective for name in OBJECTIVES]),
        values=table_of(values),
    )
    return Search(jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), made), values, limits)


def _recovery(options: TrainingPlanOptions) -> Recovery:
    """The named one, with what is given in its place."""
    given = {"detect_s": options.detect, "diagnose_s": options.diagnose, "restart_s": options.restart}
    return RECOVERIES[options.recovery]._replace(**{name: each for name, each in given.items() if each is not None})


def build(options: TrainingPlanOptions) -> Problem:
    """An instance.

    Raises:
        DsegymError: no plan fits or is ever done, the loss is out of reach, or no price or power is known.
    """
    _refuse(options)
    search = _search(options)
    space = _space(search.values)
    designs = {name: design for name in RULES if (design := search.by_rule(name)) is not None}
    source = "the rule {}, the first of " + ", ".join(RULES) + " that fits"
    if not designs:
        if not len(search.best):
            raise DsegymError(_why_nothing(search, options))
        # No rule fits: the plan of the fewest accelerators that does.
        designs = {"fewest_gpus": search.fewest_gpus}
        source = "the plan of the fewest accelerators: none of the rules " + ", ".join(RULES) + " fits"
    first = next(iter(designs))
    reference = space.decode(designs[first])
    notes = (*_notes(options), *_idle(reference, options.gpus))
    return one_shot_problem(
        options=options,
        space=space,
        objective=OBJECTIVES[options.objective],
        cost=cost,
        params=search.instance,
        reference=(first, reference, source.format(first)),
        bound=functools.partial(_optimum, search),
        breakdown=functools.partial(_break_down, search.instance, notes),
        batch_sizes=BATCH_SIZES,
        diagram=functools.partial(draw, search.instance),
        ranked=functools.partial(_ranked, search),
        solvers={"enumeration": in_turn(lambda: search.best[0].tolist())},
        baselines={name: functools.partial(designs.__getitem__, name) for name in designs},
        notes=notes,
    )


def _idle(reference: Mapping[str, object], gpus: int) -> list[str]:
    """A sentence where the reference leaves accelerators idle: part of any gain on it is their use."""
    used = math.prod(int(str(reference[name])) for name in ("tensor", "pipeline", "data", "context"))
    if used == gpus:
        return []
    return [
        f"The reference takes {used:,} of the {gpus:,} accelerators: part of what a plan gains on it is the others."
    ]


def _optimum(search: Search, problem: Problem) -> Yardstick:
    design = tuple(search.best[0].tolist())
    return Yardstick("optimum", float(problem.evaluate(design).objective[0]), "exhaustive enumeration", design)


def _ranked(search: Search, count: int) -> np.ndarray:
    """The best design of each of the best ways to cut, best first."""
    cuts = search.best[:, [PARAMETERS.index(name) for name in CUT]]
    _, first = np.unique(cuts, axis=0, return_index=True)
    return search.best[np.sort(first)[:count]]


def _refuse(options: TrainingPlanOptions) -> None:
    model, cluster = trained_model(options.model), get_cluster(options.cluster)
    lowest = lowest_loss(float(parameters(model)))
    if options.loss and options.loss <= lowest:
        raise DsegymError(
            f"No number of tokens brings {options.model} to a loss of {options.loss:g}: above {lowest:.3f}."
        )
    if options.loss and options.trainable < 1:
        raise DsegymError("A loss is that of training from scratch: with trainable below 1 give tokens instead.")
    if options.objective == "cost" and cluster.usd_gpu_h is None:
        priced = [name for name, each in clusters().items() if each.usd_gpu_h is not None]
        raise DsegymError(f"No price of the cluster {options.cluster} is known; known: {', '.join(priced)}.")
    if options.objective == "energy" and cluster.server_w is None:
        known = [name for name, each in clusters().items() if each.server_w is not None]
        raise DsegymError(f"No power of the cluster {options.cluster} is known; known: {', '.join(known)}.")


def _why_nothing(search: Search, options: TrainingPlanOptions) -> str:
    """In a sentence."""
    what = f"{options.model} on {options.gpus} x {options.cluster}"
    usable = float(search.instance.usable_bytes) * 1e-9
    least = search.least_memory_gb
    if least > usable:
        return (
            f"No plan of {what} fits: the smallest needs {least:,.1f} GB of an accelerator, which has {usable:,.1f} GB."
        )
    soonest = search.soonest_days
    if soonest is not None:
        return f"No plan of {what} is done within {options.deadline:g} days: the fastest takes {soonest:,.1f}."
    every = options.gpu_mtbf * 3600
    return (
        f"Failures leave {what} no goodput: with every accelerator at work one fails each "
        f"{_seconds(every / options.gpus)} s, a single one each {_seconds(every)} s, and each failure takes "
        f"{_recovery(options).total_s():,.0f} s and more."
    )


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 0.5 else f"{value:.2g}"


# Pairs of Megatron-Bridge's plans on one cluster that the law puts in order (docs/training_plan.md), by whether the
# model is a mixture of experts.
IN_ORDER = {False: "246 of 279 (dense models)", True: "121 of 176 (mixtures of experts, 24 % off on average)"}


def _notes(options: TrainingPlanOptions) -> tuple[str, ...]:
    cluster = get_cluster(options.cluster)
    order = IN_ORDER[bool(trained_model(options.model).experts)]
    notes = [
        "Seconds are modelled: one law with seven constants, 5 % off on average where it is fitted (Megatron-LM, "
        "llm-foundry); it says level and order of plans, not what a run will take.",
        f"Of pairs of measured plans that nothing was fitted to, {order} are in the law's order: take plans a few per "
        "cent apart for equals.",
        f"Memory is counted in 10^9 bytes: of an accelerator of {options.cluster} "
        f"{usable_bytes(cluster) * 1e-9:.1f} GB can be used.",
        f"Fitted for {options.cluster} (eta and triton: shares of the peak of matrix products and of fused attention): "
        f"{cluster.fitted}.",
        *unchecked_notes(options.model, [cluster.device], sizes_checked(options.model)),
    ]
    if options.loss:
        notes.append("Tokens to a loss are Hoffmann's law and Kaplan's critical batch, with constants from memory.")
    if options.gpu_mtbf:
        notes.append(RECOVERY_NOTES[options.recovery])
    elif _recovery(options) != RECOVERIES["assumed"]:
        notes.append("Nothing fails: recovery, detect, diagnose and restart say nothing; give gpu_mtbf.")
    if options.congestion in LOST.values():
        notes.append("What congestion loses by ecmp and c4p is recalled from C4's figures.")
    return tuple(notes)


def _break_down(params: Instance, notes: tuple[str, ...], values: Mapping[str, object]) -> Breakdown:
    """Of any numbers, in the space or not.

    Raises:
        DsegymError: a value is no number of its parameter's kind.
    """
    chosen = chosen_of({name: jnp.float32(_number(name, values[name])) for name in PARAMETERS})
    metrics, missed = evaluate(chosen, params)
    task = task_of(params, chosen.batch)
    times = step_times(task, chosen.plan, params.machine)
    kept = memory_bytes(task, chosen.plan, params.written)
    totals = {name: float(value) for name, value in metrics._asdict().items()}
    rules = [rule for rule, value in broken(chosen, params).items() if float(value)]
    if float(metrics.memory_gb) * 1e9 > float(params.usable_bytes):
        rules.append("it needs more memory than an accelerator has")
    notes = (f"This plan cannot run: {'; '.join(rules)}.", *notes) if rules else notes
    totals |= {"usable_memory_gb": float(params.usable_bytes) * 1e-9, "missed": float(missed)}
    step_s, whole = float(metrics.step_s), float(kept.total())
    rows: list[dict[str, float | str | None]] = [
        {"part": name, "of": "step", "seconds": float(value), "gigabytes": "", "share": float(value) / step_s}
        for name, value in times._asdict().items()
    ]
    rows += [
        {"part": name, "of": "memory", "seconds": "", "gigabytes": float(value) * 1e-9, "share": float(value) / whole}
        for name, value in kept._asdict().items()
    ]
    return Breakdown(totals, rows, notes)


def _number(name: str, value: object) -> float:
    if name == "recompute" and value in RECOMPUTE:
        return RECOMPUTE.index(str(value))
    try:
        found = plain_number(value)
    except (ValueError, OverflowError):
        found = -1.0
    least = 0 if name in ("zero", "sequence", "offload", "spares") else 1
    most = {"offload": 1.0, "zero": 3.0, "sequence": 1.0}.get(name, _MOST)
    if not least <= found <= most or name == "recompute" or (name not in _FRACTIONS and not found.is_integer()):
        what = "a number" if name in _FRACTIONS else "a whole number"
        allowed = f"one of {', '.join(RECOMPUTE)}" if name == "recompute" else f"{what} from {least} to {most:g}"
        raise DsegymError(f"{name} = {literal(value)} is not allowed; allowed: {allowed}.")
    return found


_MOST = 1e9  # of a number outside the design space
_FRACTIONS = ("offload", "checkpoint")


_OF_C4 = (
    "Times to detect, diagnose and restart are computed from the shares of two months that C4 publishes (the parts "
    "recalled), were every failure of the first noticed by a timeout of 30 min and failures as frequent in the second; "
    "times to repair and write are assumed."
)
RECOVERY_NOTES: Mapping[str, str] = {
    "assumed": "Times to detect, restart, repair and write are assumed, not measured.",
    "hang_timeout": _OF_C4,
    "c4d": _OF_C4,
}
WRITTEN = {"attention": "written", "overlap": "none"}  # Megatron-LM's kernels of 2021
CORE: Sequence[Mapping[str, object]] = (
    {},
    {"model": "Llama-3-70B", "cluster": "H100", "gpus": 256, "batch": 1024, "sequence_length": 4096, "tokens": 1000},
    {"model": "GPT-22B", "gpus": 64, "batch": 512, **WRITTEN},
    {"model": "GPT-1T", "gpus": 3072, "batch": 3072, "tokens": 450, **WRITTEN},
    {"cluster": "Frontier", "gpus": 1024, "batch": 2560},
    {"model": "Qwen3-235B-A22B", "cluster": "H100", "gpus": 256, "batch": 2048, "precision": "fp8", "tokens": 1000},
    {"gpu_mtbf": 50000},
    {"model": "GPT-7.5B", "gpus": 64, "batch": 1024, "loss": 2.2, "objective": "cost"},
    {"model": "Llama-3-70B", "gpus": 16, "batch": 64, "sequence_length": 4096, "trainable": 0.01, "tokens": 1},
    {
        "model": "MPT-7B",
        "cluster": "A100-40GB",
        "gpus": 16,
        "batch": 512,
        "objective": "energy",
        "optimizer": "adam_8_bit",
    },
)
SCENARIO = Scenario(
    summary="Choose how training is cut over a cluster: tensor, pipeline, data, expert parallelism, ZeRO, recomputing.",
    options_type=TrainingPlanOptions,
    build=build,
    core=CORE,
)
