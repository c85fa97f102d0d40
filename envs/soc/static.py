"""dsegym/SocSchedulingStatic-v0: schedule one task graph on a system on chip, known in full before it runs.

The rules: docs/soc_scheduling.md. The game: `costmodels/soc/static_game.py`. N tasks, P elements, C clusters.

| space | design |
|---|---|
| `order_and_element` | a rank 0 ... N - 1 for each task, then an element for each, of those that can run it |
| `order` | a rank for each task; each goes to the element where it finishes first |

With `frequency=chosen` the design ends with an operating point for each cluster, and there are the one-shot forms only.

Action of the form `sequential`: which task comes next and on which element: Discrete(N * P), task * P + element; in the
space `order` Discrete(N). `info["action_mask"]` says what is legal: ready tasks on elements that can run them. What is
not legal counts as the first ready task where it finishes first; `info["illegal_actions"]` counts those.
Reward: how much an estimate of the objective falls, over the reference. For the makespan the estimate is the latest
finish so far with the fastest way on from there, so that the return is (critical path - makespan) / reference; for
energy and the energy-delay product it is that of what is placed, so that the return is -objective / reference.
Observation: float32[N (5 + P) + P], `StaticScheduling.features`.
Termination: after the last task.

The form `by_action` is the same game, with features of each action for networks that score every action alike, and no
others that grow with the instance: float32[10 actions + 4], `ScoredScheduling.features`.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/SocSchedulingStatic-v0", graph="top1")
    >>> observation, info = env.reset(seed=0)
    >>> int(info["action_mask"].sum())
    3
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from ...costmodels.errors import DsegymError
from ...costmodels.soc import exact, gantt, library
from ...costmodels.soc import static_game as game
from ...costmodels.soc.bounds import makespan_bound, objective_bound
from ...costmodels.soc.breakdown import break_down
from ...costmodels.soc.encoding import Encoding, candidates
from ...costmodels.soc.heuristics import HEURISTICS, run_heuristic
from ...costmodels.soc.instance import Instance
from ...costmodels.soc.library import OWN, get_instance, graph_names, platform_names
from ...costmodels.soc.model import NEVER
from ...costmodels.soc.padding import padded_static, static_sizes
from ...costmodels.soc.schedule import Schedule, check_schedule, in_us
from ...costmodels.soc.static_game import Params, State
from ...costmodels.soc.stored import BOUNDS, computed_row, graph_rows, stored_row, stored_schedule
from ...costmodels.solver import OR_TOOLS, Limits, Solver
from ..core import own_bounds
from ..core.evaluation import Evaluation, Objective, Yardstick
from ..core.features import Discrete, Feature
from ..core.functional import FunctionalEnv, advanced
from ..core.one_shot import ONE_SHOT_FORMS
from ..core.options import Options, choice, file_or_name, texts
from ..core.problem import Problem, costed
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "ScoredScheduling", "StaticOptions", "StaticScheduling"]

# Random graphs of the core: of each size a light, a balanced and a heavy communication; and one of known optimum.
GENERATED = (
    *(f"random_{size}_ccr{ccr}_s1" for size in ("20_3", "30_3", "50_8", "100_16") for ccr in ("0.1", "1", "5")),
    "rows_4_40_s1",
)
_HIGHEST = 10.0  # observations are clipped here
BATCH_SIZES = (1, 64, 256)

NOTES = (
    "Links do not contend, and run times are constants: no schedule has been run on hardware.",
    "Leakage is taken at one temperature; there is no thermal model.",
)
OBJECTIVES = {
    "makespan": Objective("makespan", "us", "when the last task finishes", exact_metric="makespan_us"),
    "energy": Objective("energy", "J", "of all clusters until the last task finishes"),
    "edp": Objective("edp", "J s", "energy times makespan"),
}


@dataclass(frozen=True)
class StaticOptions(Options):
    """What tells instances apart."""

    graph: str = file_or_name(
        "top1",
        graph_names,
        library.is_graph_file,
        "random_TASKS_ELEMENTS_ccrCCR_sSEED (at will _wWIDTH, _hHETEROGENEITY), rows_ELEMENTS_TASKS_sSEED, or the path "
        "of a file (docs/files.md)",
        "what is scheduled; a generated graph (random_30_3_ccr1_s1, rows_4_40_s1), or a file of yours",
        generated=library.is_generated_name,
        reads="graph",
    )
    platform: str = file_or_name(
        OWN,
        lambda: (OWN, *platform_names()),
        library.is_platform_name,
        "bal_mmM_fftF_vitV with 0 to 16 accelerators of each kind, equal_P for a file without elements",
        "the system on chip",
    )
    objective: str = choice("makespan", tuple(OBJECTIVES), "what is minimised")
    space: str = choice("order_and_element", ("order_and_element", "order"), "what a design is")
    frequency: str = choice("highest", ("highest", "chosen"), "of the clusters: fixed, or part of the design")


def _space(instance: Instance, encoding: Encoding) -> DesignSpace:
    tasks, names = instance.graph.tasks, instance.platform.element_names
    ranks = tuple(range(len(tasks)))
    parameters = [
        Parameter(f"rank:{task.name}", ranks, summary=f"{task.kernel}: low ones first", ranking="tasks")
        for task in tasks
    ]
    if encoding.elements:
        parameters += [
            Parameter(f"element:{task.name}", tuple(names[q] for q in elements), ordered=False)
            for task, elements in zip(tasks, candidates(instance), strict=True)
        ]
    if encoding.frequencies:
        parameters += [
            Parameter(f"frequency:{cluster.name}", tuple(p.frequency_mhz for p in cluster.operating_points), "MHz")
            for cluster in instance.platform.clusters
        ]
    return DesignSpace(tuple(parameters))


def _evaluation(placed: game.Placed, params: Params, objective: str) -> Evaluation:
    metrics = game.metrics_of(placed, params)
    return Evaluation(metrics, game.objective_of(metrics, objective), jnp.bool_(True))


@functools.cache
def _cost_function(encoding: Encoding, objective: str) -> Callable[[Array, Params], Evaluation]:
    """One object for all instances that share it."""
    return lambda design, params: _evaluation(game.place(encoding, design, params), params, objective)


@dataclass(frozen=True)
class StaticScheduling(FunctionalEnv[State, Params]):
    """Task by task; see the module's docstring.

    Attributes:
        tasks, elements: N and P.
        by_element: whether actions name elements.
        objective: that rewards sum to.
    """

    tasks: int
    elements: int
    by_element: bool
    objective: str
    game = game

    @property
    def horizon(self) -> int:
        """A step for each task."""
        return self.tasks

    @property
    def action_space(self) -> Discrete:
        """The task, and its element where designs hold elements."""
        return Discrete(self.tasks * (self.elements if self.by_element else 1))

    @property
    def features(self) -> Sequence[Feature]:
        """Times are over the makespan of HEFT's schedule, clipped."""
        tasks, elements = (self.tasks,), (self.elements,)
        return (
            Feature("placed", tasks, meaning="1 for each task that is placed", along=0),
            Feature("ready", tasks, meaning="1 for each task that waits, and whose predecessors are placed", along=0),
            Feature("finish", tasks, 0.0, _HIGHEST, "of each task; 0 if it is not placed", along=0),
            Feature(
                "rank_and_run_time", (*tasks, 2), 0.0, _HIGHEST, "of each task: upward rank, mean run time", along=0
            ),
            Feature(
                "estimated_finish",
                (*tasks, *elements),
                -1.0,
                _HIGHEST,
                "of each task on each element; -1 if it is not ready or cannot run there",
            ),
            Feature("available", elements, 0.0, _HIGHEST, "when each element is", along=1),
        )

    def sizes(self, params: Params) -> Mapping[str, int]:
        """See `static_sizes`."""
        return static_sizes(params)

    def padded(self, params: Params, sizes: Mapping[str, int]) -> tuple[StaticScheduling, Params]:
        """Actions count in the larger shape, task * P + element of its P. Designs are the instance's, then zeros."""
        env = replace(self, tasks=sizes["tasks"], elements=sizes["elements"])
        return env, padded_static(params, sizes)

    def params_of(self, problem: Problem) -> Params:
        """The problem's, with the reference's value, of a makespan in ticks."""
        tick_us = problem.params.tick_us
        value = problem.reference.value / (1.0 if tick_us is None else float(tick_us))
        return problem.params._replace(reference=np.float32(value))

    def start(self, key: Array, params: Params) -> State:
        """Nothing is placed."""
        return game.start(params, self.objective)

    def advance(self, state: State, action: Array, params: Params) -> State:
        """Places a task; an action that is not legal counts as the first ready task where it finishes first."""
        return game.advance(state, action, params, by_element=self.by_element, objective=self.objective)

    def reward(self, state: State, next_state: State, params: Params) -> Array:
        """float32: the fall of the estimate over the reference."""
        return (state.estimate - next_state.estimate) / params.reference

    def action_mask(self, state: State, params: Params) -> Array:
        """bool[N * P] (or bool[N]): ready tasks on elements that can run them."""
        return game.legal(state, params, by_element=self.by_element)

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        scale, finishes = 1.0 / params.reference_makespan, game.estimated_finishes(state, params)
        shown = {
            "finish": state.placement.finish[:-1] * scale,
            "rank_and_run_time": jnp.asarray(params.features),
            "estimated_finish": jnp.where(finishes < 0, -1.0, finishes * scale),
            "available": state.placement.available * scale,
        }
        placed = state.rank < self.tasks
        if params.own is not None:
            tasks, elements = state.rank >= 0, jnp.asarray(params.arrays.cluster) >= 0
            placed = placed & tasks
            shown["estimated_finish"] = jnp.where(tasks[:, None] & elements, shown["estimated_finish"], 0.0)
        return {
            "placed": placed,
            "ready": game.ready(state, params),
            **{name: jnp.clip(values, -1.0, _HIGHEST) for name, values in shown.items()},
        }

    def design(self, state: State, params: Params) -> Array:
        """int32[n]; tasks that are not placed count as last, on the first element that can run them."""
        return game.design_of(state, params, by_element=self.by_element)

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """The first task in the design's order that is not placed, on the design's element where it names one."""
        return game.decide(design, state, params, by_element=self.by_element)

    def evaluation(self, state: State, params: Params) -> Evaluation:
        """Costs of what is placed."""
        return _evaluation(game.placed_so_far(state, params), params, self.objective)

    def picture(self, problem: Problem, first: State, actions: Sequence[object]) -> Diagram | None:
        """The Gantt chart of what is placed; once everything is, the problem's diagram of the design."""
        state, params, options = first, problem.params, problem.instance
        assert isinstance(options, StaticOptions)
        for action in actions:
            state = advanced(self, state, action, params)
        if int(state.step) >= self.tasks:
            return None
        placed = np.asarray(state.rank) < self.tasks
        element, finish = (np.asarray(each)[:-1] for each in (state.placement.element, state.placement.finish))
        instance = get_instance(options.graph, options.platform)
        return gantt.draw_partial_schedule(instance, placed, element, finish, float(params.reference_makespan))


