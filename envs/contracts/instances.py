"""The clauses of a scenario and of each of its instances: options, costs, yardsticks, notes."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Callable, Sequence

import gymnasium
import jax
import numpy as np
from gymnasium.envs.registration import EnvSpec

from ..core.evaluation import BOUNDS, Yardstick
from ..core.problem import Problem
from ..core.scenarios import Scenario, make_problem
from .clauses import SEED, TOLERANCE, require

__all__ = ["INSTANCE_CLAUSES", "SCENARIO_CLAUSES"]

DESIGNS = 24  # random ones, of an instance


def it_describes_itself_and_its_instances(family: Scenario) -> None:
    """It has a summary, and so has each option; canonical texts stay as they are; its tables can be made."""
    require(family.summary, "the scenario has no summary")
    for name, option in family.options.items():
        require(option.summary, f"the option {name} has no summary")
        default = option.text(option.default)  # `own`, say, of which an instance's name has the meaning
        for text in (family.resolve({name: default})[name], *option.values()):
            again = family.resolve({name: text})[name]
            require(again == text, f"the option {name}'s value {text!r} becomes {again!r}")
    require(family.core_instances(), "there are no core instances")
    family.facts()


def options_survive_json(problem: Problem) -> None:
    """The options are texts, which after JSON make the same instance again; so are those of Gymnasium's spec."""
    options = json.loads(json.dumps(dict(problem.options)))
    require(make_problem(problem.scenario, **options) is problem, f"{options} make another instance")
    spec = gymnasium.make(problem.scenario, **options).spec
    assert spec is not None
    again = gymnasium.make(EnvSpec.from_json(spec.to_json()))
    require(again.get_wrapper_attr("problem") is problem, "its spec after JSON makes another instance")


def designs_cost_finite_positive_objectives(problem: Problem) -> None:
    """Objectives are finite and positive, on the held-out cases too; no infeasible design is below a feasible one; the
    violation is above 0 where a design is infeasible and nowhere else, and a feasible objective has no penalty.
    """
    for which in (problem.evaluate, problem.evaluate_held_out):
        result = which(_designs(problem))
        require(np.isfinite(result.objective).all(), f"objectives {result.objective} are not all finite")
        require((result.objective > 0).all(), f"objectives {result.objective} are not all positive")
        if result.feasible.any() and not result.feasible.all():
            best, worst = result.objective[~result.feasible].min(), result.objective[result.feasible].max()
            require(best > worst, f"an infeasible design has {best}, a feasible one {worst}")
        told = (result.violation <= 0) == result.feasible  # False where it is no number
        require(told.all(), f"violations {result.violation} do not tell the feasible designs")
        alike = np.isclose(result.unpenalised, result.objective, rtol=TOLERANCE) | ~result.feasible
        require(alike.all(), f"unpenalised objectives {result.unpenalised} are not those of feasible designs")


def a_design_costs_the_same_alone_and_in_a_batch(problem: Problem) -> None:
    """Costs are the same bits however designs are batched."""
    designs = _designs(problem)
    together = problem.evaluate(designs)
    for size, start in itertools.product((1, 3), (0, len(designs) - 3)):
        alone = problem.evaluate(designs[start : start + size])
        for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            same = np.array_equal(one, many[start : start + size], equal_nan=one.dtype.kind == "f")
            require(same, f"designs {start} to {start + size - 1} cost {one}, in a batch {many[start : start + size]}")


def the_reference_is_above_the_bound(problem: Problem) -> None:
    """The reference's value is above the bound's by more than rounding, and a yardstick's design has its value."""
    reference, bound = problem.reference, problem.bound
    for yardstick in (reference, bound):
        require(math.isfinite(yardstick.value), f"{yardstick.name} is {yardstick.value}")
        require(yardstick.name and yardstick.source, f"{yardstick} lacks its name or its source")
    require(bound.name in BOUNDS, f"the bound is called {bound.name!r}; allowed: {', '.join(BOUNDS)}")
    for yardstick in (reference, bound):
        _costs_its_value(problem, yardstick)
    require(not problem.obstacle, problem.obstacle)


def _costs_its_value(problem: Problem, yardstick: Yardstick) -> None:
    if yardstick.design is not None:
        result = problem.evaluate_held_out(yardstick.design)
        close = math.isclose(result.objective[0], yardstick.value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        require(close, f"{yardstick.name}'s design costs {result.objective[0]}, and its value is {yardstick.value}")
        require(result.feasible[0], f"{yardstick.name}'s design is infeasible")


def no_design_is_below_the_bound(problem: Problem) -> None:
    """No design that is tried, random or a baseline's, is below a bound that is proven or an optimum."""
    if problem.bound.name in ("bound", "optimum"):
        best = problem.evaluate_held_out(_designs(problem)).objective.min()
        require(
            best >= problem.bound.value * (1 - TOLERANCE), f"a design has {best}, the bound is {problem.bound.value}"
        )


def notes_are_sentences(problem: Problem) -> None:
    """What is synthetic or uncalibrated is said in sentences."""
    require(isinstance(problem.notes, tuple | list), f"notes are {problem.notes!r}, no sequence of sentences")
    for note in problem.notes:
        require(isinstance(note, str) and note.strip().endswith("."), f"the note {note!r} is no sentence")


def a_breakdown_has_finite_totals(problem: Problem) -> None:
    """Where there is a breakdown, it breaks down the reference's design, or any if it has none, in finite figures."""
    if problem.breakdown is not None:
        design = problem.reference.design
        found = problem.breakdown(problem.decode(_designs(problem)[0] if design is None else design))
        require(found.totals, "the breakdown has no totals")
        for name, value in found.totals.items():
            require(not isinstance(value, float) or math.isfinite(value), f"the breakdown's {name} is {value}")


@functools.lru_cache(maxsize=1)
def _designs(problem: Problem) -> np.ndarray:
    """int32[.., n]: the baselines', the two extreme corners, and random ones."""
    baselines = [np.asarray(maker(), np.int32) for maker in problem.baselines.values()]
    corners = [np.zeros(len(problem.space), np.int32), problem.space.cardinalities.astype(np.int32) - 1]
    return np.stack([*baselines, *corners, *problem.space.sample(np.random.default_rng(SEED), DESIGNS)])


SCENARIO_CLAUSES: Sequence[Callable[[Scenario], None]] = (it_describes_itself_and_its_instances,)
INSTANCE_CLAUSES: Sequence[Callable[[Problem], None]] = (
    options_survive_json,
    designs_cost_finite_positive_objectives,
    a_design_costs_the_same_alone_and_in_a_batch,
    the_reference_is_above_the_bound,
    no_design_is_below_the_bound,
    notes_are_sentences,
    a_breakdown_has_finite_totals,
)
