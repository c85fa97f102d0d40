"""dsegym/ServingMix-v0: which GPUs, and how many of each, serve a histogram of requests within a latency target.

After Mélange (arXiv 2404.14527). The rules and where figures come from: docs/serving_mix.md. The model:
`costmodels/serving/mix/`. A design names the type of GPU that serves each slice of the requests; the counts follow, as
the loads on a type sum to so many GPUs. Forms: `parametric` and `sequential`.

Objective: $ an hour.

    >>> import dsegym
    >>> problem = dsegym.make_problem("dsegym/ServingMix-v0", workload="arena", tpot=120, rate=8)
    >>> round(problem.bound.value, 2), round(problem.reference.value, 2)
    (7.4, 11.01)
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.breakdown import Breakdown
from ...costmodels.diagram import Diagram
from ...costmodels.errors import DsegymError, UnknownNameError, shortened
from ...costmodels.files import is_path, plain_number, shown
from ...costmodels.serving.mix import picture, requests
from ...costmodels.serving.mix.model import USD, Mix, evaluate
from ...costmodels.serving.mix.placement import (
    RULES,
    Placement,
    cheapest_mixes,
    integer_programme,
    placement_of,
    singles,
)
from ...costmodels.solver import in_turn
from ...costmodels.transformers.architectures import architecture_rows, architectures
from ...costmodels.transformers.configurations import get_model
from ...costmodels.transformers.devices import PRECISIONS, Device, device_rows, devices, get_device, load_devices
from ...costmodels.transformers.provenance import unchecked_notes
from ..core.evaluation import Evaluation, Objective, Yardstick
from ..core.one_shot import one_shot_problem
from ..core.options import Options, choice, custom, file_or_name, number, whole, whole_or_own
from ..core.problem import Problem
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "ServingMixOptions"]

MELANGE = "melange"
MELANGE_GPUS = ("L4", "A10G", "A100-PCIe-80GB", "H100-SXM-80GB")
MOST_USD_H = 1000.0  # of a GPU
MOST_TYPES = 16
BATCH_SIZES = (1, 128, 1024)
RATES = (1, 2, 4, 8, 16, 32)  # requests/s, that are drawn

OBJECTIVE = Objective("cost", "$/h", "price of all GPUs that the mix takes")
IMPLIED = (
    "Loads of the published workloads are implied by the paper's results, each rate's by itself: no evidence for them.",
    "Prices are those of the paper, of 2024, unless you give your own.",
)
MODELLED = (
    "Loads follow from a roofline that is calibrated on H100, H200 and B200; on other GPUs nothing was measured.",
    "Time to the first token, queues and bursts are left out; a request has its class's mean length.",
)

Prices = tuple[tuple[str, float], ...]


def _prices(given: object) -> Prices | str:
    """((GPU, $ an hour), ...) of a text such as `L4=0.7,H100-SXM-80GB=4`, or of a mapping; a path as it is."""
    if given == MELANGE:
        return MELANGE_PRICES
    if isinstance(given, str) and is_path(given) and (os.path.isfile(given) or not set(given) & set(",=")):
        return given
    if isinstance(given, Mapping):
        pairs = [(str(name), value) for name, value in given.items()]
    elif isinstance(given, str):
        cells = [each.partition("=") for each in given.split(",")]
        pairs = [(name.strip(), value.strip() if equals else None) for name, equals, value in cells]
    else:
        raise ValueError
    found: dict[str, float] = {}
    for name, value in pairs:
        if name not in devices():
            raise UnknownNameError("GPU", name, devices())
        price = devices()[name].usd_per_h if value is None else _price(name, value)
        if price is None:
            raise DsegymError(f"gpus: no price of {name} is known; write {name}=PRICE, in $ an hour.")
        if name in found:
            raise DsegymError(f"gpus: {name} is named twice.")
        found[name] = price
    if not found:
        raise DsegymError("gpus: it names none; one type at least is needed.")
    if len(found) > MOST_TYPES:
        raise DsegymError(f"gpus: {len(found)} types; at most {MOST_TYPES} are mixed.")
    return tuple(found.items())


def _price(name: str, given: object) -> float:
    try:
        price = plain_number(given)
    except (ValueError, TypeError, OverflowError):
        price = -1.0
    if not 1 / USD <= price <= MOST_USD_H or abs(price * USD - round(price * USD)) > 1e-6:
        raise DsegymError(
            f"gpus: the price of {name} is {shortened(given)}; a price is from {1 / USD:g} to {MOST_USD_H:g} $ an "
            "hour, with 4 decimals at most."
        )
    return round(price * USD) / USD


MELANGE_PRICES: Prices = tuple((name, float(get_device(name).usd_per_h or 0)) for name in MELANGE_GPUS)


def _prices_text(prices: Prices | str) -> str:
    if isinstance(prices, str):
        return prices
    return MELANGE if prices == MELANGE_PRICES else ",".join(f"{name}={price:g}" for name, price in prices)


@dataclass(frozen=True)
class ServingMixOptions(Options):
    """What tells instances apart."""

    workload: str = file_or_name(
        "arena",
        requests.workload_names(),
        is_path,
        requests.FILES,
        "requests by size: a published workload, a trace of Azure's, or your own histogram or trace",
        reads="requests",
    )
    tpot: float = number(
        120, (40, 120), least=1, most=100_000, unit="ms", summary="the most that an output token may take, on average"
    )
    rate: float = number(
        8, RATES, least=0, most=1_000_000, above=True, unit="requests/s", summary="how many requests arrive"
    )
    gpus: tuple[tuple[str, float], ...] | str = custom(
        MELANGE_PRICES,
        (MELANGE_PRICES,),
        parse=_prices,
        also="GPUs of the table with prices in $ an hour, as in L4=0.7,H100-SXM-80GB=4, or the path of your own table",
        text=_prices_text,
        summary="types that may be mixed, and their prices",
        reads="devices",
    )
    model: str = file_or_name(
        requests.PUBLISHED_MODEL,
        tuple(architectures()),
        is_path,
        "the path of a Hugging Face config.json",
        "what is served",
        reads="model",
    )
    precision: str = choice("bf16", tuple(PRECISIONS), "of weights and cache")
    tensor_parallelism: int = whole(
        1, (1, 2, 4, 8), least=1, most=8, unit="GPUs", summary="GPUs that serve together, and are priced together"
    )
    slices: int = whole_or_own(
        (1, 2, 4, 8), least=1, most=64, summary="equal parts of a class, each served by one type"
    )


_PUBLISHED_SLICES = 8  # of a class of the paper's workloads: Mélange's own number
_LEAST_SLICES = 24  # of all classes of a histogram together: ours, for few classes served whole hide the cheaper mixes


def _offered(gpus: Prices | str) -> Mapping[str, tuple[Device, float]]:
    """{GPU: its figures, $ an hour} of the option.

    Raises:
        DsegymError: a device of the user's table has no price, or none that is allowed.
    """
    if not isinstance(gpus, str):
        return {name: (get_device(name), price) for name, price in gpus}
    own = load_devices(gpus)
    unpriced = [name for name, device in own.items() if device.usd_per_h is None]
    if unpriced:
        raise DsegymError(f"gpus: {shown(gpus)} has no usd_per_h of {', '.join(unpriced)}.")
    return {name: (device, _price(name, device.usd_per_h)) for name, device in own.items()}


def _placement(
    options: ServingMixOptions, offered: Mapping[str, tuple[Device, float]]
) -> tuple[Placement, tuple[str, ...]]:
    """Which types serve which classes at what load, and notes on how requests were counted."""
    gpus = tuple(offered)
    published = options.workload in requests.PUBLISHED
    if published:
        get_model(options.model)  # a file of another kind is refused as such
        fixed = {"model": requests.PUBLISHED_MODEL, "precision": "bf16", "tensor_parallelism": 1}
        for name, value in fixed.items():
            if getattr(options, name) != value:
                raise DsegymError(
                    f"The published workload {options.workload} was measured with {name} = {value}; others go with a "
                    "histogram, whose loads follow from a model."
                )
        names, loads = requests.published_loads(options.workload, options.tpot, options.rate, gpus)
        notes = ()
    else:
        classes, notes = requests.read_histogram(options.workload)
        names = [each.name for each in classes]
        loads = requests.class_loads(
            classes,
            model=options.model,
            precision=options.precision,
            gpus=[device for device, _ in offered.values()],
            tensor_parallelism=options.tensor_parallelism,
            tpot_ms=options.tpot,
            rate=options.rate,
        )
    own = _PUBLISHED_SLICES if published else math.ceil(_LEAST_SLICES / len(names))
    slices = own if options.slices is None else options.slices
    together = {name: price * options.tensor_parallelism for name, (_, price) in offered.items()}
    return placement_of(gpus, together, names, loads, slices), notes


def _space(placement: Placement) -> DesignSpace:
    """A parameter for each slice, whose values are the types that can serve it."""
    return DesignSpace(
        tuple(
            Parameter(
                f"{name}_{part}" if placement.slices > 1 else name,
                tuple(placement.gpus[place] for place in placement.able[kind]),
                ordered=False,
                summary=f"type of GPU for slice {part} of {placement.slices} of the class {name}",
            )
            for kind, name in enumerate(placement.classes)
            for part in range(1, placement.slices + 1)
        )
    )


def cost(design: Array, params: Mix) -> Evaluation:
    """$ an hour of one design, int32[N]; every design serves all requests."""
    metrics, _, _ = evaluate(design, params)
    return Evaluation(metrics, metrics.cost_usd_h, jnp.asarray(True))


def _types(placement: Placement, design: Sequence[int] | np.ndarray) -> np.ndarray:
    """int64[N] of a design."""
    return np.array([placement.able[kind][each] for kind, each in zip(placement.class_of, design, strict=True)])


def build(options: ServingMixOptions) -> Problem:
    """An instance.

    Raises:
        DsegymError: no GPU serves a class of requests, or the published workload has no such target, rate or GPU.
    """
    offered = _offered(options.gpus)
    placement, counting = _placement(options, offered)
    space = _space(placement)
    published = options.workload in requests.PUBLISHED
    figures = [device for device, _ in offered.values()]
    notes = IMPLIED if published else (*MODELLED, *counting, *unchecked_notes(options.model, figures))
    makers = {**RULES, **{f"only_{gpu}": functools.partial(_single, gpu) for gpu in singles(placement)}}

    def baseline(name: str) -> tuple[int, ...]:
        return placement.design(makers[name](placement))

    def bound(problem: Problem) -> Yardstick:
        value, design = integer_programme(placement)
        return Yardstick("optimum", value, "integer programme, proven by HiGHS (scipy.optimize.milp)", design)

    def diagram(design: np.ndarray) -> Diagram:
        return picture.drawing(placement, _types(placement, design), f"{options.workload}, {options.rate:g} requests/s")

    def break_down(values: Mapping[str, object]) -> Breakdown:
        return picture.break_down(placement, _types(placement, space.encode(values)), notes)

    return one_shot_problem(
        options=options,
        space=space,
        objective=OBJECTIVE,
        cost=cost,
        params=placement.mix,
        reference=(
            "best_single",
            space.decode(baseline("best_single")),
            "the cheapest single type of GPU that serves all; each class where it is cheapest if none does",
        ),
        bound=bound,
        breakdown=break_down,
        diagram=diagram,
        baselines={name: functools.partial(baseline, name) for name in makers},
        ranked=lambda count: np.array(cheapest_mixes(placement, count), np.int32),
        solvers={"milp": in_turn(functools.partial(baseline, "improved"), lambda: integer_programme(placement)[1])},
        batch_sizes=BATCH_SIZES,
        notes=notes,
    )


def _single(gpu: str, placement: Placement) -> np.ndarray:
    return singles(placement)[gpu]


def _core() -> Sequence[Mapping[str, object]]:
    """The published mixes that a single type does not match, and Azure's traces."""
    stated = [
        {"workload": each.workload, "tpot": each.tpot_ms, "rate": each.rate}
        for each in requests.published()
        if sum(count > 0 for count in each.counts.values()) > 1
    ]
    return [*stated, *({"workload": name, "rate": rate} for name in requests.HISTOGRAMS for rate in (8, 32))]


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    stated = [
        {
            "workload": each.workload,
            "target (ms)": each.tpot_ms,
            "rate (requests/s)": each.rate,
            **{gpu: each.counts[gpu] for gpu in MELANGE_GPUS},
            "cost ($/h)": each.cost_usd_h,
        }
        for each in requests.published()
    ]
    return (("GPUs", device_rows()), ("Models", architecture_rows()), ("Published mixes", stated))


SCENARIO = Scenario(
    summary="Choose the GPUs, by type and number, that serve a histogram of requests within a latency target.",
    options_type=ServingMixOptions,
    build=build,
    core=_core,
    facts=_facts,
)
