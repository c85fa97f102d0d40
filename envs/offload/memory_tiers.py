"""dsegym/MemoryTiers-v0: what of a model's training lives in GPU, host, CXL cards and SSDs, and what moves when.

After ZeRO-Offload, ZeRO-Infinity, Fuyou and Deep Optimizer States. The rules and where figures come from:
docs/memory_tiers.md. The model: `costmodels/offload/`. A design says where weights, the optimizer's numbers and
activations live, what is computed anew, how far ahead layers are fetched, and where and when they are updated. Forms:
`parametric` and `sequential`.

Objective: seconds in which a server trains on 10^6 tokens.

    >>> import dsegym
    >>> problem = dsegym.make_problem("dsegym/MemoryTiers-v0", model="OPT-13B", gpu="RTX4090")
    >>> problem.reference.name
    'zero_infinity'
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.breakdown import Breakdown
from ...costmodels.errors import DsegymError
from ...costmodels.files import is_path
from ...costmodels.offload.model import PENALTY, Instance, evaluate, explain, placement_of, table_of
from ...costmodels.offload.picture import draw, parts
from ...costmodels.offload.placement import Kept, Work
from ...costmodels.offload.relaxation import any_split_s
from ...costmodels.offload.search import RULES, Search, Values, values_of
from ...costmodels.offload.server import HOST_SHARE, Server, gpu_usable_bytes, reached_by
from ...costmodels.solver import in_turn
from ...costmodels.training.models import sizes_checked, trained_model, trained_models
from ...costmodels.transformers.architectures import Architecture
from ...costmodels.transformers.configurations import get_model
from ...costmodels.transformers.devices import devices, get_device
from ...costmodels.transformers.provenance import unchecked_notes
from ..core.evaluation import Evaluation, Objective, Yardstick
from ..core.one_shot import one_shot_problem
from ..core.options import Options, choice, file_or_name, number, whole
from ..core.problem import Problem
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "MemoryTiersOptions"]

OBJECTIVE = Objective("training_time", "s", "of the server for 10^6 tokens; above 1e12: does not fit")
# Optimizer: bytes of its numbers for a parameter that learns, a 4-byte master copy included; gradients take 2.
OPTIMIZERS: Mapping[str, float] = {"adamw": 12, "adam_8_bit": 6, "one_moment": 8}
BATCH_SIZES = (128, 1024, 4096)  # not 1: compilers contract float32 products of a single design otherwise than of many


@dataclass(frozen=True)
class MemoryTiersOptions(Options):
    """What tells instances apart."""

    model: str = file_or_name(
        "OPT-13B",
        lambda: tuple(trained_models()),
        is_path,
        "the path of a Hugging Face config.json",
        "what is trained",
        reads="model",
    )
    gpu: str = file_or_name(
        "RTX4090",
        lambda: tuple(devices()),
        is_path,
        "the path of a table with one device",
        "of the server",
        reads="devices",
    )
    gpus: int = whole(1, (1, 4, 8), least=1, most=64, unit="GPUs", summary="of the server; states are split among them")
    host_memory: float = number(256, (128, 256, 512, 1024), least=1, most=1e5, unit="GB", summary="of the server")
    cxl_cards: int = whole(0, (0, 2), least=0, most=64, unit="cards", summary="with memory behind CXL")
    cxl_memory: float = number(256, (128, 256), least=1, most=1e5, unit="GB", summary="of a CXL card")
    cxl_bandwidth: float = number(25, (20, 30), least=0.01, most=1e4, unit="GB/s", summary="of a CXL card, each way")
    ssds: int = whole(4, (0, 1, 4, 12), least=0, most=64, unit="SSDs", summary="of the server")
    ssd_memory: float = number(2000, (2000, 4000), least=1, most=1e6, unit="GB", summary="of an SSD")
    ssd_read: float = number(5, (3, 5, 7), least=0.01, most=1e3, unit="GB/s", summary="of an SSD")
    ssd_write: float = number(4, (3, 4, 5), least=0.01, most=1e3, unit="GB/s", summary="of an SSD")
    link: float = number(25, (12, 25, 50), least=0.01, most=1e4, unit="GB/s", summary="of a GPU to the host, each way")
    updates: float = number(
        2, (1, 2, 5), least=1e-3, most=1e3, unit="10^9 parameters/s", summary="that the processors' Adam updates"
    )
    batch: int = whole(64, (16, 64), least=1, most=4096, unit="sequences", summary="of a GPU's step, at most")
    sequence_length: int = whole(1024, (1024, 2048), least=1, most=2**20, unit="tokens", summary="of a sequence")
    optimizer: str = choice("adamw", tuple(OPTIMIZERS), "by the bytes that it keeps for a parameter")
    trainable: float = number(1, (0.01, 1), least=0, most=1, above=True, summary="share of the parameters that learn")


def _space(values: Values) -> DesignSpace:
    named = {
        "batch": ("sequences", "of a GPU's step"),
        "recompute": ("", "share of the activations that the backward pass computes anew"),
        "stride": ("layers", "of which one is updated on the GPU; 0: none"),
        "depth": ("layers", "that are fetched ahead"),
        "during": ("", "1: layers are updated during the backward pass; 0: after it"),
    }
    kinds = {"weights": "weights", "optimizer": "the optimizer's numbers", "activations": "activations that wait"}
    tiers = {"gpu": "in the GPU", "host": "of the rest in the host", "cxl": "of what still remains on CXL cards"}
    named |= {
        f"{kind}_{tier}": ("", f"share of {said} {where}")
        for kind, said in kinds.items()
        for tier, where in tiers.items()
    }
    return DesignSpace(
        tuple(Parameter(name, tuple(found), named[name][0], summary=named[name][1]) for name, found in values.items())
    )


def cost(design: Array, params: Instance) -> Evaluation:
    """Seconds of one design, int32[14]."""
    metrics, missed = evaluate(placement_of(design, params), params)
    feasible, value = missed <= 0.0, metrics.seconds_per_million_tokens
    return Evaluation(metrics, jnp.where(feasible, value, PENALTY * (1 + missed)), feasible, missed, value)


def _model(name: str) -> Architecture:
    return trained_model(name) if name in trained_models() else get_model(name)


def _search(options: MemoryTiersOptions) -> Search:
    device = get_device(options.gpu)
    reached, model = reached_by(device), _model(options.model)
    server = Server(
        gpus=options.gpus,
        peak_flops=device.peak_flops["bf16"],
        bandwidth_bytes_s=device.bandwidth_bytes_s,
        eta=reached.eta,
        half_size=reached.half_size,
        flash=reached.flash,
        link_bytes_s=options.link * 1e9,
        fabric_bytes_s=device.scale_up_bytes_s,
        cxl_bytes_s=max(options.cxl_cards, 1) * options.cxl_bandwidth * 1e9,
        read_bytes_s=max(options.ssds, 1) * options.ssd_read * 1e9,
        write_bytes_s=max(options.ssds, 1) * options.ssd_write * 1e9,
        updates_s=options.updates * 1e9,
        gpu_bytes=gpu_usable_bytes(device),
        host_bytes=HOST_SHARE * options.host_memory * 1e9,
        cxl_bytes=options.cxl_cards * options.cxl_memory * 1e9,
        ssd_bytes=options.ssds * options.ssd_memory * 1e9,
    )
    values = values_of(batch=options.batch, cxl=options.cxl_cards > 0, ssd=options.ssds > 0)
    work = Work(model, options.sequence_length, options.trainable, OPTIMIZERS[options.optimizer])
    work, server = jax.tree.map(np.float32, (work, server))
    return Search(Instance(work, server, np.arange(int(model.layers), dtype=np.int32), table_of(values)), values)


def build(options: MemoryTiersOptions) -> Problem:
    """An instance.

    Raises:
        DsegymError: no placement fits.
    """
    search = _search(options)
    if not len(search.screened[0]):
        raise DsegymError(_why_nothing(search, options))
    space = _space(search.values)
    designs = {name: design for name in RULES if (design := search.by_rule(name)) is not None}
    source = "the rule {}, the first of " + ", ".join(RULES) + " that fits"
    if not designs:  # the placement that takes least of the host
        designs = {"least_host": search.least_host()}
        source = "the placement that takes least host memory: none of the rules " + ", ".join(RULES) + " fits"
    first = next(iter(designs))
    notes = _notes(options)

    return one_shot_problem(
        options=options,
        space=space,
        objective=OBJECTIVE,
        cost=cost,
        params=search.instance,
        reference=(first, space.decode(designs[first]), source.format(first)),
        bound=functools.partial(_optimum, search),
        breakdown=functools.partial(_break_down, search.instance, space, notes),
        batch_sizes=BATCH_SIZES,
        diagram=functools.partial(draw, search.instance),
        ranked=search.best,
        solvers={"screening": in_turn(lambda: designs[first], lambda: search.best(1)[0].tolist())},
        baselines={name: functools.partial(designs.__getitem__, name) for name in designs},
        front=("seconds_per_million_tokens", "gpu_gb"),
        notes=notes,
    )


def _optimum(search: Search, problem: Problem) -> Yardstick:
    design = tuple(search.best(1)[0].tolist())
    source = "every placement screened by a closed form, and played until none could be better"
    return Yardstick("optimum", float(problem.evaluate(design).objective[0]), source, design)


_TIERS = {"host": "host memory", "cxl": "CXL memory", "ssd": "SSDs", "gpu": "a GPU's memory"}


def _why_nothing(search: Search, options: MemoryTiersOptions) -> str:
    """In a sentence: the smallest memory that would do."""
    smallest, single = search.smallest()
    told = [
        f"{smallest[tier][0]:,.1f} GB of {said} (of {smallest[tier][1]:,.1f} that can be used)"
        for tier, said in _TIERS.items()
        if tier in smallest
    ]
    what = f"No placement of {options.model} on {options.gpus} x {options.gpu} fits"
    return f"{what}: the smallest that would takes {(', or ' if single else ' and ').join(told)}."


def _notes(options: MemoryTiersOptions) -> tuple[str, ...]:
    device = get_device(options.gpu)
    checked = sizes_checked(options.model)
    return (
        "Seconds are modelled: links, SSDs, CXL cards and processors at the rates of the options, which are assumed or "
        "yours; published headline ratios are all that they were compared with.",
        f"What {device.name} reaches of its peak: {reached_by(device).known}.",
        *unchecked_notes(options.model, [device], checked),
    )


def _break_down(
    params: Instance, space: DesignSpace, notes: tuple[str, ...], values: Mapping[str, object]
) -> Breakdown:
    placement = placement_of(jnp.asarray(space.encode(values)), params)
    metrics, missed, played = explain(placement, params)
    step_s = float(metrics.step_s)
    totals: dict[str, float | str | None] = {name: float(value) for name, value in metrics._asdict().items()}
    totals |= {f"{name}_end_s": float(value) for name, value in played.times._asdict().items()}
    totals |= {"bound_of_any_split_s": any_split_s(placement, params), "missed": float(missed)}
    rows: list[dict[str, float | str | None]] = [
        {"part": f"{resource}, {phase}", "of": "step", "seconds": value, "gigabytes": "", "share": value / step_s}
        for resource, phases in parts(params, placement, played).items()
        for phase, value in phases.items()
        if value
    ]
    lacking = []
    for tier in Kept._fields:
        used, there = (
            float(getattr(of, name)) for of, name in ((played.bytes, tier), (params.server, f"{tier}_bytes"))
        )
        share = used / there if there else float(used > 0)
        rows.append({"part": tier, "of": "memory", "seconds": "", "gigabytes": used * 1e-9, "share": share})
        if used > there:
            lacking.append(f"it needs {used * 1e-9:,.1f} GB of {_TIERS[tier]}, which has {there * 1e-9:,.1f}")
    notes = (f"This placement does not fit: {'; '.join(lacking)}.", *notes) if lacking else notes
    return Breakdown(totals, rows, notes)


H100 = {"gpu": "H100-SXM-80GB", "link": 50, "host_memory": 1024}
CORE: Sequence[Mapping[str, object]] = (
    {},
    {"model": "GPT-175B", "host_memory": 512},
    {"model": "OPT-13B", "host_memory": 128, "ssds": 12, "updates": 5},
    {"model": "Llama-3-8B", "sequence_length": 2048, "ssds": 0},
    {"model": "Llama-3-8B", "trainable": 0.01, "ssds": 1, "host_memory": 64},
    {"model": "GPT-22B", "gpus": 4, **H100, "sequence_length": 2048, "batch": 16},
    {"model": "Llama-3-70B", "gpus": 8, **H100, "sequence_length": 2048, "batch": 16},
    {"model": "OPT-66B", "gpu": "A100-SXM-80GB", "cxl_cards": 2, "host_memory": 512},
    {"model": "OPT-66B", "gpu": "A100-SXM-80GB", "cxl_cards": 2, "ssds": 0, "host_memory": 768},
    {"model": "OPT-66B", "gpu": "L40S", "optimizer": "adam_8_bit", "ssds": 2},
)
SCENARIO = Scenario(
    summary="Choose what of a model's training lives in GPU, host, CXL cards and SSDs, and what moves when.",
    options_type=MemoryTiersOptions,
    build=build,
    core=CORE,
    facts=lambda: (("Rules", [{"rule": name, "placement": rule.summary} for name, rule in RULES.items()]),),
)
