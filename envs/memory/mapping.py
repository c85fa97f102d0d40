"""dsegym/MemoryMapping-v0: serve every access of a program from fast or slow memory, so that the program runs fastest.

The rules: docs/memory_mapping.md. Cost model: `costmodels/memory/simulator.py`. Objective: the latency in s.

| space | design |
|---|---|
| `plan` | one of drop, no_copy, copy for each of the R accesses; what is not legal counts as drop |
| `msa` | the six knobs of the heuristic like XLA's (`costmodels/memory/msa.py`), whose plan is then played |

Action of the sequential forms: Discrete(3), the next access's. `info["action_mask"]` says what is legal.
Reward: the latency saved by the decision over the latency with everything slow, stalls included. It telescopes: the
return is 1 - latency / all-slow latency.
Observation: float32 in [-1, 10]; of the accesses from 4 before to 16 after the next one, 11 fixed features and 2 of the
state each; 12 of the next decision; 4 of the game. The form `image` adds fast memory around the present: 3 channels
(taken, reserved, idle bandwidth) of 64 instructions x 64 stretches of addresses, flattened.
Termination: after the last access.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/MemoryMapping-v0", program="mlp_tiny", capacity="0.5")
    >>> observation, info = env.reset(seed=0)
    >>> info["action_mask"].tolist()
    [1, 0, 1]
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels import memory
from ...costmodels.breakdown import Breakdown
from ...costmodels.errors import DsegymError
from ...costmodels.memory import msa, simulator, stays
from ...costmodels.memory.discrete import GRANULES, NONE, DiscreteProgram, discretise
from ...costmodels.memory.platforms import get_platform, platform_names, platform_rows
from ...costmodels.memory.program import Program, get_program, is_program_file, program_names
from ..core.functional import FunctionalEnv
from ..core.problem import Evaluation, Objective, Problem, Yardstick
from ..core.scenarios import Option, Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "MemoryMappingEnv", "Params", "discrete_program"]

TIERS = ("0.1", "0.25", "0.5")  # capacity over the program's activation peak: hard, medium, easy
_EDGE_PROGRAMS = ("mobilenet_block", "mlp_mixer", "resnet_forward", "unet_block")
_AHEAD, _BEHIND = 16, 4  # accesses in the observation
_IMAGE = 64  # instructions, and stretches of addresses, in the image
_HIGHEST = 10.0  # observations are clipped here
BATCH_SIZES = (1, 64, 512)
MAX_ACCESSES = 20_000

NOTES = (
    "Programs are traced from JAX and fused by our rules; compilers for the platforms fuse differently.",
    "The fast memory's bandwidth is published for few platforms; `dsegym info` says what is assumed.",
    "Latencies are a model's: no mapping has been run on hardware.",
)
_OBJECTIVE = Objective("latency", "s", "time of one run of the program")


class Metrics(NamedTuple):
    """What a mapping costs. Scalars, float32 unless it says otherwise."""

    latency_s: Any
    speedup: Any  # over everything slow
    stall_s: Any  # waiting for copies, part of the latency
    illegal_actions: Any  # int32, that counted as drop


class Params(NamedTuple):
    """An instance."""

    arrays: Any  # discrete.Arrays
    accesses: Any  # simulator.Access of [R]
    start: Any  # simulator.State before the first decision
    profile: Any  # msa.Profile
    features: Any  # float32[R + _BEHIND + _AHEAD, F], fixed features of each access
    buffers: Any  # int32[R + _BEHIND + _AHEAD], their buffers; 0 beyond the ends
    all_slow: Any  # float32, ticks
    tick_s: Any  # float32


def _evaluate(state: Any, params: Params) -> Evaluation:
    latency = state.latency.astype(jnp.float32)
    metrics = Metrics(
        latency * params.tick_s,
        params.all_slow / latency,
        state.stall.astype(jnp.float32) * params.tick_s,
        state.illegal,
    )
    return Evaluation(metrics, metrics.latency_s, jnp.bool_(True))


def cost_of_plan(design: Any, params: Params) -> Evaluation:
    """Costs of a plan, int32[R]."""
    return _evaluate(simulator.play(params.arrays, design), params)


def cost_of_knobs(design: Any, params: Params) -> Evaluation:
    """Costs of the plan that the heuristic like XLA's makes with these knobs, int32[6]."""
    knobs = msa.Knobs(*(jnp.asarray(values, jnp.float32)[design[i]] for i, values in enumerate(msa.KNOBS)))
    return cost_of_plan(msa.plan(params.arrays, params.profile, knobs), params)


