"""dsegym/MemoryAllocation-v0: place buffers with fixed lifetimes into one address space, with the lowest peak.

| parameter | values |
|---|---|
| one per buffer | its rank, 0 to n - 1 |

Buffers are placed by ascending rank (of equal ranks the larger first, then the one that stands first in the table),
each at the lowest address that is free for all its life (`placement` first_fit) or in the tightest gap (best_fit). So
every vector of ranks is an order, and every order is a vector of ranks. The game: `costmodels/allocation/game.py`.
Objective: the peak in bytes, exact. Every design is feasible; the metric `fits` says whether it is within the capacity.

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
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from ...costmodels.allocation import game, heuristics, model
from ...costmodels.allocation.baselines import CP_SAT, design_makers, offsets_of_ranks, solvers
from ...costmodels.allocation.bounds import max_load
from ...costmodels.allocation.breakdown import NOTES, break_down
from ...costmodels.allocation.game import Params, State
from ...costmodels.allocation.generator import get_instance, instance_rows, is_generated_name
from ...costmodels.allocation.instance import MAX_BYTES, AllocationInstance
from ...costmodels.allocation.picture import draw
from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from ...costmodels.files import is_path, size_in_bytes, whole_number
from ...costmodels.solver import OR_TOOLS
from ..core.evaluation import Evaluation, Objective, Yardstick
from ..core.features import Discrete, Feature
from ..core.functional import FunctionalEnv, advanced
from ..core.one_shot import ONE_SHOT_FORMS
from ..core.options import Options, choice, custom, file_or_name
from ..core.problem import Problem, costed
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["GENERATED", "SCENARIO", "AllocationOptions", "MemoryAllocation"]

GENERATED = ("perfect_30_s2", "perfect_60_s1", "perfect_60_s4", "perfect_100_s2", "layered_40_s4", "layered_100_s1")
BATCH_SIZES = (1, 64, 256)
_HIGHEST = 10.0  # observations are clipped here
OBJECTIVE = Objective("peak", "B", "the end of the topmost buffer", exact_metric="peak_bytes")


_OWN = "own"


def _capacity(given: object) -> int | None:
    """Bytes that a user means; None for the instance's own."""
    if given is None or given == _OWN:
        return None
    if isinstance(given, bool) or not isinstance(given, str | numbers.Real):
        raise ValueError
    size = size_in_bytes(str(given))
    size = whole_number(str(given), "capacity", 1, MAX_BYTES) if size is None else size
    if not 1 <= size <= MAX_BYTES:
        raise ValueError
    return size


@dataclass(frozen=True)
class AllocationOptions(Options):
    """What tells instances apart."""

    instance: str = file_or_name(
        "perfect_60_s1",
        GENERATED,
        is_path,
        "KIND_N_sSEED (perfect, layered or requests, 2 to 500 buffers), the path of a table of buffers (docs/files.md)",
        "KIND_N_sSEED (perfect, layered or requests, 2 to 500 buffers), or the path of a table of buffers",
        generated=is_generated_name,
        reads="instance",
    )
    placement: str = choice("first_fit", tuple(model.PLACEMENTS), "where a buffer is placed")
    capacity: int | None = custom(
        None,
        (None,),
        parse=_capacity,
        also=f"a whole number of bytes from 1 to {MAX_BYTES}, or a size with its unit: 8192B, 64KiB, 1MiB, 1GiB",
        summary="bytes; own: the file name's, or the generated instance's",
        text=lambda capacity: _OWN if capacity is None else str(capacity),
    )


def _evaluation(peak: Array, params: Params) -> Evaluation:
    """Costs of a packing with a peak in units."""
    objective = peak.astype(jnp.float32) * jnp.asarray(params.unit_bytes).astype(jnp.float32)
    return Evaluation(game.metrics(peak, params), objective, jnp.bool_(True))


def _cost(placement: str, design: Array, params: Params) -> Evaluation:
    return _evaluation(game.peak_of_ranks(design, params, placement), params)


# One object for all instances of a placement.
_COSTS = {placement: functools.partial(_cost, placement) for placement in model.PLACEMENTS}


