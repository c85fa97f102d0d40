"""dsegym/SocSchedulingStream-v0: assign the tasks of jobs that keep arriving to the elements of a system on chip.

The rules: docs/soc_scheduling.md. Cost model: `costmodels/soc/simulator.py`. J slots for jobs, N tasks of a job at
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
Observation: float32 in [-1, 10], times over the mean upward rank of a job's head: of each element [estimated finish of
the offered task, its data, availability, run time, can run it, is idle]; of the offered task [upward rank, mean and
least run time, age of its job, tasks ready]; of each slot [taken, age, tasks waiting, ready, assigned, running,
done over N].
Termination: when every job of the trace has left.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/SocSchedulingStream-v0", jobs="top", count="20")
    >>> observation, info = env.reset(seed=0)
    >>> info["action_mask"].tolist()
    [1, 1, 1]
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.breakdown import Breakdown
from ...costmodels.diagram import Diagram
from ...costmodels.errors import DsegymError
from ...costmodels.soc import gantt, rules, simulator
from ...costmodels.soc.instance import Instance
from ...costmodels.soc.library import MIXES, get_instance, is_platform_name, platform_names
from ...costmodels.soc.model import NEVER
from ...costmodels.soc.replay import Run, replay
from ...costmodels.soc.traces import draw_traces
from ..core.functional import ONE_SHOT_FORMS, FunctionalEnv
from ..core.problem import Evaluation, Objective, Problem, Yardstick
from ..core.scenarios import Option, Scenario, number_between, whole_between
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "Params", "StreamScheduling"]

OWN = "own"
TRACES = 16  # that a design is costed on
POOL = 128  # traces that environments draw from
_SEARCH, _HELD_OUT, _TRAINING = 1, 2, 3  # the first word of each set's seeds
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
# The classic rules as weights; ties are the weighted rule's.
_CLASSICS: Mapping[str, Mapping[str, object]] = {
    "eft": {"element_finish": 1},
    "met": {"element_run": 1},
    "olb": {"element_available": 1},
    "etf_finish": {"selection": "pair", "element_finish": 1},
    "etf_start": {"selection": "pair", "element_start": 1},
    "stf": {"task_least": -1, "element_run": 1},
    "max_min": {"task_finish": 1, "element_finish": 1},
    "sufferage": {"task_sufferage": 1, "element_finish": 1},
    "heft_rt": {"task_mean": 1, "element_available": 1, "element_run": 1},
}
REFERENCE = "eft"


class Metrics(NamedTuple):
    """What a rule costs, averaged over traces. Scalars, float32."""

    latency_us: Any  # of a job
    energy_j: Any  # not a number where the platform's power is unknown
    edp_js: Any
    jobs_per_ms: Any  # throughput


class Params(NamedTuple):
    """An instance."""

    arrays: Any  # simulator.Arrays
    facts: Any  # rules.Facts
    traces: Any  # simulator.Trace, leaves [TRACES, ...]
    pool: Any  # simulator.Trace, leaves [POOL, ...]
    queue: Any  # int32[J], its length is the number of slots
    unit_us: Any  # float32, us, of observations
    reference: Any  # float32, of the objective, on the traces of the search


def _metrics(arrays: simulator.Arrays, state: simulator.State, jobs: int) -> Metrics:
    """Costs of streams that are over (or as far as they are), leaves [...]."""
    latency = state.occupancy_us.astype(jnp.float32) / jobs
    if not arrays.power.shape[0]:
        energy = jnp.full_like(latency, jnp.nan)
    else:
        energy = jnp.sum(state.residency_us.astype(jnp.float32) * arrays.power, axis=(-2, -1)) * 1e-6
    return Metrics(latency, energy, energy * latency * 1e-6, jobs / jnp.maximum(state.now, 1).astype(jnp.float32) * 1e3)


def _objective(metrics: Metrics, objective: str) -> jax.Array:
    return {"latency": metrics.latency_us, "energy": metrics.energy_j, "edp": metrics.edp_js}[objective]


def _weights_of(designs: jax.Array) -> rules.Weights:
    """The weights of designs, int32[..., 14]."""
    values = jnp.asarray(_WEIGHTS, jnp.int32)
    tasks = len(rules.TASK_FEATURES)
    return rules.Weights(designs[..., 0], values[designs[..., 1 : 1 + tasks]], values[designs[..., 1 + tasks :]])


@jax.custom_batching.custom_vmap
def _play(design: Any, params: Params) -> simulator.State:
    """The final states of all traces under the rule of one design, leaves [TRACES, ...]."""
    return jax.tree.map(lambda leaf: leaf[0], _play_all(design[None], params))


@_play.def_vmap
def _(axis_size: int, in_batched: Any, designs: Any, params: Params) -> tuple[simulator.State, Any]:
    """One loop for all designs: `vmap` of a loop would select the whole state of every lane at every step."""
    del axis_size, in_batched  # only designs are ever batched
    states = _play_all(designs, params)
    return states, jax.tree.map(lambda _: True, states)


def _play_all(designs: Any, params: Params) -> simulator.State:
    return simulator.play(
        params.arrays,
        params.traces,
        lambda weights: rules.weighted_rule(params.facts, weights),
        _weights_of(designs),
        queue=len(params.queue),
    )


@functools.cache
def _cost_function(objective: str) -> Callable[[Any, Params], Evaluation]:
    """The cost function of an objective, one object for all instances."""

    def cost(design: Any, params: Params) -> Evaluation:
        each = _metrics(params.arrays, _play(design, params), params.traces.arrival_us.shape[1])
        metrics = Metrics(*(jnp.mean(leaf) for leaf in each))
        return Evaluation(metrics, _objective(metrics, objective), jnp.bool_(True))

    return cost


class EnvState(NamedTuple):
    """Where an episode stands."""

    stream: Any  # simulator.State
    number: Any  # int32, of the trace in the pool
    elapsed_us: Any  # int32, that passed in the last step
    illegal: Any  # int32, actions that counted as another


class StreamScheduling(FunctionalEnv):
    """Decision by decision; see the module's docstring."""

    replayable = False  # a policy's decisions on one trace are no parameters of the weighted rule

    def __init__(self, problem: Problem, *, pairs: bool = False):
        super().__init__()
        params: Params = problem.params
        self._objective, self._pairs = problem.options["objective"], pairs
        _, self._most, self._elements = params.arrays.run_time.shape
        self._jobs, self._queue = params.pool.arrival_us.shape[1], len(params.queue)
        tasks = (params.arrays.waiting != simulator.EMPTY).sum(1)[np.asarray(params.pool.kind)].sum(1)
        self.horizon = int(tasks.max())
        self.reference = problem.reference.value
        self._actions = self._elements * (self._queue * self._most if pairs else 1)
        self.action_space = gymnasium.spaces.Discrete(self._actions)
        size = 6 * self._elements + 5 + 7 * self._queue
        self.observation_space = gymnasium.spaces.Box(-1.0, _HIGHEST, (size,), np.float32)

    def _trace(self, number: Any, params: Params) -> simulator.Trace:
        return simulator.Trace(*(jnp.asarray(leaf)[number] for leaf in params.pool))

    def initial(self, rng: Any, params: Any = None) -> EnvState:
        """A trace of the pool, at 0, when its first task is ready."""
        number = jax.random.randint(rng, (), 0, POOL)
        state = simulator.initial(params.arrays, self._trace(number, params), queue=self._queue)
        return EnvState(state, number, jnp.int32(0), jnp.int32(0))

    def transition(self, state: EnvState, action: Any, rng: Any, params: Any = None) -> EnvState:
        """Assigns a task, and lets time pass until the next one is ready."""
        del rng
        arrays, trace, stream = params.arrays, self._trace(state.number, params), state.stream
        choice, given, legal = self._choice(stream, action, params)
        moved = simulator.assign(arrays, trace, stream, choice, given, ~simulator.is_over(trace, stream))

        def nothing_to_decide(each):
            return ~jnp.any(each.status == simulator.READY) & ~simulator.is_over(trace, each)

        def go_on(each):
            each, more = simulator.start_one(each, jnp.bool_(True))
            return simulator.advance(arrays, trace, each, ~more)

        moved = jax.lax.while_loop(nothing_to_decide, go_on, moved)
        return EnvState(moved, state.number, moved.now - stream.now, state.illegal + ~legal)

    def _choice(self, stream: simulator.State, action: Any, params: Params) -> tuple[simulator.Choice, Any, Any]:
        """What an action means: the assignment, its estimates, and whether the action was legal."""
        action = jnp.clip(jnp.asarray(action, jnp.int32), 0, self._actions - 1)
        _, slot, task = simulator.offered(stream)
        element, legal = action % self._elements, jnp.bool_(True)
        if self._pairs:
            wanted = action // self._elements
            legal = stream.status.ravel()[wanted] == simulator.READY
            slot = jnp.where(legal, wanted // self._most, slot)
            task = jnp.where(legal, wanted % self._most, task)
        can = jnp.asarray(params.arrays.run_time)[stream.kind[slot], task] < NEVER
        legal = legal & can[element]
        if self._pairs:  # an element that cannot run the wanted task: back to the one that is offered
            _, first_slot, first_task = simulator.offered(stream)
            slot, task = jnp.where(legal, slot, first_slot), jnp.where(legal, task, first_task)
        given = simulator.estimates(params.arrays, stream, slot, task)
        element = jnp.where(legal, element, jnp.argmin(given.finish).astype(jnp.int32))
        return simulator.Choice(slot, task, element), given, legal

    def terminal(self, state: EnvState, rng: Any, params: Any = None) -> jax.Array:
        """Whether every job has left."""
        del rng, params
        return state.stream.completed >= self._jobs

    def _value(self, state: EnvState, params: Params) -> jax.Array:
        return _objective(_metrics(params.arrays, state.stream, self._jobs), self._objective)

    def reward(self, state: EnvState, action: Any, next_state: EnvState, rng: Any, params: Any = None) -> Any:
        """float32: minus the growth of the objective over the reference."""
        del action, rng
        if self._objective == "latency":  # exact differences of whole numbers
            passed = (next_state.stream.occupancy_us - state.stream.occupancy_us).astype(jnp.float32)
            return -passed / (self._jobs * params.reference)
        return (self._value(state, params) - self._value(next_state, params)) / params.reference

    def action_mask(self, state: EnvState, params: Any = None) -> jax.Array:
        """bool[P]: elements that can run the offered task; or bool[J * N * P]: every ready task's. All at the end."""
        stream, run_time = state.stream, jnp.asarray(params.arrays.run_time)
        over = state.stream.completed >= self._jobs
        if self._pairs:
            ready = (stream.status == simulator.READY)[:, :, None]
            return ((ready & (run_time[stream.kind] < NEVER)) | over).ravel()
        _, slot, task = simulator.offered(stream)
        return (run_time[stream.kind[slot], task] < NEVER) | over

    def observation(self, state: EnvState, rng: Any, params: Any = None) -> jax.Array:
        """float32[6 P + 5 + 7 J]; see the module's docstring."""
        del rng
        stream, facts = state.stream, params.facts
        place, slot, task = simulator.offered(stream)
        given, kind = simulator.estimates(params.arrays, stream, slot, task), stream.kind[slot]
        can, scale = given.run_time < NEVER, 1.0 / params.unit_us
        of_elements = [
            jnp.where(can, (given.finish - stream.now) * scale, -1.0),
            jnp.where(can, (given.data - stream.now) * scale, -1.0),
            jnp.maximum(stream.available - stream.now, 0) * scale,
            jnp.where(can, given.run_time * scale, -1.0),
            can,
            stream.ends_us == NEVER,
        ]
        of_task = [
            jnp.asarray(facts.rank)[kind, task] * scale,
            jnp.asarray(facts.mean)[kind, task] / 1024 * scale,
            jnp.asarray(facts.least)[kind, task] * scale,
            (stream.now - stream.injection_us[slot]) * scale,
            jnp.sum(stream.status == simulator.READY) / self._most,
        ]
        taken = stream.job >= 0
        states = [simulator.WAITING, simulator.READY, simulator.ASSIGNED, simulator.RUNNING, simulator.DONE]
        of_slots = [taken, jnp.where(taken, stream.now - stream.injection_us, 0) * scale]
        of_slots += [jnp.sum(stream.status == each, axis=1) / self._most for each in states]
        parts = [
            jnp.stack([jnp.asarray(row, jnp.float32) for row in rows]) for rows in (of_elements, of_task, of_slots)
        ]
        parts[:2] = [jnp.where(place < NEVER, part, 0.0) for part in parts[:2]]
        return jnp.clip(jnp.concatenate([part.ravel() for part in parts]), -1.0, _HIGHEST)

    def step_info(self, state: EnvState, action: Any, next_state: EnvState, params: Any = None) -> dict:
        """`elapsed_us`, int32: the time that passed; `jobs_in_system`, int32, now."""
        del state, action, params
        jobs = jnp.sum(next_state.stream.job >= 0, dtype=jnp.int32)
        return {"elapsed_us": next_state.elapsed_us, "jobs_in_system": jobs}

    def evaluation(self, state: EnvState, params: Any = None) -> Evaluation:
        """Costs of the trace that was played."""
        metrics = _metrics(params.arrays, state.stream, self._jobs)
        return Evaluation(metrics, _objective(metrics, self._objective), jnp.bool_(True))

    def transition_info(self, state: Any, action: Any, next_state: Any, params: Any = None) -> dict:
        """The finished episode's objective on its trace, the trace's number, and actions that counted as another."""
        del state, action
        return {
            "objective": self.evaluation(next_state, params).objective,
            "feasible": jnp.bool_(True),
            "trace": next_state.number,
            "illegal_actions": next_state.illegal,
        }

    def picture(self, problem: Problem, first: EnvState, actions: Sequence[Any]) -> Diagram:
        """The Gantt chart of an episode so far.

        Args:
            problem: the instance.
            first: the state after `reset`.
            actions: since then.
        """
        params: Params = problem.params
        trace = simulator.Trace(*(np.asarray(leaf)[int(first.number)] for leaf in params.pool))
        left = iter(actions)

        def choose(stream: simulator.State) -> tuple[simulator.Choice, Any] | None:
            action = next(left, None)
            return None if action is None else self._jitted_choice(stream, action, params)

        runs, last = replay(params.arrays, trace, jax.tree.map(np.asarray, first.stream), choose)
        now = int(last.now)
        title = f"{problem.options['jobs']}: {int(last.completed)} of {self._jobs} jobs left by {now:,} us"
        return _draw_runs(problem.options["jobs"], problem.options["platform"], runs, title)

    @functools.cached_property
    def _jitted_choice(self) -> Any:
        return jax.jit(lambda stream, action, params: self._choice(stream, action, params)[:2])


def _instances(jobs: str, platform: str) -> list[Instance]:
    mix = MIXES[jobs]
    return [get_instance(graph, mix.platform if platform == OWN else platform) for graph in mix.graphs]


def _draw_runs(jobs: str, platform: str, runs: Sequence[Run], title: str) -> Diagram:
    instances = _instances(jobs, platform)
    stays = [
        gantt.Stay(
            run.element,
            run.start_us,
            run.finish_us,
            instances[run.kind].graph.name,
            f"{run.job}.{instances[run.kind].graph.tasks[run.task].name}: job {run.job}, {run.start_us} to "
            f"{run.finish_us} us",
        )
        for run in runs
    ]
    return gantt.draw_stays(instances[0].platform, stays, title)


def _draw(jobs: str, platform: str, params: Params, design: Any) -> Diagram:
    """The Gantt chart of a design: the first jobs of the first trace."""
    trace = simulator.Trace(*(np.asarray(leaf)[0, :_DRAWN] for leaf in params.traces))
    state = jax.tree.map(np.asarray, simulator.initial(params.arrays, trace, queue=len(params.queue)))
    rule = _jitted_rule()
    runs, last = replay(
        params.arrays,
        trace,
        state,
        lambda stream: rule(np.asarray(design, np.int32), params.arrays, params.facts, stream),
    )
    count = len(trace.arrival_us)
    average = int(last.latency_us) / count
    return _draw_runs(jobs, platform, runs, f"{jobs}: first {count} jobs of a trace, average latency {average:,.1f} us")


@functools.cache
def _jitted_rule() -> Any:
    return jax.jit(
        lambda design, arrays, facts, stream: simulator.choose(
            arrays, stream, rules.weighted_rule(facts, _weights_of(design))
        )
    )


def _design(values: Mapping[str, object]) -> tuple[int, ...]:
    """The design of a classic rule: what is not given is 0."""
    neutral = dict.fromkeys(SPACE.names, 0)
    return tuple(int(index) for index in SPACE.encode({**neutral, "selection": "task", **values}))


def _bound(instances: Sequence[Instance], traces: simulator.Trace, objective: str) -> tuple[float, str]:
    """A bound of the objective over traces, and how it is proven.

    No job is faster than alone on the platform; no task costs less than the least dynamic energy at which any number of
    busy elements runs it; and leakage goes on until the last job can have left.
    """
    from ...costmodels.soc import bounds

    latencies, energies = [], []
    for arrival, kind, factor in zip(*traces, strict=True):
        alone = np.array([_alone(instances[k], factor[j]) for j, k in enumerate(kind)])
        latencies.append(alone.mean())
        end = int((arrival + alone).max())
        if instances[0].platform.has_power:
            jobs = [(instances[k], _actual(instances[k], factor[j])) for j, k in enumerate(kind)]
            dynamic = sum(bounds.dynamic_energy_bound_j(instance, times) for instance, times in jobs)
            energies.append(dynamic + bounds.constant_power_w(instances[0]) * end * 1e-6)
    how = "every job alone on the platform: its optimum, or with noise its critical path"
    if objective == "latency":
        return float(np.mean(latencies)), how
    if objective == "energy":
        return float(
            np.mean(energies)
        ), "least dynamic energy of every task, and leakage until the last job can have left"
    products = np.asarray(energies) * np.asarray(latencies) * 1e-6
    return float(products.mean()), "the product of the bounds of energy and latency on each trace"


def _actual(instance: Instance, factor: np.ndarray) -> np.ndarray:
    """int[N, P], us: the run times of a job; -1 where the element cannot run the task."""
    goes_on = np.array([bool(edges) for edges in instance.graph.successors])
    times = np.maximum(instance.run_time_us.astype(np.int64), goes_on[:, None])
    half = 2 ** (simulator.FACTOR_BITS - 1)
    noisy = np.maximum((times * factor[: len(instance), None] + half) >> simulator.FACTOR_BITS, np.minimum(times, 1))
    return np.where(instance.feasible, noisy, -1)


def _alone(instance: Instance, factor: np.ndarray) -> int:
    """us: no less than a job of this instance takes, whatever else there is."""
    from .static import stored_bound_us

    times = _actual(instance, factor)
    least = np.where(times < 0, NEVER, times).min(axis=1)
    finish = np.zeros(len(instance), np.int64)
    for i in range(len(instance)):
        finish[i] = least[i] + max((finish[edge.source] for edge in instance.graph.predecessors[i]), default=0)
    plain = (factor[: len(instance)] == 2**simulator.FACTOR_BITS).all()
    return max(int(finish.max()), stored_bound_us(instance) if plain else 0)


@functools.cache
def _jitted_play() -> Any:
    return jax.jit(jax.vmap(_play, in_axes=(0, None)))


def _break_down(objective: str, params: Params, held_out: Params, values: Mapping[str, Any]) -> Breakdown:
    """A design's costs on every trace beside the reference's."""
    designs = np.stack([SPACE.encode(values), np.array(_design(_CLASSICS[REFERENCE]), np.int32)])
    rows, totals = [], {}
    for name, where in (("search", params), ("held-out", held_out)):
        count = where.traces.arrival_us.shape[1]
        states = _jitted_play()(designs, where)
        metrics = jax.tree.map(np.asarray, _metrics(where.arrays, states, count))
        totals |= {f"{name}_latency_us": float(metrics.latency_us[0].mean())}
        if params.arrays.power.shape[0]:
            totals |= {f"{name}_energy_j": float(metrics.energy_j[0].mean())}
            totals |= {f"{name}_edp_js": float(metrics.edp_js[0].mean())}
        rows += [
            {
                "traces": name,
                "trace": number,
                "latency_us": float(metrics.latency_us[0, number]),
                f"{REFERENCE}_latency_us": float(metrics.latency_us[1, number]),
                "jobs_per_ms": float(metrics.jobs_per_ms[0, number]),
            }
            for number in range(TRACES)
        ]
    return Breakdown(totals, rows, NOTES)


def _build(
    scenario_id: str,
    jobs: str,
    platform: str,
    objective: str,
    interval_us: str,
    queue: str,
    noise: str,
    count: str,
    start: str,
) -> Problem:
    mix, instances = MIXES[jobs], _instances(jobs, platform)
    arrays = simulator.arrays(instances)
    if objective != "latency" and not arrays.power.shape[0]:
        raise DsegymError(f"The power of {instances[0].platform.name} is unknown; only objective=latency is allowed.")
    slots = mix.queue if queue == OWN else int(queue)
    what: dict[str, Any] = {
        "jobs": int(count),
        "probabilities": mix.probabilities,
        "mean_interval_us": float(mix.mean_interval_us if interval_us == OWN else interval_us),
        "noise": float(noise),
        "tasks": arrays.run_time.shape[1],
        "full": slots if start == "full" else 0,
    }
    if (POOL + 2 * TRACES) * what["jobs"] * what["tasks"] > MAX_TASKS:
        most = MAX_TASKS // ((POOL + 2 * TRACES) * what["tasks"])
        raise DsegymError(f"count = {count} jobs are too many for {jobs}; at most {most} are allowed.")
    known = rules.facts(arrays, instances)
    heads = [float(known.rank[t, : len(instance)].max()) for t, instance in enumerate(instances)]
    params = Params(
        arrays=arrays,
        facts=known,
        traces=draw_traces(TRACES, seed=[_SEARCH], **what),
        pool=draw_traces(POOL, seed=[_TRAINING], **what),
        queue=np.zeros(slots, np.int32),
        unit_us=np.float32(max(float(np.mean(heads)), 1.0)),
        reference=np.float32(1.0),
    )
    held_out = params._replace(traces=draw_traces(TRACES, seed=[_HELD_OUT], **what))
    baselines = {name: functools.partial(_design, values) for name, values in _CLASSICS.items()}
    design = baselines[REFERENCE]()
    limit, how = _bound(instances, held_out.traces, objective)
    unknown = Yardstick(REFERENCE, float("nan"), "earliest finish time of the task that is offered", design)
    bare = Problem(
        scenario=scenario_id,
        options={
            "jobs": jobs,
            "platform": platform,
            "objective": objective,
            "interval_us": interval_us,
            "queue": queue,
            "noise": noise,
            "count": count,
            "start": start,
        },
        space=SPACE,
        objective=OBJECTIVES[objective],
        cost=_cost_function(objective),
        params=params,
        held_out_params=held_out,
        reference=unknown,
        bound=Yardstick("bound", limit, how),
        forms={
            "decisions": StreamScheduling,
            "pairs": functools.partial(StreamScheduling, pairs=True),
            **ONE_SHOT_FORMS,
        },
        baselines=baselines,
        diagram=functools.partial(_draw, jobs, platform, params),
        batch_sizes=BATCH_SIZES,
        notes=(
            *NOTES,
            *dict.fromkeys(i.graph.source for i in instances if i.graph.source),
            instances[0].platform.source,
        ),
    )
    # Rewards count in the reference's value on the search's traces: environments know nothing of the held-out ones.
    searched, value = (float(each(design).objective[0]) for each in (bare.evaluate, bare.evaluate_held_out))
    params, held_out = (each._replace(reference=np.float32(searched)) for each in (params, held_out))
    return replace(
        bare,
        params=params,
        held_out_params=held_out,
        reference=replace(unknown, value=value),
        breakdown=functools.partial(_break_down, objective, params, held_out),
    )


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    mixes = [
        {
            "jobs": name,
            "graphs": ", ".join(f"{graph} {p:g}" for graph, p in zip(mix.graphs, mix.probabilities, strict=True)),
            "platform": mix.platform,
            "interval (us)": mix.mean_interval_us,
            "queue": mix.queue,
        }
        for name, mix in MIXES.items()
    ]
    features = (
        [{"parameter": f"task_{name}", "of the task": text} for name, text in rules.TASK_FEATURES.items()],
        [{"parameter": f"element_{name}", "of the element": text} for name, text in rules.ELEMENT_FEATURES.items()],
    )
    return (("Jobs", mixes), ("A task goes first for", features[0]), ("An element is avoided for", features[1]))


def core_instances() -> Sequence[Mapping[str, str]]:
    """Every mix, without and with noise."""
    fixed = {"platform": OWN, "objective": "latency", "interval_us": OWN, "queue": OWN, "count": "60", "start": "empty"}
    return [{"jobs": jobs, **fixed, "noise": noise} for jobs in MIXES for noise in ("0", "0.1")]


SCENARIO = Scenario(
    summary="Assign the tasks of arriving jobs to the processing elements of a system on chip.",
    options={
        "jobs": Option("top", tuple(MIXES), "which kinds of jobs arrive"),
        "platform": Option(
            OWN,
            lambda: (OWN, *platform_names()),
            "the system on chip",
            is_platform_name,
            "bal_mmM_fftF_vitV with 0 to 16 accelerators of each kind",
        ),
        "objective": Option("latency", tuple(OBJECTIVES), "what is minimised"),
        "interval_us": Option(
            OWN, (OWN,), "us between arrivals on average; own: the mix's", number_between(1.0, 1e6), "1 to 1e6 us"
        ),
        "queue": Option(
            OWN, (OWN,), "jobs in the system at most; own: the mix's", whole_between(1, 32), "1 to 32 jobs"
        ),
        "noise": Option(
            "0",
            ("0", "0.05", "0.1", "0.25"),
            "relative deviation of run times",
            number_between(0.0, 1.0),
            "any from 0 to 1",
        ),
        "count": Option("60", ("20", "60"), "jobs of a trace", whole_between(1, 10_000), "any from 1 to 10000"),
        "start": Option("empty", ("empty", "full"), "of the system at time 0: one job, or as many as fit"),
    },
    build=_build,
    core=core_instances,
    facts=_facts,
)