class EnvState(NamedTuple):
    """Where an episode stands."""

    game: Any  # simulator.State
    place: Any  # simulator.Place of the next access
    number: Any  # int32, of the next access
    design: Any  # int32[R], actions as carried out


class MemoryMappingEnv(FunctionalEnv):
    """The game; see the module's docstring."""

    def __init__(self, problem: Problem, *, image: bool = False):
        super().__init__()
        params: Params = problem.params
        self.horizon = len(params.arrays.buffer)
        self.reference = problem.reference.value
        self._image = image
        self.action_space = gymnasium.spaces.Discrete(len(simulator.ACTIONS))
        size = (_BEHIND + 1 + _AHEAD) * (params.features.shape[1] + 2) + 16 + (3 * _IMAGE**2 if image else 0)
        self.observation_space = gymnasium.spaces.Box(-1.0, _HIGHEST, (size,), np.float32)

    def initial(self, rng: Any, params: Any = None) -> EnvState:
        """Nothing is decided."""
        del rng
        start = jax.tree.map(jnp.asarray, params.start)
        first = simulator.access_at(params.accesses, 0)
        place = simulator.locate(params.arrays, start, first)
        return EnvState(start, place, jnp.int32(0), jnp.zeros(self.horizon, jnp.int32))

    def transition(self, state: EnvState, action: Any, rng: Any, params: Any = None) -> EnvState:
        """Decides the next access; an action that is not legal counts as drop."""
        del rng
        access = simulator.access_at(params.accesses, jnp.minimum(state.number, self.horizon - 1))
        action = jnp.clip(jnp.asarray(action, jnp.int32), 0, len(simulator.ACTIONS) - 1)
        game, record = simulator.step(params.arrays, state.game, access, state.place, action)
        following = simulator.access_at(params.accesses, jnp.minimum(state.number + 1, self.horizon - 1))
        place = simulator.locate(params.arrays, game, following)
        here = jnp.arange(self.horizon) == state.number
        return EnvState(game, place, state.number + 1, jnp.where(here, record.action, state.design))

    def terminal(self, state: EnvState, rng: Any, params: Any = None) -> jax.Array:
        """Whether every access is decided."""
        del rng, params
        return state.number >= self.horizon

    def reward(self, state: EnvState, action: Any, next_state: EnvState, rng: Any, params: Any = None) -> Any:
        """float32: latency saved over the all-slow latency."""
        del action, rng
        return (state.game.latency - next_state.game.latency).astype(jnp.float32) / params.all_slow

    def action_mask(self, state: EnvState, params: Any = None) -> jax.Array:
        """bool[3]; only drop after the end."""
        del params
        return state.place.mask & ((state.number < self.horizon) | (jnp.arange(3) == simulator.DROP))

    def observation(self, state: EnvState, rng: Any, params: Any = None) -> jax.Array:
        """float32[n]; see the module's docstring."""
        del rng
        number = jnp.minimum(state.number, self.horizon - 1)
        count = _BEHIND + 1 + _AHEAD
        window = jax.lax.dynamic_slice_in_dim(params.features, number, count)
        buffers = jax.lax.dynamic_slice_in_dim(params.buffers, number, count)
        game = state.game
        status = jnp.stack([game.offset[buffers] >= 0, game.slow_from[buffers] >= 0]).astype(jnp.float32)
        parts = [window.ravel(), status.ravel(), self._decision(state, number, params)]
        if self._image:
            parts.append(self._picture(state, number, params))
        return jnp.clip(jnp.concatenate(parts), -1.0, _HIGHEST)

    def _decision(self, state: EnvState, number: Any, params: Params) -> jax.Array:
        """float32[16]: the next decision and the game so far."""
        game, place, arrays = state.game, state.place, params.arrays
        access = simulator.access_at(params.accesses, number)
        t, prefix, mean = access.instruction, game.prefix, params.all_slow / len(arrays.compute)
        memory = jnp.where(access.is_first, access.slow_bound, game.memory)
        faster = memory - (access.slow - access.fast)
        gain = jnp.maximum(access.compute, memory) - jnp.maximum(access.compute, faster)
        idle = jnp.where(
            access.is_output, simulator.write_back_idle(prefix, access), prefix[t] - prefix[jnp.minimum(place.start, t)]
        )
        reserved = simulator.soonest_reserved(game, access, place)
        taken, owned = simulator.occupancy(game, arrays, t)
        values = [
            gain / mean,
            jnp.maximum(access.copy - idle, 0) / mean,
            access.copy / mean,
            (t - place.start) / len(arrays.compute),
            place.found,
            place.evicts & place.found,
            jnp.minimum(reserved - t, len(arrays.compute)) / len(arrays.compute),
            memory / jnp.maximum(access.slow_bound, 1),
            *place.mask.astype(jnp.float32),
            state.number / self.horizon,
            game.latency / params.all_slow,
            game.stall / params.all_slow,
            taken,
            owned,
        ]
        return jnp.stack([jnp.asarray(value, jnp.float32) for value in values])

    def _picture(self, state: EnvState, number: Any, params: Params) -> jax.Array:
        """float32[3 * 64 * 64]: by instruction around the present, by address; taken, reserved, idle bandwidth."""
        now, game = params.accesses.instruction[number], state.game
        length = len(params.arrays.compute)
        times = now - _IMAGE // 2 + jnp.arange(_IMAGE)
        busy, reserved = simulator.granules_until(game)
        taken = busy[None, :] >= times[:, None]
        owned = (reserved[None, :] >= times[:, None]) & ~taken
        shape = (_IMAGE, _IMAGE, GRANULES // _IMAGE)
        known = (times >= 0) & (times < length)
        inside = jnp.clip(times, 0, length - 1)
        idle = jnp.where(known, game.prefix[inside + 1] - game.prefix[inside], 0) / (params.all_slow / length)
        channels = [jnp.mean(taken.reshape(shape), -1), jnp.mean(owned.reshape(shape), -1)]
        channels.append(jnp.broadcast_to(idle[:, None], (_IMAGE, _IMAGE)))
        return jnp.where(known[None, :, None], jnp.stack(channels), 0.0).ravel()

    def design(self, state: EnvState, params: Any = None) -> jax.Array:
        """int32[R], the actions carried out; drop where undecided."""
        del params
        return state.design

    def evaluation(self, state: EnvState, params: Any = None) -> Evaluation:
        """Costs of the mapping."""
        return _evaluate(state.game, params)

    def transition_info(self, state: Any, action: Any, next_state: Any, params: Any = None) -> dict:
        """As every family's, and the number of actions that counted as drop."""
        return super().transition_info(state, action, next_state, params) | {"illegal_actions": next_state.game.illegal}


def _features(discrete: DiscreteProgram, profile: msa.Profile) -> np.ndarray:
    """float32[R, 11], what is fixed about each access, of order one."""
    arrays, program = discrete.arrays, discrete.program
    length, mean = len(arrays.compute), discrete.all_slow_ticks / len(arrays.compute)
    t, b = arrays.instruction, arrays.buffer
    sizes = np.array([buffer.bytes for buffer in program.buffers], float)
    left, seen = np.zeros(len(t)), dict.fromkeys(range(len(sizes)), 0)
    for r in reversed(range(len(t))):
        left[r] = seen[int(b[r])]
        seen[int(b[r])] += 1
    columns = (
        np.log2(1.0 + sizes[b]) / 16.0,
        sizes[b] / (discrete.granule_bytes * int(arrays.capacity)),
        arrays.is_output,
        arrays.compute[t] / mean,
        arrays.slow_bound[t] / mean,
        arrays.slow_bound[t] > arrays.compute[t],
        profile.saved / mean,
        np.where(arrays.next_use == NONE, 0, arrays.next_use - t) / length * 4.0,
        left / 4.0,
        arrays.live_out[b],
        arrays.predecessor[b] != NONE,
    )
    return np.clip(np.stack([np.asarray(column, np.float32) for column in columns], axis=1), -1.0, _HIGHEST)


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB)")
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def capacity_bytes(capacity: str, program: Program, platform_name: str) -> int:
    """B of fast memory that the option `capacity` stands for; a share is at least one granule of the platform."""
    platform = get_platform(platform_name)
    size = _SIZE.fullmatch(capacity)
    if size:
        return int(float(size[1]) * _UNITS[size[2]])
    if capacity == "platform":
        return platform.capacity_bytes
    peak = program.with_element_bits(platform.element_bits).activation_peak_bytes
    return max(int(float(capacity) * peak), platform.granule_bytes)


