"""dsegym/ReasoningServe-v0: which model, how many tokens and trials, and which attention, on given hardware.

The rules and where figures come from: docs/reasoning_serve.md. The outcomes and costs:
`costmodels/reasoning/serving/`. A design is a configuration, or one for each class of difficulty; it is costed in
closed form, and the forms are `parametric` and `sequential`.

Objective: 1 - coverage, the share of questions that no trial solves; where the mean cost of a question is above the
budget, 1 + log2(cost / budget), so that a search sees how far it is.

    >>> import dsegym
    >>> problem = dsegym.make_problem("dsegym/ReasoningServe-v0", tasks="aime24", budget=10000)
    >>> problem.space.names
    ('model', 'tokens', 'trials', 'attention')
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
from ...costmodels.files import plain_number
from ...costmodels.reasoning.scores import cost_of_pass
from ...costmodels.reasoning.serving import bounds, configurations, model
from ...costmodels.reasoning.serving.configurations import RULES, SLACK, Params
from ...costmodels.solver import in_turn
from ...costmodels.transformers.kinetics import ATTENTIONS, Hardware, hardware, hardware_rows
from ..core.evaluation import Evaluation, Objective, Sweep, Yardstick
from ..core.one_shot import one_shot_problem
from ..core.options import Options, choice, custom, number_or_own
from ..core.problem import Problem
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "ReasoningServeOptions"]

BATCH_SIZES = (1, 128, 1024)
OWN_BUDGET = 10000
BUDGETS = (300, 1000, 3000, 10000, 30000, 100000)  # TFLOP a question, that are drawn
EFLOPS = "eflops"

OBJECTIVE = Objective("failure", "fraction", "1 - coverage: questions that no trial solves; above 1: over the budget")
NOTES = (
    "Abilities are calibrated to published pass@1; lengths, difficulty and the loss by sparse attention are synthetic.",
    "Costs are the Kinetics law's: weight reads and the prompt's own computation are left out.",
)


def _task(given: object) -> str:
    if given == "gsm8k":
        raise DsegymError("tasks = gsm8k is a scenario of its own now: dsegym/ReasoningCascade-v0.")
    if given not in model.TASKS:
        raise ValueError
    return str(given)


def _machine(name: str) -> Hardware:
    """By name, or PEAK_TFLOPS/BANDWIDTH_TBPS.

    Raises:
        ValueError: it is neither.
    """
    if name in hardware():
        return hardware()[name]
    peak, bandwidth = map(plain_number, name.split("/"))
    if not (1e-2 <= peak <= 1e6 and 1e-3 <= bandwidth <= 1e5):
        raise ValueError
    return Hardware(f"{peak:.12g}/{bandwidth:.12g}", peak * 1e12, bandwidth * 1e12)


@dataclass(frozen=True)
class ReasoningServeOptions(Options):
    """What tells instances apart."""

    tasks: str = custom("aime24", model.TASKS, parse=_task, also="", summary="what is asked")
    hardware: str = custom(
        "b200",
        lambda: tuple(hardware()),
        parse=lambda given: _machine(str(given)).name,
        also="PEAK_TFLOPS/BANDWIDTH_TBPS, 989/3.35 say",
        summary="peak arithmetic and bandwidth",
    )
    cost: str = choice(EFLOPS, (EFLOPS, "flops"), "what the budget counts: with key-value reads, or without")
    levels: str = choice(
        "1", ("1", "3", "5"), "classes of difficulty, known beforehand, each with a configuration of its own"
    )
    budget: float | None = number_or_own(
        BUDGETS, least=1e-3, most=1e9, unit="TFLOP", summary=f"that a question may cost, on average; own: {OWN_BUDGET}"
    )


def _space(models: Sequence[str], levels: int) -> DesignSpace:
    values = {
        "model": (tuple(models), "", "parameters"),
        "tokens": (model.TOKENS, "tokens", "a trial generates at most"),
        "trials": (model.TRIALS, "", "on each question"),
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


def cost(design: Array, params: Params) -> Evaluation:
    """Costs of one design; see the module's docstring."""
    metrics, spent = configurations.served(design, params)
    limit = params.budget_tera * (1 + SLACK)
    fits, excess = spent <= limit, spent / limit - 1
    over = 1 + jnp.log2(jnp.maximum(spent / params.budget_tera, 1.0))
    failure = 1 - metrics.coverage
    return Evaluation(
        metrics, jnp.where(fits, failure, over), fits, jnp.where(fits, jnp.minimum(excess, 0), excess), failure
    )


