"""dsegym/SocSchedulingStatic-v0: schedule one task graph on a system on chip, known in full before it runs.

The rules: docs/soc_scheduling.md. Cost model: `costmodels/soc/model.py`. N tasks, P elements, C clusters.

| space | design |
|---|---|
| `order_and_element` | a rank 0 ... N - 1 for each task, then an element for each, of those that can run it |
| `order` | a rank for each task; each goes to the element where it finishes first |

With `frequency=chosen` the design ends with an operating point for each cluster.

Action of the sequential form: which task comes next and on which element: Discrete(N * P), task * P + element; in the
space `order` Discrete(N). `info["action_mask"]` says what is legal: ready tasks on elements that can run them. What is
not legal counts as the first ready task where it finishes first; `info["illegal_actions"]` counts those.
Reward: how much an estimate of the objective falls, over the reference. For the makespan the estimate is the latest
finish so far with the fastest way on from there, so that the return is (critical path - makespan) / reference; for
energy and the energy-delay product it is that of what is placed, so that the return is -objective / reference.
Observation: float32 in [-1, 10]: of each task whether it is placed and ready, its upward rank, mean run time and
finish; its estimated finish on each element if it is ready, and when each element is available, over the reference
makespan.
Termination: after the last task.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/SocSchedulingStatic-v0", graph="top1")
    >>> observation, info = env.reset(seed=0)
    >>> int(info["action_mask"].sum())
    3
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels import soc
from ...costmodels.breakdown import Breakdown
from ...costmodels.diagram import Diagram
from ...costmodels.errors import DsegymError
from ...costmodels.soc import gantt, model
from ...costmodels.soc.instance import Instance, bind
from ...costmodels.soc.library import (
    get_graph,
    get_instance,
    graph_names,
    home_platform,
    is_generated_name,
    is_graph_file,
    is_platform_name,
    platform_names,
)
from ...costmodels.soc.schedule import Schedule
from ..core.functional import ONE_SHOT_FORMS, FunctionalEnv
from ..core.problem import Evaluation, Objective, Problem, Yardstick
from ..core.scenarios import Option, Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "Params", "StaticScheduling"]

OWN = "own"
MAX_TASKS = 500
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
    "makespan": Objective("makespan", "us", "when the last task finishes"),
    "energy": Objective("energy", "J", "of all clusters until the last task finishes"),
    "edp": Objective("edp", "J s", "energy times makespan"),
}


class Metrics(NamedTuple):
    """What a schedule costs. Scalars."""

    makespan_us: Any  # int32
    energy_j: Any  # float32; not a number where the platform's power is unknown
    edp_js: Any  # float32


class Params(NamedTuple):
    """An instance."""

    arrays: Any  # model.Arrays
    element: Any  # int32[N, M], the elements that can run each task, by the index in a design
    level: Any  # int32[C], the operating points, where a design does not choose
    way_on: Any  # int32[N], us, the fastest way from the end of a task to the end of the graph
    features: Any  # float32[N, 2], upward rank and mean run time over the reference makespan
    critical_path: Any  # int32, us, the fastest way through the graph
    reference_makespan: Any  # float32, us
    reference: Any  # float32, the objective's


def _evaluation(params: Params, placed: model.Placement, run_time: Any, level: Any, objective: str) -> Evaluation:
    """Costs of a placement; tasks that are not placed take no time."""
    makespan = jnp.max(placed.available)
    if not params.arrays.power.shape[1]:
        nothing = jnp.float32(jnp.nan)
        return Evaluation(Metrics(makespan, nothing, nothing), makespan.astype(jnp.float32), jnp.bool_(True))
    finish, element = placed.finish[:-1], placed.element[:-1]
    took = jnp.take_along_axis(jnp.asarray(run_time), element[:, None], axis=1)[:, 0]
    start = jnp.where(finish > 0, finish - took, 0)
    residency = model.residency_us(params.arrays, start, finish, element)
    energy = model.energy_j(params.arrays, residency, level)
    metrics = Metrics(makespan, energy, energy * makespan.astype(jnp.float32) * 1e-6)
    values = {"makespan": makespan.astype(jnp.float32), "energy": energy, "edp": metrics.edp_js}
    return Evaluation(metrics, values[objective], jnp.bool_(True))


def _split(design: Any, params: Params, space: str, frequency: str) -> tuple[Any, Any, Any, Any]:
    """Ranks int32[N], elements int32[N] (or None), operating points int32[C] and run times int32[N, P] of a design."""
    count = len(params.element)
    level = jnp.asarray(params.level)
    run_time = jnp.asarray(params.arrays.run_time)[0]
    if frequency == "chosen":
        level = design[-len(params.level) :]
        run_time = model.run_times(params.arrays, level)
    elements = None
    if space == "order_and_element":
        chosen = design[count : 2 * count]
        elements = jnp.take_along_axis(jnp.asarray(params.element), chosen[:, None], axis=1)[:, 0]
    return design[:count], elements, level, run_time


@functools.cache
def _placement_function(space: str, frequency: str) -> Callable[[Any, Params], tuple[model.Placement, Any, Any]]:
    """`(design, params) -> placement, run times int32[N, P], operating points int32[C]`."""

    def place(design: Any, params: Params) -> tuple[model.Placement, Any, Any]:
        ranks, elements, level, run_time = _split(design, params, space, frequency)
        order = model.effective_order(params.arrays, ranks)
        if elements is None:
            return model.schedule_earliest(params.arrays, run_time, order), run_time, level
        return model.schedule(params.arrays, run_time, order, elements), run_time, level

    return place


@functools.cache
def _cost_function(space: str, frequency: str, objective: str) -> Callable[[Any, Params], Evaluation]:
    """The cost function, one object for all instances that share it."""
    place = _placement_function(space, frequency)

    def cost(design: Any, params: Params) -> Evaluation:
        placed, run_time, level = place(design, params)
        return _evaluation(params, placed, run_time, level, objective)

    return cost


class EnvState(NamedTuple):
    """Where an episode stands."""

    placed: Any  # model.Placement
    rank: Any  # int32[N], the step at which each task was placed; N if not
    step: Any  # int32
    estimate: Any  # float32, of the objective
    illegal: Any  # int32, actions that counted as another


class StaticScheduling(FunctionalEnv):
    """Task by task; see the module's docstring."""

    def __init__(self, problem: Problem):
        super().__init__()
        params: Params = problem.params
        self._space, self._objective = problem.options["space"], problem.options["objective"]
        count, elements = params.arrays.run_time.shape[1:]
        self._tasks, self._elements = count, elements
        self.horizon = count
        self.reference = problem.reference.value
        self._actions = count * (elements if self._by_element else 1)
        self.action_space = gymnasium.spaces.Discrete(self._actions)
        size = count * (5 + elements) + elements
        self.observation_space = gymnasium.spaces.Box(-1.0, _HIGHEST, (size,), np.float32)

    @property
    def _by_element(self) -> bool:
        return self._space == "order_and_element"

    def initial(self, rng: Any, params: Any = None) -> EnvState:
        """Nothing is placed."""
        del rng
        first = jnp.float32(0)
        if self._objective == "makespan":
            first = jnp.asarray(params.critical_path, jnp.float32)
        return EnvState(
            model.start(params.arrays),
            jnp.full(self._tasks, self._tasks, jnp.int32),
            jnp.int32(0),
            first,
            jnp.int32(0),
        )

    def transition(self, state: EnvState, action: Any, rng: Any, params: Any = None) -> EnvState:
        """Places a task; an action that is not legal counts as the first ready task where it finishes first."""
        del rng
        arrays, run_time = params.arrays, jnp.asarray(params.arrays.run_time)[0]
        action = jnp.clip(jnp.asarray(action, jnp.int32), 0, self._actions - 1)
        legal = self.action_mask(state, params)[action]
        fallback = jnp.argmax(self._ready(state, params)).astype(jnp.int32)
        task = jnp.where(legal, action // self._elements if self._by_element else action, fallback)
        finishes = model.finish_times(arrays, run_time, state.placed, task)
        element = jnp.argmin(finishes).astype(jnp.int32)
        if self._by_element:
            element = jnp.where(legal, action % self._elements, element)
        placed = model.place_given(arrays, run_time, state.placed, task, element)
        rank = jnp.where(jnp.arange(self._tasks) == task, state.step, state.rank)
        return EnvState(placed, rank, state.step + 1, self._estimate(placed, rank, params), state.illegal + ~legal)

    def _estimate(self, placed: model.Placement, rank: Any, params: Params) -> jax.Array:
        if self._objective != "makespan":
            run_time, level = jnp.asarray(params.arrays.run_time)[0], jnp.asarray(params.level)
            return _evaluation(params, placed, run_time, level, self._objective).objective
        ends = jnp.where(rank < self._tasks, placed.finish[:-1] + params.way_on, 0)
        return jnp.maximum(jnp.max(ends), params.critical_path).astype(jnp.float32)

    def _ready(self, state: EnvState, params: Params) -> jax.Array:
        """bool[N]: not placed, and every predecessor is."""
        waits = jnp.append(state.rank >= self._tasks, False)
        return waits[:-1] & ~jnp.any(waits[jnp.asarray(params.arrays.predecessor)], axis=1)

    def terminal(self, state: EnvState, rng: Any, params: Any = None) -> jax.Array:
        """Whether every task is placed."""
        del rng, params
        return state.step >= self._tasks

    def reward(self, state: EnvState, action: Any, next_state: EnvState, rng: Any, params: Any = None) -> Any:
        """float32: the fall of the estimate over the reference."""
        del action, rng
        return (state.estimate - next_state.estimate) / params.reference

    def action_mask(self, state: EnvState, params: Any = None) -> jax.Array:
        """bool[N * P] (or bool[N]): ready tasks on elements that can run them."""
        ready = self._ready(state, params)
        if not self._by_element:
            return ready
        return (ready[:, None] & (jnp.asarray(params.arrays.run_time)[0] < model.NEVER)).ravel()

    def observation(self, state: EnvState, rng: Any, params: Any = None) -> jax.Array:
        """float32[N * (5 + P) + P]; see the module's docstring."""
        del rng
        run_time, placed = jnp.asarray(params.arrays.run_time)[0], state.placed
        ready, scale = self._ready(state, params), 1.0 / params.reference_makespan
        finishes = jax.vmap(lambda task: model.finish_times(params.arrays, run_time, placed, task))(
            jnp.arange(self._tasks)
        )
        can = ready[:, None] & (run_time < model.NEVER)
        of_tasks = jnp.stack([state.rank < self._tasks, ready, placed.finish[:-1] * scale]).astype(jnp.float32)
        parts = [
            of_tasks.ravel(),
            jnp.asarray(params.features).ravel(),
            jnp.where(can, finishes * scale, -1.0).ravel(),
            placed.available * scale,
        ]
        return jnp.clip(jnp.concatenate(parts), -1.0, _HIGHEST).astype(jnp.float32)

    def design(self, state: EnvState, params: Any = None) -> jax.Array:
        """int32[n]; tasks that are not placed count as last, on the first element that can run them."""
        ranks = jnp.minimum(state.rank, self._tasks - 1)
        if not self._by_element:
            return ranks
        index = jnp.argmax(jnp.asarray(params.element) == state.placed.element[:-1, None], axis=1)
        return jnp.concatenate([ranks, jnp.where(state.rank < self._tasks, index, 0).astype(jnp.int32)])

    def evaluation(self, state: EnvState, params: Any = None) -> Evaluation:
        """Costs of what is placed."""
        run_time, level = jnp.asarray(params.arrays.run_time)[0], jnp.asarray(params.level)
        return _evaluation(params, state.placed, run_time, level, self._objective)

    def picture(self, problem: Problem, first: EnvState, actions: Sequence[Any]) -> Diagram | None:
        """The Gantt chart of what is placed; once everything is, the problem's diagram of the design.

        Args:
            problem: the instance.
            first: the state after `initial`.
            actions: since then.
        """
        params: Params = problem.params
        state = first
        for action in actions:
            state = self._jitted_transition(state, action, params)
        step = int(state.step)
        if step >= self._tasks:
            return None
        instance = get_instance(problem.options["graph"], problem.options["platform"])
        placed = np.asarray(state.rank) < self._tasks
        element, finish = (np.asarray(each)[:-1] for each in (state.placed.element, state.placed.finish))
        start = np.where(placed, finish - instance.run_time_us[np.arange(len(element)), element], 0)
        latest = int(finish.max())
        title = f"{instance.graph.name}: {step} of {self._tasks} tasks placed, latest finish {latest:,} us"
        whole = gantt.draw_schedule(instance, Schedule(element, start, finish), title)
        return replace(
            whole,
            rectangles=[each for each, shown in zip(whole.rectangles, placed, strict=True) if shown],
            x_range=(0.0, max(float(latest), float(params.reference_makespan))),
        )

    @functools.cached_property
    def _jitted_transition(self) -> Any:
        return jax.jit(lambda state, action, params: self.transition(state, action, None, params))

    def transition_info(self, state: Any, action: Any, next_state: Any, params: Any = None) -> dict:
        """As every family's, and the number of actions that counted as another."""
        return super().transition_info(state, action, next_state, params) | {"illegal_actions": next_state.illegal}


@dataclass(frozen=True)
class _Layout:
    """What a design of an instance means."""

    instance: Instance
    space: str
    frequency: str

    @property
    def candidates(self) -> list[np.ndarray]:
        """The elements that can run each task."""
        return [np.flatnonzero(row) for row in self.instance.feasible]

    @functools.cached_property
    def design_space(self) -> DesignSpace:
        tasks, names = self.instance.graph.tasks, self.instance.platform.element_names
        ranks = tuple(range(len(tasks)))
        parameters = [Parameter(f"rank:{task.name}", ranks, summary=f"{task.kernel}: low ones first") for task in tasks]
        if self.space == "order_and_element":
            parameters += [
                Parameter(f"element:{task.name}", tuple(names[q] for q in elements), ordered=False)
                for task, elements in zip(tasks, self.candidates, strict=True)
            ]
        if self.frequency == "chosen":
            parameters += [
                Parameter(
                    f"frequency:{cluster.name}",
                    tuple(point.frequency_mhz for point in cluster.operating_points),
                    "MHz",
                )
                for cluster in self.instance.platform.clusters
            ]
        return DesignSpace(tuple(parameters))

    def design_of(self, schedule: Schedule) -> np.ndarray:
        """int32[n]: a schedule's order and elements, every cluster at its highest frequency."""
        ranks = np.empty(len(self.instance), np.int32)
        ranks[schedule.order] = np.arange(len(ranks))
        parts = [ranks]
        if self.space == "order_and_element":
            pairs = zip(self.candidates, schedule.element, strict=True)
            parts.append(np.array([int(np.flatnonzero(elements == q)[0]) for elements, q in pairs], np.int32))
        if self.frequency == "chosen":
            parts.append(np.array([len(c.operating_points) - 1 for c in self.instance.platform.clusters], np.int32))
        return np.concatenate(parts).astype(np.int32)

    def schedule_of(self, design: Any, params: Params) -> tuple[Instance, Schedule]:
        """The schedule that a design stands for, and the instance at its frequencies."""
        placed, run_time, level = jax.tree.map(
            np.asarray, _place(self.space, self.frequency)(np.asarray(design), params)
        )
        element, finish = placed.element[:-1], placed.finish[:-1]
        start = finish - run_time[np.arange(len(element)), element]
        instance = self.instance
        if self.frequency == "chosen":
            instance = bind(instance.graph, instance.platform, tuple(int(each) for each in level))
        return instance, Schedule(element, start, finish)


@functools.cache
def _place(space: str, frequency: str) -> Any:
    return jax.jit(_placement_function(space, frequency))


def _params(instance: Instance, layout: _Layout, reference_makespan: int) -> Params:
    from ...costmodels.soc.ranks import upward_rank

    candidates = layout.candidates
    element = np.zeros((len(instance), max(map(len, candidates))), np.int32)
    for i, elements in enumerate(candidates):
        element[i] = elements[-1]
        element[i, : len(elements)] = elements
    way_on = np.zeros(len(instance), np.int32)
    for i in reversed(range(len(instance))):
        after = [edge.target for edge in instance.graph.successors[i]]
        way_on[i] = max((way_on[j] + instance.least_run_time_us[j] for j in after), default=0)
    mean = np.where(instance.feasible, instance.run_time_us, 0).sum(1) / instance.feasible.sum(1)
    return Params(
        arrays=model.arrays(instance, levels=layout.frequency == "chosen"),
        element=element,
        level=np.zeros(len(instance.platform.clusters), np.int32),
        way_on=way_on,
        features=(np.stack([upward_rank(instance), mean], axis=1) / max(reference_makespan, 1)).astype(np.float32),
        critical_path=np.int32((way_on + instance.least_run_time_us).max()),
        reference_makespan=np.float32(max(reference_makespan, 1)),
        reference=np.float32(1.0),
    )


def stored_bound_us(instance: Instance) -> int:
    """us: the proven bound of a graph's makespan in the package's table; 0 if it is not there."""
    row = _stored().get((instance.graph.name, instance.platform.name))
    return int(row["bound_us"]) if row else 0


@functools.cache
def _stored() -> Mapping[tuple[str, str], Mapping[str, str]]:
    """The rows of `bounds.csv` by graph and the platform's name."""
    text = (importlib.resources.files(soc) / "bounds.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {(row["graph"], row["on"]): row for row in csv.DictReader(lines)}


def _stored_schedule(row: Mapping[str, str], instance: Instance) -> Schedule:
    """The best known schedule: start and element of each task."""
    pairs = [part.split("@") for part in row["best_schedule"].split()]
    start, element = np.array([int(s) for s, _ in pairs]), np.array([int(q) for _, q in pairs])
    return Schedule(element, start, start + instance.run_time_us[np.arange(len(start)), element])


def _yardsticks(problem: Problem, layout: _Layout, key: tuple[str, str], objective: str) -> tuple[Yardstick, Yardstick]:
    from ...costmodels.soc import bounds

    instance = layout.instance
    design = tuple(int(i) for i in problem.baselines["heft"]())
    value = float(problem.evaluate(design).objective[0])
    reference = Yardstick("heft", value, "HEFT (Topcuoglu et al. 2002), every cluster at its highest frequency", design)
    row = _stored().get(key)
    if objective != "makespan":
        makespan = int(row["bound_us"]) if row else bounds.makespan_bound(instance)
        of_energy = {"highest": bounds.energy_bound_j, "chosen": bounds.energy_bound_of_all_levels_j}
        energy = of_energy[layout.frequency](instance, makespan)
        limit = energy if objective == "energy" else energy * makespan * 1e-6
        how = "least dynamic energy of every task, and leakage for as long as the makespan's bound"
        return reference, Yardstick("bound", limit, how)
    if row is None:
        limit = float(bounds.makespan_bound(instance))
        return reference, Yardstick("bound", limit, "critical path and load; dsegym bound computes a better one")
    proven = row["proven"] == "yes"
    best = tuple(int(i) for i in layout.design_of(_stored_schedule(row, instance)))
    reached = proven and float(problem.evaluate(best).objective[0]) == float(row["bound_us"])
    source = f"{row['method']}: dsegym bound --store"
    return reference, Yardstick(
        "optimum" if proven else "bound", float(row["bound_us"]), source, best if reached else None
    )


def _baselines(layout: _Layout, key: tuple[str, str]) -> Mapping[str, Callable[[], Sequence[int]]]:
    from ...costmodels.soc.heuristics import HEURISTICS, run_heuristic

    def of(name: str) -> Callable[[], Sequence[int]]:
        return functools.cache(lambda: tuple(map(int, layout.design_of(run_heuristic(name, layout.instance)))))

    makers = {name: of(name) for name in HEURISTICS}
    row = _stored().get(key)
    if row is not None:
        makers["cp_sat"] = lambda: tuple(map(int, layout.design_of(_stored_schedule(row, layout.instance))))
    return makers


def _build(scenario_id: str, graph: str, platform: str, objective: str, space: str, frequency: str) -> Problem:
    instance = get_instance(graph, platform)
    if len(instance) > MAX_TASKS:
        raise DsegymError(f"Graph '{graph}' has {len(instance)} tasks; at most {MAX_TASKS} are scheduled.")
    if not instance.platform.has_power and (objective != "makespan" or frequency == "chosen"):
        raise DsegymError(
            f"The power of {instance.platform.name} is unknown: "
            "only objective=makespan and frequency=highest are allowed."
        )
    layout = _Layout(instance, space, frequency)
    key = (graph, instance.platform.name)
    baselines = _baselines(layout, key)
    unknown = Yardstick("", float("nan"), "")
    forms = dict(ONE_SHOT_FORMS)
    if frequency == "highest":
        forms = {"sequential": StaticScheduling, "parametric": ONE_SHOT_FORMS["parametric"]}
    fields: dict[str, Any] = {
        "scenario": scenario_id,
        "options": {
            "graph": graph,
            "platform": platform,
            "objective": objective,
            "space": space,
            "frequency": frequency,
        },
        "space": layout.design_space,
        "objective": OBJECTIVES[objective],
        "cost": _cost_function(space, frequency, objective),
        "forms": forms,
        "baselines": baselines,
        "batch_sizes": BATCH_SIZES,
        "notes": (*NOTES, *(note for note in (instance.graph.source, instance.platform.source) if note)),
    }
    from ...costmodels.soc.heuristics import run_heuristic

    params = _params(instance, layout, run_heuristic("heft", instance).makespan_us)
    bare = Problem(params=params, reference=unknown, bound=unknown, **fields)
    reference, bound = _yardsticks(bare, layout, key, objective)
    params = params._replace(reference=np.float32(reference.value))
    return Problem(
        params=params,
        reference=reference,
        bound=bound,
        breakdown=functools.partial(_break_down, layout, params),
        diagram=functools.partial(_draw, layout, params),
        **fields,
    )


def _draw(layout: _Layout, params: Params, design: Any) -> Diagram:
    """The Gantt chart of a design."""
    instance, schedule = layout.schedule_of(design, params)
    return gantt.draw_schedule(instance, schedule, f"{instance.graph.name}: makespan {schedule.makespan_us:,} us")


def _break_down(layout: _Layout, params: Params, values: Mapping[str, Any]) -> Breakdown:
    """One design, task by task."""
    design = layout.design_space.encode(values)
    instance, schedule = layout.schedule_of(design, params)
    metrics = jax.jit(_cost_function(layout.space, layout.frequency, "makespan"))(design, params).metrics
    totals: dict[str, Any] = {"makespan_us": schedule.makespan_us}
    if instance.platform.has_power:
        totals |= {"energy_j": float(metrics.energy_j), "edp_js": float(metrics.edp_js)}
    names = instance.platform.element_names
    busy = np.bincount(schedule.element, schedule.finish_us - schedule.start_us, instance.elements)
    totals["mean_busy_share"] = float(busy.mean() / max(schedule.makespan_us, 1))
    rows = [
        {
            "task": instance.graph.tasks[i].name,
            "kernel": instance.graph.tasks[i].kernel,
            "element": names[schedule.element[i]],
            "start_us": int(schedule.start_us[i]),
            "finish_us": int(schedule.finish_us[i]),
        }
        for i in schedule.order
    ]
    return Breakdown(totals, rows, (*NOTES, *(note for note in (instance.graph.source,) if note)))


def core_instances() -> Sequence[Mapping[str, str]]:
    """Every graph of the library on its own platform, and generated ones."""
    fixed = {"platform": OWN, "objective": "makespan", "space": "order_and_element", "frequency": "highest"}
    return [{"graph": graph, **fixed} for graph in (*graph_names(), *GENERATED)]


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    rows = []
    for name in graph_names():
        graph, row = get_graph(name), _stored().get((name, home_platform(name)), {})
        rows.append(
            {
                "graph": name,
                "tasks": len(graph),
                "edges": len(graph.edges),
                "platform": home_platform(name),
                "best known (us)": row.get("best_us", ""),
                "bound (us)": row.get("bound_us", ""),
                "proven": row.get("proven", ""),
            }
        )
    return (("Graphs", rows),)


def _bounds(options: Mapping[str, str], progress: Callable[[int, int], None] = lambda done, total: None):
    """Best schedule and bound of the makespan by CP-SAT.

    Returns:
        One row: the instance, and its platform's name; the bound in us, the best makespan in us, whether that is proven
        optimal, the method, HEFT's makespan, and the best schedule as `start@element` of each task.
    """
    from ...costmodels.soc.exact import solve
    from ...costmodels.soc.heuristics import HEURISTICS, run_heuristic

    instance = get_instance(options["graph"], options["platform"])
    schedules = [run_heuristic(name, instance) for name in HEURISTICS]
    progress(1, 2)
    seconds = SECONDS[len(instance) > SMALL]
    found = solve(instance, hint=min(schedules, key=lambda each: each.makespan_us), time_limit_s=seconds)
    progress(2, 2)
    best = min([found.schedule, *schedules], key=lambda each: each.makespan_us)
    method = "CP-SAT, proven" if found.optimal else f"CP-SAT, stopped after {seconds:g} s"
    pairs = zip(best.start_us.tolist(), best.element.tolist(), strict=True)
    return [
        {
            **{key: options[key] for key in ("graph", "platform", "objective", "space", "frequency")},
            "on": instance.platform.name,
            "bound_us": found.bound_us,
            "best_us": best.makespan_us,
            "proven": "yes" if found.optimal else "no",
            "method": method,
            "heft_us": run_heuristic("heft", instance).makespan_us,
            "best_schedule": " ".join(f"{start}@{element}" for start, element in pairs),
        }
    ]


SMALL = 30  # tasks; graphs of the core up to this size are solved to the optimum
SECONDS = (900.0, 60.0)  # of CP-SAT at most: for small graphs, and for larger ones

SCENARIO = Scenario(
    summary="Schedule a task graph, known beforehand, on the processing elements of a system on chip.",
    options={
        "graph": Option(
            "top1",
            graph_names,
            "what is scheduled; a generated graph (random_30_3_ccr1_s1, rows_4_40_s1), or a file of yours",
            lambda value: is_generated_name(value) or is_graph_file(value),
            "random_TASKS_ELEMENTS_ccrCCR_sSEED, rows_ELEMENTS_TASKS_sSEED, or a file: .json, .txt, .fjs, .jsp",
        ),
        "platform": Option(
            OWN,
            lambda: (OWN, *platform_names()),
            "the system on chip",
            is_platform_name,
            "bal_mmM_fftF_vitV with 0 to 16 accelerators of each kind",
        ),
        "objective": Option("makespan", tuple(OBJECTIVES), "what is minimised"),
        "space": Option("order_and_element", ("order_and_element", "order"), "what a design is"),
        "frequency": Option("highest", ("highest", "chosen"), "of the clusters: fixed, or part of the design"),
    },
    build=_build,
    core=core_instances,
    facts=_facts,
    bounds=_bounds,
    stored_bounds="costmodels/soc/bounds.csv",
)
