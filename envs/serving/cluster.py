"""dsegym/ServingCluster-v0: how many machines of which type serve prompts, and how many tokens, within a budget.

After Splitwise. The rules and where figures come from: docs/serving_cluster.md. The model:
`costmodels/serving/cluster/`. A design names the type and number of machines of the prompt pool and of the token pool;
without prompt machines the token machines serve both phases. Forms: `parametric` and `sequential`.

Objective: by the option `goal`, ms between requests at the highest rate within the latency targets, $ an hour, or kW.

    >>> import dsegym
    >>> problem = dsegym.make_problem("dsegym/ServingCluster-v0")
    >>> problem.reference.name
    'baseline_h100'
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.breakdown import Breakdown
from ...costmodels.errors import DsegymError
from ...costmodels.files import is_path
from ...costmodels.serving.cluster.heuristics import MOST_MACHINES, RULES, design_of
from ...costmodels.serving.cluster.model import GOALS, NO_LIMIT, PENALTY, Cluster, Limits, Plan, evaluate
from ...costmodels.serving.cluster.performance import (
    GPUS,
    MACHINES,
    MODELS,
    TENSOR_PARALLELISMS,
    TOKEN_TIMES,
    TokenTimes,
)
from ...costmodels.serving.cluster.pools import Rates, pool_rates, requests_of
from ...costmodels.serving.mix import requests
from ..core.evaluation import Evaluation, Objective
from ..core.one_shot import one_shot_problem
from ..core.options import Options, choice, file_or_name, number, whole
from ..core.problem import Problem
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "ServingClusterOptions"]

OBJECTIVES = {
    "throughput": Objective("interval", "ms", "between requests at the highest rate; above 1e7: misses a limit"),
    "cost": Objective("cost", "$/h", "price of all GPUs; above 1e7: misses a limit"),
    "power": Objective("power", "kW", "provisioned to all GPUs; above 1e7: misses a limit"),
}
NOTES = (
    "Times of prompts and tokens are Splitwise's measurements, interpolated; rates of pools are a model of queues.",
    "Pools are fixed: machines that change sides, bursts and the cache's transfer are left out.",
)
TOKEN_NOTES = {
    "simulator": "A decode batch takes as long as splitwise-sim says; measured, one of 64 takes up to twice as long.",
    "measured": "A decode batch takes as long as measured with prompts of 512 tokens, whatever its contexts.",
}
_TYPES = tuple(MACHINES)
_PROMPT_TYPES = _TYPES[:2]  # as in the paper, which caps token machines alone
SPACE = DesignSpace(
    (
        Parameter("prompt_machine", _PROMPT_TYPES, ordered=False, summary="type of the machines that serve prompts"),
        Parameter(
            "prompt_machines",
            tuple(range(MOST_MACHINES + 1)),
            summary="how many there are; 0: the token machines serve both phases",
        ),
        Parameter("token_machine", _TYPES, ordered=False, summary="type of the machines that serve tokens"),
        Parameter("token_machines", tuple(range(1, MOST_MACHINES + 1)), summary="how many there are"),
    )
)


@dataclass(frozen=True)
class ServingClusterOptions(Options):
    """What tells instances apart."""

    goal: str = choice("throughput", GOALS, "what is best: the highest rate, the least $ an hour, or the least power")
    workload: str = file_or_name(
        "azure_conv",
        requests.HISTOGRAMS,
        is_path,
        requests.FILES,
        "requests by size: a trace of Azure's, or your own histogram or trace",
        reads="requests",
    )
    model: str = choice("BLOOM-176B", MODELS, "what is served")
    tensor_parallelism: int = whole(
        8,
        TENSOR_PARALLELISMS,
        least=2,
        most=8,
        unit="GPUs",
        summary="of an instance; the others of a machine's 8 alike",
    )
    power: float = number(224, (0, 224), least=0, most=1e6, unit="kW", summary="budget for all GPUs; 0 for none")
    cost: float = number(0, (0, 1523.2), least=0, most=1e6, unit="$/h", summary="budget for all GPUs; 0 for none")
    rate: float = number(0, (0, 70, 100), least=0, most=1e5, unit="requests/s", summary="that must be served; 0: none")
    a100_price: float = number(2.21, (2.21,), least=1e-4, most=1000, unit="$/h", summary="of an A100; Splitwise's")
    h100_price: float = number(4.76, (4.76,), least=1e-4, most=1000, unit="$/h", summary="of an H100; Splitwise's")
    token_times: str = choice(
        "simulator", TOKEN_TIMES, "of a decode batch: as in splitwise-sim, or by the batch's size"
    )


class Params(NamedTuple):
    """What tells instances apart, for the cost function."""

    cluster: Cluster
    limits: Limits


def cost(design: Array, params: Params) -> Evaluation:
    """The goal's value of one design, int32[4]. Places are numbers of machines, but for the token pool's."""
    plan = Plan(design[..., 0], design[..., 1], design[..., 2], design[..., 3] + 1)
    metrics, value, missed = evaluate(plan, params.cluster, params.limits)
    feasible = missed <= 0.0
    return Evaluation(metrics, jnp.where(feasible, value, PENALTY * (1 + missed)), feasible, missed, value)


@functools.lru_cache(maxsize=16)
def _rates(classes: tuple[requests.Class, ...], model: str, tensor: int, token_times: TokenTimes) -> Sequence[Rates]:
    """Of each type of machine; budgets and goals share them, and they take a second."""
    asked = requests_of(classes, model, tensor)
    return [pool_rates(asked, name, MOST_MACHINES, token_times) for name in MACHINES]


def _params(options: ServingClusterOptions, classes: tuple[requests.Class, ...], token_times: TokenTimes) -> Params:
    rates = _rates(classes, options.model, options.tensor_parallelism, token_times)
    prices = {"DGX-A100": options.a100_price, "DGX-H100": options.h100_price}
    tables = (
        [each.prompt for each in rates],
        [each.token for each in rates],
        [each.together for each in rates],
        [GPUS * prices[each.measured_as] for each in MACHINES.values()],
        [each.power_kw for each in MACHINES.values()],
    )
    limits = Limits(
        goal=np.asarray(GOALS.index(options.goal), np.int32),
        usd_per_h=np.asarray(options.cost or NO_LIMIT, np.float32),
        power_kw=np.asarray(options.power or NO_LIMIT, np.float32),
        rate=np.asarray(options.rate, np.float32),
    )
    return Params(Cluster(*(np.asarray(each, np.float32) for each in tables)), limits)


def build(options: ServingClusterOptions) -> Problem:
    """An instance.

    Raises:
        DsegymError: nothing bounds the goal, the model was not measured so, or no cluster is within the limits.
    """
    if options.goal == "throughput" and not (options.cost or options.power):
        raise DsegymError("goal = throughput needs a budget: cost in $/h, or power in kW.")
    if options.goal != "throughput" and not options.rate:
        raise DsegymError(f"goal = {options.goal} needs a rate to serve: rate in requests/s.")
    classes, counting = requests.read_histogram(options.workload)
    params = _params(options, classes, cast(TokenTimes, options.token_times))
    made = {name: design_of(rule, params.cluster, params.limits) for name, rule in RULES.items()}
    designs = {name: (*design[:3], design[3] - 1) for name, design in made.items()}
    costs = {name: cost(jnp.asarray(design), params) for name, design in designs.items()}
    fitting = [name for name, found in costs.items() if bool(found.feasible)]
    sources = {name: f"{rule.summary}: the first rule within all limits" for name, rule in RULES.items()}
    if not fitting:
        fitting, sources = ["exhaustive"], {"exhaustive": "every cluster was tried: no rule's is within all limits"}
        designs = {"exhaustive": _best(options, params)} | designs
    first = fitting[0]
    notes = (*NOTES, *counting, TOKEN_NOTES[options.token_times])

    return one_shot_problem(
        options=options,
        space=SPACE,
        objective=OBJECTIVES[options.goal],
        cost=cost,
        params=params,
        reference=(first, SPACE.decode(designs[first]), sources[first]),
        breakdown=functools.partial(_break_down, params, notes),
        baselines={name: functools.partial(designs.__getitem__, name) for name in designs},
        notes=notes,
    )


def _best(options: ServingClusterOptions, params: Params) -> tuple[int, ...]:
    """The best of all clusters.

    Raises:
        DsegymError: none is within the limits; says what they can do.
    """
    everything = SPACE.enumerate(0, SPACE.size)
    undemanding = params._replace(limits=params.limits._replace(rate=np.asarray(0, np.float32)))
    found = cost(jnp.asarray(everything), undemanding)
    served = np.where(found.feasible, found.metrics.rate, 0.0)
    if not served.any() or served.max() < params.limits.rate:
        raise DsegymError(_missed(options, params.cluster, float(served.max())))
    return tuple(everything[np.argmin(np.where(served >= params.limits.rate, found.objective, np.inf))].tolist())


def _missed(options: ServingClusterOptions, table: Cluster, most_in_budget: float) -> str:
    """What no cluster can do, in a sentence."""
    apart = min(float(np.max(table.prompt_rate)), float(np.max(table.token_rate)))
    most = max(apart, float(np.max(table.together_rate)))
    what = f"{options.model} on {options.tensor_parallelism} GPUs an instance"
    if most <= 0:
        return f"No machine serves {what} within Splitwise's latency targets for this workload, whatever its load."
    if options.rate > most:
        return (
            f"No cluster of {what} serves {options.rate:g} requests/s within the targets: pools of {MOST_MACHINES} "
            f"machines serve {most:.4g}."
        )
    budgets = [f"{value:g} {unit}" for value, unit in ((options.power, "kW"), (options.cost, "$/h")) if value]
    best = f"the most is {most_in_budget:.4g}" if most_in_budget else "not even one machine is"
    served = f"serves {options.rate:g} requests/s" if options.rate else "serves anything"
    return f"No cluster of {what} within {' and '.join(budgets) or 'any budget'} {served}: {best}."


def _break_down(params: Params, notes: tuple[str, ...], values: Mapping[str, object]) -> Breakdown:
    found = cost(jnp.asarray(SPACE.encode(values)), params)
    totals = {name: float(value) for name, value in found.metrics._asdict().items()} | {
        "missed": float(found.violation)
    }
    together = values["prompt_machines"] == 0
    rows = [
        {
            "pool": "both" if together else pool,
            "machine": str(values[f"{pool}_machine"]),
            "machines": int(str(values[f"{pool}_machines"])),
            "load": float(getattr(found.metrics, f"{pool}_load")),
        }
        for pool in ("prompt", "token")
        if not (together and pool == "prompt")
    ]
    return Breakdown(totals, rows, notes)


CORE: Sequence[Mapping[str, object]] = (  # the paper's two budgets and traces, least cost and power, both models
    {},
    {"power": 0, "cost": 1523.2},
    {"workload": "azure_code"},
    {"workload": "azure_code", "power": 0, "cost": 1523.2},
    {"goal": "cost", "power": 0, "rate": 100},
    {"goal": "power", "power": 0, "rate": 100},
    {"goal": "cost", "power": 0, "rate": 70, "workload": "azure_code"},
    {"model": "Llama-2-70B", "power": 112},
    {"model": "Llama-2-70B", "tensor_parallelism": 4, "goal": "power", "power": 0, "rate": 100},
    {"token_times": "measured"},
)


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    machines = [
        {"machine": each.name, "GPUs' power (kW)": each.power_kw, "price of a GPU ($/h)": each.usd_per_h}
        for each in MACHINES.values()
    ]
    return (
        ("Machines", machines),
        ("Rules", [{"rule": name, "cluster": rule.summary} for name, rule in RULES.items()]),
    )


SCENARIO = Scenario(
    summary="Choose the machines that serve prompts and those that serve tokens, within a budget of money or power.",
    options_type=ServingClusterOptions,
    build=build,
    core=CORE,
    facts=_facts,
)
