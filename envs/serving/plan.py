"""dsegym/ServingPlan-v0: how a cluster serves a model within targets for the first and for each further token.

After DistServe. The rules and where figures come from: docs/serving_plan.md. The model: `costmodels/serving/plan/`. A
design splits the model for each phase (tensor parallelism, pipeline stages), says how many instances a phase has, and
how many requests a batch holds; without prefill instances the decode instances serve both phases together. Forms:
`parametric` and `sequential`.

Objective: GPU seconds a request, at the highest rate within the targets.

    >>> import dsegym
    >>> problem = dsegym.make_problem("dsegym/ServingPlan-v0", model="OPT-13B", engine="distserve", gpu="A100-SXM-80GB")
    >>> problem.space.names[:3]
    ('prefill_tensor', 'prefill_stages', 'prefill_instances')
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.breakdown import Breakdown
from ...costmodels.errors import DsegymError
from ...costmodels.files import is_path
from ...costmodels.serving.mix import requests
from ...costmodels.serving.plan.heuristics import RULES, deployed
from ...costmodels.serving.plan.model import PENALTY, Cluster, Plan, evaluate
from ...costmodels.serving.plan.phases import ENGINES, INSTANCES, Engine, Phases, engine_of, phases_of
from ...costmodels.transformers.architectures import architectures
from ...costmodels.transformers.configurations import get_model
from ...costmodels.transformers.devices import PRECISIONS, devices, get_device, get_precision
from ...costmodels.transformers.memory import require_fit, shortfall_bytes
from ...costmodels.transformers.provenance import unchecked_notes
from ..core.evaluation import Evaluation, Objective
from ..core.one_shot import one_shot_problem
from ..core.options import Options, choice, file_or_name, number, whole
from ..core.problem import Problem
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "ServingPlanOptions"]

OBJECTIVE = Objective(
    "gpu_seconds", "GPU s", "GPUs over the highest rate within the targets; above 1e6: does not fit or misses one"
)
NOTES = (
    "GPU seconds are those of a request at the highest rate that a plan carries, and the option rate is only the least "
    "of it: for the fewest GPUs at your rate, lower gpus until no plan is left.",
    "Steady states: waits have an exponential tail, decode's batches are full; bursts are left out.",
    "Prefill and decode take as long as the engine's model says: DistServe's fits, or a calibrated roofline.",
)
CLOUDMATRIX_NOTES = (
    *NOTES[:2],
    "Prefill on 16 accelerators and decode on 160 are fitted to the rates that CloudMatrix384's authors measured; "
    "decode on fewer differs by arithmetic of weights and exchanges, and was not measured.",
)


@dataclass(frozen=True)
class ServingPlanOptions(Options):
    """What tells instances apart."""

    model: str = file_or_name(
        "Llama-3-70B",
        tuple(architectures()),
        is_path,
        "the path of a Hugging Face config.json",
        "what is served",
        reads="model",
    )
    gpu: str = file_or_name(
        "H100-SXM-80GB",
        tuple(devices()),
        is_path,
        "the path of a table with one device",
        "of which the cluster is made",
        reads="devices",
    )
    gpus: int = whole(16, (4, 8, 16, 32, 64), least=1, most=512, unit="GPUs", summary="that there are")
    engine: str = choice("roofline", ENGINES, "says how long steps take: a roofline, or measured profiles")
    workload: str = file_or_name(
        "azure_conv",
        requests.HISTOGRAMS,
        is_path,
        requests.FILES,
        "requests by size: a trace of Azure's, or your own histogram or trace",
        reads="requests",
    )
    ttft: float = number(1000, (200, 1000, 4000), least=1, most=1e7, unit="ms", summary="target for the first token")
    tpot: float = number(50, (25, 50, 100), least=1, most=1e6, unit="ms", summary="target for each further token")
    rate: float = number(0, (0,), least=0, most=1e6, unit="requests/s", summary="that must be served; 0 for none")
    precision: str = choice("bf16", tuple(PRECISIONS), "of weights and cache")


def _space(engine: Engine) -> DesignSpace:
    degrees, stages, (fewest, most) = engine.degrees, engine.stages, engine.prefill_instances
    split, unit, what, batch = SPLITS[engine.batch_is_of_an_accelerator]
    few = "how many there are" if fewest else "0: the decode instances serve both phases together"
    return DesignSpace(
        (
            Parameter(
                f"prefill_{split}", degrees[: engine.prefill_degrees], unit, summary=f"{what} a prefill instance"
            ),
            Parameter("prefill_stages", stages, "stages", summary="pipeline stages of a prefill instance"),
            Parameter("prefill_instances", tuple(range(fewest, most + 1)), summary=few),
            Parameter(f"decode_{split}", degrees, unit, summary=f"{what} a decode instance"),
            Parameter("decode_stages", stages, "stages", summary="pipeline stages of a decode instance"),
            Parameter("decode_instances", tuple(range(1, INSTANCES + 1)), summary="how many there are"),
            Parameter("batch", engine.batches, "requests", summary=batch),
        )
    )


# Whether batches are an accelerator's: what tells instances of a phase apart, its unit and summary, and the batch's.
SPLITS = {
    False: ("tensor", "GPUs", "tensor parallelism of", "the most in each of the batches in flight"),
    True: ("accelerators", "accelerators", "that share the experts out in", "the most at once on an accelerator"),
}


def _plan(design: Array, params: Cluster) -> Plan:
    values = [design[..., place] for place in range(7)]
    values[2] = values[2] + params.fewest_prefill  # from an index to a number of instances
    values[5] = values[5] + 1
    return Plan(*values)


def cost(design: Array, params: Cluster) -> Evaluation:
    """GPU seconds a request of one design, int32[7]."""
    metrics, missed = evaluate(_plan(design, params), params)
    feasible = missed <= 0.0
    value = metrics.gpu_s_per_request
    return Evaluation(metrics, jnp.where(feasible, value, PENALTY * (1 + missed)), feasible, missed, value)


def _cluster(phases: Phases, engine: Engine, options: ServingPlanOptions) -> Cluster:
    rates = phases.prefill_rate, phases.prefill_miss, phases.decode_rate, phases.decode_miss, phases.together_rate
    limits = phases.together_miss, phases.transfer_rate, engine.degrees, engine.stages, options.gpus, options.rate
    fewest = np.asarray(engine.prefill_instances[0], np.int32)
    return Cluster(*(np.asarray(each, np.float32) for each in (*rates, *limits)))._replace(fewest_prefill=fewest)


def build(options: ServingPlanOptions) -> Problem:
    """An instance.

    Raises:
        DsegymError: the engine does not know the model, the model fits nowhere, or no plan is within the limits.
    """
    engine = engine_of(options.engine, options.model, options.gpu, options.precision)
    classes, counting = requests.read_histogram(options.workload)
    phases = phases_of(engine, classes, options.ttft / 1e3, options.tpot / 1e3)
    space = _space(engine)
    params = _cluster(phases, engine, options)
    made = {name: rule(phases, engine.degrees, options.gpus, options.rate) for name, rule in RULES.items()}
    if engine.deployed is not None:
        made = {"deployed": deployed(phases, engine.degrees, options.gpus, *engine.deployed)} | made
    fewest = engine.prefill_instances[0]
    plans = {name: plan for name, plan in made.items() if plan is not None}
    designs = {name: (*p[:2], p[2] - fewest, *p[3:5], p[5] - 1, p[6]) for name, p in plans.items()}
    fitting = [name for name, design in designs.items() if bool(cost(jnp.asarray(design), params).feasible)]
    if not fitting:
        fitting = ["least_gpu_seconds"]
        designs = {fitting[0]: _best(space, params, phases, engine, options)} | designs
    first = fitting[0]
    known = NOTES if engine.deployed is None else CLOUDMATRIX_NOTES
    notes = (*known, *counting, *unchecked_notes(options.model, [get_device(options.gpu)]))
    return one_shot_problem(
        options=options,
        space=space,
        objective=OBJECTIVE,
        cost=cost,
        params=params,
        reference=(
            first,
            space.decode(designs[first]),
            f"the rule {first}, the first of {', '.join(made)} within all limits"
            if first in made
            else f"every plan was tried: none of the rules {', '.join(made)} is within all limits",
        ),
        breakdown=functools.partial(_break_down, space, params, notes),
        baselines={name: functools.partial(designs.__getitem__, name) for name in designs},
        notes=notes,
    )


def _best(
    space: DesignSpace, params: Cluster, phases: Phases, engine: Engine, options: ServingPlanOptions
) -> tuple[int, ...]:
    """The best of all plans.

    Raises:
        DsegymError: none is within the limits; says what is missing.
    """
    everything = space.enumerate(0, space.size)
    found = cost(jnp.asarray(everything), params._replace(demanded_rate=np.float32(0)))
    served = np.where(found.feasible, found.metrics.rate, 0.0)
    if not served.any():
        _require_fit(engine, options)
        raise DsegymError(_missed(phases, engine, options))
    if served.max() < params.demanded_rate:
        raise DsegymError(
            f"No plan of {options.model} on {options.gpus} x {options.gpu} serves {options.rate:g} requests/s within "
            f"the targets; the best serves {served.max():.3g}."
        )
    return tuple(everything[np.argmin(np.where(served >= params.demanded_rate, found.objective, np.inf))].tolist())


def _require_fit(engine: Engine, options: ServingPlanOptions) -> None:
    """Refuses a model that the largest instance does not hold, with the longest request's cache."""
    sizes = get_model(options.model), get_device(options.gpu), get_precision(options.precision)
    longest = int(max(each.prompt_tokens + each.output_tokens for each in requests.histogram(options.workload)))
    splits = sorted({degree * stages for degree in engine.degrees for stages in engine.stages})
    largest = max((each for each in splits if each <= options.gpus), default=options.gpus)
    if largest < options.gpus and shortfall_bytes(*sizes, largest, longest) > 0:
        raise DsegymError(
            f"{options.model} in {options.precision} does not fit on {options.gpus} x {options.gpu}: an instance is of "
            f"{', '.join(map(str, splits))} GPUs, and {largest} lack "
            f"{shortfall_bytes(*sizes, largest, longest) * 1e-9:,.1f} GB."
        )
    require_fit(options.model, *sizes, largest, longest)


