"""dsegym/MemoryAllocation-v0: place buffers with fixed lifetimes into one address space, with the lowest peak.

| parameter | values |
|---|---|
| one per buffer | its rank, 0 to n - 1 |

Buffers are placed by ascending rank (of equal ranks the larger first, then the one that stands first in the table),
each at the lowest address that is free for all its life (`placement` first_fit) or in the tightest gap (best_fit). So
every vector of ranks is an order, and every order is a vector of ranks. The model: `costmodels/allocation/model.py`.
Objective: the peak in bytes. Every design is feasible; the metric `fits` says whether the peak is within the capacity.

`form="sequential"`: an action is the number of the next buffer. Buffers already placed are masked; one that is chosen
all the same counts as the largest that is left, and is counted in `illegal_actions`. The reward is minus what the
placement adds to the peak, over the capacity, so that an episode's sum is -peak / capacity.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/MemoryAllocation-v0", instance="perfect_30_s0")
    >>> observation, info = env.reset(seed=0)
    >>> done = False
    >>> while not done:
    ...     action = env.action_space.sample(mask=info["action_mask"])
    ...     observation, reward, done, truncated, info = env.step(action)
    >>> bool(info["feasible"]), int(info["illegal_actions"])
    (True, 0)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels import wide
from ...costmodels.allocation import exact, heuristics, model
from ...costmodels.allocation.bounds import max_load
from ...costmodels.allocation.generator import generate, is_generated_name
from ...costmodels.allocation.instance import MAX_BYTES, AllocationInstance, BufferArrays, load_instance
from ...costmodels.breakdown import Breakdown
from ...costmodels.diagram import Diagram, Rectangle
from ..core.functional import ONE_SHOT_FORMS, FunctionalEnv
from ..core.problem import Evaluation, Objective, Problem, Yardstick
from ..core.scenarios import Option, Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["CP_SAT", "GENERATED", "SCENARIO", "MemoryAllocation", "baselines", "diagram", "get_instance"]

GENERATED = (
    "perfect_30_s2",
    "perfect_60_s1",
    "perfect_60_s4",
    "perfect_100_s2",
    "layered_40_s4",
    "layered_100_s1",
)
CP_SAT = "cp_sat"
CP_SAT_SECONDS = 10.0
OWN = "own"  # the capacity that the instance comes with
BUFFER_FEATURES, GLOBAL_FEATURES = 6, 4
BATCH_SIZES = (1, 64, 256)

NOTES = (
    "Synthetic: the generated instances are drawn, not measured. Real ones are read from .csv files.",
    "Not modelled: alignment, buffers of changing size, buffers that may share or move.",
)


class Params(NamedTuple):
    """What tells instances apart, all traced: instances with as many buffers share compiled code."""

    buffers: BufferArrays  # int32[n] each
    tie: Any  # int32[n], each buffer's place by descending size
    by_size: Any  # int32[n], the buffers by descending size
    lifetimes: Any  # float32[n, 2], start and end of each life, scaled to [0, 1]
    unit_bytes: Any  # int32, bytes a unit
    load: Any  # int32, units: the most that is live at once
    capacity: Any  # int32, units (at most 2^30)
    per_capacity: Any  # float32, unit over capacity


class Metrics(NamedTuple):
    """What a packing comes to."""

    peak_bytes: Any  # exact: the end of the topmost buffer
    load_bytes: Any  # exact: the most that is live at once, which no packing is below
    fits: Any  # bool: the peak is within the capacity
    peak_over_capacity: Any  # float32
    fragmentation: Any  # float32: the share of the peak that is above the load


class State(NamedTuple):
    """Where an episode stands."""

    packed: model.Placed  # int32[n, 1] each, the placed buffers by ascending address
    rank: Any  # int32[n], when each buffer was placed; n where it is not
    offset: Any  # int32[n], units; 0 where not placed
    skyline: Any  # int32[n], units: the topmost end of what is placed within each buffer's life
    step: Any  # int32, buffers placed
    peak: Any  # int32, units
    illegal_actions: Any  # int32


def _evaluation(peak: Any, params: Params) -> Evaluation:
    """Costs of a packing with a peak in units."""
    metrics = Metrics(
        peak_bytes=wide.multiply(peak, params.unit_bytes),
        load_bytes=wide.multiply(jnp.asarray(params.load), params.unit_bytes),
        fits=peak <= params.capacity,
        peak_over_capacity=peak.astype(jnp.float32) * params.per_capacity,
        fragmentation=(peak - params.load).astype(jnp.float32) / peak.astype(jnp.float32),
    )
    objective = peak.astype(jnp.float32) * jnp.asarray(params.unit_bytes).astype(jnp.float32)
    return Evaluation(metrics, objective, jnp.bool_(True))


@functools.cache
def _cost_function(placement: str) -> Callable[[Any, Params], Evaluation]:
    def cost(design: Any, params: Params) -> Evaluation:
        order = model.order_of(design, jnp.asarray(params.by_size))
        return _evaluation(model.peak_of(order, params.buffers, placement), params)

    return cost


class MemoryAllocation(FunctionalEnv):
    """The sequential form: an action is the next buffer.

    Observation: float32[6 n + 4]. For each buffer, feature after feature: whether it is placed, its size, its address
    (0 if not placed), the topmost end of what is placed within its life (sizes and addresses over the capacity), the
    start and the end of its life (scaled to [0, 1]); then the share of the buffers that is placed, the peak and the
    load over the capacity, and 1 where the peak is within the capacity, else 0.
    """

    def __init__(self, problem: Problem):
        super().__init__()
        count, params = len(problem.space), problem.params
        self._count, self._find = count, model.PLACEMENTS[problem.options["placement"]]
        self.horizon = count
        self.reference = problem.reference.value
        self.action_space = gymnasium.spaces.Discrete(count)
        highest = max(1.0, float(params.buffers.size.sum()) * float(params.per_capacity) * 1.001)
        high = np.ones(BUFFER_FEATURES * count + GLOBAL_FEATURES, np.float32)
        high[2 * count : 4 * count] = highest
        high[-3:-1] = highest
        self.observation_space = gymnasium.spaces.Box(np.zeros_like(high), high)

    def initial(self, rng: Any, params: Any = None) -> State:
        """Nothing is placed."""
        del rng, params
        count, zero = self._count, jnp.int32(0)
        none = jnp.zeros(count, jnp.int32)
        return State(model.nothing_placed(count, 1), jnp.full(count, count, jnp.int32), none, none, zero, zero, zero)

    def transition(self, state: State, action: Any, rng: Any, params: Any = None) -> State:
        """Places a buffer; a masked action counts as the largest buffer that is left."""
        del rng
        count = self._count
        buffers, tie = (jax.tree.map(jnp.asarray, part) for part in (params.buffers, params.tie))
        unplaced = state.rank >= count
        action = jnp.clip(jnp.asarray(action, jnp.int32), 0, count - 1)
        legal = unplaced[action]
        largest = jnp.asarray(params.by_size)[jnp.minimum(jnp.min(jnp.where(unplaced, tie, count)), count - 1)]
        chosen = jnp.where(legal, action, largest)
        lower, upper, size = (values[chosen] for values in buffers)
        offset = self._find(state.packed, lower[None], upper[None], size[None])
        packed = model.insert(state.packed, offset, lower[None], upper[None], size[None])
        offset, here = offset[0], jnp.arange(count) == chosen
        beside = (buffers.lower < upper) & (lower < buffers.upper)
        return State(
            packed=packed,
            rank=jnp.where(here, state.step, state.rank),
            offset=jnp.where(here, offset, state.offset),
            skyline=jnp.where(beside, jnp.maximum(state.skyline, offset + size), state.skyline),
            step=state.step + 1,
            peak=jnp.maximum(state.peak, offset + size),
            illegal_actions=state.illegal_actions + ~legal,
        )

    def observation(self, state: State, rng: Any, params: Any = None) -> jax.Array:
        """float32[6 n + 4]."""
        del rng
        sizes = jnp.stack([jnp.asarray(params.buffers.size), state.offset, state.skyline]).astype(jnp.float32)
        levels = jnp.stack([state.peak, params.load]).astype(jnp.float32)
        return jnp.concatenate(
            [
                (state.rank < self._count).astype(jnp.float32),
                (sizes * params.per_capacity).ravel(),
                jnp.asarray(params.lifetimes).T.ravel(),
                (state.step / self._count).astype(jnp.float32)[None],
                levels * params.per_capacity,
                (state.peak <= params.capacity).astype(jnp.float32)[None],
            ]
        )

    def terminal(self, state: State, rng: Any, params: Any = None) -> jax.Array:
        """Whether every buffer is placed."""
        del rng, params
        return state.step >= self._count

    def reward(self, state: State, action: Any, next_state: State, rng: Any, params: Any = None) -> Any:
        """float32: minus the increase of the peak over the capacity."""
        del action, rng
        return (state.peak - next_state.peak).astype(jnp.float32) * params.per_capacity

    def action_mask(self, state: State, params: Any = None) -> jax.Array:
        """bool[n]: the buffers that are not placed."""
        del params
        return state.rank >= self._count

    def design(self, state: State, params: Any = None) -> jax.Array:
        """int32[n], the ranks that give the episode's order."""
        del params
        return jnp.minimum(state.rank, self._count - 1)

    def evaluation(self, state: State, params: Any = None) -> Evaluation:
        """Costs of the packing so far."""
        return _evaluation(state.peak, params)

    def transition_info(self, state: Any, action: Any, next_state: Any, params: Any = None) -> dict:
        """What every environment says, and `fits`, `peak_over_capacity`, `illegal_actions`."""
        metrics = self.evaluation(next_state, params).metrics
        return {
            **super().transition_info(state, action, next_state, params),
            "fits": metrics.fits,
            "peak_over_capacity": metrics.peak_over_capacity,
            "illegal_actions": next_state.illegal_actions,
        }