@functools.lru_cache(maxsize=128)
def _discrete(program: str, platform: str, capacity: str, bandwidth: str) -> DiscreteProgram:
    loaded = get_program(program)
    if len(loaded.accesses) > MAX_ACCESSES:
        count = len(loaded.accesses)
        raise DsegymError(f"Program '{program}' has {count} accesses; at most {MAX_ACCESSES} are played.")
    return discretise(
        loaded,
        get_platform(platform),
        capacity_bytes=capacity_bytes(capacity, loaded, platform),
        bandwidth=bandwidth,
    )


def discrete_program(program: str, platform: str, capacity: str, bandwidth: str) -> DiscreteProgram:
    """The instance in whole numbers; a program's file is read again."""
    if is_program_file(program):
        return _discrete.__wrapped__(program, platform, capacity, bandwidth)
    return _discrete(program, platform, capacity, bandwidth)


def _params(discrete: DiscreteProgram) -> Params:
    arrays = discrete.arrays
    profile = msa.profile(arrays, [buffer.bytes for buffer in discrete.program.buffers])
    pad = (_BEHIND, _AHEAD)
    return Params(
        arrays=arrays,
        accesses=jax.tree.map(np.asarray, jax.jit(simulator.accesses)(arrays)),
        start=jax.tree.map(np.asarray, jax.jit(simulator.initial)(arrays)),
        profile=profile,
        features=np.pad(_features(discrete, profile), (pad, (0, 0))),
        buffers=np.pad(arrays.buffer, pad),
        all_slow=np.float32(discrete.all_slow_ticks),
        tick_s=np.float32(discrete.tick_s),
    )


