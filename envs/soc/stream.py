"""dsegym/SocSchedulingStream-v0: assign the tasks of jobs that keep arriving to the elements of a system on chip.

The rules: docs/soc_scheduling.md. The game: `costmodels/soc/stream_game.py`. J slots for jobs, N tasks of a job at
most, P elements, A jobs of a trace.

A design is the parameter vector of the weighted rule (`costmodels/soc/rules.py`): how tasks and elements are chosen,
six weights of a task's features and six of an element's. A search costs designs on 16 traces; scores are taken on 16
others (`held_out`); environments play others again, drawn at `reset` from 128.

| form | action |
|---|---|
| `decisions` | the element for the task that is offered: Discrete(P) |
| `pairs` | any ready task and its element: Discrete(J * N * P), (slot * N + task) * P + element |
| `parametric`, `sequential` | the weighted rule's parameters, as of a one-shot family: what the leaderboard ranks |

An action that is not legal counts as the offered task where it is estimated to finish first;
`info["illegal_actions"]` counts those. Reward: minus the growth of the objective over the reference; for the latency
that is -(time that passed) x (jobs in the system) / (A * reference), and the return is -average latency / reference.
`info["elapsed_us"]` is the time that passed, for discounting by it: gamma ** (elapsed_us / unit).
Observation: float32[6 P + 5 + 7 J], `StreamScheduling.features`.
Termination: when every job of the trace has left.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/SocSchedulingStream-v0", jobs="top", count=20)
    >>> observation, info = env.reset(seed=0)
    >>> info["action_mask"].tolist()
    [1, 1, 1]
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from ...costmodels.errors import DsegymError
from ...costmodels.soc import gantt, rules, simulator
from ...costmodels.soc import stream_game as game
from ...costmodels.soc.instance import Instance
from ...costmodels.soc.library import (
    MIXES,
    OWN,
    get_instance,
    get_mix,
    is_platform_name,
    mix_name,
    mix_rows,
    platform_names,
    source_notes,
)
from ...costmodels.soc.model import NEVER
from ...costmodels.soc.padding import padded_stream, stream_sizes
from ...costmodels.soc.replay import replay_actions, replay_rule
from ...costmodels.soc.stream_bounds import stream_bound
from ...costmodels.soc.stream_game import POOL, TRACES, Params, State
from ..core.evaluation import Evaluation, Objective, Yardstick
from ..core.features import Discrete, Feature
from ..core.functional import FunctionalEnv
from ..core.one_shot import ONE_SHOT_FORMS
from ..core.options import Options, choice, custom, file_or_name, number, number_or_own, whole, whole_or_own
from ..core.policies import break_down
from ..core.problem import Problem, costed
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Heuristics, Parameter

__all__ = ["HEURISTICS", "SCENARIO", "StreamOptions", "StreamScheduling", "weights_of"]

_DRAWN = 12  # jobs in a picture
_HIGHEST = 10.0  # observations are clipped here
BATCH_SIZES = (1, 16)
MAX_TASKS = 2_000_000  # of all traces of an instance

NOTES = (
    "Links do not contend and schedulers take no time; DS3's temperatures and governors are not modelled.",
    "Arrivals and noise are synthetic: exponential gaps, normal factors.",
)
OBJECTIVES = {
    "latency": Objective("latency", "us", "average time of a job in the system"),
    "energy": Objective("energy", "J", "of all clusters until the last job leaves, averaged over traces"),
    "edp": Objective("edp", "J s", "energy times average latency, averaged over traces"),
}

_WEIGHTS = (-4, -2, -1, 0, 1, 2, 4)
SPACE = DesignSpace(
    (
        Parameter("selection", ("task", "pair"), ordered=False, summary="the task first, or task and element at once"),
        *(
            Parameter(f"task_{name}", _WEIGHTS, summary=f"a task goes first for: {text}")
            for name, text in rules.TASK_FEATURES.items()
        ),
        *(
            Parameter(f"element_{name}", _WEIGHTS, summary=f"an element is avoided for: {text}")
            for name, text in rules.ELEMENT_FEATURES.items()
        ),
    )
)
REFERENCE = "eft"
# The classic rules as weights; ties are the weighted rule's.
HEURISTICS = Heuristics(
    SPACE,
    {**dict.fromkeys(SPACE.names, 0), "selection": "task"},
    {
        "eft": {"element_finish": 1},
        "met": {"element_run": 1},
        "olb": {"element_available": 1},
        "etf_finish": {"selection": "pair", "element_finish": 1},
        "etf_start": {"selection": "pair", "element_start": 1},
        "stf": {"task_least": -1, "element_run": 1},
        "max_min": {"task_finish": 1, "element_finish": 1},
        "sufferage": {"task_sufferage": 1, "element_finish": 1},
        "heft_rt": {"task_mean": 1, "element_available": 1, "element_run": 1},
    },
)

_STATUSES = {
    "waiting": simulator.WAITING,
    "ready": simulator.READY,
    "assigned": simulator.ASSIGNED,
    "running": simulator.RUNNING,
    "done": simulator.DONE,
}
# What there is a number of (each element, the offered task, each slot), the feature, its range, its meaning.
_FEATURES = (
    ("elements", "element_finish", -1.0, _HIGHEST, "estimated finish of the offered task, from now; -1: cannot run it"),
    ("elements", "element_data", -1.0, _HIGHEST, "when the offered task's data are there, from now; -1: cannot run it"),
    ("elements", "element_available", 0.0, _HIGHEST, "when the element is estimated to be available, from now"),
    ("elements", "element_run_time", -1.0, _HIGHEST, "run time of the offered task; -1: cannot run it"),
    ("elements", "element_can_run", 0.0, 1.0, "1 if the element can run the offered task"),
    ("elements", "element_idle", 0.0, 1.0, "1 if nothing runs on the element"),
    ("task", "task_rank", 0.0, _HIGHEST, "upward rank of the offered task"),
    ("task", "task_mean", 0.0, _HIGHEST, "mean run time of the offered task"),
    ("task", "task_least", 0.0, _HIGHEST, "least run time of the offered task"),
    ("task", "task_age", 0.0, _HIGHEST, "time since the job of the offered task was injected"),
    ("task", "tasks_ready", 0.0, _HIGHEST, "all tasks that are ready over N"),
    ("slots", "slot_taken", 0.0, 1.0, "1 if a job is in the slot"),
    ("slots", "slot_age", 0.0, _HIGHEST, "time since the slot's job was injected"),
    *(("slots", f"slot_{name}", 0.0, 1.0, f"tasks of the slot's job that are {name}, over N") for name in _STATUSES),
)


@dataclass(frozen=True)
class StreamOptions(Options):
    """What tells instances apart."""

    jobs: str = custom(
        "top",
        tuple(MIXES),
        parse=lambda given: mix_name(str(given)),
        also="graphs of one platform with whole shares up to 999, as wifi_tx:3+wifi_rx:1",
        summary="which kinds of jobs arrive",
    )
    platform: str = file_or_name(
        OWN,
        lambda: (OWN, *platform_names()),
        is_platform_name,
        "bal_mmM_fftF_vitV with 0 to 16 accelerators of each kind",
        "the system on chip",
    )
    objective: str = choice("latency", tuple(OBJECTIVES), "what is minimised")
    interval_us: float | None = number_or_own(
        (), least=1, most=1e6, unit="us", summary="us between arrivals on average; own: the mix's"
    )
    queue: int | None = whole_or_own(
        (), least=1, most=32, unit="jobs", summary="jobs in the system at most; own: the mix's"
    )
    noise: float = number(0, (0, 0.05, 0.1, 0.25), least=0, most=1, summary="relative deviation of run times")
    count: int = whole(60, (20, 60), least=1, most=10_000, unit="jobs", summary="jobs of a trace")
    start: str = choice("empty", ("empty", "full"), "of the system at time 0: one job, or as many as fit")


def weights_of(design: Array) -> rules.Weights:
    """The weights of designs, int32[..., 14]."""
    values = SPACE.values(jnp.asarray(design))
    task, element = (
        jnp.stack([values[f"{of}_{name}"] for name in names], axis=-1)
        for of, names in (("task", rules.TASK_FEATURES), ("element", rules.ELEMENT_FEATURES))
    )
    return rules.Weights(values["selection"], task, element)


@functools.cache
def _cost_function(objective: str) -> Callable[[Array, Params], Evaluation]:
    """The cost function of an objective, one object for all instances: means over traces."""

    def cost(design: Array, params: Params) -> Evaluation:
        metrics = game.cost_of(weights_of(design), params)
        return Evaluation(metrics, game.objective_of(metrics, objective), jnp.bool_(True))

    return cost


@dataclass(frozen=True)
class StreamScheduling(FunctionalEnv[State, Params]):
    """Decision by decision; see the module's docstring.

    Attributes:
        jobs, slots, tasks, elements: A, J, N and P.
        horizon: the most tasks that a trace has.
        objective: that rewards sum to.
        pairs: whether actions name tasks.
    """

    jobs: int
    slots: int
    tasks: int
    elements: int
    horizon: int
    objective: str
    pairs: bool = False
    game = game
    replayable = False  # a policy's decisions on one trace are no parameters of the weighted rule

    @property
    def action_space(self) -> Discrete:
        """The element, and with `pairs` its task."""
        return Discrete(self.elements * (self.slots * self.tasks if self.pairs else 1))

    @property
    def features(self) -> Sequence[Feature]:
        """Times are over the mean upward rank of a job's head, clipped; 0 where no task is offered."""

        return tuple(
            Feature(name, () if each == "task" else (getattr(self, each),), low, high, meaning)
            for each, name, low, high, meaning in _FEATURES
        )

    def params_of(self, problem: Problem) -> Params:
        """The problem's, with the reference's value on the traces of the search."""
        return problem.params._replace(reference=np.float32(problem.reference.value))

    def sizes(self, params: Params) -> Mapping[str, int]:
        """See `stream_sizes`."""
        return stream_sizes(params)

    def padded(self, params: Params, sizes: Mapping[str, int]) -> tuple[StreamScheduling, Params]:
        """Actions count in the larger shape. Instances of other numbers of jobs A have another environment."""
        slots, tasks, elements = sizes["slots"], sizes["tasks"], sizes["elements"]
        env = replace(self, slots=slots, tasks=tasks, elements=elements, horizon=self.jobs * tasks)
        return env, padded_stream(params, sizes)

    def scored_params(self, problem: Problem) -> Params:
        """The held-out traces stand where episodes draw theirs from."""
        params = super().scored_params(problem)
        return params._replace(pool=params.traces)

    def case_count(self, params: Params) -> int:
        """Every trace is a case."""
        return len(params.pool.arrival_us)

    def start_case(self, case: Array, params: Params) -> State:
        """Begins a trace."""
        return game.start_trace(case, params)

    def mean_evaluation(self, states: State, params: Params) -> Evaluation:
        """Means over traces."""
        metrics = game.mean_metrics(params.arrays, states.stream, self.jobs, params.own)
        return Evaluation(metrics, game.objective_of(metrics, self.objective), jnp.bool_(True))

    def advance(self, state: State, action: Array, params: Params) -> State:
        """Assigns a task, and lets time pass until the next one is ready."""
        return game.advance(state, action, params, pairs=self.pairs)

    def reward(self, state: State, next_state: State, params: Params) -> Array:
        """float32: minus the growth of the objective over the reference."""
        if self.objective == "latency":  # exact differences of whole numbers
            passed = (next_state.stream.occupancy_us - state.stream.occupancy_us).astype(jnp.float32)
            return -passed / (self.jobs * params.reference)
        before, after = (self.evaluation(each, params).objective for each in (state, next_state))
        return (before - after) / params.reference

    def action_mask(self, state: State, params: Params) -> Array:
        """bool[P]: elements that can run the offered task; or bool[J * N * P]: every ready task's. All at the end."""
        return game.legal(state.stream, params, pairs=self.pairs)

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        stream, facts = state.stream, params.facts
        place, slot, task = simulator.offered(stream)
        given, kind = simulator.estimates(params.arrays, stream, slot, task), stream.kind[slot]
        tasks = self.tasks if params.own is None else jnp.asarray(params.own.tasks)
        can, scale, taken = given.run_time < NEVER, 1.0 / params.unit_us, stream.job >= 0
        of_offered = {
            "element_finish": jnp.where(can, (given.finish - stream.now) * scale, -1.0),
            "element_data": jnp.where(can, (given.data - stream.now) * scale, -1.0),
            "element_available": jnp.maximum(stream.available - stream.now, 0) * scale,
            "element_run_time": jnp.where(can, given.run_time * scale, -1.0),
            "element_can_run": can,
            "element_idle": stream.ends_us == NEVER,
            "task_rank": jnp.asarray(facts.rank)[kind, task] * scale,
            "task_mean": jnp.asarray(facts.mean)[kind, task] / 1024 * scale,
            "task_least": jnp.asarray(facts.least)[kind, task] * scale,
            "task_age": (stream.now - stream.injection_us[slot]) * scale,
            "tasks_ready": jnp.sum(stream.status == simulator.READY) / tasks,
        }
        of_slots = {
            "slot_taken": taken,
            "slot_age": jnp.where(taken, stream.now - stream.injection_us, 0) * scale,
            **{f"slot_{name}": jnp.sum(stream.status == status, axis=1) / tasks for name, status in _STATUSES.items()},
        }
        if params.own is not None:
            exists = jnp.asarray(params.arrays.cluster) >= 0
            of_offered = {
                name: jnp.where(exists, value, 0.0) if jnp.ndim(value) else value for name, value in of_offered.items()
            }
        shown = {name: jnp.where(place < NEVER, value, 0.0) for name, value in of_offered.items()} | of_slots
        return {name: jnp.clip(value.astype(jnp.float32), -1.0, _HIGHEST) for name, value in shown.items()}

    def step_info(self, state: State, action: Array, next_state: State, params: Params) -> dict[str, Array]:
        """`elapsed_us`, int32: the time that passed; `jobs_in_system`, int32, now."""
        jobs = jnp.sum(next_state.stream.job >= 0, dtype=jnp.int32)
        return {"elapsed_us": next_state.elapsed_us, "jobs_in_system": jobs}

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """What the weighted rule of a design assigns next; without `pairs`, where it sends the task that is offered."""
        return game.decide(weights_of(design), state, params, pairs=self.pairs)

    def evaluation(self, state: State, params: Params) -> Evaluation:
        """Costs of the trace that was played."""
        metrics = game.metrics_of(params.arrays, state.stream, self.jobs, params.own)
        return Evaluation(metrics, game.objective_of(metrics, self.objective), jnp.bool_(True))

    def final_info(self, state: State, params: Params) -> dict[str, Array]:
        """As every family's, on the episode's trace, and its number."""
        return super().final_info(state, params) | {"trace": state.number}

    def picture(self, problem: Problem, first: State, actions: Sequence[object]) -> Diagram:
        """The Gantt chart of an episode so far."""
        options = problem.instance
        assert isinstance(options, StreamOptions)
        runs, last = replay_actions(problem.params, first, actions, pairs=self.pairs)
        title = f"{options.jobs}: {int(last.completed)} of {self.jobs} jobs left by {int(last.now):,} us"
        return gantt.draw_runs(_instances(options), runs, title)


