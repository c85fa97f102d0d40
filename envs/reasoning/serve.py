"""dsegym/ReasoningServe-v0: which model, how many tokens and trials, and which attention, on given hardware.

The rules and where figures come from: docs/reasoning_serve.md. With `tasks` aime24, aime25 or livecodebench a design is
a configuration, or one for each class of difficulty; it is costed in closed form and the forms are `parametric` and
`sequential`. With `tasks=gsm8k` recorded answers of open models are replayed in a cascade: `envs/reasoning/cascade.py`.

Objective: 1 - coverage, the share of questions that no trial solves; where the mean cost of a question is above the
budget, 1 + log2(cost / budget), so that a search sees how far it is.

    >>> import dsegym
    >>> problem = dsegym.make_problem("dsegym/ReasoningServe-v0", tasks="aime24", budget="10000")
    >>> problem.space.names
    ('model', 'tokens', 'trials', 'attention')
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.breakdown import Breakdown
from ...costmodels.errors import DsegymError
from ...costmodels.reasoning.scores import cost_of_pass
from ...costmodels.reasoning.serving import model as serving
from ...costmodels.reasoning.serving.kinetics import ATTENTIONS, Attention, Hardware, hardware
from ..core.problem import Evaluation, Objective, Problem, Sweep, Yardstick, one_shot_problem
from ..core.scenarios import Option, Scenario, number_between
from ..core.spaces import DesignSpace, Parameter
from .cascade import build_cascade
from .cascade import facts as cascade_facts

__all__ = ["SCENARIO", "Metrics", "Params"]

RECORDED = "gsm8k"
OWN = "own"
OWN_BUDGET = {RECORDED: "20", **dict.fromkeys(serving.TASKS, "10000")}  # TFLOP a question
BUDGETS = {
    RECORDED: ("2", "5", "10", "20", "50", "100"),
    **dict.fromkeys(serving.TASKS, ("300", "1000", "3000", "10000", "30000", "100000")),
}
LEVELS = ("1", "3", "5")
SLACK = 1e-6  # of the budget, for rounding
REFERENCE = "flop_optimal"
OBJECTIVE = Objective("failure", "fraction", "1 - coverage: questions that no trial solves; above 1: over the budget")
NOTES = (
    "Abilities are calibrated to published pass@1; lengths, difficulty and the loss by sparse attention are synthetic.",
    "Costs are the Kinetics law's: weight reads and the prompt's own computation are left out.",
)


class Metrics(NamedTuple):
    """Means over questions; float32 scalars."""

    coverage: Any
    cost_teflop: Any  # key-value reads included
    cost_tflop: Any  # arithmetic alone
    time_s: Any  # eFLOPs over the hardware's peak
    kv_share: Any  # of eFLOPs
    tokens: Any


class Params(NamedTuple):
    """An instance."""

    table: Any  # float32[levels * C, 5]: `_COLUMNS` of every configuration for every class of difficulty
    law: Any  # float32, 1: the budget counts eFLOPs; 0: FLOPs
    peak_tera: Any  # float32, TFLOP/s
    budget_tera: Any  # float32, a question


_COLUMNS: Sequence[str] = ("coverage", "cost_teflop", "cost_tflop", "kv_tera", "tokens")


class _Instance(NamedTuple):
    """What a table is made of."""

    task: Any  # serving.Task
    attention: Any  # Attention, leaves float32[A]
    intensity: Any  # float32, FLOP a byte


def _space(models: Sequence[str], levels: int) -> DesignSpace:
    values = {
        "model": (tuple(models), "", "parameters"),
        "tokens": (serving.TOKENS, "tokens", "a trial generates at most"),
        "trials": (serving.TRIALS, "", "on each question"),
        "attention": (tuple(ATTENTIONS), "", "what a step of decoding reads"),
    }
    return DesignSpace(
        tuple(
            Parameter(
                name if levels == 1 else f"{name}:{level + 1}",
                choices,
                unit=unit,
                ordered=name != "attention",
                summary=summary,
            )
            for level in range(levels)
            for name, (choices, unit, summary) in values.items()
        )
    )


def _served(configuration: Any, theta: Any, instance: _Instance) -> serving.Served:
    """One configuration, int32[4], for questions of some difficulties."""
    return serving.serve(
        instance.task,
        theta,
        model=configuration[0],
        tokens=jnp.asarray(serving.TOKENS, jnp.float32)[configuration[1]],
        trials=jnp.asarray(serving.TRIALS, jnp.float32)[configuration[2]],
        attention=Attention(*(jnp.asarray(leaf)[configuration[3]] for leaf in instance.attention)),
        intensity=instance.intensity,
    )


@functools.cache
def _cost_function(levels: int) -> Callable[[Any, Params], Evaluation]:
    """The cost function of designs with one configuration for each of `levels` classes of difficulty.

    It looks configurations up: an outcome is a mean over many difficulties and lengths, too dear for every step.
    """

    def cost(design: Any, params: Params) -> Evaluation:
        table = jnp.asarray(params.table)
        model, tokens, trials, attention = jnp.asarray(design).reshape(levels, 4).T
        place = ((model * len(serving.TOKENS) + tokens) * len(serving.TRIALS) + trials) * len(ATTENTIONS) + attention
        rows = table[place + np.arange(levels) * (len(params.table) // levels)]
        coverage, eflop, flop, kv, spent_tokens = jnp.sum(rows, axis=0) / levels
        spent = params.law * eflop + (1 - params.law) * flop
        fits = spent <= params.budget_tera * (1 + SLACK)
        over = 1 + jnp.log2(jnp.maximum(spent / params.budget_tera, 1.0))
        metrics = Metrics(coverage, eflop, flop, eflop / params.peak_tera, kv / eflop, spent_tokens)
        return Evaluation(metrics, jnp.where(fits, 1 - coverage, over), fits)

    return cost


@functools.cache
def _table_function(levels: int) -> Callable[[Any, _Instance], serving.Served]:
    """Leaves [C, levels] of configurations int32[C, 4], jitted."""
    return jax.jit(
        lambda configurations, instance: jax.vmap(
            lambda one: jax.vmap(lambda theta: _served(one, theta, instance))(
                jnp.asarray(instance.task.theta).reshape(levels, -1)
            )
        )(configurations)
    )


class _Table(NamedTuple):
    """Every configuration for every class of difficulty. C configurations."""

    configurations: np.ndarray  # int32[C, 4]
    coverage: np.ndarray  # float64[C, levels]
    cost_teflop: np.ndarray
    cost_tflop: np.ndarray
    rows: np.ndarray  # float32[levels * C, 5], as in `Params`


def _table(instance: _Instance, levels: int) -> _Table:
    shape = (len(instance.task.ability), len(serving.TOKENS), len(serving.TRIALS), len(ATTENTIONS))
    configurations = np.stack(np.unravel_index(np.arange(math.prod(shape)), shape), axis=1).astype(np.int32)
    served = jax.tree.map(np.asarray, _table_function(levels)(configurations, instance))
    columns = (served.coverage, served.eflop * 1e-12, served.flop * 1e-12, served.kv_share * served.eflop * 1e-12)
    rows = np.stack([*columns, served.tokens], axis=-1).astype(np.float32)  # [C, levels, 5]
    coverage, eflop, flop = (rows[..., column].astype(np.float64) for column in range(3))
    return _Table(configurations, coverage, eflop, flop, rows.swapaxes(0, 1).reshape(-1, len(_COLUMNS)))


def _best(table: _Table, spent: np.ndarray, allowed: np.ndarray, budget: float) -> int:
    """The allowed configuration, one for all classes, with the most coverage within the budget; else the cheapest."""
    spent = spent.mean(1)
    fits = allowed & (spent <= budget * (1 + SLACK))
    if not fits.any():
        return int(np.argmin(np.where(allowed, spent, np.inf)))
    return int(np.argmax(np.where(fits, table.coverage.mean(1), -1.0)))


def _flop_optimal(table: _Table, spent: np.ndarray, budget: float) -> int:
    """The largest plan that fits, among those that are best under the FLOP law: dense attention, for some budget."""
    dense = table.configurations[:, 3] == 0
    flop, coverage = table.cost_tflop.mean(1), table.coverage.mean(1)
    order = np.lexsort((-coverage, flop))
    order = order[dense[order]]
    best = np.maximum.accumulate(np.concatenate([[-1.0], coverage[order]]))
    front = order[coverage[order] > best[:-1]]
    fits = front[spent.mean(1)[front] <= budget * (1 + SLACK)]
    return int(fits[-1]) if len(fits) else _best(table, spent, dense, budget)


# Name: which configurations a rule considers, of (place of the model, tokens, trials, attention).
_RULES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "best_of_all": lambda c: np.ones(len(c), bool),
    "dense": lambda c: c[:, 3] == 0,
    "block_top": lambda c: np.char.startswith(np.array(list(ATTENTIONS))[c[:, 3]], "block"),
    "long_thought": lambda c: c[:, 2] == 0,
    "best_of_n_short": lambda c: c[:, 1] <= 1,
    "smallest_model": lambda c: c[:, 0] == 0,
    "largest_model": lambda c: c[:, 0] == c[:, 0].max(),
}


def _find_hardware(name: str) -> Hardware | None:
    """By name, or PEAK_TFLOPS/BANDWIDTH_TBPS; None if it is neither."""
    if name in hardware():
        return hardware()[name]
    peak, _, bandwidth = name.partition("/")
    try:
        found = Hardware(name, float(peak) * 1e12, float(bandwidth) * 1e12)
    except ValueError:
        return None
    return found if 1e10 <= found.peak_flops <= 1e18 and 1e9 <= found.bandwidth_bytes_s <= 1e17 else None


def _build(scenario_id: str, tasks: str, hardware: str, cost: str, levels: str, budget: str) -> Problem:
    options = {"tasks": tasks, "hardware": hardware, "cost": cost, "levels": levels, "budget": budget}
    tera = float(OWN_BUDGET[tasks] if budget == OWN else budget)
    sweep = functools.partial(
        Sweep, option="budget", values=BUDGETS[tasks], to_y=lambda failure: 1 - failure, own=OWN_BUDGET[tasks]
    )
    if tasks == RECORDED:
        if (cost, levels, hardware) != ("eflops", "1", "b200"):
            raise DsegymError("tasks=gsm8k replays recorded answers: it takes tasks and budget, no other option.")
        return build_cascade(scenario_id, options, tera, sweep)
    models, task = serving.load_task(tasks)
    machine = _find_hardware(hardware)
    assert machine is not None  # the option's values were checked
    count = int(levels)
    instance = _Instance(task, serving.attention_arrays(), np.float32(machine.intensity))
    table, space = _table(instance, count), _space(models, count)
    params = Params(
        table=table.rows,
        law=np.float32(cost == "eflops"),
        peak_tera=np.float32(machine.peak_flops * 1e-12),
        budget_tera=np.float32(tera),
    )
    spent = table.cost_teflop if cost == "eflops" else table.cost_tflop
    cheapest = float(spent.min(0).mean())
    if cheapest > tera * (1 + SLACK):
        raise DsegymError(
            f"budget = {budget} TFLOP a question is below the cheapest configuration, {cheapest:.3g}; that or more is "
            "allowed."
        )

    def design(place: int) -> tuple[int, ...]:
        return tuple(int(index) for index in np.tile(table.configurations[place], count))

    baselines = {REFERENCE: design(_flop_optimal(table, spent, tera))}
    for name, rule in _RULES.items():
        baselines[name] = design(_best(table, spent, rule(table.configurations), tera))
    costs, values = list(spent.T / count), list(table.coverage.T / count)
    best, picks = serving.pareto(costs, values, tera * (1 + SLACK))
    optimum = tuple(int(index) for pick in picks for index in table.configurations[pick])
    how = "every configuration" if count == 1 else "exact merge of the classes' Pareto fronts"
    return one_shot_problem(
        scenario=scenario_id,
        options=options,
        space=space,
        objective=OBJECTIVE,
        cost=_cost_function(count),
        params=params,
        reference=(
            REFERENCE,
            space.decode(baselines[REFERENCE]),
            "the largest plan within the budget of those that the FLOP law prefers, dense attention",
        ),
        bound=Yardstick("optimum", 1 - best, how, optimum),
        breakdown=functools.partial(_break_down, params, count, space),
        baselines={name: functools.partial(tuple, found) for name, found in baselines.items()},
        batch_sizes=(1, 128, 1024),
        notes=NOTES,
        sweep=sweep(
            x_label="budget (TFLOP a question, " + ("key-value reads included)" if cost == "eflops" else "FLOP law)"),
            y_label="coverage (fraction of questions solved by a trial)",
            baselines=("dense", "best_of_all"),
        ),
    )


def _break_down(params: Params, levels: int, space: DesignSpace, values: Mapping[str, Any]) -> Breakdown:
    """A design's parts, a row for each class of difficulty."""
    design = space.encode(values)
    total = jax.tree.map(np.asarray, _cost_function(levels)(design, params))
    rows, table = [], params.table.reshape(levels, -1, len(_COLUMNS))
    for level, configuration in enumerate(design.reshape(levels, 4)):
        shape = (table.shape[1] // _PER_MODEL, len(serving.TOKENS), len(serving.TRIALS), len(ATTENTIONS))
        one = dict(zip(_COLUMNS, map(float, table[level, np.ravel_multi_index(configuration, shape)]), strict=True))
        one["kv_share"] = one.pop("kv_tera") / one["cost_teflop"]
        rows.append({"class": level + 1, **one})
    totals = {name: float(value) for name, value in total.metrics._asdict().items()}
    totals["cost_of_pass_teflop"] = float(cost_of_pass(totals["cost_teflop"], totals["coverage"]))
    return Breakdown(totals, rows, NOTES)


_PER_MODEL = len(serving.TOKENS) * len(serving.TRIALS) * len(ATTENTIONS)


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    machines = [
        {
            "hardware": name,
            "peak (TFLOP/s)": each.peak_flops * 1e-12,
            "bandwidth (TB/s)": each.bandwidth_bytes_s * 1e-12,
            "intensity (FLOP/byte)": round(each.intensity, 1),
        }
        for name, each in hardware().items()
    ]
    abilities = []
    for task in serving.TASKS:
        names, found = serving.load_task(task)
        abilities += [
            {"task": task, "model": name, "ability": round(float(ability), 3)}
            for name, ability in zip(names, found.ability, strict=True)
        ]
    return (
        ("Hardware", machines),
        ("Calibrated abilities", abilities),
        ("Models of the cascade, gsm8k", cascade_facts()),
    )


def core_instances() -> Sequence[Mapping[str, str]]:
    """Every task; both laws; other hardware; classes of difficulty."""
    plain = {"tasks": "aime24", "hardware": "b200", "cost": "eflops", "levels": "1", "budget": OWN}
    return [
        plain,
        {**plain, "tasks": "aime25", "budget": "3000"},
        {**plain, "tasks": "livecodebench", "hardware": "a100"},
        {**plain, "cost": "flops", "budget": "1000"},
        {**plain, "levels": "3"},
        {**plain, "tasks": "livecodebench", "levels": "5", "budget": "3000"},
        {**plain, "tasks": RECORDED},
        {**plain, "tasks": RECORDED, "budget": "5"},
    ]


SCENARIO = Scenario(
    summary="Choose model, tokens, trials and attention of a reasoning service, or the steps of a cascade of models.",
    options={
        "tasks": Option("aime24", (*serving.TASKS, RECORDED), "what is asked; gsm8k: recorded answers of open models"),
        "hardware": Option(
            "b200",
            lambda: tuple(hardware()),
            "peak arithmetic and bandwidth",
            lambda value: _find_hardware(value) is not None,
            "PEAK_TFLOPS/BANDWIDTH_TBPS, 989/3.35 say",
        ),
        "cost": Option("eflops", ("eflops", "flops"), "what the budget counts: with key-value reads, or without"),
        "levels": Option("1", LEVELS, "classes of difficulty, known beforehand, each with a configuration of its own"),
        "budget": Option(
            OWN,
            (OWN, *dict.fromkeys(value for values in BUDGETS.values() for value in values)),
            "TFLOP a question, on average; own: 20 for gsm8k, 10000 else",
            number_between(1e-3, 1e9),
            "any from 0.001 to 1e9",
        ),
    },
    build=_build,
    core=core_instances,
    facts=_facts,
)