def _plan_space(discrete: DiscreteProgram) -> DesignSpace:
    program = discrete.program
    return DesignSpace(
        tuple(
            Parameter(
                f"{number}:{'write' if access.is_output else 'read'}:{program.buffers[access.buffer].name}",
                simulator.ACTIONS,
                ordered=False,
                summary=f"in instruction {access.instruction}, {program.instructions[access.instruction].name}",
            )
            for number, access in enumerate(program.accesses)
        )
    )


_KNOB_SPACE = DesignSpace(
    tuple(Parameter(name, values) for name, values in zip(msa.KNOBS._fields, msa.KNOBS, strict=True))
)
_INSTANCE_KEYS = ("program", "platform", "capacity", "bandwidth")


@functools.cache
def _stored() -> Mapping[tuple[str, ...], Mapping[str, str]]:
    text = (importlib.resources.files(memory) / "bounds.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {tuple(row[key] for key in _INSTANCE_KEYS): row for row in csv.DictReader(lines)}


def _play(discrete: DiscreteProgram, plan: np.ndarray) -> float:
    """The latency of a plan in s, as the cost function has it."""
    return float(np.float32(_latency()(discrete.arrays, plan)) * np.float32(discrete.tick_s))


@functools.cache
def _latency() -> Any:
    return jax.jit(lambda arrays, plan: simulator.play(arrays, plan).latency)


def _yardsticks(key: tuple[str, ...], discrete: DiscreteProgram) -> tuple[Yardstick, Yardstick]:
    """The reference and the bound: from the table, or computed."""
    from ...costmodels.memory.heuristics import msa_like

    source = "the heuristic like XLA's memory space assignment, default knobs (costmodels/memory/msa.py)"
    row = _stored().get(key)
    if row is not None:
        plan = np.array([int(action) for action in row["reference_plan"]], np.int32)
        reference = float(np.float32(int(row["reference_ticks"])) * np.float32(discrete.tick_s))
        name = "optimum" if row["proven"] == "yes" else "bound"
        return (
            Yardstick("msa_like", reference, source, tuple(map(int, plan))),
            Yardstick(name, float(row["bound_ticks"]) * discrete.tick_s, f"{row['method']}: dsegym bound --store"),
        )
    plan = msa_like(discrete)
    reference = Yardstick("msa_like", _play(discrete, plan), source, tuple(map(int, plan)))
    try:
        from ...costmodels.memory.bounds import lower_bound

        found = lower_bound(discrete, method="linear")
        value, how = found.value_ticks, "linear relaxation"
    except ImportError:
        value, how = discrete.all_fast_ticks, "every access fast, no copies (OR-Tools would give a better one)"
    return reference, Yardstick("bound", float(value) * discrete.tick_s, how)


def _baselines(discrete: DiscreteProgram) -> Mapping[str, Callable[[], Sequence[int]]]:
    from ...costmodels.memory.heuristics import HEURISTICS, heuristic_plan

    def maker(name: str) -> Callable[[], Sequence[int]]:
        return functools.cache(lambda: tuple(map(int, heuristic_plan(name, discrete))))

    return {name: maker(name) for name in HEURISTICS}


def _build(scenario_id: str, program: str, platform: str, capacity: str, bandwidth: str, space: str) -> Problem:
    key = (program, platform, capacity, bandwidth)
    discrete = discrete_program(*key)
    reference, bound = _yardsticks(key, discrete)
    shared: dict[str, Any] = {
        "scenario": scenario_id,
        "options": dict(zip((*_INSTANCE_KEYS, "space"), (*key, space), strict=True)),
        "objective": _OBJECTIVE,
        "params": _params(discrete),
        "bound": bound,
        "notes": NOTES,
        "batch_sizes": BATCH_SIZES,
    }
    if space == "plan":
        return Problem(
            space=_plan_space(discrete),
            cost=cost_of_plan,
            reference=reference,
            forms={
                "sequential": MemoryMappingEnv,
                "image": functools.partial(MemoryMappingEnv, image=True),
            },
            breakdown=functools.partial(_break_down, discrete),
            baselines=_baselines(discrete),
            diagram=functools.partial(stays.draw, discrete),
            **shared,
        )
    defaults = tuple(int(i) for i in _KNOB_SPACE.encode(msa.DEFAULTS._asdict()))
    return Problem(
        space=_KNOB_SPACE,
        cost=cost_of_knobs,
        reference=Yardstick(reference.name, reference.value, reference.source, defaults),
        baselines={"msa_like": lambda: defaults},
        diagram=lambda design: stays.draw(discrete, _plan_of_knobs(discrete, design)),
        **shared,
    )


def _plan_of_knobs(discrete: DiscreteProgram, design: Any) -> np.ndarray:
    from ...costmodels.memory.heuristics import msa_like

    return msa_like(discrete, msa.Knobs(*_KNOB_SPACE.decode(design).values()))  # pyright: ignore[reportArgumentType]


def _break_down(discrete: DiscreteProgram, values: Mapping[str, Any]) -> Breakdown:
    """The costs of one plan, instruction by instruction."""
    plan = _plan_space(discrete).encode(values)
    state, record = jax.tree.map(np.asarray, jax.jit(simulator.replay)(discrete.arrays, plan))
    arrays, us = discrete.arrays, discrete.tick_s * 1e6
    rows = []
    for t, instruction in enumerate(discrete.program.instructions):
        here = arrays.instruction == t
        slow = max(int(arrays.compute[t]), int(arrays.slow_bound[t]))
        served = record.action[here] != simulator.DROP
        rows.append(
            {
                "instruction": instruction.name,
                "all_slow_us": slow * us,
                "saved_us": float(record.reward[here].sum()) * us,
                "stall_us": float(record.stall[here].sum()) * us,
                "fast_accesses": f"{int(served.sum())} of {int(here.sum())}",
                "copies_in": int(record.copied_in[here].sum()),
                "copies_out": int(record.copied_out[here].sum() + record.evicted[here].sum()),
            }
        )
    totals = {
        "latency_us": int(state.latency) * us,
        "all_slow_us": discrete.all_slow_ticks * us,
        "all_fast_without_copies_us": discrete.all_fast_ticks * us,
        "stall_us": int(state.stall) * us,
        "illegal_actions": int(state.illegal),
    }
    return Breakdown(totals, rows, NOTES)


def _accepts_capacity(value: str) -> bool:
    if _SIZE.fullmatch(value):
        return True
    try:
        return 0.0 < float(value) < math.inf
    except ValueError:
        return False


def core_instances() -> Sequence[Mapping[str, str]]:
    """Every program at every tier on the TPU v4i; and on an int8 accelerator, the networks made for such."""
    return [
        dict(zip((*_INSTANCE_KEYS, "space"), (program, platform, tier, "charged", "plan"), strict=True))
        for platform, programs in (("tpu_v4i", program_names()), ("ethos_u85_high", _EDGE_PROGRAMS))
        for program in programs
        for tier in TIERS
    ]


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    programs = [
        {
            "program": name,
            "instructions": len(program.instructions),
            "buffers": len(program.buffers),
            "accesses": len(program.accesses),
            "GFLOP": f"{program.flops / 1e9:.3g}",
            "moved (MB)": f"{program.bytes_moved / 1e6:.3g}",
            "parameters (MB)": f"{program.parameter_bytes / 1e6:.3g}",
            "activation peak (MB)": f"{program.activation_peak_bytes / 1e6:.3g}",
        }
        for name in program_names()
        for program in (get_program(name),)
    ]
    return (("Programs", programs), ("Platforms", platform_rows()))


def _bounds(options: Mapping[str, str], progress: Callable[[int, int], None] = lambda done, total: None):
    """The reference and the bound of one instance.

    Returns:
        One row: the instance; the bound in ticks, whether a plan reaches it, and its method; the linear relaxation's
        bound; the fastest plan of the heuristics and the exact solver; the latency with everything slow; the
        reference's latency and its plan, a digit an access.
    """
    from ...costmodels.memory.heuristics import HEURISTICS, heuristic_plan
    from ...costmodels.memory.bounds import best_bound

    key = tuple(options[name] for name in _INSTANCE_KEYS)
    discrete = discrete_program(*key)
    plans = {name: heuristic_plan(name, discrete) for name in HEURISTICS}
    progress(1, 2)
    found = best_bound(discrete, lambda plan: int(_latency()(discrete.arrays, plan)), tuple(plans.values()))
    progress(2, 2)
    reference = plans["msa_like"]
    return [
        dict(zip((*_INSTANCE_KEYS, "space"), (*key, options["space"]), strict=True))
        | found
        | {
            "all_slow_ticks": discrete.all_slow_ticks,
            "reference_ticks": int(_latency()(discrete.arrays, reference)),
            "reference_plan": "".join(map(str, reference)),
        }
    ]


SCENARIO = Scenario(
    summary="Serve each access of a machine-learning program from fast or slow memory, for the least latency.",
    options={
        "program": Option("mlp_train", program_names, "what runs; or a .jsonl file of `dsegym trace`", is_program_file),
        "platform": Option("tpu_v4i", platform_names, "the memories"),
        "capacity": Option(
            "0.25",
            (*TIERS, "platform"),
            "of fast memory, over the activation peak; or a size: 16MiB",
            _accepts_capacity,
        ),
        "bandwidth": Option("charged", ("charged", "idle"), "copies beyond idle bandwidth stall, or are illegal"),
        "space": Option("plan", ("plan", "msa"), "what a design is: an action an access, or the heuristic's knobs"),
    },
    build=_build,
    core=core_instances,
    facts=_facts,
    bounds=_bounds,
    stored_bounds="costmodels/memory/bounds.csv",
)