def build(options: ReasoningServeOptions) -> Problem:
    """An instance.

    Raises:
        DsegymError: the budget pays for no configuration.
    """
    counts_reads, levels = options.cost == EFLOPS, int(options.levels)
    budget = OWN_BUDGET if options.budget is None else options.budget
    machine = _machine(options.hardware)
    table = configurations.configurations_of(options.tasks, machine, levels)
    space = _space(model.load_task(options.tasks)[0], levels)
    spent = table.cost_teflop if counts_reads else table.cost_tflop
    cheapest = float(spent.min(0).mean())
    if cheapest > budget * (1 + SLACK):
        raise DsegymError(
            f"budget = {budget:g} TFLOP a question is below the cheapest configuration, {cheapest:.3g}; that or more "
            "is allowed."
        )
    numbers = (float(counts_reads), machine.peak_flops * 1e-12, budget)
    params = Params(table.rows, *(np.asarray(value, np.float32) for value in numbers))

    def design(place: int) -> tuple[int, ...]:
        return tuple(np.tile(table.indices[place], levels).tolist())

    def optimum() -> tuple[float, tuple[int, ...]]:
        value, picks = bounds.optimum(table, spent, budget)
        return value, tuple(table.indices[list(picks)].ravel().tolist())

    def bound(problem: Problem) -> Yardstick:
        value, best = optimum()
        how = "every configuration" if levels == 1 else "exact merge of the classes' Pareto fronts"
        return Yardstick("optimum", 1 - value, how, best)

    flop_optimal = design(configurations.flop_optimal(table, spent, budget))

    def by_rule(name: str) -> tuple[int, ...]:
        return design(configurations.best(table, spent, RULES[name](table.indices), budget))

    return one_shot_problem(
        options=options,
        space=space,
        objective=OBJECTIVE,
        cost=cost,
        params=params,
        reference=(
            "flop_optimal",
            space.decode(flop_optimal),
            "the largest plan within the budget of those that the FLOP law prefers, dense attention",
        ),
        bound=bound,
        breakdown=functools.partial(_break_down, params, space),
        baselines={"flop_optimal": lambda: flop_optimal, **{name: functools.partial(by_rule, name) for name in RULES}},
        solvers={"dynamic_programming": in_turn(lambda: flop_optimal, lambda: optimum()[1])},
        batch_sizes=BATCH_SIZES,
        notes=NOTES,
        sweep=Sweep(
            option="budget",
            values=tuple(map(str, BUDGETS)),
            x_label="budget (TFLOP a question, " + ("key-value reads included)" if counts_reads else "FLOP law)"),
            y_label="coverage (fraction of questions solved by a trial)",
            baselines=("dense", "best_of_all"),
            own=str(OWN_BUDGET),
        ),
    )


def _break_down(params: Params, space: DesignSpace, values: Mapping[str, object]) -> Breakdown:
    """A design's parts, a row for each class of difficulty."""
    design = space.encode(values)
    totals = {name: float(value) for name, value in cost(jnp.asarray(design), params).metrics._asdict().items()}
    totals["cost_of_pass_teflop"] = float(cost_of_pass(totals["cost_teflop"], totals["coverage"]))
    return Breakdown(totals, configurations.parts(design, params), NOTES)


CORE = (  # every task; both laws; other hardware; classes of difficulty
    {},
    {"tasks": "aime25", "budget": 3000},
    {"tasks": "livecodebench", "hardware": "a100"},
    {"cost": "flops", "budget": 1000},
    {"levels": 3},
    {"tasks": "livecodebench", "levels": 5, "budget": 3000},
)
SCENARIO = Scenario(
    summary="Choose model, tokens, trials and attention of a reasoning service on given hardware.",
    options_type=ReasoningServeOptions,
    build=build,
    core=CORE,
    facts=lambda: (("Hardware", hardware_rows()), ("Calibrated abilities", model.ability_rows())),
)
