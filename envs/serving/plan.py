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
from ...costmodels.serving.plan.heuristics import INSTANCES, RULES
from ...costmodels.serving.plan.model import PENALTY, Cluster, Plan, evaluate
from ...costmodels.serving.plan.phases import BATCHES, ENGINES, STAGES, Engine, Phases, engine_of, phases_of
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
    "Steady states: waits have an exponential tail, decode's batches are full; bursts are left out.",
    "Prefill and decode take as long as the engine's model says: DistServe's fits, or a calibrated roofline.",
)


@dataclass(frozen=True)
class ServingPlanOptions(Options):
    """What tells instances apart."""

    model: str = file_or_name(
        "Llama-3-70B", tuple(architectures()), is_path, "the path of a Hugging Face config.json", "what is served"
    )
    gpu: str = file_or_name(
        "H100-SXM-80GB",
        tuple(devices()),
        is_path,
        "the path of a table with one device",
        "of which the cluster is made",
    )
    gpus: int = whole(16, (4, 8, 16, 32, 64), least=1, most=512, unit="GPUs", summary="that there are")
    engine: str = choice("roofline", ENGINES, "says how long steps take: a roofline, or DistServe's profiles of OPT")
    workload: str = file_or_name(
        "azure_conv",
        requests.HISTOGRAMS,
        is_path,
        "the path of a table with the columns prompt_tokens, output_tokens and requests",
        "requests by size: a trace of Azure's, or your own histogram",
    )
    ttft: float = number(1000, (200, 1000, 4000), least=1, most=1e7, unit="ms", summary="target for the first token")
    tpot: float = number(50, (25, 50, 100), least=1, most=1e6, unit="ms", summary="target for each further token")
    rate: float = number(0, (0,), least=0, most=1e6, unit="requests/s", summary="that must be served; 0 for none")
    precision: str = choice("bf16", tuple(PRECISIONS), "of weights and cache")


def _space(engine: Engine) -> DesignSpace:
    degrees, counts = engine.degrees, tuple(range(1, INSTANCES + 1))
    return DesignSpace(
        (
            Parameter("prefill_tensor", degrees, "GPUs", summary="tensor parallelism of a prefill instance"),
            Parameter("prefill_stages", STAGES, "stages", summary="pipeline stages of a prefill instance"),
            Parameter("prefill_instances", (0, *counts), summary="0: the decode instances serve both phases together"),
            Parameter("decode_tensor", degrees, "GPUs", summary="tensor parallelism of a decode instance"),
            Parameter("decode_stages", STAGES, "stages", summary="pipeline stages of a decode instance"),
            Parameter("decode_instances", counts, summary="how many there are"),
            Parameter("batch", BATCHES, "requests", summary="the most in each of the batches in flight"),
        )
    )


def _plan(design: Array) -> Plan:
    values = [design[..., place] for place in range(7)]
    values[5] = values[5] + 1  # from an index to a number of instances
    return Plan(*values)


def cost(design: Array, params: Cluster) -> Evaluation:
    """GPU seconds a request of one design, int32[7]."""
    metrics, missed = evaluate(_plan(design), params)
    feasible = missed <= 0.0
    value = metrics.gpu_s_per_request
    return Evaluation(metrics, jnp.where(feasible, value, PENALTY * (1 + missed)), feasible, missed, value)


def _cluster(phases: Phases, engine: Engine, options: ServingPlanOptions) -> Cluster:
    rates = phases.prefill_rate, phases.prefill_miss, phases.decode_rate, phases.decode_miss, phases.together_rate
    limits = phases.together_miss, phases.transfer_rate, engine.degrees, STAGES, options.gpus, options.rate
    return Cluster(*(np.asarray(each, np.float32) for each in (*rates, *limits)))


def build(options: ServingPlanOptions) -> Problem:
    """An instance.

    Raises:
        DsegymError: the engine does not know the model, the model fits nowhere, or no plan is within the limits.
    """
    engine = engine_of(options.engine, options.model, options.gpu, options.precision)
    classes = requests.histogram(options.workload)
    phases = phases_of(engine, classes, options.ttft / 1e3, options.tpot / 1e3)
    space = _space(engine)
    params = _cluster(phases, engine, options)
    made = {name: rule(phases, engine.degrees, options.gpus, options.rate) for name, rule in RULES.items()}
    designs = {name: (*plan[:5], plan[5] - 1, plan[6]) for name, plan in made.items() if plan is not None}
    fitting = [name for name, design in designs.items() if bool(cost(jnp.asarray(design), params).feasible)]
    if not fitting:
        fitting = ["least_gpu_seconds"]
        designs = {fitting[0]: _best(space, params, phases, engine, options)} | designs
    first = fitting[0]
    notes = (*NOTES, *unchecked_notes(options.model, [get_device(options.gpu)]))
    return one_shot_problem(
        options=options,
        space=space,
        objective=OBJECTIVE,
        cost=cost,
        params=params,
        reference=(
            first,
            space.decode(designs[first]),
            f"the rule {first}, the first of {', '.join(RULES)} within all limits"
            if first in RULES
            else f"every plan was tried: none of the rules {', '.join(RULES)} is within all limits",
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
    splits = sorted({degree * stages for degree in engine.degrees for stages in STAGES})
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
    return f"No plan of {what} fits: instances that meet the targets take more GPUs."


def _break_down(space: DesignSpace, params: Cluster, notes: tuple[str, ...], values: Mapping[str, object]) -> Breakdown:
    design = jnp.asarray(space.encode(values))
    metrics, missed = evaluate(_plan(design), params)
    totals = {name: float(value) for name, value in metrics._asdict().items()} | {"missed": float(missed)}
    together = values["prefill_instances"] == 0
    rows = [
        {
            "phase": "both" if together and phase == "decode" else phase,
            "instances": int(str(values[f"{phase}_instances"])),
            "tensor": int(str(values[f"{phase}_tensor"])),
            "stages": int(str(values[f"{phase}_stages"])),
            "load": float(getattr(metrics, f"{phase}_load")),
        }
        for phase in ("prefill", "decode")
        if not (together and phase == "prefill")
    ]
    return Breakdown(totals, rows, notes)


CORE: Sequence[Mapping[str, object]] = (  # large and small models, both traces, DistServe's engine, mixtures of experts
    {},
    {"workload": "azure_code"},
    {"gpus": 64, "rate": 20},
    {"model": "Qwen3-32B", "precision": "fp8", "tpot": 25},
    {"model": "Llama-3-8B", "gpu": "A100-SXM-80GB", "gpus": 8, "tpot": 25},
    {"model": "OPT-13B", "engine": "distserve", "gpu": "A100-SXM-80GB", "ttft": 1000, "tpot": 100},
    {"model": "OPT-66B", "engine": "distserve", "gpu": "A100-SXM-80GB", "ttft": 4000, "tpot": 150, "gpus": 32},
)
SCENARIO = Scenario(
    summary="Choose how a cluster serves a model: phases together or apart, parallelism, instances, batch.",
    options_type=ServingPlanOptions,
    build=build,
    core=CORE,
)