@dataclass(frozen=True)
class MemoryAllocation(FunctionalEnv[State, Params]):
    """The sequential form: an action is the next buffer.

    Attributes:
        horizon: n, the buffers.
        placement: as the option.
    """

    horizon: int
    placement: str
    game = game

    @property
    def features(self) -> Sequence[Feature]:
        """Of each buffer, then of the packing."""
        n, highest = (self.horizon,), _HIGHEST
        return (
            Feature("placed", n, meaning="1 where the buffer is placed"),
            Feature("size", n, meaning="over the capacity"),
            Feature("address", n, 0.0, highest, "over the capacity, clipped; 0 where not placed"),
            Feature("skyline", n, 0.0, highest, "the topmost end of what is placed within its life, so scaled"),
            Feature("start", n, meaning="of its life, scaled to [0, 1]"),
            Feature("end", n, meaning="of its life, scaled to [0, 1]"),
            Feature("share", meaning="of the buffers that is placed"),
            Feature("peak", (), 0.0, highest, "over the capacity, clipped"),
            Feature("load", (), 0.0, highest, "the most that is live at once, over the capacity, clipped"),
            Feature("fits", meaning="1 where the peak is within the capacity"),
        )

    @property
    def action_space(self) -> Discrete:
        """The next buffer."""
        return Discrete(self.horizon)

    def advance(self, state: State, action: Array, params: Params) -> State:
        """Places a buffer; a masked action counts as the largest buffer that is left."""
        return game.advance(state, action, params, self.placement)

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""

        def scaled(units: Array) -> Array:
            return jnp.minimum(jnp.asarray(units).astype(jnp.float32) * params.per_capacity, _HIGHEST)

        return {
            "placed": (state.rank < self.horizon) & game.there(params),
            "size": scaled(params.buffers.size),
            "address": scaled(state.offset),
            "skyline": scaled(state.skyline),
            "start": params.lifetimes[:, 0],
            "end": params.lifetimes[:, 1],
            "share": state.step / params.number,
            "peak": scaled(state.peak),
            "load": scaled(params.load),
            "fits": state.peak <= params.capacity,
        }

    def reward(self, state: State, next_state: State, params: Params) -> Array:
        """float32: minus the increase of the peak over the capacity."""
        return (state.peak - next_state.peak).astype(jnp.float32) * params.per_capacity

    def action_mask(self, state: State, params: Params) -> Array:
        """bool[n]: the buffers that are not placed."""
        return state.rank >= self.horizon

    def design(self, state: State, params: Params) -> Array:
        """int32[n], the ranks that give the episode's order."""
        return jnp.minimum(state.rank, self.horizon - 1)

    def picture(self, problem: Problem, first: State, actions: Sequence[object]) -> Diagram:
        """The packing of what is placed."""
        state, options = first, problem.instance
        assert isinstance(options, AllocationOptions)
        for action in actions:
            state = advanced(self, state, action, problem.params)
        ranks = np.asarray(state.rank)
        instance = get_instance(options.instance, options.capacity)
        design = np.minimum(ranks, self.horizon - 1)
        return draw(instance, offsets_of_ranks(instance, design, self.placement), ranks < self.horizon)

    def sizes(self, params: Params) -> Mapping[str, int]:
        """The buffers."""
        return {"buffers": self.horizon}

    def padded(self, params: Params, sizes: Mapping[str, int]) -> tuple[MemoryAllocation, Params]:
        """More buffers, which are placed from the start and live never."""
        return MemoryAllocation(sizes["buffers"], self.placement), game.padded(params, sizes["buffers"])

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """Of the buffers that are not placed the one of the lowest rank; of equal ranks the larger."""
        key = jnp.asarray(design) * self.horizon + jnp.asarray(params.tie)
        return jnp.argmin(jnp.where(self.action_mask(state, params), key, self.horizon**2)).astype(jnp.int32)

    def evaluation(self, state: State, params: Params) -> Evaluation:
        """Costs of the packing so far."""
        return _evaluation(state.peak, params)

    def final_info(self, state: State, params: Params) -> dict[str, Array]:
        """As every family's, and `fits`, `peak_over_capacity`."""
        metrics = game.metrics(state.peak, params)
        fits = {"fits": metrics.fits, "peak_over_capacity": metrics.peak_over_capacity}
        return super().final_info(state, params) | fits


def _space(instance: AllocationInstance) -> DesignSpace:
    """One rank per buffer, named as the buffer where its id (or `b` and its id) is an identifier."""
    ids, ranks = [buffer.id for buffer in instance.buffers], tuple(range(len(instance)))
    candidates = (ids, [f"b{id}" for id in ids])
    numbered = [f"b{number}" for number in range(len(ids))]
    names = next((names for names in candidates if all(name.isidentifier() for name in names)), numbered)
    return DesignSpace(
        tuple(
            Parameter(name, ranks, summary=f"rank of buffer {buffer.id}: low ones are placed first", ranking="buffers")
            for name, buffer in zip(names, instance.buffers, strict=True)
        )
    )


def _bound(instance: AllocationInstance, problem: Problem) -> Yardstick:
    """The load; the optimum where a known packing reaches it."""
    load = max_load(instance)
    if instance.offsets is not None:
        design = tuple(heuristics.design_of_offsets(instance.offsets).tolist())
        if int(problem.evaluate(design).metrics.peak_bytes[0]) == load:
            return Yardstick("optimum", float(load), "a known packing that is as high as what is live at once", design)
    return Yardstick("bound", float(load), "what is live at once at the busiest time")


def build(options: AllocationOptions) -> Problem:
    """An instance."""
    table, rule = get_instance(options.instance, options.capacity), f"size_descending_{options.placement}"
    space, baselines = _space(table), design_makers(table, options.placement)
    env = MemoryAllocation(len(space), options.placement)

    def offsets(ranks: Sequence[int] | np.ndarray) -> np.ndarray:
        return offsets_of_ranks(table, ranks, options.placement)

    return Problem(
        instance=options,
        space=space,
        objective=OBJECTIVE,
        cost=_COSTS[options.placement],
        params=game.params_of(table),
        reference_rule=costed(rule, lambda problem: baselines[rule](), heuristics.RULES[rule].summary),
        bound_rule=functools.partial(_bound, table),
        forms={"sequential": lambda problem: env, "parametric": ONE_SHOT_FORMS["parametric"]},
        breakdown=lambda values: break_down(table, offsets([int(values[name]) for name in space.names])),
        baselines=baselines,
        solvers=solvers(table, options.placement),
        solver_libraries={CP_SAT: OR_TOOLS},
        diagram=lambda design: draw(table, offsets(design)),
        batch_sizes=BATCH_SIZES,
        notes=NOTES,
    )


SCENARIO = Scenario(
    summary="Place buffers with fixed lifetimes into one address space, with the lowest peak (static allocation).",
    options_type=AllocationOptions,
    build=build,
    core=[{"instance": name} for name in GENERATED],
    facts=lambda: (("Instances", instance_rows(GENERATED)), ("Heuristics", heuristics.rule_rows())),
)