def get_instance(name_or_file: str, capacity: str = OWN) -> AllocationInstance:
    """A generated instance by its name, or a file's by its path.

    Args:
        name_or_file: as the option `instance`.
        capacity: bytes in decimal digits, or `own`.

    Raises:
        InvalidWorkloadError: the file cannot be read or a line is wrong, or a buffer is larger than the capacity.
    """
    given = None if capacity == OWN else int(capacity)
    if not is_generated_name(name_or_file):
        return load_instance(name_or_file, given)
    instance = generate(name_or_file)
    return instance if given is None else instance.with_capacity(given)


def _space(instance: AllocationInstance) -> DesignSpace:
    """One rank per buffer, named as the buffer where its id (or `b` and its id) is an identifier."""
    ids, ranks = [buffer.id for buffer in instance.buffers], tuple(range(len(instance)))
    candidates = (ids, [f"b{id}" for id in ids])
    numbered = [f"b{number}" for number in range(len(ids))]
    names = next((names for names in candidates if all(name.isidentifier() for name in names)), numbered)
    return DesignSpace(
        tuple(
            Parameter(name, ranks, summary=f"rank of buffer {buffer.id}: low ones are placed first")
            for name, buffer in zip(names, instance.buffers, strict=True)
        )
    )


def _params(instance: AllocationInstance) -> Params:
    by_size = heuristics.rule_order(instance, "size_descending_first_fit")
    first, span = instance.lowers.min(), float(instance.uppers.max() - instance.lowers.min())
    return Params(
        buffers=instance.arrays,
        tie=heuristics.ranks_of_order(by_size),
        by_size=by_size,
        lifetimes=np.stack([(times - first) / span for times in (instance.lowers, instance.uppers)], 1).astype(
            np.float32
        ),
        unit_bytes=np.int32(instance.unit),
        load=np.int32(max_load(instance) // instance.unit),
        capacity=np.int32(min(instance.capacity // instance.unit, 2**30)),
        per_capacity=np.float32(instance.unit / instance.capacity),
    )


def _rule_design(instance: AllocationInstance, rule: str, placement: str) -> np.ndarray:
    """int32[n]: a rule's order; where the rule places otherwise than the problem, its packing's, from below."""
    if heuristics.RULES[rule].placement == placement:
        return heuristics.ranks_of_order(heuristics.rule_order(instance, rule))
    return heuristics.design_of_offsets(heuristics.rule_offsets(instance, rule))


def _solver_design(instance: AllocationInstance) -> np.ndarray:
    """int32[n], the better of what CP-SAT packs within the capacity and the least peak that it finds."""
    found = exact.pack_within(instance, time_limit_s=CP_SAT_SECONDS)
    if found.offsets is None:
        found = exact.minimise_peak(instance, time_limit_s=CP_SAT_SECONDS)
    return heuristics.design_of_offsets(found.offsets)


def baselines(instance: AllocationInstance, placement: str) -> Mapping[str, Callable[[], Sequence[int]]]:
    """{name: makes its design}: the one-pass rules, and CP-SAT's packing where OR-Tools is installed.

    A packing becomes a design by ascending address. First fit then has no higher peak than the packing.
    """
    makers: dict[str, Callable[[], np.ndarray]] = {
        rule: functools.partial(_rule_design, instance, rule, placement) for rule in heuristics.RULES
    }
    if exact.is_available():
        makers[CP_SAT] = functools.partial(_solver_design, instance)
    return {name: functools.partial(_as_tuple, maker) for name, maker in makers.items()}


def _as_tuple(maker: Callable[[], Any]) -> tuple[int, ...]:
    return tuple(int(rank) for rank in maker())


def _offsets(instance: AllocationInstance, ranks: Any, placement: str) -> np.ndarray:
    """int64[n], bytes: where a design (any whole numbers as ranks) places the buffers."""
    ranks = np.asarray(ranks).tolist()
    ties = heuristics.ranks_of_order(heuristics.rule_order(instance, "size_descending_first_fit")).tolist()
    order = sorted(range(len(instance)), key=lambda b: (ranks[b], ties[b]))
    return heuristics.place(instance, order, placement)


def diagram(instance: AllocationInstance, design: Any, placement: str = "first_fit") -> Diagram:
    """A design, int[n], as rectangles over time and address; the capacity is the limit."""
    offsets = _offsets(instance, design, placement)
    peak, load = int((offsets + instance.sizes).max()), max_load(instance)
    relation = "within" if peak <= instance.capacity else "above"
    top = max(peak, min(instance.capacity, 2 * peak))
    lower, upper = int(instance.lowers.min()), int(instance.uppers.max())
    rectangles = tuple(
        Rectangle(
            x=float(buffer.lower),
            y=float(offset),
            width=float(buffer.upper - buffer.lower),
            height=float(buffer.size),
            kind="above the capacity" if offset + buffer.size > instance.capacity else "buffer",
            label=f"{buffer.id}: {buffer.size:,} B at {offset:,}, live [{buffer.lower}, {buffer.upper})",
        )
        for buffer, offset in zip(instance.buffers, offsets.tolist(), strict=True)
    )
    return Diagram(
        title=f"{instance.name}: peak {peak:,} B, {relation} the capacity {instance.capacity:,} B (load {load:,} B)",
        x_label="time",
        y_label="address (B)",
        x_range=(float(lower), float(upper)),
        y_range=(0.0, 1.05 * top),
        rectangles=rectangles,
        limit=(float(instance.capacity), "capacity"),
    )


def _break_down(instance: AllocationInstance, placement: str, values: Mapping[str, Any]) -> Breakdown:
    """Where each buffer comes to lie; ranks may be any whole numbers."""
    names = _space(instance).names
    offsets = _offsets(instance, [int(values[name]) for name in names], placement)
    peak, load = int((offsets + instance.sizes).max()), max_load(instance)
    return Breakdown(
        totals={
            "peak_bytes": peak,
            "load_bytes": load,
            "capacity_bytes": instance.capacity,
            "fits": peak <= instance.capacity,
            "fragmentation": (peak - load) / peak,
        },
        rows=[
            {
                "buffer": buffer.id,
                "lower": buffer.lower,
                "upper": buffer.upper,
                "size_bytes": buffer.size,
                "offset_bytes": offset,
                "end_bytes": offset + buffer.size,
            }
            for buffer, offset in zip(instance.buffers, offsets.tolist(), strict=True)
        ],
        notes=NOTES,
    )


def _bound(instance: AllocationInstance, placement: str, problem: Problem) -> Yardstick:
    """The load; the optimum where a known packing reaches it."""
    load = max_load(instance)
    if instance.offsets is not None:
        design = _as_tuple(lambda: heuristics.design_of_offsets(instance.offsets))
        if int(problem.evaluate(design).metrics.peak_bytes[0]) == load:
            return Yardstick("optimum", float(load), "a known packing that is as high as what is live at once", design)
    return Yardstick("bound", float(load), "what is live at once at the busiest time")


def _build(scenario_id: str, instance: str, placement: str, capacity: str) -> Problem:
    table = get_instance(instance, capacity)
    params, rule = _params(table), f"size_descending_{placement}"
    unknown = Yardstick("", float("nan"), "")
    fields: dict[str, Any] = {
        "scenario": scenario_id,
        "options": {"instance": instance, "placement": placement, "capacity": capacity},
        "space": _space(table),
        "objective": Objective("peak", "B", "the end of the topmost buffer"),
        "cost": _cost_function(placement),
        "params": params,
        "forms": {"sequential": MemoryAllocation, "parametric": ONE_SHOT_FORMS["parametric"]},
        "breakdown": functools.partial(_break_down, table, placement),
        "baselines": baselines(table, placement),
        "diagram": functools.partial(diagram, table, placement=placement),
        "batch_sizes": BATCH_SIZES,
        "notes": NOTES,
    }
    bare = Problem(reference=unknown, bound=unknown, **fields)
    design = fields["baselines"][rule]()
    value = float(bare.evaluate(design).objective[0])
    reference = Yardstick(rule, value, heuristics.RULES[rule].summary, design)
    return Problem(reference=reference, bound=_bound(table, placement, bare), **fields)


def _core() -> Sequence[Mapping[str, str]]:
    return [{"instance": name, "placement": "first_fit", "capacity": OWN} for name in GENERATED]


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    instances = []
    for name in GENERATED:
        instance = generate(name)
        instances.append(
            {"instance": name, "buffers": len(instance), "capacity (B)": f"{instance.capacity:,}"}
            | {"load (B)": f"{max_load(instance):,}", "source": instance.source}
        )
    rules = [
        {"rule": name, "order": rule.summary, "placed by": rule.placement} for name, rule in heuristics.RULES.items()
    ]
    return (("Instances", instances), ("Heuristics", rules))


def _is_capacity(value: str) -> bool:
    return value.isascii() and value.isdigit() and 1 <= int(value) <= MAX_BYTES


SCENARIO = Scenario(
    summary="Place buffers with fixed lifetimes into one address space, with the lowest peak (static allocation).",
    options={
        "instance": Option(
            "perfect_60_s1",
            GENERATED,
            "perfect_N_sSEED or layered_N_sSEED (2 to 500 buffers), or the path of a .csv file",
            lambda value: is_generated_name(value) or value.endswith(".csv"),
        ),
        "placement": Option("first_fit", tuple(model.PLACEMENTS), "where a buffer is placed"),
        "capacity": Option(OWN, (OWN,), "bytes; own: the file name's, or the generated instance's", _is_capacity),
    },
    build=_build,
    core=_core,
    facts=_facts,
)