# Of each action, or of the task and the element where it finishes first.
_OF_ACTIONS = (
    ("start", "estimated start"),
    ("finish", "estimated finish"),
    ("later", "estimated finish, less that of the action that finishes first"),
    ("loss", "estimated finish, less the task's earliest"),
    ("sufferage", "the task's second earliest finish less its earliest; 0 where only one element can run it"),
    ("idle", "estimated start, less when the element is available"),
    ("mean", "mean run time of the task"),
    ("rank", "upward rank of the task"),
    ("growth", "by how much the least conceivable makespan grows"),
)


@dataclass(frozen=True)
class ScoredScheduling(StaticScheduling):
    """The same game, shown as features of each action."""

    @property
    def features(self) -> Sequence[Feature]:
        """Times are over the makespan of HEFT's schedule, clipped; 0 for actions that are not legal."""
        actions = (int(self.action_space.n),)
        return (
            *(Feature(f"action_{name}", actions, 0.0, _HIGHEST, meaning) for name, meaning in _OF_ACTIONS),
            Feature("action_run_time", actions, 0.0, _HIGHEST, "run time over the mean one of the task"),
            Feature("placed", meaning="tasks that are placed, over N"),
            Feature("ready", meaning="tasks that are ready, over N"),
            Feature("latest_finish", (), 0.0, _HIGHEST, "of what is placed"),
            Feature("least_makespan", (), 0.0, _HIGHEST, "latest finish so far with the fastest way on from there"),
        )

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        run_time, available = jnp.asarray(params.arrays.run_time)[0], state.placement.available
        ready, finishes = game.ready(state, params), game.estimated_finishes(state, params)
        able = finishes >= 0  # [N, P]
        ends = jnp.where(able, finishes, NEVER)
        first = jnp.argmin(ends, axis=1)[:, None]
        earliest = jnp.take_along_axis(ends, first, axis=1)
        second = jnp.min(jnp.where(jnp.arange(ends.shape[1]) == first, NEVER, ends), axis=1, keepdims=True)
        least = game.least_makespan(state, params)
        rank, mean = (jnp.asarray(params.features)[:, column, None] for column in (0, 1))
        # Products, as compilers turn quotients by constants into products: so the bits are those of any program.
        scale = 1.0 / jnp.asarray(params.reference_makespan)
        share = 1.0 / jnp.float32(self.tasks if params.own is None else params.own.tasks)
        in_us = {
            "start": ends - run_time,
            "finish": ends,
            "later": ends - jnp.min(ends),
            "loss": ends - earliest,
            "sufferage": jnp.where(second < NEVER, second - earliest, 0),
            "idle": ends - run_time - available,
            "growth": jnp.maximum(ends + jnp.asarray(params.way_on)[:, None] - least, 0),
        }
        shown = {name: values * scale for name, values in in_us.items()} | {"mean": mean, "rank": rank}
        shown = {name: shown[name] for name, _ in _OF_ACTIONS}
        shown["run_time"] = run_time / jnp.maximum(mean * params.reference_makespan, 1e-6)

        def of_actions(values: Array) -> Array:
            legal = jnp.where(able, values, 0.0)
            return legal.ravel() if self.by_element else jnp.take_along_axis(legal, first, axis=1)[:, 0]

        found = {f"action_{name}": of_actions(values) for name, values in shown.items()} | {
            "placed": state.step * share,
            "ready": jnp.sum(ready) * share,
            "latest_finish": jnp.max(available) * scale,
            "least_makespan": least * scale,
        }
        return {name: jnp.clip(values, 0.0, _HIGHEST) for name, values in found.items()}