def _missed(phases: Phases, engine: Engine, options: ServingPlanOptions) -> str:
    """Which target no plan meets, in a sentence."""
    prefill, decode = float(phases.prefill_miss.min()), float(phases.decode_miss.min())
    what = f"{options.model} on {options.gpus} x {options.gpu}"
    if decode > 0:
        return f"No plan of {what} makes a token within {options.tpot:g} ms: the fastest takes {decode:.0%} longer."
    if prefill > 0:
        return (
            f"No plan of {what} has the first token within {options.ttft:g} ms for 90 % of the requests: the fastest "
            f"misses it for {prefill:.0%} more."
        )
    smallest = min(degree * stages for degree in engine.degrees for stages in engine.stages)
    return (
        f"No plan of {what} fits: an instance takes {smallest} GPUs at least, and instances that meet the targets take "
        "more than there are."
    )


def _break_down(space: DesignSpace, params: Cluster, notes: tuple[str, ...], values: Mapping[str, object]) -> Breakdown:
    design = jnp.asarray(space.encode(values))
    metrics, missed = evaluate(_plan(design, params), params)
    totals = {name: float(value) for name, value in metrics._asdict().items()} | {"missed": float(missed)}
    together = values["prefill_instances"] == 0
    split = space.names[0].removeprefix("prefill_")
    rows = [
        {
            "phase": "both" if together and phase == "decode" else phase,
            "instances": int(str(values[f"{phase}_instances"])),
            split: int(str(values[f"{phase}_{split}"])),
            "stages": int(str(values[f"{phase}_stages"])),
            "load": float(getattr(metrics, f"{phase}_load")),
        }
        for phase in ("prefill", "decode")
        if not (together and phase == "prefill")
    ]
    return Breakdown(totals, rows, notes)


_R1 = {
    "model": "DeepSeek-V3",
    "engine": "cloudmatrix",
    "gpu": "Ascend-910C",
    "precision": "int8",
    "gpus": 384,
    "ttft": 8000,
}
CORE: Sequence[Mapping[str, object]] = (  # large and small models, both traces, DistServe's engine, mixtures of experts
    {},
    {"workload": "azure_code"},
    {"gpus": 64, "rate": 20},
    {"model": "Qwen3-32B", "precision": "fp8", "tpot": 25},
    {"model": "Llama-3-8B", "gpu": "A100-SXM-80GB", "gpus": 8, "tpot": 25},
    {"model": "OPT-13B", "engine": "distserve", "gpu": "A100-SXM-80GB", "ttft": 1000, "tpot": 100},
    {"model": "OPT-66B", "engine": "distserve", "gpu": "A100-SXM-80GB", "ttft": 4000, "tpot": 150, "gpus": 32},
    _R1,
    {**_R1, "workload": "azure_code", "tpot": 30, "ttft": 4000},
)
SCENARIO = Scenario(
    summary="Choose how a cluster serves a model: phases together or apart, parallelism, instances, batch.",
    options_type=ServingPlanOptions,
    build=build,
    core=CORE,
)