def _instances(options: StreamOptions) -> list[Instance]:
    mix = get_mix(options.jobs)
    return [get_instance(graph, mix.platform if options.platform == OWN else options.platform) for graph in mix.graphs]


def build(options: StreamOptions) -> Problem:
    """An instance."""
    mix, instances = get_mix(options.jobs), _instances(options)
    platform, jobs = instances[0].platform, options.count
    if options.objective != "latency" and not platform.has_power:
        raise DsegymError(f"The power of {platform.name} is unknown; only objective=latency is allowed.")
    tasks = max(map(len, instances))
    most = MAX_TASKS // ((POOL + 2 * TRACES) * tasks)
    if jobs > most:
        raise DsegymError(f"count = {jobs} jobs are too many for {options.jobs}; at most {most} are allowed.")
    params, held_out = game.params_of(
        instances,
        probabilities=mix.probabilities,
        mean_interval_us=mix.mean_interval_us if options.interval_us is None else options.interval_us,
        noise=options.noise,
        jobs=jobs,
        slots=mix.queue if options.queue is None else options.queue,
        full=options.start == "full",
    )
    counts = np.array(list(map(len, instances)))
    env = StreamScheduling(
        jobs=jobs,
        slots=len(params.queue),
        tasks=tasks,
        elements=instances[0].elements,
        horizon=max(int(counts[pool.kind].sum(1).max()) for pool in (params.pool, held_out.traces)),
        objective=options.objective,
    )

    source = "earliest finish time of the task that is offered"

    def draw(design: np.ndarray) -> Diagram:
        runs, last = replay_rule(params, weights_of(design), _DRAWN)
        count = min(jobs, _DRAWN)
        average = f"average latency {int(last.latency_us) / count:,.1f} us"
        return gantt.draw_runs(instances, runs, f"{options.jobs}: first {count} jobs of a trace, {average}")

    problem = Problem(
        instance=options,
        space=SPACE,
        objective=OBJECTIVES[options.objective],
        cost=_cost_function(options.objective),
        params=params,
        held_out_params=held_out,
        reference_rule=costed(REFERENCE, lambda problem: HEURISTICS.design(REFERENCE), source),
        bound_rule=lambda problem: Yardstick("bound", *stream_bound(instances, held_out.traces, options.objective)),
        forms={"decisions": lambda problem: env, "pairs": lambda problem: replace(env, pairs=True), **ONE_SHOT_FORMS},
        breakdown=lambda values: break_down(problem, values),
        baselines=HEURISTICS.makers,
        diagram=draw,
        batch_sizes=BATCH_SIZES,
        notes=(*NOTES, *source_notes(instances)),
    )
    return problem


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    tasks = [{"parameter": f"task_{name}", "of the task": text} for name, text in rules.TASK_FEATURES.items()]
    elements = [
        {"parameter": f"element_{name}", "of the element": text} for name, text in rules.ELEMENT_FEATURES.items()
    ]
    return (("Jobs", mix_rows()), ("A task goes first for", tasks), ("An element is avoided for", elements))


SCENARIO = Scenario(
    summary="Assign the tasks of arriving jobs to the processing elements of a system on chip.",
    options_type=StreamOptions,
    build=build,
    core=[{"jobs": jobs, "noise": noise} for jobs in MIXES for noise in (0, 0.1)],
    facts=_facts,
)