def _us(text: str) -> int | float:
    """us as `in_us` has them: whole where a tick is."""
    return int(text) if text.isdecimal() else float(text)


def _kept_row(instance: Instance, problem: Problem) -> Mapping[str, str] | None:
    """The row kept beside the user's graph; the schedule that it names is checked, task by task."""
    row = own_bounds.kept_row(problem, ("graph", "platform"))
    if row is None:
        return None

    def claims() -> tuple[int | float, int | float, Schedule, str]:
        return _us(row["bound_us"]), _us(row["best_us"]), stored_schedule(row, instance), row["method"]

    limit, best, schedule, _ = own_bounds.parsed(problem, claims)
    own_bounds.parsed(problem, lambda: check_schedule(instance, schedule))
    found = in_us(schedule.makespan_us, instance.platform.tick_us)
    holds = found == best >= limit > 0 and (limit == best or row["proven"] != "yes")
    own_bounds.require(problem, holds, f"the kept schedule takes {found} us, not {best} us with a bound of {limit} us")
    return row


def _bound(instance: Instance, encoding: Encoding, problem: Problem) -> Yardstick:
    """The stored bound where there is one, or the one kept beside the user's graph; else a quick one."""
    options = problem.instance
    assert isinstance(options, StaticOptions)
    row, where = stored_row(options.graph, instance.platform.name), "dsegym bound --store"
    if row is None:
        row, where = _kept_row(instance, problem), own_bounds.KEPT
    limit_us = _us(row["bound_us"]) if row else in_us(makespan_bound(instance), instance.platform.tick_us)
    if options.objective != "makespan":
        limit = objective_bound(instance, options.objective, int(limit_us), all_levels=encoding.frequencies)
        how = "least dynamic energy of every task, and leakage for as long as the makespan's bound"
        return Yardstick("bound", limit, how)
    if row is None:
        source = "critical path and load; dsegym bound computes a better one"
        remedy = "computes a higher one, mostly the optimum of small graphs"
        return Yardstick("bound", float(limit_us), source, remedy=remedy)
    source = f"{row['method']}: {where}"
    if row["proven"] != "yes":
        return Yardstick("bound", float(limit_us), source)
    best = encoding.encode(instance, stored_schedule(row, instance))
    reached = problem.evaluate(best).objective[0] == limit_us
    return Yardstick("optimum", float(limit_us), source, best if reached else None)


def _baselines(graph: str, instance: Instance, encoding: Encoding) -> Mapping[str, Callable[[], Sequence[int]]]:
    def of(name: str) -> Callable[[], Sequence[int]]:
        return functools.cache(lambda: encoding.encode(instance, run_heuristic(name, instance)))

    makers = {name: of(name) for name in HEURISTICS}
    row = stored_row(graph, instance.platform.name)
    if row is not None:
        makers["cp_sat"] = lambda: encoding.encode(instance, stored_schedule(row, instance))
    return makers


def _solvers(options: StaticOptions, instance: Instance, encoding: Encoding) -> Mapping[str, Solver]:
    """CP-SAT minimises the makespan, and names each task's element."""
    if options.objective != "makespan" or not encoding.elements or encoding.frequencies:
        return {}

    def designs(limits: Limits) -> Generator[Sequence[int], None, None]:
        for schedule in exact.improved_schedules(instance, limits):
            yield encoding.encode(instance, schedule)

    return {"cp_sat": designs}


def build(options: StaticOptions) -> Problem:
    """An instance."""
    instance = get_instance(options.graph, options.platform)
    platform = instance.platform
    encoding = Encoding(options.space == "order_and_element", options.frequency == "chosen")
    if not platform.has_power and (options.objective != "makespan" or encoding.frequencies):
        allowed = "only objective=makespan and frequency=highest are allowed."
        raise DsegymError(f"The power of {platform.name} is unknown: {allowed}")
    space, baselines = _space(instance, encoding), _baselines(options.graph, instance, encoding)
    params = game.params_of(instance, encoding, run_heuristic("heft", instance).makespan_us)
    env = StaticScheduling(len(instance), instance.elements, encoding.elements, options.objective)
    scored = ScoredScheduling(env.tasks, env.elements, env.by_element, env.objective)
    by_task = {
        "sequential": lambda problem: env,
        "parametric": ONE_SHOT_FORMS["parametric"],
        "by_action": lambda problem: scored,
    }
    source = "HEFT (Topcuoglu et al. 2002), every cluster at its highest frequency"
    notes = (*NOTES, *library.source_notes([instance]))

    def draw(design: np.ndarray) -> Diagram:
        shown, schedule = game.schedule_of(encoding, instance, design, params)
        title = f"{shown.graph.name}: makespan {in_us(schedule.makespan_us, platform.tick_us):,} us"
        return gantt.draw_schedule(shown, schedule, title)

    return Problem(
        instance=options,
        space=space,
        objective=OBJECTIVES[options.objective],
        cost=_cost_function(encoding, options.objective),
        params=params,
        reference_rule=costed("heft", lambda problem: baselines["heft"](), source),
        bound_rule=functools.partial(_bound, instance, encoding),
        forms=ONE_SHOT_FORMS if encoding.frequencies else by_task,
        breakdown=lambda values: break_down(encoding, instance, params, notes, space.encode(values)),
        baselines=baselines,
        solvers=_solvers(options, instance, encoding),
        solver_libraries={"cp_sat": OR_TOOLS},
        diagram=draw,
        batch_sizes=BATCH_SIZES,
        notes=notes,
    )


def _core() -> Sequence[Mapping[str, object]]:
    return [{"graph": graph} for graph in (*graph_names(), *GENERATED)]


def _bounds(options: StaticOptions, progress: Callable[[int, int], None]) -> Sequence[Mapping[str, object]]:
    """One row: the instance, its bound, then `costmodels/soc/stored.py:computed_row`."""
    instance = get_instance(options.graph, options.platform)
    row = computed_row(instance, progress)
    value, kind = row["bound_us"], "optimum" if row["proven"] == "yes" else "bound"
    if options.objective != "makespan":
        levels = options.frequency == "chosen"
        value, kind = objective_bound(instance, options.objective, int(value), all_levels=levels), "bound"
    known = {"value": float(value), "unit": OBJECTIVES[options.objective].unit, "kind": kind}
    return [{**texts(options), **known, **row}]


SCENARIO = Scenario(
    summary="Schedule a task graph, known beforehand, on the processing elements of a system on chip.",
    options_type=StaticOptions,
    build=build,
    core=_core,
    facts=lambda: (("Graphs", graph_rows()),),
    bounds=_bounds,
    stored_bounds=f"costmodels/{BOUNDS}",
)
